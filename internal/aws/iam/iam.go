// Package iam is AWS Identity and Access Management: users, groups, roles, managed
// policies, access keys, instance profiles, identity providers, and what hangs on
// them: MFA devices, SSH keys, certificates.
//
//	s := &iam.Service{DB: db, Keyring: keyring}
//	table := s.AWS()
//
// A call acts in the caller's account. Handlers read the call's snapshot and write
// by one Update, which finds everything again that its answer depends on. Who may
// call is said by the rows of the table in this file and decided elsewhere.
//
// The words:
//
//   - A kind is one of the kinds of entity, with what the operations that repeat for
//     several kinds need to know of it: see kinds.go. What a row is about is in
//     resources.go. Tags, inline policies, attachments and boundaries are written
//     once, over kinds.
//   - A holder is who has credentials, a user or the root of an account; a credential
//     is a kind of credential of which one can have some: see holders.go.
//   - A view is an entity as one operation shows it: AWS leaves different members
//     out of the answers of Create, Get and List.
//   - A list is what the paginator turns into pages: see lists.go.
//
// # Names, paths and ids
//
// Names are unique in an account without regard to case, are found without regard
// to case, and are shown as they were written. A path is a part of the ARN and of
// nothing else. Unique ids are never used again, and trust policies keep their
// principals by them: a user deleted and made again does not regain trust.
//
// # Managed policies
//
// The policies that AWS keeps (arn:aws:iam::aws:policy/...) come from package
// reference and can be read and attached but not changed. How often a policy is in
// use, the account's own or AWS's, is counted for each account in one table.
//
// # What others keep
//
// Product providers and their templates are the operator's to register (Register), role
// templates are AWS's (roletemplates.json). Every operation of the API has a row.
package iam

import (
	"context"
	_ "embed"
	"errors"
	"runtime"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/outbound"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/webidentity"
)

// A Service is IAM over a store.
type Service struct {
	DB      *store.DB
	Keyring *identity.Keyring
	Issuer  *outbound.Issuer
	Quotas  Quotas // the zero value is DefaultQuotas()

	hashes chan struct{} // holds as many as passwords are hashed at once
	// Notify gives a message to a topic of a product provider's account. It returns when
	// the message is safe. nil: there are no topics, and nobody is told.
	Notify func(account, topic string, message identity.Secret) error
	// Issuers tells which OpenID Connect issuers there may be, and asks them for their certificates.
	Issuers *webidentity.Issuers
}

//go:embed declined.txt
var declined string

