// Package enginetest is an engine for tests: it answers as much of Docker's API as workloads
// ask of it, and runs containers as plain processes of the machine, with nothing around
// them. What they would reach in their network, the test reaches by Dial.
//
//	e := enginetest.Start(t)
//	e.Have("busybox", "sha256:...")
//	engine, err := docker.Connect(ctx, e.Host)
//
// It passes the test of a real engine (workload's TestContainers), but for what isolates.
// Where there is a real one, Real finds it, and Import gives it an image without a registry.
package enginetest

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/docker"
)

// An Engine is one that a test has to itself.
type Engine struct {
	Host    string // for docker.Connect
	Version string // of the API that it speaks

	Elsewhere bool // it sees none of this machine's files

	mu         sync.Mutex
	images     map[string]string // digests by name
	pulled     []string
	registry   map[string]string // what can be pulled
	containers map[string]*container
	created    []docker.Config
}

type container struct {
	engine  *Engine
	id      string
	config  docker.Config
	process *exec.Cmd
	ended   chan struct{}
	code    int
	output  io.WriteCloser // to who is attached

	holder    net.Conn          // of a network: to whom it was made for
	addresses map[string]string // of a network: where its addresses are
}

// Start starts an engine that ends with the test.
func Start(t testing.TB) *Engine {
	dir, err := os.MkdirTemp("", "engine-") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{Host: "unix://" + socket, Version: "1.43", images: map[string]string{}, registry: map[string]string{}, containers: map[string]*container{}}
	s := &http.Server{Handler: e}
	go s.Serve(l)
	t.Cleanup(func() {
		s.Close()
		e.mu.Lock()
		for _, c := range e.containers {
			c.signal(syscall.SIGKILL)
		}
		e.mu.Unlock()
		os.RemoveAll(dir)
	})
	return e
}

// Have gives the engine an image.
func (e *Engine) Have(name, digest string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.images[name] = digest
}

// Publish makes an image one that the engine can pull.
func (e *Engine) Publish(name, digest string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.registry[name] = digest
}

// Pulled are the images that were asked for from a registry, in order.
func (e *Engine) Pulled() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.pulled)
}

// Created are the containers that were asked for, in order, but for those that hold networks.
func (e *Engine) Created() []docker.Config {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.created)
}

// Containers counts the containers that are there.
func (e *Engine) Containers() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.containers)
}

// Inside is a client that reaches what the containers of the network reach whose holder
// a container names as its NetworkMode.
func (e *Engine) Inside(networkMode string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		e.mu.Lock()
		at := ""
		if c := e.containers[strings.TrimPrefix(networkMode, "container:")]; c != nil {
			at = c.addresses[address]
		}
		e.mu.Unlock()
		if at == "" {
			return nil, errors.New("nobody listens on " + address)
		}
		return (&net.Dialer{}).DialContext(ctx, network, at)
	}}}
}

// ServeHTTP answers as the engine.
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/_ping" {
		w.Header().Set("Api-Version", e.Version)
		w.Header().Set("Ostype", "linux")
		io.WriteString(w, "OK")
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/v"+e.Version+"/")
	if !ok {
		refuse(w, http.StatusBadRequest, "client version is too new")
		return
	}
	what, rest, _ := strings.Cut(path, "/")
	switch i := strings.LastIndexByte(rest, '/'); {
	case what == "images" && rest == "create":
		e.makeImage(w, r)
	case what == "images" && i > 0 && rest[i:] == "/json":
		e.image(w, rest[:i])
	case what == "containers" && rest == "create":
		e.create(w, r)
	case what == "containers" && rest == "json":
		e.list(w, r)
	case what == "containers":
		id, action, _ := strings.Cut(rest, "/")
		e.mu.Lock()
		c := e.containers[id]
		e.mu.Unlock()
		if c == nil {
			refuse(w, http.StatusNotFound, "No such container: "+id)
			return
		}
		c.serve(w, r, action)
	default:
		refuse(w, http.StatusNotFound, "page not found")
	}
}

func refuse(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]string{"message": message})
}

func answer(w http.ResponseWriter, status int, document any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(document)
}

