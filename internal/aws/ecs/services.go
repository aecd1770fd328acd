package ecs

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/ecs/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// A TaskService is what ECS calls a service: so many tasks of a definition, kept running.
// Its deployments stand in Deployments, the primary one first; counts are not kept but counted.
type TaskService struct {
	api.Service
	Request string    `json:",omitempty"` // hash of the call that made it, by which it is known again
	Parent  string    `json:",omitempty"` // request id of the call that the primary deployment came of
	Steady  bool      `json:",omitempty"` // that it is was the last event
	Good    string    `json:",omitempty"` // the definition of the last deployment that was completed
	Ended   time.Time `json:",omitzero"`
}

var services = store.NewTable[TaskService]("ecs-services") // by account/region/cluster/name

// States of deployments.
const (
	primary    = "PRIMARY"
	inProgress = "IN_PROGRESS"
	completed  = "COMPLETED"
	failed     = "FAILED"
)

func (t *TaskService) key() string {
	_, k := keyOf(arn.ARN(t.ServiceArn))
	return k
}

// cluster is the prefix of the keys of what is in the service's cluster.
func (t *TaskService) cluster() string { return strings.TrimSuffix(t.key(), t.ServiceName) }

// mostEvents is how many events a service shows.
const mostEvents = 100

// tell adds an event.
func (t *TaskService) tell(at time.Time, format string, args ...any) {
	e := api.ServiceEvent{Id: newUUID(), CreatedAt: at.UTC().Truncate(time.Millisecond), Message: "(service " + t.ServiceName + ") " + fmt.Sprintf(format, args...)}
	t.Events = append([]api.ServiceEvent{e}, t.Events[:min(len(t.Events), mostEvents-1)]...)
}

// deploy begins a deployment of what the service is now.
func (t *TaskService) deploy(at time.Time) {
	for i := range t.Deployments {
		t.Deployments[i].Status = active
		t.Deployments[i].UpdatedAt = at
	}
	id := "ecs-svc/" + deploymentNumber()
	t.Deployments = append([]api.Deployment{{
		Id: id, Status: primary, TaskDefinition: t.TaskDefinition, DesiredCount: t.DesiredCount, CreatedAt: at, UpdatedAt: at,
		CapacityProviderStrategy: t.CapacityProviderStrategy, LaunchType: t.LaunchType, PlatformVersion: t.PlatformVersion, PlatformFamily: t.PlatformFamily,
		NetworkConfiguration: t.NetworkConfiguration, RolloutState: inProgress, RolloutStateReason: "ECS deployment " + id + " in progress.",
	}}, t.Deployments...)
	t.Steady = false
}

func deploymentNumber() string {
	n, err := rand.Int(rand.Reader, big.NewInt(8e18))
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("%019d", n.Int64()+1e18)
}

// tasks are those of the service that have not ended.
func (t *TaskService) tasks(r store.Reader) []*Task {
	var all []*Task
	for _, one := range tasks.All(r, t.cluster()) {
		if one.Service == t.ServiceName && one.LastStatus != stopped {
			all = append(all, one)
		}
	}
	return all
}

// view is the service with its counts.
func (t *TaskService) view(r store.Reader, withTags bool) *api.Service {
	v := t.Service
	if !withTags {
		v.Tags = nil
	}
	v.Deployments = slices.Clone(v.Deployments)
	for _, one := range t.tasks(r) {
		d := &api.Deployment{}
		if i := slices.IndexFunc(v.Deployments, func(d api.Deployment) bool { return d.Id == one.StartedBy }); i >= 0 {
			d = &v.Deployments[i]
		}
		switch one.LastStatus {
		case running:
			v.RunningCount++
			d.RunningCount++
		default:
			v.PendingCount++
			d.PendingCount++
		}
	}
	if v.LoadBalancers == nil {
		v.LoadBalancers, v.ServiceRegistries = []api.LoadBalancer{}, []api.ServiceRegistry{}
	}
	if v.Events == nil {
		v.Events = []api.ServiceEvent{}
	}
	return &v
}

// checkService says what of a service cannot be, here.
func checkService(d *api.DeploymentConfiguration, controller *api.DeploymentController, others map[string]bool, count *int32) error {
	for _, what := range []string{"load balancers", "service registries", "Service Connect", "volumes", "VPC Lattice", "ExecuteCommand", "DAEMON services, which need container instances"} {
		if others[what] {
			return notServed(what)
		}
	}
	if c := orEmpty(controller).Type; c != "" && c != "ECS" {
		return notServed("the deployment controller " + c)
	}
	if count != nil && *count < 0 {
		return api.InvalidParameter("Desired count must be 0 or more.")
	}
	if d == nil {
		return nil
	}
	least, most := percent(d)
	switch {
	case d.Strategy != "" && d.Strategy != "ROLLING":
		return notServed("deployments other than rolling ones")
	case d.Alarms != nil && d.Alarms.Enable:
		return notServed("alarms")
	case len(d.LifecycleHooks) > 0:
		return notServed("lifecycle hooks")
	case least < 0 || least > 100:
		return api.InvalidParameter("minimumHealthyPercent must be between 0 and 100.")
	case most < 100:
		return api.InvalidParameter("maximumPercent must be at least 100.")
	case least == 100 && most == 100:
		return api.InvalidParameter("Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments.")
	}
	return nil
}

