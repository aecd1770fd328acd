// Package policytemplate makes policies of policy templates.
//
//	text, err := policytemplate.Render(template, policytemplate.Parameters{
//		"bucketNames": {Values: []string{"a", "b"}, List: true},
//		"WRITE":       {Values: []string{"True"}},
//	})
//
// A template is a policy with two things more (IAM User Guide, "Policy templates"):
// @{bucketNames} in a text stands for a parameter, and a statement with
// "@Enabled": "WRITE" is there where that parameter is True, one with "!WRITE" where it
// is not. A text with a parameter that is a list becomes a text for each of its values,
// and one with several of them a text for each combination.
//
// Values are put into the texts of a document that has been read, and never into its
// JSON: no value can end a text or begin a statement. What a value says is not looked at
// again, so that @{x} in a value is only these characters.
package policytemplate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A Parameter is what stands in the place of its name. One that is no list has one value.
type Parameter struct {
	Values []string
	List   bool
}

// Parameters are parameters by name.
type Parameters map[string]Parameter

// A NotFoundError tells the name of a parameter that a template asks for and nobody gave.
type NotFoundError string

func (e NotFoundError) Error() string { return "Parameter '" + string(e) + "' not found." }

// mostTexts is how many texts one may become.
const mostTexts = 1000

// Render makes the policy, without white space. It is "" when no statement is left.
// Parameters of statements that are left out need not be there.
func Render(template string, p Parameters) (string, error) {
	tree, err := parse(template)
	if err != nil {
		return "", err
	}
	left, err := choose(tree, func(condition string) (bool, error) {
		name, not := strings.CutPrefix(condition, "!")
		given, ok := p[name]
		if !ok {
			return false, NotFoundError(name)
		}
		return (len(given.Values) == 1 && strings.EqualFold(given.Values[0], "True")) != not, nil
	})
	if err != nil || !left {
		return "", err
	}
	if err := tree.fill(p); err != nil {
		return "", err
	}
	var b bytes.Buffer
	write(&b, *tree)
	return b.String(), nil
}

// Whole is the template with every statement, conditional or not, and parameters as
// they are written: the most that it can be.
func Whole(template string) (string, error) {
	tree, err := parse(template)
	if err != nil {
		return "", err
	}
	if _, err := choose(tree, func(string) (bool, error) { return true, nil }); err != nil {
		return "", err
	}
	var b bytes.Buffer
	write(&b, *tree)
	return b.String(), nil
}

// Names are the names of the parameters that a template asks for, in its order.
func Names(template string) ([]string, error) {
	tree, err := parse(template)
	if err != nil {
		return nil, err
	}
	var names []string
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if _, err := choose(tree, func(condition string) (bool, error) {
		add(strings.TrimPrefix(condition, "!"))
		return true, nil
	}); err != nil {
		return nil, err
	}
	tree.texts(func(text string) {
		for _, part := range split(text) {
			if part.parameter {
				add(part.text)
			}
		}
	})
	return names, nil
}

// Text puts parameters that are no lists into a text.
func Text(pattern string, p Parameters) (string, error) {
	texts, list, err := expand(pattern, p)
	if err != nil {
		return "", err
	}
	if list {
		return "", fmt.Errorf("%q takes no list", pattern)
	}
	return texts[0], nil
}

// A part is a piece of a text, or the name of a parameter in it.
type part struct {
	text      string
	parameter bool
}

func split(text string) []part {
	var parts []part
	for {
		before, rest, found := strings.Cut(text, "@{")
		name, after, closed := strings.Cut(rest, "}")
		if !found || !closed {
			return append(parts, part{text: text})
		}
		parts = append(parts, part{text: before}, part{name, true})
		text = after
	}
}

// expand makes of a text the texts that it stands for; list tells that a list was in it.
func expand(text string, p Parameters) (texts []string, list bool, err error) {
	texts = []string{""}
	for _, part := range split(text) {
		values := []string{part.text}
		if part.parameter {
			given, ok := p[part.text]
			if !ok {
				return nil, false, NotFoundError(part.text)
			}
			if !given.List && len(given.Values) != 1 {
				return nil, false, fmt.Errorf("parameter %s must have exactly one value", part.text)
			}
			values, list = given.Values, list || given.List
		}
		if len(texts)*len(values) > mostTexts {
			return nil, false, fmt.Errorf("%q becomes more than %d texts", text, mostTexts)
		}
		longer := make([]string, 0, len(texts)*len(values))
		for _, t := range texts {
			for _, v := range values {
				longer = append(longer, t+v)
			}
		}
		texts = longer
	}
	return texts, list, nil
}

