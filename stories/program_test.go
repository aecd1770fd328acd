//go:build stories

package stories

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The tour goes as it says, on a server of its own and on a running one, where it
// leaves nothing.
func TestTour(t *testing.T) {
	t.Parallel()
	s := serve(t, "--account", accountA, "--account", accountB, "--workloads=process")
	alone := &person{t, environment(t), t.TempDir()}
	for _, out := range []string{alone.run(program, "tour"), s.iamd("tour")} {
		for _, want := range []string{
			"aws sts assume-role --role-arn arn:aws:iam::",
			"✗ refused: no role trust policy allows sts:AssumeRole on ",
			"✓ allowed: the role trust policy and the identity-based policy allow it",
			"REFUSED  sts:AssumeRole",
			`"eventName": "CreateUser"`,
			"The role defined for the function cannot be assumed by Lambda.",
			"└ ✗ sts:AssumeRole",
			`"text": {"S": "hello from Lambda"}`,
			"└ session arn:aws:sts::" + accountA + ":assumed-role/NotesRole",
			"PingStatus   Online",
			"salaries.csv: AccessDenied",
			"ECS was unable to assume the role",
			"open.txt: dear all",
			"Current status: ROLLBACK_COMPLETE. Reason: Resource Site: ",
			"a bucket that build 1 has asked for",
			"└ session arn:aws:sts::" + accountA + ":assumed-role/StackRole",
			"the request has  lambda.amazonaws.com",
			"Everything went as told: ",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("the tour does not say %q:\n%s", want, out)
			}
		}
		if strings.Contains(out, "\x1b[") {
			t.Error("the tour is in color, and not on a terminal")
		}
	}
	for _, account := range []string{accountA, accountB} {
		root := s.root(account)
		for _, list := range [][]string{
			{"iam", "list-users", "--query", "length(Users)"},
			{"iam", "list-roles", "--query", "length(Roles)"},
			{"s3api", "list-buckets", "--query", "length(Buckets)"},
			{"lambda", "list-functions", "--query", "length(Functions)"},
			{"dynamodb", "list-tables", "--query", "length(TableNames)"},
			{"iam", "list-instance-profiles", "--query", "length(InstanceProfiles)"},
			{"ec2", "describe-instances", "--query", "length(Reservations[].Instances[?State.Name!='terminated'][])"},
			{"ecs", "list-clusters", "--query", "length(clusterArns)"},
			{"ecs", "list-task-definitions", "--query", "length(taskDefinitionArns)"},
			{"codebuild", "list-projects", "--query", "length(projects)"},
			{"codepipeline", "list-pipelines", "--query", "length(pipelines)"},
			{"cloudformation", "describe-stacks", "--query", "length(Stacks)"},
		} {
			if got := strings.TrimSpace(root.aws(list...)); got != "0" {
				t.Errorf("after the tour, account %s: aws %s is %s", account, strings.Join(list, " "), got)
			}
		}
	}
}

// Where nothing runs the tour says so, and tells what can be told without.
func TestTourWithoutWorkloads(t *testing.T) {
	t.Parallel()
	s := serve(t, "--account", accountA, "--account", accountB)
	out := s.iamd("tour", "ec2", "ecs", "pipeline")
	if n := strings.Count(strings.Join(strings.Fields(out), " "), "workloads are off: start iamd with serve --workloads=process"); n < 3 || !strings.Contains(out, "What was told went as told: ") || !strings.Contains(out, "Left out here: the end of 3 stories.") {
		t.Errorf("the tour says %d times that workloads are off:\n%s", n, out)
	}
}

// A tour needs what it plays with.
func TestTourWithoutASecondAccount(t *testing.T) {
	t.Parallel()
	s := serve(t)
	fails(t, nil, 2, "the tour plays in two accounts", "tour", "--data", s.data)
	fails(t, nil, 1, "no server is running on ", "tour", "--data", t.TempDir())
}

