package organizations

import (
	"context"
	"errors"
	"iter"
	"slices"
	"unicode/utf8"

	"github.com/iamd-dev/iamd/internal/aws/organizations/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

// checkContent says what is wrong with a policy's text.
func checkContent(of *policyType, content string) error {
	if utf8.RuneCountInString(content) > of.size {
		return constraint("POLICY_CONTENT_LIMIT_EXCEEDED")
	}
	var err error
	if of.decides {
		_, err = policy.Check([]byte(content), of.kind)
	} else {
		err = checkManagement(content)
	}
	var bad *policy.Malformed
	if errors.As(err, &bad) {
		return api.MalformedPolicyDocument("%s", bad.Text)
	}
	return err
}

// policiesOf yields the policies of a type by id, AWS's own among them.
func policiesOf(r store.Reader, o *identity.Organization, policyType string) iter.Seq2[string, *identity.OrganizationPolicy] {
	return func(yield func(string, *identity.OrganizationPolicy) bool) {
		var aws *identity.OrganizationPolicy // AWS's own of the type, until its place has come
		for _, p := range []*identity.OrganizationPolicy{identity.FullAWSAccess, identity.RCPFullAWSAccess} {
			if p.Type == policyType {
				aws = p
			}
		}
		for _, p := range identity.OrganizationPolicies.All(r, o.Key("")) {
			if p.Type != policyType {
				continue
			}
			if aws != nil && aws.ID < p.ID {
				if !yield(aws.ID, aws) {
					return
				}
				aws = nil
			}
			if !yield(p.ID, p) {
				return
			}
		}
		if aws != nil {
			yield(aws.ID, aws)
		}
	}
}

// uniquePolicy sees that no other policy of the type has the name.
func uniquePolicy(r store.Reader, o *identity.Organization, p *identity.OrganizationPolicy) error {
	for id, other := range policiesOf(r, o, p.Type) {
		if id != p.ID && other.Name == p.Name {
			return api.DuplicatePolicy("A policy with the specified name and type already exists.")
		}
	}
	return nil
}

func (s *Service) createPolicy(ctx context.Context, c *service.Call, o *identity.Organization, in *api.CreatePolicyInput) (*api.CreatePolicyOutput, error) {
	if o.FeatureSet != allFeatures {
		return nil, api.PolicyTypeNotAvailableForOrganization("You can't use the specified policy type with the feature set currently enabled for this organization.")
	}
	if err := checkContent(typeNamed(in.Type), in.Content); err != nil {
		return nil, err
	}
	tags, err := s.withTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	p := &identity.OrganizationPolicy{
		ID: newID("p-", 10), Name: in.Name, Description: in.Description, Type: in.Type, Document: identity.NewDocument(in.Content), Tags: tags,
	}
	err = s.change(ctx, c, o, func(tx *store.Tx, o *identity.Organization) error {
		if err := uniquePolicy(tx, o, p); err != nil {
			return err
		}
		n := 0
		for range policiesOf(tx, o, p.Type) {
			n++
		}
		if n >= s.Quotas.Policies {
			return constraint("POLICY_NUMBER_LIMIT_EXCEEDED")
		}
		identity.OrganizationPolicies.Put(tx, o.Key(p.ID), p)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.CreatePolicyOutput{Policy: viewPolicy(o, p)}, nil
}

func viewPolicy(o *identity.Organization, p *identity.OrganizationPolicy) *api.Policy {
	return &api.Policy{PolicySummary: summary(o, p), Content: p.Document.String()}
}

func summary(o *identity.Organization, p *identity.OrganizationPolicy) *api.PolicySummary {
	return &api.PolicySummary{
		Id: p.ID, Arn: string(o.PolicyARN(p)), Name: p.Name, Description: p.Description, Type: p.Type, AwsManaged: p.AWSManaged(),
	}
}

func (s *Service) describePolicy(_ context.Context, c *service.Call, o *identity.Organization, in *api.DescribePolicyInput) (*api.DescribePolicyOutput, error) {
	p := o.Policy(c.State, in.PolicyId)
	if p == nil {
		return nil, noPolicy()
	}
	return &api.DescribePolicyOutput{Policy: viewPolicy(o, p)}, nil
}

// updatePolicy changes what is given.
func (s *Service) updatePolicy(ctx context.Context, c *service.Call, o *identity.Organization, in *api.UpdatePolicyInput) (*api.UpdatePolicyOutput, error) {
	var v *api.Policy
	err := s.change(ctx, c, o, func(tx *store.Tx, o *identity.Organization) error {
		p := o.Policy(tx, in.PolicyId)
		switch {
		case p == nil:
			return noPolicy()
		case p.AWSManaged():
			return invalid("IMMUTABLE_POLICY")
		}
		if in.Name != "" {
			p.Name = in.Name
			if err := uniquePolicy(tx, o, p); err != nil {
				return err
			}
		}
		if in.Description != nil {
			p.Description = *in.Description
		}
		if in.Content != "" {
			if err := checkContent(typeNamed(p.Type), in.Content); err != nil {
				return err
			}
			p.Document = identity.NewDocument(in.Content)
		}
		identity.OrganizationPolicies.Put(tx, o.Key(p.ID), p)
		v = viewPolicy(o, p)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.UpdatePolicyOutput{Policy: v}, nil
}

func (s *Service) deletePolicy(ctx context.Context, c *service.Call, o *identity.Organization, in *api.DeletePolicyInput) (*none, error) {
	return nil, s.change(ctx, c, o, func(tx *store.Tx, o *identity.Organization) error {
		p := o.Policy(tx, in.PolicyId)
		switch {
		case p == nil:
			return noPolicy()
		case p.AWSManaged():
			return invalid("IMMUTABLE_POLICY")
		case some(targetsOf(tx, o, p)):
			return api.PolicyInUse("The policy is attached to one or more entities. You must detach it from all roots, organizational units (OUs), and accounts before performing this operation.")
		}
		identity.OrganizationPolicies.Delete(tx, o.Key(p.ID))
		return nil
	})
}

func (s *Service) listPolicies(_ context.Context, c *service.Call, o *identity.Organization, in *api.ListPoliciesInput) (*api.ListPoliciesOutput, error) {
	page, next, err := paged(in.NextToken, in.MaxResults, mapped(policiesOf(c.State, o, in.Filter), func(p *identity.OrganizationPolicy) (api.PolicySummary, bool) {
		return *summary(o, p), true
	}))
	if err != nil {
		return nil, err
	}
	return &api.ListPoliciesOutput{Policies: page, NextToken: next}, nil
}

// enablePolicyType begins a new generation of attachments.
func (s *Service) enablePolicyType(ctx context.Context, c *service.Call, o *identity.Organization, in *api.EnablePolicyTypeInput) (*api.EnablePolicyTypeOutput, error) {
	var v *api.Root
	err := s.change(ctx, c, o, func(_ *store.Tx, o *identity.Organization) error {
		switch {
		case in.RootId != o.Root.ID:
			return noRoot()
		case o.FeatureSet != allFeatures:
			return api.PolicyTypeNotAvailableForOrganization("You can't use the specified policy type with the feature set currently enabled for this organization.")
		case o.Generation(in.PolicyType) != 0:
			return api.PolicyTypeAlreadyEnabled("The specified policy type is already enabled.")
		}
		o.Generations++
		o.Enabled = append(o.Enabled, identity.EnabledType{Type: in.PolicyType, Generation: o.Generations})
		v = viewRoot(o)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.EnablePolicyTypeOutput{Root: v}, nil
}

// disablePolicyType ends a generation: policies of the type are attached to nothing.
func (s *Service) disablePolicyType(ctx context.Context, c *service.Call, o *identity.Organization, in *api.DisablePolicyTypeInput) (*api.DisablePolicyTypeOutput, error) {
	var v *api.Root
	err := s.change(ctx, c, o, func(_ *store.Tx, o *identity.Organization) error {
		if in.RootId != o.Root.ID {
			return noRoot()
		}
		if o.Generation(in.PolicyType) == 0 {
			return notEnabled()
		}
		o.Enabled = slices.DeleteFunc(o.Enabled, func(e identity.EnabledType) bool { return e.Type == in.PolicyType })
		v = viewRoot(o)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.DisablePolicyTypeOutput{Root: v}, nil
}

func notEnabled() error {
	return api.PolicyTypeNotEnabled("This operation can be performed only for enabled policy types.")
}
