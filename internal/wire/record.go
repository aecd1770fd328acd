package wire

import (
	"encoding/base64"
	"math"
	"reflect"
	"strconv"
)

// JSONOptions say how AppendJSON writes. The zero value is the form of CloudTrail records.
type JSONOptions struct {
	// Wire is the form of the JSON protocols: names as on the wire, times as numbers,
	// blobs and sensitive members included.
	Wire bool
}

// recordTime is how CloudTrail prints times inside requestParameters and responseElements.
const recordTime = "Jan 2, 2006, 3:04:05 PM"

// AppendJSON writes an input or output, or a pointer to one, as a JSON object. In a record
// names begin with a small letter (roleName), what is absent or zero on the wire is left out,
// and so are sensitive members, blobs and streams. A nil pointer is null.
func AppendJSON(dst []byte, v any, opt JSONOptions) []byte {
	s := reflect.ValueOf(v)
	if s.Kind() == reflect.Pointer {
		if s.IsNil() {
			return append(dst, "null"...)
		}
		s = s.Elem()
	}
	if !s.IsValid() {
		return append(dst, "null"...)
	}
	return appendObject(dst, planOf(s.Type()), s, opt)
}

// ReadRecord fills an input, given as a pointer, from what a record has of it: it is
// the inverse of AppendJSON, as far as records go. Members that the input does not
// have are passed over. It is an error if what is there is not of the member's type,
// or if a member is missing that records have, or is none that a request could have had.
func ReadRecord(record []byte, in any) error {
	d := newJSONReader()
	defer d.release()
	d.record = true
	if !d.begin(record) {
		return serialization("The parameters of a record are an object.")
	}
	v := reflect.ValueOf(in).Elem()
	if err := d.structure(planOf(v.Type()), v, nil); err != nil {
		return err
	}
	return d.faults.err()
}

func appendObject(dst []byte, p *plan, s reflect.Value, opt JSONOptions) []byte {
	dst = append(dst, '{')
	first := true
	for i := range p.fields {
		f := &p.fields[i]
		if f.kind == kindStream || !opt.Wire && (f.sensitive || f.kind == kindBlob) || opt.Wire && f.place != inBody {
			continue
		}
		v, absent := f.get(s)
		if absent {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(dst, '"')
		if opt.Wire {
			dst = append(dst, f.wire...)
		} else {
			dst = append(dst, f.record...)
		}
		dst = append(dst, '"', ':')
		if f.encoded && !opt.Wire {
			dst = append(dst, '"')
			dst = appendPercent(dst, v.String())
			dst = append(dst, '"')
			continue
		}
		dst = appendJSONValue(dst, &f.value, v, opt)
	}
	return append(dst, '}')
}

func appendJSONValue(dst []byte, t *value, v reflect.Value, opt JSONOptions) []byte {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return append(dst, "null"...)
		}
		v = v.Elem()
	}
	switch t.kind {
	case kindString:
		return AppendJSONString(dst, v.String())
	case kindInt:
		return strconv.AppendInt(dst, v.Int(), 10)
	case kindFloat:
		f := v.Float()
		switch {
		case math.IsNaN(f):
			return append(dst, `"NaN"`...)
		case math.IsInf(f, 1):
			return append(dst, `"Infinity"`...)
		case math.IsInf(f, -1):
			return append(dst, `"-Infinity"`...)
		}
		return strconv.AppendFloat(dst, f, 'g', -1, 64)
	case kindBool:
		return strconv.AppendBool(dst, v.Bool())
	case kindTime:
		tm := timeOf(v)
		format := timeUnix
		if opt.Wire {
			format = t.time.or(timeUnix)
		}
		if opt.Wire && format == timeUnix {
			return appendTime(dst, tm, timeUnix, "")
		}
		dst = append(dst, '"')
		if opt.Wire {
			dst = appendTime(dst, tm, format, isoMillis)
		} else {
			dst = tm.UTC().AppendFormat(dst, recordTime)
		}
		return append(dst, '"')
	case kindBlob:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, v.Bytes())
		return append(dst, '"')
	case kindStruct:
		return appendObject(dst, t.plan, v, opt)
	case kindList:
		dst = append(dst, '[')
		for i := range v.Len() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSONValue(dst, t.elem, v.Index(i), opt)
		}
		return append(dst, ']')
	case kindMap:
		dst = append(dst, '{')
		for i, k := range sortedKeys(v) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendJSONString(dst, k)
			dst = append(dst, ':')
			dst = appendJSONValue(dst, t.elem, v.MapIndex(reflect.ValueOf(k).Convert(v.Type().Key())), opt)
		}
		return append(dst, '}')
	}
	return append(dst, "null"...)
}
