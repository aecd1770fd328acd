package dynamodb

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/dynamodb/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

// A Table is what iamd keeps of a table: what decisions need. The table itself is the engine's.
type Table struct {
	Tags     []api.Tag         `json:",omitempty"`
	Policy   identity.Document // resource-based policy; zero when there is none
	Revision string            `json:",omitempty"` // of the policy
	Streams  map[string]Stream `json:",omitempty"` // by "stream/LABEL"

	Restoring *Restore `json:",omitempty"` // until the table is whole
}

// A Policy is the resource-based policy of a table or a stream; zero when there is none.
type Policy struct {
	Document identity.Document
	Revision string
}

// A Stream is what iamd keeps of a table's stream.
type Stream struct {
	Policy
	Tags []api.Tag `json:",omitempty"` // not the table's: Developer Guide, "Using attribute-based access control with DynamoDB Streams"
	// After is the sequence number after which the stream's records begin, once that is known:
	// what stands before it is of an earlier stream of the table, or of a table that was deleted.
	After string `json:",omitempty"`
}

var tables = store.NewTable[Table]("dynamodb") // by tableKey

// Tables returns the tables of the store, so that what is in them is checked at start.
func Tables() []store.Checker { return []store.Checker{tables, backups} }

// tableKey is where a table is kept: account/region/name, from its ARN or that of its index or stream.
func tableKey(a arn.ARN) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(a.Resource(), "table/"), "/")
	return a.Account() + "/" + a.Region() + "/" + name
}

const (
	mostTags      = 50
	largestPolicy = 20 << 10 // bytes: Developer Guide, "Resource-based policy considerations"
)

// createTable keeps the new table's tags and policy before the engine makes it, so that
// there is no moment in which they do not hold, and forgets them when it does not.
func (s *Service) createTable(ctx context.Context, c *service.Call, in *api.CreateTableInput) (*service.Answer, error) {
	a := arn.ARN(tableARN(c, in.TableName))
	done, ok := s.make(a, false)
	if !ok {
		return nil, api.ResourceInUse("Table is being created: %s", nameOf(string(a)))
	}
	defer done()
	t := &Table{}
	var err error
	if t.Tags, err = tagged(nil, in.Tags); err != nil {
		return nil, err
	}
	if in.ResourcePolicy != "" {
		if t.Policy, err = document(c.State, in.ResourcePolicy); err != nil {
			return nil, err
		}
		t.Revision = rand.Text()
	}
	key := tableKey(a)
	if tables.Get(s.DB.View(), key) != nil {
		// It exists, or what is kept is left from one whose deletion was cut short.
		if there, err := s.exists(ctx, a); err != nil {
			return nil, err
		} else if there {
			return s.pass(ctx, c, "CreateTable", in) // the engine says so
		}
	}
	put := func(t *Table) error {
		return s.DB.Update(ctx, func(tx *store.Tx) error {
			if t == nil {
				tables.Delete(tx, key)
			} else {
				tables.Put(tx, key, t)
			}
			return nil
		})
	}
	if err := put(t); err != nil {
		return nil, err
	}
	answer, err := s.pass(ctx, c, "CreateTable", in)
	if err != nil {
		if there, failed := s.exists(ctx, a); failed == nil && !there { // another call may have made it meanwhile
			if failed := put(nil); failed != nil {
				return nil, failed
			}
		}
		return nil, err
	}
	return answer, s.began(ctx, a, answer)
}

// updateTable notes where a stream begins that it has switched on.
func (s *Service) updateTable(ctx context.Context, c *service.Call, in *api.UpdateTableInput) (*service.Answer, error) {
	answer, err := s.pass(ctx, c, "UpdateTable", in)
	if err != nil || in.StreamSpecification == nil || !in.StreamSpecification.StreamEnabled {
		return answer, err
	}
	return answer, s.began(ctx, arn.ARN(tableARN(c, in.TableName)), answer)
}

