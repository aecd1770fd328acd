//go:build stories

package stories

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const (
	accountA = "111122223333"
	accountB = "444455556666"
	roleARN  = "arn:aws:iam::" + accountA + ":role/S3GetListRole"
)

// readReports lets a role list the bucket and read from it.
const readReports = `{"Version": "2012-10-17", "Statement": [
	{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::reports"},
	{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::reports/*"}]}`

// Account A owns a bucket and a role; account B's user may assume it. Both halves
// are needed, each holds at once, and a kill in the middle loses nothing.
func TestAssumeRoleAcrossAccounts(t *testing.T) { eachCLI(t, assumeRoleAcrossAccounts) }

func assumeRoleAcrossAccounts(t *testing.T, c *cli) {
	s := serve(t, "--account", accountA, "--account", accountB)
	s.cli = c
	a, b := s.root(accountA), s.root(accountB)

	a.aws("s3api", "create-bucket", "--bucket", "reports")
	a.file("q3.txt", "hello from account A")
	a.aws("s3api", "put-object", "--bucket", "reports", "--key", "q3.txt", "--body", "q3.txt")
	a.role("S3GetListRole", trusting("arn:aws:iam::"+accountB+":root"), readReports)
	mayAssume := allowing("sts:AssumeRole", roleARN)
	alice := b.user("alice", mayAssume)

	get := []string{"s3api", "get-object", "--bucket", "reports", "--key", "q3.txt", "got.txt"}
	list := []string{"s3api", "list-objects-v2", "--bucket", "reports"}
	put := []string{"s3api", "put-object", "--bucket", "reports", "--key", "mine.txt"}
	assume := []string{"sts", "assume-role", "--role-arn", roleARN, "--role-session-name", "alice"}

	// Without the role everything is refused, signed or not.
	alice.refused("AccessDenied", get...)
	alice.refused("AccessDenied", list...)
	alice.refused("AccessDenied", append(get, "--no-sign-request")...)

	// With it, what its policy says.
	answer := alice.aws(assume...)
	for _, member := range []string{"AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"} {
		if !strings.Contains(answer, `"`+member+`": "`) {
			t.Errorf("assume-role answers without %s", member)
		}
	}
	reader := alice.credentials(answer)
	check := func() {
		t.Helper()
		reader.aws(get...)
		got, err := os.ReadFile(filepath.Join(reader.dir, "got.txt"))
		if err != nil || string(got) != "hello from account A" {
			t.Errorf("the object is %q, %v", got, err)
		}
		if out := reader.aws(list...); !strings.Contains(out, `"Key": "q3.txt"`) {
			t.Errorf("the listing is %s", out)
		}
		reader.refused("AccessDenied", put...)
	}
	check()

	// Killed in the middle: the session and everything else is there afterwards.
	s.kill()
	s.start()
	endpoint := "AWS_ENDPOINT_URL=" + s.url
	a, b, alice, reader = a.with(endpoint), b.with(endpoint), alice.with(endpoint), reader.with(endpoint)
	check()

	// Take either half away, and put it back.
	refusal := "An error occurred (AccessDenied) when calling the AssumeRole operation: User: arn:aws:iam::" + accountB + ":user/alice is not authorized to perform: sts:AssumeRole on resource: " + roleARN
	b.aws("iam", "delete-user-policy", "--user-name", "alice", "--policy-name", "may")
	alice.refused(refusal, assume...)
	b.aws("iam", "put-user-policy", "--user-name", "alice", "--policy-name", "may", "--policy-document", mayAssume)
	alice.aws(assume...)
	a.aws("iam", "update-assume-role-policy", "--role-name", "S3GetListRole", "--policy-document", trusting("arn:aws:iam::"+accountA+":root"))
	alice.refused(refusal, assume...)

	// Why, by the request id that aws --debug shows, and by the last refusal.
	_, errs, _ := alice.try("aws", append(assume, "--debug")...)
	m := regexp.MustCompile(`(?i)'x-amzn-requestid': '([0-9a-f-]{36})'`).FindStringSubmatch(errs)
	if m == nil {
		t.Fatal("aws --debug shows no x-amzn-requestid")
	}
	for _, args := range [][]string{{"explain", m[1]}, {"explain"}} {
		out := s.iamd(args...)
		for _, want := range []string{
			"REFUSED  sts:AssumeRole\n",
			"✗ role trust policy: no statement allows it  ← this decides\n",
			"the policy has   arn:aws:iam::" + accountA + ":root\n",
			"✓ identity-based policy: allows it\n",
			"inline policy may of user alice\n",
			m[1],
		} {
			if !strings.Contains(out, want) {
				t.Errorf("iamd %s does not say %q:\n%s", strings.Join(args, " "), want, out)
			}
		}
	}
	// Each account by itself sees its own policies.
	out := s.iamd("explain", m[1], "--profile", "root-"+accountB)
	if !strings.Contains(out, "✗ role trust policy: no statement allows it (what it says is account "+accountA+"'s to see)  ← this decides\n") ||
		!strings.Contains(out, "inline policy may of user alice\n") || strings.Contains(out, accountA+":root") {
		t.Errorf("account B is told:\n%s", out)
	}
	var details struct {
		Explanations []struct{ Decision, DecidedBy string }
	}
	if err := json.Unmarshal([]byte(s.iamd("explain", m[1], "--json")), &details); err != nil || len(details.Explanations) != 1 ||
		details.Explanations[0].Decision != "implicitDeny" || details.Explanations[0].DecidedBy != "role trust policy" {
		t.Errorf("iamd explain --json: %+v, %v", details, err)
	}

	a.aws("iam", "update-assume-role-policy", "--role-name", "S3GetListRole", "--policy-document", trusting("arn:aws:iam::"+accountB+":root"))
	alice.aws(assume...)

	// A role that is gone takes its sessions along.
	a.aws("iam", "delete-role-policy", "--role-name", "S3GetListRole", "--policy-name", "can")
	reader.refused("AccessDenied", list...)
	a.aws("iam", "delete-role", "--role-name", "S3GetListRole")
	reader.refused("InvalidToken", list...)
}

