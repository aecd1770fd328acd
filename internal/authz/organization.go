package authz

import (
	"strings"
	"sync"

	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/reference"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

// A standing is what an account's place in its organisation brings to every
// decision, as of one revision of the state. It is never changed.
type standing struct {
	revision int64
	closed   bool // nothing of the account's can be used any more

	organization string       // id; "" for an account of none
	paths        policy.Value // aws:PrincipalOrgPaths, aws:ResourceOrgPaths

	// By level, from the root to the account; nil where none is in force, as for the
	// management account.
	scp, rcp [][]Policy
}

var alone = &standing{} // of an account that is not ours, or of no organisation

// standings remembers what accounts' places bring, as bearers does for entities.
var standings struct {
	sync.Mutex
	newer, older map[*identity.Account]*standing
}

// standingOf returns what the account's place brings.
func standingOf(state *store.Snapshot, account string) *standing {
	if state == nil || account == "" {
		return alone
	}
	a := identity.Accounts.Get(state, account)
	if a == nil || a.Membership == nil && a.Closed.IsZero() {
		return alone
	}
	standings.Lock()
	s := standings.newer[a]
	if s == nil {
		s = standings.older[a]
	}
	standings.Unlock()
	if s != nil && s.revision == state.Revision() {
		return s
	}
	s = stand(state, a)
	standings.Lock()
	if standings.newer == nil || len(standings.newer) >= generation {
		standings.newer, standings.older = map[*identity.Account]*standing{}, standings.newer
	}
	standings.newer[a] = s
	standings.Unlock()
	return s
}

func stand(state *store.Snapshot, a *identity.Account) *standing {
	s := &standing{revision: state.Revision(), closed: !a.Closed.IsZero()}
	if a.Membership == nil {
		return s
	}
	o := identity.Organizations.Get(state, a.Membership.Organization)
	if o == nil {
		// The policies that limit the account cannot be found, so nothing is allowed.
		s.scp = [][]Policy{{{Name: "the organisation " + a.Membership.Organization + ", which is missing", Document: identity.Broken()}}}
		s.rcp = s.scp
		return s
	}
	levels, complete := o.Levels(state, a)
	s.organization = o.ID
	s.paths = policy.List([]string{o.Path(levels[:len(levels)-1])})
	if a.ID == o.Management {
		return s
	}
	s.scp = inForce(state, o, levels, complete, identity.ServiceControlPolicy)
	s.rcp = inForce(state, o, levels, complete, identity.ResourceControlPolicy)
	return s
}

// inForce returns the policies of a type by level; nil when the type is not enabled. A
// level or a policy that is missing may have held a Deny, so it denies.
func inForce(state *store.Snapshot, o *identity.Organization, levels []identity.Level, complete bool, policyType string) [][]Policy {
	if o.Generation(policyType) == 0 {
		return nil
	}
	var all [][]Policy
	if !complete {
		all = append(all, []Policy{{Name: "an organizational unit that is missing", Document: identity.Broken()}})
	}
	for _, l := range levels {
		policies := []Policy{}
		for _, id := range o.Attached(l.Target, policyType) {
			p := o.Policy(state, id)
			if p == nil {
				policies = append(policies, Policy{Name: "the policy " + id + ", which is missing", Document: identity.Broken()})
				continue
			}
			policies = append(policies, Policy{p.Name + " of " + l.ID, o.PolicyARN(p), p.Document})
		}
		all = append(all, policies)
	}
	return all
}

// organize finds the organisation's policies that bear on the request (Organizations
// User Guide, "Service control policies", "Resource control policies"):
//
//   - Service control policies of the caller's account limit its users, roles and
//     root user, but no service-linked role.
//   - Resource control policies of the resource's account limit whoever calls, but
//     no service-linked role, in the services that AWS's reference names, and where
//     the action is about a resource at all.
//
// Neither is in force for the management account's own.
func (l *Layers) organize(r *Request) {
	state, c := r.Call.State, r.Call.Caller
	if c.Role != nil && c.Role.ServiceLinked() {
		return
	}
	l.SCP = standingOf(state, c.Account).scp
	if owner := standingOf(state, r.Owner()); owner.rcp != nil && r.Check.ARN != "*" && reaches(r.Check.Action) {
		l.RCP = owner.rcp
	}
}

// reaches reports whether resource control policies reach the service of the action.
func reaches(action policy.Action) bool {
	prefix, _, _ := strings.Cut(string(action), ":")
	s, ok := reference.LookupService(prefix)
	return ok && s.ControlPolicies
}

// orgPaths is the value of the keys that have the account's path.
func (s *standing) orgPaths() (policy.Value, bool) { return s.paths, s.organization != "" }

// resourceStanding is that of the resource's account; an action that is about no
// resource has none.
func (r *Request) resourceStanding() *standing {
	if r.Check.ARN == "*" {
		return alone
	}
	return standingOf(r.Call.State, r.Owner())
}

// sourceStanding is that of the account for whose resource a service acts.
func (r *Request) sourceStanding() *standing {
	if account := r.Call.SourceAccount(); account != "" {
		return standingOf(r.Call.State, account)
	}
	for i := range r.Check.Pairs {
		if p := &r.Check.Pairs[i]; p.Key == "aws:sourceaccount" {
			if values := p.Value.Strings(); len(values) == 1 {
				return standingOf(r.Call.State, values[0])
			}
		}
	}
	return alone
}
