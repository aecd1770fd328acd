package organizations

import (
	"cmp"
	"context"
	"crypto/rand"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/organizations/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

const (
	allFeatures = "ALL"
	enabled     = "ENABLED"
)

// newID makes an id: a prefix and so many random letters and digits.
func newID(prefix string, length int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	b := make([]byte, length)
	for i := range b {
		for { // every letter as often as the others
			rand.Read(b[i : i+1])
			if n := int(b[i]); n < 256/len(letters)*len(letters) {
				b[i] = letters[n%len(letters)]
				break
			}
		}
	}
	return prefix + string(b)
}

// createOrganization makes an organisation of the caller's account alone. Any account
// that is a member of none can.
func (s *Service) createOrganization(ctx context.Context, c *service.Call, in *api.CreateOrganizationInput) (*api.CreateOrganizationOutput, error) {
	o := &identity.Organization{
		ID: newID("o-", 10), Management: c.Account, FeatureSet: cmp.Or(in.FeatureSet, allFeatures), Created: now(c),
		Root: identity.Root{ID: newID("r-", 4)},
	}
	var out *api.Organization
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		a := identity.Accounts.Get(tx, c.Account)
		if a == nil || a.Membership != nil {
			return api.AlreadyInOrganization("The AWS account is already a member of an organization.")
		}
		a.Membership = &identity.Membership{Organization: o.ID, Parent: o.Root.ID, Joined: o.Created, Invited: true}
		identity.Accounts.Put(tx, a.ID, a)
		identity.Organizations.Put(tx, o.ID, o)
		out = viewOrganization(tx, o)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.CreateOrganizationOutput{Organization: out}, nil
}

func (s *Service) describeOrganization(_ context.Context, c *service.Call, o *identity.Organization, _ *api.DescribeOrganizationInput) (*api.DescribeOrganizationOutput, error) {
	return &api.DescribeOrganizationOutput{Organization: viewOrganization(c.State, o)}, nil
}

func viewOrganization(r store.Reader, o *identity.Organization) *api.Organization {
	v := &api.Organization{
		Id: o.ID, Arn: string(organizationARN(o)), FeatureSet: o.FeatureSet,
		MasterAccountId: o.Management, MasterAccountArn: string(o.ARN("account", o.Management)),
		AvailablePolicyTypes: []api.PolicyTypeSummary{},
	}
	if a := identity.Accounts.Get(r, o.Management); a != nil {
		v.MasterAccountEmail = emailOf(a)
	}
	if o.FeatureSet == allFeatures { // AWS keeps this list for old callers and shows no other type
		v.AvailablePolicyTypes = append(v.AvailablePolicyTypes, api.PolicyTypeSummary{Type: identity.ServiceControlPolicy, Status: enabled})
	}
	return v
}

// deleteOrganization needs an organisation without other accounts, OUs and policies.
func (s *Service) deleteOrganization(ctx context.Context, c *service.Call, o *identity.Organization, _ *api.DeleteOrganizationInput) (*none, error) {
	return nil, s.DB.Update(ctx, func(tx *store.Tx) error {
		o := identity.Organizations.Get(tx, o.ID)
		if o == nil {
			return notInUse()
		}
		others := false
		for id := range accounts(tx, o) {
			others = others || id != o.Management
		}
		if others || some(identity.Units.All(tx, o.Key(""))) || some(identity.OrganizationPolicies.All(tx, o.Key(""))) {
			return api.OrganizationNotEmpty("The organization isn't empty. To delete an organization, you must first remove all accounts except the management account, delete all OUs, and delete all policies.")
		}
		a := member(tx, o, o.Management)
		a.Membership = nil
		identity.Accounts.Put(tx, a.ID, a)
		identity.Organizations.Delete(tx, o.ID)
		return nil
	})
}

func (s *Service) listRoots(_ context.Context, c *service.Call, o *identity.Organization, in *api.ListRootsInput) (*api.ListRootsOutput, error) {
	if in.NextToken != "" { // there is one root
		return nil, invalid("INVALID_NEXT_TOKEN")
	}
	return &api.ListRootsOutput{Roots: []api.Root{*viewRoot(o)}}, nil
}

func viewRoot(o *identity.Organization) *api.Root {
	v := &api.Root{Id: o.Root.ID, Arn: string(o.ARN("root", o.Root.ID)), Name: "Root", PolicyTypes: []api.PolicyTypeSummary{}}
	for _, e := range o.Enabled {
		v.PolicyTypes = append(v.PolicyTypes, api.PolicyTypeSummary{Type: e.Type, Status: enabled})
	}
	return v
}

// joined is when an account came into its organisation, and how.
func joined(m *identity.Membership) (method string, at time.Time) {
	if m.Invited {
		return "INVITED", m.Joined
	}
	return "CREATED", m.Joined
}
