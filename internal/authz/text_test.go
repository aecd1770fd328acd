package authz

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/iamd-dev/iamd/policy"
)

var refused = Explanation{
	RequestID: "5b7e6a7e-5d0f-4a3a-8a36-6f3d3f1a2b3c",
	Time:      time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC),
	Event:     "s3:GetObject",
	Principal: "arn:aws:sts::444455556666:assumed-role/reader/alice",
	Account:   "444455556666",
	Action:    "s3:GetObjectVersion",
	Resource:  "arn:aws:s3:::reports/2026/q3.pdf",
	Owner:     "111122223333",
	Decision:  "implicitDeny",
	DecidedBy: ResourcePolicy,
	Reason:    "no resource-based policy allows s3:GetObjectVersion on arn:aws:s3:::reports/2026/q3.pdf",
	Layers: []LayerExplanation{
		{Layer: ResourcePolicy, Verdict: "implicitDeny", Policies: []PolicyExplanation{{
			Name: "policy of arn:aws:s3:::reports", Verdict: "implicitDeny", Statements: []policy.StatementTrace{
				{Index: 0, Sid: "Write", Effect: "Allow", Line: 2, Column: 3, Failed: "Action", Want: []string{"s3:PutObject"}, Got: []string{"s3:GetObjectVersion"}},
				{Index: 1, Effect: "Allow", Line: 3, Column: 3, Failed: "Resource", Want: []string{"arn:aws:s3:::reports/2025/*"}, Got: []string{"arn:aws:s3:::reports/2026/q3.pdf"}},
				{Index: 2, Sid: "Team", Effect: "Allow", Line: 4, Column: 3, Failed: "Condition", Operator: "StringEquals", Key: "aws:PrincipalTag/team", Want: []string{"blue", "green"}},
				{Index: 3, Sid: "Late", Effect: "Deny", Line: 5, Column: 3, Failed: "Condition", Operator: "DateGreaterThan", Key: "aws:CurrentTime", Want: []string{"2027-01-01"}, Got: []string{"2026-10-01T12:00:00Z"}},
				{Index: 4, Sid: "Other", Effect: "Deny", Line: 6, Column: 3, Failed: "Action", Want: []string{"s3:Delete*"}, Got: []string{"s3:GetObjectVersion"}},
				{Index: 5, Sid: "Else", Effect: "Allow", Line: 7, Column: 3, Failed: "Principal", Want: []string{"arn:aws:iam::777788889999:root"}, Got: []string{"arn:aws:sts::444455556666:assumed-role/reader/alice"}},
			}}}},
		{Layer: IdentityPolicy, Verdict: "allow", Policies: []PolicyExplanation{
			{Name: "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess", ARN: "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess", Verdict: "allow", Statements: []policy.StatementTrace{
				{Effect: "Allow", Line: 4, Column: 5, Matched: true}}}}},
	},
	Missing: []string{"aws:PrincipalTag/team"},
}

func TestText(t *testing.T) {
	const want = `REFUSED  s3:GetObjectVersion
  because no resource-based policy allows s3:GetObjectVersion on arn:aws:s3:::reports/2026/q3.pdf

  who           arn:aws:sts::444455556666:assumed-role/reader/alice
  what          s3:GetObjectVersion
  on what       arn:aws:s3:::reports/2026/q3.pdf (account 111122223333)
  for the call  s3:GetObject
  when          2026-10-01 12:00:00 UTC
  request id    5b7e6a7e-5d0f-4a3a-8a36-6f3d3f1a2b3c

✗ resource-based policy: no statement allows it  ← this decides
  policy of arn:aws:s3:::reports
    no      Team (Allow, line 4 column 3): condition StringEquals aws:PrincipalTag/team is not met
        the policy has   blue, green
        the request has  no aws:PrincipalTag/team
    no      Late (Deny, line 5 column 3): condition DateGreaterThan aws:CurrentTime is not met
        the policy has   2027-01-01
        the request has  2026-10-01T12:00:00Z
    no      statement 2 (Allow, line 3 column 3): Resource is another
        the policy has   arn:aws:s3:::reports/2025/*
        the request has  arn:aws:s3:::reports/2026/q3.pdf
    3 other statements do not match

✓ identity-based policy: allows it
  arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess
    allows  statement 1 (Allow, line 4 column 5)

Conditions asked for keys that the request does not have: aws:PrincipalTag/team
`
	var b strings.Builder
	if err := refused.WriteText(&b, false); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}

