package organizations

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/organizations/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

// checkService says whether a service principal has the form of one. AWS takes those of
// the services that work with Organizations.
func checkService(name string) error {
	if label, ok := strings.CutSuffix(name, ".amazonaws.com"); !ok || label == "" || strings.ToLower(name) != name || strings.ContainsAny(name, "_+=,@") {
		return invalid("UNRECOGNIZED_SERVICE_PRINCIPAL")
	}
	return nil
}

// enableAWSServiceAccess lets a service see the organisation: trusted access. Enabling
// it twice is no change.
func (s *Service) enableAWSServiceAccess(ctx context.Context, c *service.Call, o *identity.Organization, in *api.EnableAWSServiceAccessInput) (*none, error) {
	if err := checkService(in.ServicePrincipal); err != nil {
		return nil, err
	}
	return nil, s.change(ctx, c, o, func(_ *store.Tx, o *identity.Organization) error {
		if o.FeatureSet != allFeatures {
			return constraint("ORGANIZATION_NOT_IN_ALL_FEATURES_MODE")
		}
		if o.Trusted[in.ServicePrincipal].IsZero() {
			if o.Trusted == nil {
				o.Trusted = map[string]time.Time{}
			}
			o.Trusted[in.ServicePrincipal] = now(c)
		}
		return nil
	})
}

// disableAWSServiceAccess ends the trust in a service, and what was delegated for it.
// Without trust in IAM root access is not centralised any more.
func (s *Service) disableAWSServiceAccess(ctx context.Context, c *service.Call, o *identity.Organization, in *api.DisableAWSServiceAccessInput) (*none, error) {
	if err := checkService(in.ServicePrincipal); err != nil {
		return nil, err
	}
	return nil, s.change(ctx, c, o, func(_ *store.Tx, o *identity.Organization) error {
		delete(o.Trusted, in.ServicePrincipal)
		for account, services := range o.Delegates {
			if delete(services, in.ServicePrincipal); len(services) == 0 {
				delete(o.Delegates, account)
			}
		}
		if in.ServicePrincipal == identity.RootAccessService {
			o.RootCredentials, o.RootSessions = false, false
		}
		return nil
	})
}

func (s *Service) listAWSServiceAccessForOrganization(_ context.Context, c *service.Call, o *identity.Organization, in *api.ListAWSServiceAccessForOrganizationInput) (*api.ListAWSServiceAccessForOrganizationOutput, error) {
	page, next, err := paged(in.NextToken, in.MaxResults, mapped(byName(o.Trusted), func(e entry[time.Time]) (api.EnabledServicePrincipal, bool) {
		return api.EnabledServicePrincipal{ServicePrincipal: e.name, DateEnabled: e.value}, true
	}))
	if err != nil {
		return nil, err
	}
	return &api.ListAWSServiceAccessForOrganizationOutput{EnabledServicePrincipals: page, NextToken: next}, nil
}

// An entry is one of a map.
type entry[V any] struct {
	name  string
	value V
}

// byName yields the entries of a map in order.
func byName[V any](m map[string]V) iter.Seq2[string, entry[V]] {
	return func(yield func(string, entry[V]) bool) {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if !yield(name, entry[V]{name, m[name]}) {
				return
			}
		}
	}
}

func (s *Service) registerDelegatedAdministrator(ctx context.Context, c *service.Call, o *identity.Organization, in *api.RegisterDelegatedAdministratorInput) (*none, error) {
	if err := checkService(in.ServicePrincipal); err != nil {
		return nil, err
	}
	return nil, s.change(ctx, c, o, func(tx *store.Tx, o *identity.Organization) error {
		a := member(tx, o, in.AccountId)
		n := 0
		for _, services := range o.Delegates {
			if !services[in.ServicePrincipal].IsZero() {
				n++
			}
		}
		switch {
		case a == nil:
			return noAccount()
		case a.ID == o.Management:
			return constraint("CANNOT_REGISTER_MASTER_AS_DELEGATED_ADMINISTRATOR")
		case !a.Closed.IsZero():
			return constraint("CANNOT_REGISTER_SUSPENDED_ACCOUNT_AS_DELEGATED_ADMINISTRATOR")
		case o.Trusted[in.ServicePrincipal].IsZero():
			return constraint("SERVICE_ACCESS_NOT_ENABLED")
		case !o.Delegates[a.ID][in.ServicePrincipal].IsZero():
			return api.AccountAlreadyRegistered("The provided account is already a delegated administrator for your organization.")
		case n >= s.Quotas.DelegatesOfService:
			return constraint("MAX_DELEGATED_ADMINISTRATORS_FOR_SERVICE_LIMIT_EXCEEDED")
		}
		if o.Delegates == nil {
			o.Delegates = map[string]map[string]time.Time{}
		}
		if o.Delegates[a.ID] == nil {
			o.Delegates[a.ID] = map[string]time.Time{}
		}
		o.Delegates[a.ID][in.ServicePrincipal] = now(c)
		return nil
	})
}

