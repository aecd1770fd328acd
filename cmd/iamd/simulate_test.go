package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// simulateFiles runs iamd simulate in a folder with these files.
func simulateFiles(t *testing.T, files map[string]string, stdin string, args ...string) (stdout string, err error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i, a := range args {
		if _, ok := files[a]; ok {
			args[i] = filepath.Join(dir, a)
		}
	}
	var out bytes.Buffer
	cmd := newCommand()
	cmd.SetArgs(append([]string{"simulate"}, args...))
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&out)
	err = cmd.ExecuteContext(t.Context())
	return strings.ReplaceAll(out.String(), dir+"/", ""), err
}

// status is the exit status that an error makes.
func status(err error) int {
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return 2
	}
	return 1
}

func TestSimulateExample(t *testing.T) {
	folder := filepath.Join("..", "..", "examples", "simulate")
	got, err := simulateFiles(t, nil, "", filepath.Join(folder, "reader_test.yaml"))
	if err != nil || got != "8 of 8 requests are as expected\n" {
		t.Errorf("reader_test.yaml: %q, %v", got, err)
	}
	got, err = simulateFiles(t, nil, "", "--policies", filepath.Join(folder, "policies.yaml"), filepath.Join(folder, "requests.jsonl"))
	want := "implicitDeny  bob reads: arn:aws:iam::111122223333:user/bob, s3:GetObject on arn:aws:s3:::reports/alice/q3.csv\n2 of 3 requests are as expected\n"
	if err != nil || got != want {
		t.Errorf("requests.jsonl: %q, %v", got, err)
	}
}

const (
	allowAll  = `{Version: "2012-10-17", Statement: {Effect: Allow, Action: "*", Resource: "*"}}`
	allowRead = `{Version: "2012-10-17", Statement: {Effect: Allow, Action: "s3:GetObject", Resource: "*"}}`
	denyAll   = `{Version: "2012-10-17", Statement: {Effect: Deny, Action: "*", Resource: "*"}}`
)

