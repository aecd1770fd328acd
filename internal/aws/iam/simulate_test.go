package iam_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/iamd-dev/iamd/internal/awstest"
)

// What the simulator says is what then happens: for random policies of every kind
// (of a user and a role, their boundaries, of a bucket, of a role to be assumed), each
// call gets the decision that was simulated for it, and a refusal that tells its reason
// tells the simulated one.
func TestSimulationAgreesWithTheCall(t *testing.T) {
	const account, rounds = "111122223333", 60
	ctx := context.Background()
	s := awstest.Start(t, account)
	root := s.Config(s.Root(account))
	admin, buckets := s.IAM(root), s.S3(root)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := buckets.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("box")})
	must(err)
	_, err = buckets.DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{Bucket: aws.String("box")})
	must(err)
	for _, key := range []string{"red/k", "blue/k"} {
		_, err := buckets.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("box"), Key: &key, Body: strings.NewReader("x")})
		must(err)
	}
	_, err = admin.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("bob"), Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("red")}}})
	must(err)
	key, err := admin.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: aws.String("bob")})
	must(err)
	bob := s.Config(aws.Credentials{AccessKeyID: *key.AccessKey.AccessKeyId, SecretAccessKey: *key.AccessKey.SecretAccessKey})
	const trustBob = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/bob"},"Action":"sts:AssumeRole"}}`
	for _, role := range []string{"worker", "target"} {
		_, err = admin.CreateRole(ctx, &iam.CreateRoleInput{RoleName: &role, AssumeRolePolicyDocument: aws.String(trustBob), Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("blue")}}})
		must(err)
	}
	session, err := s.STS(bob).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::111122223333:role/worker"), RoleSessionName: aws.String("session")})
	must(err)
	worker := s.Config(aws.Credentials{AccessKeyID: *session.Credentials.AccessKeyId, SecretAccessKey: *session.Credentials.SecretAccessKey, SessionToken: *session.Credentials.SessionToken})
	var boundaries []string
	for i, document := range []string{
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*","sts:*"],"Resource":"*"}]}`,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"s3:Put*","Resource":"*"}]}`,
	} {
		p, err := admin.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: aws.String(fmt.Sprint("boundary", i)), PolicyDocument: &document})
		must(err)
		boundaries = append(boundaries, *p.Policy.Arn)
	}

	callers := []struct {
		arn    string
		config aws.Config
	}{{"arn:aws:iam::111122223333:user/bob", bob}, {"arn:aws:iam::111122223333:role/worker", worker}}
	calls := []struct {
		action, resource, prefix string
		do                       func(aws.Config) error
	}{
		{"s3:GetObject", "arn:aws:s3:::box/red/k", "", func(c aws.Config) error {
			_, err := s.S3(c).GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("box"), Key: aws.String("red/k")})
			return err
		}},
		{"s3:GetObject", "arn:aws:s3:::box/blue/k", "", func(c aws.Config) error {
			_, err := s.S3(c).GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("box"), Key: aws.String("blue/k")})
			return err
		}},
		{"s3:PutObject", "arn:aws:s3:::box/red/k", "", func(c aws.Config) error {
			_, err := s.S3(c).PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("box"), Key: aws.String("red/k"), Body: strings.NewReader("x")})
			return err
		}},
		{"s3:ListBucket", "arn:aws:s3:::box", "red/", func(c aws.Config) error {
			_, err := s.S3(c).ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String("box"), Prefix: aws.String("red/")})
			return err
		}},
		{"iam:GetUser", "arn:aws:iam::111122223333:user/bob", "", func(c aws.Config) error {
			_, err := s.IAM(c).GetUser(ctx, &iam.GetUserInput{UserName: aws.String("bob")})
			return err
		}},
		{"iam:ListUsers", "*", "", func(c aws.Config) error {
			_, err := s.IAM(c).ListUsers(ctx, &iam.ListUsersInput{})
			return err
		}},
		{"sts:AssumeRole", "arn:aws:iam::111122223333:role/target", "", func(c aws.Config) error {
			_, err := s.STS(c).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::111122223333:role/target"), RoleSessionName: aws.String("session")})
			return err
		}},
	}

	r := rand.New(rand.NewPCG(3, 5))
	seen := map[string]int{}
	for round := range rounds {
		identity := [2]string{}
		for i := range callers {
			identity[i] = randomPolicy(r, nil)
		}
		_, err := admin.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String("bob"), PolicyName: aws.String("p"), PolicyDocument: &identity[0]})
		must(err)
		_, err = admin.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String("worker"), PolicyName: aws.String("p"), PolicyDocument: &identity[1]})
		must(err)
		if i := r.IntN(5); i < len(boundaries) {
			_, err = admin.PutUserPermissionsBoundary(ctx, &iam.PutUserPermissionsBoundaryInput{UserName: aws.String("bob"), PermissionsBoundary: &boundaries[i]})
			must(err)
			_, err = admin.PutRolePermissionsBoundary(ctx, &iam.PutRolePermissionsBoundaryInput{RoleName: aws.String("worker"), PermissionsBoundary: &boundaries[i]})
			must(err)
		} else {
			for _, err := range []error{
				second(admin.DeleteUserPermissionsBoundary(ctx, &iam.DeleteUserPermissionsBoundaryInput{UserName: aws.String("bob")})),
				second(admin.DeleteRolePermissionsBoundary(ctx, &iam.DeleteRolePermissionsBoundaryInput{RoleName: aws.String("worker")})),
			} {
				if err != nil && !strings.Contains(err.Error(), "NoSuchEntity") {
					t.Fatal(err)
				}
			}
		}
		trust := randomTrust(r)
		_, err = admin.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: aws.String("target"), PolicyDocument: &trust})
		must(err)
		bucket := ""
		if r.IntN(2) == 0 {
			bucket = randomPolicy(r, principals)
			_, err = buckets.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: aws.String("box"), Policy: &bucket})
		} else {
			_, err = buckets.DeleteBucketPolicy(ctx, &s3.DeleteBucketPolicyInput{Bucket: aws.String("box")})
		}
		must(err)

		for i, caller := range callers {
			for _, call := range calls {
				in := &iam.SimulatePrincipalPolicyInput{
					PolicySourceArn: &caller.arn, ActionNames: []string{call.action}, ResourceArns: []string{call.resource},
					ContextEntries: []types.ContextEntry{
						{ContextKeyName: aws.String("aws:SourceIp"), ContextKeyValues: []string{"127.0.0.1"}, ContextKeyType: "ip"},
						{ContextKeyName: aws.String("aws:SecureTransport"), ContextKeyValues: []string{"false"}, ContextKeyType: "boolean"},
					},
				}
				if call.prefix != "" {
					in.ContextEntries = append(in.ContextEntries, types.ContextEntry{ContextKeyName: aws.String("s3:prefix"), ContextKeyValues: []string{call.prefix}, ContextKeyType: "string"})
				}
				if strings.HasPrefix(call.action, "s3:") && bucket != "" {
					in.ResourcePolicy = &bucket
				}
				out, err := admin.SimulatePrincipalPolicy(ctx, in)
				must(err)
				want := string(out.EvaluationResults[0].EvalDecision)
				got := decisionOf(call.do(caller.config))
				seen[want]++
				if got != want && !(got == "refused" && want != "allowed") {
					t.Errorf("round %d: %s %s on %s: the call is %s, the simulation %s\nidentity %s\nbucket %s\ntrust %s\n",
						round, caller.arn, call.action, call.resource, got, want, identity[i], bucket, trust)
				}
			}
		}
	}
	for _, decision := range []string{"allowed", "implicitDeny", "explicitDeny"} {
		if seen[decision] < rounds {
			t.Errorf("only %d of the decisions are %s: %v", seen[decision], decision, seen)
		}
	}
}

