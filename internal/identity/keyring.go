package identity

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/store"
)

// Why credentials were not accepted. The one who presented them is told no more
// than AWS tells; see package server.
var (
	ErrUnknownKey   = errors.New("the access key is unknown or inactive")
	ErrInvalidToken = errors.New("the session token is not valid")
	ErrExpiredToken = errors.New("the session token is expired")
)

// ErrSessionTooLarge is returned by Seal for a session whose token would be
// larger than MaxToken; Percent says by how much of the allotted space.
type ErrSessionTooLarge struct{ Percent int }

func (e ErrSessionTooLarge) Error() string {
	return fmt.Sprintf("the session token takes %d%% of the allotted space", e.Percent)
}

const (
	// MaxToken is the size of the largest session token, in bytes.
	MaxToken = 4096
	// MaxSession is the longest that a session can live: GetSessionToken's 36 hours.
	MaxSession = 36 * time.Hour

	rotateAfter  = 24 * time.Hour // a sealing key seals no longer than this
	forgetAfter  = rotateAfter + MaxSession + time.Hour
	tokenVersion = 1
)

// A sealingKey seals sessions. It is stored sealed by the Vault, under its id.
type sealingKey struct {
	ID      string // 8 hexadecimal digits
	Sealed  string
	Created time.Time
}

var (
	sealingKeys   = store.NewTable[sealingKey]("sealing")        // key: creation time, id
	newestSealing = store.NewTable[sealingKey]("sealing-newest") // the newest of them, under newestKey
)

const newestKey = "newest"

// A Keyring turns sessions into credentials and credentials into callers.
//
// A session token is
//
//	version (1 byte)  id of the sealing key (4)  nonce (12)  AES-256-GCM(session)
//
// in base64, where the access key id is authenticated with it. Any bit changed,
// or another access key id, and it does not open. The secret access key is
// HMAC-SHA256 of the token's nonce and access key id under a second key derived from the
// same sealing key; it is not in the token. Sealing keys are in the store, so
// that all servers of a store accept each other's sessions and a restart keeps
// them; they are renewed daily and kept for as long as a session may live.
type Keyring struct {
	vault *Vault

	mu      sync.Mutex
	byID    map[[4]byte]*sealer
	opened  memory[*openedToken] // by session token
	secrets memory[openedKey]    // of long-term keys, by id
}

type sealer struct {
	id       [4]byte
	aead     cipher.AEAD // of sessions
	messages cipher.AEAD // of authorization messages
	secret   []byte      // secret access keys are derived from it
	desks    sync.Pool   // of *desk
}

// A desk is where sessions are sealed: a MAC under the sealer's secret, which costs
// more to make than to use, and room.
type desk struct {
	mac    hash.Hash
	sum    [sha256.Size]byte
	packed []byte
	token  []byte
	text   []byte
}

func (s *sealer) desk() *desk {
	if d, ok := s.desks.Get().(*desk); ok {
		return d
	}
	return &desk{mac: hmac.New(sha256.New, s.secret)}
}

type openedToken struct {
	session *Session
	secret  Secret
}

// An openedKey is what a long-term key's secret was found to be, as it was sealed.
type openedKey struct {
	sealed string
	secret Secret
}

// A memory remembers what was costly to find, in two generations: the older is
// dropped when the newer is full. Its holder's mutex guards it.
type memory[T any] struct{ newer, older map[string]T }

const generation = 4096

func (m *memory[T]) get(key string) (T, bool) {
	v, ok := m.newer[key]
	if !ok {
		if v, ok = m.older[key]; ok {
			m.put(key, v)
		}
	}
	return v, ok
}

func (m *memory[T]) put(key string, v T) {
	if m.newer == nil || len(m.newer) >= generation {
		m.newer, m.older = make(map[string]T), m.newer
	}
	m.newer[key] = v
}

