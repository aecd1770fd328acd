package identity

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/store"
)

var start = time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)

func newStore(t *testing.T) (*store.DB, *Keyring) {
	t.Helper()
	db, err := store.Open(t.Context(), store.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	vault, err := NewVault(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	return db, NewKeyring(vault)
}

func accountsOf(keys []RootKey) []string {
	var ids []string
	for _, k := range keys {
		ids = append(ids, k.Account)
	}
	return ids
}

// More accounts than fit in one update.
func TestAThousandAccounts(t *testing.T) {
	db, k := newStore(t)
	var ids []string
	for i := range 1000 {
		ids = append(ids, fmt.Sprintf("%012d", 999-i))
	}
	keys, err := EnsureAccounts(t.Context(), db, k, ids, &RootKey{ID: "AKIAGIVENGIVENGIVEN1", Secret: NewSecret("a-secret-that-somebody-chose")}, start)
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) != len(ids) || keys[0].Account != ids[0] || keys[0].ID != "AKIAGIVENGIVENGIVEN1" {
		t.Errorf("%d root keys, the first is %s of account %s", len(keys), keys[0].ID, keys[0].Account)
	}
	management := 0
	for _, a := range Accounts.All(db.View(), "") {
		if a.Management {
			management++
		}
	}
	if management != 1 {
		t.Errorf("%d management accounts", management)
	}
}

func TestFirstAccountIsTheManagementAccount(t *testing.T) {
	db, k := newStore(t)
	keys, err := EnsureAccounts(t.Context(), db, k, []string{"444455556666", "111122223333", "444455556666"}, nil, start)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := accountsOf(keys), []string{"444455556666", "111122223333"}; !slices.Equal(got, want) {
		t.Errorf("root keys are of %q, want %q", got, want)
	}
	for _, key := range keys {
		a := Accounts.Get(db.View(), key.Account)
		if got, want := a.Management, key.Account == "444455556666"; got != want {
			t.Errorf("account %s: management %v, want %v", a.ID, got, want)
		}
		if len(a.CanonicalID) != 64 || !a.Created.Equal(start) {
			t.Errorf("account %s has canonical id %q and was created %v", a.ID, a.CanonicalID, a.Created)
		}
		if of, ok := AccountOfID(key.ID); !ok || of != key.Account {
			t.Errorf("root key %s says account %s", key.ID, of)
		}
		c, secret, err := k.Caller(db.View(), key.ID, "", start)
		if err != nil || c.ARN != RootARN(key.Account) || secret != key.Secret {
			t.Errorf("root key of %s: caller %+v, %v", key.Account, c, err)
		}
	}
}

func TestLaterStartAddsAccountsAndKeepsKeys(t *testing.T) {
	db, k := newStore(t)
	first, err := EnsureAccounts(t.Context(), db, k, []string{"444455556666"}, nil, start)
	if err != nil {
		t.Fatal(err)
	}
	second, err := EnsureAccounts(t.Context(), db, k, []string{"111122223333"}, nil, start.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if len(second) != 2 || second[0] != first[0] {
		t.Errorf("the key of the first account did not stay: %v, then %v", first, second)
	}
	third, err := EnsureAccounts(t.Context(), db, k, nil, nil, start.Add(2*time.Hour))
	if err != nil || !slices.Equal(second, third) {
		t.Errorf("a start without accounts gives %v, %v; want %v", third, err, second)
	}
	if Accounts.Get(db.View(), "111122223333").Management {
		t.Error("the second account is a management account, too")
	}
}

func TestGivenRootKey(t *testing.T) {
	db, k := newStore(t)
	one := RootKey{ID: "AKIAIOSFODNN7EXAMPLE", Secret: NewSecret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")}
	two := RootKey{ID: one.ID, Secret: NewSecret("another-secret-access-key")}
	three := RootKey{ID: "ROOTKEY_OF_STAGING", Secret: one.Secret}
	own, _ := k.NewAccessKey("111122223333", "", start)

	var before string
	for i, given := range []*RootKey{nil, &one, &one, &two, &three, nil} {
		keys, err := EnsureAccounts(t.Context(), db, k, []string{"111122223333", "444455556666"}, given, start)
		if err != nil {
			t.Fatalf("start %d: %v", i, err)
		}
		if i == 0 { // and the root makes a key of its own
			err := db.Update(t.Context(), func(tx *store.Tx) error {
				Keys.Put(tx, own.ID, own)
				KeysOf.Put(tx, Key("111122223333", "")+"/"+own.ID, &struct{}{})
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		want := &three
		if given != nil {
			want = given
		}
		if i > 0 && (keys[0].ID != want.ID || keys[0].Secret != want.Secret) {
			t.Errorf("start %d: the management account's key is %v, want %s", i, keys[0], want.ID)
		}
		if before != "" && before != keys[0].ID && Keys.Get(db.View(), before) != nil {
			t.Errorf("start %d: the former root key %s is still there", i, before)
		}
		before = keys[0].ID
		var of []string
		for key := range KeysOf.All(db.View(), Key("111122223333", "")+"/") {
			of = append(of, strings.TrimPrefix(key, "111122223333//"))
		}
		all := []string{own.ID, keys[0].ID}
		slices.Sort(all)
		if !slices.Equal(of, all) {
			t.Errorf("start %d: the root has keys %q, want %q", i, of, all)
		}
	}
}

func TestGivenRootKeyIsRefused(t *testing.T) {
	const good, id = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "AKIAIOSFODNN7EXAMPLE"
	for _, test := range []struct{ id, secret, want string }{
		{"", good, `"" cannot be an access key id`},
		{"test", good, "16 to 128 letters, digits and underscores"},
		{strings.Repeat("A", 129), good, "16 to 128 letters, digits and underscores"},
		{"AKIAIOSFODNN7/EXAMPLE", good, "16 to 128 letters, digits and underscores"},
		{"AKIAIOSFODNN7EXÄMPLE", good, "16 to 128 letters, digits and underscores"},
		{"ASIAIOSFODNN7EXAMPLE", good, "ASIA begins those of temporary credentials"},
		{id, "", "has 0 characters: it must have 16 to 128"},
		{id, "short", "has 5 characters"},
		{id, strings.Repeat("s", 129), "has 129 characters"},
		{id, "a secret with spaces", "not visible ASCII, at position 2"},
		{id, "a-secret-with-umlauts-ä", "not visible ASCII, at position 23"},
		{id, "a-secret-with-newline\n", "not visible ASCII, at position 22"},
	} {
		db, k := newStore(t)
		_, err := EnsureAccounts(t.Context(), db, k, []string{"111122223333"}, &RootKey{ID: test.id, Secret: NewSecret(test.secret)}, start)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("id %q: error %v, want %q", test.id, err, test.want)
		} else if test.secret != "" && strings.Contains(err.Error(), test.secret) {
			t.Errorf("the error shows the secret: %v", err)
		}
		if Accounts.Get(db.View(), "111122223333") != nil {
			t.Errorf("id %q: the account was made", test.id)
		}
	}
}

func TestGivenRootKeyOfSomebodyElseIsRefused(t *testing.T) {
	db, k := newStore(t)
	keys, err := EnsureAccounts(t.Context(), db, k, []string{"111122223333", "444455556666"}, nil, start)
	if err != nil {
		t.Fatal(err)
	}
	_, err = EnsureAccounts(t.Context(), db, k, nil, &RootKey{ID: keys[1].ID, Secret: keys[1].Secret}, start)
	if err == nil || !strings.Contains(err.Error(), "is that of another user's key") {
		t.Errorf("the root key of another account: %v", err)
	}
}

// A root that deletes the key it began with has said that it wants none.
func TestDeletedRootKeyDoesNotComeBack(t *testing.T) {
	db, k := newStore(t)
	keys, err := EnsureAccounts(t.Context(), db, k, []string{"111122223333"}, nil, start)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(t.Context(), func(tx *store.Tx) error {
		Keys.Delete(tx, keys[0].ID)
		KeysOf.Delete(tx, Key("111122223333", "")+"/"+keys[0].ID)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	again, err := EnsureAccounts(t.Context(), db, k, []string{"111122223333"}, nil, start)
	if err != nil || len(again) != 0 {
		t.Errorf("the next start gives %v, %v", again, err)
	}
	given := RootKey{ID: "AKIAIOSFODNN7EXAMPLE", Secret: NewSecret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")}
	again, err = EnsureAccounts(t.Context(), db, k, nil, &given, start)
	if err != nil || len(again) != 1 || again[0].ID != given.ID {
		t.Errorf("a start with a given key gives %v, %v", again, err)
	}
}

func TestRootKeysNeedTheirVault(t *testing.T) {
	db, k := newStore(t)
	if _, err := EnsureAccounts(t.Context(), db, k, []string{"111122223333"}, nil, start); err != nil {
		t.Fatal(err)
	}
	vault, err := OpenVault(filepath.Join(t.TempDir(), "other.key"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = EnsureAccounts(t.Context(), db, NewKeyring(vault), nil, nil, start)
	if err == nil || !strings.Contains(err.Error(), "root access key of account 111122223333") {
		t.Errorf("with another master key: %v", err)
	}
}

func TestAccountIDs(t *testing.T) {
	db, k := newStore(t)
	for _, id := range []string{"", "12345678901", "1234567890123", "12345678901a", "1234 5678 90", "-23456789012"} {
		_, err := EnsureAccounts(context.Background(), db, k, []string{"111122223333", id}, nil, start)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q is not an account id: those are 12 digits", id)) {
			t.Errorf("account %q: %v", id, err)
		}
	}
	for id := range Accounts.All(db.View(), "") {
		t.Errorf("account %s was made", id)
	}
	if _, err := EnsureAccounts(t.Context(), db, k, nil, &RootKey{ID: "AKIAIOSFODNN7EXAMPLE", Secret: NewSecret("wJalrXUtnFEMI/K7MDENG")}, start); err == nil {
		t.Error("a root key without an account was taken")
	}
}
