package main

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
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
