package wire

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// The Query protocol, of which EC2's is a kind (ec2.go): a form in (Action=CreateRole&Tags.member.1.Key=a), XML out.
//
// The names of a form are paths. Sorted, all that belongs to one structure, list or
// element stands together, so decoding is one walk over sorted pairs: nothing is ever
// sized by a number that the caller sent.

// maxPairs is how many parameters a form may have. The largest lawful request, a
// CreatePolicy with fifty tags, has about a hundred; SimulateCustomPolicy lists more.
const maxPairs = 20_000

// A pair is one parameter, decoded.
type pair struct{ key, value string }

// formText returns where the parameters of a request are: the body of a POST, or the
// query string if there is none.
func formText(r *http.Request, body []byte) string {
	if len(body) == 0 {
		return r.URL.RawQuery
	}
	return string(body)
}

// FormAction returns Action and Version of a Query request, "" where there is none.
// It finds the same ones as Decode sees, which refuses a form that has two.
func FormAction(r *http.Request, body []byte) (action, version string) {
	for p := range strings.SplitSeq(formText(r, body), "&") {
		if v, ok := strings.CutPrefix(p, "Action="); ok && action == "" {
			action = v
		}
		if v, ok := strings.CutPrefix(p, "Version="); ok && version == "" {
			version = v
		}
	}
	return action, version
}

// Named returns the operation that a Query request names, or InvalidAction. A version
// that is not the model's names no operation.
func (m *Model) Named(action, version string) (*Operation, error) {
	if op := m.Operation(action); op != nil && version == m.Version {
		return op, nil
	}
	if m.Protocol == EC2 {
		return nil, unknownAction(action, version)
	}
	if version == "" {
		version = "NO_VERSION_SPECIFIED"
	}
	return nil, Errorf(400, "InvalidAction", "Could not find operation %s for version %s", action, version)
}

// malformed is what AWS says of a form that cannot be read: nothing more.
func malformed() error { return &Error{Code: "MalformedInput", Status: 400} }

// A form is a parsed request.
type form struct {
	pairs  []pair
	buf    []byte
	faults faults
	ec2    bool // it is read by EC2's rules: see ec2.go
}

var forms = sync.Pool{New: func() any { return new(form) }}

func decodeQuery(m *Model, r *http.Request, body []byte, in any) error {
	f := forms.Get().(*form)
	defer func() {
		clear(f.pairs)
		if cap(f.pairs) > 1024 || cap(f.buf) > 1<<16 {
			return
		}
		f.pairs, f.buf, f.faults, f.ec2 = f.pairs[:0], f.buf[:0], faults{}, false
		forms.Put(f)
	}()
	var err error
	if len(body) > 0 {
		err = parseForm(f, body)
	} else {
		err = parseForm(f, []byte(r.URL.RawQuery))
	}
	if err != nil {
		return err
	}
	f.faults.quiet, f.ec2 = m.Quiet, m.Protocol == EC2
	v := reflect.ValueOf(in).Elem()
	if err := f.structure(planOf(v.Type()), v, 0, int32(len(f.pairs)), 0, nil); err != nil {
		return err
	}
	if f.ec2 {
		return f.faults.ec2()
	}
	return f.faults.err()
}

// parseForm reads the pairs and sorts them. A name that comes twice is refused: there
// is no telling which of the two another reader of the request would take.
func parseForm(f *form, src []byte) error {
	if bytes.Count(src, []byte("&")) >= maxPairs {
		return malformed()
	}
	// All of the text is decoded into one string, of which the pairs are parts.
	type at struct{ key, value, end int }
	var small [32]at
	ats := small[:0]
	f.buf = slices.Grow(f.buf[:0], len(src))
	for len(src) > 0 {
		p, rest, _ := bytes.Cut(src, []byte("&"))
		src = rest
		if len(p) == 0 {
			continue
		}
		k, v, _ := bytes.Cut(p, []byte("="))
		a := at{key: len(f.buf)}
		var ok bool
		if f.buf, ok = unescape(f.buf, k); !ok {
			return malformed()
		}
		a.value = len(f.buf)
		if f.buf, ok = unescape(f.buf, v); !ok {
			return malformed()
		}
		a.end = len(f.buf)
		ats = append(ats, a)
	}
	if !utf8.Valid(f.buf) {
		return malformed()
	}
	text := string(f.buf)
	for _, a := range ats {
		f.pairs = append(f.pairs, pair{text[a.key:a.value], text[a.value:a.end]})
	}
	slices.SortFunc(f.pairs, func(a, b pair) int { return strings.Compare(a.key, b.key) })
	for i := 1; i < len(f.pairs); i++ {
		if f.pairs[i].key == f.pairs[i-1].key {
			return malformed()
		}
	}
	return nil
}

