package policy

import (
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
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
		{Kind: "AWS", Value: "arn:aws:sts::111122223333:assumed-role/builder/s1"}, {Kind: "AWS", Value: "AROABUILDER"}, {Kind: "AWS", Value: "AROABUILDER:s1"}, {Kind: "AWS", Value: "999988887777"}, {Kind: "AWS", Value: ""},
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

// pieces make up resources of which many have something in common.
var (
	pieces        = []string{"bucket-0001", "bucket-0002", "/archive/", "/2026/03", "0001", "aaaa", "aaaaaaaaa", "-x", "é", "/", "alice", ":"}
	patternPieces = append([]string{"*", "*", "?", "${aws:username}", "${*}", "${broken"}, pieces...)
)

func (d *dice) resource(pieces []string) string {
	s := d.one([]string{"arn:aws:s3:::", "arn:aws:s3:::", "arn:aws:s3:::", "arn:aws:sns:us-east-1:111122223333:"})
	for range 1 + d.roll(6) {
		s += d.one(pieces)
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
		sameReasons(t, p, r, &trace)

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

// sameReasons compares a trace with the naive one, and its notes with what they are about.
func sameReasons(t *testing.T, p *Policy, r *Request, got *Trace) {
	t.Helper()
	want := naiveTrace(p, r)
	if len(got.Statements) != len(want) || got.Omitted != len(p.Statements)-len(want) {
		t.Fatalf("a trace of %d statements and %d omitted, want %d of %d\npolicy  %s\nrequest %+v", len(got.Statements), got.Omitted, len(want), len(p.Statements), p, r)
	}
	for i, s := range got.Statements {
		s.Note = ""
		if s.Failed == "Principal" || s.Failed == "NotPrincipal" {
			s.Want, s.Got = nil, nil // their form is told in the corpus
		}
		if !reflect.DeepEqual(s, want[i]) {
			t.Fatalf("the trace says %+v, want %+v\nstatement %s\nrequest   %+v", s, want[i], &Policy{Version: p.Version, Statements: p.Statements[s.Index : s.Index+1]}, r)
		}
		if s.Failed == "Condition" && s.Got == nil && !slices.Contains(got.Missing, lowered(s.Key)) {
			t.Fatalf("%s is not among the missing keys %s\nrequest %+v", s.Key, got.Missing, r)
		}
	}
	for _, key := range got.Missing {
		if _, ok := (naive{r, true}).value(key); ok {
			t.Fatalf("%s is missing and is not\nrequest %+v", key, r)
		}
	}
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

// renamed says that it makes no difference what accounts, users and buckets are
// called, as long as the policy and the request agree on it.
func renamed(t *testing.T, p *Policy, requests []*Request, want []Result) {
	t.Helper()
	list := func(texts []string) []string {
		if texts == nil {
			return nil
		}
		other := []string{}
		for _, s := range texts {
			other = append(other, newNames.Replace(s))
		}
		return other
	}
	q := p.MapPrincipals(func(_, value string) string { return newNames.Replace(value) })
	for i := range q.Statements {
		s := &q.Statements[i]
		s.Resource, s.NotResource = list(s.Resource), list(s.NotResource)
		s.Condition = slices.Clone(s.Condition)
		for j := range s.Condition {
			s.Condition[j].Values = list(s.Condition[j].Values)
		}
	}
	g := Compile(q)
	for i, r := range requests {
		other := *r
		other.Resource = arn.ARN(newNames.Replace(string(r.Resource)))
		for _, name := range []*string{&other.Principal.Account, (*string)(&other.Principal.ARN), (*string)(&other.Principal.Role), (*string)(&other.Principal.User), &other.Principal.ID, &other.Principal.CanonicalID} {
			*name = newNames.Replace(*name)
		}
		if keys, ok := r.Context.(Keys); ok {
			otherKeys := Keys{}
			for key, v := range keys {
				if v.list {
					otherKeys[key] = List(list(v.many))
				} else {
					otherKeys[key] = String(newNames.Replace(v.one))
				}
			}
			other.Context = otherKeys
		}
		if got := g.Evaluate(&other, nil); got != want[i] {
			t.Fatalf("%+v, and with other names %+v\npolicy  %s\nrequest %+v\npolicy  %s\nrequest %+v", want[i], got, p, r, q, &other)
		}
	}
}

// newNames gives every account, user, role, team and bucket another name, also where
// a pattern has a piece of it.
var newNames = strings.NewReplacer(
	"111122223333", "444455556666", "999988887777", "222211110000", "c0ffee", "decade",
	"AIDAALICE", "AIDABRAVO", "AIDAEVE", "AIDAIDA", "AROABUILDER:s1", "AROAPAINTER:s2", "AROABUILDER", "AROAPAINTER",
	"alice", "bravo", "Alice", "Bravo", "ALICE", "BRAVO", "a?ice", "b?avo", "al*", "br*",
	"bob", "tom", "eve", "ida", "builder", "painter", "ops", "art", "/s1", "/s2",
	"blue", "gray", "reports", "ledgers", "r?ports", "l?dgers",
)

// The policies that are rolled are the same every time. IAMD_RANDOM_POLICIES says
// how many; each gets ten requests.
func TestRandomPolicies(t *testing.T) {
	policies := 6_000
	if testing.Short() {
		policies = 1_000
	}
	if more := os.Getenv("IAMD_RANDOM_POLICIES"); more != "" {
		var err error
		if policies, err = strconv.Atoi(more); err != nil {
			t.Fatal(err)
		}
	}
	var allowed, denied atomic.Int64
	t.Run("all", func(t *testing.T) {
		for worker := range runtime.GOMAXPROCS(0) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for i := worker; i < policies; i += runtime.GOMAXPROCS(0) {
					d := &dice{rng: rand.New(rand.NewPCG(1, uint64(i)))}
					p, extra, requests := d.policy(), d.statement(false), d.requests(10)
					results := examine(t, p, extra, requests...)
					for _, result := range results {
						if result.Allowed {
							allowed.Add(1)
						}
						if result.Denied {
							denied.Add(1)
						}
					}
					renamed(t, p, requests, results)
					printed(t, p, d.request())
				}
			})
		}
	})
	t.Logf("%d requests: %d allowed, %d denied", policies*10, allowed.Load(), denied.Load())
	if int(allowed.Load()) < policies/10 || int(denied.Load()) < policies/10 {
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
		renamed(t, p, []*Request{r}, examine(t, p, extra, r))
		printed(t, p, r)
	})
}

