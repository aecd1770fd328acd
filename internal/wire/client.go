package wire

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
)

// The other side of the wire, for calls that another server carries out: requests written
// from inputs, and answers read into outputs.

// NewRequest writes the request of a REST-XML operation from its input, a pointer. The
// URL has a path and a query and no host. A body that streams has the length of the
// input's ContentLength, -1 where that is not known.
func NewRequest(m *Model, op *Operation, in any) (*http.Request, error) {
	if m.Protocol != RESTXML {
		return nil, fmt.Errorf("wire: %s: no requests are written for protocol %d", m.Name, m.Protocol)
	}
	s := reflect.ValueOf(in).Elem()
	p := planOf(s.Type())
	path, fixed, _ := strings.Cut(op.URI, "?")
	query := url.Values{}
	for pair := range strings.SplitSeq(fixed, "&") {
		if name, value, _ := strings.Cut(pair, "="); name != "" {
			query.Set(name, value)
		}
	}
	r := &http.Request{Method: op.Method, Header: http.Header{}, ProtoMajor: 1, ProtoMinor: 1}
	var body []byte
	for i := range p.fields {
		f := &p.fields[i]
		v, absent := f.get(s)
		if absent && f.place != inURI {
			continue
		}
		switch f.place {
		case inURI:
			text := headerText(f, v)
			if text == "" || text == "." || text == ".." {
				return nil, Errorf(400, "InvalidURI", "Couldn't parse the specified URI.")
			}
			path = strings.Replace(path, "{"+f.wire+"}", escapePath(text, false), 1)
			path = strings.Replace(path, "{"+f.wire+"+}", escapePath(text, true), 1)
		case inQuery:
			query.Set(f.wire, headerText(f, v))
		case inHeader:
			text := headerText(f, v)
			if strings.ContainsAny(text, "\r\n") {
				return nil, invalidArgument("", f.wire, "")
			}
			if f.header == "Content-Length" {
				n, err := strconv.ParseInt(text, 10, 64)
				if err != nil {
					return nil, invalidArgument("", f.wire, text)
				}
				r.ContentLength = n
				continue
			}
			r.Header[f.header] = []string{text}
		case inHeaders:
			for _, k := range sortedKeys(v) {
				text := v.MapIndex(reflect.ValueOf(k)).String()
				if strings.ContainsAny(k+text, "\r\n") {
					return nil, invalidArgument("", f.wire, "")
				}
				r.Header.Set(f.wire+k, text)
			}
		case inPayload:
			switch f.kind {
			case kindStream:
				switch b := v.Interface().(type) {
				case io.ReadCloser:
					r.Body = b
				case io.Reader:
					r.Body = io.NopCloser(b)
				}
			case kindString:
				body = []byte(v.String())
			case kindBlob:
				body = v.Bytes()
			default:
				body = appendDocument(body, m, f.wire, f.plan, v)
			}
		}
	}
	if r.Body == nil && p.payload < 0 && p.body && (op.Method == http.MethodPut || op.Method == http.MethodPost) {
		body = appendDocument(body, m, strings.TrimSuffix(s.Type().Name(), "Input")+"Request", p, s)
	}
	switch {
	case r.Body == nil:
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		if len(body) == 0 {
			r.Body = http.NoBody
		}
	case r.Header.Get("Content-Length") == "" && r.ContentLength == 0:
		if f, ok := s.Type().FieldByName("ContentLength"); !ok || s.FieldByIndex(f.Index).IsZero() {
			r.ContentLength = -1
		}
	}
	plain, err := url.PathUnescape(path)
	if err != nil || strings.Contains(path, "{") {
		return nil, Errorf(400, "InvalidURI", "Couldn't parse the specified URI.")
	}
	r.URL = &url.URL{Path: plain, RawPath: path, RawQuery: strings.ReplaceAll(query.Encode(), "+", "%20")}
	return r, nil
}

