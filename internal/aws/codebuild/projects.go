package codebuild

import (
	"cmp"
	"context"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/internal/aws/codebuild/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// What a project has when it does not say.
const (
	defaultTimeout = 60
	defaultQueued  = 480
)

func (s *Service) createProject(ctx context.Context, c *service.Call, in *api.CreateProjectInput) (*api.CreateProjectOutput, error) {
	now := s.now()
	p := &project{Project: api.Project{
		Name: in.Name, Arn: string(projectARN(c.Account, c.Region, in.Name)), Description: in.Description,
		Source: &in.Source, SecondarySources: in.SecondarySources, SourceVersion: in.SourceVersion, SecondarySourceVersions: in.SecondarySourceVersions,
		Artifacts: &in.Artifacts, SecondaryArtifacts: in.SecondaryArtifacts, Cache: in.Cache, Environment: &in.Environment,
		ServiceRole: in.ServiceRole, TimeoutInMinutes: or(in.TimeoutInMinutes, defaultTimeout), QueuedTimeoutInMinutes: or(in.QueuedTimeoutInMinutes, defaultQueued),
		EncryptionKey: in.EncryptionKey, Tags: in.Tags, Created: now, LastModified: now, VpcConfig: in.VpcConfig, LogsConfig: in.LogsConfig,
		FileSystemLocations: in.FileSystemLocations, BuildBatchConfig: in.BuildBatchConfig, ConcurrentBuildLimit: or(in.ConcurrentBuildLimit, 0),
		ProjectVisibility: "PRIVATE", AutoRetryLimit: or(in.AutoRetryLimit, 0),
		Badge: &api.ProjectBadge{BadgeEnabled: or(in.BadgeEnabled, false)},
	}}
	if p.EncryptionKey == "" {
		p.EncryptionKey = "arn:aws:kms:" + c.Region + ":" + c.Account + ":alias/aws/s3"
	}
	if p.Cache == nil {
		p.Cache = &api.ProjectCache{Type: "NO_CACHE"}
	}
	if err := check(&p.Project); err != nil {
		return nil, err
	}
	exists := api.ResourceAlreadyExists("Project already exists: %s", p.Arn)
	k := key(c.Account, c.Region, in.Name)
	if projects.Get(c.State, k) != nil {
		return nil, exists
	}
	if err := s.assumable(ctx, c, in.Name, in.ServiceRole); err != nil {
		return nil, err
	}
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		if projects.Get(tx, k) != nil {
			return exists
		}
		projects.Put(tx, k, p)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.CreateProjectOutput{Project: &p.Project}, nil
}

func (s *Service) updateProject(ctx context.Context, c *service.Call, in *api.UpdateProjectInput) (*api.UpdateProjectOutput, error) {
	k := key(c.Account, c.Region, in.Name)
	if projects.Get(c.State, k) == nil {
		return nil, noProject(c, in.Name)
	}
	if in.ServiceRole != "" {
		if err := s.assumable(ctx, c, in.Name, in.ServiceRole); err != nil {
			return nil, err
		}
	}
	now := s.now()
	var out api.Project
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		p := projects.Get(tx, k)
		if p == nil {
			return noProject(c, in.Name)
		}
		set(&p.Description, in.Description)
		set(&p.SourceVersion, in.SourceVersion)
		set(&p.ServiceRole, in.ServiceRole)
		set(&p.EncryptionKey, in.EncryptionKey)
		set(&p.Source, in.Source)
		set(&p.Artifacts, in.Artifacts)
		set(&p.Cache, in.Cache)
		set(&p.Environment, in.Environment)
		set(&p.VpcConfig, in.VpcConfig)
		set(&p.LogsConfig, in.LogsConfig)
		set(&p.BuildBatchConfig, in.BuildBatchConfig)
		setList(&p.SecondarySources, in.SecondarySources)
		setList(&p.SecondarySourceVersions, in.SecondarySourceVersions)
		setList(&p.SecondaryArtifacts, in.SecondaryArtifacts)
		setList(&p.FileSystemLocations, in.FileSystemLocations)
		setList(&p.Tags, in.Tags)
		p.TimeoutInMinutes = or(in.TimeoutInMinutes, p.TimeoutInMinutes)
		p.QueuedTimeoutInMinutes = or(in.QueuedTimeoutInMinutes, p.QueuedTimeoutInMinutes)
		p.ConcurrentBuildLimit = or(in.ConcurrentBuildLimit, p.ConcurrentBuildLimit)
		p.AutoRetryLimit = or(in.AutoRetryLimit, p.AutoRetryLimit)
		p.Badge = &api.ProjectBadge{BadgeEnabled: or(in.BadgeEnabled, false)}
		if p.ConcurrentBuildLimit == -1 { // AWS: "To remove the limit, set to -1"
			p.ConcurrentBuildLimit = 0
		}
		if err := check(&p.Project); err != nil {
			return err
		}
		p.LastModified = now
		projects.Put(tx, k, p)
		out = p.Project
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.UpdateProjectOutput{Project: &out}, nil
}

// deleteProject removes a project. Its builds stay; one that is not there is no error.
func (s *Service) deleteProject(ctx context.Context, c *service.Call, in *api.DeleteProjectInput) (*api.DeleteProjectOutput, error) {
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		projects.Delete(tx, key(c.Account, c.Region, in.Name))
		return nil
	})
	return &api.DeleteProjectOutput{}, err
}

