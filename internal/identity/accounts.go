package identity

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/internal/store"
)

// A RootKey is the access key with which an account's root user begins: the one
// that the start of the server made or was given. The root may make another one
// and delete this one, as in AWS.
type RootKey struct {
	Account string
	ID      string
	Secret  Secret
}

// beginnings tells for each account which access key is its RootKey. The entry
// stays when the root deletes the key, so that no later start brings it back.
var beginnings = store.NewTable[beginning]("rootkeys")

type beginning struct{ KeyID string }

// EnsureAccounts makes those of the accounts that are not there yet, each with a
// root access key, and returns the root keys of all accounts: the management
// account's first, the others by account id. The first account ever made is called
// the management account here, whether it has made an organisation or not.
//
// A key that is given becomes the management account's root key, in place of the
// one that it had from an earlier start. Keys that the root made itself stay.
//
// Secrets are stored sealed and opened again here, so that whoever writes the
// keys down can do so after any crash. An account whose root key was deleted is
// not among the keys and gets no new one, unless one is given.
//
// Errors name the account or the key: ids that are not 12 digits, a given key
// that CheckRootKey refuses or that belongs to somebody else, a secret that the
// keyring's vault did not seal.
func EnsureAccounts(ctx context.Context, db *store.DB, k *Keyring, ids []string, given *RootKey, now time.Time) ([]RootKey, error) {
	for _, id := range ids {
		if !ValidAccount(id) {
			return nil, fmt.Errorf("%q is not an account id: those are 12 digits", id)
		}
	}
	if given != nil {
		if err := CheckRootKey(given.ID, given.Secret); err != nil {
			return nil, err
		}
	}

	// What is random is made before the update, which may run twice.
	made := make(map[string]*newAccount, len(ids))
	for _, id := range ids {
		if made[id] == nil {
			made[id] = k.newAccount(id, now)
		}
	}
	// Some accounts in each update, which could not hold a thousand. A start that is
	// interrupted in between leaves some of them, and the next one makes the rest.
	for once := true; once || len(ids) > 0; once = false {
		some := ids[:min(len(ids), accountsAtOnce)]
		ids = ids[len(some):]
		err := db.Update(ctx, func(tx *store.Tx) error {
			management := ""
			for id, a := range Accounts.All(tx, "") {
				if a.Management {
					management = id
				}
			}
			for _, id := range some {
				if Accounts.Get(tx, id) != nil {
					continue
				}
				account := made[id].account // a copy: the next run may find another management account
				if management == "" {
					management, account.Management = id, true
				}
				Accounts.Put(tx, id, &account)
				if given == nil || management != id {
					putRootKey(tx, made[id].key)
				}
			}
			if given == nil {
				return nil
			}
			if management == "" {
				return errors.New("there is no account that the given root key could be for")
			}
			return k.give(tx, management, given, now)
		})
		if err != nil {
			return nil, err
		}
	}
	return k.rootKeys(db.View())
}

// accountsAtOnce keeps an update below store.MaxKeys.
const accountsAtOnce = 100

type newAccount struct {
	account Account
	key     *AccessKey
}

func (k *Keyring) newAccount(id string, now time.Time) *newAccount {
	key, _ := k.NewAccessKey(id, "", now)
	return &newAccount{*NewAccount(id, now), key}
}

// NewAccount makes an account without any credentials.
func NewAccount(id string, now time.Time) *Account {
	var canonical [32]byte
	rand.Read(canonical[:])
	return &Account{ID: id, Created: now, CanonicalID: hex.EncodeToString(canonical[:])}
}

// openAccount returns an account that is there and not closed; nil for any other.
func openAccount(r store.Reader, id string) *Account {
	if a := Accounts.Get(r, id); a != nil && a.Closed.IsZero() {
		return a
	}
	return nil
}

// give makes a key the account's root key.
func (k *Keyring) give(tx *store.Tx, account string, given *RootKey, now time.Time) error {
	old := ""
	if b := beginnings.Get(tx, account); b != nil {
		old = b.KeyID
	}
	if has := Keys.Get(tx, given.ID); has != nil {
		if has.Account != account || has.User != "" {
			return fmt.Errorf("the given root access key id %s is that of another user's key", given.ID)
		}
		if secret, err := k.vault.Open(has.ID, has.Sealed); err != nil {
			return err
		} else if secret == given.Secret && old == given.ID {
			return nil // unchanged; if the root made it inactive, it stays so
		}
	}
	if old != "" {
		deleteRootKey(tx, account, old)
	}
	putRootKey(tx, k.GivenAccessKey(account, given.ID, given.Secret, now))
	return nil
}

func putRootKey(tx *store.Tx, key *AccessKey) {
	Keys.Put(tx, key.ID, key)
	KeysOf.Put(tx, Key(key.Account, "")+"/"+key.ID, &struct{}{})
	beginnings.Put(tx, key.Account, &beginning{key.ID})
}

func deleteRootKey(tx *store.Tx, account, id string) {
	if key := Keys.Get(tx, id); key != nil && key.Account == account && key.User == "" {
		Keys.Delete(tx, id)
	}
	KeysOf.Delete(tx, Key(account, "")+"/"+id)
	LastUsed.Delete(tx, id)
}

// rootKeys returns the root keys that still exist, the management account's first.
func (k *Keyring) rootKeys(r store.Reader) ([]RootKey, error) {
	var first, rest []RootKey
	for id, account := range Accounts.All(r, "") {
		b := beginnings.Get(r, id)
		if b == nil {
			continue
		}
		key := Keys.Get(r, b.KeyID)
		if key == nil || key.Account != id || key.User != "" {
			continue
		}
		secret, err := k.vault.Open(key.ID, key.Sealed)
		if err != nil {
			return nil, fmt.Errorf("reading the root access key of account %s: %w", id, err)
		}
		if account.Management {
			first = append(first, RootKey{id, key.ID, secret})
		} else {
			rest = append(rest, RootKey{id, key.ID, secret})
		}
	}
	return append(first, rest...), nil
}

// The least that a chosen secret may have. AWS's have 40 characters.
const shortestSecret = 16

// CheckRootKey says what is wrong with an access key that somebody chose: an id is
// 16 to 128 letters, digits and underscores (IAM API Reference, AccessKey) and
// not of the form of temporary credentials; a secret is 16 to 128 visible ASCII
// characters. The error does not show the secret.
func CheckRootKey(id string, secret Secret) error {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"
	switch {
	case len(id) < 16 || len(id) > 128 || strings.Trim(id, letters) != "":
		return fmt.Errorf("%q cannot be an access key id: those are 16 to 128 letters, digits and underscores", id)
	case strings.HasPrefix(id, TemporaryKeyPrefix):
		return fmt.Errorf("%q cannot be a root access key id: %s begins those of temporary credentials", id, TemporaryKeyPrefix)
	}
	text := secret.Reveal()
	if len(text) < shortestSecret || len(text) > 128 {
		return fmt.Errorf("the secret of access key %s has %d characters: it must have %d to 128", id, len(text), shortestSecret)
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return fmt.Errorf("the secret of access key %s has a character that is not visible ASCII, at position %d", id, i+1)
		}
	}
	return nil
}
