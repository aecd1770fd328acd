package workload

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newHost is a host that hides a directory with a secret in it, in which its own lies.
func newHost(t *testing.T) (h *Host, secret string) {
	t.Helper()
	data := t.TempDir()
	secret = filepath.Join(data, "credentials")
	if err := os.WriteFile(secret, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	h = &Host{Dir: filepath.Join(data, "workloads"), Hidden: []string{data}, Endpoint: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "this is iamd")
	})}
	if err := h.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h, secret
}

func runJob(t *testing.T, h *Host, job Job, script string) (string, error) {
	t.Helper()
	var out lockedBuffer
	job.Path, job.Args, job.Output = "/bin/sh", []string{"-c", script}, &out
	r, err := h.Run(t.Context(), job)
	if errors.Is(err, ErrNoNamespaces) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Remove() })
	err = r.Wait()
	return out.String(), err
}

func TestJob(t *testing.T) {
	h, secret := newHost(t)
	fill := func(dir string) error { return os.WriteFile(filepath.Join(dir, "hello"), []byte("hello\n"), 0o644) }
	for _, test := range []struct{ name, script, want string }{
		{"its files are where it begins", "pwd; cat hello", "/mnt\nhello\n"},
		{"it may write there and in its own /tmp", "echo x > hello && echo y > /tmp/y && ls /tmp", "y\n"},
		{"the environment is its own", "env | sort | grep -v ^PWD= | grep -v ^_= | grep -v ^SHLVL=", "A=b\nAWS_ENDPOINT_URL=http://127.0.0.1:4600\nHOME=/tmp\nLANG=C.UTF-8\nPATH=/usr/local/bin:/usr/bin:/bin\nTMPDIR=/tmp\n"},
		{"what is hidden is out of reach", "cat " + secret + " 2>/dev/null || echo nothing", "nothing\n"},
		{"it sees no process but its own", "ls /proc | grep -c '^[0-9]' | awk '{ print ($1 < 8) }'", "1\n"},
		{"it writes nowhere else", "for d in /etc /var/tmp /usr $HOME/.. " + filepath.Dir(h.Dir) + "; do (echo x > $d/x) 2>/dev/null && echo $d; done; echo done", "done\n"},
		{"no socket of the machine is there", "ls /run; ls /var/run/; echo x > /dev/shm/x && echo shared memory", "shared memory\n"},
		{"it is not root", "mount -t tmpfs none /mnt 2>/dev/null || echo refused", "refused\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := runJob(t, h, Job{Kind: "test", Name: "job", Fill: fill, Env: []string{"A=b"}}, test.script)
			if err != nil || got != test.want {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
}

// A job reaches iamd and who answers for it, at the address that it expects.
func TestJobNetwork(t *testing.T) {
	curl, err := (&Host{}).LookPath("curl")
	if err != nil {
		t.Skip(err)
	}
	h, _ := newHost(t)
	metadata := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "metadata for "+r.Host) })
	got, err := runJob(t, h, Job{Kind: "test", Serve: map[string]http.Handler{"169.254.169.254:80": metadata, "127.0.0.1:9001": metadata}},
		curl+" -s $AWS_ENDPOINT_URL/; echo; "+curl+" -s http://169.254.169.254/latest; echo; "+curl+" -s http://127.0.0.1:9001/; echo; "+curl+" -s -m 2 http://169.254.170.2/ || echo nobody")
	if want := "this is iamd\nmetadata for 169.254.169.254\nmetadata for 127.0.0.1:9001\nnobody\n"; err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

// A job that ends at once has been started all the same.
func TestJobEndsAtOnce(t *testing.T) {
	h, _ := newHost(t)
	nobody := http.NotFoundHandler()
	for range 30 {
		if _, err := runJob(t, h, Job{Kind: "test", Serve: map[string]http.Handler{"169.254.169.254:80": nobody, "127.0.0.1:9001": nobody}}, "exit 0"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestJobTask(t *testing.T) {
	h, _ := newHost(t)
	task := filepath.Join(filepath.Dir(h.Dir), "code")
	if err := os.MkdirAll(task, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(task, "code"), []byte("shared\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := runJob(t, h, Job{Kind: "test", Task: task}, "cat code; (echo x > code) 2>/dev/null || echo read-only; touch /tmp/x && echo writable")
	if want := "shared\nread-only\nwritable\n"; err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestJobTime(t *testing.T) {
	h, _ := newHost(t)
	began := time.Now()
	if _, err := runJob(t, h, Job{Kind: "test", Time: 100 * time.Millisecond}, "sleep 60 & wait"); err == nil || time.Since(began) > 30*time.Second {
		t.Errorf("it ended with %v after %v", err, time.Since(began))
	}
}

// Nothing of a job is left: not when the host closes, and not when it opens after a crash.
func TestHostClose(t *testing.T) {
	h, _ := newHost(t)
	r, err := h.Run(t.Context(), Job{Kind: "test", Path: "/bin/sleep", Args: []string{"600"}})
	if errors.Is(err, ErrNoNamespaces) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
	select {
	case <-r.Done():
	default:
		t.Error("it runs on")
	}
	if _, err := h.Run(context.Background(), Job{Kind: "test", Path: "/bin/true"}); err == nil {
		t.Error("a closed host started a job")
	}
	if err := h.Open(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(h.Dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestHostOff(t *testing.T) {
	h := &Host{Off: ErrOff}
	if _, err := h.Run(t.Context(), Job{Path: "/bin/true"}); !errors.Is(err, ErrOff) || !strings.Contains(err.Error(), "--workloads=process") {
		t.Errorf("got %v", err)
	}
}

// A command is one more program in a job: with its user, its files, its network and its end.
func TestExec(t *testing.T) {
	h, _ := newHost(t)
	r, err := h.Run(t.Context(), Job{Kind: "test", Path: "/bin/sleep", Args: []string{"600"}, Env: []string{"A=b"}})
	if errors.Is(err, ErrNoNamespaces) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Remove() })
	run := func(c Command) (string, int, error) {
		t.Helper()
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer read.Close()
		c.Stdout, c.Stderr = write, write
		e, err := r.Exec(c)
		write.Close()
		if err != nil {
			return "", 0, err
		}
		out, err := io.ReadAll(read)
		if err != nil {
			t.Fatal(err)
		}
		code, err := e.Wait()
		return string(out), code, err
	}
	for _, test := range []struct {
		name string
		c    Command
		out  string
		code int
	}{
		{"it has the job's environment and directory", Command{Path: "/bin/sh", Args: []string{"-c", "echo $A; pwd; id -u; exit 7"}}, "b\n/mnt\n", 7},
		{"or its own", Command{Path: "/bin/sh", Args: []string{"-c", "echo $A; pwd"}, Env: []string{"A=c"}, Dir: "/tmp"}, "c\n/tmp\n", 0},
		{"what ends by a signal", Command{Path: "/bin/sh", Args: []string{"-c", "kill -TERM $$"}}, "", 128 + 15},
		{"it sees the job's program", Command{Path: "/bin/sh", Args: []string{"-c", "cat /proc/[0-9]*/comm | grep -c sleep"}}, "1\n", 0},
	} {
		out, code, err := run(test.c)
		if !strings.HasPrefix(out, test.out) || code != test.code || err != nil {
			t.Errorf("%s: %q, %d, %v", test.name, out, code, err)
		}
	}
	if _, _, err := run(Command{Path: "/no/such/program"}); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a program that is not there: %v", err)
	}

	killed, err := r.Exec(Command{Path: "/bin/sh", Args: []string{"-c", "sleep 601 & wait"}})
	if err != nil {
		t.Fatal(err)
	}
	killed.Kill()
	if code, err := killed.Wait(); code != 128+9 || err != nil {
		t.Errorf("killed: %d, %v", code, err)
	}
	left, err := r.Exec(Command{Path: "/bin/sleep", Args: []string{"600"}})
	if err != nil {
		t.Fatal(err)
	}
	r.Kill()
	if _, err := left.Wait(); err == nil {
		t.Error("it outlived its job")
	}
	if _, err := r.Exec(Command{Path: "/bin/true"}); err == nil {
		t.Error("a command was started in a job that has ended")
	}
}
