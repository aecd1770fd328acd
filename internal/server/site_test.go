package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/audit"
	"github.com/iamd-dev/iamd/internal/authz"
	"github.com/iamd-dev/iamd/internal/aws/iam"
	"github.com/iamd-dev/iamd/internal/aws/organizations"
	"github.com/iamd-dev/iamd/internal/aws/s3"
	"github.com/iamd-dev/iamd/internal/aws/sts"
	"github.com/iamd-dev/iamd/internal/data"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/outbound"
	"github.com/iamd-dev/iamd/internal/server"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/sigv4"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/webidentity"
	"github.com/iamd-dev/iamd/internal/wire"
)

// The accounts of a site.
const (
	ours   = "111122223333"
	theirs = "444455556666"
)

// A site is a whole server that a test may break: it reaches into the parts that
// the package awstest hides, and speaks to it without an SDK between.
type site struct {
	t       testing.TB
	dir     string
	url     string
	db      *store.DB
	changes *changes // of db
	keyring *identity.Keyring
	audit   *audit.Log
	server  *server.Server
	logged  *lines
	probe   *probe
	roots   map[string]actor
}

// open opens a site; change, if not nil, sees the configuration before the server does.
func open(t testing.TB, change func(*server.Config)) *site {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := context.Background()
	h := &site{t: t, dir: t.TempDir(), logged: &lines{}, probe: &probe{}, roots: map[string]actor{}}
	vault, err := identity.NewVault(make([]byte, 32))
	must(err)
	h.keyring = identity.NewKeyring(vault)
	h.changes = &changes{Log: store.NewMemory()}
	h.db, err = store.Open(ctx, h.changes)
	must(err)
	must(h.keyring.Rotate(ctx, h.db, time.Now()))
	keys, err := identity.EnsureAccounts(ctx, h.db, h.keyring, []string{ours, theirs}, nil, time.Now())
	must(err)
	for _, k := range keys {
		h.roots[k.Account] = actor{k.ID, k.Secret.Reveal(), ""}
	}
	objects, err := data.Open(filepath.Join(h.dir, "s3"))
	must(err)
	h.audit, err = audit.Open(h.auditDir(), audit.Options{})
	must(err)
	decisions, err := audit.OpenDecisions(filepath.Join(h.dir, "decisions"))
	must(err)
	buckets, err := s3.New(h.db, objects)
	must(err)
	issuers := &webidentity.Issuers{}
	issuer := &outbound.Issuer{DB: h.db, Vault: vault, Base: "http://127.0.0.1:4600"}
	must(issuer.Rotate(ctx, time.Now(), false))
	cfg := server.Config{
		DB: h.db, Keyring: h.keyring, Audit: h.audit, Decisions: decisions,
		Services: []*service.Service{
			(&iam.Service{DB: h.db, Keyring: h.keyring, Issuers: issuers, Issuer: issuer}).AWS(),
			(&sts.Service{DB: h.db, Keyring: h.keyring, Managed: authz.Managed, Issuers: issuers, Issuer: issuer}).AWS(),
			(&organizations.Service{DB: h.db, NewRole: iam.NewOrganizationRole}).AWS(),
			buckets.AWS(),
			h.probe.aws(),
		},
		Issuer: issuer,
		Log:    slog.New(slog.NewTextHandler(h.logged, nil)),
		Hosts:  []string{"localhost"},
	}
	if change != nil {
		change(&cfg)
	}
	h.server, err = server.New(cfg)
	must(err)
	web := httptest.NewUnstartedServer(h.server)
	web.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	web.Start()
	h.url = web.URL
	t.Cleanup(func() {
		web.Close()
		h.server.Close()
		h.audit.Close()
		decisions.Close()
		objects.Close()
		h.db.Close()
	})
	return h
}

func (h *site) auditDir() string { return filepath.Join(h.dir, "audit") }

// changes counts the changes of the state that calls have asked for: the server also
// notes by itself, and later, who called what.
type changes struct {
	store.Log
	n atomic.Int64
}

func (c *changes) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (int64, error) {
	asked := func(w store.Write) bool {
		table, _, _ := strings.Cut(w.Key, "/")
		return table != identity.LastUsed.Name() && table != identity.Accessed.Name()
	}
	revision, err := c.Log.Commit(ctx, checks, writes)
	if err == nil && slices.ContainsFunc(writes, asked) {
		c.n.Add(1)
	}
	return revision, err
}

// lines keeps what is logged.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// An actor is whoever has the credentials; the zero actor is anonymous.
type actor struct{ id, secret, token string }

