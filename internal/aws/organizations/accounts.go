package organizations

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/organizations/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// Accounts that a server begins with have neither name nor address, and AWS always
// shows both.
func nameOf(a *identity.Account) string { return cmp.Or(a.Name, a.ID) }

func emailOf(a *identity.Account) string { return cmp.Or(a.Email, a.ID+"@iamd.invalid") }

// byEmail finds an account by its address, without regard to case; nil if there is none.
func byEmail(r store.Reader, email string) *identity.Account {
	for _, a := range identity.Accounts.All(r, "") {
		if strings.EqualFold(emailOf(a), email) {
			return a
		}
	}
	return nil
}

// A request is one to create an account, and what came of it.
type request struct {
	ID        string // "car-..."
	Name      string
	Requested time.Time
	Completed time.Time
	Account   string `json:",omitempty"` // made; "" when it failed
	Failure   string `json:",omitempty"` // AWS's reason
}

var requests = store.NewTable[request]("account-requests") // organisation's id and the request's

func (q *request) state() string {
	if q.Failure != "" {
		return "FAILED"
	}
	return "SUCCEEDED"
}

func (q *request) view() *api.CreateAccountStatus {
	return &api.CreateAccountStatus{
		Id: q.ID, AccountName: q.Name, State: q.state(), RequestedTimestamp: q.Requested, CompletedTimestamp: q.Completed,
		AccountId: q.Account, FailureReason: q.Failure,
	}
}

// What AWS gives the role of a new account that the management account may assume.
const (
	defaultRole   = "OrganizationAccountAccessRole"
	administrator = arn.ARN("arn:aws:iam::aws:policy/AdministratorAccess")
)

