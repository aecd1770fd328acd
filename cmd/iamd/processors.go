package main

import (
	"context"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/iamd-dev/iamd/internal/cores"
	"github.com/iamd-dev/iamd/internal/store"
)

// A thread that waits for the disk keeps one of Go's processors from running anything
// else until the runtime takes it away, as much as ten milliseconds later. Three logs are
// synced here (the state, the record, the objects); with processors to spare, calls go on
// meanwhile: on one core AssumeRole went from 1,600 to 4,900 a second. While nobody waits
// for the disk they cost more than they give, for as soon as one has nothing to do,
// whatever becomes ready wakes a thread for it: a call of DynamoDB wakes seven, and one
// without them. So does each processor more than one while there is one call at a time.
//
// While there is, and engines are called, their threads keep to the half of the cores that
// the engines do not have. On cores that others need as well a call would wait for its turn
// there, and not go where there is room: so not on those.
const (
	spareProcessors = 3
	calm            = time.Second // after a wait, or calls side by side, they stay so long
	soon            = calm / 5    // after the first call to an engine: cores are watched for so long first
	room            = 1. / 3      // of the time of those cores, or they are not kept to them
)

// Processors are Go's: one while there is one call at a time, all while there are several,
// and more while threads wait for the disk.
type processors struct {
	all int // 0: whoever started us has said how many there are

	calls   atomic.Int32 // in flight
	crowded atomic.Bool  // there were several, since settle looked last
	asked   atomic.Bool  // an engine was called, since settle looked last

	mu       sync.Mutex
	now      int         // how many there are
	last     time.Time   // when a thread began to wait last
	timer    *time.Timer // of settle
	watching bool        // how busy cores are
	release  func()      // from where the threads are kept; nil: they are not

	idle    func() (share float64, known bool) // cores.Load.Idle
	confine func() (release func())            // cores.Confine
}

func newProcessors() *processors {
	if os.Getenv("GOMAXPROCS") != "" {
		return &processors{}
	}
	n := runtime.GOMAXPROCS(0)
	return &processors{all: n, now: n, idle: new(cores.Load).Idle, confine: cores.Confine}
}

// alone tells that there is but one: those to spare then take a sixth of its time, for
// threads take turns that would run side by side on others.
func (p *processors) alone() bool { return p != nil && p.all == 1 }

// wait says that a thread is about to wait for the disk.
func (p *processors) wait() {
	if p == nil || p.all == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
	p.raise(p.all + spareProcessors)
}

// counted serves by h, and has all processors for calls that come side by side.
func (p *processors) counted(h http.Handler) http.Handler {
	if p == nil || p.all <= 1 {
		return h
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.later(calm)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer p.calls.Add(-1)
		if p.calls.Add(1) > 1 && !p.crowded.Load() {
			p.crowd()
		}
		h.ServeHTTP(w, r)
	})
}

// asks says that an engine is called.
func (p *processors) asks() {
	if p == nil || p.all <= 1 || p.asked.Load() || p.asked.Swap(true) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == 1 && !p.watching {
		p.keepApart(true)
		p.later(soon)
	}
}

// later has settle look after a while. Its caller holds mu.
func (p *processors) later(d time.Duration) {
	if p.timer == nil {
		p.timer = time.AfterFunc(d, p.settle)
		return
	}
	p.timer.Reset(d)
}

func (p *processors) crowd() {
	p.crowded.Store(true)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.raise(p.all)
}

// raise has no fewer than n. Its caller holds mu.
func (p *processors) raise(n int) {
	if n <= p.now {
		return
	}
	if p.now == 1 {
		p.later(calm)
	}
	p.now = n
	runtime.GOMAXPROCS(n)
	p.keepApart(false)
}

// settle takes away those that nobody has needed for long enough, decides where the threads
// are, and looks again as long as there is something that it could change.
func (p *processors) settle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 1
	switch crowded := p.crowded.Swap(false); {
	case time.Since(p.last) < calm:
		n = p.all + spareProcessors
	case crowded || p.calls.Load() > 1:
		n = p.all
	}
	if n < p.now {
		p.now = n
		runtime.GOMAXPROCS(n)
	}
	asked := p.asked.Swap(false)
	p.keepApart(asked && p.now == 1)
	if p.now > 1 || p.watching {
		p.later(calm)
	}
}

// keepApart keeps the threads from the engines' cores, or no longer. Its caller holds mu.
func (p *processors) keepApart(wanted bool) {
	watched := p.watching
	if p.watching = wanted; wanted {
		idle, known := p.idle()
		wanted = watched && known && idle >= room
	}
	switch {
	case wanted && p.release == nil:
		p.release = p.confine()
	case !wanted && p.release != nil:
		p.release()
		p.release = nil
	}
}

// A waiting log says when it is going to wait for the disk.
type waiting struct {
	store.Log
	wait func()
}

func (w waiting) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (int64, error) {
	w.wait()
	return w.Log.Commit(ctx, checks, writes)
}
