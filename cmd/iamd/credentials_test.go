package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/iamd-dev/iamd/internal/awstest"
)

func TestCredentials(t *testing.T) {
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
	must(admin.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("reader"), AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/alice"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"xyz"}}},
		{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/alice"},"Action":"sts:SetSourceIdentity"}]}`)}))
	key, err := admin.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: aws.String("alice")})
	must(key, err)
	alice := aws.Credentials{AccessKeyID: *key.AccessKey.AccessKeyId, SecretAccessKey: *key.AccessKey.SecretAccessKey}
	session, err := s.STS(s.Config(alice)).GetSessionToken(t.Context(), &sts.GetSessionTokenInput{})
	must(session, err)
	// Root keys that the operator chose say nothing about the account by themselves.
	chosen := aws.Credentials{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
	dir := dataOf(t, s, map[string]aws.Credentials{
		"default": s.Root(first), "root-" + first: s.Root(first), "root-" + second: chosen,
		"alice":   alice,
		"session": {AccessKeyID: *session.Credentials.AccessKeyId, SecretAccessKey: *session.Credentials.SecretAccessKey, SessionToken: *session.Credentials.SessionToken},
	})
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		cmd := newCommand()
		cmd.SetArgs(append([]string{"credentials", "--data", dir}, args...))
		cmd.SetOut(&out)
		err := cmd.ExecuteContext(t.Context())
		return out.String(), err
	}

	type form struct {
		Version                                    int
		AccessKeyId, SecretAccessKey, SessionToken string
		Expiration                                 time.Time
		AccountId                                  string
	}
	const role = "arn:aws:iam::111122223333:role/reader"
	for _, test := range []struct {
		args    string
		id      string // "" for a new one
		account string
		who     string
	}{
		{"", s.Root(first).AccessKeyID, first, "arn:aws:iam::111122223333:root"},
		{"--profile alice", alice.AccessKeyID, first, "arn:aws:iam::111122223333:user/alice"},
		{"--profile session", *session.Credentials.AccessKeyId, first, "arn:aws:iam::111122223333:user/alice"},
		{"--profile root-" + second, chosen.AccessKeyID, second, ""},
		{"--profile alice --external-id xyz --role-session-name try --duration 15m --role-arn " + role, "", first, "arn:aws:sts::111122223333:assumed-role/reader/try"},
		{"--profile alice --external-id xyz --role-session-name try --source-identity alice --role-arn " + role, "", first, "arn:aws:sts::111122223333:assumed-role/reader/try"},
	} {
		out, err := run(strings.Fields(test.args)...)
		if err != nil {
			t.Errorf("iamd credentials %s: %v", test.args, err)
			continue
		}
		var got form
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatalf("%v of %s", err, out)
		}
		if got.Version != 1 || got.AccountId != test.account || test.id != "" && got.AccessKeyId != test.id {
			t.Errorf("iamd credentials %s prints\n%s", test.args, out)
		}
		if test.id == "" {
			if left := time.Until(got.Expiration); strings.Contains(test.args, "15m") && left > 15*time.Minute || left < 14*time.Minute {
				t.Errorf("iamd credentials %s lasts %v", test.args, left)
			}
		} else if strings.Contains(out, "Expiration") || strings.Contains(out, "SessionToken") != (got.SessionToken != "") {
			t.Errorf("iamd credentials %s prints\n%s", test.args, out)
		}
		if test.who == "" {
			continue
		}
		who, err := s.STS(s.Config(aws.Credentials{AccessKeyID: got.AccessKeyId, SecretAccessKey: got.SecretAccessKey, SessionToken: got.SessionToken})).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
		if err != nil || *who.Arn != test.who {
			t.Errorf("iamd credentials %s are of %v, %v, want %s", test.args, who, err, test.who)
		}
	}

	for _, test := range []struct{ args, want string }{
		{"--profile none", `has no profile "none"`},
		{"--credentials " + dir + "/none", "there is no " + dir + "/none"},
		{"--profile alice --role-arn reader", `--role-arn "reader" is not an ARN`},
		{"--profile alice --external-id x", "--external-id is for a session of a role"},
		{"--profile alice --token-code 123456 --role-arn " + role, "MFA needs both"},
		{"--profile alice --role-arn " + role, "AccessDenied: User: arn:aws:iam::111122223333:user/alice is not authorized to perform: sts:AssumeRole"},
		{"--external-id xyz --role-arn " + role, "AccessDenied: Roles may not be assumed by root accounts."},
		{"--profile alice --external-id xyz --duration 12h --role-arn " + role, "exceeds the MaxSessionDuration"},
		{"--profile alice --external-id xyz --endpoint http://127.0.0.1:1 --role-arn " + role, "connection refused"},
		{"now", "takes no arguments"},
	} {
		if out, err := run(strings.Fields(test.args)...); err == nil || !strings.Contains(err.Error(), test.want) || out != "" {
			t.Errorf("iamd credentials %s: %v, want %q\n%s", test.args, err, test.want, out)
		}
	}
}
