package sts

import (
	"context"
	"crypto/rsa"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/sts/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/reference"
	"github.com/iamd-dev/iamd/internal/saml"
	"github.com/iamd-dev/iamd/internal/service"
)

// Names of the attributes that AWS gives a meaning (IAM User Guide, "Configure SAML
// assertions for the authentication response").
const (
	roleAttribute           = "https://aws.amazon.com/SAML/Attributes/Role"
	sessionNameAttribute    = "https://aws.amazon.com/SAML/Attributes/RoleSessionName"
	durationAttribute       = "https://aws.amazon.com/SAML/Attributes/SessionDuration"
	sourceIdentityAttribute = "https://aws.amazon.com/SAML/Attributes/SourceIdentity"
	tagAttribute            = "https://aws.amazon.com/SAML/Attributes/PrincipalTag:"
	transitiveAttribute     = "https://aws.amazon.com/SAML/Attributes/TransitiveTagKeys"
)

// samlKeys are the condition keys of other attributes, by the names that these have in
// directories (the same page, "Mapping SAML attributes to AWS trust policy context
// keys"). "urn:oid:" before a number may be left out.
var samlKeys = map[string][]string{
	"urn:oid:1.3.6.1.4.1.5923.1.1.1.1":                                        {"saml:edupersonaffiliation"},
	"urn:oid:1.3.6.1.4.1.5923.1.1.1.2":                                        {"saml:edupersonnickname"},
	"urn:oid:1.3.6.1.4.1.5923.1.1.1.3":                                        {"saml:edupersonorgdn"},
	"urn:oid:1.3.6.1.4.1.5923.1.1.1.4":                                        {"saml:edupersonorgunitdn"},
	"urn:oid:1.3.6.1.4.1.5923.1.1.1.5":                                        {"saml:edupersonprimaryaffiliation"},
	"urn:oid:1.3.6.1.4.1.5923.1.1.1.6":                                        {"saml:edupersonprincipalname"},
	"urn:oid:1.3.6.1.4.1.5923.1.1.1.7":                                        {"saml:edupersonentitlement"},
	"urn:oid:1.3.6.1.4.1.5923.1.1.1.8":                                        {"saml:edupersonprimaryorgunitdn"},
	"urn:oid:1.3.6.1.4.1.5923.1.1.1.9":                                        {"saml:edupersonscopedaffiliation"},
	"urn:oid:1.3.6.1.4.1.5923.1.1.1.10":                                       {"saml:edupersontargetedid"},
	"urn:oid:1.3.6.1.4.1.5923.1.1.1.11":                                       {"saml:edupersonassurance"},
	"urn:oid:1.3.6.1.4.1.5923.1.2.1.2":                                        {"saml:eduorghomepageuri"},
	"urn:oid:1.3.6.1.4.1.5923.1.2.1.3":                                        {"saml:eduorgidentityauthnpolicyuri"},
	"urn:oid:1.3.6.1.4.1.5923.1.2.1.4":                                        {"saml:eduorglegalname"},
	"urn:oid:1.3.6.1.4.1.5923.1.2.1.5":                                        {"saml:eduorgsuperioruri"},
	"urn:oid:1.3.6.1.4.1.5923.1.2.1.6":                                        {"saml:eduorgwhitepagesuri"},
	"urn:oid:2.5.4.3":                                                         {"saml:cn", "saml:commonName"},
	"urn:oid:2.5.4.4":                                                         {"saml:surname"},
	"urn:oid:2.5.4.42":                                                        {"saml:givenName"},
	"urn:oid:2.5.4.45":                                                        {"saml:x500UniqueIdentifier"},
	"urn:oid:0.9.2342.19200300.100.1.1":                                       {"saml:uid"},
	"urn:oid:0.9.2342.19200300.100.1.3":                                       {"saml:mail"},
	"urn:oid:0.9.2342.19200300.100.1.45":                                      {"saml:organizationStatus"},
	"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name":              {"saml:name"},
	"http://schemas.xmlsoap.org/claims/CommonName":                            {"saml:commonName"},
	"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname":         {"saml:givenName"},
	"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/surname":           {"saml:surname"},
	"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress":      {"saml:mail"},
	"http://schemas.microsoft.com/ws/2008/06/identity/claims/primarygroupsid": {"saml:primaryGroupSID"},
}

