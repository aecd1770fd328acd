package identity

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/store"
)

const account = "111122223333"

var now = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// The account stands in every id as AWS encodes it; the key of AWS's own
// documentation names the account that it is known to belong to.
func TestIDs(t *testing.T) {
	for _, acct := range []string{"000000000001", account, "999999999999"} {
		for prefix, length := range map[string]int{UserPrefix: 21, RolePrefix: 21, AccessKeyPrefix: 20, TemporaryKeyPrefix: 20} {
			id := NewID(prefix, acct)
			if length == 20 {
				id = NewKeyID(prefix, acct)
			}
			if len(id) != length || !strings.HasPrefix(id, prefix) || id[4] >= 'A' && id[4] < 'Q' {
				t.Errorf("id %s: want %d characters, %s first and then Q or later", id, length, prefix)
			}
			if got, ok := AccountOfID(id); !ok || got != acct {
				t.Errorf("AccountOfID(%s) = %s, %v; want %s", id, got, ok, acct)
			}
		}
	}
	// Two ids of one account share the eight characters after the prefix, all but the last bits.
	a, b := NewID(UserPrefix, account), NewID(UserPrefix, account)
	if a == b || a[4:12] != b[4:12] {
		t.Errorf("ids of one account: %s and %s; want them different with the same characters 5 to 12", a, b)
	}
	if got, ok := AccountOfID("ASIAY34FZKBOKMUTVV7A"); !ok || got != "609629065308" {
		t.Errorf("AccountOfID of a key published by AWS's documentation of the encoding = %s, %v; want 609629065308", got, ok)
	}
	for _, id := range []string{"", "AIDA", "AKIAIOSFODNN7EXAMPLE", "AKIA!!!!!!!!!!!!!!!!", "ASIAY34FZKBO"} {
		if got, ok := AccountOfID(id); ok {
			t.Errorf("AccountOfID(%q) = %s, want none", id, got)
		}
	}
}

func TestSecretsCannotBePrinted(t *testing.T) {
	s := NewSecret("wJalrXUtnFEMI")
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("a", "secret", s, "in", struct{ S Secret }{s})
	marshalled, _ := json.Marshal(struct{ S Secret }{s})
	for _, got := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q %x %d", s, s, s, s, s, s, s),
		fmt.Sprintf("%+v", struct{ S Secret }{s}), string(marshalled), log.String()} {
		if strings.Contains(got, "wJalr") || strings.Contains(got, "774a616c") {
			t.Errorf("the secret shows in %q", got)
		}
	}
}

