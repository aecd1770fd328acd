package workload

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/iamd-dev/iamd/internal/cores"
)

// The tests' own executable is its programs and their keepers.
func TestMain(m *testing.M) {
	Keep()
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "server":
			server()
		case "fetch":
			fetch(os.Args[2])
		case "host":
			runHost(os.Args[2], os.Args[3], os.Args[4])
		}
	}
	os.Exit(m.Run())
}

// server is a program that answers on its port with the names of its network interfaces.
func server() {
	http.ListenAndServe("127.0.0.1:8000", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		interfaces, _ := net.Interfaces()
		for _, i := range interfaces {
			io.WriteString(w, i.Name+" ")
		}
	}))
	os.Exit(1)
}

// run runs a shell script to its end and returns what it printed.
func run(t *testing.T, p Program, script string) (string, error) {
	t.Helper()
	var out lockedBuffer
	p.Path, p.Args, p.Output = "/bin/sh", []string{"-c", script}, &out
	process := start(t, p)
	err := process.Wait()
	return out.String(), err
}

func start(t *testing.T, p Program) *Process {
	t.Helper()
	process, err := Start(p)
	if errors.Is(err, ErrNoNamespaces) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(process.Kill)
	return process
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestProgramRunsWithItsOwnEnvironmentAlone(t *testing.T) {
	t.Setenv("IAMD_ROOT_SECRET_ACCESS_KEY", "secret")
	dir := t.TempDir()
	leak, err := os.Open(dir) // as a descriptor that is not closed when a program is started
	if err != nil {
		t.Fatal(err)
	}
	defer leak.Close()
	if _, err := unix.FcntlInt(leak.Fd(), unix.F_SETFD, 0); err != nil {
		t.Fatal(err)
	}
	got, err := run(t, Program{Env: []string{"A=b"}, Dir: dir}, "pwd; /usr/bin/env; ls -l /proc/$$/fd")
	if err != nil {
		t.Fatal(err, got)
	}
	if want := dir + "\nA=b\nPWD=" + dir + "\n"; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q first", got, want)
	}
	if n := strings.Count(got, " -> ") - strings.Count(got, " -> /dev/null"); n != 2 { // standard output and error
		t.Errorf("the program has %d files open: %s", n, got)
	}
}

func TestProgramEndsAsItEnds(t *testing.T) {
	for _, test := range []struct {
		script string
		want   int
	}{{"exit 0", 0}, {"exit 3", 3}, {"kill -KILL $$", 128 + 9}} {
		_, err := run(t, Program{}, test.script)
		var exit *exec.ExitError
		code := 0
		if errors.As(err, &exit) {
			code = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if code != test.want {
			t.Errorf("%s: %d, want %d", test.script, code, test.want)
		}
	}
	process := start(t, Program{Path: "/there/is/none"})
	var exit *exec.ExitError
	if err := process.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 127 {
		t.Errorf("a program that is not there: %v", err)
	}
}

func TestOwnNetworkIsReachedByDialAlone(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	process := start(t, Program{Path: self, Args: []string{"server"}, Network: Own})
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return process.Dial(ctx, 8000)
	}}}
	defer client.CloseIdleConnections()
	var body []byte
	for deadline := time.Now().Add(10 * time.Second); ; {
		resp, err := client.Get("http://program/")
		if err == nil {
			body, _ = io.ReadAll(resp.Body)
			resp.Body.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if string(body) != "lo " {
		t.Errorf("its interfaces are %q, want lo alone", body)
	}
	if conn, err := net.Dial("tcp", "127.0.0.1:8000"); err == nil {
		conn.Close()
		t.Error("the program's port is reached from outside")
	}
	if _, err := process.Dial(context.Background(), 8001); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a port where nobody listens: %v", err)
	}
	if conn, err := process.Dial(context.Background(), 8000); err != nil {
		t.Errorf("after a refused one: %v", err)
	} else {
		conn.Close()
	}
	process.Stop()
	if _, err := process.Dial(context.Background(), 8000); err == nil {
		t.Error("a program that has ended was reached")
	}
}

