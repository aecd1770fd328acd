package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// REST-XML: path, query, headers and an XML body each carry members. S3's faults have no
// common form; each place has its words.

// decodeREST reads a request that Route has seen.
func decodeREST(m *Model, op *Operation, r *http.Request, body []byte, in any) error {
	s := reflect.ValueOf(in).Elem()
	p := planOf(s.Type())
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return Errorf(400, "InvalidURI", "Couldn't parse the specified URI.")
	}
	for i := range p.fields {
		f := &p.fields[i]
		v := s.Field(f.index)
		switch f.place {
		case inURI:
			text := r.PathValue(f.wire)
			if text == "" || !utf8.ValidString(text) {
				return Errorf(400, "InvalidURI", "Couldn't parse the specified URI.")
			}
			v.SetString(text)
		case inQuery:
			texts, ok := query[f.wire]
			if !ok {
				if f.required {
					return invalidArgument("Missing required parameter for this request: "+f.wire, f.wire, "")
				}
				continue
			}
			if len(texts) > 1 && f.kind != kindList {
				return invalidArgument("The parameter "+f.wire+" is given more than once", f.wire, texts[1])
			}
			if err := setPlaced(f, v, texts); err != nil {
				return err
			}
		case inHeader:
			texts := headerValues(r, query, f.header)
			if len(texts) == 0 {
				if f.required {
					return Errorf(400, "InvalidRequest", "Missing required header for this request: %s", f.wire)
				}
				continue
			}
			if err := setPlaced(f, v, texts); err != nil {
				return err
			}
		case inHeaders:
			setHeaders(f, v, r.Header)
			setHeaders(f, v, query)
		case inPayload:
			if err := setPayload(m, f, v, r, body); err != nil {
				return err
			}
		}
	}
	if p.body && p.payload < 0 && len(body) > 0 {
		return parseXML(body, func(d *xmlReader, start xml.StartElement) error { return d.structure(p, s, start) })
	}
	return nil
}

// headerValues returns the values of a header, also of those that net/http keeps elsewhere
// and of those that a presigned URL carries as query parameters. name is in the form in
// which net/http keeps it.
func headerValues(r *http.Request, query url.Values, name string) []string {
	switch name {
	case "Content-Length":
		if n := r.Header.Get("X-Amz-Decoded-Content-Length"); n != "" {
			return []string{n}
		}
		if r.ContentLength >= 0 && r.Body != nil {
			return []string{strconv.FormatInt(r.ContentLength, 10)}
		}
		return nil
	case "Content-Encoding":
		// aws-chunked is how the body travelled, not what the object is.
		var kept []string
		for _, v := range r.Header[name] {
			for e := range strings.SplitSeq(v, ",") {
				if e = strings.TrimSpace(e); e != "" && e != "aws-chunked" {
					kept = append(kept, e)
				}
			}
		}
		if kept == nil {
			return nil
		}
		return []string{strings.Join(kept, ",")}
	}
	if texts := r.Header[name]; texts != nil || !amz(name) {
		return texts
	}
	for k, texts := range query {
		if strings.EqualFold(k, name) {
			return texts
		}
	}
	return nil
}

// amz says that a name begins with x-amz-, in whichever capitals.
func amz(name string) bool { return len(name) > 6 && strings.EqualFold(name[:6], "x-amz-") }

