package outbound

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/store"
)

const ours, theirs = "111122223333", "444455556666"

func open(t *testing.T, log store.Log) *Issuer {
	t.Helper()
	db, err := store.Open(context.Background(), log, Tables()...)
	if err != nil {
		t.Fatal(err)
	}
	vault, err := identity.NewVault(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	return &Issuer{DB: db, Vault: vault, Base: "https://iamd.example.com"}
}

// published are the key ids of the set at a URL of the issuer.
func published(t *testing.T, i *Issuer, url string) jose.JSONWebKeySet {
	t.Helper()
	b, ok := i.Document(i.DB.View(), strings.TrimPrefix(url, i.Base)+"/.well-known/jwks.json")
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(b, &set); !ok || err != nil {
		t.Fatalf("the key set of %s: %v, %v", url, ok, err)
	}
	return set
}

func ids(set jose.JSONWebKeySet) string {
	var all []string
	for _, k := range set.Keys {
		all = append(all, k.KeyID)
	}
	return strings.Join(all, " ")
}

// A token is verified with the published keys, and says which one signed it.
func sign(t *testing.T, i *Issuer, algorithm string, now time.Time) string {
	t.Helper()
	token, err := i.Sign(i.DB.View(), ours, algorithm, map[string]any{"sub": "x"}, now)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func verify(t *testing.T, token string, set jose.JSONWebKeySet) (kid string, err error) {
	t.Helper()
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256, jose.ES384})
	if err != nil {
		t.Fatal(err)
	}
	kid = parsed.Headers[0].KeyID
	if typ := parsed.Headers[0].ExtraHeaders["typ"]; typ != "JWT" {
		t.Errorf("typ %v, want JWT", typ)
	}
	var claims jwt.Claims
	return kid, parsed.Claims(&set, &claims)
}

// Over seventy days, a verifier that fetches the keys once a day verifies every token
// that is alive, and each key is published before it signs.
func TestKeysRotate(t *testing.T) {
	i := open(t, store.NewMemory())
	defer i.DB.Close()
	start := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	url, err := i.Enable(t.Context(), ours, start)
	if err != nil {
		t.Fatal(err)
	}
	fetched := published(t, i, url)
	seen := map[string]bool{}
	const daily = 3 // steps
	const steps, step = 70 * daily, 24 * time.Hour / daily
	for n := range steps {
		now := start.Add(time.Duration(n) * step)
		if err := i.Rotate(t.Context(), now, false); err != nil {
			t.Fatal(err)
		}
		algorithm := ES384
		if n%4 == 0 {
			algorithm = RS256
		}
		kid, err := verify(t, sign(t, i, algorithm, now), fetched)
		if err != nil {
			t.Fatalf("day %d: key %s is not among those fetched within the last day (%s): %v", n/daily, kid, ids(fetched), err)
		}
		seen[kid] = true
		set := published(t, i, url)
		hourAgo := now.Add(-LongestToken)
		if n == 0 {
			hourAgo = now // there was nothing before
		}
		if kid, err := verify(t, sign(t, i, algorithm, hourAgo), set); err != nil {
			t.Fatalf("day %d: a token of an hour ago: key %s is not published any more: %v", n/daily, kid, err)
		}
		if len(set.Keys) > 4 {
			t.Fatalf("day %d: %d keys are published", n/daily, len(set.Keys))
		}
		if n%daily == daily-1 {
			fetched = set
		}
	}
	if got := len(seen); got != 6 || !seen["RSA_3"] || !seen["EC384_3"] {
		t.Errorf("the keys %v signed in seventy days, want three of each algorithm", seen)
	}
}

