package codepipeline

import (
	"context"
	"slices"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/codepipeline/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// An execution is kept under account/region/name/id.
type execution struct {
	ID      string
	Number  int64 // its place among the pipeline's executions
	Version int32 // of the pipeline
	Request string
	Token   string // the caller's
	Trigger api.ExecutionTrigger

	Status           string // InProgress, Stopping, Stopped, Succeeded, Superseded, Failed
	Summary          string
	Started, Updated time.Time
	StopReason       string

	Stage   int  // that it is in, or waits for
	Waiting bool // it is not in the stage yet
	Actions []action

	Variables map[string]string
	Spaces    map[string]map[string]string // output variables of actions, by namespace
	Artifacts map[string]api.S3Location
	Revisions []api.ArtifactRevision
	Sources   []api.SourceRevision
	Overrides []api.SourceRevisionOverride
}

// An action is one that runs or has run in an execution.
type action struct {
	ID, Stage, Name  string
	Status           string // InProgress, Succeeded, Failed, Abandoned
	Retried          bool   // it counts no more: the stage was retried after it
	Summary, By      string
	Started, Updated time.Time
	Token            string // of an approval
	Job              *job   // that a function has, or has had last
	External, URL    string // the build or stack
	Percent          int32  // of what a function does, as it says
	Error            *api.ErrorDetails
	Resolved         map[string]string // the configuration with the variables put in
	Inputs, Outputs  []api.ArtifactDetail
	Variables        map[string]string
}

func (e *execution) active() bool { return e.Status == "InProgress" || e.Status == "Stopping" }

// in reports whether the execution is in the stage of the number, and keeps others out.
func (e *execution) in(stage int) bool { return e.active() && !e.Waiting && e.Stage == stage }

func (e *execution) action(id string) *action {
	if i := slices.IndexFunc(e.Actions, func(a action) bool { return a.ID == id }); i >= 0 {
		return &e.Actions[i]
	}
	return nil
}

// latest is the last run of an action; nil when it has not run.
func (e *execution) latest(stage, name string) *action {
	for i := len(e.Actions) - 1; i >= 0; i-- {
		if a := &e.Actions[i]; a.Stage == stage && a.Name == name {
			return a
		}
	}
	return nil
}

// resume ends the actions that nobody can wait for after a restart.
func (e *execution) resume(now time.Time) {
	for i := range e.Actions {
		if a := &e.Actions[i]; a.Status == "InProgress" && a.External == "" && a.Token == "" && a.Job == nil {
			a.fail("JobFailed", "The server ended while the action ran.", now)
		}
	}
}

func (a *action) fail(code, message string, now time.Time) {
	a.Status, a.Updated, a.Error = "Failed", now, &api.ErrorDetails{Code: code, Message: message}
}

func (s *Service) startPipelineExecution(ctx context.Context, c *service.Call, in *api.StartPipelineExecutionInput) (*api.StartPipelineExecutionOutput, error) {
	p := pipelines.Get(c.State, key(c.Account, c.Region, in.Name))
	if p == nil {
		return nil, noPipeline(c, in.Name)
	}
	variables := map[string]string{}
	for _, v := range in.Variables {
		if !slices.ContainsFunc(p.Declaration.Variables, func(d api.PipelineVariableDeclaration) bool { return d.Name == v.Name }) {
			return nil, api.Validation("Pipeline '%s' has no variable with name '%s'", in.Name, v.Name)
		}
		variables[v.Name] = v.Value
	}
	for _, r := range in.SourceRevisions {
		if r.RevisionType != "S3_OBJECT_VERSION_ID" {
			return nil, api.Validation("iamd serves source revisions of type S3_OBJECT_VERSION_ID, and not %s", r.RevisionType)
		}
		if !slices.ContainsFunc(p.Declaration.Stages[0].Actions, func(a api.ActionDeclaration) bool { return a.Name == r.ActionName }) {
			return nil, api.Validation("Pipeline '%s' has no source action with name '%s'", in.Name, r.ActionName)
		}
	}
	if in.ClientRequestToken != "" {
		for _, e := range executions.All(c.State, key(c.Account, c.Region, in.Name)+"/") {
			if e.Token == in.ClientRequestToken {
				return &api.StartPipelineExecutionOutput{PipelineExecutionId: e.ID}, nil
			}
		}
	}
	id, err := s.start(ctx, c.Account, c.Region, in.Name, api.ExecutionTrigger{TriggerType: "StartPipelineExecution", TriggerDetail: string(c.Caller.ARN)},
		c.RequestID, variables, func(e *execution) { e.Overrides, e.Token = in.SourceRevisions, in.ClientRequestToken })
	if err != nil {
		return nil, err
	}
	return &api.StartPipelineExecutionOutput{PipelineExecutionId: id}, nil
}

// start begins an execution of the newest version of a pipeline.
func (s *Service) start(ctx context.Context, account, region, name string, trigger api.ExecutionTrigger, request string, variables map[string]string, more func(*execution)) (string, error) {
	k, now := key(account, region, name), s.now()
	e := &execution{ID: newUUID(), Request: request, Trigger: trigger, Status: "InProgress", Started: now, Updated: now, Waiting: true}
	if more != nil {
		more(e)
	}
	if err := s.DB.Update(ctx, func(tx *store.Tx) error {
		p := pipelines.Get(tx, k)
		if p == nil {
			return api.PipelineNotFound("Account '%s' does not have a pipeline with name '%s'", account, name)
		}
		e.Variables = map[string]string{}
		for _, v := range p.Declaration.Variables {
			value, given := variables[v.Name]
			if !given {
				if value = v.DefaultValue; value == "" {
					return api.Validation("The variable '%s' has no value and no default", v.Name)
				}
			}
			e.Variables[v.Name] = value
		}
		p.Executions++
		e.Number, e.Version = p.Executions, p.Declaration.Version
		pipelines.Put(tx, k, p)
		executions.Put(tx, k+"/"+e.ID, e)
		return nil
	}); err != nil {
		return "", err
	}
	s.begin(k+"/"+e.ID, account, region)
	return e.ID, nil
}

func (s *Service) stopPipelineExecution(ctx context.Context, c *service.Call, in *api.StopPipelineExecutionInput) (*api.StopPipelineExecutionOutput, error) {
	now := s.now()
	k := key(c.Account, c.Region, in.PipelineName) + "/" + in.PipelineExecutionId
	if err := s.DB.Update(ctx, func(tx *store.Tx) error {
		if pipelines.Get(tx, key(c.Account, c.Region, in.PipelineName)) == nil {
			return noPipeline(c, in.PipelineName)
		}
		e := executions.Get(tx, k)
		abandon := in.Abandon != nil && *in.Abandon
		switch {
		case e == nil:
			return noExecution(in.PipelineExecutionId)
		case e.Status == "Stopping" && !abandon:
			return api.DuplicatedStopRequest("The pipeline execution '%s' is being stopped already", e.ID)
		case !e.active():
			return api.PipelineExecutionNotStoppable("The pipeline execution '%s' is in state '%s' and cannot be stopped", e.ID, e.Status)
		}
		e.Status, e.StopReason, e.Updated = "Stopping", in.Reason, now
		if abandon {
			for i := range e.Actions {
				if a := &e.Actions[i]; a.Status == "InProgress" {
					a.Status, a.Updated = "Abandoned", now
				}
			}
			e.Status = "Stopped"
		}
		executions.Put(tx, k, e)
		return nil
	}); err != nil {
		return nil, err
	}
	s.wake()
	return &api.StopPipelineExecutionOutput{PipelineExecutionId: in.PipelineExecutionId}, nil
}

func noExecution(id string) error {
	return api.PipelineExecutionNotFound("The pipeline execution '%s' does not exist", id)
}

func (s *Service) get(c *service.Call, pipeline, id string) (*execution, error) {
	k := key(c.Account, c.Region, pipeline)
	if pipelines.Get(c.State, k) == nil {
		return nil, noPipeline(c, pipeline)
	}
	if e := executions.Get(c.State, k+"/"+id); e != nil {
		return e, nil
	}
	return nil, noExecution(id)
}

func (s *Service) getPipelineExecution(_ context.Context, c *service.Call, in *api.GetPipelineExecutionInput) (*api.GetPipelineExecutionOutput, error) {
	e, err := s.get(c, in.PipelineName, in.PipelineExecutionId)
	if err != nil {
		return nil, err
	}
	out := &api.PipelineExecution{PipelineName: in.PipelineName, PipelineVersion: e.Version, PipelineExecutionId: e.ID, Status: e.Status, StatusSummary: e.Summary,
		ArtifactRevisions: e.Revisions, Trigger: &e.Trigger, ExecutionType: "STANDARD"}
	if d := versions.Get(c.State, versionKey(key(c.Account, c.Region, in.PipelineName), e.Version)); d != nil {
		out.ExecutionMode = d.ExecutionMode
		for _, v := range d.Variables {
			out.Variables = append(out.Variables, api.ResolvedPipelineVariable{Name: v.Name, ResolvedValue: e.Variables[v.Name]})
		}
	}
	return &api.GetPipelineExecutionOutput{PipelineExecution: out}, nil
}

// newest are the executions of a pipeline, the newest first.
func newest(c *service.Call, name string) ([]*execution, error) {
	k := key(c.Account, c.Region, name)
	if pipelines.Get(c.State, k) == nil {
		return nil, noPipeline(c, name)
	}
	var all []*execution
	for _, e := range executions.All(c.State, k+"/") {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *execution) int { return int(b.Number - a.Number) })
	return all, nil
}

