// Package codebuild is AWS CodeBuild: projects, and builds that really run, on this
// machine, with the project's service role.
//
//	s := &codebuild.Service{DB: db, Roles: roles, Workloads: host, Dir: dir}
//	err := s.Open(ctx)
//	table := s.AWS()
//	defer s.Close()
//
// # Whose permissions
//
// Who gives a role to a project, or to one build, needs iam:PassRole on it. CodeBuild
// assumes it (aws:SourceArn is the project) when the project is made or changed and when a
// build starts: a role that does not trust codebuild.amazonaws.com is refused there. From
// then on everything is done as the role: CodeBuild itself reads the source, parameters
// and writes artifacts and logs in a session of the role, and the build's commands find
// the role's credentials where AWS puts them, at AWS_CONTAINER_CREDENTIALS_RELATIVE_URI.
//
// # A build
//
// A build is one workload (package workload). Its commands run one after the other, each
// in a shell of its own that takes over the directory and the exported variables of the
// one before. The environment's image is kept and not used: what runs is what the machine
// has installed. See run.go for the order of things, script.go for what runs inside.
//
// A build that runs when the server ends ends with it: its status is FAULT, and says so.
//
// # Logs
//
// CloudWatch Logs is not there. A build's log is a file, of which logs.deepLink is the
// address, until the build is deleted; with logsConfig.s3Logs it is also written to the
// bucket, as the role.
package codebuild

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/codebuild/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/servicerole"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/workload"
	"github.com/iamd-dev/iamd/policy"
)

// A Service is CodeBuild over a store. Open comes before the first call.
type Service struct {
	DB        *store.DB
	Roles     *servicerole.Roles
	Workloads *workload.Host
	Dir       string           // where logs are, and sources and artifacts on their way
	Now       func() time.Time // nil: time.Now
	Log       *slog.Logger     // nil: nothing is logged

	slots chan struct{} // one for each build that runs
	ctx   context.Context
	stop  context.CancelCauseFunc
	all   sync.WaitGroup // builds

	mu      sync.Mutex
	running map[string]*running // by key
}

// A running build can be ended, and waited for.
type running struct {
	cancel context.CancelCauseFunc
	done   chan struct{}
}

const (
	principal = "codebuild.amazonaws.com"

	maxRunning = 4 // builds at once; others are queued
)

//go:embed declined.txt
var declined string

// AWS returns the table of operations.
func (s *Service) AWS() *service.Service {
	project := func(field string) service.Resource {
		return service.ARN("arn:aws:codebuild:{region}:{account}:project/{" + field + "}")
	}
	passed := servicerole.Passed
	table := service.New(api.Model, declined,
		//             operation             on                   and
		service.Handle(s.createProject, project("Name"), service.Tags("Tags"), passed("ServiceRole", principal),
			service.Before(func(c *service.Call, in *api.CreateProjectInput) error { return ownRole(c, in.ServiceRole) })),
		service.Handle(s.updateProject, project("Name"), service.Tags("Tags"), passed("ServiceRole", principal),
			service.Before(func(c *service.Call, in *api.UpdateProjectInput) error { return ownRole(c, in.ServiceRole) })),
		service.Handle(s.deleteProject, project("Name")),
		service.Handle(s.batchGetProjects, service.On(func(c *service.Call, in *api.BatchGetProjectsInput) []service.Target { return projectsOf(c, in.Names) })),
		service.Handle(s.listProjects, service.Any),
		service.Handle(s.invalidateProjectCache, project("ProjectName")),
		service.Handle(s.listCuratedEnvironmentImages, service.Any),

		service.Handle(s.startBuild, service.On(func(c *service.Call, in *api.StartBuildInput) []service.Target {
			return projectsOf(c, []string{in.ProjectName})
		}), passed("ServiceRoleOverride", principal),
			service.Before(func(c *service.Call, in *api.StartBuildInput) error { return ownRole(c, in.ServiceRoleOverride) })),
		service.Handle(s.stopBuild, service.On(func(c *service.Call, in *api.StopBuildInput) []service.Target {
			return projectsOfBuilds(c, []string{in.Id})
		})),
		service.Handle(s.retryBuild, service.On(func(c *service.Call, in *api.RetryBuildInput) []service.Target {
			return projectsOfBuilds(c, []string{in.Id})
		})),
		service.Handle(s.batchGetBuilds, service.On(func(c *service.Call, in *api.BatchGetBuildsInput) []service.Target {
			return projectsOfBuilds(c, in.Ids)
		})),
		service.Handle(s.batchDeleteBuilds, service.On(func(c *service.Call, in *api.BatchDeleteBuildsInput) []service.Target {
			return projectsOfBuilds(c, in.Ids)
		})),
		service.Handle(s.listBuilds, service.Any),
		service.Handle(s.listBuildsForProject, project("ProjectName")),
	)
	table.Object, table.Key = object, conditionKey
	return table
}

// Tables returns what CodeBuild keeps, for store.Open to check.
func Tables() []store.Checker { return []store.Checker{projects, builds} }

