package ecs

import (
	"cmp"
	"context"
	"encoding/base64"
	"iter"
	"reflect"
	"slices"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/ecs/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// What something is, in AWS's words.
const (
	active   = "ACTIVE"
	inactive = "INACTIVE"
	draining = "DRAINING"
	deleting = "DELETE_IN_PROGRESS"
)

// rememberFor is how long what has ended can still be described, as AWS does for about an hour.
const rememberFor = time.Hour

// A Cluster is what tasks run in. One that was deleted is kept for a while.
type Cluster struct {
	api.Cluster
	Ended time.Time `json:",omitzero"` // when it was deleted
}

var clusters = store.NewTable[Cluster]("ecs-clusters") // by account/region/name

// Tables returns the tables of the store, so that what is in them is checked at start.
func Tables() []store.Checker {
	return []store.Checker{clusters, families, definitions, services, tasks, tokens}
}

// clusterOf is the active cluster that a call names.
func clusterOf(r store.Reader, c *service.Call, name string) (*Cluster, error) {
	a := clusterARN(c, name)
	if here(c, a, "cluster") {
		if cluster := clusters.Get(r, key(a, clusterName(a))); cluster != nil && cluster.Status == active {
			return cluster, nil
		}
	}
	return nil, api.ClusterNotFound("Cluster not found.")
}

// awsProviders are the capacity providers that every cluster may use.
var awsProviders = []string{"FARGATE", "FARGATE_SPOT"}

func checkProviders(names []string, strategy []api.CapacityProviderStrategyItem) error {
	for _, item := range strategy {
		names = append(slices.Clip(names), item.CapacityProvider)
	}
	for _, name := range names {
		if !slices.Contains(awsProviders, name) {
			return api.InvalidParameter("The specified capacity provider '%s' was not found. Specify a valid name or ARN and try again.", name)
		}
	}
	return nil
}

// createCluster makes a cluster; one that is there already as it is asked for is the answer.
func (s *Service) createCluster(ctx context.Context, c *service.Call, in *api.CreateClusterInput) (*api.CreateClusterOutput, error) {
	name := cmp.Or(in.ClusterName, defaultCluster)
	if !goodName.MatchString(name) {
		return nil, api.InvalidParameter("Cluster name is invalid: up to 255 letters, numbers, underscores and hyphens are allowed.")
	}
	if err := checkProviders(in.CapacityProviders, in.DefaultCapacityProviderStrategy); err != nil {
		return nil, err
	}
	if in.ServiceConnectDefaults != nil {
		return nil, notServed("Service Connect")
	}
	tags, err := withTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	a := clusterARN(c, name)
	cluster := &Cluster{Cluster: api.Cluster{
		ClusterArn: string(a), ClusterName: name, Status: active, Tags: tags,
		Configuration: in.Configuration, Settings: settings(nil, in.Settings),
		CapacityProviders: in.CapacityProviders, DefaultCapacityProviderStrategy: in.DefaultCapacityProviderStrategy,
	}}
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		old := clusters.Get(tx, key(a, name))
		if old == nil || old.Status != active {
			clusters.Put(tx, key(a, name), cluster)
			return nil
		}
		asked := in.Tags != nil || in.Settings != nil || in.Configuration != nil || in.CapacityProviders != nil || in.DefaultCapacityProviderStrategy != nil
		if asked && !same(old, cluster) {
			return api.InvalidParameter("Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
		}
		cluster = old
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.CreateClusterOutput{Cluster: viewCluster(s.DB.View(), cluster, true)}, nil
}

func same(a, b *Cluster) bool {
	return slices.Equal(a.Tags, b.Tags) && slices.Equal(a.Settings, b.Settings) && slices.Equal(a.CapacityProviders, b.CapacityProviders) &&
		slices.Equal(a.DefaultCapacityProviderStrategy, b.DefaultCapacityProviderStrategy) && reflect.DeepEqual(a.Configuration, b.Configuration)
}

// settings are the old ones, changed by the new. There is one kind, and it changes nothing here.
func settings(old, changed []api.ClusterSetting) []api.ClusterSetting {
	all := slices.Clone(old)
	if len(all) == 0 {
		all = []api.ClusterSetting{{Name: "containerInsights", Value: "disabled"}}
	}
	for _, c := range changed {
		if i := slices.IndexFunc(all, func(s api.ClusterSetting) bool { return s.Name == c.Name }); i >= 0 {
			all[i].Value = c.Value
		}
	}
	return all
}

// viewCluster is a cluster with the counts of what is in it.
func viewCluster(r store.Reader, cluster *Cluster, withTags bool) *api.Cluster {
	v := cluster.Cluster
	if !withTags {
		v.Tags = nil
	}
	in := key(arn.ARN(v.ClusterArn), v.ClusterName) + "/"
	for _, t := range tasks.All(r, in) {
		switch t.LastStatus {
		case running:
			v.RunningTasksCount++
		case provisioning, pending:
			v.PendingTasksCount++
		}
	}
	for _, s := range services.All(r, in) {
		if s.Status == active {
			v.ActiveServicesCount++
		}
	}
	return &v
}

func (s *Service) describeClusters(_ context.Context, c *service.Call, in *api.DescribeClustersInput) (*api.DescribeClustersOutput, error) {
	names := in.Clusters
	if len(names) == 0 {
		names = []string{defaultCluster}
	}
	if len(names) > 100 {
		return nil, api.InvalidParameter("Clusters cannot have more than 100 elements.")
	}
	out := &api.DescribeClustersOutput{Clusters: []api.Cluster{}, Failures: []api.Failure{}}
	for _, name := range names {
		a := clusterARN(c, name)
		if here(c, a, "cluster") {
			if cluster := clusters.Get(c.State, key(a, clusterName(a))); cluster != nil {
				v := viewCluster(c.State, cluster, slices.Contains(in.Include, "TAGS"))
				if !slices.Contains(in.Include, "SETTINGS") {
					v.Settings = nil
				}
				if !slices.Contains(in.Include, "CONFIGURATIONS") {
					v.Configuration = nil
				}
				out.Clusters = append(out.Clusters, *v)
				continue
			}
		}
		out.Failures = append(out.Failures, missing(a))
	}
	return out, nil
}

func missing(a arn.ARN) api.Failure { return api.Failure{Arn: string(a), Reason: "MISSING"} }

func (s *Service) listClusters(_ context.Context, c *service.Call, in *api.ListClustersInput) (*api.ListClustersOutput, error) {
	arns, next, err := page(func(yield func(string) bool) {
		for _, cluster := range clusters.All(c.State, c.Account+"/"+c.Region+"/") {
			if cluster.Status == active && !yield(cluster.ClusterArn) {
				return
			}
		}
	}, in.MaxResults, 100, in.NextToken)
	return &api.ListClustersOutput{ClusterArns: arns, NextToken: next}, err
}

// page is a page of a list, of at most so many, and where the next begins. A token is the
// last item of a page, so that a list that changes meanwhile shows nothing twice.
func page(all iter.Seq[string], maxResults *int32, most int, token string) (items []string, next string, err error) {
	n := most
	if maxResults != nil {
		if n = int(*maxResults); n < 1 || n > most {
			return nil, "", api.InvalidParameter("maxResults must be between 1 and %d.", most)
		}
	}
	after, err := base64.URLEncoding.DecodeString(token)
	if err != nil {
		return nil, "", api.InvalidParameter("Invalid token.")
	}
	items = []string{}
	for item := range all {
		if token != "" {
			if item == string(after) {
				token = ""
			}
			continue
		}
		if len(items) == n {
			return items, base64.URLEncoding.EncodeToString([]byte(items[n-1])), nil
		}
		items = append(items, item)
	}
	if token != "" {
		return nil, "", api.InvalidParameter("Invalid token.")
	}
	return items, "", nil
}

// changeCluster changes the active cluster that a call names.
func (s *Service) changeCluster(ctx context.Context, c *service.Call, name string, f func(*store.Tx, *Cluster) error) (*api.Cluster, error) {
	var changed *Cluster
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		cluster, err := clusterOf(tx, c, name)
		if err != nil {
			return err
		}
		if err := f(tx, cluster); err != nil {
			return err
		}
		clusters.Put(tx, key(arn.ARN(cluster.ClusterArn), cluster.ClusterName), cluster)
		changed = cluster
		return nil
	})
	if err != nil {
		return nil, err
	}
	return viewCluster(s.DB.View(), changed, true), nil
}

