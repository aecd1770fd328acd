package workload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/iamd-dev/iamd/internal/cores"
)

// Descriptors of the keeper beside the standard ones.
const (
	specFD    = 3 // the Program as JSON
	controlFD = 4 // a socket: each message is a question, answered by one: see question
)

// A Process is a program that runs.
type Process struct {
	keeper  *exec.Cmd
	stdin   io.Closer // the keeper lives as long as this is open
	done    chan struct{}
	err     error // after done
	mu      sync.Mutex
	control *net.UnixConn // guarded by mu: one question at a time

	listeners map[string]net.Listener // by address
}

// Start starts a program. It returns when the keeper runs; that the program itself
// cannot be started is what Wait returns.
func Start(p Program) (*Process, error) {
	p.Unprivileged = p.Unprivileged && os.Getuid() == 0 // otherwise we have no privileges to take away
	spec, err := json.Marshal(&p)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding the executable: %w", err)
	}
	specRead, specWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer specRead.Close()
	defer specWrite.Close()
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()

	cmd := &exec.Cmd{
		Path:       self,
		Args:       []string{KeeperName},
		Env:        []string{}, // not nil, which would be ours
		Dir:        "/",
		Stdout:     p.Output,
		Stderr:     p.Output,
		ExtraFiles: []*os.File{specRead, theirs},
		SysProcAttr: &syscall.SysProcAttr{
			Setsid:      true,
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		},
	}
	if p.Network == Own {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWNET
	}
	if p.Unprivileged {
		nobody := syscall.SysProcIDMap{ContainerID: Nobody, HostID: Nobody, Size: 1}
		cmd.SysProcAttr.UidMappings = append(cmd.SysProcAttr.UidMappings, nobody)
		cmd.SysProcAttr.GidMappings = append(cmd.SysProcAttr.GidMappings, nobody)
		cmd.SysProcAttr.GidMappingsEnableSetgroups = true
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		ours.Close()
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		ours.Close()
		if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSYS) {
			return nil, fmt.Errorf("%w (%v)", ErrNoNamespaces, err)
		}
		return nil, fmt.Errorf("starting the keeper of %s: %w", p.Path, err)
	}
	where := cores.All()
	if p.Apart {
		where = cores.Second(where)
	}
	cores.Place(cmd.Process.Pid, where) // before it has anything to run; where it cannot be placed it runs all the same
	process := &Process{keeper: cmd, stdin: stdin, control: ours, done: make(chan struct{})}
	listened := make(chan struct{}) // a keeper that has ended already may have sent what is still to be read
	go func() {
		err := cmd.Wait()
		<-listened
		ours.Close()
		process.err = err
		close(process.done)
	}()
	if _, err := specWrite.Write(spec); err != nil {
		close(listened)
		process.Kill()
		return nil, fmt.Errorf("telling the keeper of %s what to run: %w", p.Path, err)
	}
	process.listeners, err = receiveListeners(ours, p.Listen)
	close(listened)
	if err != nil {
		process.Kill()
		process.closeListeners()
		return nil, fmt.Errorf("the keeper of %s: %w", p.Path, err)
	}
	return process, nil
}

// receiveListeners takes the listeners that a keeper has made, in the order of the addresses.
func receiveListeners(control *net.UnixConn, addresses []string) (map[string]net.Listener, error) {
	listeners := map[string]net.Listener{}
	for _, address := range addresses {
		control.SetDeadline(time.Now().Add(startWait))
		file, err := receive(control)
		if err != nil {
			return listeners, fmt.Errorf("listening on %s: %w", address, err)
		}
		l, err := net.FileListener(file)
		file.Close()
		if err != nil {
			return listeners, fmt.Errorf("listening on %s: %w", address, err)
		}
		listeners[address] = l
	}
	return listeners, nil
}

// Listener returns the listener on an address of Program.Listen, inside the program's
// network. Whoever asks for it closes it.
func (p *Process) Listener(address string) net.Listener { return p.listeners[address] }