// unescape appends a part of a form without its escapes.
func unescape(dst, s []byte) ([]byte, bool) {
	done := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '+' && c != '%' {
			continue
		}
		dst = append(dst, s[done:i]...)
		if c == '+' {
			dst = append(dst, ' ')
		} else {
			if i+2 >= len(s) {
				return dst, false
			}
			hi, lo := unhex[s[i+1]], unhex[s[i+2]]
			if hi > 15 || lo > 15 {
				return dst, false
			}
			dst = append(dst, hi<<4|lo)
			i += 2
		}
		done = i + 1
	}
	return append(dst, s[done:]...), true
}

// unhex is the value of a hexadecimal digit, more than 15 for other bytes.
var unhex = func() (t [256]byte) {
	for i := range t {
		t[i] = 255
	}
	for i := range byte(10) {
		t['0'+i] = i
	}
	for i := range byte(6) {
		t['a'+i], t['A'+i] = 10+i, 10+i
	}
	return t
}()

// A span is where a member stands in the sorted pairs: exact is the pair that has the
// member's name alone, from lo to hi are those below it.
type span struct{ exact, lo, hi int32 }

// segment returns the part of key from off to the next dot.
func segment(key string, off int) string {
	if i := strings.IndexByte(key[off:], '.'); i >= 0 {
		return key[off : off+i]
	}
	return key[off:]
}

// A trail is the way to a structure inside another, for messages: "tags.1.member.". It is
// spelled out only when there is something to say. nil is the input itself.
type trail struct {
	up     *trail
	label  string
	number uint64 // of an element; 0 is the structure itself
	item   string // "member", or "" in flat lists
}

func (t *trail) String() string {
	if t == nil {
		return ""
	}
	s := t.up.String() + t.label + "."
	if t.number > 0 {
		s += strconv.FormatUint(t.number, 10) + "."
		if t.item != "" {
			s += t.item + "."
		}
	}
	return s
}

// structure decodes pairs lo to hi, whose names agree up to off, into s.
func (f *form) structure(p *plan, s reflect.Value, lo, hi int32, off int, path *trail) error {
	var buf [24]span
	spans := buf[:]
	if len(p.fields) > len(spans) {
		spans = make([]span, len(p.fields))
	}
	var seen fieldSet
	for i := lo; i < hi; {
		name := segment(f.pairs[i].key, off)
		end := off + len(name)
		at, known := p.byWire[name]
		if !known && f.ec2 && !(path == nil && enveloped(name)) {
			return unknownParameter(f.pairs[i].key)
		}
		if len(f.pairs[i].key) == end { // the name alone
			if known {
				seen.add(at)
				spans[at].exact = i + 1
			}
			i++
			continue
		}
		j := i + 1
		for j < hi && len(f.pairs[j].key) > end && f.pairs[j].key[off:end+1] == f.pairs[i].key[off:end+1] {
			j++
		}
		if known {
			seen.add(at)
			spans[at].lo, spans[at].hi = i, j
		}
		i = j
	}
	for i := range p.fields {
		fd := &p.fields[i]
		if !seen.has(i) {
			if fd.required {
				f.faults.null(path, fd)
			}
			continue
		}
		present, err := f.member(fd, s.Field(fd.index), spans[i], off+len(fd.form)+1, path)
		if err != nil {
			return err
		}
		if !present && fd.required {
			f.faults.null(path, fd)
		}
	}
	return nil
}

// member decodes one member. off is where names below it go on.
func (f *form) member(fd *field, v reflect.Value, at span, off int, path *trail) (present bool, err error) {
	// What does not have the member's form is refused and not passed over: a session
	// whose policies were not understood must not be one without. Clients write an
	// empty list as the name and nothing.
	composed := fd.kind == kindStruct || fd.kind == kindList || fd.kind == kindMap
	if composed && at.exact != 0 && f.pairs[at.exact-1].value != "" || !composed && at.lo < at.hi {
		return true, malformed()
	}
	switch fd.kind {
	case kindStruct:
		if at.lo == at.hi {
			return false, nil
		}
		if fd.pointer {
			v.Set(reflect.New(fd.typ))
			v = v.Elem()
		}
		return true, f.structure(fd.plan, v, at.lo, at.hi, off, &trail{up: path, label: fd.label})
	case kindList:
		return true, f.listMember(fd, v, at, off, path)
	case kindMap:
		return true, f.mapMember(fd, v, at, off, path)
	}
	if at.exact == 0 {
		return false, nil
	}
	text := f.pairs[at.exact-1].value
	if fd.pointer {
		v.Set(reflect.New(fd.typ))
		v = v.Elem()
	}
	if !setScalar(&fd.value, v, text) {
		if f.ec2 {
			return true, invalidValue(text, path.String()+fd.label, "")
		}
		return true, malformed()
	}
	switch fd.kind {
	case kindString:
		f.faults.text(path, fd, text)
	case kindInt:
		f.faults.number(path, fd, v.Int())
	case kindBlob:
		f.faults.count(path, fd, v.Len())
	}
	return true, nil
}

