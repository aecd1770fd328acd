package cloudformation

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/cloudformation/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/template"
)

// unknown stands for what is known when the change is made, in AWS's words.
const unknown = "{{changeSet:KNOWN_AFTER_APPLY}}"

// plan is what would be done with the resources of a stack to make it what t says.
func (s *Service) plan(st *stack, t *template.Template, new, old *text) ([]api.Change, error) {
	r := s.DB.View()
	m := &maker{s: s, st: st}
	there := map[string]*resource{}
	for _, res := range resourcesOf(r, st) {
		if res.Status != "DELETE_COMPLETE" {
			there[res.Logical] = res
		}
	}
	renewed := map[string]bool{}           // made, or replaced
	changed := map[string]map[string]any{} // the properties of those that change
	c := s.context(st, new)
	c.Ref = func(logical string) (string, error) {
		if res := there[logical]; res != nil && !renewed[logical] && res.Physical != "" {
			return res.Physical, nil
		}
		return unknown, nil
	}
	c.GetAtt = func(logical, attribute string) (any, error) {
		if res := there[logical]; res != nil && !renewed[logical] {
			is, err := s.opened(st, res.Sealed)
			if err != nil {
				return nil, err
			}
			attributes := is.Attributes
			if properties := changed[logical]; properties != nil {
				attributes = s.kinds[res.Type].attributes(m.scope(res.Physical, res.Name, properties), attributes)
			}
			if v, ok := attributes[attribute]; ok {
				return v, nil
			}
		}
		return unknown, nil
	}
	in, err := t.Instantiate(c)
	if err != nil {
		return nil, mistaken(err)
	}
	var changes []api.Change
	add := func(c api.ResourceChange) {
		changes = append(changes, api.Change{Type: "Resource", ResourceChange: &c})
	}
	for _, logical := range in.Order {
		k := s.kinds[t.Resources[logical].Type]
		properties, err := in.Properties(logical)
		if err != nil {
			return nil, mistaken(err)
		}
		properties = m.tagged(k, properties)
		res := there[logical]
		if res == nil {
			renewed[logical] = true
			add(api.ResourceChange{Action: "Add", LogicalResourceId: logical, ResourceType: k.Type, Scope: []string{}, Details: []api.ResourceChangeDetail{}})
			continue
		}
		is, err := s.opened(st, res.Sealed)
		if err != nil {
			return nil, err
		}
		change := api.ResourceChange{Action: "Modify", LogicalResourceId: logical, PhysicalResourceId: res.Physical, ResourceType: k.Type, Replacement: "False"}
		replace := res.Type != k.Type
		for _, name := range differing(is.Properties, properties) {
			d := api.ResourceChangeDetail{Target: &api.ResourceTargetDefinition{Attribute: "Properties", Name: name, RequiresRecreation: "Never"}, Evaluation: "Static", ChangeSource: "DirectModification"}
			if name == "Tags" {
				d.Target.Attribute, d.Target.Name = "Tags", ""
			}
			if k.replace[name] {
				d.Target.RequiresRecreation, replace = "Always", true
			}
			if strings.Contains(template.Text(properties[name]), unknown) {
				d.Evaluation, d.ChangeSource = "Dynamic", "ResourceReference"
			}
			change.Details = append(change.Details, d)
			if !slices.Contains(change.Scope, d.Target.Attribute) {
				change.Scope = append(change.Scope, d.Target.Attribute)
			}
		}
		metadata := ""
		if t.Resources[logical].Metadata != nil {
			metadata = template.Text(t.Resources[logical].Metadata)
		}
		if metadata != res.Metadata {
			change.Scope = append(change.Scope, "Metadata")
			change.Details = append(change.Details, api.ResourceChangeDetail{Target: &api.ResourceTargetDefinition{Attribute: "Metadata", RequiresRecreation: "Never"}, Evaluation: "Static", ChangeSource: "DirectModification"})
		}
		if k.Type == stackType && change.Details == nil && !hasUnknown(properties) {
			continue
		}
		if change.Details == nil && !replace {
			continue
		}
		if replace {
			renewed[logical] = true
			change.Replacement, change.PolicyAction = "True", "ReplaceAndDelete"
			if t.Resources[logical].UpdateReplacePolicy == "Retain" {
				change.PolicyAction = "ReplaceAndRetain"
			}
		}
		changed[logical] = properties
		add(change)
	}
	for _, logical := range slices.Sorted(maps.Keys(there)) {
		if slices.Contains(in.Order, logical) {
			continue
		}
		res := there[logical]
		c := api.ResourceChange{Action: "Remove", LogicalResourceId: logical, PhysicalResourceId: res.Physical, ResourceType: res.Type, PolicyAction: "Delete", Scope: []string{}, Details: []api.ResourceChangeDetail{}}
		if res.Keep {
			c.PolicyAction = "Retain"
		}
		add(c)
	}
	slices.SortStableFunc(changes, func(a, b api.Change) int {
		return strings.Compare(a.ResourceChange.LogicalResourceId, b.ResourceChange.LogicalResourceId)
	})
	return changes, nil
}