// deleteTable forgets a table's tags and policy after the engine has deleted it.
func (s *Service) deleteTable(ctx context.Context, c *service.Call, in *api.DeleteTableInput) (*service.Answer, error) {
	answer, err := s.pass(ctx, c, "DeleteTable", in)
	if err != nil {
		return nil, err
	}
	return answer, s.DB.Update(ctx, func(tx *store.Tx) error {
		tables.Delete(tx, tableKey(arn.ARN(tableARN(c, in.TableName))))
		return nil
	})
}

// change finds what is kept of the table that an ARN names, gives it to f and keeps what f
// made of it. A table of the engine that was made without iamd has nothing kept yet.
func (s *Service) change(ctx context.Context, c *service.Call, a arn.ARN, f func(*Table) error) error {
	if there, err := s.exists(ctx, a); err != nil {
		return err
	} else if !there {
		return api.ResourceNotFound("Requested resource not found: ResourcArn: %s not found", a)
	}
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		key := tableKey(a)
		t := tables.Get(tx, key)
		if t == nil {
			t = &Table{}
		}
		if err := f(t); err != nil {
			return err
		}
		tables.Put(tx, key, t)
		return nil
	})
}

func (s *Service) tagResource(ctx context.Context, c *service.Call, in *api.TagResourceInput) (*api.TagResourceOutput, error) {
	a := arn.ARN(in.ResourceArn)
	return &api.TagResourceOutput{}, s.change(ctx, c, a, func(t *Table) error {
		tags, err := tagged(t.tags(a), in.Tags)
		t.setTags(a, tags)
		return err
	})
}

func (s *Service) untagResource(ctx context.Context, c *service.Call, in *api.UntagResourceInput) (*api.UntagResourceOutput, error) {
	a := arn.ARN(in.ResourceArn)
	return &api.UntagResourceOutput{}, s.change(ctx, c, a, func(t *Table) error {
		t.setTags(a, slices.DeleteFunc(slices.Clone(t.tags(a)), func(tag api.Tag) bool { return slices.Contains(in.TagKeys, tag.Key) }))
		return nil
	})
}

func (s *Service) listTagsOfResource(ctx context.Context, c *service.Call, in *api.ListTagsOfResourceInput) (*api.ListTagsOfResourceOutput, error) {
	a := arn.ARN(in.ResourceArn)
	if there, err := s.exists(ctx, a); err != nil {
		return nil, err
	} else if !there {
		return nil, api.ResourceNotFound("Requested resource not found: ResourcArn: %s not found", a)
	}
	out := &api.ListTagsOfResourceOutput{Tags: []api.Tag{}}
	if t := tables.Get(c.State, tableKey(a)); t != nil {
		out.Tags = append(out.Tags, t.tags(a)...)
	}
	return out, nil
}

// tagged is a list of tags with others put into it.
func tagged(tags, more []api.Tag) ([]api.Tag, error) {
	tags = slices.Clone(tags)
	for i, tag := range more {
		if slices.ContainsFunc(more[:i], func(t api.Tag) bool { return t.Key == tag.Key }) {
			return nil, api.Validation("Duplicate tag keys found: %s", tag.Key)
		}
		if strings.HasPrefix(strings.ToLower(tag.Key), "aws:") {
			return nil, api.Validation("Tag keys must not begin with aws:")
		}
		if j := slices.IndexFunc(tags, func(t api.Tag) bool { return t.Key == tag.Key }); j >= 0 {
			tags[j].Value = tag.Value
			continue
		}
		tags = append(tags, tag)
	}
	if len(tags) > mostTags {
		return nil, api.Validation("Too many tags: the limit is %d", mostTags)
	}
	return tags, nil
}

// document checks a resource-based policy.
func document(r store.Reader, text string) (identity.Document, error) {
	if len(text) > largestPolicy {
		return identity.Document{}, api.LimitExceeded("The resource policy is larger than %d bytes.", largestPolicy)
	}
	if _, err := policy.CheckResource([]byte(text), "dynamodb"); err != nil {
		return identity.Document{}, api.Validation("Invalid policy document: %v", err)
	}
	d, err := identity.BindTrust(r, text) // principals by unique id, as IAM keeps them
	if bad, ok := errors.AsType[*identity.PrincipalError](err); ok {
		return identity.Document{}, api.Validation("Invalid policy document: Invalid principal in policy: %q:%q", bad.Kind, bad.Value)
	}
	return d, err
}

