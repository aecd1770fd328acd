package policy

import (
	"slices"
	"strings"
	"sync"

	"github.com/iamd-dev/iamd/arn"
)

// Evaluate says which statements match a request. With a trace it also explains
// itself; the answer is the same. Without, it does not allocate.
//
// A statement matches when its principals, actions and resources match and all its
// conditions hold. What cannot be evaluated counts for Deny and against Allow.
func (g *Program) Evaluate(r *Request, t *Trace) Result {
	var buf [16]int32
	classes := g.actions.find(buf[:0], r.Action)
	if len(classes) == 0 && len(g.anything.statements) == 0 && t == nil { // most policies have nothing to say of most actions
		return Result{AllowedBy: -1, DeniedBy: -1}
	}
	e := evaluation{Program: g, context: r.Context, result: Result{AllowedBy: -1, DeniedBy: -1}}
	if e.context == nil {
		e.context = Keys(nil)
	}
	var room *[]stage
	if t != nil {
		room = stages.Get().(*[]stage)
		*room = slices.Grow((*room)[:0], len(g.statements))[:len(g.statements)]
		clear(*room)
		e.failed = *room
	}
	for _, c := range classes {
		e.class(r, &g.classes[c])
	}
	if len(g.anything.statements) > 0 {
		e.class(r, &g.anything)
	}
	if t != nil {
		asked := *r // so that without a trace r stays where it is
		e.explain(&asked, t, classes)
		stages.Put(room)
	}
	return e.result
}

// stages are where evaluations with a trace note how far each statement came.
var stages = sync.Pool{New: func() any { return new([]stage) }}

// An evaluation is one walk over a program.
type evaluation struct {
	*Program
	context Context
	result  Result
	failed  []stage // with a trace: where each statement failed
}

// class asks those statements of a class that may be about the resource.
func (e *evaluation) class(r *Request, c *class) {
	if c.index == nil {
		for _, i := range c.statements {
			e.statement(r, i)
		}
		return
	}
	for _, i := range c.index.others {
		e.statement(r, i)
	}
	e.fragments(r, &c.index.long)
	e.fragments(r, &c.index.short)
}

// fragments asks the patterns of an index of which a fragment stands in the resource.
func (e *evaluation) fragments(r *Request, x *fragmentIndex) {
	s := string(r.Resource)
	s = s[min(x.from, len(s)):min(x.to, len(s))]
	if len(s) < x.width {
		return
	}
	var window, seen uint64
	for i := range x.width - 1 {
		window = window>>8 | uint64(s[i])<<56
	}
	for i := x.width - 1; i < len(s); i++ {
		window = window>>8 | uint64(s[i])<<56
		hash := hashFragment(window, x.width)
		if !x.may(hash) {
			continue
		}
		tag, found := fragmentTag(hash), false
		for _, f := range x.list(hash) {
			if f.tag != tag {
				continue
			}
			// A fragment that comes by again, as in aaaaaaaaaa, leads to the same patterns.
			if seen>>(tag%64)&1 != 0 && strings.Contains(s[:i], s[i+1-x.width:i+1]) {
				break
			}
			found = true
			e.pattern(r, &e.resources[f.pattern])
		}
		if found {
			seen |= 1 << (tag % 64)
		}
	}
}

// pattern asks one pattern about the resource, and then its statement for the rest.
func (e *evaluation) pattern(r *Request, p *resourcePattern) {
	i := p.statement
	s := &e.statements[i]
	if e.settled(i, s) {
		return
	}
	if m := e.matchResource(p, r.Resource, e.context, false); m == yes || m == unknown && s.deny {
		e.finish(r, i, s)
	}
}

// statement asks a statement about the resource and the rest.
func (e *evaluation) statement(r *Request, i int32) {
	s := &e.statements[i]
	if e.settled(i, s) {
		return
	}
	if m := e.aboutResource(s, r.Resource, e.context); m == yes || m == unknown && s.deny {
		e.finish(r, i, s)
	}
}

// settled says that it makes no difference any more whether a statement matches:
// one before it does. But of the Allow statements with principals each counts, as
// it may name the caller in another way; and a trace wants to know of all.
func (e *evaluation) settled(i int32, s *statement) bool {
	switch {
	case e.failed != nil:
		return e.failed[i] == failedNowhere
	case s.deny:
		return e.result.Denied && e.result.DeniedBy <= int(i)
	}
	return e.result.Allowed && e.result.AllowedBy <= int(i) && !e.principals
}

// finish asks the rest of a statement that is about the resource.
func (e *evaluation) finish(r *Request, i int32, s *statement) {
	if !e.aboutAction(s, r.Action) {
		return
	}
	grant := Grant(0)
	if s.named {
		// Trust and resource policies name principals; others are attached to theirs.
		var ok bool
		if grant, ok = e.namesPrincipal(s, r); !ok {
			return
		}
	}
	for _, k := range e.conditions[s.conditions.from:s.conditions.to] {
		if m := e.tests[k].match(e.context); m == no || m == unknown && !s.deny {
			if e.failed != nil {
				e.failed[i] = failedCondition
			}
			return
		}
	}
	if e.failed != nil {
		e.failed[i] = failedNowhere
	}
	switch {
	case s.deny:
		if !e.result.Denied || int(i) < e.result.DeniedBy {
			e.result.Denied, e.result.DeniedBy = true, int(i)
		}
	default:
		if !e.result.Allowed || int(i) < e.result.AllowedBy {
			e.result.Allowed, e.result.AllowedBy = true, int(i)
		}
		e.result.Grants |= grant
	}
}

// aboutAction says whether a statement, which its class would have about the
// action, does not leave it out with NotAction.
func (g *Program) aboutAction(s *statement, a Action) bool {
	return s.spared < 0 || !g.spared[s.spared].matches(a)
}

// aboutResource says whether the resources of a statement match.
func (g *Program) aboutResource(s *statement, a arn.ARN, c Context) truth {
	if s.noResource {
		// A trust policy is about the role that it belongs to. Anywhere else the element is required.
		if s.named {
			return yes
		}
		return unknown
	}
	t := no
	for i := s.resources.from; i < s.resources.to && t != yes; i++ {
		t = t.or(g.matchResource(&g.resources[i], a, c, s.notResource))
	}
	if s.notResource {
		return t.not()
	}
	return t
}

// namesPrincipal says whether a statement with principals is about the caller, and
// how it names it.
func (g *Program) namesPrincipal(s *statement, r *Request) (Grant, bool) {
	grant := grants(g.names[s.names.from:s.names.to], &r.Principal)
	switch {
	case !s.notPrincipal:
		return grant, grant != 0
	case s.deny:
		return 0, r.Bounded || !grant.covers(&r.Principal)
	}
	return ByNotPrincipal, grant == 0
}
