package iam

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/reference"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

// checkDocument is MalformedPolicyDocument, in AWS's words, for a document that AWS
// would not keep.
func checkDocument(document string, k policy.Kind) error {
	_, err := policy.Check([]byte(document), k)
	if bad, ok := errors.AsType[*policy.Malformed](err); ok {
		return api.MalformedPolicyDocument("%s", bad.Text)
	}
	return err
}

// isAWS reports whether a policy is one that AWS keeps.
func isAWS(a arn.ARN) bool { return a.Account() == "aws" }

// validPolicyARN checks the form of a policy's ARN.
func validPolicyARN(a string) error {
	parsed, err := arn.Parse(a)
	if err != nil {
		return api.ValidationError("ARN %s is not valid.", a)
	}
	if parsed.Service() != "iam" || !strings.HasPrefix(parsed.Resource(), "policy/") {
		return api.InvalidInput("ARN %s is not valid.", a)
	}
	return nil
}

// onPolicy is a row on the policy that the input names by ARN.
func onPolicy[In, Out any](f func(context.Context, *service.Call, *In) (*Out, error)) service.Row {
	return service.Handle(f, policies.named, policyARNChecked[In]())
}

func policyARNChecked[In any]() service.Clause {
	policyARN := field[string](reflect.TypeFor[In](), "PolicyArn")
	return service.Before(func(_ *service.Call, in *In) error { return validPolicyARN(policyARN(in)) })
}

var newPolicy = service.On(func(c *service.Call, in *api.CreatePolicyInput) []service.Target {
	return []service.Target{{
		ARN:  arn.ARN(entityARN(c.Account, identity.PolicyKind, orRoot(in.Path), in.PolicyName)),
		Text: "policy " + in.PolicyName,
	}}
})

var policyPath = service.On(func(_ *service.Call, in *api.ListPoliciesInput) []service.Target {
	return []service.Target{{ARN: "*", Text: "policy path " + orRoot(in.PathPrefix)}}
})

// createPolicy answers without the description, and with the tags in the order in
// which they were given; they are kept and listed in another.
func (s *Service) createPolicy(ctx context.Context, c *service.Call, in *api.CreatePolicyInput) (*api.CreatePolicyOutput, error) {
	if err := distinct(in.Tags, true); err != nil {
		return nil, err
	}
	if err := s.checkManaged(in.PolicyDocument); err != nil {
		return nil, err
	}
	path := orRoot(in.Path)
	p := &identity.Policy{
		Policy: api.Policy{
			PolicyName:       in.PolicyName,
			PolicyId:         identity.NewID(identity.PolicyPrefix, c.Account),
			Arn:              entityARN(c.Account, identity.PolicyKind, path, in.PolicyName),
			Path:             path,
			DefaultVersionId: "v1",
			IsAttachable:     true,
			Description:      in.Description,
			CreateDate:       now(c),
			UpdateDate:       now(c),
			Tags:             merge(nil, in.Tags, true),
		},
		Versions: []identity.Version{{ID: "v1", Created: now(c), Document: identity.NewDocument(in.PolicyDocument)}},
		Next:     2,
	}
	if err := create(ctx, s, c, policies, p, nil); err != nil {
		return nil, err
	}
	v := p.Policy
	v.Description, v.Tags = "", in.Tags
	return &api.CreatePolicyOutput{Policy: &v}, nil
}

func (s *Service) checkManaged(document string) error {
	if err := checkDocument(document, policy.Identity); err != nil {
		return err
	}
	return within(policy.Size(document), s.Quotas.PolicySize, "PolicySize")
}

func (s *Service) getPolicy(_ context.Context, c *service.Call, in *api.GetPolicyInput) (*api.GetPolicyOutput, error) {
	var v api.Policy
	if m, ok := reference.ManagedPolicy(in.PolicyArn); ok {
		v = awsPolicy(m)
	} else if p := partnerBoundary(c.State, in.PolicyArn); p != nil {
		v = p.Policy
	} else {
		p, err := policies.get(c.State, c, in.PolicyArn)
		if err != nil {
			return nil, err
		}
		v = p.Policy
	}
	v = counted(c.State, c.Account, v)
	if v.Tags == nil {
		v.Tags = []api.Tag{} // written although empty
	}
	return &api.GetPolicyOutput{Policy: &v}, nil
}

