package rawnet

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// pair is a connection and its peer.
func pair(t *testing.T) (*Conn, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ours, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return New(ours.(*net.TCPConn)), theirs.(*net.TCPConn)
}

func TestReadAndWrite(t *testing.T) {
	t.Parallel()
	c, peer := pair(t)
	go func() {
		time.Sleep(20 * time.Millisecond) // the read waits
		peer.Write([]byte("hello"))
		peer.CloseWrite()
	}()
	b := make([]byte, 3)
	if n, err := c.Read(b); n != 3 || err != nil || string(b) != "hel" {
		t.Errorf("read %d bytes, %q, %v", n, b, err)
	}
	if n, err := c.Read(nil); n != 0 || err != nil {
		t.Errorf("reading nothing gives %d, %v", n, err)
	}
	if n, err := c.Read(b); n != 2 || err != nil {
		t.Errorf("read %d bytes more, %v", n, err)
	}
	if n, err := c.Read(b); n != 0 || err != io.EOF {
		t.Errorf("at the end read %d bytes, %v", n, err)
	}
	if n, err := c.Write(nil); n != 0 || err != nil {
		t.Errorf("writing nothing gives %d, %v", n, err)
	}
}

// A peer that is slow to read gets everything, in order.
func TestWriteWaits(t *testing.T) {
	t.Parallel()
	c, peer := pair(t)
	sent := make([]byte, 16<<20)
	for i := range sent {
		sent[i] = byte(i * 31 >> 7)
	}
	wrote := make(chan error, 1)
	go func() {
		n, err := c.Write(sent)
		if err == nil && n != len(sent) {
			err = io.ErrShortWrite
		}
		c.CloseWrite()
		wrote <- err
	}()
	time.Sleep(50 * time.Millisecond)
	got, err := io.ReadAll(peer)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes of %d arrived, or others: %v", len(got), len(sent), err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	c, _ := pair(t)
	c.SetDeadline(time.Now().Add(20 * time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	if timed, ok := errors.AsType[net.Error](err); !errors.Is(err, os.ErrDeadlineExceeded) || !ok || !timed.Timeout() {
		t.Errorf("after its time a read says %v", err)
	}
	if n, err := c.Write(make([]byte, 32<<20)); n == 32<<20 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after its time a write wrote %d bytes and says %v", n, err)
	}
	time.AfterFunc(20*time.Millisecond, func() { c.SetReadDeadline(time.Unix(1, 0)) })
	c.SetReadDeadline(time.Time{})
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a read that is ended says %v", err)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	c, _ := pair(t)
	time.AfterFunc(20*time.Millisecond, func() { c.Close() })
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed meanwhile, a read says %v", err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed, a write says %v", err)
	}
	if c.Quiet() {
		t.Error("a closed connection is quiet")
	}
}

// A peer that breaks the connection is told of as package net does.
func TestReset(t *testing.T) {
	t.Parallel()
	c, peer := pair(t)
	peer.SetLinger(0)
	peer.Close()
	var err error
	for range 100 { // until the reset has come
		if _, err = c.Write([]byte("x")); err != nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if op, ok := errors.AsType[*net.OpError](err); !ok || op.Op != "write" || !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("after a reset a write says %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("after a reset a read finds something")
	}
}

func TestQuiet(t *testing.T) {
	t.Parallel()
	c, peer := pair(t)
	if !c.Quiet() {
		t.Error("a new connection is not quiet")
	}
	until := func(quiet bool) bool {
		for range 500 {
			if c.Quiet() == quiet {
				return true
			}
			time.Sleep(time.Millisecond)
		}
		return false
	}
	peer.Write([]byte("x"))
	if !until(false) {
		t.Error("one whose peer has said something is quiet")
	}
	c.Read(make([]byte, 1))
	if !c.Quiet() {
		t.Error("one of which everything has been read is not quiet")
	}
	peer.Close()
	if !until(false) {
		t.Error("one whose peer is gone is quiet")
	}
}

// BenchmarkRoundTrip is an answer of some bytes to some bytes, with nothing to do in between.
func BenchmarkRoundTrip(b *testing.B) {
	for _, c := range []struct {
		name string
		make func(*net.TCPConn) net.Conn
	}{
		{"rawnet", func(c *net.TCPConn) net.Conn { return New(c) }},
		{"net", func(c *net.TCPConn) net.Conn { return c }},
	} {
		b.Run(c.name, func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			go func() {
				peer, err := l.Accept()
				if err != nil {
					return
				}
				defer peer.Close()
				conn, p := c.make(peer.(*net.TCPConn)), make([]byte, 256)
				for {
					n, err := conn.Read(p)
					if err != nil {
						return
					}
					conn.Write(p[:n])
				}
			}()
			peer, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer peer.Close()
			conn, p := c.make(peer.(*net.TCPConn)), make([]byte, 256)
			for b.Loop() {
				if _, err := conn.Write(p); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(conn, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
