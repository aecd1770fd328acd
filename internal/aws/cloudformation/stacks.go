package cloudformation

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/cloudformation/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/template"
	"github.com/iamd-dev/iamd/internal/wire"
)

// Quotas of an account in a region (CloudFormation quotas).
const (
	mostStacks     = 2000
	mostChangeSets = 1000 // of a stack; AWS does not say how many
)

// found is how long a deleted stack is found by its ARN.
const foundFor = 90 * 24 * time.Hour

var stackName = regexp.MustCompile(`^[a-zA-Z][-a-zA-Z0-9]*$`)

func checkName(name string) error {
	switch {
	case len(name) > 128:
		return invalid("1 validation error detected: Value '%s' at 'stackName' failed to satisfy constraint: Member must have length less than or equal to 128", name)
	case !stackName.MatchString(name):
		return invalid("1 validation error detected: Value '%s' at 'stackName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*", name)
	}
	return nil
}

func noStack(name string) error { return invalid("Stack with id %s does not exist", name) }

func noStackNamed(name string) error { return invalid("Stack [%s] does not exist", name) }

// unserved refuses what the operations that change stacks take and iamd has not.
func unserved(notifications []string, triggers *api.RollbackConfiguration) error {
	if len(notifications) > 0 {
		return invalid("iamd has no SNS topics: NotificationARNs cannot be given.")
	}
	if triggers != nil && len(triggers.RollbackTriggers) > 0 {
		return invalid("iamd has no CloudWatch alarms: RollbackTriggers cannot be given.")
	}
	return nil
}

