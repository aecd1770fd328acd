package iam

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

const defaultSessionDuration = 3600

func (s *Service) createRole(ctx context.Context, c *service.Call, in *api.CreateRoleInput) (*api.CreateRoleOutput, error) {
	if err := distinct(in.Tags, false); err != nil {
		return nil, err
	}
	path := orRoot(in.Path)
	if strings.HasPrefix(path, identity.ServiceLinkedPath) {
		return nil, api.InvalidInput("The path %s is reserved for service-linked roles.", path)
	}
	if err := s.checkTrust(in.AssumeRolePolicyDocument); err != nil {
		return nil, err
	}
	r := &identity.Role{Role: api.Role{
		Path:               path,
		RoleName:           in.RoleName,
		RoleId:             identity.NewID(identity.RolePrefix, c.Account),
		Arn:                entityARN(c.Account, identity.RoleKind, path, in.RoleName),
		CreateDate:         now(c),
		Description:        in.Description,
		MaxSessionDuration: defaultSessionDuration,
		Tags:               in.Tags,
	}}
	if in.MaxSessionDuration != nil {
		r.MaxSessionDuration = *in.MaxSessionDuration
	}
	err := create(ctx, s, c, roles, r, func(tx *store.Tx) error {
		r.PermissionsBoundary = nil // this may run twice
		if err := setBoundary(tx, c, &r.PermissionsBoundary, in.PermissionsBoundary); err != nil {
			return err
		}
		var err error
		r.Trust, err = bindTrust(tx, in.AssumeRolePolicyDocument)
		return err
	})
	if err != nil {
		return nil, err
	}
	v := briefRole(s.DB.View(), r)
	v.AssumeRolePolicyDocument = in.AssumeRolePolicyDocument // as it was written, account numbers and all
	v.PermissionsBoundary, v.Tags = r.PermissionsBoundary, r.Tags
	return &api.CreateRoleOutput{Role: &v}, nil
}

// NewOrganizationRole makes the role by which the management account of an
// organisation comes into an account that it is just making.
func NewOrganizationRole(tx *store.Tx, account, name, trust string, managed arn.ARN, now time.Time) error {
	bound, err := identity.BindTrust(tx, trust)
	if err != nil {
		return err
	}
	r := &identity.Role{Trust: bound, Attached: []arn.ARN{managed}, Role: api.Role{
		Path:               "/",
		RoleName:           name,
		RoleId:             identity.NewID(identity.RolePrefix, account),
		Arn:                entityARN(account, identity.RoleKind, "/", name),
		CreateDate:         now.UTC().Truncate(time.Second),
		MaxSessionDuration: defaultSessionDuration,
	}}
	use(tx, account, managed, +1, 0)
	identity.Roles.Put(tx, identity.Key(account, name), r)
	identity.IDs.Put(tx, r.RoleId, &identity.Ref{Kind: identity.RoleKind, Key: identity.Key(account, name)})
	identity.Counters.Put(tx, account, &identity.Counts{Roles: 1})
	return nil
}

// checkTrust is what is wrong with the text of a trust policy, whoever it names.
func (s *Service) checkTrust(document string) error {
	if err := checkDocument(document, policy.Trust); err != nil {
		return err
	}
	p, err := policy.Parse([]byte(document))
	if err != nil {
		return err
	}
	if err := checkShared(p); err != nil {
		return err
	}
	return within(policy.Size(document), s.Quotas.TrustPolicySize, "ACLSizePerRole")
}

func bindTrust(r store.Reader, document string) (identity.Document, error) {
	d, err := identity.BindTrust(r, document)
	if bad, ok := errors.AsType[*identity.PrincipalError](err); ok {
		return d, api.MalformedPolicyDocument("%s", bad.Error())
	}
	return d, err
}

// briefRole is a role with what every answer shows of it.
func briefRole(r store.Reader, role *identity.Role) api.Role {
	return api.Role{
		Path: role.Path, RoleName: role.RoleName, RoleId: role.RoleId, Arn: role.Arn, CreateDate: role.CreateDate,
		AssumeRolePolicyDocument: identity.ShowTrust(r, role.Trust),
	}
}

