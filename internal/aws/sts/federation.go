package sts

import (
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/sts/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

// What web identity and SAML users have in common: the word of an identity provider
// stands for a signature, and the role's trust policy alone decides.

// federated are the clauses of a row whose caller an identity provider vouches for.
// What the provider says of the session needs its own permissions, as in AssumeRole.
func federated[In any](clauses ...service.Clause) []service.Clause {
	tags := service.TagsOf(func(c *service.Call, _ *In) []service.KeyValue {
		var tags []service.KeyValue
		for _, t := range said(c).Tags {
			tags = append(tags, service.KeyValue{Key: t.Key, Value: t.Value})
		}
		return tags
	})
	transitive := service.KeyOf("sts:TransitiveTagKeys", func(c *service.Call, _ *In) (policy.Value, bool) {
		var keys []string
		for _, t := range said(c).Tags {
			if t.Transitive {
				keys = append(keys, t.Key)
			}
		}
		return policy.List(keys), len(keys) > 0
	})
	source := service.KeyOf("sts:SourceIdentity", func(c *service.Call, _ *In) (policy.Value, bool) {
		return policy.String(said(c).SourceIdentity), said(c).SourceIdentity != ""
	})
	return append(clauses, service.Bare, source, transitive, tags,
		service.Also("sts:TagSession", nil, service.Bare, transitive, tags,
			service.If(func(c *service.Call, _ *In) bool { return len(said(c).Tags) > 0 })),
		service.Also("sts:SetSourceIdentity", nil, service.Bare, source,
			service.If(func(c *service.Call, _ *In) bool { return said(c).SourceIdentity != "" })))
}

// said is what the caller's provider says; nothing before the caller is known.
func said(c *service.Call) *identity.Federation {
	if c.Caller.Federation != nil {
		return c.Caller.Federation
	}
	return &identity.Federation{}
}

// roleARN checks the form of a role's ARN.
func roleARN(text string) error {
	a, err := arn.Parse(text)
	if err != nil || a.Service() != "iam" || !identity.ValidAccount(a.Account()) || !strings.HasPrefix(a.Resource(), "role/") {
		return api.ValidationError("%s is invalid", text)
	}
	return nil
}

// trusts reports whether a statement of the role's trust policy allows something to
// a provider for which known is true. Who it is that comes, and whether the statement
// is for them, is decided later; without such a statement nobody is asked about keys.
func trusts(role *identity.Role, known func(provider string) bool) bool {
	for _, s := range role.Trust.Policy().Statements {
		for _, name := range s.Principal {
			if s.Effect == "Allow" && name.Kind == "Federated" && known(name.Value) {
				return true
			}
		}
	}
	return false
}

// checkSaid checks what a provider says of the session, in the terms of AssumeRole.
func checkSaid(f *identity.Federation) error {
	if len(f.Tags) > mostTags {
		return api.InvalidIdentityToken("There are more than %d session tags.", mostTags)
	}
	tags := make([]api.Tag, 0, len(f.Tags))
	for _, t := range f.Tags {
		if !validTag(t) {
			return api.InvalidIdentityToken("The session tag %q is not valid.", t.Key)
		}
		tags = append(tags, api.Tag{Key: t.Key, Value: t.Value})
	}
	return checkTags(tags)
}

const mostTags = 50

func validTag(t identity.SessionTag) bool {
	key, value := len([]rune(t.Key)), len([]rune(t.Value))
	return key >= 1 && key <= 128 && value <= 256 && tagText.MatchString(t.Key) && tagText.MatchString(t.Value)
}

var (
	tagText            = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)
	sourceIdentityText = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
)

func validSourceIdentity(s string) bool {
	return sourceIdentityText.MatchString(s) && !strings.HasPrefix(strings.ToLower(s), "aws:")
}

func badSourceIdentity() error {
	return api.InvalidIdentityToken(`Source Identity must match [a-zA-Z_0-9+=,.@-]{2,64} and not begin with "aws:"`)
}

// sessionTags makes session tags of what a provider says.
func sessionTags(keys []string, value func(key string) string, transitive []string) ([]identity.SessionTag, error) {
	var tags []identity.SessionTag
	for _, key := range keys {
		tags = append(tags, identity.SessionTag{Key: key, Value: value(key), Transitive: hasKey(transitive, key)})
	}
	for _, key := range transitive {
		if !hasKey(keys, key) {
			return nil, api.InvalidParameterValue("The specified transitive tag key must be included in the requested tags.")
		}
	}
	return tags, nil
}

// federatedSession makes the session that a provider's word gives, and its credentials.
func (s *Service) federatedSession(c *service.Call, roleArn, name string, asked *int32, document string, arns []api.PolicyDescriptorType) (*identity.Session, *identity.Role, *api.Credentials, error) {
	role := identity.RoleByARN(c.State, arn.ARN(roleArn))
	if role == nil { // its trust policy has just allowed it
		return nil, nil, nil, errors.New("the role is gone from the snapshot that it was decided on")
	}
	f := said(c)
	duration := defaultRoleSession
	if f.Duration > 0 {
		duration = f.Duration
	}
	if asked != nil {
		duration = time.Duration(*asked) * time.Second
	}
	if duration > time.Duration(role.MaxSessionDuration)*time.Second {
		return nil, nil, nil, errTooLong
	}
	session := &identity.Session{
		Type:           identity.AssumedRole,
		Account:        arn.ARN(role.Arn).Account(),
		Principal:      role.RoleId,
		Name:           name,
		Issued:         c.Time.Truncate(time.Second),
		Tags:           f.Tags,
		SourceIdentity: f.SourceIdentity,
		Provider:       f.Provider,
	}
	for _, claim := range f.Claims {
		if claim.Lasts {
			session.Claims = append(session.Claims, claim)
		}
	}
	session.Expires = session.Issued.Add(duration)
	if !f.Until.IsZero() && f.Until.Before(session.Expires) {
		session.Expires = f.Until
	}
	if err := s.limit(c.State, session, document, arns); err != nil {
		return nil, nil, nil, err
	}
	credentials, err := s.seal(c.State, session)
	return session, role, credentials, err
}

var errTooLong = errors.New("the session would be longer than the role allows")

func assumed(role *identity.Role, session *identity.Session) *api.AssumedRoleUser {
	return &api.AssumedRoleUser{
		AssumedRoleId: role.RoleId + ":" + session.Name,
		Arn:           string(identity.AssumedRoleARN(session.Account, role.RoleName, session.Name)),
	}
}

// account is the account of a role's ARN.
func account(roleArn string) string { return arn.ARN(roleArn).Account() }

// exists reports whether a provider of the account that a trust policy may name exists.
func exists(r store.Reader, roleArn string) func(provider string) bool {
	return func(provider string) bool {
		a := arn.ARN(provider)
		return builtIn[provider] != "" || a.Account() == account(roleArn) && identity.OIDCProviderByARN(r, a) != nil
	}
}
