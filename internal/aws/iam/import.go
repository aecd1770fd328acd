package iam

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/reference"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
	"github.com/iamd-dev/iamd/policy"
)

// ImportAccountInput is what POST /import asks for.
type ImportAccountInput struct {
	DryRun  bool   `wire:"dryRun,query"`
	Details []byte `wire:"details,payload"` // AccountDetails in JSON, compressed by gzip
}

// ImportAccountOutput says what was imported, or why nothing was.
type ImportAccountOutput struct {
	Imported         bool            `wire:"imported,req"`
	Users            int32           `wire:"users,req"`
	Groups           int32           `wire:"groups,req"`
	Roles            int32           `wire:"roles,req"`
	Policies         int32           `wire:"policies,req"`
	InstanceProfiles int32           `wire:"instanceProfiles,req"`
	Problems         []ImportProblem `wire:"problems,req"`
	Notes            []ImportProblem `wire:"notes,req"` // what is not as it was there, and no reason to stop
}

// An ImportProblem is something about one item of what is imported.
type ImportProblem struct {
	Item string `wire:"item,req"` // "user alice"
	Text string `wire:"text,req"`
}

// mostDetails is how large the details may be, unpacked.
const mostDetails = 64 << 20

// Imports is the table of iamd's own operation on accounts, which is signed for
// iamd. It makes entities of every kind at once, with ids and dates that nobody else
// may choose, so it is for the root alone, and needs what making them one by one
// does.
func (s *Service) Imports() *service.Service {
	if s.Quotas == (Quotas{}) {
		s.Quotas = DefaultQuotas()
	}
	model := &wire.Model{Name: "iamd", SigningName: "iamd", Protocol: wire.RESTJSON, Operations: []wire.Operation{{
		Name: "ImportAccount", Method: http.MethodPost, URI: "/import",
		In: reflect.TypeFor[ImportAccountInput](), Out: reflect.TypeFor[ImportAccountOutput](),
	}}}
	return service.New(model, "", service.Handle(s.importAccount, service.Any, service.Action("iam:CreateRole"),
		service.Also("iam:CreateUser", nil), service.Also("iam:CreateGroup", nil), service.Also("iam:CreatePolicy", nil)))
}

// importAccount makes the account what the details say. All of it is checked before
// anything is written, and what is wrong is told item by item. The account must be
// empty, so that what was written can be taken back.
func (s *Service) importAccount(ctx context.Context, c *service.Call, in *ImportAccountInput) (*ImportAccountOutput, error) {
	if c.Caller.Type != identity.RootUser {
		return nil, &wire.Error{Code: "AccessDeniedException", Status: 403, Message: "Only the root of an account imports into it."}
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(in.Details))
	var text []byte
	if err == nil {
		text, err = io.ReadAll(io.LimitReader(unpacked, mostDetails+1))
	}
	if err != nil || len(text) > mostDetails {
		return nil, &wire.Error{Code: "ValidationException", Status: 400, Message: fmt.Sprintf("The details are not compressed by gzip, or are larger than %d MiB.", mostDetails>>20)}
	}
	p := s.plan(c.State, c.Account, text, now(c))
	out := &ImportAccountOutput{
		Users: int32(len(p.users)), Groups: int32(len(p.groups)), Roles: int32(len(p.roles)), Policies: int32(len(p.policies)), InstanceProfiles: int32(len(p.profiles)),
		Problems: p.problems, Notes: p.notes,
	}
	if len(p.problems) > 0 || in.DryRun {
		return out, nil
	}
	if err := s.writePlan(ctx, p); err != nil {
		return nil, err
	}
	out.Imported = true
	return out, nil
}

// A plan is what an import is going to write.
type plan struct {
	service *Service
	state   store.Reader
	account string
	now     time.Time

	users    []*identity.User
	groups   []*identity.Group
	roles    []*identity.Role
	policies []*identity.Policy
	profiles []*identity.Profile
	lastUsed map[string]*identity.Use
	usages   map[string]usage

	ids    map[string]string // those of the file, and what they are here
	byARN  map[string]string // users and roles: their ids
	names  map[string]string // kind and folded name: the name; what is there twice is told
	groupN map[string]*identity.Group

	problems, notes []ImportProblem
}