func (s *Service) deregisterDelegatedAdministrator(ctx context.Context, c *service.Call, o *identity.Organization, in *api.DeregisterDelegatedAdministratorInput) (*none, error) {
	if err := checkService(in.ServicePrincipal); err != nil {
		return nil, err
	}
	return nil, s.change(ctx, c, o, func(tx *store.Tx, o *identity.Organization) error {
		if member(tx, o, in.AccountId) == nil {
			return noAccount()
		}
		services := o.Delegates[in.AccountId]
		if services[in.ServicePrincipal].IsZero() {
			return notRegistered()
		}
		if delete(services, in.ServicePrincipal); len(services) == 0 {
			delete(o.Delegates, in.AccountId)
		}
		return nil
	})
}

func notRegistered() error {
	return api.AccountNotRegistered("The provided account is not a registered delegated administrator for your organization.")
}

func (s *Service) listDelegatedAdministrators(_ context.Context, c *service.Call, o *identity.Organization, in *api.ListDelegatedAdministratorsInput) (*api.ListDelegatedAdministratorsOutput, error) {
	if in.ServicePrincipal != "" {
		if err := checkService(in.ServicePrincipal); err != nil {
			return nil, err
		}
	}
	page, next, err := paged(in.NextToken, in.MaxResults, mapped(byName(o.Delegates), func(e entry[map[string]time.Time]) (api.DelegatedAdministrator, bool) {
		a := member(c.State, o, e.name)
		if a == nil || in.ServicePrincipal != "" && e.value[in.ServicePrincipal].IsZero() {
			return api.DelegatedAdministrator{}, false
		}
		v := viewAccount(c.State, o, a)
		since := e.value[in.ServicePrincipal]
		if in.ServicePrincipal == "" {
			since = slices.MinFunc(slices.Collect(maps.Values(e.value)), time.Time.Compare)
		}
		return api.DelegatedAdministrator{Id: v.Id, Arn: v.Arn, Email: v.Email, Name: v.Name, Status: v.Status, State: v.State,
			JoinedMethod: v.JoinedMethod, JoinedTimestamp: v.JoinedTimestamp, DelegationEnabledDate: since}, true
	}))
	if err != nil {
		return nil, err
	}
	return &api.ListDelegatedAdministratorsOutput{DelegatedAdministrators: page, NextToken: next}, nil
}

func (s *Service) listDelegatedServicesForAccount(_ context.Context, c *service.Call, o *identity.Organization, in *api.ListDelegatedServicesForAccountInput) (*api.ListDelegatedServicesForAccountOutput, error) {
	if member(c.State, o, in.AccountId) == nil {
		return nil, noAccount()
	}
	if len(o.Delegates[in.AccountId]) == 0 {
		return nil, notRegistered()
	}
	page, next, err := paged(in.NextToken, in.MaxResults, mapped(byName(o.Delegates[in.AccountId]), func(e entry[time.Time]) (api.DelegatedService, bool) {
		return api.DelegatedService{ServicePrincipal: e.name, DelegationEnabledDate: e.value}, true
	}))
	if err != nil {
		return nil, err
	}
	return &api.ListDelegatedServicesForAccountOutput{DelegatedServices: page, NextToken: next}, nil
}

