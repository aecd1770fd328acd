// Package identity holds who there is and the rules that make them who they
// are: accounts, users, groups, roles, policies, instance profiles, access keys,
// and the sealed sessions of temporary credentials.
//
// An entity is the type that AWS's API shows, with what the wire does not show
// beside it, in one table of the store:
//
//	user := identity.Users.Get(state, identity.Key(account, "alice"))
//	fmt.Println(user.Arn, user.UserId, len(user.Inline))
//
// Names are unique in an account without regard to case, so Key folds it; the
// entity keeps the name as it was written. A unique id (AIDA..., AROA...) is
// never used again, and IDs finds an entity by it: that is how a session knows
// its role and a trust policy its principal, through renaming, and how both
// lose them when the entity is deleted, even if one of the same name is made.
//
// Temporary credentials are sealed, not stored. A session token holds the whole
// session, encrypted and authenticated by a key of the Keyring, and the secret
// access key is derived from it. See the comment of Keyring.
//
// Nothing here decides what anyone may do; package authz does.
package identity

import (
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/store"
)

// The tables. Entities with names have keys made by Key, keys of access keys and
// unique ids are themselves, accounts' are their ids.
var (
	Accounts = store.NewTable[Account]("accounts")
	// An organisation's id; that and an OU's id; that and a policy's id.
	Organizations        = store.NewTable[Organization]("organizations")
	Units                = store.NewTable[Unit]("units")
	OrganizationPolicies = store.NewTable[OrganizationPolicy]("organization-policies")

	Users    = store.NewTable[User]("users")
	Groups   = store.NewTable[Group]("groups")
	Roles    = store.NewTable[Role]("roles")
	Policies = store.NewTable[Policy]("policies")
	Profiles = store.NewTable[Profile]("profiles")
	Keys     = store.NewTable[AccessKey]("keys")
	KeysOf   = store.NewTable[struct{}]("keysof")  // Key(account, user) + "/" + access key id; the root's user is ""
	Members  = store.NewTable[struct{}]("members") // Key(account, group) + "/" + folded user name
	HeldBy   = store.NewTable[struct{}]("heldby")  // Key(account, role) + "/" + folded name of an instance profile that holds it
	IDs      = store.NewTable[Ref]("ids")          // unique id -> the entity
	LastUsed = store.NewTable[Use]("lastused")     // role id or access key id -> its last use
	Accessed = store.NewTable[Access]("accessed")  // unique id of a user or role + "/" + prefix of a service -> its last attempt
	Counters = store.NewTable[Counts]("counters")  // account -> how many of each kind it has

	MFADevices = store.NewTable[MFADevice]("mfadevices")
	Imports    = store.NewTable[Import]("imports") // account -> the import that is being written
)

// Tables returns the tables, so that store.Open checks what is in them before anyone calls.
func Tables() []store.Checker {
	return []store.Checker{Accounts, Users, Groups, Roles, Policies, Profiles, Keys, KeysOf, Members, HeldBy, IDs, LastUsed, Accessed, Counters, MFADevices, Imports,
		OIDCProviders, SAMLProviders, ProductProviders, DelegationRequests,
		Organizations, Units, OrganizationPolicies,
		sealingKeys, newestSealing, beginnings}
}

// Key is the key of a named entity of an account.
func Key(account, name string) string { return account + "/" + strings.ToLower(name) }

// An Account is an AWS account. Its root user is not an entity: whoever calls
// with an access key of no user is the root.
type Account struct {
	ID          string // 12 digits
	Name        string
	Created     time.Time
	Management  bool     // the first account ever made: the operator's, to whom a given root key belongs
	CanonicalID string   // 64 hexadecimal digits, by which S3 shows the owner
	Alias       string   `json:",omitempty"` // unique over all accounts
	MFA         []string `json:",omitempty"` // keys of the root user's MFA devices
	Holds       Holdings `json:",omitzero"`  // of the root user

	Email      string      `json:",omitempty"`
	Closed     time.Time   `json:",omitzero"`  // when it was closed: none of its credentials work any more
	Membership *Membership `json:",omitempty"` // nil: a member of no organisation
}

// Root is the ARN of the account's root user.
func (a *Account) Root() arn.ARN { return RootARN(a.ID) }

// RootARN is the ARN of an account's root user, which as a principal in a policy
// stands for the whole account.
func RootARN(account string) arn.ARN { return arn.ARN("arn:aws:iam::" + account + ":root") }

// A User is an IAM user.
type User struct {
	api.User
	Inline   map[string]Document `json:",omitempty"` // by name, as written
	Attached []arn.ARN           `json:",omitempty"` // managed policies, in the order of attachment
	Groups   []string            `json:",omitempty"` // keys of groups
	Keys     int                 `json:",omitempty"` // how many access keys there are in KeysOf
	MFA      []string            `json:",omitempty"` // keys of MFA devices
	Holds    Holdings            `json:",omitzero"`
}

// Holdings are how many credentials of each kind somebody has that are kept in tables
// of their own. Who adds or takes away one writes the number, so that two who do it
// at once see each other.
type Holdings struct {
	SSHPublicKeys, SigningCertificates, ServiceSpecificCredentials int
}

// A Group is an IAM group.
type Group struct {
	api.Group
	Inline   map[string]Document `json:",omitempty"`
	Attached []arn.ARN           `json:",omitempty"`
	Users    int                 `json:",omitempty"` // how many there are in Members
}

