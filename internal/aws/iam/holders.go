package iam

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
)

// A holder is who has credentials: a user, or the root of an account.
type holder struct {
	user    *identity.User // nil for the root
	account *identity.Account
	devices *[]string // keys of MFA devices
	holds   *identity.Holdings
}

// holderOf is the holder that an input names, by default the caller.
func holderOf(r store.Reader, c *service.Call, name string) (holder, error) {
	u, err := userOrSelf(r, c, name)
	if err != nil {
		return holder{}, err
	}
	if u != nil {
		return holder{user: u, devices: &u.MFA, holds: &u.Holds}, nil
	}
	a := identity.Accounts.Get(r, c.Account)
	if a == nil {
		return holder{}, fmt.Errorf("the caller's account %s is not there", c.Account)
	}
	return holder{account: a, devices: &a.MFA, holds: &a.Holds}, nil
}

// id is the user's unique id, which stays when the user is renamed, or the account's.
func (h holder) id() string {
	if h.user != nil {
		return h.user.UserId
	}
	return h.account.ID
}

// name is what the answers call the holder.
func (h holder) name() string {
	if h.user == nil {
		return rootName
	}
	return h.user.UserName
}

func (h holder) keep(tx *store.Tx, c *service.Call) {
	if h.user != nil {
		identity.Users.Put(tx, users.key(c.Account, h.user), h.user)
		return
	}
	identity.Accounts.Put(tx, h.account.ID, h.account)
}

// A credential is a kind of credential of which a holder can have some: what the
// operations that repeat need to know of it. They are kept under the holder's id, so
// that renaming a user touches none of them.
type credential[T any] struct {
	table   store.Table[T]
	field   string // the input's field that names one
	missing func(id string) *wire.Error
	status  func(*T) *string
	count   func(*identity.Holdings) *int
}

const (
	active   = "Active"
	inactive = "Inactive"
)

// of gives a holder's credentials, by id.
func (k *credential[T]) of(r store.Reader, h holder) iter.Seq2[string, *T] {
	return k.table.All(r, h.id()+"/")
}

// listed is what f shows of a holder's credentials.
func listed[T, V any](k *credential[T], r store.Reader, h holder, f func(*T) (V, bool)) list[V] {
	return mapped(func(after string) iter.Seq2[string, *T] { return k.table.From(r, h.id()+"/", after) }, f)
}

func (k *credential[T]) get(r store.Reader, h holder, id string) (*T, error) {
	if v := k.table.Get(r, h.id()+"/"+id); v != nil {
		return v, nil
	}
	return nil, k.missing(id)
}

// add keeps a new credential, and the number of them in the holder.
func (k *credential[T]) add(tx *store.Tx, c *service.Call, h holder, id string, v *T) {
	k.table.Put(tx, h.id()+"/"+id, v)
	*k.count(h.holds)++
	h.keep(tx, c)
}

// updating makes a credential active or inactive.
func updating[In, T any](s *Service, k *credential[T]) func(context.Context, *service.Call, *In) (*none, error) {
	name, id := field[string](reflect.TypeFor[In](), "UserName"), field[string](reflect.TypeFor[In](), k.field)
	status := field[string](reflect.TypeFor[In](), "Status")
	return func(ctx context.Context, c *service.Call, in *In) (*none, error) {
		return nil, s.update(ctx, func(tx *store.Tx) error {
			h, err := holderOf(tx, c, name(in))
			if err != nil {
				return err
			}
			v, err := k.get(tx, h, id(in))
			if err != nil {
				return err
			}
			if status(in) != active && status(in) != inactive { // Expired is in the model's list
				return api.InvalidInput("The status must be Active or Inactive.")
			}
			*k.status(v) = status(in)
			k.table.Put(tx, h.id()+"/"+id(in), v)
			return nil
		})
	}
}

// deleting deletes a credential.
func deleting[In, T any](s *Service, k *credential[T]) func(context.Context, *service.Call, *In) (*none, error) {
	name, id := field[string](reflect.TypeFor[In](), "UserName"), field[string](reflect.TypeFor[In](), k.field)
	return func(ctx context.Context, c *service.Call, in *In) (*none, error) {
		return nil, s.update(ctx, func(tx *store.Tx) error {
			h, err := holderOf(tx, c, name(in))
			if err != nil {
				return err
			}
			if _, err := k.get(tx, h, id(in)); err != nil {
				return err
			}
			k.table.Delete(tx, h.id()+"/"+id(in))
			*k.count(h.holds)--
			h.keep(tx, c)
			return nil
		})
	}
}

// expired reports whether a time, if there is one, has come.
func expired(at time.Time, c *service.Call) bool { return !at.IsZero() && !c.Time.Before(at) }
