package main

import (
	"runtime"
	"testing"
	"time"
)

// Processors to spare come with the first thread that waits for the disk, and go when
// none has waited for a while.
func TestProcessors(t *testing.T) {
	t.Setenv("GOMAXPROCS", "") // not parallel: the number is the process's
	few := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(few) })
	p := newProcessors()
	for range 3 {
		p.wait()
		if got := runtime.GOMAXPROCS(0); got != few+spareProcessors {
			t.Fatalf("while a thread waits there are %d processors, of %d", got, few)
		}
	}
	p.rest() // too early
	if got := runtime.GOMAXPROCS(0); got != few+spareProcessors {
		t.Errorf("right after a wait there are %d processors, of %d", got, few)
	}
	for end := time.Now().Add(10 * time.Second); runtime.GOMAXPROCS(0) != few; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the processors to spare stay")
		}
	}

	t.Setenv("GOMAXPROCS", "3")
	p = newProcessors()
	p.wait()
	(*processors)(nil).wait()
	if got := runtime.GOMAXPROCS(0); got != few {
		t.Errorf("with GOMAXPROCS set there are %d processors, of %d", got, few)
	}
}
