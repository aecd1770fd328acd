package cloudformation

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	cloudformation "github.com/iamd-dev/iamd/internal/aws/cloudformation/api"
	codebuild "github.com/iamd-dev/iamd/internal/aws/codebuild/api"
	codepipeline "github.com/iamd-dev/iamd/internal/aws/codepipeline/api"
	dynamodb "github.com/iamd-dev/iamd/internal/aws/dynamodb/api"
	ec2 "github.com/iamd-dev/iamd/internal/aws/ec2/api"
	ecs "github.com/iamd-dev/iamd/internal/aws/ecs/api"
	iam "github.com/iamd-dev/iamd/internal/aws/iam/api"
	lambda "github.com/iamd-dev/iamd/internal/aws/lambda/api"
	organizations "github.com/iamd-dev/iamd/internal/aws/organizations/api"
	s3 "github.com/iamd-dev/iamd/internal/aws/s3/api"
	ssm "github.com/iamd-dev/iamd/internal/aws/ssm/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/template"
	"github.com/iamd-dev/iamd/internal/wire"
)

// models are those of the services whose operations the table of resource types names.
var models = map[string]*wire.Model{"iam": iam.Model, "s3": s3.Model, "dynamodb": dynamodb.Model, "organizations": organizations.Model,
	"cloudformation": cloudformation.Model, "lambda": lambda.Model, "ssm": ssm.Model, "codebuild": codebuild.Model,
	"codepipeline": codepipeline.Model, "ec2": ec2.Model, "ecs": ecs.Model}

// A call is an operation and how its input is made of a resource: see kinds.go for the language.
type call struct {
	service string
	op      *wire.Operation
	words   []word
}

type word struct {
	field []string // path in the input
	value string
}

// mustParse reads calls, which have " ; " between them. What they name must be there.
func mustParse(text string) []call {
	var calls []call
	for one := range strings.SplitSeq(text, " ; ") {
		f := strings.Fields(one)
		if len(f) == 0 {
			continue
		}
		service, name, _ := strings.Cut(f[0], ":")
		m := models[service]
		if m == nil || m.Operation(name) == nil {
			panic("cloudformation: there is no operation " + f[0])
		}
		c := call{service: service, op: m.Operation(name)}
		for _, w := range f[1:] {
			field, value, ok := strings.Cut(w, "=")
			if !ok {
				value = "{" + field + "}"
			}
			path := strings.Split(field, ".")
			mustHave(c.op.In, path, one)
			c.words = append(c.words, word{path, value})
		}
		calls = append(calls, c)
	}
	return calls
}

func mustHave(t reflect.Type, path []string, in string) {
	for _, p := range path {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		switch t.Kind() {
		case reflect.Slice:
			t = t.Elem()
		case reflect.Struct:
			f, ok := t.FieldByName(p)
			if !ok {
				panic("cloudformation: there is no field " + p + " in " + in)
			}
			t = f.Type
		default:
			panic("cloudformation: there is no field " + p + " in " + in)
		}
	}
}

// A scope is what the words of a call are made of.
type scope struct {
	id, name        string
	account, region string
	properties      map[string]any
	item            any
}

// ref finds what a name in braces stands for.
func (sc *scope) ref(name string) (any, bool) {
	name, literal, optional := strings.Cut(name, "?")
	switch name {
	case "id":
		return sc.id, true
	case "name":
		return sc.name, true
	case "account":
		return sc.account, true
	case "region":
		return sc.region, true
	case "elsewhere": // the region, where S3 has to be told it
		return sc.region, sc.region != "us-east-1"
	case "zip":
		code, _ := sc.properties["Code"].(map[string]any)
		text, ok := code["ZipFile"]
		if !ok {
			return nil, false
		}
		return zipped(template.Text(text), template.Text(sc.properties["Runtime"])), true
	case "tagmap":
		tags, ok := sc.properties["Tags"]
		m := map[string]any{}
		for _, t := range itemsOf(tags) {
			tag, _ := t.(map[string]any)
			m[template.Text(tag["Key"])] = tag["Value"]
		}
		return m, ok
	case "taglist":
		tags, ok := sc.properties["Tags"]
		return itemsOf(tags), ok
	case ".":
		return sc.item, sc.item != nil
	}
	var v any = sc.properties
	if rest, ok := strings.CutPrefix(name, "."); ok {
		v, name = sc.item, rest
	}
	for part := range strings.SplitSeq(name, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(x) {
				return nil, false
			}
			v = x[i]
		default:
			return nil, false
		}
	}
	if optional && v != nil {
		return literal, true
	}
	return v, v != nil
}

