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
//
// An engine's own reading may be loose: dynoxide stops at the first word that it does not
// know and does what it has read so far, takes an index for a table, and counts only those
// parameters that stand where it looks for a value. What is read here is therefore strict,
// and what two readers might understand differently is refused or unreadable.

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
			for j < len(text) && (text[j] >= '0' && text[j] <= '9' || text[j] == '.') {
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
	list    []sqlToken // of SELECT: what it selects
	changes []sqlToken // of UPDATE: SET and REMOVE
	where   []sqlToken // of SELECT, UPDATE, DELETE; empty without one
	order   []sqlToken // of SELECT: what stands after ORDER BY
	insert  bool
	value   []sqlToken // of INSERT: what stands between the braces
	params  []api.AttributeValue
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
	for i, t := range all {
		if t.kind == '?' && !isOperand(all, i) {
			return nil, errors.New("a parameter stands where no value does")
		}
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
			switch {
			case t.is("FROM") && (from >= 0 || t.depth != 0):
				return nil, errors.New("it has more than one FROM")
			case t.is("FROM"):
				from = i
			case t.kind == '?' && from < 0:
				return nil, errors.New("a parameter is no attribute")
			}
		}
		if from < 1 {
			return nil, errors.New("it selects nothing, or from nothing")
		}
		a.selects = "SPECIFIC_ATTRIBUTES"
		if from == 1 && at(0).kind == '*' {
			a.selects = "ALL_ATTRIBUTES"
		} else {
			a.sql.list = rest[:from]
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
	if at(0).kind == '.' {
		return nil, errors.New("statements on an index are not served: Query reads it")
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
	if action == "dynamodb:PartiQLInsert" {
		a.sql.insert = true
		if at(1).kind == '{' {
			a.sql.value = within(rest, 1)
		}
		return a, nil
	}
	for i, t := range rest {
		if t.depth == 0 && t.is("WHERE") && (i == 0 || action == "dynamodb:PartiQLUpdate") {
			a.sql.where = rest[i+1:]
			rest = rest[:i]
			break
		}
	}
	switch action {
	case "dynamodb:PartiQLUpdate":
		a.sql.changes = before("RETURNING", rest, nil)
	case "dynamodb:PartiQLSelect": // without WHERE
		before("ORDER", rest, &a.sql.order)
	}
	a.sql.where = before("ORDER", before("RETURNING", a.sql.where, nil), &a.sql.order)
	a.returnValues = returning(all)
	return a, nil
}

// before are the tokens before a word outside brackets, and after those behind it.
func before(word string, all []sqlToken, after *[]sqlToken) []sqlToken {
	for i, t := range all {
		if t.depth == 0 && t.is(word) {
			if after != nil {
				*after = all[i+1:]
			}
			return all[:i]
		}
	}
	return all
}

// returning is what a statement wants back, as the parameter ReturnValues says it: RETURNING
// ALL OLD *, MODIFIED NEW *. What is not read so has a value that no policy names.
func returning(all []sqlToken) string {
	for i, t := range all {
		if !t.is("RETURNING") {
			continue
		}
		if len(all) == i+4 && all[i+3].kind == '*' {
			which, when := "", ""
			switch {
			case all[i+1].is("ALL"):
				which = "ALL"
			case all[i+1].is("MODIFIED"):
				which = "UPDATED"
			}
			switch {
			case all[i+2].is("OLD"):
				when = "_OLD"
			case all[i+2].is("NEW"):
				when = "_NEW"
			}
			if which != "" && when != "" {
				return which + when
			}
		}
		return unreadable
	}
	return ""
}

// within are the tokens between the bracket at i and the one that closes it.
func within(all []sqlToken, i int) []sqlToken {
	j := i + 1
	for j < len(all) && all[j].depth > all[i].depth {
		j++
	}
	return all[i+1 : j]
}

// isOperand reports whether the parameter at i stands where every reader looks for a value,
// so that all count it.
func isOperand(all []sqlToken, i int) bool {
	at := func(i int) sqlToken {
		if i >= 0 && i < len(all) {
			return all[i]
		}
		return sqlToken{}
	}
	before, earlier := at(i-1), at(i-2)
	switch before.kind {
	case '=', '<', '>', '+', '-', ':':
		return true
	case 'w': // x BETWEEN ? AND ?
		return before.is("BETWEEN") || before.is("AND") && at(i-3).is("BETWEEN")
	case '(':
		return earlier.is("IN") || earlier.is("list_append")
	case '[': // a list, and not a place in one
		return earlier.is("IN") || strings.IndexByte("=(,:", earlier.kind) >= 0
	case ',':
		return before.depth > 0 && at(i+1).kind != ':'
	}
	return false
}

// partitions returns the values that the statement demands of the partition key; ok is
// false when it demands none, or does so in a way that is not read.
func (s *sqlStatement) partitions(key string) (values []api.AttributeValue, ok bool) {
	if s.value == nil {
		values, ok, _ = s.demanded(key, func(string) {})
		return values, ok
	}
	for i, t := range s.value { // {'pk': value, ...}
		if t.depth != 1 || t.kind != '\'' && !t.name() || t.text != key || i+1 >= len(s.value) || s.value[i+1].kind != ':' {
			continue
		}
		if ok || i+2 >= len(s.value) || i+3 < len(s.value) && s.value[i+3].kind != ',' {
			return nil, false
		}
		v, known := s.literal(s.value[i+2])
		if !known {
			return nil, false
		}
		values, ok = []api.AttributeValue{v}, true
	}
	return values, ok
}

// demanded reads a WHERE of conditions that are joined by AND: the values that it demands of
// the partition key, and the attributes that it names. Any other is not read whole.
func (s *sqlStatement) demanded(key string, names func(string)) (values []api.AttributeValue, ok, whole bool) {
	rest := s.where
	next := func() (t sqlToken) {
		if len(rest) > 0 {
			t, rest = rest[0], rest[1:]
		}
		return t
	}
	is := func(kind byte) bool { return len(rest) > 0 && rest[0].kind == kind }
	operand := func() (v api.AttributeValue, known bool) {
		t := next()
		if t.kind == '-' || t.kind == '+' {
			return v, next().kind == '0'
		}
		if t.is("TRUE") || t.is("FALSE") || t.is("NULL") {
			return v, true
		}
		if t.kind == '\'' { // the empty text is no key, but is a value
			return api.AttributeValue{S: t.text}, true
		}
		return s.literal(t)
	}
	for {
		name := next()
		if !name.name() {
			return nil, false, false
		}
		if name.kind == 'w' && is('(') { // contains(a, b)
			inside := within(rest, 0)
			for i, t := range inside {
				if t.name() && (i == 0 || inside[i-1].kind != '.') {
					names(t.text)
				}
			}
			rest = rest[len(inside)+1:]
			if !is(')') {
				return nil, false, false
			}
			next()
		} else {
			names(name.text)
			nested := false
			for is('.') || is('[') {
				nested = true
				if next().kind == '.' {
					if !next().name() {
						return nil, false, false
					}
				} else if next().kind != '0' || next().kind != ']' {
					return nil, false, false
				}
			}
			isKey := name.text == key && !nested
			if isKey && ok {
				return nil, false, false // twice
			}
			var all []api.AttributeValue // that it may equal
			equal := false
			switch op := next(); {
			case op.kind == '=' || op.kind == '<' || op.kind == '>' || op.kind == '!' && is('='):
				if op.kind != '=' && (is('=') || op.kind == '<' && is('>')) {
					next()
				}
				v, known := operand()
				if !known {
					return nil, false, false
				}
				all, equal = []api.AttributeValue{v}, op.kind == '='
			case op.is("IN") && (is('[') || is('(')):
				inside := within(rest, 0)
				after := rest[len(inside)+1:]
				for rest = inside; len(rest) > 0; {
					if is(',') {
						next()
						continue
					}
					v, known := operand()
					if !known {
						return nil, false, false
					}
					all = append(all, v)
				}
				if rest = after; !is(')') && !is(']') {
					return nil, false, false
				}
				next()
				equal = len(all) > 0
			case op.is("BETWEEN"):
				if _, known := operand(); !known || !next().is("AND") {
					return nil, false, false
				}
				if _, known := operand(); !known {
					return nil, false, false
				}
			case op.is("IS"):
				t := next()
				if t.is("NOT") {
					t = next()
				}
				if !t.is("MISSING") && !t.is("NULL") {
					return nil, false, false
				}
			default:
				return nil, false, false
			}
			if isKey {
				if !equal {
					return nil, false, false
				}
				values, ok = all, true
			}
		}
		if len(rest) == 0 {
			return values, ok, true
		}
		if !next().is("AND") {
			return nil, false, false
		}
	}
}

// attributes are the top-level attributes that a statement names; ok is false when it names
// some in a way that is not read.
func (s *sqlStatement) attributes() (all []string, ok bool) {
	names := func(name string) { all = append(all, name) }
	if s.insert {
		return s.inserted()
	}
	if len(s.where) > 0 {
		// No attribute has this name, so that the conditions are read to their end.
		if _, _, whole := s.demanded(unreadable, names); !whole {
			return nil, false
		}
	}
	order := s.order
	if len(order) > 0 {
		if !order[0].is("BY") {
			return nil, false
		}
		order = order[1:]
		for i, t := range order { // ASC and DESC follow a name
			if i > 0 && (t.is("ASC") || t.is("DESC")) && order[i-1].kind != ',' && order[i-1].kind != '.' {
				order = append(order[:i:i], order[i+1:]...)
				break
			}
		}
	}
	for _, list := range [][]sqlToken{s.list, order} {
		if len(list) > 0 && !paths(list, names) {
			return nil, false
		}
	}
	return all, len(s.changes) == 0 || s.changed(names)
}

// paths reads attributes and what is nested in them, with commas between: a, b.c, d[0].
func paths(list []sqlToken, names func(string)) bool {
	for {
		n := path(list)
		if n == 0 {
			return false
		}
		names(list[0].text)
		if list = list[n:]; len(list) == 0 {
			return true
		}
		if list[0].kind != ',' {
			return false
		}
		list = list[1:]
	}
}

// path is how many tokens the path has that all begins with; 0 when it begins with none.
func path(all []sqlToken) int {
	if len(all) == 0 || !all[0].name() {
		return 0
	}
	n := 1
	for n < len(all) {
		switch {
		case all[n].kind == '.' && n+1 < len(all) && all[n+1].name():
			n += 2
		case all[n].kind == '[' && n+2 < len(all) && all[n+1].kind == '0' && all[n+2].kind == ']':
			n += 3
		default:
			return n
		}
	}
	return n
}

// changed reads SET path = value, ... and REMOVE path, ..., one after another.
func (s *sqlStatement) changed(names func(string)) bool {
	rest := s.changes
	for len(rest) > 0 {
		set := rest[0].is("SET")
		if !set && !rest[0].is("REMOVE") {
			return false
		}
		for again := true; again; {
			rest = rest[1:]
			n := path(rest)
			if n == 0 {
				return false
			}
			names(rest[0].text)
			rest = rest[n:]
			if set {
				if len(rest) == 0 || rest[0].kind != '=' {
					return false
				}
				if n = s.operand(rest[1:], names); n == 0 {
					return false
				}
				rest = rest[1+n:]
			}
			again = len(rest) > 0 && rest[0].kind == ','
		}
	}
	return true
}

// operand is how many tokens the value has that all begins with: literals, paths and
// functions of them, added and subtracted. 0 when it is not read.
func (s *sqlStatement) operand(all []sqlToken, names func(string)) int {
	for i := 0; i < len(all); {
		n := 0
		switch t := all[i]; {
		case t.kind == '-' && i+1 < len(all) && all[i+1].kind == '0':
			n = 2
		case t.kind == '\'' || t.kind == '0' || t.kind == '?' || t.is("TRUE") || t.is("FALSE") || t.is("NULL"):
			n = 1
		case t.kind == 'w' && i+1 < len(all) && all[i+1].kind == '(':
			inside := within(all, i+1)
			for args := inside; len(args) > 0; {
				k := s.operand(args, names)
				if k == 0 || k < len(args) && args[k].kind != ',' {
					return 0
				}
				args = args[min(k+1, len(args)):]
			}
			n = len(inside) + 3
		case t.kind == '[' || t.kind == '{':
			inside := within(all, i)
			for _, x := range inside {
				if x.name() && !x.is("TRUE") && !x.is("FALSE") && !x.is("NULL") {
					return 0
				}
			}
			n = len(inside) + 2
		default:
			if n = path(all[i:]); n == 0 {
				return 0
			}
			names(t.text)
		}
		if i += n; i >= len(all) || all[i].kind != '+' && all[i].kind != '-' {
			return min(i, len(all))
		}
		i++
	}
	return 0
}

// inserted are the attributes of {'a': value, ...}.
func (s *sqlStatement) inserted() (all []string, ok bool) {
	rest := s.value
	for len(rest) > 0 {
		if key := rest[0]; key.depth != 1 || key.kind != '\'' && !key.name() || len(rest) < 3 || rest[1].kind != ':' {
			return nil, false
		}
		all = append(all, rest[0].text)
		n := s.operand(rest[2:], func(string) {})
		if n == 0 || 2+n < len(rest) && rest[2+n].kind != ',' {
			return nil, false
		}
		rest = rest[min(2+n+1, len(rest)):]
	}
	return all, s.value != nil
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
