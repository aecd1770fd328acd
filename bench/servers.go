package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/iamd-dev/iamd/internal/rawnet"
	"github.com/iamd-dev/iamd/internal/sigv4"
)

const (
	serverCore = "0"
	clientCore = "1"

	versitygwVersion = "v1.8.0"

	region = "us-east-1"
)

// A server is a program that has been started on its own core.
type server struct {
	name string
	addr string
	root sigv4.Signer // its administrator's keys
	cmd  *exec.Cmd
	dir  string // to be removed with it
	log  *tail
}

// start runs a program and waits until ready, given a line of its standard output,
// returns its address, or, if ready is nil, until addr accepts connections.
func start(ctx context.Context, s settings, name, dir, addr string, ready func(line string) string, env []string, program string, args ...string) (*server, error) {
	if s.cores {
		args = append([]string{"-c", serverCore, program}, args...)
		program = "taskset"
	}
	srv := &server{name: name, addr: addr, dir: dir, log: &tail{}}
	srv.cmd = exec.Command(program, args...)
	srv.cmd.Env = append(os.Environ(), env...)
	srv.cmd.Stderr = srv.log
	out, err := srv.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := srv.cmd.Start(); err != nil {
		return nil, err
	}
	found := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			fmt.Fprintln(srv.log, lines.Text())
			if ready != nil {
				if a := ready(lines.Text()); a != "" {
					found <- a
					ready = nil
				}
			}
		}
		io.Copy(io.Discard, out)
	}()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case srv.addr = <-found:
			return srv, nil
		case <-ctx.Done():
			srv.stop()
			return nil, ctx.Err()
		case <-deadline:
			srv.stop()
			return nil, fmt.Errorf("%s did not start; it said:\n%s", name, srv.log)
		case <-time.After(50 * time.Millisecond):
			if addr != "" {
				if c, err := net.Dial("tcp", addr); err == nil {
					c.Close()
					return srv, nil
				}
			}
		}
	}
}

// move has a process, and not what it has started, run on other cores.
func move(ctx context.Context, process int, cores string) error {
	return command(ctx, nil, "taskset", "-apc", cores, strconv.Itoa(process))
}

// stop ends the server and removes its directory.
func (s *server) stop() {
	s.end()
	os.RemoveAll(s.dir)
}

// end ends the server and leaves its directory.
func (s *server) end() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	done := time.AfterFunc(5*time.Second, func() { s.cmd.Process.Kill() })
	s.cmd.Wait()
	done.Stop()
}

// cpu returns the CPU time the server has used. Ticks of 10 ms are fine enough
// for measurements of seconds.
func (s *server) cpu() (time.Duration, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(s.cmd.Process.Pid) + "/stat")
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil // not Linux
	}
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // f[0] is the third field of proc(5)
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err1, err2)
}

// call sends a signed request and returns the body of the answer.
func (s *server) call(ctx context.Context, keys sigv4.Signer, service, method, target string, header http.Header, body string) (string, error) {
	r, err := s.request(ctx, keys, service, method, target, header, body)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err == nil && answer.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %s %s: %s: %s", s.name, method, target, answer.Status, text)
	}
	return string(text), err
}

// request makes a signed request.
func (s *server) request(ctx context.Context, keys sigv4.Signer, service, method, target string, header http.Header, body string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+s.addr+target, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		r.Header[name] = values
	}
	switch {
	case header.Get("X-Amz-Target") != "":
		r.Header.Set("Content-Type", "application/x-amz-json-1.0")
	case service != "s3":
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	keys.Region, keys.Service = region, service
	keys.Sign(r, sigv4.Hash([]byte(body)), time.Now())
	return r, nil
}

// copier is a proxy that copies bytes to and from an address. It is the "copier" command of
// this program.
func copier() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println("ready at", l.Addr())
	for {
		accepted, err := l.Accept()
		if err != nil {
			panic(err)
		}
		go func() {
			client := rawnet.New(accepted.(*net.TCPConn))
			defer client.Close()
			behind, err := dial(os.Args[2])
			if err != nil {
				panic(err)
			}
			defer behind.Close()
			go copyBytes(client, behind)
			copyBytes(behind, client)
		}()
	}
}

// copyBytes writes what it reads until there is no more.
func copyBytes(to, from *rawnet.Conn) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

// bare is a net/http server that does nothing but answer: as many bytes as it is
// told, after reading the request. It is the "bare" command of this program.
func bare() {
	size, err := strconv.Atoi(os.Args[2])
	if err != nil {
		panic(err)
	}
	body := bytes.Repeat([]byte("x"), size)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println("ready at", l.Addr())
	panic(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/xml")
		w.Write(body)
	})))
}

