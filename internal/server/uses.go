package server

import (
	"context"
	"sync"
	"time"

	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// uses notes when access keys and roles were last used. A first use is written
// within useDelay; after that the time is brought up to date every useGrain, so
// that a busy key costs one write in a quarter of an hour (IAM's own figure is a
// few hours old).
type uses struct {
	mu    sync.Mutex
	noted map[string]time.Time    // what the store has, or will have after the next flush
	fresh map[string]identity.Use // not yet written
	timer *time.Timer             // of the flush that is on its way; nil when none is
}

const (
	useDelay = 2 * time.Second
	useGrain = 15 * time.Minute
	mostUses = 1 << 16 // notes kept; beyond it all are forgotten, and written once more
)

// used notes the use of the caller's credentials. Root keys are noted as any other.
func (s *Server) used(c *service.Call, service string) {
	id := c.Caller.AccessKeyID
	switch {
	case c.Caller.Role != nil:
		id = c.Caller.Role.RoleId
	case c.Caller.Session != nil || id == "":
		return
	}
	u := &s.uses
	u.mu.Lock()
	defer u.mu.Unlock()
	if last, ok := u.noted[id]; ok && c.Time.Sub(last) < useGrain {
		return
	}
	if u.noted == nil || len(u.noted) >= mostUses {
		u.noted = map[string]time.Time{}
	}
	if u.fresh == nil {
		u.fresh = map[string]identity.Use{}
	}
	u.noted[id] = c.Time
	u.fresh[id] = identity.Use{Time: c.Time.Truncate(time.Second), Region: c.Region, Service: service}
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
	for len(fresh) > 0 {
		batch := map[string]identity.Use{}
		for id, use := range fresh {
			batch[id] = use
			delete(fresh, id)
			if len(batch) == 50 {
				break
			}
		}
		err := s.DB.Update(ctx, func(tx *store.Tx) error {
			for id, use := range batch {
				if identity.Keys.Get(tx, id) != nil || identity.IDs.Get(tx, id) != nil { // not deleted meanwhile
					identity.LastUsed.Put(tx, id, &use)
				}
			}
			return nil
		})
		if err != nil {
			s.Log.Error("the last use of access keys and roles was not written", "error", err)
			return
		}
	}
}
