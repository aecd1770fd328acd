package dynamodb

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Lanes are connections to an embedded engine, on each of which one call goes at a time
// and is answered whole. A call is written and its answer read by the one who makes it:
// net/http's client has two goroutines on the way, which cost more than the engine does.
type lanes struct {
	dial func(context.Context) (net.Conn, error)
	idle chan *lane
}

type lane struct {
	net.Conn
	in *bufio.Reader
}

const (
	mostIdle   = 128
	engineWait = time.Minute // longest that an engine may take for a call
)

func newLanes(dial func(context.Context) (net.Conn, error)) *lanes {
	return &lanes{dial: dial, idle: make(chan *lane, mostIdle)}
}

// Do sends a request and reads its answer. A call whose connection breaks may have been
// carried out or not: it is not made again.
func (l *lanes) Do(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	// The engine wants a signature and reads none.
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=iamd/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0")
	r.Header.Set("X-Amz-Date", "20260101T000000Z")
	x, err := l.take(ctx)
	if err != nil {
		return nil, err
	}
	x.SetDeadline(time.Now().Add(engineWait))
	release := context.AfterFunc(ctx, func() { x.SetDeadline(time.Unix(1, 0)) })
	resp, err := x.exchange(r)
	if !release() || err != nil || resp.Close {
		x.Close()
	} else {
		l.put(x)
	}
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return resp, err
}

func (x *lane) exchange(r *http.Request) (*http.Response, error) {
	if err := r.Write(x); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(x.in, r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, largestAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(body) > largestAnswer {
		return nil, fmt.Errorf("the answer has more than %d bytes", largestAnswer)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// take is a connection that nobody uses: an old one that the engine has not closed, or a new one.
func (l *lanes) take(ctx context.Context) (*lane, error) {
	for {
		select {
		case x := <-l.idle:
			if x.alive() {
				return x, nil
			}
			x.Close()
			continue
		default:
		}
		conn, err := l.dial(ctx)
		if err != nil {
			return nil, err
		}
		return &lane{conn, bufio.NewReader(conn)}, nil
	}
}

func (l *lanes) put(x *lane) {
	select {
	case l.idle <- x:
	default:
		x.Close()
	}
}

// close closes the connections that nobody uses.
func (l *lanes) close() {
	for {
		select {
		case x := <-l.idle:
			x.Close()
		default:
			return
		}
	}
}

// alive reports whether the engine has neither closed the connection nor said what nobody asked.
func (x *lane) alive() bool {
	if x.in.Buffered() > 0 {
		return false
	}
	raw, err := rawConn(x.Conn)
	if err != nil {
		return false
	}
	ok := false
	var one [1]byte
	err = raw.Read(func(fd uintptr) bool {
		ok = peek(fd, one[:])
		return true
	})
	return err == nil && ok
}

func rawConn(c net.Conn) (interface {
	Read(func(fd uintptr) bool) error
}, error) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return nil, errors.New("not a TCP connection")
	}
	return t.SyscallConn()
}
