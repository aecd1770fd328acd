// Package service says what an AWS service is to iamd: one table of operations,
// in which each row is a typed handler together with the permission that calling
// it needs.
//
//	service.New(api.Model, declined,
//		//             operation           on        and
//		service.Handle(s.createUser,       newUser,  boundary, service.Tags("Tags")),
//		service.Handle(s.getUser,          user),
//		service.Handle(s.attachUserPolicy, user,     policyARN),
//	)
//
// The name of an operation is that of its input's type, and its action is the
// service's prefix and that name unless a clause says otherwise. A row without a
// permission cannot be written, except by the word Open, which stands for an
// operation that AWS lets every authenticated caller make. What may be called
// without a signature is a word in the table, too: By, with the function that finds
// in the input who calls. An operation of the
// model that has no row must stand in the service's declined.txt with a reason;
// it is authorised like any other and then answers NotImplemented.
//
// The words: a Need is one permission that a row asks for; a Check is a need
// applied to one call and one resource; a Resource finds what a call is about; an
// Object is what authorisation may know of an existing resource (its account,
// policy and tags). Fields that a row names are looked up when the service is
// built, so a mistake in a table stops the server from starting.
package service

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
	"github.com/iamd-dev/iamd/policy"
)

// A Call is what a handler may know of the one who calls and of the call.
type Call struct {
	Account   string // the caller's; the resource's may be another
	Caller    *identity.Caller
	State     *store.Snapshot // one state for the whole call
	Time      time.Time
	RequestID string
	Region    string
	Source    Source
	MFA       time.Time // when a code of an MFA device that came with the call was accepted; zero without one
	Body      []byte    // of the request, verified, for rows that answer with an Answer; nil for streams and for calls made inside
	Skimmed   bool      // the input lacks what Body has and Whole fills in

	// Unknown is set by a condition key's function that could not find its value out: a
	// decision that asked for it does not hold, and this is the answer.
	Unknown error

	// Of calls made inside, by services: see Invoker.
	Via []string // the service principals through which the caller's access was forwarded, the first first
	For arn.ARN  // the resource for which a service principal acts
	// Parent is the request id of the call for which this one is made. A handler that finds it
	// out, because an agent fetches or answers what that call has sent, sets it for the record.
	Parent string

	// Authorize decides one more permission, for answers that differ by item. It
	// returns nil or the refusal to answer with; either is recorded. Pairs are the
	// condition keys of the item.
	Authorize func(policy.Action, arn.ARN, ...Pair) error
}

// Whole is the input with all that the request had: in itself, unless it was skimmed.
func (c *Call) Whole(in any) (any, error) {
	if !c.Skimmed {
		return in, nil
	}
	whole := reflect.New(reflect.TypeOf(in).Elem()).Interface()
	if err := wire.ReadJSON(c.Body, whole); err != nil {
		return nil, err
	}
	return whole, nil
}

// May reports whether the caller has one more permission.
func (c *Call) May(action policy.Action, resource arn.ARN) bool {
	return c.Authorize(action, resource) == nil
}

// A Source is where a call came from, as far as it can be trusted.
type Source struct {
	IP        netip.Addr // the peer, or the client behind a configured proxy
	Secure    bool       // the peer speaks TLS
	UserAgent string
	Referer   string
	Host      string // that the caller used
	TLS       string // version of TLS between the peer and us, "1.3"; "" without, and behind a proxy
	Presigned bool   // authenticated by the query string
	SignedAt  time.Time
	Headers   func(name string) string // the request's, of S3; nil for the others and outside HTTP
}

// Endpoint is the scheme and host that the caller used.
func (s *Source) Endpoint() string {
	if s.Secure {
		return "https://" + s.Host
	}
	return "http://" + s.Host
}

// A Target is one resource that a call is about.
type Target struct {
	ARN  arn.ARN // "*" for actions without resource-level permissions
	Text string  // what a refusal calls it, where AWS does not print the ARN: "user alice"
	New  bool    // to be made: whether it exists, and whose it is, does not bear on the decision
	Home bool    // decided by the caller's account alone, whatever account the ARN names: what an organisation's members share
}