func (s *Service) listPipelineExecutions(_ context.Context, c *service.Call, in *api.ListPipelineExecutionsInput) (*api.ListPipelineExecutionsOutput, error) {
	all, err := newest(c, in.PipelineName)
	if err != nil {
		return nil, err
	}
	mode := pipelines.Get(c.State, key(c.Account, c.Region, in.PipelineName)).Declaration.ExecutionMode
	if in.Filter != nil && in.Filter.SucceededInStage != nil {
		all = slices.DeleteFunc(all, func(e *execution) bool {
			d := versions.Get(c.State, versionKey(key(c.Account, c.Region, in.PipelineName), e.Version))
			i := slices.IndexFunc(d.Stages, func(s api.StageDeclaration) bool { return s.Name == in.Filter.SucceededInStage.StageName })
			return i < 0 || e.Stage <= i && e.Status != "Succeeded"
		})
	}
	list := []api.PipelineExecutionSummary{}
	for _, e := range all {
		summary := api.PipelineExecutionSummary{PipelineExecutionId: e.ID, Status: e.Status, StatusSummary: e.Summary, StartTime: e.Started, LastUpdateTime: e.Updated,
			SourceRevisions: e.Sources, Trigger: &e.Trigger, ExecutionMode: mode, ExecutionType: "STANDARD"}
		if e.StopReason != "" {
			summary.StopTrigger = &api.StopExecutionTrigger{Reason: e.StopReason}
		}
		list = append(list, summary)
	}
	page, next, err := paged(list, func(e api.PipelineExecutionSummary) string { return e.PipelineExecutionId }, in.NextToken, in.MaxResults, 100)
	return &api.ListPipelineExecutionsOutput{PipelineExecutionSummaries: page, NextToken: next}, err
}

