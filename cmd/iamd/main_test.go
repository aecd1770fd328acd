package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/iamd-dev/iamd/internal/authz"
	"github.com/iamd-dev/iamd/internal/aws/dynamodb"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/server"
	"github.com/iamd-dev/iamd/internal/workload"
)

var keys = []identity.RootKey{
	{Account: "111122223333", ID: "AKIAAAAAAAAAAAAAAAAA", Secret: identity.NewSecret("secret-of-the-first")},
	{Account: "444455556666", ID: "AKIABBBBBBBBBBBBBBBB", Secret: identity.NewSecret("secret-of-the-second")},
}

func TestCredentialsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credentials")
	update := func(keys []identity.RootKey) string {
		t.Helper()
		c, err := readCredentials(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.update(keys); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	const head = "# Root access keys of iamd's accounts. They may do everything there.\n\n"
	const first = "aws_access_key_id = AKIAAAAAAAAAAAAAAAAA\naws_secret_access_key = secret-of-the-first\n\n"
	const second = "[root-444455556666]\naws_access_key_id = AKIABBBBBBBBBBBBBBBB\naws_secret_access_key = secret-of-the-second\n\n"
	want := head + "[default]\n" + first + "[root-111122223333]\n" + first
	if diff := cmp.Diff(want, update(keys[:1])); diff != "" {
		t.Errorf("first start (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want+second, update(keys)); diff != "" {
		t.Errorf("another account (-want +got):\n%s", diff)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	update(keys)
	if again, err := os.Stat(path); err != nil || !os.SameFile(info, again) {
		t.Errorf("a file that is right was written again: %v", err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v", info.Mode())
	}

	// What others wrote there stays, a default of theirs included.
	const theirs = "; mine\n[default]\naws_access_key_id=AKIACCCCCCCCCCCCCCCC\naws_secret_access_key=x\n\n[alice]\n# hers\naws_access_key_id = AKIADDDDDDDDDDDDDDDD\naws_secret_access_key = y\ns3 =\n  max_concurrent_requests = 20\n  max_queue_size = 10\n"
	if err := os.WriteFile(path, []byte(theirs), 0o644); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(theirs+"[root-111122223333]\n"+first+second, update(keys)); diff != "" {
		t.Errorf("others' profiles (-want +got):\n%s", diff)
	}

	// A root key that was replaced takes the default with it.
	if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
	given := []identity.RootKey{{Account: "111122223333", ID: "AKIAEEEEEEEEEEEEEEEE", Secret: identity.NewSecret("secret-of-the-first")}}
	if got := update(given); strings.Count(got, "AKIAEEEEEEEEEEEEEEEE") != 2 || strings.Contains(got, "AKIAAAAA") {
		t.Errorf("after the key was replaced:\n%s", got)
	}
}

func TestDamagedCredentialsFile(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"aws_access_key_id = x\n", "line 1 stands before the first profile"},
		{"[default\n", "line 1 begins a profile and has no name in brackets"},
		{"\n[ ]\n", "line 2 begins a profile and has no name in brackets"},
		{"[a]\n[a]\n", "line 2: profile a is there twice"},
		{"[a]\nb\n", "line 2 is not of the form name = value"},
		{"[a]\n= b\n", "line 2 is not of the form name = value"},
		{"[a]\nb = 1\nB = 2\n", "line 3: profile a has b twice"},
		{"[default]\naws_access_key_id = x\n", "profile default lacks"},
		{"[root-111122223333]\naws_access_key_id =\naws_secret_access_key = x\n", "profile root-111122223333 lacks"},
		{"[default]\n\x00", "it is not text"},
		{"[default]\n\xff", "it is not text"},
		{"[a]\nb = " + strings.Repeat("x", 1<<17), "too long"},
	} {
		path := filepath.Join(t.TempDir(), "credentials")
		if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := readCredentials(path)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%.40q: error %v, want %q", test.text, err, test.want)
		}
	}
	if _, err := readCredentials(t.TempDir()); err == nil {
		t.Error("a directory was read as credentials")
	}
}

func TestSettingsFromYAML(t *testing.T) {
	read := func(text string, args ...string) (*settings, error) {
		s, fs := &settings{}, pflag.NewFlagSet("serve", pflag.ContinueOnError)
		s.register(fs)
		if err := fs.Parse(args); err != nil {
			t.Fatal(err)
		}
		return s, setFromYAML(fs, []byte(text))
	}
	s, err := read("listen: 0.0.0.0:1\naccount: 111122223333\nhosts:\n- a\n- b\naudit-retention: 30\n", "--listen", "127.0.0.1:2")
	if err != nil {
		t.Fatal(err)
	}
	if s.listen != "127.0.0.1:2" || !slices.Equal(s.accounts, []string{"111122223333"}) || !slices.Equal(s.hosts, []string{"a", "b"}) || s.auditRetention != 30 {
		t.Errorf("read %+v", s)
	}
	if s, err := read(""); err != nil || s.listen != defaultListen || !slices.Equal(s.hosts, []string{"localhost"}) {
		t.Errorf("an empty file: %+v, %v", s, err)
	}
	for _, test := range []struct{ text, want string }{
		{"lsten: x", `unknown key "lsten": did you mean "listen"?`},
		{"Listen: x", `unknown key "Listen": did you mean "listen"?`},
		{"tls_cert: x", `did you mean "tls-cert"?`},
		{"help: true", `unknown key "help"`},
		{"listen: [x]", "listen takes one value, not a list"},
		{"listen: {a: b}", "listen has a value that is not text"},
		{"listen:", "listen has a value that is not text"},
		{"account: [[x]]", "account has a value that is not text"},
		{"audit-retention: soon", "audit-retention: "},
		{"audit-retention: 1.5", "audit-retention: "},
		{"listen: a\nlisten: b", "already set"},
		{"listen: 'a", "unexpected end of stream"},
		{"\t", "cannot start any token"},
		{"a string", "it must be a mapping of names to values"},
		{"[listen]", "it must be a mapping of names to values"},
	} {
		if _, err := read(test.text); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: error %v, want %q", test.text, err, test.want)
		}
	}
}