// putResourcePolicy sets the policy by which the management account delegates to
// member accounts. Tags are given to a new one only.
func (s *Service) putResourcePolicy(ctx context.Context, c *service.Call, o *identity.Organization, in *api.PutResourcePolicyInput) (*api.PutResourcePolicyOutput, error) {
	if err := checkDelegation(in.Content); err != nil {
		return nil, err
	}
	tags, err := s.withTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	id := newID("rp-", 8)
	var v *api.ResourcePolicy
	err = s.change(ctx, c, o, func(_ *store.Tx, o *identity.Organization) error {
		if o.FeatureSet != allFeatures {
			return constraint("ORGANIZATION_NOT_IN_ALL_FEATURES_MODE")
		}
		if o.ResourcePolicy == nil {
			o.ResourcePolicy = &identity.OrganizationResourcePolicy{ID: id, Tags: tags}
		}
		o.ResourcePolicy.Document = identity.NewDocument(in.Content)
		v = viewResourcePolicy(o)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.PutResourcePolicyOutput{ResourcePolicy: v}, nil
}

func viewResourcePolicy(o *identity.Organization) *api.ResourcePolicy {
	p := o.ResourcePolicy
	return &api.ResourcePolicy{
		ResourcePolicySummary: &api.ResourcePolicySummary{Id: p.ID, Arn: string(o.ARN("resourcepolicy", p.ID))},
		Content:               p.Document.String(),
	}
}

// checkDelegation checks a resource policy: it names accounts, users and roles, and
// gives them what the management account can delegate.
func checkDelegation(content string) error {
	p, err := policy.Parse([]byte(content))
	var syntax *policy.SyntaxError
	if errors.As(err, &syntax) {
		return invalid("INVALID_RESOURCE_POLICY_JSON")
	} else if err != nil {
		return err
	}
	for i := range p.Statements {
		st := &p.Statements[i]
		if len(st.Principal) == 0 || st.NotPrincipal != nil {
			return invalid("INVALID_PRINCIPAL")
		}
		for _, who := range st.Principal {
			a := arn.ARN(who.Value)
			if who.Kind != "AWS" || !identity.ValidAccount(who.Value) && (a.Service() != "iam" || !identity.ValidAccount(a.Account())) {
				return invalid("INVALID_PRINCIPAL")
			}
		}
		if len(st.Action) == 0 {
			return invalid("UNSUPPORTED_ACTION_IN_RESOURCE_POLICY")
		}
		for _, a := range st.Action {
			if !delegable(a) {
				return invalid("UNSUPPORTED_ACTION_IN_RESOURCE_POLICY")
			}
		}
	}
	return nil
}

// delegable reports whether an action, or what a pattern says, can be delegated:
// reading, policies, tags (Organizations User Guide, "Delegated administrator for
// AWS Organizations").
func delegable(action string) bool {
	prefix, name, ok := strings.Cut(strings.ToLower(action), ":")
	if !ok || prefix != "organizations" {
		return false
	}
	for _, p := range []string{"list", "describe", "createpolicy", "updatepolicy", "deletepolicy", "attachpolicy", "detachpolicy",
		"enablepolicytype", "disablepolicytype", "tagresource", "untagresource"} {
		if name == p || (p == "list" || p == "describe") && strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

func (s *Service) describeResourcePolicy(_ context.Context, c *service.Call, o *identity.Organization, _ *api.DescribeResourcePolicyInput) (*api.DescribeResourcePolicyOutput, error) {
	if o.ResourcePolicy == nil {
		return nil, noResourcePolicy()
	}
	return &api.DescribeResourcePolicyOutput{ResourcePolicy: viewResourcePolicy(o)}, nil
}

func noResourcePolicy() error {
	return api.ResourcePolicyNotFound("We can't find a resource policy that matches the resource policy ID you requested.")
}

func (s *Service) deleteResourcePolicy(ctx context.Context, c *service.Call, o *identity.Organization, _ *api.DeleteResourcePolicyInput) (*none, error) {
	return nil, s.change(ctx, c, o, func(_ *store.Tx, o *identity.Organization) error {
		if o.ResourcePolicy == nil {
			return noResourcePolicy()
		}
		o.ResourcePolicy = nil
		return nil
	})
}