// checkSAML is what AWS says of the input before it looks at the assertion.
func (s *Service) checkSAML(_ *service.Call, in *api.AssumeRoleWithSAMLInput) error {
	if err := roleARN(in.RoleArn); err != nil {
		return err
	}
	a, err := arn.Parse(in.PrincipalArn)
	if err != nil || a.Service() != "iam" || !strings.HasPrefix(a.Resource(), string(identity.SAMLProviderKind)+"/") {
		return api.ValidationError("%s is invalid", in.PrincipalArn)
	}
	return checkSessionPolicies(in.Policy, in.PolicyArns)
}

// samlUser finds who shows an assertion: the provider exists, its signature is good,
// the assertion is for AWS and for now, and it has the role. The conditions of the
// trust policy come after that, as a decision.
func (s *Service) samlUser(_ context.Context, c *service.Call, in *api.AssumeRoleWithSAMLInput) (*identity.Caller, error) {
	caller := &identity.Caller{Type: identity.SAMLUser}
	refused := api.AccessDenied("Not authorized to perform sts:AssumeRoleWithSAML")
	p := identity.SAMLProviderByARN(c.State, arn.ARN(in.PrincipalArn))
	if p == nil {
		return caller, api.InvalidIdentityToken("Specified provider doesn't exist.")
	}
	if arn.ARN(p.Arn).Account() != account(in.RoleArn) {
		return caller, refused
	}
	if !c.Time.Before(p.ValidUntil) {
		return caller, api.InvalidIdentityToken("The metadata of the specified provider is no longer valid.")
	}
	verifier, err := s.samlVerifier(p)
	if err != nil {
		return caller, err
	}
	a, err := verifier.Verify(in.SAMLAssertion, c.Time)
	if bad, ok := errors.AsType[*saml.Error](err); ok {
		if bad.Expired {
			return caller, api.ExpiredToken("%s", bad.Text)
		}
		return caller, api.InvalidIdentityToken("%s", bad.Text)
	}
	if err != nil {
		return caller, err
	}
	f := &identity.Federation{
		Provider: p.Arn, Subject: a.Subject, Audience: a.Recipient, Issuer: a.Issuer,
		SubjectType:   strings.TrimPrefix(a.Format, "urn:oasis:names:tc:SAML:2.0:nameid-format:"),
		NameQualifier: nameQualifier(a.Issuer, p),
		Until:         a.SessionEnd,
	}
	f.Claims = samlClaims(p, f, a)
	caller.Federation = f
	caller.UserID = f.NameQualifier + ":" + f.Subject
	if err := sessionSaid(f, a); err != nil {
		return caller, err
	}
	if !slices.ContainsFunc(a.Attributes[roleAttribute], func(pair string) bool { return isPair(pair, in.RoleArn, in.PrincipalArn) }) {
		return caller, refused
	}
	return caller, nil
}

// samlVerifier opens what is needed to verify a provider's responses.
func (s *Service) samlVerifier(p *identity.SAMLProvider) (*saml.Provider, error) {
	m, err := saml.ParseMetadata(p.Metadata)
	if err != nil {
		return nil, fmt.Errorf("the metadata of %s: %w", p.Arn, err)
	}
	var keys []*rsa.PrivateKey
	for _, k := range p.Keys {
		text, err := s.Keyring.Kept(k.ID, k.Sealed)
		if err != nil {
			return nil, err
		}
		key, err := saml.ParseKey(text.Reveal())
		if err != nil {
			return nil, fmt.Errorf("private key %s of %s: %w", k.ID, p.Arn, err)
		}
		keys = append(keys, key)
	}
	return &saml.Provider{Metadata: m, Keys: keys, Encrypted: p.Encryption == "Required", ID: p.UUID}, nil
}

// isPair reports whether a value of the Role attribute is this role with this
// provider, whichever comes first.
func isPair(pair, role, provider string) bool {
	first, second, _ := strings.Cut(pair, ",")
	first, second = strings.TrimSpace(first), strings.TrimSpace(second)
	return first == role && second == provider || first == provider && second == role
}

