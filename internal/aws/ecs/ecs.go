// Package ecs is Amazon ECS: clusters, task definitions, tasks, and services that keep
// so many tasks running. Tasks run on this machine.
//
//	s := &ecs.Service{DB: db, Roles: roles, Inside: inside, Workloads: host}
//	table := s.AWS()
//	err := s.Start(ctx) // when calls inside are answered
//	defer s.Close()
//
// # Tasks
//
// Each container of a task is a job of package workload: the program of its entry point
// and command, with its environment and the role's credentials. Where the host has an
// engine it is a container of its image, in a network that those of the task share;
// otherwise it is a process, whose programs are those of this machine (containers.go,
// startProgram). A goroutine follows each task from its start to
// its end (agent.go) and keeps in the store what DescribeTasks shows. What ran when the
// server ended, however it ended, is stopped when it starts again, and nothing of it runs on.
//
// # Roles
//
// A task has two roles, both passed to ecs-tasks.amazonaws.com: the task role, whose
// credentials the containers find at 169.254.170.2, and the execution role, with which
// ECS itself fetches what the containers' environment needs. Who names them needs
// iam:PassRole: RegisterTaskDefinition, and again whoever has ECS start tasks of the
// definition, by RunTask, CreateService or UpdateService.
//
// # Services
//
// One goroutine (scheduler.go) looks at the services whenever something that bears on
// them has changed, and starts and stops their tasks.
package ecs

import (
	"context"
	_ "embed"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/ecs/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/servicerole"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/workload"
	"github.com/iamd-dev/iamd/policy"
)

// principal is the service principal that assumes the roles of tasks.
const principal = "ecs-tasks.amazonaws.com"

// A Service is ECS over a store and a machine.
type Service struct {
	DB        *store.DB
	Roles     *servicerole.Roles
	Inside    service.Invoker
	Workloads *workload.Host
	Logs      string           // directory of what containers wrote; "": it is not kept
	Now       func() time.Time // nil: time.Now
	Log       *slog.Logger     // nil: none

	mu      sync.Mutex
	closed  bool
	runs    map[string]*run // tasks that run, by key
	waits   map[string]wait // before a service's next task is started, by the service's key
	stop    context.CancelFunc
	ctx     context.Context // of everything that runs, until Close
	running sync.WaitGroup
	wake    chan struct{} // the scheduler has something to look at
}

//go:embed declined.txt
var declined string

