// Package authz decides calls: it finds which policies bear on a call, asks each
// layer of them, and combines the answers as AWS does.
//
//	d := authz.Decide(&authz.Request{Call: c, Service: s, Check: check, Object: object}, nil)
//	if !d.Allowed {
//		return d.Denial(...)
//	}
//
// The layers are AWS's kinds of policy, in the order in which AWS asks them:
// resource control policies, service control policies, the resource's own policy
// (for a role: its trust policy), identity-based policies, the permissions
// boundary, session policies. A layer that does not exist for a call does not
// limit it. The rules are those of the IAM User Guide, "Policy evaluation logic";
// where it contradicts itself or leaves something open, docs/divergences.md says
// what we do.
//
// Decision and explanation are one walk: given an Explanation, the same code that
// decides also writes down what it saw.
package authz

import (
	"strings"
	"sync"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/reference"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
	"github.com/iamd-dev/iamd/policy"
)

// A Layer is a kind of policy that a decision asks.
type Layer uint8

const (
	NoLayer Layer = iota
	RCP
	SCP
	ResourcePolicy
	TrustPolicy // a resource policy without whose consent nothing is allowed
	IdentityPolicy
	Boundary
	SessionPolicy
	DelegationPolicy // what a product provider asked for, which limits a delegated session as session policies do
)

var layerNames = [...]string{"", "resource control policy", "service control policy", "resource-based policy",
	"role trust policy", "identity-based policy", "permissions boundary", "session policy", "session policy"}

// String returns AWS's name of the layer, as its refusals print it.
func (l Layer) String() string { return layerNames[l] }

// MarshalText writes the name.
func (l Layer) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// A Policy is a policy that bears on a call.
type Policy struct {
	Name     string  // how a person knows it: "inline policy p of user alice", or the ARN
	ARN      arn.ARN // of a managed policy; "" for others
	Document identity.Document
}

// Layers are the policies that bear on a call, by layer.
type Layers struct {
	RCP, SCP  [][]Policy // by level, from the organisation's root to the account; nil where none is in force
	Resource  *Policy    // nil where the resource has none
	Trust     bool       // Resource is a trust policy
	Identity  []Policy
	Unlimited bool // the root user, who needs no identity-based policy
	Boundary  *Policy
	Bounded   bool // a boundary is set, even if its document is gone
	Session   []Policy
	Sessioned bool // session policies limit the caller, even if there are none

	Delegation []Policy // of a delegated session
	Delegated  bool     // it is one, even if there is no policy
}

// A Request is one question: may this call's caller do this to that?
type Request struct {
	Call    *service.Call
	Service *service.Service
	Check   service.Check
	Object  service.Object
}

// A Decision is the answer.
type Decision struct {
	Allowed  bool
	Explicit bool  // a Deny matched
	Layer    Layer // that decided
	Policy   Policy
}

// Decide answers the question. With x not nil it writes the explanation there.
func Decide(r *Request, x *Explanation) Decision {
	l := collect(r)
	return r.decide(&l, r, x)
}

// decide answers the question by these policies, where the condition keys are those of keys.
func (r *Request) decide(l *Layers, keys policy.Context, x *Explanation) Decision {
	q := policy.Request{
		Principal: principal(r.Call.Caller),
		Bounded:   l.Bounded,
		Action:    r.Check.Action,
		Resource:  r.Check.ARN,
		Context:   keys,
	}
	same := r.Call.Account != "" && r.Call.Account == r.Owner()
	d := combine(l, &q, same, r.Call.Caller.Type, x)
	if x != nil {
		x.describe(r, d)
		if !d.Allowed {
			x.Changes = changes(r, *l, &q, same, x)
		}
	}
	return d
}

