package dynamodb

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/iamd-dev/iamd/internal/rawnet"
)

// Lanes are connections to an embedded engine, on each of which one call goes at a time
// and is answered whole. A call is written and its answer read by the one who makes it:
// net/http's client has two goroutines on the way, which cost more than the engine does.
type lanes struct {
	dial func(context.Context) (net.Conn, error)
	idle chan *lane
}

type lane struct {
	*rawnet.Conn
	in    *bufio.Reader
	out   []byte    // of the request, kept for the next one
	until time.Time // the deadline
}

const (
	mostIdle   = 128
	mostKept   = 64 << 10    // of the room of a request
	engineWait = time.Minute // longest that an engine may take for a call, and at least half of that
)

func newLanes(dial func(context.Context) (net.Conn, error)) *lanes {
	return &lanes{dial: dial, idle: make(chan *lane, mostIdle)}
}

// Call has the engine carry out a call. One whose connection breaks may have been carried
// out or not: it is not made again.
func (l *lanes) Call(ctx context.Context, target string, body []byte) (status int, document []byte, err error) {
	x, err := l.take(ctx)
	if err != nil {
		return 0, nil, err
	}
	if now := time.Now(); x.until.Sub(now) < engineWait/2 {
		x.until = now.Add(engineWait)
		x.SetDeadline(x.until)
	}
	release := context.AfterFunc(ctx, func() { x.SetDeadline(time.Unix(1, 0)) })
	status, document, last, err := x.exchange(target, body)
	if !release() || err != nil || last {
		x.Close()
	} else {
		l.put(x)
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return status, document, err
}

// exchange sends a request and reads the answer; last tells that the engine closes the connection.
func (x *lane) exchange(target string, body []byte) (status int, document []byte, last bool, err error) {
	// The engine wants a signature and reads none.
	b := append(x.out[:0], "POST / HTTP/1.1\r\nHost: engine\r\nContent-Type: application/x-amz-json-1.0\r\n"+
		"Authorization: AWS4-HMAC-SHA256 Credential=iamd/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0\r\n"+
		"X-Amz-Date: 20260101T000000Z\r\nX-Amz-Target: "...)
	b = append(append(b, target...), "\r\nContent-Length: "...)
	b = append(strconv.AppendInt(b, int64(len(body)), 10), "\r\n\r\n"...)
	b = append(b, body...)
	if x.out = b; cap(b) > mostKept {
		x.out = nil
	}
	if _, err := x.Write(b); err != nil {
		return 0, nil, false, err
	}
	return readAnswer(x.in)
}

// readAnswer reads an answer of HTTP/1.1 as far as engines go: each tells the length of its body.
func readAnswer(in *bufio.Reader) (status int, document []byte, last bool, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return 0, nil, false, err
	}
	version, rest, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(" "))
	code, _, _ := bytes.Cut(rest, []byte(" "))
	if status, err = strconv.Atoi(string(code)); err != nil || string(version) != "HTTP/1.1" || status < 200 || status > 599 {
		return 0, nil, false, fmt.Errorf("an answer begins with %.40q", line)
	}
	length := int64(-1)
	for read := 0; ; {
		if line, err = in.ReadSlice('\n'); err != nil {
			return 0, nil, false, err
		}
		if read += len(line); read > in.Size() {
			return 0, nil, false, errors.New("an answer has headers without end")
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		colon := bytes.IndexByte(line, ':')
		switch colon {
		case len("Content-Length"), len("Connection"), len("Transfer-Encoding"):
		default:
			continue
		}
		name, value := line[:colon], bytes.TrimSpace(line[colon+1:])
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			n, err := strconv.ParseUint(string(value), 10, 31)
			if err != nil || length >= 0 {
				return 0, nil, false, fmt.Errorf("an answer has the length %.20q", value)
			}
			length = int64(n)
		case bytes.EqualFold(name, []byte("Connection")):
			last = last || bytes.EqualFold(value, []byte("close"))
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			return 0, nil, false, fmt.Errorf("an answer is encoded as %.20q", value)
		}
	}
	switch {
	case length < 0:
		return 0, nil, false, errors.New("an answer has no length")
	case length > largestAnswer:
		return 0, nil, false, fmt.Errorf("the answer has more than %d bytes", largestAnswer)
	}
	document = make([]byte, length)
	if _, err := io.ReadFull(in, document); err != nil {
		return 0, nil, false, err
	}
	return status, document, last, nil
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
		tcp, ok := conn.(*net.TCPConn)
		if !ok {
			conn.Close()
			return nil, errors.New("not a TCP connection")
		}
		quick := rawnet.New(tcp)
		return &lane{Conn: quick, in: bufio.NewReader(quick)}, nil
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
func (x *lane) alive() bool { return x.in.Buffered() == 0 && x.Quiet() }
