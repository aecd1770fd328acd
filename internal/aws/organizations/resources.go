package organizations

import (
	"reflect"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/organizations/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

// What a call is about: given the type of the operation's input, a function that
// finds it in the caller's organisation.
type targets func(in reflect.Type) func(*service.Call, *identity.Organization, any) []service.Target

// resource is the targets for a row. The permission is the caller's account's to
// give: that the ARNs carry the management account makes it no call across accounts.
func (t targets) resource(in reflect.Type) func(*service.Call, any) []service.Target {
	find := t(in)
	return func(c *service.Call, in any) []service.Target {
		all := find(c, orNone(c), in)
		for i := range all {
			all[i].Home = true
		}
		return all
	}
}

// orNone is the caller's organisation. A call from an account of none is authorised
// on ARNs of one that is not, before it is told so.
func orNone(c *service.Call) *identity.Organization {
	if o, _ := identity.OrganizationOf(c.State, c.Account); o != nil {
		return o
	}
	return &identity.Organization{ID: "o-none", Management: c.Account}
}

// anything is for actions without resource-level permissions.
func anything(reflect.Type) func(*service.Call, *identity.Organization, any) []service.Target {
	return func(*service.Call, *identity.Organization, any) []service.Target { return []service.Target{{ARN: "*"}} }
}

// of is the targets that a function finds.
func of[In any](f func(*service.Call, *identity.Organization, *In) []service.Target) targets {
	return func(reflect.Type) func(*service.Call, *identity.Organization, any) []service.Target {
		return func(c *service.Call, o *identity.Organization, in any) []service.Target { return f(c, o, in.(*In)) }
	}
}

// one is what the fields name by id, each of them a target.
func one(fields ...string) targets {
	return func(in reflect.Type) func(*service.Call, *identity.Organization, any) []service.Target {
		texts := make([]func(any) string, len(fields))
		for i := range fields {
			texts[i] = text(in, fields[i])
		}
		return func(c *service.Call, o *identity.Organization, in any) []service.Target {
			all := make([]service.Target, len(texts))
			for i := range texts {
				all[i].ARN = arnOf(c.State, o, texts[i](in))
			}
			return all
		}
	}
}

// parent is the root or the OU that a field names.
func parent(field string) targets {
	return func(in reflect.Type) func(*service.Call, *identity.Organization, any) []service.Target {
		get := text(in, field)
		return func(c *service.Call, o *identity.Organization, in any) []service.Target {
			kind := "ou"
			if id := get(in); strings.HasPrefix(id, "r-") {
				kind = "root"
			}
			return []service.Target{{ARN: o.ARN(kind, get(in))}}
		}
	}
}

// text reads a field of an input by name.
func text(in reflect.Type, name string) func(any) string {
	f, ok := in.FieldByName(name)
	if !ok || f.Type.Kind() != reflect.String {
		panic("organizations: " + in.Name() + " has no text " + name)
	}
	return func(in any) string { return reflect.ValueOf(in).Elem().FieldByIndex(f.Index).String() }
}

// arnOf is the ARN of what an id names, whether it exists or not.
func arnOf(r store.Reader, o *identity.Organization, id string) arn.ARN {
	prefix, _, _ := strings.Cut(id, "-")
	switch prefix {
	case "r":
		return o.ARN("root", id)
	case "ou":
		return o.ARN("ou", id)
	case "rp":
		return o.ARN("resourcepolicy", id)
	case "p":
		if p := o.Policy(r, id); p != nil {
			return o.PolicyARN(p)
		}
		return o.ARN("policy", "none/"+id)
	}
	return o.ARN("account", id)
}

func organizationARN(o *identity.Organization) arn.ARN {
	return arn.ARN("arn:aws:organizations::" + o.Management + ":organization/" + o.ID)
}

// What is to be made has no id yet: it is authorised on one that stands for any.
var newPolicy = of(func(_ *service.Call, o *identity.Organization, in *api.CreatePolicyInput) []service.Target {
	return []service.Target{{ARN: o.ARN("policy", strings.ToLower(in.Type)+"/p-*"), New: true}}
})

// taggingNew is the second permission that tags of what is to be made need.
func taggingNew(kind string) service.Clause {
	id := map[string]string{"account": "*", "ou": "ou-*"}[kind]
	return tagging(func(reflect.Type) func(*service.Call, *identity.Organization, any) []service.Target {
		return func(_ *service.Call, o *identity.Organization, _ any) []service.Target {
			return []service.Target{{ARN: o.ARN(kind, id), New: true}}
		}
	})
}

var taggingNewPolicy = tagging(newPolicy)

func tagging(on targets) service.Clause {
	return service.Also("organizations:TagResource", on.resource, service.When("Tags"), service.Tags("Tags"))
}

var invited = of(func(_ *service.Call, o *identity.Organization, in *api.InviteAccountToOrganizationInput) []service.Target {
	return []service.Target{{ARN: o.ARN("account", in.Target.Id), New: true}}
})

var resourcePolicy = of(func(_ *service.Call, o *identity.Organization, in *api.PutResourcePolicyInput) []service.Target {
	if o.ResourcePolicy != nil {
		return []service.Target{{ARN: o.ARN("resourcepolicy", o.ResourcePolicy.ID)}}
	}
	return []service.Target{{ARN: o.ARN("resourcepolicy", "rp-*"), New: true}}
})

// effectiveTarget is the account whose effective policy is asked for: the caller's, if
// none is named.
var effectiveTarget = of(func(c *service.Call, o *identity.Organization, in *api.DescribeEffectivePolicyInput) []service.Target {
	if in.TargetId != "" {
		return []service.Target{{ARN: arnOf(c.State, o, in.TargetId)}}
	}
	return []service.Target{{ARN: o.ARN("account", c.Account)}}
})

// handshakeNamed is the handshake with the id in HandshakeId, of whatever organisation
// it is: who is invited is of none yet.
func handshakeNamed(in reflect.Type) func(*service.Call, any) []service.Target {
	get := text(in, "HandshakeId")
	return func(c *service.Call, in any) []service.Target {
		a := orNone(c).ARN("handshake", "invite/"+get(in))
		if h := handshakes.Get(c.State, get(in)); h != nil && h.concerns(c.Account) {
			a = h.arn()
		}
		return []service.Target{{ARN: a, Home: true}}
	}
}

// The type of the policy that a call is about, given the input's type.
type policyTypes func(in reflect.Type) func(store.Reader, *identity.Organization, any) string

// typeIn is the type that a field names.
func typeIn(field string) policyTypes {
	return func(in reflect.Type) func(store.Reader, *identity.Organization, any) string {
		get := text(in, field)
		return func(_ store.Reader, _ *identity.Organization, in any) string { return get(in) }
	}
}

// typeOf is the type of the policy that a field names.
func typeOf(field string) policyTypes {
	return func(in reflect.Type) func(store.Reader, *identity.Organization, any) string {
		get := text(in, field)
		return func(r store.Reader, o *identity.Organization, in any) string {
			if id := get(in); strings.HasPrefix(id, "p-") {
				if p := o.Policy(r, id); p != nil {
					return p.Type
				}
			}
			return ""
		}
	}
}

// object is what authorisation may know of what an ARN names: its tags, and for
// callers who are not of the management account the organisation's resource policy.
func object(state *store.Snapshot, _ policy.Action, a arn.ARN) service.Object {
	var on service.Object
	parts := strings.Split(a.Resource(), "/")
	if len(parts) < 2 {
		return on
	}
	o := identity.Organizations.Get(state, parts[1])
	if o == nil || o.Management != a.Account() {
		return on
	}
	if t := find(state, o, parts[len(parts)-1]); t != nil {
		on = service.Tagged(*t.tags, func(t identity.Tag) (string, string) { return t.Key, t.Value })
	}
	if o.ResourcePolicy != nil {
		on.Policy = o.ResourcePolicy.Document
	}
	return on
}

// A thing is what an id of an organisation names.
type thing struct {
	kind   string // ROOT, ORGANIZATIONAL_UNIT, ACCOUNT; "" for policies
	name   string
	tags   *[]identity.Tag
	target *identity.Target // nil for policies
	keep   func(*store.Tx)  // writes what was changed of it
}

// find finds what an id names; nil when there is no such thing. What is found in a
// snapshot must not be changed.
func find(r store.Reader, o *identity.Organization, id string) *thing {
	organization := func(*store.Tx) {} // is kept by change
	switch prefix, _, _ := strings.Cut(id, "-"); prefix {
	case "r":
		if id == o.Root.ID {
			return &thing{"ROOT", "Root", &o.Root.Tags, &o.Root.Target, organization}
		}
	case "ou":
		if u := identity.Units.Get(r, o.Key(id)); u != nil {
			return &thing{"ORGANIZATIONAL_UNIT", u.Name, &u.Tags, &u.Target, func(tx *store.Tx) { identity.Units.Put(tx, o.Key(id), u) }}
		}
	case "p":
		if p := o.Policy(r, id); p != nil {
			return &thing{"", p.Name, &p.Tags, nil, func(tx *store.Tx) { identity.OrganizationPolicies.Put(tx, o.Key(id), p) }}
		}
	case "rp":
		if o.ResourcePolicy != nil && id == o.ResourcePolicy.ID {
			return &thing{"", "", &o.ResourcePolicy.Tags, nil, organization}
		}
	default:
		if a := member(r, o, id); a != nil {
			return &thing{"ACCOUNT", nameOf(a), &a.Membership.Tags, &a.Membership.Target, func(tx *store.Tx) { identity.Accounts.Put(tx, id, a) }}
		}
	}
	return nil
}

// member finds a member account; nil if it is none.
func member(r store.Reader, o *identity.Organization, id string) *identity.Account {
	if a := identity.Accounts.Get(r, id); a != nil && a.Membership != nil && a.Membership.Organization == o.ID {
		return a
	}
	return nil
}
