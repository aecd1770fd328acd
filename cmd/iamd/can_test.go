package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/iamd-dev/iamd/internal/awstest"
)

// dataOf is a data directory as the server would have left it, with these profiles.
func dataOf(t *testing.T, s *awstest.Server, profiles map[string]aws.Credentials) string {
	t.Helper()
	dir := t.TempDir()
	var credentials strings.Builder
	for profile, c := range profiles {
		fmt.Fprintf(&credentials, "[%s]\naws_access_key_id = %s\naws_secret_access_key = %s\n", profile, c.AccessKeyID, c.SecretAccessKey)
		if c.SessionToken != "" {
			fmt.Fprintf(&credentials, "aws_session_token = %s\n", c.SessionToken)
		}
	}
	for name, text := range map[string]string{"credentials": credentials.String(), "address": s.URL + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCan(t *testing.T) {
	const first, second = "111122223333", "444455556666"
	s := awstest.Start(t, first, second)
	root := s.Config(s.Root(first))
	admin, buckets := s.IAM(root), s.S3(root)
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	user := func(c *iam.Client, name, path, document string) {
		t.Helper()
		must(c.CreateUser(t.Context(), &iam.CreateUserInput{UserName: &name, Path: aws.String(path)}))
		must(c.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: &name, PolicyName: aws.String("p"), PolicyDocument: &document}))
	}
	user(admin, "alice", "/people/", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}},{"Effect":"Deny","Action":"s3:Delete*","Resource":"*"},{"Effect":"Allow","Action":"ec2:CreateTags","Resource":"*","Condition":{"ForAllValues:StringEquals":{"aws:TagKeys":["a","b"]}}}]}`)
	user(admin, "eve", "/", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iam:ListUsers","Resource":"*"}}`)
	user(s.IAM(s.Config(s.Root(second))), "far", "/", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)
	must(admin.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("target"), AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/eve"},"Action":"sts:AssumeRole"}}`)}))
	must(admin.CreateGroup(t.Context(), &iam.CreateGroupInput{GroupName: aws.String("staff")}))
	must(buckets.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("reports")}))
	must(buckets.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String("reports"), Policy: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/eve"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::reports/*"}}`)}))
	must(buckets.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("plain")}))

	key, err := admin.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: aws.String("eve")})
	must(key, err)
	dir := dataOf(t, s, map[string]aws.Credentials{
		"default": s.Root(first), "root-" + first: s.Root(first), "root-" + second: s.Root(second),
		"eve": {AccessKeyID: *key.AccessKey.AccessKeyId, SecretAccessKey: *key.AccessKey.SecretAccessKey},
	})

	const yes, no, wrong = 0, 1, 2
	for _, test := range []struct {
		args   string
		status int
		want   string // of what is printed, or of the error
	}{
		{"alice s3:GetObject s3://plain/k aws:SourceIp=10.1.2.3", yes, "yes  arn:aws:iam::111122223333:user/people/alice may s3:GetObject on arn:aws:s3:::plain/k: user_alice_p (line 1, column 38) allows it\n"},
		{"user/people/alice s3:GetObject s3://plain/k aws:SourceIp=192.0.2.1", no, "no   arn:aws:iam::111122223333:user/people/alice may not s3:GetObject on arn:aws:s3:::plain/k: no policy allows it\n"},
		{"user/alice s3:GetObject s3://plain/k", no, "no policy allows it; conditions ask for aws:SourceIp\n"},
		{"arn:aws:iam::111122223333:user/people/alice s3:DeleteObject s3://plain/a=b", no, "may not s3:DeleteObject on arn:aws:s3:::plain/a=b: user_alice_p (line 1, column 151) denies it\n"},
		{"alice ec2:CreateTags aws:TagKeys=a aws:TagKeys=b", yes, "may ec2:CreateTags on *: "},
		{"alice ec2:CreateTags aws:TagKeys=a aws:TagKeys=c", no, "may not ec2:CreateTags on *: "},
		// The policy of the bucket counts.
		{"eve s3:GetObject s3://reports/k", yes, "ResourcePolicy (line 1, column 38) allows it\n"},
		{"eve s3:PutObject s3://reports/k", no, "no policy allows it\n"},
		{"eve s3:GetObject s3://none/k", no, "no policy allows it\n"},
		// And that of a role.
		{"eve sts:AssumeRole arn:aws:iam::111122223333:role/target", yes, "AssumeRolePolicyDocument (line 1, column 38) allows it\n"},
		{"alice sts:AssumeRole arn:aws:iam::111122223333:role/target", no, "the role's trust policy and the principal's policies do not both allow it\n"},
		{"target s3:GetObject *", no, "arn:aws:iam::111122223333:role/target may not"},
		{"group/staff s3:GetObject", no, "arn:aws:iam::111122223333:group/staff may not"},
		// The root of the account that is asked about asks.
		{"arn:aws:iam::444455556666:user/far s3:GetObject s3://x/k", yes, "yes  arn:aws:iam::444455556666:user/far"},

		{"arn:aws:iam::444455556666:user/far s3:GetObject --profile default", wrong, "InvalidInput: Invalid Policy Source Arn"},
		{"alice s3:GetObject --profile eve", wrong, "AccessDenied: User: arn:aws:iam::111122223333:user/eve is not authorized to perform: iam:GetUser"},
		{"arn:aws:iam::111122223333:user/people/alice s3:GetObject --profile eve", wrong, "AccessDenied: "},
		{"nobody s3:GetObject", wrong, "there is no user or role nobody in the account"},
		{"group/none s3:GetObject", wrong, "there is no group none in the account"},
		{"bucket/none s3:GetObject", wrong, "a principal is an ARN"},
		{"arn:aws:iam::111122223333:user/alice s3:GetObject", wrong, "NoSuchEntity: Unable to retrieve specified IAM entity."},
		{"alice GetObject", wrong, `an action is like s3:GetObject, not "GetObject"`},
		{"alice s3:*", wrong, "InvalidInput: "},
		{"alice s3:GetObject reports", wrong, `the resource is an ARN, s3://BUCKET/KEY or *, not "reports"`},
		{"alice s3:GetObject * aws:SourceIp", wrong, `"aws:SourceIp" is not of the form key=value`},
		{"alice", wrong, "needs a principal and an action"},
		{"alice s3:GetObject --endpoint http://127.0.0.1:1", wrong, "connection refused"},
		{"alice s3:GetObject --profile none", wrong, `no profile "none"`},
	} {
		var out, notes bytes.Buffer
		cmd := newCommand()
		cmd.SetArgs(append([]string{"can", "--data", dir}, strings.Fields(test.args)...))
		cmd.SetOut(&out)
		cmd.SetErr(&notes)
		err := cmd.ExecuteContext(t.Context())
		got := out.String()
		if err != nil && !errors.Is(err, errRefused) {
			got = err.Error()
		}
		if status(err) != test.status || !strings.Contains(got, test.want) {
			t.Errorf("iamd can %s\n%s%vstatus %d, want %d with %q", test.args, notes.String(), got, status(err), test.status, test.want)
		}
		if left := strings.Contains(notes.String(), "is left out: NoSuchBucket"); left != (strings.Contains(test.args, "//none/") || strings.Contains(test.args, "//x/")) {
			t.Errorf("iamd can %s notes %q", test.args, notes.String())
		}
	}

	var out bytes.Buffer
	cmd := newCommand()
	cmd.SetArgs([]string{"can", "--data", dir, "--json", "eve", "s3:GetObject", "s3://reports/k"})
	cmd.SetOut(&out)
	if err := cmd.ExecuteContext(t.Context()); err != nil || !strings.Contains(out.String(), `"EvalDecision":"allowed"`) {
		t.Errorf("json: %v\n%s", err, out.String())
	}
}
