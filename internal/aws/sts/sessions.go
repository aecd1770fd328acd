package sts

import (
	"context"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/sts/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
)

// What GetSessionToken and GetFederationToken give when no duration is asked for.
const (
	defaultUserSession = 12 * time.Hour
	defaultRootSession = time.Hour
	longestRootSession = time.Hour
)

func (s *Service) getCallerIdentity(ctx context.Context, c *service.Call, in *api.GetCallerIdentityInput) (*api.GetCallerIdentityOutput, error) {
	return &api.GetCallerIdentityOutput{Account: c.Account, Arn: string(c.Caller.ARN), UserId: c.Caller.UserID}, nil
}

// checkGetSessionToken is what AWS says before it looks at an MFA code.
func (s *Service) checkGetSessionToken(c *service.Call, _ *api.GetSessionTokenInput) error {
	if c.Caller.Session != nil {
		return api.AccessDenied("Cannot call GetSessionToken with session credentials")
	}
	return nil
}

func (s *Service) getSessionToken(ctx context.Context, c *service.Call, in *api.GetSessionTokenInput) (*api.GetSessionTokenOutput, error) {
	session := &identity.Session{Type: c.Caller.Type, Account: c.Account, Issued: c.Time.Truncate(time.Second)}
	if !c.MFA.IsZero() {
		session.MFA = session.Issued
	}
	if c.Caller.User != nil {
		session.Principal, session.Name = c.Caller.User.UserId, c.Caller.User.UserName
	}
	session.Expires = session.Issued.Add(duration(c, in.DurationSeconds))
	credentials, err := s.seal(c.State, session)
	if err != nil {
		return nil, err
	}
	return &api.GetSessionTokenOutput{
		Credentials:             credentials,
		SessionTokenSize:        tokenSize(credentials),
		SessionTokenUtilization: utilization(credentials),
	}, nil
}

// checkGetFederationToken is what AWS says of the input before it decides.
func (s *Service) checkGetFederationToken(c *service.Call, in *api.GetFederationTokenInput) error {
	if c.Caller.Session != nil {
		return api.AccessDenied("Cannot call GetFederationToken with session credentials")
	}
	if err := checkSessionPolicies(in.Policy, in.PolicyArns); err != nil {
		return err
	}
	return checkTags(in.Tags)
}

func (s *Service) getFederationToken(ctx context.Context, c *service.Call, in *api.GetFederationTokenInput) (*api.GetFederationTokenOutput, error) {
	session := &identity.Session{Type: identity.FederatedUser, Account: c.Account, Name: in.Name, Issued: c.Time.Truncate(time.Second)}
	if c.Caller.User != nil {
		session.Principal = c.Caller.User.UserId
	}
	session.Expires = session.Issued.Add(duration(c, in.DurationSeconds))
	for _, t := range in.Tags {
		session.Tags = append(session.Tags, identity.SessionTag{Key: t.Key, Value: t.Value})
	}
	if err := s.limit(c.State, session, in.Policy, in.PolicyArns); err != nil {
		return nil, err
	}
	credentials, err := s.seal(c.State, session)
	if err != nil {
		return nil, err
	}
	return &api.GetFederationTokenOutput{
		Credentials: credentials,
		FederatedUser: &api.FederatedUser{
			FederatedUserId: c.Account + ":" + in.Name,
			Arn:             string(arn.New("aws", "sts", "", c.Account, "federated-user/"+in.Name)),
		},
		PackedPolicySize:        packed(session, credentials),
		SessionTokenSize:        tokenSize(credentials),
		SessionTokenUtilization: utilization(credentials),
	}, nil
}

// duration is how long a session of the caller's own lives: the root's is cut to an hour.
func duration(c *service.Call, asked *int32) time.Duration {
	root := c.Caller.Type == identity.RootUser
	switch {
	case asked == nil && root:
		return defaultRootSession
	case asked == nil:
		return defaultUserSession
	}
	d := time.Duration(*asked) * time.Second
	if root {
		return min(d, longestRootSession)
	}
	return d
}

func (s *Service) getAccessKeyInfo(ctx context.Context, c *service.Call, in *api.GetAccessKeyInfoInput) (*api.GetAccessKeyInfoOutput, error) {
	// A key that the operator chose for a root has no account in its id.
	if key := identity.Keys.Get(c.State, in.AccessKeyId); key != nil {
		return &api.GetAccessKeyInfoOutput{Account: key.Account}, nil
	}
	account, ok := identity.AccountOfID(in.AccessKeyId)
	if !ok {
		return nil, api.ValidationError("The access key %s does not name an account", in.AccessKeyId)
	}
	return &api.GetAccessKeyInfoOutput{Account: account}, nil
}

func (s *Service) decodeAuthorizationMessage(ctx context.Context, c *service.Call, in *api.DecodeAuthorizationMessageInput) (*api.DecodeAuthorizationMessageOutput, error) {
	text, err := s.Keyring.OpenMessage(c.State, c.Account, in.EncodedMessage)
	if err != nil {
		return nil, api.InvalidAuthorizationMessage("Message is not valid")
	}
	return &api.DecodeAuthorizationMessageOutput{DecodedMessage: text}, nil
}
