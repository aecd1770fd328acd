package authz

import (
	"fmt"
	"slices"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/policy"
)

// An Explanation tells how a decision came about. Its JSON form is stable, and told
// in docs/explain.md.
type Explanation struct {
	RequestID string             `json:"requestId"`
	Time      time.Time          `json:"time"`
	Event     string             `json:"event,omitempty"` // "sts:AssumeRole", the operation that asked
	Principal string             `json:"principal"`
	Account   string             `json:"account,omitempty"`
	Action    policy.Action      `json:"action"`
	Resource  arn.ARN            `json:"resource"`
	Owner     string             `json:"resourceAccount,omitempty"`
	Decision  string             `json:"decision"` // allowed, explicitDeny, implicitDeny
	DecidedBy Layer              `json:"decidedBy"`
	Policy    string             `json:"policy,omitempty"`
	Reason    string             `json:"reason"`
	Layers    []LayerExplanation `json:"layers"`
	Context   []ContextKey       `json:"context"`
	Missing   []string           `json:"missing,omitempty"` // keys that conditions asked for and the request lacks
	Changes   []Change           `json:"changes,omitempty"` // which together would turn a refusal into a permission
	Notes     []string           `json:"notes,omitempty"`   // of a call that was made again of its record: what the record does not tell
}

// A LayerExplanation is one layer's part.
type LayerExplanation struct {
	Layer    Layer               `json:"layer"`
	Verdict  string              `json:"verdict"`           // allow, explicitDeny, implicitDeny
	Account  string              `json:"account,omitempty"` // whose policies these are, where they are left out: see For
	Policies []PolicyExplanation `json:"policies,omitempty"`
}

// A PolicyExplanation is one policy's part: what each of its statements said.
type PolicyExplanation struct {
	Name       string                  `json:"name"`
	ARN        arn.ARN                 `json:"arn,omitempty"`
	Verdict    string                  `json:"verdict"`
	Statements []policy.StatementTrace `json:"statements,omitempty"`
	Omitted    int                     `json:"omitted,omitempty"` // statements that did not match and are not among the nearest
}

// A ContextKey is a condition key of the request.
type ContextKey struct {
	Key    string   `json:"key"`
	Values []string `json:"values"`
	From   string   `json:"from"` // principal, session, identity provider, network, request, call, clock, resource
}

// layer makes room for a layer and returns it; levels of one layer follow each other.
func (x *Explanation) layer(l Layer) *LayerExplanation {
	x.Layers = append(x.Layers, LayerExplanation{Layer: l})
	return &x.Layers[len(x.Layers)-1]
}

func (x *Explanation) missing(keys []string) {
	for _, k := range keys {
		if !slices.Contains(x.Missing, k) {
			x.Missing = append(x.Missing, k)
		}
	}
}