// An Object is what authorisation may know of an existing resource.
type Object struct {
	Account string            // the owner; "" for the account in the ARN
	Policy  identity.Document // its resource-based policy that bears on the action; zero when it has none
	Trust   bool              // the policy is a role's trust policy: no permission without its consent
	Mending bool              // the action mends Policy itself: it does not bind the owner's root user
	Tag     func(key string) (string, bool)
	TagKeys []string // for the explanation
	Missing error    // what every caller is told where AWS says so before it decides (NoSuchBucket)
}

// Tagged is an object with tags, whose keys conditions name without regard to case.
func Tagged[T any](tags []T, pair func(T) (key, value string)) Object {
	if len(tags) == 0 {
		return Object{}
	}
	o := Object{Tag: func(wanted string) (string, bool) {
		for _, t := range tags {
			if key, value := pair(t); strings.EqualFold(key, wanted) {
				return value, true
			}
		}
		return "", false
	}}
	for _, t := range tags {
		key, _ := pair(t)
		o.TagKeys = append(o.TagKeys, key)
	}
	return o
}

// A Resource finds what a call is about, given the type of the operation's input.
type Resource func(in reflect.Type) func(*Call, any) []Target

// Any is the resource of actions without resource-level permissions.
func Any(reflect.Type) func(*Call, any) []Target {
	all := []Target{{ARN: "*"}}
	return func(*Call, any) []Target { return all }
}

// ARN is a resource given by a template over the input's fields, as
// "arn:aws:s3:::{Bucket}/{Key}"; {account} and {region} are the call's.
func ARN(template string) Resource {
	return func(in reflect.Type) func(*Call, any) []Target {
		t := parseTemplate(in, template)
		return func(c *Call, in any) []Target {
			text, _ := t.expand(c, in)
			return []Target{{ARN: arn.ARN(text)}}
		}
	}
}

// On is a resource found by a function.
func On[In any](f func(*Call, *In) []Target) Resource {
	return func(in reflect.Type) func(*Call, any) []Target {
		mustTake[In](in, "a resource")
		return func(c *Call, in any) []Target { return f(c, in.(*In)) }
	}
}

// mustTake stops the building of a table that gives an operation what is for another's input.
func mustTake[In any](in reflect.Type, what string) {
	if want := reflect.TypeFor[In](); in != want {
		panic(fmt.Sprintf("service: %s of %v is given to an operation on %v", what, want, in))
	}
}

// A Need is one permission that an operation asks for.
type Need struct {
	Action  policy.Action
	bare    bool
	perItem bool
	on      func(*Call, any) []Target
	keys    []key
	tags    func(*Call, any) []KeyValue
	when    func(*Call, any) bool
}

// Keys returns the names of the condition keys that the need gives values to.
func (n *Need) Keys() []string {
	var names []string
	for _, k := range n.keys {
		names = append(names, k.name)
	}
	if n.tags != nil {
		names = append(names, "aws:RequestTag/${TagKey}", "aws:TagKeys")
	}
	return names
}

type key struct {
	name  string // as AWS writes it
	lower string
	value func(*Call, any) (policy.Value, bool)
}

// A KeyValue is a tag as a request gives it.
type KeyValue struct{ Key, Value string }

// A Pair is a condition key and its value in a call.
type Pair struct {
	Name  string // as AWS writes it
	Key   string // in lower case
	Value policy.Value
}

// Is makes the pair of a single-valued condition key, named as AWS writes it.
func Is(name, value string) Pair { return Pair{name, strings.ToLower(name), policy.String(value)} }

// A Check is a need applied to one call and one resource.
type Check struct {
	Action policy.Action
	Target
	Pairs []Pair     // keys of this operation that are present
	Tags  []KeyValue // tags in the request
	In    any        // the operation's input; nil for what a handler asks with Authorize
	Bare  bool       // its refusal says no reason
}

// An Op is an operation of a service: a row of its table.
type Op struct {
	Name     string
	Service  *Service
	Wire     *wire.Operation
	Needs    []*Need // the first is the operation's own; none only for Open
	Declined string  // why it is not implemented; "" when it is

	do     func(context.Context, *Call, any) (any, error)
	before func(*Call, any) error
	mfa    func(context.Context, *Call, any) error
	by     func(context.Context, *Call, any) (*identity.Caller, error)
	in     reflect.Type
	reads  bool
	issues bool
	data   bool
	guard  bool
	skim   bool
}

