package cloudformation_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	service "github.com/iamd-dev/iamd/internal/aws/cloudformation"
	"github.com/iamd-dev/iamd/internal/aws/cloudformation/api"
	"github.com/iamd-dev/iamd/internal/awstest"
	"github.com/iamd-dev/iamd/internal/identity"
	calls "github.com/iamd-dev/iamd/internal/service"
)

// A dying invoker stops for ever at its nth call, before the call is made or when it was
// made and nobody has been told: what a kill of the server does.
type dying struct {
	calls.Invoker
	at     int64
	before bool
	n      atomic.Int64
	dead   chan struct{}
}

func (d *dying) Invoke(ctx context.Context, c *calls.Call, name, op string, in any) (any, error) {
	n := d.n.Add(1)
	if n == d.at && d.before {
		close(d.dead)
		select {}
	}
	out, err := d.Invoker.Invoke(ctx, c, name, op, in)
	if n == d.at {
		close(d.dead)
		select {}
	}
	return out, err
}

const (
	one = `
Resources:
  Bucket: {Type: AWS::S3::Bucket}
  Role:
    Type: AWS::IAM::Role
    Properties:
      RoleName: given
      AssumeRolePolicyDocument: {Version: 2012-10-17, Statement: {Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: sts:AssumeRole}}
      Policies: [{PolicyName: p, PolicyDocument: {Version: 2012-10-17, Statement: {Effect: Allow, Action: "s3:*", Resource: !GetAtt Bucket.Arn}}}]
  Policy:
    Type: AWS::IAM::ManagedPolicy
    Properties: {Roles: [!Ref Role], PolicyDocument: {Version: 2012-10-17, Statement: {Effect: Allow, Action: "s3:*", Resource: "*"}}}
  Profile: {Type: AWS::IAM::InstanceProfile, Properties: {Roles: [!Ref Role]}}
  P: {Type: AWS::SSM::Parameter, Properties: {Type: String, Value: one}}
`
	two = `
Resources:
  Bucket: {Type: AWS::S3::Bucket, Properties: {VersioningConfiguration: {Status: Enabled}}}
  Role:
    Type: AWS::IAM::Role
    Properties:
      RoleName: renamed
      AssumeRolePolicyDocument: {Version: 2012-10-17, Statement: {Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: sts:AssumeRole}}
  Policy:
    Type: AWS::IAM::ManagedPolicy
    Properties: {Roles: [!Ref Role], PolicyDocument: {Version: 2012-10-17, Statement: {Effect: Allow, Action: "ec2:*", Resource: "*"}}}
  Profile: {Type: AWS::IAM::InstanceProfile, Properties: {Roles: [!Ref Role]}}
  New: {Type: AWS::IAM::Group}
`
)

