package lambda

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/lambda/api"
	"github.com/iamd-dev/iamd/internal/wire"
	"github.com/iamd-dev/iamd/internal/workload"
)

const (
	idleFor          = 5 * time.Minute  // an environment that nobody uses is ended
	initTime         = 10 * time.Second // for what a function does before its first event
	credentialsLeft  = time.Minute      // that the credentials must last beyond an invocation
	mostEnvironments = 64               // at once, of all functions
	largestLog       = 4 << 20          // of one function: the log before is kept beside it
)

// An environment is a process that runs one version of a function, one event at a time.
type environment struct {
	name    name   // with the version's number as qualifier
	key     string // of the version and its stamp
	code    string // hash
	api     *runtimeAPI
	run     *workload.Run
	out     *output
	expires time.Time // of the credentials
	started time.Time
	idle    *time.Timer // ends it; nil while it is used
}

// ended reports whether the process is gone.
func (e *environment) ended() bool {
	select {
	case <-e.run.Done():
		return true
	default:
		return false
	}
}

// end ends the environment and removes what it left.
func (s *Service) end(e *environment) {
	if err := e.run.Remove(); err != nil {
		s.log().Error("the directory of a function's environment could not be removed", "function", e.name.functionARN(), "error", err)
	}
	e.out.close()
	s.pool.gone(e)
}

// A pool knows the environments and how much runs.
type pool struct {
	mu        sync.Mutex
	closed    bool
	stop      chan struct{} // closed with the pool; made when first asked for
	going     sync.WaitGroup
	starting  int
	all       map[*environment]bool
	idle      map[string][]*environment // by environment.key, the last used last
	busy      map[string]int32          // invocations by function, and by account and region
	unstarted map[string]int            // environments that are being started, by account/code
	waiting   int                       // asynchronous invocations
}

// begin runs f in the background unless the pool is closed, and reports whether it does.
func (p *pool) begin(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.going.Go(f)
	return true
}

// stopped is closed when the pool is.
func (p *pool) stopped() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop == nil {
		p.stop = make(chan struct{})
		if p.closed {
			close(p.stop)
		}
	}
	return p.stop
}

// close ends all environments and waits for what goes on.
func (s *Service) closePool() {
	p := &s.pool
	stop := p.stopped()
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.closed = true
	close(p.stop)
	var all []*environment
	for e := range p.all {
		if e.idle != nil {
			e.idle.Stop()
		}
		all = append(all, e)
	}
	p.idle = nil
	p.mu.Unlock()
	<-stop
	var ending sync.WaitGroup
	for _, e := range all {
		ending.Go(func() { s.end(e) })
	}
	ending.Wait()
	p.going.Wait()
}

// admit counts one invocation more, or refuses it: a function runs no more at once than it
// has reserved, and an account no more than its functions have not.
func (p *pool) admit(n name, reservedFor *int32, unreserved func() int32) (leave func(), err error) {
	function, account := n.key(), n.account+"/"+n.region
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy == nil {
		p.busy = map[string]int32{}
	}
	counted := function
	if reservedFor != nil {
		if p.busy[function] >= *reservedFor {
			return nil, tooMany("ReservedFunctionConcurrentInvocationLimitExceeded")
		}
	} else {
		counted = account
		if p.busy[account] >= leastUnreserved && p.busy[account] >= unreserved() {
			return nil, tooMany("ConcurrentInvocationLimitExceeded")
		}
	}
	p.busy[counted]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.busy[counted]--; p.busy[counted] == 0 {
			delete(p.busy, counted)
		}
	}, nil
}

func tooMany(reason string) error {
	return api.TooManyRequests("Rate Exceeded.").With("Reason", reason)
}

// take is an idle environment for the version whose credentials last, and nil without one.
// Those that do not last come back to be ended.
func (p *pool) take(key string, until time.Time) (e *environment, over []*environment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle[key]) > 0 {
		last := len(p.idle[key]) - 1
		e := p.idle[key][last]
		p.idle[key] = p.idle[key][:last]
		e.idle.Stop()
		e.idle = nil
		if !e.ended() && e.expires.After(until) {
			return e, over
		}
		over = append(over, e)
	}
	delete(p.idle, key)
	return nil, over
}

// reserve makes room for one environment more, of that code. Where there are too many,
// one that is idle goes.
func (p *pool) reserve(account, hash string) (release func(), evicted *environment, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, errors.New("the server is stopping")
	}
	if len(p.all)+p.starting >= mostEnvironments {
		if evicted = p.evict(); evicted == nil {
			return nil, nil, tooMany("ConcurrentInvocationLimitExceeded")
		}
	}
	p.starting++
	if p.unstarted == nil {
		p.unstarted = map[string]int{}
	}
	p.unstarted[account+"/"+hash]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.starting--
		if p.unstarted[account+"/"+hash]--; p.unstarted[account+"/"+hash] == 0 {
			delete(p.unstarted, account+"/"+hash)
		}
	}, evicted, nil
}

