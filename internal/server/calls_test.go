package server_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	iamapi "github.com/iamd-dev/iamd/internal/aws/iam/api"
	orgapi "github.com/iamd-dev/iamd/internal/aws/organizations/api"
	stsapi "github.com/iamd-dev/iamd/internal/aws/sts/api"
	"github.com/iamd-dev/iamd/internal/wire"
)

// Calls of all operations that are nearly right: what they name is there or could be,
// some of it is junk, some is missing. Whoever makes them, the server answers in AWS's
// form, never with a fault of ours, and a call that is refused changes nothing.

func FuzzCalls(f *testing.F) {
	for i, junk := range []string{"", "a", "!", "%00", "\xff", "&Action=ListUsers", "{}", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*"`, strings.Repeat("../", 50),
		"arn:aws:iam::111122223333:role/", "arn:aws:iam::aws:policy/AdministratorAccess", "AKIAIOSFODNN7EXAMPLE", "-1", "2147483648", "<a>]]>", "é\u2028🙂", "${aws:username}", "*"} {
		f.Add(uint64(i), uint8(i), junk)
	}
	c := &caller{tb: &throughout{TB: f}}
	f.Cleanup(c.tb.end)
	f.Fuzz(func(t *testing.T, seed uint64, who uint8, junk string) { c.call(t, seed, int(who), junk) })
}

func TestRandomCalls(t *testing.T) {
	t.Parallel()
	c := &caller{tb: &throughout{TB: t}}
	t.Cleanup(c.tb.end)
	done := 0
	for seed := range uint64(600) {
		if c.call(t, seed, int(seed%4), []string{"", "junk", "a/b", "\u2028"}[seed/4%4]) {
			done++
		}
	}
	// That they are nearly right is the point of them.
	if done < 60 {
		t.Errorf("of 600 calls only %d went well", done)
	}
}

// throughout is a test whose sites outlive one call and end before the test does. What
// belongs to a testing.F may not be asked for between its calls.
type throughout struct {
	testing.TB
	ends []func()
}

func (t *throughout) Helper() {}

func (t *throughout) Cleanup(f func()) { t.ends = append(t.ends, f) }

