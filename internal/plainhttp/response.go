package plainhttp

import (
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
)

// A response is written as net/http would write it, in one piece where it is short.
type response struct {
	conn    *conn
	request *http.Request
	header  http.Header

	status  int   // 0: WriteHeader has not been called
	whole   bool  // the head has its end
	chunked bool  // the body comes in pieces, each with its length
	length  int64 // as the handler told it; -1: it did not
	written int64 // of the body
	last    bool  // the connection ends with this answer
	typed   bool  // there is a Content-Type, or a Content-Encoding with which none is guessed
	err     error

	out  *[]byte // the head, and what follows it; nil until there is something
	body *[]byte // what comes after a head that is not whole
}

const longPiece = 4 << 10 // of an answer: it is not gathered

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 2*longPiece)
	return &b
}}

func (w *response) release() {
	for _, b := range []*[]byte{w.out, w.body} {
		if b != nil && cap(*b) <= 4*longPiece {
			*b = (*b)[:0]
			buffers.Put(b)
		}
	}
	w.out, w.body, w.err = nil, nil, errComplete
}

var errComplete = errors.New("plainhttp: the answer is complete")

func (w *response) Header() http.Header { return w.header }

func (w *response) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic("plainhttp: invalid status " + strconv.Itoa(status))
	}
	if w.status != 0 || status < 200 && status != http.StatusSwitchingProtocols || w.err != nil { // what is only informational may be left out
		return
	}
	w.status = status
	w.out = buffers.Get().(*[]byte)
	b := append(*w.out, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	if text := http.StatusText(status); text != "" {
		b = append(b, text...)
	} else {
		b = strconv.AppendInt(append(b, "status code "...), int64(status), 10)
	}
	b = append(b, "\r\n"...)
	var room [16]string
	names, dated := room[:0], false
	for name := range w.header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		values := w.header[name]
		switch name {
		case "Content-Length":
			if n, err := strconv.ParseUint(w.header.Get(name), 10, 63); err == nil && allowsBody(status) {
				w.length = int64(n)
			}
			continue
		case "Transfer-Encoding", "Trailer":
			continue
		case "Connection":
			w.last = w.last || len(values) > 0 && strings.EqualFold(values[0], "close")
		case "Date":
			dated = true
		case "Content-Type":
			w.typed = true
			if status == http.StatusNotModified { // there is nothing of that type
				continue
			}
		case "Content-Encoding":
			w.typed = w.typed || len(values) > 0 && values[0] != ""
		}
		b = appendHeader(b, name, values)
	}
	if !dated {
		b = append(time.Now().UTC().AppendFormat(append(b, "Date: "...), http.TimeFormat), "\r\n"...)
	}
	if w.conn.server.closing.Load() && !w.last {
		w.last = true
		b = append(b, "Connection: close\r\n"...)
	}
	*w.out = b
}

// appendHeader appends a header; what a header cannot hold stays out of it.
func appendHeader(b []byte, name string, values []string) []byte {
	if !httpguts.ValidHeaderFieldName(name) {
		return b
	}
	for _, v := range values {
		b = append(append(b, name...), ": "...)
		from := len(b)
		b = append(b, textproto.TrimString(v)...)
		for i, x := range b[from:] {
			if x == '\r' || x == '\n' {
				b[from+i] = ' '
			}
		}
		b = append(b, "\r\n"...)
	}
	return b
}

// allowsBody reports whether an answer of that status can have a body.
func allowsBody(status int) bool { return status >= 200 && status != 204 && status != 304 }

// complete ends the head. What is known of the body is its length, or that it comes in chunks.
func (w *response) complete(sample []byte) {
	b := *w.out
	if allowsBody(w.status) {
		if !w.typed && len(sample) > 0 {
			b = append(append(append(b, "Content-Type: "...), http.DetectContentType(sample)...), "\r\n"...)
		}
		switch {
		case w.length >= 0:
			b = append(strconv.AppendInt(append(b, "Content-Length: "...), w.length, 10), "\r\n"...)
		case w.request.Method != "HEAD":
			w.chunked = true
			b = append(b, "Transfer-Encoding: chunked\r\n"...)
		}
	}
	*w.out = append(b, "\r\n"...)
	w.whole = true
}

