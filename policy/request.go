package policy

import "github.com/iamd-dev/iamd/arn"

// A Request is what a policy is asked about: may this principal take this action
// on this resource?
type Request struct {
	Principal Principal
	Bounded   bool    // the caller has a permissions boundary: NotPrincipal with Deny then always denies
	Action    Action  // "s3:GetObject"
	Resource  arn.ARN // "*" for actions without resources, which only a Resource of "*" matches
	Context   Context // nil is empty
}

// A Principal is a caller, in every form that a Principal element may name. The
// zero value is anonymous.
type Principal struct {
	Account     string  // 12 digits; "" when anonymous or a service
	ARN         arn.ARN // of the user, root user, role session or federated user
	Role        arn.ARN // of a role session: the role, with its path
	User        arn.ARN // of a federated-user session: the user who asked for it
	ID          string  // unique id of the user (AIDA...) or role (AROA...), which stored trust policies name; a session of the role is AROA...:session
	Service     string  // "ec2.amazonaws.com" for a service
	Federated   string  // ARN or domain of the identity provider
	CanonicalID string  // of the account, as S3 knows it
}

// A Context knows the condition keys of a request. It is asked with the key in
// lower case, "aws:principaltag/team", and says false for a key that the request
// does not have. It may be asked for the same key more than once.
type Context interface {
	Value(key string) (Value, bool)
}

// Keys is a Context that holds its values. The names must be in lower case.
type Keys map[string]Value

// Value gives the value of a key.
func (k Keys) Value(key string) (Value, bool) {
	v, ok := k[key]
	return v, ok
}

// A Value is the value of a condition key: one string, or a list for keys that AWS
// calls multivalued, such as aws:TagKeys. Numbers, dates and booleans are written
// as text; binary values are the bytes themselves.
type Value struct {
	one  string
	many []string
	list bool
}

// String is the value of a single-valued key.
func String(s string) Value { return Value{one: s} }

// List is the value of a multivalued key. An empty list counts as an absent key.
func List(ss []string) Value { return Value{many: ss, list: true} }

// Strings gives the strings of the value.
func (v Value) Strings() []string {
	if v.list {
		return v.many
	}
	return []string{v.one}
}

func (v Value) len() int {
	if v.list {
		return len(v.many)
	}
	return 1
}

func (v Value) at(i int) string {
	if v.list {
		return v.many[i]
	}
	return v.one
}

// A Grant is a set of ways in which the Allow statements of a policy with
// principals named the caller. It matters: an account that is named only
// delegates, and a caller that is named itself is not limited by its boundary.
type Grant uint8

// The ways to name a caller.
const (
	BySelf          Grant = 1 << iota // the caller's own ARN: user, root, role session, federated user; or the user's id
	ByRole                            // the role of the session or the user behind a federated one, by ARN or id
	ByAccount                         // the account, as its root ARN or its 12 digits
	ByAnyone                          // "*" or {"AWS": "*"}
	ByService                         // the service
	ByFederated                       // the identity provider
	ByCanonicalUser                   // the canonical id
	ByNotPrincipal                    // not named in a NotPrincipal element
)

// A Result says which statements of one policy match a request. Allowed and
// Denied do not depend on each other.
type Result struct {
	Allowed, Denied bool  // an Allow statement matches; a Deny statement matches
	Grants          Grant // how the matching Allow statements name the caller; 0 without principals
	AllowedBy       int   // index of the first matching Allow statement, or -1
	DeniedBy        int   // index of the first matching Deny statement, or -1
}