func (s *Service) listActionExecutions(_ context.Context, c *service.Call, in *api.ListActionExecutionsInput) (*api.ListActionExecutionsOutput, error) {
	all, err := newest(c, in.PipelineName)
	if err != nil {
		return nil, err
	}
	wanted := ""
	if in.Filter != nil {
		if wanted = in.Filter.PipelineExecutionId; in.Filter.LatestInPipelineExecution != nil {
			wanted = in.Filter.LatestInPipelineExecution.PipelineExecutionId
		}
		if wanted != "" && !slices.ContainsFunc(all, func(e *execution) bool { return e.ID == wanted }) {
			return nil, noExecution(wanted)
		}
	}
	list := []api.ActionExecutionDetail{}
	for _, e := range all {
		if wanted != "" && e.ID != wanted {
			continue
		}
		d := versions.Get(c.State, versionKey(key(c.Account, c.Region, in.PipelineName), e.Version))
		for i := len(e.Actions) - 1; i >= 0; i-- {
			a := &e.Actions[i]
			detail := api.ActionExecutionDetail{
				PipelineExecutionId: e.ID, ActionExecutionId: a.ID, PipelineVersion: e.Version, StageName: a.Stage, ActionName: a.Name,
				StartTime: a.Started, LastUpdateTime: a.Updated, UpdatedBy: a.By, Status: a.Status,
				Output: &api.ActionExecutionOutput{OutputArtifacts: a.Outputs, OutputVariables: a.Variables,
					ExecutionResult: &api.ActionExecutionResult{ExternalExecutionId: a.External, ExternalExecutionSummary: a.Summary, ExternalExecutionUrl: a.URL, ErrorDetails: a.Error}},
			}
			if declared := declarationOf(d, a.Stage, a.Name); declared != nil {
				detail.Input = &api.ActionExecutionInput{ActionTypeId: declared.ActionTypeId, Configuration: declared.Configuration, ResolvedConfiguration: a.Resolved,
					RoleArn: declared.RoleArn, Region: c.Region, InputArtifacts: a.Inputs, Namespace: declared.Namespace}
			}
			list = append(list, detail)
		}
	}
	page, next, err := paged(list, func(a api.ActionExecutionDetail) string { return a.ActionExecutionId }, in.NextToken, in.MaxResults, 100)
	return &api.ListActionExecutionsOutput{ActionExecutionDetails: page, NextToken: next}, err
}

