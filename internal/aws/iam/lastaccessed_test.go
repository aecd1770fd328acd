package iam_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/iamd-dev/iamd/internal/awstest"
	"github.com/iamd-dev/iamd/internal/identity"
)

// userWithKey makes a user who may do anything, and gives their credentials.
func userWithKey(t *testing.T, s *awstest.Server, name string) (id string, c aws.Credentials) {
	t.Helper()
	root := s.IAM(s.Config(s.Root(account)))
	u, err := root.CreateUser(t.Context(), &iam.CreateUserInput{UserName: &name})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := root.AttachUserPolicy(t.Context(), &iam.AttachUserPolicyInput{UserName: &name, PolicyArn: aws.String("arn:aws:iam::aws:policy/AdministratorAccess")}); err != nil {
		t.Fatal(err)
	}
	k, err := root.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &name})
	if err != nil {
		t.Fatal(err)
	}
	return *u.User.UserId, aws.Credentials{AccessKeyID: *k.AccessKey.AccessKeyId, SecretAccessKey: *k.AccessKey.SecretAccessKey}
}

// A busy user costs a write or two, not one for each call; a quarter of an hour later
// the date is brought up to date.
func TestUsesAreWrittenInBatches(t *testing.T) {
	s := awstest.Start(t, account)
	id, credentials := userWithKey(t, s, "alice")
	s.Restart() // what the root did is written
	client, security := s.IAM(s.Config(credentials)), s.STS(s.Config(credentials))
	before := s.DB.View().Revision()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				for _, call := range []func(context.Context) error{
					func(ctx context.Context) error { _, err := client.GetUser(ctx, &iam.GetUserInput{}); return err },
					func(ctx context.Context) error { _, err := client.ListUsers(ctx, &iam.ListUsersInput{}); return err },
					func(ctx context.Context) error {
						_, err := security.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
						return err
					},
				} {
					if err := call(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	s.Restart()
	if n := s.DB.View().Revision() - before; n < 1 || n > 3 {
		t.Errorf("600 calls made %d changes, want between 1 and 3", n)
	}
	first := identity.Accessed.Get(s.DB.View(), id+"/iam")
	if first == nil || len(first.Actions) != 2 || first.Actions["GetUser"].Time.IsZero() || first.Actions["ListUsers"].Time.IsZero() {
		t.Fatalf("of iam is kept %+v; want GetUser and ListUsers", first)
	}
	if a := identity.Accessed.Get(s.DB.View(), id+"/sts"); a == nil || len(a.Actions) != 1 || a.Actions["GetCallerIdentity"].Region != "us-east-1" {
		t.Errorf("of sts is kept %+v; want GetCallerIdentity", a)
	}

	for _, wait := range []time.Duration{time.Minute, 15 * time.Minute} {
		s.Advance(wait)
		if _, err := client.GetUser(t.Context(), &iam.GetUserInput{}); err != nil {
			t.Fatal(err)
		}
	}
	s.Restart()
	if now := identity.Accessed.Get(s.DB.View(), id+"/iam"); now.Time.Sub(first.Time) < 15*time.Minute || !now.Actions["ListUsers"].Time.Equal(first.Actions["ListUsers"].Time) {
		t.Errorf("after sixteen minutes %+v; before %+v", now, first)
	}
}

// Of who is deleted nothing is kept, also when the date of their last call comes later.
func TestUsesOfTheDeletedAreForgotten(t *testing.T) {
	s := awstest.Start(t, account)
	root := s.IAM(s.Config(s.Root(account)))
	id, credentials := userWithKey(t, s, "alice")
	for _, flushed := range []bool{true, false} {
		if _, err := s.STS(s.Config(credentials)).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil {
			t.Fatal(err)
		}
		if flushed {
			s.Restart()
			if identity.Accessed.Get(s.DB.View(), id+"/sts") == nil {
				t.Fatal("the first call was not written")
			}
			s.Advance(time.Hour)
		}
	}
	if _, err := root.DeleteAccessKey(t.Context(), &iam.DeleteAccessKeyInput{UserName: aws.String("alice"), AccessKeyId: &credentials.AccessKeyID}); err != nil {
		t.Fatal(err)
	}
	if _, err := root.DetachUserPolicy(t.Context(), &iam.DetachUserPolicyInput{UserName: aws.String("alice"), PolicyArn: aws.String("arn:aws:iam::aws:policy/AdministratorAccess")}); err != nil {
		t.Fatal(err)
	}
	if _, err := root.DeleteUser(t.Context(), &iam.DeleteUserInput{UserName: aws.String("alice")}); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	for key, a := range identity.Accessed.All(s.DB.View(), id) {
		t.Errorf("%s is still kept: %+v", key, a)
	}
	if u := identity.LastUsed.Get(s.DB.View(), credentials.AccessKeyID); u != nil {
		t.Errorf("the last use of the deleted key is still kept: %+v", u)
	}
}

// A role that is passed to a service has been tried, under the action of its own.
func TestPassRoleIsTracked(t *testing.T) {
	s := awstest.Start(t, account)
	id, credentials := userWithKey(t, s, "alice")
	client := s.IAM(s.Config(credentials))
	trust := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}}`
	if _, err := client.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("r"), AssumeRolePolicyDocument: &trust}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CreateInstanceProfile(t.Context(), &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String("p")}); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	if a := identity.Accessed.Get(s.DB.View(), id+"/iam"); a == nil || len(a.Actions) != 2 {
		t.Fatalf("before, %+v is kept; want CreateRole and CreateInstanceProfile", a)
	}
	if _, err := client.AddRoleToInstanceProfile(t.Context(), &iam.AddRoleToInstanceProfileInput{InstanceProfileName: aws.String("p"), RoleName: aws.String("r")}); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	if a := identity.Accessed.Get(s.DB.View(), id+"/iam"); a.Actions["PassRole"].Time.IsZero() || len(a.Actions) != 4 {
		t.Errorf("kept is %+v; want PassRole among four", a.Actions)
	}
}
