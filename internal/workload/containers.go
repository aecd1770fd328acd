package workload

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/iamd-dev/iamd/internal/docker"
)

// Label is the label of all containers of hosts. Its value is the host's directory.
const Label = "iamd.workloads"

const (
	networkImage  = "localhost/iamd-network:1" // it holds nothing: what runs in it is mounted
	networkKeeper = "/iamd-network"            // inside: this executable, and the name by which it knows what to do
	networkDir    = "/iamd"                    // inside: the directory with our socket
	networkSocket = "socket"                   // in it
	reapName      = "iamd-reaper"              // the zeroth argument of the program that outlives us
	containerPIDs = defaultProcesses           // of one container
	minimumMemory = int64(6 << 20)             // what an engine allows
	cpuPeriod     = 100_000                    // microseconds
	engineQuick   = 30 * time.Second           // for what must not hold up an end
	mostSaid      = 4 << 10                    // of what a keeper says before it fails
	networkWait   = 2 * startWait              // for a keeper that an engine starts
	sharesOfCPU   = 1024                       // units of CPU, in ECS's words, or shares in Docker's
)

// A SharedNetwork is one that containers share, and in which they meet what ShareNetwork was
// told to serve, iamd, and nothing else.
type SharedNetwork struct {
	host      *Host
	holder    string // the id of the container that holds it
	dir       string
	control   *net.UnixConn // the keeper lives as long as this is open
	listeners map[string]net.Listener
	servers   []*http.Server
}

// A ContainerJob is what is to run as a container.
type ContainerJob struct {
	Kind, Name string // of the container, for those who look
	Image      string // which the engine has: see Host.Pull
	Labels     map[string]string

	Entrypoint, Command []string // nil: the image's
	Env                 []string // beside the image's and AWS_ENDPOINT_URL
	WorkDir, User       string   // "": the image's
	Terminal, Stdin     bool
	Init                bool          // its first process buries orphans
	StopAfter           time.Duration // how long it may take to end when it is told to; zero: at once

	ReadOnly bool              // its files, but for Tmpfs
	Tmpfs    map[string]string // options by path
	Shared   int64             // bytes of /dev/shm
	Drop     []string          // capabilities that it does not have, of those that an engine gives
	Limits   []Ulimit
	Sysctls  map[string]string

	// Zero: none.
	Memory, Reserved int64 // bytes
	Shares           int64 // of the CPU beside other containers: 1024 are usual
	CPU              int64 // units of CPU, 1024 of them are one, that it never has more of

	Output io.Writer // standard output and error together; nil: dropped
}

// A Ulimit is a limit of a container's processes.
type Ulimit = docker.Ulimit

// A Container is one that was created, and later one that runs, or has run.
type Container struct {
	host *Host
	id   string
	job  ContainerJob

	stop     context.CancelFunc // ends the waiting, for an engine that does not answer
	attached io.ReadCloser
	done     chan struct{}

	// After done.
	code   int
	reason string
}

// openEngine removes what an earlier life left in the engine, and sees to it that nothing
// is left there of this one, however it ends.
func (h *Host) openEngine() (err error) {
	if h.Dir, err = filepath.Abs(h.Dir); err == nil {
		h.Dir, err = filepath.EvalSymlinks(h.Dir) // the same whatever way leads to it: the containers' label
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), networkWait)
	defer cancel()
	if err := removeContainers(ctx, h.Engine, h.Dir); err != nil {
		return fmt.Errorf("removing containers that were left: %w", err)
	}
	if h.reaper, err = startReaper(h.Engine.Host(), h.Dir); err != nil {
		return err
	}
	// What an engine cannot give is better known now than when the first task fails.
	n, err := h.ShareNetwork(ctx, "start", "trial", nil)
	if err == nil {
		err = n.Close()
	}
	if err != nil {
		h.closeEngine()
		return fmt.Errorf("the engine at %s cannot hold a network for containers; it must be on this machine, in no container and no virtual machine: %w", h.Engine.Host(), err)
	}
	return nil
}

// closeEngine removes all containers.
func (h *Host) closeEngine() {
	ctx, cancel := context.WithTimeout(context.Background(), engineQuick)
	defer cancel()
	if err := removeContainers(ctx, h.Engine, h.Dir); err != nil && h.Log != nil {
		h.Log.Error("containers are left; the next start removes them", "error", err)
	}
	h.reaper.Close()
}