// One data directory, one server; and a later start adds accounts to it.
func TestOneServerADirectory(t *testing.T) {
	t.Parallel()
	s := serve(t, "--account", accountA)
	fails(t, nil, 1, "the data directory "+s.data+" is in use by process ", "serve", "--data", s.data, "--listen", "127.0.0.1:0")
	s.root(accountA).aws("sts", "get-caller-identity") // the first one goes on

	credentials := filepath.Join(s.data, "credentials")
	before, err := os.ReadFile(credentials)
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	if _, err := os.Stat(filepath.Join(s.data, "address")); !os.IsNotExist(err) {
		t.Errorf("a server that has stopped leaves its address: %v", err)
	}
	fails(t, nil, 1, "no server is running on ", "env", "--data", s.data)

	s.args = []string{"--account", accountB}
	s.start()
	after, err := os.ReadFile(credentials)
	if err != nil || !strings.HasPrefix(string(after), string(before)) {
		t.Errorf("another account changed the keys that were there: %v\n%s", err, after)
	}
	for _, account := range []string{accountA, accountB} {
		if out := s.root(account).aws("sts", "get-caller-identity", "--query", "Arn", "--output", "text"); out != "arn:aws:iam::"+account+":root\n" {
			t.Errorf("the root of %s is %s", account, out)
		}
	}
	info, err := os.Stat(credentials)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("credentials have mode %v, %v", info.Mode(), err)
	}
	if info, err = os.Stat(s.data); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the data directory has mode %v, %v", info.Mode(), err)
	}
}