func (s *Service) getRole(_ context.Context, c *service.Call, in *api.GetRoleInput) (*api.GetRoleOutput, error) {
	r, err := roles.get(c.State, c, in.RoleName)
	if err != nil {
		return nil, err
	}
	v := briefRole(c.State, r)
	v.Description, v.MaxSessionDuration = r.Description, r.MaxSessionDuration
	v.PermissionsBoundary, v.Tags = r.PermissionsBoundary, r.Tags
	v.RoleLastUsed = roleLastUsed(c.State, r)
	v.SourceRoleTemplate = r.SourceRoleTemplate
	return &api.GetRoleOutput{Role: &v}, nil
}

// roleLastUsed is there for a role never used too, and empty.
func roleLastUsed(r store.Reader, role *identity.Role) *api.RoleLastUsed {
	if use := identity.LastUsed.Get(r, role.RoleId); use != nil {
		return &api.RoleLastUsed{LastUsedDate: use.Time.UTC(), Region: use.Region}
	}
	return &api.RoleLastUsed{}
}

func (s *Service) listRoles(_ context.Context, c *service.Call, in *api.ListRolesInput) (*api.ListRolesOutput, error) {
	p, err := paged(in.Marker, in.MaxItems, mapped(roles.all(c.State, c.Account, in.PathPrefix),
		func(r *identity.Role) (api.Role, bool) {
			v := briefRole(c.State, r)
			v.Description, v.MaxSessionDuration = r.Description, r.MaxSessionDuration
			return v, true
		}))
	if err != nil {
		return nil, err
	}
	return &api.ListRolesOutput{Roles: p.Items, IsTruncated: p.More, Marker: p.Marker}, nil
}

func (s *Service) updateRole(ctx context.Context, c *service.Call, in *api.UpdateRoleInput) (*api.UpdateRoleOutput, error) {
	return &api.UpdateRoleOutput{}, annotate(ctx, s, c, roles, in.RoleName, func(_ *store.Tx, r *identity.Role) error {
		if in.Description != nil {
			r.Description = *in.Description
		}
		if in.MaxSessionDuration != nil {
			r.MaxSessionDuration = *in.MaxSessionDuration
			return roles.guard(r)
		}
		return nil
	})
}

func (s *Service) updateRoleDescription(ctx context.Context, c *service.Call, in *api.UpdateRoleDescriptionInput) (*api.UpdateRoleDescriptionOutput, error) {
	var v api.Role
	err := annotate(ctx, s, c, roles, in.RoleName, func(tx *store.Tx, r *identity.Role) error {
		r.Description = in.Description
		v = briefRole(tx, r)
		v.Description = r.Description
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.UpdateRoleDescriptionOutput{Role: &v}, nil
}

func (s *Service) updateAssumeRolePolicy(ctx context.Context, c *service.Call, in *api.UpdateAssumeRolePolicyInput) (*none, error) {
	return nil, change(ctx, s, c, roles, in.RoleName, func(tx *store.Tx, r *identity.Role) error {
		if err := s.checkTrust(in.PolicyDocument); err != nil {
			return err
		}
		var err error
		r.Trust, err = bindTrust(tx, in.PolicyDocument)
		return err
	})
}

func (s *Service) deleteRole(ctx context.Context, c *service.Call, in *api.DeleteRoleInput) (*none, error) {
	return nil, remove(ctx, s, c, roles, in.RoleName, func(tx *store.Tx, r *identity.Role) error {
		switch {
		case r.Profiles > 0:
			return api.DeleteConflict("Cannot delete entity, must remove roles from instance profile first.")
		case len(r.Attached) > 0:
			return api.DeleteConflict("Cannot delete entity, must detach all policies first.")
		case len(r.Inline) > 0:
			return api.DeleteConflict("Cannot delete entity, must delete policies first.")
		}
		return setBoundary(tx, c, &r.PermissionsBoundary, "")
	})
}

// passedRole is the role that a caller hands to a service. Refusals print its ARN.
var passedRole = service.On(func(c *service.Call, in *api.AddRoleToInstanceProfileInput) []service.Target {
	t := roles.target(c, in.RoleName)
	return []service.Target{{ARN: arn.ARN(t.ARN)}}
})
