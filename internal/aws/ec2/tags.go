package ec2

import (
	"context"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/ec2/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// tagged are the resources that are tagged, by their ids. Instances alone can be.
func tagged[In any](ids func(*In) []string) service.Resource {
	return service.On(func(c *service.Call, in *In) []service.Target {
		var all []service.Target
		for _, id := range ids(in) {
			if strings.HasPrefix(id, "ami-") {
				all = append(all, service.Target{ARN: arn.ARN("arn:aws:ec2:" + c.Region + "::image/" + id)})
				continue
			}
			all = append(all, service.Target{ARN: instanceARN(c.Account, c.Region, id)})
		}
		return all
	})
}

// checkTagged refuses ids of what is never there.
func checkTagged(ids []string) error {
	if len(ids) == 0 {
		return api.MissingParameter("The request must contain the parameter resourceIdSet")
	}
	for _, id := range ids {
		if !validID(id, "i-") && !validID(id, "ami-") {
			return api.InvalidID("The ID '%s' is not valid", id)
		}
	}
	return nil
}

// checkTags is what AWS demands of tags that are given.
func checkTags(tags []api.Tag) error {
	for n, t := range tags {
		switch {
		case t.Key == "" || len([]rune(t.Key)) > 128:
			return api.InvalidParameterValue("Value ( %s ) for parameter key is invalid. Tag keys have 1 to 128 characters.", t.Key)
		case len([]rune(t.Value)) > 256:
			return api.InvalidParameterValue("Value ( %s ) for parameter value is invalid. Tag values have at most 256 characters.", t.Value)
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
			return api.InvalidParameterValue("Value ( %s ) for parameter key is invalid. Tag keys starting with 'aws:' are reserved for internal use", t.Key)
		case slices.ContainsFunc(tags[:n], func(o api.Tag) bool { return o.Key == t.Key }):
			return api.InvalidParameterValue("Duplicate tag key '%s' specified.", t.Key)
		}
	}
	return nil
}

// checkMetadataTags: keys of tags that the metadata service shows are parts of its paths.
func checkMetadataTags(tags []api.Tag) error {
	for _, t := range tags {
		if strings.ContainsAny(t.Key, "/ ") || t.Key == "." || t.Key == ".." || t.Key == "_index" {
			return api.InvalidParameterValue("'%s' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z\\-_+=,.@:]{1,255}), and must not be a reserved name ('.', '..', '_index')", t.Key)
		}
	}
	return nil
}

// taggedInstances are the ids of instances. The image is everybody's and nobody's to tag.
func taggedInstances(ids []string) ([]string, error) {
	for _, id := range ids {
		if strings.HasPrefix(id, "ami-") && id == imageID {
			return nil, api.OperationNotPermitted("The image '%s' is AWS's own, and cannot be tagged here.", id)
		}
		if strings.HasPrefix(id, "ami-") {
			return nil, api.InvalidAMIIDNotFound("The image id '[%s]' does not exist", id)
		}
	}
	return ids, nil
}

func (s *Service) createTags(ctx context.Context, c *service.Call, in *api.CreateTagsInput) (*api.CreateTagsOutput, error) {
	ids, err := taggedInstances(in.Resources)
	if err != nil {
		return nil, err
	}
	if len(in.Tags) == 0 {
		return nil, api.MissingParameter("The request must contain the parameter tagSet")
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	return &api.CreateTagsOutput{}, s.change(ctx, c, ids, func(i *Instance) error {
		if i.Options.Tags == "enabled" {
			if err := checkMetadataTags(in.Tags); err != nil {
				return err
			}
		}
		for _, t := range in.Tags {
			if n := slices.IndexFunc(i.Tags, func(o api.Tag) bool { return o.Key == t.Key }); n >= 0 {
				i.Tags[n].Value = t.Value
			} else {
				i.Tags = append(i.Tags, t)
			}
		}
		if len(i.Tags) > mostTags {
			return api.TagLimitExceeded("You have reached the maximum number of tags that a resource may have: %d.", mostTags)
		}
		return nil
	})
}

// deleteTags deletes tags with these keys, or, where a value is given, that value; without
// any it deletes all. An empty value and none are the same here: AWS tells them apart.
func (s *Service) deleteTags(ctx context.Context, c *service.Call, in *api.DeleteTagsInput) (*api.DeleteTagsOutput, error) {
	ids, err := taggedInstances(in.Resources)
	if err != nil {
		return nil, err
	}
	return &api.DeleteTagsOutput{}, s.change(ctx, c, ids, func(i *Instance) error {
		i.Tags = slices.DeleteFunc(i.Tags, func(t api.Tag) bool {
			return len(in.Tags) == 0 || slices.ContainsFunc(in.Tags, func(o api.Tag) bool { return o.Key == t.Key && (o.Value == "" || o.Value == t.Value) })
		})
		return nil
	})
}

func (s *Service) describeTags(_ context.Context, c *service.Call, in *api.DescribeTagsInput) (*api.DescribeTagsOutput, error) {
	if err := checkPage(in.MaxResults, nil); err != nil {
		return nil, err
	}
	one := func(f func(api.TagDescription) string) func(api.TagDescription) []string {
		return func(t api.TagDescription) []string { return []string{f(t)} }
	}
	match, err := filtered(in.Filters, map[string]func(api.TagDescription) []string{
		"key":           one(func(t api.TagDescription) string { return t.Key }),
		"value":         one(func(t api.TagDescription) string { return t.Value }),
		"resource-id":   one(func(t api.TagDescription) string { return t.ResourceId }),
		"resource-type": one(func(t api.TagDescription) string { return t.ResourceType }),
		"tag":           func(t api.TagDescription) []string { return []string{t.Key + "\x00" + t.Value} },
	})
	if err != nil {
		return nil, err
	}
	var all []api.TagDescription
	for i := range shown(c.State, c.Account, c.Region, c.Time) {
		for _, t := range i.Tags {
			if d := (api.TagDescription{Key: t.Key, Value: t.Value, ResourceId: i.ID, ResourceType: "instance"}); match(d) {
				all = append(all, d)
			}
		}
	}
	page, next, err := paged(all, func(t api.TagDescription) string { return t.ResourceId + "/" + t.Key }, in.NextToken, in.MaxResults)
	if err != nil {
		return nil, err
	}
	if page == nil {
		page = []api.TagDescription{}
	}
	return &api.DescribeTagsOutput{Tags: page, NextToken: next}, nil
}

// TagsOf returns the tags of an instance, whether it runs or not; false for one that is not
// there or has been terminated.
func TagsOf(state *store.Snapshot, a arn.ARN) (map[string]string, bool) {
	i := byARN(state, a)
	if i == nil || i.State == terminated {
		return nil, false
	}
	tags := map[string]string{}
	for _, t := range i.Tags {
		tags[t.Key] = t.Value
	}
	return tags, true
}