func (s *Service) batchGetProjects(_ context.Context, c *service.Call, in *api.BatchGetProjectsInput) (*api.BatchGetProjectsOutput, error) {
	out := &api.BatchGetProjectsOutput{Projects: []api.Project{}, ProjectsNotFound: []string{}}
	for _, name := range in.Names {
		if p := projects.Get(c.State, key(c.Account, c.Region, nameOf(c, name))); p != nil {
			out.Projects = append(out.Projects, p.Project)
		} else {
			out.ProjectsNotFound = append(out.ProjectsNotFound, name)
		}
	}
	return out, nil
}

func (s *Service) listProjects(_ context.Context, c *service.Call, in *api.ListProjectsInput) (*api.ListProjectsOutput, error) {
	var all []*project
	for _, p := range projects.All(c.State, key(c.Account, c.Region, "")) {
		all = append(all, p)
	}
	slices.SortStableFunc(all, func(a, b *project) int {
		switch in.SortBy {
		case "CREATED_TIME":
			return a.Created.Compare(b.Created)
		case "LAST_MODIFIED_TIME":
			return a.LastModified.Compare(b.LastModified)
		}
		return cmp.Compare(a.Name, b.Name)
	})
	if in.SortOrder == "DESCENDING" {
		slices.Reverse(all)
	}
	names := []string{}
	for _, p := range all {
		names = append(names, p.Name)
	}
	page, next, err := paged(names, in.NextToken)
	return &api.ListProjectsOutput{Projects: page, NextToken: next}, err
}

// invalidateProjectCache has nothing to invalidate: caches are not kept.
func (s *Service) invalidateProjectCache(_ context.Context, c *service.Call, in *api.InvalidateProjectCacheInput) (*api.InvalidateProjectCacheOutput, error) {
	if projects.Get(c.State, key(c.Account, c.Region, in.ProjectName)) == nil {
		return nil, noProject(c, in.ProjectName)
	}
	return &api.InvalidateProjectCacheOutput{}, nil
}

// listCuratedEnvironmentImages has no images to show: builds run what the machine has.
func (s *Service) listCuratedEnvironmentImages(context.Context, *service.Call, *api.ListCuratedEnvironmentImagesInput) (*api.ListCuratedEnvironmentImagesOutput, error) {
	return &api.ListCuratedEnvironmentImagesOutput{Platforms: []api.EnvironmentPlatform{}}, nil
}

func noProject(c *service.Call, name string) error {
	return api.ResourceNotFound("Project cannot be found: %s", projectARN(c.Account, c.Region, nameOf(c, name)))
}

