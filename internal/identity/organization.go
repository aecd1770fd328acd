package identity

import (
	"slices"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/store"
)

// An Organization is accounts in a tree of organizational units, with the policies
// that hang on it. Whoever changes anything of an organisation writes its record,
// so that two who change the same organisation at once see each other; what would
// be too much for one record (OUs, policies, the accounts' places) is by itself.
type Organization struct {
	ID         string // "o-..."
	Management string // the account that made it
	FeatureSet string // ALL or CONSOLIDATED_BILLING
	Created    time.Time
	Root       Root

	Generations int           // how many times a policy type has been enabled
	Enabled     []EnabledType // the policy types that are enabled in the root, in order

	Trusted   map[string]time.Time            `json:",omitempty"` // service principals with trusted access, since when
	Delegates map[string]map[string]time.Time `json:",omitempty"` // delegated administrators: account, service principal, since when

	// Centralised root access (IAM User Guide, "Centrally manage root access for member accounts").
	RootCredentials bool `json:",omitempty"` // RootCredentialsManagement
	RootSessions    bool `json:",omitempty"` // RootSessions

	ResourcePolicy *OrganizationResourcePolicy `json:",omitempty"`
	Changes        int64                       // how often it was changed, and when last
	Changed        time.Time
}

// A Root is the root of an organisation's tree.
type Root struct {
	ID string // "r-..."
	Target
}

// A Unit is an organizational unit.
type Unit struct {
	ID, Name string
	Parent   string // id of the root or of an OU
	Target
}

// A Membership is an account's place in an organisation.
type Membership struct {
	Organization string // id
	Parent       string // id of the root or of an OU
	Joined       time.Time
	Invited      bool `json:",omitempty"` // and not created
	Target
}

// A Target is what policies of an organisation can be attached to: the root, an OU,
// an account.
type Target struct {
	Attached []Attachment `json:",omitempty"` // in order
	// Detached is the generation of service control policies for which FullAWSAccess
	// is not attached; it is attached to every target when the type is enabled.
	Detached int   `json:",omitempty"`
	Tags     []Tag `json:",omitempty"`
}

// A Tag is a tag of something of an organisation.
type Tag = api.Tag

// An Attachment is of a policy, while its type is enabled. Enabling a type begins a
// new generation, and what was attached before is attached no more.
type Attachment struct {
	Policy     string // id
	Generation int
}

// An EnabledType is a policy type that is enabled in the root.
type EnabledType struct {
	Type       string
	Generation int // by which attachments are told from those of before
}

// An OrganizationPolicy is a policy of an organisation, of any type.
type OrganizationPolicy struct {
	ID, Name    string
	Description string
	Type        string
	Document    Document // the text; it is a policy document for SCP and RCP alone
	Tags        []Tag    `json:",omitempty"`
}

// An OrganizationResourcePolicy is the policy by which the management account
// delegates the administration of policies to member accounts.
type OrganizationResourcePolicy struct {
	ID       string // "rp-..."
	Document Document
	Tags     []Tag `json:",omitempty"`
}

// The types of policies that decide on calls.
const (
	ServiceControlPolicy  = "SERVICE_CONTROL_POLICY"
	ResourceControlPolicy = "RESOURCE_CONTROL_POLICY"
)

const full = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

// The policies that AWS attaches to every root, OU and account when their type is
// enabled. FullAWSAccess can be detached, RCPFullAWSAccess cannot.
var (
	FullAWSAccess = &OrganizationPolicy{
		ID: "p-FullAWSAccess", Name: "FullAWSAccess", Description: "Allows access to every operation",
		Type: ServiceControlPolicy, Document: NewDocument(full),
	}
	RCPFullAWSAccess = &OrganizationPolicy{
		ID: "p-RCPFullAWSAccess", Name: "RCPFullAWSAccess", Description: "Allows access to every resource",
		Type: ResourceControlPolicy, Document: NewDocument(strings.Replace(full, `"Action"`, `"Principal":"*","Action"`, 1)),
	}
)

// AWSManaged reports whether the policy is AWS's own.
func (p *OrganizationPolicy) AWSManaged() bool { return p == FullAWSAccess || p == RCPFullAWSAccess }

