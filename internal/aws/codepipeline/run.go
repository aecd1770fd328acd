package codepipeline

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/codepipeline/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/servicerole"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
)

// A follower takes an execution through the stages.
type follower struct {
	s                     *Service
	key, account, region  string
	pipeline, pipelineKey string
	declaration           *api.PipelineDeclaration
	request               string
	provider              *servicerole.Provider
}

// begin follows an execution that is in progress, unless somebody does.
func (s *Service) begin(k, account, region string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil || s.running[k] != nil {
		return // who follows it sees what has changed; or the next server does
	}
	ctx, cancel := context.WithCancel(s.ctx)
	r := &running{cancel: cancel}
	s.running[k] = r
	s.all.Go(func() {
		defer cancel()
		f := &follower{s: s, key: k, account: account, region: region, pipelineKey: k[:strings.LastIndexByte(k, '/')]}
		for again := true; again; {
			f.run(ctx)
			again = !s.end(ctx, k)
		}
	})
}

// end tells that an execution is followed no more, unless it has been made to go on.
func (s *Service) end(ctx context.Context, k string) (ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := executions.Get(s.DB.View(), k); ctx.Err() == nil && e != nil && e.active() {
		return false
	}
	delete(s.running, k)
	return true
}

// run follows the execution until it is over.
func (f *follower) run(ctx context.Context) {
	s := f.s
	for ctx.Err() == nil {
		e := executions.Get(s.DB.View(), f.key)
		if e == nil || !e.active() {
			break
		}
		f.pipeline, f.request = f.pipelineKey[strings.LastIndexByte(f.pipelineKey, '/')+1:], e.Request
		f.declaration = versions.Get(s.DB.View(), versionKey(f.pipelineKey, e.Version))
		if f.declaration == nil {
			s.wait(ctx, nil, time.Second) // the pipeline is being deleted, and the execution goes with it
			continue
		}
		if f.provider == nil {
			f.provider = s.Roles.Provider(s.use(f.account, f.region, f.pipeline, f.declaration.RoleArn, f.request))
		}
		if e.Waiting {
			changed := s.waitable()
			entered, err := f.enter(ctx)
			if err != nil {
				s.log().Error("entering a stage", "pipeline", f.pipeline, "error", err)
			}
			if !entered {
				s.wait(ctx, changed, time.Minute)
			}
			continue
		}
		if err := f.stage(ctx, e.Stage); err != nil && ctx.Err() == nil {
			s.log().Error("running a stage", "pipeline", f.pipeline, "error", err)
			s.wait(ctx, nil, time.Second)
		}
	}
}

// enter takes the execution into the stage that it waits for, if that is open and free.
func (f *follower) enter(ctx context.Context) (entered bool, err error) {
	s, now := f.s, f.s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	woken := false
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		entered = false
		p, e := pipelines.Get(tx, f.pipelineKey), executions.Get(tx, f.key)
		if p == nil || e == nil || !e.active() || !e.Waiting {
			entered = true // look again
			return nil
		}
		put := func(status string) {
			e.Status, e.Updated = status, now
			executions.Put(tx, f.key, e)
			entered, woken = true, true
		}
		if e.Status == "Stopping" {
			put("Stopped")
			return nil
		}
		free := true
		for _, o := range executions.All(tx, f.pipelineKey+"/") {
			switch {
			case o.ID == e.ID || f.declaration.ExecutionMode == "PARALLEL":
			case o.in(e.Stage):
				free = false
			case o.active() && o.Waiting && o.Stage == e.Stage && o.Number > e.Number && f.declaration.ExecutionMode == "SUPERSEDED" && e.Stage > 0:
				e.Summary = "Superseded by " + o.ID
				put("Superseded")
				return nil
			case o.active() && o.Waiting && o.Stage == e.Stage && o.Number < e.Number && f.declaration.ExecutionMode == "QUEUED":
				free = false
			}
		}
		if t, ok := p.Closed[f.declaration.Stages[e.Stage].Name]; !free || ok && !t.Enabled {
			return nil
		}
		e.Waiting = false
		put("InProgress")
		return nil
	})
	if woken {
		close(s.changed)
		s.changed = make(chan struct{})
	}
	return entered, err
}