// An Answer is what the server behind a Guard row said, which goes to the caller as it is;
// or what a handler says in a form that its protocol has no word for.
type Answer struct {
	Status int          // below 300
	Header []wire.Field // their names as net/http writes them
	Body   []byte

	// Take, in place of all that, answers the request itself: it may take the connection
	// over, for a WebSocket. The call has been decided and recorded.
	Take func(http.ResponseWriter, *http.Request)
}

// Guarded reports whether the operation is carried out by another server, which checks
// the input itself: iamd reads only what it decides by.
func (op *Op) Guarded() bool { return op.guard }

// Skims reports whether the input is read without what few decisions ask for: see Call.Whole.
func (op *Op) Skims() bool { return op.skim }

// TakesInput reports whether the input is read: not that of declined operations without a row.
func (op *Op) TakesInput() bool { return op.in != reflect.TypeFor[none]() }

// New returns an empty input for the operation.
func (op *Op) New() any { return reflect.New(op.in).Interface() }

// Reads reports whether the operation changes nothing: its only effect is its
// answer, which may hold credentials.
func (op *Op) Reads() bool { return op.reads }

// ReadOnly is what CloudTrail calls the operation; GetFederationToken is not, though it only reads.
func (op *Op) ReadOnly() bool { return op.reads && op.Name != "GetFederationToken" }

// PerItem reports whether the handler asks for the permissions, item by item.
func (op *Op) PerItem() bool { return len(op.Needs) > 0 && op.Needs[0].perItem }

// IssuesCredentials reports whether the answer holds credentials.
func (op *Op) IssuesCredentials() bool { return op.issues }

func issues(op *wire.Operation) bool {
	if op.Out == nil {
		return false
	}
	_, ok := op.Out.FieldByName("Credentials")
	return ok
}

// Data reports whether the operation is a data event and not a management event, in CloudTrail's words.
func (op *Op) Data() bool { return op.data }

// Checks returns the permissions that the call asks for.
func (op *Op) Checks(c *Call, in any) []Check { return op.AppendChecks(nil, c, in) }

// AppendChecks is Checks in room that is there already.
func (op *Op) AppendChecks(checks []Check, c *Call, in any) []Check {
	for _, n := range op.Needs {
		if n.when != nil && !n.when(c, in) {
			continue
		}
		var pairs []Pair
		for i := range n.keys {
			k := &n.keys[i]
			if v, ok := k.value(c, in); ok {
				if pairs == nil {
					pairs = make([]Pair, 0, len(n.keys)-i)
				}
				pairs = append(pairs, Pair{k.name, k.lower, v})
			}
		}
		var tags []KeyValue
		if n.tags != nil {
			tags = n.tags(c, in)
		}
		for _, t := range n.on(c, in) {
			checks = append(checks, Check{Action: n.Action, Target: t, Pairs: pairs, Tags: tags, In: in, Bare: n.bare})
		}
	}
	return checks
}

// Before checks of the input what AWS checks before it decides.
func (op *Op) Before(c *Call, in any) error {
	if op.before == nil {
		return nil
	}
	return op.before(c, in)
}

// TellsCaller reports whether the input tells who calls, and no signature does: By.
func (op *Op) TellsCaller() bool { return op.by != nil }

// Authenticate finds the caller in the input of an operation that tells it there, and
// makes it the call's; where that fails, the caller is who they said they were, as far
// as that is known, for the record alone. And it accepts or refuses the code of an MFA
// device that came with the call. It comes after Before, so that no code is spent on
// a call that cannot be, and before the decision, for which both are facts.
func (op *Op) Authenticate(ctx context.Context, c *Call, in any) error {
	if op.by != nil {
		caller, err := op.by(ctx, c, in)
		if caller != nil {
			c.Caller, c.Account = caller, caller.Account
		}
		if err == nil && caller == nil {
			err = fmt.Errorf("%s:%s found no caller", op.Service.Model.Name, op.Name)
		}
		if err != nil {
			return err
		}
	}
	if op.mfa == nil {
		return nil
	}
	return op.mfa(ctx, c, in)
}

