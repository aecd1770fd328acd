package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/iamd-dev/iamd/arn"
)

// A dice rolls random policies and requests. They are made of few words, so that
// they often have to do with each other. It rolls what data says and, when that is
// used up, what rng says; without rng it rolls 0.
type dice struct {
	data []byte
	rng  *rand.Rand
}

func (d *dice) roll(n int) int {
	switch {
	case len(d.data) > 0:
		b := d.data[0]
		d.data = d.data[1:]
		return int(b) % n
	case d.rng != nil:
		return d.rng.IntN(n)
	}
	return 0
}

func (d *dice) one(words []string) string { return words[d.roll(len(words))] }

// some gives a few words; one time in many none.
func (d *dice) some(words []string) []string {
	list := []string{}
	n := 1 + d.roll(3)
	if d.roll(30) == 0 {
		n = 0
	}
	for range n {
		list = append(list, d.one(words))
	}
	return list
}

var (
	actionWords = []string{"s3:GetObject", "s3:getobject", "s3:PutObject", "s3:ListBucket", "s3:*", "S3:Get*", "s3:*Object", "s3:?etObject", "*", "iam:*", "iam:GetUser", "*:*", "s*:Get*", " s3:GetObject", "s3:Get*,s3:Put*"}

	resourceWords = []string{
		"*", "**", "arn:aws:s3:::reports", "arn:aws:s3:::reports/*", "arn:aws:s3:::reports/${aws:username}/*", "arn:aws:s3:::reports/alice.csv",
		"arn:aws:s3:::*/alice*", "arn:aws:s3:::r?ports/*", "arn:aws:s3:*:*:reports/*", "arn:*:s3:::reports/a*b*c", "arn:aws:s3", "arn:aws:iam::*:user/*",
		"arn:aws:iam::111122223333:user/${aws:username}", "arn:aws:s3:::${aws:PrincipalTag/team, 'none'}/*", "arn:aws:s3:::${aws:TagKeys}/*", "arn:aws:s3:::reports/${*}", "arn:aws:s3:::reports/${broken",
		"arn:aws:s3:${aws:username}::reports/*", "arn:aws:*:::reports/*", "reports", "*reports*", "arn:aws:s3:::reports*/x:y", "arn:aws:sns:us-east-1:111122223333:*",
	}
	requestResources = []string{
		"*", "arn:aws:s3:::reports", "arn:aws:s3:::reports/alice.csv", "arn:aws:s3:::reports/alice/x", "arn:aws:s3:::reports/abc", "arn:aws:s3:::reports/*",
		"arn:aws:s3:::none/x", "arn:aws:s3:::blue/alice", "arn:aws:iam::111122223333:user/alice", "arn:aws:iam::111122223333:user/a*", "arn:aws-cn:s3:::reports/abc",
		"arn:aws:s3:::reports/x:y", "arn:aws:sns:us-east-1:111122223333:topic", "reports", "arn:aws:s3",
	}

	keyWords = []string{
		"aws:username", "AWS:UserName", "aws:PrincipalTag/team", "aws:principaltag/TEAM", "aws:TagKeys", "aws:SourceIp", "aws:CurrentTime",
		"s3:max-keys", "aws:SecureTransport", "aws:SourceArn", "aws:PrincipalArn", "kms:Blob", "aws:Absent",
	}
	valueWords = []string{
		"alice", "Alice", "ALICE", "al*", "a?ice", "*", "", "blue", "${aws:username}", "${aws:PrincipalTag/team, 'none'}", "${aws:Absent}", "${*}", "${$}", "x${broken", "${aws:TagKeys}", "${aws:Absent, 'al*'}", "none",
		"10", "10.0", "9.5", "-1", "10abc", "9007199254740993", "true", "false", "True", "maybe",
		"2026-03-01T00:00:00Z", "2026-03-01T01:00:00+01:00", "2027-01-01T00:00:00Z", "tomorrow",
		"10.0.0.0/8", "10.1.2.3", "203.0.113.9/24", "2001:db8::/32", "2001:db8::1", "10.0.0.256",
		"arn:aws:iam::111122223333:user/alice", "arn:aws:iam::*:user/*", "arn:aws:iam::111122223333:user/${aws:username}", "arn:aws:iam:*:user/alice", "${aws:PrincipalArn}", "arn:aws:s3:::reports/a:b",
		"YmxvYg==", "blob", "not base64",
	}

	names = []Name{
		{Value: "*"}, {Kind: "AWS", Value: "*"}, {Kind: "AWS", Value: "111122223333"}, {Kind: "AWS", Value: "arn:aws:iam::111122223333:root"},
		{Kind: "AWS", Value: "arn:aws:iam::111122223333:user/alice"}, {Kind: "AWS", Value: "AIDAALICE"}, {Kind: "AWS", Value: "arn:aws:iam::111122223333:role/ops/builder"},
		{Kind: "AWS", Value: "arn:aws:sts::111122223333:assumed-role/builder/s1"}, {Kind: "AWS", Value: "AROABUILDER"}, {Kind: "AWS", Value: "999988887777"}, {Kind: "AWS", Value: ""},
		{Kind: "AWS", Value: "arn:aws:iam::111122223333:user/*"}, {Kind: "AWS", Value: "arn:aws:sts::111122223333:federated-user/bob"},
		{Kind: "Service", Value: "ec2.amazonaws.com"}, {Kind: "Service", Value: "*"}, {Kind: "Federated", Value: "accounts.google.com"}, {Kind: "CanonicalUser", Value: "c0ffee"},
	}
	callers = []Principal{
		{},
		{Account: "111122223333", ARN: "arn:aws:iam::111122223333:user/alice", ID: "AIDAALICE", CanonicalID: "c0ffee"},
		{Account: "111122223333", ARN: "arn:aws:iam::111122223333:root", ID: "111122223333"},
		{Account: "111122223333", ARN: "arn:aws:sts::111122223333:assumed-role/builder/s1", Role: "arn:aws:iam::111122223333:role/ops/builder", ID: "AROABUILDER"},
		{Account: "111122223333", ARN: "arn:aws:sts::111122223333:federated-user/bob", User: "arn:aws:iam::111122223333:user/alice"},
		{Account: "999988887777", ARN: "arn:aws:iam::999988887777:user/eve", ID: "AIDAEVE"},
		{Service: "ec2.amazonaws.com"},
		{Federated: "accounts.google.com"},
	}
)