// For returns what an account may see of the explanation. The caller's account sees
// what the caller's policies said and the resource's account what the resource's
// did; of the other side each sees the verdict alone, since a policy holds what is
// not theirs to know: external ids, addresses, names. It returns nil for any other
// account.
func (x *Explanation) For(account string) *Explanation {
	switch account {
	case "":
		return nil
	case x.Account:
		if x.Owner == account {
			return x
		}
	case x.Owner:
		if x.Account == "" {
			return x // an anonymous caller has no side
		}
	default:
		return nil
	}
	calls := account == x.Account
	y := *x
	y.Layers, y.Context, y.Missing, y.Changes = nil, nil, nil, nil
	for _, c := range x.Changes {
		if c.Layer.ofResource() == calls { // what the other account would have to do, and no more
			c = Change{Layer: c.Layer, Where: "a policy of account " + x.Owner}
			if !calls {
				c.Where = "a policy of account " + x.Account
			}
		}
		y.Changes = append(y.Changes, c)
	}
	seen := NoLayer // the resource's layer, if there is one
	for _, l := range x.Layers {
		if l.Layer.ofResource() {
			seen = max(seen, l.Layer)
		}
		if l.Layer.ofResource() != calls {
			y.Layers = append(y.Layers, l)
			for _, p := range l.Policies {
				for _, s := range p.Statements {
					if s.Failed == "Condition" && s.Got == nil {
						y.missing([]string{s.Key})
					}
				}
			}
			continue
		}
		other := x.Owner
		if !calls {
			other = x.Account
		}
		y.Layers = append(y.Layers, LayerExplanation{Layer: l.Layer, Verdict: l.Verdict, Account: other})
	}
	if calls && seen != TrustPolicy && x.DecidedBy == TrustPolicy || calls && seen != ResourcePolicy && x.DecidedBy == ResourcePolicy {
		// That there is no such role or policy is not told from one that does not allow.
		y.Layers = append(y.Layers, LayerExplanation{Layer: x.DecidedBy, Verdict: verdict(false, false), Account: x.Owner})
		slices.SortStableFunc(y.Layers, func(a, b LayerExplanation) int { return int(a.Layer) - int(b.Layer) })
	}
	for _, k := range x.Context {
		if calls && k.From != "resource" || k.Key == "aws:ResourceAccount" || !calls && (k.From != "principal" && k.From != "session" || slices.Contains(known, k.Key)) {
			y.Context = append(y.Context, k)
		}
	}
	if x.DecidedBy.ofResource() == calls && x.Policy != "" {
		y.Policy = ""
		if x.Decision == "allowed" {
			y.Reason = fmt.Sprintf("the %s allows it, and nothing denies it", x.DecidedBy)
		} else {
			y.Reason = fmt.Sprintf("a Deny in the %s matches", x.DecidedBy)
		}
	}
	return &y
}

// known are the keys of a caller that the resource's account knows from its own
// audit records.
var known = []string{"aws:PrincipalArn", "aws:PrincipalAccount", "aws:PrincipalType", "aws:userid"}

// ofResource reports whether the policies of the layer are those of the resource's account.
func (l Layer) ofResource() bool { return l == RCP || l == ResourcePolicy || l == TrustPolicy }

func (l *LayerExplanation) settle(a answer) { l.Verdict = verdict(a.allowed, a.denied) }

func explained(p *Policy, r policy.Result, t *policy.Trace) PolicyExplanation {
	return PolicyExplanation{Name: p.Name, ARN: p.ARN, Verdict: verdict(r.Allowed, r.Denied), Statements: t.Statements, Omitted: t.Omitted}
}

func verdict(allowed, denied bool) string {
	switch {
	case denied:
		return "explicitDeny"
	case allowed:
		return "allow"
	}
	return "implicitDeny"
}

// describe writes what is not the layers' part.
func (x *Explanation) describe(r *Request, d Decision) {
	c := r.Call
	x.RequestID, x.Time = c.RequestID, c.Time
	x.Principal, x.Account = string(c.Caller.ARN), c.Account
	switch {
	case r.federated():
		x.Principal = c.Caller.UserID
	case !r.signed():
		x.Principal = "anonymous"
	case c.Caller.Type == identity.AWSService:
		x.Principal = c.Caller.Service
	}
	x.Action, x.Resource, x.Owner = r.Check.Action, r.Check.ARN, r.Owner()
	x.DecidedBy, x.Policy = d.Layer, d.Policy.Name
	x.Context = r.keys()
	slices.SortStableFunc(x.Layers, func(a, b LayerExplanation) int { return int(a.Layer) - int(b.Layer) })
	switch {
	case d.Allowed && d.Policy.Name == "":
		x.Decision, x.Reason = "allowed", "the root user of the account needs no policy, and nothing denies it"
	case d.Allowed:
		x.Decision, x.Reason = "allowed", fmt.Sprintf("the %s %q allows it, and nothing denies it", d.Layer, d.Policy.Name)
	case d.Explicit:
		x.Decision, x.Reason = "explicitDeny", fmt.Sprintf("a Deny in the %s %q matches", d.Layer, d.Policy.Name)
	default:
		x.Decision, x.Reason = "implicitDeny", fmt.Sprintf("no %s allows %s on %s", d.Layer, r.Check.Action, r.Check.ARN)
	}
}