// percent is how many of the desired tasks run at least and at most while a deployment is made.
func percent(d *api.DeploymentConfiguration) (least, most int32) {
	least, most = 100, 200
	if d != nil && d.MinimumHealthyPercent != nil {
		least = *d.MinimumHealthyPercent
	}
	if d != nil && d.MaximumPercent != nil {
		most = *d.MaximumPercent
	}
	return least, most
}

// configuration is a deployment configuration with what it leaves out.
func configuration(old, changed *api.DeploymentConfiguration) *api.DeploymentConfiguration {
	v := orEmpty(old)
	if changed != nil {
		if changed.DeploymentCircuitBreaker != nil {
			v.DeploymentCircuitBreaker = changed.DeploymentCircuitBreaker
		}
		v.MaximumPercent = cmp.Or(changed.MaximumPercent, v.MaximumPercent)
		v.MinimumHealthyPercent = cmp.Or(changed.MinimumHealthyPercent, v.MinimumHealthyPercent)
	}
	least, most := percent(&v)
	v.MinimumHealthyPercent, v.MaximumPercent, v.Strategy = &least, &most, "ROLLING"
	if v.DeploymentCircuitBreaker == nil {
		v.DeploymentCircuitBreaker = &api.DeploymentCircuitBreaker{}
	}
	return &v
}

func (s *Service) createService(ctx context.Context, c *service.Call, in *api.CreateServiceInput) (*api.CreateServiceOutput, error) {
	cluster, err := clusterOf(c.State, c, in.Cluster)
	if err != nil {
		return nil, err
	}
	if !goodName.MatchString(in.ServiceName) {
		return nil, api.InvalidParameter("Service name is invalid: up to 255 letters, numbers, underscores and hyphens are allowed.")
	}
	if in.TaskDefinition == "" {
		return nil, api.InvalidParameter("TaskDefinition can not be blank.")
	}
	d, err := usable(c, in.TaskDefinition)
	if err != nil {
		return nil, err
	}
	if in.DesiredCount == nil {
		in.DesiredCount = new(int32)
		*in.DesiredCount = 1
	}
	err = checkService(in.DeploymentConfiguration, in.DeploymentController, map[string]bool{
		"load balancers": len(in.LoadBalancers) > 0 || in.Role != "", "service registries": len(in.ServiceRegistries) > 0,
		"Service Connect": in.ServiceConnectConfiguration != nil && in.ServiceConnectConfiguration.Enabled, "volumes": len(in.VolumeConfigurations) > 0,
		"VPC Lattice": len(in.VpcLatticeConfigurations) > 0, "ExecuteCommand": orEmpty(in.EnableExecuteCommand),
		"DAEMON services, which need container instances": in.SchedulingStrategy == "DAEMON",
	}, in.DesiredCount)
	if err != nil {
		return nil, err
	}
	launchType, _, err := checkLaunch(cluster, d, in.LaunchType, in.CapacityProviderStrategy, in.NetworkConfiguration)
	if err != nil {
		return nil, err
	}
	tags, err := withTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	strategy := in.CapacityProviderStrategy
	if in.LaunchType == "" && len(strategy) == 0 {
		strategy = cluster.DefaultCapacityProviderStrategy
	}
	t := &TaskService{Request: hash(in), Parent: c.RequestID, Service: api.Service{
		ServiceArn: string(within(c, "service", cluster.ClusterName, in.ServiceName)), ServiceName: in.ServiceName, ClusterArn: cluster.ClusterArn,
		Status: active, DesiredCount: *in.DesiredCount, CapacityProviderStrategy: strategy, TaskDefinition: d.TaskDefinitionArn,
		DeploymentConfiguration: configuration(nil, in.DeploymentConfiguration), NetworkConfiguration: in.NetworkConfiguration,
		HealthCheckGracePeriodSeconds: orEmpty(in.HealthCheckGracePeriodSeconds), SchedulingStrategy: "REPLICA", DeploymentController: &api.DeploymentController{Type: "ECS"},
		PlacementConstraints: append([]api.PlacementConstraint{}, in.PlacementConstraints...), PlacementStrategy: append([]api.PlacementStrategy{}, in.PlacementStrategy...),
		Tags: tags, CreatedBy: string(c.Caller.ARN), CreatedAt: now(c), EnableECSManagedTags: orEmpty(in.EnableECSManagedTags),
		PropagateTags: cmp.Or(in.PropagateTags, "NONE"), AvailabilityZoneRebalancing: cmp.Or(in.AvailabilityZoneRebalancing, "DISABLED"),
	}}
	if len(strategy) == 0 {
		t.LaunchType = launchType
	}
	if launchType == fargate {
		t.PlatformVersion, t.PlatformFamily = cmp.Or(in.PlatformVersion, "LATEST"), "Linux"
	}
	t.deploy(now(c))
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		if _, err := putIn(tx, c, in.Cluster); err != nil {
			return err
		}
		if old := services.Get(tx, t.key()); old != nil && old.Status != inactive {
			if in.ClientToken == "" || old.Request != t.Request || old.Status != active {
				if old.Status == draining {
					return api.InvalidParameter("Unable to Start a service that is still Draining.")
				}
				return api.InvalidParameter("Creation of service was not idempotent.")
			}
			t = old
			return nil
		}
		services.Put(tx, t.key(), t)
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.look()
	return &api.CreateServiceOutput{Service: t.view(s.DB.View(), true)}, nil
}

