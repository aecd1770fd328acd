package identity

import (
	"crypto/rand"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/store"
)

// The tables of identity providers. Their keys are made by Key, of the name in the ARN.
var (
	OIDCProviders = store.NewTable[OIDCProvider]("oidcproviders")
	SAMLProviders = store.NewTable[SAMLProvider]("samlproviders")
)

// An OIDCProvider is an OpenID Connect provider whose tokens an account accepts.
type OIDCProvider struct {
	ID          string // never shown
	Arn         string
	Issuer      string // as its tokens name it: "https://token.actions.githubusercontent.com"
	ClientIDs   []string
	Thumbprints []string // SHA-1 of certificates in hexadecimal
	Created     time.Time
	Tags        []api.Tag
}

// NewOIDCProvider makes a provider of an account.
func NewOIDCProvider(account, issuer string, now time.Time) *OIDCProvider {
	p := &OIDCProvider{ID: rand.Text(), Issuer: issuer, Created: now}
	p.Arn = string(arn.New("aws", "iam", "", account, string(OIDCProviderKind)+"/"+p.Name()))
	return p
}

// Name is the issuer without the scheme: the end of the ARN, and the beginning of
// the provider's condition keys.
func (p *OIDCProvider) Name() string {
	_, name, _ := strings.Cut(p.Issuer, "://")
	return name
}

// OIDCProviderByARN finds a provider by its ARN; nil if there is none.
func OIDCProviderByARN(r store.Reader, a arn.ARN) *OIDCProvider {
	if p := OIDCProviders.Get(r, Key(a.Account(), providerName(a))); p != nil && p.Arn == string(a) {
		return p
	}
	return nil
}

// OIDCProviderByIssuer finds an account's provider of the tokens of an issuer; nil if there is none.
func OIDCProviderByIssuer(r store.Reader, account, issuer string) *OIDCProvider {
	_, name, _ := strings.Cut(issuer, "://")
	if p := OIDCProviders.Get(r, Key(account, name)); p != nil && p.Issuer == issuer {
		return p
	}
	return nil
}

// A SAMLProvider is a SAML 2.0 identity provider whose assertions an account accepts.
type SAMLProvider struct {
	UUID       string
	Arn        string
	Name       string
	Metadata   string // XML, as it was given
	Encryption string // of assertions: "Allowed" or "Required"
	Keys       []SAMLKey
	Created    time.Time
	ValidUntil time.Time
	Tags       []api.Tag
}

// A SAMLKey is a private key that opens encrypted assertions.
type SAMLKey struct {
	ID      string
	Sealed  string // PEM, by Keyring.Keep, under ID
	Created time.Time
}

// NewSAMLProvider makes a provider of an account.
func NewSAMLProvider(account, name string, now time.Time) *SAMLProvider {
	return &SAMLProvider{
		UUID: rand.Text(),
		Arn:  string(arn.New("aws", "iam", "", account, string(SAMLProviderKind)+"/"+name)),
		Name: name, Created: now,
	}
}

// NewSAMLKeyID makes an id of a private key.
func NewSAMLKeyID() string { return rand.Text() }

// SAMLProviderByARN finds a provider by its ARN; nil if there is none.
func SAMLProviderByARN(r store.Reader, a arn.ARN) *SAMLProvider {
	if p := SAMLProviders.Get(r, Key(a.Account(), providerName(a))); p != nil && p.Arn == string(a) {
		return p
	}
	return nil
}

// providerName is what follows the kind in a provider's ARN, slashes included.
func providerName(a arn.ARN) string {
	_, name, _ := strings.Cut(a.Resource(), "/")
	return name
}
