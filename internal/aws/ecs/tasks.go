package ecs

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/ecs/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/servicerole"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
)

// States of tasks and their containers.
const (
	provisioning = "PROVISIONING"
	pending      = "PENDING"
	running      = "RUNNING"
	stopped      = "STOPPED"
)

// Why a task stopped.
const (
	failedToStart   = "TaskFailedToStart"
	essentialExited = "EssentialContainerExited"
	userInitiated   = "UserInitiated"
	scheduled       = "ServiceSchedulerInitiated"
	terminated      = "TerminationNotice"
)

// A Task is one that runs, or that ended not long ago.
type Task struct {
	api.Task
	Service string `json:",omitempty"` // the name of the service that keeps it
	Family  string // of its definition
}

// A Token is what a RunTask with a client token has started.
type Token struct {
	Request string // hash of what was asked for
	Tasks   []string
	Used    time.Time
}

var (
	tasks  = store.NewTable[Task]("ecs-tasks")          // by account/region/cluster/id
	tokens = store.NewTable[Token]("ecs-client-tokens") // by account/region/token
)

// tokensLast is how long a client token is known.
const tokensLast = 24 * time.Hour

func (t *Task) arn() arn.ARN { return arn.ARN(t.TaskArn) }

func (t *Task) key() string {
	_, k := keyOf(t.arn())
	return k
}

func (t *Task) id() string { return t.TaskArn[strings.LastIndexByte(t.TaskArn, '/')+1:] }

func (t *Task) container(name string) *api.Container {
	return &t.Containers[slices.IndexFunc(t.Containers, func(c api.Container) bool { return c.Name == name })]
}

// now is the time of the call as it is kept: AWS shows milliseconds.
func now(c *service.Call) time.Time { return c.Time.UTC().Truncate(time.Millisecond) }

// newID makes an id of 32 hexadecimal digits.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func newUUID() string {
	id := newID()
	return id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:]
}

// An order is what a task is to be.
type order struct {
	cluster    *Cluster
	definition *Definition
	overrides  *api.TaskOverride
	launchType string
	provider   string // the capacity provider, where a strategy chose one
	platform   string
	group      string
	startedBy  string
	service    string
	tags       []api.Tag
	execute    bool
	at         time.Time
	parent     string // request id of the call that asked for it
}

// mostTasks is how many tasks run at once, of all accounts: they share a machine.
const mostTasks = 200

