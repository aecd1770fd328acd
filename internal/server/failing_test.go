package server_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/audit"
	"github.com/iamd-dev/iamd/internal/identity"
)

// everyKind calls once for every kind of call: what changes, what reads, what issues
// credentials, what is refused, what cannot be read, what is not implemented, data.
func everyKind(h *site, alice actor) map[string]reply {
	root := h.roots[ours]
	return map[string]reply{
		"CreateUser":        h.query(root, "iam", "CreateUser", "UserName", "mallory"),
		"ListUsers":         h.query(root, "iam", "ListUsers"),
		"CreateAccessKey":   h.query(root, "iam", "CreateAccessKey", "UserName", "alice"),
		"GetCallerIdentity": h.query(root, "sts", "GetCallerIdentity"),
		"GetSessionToken":   h.query(alice, "sts", "GetSessionToken"),
		"AssumeRole":        h.query(alice, "sts", "AssumeRole", "RoleArn", "arn:aws:iam::"+ours+":role/r", "RoleSessionName", "s1"),
		"refused":           h.query(alice, "iam", "ListUsers"),
		"bad input":         h.query(root, "iam", "CreateUser", "UserName", "no/slash"),
		"declined":          h.query(root, "iam", "GetHumanReadableSummary"),
		"CreateThing":       h.query(root, "probe", "CreateThing", "Name", "x"),
		"GetThing":          h.query(root, "probe", "GetThing", "Name", "x"),
		"CreateBucket":      h.s3(root, "PUT", "/new-bucket", ""),
		"PutObject":         h.s3(root, "PUT", "/b-1/new", "x"),
		"GetObject":         h.s3(root, "GET", "/b-1/old", ""),
		"DeleteObject":      h.s3(root, "DELETE", "/b-1/old", ""),
		"anonymous":         h.s3(actor{}, "GET", "/b-1/old", ""),
		"NoSuchBucket":      h.s3(root, "GET", "/no-such-bucket/k", ""),
		"details":           h.do(root, "iam-toolbox", h.request("GET", "/authorization-details/x", ""), nil),
	}
}

// prepare makes what everyKind needs.
func prepare(h *site) actor {
	root := h.roots[ours]
	alice := h.user(ours, "alice", allow("sts:AssumeRole", "*"))
	h.well(h.query(root, "iam", "CreateRole", "RoleName", "r", "AssumeRolePolicyDocument", trust(ours)))
	h.well(h.s3(root, "PUT", "/b-1", ""))
	h.well(h.s3(root, "PUT", "/b-1/old", "old"))
	return alice
}

// stopped checks that nothing was done and nothing told.
func stopped(t *testing.T, h *site, answers map[string]reply) {
	for name, a := range answers {
		want := "InternalFailure"
		switch name {
		case "CreateBucket", "PutObject", "GetObject", "DeleteObject", "anonymous", "NoSuchBucket":
			want = "InternalError"
		}
		if a.status != 500 || a.code != want {
			t.Errorf("%s: answered %d %s\n%s", name, a.status, a.code, a.body)
		}
		for _, secret := range []string{"old", "SecretAccessKey", "<Name>", "audit", h.dir} {
			if strings.Contains(strings.ReplaceAll(a.body, "/b-1/old", ""), secret) {
				t.Errorf("%s: the failure tells %s", name, a.body)
			}
		}
	}
	state := h.db.View()
	if identity.Users.Get(state, identity.Key(ours, "mallory")) != nil {
		t.Error("a user was made")
	}
	if n := identity.Users.Get(state, identity.Key(ours, "alice")).Keys; n != 1 {
		t.Errorf("alice has %d keys", n)
	}
}

// A log that cannot be written stops every call.
func TestNoRecordNoCall(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	alice := prepare(h)
	if err := h.audit.Close(); err != nil {
		t.Fatal(err)
	}
	h.probe.set(nil)
	answers := everyKind(h, alice)
	stopped(t, h, answers)
	if n := h.probe.calls(); n != 1 { // GetThing's, whose effect is its answer
		t.Errorf("handlers were called %d times", n)
	}
	if n := strings.Count(h.logged.String(), "level=ERROR"); n != len(answers) {
		t.Errorf("%d lines are logged for %d failures", n, len(answers))
	}
}

// A disk that is full stops every call, says so to the operator, and when there is
// room again calls go on by themselves. The disk is a limit on the size of files
// that this process gives itself, so the test is in a process of its own.
func TestFullDisk(t *testing.T) {
	if os.Getenv("IAMD_TEST_FULL_DISK") == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
		cmd.Env = append(os.Environ(), "IAMD_TEST_FULL_DISK=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestFullDisk") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	signal.Ignore(syscall.SIGXFSZ)
	h := open(t, nil)
	alice := prepare(h)
	root := h.roots[ours]
	if a := h.send(h.request("GET", "/readyz", "")); a.status != 200 {
		t.Errorf("before: /readyz is %d", a.status)
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	room := func(bytes uint64) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: old.Max}); err != nil {
			t.Fatal(err)
		}
	}
	whole := len(h.records(""))
	room(1)
	h.refused(h.query(root, "iam", "ListUsers"), 500, "InternalFailure") // the first one finds out
	stopped(t, h, everyKind(h, alice))
	if a := h.send(h.request("GET", "/readyz", "")); a.status != http.StatusServiceUnavailable {
		t.Errorf("meanwhile: /readyz is %d", a.status)
	}
	if a := h.send(h.request("GET", "/healthz", "")); a.status != 200 {
		t.Errorf("meanwhile: /healthz is %d", a.status)
	}
	room(old.Cur)
	a := h.well(h.query(root, "iam", "CreateUser", "UserName", "bob"))
	if n := len(h.records(a.requestID)); n != 2 {
		t.Errorf("after it: %d records of a change", n)
	}
	if a := h.send(h.request("GET", "/readyz", "")); a.status != 200 {
		t.Errorf("after it: /readyz is %d", a.status)
	}
	if a := h.s3(root, "GET", "/b-1/old", ""); a.body != "old" {
		t.Errorf("after it: the object is %q", a.body)
	}
	for _, err := range audit.Read(h.auditDir(), audit.Filter{}) {
		if err != nil {
			t.Errorf("the log is damaged: %v", err)
		}
	}
	if n := len(h.records("")); n < whole+2 {
		t.Errorf("there were %d records, and now %d", whole, n)
	}
}

// A client that goes away while its call waits has done the whole of it or nothing,
// and in either case the record says so.
func TestClientsThatGoAway(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	root := h.roots[ours]
	for i := range 30 {
		name := fmt.Sprintf("u%d", i)
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*100*time.Microsecond)
		body := "Action=CreateUser&Version=2010-05-08&UserName=" + name
		r := h.request("POST", "/", body).WithContext(ctx)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		sign(root, "iam", r, body, time.Now())
		if w, err := http.DefaultTransport.RoundTrip(r); err == nil {
			w.Body.Close()
		}
		cancel()
	}
	h.server.Close() // waits for the calls in flight
	made := map[string]bool{}
	for _, r := range h.records("") {
		name, _ := r.member(t, "requestParameters", "userName").(string)
		if r.EventName == "CreateUser" {
			made[name] = made[name] || r.ErrorCode == ""
		}
	}
	for i := range 30 {
		name := fmt.Sprintf("u%d", i)
		if identity.Users.Get(h.db.View(), identity.Key(ours, name)) != nil && !made[name] {
			t.Errorf("%s was made without a record", name)
		}
	}
	if text := h.logged.String(); strings.Contains(text, "level=ERROR") {
		t.Errorf("that a client went away is logged as an error of ours:\n%s", text)
	}
}