func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case w.err != nil:
		return 0, w.err
	case len(p) == 0:
		return 0, nil
	case !allowsBody(w.status):
		return 0, http.ErrBodyNotAllowed
	case w.length >= 0 && w.written+int64(len(p)) > w.length:
		return 0, http.ErrContentLength
	}
	w.written += int64(len(p))
	if !w.whole && w.length < 0 { // perhaps this is all there is
		if w.body == nil {
			w.body = buffers.Get().(*[]byte)
		}
		if len(*w.body)+len(p) <= longPiece {
			*w.body = append(*w.body, p...)
			return len(p), nil
		}
		w.complete(append(*w.body, p[:min(len(p), 512)]...))
		w.piece(*w.body)
		*w.body = (*w.body)[:0]
	} else if !w.whole {
		w.complete(p)
	}
	w.piece(p)
	return len(p), w.err
}

// piece sends a piece of the body, or keeps it for the next ones.
func (w *response) piece(p []byte) {
	if len(p) == 0 || w.request.Method == "HEAD" {
		return
	}
	if w.chunked {
		*w.out = append(strconv.AppendInt(*w.out, int64(len(p)), 16), "\r\n"...)
	}
	if len(*w.out)+len(p) <= 2*longPiece {
		*w.out = append(*w.out, p...)
	} else {
		w.send()
		w.write(p)
	}
	if w.chunked {
		*w.out = append(*w.out, "\r\n"...)
	}
}

// send sends what was kept.
func (w *response) send() {
	w.write(*w.out)
	*w.out = (*w.out)[:0]
}

func (w *response) write(p []byte) {
	if w.err == nil && len(p) > 0 {
		_, w.err = w.conn.Write(p)
	}
}

// ReadFrom sends a file without copying it through this process, where that can be done
// and is worth it.
func (w *response) ReadFrom(r io.Reader) (int64, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	left := w.length - w.written
	if w.err != nil || w.length < 0 || !w.typed || w.request.Method == "HEAD" || !allowsBody(w.status) {
		return w.copyFrom(r)
	}
	if !w.whole {
		w.complete(nil)
	}
	if left <= longPiece && len(*w.out)+int(left) <= cap(*w.out) {
		return w.gather(r, int(left))
	}
	w.send()
	if w.err != nil {
		return 0, w.err
	}
	all := r
	if limited, ok := r.(*io.LimitedReader); !ok || limited.N > left { // a file is seen behind one limit, and not behind two
		r = io.LimitReader(r, left)
	}
	n, err := readFrom(w.conn.Conn, r)
	w.written += n
	if err != nil {
		w.err = err
	} else if n == left {
		err = beyond(all)
	}
	return n, err
}

// beyond returns an error where there is more than was told.
func beyond(r io.Reader) error {
	var more [1]byte
	if n, _ := io.ReadFull(r, more[:]); n > 0 {
		return http.ErrContentLength
	}
	return nil
}

// gather puts all that is left of the body behind the head.
func (w *response) gather(r io.Reader, left int) (int64, error) {
	b := *w.out
	n, err := io.ReadFull(r, b[len(b):len(b)+left])
	*w.out = b[:len(b)+n]
	w.written += int64(n)
	switch err {
	case nil:
		return int64(n), beyond(r)
	case io.EOF, io.ErrUnexpectedEOF:
		return int64(n), nil
	}
	return int64(n), err
}

var pieces = sync.Pool{New: func() any { return new([32 << 10]byte) }}

func (w *response) copyFrom(r io.Reader) (int64, error) {
	b := pieces.Get().(*[32 << 10]byte)
	defer pieces.Put(b)
	return io.CopyBuffer(struct{ io.Writer }{w}, r, b[:])
}

// Flush sends what has been written until now.
func (w *response) Flush() {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.err != nil {
		return
	}
	if !w.whole {
		var kept []byte
		if w.body != nil {
			kept = *w.body
		}
		w.complete(kept)
		w.piece(kept)
		if w.body != nil {
			*w.body = kept[:0]
		}
	}
	w.send()
}

// finish sends the rest, and reports whether another answer may follow this one.
func (w *response) finish() bool {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.err != nil {
		return false
	}
	if !w.whole {
		var all []byte
		if w.body != nil {
			all = *w.body
		}
		if w.length < 0 && allowsBody(w.status) && (w.request.Method != "HEAD" || len(all) > 0) {
			w.length = int64(len(all))
		}
		w.complete(all)
		w.piece(all)
	}
	if w.chunked {
		*w.out = append(*w.out, "0\r\n\r\n"...)
	}
	w.send()
	short := w.length >= 0 && w.written != w.length && w.request.Method != "HEAD"
	return w.err == nil && !w.last && !short
}