func (d *dice) policy() *Policy {
	p := &Policy{Version: d.one([]string{"2012-10-17", "2012-10-17", "2012-10-17", "2008-10-17", ""})}
	named := d.roll(3) == 0
	for range 1 + d.roll(6) {
		p.Statements = append(p.Statements, d.statement(named))
	}
	return p
}

func (d *dice) statement(named bool) Statement {
	s := Statement{Effect: d.one([]string{"Allow", "Deny"})}
	if named {
		list := []Name{}
		for range 1 + d.roll(3) {
			list = append(list, names[d.roll(len(names))])
		}
		if list[0].Kind == "" {
			list = list[:1] // a bare star stands alone
		}
		list = slices.DeleteFunc(list, func(n Name) bool { return n.Kind == "" && len(list) > 1 })
		if d.roll(4) == 0 {
			s.NotPrincipal = list
		} else {
			s.Principal = list
		}
	}
	switch d.roll(12) {
	case 0:
	case 1, 2:
		s.NotAction = d.some(actionWords)
	default:
		s.Action = d.some(actionWords)
	}
	switch d.roll(12) {
	case 0:
	case 1, 2:
		s.NotResource = d.some(resourceWords)
	default:
		s.Resource = d.some(resourceWords)
	}
	for range d.roll(3) {
		name := operators[d.roll(len(operators))].name
		switch d.roll(20) {
		case 0:
			name = "StringEqual" // there is no such operator
		case 1, 2, 3:
			name = "ForAnyValue:" + name
		case 4, 5, 6:
			name = "ForAllValues:" + name
		}
		if d.roll(4) == 0 {
			name += "IfExists"
		}
		c := Condition{Operator: name, Key: d.one(keyWords), Values: d.some(valueWords)}
		if !slices.ContainsFunc(s.Condition, func(o Condition) bool { return o.Operator == c.Operator }) {
			s.Condition = append(s.Condition, c)
		}
	}
	return s
}

func (d *dice) request() *Request {
	r := &Request{
		Principal: callers[d.roll(len(callers))],
		Bounded:   d.roll(8) == 0,
		Action:    Action(d.one([]string{"s3:GetObject", "s3:PutObject", "s3:ListBucket", "iam:GetUser", "S3:GETOBJECT"})),
		Resource:  arn.ARN(d.one(requestResources)),
	}
	keys := Keys{}
	for _, key := range []string{"aws:username", "aws:principaltag/team", "aws:sourceip", "aws:currenttime", "s3:max-keys", "aws:securetransport", "aws:sourcearn", "aws:principalarn", "kms:blob"} {
		if d.roll(3) > 0 {
			keys[key] = String(d.one(valueWords))
		}
	}
	if d.roll(2) == 0 {
		keys["aws:tagkeys"] = List(d.some(valueWords))
	}
	if len(keys) > 0 {
		r.Context = keys
	}
	return r
}

func (d *dice) requests(n int) []*Request {
	var list []*Request
	for range n {
		list = append(list, d.request())
	}
	return list
}

