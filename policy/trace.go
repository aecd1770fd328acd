package policy

import (
	"bytes"
	"slices"
)

// A Trace is the explanation of one evaluation. It has every statement that
// matched and, of the others, the three that came nearest: those that failed at
// a condition before those that failed at the resource, the action or the
// principal, and in the order of the policy where that is the same.
//
// It costs about three quarters of a microsecond for a policy of ten statements and one
// for a thousand, most of which it does not show: three and a half and four plain
// decisions.
type Trace struct {
	Statements []StatementTrace `json:"statements"`        // in the order of the policy
	Omitted    int              `json:"omitted,omitempty"` // how many statements are left out, none of which matched
	Missing    []string         `json:"missing,omitempty"` // condition keys that these statements asked for and that are absent, in lower case, in the order of asking
}

// A StatementTrace says whether a statement matched and, if it did not, what
// failed first. Elements are compared in the order Principal, Action, Resource,
// Condition.
type StatementTrace struct {
	Index    int      `json:"index"`
	Sid      string   `json:"sid,omitempty"`
	Effect   string   `json:"effect"`
	Line     int      `json:"line"`
	Column   int      `json:"column"`
	Matched  bool     `json:"matched"`
	Failed   string   `json:"failed,omitempty"`   // "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource" or "Condition"
	Operator string   `json:"operator,omitempty"` // of the condition, as written
	Key      string   `json:"key,omitempty"`      // of the condition, as written
	Want     []string `json:"want,omitempty"`     // what the policy says, as written
	Got      []string `json:"got,omitempty"`      // what the request has; nil when the key is absent
	Note     string   `json:"note,omitempty"`     // what could not be evaluated, when that decided

	// Statement is the statement itself, if it matched.
	Statement *Statement `json:"statement,omitempty"`
}

// maxNearest is how many statements that do not match a Trace has.
const maxNearest = 3

// A stage is where a statement failed.
type stage = byte

const (
	failedAction stage = iota // so it is until more is known
	failedPrincipal
	failedResource
	failedCondition
	failedNowhere // it matched
)

// explain writes a trace after a walk in which statements of these classes were met.
func (e *evaluation) explain(r *Request, t *Trace, classes []int32) {
	e.stages(r, classes)

	// Choose the statements that are shown.
	var room [2 * maxNearest]int
	shown := room[:0]
	rest := maxNearest
	for _, stage := range []stage{failedNowhere, failedCondition, failedResource, failedAction, failedPrincipal} {
		for i := 0; stage == failedNowhere || rest > 0; i++ {
			next := bytes.IndexByte(e.failed[i:], stage)
			if next < 0 {
				break
			}
			i += next
			shown = append(shown, i)
			if stage != failedNowhere {
				rest--
			}
		}
	}
	slices.Sort(shown)

	asked := &asked{recorder{e.context, t}, [2]string{string(r.Action), string(r.Resource)}}
	x := explainer{*e, r, &asked.recorder, asked.got[:1:1], asked.got[1:]}
	t.Statements = make([]StatementTrace, len(shown))
	for n, i := range shown {
		x.statement(i, &t.Statements[n])
	}
	t.Omitted = len(e.statements) - len(shown)
}

// stages finds out where the statements failed that did not come as far as their
// conditions. Of a class it needs no more than can be shown.
func (e *evaluation) stages(r *Request, classes []int32) {
	if e.principals {
		for i := range e.statements {
			if s := &e.statements[i]; s.named {
				if _, ok := e.namesPrincipal(s, r); !ok {
					e.failed[i] = failedPrincipal
				}
			}
		}
	}
	for _, c := range classes {
		rest := maxNearest
		for _, i := range e.classes[c].statements {
			if e.failed[i] == failedAction {
				e.failed[i] = failedResource
				if rest--; rest == 0 {
					break
				}
			}
		}
	}
	for _, i := range e.anything.statements {
		if e.failed[i] == failedAction && e.aboutAction(&e.statements[i], r.Action) {
			e.failed[i] = failedResource
		}
	}
}

// An explainer writes down why statements matched or did not.
type explainer struct {
	evaluation
	request          *Request
	context          Context  // notes the keys that are absent
	action, resource []string // of the request
}

// An asked is what an explainer needs of a request, made at once.
type asked struct {
	recorder
	got [2]string
}

func (x *explainer) statement(i int, t *StatementTrace) {
	s, src := &x.statements[i], &x.policy.Statements[i]
	*t = StatementTrace{Index: i, Sid: src.Sid, Effect: src.Effect, Line: src.Line, Column: src.Column}
	switch x.failed[i] {
	case failedPrincipal:
		t.failPrincipal(src, &x.request.Principal)
		return
	case failedAction:
		t.Failed, t.Want, t.Got = "Action", src.Action, x.action
		if src.NotAction != nil {
			t.Failed, t.Want = "NotAction", src.NotAction
		}
		return
	}

	about := yes
	if s.noResource || s.variables {
		about = x.aboutResource(s, x.request.Resource, x.context)
	}
	if x.failed[i] == failedResource {
		t.Failed, t.Want, t.Got = "Resource", src.Resource, x.resource
		if s.notResource {
			t.Failed, t.Want = "NotResource", src.NotResource
		}
		switch {
		case s.noResource:
			t.Note = "the statement has no Resource"
		case about == unknown:
			t.Note = "a variable cannot be resolved"
		}
		return
	}

	unsure := s.noAction || about == unknown
	tests := x.conditions[s.conditions.from:s.conditions.to]
	for j := range src.Condition {
		c := &src.Condition[j]
		if c.empty() {
			continue
		}
		k := &x.tests[tests[0]]
		tests = tests[1:]
		m := k.match(x.context)
		if m == no || m == unknown && !s.deny {
			t.failCondition(c, k, x.context, m)
			return
		}
		unsure = unsure || m == unknown
	}
	t.Matched, t.Statement = true, src
	if unsure {
		t.Note = "denies because a part of it cannot be evaluated"
	}
}

func (t *StatementTrace) failPrincipal(src *Statement, p *Principal) {
	t.Failed = "Principal"
	names := src.Principal
	if src.NotPrincipal != nil {
		t.Failed, names = "NotPrincipal", src.NotPrincipal
	}
	for _, n := range names {
		if n.Kind == "" || n.Kind == "AWS" {
			t.Want = append(t.Want, n.Value)
		} else {
			t.Want = append(t.Want, n.Kind+":"+n.Value)
		}
	}
	for _, got := range []string{string(p.ARN), string(p.Role), string(p.User), p.Service, p.Federated} {
		if got != "" {
			t.Got = append(t.Got, got)
		}
	}
	if t.Got == nil {
		t.Got = []string{"anonymous"}
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
