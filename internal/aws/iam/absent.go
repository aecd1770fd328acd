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
		service.Handle(func(context.Context, *service.Call, *api.ListSAMLProvidersInput) (*api.ListSAMLProvidersOutput, error) {
			return &api.ListSAMLProvidersOutput{SAMLProviderList: []api.SAMLProviderListEntry{}}, nil
		}, service.Any),
	}
}
