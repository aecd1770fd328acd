// Package sts is AWS Security Token Service: it turns the right to be someone
// else for a while into temporary credentials.
//
// AssumeRole asks for up to three permissions on one role, each under its own
// action: sts:AssumeRole, sts:TagSession when session tags are passed (or come
// along from the calling session), and sts:SetSourceIdentity when a source
// identity is. Both the caller's policies and the role's trust policy bear on
// them; package authz says how. The session that comes out is sealed into its
// token and stored nowhere (see identity.Keyring), so AssumeRole writes nothing
// but its audit record.
//
// A code of an MFA device is spent before the decision, for which it is a fact about
// the caller, and stays spent when the decision refuses: see mfa.go.
//
// AssumeRoleWithWebIdentity and AssumeRoleWithSAML are called without a signature. Who
// calls is told by the token of an OpenID Connect provider or the assertion of a SAML
// provider, which packages webidentity and saml verify; then the role's trust policy
// alone decides, about the provider as principal and with what it says as condition
// keys.
package sts

import (
	_ "embed"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/sts/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/outbound"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/webidentity"
	"github.com/iamd-dev/iamd/policy"
)

//go:embed declined.txt
var declined string

// A Service is STS.
type Service struct {
	// DB is where MFA codes are spent.
	DB *store.DB
	// Keyring seals sessions and authorization messages.
	Keyring *identity.Keyring
	// Managed returns a managed policy's document, zero when there is none.
	Managed func(store.Reader, arn.ARN) identity.Document
	// Issuers finds the keys that verify web identity tokens.
	Issuers *webidentity.Issuers
	// Issuer signs the tokens in which an account vouches for its principals.
	Issuer *outbound.Issuer
}

// AWS returns the service's operations.
func (s *Service) AWS() *service.Service {
	role := service.ARN("{RoleArn}")
	federatedUser := service.ARN("arn:aws:sts::{account}:federated-user/{Name}")
	externalID := service.Key("sts:ExternalId", "{ExternalId}")
	samlSessionName := service.KeyOf("sts:RoleSessionName", func(c *service.Call, _ *api.AssumeRoleWithSAMLInput) (policy.Value, bool) {
		return policy.String(said(c).SessionName), said(c).SessionName != ""
	})
	sessionName := service.Key("sts:RoleSessionName", "{RoleSessionName}")
	sourceIdentity := service.KeyOf("sts:SourceIdentity", sourceIdentityKey)
	transitive := service.KeyOf("sts:TransitiveTagKeys", transitiveKeys)

	return service.New(api.Model, declined,
		//             operation            on    and
		service.Handle(s.assumeRole, role, service.Bare, service.Before(s.checkAssumeRole), service.MFA(s.spendCode),
			externalID, sessionName, sourceIdentity, transitive, service.Tags("Tags"),
			service.Also("sts:TagSession", nil, service.If(tagsSession), service.Bare, transitive, service.Tags("Tags")),
			service.Also("sts:SetSourceIdentity", nil, service.If(setsSourceIdentity), service.Bare, sourceIdentity)),
		service.Handle(s.assumeRoleWithWebIdentity, role, federated[api.AssumeRoleWithWebIdentityInput](sessionName,
			service.Before(s.checkWebIdentity), service.By(s.webIdentity))...),
		service.Handle(s.assumeRoleWithSAML, role, federated[api.AssumeRoleWithSAMLInput](samlSessionName,
			service.Before(s.checkSAML), service.By(s.samlUser))...),
		service.Handle(s.assumeRoot, rootOf, service.Before(s.checkAssumeRoot), service.KeyOf("sts:TaskPolicyArn", taskPolicyARN)),
		service.Handle(s.getFederationToken, federatedUser, service.Before(s.checkGetFederationToken), service.Tags("Tags"),
			service.Also("sts:TagSession", nil, service.When("Tags"), service.Tags("Tags"))),
		service.Open(s.getSessionToken, service.Before(s.checkGetSessionToken), service.MFA(s.spendCode)),
		service.Handle(s.getWebIdentityToken, service.Any, service.Before(s.checkGetWebIdentityToken), service.Tags("Tags"),
			service.KeyOf("sts:IdentityTokenAudience", tokenAudience), service.KeyOf("sts:DurationSeconds", tokenDuration),
			service.Key("sts:SigningAlgorithm", "{SigningAlgorithm}"),
			service.Also("sts:TagGetWebIdentityToken", nil, service.When("Tags"), service.Tags("Tags"))),
		service.Handle(s.getDelegatedAccessToken, service.Any),
		service.Open(s.getCallerIdentity),
		service.Handle(s.getAccessKeyInfo, service.Any),
		service.Handle(s.decodeAuthorizationMessage, service.Any),
	)
}

// tagsSession reports whether the new session will have tags: passed ones, or
// transitive ones of the calling session.
func tagsSession(c *service.Call, in *api.AssumeRoleInput) bool {
	return len(in.Tags) > 0 || len(inherited(c)) > 0
}

func setsSourceIdentity(c *service.Call, in *api.AssumeRoleInput) bool {
	_, ok := sourceIdentityKey(c, in)
	return ok
}

// sourceIdentityKey is the source identity of the new session: the one given, or
// the calling session's, which cannot be changed and needs the permission again
// for every role of a chain (STS, "Monitor and control actions taken with assumed roles").
func sourceIdentityKey(c *service.Call, in *api.AssumeRoleInput) (policy.Value, bool) {
	id := in.SourceIdentity
	if id == "" && c.Caller.Session != nil {
		id = c.Caller.Session.SourceIdentity
	}
	return policy.String(id), id != ""
}

func transitiveKeys(_ *service.Call, in *api.AssumeRoleInput) (policy.Value, bool) {
	return policy.List(in.TransitiveTagKeys), len(in.TransitiveTagKeys) > 0
}

// inherited are the transitive tags of the calling session.
func inherited(c *service.Call) []identity.SessionTag {
	var tags []identity.SessionTag
	if s := c.Caller.Session; s != nil {
		for _, t := range s.Tags {
			if t.Transitive {
				tags = append(tags, t)
			}
		}
	}
	return tags
}
