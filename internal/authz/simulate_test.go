package authz

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/policy"
)

// A simulated request has the keys that follow from who asks, when and about what,
// and those that are given, which go before them; it has none that only a call has.
func TestSimulatedKeys(t *testing.T) {
	user := &identity.User{User: api.User{UserName: "bob", Arn: "arn:aws:iam::111122223333:user/bob", Tags: []api.Tag{{Key: "team", Value: "red"}}}}
	r := &Request{
		Call: &service.Call{Account: "111122223333", Caller: identity.UserCaller(user, ""), Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
			Region: "us-east-1", Source: service.Source{IP: netip.MustParseAddr("10.1.2.3"), UserAgent: "x"}},
		Check: service.Check{Action: "s3:GetObject", Target: service.Target{ARN: "arn:aws:s3:::b/k"}, Pairs: []service.Pair{
			{Name: "aws:PrincipalTag/team", Key: "aws:principaltag/team", Value: policy.String("blue")},
			{Name: "aws:Referer", Key: "aws:referer", Value: policy.String("https://example.com")},
		}},
	}
	l := &Layers{Identity: []Policy{{Name: "p", Document: identity.NewDocument(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)}}}
	for _, test := range []struct{ key, want string }{
		{"aws:username", "bob"},
		{"aws:PrincipalArn", "arn:aws:iam::111122223333:user/bob"},
		{"aws:PrincipalAccount", "111122223333"},
		{"aws:CurrentTime", "2026-01-02T03:04:05Z"},
		{"aws:ResourceAccount", "111122223333"},
		{"aws:PrincipalTag/team", "blue"},
		{"aws:Referer", "https://example.com"},
		{"aws:SourceIp", ""},
		{"aws:SecureTransport", ""},
		{"aws:UserAgent", ""},
		{"aws:RequestedRegion", ""},
		{"s3:prefix", ""},
	} {
		v, ok := simulated{r}.Value(strings.ToLower(test.key))
		if got := ""; ok {
			if got = v.Strings()[0]; got != test.want {
				t.Errorf("%s is %q, want %q", test.key, got, test.want)
			}
		} else if test.want != "" {
			t.Errorf("%s is not there", test.key)
		}
		x := &Explanation{}
		if d := Simulate(r, l, x); !d.Allowed || x.Decision != "allowed" {
			t.Errorf("%+v", d)
		}
		at := func(k ContextKey) bool { return k.Key == test.key }
		i := slices.IndexFunc(x.Context, at)
		if i < 0 && test.want != "" || i >= 0 && (test.want == "" || x.Context[i].Values[0] != test.want || slices.ContainsFunc(x.Context[i+1:], at)) {
			t.Errorf("the explanation of %s: %v", test.key, x.Context)
		}
	}
}

// The decision is by the policies that are given and by no others.
func TestSimulateAsksTheGivenPolicies(t *testing.T) {
	user := &identity.User{User: api.User{UserName: "bob", Arn: "arn:aws:iam::111122223333:user/bob"},
		Inline: map[string]identity.Document{"all": identity.NewDocument(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)}}
	r := &Request{
		Call:  &service.Call{Account: "111122223333", Caller: identity.UserCaller(user, "")},
		Check: service.Check{Action: "s3:GetObject", Target: service.Target{ARN: "arn:aws:s3:::b/k"}},
	}
	if d := Simulate(r, &Layers{}, nil); d != (Decision{Layer: IdentityPolicy}) {
		t.Errorf("by no policies: %+v", d)
	}
	if d := Simulate(r, &Layers{Trust: true, Identity: []Policy{{Document: user.Inline["all"]}}}, nil); d.Allowed || d.Layer != TrustPolicy {
		t.Errorf("a role without a trust policy: %+v", d)
	}
	if d := Simulate(r, &Layers{Bounded: true, Identity: []Policy{{Document: user.Inline["all"]}}}, nil); d.Allowed || d.Layer != Boundary {
		t.Errorf("a boundary that is gone: %+v", d)
	}
}

func TestSourceID(t *testing.T) {
	for _, test := range []struct {
		policy Policy
		want   string
	}{
		{Policy{Name: "inline policy own of user bob"}, "user_bob_own"},
		{Policy{Name: "arn:aws:iam::111122223333:policy/x/reader", ARN: "arn:aws:iam::111122223333:policy/x/reader"}, "reader"},
		{Policy{Name: "arn:aws:iam::aws:policy/service-role/A", ARN: "arn:aws:iam::aws:policy/service-role/A"}, "A"},
		{Policy{Name: "PolicyInputList.1"}, "PolicyInputList.1"},
		{Policy{Name: "policy of arn:aws:s3:::b"}, "policy of arn:aws:s3:::b"},
	} {
		if got := test.policy.SourceID(); got != test.want {
			t.Errorf("%s: %s, want %s", test.policy.Name, got, test.want)
		}
	}
}
