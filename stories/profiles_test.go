//go:build stories

package stories

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/pquerna/otp/totp"
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

// A role that wants MFA: the CLI asks for the code, on the terminal.
func TestProfileWithMFA(t *testing.T) { eachCLI(t, profileWithMFA) }

func profileWithMFA(t *testing.T, c *cli) {
	s := serve(t, "--account", accountA)
	s.cli = c
	root := s.root(accountA)
	alice := root.user("alice", `{"Version": "2012-10-17", "Statement": [
		{"Effect": "Allow", "Action": "sts:*", "Resource": "*"},
		{"Effect": "Allow", "Action": "iam:ListUsers", "Resource": "*", "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}]}`)
	root.role("Guarded", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::`+accountA+`:root"},
		"Action": "sts:AssumeRole", "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}}`, allowing("iam:ListRoles", "*"))

	// A device has its seed in a file, and the codes of this half minute and the last
	// enable it. The next code is good at once: it may be early.
	device := func(name string) (serial, next string) {
		t.Helper()
		root.aws("iam", "create-virtual-mfa-device", "--virtual-mfa-device-name", name, "--bootstrap-method", "Base32StringSeed", "--outfile", name)
		seed, err := os.ReadFile(filepath.Join(root.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		code := func(step time.Duration) string {
			t.Helper()
			code, err := totp.GenerateCode(strings.TrimSpace(string(seed)), now.Add(step*30*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			return code
		}
		serial = "arn:aws:iam::" + accountA + ":mfa/" + name
		enable := []string{"iam", "enable-mfa-device", "--user-name", "alice", "--serial-number", serial, "--authentication-code1", code(-1), "--authentication-code2"}
		root.refused("InvalidAuthenticationCode", append(enable, code(-1))...)
		root.aws(append(enable, code(0))...)
		return serial, code(1)
	}
	phone, code := device("phone")

	p := s.nobody().with("AWS_DEFAULT_REGION=us-east-1")
	p.home(alice, `
[profile guarded]
role_arn = arn:aws:iam::`+accountA+`:role/Guarded
source_profile = default
mfa_serial = `+phone+`
duration_seconds = 1800

[profile again]
role_arn = arn:aws:iam::`+accountA+`:role/Guarded
source_profile = default
mfa_serial = `+phone+`
role_session_name = again

[profile bare]
role_arn = arn:aws:iam::`+accountA+`:role/Guarded
source_profile = default
`)
	ask := "Enter MFA code for " + phone
	p.refused("is not authorized to perform: sts:AssumeRole on resource", "iam", "list-roles", "--profile", "bare")
	if screen, err := p.typing(ask, "000000", "iam", "list-roles", "--profile", "guarded"); err == nil || !strings.Contains(screen, "MultiFactorAuthentication failed with invalid MFA one time pass code") {
		t.Errorf("with a wrong code: %v\n%s", err, screen)
	}
	if screen, err := p.typing(ask, code, "iam", "list-roles", "--profile", "guarded"); err != nil || !strings.Contains(screen, `"RoleName": "Guarded"`) {
		t.Errorf("with the code: %v\n%s", err, screen)
	}
	p.aws("iam", "list-roles", "--profile", "guarded") // the session is kept: nothing is asked
	p.refused("is not authorized to perform: iam:ListUsers", "iam", "list-users", "--profile", "guarded")
	if screen, err := p.typing(ask, code, "iam", "list-roles", "--profile", "again"); err == nil || !strings.Contains(screen, "MultiFactorAuthentication failed") {
		t.Errorf("with a code for the second time: %v\n%s", err, screen)
	}

	// The same for alice herself.
	alice.refused("is not authorized to perform: iam:ListUsers", "iam", "list-users")
	tablet, code := device("tablet")
	alice.refused("MultiFactorAuthentication failed", "sts", "get-session-token", "--serial-number", phone, "--token-code", code)
	answer := alice.aws("sts", "get-session-token", "--serial-number", tablet, "--token-code", code)
	alice.credentials(answer).aws("iam", "list-users")
	without := alice.credentials(alice.aws("sts", "get-session-token"))
	without.refused("InvalidClientTokenId", "iam", "list-users") // IAM takes no such session
}

// typing runs the aws command on a terminal and answers its question. It returns what
// is on the screen.
func (p *person) typing(question, answer string, args ...string) (screen string, err error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "aws", args...)
	cmd.Path = filepath.Join(filepath.SplitList(p.get("PATH"))[0], "aws")
	cmd.Env, cmd.Dir = p.env, p.dir
	terminal, err := pty.Start(cmd)
	if err != nil {
		p.t.Fatal(err)
	}
	defer terminal.Close()
	var text strings.Builder
	answered := false
	for b := make([]byte, 4096); ; {
		n, err := terminal.Read(b) // on Linux an error when the command is gone
		text.Write(b[:n])
		if err != nil {
			break
		}
		if !answered && strings.Contains(text.String(), question) {
			answered = true
			if _, err := terminal.WriteString(answer + "\n"); err != nil {
				p.t.Fatal(err)
			}
		}
	}
	err = cmd.Wait()
	if !answered {
		p.t.Errorf("aws %s does not ask %q", strings.Join(args, " "), question)
	}
	return text.String(), err
}
