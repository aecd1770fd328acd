// Package ssm is AWS Systems Manager: Parameter Store, and commands and sessions on
// managed nodes.
//
//	s := &ssm.Service{DB: db, Keyring: keyring}
//	systemsManager, messages, gateway := s.AWS(), s.Messages(), s.Gateway()
//
// Messages and Gateway are services of their own in AWS, with actions of their own
// (ec2messages, ssmmessages); the agents that call them are Systems Manager's.
//
// # Parameters
//
// A parameter is kept by account, region and name, and each of its versions by itself. A
// parameter of the first level is the same with and without the slash before its name
// ("db" and "/db"); in ARNs the slash is never doubled. SecureString values are sealed by
// the house's vault, each under the name of its version, and what a caller without
// WithDecryption sees is the sealed text.
//
// # Nodes
//
// An instance is a managed node once its agent, with the credentials of the instance's role,
// has called UpdateInstanceInformation, and as long as EC2 has it. What the agent may say
// is about its own instance: the credentials that EC2 delivers tell which that is.
//
// # Commands
//
// SendCommand keeps the command, an Invocation for each node and a Message for each agent.
// Agents wait in GetMessages, acknowledge, reply and delete the message, in AWS's own wire.
// What times out does so when somebody looks: nothing runs in the background.
//
// # Sessions
//
// StartSession tells the node's agent, through its control channel, to open the agent's end
// of a data channel; the client opens the other end with the token that it was given. Both
// are WebSockets, and what travels in them is package agentmessage's: the gate passes it on
// and reads none of it. A session is over when the shell is, when somebody terminates it,
// when its client has said nothing for twenty minutes, or when the server stops.
package ssm

