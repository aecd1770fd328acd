package sts

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/sts/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/outbound"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/policy"
)

const (
	defaultWebIdentityToken = 5 * time.Minute
	longestClaims           = 16 << 10 // bytes; AWS has a limit and does not tell it
)

func (s *Service) checkGetWebIdentityToken(_ *service.Call, in *api.GetWebIdentityTokenInput) error {
	if in.SigningAlgorithm != outbound.RS256 && in.SigningAlgorithm != outbound.ES384 {
		return api.ValidationError("1 validation error detected: Value '%s' at 'signingAlgorithm' failed to satisfy constraint: Member must satisfy enum value set: [RS256, ES384]", in.SigningAlgorithm)
	}
	return checkTags(in.Tags)
}

// getWebIdentityToken vouches for the caller: its claims are those of the IAM User
// Guide, "Understanding token claims", as far as iamd knows what they tell.
func (s *Service) getWebIdentityToken(_ context.Context, c *service.Call, in *api.GetWebIdentityTokenInput) (*api.GetWebIdentityTokenOutput, error) {
	if _, ok := s.Issuer.URL(c.State, c.Account); !ok {
		return nil, api.OutboundWebIdentityFederationDisabled("Outbound web identity federation is not enabled for account %s.", c.Account)
	}
	issued := c.Time.UTC().Truncate(time.Second)
	expires := issued.Add(webIdentityDuration(in))
	session := c.Caller.Session
	if session != nil && expires.After(session.Expires) {
		return nil, api.SessionDurationEscalation("The requested token duration would extend the session beyond its original expiration time.")
	}

	subject := string(c.Caller.ARN)
	if c.Caller.Role != nil { // not the session's, which leaves out the role's path
		subject = c.Caller.Role.Arn
	}
	own := map[string]any{"aws_account": c.Account, "source_region": c.Region, "principal_id": subject}
	if tags := c.Caller.Tags(); len(tags) > 0 {
		named := map[string]string{}
		for _, t := range tags {
			named[t.Key] = t.Value
		}
		own["principal_tags"] = named
	}
	if len(in.Tags) > 0 {
		named := map[string]string{}
		for _, t := range in.Tags {
			named[t.Key] = t.Value
		}
		own["request_tags"] = named
	}
	if o, a := identity.OrganizationOf(c.State, c.Account); o != nil {
		levels, _ := o.Levels(c.State, a) // the account is the last
		own["org_id"], own["ou_path"] = o.ID, []string{o.Path(levels[:len(levels)-1])}
	}
	if session != nil {
		own["original_session_exp"] = session.Expires.UTC().Format(time.RFC3339)
		if session.SourceIdentity != "" {
			own["source_identity"] = session.SourceIdentity
		}
		if session.Provider != "" {
			own["federated_provider"] = session.Provider
		}
	}
	claims := map[string]any{
		"sub": subject, "aud": in.Audience, "iat": issued.Unix(), "exp": expires.Unix(), "jti": newUUID(),
		outbound.Namespace: own,
	}
	if len(in.Audience) == 1 {
		claims["aud"] = in.Audience[0]
	}
	if b, err := json.Marshal(claims); err != nil {
		return nil, err
	} else if len(b) > longestClaims {
		return nil, api.JWTPayloadSizeExceeded("The requested token payload size exceeds the maximum allowed size of %d bytes.", longestClaims)
	}
	token, err := s.Issuer.Sign(c.State, c.Account, in.SigningAlgorithm, claims, c.Time)
	if err != nil {
		return nil, err
	}
	return &api.GetWebIdentityTokenOutput{WebIdentityToken: token, Expiration: expires}, nil
}

func webIdentityDuration(in *api.GetWebIdentityTokenInput) time.Duration {
	if in.DurationSeconds == nil {
		return defaultWebIdentityToken
	}
	return time.Duration(*in.DurationSeconds) * time.Second
}

func tokenAudience(_ *service.Call, in *api.GetWebIdentityTokenInput) (policy.Value, bool) {
	return policy.List(in.Audience), len(in.Audience) > 0
}

// tokenDuration is there when none is asked for, too: it is what the token will have.
func tokenDuration(_ *service.Call, in *api.GetWebIdentityTokenInput) (policy.Value, bool) {
	return policy.String(strconv.Itoa(int(webIdentityDuration(in) / time.Second))), true
}

func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