// A reply is an answer of the server.
type reply struct {
	status    int
	code      string // of an error
	message   string
	requestID string
	header    http.Header
	body      string
}

// do signs the request, unless the actor is anonymous, and sends it.
func (h *site) do(a actor, service string, r *http.Request, body []byte) reply {
	h.t.Helper()
	if a.id != "" {
		sign(a, service, r, string(body), time.Now())
	}
	return h.send(r)
}

// sign signs a request as of a time.
func sign(a actor, service string, r *http.Request, body string, at time.Time) {
	signer := sigv4.Signer{AccessKeyID: a.id, SecretAccessKey: a.secret, SessionToken: a.token, Region: "us-east-1", Service: service}
	signer.Sign(r, sigv4.Hash([]byte(body)), at)
}

func (h *site) send(r *http.Request) reply {
	h.t.Helper()
	w, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		h.t.Errorf("%s %s: %v", r.Method, r.URL, err)
		return reply{}
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	if err != nil {
		h.t.Errorf("%s %s: reading the answer: %v", r.Method, r.URL, err)
	}
	return replyOf(w.StatusCode, w.Header, string(text))
}

var (
	codeElement    = regexp.MustCompile(`<Code>([^<]*)</Code>`)
	messageElement = regexp.MustCompile(`<Message>([^<]*)</Message>`)
)

func replyOf(status int, header http.Header, body string) reply {
	a := reply{status: status, header: header, body: body}
	a.requestID = header.Get("X-Amzn-Requestid") + header.Get("X-Amz-Request-Id")
	if status >= 300 {
		if m := codeElement.FindStringSubmatch(body); m != nil {
			a.code = m[1]
		} else {
			a.code = header.Get("X-Amzn-Errortype")
		}
		if m := messageElement.FindStringSubmatch(body); m != nil {
			a.message = m[1]
		}
	}
	return a
}

// versions are those of the Query services.
var versions = map[string]string{"iam": "2010-05-08", "sts": "2011-06-15", "probe": "2026-01-01"}

// query calls an operation of a Query service. Parameters are NAME, VALUE, ...
func (h *site) query(a actor, service, action string, parameters ...string) reply {
	h.t.Helper()
	form := url.Values{"Action": {action}, "Version": {versions[service]}}
	for i := 0; i < len(parameters); i += 2 {
		form.Set(parameters[i], parameters[i+1])
	}
	return h.form(a, service, form.Encode())
}

func (h *site) form(a actor, service, body string) reply {
	h.t.Helper()
	r := h.request("POST", "/", body)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	return h.do(a, service, r, []byte(body))
}

// target calls an operation of a JSON service.
func (h *site) target(a actor, m *wire.Model, operation, body string) reply {
	h.t.Helper()
	r := h.request("POST", "/", body)
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", m.TargetPrefix+"."+operation)
	answer := h.do(a, m.SigningName, r, []byte(body))
	if answer.status != 200 {
		var e struct {
			Type    string `json:"__type"`
			Message string
		}
		if err := json.Unmarshal([]byte(answer.body), &e); err != nil {
			h.t.Errorf("the error is no JSON: %v\n%s", err, answer.body)
		}
		answer.code, answer.message = e.Type, e.Message
	}
	return answer
}

// s3 makes a call of S3. Headers are NAME, VALUE, ...
func (h *site) s3(a actor, method, target, body string, headers ...string) reply {
	h.t.Helper()
	r := h.request(method, target, body)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return h.do(a, "s3", r, []byte(body))
}

func (h *site) request(method, target, body string) *http.Request {
	h.t.Helper()
	r, err := http.NewRequest(method, h.url+target, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

// well ends the test unless the call went well.
func (h *site) well(a reply) reply {
	h.t.Helper()
	if a.status < 200 || a.status > 299 {
		h.t.Fatalf("refused: %d %s: %s\n%s", a.status, a.code, a.message, a.body)
	}
	return a
}

// refused fails the test unless the call was answered by this error.
func (h *site) refused(a reply, status int, code string) {
	h.t.Helper()
	if a.status != status || a.code != code {
		h.t.Errorf("answered %d %q, not %d %q\n%s", a.status, a.code, status, code, a.body)
	}
	if a.requestID == "" {
		h.t.Errorf("the refusal %d %s has no request id", a.status, a.code)
	}
}

// element is the text of the first element of the name.
func (a reply) element(name string) string {
	_, text, _ := strings.Cut(a.body, "<"+name+">")
	text, _, _ = strings.Cut(text, "</"+name+">")
	return text
}

// user makes a user with an access key and an inline policy, "" for none.
func (h *site) user(account, name, document string) actor {
	h.t.Helper()
	root := h.roots[account]
	h.well(h.query(root, "iam", "CreateUser", "UserName", name))
	if document != "" {
		h.well(h.query(root, "iam", "PutUserPolicy", "UserName", name, "PolicyName", "p", "PolicyDocument", document))
	}
	key := h.well(h.query(root, "iam", "CreateAccessKey", "UserName", name))
	return actor{key.element("AccessKeyId"), key.element("SecretAccessKey"), ""}
}

// assume assumes a role.
func (h *site) assume(a actor, role, session string, parameters ...string) (actor, reply) {
	h.t.Helper()
	answer := h.query(a, "sts", "AssumeRole", append([]string{"RoleArn", role, "RoleSessionName", session}, parameters...)...)
	return actor{answer.element("AccessKeyId"), answer.element("SecretAccessKey"), answer.element("SessionToken")}, answer
}

func allow(action, resource string) string {
	return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"` + action + `","Resource":"` + resource + `"}}`
}

func trust(principal string) string {
	return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":["sts:AssumeRole","sts:TagSession"]}}`
}