func (t *throughout) TempDir() string {
	dir, err := os.MkdirTemp("", "calls")
	if err != nil {
		panic(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// end ends the site that there is.
func (t *throughout) end() {
	for _, f := range slices.Backward(t.ends) {
		f()
	}
	t.ends = nil
}

// A caller makes calls at a site that it makes anew when it is worn out.
type caller struct {
	tb     *throughout
	h      *site
	actors []actor // root, a user who may do everything, one who may little, a session
	calls  int
	ids    map[string][]string // of what is in the organisation, by the members that may mean it
}

func (c *caller) open() {
	c.tb.end()
	h := open(c.tb, nil)
	root := h.roots[ours]
	admin := h.user(ours, "admin", allow("*", "*"))
	limited := h.user(ours, "limited", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":["iam:Get*","iam:Create*","iam:Tag*","sts:*"],"Resource":"*"},
		{"Effect":"Deny","Action":"iam:*","Resource":"arn:aws:iam::*:user/alice"}]}`)
	h.user(ours, "alice", "")
	for _, call := range [][]string{
		{"CreateRole", "RoleName", "r", "AssumeRolePolicyDocument", trust(ours)},
		{"CreateRole", "RoleName", "session", "AssumeRolePolicyDocument", trust(ours)},
		{"PutRolePolicy", "RoleName", "session", "PolicyName", "p", "PolicyDocument", allow("*", "*")},
		{"CreateGroup", "GroupName", "g"},
		{"AddUserToGroup", "GroupName", "g", "UserName", "alice"},
		{"CreatePolicy", "PolicyName", "p", "PolicyDocument", allow("s3:*", "*")},
		{"AttachUserPolicy", "UserName", "alice", "PolicyArn", "arn:aws:iam::" + ours + ":policy/p"},
		{"CreateInstanceProfile", "InstanceProfileName", "i"},
		{"AddRoleToInstanceProfile", "InstanceProfileName", "i", "RoleName", "r"},
	} {
		h.well(h.query(root, "iam", call[0], call[1:]...))
	}
	manage := func(operation, body string) string {
		a := h.well(h.target(root, orgapi.Model, operation, body))
		id := regexp.MustCompile(`"Id":"((?:r|ou|p)-[^"]+)"`).FindStringSubmatch(a.body)
		if id == nil {
			return ""
		}
		return id[1]
	}
	manage("CreateOrganization", `{}`)
	rootID := manage("ListRoots", `{}`)
	unit := manage("CreateOrganizationalUnit", `{"ParentId":"`+rootID+`","Name":"unit"}`)
	manage("EnablePolicyType", `{"RootId":"`+rootID+`","PolicyType":"SERVICE_CONTROL_POLICY"}`)
	scp, err := json.Marshal(map[string]string{"Name": "scp", "Description": "", "Type": "SERVICE_CONTROL_POLICY", "Content": allow("*", "*")})
	if err != nil {
		c.tb.Fatal(err)
	}
	policy := manage("CreatePolicy", string(scp))
	c.ids = map[string][]string{"ParentId": {rootID, unit}, "OrganizationalUnitId": {unit}, "RootId": {rootID}, "TargetId": {unit, ours, rootID}, "PolicyId": {policy, "p-FullAWSAccess"},
		"AccountId": {ours, theirs}, "ChildId": {ours, unit}, "SourceParentId": {rootID, unit}, "DestinationParentId": {unit, rootID}, "ResourceId": {unit, policy, ours},
		"Content": {allow("*", "*"), allow("s3:*", "*")}, "ServicePrincipal": {"config.amazonaws.com"}}
	session, answer := h.assume(admin, "arn:aws:iam::"+ours+":role/session", "s1")
	h.well(answer)
	c.h, c.actors, c.calls = h, []actor{root, admin, limited, session}, 0
	h.watch(c.actors...)
}

// call makes one call and looks at the answer. It reports whether the call went well.
func (c *caller) call(t *testing.T, seed uint64, who int, junk string) bool {
	if c.calls++; c.h == nil || c.calls > 2000 {
		c.open()
	}
	h := *c.h
	h.t = t
	m, op, body := nearlyRight(rand.New(rand.NewPCG(seed, uint64(len(junk)))), junk, c.ids)
	before, logged := h.changes.n.Load(), len(h.logged.String())
	r := h.request("POST", "/", body)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if m.Protocol != wire.Query {
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		r.Header.Set("X-Amz-Target", m.TargetPrefix+"."+op)
	}
	sign(c.actors[who%len(c.actors)], m.SigningName, r, body, time.Now())
	a := h.from("127.0.0.1:1", r)

	if a.status >= 500 && a.status != 501 && a.status != 503 || strings.Contains(h.logged.String()[logged:], "level=ERROR") {
		t.Errorf("a fault of ours: %d %s\n%s\n%s", a.status, a.body, body, h.logged.String()[logged:])
	}
	well := a.status == 200
	if m.Protocol == wire.Query {
		if err := isAnswer(a); err != nil {
			t.Errorf("%v:\n%s\n%s", err, a.body, body)
		}
	} else {
		var document struct {
			Type string `json:"__type"`
		}
		if err := json.Unmarshal([]byte(a.body), &document); a.requestID == "" || err != nil && !(well && a.body == "") {
			t.Errorf("the answer is not JSON, or has no request id: %v, %q\n%s %s", err, a.body, op, body)
		}
		a.code = document.Type
	}
	if !well && a.code == "" {
		t.Errorf("an error without a code: %d %s\n%s", a.status, a.body, body)
	}
	if h.changes.n.Load() != before && !well {
		t.Errorf("refused with %d %s, the call changed the state:\n%s", a.status, a.code, body)
	}
	if a.code == "InvalidClientTokenId" || a.code == "UnrecognizedClientException" { // a call that went well has made an actor nobody
		c.calls = 1 << 20
	}
	return well
}

