package codepipeline

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/codepipeline/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

func versionKey(k string, version int32) string { return fmt.Sprintf("%s/%08d", k, version) }

func (s *Service) createPipeline(ctx context.Context, c *service.Call, in *api.CreatePipelineInput) (*api.CreatePipelineOutput, error) {
	d := in.Pipeline
	if err := check(c, &d); err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	k := key(c.Account, c.Region, d.Name)
	inUse := api.PipelineNameInUse("A pipeline with the name '%s' already exists in account '%s'", d.Name, c.Account)
	if pipelines.Get(c.State, k) != nil {
		return nil, inUse
	}
	if err := s.assumable(ctx, c, &d); err != nil {
		return nil, err
	}
	d.Version = 1
	now := s.now()
	if err := s.DB.Update(ctx, func(tx *store.Tx) error {
		if pipelines.Get(tx, k) != nil {
			return inUse
		}
		pipelines.Put(tx, k, &pipeline{Declaration: d, Created: now, Updated: now, Tags: in.Tags})
		versions.Put(tx, versionKey(k, 1), &d)
		return nil
	}); err != nil {
		return nil, err
	}
	// A new pipeline runs at once.
	if _, err := s.start(ctx, c.Account, c.Region, d.Name, api.ExecutionTrigger{TriggerType: "CreatePipeline", TriggerDetail: string(c.Caller.ARN)}, c.RequestID, nil, nil); err != nil {
		return nil, err
	}
	return &api.CreatePipelineOutput{Pipeline: &d, Tags: in.Tags}, nil
}

func (s *Service) updatePipeline(ctx context.Context, c *service.Call, in *api.UpdatePipelineInput) (*api.UpdatePipelineOutput, error) {
	d := in.Pipeline
	k := key(c.Account, c.Region, d.Name)
	if pipelines.Get(c.State, k) == nil {
		return nil, noPipeline(c, d.Name)
	}
	if err := check(c, &d); err != nil {
		return nil, err
	}
	if err := s.assumable(ctx, c, &d); err != nil {
		return nil, err
	}
	now := s.now()
	if err := s.DB.Update(ctx, func(tx *store.Tx) error {
		p := pipelines.Get(tx, k)
		if p == nil {
			return noPipeline(c, d.Name)
		}
		d.Version = p.Declaration.Version + 1
		p.Declaration, p.Updated = d, now
		pipelines.Put(tx, k, p)
		versions.Put(tx, versionKey(k, d.Version), &d)
		return nil
	}); err != nil {
		return nil, err
	}
	return &api.UpdatePipelineOutput{Pipeline: &d}, nil
}

