// Package ec2form is EC2's wire as a client has it: an input as a form, an answer read
// from XML. The SDK's client of EC2 is larger than all others together, so that our
// clients, the tour and the tests, take the structs of aws/ec2/api in its place.
//
//	form := ec2form.Values(&api.DescribeImagesInput{Owners: []string{"amazon"}})
//	form.Set("Action", "DescribeImages")
//	...
//	err := ec2form.Read(body, &api.DescribeImagesOutput{})
package ec2form

import (
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Values is an input as a form, without its Action and Version.
func Values(in any) url.Values {
	form := url.Values{}
	write(form, "", reflect.ValueOf(in))
	return form
}

func write(form url.Values, name string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			write(form, name, v.Elem())
		}
	case reflect.Struct:
		for f, value := range v.Fields() {
			member := f.Name
			for option := range strings.SplitSeq(f.Tag.Get("wire"), ",") {
				if as, ok := strings.CutPrefix(option, "form="); ok {
					member = as
				}
			}
			if !value.IsZero() {
				write(form, below(name, member), value)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			form.Set(name, base64.StdEncoding.EncodeToString(v.Bytes()))
			return
		}
		for i := range v.Len() {
			write(form, below(name, strconv.Itoa(i+1)), v.Index(i))
		}
	default:
		form.Set(name, fmt.Sprint(v.Interface()))
	}
}

func below(name, member string) string {
	if name == "" {
		return member
	}
	return name + "." + member
}

// An element is one of an answer.
type element struct {
	XMLName  xml.Name
	Text     string    `xml:",chardata"`
	Children []element `xml:",any"`
}

// Read fills an output from the XML of an answer. What the output has no member for is
// passed over.
func Read(body []byte, out any) error {
	var root element
	if err := xml.Unmarshal(body, &root); err != nil {
		return err
	}
	return root.into(reflect.ValueOf(out).Elem())
}

// An Error is how EC2 refuses.
type Error struct{ Code, Message string }

// ReadError reads the error of an answer.
func ReadError(body []byte) (*Error, error) {
	var failure struct {
		Errors struct{ Error Error }
	}
	if err := xml.Unmarshal(body, &failure); err != nil {
		return nil, err
	}
	return &failure.Errors.Error, nil
}

var timeType = reflect.TypeFor[time.Time]()

// into fills a value from an element.
func (e *element) into(v reflect.Value) error {
	switch {
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return e.into(v.Elem())
	case v.Type() == timeType:
		at, err := time.Parse(time.RFC3339, e.Text)
		v.Set(reflect.ValueOf(at))
		return err
	case v.Kind() == reflect.Struct:
		for f, value := range v.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("wire"), ",")
			if name == "" {
				name = f.Name
			}
			for i := range e.Children {
				if e.Children[i].XMLName.Local == name {
					if err := e.Children[i].into(value); err != nil {
						return fmt.Errorf("%s: %w", name, err)
					}
				}
			}
		}
		return nil
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), len(e.Children), len(e.Children)))
		for i := range e.Children {
			if err := e.Children[i].into(v.Index(i)); err != nil {
				return err
			}
		}
		return nil
	}
	return e.scalar(v)
}

func (e *element) scalar(v reflect.Value) error {
	switch v.Kind() {
	case reflect.String:
		v.SetString(e.Text)
	case reflect.Bool:
		b, err := strconv.ParseBool(e.Text)
		v.SetBool(b)
		return err
	case reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(e.Text, 10, v.Type().Bits())
		v.SetInt(n)
		return err
	case reflect.Float32, reflect.Float64:
		n, err := strconv.ParseFloat(e.Text, 64)
		v.SetFloat(n)
		return err
	default:
		return fmt.Errorf("an answer has %q for a %v", e.Text, v.Type())
	}
	return nil
}
