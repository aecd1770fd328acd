package organizations

import (
	"context"
	"iter"
	"slices"

	"github.com/iamd-dev/iamd/internal/aws/organizations/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// attaching finds the policy and what it is to be attached to or detached from, and
// gives both to f with the ids of what is attached to it of the same type.
func (s *Service) attaching(ctx context.Context, c *service.Call, o *identity.Organization, policyID, targetID string,
	f func(o *identity.Organization, p *identity.OrganizationPolicy, t *identity.Target, attached []string) error) error {
	return s.change(ctx, c, o, func(tx *store.Tx, o *identity.Organization) error {
		p := o.Policy(tx, policyID)
		if p == nil {
			return noPolicy()
		}
		on := find(tx, o, targetID)
		if on == nil || on.target == nil {
			return noTarget()
		}
		if o.Generation(p.Type) == 0 {
			return notEnabled()
		}
		// What an earlier generation left behind goes now.
		on.target.Attached = slices.DeleteFunc(on.target.Attached, func(a identity.Attachment) bool {
			return !slices.ContainsFunc(o.Enabled, func(e identity.EnabledType) bool { return e.Generation == a.Generation })
		})
		if err := f(o, p, on.target, o.Attached(on.target, p.Type)); err != nil {
			return err
		}
		on.keep(tx)
		return nil
	})
}

func (s *Service) attachPolicy(ctx context.Context, c *service.Call, o *identity.Organization, in *api.AttachPolicyInput) (*none, error) {
	return nil, s.attaching(ctx, c, o, in.PolicyId, in.TargetId, func(o *identity.Organization, p *identity.OrganizationPolicy, t *identity.Target, attached []string) error {
		if slices.Contains(attached, p.ID) {
			return api.DuplicatePolicyAttachment("A policy with the specified name and type already exists.")
		}
		if len(attached) >= typeNamed(p.Type).perTarget {
			return constraint("MAX_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED")
		}
		if p == identity.FullAWSAccess {
			t.Detached = 0
			return nil
		}
		t.Attached = append(t.Attached, identity.Attachment{Policy: p.ID, Generation: o.Generation(p.Type)})
		return nil
	})
}

func (s *Service) detachPolicy(ctx context.Context, c *service.Call, o *identity.Organization, in *api.DetachPolicyInput) (*none, error) {
	return nil, s.attaching(ctx, c, o, in.PolicyId, in.TargetId, func(o *identity.Organization, p *identity.OrganizationPolicy, t *identity.Target, attached []string) error {
		switch {
		case p == identity.RCPFullAWSAccess:
			return invalid("NON_DETACHABLE_POLICY")
		case !slices.Contains(attached, p.ID):
			return api.PolicyNotAttached("The policy isn't attached to the specified target in the specified root.")
		case p.Type == identity.ServiceControlPolicy && len(attached) == 1:
			return constraint("MIN_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED")
		case p == identity.FullAWSAccess:
			t.Detached = o.Generation(p.Type)
			return nil
		}
		t.Attached = slices.DeleteFunc(t.Attached, func(a identity.Attachment) bool { return a.Policy == p.ID })
		return nil
	})
}

func (s *Service) listPoliciesForTarget(_ context.Context, c *service.Call, o *identity.Organization, in *api.ListPoliciesForTargetInput) (*api.ListPoliciesForTargetOutput, error) {
	on := find(c.State, o, in.TargetId)
	if on == nil || on.target == nil {
		return nil, noTarget()
	}
	if in.NextToken != "" { // what can be attached is one page
		return nil, invalid("INVALID_NEXT_TOKEN")
	}
	out := &api.ListPoliciesForTargetOutput{Policies: []api.PolicySummary{}}
	for _, id := range o.Attached(on.target, in.Filter) {
		if p := o.Policy(c.State, id); p != nil {
			out.Policies = append(out.Policies, *summary(o, p))
		}
	}
	return out, nil
}

// targetsOf yields what a policy is attached to: the root, OUs, accounts.
func targetsOf(r store.Reader, o *identity.Organization, p *identity.OrganizationPolicy) iter.Seq2[string, api.PolicyTargetSummary] {
	return func(yield func(string, api.PolicyTargetSummary) bool) {
		is := func(t *identity.Target) bool { return slices.Contains(o.Attached(t, p.Type), p.ID) }
		if is(&o.Root.Target) && !yield("a", api.PolicyTargetSummary{TargetId: o.Root.ID, Arn: string(o.ARN("root", o.Root.ID)), Name: "Root", Type: "ROOT"}) {
			return
		}
		for _, u := range identity.Units.All(r, o.Key("")) {
			if is(&u.Target) && !yield("b"+u.ID, api.PolicyTargetSummary{TargetId: u.ID, Arn: string(o.ARN("ou", u.ID)), Name: u.Name, Type: "ORGANIZATIONAL_UNIT"}) {
				return
			}
		}
		for id, a := range accounts(r, o) {
			if is(&a.Membership.Target) && !yield("c"+id, api.PolicyTargetSummary{TargetId: id, Arn: string(o.ARN("account", id)), Name: nameOf(a), Type: "ACCOUNT"}) {
				return
			}
		}
	}
}

func (s *Service) listTargetsForPolicy(_ context.Context, c *service.Call, o *identity.Organization, in *api.ListTargetsForPolicyInput) (*api.ListTargetsForPolicyOutput, error) {
	p := o.Policy(c.State, in.PolicyId)
	if p == nil {
		return nil, noPolicy()
	}
	page, next, err := paged(in.NextToken, in.MaxResults, targetsOf(c.State, o, p))
	if err != nil {
		return nil, err
	}
	return &api.ListTargetsForPolicyOutput{Targets: page, NextToken: next}, nil
}