func second(_ any, err error) error { return err }

// decisionOf is what a call's answer tells of the decision; "refused" without a reason.
func decisionOf(err error) string {
	var e smithy.APIError
	switch {
	case err == nil:
		return "allowed"
	case !errors.As(err, &e) || e.ErrorCode() != "AccessDenied":
		return err.Error()
	case strings.Contains(e.ErrorMessage(), "with an explicit deny"):
		return "explicitDeny"
	case strings.Contains(e.ErrorMessage(), "because no"):
		return "implicitDeny"
	}
	return "refused"
}

var principals = []string{
	`"*"`,
	`{"AWS":"111122223333"}`,
	`{"AWS":"arn:aws:iam::111122223333:user/bob"}`,
	`{"AWS":"arn:aws:iam::111122223333:role/worker"}`,
	`{"AWS":["arn:aws:iam::111122223333:user/bob","arn:aws:iam::111122223333:role/worker"]}`,
}

// randomPolicy is one to four statements, of a bucket where there are principals.
func randomPolicy(r *rand.Rand, principals []string) string {
	targets := [][2]string{
		{`"s3:GetObject"`, `"arn:aws:s3:::box/*"`},
		{`["s3:Get*","s3:Put*"]`, `"arn:aws:s3:::box/red/*"`},
		{`"s3:ListBucket"`, `"arn:aws:s3:::box"`},
		{`"s3:*"`, `["arn:aws:s3:::box","arn:aws:s3:::box/blue/*"]`},
		{`"iam:*"`, `"*"`},
		{`"iam:Get*"`, `"arn:aws:iam::111122223333:user/${aws:username}"`},
		{`"s3:GetObject"`, `"arn:aws:s3:::box/${aws:PrincipalTag/team}/*"`},
		{`"sts:AssumeRole"`, `"arn:aws:iam::111122223333:role/target"`},
		{`"*"`, `"*"`},
	}
	conditions := []string{
		``, ``, ``,
		`,"Condition":{"StringEquals":{"aws:username":"bob"}}`,
		`,"Condition":{"StringNotEquals":{"aws:PrincipalTag/team":"red"}}`,
		`,"Condition":{"IpAddress":{"aws:SourceIp":"127.0.0.0/8"}}`,
		`,"Condition":{"Bool":{"aws:SecureTransport":"true"}}`,
		`,"Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/*"}}`,
		`,"Condition":{"StringLikeIfExists":{"s3:prefix":"red/*"}}`,
	}
	n := len(targets)
	if principals != nil {
		n = 4 // what a bucket's policy may speak of
	}
	var statements []string
	for range 1 + r.IntN(4) {
		effect := "Allow"
		if r.IntN(4) == 0 {
			effect = "Deny"
		}
		target := targets[r.IntN(n)]
		principal := ""
		if principals != nil {
			principal = `"Principal":` + principals[r.IntN(len(principals))] + `,`
		}
		statements = append(statements, fmt.Sprintf(`{"Effect":%q,%s"Action":%s,"Resource":%s%s}`, effect, principal, target[0], target[1], conditions[r.IntN(len(conditions))]))
	}
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

func randomTrust(r *rand.Rand) string {
	var statements []string
	for range 1 + r.IntN(2) {
		effect := "Allow"
		if r.IntN(5) == 0 {
			effect = "Deny"
		}
		condition := ""
		if r.IntN(3) == 0 {
			condition = `,"Condition":{"StringEquals":{"aws:PrincipalTag/team":"blue"}}`
		}
		statements = append(statements, fmt.Sprintf(`{"Effect":%q,"Principal":%s,"Action":"sts:AssumeRole"%s}`, effect, principals[r.IntN(len(principals))], condition))
	}
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

// In a simulation within one account EvalDecisionDetails is there and empty when it is
// about a resource, and is not there when it is about all (EvaluationResult in the IAM
// API Reference).
func TestSimulationDetailsWithinAnAccount(t *testing.T) {
	s := awstest.Start(t, "111122223333")
	client := s.IAM(s.Config(s.Root("111122223333")))
	for _, resources := range [][]string{nil, {"*"}, {"arn:aws:s3:::box/k"}} {
		out, err := client.SimulateCustomPolicy(context.Background(), &iam.SimulateCustomPolicyInput{
			PolicyInputList: []string{`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`},
			ActionNames:     []string{"s3:GetObject"}, ResourceArns: resources,
		})
		if err != nil {
			t.Fatal(err)
		}
		result := out.EvaluationResults[0]
		if got, want := result.EvalDecisionDetails != nil, len(resources) == 1 && resources[0] != "*"; got != want {
			t.Errorf("%v: EvalDecisionDetails is there: %v, want %v", resources, got, want)
		}
		if result.MatchedStatements == nil || result.MissingContextValues == nil || len(result.EvalDecisionDetails) != 0 {
			b, _ := json.Marshal(result)
			t.Errorf("%v: %s", resources, b)
		}
	}
}

// What if a policy were not attached? Identifiers that are of none are no mistake.
func TestSimulationWithoutPolicies(t *testing.T) {
	const account = "111122223333"
	ctx := context.Background()
	s := awstest.Start(t, account)
	c := s.IAM(s.Config(s.Root(account)))
	allow := func(action string) *string {
		return aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"` + action + `","Resource":"*"}}`)
	}
	for _, err := range []error{
		second(c.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("bob")})),
		second(c.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: aws.String("reader"), PolicyDocument: allow("s3:GetObject")})),
		second(c.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: aws.String("bound"), PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","NotAction":"s3:PutObject","Resource":"*"}}`)})),
		second(c.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: aws.String("staff")})),
		second(c.PutGroupPolicy(ctx, &iam.PutGroupPolicyInput{GroupName: aws.String("staff"), PolicyName: aws.String("list"), PolicyDocument: allow("s3:ListBucket")})),
		second(c.AddUserToGroup(ctx, &iam.AddUserToGroupInput{GroupName: aws.String("staff"), UserName: aws.String("bob")})),
		second(c.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String("bob"), PolicyName: aws.String("put"), PolicyDocument: allow("s3:PutObject")})),
		second(c.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: aws.String("bob"), PolicyArn: aws.String("arn:aws:iam::111122223333:policy/reader")})),
		second(c.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: aws.String("bob"), PolicyArn: aws.String("arn:aws:iam::aws:policy/IAMReadOnlyAccess")})),
		second(c.PutUserPermissionsBoundary(ctx, &iam.PutUserPermissionsBoundaryInput{UserName: aws.String("bob"), PermissionsBoundary: aws.String("arn:aws:iam::111122223333:policy/bound")})),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	kind := func(k types.PolicyIdentifierPolicyType) types.PolicyIdentifier {
		return &types.PolicyIdentifierMemberPolicyType{Value: k}
	}
	managed := func(a string) types.PolicyIdentifier { return &types.PolicyIdentifierMemberPolicyArn{Value: a} }
	inline := func(of types.AttachmentType, owner, name string) types.PolicyIdentifier {
		return &types.PolicyIdentifierMemberInlinePolicyIdentifier{Value: types.InlinePolicyIdentifierType{AttachmentType: of, AttachmentName: &owner, PolicyName: &name}}
	}
	actions := []string{"s3:GetObject", "s3:ListBucket", "s3:PutObject", "iam:GetUser"}
	for _, test := range []struct {
		without []types.PolicyIdentifier
		want    string // the actions that are allowed, or the error
	}{
		{nil, "s3:GetObject s3:ListBucket iam:GetUser"},
		{[]types.PolicyIdentifier{kind("inline")}, "s3:GetObject iam:GetUser"},
		{[]types.PolicyIdentifier{kind("aws-managed")}, "s3:GetObject s3:ListBucket"},
		{[]types.PolicyIdentifier{kind("user-managed")}, "s3:ListBucket iam:GetUser"},
		{[]types.PolicyIdentifier{kind("permission-boundary")}, "s3:GetObject s3:ListBucket s3:PutObject iam:GetUser"},
		{[]types.PolicyIdentifier{kind("scp"), kind("rcp")}, "s3:GetObject s3:ListBucket iam:GetUser"},
		{[]types.PolicyIdentifier{kind("user-managed"), kind("inline"), kind("aws-managed")}, ""},
		{[]types.PolicyIdentifier{managed("arn:aws:iam::111122223333:policy/r*")}, "s3:ListBucket iam:GetUser"},
		{[]types.PolicyIdentifier{managed("arn:aws:iam::aws:policy/IAMReadOnly??????")}, "s3:GetObject s3:ListBucket"},
		{[]types.PolicyIdentifier{managed("arn:aws:iam::444455556666:policy/reader")}, "s3:GetObject s3:ListBucket iam:GetUser"},
		{[]types.PolicyIdentifier{inline("group", "st*f", "list")}, "s3:GetObject iam:GetUser"},
		{[]types.PolicyIdentifier{inline("user", "*", "list"), inline("group", "staff", "li*")}, "s3:GetObject s3:ListBucket iam:GetUser"},
		{[]types.PolicyIdentifier{managed("arn:aws:iam::*:policy/reader")}, "InvalidInput"},
		{[]types.PolicyIdentifier{managed("arn:aws:iam::111122223333:policy/*a*")}, "InvalidInput"},
		{[]types.PolicyIdentifier{managed("arn:aws:iam::111122223333:user/bob")}, "InvalidInput"},
		{[]types.PolicyIdentifier{managed("reader")}, "InvalidInput"},
		{[]types.PolicyIdentifier{inline("group", "*t*", "list")}, "InvalidInput"},
		{[]types.PolicyIdentifier{kind("all")}, "ValidationError"},
		{[]types.PolicyIdentifier{inline("team", "staff", "list")}, "ValidationError"},
	} {
		out, err := c.SimulatePrincipalPolicy(ctx, &iam.SimulatePrincipalPolicyInput{
			PolicySourceArn: aws.String("arn:aws:iam::111122223333:user/bob"), ActionNames: actions, PolicyExclusionList: test.without})
		var got []string
		var e smithy.APIError
		if errors.As(err, &e) {
			got = []string{e.ErrorCode()}
		} else if err != nil {
			t.Fatal(err)
		} else {
			for _, r := range out.EvaluationResults {
				if r.EvalDecision == types.PolicyEvaluationDecisionTypeAllowed {
					got = append(got, *r.EvalActionName)
				}
			}
		}
		if got := strings.Join(got, " "); got != test.want {
			t.Errorf("without %s: %s, want %s", named(test.without), got, test.want)
		}
	}
}

