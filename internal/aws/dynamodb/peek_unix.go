//go:build unix

package dynamodb

import "syscall"

// peek reports whether there is nothing to read on a socket, not even its end.
func peek(fd uintptr, b []byte) bool {
	_, _, err := syscall.Recvfrom(int(fd), b, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
}