// checkTags sees that tags are those that a caller may give.
func checkTags(tags []api.Tag) error {
	seen := map[string]bool{}
	for _, t := range tags {
		if strings.HasPrefix(strings.ToLower(t.Key), "aws:") {
			return invalid("aws: prefixed tag key names are not allowed for external use.")
		}
		if seen[t.Key] {
			return invalid("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		seen[t.Key] = true
	}
	return nil
}

// A request is what CreateStack, UpdateStack and CreateChangeSet ask a stack to be.
type request struct {
	template      string
	parameters    []api.Parameter
	previous      *text // for UsePreviousValue
	capabilities  []string
	resourceTypes []string
}

// desired reads the template and gives it values, of which some are looked up with the
// access that the work will have.
func (s *Service) desired(ctx context.Context, st *stack, w *work, q request) (*template.Template, *text, error) {
	if q.template == "" {
		return nil, nil, invalid("Either Template URL or Template Body must be specified.")
	}
	t, err := s.parse(q.template)
	if err != nil {
		return nil, nil, err
	}
	given := map[string]string{}
	for _, p := range q.parameters {
		if _, twice := given[p.ParameterKey]; twice {
			return nil, nil, invalid("Template error: Parameter %s is given twice", p.ParameterKey)
		}
		given[p.ParameterKey] = p.ParameterValue
		if p.UsePreviousValue {
			if p.ParameterValue != "" {
				return nil, nil, invalid("Invalid input for parameter key %s. Cannot specify usePreviousValue as true and non empty value for a parameter", p.ParameterKey)
			}
			value, ok := "", false
			if q.previous != nil {
				value, ok = q.previous.Values[p.ParameterKey]
			}
			if !ok {
				return nil, nil, invalid("Invalid input for parameter key %s. Cannot specify usePreviousValue as true for a parameter key not in the previous template", p.ParameterKey)
			}
			given[p.ParameterKey] = value
		}
	}
	values, err := t.Values(given)
	if err != nil {
		return nil, nil, mistaken(err)
	}
	if err := permitted(t, q.resourceTypes); err != nil {
		return nil, nil, err
	}
	if err := s.capable(t, q.capabilities); err != nil {
		return nil, nil, err
	}
	if err := s.assumable(ctx, st, w); err != nil {
		return nil, nil, err
	}
	text := &text{Template: q.template, Values: values}
	if err := s.lookUp(ctx, st, w, t, text); err != nil {
		return nil, nil, err
	}
	if _, err := t.Instantiate(s.context(st, text)); err != nil {
		return nil, nil, mistaken(err)
	}
	return t, text, nil
}

// assumable sees that a role can be assumed, before anything is begun with it.
func (s *Service) assumable(ctx context.Context, st *stack, w *work) error {
	if w.Role == "" {
		return nil
	}
	_, err := s.Roles.Assume(ctx, use(st, w))
	var refused *wire.Error
	if errors.As(err, &refused) {
		return invalid("Role %s is invalid or cannot be assumed", w.Role)
	}
	return err
}

// newWork is an operation that a call begins.
func (s *Service) newWork(c *service.Call, st *stack, operation, token string, role string) *work {
	w := &work{Operation: operation, Request: c.RequestID, Token: token, Caller: callerOf(c), Role: arn.ARN(role), Started: s.now(), Before: st.Body, Body: st.Body}
	if w.Role == "" {
		w.Role = st.Role
	}
	return w
}

func (s *Service) createStack(ctx context.Context, c *service.Call, in *api.CreateStackInput) (*api.CreateStackOutput, error) {
	if err := checkName(in.StackName); err != nil {
		return nil, err
	}
	if err := unserved(in.NotificationARNs, in.RollbackConfiguration); err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	if in.DisableRollback != nil && in.OnFailure != "" {
		return nil, invalid("You can specify either DisableRollback or OnFailure, but not both")
	}
	if st := find(c.State, c, in.StackName); st != nil && in.ClientRequestToken != "" && st.Token == in.ClientRequestToken && st.TokenOf == "CreateStack" {
		return &api.CreateStackOutput{StackId: st.ID}, nil
	}
	body, err := s.fetch(ctx, c, in.TemplateBody, in.TemplateURL)
	if err != nil {
		return nil, err
	}
	policy, err := s.stackPolicyOf(ctx, c, in.StackPolicyBody, in.StackPolicyURL)
	if err != nil {
		return nil, err
	}
	st := s.newStack(c, in.StackName)
	if old := find(c.State, c, in.StackName); old != nil {
		if old.Status != "REVIEW_IN_PROGRESS" {
			return nil, api.AlreadyExists("Stack [%s] already exists", in.StackName)
		}
		kept := *old
		st = &kept
	}
	w := s.newWork(c, st, "CREATE", in.ClientRequestToken, in.RoleARN)
	t, text, err := s.desired(ctx, st, w, request{template: body, parameters: in.Parameters, capabilities: in.Capabilities, resourceTypes: in.ResourceTypes})
	if err != nil {
		return nil, err
	}
	st.OnFailure = cmp.Or(in.OnFailure, "ROLLBACK")
	if in.DisableRollback != nil && *in.DisableRollback {
		st.OnFailure = "DO_NOTHING"
	}
	if in.TimeoutInMinutes != nil {
		st.Timeout = *in.TimeoutInMinutes
	}
	st.Description, st.Capabilities, st.Tags, st.Role, st.Policy = t.Description, in.Capabilities, in.Tags, w.Role, policy
	st.Protected = in.EnableTerminationProtection != nil && *in.EnableTerminationProtection
	st.RetainExcept = in.RetainExceptOnCreate != nil && *in.RetainExceptOnCreate
	st.Token, st.TokenOf = in.ClientRequestToken, "CreateStack"
	if err := s.start(ctx, st, w, text, "CREATE_IN_PROGRESS", in.StackName, "REVIEW_IN_PROGRESS"); err != nil {
		return nil, err
	}
	return &api.CreateStackOutput{StackId: st.ID}, nil
}

func (s *Service) newStack(c *service.Call, name string) *stack {
	return &stack{
		ID:      string(arn.New("aws", "cloudformation", c.Region, c.Account, "stack/"+name+"/"+uuid())),
		Name:    name,
		Account: c.Account,
		Region:  c.Region,
		Created: s.now(),
	}
}

// start begins an operation: st is the stack as it is to be, w what is to be done, and t
// the text that it is to have, nil for the one it has. The stack must still be as it was
// found: not there, or in the status was.
func (s *Service) start(ctx context.Context, st *stack, w *work, t *text, status, name, was string) error {
	sealed, number := "", 0
	if t != nil {
		number = st.Bodies + 1
		var err error
		if sealed, err = s.seal(bodyKey(st, number), t); err != nil {
			return err
		}
		w.Body = number
	}
	place := st.Account + "/" + st.Region + "/"
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		st := *st // it may run twice
		now := stacks.Get(tx, st.key())
		if holder := names.Get(tx, place+st.Name); holder != nil && *holder != st.key() {
			return api.AlreadyExists("Stack [%s] already exists", name)
		}
		switch {
		case now == nil && was != "" && was != "REVIEW_IN_PROGRESS":
			return noStackNamed(name)
		case now != nil && (now.Status != was || now.Work != nil || now.Bodies != st.Bodies):
			return invalid("Stack:%s is in %s state and can not be updated.", st.ID, now.Status)
		case now == nil:
			if n := s.sweep(tx, place); n >= mostStacks {
				return api.LimitExceeded("Limit for stack has been exceeded")
			}
			key := st.key()
			names.Put(tx, place+st.Name, &key)
		default:
			st.Events = now.Events
		}
		if t != nil {
			keepText(tx, &st, sealed, number)
		}
		st.Work, st.Stuck = w, nil
		for key, c := range changeSets.All(tx, st.key()+"/") {
			if c.Execution == "AVAILABLE" {
				c.Execution = "OBSOLETE"
				changeSets.Put(tx, key, c)
			}
		}
		s.become(tx, &st, status, "User Initiated")
		stacks.Put(tx, st.key(), &st)
		return nil
	})
	if err != nil {
		return err
	}
	s.begin(st.key())
	return nil
}

