package iam

import (
	"context"
	"maps"
	"slices"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/reference"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// getAccountSummary gives AWS's numbers, those too of what this version does not keep.
func (s *Service) getAccountSummary(_ context.Context, c *service.Call, _ *api.GetAccountSummaryInput) (*api.GetAccountSummaryOutput, error) {
	var n identity.Counts
	if counts := identity.Counters.Get(c.State, c.Account); counts != nil {
		n = *counts
	}
	versions, rootKeys, rootMFA, rootCertificates := 0, 0, 0, 0
	for _, p := range policies.all(c.State, c.Account, "")("") {
		versions += len(p.Versions)
	}
	for range keysOf(c.State, identity.Key(c.Account, "")) {
		rootKeys = 1 // present or not, AWS does not count them
	}
	if a := identity.Accounts.Get(c.State, c.Account); a != nil { // these, too, are present or not
		rootMFA, rootCertificates = min(len(a.MFA), 1), min(a.Holds.SigningCertificates, 1)
	}
	q := s.Quotas
	summary := map[string]int32{}
	for name, value := range map[string]int{
		"Users": n.Users, "UsersQuota": q.Users,
		"Groups": n.Groups, "GroupsQuota": q.Groups,
		"Roles": n.Roles, "RolesQuota": q.Roles,
		"Policies": n.Policies, "PoliciesQuota": q.Policies,
		"InstanceProfiles": n.Profiles, "InstanceProfilesQuota": q.Profiles,
		"PolicyVersionsInUse": versions, "PolicyVersionsInUseQuota": 10000,
		"VersionsPerPolicyQuota": q.VersionsPerPolicy, "PolicySizeQuota": q.PolicySize,
		"UserPolicySizeQuota": q.UserPolicySize, "GroupPolicySizeQuota": q.GroupPolicySize,
		"RolePolicySizeQuota": q.RolePolicySize, "AssumeRolePolicySizeQuota": q.TrustPolicySize,
		"AttachedPoliciesPerUserQuota": q.AttachedPerUser, "AttachedPoliciesPerGroupQuota": q.AttachedPerGroup,
		"AttachedPoliciesPerRoleQuota": q.AttachedPerRole,
		"AccessKeysPerUserQuota":       q.KeysPerUser, "GroupsPerUserQuota": q.GroupsPerUser,
		"AccountAccessKeysPresent": rootKeys, "AccountMFAEnabled": rootMFA, "AccountPasswordPresent": 0,
		"AccountSigningCertificatesPresent": rootCertificates, "SigningCertificatesPerUserQuota": q.SigningCertificatesPerUser,
		"MFADevices": n.MFADevices, "MFADevicesInUse": n.MFADevicesInUse, "Providers": n.OIDCProviders + n.SAMLProviders,
		"ServerCertificates": n.ServerCertificates, "ServerCertificatesQuota": q.ServerCertificates, "GlobalEndpointTokenVersion": max(1, preferencesOf(c.State, c.Account).TokenVersion),
	} {
		summary[name] = int32(value)
	}
	return &api.GetAccountSummaryOutput{SummaryMap: summary}, nil
}

// getAccountAuthorizationDetails shows everything that decides in the account, as
// one paged list: users, groups, roles, the account's policies, and of AWS's those
// that are in use. Only what is on the page is made.
func (s *Service) getAccountAuthorizationDetails(_ context.Context, c *service.Call, in *api.GetAccountAuthorizationDetailsInput) (*api.GetAccountAuthorizationDetailsOutput, error) {
	out := &api.GetAccountAuthorizationDetailsOutput{
		UserDetailList: []api.UserDetail{}, GroupDetailList: []api.GroupDetail{}, RoleDetailList: []api.RoleDetail{},
		Policies: []api.ManagedPolicyDetail{},
	}
	wanted := func(filter string) bool { return len(in.Filter) == 0 || slices.Contains(in.Filter, filter) }
	r := c.State
	p, err := paged(in.Marker, in.MaxItems, joined(
		only(wanted("User"), mapped(users.all(r, c.Account, ""), func(u *identity.User) (func(), bool) {
			return func() { out.UserDetailList = append(out.UserDetailList, userDetail(r, u)) }, true
		})),
		only(wanted("Group"), mapped(groups.all(r, c.Account, ""), func(g *identity.Group) (func(), bool) {
			return func() { out.GroupDetailList = append(out.GroupDetailList, groupDetail(g)) }, true
		})),
		only(wanted("Role"), mapped(roles.all(r, c.Account, ""), func(role *identity.Role) (func(), bool) {
			return func() { out.RoleDetailList = append(out.RoleDetailList, roleDetail(r, c.Account, role)) }, true
		})),
		only(wanted("LocalManagedPolicy"), mapped(policies.all(r, c.Account, ""), func(p *identity.Policy) (func(), bool) {
			return func() {
				var versions []api.PolicyVersion
				for _, v := range slices.Backward(p.Versions) {
					versions = append(versions, api.PolicyVersion{
						Document: v.Document.String(), VersionId: v.ID, IsDefaultVersion: v.ID == p.DefaultVersionId, CreateDate: v.Created,
					})
				}
				out.Policies = append(out.Policies, policyDetail(counted(r, c.Account, p.Policy), versions))
			}, true
		})),
		only(wanted("AWSManagedPolicy"), mapped(awsPoliciesInUse(r, c.Account), func(m *reference.Managed) (func(), bool) {
			return func() {
				out.Policies = append(out.Policies, policyDetail(counted(r, c.Account, awsPolicy(m)), []api.PolicyVersion{{
					Document: m.Document(), VersionId: m.DefaultVersion, IsDefaultVersion: true, CreateDate: m.Updated.UTC(),
				}}))
			}, true
		})),
	))
	if err != nil {
		return nil, err
	}
	for _, show := range p.Items {
		show()
	}
	out.IsTruncated, out.Marker = p.More, p.Marker
	return out, nil
}

// userDetail leaves the list of inline policies out where there are none, as AWS
// does for users alone (IAM API Reference, the example of GetAccountAuthorizationDetails).
func userDetail(r store.Reader, u *identity.User) api.UserDetail {
	d := api.UserDetail{
		Path: u.Path, UserName: u.UserName, UserId: u.UserId, Arn: u.Arn, CreateDate: u.CreateDate,
		GroupList: []string{}, AttachedManagedPolicies: attachedPolicies(u.Attached),
		PermissionsBoundary: u.PermissionsBoundary, Tags: shownTags(u.Tags),
	}
	if len(u.Inline) > 0 {
		d.UserPolicyList = policyDetails(u.Inline)
	}
	for _, key := range u.Groups {
		if g := identity.Groups.Get(r, key); g != nil {
			d.GroupList = append(d.GroupList, g.GroupName)
		}
	}
	return d
}

func groupDetail(g *identity.Group) api.GroupDetail {
	return api.GroupDetail{
		Path: g.Path, GroupName: g.GroupName, GroupId: g.GroupId, Arn: g.Arn, CreateDate: g.CreateDate,
		GroupPolicyList: policyDetails(g.Inline), AttachedManagedPolicies: attachedPolicies(g.Attached),
	}
}

func roleDetail(r store.Reader, account string, role *identity.Role) api.RoleDetail {
	d := api.RoleDetail{
		Path: role.Path, RoleName: role.RoleName, RoleId: role.RoleId, Arn: role.Arn, CreateDate: role.CreateDate,
		AssumeRolePolicyDocument: identity.ShowTrust(r, role.Trust),
		InstanceProfileList:      []api.InstanceProfile{},
		RolePolicyList:           policyDetails(role.Inline), AttachedManagedPolicies: attachedPolicies(role.Attached),
		PermissionsBoundary: role.PermissionsBoundary, Tags: shownTags(role.Tags), RoleLastUsed: roleLastUsed(r, role),
	}
	for _, p := range profilesOf(r, account, role)("") {
		d.InstanceProfileList = append(d.InstanceProfileList, p)
	}
	return d
}

// shownTags are tags where an empty list is written, too.
func shownTags(tags []api.Tag) []api.Tag {
	if tags == nil {
		return []api.Tag{}
	}
	return tags
}

func policyDetails(inline map[string]identity.Document) []api.PolicyDetail {
	details := []api.PolicyDetail{}
	for _, name := range slices.Sorted(maps.Keys(inline)) {
		details = append(details, api.PolicyDetail{PolicyName: name, PolicyDocument: inline[name].String()})
	}
	return details
}

func attachedPolicies(attached []arn.ARN) []api.AttachedPolicy {
	list := []api.AttachedPolicy{}
	for _, a := range attached {
		list = append(list, attachedPolicy(a))
	}
	return list
}

func policyDetail(p api.Policy, versions []api.PolicyVersion) api.ManagedPolicyDetail {
	return api.ManagedPolicyDetail{
		PolicyName: p.PolicyName, PolicyId: p.PolicyId, Arn: p.Arn, Path: p.Path, DefaultVersionId: p.DefaultVersionId,
		AttachmentCount: p.AttachmentCount, PermissionsBoundaryUsageCount: p.PermissionsBoundaryUsageCount, IsAttachable: p.IsAttachable,
		Description: p.Description, CreateDate: p.CreateDate, UpdateDate: p.UpdateDate, PolicyVersionList: versions,
	}
}