// setPlaced reads a member from the query or from headers.
func setPlaced(f *field, v reflect.Value, texts []string) error {
	if f.kind == kindList {
		list := reflect.MakeSlice(v.Type(), 0, len(texts))
		for _, t := range texts {
			for part := range strings.SplitSeq(t, ",") {
				e := reflect.New(f.elem.typ).Elem()
				part = strings.TrimSpace(part)
				if part == "" || !setScalar(f.elem, e, part) || f.elem.check != nil && !f.elem.check.ok(part) {
					return placedError(f, part)
				}
				list = reflect.Append(list, e)
			}
		}
		v.Set(list)
		return nil
	}
	text := texts[0]
	if f.place == inHeader && len(texts) > 1 {
		text = strings.Join(texts, ",")
	}
	if !utf8.ValidString(text) {
		return placedError(f, text)
	}
	if f.kind == kindTime {
		t, ok := parseTime(text)
		if !ok && strings.HasPrefix(strings.ToLower(f.wire), "if-") {
			return nil // a condition with a date that is none is no condition: RFC 9110
		}
		if !ok {
			return placedError(f, text)
		}
		v.Set(reflect.ValueOf(t))
		return nil
	}
	if f.pointer {
		v.Set(reflect.New(f.typ))
		v = v.Elem()
	}
	if text == "" && f.place == inQuery && f.kind != kindString {
		return placedError(f, text)
	}
	if !setScalar(&f.value, v, text) {
		return placedError(f, text)
	}
	// An empty parameter is one that is not given, for S3: ?prefix=&delimiter=
	if c := f.check; c != nil && f.kind == kindString && text != "" && !c.ok(text) {
		return placedError(f, text)
	}
	return nil
}

// placedErrors are S3's words for single parameters. The others are told as a number that is
// none, or as a value that is not lawful.
var placedErrors = map[string][2]string{
	"x-amz-storage-class":                             {"InvalidStorageClass", "The storage class you specified is not valid"},
	"x-amz-server-side-encryption":                    {"InvalidEncryptionAlgorithmError", "The Encryption request you specified is not valid. Supported value: AES256."},
	"encoding-type":                                   {"InvalidArgument", "Invalid Encoding Method specified in Request"},
	"partNumber":                                      {"InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive"},
	"x-amz-metadata-directive":                        {"InvalidArgument", "Unknown metadata directive."},
	"x-amz-tagging-directive":                         {"InvalidArgument", "Unknown tagging directive."},
	"x-amz-object-attributes":                         {"InvalidArgument", "Invalid attribute name specified."},
	"x-amz-copy-source":                               {"InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey"},
	"x-amz-object-ownership":                          {"InvalidArgument", "Invalid x-amz-object-ownership header."},
	"x-amz-request-payer":                             {"InvalidArgument", "Invalid value for x-amz-request-payer header."},
	"x-amz-sdk-checksum-algorithm":                    {"InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid."},
	"x-amz-checksum-algorithm":                        {"InvalidRequest", "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]"},
	"x-amz-object-lock-retain-until-date":             {"InvalidArgument", "The retain until date must be provided in ISO 8601 format"},
	"x-amz-object-lock-mode":                          {"InvalidArgument", "Unknown wormMode directive."},
	"x-amz-object-lock-legal-hold":                    {"InvalidArgument", "Legal Hold must be either of 'ON' or 'OFF'"},
	"x-amz-server-side-encryption-customer-algorithm": {"InvalidEncryptionAlgorithmError", "The Encryption request you specified is not valid. Supported value: AES256."},
}

func placedError(f *field, text string) error {
	if f.sensitive || !utf8.ValidString(text) {
		text = ""
	}
	if e, ok := placedErrors[f.wire]; ok {
		return Errorf(400, e[0], "%s", e[1]).With("ArgumentName", f.wire).With("ArgumentValue", text)
	}
	if f.kind == kindInt {
		return invalidArgument("Provided "+f.wire+" not an integer or within integer range", f.wire, text)
	}
	return invalidArgument("", f.wire, text)
}

// invalidArgument is S3's answer to a parameter out of its range.
func invalidArgument(message, name, text string) *Error {
	if message == "" {
		message = "Invalid Argument"
	}
	return Errorf(400, "InvalidArgument", "%s", message).With("ArgumentName", name).With("ArgumentValue", text)
}