// deletePipeline removes a pipeline and ends its executions. One that is not there is no error.
func (s *Service) deletePipeline(ctx context.Context, c *service.Call, in *api.DeletePipelineInput) (*api.DeletePipelineOutput, error) {
	k := key(c.Account, c.Region, in.Name)
	if err := s.DB.Update(ctx, func(tx *store.Tx) error {
		pipelines.Delete(tx, k)
		return nil
	}); err != nil {
		return nil, err
	}
	// What was the pipeline's is found by nobody any more, and goes in parts of a size that a change may have.
	state := s.DB.View()
	var old, ended, asked []string
	for v := range versions.All(state, k+"/") {
		old = append(old, v)
	}
	for e := range executions.All(state, k+"/") {
		ended = append(ended, e)
	}
	for j, of := range jobs.All(state, key(c.Account, c.Region, "")) {
		if strings.HasPrefix(of.Execution, k+"/") {
			asked = append(asked, j)
		}
	}
	for some := range slices.Chunk(slices.Concat(old, ended, asked), 200) {
		if err := s.DB.Update(ctx, func(tx *store.Tx) error {
			for _, k := range some {
				versions.Delete(tx, k)
				executions.Delete(tx, k)
				jobs.Delete(tx, k)
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	for e, r := range s.running {
		if strings.HasPrefix(e, k+"/") {
			r.cancel()
		}
	}
	s.mu.Unlock()
	return &api.DeletePipelineOutput{}, nil
}

func (s *Service) getPipeline(_ context.Context, c *service.Call, in *api.GetPipelineInput) (*api.GetPipelineOutput, error) {
	k := key(c.Account, c.Region, in.Name)
	p := pipelines.Get(c.State, k)
	if p == nil {
		return nil, noPipeline(c, in.Name)
	}
	d := &p.Declaration
	if in.Version != nil {
		if d = versions.Get(c.State, versionKey(k, *in.Version)); d == nil {
			return nil, api.PipelineVersionNotFound("Version %d of the pipeline '%s' does not exist", *in.Version, in.Name)
		}
	}
	return &api.GetPipelineOutput{Pipeline: d, Metadata: &api.PipelineMetadata{PipelineArn: string(pipelineARN(c.Account, c.Region, in.Name)), Created: p.Created, Updated: p.Updated}}, nil
}

func (s *Service) listPipelines(_ context.Context, c *service.Call, in *api.ListPipelinesInput) (*api.ListPipelinesOutput, error) {
	all := []api.PipelineSummary{}
	for _, p := range pipelines.All(c.State, key(c.Account, c.Region, "")) {
		d := &p.Declaration
		all = append(all, api.PipelineSummary{Name: d.Name, Version: d.Version, PipelineType: d.PipelineType, ExecutionMode: d.ExecutionMode, Created: p.Created, Updated: p.Updated})
	}
	page, next, err := paged(all, func(p api.PipelineSummary) string { return p.Name }, in.NextToken, in.MaxResults, 1000)
	return &api.ListPipelinesOutput{Pipelines: page, NextToken: next}, err
}

func noPipeline(c *service.Call, name string) error {
	return api.PipelineNotFound("Account '%s' does not have a pipeline with name '%s'", c.Account, name)
}

// paged cuts a page out of items, each with a name of its own. The token is that of the
// last item of the page before.
func paged[T any](items []T, name func(T) string, token string, max *int32, without int) ([]T, string, error) {
	if token != "" {
		last, err := base64.RawURLEncoding.DecodeString(token)
		at := slices.IndexFunc(items, func(i T) bool { return name(i) == string(last) })
		if err != nil || at < 0 {
			return nil, "", api.InvalidNextToken("The next token is not valid")
		}
		items = items[at+1:]
	}
	limit := without
	if max != nil {
		limit = int(*max)
	}
	if len(items) <= limit {
		return items, "", nil
	}
	return items[:limit], base64.RawURLEncoding.EncodeToString([]byte(name(items[limit-1]))), nil
}

// assumable refuses a pipeline whose roles cannot be assumed, as AWS does when it is given
// them: its own by CodePipeline, those of actions by its own.
func (s *Service) assumable(ctx context.Context, c *service.Call, d *api.PipelineDeclaration) error {
	session, err := s.Roles.Assume(ctx, s.use(c.Account, c.Region, d.Name, d.RoleArn, c.RequestID))
	if err != nil {
		return api.InvalidStructure("CodePipeline is not authorized to perform AssumeRole on role %s", d.RoleArn)
	}
	seen := map[string]bool{}
	for _, stage := range d.Stages {
		for _, a := range stage.Actions {
			if a.RoleArn == "" || seen[a.RoleArn] {
				continue
			}
			seen[a.RoleArn] = true
			if _, err := s.Roles.Chain(ctx, session, arn.ARN(a.RoleArn), fmt.Sprint(s.now().UnixMilli()), ""); err != nil {
				return api.InvalidStructure("%s is not authorized to perform AssumeRole on role %s", d.RoleArn, a.RoleArn)
			}
		}
	}
	return nil
}

// A kind of action: what its declaration must have.
type kind struct {
	inputs, outputs [2]int // least and most
	required        []string
	optional        []string
}

// kinds are the actions that are served, by category and provider.
var kinds = map[string]kind{
	"Source/S3":       {outputs: [2]int{1, 1}, required: []string{"S3Bucket", "S3ObjectKey"}, optional: []string{"PollForSourceChanges", "AllowOverrideForS3ObjectKey"}},
	"Build/CodeBuild": codeBuild,
	"Test/CodeBuild":  codeBuild,
	"Approval/Manual": {optional: []string{"CustomData", "ExternalEntityLink", "NotificationArn"}},
	"Deploy/S3":       {inputs: [2]int{1, 1}, required: []string{"BucketName", "Extract"}, optional: []string{"ObjectKey", "CacheControl"}},
	"Invoke/Lambda":   {inputs: [2]int{0, 5}, outputs: [2]int{0, 5}, required: []string{"FunctionName"}, optional: []string{"UserParameters"}},
	"Deploy/CloudFormation": {inputs: [2]int{0, 10}, outputs: [2]int{0, 1}, required: []string{"ActionMode", "StackName"},
		optional: []string{"ChangeSetName", "TemplatePath", "TemplateConfiguration", "RoleArn", "Capabilities", "ParameterOverrides", "OutputFileName"}},
}

var codeBuild = kind{inputs: [2]int{1, 5}, outputs: [2]int{0, 5}, required: []string{"ProjectName"}, optional: []string{"PrimarySource", "EnvironmentVariables"}}

// check refuses a declaration that AWS would refuse, and one that asks for what is not there.
func check(c *service.Call, d *api.PipelineDeclaration) error {
	if d.PipelineType == "" {
		d.PipelineType = "V1"
	}
	if d.ExecutionMode == "" {
		d.ExecutionMode = "SUPERSEDED"
	}
	if a := arn.ARN(d.RoleArn); a.Account() != c.Account {
		return api.InvalidStructure("The role %s is not in account %s", d.RoleArn, c.Account)
	}
	if _, err := storeOf(d, c.Region); err != nil {
		return err
	}
	switch {
	case len(d.Stages) < 2:
		return api.InvalidStructure("Pipeline has only %d stage(s). There should be a minimum of 2 stages in a pipeline", len(d.Stages))
	case len(d.Triggers) > 0:
		return api.InvalidStructure("iamd does not serve triggers: sources are S3 buckets")
	}
	made := map[string]bool{}
	stages := map[string]bool{}
	spaces := map[string]bool{}
	for i, stage := range d.Stages {
		if stages[stage.Name] {
			return api.InvalidStructure("Stage name %s is used more than once", stage.Name)
		}
		stages[stage.Name] = true
		if len(stage.Actions) == 0 {
			return api.InvalidStageDeclaration("Stage %s has no actions", stage.Name)
		}
		if len(stage.Blockers) > 0 || stage.OnFailure != nil || stage.OnSuccess != nil || stage.BeforeEntry != nil {
			return api.InvalidStageDeclaration("iamd does not serve blockers and conditions of stages (%s)", stage.Name)
		}
		names := map[string]bool{}
		var later []string // what the stage's actions make is there for those that run after them
		order := slices.Clone(stage.Actions)
		slices.SortStableFunc(order, func(a, b api.ActionDeclaration) int { return int(orderOf(&a) - orderOf(&b)) })
		for n := range order {
			a := &order[n]
			if n > 0 && orderOf(a) != orderOf(&order[n-1]) {
				for _, name := range later {
					made[name] = true
				}
				later = nil
			}
			refuse := func(format string, args ...any) error {
				return api.InvalidActionDeclaration("Action %s in stage %s: %s", a.Name, stage.Name, fmt.Sprintf(format, args...))
			}
			if names[a.Name] {
				return api.InvalidStageDeclaration("Action name %s is used more than once in stage %s", a.Name, stage.Name)
			}
			names[a.Name] = true
			t := a.ActionTypeId
			k, ok := kinds[t.Category+"/"+t.Provider]
			if !ok || t.Owner != "AWS" || t.Version != "1" {
				return api.InvalidActionDeclaration("ActionType (Category: '%s', Provider: '%s', Owner: '%s', Version: '%s') in action '%s' is not available in region %s",
					t.Category, t.Provider, t.Owner, t.Version, a.Name, strings.ToUpper(strings.ReplaceAll(c.Region, "-", "_")))
			}
			if (t.Category == "Source") != (i == 0) {
				return api.InvalidStructure("The first stage of a pipeline has source actions and no others, and no other stage has any")
			}
			if a.Region != "" && a.Region != c.Region {
				return refuse("iamd does not serve actions in another region (%s)", a.Region)
			}
			if n := len(a.InputArtifacts); n < k.inputs[0] || n > k.inputs[1] {
				return refuse("%s takes %d to %d input artifacts, and there are %d", t.Provider, k.inputs[0], k.inputs[1], n)
			}
			if n := len(a.OutputArtifacts); n < k.outputs[0] || n > k.outputs[1] {
				return refuse("%s has %d to %d output artifacts, and there are %d", t.Provider, k.outputs[0], k.outputs[1], n)
			}
			for _, name := range k.required {
				if a.Configuration[name] == "" {
					return refuse("configuration is missing required key '%s'", name)
				}
			}
			for name := range a.Configuration {
				if !slices.Contains(k.required, name) && !slices.Contains(k.optional, name) {
					return refuse("configuration contains unknown key '%s'", name)
				}
			}
			for _, in := range a.InputArtifacts {
				if !made[in.Name] {
					return refuse("the input artifact %s is not the output of an action that runs before", in.Name)
				}
			}
			for _, out := range a.OutputArtifacts {
				if made[out.Name] || slices.Contains(later, out.Name) {
					return refuse("the output artifact %s is that of another action", out.Name)
				}
				later = append(later, out.Name)
			}
			if a.Namespace != "" {
				if spaces[a.Namespace] || a.Namespace == "codepipeline" || a.Namespace == "variables" {
					return refuse("the namespace %s is taken", a.Namespace)
				}
				spaces[a.Namespace] = true
			}
			if len(a.Commands) > 0 || len(a.EnvironmentVariables) > 0 {
				return refuse("%s has no commands and environmentVariables", t.Provider)
			}
			if t.Provider == "CodeBuild" && len(a.InputArtifacts) > 1 && a.Configuration["PrimarySource"] == "" {
				return refuse("configuration is missing required key 'PrimarySource'")
			}
			if n := len(a.Configuration["UserParameters"]); n > mostUserParameters {
				return refuse("the value of UserParameters has %d characters, of which there may be %d", n, mostUserParameters)
			}
			if t.Provider == "CloudFormation" {
				if err := checkStack(a); err != nil {
					return refuse("%v", err)
				}
			}
		}
		for _, name := range later {
			made[name] = true
		}
	}
	return nil
}

func orderOf(a *api.ActionDeclaration) int32 { return max(a.RunOrder, 1) }

// storeOf is the artifact store.
func storeOf(d *api.PipelineDeclaration, region string) (string, error) {
	if (d.ArtifactStore == nil) == (len(d.ArtifactStores) == 0) {
		return "", api.InvalidStructure("Either artifactStore or artifactStores must be specified, and not both")
	}
	if d.ArtifactStore != nil {
		return d.ArtifactStore.Location, nil
	}
	if at, ok := d.ArtifactStores[region]; ok && len(d.ArtifactStores) == 1 {
		return at.Location, nil
	}
	return "", api.InvalidStructure("iamd serves artifactStores in the pipeline's region (%s) and no other", region)
}

func (s *Service) enableStageTransition(ctx context.Context, c *service.Call, in *api.EnableStageTransitionInput) (*api.EnableStageTransitionOutput, error) {
	return &api.EnableStageTransitionOutput{}, s.turn(ctx, c, in.PipelineName, in.StageName, in.TransitionType, true, "")
}

func (s *Service) disableStageTransition(ctx context.Context, c *service.Call, in *api.DisableStageTransitionInput) (*api.DisableStageTransitionOutput, error) {
	return &api.DisableStageTransitionOutput{}, s.turn(ctx, c, in.PipelineName, in.StageName, in.TransitionType, false, in.Reason)
}

// turn opens or closes the way into a stage; the way out of one is that into the next.
func (s *Service) turn(ctx context.Context, c *service.Call, name, stage, direction string, enabled bool, reason string) error {
	k, now := key(c.Account, c.Region, name), s.now()
	defer s.wake()
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		p := pipelines.Get(tx, k)
		if p == nil {
			return noPipeline(c, name)
		}
		i, err := stageOf(&p.Declaration, stage)
		if err != nil {
			return err
		}
		if direction == "Outbound" {
			i++
		}
		if i < len(p.Declaration.Stages) {
			if p.Closed == nil {
				p.Closed = map[string]transition{}
			}
			p.Closed[p.Declaration.Stages[i].Name] = transition{Enabled: enabled, Reason: reason, By: string(c.Caller.ARN), At: now}
			pipelines.Put(tx, k, p)
		}
		return nil
	})
}

func stageOf(d *api.PipelineDeclaration, name string) (int, error) {
	i := slices.IndexFunc(d.Stages, func(s api.StageDeclaration) bool { return s.Name == name })
	if i < 0 {
		return 0, api.StageNotFound("Pipeline '%s' does not have a stage with name '%s'", d.Name, name)
	}
	return i, nil
}

func checkTags(tags []api.Tag) error {
	seen := map[string]bool{}
	for _, t := range tags {
		if seen[t.Key] || strings.HasPrefix(strings.ToLower(t.Key), "aws:") {
			return api.InvalidTags("The tag key %s is reserved or there twice", t.Key)
		}
		seen[t.Key] = true
	}
	if len(tags) > 50 {
		return api.TooManyTags("A pipeline has at most 50 tags")
	}
	return nil
}

// tagged is the key of the pipeline that an ARN names.
func tagged(c *service.Call, given string) (string, error) {
	a, err := arn.Parse(given)
	if err != nil || a.Account() != c.Account || a.Region() != c.Region {
		return "", api.InvalidArn("%s is not the ARN of a resource in this account and region", given)
	}
	k := key(c.Account, c.Region, a.Resource())
	if pipelines.Get(c.State, k) == nil {
		return "", api.ResourceNotFound("The resource %s does not exist", given)
	}
	return k, nil
}

func (s *Service) retag(ctx context.Context, k string, f func([]api.Tag) []api.Tag) error {
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		p := pipelines.Get(tx, k)
		if p == nil {
			return api.ResourceNotFound("The resource does not exist")
		}
		p.Tags = f(p.Tags)
		if err := checkTags(p.Tags); err != nil {
			return err
		}
		pipelines.Put(tx, k, p)
		return nil
	})
}

