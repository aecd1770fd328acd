package awstest

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/url"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	dynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// setParameter sets the value that a path leads to, in a pointer to an SDK input.
func setParameter(in any, path, text string) error {
	v := reflect.ValueOf(in).Elem()
	at := path
	for step := range strings.SplitSeq(path, ".") {
		for v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		switch v.Kind() {
		case reflect.Struct:
			f := v.FieldByName(step)
			if !f.IsValid() || !f.CanSet() {
				return fmt.Errorf("%s has no parameter %s; it has %s", v.Type().Name(), step, strings.Join(fieldNames(v.Type()), ", "))
			}
			v = f
		case reflect.Slice:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i > v.Len() {
				return fmt.Errorf("%s: %s is not the index of one that is there or comes next", path, step)
			}
			if i == v.Len() {
				v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
			}
			v = v.Index(i)
		case reflect.Map: // the rest of the path is the key, which may hold dots
			_, key, _ := strings.Cut(path, ".")
			if v.IsNil() {
				v.Set(reflect.MakeMap(v.Type()))
			}
			value := reflect.New(v.Type().Elem()).Elem()
			if err := setValue(value, text); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), value)
			return nil
		default:
			return fmt.Errorf("%s: %s has no parts", path, at)
		}
	}
	if err := setValue(v, text); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func fieldNames(t reflect.Type) []string {
	var names []string
	for f := range t.Fields() {
		if f.IsExported() && f.Name != "ResultMetadata" {
			names = append(names, f.Name)
		}
	}
	return names
}

var (
	timeType   = reflect.TypeFor[time.Time]()
	readerType = reflect.TypeFor[io.Reader]()
)

func setValue(v reflect.Value, text string) error {
	switch {
	case v.Type() == readerType:
		v.Set(reflect.ValueOf(strings.NewReader(text)))
		return nil
	case v.Type() == timeType:
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return fmt.Errorf("%q is not a time such as 2026-01-02T15:04:05Z", text)
		}
		v.Set(reflect.ValueOf(at))
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return setValue(v.Elem(), text)
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		v.SetBool(b)
	case reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("%q is not a number", text)
		}
		v.SetInt(n)
	case reflect.Float32, reflect.Float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%q is not a number", text)
		}
		v.SetFloat(n)
	default:
		if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(text))
			return nil
		}
		if err := setJSON(v, json.RawMessage(text)); err != nil {
			return fmt.Errorf("%q is not JSON for it: %w", text, err)
		}
	}
	return nil
}

// setJSON sets a value from JSON as json.Unmarshal does, without unknown members, and
// knows DynamoDB's attribute values, {"S": "text"}, which the SDK has as an interface.
func setJSON(v reflect.Value, text json.RawMessage) error {
	switch {
	case v.Type() == reflect.TypeFor[dynamodb.AttributeValue]():
		value, err := attributevalue.UnmarshalJSON(text)
		if err != nil {
			return err
		}
		v.Set(reflect.ValueOf(value))
		return nil
	case v.Kind() == reflect.Pointer && string(text) != "null":
		v.Set(reflect.New(v.Type().Elem()))
		return setJSON(v.Elem(), text)
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8:
		var items []json.RawMessage
		if err := json.Unmarshal(text, &items); err != nil {
			return err
		}
		v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
		for i := range items {
			if err := setJSON(v.Index(i), items[i]); err != nil {
				return err
			}
		}
		return nil
	case v.Kind() == reflect.Map, v.Kind() == reflect.Struct && v.Type() != timeType:
		var members map[string]json.RawMessage
		if err := json.Unmarshal(text, &members); err != nil {
			return err
		}
		if v.Kind() == reflect.Map {
			v.Set(reflect.MakeMap(v.Type()))
		}
		for name, member := range members {
			if v.Kind() == reflect.Map {
				e := reflect.New(v.Type().Elem()).Elem()
				if err := setJSON(e, member); err != nil {
					return err
				}
				v.SetMapIndex(reflect.ValueOf(name).Convert(v.Type().Key()), e)
				continue
			}
			f := v.FieldByNameFunc(func(is string) bool { return strings.EqualFold(is, name) })
			if !f.IsValid() || !f.CanSet() {
				return fmt.Errorf("%s has no member %s; it has %s", v.Type().Name(), name, strings.Join(fieldNames(v.Type()), ", "))
			}
			if err := setJSON(f, member); err != nil {
				return err
			}
		}
		return nil
	}
	return json.Unmarshal(text, v.Addr().Interface())
}

