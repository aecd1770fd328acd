package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/iamd-dev/iamd/internal/awstest"
	"github.com/iamd-dev/iamd/internal/server"
)

func TestExplainEventsAndMessages(t *testing.T) {
	const first, second = "111122223333", "444455556666"
	s := awstest.Start(t, first, second)
	admin := s.IAM(s.Config(s.Root(first)))
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(admin.CreateUser(t.Context(), &iam.CreateUserInput{UserName: aws.String("alice")}))
	must(admin.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: aws.String("alice"), PolicyName: aws.String("p"), PolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:RunInstances","Resource":"*"},{"Sid":"NeverUsers","Effect":"Deny","Action":"iam:*User","Resource":"*"}]}`)}))
	key, err := admin.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: aws.String("alice")})
	must(key, err)
	alice := aws.Credentials{AccessKeyID: *key.AccessKey.AccessKeyId, SecretAccessKey: *key.AccessKey.SecretAccessKey}
	dir := dataOf(t, s, map[string]aws.Credentials{"default": s.Root(first), "root-" + first: s.Root(first), "root-" + second: s.Root(second), "alice": alice})
	_, err = s.IAM(s.Config(alice)).CreateUser(t.Context(), &iam.CreateUserInput{UserName: aws.String("bob")})
	var refused *smithyhttp.ResponseError
	if !errors.As(err, &refused) {
		t.Fatal(err)
	}
	id := refused.Response.Header.Get("X-Amzn-Requestid")

	run := func(stdin string, args ...string) (string, error) {
		var out bytes.Buffer
		cmd := newCommand()
		cmd.SetArgs(append([]string{"explain", "--data", dir}, args...))
		cmd.SetIn(strings.NewReader(stdin))
		cmd.SetOut(&out)
		err := cmd.ExecuteContext(t.Context())
		return out.String(), err
	}
	record := func(id, name string) string {
		return fmt.Sprintf(`{"eventVersion":"1.11","requestID":%q,"userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::%s:user/alice"},"eventTime":%q,"eventSource":"ec2.amazonaws.com","eventName":%q,"requestParameters":null}`,
			id, first, time.Now().UTC().Format(time.RFC3339), name)
	}
	again := record("c0ffee00-0000-4000-8000-000000000000", "RunInstances")
	quoted, err := json.Marshal(again)
	must(nil, err)
	file := filepath.Join(dir, "record.json")
	must(nil, os.WriteFile(file, []byte(again), 0o600))

	const known, made = "iam:CreateUser", "made again of its record"
	for _, test := range []struct {
		name, stdin string
		args        []string
		want        []string
	}{
		{"one that the server knows", record(id, "RunInstances"), []string{"--event", "-"}, []string{"REFUSED  iam:CreateUser\n", "NeverUsers", "request id    " + id}},
		{"one that it does not", again, []string{"--event", "-"}, []string{"ALLOWED  ec2:RunInstances\n", made}},
		{"in a file", "", []string{"--event", file}, []string{"ALLOWED  ec2:RunInstances\n", made}},
		{"with its context", again, []string{"--event", "-", "--context"}, []string{"\nWhat conditions could ask for\n", "aws:username", "alice  (principal)"}},
		{"a file of CloudTrail", `{"Records":[` + again + "," + record(id, "x") + `]}`, []string{"--event", "-"}, []string{"ALLOWED  ec2:RunInstances\n", "REFUSED  iam:CreateUser\n"}},
		{"an event of EventBridge", `{"detail-type":"AWS API Call via CloudTrail","detail":` + again + `}`, []string{"--event", "-"}, []string{"ALLOWED  ec2:RunInstances\n"}},
		{"what lookup-events answers", `{"Events":[{"EventName":"x","CloudTrailEvent":` + string(quoted) + `}]}`, []string{"--event", "-"}, []string{"ALLOWED  ec2:RunInstances\n"}},
		{"lines", again + "\n" + again + "\n", []string{"--event", "-", "--json"}, []string{`"decision": "allowed"`, `"notes": [`}},
	} {
		out, err := run(test.stdin, test.args...)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		for _, want := range test.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", test.name, want, out)
			}
		}
	}

	// What it cannot explain does not keep it from what it can.
	nobody := strings.Replace(again, "user/alice", "user/nobody", 1)
	out, err := run(nobody+again, "--event", "-")
	if !strings.Contains(out, "ALLOWED  ec2:RunInstances\n") || err == nil || !strings.Contains(err.Error(), "record 1: the server cannot decide it again: The call cannot be decided again: the caller of the record is not of account") {
		t.Errorf("one of two: %v\n%s", err, out)
	}
	for _, test := range []struct {
		stdin, args, want string
	}{
		{"", "--event -", "there is no CloudTrail record"},
		{"{}", "--event -", "before byte 2 there is no CloudTrail record"},
		{"[1]", "--event -", "it is not JSON"},
		{"{", "--event -", "it is not JSON"},
		{"", "--event /nonexistent", "no such file"},
		{"", "x --event -", "takes one of a request id, --event and --message"},
		{"", "--message x --event -", "takes one of a request id, --event and --message"},
		{"", "--message nonsense", "InvalidAuthorizationMessageException: Message is not valid"},
		{again, "--event - --profile alice", "is not authorized to perform: iam:GetRequestAuthorizationDetails"},
	} {
		if out, err := run(test.stdin, strings.Fields(test.args)...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("iamd explain %s: %v, want %q\n%s", test.args, err, test.want, out)
		}
	}

	// The encoded message of the refusal.
	d, err := (&target{data: dir, profile: "default"}).ask(t.Context(), http.MethodGet, "/"+id, nil)
	must(d, err)
	var details server.Details = *d
	out, err = run("", "--message", details.EncodedMessage, "--context")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"REFUSED  iam:CreateUser\n", "because a Deny matches", "denies  NeverUsers (Deny)", "aws:username", "aws:Type"} {
		if !strings.Contains(out, want) {
			t.Errorf("the message: no %q in\n%s", want, out)
		}
	}
	decoded, err := s.STS(s.Config(s.Root(first))).DecodeAuthorizationMessage(t.Context(), &sts.DecodeAuthorizationMessageInput{EncodedMessage: &details.EncodedMessage})
	if err != nil || !strings.Contains(*decoded.DecodedMessage, `"actions":{"items":[{"value":"iam:*User"}]}`) {
		t.Errorf("decoded: %v, %v", decoded, err)
	}
	if _, err := run("", "--message", details.EncodedMessage, "--profile", "root-"+second); err == nil || !strings.Contains(err.Error(), "Message is not valid") {
		t.Errorf("another account decodes it: %v", err)
	}
}
