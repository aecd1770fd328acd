package authz

import (
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

// Simulate answers a question about a call that nobody makes: it is Decide by
// policies that are given instead of found.
//
//	r := &authz.Request{
//		Call:   &service.Call{Account: account, Caller: caller, Time: now},
//		Check:  service.Check{Action: "s3:GetObject", Target: service.Target{ARN: object}, Pairs: keys},
//		Object: service.Object{Account: owner},
//	}
//	d := authz.Simulate(r, &authz.Layers{Identity: policies}, x)
//
// The condition keys are the pairs of the check and what follows from the caller,
// the time, and the resource. Keys that only a call has, such as aws:SourceIp, are
// absent unless a pair gives them. The request's service and state are not asked.
func Simulate(r *Request, l *Layers, x *Explanation) Decision {
	d := r.decide(l, simulated{r}, x)
	if x != nil {
		x.Context = slices.DeleteFunc(x.Context, func(k ContextKey) bool { return ofCall(strings.ToLower(k.Key)) })
		for _, p := range r.Check.Pairs {
			x.Context = slices.DeleteFunc(x.Context, func(k ContextKey) bool { return strings.EqualFold(k.Key, p.Name) })
		}
		for _, p := range r.Check.Pairs {
			x.Context = append(x.Context, ContextKey{p.Name, p.Value.Strings(), "request"})
		}
	}
	return d
}

// Bearing returns the policies that bear on the request, as Decide finds them.
func Bearing(r *Request) Layers { return collect(r) }

// A simulated request has the keys of a request that comes from nowhere.
type simulated struct{ *Request }

// Value gives a condition key, as Request.Value does.
func (s simulated) Value(key string) (policy.Value, bool) {
	if ofCall(key) {
		for _, p := range s.Check.Pairs {
			if p.Key == key {
				return p.Value, true
			}
		}
		return policy.Value{}, false
	}
	return s.Request.Value(key)
}

// ofCall reports whether only a call that is made can have the global key.
func ofCall(key string) bool {
	for i := range globalKeys {
		if k := &globalKeys[i]; k.lower == key {
			return k.from == "network" || k.from == "request"
		}
	}
	return false
}

// GroupPolicies returns the policies of a group, as its members bear them.
func GroupPolicies(state *store.Snapshot, g *identity.Group) []Policy {
	var b bearer
	b.add(state, "group", g.GroupName, g.Inline, g.Attached)
	return b.identity
}

// SourceID is what AWS's simulator calls the policy: a managed policy by its name,
// an inline one by kind and name of its owner and its own name, user_alice_p.
func (p *Policy) SourceID() string {
	if p.ARN != "" {
		resource := p.ARN.Resource()
		return resource[strings.LastIndexByte(resource, '/')+1:]
	}
	if kind, owner, name, ok := p.Inline(); ok {
		return kind + "_" + owner + "_" + name
	}
	return p.Name
}

// Inline tells whose inline policy it is: "user", "alice", and its name. ok is false
// for any other policy.
func (p *Policy) Inline() (kind, owner, name string, ok bool) {
	// "inline policy NAME of KIND OWNER"; names have no spaces.
	if f := strings.Fields(p.Name); p.ARN == "" && len(f) == 6 && f[0] == "inline" {
		return f[4], f[5], f[2], true
	}
	return "", "", "", false
}
