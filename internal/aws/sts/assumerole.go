package sts

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/sts/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

const (
	defaultRoleSession = time.Hour
	longestChained     = time.Hour // of a session assumed by a role session
	longestPolicies    = 2048      // characters of all session policies together
	mostPolicyARNs     = 10
)

// checkAssumeRole is what AWS says of the input before it decides.
func (s *Service) checkAssumeRole(c *service.Call, in *api.AssumeRoleInput) error {
	if err := roleARN(in.RoleArn); err != nil {
		return err
	}
	if c.Caller.Type == identity.RootUser {
		return api.AccessDenied("Roles may not be assumed by root accounts.")
	}
	if len(in.ProvidedContexts) > 0 {
		return api.ValidationError("iamd serves no context providers: ProvidedContexts must be empty")
	}
	if err := checkSessionPolicies(in.Policy, in.PolicyArns); err != nil {
		return err
	}
	if err := checkTags(in.Tags); err != nil {
		return err
	}
	for _, key := range in.TransitiveTagKeys {
		if !hasTag(in.Tags, key) {
			return api.InvalidParameterValue("The specified transitive tag key must be included in the requested tags.")
		}
	}
	for _, t := range inherited(c) {
		if hasTag(in.Tags, t.Key) {
			return api.InvalidParameterValue("One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.")
		}
	}
	return nil
}