func (p *Process) closeListeners() {
	for _, l := range p.listeners {
		l.Close()
	}
}

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end of the program and returns how it ended: nil for exit
// status 0, otherwise an *exec.ExitError, with 126 or 127 as in a shell for a program
// that could not be started.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Stop asks the program to end (SIGTERM), kills it when it takes longer than a few
// seconds, and returns when it and whatever it started are gone.
func (p *Process) Stop() {
	p.keeper.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(stopWait):
		p.Kill()
	}
}

// Kill kills the program and whatever it started, and returns when they are gone.
func (p *Process) Kill() {
	p.keeper.Process.Kill() // the first process of the namespace: the kernel kills the others
	p.stdin.Close()
	<-p.done
}

// Dial connects to a port of the program's own network. The connection is made by the
// keeper, inside, and handed out.
func (p *Process) Dial(ctx context.Context, port int) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(stopWait)
	}
	p.control.SetDeadline(deadline)
	text, err := json.Marshal(question{Port: port})
	if err != nil {
		return nil, err
	}
	if _, err := p.control.Write(text); err != nil {
		return nil, fmt.Errorf("asking the keeper for a connection: %w", err)
	}
	file, err := receive(p.control)
	if err != nil {
		return nil, fmt.Errorf("connecting to the program: %w", err)
	}
	defer file.Close()
	return net.FileConn(file)
}

// receive takes the descriptor that the keeper hands out, or the text of its failure.
func receive(control *net.UnixConn) (*os.File, error) {
	answer, rights := make([]byte, 256), make([]byte, unix.CmsgSpace(4))
	n, rn, _, _, err := control.ReadMsgUnix(answer, rights)
	if err != nil {
		control.Close() // a late answer must not be taken for another question's
		return nil, fmt.Errorf("waiting for the keeper: %w", err)
	}
	if rn == 0 {
		return nil, errors.New(strings.TrimPrefix(string(answer[:n]), refused))
	}
	messages, err := unix.ParseSocketControlMessage(rights[:rn])
	if err != nil || len(messages) != 1 {
		return nil, errors.New("the keeper's answer has no descriptor")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, errors.New("the keeper's answer has no descriptor")
	}
	unix.CloseOnExec(fds[0])
	return os.NewFile(uintptr(fds[0]), "program"), nil
}

func socketPair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	file := os.NewFile(uintptr(fds[0]), "control")
	defer file.Close()
	theirs = os.NewFile(uintptr(fds[1]), "control")
	conn, err := net.FileConn(file)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn.(*net.UnixConn), theirs, nil
}

// Keep is a keeper's whole life when the executable was started as one, and returns at
// once otherwise. It is called first thing in main.
func Keep() {
	keepers := map[string]func() (int, error){KeeperName: keep, networkKeeper: keepNetwork, reapName: reap}
	life := keepers[os.Args[0]]
	if len(os.Args) != 1 || life == nil {
		return
	}
	code, err := life()
	if err != nil {
		fmt.Fprintln(os.Stderr, "iamd:", err)
	}
	os.Exit(code)
}

// noRoot are SECBIT_NOROOT, SECBIT_NO_SETUID_FIXUP and SECBIT_NO_CAP_AMBIENT_RAISE, each locked: capabilities(7).
const noRoot = 1<<0 | 1<<1 | 1<<2 | 1<<3 | 1<<6 | 1<<7

// Exit statuses of a keeper whose program could not be started, as a shell's.
const (
	cannotRun = 126
	notFound  = 127
)