// Wherever a server is killed, the next goes on: the stack ends, with all that it is to
// have, or as it was before.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("a server is killed at each of a hundred calls")
	}
	t.Parallel()
	s := awstest.Start(t)
	ctx := t.Context()
	cfg := s.Config(s.Root(awstest.DefaultAccount))
	client, entities, buckets := s.CloudFormation(cfg), s.IAM(cfg), s.S3(cfg)
	root := &identity.Caller{Type: identity.RootUser, Account: awstest.DefaultAccount, ARN: "arn:aws:iam::123456789012:root", UserID: awstest.DefaultAccount}

	call := func(table *calls.Service, op string, in any) error {
		c := &calls.Call{Account: awstest.DefaultAccount, Caller: root, State: s.DB.View(), Time: s.Now(), RequestID: "11111111-2222-4333-8444-" + fmt.Sprintf("%012d", time.Now().UnixNano()%1e12), Region: "us-east-1"}
		_, err := table.Op(op).Do(ctx, c, in)
		return err
	}
	ended := func(id string) string {
		for {
			out, err := client.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &id})
			if err != nil {
				t.Fatal(err)
			}
			if status := string(out.Stacks[0].StackStatus); !strings.HasSuffix(status, "_IN_PROGRESS") {
				return status
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	count := func() string {
		roles, err := entities.ListRoles(ctx, &iam.ListRolesInput{})
		policies, err2 := entities.ListPolicies(ctx, &iam.ListPoliciesInput{Scope: "Local"})
		profiles, err3 := entities.ListInstanceProfiles(ctx, &iam.ListInstanceProfilesInput{})
		groups, err4 := entities.ListGroups(ctx, &iam.ListGroupsInput{})
		all, err5 := buckets.ListBuckets(ctx, &s3.ListBucketsInput{})
		if err := errors.Join(err, err2, err3, err4, err5); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%d roles, %d policies, %d profiles, %d groups, %d buckets", len(roles.Roles), len(policies.Policies), len(profiles.InstanceProfiles), len(groups.Groups), len(all.Buckets))
	}
	const nothing, first, second = "0 roles, 0 policies, 0 profiles, 0 groups, 0 buckets", "1 roles, 1 policies, 1 profiles, 0 groups, 1 buckets", "1 roles, 1 policies, 1 profiles, 1 groups, 1 buckets"
	allowed := map[string][]string{
		"CreateStack": {"CREATE_COMPLETE: " + first, "ROLLBACK_COMPLETE: " + nothing},
		"UpdateStack": {"UPDATE_COMPLETE: " + second, "UPDATE_ROLLBACK_COMPLETE: " + first},
		"DeleteStack": {"DELETE_COMPLETE: " + nothing},
	}
	named := []string{"CAPABILITY_NAMED_IAM"}
	for _, op := range []string{"CreateStack", "UpdateStack", "DeleteStack"} {
		for at := int64(1); ; at++ {
			deaths := 0
			for _, before := range []bool{true, false} {
				name := fmt.Sprintf("k%d-%t", at, before)
				if op != "CreateStack" {
					if _, err := client.CreateStack(ctx, &cloudformation.CreateStackInput{StackName: &name, TemplateBody: aws.String(one), Capabilities: []types.Capability{"CAPABILITY_NAMED_IAM"}}); err != nil {
						t.Fatal(err)
					}
					if status := ended(name); status != "CREATE_COMPLETE" {
						t.Fatal(status)
					}
				}
				killer := &dying{Invoker: s.Roles.Invoker, at: at, before: before, dead: make(chan struct{})}
				svc := &service.Service{DB: s.DB, Keyring: s.Keyring, Invoker: killer, Roles: s.Roles, Now: s.Now}
				table := svc.AWS()
				var err error
				switch op {
				case "CreateStack":
					err = call(table, op, &api.CreateStackInput{StackName: name, TemplateBody: one, Capabilities: named})
				case "UpdateStack":
					err = call(table, op, &api.UpdateStackInput{StackName: name, TemplateBody: two, Capabilities: named})
				case "DeleteStack":
					err = call(table, op, &api.DeleteStackInput{StackName: name})
				}
				if err != nil {
					t.Fatal(err)
				}
				found, err := client.ListStacks(ctx, &cloudformation.ListStacksInput{})
				if err != nil {
					t.Fatal(err)
				}
				id := *found.StackSummaries[0].StackId
				done := make(chan string, 1)
				go func() { done <- ended(id) }()
				status := ""
				select {
				case <-killer.dead:
					deaths++
					next := &service.Service{DB: s.DB, Keyring: s.Keyring, Invoker: s.Roles.Invoker, Roles: s.Roles, Now: s.Now}
					next.AWS()
					next.Start()
					status = <-done
					next.Close()
				case status = <-done:
				}
				got := status + ": " + count()
				ok := false
				for _, want := range allowed[op] {
					ok = ok || got == want
				}
				if !ok {
					t.Errorf("%s killed at call %d (before: %t): %s, want one of %q%s", op, at, before, got, allowed[op], why(t, client, id))
				}
				if status != "DELETE_COMPLETE" {
					if _, err := client.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: &id}); err != nil {
						t.Fatal(err)
					}
					if status := ended(id); status != "DELETE_COMPLETE" {
						t.Fatalf("%s killed at call %d (before: %t): then %s%s", op, at, before, status, why(t, client, id))
					}
				}
				if got := count(); got != nothing {
					t.Fatalf("%s killed at call %d (before: %t): deleted, it leaves %s", op, at, before, got)
				}
			}
			if deaths == 0 {
				if at < 4 {
					t.Errorf("%s made %d calls", op, at-1)
				}
				break
			}
		}
	}
}

func why(t *testing.T, client *cloudformation.Client, id string) string {
	out, err := client.DescribeStackEvents(t.Context(), &cloudformation.DescribeStackEventsInput{StackName: &id})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range out.StackEvents {
		fmt.Fprintf(&b, "\n\t%s %s %s %s", aws.ToString(e.LogicalResourceId), aws.ToString(e.PhysicalResourceId), e.ResourceStatus, aws.ToString(e.ResourceStatusReason))
	}
	return b.String()
}