import (
	_ "embed"
	"strconv"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/ssm/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

// A Service is Systems Manager over a store.
type Service struct {
	DB      *store.DB
	Keyring *identity.Keyring // seals SecureString values

	// Instance tells of an instance whether EC2 has it, running or not, and its tags.
	// nil: there are none, and no managed nodes.
	Instance func(*store.Snapshot, arn.ARN) (tags map[string]string, there bool)

	Now func() time.Time // nil: time.Now

	bells bells
	gate  gate
}

//go:embed declined.txt
var declined string

// Tables returns the tables of the store, so that what is in them is checked at start.
func Tables() []store.Checker {
	return []store.Checker{parameters, revisions, nodes, commands, invocations, messages, sessions}
}

// AWS returns the table of operations.
func (s *Service) AWS() *service.Service {
	t := service.New(api.Model, declined,
		//             operation                on             and
		service.Handle(s.putParameter, one(func(in *api.PutParameterInput) string { return in.Name }),
			yes("ssm:Overwrite", func(in *api.PutParameterInput) bool { return is(in.Overwrite) }),
			yes("ssm:Policies", func(in *api.PutParameterInput) bool { return in.Policies != "" }),
			service.Tags("Tags"),
			service.Also("ssm:AddTagsToResource", nil, service.When("Tags"), service.Tags("Tags"))),
		service.Handle(s.getParameter, one(func(in *api.GetParameterInput) string { return in.Name })),
		service.Handle(s.getParameters, each(func(in *api.GetParametersInput) []string { return in.Names })),
		service.Handle(s.getParametersByPath, one(func(in *api.GetParametersByPathInput) string { return in.Path }),
			yes("ssm:Recursive", func(in *api.GetParametersByPathInput) bool { return is(in.Recursive) })),
		service.Handle(s.getParameterHistory, one(func(in *api.GetParameterHistoryInput) string { return in.Name })),
		service.Handle(s.describeParameters, service.Any),
		service.Handle(s.deleteParameter, one(func(in *api.DeleteParameterInput) string { return in.Name })),
		service.Handle(s.deleteParameters, each(func(in *api.DeleteParametersInput) []string { return in.Names })),
		service.Handle(s.labelParameterVersion, one(func(in *api.LabelParameterVersionInput) string { return in.Name })),
		service.Handle(s.unlabelParameterVersion, one(func(in *api.UnlabelParameterVersionInput) string { return in.Name })),

		service.Handle(s.addTagsToResource, tagged(func(in *api.AddTagsToResourceInput) (string, string) { return in.ResourceType, in.ResourceId }),
			service.Tags("Tags")),
		service.Handle(s.removeTagsFromResource, tagged(func(in *api.RemoveTagsFromResourceInput) (string, string) { return in.ResourceType, in.ResourceId }),
			service.Tags("TagKeys")),
		service.Handle(s.listTagsForResource, tagged(func(in *api.ListTagsForResourceInput) (string, string) { return in.ResourceType, in.ResourceId })),

		service.Handle(s.updateInstanceInformation, service.On(func(c *service.Call, in *api.UpdateInstanceInformationInput) []service.Target {
			return []service.Target{{ARN: managedARN(c.Account, c.Region, in.InstanceId)}}
		})),
		service.Handle(s.describeInstanceInformation, service.Any),
		service.Handle(s.sendCommand, service.On(sent)),
		service.Handle(s.cancelCommand, service.Any),
		service.Handle(s.listCommands, service.Any),
		service.Handle(s.listCommandInvocations, service.Any),
		service.Handle(s.getCommandInvocation, service.Any),
		service.Handle(s.startSession, service.On(func(c *service.Call, in *api.StartSessionInput) []service.Target {
			all := []service.Target{{ARN: managedARN(c.Account, c.Region, in.Target)}}
			if in.DocumentName != "" {
				all = append(all, service.Target{ARN: documentARN(c, in.DocumentName), Home: true})
			}
			return all
		})),
		service.Handle(s.resumeSession, onSession(func(in *api.ResumeSessionInput) string { return in.SessionId })),
		service.Handle(s.terminateSession, onSession(func(in *api.TerminateSessionInput) string { return in.SessionId })),
		service.Handle(s.describeSessions, service.Any),
		service.Handle(s.getConnectionStatus, service.On(func(c *service.Call, in *api.GetConnectionStatusInput) []service.Target {
			return []service.Target{{ARN: managedARN(c.Account, c.Region, in.Target)}}
		})),
		service.Handle(s.getDocument, onDocument(func(in *api.GetDocumentInput) string { return in.Name })),
		service.Handle(s.describeDocument, onDocument(func(in *api.DescribeDocumentInput) string { return in.Name })),
		service.Handle(s.listDocuments, service.Any),
	)
	t.Object, t.Key = s.object, key
	return t
}

func (s *Service) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// is reads an optional boolean of an input: absent is false.
func is(b *bool) bool { return b != nil && *b }

// yes is a condition key that is "true" or "false" and always there.
func yes[In any](name string, f func(*In) bool) service.Clause {
	return service.KeyOf(name, func(_ *service.Call, in *In) (policy.Value, bool) {
		return policy.String(strconv.FormatBool(f(in))), true
	})
}

// one is the parameter that a call names.
func one[In any](name func(*In) string) service.Resource {
	return service.On(func(c *service.Call, in *In) []service.Target {
		return []service.Target{{ARN: locate(c, name(in)).arn()}}
	})
}

// each is one for the calls that name several: the caller must be allowed all.
func each[In any](names func(*In) []string) service.Resource {
	return service.On(func(c *service.Call, in *In) []service.Target {
		var all []service.Target
		for _, name := range names(in) {
			all = append(all, service.Target{ARN: locate(c, name).arn()})
		}
		return all
	})
}

// kinds are the resources by the type that calls about tags name.
var kinds = map[string]string{
	"Association": "association", "Automation": "automation-execution", "Document": "document", "MaintenanceWindow": "maintenancewindow",
	"ManagedInstance": "managed-instance", "OpsItem": "opsitem", "OpsMetadata": "opsmetadata", "PatchBaseline": "patchbaseline",
}

// tagged is the resource whose tags a call is about.
func tagged[In any](of func(*In) (kind, id string)) service.Resource {
	return service.On(func(c *service.Call, in *In) []service.Target {
		kind, id := of(in)
		if kind == "Parameter" {
			return []service.Target{{ARN: locate(c, id).arn()}}
		}
		return []service.Target{{ARN: arn.New("aws", "ssm", c.Region, c.Account, kinds[kind]+"/"+id)}}
	})
}

// tagless are the actions on parameters that are not decided by the parameter's tags
// (Service Authorization Reference, "AWS Systems Manager").
var tagless = map[policy.Action]bool{"ssm:PutParameter": true, "ssm:GetParametersByPath": true}

// object is what authorisation may know of a resource.
func (s *Service) object(state *store.Snapshot, action policy.Action, a arn.ARN) service.Object {
	if id, ok := strings.CutPrefix(a.Resource(), "session/"); ok {
		if session := sessions.Get(state, a.Account()+"/"+a.Region()+"/"+id); session != nil {
			return service.Object{Tag: session.tag, TagKeys: []string{"aws:ssmmessages:session-id", "aws:ssmmessages:target-id"}}
		}
	}
	if !strings.HasPrefix(a.Resource(), "parameter/") || tagless[action] {
		return service.Object{}
	}
	p := parameters.Get(state, ofARN(a).key())
	if p == nil {
		return service.Object{}
	}
	return service.Tagged(p.Tags, func(t api.Tag) (string, string) { return t.Key, t.Value })
}

const resourceTag = "ssm:resourcetag/"

// key gives ssm:resourceTag/KEY, the service's own name of aws:ResourceTag/KEY, and
// ssm:SourceInstanceARN, that of what EC2's credentials say.
func key(c *service.Call, _ *service.Check, on *service.Object, key string) (policy.Value, bool) {
	if key == "ssm:sourceinstancearn" {
		own := identity.Claimed(c.Caller.Claims(), sourceInstance)
		if own == nil || len(own.Value) != 1 {
			return policy.Value{}, false
		}
		return policy.String(own.Value[0]), true
	}
	name, ok := strings.CutPrefix(key, resourceTag)
	if !ok || on.Tag == nil {
		return policy.Value{}, false
	}
	v, ok := on.Tag(name)
	return policy.String(v), ok
}
