package authz

import (
	"encoding/json"
	"strings"
)

// Message is the explanation in the JSON form of sts:DecodeAuthorizationMessage.
func (x *Explanation) Message() string {
	type item struct {
		Value string `json:"value"`
	}
	type list[T any] struct {
		Items []T `json:"items"`
	}
	type statement struct {
		StatementID string `json:"statementId"`
		Effect      string `json:"effect"`
	}
	type condition struct {
		Key    string     `json:"key"`
		Values list[item] `json:"values"`
	}
	type principal struct {
		ID   string `json:"id,omitempty"`
		Name string `json:"name,omitempty"`
		ARN  string `json:"arn"`
	}
	var m struct {
		Allowed           bool            `json:"allowed"`
		ExplicitDeny      bool            `json:"explicitDeny"`
		MatchedStatements list[statement] `json:"matchedStatements"`
		Failures          list[struct{}]  `json:"failures"`
		Context           struct {
			Principal  principal       `json:"principal"`
			Action     string          `json:"action"`
			Resource   string          `json:"resource"`
			Conditions list[condition] `json:"conditions"`
		} `json:"context"`
	}
	m.Allowed, m.ExplicitDeny = x.Decision == "allowed", x.Decision == "explicitDeny"
	m.MatchedStatements.Items, m.Failures.Items = []statement{}, []struct{}{}
	for _, l := range x.Layers {
		for _, p := range l.Policies {
			for _, s := range p.Statements {
				if s.Matched {
					m.MatchedStatements.Items = append(m.MatchedStatements.Items, statement{s.Sid, strings.ToUpper(s.Effect)})
				}
			}
		}
	}
	m.Context.Principal.ARN = x.Principal
	m.Context.Action, m.Context.Resource = string(x.Action), string(x.Resource)
	m.Context.Conditions.Items = []condition{}
	for _, k := range x.Context {
		c := condition{Key: k.Key}
		for _, v := range k.Values {
			c.Values.Items = append(c.Values.Items, item{v})
		}
		m.Context.Conditions.Items = append(m.Context.Conditions.Items, c)
		if k.Key == "aws:userid" && len(k.Values) == 1 {
			m.Context.Principal.ID = k.Values[0]
		}
		if k.Key == "aws:username" && len(k.Values) == 1 {
			m.Context.Principal.Name = k.Values[0]
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // of strings and booleans
	}
	return string(b)
}
