package organizations

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/internal/aws/organizations/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/policy"
)

// Policies that do not decide are trees whose leaves are operators, and the effective
// policy of an account is what they make together, from the root down (Organizations
// User Guide, "Understanding management policy inheritance").
const (
	assignOperator  = "@@assign" // the value is this
	appendOperator  = "@@append" // and these
	removeOperator  = "@@remove" // without these
	allowedOperator = "@@operators_allowed_for_child_policies"
)

// A tree is what the policies so far have made of a place.
type tree struct {
	value    any // of a leaf: a text or another scalar, or a list
	children map[string]*tree
	allowed  []string // operators of child policies, here and below; nil is what holds above
	next     []string // allowed from the next level on
}

// checkManagement says what is wrong with the text of a policy that does not decide.
func checkManagement(content string) error {
	if _, err := readManagement(content); err != nil {
		return &policy.Malformed{Text: "The provided policy document does not meet the requirements of the specified policy type."}
	}
	return nil
}

// readManagement reads a policy: an object of objects, of which the innermost have
// operators and nothing else.
func readManagement(content string) (map[string]any, error) {
	d := json.NewDecoder(strings.NewReader(content))
	d.UseNumber()
	var document map[string]any
	if err := d.Decode(&document); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("there is more after the document")
	}
	if len(document) == 0 {
		return nil, fmt.Errorf("the document is empty")
	}
	return document, checkTree(document)
}

func checkTree(object map[string]any) error {
	leaf, inner := false, false
	for key, v := range object {
		switch key {
		case assignOperator:
			leaf = true
			if _, ok := v.(map[string]any); ok || v == nil {
				return fmt.Errorf("%s has no value", key)
			}
		case appendOperator, removeOperator, allowedOperator:
			leaf = leaf || key != allowedOperator
			switch v := v.(type) {
			case string:
			case []any:
				for _, e := range v {
					if _, ok := e.(string); !ok {
						return fmt.Errorf("%s has a value that is no text", key)
					}
				}
			default:
				return fmt.Errorf("%s has no list", key)
			}
		default:
			child, ok := v.(map[string]any)
			if !ok || strings.HasPrefix(key, "@@") {
				return fmt.Errorf("%s is neither an operator nor an object", key)
			}
			inner = true
			if err := checkTree(child); err != nil {
				return err
			}
		}
	}
	if leaf && inner {
		return fmt.Errorf("an object has operators and other members")
	}
	return nil
}

// merge applies one policy. allowed are the operators that the levels above let it use.
func (t *tree) merge(object map[string]any, allowed []string) {
	if t.allowed != nil {
		allowed = t.allowed
	}
	may := func(operator string) bool {
		return allowed == nil || slices.Contains(allowed, "@@all") || slices.Contains(allowed, operator)
	}
	if v, ok := object[allowedOperator]; ok {
		t.next = texts(v)
	}
	if v, ok := object[assignOperator]; ok && may(assignOperator) {
		t.value, t.children = v, nil
	}
	if v, ok := object[appendOperator]; ok && may(appendOperator) {
		list := elements(t.value)
		for _, e := range elements(v) {
			if !slices.ContainsFunc(list, func(o any) bool { return reflect.DeepEqual(o, e) }) {
				list = append(list, e)
			}
		}
		t.value = list
	}
	if v, ok := object[removeOperator]; ok && may(removeOperator) {
		gone := elements(v)
		t.value = slices.DeleteFunc(elements(t.value), func(e any) bool {
			return slices.ContainsFunc(gone, func(o any) bool { return reflect.DeepEqual(o, e) })
		})
	}
	for key, v := range object {
		child, ok := v.(map[string]any)
		if !ok {
			continue
		}
		if t.children[key] == nil {
			if t.children == nil {
				t.children = map[string]*tree{}
			}
			t.children[key] = &tree{}
		}
		t.children[key].merge(child, allowed)
	}
}

// descend makes what a level allows hold for the levels below it.
func (t *tree) descend() {
	if t.next != nil {
		t.allowed, t.next = t.next, nil
	}
	for _, child := range t.children {
		child.descend()
	}
}

