// Package policy is the AWS policy language: it reads, checks, prints, compiles,
// evaluates and explains policy documents.
//
// A policy document is JSON. It has a Version and one or more statements; each
// says that a principal may (Effect Allow) or may not (Effect Deny) take certain
// actions on certain resources under certain conditions:
//
//	{
//	  "Version": "2012-10-17",
//	  "Statement": [{
//	    "Effect": "Allow",
//	    "Action": "s3:GetObject",
//	    "Resource": "arn:aws:s3:::reports/${aws:username}/*",
//	    "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}
//	  }]
//	}
//
// # From text to answer
//
//   - [Parse] reads a document and asks only for its form. Every statement and
//     element keeps the line and column where it was written.
//   - [Check] does what AWS does when a document is stored: it finds the first
//     fault in AWS's order and reports it in AWS's words.
//   - [Policy.Validate] gives a list of findings for the author of a policy.
//   - [Compile] makes a [Program] of one policy: everything that can be worked out
//     beforehand is, and statements are found by action and resource.
//   - [Program.Evaluate] answers one [Request]: does an Allow statement match, does
//     a Deny statement match, and which. With a [Trace] the same walk also writes
//     down why each statement did or did not match.
//
// A Program speaks for one document. How the answers of several documents make a
// decision (identity policies, boundaries, session policies, resource policies,
// service control policies) is not told here: the package knows no service and no
// account.
//
// # What it costs
//
// On a core of 3 GHz a decision takes about 0.2 microseconds, two conditions
// included, whether a policy has ten statements or a thousand, and 0.4 when their
// resources begin with a wildcard. A policy that has nothing to say of an action
// says so in 0.03 to 0.05. It does not allocate. Compiling takes 2 microseconds for
// a statement and happens once; reading a document takes about as long.
//
// # What cannot be evaluated
//
// An element that the engine cannot evaluate, such as an unknown condition
// operator, a number that is none or a variable that cannot be read, never makes
// an Allow statement match and never keeps a Deny statement from matching. The
// same holds for a value in the request that is not of the operator's kind.
// Everything else follows AWS's documentation:
//
//   - A key that is absent from the request fails a condition, except with the
//     operators Not..., ...IfExists, ForAllValues: and Null.
//   - A variable whose key is absent and that has no default makes its value match
//     nothing. In NotResource it counts as not evaluable.
//   - NotPrincipal with Deny spares a caller only when every name of the caller is
//     listed: the account, the role of a role session, and the caller itself; and
//     a caller with a permissions boundary is never spared. With Allow one listed
//     name is enough to leave the caller out.
//   - Resource patterns are compared with ARNs part by part; a pattern of fewer
//     than six parts, such as arn:aws:ec2, is filled up with stars. The resource
//     "*" of an action without resources is matched only by a Resource of "*".
//
// # What is kept
//
// This package and package arn are for other programs, too, and import nothing but
// the standard library and each other. Until version 1 of the module a change that
// breaks a caller is told in the release notes, with what to write instead; from then
// on there is none, as the Go module system has it. What is promised from now on: the
// answer to a request changes only where AWS's does, or where it was wrong and a test
// is added that says so; a document that was accepted is not refused later, nor what
// is not understood let through; the JSON form of a [Trace] gets new members and loses
// none; the codes of findings are AWS's. Texts of errors and of notes may change.
package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"iter"
	"slices"
)

// An Action is the name of a permission, "s3:GetObject". Actions are compared
// without regard to case.
type Action string

// A Kind says where a policy document is attached, which decides what it must and
// must not contain.
type Kind uint8

// The kinds of policy documents.
const (
	Identity Kind = iota // of a user, group or role, and managed policies
	Boundary             // a permissions boundary
	Session              // passed when temporary credentials are made
	Trust                // a role's trust policy
	Resource             // of a resource, such as an S3 bucket
	SCP                  // a service control policy
	RCP                  // a resource control policy
)

var kindNames = [...]string{"Identity", "Boundary", "Session", "Trust", "Resource", "SCP", "RCP"}

// String gives the name of the kind.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "Kind(?)"
}

// A Policy is a policy document as it was written. It is not changed after
// Parse: the methods that change something give a new one.
type Policy struct {
	Version    string // "2012-10-17", "2008-10-17" or "" when the document has none, which means 2008-10-17
	ID         string
	Statements []Statement
}

// A Statement is one statement of a policy. Of Principal and NotPrincipal, Action
// and NotAction, Resource and NotResource one at most is not nil. A list that was
// written and is empty is not nil.
type Statement struct {
	Sid          string
	Effect       string // "Allow" or "Deny"
	Principal    []Name
	NotPrincipal []Name
	Action       []string
	NotAction    []string
	Resource     []string
	NotResource  []string
	Condition    []Condition // one for each operator and key
	Line, Column int         // where the statement's brace stands, counted from 1

	actionAt, resourceAt []position // of the items of Action or NotAction, Resource or NotResource
}

// A Name is one principal in a Principal or NotPrincipal element.
type Name struct {
	Kind         string // "AWS", "Service", "Federated", "CanonicalUser"; "" for a Principal that is just "*"
	Value        string
	Line, Column int
}

// A Condition is one operator with one key and the values it is compared with.
type Condition struct {
	Operator     string // "StringEquals", "ForAnyValue:StringLike", "BoolIfExists"
	Key          string // "aws:SourceIp"
	Values       []string
	Line, Column int // of the key
}