func (s *Service) tagResource(ctx context.Context, c *service.Call, in *api.TagResourceInput) (*api.TagResourceOutput, error) {
	k, err := tagged(c, in.ResourceArn)
	if err == nil {
		err = s.retag(ctx, k, func(tags []api.Tag) []api.Tag {
			tags = slices.DeleteFunc(tags, func(o api.Tag) bool {
				return slices.ContainsFunc(in.Tags, func(t api.Tag) bool { return t.Key == o.Key })
			})
			return append(tags, in.Tags...)
		})
	}
	return &api.TagResourceOutput{}, err
}

func (s *Service) untagResource(ctx context.Context, c *service.Call, in *api.UntagResourceInput) (*api.UntagResourceOutput, error) {
	k, err := tagged(c, in.ResourceArn)
	if err == nil {
		err = s.retag(ctx, k, func(tags []api.Tag) []api.Tag {
			return slices.DeleteFunc(tags, func(o api.Tag) bool { return slices.Contains(in.TagKeys, o.Key) })
		})
	}
	return &api.UntagResourceOutput{}, err
}

func (s *Service) listTagsForResource(_ context.Context, c *service.Call, in *api.ListTagsForResourceInput) (*api.ListTagsForResourceOutput, error) {
	k, err := tagged(c, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	tags, next, err := paged(pipelines.Get(c.State, k).Tags, func(t api.Tag) string { return t.Key }, in.NextToken, in.MaxResults, 100)
	return &api.ListTagsForResourceOutput{Tags: tags, NextToken: next}, err
}