func (p *plan) problem(item, format string, args ...any) {
	p.problems = append(p.problems, ImportProblem{item, fmt.Sprintf(format, args...)})
}

func (p *plan) note(item, format string, args ...any) {
	p.notes = append(p.notes, ImportProblem{item, fmt.Sprintf(format, args...)})
}

// must notes an error of a check as a problem.
func (p *plan) must(item string, err error) {
	var known *wire.Error
	switch {
	case err == nil:
	case errors.As(err, &known):
		p.problem(item, "%s", known.Message)
	default:
		p.problem(item, "%v", err)
	}
}

// plan reads details and checks them. Everything that is wrong is in its problems.
func (s *Service) plan(r store.Reader, account string, text []byte, now time.Time) *plan {
	p := &plan{service: s, state: r, account: account, now: now, lastUsed: map[string]*identity.Use{}, usages: map[string]usage{},
		ids: map[string]string{}, byARN: map[string]string{}, names: map[string]string{}, groupN: map[string]*identity.Group{},
		problems: []ImportProblem{}, notes: []ImportProblem{}}
	var file struct {
		UserDetailList, GroupDetailList, RoleDetailList, Policies []json.RawMessage
		IsTruncated                                               bool
	}
	if err := json.Unmarshal(bytes.TrimPrefix(text, []byte("\ufeff")), &file); err != nil {
		p.problem("the file", "is not what get-account-authorization-details prints: %v", err)
		return p
	}
	if file.UserDetailList == nil && file.GroupDetailList == nil && file.RoleDetailList == nil && file.Policies == nil {
		p.problem("the file", "has none of UserDetailList, GroupDetailList, RoleDetailList and Policies")
		return p
	}
	if file.IsTruncated {
		p.problem("the file", "is one page of several: it ends with IsTruncated")
	}
	if held := occupied(r, account); held != "" {
		p.problem("account "+account, "is not empty: it has %s. Import into an account that has nothing yet", held)
	}
	users := items[UserDetails](p, "user", file.UserDetailList)
	groups := items[GroupDetails](p, "group", file.GroupDetailList)
	roles := items[RoleDetails](p, "role", file.RoleDetailList)
	policies := items[PolicyDetails](p, "policy", file.Policies)
	if other := p.otherAccount(users, groups, roles, policies); other != "" {
		p.problem("the file", "is of account %s, and this is account %s: start iamd with --account %[1]s and import there", other, account)
		return p
	}

	for i := range policies {
		p.policy(&policies[i])
	}
	for i := range groups {
		p.group(&groups[i])
	}
	for i := range users {
		p.user(&users[i])
	}
	for i := range roles {
		p.role(&roles[i])
	}
	for i := range roles { // who they trust may stand behind them
		p.trust(&roles[i])
	}
	q := &s.Quotas
	for _, k := range []struct {
		n, quota int
		name     string
	}{{len(p.users), q.Users, "UsersPerAccount"}, {len(p.groups), q.Groups, "GroupsPerAccount"}, {len(p.roles), q.Roles, "RolesPerAccount"},
		{len(p.policies), q.Policies, "PoliciesPerAccount"}, {len(p.profiles), q.Profiles, "InstanceProfilesPerAccount"}} {
		p.must("account "+account, within(k.n, k.quota, k.name))
	}
	return p
}

// items decodes each item by itself, so that one that is damaged is told by its place.
func items[T any](p *plan, kind string, raw []json.RawMessage) []T {
	var all []T
	for i, text := range raw {
		var v T
		if err := json.Unmarshal(text, &v); err != nil {
			p.problem(fmt.Sprintf("%s %d of the file", kind, i+1), "cannot be read: %v", err)
			continue
		}
		all = append(all, v)
	}
	return all
}

