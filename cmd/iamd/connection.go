package main

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/iamd-dev/iamd/internal/rawnet"
)

// A sparing listener gives connections that set few timers.
type sparing struct{ net.Listener }

func (l sparing) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		return &connection{Conn: rawnet.New(tcp)}, err
	}
	return c, err
}

// A connection keeps the deadline of its reads as any other does, with fewer timers.
// For each request net/http moves the deadline some nine times, almost always to a
// later one, long before the one that stood. Here a timer that is due too early stays
// as it is: should it go off while a read waits, the read waits again for as long as
// it may.
type connection struct {
	net.Conn // a *net.TCPConn, but in tests

	mu      sync.Mutex
	wanted  time.Time // the deadline; zero: none
	timer   time.Time // what Conn has: not after wanted; zero: none
	stopped bool      // timer is in the past, to end a read
	before  time.Time // the timer that stood then
}

// SetReadDeadline sets until when a read may wait, also one that waits already.
func (c *connection) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanted = t
	if c.stopped { // whoever ended a read goes on: the timer from before is early enough
		c.stopped = false
		if !sooner(t, c.before) {
			t = c.before
		}
		return c.set(t)
	}
	if !sooner(t, c.timer) {
		return nil
	}
	if !time.Now().Before(t) {
		c.stopped, c.before = true, c.timer
	}
	return c.set(t)
}

func (c *connection) set(t time.Time) error {
	c.timer = t
	return c.Conn.SetReadDeadline(t)
}

// sooner compares deadlines, of which zero is the latest.
func sooner(a, b time.Time) bool {
	return !a.IsZero() && (b.IsZero() || a.Before(b))
}

func (c *connection) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if n > 0 || err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || !c.again() {
			return n, err
		}
	}
}

// again reports whether a read whose timer went off may wait longer, and sets the timer for that.
func (c *connection) again() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.wanted.IsZero() && !time.Now().Before(c.wanted) {
		return false
	}
	return c.set(c.wanted) == nil
}

// SetDeadline sets the deadlines of reads and writes.
func (c *connection) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// ReadFrom sends a file without copying it through this process.
func (c *connection) ReadFrom(r io.Reader) (int64, error) {
	if to, ok := c.Conn.(io.ReaderFrom); ok {
		return to.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

// CloseWrite tells the peer that nothing follows.
func (c *connection) CloseWrite() error {
	if to, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return to.CloseWrite()
	}
	return nil
}