// A page ends before it costs too much, and one action that does is refused.
func TestLargeSimulation(t *testing.T) {
	s := awstest.Start(t, "111122223333")
	c := s.IAM(s.Config(s.Root("111122223333")))
	in := &iam.SimulateCustomPolicyInput{PolicyInputList: []string{`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`}}
	for i := range 1000 {
		in.ResourceArns = append(in.ResourceArns, fmt.Sprint("arn:aws:s3:::b/", i))
	}
	for i := range 35 {
		in.ActionNames = append(in.ActionNames, fmt.Sprint("s3:Action", i))
	}
	seen := 0
	for pages := iam.NewSimulateCustomPolicyPaginator(c, in); pages.HasMorePages(); {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n := len(page.EvaluationResults); n == 0 || n > 30 {
			t.Fatalf("a page has %d results", n)
		}
		seen += len(page.EvaluationResults)
	}
	if seen != 35 {
		t.Errorf("%d results, want 35", seen)
	}

	refused := func(what string) {
		t.Helper()
		_, err := c.SimulateCustomPolicy(t.Context(), in)
		var e smithy.APIError
		if !errors.As(err, &e) || e.ErrorCode() != "InvalidInput" {
			t.Errorf("%s: %v", what, err)
		}
	}
	statement := `{"Effect":"Allow","Action":"*","Resource":"*"}`
	in.PolicyInputList = []string{`{"Version":"2012-10-17","Statement":[` + strings.Repeat(statement+",", 2500) + statement + `]}`}
	refused("2,501 statements on 1,000 resources")
	in.PolicyInputList = []string{`{"Version":"2012-10-17","Statement":` + statement + `}`}
	in.ResourceArns = append(in.ResourceArns, "arn:aws:s3:::b/1000")
	refused("1,001 resources")
}

func named(list []types.PolicyIdentifier) string {
	b, _ := json.Marshal(list)
	return string(b)
}