// otherAccount is the account of the file, if it is another.
func (p *plan) otherAccount(users []UserDetails, groups []GroupDetails, roles []RoleDetails, policies []PolicyDetails) string {
	var arns []string
	for _, u := range users {
		arns = append(arns, u.Arn)
	}
	for _, g := range groups {
		arns = append(arns, g.Arn)
	}
	for _, r := range roles {
		arns = append(arns, r.Arn)
	}
	for _, v := range policies {
		arns = append(arns, v.Arn)
	}
	for _, a := range arns {
		if account := arn.ARN(a).Account(); account != "" && account != "aws" && account != p.account {
			return account
		}
	}
	return ""
}

// occupied names something that the account has; "" if it has nothing.
func occupied(r store.Reader, account string) string {
	prefix := account + "/"
	for _, u := range identity.Users.All(r, prefix) {
		return "user " + u.UserName
	}
	for _, g := range identity.Groups.All(r, prefix) {
		return "group " + g.GroupName
	}
	for _, role := range identity.Roles.All(r, prefix) {
		return "role " + role.RoleName
	}
	for _, v := range identity.Policies.All(r, prefix) {
		return "policy " + v.PolicyName
	}
	for _, v := range identity.Profiles.All(r, prefix) {
		return "instance profile " + v.InstanceProfileName
	}
	return ""
}

var (
	lawfulName = regexp.MustCompile(`^[\w+=,.@-]+$`)
	lawfulPath = regexp.MustCompile(`^/([!-~]+/)?$`)
	lawfulID   = regexp.MustCompile(`^[A-Z0-9]{16,128}$`)
)

// entity checks what all kinds have, and gives the path, the ARN and the id.
func (p *plan) entity(kind identity.Kind, word, idPrefix, name, path, id, given string, longest int) (item, where, a, uniqueID string, ok bool) {
	item = word + " " + name
	before := len(p.problems)
	if !lawfulName.MatchString(name) || len(name) > longest {
		p.problem(item, "has a name that is not 1 to %d letters, digits and +=,.@_-", longest)
	}
	where = orRoot(path)
	if !lawfulPath.MatchString(where) || len(where) > 512 {
		p.problem(item, "has the path %q, which does not begin and end with /", path)
	}
	key := string(kind) + "/" + strings.ToLower(name)
	if first, twice := p.names[key]; twice {
		p.problem(item, "is there twice (names have no case): %s", first)
	}
	p.names[key] = name
	a = entityARN(p.account, kind, where, name)
	if given != "" && given != a {
		p.problem(item, "has the ARN %s, and its path and name make %s", given, a)
	}
	uniqueID = p.id(item, id, idPrefix)
	return item, where, a, uniqueID, len(p.problems) == before
}

// id is the unique id that an entity has here: its own, where that is free.
func (p *plan) id(item, given, prefix string) string {
	switch {
	case given == "":
		return identity.NewID(prefix, p.account)
	case !lawfulID.MatchString(given) || !strings.HasPrefix(given, prefix):
		p.problem(item, "has the unique id %q, which is not %s... of capitals and digits", given, prefix)
		return ""
	case p.ids[given] != "":
		p.problem(item, "has the unique id %s, which another item has, too", given)
		return ""
	}
	id := given
	if identity.IDs.Get(p.state, given) != nil {
		id = identity.NewID(prefix, p.account)
		p.note(item, "its unique id %s is taken here: it has %s", given, id)
	} else if of, known := identity.AccountOfID(given); known && of != p.account {
		// Trust policies of other accounts may still name one who was deleted there.
		id = identity.NewID(prefix, p.account)
		p.note(item, "its unique id %s is one of account %s: it has %s", given, of, id)
	}
	p.ids[given] = id
	return id
}

func (p *plan) tags(item string, given []TagDetails, quota string, exact bool) []api.Tag {
	var tags []api.Tag
	for _, t := range given {
		if t.Key == "" || len([]rune(t.Key)) > 128 || len([]rune(t.Value)) > 256 {
			p.problem(item, "has a tag %q whose key is not of 1 to 128 or whose value is of more than 256 characters", t.Key)
		}
		tags = append(tags, api.Tag{Key: t.Key, Value: t.Value})
	}
	p.must(item, distinct(tags, exact))
	p.must(item, within(len(tags), p.service.Quotas.TagsPerEntity, quota))
	return tags
}