func TestSettingsAreChecked(t *testing.T) {
	getenv := func(string) string { return "" }
	good := func() *settings {
		return &settings{listen: ":0", data: "d", auditSync: syncCredentials, workloads: workloadsOff}
	}
	if err := good().check(getenv); err != nil {
		t.Error(err)
	}
	s := good()
	s.trustedProxies = []string{"10.1.2.3/8", "192.0.2.7", "2001:db8::1"}
	if err := s.check(getenv); err != nil || len(s.proxies) != 3 || s.proxies[0].String() != "10.0.0.0/8" || s.proxies[1].String() != "192.0.2.7/32" || s.proxies[2].String() != "2001:db8::1/128" {
		t.Errorf("proxies are %v, %v", s.proxies, err)
	}
	for _, listen := range []string{"127.0.0.1:0", "localhost:4600", "[::1]:0"} {
		s := good()
		s.listen, s.workloads = listen, workloadsProcess
		if err := s.check(getenv); err != nil {
			t.Errorf("workloads on %s, which nobody else reaches: %v", listen, err)
		}
	}
	exposed := good()
	exposed.workloads, exposed.workloadsExposed = workloadsProcess, true
	if err := exposed.check(getenv); err != nil {
		t.Error(err)
	}
	for want, spoil := range map[string]func(*settings){
		"not HOST:PORT":                      func(s *settings) { s.listen = "localhost" },
		"no home directory":                  func(s *settings) { s.data = "" },
		"not an account id":                  func(s *settings) { s.accounts = []string{"12345678901x"} },
		"both --tls-cert and":                func(s *settings) { s.tlsKey = "x" },
		"neither an address nor":             func(s *settings) { s.trustedProxies = []string{"10.0.0.0/33"} },
		"neither credentials nor":            func(s *settings) { s.auditSync = "" },
		"neither off nor process nor docker": func(s *settings) { s.workloads = "on" },
		"say --workloads-exposed":            func(s *settings) { s.workloads = workloadsProcess },
		"less than nothing":                  func(s *settings) { s.auditRetention = -1 },
		"reading the metrics token":          func(s *settings) { s.metricsTokenFile = "/nonexistent" },
		"it must have 16 or more":            func(s *settings) { s.metricsTokenFile = os.DevNull },
	} {
		s := good()
		spoil(s)
		var usage usageError
		if err := s.check(getenv); err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, &usage) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestURL(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:0":     "http://127.0.0.1:4600",
		":0":              "http://127.0.0.1:4600",
		"0.0.0.0:0":       "http://127.0.0.1:4600",
		"[::]:0":          "http://[::1]:4600",
		"[::1]:0":         "http://[::1]:4600",
		"localhost:0":     "http://localhost:4600",
		"iamd.example:80": "http://iamd.example:4600",
	} {
		s := &settings{listen: listen}
		if got := s.url(address("127.0.0.1:4600")); got != want {
			t.Errorf("--listen %s is %s, want %s", listen, got, want)
		}
	}
	s := &settings{listen: "127.0.0.1:0", tlsCert: "x"}
	if got := s.url(address("127.0.0.1:4600")); got != "https://127.0.0.1:4600" {
		t.Errorf("with TLS: %s", got)
	}
}