// An output is what an operation answered: values by path, in order.
type output []pair

type pair struct{ path, value string }

func (o output) String() string {
	var b strings.Builder
	for _, p := range o {
		b.WriteString(p.path + "=" + p.value + "\n")
	}
	return b.String()
}

// get returns the value at a path.
func (o output) get(path string) (string, bool) {
	i := slices.IndexFunc(o, func(p pair) bool { return p.path == path })
	if i < 0 {
		return "", false
	}
	return o[i].value, true
}

// flatten makes an output of an SDK output or decoded JSON. Streams are read.
func flatten(v any) (output, error) {
	var o output
	err := o.add("", reflect.ValueOf(v))
	return o, err
}

func (o *output) add(path string, v reflect.Value) error {
	if !v.IsValid() {
		return nil
	}
	switch {
	case v.Type() == timeType:
		*o = append(*o, pair{path, v.Interface().(time.Time).UTC().Format(time.RFC3339)})
		return nil
	case v.Type().Implements(readerType) && (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface):
		if v.IsNil() {
			return nil
		}
		text, err := io.ReadAll(v.Interface().(io.Reader))
		if c, ok := v.Interface().(io.Closer); ok {
			c.Close()
		}
		*o = append(*o, pair{path, printable(text)})
		return err
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return o.add(path, v.Elem())
	case reflect.Struct:
		for f, value := range v.Fields() {
			if !f.IsExported() || f.Name == "ResultMetadata" {
				continue
			}
			if err := o.add(join(path, f.Name), value); err != nil {
				return err
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			if v.Len() > 0 {
				*o = append(*o, pair{path, printable(v.Bytes())})
			}
			return nil
		}
		for i := range v.Len() {
			if err := o.add(join(path, strconv.Itoa(i)), v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		keys := v.MapKeys()
		sort.Slice(keys, func(i, j int) bool { return keys[i].String() < keys[j].String() })
		for _, k := range keys {
			if err := o.add(join(path, k.String()), v.MapIndex(k)); err != nil {
				return err
			}
		}
	case reflect.String:
		text := v.String()
		if text == "" && v.Type() != reflect.TypeFor[string]() {
			return nil // an enumeration that is absent
		}
		if strings.HasSuffix(path, "Document") { // IAM shows documents percent-encoded
			if decoded, err := url.PathUnescape(text); err == nil {
				text = decoded
			}
		}
		*o = append(*o, pair{path, text})
	default:
		*o = append(*o, pair{path, fmt.Sprint(v.Interface())})
	}
	return nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func printable(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return strconv.Quote(string(b))
}

// elements lists the elements of an answer of the Query protocol, below its Result: a
// line PATH=VALUE for each that has no elements in it. Members of lists are counted,
// entries of maps are named by their keys.
func elements(body []byte) (output []string, err error) {
	type element struct {
		XMLName  xml.Name
		Text     string    `xml:",chardata"`
		Elements []element `xml:",any"`
	}
	var walk func(path string, e element)
	walk = func(path string, e element) {
		if len(e.Elements) == 0 && path != "" {
			if strings.HasSuffix(path, "Document") { // shown percent-encoded
				if decoded, err := url.PathUnescape(e.Text); err == nil {
					e.Text = decoded
				}
			}
			output = append(output, path+"="+e.Text)
		}
		for i, c := range e.Elements {
			switch name := c.XMLName.Local; {
			case name == "member":
				walk(join(path, strconv.Itoa(i)), c)
			case name == "entry" && len(c.Elements) == 2 && c.Elements[0].XMLName.Local == "key":
				walk(join(path, c.Elements[0].Text), c.Elements[1])
			default:
				walk(join(path, name), c)
			}
		}
	}
	var answer element
	if err := xml.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("the answer is not XML: %w", err)
	}
	for _, e := range answer.Elements {
		if strings.HasSuffix(e.XMLName.Local, "Result") {
			walk("", e)
		}
	}
	return output, nil
}
