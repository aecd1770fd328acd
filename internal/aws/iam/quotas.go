package iam

import "github.com/iamd-dev/iamd/internal/aws/iam/api"

// Quotas are how much of everything an account may have. Sizes are characters
// without white space.
type Quotas struct {
	Users, Groups, Roles, Policies, Profiles int

	OIDCProviders, ClientIDsPerProvider, SAMLProviders, KeysPerSAMLProvider int

	GroupsPerUser     int
	KeysPerUser       int
	VersionsPerPolicy int
	TagsPerEntity     int

	MFADevices, MFADevicesPerUser int
	SSHKeysPerUser                int
	SigningCertificatesPerUser    int
	CredentialsPerService         int // of a user
	ServerCertificates            int

	AttachedPerUser, AttachedPerGroup, AttachedPerRole int

	PolicySize      int // a managed policy
	UserPolicySize  int // all inline policies of a user
	GroupPolicySize int
	RolePolicySize  int
	TrustPolicySize int
}

// DefaultQuotas returns what AWS gives a new account (IAM User Guide, "IAM and STS
// quotas").
func DefaultQuotas() Quotas {
	return Quotas{
		Users: 5000, Groups: 300, Roles: 1000, Policies: 1500, Profiles: 1000,
		OIDCProviders: 100, ClientIDsPerProvider: 100, SAMLProviders: 100, KeysPerSAMLProvider: 2,
		GroupsPerUser: 10, KeysPerUser: 2, VersionsPerPolicy: 5, TagsPerEntity: 50,
		MFADevices: 5000, MFADevicesPerUser: 8, SSHKeysPerUser: 5, SigningCertificatesPerUser: 2, CredentialsPerService: 2, ServerCertificates: 20,
		AttachedPerUser: 10, AttachedPerGroup: 10, AttachedPerRole: 10,
		PolicySize: 6144, UserPolicySize: 2048, GroupPolicySize: 5120, RolePolicySize: 10240, TrustPolicySize: 2048,
	}
}

// within is LimitExceeded when there would be more than the quota.
func within(n, quota int, name string) error {
	if n > quota {
		return api.LimitExceeded("Cannot exceed quota for %s: %d", name, quota)
	}
	return nil
}
