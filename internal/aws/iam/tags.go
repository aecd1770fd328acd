package iam

import (
	"cmp"
	"context"
	"reflect"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

// tagging are the three operations on the tags of a kind of entity: to tag, to
// untag and to list. Policies are named by ARN, the others by name.
func tagging[Tag, Untag, List, Listed, T any](s *Service, k *kind[T]) []service.Row {
	tagName, tags := field[string](reflect.TypeFor[Tag](), k.field), field[[]api.Tag](reflect.TypeFor[Tag](), "Tags")
	untagName, tagKeys := field[string](reflect.TypeFor[Untag](), k.field), field[[]string](reflect.TypeFor[Untag](), "TagKeys")
	listName := field[string](reflect.TypeFor[List](), k.field)
	marker, max := field[string](reflect.TypeFor[List](), "Marker"), field[*int32](reflect.TypeFor[List](), "MaxItems")

	tag := func(ctx context.Context, c *service.Call, in *Tag) (*none, error) {
		if err := distinct(tags(in), k.exactTag); err != nil {
			return nil, err
		}
		return nil, annotate(ctx, s, c, k, tagName(in), func(_ *store.Tx, v *T) error {
			t := k.tags(v)
			*t = merge(*t, tags(in), k.exactTag)
			return within(len(*t), s.Quotas.TagsPerEntity, k.tagsOf)
		})
	}
	untag := func(ctx context.Context, c *service.Call, in *Untag) (*none, error) {
		return nil, annotate(ctx, s, c, k, untagName(in), func(_ *store.Tx, v *T) error {
			t := k.tags(v)
			*t = slices.DeleteFunc(*t, func(t api.Tag) bool {
				return slices.ContainsFunc(tagKeys(in), func(key string) bool { return sameTag(t.Key, key, k.exactTag) })
			})
			return nil
		})
	}
	list := func(_ context.Context, c *service.Call, in *List) (*Listed, error) {
		var all []api.Tag
		if name := listName(in); !isAWSPolicy(name) { // those have none
			v, err := k.get(c.State, c, name)
			if err != nil {
				return nil, err
			}
			all = *k.tags(v)
		}
		p, err := paged(marker(in), max(in), slice(all))
		if err != nil {
			return nil, err
		}
		return answer[Listed](map[string]any{"Tags": p.Items, "IsTruncated": p.More, "Marker": p.Marker}), nil
	}

	// aws:RequestTag is not there when tags are taken away: only aws:TagKeys is.
	keys := service.KeyOf("aws:TagKeys", func(_ *service.Call, in *Untag) (policy.Value, bool) {
		return policy.List(tagKeys(in)), len(tagKeys(in)) > 0
	})
	if k.field == "PolicyArn" {
		return []service.Row{
			service.Handle(tag, k.named, requestTags, policyARNChecked[Tag]()),
			service.Handle(untag, k.named, keys, policyARNChecked[Untag]()),
			service.Handle(list, k.named, policyARNChecked[List]()),
		}
	}
	return []service.Row{service.Handle(tag, k.named, requestTags), service.Handle(untag, k.named, keys), service.Handle(list, k.named)}
}

// sameTag compares two tag keys, which differ by case in policies only.
func sameTag(a, b string, exact bool) bool {
	if exact {
		return a == b
	}
	return strings.EqualFold(a, b)
}

// distinct is InvalidInput when two of the tags given have the same key.
func distinct(tags []api.Tag, exact bool) error {
	seen := make(map[string]bool, len(tags))
	for _, t := range tags {
		key := t.Key
		if !exact {
			key = strings.ToLower(key)
		}
		if seen[key] {
			if exact {
				return api.InvalidInput("Duplicate tag keys found.")
			}
			return api.InvalidInput("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		seen[key] = true
	}
	return nil
}

// merge adds tags to those that are there. One whose key is there takes its place,
// and its spelling; the tags of policies are kept as they are listed, the shorter
// key first and capitals before small letters.
func merge(old, added []api.Tag, exact bool) []api.Tag {
	tags := slices.Clone(old)
	for _, t := range added {
		if i := slices.IndexFunc(tags, func(o api.Tag) bool { return sameTag(o.Key, t.Key, exact) }); i >= 0 {
			tags[i] = t
		} else {
			tags = append(tags, t)
		}
	}
	if exact {
		slices.SortStableFunc(tags, func(a, b api.Tag) int {
			return cmp.Or(cmp.Compare(len(a.Key), len(b.Key)), cmp.Compare(a.Key, b.Key))
		})
	}
	return tags
}
