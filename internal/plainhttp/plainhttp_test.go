package plainhttp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// start serves by h until the test ends. others counts what net/http has answered.
func start(t *testing.T, h http.Handler, how ...func(*http.Server)) (s *Server, addr string, others *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	others = new(atomic.Int32)
	s = &Server{Handler: h, Others: &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		others.Add(1)
		h.ServeHTTP(w, r)
	})}}
	for _, set := range how {
		set(s.Others)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-served; err != http.ErrServerClosed {
			t.Errorf("Serve returns %v", err)
		}
	})
	return s, l.Addr().String(), others
}

// A client writes and reads text on one connection.
type client struct {
	net.Conn
	in *bufio.Reader
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{c, bufio.NewReader(c)}
}

func (c *client) say(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// answer reads an answer to a request of that method, and its body.
func (c *client) answer(t *testing.T, method string) (*http.Response, string) {
	t.Helper()
	r, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatalf("%v after %q", err, body)
	}
	return r, string(body)
}

// ended reports whether the server has closed the connection, within a while.
func (c *client) ended() bool {
	c.SetDeadline(time.Now().Add(10 * time.Second))
	_, err := c.in.ReadByte()
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %q %v", r.Method, r.URL, body, err)
}

// TestAnswers has each handler answer here and by net/http alone: on the wire it must be the same.
func TestAnswers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, bytes.Repeat([]byte("0123456789abcdef"), 1<<16), 0o600); err != nil {
		t.Fatal(err)
	}
	send := func(size int64, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			f, err := os.Open(file)
			if err != nil {
				panic(err)
			}
			defer f.Close()
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			io.Copy(w, io.LimitReader(f, size))
		}
	}
	say := func(status int, body string, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Add(header[i], header[i+1])
			}
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	long := strings.Repeat("0123456789", 5000)
	for name, h := range map[string]http.HandlerFunc{
		"nothing":           func(http.ResponseWriter, *http.Request) {},
		"echo":              echo,
		"a status":          say(404, ""),
		"an unknown status": say(599, "x"),
		"text":              say(200, "hello"),
		"HTML":              say(200, "<html>hello"),
		"JSON":              say(200, "{}", "Content-Type", "application/x-amz-json-1.0"),
		"no type": func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = nil
			io.WriteString(w, "<html>")
		},
		"encoded":           say(200, "hello", "Content-Encoding", "gzip"),
		"an empty encoding": say(200, "hello", "Content-Encoding", ""),
		"many headers":      say(200, "hello", "B", "1", "A", "2", "B", "3", "X-Amz-Meta-Long", long[:3000]),
		"values with lines": say(200, "hello", "X-Amz-Meta-A", "a\r\nSet-Cookie: b\n\nc", "X-Amz-Meta-B", " b "),
		"a name with lines": func(w http.ResponseWriter, r *http.Request) {
			w.Header()["X\r\nY"] = []string{"a"}
			w.Header()["A B"] = []string{"a"}
		},
		"a date":                 say(200, "hello", "Date", "Mon, 30 Nov 2026 00:00:00 GMT"),
		"a length":               say(200, "hello", "Content-Length", "5"),
		"a length of nothing":    say(200, "", "Content-Length", "0"),
		"too little":             say(200, "hell", "Content-Length", "5"),
		"too much":               say(200, "hello!", "Content-Length", "5"),
		"no content":             say(204, "hello"),
		"no content, a length":   say(204, "", "Content-Length", "5"),
		"not modified":           say(304, "hello", "ETag", `"a"`),
		"not modified, a length": say(304, "", "Content-Length", "5"),
		"long":                   say(200, long),
		"long, a length":         say(200, long, "Content-Length", "50000"),
		"not modified, a type":   say(304, "", "Content-Type", "application/xml"),
		"no content, a type":     say(204, "", "Content-Type", "application/xml"),
		"closing":                say(200, "hello", "Connection", "close"),
		"early": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(103)
			w.WriteHeader(201)
			w.WriteHeader(500)
		},
		"after the head": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(200); w.Header().Set("A", "b") },
		"pieces": func(w http.ResponseWriter, r *http.Request) {
			for i := range 100 {
				fmt.Fprint(w, i, long[:i*10])
			}
		},
		"a small file":      send(1000, "Content-Type", "text/plain", "Content-Length", "1000"),
		"a file":            send(1<<20, "Content-Type", "text/plain", "Content-Length", "1048576"),
		"a file, no length": send(1<<20, "Content-Type", "text/plain"),
		"a file, no type":   send(1<<20, "Content-Length", "1048576"),
		"a file too small":  send(1000, "Content-Type", "text/plain", "Content-Length", "1001"),
		"an empty file":     send(0, "Content-Type", "text/plain", "Content-Length", "0"),
		"flushed": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "hello")
			w.(http.Flusher).Flush()
			io.WriteString(w, "again")
		},
		"flushed at once": func(w http.ResponseWriter, r *http.Request) { w.(http.Flusher).Flush(); w.(http.Flusher).Flush() },
		"flushed, a length": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "10")
			http.NewResponseController(w).Flush()
			io.WriteString(w, "0123456789")
		},
		"a panic": func(w http.ResponseWriter, r *http.Request) { panic("no") },
		"a panic in the body": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "9")
			io.WriteString(w, "hello")
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, here, others := start(t, h)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			alone := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
			defer alone.Close()
			go alone.Serve(l)
			for _, request := range []string{
				"GET / HTTP/1.1\r\n" + host + end,
				"HEAD / HTTP/1.1\r\n" + host + end,
				"POST /a?b HTTP/1.1\r\n" + host + "Content-Length: 3\r\n" + end + "abc",
			} {
				method, _, _ := strings.Cut(request, " ")
				got, want := exchange(t, here, method, request), exchange(t, l.Addr().String(), method, request)
				if got != want {
					t.Errorf("%s: the answer is\n%.600s\nand net/http's\n%.600s", method, got, want)
				}
			}
			if n := others.Load(); n > 0 {
				t.Errorf("net/http was asked %d times", n)
			}
		})
	}
}