// A SyntaxError says where a document is not a policy.
type SyntaxError struct {
	Line, Column int // counted from 1; columns are characters
	Msg          string

	fault fault
}

// Principals gives the kind and value of every principal that the policy names,
// in the order in which they are written.
func (p *Policy) Principals() iter.Seq2[string, string] {
	return func(yield func(kind, value string) bool) {
		for i := range p.Statements {
			for _, names := range [][]Name{p.Statements[i].Principal, p.Statements[i].NotPrincipal} {
				for _, n := range names {
					if !yield(n.Kind, n.Value) {
						return
					}
				}
			}
		}
	}
}

// MapPrincipals gives a copy of the policy in which the value of every principal
// is what f makes of it. Trust policies are stored with the unique ids of users
// and roles instead of their ARNs, and shown with the ARNs of today.
func (p *Policy) MapPrincipals(f func(kind, value string) string) *Policy {
	q := *p
	q.Statements = slices.Clone(p.Statements)
	for i := range q.Statements {
		s := &q.Statements[i]
		for _, names := range []*[]Name{&s.Principal, &s.NotPrincipal} {
			*names = slices.Clone(*names)
			for j := range *names {
				(*names)[j].Value = f((*names)[j].Kind, (*names)[j].Value)
			}
		}
	}
	return &q
}

// String gives the document as one line of JSON, which Parse reads as the same policy.
func (p *Policy) String() string {
	text, err := p.MarshalJSON()
	if err != nil {
		panic(err) // strings and lists can always be written
	}
	return string(text)
}

// MarshalJSON writes the policy document. A list of one value is written without brackets.
func (p *Policy) MarshalJSON() ([]byte, error) {
	var b printer
	b.open('{')
	if p.Version != "" {
		b.member("Version")
		b.text(p.Version)
	}
	if p.ID != "" {
		b.member("Id")
		b.text(p.ID)
	}
	b.member("Statement")
	b.open('[')
	for i := range p.Statements {
		b.comma()
		p.Statements[i].print(&b)
	}
	b.close(']')
	b.close('}')
	return b.Bytes(), nil
}

// MarshalJSON writes the statement as it stands in a document.
func (s *Statement) MarshalJSON() ([]byte, error) {
	var b printer
	s.print(&b)
	return b.Bytes(), nil
}

// UnmarshalJSON reads one statement of a document, whose lines and columns are
// counted from its own beginning.
func (s *Statement) UnmarshalJSON(text []byte) error {
	const before = `{"Statement":`
	p, err := Parse([]byte(before + string(text) + "}"))
	if err != nil {
		return err
	}
	if len(p.Statements) != 1 {
		return errors.New("policy: not one statement")
	}
	*s = p.Statements[0]
	return nil
}

func (s *Statement) print(b *printer) {
	b.open('{')
	if s.Sid != "" {
		b.member("Sid")
		b.text(s.Sid)
	}
	b.member("Effect")
	b.text(s.Effect)
	b.principals("Principal", s.Principal)
	b.principals("NotPrincipal", s.NotPrincipal)
	for _, e := range []struct {
		name   string
		values []string
	}{{"Action", s.Action}, {"NotAction", s.NotAction}, {"Resource", s.Resource}, {"NotResource", s.NotResource}} {
		if e.values != nil {
			b.member(e.name)
			b.list(e.values)
		}
	}
	if s.Condition != nil {
		b.member("Condition")
		b.open('{')
		for i, c := range s.Condition {
			if i == 0 || c.Operator != s.Condition[i-1].Operator {
				if i > 0 {
					b.close('}')
				}
				b.member(c.Operator)
				b.open('{')
			}
			if c.Key != "" || c.Values != nil { // an operator without keys stands alone
				b.member(c.Key)
				b.list(c.Values)
			}
		}
		if len(s.Condition) > 0 {
			b.close('}')
		}
		b.close('}')
	}
	b.close('}')
}

// A printer writes JSON on one line.
type printer struct {
	bytes.Buffer
}

func (b *printer) open(bracket byte)  { b.WriteByte(bracket) }
func (b *printer) close(bracket byte) { b.WriteByte(bracket) }

func (b *printer) comma() {
	if last := b.Bytes()[b.Len()-1]; last != '{' && last != '[' {
		b.WriteByte(',')
	}
}

func (b *printer) member(name string) {
	b.comma()
	b.text(name)
	b.WriteByte(':')
}

// text writes a JSON string; unlike json.Marshal it leaves <, > and & as they are.
func (b *printer) text(s string) {
	enc := json.NewEncoder(&b.Buffer)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic(err) // a string can always be written
	}
	b.Truncate(b.Len() - 1) // the newline that Encode adds
}

func (b *printer) list(values []string) {
	if len(values) == 1 {
		b.text(values[0])
		return
	}
	b.open('[')
	for _, v := range values {
		b.comma()
		b.text(v)
	}
	b.close(']')
}

func (b *printer) principals(element string, names []Name) {
	if names == nil {
		return
	}
	b.member(element)
	if len(names) == 1 && names[0].Kind == "" {
		b.text(names[0].Value)
		return
	}
	b.open('{')
	for i, n := range names {
		if slices.ContainsFunc(names[:i], func(m Name) bool { return m.Kind == n.Kind }) {
			continue // written with the first of its kind
		}
		var values []string
		for _, m := range names[i:] {
			if m.Kind == n.Kind {
				values = append(values, m.Value)
			}
		}
		b.member(n.Kind)
		b.list(values)
	}
	b.close('}')
}
