package workload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/iamd-dev/iamd/internal/docker"
)

// ErrOff is returned by Run of a host that runs nothing.
var ErrOff = errors.New("workloads are off: start iamd with serve --workloads=process or --workloads=docker")

// What a job finds inside, whatever the machine is like.
const (
	TaskDir  = "/mnt"                  // its working directory
	TempDir  = "/tmp"                  // its own, and empty
	Endpoint = "http://127.0.0.1:4600" // iamd

	endpointAddress = "127.0.0.1:4600"
)

// Limits of a job that asks for none.
const (
	defaultFiles     = 4096
	defaultProcesses = 4096
	defaultWritten   = 10 << 30
)

// A Host runs jobs on this machine, if the operator lets it. Its methods may be called
// from many goroutines.
type Host struct {
	Dir      string         // where jobs have their directories; what it holds when the host opens is removed
	Hidden   []string       // from every job: see Program
	Endpoint http.Handler   // answers at Endpoint inside: iamd; set before the first Run
	Engine   *docker.Client // runs containers; nil: there are none
	Off      error          // why nothing runs here; nil: jobs run
	Log      *slog.Logger

	reaper io.Closer // with an Engine: see openEngine

	mu     sync.Mutex
	closed bool
	runs   map[*Run]bool
}

// errStopping is why nothing is started any more.
var errStopping = errors.New("the server is stopping")

// A Job is what is to run. It has namespaces and a network of its own: it reaches what
// Serve says and iamd, and nothing else. It finds its directory as TaskDir, writes there and
// to TempDir and nowhere else, and runs as nobody when we are root.
type Job struct {
	Kind, Name string // of its directory, for those who look: "lambda", the function's name

	// Fill puts files into the job's directory before the start. nil: it is empty.
	Fill func(dir string) error
	// Task, an existing directory, takes the place of the job's own as TaskDir, read-only:
	// what several jobs share. "": the job's own.
	Task string

	Path    string   // absolute, as the job finds it; LookPath finds what is installed
	Args    []string // without the program's name
	Env     []string // all of it but what Run adds: AWS_ENDPOINT_URL, PATH, HOME, TMPDIR, LANG
	WorkDir string   // as the job finds it; "": TaskDir

	// Serve says who answers at addresses inside, as "169.254.169.254:80".
	Serve map[string]http.Handler

	// Limits. Zero: a generous one, and for Memory and Time none.
	Memory  int64 // bytes
	Files   int
	Written int64
	Time    time.Duration

	Output io.Writer // standard output and error together; nil: dropped
}

// A Run is a job that runs, or has run.
type Run struct {
	host    *Host
	dir     string
	process *Process
	servers []*http.Server
	timer   *time.Timer
	ended   chan struct{}
}

// Open prepares the host's directory and its engine: what jobs of an earlier life left
// there goes.
func (h *Host) Open() error {
	if h.Off != nil {
		return nil
	}
	if err := os.RemoveAll(h.Dir); err != nil {
		return fmt.Errorf("removing what workloads left: %w", err)
	}
	if err := os.MkdirAll(h.Dir, 0o700); err != nil {
		return err
	}
	if h.Engine != nil {
		return h.openEngine()
	}
	return nil
}

// Run starts a job. It returns when the job has been started; that its program cannot be
// is what Wait returns. The job does not end with ctx.
func (h *Host) Run(ctx context.Context, job Job) (_ *Run, err error) {
	if h.Off != nil {
		return nil, h.Off
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(h.Dir, job.Kind+"-"+plain(job.Name)+"-")
	if err != nil {
		return nil, fmt.Errorf("making a workload's directory: %w", err)
	}
	r := &Run{host: h, dir: dir, ended: make(chan struct{})}
	defer func() {
		if err != nil {
			r.Remove()
		}
	}()
	task, temp := filepath.Join(dir, "task"), filepath.Join(dir, "tmp")
	for _, d := range []string{task, temp} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return nil, err
		}
	}
	if job.Fill != nil {
		if err := job.Fill(task); err != nil {
			return nil, err
		}
	}
	if err := give(dir); err != nil {
		return nil, err
	}
	program := Program{
		Path: job.Path, Args: job.Args, Env: environment(job.Env), Dir: job.WorkDir,
		Network: Own, Hidden: append(h.hidesEngine(), h.Hidden...), Sealed: true, Unprivileged: true, Output: job.Output,
		Mounts: []Mount{{From: task, To: TaskDir}, {From: temp, To: TempDir}},
		Data:   job.Memory, Files: job.Files, Written: job.Written, Processes: defaultProcesses,
	}
	if job.Task != "" {
		program.Mounts[0] = Mount{From: job.Task, To: TaskDir, ReadOnly: true}
	}
	if program.Dir == "" {
		program.Dir = TaskDir
	}
	if program.Files == 0 {
		program.Files = defaultFiles
	}
	if program.Written == 0 {
		program.Written = defaultWritten
	}
	serve := h.served(job.Serve)
	program.Listen = addressesOf(serve)

	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, errStopping
	}
	if r.process, err = Start(program); err != nil {
		return nil, err
	}
	for address, handler := range serve {
		s := newServer(handler)
		r.servers = append(r.servers, s)
		go s.Serve(r.process.Listener(address))
	}
	if job.Time > 0 {
		r.timer = time.AfterFunc(job.Time, r.process.Kill)
	}
	if h.runs == nil {
		h.runs = map[*Run]bool{}
	}
	h.runs[r] = true
	go r.watch()
	return r, nil
}