// evict takes out the first idle environment that it finds. Its caller holds mu.
func (p *pool) evict() *environment {
	for key, all := range p.idle {
		if len(all) == 0 {
			continue
		}
		e := all[0]
		p.idle[key] = all[1:]
		e.idle.Stop()
		return e
	}
	return nil
}

// put keeps an environment for the next invocation; false when it is not to be kept.
func (s *Service) put(e *environment) bool {
	p := &s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || e.ended() {
		return false
	}
	if p.idle == nil {
		p.idle = map[string][]*environment{}
	}
	p.idle[e.key] = append(p.idle[e.key], e)
	e.idle = time.AfterFunc(idleFor, func() {
		if p.remove(e) {
			s.end(e)
		}
	})
	return true
}

// remove takes out an environment if it is idle.
func (p *pool) remove(e *environment) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.idle[e.key] {
		if other == e {
			p.idle[e.key] = append(p.idle[e.key][:i:i], p.idle[e.key][i+1:]...)
			if len(p.idle[e.key]) == 0 {
				delete(p.idle, e.key)
			}
			e.idle.Stop()
			return true
		}
	}
	return false
}

func (p *pool) add(e *environment) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	if p.all == nil {
		p.all = map[*environment]bool{}
	}
	p.all[e] = true
	return true
}

func (p *pool) gone(e *environment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.all, e)
}

// uses reports whether an environment runs code of that hash, or is about to.
func (p *pool) uses(account, hash string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for e := range p.all {
		if e.name.account == account && e.code == hash {
			return true
		}
	}
	return p.unstarted[account+"/"+hash] > 0
}

// retire ends the idle environments of a function that run what is no longer there.
// Those that are used end when their invocation does.
func (s *Service) retire(n name) {
	p := &s.pool
	state := s.DB.View()
	var over []*environment
	p.mu.Lock()
	for e := range p.all {
		if e.name.key() == n.key() && !e.current(state) {
			over = append(over, e)
		}
	}
	p.mu.Unlock()
	for _, e := range over {
		if p.remove(e) {
			p.begin(func() {
				s.end(e)
				s.sweep(e.name.account, e.code)
			})
		}
	}
}

// environmentKey is the same for environments of which one is as good as the other.
func environmentKey(n name, v *Version) string {
	return n.key() + ":" + v.Config.Version + "@" + v.Stamp
}

// current reports whether the environment runs what its version is now.
func (e *environment) current(state reader) bool {
	v := version(state, e.name, e.name.qualifier)
	return v != nil && environmentKey(e.name, v) == e.key
}

// start starts an environment with a session of the function's role. An answer in place of
// it is that of a function whose code cannot be run.
func (s *Service) start(ctx context.Context, n name, v *Version, requestID string) (*environment, *answer, error) {
	path, args, err := s.command(v)
	if err != nil {
		return nil, nil, err
	}
	if runtimes[v.Config.Runtime] == "bootstrap" && !s.hasBootstrap(n.account, v) {
		a := failure("Runtime.InvalidEntrypoint", "RequestId: %s Error: Couldn't find valid bootstrap(s): [%s/bootstrap]", requestID, workload.TaskDir)
		return nil, &a, nil
	}
	release, evicted, err := s.pool.reserve(n.account, v.Code.Hash)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	if evicted != nil {
		s.end(evicted)
	}
	session, err := s.Roles.Assume(ctx, s.use(n, v.Config.Role, requestID))
	if e := (*wire.Error)(nil); errors.As(err, &e) && e.HTTPStatus() < 500 {
		return nil, nil, api.AccessDenied("The role defined for the function cannot be assumed by Lambda.")
	}
	if err != nil {
		return nil, nil, err
	}
	e := &environment{name: n.with(v.Config.Version), key: environmentKey(n, v), code: v.Code.Hash, api: newRuntimeAPI(),
		expires: session.Expires, started: s.now()}
	stream := fmt.Sprintf("%s/[%s]%s", e.started.UTC().Format("2006/01/02"), v.Config.Version, newRevision()[:8])
	log, err := s.openLog(n)
	if err != nil {
		return nil, nil, err
	}
	var into *os.File
	if e.out, into, err = newOutput(log); err != nil {
		log.Close()
		return nil, nil, err
	}
	e.out.mark()
	e.run, err = s.Host.Run(ctx, workload.Job{
		Kind: "lambda", Name: n.function,
		Task: s.codeOf(n.account, v.Code.Hash),
		Path: path, Args: args,
		Env:     environ(n, v, &session.Credentials, stream),
		Serve:   map[string]http.Handler{runtimeAddress: e.api},
		Memory:  memoryOf(v),
		Written: int64(v.Config.EphemeralStorage.Size) << 20,
		Output:  into,
	})
	into.Close()
	if err != nil {
		e.out.close()
		return nil, nil, notRunning(err)
	}
	if !s.pool.add(e) {
		s.end(e)
		return nil, nil, errors.New("the server is stopping")
	}
	return e, nil, nil
}

// memoryOf is the limit of a process's own memory: what the function may use, and what a
// runtime sets aside for itself and does not use.
func memoryOf(v *Version) int64 {
	return (int64(v.Config.MemorySize) + runtimeMemory) << 20
}

