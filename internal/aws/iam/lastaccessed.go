package iam

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/authz"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/reference"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// Reports of when a service was last accessed. Package server keeps, for each user
// and role, the last attempt at each service; a report shows those of the services
// that the subject's permissions policies reach, whether they were tried or not.
//
// A job keeps what was asked; its report is made when it is read.

// A job is one report that was asked for.
type job struct {
	Arn     arn.ARN // of a user, group, role or managed policy
	Actions bool    // ACTION_LEVEL
	By      string  // UserID of who asked, without a session's name: nobody else may read it
	Made    time.Time
}

var jobs = store.NewTable[job]("accessjobs") // account + "/" + job id

const (
	keepJobs       = 24 * time.Hour
	trackingPeriod = 400 * 24 * time.Hour // IAM User Guide, "Refine permissions using last accessed information"
	fewJobs        = 100                  // expired ones that a new one clears away
)

// newJobID makes a UUID of version 7: ids of later jobs are greater.
func newJobID(now time.Time) string {
	id := newUUID()
	var at [8]byte
	binary.BigEndian.PutUint64(at[:], uint64(now.UnixMilli())<<16)
	return fmt.Sprintf("%x-%x-7%s", at[:4], at[4:6], id[15:])
}

// asker is who calls, by what stays the same in all sessions of a role.
func asker(c *service.Call) string {
	id, _, _ := strings.Cut(c.Caller.UserID, ":")
	return id
}

