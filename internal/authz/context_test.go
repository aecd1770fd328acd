package authz

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/policy"
)

var when = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// Which global keys exist for whom, and what they say. "-" is an absent key; what
// AWS says of it is in the IAM User Guide, "AWS global condition context keys".
func TestGlobalKeys(t *testing.T) {
	user := &identity.User{User: api.User{UserName: "alice", UserId: "AIDAALICE", Arn: alice, Tags: []api.Tag{{Key: "Team", Value: "blue"}, {Key: "cost", Value: "9"}}}}
	reader := &identity.Role{Role: api.Role{RoleName: "reader", RoleId: "AROAREADER", Arn: role, Tags: []api.Tag{{Key: "team", Value: "role"}, {Key: "site", Value: "x"}}}}
	issued := when.Add(-10 * time.Minute)
	callers := map[string]*identity.Caller{
		"user": identity.UserCaller(user, "AKIA"),
		"root": identity.RootCaller(acct, "AKIA"),
		"none": {},
		"own":  {Type: identity.IAMUser, Account: acct, ARN: alice, UserID: "AIDAALICE", User: user, Session: &identity.Session{Type: identity.IAMUser, Issued: issued, MFA: issued}},
		"fed":  {Type: identity.FederatedUser, Account: acct, ARN: fed, UserID: acct + ":bob", User: user, Session: &identity.Session{Type: identity.FederatedUser, Issued: issued}},
		"ec2":  {Type: identity.AWSService, Service: "ec2.amazonaws.com"},
		"role": {Type: identity.AssumedRole, Account: acct, ARN: session, UserID: "AROAREADER:s1", Role: reader, Session: &identity.Session{
			Type: identity.AssumedRole, Issued: issued, SourceIdentity: "ann", Tags: []identity.SessionTag{{Key: "TEAM", Value: "session"}}}},
	}
	for _, c := range []struct{ key, user, role, own, fed, root, ec2, none string }{
		{"aws:PrincipalArn", alice, role, alice, fed, "arn:aws:iam::" + acct + ":root", "-", "-"},
		{"aws:PrincipalAccount", acct, acct, acct, acct, acct, "-", "-"},
		{"aws:PrincipalType", "User", "AssumedRole", "User", "FederatedUser", "Account", "Service", "Anonymous"},
		{"aws:userid", "AIDAALICE", "AROAREADER:s1", "AIDAALICE", acct + ":bob", acct, "-", "anonymous"},
		{"aws:username", "alice", "-", "alice", "-", "-", "-", "-"},
		{"aws:PrincipalIsAWSService", "false", "false", "false", "false", "false", "true", "-"},
		{"aws:PrincipalServiceName", "-", "-", "-", "-", "-", "ec2.amazonaws.com", "-"},
		{"aws:PrincipalServiceNamesList", "-", "-", "-", "-", "-", "ec2.amazonaws.com", "-"},
		{"aws:AssumedRoot", "-", "false", "false", "false", "-", "-", "-"},
		{"aws:ViaAWSService", "false", "false", "false", "false", "false", "false", "-"},
		{"aws:TokenIssueTime", "-", "2026-11-22T09:50:00Z", "2026-11-22T09:50:00Z", "2026-11-22T09:50:00Z", "-", "-", "-"},
		{"aws:MultiFactorAuthPresent", "-", "false", "true", "false", "-", "-", "-"},
		{"aws:MultiFactorAuthAge", "-", "-", "600", "-", "-", "-", "-"},
		{"aws:SourceIdentity", "-", "ann", "-", "-", "-", "-", "-"},
		{"aws:FederatedProvider", "-", "-", "-", "-", "-", "-", "-"},
		// Keys of tags are found without regard to case; session tags win over the role's own.
		{"aws:PrincipalTag/team", "blue", "session", "blue", "-", "-", "-", "-"},
		{"aws:PrincipalTag/COST", "9", "-", "9", "-", "-", "-", "-"},
		{"aws:PrincipalTag/site", "-", "x", "-", "-", "-", "-", "-"},
		// These are the same for everyone.
		{"aws:SourceIp", "203.0.113.9", "203.0.113.9", "203.0.113.9", "203.0.113.9", "203.0.113.9", "203.0.113.9", "203.0.113.9"},
		{"aws:SecureTransport", "true", "true", "true", "true", "true", "true", "true"},
		{"aws:UserAgent", "cli", "cli", "cli", "cli", "cli", "cli", "cli"},
		{"aws:Referer", "-", "-", "-", "-", "-", "-", "-"},
		{"aws:CurrentTime", "2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z"},
		{"aws:EpochTime", "1795341600", "1795341600", "1795341600", "1795341600", "1795341600", "1795341600", "1795341600"},
		{"aws:RequestedRegion", "eu-west-1", "eu-west-1", "eu-west-1", "eu-west-1", "eu-west-1", "eu-west-1", "eu-west-1"},
		{"aws:ResourceAccount", other, other, other, other, other, other, other},
		{"aws:ResourceTag/stage", "prod", "prod", "prod", "prod", "prod", "prod", "prod"},
		{"iam:ResourceTag/STAGE", "prod", "prod", "prod", "prod", "prod", "prod", "prod"},
		{"aws:RequestTag/Owner", "ann", "ann", "ann", "ann", "ann", "ann", "ann"},
		{"aws:RequestTag/other", "-", "-", "-", "-", "-", "-", "-"},
		{"aws:TagKeys", "owner,size", "owner,size", "owner,size", "owner,size", "owner,size", "owner,size", "owner,size"},
		// What only a service that acts for a resource, a VPC or an organisation gives.
		{"aws:SourceArn", "-", "-", "-", "-", "-", "-", "-"},
		{"aws:SourceVpc", "-", "-", "-", "-", "-", "-", "-"},
		{"aws:PrincipalOrgID", "-", "-", "-", "-", "-", "-", "-"},
		{"aws:PrincipalOrgPaths", "-", "-", "-", "-", "-", "-", "-"},
		{"aws:ResourceOrgID", "-", "-", "-", "-", "-", "-", "-"},
		{"aws:ResourceOrgPaths", "-", "-", "-", "-", "-", "-", "-"},
		{"aws:SourceOrgID", "-", "-", "-", "-", "-", "-", "-"},
		{"aws:SourceOrgPaths", "-", "-", "-", "-", "-", "-", "-"},
		{"aws:CalledVia", "-", "-", "-", "-", "-", "-", "-"},
		{"aws:NoSuchKey", "-", "-", "-", "-", "-", "-", "-"},
	} {
		for name, want := range map[string]string{"user": c.user, "role": c.role, "own": c.own, "fed": c.fed, "root": c.root, "ec2": c.ec2, "none": c.none} {
			r := &Request{
				Call: &service.Call{Account: callers[name].Account, Caller: callers[name], Time: when, Region: "eu-west-1",
					Source: service.Source{IP: netip.MustParseAddr("203.0.113.9"), Secure: true, UserAgent: "cli"}},
				Service: &service.Service{},
				Check:   service.Check{Action: "s3:GetObject", Target: service.Target{ARN: object}, Tags: []service.KeyValue{{Key: "owner", Value: "ann"}, {Key: "size", Value: "1"}}},
				Object: service.Object{Account: other, TagKeys: []string{"stage"}, Tag: func(k string) (string, bool) {
					return "prod", strings.EqualFold(k, "stage")
				}},
			}
			got := "-"
			if v, ok := r.Value(strings.ToLower(c.key)); ok {
				got = strings.Join(v.Strings(), ",")
			}
			if got != want {
				t.Errorf("%s of %s: got %q, want %q", c.key, name, got, want)
			}
		}
	}
}

