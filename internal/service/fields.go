package service

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// A getter reads one field of an input as text and reports whether it is there:
// a text that is not empty, a pointer that is not nil.
type getter func(in any) (string, bool)

// fieldOf finds a field by path ("Tags", "CreateBucketConfiguration.LocationConstraint").
func fieldOf(in reflect.Type, path string) getter {
	at := index(in, path)
	return func(in any) (string, bool) {
		v, ok := follow(reflect.ValueOf(in).Elem(), at)
		if !ok {
			return "", false
		}
		switch v.Kind() {
		case reflect.String:
			return v.String(), v.Len() > 0
		case reflect.Int32, reflect.Int64, reflect.Int:
			return strconv.FormatInt(v.Int(), 10), true
		case reflect.Bool:
			return strconv.FormatBool(v.Bool()), true
		}
		return "", false
	}
}

// presentOf reports whether a field of any kind is there.
func presentOf(in reflect.Type, path string) func(any) bool {
	at := index(in, path)
	return func(in any) bool {
		v, ok := follow(reflect.ValueOf(in).Elem(), at)
		return ok && !v.IsZero()
	}
}

func index(in reflect.Type, path string) []int {
	var at []int
	t := in
	for name := range strings.SplitSeq(path, ".") {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		f, ok := t.FieldByName(name)
		if !ok {
			panic(fmt.Sprintf("service: %v has no field %s", in, path))
		}
		at = append(at, f.Index[0])
		t = f.Type
	}
	return at
}

func follow(v reflect.Value, at []int) (reflect.Value, bool) {
	for _, i := range at {
		v = v.Field(i)
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return v, false
			}
			v = v.Elem()
		}
	}
	return v, true
}

// tagsOf reads a list of {Key, Value} or of keys.
func tagsOf(in reflect.Type, path string) func(any) []KeyValue {
	at := index(in, path)
	return func(in any) []KeyValue {
		v, ok := follow(reflect.ValueOf(in).Elem(), at)
		if !ok || v.Kind() != reflect.Slice {
			return nil
		}
		tags := make([]KeyValue, v.Len())
		for i := range tags {
			switch e := reflect.Indirect(v.Index(i)); e.Kind() {
			case reflect.String:
				tags[i].Key = e.String()
			case reflect.Struct:
				tags[i] = KeyValue{reflect.Indirect(e.FieldByName("Key")).String(), reflect.Indirect(e.FieldByName("Value")).String()}
			}
		}
		return tags
	}
}

// A template is text with {Field}s in it.
type template []part

type part struct {
	text string
	get  func(*Call, any) (string, bool)
}

func parseTemplate(in reflect.Type, s string) template {
	var t template
	for s != "" {
		before, rest, found := strings.Cut(s, "{")
		if before != "" {
			t = append(t, part{text: before})
		}
		if !found {
			break
		}
		name, after, found := strings.Cut(rest, "}")
		if !found {
			panic("service: template " + s + " has no }")
		}
		switch name {
		case "account":
			t = append(t, part{get: func(c *Call, _ any) (string, bool) { return c.Account, true }})
		case "region":
			t = append(t, part{get: func(c *Call, _ any) (string, bool) { return c.Region, true }})
		default:
			get := fieldOf(in, name)
			t = append(t, part{get: func(_ *Call, in any) (string, bool) { return get(in) }})
		}
		s = after
	}
	return t
}

// expand fills the template in; it reports false when a field is absent.
func (t template) expand(c *Call, in any) (string, bool) {
	if len(t) == 1 && t[0].get != nil {
		return t[0].get(c, in)
	}
	var b strings.Builder
	all := true
	for _, p := range t {
		if p.get == nil {
			b.WriteString(p.text)
			continue
		}
		text, ok := p.get(c, in)
		all = all && ok
		b.WriteString(text)
	}
	return b.String(), all
}
