package workload

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/iamd-dev/iamd/internal/docker"
	"github.com/iamd-dev/iamd/internal/workload/enginetest"
)

// fetch prints what a server answers.
func fetch(url string) {
	r, err := (&http.Client{Timeout: 5 * time.Second}).Get(url)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	io.Copy(os.Stdout, r.Body)
	os.Exit(0)
}

// runHost is a server with a container. It is killed.
func runHost(engine, dir, image string) {
	ctx := context.Background()
	client, err := docker.Connect(ctx, engine)
	if err != nil {
		panic(err)
	}
	h := &Host{Dir: dir, Endpoint: http.NotFoundHandler(), Engine: client}
	if err := h.Open(); err != nil {
		panic(err)
	}
	n, err := h.ShareNetwork(ctx, "test", "killed", nil)
	if err != nil {
		panic(err)
	}
	c, err := n.Create(ctx, ContainerJob{Kind: "test", Name: "killed", Image: image, Command: []string{"/bin/sleep", "600"}})
	if err != nil {
		panic(err)
	}
	if err := c.Start(ctx); err != nil {
		panic(err)
	}
	fmt.Println("ready")
	select {}
}

// containerHost is a host with an engine in which an image has a shell.
func containerHost(t *testing.T, engine *docker.Client) *Host {
	t.Helper()
	h := &Host{Dir: filepath.Join(t.TempDir(), "workloads"), Engine: engine, Endpoint: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "this is iamd, and you are %s\n", r.RemoteAddr[:strings.LastIndexByte(r.RemoteAddr, ':')])
	})}
	if err := h.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func share(t *testing.T, h *Host, says string) *SharedNetwork {
	t.Helper()
	n, err := h.ShareNetwork(t.Context(), "test", "network", map[string]http.Handler{"169.254.170.2:80": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, says+"\n")
	})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func shell(image, script string) ContainerJob {
	return ContainerJob{Kind: "test", Name: "shell", Image: image, Entrypoint: []string{"/bin/sh", "-c"}, Command: []string{script}, StopAfter: time.Second}
}

// begin starts a container and returns it with its output.
func begin(t *testing.T, n *SharedNetwork, job ContainerJob) (*Container, *lockedBuffer) {
	t.Helper()
	var out lockedBuffer
	job.Output = &out
	c, err := n.Create(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Remove() })
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c, &out
}