// setHeaders reads a map from all headers with a prefix. Names are in lower case, as S3 keeps
// and returns them.
func setHeaders(f *field, v reflect.Value, h map[string][]string) {
	for name, texts := range h {
		if len(name) <= len(f.wire) || !strings.EqualFold(name[:len(f.wire)], f.wire) {
			continue
		}
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		v.SetMapIndex(reflect.ValueOf(strings.ToLower(name[len(f.wire):])), reflect.ValueOf(strings.Join(texts, ",")))
	}
}

func setPayload(m *Model, f *field, v reflect.Value, r *http.Request, body []byte) error {
	switch f.kind {
	case kindStream:
		if r.Body != nil {
			v.Set(reflect.ValueOf(r.Body))
		}
		return nil
	case kindBlob:
		v.SetBytes(slices.Clone(body))
		return nil
	case kindString: // a policy: what is wrong with an empty one says who reads it
		if !utf8.Valid(body) {
			return malformedXML()
		}
		v.SetString(string(body))
		return nil
	}
	if len(bytes.TrimSpace(body)) == 0 {
		if f.required {
			return missingBody()
		}
		return nil
	}
	if f.pointer {
		v.Set(reflect.New(f.typ))
		v = v.Elem()
	}
	return parseXML(body, func(d *xmlReader, start xml.StartElement) error {
		if start.Name.Local != f.wire {
			return malformedXML()
		}
		return d.structure(f.plan, v, start)
	})
}

func malformedXML() *Error {
	return Errorf(400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
}

func missingBody() *Error {
	return Errorf(400, "MissingRequestBodyError", "Request Body is empty")
}

// maxDepth is how deep elements may stand in each other. S3's deepest document has seven.
const maxDepth = 32

// An xmlReader reads one document into structs. Elements and attributes that the model does
// not have are refused, as S3 does: a rule that we do not know must not be dropped in silence.
type xmlReader struct {
	*xml.Decoder
	depth   int
	lenient bool // the document is an answer, not a request: what we do not know is passed over
}

// parseXML gives the root element to f and sees that nothing follows it.
func parseXML(body []byte, f func(*xmlReader, xml.StartElement) error) error {
	d := &xmlReader{Decoder: xml.NewDecoder(bytes.NewReader(body))}
	for root := false; ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) && root {
			return nil
		}
		if err != nil {
			return malformedXML()
		}
		switch t := token.(type) {
		case xml.StartElement:
			if root {
				return malformedXML()
			}
			root = true
			if err := f(d, t); err != nil {
				return err
			}
		case xml.Directive: // a document type
			return malformedXML()
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return malformedXML()
			}
		}
	}
}

// structure reads the children of an element up to its end.
func (d *xmlReader) structure(p *plan, s reflect.Value, start xml.StartElement) error {
	if d.depth++; d.depth > maxDepth {
		return malformedXML()
	}
	defer func() { d.depth-- }()
	var seen fieldSet
	for i := range p.fields {
		f := &p.fields[i]
		if !f.attr {
			continue
		}
		_, local, _ := strings.Cut(f.wire, ":")
		for _, a := range start.Attr {
			if a.Name.Local == local && a.Name.Space != "xmlns" {
				seen.add(i)
				if err := d.scalar(f, s.Field(f.index), a.Value); err != nil {
					return err
				}
			}
		}
	}
	for {
		token, err := d.Token()
		if err != nil {
			return malformedXML()
		}
		switch t := token.(type) {
		case xml.StartElement:
			i, ok := p.byWire[t.Name.Local]
			if !ok && d.lenient {
				if err := d.Skip(); err != nil {
					return malformedXML()
				}
				continue
			}
			if !ok || p.fields[i].attr {
				return malformedXML()
			}
			f := &p.fields[i]
			if seen.has(i) && !f.flat {
				return malformedXML()
			}
			seen.add(i)
			if err := d.member(f, s.Field(f.index), t); err != nil {
				return err
			}
		case xml.EndElement:
			for i := range p.fields {
				if f := &p.fields[i]; f.required && f.place == inBody && !seen.has(i) && !d.lenient {
					return malformedXML()
				}
			}
			return nil
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return malformedXML()
			}
		case xml.Directive:
			return malformedXML()
		}
	}
}

