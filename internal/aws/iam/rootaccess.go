package iam

import (
	"context"

	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// Centralised root access: the management account, and a delegated administrator for
// IAM, enter the root users of member accounts by sts:AssumeRoot. The two features
// say for which tasks.

// rootAccess finds the caller's organisation, or says what of it does not let root
// access be managed.
func rootAccess(r store.Reader, c *service.Call) (*identity.Organization, error) {
	o, _ := identity.OrganizationOf(r, c.Account)
	switch {
	case o == nil:
		return nil, api.OrganizationNotFound("No organization is associated with your account.")
	case !o.ManagesRoots(c.Account):
		return nil, api.AccountNotManagementOrDelegatedAdministrator("The account making the request is not the management account or delegated administrator account for centralized root access.")
	case o.FeatureSet != "ALL":
		return nil, api.OrganizationNotInAllFeaturesMode("Your organization does not have All features enabled.")
	case o.Trusted[identity.RootAccessService].IsZero():
		return nil, api.ServiceAccessNotEnabled("Trusted access is not enabled for IAM in Organizations.")
	}
	return o, nil
}

// setRootAccess changes which features are on, and returns the organisation's id and
// those that are.
func (s *Service) setRootAccess(ctx context.Context, c *service.Call, managementOnly bool, set func(*identity.Organization)) (id string, features []string, err error) {
	err = s.update(ctx, func(tx *store.Tx) error {
		o, err := rootAccess(tx, c)
		if err != nil {
			return err
		}
		if managementOnly && c.Account != o.Management {
			return api.CallerIsNotManagementAccount("The account making the request is not the management account for the organization.")
		}
		set(o)
		o.Changes, o.Changed = o.Changes+1, c.Time.UTC()
		identity.Organizations.Put(tx, o.ID, o)
		id, features = o.ID, rootFeatures(o)
		return nil
	})
	return id, features, err
}

func rootFeatures(o *identity.Organization) []string {
	features := []string{}
	if o.RootCredentials {
		features = append(features, "RootCredentialsManagement")
	}
	if o.RootSessions {
		features = append(features, "RootSessions")
	}
	return features
}

func (s *Service) enableOrganizationsRootCredentialsManagement(ctx context.Context, c *service.Call, _ *api.EnableOrganizationsRootCredentialsManagementInput) (*api.EnableOrganizationsRootCredentialsManagementOutput, error) {
	id, features, err := s.setRootAccess(ctx, c, true, func(o *identity.Organization) { o.RootCredentials = true })
	return &api.EnableOrganizationsRootCredentialsManagementOutput{OrganizationId: id, EnabledFeatures: features}, err
}

func (s *Service) enableOrganizationsRootSessions(ctx context.Context, c *service.Call, _ *api.EnableOrganizationsRootSessionsInput) (*api.EnableOrganizationsRootSessionsOutput, error) {
	id, features, err := s.setRootAccess(ctx, c, true, func(o *identity.Organization) { o.RootSessions = true })
	return &api.EnableOrganizationsRootSessionsOutput{OrganizationId: id, EnabledFeatures: features}, err
}

func (s *Service) disableOrganizationsRootCredentialsManagement(ctx context.Context, c *service.Call, _ *api.DisableOrganizationsRootCredentialsManagementInput) (*api.DisableOrganizationsRootCredentialsManagementOutput, error) {
	id, features, err := s.setRootAccess(ctx, c, false, func(o *identity.Organization) { o.RootCredentials = false })
	return &api.DisableOrganizationsRootCredentialsManagementOutput{OrganizationId: id, EnabledFeatures: features}, err
}

func (s *Service) disableOrganizationsRootSessions(ctx context.Context, c *service.Call, _ *api.DisableOrganizationsRootSessionsInput) (*api.DisableOrganizationsRootSessionsOutput, error) {
	id, features, err := s.setRootAccess(ctx, c, false, func(o *identity.Organization) { o.RootSessions = false })
	return &api.DisableOrganizationsRootSessionsOutput{OrganizationId: id, EnabledFeatures: features}, err
}

func (s *Service) listOrganizationsFeatures(_ context.Context, c *service.Call, _ *api.ListOrganizationsFeaturesInput) (*api.ListOrganizationsFeaturesOutput, error) {
	o, err := rootAccess(c.State, c)
	if err != nil {
		return nil, err
	}
	return &api.ListOrganizationsFeaturesOutput{OrganizationId: o.ID, EnabledFeatures: rootFeatures(o)}, nil
}
