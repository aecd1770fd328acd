package iam

import (
	"context"
	"reflect"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

// Resources. A missing entity has the ARN that it would have without a path, so
// that a caller without permission does not learn whether there is one.
var (
	group   = groups.named
	role    = roles.named
	profile = profiles.named

	newUser    = toBeMade(identity.UserKind, "UserName")
	newGroup   = toBeMade(identity.GroupKind, "GroupName")
	newRole    = toBeMade(identity.RoleKind, "RoleName")
	newProfile = toBeMade(identity.ProfileKind, "InstanceProfileName")

	newMFADevice         = toBeMade(identity.MFADeviceKind, "VirtualMFADeviceName")
	newServerCertificate = toBeMade(identity.ServerCertificateKind, "ServerCertificateName")
)

// named is the entity that the input names.
func (k *kind[T]) named(in reflect.Type) func(*service.Call, any) []service.Target {
	if k.kind == identity.UserKind {
		return user(in)
	}
	name := field[string](in, k.field)
	return func(c *service.Call, in any) []service.Target {
		return []service.Target{k.target(c, name(in))}
	}
}

func (k *kind[T]) target(c *service.Call, name string) service.Target {
	t := service.Target{Text: k.text(name)}
	if v := k.find(c.State, c.Account, name); v != nil {
		_, _, a := k.shown(v)
		t.ARN = arn.ARN(a)
	} else if k.byARN && arn.ARN(name).Service() == "iam" {
		t.ARN = arn.ARN(name)
	} else {
		t.ARN = arn.ARN(entityARN(c.Account, k.kind, "/", name))
	}
	return t
}

// text is what a refusal calls an entity; "" where it prints the ARN.
func (k *kind[T]) text(name string) string {
	if k.word == "" {
		return ""
	}
	return k.word + " " + name
}

// user is the user that the input names, or the one who calls.
func user(in reflect.Type) func(*service.Call, any) []service.Target {
	name := field[string](in, "UserName")
	return func(c *service.Call, in any) []service.Target {
		switch n := name(in); {
		case n != "":
			return []service.Target{users.target(c, n)}
		case c.Caller.Type == identity.IAMUser:
			return []service.Target{{ARN: arn.ARN(c.Caller.User.Arn), Text: "user " + c.Caller.User.UserName}}
		case c.Caller.Type == identity.RootUser:
			return []service.Target{{ARN: c.Caller.ARN}}
		default: // AWS takes the name of the session for the user's
			resource := c.Caller.ARN.Resource()
			session := resource[strings.LastIndexByte(resource, '/')+1:]
			return []service.Target{{ARN: arn.ARN(entityARN(c.Account, identity.UserKind, "/", session)), Text: "user " + session}}
		}
	}
}

// toBeMade is the entity that a creation makes: its ARN is in the input.
func toBeMade(k identity.Kind, nameField string) service.Resource {
	return func(in reflect.Type) func(*service.Call, any) []service.Target {
		name, path := field[string](in, nameField), field[string](in, "Path")
		return func(c *service.Call, in any) []service.Target {
			return []service.Target{{ARN: arn.ARN(entityARN(c.Account, k, orRoot(path(in)), name(in)))}}
		}
	}
}

// listing is the resource of lists: they have no resource-level permissions, but
// refusals print the ARN's stem.
func listing(k identity.Kind) service.Resource {
	return func(in reflect.Type) func(*service.Call, any) []service.Target {
		prefix := field[string](in, "PathPrefix")
		return func(c *service.Call, in any) []service.Target {
			return []service.Target{{ARN: "*", Text: entityARN(c.Account, k, orRoot(prefix(in)), "")}}
		}
	}
}

// bounded is a row on an existing principal whose boundary, if it has one, is a
// condition key: who may only make users with a boundary shall not loosen those
// without.
func bounded[T, In, Out any](k *kind[T], f func(context.Context, *service.Call, *In) (*Out, error), clauses ...service.Clause) service.Row {
	name := field[string](reflect.TypeFor[In](), k.field)
	return service.Handle(f, k.named, append(clauses,
		service.KeyOf("iam:PermissionsBoundary", func(c *service.Call, in *In) (policy.Value, bool) {
			if v := k.find(c.State, c.Account, name(in)); v != nil {
				if b := *k.boundary(v); b != nil {
					return policy.String(b.PermissionsBoundaryArn), true
				}
			}
			return policy.Value{}, false
		}))...)
}

// object is what authorisation may know of an entity: its tags, and for a role
// that is to be assumed its trust policy, without whose consent nothing is allowed.
func object(state *store.Snapshot, action policy.Action, a arn.ARN) service.Object {
	var o service.Object
	word, _, _ := strings.Cut(a.Resource(), "/")
	switch identity.Kind(word) {
	case delegationKind:
		return delegationObject(state, a)
	case identity.UserKind:
		if u := identity.UserByARN(state, a); u != nil {
			o = tagged(u.Tags)
			if strings.EqualFold(string(action), "iam:ChangePassword") {
				o.Policy = selfService(state, u)
			}
		}
	case identity.RoleKind:
		r := identity.RoleByARN(state, a)
		if r != nil {
			o = tagged(r.Tags)
		}
		if len(action) > 4 && strings.EqualFold(string(action[:4]), "sts:") {
			o.Trust = true
			if r != nil {
				o.Policy = r.Trust
			}
		}
	case identity.PolicyKind:
		if p := identity.PolicyByARN(state, a); p != nil {
			o = tagged(p.Tags)
		}
	case identity.MFADeviceKind:
		if d := identity.MFADeviceBySerial(state, a); d != nil {
			o = tagged(d.Tags)
		}
	case identity.OIDCProviderKind:
		if p := identity.OIDCProviderByARN(state, a); p != nil {
			o = tagged(p.Tags)
		}
	case identity.SAMLProviderKind:
		if p := identity.SAMLProviderByARN(state, a); p != nil {
			o = tagged(p.Tags)
		}
	case identity.ServerCertificateKind:
		if v := serverCertificateByARN(state, a); v != nil {
			o = tagged(v.Tags)
		}
	case identity.ProfileKind:
		if p := profiles.find(state, a.Account(), a.Resource()[strings.LastIndexByte(a.Resource(), '/')+1:]); p != nil && p.Arn == string(a) {
			o = tagged(p.Tags)
		}
	}
	return o
}

func tagged(tags []api.Tag) service.Object {
	return service.Tagged(tags, func(t api.Tag) (string, string) { return t.Key, t.Value })
}