// TestAHandlersMistakes has handlers say what cannot be. Here, other than by net/http, a client
// can read all the answers, or sees that one is not whole.
func TestAHandlersMistakes(t *testing.T) {
	for name, x := range map[string]struct {
		h    http.HandlerFunc
		want string
	}{
		"a length that is none": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "five")
			io.WriteString(w, "hello")
		}, "hello hello"},
		"a transfer coding": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Transfer-Encoding", "gzip")
			io.WriteString(w, "hello")
		}, "hello hello"},
		"more than was told": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5")
			w.Header().Set("Content-Type", "text/plain")
			if _, err := io.Copy(w, struct{ io.Reader }{strings.NewReader("hello!")}); err != http.ErrContentLength {
				t.Errorf("%d: the copy returns %v", 5, err)
			}
		}, "hello hello"},
		"much more than was told": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "8000")
			w.Header().Set("Content-Type", "text/plain")
			io.Copy(w, struct{ io.Reader }{strings.NewReader(strings.Repeat("x", 9000))})
		}, strings.Repeat("x", 8000) + " " + strings.Repeat("x", 8000)},
	} {
		_, addr, _ := start(t, x.h)
		c := dial(t, addr)
		request := "GET / HTTP/1.1\r\n" + host + end
		c.say(t, request+request)
		var got []string
		for range 2 {
			r, err := http.ReadResponse(c.in, &http.Request{Method: "GET"})
			if err != nil {
				got = append(got, "EOF")
				break
			}
			body, _ := io.ReadAll(r.Body)
			got = append(got, string(body))
		}
		if got := strings.Join(got, " "); got != x.want {
			t.Errorf("%s: the answers are %.40q…, want %.40q…", name, got, x.want)
		}
	}
}

