package plainhttp

import (
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http/httpguts"
)

// methods of plain requests.
var methods = []string{"POST", "GET", "PUT", "HEAD", "DELETE"}

// parse reads the head of a request, with the empty line that ends it, as net/http does,
// and tells how long the body is. It reports false for what is not plain.
func parse(head string, r *http.Request) (length int, plain bool) {
	line, rest, _ := strings.Cut(head, "\r\n")
	method, line, _ := strings.Cut(line, " ")
	target, proto, _ := strings.Cut(line, " ")
	if !slices.Contains(methods, method) || proto != "HTTP/1.1" || target == "" || target[0] != '/' {
		return 0, false
	}
	r.Method, r.RequestURI = method, target
	if target == "/" {
		r.URL = &url.URL{Path: "/"}
	} else if u, err := url.ParseRequestURI(target); err == nil {
		r.URL = u
	} else {
		return 0, false
	}
	n := min(strings.Count(rest, "\n"), 32) // or more: a head may be nothing but line feeds
	r.Header = make(http.Header, n)
	values := make([]string, 0, n)
	for {
		line, after, ok := strings.Cut(rest, "\r\n")
		if !ok {
			return 0, false
		}
		rest = after
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		if !ok || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return 0, false
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		before := r.Header[name]
		switch name {
		case "Host":
			if r.Host != "" || value == "" || !httpguts.ValidHostHeader(value) {
				return 0, false
			}
			r.Host = value
			continue
		case "Content-Length":
			n, err := strconv.ParseUint(value, 10, 31)
			if err != nil || before != nil {
				return 0, false
			}
			r.ContentLength = int64(n)
		case "Connection":
			if !strings.EqualFold(value, "keep-alive") {
				return 0, false
			}
		case "Transfer-Encoding", "Trailer", "Te", "Expect", "Upgrade", "Pragma", "Proxy-Connection", "Http2-Settings":
			return 0, false
		}
		if before != nil {
			r.Header[name] = append(before, value)
			continue
		}
		values = append(values, value)
		i := len(values)
		r.Header[name] = values[i-1 : i : i]
	}
	return int(r.ContentLength), rest == "" && r.Host != ""
}

// A body is one that is there. After the call it gives nothing more: its bytes are those of
// the next request then.
type body struct {
	mu     sync.Mutex
	left   []byte
	closed bool
}

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return 0, http.ErrBodyReadAfterClose
	case len(b.left) == 0:
		return 0, io.EOF
	}
	n := copy(p, b.left)
	b.left = b.left[n:]
	return n, nil
}

func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left, b.closed = nil, true
	return nil
}