// Each kind of policy has its place in the decision, and each kind of principal.
func TestSimulateDecisions(t *testing.T) {
	for _, test := range []struct{ name, principal, policies, more, want string }{
		{"nothing allows", "arn:aws:iam::111122223333:user/u", `{}`, "", "implicitDeny"},
		{"identity", "arn:aws:iam::111122223333:user/u", `{identity: ` + allowAll + `}`, "", "allowed"},
		{"identity, two", "arn:aws:iam::111122223333:user/u", `{identity: [` + allowAll + `,` + denyAll + `]}`, "", "explicitDeny"},
		{"boundary leaves it out", "arn:aws:iam::111122223333:user/u", `{identity: ` + allowAll + `, boundary: {Version: "2012-10-17", Statement: {Effect: Allow, Action: "iam:*", Resource: "*"}}}`, "", "implicitDeny"},
		{"session allows", "arn:aws:sts::111122223333:assumed-role/r/s", `{identity: ` + allowAll + `, session: ` + allowRead + `}`, "", "allowed"},
		{"session of none", "arn:aws:sts::111122223333:assumed-role/r/s", `{identity: ` + allowAll + `, session: []}`, "", "implicitDeny"},
		{"scp levels", "arn:aws:iam::111122223333:user/u", `{identity: ` + allowAll + `, scp: [` + allowAll + `, [` + allowRead + `]]}`, "", "allowed"},
		{"scp level of none", "arn:aws:iam::111122223333:user/u", `{identity: ` + allowAll + `, scp: [` + allowAll + `, []]}`, "", "implicitDeny"},
		{"scp denies root", "arn:aws:iam::111122223333:root", `{scp: [[` + allowAll + `, ` + denyAll + `]]}`, "", "explicitDeny"},
		{"root", "arn:aws:iam::111122223333:root", `{}`, "", "allowed"},
		{"root is one of its account", "arn:aws:iam::111122223333:root", `{}`, `, owner: "444455556666"`, "implicitDeny"},
		{"resource policy in the account", "arn:aws:iam::111122223333:user/u", `{resource: {Version: "2012-10-17", Statement: {Effect: Allow, Principal: {AWS: "arn:aws:iam::111122223333:user/u"}, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/*"}}}`, "", "allowed"},
		{"resource policy of another account", "arn:aws:iam::111122223333:user/u", `{resource: {Version: "2012-10-17", Statement: {Effect: Allow, Principal: {AWS: "arn:aws:iam::111122223333:user/u"}, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/*"}}}`, `, owner: "444455556666"`, "implicitDeny"},
		{"both accounts", "arn:aws:iam::111122223333:user/u", `{identity: ` + allowAll + `, resource: {Version: "2012-10-17", Statement: {Effect: Allow, Principal: {AWS: "111122223333"}, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/*"}}}`, `, owner: "444455556666"`, "allowed"},
		{"a role is granted within its boundary", "arn:aws:iam::111122223333:role/p/r", `{boundary: {Version: "2012-10-17", Statement: {Effect: Allow, Action: "iam:*", Resource: "*"}}, resource: {Version: "2012-10-17", Statement: {Effect: Allow, Principal: {AWS: "arn:aws:iam::111122223333:role/p/r"}, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/*"}}}`, "", "implicitDeny"},
		{"a session is granted over it", "arn:aws:sts::111122223333:assumed-role/r/s", `{boundary: {Version: "2012-10-17", Statement: {Effect: Allow, Action: "iam:*", Resource: "*"}}, resource: {Version: "2012-10-17", Statement: {Effect: Allow, Principal: {AWS: "arn:aws:sts::111122223333:assumed-role/r/s"}, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/*"}}}`, "", "allowed"},
		{"anonymous", "anonymous", `{identity: ` + allowAll + `}`, "", "implicitDeny"},
		{"anonymous and everyone", "anonymous", `{resource: {Version: "2012-10-17", Statement: {Effect: Allow, Principal: "*", Action: "s3:GetObject", Resource: "arn:aws:s3:::b/*"}}}`, "", "allowed"},
		{"a service", "logging.s3.amazonaws.com", `{resource: {Version: "2012-10-17", Statement: {Effect: Allow, Principal: {Service: "logging.s3.amazonaws.com"}, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/*"}}}`, "", "allowed"},
		{"another service", "sns.amazonaws.com", `{resource: {Version: "2012-10-17", Statement: {Effect: Allow, Principal: {Service: "logging.s3.amazonaws.com"}, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/*"}}}`, "", "implicitDeny"},
		{"federated users have no policies of their own", "arn:aws:sts::111122223333:federated-user/f", `{identity: ` + allowAll + `}`, "", "implicitDeny"},
		{"federated users and their session policy", "arn:aws:sts::111122223333:federated-user/f", `{identity: ` + allowAll + `, session: ` + allowRead + `}`, "", "allowed"},
		{"numbers and booleans", "arn:aws:iam::111122223333:user/u", `{identity: {Version: "2012-10-17", Statement: {Effect: Allow, Action: "*", Resource: "*", Condition: {NumericLessThan: {s3:max-keys: 10}, Bool: {aws:SecureTransport: true}}}}}`, `, context: {s3:max-keys: 5, AWS:securetransport: true}`, "allowed"},
		{"a key that is not there", "arn:aws:iam::111122223333:user/u", `{identity: {Version: "2012-10-17", Statement: {Effect: Allow, Action: "*", Resource: "*", Condition: {Bool: {aws:SecureTransport: false}}}}}`, "", "implicitDeny"},
		{"a list", "arn:aws:iam::111122223333:user/u", `{identity: {Version: "2012-10-17", Statement: {Effect: Allow, Action: "*", Resource: "*", Condition: {"ForAllValues:StringEquals": {aws:TagKeys: [a, b]}}}}}`, `, context: {aws:TagKeys: [a, c]}`, "implicitDeny"},
	} {
		request := fmt.Sprintf("requests: [{name: it, principal: %q, action: s3:GetObject, resource: 'arn:aws:s3:::b/k', expect: %s, policies: %s%s}]", test.principal, test.want, test.policies, test.more)
		got, err := simulateFiles(t, map[string]string{"t.yaml": request}, "", "t.yaml")
		if err != nil {
			t.Errorf("%s: %v\n%s", test.name, err, got)
		}
	}
}