// NewKeyring returns a keyring that opens the store's secrets with the vault.
func NewKeyring(v *Vault) *Keyring {
	return &Keyring{vault: v, byID: map[[4]byte]*sealer{}}
}

// Rotate makes a new sealing key when the newest is a day old or there is none,
// and deletes those that no living session can need. It is called at start and
// from time to time.
func (k *Keyring) Rotate(ctx context.Context, db *store.DB, now time.Time) error {
	return db.Update(ctx, func(tx *store.Tx) error {
		var newest time.Time
		for key, s := range sealingKeys.All(tx, "") {
			if _, err := k.vault.Open(s.ID, s.Sealed); err != nil {
				return fmt.Errorf("reading the sealing keys: %w", err)
			}
			newest = s.Created
			if now.Sub(s.Created) > forgetAfter {
				sealingKeys.Delete(tx, key)
			}
		}
		if !newest.IsZero() && now.Sub(newest) < rotateAfter {
			return nil
		}
		var id [4]byte
		var key [32]byte
		rand.Read(id[:])
		rand.Read(key[:])
		s := &sealingKey{ID: hex.EncodeToString(id[:]), Created: now}
		s.Sealed = k.vault.Seal(s.ID, NewSecret(string(key[:])))
		sealingKeys.Put(tx, now.UTC().Format("20060102150405")+"-"+s.ID, s)
		newestSealing.Put(tx, newestKey, s)
		return nil
	})
}

// newest returns the sealer to seal with.
func (k *Keyring) newest(r store.Reader) (*sealer, error) {
	newest := newestSealing.Get(r, newestKey)
	if newest == nil {
		return nil, errors.New("there is no sealing key")
	}
	return k.sealer(newest)
}

func (k *Keyring) find(r store.Reader, id [4]byte) (*sealer, error) {
	k.mu.Lock()
	s := k.byID[id]
	k.mu.Unlock()
	if s != nil {
		return s, nil
	}
	name := hex.EncodeToString(id[:])
	for _, s := range sealingKeys.All(r, "") {
		if s.ID == name {
			return k.sealer(s)
		}
	}
	return nil, ErrInvalidToken
}

func (k *Keyring) sealer(s *sealingKey) (*sealer, error) {
	var id [4]byte
	if _, err := hex.Decode(id[:], []byte(s.ID)); err != nil {
		return nil, fmt.Errorf("sealing key %q: %w", s.ID, err)
	}
	k.mu.Lock()
	known := k.byID[id]
	k.mu.Unlock()
	if known != nil {
		return known, nil
	}
	key, err := k.vault.Open(s.ID, s.Sealed)
	if err != nil {
		return nil, err
	}
	derive := func(use string) []byte {
		b, err := hkdf.Key(sha256.New, []byte(key.Reveal()), nil, use, 32)
		if err != nil {
			panic(err) // only for lengths that we do not ask
		}
		return b
	}
	made := &sealer{id: id, secret: derive("iamd session secret v1")}
	if made.aead, err = newAEAD(derive("iamd session v1")); err != nil {
		return nil, err
	}
	if made.messages, err = newAEAD(derive("iamd authorization message v1")); err != nil {
		return nil, err
	}
	k.mu.Lock()
	k.byID[id] = made
	k.mu.Unlock()
	return made, nil
}

// Credentials are temporary credentials as STS returns them.
type Credentials struct {
	AccessKeyID  string
	Secret       Secret
	SessionToken string
	Expires      time.Time
}