// Do calls the handler. Who calls Do has decided and recorded.
func (op *Op) Do(ctx context.Context, c *Call, in any) (any, error) {
	if op.Declined != "" {
		return nil, &wire.Error{Code: "NotImplemented", Status: 501,
			Message: fmt.Sprintf("iamd does not implement %s:%s: %s", op.Service.Model.Name, op.Name, op.Declined)}
	}
	return op.do(ctx, c, in)
}

// A Row is a row of a service's table.
type Row struct {
	in, out reflect.Type
	do      func(context.Context, *Call, any) (any, error)
	before  func(*Call, any) error
	mfa     func(context.Context, *Call, any) error
	by      func(context.Context, *Call, any) (*identity.Caller, error)
	needs   []*Need
	data    bool
	open    bool
	skim    bool

	declined bool
}

// Guard is a row of an operation that is decided and recorded here and carried out by
// another server: pass asks it, and returns its answer, or its error with the document
// that it wrote (wire.Error.Document). The input lacks maps that are sensitive, as in
// wire.SkimJSON, where it comes with a request: who looks for them takes what Call.Whole returns.
func Guard[In any](pass func(context.Context, *Call, string, any) (*Answer, error), on Resource, clauses ...Clause) Row {
	name := strings.TrimSuffix(reflect.TypeFor[In]().Name(), "Input")
	r := Handle(func(ctx context.Context, c *Call, in *In) (*Answer, error) { return pass(ctx, c, name, in) }, on, clauses...)
	r.skim = true
	return r
}

// none is the input of declined operations that have no row, which is not read.
type none struct{}

// Decline is the row of an operation that is decided and recorded as AWS does, and then
// answers NotImplemented, with the reason that stands for it in declined.txt.
func Decline[In any](on Resource, clauses ...Clause) Row {
	r := Handle(func(context.Context, *Call, *In) (*none, error) { return nil, nil }, on, clauses...)
	r.declined = true
	return r
}

// Handle is a row: a handler, the resource that its action is authorised on, and
// what more bears on it.
func Handle[In, Out any](f func(context.Context, *Call, *In) (*Out, error), on Resource, clauses ...Clause) Row {
	r := open(f)
	b := &builder{in: r.in, row: &r, need: &Need{on: on(r.in)}}
	r.needs = append(r.needs, b.need)
	for _, clause := range clauses {
		clause(b)
	}
	return r
}

// Open is the row of an operation that needs a signature but no permission. Clauses
// that say more of a permission have no effect on it.
func Open[In, Out any](f func(context.Context, *Call, *In) (*Out, error), clauses ...Clause) Row {
	r := open(f)
	r.open = true
	b := &builder{in: r.in, row: &r, need: &Need{}}
	for _, clause := range clauses {
		clause(b)
	}
	return r
}

func open[In, Out any](f func(context.Context, *Call, *In) (*Out, error)) Row {
	return Row{
		in:  reflect.TypeFor[In](),
		out: reflect.TypeFor[Out](),
		do: func(ctx context.Context, c *Call, in any) (any, error) {
			out, err := f(ctx, c, in.(*In))
			if err != nil {
				return nil, err
			}
			return out, nil
		},
	}
}

// A Clause adds to a row.
type Clause func(*builder)

type builder struct {
	in   reflect.Type
	row  *Row
	need *Need
}

// Action says the action where it is not the service's prefix and the operation's name.
func Action(a policy.Action) Clause { return func(b *builder) { b.need.Action = a } }

// Key gives a condition key a single value by a template over the input's fields;
// where a field is absent, so is the key.
func Key(name, template string) Clause {
	return func(b *builder) {
		t := parseTemplate(b.in, template)
		b.need.keys = append(b.need.keys, key{name, strings.ToLower(name), func(c *Call, in any) (policy.Value, bool) {
			text, ok := t.expand(c, in)
			return policy.String(text), ok
		}})
	}
}

// KeyOf gives a condition key the value that a function finds.
func KeyOf[In any](name string, f func(*Call, *In) (policy.Value, bool)) Clause {
	return func(b *builder) {
		mustTake[In](b.in, "key "+name)
		b.need.keys = append(b.need.keys, key{name, strings.ToLower(name), func(c *Call, in any) (policy.Value, bool) {
			return f(c, in.(*In))
		}})
	}
}

