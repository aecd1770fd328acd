package awstest

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	ec2api "github.com/iamd-dev/iamd/internal/aws/ec2/api"
	"github.com/iamd-dev/iamd/internal/sigv4"
)

// ec2 calls an operation of EC2. The SDK's client of EC2 is larger than all others
// together, so that this one writes the form from the tags of our own input, and reads
// the answer by those of the output.
func (s *script) ec2(fail bool, args []string) error {
	op := ec2api.Model.Operation(args[0])
	if op == nil {
		return fmt.Errorf("ec2: there is no operation %s", args[0])
	}
	in := reflect.New(op.In)
	for _, arg := range args[1:] {
		path, value, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%q is not of the form PARAMETER=VALUE", arg)
		}
		if f, ok := strings.CutPrefix(value, "@"); ok {
			var err error
			if value, err = s.file(f); err != nil {
				return err
			}
			if path == "UserData" {
				value = base64.StdEncoding.EncodeToString([]byte(value + "\n"))
			}
		}
		if err := setParameter(in.Interface(), path, value); err != nil {
			return fmt.Errorf("ec2: %w", err)
		}
	}
	form := url.Values{"Action": {op.Name}, "Version": {ec2api.Model.Version}}
	ec2Form(form, "", in.Elem())
	body := []byte(form.Encode())
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.server.URL+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header = s.headers.Clone()
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	if who := s.actor.credentials; who.AccessKeyID != "" {
		signer := sigv4.Signer{AccessKeyID: who.AccessKeyID, SecretAccessKey: who.SecretAccessKey, SessionToken: who.SessionToken, Region: s.region, Service: "ec2"}
		signer.Sign(r, sigv4.Hash(body), s.server.Now())
	}
	response, err := client{s, http.Header{}}.Do(r)
	if err != nil {
		return err
	}
	id := response.Header.Get("X-Amzn-Requestid")
	s.vars["RequestId"] = id
	if response.StatusCode != http.StatusOK {
		var failure struct {
			Errors struct {
				Error struct{ Code, Message string }
			}
		}
		if err := xml.Unmarshal(s.body, &failure); err != nil {
			return fmt.Errorf("%s: %w", response.Status, err)
		}
		return s.refused(fail, failure.Errors.Error.Code, failure.Errors.Error.Message, response.StatusCode, id)
	}
	s.answer = nil
	if op.Out != nil {
		out := reflect.New(op.Out)
		if err := readEC2(s.body, out.Elem()); err != nil {
			return err
		}
		if console, ok := out.Interface().(*ec2api.GetConsoleOutputOutput); ok {
			text, err := base64.StdEncoding.DecodeString(console.Output)
			if err != nil {
				return err
			}
			console.Output = string(text)
		}
		if s.answer, err = flatten(out.Interface()); err != nil {
			return err
		}
		kept := s.answer[:0]
		for _, p := range s.answer { // what is absent is zero in our structs
			if p.value != "" && p.value != "0001-01-01T00:00:00Z" {
				kept = append(kept, p)
			}
		}
		s.answer = kept
	}
	return s.answered(fail, nil)
}

// ec2Form writes an input as a form.
func ec2Form(form url.Values, name string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			ec2Form(form, name, v.Elem())
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
				ec2Form(form, join(name, member), value)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			form.Set(name, base64.StdEncoding.EncodeToString(v.Bytes()))
			return
		}
		for i := range v.Len() {
			ec2Form(form, join(name, strconv.Itoa(i+1)), v.Index(i))
		}
	default:
		form.Set(name, fmt.Sprint(v.Interface()))
	}
}

// An element is one of an answer.
type element struct {
	XMLName  xml.Name
	Text     string    `xml:",chardata"`
	Children []element `xml:",any"`
}

func readEC2(body []byte, out reflect.Value) error {
	var root element
	if err := xml.Unmarshal(body, &root); err != nil {
		return err
	}
	return root.into(out)
}

// into fills a value from an element. What has no member is not looked for.
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
	return setValue(v, e.Text)
}
