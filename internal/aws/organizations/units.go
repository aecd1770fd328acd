package organizations

import (
	"context"
	"strings"

	"github.com/iamd-dev/iamd/internal/aws/organizations/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// isParent reports whether the organisation has the root or OU.
func isParent(r store.Reader, o *identity.Organization, id string) bool {
	return id == o.Root.ID || identity.Units.Get(r, o.Key(id)) != nil
}

func (s *Service) createOrganizationalUnit(ctx context.Context, c *service.Call, o *identity.Organization, in *api.CreateOrganizationalUnitInput) (*api.CreateOrganizationalUnitOutput, error) {
	tags, err := s.withTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	u := &identity.Unit{ID: newID("ou-"+strings.TrimPrefix(o.Root.ID, "r-")+"-", 8), Name: in.Name, Parent: in.ParentId}
	u.Tags = tags
	var v *api.OrganizationalUnit
	err = s.change(ctx, c, o, func(tx *store.Tx, o *identity.Organization) error {
		if !isParent(tx, o, in.ParentId) {
			return noParent()
		}
		if above, _ := o.Above(tx, in.ParentId); len(above)-1 >= identity.MaxDepth {
			return constraint("OU_DEPTH_LIMIT_EXCEEDED")
		}
		if err := uniqueUnit(tx, o, u); err != nil {
			return err
		}
		n := 0
		for range identity.Units.All(tx, o.Key("")) {
			n++
		}
		if n >= s.Quotas.Units {
			return constraint("OU_NUMBER_LIMIT_EXCEEDED")
		}
		identity.Units.Put(tx, o.Key(u.ID), u)
		v = viewUnit(tx, o, u)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.CreateOrganizationalUnitOutput{OrganizationalUnit: v}, nil
}

// uniqueUnit sees that no other OU of the same parent has the name.
func uniqueUnit(r store.Reader, o *identity.Organization, u *identity.Unit) error {
	for id, other := range unitsIn(r, o, u.Parent) {
		if id != u.ID && other.Name == u.Name {
			return api.DuplicateOrganizationalUnit("An OU with the same name already exists.")
		}
	}
	return nil
}

func viewUnit(r store.Reader, o *identity.Organization, u *identity.Unit) *api.OrganizationalUnit {
	levels, _ := o.Above(r, u.ID)
	return &api.OrganizationalUnit{Id: u.ID, Arn: string(o.ARN("ou", u.ID)), Name: u.Name, Path: o.Path(levels)}
}

func (s *Service) describeOrganizationalUnit(_ context.Context, c *service.Call, o *identity.Organization, in *api.DescribeOrganizationalUnitInput) (*api.DescribeOrganizationalUnitOutput, error) {
	u := identity.Units.Get(c.State, o.Key(in.OrganizationalUnitId))
	if u == nil {
		return nil, noUnit()
	}
	return &api.DescribeOrganizationalUnitOutput{OrganizationalUnit: viewUnit(c.State, o, u)}, nil
}

func (s *Service) updateOrganizationalUnit(ctx context.Context, c *service.Call, o *identity.Organization, in *api.UpdateOrganizationalUnitInput) (*api.UpdateOrganizationalUnitOutput, error) {
	var v *api.OrganizationalUnit
	err := s.change(ctx, c, o, func(tx *store.Tx, o *identity.Organization) error {
		u := identity.Units.Get(tx, o.Key(in.OrganizationalUnitId))
		if u == nil {
			return noUnit()
		}
		if in.Name != "" {
			u.Name = in.Name
		}
		if err := uniqueUnit(tx, o, u); err != nil {
			return err
		}
		identity.Units.Put(tx, o.Key(u.ID), u)
		v = viewUnit(tx, o, u)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.UpdateOrganizationalUnitOutput{OrganizationalUnit: v}, nil
}

func (s *Service) deleteOrganizationalUnit(ctx context.Context, c *service.Call, o *identity.Organization, in *api.DeleteOrganizationalUnitInput) (*none, error) {
	return nil, s.change(ctx, c, o, func(tx *store.Tx, o *identity.Organization) error {
		id := in.OrganizationalUnitId
		if identity.Units.Get(tx, o.Key(id)) == nil {
			return noUnit()
		}
		if some(unitsIn(tx, o, id)) || some(accountsIn(tx, o, id)) {
			return api.OrganizationalUnitNotEmpty("The specified OU is not empty. Move all accounts to another root or to other OUs, remove all child OUs, and try the operation again.")
		}
		identity.Units.Delete(tx, o.Key(id))
		return nil
	})
}

func (s *Service) listOrganizationalUnitsForParent(_ context.Context, c *service.Call, o *identity.Organization, in *api.ListOrganizationalUnitsForParentInput) (*api.ListOrganizationalUnitsForParentOutput, error) {
	if !isParent(c.State, o, in.ParentId) {
		return nil, noParent()
	}
	page, next, err := paged(in.NextToken, in.MaxResults, mapped(unitsIn(c.State, o, in.ParentId), func(u *identity.Unit) (api.OrganizationalUnit, bool) {
		return *viewUnit(c.State, o, u), true
	}))
	if err != nil {
		return nil, err
	}
	return &api.ListOrganizationalUnitsForParentOutput{OrganizationalUnits: page, NextToken: next}, nil
}

func (s *Service) listChildren(_ context.Context, c *service.Call, o *identity.Organization, in *api.ListChildrenInput) (*api.ListChildrenOutput, error) {
	if !isParent(c.State, o, in.ParentId) {
		return nil, noParent()
	}
	children := mapped(accountsIn(c.State, o, in.ParentId), func(a *identity.Account) (api.Child, bool) {
		return api.Child{Id: a.ID, Type: "ACCOUNT"}, true
	})
	if in.ChildType == "ORGANIZATIONAL_UNIT" {
		children = mapped(unitsIn(c.State, o, in.ParentId), func(u *identity.Unit) (api.Child, bool) {
			return api.Child{Id: u.ID, Type: in.ChildType}, true
		})
	}
	page, next, err := paged(in.NextToken, in.MaxResults, children)
	if err != nil {
		return nil, err
	}
	return &api.ListChildrenOutput{Children: page, NextToken: next}, nil
}

// listParents lists one parent: nothing has two.
func (s *Service) listParents(_ context.Context, c *service.Call, o *identity.Organization, in *api.ListParentsInput) (*api.ListParentsOutput, error) {
	if in.NextToken != "" {
		return nil, invalid("INVALID_NEXT_TOKEN")
	}
	id := ""
	if u := identity.Units.Get(c.State, o.Key(in.ChildId)); u != nil {
		id = u.Parent
	} else if a := member(c.State, o, in.ChildId); a != nil {
		id = a.Membership.Parent
	} else {
		return nil, noChild()
	}
	kind := "ORGANIZATIONAL_UNIT"
	if id == o.Root.ID {
		kind = "ROOT"
	}
	return &api.ListParentsOutput{Parents: []api.Parent{{Id: id, Type: kind}}}, nil
}
