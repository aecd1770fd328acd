package main

import (
	"context"
	"reflect"
	"runtime"
	"runtime/metrics"
	"time"
)

// Go collects garbage when the heap has doubled, which with a small state is after
// every few megabytes. Memory that is counted and never touched, so that it costs
// none, lets more pass in between: calls take an eighth less time.
const ballast = 24 << 20

// reserve is how much of the heap is there from the start. Nobody has touched it, so
// it costs nothing but its addresses.
const reserve = 64 << 20

// A heap is Go's, for which the kernel is asked for huge pages. A call touches places all
// over it, and in a virtual machine it takes long to find a page that the processor has
// forgotten: with huge ones, of which it remembers more, AssumeRole takes a tenth to a
// third less time. The runtime does not ask for them, and a kernel whose
// transparent_hugepage/enabled is madvise does not give them unasked.
type heap struct {
	weight []byte
	known  uint64 // how much memory the runtime had when the kernel was asked last
}

// newHeap weighs the heap down and reserves its addresses.
func newHeap() *heap {
	h := &heap{weight: make([]byte, ballast)} // first: memory that has been used before is cleared, and so touched
	room := make([]byte, reserve)
	runtime.KeepAlive(room)
	room = nil
	runtime.GC() // or the next collection waits for as much again
	return h
}

// keep asks again when the heap has grown, until ctx ends. The first to ask is whoever has
// started the server: what a start needs stays in small pages, so that a server with
// little to do stays small.
func (h *heap) keep(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			h.ask()
		}
	}
}

// ask asks for huge pages, if there is memory for which it has not.
func (h *heap) ask() {
	total := []metrics.Sample{{Name: "/memory/classes/total:bytes"}} // it is never given back, only its pages are
	metrics.Read(total)
	if n := total[0].Value.Uint64(); n != h.known {
		h.known = n
		adviseHuge(reflect.ValueOf(h.weight).Pointer())
	}
}
