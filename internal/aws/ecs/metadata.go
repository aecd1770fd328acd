package ecs

import (
	"encoding/json"
	"maps"
	"net/http"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/ecs/api"
)

// What a container may know of itself and its task, by ECS_CONTAINER_METADATA_URI_V4
// (Developer Guide, "Amazon ECS task metadata endpoint version 4"): what of it there is here.

type containerMetadata struct {
	DockerId      string
	Name          string
	DockerName    string
	Image         string
	Labels        map[string]string
	DesiredStatus string
	KnownStatus   string
	ExitCode      *int32           `json:",omitempty"`
	Limits        map[string]int32 `json:",omitempty"`
	CreatedAt     time.Time        `json:",omitzero"`
	StartedAt     time.Time        `json:",omitzero"`
	Type          string
	ContainerARN  string
}

type taskMetadata struct {
	Cluster          string
	TaskARN          string
	Family           string
	Revision         string
	ServiceName      string `json:",omitempty"`
	DesiredStatus    string
	KnownStatus      string
	AvailabilityZone string
	LaunchType       string
	Containers       []containerMetadata
}

func (r *run) aboutContainer(t *Task, v *api.Container) containerMetadata {
	m := containerMetadata{
		DockerId: v.RuntimeId, Name: v.Name, DockerName: v.Name, Image: v.Image, DesiredStatus: t.DesiredStatus, KnownStatus: v.LastStatus,
		ExitCode: v.ExitCode, CreatedAt: t.CreatedAt, StartedAt: t.StartedAt, Type: "NORMAL", ContainerARN: v.ContainerArn,
	}
	for i := range r.definition.ContainerDefinitions {
		d := &r.definition.ContainerDefinitions[i]
		if d.Name != v.Name {
			continue
		}
		m.Labels = r.labels(d)
		m.Limits = map[string]int32{"CPU": d.Cpu}
		if d.Memory != 0 {
			m.Limits["Memory"] = d.Memory
		}
	}
	return m
}

// labels are those of a container: what it is, and what its definition gives it.
func (r *run) labels(d *api.ContainerDefinition) map[string]string {
	labels := map[string]string{}
	maps.Copy(labels, d.DockerLabels)
	maps.Copy(labels, map[string]string{
		"com.amazonaws.ecs.cluster":                 r.task.ClusterArn,
		"com.amazonaws.ecs.container-name":          d.Name,
		"com.amazonaws.ecs.task-arn":                r.task.TaskArn,
		"com.amazonaws.ecs.task-definition-family":  r.definition.Family,
		"com.amazonaws.ecs.task-definition-version": number(r.definition.Revision),
	})
	return labels
}

func (r *run) containerMetadata(w http.ResponseWriter, name string) {
	if t := tasks.Get(r.s.DB.View(), r.task.key()); t != nil {
		tell(w, r.aboutContainer(t, t.container(name)))
		return
	}
	http.NotFound(w, nil)
}

func (r *run) taskMetadata(w http.ResponseWriter) {
	t := tasks.Get(r.s.DB.View(), r.task.key())
	if t == nil {
		http.NotFound(w, nil)
		return
	}
	m := taskMetadata{
		Cluster: t.ClusterArn, TaskARN: t.TaskArn, Family: r.definition.Family, Revision: number(r.definition.Revision), ServiceName: t.Service,
		DesiredStatus: t.DesiredStatus, KnownStatus: t.LastStatus, AvailabilityZone: t.AvailabilityZone, LaunchType: t.LaunchType,
	}
	for i := range t.Containers {
		m.Containers = append(m.Containers, r.aboutContainer(t, &t.Containers[i]))
	}
	tell(w, m)
}

func tell(w http.ResponseWriter, document any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(document)
}
