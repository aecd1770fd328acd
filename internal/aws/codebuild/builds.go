package codebuild

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/codebuild/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
)

// A build is kept under account/region/id, where the id is PROJECT:UUID.
type build struct {
	api.Build
	Request string                 // request id of the call that started it
	Token   string                 // the caller's, for tokenLife
	Asked   string                 // what the token came with: a sum
	Targets []api.ProjectArtifacts // where artifacts go, the primary ones first
}

// tokenLife is how long a token returns the build that it started.
const tokenLife = 5 * time.Minute

// enter begins a phase.
func (b *build) enter(phase string, now time.Time) {
	b.CurrentPhase = phase
	b.Phases = append(b.Phases, api.BuildPhase{PhaseType: phase, StartTime: now})
}

// leave ends the phase that the build is in. code and message say why it failed.
func (b *build) leave(status, code, message string, now time.Time) {
	p := &b.Phases[len(b.Phases)-1]
	if p.PhaseStatus != "" {
		return
	}
	p.PhaseStatus, p.EndTime, p.DurationInSeconds = status, now, int64(now.Sub(p.StartTime).Round(time.Second)/time.Second)
	if code != "" {
		p.Contexts = []api.PhaseContext{{StatusCode: code, Message: message}}
	}
}

// end ends the build, and with it the phase that it is in if that has not ended.
func (b *build) end(status, code, message string, now time.Time) {
	b.leave(status, code, message, now)
	b.BuildStatus, b.BuildComplete, b.EndTime = status, true, now
	b.enter("COMPLETED", now)
}

// change changes a build. One that was deleted meanwhile stays deleted.
func (s *Service) change(ctx context.Context, k string, f func(*build)) error {
	return s.DB.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		b := builds.Get(tx, k)
		if b == nil {
			return nil
		}
		f(b)
		builds.Put(tx, k, b)
		return nil
	})
}

func (s *Service) startBuild(ctx context.Context, c *service.Call, in *api.StartBuildInput) (*api.StartBuildOutput, error) {
	name := nameOf(c, in.ProjectName)
	p := projects.Get(c.State, key(c.Account, c.Region, name))
	if p == nil {
		return nil, noProject(c, name)
	}
	effective := p.Project
	if err := override(&effective, in); err != nil {
		return nil, err
	}
	request := *in
	request.IdempotencyToken = ""
	out, err := s.start(ctx, c, &effective, in.IdempotencyToken, request)
	if err != nil {
		return nil, err
	}
	return &api.StartBuildOutput{Build: out}, nil
}

