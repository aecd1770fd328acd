package policy

import (
	"cmp"
	"fmt"
	"slices"
)

// A fault is the kind of a syntax error. AWS words the same fault differently for
// different kinds of policies, and reports some before others; see check.go.
type fault uint8

const (
	faultGrammar        fault = iota // an element that does not belong there or has the wrong shape
	faultJSON                        // not JSON at all
	faultNotObject                   // not an object
	faultVersion                     // a Version that never was
	faultNoStatement                 // no Statement element
	faultEmptyStatement              // Statement is an empty list
	faultNoEffect                    // a statement without Effect
	faultEffect                      // an Effect other than Allow and Deny
	faultEffectCase                  // Allow or Deny in other capitals
	faultPrincipalText               // a Principal that is a text other than "*"
	faultNoAction                    // a statement without Action and NotAction
)

// missing is 1 for what is not there and 0 for what is there and wrong.
func (f fault) missing() int {
	switch f {
	case faultNoStatement, faultNoEffect, faultNoAction:
		return 1
	}
	return 0
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("policy: line %d, column %d: %s", e.Line, e.Column, e.Msg)
}

// Parse reads a policy document. It asks for the form only: JSON without repeated
// names, known elements of the right shape, and in every statement an Effect and
// either Action or NotAction. Whether the document may be stored as a policy of
// some kind is for [Check] to say. Errors are of type *SyntaxError.
func Parse(src []byte) (*Policy, error) {
	p, faults := parse(src)
	if len(faults) > 0 {
		return nil, faults[0]
	}
	return p, nil
}

// parse reads a policy document and goes on after most faults. It gives them in the
// order of the text, and what is missing last: it is often there by a wrong name.
func parse(src []byte) (*Policy, []*SyntaxError) {
	root, err := read(src)
	if err != nil {
		return nil, []*SyntaxError{err}
	}
	b := &builder{}
	p := b.policy(&root)
	slices.SortStableFunc(b.faults, func(x, y *SyntaxError) int {
		return cmp.Or(
			cmp.Compare(x.fault.missing(), y.fault.missing()),
			cmp.Compare(x.Line, y.Line),
			cmp.Compare(x.Column, y.Column),
		)
	})
	return p, b.faults
}

// A builder makes a Policy of JSON.
type builder struct {
	faults []*SyntaxError
}

func (b *builder) fault(f fault, at position, format string, args ...any) {
	b.faults = append(b.faults, &SyntaxError{Line: at.line, Column: at.column, Msg: fmt.Sprintf(format, args...), fault: f})
}

func (b *builder) policy(n *node) *Policy {
	p := &Policy{}
	if n.kind != '{' {
		b.fault(faultNotObject, n.position, "a policy is a JSON object")
		return p
	}
	statements := false
	for i := range n.members {
		m := &n.members[i]
		switch m.name {
		case "Version":
			p.Version = b.text(m)
			if v := p.Version; v != "2012-10-17" && v != "2008-10-17" {
				b.fault(faultVersion, m.value.position, "unknown Version %q: it is 2012-10-17 or 2008-10-17", v)
			}
		case "Id":
			p.ID = b.text(m)
		case "Statement":
			statements = true
			switch m.value.kind {
			case '{':
				p.Statements = []Statement{b.statement(&m.value)}
			case '[':
				if len(m.value.items) == 0 {
					b.fault(faultEmptyStatement, m.value.position, "Statement is empty")
				}
				p.Statements = make([]Statement, 0, len(m.value.items))
				for j := range m.value.items {
					p.Statements = append(p.Statements, b.statement(&m.value.items[j]))
				}
			default:
				b.fault(faultGrammar, m.value.position, "Statement must be an object or a list of objects")
			}
		default:
			b.fault(faultGrammar, m.position, "unknown element %q in a policy", m.name)
		}
	}
	if !statements {
		b.fault(faultNoStatement, n.position, "a policy needs a Statement")
	}
	return p
}

