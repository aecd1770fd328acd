package identity

import (
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/store"
)

// A Caller is who makes a call, as authentication found them. The zero value is
// the anonymous caller.
type Caller struct {
	Type        CallerType
	Account     string  // "" when anonymous or a service
	ARN         arn.ARN // as sts:GetCallerIdentity says it; "" when anonymous
	UserID      string  // aws:userid: AIDA..., AROA...:session, 111122223333:name, 111122223333
	AccessKeyID string

	User    *User    // of a user, of their GetSessionToken session, and the one who federated
	Role    *Role    // of a role session
	Session *Session // of temporary credentials
	Service string   // of a service principal: "ec2.amazonaws.com"

	Federation *Federation // of a web identity or SAML user
}

// A CallerType is the kind of a caller, in the words of the aws:PrincipalType key.
type CallerType string

const (
	Anonymous     CallerType = ""
	RootUser      CallerType = "Account"
	IAMUser       CallerType = "User"
	AssumedRole   CallerType = "AssumedRole"
	FederatedUser CallerType = "FederatedUser"
	AWSService    CallerType = "Service"

	// Those who show what an identity provider says of them in place of a signature,
	// in the words of audit records: no policy key names them.
	WebIdentityUser CallerType = "WebIdentityUser"
	SAMLUser        CallerType = "SAMLUser"
)

// Tags returns the tags of the principal: the role's or user's own, over which
// session tags take precedence, without regard to the case of keys.
func (c *Caller) Tags() []api.Tag {
	var own []api.Tag
	switch {
	case c.Role != nil:
		own = c.Role.Tags
	case c.User != nil && c.Type == IAMUser:
		own = c.User.Tags
	}
	if c.Session == nil || len(c.Session.Tags) == 0 {
		return own
	}
	tags := make([]api.Tag, 0, len(own)+len(c.Session.Tags))
	for _, t := range c.Session.Tags {
		tags = append(tags, api.Tag{Key: t.Key, Value: t.Value})
	}
	for _, t := range own {
		if c.Session.Tag(t.Key) == nil {
			tags = append(tags, t)
		}
	}
	return tags
}

// RootCaller is the root user of an account.
func RootCaller(account, accessKeyID string) *Caller {
	return &Caller{Type: RootUser, Account: account, ARN: RootARN(account), UserID: account, AccessKeyID: accessKeyID}
}

// UserCaller is a user with long-term credentials.
func UserCaller(u *User, accessKeyID string) *Caller {
	a := arn.ARN(u.Arn)
	return &Caller{Type: IAMUser, Account: a.Account(), ARN: a, UserID: u.UserId, AccessKeyID: accessKeyID, User: u}
}

// A Federation is what an identity provider, whose word has been verified, says of a
// caller: see packages webidentity and saml.
type Federation struct {
	Provider string  // ARN of the provider, or the domain of one that AWS knows by itself
	Subject  string  // the user's name at the provider
	Audience string  // whom the provider's word is meant for
	Claims   []Claim // what it said, as condition keys

	Tags           []SessionTag // that the session is to have
	SourceIdentity string

	// Of SAML users.
	SessionName   string
	SubjectType   string // "persistent", "transient" or another format of names
	Issuer        string
	NameQualifier string
	Duration      time.Duration // of the session, where the provider says it; otherwise 0
	Until         time.Time     // the session's latest end, where the provider says it
}

// A Claim is a condition key whose value a provider gave, spelt as policies write it:
// "token.actions.githubusercontent.com:sub", "saml:sub".
type Claim struct {
	Key   string
	Value []string
	Many  bool // the key is multivalued, however many values there are
	Lasts bool // sessions keep it
}

// Claimed finds the claim with the key, without regard to case; nil if there is none.
func Claimed(claims []Claim, key string) *Claim {
	for i := range claims {
		if strings.EqualFold(claims[i].Key, key) {
			return &claims[i]
		}
	}
	return nil
}

// Claims returns what an identity provider said of the caller, or of the one who
// assumed the role in whose session the caller is.
func (c *Caller) Claims() []Claim {
	switch {
	case c.Federation != nil:
		return c.Federation.Claims
	case c.Session != nil:
		return c.Session.Claims
	}
	return nil
}

// AssumedRoleARN is the ARN of a role session, which leaves out the role's path.
func AssumedRoleARN(account, role, session string) arn.ARN {
	return arn.ARN("arn:aws:sts::" + account + ":assumed-role/" + role + "/" + session)
}

// SessionCaller is who holds a session now: nil when its role or user is no more.
func SessionCaller(r store.Reader, s *Session) *Caller {
	c := &Caller{Account: s.Account, AccessKeyID: s.AccessKeyID, Session: s}
	switch s.Type {
	case AssumedRole:
		c.Role = RoleByID(r, s.Principal)
		if c.Role == nil {
			return nil
		}
		c.Type = AssumedRole
		c.ARN = AssumedRoleARN(s.Account, c.Role.RoleName, s.Name)
		c.UserID = s.Principal + ":" + s.Name
	case FederatedUser:
		if s.Principal != "" {
			if c.User = UserByID(r, s.Principal); c.User == nil {
				return nil
			}
		}
		c.Type = FederatedUser
		c.ARN = arn.ARN("arn:aws:sts::" + s.Account + ":federated-user/" + s.Name)
		c.UserID = s.Account + ":" + s.Name
	case IAMUser:
		if c.User = UserByID(r, s.Principal); c.User == nil {
			return nil
		}
		c.Type, c.ARN, c.UserID = IAMUser, arn.ARN(c.User.Arn), c.User.UserId
	case RootUser:
		c.Type, c.ARN, c.UserID = RootUser, RootARN(s.Account), s.Account
	default:
		return nil
	}
	return c
}

// A Session is what temporary credentials stand for. It lives in the session
// token and nowhere else.
type Session struct {
	Type           CallerType // AssumedRole, FederatedUser, or IAMUser and RootUser for GetSessionToken
	AccessKeyID    string     // ASIA...
	Account        string
	Principal      string // unique id of the role or user; "" for the root
	Name           string // role session name, or federated user's
	Issued         time.Time
	Expires        time.Time
	Policy         Document  // inline session policy
	PolicyARNs     []arn.ARN // managed session policies
	Tags           []SessionTag
	SourceIdentity string
	MFA            time.Time   // when the caller authenticated with MFA; zero when they did not
	Provider       string      // aws:FederatedProvider
	Chained        bool        // assumed by a role session
	Claims         []Claim     // of the identity provider's, those that last
	AssumedRoot    bool        // of a member account's root user, by AssumeRoot; PolicyARNs is the task
	Delegation     *Delegation // of a product provider, by GetDelegatedAccessToken; nil otherwise
}

// A SessionTag is a session tag; a transitive one goes on to sessions assumed from this one.
type SessionTag struct {
	Key, Value string
	Transitive bool
}

// Tag returns the session tag with the key, without regard to case; nil if there is none.
func (s *Session) Tag(key string) *SessionTag {
	for i := range s.Tags {
		if strings.EqualFold(s.Tags[i].Key, key) {
			return &s.Tags[i]
		}
	}
	return nil
}

// Restricted reports whether session policies limit the session.
func (s *Session) Restricted() bool { return !s.Policy.IsZero() || len(s.PolicyARNs) > 0 }
