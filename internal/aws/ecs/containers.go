package ecs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/internal/workload"
)

// A program is what a container of a task is on this machine: a *workload.Run, which is a
// process, or a *workload.Container.
type program interface {
	Done() <-chan struct{}
	Exit() (code int, reason string)
	Stop()
	Kill()
	Remove() error
}

// startProgram starts a container: as a container where the task has a network of
// containers, and otherwise as a process. The error begins as the reasons of tasks do.
func (r *run) startProgram(ctx context.Context, c *container, out *output) (p program, id string, err error) {
	if r.s.Logs != "" {
		if err := out.keep(filepath.Join(r.s.Logs, r.task.id(), c.definition.Name+".log")); err != nil {
			return nil, "", fmt.Errorf("CannotStartContainerError: %w", err)
		}
	}
	if r.network == nil {
		job, err := r.process(c, out)
		if err != nil {
			return nil, "", fmt.Errorf("CannotStartContainerError: %w", err)
		}
		process, err := r.s.Workloads.Run(ctx, job)
		if err != nil {
			err = fmt.Errorf("CannotStartContainerError: %w", err)
			if tail := out.Tail(); tail != "" { // the keeper's own words
				err = fmt.Errorf("%w: %s", err, tail)
			}
			return nil, "", err
		}
		return process, r.task.id() + "-" + c.definition.Name, nil
	}
	job, err := r.containerJob(c, out)
	if err != nil {
		return nil, "", fmt.Errorf("CannotCreateContainerError: %w", err)
	}
	if err := r.pull(ctx, c); err != nil {
		return nil, "", fmt.Errorf("CannotPullContainerError: %w", err)
	}
	made, err := r.network.Create(ctx, job)
	if err != nil {
		return nil, "", fmt.Errorf("CannotCreateContainerError: %w", err)
	}
	if err := made.Start(ctx); err != nil {
		made.Remove()
		return nil, "", fmt.Errorf("CannotStartContainerError: %w", err)
	}
	return made, made.ID(), nil
}

// pull sees to it that the engine has a container's image. A task that is to end does not
// wait for it.
func (r *run) pull(ctx context.Context, c *container) error {
	during, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-r.ending:
			cancel(errors.New("the task was stopped"))
		case <-during.Done():
		}
	}()
	r.update(ctx, func(t *Task) {
		if t.PullStartedAt.IsZero() {
			t.PullStartedAt = r.s.now().UTC().Truncate(time.Millisecond)
		}
	})
	digest, err := r.s.Workloads.Pull(during, c.definition.Image)
	if cause := context.Cause(during); err != nil && cause != nil {
		return cause
	}
	if err != nil {
		return err
	}
	r.update(ctx, func(t *Task) {
		t.PullStoppedAt = r.s.now().UTC().Truncate(time.Millisecond)
		t.container(c.definition.Name).ImageDigest = digest
	})
	return nil
}

// Of containers (API Reference, ContainerDefinition).
const (
	usualStop  = 30 * time.Second // stopTimeout
	leastShare = 2                // of the CPU
)

// containerJob is what a container is to the engine. What would give it something of the
// machine is refused.
func (r *run) containerJob(c *container, out *output) (workload.ContainerJob, error) {
	d := c.definition
	linux := orEmpty(d.LinuxParameters)
	switch {
	case d.Privileged:
		return workload.ContainerJob{}, errors.New("privileged containers are not run: they would be root of the machine")
	case len(linux.Devices) > 0 || len(d.ResourceRequirements) > 0:
		return workload.ContainerJob{}, errors.New("devices of the machine are not given to containers")
	case len(orEmpty(linux.Capabilities).Add) > 0:
		return workload.ContainerJob{}, fmt.Errorf("capabilities are not added to those that containers have: %s", strings.Join(linux.Capabilities.Add, ", "))
	case len(d.DockerSecurityOptions) > 0:
		return workload.ContainerJob{}, errors.New("dockerSecurityOptions are not given to the engine")
	case orEmpty(d.RepositoryCredentials).CredentialsParameter != "":
		return workload.ContainerJob{}, errors.New("credentials of registries are in Secrets Manager, which iamd does not serve")
	}
	labels := r.labels(d)
	taskMemory, _ := units(r.task.Memory)
	taskCPU, _ := units(r.task.Cpu)
	job := workload.ContainerJob{
		Kind: "ecs", Name: r.definition.Family + "-" + d.Name, Image: d.Image, Labels: labels,
		Entrypoint: d.EntryPoint, Command: d.Command, Env: c.env, WorkDir: d.WorkingDirectory, User: d.User,
		Terminal: d.PseudoTerminal, Stdin: d.Interactive, Init: linux.InitProcessEnabled, StopAfter: cmp.Or(time.Duration(d.StopTimeout)*time.Second, usualStop),
		ReadOnly: d.ReadonlyRootFilesystem, Shared: int64(linux.SharedMemorySize) << 20, Drop: orEmpty(linux.Capabilities).Drop,
		Memory: cmp.Or(int64(d.Memory), int64(taskMemory)) << 20, Reserved: int64(d.MemoryReservation) << 20,
		Shares: max(int64(d.Cpu), leastShare), CPU: int64(taskCPU), Output: out,
	}
	for _, t := range linux.Tmpfs {
		if job.Tmpfs == nil {
			job.Tmpfs = map[string]string{}
		}
		job.Tmpfs[t.ContainerPath] = strings.Join(append([]string{"size=" + strconv.Itoa(int(t.Size)) + "m"}, t.MountOptions...), ",")
	}
	for _, l := range d.Ulimits {
		job.Limits = append(job.Limits, workload.Ulimit{Name: l.Name, Soft: int64(l.SoftLimit), Hard: int64(l.HardLimit)})
	}
	for _, s := range d.SystemControls {
		if job.Sysctls == nil {
			job.Sysctls = map[string]string{}
		}
		job.Sysctls[s.Namespace] = s.Value
	}
	return job, nil
}
