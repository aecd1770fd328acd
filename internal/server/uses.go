package server

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/iamd-dev/iamd/internal/authz"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

// uses notes when access keys and roles were last used, and when users and roles last
// tried which service and which of its management actions. Every authenticated call
// counts, allowed or not, as for IAM's own reports.
//
// A first use is written within useDelay; after that the time is brought up to date
// every useGrain, so that a busy key costs a write for each action in a quarter of
// an hour (IAM's own figures are hours old). Writes are batches.
type uses struct {
	mu    sync.Mutex
	noted map[use]time.Time // what the store has, or will have after the next flush
	fresh map[use]lastUse   // not yet written
	timer *time.Timer       // of the flush that is on its way; nil when none is
}

// A use is of an action of a service, by an access key of a user, the root's access
// key, a role, or a user in a session.
type use struct {
	id      string        // the access key's, the role's or the user's
	service string        // prefix
	action  policy.Action // with or without the prefix; "" for data events, which are counted for the service alone
}

type lastUse struct {
	use
	time      time.Time
	region    string
	principal string // unique id of the user or role; "" of a root
}

const (
	useDelay = 2 * time.Second
	useGrain = 15 * time.Minute
	mostUses = 1 << 17 // notes kept; beyond it all are forgotten, and written once more
	useBatch = 40      // written in one change
)

// used notes that the caller tries the operation.
func (s *Server) used(c *service.Call, op *service.Op) {
	u := use{service: op.Service.Model.Name}
	switch {
	case op.Data():
	case len(op.Needs) > 0:
		u.action = op.Needs[0].Action
	default:
		u.action = policy.Action(op.Name)
	}
	s.note(c, u)
}

// passed notes what else was asked for to do an operation: that a role was passed.
func (s *Server) passed(c *service.Call, asked []authz.Request) {
	for i := range asked {
		if asked[i].Check.Action == "iam:PassRole" {
			s.note(c, use{service: "iam", action: "iam:PassRole"})
		}
	}
}

// note notes a use by the caller. Anonymous callers and services are nobody's users,
// and a federated user is not the one who made the session.
func (s *Server) note(c *service.Call, n use) {
	principal := ""
	switch caller := c.Caller; {
	case caller.Role != nil:
		n.id, principal = caller.Role.RoleId, caller.Role.RoleId
	case caller.Type == identity.IAMUser && caller.Session != nil:
		n.id, principal = caller.User.UserId, caller.User.UserId
	case caller.Type == identity.IAMUser:
		n.id, principal = caller.AccessKeyID, caller.User.UserId
	case caller.Type == identity.RootUser && caller.Session == nil:
		n.id = caller.AccessKeyID
	default:
		return
	}
	u := &s.uses
	u.mu.Lock()
	defer u.mu.Unlock()
	if last, ok := u.noted[n]; ok && c.Time.Sub(last) < useGrain {
		return
	}
	if u.noted == nil || len(u.noted) >= mostUses {
		u.noted = map[use]time.Time{}
	}
	if u.fresh == nil {
		u.fresh = map[use]lastUse{}
	}
	n.id = strings.Clone(n.id) // it may be part of a request, of which nothing else is to stay
	u.noted[n] = c.Time
	u.fresh[n] = lastUse{n, c.Time.UTC(), c.Region, principal}
	if u.timer == nil {
		s.inFlight.Add(1) // Close waits for the flush
		u.timer = time.AfterFunc(useDelay, func() {
			defer s.inFlight.Done()
			s.flushUses()
		})
	}
}

// flushUsesNow writes what is fresh without waiting for its time.
func (s *Server) flushUsesNow() {
	s.uses.mu.Lock()
	timer := s.uses.timer
	s.uses.mu.Unlock()
	if timer != nil && timer.Stop() {
		if s.DB.Err() == nil { // else there is nowhere to write them
			s.flushUses()
		}
		s.inFlight.Done()
	}
}

// flushUses writes what is fresh. A failure loses nothing but dates, and is logged.
func (s *Server) flushUses() {
	u := &s.uses
	u.mu.Lock()
	fresh := u.fresh
	u.fresh, u.timer = nil, nil
	u.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	all := slices.SortedFunc(maps.Values(fresh), func(a, b lastUse) int { return a.time.Compare(b.time) })
	for batch := range slices.Chunk(all, useBatch) {
		err := s.DB.Update(ctx, func(tx *store.Tx) error {
			for _, last := range batch {
				last.write(tx)
			}
			return nil
		})
		if err != nil {
			s.Log.Error("the last uses of access keys, users and roles were not written", "error", err)
			return
		}
	}
}

// write brings up to date what the store has of a use, unless whose it was has been
// deleted meanwhile. Of two times the later one stays: servers of one store flush
// when they will.
func (l lastUse) write(tx *store.Tx) {
	at := l.time.Truncate(time.Second)
	longTerm := l.id != l.principal // the id is an access key's
	if longTerm && identity.Keys.Get(tx, l.id) != nil || strings.HasPrefix(l.id, identity.RolePrefix) && identity.IDs.Get(tx, l.id) != nil {
		if old := identity.LastUsed.Get(tx, l.id); old == nil || !at.Before(old.Time) {
			identity.LastUsed.Put(tx, l.id, &identity.Use{Time: at, Region: l.region, Service: l.service})
		}
	}
	if l.principal == "" || identity.IDs.Get(tx, l.principal) == nil {
		return
	}
	key := l.principal + "/" + l.service
	a := cmp.Or(identity.Accessed.Get(tx, key), &identity.Access{})
	if !at.Before(a.Time) {
		a.Time, a.Region = at, l.region
	}
	if l.action != "" {
		_, name, ok := strings.Cut(string(l.action), ":")
		if !ok {
			name = string(l.action)
		}
		if a.Actions == nil {
			a.Actions = map[string]identity.Use{}
		}
		if !at.Before(a.Actions[name].Time) {
			a.Actions[name] = identity.Use{Time: at, Region: l.region}
		}
	}
	identity.Accessed.Put(tx, key, a)
}
