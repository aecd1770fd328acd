package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// commandOf is the aws command that makes a call, and the operation's name.
func commandOf(in any) (command, operation string) {
	v := reflect.ValueOf(in).Elem()
	operation = strings.TrimSuffix(v.Type().Name(), "Input")
	service := path.Base(strings.TrimSuffix(v.Type().PkgPath(), "/api"))
	// What the AWS CLI writes in another way than the API has it.
	options := map[string]func() string{ // nil: not at all
		"CreateFunction.Code":     func() string { return "--zip-file fileb://function.zip" },
		"RunInstances.MinCount":   func() string { return "--count 1" },
		"RunInstances.MaxCount":   nil,
		"CreatePipeline.Pipeline": func() string { return "--pipeline file://pipeline.json" },
		"PutObject.Body":          func() string { return "--body " + path.Base(v.FieldByName("Key").Elem().String()) },
	}
	cli := service
	if cli == "s3" {
		cli = "s3api"
	}
	documents := ""
	var b strings.Builder
	b.WriteString("aws " + cli + " " + kebab(operation))
	for f, value := range v.Fields() {
		if !f.IsExported() || value.IsZero() {
			continue
		}
		option := ""
		switch special, ok := options[operation+"."+f.Name]; {
		case ok && special == nil:
			continue
		case ok:
			option = special()
		default:
			option = "--" + kebab(f.Name) + " " + optionValue(value, service)
		}
		if strings.HasSuffix(f.Name, "Document") { // easier to read at the end
			documents += " " + option
			continue
		}
		b.WriteString(" " + option)
	}
	b.WriteString(documents)
	if operation == "GetObject" || operation == "Invoke" {
		b.WriteString(" /dev/stdout")
	}
	return b.String(), operation
}

// lowerCamel are the services whose members begin with a small letter in the AWS CLI's JSON.
var lowerCamel = map[string]bool{"codebuild": true, "codepipeline": true, "ecs": true}

// optionValue is a parameter as words of a shell: a text, texts, or a structure in the AWS
// CLI's shorthand where it is flat, and otherwise in JSON.
func optionValue(v reflect.Value, service string) string {
	v = reflect.Indirect(v)
	if text, ok := scalar(v); ok {
		return shellQuote(text)
	}
	if v.Kind() == reflect.Slice && v.Len() > 0 {
		if _, ok := scalar(v.Index(0)); ok {
			var words []string
			for i := range v.Len() {
				text, _ := scalar(v.Index(i))
				words = append(words, shellQuote(text))
			}
			return strings.Join(words, " ")
		}
	}
	if one := v; v.Kind() == reflect.Slice && v.Len() == 1 || v.Kind() == reflect.Struct {
		if v.Kind() == reflect.Slice {
			one = v.Index(0)
		}
		if text, ok := shorthand(one, service); ok {
			return shellQuote(text)
		}
	}
	return shellQuote(asJSON(v, service))
}

// scalar is a value that is no structure, as text.
func scalar(v reflect.Value) (string, bool) {
	v = reflect.Indirect(v)
	switch v.Kind() {
	case reflect.String:
		return v.String(), true
	case reflect.Int32, reflect.Int64, reflect.Bool:
		return fmt.Sprint(v.Interface()), true
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return string(v.Bytes()), true
		}
	}
	return "", false
}

// shorthand is a flat structure as Name=value,Other=value.
func shorthand(v reflect.Value, service string) (string, bool) {
	if v.Kind() != reflect.Struct {
		return "", false
	}
	var parts []string
	for f, value := range v.Fields() {
		if !f.IsExported() || value.IsZero() {
			continue
		}
		text, ok := scalar(value)
		if !ok || strings.ContainsAny(text, ",= \n") {
			return "", false
		}
		parts = append(parts, memberName(f.Name, service)+"="+text)
	}
	return strings.Join(parts, ","), true
}

func memberName(name, service string) string {
	if lowerCamel[service] {
		return strings.ToLower(name[:1]) + name[1:]
	}
	return name
}

// asJSON is a value as the AWS CLI takes it: members that are there, by their names.
func asJSON(v reflect.Value, service string) string {
	v = reflect.Indirect(v)
	if v.Kind() == reflect.Interface { // one of DynamoDB's attribute values, which are named for their kind
		one := reflect.Indirect(v.Elem())
		kind := one.Type().Name()[len("AttributeValueMember"):]
		return "{" + quoted(kind) + ": " + asJSON(one.Field(0), service) + "}"
	}
	var parts []string
	switch v.Kind() {
	case reflect.Struct:
		for f, value := range v.Fields() {
			if f.IsExported() && !value.IsZero() {
				parts = append(parts, quoted(memberName(f.Name, service))+": "+asJSON(value, service))
			}
		}
	case reflect.Map:
		for _, key := range v.MapKeys() { // of one member, as long as nothing has more
			parts = append(parts, quoted(key.String())+": "+asJSON(v.MapIndex(key), service))
		}
	case reflect.Slice:
		for i := range v.Len() {
			parts = append(parts, asJSON(v.Index(i), service))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case reflect.String:
		return quoted(v.String())
	default:
		return fmt.Sprint(v.Interface())
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// quoted is a text as JSON has it, with < and & as they are.
func quoted(text string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.Encode(text)
	return strings.TrimSuffix(b.String(), "\n")
}

// kebab writes RoleArn as role-arn, as the AWS CLI does.
func kebab(name string) string {
	var b strings.Builder
	letters := []rune(name)
	for i, r := range letters {
		if unicode.IsUpper(r) && i > 0 && (!unicode.IsUpper(letters[i-1]) || i+1 < len(letters) && unicode.IsLower(letters[i+1])) {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// memberOf returns a member of an answer as text.
func memberOf(out any, path string) (string, error) {
	v := reflect.ValueOf(out)
	for name := range strings.SplitSeq(path, ".") {
		v = reflect.Indirect(v)
		switch v.Kind() {
		case reflect.Struct:
			v = v.FieldByName(name)
		case reflect.Slice:
			i, err := strconv.Atoi(name)
			if err != nil || i >= v.Len() {
				return "", fmt.Errorf("the answer has no %s", path)
			}
			v = v.Index(i)
		}
		if !v.IsValid() {
			return "", fmt.Errorf("the answer has no %s", path)
		}
	}
	switch x := v.Interface().(type) {
	case io.Reader:
		text, err := io.ReadAll(x)
		return strings.TrimSpace(string(text)), err
	case *time.Time:
		return x.UTC().Format(time.RFC3339), nil
	case *string:
		return *x, nil
	case []byte:
		return string(x), nil
	}
	return fmt.Sprint(reflect.Indirect(v).Interface()), nil
}