func (s *Service) updateCluster(ctx context.Context, c *service.Call, in *api.UpdateClusterInput) (*api.UpdateClusterOutput, error) {
	if in.ServiceConnectDefaults != nil {
		return nil, notServed("Service Connect")
	}
	v, err := s.changeCluster(ctx, c, in.Cluster, func(_ *store.Tx, cluster *Cluster) error {
		cluster.Settings = settings(cluster.Settings, in.Settings)
		if in.Configuration != nil {
			cluster.Configuration = in.Configuration
		}
		return nil
	})
	return &api.UpdateClusterOutput{Cluster: v}, err
}

func (s *Service) updateClusterSettings(ctx context.Context, c *service.Call, in *api.UpdateClusterSettingsInput) (*api.UpdateClusterSettingsOutput, error) {
	v, err := s.changeCluster(ctx, c, in.Cluster, func(_ *store.Tx, cluster *Cluster) error {
		cluster.Settings = settings(cluster.Settings, in.Settings)
		return nil
	})
	return &api.UpdateClusterSettingsOutput{Cluster: v}, err
}

// deleteCluster deletes a cluster in which nothing is. Whoever puts something in writes
// the cluster, too, so that the two cannot both happen: see putIn.
func (s *Service) deleteCluster(ctx context.Context, c *service.Call, in *api.DeleteClusterInput) (*api.DeleteClusterOutput, error) {
	v, err := s.changeCluster(ctx, c, in.Cluster, func(tx *store.Tx, cluster *Cluster) error {
		prefix := key(arn.ARN(cluster.ClusterArn), cluster.ClusterName) + "/"
		for _, one := range services.All(tx, prefix) {
			if one.Status != inactive {
				return api.ClusterContainsServices("The Cluster cannot be deleted while Services are active.")
			}
		}
		for _, one := range tasks.All(tx, prefix) {
			if one.LastStatus != stopped {
				return api.ClusterContainsTasks("The Cluster cannot be deleted while Tasks are active.")
			}
		}
		cluster.Status, cluster.Ended = inactive, c.Time
		return nil
	})
	return &api.DeleteClusterOutput{Cluster: v}, err
}

// putIn is called in an Update that puts something into a cluster.
func putIn(tx *store.Tx, c *service.Call, name string) (*Cluster, error) {
	cluster, err := clusterOf(tx, c, name)
	if err == nil {
		clusters.Put(tx, key(arn.ARN(cluster.ClusterArn), cluster.ClusterName), cluster)
	}
	return cluster, err
}

// notServed is the answer to a call that asks for what iamd has not.
func notServed(what string) error {
	return api.UnsupportedFeature("iamd does not serve this: %s.", what)
}