// check refuses a project that AWS would refuse, and one whose builds would not be what it
// says: what is not served is said when it is asked for, and not found out by a build.
func check(p *api.Project) error {
	invalid := func(format string, args ...any) error { return api.InvalidInput(format, args...) }
	if err := checkSource(p.Source); err != nil {
		return err
	}
	if p.Source.Type == "NO_SOURCE" && !inline(p.Source.Buildspec) {
		return invalid("Invalid project source: an inline buildspec is required when the source type is NO_SOURCE")
	}
	if (p.Source.Type == "CODEPIPELINE") != (p.Artifacts.Type == "CODEPIPELINE") {
		return invalid("Invalid artifacts: both source type and artifacts type must be CODEPIPELINE, or neither")
	}
	seen := map[string]bool{}
	for i := range p.SecondarySources {
		source := &p.SecondarySources[i]
		if err := checkSource(source); err != nil {
			return err
		}
		if source.SourceIdentifier == "" || seen[source.SourceIdentifier] || !identifier(source.SourceIdentifier) {
			return invalid("Invalid secondary source: sourceIdentifier must be unique and contain alphanumeric characters and underscores only")
		}
		seen[source.SourceIdentifier] = true
	}
	if err := checkArtifacts(p.Artifacts); err != nil {
		return err
	}
	clear(seen)
	for i := range p.SecondaryArtifacts {
		a := &p.SecondaryArtifacts[i]
		if err := checkArtifacts(a); err != nil {
			return err
		}
		if a.ArtifactIdentifier == "" || seen[a.ArtifactIdentifier] || !identifier(a.ArtifactIdentifier) {
			return invalid("Invalid secondary artifacts: artifactIdentifier must be unique and contain alphanumeric characters and underscores only")
		}
		seen[a.ArtifactIdentifier] = true
	}
	e := p.Environment
	if !strings.HasPrefix(e.Type, "LINUX_") && !strings.HasPrefix(e.Type, "ARM_") {
		return invalid("iamd does not serve environment type %s: builds run on its own machine", e.Type)
	}
	for _, v := range e.EnvironmentVariables {
		if v.Type == "SECRETS_MANAGER" {
			return invalid("iamd does not serve environment variables of type SECRETS_MANAGER (%s)", v.Name)
		}
	}
	if l := p.LogsConfig; l != nil && l.S3Logs != nil && l.S3Logs.Status == "ENABLED" && l.S3Logs.Location == "" {
		return invalid("Invalid logs config: s3Logs location is required when its status is ENABLED")
	}
	switch {
	case p.VpcConfig != nil && p.VpcConfig.VpcId != "":
		return invalid("iamd does not serve vpcConfig: builds have a network of their own that reaches iamd alone")
	case len(p.FileSystemLocations) > 0:
		return invalid("iamd does not serve fileSystemLocations")
	case p.BuildBatchConfig != nil:
		return invalid("iamd does not serve buildBatchConfig")
	case p.AutoRetryLimit > 0:
		return invalid("iamd does not serve autoRetryLimit")
	case p.Badge != nil && p.Badge.BadgeEnabled:
		return invalid("iamd does not serve badgeEnabled")
	case e.Fleet != nil && e.Fleet.FleetArn != "", e.ComputeConfiguration != nil, e.DockerServer != nil, e.RegistryCredential != nil:
		return invalid("iamd does not serve an environment with a fleet, computeConfiguration, dockerServer or registryCredential")
	case p.ConcurrentBuildLimit < 0:
		return invalid("Invalid concurrent build limit: it must be greater than 0")
	}
	return nil
}

func checkSource(source *api.ProjectSource) error {
	switch source.Type {
	case "NO_SOURCE", "CODEPIPELINE":
		if source.Location != "" {
			return api.InvalidInput("Invalid project source: location must not be given when the source type is %s", source.Type)
		}
	case "S3":
		if bucket, path, _ := strings.Cut(source.Location, "/"); bucket == "" || path == "" {
			return api.InvalidInput("Invalid project source: location must be <bucket>/<path>/<object>.zip or <bucket>/<path>/<folder>/ when the source type is S3")
		}
	default:
		return api.InvalidInput("iamd does not serve source type %s: S3, CODEPIPELINE and NO_SOURCE are there", source.Type)
	}
	return nil
}

func checkArtifacts(a *api.ProjectArtifacts) error {
	if a.Type == "S3" && a.Location == "" {
		return api.InvalidInput("Invalid artifacts: location is required when the artifacts type is S3")
	}
	return nil
}

func identifier(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

const pageSize = 100

// paged cuts a page out of names. The token is the last name of the page before.
func paged(names []string, token string) ([]string, string, error) {
	if token != "" {
		last, err := base64.RawURLEncoding.DecodeString(token)
		at := slices.Index(names, string(last))
		if err != nil || at < 0 {
			return nil, "", api.InvalidInput("Invalid next token")
		}
		names = names[at+1:]
	}
	if len(names) <= pageSize {
		return names, "", nil
	}
	return names[:pageSize], base64.RawURLEncoding.EncodeToString([]byte(names[pageSize-1])), nil
}

// or is what p points to, or what is there without.
func or[T any](p *T, without T) T {
	if p != nil {
		return *p
	}
	return without
}

// set changes what the caller gave.
func set[T comparable](to *T, given T) {
	var none T
	if given != none {
		*to = given
	}
}

func setList[T any](to *[]T, given []T) {
	if given != nil {
		*to = given
	}
}