var (
	projects = store.NewTable[project]("codebuildprojects")
	builds   = store.NewTable[build]("codebuildbuilds")
)

// A project is kept under account/region/name.
type project struct {
	api.Project
	Builds int64 // how many there have been: the last one's number
}

// key is the key of a project or, by its id, a build.
func key(account, region, name string) string { return account + "/" + region + "/" + name }

func projectARN(account, region, name string) arn.ARN {
	return arn.New("aws", "codebuild", region, account, "project/"+name)
}

func buildARN(account, region, id string) arn.ARN {
	return arn.New("aws", "codebuild", region, account, "build/"+id)
}

// nameOf is the name of a project that is given by name or ARN.
func nameOf(c *service.Call, given string) string {
	if name, ok := strings.CutPrefix(given, string(projectARN(c.Account, c.Region, ""))); ok {
		return name
	}
	return given
}

// idOf is the id of a build that is given by id or ARN.
func idOf(c *service.Call, given string) string {
	if id, ok := strings.CutPrefix(given, string(buildARN(c.Account, c.Region, ""))); ok {
		return id
	}
	return given
}

func projectsOf(c *service.Call, names []string) []service.Target {
	var all []service.Target
	for _, name := range names {
		all = append(all, service.Target{ARN: projectARN(c.Account, c.Region, nameOf(c, name))})
	}
	return all
}

// projectsOfBuilds are what operations on builds are authorised on.
func projectsOfBuilds(c *service.Call, ids []string) []service.Target {
	var all []service.Target
	for _, id := range ids {
		name, _, _ := strings.Cut(idOf(c, id), ":")
		all = append(all, service.Target{ARN: projectARN(c.Account, c.Region, name)})
	}
	return all
}

// object tells authorisation a project's tags.
func object(state *store.Snapshot, _ policy.Action, a arn.ARN) service.Object {
	name, ok := strings.CutPrefix(a.Resource(), "project/")
	if !ok {
		return service.Object{}
	}
	p := projects.Get(state, key(a.Account(), a.Region(), name))
	if p == nil {
		return service.Object{}
	}
	return service.Tagged(p.Tags, func(t api.Tag) (string, string) { return t.Key, t.Value })
}

// ownRole refuses what is no role of the caller's account before anything is decided on it.
func ownRole(c *service.Call, role string) error {
	if role == "" {
		return nil
	}
	a, err := arn.Parse(role)
	if err != nil || a.Service() != "iam" || !strings.HasPrefix(a.Resource(), "role/") {
		return api.InvalidInput("Invalid service role: %s is not the ARN of a role", role)
	}
	if a.Account() != c.Account {
		return api.InvalidInput("Invalid service role: Service role account ID does not match caller's account")
	}
	return nil
}

// use is how CodeBuild uses a project's role. Sessions are named by the build.
func use(account, region, project, role, session, parent string) servicerole.Use {
	return servicerole.Use{
		Role: arn.ARN(role), Service: principal, Session: session,
		For: projectARN(account, region, project), Region: region, Parent: parent,
	}
}

// assumable refuses a role that CodeBuild cannot assume, as AWS does when it is given one.
func (s *Service) assumable(ctx context.Context, c *service.Call, project, role string) error {
	if _, err := s.Roles.Assume(ctx, use(c.Account, c.Region, project, role, "AWSCodeBuild", c.RequestID)); err != nil {
		return api.InvalidInput("CodeBuild is not authorized to perform: sts:AssumeRole on service role. " +
			"Please verify that: 1) The provided service role exists, 2) The role name is case-sensitive and matches exactly, " +
			"and 3) The role has the necessary trust policy configured.")
	}
	return nil
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

// errServerEnds is why builds end with the server.
var errServerEnds = errors.New("the server was stopped while the build ran")

// Open makes the directories, and ends what ran when an earlier server was killed: its
// commands ended with it.
func (s *Service) Open(ctx context.Context) error {
	s.slots = make(chan struct{}, maxRunning)
	s.running = map[string]*running{}
	s.ctx, s.stop = context.WithCancelCause(context.Background())
	if err := os.RemoveAll(s.temporary()); err != nil {
		return fmt.Errorf("removing what builds left: %w", err)
	}
	for _, dir := range []string{s.temporary(), s.logs()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("making a directory of builds: %w", err)
		}
	}
	now := s.now()
	var left []string
	for k, b := range builds.All(s.DB.View(), "") {
		if !b.BuildComplete {
			left = append(left, k)
		}
	}
	for _, k := range left {
		if err := s.change(ctx, k, func(b *build) { b.end("FAULT", "INTERNAL_ERROR", "The server ended while the build ran.", now) }); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the builds that run and waits for them.
func (s *Service) Close() {
	if s.stop == nil {
		return
	}
	s.mu.Lock()
	s.stop(errServerEnds)
	s.mu.Unlock()
	s.all.Wait()
}

func (s *Service) temporary() string { return filepath.Join(s.Dir, "tmp") }
func (s *Service) logs() string      { return filepath.Join(s.Dir, "logs") }
