package ec2

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/ec2/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// profileOf finds the instance profile that a call names; nil when it names none. What is
// in it may be used only where it has a role.
func profileOf(r store.Reader, account string, spec *api.IamInstanceProfileSpecification) (*identity.Profile, error) {
	if spec == nil || spec.Arn == "" && spec.Name == "" {
		return nil, nil
	}
	if spec.Arn != "" && spec.Name != "" {
		return nil, api.InvalidParameterCombination("The parameter 'iamInstanceProfile.name' may not be used in combination with 'iamInstanceProfile.arn'")
	}
	name := spec.Name
	if a := arn.ARN(spec.Arn); a != "" && a.Account() == account {
		name = a.Resource()[strings.LastIndexByte(a.Resource(), '/')+1:]
	}
	p := identity.Profiles.Get(r, identity.Key(account, name))
	switch {
	case p == nil && spec.Name != "":
		return nil, api.InvalidParameterValue("Value (%s) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name", spec.Name)
	case p == nil || spec.Arn != "" && p.Arn != spec.Arn:
		return nil, api.InvalidParameterValue("Value (%s) for parameter iamInstanceProfile.arn is invalid. Invalid IAM Instance Profile ARN", spec.Arn)
	case roleOf(r, p) == nil:
		return nil, api.InvalidParameterValue("IAM Instance Profile %q has no associated IAM Roles", p.Arn)
	}
	return p, nil
}

// profileARN is the ARN of the profile that a call names; "" where there is none.
func profileARN(c *service.Call, spec *api.IamInstanceProfileSpecification) string {
	if p, err := profileOf(c.State, c.Account, spec); err == nil && p != nil {
		return p.Arn
	}
	return spec.Arn
}

func roleOf(r store.Reader, p *identity.Profile) *identity.Role {
	if p.Role == "" {
		return nil
	}
	return identity.Roles.Get(r, p.Role)
}

func newAssociation(c *service.Call, p *identity.Profile) *Association {
	return &Association{ID: newID("iip-assoc-"), ARN: p.Arn, Profile: p.InstanceProfileId, Since: c.Time.UTC().Truncate(time.Millisecond), Request: c.RequestID}
}

func (a *Association) show(i *Instance, state string) *api.IamInstanceProfileAssociation {
	return &api.IamInstanceProfileAssociation{AssociationId: a.ID, InstanceId: i.ID, State: state, Timestamp: a.Since,
		IamInstanceProfile: &api.IamInstanceProfile{Arn: a.ARN, Id: a.Profile}}
}

// required is profileOf for calls that must name a profile.
func required(c *service.Call, spec *api.IamInstanceProfileSpecification) (*identity.Profile, error) {
	p, err := profileOf(c.State, c.Account, spec)
	if err == nil && p == nil {
		return nil, api.MissingParameter("The request must contain the parameter iamInstanceProfile")
	}
	return p, err
}

func (s *Service) associateIamInstanceProfile(ctx context.Context, c *service.Call, in *api.AssociateIamInstanceProfileInput) (*api.AssociateIamInstanceProfileOutput, error) {
	p, err := required(c, &in.IamInstanceProfile)
	if err != nil {
		return nil, err
	}
	made := newAssociation(c, p)
	var i *Instance
	if err := s.change(ctx, c, []string{in.InstanceId}, func(found *Instance) error {
		i = found
		switch {
		case i.State != running && i.State != stopped:
			return api.IncorrectInstanceState("The instance '%s' is not in the 'running' or 'stopped' states.", i.ID)
		case i.Profile != nil:
			return api.IncorrectState("There is an existing association for instance %s", i.ID)
		}
		i.Profile = made
		return nil
	}); err != nil {
		return nil, err
	}
	return &api.AssociateIamInstanceProfileOutput{IamInstanceProfileAssociation: made.show(i, "associating")}, nil
}

func (s *Service) replaceIamInstanceProfileAssociation(ctx context.Context, c *service.Call, in *api.ReplaceIamInstanceProfileAssociationInput) (*api.ReplaceIamInstanceProfileAssociationOutput, error) {
	p, err := required(c, &in.IamInstanceProfile)
	if err != nil {
		return nil, err
	}
	made := newAssociation(c, p)
	i, err := s.changeAssociation(ctx, c, in.AssociationId, func(i *Instance) error {
		if i.State != running {
			return api.IncorrectState("The association %s is not the active association", in.AssociationId)
		}
		i.Profile = made
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.ReplaceIamInstanceProfileAssociationOutput{IamInstanceProfileAssociation: made.show(i, "associating")}, nil
}

func (s *Service) disassociateIamInstanceProfile(ctx context.Context, c *service.Call, in *api.DisassociateIamInstanceProfileInput) (*api.DisassociateIamInstanceProfileOutput, error) {
	var old *Association
	i, err := s.changeAssociation(ctx, c, in.AssociationId, func(i *Instance) error {
		old, i.Profile = i.Profile, nil
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.DisassociateIamInstanceProfileOutput{IamInstanceProfileAssociation: old.show(i, "disassociating")}, nil
}

// changeAssociation gives the instance that has the association to f. It is the one that
// was decided about, or there is none.
func (s *Service) changeAssociation(ctx context.Context, c *service.Call, id string, f func(*Instance) error) (*Instance, error) {
	if !strings.HasPrefix(id, "iip-assoc-") {
		return nil, api.InvalidParameterValue("Invalid value for associationId.")
	}
	missing := func() error {
		return api.InvalidAssociationIDNotFound("An invalid association-id of '%s' was given", id)
	}
	decided := byAssociation(c.State, c.Account, c.Region, id)
	if decided == nil {
		return nil, missing()
	}
	var i *Instance
	err := s.change(ctx, c, []string{decided.ID}, func(found *Instance) error {
		if i = found; i.Profile == nil || i.Profile.ID != id {
			return missing()
		}
		return f(i)
	})
	return i, err
}

func (s *Service) describeIamInstanceProfileAssociations(_ context.Context, c *service.Call, in *api.DescribeIamInstanceProfileAssociationsInput) (*api.DescribeIamInstanceProfileAssociationsOutput, error) {
	match, err := filtered(in.Filters, map[string]func(*Instance) []string{
		"instance-id": func(i *Instance) []string { return []string{i.ID} },
		"state":       func(*Instance) []string { return []string{"associated"} },
	})
	if err != nil {
		return nil, err
	}
	var all []*Instance
	for i := range shown(c.State, c.Account, c.Region, c.Time) {
		if i.Profile != nil && i.State != terminated {
			all = append(all, i)
		}
	}
	for _, id := range in.AssociationIds {
		if !slices.ContainsFunc(all, func(i *Instance) bool { return i.Profile.ID == id }) {
			return nil, api.InvalidAssociationIDNotFound("An invalid association-id of '%s' was given", id)
		}
	}
	all = slices.DeleteFunc(all, func(i *Instance) bool {
		return !match(i) || len(in.AssociationIds) > 0 && !slices.Contains(in.AssociationIds, i.Profile.ID)
	})
	page, next, err := paged(all, (*Instance).at, in.NextToken, in.MaxResults)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeIamInstanceProfileAssociationsOutput{IamInstanceProfileAssociations: []api.IamInstanceProfileAssociation{}, NextToken: next}
	for _, i := range page {
		out.IamInstanceProfileAssociations = append(out.IamInstanceProfileAssociations, *i.Profile.show(i, "associated"))
	}
	return out, nil
}