func (d *xmlReader) member(f *field, v reflect.Value, start xml.StartElement) error {
	switch {
	case f.kind == kindStruct:
		if f.pointer {
			v.Set(reflect.New(f.typ))
			v = v.Elem()
		}
		return d.structure(f.plan, v, start)
	case f.kind == kindList && f.flat:
		return d.element(f, v, start)
	case f.kind == kindList:
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		for {
			token, err := d.Token()
			if err != nil {
				return malformedXML()
			}
			switch t := token.(type) {
			case xml.StartElement:
				if t.Name.Local != f.item {
					return malformedXML()
				}
				if err := d.element(f, v, t); err != nil {
					return err
				}
			case xml.EndElement:
				return nil
			case xml.CharData:
				if len(bytes.TrimSpace(t)) > 0 {
					return malformedXML()
				}
			}
		}
	case f.kind == kindMap:
		return malformedXML() // no body of S3's has one
	}
	text, err := d.text()
	if err != nil {
		return err
	}
	return d.scalar(f, v, text)
}

// element reads one element of a list.
func (d *xmlReader) element(f *field, list reflect.Value, start xml.StartElement) error {
	list.Set(reflect.Append(list, reflect.Zero(list.Type().Elem())))
	e := list.Index(list.Len() - 1)
	if f.elem.kind == kindStruct {
		return d.structure(f.elem.plan, e, start)
	}
	text, err := d.text()
	if err != nil {
		return err
	}
	if f.elem.kind != kindString {
		text = strings.TrimSpace(text)
	}
	if !setScalar(f.elem, e, text) || !d.lenient && f.elem.check != nil && f.elem.check.enum != nil && !slices.Contains(f.elem.check.enum, text) {
		return malformedXML()
	}
	return nil
}

func (d *xmlReader) scalar(f *field, v reflect.Value, text string) error {
	if f.kind != kindString {
		text = strings.TrimSpace(text)
	}
	if f.pointer {
		v.Set(reflect.New(f.typ))
		v = v.Elem()
	}
	if !setScalar(&f.value, v, text) || !d.lenient && f.check != nil && f.check.enum != nil && !slices.Contains(f.check.enum, text) {
		return malformedXML()
	}
	return nil
}

// text reads the characters of an element without children.
func (d *xmlReader) text() (string, error) {
	var b []byte
	for {
		token, err := d.Token()
		if err != nil {
			return "", malformedXML()
		}
		switch t := token.(type) {
		case xml.CharData:
			b = append(b, t...)
		case xml.EndElement:
			return string(b), nil
		case xml.Comment, xml.ProcInst:
		default:
			return "", malformedXML()
		}
	}
}

