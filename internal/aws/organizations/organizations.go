// Package organizations is AWS Organizations: accounts in a tree of organizational
// units, the policies that limit what they may do, and who administers them.
//
//	s := &organizations.Service{DB: db, NewRole: iam.NewOrganizationRole}
//	table := s.AWS()
//
// What a decision needs of an organisation is kept by package identity (Organization,
// Unit, Membership, OrganizationPolicy) and holds from the next call on. Handshakes
// and requests for accounts are kept here.
//
// # Who may call
//
// Beside the permission that the table's rows ask for, as for any service, an
// operation is open to
//
//   - the management account alone: managed,
//   - the management account, delegated administrators as far as they read, and those
//     to whom the organisation's resource policy gives the action: delegated,
//   - every member account: shared.
//
// The ARNs of an organisation carry the management account, whoever asks.
//
// # Policies
//
// Service and resource control policies decide; package authz asks them. The other
// types, such as tag policies, are kept, attached and merged into effective policies,
// and nothing in iamd follows them. Every type is off until EnablePolicyType.
// Enabling one begins a new generation of attachments: see identity.Attachment.
//
// # Time
//
// What AWS does in the background is done here before the answer: an account is there
// when CreateAccount answers, and closed when CloseAccount does.
package organizations

import (
	"context"
	_ "embed"
	"reflect"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/organizations/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

// A Service is Organizations over a store.
type Service struct {
	DB *store.DB
	// NewRole makes the role of a new account that the management account may assume,
	// with an AWS managed policy attached.
	NewRole func(tx *store.Tx, account, name, trust string, managed arn.ARN, now time.Time) error
	Quotas  Quotas // the zero value is DefaultQuotas()
}

//go:embed declined.txt
var declined string

// AWS returns the table of operations.
func (s *Service) AWS() *service.Service {
	if s.Quotas == (Quotas{}) {
		s.Quotas = DefaultQuotas()
	}
	table := service.New(api.Model, declined,
		//                              on                       and
		service.Handle(s.createOrganization, service.Any),
		shared(s.describeOrganization, anything),
		managed(s.deleteOrganization, anything),
		managed(s.enableAllFeatures, anything),
		delegated(s.listRoots, anything, nil),

		managed(s.createOrganizationalUnit, parent("ParentId"),
			service.Tags("Tags"), taggingNew("ou")),
		delegated(s.describeOrganizationalUnit, one("OrganizationalUnitId"), nil),
		managed(s.updateOrganizationalUnit, one("OrganizationalUnitId")),
		managed(s.deleteOrganizationalUnit, one("OrganizationalUnitId")),
		delegated(s.listOrganizationalUnitsForParent, parent("ParentId"), nil),
		delegated(s.listChildren, parent("ParentId"), nil),
		delegated(s.listParents, one("ChildId"), nil),

		managed(s.createAccount, anything, service.Tags("Tags"), taggingNew("account")),
		delegated(s.describeCreateAccountStatus, anything, nil),
		delegated(s.listCreateAccountStatus, anything, nil),
		delegated(s.describeAccount, one("AccountId"), nil),
		delegated(s.listAccounts, anything, nil),
		delegated(s.listAccountsForParent, parent("ParentId"), nil),
		managed(s.moveAccount, one("AccountId", "SourceParentId", "DestinationParentId")),
		managed(s.closeAccount, one("AccountId")),
		managed(s.removeAccountFromOrganization, one("AccountId")),
		shared(s.leaveOrganization, anything),

		managed(s.inviteAccountToOrganization, invited, service.Tags("Tags"), taggingNew("account")),
		service.Handle(s.acceptHandshake, handshakeNamed),
		service.Handle(s.declineHandshake, handshakeNamed),
		service.Handle(s.cancelHandshake, handshakeNamed),
		service.Handle(s.describeHandshake, handshakeNamed),
		service.Handle(s.listHandshakesForAccount, service.Any),
		delegated(s.listHandshakesForOrganization, anything, nil),

		delegated(s.enablePolicyType, one("RootId"), typeIn("PolicyType")),
		delegated(s.disablePolicyType, one("RootId"), typeIn("PolicyType")),
		delegated(s.createPolicy, newPolicy, typeIn("Type"), service.Tags("Tags"), taggingNewPolicy),
		delegated(s.describePolicy, one("PolicyId"), typeOf("PolicyId")),
		delegated(s.updatePolicy, one("PolicyId"), typeOf("PolicyId")),
		delegated(s.deletePolicy, one("PolicyId"), typeOf("PolicyId")),
		delegated(s.listPolicies, anything, typeIn("Filter")),
		delegated(s.attachPolicy, one("PolicyId", "TargetId"), typeOf("PolicyId")),
		delegated(s.detachPolicy, one("PolicyId", "TargetId"), typeOf("PolicyId")),
		delegated(s.listPoliciesForTarget, one("TargetId"), typeIn("Filter")),
		delegated(s.listTargetsForPolicy, one("PolicyId"), typeOf("PolicyId")),
		shared(s.describeEffectivePolicy, effectiveTarget, service.Key("organizations:PolicyType", "{PolicyType}")),
		delegated(s.listAccountsWithInvalidEffectivePolicy, anything,
			typeIn("PolicyType")),
		delegated(s.listEffectivePolicyValidationErrors, one("AccountId"),
			typeIn("PolicyType")),

		managed(s.enableAWSServiceAccess, anything, servicePrincipal),
		managed(s.disableAWSServiceAccess, anything, servicePrincipal),
		delegated(s.listAWSServiceAccessForOrganization, anything, nil),
		managed(s.registerDelegatedAdministrator, one("AccountId"), servicePrincipal),
		managed(s.deregisterDelegatedAdministrator, one("AccountId"), servicePrincipal),
		delegated(s.listDelegatedAdministrators, anything, nil, servicePrincipal),
		delegated(s.listDelegatedServicesForAccount, one("AccountId"), nil),
		managed(s.putResourcePolicy, resourcePolicy, service.Tags("Tags")),
		delegated(s.describeResourcePolicy, anything, nil),
		managed(s.deleteResourcePolicy, anything),

		delegated(s.tagResource, one("ResourceId"), typeOf("ResourceId"), service.Tags("Tags")),
		delegated(s.untagResource, one("ResourceId"), typeOf("ResourceId"), service.Tags("TagKeys")),
		delegated(s.listTagsForResource, one("ResourceId"), typeOf("ResourceId")),
	)
	table.Object = object
	return table
}

var servicePrincipal = service.Key("organizations:ServicePrincipal", "{ServicePrincipal}")

// Tables returns the tables that are not identity's, for store.Open to check.
func Tables() []store.Checker { return []store.Checker{handshakes, requests} }

// A handler is that of an operation on the caller's organisation.
type handler[In, Out any] func(context.Context, *service.Call, *identity.Organization, *In) (*Out, error)

// managed is the row of an operation that is the management account's.
func managed[In, Out any](f handler[In, Out], on targets, clauses ...service.Clause) service.Row {
	return service.Handle(func(ctx context.Context, c *service.Call, in *In) (*Out, error) {
		o, err := organization(c)
		if err != nil {
			return nil, err
		}
		if c.Account != o.Management {
			return nil, notPermitted()
		}
		return f(ctx, c, o, in)
	}, on.resource, clauses...)
}

// shared is the row of an operation that is every member's.
func shared[In, Out any](f handler[In, Out], on targets, clauses ...service.Clause) service.Row {
	return service.Handle(func(ctx context.Context, c *service.Call, in *In) (*Out, error) {
		o, err := organization(c)
		if err != nil {
			return nil, err
		}
		return f(ctx, c, o, in)
	}, on.resource, clauses...)
}

// delegated is the row of an operation that the management account can leave to
// others: reading to delegated administrators, and whatever its resource policy
// gives. ofType is the type of policy that the operation is about, if it is nil about
// none.
func delegated[In, Out any](f handler[In, Out], on targets, ofType policyTypes, clauses ...service.Clause) service.Row {
	input := reflect.TypeFor[In]()
	action := policy.Action("organizations:" + strings.TrimSuffix(input.Name(), "Input"))
	about := on(input)
	_, verb, _ := strings.Cut(string(action), ":")
	reads := strings.HasPrefix(verb, "List") || strings.HasPrefix(verb, "Describe")
	actions := func(*In) []policy.Action { return []policy.Action{action} }
	if tags, ok := input.FieldByName("Tags"); ok { // to tag what is made is delegated by itself
		actions = func(in *In) []policy.Action {
			if reflect.ValueOf(in).Elem().FieldByIndex(tags.Index).Len() == 0 {
				return []policy.Action{action}
			}
			return []policy.Action{action, "organizations:TagResource"}
		}
	}
	typeOf := func(store.Reader, *identity.Organization, any) string { return "" }
	if ofType != nil {
		typeOf = ofType(input)
		clauses = append(clauses, service.KeyOf("organizations:PolicyType", func(c *service.Call, in *In) (policy.Value, bool) {
			t := typeOf(c.State, orNone(c), in)
			return policy.String(t), t != ""
		}))
	}
	return service.Handle(func(ctx context.Context, c *service.Call, in *In) (*Out, error) {
		o, err := organization(c)
		if err != nil {
			return nil, err
		}
		if c.Account == o.Management || reads && len(o.Delegates[c.Account]) > 0 {
			return f(ctx, c, o, in)
		}
		if o.ResourcePolicy == nil {
			return nil, notPermitted()
		}
		var pairs []service.Pair
		if t := typeOf(c.State, o, in); t != "" {
			pairs = append(pairs, service.Is("organizations:PolicyType", t))
		}
		for _, t := range about(c, o, in) {
			a := t.ARN
			if a.Account() != o.Management { // "*", or one of AWS's policies, which are everybody's: the resource policy hangs on the organisation
				a = organizationARN(o)
			}
			for _, needed := range actions(in) {
				if c.Authorize(needed, a, pairs...) != nil {
					return nil, notPermitted()
				}
			}
		}
		return f(ctx, c, o, in)
	}, on.resource, clauses...)
}

// organization is the caller's.
func organization(c *service.Call) (*identity.Organization, error) {
	if o, _ := identity.OrganizationOf(c.State, c.Account); o != nil {
		return o, nil
	}
	return nil, notInUse()
}

func notInUse() error {
	return api.AWSOrganizationsNotInUse("Your account is not a member of an organization.")
}

func notPermitted() error {
	return api.AccessDenied("You don't have permissions to access this resource.")
}

// change gives an organisation to f to be changed and keeps what f made of it. Every
// change of anything that is the organisation's goes through here: see
// identity.Organization.
func (s *Service) change(ctx context.Context, c *service.Call, decided *identity.Organization, f func(*store.Tx, *identity.Organization) error) error {
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		o := identity.Organizations.Get(tx, decided.ID)
		if o == nil {
			return notInUse()
		}
		if err := f(tx, o); err != nil {
			return err
		}
		keep(tx, c, o)
		return nil
	})
}

func keep(tx *store.Tx, c *service.Call, o *identity.Organization) {
	o.Changes, o.Changed = o.Changes+1, now(c)
	identity.Organizations.Put(tx, o.ID, o)
}

// now is the time of the call as it is kept: AWS shows milliseconds.
func now(c *service.Call) time.Time { return c.Time.UTC().Truncate(time.Millisecond) }

// none is the output of operations that have none.
type none struct{}
