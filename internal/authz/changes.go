package authz

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/policy"
)

// A Change is one of the changes that together would turn a refusal into a
// permission. None allows more than what was asked.
type Change struct {
	Layer     Layer           `json:"layer"`
	Where     string          `json:"where"`               // which policy, in words
	Statement json.RawMessage `json:"statement,omitempty"` // an Allow to add there
	Deny      string          `json:"deny,omitempty"`      // or a Deny that stands in the way: which statement
	Instead   string          `json:"instead,omitempty"`   // a condition that, if it were met, would do as well
}

// changes finds what would have to change for the request to be allowed. It adds
// the narrowest Allow to the layer that refuses, asks the engine again, and goes on
// until it allows, so what it says has been tried. Where Denies match, it names
// them: nothing else helps as long as they do. It returns nil when it finds no way.
func changes(r *Request, l Layers, q *policy.Request, same bool, x *Explanation) []Change {
	who := r.Call.Caller.Type
	if x.Decision == "explicitDeny" {
		var all []Change
		for _, layer := range x.Layers {
			for _, p := range layer.Policies {
				for _, s := range p.Statements {
					if s.Matched && s.Effect == "Deny" {
						all = append(all, Change{Layer: layer.Layer, Where: p.Name, Deny: fmt.Sprintf("%s (line %d column %d)", named(s), s.Line, s.Column)})
					}
				}
			}
		}
		return all
	}
	var all []Change
	for range DelegationPolicy + 1 {
		d := combine(&l, q, same, who, nil)
		if d.Allowed {
			return all
		}
		if d.Explicit || slices.ContainsFunc(all, func(c Change) bool { return c.Layer == d.Layer }) {
			return nil
		}
		c := Change{Layer: d.Layer, Where: changed(r, &l, d.Layer), Statement: narrowest(r, d.Layer), Instead: x.nearest(d.Layer)}
		all = append(all, c)
		added := Policy{Name: "the change", Document: identity.NewDocument(`{"Version":"2012-10-17","Statement":` + string(c.Statement) + `}`)}
		switch d.Layer {
		case IdentityPolicy:
			l.Identity = append(slices.Clone(l.Identity), added)
		case SessionPolicy:
			l.Session = append(slices.Clone(l.Session), added)
		case DelegationPolicy:
			l.Delegation = append(slices.Clone(l.Delegation), added)
		case Boundary:
			l.Boundary = &added
		case ResourcePolicy, TrustPolicy:
			l.Resource = &added
		case SCP:
			l.SCP = filled(l.SCP, added)
		case RCP:
			l.RCP = filled(l.RCP, added)
		}
	}
	return nil
}

func filled(levels [][]Policy, p Policy) [][]Policy {
	all := make([][]Policy, len(levels))
	for i, level := range levels {
		all[i] = append(slices.Clone(level), p)
	}
	return all
}

// pair is the value of a key of the operation, in lower case, that has one.
func (r *Request) pair(key string) (string, bool) {
	for i := range r.Check.Pairs {
		if p := &r.Check.Pairs[i]; p.Key == key {
			if values := p.Value.Strings(); len(values) == 1 {
				return values[0], true
			}
		}
	}
	return "", false
}

// narrowest is the Allow statement that covers the request and nothing else.
func narrowest(r *Request, layer Layer) json.RawMessage {
	s := struct {
		Effect    string
		Principal any `json:",omitempty"`
		Action    policy.Action
		Resource  string `json:",omitempty"`
		Condition any    `json:",omitempty"`
	}{Effect: "Allow", Action: r.Check.Action}
	// A role may be passed to this service, and a service act for this resource: not to
	// all, and not for all.
	if service, ok := r.pair("iam:passedtoservice"); ok {
		s.Condition = map[string]any{"StringEquals": map[string]string{"iam:PassedToService": service}}
	}
	if r.Call.Caller.Service != "" && r.Call.For != "" {
		s.Condition = map[string]any{"ArnEquals": map[string]string{"aws:SourceArn": string(r.Call.For)}}
	}
	if layer != TrustPolicy {
		s.Resource = literal(r.Check.ARN)
	}
	if layer == ResourcePolicy || layer == TrustPolicy {
		switch c := r.Call.Caller; {
		case c.Type == identity.Anonymous:
			s.Principal = "*"
		case c.Service != "":
			s.Principal = map[string]string{"Service": c.Service}
		case c.Federation != nil:
			s.Principal = map[string]string{"Federated": c.Federation.Provider}
		case c.Role != nil:
			s.Principal = map[string]string{"AWS": c.Role.Arn}
		default:
			s.Principal = map[string]string{"AWS": string(c.ARN)}
		}
	}
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // of strings
	}
	return b
}

// literal writes a resource so that no character of it is a wildcard or a variable.
func literal(a arn.ARN) string {
	if a == "*" {
		return "*"
	}
	return strings.NewReplacer("*", "${*}", "?", "${?}", "$", "${$}").Replace(string(a))
}

// changed names the policy of a layer that would have to change.
func changed(r *Request, l *Layers, layer Layer) string {
	switch c := r.Call.Caller; layer {
	case IdentityPolicy:
		if c.Role != nil {
			return "a policy of role " + c.Role.RoleName
		}
		if c.User != nil {
			return "a policy of user " + c.User.UserName
		}
	case Boundary:
		if l.Boundary != nil {
			return l.Boundary.Name
		}
	case SessionPolicy:
		return "the session policy that the session is made with"
	case DelegationPolicy:
		return "the policy template of another delegation request"
	case TrustPolicy:
		return "the trust policy of " + string(r.Check.ARN)
	case ResourcePolicy:
		return "the policy of " + string(r.Check.ARN)
	}
	return "a " + layer.String()
}

// nearest says which condition kept the nearest Allow of a layer from matching.
func (x *Explanation) nearest(layer Layer) string {
	for _, l := range x.Layers {
		if l.Layer != layer {
			continue
		}
		for _, p := range l.Policies {
			for _, s := range p.Statements {
				if s.Effect == "Allow" && s.Failed == "Condition" {
					return fmt.Sprintf("%s of %s allows it where %s %s is %s", named(s), p.Name, s.Operator, s.Key, some(s.Want))
				}
			}
		}
	}
	return ""
}
