package iam

import (
	"context"
	"errors"

	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/outbound"
	"github.com/iamd-dev/iamd/internal/service"
)

// Outbound web identity federation: whether the account issues tokens. See package outbound.

func (s *Service) enableOutboundWebIdentityFederation(ctx context.Context, c *service.Call, _ *api.EnableOutboundWebIdentityFederationInput) (*api.EnableOutboundWebIdentityFederationOutput, error) {
	url, err := s.Issuer.Enable(ctx, c.Account, c.Time)
	if errors.Is(err, outbound.ErrEnabled) {
		return nil, api.FeatureEnabled("Outbound web identity federation is already enabled for account %s.", c.Account)
	}
	if err != nil {
		return nil, err
	}
	return &api.EnableOutboundWebIdentityFederationOutput{IssuerIdentifier: url}, nil
}

func (s *Service) disableOutboundWebIdentityFederation(ctx context.Context, c *service.Call, _ *api.DisableOutboundWebIdentityFederationInput) (*none, error) {
	err := s.Issuer.Disable(ctx, c.Account)
	if errors.Is(err, outbound.ErrDisabled) {
		return nil, outboundDisabled(c)
	}
	return nil, err
}

// getOutboundWebIdentityFederationInfo knows only issuers that are enabled: so do the
// tools that read it to see whether a deletion is done.
func (s *Service) getOutboundWebIdentityFederationInfo(_ context.Context, c *service.Call, _ *api.GetOutboundWebIdentityFederationInfoInput) (*api.GetOutboundWebIdentityFederationInfoOutput, error) {
	url, ok := s.Issuer.URL(c.State, c.Account)
	if !ok {
		return nil, outboundDisabled(c)
	}
	return &api.GetOutboundWebIdentityFederationInfoOutput{IssuerIdentifier: url, JwtVendingEnabled: true}, nil
}

func outboundDisabled(c *service.Call) error {
	return api.FeatureDisabled("Outbound web identity federation is not enabled for account %s.", c.Account)
}