// awsPolicy is a policy that AWS keeps. Its description is not published with it.
func awsPolicy(m *reference.Managed) api.Policy {
	return api.Policy{
		PolicyName: m.Name(), PolicyId: m.ID(), Arn: m.ARN, Path: m.Path(), DefaultVersionId: m.DefaultVersion,
		IsAttachable: true, CreateDate: m.Created.UTC(), UpdateDate: m.Updated.UTC(),
	}
}

// counted is a policy with the numbers of its uses in the account.
func counted(r store.Reader, account string, v api.Policy) api.Policy {
	u := usageOf(r, account, v.Arn)
	v.AttachmentCount, v.PermissionsBoundaryUsageCount = int32(u.Attached), int32(u.Boundaries)
	return v
}

// listPolicies lists the account's own policies and then AWS's, without
// descriptions and tags.
func (s *Service) listPolicies(_ context.Context, c *service.Call, in *api.ListPoliciesInput) (*api.ListPoliciesOutput, error) {
	own := mapped(policies.all(c.State, c.Account, ""), func(p *identity.Policy) (api.Policy, bool) { return p.Policy, true })
	aws := mapped(awsPolicies, func(m *reference.Managed) (api.Policy, bool) { return awsPolicy(m), true })
	all := joined(own, aws)
	switch in.Scope {
	case "Local":
		all = own
	case "AWS":
		all = aws
	}
	p, err := paged(in.Marker, in.MaxItems, mapped(all, func(v api.Policy) (api.Policy, bool) {
		if !strings.HasPrefix(v.Path, in.PathPrefix) {
			return v, false
		}
		v = counted(c.State, c.Account, v)
		v.Description, v.Tags = "", nil
		switch {
		case in.PolicyUsageFilter == "PermissionsPolicy":
			return v, v.AttachmentCount > 0
		case in.PolicyUsageFilter == "PermissionsBoundary":
			return v, v.PermissionsBoundaryUsageCount > 0
		case in.OnlyAttached != nil && *in.OnlyAttached:
			return v, v.AttachmentCount+v.PermissionsBoundaryUsageCount > 0
		}
		return v, true
	}))
	if err != nil {
		return nil, err
	}
	return &api.ListPoliciesOutput{Policies: p.Items, IsTruncated: p.More, Marker: p.Marker}, nil
}

func (s *Service) deletePolicy(ctx context.Context, c *service.Call, in *api.DeletePolicyInput) (*none, error) {
	if isAWS(arn.ARN(in.PolicyArn)) {
		return nil, api.AccessDenied("Cannot delete policies outside your own account.")
	}
	if policies.find(c.State, c.Account, in.PolicyArn) == nil {
		return nil, api.NoSuchEntity("Policy %s was not found.", in.PolicyArn) // not the words of other operations
	}
	return nil, remove(ctx, s, c, policies, in.PolicyArn, func(tx *store.Tx, p *identity.Policy) error {
		switch {
		case usageOf(tx, c.Account, p.Arn) != usage{}:
			return api.DeleteConflict("Cannot delete a policy attached to entities.")
		case len(p.Versions) > 1:
			return api.DeleteConflict("This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.")
		}
		return nil
	})
}

// changeVersions is change for the versions of a policy of the account. version is
// the one that must be there, "" for a new one.
func (s *Service) changeVersions(ctx context.Context, c *service.Call, policyARN, version string, f func(*identity.Policy) error) error {
	if version != "" && !isAWS(arn.ARN(policyARN)) && policies.find(c.State, c.Account, policyARN) == nil {
		return noSuchVersion(policyARN, version)
	}
	return change(ctx, s, c, policies, policyARN, func(_ *store.Tx, p *identity.Policy) error {
		if _, ok := p.Version(version); version != "" && !ok {
			return noSuchVersion(policyARN, version)
		}
		if err := f(p); err != nil {
			return err
		}
		p.UpdateDate = now(c)
		return nil
	})
}