// Seal makes the credentials of a session and sets its AccessKeyID. It writes
// nothing.
func (k *Keyring) Seal(r store.Reader, s *Session) (Credentials, error) {
	sealer, err := k.newest(r)
	if err != nil {
		return Credentials{}, err
	}
	d := sealer.desk()
	defer sealer.desks.Put(d)
	s.AccessKeyID = NewKeyID(TemporaryKeyPrefix, s.Account)
	d.packed = pack(d.packed[:0], s)
	d.text = append(d.text[:0], s.AccessKeyID...)
	d.token = append(d.token[:0], tokenVersion)
	d.token = append(d.token, sealer.id[:]...)
	d.token = sealer.aead.Seal(d.token, nil, d.packed, d.text)
	size := base64.StdEncoding.EncodedLen(len(d.token))
	if size > MaxToken {
		return Credentials{}, ErrSessionTooLarge{size * 100 / MaxToken}
	}
	d.text = base64.StdEncoding.AppendEncode(d.text[:0], d.token)
	sealed := Credentials{AccessKeyID: s.AccessKeyID, SessionToken: string(d.text), Expires: s.Expires}
	sealed.Secret = d.secretKey(s.AccessKeyID, d.token)
	return sealed, nil
}

// secretKey is the secret access key that goes with a token.
func (d *desk) secretKey(accessKeyID string, token []byte) Secret {
	d.mac.Reset()
	d.mac.Write(token[5:17]) // the nonce
	io.WriteString(d.mac, accessKeyID)
	d.text = base64.StdEncoding.AppendEncode(d.text[:0], d.mac.Sum(d.sum[:0])[:30])
	return Secret{string(d.text)}
}

// Open returns the session that a token stands for and the secret access key
// that goes with it, or ErrInvalidToken. It does not look at the clock.
func (k *Keyring) Open(r store.Reader, accessKeyID, token string) (*Session, Secret, error) {
	if len(token) > MaxToken {
		return nil, Secret{}, ErrInvalidToken
	}
	k.mu.Lock()
	o, ok := k.opened.get(token)
	k.mu.Unlock()
	if !ok {
		b, err := base64.StdEncoding.DecodeString(token)
		if err != nil || len(b) < 1+4+12+16 || b[0] != tokenVersion {
			return nil, Secret{}, ErrInvalidToken
		}
		sealer, err := k.find(r, [4]byte(b[1:5]))
		if err != nil {
			return nil, Secret{}, err
		}
		plain, err := sealer.aead.Open(nil, nil, b[5:], []byte(accessKeyID))
		if err != nil {
			return nil, Secret{}, ErrInvalidToken
		}
		s, err := unpack(plain)
		if err != nil {
			return nil, Secret{}, ErrInvalidToken
		}
		s.AccessKeyID = strings.Clone(accessKeyID)
		d := sealer.desk()
		o = &openedToken{s, d.secretKey(accessKeyID, b)}
		sealer.desks.Put(d)
		k.mu.Lock()
		k.opened.put(strings.Clone(token), o)
		k.mu.Unlock()
	}
	if o.session.AccessKeyID != accessKeyID {
		return nil, Secret{}, ErrInvalidToken
	}
	return o.session, o.secret, nil
}

// Caller returns who presents an access key id and, for temporary credentials, a
// session token, and the secret that their signature must have been made with.
// Errors: ErrUnknownKey, ErrInvalidToken, ErrExpiredToken; any other is ours.
func (k *Keyring) Caller(r store.Reader, accessKeyID, token string, now time.Time) (*Caller, Secret, error) {
	if token != "" {
		s, secret, err := k.Open(r, accessKeyID, token)
		if err != nil {
			return nil, Secret{}, err
		}
		if !now.Before(s.Expires) {
			return nil, Secret{}, ErrExpiredToken
		}
		c := SessionCaller(r, s)
		if c == nil || openAccount(r, s.Account) == nil {
			return nil, Secret{}, ErrInvalidToken
		}
		return c, secret, nil
	}
	key := Keys.Get(r, accessKeyID)
	if key == nil || !key.Active || openAccount(r, key.Account) == nil {
		return nil, Secret{}, ErrUnknownKey
	}
	secret, err := k.secretOf(key)
	if err != nil {
		return nil, Secret{}, err
	}
	if key.User == "" {
		return RootCaller(key.Account, key.ID), secret, nil
	}
	u := UserByID(r, key.User)
	if u == nil {
		return nil, Secret{}, ErrUnknownKey
	}
	return UserCaller(u, key.ID), secret, nil
}

