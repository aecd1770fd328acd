package authz

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/policy"
)

// A message is a decision in the JSON form of sts:DecodeAuthorizationMessage. Every
// list in it is an object with items.
type message struct {
	Allowed           bool                   `json:"allowed"`
	ExplicitDeny      bool                   `json:"explicitDeny"`
	MatchedStatements items[messageMatch]    `json:"matchedStatements"`
	Failures          items[json.RawMessage] `json:"failures"`
	Context           messageContext         `json:"context"`
}

type messageMatch struct {
	StatementID     string                  `json:"statementId"`
	Effect          string                  `json:"effect"`
	Principals      items[messageValue]     `json:"principals"`
	PrincipalGroups items[messageValue]     `json:"principalGroups"`
	Actions         items[messageValue]     `json:"actions"`
	Resources       items[messageValue]     `json:"resources"`
	Conditions      items[messageCondition] `json:"conditions"`
}

type messageContext struct {
	Principal  messagePrincipal        `json:"principal"`
	Action     string                  `json:"action"`
	Resource   string                  `json:"resource"`
	Conditions items[messageCondition] `json:"conditions"`
}

type messagePrincipal struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
	ARN  string `json:"arn"`
}

type messageValue struct {
	Value string `json:"value"`
}

type messageCondition struct {
	Key    string              `json:"key"`
	Values items[messageValue] `json:"values"`
}

type items[T any] struct {
	Items []T `json:"items"`
}

func valuesOf(texts ...string) items[messageValue] {
	all := items[messageValue]{[]messageValue{}}
	for _, t := range texts {
		all.Items = append(all.Items, messageValue{t})
	}
	return all
}

func (c *messageCondition) texts() []string {
	var texts []string
	for _, v := range c.Values.Items {
		texts = append(texts, v.Value)
	}
	return texts
}