// Owner is the account that the resource belongs to. What has no account in its
// ARN and no known owner (a bucket to be made) is the caller's own.
func (r *Request) Owner() string {
	if r.Check.Home {
		return r.Call.Account
	}
	if r.Object.Account != "" {
		return r.Object.Account
	}
	if a := r.Check.ARN.Account(); a != "" && a != "aws" && a != identity.PartnerAccount {
		return a
	}
	return r.Call.Account
}

// combine asks every layer and gives AWS's answer (Policy evaluation logic). A product
// provider may do no more than it asked for, whatever a resource's policy grants to the
// one in whose name it comes.
func combine(l *Layers, q *policy.Request, same bool, who identity.CallerType, x *Explanation) Decision {
	if !l.Delegated {
		return permit(l, q, same, who, x)
	}
	delegation := ask(DelegationPolicy, l.Delegation, q, x)
	d := permit(l, q, same, who, x)
	switch {
	case !d.Allowed && d.Explicit:
		return d
	case delegation.denied:
		return Decision{Explicit: true, Layer: DelegationPolicy, Policy: delegation.deniedBy}
	case d.Allowed && !delegation.allowed:
		return Decision{Layer: DelegationPolicy}
	}
	return d
}

// permit is the answer of all layers but that of a delegated session.
func permit(l *Layers, q *policy.Request, same bool, who identity.CallerType, x *Explanation) Decision {
	identities := ask(IdentityPolicy, l.Identity, q, x)
	boundary, session, resource := answer{}, answer{}, answer{}
	if l.Boundary != nil {
		boundary = ask(Boundary, []Policy{*l.Boundary}, q, x)
	}
	if l.Sessioned {
		session = ask(SessionPolicy, l.Session, q, x)
	}
	resourceLayer := ResourcePolicy
	if l.Trust {
		resourceLayer = TrustPolicy
	}
	if l.Resource != nil {
		resource = ask(resourceLayer, []Policy{*l.Resource}, q, x)
	}
	rcps, rcpHole := askLevels(RCP, l.RCP, q, x)
	scps, scpHole := askLevels(SCP, l.SCP, q, x)

	// An explicit deny anywhere ends it.
	for _, a := range [...]struct {
		Layer
		answer
	}{{RCP, rcps}, {SCP, scps}, {resourceLayer, resource}, {IdentityPolicy, identities}, {Boundary, boundary}, {SessionPolicy, session}} {
		if a.denied {
			return Decision{Explicit: true, Layer: a.Layer, Policy: a.deniedBy}
		}
	}
	refuse := func(l Layer) Decision { return Decision{Layer: l} }
	// Every level of the organisation must allow.
	if rcpHole {
		return refuse(RCP)
	}
	if scpHole {
		return refuse(SCP)
	}

	const direct = policy.BySelf | policy.ByAnyone
	byResource := Decision{Allowed: true, Layer: resourceLayer, Policy: resource.allowedBy}
	switch who {
	case identity.Anonymous:
		if resource.grants&policy.ByAnyone != 0 {
			return byResource
		}
		return refuse(resourceLayer)
	case identity.AWSService:
		if resource.grants&(policy.ByService|policy.ByAnyone) != 0 {
			return byResource
		}
		return refuse(resourceLayer)
	case identity.WebIdentityUser, identity.SAMLUser:
		// The trust policy alone decides, and must name the provider: "*" means those
		// whom AWS knows.
		if l.Trust && resource.grants&policy.ByFederated != 0 {
			return byResource
		}
		return refuse(resourceLayer)
	}

	// What the principal's own account lets it do, and which layer stops it first.
	identityAllows := identities.allowed || l.Unlimited
	limit := NoLayer
	switch {
	case l.Bounded && !boundary.allowed:
		limit = Boundary
	case l.Sessioned && !session.allowed:
		limit = SessionPolicy
	}

	if same {
		grants := resource.grants
		// A user named in a trust policy is still limited by a boundary: IAM User
		// Guide, "Update a role trust policy"; see docs/divergences.md.
		if grants&policy.BySelf != 0 && l.Trust && who == identity.IAMUser && l.Bounded && !boundary.allowed {
			return refuse(Boundary)
		}
		if grants&direct != 0 {
			return byResource // whatever boundary and session policies leave out
		}
		if grants&(policy.ByRole|policy.ByNotPrincipal) != 0 {
			if limit != NoLayer {
				return refuse(limit)
			}
			return byResource
		}
		if l.Trust && grants&policy.ByAccount == 0 {
			return refuse(TrustPolicy)
		}
	} else if resource.grants&(direct|policy.ByRole|policy.ByAccount|policy.ByNotPrincipal) == 0 {
		if !identityAllows {
			return refuse(IdentityPolicy)
		}
		return refuse(resourceLayer)
	}
	if !identityAllows {
		return refuse(IdentityPolicy)
	}
	if limit != NoLayer {
		return refuse(limit)
	}
	return Decision{Allowed: true, Layer: IdentityPolicy, Policy: identities.allowedBy}
}

