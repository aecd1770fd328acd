package sts

import (
	"context"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/sts/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/reference"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/webidentity"
)

// builtIn are the OpenID Connect providers that every account trusts without having
// registered them, by the domain that trust policies name, with their issuers. Any
// audience is accepted of them: a condition on it belongs into the trust policy.
var builtIn = map[string]string{
	"accounts.google.com":            "https://accounts.google.com",
	"cognito-identity.amazonaws.com": "https://cognito-identity.amazonaws.com",
}

// checkWebIdentity is what AWS says of the input before it looks at the token.
func (s *Service) checkWebIdentity(_ *service.Call, in *api.AssumeRoleWithWebIdentityInput) error {
	if err := roleARN(in.RoleArn); err != nil {
		return err
	}
	return checkSessionPolicies(in.Policy, in.PolicyArns)
}

// webIdentity finds who shows a token. The order is AWS's: a provider that the role's
// trust policy names exists, the token is one, its issuer is registered, the keys can be
// had, the signature, the times, the claims. The conditions of the trust policy come
// after that, as a decision.
func (s *Service) webIdentity(ctx context.Context, c *service.Call, in *api.AssumeRoleWithWebIdentityInput) (*identity.Caller, error) {
	caller := &identity.Caller{Type: identity.WebIdentityUser}
	role := identity.RoleByARN(c.State, arn.ARN(in.RoleArn))
	if role == nil || !trusts(role, exists(c.State, in.RoleArn)) {
		return caller, api.AccessDenied("Not authorized to perform sts:AssumeRoleWithWebIdentity")
	}
	if in.ProviderId != "" {
		return caller, api.InvalidIdentityToken("iamd does not serve the OAuth 2.0 access tokens of %s.", in.ProviderId)
	}
	claims, p, err := s.claims(ctx, c, account(in.RoleArn), in.WebIdentityToken)
	if bad, ok := errors.AsType[*webidentity.Error](err); ok {
		if bad.Expired {
			return caller, api.ExpiredToken("%s", bad.Text)
		}
		return caller, api.InvalidIdentityToken("%s", bad.Text)
	}
	if err != nil {
		return caller, err
	}
	f := &identity.Federation{Provider: p.principal, Subject: claims.Subject, Audience: claims.Party(), SourceIdentity: claims.SourceIdentity}
	f.Claims = conditionKeys(p.name, claims)
	caller.Federation = f
	caller.UserID = f.Provider + ":" + f.Audience + ":" + f.Subject
	if f.SourceIdentity != "" && !validSourceIdentity(f.SourceIdentity) {
		return caller, badSourceIdentity()
	}
	keys := slices.Sorted(maps.Keys(claims.Tags))
	if f.Tags, err = sessionTags(keys, func(key string) string { return claims.Tags[key] }, claims.TransitiveTags); err != nil {
		return caller, err
	}
	return caller, checkSaid(f)
}

// A tokenProvider is the provider of a token.
type tokenProvider struct {
	principal string // as trust policies name it
	name      string // before the colon of its condition keys
}

// claims verifies a token, of an issuer that the account trusts.
func (s *Service) claims(ctx context.Context, c *service.Call, account, text string) (*webidentity.Claims, tokenProvider, error) {
	none := tokenProvider{}
	token, err := webidentity.Parse(text)
	if err != nil {
		return nil, none, err
	}
	var p tokenProvider
	var thumbprints []string
	issuer := token.Issuer
	registered := identity.OIDCProviderByIssuer(c.State, account, issuer)
	domain, _ := strings.CutPrefix(issuer, "https://") // Google's tokens name it with or without
	switch {
	case registered != nil:
		p = tokenProvider{registered.Arn, registered.Name()}
		thumbprints = registered.Thumbprints
	case builtIn[domain] != "":
		p, issuer = tokenProvider{domain, domain}, builtIn[domain]
	default:
		return nil, none, &webidentity.Error{Text: "No OpenIDConnect provider found in your account for " + issuer}
	}
	keys, err := s.Issuers.Keys(ctx, issuer, thumbprints, token.KeyID)
	if err != nil {
		return nil, none, err
	}
	claims, err := token.Verify(keys)
	if err != nil {
		return nil, none, err
	}
	if claims.Issuer != token.Issuer {
		return nil, none, errors.New("a verified token has another issuer than it was parsed to have")
	}
	if err := claims.Check(c.Time); err != nil {
		return nil, none, err
	}
	if registered != nil {
		if err := claims.For(registered.ClientIDs); err != nil {
			return nil, none, err
		}
	}
	return claims, p, nil
}

// conditionKeys are the keys that AWS makes of a token (IAM User Guide, "IAM and AWS
// STS condition context keys"): five for every provider, of which a session keeps
// three, and those that the service reference lists for the provider.
func conditionKeys(provider string, c *webidentity.Claims) []identity.Claim {
	claims := []identity.Claim{
		{Key: provider + ":aud", Value: []string{c.Party()}, Lasts: true},
		{Key: provider + ":oaud", Value: c.Audience},
		{Key: provider + ":sub", Value: []string{c.Subject}, Lasts: true},
	}
	if len(c.Methods) > 0 {
		claims = append(claims, identity.Claim{Key: provider + ":amr", Value: c.Methods, Many: true, Lasts: true})
	}
	if c.Email != "" {
		claims = append(claims, identity.Claim{Key: provider + ":email", Value: []string{c.Email}})
	}
	action, _ := reference.LookupAction("sts:AssumeRoleWithWebIdentity")
	for _, key := range action.Keys {
		colon := strings.LastIndexByte(key, ':')
		name := key[colon+1:]
		value, ok := c.Others[name]
		if colon < 0 || !ok || identity.Claimed(claims, provider+":"+name) != nil || !matches(key[:colon], provider) {
			continue
		}
		claims = append(claims, identity.Claim{Key: provider + ":" + name, Value: []string{value}})
	}
	return claims
}

// matches reports whether a provider has the form that the reference gives:
// "token.actions.${Domain}.ghe.com".
func matches(form, provider string) bool {
	literal := placeholder.Split(form, -1)
	if len(literal) == 1 {
		return strings.EqualFold(form, provider)
	}
	for i := range literal {
		literal[i] = regexp.QuoteMeta(literal[i])
	}
	ok, err := regexp.MatchString("(?i)^"+strings.Join(literal, "[^/:]+")+"$", provider)
	return ok && err == nil
}

var placeholder = regexp.MustCompile(`\$\{\w+\}`)

func (s *Service) assumeRoleWithWebIdentity(_ context.Context, c *service.Call, in *api.AssumeRoleWithWebIdentityInput) (*api.AssumeRoleWithWebIdentityOutput, error) {
	session, role, credentials, err := s.federatedSession(c, in.RoleArn, in.RoleSessionName, in.DurationSeconds, in.Policy, in.PolicyArns)
	if errors.Is(err, errTooLong) {
		return nil, api.ValidationError("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	if err != nil {
		return nil, err
	}
	return &api.AssumeRoleWithWebIdentityOutput{
		Credentials:                 credentials,
		SubjectFromWebIdentityToken: said(c).Subject,
		AssumedRoleUser:             assumed(role, session),
		PackedPolicySize:            packed(session, credentials),
		SessionTokenSize:            tokenSize(credentials),
		SessionTokenUtilization:     utilization(credentials),
		Provider:                    said(c).Provider,
		Audience:                    said(c).Audience,
		SourceIdentity:              session.SourceIdentity,
	}, nil
}