// override changes a project for one build.
func override(p *api.Project, in *api.StartBuildInput) error {
	source, environment := *p.Source, *p.Environment
	p.Source, p.Environment = &source, &environment
	if in.SourceTypeOverride != "" && in.SourceTypeOverride != source.Type {
		source.Type, source.Location = in.SourceTypeOverride, ""
	}
	set(&source.Location, in.SourceLocationOverride)
	set(&source.Buildspec, in.BuildspecOverride)
	set(&p.SourceVersion, in.SourceVersion)
	setList(&p.SecondarySources, in.SecondarySourcesOverride)
	setList(&p.SecondarySourceVersions, in.SecondarySourcesVersionOverride)
	if in.ArtifactsOverride == nil && p.Artifacts.Type == "CODEPIPELINE" {
		return api.InvalidInput("ArtifactsOverride must be set when using artifacts type CodePipelines")
	}
	set(&p.Artifacts, in.ArtifactsOverride)
	setList(&p.SecondaryArtifacts, in.SecondaryArtifactsOverride)
	set(&p.Cache, in.CacheOverride)
	set(&p.ServiceRole, in.ServiceRoleOverride)
	set(&p.EncryptionKey, in.EncryptionKeyOverride)
	set(&p.LogsConfig, in.LogsConfigOverride)
	set(&environment.Type, in.EnvironmentTypeOverride)
	set(&environment.Image, in.ImageOverride)
	set(&environment.ComputeType, in.ComputeTypeOverride)
	set(&environment.Certificate, in.CertificateOverride)
	set(&environment.ImagePullCredentialsType, in.ImagePullCredentialsTypeOverride)
	set(&environment.RegistryCredential, in.RegistryCredentialOverride)
	set(&environment.Fleet, in.FleetOverride)
	environment.PrivilegedMode = or(in.PrivilegedModeOverride, environment.PrivilegedMode)
	p.TimeoutInMinutes = or(in.TimeoutInMinutesOverride, p.TimeoutInMinutes)
	p.QueuedTimeoutInMinutes = or(in.QueuedTimeoutInMinutesOverride, p.QueuedTimeoutInMinutes)
	p.AutoRetryLimit = or(in.AutoRetryLimitOverride, p.AutoRetryLimit)
	if or(in.DebugSessionEnabled, false) {
		return api.InvalidInput("iamd does not serve debug sessions")
	}
	environment.EnvironmentVariables = slices.Clone(environment.EnvironmentVariables)
	for _, v := range in.EnvironmentVariablesOverride {
		same := func(o api.EnvironmentVariable) bool { return o.Name == v.Name }
		if i := slices.IndexFunc(environment.EnvironmentVariables, same); i >= 0 {
			environment.EnvironmentVariables[i] = v
		} else {
			environment.EnvironmentVariables = append(environment.EnvironmentVariables, v)
		}
	}
	return check(p)
}

// start starts a build of a project, or returns the one that the token started. request
// is what must be the same for that.
func (s *Service) start(ctx context.Context, c *service.Call, p *api.Project, token string, request any) (*api.Build, error) {
	if s.Workloads.Off != nil {
		return nil, &wire.Error{Code: "NotImplemented", Status: 501, Message: s.Workloads.Off.Error()}
	}
	if p.Source.Type == "CODEPIPELINE" {
		if _, err := objectOf(p.SourceVersion); err != nil {
			return nil, api.InvalidInput("SourceVersion must be the ARN of an object when using source type CodePipeline")
		}
	}
	if err := s.assumable(ctx, c, p.Name, p.ServiceRole); err != nil {
		return nil, err
	}
	now := s.now()
	id := newUUID()
	text, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	b := &build{
		Request: c.RequestID, Token: token, Asked: hex.EncodeToString(sum[:]),
		Targets: append([]api.ProjectArtifacts{*p.Artifacts}, p.SecondaryArtifacts...),
		Build: api.Build{
			Id: p.Name + ":" + id, Arn: string(buildARN(c.Account, c.Region, p.Name+":"+id)), StartTime: now, BuildStatus: "IN_PROGRESS",
			SourceVersion: p.SourceVersion, ProjectName: p.Name, Source: p.Source, SecondarySources: p.SecondarySources,
			SecondarySourceVersions: p.SecondarySourceVersions, Artifacts: &api.BuildArtifacts{}, Cache: p.Cache, Environment: p.Environment,
			ServiceRole: p.ServiceRole, TimeoutInMinutes: p.TimeoutInMinutes, QueuedTimeoutInMinutes: p.QueuedTimeoutInMinutes,
			Initiator: initiator(c, p), EncryptionKey: p.EncryptionKey,
			Logs: &api.LogsLocation{CloudWatchLogs: &api.CloudWatchLogsConfig{Status: "DISABLED"}, S3Logs: &api.S3LogsConfig{Status: "DISABLED"},
				DeepLink: "file://" + s.logFile(id)},
		},
	}
	if l := p.LogsConfig; l != nil && l.S3Logs != nil {
		b.Logs.S3Logs = l.S3Logs
	}
	b.enter("SUBMITTED", now)
	b.leave("SUCCEEDED", "", "", now)
	b.enter("QUEUED", now)

	k := key(c.Account, c.Region, b.Id)
	var again *api.Build
	if err := s.DB.Update(ctx, func(tx *store.Tx) error {
		again = nil
		kept := projects.Get(tx, key(c.Account, c.Region, p.Name))
		if kept == nil {
			return noProject(c, p.Name)
		}
		active := int32(0)
		for _, o := range builds.All(tx, key(c.Account, c.Region, p.Name+":")) {
			if token != "" && o.Token == token && now.Sub(o.StartTime) < tokenLife {
				if o.Asked != b.Asked {
					return api.InvalidInput("The idempotency token was used before with other parameters")
				}
				again = &o.Build
				return nil
			}
			if !o.BuildComplete {
				active++
			}
		}
		if limit := kept.ConcurrentBuildLimit; limit > 0 && active >= limit {
			return api.AccountLimitExceeded("Cannot have more than %d builds in queue for the account", limit)
		}
		kept.Builds++
		b.BuildNumber = kept.Builds
		projects.Put(tx, key(c.Account, c.Region, p.Name), kept)
		builds.Put(tx, k, b)
		return nil
	}); err != nil || again != nil {
		return again, err
	}
	if !s.begin(k, c.Account, c.Region, b) {
		return nil, &wire.Error{Code: "ServiceUnavailable", Status: 503, Message: "The server is stopping."}
	}
	return &b.Build, nil
}