// exchange makes a request twice on one connection and writes down what comes.
func exchange(t *testing.T, addr, method, request string) string {
	c := dial(t, addr)
	c.say(t, request+request)
	var b strings.Builder
	for range 2 {
		r, err := http.ReadResponse(c.in, &http.Request{Method: method})
		if err != nil {
			b.WriteString("nothing\n")
			break
		}
		if r.StatusCode < 200 { // may be left out
			if r, err = http.ReadResponse(c.in, &http.Request{Method: method}); err != nil {
				t.Fatal(err)
			}
		}
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(&b, "%s %d %v close %v\n", r.Status, r.ContentLength, r.TransferEncoding, r.Close)
		if d := r.Header.Get("Date"); d != "" {
			if _, err := time.Parse(http.TimeFormat, d); err != nil {
				t.Error(err)
			}
			r.Header.Set("Date", "a date")
		}
		r.Header.Write(&b)
		fmt.Fprintf(&b, "%v %d bytes %08x %.20q\n", err, len(body), crc32.ChecksumIEEE(body), body)
	}
	return b.String()
}

// TestOthers has what is not plain answered by net/http, whatever was before it on the connection.
func TestOthers(t *testing.T) {
	_, addr, others := start(t, http.HandlerFunc(echo))
	t.Run("one after the other", func(t *testing.T) {
		c := dial(t, addr)
		for i, x := range []struct{ request, want string }{
			{"GET /1 HTTP/1.1\r\n" + host + end, `GET /1 "" <nil>`},
			{"POST /2 HTTP/1.1\r\n" + host + "Content-Length: 3\r\n" + end + "abc", `POST /2 "abc" <nil>`},
			{"POST /3 HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n" + end + "3\r\nabc\r\n0\r\n\r\n", `POST /3 "abc" <nil>`},
			{"GET /4 HTTP/1.1\r\n" + host + end, `GET /4 "" <nil>`},
		} {
			before := others.Load()
			c.say(t, x.request)
			if _, body := c.answer(t, "GET"); body != x.want {
				t.Errorf("the answer is %q, want %q", body, x.want)
			}
			if asked := others.Load() > before; asked != (i >= 2) {
				t.Errorf("net/http was asked for %s: %v", x.request[:7], asked)
			}
		}
	})
	t.Run("at once", func(t *testing.T) {
		c := dial(t, addr)
		var all, want []string
		for i := range 200 {
			switch {
			case i == 100:
				all = append(all, fmt.Sprintf("PUT /%d HTTP/1.1\r\n%sContent-Length: 20000\r\n\r\n%s", i, host, strings.Repeat("x", 20000)))
				want = append(want, fmt.Sprintf("PUT /%d %q <nil>", i, strings.Repeat("x", 20000)))
			default:
				body := strings.Repeat("y", i*20)
				all = append(all, fmt.Sprintf("PUT /%d HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s", i, host, len(body), body))
				want = append(want, fmt.Sprintf("PUT /%d %q <nil>", i, body))
			}
		}
		go io.WriteString(c, strings.Join(all, ""))
		for i := range want {
			if _, body := c.answer(t, "PUT"); body != want[i] {
				t.Fatalf("answer %d is %.100q, want %.100q", i, body, want[i])
			}
		}
	})
	t.Run("byte by byte", func(t *testing.T) {
		c := dial(t, addr)
		for _, b := range []byte("POST /slow HTTP/1.1\r\n" + host + "Content-Length: 3\r\n" + end + "abc") {
			c.say(t, string(b))
			time.Sleep(time.Millisecond)
		}
		if _, body := c.answer(t, "POST"); body != `POST /slow "abc" <nil>` {
			t.Errorf("the answer is %q", body)
		}
	})
	for _, request := range otherRequests {
		c := dial(t, addr)
		c.say(t, request)
		if r, err := http.ReadResponse(c.in, &http.Request{Method: "GET"}); err != nil {
			t.Errorf("%q: %v", request, err)
		} else if r.StatusCode != 200 && r.StatusCode != 100 && r.StatusCode/100 != 4 && r.StatusCode/100 != 5 {
			t.Errorf("%q: %s", request, r.Status)
		}
	}
	for _, x := range []struct{ name, request string }{
		{"a head without end", "GET / HTTP/1.1\r\nA: " + strings.Repeat("a", 2<<20)},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"},
		{"lines without carriage returns", "GET / HTTP/1.1\nHost: iamd\n\n"},
	} {
		c := dial(t, addr)
		go io.WriteString(c, x.request)
		if x.name == "TLS" {
			time.Sleep(20 * time.Millisecond)
			c.CloseWrite()
		}
		if _, err := http.ReadResponse(c.in, &http.Request{Method: "GET"}); err != nil && x.name != "a head without end" {
			t.Errorf("%s: %v", x.name, err)
		}
	}
}