// prepare makes a task that is not there yet. It has ECS assume the task's roles, and the
// error is that of a role that cannot be.
func (s *Service) prepare(ctx context.Context, o *order) (*run, error) {
	s.mu.Lock()
	many := len(s.runs)
	s.mu.Unlock()
	if many >= mostTasks {
		return nil, api.LimitExceeded("You've reached the limit on the number of tasks that you can run concurrently: %d.", mostTasks)
	}
	d := o.definition
	at := arn.ARN(o.cluster.ClusterArn)
	id := newID()
	t := &Task{Service: o.service, Family: d.Family, Task: api.Task{
		TaskArn: "arn:aws:ecs:" + at.Region() + ":" + at.Account() + ":task/" + o.cluster.ClusterName + "/" + id, ClusterArn: o.cluster.ClusterArn,
		TaskDefinitionArn: d.TaskDefinitionArn, AvailabilityZone: at.Region() + "a", CapacityProviderName: o.provider, LaunchType: o.launchType,
		Group: o.group, StartedBy: o.startedBy, Tags: o.tags, EnableExecuteCommand: o.execute, CreatedAt: o.at,
		LastStatus: provisioning, DesiredStatus: running, HealthStatus: "UNKNOWN", Version: 1, Overrides: o.overrides,
		Cpu: cmp.Or(orEmpty(o.overrides).Cpu, d.Cpu), Memory: cmp.Or(orEmpty(o.overrides).Memory, d.Memory),
		Attachments: []api.Attachment{}, Attributes: []api.Attribute{}, InferenceAccelerators: []api.InferenceAccelerator{},
	}}
	if t.Overrides == nil {
		t.Overrides = &api.TaskOverride{}
	}
	if o.launchType == fargate {
		t.PlatformVersion, t.PlatformFamily = cmp.Or(o.platform, "1.4.0"), "Linux"
		if t.PlatformVersion == "LATEST" {
			t.PlatformVersion = "1.4.0"
		}
	}
	for _, container := range d.ContainerDefinitions {
		t.Containers = append(t.Containers, api.Container{
			ContainerArn: "arn:aws:ecs:" + at.Region() + ":" + at.Account() + ":container/" + o.cluster.ClusterName + "/" + id + "/" + newUUID(),
			TaskArn:      t.TaskArn, Name: container.Name, Image: container.Image, LastStatus: pending, HealthStatus: "UNKNOWN",
			NetworkInterfaces: []api.NetworkInterface{}, Cpu: strconv.Itoa(int(container.Cpu)), Memory: number(container.Memory), MemoryReservation: number(container.MemoryReservation),
		})
	}
	r := &run{s: s, task: t, definition: d, parent: o.parent, path: "/v2/credentials/" + newUUID(), metadata: "/v4/" + newID(), token: identity.NewSecret(rand.Text()), ending: make(chan struct{})}
	use := func(role string) (*servicerole.Provider, error) {
		if role == "" {
			return nil, nil
		}
		p := s.Roles.Provider(servicerole.Use{Role: arn.ARN(role), Service: principal, Session: id, For: t.arn(), Region: at.Region(), Parent: o.parent})
		if _, err := p.Session(ctx); err != nil {
			return nil, cannotAssume(role, err)
		}
		return p, nil
	}
	var err error
	if r.role, err = use(roleOf(at, cmp.Or(t.Overrides.TaskRoleArn, d.TaskRoleArn))); err != nil {
		return nil, err
	}
	if r.execution, err = use(roleOf(at, cmp.Or(t.Overrides.ExecutionRoleArn, d.ExecutionRoleArn))); err != nil {
		return nil, err
	}
	return r, nil
}

// roleOf is a role by ARN; overrides may name it.
func roleOf(in arn.ARN, role string) string {
	if role == "" || isARN(role) {
		return role
	}
	return "arn:aws:iam::" + in.Account() + ":role/" + role
}

// cannotAssume is what ECS says of a role that it may not assume.
func cannotAssume(role string, err error) error {
	var refused *wire.Error
	if !errors.As(err, &refused) || refused.Status >= 500 {
		return err
	}
	return api.Client("ECS was unable to assume the role '%s' that was provided for this task. Please verify that the role being passed has the proper trust relationship and permissions and that your IAM user has permissions to pass this role.", role)
}

func number(n int32) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(int(n))
}