// removeContainers removes the containers of a host. Engines there are that do not remove
// one in whose network another still is: it is tried again for as long as that helps.
func removeContainers(ctx context.Context, engine *docker.Client, dir string) error {
	for {
		ids, err := engine.List(ctx, Label+"="+dir)
		if err != nil || len(ids) == 0 {
			return err
		}
		var all sync.WaitGroup
		errs := make([]error, len(ids))
		for i, id := range ids { // at once: an engine takes a while over each
			all.Go(func() {
				if err := engine.Remove(ctx, id); err != nil && !docker.NotFound(err) {
					errs[i] = err
				}
			})
		}
		all.Wait()
		if !slices.Contains(errs, nil) {
			return errors.Join(errs...)
		}
	}
}

// Pull has the engine fetch an image, unless it has it, and returns its digest: "" for one
// that came from no registry.
func (h *Host) Pull(ctx context.Context, image string) (digest string, err error) {
	found, err := h.Engine.Image(ctx, image)
	if docker.NotFound(err) {
		if err := h.Engine.Pull(ctx, image); err != nil {
			return "", err
		}
		found, err = h.Engine.Image(ctx, image)
	}
	if err != nil {
		return "", err
	}
	for _, name := range found.RepoDigests {
		_, digest, _ = strings.Cut(name, "@")
	}
	return digest, nil
}

// ShareNetwork makes a network. Serve says who answers at addresses in it, as for a Job.
func (h *Host) ShareNetwork(ctx context.Context, kind, name string, serve map[string]http.Handler) (_ *SharedNetwork, err error) {
	if h.Off != nil {
		return nil, h.Off
	}
	n := &SharedNetwork{host: h}
	defer func() {
		if err != nil {
			n.Close()
		}
	}()
	if n.dir, err = os.MkdirTemp(h.Dir, "network-"); err != nil {
		return nil, err
	}
	// Who is root in the container may be anybody out here. Others do not come as far as this.
	if err := os.Chmod(n.dir, 0o755); err != nil {
		return nil, err
	}
	socket, err := listenIn(n.dir, networkSocket)
	if err != nil {
		return nil, fmt.Errorf("listening for a network's keeper: %w", err)
	}
	defer socket.Close()

	config, err := h.networkConfig(n.dir)
	if err != nil {
		return nil, err
	}
	if _, err := h.Engine.Image(ctx, networkImage); docker.NotFound(err) {
		if err := h.Engine.Import(ctx, networkImage, emptyTar()); err != nil {
			return nil, fmt.Errorf("making the image %s: %w", networkImage, err)
		}
	}
	if n.holder, err = h.Engine.Create(ctx, containerName(kind, name, "network"), config); err != nil {
		return nil, err
	}
	said := &beginning{}
	attached, err := h.Engine.Attach(ctx, n.holder)
	if err != nil {
		return nil, err
	}
	go func() {
		docker.Copy(said, attached)
		attached.Close()
		socket.Close() // it has ended: nobody connects any more
	}()
	if err := h.Engine.Start(ctx, n.holder); err != nil {
		return nil, err
	}
	socket.SetDeadline(time.Now().Add(networkWait))
	defer context.AfterFunc(ctx, func() { socket.Close() })()
	if n.control, err = socket.AcceptUnix(); err != nil {
		return nil, fmt.Errorf("the keeper of the network did not come: %w: %s", err, said)
	}

	serve = h.served(serve)
	addresses := addressesOf(serve)
	text, err := json.Marshal(addresses)
	if err != nil {
		return nil, err
	}
	if _, err := n.control.Write(text); err != nil {
		return nil, fmt.Errorf("telling the keeper of the network: %w", err)
	}
	if n.listeners, err = receiveListeners(n.control, addresses); err != nil {
		return nil, fmt.Errorf("the keeper of the network: %w", err)
	}
	n.control.SetDeadline(time.Time{})
	for address, handler := range serve {
		s := newServer(handler)
		n.servers = append(n.servers, s)
		go s.Serve(n.listeners[address])
	}
	return n, nil
}