// secretOf opens the secret of a long-term key.
func (k *Keyring) secretOf(key *AccessKey) (Secret, error) {
	k.mu.Lock()
	known, ok := k.secrets.get(key.ID)
	k.mu.Unlock()
	if ok && known.sealed == key.Sealed {
		return known.secret, nil
	}
	secret, err := k.vault.Open(key.ID, key.Sealed)
	if err != nil {
		return Secret{}, err
	}
	k.mu.Lock()
	k.secrets.put(key.ID, openedKey{key.Sealed, secret})
	k.mu.Unlock()
	return secret, nil
}

// NewAccessKey makes a long-term key of a user, or of the root with user "".
// The caller puts it into Keys and KeysOf.
func (k *Keyring) NewAccessKey(account, user string, now time.Time) (*AccessKey, Secret) {
	key := &AccessKey{ID: NewKeyID(AccessKeyPrefix, account), Account: account, User: user, Active: true, Created: now}
	secret := NewSecretKey()
	key.Sealed = k.vault.Seal(key.ID, secret)
	return key, secret
}

// GivenAccessKey is NewAccessKey with an id and a secret that the operator chose.
func (k *Keyring) GivenAccessKey(account, id string, secret Secret, now time.Time) *AccessKey {
	return &AccessKey{ID: id, Account: account, Active: true, Created: now, Sealed: k.vault.Seal(id, secret)}
}

// Keep seals a secret for the store under a name, which must be given to open it
// again: see Vault.
func (k *Keyring) Keep(name string, secret Secret) string { return k.vault.Seal(name, secret) }

// Kept opens what Keep sealed.
func (k *Keyring) Kept(name, sealed string) (Secret, error) { return k.vault.Open(name, sealed) }

// SealMessage encodes an authorization message: text that only
// sts:DecodeAuthorizationMessage of the account gives back.
func (k *Keyring) SealMessage(r store.Reader, account, text string) (string, error) {
	sealer, err := k.newest(r)
	if err != nil {
		return "", err
	}
	b := append([]byte{tokenVersion}, sealer.id[:]...)
	b = sealer.messages.Seal(b, nil, deflate([]byte(text)), []byte(account))
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// OpenMessage decodes what SealMessage made, or returns ErrInvalidToken.
func (k *Keyring) OpenMessage(r store.Reader, account, message string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(message)
	if err != nil || len(b) < 1+4+12+16 || b[0] != tokenVersion {
		return "", ErrInvalidToken
	}
	sealer, err := k.find(r, [4]byte(b[1:5]))
	if err != nil {
		return "", err
	}
	plain, err := sealer.messages.Open(nil, nil, b[5:], []byte(account))
	if err != nil {
		return "", ErrInvalidToken
	}
	text, err := inflate(plain)
	return string(text), err
}

// The packed form of a session: each text by its length, each number as a
// varint, in one order; whole, it is deflated when that makes it shorter.

const (
	plainForm    = 0
	deflatedForm = 1
	maxUnpacked  = 64 << 10
)

// pack appends the packed form to b, which is empty.
func pack(b []byte, s *Session) []byte {
	b = append(b, plainForm)
	text := func(t string) {
		b = binary.AppendUvarint(b, uint64(len(t)))
		b = append(b, t...)
	}
	at := func(t time.Time) {
		if t.IsZero() {
			b = binary.AppendUvarint(b, 0)
		} else {
			b = binary.AppendUvarint(b, uint64(t.Unix()))
		}
	}
	flag := func(f bool) {
		if f {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	text(string(s.Type))
	text(s.Account)
	text(s.Principal)
	text(s.Name)
	at(s.Issued)
	at(s.Expires)
	text(s.Policy.String())
	b = binary.AppendUvarint(b, uint64(len(s.PolicyARNs)))
	for _, a := range s.PolicyARNs {
		text(string(a))
	}
	b = binary.AppendUvarint(b, uint64(len(s.Tags)))
	for _, t := range s.Tags {
		text(t.Key)
		text(t.Value)
		flag(t.Transitive)
	}
	text(s.SourceIdentity)
	at(s.MFA)
	text(s.Provider)
	flag(s.Chained)
	if len(s.Claims) > 0 || s.AssumedRoot || s.Delegation != nil {
		b = binary.AppendUvarint(b, uint64(len(s.Claims)))
		for _, c := range s.Claims {
			text(c.Key)
			flag(c.Many)
			b = binary.AppendUvarint(b, uint64(len(c.Value)))
			for _, v := range c.Value {
				text(v)
			}
		}
	}
	if s.AssumedRoot || s.Delegation != nil { // left out otherwise, so that tokens made by an older program open
		flag(s.AssumedRoot)
	}
	if s.Delegation != nil {
		text(s.Delegation.Account)
		text(s.Delegation.Policy.String())
	}
	if len(b) < 512 {
		return b
	}
	if small := append([]byte{deflatedForm}, deflate(b[1:])...); len(small) < len(b) {
		return small
	}
	return b
}

func deflate(b []byte) []byte {
	var small bytes.Buffer
	w, err := flate.NewWriter(&small, flate.BestCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	w.Write(b) // to a bytes.Buffer: no error
	w.Close()
	return small.Bytes()
}

// inflate refuses what would grow beyond maxUnpacked.
func inflate(b []byte) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(b)), maxUnpacked+1))
	if err != nil || len(b) > maxUnpacked {
		return nil, errPacked
	}
	return b, nil
}

