package organizations

import (
	"context"
	"iter"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/organizations/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// A handshake is a question of one account to another: to join an organisation, or,
// to the accounts that joined one without all features, to let it have them.
type handshake struct {
	ID           string // "h-..."
	Organization string
	Management   string // who asks
	Account      string // who is asked
	Email        string `json:",omitempty"` // by which they were invited
	Action       string
	State        string
	Requested    time.Time
	Ended        time.Time      `json:",omitzero"` // when it was answered or cancelled
	Notes        string         `json:",omitempty"`
	Parent       string         `json:",omitempty"` // the handshake that this one is a part of
	Tags         []identity.Tag `json:",omitempty"` // of the account, when it joins
}

var handshakes = store.NewTable[handshake]("handshakes")

// What handshakes are about, and how they stand.
const (
	invite  = "INVITE"
	enable  = "ENABLE_ALL_FEATURES"  // of the organisation, and of each account that was invited
	approve = "APPROVE_ALL_FEATURES" // of the management account, when all have agreed

	open     = "OPEN"
	accepted = "ACCEPTED"
	refused  = "DECLINED"
	canceled = "CANCELED"
	expired  = "EXPIRED"
)

const (
	inviteLasts = 15 * 24 * time.Hour
	enableLasts = 90 * 24 * time.Hour
	shownFor    = 30 * 24 * time.Hour // after it has ended
)

func (h *handshake) expires() time.Time {
	if h.Action == invite {
		return h.Requested.Add(inviteLasts)
	}
	return h.Requested.Add(enableLasts)
}

// stateAt is how it stands at a time: one that nobody answers expires by itself.
func (h *handshake) stateAt(t time.Time) string {
	if h.State == open && !t.Before(h.expires()) {
		return expired
	}
	return h.State
}

// shownAt reports whether it is shown at a time.
func (h *handshake) shownAt(t time.Time) bool {
	ended := h.Ended
	if ended.IsZero() {
		ended = h.expires()
	}
	return t.Before(ended.Add(shownFor))
}

// concerns reports whether an account asks or is asked.
func (h *handshake) concerns(account string) bool {
	return account == h.Management || account == h.Account
}

func (h *handshake) arn() arn.ARN {
	kind := map[string]string{invite: "invite", enable: "enable_all_features", approve: "approve_all_features"}[h.Action]
	return arn.ARN("arn:aws:organizations::" + h.Management + ":handshake/" + h.Organization + "/" + kind + "/" + h.ID)
}

func (h *handshake) view(r store.Reader, at time.Time) *api.Handshake {
	v := &api.Handshake{
		Id: h.ID, Arn: string(h.arn()), State: h.stateAt(at), Action: h.Action,
		RequestedTimestamp: h.Requested, ExpirationTimestamp: h.expires(),
		Parties: []api.HandshakeParty{{Id: h.Organization, Type: "ORGANIZATION"}},
	}
	of := api.HandshakeResource{Type: "ORGANIZATION", Value: h.Organization}
	if a := identity.Accounts.Get(r, h.Management); a != nil {
		of.Resources = append(of.Resources, api.HandshakeResource{Type: "MASTER_EMAIL", Value: emailOf(a)}, api.HandshakeResource{Type: "MASTER_NAME", Value: nameOf(a)})
	}
	if o := identity.Organizations.Get(r, h.Organization); o != nil {
		of.Resources = append(of.Resources, api.HandshakeResource{Type: "ORGANIZATION_FEATURE_SET", Value: o.FeatureSet})
	}
	v.Resources = append(v.Resources, of)
	if h.Email != "" {
		v.Parties = append(v.Parties, api.HandshakeParty{Id: h.Email, Type: "EMAIL"})
		v.Resources = append(v.Resources, api.HandshakeResource{Type: "EMAIL", Value: h.Email})
	} else if h.Account != "" {
		v.Parties = append(v.Parties, api.HandshakeParty{Id: h.Account, Type: "ACCOUNT"})
		v.Resources = append(v.Resources, api.HandshakeResource{Type: "ACCOUNT", Value: h.Account})
	}
	if h.Notes != "" {
		v.Resources = append(v.Resources, api.HandshakeResource{Type: "NOTES", Value: h.Notes})
	}
	if h.Parent != "" {
		v.Resources = append(v.Resources, api.HandshakeResource{Type: "PARENT_HANDSHAKE", Value: h.Parent})
	}
	return v
}

// inviteAccountToOrganization invites an account of this server. Nothing is sent: who
// is invited sees it by ListHandshakesForAccount.
func (s *Service) inviteAccountToOrganization(ctx context.Context, c *service.Call, o *identity.Organization, in *api.InviteAccountToOrganizationInput) (*api.InviteAccountToOrganizationOutput, error) {
	tags, err := s.withTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	made := handshake{ID: newID("h-", 10), Organization: o.ID, Management: o.Management, Action: invite, State: open, Requested: now(c), Notes: in.Notes, Tags: tags}
	var v *api.Handshake
	err = s.change(ctx, c, o, func(tx *store.Tx, o *identity.Organization) error {
		h := made
		var a *identity.Account
		switch in.Target.Type {
		case "ACCOUNT":
			a = identity.Accounts.Get(tx, in.Target.Id)
		case "EMAIL":
			h.Email = in.Target.Id
			if a = byEmail(tx, in.Target.Id); a == nil {
				return invalid("INVALID_EMAIL_ADDRESS_TARGET")
			}
		default:
			return invalid("INVALID_PARTY_TYPE_TARGET")
		}
		if a == nil || !a.Closed.IsZero() {
			return noAccount()
		}
		if a.Membership != nil && a.Membership.Organization == o.ID {
			return handshakeConstraint("ALREADY_IN_AN_ORGANIZATION")
		}
		h.Account = a.ID
		for id, other := range handshakes.All(tx, "") {
			if other.Organization != o.ID {
				continue
			}
			switch {
			case !other.shownAt(c.Time):
				handshakes.Delete(tx, id)
			case other.stateAt(c.Time) != open:
			case other.Action == invite && other.Account == h.Account:
				return api.DuplicateHandshake("A handshake with the same action and target already exists.")
			case other.Action == enable:
				return handshakeConstraint("INVITE_DISABLED_DURING_ENABLE_ALL_FEATURES")
			}
		}
		if s.taken(tx, o) >= s.Quotas.Accounts {
			return handshakeConstraint("ACCOUNT_NUMBER_LIMIT_EXCEEDED")
		}
		handshakes.Put(tx, h.ID, &h)
		v = h.view(tx, c.Time)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.InviteAccountToOrganizationOutput{Handshake: v}, nil
}

// answer ends a handshake as the account that may: the one who is asked, or to cancel
// the one who asks. more does what follows.
func (s *Service) answer(ctx context.Context, c *service.Call, id, state string, more func(*store.Tx, *identity.Organization, *handshake) error) (*api.Handshake, error) {
	h := handshakes.Get(c.State, id)
	if h == nil || !h.concerns(c.Account) || !h.shownAt(c.Time) {
		return nil, noHandshake()
	}
	who := h.Account
	if state == canceled {
		who = h.Management
	}
	if c.Account != who {
		return nil, notPermitted()
	}
	var v *api.Handshake
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		h := handshakes.Get(tx, id)
		if h == nil {
			return noHandshake()
		}
		switch is := h.stateAt(c.Time); is {
		case open:
		case state:
			return api.HandshakeAlreadyInState("The specified handshake is already in the requested state.")
		default:
			return api.InvalidHandshakeTransition("You can't change a handshake from %s to %s.", is, state)
		}
		o := identity.Organizations.Get(tx, h.Organization)
		if o == nil {
			return api.InvalidHandshakeTransition("The organization of the handshake has been deleted.")
		}
		h.State, h.Ended = state, now(c)
		if more != nil {
			if err := more(tx, o, h); err != nil {
				return err
			}
		}
		keep(tx, c, o)
		handshakes.Put(tx, id, h)
		v = h.view(tx, c.Time)
		return nil
	})
	return v, err
}

func (s *Service) acceptHandshake(ctx context.Context, c *service.Call, in *api.AcceptHandshakeInput) (*api.AcceptHandshakeOutput, error) {
	next := newID("h-", 10)
	v, err := s.answer(ctx, c, in.HandshakeId, accepted, func(tx *store.Tx, o *identity.Organization, h *handshake) error {
		switch h.Action {
		case invite:
			return s.join(tx, c, o, h)
		case enable:
			return s.agreed(tx, c, o, h.Parent, h.ID, next)
		}
		o.FeatureSet = allFeatures // approve
		if parent := handshakes.Get(tx, h.Parent); parent != nil {
			parent.State, parent.Ended = accepted, now(c)
			handshakes.Put(tx, parent.ID, parent)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.AcceptHandshakeOutput{Handshake: v}, nil
}

// join makes the account a member.
func (s *Service) join(tx *store.Tx, c *service.Call, o *identity.Organization, h *handshake) error {
	a := identity.Accounts.Get(tx, h.Account)
	if a == nil {
		return noAccount()
	}
	if a.Membership != nil {
		return handshakeConstraint("ALREADY_IN_AN_ORGANIZATION")
	}
	a.Membership = &identity.Membership{Organization: o.ID, Parent: o.Root.ID, Joined: now(c), Invited: true}
	a.Membership.Tags = h.Tags
	identity.Accounts.Put(tx, a.ID, a)
	return nil
}

func (s *Service) declineHandshake(ctx context.Context, c *service.Call, in *api.DeclineHandshakeInput) (*api.DeclineHandshakeOutput, error) {
	v, err := s.answer(ctx, c, in.HandshakeId, refused, nil)
	if err != nil {
		return nil, err
	}
	return &api.DeclineHandshakeOutput{Handshake: v}, nil
}

// cancelHandshake, of the process to enable all features, cancels what it asked of
// the accounts, too.
func (s *Service) cancelHandshake(ctx context.Context, c *service.Call, in *api.CancelHandshakeInput) (*api.CancelHandshakeOutput, error) {
	v, err := s.answer(ctx, c, in.HandshakeId, canceled, func(tx *store.Tx, o *identity.Organization, h *handshake) error {
		for id, part := range handshakes.All(tx, "") {
			if part.Parent == h.ID && part.State == open {
				part.State, part.Ended = canceled, now(c)
				handshakes.Put(tx, id, part)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.CancelHandshakeOutput{Handshake: v}, nil
}

func (s *Service) describeHandshake(_ context.Context, c *service.Call, in *api.DescribeHandshakeInput) (*api.DescribeHandshakeOutput, error) {
	h := handshakes.Get(c.State, in.HandshakeId)
	if h == nil || !h.concerns(c.Account) || !h.shownAt(c.Time) {
		return nil, noHandshake()
	}
	return &api.DescribeHandshakeOutput{Handshake: h.view(c.State, c.Time)}, nil
}

func (s *Service) listHandshakesForAccount(_ context.Context, c *service.Call, in *api.ListHandshakesForAccountInput) (*api.ListHandshakesForAccountOutput, error) {
	page, next, err := paged(in.NextToken, in.MaxResults, shown(c, in.Filter, func(h *handshake) bool { return h.Account == c.Account }))
	if err != nil {
		return nil, err
	}
	return &api.ListHandshakesForAccountOutput{Handshakes: page, NextToken: next}, nil
}

func (s *Service) listHandshakesForOrganization(_ context.Context, c *service.Call, o *identity.Organization, in *api.ListHandshakesForOrganizationInput) (*api.ListHandshakesForOrganizationOutput, error) {
	page, next, err := paged(in.NextToken, in.MaxResults, shown(c, in.Filter, func(h *handshake) bool { return h.Organization == o.ID }))
	if err != nil {
		return nil, err
	}
	return &api.ListHandshakesForOrganizationOutput{Handshakes: page, NextToken: next}, nil
}

// shown yields those handshakes that are shown, pass the filter and are somebody's.
func shown(c *service.Call, filter *api.HandshakeFilter, whose func(*handshake) bool) iter.Seq2[string, api.Handshake] {
	return mapped(handshakes.All(c.State, ""), func(h *handshake) (api.Handshake, bool) {
		if !whose(h) || !h.shownAt(c.Time) {
			return api.Handshake{}, false
		}
		if filter != nil && (filter.ActionType != "" && filter.ActionType != h.Action || filter.ParentHandshakeId != "" && filter.ParentHandshakeId != h.Parent) {
			return api.Handshake{}, false
		}
		return *h.view(c.State, c.Time), true
	})
}

// enableAllFeatures asks every account that was invited. When all have agreed, the
// management account approves; then the organisation has all features.
func (s *Service) enableAllFeatures(ctx context.Context, c *service.Call, o *identity.Organization, _ *api.EnableAllFeaturesInput) (*api.EnableAllFeaturesOutput, error) {
	ids := map[string]string{} // made before the update, which may run twice
	for id, a := range accounts(c.State, o) {
		if a.Membership.Invited && id != o.Management {
			ids[id] = newID("h-", 10)
		}
	}
	parentID, next := newID("h-", 10), newID("h-", 10)
	var v *api.Handshake
	err := s.change(ctx, c, o, func(tx *store.Tx, o *identity.Organization) error {
		if o.FeatureSet == allFeatures {
			return handshakeConstraint("ORGANIZATION_ALREADY_HAS_ALL_FEATURES")
		}
		for _, h := range handshakes.All(tx, "") {
			if h.Organization == o.ID && h.Action == enable && h.Parent == "" && h.stateAt(c.Time) == open {
				return handshakeConstraint("ORGANIZATION_IS_ALREADY_PENDING_ALL_FEATURES_MIGRATION")
			}
		}
		parent := &handshake{ID: parentID, Organization: o.ID, Management: o.Management, Action: enable, State: open, Requested: now(c)}
		handshakes.Put(tx, parentID, parent)
		for id, a := range accounts(tx, o) {
			if !a.Membership.Invited || id == o.Management || !a.Closed.IsZero() {
				continue
			}
			if ids[id] == "" {
				return api.ConcurrentModification("An account has joined the organization. Try again.")
			}
			handshakes.Put(tx, ids[id], &handshake{ID: ids[id], Organization: o.ID, Management: o.Management, Account: id, Action: enable, State: open,
				Requested: now(c), Parent: parentID})
		}
		v = parent.view(tx, c.Time)
		return s.agreed(tx, c, o, parentID, "", next)
	})
	if err != nil {
		return nil, err
	}
	return &api.EnableAllFeaturesOutput{Handshake: v}, nil
}

// agreed asks the management account to approve, by a handshake with the id next, when
// none but the account of the handshake last is still to agree.
func (s *Service) agreed(tx *store.Tx, c *service.Call, o *identity.Organization, parent, last, next string) error {
	for id, h := range handshakes.All(tx, "") {
		if h.Parent == parent && id != last && h.State != accepted {
			return nil
		}
	}
	handshakes.Put(tx, next, &handshake{ID: next, Organization: o.ID, Management: o.Management, Account: o.Management, Action: approve, State: open,
		Requested: now(c), Parent: parent})
	return nil
}
