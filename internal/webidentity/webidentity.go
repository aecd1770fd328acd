// Package webidentity verifies web identity tokens: the ID tokens of OpenID Connect
// providers, of GitHub Actions, of Kubernetes' service accounts.
//
//	token, err := webidentity.Parse(text)
//	keys, err := issuers.Keys(ctx, token.Issuer, provider.Thumbprints, token.KeyID)
//	claims, err := token.Verify(keys)
//	err = claims.Check(now)
//	err = claims.For(provider.ClientIDs)
//
// A Token is what somebody sent; nothing of it is to be believed but its Issuer, and
// that only to find the keys. Claims are what is in a token whose signature one of the
// issuer's keys has made; Verify reads them from the bytes that were signed. Check says
// whether they hold now, For whether they are for us.
//
// What the caller may be told is an *Error, in AWS's words.
//
// Signatures are RS256, RS384, RS512, ES256, ES384 and ES512. A token without a
// signature, or with one that a shared secret makes, is no token here: Parse refuses it
// before anything else is read.
//
// Tokens and keys are verified by go-jose. What it is told is narrow: which algorithms,
// one key at a time, and which kind of key goes with which algorithm.
package webidentity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// An Error is why a token was not accepted, as the caller is told.
type Error struct {
	Text    string
	Expired bool // ExpiredTokenException; otherwise InvalidIdentityToken
}

func (e *Error) Error() string { return e.Text }

func fault(format string, args ...any) error { return &Error{Text: fmt.Sprintf(format, args...)} }

var (
	errNotJWT  = &Error{Text: "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"}
	errInvalid = &Error{Text: "The web identity token provided could not be validated. See the AssumeRoleWithWebIdentity documentation for requirements."}
	// The two blanks are AWS's.
	errNoKey = &Error{Text: "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements"}
)

// leeway is how far clocks may be apart.
const leeway = 5 * time.Minute

// An algorithm is a row of the table of algorithms that are accepted.
type algorithm struct {
	name  jose.SignatureAlgorithm
	curve elliptic.Curve // of the key; nil: an RSA key
}

var algorithms = []algorithm{
	{jose.RS256, nil}, {jose.RS384, nil}, {jose.RS512, nil},
	{jose.ES256, elliptic.P256()}, {jose.ES384, elliptic.P384()}, {jose.ES512, elliptic.P521()},
}

var accepted = func() (names []jose.SignatureAlgorithm) {
	for _, a := range algorithms {
		names = append(names, a.name)
	}
	return names
}()

// A Token is a token as it was sent.
type Token struct {
	Issuer string // as the token has it, unverified
	KeyID  string // of the key that is said to have signed it; may be ""

	algorithm algorithm
	signed    *jwt.JSONWebToken
}