// What an identity provider says are keys of the one it vouches for, who has no others
// of a principal; a session keeps those that last.
func TestClaims(t *testing.T) {
	claims := []identity.Claim{
		{Key: "a.example/P:sub", Value: []string{"ann"}, Lasts: true},
		{Key: "a.example/P:amr", Value: []string{"mfa"}, Many: true},
		{Key: "a.example/P:oaud", Value: []string{"x", "y"}},
	}
	web := &identity.Caller{Type: identity.WebIdentityUser, UserID: oidc + ":x:ann", Federation: &identity.Federation{Provider: oidc, Claims: claims}}
	held := &identity.Caller{Type: identity.AssumedRole, Account: acct, Role: &identity.Role{}, Session: &identity.Session{Provider: oidc, Claims: claims[:1]}}
	for _, c := range []struct{ key, web, held string }{
		{"a.example/P:sub", "ann", "ann"},
		{"A.EXAMPLE/p:SUB", "ann", "ann"},
		{"a.example/P:amr", "[mfa]", "-"},
		{"a.example/P:oaud", "[x y]", "-"},
		{"a.example:sub", "-", "-"},
		{"aws:FederatedProvider", "-", oidc},
		{"aws:userid", "anonymous", "-"},
		{"aws:PrincipalType", "Anonymous", "AssumedRole"},
		{"aws:PrincipalAccount", "-", acct},
		{"aws:PrincipalArn", "-", "-"},
	} {
		for caller, want := range map[*identity.Caller]string{web: c.web, held: c.held} {
			r := &Request{Call: &service.Call{Account: caller.Account, Caller: caller}, Service: &service.Service{}, Check: service.Check{Action: "sts:AssumeRoleWithWebIdentity"}}
			got := "-"
			if v, ok := r.Value(strings.ToLower(c.key)); ok {
				got = strings.Join(v.Strings(), " ")
				if reflect.DeepEqual(v, policy.List(v.Strings())) {
					got = "[" + got + "]"
				}
			}
			if got != want {
				t.Errorf("%s of %s: %q, want %q", c.key, caller.Type, got, want)
			}
		}
	}
}

// Without tags in the request there is no aws:TagKeys, and an action without a
// resource has no resource account.
func TestAbsentKeys(t *testing.T) {
	r := &Request{Call: &service.Call{Account: acct, Caller: identity.RootCaller(acct, "AKIA")}, Service: &service.Service{},
		Check: service.Check{Action: "iam:ListUsers", Target: service.Target{ARN: "*"}}}
	for _, key := range []string{"aws:tagkeys", "aws:resourceaccount", "aws:sourceip", "aws:requesttag/a", "aws:resourcetag/a", "aws:useragent"} {
		if v, ok := r.Value(key); ok {
			t.Errorf("%s is %v, want none", key, v.Strings())
		}
	}
}