func TestNothingOutlivesTheProgram(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	process := start(t, Program{Path: "/bin/sh", Args: []string{"-c", "(setsid sh -c 'echo $$ > " + mark + "; exec sleep 1000') & wait"}})
	for i := 0; ; i++ {
		if b, err := os.ReadFile(mark); err == nil && len(b) > 0 {
			break
		} else if i > 1000 {
			t.Fatal("the program's own child did not start")
		}
		time.Sleep(5 * time.Millisecond)
	}
	keeper := process.keeper.Process.Pid
	process.Kill()
	// Whatever is left of the namespace would have the keeper as its ancestor or be init's child.
	out, err := exec.Command("ps", "-eo", "pid,ppid,args").Output()
	if err != nil {
		t.Skip("there is no ps")
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, mark) || strings.HasPrefix(strings.TrimSpace(line), strconv.Itoa(keeper)+" ") && !strings.Contains(line, "defunct") {
			t.Errorf("left: %s", line)
		}
	}
}

func TestHiddenFileIsEmpty(t *testing.T) {
	file := filepath.Join(t.TempDir(), "master.key")
	if err := os.WriteFile(file, []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := run(t, Program{Hidden: []string{file}}, "cat "+file+"; umount "+file+" 2>/dev/null; cat "+file); got != "" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := run(t, Program{Hidden: []string{file + "x"}}, "exit 0"); err == nil {
		t.Error("a program was started though something could not be hidden from it")
	}
}

func TestHiddenDirectoryIsEmpty(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "master.key"), []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, _ := run(t, Program{Hidden: []string{dir}}, "ls -a "+dir+"; cat "+dir+"/master.key; umount "+dir+" && cat "+dir+"/master.key")
	if strings.Contains(got, "\nkey") || strings.Contains(got, "master.key\n.") || !strings.Contains(got, "No such file") && !strings.Contains(got, "Permission denied") {
		t.Errorf("got %q", got)
	}
}

func TestLimitsHold(t *testing.T) {
	dir := t.TempDir()
	got, err := run(t, Program{Dir: dir, Files: 20, Written: 1 << 20, Memory: 1 << 30}, "ulimit -n; ulimit -v; ulimit -c; head -c 2000000 /dev/zero > big")
	if !strings.HasPrefix(got, "20\n1048576\n0\n") || err == nil {
		t.Errorf("got %q, %v", got, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "big")); err != nil || info.Size() > 1<<20 {
		t.Errorf("%v, %v: the file is larger than the limit", info, err)
	}
}

func TestStopAsksFirst(t *testing.T) {
	var out lockedBuffer
	ready := filepath.Join(t.TempDir(), "ready")
	process := start(t, Program{Path: "/bin/sh", Args: []string{"-c", "trap 'echo bye; exit 0' TERM; echo > " + ready + "; while :; do sleep 0.01; done"}, Output: &out})
	for i := 0; ; i++ {
		if _, err := os.Stat(ready); err == nil {
			break
		} else if i > 1000 {
			t.Fatal("the program did not start")
		}
		time.Sleep(5 * time.Millisecond)
	}
	process.Stop()
	if !strings.Contains(out.String(), "bye\n") || process.Wait() != nil {
		t.Errorf("%q, %v", out.String(), process.Wait())
	}
}

// A program runs on all cores of the server, or on the second half of them, also when the
// server's own threads are kept to the first.
func TestCoresOfPrograms(t *testing.T) {
	all := cores.All()
	if all.Count() < 2 {
		t.Skip("there is one core here")
	}
	check := func(when string, p Program, want unix.CPUSet) {
		t.Helper()
		out, err := run(t, p, "grep Cpus_allowed_list: /proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		var got unix.CPUSet
		for part := range strings.SplitSeq(strings.Fields(out)[1], ",") { // 0-3,8
			first, last, ok := strings.Cut(part, "-")
			if !ok {
				last = first
			}
			from, _ := strconv.Atoi(first)
			to, _ := strconv.Atoi(last)
			for core := from; core <= to; core++ {
				got.Set(core)
			}
		}
		if got != want {
			t.Errorf("%s, apart %v: it runs on %v, not %v", when, p.Apart, got, want)
		}
	}
	check("at first", Program{}, all)
	check("at first", Program{Apart: true}, cores.Second(all))
	release := cores.Confine()
	if release == nil {
		t.Fatal("the server cannot be confined")
	}
	defer release()
	for range 10 { // started by whatever thread
		check("while the server is confined", Program{}, all)
		check("while the server is confined", Program{Apart: true}, cores.Second(all))
	}
}
