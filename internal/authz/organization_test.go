package authz

import (
	"fmt"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

const (
	management = "999900001111"
	sibling    = "888800001111"
)

// An org is an organisation in a store of its own: the root, the OU ou-1 and in it ou-2,
// where the account acct is; sibling is in the root, and other is of no organisation.
type org struct {
	t  testing.TB
	db *store.DB
}

func newOrg(t testing.TB) *org {
	t.Helper()
	db, err := store.Open(t.Context(), store.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	o := &org{t, db}
	o.update(func(tx *store.Tx) {
		identity.Organizations.Put(tx, "o-x", &identity.Organization{
			ID: "o-x", Management: management, FeatureSet: "ALL", Root: identity.Root{ID: "r-x"}, Generations: 2,
			Enabled: []identity.EnabledType{{Type: identity.ServiceControlPolicy, Generation: 1}, {Type: identity.ResourceControlPolicy, Generation: 2}},
		})
		identity.Units.Put(tx, "o-x/ou-1", &identity.Unit{ID: "ou-1", Parent: "r-x"})
		identity.Units.Put(tx, "o-x/ou-2", &identity.Unit{ID: "ou-2", Parent: "ou-1"})
		for id, parent := range map[string]string{management: "r-x", sibling: "r-x", acct: "ou-2"} {
			identity.Accounts.Put(tx, id, &identity.Account{ID: id, Membership: &identity.Membership{Organization: "o-x", Parent: parent}})
		}
		identity.Accounts.Put(tx, other, &identity.Account{ID: other})
	})
	return o
}

func (o *org) update(f func(*store.Tx)) {
	o.t.Helper()
	if err := o.db.Update(o.t.Context(), func(tx *store.Tx) error { f(tx); return nil }); err != nil {
		o.t.Fatal(err)
	}
}

// attach makes a policy and attaches it to the root, an OU or the account acct. bare
// takes FullAWSAccess away there.
func (o *org) attach(to, policyType, statement string, bare bool) {
	o.t.Helper()
	o.update(func(tx *store.Tx) {
		org := identity.Organizations.Get(tx, "o-x")
		org.Changes++
		id := fmt.Sprintf("p-%d", org.Changes)
		identity.OrganizationPolicies.Put(tx, "o-x/"+id, &identity.OrganizationPolicy{ID: id, Name: id, Type: policyType,
			Document: identity.NewDocument(`{"Version":"2012-10-17","Statement":` + statement + `}`)})
		add := func(t *identity.Target) {
			t.Attached = append(t.Attached, identity.Attachment{Policy: id, Generation: org.Generation(policyType)})
			if bare {
				t.Detached = org.Generation(policyType)
			}
		}
		switch to {
		case "r-x":
			add(&org.Root.Target)
		case acct:
			a := identity.Accounts.Get(tx, acct)
			add(&a.Membership.Target)
			identity.Accounts.Put(tx, acct, a)
		default:
			u := identity.Units.Get(tx, "o-x/"+to)
			add(&u.Target)
			identity.Units.Put(tx, "o-x/"+to, u)
		}
		identity.Organizations.Put(tx, "o-x", org)
	})
}

// ask decides on a call of somebody whose own policies allow everything.
func (o *org) ask(c *identity.Caller, action policy.Action, on arn.ARN, owner string) string {
	r := &Request{
		Call:    &service.Call{Account: c.Account, Caller: c, State: o.db.View(), Time: time.Unix(1_800_000_000, 0), Region: "us-east-1"},
		Service: &service.Service{}, Check: service.Check{Action: action, Target: service.Target{ARN: on}}, Object: service.Object{Account: owner},
	}
	if c.Account != owner && owner != "" {
		r.Object.Policy = identity.NewDocument(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}`)
	}
	d := Decide(r, nil)
	x := &Explanation{}
	if e := Decide(r, x); e.Allowed != d.Allowed || e.Layer != d.Layer || e.Explicit != d.Explicit {
		o.t.Errorf("the explanation changes the decision: %+v, %+v", d, e)
	}
	switch {
	case d.Allowed:
		return "allowed"
	case d.Explicit:
		return "denied by " + d.Layer.String()
	}
	return "no " + d.Layer.String()
}

func roleCaller(account, path string) *identity.Caller {
	r := &identity.Role{Role: api.Role{RoleName: "r", RoleId: "AROAX" + account, Path: path, Arn: "arn:aws:iam::" + account + ":role" + path + "r"},
		Inline: map[string]identity.Document{"p": identity.NewDocument(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)}}
	return &identity.Caller{Type: identity.AssumedRole, Account: account, Role: r, ARN: identity.AssumedRoleARN(account, "r", "s"), UserID: r.RoleId + ":s",
		Session: &identity.Session{Type: identity.AssumedRole, Account: account, Name: "s"}}
}

func TestOrganizationLevels(t *testing.T) {
	const (
		scp, rcp  = identity.ServiceControlPolicy, identity.ResourceControlPolicy
		denyGet   = `{"Effect":"Deny","Action":"s3:GetObject","Resource":"*"}`
		allowS3   = `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`
		allowEC2  = `{"Effect":"Allow","Action":"ec2:*","Resource":"*"}`
		rcpDeny   = `{"Effect":"Deny","Principal":"*","Action":["s3:GetObject","iam:*"],"Resource":"*"}`
		ifMFA     = `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"}}}`
		inRegion  = `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:RequestedRegion":"us-east-1"}}}`
		notS3     = `{"Effect":"Deny","NotAction":"iam:*","Resource":"*"}`
		notObject = `{"Effect":"Deny","Action":"s3:*","NotResource":"arn:aws:s3:::b/k"}`
		onlyOther = `{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::other/*"}`
	)
	type attachment struct {
		to, policyType, statement string
		bare                      bool
	}
	member, sib, boss, out := roleCaller(acct, "/"), roleCaller(sibling, "/"), roleCaller(management, "/"), roleCaller(other, "/")
	root := identity.RootCaller(acct, "AKIA")
	linked := roleCaller(acct, identity.ServiceLinkedPath+"ecs.amazonaws.com/")
	for _, test := range []struct {
		name     string
		attached []attachment
		caller   *identity.Caller
		owner    string
		want     string
	}{
		{"nothing but AWS's own", nil, member, acct, "allowed"},
		{"deny at the root", []attachment{{"r-x", scp, denyGet, false}}, member, acct, "denied by service control policy"},
		{"deny at the root, root user", []attachment{{"r-x", scp, denyGet, false}}, root, acct, "denied by service control policy"},
		{"deny at the root, sibling", []attachment{{"r-x", scp, denyGet, false}}, sib, sibling, "denied by service control policy"},
		{"deny at the root, management account", []attachment{{"r-x", scp, denyGet, false}}, boss, management, "allowed"},
		{"deny at the root, service-linked role", []attachment{{"r-x", scp, denyGet, false}}, linked, acct, "allowed"},
		{"deny at the root, of another organisation", []attachment{{"r-x", scp, denyGet, false}}, out, acct, "allowed"},
		{"deny at the OU", []attachment{{"ou-1", scp, denyGet, false}}, member, acct, "denied by service control policy"},
		{"deny at the OU, sibling outside of it", []attachment{{"ou-1", scp, denyGet, false}}, sib, sibling, "allowed"},
		{"deny at the account", []attachment{{acct, scp, denyGet, false}}, member, acct, "denied by service control policy"},
		{"deny at the account, at another's resource", []attachment{{acct, scp, denyGet, false}}, member, other, "denied by service control policy"},
		{"hole at the OU", []attachment{{"ou-1", scp, allowEC2, true}}, member, acct, "no service control policy"},
		{"hole at the OU, root user", []attachment{{"ou-1", scp, allowEC2, true}}, root, acct, "no service control policy"},
		{"hole at the inner OU, allowed at the account", []attachment{{"ou-2", scp, allowEC2, true}, {acct, scp, allowS3, false}}, member, acct, "no service control policy"},
		{"allow lists that agree at every level", []attachment{{"r-x", scp, allowS3, true}, {"ou-1", scp, allowS3, true}, {"ou-2", scp, allowS3, true}, {acct, scp, allowS3, true}}, member, acct, "allowed"},
		{"deny wins over an allow list", []attachment{{"ou-1", scp, allowS3, true}, {"r-x", scp, denyGet, false}}, member, acct, "denied by service control policy"},
		{"allow with a condition that is not met", []attachment{{"ou-1", scp, ifMFA, true}}, member, acct, "no service control policy"},
		{"allow with a condition that is met", []attachment{{"ou-1", scp, inRegion, true}}, member, acct, "allowed"},
		{"allow of another resource", []attachment{{"ou-1", scp, onlyOther, true}}, member, acct, "no service control policy"},
		{"deny with NotAction", []attachment{{"ou-1", scp, notS3, false}}, member, acct, "denied by service control policy"},
		{"deny with NotResource", []attachment{{"ou-1", scp, notObject, false}}, member, acct, "allowed"},

		{"RCP at the root", []attachment{{"r-x", rcp, rcpDeny, false}}, member, acct, "denied by resource control policy"},
		{"RCP at the account", []attachment{{acct, rcp, rcpDeny, false}}, member, acct, "denied by resource control policy"},
		{"RCP, root user", []attachment{{"ou-1", rcp, rcpDeny, false}}, root, acct, "denied by resource control policy"},
		{"RCP, somebody from outside", []attachment{{"ou-1", rcp, rcpDeny, false}}, out, acct, "denied by resource control policy"},
		{"RCP, the management account at a member's", []attachment{{"ou-1", rcp, rcpDeny, false}}, boss, acct, "denied by resource control policy"},
		{"RCP, at the management account's", []attachment{{"r-x", rcp, rcpDeny, false}}, member, management, "allowed"},
		{"RCP, at a resource from outside", []attachment{{"r-x", rcp, rcpDeny, false}}, member, other, "allowed"},
		{"RCP, service-linked role", []attachment{{"r-x", rcp, rcpDeny, false}}, linked, acct, "allowed"},
		{"RCP, of a sibling's", []attachment{{"ou-1", rcp, rcpDeny, false}}, member, sibling, "allowed"},
		{"SCP and RCP deny: AWS names the RCP", []attachment{{"r-x", rcp, rcpDeny, false}, {"r-x", scp, denyGet, false}}, member, acct, "denied by resource control policy"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := newOrg(t)
			before := o.ask(test.caller, "s3:GetObject", object, test.owner)
			if before != "allowed" {
				t.Fatalf("with nothing attached: %s", before)
			}
			for _, a := range test.attached {
				o.attach(a.to, a.policyType, a.statement, a.bare)
			}
			if got := o.ask(test.caller, "s3:GetObject", object, test.owner); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// Resource control policies reach the services that AWS's reference names, where a
// call is about a resource.
func TestResourceControlPoliciesReach(t *testing.T) {
	o := newOrg(t)
	o.attach("r-x", identity.ResourceControlPolicy, `{"Effect":"Deny","Principal":"*","Action":["s3:*","sts:*","iam:*","ec2:*"],"Resource":"*"}`, false)
	who := roleCaller(acct, "/")
	for _, test := range []struct {
		action policy.Action
		on     arn.ARN
		want   string
	}{
		{"s3:GetObject", object, "denied by resource control policy"},
		{"S3:getobject", object, "denied by resource control policy"},
		{"s3:ListAllMyBuckets", "*", "allowed"},
		{"iam:GetRole", "arn:aws:iam::" + acct + ":role/x", "allowed"},
		{"ec2:StopInstances", "arn:aws:ec2:us-east-1:" + acct + ":instance/i-1", "allowed"},
	} {
		owner := acct
		if got := o.ask(who, test.action, test.on, owner); got != test.want {
			t.Errorf("%s on %s: got %s, want %s", test.action, test.on, got, test.want)
		}
	}
}

// What should limit an account and cannot be found denies.
func TestOrganizationThatIsNotWhole(t *testing.T) {
	for name, lose := range map[string]func(*store.Tx){
		"a policy":         func(tx *store.Tx) { identity.OrganizationPolicies.Delete(tx, "o-x/p-1") },
		"an OU":            func(tx *store.Tx) { identity.Units.Delete(tx, "o-x/ou-1") },
		"the organisation": func(tx *store.Tx) { identity.Organizations.Delete(tx, "o-x") },
	} {
		o := newOrg(t)
		o.attach("ou-1", identity.ServiceControlPolicy, `{"Effect":"Allow","Action":"*","Resource":"*"}`, false)
		o.update(lose)
		if got := o.ask(roleCaller(acct, "/"), "s3:GetObject", object, acct); got != "denied by service control policy" && got != "denied by resource control policy" {
			t.Errorf("without %s: got %s", name, got)
		}
	}
}

// Nobody comes at what a closed account has.
func TestClosedAccount(t *testing.T) {
	o := newOrg(t)
	o.update(func(tx *store.Tx) {
		for _, id := range []string{acct, other} { // in an organisation and in none
			a := identity.Accounts.Get(tx, id)
			a.Closed = time.Unix(1_700_000_000, 0)
			identity.Accounts.Put(tx, id, a)
		}
	})
	for _, owner := range []string{acct, other} {
		for _, who := range []*identity.Caller{roleCaller(sibling, "/"), roleCaller(management, "/"), {}} {
			if got := o.ask(who, "s3:GetObject", object, owner); got != "denied by resource-based policy" {
				t.Errorf("%s at account %s: got %s", who.ARN, owner, got)
			}
		}
	}
}

func TestOrganizationKeys(t *testing.T) {
	o := newOrg(t)
	for _, test := range []struct {
		caller, owner string
		on            arn.ARN
		source        string
		key, want     string // "" is absent
	}{
		{acct, acct, object, "", "aws:principalorgid", "o-x"},
		{other, acct, object, "", "aws:principalorgid", ""},
		{acct, acct, object, "", "aws:principalorgpaths", "o-x/r-x/ou-1/ou-2/"},
		{management, acct, object, "", "aws:principalorgpaths", "o-x/r-x/"},
		{other, acct, object, "", "aws:resourceorgid", "o-x"},
		{acct, other, object, "", "aws:resourceorgid", ""},
		{acct, acct, "*", "", "aws:resourceorgid", ""},
		{other, acct, object, "", "aws:resourceorgpaths", "o-x/r-x/ou-1/ou-2/"},
		{other, other, object, "", "aws:sourceorgid", ""},
		{other, other, object, acct, "aws:sourceorgid", "o-x"},
		{other, other, object, other, "aws:sourceorgid", ""},
		{other, other, object, sibling, "aws:sourceorgpaths", "o-x/r-x/"},
	} {
		r := &Request{Call: &service.Call{Account: test.caller, Caller: roleCaller(test.caller, "/"), State: o.db.View()},
			Check: service.Check{Action: "s3:GetObject", Target: service.Target{ARN: test.on}}, Object: service.Object{Account: test.owner}}
		if test.source != "" {
			r.Check.Pairs = []service.Pair{service.Is("aws:SourceAccount", test.source)}
		}
		v, ok := r.Value(test.key)
		got := ""
		if ok {
			got = v.Strings()[0]
		}
		if got != test.want {
			t.Errorf("%s of %s at %s (source %q): got %q, want %q", test.key, test.caller, test.owner, test.source, got, test.want)
		}
	}
}

// BenchmarkOrganization is a decision with four levels of service control policies and
// of resource control policies.
func BenchmarkOrganization(b *testing.B) {
	o := newOrg(b)
	for _, to := range []string{"r-x", "ou-1", acct} {
		o.attach(to, identity.ServiceControlPolicy, `{"Effect":"Deny","Action":"iam:*","Resource":"*","Condition":{"StringNotEquals":{"aws:PrincipalOrgID":"o-x"}}}`, false)
	}
	who := roleCaller(acct, "/")
	r := &Request{Call: &service.Call{Account: acct, Caller: who, State: o.db.View(), Time: time.Now(), Region: "us-east-1"}, Service: &service.Service{},
		Check: service.Check{Action: "s3:GetObject", Target: service.Target{ARN: object}}, Object: service.Object{Account: acct}}
	if !Decide(r, nil).Allowed {
		b.Fatal("refused")
	}
	b.ReportAllocs()
	for b.Loop() {
		Decide(r, nil)
	}
}