// image finds an image by name, also where one of both names leaves out the usual tag.
func (e *Engine) image(w http.ResponseWriter, name string) {
	e.mu.Lock()
	digest, ok := e.images[strings.TrimSuffix(name, ":latest")]
	e.mu.Unlock()
	if !ok {
		refuse(w, http.StatusNotFound, "No such image: "+name)
		return
	}
	digests := []string{}
	if digest != "" {
		digests = append(digests, name+"@"+digest)
	}
	answer(w, http.StatusOK, map[string]any{"Id": "sha256:0123", "RepoDigests": digests})
}

func (e *Engine) makeImage(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	e.mu.Lock()
	defer e.mu.Unlock()
	if q.Get("fromSrc") == "-" {
		io.Copy(io.Discard, r.Body)
		e.images[q.Get("repo")] = ""
		answer(w, http.StatusOK, map[string]string{"status": "sha256:0123"})
		return
	}
	name := strings.TrimSuffix(q.Get("fromImage")+":"+q.Get("tag"), ":latest")
	e.pulled = append(e.pulled, name)
	digest, ok := e.registry[name]
	if !ok {
		// As an engine does that has begun to answer.
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]string{"status": "Pulling from " + name})
		json.NewEncoder(w).Encode(map[string]any{"error": "pull access denied for " + q.Get("fromImage") + ", repository does not exist or may require 'docker login'", "errorDetail": map[string]string{"message": "..."}})
		return
	}
	e.images[name] = digest
	answer(w, http.StatusOK, map[string]string{"status": "Downloaded newer image for " + name})
}

func (e *Engine) create(w http.ResponseWriter, r *http.Request) {
	var c = container{engine: e, ended: make(chan struct{})}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&c.config); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.images[strings.TrimSuffix(c.config.Image, ":latest")]; !ok {
		refuse(w, http.StatusNotFound, "No such image: "+c.config.Image)
		return
	}
	if len(c.config.HostConfig.Mounts) > 0 && e.Elsewhere {
		refuse(w, http.StatusBadRequest, "invalid mount config for type \"bind\": bind source path does not exist: "+c.config.HostConfig.Mounts[0].Source)
		return
	}
	if len(c.config.Entrypoint)+len(c.config.Cmd) == 0 {
		refuse(w, http.StatusBadRequest, "No command specified")
		return
	}
	id := make([]byte, 32)
	rand.Read(id)
	c.id = hex.EncodeToString(id)
	e.containers[c.id] = &c
	if c.config.HostConfig.NetworkMode != "none" {
		e.created = append(e.created, c.config)
	}
	answer(w, http.StatusCreated, map[string]string{"Id": c.id})
}

func (e *Engine) list(w http.ResponseWriter, r *http.Request) {
	var filter struct{ Label []string }
	json.Unmarshal([]byte(r.URL.Query().Get("filters")), &filter)
	e.mu.Lock()
	defer e.mu.Unlock()
	all := []map[string]string{}
	for id, c := range e.containers {
		if !slices.ContainsFunc(filter.Label, func(l string) bool { k, v, _ := strings.Cut(l, "="); return c.config.Labels[k] != v }) {
			all = append(all, map[string]string{"Id": id})
		}
	}
	answer(w, http.StatusOK, all)
}

