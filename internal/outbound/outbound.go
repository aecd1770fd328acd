// Package outbound is iamd as an identity provider of others: it issues signed tokens
// in which an account vouches for one of its principals, and publishes what is needed
// to verify them. AWS calls it outbound web identity federation.
//
//	i := &outbound.Issuer{DB: db, Vault: vault, Base: "https://iamd.example.com"}
//	url, err := i.Enable(ctx, "111122223333", now)
//	token, err := i.Sign(db.View(), "111122223333", outbound.ES384, claims, now)
//
// An account that has been enabled has an issuer, for good: a URL under Base with an
// id in it that tells nothing of the account. OpenID Connect Discovery and the JSON
// Web Key Set are found below it, and stay there when the account is disabled again,
// for the tokens that it issued before.
//
// # Keys
//
// The signing keys are the server's, one line of them for each algorithm: what keeps
// accounts apart is the issuer in the token, which every verifier compares. They are
// in the store, sealed by the vault. A key signs for thirty days. Its successor is
// published a day before it begins to sign, so that verifiers which keep the set for a
// while know it in time; the old key is published until the last token that it signed
// has expired. All of this follows from one time of each key, so that servers of one
// store agree, and a server that was off for long does no harm.
package outbound

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/store"
)

// The algorithms, by the names of RFC 7518.
const (
	RS256 = "RS256"
	ES384 = "ES384"
)

// algorithms are all of them, with the beginning of their keys' ids.
var algorithms = []struct {
	name, kid string
	generate  func() (crypto.Signer, error)
}{
	{RS256, "RSA_", func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) }},
	{ES384, "EC384_", func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P384(), rand.Reader) }},
}

const (
	signsFor        = 30 * 24 * time.Hour // a key, before the next one takes over
	publishedBefore = 24 * time.Hour      // a key, before it signs
	publishedAfter  = 2 * time.Hour       // a key, after the next one has taken over; LongestToken and an hour
	// LongestToken is how long a token may live.
	LongestToken = time.Hour
)

// What Enable and Disable find done already.
var (
	ErrEnabled  = errors.New("the account has an issuer that is enabled")
	ErrDisabled = errors.New("the account has no issuer that is enabled")
)

// An account is an account that has been enabled.
type account struct {
	ID      string // stands in the URL
	Enabled bool
}

// An owner is the account that an issuer stands for.
type owner struct{ Account string }

// A key is a signing key.
type key struct {
	Algorithm string
	ID        string          // "RSA_1"; also the name that it is sealed under
	Sealed    string          // PKCS #8
	Public    json.RawMessage // as a JSON Web Key
	From      time.Time       // when it begins to sign
}

var (
	accounts = store.NewTable[account]("issuers")           // by account
	byID     = store.NewTable[owner]("issuerids")           // id -> whose issuer it is
	keys     = store.NewTable[key]("issuerkeys")            // algorithm + "/" + number of six digits
	newest   = store.NewTable[struct{ N int }]("issuerkey") // algorithm -> the number of its newest key
)

// Tables returns the tables, for store.Open to check.
func Tables() []store.Checker { return []store.Checker{accounts, byID, keys, newest} }

// An Issuer issues tokens.
type Issuer struct {
	DB    *store.DB
	Vault *identity.Vault
	// Base is where verifiers reach the server, without a slash at its end. It is
	// set before the first call.
	Base string

	mu      sync.Mutex
	signers map[string]jose.Signer // by key id
}

// Enable gives an account an issuer, or back the one that it had, and returns its
// URL; ErrEnabled when there is nothing to do.
func (i *Issuer) Enable(ctx context.Context, accountID string, now time.Time) (string, error) {
	if err := i.Rotate(ctx, now, true); err != nil {
		return "", err
	}
	var random [16]byte
	rand.Read(random[:])
	id := hex.EncodeToString(random[:])
	err := i.DB.Update(ctx, func(tx *store.Tx) error {
		a := accounts.Get(tx, accountID)
		switch {
		case a == nil:
			a = &account{ID: id}
			byID.Put(tx, id, &owner{accountID})
		case a.Enabled:
			return ErrEnabled
		}
		a.Enabled = true
		accounts.Put(tx, accountID, a)
		return nil
	})
	if err != nil {
		return "", err
	}
	url, _ := i.URL(i.DB.View(), accountID)
	return url, nil
}

// Disable keeps an account from issuing tokens; ErrDisabled when it could not anyway.
func (i *Issuer) Disable(ctx context.Context, accountID string) error {
	return i.DB.Update(ctx, func(tx *store.Tx) error {
		a := accounts.Get(tx, accountID)
		if a == nil || !a.Enabled {
			return ErrDisabled
		}
		a.Enabled = false
		accounts.Put(tx, accountID, a)
		return nil
	})
}

// URL is the account's issuer identifier; false when the account is not enabled.
func (i *Issuer) URL(r store.Reader, accountID string) (string, bool) {
	a := accounts.Get(r, accountID)
	if a == nil || !a.Enabled {
		return "", false
	}
	return i.url(a.ID), true
}

// Prefix begins the paths of all issuers. No bucket's name begins with an underscore.
const Prefix = "/_issuer/"

func (i *Issuer) url(id string) string { return i.Base + Prefix + id }

