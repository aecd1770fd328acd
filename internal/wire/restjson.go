package wire

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"unicode/utf8"
)

// REST-JSON: path, query and headers carry members, and so does a body that is a JSON
// object. What is wrong with any of them is one ValidationException.

// decodeRESTJSON reads a request that Route has seen.
func decodeRESTJSON(m *Model, r *http.Request, body []byte, in any) error {
	s := reflect.ValueOf(in).Elem()
	p := planOf(s.Type())
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return Errorf(400, "ValidationException", "The query of the request cannot be parsed.")
	}
	d := newJSONReader()
	defer d.release()
	d.faults.quiet = m.Quiet
	for i := range p.fields {
		f := &p.fields[i]
		v := s.Field(f.index)
		var texts []string
		switch f.place {
		case inURI:
			texts = []string{r.PathValue(f.wire)}
		case inQuery:
			texts = query[f.wire]
		case inHeader:
			texts = r.Header[f.header]
		case inHeaders:
			setHeaders(f, v, r.Header)
			continue
		case inPayload:
			if err := d.payload(f, v, r, body); err != nil {
				return err
			}
			continue
		default:
			continue
		}
		if len(texts) == 0 {
			if f.required {
				d.faults.null(nil, f)
			}
			continue
		}
		if err := d.placed(f, v, texts); err != nil {
			return err
		}
	}
	if p.body && p.payload < 0 {
		if err := d.document(body, p, s); err != nil {
			return err
		}
	}
	return d.invalid()
}

// placed reads a member from the path, the query or a header.
func (d *jsonReader) placed(f *field, v reflect.Value, texts []string) error {
	wrong := serialization(f.label + " has a value of another type.")
	if slices.ContainsFunc(texts, func(t string) bool { return !utf8.ValidString(t) }) {
		return wrong
	}
	if f.kind == kindList {
		list := reflect.MakeSlice(v.Type(), 0, len(texts))
		for _, t := range texts {
			e := reflect.New(f.elem.typ).Elem()
			if !setScalar(f.elem, e, t) {
				return wrong
			}
			list = reflect.Append(list, e)
		}
		v.Set(list)
		if d.faults.count(nil, f, v.Len()) && f.elem.kind == kindString {
			d.faults.elements(nil, f, v)
		}
		return nil
	}
	if len(texts) > 1 {
		return serialization("The parameter " + f.wire + " is given more than once.")
	}
	if f.pointer {
		v.Set(reflect.New(f.typ))
		v = v.Elem()
	}
	if !setScalar(&f.value, v, texts[0]) {
		return wrong
	}
	switch f.kind {
	case kindString:
		d.faults.text(nil, f, v.String())
	case kindInt:
		d.faults.number(nil, f, v.Int())
	}
	return nil
}

// payload reads the member that is the whole body.
func (d *jsonReader) payload(f *field, v reflect.Value, r *http.Request, body []byte) error {
	switch f.kind {
	case kindStream:
		if r.Body != nil {
			v.Set(reflect.ValueOf(r.Body))
		}
		return nil
	case kindBlob:
		v.SetBytes(slices.Clone(body))
		return nil
	case kindStruct:
		if len(bytes.TrimSpace(body)) == 0 {
			if f.required {
				d.faults.null(nil, f)
			}
			return nil
		}
		if f.pointer {
			v.Set(reflect.New(f.typ))
			v = v.Elem()
		}
		return d.document(body, f.plan, v)
	}
	if !utf8.Valid(body) {
		return serialization("The body is not text.")
	}
	v.SetString(string(body))
	d.faults.text(nil, f, v.String())
	return nil
}

// document reads a body that is one JSON object; none at all is an empty one.
func (d *jsonReader) document(body []byte, p *plan, s reflect.Value) error {
	if len(bytes.TrimSpace(body)) == 0 {
		body = []byte("{}")
	}
	if !d.begin(body) {
		return serialization("Start of structure or map found where not expected.")
	}
	if err := d.structure(p, s, nil); err != nil {
		return err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return serialization("Unexpected text after the document.")
	}
	return nil
}

// invalid is what the members are not that AWS demands.
func (d *jsonReader) invalid() error {
	if e := (*Error)(nil); errors.As(d.faults.err(), &e) {
		e.Code = "ValidationException"
		return e
	}
	return nil
}

// encodeRESTJSON writes the answer, as encodeREST does.
func encodeRESTJSON(w http.ResponseWriter, op *Operation, out any, requestID string) error {
	h := w.Header()
	h.Set("X-Amzn-Requestid", requestID)
	status := op.Status
	if status == 0 {
		status = http.StatusOK
	}
	b := buffers.Get().(*[]byte)
	body := *b
	defer func() { release(b, body) }()
	v := reflect.ValueOf(out)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		h.Set("Content-Length", "0")
		w.WriteHeader(status)
		return nil
	}
	s := v.Elem()
	p := planOf(s.Type())
	var stream io.ReadCloser
	for i := range p.fields {
		f := &p.fields[i]
		if f.place == inBody {
			continue
		}
		v, absent := f.get(s)
		if absent {
			continue
		}
		switch f.place {
		case inHeader:
			h[f.header] = []string{headerText(f, v)}
		case inHeaders:
			for _, k := range sortedKeys(v) {
				h.Set(f.wire+k, v.MapIndex(reflect.ValueOf(k)).String())
			}
		case inStatus:
			status = int(v.Int())
		case inPayload:
			switch f.kind {
			case kindStream:
				stream = v.Interface().(io.ReadCloser)
			case kindBlob:
				body = append(body, v.Bytes()...)
			case kindString:
				body = append(body, v.String()...)
			default:
				body = appendObject(body, f.plan, v, JSONOptions{Wire: true})
			}
		}
	}
	if stream != nil {
		defer stream.Close()
		setDefault(h, "Content-Type", "application/octet-stream")
		w.WriteHeader(status)
		_, err := io.Copy(w, stream)
		return err
	}
	if p.payload < 0 {
		body = appendObject(body, p, s, JSONOptions{Wire: true})
	}
	setDefault(h, "Content-Type", "application/json")
	if status != http.StatusNoContent {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	if status == http.StatusNoContent {
		return nil
	}
	_, err := w.Write(body)
	return err
}

// appendRESTJSONError writes an error of REST-JSON, where the code is in a header.
func appendRESTJSONError(dst []byte, m *Model, e *Error) []byte {
	member := e.TextIn
	switch {
	case member != "":
	case m.Capital:
		member = "Message"
	default:
		member = "message"
	}
	dst = append(dst, '{')
	if !e.NoMessage {
		dst = AppendJSONString(dst, member)
		dst = append(dst, ':')
		dst = AppendJSONString(dst, e.Message)
	}
	for i, f := range e.Fields {
		if i > 0 || !e.NoMessage {
			dst = append(dst, ',')
		}
		dst = AppendJSONString(dst, f.Name)
		dst = append(dst, ':')
		dst = AppendJSONString(dst, f.Value)
	}
	return append(dst, '}')
}