// What is not as expected is explained, and the exit status is 1; nothing expected is
// nothing wrong.
func TestSimulateFailure(t *testing.T) {
	files := map[string]string{
		"p.json": "{\"Version\":\"2012-10-17\",\"Statement\":[\n {\"Sid\":\"Read\",\"Effect\":\"Allow\",\"Action\":\"s3:GetObject\",\"Resource\":\"arn:aws:s3:::b/*\",\"Condition\":{\"Bool\":{\"aws:SecureTransport\":\"true\"}}}]}",
		"t.yaml": `
policies: {identity: p.json}
requests:
- {name: reads, principal: "arn:aws:iam::111122223333:user/u", action: s3:GetObject, resource: "arn:aws:s3:::b/k", expect: allowed}
- {principal: "arn:aws:iam::111122223333:user/u", action: s3:GetObject, resource: "arn:aws:s3:::b/k", context: {aws:SecureTransport: true}, expect: denied}
- {principal: "arn:aws:iam::111122223333:user/u", action: s3:PutObject, resource: "arn:aws:s3:::b/k", expect: explicitDeny}
- {principal: "arn:aws:iam::111122223333:user/u", action: s3:PutObject}
`,
	}
	got, err := simulateFiles(t, files, "", "t.yaml")
	if status(err) != 1 || err.Error() != "3 of 4 requests are not as expected" {
		t.Errorf("error %v, status %d", err, status(err))
	}
	for _, want := range []string{
		"FAIL  reads: arn:aws:iam::111122223333:user/u, s3:GetObject on arn:aws:s3:::b/k: implicitDeny, expected allowed\n",
		"Read (Allow, line 2 column 2): condition Bool aws:SecureTransport is not met",
		"the request has  no aws:SecureTransport",
		"FAIL  request 2: arn:aws:iam::111122223333:user/u, s3:GetObject on arn:aws:s3:::b/k: allowed, expected denied\n",
		"FAIL  request 3: arn:aws:iam::111122223333:user/u, s3:PutObject on arn:aws:s3:::b/k: implicitDeny, expected explicitDeny\n",
		"implicitDeny  request 4: arn:aws:iam::111122223333:user/u, s3:PutObject on *\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if strings.Contains(got, "request id") || strings.Contains(got, "\x1b") {
		t.Errorf("a simulated request has an id, or a file colors:\n%s", got)
	}

	lines, err := simulateFiles(t, files, "", "t.yaml", "--format", "json")
	if status(err) != 1 {
		t.Errorf("json: status %d, %v", status(err), err)
	}
	first, _, _ := strings.Cut(lines, "\n")
	for _, want := range []string{`"name":"reads"`, `"decision":"implicitDeny"`, `"expect":"allowed"`, `"ok":false`, `"missing":["aws:securetransport"]`, `"explanation":{`, `"failed":"Condition"`} {
		if !strings.Contains(first, want) {
			t.Errorf("%s is not in %s", want, first)
		}
	}
	if n := strings.Count(lines, "\n"); n != 4 {
		t.Errorf("%d lines", n)
	}
}

func TestSimulateLines(t *testing.T) {
	files := map[string]string{"p.json": `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}`, "p.yaml": "identity: p.json"}
	var in strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&in, `{"principal":"arn:aws:iam::111122223333:user/u%d","action":"s3:GetObject","resource":"arn:aws:s3:::b/%d","expect":"allowed"}`+"\n\n", i, i)
	}
	got, err := simulateFiles(t, files, in.String(), "--policies", "p.yaml", "-")
	if err != nil || got != "3000 of 3000 requests are as expected\n" {
		t.Errorf("%q, %v", got, err)
	}
	in.WriteString(`{"principal":"arn:aws:iam::111122223333:user/u","action":"s3:PutObject","resource":"arn:aws:s3:::b/k","expect":"allowed"}`)
	got, err = simulateFiles(t, files, in.String(), "--policies", "p.yaml", "-")
	if status(err) != 1 || !strings.HasPrefix(got, "FAIL  line 6001: ") {
		t.Errorf("%.100q, %v", got, err)
	}
}