// wait waits until a container has written something.
func (b *lockedBuffer) wait(t *testing.T, c *Container, want string) {
	t.Helper()
	for !strings.Contains(b.String(), want) {
		select {
		case <-c.Done():
			if !strings.Contains(b.String(), want) {
				t.Fatalf("it ended, and wrote %q", b.String())
			}
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// What holds of every engine. The one of the tests isolates nothing.
func TestContainers(t *testing.T) {
	t.Run("fake", func(t *testing.T) {
		e := enginetest.Start(t)
		e.Have("box", "")
		engine, err := docker.Connect(t.Context(), e.Host)
		if err != nil {
			t.Fatal(err)
		}
		testContainers(t, engine, "box")
		if n := e.Containers(); n != 0 {
			t.Errorf("%d containers are left", n)
		}
	})
	t.Run("real", func(t *testing.T) {
		engine := enginetest.Real(t)
		testContainers(t, engine, box(t, engine))
	})
}

// box is an image with a shell, some programs, and this test as /bin/fetch.
func box(t *testing.T, engine *docker.Client) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	programs := map[string]string{"/bin/fetch": self}
	for _, name := range []string{"sh", "sleep", "cat", "env", "id", "mount", "ls"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Skip(err)
		}
		programs["/bin/"+name] = path
	}
	return enginetest.Import(t, engine, "", programs)
}

func testContainers(t *testing.T, engine *docker.Client, image string) {
	h := containerHost(t, engine)
	n := share(t, h, "you are it")
	for _, test := range []struct {
		name string
		job  ContainerJob
		want string
		code int
	}{
		{"what it writes is kept, from both outputs", shell(image, "echo out; echo err >&2"), "out\nerr\n", 0},
		{"its exit code", shell(image, "exit 3"), "", 3},
		{"a signal", shell(image, "sh -c 'kill -9 $$'"), "Killed", 137},
		{"its environment", ContainerJob{Image: image, Entrypoint: []string{"/bin/sh"}, Command: []string{"-c", "echo $A $AWS_ENDPOINT_URL"}, Env: []string{"A=b c"}}, "b c http://127.0.0.1:4600\n", 0},
		{"its own endpoint", ContainerJob{Image: image, Entrypoint: []string{"/bin/sh"}, Command: []string{"-c", "echo $AWS_ENDPOINT_URL"}, Env: []string{"AWS_ENDPOINT_URL=http://other"}}, "http://other\n", 0},
		{"its directory", ContainerJob{Image: image, Entrypoint: []string{"/bin/sh"}, Command: []string{"-c", "pwd"}, WorkDir: "/tmp"}, "/tmp\n", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, out := begin(t, n, test.job)
			if code, reason := c.Exit(); code != test.code || reason != "" {
				t.Errorf("it ended with %d %s, want %d", code, reason, test.code)
			}
			for _, line := range strings.SplitAfter(test.want, "\n") { // two outputs have no order
				if !strings.Contains(out.String(), line) {
					t.Errorf("it wrote %q, want %q", out.String(), test.want)
				}
			}
		})
	}
	t.Run("it is asked to stop", func(t *testing.T) {
		c, out := begin(t, n, shell(image, "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.01; done"))
		out.wait(t, c, "ready")
		c.Stop()
		if code, _ := c.Exit(); code != 5 || !strings.Contains(out.String(), "bye") {
			t.Errorf("it ended with %d and wrote %q", code, out.String())
		}
	})
	t.Run("it does not want to stop", func(t *testing.T) {
		c, out := begin(t, n, shell(image, "trap '' TERM; echo ready; while :; do sleep 0.01; done"))
		out.wait(t, c, "ready")
		c.Stop()
		if code, reason := c.Exit(); code != 137 || reason != "" {
			t.Errorf("it ended with %d %s", code, reason)
		}
	})
	t.Run("it is killed", func(t *testing.T) {
		c, _ := begin(t, n, shell(image, "sleep 600"))
		c.Kill()
		if code, _ := c.Exit(); code != 137 {
			t.Errorf("it ended with %d", code)
		}
		c.Kill()
		c.Stop()
	})
	t.Run("a program that is not there", func(t *testing.T) {
		c, err := n.Create(t.Context(), ContainerJob{Image: image, Command: []string{"/nowhere"}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Remove()
		if err := c.Start(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "Error response from daemon: ") {
			t.Errorf("starting it: %v", err)
		}
	})
	t.Run("no program", func(t *testing.T) {
		if _, err := n.Create(t.Context(), ContainerJob{Image: image}); err == nil || !strings.Contains(strings.ToLower(err.Error()), "no command") {
			t.Errorf("creating it: %v", err)
		}
	})
	t.Run("an image that is not there", func(t *testing.T) {
		if _, err := h.Pull(t.Context(), "localhost:1/iamd-test/nothing:1"); err == nil || !strings.HasPrefix(err.Error(), "Error response from daemon: ") {
			t.Errorf("pulling it: %v", err)
		}
		if _, err := h.Pull(t.Context(), image); err != nil {
			t.Errorf("pulling what is there: %v", err)
		}
	})
	t.Run("names of images that are other paths", func(t *testing.T) {
		for _, name := range []string{"", "../containers/json", "a/../../b", "a?b", "a b", "/a", "a//b", "a\n", "A", "a@sha256:1"} {
			if _, err := h.Pull(t.Context(), name); err == nil || !strings.Contains(err.Error(), "invalid reference format") {
				t.Errorf("pulling %q: %v", name, err)
			}
			if _, err := n.Create(t.Context(), ContainerJob{Image: name}); err == nil || !strings.Contains(err.Error(), "invalid reference format") {
				t.Errorf("creating one of %q: %v", name, err)
			}
		}
	})
	t.Run("another server's containers stay", func(t *testing.T) {
		c, _ := begin(t, n, shell(image, "sleep 600"))
		other := containerHost(t, engine)
		other.Close()
		select {
		case <-c.Done():
			t.Error("it was ended")
		default:
		}
	})
	t.Run("the next start removes what was left", func(t *testing.T) {
		c, _ := begin(t, n, shell(image, "sleep 600"))
		again := &Host{Dir: h.Dir, Engine: engine, Endpoint: h.Endpoint}
		if err := again.Open(); err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		<-c.Done()
		if left, err := engine.List(t.Context(), Label+"="+h.Dir); len(left) > 0 || err != nil {
			t.Errorf("there are still %q, %v", left, err)
		}
	})
	t.Run("what is killed leaves nothing", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "workloads")
		server := exec.Command(os.Args[0], "host", engine.Host(), dir, image)
		server.Stderr = os.Stderr
		out, err := server.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		if line := make([]byte, len("ready\n")); true {
			if _, err := io.ReadFull(out, line); err != nil {
				t.Fatal(err)
			}
		}
		if there, err := engine.List(t.Context(), Label+"="+dir); len(there) != 2 || err != nil {
			t.Errorf("it has the containers %q, %v", there, err)
		}
		server.Process.Kill()
		server.Wait()
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			left, err := engine.List(t.Context(), Label+"="+dir)
			if err != nil {
				t.Fatal(err)
			}
			if len(left) == 0 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("there are still %q", left)
			}
		}
	})
	h.Close()
	if _, err := n.Create(t.Context(), shell(image, "true")); err != errStopping {
		t.Errorf("a container after the end: %v", err)
	}
}