func (c *client) CloseWrite() { c.Conn.(*net.TCPConn).CloseWrite() }

func TestAClientThatGoesAway(t *testing.T) {
	came, gone := make(chan bool, 1), make(chan error, 1)
	_, addr, _ := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/quick" {
			return
		}
		came <- true
		select {
		case <-r.Context().Done():
			gone <- r.Context().Err()
		case <-time.After(3 * patience):
			gone <- nil
		}
	}))
	c := dial(t, addr)
	for _, stay := range []bool{true, true, false} {
		c.say(t, "POST /slow HTTP/1.1\r\n"+host+"Content-Length: 1\r\n"+end+"a")
		<-came
		if !stay {
			c.Close()
			if err := <-gone; err == nil {
				t.Error("the call went on")
			}
			return
		}
		// What is said meanwhile is the next request, also when the watch has read of it.
		time.Sleep(5 * patience / 2)
		c.say(t, "GET /quick HTTP/1.1\r\n"+host+end)
		if err := <-gone; err != nil {
			t.Error("the call ended with", err)
		}
		for range 2 {
			if r, _ := c.answer(t, "GET"); r.StatusCode != 200 {
				t.Error(r.Status)
			}
		}
	}
}

// The time that a head may take is over before a call is that takes long, and a request may
// be as large as there is room: its client is watched all the same.
func TestAClientThatGoesAwayLate(t *testing.T) {
	came, gone := make(chan bool, 1), make(chan bool, 1)
	_, addr, others := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		came <- true
		select {
		case <-r.Context().Done():
			gone <- true
		case <-time.After(10 * time.Second):
			gone <- false
		}
	}), func(o *http.Server) { o.ReadHeaderTimeout, o.IdleTimeout = patience/2, patience/2 })
	largest := "PUT / HTTP/1.1\r\n" + host + "Content-Length: 8100\r\nA: "
	largest += strings.Repeat("a", room-len(largest)-len(end+end)-8100) + end + end + strings.Repeat("b", 8100)
	for _, request := range []string{"GET / HTTP/1.1\r\n" + host + end, largest} {
		c := dial(t, addr)
		c.say(t, request)
		<-came
		time.AfterFunc(4*patience, func() { c.Close() })
		if !<-gone {
			t.Errorf("the call of %d bytes went on", len(request))
		}
	}
	if n := others.Load(); n > 0 {
		t.Errorf("net/http was asked %d times", n)
	}
}

// What the watch reads where the room is full already is the next request's, of whatever size.
func TestAFullRoom(t *testing.T) {
	_, addr, _ := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			time.Sleep(5 * patience / 2)
		}
		echo(w, r)
	}))
	for _, size := range []int{room - 1000, room, 2 * room} {
		c := dial(t, addr)
		body := strings.Repeat("0123456789abcdef", size/16)
		next := fmt.Sprintf("PUT /next HTTP/1.1\r\n%sContent-Length: %d\r\n%s%s", host, len(body), end, body)
		go io.WriteString(c, "GET /slow HTTP/1.1\r\n"+host+end+next+"GET /slow HTTP/1.1\r\n"+host+end+next)
		for range 2 {
			if _, got := c.answer(t, "GET"); got != `GET /slow "" <nil>` {
				t.Errorf("the answer is %.100q", got)
			}
			if _, got := c.answer(t, "PUT"); got != fmt.Sprintf("PUT /next %q <nil>", body) {
				t.Errorf("the answer to %d bytes is %.100q", size, got)
			}
		}
	}
}