// checkLaunch says what is wrong with how tasks of a definition are to be launched, and
// what comes of it: a launch type, and the capacity provider if a strategy chose one.
func checkLaunch(cluster *Cluster, d *Definition, launchType string, strategy []api.CapacityProviderStrategyItem, network *api.NetworkConfiguration) (as, provider string, err error) {
	if launchType != "" && len(strategy) > 0 {
		return "", "", api.InvalidParameter("Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.")
	}
	if err := checkProviders(nil, strategy); err != nil {
		return "", "", err
	}
	if launchType == "" && len(strategy) == 0 {
		strategy = cluster.DefaultCapacityProviderStrategy
	}
	as = cmp.Or(launchType, ec2)
	if len(strategy) > 0 {
		as, provider = fargate, strategy[0].CapacityProvider
	}
	switch {
	case as != ec2 && as != fargate:
		return "", "", notServed("the launch type " + as)
	case !slices.Contains(d.Compatibilities, as):
		return "", "", api.InvalidParameter("Task definition does not support launch_type %s.", as)
	case d.NetworkMode == awsvpc && (network == nil || network.AwsvpcConfiguration == nil):
		return "", "", api.InvalidParameter("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
	case d.NetworkMode != awsvpc && network != nil:
		return "", "", api.InvalidParameter("Network Configuration is not valid for the given networkMode of this task definition.")
	case network != nil && len(network.AwsvpcConfiguration.Subnets) == 0:
		return "", "", api.InvalidParameter("subnets can not be empty.")
	case network != nil && len(network.AwsvpcConfiguration.Subnets) > 16:
		return "", "", api.InvalidParameter("subnets can have at most 16 items.")
	case network != nil && len(network.AwsvpcConfiguration.SecurityGroups) > 5:
		return "", "", api.InvalidParameter("securityGroups can have at most 5 items.")
	case network != nil && network.AwsvpcConfiguration.AssignPublicIp == "ENABLED" && as == ec2:
		return "", "", api.InvalidParameter("Assign public IP is not supported for this launch type.")
	}
	return as, provider, nil
}

// usable is the definition that a call names for new tasks.
func usable(c *service.Call, name string) (*Definition, error) {
	a := definitionARN(c, name)
	d := find(c.State, a)
	switch {
	case d == nil || !here(c, a, "task-definition"):
		return nil, api.Client("TaskDefinition not found.")
	case d.Status != active:
		return nil, api.Client("TaskDefinition is inactive")
	}
	return d, nil
}

// checkOverrides says what is wrong with what a task is to have in place of its definition's.
func checkOverrides(c *service.Call, d *Definition, o *api.TaskOverride) error {
	if o == nil {
		return nil
	}
	for _, over := range o.ContainerOverrides {
		if !slices.ContainsFunc(d.ContainerDefinitions, func(d api.ContainerDefinition) bool { return d.Name == over.Name }) {
			return api.InvalidParameter("Override for container named %s is not a container in the TaskDefinition.", over.Name)
		}
		if len(over.EnvironmentFiles) > 0 {
			return notServed("environment files")
		}
	}
	for _, role := range []string{o.TaskRoleArn, o.ExecutionRoleArn} {
		if a := roleARN(c, role); role != "" && (a.Service() != "iam" || a.Account() != c.Account || !strings.HasPrefix(a.Resource(), "role/")) {
			return api.InvalidParameter("Role is not valid")
		}
	}
	if len(o.InferenceAcceleratorOverrides) > 0 {
		return notServed("inference accelerators")
	}
	return nil
}

// runTask starts tasks. They are there when it answers, and on their way to running.
func (s *Service) runTask(ctx context.Context, c *service.Call, in *api.RunTaskInput) (*api.RunTaskOutput, error) {
	cluster, err := clusterOf(c.State, c, in.Cluster)
	if err != nil {
		return nil, err
	}
	d, err := usable(c, in.TaskDefinition)
	if err != nil {
		return nil, err
	}
	count := 1
	if in.Count != nil {
		count = int(*in.Count)
	}
	switch {
	case count < 1 || count > 10:
		return nil, api.InvalidParameter("count must be between 1 and 10.")
	case len(in.StartedBy) > 128:
		return nil, api.InvalidParameter("startedBy must have at most 128 characters.")
	case len(in.ClientToken) > 64:
		return nil, api.InvalidParameter("clientToken must have at most 64 characters.")
	case strings.HasPrefix(in.Group, "service:"):
		return nil, api.InvalidParameter("Invalid namespace for group.")
	case len(in.VolumeConfigurations) > 0:
		return nil, notServed("volumes")
	case orEmpty(in.EnableExecuteCommand):
		return nil, notServed("ExecuteCommand")
	case in.PropagateTags == "SERVICE":
		return nil, api.InvalidParameter("PropagateTags of SERVICE is not allowed for RunTask.")
	}
	launchType, provider, err := checkLaunch(cluster, d, in.LaunchType, in.CapacityProviderStrategy, in.NetworkConfiguration)
	if err != nil {
		return nil, err
	}
	if err := checkOverrides(c, d, in.Overrides); err != nil {
		return nil, err
	}
	tags, err := withTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	if in.PropagateTags == "TASK_DEFINITION" {
		tags = propagated(tags, d.Tags)
	}
	if orEmpty(in.EnableECSManagedTags) {
		tags = propagated(tags, []api.Tag{{Key: "aws:ecs:clusterName", Value: cluster.ClusterName}})
	}
	asked := hash(in)
	tokenKey := c.Account + "/" + c.Region + "/" + in.ClientToken
	if in.ClientToken != "" {
		if out, err := again(c, tokenKey, asked); out != nil || err != nil {
			return out, err
		}
	}
	if s.Workloads.Off != nil {
		return nil, api.Client("%s", s.Workloads.Off)
	}
	var all []*run
	for range count {
		r, err := s.prepare(ctx, &order{
			cluster: cluster, definition: d, overrides: in.Overrides, launchType: launchType, provider: provider, platform: in.PlatformVersion,
			group: cmp.Or(in.Group, "family:"+d.Family), startedBy: in.StartedBy, tags: tags, at: now(c), parent: c.RequestID,
		})
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	var before *api.RunTaskOutput
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		if before = nil; in.ClientToken != "" {
			if t := tokens.Get(tx, tokenKey); t != nil && c.Time.Sub(t.Used) < tokensLast { // another call with it was faster
				var err error
				before, err = t.answer(tx, asked)
				return err
			}
			t := &Token{Request: asked, Used: c.Time}
			for _, r := range all {
				t.Tasks = append(t.Tasks, r.task.key())
			}
			tokens.Put(tx, tokenKey, t)
		}
		if _, err := putIn(tx, c, in.Cluster); err != nil {
			return err
		}
		for _, r := range all {
			tasks.Put(tx, r.task.key(), r.task)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if before != nil {
		return before, nil
	}
	out := &api.RunTaskOutput{Tasks: []api.Task{}, Failures: []api.Failure{}}
	for _, r := range all {
		s.launch(r)
		out.Tasks = append(out.Tasks, r.task.Task)
	}
	return out, nil
}

// propagated are tags with those of something else where the key is not there yet.
func propagated(tags, more []api.Tag) []api.Tag {
	for _, t := range more {
		if !slices.ContainsFunc(tags, func(o api.Tag) bool { return o.Key == t.Key }) {
			tags = append(tags, t)
		}
	}
	return tags
}

// hash is of what a call asks for.
func hash(in any) string {
	b, err := json.Marshal(in)
	if err != nil {
		panic(fmt.Sprintf("ecs: encoding %T: %v", in, err))
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// again answers a call whose client token has been used; both results are nil where it has not.
func again(c *service.Call, tokenKey, asked string) (*api.RunTaskOutput, error) {
	if t := tokens.Get(c.State, tokenKey); t != nil && c.Time.Sub(t.Used) < tokensLast {
		return t.answer(c.State, asked)
	}
	return nil, nil
}

// answer is that to another call with the token.
func (t *Token) answer(r store.Reader, asked string) (*api.RunTaskOutput, error) {
	out := &api.RunTaskOutput{Tasks: []api.Task{}, Failures: []api.Failure{}}
	var arns []string
	for _, k := range t.Tasks {
		if task := tasks.Get(r, k); task != nil {
			out.Tasks = append(out.Tasks, task.Task)
			arns = append(arns, task.TaskArn)
		}
	}
	if t.Request != asked {
		return nil, api.Conflict("The RunTask request could not be processed due to conflicts. The provided clientToken is already in use with a different RunTask request. The resourceIds are the existing task ARNs which are already associated with the clientToken: %s", strings.Join(arns, ", "))
	}
	return out, nil
}

// stopTask asks a task to end. It answers before it has.
func (s *Service) stopTask(ctx context.Context, c *service.Call, in *api.StopTaskInput) (*api.StopTaskOutput, error) {
	if _, err := clusterOf(c.State, c, in.Cluster); err != nil {
		return nil, err
	}
	a := within(c, "task", in.Cluster, in.Task)
	_, k := keyOf(a)
	if !here(c, a, "task") || tasks.Get(c.State, k) == nil {
		return nil, api.InvalidParameter("The referenced task was not found.")
	}
	if len(in.Reason) > 1024 {
		return nil, api.InvalidParameter("reason must have at most 1024 characters.")
	}
	reason := cmp.Or(in.Reason, "Task stopped by user")
	if s.run(k) == nil { // it has ended, or is about to begin, and then sees this or is seen below
		err := s.DB.Update(ctx, func(tx *store.Tx) error {
			if t := tasks.Get(tx, k); t != nil && t.DesiredStatus != stopped {
				t.DesiredStatus, t.StopCode, t.StoppedReason, t.StoppingAt = stopped, userInitiated, reason, now(c)
				tasks.Put(tx, k, t)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if r := s.run(k); r != nil {
		r.end(userInitiated, reason)
	}
	t := tasks.Get(s.DB.View(), k)
	if t == nil {
		return nil, api.InvalidParameter("The referenced task was not found.")
	}
	v := t.Task
	return &api.StopTaskOutput{Task: &v}, nil
}

func (s *Service) describeTasks(_ context.Context, c *service.Call, in *api.DescribeTasksInput) (*api.DescribeTasksOutput, error) {
	if _, err := clusterOf(c.State, c, in.Cluster); err != nil {
		return nil, err
	}
	switch {
	case len(in.Tasks) == 0:
		return nil, api.InvalidParameter("Tasks cannot be empty.")
	case len(in.Tasks) > 100:
		return nil, api.InvalidParameter("Tasks cannot have more than 100 elements.")
	}
	of := clusterName(clusterARN(c, in.Cluster)) + "/"
	out := &api.DescribeTasksOutput{Tasks: []api.Task{}, Failures: []api.Failure{}}
	for _, name := range in.Tasks {
		a := within(c, "task", in.Cluster, name)
		_, k := keyOf(a)
		t := tasks.Get(c.State, k)
		if t == nil || !here(c, a, "task") || !strings.HasPrefix(strings.TrimPrefix(a.Resource(), "task/"), of) {
			out.Failures = append(out.Failures, missing(a))
			continue
		}
		v := t.Task
		if !slices.Contains(in.Include, "TAGS") {
			v.Tags = nil
		}
		out.Tasks = append(out.Tasks, v)
	}
	return out, nil
}

// listTasks lists the tasks of a cluster that are to run, or those that were stopped.
func (s *Service) listTasks(_ context.Context, c *service.Call, in *api.ListTasksInput) (*api.ListTasksOutput, error) {
	cluster, err := clusterOf(c.State, c, in.Cluster)
	switch {
	case err != nil:
		return nil, err
	case in.ContainerInstance != "":
		return nil, api.InvalidParameter("The specified container instance was not found: tasks run on iamd's machine, which is none.")
	case in.DaemonName != "":
		return nil, notServed("daemons")
	}
	prefix := key(arn.ARN(cluster.ClusterArn), cluster.ClusterName) + "/"
	name := in.ServiceName
	if name != "" {
		if isARN(name) {
			name = name[strings.LastIndexByte(name, '/')+1:]
		}
		if services.Get(c.State, prefix+name) == nil {
			return nil, api.ServiceNotFound("Service not found.")
		}
	}
	desired := cmp.Or(in.DesiredStatus, running)
	arns, next, err := page(func(yield func(string) bool) {
		for _, t := range tasks.All(c.State, prefix) {
			if t.DesiredStatus != desired || name != "" && t.Service != name || in.Family != "" && t.Family != in.Family ||
				in.StartedBy != "" && t.StartedBy != in.StartedBy || in.LaunchType != "" && t.LaunchType != in.LaunchType {
				continue
			}
			if !yield(t.TaskArn) {
				return
			}
		}
	}, in.MaxResults, 100, in.NextToken)
	return &api.ListTasksOutput{TaskArns: arns, NextToken: next}, err
}
