package wire

import (
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"
)

// kind is what a value is on the wire.
type kind uint8

const (
	kindString kind = iota
	kindInt
	kindFloat
	kindBool
	kindTime
	kindBlob
	kindStream
	kindStruct
	kindList
	kindMap
)

// place is where a member travels.
type place uint8

const (
	inBody place = iota
	inHeader
	inHeaders // every header with a prefix
	inQuery
	inURI
	inPayload // the whole body
	inStatus
)

// A plan is a struct's tags, read once for each type.
type plan struct {
	typ    reflect.Type
	fields []field
	byWire map[string]int // members of the body by wire name, or by form where that differs
	// payload is the index of the payload member or -1; text that of the member
	// which is the root's own text; body says that members travel in the body.
	payload, text int
	body          bool
}

// A value is a type on the wire.
type value struct {
	kind    kind
	pointer bool
	typ     reflect.Type // without pointer
	plan    *plan        // of a structure
	elem    *value       // of a list or map
	time    timeFormat
	check   *check // nil: nothing is demanded
}

// A field is a member of a structure.
type field struct {
	value
	index  int
	name   string // the member's, which is the Go field's: "RoleName"
	label  string // in messages: "roleName"
	record string // in records, where it is the label but for a few
	wire   string // "RoleName"
	form   string // in forms, where it is wire but for EC2's: "Key" of <key>
	// header is wire as net/http keeps it, so that it is found without being folded.
	header string

	place      place
	flat       bool
	item       string // list element: "member"
	key, val   string // map entry
	attr       bool
	required   bool
	always     bool
	sensitive  bool
	missing    bool
	encoded    bool
	open, shut string // "<RoleName>", "</RoleName>"
}

// plans are read from types, which do not change: a cache, as in encoding/json.
var plans sync.Map // reflect.Type -> *plan

// planOf returns the plan of a struct type. A tag that cannot be read panics: the
// generator wrote it.
func planOf(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	made := map[reflect.Type]*plan{}
	p := makePlan(t, made)
	for t, p := range made {
		plans.LoadOrStore(t, p)
	}
	return p
}

// byRecord finds a member by its name in records.
func (p *plan) byRecord(name string) (int, bool) {
	for i := range p.fields {
		if f := &p.fields[i]; f.record == name && f.kind != kindStream && f.kind != kindBlob {
			return i, true
		}
	}
	return 0, false
}

func makePlan(t reflect.Type, made map[reflect.Type]*plan) *plan {
	if p := made[t]; p != nil {
		return p
	}
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	if t.Kind() != reflect.Struct {
		panic(fmt.Sprintf("wire: %v is not a struct", t))
	}
	p := &plan{typ: t, byWire: map[string]int{}, payload: -1, text: -1}
	made[t] = p
	for i := range t.NumField() {
		sf := t.Field(i)
		if !sf.IsExported() {
			panic(fmt.Sprintf("wire: %v.%s is not exported", t, sf.Name))
		}
		f := field{index: i, name: sf.Name, label: lowerFirst(sf.Name), record: lowerFirst(sf.Name), item: "member", key: "key", val: "value"}
		name, options, _ := strings.Cut(sf.Tag.Get("wire"), ",")
		if name == "" {
			name = sf.Name
		}
		f.wire, f.form = name, name
		var text bool
		for option := range strings.SplitSeq(options, ",") {
			option, arg, _ := strings.Cut(option, "=")
			switch option {
			case "":
			case "header":
				f.place, f.header = inHeader, http.CanonicalHeaderKey(f.wire)
			case "form":
				f.form, f.label = arg, lowerFirst(arg)
			case "record":
				f.record = arg
			case "headers":
				f.place = inHeaders
			case "query":
				f.place = inQuery
			case "uri":
				f.place = inURI
			case "payload":
				f.place = inPayload
			case "status":
				f.place = inStatus
			case "flat":
				f.flat = true
			case "member":
				f.item = arg
			case "key":
				f.key = arg
			case "value":
				f.val = arg
			case "attr":
				f.attr = true
			case "text":
				text = true
			case "time":
				f.time = map[string]timeFormat{"iso8601": timeISO, "rfc822": timeHTTP, "unixTimestamp": timeUnix}[arg]
			case "req":
				f.required = true
			case "always":
				f.always = true
			case "sensitive":
				f.sensitive = true
			case "missing":
				f.missing = true
			case "encoded":
				f.encoded = true
			default:
				panic(fmt.Sprintf("wire: %v.%s: option %q is not known", t, sf.Name, option))
			}
		}
		format := f.time
		f.value = makeValue(sf.Type, made)
		f.setTime(format)
		f.check = makeCheck(sf.Tag, "", f.kind)
		if f.kind == kindList {
			f.elem.check = makeCheck(sf.Tag, "e", f.elem.kind)
			if f.elem.check != nil && sf.Tag.Get("enotnull") != "" {
				f.elem.check.notNull = true
			}
		}
		f.open, f.shut = "<"+f.wire+">", "</"+f.wire+">"
		switch f.place {
		case inPayload:
			p.payload = len(p.fields)
		case inBody:
			p.body = true
			p.byWire[f.form] = len(p.fields)
		}
		if text {
			p.text = len(p.fields)
		}
		p.fields = append(p.fields, f)
	}
	if len(p.fields) > maxFields {
		panic(fmt.Sprintf("wire: %v has more than %d members", t, maxFields))
	}
	return p
}