func TestTheContextEndsWithTheCall(t *testing.T) {
	var ctx context.Context
	var body io.ReadCloser
	_, addr, _ := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ctx == nil {
			ctx, body = r.Context(), r.Body
		}
		if r.Context().Value(http.ServerContextKey) == nil || r.Context().Value(http.LocalAddrContextKey) == nil || r.RemoteAddr == "" {
			t.Error("the request does not say where it came")
		}
	}))
	c := dial(t, addr)
	for range 2 {
		c.say(t, "POST / HTTP/1.1\r\n"+host+"Content-Length: 6\r\n"+end+"secret")
		c.answer(t, "POST")
	}
	if ctx.Err() == nil {
		t.Error("the context of the first call goes on")
	}
	if n, err := body.Read(make([]byte, 10)); n != 0 || err == nil {
		t.Errorf("%d bytes are read of the body of a call that has ended", n)
	}
}

// A listener on all addresses does not say on which of them a client came.
func TestWhereAClientCame(t *testing.T) {
	l, err := net.Listen("tcp4", ":0")
	if err != nil {
		t.Fatal(err)
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Context().Value(http.LocalAddrContextKey))
	})
	s := &Server{Handler: h, Others: &http.Server{Handler: h}}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	addr := fmt.Sprintf("127.0.0.1:%d", l.Addr().(*net.TCPAddr).Port)
	c := dial(t, addr)
	c.say(t, "GET / HTTP/1.1\r\n"+host+end)
	if _, came := c.answer(t, "GET"); came != addr {
		t.Errorf("a client of %s came at %s", addr, came)
	}
}

func TestTimeouts(t *testing.T) {
	_, addr, _ := start(t, http.HandlerFunc(echo), func(o *http.Server) {
		o.ReadHeaderTimeout, o.IdleTimeout = 100*time.Millisecond, 300*time.Millisecond
	})
	for _, said := range []string{"", "GET / HTTP/1.1\r\nHost", "GET / HTTP/1.1\r\n" + host + end} {
		c := dial(t, addr)
		began := time.Now()
		c.say(t, said)
		if strings.HasSuffix(said, end+end) {
			c.answer(t, "GET")
		}
		if !c.ended() || time.Since(began) < 90*time.Millisecond {
			t.Errorf("after %q the connection stays open, or ended after %s", said, time.Since(began))
		}
	}
}

// A head has its time as a whole, however small the pieces are in which it comes.
func TestAHeadInDrops(t *testing.T) {
	_, addr, _ := start(t, http.HandlerFunc(echo), func(o *http.Server) {
		o.ReadHeaderTimeout, o.IdleTimeout = 200*time.Millisecond, 10*time.Second
	})
	for _, before := range []string{"", "GET / HTTP/1.1\r\n" + host + end} {
		c := dial(t, addr)
		if before != "" {
			c.say(t, before)
			c.answer(t, "GET")
		}
		began := time.Now()
		for _, err := io.WriteString(c, "GET /"); err == nil && time.Since(began) < 5*time.Second; _, err = io.WriteString(c, "a") {
			time.Sleep(20 * time.Millisecond)
		}
		if took := time.Since(began); took < 190*time.Millisecond || took >= 5*time.Second {
			t.Errorf("after %q the connection is closed after %s", before, took)
		}
	}
}

// What a file has more than was told would be another answer to whoever reads on.
func TestAFileLongerThanTold(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, bytes.Repeat([]byte("x"), 9000), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, told := range []int{0, 10, 8999} {
		for name, limit := range map[string]int64{"the file": 0, "much of it": 20 << 10} {
			copied := make(chan error, 1)
			_, addr, _ := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				f, err := os.Open(file)
				if err != nil {
					panic(err)
				}
				defer f.Close()
				w.Header().Set("Content-Type", "text/plain")
				w.Header().Set("Content-Length", fmt.Sprint(told))
				var from io.Reader = f
				if limit > 0 {
					from = io.LimitReader(f, limit)
				}
				n, err := io.Copy(w, from)
				if n != int64(told) {
					t.Errorf("%d bytes are copied of %d", n, told)
				}
				copied <- err
			}))
			c := dial(t, addr)
			for range 2 {
				c.say(t, "GET / HTTP/1.1\r\n"+host+end)
				if _, body := c.answer(t, "GET"); len(body) != told {
					t.Errorf("%d bytes are answered of %d", len(body), told)
				}
				if err := <-copied; err != http.ErrContentLength {
					t.Errorf("%s, %d bytes told: the copy returns %v", name, told, err)
				}
			}
		}
	}
}