// A record is an audit record as it was written.
type record struct {
	audit.Entry
	text string
}

// records are the audit records of a request, the first written first.
func (h *site) records(requestID string) []record {
	h.t.Helper()
	if err := h.audit.Flush(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	return h.written(requestID)
}

// written are the records that are in the file now.
func (h *site) written(requestID string) []record {
	h.t.Helper()
	var all []record
	for e, err := range audit.Read(h.auditDir(), audit.Filter{RequestID: requestID}) {
		if err != nil {
			h.t.Fatal(err)
		}
		all = append(all, record{*e, string(e.Raw)})
	}
	slices.Reverse(all)
	return all
}

// member is a member of the record, by names.
func (r record) member(t testing.TB, path ...string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(r.text), &v); err != nil {
		t.Fatal(err)
	}
	for _, name := range path {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}

// A probe is a service whose handlers are the test's: to see what has happened
// when one is called, and to let it fail in any way.
type probe struct {
	mu   sync.Mutex
	f    func(*service.Call) error
	done int // how often a handler was called
}

type (
	CreateThingInput  struct{ Name string }
	CreateThingOutput struct{ Name string }
	GetThingInput     struct{ Name string }
	GetThingOutput    struct{ Name string }
	RemoveAllInput    struct{ Name string }
	RemoveAllOutput   struct{ Name string }
	PaintThingInput   struct{ Name string }
)

// set sets what the handlers do from now on.
func (p *probe) set(f func(*service.Call) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.f, p.done = f, 0
}

func (p *probe) calls() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

func (p *probe) call(c *service.Call) error {
	p.mu.Lock()
	p.done++
	f := p.f
	p.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(c)
}

func (p *probe) aws() *service.Service {
	m := &wire.Model{Name: "probe", SigningName: "probe", ServiceID: "Probe", Version: versions["probe"], Namespace: "urn:probe", Protocol: wire.Query,
		Operations: []wire.Operation{
			{Name: "CreateThing", Method: "POST", URI: "/", In: wire.Type[CreateThingInput](), Out: wire.Type[CreateThingOutput](), ResultWrapper: "CreateThingResult"},
			{Name: "GetThing", Method: "POST", URI: "/", In: wire.Type[GetThingInput](), Out: wire.Type[GetThingOutput](), ResultWrapper: "GetThingResult"},
			{Name: "PaintThing", Method: "POST", URI: "/", In: wire.Type[PaintThingInput]()},
			{Name: "RemoveAll", Method: "POST", URI: "/", In: wire.Type[RemoveAllInput](), Out: wire.Type[RemoveAllOutput](), ResultWrapper: "RemoveAllResult"},
		}}
	thing := service.ARN("arn:aws:probe::{account}:thing/{Name}")
	return service.New(m, "PaintThing probe:PaintThing nobody paints here",
		service.Handle(func(_ context.Context, c *service.Call, in *CreateThingInput) (*CreateThingOutput, error) {
			return &CreateThingOutput{in.Name}, p.call(c)
		}, thing),
		service.Handle(func(_ context.Context, c *service.Call, in *GetThingInput) (*GetThingOutput, error) {
			return &GetThingOutput{in.Name}, p.call(c)
		}, thing),
		service.Handle(func(_ context.Context, c *service.Call, in *RemoveAllInput) (*RemoveAllOutput, error) {
			return &RemoveAllOutput{in.Name}, p.call(c)
		}, service.On(func(*service.Call, *RemoveAllInput) []service.Target { return nil }), service.PerItem),
	)
}