// A credentials file that cannot be read stops the start and stays as it is; one
// that was lost is written again, with the same keys.
func TestCredentialsFile(t *testing.T) {
	t.Parallel()
	s := serve(t)
	credentials := filepath.Join(s.data, "credentials")
	whole, err := os.ReadFile(credentials)
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	for _, text := range []string{string(whole[:len(whole)-60]), "garbage\n", "[default]\nno equals sign\n", "\x00\x01\x02"} {
		if err := os.WriteFile(credentials, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		fails(t, nil, 1, credentials+" is damaged: ", "serve", "--data", s.data, "--listen", "127.0.0.1:0")
		if now, err := os.ReadFile(credentials); err != nil || string(now) != text {
			t.Errorf("the damaged file was changed to %q, %v", now, err)
		}
	}
	if err := os.Remove(credentials); err != nil {
		t.Fatal(err)
	}
	s.start()
	if now, err := os.ReadFile(credentials); err != nil || string(now) != string(whole) {
		t.Errorf("the file was made anew as\n%s, %v; it was\n%s", now, err, whole)
	}
}

// Operators can bring their own root key.
func TestRootKeyFromTheEnvironment(t *testing.T) {
	t.Parallel()
	const id, secret = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	data := filepath.Join(t.TempDir(), "data")
	args := []string{"serve", "--data", data, "--listen", "127.0.0.1:0"}
	fails(t, []string{"IAMD_ROOT_ACCESS_KEY_ID=" + id}, 2, "set both IAMD_ROOT_ACCESS_KEY_ID and IAMD_ROOT_SECRET_ACCESS_KEY, or neither", args...)
	fails(t, []string{"IAMD_ROOT_ACCESS_KEY_ID=test", "IAMD_ROOT_SECRET_ACCESS_KEY=" + secret}, 2, `"test" cannot be an access key id`, args...)
	fails(t, []string{"IAMD_ROOT_ACCESS_KEY_ID=" + id, "IAMD_ROOT_SECRET_ACCESS_KEY=short"}, 2, "has 5 characters: it must have 16 to 128", args...)
	if _, err := os.Stat(data); !os.IsNotExist(err) {
		t.Errorf("a wrong root key made the data directory: %v", err)
	}

	s := serve(t)
	old := s.root("123456789012")
	s.stop()
	s.env = []string{"IAMD_ROOT_ACCESS_KEY_ID=" + id, "IAMD_ROOT_SECRET_ACCESS_KEY=" + secret}
	s.start()
	given := (&person{t, environment(t), t.TempDir()}).with("AWS_ENDPOINT_URL="+s.url, "AWS_DEFAULT_REGION=us-east-1", "AWS_ACCESS_KEY_ID="+id, "AWS_SECRET_ACCESS_KEY="+secret)
	given.aws("sts", "get-caller-identity")
	old.with("AWS_ENDPOINT_URL="+s.url).refused("InvalidClientTokenId", "sts", "get-caller-identity")
	s.root("123456789012").aws("sts", "get-caller-identity") // iamd env knows it, too
}

// What is wrong with the command line or the configuration is said before anything is made.
func TestWrongSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := func(text string) string {
		f, err := os.CreateTemp(dir, "*.yaml")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		return f.Name()
	}
	data := filepath.Join(dir, "data")
	for _, test := range []struct {
		words string
		args  []string
	}{
		{"unknown flag: --lisen: did you mean --listen?", []string{"--lisen", "x"}},
		{"unknown flag: --acount: did you mean --account?", []string{"--acount", accountA}},
		{"unknown shorthand flag: 'x'", []string{"-x"}},
		{`--listen "4600" is not HOST:PORT`, []string{"--listen", "4600"}},
		{`--account "1" is not an account id: those are 12 digits`, []string{"--account", "1"}},
		{"TLS needs both --tls-cert and --tls-key", []string{"--tls-cert", "x"}},
		{"reading --tls-cert and --tls-key: open /nonexistent", []string{"--tls-cert", "/nonexistent", "--tls-key", "/nonexistent"}},
		{`--trusted-proxies "localhost" is neither an address nor a range`, []string{"--trusted-proxies", "localhost"}},
		{`--audit-sync "never" is neither credentials nor always`, []string{"--audit-sync", "never"}},
		{"iamd serve takes no arguments", []string{"now"}},
		{"reading the configuration: open /nonexistent", []string{"--config", "/nonexistent"}},
		{`unknown key "lisen": did you mean "listen"?`, []string{"--config", config("lisen: 127.0.0.1:1\n")}},
		{`unknown key "account_id": did you mean "account"?`, []string{"--config", config("account_id: '" + accountA + "'\n")}},
		{`unknown key "config"`, []string{"--config", config("config: other.yaml\n")}},
		{`key "listen" already set in map`, []string{"--config", config("listen: a:1\nlisten: b:2\n")}},
		{"listen takes one value, not a list", []string{"--config", config("listen: [a, b]\n")}},
		{"it must be a mapping", []string{"--config", config("- listen\n")}},
		{`--account "1.2" is not an account id`, []string{"--config", config("account: [1.2]\n")}},
		{"the metrics token in ", []string{"--metrics-token-file", config("short\n")}},
	} {
		fails(t, nil, 2, test.words, append([]string{"serve", "--data", data}, test.args...)...)
	}
	fails(t, nil, 2, `unknown command "srve": did you mean serve?`, "srve")
	if _, err := os.Stat(data); !os.IsNotExist(err) {
		t.Errorf("wrong settings made the data directory: %v", err)
	}
}

