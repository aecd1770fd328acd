// Package plainhttp answers the plain requests of HTTP/1.1 by itself, and has net/http
// answer all others.
//
//	s := &plainhttp.Server{Handler: h, Others: &http.Server{Handler: h, IdleTimeout: time.Minute}}
//	err := s.Serve(listener)
//
// A request is plain when it has one of five methods, a path, headers that are written as
// the RFC wants them, no transfer coding and no expectation, and when it is so small that
// all of it is in hand before the handler is asked: nearly every call of AWS's is. What is
// not plain is not judged here. Its connection goes to net/http with what has been read of
// it, and stays there: whatever is odd, large, slow or wrong is net/http's to understand,
// to limit and to refuse, as before.
//
// The reason is speed. net/http reads each request on behalf of everything that a request
// can be: without it a DynamoDB call takes 107,000 instructions for 137,000, and runs through
// a fifth less code. It begins a second read with each call, in a goroutine of its own, to
// hear of clients that go away; here that begins when a call takes long.
package plainhttp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// A Server answers on a listener until it is shut down.
type Server struct {
	Handler http.Handler // answers what is plain
	// Others answers everything else. Its ReadHeaderTimeout, IdleTimeout and ErrorLog
	// are those of plain requests too.
	Others *http.Server

	closing atomic.Bool

	mu       sync.Mutex
	listener net.Listener
	handed   *handed
	conns    map[*conn]struct{}
}

const (
	// room is that of a whole request, head and body. It is as much as net/http keeps
	// for a connection.
	room = 8 << 10
	// patience is how long a call may take until its connection is watched for a client
	// that goes away.
	patience = 100 * time.Millisecond
	// bodyTimeout is how long the next piece of a body may take.
	bodyTimeout = time.Minute
)

// Serve answers on what l accepts. It returns http.ErrServerClosed after Shutdown and Close.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.closing.Load() {
		s.mu.Unlock()
		l.Close()
		return http.ErrServerClosed
	}
	s.listener = l
	s.handed = &handed{conns: make(chan net.Conn), closed: make(chan struct{}), addr: l.Addr()}
	s.conns = map[*conn]struct{}{}
	s.mu.Unlock()
	defer l.Close()
	var others sync.WaitGroup
	defer others.Wait()
	defer s.handed.Close()
	others.Go(func() { s.Others.Serve(s.handed) })

	ctx := context.WithValue(context.Background(), http.ServerContextKey, s.Others)
	for wait := time.Duration(0); ; {
		accepted, err := l.Accept()
		if err != nil {
			var temporary interface{ Temporary() bool }
			switch {
			case s.closing.Load():
				return http.ErrServerClosed
			case errors.As(err, &temporary) && temporary.Temporary(): // too many open files
				wait = min(max(2*wait, 5*time.Millisecond), time.Second)
				s.logf("http: Accept error: %v; retrying in %v", err, wait)
				time.Sleep(wait)
				continue
			}
			return err
		}
		wait = 0
		c := &conn{Conn: accepted, server: s, remote: accepted.RemoteAddr().String(),
			ctx: context.WithValue(ctx, http.LocalAddrContextKey, accepted.LocalAddr())}
		if !s.keep(c) {
			accepted.Close()
			continue
		}
		go c.serve()
	}
}

