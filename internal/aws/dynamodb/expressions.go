package dynamodb

import (
	"errors"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/internal/aws/dynamodb/api"
)

// Expressions (Developer Guide, "Using expressions in DynamoDB") are read only as far as
// decisions need it: which attributes they name, and which value the partition key equals.
// The engine parses them whole, and refuses what is not one.

var errExpression = errors.New("the expression cannot be read")

// A token is a name (attr, #n), a value (:v), a number or a mark (=, (, .).
type token struct {
	kind byte // 'n' a name, ':' a value, '0' a number, otherwise the mark itself
	text string
}

// tokens splits an expression.
func tokens(text string) ([]token, error) {
	var all []token
	isName := func(c byte) bool {
		return c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
	}
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case c == '#' || c == ':' || isName(c):
			j := i + 1
			for j < len(text) && (isName(text[j]) || c == '#' && (text[j] == '-')) {
				j++
			}
			t := token{'n', text[i:j]}
			switch {
			case c == ':':
				t.kind = ':'
			case c >= '0' && c <= '9':
				t.kind = '0'
			}
			all = append(all, t)
			i = j
		case strings.IndexByte("=<>()[].,+-", c) >= 0:
			all = append(all, token{c, text[i : i+1]})
			i++
		default:
			return nil, errExpression
		}
	}
	return all, nil
}

// words of expressions that are no attributes; reserved words cannot be named bare.
var words = map[string]bool{"and": true, "or": true, "not": true, "between": true, "in": true, "set": true, "remove": true, "add": true, "delete": true}

// attributesIn returns the top-level attributes that an expression names.
func attributesIn(expression string, names map[string]string) ([]string, error) {
	all, err := tokens(expression)
	if err != nil {
		return nil, err
	}
	var found []string
	for i, t := range all {
		function := i+1 < len(all) && all[i+1].kind == '(' && t.kind == 'n' && t.text[0] != '#'
		nested := i > 0 && all[i-1].kind == '.'
		if t.kind != 'n' || nested || function || words[strings.ToLower(t.text)] {
			continue
		}
		name, err := resolve(t.text, names)
		if err != nil {
			return found, err
		}
		if !slices.Contains(found, name) {
			found = append(found, name)
		}
	}
	return found, nil
}

// resolve is the attribute that a name stands for.
func resolve(name string, names map[string]string) (string, error) {
	if name[0] != '#' {
		return name, nil
	}
	attribute, ok := names[name]
	if !ok {
		return "", errExpression
	}
	return attribute, nil
}

// equality returns the one value that a key condition demands of the attribute.
func equality(expression, attribute string, names map[string]string, values item) (v api.AttributeValue, ok bool) {
	all, err := tokens(expression)
	if err != nil {
		return v, false
	}
	for i, t := range all {
		if t.kind != 'n' || t.text[0] != '#' && words[strings.ToLower(t.text)] {
			continue
		}
		if name, err := resolve(t.text, names); err != nil || name != attribute {
			continue
		}
		if ok || i+2 >= len(all) || all[i+1].kind != '=' || all[i+2].kind != ':' {
			return api.AttributeValue{}, false // twice, or not by equality
		}
		if v, ok = values[all[i+2].text]; !ok {
			return v, false
		}
	}
	return v, ok
}