// An answer is what the policies of one layer say together.
type answer struct {
	allowed, denied     bool
	grants              policy.Grant
	allowedBy, deniedBy Policy
}

func ask(layer Layer, policies []Policy, q *policy.Request, x *Explanation) answer {
	var a answer
	var of *LayerExplanation
	var traces []policy.Trace
	if x != nil {
		of = x.layer(layer)
		of.Policies = make([]PolicyExplanation, 0, len(policies))
		traces = make([]policy.Trace, len(policies))
	}
	for i := range policies {
		p := &policies[i]
		var t *policy.Trace
		if of != nil {
			t = &traces[i]
		}
		result := p.Document.Program().Evaluate(q, t)
		if of != nil {
			of.Policies = append(of.Policies, explained(p, result, t))
			x.missing(t.Missing)
		}
		a.grants |= result.Grants
		if result.Allowed && !a.allowed {
			a.allowed, a.allowedBy = true, *p
		}
		if result.Denied && !a.denied {
			a.denied, a.deniedBy = true, *p
		}
	}
	if of != nil {
		of.settle(a)
	}
	return a
}

// askLevels asks the policies of each level of the organisation; hole tells that
// some level allows nothing.
func askLevels(layer Layer, levels [][]Policy, q *policy.Request, x *Explanation) (all answer, hole bool) {
	for _, policies := range levels {
		a := ask(layer, policies, q, x)
		if a.denied && !all.denied {
			all.denied, all.deniedBy = true, a.deniedBy
		}
		hole = hole || !a.allowed
	}
	return all, hole
}

// principal is the caller in every form that a Principal element may name.
func principal(c *identity.Caller) policy.Principal {
	p := policy.Principal{Account: c.Account, ARN: c.ARN, Service: c.Service}
	switch {
	case c.Federation != nil:
		p.Federated = c.Federation.Provider
	case c.Role != nil:
		p.Role, p.ID = arn.ARN(c.Role.Arn), c.Role.RoleId
	case c.Type == identity.FederatedUser && c.User != nil:
		p.User, p.ID = arn.ARN(c.User.Arn), c.User.UserId
	case c.User != nil:
		p.ID = c.User.UserId
	}
	return p
}