func (c *container) serve(w http.ResponseWriter, r *http.Request, action string) {
	switch {
	case r.Method == http.MethodDelete:
		c.engine.mu.Lock()
		defer c.engine.mu.Unlock()
		for _, other := range c.engine.containers { // as Podman does
			if other.config.HostConfig.NetworkMode == "container:"+c.id {
				refuse(w, http.StatusConflict, "container "+c.id+" has dependent containers which must be removed before it: "+other.id)
				return
			}
		}
		c.signal(syscall.SIGKILL)
		delete(c.engine.containers, c.id)
		if c.holder != nil {
			c.holder.Close()
		}
		w.WriteHeader(http.StatusNoContent)
	case action == "attach":
		read, write := io.Pipe()
		c.output = write
		w.Header().Set("Content-Type", "application/vnd.docker.raw-stream")
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		go func() {
			<-r.Context().Done()
			read.Close()
		}()
		io.Copy(flushing{w}, read)
	case action == "start":
		if err := c.start(); err != nil {
			refuse(w, http.StatusBadRequest, "failed to create task for container: "+err.Error())
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case action == "wait":
		select {
		case <-c.ended:
			answer(w, http.StatusOK, map[string]any{"StatusCode": c.code, "Error": nil})
		case <-r.Context().Done():
		}
	case action == "stop":
		c.signal(syscall.SIGTERM)
		after, _ := time.ParseDuration(r.URL.Query().Get("t") + "s")
		select {
		case <-c.ended:
		case <-time.After(after):
			c.signal(syscall.SIGKILL)
			<-c.ended
		}
		w.WriteHeader(http.StatusNoContent)
	case action == "kill":
		ended := c.process == nil && c.holder == nil // it never began
		select {
		case <-c.ended:
			ended = true
		default:
		}
		if ended {
			refuse(w, http.StatusConflict, "Container "+c.id+" is not running")
			return
		}
		c.signal(syscall.SIGKILL)
		if c.holder != nil {
			c.holder.Close()
		}
		w.WriteHeader(http.StatusNoContent)
	case action == "json":
		answer(w, http.StatusOK, map[string]any{"Id": c.id, "State": map[string]any{"ExitCode": c.code, "OOMKilled": false}})
	default:
		refuse(w, http.StatusNotFound, "page not found")
	}
}

// flushing writes at once.
type flushing struct{ w http.ResponseWriter }

func (f flushing) Write(b []byte) (int, error) {
	n, err := f.w.Write(b)
	f.w.(http.Flusher).Flush()
	return n, err
}

// start starts the container's program, or, of one that holds a network, does what its keeper would.
func (c *container) start() error {
	for _, m := range c.config.HostConfig.Mounts {
		if m.Target == "/iamd" {
			return c.keep(filepath.Join(m.Source, "socket"))
		}
	}
	argv := append(slices.Clone(c.config.Entrypoint), c.config.Cmd...)
	c.process = exec.Command(argv[0], argv[1:]...)
	c.process.Env = append([]string{"PATH=/usr/local/bin:/usr/bin:/bin"}, c.config.Env...)
	c.process.Dir = c.config.WorkingDir
	c.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.process.Stdout, c.process.Stderr = &framed{w: c.output, of: 1}, &framed{w: c.output, of: 2}
	c.process.WaitDelay = time.Second
	if err := c.process.Start(); err != nil {
		c.process = nil
		c.output.Close()
		return err
	}
	go func() {
		c.process.Wait()
		state := c.process.ProcessState.Sys().(syscall.WaitStatus)
		if c.code = state.ExitStatus(); state.Signaled() {
			c.code = 128 + int(state.Signal())
		}
		c.output.Close()
		close(c.ended)
	}()
	return nil
}

// framed writes as an engine does to those who are attached.
type framed struct {
	w  io.Writer
	of byte
}

func (f *framed) Write(b []byte) (int, error) {
	header := binary.BigEndian.AppendUint32([]byte{f.of, 0, 0, 0}, uint32(len(b)))
	if _, err := f.w.Write(append(header, b...)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// keep listens on this machine in place of the network's addresses, and hands the listeners out.
func (c *container) keep(socket string) error {
	d, err := os.Open(filepath.Dir(socket))
	if err != nil {
		return err
	}
	defer d.Close()
	conn, err := net.Dial("unixpacket", "/proc/self/fd/"+strconv.Itoa(int(d.Fd()))+"/"+filepath.Base(socket))
	if err != nil {
		return err
	}
	c.holder, c.addresses = conn, map[string]string{}
	go func() {
		defer close(c.ended)
		text := make([]byte, 64<<10)
		n, err := conn.Read(text)
		var addresses []string
		if err != nil || json.Unmarshal(text[:n], &addresses) != nil {
			return
		}
		for _, address := range addresses {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return
			}
			c.engine.mu.Lock()
			c.addresses[address] = l.Addr().String()
			c.engine.mu.Unlock()
			f, err := l.(*net.TCPListener).File()
			l.Close()
			if err != nil {
				return
			}
			conn.(*net.UnixConn).WriteMsgUnix([]byte("ok"), syscall.UnixRights(int(f.Fd())), nil)
			f.Close()
		}
		conn.Read(text)
	}()
	return nil
}

func (c *container) signal(s syscall.Signal) {
	if c.process != nil && c.process.Process != nil {
		syscall.Kill(-c.process.Process.Pid, s)
	}
}