// keep takes a connection into those that are closed with the server.
func (s *Server) keep(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) drop(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// Shutdown closes the listener and the connections on which nothing goes on, waits for the
// calls that do, until ctx ends, and closes their connections.
func (s *Server) Shutdown(ctx context.Context) error {
	s.close(func(c *conn) bool { return c.waiting.Load() })
	others := make(chan error, 1)
	go func() { others <- s.Others.Shutdown(ctx) }()
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		if s.close(func(c *conn) bool { return c.waiting.Load() }) == 0 {
			return <-others
		}
		select {
		case <-ctx.Done():
			<-others
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// Close closes everything.
func (s *Server) Close() error {
	s.close(func(*conn) bool { return true })
	return s.Others.Close()
}

// close closes the listener and those connections, and counts the others.
func (s *Server) close(which func(*conn) bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing.Swap(true) && s.listener != nil {
		s.listener.Close()
	}
	others := 0
	for c := range s.conns {
		if which(c) {
			c.Close()
		} else {
			others++
		}
	}
	return others
}

func (s *Server) logf(format string, args ...any) {
	if log := s.Others.ErrorLog; log != nil {
		log.Printf(format, args...)
	}
}

// A conn is a connection on which all requests were plain until now.
type conn struct {
	net.Conn
	server  *Server
	ctx     context.Context
	remote  string
	waiting atomic.Bool // for a request of which nothing is there

	room       [room + 1]byte // and for what a watch reads
	begin, end int            // what has been read and not been used
	lineEnds   int            // so many carriage returns and line feeds may stand before the next request

	watch watch
}

// serve answers what comes until the connection ends or goes to net/http.
func (c *conn) serve() {
	given := false
	defer func() { // also where a handler panics, or ends the goroutine
		c.watch.stop()
		if !given {
			c.Close()
		}
		c.server.drop(c)
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			c.server.logf("http: panic serving %s: %v\n%s", c.remote, p, debug.Stack())
		}
	}()
	for first := true; ; first = false {
		switch c.one(first) {
		case more:
			if !c.server.closing.Load() {
				continue
			}
		case notPlain:
			given = true
			c.SetReadDeadline(time.Time{})
			c.server.handed.give(&begun{Conn: c.Conn, read: bytes.Clone(c.room[c.begin:c.end])})
		}
		return
	}
}

// outcome is how it goes on after a request.
type outcome int

const (
	more     outcome = iota // with another one
	ended                   // not at all
	notPlain                // with net/http: nothing of the request has been used
)

// one reads a request and has it answered.
func (c *conn) one(first bool) outcome {
	head, o := c.readHead(first)
	if o != more {
		return o
	}
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	r := blank.WithContext(ctx)
	length, plain := parse(string(c.room[c.begin:c.begin+head]), r)
	if !plain || length > room-head || !c.readBody(head, length) {
		return notPlain
	}
	from := c.begin + head
	c.begin = from + length
	c.lineEnds = 0
	if r.Method == "POST" { // old clients end their forms so, and net/http takes as many
		c.lineEnds = 4
	}
	r.RemoteAddr = c.remote
	r.Body = http.NoBody
	if length > 0 {
		b := &body{left: c.room[from:c.begin:c.begin]}
		defer b.Close()
		r.Body = b
	}
	w := &response{conn: c, request: r, header: make(http.Header, 8), length: -1}
	defer w.release()
	c.watch.begin(c, cancel)
	c.server.Handler.ServeHTTP(w, r)
	if !w.finish() || !c.watch.done() {
		return ended
	}
	return more
}

// blank is what all requests have in common.
var blank = &http.Request{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}

// readHead reads until the empty line that ends a head, and tells where it ends, from begin.
func (c *conn) readHead(first bool) (int, outcome) {
	var until time.Time
	reading := false   // until is when all of it must be there
	for seen := 0; ; { // so much of it is known to have no end
		for ; c.lineEnds > 0 && c.begin < c.end && (c.room[c.begin] == '\r' || c.room[c.begin] == '\n'); c.lineEnds-- {
			c.begin++
		}
		if unread := c.room[c.begin:c.end]; len(unread) > 0 {
			if unread[0] < 'A' || unread[0] > 'Z' {
				return 0, notPlain
			}
			if i := bytes.Index(unread[seen:], []byte("\n\r\n")); i >= 0 {
				return seen + i + len("\n\r\n"), more
			}
			if bytes.Contains(unread[seen:], []byte("\n\n")) || len(unread) == room {
				return 0, notPlain
			}
			seen = max(0, len(unread)-len("\n\r"))
		}
		switch {
		case c.begin == c.end && !first:
			until = after(c.server.Others.IdleTimeout)
		case !reading:
			until, reading = after(c.server.Others.ReadHeaderTimeout), true
		}
		if !c.fill(until) {
			return 0, ended
		}
	}
}

// readBody reads what is not there yet of a body of so many bytes.
func (c *conn) readBody(head, length int) bool {
	for c.end-c.begin < head+length {
		if !c.fill(after(bodyTimeout)) {
			return false
		}
	}
	return true
}

// after is when a time is over that begins now; zero is no end.
func after(d time.Duration) (end time.Time) {
	if d > 0 {
		end = time.Now().Add(d)
	}
	return end
}

// fill reads more, and reports whether there was more. What has been used makes room.
func (c *conn) fill(until time.Time) bool {
	if c.begin > 0 {
		c.end = copy(c.room[:], c.room[c.begin:c.end])
		c.begin = 0
	}
	if c.end == 0 {
		c.waiting.Store(true)
		defer c.waiting.Store(false)
		if c.server.closing.Load() {
			return false
		}
	}
	if c.SetReadDeadline(until) != nil {
		return false
	}
	n, _ := c.Read(c.room[c.end:room])
	c.end += n
	return n > 0
}

// A watch waits for a client to go away, while a call takes long, and ends the call's context.
type watch struct {
	conn *conn

	mu      sync.Mutex
	timer   *time.Timer
	ticking bool
	cancel  context.CancelFunc // of the call that goes on
	calls   uint64             // that have begun
	seen    uint64             // calls, when the timer went off last
	reading chan struct{}      // closed when the watch has ended; nil: there is none
	gone    bool               // the client
}

func (w *watch) begin(c *conn, cancel context.CancelFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cancel = cancel
	w.calls++
	switch {
	case w.timer == nil:
		w.conn = c
		w.timer = time.AfterFunc(patience, w.tick)
		w.ticking = true
	case !w.ticking:
		w.timer.Reset(patience)
		w.ticking = true
	}
}

// tick begins to read where a call goes on that went on when it was last here.
func (w *watch) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ticking = false
	switch {
	case w.cancel == nil || w.conn.end == len(w.conn.room):
	case w.calls == w.seen:
		w.conn.SetReadDeadline(time.Time{}) // that of the request may be over before the call is
		w.reading = make(chan struct{})
		go w.read(w.reading)
	default:
		w.seen = w.calls
		w.timer.Reset(patience)
		w.ticking = true
	}
}

// read waits for the next request, or for the end.
func (w *watch) read(reading chan struct{}) {
	defer close(reading)
	c := w.conn
	n, err := c.Read(c.room[c.end : c.end+1])
	c.end += n
	var timeout net.Error
	if n > 0 || errors.As(err, &timeout) && timeout.Timeout() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone = true
	if w.cancel != nil {
		w.cancel()
	}
}

// done ends the watch with its call, and reports whether the client is still there.
func (w *watch) done() bool {
	w.mu.Lock()
	w.cancel = nil
	reading := w.reading
	w.reading = nil
	w.mu.Unlock()
	if reading == nil {
		return true
	}
	w.conn.SetReadDeadline(time.Unix(1, 0))
	<-reading
	w.conn.SetReadDeadline(time.Time{})
	return !w.gone
}

// stop ends it with the connection.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cancel = nil
	if w.timer != nil {
		w.timer.Stop()
	}
}

// handed is the listener of the connections that are net/http's.
type handed struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
	addr   net.Addr
}

func (h *handed) give(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.closed:
		c.Close()
	}
}

func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *handed) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

func (h *handed) Addr() net.Addr { return h.addr }

// A begun connection is one of which something has been read already.
type begun struct {
	net.Conn
	read []byte
}

func (b *begun) Read(p []byte) (int, error) {
	if len(b.read) == 0 {
		return b.Conn.Read(p)
	}
	n := copy(p, b.read)
	if b.read = b.read[n:]; len(b.read) == 0 {
		b.read = nil
	}
	return n, nil
}

// ReadFrom sends a file without copying it through this process, where that can be done.
func (b *begun) ReadFrom(r io.Reader) (int64, error) { return readFrom(b.Conn, r) }

// CloseWrite tells the peer that nothing follows.
func (b *begun) CloseWrite() error {
	if to, ok := b.Conn.(interface{ CloseWrite() error }); ok {
		return to.CloseWrite()
	}
	return nil
}

func readFrom(to net.Conn, r io.Reader) (int64, error) {
	if to, ok := to.(io.ReaderFrom); ok {
		return to.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{to}, r)
}