func TestVault(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	v, err := OpenVault(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key file has mode %v, %v; want 0600", info.Mode(), err)
	}
	sealed := v.Seal("AKIA1", NewSecret("s3cret"))
	again, err := OpenVault(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Open("AKIA1", sealed); err != nil || got.Reveal() != "s3cret" {
		t.Errorf("Open after a restart: %v", err)
	}
	if _, err := v.Open("AKIA2", sealed); err == nil {
		t.Error("a sealed secret opened under another name")
	}
	stranger, _ := NewVault(bytes.Repeat([]byte{1}, 32))
	if _, err := stranger.Open("AKIA1", sealed); err == nil {
		t.Error("a sealed secret opened with another master key")
	}
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenVault(path); err == nil {
		t.Error("a corrupt key file was accepted")
	}
	if b, _ := os.ReadFile(path); string(b) != "short" {
		t.Error("a corrupt key file was overwritten")
	}
}

// world is a store with an account, a role and a user.
func world(t *testing.T) (*store.DB, *Keyring) {
	t.Helper()
	db, err := store.Open(t.Context(), store.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	v, err := NewVault(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	k := NewKeyring(v)
	if err := k.Rotate(t.Context(), db, now); err != nil {
		t.Fatal(err)
	}
	update(t, db, func(tx *store.Tx) {
		Accounts.Put(tx, account, &Account{ID: account})
		Roles.Put(tx, Key(account, "Reader"), &Role{Role: api.Role{RoleName: "Reader", RoleId: "AROAREADER", Arn: "arn:aws:iam::" + account + ":role/Reader"}})
		IDs.Put(tx, "AROAREADER", &Ref{RoleKind, Key(account, "Reader")})
		Users.Put(tx, Key(account, "alice"), &User{User: api.User{UserName: "alice", UserId: "AIDAALICE", Arn: "arn:aws:iam::" + account + ":user/alice"}})
		IDs.Put(tx, "AIDAALICE", &Ref{UserKind, Key(account, "alice")})
	})
	return db, k
}

func update(t *testing.T, db *store.DB, f func(*store.Tx)) {
	t.Helper()
	if err := db.Update(context.Background(), func(tx *store.Tx) error { f(tx); return nil }); err != nil {
		t.Fatal(err)
	}
}

func roleSession() *Session {
	return &Session{Type: AssumedRole, Account: account, Principal: "AROAREADER", Name: "s1", Issued: now, Expires: now.Add(time.Hour)}
}

func TestSessionRoundTrip(t *testing.T) {
	db, k := world(t)
	full := roleSession()
	full.Policy = NewDocument(`{"Version":"2012-10-17","Statement":[]}`)
	full.PolicyARNs = []arn.ARN{"arn:aws:iam::aws:policy/ReadOnlyAccess"}
	full.Tags = []SessionTag{{"team", "a", true}, {"Cost", "", false}}
	full.SourceIdentity, full.MFA, full.Provider, full.Chained = "ann", now, "accounts.example.com", true
	full.Claims = []Claim{{Key: "accounts.example.com:sub", Value: []string{"ann"}, Lasts: true}, {Key: "accounts.example.com:amr", Value: []string{"mfa", "pwd"}, Many: true, Lasts: true}}
	for name, s := range map[string]*Session{"bare": roleSession(), "full": full} {
		c, err := k.Seal(db.View(), s)
		if err != nil {
			t.Fatal(err)
		}
		got, secret, err := k.Open(db.View(), c.AccessKeyID, c.SessionToken)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(s, got, cmp.Comparer(func(a, b Document) bool { return a == b })); diff != "" {
			t.Errorf("%s: sealed and opened differ:\n%s", name, diff)
		}
		if secret != c.Secret {
			t.Errorf("%s: the derived secret differs", name)
		}
		// Another server of the same store, and this one after a restart.
		other := NewKeyring(k.vault)
		if _, again, err := other.Open(db.View(), c.AccessKeyID, c.SessionToken); err != nil || again != secret {
			t.Errorf("%s: another keyring of the same store: %v", name, err)
		}
	}
}

// A session that is remembered keeps nothing of the request that it was opened for: an access
// key id is part of a text as long as the request.
func TestOpenKeepsNoRequest(t *testing.T) {
	db, k := world(t)
	c, err := k.Seal(db.View(), roleSession())
	if err != nil {
		t.Fatal(err)
	}
	head := c.AccessKeyID + strings.Repeat(" ", 8000)
	id := head[:len(c.AccessKeyID)]
	s, _, err := k.Open(db.View(), id, c.SessionToken)
	if err != nil {
		t.Fatal(err)
	}
	if s.AccessKeyID != id || unsafe.StringData(s.AccessKeyID) == unsafe.StringData(id) {
		t.Error("the access key id of the session is the request's")
	}
}

// Every bit of a token counts, and it opens for no other access key.
func TestTamperedTokens(t *testing.T) {
	db, k := world(t)
	c, err := k.Seal(db.View(), roleSession())
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := base64.StdEncoding.DecodeString(c.SessionToken)
	for i := range raw {
		for bit := range 8 {
			b := bytes.Clone(raw)
			b[i] ^= 1 << bit
			if _, _, err := k.Open(db.View(), c.AccessKeyID, base64.StdEncoding.EncodeToString(b)); !errors.Is(err, ErrInvalidToken) {
				t.Fatalf("token with bit %d of byte %d changed: %v, want ErrInvalidToken", bit, i, err)
			}
		}
		if _, _, err := k.Open(db.View(), c.AccessKeyID, base64.StdEncoding.EncodeToString(raw[:i])); !errors.Is(err, ErrInvalidToken) {
			t.Fatalf("token cut to %d bytes: %v, want ErrInvalidToken", i, err)
		}
	}
	d, err := k.Seal(db.View(), roleSession())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // from the token and from the cache
		if _, _, err := k.Open(db.View(), d.AccessKeyID, c.SessionToken); !errors.Is(err, ErrInvalidToken) {
			t.Errorf("a token with another session's access key id: %v, want ErrInvalidToken", err)
		}
		if _, _, err := k.Open(db.View(), c.AccessKeyID, c.SessionToken); err != nil {
			t.Errorf("the right pair: %v", err)
		}
	}
	foreign, fk := world(t)
	if _, _, err := fk.Open(foreign.View(), c.AccessKeyID, c.SessionToken); !errors.Is(err, ErrInvalidToken) {
		t.Errorf("a token of another installation: %v, want ErrInvalidToken", err)
	}
	message, err := k.SealMessage(db.View(), account, "text")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := base64.RawURLEncoding.DecodeString(message)
	if _, _, err := k.Open(db.View(), account, base64.StdEncoding.EncodeToString(b)); !errors.Is(err, ErrInvalidToken) {
		t.Errorf("an authorization message as a token: %v, want ErrInvalidToken", err)
	}
	if _, err := k.OpenMessage(db.View(), "444455556666", message); !errors.Is(err, ErrInvalidToken) {
		t.Errorf("an authorization message in another account: %v, want ErrInvalidToken", err)
	}
	if got, err := k.OpenMessage(db.View(), account, message); err != nil || got != "text" {
		t.Errorf("an authorization message: %q, %v", got, err)
	}
}

func TestCaller(t *testing.T) {
	db, k := world(t)
	c, err := k.Seal(db.View(), roleSession())
	if err != nil {
		t.Fatal(err)
	}
	who := func(at time.Time) (*Caller, error) {
		caller, _, err := k.Caller(db.View(), c.AccessKeyID, c.SessionToken, at)
		return caller, err
	}
	caller, err := who(now)
	if err != nil {
		t.Fatal(err)
	}
	if caller.ARN != "arn:aws:sts::111122223333:assumed-role/Reader/s1" || caller.UserID != "AROAREADER:s1" {
		t.Errorf("the caller is %s, %s", caller.ARN, caller.UserID)
	}
	if _, err := who(now.Add(time.Hour - time.Second)); err != nil {
		t.Errorf("a second before the end: %v", err)
	}
	if _, err := who(now.Add(time.Hour)); !errors.Is(err, ErrExpiredToken) {
		t.Errorf("at the end: %v, want ErrExpiredToken", err)
	}
	// Without its token a temporary key is nobody's.
	if _, _, err := k.Caller(db.View(), c.AccessKeyID, "", now); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("a temporary key without its token: %v, want ErrUnknownKey", err)
	}
	// The role's deletion ends its sessions, and a new role of the same name does not bring them back.
	update(t, db, func(tx *store.Tx) {
		IDs.Delete(tx, "AROAREADER")
		Roles.Put(tx, Key(account, "Reader"), &Role{Role: api.Role{RoleName: "Reader", RoleId: "AROANEW", Arn: "arn:aws:iam::" + account + ":role/Reader"}})
		IDs.Put(tx, "AROANEW", &Ref{RoleKind, Key(account, "Reader")})
	})
	if _, err := who(now); !errors.Is(err, ErrInvalidToken) {
		t.Errorf("a session of a deleted role: %v, want ErrInvalidToken", err)
	}
}

func TestLongTermKeys(t *testing.T) {
	db, k := world(t)
	key, secret := k.NewAccessKey(account, "AIDAALICE", now)
	root, _ := k.NewAccessKey(account, "", now)
	update(t, db, func(tx *store.Tx) { Keys.Put(tx, key.ID, key); Keys.Put(tx, root.ID, root) })
	c, got, err := k.Caller(db.View(), key.ID, "", now)
	if err != nil || got != secret || c.Type != IAMUser || c.ARN != "arn:aws:iam::111122223333:user/alice" {
		t.Errorf("alice's key: %+v, %v", c, err)
	}
	if c, _, err := k.Caller(db.View(), root.ID, "", now); err != nil || c.Type != RootUser || c.UserID != account {
		t.Errorf("the root's key: %+v, %v", c, err)
	}
	inactive := *key
	inactive.Active = false
	update(t, db, func(tx *store.Tx) { Keys.Put(tx, key.ID, &inactive) })
	if _, _, err := k.Caller(db.View(), key.ID, "", now); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("an inactive key: %v, want ErrUnknownKey", err)
	}
	update(t, db, func(tx *store.Tx) { Keys.Put(tx, key.ID, key); IDs.Delete(tx, "AIDAALICE") })
	if _, _, err := k.Caller(db.View(), key.ID, "", now); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("the key of a deleted user: %v, want ErrUnknownKey", err)
	}
}

