package iam

import (
	"context"
	"iter"
	"strings"

	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

func (s *Service) createInstanceProfile(ctx context.Context, c *service.Call, in *api.CreateInstanceProfileInput) (*api.CreateInstanceProfileOutput, error) {
	if err := distinct(in.Tags, false); err != nil {
		return nil, err
	}
	path := orRoot(in.Path)
	p := &identity.Profile{InstanceProfile: api.InstanceProfile{
		Path:                path,
		InstanceProfileName: in.InstanceProfileName,
		InstanceProfileId:   identity.NewID(identity.ProfilePrefix, c.Account),
		Arn:                 entityARN(c.Account, identity.ProfileKind, path, in.InstanceProfileName),
		CreateDate:          now(c),
		Tags:                in.Tags,
	}}
	if err := create(ctx, s, c, profiles, p, nil); err != nil {
		return nil, err
	}
	v := shownProfile(c.State, p)
	v.Tags = in.Tags
	return &api.CreateInstanceProfileOutput{InstanceProfile: &v}, nil
}

// shownProfile is a profile with its role, without tags.
func shownProfile(r store.Reader, p *identity.Profile) api.InstanceProfile {
	v := p.InstanceProfile
	v.Tags, v.Roles = nil, []api.Role{}
	if p.Role != "" {
		if role := identity.Roles.Get(r, p.Role); role != nil {
			v.Roles = append(v.Roles, briefRole(r, role))
		}
	}
	return v
}

func (s *Service) getInstanceProfile(_ context.Context, c *service.Call, in *api.GetInstanceProfileInput) (*api.GetInstanceProfileOutput, error) {
	p, err := profiles.get(c.State, c, in.InstanceProfileName)
	if err != nil {
		return nil, err
	}
	v := shownProfile(c.State, p)
	v.Tags = p.Tags
	if v.Tags == nil {
		v.Tags = []api.Tag{} // written although empty
	}
	return &api.GetInstanceProfileOutput{InstanceProfile: &v}, nil
}

func (s *Service) listInstanceProfiles(_ context.Context, c *service.Call, in *api.ListInstanceProfilesInput) (*api.ListInstanceProfilesOutput, error) {
	p, err := paged(in.Marker, in.MaxItems, mapped(profiles.all(c.State, c.Account, in.PathPrefix),
		func(p *identity.Profile) (api.InstanceProfile, bool) { return shownProfile(c.State, p), true }))
	if err != nil {
		return nil, err
	}
	return &api.ListInstanceProfilesOutput{InstanceProfiles: p.Items, IsTruncated: p.More, Marker: p.Marker}, nil
}

func (s *Service) listInstanceProfilesForRole(_ context.Context, c *service.Call, in *api.ListInstanceProfilesForRoleInput) (*api.ListInstanceProfilesForRoleOutput, error) {
	r, err := roles.get(c.State, c, in.RoleName)
	if err != nil {
		return nil, err
	}
	p, err := paged(in.Marker, in.MaxItems, profilesOf(c.State, c.Account, r))
	if err != nil {
		return nil, err
	}
	return &api.ListInstanceProfilesForRoleOutput{InstanceProfiles: p.Items, IsTruncated: p.More, Marker: p.Marker}, nil
}

// profilesOf lists the instance profiles that hold a role.
func profilesOf(r store.Reader, account string, role *identity.Role) list[api.InstanceProfile] {
	return func(after string) iter.Seq2[string, api.InstanceProfile] {
		return func(yield func(string, api.InstanceProfile) bool) {
			prefix := roles.key(account, role) + "/"
			for key := range identity.HeldBy.From(r, prefix, after) {
				if p := profiles.find(r, account, key[len(prefix):]); p != nil && !yield(key, shownProfile(r, p)) {
					return
				}
			}
		}
	}
}

// heldBy is the key in HeldBy of a profile and its role.
func heldBy(p *identity.Profile) string {
	return p.Role + "/" + strings.ToLower(p.InstanceProfileName)
}

// addRoleToInstanceProfile also needs the permission to pass the role: what runs on
// an instance with the profile has the role's credentials.
func (s *Service) addRoleToInstanceProfile(ctx context.Context, c *service.Call, in *api.AddRoleToInstanceProfileInput) (*none, error) {
	return nil, change(ctx, s, c, profiles, in.InstanceProfileName, func(tx *store.Tx, p *identity.Profile) error {
		r, err := roles.get(tx, c, in.RoleName)
		if err != nil {
			return err
		}
		if err := roles.guard(r); err != nil {
			return err
		}
		if p.Role != "" {
			return within(2, 1, "InstanceSessionsPerInstanceProfile")
		}
		p.Role = roles.key(c.Account, r)
		r.Profiles++
		identity.HeldBy.Put(tx, heldBy(p), &struct{}{})
		identity.Roles.Put(tx, p.Role, r)
		return nil
	})
}

func (s *Service) removeRoleFromInstanceProfile(ctx context.Context, c *service.Call, in *api.RemoveRoleFromInstanceProfileInput) (*none, error) {
	return nil, change(ctx, s, c, profiles, in.InstanceProfileName, func(tx *store.Tx, p *identity.Profile) error {
		r, err := roles.get(tx, c, in.RoleName)
		if err != nil {
			return err
		}
		key := roles.key(c.Account, r)
		if p.Role != key {
			return roles.missing(in.RoleName)
		}
		identity.HeldBy.Delete(tx, heldBy(p))
		p.Role = ""
		r.Profiles--
		identity.Roles.Put(tx, key, r)
		return nil
	})
}

func (s *Service) deleteInstanceProfile(ctx context.Context, c *service.Call, in *api.DeleteInstanceProfileInput) (*none, error) {
	return nil, remove(ctx, s, c, profiles, in.InstanceProfileName, func(_ *store.Tx, p *identity.Profile) error {
		if p.Role != "" {
			return api.DeleteConflict("Cannot delete entity, must remove roles from instance profile first.")
		}
		return nil
	})
}
