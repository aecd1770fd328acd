package iam

import (
	"context"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

func (s *Service) createGroup(ctx context.Context, c *service.Call, in *api.CreateGroupInput) (*api.CreateGroupOutput, error) {
	path := orRoot(in.Path)
	g := &identity.Group{Group: api.Group{
		Path:       path,
		GroupName:  in.GroupName,
		GroupId:    identity.NewID(identity.GroupPrefix, c.Account),
		Arn:        entityARN(c.Account, identity.GroupKind, path, in.GroupName),
		CreateDate: now(c),
	}}
	if err := create(ctx, s, c, groups, g, nil); err != nil {
		return nil, err
	}
	return &api.CreateGroupOutput{Group: &g.Group}, nil
}

func (s *Service) getGroup(_ context.Context, c *service.Call, in *api.GetGroupInput) (*api.GetGroupOutput, error) {
	g, err := groups.get(c.State, c, in.GroupName)
	if err != nil {
		return nil, err
	}
	p, err := paged(in.Marker, in.MaxItems, mapped(members(c.State, c.Account, groups.key(c.Account, g)), listedUser))
	if err != nil {
		return nil, err
	}
	return &api.GetGroupOutput{Group: &g.Group, Users: p.Items, IsTruncated: p.More, Marker: p.Marker}, nil
}

// members lists the users of a group.
func members(r store.Reader, account, group string) list[*identity.User] {
	prefix := group + "/"
	var keys list[string] = func(after string) iter.Seq2[string, string] {
		return func(yield func(string, string) bool) {
			for key := range identity.Members.From(r, prefix, after) {
				if !yield(key, strings.TrimPrefix(key, prefix)) {
					return
				}
			}
		}
	}
	return mapped(keys, func(name string) (*identity.User, bool) {
		u := identity.Users.Get(r, identity.Key(account, name))
		return u, u != nil
	})
}

func (s *Service) listGroups(_ context.Context, c *service.Call, in *api.ListGroupsInput) (*api.ListGroupsOutput, error) {
	p, err := paged(in.Marker, in.MaxItems, mapped(groups.all(c.State, c.Account, in.PathPrefix),
		func(g *identity.Group) (api.Group, bool) { return g.Group, true }))
	if err != nil {
		return nil, err
	}
	return &api.ListGroupsOutput{Groups: p.Items, IsTruncated: p.More, Marker: p.Marker}, nil
}

// maxRenamed is how many users a group may have when it gets another name: each
// takes three keys of the one change that renames it, which can have store.MaxKeys.
const maxRenamed = 300

func (s *Service) updateGroup(ctx context.Context, c *service.Call, in *api.UpdateGroupInput) (*none, error) {
	return nil, s.update(ctx, func(tx *store.Tx) error {
		g, err := groups.get(tx, c, in.GroupName)
		if err != nil {
			return err
		}
		from := groups.key(c.Account, g)
		if in.NewGroupName != "" {
			g.GroupName = in.NewGroupName
		}
		if in.NewPath != "" {
			g.Path = in.NewPath
		}
		g.Arn = entityARN(c.Account, identity.GroupKind, g.Path, g.GroupName)
		to := groups.key(c.Account, g)
		if to != from {
			if identity.Groups.Get(tx, to) != nil {
				return groups.exists(in.NewGroupName)
			}
			if g.Users > maxRenamed {
				return api.LimitExceeded("A group with more than %d users cannot be renamed.", maxRenamed)
			}
			identity.Groups.Delete(tx, from)
			identity.IDs.Put(tx, g.GroupId, &identity.Ref{Kind: identity.GroupKind, Key: to})
			// Members know their groups by key. Who joins or leaves meanwhile writes the
			// group, so that this runs again.
			for _, u := range maps.Collect(members(tx, c.Account, from)("")) {
				key := users.key(c.Account, u)
				u.Groups[slices.Index(u.Groups, from)] = to
				identity.Users.Put(tx, key, u)
				identity.Members.Delete(tx, member(from, key))
				identity.Members.Put(tx, member(to, key), &struct{}{})
			}
		}
		identity.Groups.Put(tx, to, g)
		return nil
	})
}

// renamedGroup is the group that UpdateGroup makes of another.
func renamedGroup(in reflect.Type) func(*service.Call, any) []service.Target {
	return service.On(func(c *service.Call, in *api.UpdateGroupInput) []service.Target {
		return renamed(c, groups, in.GroupName, in.NewPath, in.NewGroupName)
	})(in)
}

func (s *Service) deleteGroup(ctx context.Context, c *service.Call, in *api.DeleteGroupInput) (*none, error) {
	return nil, remove(ctx, s, c, groups, in.GroupName, func(_ *store.Tx, g *identity.Group) error {
		switch {
		case g.Users > 0:
			return api.DeleteConflict("Cannot delete entity, must remove users from group first.")
		case len(g.Attached) > 0:
			return api.DeleteConflict("Cannot delete entity, must detach all policies first.")
		case len(g.Inline) > 0:
			return api.DeleteConflict("Cannot delete entity, must delete policies first.")
		}
		return nil
	})
}

// addUserToGroup looks for the user first, as AWS does. Adding twice is no change.
func (s *Service) addUserToGroup(ctx context.Context, c *service.Call, in *api.AddUserToGroupInput) (*none, error) {
	return nil, s.update(ctx, func(tx *store.Tx) error {
		u, g, err := membership(tx, c, in.UserName, in.GroupName)
		if err != nil {
			return err
		}
		user, group := users.key(c.Account, u), groups.key(c.Account, g)
		if slices.Contains(u.Groups, group) {
			return nil
		}
		if err := within(len(u.Groups)+1, s.Quotas.GroupsPerUser, "GroupsPerUser"); err != nil {
			return err
		}
		u.Groups = append(u.Groups, group)
		g.Users++
		identity.Users.Put(tx, user, u)
		identity.Groups.Put(tx, group, g)
		identity.Members.Put(tx, member(group, user), &struct{}{})
		return nil
	})
}

func (s *Service) removeUserFromGroup(ctx context.Context, c *service.Call, in *api.RemoveUserFromGroupInput) (*none, error) {
	return nil, s.update(ctx, func(tx *store.Tx) error {
		u, g, err := membership(tx, c, in.UserName, in.GroupName)
		if err != nil {
			return err
		}
		user, group := users.key(c.Account, u), groups.key(c.Account, g)
		i := slices.Index(u.Groups, group)
		if i < 0 {
			return nil
		}
		u.Groups = slices.Delete(u.Groups, i, i+1)
		g.Users--
		identity.Users.Put(tx, user, u)
		identity.Groups.Put(tx, group, g)
		identity.Members.Delete(tx, member(group, user))
		return nil
	})
}

func membership(tx *store.Tx, c *service.Call, userName, groupName string) (*identity.User, *identity.Group, error) {
	u, err := users.get(tx, c, userName)
	if err != nil {
		return nil, nil, err
	}
	g, err := groups.get(tx, c, groupName)
	return u, g, err
}
