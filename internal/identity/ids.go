package identity

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"strconv"
)

// Prefixes of unique ids and access key ids; see the IAM User Guide,
// "IAM identifiers", "Understanding unique ID prefixes".
const (
	UserPrefix         = "AIDA"
	GroupPrefix        = "AGPA"
	RolePrefix         = "AROA"
	PolicyPrefix       = "ANPA"
	ProfilePrefix      = "AIPA"
	AccessKeyPrefix    = "AKIA" // long-term
	TemporaryKeyPrefix = "ASIA"
	PublicKeyPrefix    = "APKA"
	CertificatePrefix  = "ASCA"
	ServicePrefix      = "ACCA" // of service-specific credentials
)

const (
	idLength  = 21 // unique ids
	keyLength = 20 // access key ids
)

// NewID makes a unique id of 21 characters for an entity of the account.
func NewID(prefix, account string) string { return newID(prefix, account, idLength) }

// NewKeyID makes an access key id of 20 characters for the account.
func NewKeyID(prefix, account string) string { return newID(prefix, account, keyLength) }

// The characters after the prefix are base32 of 80 bits. The first of them is 1,
// which makes the fifth character Q or later and tells that an account is inside;
// then come the 40 bits of the account, and the rest is random.
func newID(prefix, account string, length int) string {
	var b [11]byte
	rand.Read(b[:]) // never fails: crypto/rand
	n, err := strconv.ParseUint(account, 10, 40)
	if err != nil {
		panic("identity: account " + strconv.Quote(account) + " is not a number of 12 digits")
	}
	// AWS reads six bytes as z and takes (z AND 0x7fffffffff80) >> 7.
	z := uint64(1)<<47 | n<<7 | uint64(b[5]&0x7f)
	var head [8]byte
	binary.BigEndian.PutUint64(head[:], z<<16)
	copy(b[:6], head[:6])
	id := append(make([]byte, 0, 32), prefix...)
	return string(base32.StdEncoding.AppendEncode(id, b[:])[:length])
}

// AccountOfID returns the account that is encoded in a unique id or access key
// id, and false where it holds none.
func AccountOfID(id string) (string, bool) {
	if len(id) < 16 || id[4] >= 'A' && id[4] < 'Q' { // in base32 the digits come after Z
		return "", false
	}
	b, err := base32.StdEncoding.DecodeString(id[4:16] + "====") // seven bytes, of which six count
	if err != nil {
		return "", false
	}
	z := uint64(b[0])<<40 | uint64(b[1])<<32 | uint64(b[2])<<24 | uint64(b[3])<<16 | uint64(b[4])<<8 | uint64(b[5])
	n := (z & 0x7fffffffff80) >> 7
	if n > 999999999999 {
		return "", false
	}
	s := strconv.FormatUint(n, 10)
	return "000000000000"[len(s):] + s, true
}

// ValidAccount reports whether s is an account id: twelve digits.
func ValidAccount(s string) bool {
	if len(s) != 12 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
