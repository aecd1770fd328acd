package iam

import (
	"context"

	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/service"
)

// absent are operations that ask for what nobody can make in this version. Tools
// ask before they delete a user, and must not fail because of it.
func absent() []service.Row {
	return []service.Row{
		service.Handle(func(_ context.Context, c *service.Call, in *api.GetLoginProfileInput) (*api.GetLoginProfileOutput, error) {
			u, err := userOrSelf(c.State, c, in.UserName)
			if err != nil {
				return nil, err
			}
			return nil, api.NoSuchEntity("Login Profile for User %s cannot be found.", nameOf(u))
		}, user),
		service.Handle(func(_ context.Context, c *service.Call, in *api.DeleteLoginProfileInput) (*none, error) {
			u, err := userOrSelf(c.State, c, in.UserName)
			if err != nil {
				return nil, err
			}
			return nil, api.NoSuchEntity("Cannot find Login Profile for User %s", nameOf(u))
		}, user),
		service.Handle(func(_ context.Context, c *service.Call, in *api.GetAccountPasswordPolicyInput) (*api.GetAccountPasswordPolicyOutput, error) {
			return nil, api.NoSuchEntity("The Password Policy with domain name %s cannot be found.", c.Account)
		}, service.Any),
		service.Handle(func(context.Context, *service.Call, *api.ListSAMLProvidersInput) (*api.ListSAMLProvidersOutput, error) {
			return &api.ListSAMLProvidersOutput{SAMLProviderList: []api.SAMLProviderListEntry{}}, nil
		}, service.Any),
	}
}
