package wire

import (
	"bytes"
	"math"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// The JSON protocols: the operation is in X-Amz-Target, input and output are JSON objects.

// Targeted returns the operation that the X-Amz-Target header of a JSON request names.
func (m *Model) Targeted(r *http.Request) (*Operation, error) {
	if name, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), m.TargetPrefix+"."); ok {
		if op := m.Operation(name); op != nil {
			return op, nil
		}
	}
	return nil, &Error{Code: "UnknownOperationException", Status: 400}
}

// serialization is what AWS says of a body that is not the JSON it expects.
func serialization(text string) error {
	return Errorf(400, "SerializationException", "%s", text)
}

func decodeJSON(m *Model, body []byte, in any, check bool) error {
	d := &jsonReader{}
	d.faults.quiet = m.Quiet
	v := reflect.ValueOf(in).Elem()
	if err := d.document(body, planOf(v.Type()), v); err != nil {
		return err
	}
	if !check {
		return nil
	}
	if m.Reasons != "" {
		return d.faults.first(m.Reasons)
	}
	return d.invalid()
}

// maxJSONDepth is how deep structures may stand in each other: DynamoDB takes items 32 deep.
const maxJSONDepth = 48

// A jsonReader reads one document into structs. Members that the model does not have are
// passed over, as AWS does; a member given twice is refused.
type jsonReader struct {
	jsontext.Decoder
	faults faults
	depth  int
	record bool // names and times are those of records
}

// begin begins to read a document, and reports whether it is an object.
func (d *jsonReader) begin(document []byte) bool {
	d.Reset(bytes.NewBuffer(document), jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
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
	var seen, given fieldSet
	for d.more() {
		name, err := d.name()
		if err != nil {
			return err
		}
		i, ok := p.byWire[name]
		if d.record {
			i, ok = p.byRecord(name)
		}
		if !ok {
			if err := d.skip(); err != nil {
				return err
			}
			continue
		}
		if given.has(i) {
			return serialization("The member " + name + " is given twice.")
		}
		given.add(i)
		f := &p.fields[i]
		present, err := d.value(&f.value, s.Field(f.index), &trail{up: path, label: f.label})
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

// name reads the name of a member.
func (d *jsonReader) name() (string, error) {
	token, err := d.ReadToken()
	if err != nil || token.Kind() != '"' {
		return "", serialization("A member's name was expected.")
	}
	return token.String(), nil
}

// skip passes over a value.
func (d *jsonReader) skip() error {
	if err := d.SkipValue(); err != nil {
		return serialization("A value was expected.")
	}
	return nil
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
			present, err := d.value(t.elem, e, &trail{path.up, path.label, uint64(v.Len() + 1), "member"})
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
			k := reflect.ValueOf(key)
			if v.MapIndex(k).IsValid() {
				return false, serialization("The member " + key + " is given twice.")
			}
			e := reflect.New(v.Type().Elem()).Elem()
			present, err := d.value(t.elem, e, &trail{path.up, path.label, uint64(v.Len() + 1), "value"})
			if err != nil {
				return false, err
			}
			if !present {
				return wrong()
			}
			v.SetMapIndex(k, e)
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