// Tags gives aws:RequestTag/* and aws:TagKeys from a field that lists tags, or tag keys alone.
func Tags(field string) Clause {
	return func(b *builder) {
		tags := tagsOf(b.in, field)
		b.need.tags = func(_ *Call, in any) []KeyValue { return tags(in) }
	}
}

// TagsOf is Tags where they are not in a field.
func TagsOf[In any](f func(*Call, *In) []KeyValue) Clause {
	return func(b *builder) {
		mustTake[In](b.in, "tags")
		b.need.tags = func(c *Call, in any) []KeyValue { return f(c, in.(*In)) }
	}
}

// Also is a second permission, on a resource of its own or, with on nil, the operation's own resource.
func Also(action policy.Action, on Resource, clauses ...Clause) Clause {
	return func(b *builder) {
		n := &Need{Action: action, on: b.need.on}
		if on != nil {
			n.on = on(b.in)
		}
		b.row.needs = append(b.row.needs, n)
		inner := &builder{in: b.in, row: b.row, need: n}
		for _, clause := range clauses {
			clause(inner)
		}
	}
}

// When makes a permission needed only by calls whose input has the field.
func When(field string) Clause {
	return func(b *builder) {
		get := presentOf(b.in, field)
		b.need.when = func(_ *Call, in any) bool { return get(in) }
	}
}

// Unless makes a permission needed only by calls whose input lacks the field.
func Unless(field string) Clause {
	return func(b *builder) {
		get := presentOf(b.in, field)
		b.need.when = func(_ *Call, in any) bool { return !get(in) }
	}
}

// If makes a permission needed only by calls for which f is true.
func If[In any](f func(*Call, *In) bool) Clause {
	return func(b *builder) {
		mustTake[In](b.in, "a condition")
		b.need.when = func(c *Call, in any) bool { return f(c, in.(*In)) }
	}
}

// Before is what AWS checks of an input before it decides: an error of f is the
// answer, whoever calls. It must not tell what only the permitted may know.
func Before[In any](f func(*Call, *In) error) Clause {
	return func(b *builder) {
		mustTake[In](b.in, "a check")
		b.row.before = func(c *Call, in any) error { return f(c, in.(*In)) }
	}
}

// MFA lets calls prove who makes them with a code of an MFA device, in the fields
// SerialNumber and TokenCode. spend accepts a code, and no code twice; it is asked
// when either field is there, and its error is the answer.
func MFA(spend func(ctx context.Context, c *Call, serial, code string) error) Clause {
	return func(b *builder) {
		serialNumber, tokenCode := fieldOf(b.in, "SerialNumber"), fieldOf(b.in, "TokenCode")
		b.row.mfa = func(ctx context.Context, c *Call, in any) error {
			serial, named := serialNumber(in)
			code, given := tokenCode(in)
			if !named && !given {
				return nil
			}
			if err := spend(ctx, c, serial, code); err != nil {
				return err
			}
			c.MFA = c.Time
			return nil
		}
	}
}

// By is for operations whose caller is told by the input, such as a web identity
// token, and not by a signature: f finds the caller or is the refusal. It may ask
// others, and takes its time from the call. With the refusal it may return who the
// caller claims to be, for the record.
func By[In any](f func(context.Context, *Call, *In) (*identity.Caller, error)) Clause {
	return func(b *builder) {
		mustTake[In](b.in, "a way to tell the caller")
		b.row.by = func(ctx context.Context, c *Call, in any) (*identity.Caller, error) { return f(ctx, c, in.(*In)) }
	}
}

// PerItem is for operations on many things each of which is decided by itself: the
// handler asks for each with Call.Authorize, and does nothing that it has not asked.
func PerItem(b *builder) { b.need.perItem = true }

// Bare is for operations whose refusals say no reason: sts:AssumeRole.
func Bare(b *builder) { b.need.bare = true }

// Data marks a data event: one whose audit record is of the data category.
func Data(b *builder) { b.row.data = true }