// stage runs what is left of a stage's actions, those of one run order at a time, and
// takes the execution to the next stage.
func (f *follower) stage(ctx context.Context, at int) error {
	s := f.s
	stage := &f.declaration.Stages[at]
	for _, order := range orders(stage) {
		var group sync.WaitGroup
		for i := range stage.Actions {
			declared := &stage.Actions[i]
			if orderOf(declared) != order {
				continue
			}
			id, err := f.prepare(ctx, stage.Name, declared)
			if err != nil {
				return err
			}
			if id != "" {
				group.Go(func() { f.perform(ctx, id, declared) })
			}
		}
		group.Wait()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		e := executions.Get(s.DB.View(), f.key)
		if e == nil || !e.active() {
			return nil
		}
		failed := false
		for i := range stage.Actions {
			declared := &stage.Actions[i]
			if orderOf(declared) != order {
				continue
			}
			if a := e.latest(stage.Name, declared.Name); a == nil || a.Status != "Succeeded" {
				failed = true
			}
		}
		if e.Status == "Stopping" || failed {
			now := s.now()
			return s.change(ctx, f.key, func(e *execution) {
				if !e.active() {
					return
				}
				e.Updated = now
				if e.Status = "Failed"; !failed {
					e.Status = "Stopped"
				}
			})
		}
	}
	now := s.now()
	return s.change(ctx, f.key, func(e *execution) {
		if !e.active() {
			return
		}
		e.Updated = now
		switch {
		case e.Status == "Stopping":
			e.Status = "Stopped"
		case at+1 == len(f.declaration.Stages):
			e.Status = "Succeeded"
		default:
			e.Stage, e.Waiting = at+1, true
		}
	})
}