// effective is the value that a tree stands for; ok is false where nothing is left.
func (t *tree) effective() (v any, ok bool) {
	if t.value != nil {
		return t.value, true
	}
	object := map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(t.children)) {
		if v, ok := t.children[key].effective(); ok {
			object[key] = v
		}
	}
	return object, len(object) > 0
}

func elements(v any) []any {
	switch v := v.(type) {
	case nil:
		return []any{}
	case []any:
		return slices.Clone(v)
	}
	return []any{v}
}

func texts(v any) []string {
	list := []string{}
	for _, e := range elements(v) {
		if s, ok := e.(string); ok {
			list = append(list, s)
		}
	}
	return list
}

// describeEffectivePolicy answers a member about itself, and the management account
// and delegated administrators about every account.
func (s *Service) describeEffectivePolicy(_ context.Context, c *service.Call, o *identity.Organization, in *api.DescribeEffectivePolicyInput) (*api.DescribeEffectivePolicyOutput, error) {
	id := in.TargetId
	if id == "" {
		id = c.Account
	}
	if id != c.Account && c.Account != o.Management && len(o.Delegates[c.Account]) == 0 {
		return nil, notPermitted()
	}
	if !identity.ValidAccount(id) {
		return nil, invalid("TARGET_NOT_SUPPORTED")
	}
	a := member(c.State, o, id)
	if a == nil {
		return nil, noTarget()
	}
	none := api.EffectivePolicyNotFound("The account has no effective policy of the specified type.")
	if o.Generation(in.PolicyType) == 0 {
		return nil, none
	}
	levels, complete := o.Levels(c.State, a)
	if !complete {
		return nil, fmt.Errorf("an organizational unit above account %s is missing", id)
	}
	var all tree
	found := false
	for _, l := range levels {
		for _, policyID := range o.Attached(l.Target, in.PolicyType) {
			p := o.Policy(c.State, policyID)
			if p == nil {
				return nil, fmt.Errorf("the policy %s, which is attached to %s, is missing", policyID, l.ID)
			}
			document, err := readManagement(p.Document.String())
			if err != nil {
				return nil, fmt.Errorf("reading the policy %s: %w", policyID, err)
			}
			all.merge(document, nil)
			found = true
		}
		all.descend()
	}
	if !found {
		return nil, none
	}
	v, _ := all.effective()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("writing an effective policy: %w", err)
	}
	return &api.DescribeEffectivePolicyOutput{EffectivePolicy: &api.EffectivePolicy{
		PolicyContent: strings.TrimSpace(b.String()), LastUpdatedTimestamp: o.Changed, TargetId: id, PolicyType: in.PolicyType,
	}}, nil
}

// listAccountsWithInvalidEffectivePolicy lists none: what can be kept can be merged.
func (s *Service) listAccountsWithInvalidEffectivePolicy(_ context.Context, c *service.Call, o *identity.Organization, in *api.ListAccountsWithInvalidEffectivePolicyInput) (*api.ListAccountsWithInvalidEffectivePolicyOutput, error) {
	if in.NextToken != "" {
		return nil, invalid("INVALID_NEXT_TOKEN")
	}
	return &api.ListAccountsWithInvalidEffectivePolicyOutput{Accounts: []api.Account{}, PolicyType: in.PolicyType}, nil
}

func (s *Service) listEffectivePolicyValidationErrors(_ context.Context, c *service.Call, o *identity.Organization, in *api.ListEffectivePolicyValidationErrorsInput) (*api.ListEffectivePolicyValidationErrorsOutput, error) {
	if in.NextToken != "" {
		return nil, invalid("INVALID_NEXT_TOKEN")
	}
	a := member(c.State, o, in.AccountId)
	if a == nil {
		return nil, noAccount()
	}
	levels, _ := o.Levels(c.State, a)
	return &api.ListEffectivePolicyValidationErrorsOutput{
		AccountId: a.ID, PolicyType: in.PolicyType, Path: o.Path(levels), EvaluationTimestamp: now(c),
		EffectivePolicyValidationErrors: []api.EffectivePolicyValidationError{},
	}, nil
}