// An engine that does not reach the server's files is found out when the server starts.
func TestEngineElsewhere(t *testing.T) {
	e := enginetest.Start(t)
	e.Elsewhere = true
	engine, err := docker.Connect(t.Context(), e.Host)
	if err != nil {
		t.Fatal(err)
	}
	h := &Host{Dir: filepath.Join(t.TempDir(), "workloads"), Engine: engine, Endpoint: http.NotFoundHandler()}
	if err := h.Open(); err == nil || !strings.Contains(err.Error(), "it must be on this machine") || !strings.Contains(err.Error(), "bind source path does not exist") {
		t.Errorf("opening the host: %v", err)
	}
	if n := e.Containers(); n != 0 {
		t.Errorf("%d containers are left", n)
	}
}

// What containers reach, and what they may do: a real engine's work.
func TestContainersAreKeptToThemselves(t *testing.T) {
	engine := enginetest.Real(t)
	image := box(t, engine)
	h := containerHost(t, engine)
	n, other := share(t, h, "you are it"), share(t, h, "you are another")
	output := func(t *testing.T, n *SharedNetwork, job ContainerJob) string {
		t.Helper()
		c, out := begin(t, n, job)
		c.Exit()
		return out.String()
	}
	for _, test := range []struct {
		name   string
		job    ContainerJob
		want   string
		unwant string
	}{
		{"iamd answers, and knows that it is a workload", shell(image, "fetch fetch $AWS_ENDPOINT_URL"), "this is iamd, and you are 169.254.0.1\n", ""},
		{"its own endpoint answers", shell(image, "fetch fetch http://169.254.170.2"), "you are it\n", ""},
		{"there is no way out", shell(image, "cat /proc/net/route /proc/net/dev"), "lo:", "eth"},
		{"nobody else answers", shell(image, "fetch fetch http://192.0.2.1"), "network is unreachable", ""},
		{"the socket is not there", shell(image, "ls / /iamd"), "bin", networkSocket},
		{"no process of others", shell(image, "set -- /proc/[0-9]*; echo $#"), "1\n", ""},
		{"it gains no privileges", shell(image, "cat /proc/self/status"), "NoNewPrivs:\t1\n", ""},
		{"it has the capabilities that containers have", shell(image, "cat /proc/self/status"), "CapEff:\t00000000a80425fb\n", ""},
		{"it gives up one", ContainerJob{Image: image, Command: []string{"/bin/cat", "/proc/self/status"}, Drop: []string{"ALL"}}, "CapEff:\t0000000000000000\n", ""},
		{"it is somebody", ContainerJob{Image: image, Command: []string{"/bin/id", "-u"}, User: "1234"}, "1234\n", ""},
		{"it mounts nothing", shell(image, "mount -t tmpfs none /tmp"), "permission denied", ""},
		{"its files are read-only", ContainerJob{Image: image, Command: []string{"/bin/sh", "-c", "echo x > /x; echo y > /t/y; cat /t/y"}, ReadOnly: true, Tmpfs: map[string]string{"/t": "size=1m"}}, "y\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			out := output(t, n, test.job)
			if !strings.Contains(out, test.want) || test.unwant != "" && strings.Contains(out, test.unwant) {
				t.Errorf("it wrote %q; want %q, and not %q", out, test.want, test.unwant)
			}
		})
	}
	t.Run("another network's endpoint is another", func(t *testing.T) {
		if got := output(t, other, shell(image, "fetch fetch http://169.254.170.2")); got != "you are another\n" {
			t.Errorf("it wrote %q", got)
		}
	})
	t.Run("containers of a network reach each other, others do not", func(t *testing.T) {
		server, _ := begin(t, n, ContainerJob{Image: image, Entrypoint: []string{"/bin/fetch"}, Command: []string{"server"}})
		defer server.Kill()
		ask := "while ! fetch fetch http://127.0.0.1:8000 && test -z $ONCE; do sleep 0.05; done"
		if got := output(t, n, shell(image, ask)); !strings.HasSuffix(got, "lo ") {
			t.Errorf("the same network: %q", got)
		}
		once := shell(image, ask)
		once.Env = []string{"ONCE=1"}
		if got := output(t, other, once); !strings.Contains(got, "connection refused") {
			t.Errorf("another network: %q", got)
		}
	})
	t.Run("memory", func(t *testing.T) {
		job := shell(image, "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done")
		job.Memory = 16 << 20
		c, _ := begin(t, n, job)
		if code, reason := c.Exit(); code != 137 || reason != "OutOfMemoryError: Container killed due to memory usage" && reason != "" { // not every engine knows
			t.Errorf("it ended with %d, %q", code, reason)
		}
	})
	t.Run("a process cannot ask the engine", func(t *testing.T) {
		out, err := runJob(t, h, Job{}, "test -S "+engine.Socket()+" && echo there; cat "+engine.Socket())
		if strings.Contains(out, "there") {
			t.Errorf("it wrote %q, %v", out, err)
		}
	})
}

