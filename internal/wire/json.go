package wire

import (
	"bytes"
	"errors"
	"math"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// The JSON protocols: the operation is in X-Amz-Target, input and output are JSON objects.

// Targeted returns the operation that the X-Amz-Target header of a JSON request names.
func (m *Model) Targeted(r *http.Request) (*Operation, error) {
	if target := r.Header["X-Amz-Target"]; len(target) > 0 {
		if name, ok := strings.CutPrefix(target[0], m.TargetPrefix); ok && strings.HasPrefix(name, ".") {
			if op := m.Operation(name[1:]); op != nil {
				return op, nil
			}
		}
	}
	return nil, &Error{Code: "UnknownOperationException", Status: 400}
}

// serialization is what AWS says of a body that is not the JSON it expects.
func serialization(text string) error {
	return Errorf(400, "SerializationException", "%s", text)
}

// decodeJSON reads a request and checks it.
func decodeJSON(m *Model, body []byte, in any) error {
	d := newJSONReader()
	defer d.release()
	d.faults.quiet = m.Quiet
	if err := d.input(body, in); err != nil {
		return err
	}
	if m.Reasons != "" {
		return d.faults.first(m.Reasons)
	}
	return d.invalid()
}

// readJSON reads a request and does not check it.
func readJSON(body []byte, in any, skim bool) error {
	d := newJSONReader()
	defer d.release()
	d.skim = skim
	return d.input(body, in)
}

func (d *jsonReader) input(body []byte, in any) error {
	v := reflect.ValueOf(in).Elem()
	return d.document(body, planOf(v.Type()), v)
}

// maxJSONDepth is how deep structures may stand in each other: DynamoDB takes items 32 deep.
const maxJSONDepth = 48

// A jsonReader reads one document into structs. Members that the model does not have are
// passed over, as AWS does; an object with a member given twice is refused.
type jsonReader struct {
	jsontext.Decoder
	body     bytes.Buffer
	faults   faults
	depth    int
	members  [maxJSONDepth + 1]trail // to what is being read, by depth
	elements [maxJSONDepth + 1]trail // and of lists and maps, to the element
	record   bool                    // names and times are those of records
	skim     bool                    // see SkimJSON
}

var jsonOptions = []jsontext.Options{jsontext.AllowInvalidUTF8(true)}

var jsonReaders = sync.Pool{New: func() any { return new(jsonReader) }}

// newJSONReader is a reader whose room others have used before. It is released when nothing
// is read any more.
func newJSONReader() *jsonReader { return jsonReaders.Get().(*jsonReader) }

func (d *jsonReader) release() {
	d.body = bytes.Buffer{}
	d.Reset(&d.body)
	d.faults, d.depth, d.record, d.skim = faults{}, 0, false, false
	jsonReaders.Put(d)
}

// begin begins to read a document, and reports whether it is an object.
func (d *jsonReader) begin(document []byte) bool {
	d.body = *bytes.NewBuffer(document)
	d.Reset(&d.body, jsonOptions...)
	token, err := d.ReadToken()
	return err == nil && token.Kind() == '{'
}

// more reports whether the list or object has another member.
func (d *jsonReader) more() bool {
	kind := d.PeekKind()
	return kind != '}' && kind != ']' && kind != 0
}

// structure reads the members of an object up to its end.
func (d *jsonReader) structure(p *plan, s reflect.Value, path *trail) error {
	if d.depth++; d.depth > maxJSONDepth {
		return serialization("The document is nested too deeply.")
	}
	defer func() { d.depth-- }()
	var seen fieldSet
	for d.more() {
		name, err := d.name()
		if err != nil {
			return err
		}
		i, ok := p.byWire[name]
		if d.record {
			i, ok = p.byRecord(name)
		}
		if !ok || d.skim && p.fields[i].skimmed() {
			if err := d.skip(); err != nil {
				return err
			}
			continue
		}
		f := &p.fields[i]
		present, err := d.value(&f.value, s.Field(f.index), d.member(path, f.label))
		if err != nil {
			return err
		}
		if present {
			seen.add(i)
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return serialization("The document has no end.")
	}
	for i := range p.fields {
		f := &p.fields[i]
		if f.place != inBody && !d.record {
			continue
		}
		if !seen.has(i) {
			if f.required && !(d.record && f.sensitive) { // which no record has
				d.faults.null(path, f)
			}
			continue
		}
		v := reflect.Indirect(s.Field(f.index))
		switch f.kind {
		case kindString:
			d.faults.text(path, f, v.String())
		case kindInt:
			d.faults.number(path, f, v.Int())
		case kindBlob, kindMap:
			d.faults.count(path, f, v.Len())
		case kindList:
			if d.faults.count(path, f, v.Len()) && f.elem.kind == kindString {
				d.faults.elements(path, f, v)
			}
		}
	}
	return nil
}

// member and element write down the way to what is read next.
func (d *jsonReader) member(up *trail, label string) *trail {
	t := &d.members[d.depth]
	*t = trail{up: up, label: label}
	return t
}

func (d *jsonReader) element(of *trail, before int, item string) *trail {
	t := &d.elements[d.depth]
	*t = trail{of.up, of.label, uint64(before + 1), item}
	return t
}

// name reads the name of a member.
func (d *jsonReader) name() (string, error) {
	token, err := d.ReadToken()
	if err != nil || token.Kind() != '"' {
		return "", unread(err, "A member's name was expected.")
	}
	return token.String(), nil
}

// skip passes over a value.
func (d *jsonReader) skip() error {
	if _, err := d.ReadValue(); err != nil {
		return unread(err, "A value was expected.")
	}
	return nil
}

// unread is the error of what cannot be read, which text tells where err is no better reason.
func unread(err error, text string) error {
	var twice *jsontext.SyntacticError
	if errors.Is(err, jsontext.ErrDuplicateName) && errors.As(err, &twice) {
		text = "The member " + twice.JSONPointer.LastToken() + " is given twice."
	}
	return serialization(text)
}

// value reads a value. null is an absent one.
func (d *jsonReader) value(t *value, v reflect.Value, path *trail) (present bool, err error) {
	token, err := d.ReadToken()
	if err != nil {
		return false, serialization("A value was expected.")
	}
	kind := token.Kind()
	if kind == 'n' {
		return false, nil
	}
	if t.pointer {
		v.Set(reflect.New(t.typ))
		v = v.Elem()
	}
	wrong := func() (bool, error) {
		return false, serialization(strings.TrimSuffix(path.String(), ".") + " has a value of another type.")
	}
	switch t.kind {
	case kindStruct:
		if kind != '{' {
			return wrong()
		}
		return true, d.structure(t.plan, v, path)
	case kindList:
		if kind != '[' {
			return wrong()
		}
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		for d.more() {
			e := reflect.New(v.Type().Elem()).Elem()
			present, err := d.value(t.elem, e, d.element(path, v.Len(), "member"))
			if err != nil {
				return false, err
			}
			if !present {
				return wrong()
			}
			v.Set(reflect.Append(v, e))
		}
	case kindMap:
		if kind != '{' {
			return wrong()
		}
		v.Set(reflect.MakeMap(v.Type()))
		for d.more() {
			key, err := d.name()
			if err != nil {
				return false, err
			}
			e := reflect.New(v.Type().Elem()).Elem()
			present, err := d.value(t.elem, e, d.element(path, v.Len(), "value"))
			if err != nil {
				return false, err
			}
			if !present {
				return wrong()
			}
			v.SetMapIndex(reflect.ValueOf(key), e)
		}
	default:
		if kind == '"' && d.record && t.kind == kindTime {
			at, err := time.Parse(recordTime, token.String())
			if err != nil {
				return wrong()
			}
			v.Set(reflect.ValueOf(at))
			return true, nil
		}
		if !setJSON(t, v, token) {
			return wrong()
		}
		return true, nil
	}
	if _, err := d.ReadToken(); err != nil { // the end of a list or map
		return false, serialization("The document has no end.")
	}
	return true, nil
}

// setJSON reads a scalar from a token: nothing is turned from one type into another.
func setJSON(t *value, v reflect.Value, token jsontext.Token) bool {
	switch token.Kind() {
	case '"':
		x := token.String()
		switch t.kind {
		case kindString, kindBlob:
			return setScalar(t, v, x)
		case kindTime:
			return t.time != timeDefault && t.time != timeUnix && setScalar(t, v, x)
		case kindFloat:
			switch x {
			case "NaN":
				v.SetFloat(math.NaN())
			case "Infinity":
				v.SetFloat(math.Inf(1))
			case "-Infinity":
				v.SetFloat(math.Inf(-1))
			default:
				return false
			}
			return true
		}
	case '0':
		x := token.String()
		switch t.kind {
		case kindInt:
			if n, err := strconv.ParseFloat(x, 64); err == nil && n == math.Trunc(n) && math.Abs(n) < 1<<53 {
				return setScalar(t, v, strconv.FormatFloat(n, 'f', -1, 64)) // 1.0 and 1e3 are integers
			}
			return setScalar(t, v, x)
		case kindFloat:
			return setScalar(t, v, x)
		case kindTime:
			n, err := strconv.ParseFloat(x, 64)
			if err != nil || math.Abs(n) > 2e11 {
				return false
			}
			tm := time.UnixMilli(int64(math.Round(n * 1000))).UTC()
			v.Set(reflect.ValueOf(tm))
			return lawful(tm)
		}
	case 't', 'f':
		if t.kind == kindBool {
			v.SetBool(token.Bool())
			return true
		}
	}
	return false
}

func contentTypeJSON(m *Model) string {
	if m.Protocol == JSON10 {
		return "application/x-amz-json-1.0"
	}
	return "application/x-amz-json-1.1"
}

// appendJSONError writes an error. The text is in "message" but where the model says
// otherwise; clients read it in either case.
func appendJSONError(dst []byte, m *Model, e *Error) []byte {
	dst = append(dst, `{"__type":`...)
	dst = AppendJSONString(dst, e.Code)
	if !e.NoMessage {
		member := "message"
		if m.Capital {
			member = "Message"
		}
		dst = append(dst, ',')
		dst = AppendJSONString(dst, member)
		dst = append(dst, ':')
		dst = AppendJSONString(dst, e.Message)
	}
	for _, f := range e.Fields {
		dst = append(dst, ',')
		dst = AppendJSONString(dst, f.Name)
		dst = append(dst, ':')
		dst = AppendJSONString(dst, f.Value)
	}
	return append(dst, '}')
}
