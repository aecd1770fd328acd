package ecs

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/ecs/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// A Definition is a revision of a task definition. But for its status and tags it never changes.
type Definition struct {
	api.TaskDefinition
	Tags []api.Tag `json:",omitempty"`
}

// A Family counts the revisions of task definitions of one name; none is given twice.
type Family struct{ Revision int32 }

var (
	definitions = store.NewTable[Definition]("ecs-task-definitions") // by account/region/family/revision
	families    = store.NewTable[Family]("ecs-families")             // by account/region/family
)

func (d *Definition) arn() arn.ARN { return arn.ARN(d.TaskDefinitionArn) }

func (s *Service) registerTaskDefinition(ctx context.Context, c *service.Call, in *api.RegisterTaskDefinitionInput) (*api.RegisterTaskDefinitionOutput, error) {
	if err := checkDefinition(c, in); err != nil {
		return nil, err
	}
	tags, err := withTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	d := &Definition{Tags: tags, TaskDefinition: api.TaskDefinition{
		Family: in.Family, ContainerDefinitions: in.ContainerDefinitions, TaskRoleArn: roleText(c, in.TaskRoleArn), ExecutionRoleArn: roleText(c, in.ExecutionRoleArn),
		NetworkMode: cmp.Or(in.NetworkMode, bridge), Status: active, Volumes: in.Volumes, PlacementConstraints: in.PlacementConstraints,
		Compatibilities: compatibilities(in), RuntimePlatform: in.RuntimePlatform, RequiresCompatibilities: in.RequiresCompatibilities,
		Cpu: in.Cpu, Memory: in.Memory, PidMode: in.PidMode, IpcMode: in.IpcMode, ProxyConfiguration: in.ProxyConfiguration,
		EphemeralStorage: in.EphemeralStorage, EnableFaultInjection: orEmpty(in.EnableFaultInjection),
		RegisteredAt: now(c), RegisteredBy: string(c.Caller.ARN),
	}}
	if d.Volumes == nil {
		d.Volumes = []api.Volume{}
	}
	for i := range d.ContainerDefinitions {
		if container := &d.ContainerDefinitions[i]; container.Essential == nil {
			container.Essential = new(bool)
			*container.Essential = true
		}
	}
	at := makeARN(c, "task-definition/"+in.Family)
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		family := orEmpty(families.Get(tx, key(at, in.Family)))
		family.Revision++
		families.Put(tx, key(at, in.Family), &family)
		d.Revision = family.Revision
		d.TaskDefinitionArn = string(at) + ":" + strconv.Itoa(int(d.Revision))
		definitions.Put(tx, key(at, definitionName(d.Family, d.Revision)), d)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.RegisterTaskDefinitionOutput{TaskDefinition: &d.TaskDefinition, Tags: d.Tags}, nil
}

func roleText(c *service.Call, role string) string {
	if role == "" {
		return ""
	}
	return string(roleARN(c, role))
}

// Network modes and compatibilities.
const (
	awsvpc  = "awsvpc"
	bridge  = "bridge"
	fargate = "FARGATE"
	ec2     = "EC2"
)

// compatibilities are the launch types that a definition can be run as.
func compatibilities(in *api.RegisterTaskDefinitionInput) []string {
	switch {
	case in.NetworkMode != awsvpc:
		return []string{"EXTERNAL", ec2}
	case fargateSize(in.Cpu, in.Memory) == nil:
		return []string{ec2, fargate}
	}
	return []string{ec2}
}

// fargateSizes are the amounts of memory in MiB, least, most and step, for amounts of CPU units
// (Developer Guide, "Task CPU and memory").
var fargateSizes = map[int][3]int{
	256: {512, 2048, 0}, 512: {1024, 4096, 1024}, 1024: {2048, 8192, 1024}, 2048: {4096, 16384, 1024},
	4096: {8192, 30720, 1024}, 8192: {16384, 61440, 4096}, 16384: {32768, 122880, 8192},
}

// fargateSize says what is wrong with the size of a task that is to run on Fargate.
func fargateSize(cpu, memory string) error {
	switch {
	case cpu == "":
		return api.Client("Fargate requires that 'cpu' be defined at the task level.")
	case memory == "":
		return api.Client("Fargate requires that 'memory' be defined at the task level.")
	}
	c, okC := units(cpu)
	m, okM := units(memory)
	size, ok := fargateSizes[c]
	switch {
	case !okC || !okM || !ok || m < size[0] || m > size[1]:
	case size[2] == 0 && (m == 512 || m == 1024 || m == 2048), size[2] > 0 && (m-size[0])%size[2] == 0:
		return nil
	}
	return api.Client("No Fargate configuration exists for given values: %s CPU, %s memory. See the Amazon ECS documentation for the valid values.", cpu, memory)
}