// setScalar reads a value from text.
func setScalar(t *value, v reflect.Value, text string) bool {
	switch t.kind {
	case kindString:
		v.SetString(text)
	case kindInt:
		n, err := strconv.ParseInt(text, 10, t.typ.Bits())
		if err != nil {
			return false
		}
		v.SetInt(n)
	case kindFloat:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return false
		}
		v.SetFloat(n)
	case kindBool:
		switch {
		case strings.EqualFold(text, "true"):
			v.SetBool(true)
		case strings.EqualFold(text, "false"):
			v.SetBool(false)
		default:
			return false
		}
	case kindTime:
		tm, ok := parseTime(text)
		if !ok {
			return false
		}
		v.Set(reflect.ValueOf(tm))
	case kindBlob:
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return false
		}
		v.SetBytes(b)
	default:
		return false
	}
	return true
}

// An entry is an element of a list: its number and where it stands.
type entry struct {
	number uint64
	digits int
	span
}

// entries groups pairs by the number that follows off, and appends to list. Numbers order the elements and
// do nothing else; gaps close up, as the elements of a form have no other place.
func (f *form) entries(list []entry, lo, hi int32, off int) ([]entry, bool) {
	for i := lo; i < hi; {
		name := segment(f.pairs[i].key, off)
		end := off + len(name)
		n, err := strconv.ParseUint(name, 10, 64)
		if err != nil || name[0] == '0' || name[0] == '+' {
			return nil, false
		}
		e := entry{number: n, digits: len(name)}
		if len(f.pairs[i].key) == end {
			e.exact = i + 1
			i++
		}
		e.lo, e.hi = i, i
		for e.hi < hi && len(f.pairs[e.hi].key) > end && f.pairs[e.hi].key[off:end] == name && f.pairs[e.hi].key[end] == '.' {
			e.hi++
		}
		i = e.hi
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b entry) int {
		switch {
		case a.number < b.number:
			return -1
		case a.number > b.number:
			return 1
		}
		return 0
	})
	for i := 1; i < len(list); i++ {
		if list[i].number == list[i-1].number {
			return nil, false
		}
	}
	return list, true
}

// below narrows a span to the pairs under a name: those of Tags to Tags.member. It
// reports whether there were no others, but for the name alone with no value.
func (f *form) below(at span, off int, name string) (span, bool) {
	is := func(i int32) bool {
		k := f.pairs[i].key
		return len(k) > off+len(name) && k[off:off+len(name)] == name && k[off+len(name)] == '.'
	}
	stray := func(i int32) bool { return f.pairs[i].key[off:] != name || f.pairs[i].value != "" }
	for at.lo < at.hi && !is(at.lo) {
		if stray(at.lo) {
			return at, false
		}
		at.lo++
	}
	hi := at.lo
	for hi < at.hi && is(hi) {
		hi++
	}
	for i := hi; i < at.hi; i++ {
		if stray(i) {
			return at, false
		}
	}
	at.hi = hi
	return at, true
}

func (f *form) listMember(fd *field, v reflect.Value, at span, off int, path *trail) error {
	flat := fd.flat || f.ec2
	if !flat {
		var only bool
		if at, only = f.below(at, off, fd.item); !only {
			return malformed()
		}
		off += len(fd.item) + 1
	}
	var buf [8]entry
	entries, ok := f.entries(buf[:0], at.lo, at.hi, off)
	if !ok {
		return malformed()
	}
	if !f.faults.count(path, fd, len(entries)) {
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		return nil // refused already; its elements are not looked at
	}
	list := reflect.MakeSlice(v.Type(), len(entries), len(entries))
	v.Set(list)
	for i, e := range entries {
		element := list.Index(i)
		if fd.elem.pointer {
			element.Set(reflect.New(fd.elem.typ))
			element = element.Elem()
		}
		switch fd.elem.kind {
		case kindStruct:
			if e.exact != 0 && f.pairs[e.exact-1].value != "" {
				return malformed()
			}
			below := &trail{path, fd.label, e.number, fd.item}
			if flat {
				below.item = ""
			}
			if err := f.structure(fd.elem.plan, element, e.lo, e.hi, off+e.digits+1, below); err != nil {
				return err
			}
		case kindList, kindMap:
			return malformed() // no service has lists of lists in forms
		default:
			if e.exact == 0 || e.lo < e.hi || !setScalar(fd.elem, element, f.pairs[e.exact-1].value) {
				return malformed()
			}
		}
	}
	if fd.elem.kind == kindString {
		f.faults.elements(path, fd, list)
	}
	return nil
}

