package authz

import (
	"fmt"
	"testing"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/policy"
)

const (
	acct    = "111122223333"
	other   = "444455556666"
	role    = "arn:aws:iam::111122223333:role/path/reader"
	session = "arn:aws:sts::111122223333:assumed-role/reader/s1"
	alice   = "arn:aws:iam::111122223333:user/alice"
	fed     = "arn:aws:sts::111122223333:federated-user/bob"
	object  = "arn:aws:s3:::b/k"
	oidc    = "arn:aws:iam::111122223333:oidc-provider/a.example"
)

func doc(text string) Policy { return Policy{Name: "p", Document: identity.NewDocument(text)} }

func allow(action string) Policy {
	return doc(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"` + action + `","Resource":"*"}}`)
}

func deny(action string) Policy {
	return doc(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"` + action + `","Resource":"*"}}`)
}

func grant(principal string) *Policy {
	p := doc(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":` + principal + `,"Action":"s3:GetObject","Resource":"*"}}`)
	return &p
}

// who are the callers of the tests.
var who = map[string]struct {
	kind identity.CallerType
	p    policy.Principal
}{
	"user":      {identity.IAMUser, policy.Principal{Account: acct, ARN: alice, ID: "AIDAALICE"}},
	"role":      {identity.AssumedRole, policy.Principal{Account: acct, ARN: session, Role: role, ID: "AROAREADER"}},
	"federated": {identity.FederatedUser, policy.Principal{Account: acct, ARN: fed, User: alice}},
	"root":      {identity.RootUser, policy.Principal{Account: acct, ARN: arn.ARN("arn:aws:iam::" + acct + ":root")}},
	"anonymous": {identity.Anonymous, policy.Principal{}},
	"service":   {identity.AWSService, policy.Principal{Service: "ec2.amazonaws.com"}},
	"web":       {identity.WebIdentityUser, policy.Principal{Federated: oidc}},
	"saml":      {identity.SAMLUser, policy.Principal{Federated: "arn:aws:iam::111122223333:saml-provider/adfs"}},
}

func ask1(l Layers, caller string, same bool) Decision {
	w := who[caller]
	if caller == "root" {
		l.Unlimited = true
	}
	q := policy.Request{Principal: w.p, Bounded: l.Bounded, Action: "s3:GetObject", Resource: object,
		Context: policy.Keys{"aws:principalarn": policy.String(string(w.p.Role))}}
	plain := combine(&l, &q, same, w.kind, nil)
	explained := combine(&l, &q, same, w.kind, &Explanation{})
	if plain.Allowed != explained.Allowed || plain.Layer != explained.Layer || plain.Explicit != explained.Explicit {
		panic(fmt.Sprintf("the explanation changes the decision: %v, %v", plain, explained))
	}
	return plain
}

// What real AWS answered in 2021 for a role with a permissions boundary, by which
// of boundary, role policy and resource policy allow: the published table of
// verified results. A is allowed, D denied.
func TestVerifiedBoundaryTable(t *testing.T) {
	columns := []string{"--A", "-AA", "AA-", "A-A", "AAA", "A--", "-A-"}
	conditional := func(principal string) *Policy {
		p := doc(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":"s3:GetObject","Resource":"*",
			"Condition":{"ArnEquals":{"aws:PrincipalArn":"` + role + `"}}}}`)
		return &p
	}
	for _, row := range []struct {
		name     string
		resource *Policy
		want     string
	}{
		{"role ARN", grant(`{"AWS":"` + role + `"}`), "DDAAADD"},
		{"session ARN", grant(`{"AWS":"` + session + `"}`), "AAAAADD"},
		{"account and aws:PrincipalArn", conditional(acct), "DDADADD"},
		{"* and aws:PrincipalArn", conditional("*"), "AAAAADD"},
	} {
		for i, column := range columns {
			l := Layers{Bounded: true}
			none := allow("ec2:StopInstances")
			l.Boundary = &none
			if column[0] == 'A' {
				all := allow("*")
				l.Boundary = &all
			}
			if column[1] == 'A' {
				l.Identity = []Policy{allow("s3:*")}
			}
			if column[2] == 'A' {
				l.Resource = row.resource
			}
			got := "D"
			if ask1(l, "role", true).Allowed {
				got = "A"
			}
			if want := row.want[i : i+1]; got != want {
				t.Errorf("resource policy names %s, boundary/role/resource %s: got %s, AWS answers %s", row.name, column, got, want)
			}
		}
	}
}

// Each row: who calls, from the resource's account or another, what the layers
// say, and the decision with the layer that AWS names.
func TestCombine(t *testing.T) {
	const no = "ec2:StopInstances"
	for _, c := range []struct {
		name     string
		caller   string
		cross    bool
		identity string // action that the identity-based policy allows
		boundary string
		session  string
		resource string // Principal of the resource policy's Allow
		trust    bool
		denyIn   Layer
		scp, rcp []string // action allowed at each level
		want     string
	}{
		{name: "nothing", caller: "user", want: "no identity-based policy"},
		{name: "identity", caller: "user", identity: "s3:*", want: "allow by identity-based policy"},
		{name: "boundary without the action", caller: "user", identity: "s3:*", boundary: no, want: "no permissions boundary"},
		{name: "session policy without the action", caller: "role", identity: "s3:*", session: no, want: "no session policy"},
		{name: "all three", caller: "role", identity: "s3:*", boundary: "s3:*", session: "s3:Get*", want: "allow by identity-based policy"},

		{name: "user ARN needs no identity policy", caller: "user", resource: `{"AWS":"` + alice + `"}`, want: "allow by resource-based policy"},
		{name: "user ARN is not limited by the boundary", caller: "user", boundary: no, resource: `{"AWS":"` + alice + `"}`, want: "allow by resource-based policy"},
		{name: "role ARN is limited by the session policy", caller: "role", session: no, resource: `{"AWS":"` + role + `"}`, want: "no session policy"},
		{name: "role ARN is limited by the boundary", caller: "role", boundary: no, resource: `{"AWS":"` + role + `"}`, want: "no permissions boundary"},
		{name: "session ARN is not limited by the session policy", caller: "role", session: no, resource: `{"AWS":"` + session + `"}`, want: "allow by resource-based policy"},
		{name: "federated-user ARN is not limited", caller: "federated", session: no, resource: `{"AWS":"` + fed + `"}`, want: "allow by resource-based policy"},
		{name: "the federating user's ARN is limited", caller: "federated", session: no, resource: `{"AWS":"` + alice + `"}`, want: "no session policy"},
		{name: "the account only delegates", caller: "user", resource: `{"AWS":"` + acct + `"}`, want: "no identity-based policy"},
		{name: "the account's root ARN only delegates", caller: "user", resource: `{"AWS":"arn:aws:iam::` + acct + `:root"}`, want: "no identity-based policy"},
		{name: "everyone", caller: "user", resource: `"*"`, want: "allow by resource-based policy"},
		{name: "someone else", caller: "user", resource: `{"AWS":"arn:aws:iam::` + acct + `:user/mallory"}`, want: "no identity-based policy"},

		{name: "cross account: only the identity", caller: "user", cross: true, identity: "s3:*", want: "no resource-based policy"},
		{name: "cross account: only the resource", caller: "user", cross: true, resource: `{"AWS":"` + alice + `"}`, want: "no identity-based policy"},
		{name: "cross account: only everyone", caller: "user", cross: true, resource: `"*"`, want: "no identity-based policy"},
		{name: "cross account: both by account", caller: "user", cross: true, identity: "s3:*", resource: `{"AWS":"` + acct + `"}`, want: "allow by identity-based policy"},
		{name: "cross account: both by user", caller: "user", cross: true, identity: "s3:*", resource: `{"AWS":"` + alice + `"}`, want: "allow by identity-based policy"},
		{name: "cross account: boundary limits", caller: "user", cross: true, identity: "s3:*", boundary: no, resource: `{"AWS":"` + alice + `"}`, want: "no permissions boundary"},
		{name: "cross account: session ARN, session policy limits", caller: "role", cross: true, identity: "s3:*", session: no, resource: `{"AWS":"` + session + `"}`, want: "no session policy"},
		{name: "cross account: the other account's root", caller: "root", cross: true, resource: `{"AWS":"` + acct + `"}`, want: "allow by identity-based policy"},
		{name: "cross account: root without a grant", caller: "root", cross: true, want: "no resource-based policy"},

		{name: "trust: identity alone", caller: "user", identity: "*", trust: true, want: "no role trust policy"},
		{name: "trust: account alone", caller: "user", resource: `{"AWS":"` + acct + `"}`, trust: true, want: "no identity-based policy"},
		{name: "trust: account and identity", caller: "user", identity: "*", resource: `{"AWS":"` + acct + `"}`, trust: true, want: "allow by identity-based policy"},
		{name: "trust: user named", caller: "user", resource: `{"AWS":"` + alice + `"}`, trust: true, want: "allow by role trust policy"},
		{name: "trust: user named by unique id", caller: "user", resource: `{"AWS":"AIDAALICE"}`, trust: true, want: "allow by role trust policy"},
		{name: "trust: another user's unique id", caller: "user", resource: `{"AWS":"AIDAMALLORY"}`, trust: true, identity: "*", want: "no role trust policy"},
		{name: "trust: user named, boundary without the action", caller: "user", boundary: no, resource: `{"AWS":"` + alice + `"}`, trust: true, want: "no permissions boundary"},
		{name: "trust: role named by unique id, boundary limits", caller: "role", boundary: no, resource: `{"AWS":"AROAREADER"}`, trust: true, want: "no permissions boundary"},
		{name: "trust across accounts: trust alone", caller: "user", cross: true, resource: `{"AWS":"` + alice + `"}`, trust: true, want: "no identity-based policy"},
		{name: "trust across accounts: identity alone", caller: "user", cross: true, identity: "*", trust: true, want: "no role trust policy"},
		{name: "trust across accounts: both", caller: "user", cross: true, identity: "*", resource: `{"AWS":"` + acct + `"}`, trust: true, want: "allow by identity-based policy"},

		{name: "root needs nothing", caller: "root", want: "allow by identity-based policy"},
		{name: "root is denied by the resource", caller: "root", denyIn: ResourcePolicy, want: "deny in resource-based policy"},
		{name: "root is limited by SCPs", caller: "root", scp: []string{"*", no}, want: "no service control policy"},
		{name: "anonymous: everyone", caller: "anonymous", cross: true, resource: `"*"`, want: "allow by resource-based policy"},
		{name: "anonymous: an account", caller: "anonymous", cross: true, resource: `{"AWS":"` + acct + `"}`, want: "no resource-based policy"},
		{name: "anonymous: nothing", caller: "anonymous", cross: true, want: "no resource-based policy"},
		{name: "service named", caller: "service", cross: true, resource: `{"Service":"ec2.amazonaws.com"}`, want: "allow by resource-based policy"},
		{name: "another service named", caller: "service", cross: true, resource: `{"Service":"lambda.amazonaws.com"}`, want: "no resource-based policy"},

		{name: "web identity: its provider", caller: "web", cross: true, resource: `{"Federated":"` + oidc + `"}`, trust: true, want: "allow by role trust policy"},
		{name: "web identity: another provider", caller: "web", cross: true, resource: `{"Federated":"` + oidc + `/x"}`, trust: true, want: "no role trust policy"},
		{name: "web identity: everyone", caller: "web", cross: true, resource: `"*"`, trust: true, want: "no role trust policy"},
		{name: "web identity: everyone that AWS knows", caller: "web", cross: true, resource: `{"AWS":"*"}`, trust: true, want: "no role trust policy"},
		{name: "web identity: no trust policy", caller: "web", cross: true, trust: true, identity: "*", want: "no role trust policy"},
		{name: "web identity: only in trust policies", caller: "web", cross: true, resource: `{"Federated":"` + oidc + `"}`, want: "no resource-based policy"},
		{name: "web identity: denied as everyone is", caller: "web", cross: true, trust: true, denyIn: ResourcePolicy, want: "deny in role trust policy"},
		{name: "web identity: an RCP", caller: "web", cross: true, resource: `{"Federated":"` + oidc + `"}`, trust: true, rcp: []string{no}, want: "no resource control policy"},
		{name: "SAML: its provider", caller: "saml", cross: true, resource: `{"Federated":"arn:aws:iam::111122223333:saml-provider/adfs"}`, trust: true, want: "allow by role trust policy"},
		{name: "SAML: an OpenID Connect provider", caller: "saml", cross: true, resource: `{"Federated":"` + oidc + `"}`, trust: true, want: "no role trust policy"},

		{name: "deny in identity", caller: "user", identity: "*", denyIn: IdentityPolicy, want: "deny in identity-based policy"},
		{name: "deny in identity wins over a direct grant", caller: "user", denyIn: IdentityPolicy, resource: `"*"`, want: "deny in identity-based policy"},
		{name: "deny in the boundary wins over a direct grant", caller: "user", denyIn: Boundary, resource: `{"AWS":"` + alice + `"}`, want: "deny in permissions boundary"},
		{name: "deny in the session policy wins over a session grant", caller: "role", denyIn: SessionPolicy, resource: `{"AWS":"` + session + `"}`, want: "deny in session policy"},
		{name: "deny in an SCP", caller: "user", identity: "*", denyIn: SCP, want: "deny in service control policy"},
		{name: "deny in an RCP", caller: "root", denyIn: RCP, want: "deny in resource control policy"},
		{name: "SCP: every level allows", caller: "user", identity: "*", scp: []string{"*", "s3:*", "*"}, want: "allow by identity-based policy"},
		{name: "SCP: one level does not", caller: "user", identity: "*", scp: []string{"*", no, "*"}, want: "no service control policy"},
		{name: "SCP grants nothing", caller: "user", scp: []string{"*"}, want: "no identity-based policy"},
		{name: "RCP: one level does not", caller: "user", identity: "*", rcp: []string{"*", no}, want: "no resource control policy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var l Layers
			if c.identity != "" {
				l.Identity = append(l.Identity, allow(c.identity))
			}
			if c.boundary != "" {
				p := allow(c.boundary)
				l.Boundary, l.Bounded = &p, true
			}
			if c.session != "" {
				l.Session, l.Sessioned = []Policy{allow(c.session)}, true
			}
			if c.resource != "" {
				l.Resource = grant(c.resource)
			}
			l.Trust = c.trust
			for _, a := range c.scp {
				l.SCP = append(l.SCP, []Policy{allow(a)})
			}
			for _, a := range c.rcp {
				l.RCP = append(l.RCP, []Policy{allow(a)})
			}
			both := doc(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"s3:GetObject","Resource":"*"}]}`)
			switch c.denyIn {
			case IdentityPolicy:
				l.Identity = append(l.Identity, deny("s3:*"))
			case Boundary:
				l.Boundary, l.Bounded = &both, true
			case SessionPolicy:
				l.Session, l.Sessioned = []Policy{both}, true
			case SCP:
				l.SCP = [][]Policy{{both}}
			case RCP:
				l.RCP = [][]Policy{{both}}
			case ResourcePolicy:
				p := doc(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}}`)
				l.Resource = &p
			}
			d := ask1(l, c.caller, !c.cross)
			got := "no " + d.Layer.String()
			switch {
			case d.Allowed:
				got = "allow by " + d.Layer.String()
			case d.Explicit:
				got = "deny in " + d.Layer.String()
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// A boundary whose policy is gone, and session policies that are gone, allow nothing.
func TestMissingLimitsAllowNothing(t *testing.T) {
	if d := ask1(Layers{Identity: []Policy{allow("*")}, Bounded: true}, "user", true); d.Allowed || d.Layer != Boundary {
		t.Errorf("a boundary without a document: got %+v, want a refusal by the boundary", d)
	}
	if d := ask1(Layers{Identity: []Policy{allow("*")}, Sessioned: true}, "role", true); d.Allowed || d.Layer != SessionPolicy {
		t.Errorf("session policies without a document: got %+v, want a refusal by the session policy", d)
	}
}

// A document that cannot be read denies, whichever layer it is in.
func TestBrokenDocumentDenies(t *testing.T) {
	broken := doc(`{"Version":"2012-10-17","Statement":`)
	for name, l := range map[string]Layers{
		"identity": {Identity: []Policy{allow("*"), broken}},
		"boundary": {Identity: []Policy{allow("*")}, Boundary: &broken, Bounded: true},
		"resource": {Identity: []Policy{allow("*")}, Resource: &broken},
	} {
		if d := ask1(l, "user", true); !d.Explicit {
			t.Errorf("a broken document in the %s layer: got %+v, want an explicit deny", name, d)
		}
	}
}

// Whatever the layers are, adding a Deny, a boundary, a session policy or an SCP never allows more.
func TestLimitsOnlyLimit(t *testing.T) {
	principals := []string{"", `"*"`, `{"Federated":"` + oidc + `"}`, `{"AWS":"` + alice + `"}`, `{"AWS":"` + role + `"}`, `{"AWS":"` + session + `"}`, `{"AWS":"` + acct + `"}`}
	for caller := range who {
		for _, same := range []bool{true, false} {
			for _, principal := range principals {
				for _, trust := range []bool{false, true} {
					for _, action := range []string{"", "s3:*"} {
						l := Layers{Trust: trust}
						if principal != "" {
							l.Resource = grant(principal)
						}
						if action != "" {
							l.Identity = []Policy{allow(action)}
						}
						if ask1(l, caller, same).Allowed {
							continue
						}
						none := allow("ec2:*")
						for name, limit := range map[string]func(*Layers){
							"a Deny":            func(l *Layers) { l.Identity = append(l.Identity, deny("ec2:*")) },
							"a boundary":        func(l *Layers) { l.Boundary, l.Bounded = &none, true },
							"a session policy":  func(l *Layers) { l.Session, l.Sessioned = []Policy{none}, true },
							"an SCP":            func(l *Layers) { l.SCP = [][]Policy{{none}} },
							"an SCP allowing *": func(l *Layers) { l.SCP = [][]Policy{{allow("*")}} },
						} {
							more := l
							more.Identity = append([]Policy(nil), l.Identity...)
							limit(&more)
							if ask1(more, caller, same).Allowed {
								t.Errorf("%s, principal %s, same account %v: %s allowed more", caller, principal, same, name)
							}
						}
					}
				}
			}
		}
	}
}
