package awstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// An issuer is an OpenID Connect provider at the server's own address, which the
// server's configuration trusts.
type issuer struct {
	url string
	key *ecdsa.PrivateKey
}

const (
	issuerPath = "/issuer"
	issuerKey  = "key-1"
)

func newIssuer(server string) (*issuer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return &issuer{server + issuerPath, key}, err
}

// serve answers what is asked of the issuer; false for requests that are for others.
func (i *issuer) serve(w http.ResponseWriter, r *http.Request) bool {
	path, ok := strings.CutPrefix(r.URL.Path, issuerPath)
	switch {
	case ok && path == "/.well-known/openid-configuration":
		json.NewEncoder(w).Encode(map[string]any{"issuer": i.url, "jwks_uri": i.url + "/keys"})
	case ok && path == "/keys":
		json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &i.key.PublicKey, KeyID: issuerKey, Algorithm: string(jose.ES256), Use: "sig"}}})
	default:
		return false
	}
	return true
}

// Issuer is the address of an OpenID Connect provider of web identity tokens that the
// server trusts. An account must still register it.
func (s *Server) Issuer() string { return s.issuer.url }

// Token makes a token of the issuer, with these claims in place of its own: sub "user",
// aud "sts.amazonaws.com", issued now and valid for five minutes. A nil claim is left out.
func (s *Server) Token(claims map[string]any) string {
	now := s.Now()
	all := map[string]any{"iss": s.issuer.url, "sub": "user", "aud": "sts.amazonaws.com", "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()}
	for name, v := range claims {
		all[name] = v
		if v == nil {
			delete(all, name)
		}
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: s.issuer.key, KeyID: issuerKey}}, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(all).Serialize()
	if err != nil {
		s.t.Fatal(err)
	}
	return text
}

// token sets a variable to a token of the issuer.
func (s *script) token(_ bool, args []string) error {
	claims := map[string]any{}
	for _, arg := range args[1:] {
		name, text, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%q is not of the form CLAIM=VALUE", arg)
		}
		v, err := s.claim(name, text)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		claims[name] = v
	}
	s.vars[args[0]] = s.server.Token(claims)
	return nil
}

// claim is the value that a script gives a claim.
func (s *script) claim(name, text string) (any, error) {
	switch {
	case text == "":
		return nil, nil
	case name == "iat" || name == "exp" || name == "nbf":
		d, err := time.ParseDuration(text)
		return s.server.Now().Add(d).Unix(), err
	case text[0] == '[' || text[0] == '{':
		var v any
		err := json.Unmarshal([]byte(text), &v)
		return v, err
	}
	return text, nil
}