// theService is the service that a call names, which is not gone.
func theService(r store.Reader, c *service.Call, cluster, name string) (*TaskService, error) {
	a := within(c, "service", cluster, name)
	_, k := keyOf(a)
	t := services.Get(r, k)
	switch {
	case t == nil || !here(c, a, "service") || !strings.HasPrefix(a.Resource(), "service/"+clusterName(clusterARN(c, cluster))+"/"):
		return nil, api.ServiceNotFound("Service not found.")
	case t.Status == inactive:
		return nil, api.ServiceNotActive("Service was not ACTIVE.")
	}
	return t, nil
}

// updateService changes a service. What its tasks are made of makes a deployment; their number does not.
func (s *Service) updateService(ctx context.Context, c *service.Call, in *api.UpdateServiceInput) (*api.UpdateServiceOutput, error) {
	cluster, err := clusterOf(c.State, c, in.Cluster)
	if err != nil {
		return nil, err
	}
	before, err := theService(c.State, c, in.Cluster, in.Service)
	if err != nil {
		return nil, err
	}
	d := find(c.State, arn.ARN(before.TaskDefinition))
	if in.TaskDefinition != "" {
		if d, err = usable(c, in.TaskDefinition); err != nil {
			return nil, err
		}
	}
	err = checkService(configuration(before.DeploymentConfiguration, in.DeploymentConfiguration), in.DeploymentController, map[string]bool{
		"load balancers": len(in.LoadBalancers) > 0, "service registries": len(in.ServiceRegistries) > 0,
		"Service Connect": in.ServiceConnectConfiguration != nil && in.ServiceConnectConfiguration.Enabled, "volumes": len(in.VolumeConfigurations) > 0,
		"VPC Lattice": len(in.VpcLatticeConfigurations) > 0, "ExecuteCommand": orEmpty(in.EnableExecuteCommand),
	}, in.DesiredCount)
	if err != nil {
		return nil, err
	}
	network, strategy, launchType := before.NetworkConfiguration, before.CapacityProviderStrategy, before.LaunchType
	if in.NetworkConfiguration != nil {
		network = in.NetworkConfiguration
	}
	if in.CapacityProviderStrategy != nil {
		strategy, launchType = in.CapacityProviderStrategy, ""
	}
	if d == nil {
		return nil, api.Client("TaskDefinition not found.")
	}
	if _, _, err := checkLaunch(cluster, d, launchType, strategy, network); err != nil {
		return nil, err
	}
	var t *TaskService
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		var err error
		if t, err = theService(tx, c, in.Cluster, in.Service); err != nil {
			return err
		}
		if t.Status != active {
			return api.ServiceNotActive("Service was not ACTIVE.")
		}
		deploy := orEmpty(in.ForceNewDeployment)
		if in.TaskDefinition != "" && d.TaskDefinitionArn != t.TaskDefinition {
			t.TaskDefinition, deploy = d.TaskDefinitionArn, true
		}
		if in.NetworkConfiguration != nil && !reflect.DeepEqual(in.NetworkConfiguration, t.NetworkConfiguration) {
			t.NetworkConfiguration, deploy = in.NetworkConfiguration, true
		}
		if in.CapacityProviderStrategy != nil && !slices.Equal(in.CapacityProviderStrategy, t.CapacityProviderStrategy) {
			t.CapacityProviderStrategy, t.LaunchType, deploy = in.CapacityProviderStrategy, launchType, true
		}
		if in.PlatformVersion != "" && in.PlatformVersion != t.PlatformVersion {
			t.PlatformVersion, deploy = in.PlatformVersion, true
		}
		if in.DesiredCount != nil && *in.DesiredCount != t.DesiredCount {
			t.DesiredCount, t.Steady = *in.DesiredCount, false
			t.Deployments[0].DesiredCount, t.Deployments[0].UpdatedAt = t.DesiredCount, now(c)
		}
		t.DeploymentConfiguration = configuration(t.DeploymentConfiguration, in.DeploymentConfiguration)
		t.PropagateTags = cmp.Or(in.PropagateTags, t.PropagateTags)
		t.AvailabilityZoneRebalancing = cmp.Or(in.AvailabilityZoneRebalancing, t.AvailabilityZoneRebalancing)
		if in.EnableECSManagedTags != nil {
			t.EnableECSManagedTags = *in.EnableECSManagedTags
		}
		if in.HealthCheckGracePeriodSeconds != nil {
			t.HealthCheckGracePeriodSeconds = *in.HealthCheckGracePeriodSeconds
		}
		if in.PlacementConstraints != nil {
			t.PlacementConstraints = in.PlacementConstraints
		}
		if in.PlacementStrategy != nil {
			t.PlacementStrategy = in.PlacementStrategy
		}
		if deploy {
			t.Parent = c.RequestID
			t.deploy(now(c))
		}
		services.Put(tx, t.key(), t)
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.forgive(t.key())
	s.look()
	return &api.UpdateServiceOutput{Service: t.view(s.DB.View(), true)}, nil
}