// A server that was off for a year signs with the old key until the new one has been
// published for a day.
func TestRotationAfterALongTime(t *testing.T) {
	log := store.NewMemory()
	i := open(t, log)
	start := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	url, err := i.Enable(t.Context(), ours, start)
	if err != nil {
		t.Fatal(err)
	}
	token := sign(t, i, RS256, start)
	i.DB.Close()

	i = open(t, log)
	defer i.DB.Close()
	if _, err := verify(t, token, published(t, i, url)); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	later := start.Add(365 * 24 * time.Hour)
	for range 3 { // again is no more
		if err := i.Rotate(t.Context(), later, false); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := ids(published(t, i, url)), "EC384_1 EC384_2 RSA_1 RSA_2"; got != want {
		t.Errorf("published are %s, want %s", got, want)
	}
	for after, want := range map[time.Duration]string{0: "RSA_1", 23 * time.Hour: "RSA_1", 24 * time.Hour: "RSA_2"} {
		if kid, err := verify(t, sign(t, i, RS256, later.Add(after)), published(t, i, url)); err != nil || kid != want {
			t.Errorf("%v later key %s signs (%v), want %s", after, kid, err, want)
		}
	}
	if err := i.Rotate(t.Context(), later.Add(27*time.Hour), false); err != nil {
		t.Fatal(err)
	}
	if got, want := ids(published(t, i, url)), "EC384_2 RSA_2"; got != want {
		t.Errorf("a day later published are %s, want %s", got, want)
	}
}

// Servers without issuers have no keys, and two that make the first ones at once agree.
func TestFirstKeys(t *testing.T) {
	log := store.NewMemory()
	a := open(t, log)
	defer a.DB.Close()
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	if err := a.Rotate(t.Context(), now, false); err != nil {
		t.Fatal(err)
	}
	for name := range keys.All(a.DB.View(), "") {
		t.Errorf("there is a key %s", name)
	}
	errs := make(chan error, 4)
	for range 4 {
		go func() { errs <- a.Rotate(context.Background(), now, true) }()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for range keys.All(a.DB.View(), "") {
		n++
	}
	if n != 2 {
		t.Errorf("%d keys, want one of each algorithm", n)
	}
}

func TestEnableAndDisable(t *testing.T) {
	i := open(t, store.NewMemory())
	defer i.DB.Close()
	now := time.Now()
	if err := i.Disable(t.Context(), ours); !errors.Is(err, ErrDisabled) {
		t.Errorf("disabling what was never enabled: %v", err)
	}
	if _, err := i.Sign(i.DB.View(), ours, ES384, map[string]any{}, now); !errors.Is(err, ErrDisabled) {
		t.Errorf("signing before: %v", err)
	}
	url, err := i.Enable(t.Context(), ours, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.Enable(t.Context(), ours, now); !errors.Is(err, ErrEnabled) {
		t.Errorf("enabling twice: %v", err)
	}
	other, err := i.Enable(t.Context(), theirs, now)
	if err != nil || other == url || strings.Contains(url, ours) {
		t.Errorf("issuers %s and %s (%v): want two, without the account's number", url, other, err)
	}
	if err := i.Disable(t.Context(), ours); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Sign(i.DB.View(), ours, ES384, map[string]any{}, now); !errors.Is(err, ErrDisabled) {
		t.Errorf("signing after: %v", err)
	}
	published(t, i, url) // still there, for the tokens of before
	if again, err := i.Enable(t.Context(), ours, now); err != nil || again != url {
		t.Errorf("enabled again: %s, %v; want %s", again, err, url)
	}
	for _, path := range []string{
		"", "/", "/_issuer", "/_issuer/", "/_issuer/00/.well-known/jwks.json", "/.well-known/jwks.json",
		strings.TrimPrefix(url, i.Base), strings.TrimPrefix(url, i.Base) + "/", strings.TrimPrefix(url, i.Base) + "/.well-known/jwks.json/",
	} {
		if b, ok := i.Document(i.DB.View(), path); ok {
			t.Errorf("at %q there is %s", path, b)
		}
	}
}

// The store holds no private key in the clear, and a key moved to another name does not open.
func TestKeysAreSealed(t *testing.T) {
	i := open(t, store.NewMemory())
	defer i.DB.Close()
	if _, err := i.Enable(t.Context(), ours, time.Now()); err != nil {
		t.Fatal(err)
	}
	for name, k := range keys.All(i.DB.View(), "") {
		if strings.Contains(string(k.Public), `"d"`) {
			t.Errorf("the public part of %s holds the private one: %s", name, k.Public)
		}
		moved := *k
		moved.ID = "RSA_9"
		if _, err := (&Issuer{Vault: i.Vault}).signer(&moved); err == nil {
			t.Errorf("%s opens under another name", name)
		}
	}
}
