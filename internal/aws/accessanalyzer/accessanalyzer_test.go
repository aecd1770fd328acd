package accessanalyzer_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/iamd-dev/iamd/internal/awstest"
	"github.com/iamd-dev/iamd/internal/lint"
	"github.com/iamd-dev/iamd/internal/sigv4"
	"github.com/iamd-dev/iamd/policy"
)

// post sends a request as the CLI does, and returns its status, the code of an error
// and the body.
func post(t *testing.T, s *awstest.Server, c aws.Credentials, path, body string) (int, string, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if c.AccessKeyID != "" {
		signer := sigv4.Signer{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, Region: "eu-central-1", Service: "access-analyzer"}
		signer.Sign(r, sigv4.Hash([]byte(body)), time.Now())
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := answer.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("%s: Content-Type %q", path, got)
	}
	return answer.StatusCode, answer.Header.Get("X-Amzn-Errortype"), string(text)
}

func quote(document string) string {
	b, err := json.Marshal(document)
	if err != nil {
		panic(err)
	}
	return string(b)
}

type findings struct {
	Findings []struct {
		FindingDetails, FindingType, IssueCode, LearnMoreLink string
		Locations                                             []struct {
			Path []map[string]any
			Span struct {
				Start, End struct{ Line, Column, Offset int }
			}
		}
	}
	NextToken string
}