func startBare(ctx context.Context, s settings, size int) (*server, error) {
	return startSelf(ctx, s, "bare net/http", "bare", strconv.Itoa(size))
}

func startCopier(ctx context.Context, s settings, to string) (*server, error) {
	return startSelf(ctx, s, "a copier of bytes", "copier", to)
}

// startSelf starts a command of this program.
func startSelf(ctx context.Context, s settings, name string, args ...string) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ready := func(line string) string {
		addr, _ := strings.CutPrefix(line, "ready at ")
		return addr
	}
	return start(ctx, s, name, "", "", ready, nil, self, args...)
}

// startIAMD builds iamd from the tree and starts it, with more arguments if need be, on a store of its own.
func startIAMD(ctx context.Context, s settings, args ...string) (*server, error) {
	dir, err := os.MkdirTemp("", "iamd-bench-")
	if err != nil {
		return nil, err
	}
	bin := filepath.Join(dir, "iamd")
	if err := buildIAMD(ctx, bin); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("building iamd: %w", err)
	}
	srv, err := runIAMD(ctx, s, dir, args)
	if err != nil {
		os.RemoveAll(dir)
	}
	return srv, err
}

// runIAMD starts the iamd that stands in dir on the data beside it.
func runIAMD(ctx context.Context, s settings, dir string, args []string) (*server, error) {
	root := sigv4.Signer{AccessKeyID: "AKIABENCHBENCHBENCH1", SecretAccessKey: "bench/only+secret/of/forty/characters/00"}
	ready := func(line string) string {
		addr, _ := strings.CutPrefix(line, "iamd is ready at http://")
		if addr == line {
			return ""
		}
		return strings.TrimRight(addr, "/")
	}
	srv, err := start(ctx, s, "iamd", dir, "", ready,
		[]string{"IAMD_ROOT_ACCESS_KEY_ID=" + root.AccessKeyID, "IAMD_ROOT_SECRET_ACCESS_KEY=" + root.SecretAccessKey},
		filepath.Join(dir, "iamd"), append([]string{"serve", "--listen", "127.0.0.1:0", "--data", filepath.Join(dir, "data")}, args...)...)
	if err != nil {
		return nil, err
	}
	srv.root = root
	return srv, nil
}

// restart ends an iamd and starts it again on the same data.
func (s *server) restart(ctx context.Context, cfg settings) error {
	s.end()
	again, err := runIAMD(ctx, cfg, s.dir, nil)
	if err == nil {
		*s = *again
	}
	return err
}

// buildIAMD builds it in its own module, with that module's dependencies.
func buildIAMD(ctx context.Context, bin string) error {
	dir, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/iamd-dev/iamd").Output()
	if err != nil {
		return err
	}
	return command(ctx, nil, "go", "build", "-C", strings.TrimSpace(string(dir)), "-trimpath", "-o", bin, "./cmd/iamd")
}

// startVersitygw builds versitygw, if it is not there from another run, and
// starts it on a directory.
func startVersitygw(ctx context.Context, s settings) (*server, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	cache = filepath.Join(cache, "iamd-bench", "versitygw-"+versitygwVersion)
	bin := filepath.Join(cache, "versitygw")
	if _, err := os.Stat(bin); err != nil {
		fmt.Fprintln(os.Stderr, "building versitygw", versitygwVersion, "once, which takes minutes")
		if err := command(ctx, []string{"GOBIN=" + cache}, "go", "install", "github.com/versity/versitygw/cmd/versitygw@"+versitygwVersion); err != nil {
			return nil, fmt.Errorf("building versitygw: %w", err)
		}
	}
	dir, err := os.MkdirTemp("", "iamd-bench-")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"data", "iam"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // it cannot choose a port itself
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	l.Close()
	root := sigv4.Signer{AccessKeyID: "root", SecretAccessKey: "bench-secret"}
	srv, err := start(ctx, s, "versitygw "+versitygwVersion, dir, addr, nil, nil,
		bin, "--quiet", "--keep-alive", "--port", addr, "--access", root.AccessKeyID, "--secret", root.SecretAccessKey, "--region", region,
		"--iam-dir", filepath.Join(dir, "iam"), "posix", filepath.Join(dir, "data"))
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	srv.root = root
	return srv, nil
}

func command(ctx context.Context, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// A tail keeps the last kilobytes of what a server says, for when it fails.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if n := len(t.text) - 4<<10; n > 0 {
		t.text = append(t.text[:0], t.text[n:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
