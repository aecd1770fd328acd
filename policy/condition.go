package policy

import (
	"encoding/base64"
	"net/netip"
	"slices"
	"strings"
)

// An operator is a condition operator without its set prefix and IfExists.
type operator struct {
	name    string
	compile func(o *operator, values []string, variables bool) (list operands, bad bool)
	negated bool             // true of a key that the request does not have
	holds   func(c int) bool // for numbers and dates: whether the comparison of request and policy satisfies the operator
}

// operators holds AWS's condition operators.
var operators = []operator{
	{name: "StringEquals", compile: compileTexts},
	{name: "StringNotEquals", compile: compileTexts, negated: true},
	{name: "StringEqualsIgnoreCase", compile: compileFolds},
	{name: "StringNotEqualsIgnoreCase", compile: compileFolds, negated: true},
	{name: "StringLike", compile: compileLikes},
	{name: "StringNotLike", compile: compileLikes, negated: true},
	{name: "NumericEquals", compile: compileNumbers, holds: equal},
	{name: "NumericNotEquals", compile: compileNumbers, holds: equal, negated: true},
	{name: "NumericLessThan", compile: compileNumbers, holds: func(c int) bool { return c < 0 }},
	{name: "NumericLessThanEquals", compile: compileNumbers, holds: func(c int) bool { return c <= 0 }},
	{name: "NumericGreaterThan", compile: compileNumbers, holds: func(c int) bool { return c > 0 }},
	{name: "NumericGreaterThanEquals", compile: compileNumbers, holds: func(c int) bool { return c >= 0 }},
	{name: "DateEquals", compile: compileDates, holds: equal},
	{name: "DateNotEquals", compile: compileDates, holds: equal, negated: true},
	{name: "DateLessThan", compile: compileDates, holds: func(c int) bool { return c < 0 }},
	{name: "DateLessThanEquals", compile: compileDates, holds: func(c int) bool { return c <= 0 }},
	{name: "DateGreaterThan", compile: compileDates, holds: func(c int) bool { return c > 0 }},
	{name: "DateGreaterThanEquals", compile: compileDates, holds: func(c int) bool { return c >= 0 }},
	{name: "Bool", compile: compileBools},
	{name: "BinaryEquals", compile: compileBinaries},
	{name: "IpAddress", compile: compileNets},
	{name: "NotIpAddress", compile: compileNets, negated: true},
	{name: "ArnEquals", compile: compileARNs},
	{name: "ArnLike", compile: compileARNs},
	{name: "ArnNotEquals", compile: compileARNs, negated: true},
	{name: "ArnNotLike", compile: compileARNs, negated: true},
	{name: "Null", compile: compileBools},
}

func equal(c int) bool { return c == 0 }

// set says how the values of a multivalued key are taken together.
type set uint8

const (
	setNone set = iota
	setAll      // ForAllValues:
	setAny      // ForAnyValue:
)

// parseOperator takes the name of a condition operator apart, without regard to
// case. It gives nil when there is no such operator.
func parseOperator(s string) (o *operator, quantifier set, ifExists bool) {
	switch {
	case foldPrefix(s, "ForAllValues:"):
		quantifier, s = setAll, s[len("ForAllValues:"):]
	case foldPrefix(s, "ForAnyValue:"):
		quantifier, s = setAny, s[len("ForAnyValue:"):]
	}
	if n := len(s) - len("IfExists"); n > 0 && foldEqual(s[n:], "IfExists") {
		ifExists, s = true, s[:n]
	}
	for i := range operators {
		if foldEqual(operators[i].name, s) {
			if operators[i].isNull() && (ifExists || quantifier != setNone) {
				break // Null is about keys and not about values
			}
			return &operators[i], quantifier, ifExists
		}
	}
	return nil, 0, false
}

// accepts says whether a value of a policy is of the operator's kind.
func (o *operator) accepts(value string, variables bool) bool {
	_, bad := o.compile(o, []string{value}, variables)
	return !bad
}

