package sts

import (
	"context"

	"github.com/iamd-dev/iamd/internal/aws/sts/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
)

// getDelegatedAccessToken gives the product provider that asked for access a session in
// the name of whoever approved it. However often a token is traded in, the sessions end
// when the access that was approved does.
func (s *Service) getDelegatedAccessToken(_ context.Context, c *service.Call, in *api.GetDelegatedAccessTokenInput) (*api.GetDelegatedAccessTokenOutput, error) {
	d, err := s.Keyring.OpenTradeIn(c.State, c.Account, in.TradeInToken)
	switch {
	case err == identity.ErrInvalidToken:
		return nil, api.ValidationError("The trade-in token is not valid for account %s.", c.Account)
	case err != nil:
		return nil, err
	case !c.Time.Before(d.Until()):
		return nil, api.ExpiredTradeInToken("The trade-in token has expired.")
	case identity.ProductProviders.Get(c.State, c.Account) == nil:
		return nil, api.AccessDenied("Account %s is no longer registered as a product provider.", c.Account)
	}
	session := d.Session()
	if approver := identity.SessionCaller(c.State, session); approver == nil {
		return nil, api.AccessDenied("%s, who approved the delegation request, is no more.", d.Approver)
	}
	made, err := s.seal(c.State, session)
	if err != nil {
		return nil, err
	}
	return &api.GetDelegatedAccessTokenOutput{Credentials: made, PackedPolicySize: utilization(made), AssumedPrincipal: string(d.Approver)}, nil
}