// The configuration file says what flags say, and the command line wins.
func TestConfigurationFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "iamd.yaml")
	if err := os.WriteFile(file, []byte("listen: 192.0.2.1:1\naccount: [\"000000000001\", "+accountA+"]\naudit-sync: always\naudit-retention: 90\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, "--config", file)
	for _, account := range []string{"000000000001", accountA} {
		if out := s.root(account).aws("sts", "get-caller-identity", "--query", "Account", "--output", "text"); out != account+"\n" {
			t.Errorf("account %s is %s", account, out)
		}
	}
}

// A data directory that cannot be used is an error that names it.
func TestUnreadableDataDirectory(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fails(t, nil, 1, file, "serve", "--data", file)
	fails(t, nil, 1, file, "serve", "--data", filepath.Join(file, "below"))

	// Modes mean nothing to root, so somebody else tries it.
	dir, err := os.MkdirTemp("", "iamd-closed-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "serve", "--data", dir, "--listen", "127.0.0.1:0")
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	cmd.Env = environment(t)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "permission denied") || !strings.Contains(string(out), dir) || strings.Contains(string(out), "goroutine ") {
		t.Errorf("a directory that may not be written: %v\n%s", err, out)
	}
}

// State whose master key is gone is not served with a new one.
func TestMasterKeyIsNotMadeAnew(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.stop()
	key := filepath.Join(s.data, "master.key")
	text, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	fails(t, nil, 1, "there is no master key "+key, "serve", "--data", s.data, "--listen", "127.0.0.1:0")
	if err := os.WriteFile(key, []byte(strings.Repeat("0", 64)), 0o600); err != nil {
		t.Fatal(err)
	}
	fails(t, nil, 1, "was not sealed with this master key", "serve", "--data", s.data, "--listen", "127.0.0.1:0")
	if err := os.WriteFile(key, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.root("123456789012").aws("sts", "get-caller-identity")
}

// A port that is taken is an error, and leaves no address behind.
func TestPortIsTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	data := filepath.Join(t.TempDir(), "data")
	fails(t, nil, 1, "address already in use", "serve", "--data", data, "--listen", l.Addr().String())
	if _, err := os.Stat(filepath.Join(data, "address")); !os.IsNotExist(err) {
		t.Errorf("there is an address: %v", err)
	}
}

// With TLS the URL says so, and so does aws:SecureTransport.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certificate, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, certificate, key)
	s := serve(t, "--tls-cert", certificate, "--tls-key", key)
	if !strings.HasPrefix(s.url, "https://127.0.0.1:") {
		t.Errorf("the URL is %s", s.url)
	}
	trust := "AWS_CA_BUNDLE=" + certificate
	root := s.root("123456789012").with(trust)
	root.aws("s3", "mb", "s3://safe")
	root.aws("s3api", "put-bucket-policy", "--bucket", "safe", "--policy", `{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::safe", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}}`)
	root.aws("s3", "ls", "s3://safe")

	s.stop()
	s.args = nil
	s.start()
	root.with("AWS_ENDPOINT_URL="+s.url).refused("AccessDenied", "s3", "ls", "s3://safe")
}

