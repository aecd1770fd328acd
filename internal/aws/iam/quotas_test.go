package iam_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/iam"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
)

// What a new account may have in AWS: so much of it is made, and one more is refused.
// GetAccountSummary shows the number.
func TestDefaultQuotas(t *testing.T) {
	t.Parallel()
	b := newBench(t, iam.Quotas{})
	summary := must[api.GetAccountSummaryOutput](b, &api.GetAccountSummaryInput{}).SummaryMap
	certificate, key := selfSigned(t)
	managed := func(i int) string { return fmt.Sprintf("arn:aws:iam::%s:policy/p%d", account, i) }
	for _, q := range []struct {
		name  string // in GetAccountSummary, "" where it is not there
		quota int
		one   func(i int) any // makes the i-th
		text  string
	}{
		{"UsersQuota", 5000, func(i int) any { return &api.CreateUserInput{UserName: fmt.Sprint("u", i)} }, "Cannot exceed quota for UsersPerAccount: 5000"},
		{"GroupsQuota", 300, func(i int) any { return &api.CreateGroupInput{GroupName: fmt.Sprint("g", i)} }, "Cannot exceed quota for GroupsPerAccount: 300"},
		{"RolesQuota", 1000, func(i int) any {
			return &api.CreateRoleInput{RoleName: fmt.Sprint("r", i), AssumeRolePolicyDocument: trustEC2}
		}, "Cannot exceed quota for RolesPerAccount: 1000"},
		{"PoliciesQuota", 1500, func(i int) any {
			return &api.CreatePolicyInput{PolicyName: fmt.Sprint("p", i), PolicyDocument: allowAll}
		}, "Cannot exceed quota for PoliciesPerAccount: 1500"},
		{"InstanceProfilesQuota", 1000, func(i int) any { return &api.CreateInstanceProfileInput{InstanceProfileName: fmt.Sprint("i", i)} },
			"Cannot exceed quota for InstanceProfilesPerAccount: 1000"},
		{"GroupsPerUserQuota", 10, func(i int) any { return &api.AddUserToGroupInput{UserName: "u0", GroupName: fmt.Sprint("g", i)} },
			"Cannot exceed quota for GroupsPerUser: 10"},
		{"AccessKeysPerUserQuota", 2, func(int) any { return &api.CreateAccessKeyInput{UserName: "u0"} }, "Cannot exceed quota for AccessKeysPerUser: 2"},
		{"AttachedPoliciesPerUserQuota", 10, func(i int) any { return &api.AttachUserPolicyInput{UserName: "u0", PolicyArn: managed(i)} },
			"Cannot exceed quota for PoliciesPerUser: 10"},
		{"AttachedPoliciesPerGroupQuota", 10, func(i int) any { return &api.AttachGroupPolicyInput{GroupName: "g0", PolicyArn: managed(i)} },
			"Cannot exceed quota for PoliciesPerGroup: 10"},
		{"AttachedPoliciesPerRoleQuota", 10, func(i int) any { return &api.AttachRolePolicyInput{RoleName: "r0", PolicyArn: managed(i)} },
			"Cannot exceed quota for PoliciesPerRole: 10"},
		{"VersionsPerPolicyQuota", 5, func(i int) any {
			if i == 0 {
				return &api.GetPolicyVersionInput{PolicyArn: managed(0), VersionId: "v1"} // made with the policy
			}
			return &api.CreatePolicyVersionInput{PolicyArn: managed(0), PolicyDocument: allowAll}
		}, "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version."},
		{"ServerCertificatesQuota", 20, func(i int) any {
			return &api.UploadServerCertificateInput{ServerCertificateName: fmt.Sprint("c", i), CertificateBody: certificate, PrivateKey: key}
		}, "Cannot exceed quota for ServerCertificatesPerAccount: 20"},
		// F0896
		{"", 100, func(i int) any {
			return &api.CreateOpenIDConnectProviderInput{Url: fmt.Sprintf("https://o%d.example.com", i), ThumbprintList: []string{strings.Repeat("a", 40)}}
		}, "Cannot exceed quota for OpenIDConnectProvidersPerAccount: 100"},
		{"", 100, func(i int) any {
			return &api.AddClientIDToOpenIDConnectProviderInput{OpenIDConnectProviderArn: "arn:aws:iam::" + account + ":oidc-provider/o0.example.com", ClientID: fmt.Sprint("c", i)}
		}, "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: 100"},
		{"", 2, func(int) any {
			return &api.CreateServiceSpecificCredentialInput{UserName: "u0", ServiceName: "codecommit.amazonaws.com"}
		}, "Cannot exceed quota for ServiceSpecificCredentialsPerUser: 2"},
	} {
		if got := int(summary[q.name]); q.name != "" && got != q.quota {
			t.Errorf("GetAccountSummary has %s %d, want %d", q.name, got, q.quota)
		}
		for i := range q.quota {
			b.ok(q.one(i))
		}
		b.refused(q.one(q.quota), "LimitExceeded: "+q.text)
	}
	b.ok(&api.AddRoleToInstanceProfileInput{InstanceProfileName: "i0", RoleName: "r0"})
	b.refused(&api.AddRoleToInstanceProfileInput{InstanceProfileName: "i0", RoleName: "r1"},
		"LimitExceeded: Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")

	var fifty []api.Tag
	for i := range 50 {
		fifty = append(fifty, api.Tag{Key: fmt.Sprint("k", i)})
	}
	b.ok(&api.TagUserInput{UserName: "u0", Tags: fifty}, &api.TagRoleInput{RoleName: "r0", Tags: fifty})
	b.refused(&api.TagUserInput{UserName: "u0", Tags: []api.Tag{{Key: "more"}}}, "LimitExceeded: Cannot exceed quota for TagsPerUser: 50")
	b.refused(&api.TagRoleInput{RoleName: "r0", Tags: []api.Tag{{Key: "more"}}}, "LimitExceeded: Cannot exceed quota for TagsPerRole: 50")
}