func keep() (int, error) {
	runtime.LockOSThread() // limits and the parent-death signal belong to a thread
	spec := os.NewFile(specFD, "spec")
	var p Program
	if err := json.NewDecoder(spec).Decode(&p); err != nil {
		return cannotRun, fmt.Errorf("reading what to run: %w", err)
	}
	spec.Close()
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return cannotRun, fmt.Errorf("keeping files to ourselves: %w", err)
	}
	if p.Network == Own {
		if err := loopbackUp(); err != nil {
			return cannotRun, fmt.Errorf("bringing up the loopback interface: %w", err)
		}
	}
	control, err := controlSocket()
	if err != nil {
		return cannotRun, err
	}
	if err := listenInside(control, p.Listen); err != nil {
		return cannotRun, err
	}
	if err := p.mounts(); err != nil {
		return cannotRun, err
	}
	cmd := p.command(p.Path, p.Args, p.Env, p.Dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	// The program is root in the user namespace by name only: it gains no capability, with
	// which it could take away the mounts that hide directories.
	if err := unix.Prctl(unix.PR_SET_SECUREBITS, noRoot, 0, 0, 0); err != nil {
		return cannotRun, fmt.Errorf("giving up privileges: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return cannotRun, fmt.Errorf("giving up privileges: %w", err)
	}
	signals, children := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	signal.Notify(children, syscall.SIGCHLD)
	if err := cmd.Start(); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return notFound, err
		}
		return cannotRun, err
	}
	if err := p.release(cmd.Process.Pid); err != nil {
		return cannotRun, err // and the kernel kills what has not begun
	}
	go func() {
		for s := range signals {
			syscall.Kill(-cmd.Process.Pid, s.(syscall.Signal))
		}
	}()
	go func() {
		io.Copy(io.Discard, os.Stdin) // until whoever started us is gone
		os.Exit(cannotRun)
	}()
	commands := make(chan func())
	k := &keeper{program: &p, control: control, running: map[int]*os.File{}}
	go k.answer(commands)

	// The first process of a PID namespace inherits the orphans and must bury them. This
	// thread alone does, and starts what is traced, so that it takes no news of another's.
	for {
		if code, ended := k.bury(cmd.Process.Pid); ended {
			return code, nil
		}
		select {
		case <-children:
		case start := <-commands:
			start()
		}
	}
}

// command is a program to be started as the first one is: traced, it stops before its
// first instruction, so that it never runs without its limits.
func (p *Program) command(path string, args, env []string, dir string) *exec.Cmd {
	cmd := &exec.Cmd{
		Path: path, Args: append([]string{filepath.Base(path)}, args...), Env: env, Dir: dir,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Ptrace: true},
	}
	if cmd.Env == nil {
		cmd.Env = []string{}
	}
	if p.Unprivileged {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: Nobody, Gid: Nobody}
	}
	return cmd
}

// A keeper is what a keeper knows of its programs.
type keeper struct {
	program *Program
	control *net.UnixConn

	mu      sync.Mutex
	running map[int]*os.File // commands, by process id: where their exit status is written
}

// A question is what a message on the control socket asks for.
type question struct {
	Port int      `json:",omitempty"` // a connection to it
	Run  *Command `json:",omitempty"` // which comes with its three standard files, and that for its exit status
	Kill int      `json:",omitempty"` // a command, by process id, and its group
}

// answer answers the questions.
func (k *keeper) answer(commands chan<- func()) {
	text, rights := make([]byte, maxQuestion), make([]byte, unix.CmsgSpace(4*4))
	for {
		n, rn, _, _, err := k.control.ReadMsgUnix(text, rights)
		if err != nil || n == 0 {
			return
		}
		files, err := received(rights[:rn])
		var q question
		if err == nil {
			err = json.Unmarshal(text[:n], &q)
		}
		switch {
		case err != nil:
		case q.Port != 0:
			err = k.connect(q.Port)
		case q.Kill != 0:
			k.mu.Lock()
			if k.running[q.Kill] != nil {
				syscall.Kill(-q.Kill, syscall.SIGKILL)
			}
			k.mu.Unlock()
			k.control.Write([]byte("ok"))
		case q.Run != nil && len(files) == 4:
			done := make(chan error)
			commands <- func() { done <- k.run(q.Run, files) }
			err = <-done
		default:
			err = errors.New("the keeper was asked for nothing")
		}
		for _, f := range files {
			f.Close()
		}
		if err != nil {
			k.control.Write([]byte(refused + err.Error()))
		}
	}
}

