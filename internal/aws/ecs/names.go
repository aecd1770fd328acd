package ecs

import (
	"cmp"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/ecs/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

// Callers name things by ARN or by a short name that the cluster, the account and the
// region complete. An operation is decided on the ARN and finds the thing by the same
// ARN, so that nothing is reached by another name than the one decided on.

// defaultCluster is the cluster of calls that name none.
const defaultCluster = "default"

func makeARN(c *service.Call, resource string) arn.ARN {
	return arn.ARN("arn:aws:ecs:" + c.Region + ":" + c.Account + ":" + resource)
}

func isARN(name string) bool { return strings.HasPrefix(name, "arn:") }

// clusterARN is the ARN of the cluster that a call names.
func clusterARN(c *service.Call, name string) arn.ARN {
	if isARN(name) {
		return arn.ARN(name)
	}
	return makeARN(c, "cluster/"+cmp.Or(name, defaultCluster))
}

// clusterName is the name in a cluster's ARN.
func clusterName(a arn.ARN) string { return strings.TrimPrefix(a.Resource(), "cluster/") }

// within is the ARN of a task or service (kind) of a cluster.
func within(c *service.Call, kind, cluster, name string) arn.ARN {
	if isARN(name) {
		return arn.ARN(name)
	}
	return makeARN(c, kind+"/"+clusterName(clusterARN(c, cluster))+"/"+name)
}

// definitionARN is the ARN of the task definition that a call names: FAMILY:REVISION, or
// the family alone, which is its latest active revision.
func definitionARN(c *service.Call, name string) arn.ARN {
	if isARN(name) {
		a := arn.ARN(name)
		family := strings.TrimPrefix(a.Resource(), "task-definition/")
		if strings.Contains(family, ":") {
			return a
		}
		return a + arn.ARN(":"+latest(c.State, key(a, family)))
	}
	a := makeARN(c, "task-definition/"+name)
	if strings.Contains(name, ":") {
		return a
	}
	return a + arn.ARN(":"+latest(c.State, key(a, name)))
}

// latest is the latest active revision of a family; "*" where there is none, which names nothing.
func latest(r store.Reader, family string) string {
	last := "*"
	for _, d := range definitions.All(r, family+"/") {
		if d.Status == active {
			last = strconv.Itoa(int(d.Revision))
		}
	}
	return last
}

// key is where something of the account and region of an ARN is kept.
func key(a arn.ARN, name string) string { return a.Account() + "/" + a.Region() + "/" + name }

// keyOf is where the resource of an ARN is kept, in the table of its kind.
func keyOf(a arn.ARN) (kind, k string) {
	kind, name, _ := strings.Cut(a.Resource(), "/")
	if kind == "task-definition" {
		family, revision, _ := strings.Cut(name, ":")
		n, err := strconv.ParseInt(revision, 10, 32)
		if err != nil || n < 1 {
			return kind, key(a, family+"/none")
		}
		return kind, key(a, definitionName(family, int32(n)))
	}
	return kind, key(a, name)
}

func definitionName(family string, revision int32) string {
	return fmt.Sprintf("%s/%010d", family, revision)
}

// here tells whether an ARN is of the caller's account and region, where the call looks.
func here(c *service.Call, a arn.ARN, kind string) bool {
	return a.Service() == "ecs" && a.Account() == c.Account && a.Region() == c.Region && strings.HasPrefix(a.Resource(), kind+"/")
}

// goodName is the form of the names that callers give to what they make.
var goodName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,255}$`)

// text reads a text field of an input. One that is not there is a mistake in the table.
func text[In any](field string) func(*In) string {
	f, ok := reflect.TypeFor[In]().FieldByName(field)
	if !ok || f.Type.Kind() != reflect.String {
		panic("ecs: " + reflect.TypeFor[In]().Name() + " has no text " + field)
	}
	return func(in *In) string { return reflect.ValueOf(in).Elem().FieldByIndex(f.Index).String() }
}

// value reads a field of any type.
func value[In, T any](field string) func(*In) T {
	f, ok := reflect.TypeFor[In]().FieldByName(field)
	if !ok || f.Type != reflect.TypeFor[T]() {
		panic("ecs: " + reflect.TypeFor[In]().Name() + " has no such " + field)
	}
	return func(in *In) T { return reflect.ValueOf(in).Elem().FieldByIndex(f.Index).Interface().(T) }
}

// Resources.

func one(a arn.ARN) []service.Target { return []service.Target{{ARN: a}} }

func cluster[In any]() service.Resource {
	get := text[In]("Cluster")
	return service.On(func(c *service.Call, in *In) []service.Target { return one(clusterARN(c, get(in))) })
}

var newCluster = service.On(func(c *service.Call, in *api.CreateClusterInput) []service.Target {
	return []service.Target{{ARN: clusterARN(c, in.ClusterName), New: true}}
})

var clustersIn = service.On(func(c *service.Call, in *api.DescribeClustersInput) []service.Target {
	if len(in.Clusters) == 0 {
		return one(clusterARN(c, ""))
	}
	var all []service.Target
	for _, name := range in.Clusters {
		all = append(all, service.Target{ARN: clusterARN(c, name)})
	}
	return all
})

// newDefinition is decided before its revision is known.
var newDefinition = service.On(func(c *service.Call, in *api.RegisterTaskDefinitionInput) []service.Target {
	return []service.Target{{ARN: makeARN(c, "task-definition/"+in.Family+":*"), New: true}}
})

var definitionsIn = service.On(func(c *service.Call, in *api.DeleteTaskDefinitionsInput) []service.Target {
	var all []service.Target
	for _, name := range in.TaskDefinitions {
		all = append(all, service.Target{ARN: definitionARN(c, name)})
	}
	return all
})

func definition[In any]() service.Resource {
	get := text[In]("TaskDefinition")
	return service.On(func(c *service.Call, in *In) []service.Target { return one(definitionARN(c, get(in))) })
}

// tasksOf are tasks that are to be made in a cluster, and have no ids yet.
func tasksOf[In any]() service.Resource {
	get := text[In]("Cluster")
	return service.On(func(c *service.Call, in *In) []service.Target {
		return []service.Target{{ARN: within(c, "task", get(in), "*"), New: true}}
	})
}

func task[In any]() service.Resource {
	cluster, get := text[In]("Cluster"), text[In]("Task")
	return service.On(func(c *service.Call, in *In) []service.Target { return one(within(c, "task", cluster(in), get(in))) })
}

var tasksIn = service.On(func(c *service.Call, in *api.DescribeTasksInput) []service.Target {
	var all []service.Target
	for _, name := range in.Tasks {
		all = append(all, service.Target{ARN: within(c, "task", in.Cluster, name)})
	}
	return all
})

// instancesOf is what ListTasks is authorised on: the container instances whose tasks it lists.
var instancesOf = service.On(func(c *service.Call, in *api.ListTasksInput) []service.Target {
	return one(within(c, "container-instance", in.Cluster, cmp.Or(in.ContainerInstance, "*")))
})

var newService = service.On(func(c *service.Call, in *api.CreateServiceInput) []service.Target {
	return []service.Target{{ARN: within(c, "service", in.Cluster, in.ServiceName), New: true}}
})

func oneService[In any]() service.Resource {
	cluster, get := text[In]("Cluster"), text[In]("Service")
	return service.On(func(c *service.Call, in *In) []service.Target { return one(within(c, "service", cluster(in), get(in))) })
}

var servicesIn = service.On(func(c *service.Call, in *api.DescribeServicesInput) []service.Target {
	var all []service.Target
	for _, name := range in.Services {
		all = append(all, service.Target{ARN: within(c, "service", in.Cluster, name)})
	}
	return all
})

// Condition keys.

func clusterKey[In any]() service.Clause {
	get := text[In]("Cluster")
	return service.KeyOf("ecs:cluster", func(c *service.Call, in *In) (policy.Value, bool) {
		return policy.String(string(clusterARN(c, get(in)))), true
	})
}

func definitionKey[In any]() service.Clause {
	get := text[In]("TaskDefinition")
	return service.KeyOf("ecs:task-definition", func(c *service.Call, in *In) (policy.Value, bool) {
		if get(in) == "" {
			return policy.Value{}, false
		}
		return policy.String(string(definitionARN(c, get(in)))), true
	})
}

func boolean[In any](name, field string) service.Clause {
	get := value[In, *bool](field)
	return service.KeyOf(name, func(_ *service.Call, in *In) (policy.Value, bool) {
		if v := get(in); v != nil {
			return policy.String(strconv.FormatBool(*v)), true
		}
		return policy.Value{}, false
	})
}

func executeCommand[In any]() service.Clause {
	return boolean[In]("ecs:enable-execute-command", "EnableExecuteCommand")
}

func managedTags[In any]() service.Clause {
	return boolean[In]("ecs:enable-ecs-managed-tags", "EnableECSManagedTags")
}

func subnets[In any]() service.Clause {
	get := value[In, *api.NetworkConfiguration]("NetworkConfiguration")
	return service.KeyOf("ecs:subnet", func(_ *service.Call, in *In) (policy.Value, bool) {
		n := orEmpty(orEmpty(get(in)).AwsvpcConfiguration)
		return policy.List(n.Subnets), len(n.Subnets) > 0
	})
}

func publicAddress[In any]() service.Clause {
	get := value[In, *api.NetworkConfiguration]("NetworkConfiguration")
	return service.KeyOf("ecs:auto-assign-public-ip", func(_ *service.Call, in *In) (policy.Value, bool) {
		n := orEmpty(orEmpty(get(in)).AwsvpcConfiguration)
		return policy.String(strconv.FormatBool(n.AssignPublicIp == "ENABLED")), n.AssignPublicIp != ""
	})
}

// size gives a number of CPU units or mebibytes, which callers may write as "1 vCPU" and "2 GB".
func size[In any](name string, get func(*In) string) service.Clause {
	return service.KeyOf(name, func(_ *service.Call, in *In) (policy.Value, bool) {
		n, ok := units(get(in))
		return policy.String(strconv.Itoa(n)), ok
	})
}

// units reads an amount of CPU or memory; ok is false for what is none.
func units(text string) (n int, ok bool) {
	number, unit, _ := strings.Cut(strings.ToLower(strings.TrimSpace(text)), " ")
	if unit == "" {
		number = strings.TrimRight(number, "abcdefghijklmnopqrstuvwxyz")
		unit = strings.ToLower(strings.TrimSpace(text))[len(number):]
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || f < 0 || f > 1<<30 {
		return 0, false
	}
	switch strings.TrimSpace(unit) {
	case "":
		return int(f), true
	case "vcpu", "gb":
		return int(f * 1024), true
	}
	return 0, false
}

var privileged = service.KeyOf("ecs:privileged", func(_ *service.Call, in *api.RegisterTaskDefinitionInput) (policy.Value, bool) {
	for _, d := range in.ContainerDefinitions {
		if d.Privileged {
			return policy.String("enabled"), true
		}
	}
	return policy.String("disabled"), true
})

var compatibility = service.KeyOf("ecs:compute-compatibility", func(_ *service.Call, in *api.RegisterTaskDefinitionInput) (policy.Value, bool) {
	return policy.List(in.RequiresCompatibilities), len(in.RequiresCompatibilities) > 0
})

// providerARNs are capacity providers by ARN, as conditions have them.
func providerARNs(c *service.Call, names []string) (policy.Value, bool) {
	var all []string
	for _, name := range names {
		if !isARN(name) {
			name = string(makeARN(c, "capacity-provider/"+name))
		}
		all = append(all, name)
	}
	return policy.List(all), len(all) > 0
}

func strategyARNs(c *service.Call, strategy []api.CapacityProviderStrategyItem) (policy.Value, bool) {
	var names []string
	for _, item := range strategy {
		names = append(names, item.CapacityProvider)
	}
	return providerARNs(c, names)
}

// orEmpty is what a pointer points to, or the zero value.
func orEmpty[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// Roles that are passed. A role may be given by name or ARN.

func roleARN(c *service.Call, role string) arn.ARN {
	if isARN(role) {
		return arn.ARN(role)
	}
	return arn.ARN("arn:aws:iam::" + c.Account + ":role/" + role)
}

func roleARNs(c *service.Call, roles ...string) []arn.ARN {
	var all []arn.ARN
	for i, role := range roles {
		if role != "" && (i == 0 || role != roles[i-1]) {
			all = append(all, roleARN(c, role))
		}
	}
	return all
}

func rolesOfNew(c *service.Call, in *api.RegisterTaskDefinitionInput) []arn.ARN {
	return roleARNs(c, in.TaskRoleArn, in.ExecutionRoleArn)
}

// rolesOfRun are those that tasks will have: of the definition, unless overridden.
func rolesOfRun(c *service.Call, in *api.RunTaskInput) []arn.ARN {
	d := orEmpty(find(c.State, definitionARN(c, in.TaskDefinition)))
	o := orEmpty(in.Overrides)
	return roleARNs(c, cmp.Or(o.TaskRoleArn, d.TaskRoleArn), cmp.Or(o.ExecutionRoleArn, d.ExecutionRoleArn))
}

func rolesOfCreate(c *service.Call, in *api.CreateServiceInput) []arn.ARN {
	d := orEmpty(find(c.State, definitionARN(c, in.TaskDefinition)))
	return roleARNs(c, d.TaskRoleArn, d.ExecutionRoleArn)
}

// rolesOfUpdate are those of the definition that the call names: one that changes nothing
// of it passes no role.
func rolesOfUpdate(c *service.Call, in *api.UpdateServiceInput) []arn.ARN {
	if in.TaskDefinition == "" {
		return nil
	}
	d := orEmpty(find(c.State, definitionARN(c, in.TaskDefinition)))
	return roleARNs(c, d.TaskRoleArn, d.ExecutionRoleArn)
}

// roleOfBalancer is the role with which ECS would tell a load balancer of tasks.
func roleOfBalancer(c *service.Call, in *api.CreateServiceInput) []arn.ARN {
	return roleARNs(c, in.Role)
}

// find is the task definition of an ARN; nil if there is none.
func find(r store.Reader, a arn.ARN) *Definition {
	kind, k := keyOf(a)
	if kind != "task-definition" {
		return nil
	}
	return definitions.Get(r, k)
}
