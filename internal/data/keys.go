package data

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
)

// The records of a key stand together in the tree, ordered as the keys are: a zero
// byte of the key is written 00 FF, and 00 01 ends the key. So "a" comes before
// "a\x00" and both before "ab", and all keys with a prefix begin with its encoding.
var keyEnd = []byte{0x00, 0x01}

func appendKey(b []byte, key string) []byte {
	for i := 0; i < len(key); i++ {
		b = append(b, key[i])
		if key[i] == 0 {
			b = append(b, 0xff)
		}
	}
	return b
}

// recordsOf returns what the records of a key begin with.
func recordsOf(key string) []byte {
	return append(appendKey(make([]byte, 0, len(key)+12), key), keyEnd...)
}

// splitRecord cuts a record's name into key and what follows it.
func splitRecord(name []byte) (key string, rest []byte) {
	i := bytes.Index(name, keyEnd)
	k := name[:i]
	if bytes.IndexByte(k, 0) >= 0 {
		k = bytes.ReplaceAll(k, []byte{0x00, 0xff}, []byte{0x00})
	}
	return string(k), name[i+len(keyEnd):]
}

// after returns the least name that is greater than all that begin with prefix;
// nil when there is none.
func after(prefix []byte) []byte {
	p := bytes.Clone(prefix)
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] != 0xff {
			p[i]++
			return p[:i+1]
		}
	}
	return nil
}

// seqSize is the length of the sequence number that ends a record's name.
const seqSize = 8

// Newer versions come first: a version's place is its sequence number inverted.
func versionName(key string, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(recordsOf(key), ^seq)
}

// Older uploads come first.
func uploadName(key string, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(recordsOf(key), seq)
}

// ids has no sign that a command line takes for an option.
var ids = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._").WithPadding(base64.NoPadding)

// newID makes an id of 32 characters that cannot be guessed and tells us its place:
// 16 random bytes, before them the sequence number mixed with the first of them.
func newID(seq uint64) string {
	var b [24]byte
	rand.Read(b[8:]) // never fails: crypto/rand
	binary.BigEndian.PutUint64(b[:], seq^binary.BigEndian.Uint64(b[8:]))
	return ids.EncodeToString(b[:])
}

// sequence returns the number inside an id that newID made.
func sequence(id string) (uint64, bool) {
	var b [24]byte
	if len(id) != ids.EncodedLen(len(b)) {
		return 0, false
	}
	if _, err := ids.Decode(b[:], []byte(id)); err != nil {
		return 0, false
	}
	return binary.BigEndian.Uint64(b[:]) ^ binary.BigEndian.Uint64(b[8:]), true
}

// ValidVersion reports whether id can be that of a version.
func ValidVersion(id string) bool {
	_, ok := sequence(id)
	return ok || id == NullVersion
}