// A body that breaks off is the handler's to refuse, as by net/http.
func TestABodyThatBreaksOff(t *testing.T) {
	_, addr, _ := start(t, http.HandlerFunc(echo))
	c := dial(t, addr)
	c.say(t, "POST / HTTP/1.1\r\n"+host+"Content-Length: 4\r\n"+end+"abc")
	c.CloseWrite()
	if _, body := c.answer(t, "POST"); body != `POST / "abc" unexpected EOF` {
		t.Errorf("the answer is %q", body)
	}
	if !c.ended() {
		t.Error("the connection stays open")
	}
}

// A handler that ends its goroutine, as a test that fails does, leaves no client waiting.
func TestAHandlerThatEndsItsGoroutine(t *testing.T) {
	_, addr, _ := start(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { runtime.Goexit() }))
	c := dial(t, addr)
	c.say(t, "GET / HTTP/1.1\r\n"+host+end)
	if !c.ended() {
		t.Error("the connection stays open")
	}
}

func TestShutdown(t *testing.T) {
	came, go_on := make(chan bool), make(chan bool)
	s, addr, _ := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			came <- true
			<-go_on
		}
	}))
	idle, slow, fresh := dial(t, addr), dial(t, addr), dial(t, addr)
	idle.say(t, "GET / HTTP/1.1\r\n"+host+end)
	idle.answer(t, "GET")
	slow.say(t, "GET /slow HTTP/1.1\r\n"+host+end)
	<-came
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown returns %v while a call goes on", err)
	}
	if !idle.ended() || !fresh.ended() {
		t.Error("connections stay open on which nothing goes on")
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("the server still listens")
	}
	var done sync.WaitGroup
	done.Go(func() {
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
	close(go_on)
	if r, _ := slow.answer(t, "GET"); r.StatusCode != 200 || !r.Close {
		t.Errorf("the call in flight is answered with %s, and the connection goes on: %v", r.Status, !r.Close)
	}
	done.Wait()
	if !slow.ended() {
		t.Error("the connection stays open")
	}
	if err := s.Serve(failing{}); err != http.ErrServerClosed {
		t.Errorf("after that Serve returns %v", err)
	}
}

// failing is a listener that fails.
type failing struct{ err error }

func (f failing) Accept() (net.Conn, error) { return nil, f.err }
func (f failing) Close() error              { return nil }
func (f failing) Addr() net.Addr            { return &net.TCPAddr{} }

func TestAListenerThatFails(t *testing.T) {
	s := &Server{Handler: http.NotFoundHandler(), Others: &http.Server{}}
	if err := s.Serve(failing{io.ErrUnexpectedEOF}); err != io.ErrUnexpectedEOF {
		t.Errorf("Serve returns %v", err)
	}
}

// TestManyConnections has calls of all kinds side by side, for the race detector.
func TestManyConnections(t *testing.T) {
	_, addr, _ := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			time.Sleep(5 * patience / 2)
		}
		echo(w, r)
	}))
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for k := range 30 {
				body, path := strings.Repeat("b", i*k*40), "/"
				if k == 20 {
					path = "/slow"
				}
				r, err := client.Post("http://"+addr+path, "text/plain", strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(r.Body)
				r.Body.Close()
				if want := fmt.Sprintf("POST %s %q <nil>", path, body); string(got) != want || err != nil {
					t.Errorf("the answer is %.100q, want %.100q, %v", got, want, err)
				}
			}
		})
	}
	all.Wait()
}
