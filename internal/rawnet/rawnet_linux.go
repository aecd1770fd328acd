package rawnet

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// Read reads what is there, and waits until something is.
func (c *Conn) Read(p []byte) (n int, err error) {
	if c.raw == nil || len(p) == 0 {
		return c.TCPConn.Read(p)
	}
	var got uintptr
	var failed syscall.Errno
	err = c.raw.Read(func(fd uintptr) bool {
		for {
			got, _, failed = syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
			if failed != syscall.EINTR {
				return failed != syscall.EAGAIN
			}
		}
	})
	switch {
	case err != nil:
		return 0, err
	case failed != 0:
		return 0, c.failed("read", failed)
	case got == 0:
		return 0, io.EOF
	}
	return int(got), nil
}

// Write writes all of p, and waits where the peer is slow to take it.
func (c *Conn) Write(p []byte) (n int, err error) {
	if c.raw == nil || len(p) == 0 {
		return c.TCPConn.Write(p)
	}
	var failed syscall.Errno
	err = c.raw.Write(func(fd uintptr) bool {
		for n < len(p) {
			var put uintptr
			put, _, failed = syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(&p[n])), uintptr(len(p)-n))
			switch failed {
			case 0:
				n += int(put)
			case syscall.EINTR:
			default:
				return failed != syscall.EAGAIN
			}
		}
		return true
	})
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
