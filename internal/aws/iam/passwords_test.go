package iam

import (
	"strings"
	"testing"
)

func TestPasswordHashes(t *testing.T) {
	t.Parallel()
	const password = "correct horse é"
	hash := hashPassword(password)
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") || strings.Contains(hash, password) {
		t.Errorf("the hash is %s", hash)
	}
	if hash == hashPassword(password) {
		t.Error("two hashes of a password are the same")
	}
	for text, want := range map[string]bool{password: true, "correct horse": false, "": false, password + " ": false} {
		if got, err := isPassword(hash, text); got != want || err != nil {
			t.Errorf("isPassword of %q: %v, %v, want %v", text, got, err, want)
		}
	}
	// Of argon2, the reference implementation: argon2 somesalt -id -t 2 -m 16 -p 1 -e.
	const reference = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	if got, err := isPassword(reference, "password"); !got || err != nil {
		t.Errorf("the reference implementation's hash of password: %v, %v", got, err)
	}
}

// A hash that cannot be read is neither the password's nor anybody's else.
func TestBrokenPasswordHashes(t *testing.T) {
	t.Parallel()
	good := hashPassword("x")
	salted := good[:strings.LastIndexByte(good, '$')+1]
	for _, hash := range []string{
		"", "x", "$argon2i" + strings.TrimPrefix(good, "$argon2id"), strings.Replace(good, "v=19", "v=16", 1), strings.Replace(good, "m=19456", "m=2000000000", 1),
		strings.Replace(good, "t=2", "t=0", 1), strings.Replace(good, "p=1", "p=0", 1), salted, salted + "AAAA", salted + "!", good + "$",
	} {
		if got, err := isPassword(hash, "x"); got || err == nil {
			t.Errorf("isPassword with the hash %q: %v, %v, want an error", hash, got, err)
		}
	}
}
