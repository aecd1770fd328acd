package template

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// deepest is how deep values may be nested; templates of people are not over twenty.
const deepest = 128

// read reads JSON, if the text begins like it, or YAML.
func read(text string) (any, error) {
	trimmed := strings.TrimLeft(text, " \t\r\n")
	if trimmed == "" {
		return nil, errorf("Template format error: unsupported structure.")
	}
	if trimmed[0] == '{' {
		return readJSON(text)
	}
	return readYAML(text)
}

func readJSON(text string) (any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = &json.SyntaxError{Offset: d.InputOffset()}
		}
	}
	if err != nil {
		at := int64(len(text))
		if s := (*json.SyntaxError)(nil); errors.As(err, &s) {
			at = min(s.Offset, at)
		}
		before := text[:at]
		line := strings.Count(before, "\n") + 1
		return nil, errorf("Template format error: JSON not well-formed. (line %d, column %d)", line, len(before)-strings.LastIndexByte(before, '\n'))
	}
	return v, sound(v, nil)
}

// sound sees that there is no null, and nothing nested too deep.
func sound(v any, path []string) error {
	if len(path) > deepest {
		return errorf("Template format error: values are nested more than %d deep.", deepest)
	}
	switch v := v.(type) {
	case nil:
		return errorf("[/%s] 'null' values are not allowed in templates", strings.Join(path, "/"))
	case map[string]any:
		for _, k := range sorted(v) {
			if err := sound(v[k], append(path, k)); err != nil {
				return err
			}
		}
	case []any:
		for i, e := range v {
			if err := sound(e, append(path, strconv.Itoa(i))); err != nil {
				return err
			}
		}
	}
	return nil
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

func readYAML(text string) (any, error) {
	var document, more yaml.Node
	d := yaml.NewDecoder(strings.NewReader(text))
	err := d.Decode(&document)
	if err == nil && d.Decode(&more) != io.EOF {
		return nil, errorf("Template format error: YAML not well-formed. It must be one document.")
	}
	if err != nil {
		where := ""
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
			where = fmt.Sprintf(" (line %s)", m[1])
		}
		return nil, errorf("Template format error: YAML not well-formed.%s", where)
	}
	if document.Kind != yaml.DocumentNode || len(document.Content) != 1 {
		return nil, errorf("Template format error: unsupported structure.")
	}
	v, err := fromYAML(document.Content[0], 0)
	if err != nil {
		return nil, err
	}
	return v, sound(v, nil)
}

// fromYAML is the value of a node. What other kinds of YAML make of a scalar that looks
// like a date, a number in base 60 or a word for true is left to nobody: only plain
// numbers, true and false are not strings.
func fromYAML(n *yaml.Node, depth int) (any, error) {
	if depth > deepest {
		return nil, errorf("Template format error: values are nested more than %d deep.", deepest)
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" && n.Kind == yaml.AliasNode {
		return nil, errorf("Template error: YAML aliases are not allowed in CloudFormation templates")
	}
	var v any
	switch n.Kind {
	case yaml.ScalarNode:
		v = scalar(n)
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, e := range n.Content {
			x, err := fromYAML(e, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, x)
		}
		v = list
	case yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind == yaml.AliasNode || key.Tag == "!!merge" {
				return nil, errorf("Template error: YAML aliases are not allowed in CloudFormation templates")
			}
			if key.Kind != yaml.ScalarNode {
				return nil, errorf("Template format error: YAML not well-formed. (line %d, column %d)", key.Line, key.Column)
			}
			x, err := fromYAML(n.Content[i+1], depth+1)
			if err != nil {
				return nil, err
			}
			m[key.Value] = x
		}
		v = m
	default:
		return nil, errorf("Template format error: YAML not well-formed. (line %d, column %d)", n.Line, n.Column)
	}
	tag := n.ShortTag()
	if !strings.HasPrefix(tag, "!") || strings.HasPrefix(tag, "!!") {
		switch tag {
		case "!!binary", "!!omap", "!!pairs", "!!set":
			return nil, errorf("Template format error: YAML tag %s is not supported. (line %d, column %d)", tag, n.Line, n.Column)
		}
		return v, nil
	}
	name := tag[1:]
	if name == "Ref" || name == "Condition" {
		return map[string]any{name: v}, nil
	}
	if text, ok := v.(string); ok && name == "GetAtt" {
		resource, attribute, _ := strings.Cut(text, ".")
		v = []any{resource, attribute}
	}
	if !functions["Fn::"+name] {
		return nil, errorf("Template format error: YAML tag %s is not supported. (line %d, column %d)", tag, n.Line, n.Column)
	}
	return map[string]any{"Fn::" + name: v}, nil
}

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

func scalar(n *yaml.Node) any {
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return n.Value
	}
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		if b := strings.ToLower(n.Value); b == "true" || b == "false" {
			return b == "true"
		}
	case "!!int", "!!float":
		if jsonNumber.MatchString(n.Value) {
			return json.Number(n.Value)
		}
	}
	return n.Value
}
