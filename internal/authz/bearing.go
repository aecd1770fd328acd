package authz

import (
	"maps"
	"slices"
	"sync"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/store"
)

// A bearer is what a user or role brings to every decision: its identity-based
// policies, its groups' among them, and its boundary, as of one revision of the
// state. It is never changed.
type bearer struct {
	revision int64
	identity []Policy
	boundary *Policy
	bounded  bool
}

// bearers remembers who bore what, by entity, so that a caller's policies are
// looked up once for each revision and not once for each call. Two generations:
// the older is dropped when the newer is full.
var bearers struct {
	sync.Mutex
	newer, older map[any]*bearer
}

const generation = 4096

// bearing returns what the caller's user or role brings.
func bearing(state *store.Snapshot, c *identity.Caller) *bearer {
	var entity any = c.User
	if c.Role != nil {
		entity = c.Role
	}
	bearers.Lock()
	b := bearers.newer[entity]
	if b == nil {
		b = bearers.older[entity]
	}
	bearers.Unlock()
	if b != nil && b.revision == state.Revision() {
		return b
	}
	b = bear(state, c)
	bearers.Lock()
	if bearers.newer == nil || len(bearers.newer) >= generation {
		bearers.newer, bearers.older = map[any]*bearer{}, bearers.newer
	}
	bearers.newer[entity] = b
	bearers.Unlock()
	return b
}

func bear(state *store.Snapshot, c *identity.Caller) *bearer {
	b := &bearer{revision: state.Revision()}
	boundary := ""
	if r := c.Role; r != nil {
		b.add(state, "role", r.RoleName, r.Inline, r.Attached)
		if r.PermissionsBoundary != nil {
			boundary = r.PermissionsBoundary.PermissionsBoundaryArn
		}
	} else {
		u := c.User
		b.add(state, "user", u.UserName, u.Inline, u.Attached)
		for _, key := range u.Groups {
			if g := identity.Groups.Get(state, key); g != nil {
				b.add(state, "group", g.GroupName, g.Inline, g.Attached)
			}
		}
		if u.PermissionsBoundary != nil {
			boundary = u.PermissionsBoundary.PermissionsBoundaryArn
		}
	}
	if boundary != "" {
		b.bounded = true
		if d := Managed(state, arn.ARN(boundary)); !d.IsZero() {
			b.boundary = &Policy{boundary, arn.ARN(boundary), d}
		}
	}
	return b
}

// add adds the policies of a user, group or role. An attached policy that is not
// there may have held a Deny, so it denies.
func (b *bearer) add(state *store.Snapshot, kind, owner string, inline map[string]identity.Document, attached []arn.ARN) {
	for _, name := range slices.Sorted(maps.Keys(inline)) {
		b.identity = append(b.identity, Policy{Name: "inline policy " + name + " of " + kind + " " + owner, Document: inline[name]})
	}
	for _, a := range attached {
		d := Managed(state, a)
		if d.IsZero() {
			d = identity.Broken()
		}
		b.identity = append(b.identity, Policy{string(a), a, d})
	}
}
