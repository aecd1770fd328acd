package authz

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/iamd-dev/iamd/policy"
)

// The form is AWS's: every member is there, lists are objects with items, effects
// are in capitals, and keys that describe the resource follow those of the request.
func TestMessage(t *testing.T) {
	var deny policy.Statement
	if err := json.Unmarshal([]byte(`{"Sid":"NoPassing","Effect":"Deny","Action":["iam:PassRole","iam:Get*"],"Resource":"*","Condition":{"StringEquals":{"iam:PassedToService":["ec2.amazonaws.com","lambda.amazonaws.com"]}}}`), &deny); err != nil {
		t.Fatal(err)
	}
	x := &Explanation{
		Principal: "arn:aws:iam::111122223333:user/alice", Account: "111122223333",
		Action: "iam:PassRole", Resource: "arn:aws:iam::111122223333:role/ops/r", Owner: "111122223333",
		Decision: "explicitDeny", DecidedBy: IdentityPolicy,
		Layers: []LayerExplanation{{Layer: IdentityPolicy, Policies: []PolicyExplanation{{Statements: []policy.StatementTrace{
			{Effect: "Allow", Matched: true, Statement: &policy.Statement{Effect: "Allow", Action: []string{"*"}, Resource: []string{"*"}}},
			{Sid: "NoPassing", Effect: "Deny", Matched: true, Statement: &deny},
			{Sid: "Other", Effect: "Deny", Failed: "Action"},
		}}}}},
		Context: []ContextKey{{"aws:userid", []string{"AIDAQ"}, "principal"}, {"aws:username", []string{"alice"}, "principal"}, {"aws:TagKeys", []string{"a", "b"}, "request"}},
	}
	const want = `{
	"allowed": false,
	"explicitDeny": true,
	"matchedStatements": {"items": [{
		"statementId": "NoPassing",
		"effect": "DENY",
		"principals": {"items": [{"value": "AIDAQ"}]},
		"principalGroups": {"items": []},
		"actions": {"items": [{"value": "iam:PassRole"}, {"value": "iam:Get*"}]},
		"resources": {"items": [{"value": "*"}]},
		"conditions": {"items": [{"key": "iam:PassedToService", "values": {"items": [{"value": "ec2.amazonaws.com"}, {"value": "lambda.amazonaws.com"}]}}]}
	}]},
	"failures": {"items": []},
	"context": {
		"principal": {"id": "AIDAQ", "name": "alice", "arn": "arn:aws:iam::111122223333:user/alice"},
		"action": "iam:PassRole",
		"resource": "arn:aws:iam::111122223333:role/ops/r",
		"conditions": {"items": [
			{"key": "aws:userid", "values": {"items": [{"value": "AIDAQ"}]}},
			{"key": "aws:username", "values": {"items": [{"value": "alice"}]}},
			{"key": "aws:TagKeys", "values": {"items": [{"value": "a"}, {"value": "b"}]}},
			{"key": "aws:Service", "values": {"items": [{"value": "iam"}]}},
			{"key": "aws:Resource", "values": {"items": [{"value": "role/ops/r"}]}},
			{"key": "aws:Type", "values": {"items": [{"value": "role"}]}},
			{"key": "aws:Account", "values": {"items": [{"value": "111122223333"}]}},
			{"key": "aws:ARN", "values": {"items": [{"value": "arn:aws:iam::111122223333:role/ops/r"}]}}
		]}
	}
}`
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(want)); err != nil {
		t.Fatal(err)
	}
	if got := x.Message(); got != compact.String() {
		t.Errorf("the message is\n%s\nwant\n%s", got, &compact)
	}

	// What was kept on disk says the same.
	b, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	var again Explanation
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatal(err)
	}
	if got := again.Message(); got != compact.String() {
		t.Errorf("read again, the message is\n%s", got)
	}

	// A message is a decision to read.
	parsed, err := ParseMessage(x.Message())
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := parsed.WriteText(&text, false); err != nil {
		t.Fatal(err)
	}
	const page = `REFUSED  iam:PassRole
  because a Deny matches

  who           arn:aws:iam::111122223333:user/alice
  what          iam:PassRole
  on what       arn:aws:iam::111122223333:role/ops/r

✗ policies: denies it
  as the message tells them
    denies  NoPassing (Deny)
`
	if text.String() != page {
		t.Errorf("the message reads\n%s\nwant\n%s", text.String(), page)
	}
	text.Reset()
	if err := parsed.WriteContext(&text, false); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "\n  aws:TagKeys   a, b\n") {
		t.Errorf("the context reads\n%s", text.String())
	}
}

// EC2's actions are without their prefix, and a refusal by nobody has no statements.
func TestMessageOfEC2(t *testing.T) {
	x := &Explanation{Principal: "arn:aws:sts::111122223333:assumed-role/r/s", Action: "ec2:RunInstances", Resource: "*", Decision: "implicitDeny"}
	got := x.Message()
	for _, want := range []string{`"explicitDeny":false,"matchedStatements":{"items":[]}`, `"action":"RunInstances","resource":"*"`, `{"key":"aws:Service","values":{"items":[{"value":"ec2"}]}}`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	parsed, err := ParseMessage(got)
	if err != nil || parsed.Action != "ec2:RunInstances" || parsed.Decision != "implicitDeny" {
		t.Errorf("read as %+v, %v", parsed, err)
	}
	for _, bad := range []string{"", "x", `[]`, `{"context":1}`} {
		if _, err := ParseMessage(bad); err == nil {
			t.Errorf("%q is a message", bad)
		}
	}
}