// OrganizationOf returns the organisation that an account is a member of, with the
// account; nil for the organisation when it is of none.
func OrganizationOf(r store.Reader, account string) (*Organization, *Account) {
	a := Accounts.Get(r, account)
	if a == nil || a.Membership == nil {
		return nil, a
	}
	return Organizations.Get(r, a.Membership.Organization), a
}

// ARN is the ARN of something of the organisation, which carries the management
// account: o.ARN("ou", "ou-ab12-11111111").
func (o *Organization) ARN(kind, id string) arn.ARN {
	return arn.ARN("arn:aws:organizations::" + o.Management + ":" + kind + "/" + o.ID + "/" + id)
}

// Key is the key of an OU or a policy of the organisation.
func (o *Organization) Key(id string) string { return o.ID + "/" + id }

// PolicyARN is the ARN of a policy.
func (o *Organization) PolicyARN(p *OrganizationPolicy) arn.ARN {
	kind := strings.ToLower(p.Type)
	if p.AWSManaged() {
		return arn.ARN("arn:aws:organizations::aws:policy/" + kind + "/" + p.ID)
	}
	return arn.ARN("arn:aws:organizations::" + o.Management + ":policy/" + o.ID + "/" + kind + "/" + p.ID)
}

// Policy finds a policy by id, the organisation's own or AWS's; nil if there is none.
func (o *Organization) Policy(r store.Reader, id string) *OrganizationPolicy {
	switch id {
	case FullAWSAccess.ID:
		return FullAWSAccess
	case RCPFullAWSAccess.ID:
		return RCPFullAWSAccess
	}
	return OrganizationPolicies.Get(r, o.Key(id))
}

// Generation is that of a policy type's attachments; 0 when the type is not enabled.
func (o *Organization) Generation(policyType string) int {
	for _, e := range o.Enabled {
		if e.Type == policyType {
			return e.Generation
		}
	}
	return 0
}

// Attached returns the ids of the policies of a type that are attached to a target
// itself, AWS's own first.
func (o *Organization) Attached(t *Target, policyType string) []string {
	generation := o.Generation(policyType)
	if generation == 0 {
		return nil
	}
	var ids []string
	switch {
	case policyType == ServiceControlPolicy && t.Detached != generation:
		ids = append(ids, FullAWSAccess.ID)
	case policyType == ResourceControlPolicy:
		ids = append(ids, RCPFullAWSAccess.ID)
	}
	for _, a := range t.Attached {
		if a.Generation == generation {
			ids = append(ids, a.Policy)
		}
	}
	return ids
}

// A Level is a place on the way from the root to an account: the root, an OU, the
// account itself.
type Level struct {
	ID string
	*Target
}

// Levels returns the way from the root to a member account, both included. It is
// cut short where an OU is missing, and then complete is false.
func (o *Organization) Levels(r store.Reader, a *Account) (levels []Level, complete bool) {
	levels, complete = o.Above(r, a.Membership.Parent)
	return append(levels, Level{a.ID, &a.Membership.Target}), complete
}

// Above returns the way from the root to the root or OU with the id, itself included.
func (o *Organization) Above(r store.Reader, id string) (levels []Level, complete bool) {
	for len(levels) <= MaxDepth {
		if id == o.Root.ID {
			levels = append(levels, Level{id, &o.Root.Target})
			slices.Reverse(levels)
			return levels, true
		}
		u := Units.Get(r, o.Key(id))
		if u == nil {
			break
		}
		levels = append(levels, Level{u.ID, &u.Target})
		id = u.Parent
	}
	slices.Reverse(levels)
	return levels, false
}

// MaxDepth is how many OUs can be nested below the root.
const MaxDepth = 5

// Path is the path of an OU or the root in the organisation, as aws:PrincipalOrgPaths
// has it: "o-.../r-.../ou-.../".
func (o *Organization) Path(levels []Level) string {
	var b strings.Builder
	b.WriteString(o.ID + "/")
	for _, l := range levels {
		b.WriteString(l.ID + "/")
	}
	return b.String()
}

// RootAccessService is the service principal that stands for centralised root access:
// with trusted access for it, and as its delegated administrator, root access is managed.
const RootAccessService = "iam.amazonaws.com"

// ManagesRoots reports whether an account may enter the root users of member accounts:
// the management account, or a delegated administrator for it.
func (o *Organization) ManagesRoots(account string) bool {
	return account == o.Management || !o.Delegates[account][RootAccessService].IsZero()
}