func declarationOf(d *api.PipelineDeclaration, stage, name string) *api.ActionDeclaration {
	if d == nil {
		return nil
	}
	for i := range d.Stages {
		for j := range d.Stages[i].Actions {
			if d.Stages[i].Name == stage && d.Stages[i].Actions[j].Name == name {
				return &d.Stages[i].Actions[j]
			}
		}
	}
	return nil
}

// statusIn is what has become of an execution in a stage that it has been in; "": it has not been there.
func (e *execution) statusIn(d *api.PipelineDeclaration, stage int) string {
	switch {
	case e.Stage < stage || e.Stage == stage && e.Waiting:
		return ""
	case e.Stage > stage || e.Status == "Succeeded":
		return "Succeeded"
	case e.Status == "Superseded":
		return "Cancelled"
	}
	return e.Status
}

func (s *Service) getPipelineState(_ context.Context, c *service.Call, in *api.GetPipelineStateInput) (*api.GetPipelineStateOutput, error) {
	all, err := newest(c, in.Name)
	if err != nil {
		return nil, err
	}
	p := pipelines.Get(c.State, key(c.Account, c.Region, in.Name))
	d := &p.Declaration
	out := &api.GetPipelineStateOutput{PipelineName: in.Name, PipelineVersion: d.Version, Created: p.Created, Updated: p.Updated}
	for i, stage := range d.Stages {
		state := api.StageState{StageName: stage.Name, InboundTransitionState: &api.TransitionState{Enabled: true}}
		if t, ok := p.Closed[stage.Name]; ok {
			state.InboundTransitionState = &api.TransitionState{Enabled: t.Enabled, LastChangedBy: t.By, LastChangedAt: t.At, DisabledReason: t.Reason}
		}
		for _, e := range all {
			if e.active() && e.Waiting && e.Stage == i && i > 0 {
				inbound := api.StageExecution{PipelineExecutionId: e.ID, Status: "InProgress", Type: "STANDARD"}
				if state.InboundExecution == nil {
					state.InboundExecution = &inbound
				}
				state.InboundExecutions = append(state.InboundExecutions, inbound)
			}
			if status := e.statusIn(d, i); status != "" && state.LatestExecution == nil {
				state.LatestExecution = &api.StageExecution{PipelineExecutionId: e.ID, Status: status, Type: "STANDARD"}
			}
		}
		for _, declared := range stage.Actions {
			as := api.ActionState{ActionName: declared.Name}
			for _, e := range all {
				a := e.latest(stage.Name, declared.Name)
				if a == nil {
					continue
				}
				as.LatestExecution = &api.ActionExecution{ActionExecutionId: a.ID, Status: a.Status, Summary: a.Summary, LastStatusChange: a.Updated, LastUpdatedBy: a.By,
					ExternalExecutionId: a.External, ExternalExecutionUrl: a.URL, PercentComplete: a.Percent, ErrorDetails: a.Error}
				if a.Status == "InProgress" {
					as.LatestExecution.Token = a.Token
				}
				for _, r := range e.Sources {
					if i == 0 && r.ActionName == declared.Name {
						as.CurrentRevision = &api.ActionRevision{RevisionId: r.RevisionId, RevisionChangeId: r.RevisionId, Created: a.Updated}
					}
				}
				break
			}
			state.ActionStates = append(state.ActionStates, as)
		}
		out.StageStates = append(out.StageStates, state)
	}
	return out, nil
}