// Message is the explanation in the JSON form of sts:DecodeAuthorizationMessage. Of
// a refusal by a Deny it has the Deny statements alone.
func (x *Explanation) Message() string {
	m := message{Allowed: x.Decision == "allowed", ExplicitDeny: x.Decision == "explicitDeny"}
	m.Context = messageContext{
		Principal: messagePrincipal{ARN: x.Principal},
		// EC2's actions are without their prefix there, and no other's.
		Action:     strings.TrimPrefix(string(x.Action), "ec2:"),
		Resource:   string(x.Resource),
		Conditions: items[messageCondition]{[]messageCondition{}},
	}
	for _, k := range x.Context {
		m.Context.Conditions.Items = append(m.Context.Conditions.Items, messageCondition{k.Key, valuesOf(k.Values...)})
		if len(k.Values) == 1 && k.Key == "aws:userid" {
			m.Context.Principal.ID = k.Values[0]
		}
		if len(k.Values) == 1 && k.Key == "aws:username" {
			m.Context.Principal.Name = k.Values[0]
		}
	}
	// AWS tells there what the resource is, in keys that no condition can ask for.
	service, _, _ := strings.Cut(string(x.Action), ":")
	resource := []ContextKey{{Key: "aws:Service", Values: []string{service}}}
	if a := x.Resource; a != "*" {
		kind, _, _ := strings.Cut(a.Resource(), "/")
		resource = append(resource, ContextKey{Key: "aws:Resource", Values: []string{a.Resource()}}, ContextKey{Key: "aws:Type", Values: []string{kind}},
			ContextKey{Key: "aws:Account", Values: []string{x.Owner}}, ContextKey{Key: "aws:Region", Values: []string{a.Region()}}, ContextKey{Key: "aws:ARN", Values: []string{string(a)}})
	}
	for _, k := range resource {
		if k.Values[0] != "" {
			m.Context.Conditions.Items = append(m.Context.Conditions.Items, messageCondition{k.Key, valuesOf(k.Values...)})
		}
	}

	m.Failures.Items = []json.RawMessage{}
	m.MatchedStatements.Items = []messageMatch{}
	id, _, _ := strings.Cut(m.Context.Principal.ID, ":") // of a session: the role's
	for _, l := range x.Layers {
		for _, p := range l.Policies {
			for _, s := range p.Statements {
				if s.Matched && (s.Effect == "Deny" || !m.ExplicitDeny) {
					m.MatchedStatements.Items = append(m.MatchedStatements.Items, matchOf(&s, id, l.Layer))
				}
			}
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // of strings and booleans
	}
	return string(b)
}

func matchOf(t *policy.StatementTrace, principal string, l Layer) messageMatch {
	m := messageMatch{StatementID: t.Sid, Effect: strings.ToUpper(t.Effect), Principals: valuesOf(), PrincipalGroups: valuesOf(),
		Actions: valuesOf(), Resources: valuesOf(), Conditions: items[messageCondition]{[]messageCondition{}}}
	if l == IdentityPolicy && principal != "" { // whose policy it is
		m.Principals = valuesOf(principal)
	}
	s := t.Statement
	if s == nil {
		return m
	}
	if s.Principal != nil || s.NotPrincipal != nil {
		m.Principals = valuesOf()
		for _, n := range append(s.Principal, s.NotPrincipal...) {
			m.Principals.Items = append(m.Principals.Items, messageValue{n.Value})
		}
	}
	m.Actions = valuesOf(append(s.Action[:len(s.Action):len(s.Action)], s.NotAction...)...)
	m.Resources = valuesOf(append(s.Resource[:len(s.Resource):len(s.Resource)], s.NotResource...)...)
	for _, c := range s.Condition {
		if c.Key != "" {
			m.Conditions.Items = append(m.Conditions.Items, messageCondition{c.Key, valuesOf(c.Values...)})
		}
	}
	return m
}

// ParseMessage reads what sts:DecodeAuthorizationMessage answers: a decision with
// its request and the statements that matched. Which policies these stand in, what
// else was asked and what would have to change, a message does not tell.
func ParseMessage(text string) (*Explanation, error) {
	var m message
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return nil, fmt.Errorf("the message is not one of sts:DecodeAuthorizationMessage: %w", err)
	}
	a := arn.ARN(m.Context.Principal.ARN)
	x := &Explanation{
		Principal: string(a), Account: a.Account(),
		Action: policy.Action(m.Context.Action), Resource: arn.ARN(m.Context.Resource), Owner: arn.ARN(m.Context.Resource).Account(),
	}
	for _, c := range m.Context.Conditions.Items {
		x.Context = append(x.Context, ContextKey{Key: c.Key, Values: c.texts()})
		if v := c.texts(); c.Key == "aws:Account" && len(v) == 1 {
			x.Owner = v[0]
		}
		if v := c.texts(); c.Key == "aws:Service" && len(v) == 1 && !strings.Contains(m.Context.Action, ":") {
			x.Action = policy.Action(v[0] + ":" + m.Context.Action)
		}
	}
	verdict := "implicitDeny"
	switch {
	case m.Allowed:
		verdict, x.Decision, x.Reason = "allow", "allowed", "a statement allows it, and nothing denies it"
	case m.ExplicitDeny:
		verdict, x.Decision, x.Reason = "explicitDeny", "explicitDeny", "a Deny matches"
	default:
		x.Decision, x.Reason = "implicitDeny", fmt.Sprintf("nothing that has to allow %s does", x.Action)
	}
	p := PolicyExplanation{Name: "as the message tells them", Verdict: verdict}
	for i, s := range m.MatchedStatements.Items {
		effect := "Allow"
		if s.Effect == "DENY" {
			effect = "Deny"
		}
		p.Statements = append(p.Statements, policy.StatementTrace{Index: i, Sid: s.StatementID, Effect: effect, Matched: true})
	}
	if len(p.Statements) > 0 {
		x.Layers = []LayerExplanation{{Verdict: verdict, Policies: []PolicyExplanation{p}}}
	}
	return x, nil
}
