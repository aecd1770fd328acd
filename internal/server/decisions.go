package server

import (
	"encoding/json"
	"slices"

	"github.com/iamd-dev/iamd/internal/authz"
)

// A kept is what is kept of a call so that its decisions can be explained: enough
// to make them again on the state that they were made on, or, of a refused call,
// the explanations themselves, which also outlive a restart.
type kept struct {
	Accounts     []string // who may ask: the caller's and the resources'
	Explanations []*authz.Explanation
	explain      func() []*authz.Explanation
}

func (d *deliberation) keep() {
	if len(d.asked) == 0 {
		return
	}
	k := &kept{explain: d.explain}
	for i := range d.asked {
		for _, account := range []string{d.call.Account, d.asked[i].Owner()} {
			if !slices.Contains(k.Accounts, account) {
				k.Accounts = append(k.Accounts, account)
			}
		}
	}
	d.server.Decisions.Keep(d.call.RequestID, k)
	_ = json.Valid
}

// explanations are of a past call that concerned the account; nil when none are kept.
func (s *Server) explanations(requestID, account string) []*authz.Explanation {
	v, ok := s.Decisions.Recent(requestID)
	if !ok {
		return nil
	}
	k, ok := v.(*kept)
	if !ok || !slices.Contains(k.Accounts, account) {
		return nil
	}
	return k.explain()
}
