// Package cloudformation is AWS CloudFormation: stacks of resources that are made, changed
// and deleted as templates say.
//
//	s := &cloudformation.Service{DB: db, Keyring: keyring, Invoker: inside, Roles: roles, Log: log}
//	table := s.AWS()
//	...
//	s.Start() // when calls can be made inside
//	defer s.Close()
//
// The language of templates is package template's. Resource types are one table, in
// kinds.go: each says which calls make, change and delete a resource, and of what
// properties their inputs are made.
//
// # Who acts
//
// A stack with a role acts as that role, which CloudFormation assumes (iam:PassRole is
// asked when it is named, and it stays with the stack: later callers use it without). A
// stack without acts with its caller's access, forwarded: the policies that decide see
// aws:CalledVia and aws:ViaAWSService, and the caller's permissions are those at the time
// of each call. Every call is made through service.Invoker, so that it is authorised and
// recorded like any other; what is refused stands in the stack's events.
//
// # Work
//
// What changes a stack goes on in the background, one resource after the other, and
// every step is in the store before and after it is made: see working.go. A server that was
// stopped at any moment goes on where it was.
//
// # What is kept
//
// Templates, parameters, properties and outputs may hold secrets and are sealed with the
// server's key; the API shows parameters with NoEcho as "****". A stack that was deleted is
// found by its ARN for ninety days.
package cloudformation

import (
	"context"
	_ "embed"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/cloudformation/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/servicerole"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
	"github.com/iamd-dev/iamd/policy"
)

// principal is CloudFormation as a service principal.
const principal = "cloudformation.amazonaws.com"

// A Service is CloudFormation over a store.
type Service struct {
	DB      *store.DB
	Keyring *identity.Keyring // seals what is kept
	Invoker service.Invoker   // makes the calls
	Roles   *servicerole.Roles
	Log     *slog.Logger     // nil: nothing is logged
	Now     func() time.Time // nil: time.Now

	kinds map[string]*kind

	ctx     context.Context // ends when the server stops
	stop    context.CancelFunc
	working sync.WaitGroup
	mu      sync.Mutex // guards closed
	closed  bool
}

//go:embed declined.txt
var declined string

// AWS returns the table of operations.
func (s *Service) AWS() *service.Service {
	s.kinds = kinds()
	s.ctx, s.stop = context.WithCancel(context.Background())
	table := service.New(api.Model, declined,
		//                                on        and
		service.Handle(s.createStack, newStack, pass, templateURL, policyURL, role, service.Tags("Tags"),
			types(func(in *api.CreateStackInput) []string { return in.ResourceTypes })),
		service.Handle(s.updateStack, stackNamed, pass, templateURL, policyURL, role, service.Tags("Tags"),
			types(func(in *api.UpdateStackInput) []string { return in.ResourceTypes })),
		service.Handle(s.deleteStack, stackNamed, pass, role),
		service.Handle(s.cancelUpdateStack, stackNamed),
		service.Handle(s.continueUpdateRollback, stackNamed, pass, role),
		service.Handle(s.rollbackStack, stackNamed, pass, role),
		service.Handle(s.updateTerminationProtection, stackNamed),
		service.Handle(s.setStackPolicy, stackNamed, policyURL),
		service.Handle(s.getStackPolicy, stackNamed),
		service.Handle(s.describeStacks, stackNamed),
		service.Handle(s.listStacks, service.Any),
		service.Handle(s.describeStackEvents, stackNamed),
		service.Handle(s.describeStackResource, stackNamed),
		service.Handle(s.describeStackResources, stackNamed),
		service.Handle(s.listStackResources, stackNamed),
		service.Handle(s.getTemplate, stackNamed),
		service.Handle(s.getTemplateSummary, stackNamed, templateURL),
		service.Handle(s.validateTemplate, service.Any, templateURL),
		service.Handle(s.createChangeSet, newStack, pass, templateURL, changeSetName, role, service.Tags("Tags"),
			types(func(in *api.CreateChangeSetInput) []string { return in.ResourceTypes })),
		service.Handle(s.describeChangeSet, stackOfChangeSet, changeSetName),
		service.Handle(s.executeChangeSet, stackOfChangeSet, changeSetName),
		service.Handle(s.deleteChangeSet, stackOfChangeSet, changeSetName),
		service.Handle(s.listChangeSets, stackNamed),
		service.Handle(s.listExports, service.Any),
		service.Handle(s.listImports, service.Any),
		service.Handle(s.describeAccountLimits, service.Any),
	)
	table.Object = object
	return table
}

var (
	pass          = servicerole.Passed("RoleARN", principal)
	role          = service.Key("cloudformation:RoleArn", "{RoleARN}")
	policyURL     = service.Key("cloudformation:StackPolicyUrl", "{StackPolicyURL}")
	templateURL   = service.Key("cloudformation:TemplateUrl", "{TemplateURL}")
	changeSetName = service.Key("cloudformation:ChangeSetName", "{ChangeSetName}")
)

// noUpdates is the refusal of an update that changes nothing, which clients know by its words.
const noUpdates = "No updates are to be performed."

func invalid(format string, args ...any) *wire.Error {
	return wire.Errorf(400, "ValidationError", format, args...)
}

func (s *Service) now() time.Time {
	if s.Now != nil {
		return s.Now().UTC().Truncate(time.Millisecond)
	}
	return time.Now().UTC().Truncate(time.Millisecond)
}

func (s *Service) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

func arnOf(st *stack) arn.ARN { return arn.ARN(st.ID) }

// stackARN is what a call about a stack is authorised on: its ARN, or where there is none
// of that name, the ARN of all that would have it.
func stackARN(c *service.Call, name string) arn.ARN {
	if name == "" {
		name = "*"
	}
	if strings.HasPrefix(name, "arn:") {
		return arn.ARN(name)
	}
	if st := find(c.State, c, name); st != nil {
		return arn.ARN(st.ID)
	}
	return arn.New("aws", "cloudformation", c.Region, c.Account, "stack/"+name+"/*")
}

// object is a stack as authorisation sees it.
func object(r *store.Snapshot, _ policy.Action, a arn.ARN) service.Object {
	st := stacks.Get(r, stackKey(string(a)))
	if st == nil || st.ID != string(a) {
		return service.Object{}
	}
	return service.Tagged(st.Tags, func(t api.Tag) (string, string) { return t.Key, t.Value })
}
