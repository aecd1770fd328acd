package cloudformation

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/iamd-dev/iamd/arn"
)

// A stack policy says which resources an update may touch (CloudFormation User Guide,
// "Prevent updates to stack resources"). It is not of IAM's language: principals are
// everybody, and the only conditions are on the resource's type.
type stackPolicy struct {
	Version, Id string
	Statement   statements
}

// statements are one or a list of them.
type statements []stackStatement

func (s *statements) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		var one stackStatement
		err := json.Unmarshal(b, &one)
		*s = []stackStatement{one}
		return err
	}
	return json.Unmarshal(b, (*[]stackStatement)(s))
}

type stackStatement struct {
	Effect            string
	Action, NotAction oneOrMany
	Resource          oneOrMany
	NotResource       oneOrMany
	Principal         json.RawMessage
	Condition         map[string]map[string]oneOrMany
}

type oneOrMany []string

func (o *oneOrMany) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*o = []string{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(o))
}

func parseStackPolicy(text string) (*stackPolicy, error) {
	var p stackPolicy
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil || len(p.Statement) == 0 {
		return nil, invalid("Error validating stack policy: Invalid stack policy")
	}
	for _, st := range p.Statement {
		if st.Effect != "Allow" && st.Effect != "Deny" || (st.Action == nil) == (st.NotAction == nil) || (st.Resource == nil) == (st.NotResource == nil) || st.Principal == nil {
			return nil, invalid("Error validating stack policy: Invalid stack policy")
		}
		for operator, keys := range st.Condition {
			if operator != "StringEquals" && operator != "StringLike" {
				return nil, invalid("Error validating stack policy: Unsupported condition %s", operator)
			}
			for key := range keys {
				if key != "ResourceType" {
					return nil, invalid("Error validating stack policy: Unsupported condition key %s", key)
				}
			}
		}
	}
	return &p, nil
}

// matches tells whether a statement is about an action on a resource.
func (st *stackStatement) matches(action, logical, kind string) bool {
	any := func(patterns oneOrMany, s string) bool {
		for _, p := range patterns {
			if arn.Glob(p, s) {
				return true
			}
		}
		return false
	}
	resource := "LogicalResourceId/" + logical
	if st.Action != nil && !any(st.Action, action) || st.NotAction != nil && any(st.NotAction, action) ||
		st.Resource != nil && !any(st.Resource, resource) || st.NotResource != nil && any(st.NotResource, resource) {
		return false
	}
	for operator, keys := range st.Condition {
		for _, patterns := range keys {
			found := any(patterns, kind)
			if operator == "StringEquals" {
				found = false
				for _, p := range patterns {
					found = found || p == kind
				}
			}
			if !found {
				return false
			}
		}
	}
	return true
}

// allowed asks the stack's policy, or the one of this update alone, about an action on a
// resource. Without a policy everything is allowed; with one, what it allows.
func (w *worker) allowed(action, logical, kind string) error {
	text := w.st.Policy
	if w.st.Work.Policy != "" {
		text = w.st.Work.Policy
	}
	if text == "" {
		return nil
	}
	p, err := parseStackPolicy(text)
	if err != nil {
		return err
	}
	allows := false
	for i := range p.Statement {
		if !p.Statement[i].matches(action, logical, kind) {
			continue
		}
		if p.Statement[i].Effect == "Deny" {
			return own("Action denied by stack policy: Statement [#%d] does not allow [%s] for resource [LogicalResourceId/%s]", i+1, "Update:*", logical)
		}
		allows = true
	}
	if !allows {
		return own("Action not allowed by stack policy: %s", fmt.Sprintf("no statement allows [%s] for resource [LogicalResourceId/%s]", action, logical))
	}
	return nil
}
