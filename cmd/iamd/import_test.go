package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/google/go-cmp/cmp"

	"github.com/iamd-dev/iamd/internal/awstest"
	"github.com/iamd-dev/iamd/internal/identity"
)

const importedAccount = "111122223333"

// housed is a server with an account, and what runs iamd's commands on it.
func housed(t *testing.T, accounts ...string) (*awstest.Server, func(stdin string, args ...string) (out, errs string, err error)) {
	t.Helper()
	s := awstest.Start(t, accounts...)
	profiles := map[string]aws.Credentials{"default": s.Root(accounts[0])}
	for _, a := range accounts {
		profiles["root-"+a] = s.Root(a)
	}
	dir := dataOf(t, s, profiles)
	return s, func(stdin string, args ...string) (string, string, error) {
		var out, errs bytes.Buffer
		cmd := newCommand()
		cmd.SetArgs(append([]string{args[0], "--data", dir}, args[1:]...))
		cmd.SetIn(strings.NewReader(stdin))
		cmd.SetOut(&out)
		cmd.SetErr(&errs)
		err := cmd.ExecuteContext(t.Context())
		return out.String(), errs.String(), err
	}
}

// What was exported and imported is exported again as it was: everything that
// get-account-authorization-details tells, unique ids and dates included.
func TestImportIsTheInverseOfExport(t *testing.T) {
	t.Parallel()
	s, from := housed(t, importedAccount)
	c := s.IAM(s.Config(s.Root(importedAccount)))
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	const may = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/<&>${aws:username}/*"}}`
	trusts := func(principal string) *string {
		return aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":"sts:AssumeRole"}}`)
	}
	tags := []types.Tag{{Key: aws.String("team"), Value: aws.String("blue")}}
	policy, err := c.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: aws.String("reads"), Path: aws.String("/ops/"), Description: aws.String("it reads"), PolicyDocument: aws.String(may)})
	must(policy, err)
	for range 3 {
		must(c.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{PolicyArn: policy.Policy.Arn, PolicyDocument: aws.String(may)}))
	}
	must(c.SetDefaultPolicyVersion(ctx, &iam.SetDefaultPolicyVersionInput{PolicyArn: policy.Policy.Arn, VersionId: aws.String("v3")}))
	must(c.DeletePolicyVersion(ctx, &iam.DeletePolicyVersionInput{PolicyArn: policy.Policy.Arn, VersionId: aws.String("v2")}))
	must(c.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: aws.String("Staff"), Path: aws.String("/x/")}))
	must(c.AttachGroupPolicy(ctx, &iam.AttachGroupPolicyInput{GroupName: aws.String("Staff"), PolicyArn: aws.String("arn:aws:iam::aws:policy/ReadOnlyAccess")}))
	must(c.PutGroupPolicy(ctx, &iam.PutGroupPolicyInput{GroupName: aws.String("Staff"), PolicyName: aws.String("p"), PolicyDocument: aws.String(may)}))
	must(c.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("Alice"), Path: aws.String("/eng/"), PermissionsBoundary: policy.Policy.Arn, Tags: tags}))
	must(c.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("gone")}))
	must(c.AddUserToGroup(ctx, &iam.AddUserToGroupInput{UserName: aws.String("Alice"), GroupName: aws.String("Staff")}))
	must(c.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String("Alice"), PolicyName: aws.String("q"), PolicyDocument: aws.String(may)}))
	must(c.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: aws.String("Alice"), PolicyArn: policy.Policy.Arn}))
	for name, principal := range map[string]string{"byuser": "arn:aws:iam::111122223333:user/eng/Alice", "bygone": "arn:aws:iam::111122223333:user/gone",
		"byrole": "arn:aws:iam::111122223333:role/byuser", "bysession": "arn:aws:sts::111122223333:assumed-role/byuser/night", "byaccount": "444455556666"} {
		if name == "byrole" || name == "bysession" {
			continue
		}
		must(c.CreateRole(ctx, &iam.CreateRoleInput{RoleName: &name, Path: aws.String("/r/"), AssumeRolePolicyDocument: trusts(principal), Tags: tags}))
	}
	must(c.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("a-byrole"), AssumeRolePolicyDocument: trusts("arn:aws:iam::111122223333:role/r/byuser"), PermissionsBoundary: policy.Policy.Arn}))
	must(c.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("bysession"), AssumeRolePolicyDocument: trusts("arn:aws:sts::111122223333:assumed-role/byuser/night")}))
	must(c.CreateServiceLinkedRole(ctx, &iam.CreateServiceLinkedRoleInput{AWSServiceName: aws.String("autoscaling.amazonaws.com")}))
	must(c.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String("machines"), Path: aws.String("/m/")}))
	must(c.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: aws.String("machines"), RoleName: aws.String("byuser")}))
	must(c.DeleteUser(ctx, &iam.DeleteUserInput{UserName: aws.String("gone")}))

	exported, _, err := from("", "export")
	must(nil, err)
	if !strings.Contains(exported, `"AWS": "AIDA`) || !strings.Contains(exported, `:assumed-role/byuser/night"`) || !strings.Contains(exported, "<&>${aws:username}") {
		t.Errorf("the export lacks something:\n%s", exported)
	}

	_, into := housed(t, "444455556666", importedAccount)
	if out, errs, err := into(exported, "import", "--dry-run", "-"); err != nil || out != "would import 1 user, 1 group, 6 roles, 1 managed policy, 1 instance profile\n" || errs != "" {
		t.Fatalf("dry run: %v\n%s%s", err, out, errs)
	}
	if again, _, err := into("", "export", "--profile", "root-"+importedAccount); err != nil || strings.Contains(again, "Alice") {
		t.Errorf("a dry run has imported: %v\n%s", err, again)
	}
	if out, errs, err := into(exported, "import", "-"); err != nil || out != "imported 1 user, 1 group, 6 roles, 1 managed policy, 1 instance profile\n" {
		t.Fatalf("import: %v\n%s%s", err, out, errs)
	}
	again, _, err := into("", "export", "--profile", "root-"+importedAccount)
	must(nil, err)
	if diff := cmp.Diff(exported, again); diff != "" {
		t.Errorf("exported again (-want +got):\n%s", diff)
	}
	// It is an account like any other: counted, and not to be imported into again.
	if out, errs, err := into(exported, "import", "-"); !errors.Is(err, errRefused) || !strings.Contains(errs, "account 111122223333 is not empty: it has user Alice") {
		t.Errorf("import twice: %v\n%s%s", err, out, errs)
	}
	if out, _, err := into("", "can", "arn:aws:iam::111122223333:user/eng/Alice", "s3:GetObject", "arn:aws:s3:::b/<&>Alice/k"); err != nil || !strings.HasPrefix(out, "yes") {
		t.Errorf("alice may: %v\n%s", err, out)
	}
	if out, _, err := into("", "can", "arn:aws:iam::111122223333:user/eng/Alice", "sts:AssumeRole", "arn:aws:iam::111122223333:role/r/byuser"); !errors.Is(err, errRefused) {
		t.Errorf("the boundary of alice: %v\n%s", err, out) // a user whom a trust policy names is limited by it
	}
}

// The file as other programs print it: documents in text, dates with Z, lists that
// are left out; AWS's policies with their documents.
func TestImportTakesWhatIsPrinted(t *testing.T) {
	t.Parallel()
	_, run := housed(t, importedAccount)
	const file = `{
  "UserDetailList": [{"Path": "/", "UserName": "a", "Arn": "arn:aws:iam::111122223333:user/a", "CreateDate": "2019-02-24T15:23:21Z", "AttachedManagedPolicies": [{"PolicyName": "SecurityAudit", "PolicyArn": "arn:aws:iam::aws:policy/SecurityAudit"}]},
    {"UserName": "b", "UserId": "AIDACKCEVSQ6C2EXAMPLE", "CreateDate": 1551021801.0}],
  "RoleDetailList": [{"RoleName": "AWSServiceRoleForAutoScaling", "Path": "/aws-service-role/autoscaling.amazonaws.com/", "RoleId": "AROACKCEVSQ6C2EXAMPLE",
      "AssumeRolePolicyDocument": "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Principal%22%3A%7B%22Service%22%3A%22autoscaling.amazonaws.com%22%7D%2C%22Action%22%3A%22sts%3AAssumeRole%22%7D%5D%7D",
      "RoleLastUsed": {"LastUsedDate": "2024-05-01T10:00:00+00:00", "Region": "eu-west-1"}},
    {"RoleName": "deleted", "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": ["AROAQQQQQQQQQQQQQQQQQ", "AIDAQQQQQQQQQQQQQQQQQ", "AIDACKCEVSQ6C2EXAMPLE", "arn:aws:iam::999988887777:role/theirs", "arn:aws:iam::999988887777:root"]}, "Action": "sts:AssumeRole"}]}}],
  "Policies": [{"PolicyName": "SecurityAudit", "Arn": "arn:aws:iam::aws:policy/SecurityAudit", "Path": "/", "DefaultVersionId": "v3", "PolicyVersionList": [{"VersionId": "v3", "IsDefaultVersion": true, "Document": {}}]}]
}`
	out, errs, err := run(file, "import", "-")
	if err != nil || out != "imported 2 users, 0 groups, 2 roles, 0 managed policies, 0 instance profiles\n" {
		t.Fatalf("%v\n%s%s", err, out, errs)
	}
	for _, want := range []string{"note: policy SecurityAudit is AWS's, and v3 in the file", "note: trust policy of role deleted trusts arn:aws:iam::999988887777:role/theirs, of an account"} {
		if !strings.Contains(errs, want) {
			t.Errorf("no %q in\n%s", want, errs)
		}
	}
	exported, _, err := run("", "export")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"CreateDate": "2019-02-24T15:23:21+00:00"`, `"CreateDate": "2019-02-24T15:23:21+00:00"`, `"arn:aws:iam::111122223333:user/b"`, `"AROAQQQQQQQQQQQQQQQQQ"`, `"LastUsedDate": "2024-05-01T10:00:00+00:00"`} {
		if !strings.Contains(exported, want) {
			t.Errorf("no %s in\n%s", want, exported)
		}
	}
}

// A unique id tells its account, and trust policies keep their principals by it: nobody
// takes over the trust in one who was deleted in another account.
func TestImportedIDsAreOfTheAccount(t *testing.T) {
	t.Parallel()
	_, run := housed(t, importedAccount)
	id := identity.NewID(identity.UserPrefix, "999988887777")
	_, errs, err := run(`{"UserDetailList": [{"UserName": "a", "UserId": "`+id+`"}]}`, "import", "-")
	if err != nil || !strings.Contains(errs, "note: user a its unique id "+id+" is one of account 999988887777") {
		t.Errorf("%v\n%s", err, errs)
	}
	if exported, _, err := run("", "export"); err != nil || !strings.Contains(exported, `"UserName": "a"`) || strings.Contains(exported, id) {
		t.Errorf("%v\n%s", err, exported)
	}
}

// What is wrong is told item by item, all of it, and then nothing is imported.
func TestImportTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	_, run := housed(t, importedAccount, "444455556666")
	const doc = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}`
	trust := func(principal string) string {
		return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":` + principal + `,"Action":"sts:AssumeRole"}}`
	}
	many := func(n int, item string) string {
		var all []string
		for i := range n {
			all = append(all, strings.ReplaceAll(item, "#", fmt.Sprint(i)))
		}
		return strings.Join(all, ",")
	}
	for _, test := range []struct{ file, want string }{
		{``, "the file is not what get-account-authorization-details prints: unexpected end of JSON input"},
		{`[]`, "the file is not what get-account-authorization-details prints"},
		{`{}`, "the file has none of UserDetailList,"},
		{`{"UserDetailList":[],"IsTruncated":true}`, "the file is one page of several"},
		{`{"UserDetailList":[{"UserName":"a","Arn":"arn:aws:iam::999988887777:user/a"}]}`, "the file is of account 999988887777, and this is account 111122223333: start iamd with --account 999988887777"},
		{`{"UserDetailList":[1]}`, "user 1 of the file cannot be read"},
		{`{"UserDetailList":[{"UserName":"a","CreateDate":"yesterday"}]}`, "user 1 of the file cannot be read: a date is like"},
		{`{"UserDetailList":[{"UserName":"a b"}]}`, "user a b has a name that is not 1 to 64"},
		{`{"UserDetailList":[{"UserName":""}]}`, "has a name that is not 1 to 64"},
		{`{"UserDetailList":[{"UserName":"a","Path":"x"}]}`, `user a has the path "x"`},
		{`{"UserDetailList":[{"UserName":"a","Arn":"arn:aws:iam::111122223333:user/x/a"}]}`, "user a has the ARN arn:aws:iam::111122223333:user/x/a, and its path and name make arn:aws:iam::111122223333:user/a"},
		{`{"UserDetailList":[{"UserName":"a","UserId":"AROACKCEVSQ6C2EXAMPLE"}]}`, `user a has the unique id "AROACKCEVSQ6C2EXAMPLE", which is not AIDA...`},
		{`{"UserDetailList":[{"UserName":"a","UserId":"AIDACKCEVSQ6C2EXAMPLE"},{"UserName":"b","UserId":"AIDACKCEVSQ6C2EXAMPLE"}]}`, "user b has the unique id AIDACKCEVSQ6C2EXAMPLE, which another item has"},
		{`{"UserDetailList":[{"UserName":"a"},{"UserName":"A"}]}`, "user A is there twice"},
		{`{"UserDetailList":[{"UserName":"a","GroupList":["g"]}]}`, "user a is in group g, which the file does not have"},
		{`{"UserDetailList":[{"UserName":"a","AttachedManagedPolicies":[{"PolicyArn":"arn:aws:iam::aws:policy/NoSuchPolicy"}]}]}`, "not among the AWS managed policies that iamd knows"},
		{`{"UserDetailList":[{"UserName":"a","AttachedManagedPolicies":[{"PolicyArn":"arn:aws:iam::111122223333:policy/p"}]}]}`, "user a has attached the policy arn:aws:iam::111122223333:policy/p, which the file does not have"},
		{`{"UserDetailList":[{"UserName":"a","PermissionsBoundary":{"PermissionsBoundaryArn":"arn:aws:iam::111122223333:policy/p"}}]}`, "user a has the permissions boundary arn:aws:iam::111122223333:policy/p, which the file does not have"},
		{`{"UserDetailList":[{"UserName":"a","Tags":[{"Key":"k","Value":"1"},{"Key":"K","Value":"2"}]}]}`, "user a Duplicate tag keys found."},
		{`{"UserDetailList":[{"UserName":"a","Tags":[` + many(51, `{"Key":"k#","Value":""}`) + `]}]}`, "user a Cannot exceed quota for TagsPerUser: 50"},
		{`{"UserDetailList":[{"UserName":"a","UserPolicyList":[{"PolicyName":"p","PolicyDocument":{"Version":"2012-10-17"}}]}]}`, "policy p of user a Syntax errors in policy."},
		{`{"UserDetailList":[{"UserName":"a","UserPolicyList":[` + many(40, `{"PolicyName":"p#","PolicyDocument":`+doc+`}`) + `]}]}`, "user a has inline policies of"},
		{`{"GroupDetailList":[` + many(301, `{"GroupName":"g#"}`) + `]}`, "account 111122223333 Cannot exceed quota for GroupsPerAccount: 300"},
		{`{"RoleDetailList":[{"RoleName":"r"}]}`, "trust policy of role r "},
		{`{"RoleDetailList":[{"RoleName":"r","AssumeRolePolicyDocument":` + trust(`{"AWS":"arn:aws:iam::111122223333:user/a"}`) + `}]}`, `trust policy of role r Invalid principal in policy: "AWS":"arn:aws:iam::111122223333:user/a"`},
		{`{"RoleDetailList":[{"RoleName":"r","AssumeRolePolicyDocument":` + trust(`{"Service":"nowhere"}`) + `}]}`, `trust policy of role r Invalid principal in policy: "SERVICE":"nowhere"`},
		{`{"RoleDetailList":[{"RoleName":"r","InstanceProfileList":[{"InstanceProfileName":"i","Roles":[{"RoleName":"x"}]}],"AssumeRolePolicyDocument":` + trust(`"*"`) + `}]}`, "instance profile i has another role than r"},
		{`{"RoleDetailList":[{"RoleName":"r","Path":"/aws-service-role/x/","AssumeRolePolicyDocument":` + trust(`{"AWS":"111122223333"}`) + `}]}`, "trust policy of role r lets in others than services"},
		{`{"RoleDetailList":[{"RoleName":"r","Path":"/aws-service-role/x/","AssumeRolePolicyDocument":` + trust(`{"Service":"ec2.amazonaws.com","AWS":"*"}`) + `}]}`, "trust policy of role r lets in others than services"},
		{`{"Policies":[{"PolicyName":"p","DefaultVersionId":"v2","PolicyVersionList":[{"VersionId":"v1","Document":` + doc + `}]}]}`, `policy p has the default version "v2", whose document the file does not have`},
		{`{"Policies":[{"PolicyName":"p","DefaultVersionId":"v1","PolicyVersionList":[{"VersionId":"1","Document":` + doc + `}]}]}`, "version 1 of policy p has an id that is none"},
		{`{"Policies":[{"PolicyName":"p","DefaultVersionId":"v10","PolicyVersionList":[` + many(6, `{"VersionId":"v1#","Document":`+doc+`}`) + `]}]}`, "policy p has 6 versions: the quota is 5"},
	} {
		out, errs, err := run(test.file, "import", "-", "--profile", "root-"+importedAccount)
		if !errors.Is(err, errRefused) || !strings.Contains(errs, test.want) || !strings.Contains(errs, "nothing was imported: there ") || out != "" {
			t.Errorf("%.150s: %v, want %q\n%.1500s%s", test.file, err, test.want, errs, out)
		}
	}
	// All that is wrong is told at once, also as JSON, and nothing is there.
	out, _, err := run(`{"UserDetailList":[{"UserName":"good"},{"UserName":"a b"},{"UserName":"c","GroupList":["g"]}]}`, "import", "-", "--json")
	var report importReport
	if !errors.Is(err, errRefused) || json.Unmarshal([]byte(out), &report) != nil || len(report.Problems) != 2 || report.Imported {
		t.Errorf("two problems: %v\n%s", err, out)
	}
	if out, _, err := run("", "export"); err != nil || strings.Contains(out, "good") {
		t.Errorf("something was imported: %v\n%s", err, out)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"import"}, "takes one file"},
		{[]string{"import", "/nonexistent"}, "no such file"},
		{[]string{"import", "-", "--endpoint", "http://127.0.0.1:1"}, "connection refused"},
		{[]string{"export", "x"}, "takes no arguments"},
	} {
		if _, _, err := run("{}", test.args...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("iamd %q: %v, want %q", test.args, err, test.want)
		}
	}
}