// isAnswer says what a document of the Query protocol lacks.
func isAnswer(a reply) error {
	for d := xml.NewDecoder(strings.NewReader(a.body)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("the answer is not XML: %w", err)
		}
	}
	if id := a.element("RequestId"); id == "" || id != a.requestID {
		return fmt.Errorf("the request id is %q in the header and %q in the document", a.requestID, id)
	}
	return nil
}

var words = []string{"alice", "limited", "bob", "r", "session", "g", "p", "i", "x", "ALICE", "v1", "v2", "/", "/a/", "Active", "Inactive", "123456", "111122223333", "https://127.0.0.1/idp",
	"arn:aws:iam::111122223333:user/alice", "arn:aws:iam::111122223333:role/r", "arn:aws:iam::111122223333:policy/p", "arn:aws:iam::aws:policy/ReadOnlyAccess", "arn:aws:iam::444455556666:role/r",
	"arn:aws:iam::111122223333:mfa/x", "arn:aws:iam::111122223333:oidc-provider/127.0.0.1/idp", "arn:aws:iam::111122223333:saml-provider/x", "arn:aws:s3:::b/k", "s3:GetObject", "iam:PassRole", "batch.amazonaws.com",
	"AKIAIOSFODNN7EXAMPLE", "AROAAAAAAAAAAAAAAAAAA", allow("s3:*", "*"), trust(ours), trust("*"), `{"Version":"2012-10-17","Statement":[]}`,
	`{"Version":"2012-10-17","Statement":{"Effect":"Deny","NotAction":"iam:*","NotResource":"*","Condition":{"StringLike":{"aws:username":["a*",""]}}}}`}

// named are what members of a name are likely to mean.
var named = map[string][]string{
	"UserName": {"alice", "limited", "bob"}, "NewUserName": {"bob", "Alice"}, "RoleName": {"r", "new-role"}, "GroupName": {"g", "h"}, "NewGroupName": {"h", "G"},
	"InstanceProfileName": {"i", "j"}, "PolicyName": {"p", "q"}, "PolicyArn": {"arn:aws:iam::" + ours + ":policy/p", "arn:aws:iam::aws:policy/ReadOnlyAccess"},
	"PermissionsBoundary": {"arn:aws:iam::" + ours + ":policy/p"}, "PolicyDocument": {allow("s3:*", "*"), trust(ours)}, "AssumeRolePolicyDocument": {trust(ours)},
	"RoleArn": {"arn:aws:iam::" + ours + ":role/session", "arn:aws:iam::" + ours + ":role/r"}, "VersionId": {"v1", "v2"}, "Path": {"/", "/a/b/"}, "Policy": {allow("*", "*")},
	"Url": {"https://127.0.0.1/idp", "https://127.0.0.1"}, "PolicySourceArn": {"arn:aws:iam::" + ours + ":user/alice", "arn:aws:iam::" + ours + ":role/r"},
}

// nearlyRight makes the body of a call of one of all operations.
func nearlyRight(rnd *rand.Rand, junk string, ids map[string][]string) (m *wire.Model, operation, body string) {
	switch rnd.IntN(8) {
	case 0:
		m = stsapi.Model
	case 1, 2:
		m = orgapi.Model
	default:
		m = iamapi.Model
	}
	op := m.Operations[rnd.IntN(len(m.Operations))]
	form := url.Values{"Action": {op.Name}, "Version": {m.Version}}
	w := &writer{rnd, junk, ids, form, rnd.IntN(2) == 0}
	w.structure("", op.In, 0)
	body = form.Encode()
	if m.Protocol != wire.Query {
		text, err := json.Marshal(asJSON(form, "", op.In))
		if err != nil {
			panic(err) // of maps, lists and texts
		}
		body = string(text)
	}
	if !w.odd {
		return m, op.Name, body
	}
	switch at := rnd.IntN(len(body)); rnd.IntN(12) {
	case 0:
		body = body[:at] + junk + body[at:]
	case 1:
		body = body[:at]
	case 2:
		body = body[at:] + "&" + body[:at]
	case 3:
		body += "&" + body
	case 4:
		body += "&" + url.QueryEscape(junk) + "=" + junk
	}
	return m, op.Name, body
}