// initiator names who started a build: a user, a role and its session, or a pipeline.
func initiator(c *service.Call, p *api.Project) string {
	if p.Artifacts.Type == "CODEPIPELINE" {
		if pipeline, _, _ := strings.Cut(strings.Trim(p.Artifacts.Path, "/"), "/"); pipeline != "" {
			return "codepipeline/" + pipeline
		}
	}
	if c.Caller.Type == identity.RootUser {
		return "root"
	}
	_, name, _ := strings.Cut(c.Caller.ARN.Resource(), "/")
	return name
}

// retryBuild starts a build anew as it was. Its role was passed when it was started.
func (s *Service) retryBuild(ctx context.Context, c *service.Call, in *api.RetryBuildInput) (*api.RetryBuildOutput, error) {
	old, err := s.get(c, in.Id)
	if err != nil {
		return nil, err
	}
	if !old.BuildComplete {
		return nil, api.InvalidInput("Build %s is in progress and cannot be retried", old.Id)
	}
	kept := projects.Get(c.State, key(c.Account, c.Region, old.ProjectName))
	if kept == nil {
		return nil, noProject(c, old.ProjectName)
	}
	p := kept.Project
	p.Source, p.SecondarySources, p.SourceVersion, p.SecondarySourceVersions = old.Source, old.SecondarySources, old.SourceVersion, old.SecondarySourceVersions
	p.Artifacts, p.SecondaryArtifacts, p.Environment, p.ServiceRole = &old.Targets[0], old.Targets[1:], old.Environment, old.ServiceRole
	p.TimeoutInMinutes, p.QueuedTimeoutInMinutes, p.Cache, p.EncryptionKey = old.TimeoutInMinutes, old.QueuedTimeoutInMinutes, old.Cache, old.EncryptionKey
	p.LogsConfig = &api.LogsConfig{S3Logs: old.Logs.S3Logs}
	out, err := s.start(ctx, c, &p, in.IdempotencyToken, in.Id)
	if err != nil {
		return nil, err
	}
	return &api.RetryBuildOutput{Build: out}, nil
}