// AWS returns the table of operations.
func (s *Service) AWS() *service.Service {
	tagsNew := func(action string, on service.Resource) service.Clause {
		return service.Also("ecs:TagResource", on, service.When("Tags"), service.Key("ecs:CreateAction", action), service.Tags("Tags"))
	}
	tags := service.Tags("Tags")
	table := service.New(api.Model, declined,
		//                                    on                  and
		service.Handle(s.createCluster, newCluster, tags, tagsNew("CreateCluster", nil),
			service.KeyOf("ecs:capacity-provider", func(c *service.Call, in *api.CreateClusterInput) (policy.Value, bool) {
				return providerARNs(c, in.CapacityProviders)
			})),
		service.Handle(s.describeClusters, clustersIn),
		service.Handle(s.listClusters, service.Any),
		service.Handle(s.updateCluster, cluster[api.UpdateClusterInput]()),
		service.Handle(s.updateClusterSettings, cluster[api.UpdateClusterSettingsInput]()),
		service.Handle(s.deleteCluster, cluster[api.DeleteClusterInput]()),

		service.Handle(s.registerTaskDefinition, newDefinition, tags, tagsNew("RegisterTaskDefinition", nil),
			servicerole.PassedOf(rolesOfNew, principal), privileged, compatibility,
			size("ecs:task-cpu", func(in *api.RegisterTaskDefinitionInput) string { return in.Cpu }),
			size("ecs:task-memory", func(in *api.RegisterTaskDefinitionInput) string { return in.Memory })),
		service.Handle(s.describeTaskDefinition, service.Any),
		service.Handle(s.listTaskDefinitions, service.Any),
		service.Handle(s.listTaskDefinitionFamilies, service.Any),
		service.Handle(s.deregisterTaskDefinition, service.Any),
		service.Handle(s.deleteTaskDefinitions, definitionsIn),

		service.Handle(s.runTask, definition[api.RunTaskInput](), tags, tagsNew("RunTask", tasksOf[api.RunTaskInput]()), clusterKey[api.RunTaskInput](),
			servicerole.PassedOf(rolesOfRun, principal), executeCommand[api.RunTaskInput](),
			service.KeyOf("ecs:capacity-provider", func(c *service.Call, in *api.RunTaskInput) (policy.Value, bool) {
				return strategyARNs(c, in.CapacityProviderStrategy)
			}),
			size("ecs:task-cpu", func(in *api.RunTaskInput) string { return orEmpty(in.Overrides).Cpu }),
			size("ecs:task-memory", func(in *api.RunTaskInput) string { return orEmpty(in.Overrides).Memory })),
		service.Handle(s.stopTask, task[api.StopTaskInput](), clusterKey[api.StopTaskInput]()),
		service.Handle(s.describeTasks, tasksIn, clusterKey[api.DescribeTasksInput]()),
		service.Handle(s.listTasks, instancesOf, clusterKey[api.ListTasksInput]()),

		service.Handle(s.createService, newService, tags, tagsNew("CreateService", nil), clusterKey[api.CreateServiceInput](), definitionKey[api.CreateServiceInput](),
			servicerole.PassedOf(rolesOfCreate, principal), servicerole.PassedOf(roleOfBalancer, "ecs.amazonaws.com"),
			executeCommand[api.CreateServiceInput](), managedTags[api.CreateServiceInput](), service.Key("ecs:propagate-tags", "{PropagateTags}"),
			subnets[api.CreateServiceInput](), publicAddress[api.CreateServiceInput](),
			service.KeyOf("ecs:capacity-provider", func(c *service.Call, in *api.CreateServiceInput) (policy.Value, bool) {
				return strategyARNs(c, in.CapacityProviderStrategy)
			})),
		service.Handle(s.updateService, oneService[api.UpdateServiceInput](), clusterKey[api.UpdateServiceInput](), definitionKey[api.UpdateServiceInput](),
			servicerole.PassedOf(rolesOfUpdate, principal),
			executeCommand[api.UpdateServiceInput](), managedTags[api.UpdateServiceInput](), service.Key("ecs:propagate-tags", "{PropagateTags}"),
			subnets[api.UpdateServiceInput](), publicAddress[api.UpdateServiceInput](),
			service.KeyOf("ecs:capacity-provider", func(c *service.Call, in *api.UpdateServiceInput) (policy.Value, bool) {
				return strategyARNs(c, in.CapacityProviderStrategy)
			})),
		service.Handle(s.deleteService, oneService[api.DeleteServiceInput](), clusterKey[api.DeleteServiceInput]()),
		service.Handle(s.describeServices, servicesIn, clusterKey[api.DescribeServicesInput]()),
		service.Handle(s.listServices, service.Any, clusterKey[api.ListServicesInput]()),

		service.Handle(s.tagResource, service.ARN("{ResourceArn}"), tags),
		service.Handle(s.untagResource, service.ARN("{ResourceArn}"), service.Tags("TagKeys")),
		service.Handle(s.listTagsForResource, service.ARN("{ResourceArn}")),
	)
	table.Object = object
	table.Key = func(_ *service.Call, _ *service.Check, on *service.Object, key string) (policy.Value, bool) {
		if name, ok := strings.CutPrefix(key, "ecs:resourcetag/"); ok && on.Tag != nil {
			v, ok := on.Tag(name)
			return policy.String(v), ok
		}
		return policy.Value{}, false
	}
	return table
}

func (s *Service) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// object is what decisions may know of a resource: its tags.
func object(state *store.Snapshot, _ policy.Action, a arn.ARN) service.Object {
	tags := tagsOf(state, a)
	if tags == nil {
		return service.Object{}
	}
	return service.Tagged(*tags, func(t api.Tag) (string, string) { return t.Key, t.Value })
}