func (s *Service) putApprovalResult(ctx context.Context, c *service.Call, in *api.PutApprovalResultInput) (*api.PutApprovalResultOutput, error) {
	k, now := key(c.Account, c.Region, in.PipelineName), s.now()
	p := pipelines.Get(c.State, k)
	if p == nil {
		return nil, noPipeline(c, in.PipelineName)
	}
	if _, err := stageOf(&p.Declaration, in.StageName); err != nil {
		return nil, err
	}
	found := ""
	for e, x := range executions.All(c.State, k+"/") {
		if slices.ContainsFunc(x.Actions, func(a action) bool {
			return a.Token == in.Token && a.Stage == in.StageName && a.Name == in.ActionName
		}) {
			found = e
		}
	}
	if found == "" {
		if declarationOf(&p.Declaration, in.StageName, in.ActionName) == nil {
			return nil, api.ActionNotFound("Stage '%s' does not have an action with name '%s'", in.StageName, in.ActionName)
		}
		return nil, api.InvalidApprovalToken("The approval token is not valid")
	}
	if err := s.DB.Update(ctx, func(tx *store.Tx) error {
		e := executions.Get(tx, found)
		if e == nil {
			return api.InvalidApprovalToken("The approval token is not valid")
		}
		for i := range e.Actions {
			a := &e.Actions[i]
			if a.Token != in.Token {
				continue
			}
			if a.Status != "InProgress" {
				return api.ApprovalAlreadyCompleted("The approval action has already been approved or rejected")
			}
			a.Status, a.Updated, a.By, a.Summary = "Succeeded", now, string(c.Caller.ARN), in.Result.Summary
			if in.Result.Status == "Rejected" {
				a.Status = "Failed"
			}
			e.Updated = now
		}
		executions.Put(tx, found, e)
		return nil
	}); err != nil {
		return nil, err
	}
	s.wake()
	return &api.PutApprovalResultOutput{ApprovedAt: now}, nil
}

// retryStageExecution lets an execution that has failed in a stage go on there: with the
// actions that have failed, or with all.
func (s *Service) retryStageExecution(ctx context.Context, c *service.Call, in *api.RetryStageExecutionInput) (*api.RetryStageExecutionOutput, error) {
	k, now := key(c.Account, c.Region, in.PipelineName), s.now()
	s.mu.Lock()
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		p := pipelines.Get(tx, k)
		if p == nil {
			return noPipeline(c, in.PipelineName)
		}
		i, err := stageOf(&p.Declaration, in.StageName)
		if err != nil {
			return err
		}
		e := executions.Get(tx, k+"/"+in.PipelineExecutionId)
		switch {
		case e == nil:
			return noExecution(in.PipelineExecutionId)
		case e.Status != "Failed" && e.Status != "Stopped" || e.Stage != i || e.Waiting:
			return api.StageNotRetryable("Stage '%s' of the pipeline execution '%s' has not failed", in.StageName, e.ID)
		case e.Version != p.Declaration.Version:
			return api.NotLatestPipelineExecution("The pipeline has been changed since the pipeline execution '%s'", e.ID)
		}
		for _, o := range executions.All(tx, k+"/") {
			if o.Number > e.Number && o.statusIn(&p.Declaration, i) != "" {
				return api.NotLatestPipelineExecution("The pipeline execution '%s' is not the latest in stage '%s'", e.ID, in.StageName)
			}
		}
		e.Status, e.Summary, e.StopReason, e.Updated = "InProgress", "", "", now
		for n := range e.Actions {
			a := &e.Actions[n]
			if a.Stage == in.StageName && (in.RetryMode == "ALL_ACTIONS" || a.Status != "Succeeded") {
				a.Retried = true
			}
		}
		executions.Put(tx, k+"/"+e.ID, e)
		return nil
	})
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	s.begin(k+"/"+in.PipelineExecutionId, c.Account, c.Region)
	return &api.RetryStageExecutionOutput{PipelineExecutionId: in.PipelineExecutionId}, nil
}