// sweep counts the stacks of a place and forgets some that were deleted long ago.
func (s *Service) sweep(tx *store.Tx, place string) int {
	n, swept := 0, 0
	for key, st := range stacks.All(tx, place) {
		if st.Status != "DELETE_COMPLETE" {
			n++
			continue
		}
		if swept < 3 && s.now().Sub(st.Deleted) > foundFor {
			swept++
			forget(tx, key)
		}
	}
	return n
}

func forget(tx *store.Tx, key string) {
	left := 200 // keys a stack, so that one change does not get too large; the rest goes with the next
	for k := range events.All(tx, key+"/") {
		if left--; left < 0 {
			return
		}
		events.Delete(tx, k)
	}
	for k := range resources.All(tx, key+"/") {
		if left--; left < 0 {
			return
		}
		resources.Delete(tx, k)
	}
	for k := range bodies.All(tx, key+"/") {
		bodies.Delete(tx, k)
	}
	for k := range changeSets.All(tx, key+"/") {
		if left--; left < 0 {
			return
		}
		changeSets.Delete(tx, k)
	}
	stacks.Delete(tx, key)
}

// updatable are the statuses in which a stack can be updated.
var updatable = []string{"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_FAILED"}

func (s *Service) updateStack(ctx context.Context, c *service.Call, in *api.UpdateStackInput) (*api.UpdateStackOutput, error) {
	if err := unserved(in.NotificationARNs, in.RollbackConfiguration); err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	found := find(c.State, c, in.StackName)
	if found == nil || found.Status == "DELETE_COMPLETE" {
		return nil, noStackNamed(in.StackName)
	}
	if in.ClientRequestToken != "" && found.Token == in.ClientRequestToken {
		if found.TokenOf == "UpdateStack" {
			return &api.UpdateStackOutput{StackId: found.ID}, nil
		}
		return nil, api.TokenAlreadyExists("Token %s is already used by another operation", in.ClientRequestToken)
	}
	if !slices.Contains(updatable, found.Status) {
		return nil, invalid("Stack:%s is in %s state and can not be updated.", found.ID, found.Status)
	}
	body, previous, err := s.newBody(ctx, c, found, in.TemplateBody, in.TemplateURL, in.UsePreviousTemplate)
	if err != nil {
		return nil, err
	}
	policy, err := s.stackPolicyOf(ctx, c, in.StackPolicyBody, in.StackPolicyURL)
	if err != nil {
		return nil, err
	}
	during, err := s.stackPolicyOf(ctx, c, in.StackPolicyDuringUpdateBody, in.StackPolicyDuringUpdateURL)
	if err != nil {
		return nil, err
	}
	copied := *found
	st := &copied
	w := s.newWork(c, st, "UPDATE", in.ClientRequestToken, in.RoleARN)
	t, text, err := s.desired(ctx, st, w, request{body, in.Parameters, previous, in.Capabilities, in.ResourceTypes})
	if err != nil {
		return nil, err
	}
	tags := found.Tags
	if in.Tags != nil {
		tags = in.Tags
	}
	w.Old = &former{found.Tags, found.Capabilities, found.Description, found.Imports}
	w.Policy = during
	st.Tags = tags
	changes, err := s.plan(st, t, text, previous)
	if err != nil {
		return nil, err
	}
	if len(changes) == 0 && s.sameOutputs(st, previous, t, text) && slices.Equal(tags, found.Tags) && found.Status != "UPDATE_FAILED" {
		if policy != "" && policy != found.Policy || w.Role != found.Role {
			return &api.UpdateStackOutput{StackId: found.ID}, s.modify(ctx, found, func(_ *store.Tx, st *stack) error {
				st.Role = w.Role
				st.Policy = cmp.Or(policy, st.Policy)
				return nil
			})
		}
		return nil, invalid(noUpdates)
	}
	st.Capabilities, st.Role, st.Policy = in.Capabilities, w.Role, cmp.Or(policy, st.Policy)
	st.Updated = s.now()
	st.OnFailure = "ROLLBACK"
	if in.DisableRollback != nil && *in.DisableRollback {
		st.OnFailure = "DO_NOTHING"
	}
	st.RetainExcept = in.RetainExceptOnCreate != nil && *in.RetainExceptOnCreate
	st.Token, st.TokenOf = in.ClientRequestToken, "UpdateStack"
	if err := s.start(ctx, st, w, text, "UPDATE_IN_PROGRESS", in.StackName, found.Status); err != nil {
		return nil, err
	}
	return &api.UpdateStackOutput{StackId: st.ID}, nil
}