// networkConfig is the container that holds a network. Of the machine it has this
// executable, and the directory with the socket.
func (h *Host) networkConfig(dir string) (*docker.Config, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding the executable: %w", err)
	}
	libraries, err := linked(self)
	if err != nil {
		return nil, err
	}
	mounts := []docker.Mount{
		{Type: "bind", Source: self, Target: networkKeeper, ReadOnly: true},
		{Type: "bind", Source: dir, Target: networkDir, ReadOnly: true},
	}
	for _, path := range libraries {
		mounts = append(mounts, docker.Mount{Type: "bind", Source: path, Target: path, ReadOnly: true})
	}
	return &docker.Config{
		Image: networkImage, Entrypoint: []string{networkKeeper}, User: "0:0", WorkingDir: "/",
		Labels: map[string]string{Label: h.Dir},
		HostConfig: docker.HostConfig{
			NetworkMode: "none", LogConfig: docker.LogConfig{Type: "none"}, Mounts: mounts, ReadonlyRootfs: true,
			// The executable may be one that only its owner may run; and SELinux would keep
			// it from files of the machine that have no label of containers.
			CapDrop: []string{"ALL"}, CapAdd: []string{"NET_ADMIN", "NET_BIND_SERVICE", "DAC_OVERRIDE"},
			SecurityOpt: []string{"no-new-privileges", "label=disable"},
		},
	}, nil
}

// emptyTar holds no file.
func emptyTar() io.Reader {
	var b bytes.Buffer
	tar.NewWriter(&b).Close()
	return &b
}

// containerName is one that no other container has.
func containerName(kind string, names ...string) string {
	return "iamd-" + kind + "-" + plain(strings.Join(names, "-")) + "-" + strings.ToLower(rand.Text()[:10])
}

// Create makes a container in the network. It does not run yet.
func (n *SharedNetwork) Create(ctx context.Context, job ContainerJob) (*Container, error) {
	c := &Container{host: n.host, job: job, done: make(chan struct{})}
	n.host.mu.Lock()
	closed := n.host.closed
	n.host.mu.Unlock()
	if closed {
		return nil, errStopping
	}
	var err error
	c.id, err = n.host.Engine.Create(ctx, containerName(job.Kind, job.Name), job.config(n.host.Dir, n.holder))
	return c, err
}

// config is what a container is to the engine: what the job asks for, and what keeps it
// in its place whatever it asks for.
func (j *ContainerJob) config(host, network string) *docker.Config {
	labels := map[string]string{}
	maps.Copy(labels, j.Labels)
	labels[Label] = host
	c := &docker.Config{
		Image: j.Image, Entrypoint: j.Entrypoint, Cmd: j.Command, Env: withEach(j.Env, "AWS_ENDPOINT_URL="+Endpoint),
		WorkingDir: j.WorkDir, User: j.User, Labels: labels, Tty: j.Terminal, OpenStdin: j.Stdin,
		Healthcheck: &docker.Healthcheck{Test: []string{"NONE"}}, // nobody would look at what comes of the image's
		HostConfig: docker.HostConfig{
			NetworkMode: "container:" + network,
			LogConfig:   docker.LogConfig{Type: "none"}, // we are attached, and keep what we want
			SecurityOpt: []string{"no-new-privileges"},
			CapDrop:     j.Drop,
			Tmpfs:       j.Tmpfs, ReadonlyRootfs: j.ReadOnly, Init: j.Init, ShmSize: j.Shared,
			MemoryReservation: j.Reserved, CPUShares: j.Shares, PidsLimit: containerPIDs, Ulimits: j.Limits, Sysctls: j.Sysctls,
		},
	}
	if j.Memory != 0 {
		m := max(j.Memory, minimumMemory)
		c.HostConfig.Memory, c.HostConfig.MemorySwap = m, m // no swap
		c.HostConfig.MemoryReservation = min(j.Reserved, m)
	}
	if j.CPU != 0 {
		c.HostConfig.CPUPeriod, c.HostConfig.CPUQuota = cpuPeriod, max(j.CPU*cpuPeriod/sharesOfCPU, cpuPeriod/100)
	}
	return c
}

// ID is the engine's.
func (c *Container) ID() string { return c.id }