const runtimeMemory = 256

// notRunning is the answer where the machine runs no workloads.
func notRunning(err error) error {
	if errors.Is(err, workload.ErrOff) || errors.Is(err, workload.ErrNoNamespaces) {
		return &wire.Error{Code: "NotImplemented", Status: 501, Message: "The function cannot run: " + err.Error() + "."}
	}
	return err
}

// serve gives an event to an environment and waits for the answer, for the end of the
// process, or until its time is over. used reports whether the environment can be used again.
func (e *environment) serve(i *invocation, cold bool) (a answer, began time.Time, used bool) {
	e.api.events <- i // there is room: it has one event at a time
	limit := i.timeout
	if cold {
		limit += initTime
	}
	began = time.Now()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	taken := i.taken
	for {
		select {
		case <-taken:
			taken = nil
			began = time.Now()
			timer.Reset(i.timeout)
		case a := <-i.done:
			return a, began, true
		case <-e.run.Done():
			select {
			case a := <-i.done: // its last word
				return a, began, false
			default:
			}
			if broken := e.api.whyBroken(); broken != nil {
				return *broken, began, false
			}
			return failure("Runtime.ExitError", "RequestId: %s Error: %s", i.id, howEnded(e.run.Wait())), began, false
		case <-timer.C:
			e.out.printf("%s %s Task timed out after %.2f seconds\n\n", time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), i.id, i.timeout.Seconds())
			return failure("Sandbox.Timedout", "RequestId: %s Error: Task timed out after %.2f seconds", i.id, i.timeout.Seconds()), began, false
		}
	}
}

// howEnded says how a process ended, as Lambda does.
func howEnded(err error) string {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return "Runtime exited without providing a reason"
	}
	if code := exit.ExitCode(); code > 128 {
		return "Runtime exited with error: signal: " + syscall.Signal(code-128).String()
	} else {
		return fmt.Sprintf("Runtime exited with error: exit status %d", code)
	}
}

// An output takes what an environment prints: into the function's log, and the end of it
// for the caller who asks. The program writes into a pipe, which is read under the lock:
// what it has printed before it answered can be waited for, as it is in the pipe.
type output struct {
	mu     sync.Mutex
	file   *os.File
	tail   []byte // since mark
	marked bool
	buf    []byte

	from *os.File // where we read
	pipe syscall.RawConn
	done chan struct{} // closed when there is no more to read
}

const longestTail = 4 << 10

// newOutput returns an output and where its program is to write, which the caller closes.
func newOutput(log *os.File) (*output, *os.File, error) {
	from, to, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	pipe, err := from.SyscallConn()
	if err != nil {
		from.Close()
		to.Close()
		return nil, nil, err
	}
	o := &output{file: log, buf: make([]byte, 4096), from: from, pipe: pipe, done: make(chan struct{})}
	go o.copy()
	return o, to, nil
}

// copy reads until nobody can write any more.
func (o *output) copy() {
	defer close(o.done)
	for over := false; !over; {
		err := o.pipe.Read(func(fd uintptr) bool {
			var some bool
			some, over = o.drain(int(fd))
			return some || over
		})
		if err != nil { // it was closed
			return
		}
	}
}

// drain reads what is in the pipe; over tells that there will be no more.
func (o *output) drain(fd int) (some, over bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		n, err := syscall.Read(fd, o.buf)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return some, false
		case err != nil || n <= 0:
			return some, true
		default:
			o.write(o.buf[:n])
			some = true
		}
	}
}

// write takes what was printed. Its caller holds mu.
func (o *output) write(p []byte) {
	if o.marked {
		o.tail = append(o.tail, p...)
		if len(o.tail) > 2*longestTail {
			o.tail = append(o.tail[:0], o.tail[len(o.tail)-longestTail:]...)
		}
	}
	if o.file != nil {
		o.file.Write(p) // a full disk is no reason to stop a function
	}
}

// printf adds a line of ours.
func (o *output) printf(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.write(fmt.Appendf(nil, format, args...))
}

// mark forgets the tail: an invocation begins.
func (o *output) mark() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tail, o.marked = o.tail[:0], true
}

// last returns the last 4 KB since mark.
func (o *output) last() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]byte(nil), o.tail[max(0, len(o.tail)-longestTail):]...)
}

// settle takes what the program has printed by now.
func (o *output) settle() {
	o.pipe.Control(func(fd uintptr) { o.drain(int(fd)) })
}

// close ends the reading, when nobody writes any more.
func (o *output) close() {
	o.settle()
	o.from.Close()
	<-o.done
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file != nil {
		o.file.Close()
		o.file = nil
	}
}

// openLog opens the log of a function: DIR/logs/ACCOUNT/REGION/FUNCTION.log.
func (s *Service) openLog(n name) (*os.File, error) {
	dir := filepath.Join(s.Dir, "logs", n.account, n.region)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, n.function+".log")
	if info, err := os.Stat(path); err == nil && info.Size() > largestLog {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}