func hasUnknown(properties map[string]any) bool {
	return strings.Contains(template.Text(any(properties)), unknown)
}

// sameOutputs tells whether a new template gives the outputs that the stack has: where no
// resource changes, what they refer to has not.
func (s *Service) sameOutputs(st *stack, old *text, t *template.Template, new *text) bool {
	was, err := template.Parse(old.Template)
	if err != nil {
		return false
	}
	shape := func(t *template.Template, text *text) (map[string]template.OutputValue, bool) {
		c := s.context(st, text)
		c.Ref = func(logical string) (string, error) { return "ref " + logical, nil }
		c.GetAtt = func(logical, attribute string) (any, error) { return "att " + logical + " " + attribute, nil }
		in, err := t.Instantiate(c)
		if err != nil {
			return nil, false
		}
		outputs, err := in.Outputs()
		all := map[string]template.OutputValue{}
		for _, o := range outputs {
			all[o.Key] = o
		}
		return all, err == nil
	}
	a, ok := shape(was, old)
	b, ok2 := shape(t, new)
	return ok && ok2 && maps.Equal(a, b) && was.Description == t.Description
}

// findChangeSet returns the change set with the ARN, or with the name, of a stack.
func findChangeSet(r store.Reader, c *service.Call, name, stackName string) (*stack, *changeSet, error) {
	missing := api.ChangeSetNotFound("ChangeSet [%s] does not exist", name)
	if strings.HasPrefix(name, "arn:") {
		for _, st := range stacksOf(r, c.Account, c.Region) {
			if set := changeSets.Get(r, st.key()+"/"+uniqueOf(name)); set != nil && set.ID == name {
				return st, set, nil
			}
		}
		return nil, nil, missing
	}
	if stackName == "" {
		return nil, nil, invalid("StackName must be specified if ChangeSetName is not specified as an ARN.")
	}
	st := find(r, c, stackName)
	if st == nil {
		return nil, nil, noStackNamed(stackName)
	}
	var newest *changeSet
	for _, set := range changeSets.All(r, st.key()+"/") {
		if set.Name == name && (newest == nil || set.Created.After(newest.Created)) {
			newest = set
		}
	}
	if newest == nil {
		return nil, nil, missing
	}
	return st, newest, nil
}

func uniqueOf(id string) string { return id[strings.LastIndexByte(id, '/')+1:] }

