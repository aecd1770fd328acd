package ecs

import (
	"context"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/ecs/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

const mostTags = 50

// withTags adds tags to those that something has. Keys that differ in case are different keys.
func withTags(old, added []api.Tag) ([]api.Tag, error) {
	tags := slices.Clone(old)
	for i, t := range added {
		switch {
		case t.Key == "" || len(t.Key) > 128 || len(t.Value) > 256:
			return nil, api.InvalidParameter("Tag keys have 1 to 128 characters, and values at most 256.")
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
			return nil, api.InvalidParameter("Invalid tag key: aws: is reserved for AWS use.")
		case slices.ContainsFunc(added[:i], func(o api.Tag) bool { return o.Key == t.Key }):
			return nil, api.InvalidParameter("Duplicate tag keys found. Please use unique tag keys.")
		}
		if i := slices.IndexFunc(tags, func(o api.Tag) bool { return o.Key == t.Key }); i >= 0 {
			tags[i].Value = t.Value
		} else {
			tags = append(tags, t)
		}
	}
	if len(tags) > mostTags {
		return nil, api.InvalidParameter("Too many tags: a resource has at most %d.", mostTags)
	}
	return tags, nil
}

// tagsOf are the tags of what an ARN names; nil when there is no such thing.
func tagsOf(r store.Reader, a arn.ARN) *[]api.Tag {
	if a.Service() != "ecs" {
		return nil
	}
	switch kind, k := keyOf(a); kind {
	case "cluster":
		if v := clusters.Get(r, k); v != nil {
			return &v.Tags
		}
	case "task-definition":
		if v := definitions.Get(r, k); v != nil {
			return &v.Tags
		}
	case "service":
		if v := services.Get(r, k); v != nil {
			return &v.Tags
		}
	case "task":
		if v := tasks.Get(r, k); v != nil {
			return &v.Tags
		}
	}
	return nil
}

// retag replaces the tags of what an ARN names by what f makes of them.
func (s *Service) retag(ctx context.Context, c *service.Call, resource string, f func([]api.Tag) ([]api.Tag, error)) error {
	a := arn.ARN(resource)
	kind, k := keyOf(a)
	if !here(c, a, kind) {
		return noResource(resource)
	}
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		var tags *[]api.Tag
		var put func()
		switch kind {
		case "cluster":
			if v := clusters.Get(tx, k); v != nil && v.Status == active {
				tags, put = &v.Tags, func() { clusters.Put(tx, k, v) }
			}
		case "task-definition":
			if v := definitions.Get(tx, k); v != nil {
				tags, put = &v.Tags, func() { definitions.Put(tx, k, v) }
			}
		case "service":
			if v := services.Get(tx, k); v != nil && v.Status != inactive {
				tags, put = &v.Tags, func() { services.Put(tx, k, v) }
			}
		case "task":
			if v := tasks.Get(tx, k); v != nil {
				tags, put = &v.Tags, func() { tasks.Put(tx, k, v) }
			}
		}
		if tags == nil {
			return noResource(resource)
		}
		changed, err := f(*tags)
		if err != nil {
			return err
		}
		*tags = changed
		put()
		return nil
	})
}

func noResource(resource string) error {
	switch kind, _ := keyOf(arn.ARN(resource)); kind {
	case "cluster":
		return api.ClusterNotFound("Cluster not found.")
	case "service":
		return api.ServiceNotFound("Service not found.")
	}
	return api.InvalidParameter("The specified resource %s could not be found.", resource)
}

func (s *Service) tagResource(ctx context.Context, c *service.Call, in *api.TagResourceInput) (*api.TagResourceOutput, error) {
	err := s.retag(ctx, c, in.ResourceArn, func(tags []api.Tag) ([]api.Tag, error) { return withTags(tags, in.Tags) })
	return &api.TagResourceOutput{}, err
}

// untagResource takes away what there is of the keys.
func (s *Service) untagResource(ctx context.Context, c *service.Call, in *api.UntagResourceInput) (*api.UntagResourceOutput, error) {
	err := s.retag(ctx, c, in.ResourceArn, func(tags []api.Tag) ([]api.Tag, error) {
		return slices.DeleteFunc(tags, func(t api.Tag) bool { return slices.Contains(in.TagKeys, t.Key) }), nil
	})
	return &api.UntagResourceOutput{}, err
}

func (s *Service) listTagsForResource(_ context.Context, c *service.Call, in *api.ListTagsForResourceInput) (*api.ListTagsForResourceOutput, error) {
	a := arn.ARN(in.ResourceArn)
	if kind, _ := keyOf(a); !here(c, a, kind) {
		return nil, noResource(in.ResourceArn)
	}
	tags := tagsOf(c.State, a)
	if tags == nil {
		return nil, noResource(in.ResourceArn)
	}
	return &api.ListTagsForResourceOutput{Tags: append([]api.Tag{}, *tags...)}, nil
}
