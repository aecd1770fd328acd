package iam

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/reference"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

// Reports of when the accounts of an organisation last accessed services: those that
// service control policies let them, tried or not. As for one account's, a job keeps
// what was asked, and its report is made when it is read.

// An organizationJob is one report that was asked for.
type organizationJob struct {
	Path   string // of the root, an OU or an account
	Policy string `json:",omitempty"` // id of the SCP that the report is about
	Made   time.Time
}

var organizationJobs = store.NewTable[organizationJob]("organizationaccessjobs") // account + "/" + job id

func (s *Service) generateOrganizationsAccessReport(ctx context.Context, c *service.Call, in *api.GenerateOrganizationsAccessReportInput) (*api.GenerateOrganizationsAccessReportOutput, error) {
	o, err := reportable(c)
	if err != nil {
		return nil, err
	}
	j := &organizationJob{Path: in.EntityPath, Policy: in.OrganizationsPolicyId, Made: now(c)}
	if _, err := j.entity(c.State, o); err != nil {
		return nil, err
	}
	id := newJobID(c.Time)
	err = s.update(ctx, func(tx *store.Tx) error {
		cleared := 0
		for key, old := range organizationJobs.All(tx, c.Account+"/") {
			if c.Time.Sub(old.Made) < keepJobs || cleared == fewJobs {
				break
			}
			organizationJobs.Delete(tx, key)
			cleared++
		}
		organizationJobs.Put(tx, c.Account+"/"+id, j)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.GenerateOrganizationsAccessReportOutput{JobId: id}, nil
}

// reportable is the caller's organisation, if it is the caller's to report on.
func reportable(c *service.Call) (*identity.Organization, error) {
	o, _ := identity.OrganizationOf(c.State, c.Account)
	switch {
	case o == nil || o.Management != c.Account:
		return nil, api.AccessDenied("You must be signed in to the management account of your organization to use this report.")
	case o.Generation(identity.ServiceControlPolicy) == 0:
		return nil, api.InvalidInput("Service control policies are not enabled in the root of your organization.")
	}
	return o, nil
}

// An organizationEntity is what a report is about.
type organizationEntity struct {
	levels  []identity.Level // from the root to it
	account *identity.Account
	policy  *identity.OrganizationPolicy // nil: the report is about all that apply
}

func (j *organizationJob) entity(r store.Reader, o *identity.Organization) (*organizationEntity, error) {
	e := &organizationEntity{}
	path := strings.TrimSuffix(j.Path, "/")
	id := path[strings.LastIndexByte(path, '/')+1:]
	complete := false
	if own, a := identity.OrganizationOf(r, id); identity.ValidAccount(id) && own != nil && own.ID == o.ID {
		e.account = a
		e.levels, complete = o.Levels(r, a)
	} else {
		e.levels, complete = o.Above(r, id)
	}
	if !complete || strings.TrimSuffix(o.Path(e.levels), "/") != path {
		return nil, api.InvalidInput("The entity path %s is not one of your organization.", j.Path)
	}
	if j.Policy != "" {
		if e.policy = o.Policy(r, j.Policy); e.policy == nil || e.policy.Type != identity.ServiceControlPolicy {
			return nil, api.InvalidInput("The policy %s is not a service control policy of your organization.", j.Policy)
		}
	}
	return e, nil
}

func (s *Service) getOrganizationsAccessReport(_ context.Context, c *service.Call, in *api.GetOrganizationsAccessReportInput) (*api.GetOrganizationsAccessReportOutput, error) {
	j := organizationJobs.Get(c.State, c.Account+"/"+strings.ToLower(in.JobId))
	if j == nil || c.Time.Sub(j.Made) >= keepJobs {
		return nil, api.NoSuchEntity("The job with id %s cannot be found.", in.JobId)
	}
	out := &api.GetOrganizationsAccessReportOutput{JobStatus: "COMPLETED", JobCreationDate: j.Made, JobCompletionDate: j.Made, AccessDetails: []api.AccessDetail{}}
	o, err := reportable(c)
	if err != nil {
		return nil, err
	}
	e, err := j.entity(c.State, o)
	if err != nil { // gone since
		out.JobStatus, out.ErrorDetails = "FAILED", &api.ErrorDetails{Code: "NoSuchEntity", Message: "The entity " + j.Path + " cannot be found."}
		return out, nil
	}
	all := e.details(c, o)
	for _, d := range all {
		if d.LastAuthenticatedTime.IsZero() {
			out.NumberOfServicesNotAccessed++
		}
	}
	out.NumberOfServicesAccessible = int32(len(all))
	byTime := func(a, b api.AccessDetail) int { return a.LastAuthenticatedTime.Compare(b.LastAuthenticatedTime) }
	switch in.SortKey { // they are by namespace
	case "SERVICE_NAMESPACE_DESCENDING":
		slices.Reverse(all)
	case "LAST_AUTHENTICATED_TIME_ASCENDING":
		slices.SortStableFunc(all, byTime)
	case "LAST_AUTHENTICATED_TIME_DESCENDING":
		slices.SortStableFunc(all, func(a, b api.AccessDetail) int { return byTime(b, a) })
	}
	p, err := paged(in.Marker, in.MaxItems, slice(all))
	if err != nil {
		return nil, err
	}
	out.AccessDetails, out.IsTruncated, out.Marker = p.Items, p.More, p.Marker
	return out, nil
}

// details are the services that the entity may use, each with its last attempt.
func (e *organizationEntity) details(c *service.Call, o *identity.Organization) []api.AccessDetail {
	last := map[string]api.AccessDetail{} // by prefix
	for _, a := range identity.Accounts.All(c.State, "") {
		if path, ok := e.reports(c.State, o, a); ok {
			lastOf(c, a, path, last)
		}
	}
	all := []api.AccessDetail{}
	for _, prefix := range reference.Prefixes() {
		if !e.reaches(c.State, o, prefix) {
			continue
		}
		d := last[prefix]
		d.ServiceNamespace = prefix
		if s, ok := reference.LookupService(prefix); ok {
			d.ServiceName = s.Name
		}
		all = append(all, d)
	}
	return all
}

// reports reports whether the entity's report has an account's attempts, and its path.
// The management account, which no policy limits, is in a report of its own alone.
func (e *organizationEntity) reports(r store.Reader, o *identity.Organization, a *identity.Account) (path string, ok bool) {
	if a.Membership == nil || a.Membership.Organization != o.ID {
		return "", false
	}
	if e.account != nil && a.ID != e.account.ID || e.account == nil && a.ID == o.Management {
		return "", false
	}
	levels, _ := o.Levels(r, a)
	path = o.Path(levels)
	if !strings.HasPrefix(path, o.Path(e.levels)) {
		return "", false
	}
	applies := e.policy == nil || a.ID == o.Management || slices.ContainsFunc(levels, func(l identity.Level) bool {
		return slices.Contains(o.Attached(l.Target, identity.ServiceControlPolicy), e.policy.ID)
	})
	return path, applies
}

// lastOf adds the last attempts of an account's users and roles.
func lastOf(c *service.Call, a *identity.Account, path string, last map[string]api.AccessDetail) {
	tried := map[string]bool{}
	add := func(id string) {
		for key, access := range identity.Accessed.All(c.State, id+"/") {
			if c.Time.Sub(access.Time) > trackingPeriod {
				continue
			}
			prefix := key[len(id)+1:]
			d := last[prefix]
			if !tried[prefix] {
				tried[prefix] = true
				d.TotalAuthenticatedEntities++
			}
			if access.Time.After(d.LastAuthenticatedTime) {
				d.LastAuthenticatedTime, d.Region, d.EntityPath = access.Time, access.Region, path
			}
			last[prefix] = d
		}
	}
	for _, u := range identity.Users.All(c.State, a.ID+"/") {
		add(u.UserId)
	}
	for _, r := range identity.Roles.All(c.State, a.ID+"/") {
		add(r.RoleId)
	}
}

// reaches reports whether service control policies let the entity use something of a
// service: the policy that the report is about, or every level. What they deny counts
// where it is the whole service.
func (e *organizationEntity) reaches(r store.Reader, o *identity.Organization, prefix string) bool {
	if e.account != nil && e.account.ID == o.Management {
		return true
	}
	if e.policy != nil {
		return reachOf(e.policy.Document).has(prefix) && !deniesAll(e.policy.Document, prefix)
	}
	for _, l := range e.levels {
		allowed := false
		for _, id := range o.Attached(l.Target, identity.ServiceControlPolicy) {
			p := o.Policy(r, id)
			if p == nil || deniesAll(p.Document, prefix) {
				return false
			}
			allowed = allowed || reachOf(p.Document).has(prefix)
		}
		if !allowed {
			return false
		}
	}
	return true
}

// deniesAll reports whether a statement of the policy denies all of a service always.
func deniesAll(d identity.Document, prefix string) bool {
	return slices.ContainsFunc(d.Policy().Statements, func(s policy.Statement) bool {
		return s.Effect == "Deny" && len(s.Condition) == 0 && slices.Contains(s.Resource, "*") &&
			slices.ContainsFunc(s.Action, func(a string) bool { return a == "*" || strings.EqualFold(a, prefix+":*") })
	})
}
