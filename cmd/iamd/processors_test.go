package main

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
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

// While one call at a time goes to an engine, the threads keep from its cores, if those that
// they keep to have room.
func TestThreadsKeepFromEngines(t *testing.T) {
	t.Setenv("GOMAXPROCS", "") // not parallel: the number is the process's
	before := runtime.GOMAXPROCS(2)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	synctest.Test(t, func(t *testing.T) {
		p := newProcessors()
		apart, idle, known, possible := false, 0.9, true, true
		p.idle = func() (float64, bool) { return idle, known }
		p.confine = func() func() {
			if apart {
				t.Error("they are confined twice")
			}
			if !possible {
				return nil
			}
			apart = true
			return func() { apart = false }
		}
		h := p.counted(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/engine" {
				p.asks()
			}
			time.Sleep(time.Millisecond)
		}))
		calls := func(path string, atOnce int) {
			var all sync.WaitGroup
			for range atOnce {
				all.Go(func() { h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", path, nil)) })
			}
			all.Wait()
		}
		during := func(d time.Duration, path string) {
			for end := time.Now().Add(d); time.Now().Before(end); {
				calls(path, 1)
			}
			synctest.Wait()
		}
		is := func(when string, want bool) {
			t.Helper()
			p.mu.Lock()
			defer p.mu.Unlock()
			if apart != want {
				t.Errorf("%s they are kept apart: %v", when, apart)
			}
		}
		time.Sleep(calm)
		during(3*calm, "/")
		is("with calls that need no engine", false)
		during(soon/2, "/engine")
		is("with the first calls to one", false)
		during(soon, "/engine")
		is("after a fifth of a second", true)
		during(10*calm, "/engine")
		is("as long as there are", true)
		calls("/", 2)
		is("as soon as there are two calls", false)
		during(4*calm, "/engine")
		is("with one at a time again", true)
		p.wait()
		is("while a thread waits for the disk", false)
		during(4*calm, "/engine")
		is("after that", true)
		idle = 0.1
		during(calm, "/engine")
		is("on cores that others need", false)
		idle = 0.5
		during(2*calm, "/engine")
		is("when those have gone", true)
		time.Sleep(2 * calm)
		synctest.Wait()
		is("when nobody calls", false)
		if p.timer.Stop() {
			t.Error("nobody calls, and it looks all the time")
		}
		known = false
		during(3*calm, "/engine")
		is("where nobody knows who needs the cores", false)
		known, possible = true, false
		during(3*calm, "/engine")
		is("where there is one core", false)
		time.Sleep(2 * calm)
	})
	(*processors)(nil).asks()
	(&processors{}).asks()
}
