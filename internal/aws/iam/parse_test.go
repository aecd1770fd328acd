package iam

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/tools/txtar"
)

// Whatever is uploaded as an SSH key is refused with an error of AWS's, or is a key
// that survives being shown in both forms and uploaded again.
func FuzzSSHKeys(f *testing.F) {
	seeds(f, "testdata/sshkeys.txt")
	f.Fuzz(func(t *testing.T, body string) {
		key, err := parseSSHKey(body)
		if err != nil {
			return
		}
		line := authorizedKey(key)
		again, err := parseSSHKey(line)
		if err != nil || authorizedKey(again) != line || strings.ContainsAny(line, "\r\n") {
			t.Fatalf("%q is shown as %q, which is read as %v, %v", body, line, again, err)
		}
		text, err := pemOf(line)
		if err != nil {
			t.Fatal(err)
		}
		again, err = parseSSHKey(text)
		if err != nil || ssh.FingerprintLegacyMD5(again) != ssh.FingerprintLegacyMD5(key) {
			t.Fatalf("%q in PEM is read as %v, %v", body, again, err)
		}
	})
}

// A server certificate is accepted with a key of its own only.
func FuzzServerCertificates(f *testing.F) {
	files := seeds(f, "testdata/certificates.txt")
	f.Add(files["srv.pem"])
	at := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := checkServerCertificate(text, files["oth.key"], "", at); err == nil && !same(text, files["oth.pem"], files["third.pem"]) {
			t.Errorf("%q goes with the key of another certificate", text)
		}
		if _, err := checkServerCertificate(files["srv.pem"], text, "", at); err == nil && !same(text, files["srv.key"], files["srv8.key"]) {
			t.Errorf("%q goes with the certificate of another key", text)
		}
		if c, err := checkServerCertificate(files["srv.pem"], files["srv.key"], text, at); err == nil && c.Subject.CommonName != "www.example.com" {
			t.Errorf("with the chain %q the certificate is %v", text, c.Subject)
		}
	})
}

// same reports whether the text holds the base64 of one of the others, which the fuzzer
// can lay out anew and cannot make up.
func same(text string, others ...string) bool {
	plain := func(s string) string { return strings.Join(strings.Fields(s), "") }
	for _, other := range others {
		lines := strings.Split(other, "\n")
		if strings.Contains(plain(text), plain(lines[1])[:32]) {
			return true
		}
	}
	return false
}

// seeds adds the files of a script to the corpus, and returns them by name.
func seeds(f *testing.F, script string) map[string]string {
	f.Helper()
	text, err := os.ReadFile(script)
	if err != nil {
		f.Fatal(err)
	}
	files := map[string]string{}
	for _, file := range txtar.Parse(text).Files {
		files[file.Name] = string(file.Data)
		f.Add(string(file.Data))
	}
	return files
}