func (s *Service) putResourcePolicy(ctx context.Context, c *service.Call, in *api.PutResourcePolicyInput) (*api.PutResourcePolicyOutput, error) {
	d, err := document(c.State, in.Policy)
	if err != nil {
		return nil, err
	}
	revision := rand.Text()
	return &api.PutResourcePolicyOutput{RevisionId: revision}, s.changePolicy(ctx, c, in.ResourceArn, in.ExpectedRevisionId, Policy{d, revision})
}

func (s *Service) deleteResourcePolicy(ctx context.Context, c *service.Call, in *api.DeleteResourcePolicyInput) (*api.DeleteResourcePolicyOutput, error) {
	out := &api.DeleteResourcePolicyOutput{}
	if t := tables.Get(c.State, tableKey(arn.ARN(in.ResourceArn))); t != nil {
		out.RevisionId = t.policy(arn.ARN(in.ResourceArn)).Revision
	}
	return out, s.changePolicy(ctx, c, in.ResourceArn, in.ExpectedRevisionId, Policy{})
}

// changePolicy replaces a policy if its revision is the expected one: NO_POLICY expects none.
func (s *Service) changePolicy(ctx context.Context, c *service.Call, resource, expected string, p Policy) error {
	a := arn.ARN(resource)
	return s.change(ctx, c, a, func(t *Table) error {
		is := t.policy(a).Revision
		if expected != "" && expected != is && (expected != "NO_POLICY" || is != "") {
			return api.PolicyNotFound("Resource-based policy not found for the provided ResourceArn: Expected RevisionId %s", expected)
		}
		t.setPolicy(a, p)
		return nil
	})
}

func (s *Service) getResourcePolicy(ctx context.Context, c *service.Call, in *api.GetResourcePolicyInput) (*api.GetResourcePolicyOutput, error) {
	a := arn.ARN(in.ResourceArn)
	if there, err := s.exists(ctx, a); err != nil {
		return nil, err
	} else if !there {
		return nil, api.ResourceNotFound("Requested resource not found: ResourcArn: %s not found", a)
	}
	if t := tables.Get(c.State, tableKey(a)); t != nil {
		if p := t.policy(a); !p.Document.IsZero() {
			return &api.GetResourcePolicyOutput{Policy: identity.ShowTrust(c.State, p.Document), RevisionId: p.Revision}, nil
		}
	}
	return nil, api.PolicyNotFound("Resource-based policy not found for the provided ResourceArn: %s", a)
}

// stream is "stream/LABEL" of a stream's ARN, and "" of a table's.
func stream(a arn.ARN) string {
	_, rest, _ := strings.Cut(strings.TrimPrefix(a.Resource(), "table/"), "/")
	if strings.HasPrefix(rest, "stream/") {
		return rest
	}
	return ""
}

// policy is the policy of the table, or of its stream, that an ARN names. An index has its table's.
func (t *Table) policy(a arn.ARN) Policy {
	if of := stream(a); of != "" {
		return t.Streams[of].Policy
	}
	return Policy{t.Policy, t.Revision}
}

func (t *Table) setPolicy(a arn.ARN, p Policy) {
	if of := stream(a); of != "" {
		t.setStream(of, func(s *Stream) { s.Policy = p })
		return
	}
	t.Policy, t.Revision = p.Document, p.Revision
}

// tags are those of the table, or of its stream, that an ARN names. An index has its table's.
func (t *Table) tags(a arn.ARN) []api.Tag {
	if of := stream(a); of != "" {
		return t.Streams[of].Tags
	}
	return t.Tags
}

func (t *Table) setTags(a arn.ARN, tags []api.Tag) {
	if of := stream(a); of != "" {
		t.setStream(of, func(s *Stream) { s.Tags = tags })
		return
	}
	t.Tags = tags
}

func (t *Table) setStream(of string, change func(*Stream)) {
	s := t.Streams[of]
	change(&s)
	if t.Streams == nil {
		t.Streams = map[string]Stream{}
	}
	t.Streams[of] = s
}