// excerpt gives the policy or, when it is long, the statements that the results name.
func excerpt(p *Policy, results ...Result) *Policy {
	if len(p.Statements) < 10 {
		return p
	}
	short := &Policy{Version: p.Version}
	for _, r := range results {
		for _, i := range []int{r.AllowedBy, r.DeniedBy} {
			if i >= 0 {
				short.Statements = append(short.Statements, p.Statements[i])
			}
		}
	}
	return short
}

// examine holds what must be true of every policy and request, and gives the results.
func examine(t *testing.T, p *Policy, extra Statement, requests ...*Request) []Result {
	t.Helper()
	extra.Effect = "Deny"
	more := &Policy{Version: p.Version, Statements: append(slices.Clone(p.Statements), extra)}
	half := len(p.Statements) / 2
	whole, further := Compile(p), Compile(more)
	first := Compile(&Policy{Version: p.Version, Statements: p.Statements[:half]})
	second := Compile(&Policy{Version: p.Version, Statements: p.Statements[half:]})

	var results []Result
	for _, r := range requests {
		got := whole.Evaluate(r, nil)
		if want := naiveEvaluate(p, r); got != want {
			t.Fatalf("compiled %+v, naive %+v\npolicy  %s\nrequest %+v", got, want, excerpt(p, got, want), r)
		}
		var trace Trace
		if traced := whole.Evaluate(r, &trace); traced != got {
			t.Fatalf("with a trace %+v, without %+v\npolicy  %s\nrequest %+v", traced, got, excerpt(p, traced, got), r)
		}

		// A further Deny allows no more and denies no less.
		if with := further.Evaluate(r, nil); with.Allowed != got.Allowed || with.Grants != got.Grants || got.Denied && !with.Denied {
			t.Fatalf("%+v, and with a further Deny %+v\npolicy  %s\nrequest %+v", got, with, excerpt(more, got, with), r)
		}

		// Statements may stand in one policy or in two.
		a, b := first.Evaluate(r, nil), second.Evaluate(r, nil)
		if (a.Allowed || b.Allowed) != got.Allowed || (a.Denied || b.Denied) != got.Denied || a.Grants|b.Grants != got.Grants {
			t.Fatalf("%+v, and in two policies %+v and %+v\npolicy  %s\nrequest %+v", got, a, b, excerpt(p, got), r)
		}
		results = append(results, got)
	}
	return results
}

// printed says that a policy is read as it is printed and means the same.
func printed(t *testing.T, p *Policy, r *Request) {
	t.Helper()
	text := p.String()
	again, err := Parse([]byte(text))
	for _, s := range p.Statements {
		if s.Action == nil && s.NotAction == nil {
			if err == nil {
				t.Fatalf("read without an Action: %s", text)
			}
			return
		}
	}
	if err != nil || again.String() != text {
		t.Fatalf("%s is read as %v, %v", text, again, err)
	}
	if a, b := Compile(p).Evaluate(r, nil), Compile(again).Evaluate(r, nil); a != b {
		t.Fatalf("printed and read again the policy says %+v, not %+v\npolicy  %s\nrequest %+v", b, a, p, r)
	}
}

func TestRandomPolicies(t *testing.T) {
	policies := 10_000
	if testing.Short() {
		policies = 1_000
	}
	allowed, denied := 0, 0
	for i := range policies {
		d := &dice{rng: rand.New(rand.NewPCG(1, uint64(i)))}
		p, extra := d.policy(), d.statement(false)
		for _, result := range examine(t, p, extra, d.requests(10)...) {
			if result.Allowed {
				allowed++
			}
			if result.Denied {
				denied++
			}
		}
		printed(t, p, d.request())
	}
	t.Logf("%d requests: %d allowed, %d denied", policies*10, allowed, denied)
	if allowed < policies/10 || denied < policies/10 {
		t.Error("the random policies have too little to do with the requests")
	}
}

func FuzzEvaluate(f *testing.F) {
	for i := range 20 {
		rng := rand.New(rand.NewPCG(2, uint64(i)))
		seed := make([]byte, 200)
		for j := range seed {
			seed[j] = byte(rng.Uint32())
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := &dice{data: data}
		p, extra, r := d.policy(), d.statement(false), d.request()
		examine(t, p, extra, r)
		printed(t, p, r)
	})
}

// A large policy is decided by the index as by going through it.
func TestIndex(t *testing.T) {
	for i := range 20 {
		d := &dice{rng: rand.New(rand.NewPCG(3, uint64(i)))}
		p := &Policy{Version: "2012-10-17"}
		for range 60 {
			s := d.statement(false)
			for j := range 80 * (d.roll(5) / 4) { // many resources or actions: too many places
				s.Resource = append(s.Resource, fmt.Sprintf("arn:aws:s3:::reports/%d", j))
			}
			if s.Resource != nil {
				s.NotResource = nil
			}
			p.Statements = append(p.Statements, s)
		}
		examine(t, p, d.statement(false), d.requests(30)...)
	}
}
