package authz_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/authz"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// BenchmarkDecide is a decision as the server asks for it: a user in two groups,
// ten managed policies in all, a permissions boundary and a condition on the
// caller's address; the caller and all policies are found in the snapshot.
func BenchmarkDecide(b *testing.B) {
	db, err := store.Open(b.Context(), store.NewMemory())
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	const account = "111122223333"
	var attached []arn.ARN
	err = db.Update(b.Context(), func(tx *store.Tx) error {
		for i := range 10 {
			name := fmt.Sprintf("policy-%d", i)
			a := "arn:aws:iam::" + account + ":policy/" + name
			attached = append(attached, arn.ARN(a))
			identity.Policies.Put(tx, identity.Key(account, name), &identity.Policy{
				Policy: api.Policy{PolicyName: name, Arn: a, DefaultVersionId: "v1"},
				Versions: []identity.Version{{ID: "v1", Document: identity.NewDocument(fmt.Sprintf(`{"Version":"2012-10-17","Statement":[
					{"Effect":"Allow","Action":["s3:Get*","s3:ListBucket"],"Resource":["arn:aws:s3:::bucket-%d/*","arn:aws:s3:::bucket-%d"],
					 "Condition":{"IpAddress":{"aws:SourceIp":["10.0.0.0/8","127.0.0.0/8"]}}},
					{"Effect":"Deny","Action":"s3:Delete*","Resource":"arn:aws:s3:::*/protected/*"}]}`, i, i))}},
			})
		}
		boundary := "arn:aws:iam::" + account + ":policy/boundary"
		identity.Policies.Put(tx, identity.Key(account, "boundary"), &identity.Policy{
			Policy:   api.Policy{PolicyName: "boundary", Arn: boundary, DefaultVersionId: "v1"},
			Versions: []identity.Version{{ID: "v1", Document: identity.NewDocument(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`)}},
		})
		for i := range 2 {
			name := fmt.Sprintf("group-%d", i)
			identity.Groups.Put(tx, identity.Key(account, name), &identity.Group{Group: api.Group{GroupName: name}, Attached: attached[4+3*i : 7+3*i]})
		}
		identity.Users.Put(tx, identity.Key(account, "alice"), &identity.User{
			User: api.User{UserName: "alice", UserId: "AIDAALICE", Arn: "arn:aws:iam::" + account + ":user/alice",
				PermissionsBoundary: &api.AttachedPermissionsBoundary{PermissionsBoundaryArn: boundary}},
			Attached: attached[:4],
			Groups:   []string{identity.Key(account, "group-0"), identity.Key(account, "group-1")},
		})
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	state := db.View()
	caller := identity.UserCaller(identity.Users.Get(state, identity.Key(account, "alice")), "AKIA")
	call := &service.Call{Account: account, Caller: caller, State: state, Time: time.Now(), Region: "us-east-1"}
	call.Source.IP = netip.MustParseAddr("127.0.0.1")
	r := &authz.Request{Call: call, Service: &service.Service{}, Object: service.Object{Account: account},
		Check: service.Check{Action: "s3:GetObject", Target: service.Target{ARN: "arn:aws:s3:::bucket-9/reports/q3"}}}
	if !authz.Decide(r, nil).Allowed {
		b.Fatal("refused")
	}
	b.Run("decision", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			authz.Decide(r, nil)
		}
	})
	b.Run("explained", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			authz.Decide(r, &authz.Explanation{})
		}
	})

	// The same call with every kind of policy: a session with a policy of its own, service
	// and resource control policies on three levels, a bucket policy.
	err = db.Update(b.Context(), func(tx *store.Tx) error {
		o := &identity.Organization{ID: "o-bench", Management: "999999999999", FeatureSet: "ALL",
			Root: identity.Root{ID: "r-bench"}, Generations: 2,
			Enabled: []identity.EnabledType{{Type: identity.ServiceControlPolicy, Generation: 1}, {Type: identity.ResourceControlPolicy, Generation: 2}}}
		identity.Organizations.Put(tx, o.ID, o)
		identity.Units.Put(tx, o.Key("ou-bench"), &identity.Unit{ID: "ou-bench", Name: "unit", Parent: "r-bench"})
		identity.Accounts.Put(tx, account, &identity.Account{ID: account, Membership: &identity.Membership{Organization: "o-bench", Parent: "ou-bench"}})
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	everything, all := *call, *r
	everything.State = db.View()
	everything.Caller = &identity.Caller{Type: identity.IAMUser, Account: account, ARN: caller.ARN, UserID: caller.UserID, User: caller.User,
		Session: &identity.Session{Type: identity.IAMUser, Account: account, Name: "s",
			Policy: identity.NewDocument(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:Get*","Resource":"arn:aws:s3:::bucket-*"}}`)}}
	all.Call = &everything
	all.Object.Policy = identity.NewDocument(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::bucket-9/*","Condition":{"Bool":{"aws:SecureTransport":"true"}}}}`)
	var x authz.Explanation
	if !authz.Decide(&all, &x).Allowed || len(x.Layers) != 10 {
		b.Fatalf("%s, from %d layers", x.Reason, len(x.Layers))
	}
	b.Run("everything", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			authz.Decide(&all, nil)
		}
	})
}