type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

func TestShellQuote(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "''",
		"http://127.0.0.1:4600":  "http://127.0.0.1:4600",
		"wJalrXUtnFEMI/K7MDENG+": "wJalrXUtnFEMI/K7MDENG+",
		"a b":                    "'a b'",
		"$(reboot)":              "'$(reboot)'",
		"it's":                   `'it'\''s'`,
		"a\nb":                   "'a\nb'",
		"~/x":                    "'~/x'",
	} {
		if got := shellQuote(text); got != want {
			t.Errorf("%q is quoted as %s, want %s", text, got, want)
		}
	}
}

// What env prints sets the shell up, and its comment takes nothing away.
func TestEnv(t *testing.T) {
	dir := t.TempDir()
	text := "[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = a/b+c\n"
	if err := os.WriteFile(filepath.Join(dir, "credentials"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd, out := newCommand(), new(bytes.Buffer)
	cmd.SetArgs([]string{"env", "--data", dir, "--endpoint", "http://127.0.0.1:1/"})
	cmd.SetOut(out)
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	shell := exec.Command("sh", "-c", `eval "$1" && echo "$AWS_ENDPOINT_URL $AWS_ACCESS_KEY_ID $AWS_SECRET_ACCESS_KEY $AWS_REGION$AWS_SESSION_TOKEN$AWS_PROFILE"`, "sh", out.String())
	shell.Env = []string{"PATH=" + os.Getenv("PATH"), "AWS_PROFILE=other", "AWS_SESSION_TOKEN=old"}
	got, err := shell.CombinedOutput()
	if want := "http://127.0.0.1:1 AKIAIOSFODNN7EXAMPLE a/b+c us-east-1\n"; err != nil || string(got) != want {
		t.Errorf("the shell has %q, %v, want %q, of\n%s", got, err, want, out)
	}
	if !strings.Contains(out.String(), "\n# ") || !strings.Contains(out.String(), "--endpoint-url") {
		t.Errorf("nothing is said to those whose AWS CLI is old:\n%s", out)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"listen", "data", "account", "tls-cert", "tls-key"}
	for name, want := range map[string]string{"lisen": "listen", "tls-crt": "tls-cert", "acounts": "account", "date": "data", "tlskey": "tls-key"} {
		if got := nearest(name, names); got != want {
			t.Errorf("nearest to %s is %s, want %s", name, got, want)
		}
	}
}

func TestCommandLine(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"serv"}, `unknown command "serv": did you mean serve?`},
		{[]string{"serve", "--dtaa", "x"}, "unknown flag: --dtaa: did you mean --data?"},
		{[]string{"serve", "--audit-retention", "x"}, "invalid argument"},
		{[]string{"env", "x"}, "iamd env takes no arguments"},
		{[]string{"explain", "a", "b"}, "takes one request id, but there are 2"},
		{[]string{"tour", "--profile", "x"}, "unknown flag: --profile"},
	} {
		cmd := newCommand()
		cmd.SetArgs(test.args)
		cmd.SetOut(new(bytes.Buffer))
		err := cmd.ExecuteContext(t.Context())
		var usage usageError
		if err == nil || !strings.Contains(err.Error(), test.want) || !errors.As(err, &usage) {
			t.Errorf("iamd %q: error %v, want %q", test.args, err, test.want)
		}
	}
}