// stopBuild ends a build and returns when it has ended. One that is over is returned as it is.
func (s *Service) stopBuild(ctx context.Context, c *service.Call, in *api.StopBuildInput) (*api.StopBuildOutput, error) {
	b, err := s.get(c, in.Id)
	if err != nil {
		return nil, err
	}
	k := key(c.Account, c.Region, b.Id)
	s.mu.Lock()
	r := s.running[k]
	s.mu.Unlock()
	if r != nil {
		r.cancel(errStopped)
		select {
		case <-r.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if b = builds.Get(s.DB.View(), k); b == nil {
			return nil, noBuild(in.Id)
		}
	}
	return &api.StopBuildOutput{Build: &b.Build}, nil
}

func (s *Service) get(c *service.Call, id string) (*build, error) {
	if b := builds.Get(c.State, key(c.Account, c.Region, idOf(c, id))); b != nil {
		return b, nil
	}
	return nil, noBuild(id)
}

func noBuild(id string) error { return api.ResourceNotFound("Build %s does not exist", id) }

func (s *Service) batchGetBuilds(_ context.Context, c *service.Call, in *api.BatchGetBuildsInput) (*api.BatchGetBuildsOutput, error) {
	out := &api.BatchGetBuildsOutput{Builds: []api.Build{}, BuildsNotFound: []string{}}
	for _, id := range in.Ids {
		if b, err := s.get(c, id); err == nil {
			out.Builds = append(out.Builds, b.Build)
		} else {
			out.BuildsNotFound = append(out.BuildsNotFound, id)
		}
	}
	return out, nil
}

// batchDeleteBuilds removes builds that are over, and their logs.
func (s *Service) batchDeleteBuilds(ctx context.Context, c *service.Call, in *api.BatchDeleteBuildsInput) (*api.BatchDeleteBuildsOutput, error) {
	out := &api.BatchDeleteBuildsOutput{}
	for _, given := range in.Ids {
		id := idOf(c, given)
		k := key(c.Account, c.Region, id)
		why := ""
		if err := s.DB.Update(ctx, func(tx *store.Tx) error {
			b := builds.Get(tx, k)
			switch {
			case b == nil:
				why = "BUILD_NOT_FOUND"
			case !b.BuildComplete:
				why = "BUILD_IN_PROGRESS"
			default:
				why = ""
				builds.Delete(tx, k)
			}
			return nil
		}); err != nil {
			return nil, err
		}
		if why != "" {
			out.BuildsNotDeleted = append(out.BuildsNotDeleted, api.BuildNotDeleted{Id: given, StatusCode: why})
			continue
		}
		out.BuildsDeleted = append(out.BuildsDeleted, string(buildARN(c.Account, c.Region, id)))
		if _, uuid, ok := strings.Cut(id, ":"); ok {
			if err := os.Remove(s.logFile(uuid)); err != nil && !os.IsNotExist(err) {
				s.log().Warn("removing the log of a build", "error", err)
			}
		}
	}
	return out, nil
}

func (s *Service) listBuilds(_ context.Context, c *service.Call, in *api.ListBuildsInput) (*api.ListBuildsOutput, error) {
	page, next, err := list(c, "", in.SortOrder, in.NextToken)
	return &api.ListBuildsOutput{Ids: page, NextToken: next}, err
}

func (s *Service) listBuildsForProject(_ context.Context, c *service.Call, in *api.ListBuildsForProjectInput) (*api.ListBuildsForProjectOutput, error) {
	name := nameOf(c, in.ProjectName)
	if projects.Get(c.State, key(c.Account, c.Region, name)) == nil {
		return nil, api.ResourceNotFound("The provided project %s does not exist", projectARN(c.Account, c.Region, name))
	}
	page, next, err := list(c, name+":", in.SortOrder, in.NextToken)
	return &api.ListBuildsForProjectOutput{Ids: page, NextToken: next}, err
}

// list is a page of the ids of builds, the newest first unless order says otherwise.
func list(c *service.Call, prefix, order, token string) ([]string, string, error) {
	var all []*build
	for _, b := range builds.All(c.State, key(c.Account, c.Region, prefix)) {
		all = append(all, b)
	}
	slices.SortStableFunc(all, func(a, b *build) int { return a.StartTime.Compare(b.StartTime) })
	if order != "ASCENDING" {
		slices.Reverse(all)
	}
	ids := []string{}
	for _, b := range all {
		ids = append(ids, b.Id)
	}
	return paged(ids, token)
}

func (s *Service) logFile(uuid string) string { return filepath.Join(s.logs(), uuid+".log") }

func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