func (b *builder) statement(n *node) Statement {
	s := Statement{Line: n.line, Column: n.column}
	if n.kind != '{' {
		b.fault(faultGrammar, n.position, "a statement is a JSON object")
		return s
	}
	effect, action := false, false
	written := map[string]bool{}
	for i := range n.members {
		m := &n.members[i]
		written[m.name] = true
		for _, pair := range [][2]string{{"Principal", "NotPrincipal"}, {"Action", "NotAction"}, {"Resource", "NotResource"}} {
			if (m.name == pair[0] || m.name == pair[1]) && written[pair[0]] && written[pair[1]] {
				b.fault(faultGrammar, m.position, "a statement has either %s or %s", pair[0], pair[1])
			}
		}
		switch m.name {
		case "Sid":
			s.Sid = b.text(m)
		case "Effect":
			effect = true
			s.Effect = b.text(m)
			switch {
			case s.Effect == "Allow" || s.Effect == "Deny":
			case foldEqual(s.Effect, "Allow") || foldEqual(s.Effect, "Deny"):
				b.fault(faultEffectCase, m.value.position, "Effect is Allow or Deny, not %q", s.Effect)
			default:
				b.fault(faultEffect, m.value.position, "Effect is Allow or Deny, not %q", s.Effect)
			}
		case "Principal":
			s.Principal = b.principals(m)
		case "NotPrincipal":
			s.NotPrincipal = b.principals(m)
		case "Action":
			action = true
			s.Action, s.actionAt = b.texts(m)
		case "NotAction":
			action = true
			s.NotAction, s.actionAt = b.texts(m)
		case "Resource":
			s.Resource, s.resourceAt = b.texts(m)
		case "NotResource":
			s.NotResource, s.resourceAt = b.texts(m)
		case "Condition":
			s.Condition = b.conditions(m)
		default:
			b.fault(faultGrammar, m.position, "unknown element %q in a statement", m.name)
		}
	}
	if !effect {
		b.fault(faultNoEffect, n.position, "a statement needs an Effect")
	}
	if !action {
		b.fault(faultNoAction, n.position, "a statement needs an Action or a NotAction")
	}
	return s
}

// text gives the text of a member.
func (b *builder) text(m *member) string {
	if m.value.kind != '"' {
		b.fault(faultGrammar, m.value.position, "%s must be text", m.name)
	}
	return m.value.text
}

// texts gives a text or a list of texts. AWS accepts null in such a list and
// ignores it.
func (b *builder) texts(m *member) ([]string, []position) {
	items := m.value.items
	switch m.value.kind {
	case '"':
		items = []node{m.value}
	case '[':
	default:
		b.fault(faultGrammar, m.value.position, "%s must be text or a list of texts", m.name)
	}
	texts, at := make([]string, 0, len(items)), make([]position, 0, len(items))
	for i := range items {
		switch items[i].kind {
		case '"':
			texts, at = append(texts, items[i].text), append(at, items[i].position)
		case 'n':
		default:
			b.fault(faultGrammar, items[i].position, "%s must be text or a list of texts", m.name)
		}
	}
	return texts, at
}

func (b *builder) principals(m *member) []Name {
	names := []Name{}
	switch n := &m.value; n.kind {
	case '"':
		names = append(names, Name{Value: n.text, Line: n.line, Column: n.column})
		if n.text != "*" {
			b.fault(faultPrincipalText, n.position, `%s must be "*" or an object`, m.name)
		}
	case '{':
		for i := range n.members {
			kind := &n.members[i]
			switch kind.name {
			case "AWS", "Service", "Federated", "CanonicalUser":
				values, at := b.texts(kind)
				for j, v := range values {
					names = append(names, Name{Kind: kind.name, Value: v, Line: at[j].line, Column: at[j].column})
				}
			default:
				b.fault(faultGrammar, kind.position, "unknown kind of principal %q", kind.name)
			}
		}
	default:
		b.fault(faultGrammar, n.position, `%s must be "*" or an object`, m.name)
	}
	return names
}

func (b *builder) conditions(m *member) []Condition {
	n := 0
	for i := range m.value.members {
		n += max(1, len(m.value.members[i].value.members))
	}
	conditions := make([]Condition, 0, n)
	if m.value.kind != '{' {
		b.fault(faultGrammar, m.value.position, "Condition must be an object")
	}
	for i := range m.value.members {
		operator := &m.value.members[i]
		if operator.value.kind != '{' {
			b.fault(faultGrammar, operator.value.position, "%s must be an object of condition keys", operator.name)
			continue
		}
		if len(operator.value.members) == 0 { // has no effect, but is printed as it was written
			conditions = append(conditions, Condition{Operator: operator.name, Line: operator.line, Column: operator.column})
		}
		for j := range operator.value.members {
			key := &operator.value.members[j]
			conditions = append(conditions, Condition{
				Operator: operator.name,
				Key:      key.name,
				Values:   b.values(key),
				Line:     key.line,
				Column:   key.column,
			})
		}
	}
	return conditions
}

// values gives the values of a condition key. Numbers and booleans need no quotes.
func (b *builder) values(key *member) []string {
	items := key.value.items
	if key.value.kind != '[' {
		items = []node{key.value}
	}
	values := make([]string, 0, len(items))
	for i := range items {
		switch items[i].kind {
		case '"', '0', 't':
			values = append(values, items[i].text)
		default:
			b.fault(faultGrammar, items[i].position, "the value of %q must be text, a number or a boolean", key.name)
		}
	}
	return values
}
