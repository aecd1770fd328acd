package wire

import (
	"encoding/base64"
	"math"
	"reflect"
	"slices"
	"strconv"
	"unicode/utf8"
)

// appendMembers writes the members of a structure that travel in the body. layout is
// that of timestamps.
func appendMembers(dst []byte, p *plan, s reflect.Value, layout string) []byte {
	for i := range p.fields {
		if f := &p.fields[i]; f.place == inBody && !f.attr {
			dst = appendMember(dst, f, s, layout)
		}
	}
	return dst
}

func appendMember(dst []byte, f *field, s reflect.Value, layout string) []byte {
	v, absent := f.get(s)
	if absent {
		return dst
	}
	switch f.kind {
	case kindList:
		if f.flat {
			for i := range v.Len() {
				dst = appendElement(dst, f.wire, f.elem, v.Index(i), layout)
			}
			return dst
		}
		dst = append(dst, f.open...)
		for i := range v.Len() {
			dst = appendElement(dst, f.item, f.elem, v.Index(i), layout)
		}
	case kindMap:
		if !f.flat {
			dst = append(dst, f.open...)
		}
		for _, k := range sortedKeys(v) {
			name := "entry"
			if f.flat {
				name = f.wire
			}
			dst = append(append(append(dst, '<'), name...), '>')
			dst = append(append(append(dst, '<'), f.key...), '>')
			dst = appendText(dst, k)
			dst = append(append(append(dst, '<', '/'), f.key...), '>')
			dst = appendElement(dst, f.val, f.elem, v.MapIndex(reflect.ValueOf(k).Convert(v.Type().Key())), layout)
			dst = append(append(append(dst, '<', '/'), name...), '>')
		}
		if f.flat {
			return dst
		}
	case kindStruct:
		return appendElement(dst, f.wire, &f.value, v, layout)
	case kindString:
		dst = append(dst, f.open...)
		if f.encoded {
			dst = appendPercent(dst, v.String())
		} else {
			dst = appendText(dst, v.String())
		}
	default:
		dst = append(dst, f.open...)
		dst = appendScalar(dst, &f.value, v, layout)
	}
	return append(dst, f.shut...)
}

// appendElement writes <name>value</name>. A structure's attributes go into the tag.
func appendElement(dst []byte, name string, t *value, v reflect.Value, layout string) []byte {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return dst
		}
		v = v.Elem()
	}
	dst = append(append(dst, '<'), name...)
	if t.kind == kindStruct {
		for i := range t.plan.fields {
			f := &t.plan.fields[i]
			a, absent := f.get(v)
			if !f.attr || absent {
				continue
			}
			if len(f.wire) > 4 && f.wire[:4] == "xsi:" {
				dst = append(dst, ` xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"`...)
			}
			dst = append(append(append(dst, ' '), f.wire...), '=', '"')
			dst = appendScalar(dst, &f.value, a, layout)
			dst = append(dst, '"')
		}
		dst = append(dst, '>')
		dst = appendMembers(dst, t.plan, v, layout)
	} else {
		dst = append(dst, '>')
		dst = appendScalar(dst, t, v, layout)
	}
	return append(append(append(dst, '<', '/'), name...), '>')
}

func appendScalar(dst []byte, t *value, v reflect.Value, layout string) []byte {
	switch t.kind {
	case kindString:
		return appendText(dst, v.String())
	case kindInt:
		return strconv.AppendInt(dst, v.Int(), 10)
	case kindFloat:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			return append(dst, "NaN"...)
		}
		return strconv.AppendFloat(dst, v.Float(), 'g', -1, 64)
	case kindBool:
		return strconv.AppendBool(dst, v.Bool())
	case kindTime:
		return appendTime(dst, timeOf(v), t.time, layout)
	case kindBlob:
		return base64.StdEncoding.AppendEncode(dst, v.Bytes())
	}
	return dst
}

func sortedKeys(m reflect.Value) []string {
	keys := make([]string, 0, m.Len())
	for _, k := range m.MapKeys() {
		keys = append(keys, k.String())
	}
	slices.Sort(keys)
	return keys
}

// appendFields writes the further elements of an error document.
func appendFields(dst []byte, fields []Field) []byte {
	for _, f := range fields {
		dst = append(append(append(dst, '<'), f.Name...), '>')
		dst = appendText(dst, f.Value)
		dst = append(append(append(dst, '<', '/'), f.Name...), '>')
	}
	return dst
}

// appendText writes characters of an XML document. What XML cannot hold becomes U+FFFD.
func appendText(dst []byte, s string) []byte {
	done := 0
	for i := 0; i < len(s); {
		c := s[i]
		if asItIs[c] {
			i++
			continue
		}
		n := 1
		var with string
		switch c {
		case '&':
			with = "&amp;"
		case '<':
			with = "&lt;"
		case '>':
			with = "&gt;"
		case '"':
			with = "&quot;"
		case '\r':
			with = "&#13;"
		default:
			with = "\uFFFD"
			if c >= utf8.RuneSelf {
				var r rune
				r, n = utf8.DecodeRuneInString(s[i:])
				if (r != utf8.RuneError || n > 1) && r != 0xFFFE && r != 0xFFFF {
					i += n
					continue
				}
			}
		}
		dst = append(dst, s[done:i]...)
		dst = append(dst, with...)
		i += n
		done = i
	}
	return append(dst, s[done:]...)
}

// asItIs has the bytes that stand for themselves in an XML document.
var asItIs = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '&' && c != '<' && c != '>' && c != '"'
	}
	t['\t'], t['\n'] = true, true
	return t
}()

// appendPercent writes s with everything escaped that RFC 3986 does not leave alone.
func appendPercent(dst []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	n := len(dst)
	dst = slices.Grow(dst, 3*len(s))[:n+3*len(s)]
	for i := range len(s) {
		c := s[i]
		if unreserved[c] {
			dst[n] = c
			n++
		} else {
			dst[n], dst[n+1], dst[n+2] = '%', hex[c>>4], hex[c&15]
			n += 3
		}
	}
	return dst[:n]
}

var unreserved = func() (t [256]bool) {
	for c := range t {
		t[c] = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.' || c == '~'
	}
	return t
}()