// expand is the value of a word; ok is false where it names what is not there.
func (sc *scope) expand(spec string) (value any, ok bool) {
	if strings.HasPrefix(spec, "{") && strings.IndexByte(spec, '}') == len(spec)-1 {
		return sc.ref(spec[1 : len(spec)-1])
	}
	var b strings.Builder
	for spec != "" {
		before, rest, found := strings.Cut(spec, "{")
		b.WriteString(before)
		if !found {
			break
		}
		name, after, _ := strings.Cut(rest, "}")
		v, ok := sc.ref(name)
		if !ok {
			return nil, false
		}
		b.WriteString(template.Text(v))
		spec = after
	}
	return b.String(), true
}

// input makes the input of a call.
func (c *call) input(sc *scope) (any, error) {
	in := reflect.New(c.op.In)
	for _, w := range c.words {
		v, ok := sc.expand(w.value)
		if !ok {
			continue
		}
		if err := set(in.Elem(), w.field, v); err != nil {
			return nil, fmt.Errorf("%s: %w", strings.Join(w.field, "."), err)
		}
	}
	return in.Interface(), nil
}

// set puts a value at a path of a struct, making what is on the way.
func set(to reflect.Value, path []string, v any) error {
	if to.Kind() == reflect.Pointer {
		if to.IsNil() {
			to.Set(reflect.New(to.Type().Elem()))
		}
		to = to.Elem()
	}
	if len(path) == 0 {
		return assign(to, v)
	}
	if to.Kind() == reflect.Slice {
		i, err := strconv.Atoi(path[0])
		if err != nil {
			return err
		}
		for to.Len() <= i {
			to.Set(reflect.Append(to, reflect.Zero(to.Type().Elem())))
		}
		return set(to.Index(i), path[1:], v)
	}
	return set(to.FieldByName(path[0]), path[1:], v)
}

// assign converts a value of a template to a field's type: what is a string in templates
// may be a number here, and an object may be a document in a string.
func assign(to reflect.Value, v any) error {
	switch to.Kind() {
	case reflect.Pointer:
		p := reflect.New(to.Type().Elem())
		if err := assign(p.Elem(), v); err != nil {
			return err
		}
		to.Set(p)
	case reflect.String:
		to.SetString(template.Text(v))
	case reflect.Bool:
		b, err := strconv.ParseBool(template.Text(v))
		if err != nil {
			return fmt.Errorf("expected type: Boolean, found: %s", kindOf(v))
		}
		to.SetBool(b)
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(template.Text(v), 10, to.Type().Bits())
		if err != nil {
			return fmt.Errorf("expected type: Integer, found: %s", kindOf(v))
		}
		to.SetInt(n)
	case reflect.Float64:
		n, err := strconv.ParseFloat(template.Text(v), 64)
		if err != nil {
			return fmt.Errorf("expected type: Number, found: %s", kindOf(v))
		}
		to.SetFloat(n)
	case reflect.Slice:
		if b, ok := v.([]byte); ok && to.Type().Elem().Kind() == reflect.Uint8 {
			to.SetBytes(b)
			return nil
		}
		list, ok := v.([]any)
		if !ok {
			return fmt.Errorf("expected type: JSONArray, found: %s", kindOf(v))
		}
		s := reflect.MakeSlice(to.Type(), len(list), len(list))
		for i, e := range list {
			if err := assign(s.Index(i), e); err != nil {
				return err
			}
		}
		to.Set(s)
	case reflect.Map:
		m, ok := v.(map[string]any)
		if !ok {
			return fmt.Errorf("expected type: JSONObject, found: %s", kindOf(v))
		}
		made := reflect.MakeMap(to.Type())
		for k, e := range m {
			x := reflect.New(to.Type().Elem()).Elem()
			if err := assign(x, e); err != nil {
				return err
			}
			made.SetMapIndex(reflect.ValueOf(k).Convert(to.Type().Key()), x)
		}
		to.Set(made)
	case reflect.Struct:
		m, ok := v.(map[string]any)
		if !ok {
			return fmt.Errorf("expected type: JSONObject, found: %s", kindOf(v))
		}
		for _, k := range slices.Sorted(maps.Keys(m)) {
			f := to.FieldByNameFunc(func(name string) bool { return strings.EqualFold(name, k) })
			if !f.IsValid() {
				return fmt.Errorf("extraneous key [%s] is not permitted", k)
			}
			if err := assign(f, m[k]); err != nil {
				return fmt.Errorf("%s: %w", k, err)
			}
		}
	default:
		return fmt.Errorf("iamd cannot give a %s", to.Type())
	}
	return nil
}