// newBody is the template that an update gives, and the text that the stack has.
func (s *Service) newBody(ctx context.Context, c *service.Call, st *stack, body, url string, usePrevious *bool) (string, *text, error) {
	previous, err := s.text(c.State, st, st.Body)
	if err != nil {
		return "", nil, err
	}
	if usePrevious != nil && *usePrevious {
		if body != "" || url != "" {
			return "", nil, invalid("You cannot specify both usePreviousTemplate and Template Body/Template URL.")
		}
		return previous.Template, previous, nil
	}
	body, err = s.fetch(ctx, c, body, url)
	return body, previous, err
}

// modify changes a stack on which nothing goes on.
func (s *Service) modify(ctx context.Context, found *stack, f func(*store.Tx, *stack) error) error {
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		st := stacks.Get(tx, found.key())
		if st == nil || st.Status == "DELETE_COMPLETE" {
			return noStackNamed(found.Name)
		}
		if err := f(tx, st); err != nil {
			return err
		}
		stacks.Put(tx, st.key(), st)
		return nil
	})
}

func (s *Service) deleteStack(ctx context.Context, c *service.Call, in *api.DeleteStackInput) (*api.DeleteStackOutput, error) {
	found := find(c.State, c, in.StackName)
	switch {
	case found == nil || found.Status == "DELETE_COMPLETE":
		return nil, nil
	case found.Protected:
		return nil, invalid("Stack [%s] cannot be deleted while TerminationProtection is enabled", found.Name)
	case in.DeletionMode == "FORCE_DELETE_STACK":
		return nil, invalid("iamd does not delete stacks by force: name what is to stay in RetainResources.")
	case len(in.RetainResources) > 0 && found.Status != "DELETE_FAILED":
		return nil, invalid("Invalid operation on stack [%s]. RetainResources can only be specified for a stack in DELETE_FAILED state", found.ID)
	}
	for _, logical := range in.RetainResources {
		if resources.Get(c.State, found.key()+"/"+logical) == nil {
			return nil, invalid("Resource %s does not exist for stack %s", logical, found.Name)
		}
	}
	w := s.newWork(c, found, "DELETE", in.ClientRequestToken, in.RoleARN)
	if err := s.assumable(ctx, found, w); err != nil {
		return nil, err
	}
	w.Retain = in.RetainResources
	begun := false
	err := s.modify(ctx, found, func(tx *store.Tx, st *stack) error {
		begun = false
		switch {
		case st.Status == "DELETE_IN_PROGRESS":
			return nil
		case st.Work != nil && st.Status == "CREATE_IN_PROGRESS":
			st.Work.Cancelled = true // the work sees it and deletes what it has made
			return nil
		case st.Work != nil:
			return invalid("Stack [%s] cannot be deleted while in status %s", found.ID, st.Status)
		}
		st.Token, st.TokenOf = in.ClientRequestToken, "DeleteStack"
		st.Role = w.Role
		for key, e := range exports.All(tx, st.Account+"/"+st.Region+"/") {
			name := strings.TrimPrefix(key, st.Account+"/"+st.Region+"/")
			if e.Stack != st.ID {
				continue
			}
			if user := importer(tx, st, name); user != "" {
				s.become(tx, st, "DELETE_IN_PROGRESS", "User Initiated")
				s.become(tx, st, "DELETE_FAILED", fmt.Sprintf("Export %s cannot be deleted as it is in use by %s", name, user))
				return nil
			}
		}
		begun = true
		st.Work, st.Stuck = w, nil
		s.become(tx, st, "DELETE_IN_PROGRESS", "User Initiated")
		return nil
	})
	if err == nil && begun {
		s.begin(found.key())
	}
	return nil, err
}

