package dynamodb

import (
	"errors"
	"fmt"
	"strings"

	"github.com/iamd-dev/iamd/internal/aws/dynamodb/api"
	"github.com/iamd-dev/iamd/policy"
)

// PartiQL (Developer Guide, "PartiQL: a SQL-compatible query language for DynamoDB") is read
// as far as a decision needs it: what the statement does, to which table or index, and
// which partition keys it names. A statement whose table is not certain is refused.

// A sqlToken is a piece of a statement.
type sqlToken struct {
	kind  byte // 'w' a word, '"' a quoted name, '\'' a string, '0' a number, '?' a parameter, otherwise the mark itself
	text  string
	depth int // of brackets around it
	param int // of '?': which one
}

func (t sqlToken) is(word string) bool { return t.kind == 'w' && strings.EqualFold(t.text, word) }

func (t sqlToken) name() bool { return t.kind == 'w' || t.kind == '"' }

func sqlTokens(text string) ([]sqlToken, error) {
	var all []sqlToken
	depth, params := 0, 0
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case c == '\'' || c == '"': // doubled, it stands for itself
			var b strings.Builder
			j := i + 1
			for {
				if j >= len(text) {
					return nil, errors.New("a quotation has no end")
				}
				if text[j] == c {
					if j+1 < len(text) && text[j+1] == c {
						j++
					} else {
						break
					}
				}
				b.WriteByte(text[j])
				j++
			}
			all = append(all, sqlToken{kind: c, text: b.String(), depth: depth})
			i = j + 1
		case c == '?':
			all = append(all, sqlToken{kind: '?', text: "?", depth: depth, param: params})
			params++
			i++
		case c >= '0' && c <= '9':
			j := i
			for j < len(text) && (text[j] >= '0' && text[j] <= '9' || text[j] == '.' || text[j] == 'e' || text[j] == 'E') {
				j++
			}
			all = append(all, sqlToken{kind: '0', text: text[i:j], depth: depth})
			i = j
		case c == '_' || c == '$' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z':
			j := i
			for j < len(text) && (text[j] == '_' || text[j] == '$' || text[j] >= '0' && text[j] <= '9' || text[j] >= 'A' && text[j] <= 'Z' || text[j] >= 'a' && text[j] <= 'z') {
				j++
			}
			all = append(all, sqlToken{kind: 'w', text: text[i:j], depth: depth})
			i = j
		case c == '(' || c == '[' || c == '{':
			all = append(all, sqlToken{kind: c, text: string(c), depth: depth})
			depth++
			i++
		case c == ')' || c == ']' || c == '}':
			if depth--; depth < 0 {
				return nil, errors.New("a bracket is closed that is not open")
			}
			all = append(all, sqlToken{kind: c, text: string(c), depth: depth})
			i++
		case c == '-' && strings.HasPrefix(text[i:], "--"), c == '/' && strings.HasPrefix(text[i:], "/*"):
			return nil, errors.New("comments are not read")
		case strings.IndexByte("=<>!.,*:+-/|", c) >= 0:
			all = append(all, sqlToken{kind: c, text: string(c), depth: depth})
			i++
		default:
			return nil, fmt.Errorf("unexpected character %q", c)
		}
	}
	if depth != 0 {
		return nil, errors.New("a bracket is not closed")
	}
	return all, nil
}

// A sqlStatement is what is kept of a statement until the table's partition key is known.
type sqlStatement struct {
	where  []sqlToken // of SELECT, UPDATE, DELETE
	value  []sqlToken // of INSERT: what stands between the braces
	params []api.AttributeValue
}