// A node is a JSON value that keeps the order of its members.
type node struct {
	members []member // of an object
	items   []node   // of an array
	plain   any      // string, json.Number, bool or nil of anything else
	kind    byte     // '{', '[' or 0
}

type member struct {
	name  string
	value node
}

func parse(text string) (*node, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	n, err := read(d)
	if err != nil {
		return nil, fmt.Errorf("the template is not JSON: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("the template is more than one JSON value")
	}
	if n.kind != '{' {
		return nil, errors.New("the template is not an object")
	}
	return &n, nil
}

func read(d *json.Decoder) (node, error) {
	t, err := d.Token()
	if err != nil {
		return node{}, err
	}
	switch t {
	case json.Delim('{'):
		n := node{kind: '{'}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return node{}, err
			}
			value, err := read(d)
			if err != nil {
				return node{}, err
			}
			n.members = append(n.members, member{name.(string), value})
		}
		_, err := d.Token()
		return n, err
	case json.Delim('['):
		n := node{kind: '['}
		for d.More() {
			item, err := read(d)
			if err != nil {
				return node{}, err
			}
			n.items = append(n.items, item)
		}
		_, err := d.Token()
		return n, err
	}
	return node{plain: t}, nil
}

const directive = "@Enabled"

// choose takes away the statements whose condition is not wanted, and the conditions of
// those that stay. left tells whether any statement is.
func choose(tree *node, wanted func(condition string) (bool, error)) (left bool, err error) {
	keep := func(statement *node) (bool, error) {
		for i, m := range statement.members {
			if m.name != directive {
				continue
			}
			condition, ok := m.value.plain.(string)
			if !ok || strings.TrimPrefix(condition, "!") == "" {
				return false, fmt.Errorf("%s must be the name of a parameter", directive)
			}
			statement.members = slices.Delete(statement.members, i, i+1)
			return wanted(condition)
		}
		return true, nil
	}
	for i := range tree.members {
		m := &tree.members[i]
		if m.name != "Statement" {
			continue
		}
		if m.value.kind != '[' {
			return keep(&m.value)
		}
		var stay []node
		for _, statement := range m.value.items {
			ok, err := keep(&statement)
			if err != nil {
				return false, err
			}
			if ok {
				stay = append(stay, statement)
			}
		}
		m.value.items = stay
		return len(stay) > 0, nil
	}
	return false, errors.New("the template has no Statement")
}

// texts calls f for each text of the tree, names of members among them.
func (n *node) texts(f func(string)) {
	for i := range n.members {
		f(n.members[i].name)
		n.members[i].value.texts(f)
	}
	for i := range n.items {
		n.items[i].texts(f)
	}
	if text, ok := n.plain.(string); ok {
		f(text)
	}
}

// fill puts the parameters into every text.
func (n *node) fill(p Parameters) error {
	switch n.kind {
	case '{':
		for i := range n.members {
			m := &n.members[i]
			var err error
			if m.name, err = Text(m.name, p); err != nil {
				return err
			}
			if err := m.value.fill(p); err != nil {
				return err
			}
		}
	case '[':
		var items []node
		for i := range n.items {
			item := &n.items[i]
			if err := item.fill(p); err != nil {
				return err
			}
			if item.kind == '[' { // made of a text by a list: policies have no lists of lists
				items = append(items, item.items...)
			} else {
				items = append(items, *item)
			}
		}
		n.items = items
	default:
		text, ok := n.plain.(string)
		if !ok {
			return nil
		}
		texts, list, err := expand(text, p)
		if err != nil {
			return err
		}
		if !list {
			n.plain = texts[0]
			return nil
		}
		*n = node{kind: '['}
		for _, t := range texts {
			n.items = append(n.items, node{plain: t})
		}
	}
	return nil
}

func write(b *bytes.Buffer, n node) {
	switch n.kind {
	case '{':
		b.WriteByte('{')
		for i, m := range n.members {
			if i > 0 {
				b.WriteByte(',')
			}
			plain(b, m.name)
			b.WriteByte(':')
			write(b, m.value)
		}
		b.WriteByte('}')
	case '[':
		b.WriteByte('[')
		for i, item := range n.items {
			if i > 0 {
				b.WriteByte(',')
			}
			write(b, item)
		}
		b.WriteByte(']')
	default:
		plain(b, n.plain)
	}
}

func plain(b *bytes.Buffer, v any) {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // of texts, numbers and truth values
	}
	b.Truncate(b.Len() - 1) // the line end
}