func (p *plan) inline(item string, given []InlineDetails, quota int) map[string]identity.Document {
	var inline map[string]identity.Document
	size := 0
	for _, d := range given {
		of := "policy " + d.PolicyName + " of " + item
		if !lawfulName.MatchString(d.PolicyName) || len(d.PolicyName) > 128 {
			p.problem(of, "has a name that is not 1 to 128 letters, digits and +=,.@_-")
			continue
		}
		if _, twice := inline[d.PolicyName]; twice {
			p.problem(of, "is there twice")
		}
		p.must(of, checkDocument(string(d.PolicyDocument), policy.Identity))
		if inline == nil {
			inline = map[string]identity.Document{}
		}
		inline[d.PolicyName] = identity.NewDocument(string(d.PolicyDocument))
		size += policy.Size(string(d.PolicyDocument))
	}
	if size > quota {
		p.problem(item, "has inline policies of %d characters together: the quota is %d", size, quota)
	}
	return inline
}

// usable says whether a managed policy is one that the account can use.
func (p *plan) usable(item, what, policyARN string) bool {
	a := arn.ARN(policyARN)
	switch {
	case validPolicyARN(policyARN) != nil:
		p.problem(item, "has %s %q, which is not the ARN of a policy", what, policyARN)
	case isAWS(a):
		if _, ok := reference.ManagedPolicy(policyARN); ok {
			return true
		}
		p.problem(item, "has %s %s, which is not among the AWS managed policies that iamd knows", what, policyARN)
	case slices.ContainsFunc(p.policies, func(v *identity.Policy) bool { return v.Arn == policyARN }):
		return true
	default:
		p.problem(item, "has %s %s, which the file does not have", what, policyARN)
	}
	return false
}

func (p *plan) attached(item string, given []AttachedDetails, quota int, quotaOf string) []arn.ARN {
	var attached []arn.ARN
	for _, d := range given {
		if slices.Contains(attached, arn.ARN(d.PolicyArn)) {
			p.problem(item, "has policy %s attached twice", d.PolicyArn)
			continue
		}
		if p.usable(item, "attached the policy", d.PolicyArn) {
			attached = append(attached, arn.ARN(d.PolicyArn))
			u := p.usages[d.PolicyArn]
			u.Attached++
			p.usages[d.PolicyArn] = u
		}
	}
	p.must(item, within(len(attached), quota, quotaOf))
	return attached
}

func (p *plan) boundary(item string, given *BoundaryDetails) *api.AttachedPermissionsBoundary {
	if given == nil || given.PermissionsBoundaryArn == "" {
		return nil
	}
	if p.usable(item, "the permissions boundary", given.PermissionsBoundaryArn) {
		u := p.usages[given.PermissionsBoundaryArn]
		u.Boundaries++
		p.usages[given.PermissionsBoundaryArn] = u
	}
	return &api.AttachedPermissionsBoundary{PermissionsBoundaryType: "Policy", PermissionsBoundaryArn: given.PermissionsBoundaryArn}
}

