package webidentity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"
)

var when = time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)

// Keys are costly to make, and are made once.
var (
	rsaKey      = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(2048) })
	otherRSAKey = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(2048) })
	p256        = newEC(elliptic.P256())
	p384        = newEC(elliptic.P384())
	p521        = newEC(elliptic.P521())
)

func newRSA(bits int) *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return k
}

func newEC(c elliptic.Curve) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

func publicKey(k crypto.Signer, id string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.Public(), KeyID: id}
}

// github are claims as GitHub Actions' tokens have them.
func github() map[string]any {
	return map[string]any{
		"iss": "https://token.actions.githubusercontent.com", "sub": "repo:octo-org/octo-repo:ref:refs/heads/main", "aud": "sts.amazonaws.com",
		"iat": when.Unix(), "nbf": when.Add(-5 * time.Minute).Unix(), "exp": when.Add(5 * time.Minute).Unix(), "jti": "example-id",
		"ref": "refs/heads/main", "repository": "octo-org/octo-repo", "repository_owner_id": "65", "actor": "octocat", "actor_id": "12",
		"job_workflow_ref": "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main", "run_attempt": "2",
	}
}

// kubernetes are claims as the projected tokens of service accounts have them.
func kubernetes() map[string]any {
	return map[string]any{
		"iss": "https://kubernetes.default.svc.cluster.local", "sub": "system:serviceaccount:payments:worker", "aud": []string{"sts.amazonaws.com"},
		"iat": when.Unix(), "nbf": when.Unix(), "exp": when.Add(24 * time.Hour).Unix(),
		"kubernetes.io": map[string]any{"namespace": "payments", "pod": map[string]any{"name": "worker-0", "uid": "u"}, "serviceaccount": map[string]any{"name": "worker", "uid": "v"}},
	}
}

