//go:build stories

package stories

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The same story of AssumeRole with each SDK: sdk/README.md tells it.
func TestSDK(t *testing.T) {
	t.Parallel()
	for name, story := range map[string]func(*testing.T, *server){"go": goSDK, "boto3": boto3Story, "js": jsStory} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(t, serve(t, "--account", accountA, "--account", accountB))
		})
	}
}

// Every operation that is served, every paginator and waiter, held against the models
// of the services that botocore has.
func TestOperations(t *testing.T) {
	t.Parallel()
	args := []string{absolute(t, "sdk/boto3/operations.py")}
	for _, service := range []string{"iam", "organizations", "sts"} {
		args = append(args, absolute(t, filepath.Join("../internal/aws", service, "declined.txt")))
	}
	// The management account is a product provider, too, and is told so in a file.
	dir := t.TempDir()
	told, providers := filepath.Join(dir, "told"), filepath.Join(dir, "providers.yaml")
	if err := os.WriteFile(providers, []byte(`
- account: "`+accountA+`"
  name: Example Corp
  domain: example.com
  notifications: `+told+`
  policy-templates:
    setup: {Version: "2012-10-17", Statement: {Effect: Allow, Action: iam:GetUser, Resource: "arn:aws:iam::*:user/@{prefix}*"}}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	python(t, serve(t, "--account", accountA, "--account", accountB, "--product-providers", providers), append(args, told)...)
}

func boto3Story(t *testing.T, s *server) {
	python(t, s, absolute(t, "sdk/boto3/story.py"))
}

// python runs a program with the first python3 that has boto3; which must have
// come after botocore 1.31, the first to know AWS_ENDPOINT_URL.
func python(t *testing.T, s *server, args ...string) {
	t.Helper()
	p := s.sdk()
	for _, folder := range filepath.SplitList(os.Getenv("PATH")) {
		path, err := exec.LookPath(filepath.Join(folder, "python3"))
		if err != nil {
			continue
		}
		if _, _, err := p.try(path, "-c", "import boto3, botocore, sys; sys.exit(tuple(map(int, botocore.__version__.split('.')[:2])) < (1, 31))"); err == nil {
			t.Log(strings.TrimSpace(p.run(path, args...)))
			return
		}
	}
	t.Skip("no python3 on this machine has boto3 1.28 or later")
}

// jsStory needs what scripts/install-test-deps puts into the cache.
func jsStory(t *testing.T, s *server) {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache")
	}
	lock, err := os.ReadFile("sdk/js/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	installed := filepath.Join(cache, "iamd-tests", "js")
	if have, err := os.ReadFile(filepath.Join(installed, "package-lock.json")); err != nil || string(have) != string(lock) {
		t.Skip("the AWS SDK for JavaScript is not there in the version of package-lock.json: scripts/install-test-deps brings it where there is npm")
	}
	p := s.sdk()
	if err := os.Symlink(filepath.Join(installed, "node_modules"), filepath.Join(p.dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	story, err := os.ReadFile("sdk/js/story.mjs")
	if err != nil {
		t.Fatal(err)
	}
	p.file("story.mjs", string(story))
	t.Log(strings.TrimSpace(p.run("node", "story.mjs")))
}

// sdk is the environment of a program that finds the server and the profiles of its
// root users.
func (s *server) sdk() *person {
	return s.nobody().with("AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(s.data, "credentials"),
		"AWS_CONFIG_FILE=/dev/null", "AWS_REGION=us-east-1", "AWS_DEFAULT_REGION=us-east-1", "PYTHONDONTWRITEBYTECODE=1")
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