func (s *Service) cancelUpdateStack(ctx context.Context, c *service.Call, in *api.CancelUpdateStackInput) (*api.CancelUpdateStackOutput, error) {
	found := find(c.State, c, in.StackName)
	if found == nil {
		return nil, noStackNamed(in.StackName)
	}
	return nil, s.modify(ctx, found, func(_ *store.Tx, st *stack) error {
		if st.Status != "UPDATE_IN_PROGRESS" || st.Work == nil {
			return invalid("CancelUpdateStack cannot be called from current stack status")
		}
		st.Work.Cancelled = true
		return nil
	})
}

func (s *Service) continueUpdateRollback(ctx context.Context, c *service.Call, in *api.ContinueUpdateRollbackInput) (*api.ContinueUpdateRollbackOutput, error) {
	return &api.ContinueUpdateRollbackOutput{}, s.resume(ctx, c, in.StackName, in.RoleARN, in.ClientRequestToken, func(st *stack) (string, error) {
		if st.Status != "UPDATE_ROLLBACK_FAILED" {
			return "", invalid("Stack:%s is in %s state and can not continue update rollback.", st.ID, st.Status)
		}
		st.Stuck.Skip = in.ResourcesToSkip
		return "UPDATE_ROLLBACK_IN_PROGRESS", nil
	})
}

func (s *Service) rollbackStack(ctx context.Context, c *service.Call, in *api.RollbackStackInput) (*api.RollbackStackOutput, error) {
	id := ""
	err := s.resume(ctx, c, in.StackName, in.RoleARN, in.ClientRequestToken, func(st *stack) (string, error) {
		id = st.ID
		if in.RetainExceptOnCreate != nil {
			st.RetainExcept = *in.RetainExceptOnCreate
		}
		switch st.Status {
		case "CREATE_FAILED":
			return "ROLLBACK_IN_PROGRESS", nil
		case "UPDATE_FAILED":
			return "UPDATE_ROLLBACK_IN_PROGRESS", nil
		}
		return "", invalid("Stack:%s is in %s state and can not be rolled back.", st.ID, st.Status)
	})
	return &api.RollbackStackOutput{StackId: id}, err
}

// resume goes on with what had failed, for the caller of now.
func (s *Service) resume(ctx context.Context, c *service.Call, name, role, token string, f func(*stack) (string, error)) error {
	found := find(c.State, c, name)
	if found == nil || found.Status == "DELETE_COMPLETE" {
		return noStackNamed(name)
	}
	w := s.newWork(c, found, "ROLLBACK", token, role)
	if err := s.assumable(ctx, found, w); err != nil {
		return err
	}
	err := s.modify(ctx, found, func(tx *store.Tx, st *stack) error {
		if st.Stuck == nil {
			st.Stuck = &work{}
		}
		status, err := f(st)
		if err != nil {
			return err
		}
		stuck := *st.Stuck
		stuck.Caller, stuck.Role, stuck.Token = w.Caller, w.Role, token
		stuck.Request, stuck.Started, stuck.Cancelled = w.Request, w.Started, false
		st.Role, st.Work, st.Stuck = w.Role, &stuck, nil
		s.become(tx, st, status, "User Initiated")
		return nil
	})
	if err == nil {
		s.begin(found.key())
	}
	return err
}

func (s *Service) updateTerminationProtection(ctx context.Context, c *service.Call, in *api.UpdateTerminationProtectionInput) (*api.UpdateTerminationProtectionOutput, error) {
	found := find(c.State, c, in.StackName)
	if found == nil || found.Status == "DELETE_COMPLETE" {
		return nil, noStackNamed(in.StackName)
	}
	return &api.UpdateTerminationProtectionOutput{StackId: found.ID}, s.modify(ctx, found, func(_ *store.Tx, st *stack) error {
		if st.Parent != "" {
			return invalid("Termination protection cannot be updated on nested stack %s", st.ID)
		}
		st.Protected = in.EnableTerminationProtection
		return nil
	})
}

