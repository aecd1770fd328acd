package organizations

import "github.com/iamd-dev/iamd/policy"

// Quotas are how much of everything an organisation may have.
type Quotas struct {
	Accounts           int // closed ones, too, and invitations that are open
	Units              int
	Policies           int // of each type
	Tags               int // of anything
	DelegatesOfService int
}

// DefaultQuotas returns what AWS gives (Organizations User Guide, "Quotas and service
// limits"), and of accounts the most that AWS gives on request.
func DefaultQuotas() Quotas {
	return Quotas{Accounts: 10_000, Units: 2000, Policies: 1000, Tags: 50, DelegatesOfService: 5}
}

// A policyType is a type of policies with what AWS allows of them.
type policyType struct {
	name      string
	size      int // characters of a document, white space among them
	perTarget int // AWS's own among them
	decides   bool
	kind      policy.Kind // of documents, where decides
}

var allTypes = []policyType{
	{"SERVICE_CONTROL_POLICY", 5120, 5, true, policy.SCP},
	{"RESOURCE_CONTROL_POLICY", 5120, 5, true, policy.RCP},
	{name: "TAG_POLICY", size: 10_000, perTarget: 10},
	{name: "BACKUP_POLICY", size: 10_000, perTarget: 10},
	{name: "AISERVICES_OPT_OUT_POLICY", size: 2500, perTarget: 5},
	{name: "CHATBOT_POLICY", size: 10_000, perTarget: 5},
	{name: "DECLARATIVE_POLICY_EC2", size: 10_000, perTarget: 10},
	{name: "SECURITYHUB_POLICY", size: 10_000, perTarget: 10},
	{name: "INSPECTOR_POLICY", size: 10_000, perTarget: 10},
	{name: "UPGRADE_ROLLOUT_POLICY", size: 10_000, perTarget: 10},
	{name: "BEDROCK_POLICY", size: 10_000, perTarget: 10},
	{name: "S3_POLICY", size: 10_000, perTarget: 10},
	{name: "NETWORK_SECURITY_DIRECTOR_POLICY", size: 10_000, perTarget: 10},
}

// typeNamed returns a type that the decoder has let pass.
func typeNamed(name string) *policyType {
	for i := range allTypes {
		if allTypes[i].name == name {
			return &allTypes[i]
		}
	}
	panic("organizations: the model has a policy type that has no quotas: " + name)
}