func makeValue(t reflect.Type, made map[reflect.Type]*plan) value {
	v := value{typ: t}
	if t.Kind() == reflect.Pointer {
		v.pointer, v.typ = true, t.Elem()
	}
	switch {
	case v.typ == reflect.TypeFor[time.Time]():
		v.kind = kindTime
	case v.typ.Kind() == reflect.Interface:
		v.kind = kindStream
	case v.typ.Kind() == reflect.String:
		v.kind = kindString
	case v.typ.Kind() == reflect.Int32 || v.typ.Kind() == reflect.Int64:
		v.kind = kindInt
	case v.typ.Kind() == reflect.Float64:
		v.kind = kindFloat
	case v.typ.Kind() == reflect.Bool:
		v.kind = kindBool
	case v.typ.Kind() == reflect.Struct:
		v.kind = kindStruct
		v.plan = makePlan(v.typ, made)
	case v.typ.Kind() == reflect.Slice && v.typ.Elem().Kind() == reflect.Uint8:
		v.kind = kindBlob
	case v.typ.Kind() == reflect.Slice:
		v.kind = kindList
		e := makeValue(v.typ.Elem(), made)
		v.elem = &e
	case v.typ.Kind() == reflect.Map:
		v.kind = kindMap
		e := makeValue(v.typ.Elem(), made)
		v.elem = &e
	default:
		panic(fmt.Sprintf("wire: %v has no form on the wire", t))
	}
	return v
}

// setTime gives a timestamp, or the timestamps of a list, their format.
func (v *value) setTime(f timeFormat) {
	v.time = f
	if v.elem != nil {
		v.elem.setTime(f)
	}
}

// skimmed reports whether SkimJSON passes over the member.
func (f *field) skimmed() bool { return f.sensitive && f.kind == kindMap }

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

// maxFields is how many members a struct may have, so that a presence set is one value.
const maxFields = 128

// A fieldSet is a set of fields of one struct.
type fieldSet [maxFields / 64]uint64

func (s *fieldSet) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s *fieldSet) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

// get returns the value of a field, through its pointer; absent reports that nothing
// is to be written: nil, or zero where zero is not written.
func (f *field) get(s reflect.Value) (v reflect.Value, absent bool) {
	v = s.Field(f.index)
	if f.pointer {
		return v.Elem(), v.IsNil()
	}
	switch f.kind {
	case kindList, kindMap:
		return v, v.IsNil() && !f.required
	case kindBlob, kindStream:
		return v, v.IsNil()
	case kindTime:
		return v, timeOf(v).IsZero()
	case kindStruct:
		return v, false
	}
	return v, !f.required && !f.always && v.IsZero()
}

// timeOf returns a time without making a copy on the heap.
func timeOf(v reflect.Value) time.Time {
	if v.CanAddr() {
		return *v.Addr().Interface().(*time.Time)
	}
	return v.Interface().(time.Time)
}

// timeFormat is how a timestamp is written. The zero value is the default of the
// protocol and place.
type timeFormat uint8

const (
	timeDefault timeFormat = iota
	timeISO                // 2026-02-24T15:23:21Z
	timeHTTP               // Tue, 24 Feb 2026 15:23:21 GMT
	timeUnix               // 1771946601
)

func (f timeFormat) or(other timeFormat) timeFormat {
	if f == timeDefault {
		return other
	}
	return f
}

const httpTime = "Mon, 02 Jan 2006 15:04:05 GMT"

// appendTime writes a time. layout is that of timeISO, which differs: seconds in the
// Query protocol, milliseconds in S3's documents.
func appendTime(dst []byte, t time.Time, f timeFormat, layout string) []byte {
	t = t.UTC()
	switch f {
	case timeHTTP:
		return t.AppendFormat(dst, httpTime)
	case timeUnix:
		dst = strconv.AppendInt(dst, t.Unix(), 10)
		if ms := t.Nanosecond() / 1e6; ms != 0 {
			dst = append(dst, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
		}
		return dst
	}
	return t.AppendFormat(dst, layout)
}

const (
	isoSeconds = "2006-01-02T15:04:05Z"
	isoMillis  = "2006-01-02T15:04:05.000Z"
)

// parseTime reads a timestamp in any of the formats: clients differ from the model.
func parseTime(s string) (time.Time, bool) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t.UTC(), lawful(t)
	}
	for _, layout := range []string{httpTime, "2006-01-02T15:04:05", "2006-01-02", "20060102T150405Z", time.RFC850, time.ANSIC} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), lawful(t)
		}
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && f > -1e11 && f < 1e11 {
		sec := int64(f)
		t := time.Unix(sec, int64((f-float64(sec))*1e9)).UTC()
		return t, lawful(t)
	}
	return time.Time{}, false
}

// lawful says that a time has four digits of year, which every format and JSON need.
func lawful(t time.Time) bool { y := t.UTC().Year(); return y >= 1 && y <= 9999 }