// served is who answers inside: whom a job names, and iamd.
func (h *Host) served(serve map[string]http.Handler) map[string]http.Handler {
	all := map[string]http.Handler{endpointAddress: fromWorkload(h.Endpoint)}
	for address, handler := range serve {
		all[address] = handler
	}
	return all
}

// addressesOf are the addresses at which somebody answers.
func addressesOf(serve map[string]http.Handler) []string {
	return slices.Sorted(maps.Keys(serve))
}

func newServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
}

// watch waits for the end of the job and closes what was open for it.
func (r *Run) watch() {
	<-r.process.Done()
	if r.timer != nil {
		r.timer.Stop()
	}
	for _, s := range r.servers {
		s.Close()
	}
	r.process.closeListeners()
	r.host.mu.Lock()
	delete(r.host.runs, r)
	r.host.mu.Unlock()
	close(r.ended)
}

// Exec starts one more program in the job.
func (r *Run) Exec(c Command) (*Execution, error) { return r.process.Exec(c) }

// Dir is the job's directory on the machine, in which "task" is what the job finds as
// TaskDir and "tmp" its TempDir. It stays after the end, until Remove.
func (r *Run) Dir() string { return r.dir }

// Done is closed when the job has ended and nothing of it runs any more.
func (r *Run) Done() <-chan struct{} { return r.ended }

// Wait waits for the end of the job: see Process.Wait.
func (r *Run) Wait() error {
	<-r.ended
	return r.process.Wait()
}

// Exit waits for the end of the job and returns its exit code. The reason is there where
// the program's own end is not: see Container.Exit.
func (r *Run) Exit() (code int, reason string) {
	err := r.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, ""
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode(), ""
	}
	return killed, "" // the keeper was, and the program with it
}

// Stop asks the job to end, kills it if it does not, and returns when it is gone.
func (r *Run) Stop() {
	r.process.Stop()
	<-r.ended
}

// Kill kills the job and returns when it is gone.
func (r *Run) Kill() {
	r.process.Kill()
	<-r.ended
}

// Remove kills the job if it still runs, and removes its directory.
func (r *Run) Remove() error {
	if r.process != nil {
		r.Kill()
	}
	return os.RemoveAll(r.dir)
}

// Close kills all jobs and containers. None is started any more.
func (h *Host) Close() {
	h.mu.Lock()
	h.closed = true
	var all []*Run
	for r := range h.runs {
		all = append(all, r)
	}
	h.mu.Unlock()
	for _, r := range all {
		r.Kill()
	}
	if h.reaper != nil {
		h.closeEngine()
	}
}

// LookPath finds a program that is installed on the machine and that a job may run:
// when we are root, one that everybody may. Directories that are hidden, and what the
// job finds other things at, are passed over.
func (h *Host) LookPath(name string) (string, error) {
	dirs := append(filepath.SplitList(os.Getenv("PATH")), "/usr/local/bin", "/usr/bin", "/bin")
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if filepath.IsAbs(dir) && h.mayRun(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed where a workload may run it", name)
}

func (h *Host) mayRun(path string) bool {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	for _, p := range []string{path, real} {
		for _, hidden := range append([]string{TaskDir, TempDir}, h.Hidden...) {
			if p == hidden || strings.HasPrefix(p, hidden+"/") {
				return false
			}
		}
		for at := p; ; at = filepath.Dir(at) {
			info, err := os.Stat(at)
			if err != nil || info.Mode()&0o111 == 0 || os.Getuid() == 0 && info.Mode()&0o001 == 0 {
				return false
			}
			if at == p && !info.Mode().IsRegular() {
				return false
			}
			if at == "/" {
				break
			}
		}
	}
	return true
}

// give makes the job's directory its own.
func give(dir string) error {
	if os.Getuid() != 0 {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, Nobody, Nobody)
	})
}

// Address is where the calls of jobs come from, in place of the loopback address of a
// network that is not the machine's: what is open to loopback is not open to them.
const Address = "169.254.0.1"

func fromWorkload(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, port, _ := net.SplitHostPort(r.RemoteAddr)
		r.RemoteAddr = net.JoinHostPort(Address, port)
		h.ServeHTTP(w, r)
	})
}

// environment adds what every job has, unless it has its own.
func environment(own []string) []string {
	return withEach(own,
		"AWS_ENDPOINT_URL="+Endpoint,
		"PATH=/usr/local/bin:/usr/bin:/bin",
		"HOME="+TempDir,
		"TMPDIR="+TempDir,
		"LANG=C.UTF-8")
}

// withEach adds those variables that are not there.
func withEach(own []string, more ...string) []string {
	env := slices.Clone(own)
	for _, pair := range more {
		name, _, _ := strings.Cut(pair, "=")
		if !slices.ContainsFunc(own, func(p string) bool { return strings.HasPrefix(p, name+"=") }) {
			env = append(env, pair)
		}
	}
	return env
}

// plain leaves of a name what is good in the name of a directory.
func plain(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}, name)
	return name[:min(len(name), 40)]
}