func (f *form) mapMember(fd *field, v reflect.Value, at span, off int, path *trail) error {
	if !fd.flat {
		var only bool
		if at, only = f.below(at, off, "entry"); !only {
			return malformed()
		}
		off += len("entry") + 1
	}
	var buf [8]entry
	entries, ok := f.entries(buf[:0], at.lo, at.hi, off)
	if !ok {
		return malformed()
	}
	m := reflect.MakeMapWithSize(v.Type(), len(entries))
	v.Set(m)
	for _, e := range entries {
		below := off + e.digits + 1
		var key string
		found := false
		var val span
		for i := e.lo; i < e.hi; i++ {
			switch k := f.pairs[i].key[below:]; {
			case k == fd.key:
				key, found = f.pairs[i].value, true
			case k == fd.val:
				val.exact = i + 1
			case segment(f.pairs[i].key, below) == fd.val:
				if val.lo == val.hi {
					val.lo = i
				}
				val.hi = i + 1
			}
		}
		if !found {
			return malformed()
		}
		element := reflect.New(fd.elem.typ).Elem()
		switch fd.elem.kind {
		case kindStruct:
			if err := f.structure(fd.elem.plan, element, val.lo, val.hi, below+len(fd.val)+1, &trail{path, fd.label, e.number, fd.val}); err != nil {
				return err
			}
		case kindList, kindMap:
			return malformed()
		default:
			if val.exact == 0 || !setScalar(fd.elem, element, f.pairs[val.exact-1].value) {
				return malformed()
			}
		}
		m.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), element)
	}
	return nil
}

// appendQuery writes an answer.
func appendQuery(dst []byte, m *Model, op *Operation, out any, requestID string) []byte {
	dst = append(dst, '<')
	dst = append(dst, op.Name...)
	dst = append(dst, `Response xmlns="`...)
	dst = append(dst, m.Namespace...)
	dst = append(dst, `">`...)
	if op.Out != nil {
		dst = append(dst, '<')
		dst = append(dst, op.ResultWrapper...)
		dst = append(dst, '>')
		if v := reflect.ValueOf(out); v.Kind() == reflect.Pointer && !v.IsNil() {
			dst = appendMembers(dst, planOf(v.Elem().Type()), v.Elem(), isoSeconds)
		}
		dst = append(dst, '<', '/')
		dst = append(dst, op.ResultWrapper...)
		dst = append(dst, '>')
	}
	dst = append(dst, `<ResponseMetadata><RequestId>`...)
	dst = appendText(dst, requestID)
	dst = append(dst, `</RequestId></ResponseMetadata></`...)
	dst = append(dst, op.Name...)
	return append(dst, `Response>`...)
}

// faultNamespace is that of errors about the request itself, before any service is met.
const faultNamespace = "http://webservices.amazon.com/AWSFault/2005-15-09"

func appendQueryError(dst []byte, m *Model, e *Error, requestID string) []byte {
	namespace := m.Namespace
	if e.Code == "InvalidAction" {
		namespace = faultNamespace
	}
	dst = append(dst, `<ErrorResponse xmlns="`...)
	dst = append(dst, namespace...)
	dst = append(dst, `"><Error><Type>`...)
	if e.HTTPStatus() >= 500 {
		dst = append(dst, "Receiver"...)
	} else {
		dst = append(dst, "Sender"...)
	}
	dst = append(dst, `</Type><Code>`...)
	dst = appendText(dst, e.Code)
	dst = append(dst, `</Code>`...)
	if !e.NoMessage {
		dst = append(dst, `<Message>`...)
		dst = appendText(dst, e.Message)
		dst = append(dst, `</Message>`...)
	}
	dst = appendFields(dst, e.Fields)
	dst = append(dst, `</Error><RequestId>`...)
	dst = appendText(dst, requestID)
	return append(dst, `</RequestId></ErrorResponse>`...)
}
