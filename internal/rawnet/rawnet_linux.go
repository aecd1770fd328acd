package rawnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// A step is one read or write. Its functions are made once: a closure each time costs more
// than what it does.
type step struct {
	p           []byte
	n           int
	failed      syscall.Errno
	read, write func(fd uintptr) bool
}

var steps = sync.Pool{New: func() any {
	s := &step{}
	s.read, s.write = s.readFD, s.writeFD
	return s
}}

// end gives the step back and tells how it went.
func (s *step) end() (n int, failed syscall.Errno) {
	n, failed = s.n, s.failed
	s.p, s.n, s.failed = nil, 0, 0
	steps.Put(s)
	return n, failed
}

func (s *step) readFD(fd uintptr) bool {
	for {
		var got uintptr
		got, _, s.failed = syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&s.p[0])), uintptr(len(s.p)))
		switch s.failed {
		case 0:
			s.n = int(got)
			return true
		case syscall.EINTR:
		default:
			return s.failed != syscall.EAGAIN
		}
	}
}

func (s *step) writeFD(fd uintptr) bool {
	for s.n < len(s.p) {
		var put uintptr
		put, _, s.failed = syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(&s.p[s.n])), uintptr(len(s.p)-s.n))
		switch s.failed {
		case 0:
			s.n += int(put)
		case syscall.EINTR:
		default:
			return s.failed != syscall.EAGAIN
		}
	}
	return true
}

// Read reads what is there, and waits until something is.
func (c *Conn) Read(p []byte) (n int, err error) {
	if c.raw == nil || len(p) == 0 {
		return c.TCPConn.Read(p)
	}
	s := steps.Get().(*step)
	s.p = p
	err = c.raw.Read(s.read)
	n, failed := s.end()
	switch {
	case err != nil:
		return 0, err
	case failed != 0:
		return 0, c.failed("read", failed)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write writes all of p, and waits where the peer is slow to take it.
func (c *Conn) Write(p []byte) (n int, err error) {
	if c.raw == nil || len(p) == 0 {
		return c.TCPConn.Write(p)
	}
	s := steps.Get().(*step)
	s.p = p
	err = c.raw.Write(s.write)
	n, failed := s.end()
	switch {
	case err != nil:
		return n, err
	case failed != 0:
		return n, c.failed("write", failed)
	}
	return n, nil
}

// failed is what package net says.
func (c *Conn) failed(operation string, e syscall.Errno) error {
	return &net.OpError{Op: operation, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError(operation, e)}
}

func quietFD(fd uintptr) bool {
	var one [1]byte
	_, _, e := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&one)), 1, syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	return e == syscall.EAGAIN
}

// Watch wakes the monitor, which then stays awake until there is nothing to do: it lets
// others have a processor that somebody computes on for more than 10 ms.
func Watch() { syscall.Syscall(syscall.SYS_GETPID, 0, 0, 0) } // one of which the scheduler is told
