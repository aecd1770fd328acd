package codepipeline

import (
	"context"
	"strings"

	"github.com/iamd-dev/iamd/internal/aws/codepipeline/api"
	s3 "github.com/iamd-dev/iamd/internal/aws/s3/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/servicerole"
	"github.com/iamd-dev/iamd/internal/store"
)

// watchSources looks at the sources of all pipelines from time to time, as their roles.
func (s *Service) watchSources() {
	watchers := map[string]*servicerole.Provider{} // by pipeline and role
	for s.ctx.Err() == nil {
		s.wait(s.ctx, nil, 5*s.poll())
		if s.ctx.Err() != nil {
			return
		}
		for k, p := range pipelines.All(s.DB.View(), "") {
			for i := range p.Declaration.Stages[0].Actions {
				a := &p.Declaration.Stages[0].Actions[i]
				if !strings.EqualFold(a.Configuration["PollForSourceChanges"], "false") && p.Seen[a.Name] != "" {
					s.look(s.ctx, watchers, k, p, a)
				}
			}
		}
	}
}

// look starts an execution when a source has another revision than the one that was last
// seen. A source that the role may not read, or that is not there, starts none.
func (s *Service) look(ctx context.Context, watchers map[string]*servicerole.Provider, k string, p *pipeline, a *api.ActionDeclaration) {
	parts := strings.SplitN(k, "/", 3)
	provider := watchers[k+" "+p.Declaration.RoleArn]
	if provider == nil {
		provider = s.Roles.Provider(s.use(parts[0], parts[1], parts[2], p.Declaration.RoleArn, ""))
		watchers[k+" "+p.Declaration.RoleArn] = provider
	}
	f := &follower{s: s, account: parts[0], region: parts[1], pipeline: parts[2], declaration: &p.Declaration, provider: provider}
	c, err := f.callAs(ctx, a.RoleArn)
	if err != nil {
		return
	}
	object, err := service.Invoke[s3.HeadObjectOutput](ctx, s.Roles.Invoker, c, "s3", &s3.HeadObjectInput{Bucket: a.Configuration["S3Bucket"], Key: a.Configuration["S3ObjectKey"]})
	if err != nil || object.VersionId == "" || object.VersionId == p.Seen[a.Name] {
		return
	}
	if err := s.saw(ctx, k, a.Name, object.VersionId); err != nil {
		s.log().Error("noting the revision of a source", "pipeline", parts[2], "error", err)
		return
	}
	if _, err := s.start(ctx, parts[0], parts[1], parts[2], api.ExecutionTrigger{TriggerType: "PollForSourceChanges", TriggerDetail: a.Name}, "", nil, nil); err != nil {
		s.log().Error("starting a pipeline", "pipeline", parts[2], "error", err)
	}
}

// saw notes the revision of a source that an execution takes or that starts one.
func (s *Service) saw(ctx context.Context, pipeline, action, revision string) error {
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		p := pipelines.Get(tx, pipeline)
		if p == nil || p.Seen[action] == revision {
			return nil
		}
		if p.Seen == nil {
			p.Seen = map[string]string{}
		}
		p.Seen[action] = revision
		pipelines.Put(tx, pipeline, p)
		return nil
	})
}
