package organizations

import (
	"context"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/internal/aws/organizations/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// withTags adds tags to those that something has. Keys that differ in case are
// different keys.
func (s *Service) withTags(old []identity.Tag, added []api.Tag) ([]identity.Tag, error) {
	tags := slices.Clone(old)
	for i, t := range added {
		if slices.ContainsFunc(added[:i], func(o api.Tag) bool { return o.Key == t.Key }) {
			return nil, invalid("DUPLICATE_TAG_KEY")
		}
		if strings.HasPrefix(strings.ToLower(t.Key), "aws:") {
			return nil, invalid("INVALID_SYSTEM_TAGS_PARAMETER")
		}
		if i := slices.IndexFunc(tags, func(o identity.Tag) bool { return o.Key == t.Key }); i >= 0 {
			tags[i].Value = t.Value
		} else {
			tags = append(tags, identity.Tag(t))
		}
	}
	if len(tags) > s.Quotas.Tags {
		return nil, constraint("MAX_TAG_LIMIT_EXCEEDED")
	}
	return tags, nil
}

func (s *Service) tagResource(ctx context.Context, c *service.Call, o *identity.Organization, in *api.TagResourceInput) (*none, error) {
	return nil, s.retag(ctx, c, o, in.ResourceId, func(tags []identity.Tag) ([]identity.Tag, error) { return s.withTags(tags, in.Tags) })
}

// untagResource takes away what there is of the keys.
func (s *Service) untagResource(ctx context.Context, c *service.Call, o *identity.Organization, in *api.UntagResourceInput) (*none, error) {
	return nil, s.retag(ctx, c, o, in.ResourceId, func(tags []identity.Tag) ([]identity.Tag, error) {
		return slices.DeleteFunc(tags, func(t identity.Tag) bool { return slices.Contains(in.TagKeys, t.Key) }), nil
	})
}

// retag replaces the tags of what an id names by what f makes of them.
func (s *Service) retag(ctx context.Context, c *service.Call, o *identity.Organization, id string, f func([]identity.Tag) ([]identity.Tag, error)) error {
	return s.change(ctx, c, o, func(tx *store.Tx, o *identity.Organization) error {
		if p := o.Policy(tx, id); p != nil && p.AWSManaged() {
			return invalid("IMMUTABLE_POLICY")
		}
		t := find(tx, o, id)
		if t == nil {
			return noTarget()
		}
		tags, err := f(*t.tags)
		if err != nil {
			return err
		}
		*t.tags = tags
		t.keep(tx)
		return nil
	})
}

func (s *Service) listTagsForResource(_ context.Context, c *service.Call, o *identity.Organization, in *api.ListTagsForResourceInput) (*api.ListTagsForResourceOutput, error) {
	if in.NextToken != "" { // 50 tags are one page
		return nil, invalid("INVALID_NEXT_TOKEN")
	}
	t := find(c.State, o, in.ResourceId)
	if t == nil {
		return nil, noTarget()
	}
	out := &api.ListTagsForResourceOutput{Tags: []api.Tag{}}
	for _, t := range *t.tags {
		out.Tags = append(out.Tags, api.Tag(t))
	}
	return out, nil
}