// nameQualifier tells users of different providers apart whose names are the same.
func nameQualifier(issuer string, p *identity.SAMLProvider) string {
	sum := sha1.Sum([]byte(issuer + arn.ARN(p.Arn).Account() + "/" + p.Name))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// samlClaims are the condition keys that AWS makes of an assertion, of which a session
// keeps three.
func samlClaims(p *identity.SAMLProvider, f *identity.Federation, a *saml.Assertion) []identity.Claim {
	claims := []identity.Claim{
		{Key: "saml:aud", Value: []string{a.Recipient}}, // the recipient, whatever the name says
		{Key: "saml:doc", Value: []string{arn.ARN(p.Arn).Account() + "/" + p.Name}},
		{Key: "saml:iss", Value: []string{a.Issuer}},
		{Key: "saml:namequalifier", Value: []string{f.NameQualifier}, Lasts: true},
		{Key: "saml:sub", Value: []string{a.Subject}, Lasts: true},
	}
	if f.SubjectType != "" {
		claims = append(claims, identity.Claim{Key: "saml:sub_type", Value: []string{f.SubjectType}, Lasts: true})
	}
	for _, name := range slices.Sorted(maps.Keys(a.Attributes)) {
		keys := samlKeys[name]
		if keys == nil {
			keys = samlKeys["urn:oid:"+name]
		}
		for _, key := range keys {
			if identity.Claimed(claims, key) == nil {
				claims = append(claims, identity.Claim{Key: key, Value: a.Attributes[name], Many: multivalued(key)})
			}
		}
	}
	return claims
}

// multivalued reports whether the reference has a key as one with several values.
func multivalued(key string) bool {
	k, ok := reference.LookupKey(key)
	return ok && k.Multivalued()
}

// sessionSaid reads what an assertion says of the session that is to be made.
func sessionSaid(f *identity.Federation, a *saml.Assertion) error {
	one := func(name string) string {
		if all := a.Attributes[name]; len(all) > 0 {
			return all[0]
		}
		return ""
	}
	f.SessionName = one(sessionNameAttribute)
	switch {
	case f.SessionName == "":
		return api.InvalidIdentityToken("RoleSessionName is required in AuthnResponse")
	case !sourceIdentityText.MatchString(f.SessionName): // the same letters
		return api.InvalidIdentityToken("RoleSessionName in AuthnResponse must match [a-zA-Z_0-9+=,.@-]{2,64}")
	}
	if f.SourceIdentity = one(sourceIdentityAttribute); f.SourceIdentity != "" && !validSourceIdentity(f.SourceIdentity) {
		return badSourceIdentity()
	}
	if text := one(durationAttribute); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 900 || n > 43200 {
			return api.InvalidIdentityToken("SessionDuration in AuthnResponse must be a number from 900 to 43200")
		}
		f.Duration = time.Duration(n) * time.Second
	}
	var keys []string
	for _, name := range slices.Sorted(maps.Keys(a.Attributes)) {
		if key, ok := strings.CutPrefix(name, tagAttribute); ok {
			if len(a.Attributes[name]) != 1 {
				return api.InvalidIdentityToken("The session tag %q does not have one value.", key)
			}
			keys = append(keys, key)
		}
	}
	var err error
	if f.Tags, err = sessionTags(keys, func(key string) string { return one(tagAttribute + key) }, a.Attributes[transitiveAttribute]); err != nil {
		return err
	}
	return checkSaid(f)
}

func (s *Service) assumeRoleWithSAML(_ context.Context, c *service.Call, in *api.AssumeRoleWithSAMLInput) (*api.AssumeRoleWithSAMLOutput, error) {
	f := said(c)
	session, role, credentials, err := s.federatedSession(c, in.RoleArn, f.SessionName, in.DurationSeconds, in.Policy, in.PolicyArns)
	if errors.Is(err, errTooLong) {
		return nil, api.ValidationError("Requested DurationSeconds exceeds MaxSessionDuration set for this role.")
	}
	if err != nil {
		return nil, err
	}
	return &api.AssumeRoleWithSAMLOutput{
		Credentials:             credentials,
		AssumedRoleUser:         assumed(role, session),
		PackedPolicySize:        packed(session, credentials),
		SessionTokenSize:        tokenSize(credentials),
		SessionTokenUtilization: utilization(credentials),
		Subject:                 f.Subject,
		SubjectType:             f.SubjectType,
		Issuer:                  f.Issuer,
		Audience:                f.Audience,
		NameQualifier:           f.NameQualifier,
		SourceIdentity:          session.SourceIdentity,
	}, nil
}
