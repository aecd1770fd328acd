package server

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/iamd-dev/iamd/internal/authz"
)

// A kept is what is kept of a call so that its decisions can be explained. Of any
// call it is what is needed to make them again, on the state on which they were
// made, as long as the call is recent. Of a refused call it is the explanations
// themselves, which outlive a restart.
//
// For a call that was allowed, which hardly anybody asks about, its deliberation is
// kept, of which a kept is made when somebody does.
type kept struct {
	Accounts     []string // who may ask: the caller's account and the resources'
	Explanations []*authz.Explanation
	explain      func() []*authz.Explanation
}

// keep keeps the decisions of the call, those that it has not kept yet included.
func (d *deliberation) keep() error {
	if len(d.asked) == d.kept {
		return nil
	}
	d.kept = len(d.asked)
	if d.refused == 0 {
		d.server.Decisions.Keep(d.call.RequestID, d)
		return nil
	}
	k := d.toKeep()
	k.Explanations = d.explain()
	k.explain = func() []*authz.Explanation { return k.Explanations }
	d.server.Decisions.Keep(d.call.RequestID, k)
	b, err := json.Marshal(k)
	if err != nil {
		return fmt.Errorf("explaining a refusal: %w", err)
	}
	d.server.Decisions.Refused(d.call.RequestID, b)
	return nil
}

func (d *deliberation) toKeep() *kept {
	k := &kept{explain: d.explain}
	for i := range d.asked {
		for _, account := range []string{d.call.Account, d.asked[i].Owner()} {
			if account != "" && !slices.Contains(k.Accounts, account) {
				k.Accounts = append(k.Accounts, account)
			}
		}
	}
	return k
}

// explanations are what the account may see of a past call that concerned it; nil
// when none are kept, or none that are this account's to see.
func (s *Server) explanations(requestID, account string) ([]*authz.Explanation, error) {
	var k *kept
	if v, ok := s.Decisions.Recent(requestID); ok {
		switch v := v.(type) {
		case *kept:
			k = v
		case *deliberation:
			k = v.toKeep()
		}
	} else {
		b, err := s.Decisions.Explanation(requestID)
		if err != nil || b == nil {
			return nil, err
		}
		k = &kept{}
		if err := json.Unmarshal(b, k); err != nil {
			return nil, fmt.Errorf("reading the explanation of %q: %w", requestID, err)
		}
		k.explain = func() []*authz.Explanation { return k.Explanations }
	}
	if !slices.Contains(k.Accounts, account) {
		return nil, nil
	}
	var theirs []*authz.Explanation
	for _, x := range k.explain() {
		if x = x.For(account); x != nil {
			theirs = append(theirs, x)
		}
	}
	return theirs, nil
}
