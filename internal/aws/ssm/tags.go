package ssm

import (
	"context"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/internal/aws/ssm/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// withTags adds tags to those that a resource has.
func withTags(old, added []api.Tag) ([]api.Tag, error) {
	tags := slices.Clone(old)
	for i, t := range added {
		if slices.ContainsFunc(added[:i], func(o api.Tag) bool { return o.Key == t.Key }) {
			return nil, api.Validation("Duplicate tag keys are not allowed: %s", t.Key)
		}
		if strings.HasPrefix(strings.ToLower(t.Key), "aws:") {
			return nil, api.Validation("Tag keys that begin with aws: are reserved: %s", t.Key)
		}
		if i := slices.IndexFunc(tags, func(o api.Tag) bool { return o.Key == t.Key }); i >= 0 {
			tags[i].Value = t.Value
		} else {
			tags = append(tags, t)
		}
	}
	if len(tags) > mostTags {
		return nil, api.TooManyTagsError("")
	}
	return tags, nil
}

// retag replaces the tags of a parameter by what f makes of them. Nothing else that iamd
// serves has tags here: those of an instance are EC2's.
func (s *Service) retag(ctx context.Context, c *service.Call, kind, id string, f func([]api.Tag) ([]api.Tag, error)) error {
	if kind != "Parameter" {
		return noResource()
	}
	at := locate(c, id)
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		p := parameters.Get(tx, at.key())
		if p == nil || at.selector != "" || at.foreign {
			return noResource()
		}
		var err error
		if p.Tags, err = f(p.Tags); err != nil {
			return err
		}
		parameters.Put(tx, at.key(), p)
		return nil
	})
}

func noResource() error { return api.InvalidResourceId("Invalid Resource Id") }

func (s *Service) addTagsToResource(ctx context.Context, c *service.Call, in *api.AddTagsToResourceInput) (*api.AddTagsToResourceOutput, error) {
	if err := s.retag(ctx, c, in.ResourceType, in.ResourceId, func(tags []api.Tag) ([]api.Tag, error) { return withTags(tags, in.Tags) }); err != nil {
		return nil, err
	}
	return &api.AddTagsToResourceOutput{}, nil
}

// removeTagsFromResource takes away what there is of the keys.
func (s *Service) removeTagsFromResource(ctx context.Context, c *service.Call, in *api.RemoveTagsFromResourceInput) (*api.RemoveTagsFromResourceOutput, error) {
	if err := s.retag(ctx, c, in.ResourceType, in.ResourceId, func(tags []api.Tag) ([]api.Tag, error) {
		return slices.DeleteFunc(tags, func(t api.Tag) bool { return slices.Contains(in.TagKeys, t.Key) }), nil
	}); err != nil {
		return nil, err
	}
	return &api.RemoveTagsFromResourceOutput{}, nil
}

func (s *Service) listTagsForResource(_ context.Context, c *service.Call, in *api.ListTagsForResourceInput) (*api.ListTagsForResourceOutput, error) {
	at := locate(c, in.ResourceId)
	p := parameters.Get(c.State, at.key())
	if in.ResourceType != "Parameter" || p == nil || at.selector != "" || at.foreign {
		return nil, noResource()
	}
	return &api.ListTagsForResourceOutput{TagList: append([]api.Tag{}, p.Tags...)}, nil
}
