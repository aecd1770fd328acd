package ecs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/ecs/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/imds"
	"github.com/iamd-dev/iamd/internal/servicerole"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/workload"
)

// A run is a task that runs: it follows it until its end.
type run struct {
	s               *Service
	task            *Task // as it was at first; what it is now is in the store
	definition      *Definition
	role, execution *servicerole.Provider // nil: it has none
	parent          string                // request id of the call that asked for it
	path, metadata  string                // where its credentials and metadata are, at agentAddress
	token           identity.Secret       // of its credentials

	network    *workload.SharedNetwork // of its containers; nil: they are processes
	containers []*container
	ending     chan struct{} // closed when the task is to end

	mu     sync.Mutex
	ended  bool
	code   string // why it ends
	reason string
	ran    time.Time // when it began to run; zero if it has not
}

// A container is one container of a run.
type container struct {
	definition *api.ContainerDefinition // with what overrides it
	essential  bool
	env        []string

	started, ended chan struct{}
	exit           int // its exit code, once it has ended; -1: it never ran
}

// agentAddress is where a container finds its credentials and what it is.
const agentAddress = "169.254.170.2:80"

// Start ends in the store what ran when the server ended, and starts to look after the
// services. Calls inside must be answered by now.
func (s *Service) Start(ctx context.Context) error {
	if err := s.endAll(ctx); err != nil {
		return fmt.Errorf("ecs: ending the tasks of an earlier life: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.runs, s.waits, s.wake = map[string]*run{}, map[string]wait{}, make(chan struct{}, 1)
	s.running.Go(s.schedule)
	return nil
}

// endAll marks as stopped all tasks: none runs.
func (s *Service) endAll(ctx context.Context) error {
	var left []string
	for k, t := range tasks.All(s.DB.View(), "") {
		if t.LastStatus != stopped {
			left = append(left, k)
		}
	}
	for _, k := range left {
		err := s.DB.Update(ctx, func(tx *store.Tx) error {
			if t := tasks.Get(tx, k); t != nil {
				t.stop(s.now(), terminated, "Host terminated: the server on which the task ran was stopped.")
				tasks.Put(tx, k, t)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// stop makes a task one that has ended.
func (t *Task) stop(at time.Time, code, reason string) {
	at = at.UTC().Truncate(time.Millisecond)
	if t.DesiredStatus != stopped { // otherwise it is known why
		t.DesiredStatus, t.StopCode, t.StoppedReason, t.StoppingAt = stopped, code, reason, at
	}
	t.LastStatus, t.StoppedAt, t.ExecutionStoppedAt = stopped, at, at
	t.Connectivity = ""
	t.ConnectivityAt = time.Time{}
	t.Version++
	for i := range t.Containers {
		t.Containers[i].LastStatus = stopped
	}
}

// Close kills all tasks and returns when nothing runs any more. What they were in the
// middle of stays in the store as it is, for the next Start.
func (s *Service) Close() {
	s.mu.Lock()
	s.closed = true
	if s.stop != nil {
		s.stop()
	}
	s.mu.Unlock()
	s.running.Wait()
}

// run is the run of a task; nil when it has ended.
func (s *Service) run(key string) *run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs[key]
}

// launch starts a task that is in the store.
func (s *Service) launch(r *run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.ctx == nil {
		return // and the next Start ends it
	}
	key := r.task.key()
	s.runs[key] = r
	s.running.Go(func() {
		r.live(s.ctx)
		s.mu.Lock()
		delete(s.runs, key)
		s.mu.Unlock()
		s.look()
	})
}

// live is the life of a task.
func (r *run) live(ctx context.Context) {
	defer func() {
		r.end(essentialExited, "Essential container in task exited") // unless it is known better
		r.s.ended(r)
		r.update(ctx, func(t *Task) { t.stop(r.s.now(), r.code, r.reason) })
	}()
	stopped := ""
	r.update(ctx, func(t *Task) { t.LastStatus, stopped = pending, t.StopCode })
	if stopped != "" { // before we looked
		return
	}
	for i := range r.definition.ContainerDefinitions {
		d := overridden(&r.definition.ContainerDefinitions[i], r.task.Overrides)
		c := &container{definition: d, essential: d.Essential == nil || *d.Essential, exit: -1, started: make(chan struct{}), ended: make(chan struct{})}
		secrets, err := r.secrets(ctx, d)
		if err != nil {
			r.end(failedToStart, "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: "+err.Error())
			return
		}
		c.env = r.environment(c, secrets)
		r.containers = append(r.containers, c)
	}
	if r.s.Workloads.Engine != nil {
		network, err := r.s.Workloads.ShareNetwork(ctx, "ecs", r.definition.Family, map[string]http.Handler{agentAddress: r.agent()})
		if err != nil {
			r.end(failedToStart, "ResourceInitializationError: making the task's network: "+err.Error())
			return
		}
		defer func() {
			if err := network.Close(); err != nil && r.s.Log != nil {
				r.s.Log.Warn("removing a task's network", "task", r.task.TaskArn, "error", err)
			}
		}()
		r.network = network
	}
	var all sync.WaitGroup
	for _, c := range r.containers {
		all.Go(func() {
			defer close(c.ended)
			r.contain(ctx, c)
		})
	}
	all.Wait()
}

// overridden is a container's definition with what the task has in its place.
func overridden(d *api.ContainerDefinition, o *api.TaskOverride) *api.ContainerDefinition {
	v := *d
	for _, over := range o.ContainerOverrides {
		if over.Name != d.Name {
			continue
		}
		if len(over.Command) > 0 {
			v.Command = over.Command
		}
		if over.Memory != 0 {
			v.Memory = over.Memory
		}
		v.Environment = slices.Clone(v.Environment)
		for _, e := range over.Environment {
			v.Environment = slices.DeleteFunc(v.Environment, func(o api.KeyValuePair) bool { return o.Name == e.Name })
			v.Environment = append(v.Environment, e)
		}
	}
	return &v
}

// environment is what a container has beside what every workload has.
func (r *run) environment(c *container, secrets []string) []string {
	region := r.task.arn().Region()
	kind := "AWS_ECS_EC2"
	if r.task.LaunchType == fargate {
		kind = "AWS_ECS_FARGATE"
	}
	ours := []string{
		"AWS_REGION=" + region,
		"AWS_DEFAULT_REGION=" + region,
		"AWS_EXECUTION_ENV=" + kind,
		"ECS_CONTAINER_METADATA_URI_V4=http://169.254.170.2" + r.metadata + "-" + c.definition.Name,
	}
	if r.role != nil {
		ours = append(ours,
			"AWS_CONTAINER_CREDENTIALS_FULL_URI=http://169.254.170.2"+r.path,
			"AWS_CONTAINER_AUTHORIZATION_TOKEN="+r.token.Reveal())
	}
	env := slices.Clone(secrets)
	for _, e := range c.definition.Environment {
		env = append(env, e.Name+"="+e.Value)
	}
	for _, pair := range ours { // the definition's own win, as in a container
		name, _, _ := strings.Cut(pair, "=")
		if !slices.ContainsFunc(env, func(p string) bool { return strings.HasPrefix(p, name+"=") }) {
			env = append(env, pair)
		}
	}
	return env
}

// contain runs a container when what it depends on is done, and returns when it has ended.
func (r *run) contain(ctx context.Context, c *container) {
	if !r.dependencies(ctx, c) {
		return
	}
	out := &output{}
	defer out.Close()
	program, id, err := r.startProgram(ctx, c, out)
	if ctx.Err() != nil {
		if err == nil {
			program.Remove()
		}
		return
	}
	if err != nil {
		r.update(ctx, func(t *Task) {
			v := t.container(c.definition.Name)
			v.LastStatus, v.Reason = stopped, err.Error()
		})
		r.end(failedToStart, err.Error())
		return
	}
	close(c.started)
	r.began(ctx, c, id)

	stopping := false
	select {
	case <-program.Done():
	case <-r.ending:
		stopping = true
		for _, other := range r.containers { // who depends on this one ends before it
			if other != c && slices.ContainsFunc(other.definition.DependsOn, func(d api.ContainerDependency) bool { return d.ContainerName == c.definition.Name }) {
				select {
				case <-other.ended:
				case <-program.Done():
				case <-ctx.Done():
				}
			}
		}
		program.Stop()
	case <-ctx.Done():
		program.Kill()
	}
	var reason string
	c.exit, reason = program.Exit()
	if err := program.Remove(); err != nil && r.s.Log != nil {
		r.s.Log.Warn("removing what is left of a container", "task", r.task.TaskArn, "error", err)
	}
	r.update(ctx, func(t *Task) {
		v := t.container(c.definition.Name)
		code := int32(c.exit)
		v.LastStatus, v.ExitCode = stopped, &code
		if c.exit != 0 && !stopping {
			v.Reason = cmp.Or(reason, out.Tail())
		}
	})
	if c.essential {
		r.end(essentialExited, "Essential container in task exited")
	}
}

// dependencies waits for what a container depends on, and reports whether it may start.
func (r *run) dependencies(ctx context.Context, c *container) bool {
	for _, on := range c.definition.DependsOn {
		i := slices.IndexFunc(r.containers, func(o *container) bool { return o.definition.Name == on.ContainerName })
		other := r.containers[i]
		ready := other.ended
		if on.Condition == "START" {
			ready = other.started
		}
		select {
		case <-ready:
		case <-r.ending:
			return false
		case <-ctx.Done():
			return false
		}
		if on.Condition == "SUCCESS" && other.exit != 0 {
			r.end(failedToStart, fmt.Sprintf("Dependency failed: container '%s' did not exit with 0, on which container '%s' depends.", on.ContainerName, c.definition.Name))
			return false
		}
	}
	select {
	case <-r.ending:
		return false
	default:
		return true
	}
}

// began says in the store that a container runs. The task does when all its essential containers do.
func (r *run) began(ctx context.Context, c *container, id string) {
	r.mu.Lock()
	all := true
	for _, o := range r.containers {
		select {
		case <-o.started:
		default:
			all = all && !o.essential
		}
	}
	first := all && r.ran.IsZero()
	if first {
		r.ran = time.Now()
	}
	r.mu.Unlock()
	r.update(ctx, func(t *Task) {
		v := t.container(c.definition.Name)
		v.LastStatus, v.RuntimeId = running, id
		at := r.s.now().UTC().Truncate(time.Millisecond)
		if t.Connectivity == "" {
			t.Connectivity, t.ConnectivityAt = "CONNECTED", at
		}
		if first {
			t.LastStatus, t.StartedAt = running, at
		}
	})
	if first {
		r.s.look()
	}
}

// end has the task end, for the first reason that is given.
func (r *run) end(code, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	r.ended, r.code, r.reason = true, code, reason
	r.update(r.s.ctx, func(t *Task) {
		t.DesiredStatus, t.StopCode, t.StoppedReason, t.StoppingAt = stopped, code, reason, r.s.now().UTC().Truncate(time.Millisecond)
	})
	close(r.ending)
}

// update changes what the store says of the task.
func (r *run) update(ctx context.Context, f func(*Task)) {
	if ctx.Err() != nil { // the server ends, and not the task by itself: the next Start says so
		return
	}
	err := r.s.DB.Update(ctx, func(tx *store.Tx) error {
		t := tasks.Get(tx, r.task.key())
		if t == nil {
			return nil
		}
		f(t)
		t.Version++
		tasks.Put(tx, r.task.key(), t)
		return nil
	})
	if err != nil && ctx.Err() == nil && r.s.Log != nil {
		r.s.Log.Error("what became of a task is not kept", "task", r.task.TaskArn, "error", err)
	}
}

// process is what a container is to the machine that runs it as a process.
func (r *run) process(c *container, out *output) (workload.Job, error) {
	d := c.definition
	argv := append(slices.Clone(d.EntryPoint), d.Command...)
	if len(argv) == 0 {
		return workload.Job{}, errors.New("the image is not pulled: a container needs an entryPoint or a command")
	}
	path := argv[0]
	switch {
	case filepath.IsAbs(path):
	case strings.Contains(path, "/"):
		path = filepath.Join(filepath.Join("/", cmp.Or(d.WorkingDirectory, workload.TaskDir)), path)
	default:
		found, err := r.s.Workloads.LookPath(path)
		if err != nil {
			return workload.Job{}, err
		}
		path = found
	}
	memory := int64(0)
	if d.Memory != 0 {
		memory = int64(d.Memory)<<20 + aside
	}
	return workload.Job{
		Kind: "ecs", Name: r.definition.Family + "-" + d.Name, Path: path, Args: argv[1:], Env: c.env, WorkDir: d.WorkingDirectory,
		Serve: map[string]http.Handler{agentAddress: r.agent()}, Memory: memory, Output: out,
	}, nil
}

// aside is memory that runtimes reserve and do not use. It counts here, and not in a container.
const aside = 256 << 20

// agent answers the task's containers at agentAddress.
func (r *run) agent() http.Handler {
	mux := http.NewServeMux()
	if r.role != nil {
		mux.Handle(r.path, &imds.Container{Path: r.path, Token: r.token, Credentials: r.role.Credentials})
	}
	for _, d := range r.definition.ContainerDefinitions {
		at := r.metadata + "-" + d.Name
		mux.HandleFunc("GET "+at, func(w http.ResponseWriter, _ *http.Request) { r.containerMetadata(w, d.Name) })
		mux.HandleFunc("GET "+at+"/task", func(w http.ResponseWriter, _ *http.Request) { r.taskMetadata(w) })
	}
	return mux
}

// What is kept of what a container writes.
const (
	tailSize = 1000    // shown in the container's reason
	logSize  = 1 << 20 // of a file, of which there are at most two
)

// An output keeps what a container writes: the end of it here, and more in a file.
type output struct {
	mu      sync.Mutex
	tail    []byte
	path    string
	file    *os.File
	written int
}

// keep opens the file.
func (o *output) keep(path string) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	o.path = path
	o.file, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	return err
}

// Write never fails: a container does not end because its log cannot be kept.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tail = append(o.tail, b[max(0, len(b)-tailSize):]...)
	o.tail = append([]byte(nil), o.tail[max(0, len(o.tail)-tailSize):]...)
	if o.file == nil {
		return len(b), nil
	}
	if o.written+len(b) > logSize {
		o.file.Close()
		os.Rename(o.path, o.path+".1")
		o.written = 0
		if err := o.keep(o.path); err != nil {
			o.file = nil
			return len(b), nil
		}
	}
	n, _ := o.file.Write(b)
	o.written += n
	return len(b), nil
}

// Tail is the end of what was written.
func (o *output) Tail() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.TrimSpace(strings.ToValidUTF8(string(o.tail), ""))
}

func (o *output) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file != nil {
		o.file.Close()
		o.file = nil
	}
}