// policy plans a policy of the account. AWS's are here already.
func (p *plan) policy(d *PolicyDetails) {
	if isAWS(arn.ARN(d.Arn)) {
		if m, ok := reference.ManagedPolicy(d.Arn); ok && m.DefaultVersion != d.DefaultVersionId && d.DefaultVersionId != "" {
			p.note("policy "+d.PolicyName, "is AWS's, and %s in the file: iamd has %s", d.DefaultVersionId, m.DefaultVersion)
		}
		return
	}
	item, path, a, id, ok := p.entity(identity.PolicyKind, "policy", identity.PolicyPrefix, d.PolicyName, d.Path, d.PolicyId, d.Arn, 128)
	if len([]rune(d.Description)) > 1000 {
		p.problem(item, "has a description of more than 1000 characters")
	}
	v := &identity.Policy{Policy: api.Policy{
		PolicyName: d.PolicyName, PolicyId: id, Arn: a, Path: path, DefaultVersionId: d.DefaultVersionId, IsAttachable: true, Description: d.Description,
		CreateDate: d.CreateDate.or(p.now), UpdateDate: d.UpdateDate.or(d.CreateDate.or(p.now)),
	}}
	numbers := map[int]bool{}
	for _, version := range d.PolicyVersionList {
		of := "version " + version.VersionId + " of " + item
		n, err := strconv.Atoi(strings.TrimPrefix(version.VersionId, "v"))
		if err != nil || n < 1 || version.VersionId != "v"+strconv.Itoa(n) || numbers[n] {
			p.problem(of, "has an id that is none, or is there twice: those are v1, v2 and so on")
			continue
		}
		numbers[n] = true
		v.Next = max(v.Next, n+1)
		p.must(of, p.service.checkManaged(string(version.Document)))
		v.Versions = append(v.Versions, identity.Version{ID: version.VersionId, Created: version.CreateDate.or(v.CreateDate), Document: identity.NewDocument(string(version.Document))})
		if version.IsDefaultVersion && v.DefaultVersionId == "" {
			v.DefaultVersionId = version.VersionId
		}
	}
	number := func(v identity.Version) int { n, _ := strconv.Atoi(v.ID[1:]); return n }
	slices.SortFunc(v.Versions, func(a, b identity.Version) int { return number(a) - number(b) })
	if len(v.Versions) > p.service.Quotas.VersionsPerPolicy {
		p.problem(item, "has %d versions: the quota is %d", len(v.Versions), p.service.Quotas.VersionsPerPolicy)
	}
	if _, there := v.Version(v.DefaultVersionId); !there {
		p.problem(item, "has the default version %q, whose document the file does not have", d.DefaultVersionId)
	}
	if ok {
		p.policies = append(p.policies, v)
	}
}

func (p *plan) group(d *GroupDetails) {
	item, path, a, id, ok := p.entity(identity.GroupKind, "group", identity.GroupPrefix, d.GroupName, d.Path, d.GroupId, d.Arn, 128)
	g := &identity.Group{
		Group:    api.Group{Path: path, GroupName: d.GroupName, GroupId: id, Arn: a, CreateDate: d.CreateDate.or(p.now)},
		Inline:   p.inline(item, d.GroupPolicyList, p.service.Quotas.GroupPolicySize),
		Attached: p.attached(item, d.AttachedManagedPolicies, p.service.Quotas.AttachedPerGroup, groups.attachOf),
	}
	if ok {
		p.groups = append(p.groups, g)
		p.groupN[identity.Key(p.account, d.GroupName)] = g
	}
}

func (p *plan) user(d *UserDetails) {
	item, path, a, id, ok := p.entity(identity.UserKind, "user", identity.UserPrefix, d.UserName, d.Path, d.UserId, d.Arn, 64)
	u := &identity.User{
		User: api.User{Path: path, UserName: d.UserName, UserId: id, Arn: a, CreateDate: d.CreateDate.or(p.now),
			PermissionsBoundary: p.boundary(item, d.PermissionsBoundary), Tags: p.tags(item, d.Tags, users.tagsOf, false)},
		Inline:   p.inline(item, d.UserPolicyList, p.service.Quotas.UserPolicySize),
		Attached: p.attached(item, d.AttachedManagedPolicies, p.service.Quotas.AttachedPerUser, users.attachOf),
	}
	for _, name := range d.GroupList {
		key := identity.Key(p.account, name)
		g := p.groupN[key]
		switch {
		case g == nil:
			p.problem(item, "is in group %s, which the file does not have", name)
		case slices.Contains(u.Groups, key):
			p.problem(item, "is in group %s twice", name)
		default:
			u.Groups = append(u.Groups, key)
			g.Users++
		}
	}
	p.must(item, within(len(u.Groups), p.service.Quotas.GroupsPerUser, "GroupsPerUser"))
	if ok {
		p.users = append(p.users, u)
		p.byARN[a] = id
	}
}