// Start has the container run. The error is that it could not be started.
func (c *Container) Start(ctx context.Context) (err error) {
	waiting, stop := context.WithCancel(context.Background())
	c.stop = stop
	defer func() {
		if err != nil {
			stop()
		}
	}()
	// Before the start, so that nothing is missed.
	if c.attached, err = c.host.Engine.Attach(waiting, c.id); err != nil {
		return err
	}
	if err = c.host.Engine.Start(ctx, c.id); err != nil {
		c.attached.Close()
		return err
	}
	go c.watch(waiting)
	return nil
}

// watch waits for the end of the container, and of what it wrote.
func (c *Container) watch(ctx context.Context) {
	defer close(c.done)
	defer c.stop()
	read := make(chan struct{})
	go func() {
		defer close(read)
		out := cmp.Or[io.Writer](c.job.Output, io.Discard)
		if c.job.Terminal {
			io.Copy(out, c.attached)
		} else {
			docker.Copy(out, c.attached)
		}
	}()
	var err error
	if c.code, err = c.host.Engine.Wait(ctx, c.id); err != nil {
		c.code, c.reason = killed, "the engine lost it: "+err.Error()
		c.stop()
	}
	<-read
	c.attached.Close()
	if c.code == killed && err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), engineQuick)
		defer cancel()
		if state, err := c.host.Engine.State(ctx, c.id); err == nil && state.OOMKilled {
			c.reason = "OutOfMemoryError: Container killed due to memory usage"
		}
	}
}

// killed is the exit code of what SIGKILL ended, as in a shell.
const killed = 137

// Done is closed when the container has ended.
func (c *Container) Done() <-chan struct{} { return c.done }

// Exit waits for the end of the container and returns its exit code, and the reason where
// it is not the container's own.
func (c *Container) Exit() (code int, reason string) {
	<-c.done
	return c.code, c.reason
}

// Stop asks the container to end, has it killed if it does not, and returns when it is gone.
func (c *Container) Stop() {
	ctx, cancel := context.WithTimeout(context.Background(), c.job.StopAfter+engineQuick)
	defer cancel()
	if err := c.host.Engine.Stop(ctx, c.id, c.job.StopAfter); err != nil {
		c.Kill()
	}
	<-c.done
}

// Kill kills the container and returns when it is gone.
func (c *Container) Kill() {
	ctx, cancel := context.WithTimeout(context.Background(), engineQuick)
	defer cancel()
	if c.host.Engine.Kill(ctx, c.id) != nil { // it has ended, or the engine has
		select {
		case <-c.done:
		case <-time.After(stopWait):
			c.stop()
		}
	}
	<-c.done
}

// Remove kills the container if it still runs, and removes it.
func (c *Container) Remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), engineQuick)
	defer cancel()
	err := c.host.Engine.Remove(ctx, c.id)
	if docker.NotFound(err) {
		return nil
	}
	return err
}

// Close removes the network. Containers in it must have been removed.
func (n *SharedNetwork) Close() error {
	for _, s := range n.servers {
		s.Close()
	}
	for _, l := range n.listeners {
		l.Close()
	}
	var err error
	if n.holder != "" {
		ctx, cancel := context.WithTimeout(context.Background(), engineQuick)
		defer cancel()
		if err = n.host.Engine.Remove(ctx, n.holder); docker.NotFound(err) {
			err = nil
		}
	}
	if n.control != nil {
		n.control.Close()
	}
	if n.dir != "" {
		err = errors.Join(err, os.RemoveAll(n.dir))
	}
	return err
}

// listenIn makes a socket in a directory whose path may be longer than a socket's may be.
func listenIn(dir, name string) (*net.UnixListener, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Net: "unixpacket", Name: fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), name)})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // by then its path names something else; the directory goes as a whole
	if err := os.Chmod(filepath.Join(dir, name), 0o666); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// hidesEngine are files that nothing may reach that the machine runs: who asks the engine is its root.
func (h *Host) hidesEngine() []string {
	if h.Engine == nil {
		return nil
	}
	socket, err := filepath.EvalSymlinks(h.Engine.Socket())
	if err != nil || strings.HasPrefix(socket, "/run/") { // which is hidden as a whole
		return nil
	}
	return []string{socket}
}

// A beginning keeps the beginning of what is said. It is written by one and read by another.
type beginning struct {
	mu   sync.Mutex
	text []byte
}

func (t *beginning) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b[:min(len(b), mostSaid-len(t.text))]...)
	return len(b), nil
}

func (t *beginning) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}