// Sizes of documents, which are counted without white space.
func TestDocumentSizes(t *testing.T) {
	t.Parallel()
	b := newBench(t, iam.Quotas{})
	summary := must[api.GetAccountSummaryOutput](b, &api.GetAccountSummaryInput{}).SummaryMap
	b.ok(&api.CreateUserInput{UserName: "u"}, &api.CreateGroupInput{GroupName: "g"}, &api.CreateRoleInput{RoleName: "r", AssumeRolePolicyDocument: trustEC2},
		&api.CreatePolicyInput{PolicyName: "p", PolicyDocument: allowAll})
	// sized is a policy of n characters, and white space. Its Sid makes up the length.
	sized := func(document string, n int) string {
		with := strings.Replace(document, `{"Effect"`, `{"Sid":"","Effect"`, 1)
		return strings.Replace(with, `"Sid":"`, "\n\t \"Sid\":\""+strings.Repeat("s", n-len(with)), 1)
	}
	for _, q := range []struct {
		name string
		size int
		put  func(n int) any
		text string
	}{
		{"PolicySizeQuota", 6144, func(n int) any {
			return &api.CreatePolicyInput{PolicyName: fmt.Sprint("p", n), PolicyDocument: sized(allowAll, n)}
		},
			"Cannot exceed quota for PolicySize: 6144"},
		{"PolicySizeQuota", 6144, func(n int) any {
			return &api.CreatePolicyVersionInput{PolicyArn: "arn:aws:iam::" + account + ":policy/p", PolicyDocument: sized(allowAll, n)}
		}, "Cannot exceed quota for PolicySize: 6144"},
		// F0900
		{"UserPolicySizeQuota", 2048, func(n int) any {
			return &api.PutUserPolicyInput{UserName: "u", PolicyName: "p", PolicyDocument: sized(allowAll, n)}
		}, "Maximum policy size of 2048 bytes exceeded for user u"},
		{"GroupPolicySizeQuota", 5120, func(n int) any {
			return &api.PutGroupPolicyInput{GroupName: "g", PolicyName: "p", PolicyDocument: sized(allowAll, n)}
		}, "Maximum policy size of 5120 bytes exceeded for group g"},
		// F0899
		{"RolePolicySizeQuota", 10240, func(n int) any {
			return &api.PutRolePolicyInput{RoleName: "r", PolicyName: "p", PolicyDocument: sized(allowAll, n)}
		}, "Maximum policy size of 10240 bytes exceeded for role r"},
		// F0882
		{"AssumeRolePolicySizeQuota", 2048, func(n int) any {
			return &api.CreateRoleInput{RoleName: fmt.Sprint("r", n), AssumeRolePolicyDocument: sized(trustEC2, n)}
		}, "Cannot exceed quota for ACLSizePerRole: 2048"},
		{"AssumeRolePolicySizeQuota", 2048, func(n int) any {
			return &api.UpdateAssumeRolePolicyInput{RoleName: "r", PolicyDocument: sized(trustEC2, n)}
		}, "Cannot exceed quota for ACLSizePerRole: 2048"},
	} {
		if got := int(summary[q.name]); got != q.size {
			t.Errorf("GetAccountSummary has %s %d, want %d", q.name, got, q.size)
		}
		b.ok(q.put(q.size))
		b.refused(q.put(q.size+1), "LimitExceeded: "+q.text)
	}
	// Inline policies are counted together.
	b.refused(&api.PutUserPolicyInput{UserName: "u", PolicyName: "q", PolicyDocument: allowAll}, "LimitExceeded: Maximum policy size of 2048 bytes exceeded for user u")
	b.ok(&api.DeleteUserPolicyInput{UserName: "u", PolicyName: "p"}, &api.PutUserPolicyInput{UserName: "u", PolicyName: "q", PolicyDocument: allowAll})
}

// selfSigned is a certificate and its key, in PEM.
func selfSigned(t *testing.T) (certificate, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	long := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: long}, &x509.Certificate{}, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}