func TestValidatePolicy(t *testing.T) {
	s := awstest.Start(t)
	root := s.Root(awstest.DefaultAccount)
	const document = "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": {\"Effect\": \"Allow\", \"Action\": [\"s3:GetObject\", \"s3:GetObjekt\"], \"Resource\": \"*\"}\n}"

	status, _, body := post(t, s, root, "/policy/validation", `{"policyType":"IDENTITY_POLICY","policyDocument":`+quote(document)+`}`)
	if status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	var got findings
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	want := policy.Validate([]byte(document), policy.Identity, lint.Reference())
	if len(got.Findings) != len(want) || len(want) == 0 {
		t.Fatalf("%d findings, and lint has %d: %s", len(got.Findings), len(want), body)
	}
	f := got.Findings[0]
	if f.FindingType != "ERROR" || f.IssueCode != "INVALID_ACTION" || f.FindingDetails != want[0].Text || !strings.HasSuffix(f.LearnMoreLink, "#access-analyzer-reference-policy-checks-error-invalid-action") {
		t.Errorf("the finding is %+v", f)
	}
	// Lines are counted from 1, columns and offsets from 0; an index of 0 is written.
	l := f.Locations[0]
	if got, want := fmt.Sprint(l.Path), "[map[value:Statement] map[value:Action] map[index:1]]"; got != want {
		t.Errorf("the path is %s, want %s", got, want)
	}
	at := l.Span.Start
	if at.Line != 3 || at.Offset != strings.Index(document, `"s3:GetObjekt"`) || at.Column != at.Offset-strings.Index(document, `  "Statement"`) || l.Span.End.Column-at.Column != len(`"s3:GetObjekt"`) {
		t.Errorf("the span is %+v", l.Span)
	}

	// Every kind of policy is looked at as such.
	for _, test := range []struct{ kind, document, code string }{
		{`"policyType":"RESOURCE_POLICY","validatePolicyResourceType":"AWS::IAM::AssumeRolePolicyDocument"`, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}}`, ""},
		{`"policyType":"RESOURCE_POLICY"`, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"s3:GetObject"}}`, "MISSING_RESOURCE"},
		{`"policyType":"SERVICE_CONTROL_POLICY"`, `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}}`, "SCP_SYNTAX_ERROR_PRINCIPAL"},
		{`"policyType":"RESOURCE_CONTROL_POLICY"`, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}}`, ""},
		{`"policyType":"IDENTITY_POLICY"`, `{`, "JSON_SYNTAX_ERROR"},
		{`"locale":"DE","policyType":"IDENTITY_POLICY"`, ``, "JSON_SYNTAX_ERROR"},
	} {
		status, _, body := post(t, s, root, "/policy/validation", "{"+test.kind+`,"policyDocument":`+quote(test.document)+"}")
		if status != 200 || test.code != "" && !strings.Contains(body, `"issueCode":"`+test.code+`"`) {
			t.Errorf("%s %s: %d %s, want %s", test.kind, test.document, status, body, test.code)
		}
	}
	if _, _, body := post(t, s, root, "/policy/validation", `{"policyType":"IDENTITY_POLICY","policyDocument":"{\"Version\":\"2012-10-17\",\"Statement\":{\"Sid\":\"A\",\"Effect\":\"Allow\",\"Action\":\"s3:GetObject\",\"Resource\":\"arn:aws:s3:::b/*\"}}"}`); body != `{"findings":[]}` {
		t.Errorf("nothing to say is %s", body)
	}
}

func TestValidatePolicyInPages(t *testing.T) {
	s := awstest.Start(t)
	root := s.Root(awstest.DefaultAccount)
	var actions []string
	for i := range 25 {
		actions = append(actions, fmt.Sprintf("s3:NoAction%d", i))
	}
	b, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": map[string]any{"Effect": "Allow", "Action": actions, "Resource": "arn:aws:s3:::b/*"}})
	if err != nil {
		t.Fatal(err)
	}
	body := `{"policyType":"IDENTITY_POLICY","policyDocument":` + quote(string(b)) + `}`
	n, token := 0, ""
	for page := 0; ; page++ {
		status, _, text := post(t, s, root, "/policy/validation?maxResults=10"+token, body)
		var got findings
		if err := json.Unmarshal([]byte(text), &got); err != nil || status != 200 || len(got.Findings) > 10 || page > 5 {
			t.Fatalf("page %d: %d %s", page, status, text)
		}
		n += len(got.Findings)
		if got.NextToken == "" {
			break
		}
		token = "&nextToken=" + got.NextToken
	}
	if n != 25 {
		t.Errorf("the pages have %d findings, want 25", n)
	}
	for _, test := range []struct{ path, body, code, want string }{
		{"?maxResults=0", body, "ValidationException", "maxResults must be between 1 and 1000."},
		{"?maxResults=1001", body, "ValidationException", "maxResults must be between 1 and 1000."},
		{"?maxResults=x", body, "SerializationException", ""},
		{"?nextToken=x", body, "ValidationException", "nextToken is not one of this policy."},
		{"?maxResults=10" + token, strings.Replace(body, "IDENTITY", "RESOURCE", 1), "ValidationException", "nextToken is not one of this policy."},
		{"", `{"policyType":"IDENTITY_POLICY","validatePolicyResourceType":"AWS::S3::Bucket","policyDocument":"{}"}`, "ValidationException", "is for policies of type RESOURCE_POLICY"},
		{"", `{"policyType":"IDENTITY_POLICY"}`, "ValidationException", "Value null at 'policyDocument' failed to satisfy constraint: Member must not be null"},
		{"", `{"policyType":"TRUST_POLICY","policyDocument":"{}"}`, "ValidationException", "at 'policyType' failed to satisfy constraint"},
		{"", `{"policyType":1,"policyDocument":"{}"}`, "SerializationException", ""},
		{"", `[]`, "SerializationException", ""},
		{"", `{`, "SerializationException", ""},
		{"", ``, "ValidationException", "2 validation errors detected"},
	} {
		status, code, text := post(t, s, root, "/policy/validation"+test.path, test.body)
		if status != 400 || code != test.code || !strings.Contains(text, test.want) {
			t.Errorf("%s %.80s: %d %s %s, want %s %q", test.path, test.body, status, code, text, test.code, test.want)
		}
	}
}

// It is a call like any other: authenticated, authorised, recorded.
func TestValidatePolicyIsProtected(t *testing.T) {
	s := awstest.Start(t)
	root := s.Root(awstest.DefaultAccount)
	admin := s.IAM(s.Config(root))
	if _, err := admin.CreateUser(t.Context(), &iam.CreateUserInput{UserName: aws.String("alice")}); err != nil {
		t.Fatal(err)
	}
	key, err := admin.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: aws.String("alice")})
	if err != nil {
		t.Fatal(err)
	}
	alice := aws.Credentials{AccessKeyID: *key.AccessKey.AccessKeyId, SecretAccessKey: *key.AccessKey.SecretAccessKey}
	const body = `{"policyType":"IDENTITY_POLICY","policyDocument":"{}"}`
	status, code, text := post(t, s, alice, "/policy/validation", body)
	if status != 403 || code != "AccessDeniedException" || !strings.Contains(text, "is not authorized to perform: access-analyzer:ValidatePolicy on resource: * because no identity-based policy allows the access-analyzer:ValidatePolicy action") {
		t.Errorf("alice is answered %d %s %s", status, code, text)
	}
	if _, err := admin.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: aws.String("alice"), PolicyName: aws.String("p"), PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"access-analyzer:ValidatePolicy","Resource":"*"}}`)}); err != nil {
		t.Fatal(err)
	}
	if status, code, text := post(t, s, alice, "/policy/validation", body); status != 200 {
		t.Errorf("with the permission alice is answered %d %s %s", status, code, text)
	}
	wrong := alice
	wrong.SecretAccessKey = "x"
	if status, code, text := post(t, s, wrong, "/policy/validation", body); status != 403 || code != "InvalidSignatureException" || strings.Contains(text, "findings") {
		t.Errorf("with a wrong signature: %d %s %s", status, code, text)
	}
	// What is not served says so to those who may.
	if status, code, text := post(t, s, root, "/policy/check-no-new-access", `{}`); status != 501 || code != "NotImplemented" || !strings.Contains(text, "iamd does not prove") {
		t.Errorf("CheckNoNewAccess: %d %s %s", status, code, text)
	}
	if status, code, text := post(t, s, root, "/policy/none", `{}`); status != 404 || code != "UnknownOperationException" {
		t.Errorf("an unknown path: %d %s %s", status, code, text)
	}
}