// deleteService lets a service drain: it is INACTIVE once its tasks are gone.
func (s *Service) deleteService(ctx context.Context, c *service.Call, in *api.DeleteServiceInput) (*api.DeleteServiceOutput, error) {
	if _, err := clusterOf(c.State, c, in.Cluster); err != nil {
		return nil, err
	}
	var t *TaskService
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		var err error
		if t, err = theService(tx, c, in.Cluster, in.Service); err != nil {
			return err
		}
		if t.Status == active && t.DesiredCount > 0 && !orEmpty(in.Force) {
			return api.InvalidParameter("The service cannot be stopped while the primary deployment is scaled above 0.")
		}
		t.Status, t.DesiredCount, t.Deployments[0].DesiredCount = draining, 0, 0
		services.Put(tx, t.key(), t)
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.look()
	return &api.DeleteServiceOutput{Service: t.view(s.DB.View(), true)}, nil
}

func (s *Service) describeServices(_ context.Context, c *service.Call, in *api.DescribeServicesInput) (*api.DescribeServicesOutput, error) {
	if _, err := clusterOf(c.State, c, in.Cluster); err != nil {
		return nil, err
	}
	switch {
	case len(in.Services) == 0:
		return nil, api.InvalidParameter("Services cannot be empty.")
	case len(in.Services) > 10:
		return nil, api.InvalidParameter("Services cannot have more than 10 elements.")
	}
	out := &api.DescribeServicesOutput{Services: []api.Service{}, Failures: []api.Failure{}}
	for _, name := range in.Services {
		a := within(c, "service", in.Cluster, name)
		_, k := keyOf(a)
		t := services.Get(c.State, k)
		if t == nil || !here(c, a, "service") || !strings.HasPrefix(a.Resource(), "service/"+clusterName(clusterARN(c, in.Cluster))+"/") {
			out.Failures = append(out.Failures, missing(a))
			continue
		}
		out.Services = append(out.Services, *t.view(c.State, slices.Contains(in.Include, "TAGS")))
	}
	return out, nil
}

func (s *Service) listServices(_ context.Context, c *service.Call, in *api.ListServicesInput) (*api.ListServicesOutput, error) {
	cluster, err := clusterOf(c.State, c, in.Cluster)
	if err != nil {
		return nil, err
	}
	if in.MaxResults == nil { // ten a page, unless asked for more
		in.MaxResults = new(int32)
		*in.MaxResults = 10
	}
	arns, next, err := page(func(yield func(string) bool) {
		for _, t := range services.All(c.State, key(arn.ARN(cluster.ClusterArn), cluster.ClusterName)+"/") {
			if t.Status == inactive || in.LaunchType != "" && t.LaunchType != in.LaunchType ||
				in.SchedulingStrategy != "" && t.SchedulingStrategy != in.SchedulingStrategy || in.ResourceManagementType == "ECS" {
				continue
			}
			if !yield(t.ServiceArn) {
				return
			}
		}
	}, in.MaxResults, 100, in.NextToken)
	return &api.ListServicesOutput{ServiceArns: arns, NextToken: next}, err
}