// checkDefinition says what is wrong with a definition, or what of it cannot be done here.
func checkDefinition(c *service.Call, in *api.RegisterTaskDefinitionInput) error {
	if !goodName.MatchString(in.Family) {
		return api.Client("Family contains invalid characters or is longer than 255: letters, numbers, underscores and hyphens are allowed.")
	}
	for _, role := range []string{in.TaskRoleArn, in.ExecutionRoleArn} {
		if a := roleARN(c, role); role != "" && (a.Service() != "iam" || a.Account() != c.Account || !strings.HasPrefix(a.Resource(), "role/")) {
			return api.Client("Role is not valid")
		}
	}
	if len(in.ContainerDefinitions) == 0 {
		return api.Client("Container list cannot be empty.")
	}
	if len(in.ContainerDefinitions) > 10 {
		return api.Client("A task definition can have at most 10 containers.")
	}
	onFargate := slices.Contains(in.RequiresCompatibilities, fargate)
	if onFargate {
		if in.NetworkMode != awsvpc {
			return api.Client("Fargate only supports network mode ‘awsvpc’.")
		}
		if err := fargateSize(in.Cpu, in.Memory); err != nil {
			return err
		}
	}
	if len(in.InferenceAccelerators) > 0 {
		return notServed("inference accelerators")
	}
	essential := false
	byName := map[string]*api.ContainerDefinition{}
	for i := range in.ContainerDefinitions {
		d := &in.ContainerDefinitions[i]
		switch {
		case d.Name == "":
			return api.Client("Container.name should not be null or empty.")
		case !goodName.MatchString(d.Name):
			return api.Client("Invalid container name: %s", d.Name)
		case byName[d.Name] != nil:
			return api.Client("Container names should be unique within a task definition.")
		case d.Image == "":
			return api.Client("Container.image should not be null or empty.")
		case in.Memory == "" && d.Memory == 0 && d.MemoryReservation == 0:
			return api.Client("Invalid setting for container '%s'. At least one of 'memory' or 'memoryReservation' must be specified.", d.Name)
		case d.Memory != 0 && d.MemoryReservation > d.Memory:
			return api.Client("Invalid setting for container '%s'. The 'memory' must be greater than 'memoryReservation'.", d.Name)
		case len(d.Secrets) > 0 && in.ExecutionRoleArn == "":
			return api.Client("When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.")
		case onFargate && in.ExecutionRoleArn == "" && d.LogConfiguration != nil && d.LogConfiguration.LogDriver == "awslogs":
			return api.Client("Fargate requires task definition to have execution role ARN to support log driver awslogs.")
		case len(d.MountPoints) > 0 || len(d.VolumesFrom) > 0:
			return notServed("volumes, because a container's directory is its own")
		case len(d.EnvironmentFiles) > 0:
			return notServed("environment files")
		case d.RestartPolicy != nil && d.RestartPolicy.Enabled:
			return notServed("restart policies of containers; a service starts tasks anew")
		}
		byName[d.Name] = d
		essential = essential || d.Essential == nil || *d.Essential
	}
	if !essential {
		return api.Client("At least one container must be marked as essential.")
	}
	return checkDependencies(in.ContainerDefinitions, byName)
}

// checkDependencies sees that containers depend on containers that are there, and not in a circle.
func checkDependencies(all []api.ContainerDefinition, byName map[string]*api.ContainerDefinition) error {
	for _, d := range all {
		for _, on := range d.DependsOn {
			dependency := byName[on.ContainerName]
			switch {
			case dependency == nil:
				return api.Client("Invalid 'dependsOn' setting for container '%s'. The container '%s' does not exist in the task definition.", d.Name, on.ContainerName)
			case on.Condition == "HEALTHY":
				return notServed("health checks of containers, so that no dependency on HEALTHY is ever met")
			case (on.Condition == "COMPLETE" || on.Condition == "SUCCESS") && (dependency.Essential == nil || *dependency.Essential):
				return api.Client("Invalid 'dependsOn' setting for container '%s'. A container with the condition %s cannot be essential.", d.Name, on.Condition)
			}
		}
	}
	const onTheWay, done = 1, 2
	seen := map[string]int{}
	var circle func(name string) bool
	circle = func(name string) bool {
		if seen[name] != 0 {
			return seen[name] == onTheWay
		}
		seen[name] = onTheWay
		for _, on := range byName[name].DependsOn {
			if circle(on.ContainerName) {
				return true
			}
		}
		seen[name] = done
		return false
	}
	for _, d := range all {
		if circle(d.Name) {
			return api.Client("The container dependencies contain a cycle.")
		}
	}
	return nil
}

