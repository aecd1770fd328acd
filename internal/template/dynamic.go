package template

import (
	"regexp"
	"strconv"
	"strings"
)

// A Dynamic is a dynamic reference: {{resolve:SERVICE:KEY}}.
type Dynamic struct {
	Text         string // all of it
	Service, Key string
}

var (
	dynamic = regexp.MustCompile(`\{\{resolve:([^:{}]*):([^{}]*)\}\}`)
	stored  = regexp.MustCompile(`^[a-zA-Z0-9_.\-/]+(:[0-9]+)?$`)
)

// Parameter is the name of the parameter of Systems Manager that is referred to, with its
// version if the reference has one.
func (d Dynamic) Parameter() (string, error) {
	if !stored.MatchString(d.Key) {
		return "", errorf("Incorrect format is used in the following SSM reference: [%s]", d.Text)
	}
	return d.Key, nil
}

// ReplaceDynamic returns a value in whose texts what resolve says of a dynamic reference
// stands in its place. at is where the value stands.
func ReplaceDynamic(v any, at string, resolve func(d Dynamic, at string) (string, error)) (any, error) {
	switch v := v.(type) {
	case string:
		if !strings.Contains(v, "{{resolve:") {
			return v, nil
		}
		var b strings.Builder
		rest := 0
		for _, m := range dynamic.FindAllStringSubmatchIndex(v, -1) {
			text, err := resolve(Dynamic{Text: v[m[0]:m[1]], Service: v[m[2]:m[3]], Key: v[m[4]:m[5]]}, at)
			if err != nil {
				return nil, err
			}
			b.WriteString(v[rest:m[0]])
			b.WriteString(text)
			rest = m[1]
		}
		b.WriteString(v[rest:])
		return b.String(), nil
	case map[string]any:
		changed := make(map[string]any, len(v))
		for _, k := range sorted(v) {
			x, err := ReplaceDynamic(v[k], at+"/"+k, resolve)
			if err != nil {
				return nil, err
			}
			changed[k] = x
		}
		return changed, nil
	case []any:
		changed := make([]any, len(v))
		for i, e := range v {
			x, err := ReplaceDynamic(e, at+"/"+strconv.Itoa(i), resolve)
			if err != nil {
				return nil, err
			}
			changed[i] = x
		}
		return changed, nil
	}
	return v, nil
}

// resolved is a computed value without dynamic references.
func (in *Instance) resolved(v any, at string) (any, error) {
	if in.Resolve == nil {
		return v, nil
	}
	return ReplaceDynamic(v, at, func(d Dynamic, at string) (string, error) {
		text, err := in.Resolve(d, at)
		if err != nil {
			return "", err
		}
		return text, in.count(len(text))
	})
}
