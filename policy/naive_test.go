package policy

import (
	"encoding/base64"
	"math/big"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
)

// The naive evaluator is the meaning of a policy, written to be read: no
// compilation, no index, a statement at a time. The compiled one must agree with it.

func naiveEvaluate(p *Policy, r *Request) Result {
	n := naive{r, p.Version == "2012-10-17"}
	result := Result{AllowedBy: -1, DeniedBy: -1}
	for i, s := range p.Statements {
		who, grant := n.principal(s)
		t := slices.Min([]truth{who, n.action(s), n.resource(s), n.condition(s)})
		switch {
		case s.Effect == "Allow" && t == yes:
			if !result.Allowed {
				result.Allowed, result.AllowedBy = true, i
			}
			result.Grants |= grant
		case s.Effect == "Deny" && t != no && !result.Denied:
			result.Denied, result.DeniedBy = true, i
		}
	}
	return result
}

// naiveTrace says of each statement what naiveEvaluate decided and why: the first
// element, in AWS's order, that keeps the statement from matching.
func naiveTrace(p *Policy, r *Request) []StatementTrace {
	n := naive{r, p.Version == "2012-10-17"}
	var all []StatementTrace
	for i, s := range p.Statements {
		t := StatementTrace{Index: i, Sid: s.Sid, Effect: s.Effect, Line: s.Line, Column: s.Column}
		stops := func(m truth) bool { return m == no || m == unknown && s.Effect == "Allow" }
		either := func(a, b []string, element string) ([]string, string) {
			if b != nil {
				return b, "Not" + element
			}
			return a, element
		}
		who, _ := n.principal(s)
		switch {
		case stops(who):
			t.Failed = "Principal"
			if s.NotPrincipal != nil {
				t.Failed = "NotPrincipal"
			}
		case stops(n.action(s)):
			t.Want, t.Failed = either(s.Action, s.NotAction, "Action")
			t.Got = []string{string(r.Action)}
		case stops(n.resource(s)):
			t.Want, t.Failed = either(s.Resource, s.NotResource, "Resource")
			t.Got = []string{string(r.Resource)}
		default:
			t.Matched = true
			for _, c := range s.Condition {
				if c.Values != nil && stops(n.oneCondition(c)) {
					t.Matched, t.Failed, t.Operator, t.Key, t.Want = false, "Condition", c.Operator, c.Key, c.Values
					if v, ok := n.value(c.Key); ok {
						t.Got = v.Strings()
					}
					break
				}
			}
			if t.Matched {
				t.Statement = &p.Statements[i]
			}
		}
		all = append(all, t)
	}

	// What is left out is the least near, and of that the last.
	rest := len(all)
	var shown []StatementTrace
	for _, element := range []string{"", "Condition", "Resource", "Action", "Principal"} {
		for _, t := range all {
			if strings.TrimPrefix(t.Failed, "Not") == element && (t.Matched || rest > len(all)-maxNearest) {
				shown = append(shown, t)
				if !t.Matched {
					rest--
				}
			}
		}
	}
	slices.SortFunc(shown, func(a, b StatementTrace) int { return a.Index - b.Index })
	return shown
}

type naive struct {
	*Request
	variables bool
}

func (n naive) principal(s Statement) (truth, Grant) {
	if s.Principal == nil && s.NotPrincipal == nil {
		return yes, 0
	}
	p := n.Principal
	root := arn.New(partitionOf(p.ARN), "iam", "", p.Account, "root")
	var grant Grant
	for _, name := range append(slices.Clone(s.Principal), s.NotPrincipal...) {
		v := name.Value
		aws := name.Kind == "AWS" && v != ""
		for i, ok := range []bool{ // in the order of the grants
			aws && (v == string(p.ARN) || v == p.ID && p.Role == "" && p.User == "" || v == p.Account && p.ARN == root || p.Role != "" && p.ID != "" && v == p.ID+":"+path.Base(string(p.ARN))),
			aws && (v == string(p.Role) || v == string(p.User) || v == p.ID && (p.Role != "" || p.User != "")),
			aws && p.Account != "" && (v == p.Account || v == string(root)),
			v == "*" && (aws || name.Kind == ""),
			name.Kind == "Service" && v == p.Service && v != "",
			name.Kind == "Federated" && v == p.Federated && v != "",
			name.Kind == "CanonicalUser" && v == p.CanonicalID && v != "",
		} {
			if ok {
				grant |= 1 << i
			}
		}
	}
	switch {
	case s.Principal != nil:
		return truthOf(grant != 0), grant
	case s.Effect == "Allow":
		return truthOf(grant == 0), ByNotPrincipal
	}
	// Deny spares whom NotPrincipal names with all names.
	need := func(has bool, by Grant) bool { return !has || grant&by != 0 }
	spared := grant&ByAnyone != 0 || grant != 0 &&
		need(p.ARN != "", BySelf) &&
		need(p.Role != "" || p.User != "", ByRole) &&
		need(p.Account != "", ByAccount|ByCanonicalUser) &&
		need(p.Service != "", ByService) &&
		need(p.Federated != "", ByFederated)
	return truthOf(!spared || n.Bounded), 0
}

