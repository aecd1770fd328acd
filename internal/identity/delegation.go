package identity

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/store"
)

// A ProductProvider is an account that may ask others for temporary access, with the
// templates of what it may ask for. Its permissions boundaries are policies of
// PartnerAccount.
type ProductProvider struct {
	Account   string
	Name      string            // RequestorName
	Templates map[string]string // policy templates by ARN
}

// PartnerAccount stands in the place of the account in the ARNs of the permissions
// boundaries that product providers have registered.
const PartnerAccount = "partner"

// ProductProviders are kept by account.
var ProductProviders = store.NewTable[ProductProvider]("productproviders")

// A DelegationRequest is a product provider's request for temporary access to an
// account, and what became of it.
type DelegationRequest struct {
	ID            string
	Requestor     string // the provider's account
	RequestorName string
	Workflow      string // RequestorWorkflowId
	Description   string
	Message       string // RequestMessage
	RedirectURL   string
	Channel       string // NotificationChannel, the ARN of a topic
	Duration      time.Duration
	OnlyByOwner   bool // OnlySendByOwner

	Permissions api.DelegationPermission
	Policy      Document // what the template and its parameters are together
	Boundaries  []string // that the policy demands of roles

	State     string // as it was when it last changed; see StateAt
	Created   time.Time
	Updated   time.Time
	Expires   time.Time
	Changes   int    // how often it has changed
	Account   string // OwnerAccountId; "" while it is nobody's
	Owner     arn.ARN
	OwnerID   string // the owner's aws:userid, which nobody else has again
	Notes     string
	Rejection string // RejectionReason

	Approver arn.ARN
	As       *Session  // who the approver was: the session that the provider gets, but for its times
	Released time.Time // when the token was sent
}

// DelegationRequests are kept by id.
var DelegationRequests = store.NewTable[DelegationRequest]("delegationrequests")

// The states of a delegation request (IAM User Guide, "Building your integration").
const (
	Unassigned      = "UNASSIGNED"
	Assigned        = "ASSIGNED"
	PendingApproval = "PENDING_APPROVAL"
	Accepted        = "ACCEPTED"
	Finalized       = "FINALIZED"
	Rejected        = "REJECTED"
	Expired         = "EXPIRED"
)

// StateAt is the state at a time: in each there is time for the next, and then it expires.
func (d *DelegationRequest) StateAt(now time.Time) string {
	if !now.Before(d.Expires) {
		return Expired
	}
	return d.State
}

// ARN names the request. One that is nobody's has no account of its own, and is named
// by that of who asks.
func (d *DelegationRequest) ARN(asking string) arn.ARN {
	account := d.Account
	if account == "" {
		account = asking
	}
	return DelegationRequestARN(account, d.ID)
}

// DelegationRequestARN is the ARN of the request with the id.
func DelegationRequestARN(account, id string) arn.ARN {
	return arn.New("aws", "iam", "", account, "delegation-request/"+id)
}

// Until is when access ends that was released.
func (d *DelegationRequest) Until() time.Time { return d.Released.Add(d.Duration) }

// A Delegation makes a session one of a product provider's, in the name of whoever
// approved it: what the provider asked for limits all that the session does.
type Delegation struct {
	Account string   // the provider's
	Policy  Document // zero allows nothing
}

// Approver is the session that stands for a caller in a delegation request: what
// bears on the caller's calls, and nothing that opens a session.
func (c *Caller) Approver() *Session {
	s := &Session{Type: c.Type, Account: c.Account}
	if c.Session != nil {
		copied := *c.Session
		s = &copied
	}
	if c.User != nil && c.Type == IAMUser {
		s.Principal, s.Name = c.User.UserId, c.User.UserName
	}
	// Whoever comes with the token has shown no code of an MFA device.
	s.AccessKeyID, s.MFA, s.Issued, s.Expires = "", time.Time{}, time.Time{}, time.Time{}
	return s
}

// Session is the session that the request gives its provider. It begins when the token
// was released, whenever it is made, so that a Deny of sessions before some time
// (aws:TokenIssueTime) ends all that the token gives.
func (d *DelegationRequest) Session() *Session {
	s := *d.As
	s.Issued, s.Expires = d.Released, d.Until()
	s.Delegation = &Delegation{Account: d.Requestor, Policy: d.Policy}
	return &s
}

// A tradeIn is what a trade-in token says.
type tradeIn struct {
	Request  string
	Released int64
}

// SealTradeIn makes the token for which the provider of a released request gets
// sessions. Nobody else can open it.
func (k *Keyring) SealTradeIn(r store.Reader, d *DelegationRequest) (Secret, error) {
	text, err := json.Marshal(tradeIn{d.ID, d.Released.Unix()})
	if err != nil {
		return Secret{}, err
	}
	sealed, err := k.SealMessage(r, tradeInPrefix+d.Requestor, string(text))
	return NewSecret(sealed), err
}

const tradeInPrefix = "trade-in token of "

// OpenTradeIn finds the request that an account's trade-in token was released for, or
// returns ErrInvalidToken. It does not look at the clock.
func (k *Keyring) OpenTradeIn(r store.Reader, account, token string) (*DelegationRequest, error) {
	text, err := k.OpenMessage(r, tradeInPrefix+account, strings.TrimSpace(token))
	if err != nil {
		return nil, ErrInvalidToken
	}
	var t tradeIn
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return nil, ErrInvalidToken
	}
	d := DelegationRequests.Get(r, t.Request)
	if d == nil || d.Requestor != account || d.State != Finalized || d.As == nil || d.Released.Unix() != t.Released {
		return nil, ErrInvalidToken
	}
	return d, nil
}
