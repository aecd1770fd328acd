// Package codepipeline is AWS CodePipeline: pipelines that take what is in an S3 bucket
// through builds, functions, approvals and deployments.
//
//	s := &codepipeline.Service{DB: db, Roles: roles}
//	err := s.Open(ctx)
//	table := s.AWS()
//	s.Start() // when calls can be made inside
//	defer s.Close()
//
// # Whose permissions
//
// Who gives a role to a pipeline needs iam:PassRole on it. CodePipeline assumes it
// (aws:SourceArn is the pipeline) and does everything as that role, by the calls that the
// services of the actions have: it reads the source, writes to the artifact store, starts
// builds, makes stacks. An action with a role of its own is done as that one, which the
// pipeline's role assumes: it needs sts:AssumeRole, and the trust of the other. A role that
// an action passes on, CloudFormation's, is passed by the role that the action is done as,
// and it needs iam:PassRole for that.
//
// # Executions
//
// What an execution has come to is in the store with every step. One goroutine follows each
// execution that is in progress; after a restart, however the server ended, it goes on: it
// waits on for approvals, builds and stacks, and gives functions their jobs again; an action
// that was in the middle of something else has failed, and says so. A stage has one execution in it at a time (but in
// mode PARALLEL); others wait before it, and in mode SUPERSEDED the newest of them alone.
//
// Sources are looked at from time to time, as AWS does that has PollForSourceChanges.
package codepipeline