// createAccount makes an account in the root of the organisation. It has no root
// access key; who is to work in it begins by assuming the role. An address that is in
// use is a request that failed, as in AWS.
func (s *Service) createAccount(ctx context.Context, c *service.Call, o *identity.Organization, in *api.CreateAccountInput) (*api.CreateAccountOutput, error) {
	if strings.HasPrefix(in.RoleName, "AWSServiceRoleFor") {
		return nil, invalid("INVALID_ROLE_NAME")
	}
	tags, err := s.withTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	id, err := newAccountID()
	if err != nil {
		return nil, err
	}
	made := identity.NewAccount(id, now(c))
	made.Name, made.Email = in.AccountName, in.Email
	made.Membership = &identity.Membership{Organization: o.ID, Parent: o.Root.ID, Joined: made.Created}
	made.Membership.Tags = tags
	role := cmp.Or(in.RoleName, defaultRole)
	trust := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"%s"},"Action":"sts:AssumeRole"}]}`, identity.RootARN(o.Management))
	requestID := newID("car-", 32)
	var q *request
	err = s.change(ctx, c, o, func(tx *store.Tx, o *identity.Organization) error {
		q = &request{ID: requestID, Name: in.AccountName, Requested: now(c), Completed: now(c)}
		if s.taken(tx, o) >= s.Quotas.Accounts {
			return constraint("ACCOUNT_NUMBER_LIMIT_EXCEEDED")
		}
		if byEmail(tx, in.Email) != nil {
			q.Failure = "EMAIL_ALREADY_EXISTS"
		} else {
			if identity.Accounts.Get(tx, id) != nil {
				return fmt.Errorf("the new account id %s is in use", id)
			}
			identity.Accounts.Put(tx, id, made)
			if err := s.NewRole(tx, id, role, trust, administrator, made.Created); err != nil {
				return err
			}
			q.Account = id
		}
		requests.Put(tx, o.Key(q.ID), q)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.CreateAccountOutput{CreateAccountStatus: q.view()}, nil
}

// taken is how many accounts the organisation has or has invited.
func (s *Service) taken(r store.Reader, o *identity.Organization) int {
	n := 0
	for range accounts(r, o) {
		n++
	}
	for _, h := range handshakes.All(r, "") {
		if h.Organization == o.ID && h.Action == invite && h.State == open {
			n++
		}
	}
	return n
}

// newAccountID makes the id of an account: twelve digits, of which the first is not 0.
func newAccountID() (string, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(900_000_000_000))
	if err != nil {
		return "", fmt.Errorf("making an account id: %w", err)
	}
	return fmt.Sprint(n.Int64() + 100_000_000_000), nil
}

func (s *Service) describeCreateAccountStatus(_ context.Context, c *service.Call, o *identity.Organization, in *api.DescribeCreateAccountStatusInput) (*api.DescribeCreateAccountStatusOutput, error) {
	q := requests.Get(c.State, o.Key(in.CreateAccountRequestId))
	if q == nil {
		return nil, noRequest()
	}
	return &api.DescribeCreateAccountStatusOutput{CreateAccountStatus: q.view()}, nil
}

func (s *Service) listCreateAccountStatus(_ context.Context, c *service.Call, o *identity.Organization, in *api.ListCreateAccountStatusInput) (*api.ListCreateAccountStatusOutput, error) {
	page, next, err := paged(in.NextToken, in.MaxResults, mapped(requests.All(c.State, o.Key("")), func(q *request) (api.CreateAccountStatus, bool) {
		return *q.view(), len(in.States) == 0 || slices.Contains(in.States, q.state())
	}))
	if err != nil {
		return nil, err
	}
	return &api.ListCreateAccountStatusOutput{CreateAccountStatuses: page, NextToken: next}, nil
}

func viewAccount(r store.Reader, o *identity.Organization, a *identity.Account) *api.Account {
	status, state := statusOf(a)
	method, at := joined(a.Membership)
	levels, _ := o.Levels(r, a)
	return &api.Account{
		Id: a.ID, Arn: string(o.ARN("account", a.ID)), Email: emailOf(a), Name: nameOf(a), Status: status, State: state,
		Paths: []string{o.Path(levels)}, JoinedMethod: method, JoinedTimestamp: at,
	}
}

func statusOf(a *identity.Account) (status, state string) {
	if !a.Closed.IsZero() {
		return "SUSPENDED", "CLOSED"
	}
	return "ACTIVE", "ACTIVE"
}

func (s *Service) describeAccount(_ context.Context, c *service.Call, o *identity.Organization, in *api.DescribeAccountInput) (*api.DescribeAccountOutput, error) {
	a := member(c.State, o, in.AccountId)
	if a == nil {
		return nil, noAccount()
	}
	return &api.DescribeAccountOutput{Account: viewAccount(c.State, o, a)}, nil
}

func (s *Service) listAccounts(_ context.Context, c *service.Call, o *identity.Organization, in *api.ListAccountsInput) (*api.ListAccountsOutput, error) {
	page, next, err := paged(in.NextToken, in.MaxResults, mapped(accounts(c.State, o), func(a *identity.Account) (api.Account, bool) {
		return *viewAccount(c.State, o, a), true
	}))
	if err != nil {
		return nil, err
	}
	return &api.ListAccountsOutput{Accounts: page, NextToken: next}, nil
}

func (s *Service) listAccountsForParent(_ context.Context, c *service.Call, o *identity.Organization, in *api.ListAccountsForParentInput) (*api.ListAccountsForParentOutput, error) {
	if !isParent(c.State, o, in.ParentId) {
		return nil, noParent()
	}
	page, next, err := paged(in.NextToken, in.MaxResults, mapped(accountsIn(c.State, o, in.ParentId), func(a *identity.Account) (api.Account, bool) {
		return *viewAccount(c.State, o, a), true
	}))
	if err != nil {
		return nil, err
	}
	return &api.ListAccountsForParentOutput{Accounts: page, NextToken: next}, nil
}

func (s *Service) moveAccount(ctx context.Context, c *service.Call, o *identity.Organization, in *api.MoveAccountInput) (*none, error) {
	return nil, s.change(ctx, c, o, func(tx *store.Tx, o *identity.Organization) error {
		a := member(tx, o, in.AccountId)
		switch {
		case a == nil:
			return noAccount()
		case !isParent(tx, o, in.SourceParentId) || a.Membership.Parent != in.SourceParentId:
			return noSource()
		case !isParent(tx, o, in.DestinationParentId):
			return noDestination()
		case in.SourceParentId == in.DestinationParentId:
			return api.DuplicateAccount("The account is already present in the specified destination.")
		}
		a.Membership.Parent = in.DestinationParentId
		identity.Accounts.Put(tx, a.ID, a)
		return nil
	})
}

// closeAccount ends the use of a member account: its credentials are refused from the
// next call on, and so is everybody at what it has. It stays a member.
func (s *Service) closeAccount(ctx context.Context, c *service.Call, o *identity.Organization, in *api.CloseAccountInput) (*none, error) {
	return nil, s.change(ctx, c, o, func(tx *store.Tx, o *identity.Organization) error {
		a := member(tx, o, in.AccountId)
		switch {
		case a == nil:
			return noAccount()
		case a.ID == o.Management:
			return constraint("CANNOT_CLOSE_MANAGEMENT_ACCOUNT")
		case o.FeatureSet != allFeatures:
			return constraint("ORGANIZATION_NOT_IN_ALL_FEATURES_MODE")
		case !a.Closed.IsZero():
			return api.AccountAlreadyClosed("The account is already closed.")
		}
		a.Closed = now(c)
		identity.Accounts.Put(tx, a.ID, a)
		return nil
	})
}

func (s *Service) removeAccountFromOrganization(ctx context.Context, c *service.Call, o *identity.Organization, in *api.RemoveAccountFromOrganizationInput) (*none, error) {
	return nil, s.leave(ctx, c, o, in.AccountId)
}

func (s *Service) leaveOrganization(ctx context.Context, c *service.Call, o *identity.Organization, _ *api.LeaveOrganizationInput) (*none, error) {
	return nil, s.leave(ctx, c, o, c.Account)
}

// leave takes an account out of the organisation. The roles in it stay, that which the
// management account may assume among them.
func (s *Service) leave(ctx context.Context, c *service.Call, o *identity.Organization, account string) error {
	return s.change(ctx, c, o, func(tx *store.Tx, o *identity.Organization) error {
		a := member(tx, o, account)
		switch {
		case a == nil:
			return noAccount()
		case a.ID == o.Management:
			return api.MasterCannotLeaveOrganization("The management account can't leave the organization. To remove it, delete the organization.")
		case len(o.Delegates[a.ID]) > 0:
			return constraint("CANNOT_REMOVE_DELEGATED_ADMINISTRATOR_FROM_ORG")
		case !a.Closed.IsZero():
			return constraint("ACCOUNT_CANNOT_LEAVE_ORGANIZATION")
		}
		a.Membership = nil
		identity.Accounts.Put(tx, a.ID, a)
		return nil
	})
}