func (s *Service) generateServiceLastAccessedDetails(ctx context.Context, c *service.Call, in *api.GenerateServiceLastAccessedDetailsInput) (*api.GenerateServiceLastAccessedDetailsOutput, error) {
	if _, err := reportOn(c.State, c.Account, arn.ARN(in.Arn)); err != nil {
		return nil, err
	}
	id := newJobID(c.Time)
	err := s.update(ctx, func(tx *store.Tx) error {
		cleared := 0
		for key, old := range jobs.All(tx, c.Account+"/") {
			if c.Time.Sub(old.Made) < keepJobs || cleared == fewJobs {
				break
			}
			jobs.Delete(tx, key)
			cleared++
		}
		jobs.Put(tx, c.Account+"/"+id, &job{Arn: arn.ARN(in.Arn), Actions: in.Granularity == "ACTION_LEVEL", By: asker(c), Made: now(c)})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.GenerateServiceLastAccessedDetailsOutput{JobId: id}, nil
}

// jobOf finds a job that the caller asked for.
func jobOf(c *service.Call, id string) (*job, error) {
	j := jobs.Get(c.State, c.Account+"/"+strings.ToLower(id))
	if j == nil || c.Time.Sub(j.Made) >= keepJobs || j.By != asker(c) {
		return nil, api.NoSuchEntity("The job with id %s cannot be found.", id)
	}
	return j, nil
}

func (s *Service) getServiceLastAccessedDetails(_ context.Context, c *service.Call, in *api.GetServiceLastAccessedDetailsInput) (*api.GetServiceLastAccessedDetailsOutput, error) {
	j, err := jobOf(c, in.JobId)
	if err != nil {
		return nil, err
	}
	out := &api.GetServiceLastAccessedDetailsOutput{
		JobStatus: "COMPLETED", JobType: "SERVICE_LEVEL", JobCreationDate: j.Made, JobCompletionDate: j.Made,
		ServicesLastAccessed: []api.ServiceLastAccessed{},
	}
	if j.Actions {
		out.JobType = "ACTION_LEVEL"
	}
	r, err := reportOn(c.State, c.Account, j.Arn)
	if err != nil { // deleted since
		out.JobStatus, out.Error = "FAILED", &api.ErrorDetails{Code: "NoSuchEntity", Message: "The entity " + string(j.Arn) + " cannot be found."}
		return out, nil
	}
	p, err := paged(in.Marker, in.MaxItems, slice(r.services()))
	if err != nil {
		return nil, err
	}
	for _, prefix := range p.Items {
		out.ServicesLastAccessed = append(out.ServicesLastAccessed, r.service(c, prefix, j.Actions))
	}
	out.IsTruncated, out.Marker = p.More, p.Marker
	return out, nil
}

func (s *Service) getServiceLastAccessedDetailsWithEntities(_ context.Context, c *service.Call, in *api.GetServiceLastAccessedDetailsWithEntitiesInput) (*api.GetServiceLastAccessedDetailsWithEntitiesOutput, error) {
	j, err := jobOf(c, in.JobId)
	if err != nil {
		return nil, err
	}
	out := &api.GetServiceLastAccessedDetailsWithEntitiesOutput{
		JobStatus: "COMPLETED", JobCreationDate: j.Made, JobCompletionDate: j.Made, EntityDetailsList: []api.EntityDetails{},
	}
	r, err := reportOn(c.State, c.Account, j.Arn)
	if err != nil {
		out.JobStatus, out.Error = "FAILED", &api.ErrorDetails{Code: "NoSuchEntity", Message: "The entity " + string(j.Arn) + " cannot be found."}
		return out, nil
	}
	prefix := strings.ToLower(in.ServiceNamespace)
	var all []api.EntityDetails
	if slices.ContainsFunc(r.permissions, func(p permission) bool { return reachOf(p.document).has(prefix) }) {
		for e := range r.entities {
			d := api.EntityDetails{EntityInfo: &e}
			if a := accessed(c, e.Id, prefix); a != nil {
				d.LastAuthenticated = a.Time
			}
			all = append(all, d)
		}
	}
	slices.SortStableFunc(all, func(a, b api.EntityDetails) int { return b.LastAuthenticated.Compare(a.LastAuthenticated) })
	p, err := paged(in.Marker, in.MaxItems, slice(all))
	if err != nil {
		return nil, err
	}
	out.EntityDetailsList, out.IsTruncated, out.Marker = p.Items, p.More, p.Marker
	return out, nil
}

// accessed is the last attempt of a user or role at a service; nil when there was none
// in the tracking period.
func accessed(c *service.Call, id, prefix string) *identity.Access {
	a := identity.Accessed.Get(c.State, id+"/"+prefix)
	if a == nil || c.Time.Sub(a.Time) > trackingPeriod {
		return nil
	}
	return a
}

// A report is what a report is made of: policies, and the users and roles that have them.
type report struct {
	permissions []permission
	entities    func(yield func(api.EntityInfo) bool)
}

// reportOn finds a user, group, role or managed policy of the account by its ARN.
func reportOn(r store.Reader, account string, a arn.ARN) (*report, error) {
	word, _, _ := strings.Cut(a.Resource(), "/")
	missing := api.NoSuchEntity("The entity %s cannot be found.", a)
	if a.Service() != "iam" || a.Account() != account && !isAWS(a) {
		if word != "user" && word != "group" && word != "role" && word != "policy" {
			return nil, api.InvalidInput("ARN %s is not valid.", a)
		}
		return nil, missing
	}
	switch identity.Kind(word) {
	case identity.UserKind:
		if u := identity.UserByARN(r, a); u != nil {
			return &report{userPermissions(r, u), func(yield func(api.EntityInfo) bool) { yield(userInfo(u)) }}, nil
		}
	case identity.RoleKind:
		if role := identity.RoleByARN(r, a); role != nil {
			return &report{rolePermissions(r, role), func(yield func(api.EntityInfo) bool) { yield(roleInfo(role)) }}, nil
		}
	case identity.GroupKind:
		if g := identity.Groups.Get(r, identity.Key(account, nameIn(a))); g != nil && g.Arn == string(a) {
			return &report{groupPermissions(r, g), func(yield func(api.EntityInfo) bool) {
				for u := range membersOf(r, account, g) {
					if !yield(userInfo(u)) {
						return
					}
				}
			}}, nil
		}
	case identity.PolicyKind:
		if attachable(r, account, string(a)) {
			return &report{[]permission{managedPermission(r, a)}, policyEntities(r, account, a)}, nil
		}
	default:
		return nil, api.InvalidInput("ARN %s is not valid.", a)
	}
	return nil, missing
}

func nameIn(a arn.ARN) string { return string(a[strings.LastIndexByte(string(a), '/')+1:]) }

func userInfo(u *identity.User) api.EntityInfo {
	return api.EntityInfo{Arn: u.Arn, Name: u.UserName, Type: "USER", Id: u.UserId, Path: u.Path}
}

func roleInfo(r *identity.Role) api.EntityInfo {
	return api.EntityInfo{Arn: r.Arn, Name: r.RoleName, Type: "ROLE", Id: r.RoleId, Path: r.Path}
}

func membersOf(r store.Reader, account string, g *identity.Group) func(yield func(*identity.User) bool) {
	prefix := groups.key(account, g) + "/"
	return func(yield func(*identity.User) bool) {
		for key := range identity.Members.All(r, prefix) {
			if u := users.find(r, account, key[len(prefix):]); u != nil && !yield(u) {
				return
			}
		}
	}
}

// policyEntities are the users and roles to which a managed policy is attached, users
// by their groups included, each once.
func policyEntities(r store.Reader, account string, a arn.ARN) func(yield func(api.EntityInfo) bool) {
	return func(yield func(api.EntityInfo) bool) {
		seen := map[string]bool{}
		once := func(e api.EntityInfo) bool {
			if seen[e.Id] {
				return true
			}
			seen[e.Id] = true
			return yield(e)
		}
		if usageOf(r, account, string(a)).Attached == 0 {
			return
		}
		for _, u := range users.all(r, account, "")("") {
			if slices.Contains(u.Attached, a) && !once(userInfo(u)) {
				return
			}
		}
		for _, g := range groups.all(r, account, "")("") {
			if !slices.Contains(g.Attached, a) {
				continue
			}
			for u := range membersOf(r, account, g) {
				if !once(userInfo(u)) {
					return
				}
			}
		}
		for _, role := range roles.all(r, account, "")("") {
			if slices.Contains(role.Attached, a) && !once(roleInfo(role)) {
				return
			}
		}
	}
}

// services are the prefixes of the services that the permissions reach, sorted.
func (r *report) services() []string {
	var all []*reach
	for _, p := range r.permissions {
		all = append(all, reachOf(p.document))
	}
	var reached []string
	for _, prefix := range reference.Prefixes() {
		if slices.ContainsFunc(all, func(policy *reach) bool { return policy.has(prefix) }) {
			reached = append(reached, prefix)
		}
	}
	return reached
}

// service is what the report says of one service.
func (r *report) service(c *service.Call, prefix string, actions bool) api.ServiceLastAccessed {
	last := api.ServiceLastAccessed{ServiceNamespace: prefix}
	if s, ok := reference.LookupService(prefix); ok {
		last.ServiceName = s.Name
	}
	tracked := map[string]api.TrackedActionLastAccessed{}
	for e := range r.entities {
		a := accessed(c, e.Id, prefix)
		if a == nil {
			continue
		}
		last.TotalAuthenticatedEntities++
		if a.Time.After(last.LastAuthenticated) {
			last.LastAuthenticated, last.LastAuthenticatedEntity, last.LastAuthenticatedRegion = a.Time, e.Arn, a.Region
		}
		for name, use := range a.Actions {
			if c.Time.Sub(use.Time) <= trackingPeriod && use.Time.After(tracked[name].LastAccessedTime) {
				tracked[name] = api.TrackedActionLastAccessed{ActionName: name, LastAccessedTime: use.Time, LastAccessedEntity: e.Arn, LastAccessedRegion: use.Region}
			}
		}
	}
	if actions {
		for _, name := range slices.Sorted(maps.Keys(tracked)) {
			last.TrackedActionsLastAccessed = append(last.TrackedActionsLastAccessed, tracked[name])
		}
	}
	return last
}

// A permission is one permissions policy and where it hangs.
type permission struct {
	shown    api.PolicyGrantingServiceAccess
	document identity.Document
}

func managedPermission(r store.Reader, a arn.ARN) permission {
	return permission{api.PolicyGrantingServiceAccess{PolicyName: nameIn(a), PolicyType: "MANAGED", PolicyArn: string(a)}, authz.Managed(r, a)}
}

func permissionsOf(r store.Reader, attached []arn.ARN, inline map[string]identity.Document, entityType, entityName string) []permission {
	var all []permission
	for _, a := range attached {
		all = append(all, managedPermission(r, a))
	}
	for _, name := range slices.Sorted(maps.Keys(inline)) {
		all = append(all, permission{api.PolicyGrantingServiceAccess{
			PolicyName: name, PolicyType: "INLINE", EntityType: entityType, EntityName: entityName,
		}, inline[name]})
	}
	return all
}

func userPermissions(r store.Reader, u *identity.User) []permission {
	all := permissionsOf(r, u.Attached, u.Inline, "USER", u.UserName)
	for _, key := range u.Groups {
		if g := identity.Groups.Get(r, key); g != nil {
			all = append(all, groupPermissions(r, g)...)
		}
	}
	return all
}

func groupPermissions(r store.Reader, g *identity.Group) []permission {
	return permissionsOf(r, g.Attached, g.Inline, "GROUP", g.GroupName)
}

func rolePermissions(r store.Reader, role *identity.Role) []permission {
	return permissionsOf(r, role.Attached, role.Inline, "ROLE", role.RoleName)
}

// A reach is what a policy says of services: which it allows some action of, whatever
// the resource and the conditions. What other statements deny does not count: a report
// is of what a policy speaks of. Everything is in small letters.
type reach struct {
	named  map[string][]string // patterns of actions, without the prefix, by the service that they name
	wild   [][2]string         // prefix and action of patterns whose prefix is a pattern itself
	except []*reach            // what the NotAction of one statement each leaves out
}

func reachOf(d identity.Document) *reach {
	r := &reach{}
	if d.IsZero() {
		return r
	}
	for _, s := range d.Policy().Statements {
		if s.Effect != "Allow" {
			continue
		}
		r.add(s.Action)
		if s.NotAction != nil {
			not := &reach{}
			not.add(s.NotAction)
			r.except = append(r.except, not)
		}
	}
	return r
}

func (r *reach) add(patterns []string) {
	for _, pattern := range patterns {
		prefix, name, ok := strings.Cut(strings.ToLower(pattern), ":")
		switch {
		case pattern == "*":
			r.wild = append(r.wild, [2]string{"*", "*"})
		case !ok:
		case strings.ContainsAny(prefix, "*?"):
			r.wild = append(r.wild, [2]string{prefix, name})
		default:
			if r.named == nil {
				r.named = map[string][]string{}
			}
			r.named[prefix] = append(r.named[prefix], name)
		}
	}
}

// patterns are those of actions of the service.
func (r *reach) patterns(prefix string) []string {
	patterns := r.named[prefix]
	for _, w := range r.wild {
		if arn.Glob(w[0], prefix) {
			patterns = append(patterns[:len(patterns):len(patterns)], w[1])
		}
	}
	return patterns
}

// has reports whether some action of the service is allowed.
func (r *reach) has(prefix string) bool {
	if matchesSome(r.patterns(prefix), prefix) {
		return true
	}
	return slices.ContainsFunc(r.except, func(not *reach) bool { return !matchesAll(not.patterns(prefix), prefix) })
}

func matchesSome(patterns []string, prefix string) bool {
	if slices.Contains(patterns, "*") {
		return true
	}
	return len(patterns) > 0 && slices.ContainsFunc(actionsOf(prefix), func(a reference.Action) bool { return matches(patterns, a) })
}

func matchesAll(patterns []string, prefix string) bool {
	if slices.Contains(patterns, "*") {
		return true
	}
	return len(patterns) > 0 && !slices.ContainsFunc(actionsOf(prefix), func(a reference.Action) bool { return !matches(patterns, a) })
}

func matches(patterns []string, a reference.Action) bool {
	name := strings.ToLower(a.Name)
	return slices.ContainsFunc(patterns, func(pattern string) bool { return arn.Glob(pattern, name) })
}

func actionsOf(prefix string) []reference.Action {
	s, ok := reference.LookupService(prefix)
	if !ok {
		return nil
	}
	return s.Actions
}

var accessReport = service.ARN("{Arn}")

// listPoliciesGrantingServiceAccess tells for each service which policies reach it.
func (s *Service) listPoliciesGrantingServiceAccess(_ context.Context, c *service.Call, in *api.ListPoliciesGrantingServiceAccessInput) (*api.ListPoliciesGrantingServiceAccessOutput, error) {
	if arn.ARN(in.Arn).Service() == "iam" && strings.HasPrefix(arn.ARN(in.Arn).Resource(), "policy/") {
		return nil, api.InvalidInput("ARN %s is not that of a user, group or role.", in.Arn)
	}
	r, err := reportOn(c.State, c.Account, arn.ARN(in.Arn))
	if err != nil {
		return nil, err
	}
	p, err := paged(in.Marker, nil, slice(in.ServiceNamespaces))
	if err != nil {
		return nil, err
	}
	out := &api.ListPoliciesGrantingServiceAccessOutput{
		PoliciesGrantingServiceAccess: []api.ListPoliciesGrantingServiceAccessEntry{}, IsTruncated: p.More, Marker: p.Marker,
	}
	reaches := make([]*reach, len(r.permissions))
	for i, p := range r.permissions {
		reaches[i] = reachOf(p.document)
	}
	for _, namespace := range p.Items {
		entry := api.ListPoliciesGrantingServiceAccessEntry{ServiceNamespace: namespace, Policies: []api.PolicyGrantingServiceAccess{}}
		for i, p := range r.permissions {
			if reaches[i].has(strings.ToLower(namespace)) {
				entry.Policies = append(entry.Policies, p.shown)
			}
		}
		slices.SortStableFunc(entry.Policies, func(a, b api.PolicyGrantingServiceAccess) int { return cmp.Compare(a.PolicyName, b.PolicyName) })
		out.PoliciesGrantingServiceAccess = append(out.PoliciesGrantingServiceAccess, entry)
	}
	return out, nil
}