func (s *Service) createChangeSet(ctx context.Context, c *service.Call, in *api.CreateChangeSetInput) (*api.CreateChangeSetOutput, error) {
	if err := unserved(in.NotificationARNs, in.RollbackConfiguration); err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	switch {
	case in.ChangeSetType == "IMPORT" || in.ResourcesToImport != nil || in.ImportExistingResources != nil && *in.ImportExistingResources:
		return nil, invalid("iamd does not import resources into stacks.")
	case in.DeploymentMode != "":
		return nil, invalid("iamd does not detect drift: DeploymentMode cannot be given.")
	}
	kind := cmp.Or(in.ChangeSetType, "UPDATE")
	found := find(c.State, c, in.StackName)
	if found != nil && found.Status == "DELETE_COMPLETE" {
		found = nil
	}
	var st *stack
	switch {
	case kind == "CREATE" && found == nil:
		if err := checkName(in.StackName); err != nil {
			return nil, err
		}
		st = s.newStack(c, in.StackName)
	case kind == "CREATE" && found.Status != "REVIEW_IN_PROGRESS":
		return nil, invalid("Stack [%s] already exists and cannot be created again with the changeSet [%s].", found.Name, in.ChangeSetName)
	case kind == "UPDATE" && found == nil:
		return nil, noStackNamed(in.StackName)
	case kind == "UPDATE" && !slices.Contains(updatable, found.Status):
		return nil, invalid("Stack:%s is in %s state and can not be updated.", found.ID, found.Status)
	default:
		copied := *found
		st = &copied
	}
	if found != nil {
		n := 0
		for _, set := range changeSets.All(c.State, found.key()+"/") {
			if set.Name == in.ChangeSetName && set.Execution != "EXECUTE_COMPLETE" {
				return nil, api.AlreadyExists("ChangeSet %s already exists", set.ID)
			}
			n++
		}
		if n >= mostChangeSets {
			return nil, api.LimitExceeded("Limit for change sets of stack %s has been exceeded", found.Name)
		}
	}
	body, previous, err := s.newBody(ctx, c, st, in.TemplateBody, in.TemplateURL, in.UsePreviousTemplate)
	if err != nil {
		return nil, err
	}
	w := s.newWork(c, st, kind, in.ClientToken, in.RoleARN)
	t, text, err := s.desired(ctx, st, w, request{body, in.Parameters, previous, in.Capabilities, in.ResourceTypes})
	if err != nil {
		return nil, err
	}
	old := st.Tags
	if in.Tags != nil {
		st.Tags = in.Tags
	}
	changes, err := s.plan(st, t, text, previous)
	if err != nil {
		return nil, err
	}
	unique := uuid()
	set := &changeSet{
		ID:   string(arn.New("aws", "cloudformation", c.Region, c.Account, "changeSet/"+in.ChangeSetName+"/"+unique)),
		Name: in.ChangeSetName, Type: kind, Description: in.Description, Created: s.now(), Status: "CREATE_COMPLETE", Execution: "AVAILABLE",
		Capabilities: in.Capabilities, Tags: st.Tags, Role: w.Role, OnFailure: cmp.Or(in.OnStackFailure, "ROLLBACK"), Changes: changes,
		ResourceTypes: in.ResourceTypes, TagsGiven: in.Tags != nil,
	}
	if kind == "UPDATE" && len(changes) == 0 && s.sameOutputs(st, previous, t, text) && slices.Equal(old, st.Tags) {
		set.Status, set.Execution = "FAILED", "UNAVAILABLE"
		set.Reason = "The submitted information didn't contain changes. Submit different information to create a change set."
	}
	number := st.Bodies + 1
	sealed, err := s.seal(bodyKey(st, number), text)
	if err != nil {
		return nil, err
	}
	set.Body = number
	place := st.Account + "/" + st.Region + "/"
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		now := stacks.Get(tx, st.key())
		if now == nil {
			if found != nil || names.Get(tx, place+st.Name) != nil {
				return invalid("Stack [%s] already exists and cannot be created again with the changeSet [%s].", st.Name, in.ChangeSetName)
			}
			if n := s.sweep(tx, place); n >= mostStacks {
				return api.LimitExceeded("Limit for stack has been exceeded")
			}
			fresh := *st
			fresh.Tags = nil
			now = &fresh
			key := st.key()
			names.Put(tx, place+st.Name, &key)
			s.become(tx, now, "REVIEW_IN_PROGRESS", "User Initiated")
		} else if now.Bodies != st.Bodies || now.Status != st.Status {
			return invalid("Stack:%s is in %s state and can not be updated.", now.ID, now.Status)
		}
		keepText(tx, now, sealed, number)
		changeSets.Put(tx, st.key()+"/"+unique, set)
		stacks.Put(tx, now.key(), now)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.CreateChangeSetOutput{Id: set.ID, StackId: st.ID}, nil
}