func (k *keeper) connect(port int) error {
	conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), stopWait)
	if err != nil {
		return err
	}
	defer conn.Close()
	f, err := conn.(*net.TCPConn).File()
	if err != nil {
		return err
	}
	defer f.Close()
	_, _, err = k.control.WriteMsgUnix([]byte("ok"), unix.UnixRights(int(f.Fd())), nil)
	return err
}

// run starts a command, by the thread that traces.
func (k *keeper) run(c *Command, files []*os.File) error {
	env := c.Env
	if env == nil {
		env = k.program.Env
	}
	dir := c.Dir
	if dir == "" {
		dir = k.program.Dir
	}
	cmd := k.program.command(c.Path, c.Args, env, dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = files[0], files[1], files[2]
	if c.Terminal {
		cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = false, true, true
	}
	status, err := unix.FcntlInt(files[3].Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		unix.Close(status)
		return err
	}
	k.mu.Lock()
	k.running[cmd.Process.Pid] = os.NewFile(uintptr(status), "status")
	k.mu.Unlock()
	if err := k.program.release(cmd.Process.Pid); err != nil {
		syscall.Kill(cmd.Process.Pid, syscall.SIGKILL)
		return err
	}
	_, err = k.control.Write([]byte(strconv.Itoa(cmd.Process.Pid)))
	return err
}

// bury waits for those who have ended, says how commands did, and reports whether the
// program itself has, and with which status.
func (k *keeper) bury(program int) (code int, ended bool) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return 0, false
		}
		if !status.Exited() && !status.Signaled() {
			continue
		}
		code := status.ExitStatus()
		if status.Signaled() {
			code = 128 + int(status.Signal())
		}
		if pid == program {
			return code, true
		}
		k.mu.Lock()
		if f := k.running[pid]; f != nil {
			fmt.Fprint(f, code)
			f.Close()
			delete(k.running, pid)
		}
		k.mu.Unlock()
	}
}

func received(rights []byte) ([]*os.File, error) {
	if len(rights) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(messages) != 1 {
		return nil, errors.New("the question's files cannot be read")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	files := make([]*os.File, len(fds))
	for i, fd := range fds {
		unix.CloseOnExec(fd)
		files[i] = os.NewFile(uintptr(fd), "command")
	}
	return files, nil
}

func controlSocket() (*net.UnixConn, error) {
	file := os.NewFile(controlFD, "control")
	defer file.Close()
	c, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}

// listenInside makes the listeners and hands them out, in their order.
func listenInside(control *net.UnixConn, addresses []string) error {
	for i, address := range addresses {
		err := func() error {
			at, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			if !at.Addr().IsLoopback() {
				if err := addLoopback(i, at.Addr()); err != nil {
					return err
				}
			}
			l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
			if err != nil {
				return err
			}
			defer l.Close()
			f, err := l.File()
			if err != nil {
				return err
			}
			defer f.Close()
			_, _, err = control.WriteMsgUnix([]byte("ok"), unix.UnixRights(int(f.Fd())), nil)
			return err
		}()
		if err != nil {
			control.Write([]byte(err.Error()))
			return fmt.Errorf("listening on %s: %w", address, err)
		}
	}
	return nil
}

// addLoopback gives the loopback interface one more address, by the alias lo:N.
func addLoopback(n int, ip netip.Addr) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq("lo:" + strconv.Itoa(n+1))
	if err != nil {
		return err
	}
	four := ip.As4()
	if err := r.SetInet4Addr(four[:]); err != nil {
		return err
	}
	return unix.IoctlIfreq(fd, unix.SIOCSIFADDR, r)
}