func (p *plan) role(d *RoleDetails) {
	item, path, a, id, ok := p.entity(identity.RoleKind, "role", identity.RolePrefix, d.RoleName, d.Path, d.RoleId, d.Arn, 64)
	r := &identity.Role{
		Role: api.Role{Path: path, RoleName: d.RoleName, RoleId: id, Arn: a, CreateDate: d.CreateDate.or(p.now), MaxSessionDuration: defaultSessionDuration,
			PermissionsBoundary: p.boundary(item, d.PermissionsBoundary), Tags: p.tags(item, d.Tags, roles.tagsOf, false)},
		Inline:   p.inline(item, d.RolePolicyList, p.service.Quotas.RolePolicySize),
		Attached: p.attached(item, d.AttachedManagedPolicies, p.service.Quotas.AttachedPerRole, roles.attachOf),
	}
	for _, of := range d.InstanceProfileList {
		item, path, a, id, ok := p.entity(identity.ProfileKind, "instance profile", identity.ProfilePrefix, of.InstanceProfileName, of.Path, of.InstanceProfileId, of.Arn, 128)
		v := &identity.Profile{InstanceProfile: api.InstanceProfile{Path: path, InstanceProfileName: of.InstanceProfileName, InstanceProfileId: id, Arn: a,
			CreateDate: of.CreateDate.or(p.now), Tags: p.tags(item, of.Tags, profiles.tagsOf, false)}, Role: identity.Key(p.account, d.RoleName)}
		if len(of.Roles) > 1 || len(of.Roles) == 1 && of.Roles[0].RoleName != d.RoleName {
			p.problem(item, "has another role than %s, in whose list it is", d.RoleName)
		}
		if ok {
			p.profiles = append(p.profiles, v)
			r.Profiles++
		}
	}
	if used := d.RoleLastUsed; used != nil && used.LastUsedDate != nil {
		p.lastUsed[id] = &identity.Use{Time: used.LastUsedDate.Time, Region: used.Region}
	}
	if ok {
		p.roles = append(p.roles, r)
		p.byARN[a] = id
	}
}

// trust binds a role's trust policy to the ids that its principals have here.
func (p *plan) trust(d *RoleDetails) {
	item := "trust policy of role " + d.RoleName
	i := slices.IndexFunc(p.roles, func(r *identity.Role) bool { return r.RoleName == d.RoleName })
	if i < 0 {
		return // it has been told what is wrong with the role
	}
	if err := p.service.checkTrust(string(d.AssumeRolePolicyDocument)); err != nil {
		p.must(item, err)
		return
	}
	document, err := identity.BindTrustAs(p.state, string(d.AssumeRolePolicyDocument), func(value string) (string, bool) {
		id, session, isSession := strings.Cut(value, ":")
		if lawfulID.MatchString(id) && !identity.ValidAccount(id) { // of one who is here, or was deleted there
			if here := p.ids[id]; here != "" {
				id = here
			}
			if isSession {
				return id + ":" + session, true
			}
			return id, true
		}
		a := arn.ARN(value)
		if a.Service() == "sts" && a.Account() == p.account {
			if name, session, ok := strings.Cut(strings.TrimPrefix(a.Resource(), "assumed-role/"), "/"); ok {
				for _, r := range p.roles {
					if r.RoleName == name {
						return r.RoleId + ":" + session, true
					}
				}
			}
			return "", false
		}
		if a.Account() == p.account {
			id, ok := p.byARN[value]
			return id, ok
		}
		if identity.UserByARN(p.state, a) == nil && identity.RoleByARN(p.state, a) == nil && identity.ValidAccount(a.Account()) && a.Resource() != "root" {
			p.note(item, "trusts %s, of an account or a name that is not here", value)
			return value, true
		}
		return "", false
	})
	if err != nil {
		p.must(item, err)
		return
	}
	if p.roles[i].Trust = document; p.roles[i].ServiceLinked() && !forServices(p.roles[i]) {
		p.problem(item, "lets in others than services, and the role is a service-linked one, which no policy of an organisation limits")
	}
}

// forServices reports whether the trust policy of a role lets in services alone.
func forServices(r *identity.Role) bool {
	for _, s := range r.Trust.Policy().Statements {
		if s.Effect == "Allow" && (len(s.Principal) == 0 || slices.ContainsFunc(s.Principal, func(who policy.Name) bool { return who.Kind != "Service" })) {
			return false
		}
	}
	return true
}