func partitionOf(a arn.ARN) string {
	if a == "" {
		return "aws"
	}
	return a.Partition()
}

func (n naive) action(s Statement) truth {
	if s.Action == nil && s.NotAction == nil {
		return unknown
	}
	match := slices.ContainsFunc(append(slices.Clone(s.Action), s.NotAction...), func(a string) bool {
		return like(letters(strings.ToLower(a), true), []rune(strings.ToLower(string(n.Action))))
	})
	return truthOf(match == (s.NotAction == nil))
}

func (n naive) resource(s Statement) truth {
	if s.Resource == nil && s.NotResource == nil {
		if s.Principal == nil && s.NotPrincipal == nil {
			return unknown
		}
		return yes
	}
	t := no
	for _, r := range append(slices.Clone(s.Resource), s.NotResource...) {
		t = max(t, n.oneResource(r, s.NotResource != nil))
	}
	if s.NotResource != nil {
		t = yes - t
	}
	return t
}

func (n naive) oneResource(pattern string, negated bool) truth {
	if pattern != "" && strings.Trim(pattern, "*") == "" {
		return yes
	}
	if n.Resource == "*" {
		return no
	}
	for strings.HasPrefix(pattern, "arn:") && strings.Count(pattern, ":") < 5 {
		pattern += ":*"
	}
	literal := strings.IndexAny(pattern, "*?")
	if at := strings.Index(pattern, "${"); n.variables && at >= 0 && (at < literal || literal < 0) {
		literal = at
	}
	if literal < 0 {
		return truthOf(pattern == string(n.Resource))
	}
	if !strings.HasPrefix(string(n.Resource), pattern[:literal]) {
		return no // whatever follows
	}
	want, got := strings.SplitN(pattern, ":", 6), strings.SplitN(string(n.Resource), ":", 6)
	if len(want) < 6 || n.variables && strings.Contains(strings.Join(want[:5], ""), "${") {
		return unknown // not an ARN, or a variable where there may be none
	}
	last, t := n.resolve(want[5], true)
	if t == unknown {
		return unknown
	}
	for i := range 5 {
		if len(got) < 6 || !like(letters(want[i], true), []rune(got[i])) {
			return no
		}
	}
	if t == no && negated {
		return unknown
	}
	return min(t, truthOf(like(last, []rune(got[5]))))
}

// Wildcards, as letters that no text has.
const (
	anyText rune = -1
	anyOne  rune = -2
)

// letters gives the letters of a text, with its wildcards if it may have some.
func letters(text string, wildcards bool) []rune {
	p := []rune(text)
	for i := range p {
		switch {
		case wildcards && p[i] == '*':
			p[i] = anyText
		case wildcards && p[i] == '?':
			p[i] = anyOne
		}
	}
	return p
}

// like matches a text with a pattern.
func like(pattern, s []rune) bool {
	reached := make([]bool, len(s)+1) // whether the pattern so far matches the first i letters
	reached[0] = true
	for _, p := range pattern {
		if p == anyText {
			for i := range s {
				reached[i+1] = reached[i+1] || reached[i]
			}
			continue
		}
		for i := len(s) - 1; i >= 0; i-- {
			reached[i+1] = reached[i] && (p == anyOne || p == s[i])
		}
		reached[0] = false
	}
	return reached[len(s)]
}

var variable = regexp.MustCompile(`^\$\{([^,}]+)(, *'(.*?)')?\}`)

// resolve gives the letters of a text with variables. It says unknown when a
// variable cannot be read, and no when one stands for nothing.
func (n naive) resolve(s string, wildcards bool) ([]rune, truth) {
	var p []rune
	t := yes
	for {
		at := strings.Index(s, "${")
		if at < 0 || !n.variables {
			return append(p, letters(s, wildcards)...), t
		}
		p = append(p, letters(s[:at], wildcards)...)
		m := variable.FindStringSubmatch(s[at:])
		if m == nil {
			return nil, unknown
		}
		v, ok := n.value(m[1])
		switch {
		case m[1] == "*" || m[1] == "?" || m[1] == "$":
			p = append(p, letters(m[1], false)...)
		case ok && !v.list:
			p = append(p, letters(v.one, false)...)
		case !ok && m[2] != "":
			p = append(p, letters(m[3], false)...)
		default:
			t = min(t, no)
		}
		s = s[at+len(m[0]):]
	}
}

func (n naive) value(key string) (Value, bool) {
	if n.Context == nil {
		return Value{}, false
	}
	return n.Context.Value(strings.ToLower(key))
}

func (n naive) condition(s Statement) truth {
	t := yes
	for _, c := range s.Condition {
		if c.Values != nil {
			t = min(t, n.oneCondition(c))
		}
	}
	return t
}