func TestSealingKeysRotate(t *testing.T) {
	db, k := world(t)
	count := func() (n int) {
		for range sealingKeys.All(db.View(), "") {
			n++
		}
		return n
	}
	c, err := k.Seal(db.View(), roleSession())
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		after time.Duration
		keys  int
		opens bool
	}{
		{time.Hour, 1, true},
		{25 * time.Hour, 2, true}, // a new one seals, the old one still opens
		{50 * time.Hour, 3, true},
		{80 * time.Hour, 3, false}, // no session of the first can be alive
	} {
		if err := k.Rotate(t.Context(), db, now.Add(step.after)); err != nil {
			t.Fatal(err)
		}
		if got := count(); got != step.keys {
			t.Errorf("after %v there are %d sealing keys, want %d", step.after, got, step.keys)
		}
		fresh := NewKeyring(k.vault)
		if _, _, err := fresh.Open(db.View(), c.AccessKeyID, c.SessionToken); (err == nil) != step.opens {
			t.Errorf("after %v opening gives %v, want it to open: %v", step.after, err, step.opens)
		}
	}
	stranger, _ := NewVault(bytes.Repeat([]byte{9}, 32))
	if err := NewKeyring(stranger).Rotate(t.Context(), db, now); err == nil {
		t.Error("a store of another master key was accepted")
	}
}