// describeTaskDefinition tells of definitions that are active and those that were deregistered.
func (s *Service) describeTaskDefinition(_ context.Context, c *service.Call, in *api.DescribeTaskDefinitionInput) (*api.DescribeTaskDefinitionOutput, error) {
	a := definitionARN(c, in.TaskDefinition)
	d := find(c.State, a)
	if d == nil || !here(c, a, "task-definition") {
		return nil, api.Client("Unable to describe task definition.")
	}
	out := &api.DescribeTaskDefinitionOutput{TaskDefinition: &d.TaskDefinition}
	if slices.Contains(in.Include, "TAGS") {
		out.Tags = append([]api.Tag{}, d.Tags...)
	}
	return out, nil
}

func (s *Service) listTaskDefinitions(_ context.Context, c *service.Call, in *api.ListTaskDefinitionsInput) (*api.ListTaskDefinitionsOutput, error) {
	prefix := c.Account + "/" + c.Region + "/"
	if in.FamilyPrefix != "" { // in spite of its name it is a family's whole name
		prefix += in.FamilyPrefix + "/"
	}
	status := cmp.Or(in.Status, active)
	var all []string
	for _, d := range definitions.All(c.State, prefix) {
		if d.Status == status {
			all = append(all, d.TaskDefinitionArn)
		}
	}
	if in.Sort == "DESC" {
		slices.Reverse(all)
	}
	arns, next, err := page(slices.Values(all), in.MaxResults, 100, in.NextToken)
	return &api.ListTaskDefinitionsOutput{TaskDefinitionArns: arns, NextToken: next}, err
}

func (s *Service) listTaskDefinitionFamilies(_ context.Context, c *service.Call, in *api.ListTaskDefinitionFamiliesInput) (*api.ListTaskDefinitionFamiliesOutput, error) {
	of := c.Account + "/" + c.Region + "/"
	names, next, err := page(func(yield func(string) bool) {
		for k := range families.All(c.State, of+in.FamilyPrefix) {
			some, live := false, false
			for _, d := range definitions.All(c.State, k+"/") {
				some, live = true, live || d.Status == active
			}
			if wanted := cmp.Or(in.Status, "ALL"); !some || wanted == active && !live || wanted == inactive && live {
				continue
			}
			if !yield(strings.TrimPrefix(k, of)) {
				return
			}
		}
	}, in.MaxResults, 100, in.NextToken)
	return &api.ListTaskDefinitionFamiliesOutput{Families: names, NextToken: next}, err
}

// deregisterTaskDefinition keeps new tasks from being made of a revision. Services that
// use it go on.
func (s *Service) deregisterTaskDefinition(ctx context.Context, c *service.Call, in *api.DeregisterTaskDefinitionInput) (*api.DeregisterTaskDefinitionOutput, error) {
	if !strings.Contains(strings.TrimPrefix(arn.ARN(in.TaskDefinition).Resource(), "task-definition/"), ":") && !(!isARN(in.TaskDefinition) && strings.Contains(in.TaskDefinition, ":")) {
		return nil, api.Client("Invalid revision number. Number: null")
	}
	a := definitionARN(c, in.TaskDefinition)
	var d *Definition
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		if d = find(tx, a); d == nil || !here(c, a, "task-definition") {
			return api.Client("Unable to describe task definition.")
		}
		if d.Status != active {
			return nil
		}
		d.Status, d.DeregisteredAt = inactive, now(c)
		_, k := keyOf(a)
		definitions.Put(tx, k, d)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.DeregisterTaskDefinitionOutput{TaskDefinition: &d.TaskDefinition}, nil
}

// deleteTaskDefinitions deletes revisions that were deregistered, once nothing uses them:
// see sweep.
func (s *Service) deleteTaskDefinitions(ctx context.Context, c *service.Call, in *api.DeleteTaskDefinitionsInput) (*api.DeleteTaskDefinitionsOutput, error) {
	if n := len(in.TaskDefinitions); n < 1 || n > 10 {
		return nil, api.InvalidParameter("You must specify between 1 and 10 task definitions.")
	}
	var out *api.DeleteTaskDefinitionsOutput
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		out = &api.DeleteTaskDefinitionsOutput{TaskDefinitions: []api.TaskDefinition{}, Failures: []api.Failure{}}
		for _, name := range in.TaskDefinitions {
			a := definitionARN(c, name)
			d := find(tx, a)
			switch {
			case d == nil || !here(c, a, "task-definition"):
				out.Failures = append(out.Failures, api.Failure{Arn: string(a), Reason: "The specified task definition does not exist. Specify a valid account, family, revision and try again."})
				continue
			case d.Status == active:
				out.Failures = append(out.Failures, api.Failure{Arn: string(a), Reason: "The specified task definition is still in ACTIVE status. Please deregister the target and try again."})
				continue
			}
			d.Status, d.DeleteRequestedAt = deleting, now(c)
			_, k := keyOf(a)
			definitions.Put(tx, k, d)
			out.TaskDefinitions = append(out.TaskDefinitions, d.TaskDefinition)
		}
		return nil
	})
	s.look()
	return out, err
}