// A large policy is decided by the indexes as by going through it.
func TestIndex(t *testing.T) {
	policies := 40
	if testing.Short() {
		policies = 10
	}
	for i := range policies {
		d := &dice{rng: rand.New(rand.NewPCG(3, uint64(i)))}
		p := &Policy{Version: "2012-10-17"}
		for range 60 {
			s := d.statement(i%4 == 0)
			for range 3 * d.roll(3) {
				s.Resource = append(s.Resource, d.resource(patternPieces))
			}
			for j := range 80 * (d.roll(20) / 19) {
				s.Resource = append(s.Resource, fmt.Sprintf("arn:aws:s3:::reports/%d", j))
			}
			if s.Resource != nil {
				s.NotResource = nil
			}
			p.Statements = append(p.Statements, s)
		}
		requests := d.requests(30)
		for _, r := range requests[:20] {
			r.Resource = arn.ARN(d.resource(pieces))
		}
		examine(t, p, d.statement(false), requests...)
	}
}

// Of many statements that fail the trace has the nearest.
func TestNearest(t *testing.T) {
	g, hit := workload(40, "bucket")
	p := g.Policy()
	p.Statements[3].Action = []string{"s3:Put*"}
	p.Statements[5].Resource, p.Statements[6].Condition = []string{"*"}, nil
	p.Statements[30].Resource, p.Statements[31].Condition = []string{"arn:aws:s3:::*"}, []Condition{{Operator: "Bool", Key: "aws:SecureTransport", Values: []string{"false"}}}
	p.Statements[31].Resource = []string{"*"}
	miss, other := *hit, *hit
	miss.Resource = "arn:aws:s3:::another/x"
	other.Action = "ec2:RunInstances"
	examine(t, p, Statement{Action: []string{"s3:*"}, Resource: []string{"*"}}, hit, &miss, &other)
}

// However the resources overlap, what the indexes take stays within bounds.
func TestIndexIsBounded(t *testing.T) {
	p := &Policy{Version: "2012-10-17"}
	for i := range 12 { // each of 4,096 actions is in another set of statements
		s := Statement{Effect: "Allow"}
		for j := range 1 << 12 {
			if j>>i&1 != 0 {
				s.Action = append(s.Action, fmt.Sprintf("s3:Action%d", j))
			}
		}
		for j := range 200 {
			s.Resource = append(s.Resource, fmt.Sprintf("arn:aws:s3:::bucket-%d-%d/*", i, j))
		}
		p.Statements = append(p.Statements, s)
	}
	g := Compile(p)
	indexed := 0
	for _, c := range g.classes {
		if c.index != nil {
			indexed += len(c.index.long.entries) + len(c.index.short.entries)
		}
	}
	if limit := maxIndexed(len(g.resources)); indexed > limit || len(g.classes) != 1<<12-1 {
		t.Errorf("%d classes have %d patterns in indexes, limit %d", len(g.classes), indexed, limit)
	}
	for j := range 1 << 12 {
		r := &Request{Action: Action(fmt.Sprintf("s3:Action%d", j)), Resource: arn.ARN(fmt.Sprintf("arn:aws:s3:::bucket-%d-7/x", j%12))}
		if got, want := g.Evaluate(r, nil).Allowed, j>>(j%12)&1 != 0; got != want {
			t.Fatalf("%s on %s: got %v", r.Action, r.Resource, got)
		}
	}
}

// An ARN that repeats itself is no reason to ask the same patterns again and again.
func TestRepeatedFragments(t *testing.T) {
	p := &Policy{Version: "2012-10-17"}
	for i := range 100 {
		p.Statements = append(p.Statements, Statement{Effect: "Allow", Action: []string{"s3:*"}, Resource: []string{fmt.Sprintf("arn:aws:s3:::*abababababab?%d${aws:username}", i)}})
	}
	var c counter
	Compile(p).Evaluate(&Request{Action: "s3:GetObject", Resource: arn.ARN("arn:aws:s3:::" + strings.Repeat("ab", 500)), Context: &c}, nil)
	if c == 0 || c > 200 {
		t.Errorf("the variables of 100 patterns were asked for %d times", c)
	}
}

// A counter counts how often it is asked.
type counter int

func (c *counter) Value(string) (Value, bool) { *c++; return String("x"), true }
