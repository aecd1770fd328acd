package iam

import (
	"context"
	"fmt"
	"strings"

	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// aliases tells which account has an alias, which no other can have then.
var aliases = store.NewTable[aliased]("aliases")

type aliased struct{ Account string }

// createAccountAlias gives the account an alias, in place of the one that it had, as
// AWS does: an account has one.
func (s *Service) createAccountAlias(ctx context.Context, c *service.Call, in *api.CreateAccountAliasInput) (*none, error) {
	if strings.Trim(in.AccountAlias, "0123456789") == "" {
		return nil, api.InvalidInput("The account alias %s is a number. It must have a letter or a hyphen.", in.AccountAlias)
	}
	return nil, s.update(ctx, func(tx *store.Tx) error {
		a := identity.Accounts.Get(tx, c.Account)
		if a == nil {
			return fmt.Errorf("the caller's account %s is not there", c.Account)
		}
		if aliases.Get(tx, in.AccountAlias) != nil {
			return api.EntityAlreadyExists("The account alias %s already exists.", in.AccountAlias)
		}
		if a.Alias != "" {
			aliases.Delete(tx, a.Alias)
		}
		a.Alias = in.AccountAlias
		aliases.Put(tx, a.Alias, &aliased{c.Account})
		identity.Accounts.Put(tx, c.Account, a)
		return nil
	})
}

func (s *Service) deleteAccountAlias(ctx context.Context, c *service.Call, in *api.DeleteAccountAliasInput) (*none, error) {
	return nil, s.update(ctx, func(tx *store.Tx) error {
		a := identity.Accounts.Get(tx, c.Account)
		if a == nil || a.Alias != in.AccountAlias {
			return api.NoSuchEntity("The account alias %s cannot be found.", in.AccountAlias)
		}
		a.Alias = ""
		aliases.Delete(tx, in.AccountAlias)
		identity.Accounts.Put(tx, c.Account, a)
		return nil
	})
}

func (s *Service) listAccountAliases(_ context.Context, c *service.Call, in *api.ListAccountAliasesInput) (*api.ListAccountAliasesOutput, error) {
	var have []string
	if a := identity.Accounts.Get(c.State, c.Account); a != nil && a.Alias != "" {
		have = append(have, a.Alias)
	}
	p, err := paged(in.Marker, in.MaxItems, slice(have))
	if err != nil {
		return nil, err
	}
	return &api.ListAccountAliasesOutput{AccountAliases: p.Items, IsTruncated: p.More, Marker: p.Marker}, nil
}