func (o *operator) isNull() bool { return o.name == "Null" }

// Operands are the values of a condition, ready to be compared with one value of
// the request.
type operands interface {
	// match says whether one of the operands is like the value. The answer is unknown
	// when the value is not of the kind that the operator compares.
	match(got string, c Context) truth
}

// The functions below compile the values of a policy. They leave out those that are
// not of the operator's kind, and say so.

// Texts are compared as they are.
type texts []string

func (t texts) match(got string, _ Context) truth {
	return truthOf(slices.Contains(t, got))
}

// sortedTexts are so many that looking them up is faster than going through them.
type sortedTexts []string

func (t sortedTexts) match(got string, _ Context) truth {
	_, ok := slices.BinarySearch(t, got)
	return truthOf(ok)
}

// manyTexts is how many make it worth while to sort them.
const manyTexts = 16

func compileTexts(_ *operator, values []string, variables bool) (operands, bool) {
	switch {
	case variables && slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, "${") }):
		return compilePatterns(values, (*pattern).equal, false, variables)
	case len(values) >= manyTexts:
		return sortedTexts(slices.Sorted(slices.Values(values))), false
	}
	return texts(values), false
}

func compileFolds(_ *operator, values []string, variables bool) (operands, bool) {
	return compilePatterns(values, (*pattern).equalFold, false, variables)
}

func compileLikes(_ *operator, values []string, variables bool) (operands, bool) {
	return compilePatterns(values, (*pattern).glob, true, variables)
}

// Patterns may have wildcards and variables.
type patterns struct {
	like func(p *pattern, got string, c Context) bool
	list []pattern
}

func compilePatterns(values []string, like func(*pattern, string, Context) bool, wild, variables bool) (operands, bool) {
	bad := false
	list := make([]pattern, 0, len(values))
	for _, v := range values {
		if p, ok := compilePattern(v, wild, variables); ok {
			list = append(list, p)
		} else {
			bad = true
		}
	}
	return &patterns{like, list}, bad
}

func (p *patterns) match(got string, c Context) truth {
	for i := range p.list {
		if p.like(&p.list[i], got, c) {
			return yes
		}
	}
	return no
}

// arns are patterns of ARNs.
type arns struct{ patterns }

func compileARNs(_ *operator, values []string, variables bool) (operands, bool) {
	a, bad := &arns{}, false
	a.like = func(p *pattern, got string, c Context) bool { return p.text == "*" || p.globARN(got, c) }
	for _, v := range values {
		p, ok := compilePattern(v, true, variables)
		if ok && (p.tokens != nil || v == "*" || strings.Count(v, ":") >= 5) {
			a.list = append(a.list, p)
		} else {
			bad = true
		}
	}
	return a, bad
}

func (a *arns) match(got string, c Context) truth {
	if len(a.list) > 0 && strings.Count(got, ":") < 5 {
		return unknown
	}
	return a.patterns.match(got, c)
}

type numbers struct {
	*operator
	list []number
}

func compileNumbers(o *operator, values []string, _ bool) (operands, bool) {
	list := compileEach(values, parseNumber)
	return &numbers{o, list}, len(list) < len(values)
}

func (n *numbers) match(got string, _ Context) truth {
	g, ok := parseNumber(got)
	if !ok {
		return unknownAmong(len(n.list))
	}
	return truthOf(slices.ContainsFunc(n.list, func(want number) bool { return n.holds(g.compare(want)) }))
}

type dates struct {
	*operator
	list []instant
}

func compileDates(o *operator, values []string, _ bool) (operands, bool) {
	list := compileEach(values, parseDate)
	return &dates{o, list}, len(list) < len(values)
}

func (d *dates) match(got string, _ Context) truth {
	g, ok := parseDate(got)
	if !ok {
		return unknownAmong(len(d.list))
	}
	return truthOf(slices.ContainsFunc(d.list, func(want instant) bool { return d.holds(g.compare(want)) }))
}

type bools []bool

