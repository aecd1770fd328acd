package policy

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/iamd-dev/iamd/internal/recorded"
)

func mustParse(t *testing.T, document string) *Policy {
	t.Helper()
	p, err := Parse([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParseRefusesWhatIsNotJSON(t *testing.T) {
	for _, test := range []struct{ document, want string }{
		{"", "line 1, column 1: unexpected end where a value should be"},
		{"\n\n  ", "line 3, column 3: unexpected end where a value should be"},
		{`{"Id": "` + "\xff" + `"}`, "line 1, column 9: text is not valid UTF-8"},
		{`{"Id": "` + "\xed\xa0\x80" + `"}`, "line 1, column 9: text is not valid UTF-8"},
		{`{"Id": "a` + "\x00" + `"}`, `line 1, column 10: unexpected '\x00' in text`},
		{`{"Id": "\ud83dx"}`, "line 1, column 15: half of a surrogate pair"},
		{`{"Id": "\ude00\ud83d"}`, "line 1, column 21: half of a surrogate pair"},
		{`{"Id": "\u12`, "line 1, column 10: text without an end"},
		{`{"Id": "\u12g4"}`, `line 1, column 10: \u without four hexadecimal digits`},
		{`{"Id": "\x"}`, "line 1, column 10: unexpected 'x' after a backslash"},
		{`{"Id": "x`, "line 1, column 10: text without an end"},
		{`{"Id": tru}`, "line 1, column 8: unexpected 't' where a value should be"},
		{`{"Id": -}`, "line 1, column 9: unexpected '}' in a number"},
		{`{"Id": 1.}`, "line 1, column 10: unexpected '}' in a number"},
		{"\ufeff{}", "line 1, column 1: unexpected '\\ufeff' where a value should be"},
		{strings.Repeat("[", 1_000_000), "line 1, column 34: nested more than 32 deep"},
		{`{"a":` + strings.Repeat(`{"a":`, 1000), "line 1, column 166: nested more than 32 deep"},
	} {
		_, err := Parse([]byte(test.document))
		if err == nil || err.Error() != "policy: "+test.want {
			t.Errorf("%.40q: got %v, want policy: %s", test.document, err, test.want)
		}
	}
}

func TestPositions(t *testing.T) {
	p := mustParse(t, `{
  "Statement": [
    {
      "Effect": "Allow",
      "Principal": {"AWS": ["111122223333",
                            "*"]},
      "Action": ["s3:GetObject",
                 "s3:PutObject"],
      "Resource": "*",
      "Condition": {"Bool": {"a:b": "true",
                             "c:d": "true"}}
    }, {"Effect": "Deny", "Action": "*"}]}`)
	s := p.Statements[0]
	got := [][2]int{
		{s.Line, s.Column}, {p.Statements[1].Line, p.Statements[1].Column},
		{s.Principal[0].Line, s.Principal[0].Column}, {s.Principal[1].Line, s.Principal[1].Column},
		{s.actionAt[0].line, s.actionAt[0].column}, {s.actionAt[1].line, s.actionAt[1].column},
		{s.resourceAt[0].line, s.resourceAt[0].column},
		{s.Condition[0].Line, s.Condition[0].Column}, {s.Condition[1].Line, s.Condition[1].Column},
	}
	want := [][2]int{{3, 5}, {12, 8}, {5, 29}, {6, 29}, {7, 18}, {8, 18}, {9, 19}, {10, 30}, {11, 30}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPrint(t *testing.T) {
	for _, test := range []struct{ document, want string }{
		{
			`{ "Statement" : { "Action" : [ "s3:*" ] , "Effect" : "Allow", "Resource": [] } }`,
			`{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":[]}]}`,
		},
		{
			`{"Id":"x<&>","Version":"2012-10-17","Statement":[{"Sid":"a","Effect":"Deny","NotPrincipal":{"AWS":["1","2"],"Service":"s"},"NotAction":["a","b"],"NotResource":"*"}]}`,
			`{"Version":"2012-10-17","Id":"x<&>","Statement":[{"Sid":"a","Effect":"Deny","NotPrincipal":{"AWS":["1","2"],"Service":"s"},"NotAction":["a","b"],"NotResource":"*"}]}`,
		},
		{
			`{"Statement":{"Effect":"Allow","Principal":{},"Action":"*","Condition":{}}}`,
			`{"Statement":[{"Effect":"Allow","Principal":{},"Action":"*","Condition":{}}]}`,
		},
		{
			`{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"A":{},"Bool":{"x":true,"y":[false,"true"]},"B":{},"NumericEquals":{"":1.50}}}}`,
			`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"A":{},"Bool":{"x":"true","y":["false","true"]},"B":{},"NumericEquals":{"":"1.50"}}}]}`,
		},
	} {
		p := mustParse(t, test.document)
		if got := p.String(); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
		text, err := json.Marshal(p)
		if err != nil || !json.Valid(text) {
			t.Errorf("json.Marshal: %s, %v", text, err)
		}
	}
}

func TestMapPrincipals(t *testing.T) {
	p := mustParse(t, `{"Statement": [
		{"Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam::111122223333:role/a", "111122223333"], "Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
		{"Effect": "Deny", "NotPrincipal": "*", "Action": "sts:AssumeRole"}]}`)
	stored := p.MapPrincipals(func(kind, value string) string {
		if kind == "AWS" && value == "arn:aws:iam::111122223333:role/a" {
			return "AROAEXAMPLE"
		}
		return value
	})
	list := func(p *Policy) []string {
		var l []string
		for kind, value := range p.Principals() {
			l = append(l, kind+" "+value)
		}
		return l
	}
	if diff := cmp.Diff([]string{"AWS AROAEXAMPLE", "AWS 111122223333", "Service ec2.amazonaws.com", " *"}, list(stored)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"AWS arn:aws:iam::111122223333:role/a", "AWS 111122223333", "Service ec2.amazonaws.com", " *"}, list(p)); diff != "" {
		t.Error("the policy itself was changed:", diff)
	}
	for kind := range p.Principals() {
		if kind == "AWS" {
			break // stopping early is allowed
		}
	}
}

func TestSize(t *testing.T) {
	if got := Size(" {\n\t\"Id\": \"a b é\u00a0\"\r\n}"); got != 13 {
		t.Errorf("got %d, want 13", got)
	}
}

// The documents that were tried on the live service, in full; the corpus has those
// that fit a line. Two answers differ from the list on purpose: it has them from
// before 2026.
func TestRecordedDocuments(t *testing.T) {
	text := recorded.Read(t, "policy/document-validation-cases.json")
	var cases struct {
		Invalid []struct {
			Document json.RawMessage `json:"document"`
			Error    string          `json:"error_message"`
		} `json:"invalid_policy_document_test_cases"`
		Valid []json.RawMessage `json:"valid_policy_documents"`
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	newer := map[string]string{
		"arn:aws:iam:::example_bucket": `IAM resource path must either be "*", root, or start with `,
		`"Action": "invalid"`:          "Policy statement must contain resources.",
	}
	for _, c := range cases.Invalid {
		_, err := Check(c.Document, Identity)
		if err != nil && err.Error() == c.Error {
			continue
		}
		known := false
		for part, text := range newer {
			known = known || err != nil && strings.Contains(string(c.Document), part) && strings.HasPrefix(err.Error(), text)
		}
		if !known {
			t.Errorf("%s\ngot  %v\nwant %s", c.Document, err, c.Error)
		}
	}
	for _, document := range cases.Valid {
		if _, err := Check(document, Identity); err != nil {
			t.Errorf("%s: %v", document, err)
		}
	}
}

func TestCheckNeedsAKind(t *testing.T) {
	if _, err := Check([]byte(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`), Kind(99)); err == nil {
		t.Error("a policy of no kind was accepted")
	}
	if Trust.String() != "Trust" || Kind(99).String() != "Kind(?)" {
		t.Error(Trust.String(), Kind(99).String())
	}
}

func TestDates(t *testing.T) {
	for _, test := range []struct {
		text        string
		seconds     int64
		nanoseconds int
	}{
		{"0", 0, 0},
		{"1772366400", 1772366400, 0},
		{"-292275054", -292275054, 0},
		{"-123", -123, 0},
		{"9223372036854775807", 9223372036854775807, 0},
		{"2026", 1767225600, 0}, // four digits are a year
		{"2026-03", 1772323200, 0},
		{"2026-03-01", 1772323200, 0},
		{"2026-3-1", 1772323200, 0},
		{"2026-03-01T12:00Z", 1772366400, 0},
		{"2026-03-01T12Z", 1772366400, 0},
		{"2026-03-01T12:00:00Z", 1772366400, 0},
		{"2026-03-01T12:00:00", 1772366400, 0},
		{"2026-03-01t2:0:5z", 1772330405, 0},
		{"2026-03-01T12:00:00.5Z", 1772366400, 500_000_000},
		{"2026-03-01T12:00:00.123456789Z", 1772366400, 123_456_789},
		{"2026-03-01T13:00:00+01:00", 1772366400, 0},
		{"2026-03-01T06:30:00-0530", 1772366400, 0},
		{"2026-03-01T13:00:00+01", 1772366400, 0},
		{"2024-02-29", 1709164800, 0},
		{"01T", -62135596800, 0},
		{"2016-12-13t2:00:00.593194+23", 1481511600, 593_194_000},
	} {
		got, ok := parseDate(test.text)
		if want := (instant{test.seconds, test.nanoseconds}); !ok || got != want {
			t.Errorf("%s: got %v, %v, want %v", test.text, got, ok, want)
		}
	}
	for _, text := range []string{
		"", "x", "sdfdsf", "+5", "9223372036854775808", "234-13", "2026-00", "2026-02-29", "2026-03-01T24:00", "2026-03-01T12:60", "2026-03-01T12:00:60Z",
		"2026-03-01 12:00:00Z", "2026-03-01T12:00:00.Z", "2016-12-13t2:00:00.1999999999+10:59", "2016-12-13t2:00:00.593194+1", "2026-03-01T12:00:00+24:00",
		"2026-03-01T12:00:00+01:60", "2026-03-01T12:00:00 Z", "2026-03-01x", "2026-", "2026-03-", "10.5", "1e3", " 5", "-", "--5",
	} {
		if got, ok := parseDate(text); ok {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

func TestNumbers(t *testing.T) {
	order := []string{"-100", "-99.5", "-9", "-0.5", "0", "0.05", "0.5", "0.50001", "1", "9", "10", "9007199254740992", "9007199254740993", strings.Repeat("9", 400)}
	for i, a := range order {
		for j, b := range order {
			x, ok := parseNumber(a)
			y, ok2 := parseNumber(b)
			if want := compareInts(i, j); !ok || !ok2 || x.compare(y) != want {
				t.Errorf("%s and %s: got %d, want %d", a, b, x.compare(y), want)
			}
		}
	}
	for _, same := range [][2]string{{"0", "-0"}, {"0", "0.0"}, {"+1", "1"}, {"007", "7.000"}, {"-0.50", "-00.5"}} {
		x, ok := parseNumber(same[0])
		y, ok2 := parseNumber(same[1])
		if !ok || !ok2 || x.compare(y) != 0 {
			t.Errorf("%s is not %s", same[0], same[1])
		}
	}
	for _, text := range []string{"", "-", "+", ".", ".5", "5.", "1e3", "0x10", "1_000", "1,5", " 1", "1 ", "10abc", "NaN", "Inf", "--1", "1.2.3", "١"} {
		if n, ok := parseNumber(text); ok {
			t.Errorf("%q is read as %v", text, n)
		}
	}
}

func compareInts(a, b int) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// A decision without a trace does not allocate, whatever it has to compare.
func TestNoAllocation(t *testing.T) {
	g, r := workload(100, "bucket")
	if n := testing.AllocsPerRun(100, func() { g.Evaluate(r, nil) }); n != 0 {
		t.Errorf("the workload: %v allocations", n)
	}
	p := mustParse(t, `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"AWS": ["111122223333", "arn:aws:iam::111122223333:user/alice"]}, "Action": ["s3:*Obj?ct", "s3:Get*"],
		"Resource": ["arn:aws:s3:*:*:home/*/${aws:username}/*x*", "arn:aws:s3:::home/${aws:username}/${aws:PrincipalTag/team, 'none'}/?*"],
		"Condition": {
			"StringLike": {"aws:username": "a*${*}*"}, "StringEqualsIgnoreCase": {"aws:username": "${aws:username}"},
			"NumericLessThan": {"s3:max-keys": "10.5"}, "DateLessThan": {"aws:CurrentTime": "2027-01-01T00:00:00Z"}, "Bool": {"aws:SecureTransport": true},
			"BinaryEquals": {"kms:Blob": "YmxvYg=="}, "IpAddress": {"aws:SourceIp": "2001:db8::/32"}, "ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/${aws:username}"},
			"ForAllValues:StringLike": {"aws:TagKeys": ["t*", "stage"]}, "Null": {"aws:Absent": true}, "StringNotEqualsIfExists": {"aws:Absent": "x"}}}}`)
	g = Compile(p)
	r = &Request{
		Principal: Principal{Account: "111122223333", ARN: "arn:aws:iam::111122223333:user/a*x"},
		Action:    "s3:GetObject", Resource: "arn:aws:s3:::home/a*x/none/y",
		Context: Keys{
			"aws:username": String("a*x"), "s3:max-keys": String("9"), "aws:currenttime": String("2026-03-01T12:00:00.5+01:00"), "aws:securetransport": String("true"),
			"kms:blob": String("blob"), "aws:sourceip": String("2001:db8::5"), "aws:principalarn": String("arn:aws:iam::111122223333:user/a*x"), "aws:tagkeys": List([]string{"team", "stage"}),
		},
	}
	if result := g.Evaluate(r, nil); !result.Allowed {
		var trace Trace
		g.Evaluate(r, &trace)
		t.Fatal(why(&trace))
	}
	if n := testing.AllocsPerRun(100, func() { g.Evaluate(r, nil) }); n != 0 {
		t.Errorf("all operators: %v allocations", n)
	}
}

// Actions longer than any that exist are compared all the same.
func TestLongAction(t *testing.T) {
	long := "s3:" + strings.Repeat("Get", 100)
	g := Compile(mustParse(t, `{"Statement": [{"Effect": "Allow", "Action": "`+strings.ToUpper(long)+`", "Resource": "*"}, {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]}`))
	if got := g.Evaluate(&Request{Action: Action(long), Resource: "*"}, nil); !got.Allowed || !got.Denied {
		t.Errorf("got %+v", got)
	}
}

func TestTraceJSON(t *testing.T) {
	g := Compile(mustParse(t, `{"Version": "2012-10-17", "Statement": [{"Sid": "Own", "Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": {"StringEquals": {"aws:UserName": "alice"}}}, {"Effect": "Deny", "Action": "*", "Resource": "*"}]}`))
	var trace Trace
	g.Evaluate(&Request{Action: "s3:GetObject", Resource: "*"}, &trace)
	got, err := json.Marshal(trace)
	const want = `{"statements":[{"index":0,"sid":"Own","effect":"Allow","line":1,"column":41,"matched":false,"failed":"Condition","operator":"StringEquals","key":"aws:UserName","want":["alice"]},` +
		`{"index":1,"effect":"Deny","line":1,"column":169,"matched":true,"statement":{"Effect":"Deny","Action":"*","Resource":"*"}}],"missing":["aws:username"]}`
	if err != nil || string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Patterns with many stars and question marks are matched in no time, in actions,
// resources and values, with and without variables.
func TestPatternKillers(t *testing.T) {
	stars := strings.Repeat("*a", 11) + "*b"
	text := strings.Repeat("a", 4000)
	p := &Policy{Version: "2012-10-17", Statements: []Statement{
		{Effect: "Allow", Action: []string{"s3:" + strings.Repeat("*a", 2000) + "b"}, Resource: []string{"*"}},
		{Effect: "Allow", Action: []string{"*"}, Resource: []string{"arn:aws:s3:::" + stars}},
		{Effect: "Allow", Action: []string{"*"}, Resource: []string{"arn:aws:s3:::" + strings.Repeat("*?a", 1000) + "b"}},
		{Effect: "Allow", Action: []string{"*"}, Resource: []string{"*"}, Condition: []Condition{{Operator: "StringLike", Key: "k", Values: []string{"${aws:username}" + strings.Repeat("*${aws:username}?", 500) + "b"}}}},
		{Effect: "Allow", Action: []string{"*"}, Resource: []string{"*"}, Condition: []Condition{{Operator: "StringLike", Key: "k", Values: []string{strings.Repeat("*", 3000) + strings.Repeat("a?", 1500) + "b"}}}},
	}}
	r := &Request{Action: Action("s3:" + text), Resource: "arn:aws:s3:::" + "x", Context: Keys{"k": String(text), "aws:username": String("a")}}
	r.Resource += "/"
	for range 4000 {
		r.Resource += "a"
	}
	if got := Compile(p).Evaluate(r, nil); got.Allowed {
		t.Errorf("got %+v", got)
	}
}

func TestKeysAndValues(t *testing.T) {
	if got := String("a").Strings(); !slices.Equal(got, []string{"a"}) {
		t.Error(got)
	}
	if got := List([]string{"a", "b"}).Strings(); !slices.Equal(got, []string{"a", "b"}) {
		t.Error(got)
	}
	if got := Compile(mustParse(t, `{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}`)).Evaluate(&Request{Action: "a:b", Resource: "*"}, nil); !got.Allowed {
		t.Error("a request without a context is a request:", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, document := range []string{
		`{}`, `[`, `{"Statement":{"Effect":"Allow","Action":"*"}}`,
		`{"Version":"2012-10-17","Statement":[{"Sid":"é\u00e9","Effect":"Deny","NotPrincipal":{"AWS":["*"]},"NotAction":["a",null],"Condition":{"Bool":{"a":[true,1e5]},"X":{}}}]}`,
	} {
		f.Add([]byte(document))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		p, err := Parse(src)
		for k := Identity; k <= RCP; k++ {
			checked, bad := Check(src, k)
			if (checked == nil) == (bad == nil) {
				t.Fatalf("Check(%q, %s) gives %v, %v", src, k, checked, bad)
			}
			if bad == nil && err != nil { // what is stored must be readable
				t.Fatalf("Check(%q, %s) accepts what Parse does not: %v", src, k, err)
			}
		}
		if err != nil {
			if e := err.(*SyntaxError); e.Line < 1 || e.Column < 1 {
				t.Fatalf("%q: %v", src, err)
			}
			return
		}
		if !json.Valid(src) {
			t.Fatalf("%q is not JSON", src)
		}
		text := p.String()
		again, err := Parse([]byte(text))
		if err != nil || again.String() != text {
			t.Fatalf("%q is printed as %q and read as %v, %v", src, text, again, err)
		}
		p.Validate(Identity, nil)
		Compile(p).Evaluate(&Request{Action: "s3:GetObject", Resource: "*"}, &Trace{})
	})
}
