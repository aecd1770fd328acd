package main

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"
)

// There is one processor for one call at a time, all for calls side by side, and some to
// spare while threads wait for the disk; what nobody has needed for a while goes.
func TestProcessors(t *testing.T) {
	t.Setenv("GOMAXPROCS", "") // not parallel: the number is the process's
	before := runtime.GOMAXPROCS(2)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	has := func(when string, want int) {
		t.Helper()
		if got := runtime.GOMAXPROCS(0); got != want {
			t.Fatalf("%s there are %d processors, not %d", when, got, want)
		}
	}
	comeTo := func(when string, want int) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); runtime.GOMAXPROCS(0) != want; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				has(when, want)
			}
		}
	}
	p := newProcessors()
	arrived, leave := make(chan bool), make(chan bool)
	h := p.counted(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived <- true; <-leave }))
	call := func() {
		go h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
		<-arrived
	}
	has("at the start", 2)
	comeTo("when nobody calls", 1)
	call()
	has("with one call", 1)
	call()
	has("with two calls", 2)
	p.settle()
	p.settle()
	has("with two calls that take long", 2)
	p.wait()
	has("while a thread waits", 2+spareProcessors)
	p.settle()
	has("right after a wait", 2+spareProcessors)
	comeTo("with two calls after a wait", 2)
	leave <- true
	comeTo("with one call again", 1)
	leave <- true
	p.wait()
	has("while a thread waits and nobody calls", 2+spareProcessors)
	comeTo("after a wait", 1)

	runtime.GOMAXPROCS(2)
	t.Setenv("GOMAXPROCS", "2")
	p = newProcessors()
	p.wait()
	(*processors)(nil).wait()
	bare := http.NotFoundHandler()
	p.counted(bare)
	p.settle()
	has("with GOMAXPROCS set", 2)
}
