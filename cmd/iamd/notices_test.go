package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/iamd-dev/iamd/internal/identity"
)

// The product providers' file is read before anything is made, and its mistakes are told.
func TestProductProviders(t *testing.T) {
	dir := t.TempDir()
	getenv := func(string) string { return "" }
	check := func(text string) (*settings, error) {
		file := filepath.Join(dir, "providers.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := &settings{listen: ":0", data: "d", auditSync: syncCredentials, workloads: workloadsOff, productProviders: file}
		return s, s.check(getenv)
	}
	s, err := check(`
- account: "111122223333"
  name: Example Corp
  domain: example.com
  notifications: ` + filepath.Join(dir, "told") + `
  policy-templates:
    example_setup: |
      {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::@{bucketName}/*"}}
`)
	if err != nil || len(s.providers) != 1 || s.providers[0].Name != "Example Corp" {
		t.Fatalf("got %v, %v", s.providers, err)
	}
	for want, text := range map[string]string{
		"cannot unmarshal number":     `[{account: 111122223333, name: x, domain: example.com}]`,
		"unknown field":               `[{account: "111122223333", name: x, domain: example.com, templates: {}}]`,
		"account is not 12 digits":    `[{account: "1111", name: x, domain: example.com}]`,
		"name must have 1 to 30":      `[{account: "111122223333", domain: example.com}]`,
		"is not like example.com":     `[{account: "111122223333", name: x}]`,
		"already set in map":          "[{account: \"111122223333\", account: \"111122223333\"}]",
		"policy template x: the temp": `[{account: "111122223333", name: x, domain: example.com, policy-templates: {x: "{"}}]`,
	} {
		if _, err := check(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}

	// What a provider is told is a line in its file, which nobody else reads.
	n := &notices{files: noticeFiles(s.providers)}
	for _, message := range []string{`{"State":"ASSIGNED"}`, `{"State":"FINALIZED"}`} {
		if err := n.write("111122223333", "arn:aws:sns:us-east-1:111122223333:t", identity.NewSecret(message)); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.write("444455556666", "arn:aws:sns:us-east-1:444455556666:t", identity.NewSecret("{}")); err != nil {
		t.Errorf("a provider without a file: %v", err)
	}
	told := filepath.Join(dir, "told")
	text, err := os.ReadFile(told)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	var got struct{ Type, TopicArn, Message, MessageId, Timestamp string }
	if len(lines) != 2 || json.Unmarshal([]byte(lines[1]), &got) != nil || got.Message != `{"State":"FINALIZED"}` || got.TopicArn != "arn:aws:sns:us-east-1:111122223333:t" {
		t.Errorf("the file says %s", text)
	}
	if info, err := os.Stat(told); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v, %v", info.Mode(), err)
	}
	n.files["111122223333"] = filepath.Join(dir, "missing", "told")
	if err := n.write("111122223333", "t", identity.NewSecret("{}")); err == nil {
		t.Error("a message that cannot be written is no error")
	}
}