// A Service is a table of operations and what authorisation asks of the service.
type Service struct {
	Model *wire.Model

	// Object finds a resource of this service. nil: it has no policies or tags.
	Object func(*store.Snapshot, policy.Action, arn.ARN) Object
	// Key gives the service's own condition keys, in lower case, that every operation
	// has, and those of families such as s3:ExistingObjectTag/*, when a condition asks
	// for them. nil: none.
	Key func(c *Call, check *Check, on *Object, key string) (policy.Value, bool)
	// MaxBody is the largest body of a call that is read whole; 0: a mebibyte.
	MaxBody int64
	// Anonymous admits calls without a signature to the decision.
	Anonymous bool
	// Quoted refusals print the resource in quotation marks, and a reason only to
	// callers of the resource's account.
	Quoted bool

	ops map[string]*Op
}

// New builds a service. declined has a line for each operation of the model that
// has no row, or one made by Decline: its name, the action that it is authorised as where
// that is not named like it ("s3:PutLifecycleConfiguration") and no row says it, the reason;
// lines that begin with # are comments. An operation without a row is authorised on "*". It panics when the table is not complete or says something twice.
func New(m *wire.Model, declined string, rows ...Row) *Service {
	s := &Service{Model: m, ops: map[string]*Op{}}
	fail := func(format string, args ...any) {
		panic("service " + m.Name + ": " + fmt.Sprintf(format, args...))
	}
	add := func(name string, row Row, reason string) {
		w := m.Operation(name)
		if w == nil {
			fail("the model has no operation %s", name)
		}
		if s.ops[name] != nil {
			fail("%s is there twice", name)
		}
		if row.skim && m.Protocol != wire.JSON10 && m.Protocol != wire.JSON11 {
			fail("%s is passed on, and its input is no JSON", name)
		}
		s.ops[name] = &Op{Name: name, Service: s, Wire: w, Needs: row.needs, Declined: reason, do: row.do, before: row.before, by: row.by, mfa: row.mfa, in: row.in,
			reads: reads(name), issues: issues(w), data: row.data, guard: row.out == reflect.TypeFor[Answer](), skim: row.skim}
	}
	unexplained := map[string]bool{}
	for _, row := range rows {
		name := strings.TrimSuffix(row.in.Name(), "Input")
		for _, n := range row.needs {
			if n.Action == "" {
				n.Action = policy.Action(m.Name + ":" + name)
			}
		}
		if len(row.needs) == 0 && !row.open {
			fail("%s needs no permission", name)
		}
		add(name, row, "")
		unexplained[name] = row.declined
		if unsigned := m.Operation(name).Unsigned; unsigned != (row.by != nil) {
			fail("%s is called without a signature: %t, and its row tells who calls: %t", name, unsigned, row.by != nil)
		}
		if in := m.Operation(name).In; in != nil && in != row.in {
			fail("%s takes %v, not %v", name, in, row.in)
		}
	}
	for line := range strings.Lines(declined) {
		name, reason, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" || name[0] == '#' {
			continue
		}
		action := policy.Action(m.Name + ":" + name)
		reason = strings.TrimSpace(reason)
		if word, rest, _ := strings.Cut(reason, " "); strings.Contains(word, ":") {
			action, reason = policy.Action(word), strings.TrimSpace(rest)
		}
		if reason == "" {
			fail("%s is declined without a reason", name)
		}
		if unexplained[name] {
			s.ops[name].Declined, unexplained[name] = reason, false
			continue
		}
		in := reflect.TypeFor[none]()
		row := Row{in: in}
		if w := m.Operation(name); w == nil || !w.Unsigned { // the input of an unsigned call tells who calls, and is not read
			row.needs = []*Need{{Action: action, on: Any(in)}}
		}
		add(name, row, reason)
	}
	for name, without := range unexplained {
		if without {
			fail("%s is declined without a reason", name)
		}
	}
	for _, w := range m.Operations {
		if s.ops[w.Name] == nil {
			fail("%s has no row and is not declined", w.Name)
		}
	}
	return s
}

// Op returns the operation with the name; nil if there is none.
func (s *Service) Op(name string) *Op { return s.ops[name] }

// Ops calls yield for each operation in the model's order.
func (s *Service) Ops(yield func(*Op) bool) {
	for _, w := range s.Model.Operations {
		if !yield(s.ops[w.Name]) {
			return
		}
	}
}

func reads(name string) bool {
	for _, prefix := range []string{"Get", "List", "Head", "Describe", "Simulate", "Assume", "Decode"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
