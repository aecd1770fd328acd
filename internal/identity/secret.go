package identity

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// A Secret is text that must not be shown: a secret access key. However it is
// printed, logged or marshalled, it reads [secret]; Reveal gives the text to
// the one who must have it.
type Secret struct{ text string }

// NewSecret wraps text.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal returns the text.
func (s Secret) Reveal() string { return s.text }

func (Secret) String() string               { return "[secret]" }
func (Secret) GoString() string             { return "[secret]" }
func (Secret) Format(f fmt.State, _ rune)   { fmt.Fprint(f, "[secret]") }
func (Secret) LogValue() slog.Value         { return slog.StringValue("[secret]") }
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// NewSecretKey makes a secret access key: 40 characters of base64, 240 random bits.
func NewSecretKey() Secret {
	var b [30]byte
	rand.Read(b[:])
	return Secret{base64.StdEncoding.EncodeToString(b[:])}
}

// A Vault seals what is stored but must be read again: every value of the store, and
// within them long-term secret access keys, which SigV4 needs in the clear, and the keys
// that seal sessions, so that they are secrets in memory, too. Its own key is in a file
// beside the data and never in the store, so that a copy of the store alone opens nothing.
type Vault struct {
	aead   cipher.AEAD // of secrets
	values cipher.AEAD // of the store's values
}

// OpenVault reads the key file at path, 64 hexadecimal digits, and makes it
// (mode 0600) when there is none yet.
func OpenVault(path string) (*Vault, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		var b [32]byte
		rand.Read(b[:])
		text = []byte(hex.EncodeToString(b[:]) + "\n")
		if err := writeNew(path, text); err != nil {
			return nil, fmt.Errorf("making the master key: %w", err)
		}
	} else if err != nil {
		return nil, fmt.Errorf("reading the master key: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != 32 {
		return nil, fmt.Errorf("reading the master key: %s does not hold 64 hexadecimal digits; restore it from a copy: without it the stored secrets cannot be read", path)
	}
	return NewVault(key)
}

// writeNew writes a new file so that after a crash it is whole or absent.
func writeNew(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil { // fails if it exists: never overwrites a key
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// NewVault makes a vault from a key of 32 bytes.
func NewVault(key []byte) (*Vault, error) {
	v := &Vault{}
	for purpose, aead := range map[string]*cipher.AEAD{"iamd vault v1": &v.aead, "iamd values v1": &v.values} {
		derived, err := hkdf.Key(sha256.New, key, nil, purpose, 32)
		if err != nil {
			return nil, err
		}
		if *aead, err = newAEAD(derived); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Seal encrypts text for the store. The same name must be given to Open it, so
// that a sealed secret cannot be moved to another key.
func (v *Vault) Seal(name string, text Secret) string {
	return base64.StdEncoding.EncodeToString(v.aead.Seal(nil, nil, []byte(text.text), []byte(name)))
}

// Open decrypts what Seal made.
func (v *Vault) Open(name, sealed string) (Secret, error) {
	b, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil {
		return Secret{}, fmt.Errorf("opening the secret of %s: %w", name, err)
	}
	text, err := v.aead.Open(nil, nil, b, []byte(name))
	if err != nil {
		return Secret{}, fmt.Errorf("opening the secret of %s: it was not sealed with this master key", name)
	}
	return Secret{string(text)}, nil
}

// valueVersion begins every sealed value. JSON, which values are before they are sealed,
// never begins so.
const valueVersion = 1

// SealValue encrypts a value of the store under its key there: see store.Sealed. The
// nonces are random, which is good for 2^32 values: a century at one change a second.
func (v *Vault) SealValue(name string, value []byte) []byte {
	sealed := make([]byte, 1, 1+len(value)+v.values.Overhead())
	sealed[0] = valueVersion
	return v.values.Seal(sealed, nil, value, []byte(name))
}

// OpenValue decrypts what SealValue made.
func (v *Vault) OpenValue(name string, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != valueVersion {
		return nil, errors.New("it is not sealed: another program wrote it, or an iamd that did not seal values, whose data this one does not take over")
	}
	value, err := v.values.Open(nil, nil, sealed[1:], []byte(name))
	if err != nil {
		return nil, errors.New("it was not sealed with this master key")
	}
	return value, nil
}
