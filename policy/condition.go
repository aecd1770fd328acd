package policy

import (
	"encoding/base64"
	"net/netip"
	"strings"
)

// An operator is a condition operator without its set prefix and IfExists.
type operator struct {
	name    string
	operand func(o *operator, value string, variables bool) (operand, bool) // compiles a value of the policy; false when it is none of the operator's kind
	negated bool
	holds   func(c int) bool // for numbers and dates: whether the comparison of request and policy satisfies the operator
}

// operators holds AWS's condition operators. The negated ones are those that are
// true for a key that the request does not have.
var operators = []operator{
	{name: "StringEquals", operand: operandText},
	{name: "StringNotEquals", operand: operandText, negated: true},
	{name: "StringEqualsIgnoreCase", operand: operandFold},
	{name: "StringNotEqualsIgnoreCase", operand: operandFold, negated: true},
	{name: "StringLike", operand: operandLike},
	{name: "StringNotLike", operand: operandLike, negated: true},
	{name: "NumericEquals", operand: operandNumber, holds: equal},
	{name: "NumericNotEquals", operand: operandNumber, holds: equal, negated: true},
	{name: "NumericLessThan", operand: operandNumber, holds: func(c int) bool { return c < 0 }},
	{name: "NumericLessThanEquals", operand: operandNumber, holds: func(c int) bool { return c <= 0 }},
	{name: "NumericGreaterThan", operand: operandNumber, holds: func(c int) bool { return c > 0 }},
	{name: "NumericGreaterThanEquals", operand: operandNumber, holds: func(c int) bool { return c >= 0 }},
	{name: "DateEquals", operand: operandDate, holds: equal},
	{name: "DateNotEquals", operand: operandDate, holds: equal, negated: true},
	{name: "DateLessThan", operand: operandDate, holds: func(c int) bool { return c < 0 }},
	{name: "DateLessThanEquals", operand: operandDate, holds: func(c int) bool { return c <= 0 }},
	{name: "DateGreaterThan", operand: operandDate, holds: func(c int) bool { return c > 0 }},
	{name: "DateGreaterThanEquals", operand: operandDate, holds: func(c int) bool { return c >= 0 }},
	{name: "Bool", operand: operandBool},
	{name: "BinaryEquals", operand: operandBinary},
	{name: "IpAddress", operand: operandNet},
	{name: "NotIpAddress", operand: operandNet, negated: true},
	{name: "ArnEquals", operand: operandARN},
	{name: "ArnLike", operand: operandARN},
	{name: "ArnNotEquals", operand: operandARN, negated: true},
	{name: "ArnNotLike", operand: operandARN, negated: true},
	{name: "Null", operand: operandBool},
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

func (o *operator) isNull() bool { return o.name == "Null" }

// An operand is a value of the policy, ready to be compared with one value of the
// request. The answer is unknown when the value of the request is not of the kind
// that the operator compares.
type operand interface {
	match(got string, c Context) truth
}

type textOperand struct{ pattern }

func operandText(_ *operator, value string, variables bool) (operand, bool) {
	p, ok := compilePattern(value, false, variables)
	return &textOperand{p}, ok
}

func (t *textOperand) match(got string, c Context) truth { return truthOf(t.equal(got, c)) }

type foldOperand struct{ pattern }

func operandFold(_ *operator, value string, variables bool) (operand, bool) {
	p, ok := compilePattern(value, false, variables)
	return &foldOperand{p}, ok
}

func (t *foldOperand) match(got string, c Context) truth { return truthOf(t.equalFold(got, c)) }

type likeOperand struct{ pattern }

func operandLike(_ *operator, value string, variables bool) (operand, bool) {
	p, ok := compilePattern(value, true, variables)
	return &likeOperand{p}, ok
}

func (t *likeOperand) match(got string, c Context) truth { return truthOf(t.glob(got, c)) }

type arnOperand struct{ pattern }

func operandARN(_ *operator, value string, variables bool) (operand, bool) {
	p, ok := compilePattern(value, true, variables)
	if p.tokens == nil && value != "*" && strings.Count(value, ":") < 5 {
		ok = false
	}
	return &arnOperand{p}, ok
}

func (t *arnOperand) match(got string, c Context) truth {
	if strings.Count(got, ":") < 5 {
		return unknown
	}
	return truthOf(t.text == "*" || t.globARN(got, c))
}

type numberOperand struct {
	*operator
	number
}

func operandNumber(o *operator, value string, _ bool) (operand, bool) {
	n, ok := parseNumber(value)
	return &numberOperand{o, n}, ok
}

func (n *numberOperand) match(got string, _ Context) truth {
	g, ok := parseNumber(got)
	if !ok {
		return unknown
	}
	return truthOf(n.holds(g.compare(n.number)))
}

type dateOperand struct {
	*operator
	instant
}

func operandDate(o *operator, value string, _ bool) (operand, bool) {
	i, ok := parseDate(value)
	return &dateOperand{o, i}, ok
}

func (d *dateOperand) match(got string, _ Context) truth {
	g, ok := parseDate(got)
	if !ok {
		return unknown
	}
	return truthOf(d.holds(g.compare(d.instant)))
}

type boolOperand bool

func operandBool(_ *operator, value string, _ bool) (operand, bool) {
	b, ok := parseBool(value)
	return boolOperand(b), ok
}

func parseBool(s string) (value, ok bool) {
	value = foldEqual(s, "true")
	return value, value || foldEqual(s, "false")
}

func (b boolOperand) match(got string, _ Context) truth {
	g, ok := parseBool(got)
	if !ok {
		return unknown
	}
	return truthOf(g == bool(b))
}

type binaryOperand string

func operandBinary(_ *operator, value string, _ bool) (operand, bool) {
	b, err := base64.StdEncoding.DecodeString(value)
	return binaryOperand(b), err == nil
}

func (b binaryOperand) match(got string, _ Context) truth { return truthOf(got == string(b)) }

type netOperand struct{ netip.Prefix }

func operandNet(_ *operator, value string, _ bool) (operand, bool) {
	p, ok := parseNet(value)
	return &netOperand{p}, ok
}

// parseNet reads a range of addresses. One address is a range too.
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

func (n *netOperand) match(got string, _ Context) truth {
	a, err := netip.ParseAddr(got)
	if err != nil || a.Zone() != "" {
		return unknown
	}
	return truthOf(n.Contains(a.Unmap()))
}

// A condition is a compiled Condition.
type condition struct {
	operator *operator // nil when unknown
	set      set
	ifExists bool
	bad      bool   // a value is not of the operator's kind
	key      string // lower case
	operands []operand
}

func compileCondition(c *Condition, variables bool) condition {
	var k condition
	k.operator, k.set, k.ifExists = parseOperator(c.Operator)
	k.key = lowered(c.Key)
	if k.operator == nil {
		return k
	}
	for _, v := range c.Values {
		if o, ok := k.operator.operand(k.operator, v, variables); ok {
			k.operands = append(k.operands, o)
		} else {
			k.bad = true
		}
	}
	return k
}

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
	t := no
	if k.bad {
		t = unknown
	}
	for i := 0; i < len(k.operands) && t != yes; i++ {
		t = t.or(k.operands[i].match(got, c))
	}
	if k.operator.negated {
		return t.not()
	}
	return t
}
