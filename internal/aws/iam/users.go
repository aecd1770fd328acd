package iam

import (
	"context"
	"reflect"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

func (s *Service) createUser(ctx context.Context, c *service.Call, in *api.CreateUserInput) (*api.CreateUserOutput, error) {
	if err := distinct(in.Tags, false); err != nil {
		return nil, err
	}
	path := orRoot(in.Path)
	u := &identity.User{User: api.User{
		Path:       path,
		UserName:   in.UserName,
		UserId:     identity.NewID(identity.UserPrefix, c.Account),
		Arn:        entityARN(c.Account, identity.UserKind, path, in.UserName),
		CreateDate: now(c),
		Tags:       in.Tags,
	}}
	err := create(ctx, s, c, users, u, func(tx *store.Tx) error {
		u.PermissionsBoundary = nil // this may run twice
		return setBoundary(tx, c, &u.PermissionsBoundary, in.PermissionsBoundary)
	})
	if err != nil {
		return nil, err
	}
	return &api.CreateUserOutput{User: &u.User}, nil
}

// getUser shows the user who calls when the input names none. The root, who is no
// entity, is shown by its account.
func (s *Service) getUser(_ context.Context, c *service.Call, in *api.GetUserInput) (*api.GetUserOutput, error) {
	u, err := userOrSelf(c.State, c, in.UserName)
	if err != nil {
		return nil, err
	}
	if u == nil {
		return &api.GetUserOutput{User: rootUser(c)}, nil
	}
	return &api.GetUserOutput{User: &u.User}, nil
}

// rootUser is the root of the caller's account, shown as if it were a user.
func rootUser(c *service.Call) *api.User {
	root := &api.User{Path: "/", UserId: c.Account, Arn: string(identity.RootARN(c.Account))}
	if a := identity.Accounts.Get(c.State, c.Account); a != nil {
		root.UserName, root.CreateDate = a.Name, a.Created.UTC()
	}
	return root
}

// rootName is what the root is called where AWS shows a user name.
const rootName = "root"

// userOrSelf is the user with the name, or without one the user who calls; nil for
// the root.
func userOrSelf(r store.Reader, c *service.Call, name string) (*identity.User, error) {
	switch {
	case name != "":
		return users.get(r, c, name)
	case c.Caller.Type == identity.IAMUser:
		return users.get(r, c, c.Caller.User.UserName)
	case c.Caller.Type == identity.RootUser:
		return nil, nil
	}
	return nil, api.ValidationError("Must specify userName when calling with non-User credentials")
}

func (s *Service) listUsers(_ context.Context, c *service.Call, in *api.ListUsersInput) (*api.ListUsersOutput, error) {
	p, err := paged(in.Marker, in.MaxItems, mapped(users.all(c.State, c.Account, in.PathPrefix), listedUser))
	if err != nil {
		return nil, err
	}
	return &api.ListUsersOutput{Users: p.Items, IsTruncated: p.More, Marker: p.Marker}, nil
}

// listedUser is a user in a list: without boundary and tags.
func listedUser(u *identity.User) (api.User, bool) {
	v := u.User
	v.PermissionsBoundary, v.Tags = nil, nil
	return v, true
}

// updateUser renames or moves a user, who keeps keys, memberships and the trust of
// roles: they go by the unique id.
func (s *Service) updateUser(ctx context.Context, c *service.Call, in *api.UpdateUserInput) (*none, error) {
	return nil, s.update(ctx, func(tx *store.Tx) error {
		u, err := users.get(tx, c, in.UserName)
		if err != nil {
			return err
		}
		from := users.key(c.Account, u)
		if in.NewUserName != "" {
			u.UserName = in.NewUserName
		}
		if in.NewPath != "" {
			u.Path = in.NewPath
		}
		u.Arn = entityARN(c.Account, identity.UserKind, u.Path, u.UserName)
		to := users.key(c.Account, u)
		if to != from {
			if identity.Users.Get(tx, to) != nil {
				return users.exists(in.NewUserName)
			}
			identity.Users.Delete(tx, from)
			identity.IDs.Put(tx, u.UserId, &identity.Ref{Kind: identity.UserKind, Key: to})
			for _, g := range u.Groups {
				identity.Members.Delete(tx, member(g, from))
				identity.Members.Put(tx, member(g, to), &struct{}{})
			}
			for _, key := range slices.Collect(keysOf(tx, from)) {
				identity.KeysOf.Delete(tx, from+"/"+key.ID)
				identity.KeysOf.Put(tx, to+"/"+key.ID, &struct{}{})
			}
		}
		identity.Users.Put(tx, to, u)
		return nil
	})
}

// renamedUser is the user that UpdateUser makes of another: whoever renames needs
// the permission on both. There is none when nothing changes.
func renamedUser(in reflect.Type) func(*service.Call, any) []service.Target {
	return service.On(func(c *service.Call, in *api.UpdateUserInput) []service.Target {
		return renamed(c, users, in.UserName, in.NewPath, in.NewUserName)
	})(in)
}

func renamed[T any](c *service.Call, k *kind[T], name, newPath, newName string) []service.Target {
	v := k.find(c.State, c.Account, name)
	if v == nil || newPath == "" && newName == "" {
		return nil
	}
	name, _, a := k.shown(v)
	if newName != "" {
		name = newName
	}
	if newPath == "" {
		newPath = pathOf(a)
	}
	return []service.Target{{ARN: arn.ARN(entityARN(c.Account, k.kind, newPath, name)), Text: k.text(name)}}
}

func (s *Service) deleteUser(ctx context.Context, c *service.Call, in *api.DeleteUserInput) (*none, error) {
	return nil, remove(ctx, s, c, users, in.UserName, func(tx *store.Tx, u *identity.User) error {
		switch {
		case len(u.Attached) > 0:
			return api.DeleteConflict("Cannot delete entity, must detach all policies first.")
		case len(u.Inline) > 0:
			return api.DeleteConflict("Cannot delete entity, must delete policies first.")
		case u.Keys > 0:
			return api.DeleteConflict("Cannot delete entity, must delete access keys first.")
		case loginProfiles.Get(tx, u.UserId) != nil:
			return api.DeleteConflict("Cannot delete entity, must delete login profile first.")
		case len(u.MFA) > 0:
			return api.DeleteConflict("Cannot delete entity, must delete MFA device first.")
		case u.Holds != identity.Holdings{}:
			return api.DeleteConflict("Cannot delete entity, must remove referenced objects first.")
		case len(u.Groups) > 0:
			return api.DeleteConflict("Cannot delete entity, must remove users from group first.")
		}
		return setBoundary(tx, c, &u.PermissionsBoundary, "")
	})
}

func (s *Service) listGroupsForUser(_ context.Context, c *service.Call, in *api.ListGroupsForUserInput) (*api.ListGroupsForUserOutput, error) {
	u, err := users.get(c.State, c, in.UserName)
	if err != nil {
		return nil, err
	}
	p, err := paged(in.Marker, in.MaxItems, mapped(slice(u.Groups), func(key string) (api.Group, bool) {
		if g := identity.Groups.Get(c.State, key); g != nil {
			return g.Group, true
		}
		return api.Group{}, false
	}))
	if err != nil {
		return nil, err
	}
	return &api.ListGroupsForUserOutput{Groups: p.Items, IsTruncated: p.More, Marker: p.Marker}, nil
}

// member is the key of a membership, from the keys of the group and the user.
func member(group, user string) string {
	return group + "/" + user[strings.LastIndexByte(user, '/')+1:]
}