func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, id string, claims any) string {
	t.Helper()
	if id != "" {
		key = jose.JSONWebKey{Key: key, KeyID: id}
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// raw is a token of these parts, the last of which is no signature of the others.
func raw(header, claims, signature string) string {
	e := base64.RawURLEncoding.EncodeToString
	return e([]byte(header)) + "." + e([]byte(claims)) + "." + e([]byte(signature))
}

func verify(text string, keys ...jose.JSONWebKey) (*Claims, error) {
	token, err := Parse(text)
	if err != nil {
		return nil, err
	}
	return token.Verify(keys)
}

func TestEveryAlgorithm(t *testing.T) {
	for _, c := range []struct {
		alg jose.SignatureAlgorithm
		key crypto.Signer
	}{{jose.RS256, rsaKey()}, {jose.RS384, rsaKey()}, {jose.RS512, rsaKey()}, {jose.ES256, p256}, {jose.ES384, p384}, {jose.ES512, p521}} {
		for _, id := range []string{"", "k"} {
			claims, err := verify(sign(t, c.alg, c.key, id, github()), publicKey(c.key, "other"), publicKey(c.key, "k"))
			if err != nil || claims.Subject != "repo:octo-org/octo-repo:ref:refs/heads/main" {
				t.Errorf("%s with key id %q: %v, %v", c.alg, id, claims, err)
			}
		}
	}
}

func TestRefusedTokens(t *testing.T) {
	good := sign(t, jose.RS256, rsaKey(), "k", github())
	key := publicKey(rsaKey(), "k")
	parts := strings.Split(good, ".")
	modulus := rsaKey().N.Bytes()
	for _, c := range []struct {
		name, text string
		keys       []jose.JSONWebKey
		want       error
	}{
		{"another key of that id", good, []jose.JSONWebKey{publicKey(otherRSAKey(), "k")}, errInvalid},
		{"no key of that id", good, []jose.JSONWebKey{publicKey(rsaKey(), "l")}, errNoKey},
		{"no keys", good, nil, errNoKey},
		{"a key for encryption", good, []jose.JSONWebKey{{Key: rsaKey().Public(), KeyID: "k", Use: "enc"}}, errNoKey},
		{"a key for another algorithm", good, []jose.JSONWebKey{{Key: rsaKey().Public(), KeyID: "k", Algorithm: "RS512"}}, errNoKey},
		{"a private key", good, []jose.JSONWebKey{{Key: rsaKey(), KeyID: "k"}}, errNoKey},
		{"a changed claim", parts[0] + "." + strings.Split(sign(t, jose.RS256, otherRSAKey(), "k", kubernetes()), ".")[1] + "." + parts[2], []jose.JSONWebKey{key}, errInvalid},
		{"a changed header", strings.Split(sign(t, jose.RS384, rsaKey(), "k", github()), ".")[0] + "." + parts[1] + "." + parts[2], []jose.JSONWebKey{key}, errInvalid},
		{"no signature", parts[0] + "." + parts[1] + ".", []jose.JSONWebKey{key}, errInvalid},
		{"alg none", raw(`{"alg":"none","typ":"JWT"}`, `{"iss":"https://a.example","sub":"s"}`, ""), []jose.JSONWebKey{key}, errNotJWT},
		{"alg None", raw(`{"alg":"None"}`, `{"iss":"https://a.example","sub":"s"}`, "x"), []jose.JSONWebKey{key}, errNotJWT},
		{"HS256 with the public key as secret", sign(t, jose.HS256, modulus, "k", github()), []jose.JSONWebKey{key, {Key: modulus, KeyID: "k"}}, errNotJWT},
		{"PS256", sign(t, jose.PS256, rsaKey(), "k", github()), []jose.JSONWebKey{key}, errNotJWT},
		{"ES256 with a key of another curve", sign(t, jose.ES384, p384, "k", github()), []jose.JSONWebKey{publicKey(p256, "k")}, errNoKey},
		{"a key in the header", sign(t, jose.RS256, otherRSAKey(), "", github()), []jose.JSONWebKey{key}, errInvalid},
		{"a critical header", raw(`{"alg":"RS256","kid":"k","crit":["exp"],"exp":1}`, `{"iss":"https://a.example"}`, "x"), []jose.JSONWebKey{key}, errInvalid},
		{"five parts", good + ".a.b", []jose.JSONWebKey{key}, errNotJWT},
		{"two parts", parts[0] + "." + parts[1], []jose.JSONWebKey{key}, errNotJWT},
		{"not base64", "a!.b.c", nil, errNotJWT},
		{"not JSON", raw("alg", "iss", "x"), nil, errNotJWT},
		{"claims that are a list", raw(`{"alg":"RS256"}`, `["iss"]`, "x"), nil, errNotJWT},
		{"JSON serialisation", `{"payload":"e30","protected":"eyJhbGciOiJSUzI1NiJ9","signature":"eA"}`, nil, errNotJWT},
		{"an issuer twice", raw(`{"alg":"RS256"}`, `{"iss":"https://a.example","iss":"https://b.example"}`, "x"), nil, errNotJWT},
		{"nothing", "", nil, errNotJWT},
	} {
		if claims, err := verify(c.text, c.keys...); err == nil || err.Error() != c.want.Error() {
			t.Errorf("%s: %v, %v, want %v", c.name, claims, err, c.want)
		}
	}
	if _, err := Parse(raw(`{"alg":"RS256"}`, `{"sub":"s"}`, "x")); err == nil || err.Error() != "Missing a required claim: iss." {
		t.Errorf("without an issuer: %v", err)
	}
}

func TestClaims(t *testing.T) {
	all := github()
	all["amr"] = []string{"authenticated", "mfa"}
	all["email"] = "a@example.com"
	all["ref_protected"] = true
	all["https://aws.amazon.com/source_identity"] = "octocat"
	all["https://aws.amazon.com/tags"] = map[string]any{"principal_tags": map[string]any{"Project": []string{"x"}}, "transitive_tag_keys": []string{"Project"}}
	all["https://aws.amazon.com/tags/principal_tags/Flat"] = "y"
	claims, err := verify(sign(t, jose.ES256, p256, "k", all), publicKey(p256, "k"))
	if err != nil {
		t.Fatal(err)
	}
	if claims.Others["actor_id"] != "12" || claims.Others["ref_protected"] != "true" || claims.Others["exp"] == "" {
		t.Errorf("other claims are %v", claims.Others)
	}
	claims.Others = nil
	want := &Claims{
		Issuer: "https://token.actions.githubusercontent.com", Subject: "repo:octo-org/octo-repo:ref:refs/heads/main", Audience: []string{"sts.amazonaws.com"},
		Issued: when, Expires: when.Add(5 * time.Minute), NotBefore: when.Add(-5 * time.Minute),
		Methods: []string{"authenticated", "mfa"}, Email: "a@example.com", SourceIdentity: "octocat",
		Tags: map[string]string{"Project": "x", "Flat": "y"}, TransitiveTags: []string{"Project"},
	}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}

	k, err := verify(sign(t, jose.RS256, rsaKey(), "k", kubernetes()), publicKey(rsaKey(), "k"))
	if err != nil || k.Subject != "system:serviceaccount:payments:worker" || k.Party() != "sts.amazonaws.com" {
		t.Errorf("a service account's token: %+v, %v", k, err)
	}

	for name, v := range map[string]any{
		"sub": 7, "iss": []string{"a"}, "aud": 7, "aud ": nil, "azp": true, "exp": "soon", "iat": -1, "nbf": 1e300, "email": []string{}, "amr": map[string]any{},
		"https://aws.amazon.com/source_identity": []string{"a"}, "https://aws.amazon.com/tags": "Project",
		"https://aws.amazon.com/tags/principal_tags/A": []string{"a", "b"}, "https://aws.amazon.com/tags/transitive_tag_keys": 3,
	} {
		if v == nil {
			continue
		}
		all := github()
		all[name] = v
		if name == "iss" {
			if _, err := Parse(sign(t, jose.ES256, p256, "k", all)); err == nil {
				t.Error("an issuer that is a list is accepted")
			}
			continue
		}
		if claims, err := verify(sign(t, jose.ES256, p256, "k", all), publicKey(p256, "k")); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s that is %v: %+v, %v", name, v, claims, err)
		}
	}
}