// What a job is to the engine.
func TestContainerConfig(t *testing.T) {
	job := ContainerJob{
		Kind: "ecs", Name: "web", Image: "nginx:1", Labels: map[string]string{"a": "b", Label: "another server's"},
		Entrypoint: []string{"/e"}, Command: []string{"c"}, Env: []string{"A=b"}, WorkDir: "/w", User: "u:g", Terminal: true, Stdin: true, Init: true,
		ReadOnly: true, Tmpfs: map[string]string{"/t": "size=1m"}, Shared: 1 << 20, Drop: []string{"NET_RAW"}, Limits: []Ulimit{{Name: "nofile", Soft: 1, Hard: 2}}, Sysctls: map[string]string{"net.core.somaxconn": "1"},
		Memory: 64 << 20, Reserved: 32 << 20, Shares: 512, CPU: 256,
	}
	want := &docker.Config{
		Image: "nginx:1", Entrypoint: []string{"/e"}, Cmd: []string{"c"}, Env: []string{"A=b", "AWS_ENDPOINT_URL=http://127.0.0.1:4600"}, WorkingDir: "/w", User: "u:g",
		Labels: map[string]string{"a": "b", Label: "/data"}, Tty: true, OpenStdin: true, Healthcheck: &docker.Healthcheck{Test: []string{"NONE"}},
		HostConfig: docker.HostConfig{
			NetworkMode: "container:held", LogConfig: docker.LogConfig{Type: "none"}, SecurityOpt: []string{"no-new-privileges"}, CapDrop: []string{"NET_RAW"},
			Tmpfs: map[string]string{"/t": "size=1m"}, ReadonlyRootfs: true, Init: true, ShmSize: 1 << 20, Memory: 64 << 20, MemoryReservation: 32 << 20, MemorySwap: 64 << 20,
			CPUShares: 512, CPUPeriod: 100000, CPUQuota: 25000, PidsLimit: 4096, Ulimits: []docker.Ulimit{{Name: "nofile", Soft: 1, Hard: 2}}, Sysctls: map[string]string{"net.core.somaxconn": "1"},
		},
	}
	if diff := cmp.Diff(want, job.config("/data", "held")); diff != "" {
		t.Error(diff)
	}
	small := ContainerJob{Image: "x", Memory: 1, CPU: 1}
	if c := small.config("/data", "held").HostConfig; c.Memory != 6<<20 || c.CPUQuota != 1000 {
		t.Errorf("the least of memory and CPU: %d, %d", c.Memory, c.CPUQuota)
	}
}