// Sign makes a token of the claims, to which it adds iss. The account must be enabled.
func (i *Issuer) Sign(r store.Reader, accountID, algorithm string, claims map[string]any, now time.Time) (string, error) {
	url, ok := i.URL(r, accountID)
	if !ok {
		return "", ErrDisabled
	}
	claims["iss"] = url
	var signing *key
	for _, k := range keys.All(r, algorithm+"/") {
		if !k.From.After(now) {
			signing = k
		}
	}
	if signing == nil {
		return "", fmt.Errorf("outbound: there is no %s key that signs", algorithm)
	}
	signer, err := i.signer(signing)
	if err != nil {
		return "", err
	}
	return jwt.Signed(signer).Claims(claims).Serialize()
}

func (i *Issuer) signer(k *key) (jose.Signer, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if s := i.signers[k.Sealed]; s != nil {
		return s, nil
	}
	secret, err := i.Vault.Open(k.ID, k.Sealed)
	if err != nil {
		return nil, err
	}
	private, err := x509.ParsePKCS8PrivateKey([]byte(secret.Reveal()))
	if err != nil {
		return nil, fmt.Errorf("reading the signing key %s: %w", k.ID, err)
	}
	s, err := jose.NewSigner(jose.SigningKey{
		Algorithm: jose.SignatureAlgorithm(k.Algorithm), Key: jose.JSONWebKey{Key: private, KeyID: k.ID},
	}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, fmt.Errorf("reading the signing key %s: %w", k.ID, err)
	}
	if i.signers == nil || len(i.signers) > 8 { // a few are in use at any time
		i.signers = map[string]jose.Signer{}
	}
	i.signers[k.Sealed] = s
	return s, nil
}

// Rotate makes the successors of keys that have signed long enough and deletes those
// that no token needs. It is called at start and from time to time. Where there are
// no keys yet it makes them only if first is true: most servers issue no tokens.
func (i *Issuer) Rotate(ctx context.Context, now time.Time, first bool) error {
	for _, a := range algorithms {
		state := i.DB.View()
		n, from := 0, now
		if last := newest.Get(state, a.name); last != nil {
			n = last.N
			k := keys.Get(state, keyOf(a.name, n))
			if k == nil {
				return fmt.Errorf("outbound: the %s key %d is not there", a.name, n)
			}
			if now.Sub(k.From) < signsFor-publishedBefore {
				n = -1 // not yet
			}
			from = now.Add(publishedBefore)
		} else if !first {
			continue
		}
		var made *key
		if n >= 0 { // what is random is made before the update, which may run twice
			var err error
			if made, err = i.generate(a.name, fmt.Sprintf("%s%d", a.kid, n+1), a.generate, from); err != nil {
				return err
			}
		}
		err := i.DB.Update(ctx, func(tx *store.Tx) error {
			if last := newest.Get(tx, a.name); made != nil && (last == nil && n == 0 || last != nil && last.N == n) {
				keys.Put(tx, keyOf(a.name, n+1), made)
				newest.Put(tx, a.name, &struct{ N int }{n + 1})
			}
			older := ""
			for name, k := range keys.All(tx, a.name+"/") {
				if older != "" && now.Sub(k.From) > publishedAfter {
					keys.Delete(tx, older)
				}
				older = name
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("renewing the %s signing key: %w", a.name, err)
		}
	}
	return nil
}

func keyOf(algorithm string, n int) string { return fmt.Sprintf("%s/%06d", algorithm, n) }

func (i *Issuer) generate(algorithm, id string, generate func() (crypto.Signer, error), from time.Time) (*key, error) {
	private, err := generate()
	if err != nil {
		return nil, fmt.Errorf("making a signing key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("making a signing key: %w", err)
	}
	public, err := json.Marshal(jose.JSONWebKey{Key: private.Public(), KeyID: id, Algorithm: algorithm, Use: "sig"})
	if err != nil {
		return nil, fmt.Errorf("making a signing key: %w", err)
	}
	return &key{Algorithm: algorithm, ID: id, Sealed: i.Vault.Seal(id, identity.NewSecret(string(der))), Public: public, From: from.UTC()}, nil
}

// Document returns what is published at a path, as JSON; false where nothing is.
// Everybody may read it.
func (i *Issuer) Document(r store.Reader, path string) ([]byte, bool) {
	id, document, _ := strings.Cut(strings.TrimPrefix(path, Prefix), "/")
	if !strings.HasPrefix(path, Prefix) || byID.Get(r, id) == nil {
		return nil, false
	}
	var v any
	switch document {
	case ".well-known/openid-configuration":
		v = map[string]any{
			"issuer":                                i.url(id),
			"jwks_uri":                              i.url(id) + "/.well-known/jwks.json",
			"response_types_supported":              []string{"id_token"},
			"subject_types_supported":               []string{"public"},
			"id_token_signing_alg_values_supported": []string{RS256, ES384},
			"claims_supported":                      []string{"iss", "sub", "aud", "iat", "exp", "jti", Namespace},
		}
	case ".well-known/jwks.json":
		set := struct {
			Keys []json.RawMessage `json:"keys"`
		}{[]json.RawMessage{}}
		for _, k := range keys.All(r, "") {
			set.Keys = append(set.Keys, k.Public)
		}
		v = set
	default:
		return nil, false
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings, and JSON that was made here
	}
	return b, true
}

// Namespace is the claim that holds what is AWS's own in a token.
const Namespace = "https://sts.amazonaws.com/"