// AWS returns the table of operations.
func (s *Service) AWS() *service.Service {
	if s.Quotas == (Quotas{}) {
		s.Quotas = DefaultQuotas()
	}
	s.hashes = make(chan struct{}, runtime.GOMAXPROCS(0))
	rows := []service.Row{
		//                                    on                       and
		service.Handle(s.createUser, newUser, boundary, requestTags),
		service.Handle(s.getUser, user),
		service.Handle(s.listUsers, listing(identity.UserKind)),
		service.Handle(s.updateUser, user, service.Also("iam:UpdateUser", renamedUser)),
		service.Handle(s.deleteUser, user),
		service.Handle(s.listGroupsForUser, user),

		service.Handle(s.createGroup, newGroup),
		service.Handle(s.getGroup, group),
		service.Handle(s.listGroups, listing(identity.GroupKind)),
		service.Handle(s.updateGroup, group, service.Also("iam:UpdateGroup", renamedGroup)),
		service.Handle(s.deleteGroup, group),
		service.Handle(s.addUserToGroup, group),
		service.Handle(s.removeUserFromGroup, group),

		service.Handle(s.createRole, newRole, boundary, requestTags),
		bounded(roles, s.getRole),
		service.Handle(s.listRoles, listing(identity.RoleKind)),
		bounded(roles, s.updateRole),
		bounded(roles, s.updateRoleDescription),
		bounded(roles, s.updateAssumeRolePolicy),
		bounded(roles, s.deleteRole),

		service.Handle(s.getRoleTemplateVersion, readTemplate),
		acquireRow(s),

		service.Handle(s.createServiceLinkedRole, newServiceLinkedRole, service.Key("iam:AWSServiceName", "{AWSServiceName}")),
		service.Handle(s.deleteServiceLinkedRole, role),
		service.Handle(s.getServiceLinkedRoleDeletionStatus, roleOfTask),

		service.Handle(s.createPolicy, newPolicy, requestTags),
		onPolicy(s.getPolicy),
		service.Handle(s.listPolicies, policyPath),
		onPolicy(s.deletePolicy),
		onPolicy(s.createPolicyVersion),
		onPolicy(s.getPolicyVersion),
		onPolicy(s.listPolicyVersions),
		onPolicy(s.setDefaultPolicyVersion),
		onPolicy(s.deletePolicyVersion),
		onPolicy(s.listEntitiesForPolicy),

		service.Handle(s.createAccessKey, user),
		service.Handle(s.listAccessKeys, user),
		service.Handle(s.updateAccessKey, user),
		service.Handle(s.deleteAccessKey, user),
		service.Handle(s.getAccessKeyLastUsed, userOfKey),

		service.Handle(s.createLoginProfile, user),
		service.Handle(s.getLoginProfile, user),
		service.Handle(s.updateLoginProfile, user),
		service.Handle(s.deleteLoginProfile, user),
		service.Handle(s.changePassword, themselves, service.Before(usersOnly)),
		service.Handle(s.updateAccountPasswordPolicy, service.Any),
		service.Handle(s.getAccountPasswordPolicy, service.Any),
		service.Handle(s.deleteAccountPasswordPolicy, service.Any),

		service.Handle(s.createVirtualMFADevice, newMFADevice, requestTags),
		service.Handle(s.enableMFADevice, user),
		service.Handle(s.resyncMFADevice, user),
		service.Handle(s.deactivateMFADevice, user),
		service.Handle(s.deleteVirtualMFADevice, mfaDevices.named),
		service.Handle(s.getMFADevice, user),
		service.Handle(s.listMFADevices, user),
		service.Handle(s.listVirtualMFADevices, everyMFADevice),

		service.Handle(s.uploadSSHPublicKey, user),
		service.Handle(s.getSSHPublicKey, user),
		service.Handle(s.listSSHPublicKeys, user),
		service.Handle(updating[api.UpdateSSHPublicKeyInput](s, sshKeys), user),
		service.Handle(deleting[api.DeleteSSHPublicKeyInput](s, sshKeys), user),

		service.Handle(s.uploadSigningCertificate, user),
		service.Handle(s.listSigningCertificates, user),
		service.Handle(updating[api.UpdateSigningCertificateInput](s, signingCertificates), user),
		service.Handle(deleting[api.DeleteSigningCertificateInput](s, signingCertificates), user),

		service.Handle(s.createServiceSpecificCredential, user, service.Key("iam:ServiceSpecificCredentialServiceName", "{ServiceName}"),
			service.Key("iam:ServiceSpecificCredentialAgeDays", "{CredentialAgeDays}")),
		service.Handle(s.listServiceSpecificCredentials, credentialsOf),
		service.Handle(s.resetServiceSpecificCredential, user, credentialService[api.ResetServiceSpecificCredentialInput]()),
		service.Handle(updating[api.UpdateServiceSpecificCredentialInput](s, serviceCredentials), user, credentialService[api.UpdateServiceSpecificCredentialInput]()),
		service.Handle(deleting[api.DeleteServiceSpecificCredentialInput](s, serviceCredentials), user, credentialService[api.DeleteServiceSpecificCredentialInput]()),

		service.Handle(s.uploadServerCertificate, newServerCertificate, requestTags),
		service.Handle(s.getServerCertificate, serverCertificates.named),
		service.Handle(s.listServerCertificates, listing(identity.ServerCertificateKind)),
		service.Handle(s.updateServerCertificate, serverCertificates.named, service.Also("iam:UpdateServerCertificate", renamedServerCertificate)),
		service.Handle(s.deleteServerCertificate, serverCertificates.named),

		service.Handle(s.createAccountAlias, service.Any),
		service.Handle(s.deleteAccountAlias, service.Any),
		service.Handle(s.listAccountAliases, service.Any),

		service.Handle(s.createInstanceProfile, newProfile, requestTags),
		service.Handle(s.getInstanceProfile, profile),
		service.Handle(s.listInstanceProfiles, listing(identity.ProfileKind)),
		service.Handle(s.listInstanceProfilesForRole, role),
		service.Handle(s.addRoleToInstanceProfile, profile,
			service.Also("iam:PassRole", passedRole, service.Key("iam:PassedToService", "ec2.amazonaws.com"))),
		service.Handle(s.removeRoleFromInstanceProfile, profile),
		service.Handle(s.deleteInstanceProfile, profile),

		service.Handle(putBoundary[api.PutUserPermissionsBoundaryInput](s, users), user, boundary),
		bounded(users, deleteBoundary[api.DeleteUserPermissionsBoundaryInput](s, users)),
		service.Handle(putBoundary[api.PutRolePermissionsBoundaryInput](s, roles), role, boundary),
		bounded(roles, deleteBoundary[api.DeleteRolePermissionsBoundaryInput](s, roles)),

		service.Handle(s.enableOrganizationsRootCredentialsManagement, service.Any),
		service.Handle(s.disableOrganizationsRootCredentialsManagement, service.Any),
		service.Handle(s.enableOrganizationsRootSessions, service.Any),
		service.Handle(s.disableOrganizationsRootSessions, service.Any),
		service.Handle(s.listOrganizationsFeatures, service.Any),
		service.Handle(s.generateOrganizationsAccessReport, service.ARN("arn:aws:iam::{account}:access-report/{EntityPath}"),
			service.Key("iam:OrganizationsPolicyId", "{OrganizationsPolicyId}")),
		service.Handle(s.getOrganizationsAccessReport, service.Any),

		service.Handle(s.simulateCustomPolicy, service.Any),
		service.Handle(s.simulatePrincipalPolicy, policySource, sourceChecked[api.SimulatePrincipalPolicyInput]()),
		service.Handle(s.getContextKeysForCustomPolicy, service.Any),
		service.Handle(s.getContextKeysForPrincipalPolicy, policySource, sourceChecked[api.GetContextKeysForPrincipalPolicyInput]()),

		service.Handle(s.getAccountSummary, service.Any),
		service.Handle(s.generateCredentialReport, service.Any),
		service.Handle(s.getCredentialReport, service.Any),
		service.Handle(s.getAccountAuthorizationDetails, service.Any),
		service.Handle(s.generateServiceLastAccessedDetails, accessReport),
		service.Handle(s.getServiceLastAccessedDetails, service.Any),
		service.Handle(s.getServiceLastAccessedDetailsWithEntities, service.Any),
		service.Handle(s.listPoliciesGrantingServiceAccess, accessReport),

		service.Handle(s.setSecurityTokenServicePreferences, service.Any),
		service.Handle(s.getAccountProperties, service.Any, service.KeyOf("iam:AccountPropertyNamespaces", allNamespaces)),
		service.Handle(s.putAccountProperties, service.Any, service.KeyOf("iam:AccountPropertyNamespaces", putNamespaces),
			service.Also("iam:CreateServiceLinkedRole", roleManagerRole, service.If(enablesRoleManager), service.Key("iam:AWSServiceName", roleManagerService))),

		service.Handle(s.enableOutboundWebIdentityFederation, service.Any),
		service.Handle(s.disableOutboundWebIdentityFederation, service.Any),
		service.Handle(s.getOutboundWebIdentityFederationInfo, service.Any),
	}
	rows = append(rows, tagging[api.TagUserInput, api.UntagUserInput, api.ListUserTagsInput, api.ListUserTagsOutput](s, users)...)
	rows = append(rows, tagging[api.TagRoleInput, api.UntagRoleInput, api.ListRoleTagsInput, api.ListRoleTagsOutput](s, roles)...)
	rows = append(rows, tagging[api.TagPolicyInput, api.UntagPolicyInput, api.ListPolicyTagsInput, api.ListPolicyTagsOutput](s, policies)...)
	rows = append(rows, tagging[api.TagInstanceProfileInput, api.UntagInstanceProfileInput, api.ListInstanceProfileTagsInput, api.ListInstanceProfileTagsOutput](s, profiles)...)

	rows = append(rows, tagging[api.TagMFADeviceInput, api.UntagMFADeviceInput, api.ListMFADeviceTagsInput, api.ListMFADeviceTagsOutput](s, mfaDevices)...)
	rows = append(rows, tagging[api.TagServerCertificateInput, api.UntagServerCertificateInput, api.ListServerCertificateTagsInput, api.ListServerCertificateTagsOutput](s, serverCertificates)...)

	rows = append(rows, inline[api.PutUserPolicyInput, api.GetUserPolicyInput, api.GetUserPolicyOutput, api.ListUserPoliciesInput, api.ListUserPoliciesOutput, api.DeleteUserPolicyInput](s, users)...)
	rows = append(rows, inline[api.PutGroupPolicyInput, api.GetGroupPolicyInput, api.GetGroupPolicyOutput, api.ListGroupPoliciesInput, api.ListGroupPoliciesOutput, api.DeleteGroupPolicyInput](s, groups)...)
	rows = append(rows, inline[api.PutRolePolicyInput, api.GetRolePolicyInput, api.GetRolePolicyOutput, api.ListRolePoliciesInput, api.ListRolePoliciesOutput, api.DeleteRolePolicyInput](s, roles)...)

	rows = append(rows, attachments[api.AttachUserPolicyInput, api.DetachUserPolicyInput, api.ListAttachedUserPoliciesInput, api.ListAttachedUserPoliciesOutput](s, users)...)
	rows = append(rows, attachments[api.AttachGroupPolicyInput, api.DetachGroupPolicyInput, api.ListAttachedGroupPoliciesInput, api.ListAttachedGroupPoliciesOutput](s, groups)...)
	rows = append(rows, attachments[api.AttachRolePolicyInput, api.DetachRolePolicyInput, api.ListAttachedRolePoliciesInput, api.ListAttachedRolePoliciesOutput](s, roles)...)

	rows = append(rows, s.delegations()...)
	rows = append(rows, s.oidcProviders()...)
	rows = append(rows, s.samlProviders()...)

	table := service.New(api.Model, declined, rows...)
	table.Object = object
	return table
}

// Clauses that several rows share.
var (
	boundary    = service.Key("iam:PermissionsBoundary", "{PermissionsBoundary}")
	requestTags = service.Tags("Tags")
)

// Tables returns the tables that are not identity's, for store.Open to check.
func Tables() []store.Checker {
	return []store.Checker{usages, deletions, jobs, organizationJobs, sshKeys.table, signingCertificates.table, serviceCredentials.table, serverCertificateTable, aliases, loginProfiles, passwordPolicies, credentialReports, preferred, delegationsOf, delegationWorkflows}
}

// update is the store's Update. A change that is too large for the store, such as the
// hundredth inline policy that is mostly white space, is a quota that AWS has not.
func (s *Service) update(ctx context.Context, f func(*store.Tx) error) error {
	err := s.DB.Update(ctx, f)
	if errors.Is(err, store.ErrTooLarge) {
		return api.LimitExceeded("The change is larger than can be kept in one step.")
	}
	return err
}

func entityARN(account string, kind identity.Kind, path, name string) string {
	return string(arn.New("aws", "iam", "", account, string(kind)+path+name))
}