// mounts makes the mount namespace the program's own: what it finds elsewhere, its own
// /proc, and nothing in what is hidden.
func (p *Program) mounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making the mounts private: %w", err)
	}
	from := make([]*os.File, len(p.Mounts)) // open now: they may lie in what is hidden
	locked := make([]uintptr, len(p.Mounts))
	for i, m := range p.Mounts {
		f, err := os.Open(m.From)
		if err != nil {
			return fmt.Errorf("mounting: %w", err)
		}
		defer f.Close()
		from[i] = f
		if locked[i], err = lockedFlags(int(f.Fd())); err != nil {
			return fmt.Errorf("mounting %s: %w", m.To, err)
		}
	}
	if p.Sealed {
		if err := seal(); err != nil {
			return err
		}
	}
	for _, path := range p.Hidden {
		info, err := os.Stat(path)
		if err == nil && info.IsDir() {
			err = unix.Mount("tmpfs", path, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_RDONLY, "size=4k,mode=0")
		} else if err == nil {
			err = unix.Mount(os.DevNull, path, "", unix.MS_BIND, "")
		}
		if err != nil {
			return fmt.Errorf("hiding %s: %w", path, err)
		}
	}
	for i, m := range p.Mounts {
		source := fmt.Sprintf("/proc/self/fd/%d", from[i].Fd())
		if err := unix.Mount(source, m.To, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mounting %s: %w", m.To, err)
		}
		flags := locked[i] | unix.MS_BIND | unix.MS_REMOUNT | unix.MS_NOSUID | unix.MS_NODEV
		if m.ReadOnly {
			flags |= unix.MS_RDONLY
		}
		if err := unix.Mount("", m.To, "", flags, ""); err != nil {
			return fmt.Errorf("mounting %s: %w", m.To, err)
		}
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	return nil
}

// seal makes every mount read-only, and hides /run and /dev/shm behind empty directories.
func seal() error {
	readOnly := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &readOnly); err != nil {
		return fmt.Errorf("making the machine's files read-only, which needs Linux 5.12: %w", err)
	}
	for _, m := range []struct{ path, options string }{{"/run", "size=4k,mode=0555"}, {"/dev/shm", "size=256m,mode=1777"}} {
		if _, err := os.Stat(m.path); errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err := unix.Mount("tmpfs", m.path, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, m.options); err != nil {
			return fmt.Errorf("hiding %s: %w", m.path, err)
		}
	}
	return nil
}

// lockedFlags are the flags of a mount that a remount in a user namespace must not drop: mount_namespaces(7).
func lockedFlags(fd int) (uintptr, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return 0, err
	}
	// These have the same value in both; the fourth has not.
	flags := uintptr(fs.Flags) & (unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME)
	if fs.Flags&unix.ST_RELATIME != 0 {
		flags |= unix.MS_RELATIME
	}
	return flags, nil
}

// release gives the stopped program its limits and lets it run.
func (p *Program) release(pid int) error {
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil || !status.Stopped() {
		return fmt.Errorf("waiting for the program to be started: %w", err)
	}
	limit := func(what int, value int64) error {
		return unix.Prlimit(pid, what, &unix.Rlimit{Cur: uint64(value), Max: uint64(value)}, nil)
	}
	for _, l := range []struct {
		what  int
		value int64
	}{{unix.RLIMIT_NOFILE, int64(p.Files)}, {unix.RLIMIT_FSIZE, p.Written}, {unix.RLIMIT_AS, p.Memory}, {unix.RLIMIT_DATA, p.Data}, {unix.RLIMIT_NPROC, int64(p.Processes)}} {
		if l.value == 0 {
			continue
		}
		if err := limit(l.what, l.value); err != nil {
			return fmt.Errorf("setting a limit: %w", err)
		}
	}
	if err := limit(unix.RLIMIT_CORE, 0); err != nil {
		return fmt.Errorf("setting a limit: %w", err)
	}
	return syscall.PtraceDetach(pid)
}

// loopbackUp brings up the loopback interface of a new network namespace.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, r); err != nil {
		return err
	}
	r.SetUint16(r.Uint16() | unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
}