func compileBools(_ *operator, values []string, _ bool) (operands, bool) {
	list := compileEach(values, parseBool)
	return bools(list), len(list) < len(values)
}

func parseBool(s string) (value, ok bool) {
	value = foldEqual(s, "true")
	return value, value || foldEqual(s, "false")
}

func (b bools) match(got string, _ Context) truth {
	g, ok := parseBool(got)
	if !ok {
		return unknownAmong(len(b))
	}
	return truthOf(slices.Contains(b, g))
}

func compileBinaries(_ *operator, values []string, _ bool) (operands, bool) {
	list := compileEach(values, func(s string) (string, bool) {
		b, err := base64.StdEncoding.DecodeString(s)
		return string(b), err == nil
	})
	return texts(list), len(list) < len(values)
}

// nets are ranges of addresses. One address is a range too.
type nets []netip.Prefix

func compileNets(_ *operator, values []string, _ bool) (operands, bool) {
	list := compileEach(values, parseNet)
	return nets(list), len(list) < len(values)
}

func parseNet(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), true
}

func (n nets) match(got string, _ Context) truth {
	a, err := netip.ParseAddr(got)
	if err != nil || a.Zone() != "" {
		return unknownAmong(len(n))
	}
	a = a.Unmap()
	for i := range n {
		if n[i].Contains(a) {
			return yes
		}
	}
	return no
}

// compileEach gives what the values stand for, without those that stand for nothing.
func compileEach[T any](values []string, parse func(string) (T, bool)) []T {
	list := make([]T, 0, len(values))
	for _, v := range values {
		if x, ok := parse(v); ok {
			list = append(list, x)
		}
	}
	return list
}

// unknownAmong is the answer of n operands to a value that is not of their kind:
// with none there is nothing that could not be compared.
func unknownAmong(n int) truth {
	if n == 0 {
		return no
	}
	return unknown
}

// A condition is a compiled Condition.
type condition struct {
	operator *operator // nil when unknown
	key      string    // lower case
	operands operands
	set      set
	ifExists bool
	bad      bool // a value is not of the operator's kind
}

func compileCondition(c *Condition, variables bool) condition {
	var k condition
	k.operator, k.set, k.ifExists = parseOperator(c.Operator)
	k.key = lowered(c.Key)
	if k.operator != nil {
		k.operands, k.bad = k.operator.compile(k.operator, c.Values, variables)
	}
	return k
}

// empty says whether this is an operator without keys, which has no effect.
func (c *Condition) empty() bool { return c.Key == "" && c.Values == nil }

// match says whether the condition holds for a request.
func (k *condition) match(c Context) truth {
	if k.operator == nil {
		return unknown
	}
	v, ok := c.Value(k.key)
	present := ok && v.len() > 0

	if k.operator.isNull() {
		if present {
			return k.one("false", c)
		}
		return k.one("true", c)
	}
	switch {
	case present:
	case k.ifExists || k.set == setAll:
		return yes
	case k.set == setAny:
		return no
	default:
		return truthOf(k.operator.negated)
	}

	switch k.set {
	case setAll:
		if v.len() == 1 && v.at(0) == "" {
			return yes // AWS takes an empty text for an empty set here
		}
		t := yes
		for i := 0; i < v.len() && t != no; i++ {
			t = t.and(k.one(v.at(i), c))
		}
		return t
	case setAny:
		t := no
		for i := 0; i < v.len() && t != yes; i++ {
			t = t.or(k.one(v.at(i), c))
		}
		return t
	}
	if v.len() > 1 {
		return unknown // a key with several values needs ForAllValues or ForAnyValue
	}
	return k.one(v.at(0), c)
}

// one says whether one value of the request satisfies the condition: whether it is
// like any value of the policy or, for a negated operator, like none.
func (k *condition) one(got string, c Context) truth {
	t := k.operands.match(got, c)
	if k.bad {
		t = t.or(unknown)
	}
	if k.operator.negated {
		return t.not()
	}
	return t
}