func orders(stage *api.StageDeclaration) []int32 {
	var all []int32
	for i := range stage.Actions {
		all = append(all, orderOf(&stage.Actions[i]))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// prepare makes the record of an action that is to run, or finds that of one that runs;
// "": it has run.
func (f *follower) prepare(ctx context.Context, stage string, declared *api.ActionDeclaration) (id string, err error) {
	now := f.s.now()
	fresh := newUUID()
	err = f.s.change(ctx, f.key, func(e *execution) {
		id = ""
		if a := e.latest(stage, declared.Name); a != nil && !a.Retried {
			if a.Status == "InProgress" {
				id = a.ID
			}
			return
		}
		if e.Status != "InProgress" {
			return
		}
		id = fresh
		a := action{ID: id, Stage: stage, Name: declared.Name, Status: "InProgress", Started: now, Updated: now}
		if declared.ActionTypeId.Category == "Approval" {
			a.Token = newUUID()
		}
		for _, in := range declared.InputArtifacts {
			at := e.Artifacts[in.Name]
			a.Inputs = append(a.Inputs, api.ArtifactDetail{Name: in.Name, S3location: &at})
		}
		e.Actions = append(e.Actions, a)
		e.Updated = now
	})
	return id, err
}

// A failure is why an action failed, in the words of its errorDetails.
type failure struct{ code, message string }

func (f *failure) Error() string { return f.code + ": " + f.message }

// A work is what an action has to do, and what comes of it.
type work struct {
	*follower
	id        string
	declared  *api.ActionDeclaration
	execution *execution // as it was when the action began
	config    map[string]string
	bucket    string // the artifact store
	role      string // that the action is done as
	outputs   map[string]api.S3Location
	variables map[string]string
	revision  *api.ArtifactRevision
	summary   string
}

// perform runs one action to its end and records it. When the server ends, it stays in
// progress.
func (f *follower) perform(ctx context.Context, id string, declared *api.ActionDeclaration) {
	s := f.s
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Who abandons the action, or deletes the pipeline, ends it.
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for ctx.Err() == nil {
			changed := s.waitable()
			e := executions.Get(s.DB.View(), f.key)
			if e == nil || e.action(id).Status != "InProgress" {
				cancel()
				return
			}
			s.wait(ctx, changed, time.Minute)
		}
	}()
	w := &work{follower: f, id: id, declared: declared, execution: executions.Get(s.DB.View(), f.key), outputs: map[string]api.S3Location{}, role: f.declaration.RoleArn}
	err := errors.New("the execution is gone")
	if w.execution != nil {
		err = w.do(ctx)
	}
	ended := ctx.Err() != nil
	cancel()
	<-watched
	if ended {
		return
	}
	now := s.now()
	if err != nil {
		var why *failure
		if !errors.As(err, &why) {
			s.log().Error("running an action", "pipeline", f.pipeline, "action", declared.Name, "error", err)
			why = &failure{"InternalError", "iamd has failed; its log says why."}
		}
		err = s.change(ctx, f.key, func(e *execution) {
			if a := e.action(id); a.Status == "InProgress" {
				a.fail(why.code, why.message, now)
				a.Summary = w.summary
			}
			e.Updated = now
		})
	} else {
		err = s.change(ctx, f.key, func(e *execution) {
			a := e.action(id)
			if a.Status != "InProgress" {
				return
			}
			a.Status, a.Updated, a.Summary, a.Variables = "Succeeded", now, w.summary, w.variables
			if e.Artifacts == nil {
				e.Artifacts, e.Spaces = map[string]api.S3Location{}, map[string]map[string]string{}
			}
			for _, out := range declared.OutputArtifacts {
				if at, ok := w.outputs[out.Name]; ok {
					e.Artifacts[out.Name] = at
					a.Outputs = append(a.Outputs, api.ArtifactDetail{Name: out.Name, S3location: &at})
				}
			}
			if declared.Namespace != "" {
				e.Spaces[declared.Namespace] = w.variables
			}
			if w.revision != nil {
				e.Revisions = append(e.Revisions, *w.revision)
				e.Sources = append(e.Sources, api.SourceRevision{ActionName: declared.Name, RevisionId: w.revision.RevisionId, RevisionSummary: w.revision.RevisionSummary})
			}
			e.Updated = now
		})
	}
	if err != nil {
		s.log().Error("keeping what an action has come to", "pipeline", f.pipeline, "error", err)
	}
}

// do runs the action.
func (w *work) do(ctx context.Context) error {
	var err error
	if w.bucket, err = storeOf(w.declaration, w.region); err != nil {
		return err
	}
	if w.declared.RoleArn != "" {
		w.role = w.declared.RoleArn
	}
	if w.config, err = w.resolve(w.declared.Configuration); err != nil {
		return err
	}
	if err := w.change(ctx, func(a *action) { a.Resolved = w.config }); err != nil {
		return err
	}
	switch t := w.declared.ActionTypeId; t.Category + "/" + t.Provider {
	case "Source/S3":
		return w.source(ctx)
	case "Build/CodeBuild", "Test/CodeBuild":
		return w.build(ctx)
	case "Approval/Manual":
		return w.approval(ctx)
	case "Deploy/S3":
		return w.deploy(ctx)
	case "Deploy/CloudFormation":
		return w.stack(ctx)
	case "Invoke/Lambda":
		return w.invoke(ctx)
	}
	return &failure{"ConfigurationError", "iamd does not serve the action"}
}

// change changes the action's record.
func (w *work) change(ctx context.Context, f func(*action)) error {
	return w.s.change(ctx, w.key, func(e *execution) { f(e.action(w.id)) })
}

// call is a call made as the role of the action.
func (w *work) call(ctx context.Context) (*service.Call, error) {
	return w.callAs(ctx, w.declared.RoleArn)
}

func (f *follower) callAs(ctx context.Context, role string) (*service.Call, error) {
	session, err := f.provider.Session(ctx)
	if err != nil {
		return nil, notAssumed(f.declaration.RoleArn)
	}
	if role != "" {
		if session, err = f.s.Roles.Chain(ctx, session, arn.ARN(role), fmt.Sprint(f.s.now().UnixMilli()), ""); err != nil {
			return nil, notChained(f.declaration.RoleArn, role)
		}
	}
	return f.s.Roles.Call(session, f.region, f.request), nil
}

func notAssumed(role string) error {
	return &failure{"PermissionError", "CodePipeline is not authorized to perform AssumeRole on role " + role}
}

func notChained(from, role string) error {
	return &failure{"PermissionError", from + " is not authorized to perform AssumeRole on role " + role}
}

var (
	reference    = regexp.MustCompile(`#\{([A-Za-z0-9@_-]+)\.([A-Za-z0-9@_-]+)\}`)
	variableName = regexp.MustCompile(`^[A-Za-z0-9@_-]+$`)
)

// resolve puts the values of variables into a configuration.
func (w *work) resolve(config map[string]string) (map[string]string, error) {
	out := map[string]string{}
	var missing error
	for name, text := range config {
		out[name] = reference.ReplaceAllStringFunc(text, func(given string) string {
			m := reference.FindStringSubmatch(given)
			var value string
			var ok bool
			switch space, name := m[1], m[2]; {
			case space == "codepipeline" && name == "PipelineExecutionId":
				value, ok = w.execution.ID, true
			case space == "variables":
				value, ok = w.execution.Variables[name]
			default:
				value, ok = w.execution.Spaces[space][name]
			}
			if !ok {
				missing = &failure{"InvalidVariableReference", fmt.Sprintf("The variable reference %s does not resolve to a value", given)}
			}
			return value
		})
	}
	return out, missing
}

// asAWS repeats an error of another service as AWS's own clients do.
func asAWS(err error, service string) string {
	var e *wire.Error
	if errors.As(err, &e) {
		return fmt.Sprintf("%s (Service: %s; Status Code: %d; Error Code: %s)", e.Message, service, e.Status, e.Code)
	}
	return err.Error()
}

// refused reports whether a call was refused for want of a permission.
func refused(err error) bool {
	var e *wire.Error
	return errors.As(err, &e) && (e.Code == "AccessDenied" || e.Code == "AccessDeniedException")
}