func TestLargeSessions(t *testing.T) {
	db, k := world(t)
	s := roleSession()
	for i := range 50 {
		s.Tags = append(s.Tags, SessionTag{Key: NewSecretKey().Reveal() + NewSecretKey().Reveal(), Value: fmt.Sprint(i) + NewSecretKey().Reveal()})
	}
	_, err := k.Seal(db.View(), s)
	var large ErrSessionTooLarge
	if !errors.As(err, &large) || large.Percent <= 100 {
		t.Errorf("a session with 50 long random tags: %v, want ErrSessionTooLarge above 100%%", err)
	}
}

// What opens is what was sealed, and nothing that comes from outside does harm.
func FuzzOpen(f *testing.F) {
	f.Add("ASIA", "AAAA")
	f.Add("", base64.StdEncoding.EncodeToString(make([]byte, 100)))
	v, _ := NewVault(make([]byte, 32))
	k := NewKeyring(v)
	db, err := store.Open(context.Background(), store.NewMemory())
	if err != nil {
		f.Fatal(err)
	}
	if err := k.Rotate(context.Background(), db, now); err != nil {
		f.Fatal(err)
	}
	c, err := k.Seal(db.View(), roleSession())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(c.AccessKeyID, c.SessionToken)
	f.Fuzz(func(t *testing.T, id, token string) {
		if _, _, err := k.Open(db.View(), id, token); err == nil && (id != c.AccessKeyID || strings.TrimRight(token, "\r\n") == "") {
			t.Errorf("%q opened for %q", token, id)
		}
	})
}

func FuzzUnpack(f *testing.F) {
	f.Add(pack(nil, roleSession()))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := unpack(b)
		if err != nil {
			return
		}
		again, err := unpack(pack(nil, s))
		if err != nil {
			t.Fatalf("a session that unpacked does not unpack again: %v", err)
		}
		if diff := cmp.Diff(s, again, cmp.Comparer(func(a, b Document) bool { return a == b })); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDocumentsAreShared(t *testing.T) {
	text := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`
	a, b := NewDocument(text), NewDocument(strings.Clone(text))
	if a != b || a.Program() != b.Program() {
		t.Error("two documents of one text are not one")
	}
	if NewDocument("") != (Document{}) {
		t.Error("no text makes a document")
	}
}

func BenchmarkSeal(b *testing.B) {
	db, err := store.Open(b.Context(), store.NewMemory())
	if err != nil {
		b.Fatal(err)
	}
	v, _ := NewVault(make([]byte, 32))
	k := NewKeyring(v)
	if err := k.Rotate(b.Context(), db, now); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Seal(db.View(), roleSession()); err != nil {
			b.Fatal(err)
		}
	}
}

// What makes a role service-linked is its path, in small letters and as a whole element.
func TestServiceLinked(t *testing.T) {
	for path, want := range map[string]bool{
		"/aws-service-role/ecs.amazonaws.com/": true,
		"/aws-service-role/":                   true,
		"/":                                    false,
		"/aws-service-roles/":                  false,
		"/team/aws-service-role/x/":            false,
		"/AWS-service-role/x/":                 false,
		"/service-role/":                       false,
	} {
		if got := (&Role{Role: api.Role{Path: path}}).ServiceLinked(); got != want {
			t.Errorf("a role of path %s: ServiceLinked = %v, want %v", path, got, want)
		}
	}
}
