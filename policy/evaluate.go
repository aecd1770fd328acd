package policy

import (
	"slices"

	"github.com/iamd-dev/iamd/arn"
)

// Evaluate says which statements match a request. Without a trace it only decides,
// looks at no more statements than it must, and does not allocate. With a trace it
// looks at all statements and explains each.
func (g *Program) Evaluate(r *Request, t *Trace) Result {
	c := r.Context
	if c == nil {
		c = Keys(nil)
	}
	if t != nil {
		return g.explain(r, &recorder{c, t}, t)
	}
	result := Result{AllowedBy: -1, DeniedBy: -1}

	var buf [64]byte
	action := buf[:0]
	for i := range len(r.Action) {
		action = append(action, lower(r.Action[i]))
	}
	head, _ := head(string(r.Resource))

	denies := g.deny.find(action, head)
	for _, list := range denies {
		for _, i := range list {
			if result.Denied && int(i) > result.DeniedBy {
				break
			}
			if m, _ := g.statements[i].match(r, c, nil); m {
				result.Denied, result.DeniedBy = true, int(i)
			}
		}
	}
	allows := g.allow.find(action, head)
	for _, list := range allows {
		for _, i := range list {
			if result.Allowed && int(i) > result.AllowedBy && !g.principals {
				break // with principals, every grant counts
			}
			if m, grant := g.statements[i].match(r, c, nil); m {
				result.allow(int(i), grant)
			}
		}
	}
	return result
}

func (r *Result) allow(i int, g Grant) {
	if !r.Allowed || i < r.AllowedBy {
		r.AllowedBy = i
	}
	r.Allowed = true
	r.Grants |= g
}

// explain is Evaluate for all statements in order.
func (g *Program) explain(r *Request, c Context, t *Trace) Result {
	result := Result{AllowedBy: -1, DeniedBy: -1}
	for i := range g.statements {
		s := &g.statements[i]
		st := StatementTrace{Index: i, Sid: s.src.Sid, Effect: s.src.Effect, Line: s.src.Line, Column: s.src.Column}
		m, grant := s.match(r, c, &st)
		st.Matched = m
		t.Statements = append(t.Statements, st)
		switch {
		case !m:
		case !s.deny:
			result.allow(i, grant)
		case !result.Denied:
			result.Denied, result.DeniedBy = true, i
		}
	}
	return result
}

// A recorder is a Context that notes the keys that are absent.
type recorder struct {
	Context
	trace *Trace
}

func (r *recorder) Value(key string) (Value, bool) {
	v, ok := r.Context.Value(key)
	if !ok && !slices.Contains(r.trace.Missing, key) {
		r.trace.Missing = append(r.trace.Missing, key)
	}
	return v, ok
}

// match says whether the statement matches a request and how it names the caller.
// This is the whole meaning of a statement: its parts are asked one after the
// other, the first that says no ends it, and one that cannot be evaluated counts
// for Deny and against Allow. With a trace, the part that decided is written down.
func (s *statement) match(r *Request, c Context, t *StatementTrace) (bool, Grant) {
	unsure := false

	// Trust and resource policies name principals; others are attached to theirs.
	var grant Grant
	if s.named {
		var m truth
		if m, grant = s.matchPrincipal(r); m == no {
			if t != nil {
				t.failPrincipal(s, r)
			}
			return false, 0
		}
	}

	m := s.matchAction(r.Action)
	if m == no || m == unknown && !s.deny {
		if t != nil {
			t.failAction(s, r)
		}
		return false, 0
	}
	unsure = unsure || m == unknown

	m = s.matchResource(r.Resource, c)
	if m == no || m == unknown && !s.deny {
		if t != nil {
			t.failResource(s, r, m)
		}
		return false, 0
	}
	unsure = unsure || m == unknown

	for i := range s.conditions {
		k := &s.conditions[i]
		m := k.match(c)
		if m == no || m == unknown && !s.deny {
			if t != nil {
				t.failCondition(s.sources[i], k, c, m)
			}
			return false, 0
		}
		unsure = unsure || m == unknown
	}
	if t != nil && unsure {
		t.Note = "denies because a part of it cannot be evaluated"
	}
	return true, grant
}

func (s *statement) matchPrincipal(r *Request) (truth, Grant) {
	g := grants(s.names, &r.Principal)
	switch {
	case !s.notPrincipal:
		return truthOf(g != 0), g
	case s.deny:
		return truthOf(r.Bounded || !g.covers(&r.Principal)), 0
	case g != 0:
		return no, 0
	}
	return yes, ByNotPrincipal
}

func (s *statement) matchAction(a Action) truth {
	if s.src.Action == nil && s.src.NotAction == nil {
		return unknown
	}
	for i := range s.actions {
		if s.actions[i].match(a) {
			return truthOf(!s.notAction)
		}
	}
	return truthOf(s.notAction)
}

func (s *statement) matchResource(a arn.ARN, c Context) truth {
	if s.src.Resource == nil && s.src.NotResource == nil {
		// A trust policy is about the role that it belongs to. Anywhere else the element is required.
		if s.named {
			return yes
		}
		return unknown
	}
	t := no
	for i := range s.resources {
		if t = t.or(s.resources[i].match(a, c, s.notResource)); t == yes {
			break
		}
	}
	if s.notResource {
		return t.not()
	}
	return t
}

func (t *StatementTrace) failPrincipal(s *statement, r *Request) {
	t.Failed = "Principal"
	names := s.src.Principal
	if s.notPrincipal {
		t.Failed, names = "NotPrincipal", s.src.NotPrincipal
	}
	for _, n := range names {
		if n.Kind == "" || n.Kind == "AWS" {
			t.Want = append(t.Want, n.Value)
		} else {
			t.Want = append(t.Want, n.Kind+":"+n.Value)
		}
	}
	p := &r.Principal
	for _, got := range []string{string(p.ARN), string(p.Role), string(p.User), p.Service, p.Federated} {
		if got != "" {
			t.Got = append(t.Got, got)
		}
	}
	if t.Got == nil {
		t.Got = []string{"anonymous"}
	}
}

func (t *StatementTrace) failAction(s *statement, r *Request) {
	t.Failed, t.Want = "Action", s.src.Action
	if s.notAction {
		t.Failed, t.Want = "NotAction", s.src.NotAction
	}
	t.Got = []string{string(r.Action)}
}

func (t *StatementTrace) failResource(s *statement, r *Request, m truth) {
	t.Failed, t.Want = "Resource", s.src.Resource
	if s.notResource {
		t.Failed, t.Want = "NotResource", s.src.NotResource
	}
	t.Got = []string{string(r.Resource)}
	switch {
	case t.Want == nil:
		t.Note = "the statement has no Resource"
	case m == unknown:
		t.Note = "a variable cannot be resolved"
	}
}

func (t *StatementTrace) failCondition(src *Condition, k *condition, c Context, m truth) {
	t.Failed, t.Operator, t.Key, t.Want = "Condition", src.Operator, src.Key, src.Values
	if v, ok := c.Value(k.key); ok {
		t.Got = slices.Clone(v.Strings())
	}
	switch {
	case m != unknown:
	case k.operator == nil:
		t.Note = "unknown operator"
	case k.bad:
		t.Note = "a value is not of the operator's kind"
	case len(t.Got) > 1 && k.set == setNone:
		t.Note = "a key with several values needs ForAllValues or ForAnyValue"
	default:
		t.Note = "the request's value is not of the operator's kind"
	}
}