import (
	"context"
	"crypto/rand"
	_ "embed"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/codepipeline/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/servicerole"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

// A Service is CodePipeline over a store. Open comes before the first call, and Start
// when calls can be made inside.
type Service struct {
	DB    *store.DB
	Roles *servicerole.Roles
	Now   func() time.Time // nil: time.Now
	Log   *slog.Logger     // nil: nothing is logged
	Poll  time.Duration    // how often builds and stacks that run are asked for, and sources five times less; 0: a second

	ctx  context.Context
	stop context.CancelFunc
	all  sync.WaitGroup // executions, and who looks at sources

	mu      sync.Mutex // held while executions enter stages and begin
	changed chan struct{}
	running map[string]*running // by key
}

// A running execution can be ended.
type running struct{ cancel context.CancelFunc }

const principal = "codepipeline.amazonaws.com"

//go:embed declined.txt
var declined string

// AWS returns the table of operations.
func (s *Service) AWS() *service.Service {
	on := func(resource string) service.Resource {
		return service.ARN("arn:aws:codepipeline:{region}:{account}:" + resource)
	}
	table := service.New(api.Model, declined,
		//             operation           on                        and
		service.Handle(s.createPipeline, on("{Pipeline.Name}"), service.Tags("Tags"), servicerole.Passed("Pipeline.RoleArn", principal)),
		service.Handle(s.updatePipeline, on("{Pipeline.Name}"), servicerole.Passed("Pipeline.RoleArn", principal)),
		service.Handle(s.deletePipeline, on("{Name}")),
		service.Handle(s.getPipeline, on("{Name}")),
		service.Handle(s.listPipelines, service.Any),
		service.Handle(s.getPipelineState, on("{Name}")),

		service.Handle(s.startPipelineExecution, on("{Name}")),
		service.Handle(s.stopPipelineExecution, on("{PipelineName}")),
		service.Handle(s.getPipelineExecution, on("{PipelineName}")),
		service.Handle(s.listPipelineExecutions, on("{PipelineName}")),
		service.Handle(s.listActionExecutions, on("{PipelineName}")),
		service.Handle(s.retryStageExecution, on("{PipelineName}/{StageName}")),
		service.Handle(s.putJobSuccessResult, service.Any),
		service.Handle(s.putJobFailureResult, service.Any),
		service.Handle(s.putApprovalResult, on("{PipelineName}/{StageName}/{ActionName}")),
		service.Handle(s.enableStageTransition, on("{PipelineName}/{StageName}")),
		service.Handle(s.disableStageTransition, on("{PipelineName}/{StageName}")),

		service.Handle(s.tagResource, service.On(func(c *service.Call, in *api.TagResourceInput) []service.Target { return named(c, in.ResourceArn) }), service.Tags("Tags")),
		service.Handle(s.untagResource, service.On(func(c *service.Call, in *api.UntagResourceInput) []service.Target { return named(c, in.ResourceArn) }), service.Tags("TagKeys")),
		service.Handle(s.listTagsForResource, service.On(func(c *service.Call, in *api.ListTagsForResourceInput) []service.Target {
			return named(c, in.ResourceArn)
		})),
	)
	table.Object = object
	return table
}

// Tables returns what CodePipeline keeps, for store.Open to check.
func Tables() []store.Checker { return []store.Checker{pipelines, versions, executions, jobs} }

var (
	pipelines  = store.NewTable[pipeline]("codepipelines")
	versions   = store.NewTable[api.PipelineDeclaration]("codepipelineversions") // under account/region/name/version
	executions = store.NewTable[execution]("codepipelineexecutions")             // under account/region/name/id
)

// A pipeline is kept under account/region/name. Its newest declaration is here, and all of
// them are versions.
type pipeline struct {
	Declaration      api.PipelineDeclaration
	Created, Updated time.Time
	Tags             []api.Tag
	Closed           map[string]transition // by stage: the transitions that are not as they were made
	Seen             map[string]string     // by source action: the revision that was last taken or seen
	Executions       int64                 // how many there have been
}

// A transition into a stage.
type transition struct {
	Enabled    bool
	Reason, By string
	At         time.Time
}

func key(account, region, name string) string { return account + "/" + region + "/" + name }

func pipelineARN(account, region, name string) arn.ARN {
	return arn.New("aws", "codepipeline", region, account, name)
}

// named is the pipeline whose tags an operation is about: one of the call's account and
// region, whatever the ARN says of those; see tagged.
func named(c *service.Call, given string) []service.Target {
	return []service.Target{{ARN: pipelineARN(c.Account, c.Region, arn.ARN(given).Resource())}}
}

// object tells authorisation a pipeline's tags, for it, its stages and its actions.
func object(state *store.Snapshot, _ policy.Action, a arn.ARN) service.Object {
	name, _, _ := strings.Cut(a.Resource(), "/")
	p := pipelines.Get(state, key(a.Account(), a.Region(), name))
	if p == nil {
		return service.Object{}
	}
	return service.Tagged(p.Tags, func(t api.Tag) (string, string) { return t.Key, t.Value })
}

// use is how CodePipeline uses a pipeline's role.
func (s *Service) use(account, region, name, role, parent string) servicerole.Use {
	return servicerole.Use{
		Role: arn.ARN(role), Service: principal, Session: fmt.Sprint(s.now().UnixMilli()),
		For: pipelineARN(account, region, name), Region: region, Parent: parent,
	}
}

func (s *Service) now() time.Time {
	if s.Now != nil {
		return s.Now().UTC().Truncate(time.Millisecond)
	}
	return time.Now().UTC().Truncate(time.Millisecond)
}

func (s *Service) log() *slog.Logger {
	if s.Log != nil {
		return s.Log
	}
	return slog.New(slog.DiscardHandler)
}

func (s *Service) poll() time.Duration {
	if s.Poll > 0 {
		return s.Poll
	}
	return time.Second
}

// Open finds the executions that were in progress when the last server ended: of those,
// actions that nobody can wait for have failed.
func (s *Service) Open(ctx context.Context) error {
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.changed = make(chan struct{})
	s.running = map[string]*running{}
	state := s.DB.View()
	now := s.now()
	for k, e := range executions.All(state, "") {
		if !e.active() {
			continue
		}
		if err := s.change(ctx, k, func(e *execution) { e.resume(now) }); err != nil {
			return err
		}
	}
	return nil
}

// Start goes on with the executions that are in progress, and begins to look at sources.
func (s *Service) Start() {
	for k, e := range executions.All(s.DB.View(), "") {
		if !e.active() {
			continue
		}
		account, region, _ := strings.Cut(k, "/")
		region, _, _ = strings.Cut(region, "/")
		s.begin(k, account, region)
	}
	s.all.Go(s.watchSources)
}

// Close leaves the executions as they are and waits until nobody follows them any more.
func (s *Service) Close() {
	if s.stop == nil {
		return
	}
	s.mu.Lock()
	s.stop()
	s.mu.Unlock()
	s.all.Wait()
}

// wait waits until something has changed that executions may wait for, or for d.
func (s *Service) wait(ctx context.Context, changed <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	case <-ctx.Done():
	}
}

// change changes an execution and tells those who wait. One that is no more stays so.
func (s *Service) change(ctx context.Context, k string, f func(*execution)) error {
	err := s.DB.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		e := executions.Get(tx, k)
		if e == nil {
			return nil
		}
		f(e)
		executions.Put(tx, k, e)
		return nil
	})
	s.wake()
	return err
}

func (s *Service) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Service) waitable() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