// stackPolicyOf reads the stack policy that a call gives; "" where it gives none.
func (s *Service) stackPolicyOf(ctx context.Context, c *service.Call, body, url string) (string, error) {
	text, err := s.fetch(ctx, c, body, url)
	if err != nil || text == "" {
		return "", err
	}
	_, err = parseStackPolicy(text)
	return text, err
}

func (s *Service) setStackPolicy(ctx context.Context, c *service.Call, in *api.SetStackPolicyInput) (*api.SetStackPolicyOutput, error) {
	found := find(c.State, c, in.StackName)
	if found == nil || found.Status == "DELETE_COMPLETE" {
		return nil, noStackNamed(in.StackName)
	}
	policy, err := s.stackPolicyOf(ctx, c, in.StackPolicyBody, in.StackPolicyURL)
	if err != nil {
		return nil, err
	}
	if policy == "" {
		return nil, invalid("Either StackPolicyBody or StackPolicyURL must be specified.")
	}
	return nil, s.modify(ctx, found, func(_ *store.Tx, st *stack) error {
		st.Policy = policy
		return nil
	})
}

func (s *Service) getStackPolicy(_ context.Context, c *service.Call, in *api.GetStackPolicyInput) (*api.GetStackPolicyOutput, error) {
	st := find(c.State, c, in.StackName)
	if st == nil {
		return nil, noStackNamed(in.StackName)
	}
	return &api.GetStackPolicyOutput{StackPolicyBody: st.Policy}, nil
}

// page cuts items at a token, which is how many came before.
func page[T any](items []T, token string) ([]T, string, error) {
	const most = 100
	from := 0
	if token != "" {
		raw, err := base64.RawURLEncoding.DecodeString(token)
		if err == nil {
			from, err = strconv.Atoi(string(raw))
		}
		if err != nil || from < 0 || from > len(items) {
			return nil, "", invalid("Invalid NextToken")
		}
	}
	if len(items)-from <= most {
		return items[from:], "", nil
	}
	return items[from : from+most], base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(from + most))), nil
}