func (s *Service) describeChangeSet(_ context.Context, c *service.Call, in *api.DescribeChangeSetInput) (*api.DescribeChangeSetOutput, error) {
	st, set, err := findChangeSet(c.State, c, in.ChangeSetName, in.StackName)
	if err != nil {
		return nil, err
	}
	t, err := s.text(c.State, st, set.Body)
	if err != nil {
		return nil, err
	}
	some, next, err := page(set.Changes, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeChangeSetOutput{
		ChangeSetName: set.Name, ChangeSetId: set.ID, StackId: st.ID, StackName: st.Name, Description: set.Description, Parameters: shown(t),
		CreationTime: set.Created, ExecutionStatus: set.Execution, Status: set.Status, StatusReason: set.Reason, NotificationARNs: []string{},
		RollbackConfiguration: &api.RollbackConfiguration{}, Capabilities: append([]string{}, set.Capabilities...), Tags: set.Tags,
		Changes: append([]api.Change{}, some...), NextToken: next,
	}
	if set.OnFailure != "ROLLBACK" {
		out.OnStackFailure = set.OnFailure
	}
	return out, nil
}

func (s *Service) listChangeSets(_ context.Context, c *service.Call, in *api.ListChangeSetsInput) (*api.ListChangeSetsOutput, error) {
	st := find(c.State, c, in.StackName)
	if st == nil {
		return nil, noStackNamed(in.StackName)
	}
	var all []api.ChangeSetSummary
	for _, set := range changeSets.All(c.State, st.key()+"/") {
		if set.Execution == "EXECUTE_COMPLETE" {
			continue
		}
		all = append(all, api.ChangeSetSummary{StackId: st.ID, StackName: st.Name, ChangeSetId: set.ID, ChangeSetName: set.Name, ExecutionStatus: set.Execution,
			Status: set.Status, StatusReason: set.Reason, CreationTime: set.Created, Description: set.Description})
	}
	slices.SortFunc(all, func(a, b api.ChangeSetSummary) int { return b.CreationTime.Compare(a.CreationTime) })
	some, next, err := page(all, in.NextToken)
	if err != nil {
		return nil, err
	}
	return &api.ListChangeSetsOutput{Summaries: append([]api.ChangeSetSummary{}, some...), NextToken: next}, nil
}

func (s *Service) deleteChangeSet(ctx context.Context, c *service.Call, in *api.DeleteChangeSetInput) (*api.DeleteChangeSetOutput, error) {
	st, set, err := findChangeSet(c.State, c, in.ChangeSetName, in.StackName)
	if err != nil {
		if strings.HasPrefix(in.ChangeSetName, "arn:") || st == nil && in.StackName != "" && find(c.State, c, in.StackName) != nil {
			return &api.DeleteChangeSetOutput{}, nil // it is as good as deleted
		}
		return nil, err
	}
	return &api.DeleteChangeSetOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		key := st.key() + "/" + uniqueOf(set.ID)
		if changeSets.Get(tx, key) == nil {
			return nil
		}
		changeSets.Delete(tx, key)
		if now := stacks.Get(tx, st.key()); now != nil && now.Body != set.Body && (now.Work == nil || now.Work.Body != set.Body && now.Work.Before != set.Body) && (now.Stuck == nil || now.Stuck.Before != set.Body) {
			bodies.Delete(tx, bodyKey(st, set.Body))
		}
		return nil
	})
}

func (s *Service) executeChangeSet(ctx context.Context, c *service.Call, in *api.ExecuteChangeSetInput) (*api.ExecuteChangeSetOutput, error) {
	found, set, err := findChangeSet(c.State, c, in.ChangeSetName, in.StackName)
	if err != nil {
		return nil, err
	}
	if set.Status != "CREATE_COMPLETE" || set.Execution != "AVAILABLE" {
		status := set.Status
		if status == "CREATE_COMPLETE" {
			status = set.Execution
		}
		return nil, api.InvalidChangeSetStatus("ChangeSet [%s] cannot be executed in its current status of [%s]", set.ID, status)
	}
	text, err := s.text(c.State, found, set.Body)
	if err != nil {
		return nil, err
	}
	copied := *found
	st := &copied
	w := s.newWork(c, st, set.Type, in.ClientRequestToken, string(set.Role))
	if err := s.assumable(ctx, st, w); err != nil {
		return nil, err
	}
	status, was := "UPDATE_IN_PROGRESS", found.Status
	if set.Type == "CREATE" {
		status = "CREATE_IN_PROGRESS"
		t, err := template.Parse(text.Template)
		if err != nil {
			return nil, mistaken(err)
		}
		st.Description = t.Description
	} else {
		w.Old = &former{found.Tags, found.Capabilities, found.Description, found.Imports}
		if !slices.Contains(updatable, was) {
			return nil, invalid("Stack:%s is in %s state and can not be updated.", found.ID, was)
		}
	}
	st.Updated = s.now()
	st.Tags, st.Capabilities, st.Role, st.ChangeSet, st.OnFailure = set.Tags, set.Capabilities, w.Role, set.ID, set.OnFailure
	if in.DisableRollback != nil {
		st.OnFailure = "ROLLBACK"
		if *in.DisableRollback {
			st.OnFailure = "DO_NOTHING"
		}
	}
	st.RetainExcept = in.RetainExceptOnCreate != nil && *in.RetainExceptOnCreate
	st.Token, st.TokenOf = in.ClientRequestToken, "ExecuteChangeSet"
	key := st.key() + "/" + uniqueOf(set.ID)
	if err := s.DB.Update(ctx, func(tx *store.Tx) error { // one execution of a change set, whoever else asks for it
		now := changeSets.Get(tx, key)
		if now == nil || now.Execution != "AVAILABLE" {
			return api.InvalidChangeSetStatus("ChangeSet [%s] cannot be executed in its current status of [%s]", set.ID, "EXECUTE_IN_PROGRESS")
		}
		now.Execution = "EXECUTE_COMPLETE"
		changeSets.Put(tx, key, now)
		return nil
	}); err != nil {
		return nil, err
	}
	return &api.ExecuteChangeSetOutput{}, s.start(ctx, st, w, text, status, st.Name, was)
}