// What cannot be read is no answer: 2, and where it is.
func TestSimulateMistakes(t *testing.T) {
	const request = `{principal: "arn:aws:iam::111122223333:user/u", action: s3:GetObject, resource: "arn:aws:s3:::b/k"`
	for _, test := range []struct{ text, want string }{
		{"requests: [" + request + ", expect: allow}]", `t.yaml: request 1: expect is allowed, explicitDeny, implicitDeny or denied, not "allow"`},
		{"requests: [" + request + ", expected: allowed}]", `unknown field "expected"`},
		{"requests: [" + request + "}]\nrequests: []", "already set"},
		{"requests: []", "there are no requests"},
		{"policies: {identity: none.json}\nrequests: [" + request + "}]", "none.json: no such file"},
		{"policies: {identity: bad.json}\nrequests: [" + request + "}]", "bad.json:1:"},
		{"policies: {identity: 7}\nrequests: [" + request + "}]", "t.yaml: the identity policy in the request: "},
		{"policies: {resource: {Version: '2012-10-17', Statement: {Effect: Allow, Action: '*', Resource: '*'}}}\nrequests: [" + request + "}]", "the resource policy in the request: "},
		{"policies: {identity: {Version: '2012-10-17', Statement: {Effect: Allow, Principal: '*', Action: '*', Resource: '*'}}}\nrequests: [" + request + "}]", "the identity policy in the request: "},
		{"requests: [{principal: bob, action: s3:GetObject}]", `the principal is an ARN, a service (ec2.amazonaws.com) or anonymous, not "bob"`},
		{"requests: [{principal: 'arn:aws:iam::111122223333:group/g', action: s3:GetObject}]", "nobody who calls"},
		{"requests: [{principal: 'arn:aws:iam::1111:user/u', action: s3:GetObject}]", "nobody who calls"},
		{"requests: [{action: s3:GetObject}]", "there is no principal"},
		{"requests: [{principal: anonymous, action: GetObject}]", `"GetObject" is not the name of an action`},
		{"requests: [{principal: anonymous, action: 's3:*'}]", `"s3:*" is not the name of an action`},
		{"requests: [{principal: anonymous, action: s3:GetObject, resource: bucket}]", "request 1: "},
		{"requests: [{principal: anonymous, action: s3:GetObject, owner: '1'}]", `the owner "1" is no account id`},
		{"requests: [{principal: anonymous, action: s3:GetObject, context: {aws:a: {b: c}}}]", "the value of a condition key"},
		{"requests: [{principal: anonymous, action: s3:GetObject, context: {aws:a: null}}]", "the value of a condition key"},
	} {
		files := map[string]string{"t.yaml": test.text, "bad.json": `{"Version":"2012-10-17","Statement":{"Effect":"Permit","Action":"*","Resource":"*"}}`}
		out, err := simulateFiles(t, files, "", "t.yaml")
		if status(err) != 2 || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s:\nstatus %d, error %v, want %s\n%s", test.text, status(err), err, test.want, out)
		}
	}
	for _, args := range [][]string{{}, {"none.yaml"}, {"t.yaml", "--format", "xml"}, {"--policies", "none.yaml", "t.yaml"}} {
		if _, err := simulateFiles(t, map[string]string{"t.yaml": "requests: [" + request + "}]"}, "", args...); status(err) != 2 {
			t.Errorf("%q: status %d, error %v", args, status(err), err)
		}
	}
	if _, err := simulateFiles(t, nil, "{}\n", "-"); status(err) != 2 || !strings.Contains(err.Error(), "line 1: there is no principal") {
		t.Errorf("an empty request: %v", err)
	}
	if _, err := simulateFiles(t, nil, "\n[\n", "-"); status(err) != 2 || !strings.Contains(err.Error(), "line 2: ") {
		t.Errorf("no JSON: %v", err)
	}
}

func TestBar(t *testing.T) {
	var w bytes.Buffer
	b := &bar{w: &w, total: 200}
	b.at(1, 1)
	if w.Len() > 0 {
		t.Errorf("a short run shows a bar: %q", w.String())
	}
	b.shown = b.shown.Add(-time.Second)
	b.at(100, 50)
	if !b.clear() || b.clear() {
		t.Error("the bar is not taken away once")
	}
	want := "\r[" + strings.Repeat("#", 20) + strings.Repeat(".", 20) + "]  50%  50 requests\r\x1b[K"
	if diff := cmp.Diff(want, w.String()); diff != "" {
		t.Errorf("bar (-want +got):\n%s", diff)
	}
	none := &bar{}
	none.at(1, 1)
	none.at(2, 2)
}