// collect finds the policies that bear on the request.
func collect(r *Request) Layers {
	var l Layers
	state, c := r.Call.State, r.Call.Caller
	mends := r.Object.Mending && c.Type == identity.RootUser && c.Account == r.Owner()
	if !r.Object.Policy.IsZero() && !mends && !r.Check.Home {
		l.Resource = &Policy{Name: "policy of " + string(r.Check.ARN), Document: r.Object.Policy}
	}
	l.Trust = r.Object.Trust
	if owner := r.Owner(); owner != "" && standingOf(state, owner).closed {
		l.Resource = &Policy{Name: "account " + owner + ", which is closed", Document: identity.Broken()}
	}
	l.organize(r)

	if c.Role != nil || c.User != nil {
		own := bearing(state, c)
		l.Identity, l.Boundary, l.Bounded = own.identity, own.boundary, own.bounded
	} else if c.Type == identity.RootUser || c.Type == identity.FederatedUser {
		l.Unlimited = true // the root, or a session that the root federated
	}
	// A federated user without session policies may do nothing of its own.
	s := c.Session
	if s != nil && s.Delegation != nil {
		l.Delegated = true
		if !s.Delegation.Policy.IsZero() {
			l.Delegation = []Policy{{Name: "what product provider " + s.Delegation.Account + " asked for", Document: s.Delegation.Policy}}
		}
	}
	if s != nil && s.AssumedRoot { // its task policy denies all but the task, and allows nothing by itself
		for _, a := range s.PolicyARNs {
			d := Managed(state, a)
			if d.IsZero() {
				d = identity.Broken()
			}
			l.Identity = append(l.Identity, Policy{string(a), a, d})
		}
		return l
	}
	if s != nil && (s.Restricted() || c.Type == identity.FederatedUser) {
		l.Sessioned = true
		if !s.Policy.IsZero() {
			l.Session = append(l.Session, Policy{Name: "session policy of " + s.Name, Document: s.Policy})
		}
		for _, a := range s.PolicyARNs {
			if d := Managed(state, a); !d.IsZero() {
				l.Session = append(l.Session, Policy{string(a), a, d})
			}
		}
	}
	return l
}

// Documents of AWS managed policies, which do not change while we run.
var awsManaged sync.Map // arn.ARN -> identity.Document

// Managed returns the default version of a managed policy, the customer's or
// AWS's own; zero when there is none.
func Managed(r store.Reader, a arn.ARN) identity.Document {
	if a.Account() != "aws" {
		if p := identity.PolicyByARN(r, a); p != nil {
			return p.Default().Document
		}
		return identity.Document{}
	}
	if d, ok := awsManaged.Load(a); ok {
		return d.(identity.Document)
	}
	m, ok := reference.ManagedPolicy(string(a))
	if !ok {
		return identity.Document{}
	}
	d := identity.NewDocument(m.Document())
	awsManaged.Store(a, d)
	return d
}

// Denial is AWS's text for a refusal (IAM User Guide, "Troubleshoot access
// denied error messages"). reason false leaves the layer out, as AWS does for
// some operations and for callers of other accounts.
func (d Decision) Denial(r *Request, reason bool) string {
	if r.federated() {
		return "Not authorized to perform " + string(r.Check.Action)
	}
	var b strings.Builder
	b.WriteString("User: ")
	switch c := r.Call.Caller; c.Type {
	case identity.Anonymous:
		b.WriteString("anonymous")
	case identity.AWSService:
		b.WriteString(c.Service)
	default:
		b.WriteString(string(c.ARN))
	}
	b.WriteString(" is not authorized to perform: ")
	b.WriteString(string(r.Check.Action))
	resource := r.Check.Text
	if resource == "" {
		resource = string(r.Check.ARN)
	}
	switch {
	case resource == "*" && (r.Service.Quoted || r.Service.Model.Protocol == wire.EC2): // S3 and EC2 do not name a resource that is none
	case r.Service.Quoted:
		b.WriteString(" on resource: \"" + resource + "\"")
	default:
		b.WriteString(" on resource: " + resource)
	}
	if !reason {
		return b.String()
	}
	if !d.Explicit {
		b.WriteString(" because no " + d.Layer.String() + " allows the " + string(r.Check.Action) + " action")
		return b.String()
	}
	article := " with an explicit deny in a "
	switch d.Layer {
	case IdentityPolicy:
		article = " with an explicit deny in an "
	case TrustPolicy:
		article = " with an explicit deny in the "
	}
	b.WriteString(article + d.Layer.String())
	if d.Policy.ARN != "" {
		b.WriteString(": " + string(d.Policy.ARN))
	}
	return b.String()
}
