//go:build stories

package stories

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Profiles of ~/.aws/config, as the AWS CLI reads them: it asks STS by itself for what
// they say, and STS decides.
func TestProfiles(t *testing.T) { eachCLI(t, profiles) }

func profiles(t *testing.T, c *cli) {
	s := serve(t, "--account", accountA, "--account", accountB)
	s.cli = c
	a, b := s.root(accountA), s.root(accountB)
	role := func(name string) string { return "arn:aws:iam::" + accountA + ":role/" + name }
	alice := "arn:aws:iam::" + accountB + ":user/alice"

	// alice of B may assume roles of A, as far as they let her.
	withKeys := b.user("alice", allowing("sts:AssumeRole", "arn:aws:iam::"+accountA+":role/*"))
	a.role("Reader", trusting(alice), `{"Version": "2012-10-17", "Statement": [
		{"Effect": "Allow", "Action": "iam:ListUsers", "Resource": "*"},
		{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "`+role("Chained")+`"}]}`)
	a.role("Chained", trusting(role("Reader")), allowing("iam:ListRoles", "*"))
	a.aws("iam", "update-role", "--role-name", "Chained", "--max-session-duration", "43200")
	a.role("Partner", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"AWS": "`+alice+`"},
		"Action": "sts:AssumeRole", "Condition": {"StringEquals": {"sts:ExternalId": "4711"}}}}`, "")

	p := s.nobody().with("AWS_DEFAULT_REGION=us-east-1")
	p.home(withKeys, `
[profile reader]
role_arn = `+role("Reader")+`
source_profile = default
role_session_name = at-work
duration_seconds = 900

[profile too-long]
role_arn = `+role("Reader")+`
source_profile = default
duration_seconds = 7200

[profile partner]
role_arn = `+role("Partner")+`
source_profile = default
external_id = 4711

[profile confused]
role_arn = `+role("Partner")+`
source_profile = default
external_id = 4712

[profile forgetful]
role_arn = `+role("Partner")+`
source_profile = default

[profile chained]
role_arn = `+role("Chained")+`
source_profile = reader

[profile long-chain]
role_arn = `+role("Chained")+`
source_profile = reader
duration_seconds = 7200

[profile shortcut]
role_arn = `+role("Chained")+`
source_profile = default
role_session_name = not-in-the-cache-of-chained

[profile variables]
role_arn = `+role("Reader")+`
credential_source = Environment
`)
	identity := []string{"sts", "get-caller-identity", "--query", "Arn", "--output", "text", "--profile"}
	is := func(p *person, profile, want string) {
		t.Helper()
		if who := p.aws(append(identity, profile)...); !strings.HasPrefix(who, "arn:aws:sts::"+accountA+":assumed-role/"+want) {
			t.Errorf("profile %s is %s, not %s", profile, who, want)
		}
	}
	refusal := "An error occurred (AccessDenied) when calling the AssumeRole operation: User: " + alice + " is not authorized to perform: sts:AssumeRole on resource: "

	is(p, "reader", "Reader/at-work\n")
	p.aws("iam", "list-users", "--profile", "reader")
	p.refused("is not authorized to perform: iam:ListRoles", "iam", "list-roles", "--profile", "reader")
	if left := p.keptSession(); left < 10*time.Minute || left > 15*time.Minute {
		t.Errorf("with duration_seconds = 900, the session that the CLI keeps is good for %v", left)
	}
	p.refused("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.", append(identity, "too-long")...)

	is(p, "partner", "Partner/")
	p.refused(refusal+role("Partner"), append(identity, "confused")...)
	p.refused(refusal+role("Partner"), append(identity, "forgetful")...)

	is(p, "chained", "Chained/")
	p.aws("iam", "list-roles", "--profile", "chained")
	p.refused("is not authorized to perform: iam:ListUsers", "iam", "list-users", "--profile", "chained")
	p.refused("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.", append(identity, "long-chain")...)
	p.refused(refusal+role("Chained"), append(identity, "shortcut")...)

	keys := withKeys.with("AWS_CONFIG_FILE=" + filepath.Join(p.get("HOME"), ".aws", "config"))
	is(keys, "variables", "Reader/")
	keys.with("AWS_SECRET_ACCESS_KEY=wrong").refused("SignatureDoesNotMatch", "sts", "get-caller-identity")
	keys.with("AWS_SESSION_TOKEN=wrong").refused("InvalidClientTokenId", "sts", "get-caller-identity")
}

// get is what a variable is in the terminal.
func (p *person) get(variable string) string {
	value := ""
	for _, v := range p.env {
		if v, ok := strings.CutPrefix(v, variable+"="); ok {
			value = v
		}
	}
	return value
}

// home writes ~/.aws: the configuration, and somebody's keys as the default profile.
func (p *person) home(owner *person, config string) {
	p.t.Helper()
	dir := filepath.Join(p.get("HOME"), ".aws")
	if err := os.Mkdir(dir, 0o700); err != nil {
		p.t.Fatal(err)
	}
	for name, text := range map[string]string{
		"config":      config,
		"credentials": "[default]\naws_access_key_id = " + owner.get("AWS_ACCESS_KEY_ID") + "\naws_secret_access_key = " + owner.get("AWS_SECRET_ACCESS_KEY") + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
}

// keptSession is how long the one session that the CLI keeps in ~/.aws/cli/cache is good.
func (p *person) keptSession() time.Duration {
	p.t.Helper()
	files, err := filepath.Glob(filepath.Join(p.get("HOME"), ".aws", "cli", "cache", "*.json"))
	if err != nil || len(files) != 1 {
		p.t.Fatalf("the CLI keeps sessions in %q, %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		p.t.Fatal(err)
	}
	var kept struct {
		Credentials struct{ Expiration time.Time }
	}
	if err := json.Unmarshal(text, &kept); err != nil {
		p.t.Fatalf("%s: %v", text, err)
	}
	return time.Until(kept.Credentials.Expiration)
}