// What one Update may write, with room for what it reads besides.
const (
	mostKeysAtOnce  = store.MaxKeys - 64
	mostBytesAtOnce = store.MaxBytes - 64<<10
)

// A step writes a few keys that belong together.
type step struct {
	keys, bytes int
	do          func(*store.Tx)
}

func stepOf(entity any, keys int, do func(*store.Tx)) step {
	b, err := json.Marshal(entity)
	if err != nil {
		panic(err) // the store writes it, too
	}
	return step{keys, len(b) + keys*160, do}
}

func (p *plan) steps() []step {
	var all []step
	ref := func(tx *store.Tx, id string, kind identity.Kind, key string) {
		identity.IDs.Put(tx, id, &identity.Ref{Kind: kind, Key: key})
	}
	for _, v := range p.policies {
		key := identity.Key(p.account, v.PolicyName)
		all = append(all, stepOf(v, 2, func(tx *store.Tx) { identity.Policies.Put(tx, key, v); ref(tx, v.PolicyId, identity.PolicyKind, key) }))
	}
	for _, g := range p.groups {
		key := identity.Key(p.account, g.GroupName)
		all = append(all, stepOf(g, 2, func(tx *store.Tx) { identity.Groups.Put(tx, key, g); ref(tx, g.GroupId, identity.GroupKind, key) }))
	}
	for _, u := range p.users {
		key := identity.Key(p.account, u.UserName)
		all = append(all, stepOf(u, 2+len(u.Groups), func(tx *store.Tx) {
			identity.Users.Put(tx, key, u)
			ref(tx, u.UserId, identity.UserKind, key)
			for _, g := range u.Groups {
				identity.Members.Put(tx, member(g, key), &struct{}{})
			}
		}))
	}
	for _, r := range p.roles {
		key := identity.Key(p.account, r.RoleName)
		all = append(all, stepOf(r, 3, func(tx *store.Tx) {
			identity.Roles.Put(tx, key, r)
			ref(tx, r.RoleId, identity.RoleKind, key)
			if use := p.lastUsed[r.RoleId]; use != nil {
				identity.LastUsed.Put(tx, r.RoleId, use)
			}
		}))
	}
	for _, v := range p.profiles {
		key := identity.Key(p.account, v.InstanceProfileName)
		all = append(all, stepOf(v, 3, func(tx *store.Tx) {
			identity.Profiles.Put(tx, key, v)
			ref(tx, v.InstanceProfileId, identity.ProfileKind, key)
			identity.HeldBy.Put(tx, heldBy(v), &struct{}{})
		}))
	}
	for a, u := range p.usages {
		all = append(all, stepOf(u, 1, func(tx *store.Tx) { usages.Put(tx, p.account+"/"+a, &u) }))
	}
	return append(all, step{1, 256, func(tx *store.Tx) {
		n := identity.Counters.Get(tx, p.account)
		if n == nil {
			n = &identity.Counts{}
		}
		n.Users, n.Groups, n.Roles, n.Policies, n.Profiles = len(p.users), len(p.groups), len(p.roles), len(p.policies), len(p.profiles)
		identity.Counters.Put(tx, p.account, n)
	}})
}

var errImportUndone = errors.New("the import was undone by a server that has started meanwhile")

