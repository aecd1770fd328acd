// Package servicerole is how services use the roles that are passed to them (IAM User
// Guide, "Grant a user permissions to pass a role to an AWS service"). Three permissions
// make a workload act as a role, and two of them are here:
//
//   - that who gives the role to the service may pass it: Passed, a clause of the
//     operation's row, asks for iam:PassRole with iam:PassedToService;
//   - that the role trusts the service: Assume has the service principal call
//     sts:AssumeRole, decided by the role's trust policy with aws:SourceArn and
//     aws:SourceAccount, and recorded.
//
// The third, that the caller may call the operation, is the row itself.
//
//	service.Handle(s.createFunction, function, servicerole.Passed("Role", "lambda.amazonaws.com")),
//	...
//	session, err := roles.Assume(ctx, servicerole.Use{Role: role, Service: "lambda.amazonaws.com", Session: name, For: functionARN})
//
// A session is used in two ways: its credentials go to a workload (Provider renews them),
// or the service itself acts with them (Call).
package servicerole

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/iamd-dev/iamd/arn"
	sts "github.com/iamd-dev/iamd/internal/aws/sts/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// Roles are the roles of all accounts, as services use them.
type Roles struct {
	Invoker service.Invoker
	DB      *store.DB
	Keyring *identity.Keyring
	Now     func() time.Time // nil: time.Now
	// Duration is that of the sessions of uses that say none; 0: an hour. Tests have short ones.
	Duration time.Duration
}

// A Use says which role is used by which service, and for what.
type Use struct {
	Role     arn.ARN
	Service  string        // the service principal: "lambda.amazonaws.com"
	Session  string        // the role session name; one that is too long is cut
	For      arn.ARN       // the resource for which the service acts: aws:SourceArn, and its account aws:SourceAccount
	Region   string        // where the service acts
	Duration time.Duration // of a session; 0: that of Roles
	Policy   string        // of a session, which limits what it may do; "": none
	Parent   string        // request id of the call that led to it; "": none did
}

// Credentials are those of a session.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey identity.Secret
	SessionToken    identity.Secret
	Issued, Expires time.Time
	Role            arn.ARN
}

// A Session is a role in the hands of a service.
type Session struct {
	Credentials
	Caller *identity.Caller
	use    Use
}

// Assume has the service assume the role. Its error, where the role does not trust the
// service or is not there, is the *wire.Error of sts:AssumeRole, to which services give
// words of their own.
func (r *Roles) Assume(ctx context.Context, u Use) (*Session, error) {
	in := &sts.AssumeRoleInput{RoleArn: string(u.Role), RoleSessionName: sessionName(u.Session), Policy: u.Policy}
	if d := cmp.Or(u.Duration, r.Duration); d != 0 {
		seconds := int32(d / time.Second)
		in.DurationSeconds = &seconds
	}
	out, err := service.Invoke[sts.AssumeRoleOutput](ctx, r.Invoker, &service.Call{
		Caller: &identity.Caller{Type: identity.AWSService, Service: u.Service},
		Region: u.Region,
		For:    u.For,
		Parent: u.Parent,
	}, "sts", in)
	if err != nil {
		return nil, err
	}
	return r.session(out, u)
}

// Chain has the role of a session assume another one, as a pipeline's role assumes that of
// an action: what the first may do and whom the second trusts decide. The policy is the
// session policy, if not "". Its error is Assume's.
func (r *Roles) Chain(ctx context.Context, s *Session, role arn.ARN, name, policy string) (*Session, error) {
	u := s.use
	u.Role, u.Session, u.Policy = role, name, policy
	out, err := service.Invoke[sts.AssumeRoleOutput](ctx, r.Invoker, r.Call(s, u.Region, u.Parent), "sts",
		&sts.AssumeRoleInput{RoleArn: string(role), RoleSessionName: sessionName(name), Policy: policy})
	if err != nil {
		return nil, err
	}
	return r.session(out, u)
}

// session opens what AssumeRole answered.
func (r *Roles) session(out *sts.AssumeRoleOutput, u Use) (*Session, error) {
	issued := r.now()
	token := out.Credentials.SessionToken
	caller, secret, err := r.Keyring.Caller(r.DB.View(), out.Credentials.AccessKeyId, token, issued)
	if err != nil {
		return nil, err
	}
	return &Session{
		Credentials: Credentials{
			AccessKeyID:     out.Credentials.AccessKeyId,
			SecretAccessKey: secret,
			SessionToken:    identity.NewSecret(token),
			Issued:          issued,
			Expires:         out.Credentials.Expiration,
			Role:            u.Role,
		},
		Caller: caller,
		use:    u,
	}, nil
}

// sessionName is a name as a session may have: a function may be called "f", or more than a session.
func sessionName(name string) string {
	if len(name) == 1 {
		return name + "_"
	}
	return name[:min(len(name), 64)]
}

func (r *Roles) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

// Call is the call that the service makes with the session's permissions, as the role.
// parent is the request id of the call for which it does; "" where none led to it.
func (r *Roles) Call(s *Session, region, parent string) *service.Call {
	return &service.Call{Account: s.Caller.Account, Caller: s.Caller, Region: region, Via: nil, Parent: parent}
}

// renewBefore is how long before their end credentials are renewed, or half of their
// life if that is shorter: SDKs ask for new ones a few minutes before the end.
const renewBefore = 15 * time.Minute

// A Provider has the credentials of a use, for a workload that goes on for longer than a
// session. Its methods may be called from many goroutines.
type Provider struct {
	roles *Roles
	use   Use

	mu      sync.Mutex // held while the role is assumed: who waits wants what comes of it
	session *Session
}

// Provider returns a provider of the use.
func (r *Roles) Provider(u Use) *Provider { return &Provider{roles: r, use: u} }

// Session returns a session that lasts for some time yet. The error is that of Assume,
// where the role is no more or no longer trusts the service when a session is to be renewed.
func (p *Provider) Session(ctx context.Context) (*Session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.session; s != nil {
		left := s.Expires.Sub(p.roles.now())
		if left > min(renewBefore, s.Expires.Sub(s.Issued)/2) && identity.SessionCaller(p.roles.DB.View(), s.Caller.Session) != nil {
			return s, nil
		}
	}
	p.session = nil
	s, err := p.roles.Assume(ctx, p.use)
	if err != nil {
		return nil, err
	}
	p.session = s
	return s, nil
}

// Credentials returns those of Session.
func (p *Provider) Credentials(ctx context.Context) (*Credentials, error) {
	s, err := p.Session(ctx)
	if err != nil {
		return nil, err
	}
	return &s.Credentials, nil
}

// Passed is the clause that asks for iam:PassRole on the role whose ARN is in a field of
// the input, or in "Field.Field", where it is there.
func Passed(field, principal string, more ...service.Clause) service.Clause {
	clauses := append([]service.Clause{service.When(field), service.Key("iam:PassedToService", principal)}, more...)
	return service.Also("iam:PassRole", service.ARN("{"+field+"}"), clauses...)
}

// PassedOf is Passed for roles that a function finds in the input; none: nothing is asked.
func PassedOf[In any](roles func(*service.Call, *In) []arn.ARN, principal string, more ...service.Clause) service.Clause {
	targets := service.On(func(c *service.Call, in *In) []service.Target {
		var all []service.Target
		for _, role := range roles(c, in) {
			all = append(all, service.Target{ARN: role})
		}
		return all
	})
	return service.Also("iam:PassRole", targets, append([]service.Clause{service.Key("iam:PassedToService", principal)}, more...)...)
}
