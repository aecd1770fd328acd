package sts

import (
	"context"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/sts/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/policy"
)

// The tasks for which AssumeRoot gives a session, and the feature of centralised root
// access that each is a part of (IAM User Guide, "Perform a privileged task on an AWS
// Organizations member account").
var tasks = map[arn.ARN]func(*identity.Organization) bool{
	"arn:aws:iam::aws:policy/root-task/IAMAuditRootUserCredentials":  credentials,
	"arn:aws:iam::aws:policy/root-task/IAMCreateRootUserPassword":    credentials,
	"arn:aws:iam::aws:policy/root-task/IAMDeleteRootUserCredentials": credentials,
	"arn:aws:iam::aws:policy/root-task/S3UnlockBucketPolicy":         sessions,
	"arn:aws:iam::aws:policy/root-task/SQSUnlockQueuePolicy":         sessions,
}

func credentials(o *identity.Organization) bool { return o.RootCredentials }
func sessions(o *identity.Organization) bool    { return o.RootSessions }

const longestTask = 15 * time.Minute

// rootOf is the root user of the account that the input names, by its id or by its
// root's ARN. That it is another account's makes this no call across accounts: which
// accounts are one's own to enter is the organisation's to say, below.
var rootOf = service.On(func(_ *service.Call, in *api.AssumeRootInput) []service.Target {
	return []service.Target{{ARN: identity.RootARN(targetAccount(in.TargetPrincipal)), Home: true}}
})

func targetAccount(principal string) string {
	if a := arn.ARN(principal); a.Service() == "iam" && a.Resource() == "root" {
		return a.Account()
	}
	return principal
}

func taskPolicyARN(_ *service.Call, in *api.AssumeRootInput) (policy.Value, bool) {
	return policy.String(in.TaskPolicyArn.Arn), true
}

// checkAssumeRoot is what AWS says of the input before it decides.
func (s *Service) checkAssumeRoot(_ *service.Call, in *api.AssumeRootInput) error {
	if !identity.ValidAccount(targetAccount(in.TargetPrincipal)) {
		return api.ValidationError("%s is invalid", in.TargetPrincipal)
	}
	if tasks[arn.ARN(in.TaskPolicyArn.Arn)] == nil {
		return api.ValidationError("Policy %s is not a task policy.", in.TaskPolicyArn.Arn)
	}
	return nil
}

// assumeRoot gives a session as the root user of a member account, for one task. The
// caller is of the management account or of a delegated administrator for IAM, and no
// root user; whatever is not so, the refusal is one.
func (s *Service) assumeRoot(_ context.Context, c *service.Call, in *api.AssumeRootInput) (*api.AssumeRootOutput, error) {
	target := targetAccount(in.TargetPrincipal)
	o, _ := identity.OrganizationOf(c.State, c.Account)
	theirs, account := identity.OrganizationOf(c.State, target)
	switch {
	case c.Caller.Type == identity.RootUser,
		o == nil || theirs == nil || o.ID != theirs.ID,
		!o.ManagesRoots(c.Account),
		target == o.Management || !account.Closed.IsZero(),
		!tasks[arn.ARN(in.TaskPolicyArn.Arn)](o):
		return nil, api.AccessDenied("User: %s is not authorized to perform: sts:AssumeRoot on resource: %s", c.Caller.ARN, identity.RootARN(target))
	}
	duration := longestTask
	if in.DurationSeconds != nil {
		duration = time.Duration(*in.DurationSeconds) * time.Second
	}
	session := &identity.Session{
		Type: identity.RootUser, Account: target, AssumedRoot: true,
		PolicyARNs: []arn.ARN{arn.ARN(in.TaskPolicyArn.Arn)},
		Issued:     c.Time.Truncate(time.Second),
	}
	session.Expires = session.Issued.Add(duration)
	if from := c.Caller.Session; from != nil {
		session.SourceIdentity, session.Chained = from.SourceIdentity, true
	}
	made, err := s.seal(c.State, session)
	if err != nil {
		return nil, err
	}
	return &api.AssumeRootOutput{
		Credentials: made, SourceIdentity: session.SourceIdentity,
		SessionTokenSize: tokenSize(made), SessionTokenUtilization: utilization(made),
	}, nil
}
