package arn

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

func Example() {
	alice := New("aws", "iam", "", "111122223333", "user/ops/alice")
	fmt.Println(alice.Account(), alice.Resource())
	fmt.Println(alice.Match("arn:aws:iam::*:user/ops/*"))
	fmt.Println(alice.Match("arn:aws:iam:*/alice"))
	// Output:
	// 111122223333 user/ops/alice
	// true
	// false
}

func TestParse(t *testing.T) {
	for _, test := range []struct {
		text  string
		parts [5]string
	}{
		{"arn:aws:iam::111122223333:user/ops/alice", [5]string{"aws", "iam", "", "111122223333", "user/ops/alice"}},
		{"arn:aws:s3:::reports/2026/a:b", [5]string{"aws", "s3", "", "", "reports/2026/a:b"}},
		{"arn:aws-cn:sns:cn-north-1:111122223333:alarms:1", [5]string{"aws-cn", "sns", "cn-north-1", "111122223333", "alarms:1"}},
		{"arn:aws:iam::aws:policy/job-function/Billing", [5]string{"aws", "iam", "", "aws", "policy/job-function/Billing"}},
		{"arn:a:b:c:d::", [5]string{"a", "b", "c", "d", ":"}},
	} {
		a, err := Parse(test.text)
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
		}
		if got := [5]string{a.Partition(), a.Service(), a.Region(), a.Account(), a.Resource()}; got != test.parts {
			t.Errorf("%s: got %q, want %q", test.text, got, test.parts)
		}
		if again := New(a.Partition(), a.Service(), a.Region(), a.Account(), a.Resource()); again != a {
			t.Errorf("%s is put together as %s", a, again)
		}
	}
	for _, test := range []struct{ text, want string }{
		{"", `arn: "" does not begin with "arn:"`},
		{"*", `arn: "*" does not begin with "arn:"`},
		{"ARN:aws:s3:::x", `arn: "ARN:aws:s3:::x" does not begin with "arn:"`},
		{"arn:aws:s3::x", `arn: "arn:aws:s3::x" has fewer than six parts`},
		{"arn::s3:::x", `arn: "arn::s3:::x" has no partition`},
		{"arn:aws::::x", `arn: "arn:aws::::x" has no service`},
		{"arn:aws:s3:::", `arn: "arn:aws:s3:::" has no resource`},
	} {
		if a, err := Parse(test.text); err == nil || err.Error() != test.want || a != "" {
			t.Errorf("got %q, %v, want %s", a, err, test.want)
		}
	}
}

// A part that is not there is empty: nothing panics on a text that is not an ARN.
func TestPartsOfOtherTexts(t *testing.T) {
	for _, a := range []ARN{"", "*", "arn", "arn:aws", "arn:aws:s3", "::::"} {
		if a.Resource() != "" || a.Account() != "" {
			t.Errorf("%q has account %q and resource %q", a, a.Account(), a.Resource())
		}
	}
	if got := ARN("arn:aws:s3").Service(); got != "s3" {
		t.Errorf("got %q", got)
	}
}

