package plainhttp

import (
	"bufio"
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// A script is a connection whose client says what it has to say in pieces, waits in vain
// for more than the answers, and hears everything.
type script struct {
	mu     sync.Mutex
	pieces []string
	said   bytes.Buffer
	closed chan struct{}
	once   sync.Once
}

func (s *script) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pieces) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(p, s.pieces[0])
	if s.pieces[0] = s.pieces[0][n:]; s.pieces[0] == "" {
		s.pieces = s.pieces[1:]
	}
	return n, nil
}

func (s *script) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.Write(p)
}

func (s *script) Close() error                     { s.once.Do(func() { close(s.closed) }); return nil }
func (s *script) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// A queue is a listener of what is put into it.
type queue struct{ *handed }

func newQueue() queue {
	return queue{&handed{conns: make(chan net.Conn), closed: make(chan struct{}), addr: &net.TCPAddr{}}}
}

// play says a stream in pieces, the length of each of which is in cuts, and tells what
// came back, in which nothing differs that may.
func (q queue) play(t *testing.T, stream string, cuts []byte, methods func() []string) string {
	s := &script{closed: make(chan struct{})}
	for _, n := range cuts {
		n := min(int(n)+1, len(stream))
		if n > 0 {
			s.pieces = append(s.pieces, stream[:n])
		}
		stream = stream[n:]
	}
	if stream != "" {
		s.pieces = append(s.pieces, stream)
	}
	q.give(s)
	<-s.closed
	asked := methods()
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for in := bufio.NewReader(&s.said); ; {
		if _, err := in.Peek(1); err != nil {
			return b.String()
		}
		method := "GET"
		if len(asked) > 0 {
			method = asked[0]
		}
		r, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("an answer cannot be read: %v", err)
		}
		body, err := io.ReadAll(r.Body)
		if r.StatusCode >= 200 && len(asked) > 0 {
			asked = asked[1:]
		}
		r.Header.Del("Date")
		r.Header.Del("Content-Length") // of an answer of some kilobytes net/http does not tell it
		fmt.Fprintf(&b, "%s %s close %v %v %d bytes %08x %.200q %v\n", method, r.Status, r.Close, r.Header, len(body), crc32.ChecksumIEEE(body), body, err)
	}
}

// FuzzStream has whole streams of requests, in pieces, answered here and by net/http alone:
// the answers must be the same.
func FuzzStream(f *testing.F) {
	all := append(append([]string{}, plainRequests...), otherRequests...)
	for i, a := range all {
		f.Add(a, []byte{})
		f.Add(plainRequests[i%len(plainRequests)]+a+plainRequests[4], []byte{3, byte(i * 7), 40})
	}
	f.Add(plainRequests[4]+"\r\n"+plainRequests[4]+"\r\n\r\n"+plainRequests[0], []byte{})
	f.Add("PUT /5 HTTP/1.1\r\n"+host+"Content-Length: 9000\r\n\r\n"+strings.Repeat("x", 9000)+plainRequests[4], []byte{200, 200})
	f.Add("PUT /5 HTTP/1.1\r\n"+host+"Content-Length: 8100\r\n\r\n"+strings.Repeat("x", 8100)+plainRequests[4], []byte{200, 200})
	f.Add("PUT /5 HTTP/1.1\r\n"+host+"Content-Length: 7\r\n\r\ncut", []byte{})
	var mu sync.Mutex
	var asked []string
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.Method)
		mu.Unlock()
		body, err := io.ReadAll(r.Body)
		text := fmt.Sprintf("%s %q %v %s %d %q %v", r.Method, r.RequestURI, r.URL, r.Host, r.ContentLength, body, err != nil)
		switch w.Header().Set("Content-Type", "text/plain"); len(r.RequestURI) % 8 {
		case 0:
			w.WriteHeader(204)
		case 1:
			io.WriteString(w, text)
			http.NewResponseController(w).Flush()
			io.WriteString(w, text)
		case 2:
			w.Header().Set("Content-Length", "5000")
			io.Copy(w, struct{ io.Reader }{strings.NewReader(strings.Repeat("z", 5000))})
		case 3:
			w.Header().Set("Content-Length", fmt.Sprint(len(text)))
			io.Copy(w, struct{ io.Reader }{strings.NewReader(text)})
		case 4:
			io.WriteString(w, strings.Repeat(text, 100))
		default:
			io.WriteString(w, text)
		}
	})
	methods := func() []string {
		mu.Lock()
		defer mu.Unlock()
		was := asked
		asked = nil
		return was
	}
	quiet := log.New(io.Discard, "", 0)
	here, alone := newQueue(), newQueue()
	plain := &Server{Handler: h, Others: &http.Server{Handler: h, ErrorLog: quiet}}
	whole := &http.Server{Handler: h, ErrorLog: quiet}
	go plain.Serve(here)
	go whole.Serve(alone)
	f.Cleanup(func() { plain.Close(); whole.Close() })
	f.Fuzz(func(t *testing.T, stream string, cuts []byte) {
		got, want := here.play(t, stream, cuts, methods), alone.play(t, stream, cuts, methods)
		// To part of a line net/http says that it is bad, or nothing, as it was read.
		got, _, _ = strings.Cut(got, "GET 400 Bad Request close true")
		want, _, _ = strings.Cut(want, "GET 400 Bad Request close true")
		if got != want {
			t.Errorf("%q in %v is answered\n%.2000s\nand by net/http\n%.2000s", stream, cuts, got, want)
		}
	})
}