func writeCertificate(t *testing.T, certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "iamd"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:         true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// What operators look at.
func TestOperatorEndpoints(t *testing.T) {
	t.Parallel()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("a-token-for-the-metrics\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, "--metrics-token-file", token)
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ok", "/metrics": "iamd_requests_total"} {
		if path == "/metrics" {
			s.root("123456789012").aws("sts", "get-caller-identity")
		}
		r, err := http.Get(s.url + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("GET %s: %s, %v\n%.200s", path, r.Status, err, body)
		}
	}
}

// Every subcommand has help with examples, and shells can complete.
func TestHelp(t *testing.T) {
	t.Parallel()
	p := &person{t, environment(t), t.TempDir()}
	for _, command := range []string{"", "serve", "env", "credentials", "import", "export", "explain", "tour", "lint", "simulate", "can"} {
		out := p.run(program, append(strings.Fields(command), "--help")...)
		for _, want := range []string{"Usage:", "Examples:", "iamd " + command} {
			if !strings.Contains(out, want) {
				t.Errorf("iamd %s --help does not say %q:\n%s", command, want, out)
			}
		}
	}
	if out := p.run(program, "version"); !strings.HasPrefix(out, "iamd ") || !strings.Contains(out, "condition keys of 20") {
		t.Errorf("iamd version says %q", out)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if out := p.run(program, "completion", shell); !strings.Contains(out, "iamd") {
			t.Errorf("the completion for %s is %q", shell, out)
		}
	}
	s := serve(t, "--account", accountA)
	if out := p.run(program, "__complete", "env", "--data", s.data, "--profile", ""); !strings.Contains(out, "root-"+accountA+"\n") {
		t.Errorf("--profile is completed to %q", out)
	}
}

// The CLI takes credentials from iamd credentials: of a profile, and of a role that
// one assumes.
func TestCredentialProcess(t *testing.T) {
	t.Parallel()
	s := serve(t)
	root := s.root("123456789012")
	root.user("alice", allowing("sts:AssumeRole", "*"))
	root.role("Reader", trusting("arn:aws:iam::123456789012:user/alice"), allowing("iam:ListUsers", "*"))
	p := &person{t, environment(t), t.TempDir()}
	key := root.aws("iam", "create-access-key", "--user-name", "alice", "--query", "AccessKey.[AccessKeyId,SecretAccessKey]", "--output", "text")
	id, secret, _ := strings.Cut(strings.TrimSpace(key), "\t")
	p.file("keys", "[alice]\naws_access_key_id = "+id+"\naws_secret_access_key = "+secret+"\n")
	process := "credential_process = '" + program + "' credentials --data '" + s.data + "'"
	p.file("config", "[default]\nregion = us-east-1\n"+process+
		"\n[profile reader]\nregion = us-east-1\n"+process+" --credentials '"+filepath.Join(p.dir, "keys")+"' --profile alice --role-session-name via-process --role-arn arn:aws:iam::123456789012:role/Reader\n")
	p = p.with("AWS_ENDPOINT_URL="+s.url, "AWS_CONFIG_FILE="+filepath.Join(p.dir, "config"))
	for profile, want := range map[string]string{"default": "arn:aws:iam::123456789012:root\n", "reader": "arn:aws:sts::123456789012:assumed-role/Reader/via-process\n"} {
		if got := p.aws("sts", "get-caller-identity", "--query", "Arn", "--output", "text", "--profile", profile); got != want {
			t.Errorf("profile %s is %s", profile, got)
		}
	}
	p.aws("iam", "list-users", "--profile", "reader")
	p.refused("AccessDenied", "iam", "list-roles", "--profile", "reader")
}

// The CLI's validate-policy has the findings of iamd lint.
func TestValidatePolicy(t *testing.T) {
	t.Parallel()
	root := serve(t).root("123456789012")
	root.file("policy.json", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:GetObjekt", "Resource": "*"}}`)
	if out := root.aws("accessanalyzer", "validate-policy", "--policy-type", "IDENTITY_POLICY", "--policy-document", "file://policy.json",
		"--query", "findings[].[findingType,issueCode,locations[0].path[1].value]", "--output", "text"); out != "ERROR\tINVALID_ACTION\tAction\n" {
		t.Errorf("validate-policy finds\n%s", out)
	}
	root.refused("NotImplemented", "accessanalyzer", "list-analyzers")
}

// What the CLI prints of one account is imported into another iamd, and there the CLI
// prints the same; iamd export prints it, too.
func TestImport(t *testing.T) {
	t.Parallel()
	const account = "123456789012"
	there, here := serve(t), serve(t)
	root := there.root(account)
	root.aws("iam", "create-policy", "--policy-name", "reads", "--policy-document", allowing("s3:GetObject", "*"))
	root.user("alice", allowing("sts:AssumeRole", "*"))
	root.aws("iam", "attach-user-policy", "--user-name", "alice", "--policy-arn", "arn:aws:iam::"+account+":policy/reads")
	root.role("Reader", trusting("arn:aws:iam::"+account+":user/alice"), allowing("s3:*", "*"))
	printed := root.aws("iam", "get-account-authorization-details")
	root.file("account.json", printed)
	file := filepath.Join(root.dir, "account.json")
	if out := here.iamd("import", "--dry-run", file); out != "would import 1 user, 0 groups, 1 role, 1 managed policy, 0 instance profiles\n" {
		t.Errorf("a dry run says %q", out)
	}
	here.iamd("import", file)
	same := func(what, other string) {
		var a, b any
		dates := strings.NewReplacer("+00:00\"", "Z\"") // of version 1 of the CLI
		if err := errors.Join(json.Unmarshal([]byte(dates.Replace(printed)), &a), json.Unmarshal([]byte(dates.Replace(other)), &b)); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s is\n%s\nnot\n%s", what, other, printed)
		}
	}
	same("what the CLI prints of the imported account", here.root(account).aws("iam", "get-account-authorization-details"))
	same("what iamd exports", there.iamd("export"))
	same("what iamd exports of the imported account", here.iamd("export"))
	fails(t, nil, 1, "is not empty: it has user alice", "import", "--data", here.data, file)
}