// Parse reads a token: three parts, an algorithm that is accepted, and an issuer.
func Parse(text string) (*Token, error) {
	signed, err := jwt.ParseSigned(text, accepted)
	if err != nil || len(signed.Headers) != 1 {
		return nil, errNotJWT
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if err := signed.UnsafeClaimsWithoutVerification(&claims); err != nil {
		return nil, errNotJWT
	}
	if claims.Issuer == "" {
		return nil, fault("Missing a required claim: iss.")
	}
	header := signed.Headers[0]
	t := &Token{Issuer: claims.Issuer, KeyID: header.KeyID, signed: signed}
	i := slices.IndexFunc(algorithms, func(a algorithm) bool { return string(a.name) == header.Algorithm })
	if i < 0 {
		return nil, errNotJWT
	}
	t.algorithm = algorithms[i]
	return t, nil
}

// Verify returns what is in the token if one of the keys has signed it.
func (t *Token) Verify(keys []jose.JSONWebKey) (*Claims, error) {
	candidates := 0
	for i := range keys {
		if !t.fits(&keys[i]) {
			continue
		}
		candidates++
		var all map[string]any
		if err := t.signed.Claims(keys[i].Key, &all); err != nil {
			continue
		}
		return read(all)
	}
	if candidates == 0 {
		return nil, errNoKey
	}
	return nil, errInvalid
}

// fits reports whether a key may have signed the token.
func (t *Token) fits(k *jose.JSONWebKey) bool {
	if t.KeyID != "" && k.KeyID != t.KeyID || k.Use != "" && k.Use != "sig" || k.Algorithm != "" && k.Algorithm != string(t.algorithm.name) {
		return false
	}
	switch key := k.Key.(type) {
	case *rsa.PublicKey:
		return t.algorithm.curve == nil
	case *ecdsa.PublicKey:
		return t.algorithm.curve != nil && key.Curve == t.algorithm.curve
	}
	return false
}

// Claims are what a verified token says.
type Claims struct {
	Issuer          string
	Subject         string
	Audience        []string
	AuthorizedParty string // azp
	Issued, Expires time.Time
	NotBefore       time.Time // zero when the token does not say
	Methods         []string  // amr
	Email           string

	Tags           map[string]string // session tags
	TransitiveTags []string          // keys of tags that go on to further sessions
	SourceIdentity string

	// Others are all claims that are texts, numbers or truth values, as texts.
	Others map[string]string
}

// Names of AWS's own claims. Session tags come as one object or, for providers that
// make no objects, each as a claim of its own.
const (
	tagsClaim           = "https://aws.amazon.com/tags"
	sourceIdentityClaim = "https://aws.amazon.com/source_identity"
)

func read(all map[string]any) (*Claims, error) {
	c := &Claims{Others: map[string]string{}, Tags: map[string]string{}}
	wrong := func(name string) error { return fault("The claim %s is not in its form.", name) }
	for name, v := range all {
		if s, ok := scalar(v); ok {
			c.Others[name] = s
		}
	}
	for name, into := range map[string]*string{
		"iss": &c.Issuer, "sub": &c.Subject, "azp": &c.AuthorizedParty, "email": &c.Email, sourceIdentityClaim: &c.SourceIdentity,
	} {
		if v, ok := all[name]; ok {
			if *into, ok = v.(string); !ok {
				return nil, wrong(name)
			}
		}
	}
	for name, into := range map[string]*[]string{"aud": &c.Audience, "amr": &c.Methods, tagsClaim + "/transitive_tag_keys": &c.TransitiveTags} {
		if v, ok := all[name]; ok {
			if *into, ok = texts(v); !ok {
				return nil, wrong(name)
			}
		}
	}
	for name, into := range map[string]*time.Time{"iat": &c.Issued, "exp": &c.Expires, "nbf": &c.NotBefore} {
		if v, ok := all[name]; ok {
			n, ok := v.(float64)
			if !ok || !(n > 0 && n < 1<<40) {
				return nil, wrong(name)
			}
			*into = time.Unix(int64(n), 0).UTC()
		}
	}
	tag := func(key string, v any) bool {
		value, ok := texts(v)
		if ok = ok && len(value) == 1; ok {
			c.Tags[key] = value[0]
		}
		return ok
	}
	if v, ok := all[tagsClaim]; ok {
		object, ok := v.(map[string]any)
		if !ok {
			return nil, wrong(tagsClaim)
		}
		for name, v := range object {
			switch name {
			case "principal_tags":
				principal, ok := v.(map[string]any)
				if !ok {
					return nil, wrong(tagsClaim)
				}
				for key, v := range principal {
					if !tag(key, v) {
						return nil, wrong(tagsClaim)
					}
				}
			case "transitive_tag_keys":
				if c.TransitiveTags, ok = texts(v); !ok {
					return nil, wrong(tagsClaim)
				}
			}
		}
	}
	for name, v := range all {
		if key, ok := strings.CutPrefix(name, tagsClaim+"/principal_tags/"); ok && !tag(key, v) {
			return nil, wrong(name)
		}
	}
	return c, nil
}

func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return strconv.FormatInt(int64(v), 10), true
		}
	}
	return "", false
}

// texts is a list of texts, of which one may stand by itself.
func texts(v any) ([]string, bool) {
	if s, ok := v.(string); ok {
		return []string{s}, true
	}
	list, ok := v.([]any)
	if !ok {
		return nil, false
	}
	all := make([]string, len(list))
	for i := range list {
		if all[i], ok = list[i].(string); !ok {
			return nil, false
		}
	}
	return all, true
}

// Party is whom the token was given to: the authorized party, or else the one
// audience. It is what the aud condition key of AWS says.
func (c *Claims) Party() string {
	if c.AuthorizedParty == "" && len(c.Audience) == 1 {
		return c.Audience[0]
	}
	return c.AuthorizedParty
}

// Check says whether the token is valid now, and whole.
func (c *Claims) Check(now time.Time) error {
	for _, required := range []struct {
		name   string
		absent bool
	}{{"sub", c.Subject == ""}, {"aud", len(c.Audience) == 0}, {"iat", c.Issued.IsZero()}, {"exp", c.Expires.IsZero()}} {
		if required.absent {
			return fault("Missing a required claim: %s.", required.name)
		}
	}
	if !now.Before(c.Expires.Add(leeway)) {
		return &Error{Expired: true, Text: fmt.Sprintf("Token expired: current date/time %d must be before the expiration date/time %d", now.Unix(), c.Expires.Unix())}
	}
	if c.Issued.After(now.Add(leeway)) || c.NotBefore.After(now.Add(leeway)) {
		return errInvalid
	}
	if len(c.Audience) > 1 && c.AuthorizedParty == "" {
		return fault("Token audience contains more than one audience while authorized party is not present")
	}
	return nil
}

// For says whether the token was given to one of the client ids.
func (c *Claims) For(clientIDs []string) error {
	if !slices.Contains(clientIDs, c.Party()) {
		return fault("Incorrect token audience")
	}
	return nil
}