// escapePath escapes all but the unreserved characters (RFC 3986), as signatures have it.
func escapePath(s string, slashes bool) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 || c == '/' && slashes {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// mostDocument bounds a document that another server answers with: a list of 1,000 keys, versions or parts.
const mostDocument = 16 << 20

// ReadResponse reads the answer to a request of NewRequest: into out, a pointer to the
// operation's output, whose stream is then the caller's to close, or as the *Error that
// the other server wrote. Other errors are of an answer that cannot be read.
func ReadResponse(m *Model, op *Operation, resp *http.Response, out any) error {
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		return readError(resp)
	}
	s := reflect.ValueOf(out).Elem()
	p := planOf(s.Type())
	streams := false
	for i := range p.fields {
		f := &p.fields[i]
		v := s.Field(f.index)
		switch f.place {
		case inHeader:
			text := resp.Header.Get(f.header)
			if f.header == "Content-Length" && resp.ContentLength >= 0 {
				text = strconv.FormatInt(resp.ContentLength, 10)
			}
			if text == "" {
				continue
			}
			if err := setPlaced(f, v, []string{text}); err != nil {
				continue // of a header that is not S3's
			}
		case inHeaders:
			setHeaders(f, v, resp.Header)
		case inStatus:
			v.SetInt(int64(resp.StatusCode))
		case inPayload:
			if f.kind == kindStream {
				streams = true
				v.Set(reflect.ValueOf(resp.Body))
			}
		}
	}
	if streams {
		return nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostDocument+1))
	if err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	if len(body) > mostDocument {
		return fmt.Errorf("an answer has more than %d bytes", mostDocument)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	target, plan := s, p
	if p.payload >= 0 {
		f := &p.fields[p.payload]
		v := s.Field(f.index)
		switch f.kind {
		case kindString:
			v.SetString(string(body))
			return nil
		case kindBlob:
			v.SetBytes(body)
			return nil
		}
		if f.pointer {
			v.Set(reflect.New(f.typ))
			v = v.Elem()
		}
		target, plan = v, f.plan
	} else if !p.body {
		return nil
	}
	failed := error(nil)
	err = parseXML(body, func(d *xmlReader, start xml.StartElement) error {
		if start.Name.Local == "Error" { // CopyObject and CompleteMultipartUpload fail with status 200
			failed = errorDocument(resp.StatusCode, body)
			return d.Skip()
		}
		d.lenient = true
		return d.structure(plan, target, start)
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		return fmt.Errorf("an answer to %s is not the document that it should be", op.Name)
	}
	return nil
}

// readError is the error that another server answered.
func readError(resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("reading an error: %w", err)
	}
	if resp.StatusCode == http.StatusNotModified {
		return &Error{Code: "NotModified", Message: "Not Modified", Status: resp.StatusCode, NoMessage: true}
	}
	return errorDocument(resp.StatusCode, body)
}

func errorDocument(status int, body []byte) error {
	var e struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}
	if err := xml.Unmarshal(body, &e); err != nil || e.Code == "" {
		// The answer to HEAD has no body.
		codes := map[int]string{400: "BadRequest", 403: "AccessDenied", 404: "NotFound", 405: "MethodNotAllowed", 409: "Conflict", 412: "PreconditionFailed", 416: "InvalidRange"}
		code, ok := codes[status]
		if !ok || len(bytes.TrimSpace(body)) > 0 {
			return fmt.Errorf("status %d without an error document", status)
		}
		return &Error{Code: code, Message: http.StatusText(status), Status: status}
	}
	if status < 300 {
		status = http.StatusInternalServerError
	}
	return &Error{Code: e.Code, Message: e.Message, Status: status}
}

// ReadAnswer reads the body of an answer of the JSON protocols into out, a pointer to the
// operation's output.
func ReadAnswer(m *Model, body []byte, out any) error {
	if m.Protocol != JSON10 && m.Protocol != JSON11 {
		return fmt.Errorf("wire: %s: no answers are read of protocol %d", m.Name, m.Protocol)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	d := newJSONReader()
	defer d.release()
	if !d.begin(body) {
		return errors.New("an answer is no object")
	}
	v := reflect.ValueOf(out).Elem()
	return d.structure(planOf(v.Type()), v, nil)
}
