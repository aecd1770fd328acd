package servicerole_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/iamd-dev/iamd/arn"
	iamapi "github.com/iamd-dev/iamd/internal/aws/iam/api"
	s3api "github.com/iamd-dev/iamd/internal/aws/s3/api"
	stsapi "github.com/iamd-dev/iamd/internal/aws/sts/api"
	"github.com/iamd-dev/iamd/internal/awstest"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/servicerole"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
)

const (
	account  = awstest.DefaultAccount
	roleARN  = arn.ARN("arn:aws:iam::" + account + ":role/app-role")
	function = arn.ARN("arn:aws:lambda:us-east-1:" + account + ":function:f")
)

// site is a server with a role and how services use it.
func site(t *testing.T, trust string) (*awstest.Server, *iam.Client) {
	t.Helper()
	s := awstest.Start(t)
	client := s.IAM(s.Config(s.Root(account)))
	if _, err := client.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("app-role"), AssumeRolePolicyDocument: &trust}); err != nil {
		t.Fatal(err)
	}
	return s, client
}

func trusting(service, condition string) string {
	if condition != "" {
		condition = `, "Condition": ` + condition
	}
	return `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"Service": "` + service + `"}, "Action": "sts:AssumeRole"` + condition + `}}`
}

func use() servicerole.Use {
	return servicerole.Use{Role: roleARN, Service: "lambda.amazonaws.com", Session: "f", For: function, Region: "us-east-1", Parent: "11111111-2222-3333-4444-555555555555"}
}