func TestCheck(t *testing.T) {
	good := Claims{Subject: "s", Audience: []string{"a"}, Issued: when, Expires: when.Add(time.Hour)}
	for _, c := range []struct {
		name   string
		change func(*Claims)
		want   string
	}{
		{"as it should be", func(*Claims) {}, ""},
		{"no subject", func(c *Claims) { c.Subject = "" }, "Missing a required claim: sub."},
		{"no audience", func(c *Claims) { c.Audience = nil }, "Missing a required claim: aud."},
		{"no issue time", func(c *Claims) { c.Issued = time.Time{} }, "Missing a required claim: iat."},
		{"no expiry", func(c *Claims) { c.Expires = time.Time{} }, "Missing a required claim: exp."},
		{"expired for as long as clocks may differ", func(c *Claims) { c.Expires = when.Add(-leeway + time.Second) }, ""},
		{"expired", func(c *Claims) { c.Expires = when.Add(-leeway) },
			"Token expired: current date/time 1795687200 must be before the expiration date/time 1795686900"},
		{"from a clock that is ahead", func(c *Claims) { c.Issued = when.Add(leeway) }, ""},
		{"from the future", func(c *Claims) { c.Issued = when.Add(leeway + time.Second) }, errInvalid.Text},
		{"not yet valid", func(c *Claims) { c.NotBefore = when.Add(leeway + time.Second) }, errInvalid.Text},
		{"two audiences", func(c *Claims) { c.Audience = []string{"a", "b"} }, "Token audience contains more than one audience while authorized party is not present"},
		{"two audiences and a party", func(c *Claims) { c.Audience, c.AuthorizedParty = []string{"a", "b"}, "b" }, ""},
	} {
		claims := good
		c.change(&claims)
		got := ""
		if err := claims.Check(when); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if err := (&Claims{Audience: []string{"a"}, AuthorizedParty: "b"}).For([]string{"a"}); err == nil {
		t.Error("the audience counts, and not the party")
	}
	for _, ids := range [][]string{nil, {}, {""}, {"A"}, {"b"}} {
		if err := good.For(ids); err == nil {
			t.Errorf("client ids %q accept audience a", ids)
		}
	}
	if err := good.For([]string{"b", "a"}); err != nil {
		t.Error(err)
	}
}

// Whatever is sent, parsing and verifying end in claims that were signed or in an *Error.
func FuzzToken(f *testing.F) {
	key := []jose.JSONWebKey{publicKey(p256, "k")}
	f.Add(sign(f, jose.ES256, p256, "k", github()))
	f.Add(sign(f, jose.ES256, p256, "", kubernetes()))
	f.Add(raw(`{"alg":"ES256"}`, `{"iss":"a"}`, strings.Repeat("x", 64)))
	f.Add(raw(`{"alg":"none"}`, `{"iss":"a"}`, ""))
	signed := []string{sign(f, jose.ES256, p256, "k", github())}
	f.Fuzz(func(t *testing.T, text string) {
		claims, err := verify(text, key...)
		if err == nil {
			// ECDSA signatures can be encoded once only, but base64 leaves bits over.
			if i := strings.LastIndexByte(text, '.'); !slices.ContainsFunc(signed, func(s string) bool { return strings.HasPrefix(s, text[:i]) }) &&
				claims.Subject != kubernetes()["sub"] && claims.Subject != github()["sub"] {
				t.Errorf("a token that nobody signed says %+v", claims)
			}
			return
		}
		if _, ok := errors.AsType[*Error](err); !ok {
			t.Errorf("%q: %v", text, err)
		}
	})
}
