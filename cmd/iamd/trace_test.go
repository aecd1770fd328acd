package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/iamd-dev/iamd/internal/awstest"
)

// alice assumes a role, and with it may list users and not make any.
func TestTrace(t *testing.T) {
	const account = "111122223333"
	s := awstest.Start(t, account)
	admin := s.IAM(s.Config(s.Root(account)))
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(admin.CreateUser(t.Context(), &iam.CreateUserInput{UserName: aws.String("alice")}))
	must(admin.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("reader"), AssumeRolePolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/alice"},"Action":"sts:AssumeRole"}}`)}))
	must(admin.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: aws.String("reader"), PolicyName: aws.String("p"), PolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iam:ListUsers","Resource":"*"}}`)}))
	key, err := admin.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: aws.String("alice")})
	must(key, err)
	alice := aws.Credentials{AccessKeyID: *key.AccessKey.AccessKeyId, SecretAccessKey: *key.AccessKey.SecretAccessKey}
	assumed, err := s.STS(s.Config(alice)).AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::111122223333:role/reader"), RoleSessionName: aws.String("at-work")})
	must(assumed, err)
	reader := s.IAM(s.Config(aws.Credentials{AccessKeyID: *assumed.Credentials.AccessKeyId, SecretAccessKey: *assumed.Credentials.SecretAccessKey, SessionToken: *assumed.Credentials.SessionToken}))
	must(reader.ListUsers(t.Context(), &iam.ListUsersInput{}))
	if _, err := reader.CreateUser(t.Context(), &iam.CreateUserInput{UserName: aws.String("bob")}); err == nil {
		t.Fatal("the role made a user")
	}

	dir := dataOf(t, s, map[string]aws.Credentials{"default": s.Root(account), "root-" + account: s.Root(account)})
	if err := os.Symlink(filepath.Join(s.Dir, "audit"), filepath.Join(dir, "audit")); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		cmd := newCommand()
		cmd.SetArgs(append([]string{"trace", "--data", dir}, args...))
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		err := cmd.ExecuteContext(t.Context())
		return out.String(), err
	}
	for _, args := range [][]string{nil, {"--session", "at-work"}, {"--session", *assumed.Credentials.AccessKeyId}} {
		out, err := run(args...)
		if err != nil {
			t.Fatal(err)
		}
		at := 0
		for _, want := range []string{
			"✓ sts:AssumeRole", "by arn:aws:iam::111122223333:user/alice",
			"checked sts:AssumeRole on arn:aws:iam::111122223333:role/reader allowed: role trust policy",
			"└ session arn:aws:sts::111122223333:assumed-role/reader/at-work", "├ ✓ iam:ListUsers",
			"└ ✗ iam:CreateUser", "refused: no identity-based policy allows iam:CreateUser", "AccessDenied: User: arn:aws:sts::111122223333:assumed-role/reader/at-work is not",
		} {
			i := strings.Index(out[at:], want)
			if i < 0 {
				t.Fatalf("iamd trace %v has no %q where it should:\n%s", args, want, out)
			}
			at += i
		}
	}
	if out, err := run("--session", "at-work", "--json"); err != nil || !strings.Contains(out, `"event": "iam:CreateUser"`) {
		t.Errorf("%s, %v", out, err)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"of-nobody"}, "there is no record of it"},
		{[]string{"--session", "of-nobody"}, "there is no record of it"},
		{[]string{"a", "b"}, "one request id"},
		{[]string{"a", "--session", "b"}, "one request id"},
	} {
		if _, err := run(test.args...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("iamd trace %v: %v, want %q", test.args, err, test.want)
		}
	}
}