func code(err error) string {
	var e *wire.Error
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// The role's trust policy alone decides which service assumes it, and for what.
func TestAssume(t *testing.T) {
	for _, test := range []struct{ name, trust, want string }{
		{"it trusts the service", trusting("lambda.amazonaws.com", ""), ""},
		{"it trusts another", trusting("ec2.amazonaws.com", ""), "AccessDenied"},
		{"it trusts the service for this function", trusting("lambda.amazonaws.com", `{"ArnEquals": {"aws:SourceArn": "`+string(function)+`"}}`), ""},
		{"it trusts the service for another function", trusting("lambda.amazonaws.com", `{"ArnEquals": {"aws:SourceArn": "`+string(function)+`2"}}`), "AccessDenied"},
		{"it trusts the service for this account", trusting("lambda.amazonaws.com", `{"StringEquals": {"aws:SourceAccount": "`+account+`"}}`), ""},
		{"it trusts the service for another account", trusting("lambda.amazonaws.com", `{"StringEquals": {"aws:SourceAccount": "999999999999"}}`), "AccessDenied"},
		{"it trusts the account, which is no service", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"AWS": "` + account + `"}, "Action": "sts:AssumeRole"}}`, "AccessDenied"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, _ := site(t, test.trust)
			session, err := s.Roles.Assume(t.Context(), use())
			if code(err) != test.want {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			if err != nil {
				if want := "User: lambda.amazonaws.com is not authorized to perform: sts:AssumeRole on resource: " + string(roleARN); !strings.Contains(err.Error(), want) {
					t.Errorf("it says %q", err)
				}
				return
			}
			if got, want := session.Caller.ARN, arn.ARN("arn:aws:sts::"+account+":assumed-role/app-role/f_"); got != want {
				t.Errorf("the session is %s, not %s", got, want)
			}
			if c := identity.Claimed(session.Caller.Claims(), "lambda:SourceFunctionArn"); c == nil || c.Value[0] != string(function) {
				t.Errorf("its credentials say that they are of %v", c)
			}
		})
	}
}

// What the service does in the session, the role does: what its policies allow and no more,
// and nothing at all once it is gone.
func TestCall(t *testing.T) {
	s, client := site(t, trusting("lambda.amazonaws.com", ""))
	if _, err := client.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: aws.String("app-role"), PolicyName: aws.String("p"),
		PolicyDocument: aws.String(`{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:CreateBucket", "Resource": "*",
			"Condition": {"ArnEquals": {"lambda:SourceFunctionArn": "` + string(function) + `"}}}]}`)}); err != nil {
		t.Fatal(err)
	}
	session, err := s.Roles.Assume(t.Context(), use())
	if err != nil {
		t.Fatal(err)
	}
	call := func(in any) error {
		_, err := s.Roles.Invoker.Invoke(t.Context(), s.Roles.Call(session, "us-east-1", "x"), "s3", map[bool]string{true: "CreateBucket", false: "ListBuckets"}[isCreate(in)], in)
		return err
	}
	if err := call(&s3api.CreateBucketInput{Bucket: "bucket-of-the-role"}); err != nil {
		t.Error(err)
	}
	if err := call(&s3api.ListBucketsInput{}); code(err) != "AccessDenied" {
		t.Errorf("what the role may not do: %v", err)
	}
	if err := call(&s3api.CreateBucketInput{}); err == nil {
		t.Error("an input that lacks what is needed was taken")
	}
	if _, err := client.DeleteRolePolicy(t.Context(), &iam.DeleteRolePolicyInput{RoleName: aws.String("app-role"), PolicyName: aws.String("p")}); err != nil {
		t.Fatal(err)
	}
	if err := call(&s3api.CreateBucketInput{Bucket: "bucket-two-of-the-role"}); code(err) != "AccessDenied" {
		t.Errorf("after its policy went: %v", err)
	}
	if _, err := client.DeleteRole(t.Context(), &iam.DeleteRoleInput{RoleName: aws.String("app-role")}); err != nil {
		t.Fatal(err)
	}
	if err := call(&s3api.CreateBucketInput{Bucket: "bucket-two-of-the-role"}); code(err) != "InvalidClientTokenId" {
		t.Errorf("after the role went: %v", err)
	}
}

func isCreate(in any) bool { _, ok := in.(*s3api.CreateBucketInput); return ok }

// Nobody acts for an account that is closed: not in a session that began before.
func TestClosedAccount(t *testing.T) {
	s, _ := site(t, trusting("lambda.amazonaws.com", ""))
	session, err := s.Roles.Assume(t.Context(), use())
	if err != nil {
		t.Fatal(err)
	}
	whoami := func() error {
		_, err := s.Roles.Invoker.Invoke(t.Context(), s.Roles.Call(session, "us-east-1", ""), "sts", "GetCallerIdentity", &stsapi.GetCallerIdentityInput{})
		return err
	}
	if err := whoami(); err != nil {
		t.Fatal(err)
	}
	if err := s.DB.Update(t.Context(), func(tx *store.Tx) error {
		a := identity.Accounts.Get(tx, account)
		a.Closed = time.Now()
		identity.Accounts.Put(tx, account, a)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := whoami(); code(err) != "InvalidClientTokenId" {
		t.Errorf("a call of a closed account: %v", err)
	}
	if _, err := s.Roles.Assume(t.Context(), use()); err == nil {
		t.Error("a role of a closed account was assumed")
	}
}

// Credentials are renewed before they end, and not where the role trusts the service no more.
func TestProvider(t *testing.T) {
	s, client := site(t, trusting("lambda.amazonaws.com", ""))
	p := s.Roles.Provider(use())
	get := func() *servicerole.Credentials {
		t.Helper()
		c, err := p.Credentials(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := get()
	if again := get(); again.AccessKeyID != first.AccessKeyID {
		t.Error("they were renewed at once")
	}
	s.Advance(46 * time.Minute)
	second := get()
	if second.AccessKeyID == first.AccessKeyID {
		t.Errorf("%v before their end they are not renewed", second.Expires.Sub(s.Now()))
	}
	if _, err := client.UpdateAssumeRolePolicy(t.Context(), &iam.UpdateAssumeRolePolicyInput{RoleName: aws.String("app-role"), PolicyDocument: aws.String(trusting("ec2.amazonaws.com", ""))}); err != nil {
		t.Fatal(err)
	}
	s.Advance(46 * time.Minute)
	if _, err := p.Credentials(t.Context()); code(err) != "AccessDenied" {
		t.Errorf("the role trusts another service now: %v", err)
	}
}

// A service that forwards its caller's access has the caller's permissions, under the
// conditions on aws:CalledVia.
func TestForward(t *testing.T) {
	for _, test := range []struct{ name, condition, want string }{
		{"allowed", `{"Bool": {"aws:ViaAWSService": "true"}}`, ""},
		{"only directly", `{"Bool": {"aws:ViaAWSService": "false"}}`, "AccessDenied"},
		{"via this service", `{"ForAnyValue:StringEquals": {"aws:CalledVia": ["cloudformation.amazonaws.com"]}}`, ""},
		{"via another", `{"ForAnyValue:StringEquals": {"aws:CalledVia": ["athena.amazonaws.com"]}}`, "AccessDenied"},
		{"first and last", `{"StringEquals": {"aws:CalledViaFirst": "cloudformation.amazonaws.com", "aws:CalledViaLast": "dynamodb.amazonaws.com"}}`, ""},
		{"the other way round", `{"StringEquals": {"aws:CalledViaFirst": "dynamodb.amazonaws.com"}}`, "AccessDenied"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := awstest.Start(t)
			client := s.IAM(s.Config(s.Root(account)))
			if _, err := client.CreateUser(t.Context(), &iam.CreateUserInput{UserName: aws.String("ann")}); err != nil {
				t.Fatal(err)
			}
			if _, err := client.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: aws.String("ann"), PolicyName: aws.String("p"),
				PolicyDocument: aws.String(`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iam:ListUsers", "Resource": "*", "Condition": ` + test.condition + `}}`)}); err != nil {
				t.Fatal(err)
			}
			var ann *identity.User
			for _, u := range identity.Users.All(s.DB.View(), "") {
				if u.UserName == "ann" {
					ann = u
				}
			}
			call := &service.Call{Account: account, Caller: identity.UserCaller(ann, "AKIAEXAMPLE"), Region: "us-east-1", RequestID: "the-request"}
			call = call.Forward("cloudformation.amazonaws.com").Forward("dynamodb.amazonaws.com")
			out, err := service.Invoke[iamapi.ListUsersOutput](t.Context(), s.Roles.Invoker, call, "iam", &iamapi.ListUsersInput{})
			if code(err) != test.want {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			if err == nil && len(out.Users) != 1 {
				t.Errorf("it lists %v", out.Users)
			}
			record := lastRecord(t, s)
			identity, _ := record["userIdentity"].(map[string]any)
			if record["sourceIPAddress"] != "dynamodb.amazonaws.com" || identity["invokedBy"] != "dynamodb.amazonaws.com" || identity["userName"] != "ann" {
				t.Errorf("the record says %v", record)
			}
		})
	}
}

// The record of AssumeRole says which service, for which call.
func TestRecord(t *testing.T) {
	s, _ := site(t, trusting("lambda.amazonaws.com", ""))
	if _, err := s.Roles.Assume(t.Context(), use()); err != nil {
		t.Fatal(err)
	}
	record := lastRecord(t, s)
	identity, _ := record["userIdentity"].(map[string]any)
	more, _ := record["additionalEventData"].(map[string]any)
	if identity["type"] != "AWSService" || identity["invokedBy"] != "lambda.amazonaws.com" || record["recipientAccountId"] != account || more["parentRequestID"] != use().Parent {
		t.Errorf("the record says %v", record)
	}
}

func lastRecord(t *testing.T, s *awstest.Server) map[string]any {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.Dir, "audit", "*"))
	if err != nil || len(files) == 0 {
		t.Fatal("there is no record", err)
	}
	text, err := os.ReadFile(files[len(files)-1])
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	var record map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &record); err != nil {
		t.Fatal(err)
	}
	return record
}
