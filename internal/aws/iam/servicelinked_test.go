package iam_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/iamd-dev/iamd/internal/awstest"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/reference"
	"github.com/iamd-dev/iamd/internal/store"
)

// Every line of the table makes a role that AWS's rules for names allow, with a policy
// that is published.
func TestServiceLinkedRolesCanBeMade(t *testing.T) {
	text, err := os.ReadFile("servicelinked.txt")
	if err != nil {
		t.Fatal(err)
	}
	s := awstest.Start(t, account)
	client := s.IAM(s.Config(s.Root(account)))
	names := map[string]string{}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if words[0] == "#" {
			continue
		}
		out, err := client.CreateServiceLinkedRole(t.Context(), &iam.CreateServiceLinkedRoleInput{AWSServiceName: &words[0]})
		if err != nil {
			t.Errorf("%s: %v", words[0], err)
			continue
		}
		name := aws.ToString(out.Role.RoleName)
		if !strings.HasPrefix(name, "AWSServiceRoleFor") || len(name) > 64 || names[name] != "" {
			t.Errorf("%s: the role is called %s; it begins with AWSServiceRoleFor, has at most 64 characters, and is no other service's (%s)", words[0], name, names[name])
		}
		names[name] = words[0]
		if _, ok := reference.ManagedPolicy("arn:aws:iam::aws:policy/aws-service-role/" + words[2]); !ok {
			t.Errorf("%s: there is no managed policy %s", words[0], words[2])
		}
	}
	if len(names) < 180 {
		t.Errorf("%d roles were made; the table has more than 180", len(names))
	}
}

// What AWS was recorded to make, iamd makes.
func TestServiceLinkedRolesAsRecorded(t *testing.T) {
	text, err := os.ReadFile("testdata/recorded/servicelinkedroles")
	if err != nil {
		t.Fatal(err)
	}
	// AWS has published no document of this policy.
	successors := map[string]string{"AmazonLexBotPolicy": "LexBotPolicy"}
	s := awstest.Start(t, account)
	client := s.IAM(s.Config(s.Root(account)))
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if words[0] == "#" {
			continue
		}
		service, role, policy, suffix := words[0], words[1], words[2], words[3]
		if _, err := client.CreateServiceLinkedRole(t.Context(), &iam.CreateServiceLinkedRoleInput{AWSServiceName: &service, CustomSuffix: aws.String("x")}); (err != nil) != (suffix == "refused") {
			t.Errorf("%s with a suffix: %v; recorded: %s", service, err, suffix)
		}
		if _, err := client.CreateServiceLinkedRole(t.Context(), &iam.CreateServiceLinkedRoleInput{AWSServiceName: &service}); err != nil {
			t.Errorf("%s: %v", service, err)
			continue
		}
		got, err := client.GetRole(t.Context(), &iam.GetRoleInput{RoleName: &role})
		if err != nil {
			t.Errorf("%s: %v", service, err)
			continue
		}
		if got, want := aws.ToString(got.Role.Path), "/aws-service-role/"+service+"/"; got != want {
			t.Errorf("%s: path %s, want %s", service, got, want)
		}
		if service == "sso.amazonaws.com" && !strings.HasPrefix(aws.ToString(got.Role.Description), "Service-linked role used by AWS SSO") {
			t.Errorf("%s: description %q", service, aws.ToString(got.Role.Description))
		}
		attached, err := client.ListAttachedRolePolicies(t.Context(), &iam.ListAttachedRolePoliciesInput{RoleName: &role})
		if err != nil || len(attached.AttachedPolicies) != 1 {
			t.Errorf("%s: attached %v, %v", service, attached, err)
			continue
		}
		if successors[policy] != "" {
			policy = successors[policy]
		}
		if got, want := aws.ToString(attached.AttachedPolicies[0].PolicyArn), "arn:aws:iam::aws:policy/aws-service-role/"+policy; got != want {
			t.Errorf("%s: policy %s, want %s", service, got, want)
		}
	}
}

// A role of which a session may be alive stays, and the task tells why.
func TestServiceLinkedRoleInUse(t *testing.T) {
	s := awstest.Start(t, account)
	client := s.IAM(s.Config(s.Root(account)))
	made, err := client.CreateServiceLinkedRole(t.Context(), &iam.CreateServiceLinkedRoleInput{AWSServiceName: aws.String("ecs.amazonaws.com")})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DB.Update(t.Context(), func(tx *store.Tx) error {
		identity.LastUsed.Put(tx, *made.Role.RoleId, &identity.Use{Time: s.Now().Truncate(time.Second), Region: "eu-west-1", Service: "ecs"})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"FAILED", "SUCCEEDED"} {
		task, err := client.DeleteServiceLinkedRole(t.Context(), &iam.DeleteServiceLinkedRoleInput{RoleName: made.Role.RoleName})
		if err != nil {
			t.Fatal(err)
		}
		status, err := client.GetServiceLinkedRoleDeletionStatus(t.Context(), &iam.GetServiceLinkedRoleDeletionStatusInput{DeletionTaskId: task.DeletionTaskId})
		if err != nil {
			t.Fatal(err)
		}
		if string(status.Status) != want {
			t.Errorf("status %s, want %s", status.Status, want)
		}
		_, gone := client.GetRole(t.Context(), &iam.GetRoleInput{RoleName: made.Role.RoleName})
		switch want {
		case "FAILED":
			r := status.Reason
			if r == nil || !strings.Contains(aws.ToString(r.Reason), "active sessions") || len(r.RoleUsageList) != 1 || aws.ToString(r.RoleUsageList[0].Region) != "eu-west-1" {
				t.Errorf("reason %+v; want the sessions and their region", r)
			}
			if gone != nil {
				t.Errorf("the role in use: %v", gone)
			}
			s.Advance(time.Hour)
		case "SUCCEEDED":
			if gone == nil {
				t.Error("the role is still there")
			}
		}
	}
}
