package sts

import (
	"context"
	"errors"

	"github.com/iamd-dev/iamd/internal/aws/sts/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
)

// spendCode accepts a code of the caller's own MFA device, once. A device that is not
// there and one of somebody else are the same to the caller.
func (s *Service) spendCode(ctx context.Context, c *service.Call, serial, code string) error {
	if serial == "" || code == "" {
		return api.AccessDenied("MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code.")
	}
	err := s.Keyring.SpendCode(ctx, s.DB, c.Caller, serial, code, c.Time)
	switch {
	case errors.Is(err, identity.ErrNoDevice):
		return api.AccessDenied("MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is valid and associated with this user.")
	case errors.Is(err, identity.ErrWrongCode):
		return api.AccessDenied("MultiFactorAuthentication failed with invalid MFA one time pass code.")
	case errors.Is(err, identity.ErrTooManyWrong):
		return api.AccessDenied("MultiFactorAuthentication failed, there were too many invalid MFA one time pass codes. Try again later.")
	}
	return err
}