// The way of everyday use: a profile that names the role, and aws s3.
func TestProfileWithRole(t *testing.T) { eachCLI(t, profileWithRole) }

func profileWithRole(t *testing.T, c *cli) {
	s := serve(t, "--account", accountA, "--account", accountB)
	s.cli = c
	a, b := s.root(accountA), s.root(accountB)
	a.aws("s3", "mb", "s3://reports")
	a.role("S3GetListRole", trusting("arn:aws:iam::"+accountB+":root"), `{"Version": "2012-10-17", "Statement": [
		{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::reports"},
		{"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], "Resource": "arn:aws:s3:::reports/*"}]}`)
	b.aws("iam", "create-user", "--user-name", "alice")
	b.aws("iam", "put-user-policy", "--user-name", "alice", "--policy-name", "may", "--policy-document", allowing("sts:AssumeRole", roleARN))
	var out struct {
		AccessKey struct{ AccessKeyId, SecretAccessKey string }
	}
	if err := json.Unmarshal([]byte(b.aws("iam", "create-access-key", "--user-name", "alice")), &out); err != nil {
		t.Fatal(err)
	}

	p := s.nobody()
	p.file("config", "[profile alice]\nregion = us-east-1\n[profile reader]\nregion = eu-central-1\nrole_arn = "+roleARN+"\nsource_profile = alice\n")
	p.file("credentials", "[alice]\naws_access_key_id = "+out.AccessKey.AccessKeyId+"\naws_secret_access_key = "+out.AccessKey.SecretAccessKey+"\n")
	p = p.with("AWS_CONFIG_FILE="+filepath.Join(p.dir, "config"), "AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(p.dir, "credentials"), "AWS_PROFILE=reader")

	if who := p.aws("sts", "get-caller-identity"); !strings.Contains(who, "arn:aws:sts::"+accountA+":assumed-role/S3GetListRole/") {
		t.Errorf("the profile is %s", who)
	}
	// cp, both ways and across.
	p.file("one.txt", "one")
	p.aws("s3", "cp", "one.txt", "s3://reports/in/one.txt")
	p.aws("s3", "cp", "s3://reports/in/one.txt", "s3://reports/in/two.txt")
	if got := p.aws("s3", "cp", "s3://reports/in/two.txt", "-"); got != "one" {
		t.Errorf("the copy is %q", got)
	}
	// A file in parts: aws s3 uploads from 8 MiB on in several, side by side.
	big := strings.Repeat("0123456789abcdef", 20<<20/16)
	p.file("big", big)
	p.aws("s3", "cp", "big", "s3://reports/big", "--no-progress")
	p.aws("s3", "cp", "s3://reports/big", "back", "--no-progress")
	if back, err := os.ReadFile(filepath.Join(p.dir, "back")); err != nil || string(back) != big {
		t.Errorf("20 MiB come back as %d bytes, %v", len(back), err)
	}
	// sync, and what it leaves alone.
	tree := filepath.Join(p.dir, "tree")
	for name, text := range map[string]string{"a": "1", "b/c": "2", "b/Ärger und mehr.txt": "3"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(tree, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(tree, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		// S3 tells times in whole seconds, so the CLI takes a file that is written in the
		// second of its upload for newer than the object, there as here.
		if err := os.Chtimes(filepath.Join(tree, name), time.Time{}, time.Now().Add(-time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if out := p.with("LC_ALL=C.UTF-8").aws("s3", "sync", "tree", "s3://reports/tree", "--no-progress"); strings.Count(out, "upload:") != 3 {
		t.Errorf("sync uploads\n%s", out)
	}
	if out := p.with("LC_ALL=C.UTF-8").aws("s3", "sync", "tree", "s3://reports/tree", "--no-progress"); out != "" {
		t.Errorf("a second sync says\n%s", out)
	}
	if out := p.with("LC_ALL=C.UTF-8").aws("s3", "ls", "--recursive", "s3://reports/tree/"); strings.Count(out, "\n") != 3 || !strings.Contains(out, "tree/b/Ärger und mehr.txt") {
		t.Errorf("ls shows\n%s", out)
	}
	// A presigned URL is enough by itself, and for this object only.
	url := strings.TrimSpace(p.aws("s3", "presign", "s3://reports/in/one.txt", "--expires-in", "60"))
	for u, want := range map[string]int{url: 200, strings.Replace(url, "one.txt", "two.txt", 1): 403} {
		r, err := http.Get(u)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != want || want == 200 && string(body) != "one" {
			t.Errorf("GET %s: %s, %v\n%s", u, r.Status, err, body)
		}
	}
	p.aws("s3", "rm", "--recursive", "s3://reports/")
	p.refused("AccessDenied", "s3", "rb", "s3://reports")
	a.aws("s3", "rb", "s3://reports")
}

// One account: both sides must allow, unless the role's trust names the user.
func TestAssumeRoleInOneAccount(t *testing.T) {
	t.Parallel()
	s := serve(t)
	const account = "123456789012" // what there is without --account
	root := s.root(account)
	const auditor = "arn:aws:iam::" + account + ":role/Auditor"
	mayAssume := allowing("sts:AssumeRole", auditor)
	dora := root.user("dora", "")
	other := root.user("other", "")
	root.role("Auditor", trusting("arn:aws:iam::"+account+":user/other"), "")
	assume := []string{"sts", "assume-role", "--role-arn", auditor, "--role-session-name", "dora"}

	for _, test := range []struct {
		name   string
		trust  string
		policy bool
		works  bool
	}{
		{"neither side", "arn:aws:iam::" + account + ":user/other", false, false},
		{"only the user's side", "arn:aws:iam::" + account + ":user/other", true, false},
		{"only the role's side, with the account's root", "arn:aws:iam::" + account + ":root", false, false},
		{"both sides", "arn:aws:iam::" + account + ":root", true, true},
		{"the role's trust names the user", "arn:aws:iam::" + account + ":user/dora", false, true},
	} {
		root.aws("iam", "update-assume-role-policy", "--role-name", "Auditor", "--policy-document", trusting(test.trust))
		if test.policy {
			root.aws("iam", "put-user-policy", "--user-name", "dora", "--policy-name", "may", "--policy-document", mayAssume)
		} else {
			root.try("aws", "iam", "delete-user-policy", "--user-name", "dora", "--policy-name", "may")
		}
		out, errs, err := dora.try("aws", assume...)
		switch {
		case test.works && err != nil:
			t.Errorf("%s: refused\n%s", test.name, errs)
		case !test.works && err == nil:
			t.Errorf("%s: allowed\n%s", test.name, out)
		case !test.works && !strings.Contains(errs, "An error occurred (AccessDenied) when calling the AssumeRole operation: User: arn:aws:iam::"+account+":user/dora is not authorized to perform: sts:AssumeRole on resource: "+auditor):
			t.Errorf("%s: refused otherwise than AWS does\n%s", test.name, errs)
		}
	}

	// A user made again under a name that the role trusts is somebody else.
	root.aws("iam", "update-assume-role-policy", "--role-name", "Auditor", "--policy-document", trusting("arn:aws:iam::"+account+":user/other"))
	other.aws(assume...)
	var keys struct {
		AccessKeyMetadata []struct{ AccessKeyId string }
	}
	if err := json.Unmarshal([]byte(root.aws("iam", "list-access-keys", "--user-name", "other")), &keys); err != nil {
		t.Fatal(err)
	}
	for _, k := range keys.AccessKeyMetadata {
		root.aws("iam", "delete-access-key", "--user-name", "other", "--access-key-id", k.AccessKeyId)
	}
	root.aws("iam", "delete-user", "--user-name", "other")
	other = root.user("other", "")
	other.refused("AccessDenied", assume...)
}

// The escalation everyone warns of works, and is on record.
func TestEscalationIsOnRecord(t *testing.T) {
	t.Parallel()
	s := serve(t, "--account", accountA)
	root := s.root(accountA)
	admin := "arn:aws:iam::" + accountA + ":role/AdminRole"
	root.role("AdminRole", trusting("arn:aws:iam::"+accountA+":root"), allowing("*", "*"))
	intern := root.user("intern", allowing("sts:AssumeRole", admin))
	intern.refused("because no identity-based policy allows the iam:CreateUser action", "iam", "create-user", "--user-name", "backdoor")
	answer := intern.aws("sts", "assume-role", "--role-arn", admin, "--role-session-name", "intern")
	intern.credentials(answer).aws("iam", "create-user", "--user-name", "backdoor")

	// The records are on the disk when the answers are here: even a kill leaves them.
	s.kill()
	files, err := filepath.Glob(filepath.Join(s.data, "audit", "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("audit files: %q, %v", files, err)
	}
	var text []byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, b...)
	}
	type record struct {
		EventName, ErrorCode string
		UserIdentity         struct{ Type, ARN string }
		RequestParameters    map[string]any
		ResponseElements     map[string]any
	}
	var refused, assumed, created bool
	for line := range strings.Lines(string(text)) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		user, session := "arn:aws:iam::"+accountA+":user/intern", "arn:aws:sts::"+accountA+":assumed-role/AdminRole/intern"
		switch {
		case r.EventName == "CreateUser" && r.UserIdentity.ARN == user:
			refused = r.ErrorCode == "AccessDenied"
		case r.EventName == "AssumeRole" && r.UserIdentity.ARN == user:
			assumed = r.ErrorCode == "" && r.RequestParameters["roleArn"] == admin
		case r.EventName == "CreateUser" && r.UserIdentity.ARN == session && r.ResponseElements != nil:
			created = r.RequestParameters["userName"] == "backdoor"
		}
	}
	if !refused || !assumed || !created {
		t.Errorf("on record: refused %v, assumed %v, created %v, in\n%s", refused, assumed, created, text)
	}
	var out struct {
		Credentials struct{ SecretAccessKey, SessionToken string }
	}
	if err := json.Unmarshal([]byte(answer), &out); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{out.Credentials.SecretAccessKey, out.Credentials.SessionToken} {
		if strings.Contains(string(text), secret) || strings.Contains(s.log.String(), secret) {
			t.Error("a secret is in the audit record or the log")
		}
	}
}
