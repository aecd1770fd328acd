package wire

import (
	"bytes"
	"encoding/xml"
	"reflect"
	"strings"
)

// DecodeUnchecked reads a form and leaves out the constraints.
func DecodeUnchecked(body []byte, in any) error {
	f := new(form)
	if err := parseForm(f, body); err != nil {
		return err
	}
	v := reflect.ValueOf(in).Elem()
	return f.structure(planOf(v.Type()), v, 0, int32(len(f.pairs)), 0, nil)
}

// DecodeUncheckedEC2 is DecodeUnchecked by EC2's rules.
func DecodeUncheckedEC2(body []byte, in any) error {
	f := &form{ec2: true}
	if err := parseForm(f, body); err != nil {
		return err
	}
	v := reflect.ValueOf(in).Elem()
	return f.structure(planOf(v.Type()), v, 0, int32(len(f.pairs)), 0, nil)
}

// AppendBody writes a structure as a document of the given root.
func AppendBody(m *Model, root string, v any) []byte {
	s := reflect.ValueOf(v).Elem()
	return appendDocument(nil, m, root, planOf(s.Type()), s)
}

// ParseBody reads a document into a structure.
func ParseBody(body []byte, v any) error {
	s := reflect.ValueOf(v).Elem()
	return parseXML(body, func(d *xmlReader, start xml.StartElement) error {
		return d.structure(planOf(s.Type()), s, start)
	})
}

// WellFormed says that a document can be read to its end.
func WellFormed(doc []byte) error {
	d := xml.NewDecoder(bytes.NewReader(doc))
	for {
		if _, err := d.Token(); err != nil {
			if err.Error() == "EOF" {
				return nil
			}
			return err
		}
	}
}

// Possible returns every text that can be said of the member of an input at a path such as
// "tags.1.member.key".
func Possible(in reflect.Type, path string, quiet bool) []string {
	p := planOf(in)
	parts := strings.Split(path, ".")
	for i := 0; i < len(parts); i++ {
		for j := range p.fields {
			f := &p.fields[j]
			if f.label != parts[i] {
				continue
			}
			if i+2 < len(parts) && f.kind == kindList && f.elem.kind == kindStruct {
				p = f.elem.plan
				i += 2
				break
			}
			return f.possible(quiet)
		}
	}
	return nil
}

func (f *field) possible(quiet bool) []string {
	fs := faults{quiet: quiet}
	if c := f.check; c != nil {
		for _, s := range []string{"", strings.Repeat("\x00", 1<<18)} {
			if f.kind == kindString {
				fs.text(nil, f, s)
			}
		}
		fs.count(nil, f, 1<<30)
		fs.number(nil, f, 1<<40)
		fs.number(nil, f, -1<<40)
	}
	if f.kind == kindList && f.elem.kind == kindString {
		fs.elements(nil, f, reflect.ValueOf([]string{strings.Repeat("\x00", 1<<18)}))
	}
	if f.required {
		fs.null(nil, f)
	}
	var texts []string
	for _, x := range fs.list {
		texts = append(texts, x.text)
	}
	return texts
}
