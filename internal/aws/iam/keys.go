package iam

import (
	"context"
	"iter"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// Access keys belong to a user, or to the root of an account. Where the input names
// no user, they are those of the one who calls.

// A keeper is whose access keys an operation is about.
type keeper struct {
	user *identity.User // nil for the root
	key  string         // under which identity.KeysOf has the keys
	name string
	id   string
}

func keeperOf(r store.Reader, c *service.Call, name string) (keeper, error) {
	u, err := userOrSelf(r, c, name)
	if err != nil {
		return keeper{}, err
	}
	if u == nil {
		return keeper{key: identity.Key(c.Account, "")}, nil
	}
	return keeper{u, users.key(c.Account, u), u.UserName, u.UserId}, nil
}

// keysOf gives the keys of a keeper, oldest id first.
func keysOf(r store.Reader, keeper string) iter.Seq[*identity.AccessKey] {
	prefix := keeper + "/"
	return func(yield func(*identity.AccessKey) bool) {
		for k := range identity.KeysOf.All(r, prefix) {
			if key := identity.Keys.Get(r, k[len(prefix):]); key != nil && !yield(key) {
				return
			}
		}
	}
}

// counted writes down that the keeper has more or fewer keys. The root has no entity
// that could keep the number; writing the account's counters makes two calls at
// once see each other all the same.
func (k keeper) counted(tx *store.Tx, account string, by int) {
	if k.user != nil {
		k.user.Keys += by
		identity.Users.Put(tx, k.key, k.user)
		return
	}
	n := identity.Counters.Get(tx, account)
	if n == nil {
		n = &identity.Counts{}
	}
	identity.Counters.Put(tx, account, n)
}

func (s *Service) createAccessKey(ctx context.Context, c *service.Call, in *api.CreateAccessKeyInput) (*api.CreateAccessKeyOutput, error) {
	var made *api.AccessKey
	err := s.update(ctx, func(tx *store.Tx) error {
		k, err := keeperOf(tx, c, in.UserName)
		if err != nil {
			return err
		}
		n := 0
		for range keysOf(tx, k.key) {
			n++
		}
		if err := within(n+1, s.Quotas.KeysPerUser, "AccessKeysPerUser"); err != nil {
			return err
		}
		key, secret := s.Keyring.NewAccessKey(c.Account, k.id, now(c))
		identity.Keys.Put(tx, key.ID, key)
		identity.KeysOf.Put(tx, k.key+"/"+key.ID, &struct{}{})
		k.counted(tx, c.Account, +1)
		made = &api.AccessKey{
			UserName: k.name, AccessKeyId: key.ID, Status: status(key), SecretAccessKey: secret.Reveal(), CreateDate: key.Created,
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.CreateAccessKeyOutput{AccessKey: made}, nil
}

func status(k *identity.AccessKey) string {
	if k.Active {
		return "Active"
	}
	return "Inactive"
}

func (s *Service) listAccessKeys(_ context.Context, c *service.Call, in *api.ListAccessKeysInput) (*api.ListAccessKeysOutput, error) {
	k, err := keeperOf(c.State, c, in.UserName)
	if err != nil {
		return nil, err
	}
	var keys []api.AccessKeyMetadata
	for key := range keysOf(c.State, k.key) {
		keys = append(keys, api.AccessKeyMetadata{UserName: k.name, AccessKeyId: key.ID, Status: status(key), CreateDate: key.Created.UTC()})
	}
	p, err := paged(in.Marker, in.MaxItems, slice(keys))
	if err != nil {
		return nil, err
	}
	return &api.ListAccessKeysOutput{AccessKeyMetadata: p.Items, IsTruncated: p.More, Marker: p.Marker}, nil
}

// ownKey finds an access key that the keeper has.
func ownKey(r store.Reader, k keeper, account, id string) (*identity.AccessKey, error) {
	if key := identity.Keys.Get(r, id); key != nil && key.Account == account && key.User == k.id {
		return key, nil
	}
	return nil, api.NoSuchEntity("The Access Key with id %s cannot be found.", id)
}

func (s *Service) updateAccessKey(ctx context.Context, c *service.Call, in *api.UpdateAccessKeyInput) (*none, error) {
	return nil, s.update(ctx, func(tx *store.Tx) error {
		k, err := keeperOf(tx, c, in.UserName)
		if err != nil {
			return err
		}
		key, err := ownKey(tx, k, c.Account, in.AccessKeyId)
		if err != nil {
			return err
		}
		if in.Status == "Expired" { // in the model's list, for certificates
			return api.InvalidInput("The status of an access key must be Active or Inactive.")
		}
		key.Active = in.Status == "Active"
		identity.Keys.Put(tx, key.ID, key)
		return nil
	})
}

func (s *Service) deleteAccessKey(ctx context.Context, c *service.Call, in *api.DeleteAccessKeyInput) (*none, error) {
	return nil, s.update(ctx, func(tx *store.Tx) error {
		k, err := keeperOf(tx, c, in.UserName)
		if err != nil {
			return err
		}
		key, err := ownKey(tx, k, c.Account, in.AccessKeyId)
		if err != nil {
			return err
		}
		identity.Keys.Delete(tx, key.ID)
		identity.KeysOf.Delete(tx, k.key+"/"+key.ID)
		identity.LastUsed.Delete(tx, key.ID)
		k.counted(tx, c.Account, -1)
		return nil
	})
}

// getAccessKeyLastUsed of a key that is not the account's is AccessDenied, as if
// there were such a key that the caller may not see. The text has no colon in AWS's
// answer either.
func (s *Service) getAccessKeyLastUsed(_ context.Context, c *service.Call, in *api.GetAccessKeyLastUsedInput) (*api.GetAccessKeyLastUsedOutput, error) {
	key := identity.Keys.Get(c.State, in.AccessKeyId)
	if key == nil || key.Account != c.Account {
		return nil, api.AccessDenied("User: %s is not authorized to perform iam:GetAccessKeyLastUsed on resource: access key %s", c.Caller.ARN, in.AccessKeyId)
	}
	out := &api.GetAccessKeyLastUsedOutput{AccessKeyLastUsed: &api.AccessKeyLastUsed{ServiceName: "N/A", Region: "N/A"}}
	if u := identity.UserByID(c.State, key.User); u != nil {
		out.UserName = u.UserName
	}
	if use := identity.LastUsed.Get(c.State, key.ID); use != nil {
		out.AccessKeyLastUsed = &api.AccessKeyLastUsed{LastUsedDate: use.Time.UTC(), ServiceName: use.Service, Region: use.Region}
	}
	return out, nil
}

// userOfKey is the user who has an access key. For a key that is unknown it is
// nobody, whom only a policy for all users covers.
var userOfKey = service.On(func(c *service.Call, in *api.GetAccessKeyLastUsedInput) []service.Target {
	t := service.Target{ARN: arn.ARN(entityARN(c.Account, identity.UserKind, "/", "")), Text: "access key " + in.AccessKeyId}
	if key := identity.Keys.Get(c.State, in.AccessKeyId); key != nil && key.Account == c.Account {
		if u := identity.UserByID(c.State, key.User); u != nil {
			t.ARN = arn.ARN(u.Arn)
		} else if key.User == "" {
			t.ARN = identity.RootARN(key.Account)
		}
	}
	return []service.Target{t}
})