// parseStatement reads a statement.
func parseStatement(text string) (*access, error) {
	all, err := sqlTokens(text)
	if err != nil {
		return nil, err
	}
	// EXISTS( SELECT ... ) is a condition of a transaction: the SELECT in it is what is decided.
	if len(all) > 3 && all[0].is("EXISTS") && all[1].kind == '(' && all[len(all)-1].kind == ')' {
		all = all[2 : len(all)-1]
		for i := range all {
			all[i].depth--
		}
	}
	verbs := 0
	for _, t := range all {
		if t.is("SELECT") || t.is("INSERT") || t.is("UPDATE") || t.is("DELETE") {
			verbs++
		}
	}
	if len(all) == 0 || verbs != 1 {
		return nil, errors.New("it must be one SELECT, INSERT, UPDATE or DELETE")
	}
	a := &access{sql: &sqlStatement{}}
	rest := all[1:]
	at := func(i int) sqlToken {
		if i < len(rest) {
			return rest[i]
		}
		return sqlToken{}
	}
	expect := func(word string) error {
		if !at(0).is(word) {
			return fmt.Errorf("%s is expected", word)
		}
		rest = rest[1:]
		return nil
	}
	var action policy.Action
	switch verb := all[0]; {
	case verb.is("SELECT"):
		action = "dynamodb:PartiQLSelect"
		from := -1
		for i, t := range rest {
			if t.is("FROM") && t.depth == 0 {
				if from >= 0 {
					return nil, errors.New("it has more than one FROM")
				}
				from = i
			}
		}
		if from < 1 {
			return nil, errors.New("it selects nothing, or from nothing")
		}
		a.selects = "SPECIFIC_ATTRIBUTES"
		if from == 1 && at(0).kind == '*' {
			a.selects = "ALL_ATTRIBUTES"
		}
		rest = rest[from+1:]
	case verb.is("INSERT"):
		action = "dynamodb:PartiQLInsert"
		err = expect("INTO")
	case verb.is("DELETE"):
		action = "dynamodb:PartiQLDelete"
		err = expect("FROM")
	case verb.is("UPDATE"):
		action = "dynamodb:PartiQLUpdate"
	default:
		err = errors.New("it must begin with SELECT, INSERT, UPDATE or DELETE")
	}
	if err != nil {
		return nil, err
	}
	if !at(0).name() {
		return nil, errors.New("the name of a table is expected")
	}
	a.action, a.table = action, at(0).text
	rest = rest[1:]
	if at(0).kind == '.' && action == "dynamodb:PartiQLSelect" {
		if !at(1).name() {
			return nil, errors.New("the name of an index is expected")
		}
		a.index = at(1).text
		rest = rest[2:]
	}
	follows := map[policy.Action][]string{
		"dynamodb:PartiQLSelect": {"WHERE", "ORDER"}, "dynamodb:PartiQLInsert": {"VALUE"},
		"dynamodb:PartiQLUpdate": {"SET", "REMOVE"}, "dynamodb:PartiQLDelete": {"WHERE", "RETURNING"},
	}[action]
	if len(rest) > 0 {
		known := false
		for _, word := range follows {
			known = known || at(0).is(word)
		}
		if !known {
			return nil, fmt.Errorf("%s is expected after the table", strings.Join(follows, " or "))
		}
	}
	a.attributes = []string{unreadable} // which attributes a statement names is not read
	if action == "dynamodb:PartiQLInsert" {
		if at(1).kind == '{' {
			a.sql.value = rest[2:max(2, len(rest)-1)]
		}
		return a, nil
	}
	for i, t := range rest {
		if t.depth == 0 && t.is("WHERE") {
			a.sql.where = rest[i+1:]
			break
		}
	}
	for i, t := range a.sql.where {
		if t.depth == 0 && (t.is("ORDER") || t.is("RETURNING")) {
			a.sql.where = a.sql.where[:i]
			break
		}
	}
	return a, nil
}

// partitions returns the values that the statement demands of the partition key; ok is
// false when it demands none, or does so in a way that is not read.
func (s *sqlStatement) partitions(key string) (values []api.AttributeValue, ok bool) {
	if s.value != nil { // {'pk': value, ...}
		for i := 0; i+2 < len(s.value); i++ {
			if t := s.value[i]; t.depth == 1 && t.kind == '\'' && t.text == key && s.value[i+1].kind == ':' {
				v, known := s.literal(s.value[i+2])
				if !known || ok {
					return nil, false
				}
				values, ok = append(values, v), true
			}
		}
		return values, ok
	}
	for i := 0; i < len(s.where); i++ {
		t := s.where[i]
		switch {
		case t.is("OR") || t.is("NOT"):
			return nil, false // at any depth: what is demanded is then not plain
		case t.depth != 0 || !t.name() || t.text != key || i > 0 && s.where[i-1].kind == '.':
		case ok:
			return nil, false // twice
		case i+2 < len(s.where) && s.where[i+1].kind == '=':
			v, known := s.literal(s.where[i+2])
			if !known || i+3 < len(s.where) && !s.where[i+3].is("AND") {
				return nil, false
			}
			values, ok = append(values, v), true
		case i+2 < len(s.where) && s.where[i+1].is("IN"):
			open := s.where[i+2]
			if open.kind != '[' && open.kind != '(' {
				return nil, false
			}
			for j := i + 3; j < len(s.where) && s.where[j].depth > open.depth; j++ {
				if s.where[j].kind == ',' {
					continue
				}
				v, known := s.literal(s.where[j])
				if !known {
					return nil, false
				}
				values = append(values, v)
			}
			ok = len(values) > 0
		}
	}
	return values, ok
}

// literal is the value of a string, a number or a parameter.
func (s *sqlStatement) literal(t sqlToken) (v api.AttributeValue, ok bool) {
	switch t.kind {
	case '\'':
		return api.AttributeValue{S: t.text}, t.text != ""
	case '0':
		return api.AttributeValue{N: t.text}, true
	case '?':
		if t.param < len(s.params) {
			return s.params[t.param], true
		}
	}
	return v, false
}
