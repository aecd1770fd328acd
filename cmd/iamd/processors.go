package main

import (
	"context"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/iamd-dev/iamd/internal/store"
)

// A thread that waits for the disk keeps one of Go's processors from running anything
// else until the runtime takes it away, as much as ten milliseconds later. Three logs are
// synced here (the state, the record, the objects); with processors to spare, calls go on
// meanwhile: on one core AssumeRole went from 1,600 to 4,900 a second. While nobody waits
// for the disk they cost more than they give, for as soon as one has nothing to do,
// whatever becomes ready wakes a thread for it: a call of DynamoDB wakes seven, and one
// without them.
const (
	spareProcessors = 3
	calm            = time.Second // after a wait, they stay so long
)

// Processors are Go's, of which there are more while threads wait for the disk.
type processors struct {
	few int // 0: whoever started us has said how many there are

	mu    sync.Mutex
	last  time.Time // when a thread began to wait last
	spare bool
}

func newProcessors() *processors {
	if os.Getenv("GOMAXPROCS") != "" {
		return &processors{}
	}
	return &processors{few: runtime.GOMAXPROCS(0)}
}

// alone tells that there is but one: those to spare then take a sixth of its time, for
// threads take turns that would run side by side on others.
func (p *processors) alone() bool { return p != nil && p.few == 1 }

// wait says that a thread is about to wait for the disk.
func (p *processors) wait() {
	if p == nil || p.few == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
	if !p.spare {
		p.spare = true
		runtime.GOMAXPROCS(p.few + spareProcessors)
		time.AfterFunc(calm, p.rest)
	}
}

// rest takes the spare ones away when no thread has begun to wait for long enough.
func (p *processors) rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if left := time.Until(p.last.Add(calm)); left > 0 {
		time.AfterFunc(left, p.rest)
		return
	}
	p.spare = false
	runtime.GOMAXPROCS(p.few)
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