// writePlan writes everything, in one Update if there is room. Otherwise a mark
// stands in the account while it is written, by which an import that did not come to
// its end is undone: here, or at the next start. While it stands nobody can call.
func (s *Service) writePlan(ctx context.Context, p *plan) error {
	vacant := func(tx *store.Tx) error {
		if held := occupied(tx, p.account); held != "" || identity.Imports.Get(tx, p.account) != nil {
			return &wire.Error{Code: "ConflictException", Status: 409, Message: "The account has been written to meanwhile: nothing was imported."}
		}
		return nil
	}
	var batches [][]step
	keys, size := mostKeysAtOnce+1, 0
	for _, st := range p.steps() {
		if keys+st.keys > mostKeysAtOnce || size+st.bytes > mostBytesAtOnce {
			batches = append(batches, nil)
			keys, size = 0, 0
		}
		batches[len(batches)-1] = append(batches[len(batches)-1], st)
		keys, size = keys+st.keys, size+st.bytes
	}
	if len(batches) == 1 {
		return s.update(ctx, func(tx *store.Tx) error {
			if err := vacant(tx); err != nil {
				return err
			}
			for _, st := range batches[0] {
				st.do(tx)
			}
			return nil
		})
	}
	mine := rand.Text()
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		if err := vacant(tx); err != nil {
			return err
		}
		identity.Imports.Put(tx, p.account, &identity.Import{ID: mine})
		return nil
	})
	if err != nil {
		return err
	}
	for i, batch := range batches {
		err := s.DB.Update(ctx, func(tx *store.Tx) error {
			if m := identity.Imports.Get(tx, p.account); m == nil || m.ID != mine {
				return errImportUndone
			}
			for _, st := range batch {
				st.do(tx)
			}
			if i == len(batches)-1 {
				identity.Imports.Delete(tx, p.account)
			}
			return nil
		})
		if err != nil {
			return errors.Join(fmt.Errorf("importing into account %s: %w", p.account, err), undo(context.WithoutCancel(ctx), s.DB, p.account))
		}
	}
	return nil
}

// UndoImports takes back what imports have written that did not come to their end.
// It is called before anyone can call.
func UndoImports(ctx context.Context, db *store.DB) error {
	for account := range identity.Imports.All(db.View(), "") {
		if err := undo(ctx, db, account); err != nil {
			return fmt.Errorf("undoing the import into account %s: %w", account, err)
		}
	}
	return nil
}

// undo empties an account in which the mark of an import stands, and takes the mark
// away. The account was empty before.
func undo(ctx context.Context, db *store.DB, account string) error {
	const most = 75 // entities at once: a user may have a dozen keys
	mine := rand.Text()
	for first := true; ; first = false {
		left := false
		err := db.Update(ctx, func(tx *store.Tx) error {
			m := identity.Imports.Get(tx, account)
			if m == nil {
				left = false
				return nil
			}
			if first { // whoever imports, or undoes it, sees that it is not theirs any more
				identity.Imports.Put(tx, account, &identity.Import{ID: mine})
			} else if m.ID != mine {
				return errImportUndone
			}
			n := 0
			prefix := account + "/"
			for key, u := range identity.Users.All(tx, prefix) {
				if n++; n > most {
					break
				}
				for _, g := range u.Groups {
					identity.Members.Delete(tx, member(g, key))
				}
				identity.Users.Delete(tx, key)
				identity.IDs.Delete(tx, u.UserId)
			}
			for key, g := range identity.Groups.All(tx, prefix) {
				if n++; n > most {
					break
				}
				identity.Groups.Delete(tx, key)
				identity.IDs.Delete(tx, g.GroupId)
			}
			for key, r := range identity.Roles.All(tx, prefix) {
				if n++; n > most {
					break
				}
				identity.Roles.Delete(tx, key)
				identity.IDs.Delete(tx, r.RoleId)
				identity.LastUsed.Delete(tx, r.RoleId)
			}
			for key, v := range identity.Profiles.All(tx, prefix) {
				if n++; n > most {
					break
				}
				identity.HeldBy.Delete(tx, heldBy(v))
				identity.Profiles.Delete(tx, key)
				identity.IDs.Delete(tx, v.InstanceProfileId)
			}
			for key, v := range identity.Policies.All(tx, prefix) {
				if n++; n > most {
					break
				}
				identity.Policies.Delete(tx, key)
				identity.IDs.Delete(tx, v.PolicyId)
			}
			for key := range usages.All(tx, prefix) {
				if n++; n > most {
					break
				}
				usages.Delete(tx, key)
			}
			if left = n > most; left {
				return nil
			}
			if n := identity.Counters.Get(tx, account); n != nil {
				n.Users, n.Groups, n.Roles, n.Policies, n.Profiles = 0, 0, 0, 0, 0
				identity.Counters.Put(tx, account, n)
			}
			identity.Imports.Delete(tx, account)
			return nil
		})
		if err != nil || !left {
			return err
		}
	}
}