// A writer writes the members of an input into a form.
type writer struct {
	*rand.Rand
	junk string
	ids  map[string][]string
	form url.Values
	odd  bool // writes junk, too
}

// oddly is true once in n times, in an odd call.
func (w *writer) oddly(n int) bool { return w.odd && w.IntN(n) == 0 }

func (w *writer) structure(path string, t reflect.Type, depth int) {
	for f := range t.Fields() {
		name, required := onWire(f)
		if required && !w.oddly(15) || !required && w.IntN(4) == 0 {
			w.member(path+name, f.Name, f.Type, f.Tag, depth)
		}
	}
}

func (w *writer) member(path, name string, t reflect.Type, tag reflect.StructTag, depth int) {
	t = plain(t)
	if w.oddly(20) {
		w.form.Set(path, w.word()) // whatever it is
		return
	}
	switch {
	case depth > 4:
	case t == reflect.TypeFor[time.Time]():
		w.form.Set(path, w.one("2026-01-02T03:04:05Z", "2026-13-02", "0"))
	case t.Kind() == reflect.Struct:
		w.structure(path+".", t, depth+1)
	case isBlob(t):
		w.form.Set(path, w.one("YWJj", "", "YQ=="))
	case t.Kind() == reflect.Slice:
		n := 1 + w.IntN(3)
		if w.oddly(15) {
			n = 60 * w.IntN(2)
		}
		for i := range n {
			if w.oddly(25) {
				i = w.IntN(1 << 30)
			}
			element := fmt.Sprintf("%s.member.%d", path, i+1)
			if e := plain(t.Elem()); e.Kind() == reflect.Struct {
				w.structure(element+".", e, depth+1)
			} else {
				w.text(element, name, demandsOf(tag, "e"))
			}
		}
	case t.Kind() == reflect.Map:
		w.form.Set(path+".entry.1.key", w.word())
		w.form.Set(path+".entry.1.value", w.word())
	case t.Kind() == reflect.Bool:
		w.form.Set(path, w.one("true", "false", "TRUE"))
	case t.Kind() == reflect.String:
		w.text(path, name, demandsOf(tag, ""))
	default:
		d := demandsOf(tag, "")
		n := d.min
		if d.hasMax && d.max > d.min {
			n += w.Int64N(d.max - d.min + 1)
		}
		w.form.Set(path, strconv.FormatInt(n, 10))
		if w.oddly(4) {
			w.form.Set(path, w.one("-1", strconv.FormatInt(d.max+1, 10), w.junk))
		}
	}
}

// text is likely what the name says, or what the model wants, or anything.
func (w *writer) text(path, name string, d demands) {
	s, _ := d.text(-1)
	if d.enum != nil {
		s = d.enum[w.IntN(len(d.enum))]
	}
	likely := named[name]
	if likely == nil {
		likely = w.ids[name]
	}
	if likely != nil && w.IntN(5) > 0 {
		s = likely[w.IntN(len(likely))]
	}
	switch {
	case w.oddly(8):
		s = w.word()
	case w.oddly(8):
		s = w.junk
	case w.oddly(8):
		at := w.IntN(len(s) + 1)
		s = s[:at] + w.junk + s[at:]
	}
	w.form.Set(path, s)
}

func (w *writer) word() string { return words[w.IntN(len(words))] }

func (w *writer) one(of ...string) string { return of[w.IntN(len(of))] }