func (s *Service) assumeRole(ctx context.Context, c *service.Call, in *api.AssumeRoleInput) (*api.AssumeRoleOutput, error) {
	role := identity.RoleByARN(c.State, arn.ARN(in.RoleArn))
	if role == nil { // its trust policy has just allowed it
		return nil, errors.New("the role is gone from the snapshot that it was decided on")
	}
	duration := defaultRoleSession
	chained := c.Caller.Type == identity.AssumedRole
	if in.DurationSeconds != nil {
		duration = time.Duration(*in.DurationSeconds) * time.Second
		switch {
		case duration > time.Duration(role.MaxSessionDuration)*time.Second:
			return nil, api.ValidationError("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
		case chained && duration > longestChained:
			return nil, api.ValidationError("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
		}
	}
	// Neither the caller's MFA nor a code that came with this call is passed on: trust
	// policies ask for it, and "the temporary credentials returned by AssumeRole do not
	// include MFA information in the context" (IAM User Guide, "Secure API access with MFA").
	session := &identity.Session{
		Type:           identity.AssumedRole,
		Account:        arn.ARN(role.Arn).Account(),
		Principal:      role.RoleId,
		Name:           in.RoleSessionName,
		Issued:         c.Time.Truncate(time.Second),
		Tags:           inherited(c),
		SourceIdentity: in.SourceIdentity,
		Chained:        chained,
	}
	session.Expires = session.Issued.Add(duration)
	if key := deliveredFor[c.Caller.Service]; key != "" && c.For != "" {
		session.Claims = []identity.Claim{{Key: key, Value: []string{string(c.For)}, Lasts: true}}
	}
	if from := c.Caller.Session; from != nil {
		if from.SourceIdentity != "" {
			if in.SourceIdentity != "" && in.SourceIdentity != from.SourceIdentity {
				return nil, api.AccessDenied("User: %s is not authorized to perform: sts:SetSourceIdentity on resource: %s", c.Caller.ARN, in.RoleArn)
			}
			session.SourceIdentity = from.SourceIdentity
		}
	}
	for _, t := range in.Tags {
		session.Tags = append(session.Tags, identity.SessionTag{Key: t.Key, Value: t.Value, Transitive: hasKey(in.TransitiveTagKeys, t.Key)})
	}
	if err := s.limit(c.State, session, in.Policy, in.PolicyArns); err != nil {
		return nil, err
	}
	credentials, err := s.seal(c.State, session)
	if err != nil {
		return nil, err
	}
	return &api.AssumeRoleOutput{
		Credentials:             credentials,
		AssumedRoleUser:         assumed(role, session),
		SourceIdentity:          session.SourceIdentity,
		PackedPolicySize:        packed(session, credentials),
		SessionTokenSize:        tokenSize(credentials),
		SessionTokenUtilization: utilization(credentials),
	}, nil
}

// deliveredFor are the keys that credentials have which a service delivers to a workload
// of its own: they say which one (IAM User Guide, "AWS global condition context keys",
// ec2:SourceInstanceArn, lambda:SourceFunctionArn).
var deliveredFor = map[string]string{
	"ec2.amazonaws.com":    "ec2:SourceInstanceArn",
	"lambda.amazonaws.com": "lambda:SourceFunctionArn",
}

// checkSessionPolicies checks the form of what will limit a session.
func checkSessionPolicies(document string, arns []api.PolicyDescriptorType) error {
	if len(arns) > mostPolicyARNs {
		return api.ValidationError("1 validation error detected: Value at 'policyArns' failed to satisfy constraint: Member must have length less than or equal to %d", mostPolicyARNs)
	}
	if n := len([]rune(document)); n > longestPolicies {
		return api.ValidationError("1 validation error detected: Value '%s' at 'policy' failed to satisfy constraint: Member must have length less than or equal to %d", document, longestPolicies)
	}
	if document != "" {
		if _, err := policy.Check([]byte(document), policy.Session); err != nil {
			return api.MalformedPolicyDocument("%s", malformed(err))
		}
	}
	for _, p := range arns {
		a, err := arn.Parse(p.Arn)
		if err != nil || a.Service() != "iam" || !strings.HasPrefix(a.Resource(), "policy/") {
			return api.ValidationError("ARN %s is not valid.", p.Arn)
		}
	}
	return nil
}

func malformed(err error) string {
	var m *policy.Malformed
	if errors.As(err, &m) {
		return m.Text
	}
	return err.Error()
}

// limit puts the session policies on a session. Managed ones must be AWS's or of
// the session's own account; their current default version holds at every call.
func (s *Service) limit(state *store.Snapshot, session *identity.Session, document string, arns []api.PolicyDescriptorType) error {
	size := len([]rune(document))
	session.Policy = identity.NewDocument(document)
	for _, p := range arns {
		a := arn.ARN(p.Arn)
		managed := s.Managed(state, a)
		if managed.IsZero() || (a.Account() != "aws" && a.Account() != session.Account) {
			return api.ValidationError("Policy %s does not exist or is not attachable.", p.Arn)
		}
		size += len(p.Arn)
		session.PolicyARNs = append(session.PolicyARNs, a)
	}
	if size > longestPolicies {
		return api.PackedPolicyTooLarge("Packed policy consumes %d%% of allotted space, please use smaller policy.", size*100/longestPolicies)
	}
	return nil
}

func checkTags(tags []api.Tag) error {
	for i, t := range tags {
		if hasTag(tags[:i], t.Key) {
			return api.InvalidParameterValue("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		if strings.HasPrefix(strings.ToLower(t.Key), "aws:") {
			return api.InvalidParameterValue("Tag keys beginning with 'aws:' are reserved for system use.")
		}
	}
	return nil
}

func hasTag(tags []api.Tag, key string) bool {
	for _, t := range tags {
		if strings.EqualFold(t.Key, key) {
			return true
		}
	}
	return false
}

func hasKey(keys []string, key string) bool {
	for _, k := range keys {
		if strings.EqualFold(k, key) {
			return true
		}
	}
	return false
}

// seal makes the credentials of a session.
func (s *Service) seal(state *store.Snapshot, session *identity.Session) (*api.Credentials, error) {
	sealed, err := s.Keyring.Seal(state, session)
	var large identity.ErrSessionTooLarge
	if errors.As(err, &large) {
		if len(session.Tags) > 0 {
			return nil, api.PackedPolicyTooLarge("Packed size of session tags consumes %d%% of allotted space.", large.Percent)
		}
		return nil, api.PackedPolicyTooLarge("Packed policy consumes %d%% of allotted space, please use smaller policy.", large.Percent)
	}
	if err != nil {
		return nil, err
	}
	return &api.Credentials{
		AccessKeyId:     sealed.AccessKeyID,
		SecretAccessKey: sealed.Secret.Reveal(),
		SessionToken:    sealed.SessionToken,
		Expiration:      sealed.Expires,
	}, nil
}

func tokenSize(c *api.Credentials) int32 { return int32(len(c.SessionToken)) }

// utilization is the share of the largest token that the session takes, in per cent.
func utilization(c *api.Credentials) int32 {
	return int32(max(1, len(c.SessionToken)*100/identity.MaxToken))
}

// packed is that share too, but 0 of a session without policies and tags of its own.
func packed(session *identity.Session, c *api.Credentials) int32 {
	if !session.Restricted() && len(session.Tags) == 0 {
		return 0
	}
	return utilization(c)
}