// encodeREST writes an answer: headers, then a body that is a stream, a text, a document or
// nothing. An output with a Content-Range is 206.
func encodeREST(w http.ResponseWriter, m *Model, op *Operation, out any, requestID string) error {
	h := w.Header()
	h.Set("X-Amz-Request-Id", requestID)
	status := op.Status
	if status == 0 {
		status = http.StatusOK
	}
	var s reflect.Value
	p := &plan{payload: -1, text: -1}
	if v := reflect.ValueOf(out); v.Kind() == reflect.Pointer && !v.IsNil() {
		s = v.Elem()
		p = planOf(s.Type())
	}
	var stream io.ReadCloser
	b := buffers.Get().(*[]byte)
	body := *b
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
			text := headerText(f, v)
			if f.wire == "Content-Range" {
				status = http.StatusPartialContent
			}
			h[f.header] = []string{text}
		case inHeaders:
			for _, k := range sortedKeys(v) {
				// As S3 writes it: clients show the name's letters as they come.
				h[f.wire+k] = []string{v.MapIndex(reflect.ValueOf(k)).String()}
			}
		case inStatus:
			status = int(v.Int())
		case inPayload:
			switch f.kind {
			case kindStream:
				stream = v.Interface().(io.ReadCloser)
			case kindString:
				body = append(body, v.String()...)
				setDefault(h, "Content-Type", "application/json")
			case kindBlob:
				body = append(body, v.Bytes()...)
			default:
				root := op.Root
				if root == "" {
					root = f.wire
				}
				body = appendDocument(body, m, root, f.plan, v)
				h.Set("Content-Type", "application/xml")
			}
		}
	}
	if stream != nil {
		release(b, body)
		defer stream.Close()
		setDefault(h, "Content-Type", "binary/octet-stream") // or net/http would guess one, and a browser believe it
		w.WriteHeader(status)
		_, err := io.Copy(w, stream)
		return err
	}
	if p.payload < 0 && p.body {
		body = appendDocument(body, m, op.Root, p, s)
		h.Set("Content-Type", "application/xml")
	}
	if h.Get("Content-Length") == "" && status != http.StatusNoContent {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	_, err := w.Write(body)
	release(b, body)
	if errors.Is(err, http.ErrBodyNotAllowed) {
		err = nil // HEAD, 204
	}
	return err
}

func setDefault(h http.Header, name, value string) {
	if h.Get(name) == "" {
		h.Set(name, value)
	}
}

func headerText(f *field, v reflect.Value) string {
	switch f.kind {
	case kindString:
		return v.String()
	case kindTime:
		return string(appendTime(nil, timeOf(v), f.time.or(timeHTTP), isoMillis))
	case kindBlob:
		return base64.StdEncoding.EncodeToString(v.Bytes())
	case kindList:
		var parts []string
		for i := range v.Len() {
			parts = append(parts, string(appendRaw(nil, f.elem, v.Index(i))))
		}
		return strings.Join(parts, ",")
	}
	return string(appendRaw(nil, &f.value, v))
}

// appendRaw writes a scalar as it is, without the escapes of XML.
func appendRaw(dst []byte, t *value, v reflect.Value) []byte {
	if t.kind == kindString {
		return append(dst, v.String()...)
	}
	return appendScalar(dst, t, v, isoMillis)
}

const xmlHead = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

func appendDocument(dst []byte, m *Model, root string, p *plan, s reflect.Value) []byte {
	dst = append(dst, xmlHead...)
	dst = append(append(append(dst, '<'), root...), ` xmlns="`...)
	dst = append(append(dst, m.Namespace...), `">`...)
	if p.text >= 0 {
		f := &p.fields[p.text]
		if v, absent := f.get(s); !absent {
			dst = appendScalar(dst, &f.value, v, isoMillis)
		}
	} else {
		dst = appendMembers(dst, p, s, isoMillis)
	}
	return append(append(append(dst, '<', '/'), root...), '>')
}

func appendRESTError(dst []byte, e *Error, requestID, hostID, resource string) []byte {
	dst = append(dst, xmlHead...)
	dst = append(dst, `<Error><Code>`...)
	dst = appendText(dst, e.Code)
	dst = append(dst, `</Code>`...)
	if !e.NoMessage {
		dst = append(dst, `<Message>`...)
		dst = appendText(dst, e.Message)
		dst = append(dst, `</Message>`...)
	}
	dst = appendFields(dst, e.Fields)
	if resource != "" {
		dst = append(dst, `<Resource>`...)
		dst = appendText(dst, resource)
		dst = append(dst, `</Resource>`...)
	}
	dst = append(dst, `<RequestId>`...)
	dst = appendText(dst, requestID)
	dst = append(dst, `</RequestId><HostId>`...)
	dst = appendText(dst, hostID)
	return append(dst, `</HostId></Error>`...)
}