var errPacked = errors.New("the session is not well formed")

func unpack(b []byte) (*Session, error) {
	if len(b) == 0 {
		return nil, errPacked
	}
	form, b := b[0], b[1:]
	switch form {
	case plainForm:
	case deflatedForm:
		var err error
		if b, err = inflate(b); err != nil {
			return nil, err
		}
	default:
		return nil, errPacked
	}
	ok := true
	number := func() uint64 {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			ok, b = false, nil
			return 0
		}
		b = b[size:]
		return n
	}
	text := func() string {
		n := number()
		if n > uint64(len(b)) {
			ok, b = false, nil
			return ""
		}
		t := string(b[:n])
		b = b[n:]
		return t
	}
	at := func() time.Time {
		n := number()
		if n == 0 || n > 1<<40 {
			return time.Time{}
		}
		return time.Unix(int64(n), 0).UTC()
	}
	flag := func() bool { return number() == 1 }
	s := &Session{}
	s.Type = CallerType(text())
	s.Account = text()
	s.Principal = text()
	s.Name = text()
	s.Issued = at()
	s.Expires = at()
	s.Policy = NewDocument(text())
	for n := number(); n > 0 && ok; n-- {
		s.PolicyARNs = append(s.PolicyARNs, arn.ARN(text()))
	}
	for n := number(); n > 0 && ok; n-- {
		s.Tags = append(s.Tags, SessionTag{text(), text(), flag()})
	}
	s.SourceIdentity = text()
	s.MFA = at()
	s.Provider = text()
	s.Chained = flag()
	if len(b) > 0 {
		for n := number(); n > 0 && ok; n-- {
			c := Claim{Key: text(), Many: flag(), Lasts: true}
			for m := number(); m > 0 && ok; m-- {
				c.Value = append(c.Value, text())
			}
			s.Claims = append(s.Claims, c)
		}
	}
	if ok && len(b) > 0 {
		s.AssumedRoot = flag()
		if len(b) > 0 {
			s.Delegation = &Delegation{Account: text(), Policy: NewDocument(text())}
			ok = ok && s.Delegation.Account != ""
		}
		ok = ok && (s.AssumedRoot || s.Delegation != nil)
	}
	if !ok || len(b) != 0 {
		return nil, errPacked
	}
	return s, nil
}