func (n naive) oneCondition(c Condition) truth {
	name, all := strings.CutPrefix(strings.ToLower(c.Operator), "forallvalues:")
	name, any := strings.CutPrefix(name, "foranyvalue:")
	base, ifExists := strings.CutSuffix(name, "ifexists")
	if base == "null" && base != strings.ToLower(c.Operator) || !slices.ContainsFunc(operators, func(o operator) bool { return strings.EqualFold(o.name, base) }) {
		return unknown
	}
	base, not := cutNot(base)

	v, ok := n.value(c.Key)
	got := v.Strings()
	absent := !ok || len(got) == 0
	one := func(got string) truth {
		t := no
		for _, want := range c.Values {
			t = max(t, n.compare(base, want, got))
		}
		if not {
			t = yes - t
		}
		return t
	}
	switch {
	case base == "null":
		return one(map[bool]string{true: "true", false: "false"}[absent])
	case absent:
		return truthOf(ifExists || all || not && !any)
	case all && len(got) == 1 && got[0] == "":
		return yes
	case all:
		t := yes
		for _, g := range got {
			t = min(t, one(g))
		}
		return t
	case any:
		t := no
		for _, g := range got {
			t = max(t, one(g))
		}
		return t
	case len(got) > 1:
		return unknown
	}
	return one(got[0])
}

// cutNot takes the Not out of StringNotEquals, NotIpAddress and the like.
func cutNot(operator string) (string, bool) {
	for _, kind := range []string{"", "string", "numeric", "date", "arn"} {
		if rest, ok := strings.CutPrefix(operator, kind+"not"); ok {
			return kind + rest, true
		}
	}
	return operator, false
}

var operatorKind = regexp.MustCompile(`^(string|numeric|date|arn|bool|null|binary|ip)`)

// compare compares one value of the policy with one of the request.
func (n naive) compare(operator, want, got string) truth {
	kind := operatorKind.FindString(operator)
	rest := strings.TrimPrefix(operator, kind)
	switch kind {
	case "string":
		pattern, t := n.resolve(want, rest == "like")
		if t != yes {
			return t
		}
		if rest == "equalsignorecase" {
			return truthOf(strings.EqualFold(string(pattern), got))
		}
		return truthOf(like(pattern, []rune(got)))
	case "arn":
		if strings.Count(got, ":") < 5 || strings.Count(want, ":") < 5 && want != "*" && !(n.variables && strings.Contains(want, "${")) {
			return unknown
		}
		pattern, t := n.resolve(want, true)
		if t != yes || want == "*" {
			return t
		}
		for _, part := range strings.SplitN(got, ":", 6)[:5] {
			colon := slices.Index(pattern, ':')
			if colon < 0 || !like(pattern[:colon], []rune(part)) {
				return no
			}
			pattern = pattern[colon+1:]
		}
		return truthOf(like(pattern, []rune(strings.SplitN(got, ":", 6)[5])))
	case "numeric":
		w, ok := naiveNumber(want)
		g, ok2 := naiveNumber(got)
		if !ok || !ok2 {
			return unknown
		}
		return truthOf(ordered(rest, g.Cmp(w)))
	case "date":
		w, ok := naiveDate(want)
		g, ok2 := naiveDate(got)
		if !ok || !ok2 {
			return unknown
		}
		return truthOf(ordered(rest, g.Compare(w)))
	case "bool", "null":
		w, g := strings.ToLower(want), strings.ToLower(got)
		if w != "true" && w != "false" || g != "true" && g != "false" {
			return unknown
		}
		return truthOf(w == g)
	case "binary":
		w, err := base64.StdEncoding.DecodeString(want)
		if err != nil {
			return unknown
		}
		return truthOf(string(w) == got)
	case "ip":
		if !strings.Contains(want, "/") {
			want += map[bool]string{true: "/128", false: "/32"}[strings.Contains(want, ":")]
		}
		w, err := netip.ParsePrefix(want)
		g, err2 := netip.ParseAddr(got)
		if err != nil || err2 != nil {
			return unknown
		}
		return truthOf(w.Masked().Contains(g.Unmap()))
	}
	panic(operator)
}

var decimal = regexp.MustCompile(`^[+-]?\d+(\.\d+)?$`)

func naiveNumber(s string) (*big.Rat, bool) {
	if !decimal.MatchString(s) {
		return nil, false
	}
	return new(big.Rat).SetString(s)
}

// naiveDate knows days, dates in full and seconds. All other forms are told in TestDates.
func naiveDate(s string) (time.Time, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.Unix(n, 0), true
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t, err = time.Parse(time.DateOnly, s)
	}
	return t, err == nil
}

func ordered(operator string, c int) bool {
	switch operator {
	case "equals":
		return c == 0
	case "lessthan":
		return c < 0
	case "lessthanequals":
		return c <= 0
	case "greaterthan":
		return c > 0
	case "greaterthanequals":
		return c >= 0
	}
	panic(operator)
}