func TestGlob(t *testing.T) {
	for _, test := range []struct {
		pattern string
		yes, no []string
	}{
		{"", []string{""}, []string{"a"}},
		{"a", []string{"a"}, []string{"", "A", "aa", "b"}},
		{"*", []string{"", "a", "a/b:c*"}, nil},
		{"**", []string{"", "a"}, nil},
		{"?", []string{"a", "*", "é", "😀"}, []string{"", "ab", "éa"}},
		{"a*", []string{"a", "ab", "a*"}, []string{"", "ba"}},
		{"*a", []string{"a", "ba", "aa"}, []string{"", "ab"}},
		{"a*a", []string{"aa", "aba", "aaa"}, []string{"a", "ab", "ba"}},
		{"a*b*c", []string{"abc", "aXbYc", "abbc", "abcbc"}, []string{"ac", "acb", "abcx"}},
		{"*ab*ab", []string{"abab", "xabyab", "ababab"}, []string{"ab", "aab", "abb"}},
		{"a?c", []string{"abc", "aéc", "a?c", "a*c"}, []string{"ac", "abbc"}},
		{"*?", []string{"a", "é", "ab"}, []string{""}},
		{"??*", []string{"ab", "éa", "abc"}, []string{"", "a", "é"}},
		{"*??", []string{"ab", "€€"}, []string{"", "a", "€"}},
		{"*?b*", []string{"ab", "xéb", "abb"}, []string{"b", "ba"}},
		{"x*?é?*y", []string{"xaéby", "x€é€y"}, []string{"xéy", "xaéy"}},
		{"[a]", []string{"[a]"}, []string{"a"}},
		{`a\*`, []string{`a\`, `a\b`}, []string{"a*"}},
	} {
		for _, s := range test.yes {
			if !Glob(test.pattern, s) {
				t.Errorf("%q does not match %q", test.pattern, s)
			}
		}
		for _, s := range test.no {
			if Glob(test.pattern, s) {
				t.Errorf("%q matches %q", test.pattern, s)
			}
		}
	}
}

// Patterns that make a backtracking matcher run for years.
func TestGlobKillers(t *testing.T) {
	for _, test := range []struct{ pattern, s string }{
		{strings.Repeat("a*", 11) + "b", strings.Repeat("a", 40)},
		{strings.Repeat("*a", 2000) + "b", strings.Repeat("a", 100_000)},
		{strings.Repeat("*?a", 2000) + "b", strings.Repeat("a", 100_000)},
		{"*" + strings.Repeat("a", 50_000) + "b*", strings.Repeat("a", 100_000)},
		{strings.Repeat("*", 100_000) + "b", strings.Repeat("a", 100_000)},
		{strings.Repeat("?", 50_000) + "*b", strings.Repeat("é", 50_000)},
	} {
		if Glob(test.pattern, test.s) {
			t.Errorf("%.20s... matches", test.pattern)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, test := range []struct {
		arn     ARN
		pattern string
		want    bool
	}{
		{"arn:aws:sns:us-east-1:111122223333:alarms", "arn:aws:sns:us-east-1:111122223333:alarms", true},
		{"arn:aws:sns:us-east-1:111122223333:alarms", "arn:*:s?s:us-*:*:*", true},
		{"arn:aws:sns:us-east-1:111122223333:alarms", "arn:aws:sns:*:alarms", false}, // no star reaches over a colon
		{"arn:aws:sns:us-east-1:111122223333:alarms", "*", false},
		{"arn:aws:sns:us-east-1:111122223333:alarms", "arn:aws:sns:us-east-1:*", false},
		{"arn:aws:logs:::log-group:web:x", "arn:aws:logs:::log-group:*", true}, // but those of the resource
		{"arn:aws:s3:::x", "arn:aws:s3:::X", false},
		{"arn:aws:s3:::*", "arn:aws:s3:::x", false},
		{"arn:aws:s3", "arn:aws:s3", false},
	} {
		if got := test.arn.Match(test.pattern); got != test.want {
			t.Errorf("%s and %s: got %v", test.arn, test.pattern, got)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	a := ARN("arn:aws:iam::111122223333:user/ops/alice")
	if n := testing.AllocsPerRun(100, func() {
		if !a.Match("arn:aws:*::1*3:user/*?l*e") || a.Resource() == "" || Glob("*x*", string(a)) {
			t.Error("wrong")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkGlob(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if !Glob("reports/*/2026-??-*.csv", "reports/europe/north/2026-03-01.csv") {
			b.Fatal("no match")
		}
	}
}

func FuzzGlob(f *testing.F) {
	f.Add("a*b?c", "axxbyc")
	f.Add("*é*", "aé")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		pattern, s = strings.ToValidUTF8(pattern, "x"), strings.ToValidUTF8(s, "x")
		expression := regexp.QuoteMeta(pattern)
		expression = strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(expression)
		re, err := regexp.Compile(`(?s)^` + expression + `$`)
		if err != nil {
			return // too large
		}
		if want := re.MatchString(s); Glob(pattern, s) != want {
			t.Errorf("%q and %q: got %v, want %v", pattern, s, !want, want)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("arn:aws:iam::111122223333:user/alice")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := Parse(s)
		raw := ARN(s)
		_, _, _, _, _ = raw.Partition(), raw.Service(), raw.Region(), raw.Account(), raw.Resource()
		if err != nil {
			return
		}
		if New(a.Partition(), a.Service(), a.Region(), a.Account(), a.Resource()) != a {
			t.Errorf("%q falls apart", s)
		}
		if !strings.ContainsAny(s, "*?") && !a.Match(s) {
			t.Errorf("%q does not match itself", s)
		}
	})
}