func TestTextOfOtherDecisions(t *testing.T) {
	for _, test := range []struct {
		name string
		x    Explanation
		want []string
	}{
		{"a boundary whose policy is gone",
			Explanation{Decision: "implicitDeny", DecidedBy: Boundary, Layers: []LayerExplanation{{Layer: IdentityPolicy, Verdict: "allow"}}},
			[]string{"✓ identity-based policy: allows it\n", "✗ permissions boundary: there is none  ← this decides\n"}},
		{"no policies at all",
			Explanation{Decision: "implicitDeny", DecidedBy: IdentityPolicy, Layers: []LayerExplanation{{Layer: IdentityPolicy, Verdict: "implicitDeny"}}},
			[]string{"✗ identity-based policy: there is none  ← this decides\n"}},
		{"an explicit deny",
			Explanation{Decision: "explicitDeny", DecidedBy: SessionPolicy, Layers: []LayerExplanation{{Layer: SessionPolicy, Verdict: "explicitDeny", Policies: []PolicyExplanation{{
				Name: "session policy of s", Statements: []policy.StatementTrace{{Effect: "Deny", Line: 1, Column: 2, Matched: true, Note: "the operator is unknown"}}}}}}},
			[]string{"✗ session policy: denies it  ← this decides\n", "    denies  statement 1 (Deny, line 1 column 2)\n", "        the operator is unknown\n"}},
		{"a resource policy whose word is enough",
			Explanation{Decision: "allowed", DecidedBy: ResourcePolicy, Layers: []LayerExplanation{{Layer: ResourcePolicy, Verdict: "allow"}, {Layer: IdentityPolicy, Verdict: "implicitDeny"}}},
			[]string{"ALLOWED", "✓ resource-based policy: allows it  ← this decides\n", "· identity-based policy: says nothing\n"}},
		{"the root user",
			Explanation{Decision: "allowed", DecidedBy: IdentityPolicy, Layers: []LayerExplanation{{Layer: IdentityPolicy, Verdict: "implicitDeny"}}},
			[]string{"✓ identity-based policy: the root user needs none  ← this decides\n"}},
		{"a statement with many values",
			Explanation{Decision: "implicitDeny", DecidedBy: IdentityPolicy, Layers: []LayerExplanation{{Layer: IdentityPolicy, Verdict: "implicitDeny", Policies: []PolicyExplanation{{
				Statements: []policy.StatementTrace{{Effect: "Allow", Failed: "Action", Want: strings.Split("a b c d e f g", " "), Got: []string{"z"}}}}}}}},
			[]string{"the policy has   a, b, c, d, e and 2 more\n"}},
	} {
		var b strings.Builder
		if err := test.x.WriteText(&b, false); err != nil {
			t.Fatal(err)
		}
		for _, want := range test.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: there is no %q in\n%s", test.name, want, b.String())
			}
		}
	}
}

// Whoever calls chooses names, tags and keys, and somebody else reads them in a terminal.
func TestTextKeepsControlCharactersFromTheTerminal(t *testing.T) {
	for _, color := range []bool{false, true} {
		x := refused
		x.Resource = "arn:aws:s3:::b/\x1b]0;title\x07\r\nALLOWED\u009b2J"
		x.Reason = "no policy allows \x1b[2J"
		x.Principal = "anonymous"
		var b strings.Builder
		if err := x.WriteText(&b, color); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		for _, bad := range []string{"\x1b]", "\x1b[2J", "\x07", "\r", "\u009b", "\nALLOWED"} {
			if strings.Contains(text, bad) {
				t.Errorf("color %v: the text has %q", color, bad)
			}
		}
		if got := strings.Contains(text, "\x1b["); got != color {
			t.Errorf("color %v: the text has colors: %v", color, got)
		}
	}
}

func TestExplanationIsReadBackFromJSON(t *testing.T) {
	b, err := json.Marshal(&refused)
	if err != nil {
		t.Fatal(err)
	}
	var got Explanation
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(refused, got); diff != "" {
		t.Errorf("(-wrote +read):\n%s", diff)
	}
	if err := json.Unmarshal([]byte(`{"decidedBy": "goodwill"}`), &got); err == nil {
		t.Error("an unknown layer was read")
	}
}