func (s *Service) describeStacks(_ context.Context, c *service.Call, in *api.DescribeStacksInput) (*api.DescribeStacksOutput, error) {
	var all []*stack
	if in.StackName != "" {
		st := find(c.State, c, in.StackName)
		if st == nil {
			return nil, noStack(in.StackName)
		}
		all = append(all, st)
	} else {
		for _, st := range stacksOf(c.State, c.Account, c.Region) {
			if st.Status != "DELETE_COMPLETE" {
				all = append(all, st)
			}
		}
		newestFirst(all)
	}
	some, next, err := page(all, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeStacksOutput{Stacks: []api.Stack{}, NextToken: next}
	for _, st := range some {
		v, err := s.view(c.State, st)
		if err != nil {
			return nil, err
		}
		out.Stacks = append(out.Stacks, v)
	}
	return out, nil
}

func newestFirst(all []*stack) {
	slices.SortFunc(all, func(a, b *stack) int {
		return cmp.Or(b.Created.Compare(a.Created), strings.Compare(a.Name, b.Name))
	})
}

func (s *Service) view(r store.Reader, st *stack) (api.Stack, error) {
	v := api.Stack{
		StackId: st.ID, StackName: st.Name, ChangeSetId: st.ChangeSet, Description: st.Description,
		CreationTime: st.Created, LastUpdatedTime: st.Updated, DeletionTime: st.Deleted,
		StackStatus: st.Status, StackStatusReason: st.Reason, DisableRollback: st.OnFailure == "DO_NOTHING",
		RollbackConfiguration: &api.RollbackConfiguration{}, NotificationARNs: []string{}, TimeoutInMinutes: st.Timeout,
		Capabilities: st.Capabilities, RoleARN: string(st.Role), Tags: st.Tags, EnableTerminationProtection: st.Protected,
		ParentId: st.Parent, RootId: st.Root, DriftInformation: &api.StackDriftInformation{StackDriftStatus: "NOT_CHECKED"},
		RetainExceptOnCreate: st.RetainExcept,
	}
	if v.Tags == nil {
		v.Tags = []api.Tag{}
	}
	number := st.Body
	if number == 0 && st.Work != nil {
		number = st.Work.Body
	}
	t, err := s.text(r, st, number)
	if err != nil {
		return v, err
	}
	v.Parameters = shown(t)
	if st.Status != "DELETE_COMPLETE" {
		for _, o := range t.Outputs {
			v.Outputs = append(v.Outputs, api.Output{OutputKey: o.Key, OutputValue: o.Value, Description: o.Description, ExportName: o.Export})
		}
	}
	return v, nil
}

// shown are parameters as callers see them: those with NoEcho are not.
func shown(t *text) []api.Parameter {
	parsed, err := template.Parse(t.Template)
	if err != nil {
		return nil
	}
	var all []api.Parameter
	for _, name := range slices.Sorted(maps.Keys(t.Values)) {
		value, resolved := t.Values[name], t.LookedUp[name]
		if p := parsed.Parameters[name]; p == nil || p.NoEcho {
			value = "****"
			if resolved != "" {
				resolved = "****"
			}
		}
		all = append(all, api.Parameter{ParameterKey: name, ParameterValue: value, ResolvedValue: resolved})
	}
	return all
}

func (s *Service) listStacks(_ context.Context, c *service.Call, in *api.ListStacksInput) (*api.ListStacksOutput, error) {
	var all []*stack
	for _, st := range stacksOf(c.State, c.Account, c.Region) {
		if in.StackStatusFilter == nil || slices.Contains(in.StackStatusFilter, st.Status) {
			all = append(all, st)
		}
	}
	newestFirst(all)
	some, next, err := page(all, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &api.ListStacksOutput{StackSummaries: []api.StackSummary{}, NextToken: next}
	for _, st := range some {
		out.StackSummaries = append(out.StackSummaries, api.StackSummary{
			StackId: st.ID, StackName: st.Name, TemplateDescription: st.Description, CreationTime: st.Created, LastUpdatedTime: st.Updated, DeletionTime: st.Deleted,
			StackStatus: st.Status, StackStatusReason: st.Reason, ParentId: st.Parent, RootId: st.Root,
			DriftInformation: &api.StackDriftInformationSummary{StackDriftStatus: "NOT_CHECKED"},
		})
	}
	return out, nil
}

func (s *Service) describeStackEvents(_ context.Context, c *service.Call, in *api.DescribeStackEventsInput) (*api.DescribeStackEventsOutput, error) {
	st := find(c.State, c, in.StackName)
	if st == nil {
		return nil, noStackNamed(in.StackName)
	}
	var all []*event
	for _, e := range events.All(c.State, st.key()+"/") {
		all = append(all, e)
	}
	slices.Reverse(all)
	some, next, err := page(all, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeStackEventsOutput{StackEvents: []api.StackEvent{}, NextToken: next}
	for _, e := range some {
		v := api.StackEvent{StackId: st.ID, StackName: st.Name, EventId: e.ID, LogicalResourceId: e.Logical, PhysicalResourceId: e.Physical, ResourceType: e.Type,
			Timestamp: e.Time, ResourceStatus: e.Status, ResourceStatusReason: e.Reason, ClientRequestToken: e.Token}
		if e.Properties != "" {
			var properties any
			if err := s.open(st.key(), e.Properties, &properties); err != nil {
				return nil, err
			}
			v.ResourceProperties = template.Text(properties)
		}
		out.StackEvents = append(out.StackEvents, v)
	}
	return out, nil
}

func (s *Service) describeStackResource(_ context.Context, c *service.Call, in *api.DescribeStackResourceInput) (*api.DescribeStackResourceOutput, error) {
	st := find(c.State, c, in.StackName)
	if st == nil {
		return nil, invalid("Stack '%s' does not exist", in.StackName)
	}
	r := resources.Get(c.State, st.key()+"/"+in.LogicalResourceId)
	if r == nil {
		return nil, invalid("Resource %s does not exist for stack %s", in.LogicalResourceId, st.Name)
	}
	return &api.DescribeStackResourceOutput{StackResourceDetail: &api.StackResourceDetail{
		StackName: st.Name, StackId: st.ID, LogicalResourceId: r.Logical, PhysicalResourceId: r.Physical, ResourceType: r.Type, LastUpdatedTimestamp: r.Time,
		ResourceStatus: r.Status, ResourceStatusReason: r.Reason, Metadata: cmp.Or(r.Metadata, "{}"),
		DriftInformation: &api.StackResourceDriftInformation{StackResourceDriftStatus: "NOT_CHECKED"},
	}}, nil
}

func (s *Service) describeStackResources(_ context.Context, c *service.Call, in *api.DescribeStackResourcesInput) (*api.DescribeStackResourcesOutput, error) {
	var st *stack
	switch {
	case in.StackName != "" && in.PhysicalResourceId != "":
		return nil, invalid("Only one of StackName or PhysicalResourceId may be specified.")
	case in.StackName != "":
		if st = find(c.State, c, in.StackName); st == nil {
			return nil, noStack(in.StackName)
		}
	case in.PhysicalResourceId != "":
		for _, other := range stacksOf(c.State, c.Account, c.Region) {
			if other.Status != "DELETE_COMPLETE" && slices.ContainsFunc(resourcesOf(c.State, other), func(r *resource) bool { return r.Physical == in.PhysicalResourceId }) {
				st = other
			}
		}
		if st == nil {
			return nil, invalid("Stack for %s does not exist", in.PhysicalResourceId)
		}
	default:
		return nil, invalid("At least one of StackName or PhysicalResourceId must be specified.")
	}
	out := &api.DescribeStackResourcesOutput{StackResources: []api.StackResource{}}
	for _, r := range resourcesOf(c.State, st) {
		if in.LogicalResourceId != "" && r.Logical != in.LogicalResourceId || len(out.StackResources) == 100 {
			continue
		}
		out.StackResources = append(out.StackResources, api.StackResource{
			StackName: st.Name, StackId: st.ID, LogicalResourceId: r.Logical, PhysicalResourceId: r.Physical, ResourceType: r.Type, Timestamp: r.Time,
			ResourceStatus: r.Status, ResourceStatusReason: r.Reason, DriftInformation: &api.StackResourceDriftInformation{StackResourceDriftStatus: "NOT_CHECKED"},
		})
	}
	return out, nil
}

func (s *Service) listStackResources(_ context.Context, c *service.Call, in *api.ListStackResourcesInput) (*api.ListStackResourcesOutput, error) {
	st := find(c.State, c, in.StackName)
	if st == nil {
		return nil, noStack(in.StackName)
	}
	some, next, err := page(resourcesOf(c.State, st), in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &api.ListStackResourcesOutput{StackResourceSummaries: []api.StackResourceSummary{}, NextToken: next}
	for _, r := range some {
		out.StackResourceSummaries = append(out.StackResourceSummaries, api.StackResourceSummary{
			LogicalResourceId: r.Logical, PhysicalResourceId: r.Physical, ResourceType: r.Type, LastUpdatedTimestamp: r.Time, ResourceStatus: r.Status, ResourceStatusReason: r.Reason,
			DriftInformation: &api.StackResourceDriftInformationSummary{StackResourceDriftStatus: "NOT_CHECKED"},
		})
	}
	return out, nil
}

func (s *Service) listExports(_ context.Context, c *service.Call, in *api.ListExportsInput) (*api.ListExportsOutput, error) {
	place := c.Account + "/" + c.Region + "/"
	var all []api.Export
	for key, e := range exports.All(c.State, place) {
		all = append(all, api.Export{ExportingStackId: e.Stack, Name: strings.TrimPrefix(key, place), Value: e.Value})
	}
	some, next, err := page(all, in.NextToken)
	if err != nil {
		return nil, err
	}
	return &api.ListExportsOutput{Exports: append([]api.Export{}, some...), NextToken: next}, nil
}

func (s *Service) listImports(_ context.Context, c *service.Call, in *api.ListImportsInput) (*api.ListImportsOutput, error) {
	var all []string
	for _, st := range stacksOf(c.State, c.Account, c.Region) {
		if st.Status != "DELETE_COMPLETE" && slices.Contains(st.Imports, in.ExportName) {
			all = append(all, st.Name)
		}
	}
	if all == nil {
		return nil, invalid("Export '%s' is not imported by any stack.", in.ExportName)
	}
	slices.Sort(all)
	some, next, err := page(all, in.NextToken)
	if err != nil {
		return nil, err
	}
	return &api.ListImportsOutput{Imports: some, NextToken: next}, nil
}

func (s *Service) describeAccountLimits(context.Context, *service.Call, *api.DescribeAccountLimitsInput) (*api.DescribeAccountLimitsOutput, error) {
	return &api.DescribeAccountLimitsOutput{AccountLimits: []api.AccountLimit{{Name: "StackLimit", Value: mostStacks}, {Name: "StackOutputsLimit", Value: template.MaxOutputs}}}, nil
}