// itemsOf are the items of a list, or of an object as a list of keys and values: tags are
// the one in some types and the other in others.
func itemsOf(v any) []any {
	switch v := v.(type) {
	case []any:
		return v
	case map[string]any:
		var all []any
		for _, k := range slices.Sorted(maps.Keys(v)) {
			all = append(all, map[string]any{"Key": k, "Value": v[k]})
		}
		return all
	case nil:
		return nil
	}
	return []any{v}
}

// zipped is the code of a function that stands in a template, as the archive that Lambda
// takes: a file index of the runtime's language.
func zipped(code, runtime string) []byte {
	name := "index.py"
	if strings.HasPrefix(runtime, "nodejs") {
		name = "index.js"
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
	if err == nil {
		_, err = io.WriteString(f, code)
	}
	if err = errors.Join(err, z.Close()); err != nil {
		panic(err) // of a buffer in memory
	}
	return b.Bytes()
}

func kindOf(v any) string {
	switch v.(type) {
	case map[string]any:
		return "JSONObject"
	case []any:
		return "JSONArray"
	case bool:
		return "Boolean"
	case json.Number:
		return "Number"
	}
	return "String"
}

// make makes a call and returns its answer as values.
func (c *call) make(ctx context.Context, i service.Invoker, as *service.Call, sc *scope) (any, error) {
	in, err := c.input(sc)
	if err != nil {
		return nil, &wire.Error{Code: "ValidationError", Status: 400, Message: "#/" + err.Error()}
	}
	out, err := i.Invoke(ctx, as, c.service, c.op.Name, in)
	if err != nil {
		return nil, err
	}
	if a, ok := out.(*service.Answer); ok {
		var v any
		d := json.NewDecoder(strings.NewReader(string(a.Body)))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			return nil, fmt.Errorf("reading the answer of %s:%s: %w", c.service, c.op.Name, err)
		}
		return v, nil
	}
	return out, nil
}

// at finds the value at a path of an answer: "Role.Arn".
func at(out any, path string) any {
	if out == nil {
		return nil
	}
	v := reflect.ValueOf(out)
	for part := range strings.SplitSeq(path, ".") {
		for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
			v = v.Elem()
		}
		switch v.Kind() {
		case reflect.Struct:
			v = v.FieldByName(part)
		case reflect.Map:
			v = v.MapIndex(reflect.ValueOf(part))
		case reflect.Slice:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= v.Len() {
				return nil
			}
			v = v.Index(i)
		default:
			return nil
		}
		if !v.IsValid() {
			return nil
		}
	}
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	return v.Interface()
}