// Each account is told what its own policies said; the operator has both accounts.
func TestCombine(t *testing.T) {
	trust := authz.LayerExplanation{Layer: authz.TrustPolicy, Verdict: "implicitDeny", Policies: []authz.PolicyExplanation{{Name: "trust"}}}
	own := authz.LayerExplanation{Layer: authz.IdentityPolicy, Verdict: "allow", Policies: []authz.PolicyExplanation{{Name: "may"}}}
	hidden := func(l authz.LayerExplanation, account string) authz.LayerExplanation {
		return authz.LayerExplanation{Layer: l.Layer, Verdict: l.Verdict, Account: account}
	}
	explanation := func(missing []string, layers ...authz.LayerExplanation) *server.Details {
		return &server.Details{Explanations: []*authz.Explanation{{Action: "sts:AssumeRole", Resource: "r", Layers: layers, Missing: missing}}}
	}
	got := explanation([]string{"a"}, hidden(trust, "1"), own)
	combine(got, explanation([]string{"a", "b"}, trust, hidden(own, "2")))
	if diff := cmp.Diff(explanation([]string{"a", "b"}, trust, own), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// The caller is not told that there is no such role; its account is.
	got = explanation(nil, hidden(trust, "1"), own)
	combine(got, explanation(nil, hidden(own, "2")))
	if diff := cmp.Diff(explanation(nil, own), got); diff != "" {
		t.Errorf("without a trust policy (-want +got):\n%s", diff)
	}
	// A decision that concerned the other account only.
	combine(got, &server.Details{Explanations: []*authz.Explanation{{Action: "s3:GetObject", Resource: "o"}}})
	if len(got.Explanations) != 2 {
		t.Errorf("there are %d explanations, want 2", len(got.Explanations))
	}
}

// The tests' executable keeps the workloads, and is what the tour runs in some.
func TestMain(m *testing.M) {
	workload.Keep()
	if len(os.Args) > 1 && os.Args[1] == readerName {
		main() // in what the tour runs
		return
	}
	os.Exit(m.Run())
}

// The tour is what users see first: it is played here, too, where every change is tested.
func TestTour(t *testing.T) {
	var out bytes.Buffer
	if err := playAlone(t.Context(), &out, stories); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	want := "Everything went as told"
	if dynamodb.FindProgram() == "" {
		want = "What was told went as told" // without an engine there are no tables
	}
	if !strings.Contains(out.String(), want) {
		t.Errorf("the tour ends with %q", out.String()[max(0, out.Len()-200):])
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "iamd-tour-*")); len(left) > 0 {
		t.Logf("other tours are being played, or left behind %q", left)
	}
}

func TestTourStopsWhereItIsNotTrue(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "credentials")
	text := "[root-111122223333]\naws_access_key_id = AKIAAAAAAAAAAAAAAAAA\naws_secret_access_key = x\n[root-444455556666]\naws_access_key_id = AKIABBBBBBBBBBBBBBBB\naws_secret_access_key = x\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err := play(t.Context(), &out, &target{data: dir, endpoint: "http://127.0.0.1:1"}, "", stories)
	if err == nil || !strings.Contains(err.Error(), "CreateBucket was not answered") || !strings.Contains(out.String(), "The tour stops here") {
		t.Errorf("a tour of nothing: %v\n%s", err, &out)
	}
}

// Each piece of a body has its time, and the call after the body has all of it.
func TestBodiesThatStopComing(t *testing.T) {
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequest(http.MethodPut, "/b/k", iotest.OneByteReader(strings.NewReader("ab")))
	impatient(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if text, err := io.ReadAll(r.Body); err != nil || string(text) != "ab" {
			t.Errorf("the body is %q, %v", text, err)
		}
	})).ServeHTTP(w, r)
	if n := len(w.set); n != 4 || !w.set[n-1].IsZero() {
		t.Fatalf("deadlines were %v, not one for each read and none at the end", w.set)
	}
	for _, at := range w.set[:3] {
		if left := time.Until(at); left <= 0 || left > bodyTimeout {
			t.Errorf("a read has %v", left)
		}
	}
}

type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error { d.set = append(d.set, t); return nil }
