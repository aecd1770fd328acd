package authz

import (
	"strings"
	"testing"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/policy"
)

// What an explanation says would have to change, and that it is enough, and that
// it allows nothing else.
func TestChanges(t *testing.T) {
	user := &identity.User{User: api.User{UserName: "alice", UserId: "AIDAALICE", Arn: alice}}
	reader := &identity.Role{Role: api.Role{RoleName: "reader", RoleId: "AROAREADER", Arn: role}}
	callers := map[string]*identity.Caller{
		"user": identity.UserCaller(user, "AKIA"),
		"role": {Type: identity.AssumedRole, Account: acct, ARN: session, UserID: "AROAREADER:s1", Role: reader, Session: &identity.Session{Type: identity.AssumedRole}},
		"none": {},
	}
	other := allow("ec2:*")
	office := doc(`{"Version":"2012-10-17","Statement":{"Sid":"Office","Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}}}}`)
	for _, c := range []struct {
		name, caller, resource string
		cross                  bool
		layers                 Layers
		want                   string // a line a change
	}{
		{"nothing allows", "user", object, false, Layers{},
			`a policy of user alice: {"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/k"}`},
		{"a boundary as well", "user", object, false, Layers{Boundary: &other, Bounded: true},
			`a policy of user alice: {"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/k"}` + "\n" +
				`p: {"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/k"}`},
		{"across accounts both sides", "role", object, true, Layers{},
			`a policy of role reader: {"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/k"}` + "\n" +
				`the policy of arn:aws:s3:::b/k: {"Effect":"Allow","Principal":{"AWS":"` + role + `"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::b/k"}`},
		{"anonymous", "none", object, true, Layers{},
			`the policy of arn:aws:s3:::b/k: {"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/k"}`},
		{"a session policy and an organisation", "role", object, false, Layers{Identity: []Policy{allow("s3:*")}, Sessioned: true, SCP: [][]Policy{{allow("*")}, {other}}},
			`a service control policy: {"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/k"}` + "\n" +
				`the session policy that the session is made with: {"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/k"}`},
		{"a condition would do", "user", object, false, Layers{Identity: []Policy{office}},
			`a policy of user alice: {"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/k"} or Office of p allows it where IpAddress aws:SourceIp is 203.0.113.0/24`},
		{"a Deny stands in the way, and nothing else is said", "user", object, false, Layers{Identity: []Policy{allow("*"), deny("s3:Get*")}},
			`p: not statement 1 (line 1 column 37)`},
		{"stars in a name are no wildcards", "user", "arn:aws:s3:::b/a*?$", false, Layers{},
			`a policy of user alice: {"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/a${*}${?}${$}"}`},
	} {
		r := &Request{Call: &service.Call{Account: callers[c.caller].Account, Caller: callers[c.caller]}, Service: &service.Service{},
			Check: service.Check{Action: "s3:GetObject", Target: service.Target{ARN: arn.ARN(c.resource)}}, Object: service.Object{Account: acct}}
		if c.cross {
			r.Object.Account = "444455556666"
		}
		x := &Explanation{}
		if d := r.decide(&c.layers, policy.Keys{}, x); d.Allowed {
			t.Errorf("%s: allowed", c.name)
		}
		var lines []string
		for _, change := range x.Changes {
			line := change.Where + ": " + string(change.Statement)
			if change.Deny != "" {
				line = change.Where + ": not " + change.Deny
			}
			if change.Instead != "" {
				line += " or " + change.Instead
			}
			lines = append(lines, line)
			if change.Statement == nil {
				continue
			}
			// The statement covers the request, and neither another action nor another resource.
			p, err := policy.Parse([]byte(`{"Version":"2012-10-17","Statement":` + string(change.Statement) + `}`))
			if err != nil {
				t.Fatalf("%s: %s: %v", c.name, change.Statement, err)
			}
			program := policy.Compile(p)
			q := policy.Request{Principal: principal(r.Call.Caller), Action: "s3:GetObject", Resource: arn.ARN(c.resource)}
			if !program.Evaluate(&q, nil).Allowed {
				t.Errorf("%s: %s does not allow what was asked", c.name, change.Statement)
			}
			more, elsewhere := q, q
			more.Action, elsewhere.Resource = "s3:GetObjectVersion", arn.ARN(c.resource+"x")
			if program.Evaluate(&more, nil).Allowed || program.Evaluate(&elsewhere, nil).Allowed {
				t.Errorf("%s: %s allows more than was asked", c.name, change.Statement)
			}
		}
		if got := strings.Join(lines, "\n"); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}