func (s *Service) createPolicyVersion(ctx context.Context, c *service.Call, in *api.CreatePolicyVersionInput) (*api.CreatePolicyVersionOutput, error) {
	if err := s.checkManaged(in.PolicyDocument); err != nil {
		return nil, err
	}
	var v identity.Version
	setDefault := in.SetAsDefault != nil && *in.SetAsDefault
	err := s.changeVersions(ctx, c, in.PolicyArn, "", func(p *identity.Policy) error {
		if n := s.Quotas.VersionsPerPolicy; len(p.Versions) >= n {
			return api.LimitExceeded("A managed policy can have up to %d versions. Before you create a new version, you must delete an existing version.", n)
		}
		v = identity.Version{ID: "v" + strconv.Itoa(p.Next), Created: now(c), Document: identity.NewDocument(in.PolicyDocument)}
		p.Next++
		p.Versions = append(p.Versions, v)
		if setDefault {
			p.DefaultVersionId = v.ID
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.CreatePolicyVersionOutput{PolicyVersion: &api.PolicyVersion{
		VersionId: v.ID, IsDefaultVersion: setDefault, CreateDate: v.Created,
	}}, nil
}

// noSuchVersion tells of a policy that does not exist, too.
func noSuchVersion(policyARN, version string) error {
	return api.NoSuchEntity("Policy %s version %s does not exist or is not attachable.", policyARN, version)
}

func (s *Service) getPolicyVersion(_ context.Context, c *service.Call, in *api.GetPolicyVersionInput) (*api.GetPolicyVersionOutput, error) {
	if m, ok := reference.ManagedPolicy(in.PolicyArn); ok && m.DefaultVersion == in.VersionId {
		return &api.GetPolicyVersionOutput{PolicyVersion: &api.PolicyVersion{
			Document: m.Document(), VersionId: m.DefaultVersion, IsDefaultVersion: true, CreateDate: m.Updated.UTC(),
		}}, nil
	}
	p := cmp.Or(policies.find(c.State, c.Account, in.PolicyArn), partnerBoundary(c.State, in.PolicyArn))
	if p == nil {
		return nil, noSuchVersion(in.PolicyArn, in.VersionId)
	}
	v, ok := p.Version(in.VersionId)
	if !ok {
		return nil, noSuchVersion(in.PolicyArn, in.VersionId)
	}
	return &api.GetPolicyVersionOutput{PolicyVersion: &api.PolicyVersion{
		Document: v.Document.String(), VersionId: v.ID, IsDefaultVersion: v.ID == p.DefaultVersionId, CreateDate: v.Created,
	}}, nil
}

// listPolicyVersions lists the newest first, without documents. Of a policy that
// AWS keeps only the default version is known.
func (s *Service) listPolicyVersions(_ context.Context, c *service.Call, in *api.ListPolicyVersionsInput) (*api.ListPolicyVersionsOutput, error) {
	var versions []api.PolicyVersion
	if m, ok := reference.ManagedPolicy(in.PolicyArn); ok {
		versions = []api.PolicyVersion{{VersionId: m.DefaultVersion, IsDefaultVersion: true, CreateDate: m.Updated.UTC()}}
	} else {
		p, err := policies.get(c.State, c, in.PolicyArn)
		if err != nil {
			return nil, err
		}
		for _, v := range slices.Backward(p.Versions) {
			versions = append(versions, api.PolicyVersion{VersionId: v.ID, IsDefaultVersion: v.ID == p.DefaultVersionId, CreateDate: v.Created})
		}
	}
	p, err := paged(in.Marker, in.MaxItems, slice(versions))
	if err != nil {
		return nil, err
	}
	return &api.ListPolicyVersionsOutput{Versions: p.Items, IsTruncated: p.More, Marker: p.Marker}, nil
}

func (s *Service) setDefaultPolicyVersion(ctx context.Context, c *service.Call, in *api.SetDefaultPolicyVersionInput) (*none, error) {
	return nil, s.changeVersions(ctx, c, in.PolicyArn, in.VersionId, func(p *identity.Policy) error {
		p.DefaultVersionId = in.VersionId
		return nil
	})
}

func (s *Service) deletePolicyVersion(ctx context.Context, c *service.Call, in *api.DeletePolicyVersionInput) (*none, error) {
	return nil, s.changeVersions(ctx, c, in.PolicyArn, in.VersionId, func(p *identity.Policy) error {
		if in.VersionId == p.DefaultVersionId {
			return api.DeleteConflict("Cannot delete the default version of a policy.")
		}
		p.Versions = slices.DeleteFunc(p.Versions, func(v identity.Version) bool { return v.ID == in.VersionId })
		return nil
	})
}
