package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iamd-dev/iamd/internal/plainhttp"
)

// A timed connection counts its timers.
type timed struct {
	net.Conn
	sets int
}

func (c *timed) SetReadDeadline(t time.Time) error {
	c.sets++
	return c.Conn.SetReadDeadline(t)
}

func connected(t *testing.T) (c *connection, timers *timed, peer net.Conn) {
	ours, peer := net.Pipe()
	timers = &timed{Conn: ours}
	t.Cleanup(func() { ours.Close(); peer.Close() })
	return &connection{Conn: timers}, timers, peer
}

// read says after how long a read came back, and with what.
func read(c *connection) (time.Duration, error) {
	began := time.Now()
	_, err := c.Read(make([]byte, 1))
	return time.Since(began), err
}

func TestReadEndsAtItsDeadline(t *testing.T) {
	for name, set := range map[string]func(*connection){
		"the only one": func(c *connection) { c.SetReadDeadline(time.Now().Add(time.Minute)) },
		"made later": func(c *connection) {
			c.SetReadDeadline(time.Now().Add(time.Second))
			c.SetReadDeadline(time.Now().Add(time.Minute))
		},
		"made sooner": func(c *connection) {
			c.SetReadDeadline(time.Now().Add(time.Hour))
			c.SetReadDeadline(time.Now().Add(time.Minute))
		},
		"after none": func(c *connection) {
			c.SetReadDeadline(time.Now().Add(time.Second))
			c.SetReadDeadline(time.Time{})
			c.SetDeadline(time.Now().Add(time.Minute))
		},
		"after a stop": func(c *connection) {
			c.SetReadDeadline(time.Unix(1, 0))
			c.SetReadDeadline(time.Now().Add(time.Minute))
		},
		"a stop, later": func(c *connection) {
			c.SetReadDeadline(time.Now().Add(time.Second))
			c.SetReadDeadline(time.Unix(1, 0))
			c.SetReadDeadline(time.Time{})
			c.SetReadDeadline(time.Now().Add(time.Minute))
		},
		"two stops": func(c *connection) {
			c.SetReadDeadline(time.Unix(1, 0))
			c.SetReadDeadline(time.Unix(1, 0))
			c.SetReadDeadline(time.Now().Add(time.Minute))
		},
		"its timer old": func(c *connection) {
			c.SetReadDeadline(time.Now().Add(time.Second))
			time.Sleep(2 * time.Second)
			c.SetReadDeadline(time.Now().Add(time.Minute))
		},
		"set meanwhile": func(c *connection) {
			time.AfterFunc(10*time.Second, func() { c.SetReadDeadline(time.Now().Add(50 * time.Second)) })
		},
		"put off": func(c *connection) {
			c.SetReadDeadline(time.Now().Add(20 * time.Second))
			time.AfterFunc(10*time.Second, func() { c.SetReadDeadline(time.Now().Add(50 * time.Second)) })
		},
		"stopped": func(c *connection) {
			c.SetReadDeadline(time.Now().Add(time.Hour))
			time.AfterFunc(time.Minute, func() { c.SetReadDeadline(time.Unix(1, 0)) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _, _ := connected(t)
				set(c)
				if took, err := read(c); took != time.Minute || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("the read came back after %v with %v, want a minute and a timeout", took, err)
				}
			})
		})
	}
}

func TestReadWaitsWithoutDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, peer := connected(t)
		c.SetReadDeadline(time.Now().Add(time.Second))
		c.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Hour, func() { peer.Write([]byte("x")) })
		if took, err := read(c); took != time.Hour || err != nil {
			t.Errorf("the read came back after %v with %v, want an hour and what the peer sent", took, err)
		}
	})
}

// What net/http does for each request.
func TestRequestsSetFewTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, timers, peer := connected(t)
		const requests = 100
		for range requests {
			go peer.Write([]byte("x"))
			c.SetReadDeadline(time.Now().Add(idleTimeout))
			c.Read(make([]byte, 1))
			c.SetReadDeadline(time.Time{})
			c.SetReadDeadline(time.Now().Add(headerTimeout))
			c.SetReadDeadline(time.Time{})
			c.SetReadDeadline(time.Now().Add(bodyTimeout))
			c.SetReadDeadline(time.Time{})
			c.SetReadDeadline(time.Unix(1, 0))
			c.SetReadDeadline(time.Time{})
			time.Sleep(time.Millisecond)
		}
		if timers.sets > 2*requests+3 {
			t.Errorf("%d requests set %d timers", requests, timers.sets)
		}
	})
}

// An only listener gives one connection.
type only struct {
	conns chan net.Conn
	close func()
}

func (o only) Accept() (net.Conn, error) {
	if c, ok := <-o.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (o only) Close() error { o.close(); return nil }
func (only) Addr() net.Addr { return &net.TCPAddr{} }

// The deadlines of plain requests are those of net/http, also after a call that took longer
// than any of them and whose client was watched meanwhile.
func TestDeadlinesOfPlainRequests(t *testing.T) {
	request := "GET /%s HTTP/1.1\r\nHost: iamd\r\n\r\n"
	for _, x := range []struct {
		name string
		say  func(c net.Conn) // and go away or say no more
		want time.Duration    // after which the connection or the call has ended
	}{
		{"nothing is said", func(c net.Conn) {}, headerTimeout},
		{"a head in drops", func(c net.Conn) {
			for _, b := range []byte("GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaa") {
				time.Sleep(time.Second)
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
			}
		}, headerTimeout},
		{"an answer", func(c net.Conn) { fmt.Fprintf(c, request, "") }, idleTimeout},
		{"a long call", func(c net.Conn) { fmt.Fprintf(c, request, "long") }, time.Hour + idleTimeout},
		{"a long call, and half a head", func(c net.Conn) {
			fmt.Fprintf(c, request, "long")
			time.Sleep(time.Hour + time.Minute)
			fmt.Fprint(c, "GET /")
		}, time.Hour + time.Minute + headerTimeout},
		{"a long call, and half a head before its end", func(c net.Conn) {
			fmt.Fprintf(c, request, "long")
			time.Sleep(time.Minute)
			fmt.Fprint(c, "GET /")
		}, time.Hour + headerTimeout},
		{"a long call of a client that goes away", func(c net.Conn) {
			fmt.Fprintf(c, request, "long")
			time.Sleep(30 * time.Minute)
			c.Close()
		}, 30 * time.Minute},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/long" {
						select {
						case <-time.After(time.Hour):
						case <-r.Context().Done():
						}
					}
				})
				s := &plainhttp.Server{Handler: h, Others: &http.Server{Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout}}
				conns := make(chan net.Conn, 1)
				go s.Serve(only{conns, sync.OnceFunc(func() { close(conns) })})
				defer s.Close()
				ours, peer := net.Pipe()
				closed := &noticed{Conn: &connection{Conn: ours}, done: make(chan bool)}
				began := time.Now()
				conns <- closed
				go io.Copy(io.Discard, peer)
				var said sync.WaitGroup
				defer said.Wait()
				said.Go(func() { x.say(peer) })
				<-closed.done
				if took := time.Since(began); took < x.want || took > x.want+time.Second {
					t.Errorf("it took %s, want %s", took, x.want)
				}
			})
		})
	}
}

// A noticed connection says when it is closed.
type noticed struct {
	net.Conn
	once sync.Once
	done chan bool
}

func (c *noticed) Close() error {
	c.once.Do(func() { close(c.done) })
	return c.Conn.Close()
}
