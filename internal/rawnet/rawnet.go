// Package rawnet has TCP connections that are quick to answer where a process is idle in
// between.
//
//	conn := rawnet.New(tcp)
//
// Before each read and write Go's scheduler is told that a thread may block, and where
// there was nothing to do until then it wakes its monitor thread, which looks after the
// threads every 20 µs and takes the processor from the next step of the call. A socket
// does not block, so there is nothing to tell: here reads and writes are system calls
// and nothing else, on Linux. While the monitor sleeps nobody interrupts who computes for
// long: such work begins with [Watch].
package rawnet

import (
	"net"
	"syscall"
)

// A Conn is a TCP connection.
type Conn struct {
	*net.TCPConn
	raw syscall.RawConn // nil: reads and writes are TCPConn's
}

// New takes a connection over.
func New(c *net.TCPConn) *Conn {
	raw, err := c.SyscallConn()
	if err != nil {
		raw = nil
	}
	return &Conn{c, raw}
}

// Quiet reports whether the peer has said nothing that has not been read, not even that it
// is gone.
func (c *Conn) Quiet() bool {
	quiet := false
	if c.raw == nil {
		return false
	}
	err := c.raw.Read(func(fd uintptr) bool {
		quiet = quietFD(fd)
		return true
	})
	return err == nil && quiet
}