// A Role is an IAM role. Trust is its trust policy with principals by unique id;
// api.Role's own document field is empty in the store.
type Role struct {
	api.Role
	Trust    Document
	Inline   map[string]Document `json:",omitempty"`
	Attached []arn.ARN           `json:",omitempty"`
	Profiles int                 `json:",omitempty"` // how many there are in HeldBy

	Parameters map[string][]string `json:",omitempty"` // that were given when it was made from its SourceRoleTemplate
}

// SetTemplate says from which template the role was made.
func (r *Role) SetTemplate(templateARN string, minor int32) {
	r.SourceRoleTemplate = &struct {
		TemplateArn          string `wire:",req"`
		TemplateMinorVersion int32  `wire:",always"`
	}{templateARN, minor}
}

// ServiceLinkedPath begins the path of every service-linked role, and of no other role.
const ServiceLinkedPath = "/aws-service-role/"

// ServiceLinked reports whether the role is an AWS service's own in the account.
// Only the service changes it, and organisation policies do not limit it.
func (r *Role) ServiceLinked() bool { return strings.HasPrefix(r.Path, ServiceLinkedPath) }

// A Policy is a customer managed policy.
type Policy struct {
	api.Policy
	Versions []Version // oldest first
	Next     int       // number of the next version; numbers are never used again
}

// A Version is one version of a managed policy.
type Version struct {
	ID       string // "v1"
	Created  time.Time
	Document Document
}

// Default returns the default version.
func (p *Policy) Default() Version {
	v, _ := p.Version(p.DefaultVersionId)
	return v
}

// Version returns the version with the id.
func (p *Policy) Version(id string) (Version, bool) {
	for _, v := range p.Versions {
		if v.ID == id {
			return v, true
		}
	}
	return Version{}, false
}

// A Profile is an instance profile; Role is the key of its role, if it has one.
type Profile struct {
	api.InstanceProfile
	Role string `json:",omitempty"`
}

// An AccessKey is a long-term access key of a user, or of the account's root
// when User is empty.
type AccessKey struct {
	ID      string
	Account string
	User    string `json:",omitempty"` // unique id
	Sealed  string // the secret access key, by the Vault, under ID
	Active  bool
	Created time.Time
}

// A Ref tells which entity has a unique id.
type Ref struct {
	Kind Kind
	Key  string
}

// A Kind is a kind of entity, in IAM's own word: it begins the resource part of its ARN.
type Kind string

const (
	UserKind    Kind = "user"
	GroupKind   Kind = "group"
	RoleKind    Kind = "role"
	PolicyKind  Kind = "policy"
	ProfileKind Kind = "instance-profile"

	MFADeviceKind         Kind = "mfa"
	ServerCertificateKind Kind = "server-certificate"

	OIDCProviderKind Kind = "oidc-provider"
	SAMLProviderKind Kind = "saml-provider"
)

// A Use is the last use of an access key or a role.
type Use struct {
	Time    time.Time
	Region  string
	Service string `json:",omitempty"`
}

// An Access is the last attempt of a user or role to call a service, allowed or not.
type Access struct {
	Time    time.Time
	Region  string
	Actions map[string]Use `json:",omitempty"` // management actions, by name without the prefix; without Service
}

// An Import is the mark of an account that is being imported in several steps: it is
// neither what it was nor what it will be, and nobody calls in it. ID tells the one
// who writes from one who has begun to undo what another left behind.
type Import struct{ ID string }

// Forget deletes what is known of the uses of a user or role that is deleted.
func Forget(tx *store.Tx, id string) {
	LastUsed.Delete(tx, id)
	for key := range Accessed.All(tx, id+"/") {
		Accessed.Delete(tx, key)
	}
}

// Counts are the numbers that quotas are held against. They are written by all
// who make or delete an entity, so that two who do it at once see each other.
type Counts struct {
	Users, Groups, Roles, Policies, Profiles int

	MFADevices, MFADevicesInUse  int `json:",omitempty"`
	ServerCertificates           int `json:",omitempty"`
	OIDCProviders, SAMLProviders int `json:",omitempty"`
}

// UserByID finds a user by unique id; nil if there is none.
func UserByID(r store.Reader, id string) *User {
	if ref := IDs.Get(r, id); ref != nil && ref.Kind == UserKind {
		return Users.Get(r, ref.Key)
	}
	return nil
}

// RoleByID finds a role by unique id; nil if there is none.
func RoleByID(r store.Reader, id string) *Role {
	if ref := IDs.Get(r, id); ref != nil && ref.Kind == RoleKind {
		return Roles.Get(r, ref.Key)
	}
	return nil
}

// UserByARN, RoleByARN, PolicyByARN find an entity by its whole ARN, path and all; nil if there is none.
func UserByARN(r store.Reader, a arn.ARN) *User {
	if u := Users.Get(r, keyOf(a)); u != nil && u.Arn == string(a) {
		return u
	}
	return nil
}

func RoleByARN(r store.Reader, a arn.ARN) *Role {
	if role := Roles.Get(r, keyOf(a)); role != nil && role.Arn == string(a) {
		return role
	}
	return nil
}

func PolicyByARN(r store.Reader, a arn.ARN) *Policy {
	if p := Policies.Get(r, keyOf(a)); p != nil && p.Arn == string(a) {
		return p
	}
	return nil
}

func keyOf(a arn.ARN) string {
	resource := a.Resource()
	return Key(a.Account(), resource[strings.LastIndexByte(resource, '/')+1:])
}
