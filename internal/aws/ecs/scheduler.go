package ecs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/ecs/api"
	"github.com/iamd-dev/iamd/internal/store"
)

// A wait is how long a service whose tasks fail starts none.
type wait struct {
	failures int
	until    time.Time
}

// Back-off: a second after the first task that fails, twice that after the next, and so
// on. A task that has run for long enough is no failure.
const (
	firstWait  = time.Second
	longest    = 5 * time.Minute
	longEnough = time.Minute
	waitsLong  = 4
)

// look wakes the scheduler. It does not wait for it.
func (s *Service) look() {
	s.mu.Lock()
	wake := s.wake
	s.mu.Unlock()
	select {
	case wake <- struct{}{}:
	default: // it is about to look, or there is none
	}
}

// schedule looks at the services whenever it is woken, and when a wait is over.
func (s *Service) schedule() {
	for {
		timer := time.NewTimer(s.lookAll(s.ctx))
		select {
		case <-s.ctx.Done():
			timer.Stop()
			return
		case <-s.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// lookAll brings all services nearer to what is desired, and returns when to look again
// if nothing happens.
func (s *Service) lookAll(ctx context.Context) time.Duration {
	next := time.Minute
	for k, t := range services.All(s.DB.View(), "") {
		if t.Status == inactive || ctx.Err() != nil {
			continue
		}
		next = min(next, s.tend(ctx, k))
	}
	if err := s.sweep(ctx); err != nil && ctx.Err() == nil && s.Log != nil {
		s.Log.Error("forgetting what has ended", "error", err)
	}
	return next
}

// tend starts and stops tasks of one service, and says of it what there is to say. It
// returns when to look again if nothing happens.
func (s *Service) tend(ctx context.Context, k string) time.Duration {
	const later = time.Minute
	state := s.DB.View()
	t := services.Get(state, k)
	if t == nil || len(t.Deployments) == 0 {
		return later
	}
	d := t.Deployments[0]
	desired := int(t.DesiredCount)
	var fresh, old, leaving []*Task
	healthy := 0
	for _, one := range t.tasks(state) {
		switch {
		case one.DesiredStatus == stopped:
			leaving = append(leaving, one)
			continue
		case one.StartedBy == d.Id:
			fresh = append(fresh, one)
		default:
			old = append(old, one)
		}
		if one.LastStatus == running {
			healthy++
		}
	}
	least, most := percent(t.DeploymentConfiguration)
	atLeast, atMost := (desired*int(least)+99)/100, desired*int(most)/100

	// Which are too many: of the primary deployment those beyond the desired count, the
	// youngest first, and of others as many as others than they keep healthy.
	age := func(a, b *Task) int { return a.CreatedAt.Compare(b.CreatedAt) }
	slices.SortFunc(fresh, age)
	slices.SortFunc(old, age)
	var stop []*Task
	for len(fresh) > desired {
		stop, fresh = append(stop, fresh[len(fresh)-1]), fresh[:len(fresh)-1]
	}
	for _, one := range stop {
		if one.LastStatus == running {
			healthy--
		}
	}
	for _, one := range old {
		if one.LastStatus == running {
			if healthy <= atLeast {
				continue
			}
			healthy--
		}
		stop = append(stop, one)
	}
	if len(stop) > 0 {
		var names []string
		for _, one := range stop {
			if r := s.run(one.key()); r != nil {
				r.end(scheduled, "Scaling activity initiated by (deployment "+d.Id+")")
			}
			names = append(names, "(task "+one.id()+")")
		}
		s.change(ctx, k, func(t *TaskService) {
			t.tell(s.now(), "has stopped %d running tasks: %s.", len(names), strings.Join(names, " "))
		})
		return later // their end wakes us
	}

	if n := min(desired-len(fresh), atMost-len(fresh)-len(old)); n > 0 && t.Status == active && d.RolloutState != failed {
		s.mu.Lock()
		w := s.waits[k]
		s.mu.Unlock()
		if left := time.Until(w.until); left > 0 {
			return left
		}
		if w.failures > 0 {
			n = 1 // a trial
		}
		s.start(ctx, t, n)
		return later
	}

	gone := len(old) == 0 && len(leaving) == 0
	switch {
	case t.Status == draining && gone && len(fresh) == 0:
		s.change(ctx, k, func(t *TaskService) {
			t.Status, t.Ended, t.Deployments = inactive, s.now(), []api.Deployment{}
		})
		s.forgive(k)
	case t.Status == active && gone && len(fresh) == desired && healthy == desired && !t.Steady && d.RolloutState != failed:
		s.change(ctx, k, func(t *TaskService) {
			if t.Deployments[0].Id != d.Id || int(t.DesiredCount) != desired {
				return // it was changed meanwhile
			}
			p := &t.Deployments[0]
			if p.RolloutState != completed {
				p.RolloutState, p.RolloutStateReason, p.FailedTasks = completed, "ECS deployment "+p.Id+" completed.", 0
				p.UpdatedAt = s.now().UTC().Truncate(time.Millisecond)
				t.tell(s.now(), "(deployment %s) deployment completed.", p.Id)
			}
			t.Deployments, t.Good, t.Steady = t.Deployments[:1], t.TaskDefinition, true
			t.tell(s.now(), "has reached a steady state.")
		})
	}
	return later
}

// change changes a service, unless it is gone.
func (s *Service) change(ctx context.Context, k string, f func(*TaskService)) {
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		if t := services.Get(tx, k); t != nil && t.Status != inactive {
			f(t)
			services.Put(tx, k, t)
		}
		return nil
	})
	if err != nil && ctx.Err() == nil && s.Log != nil {
		s.Log.Error("changing a service", "service", k, "error", err)
	}
}

// start starts tasks of a service's primary deployment.
func (s *Service) start(ctx context.Context, t *TaskService, n int) {
	state := s.DB.View()
	k, d := t.key(), t.Deployments[0]
	definition := find(state, arn.ARN(d.TaskDefinition))
	cluster := clusters.Get(state, strings.TrimSuffix(t.cluster(), "/"))
	if definition == nil || cluster == nil {
		s.failed(ctx, k, d.Id, "was unable to start a task: its task definition is not there any more.")
		return
	}
	if s.Workloads.Off != nil {
		s.failed(ctx, k, d.Id, "was unable to place a task. Reason: "+s.Workloads.Off.Error()+".")
		return
	}
	o := &order{
		cluster: cluster, definition: definition, launchType: d.LaunchType, platform: d.PlatformVersion, group: "service:" + t.ServiceName,
		startedBy: d.Id, service: t.ServiceName, at: s.now().UTC().Truncate(time.Millisecond), parent: t.Parent,
	}
	if len(d.CapacityProviderStrategy) > 0 {
		o.launchType, o.provider = fargate, d.CapacityProviderStrategy[0].CapacityProvider
	}
	switch t.PropagateTags {
	case "SERVICE":
		o.tags = slices.Clone(t.Tags)
	case "TASK_DEFINITION":
		o.tags = slices.Clone(definition.Tags)
	}
	if t.EnableECSManagedTags {
		o.tags = propagated(o.tags, []api.Tag{{Key: "aws:ecs:clusterName", Value: cluster.ClusterName}, {Key: "aws:ecs:serviceName", Value: t.ServiceName}})
	}
	var all []*run
	var names []string
	for range n {
		r, err := s.prepare(ctx, o)
		if err != nil {
			if ctx.Err() == nil {
				s.failed(ctx, k, d.Id, "failed to launch a task with (error "+message(err)+").")
			}
			break
		}
		all, names = append(all, r), append(names, "(task "+r.task.id()+")")
	}
	if len(all) == 0 {
		return
	}
	begin := false
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		now := services.Get(tx, k)
		if begin = now != nil && now.Status == active && now.Deployments[0].Id == d.Id; !begin {
			return nil
		}
		now.tell(o.at, "has started %d tasks: %s.", len(all), strings.Join(names, " "))
		now.Steady = false
		services.Put(tx, k, now)
		for _, r := range all {
			tasks.Put(tx, r.task.key(), r.task)
		}
		return nil
	})
	if err != nil || !begin {
		return
	}
	for _, r := range all {
		s.launch(r)
	}
}

// message is an error's text, without its code.
func message(err error) string {
	_, text, ok := strings.Cut(err.Error(), "Exception: ")
	if !ok {
		return err.Error()
	}
	return text
}

// ended hears that a task has ended. One of a service that failed has the next one wait.
func (s *Service) ended(r *run) {
	if r.task.Service == "" || r.code == userInitiated || r.code == scheduled || s.ctx.Err() != nil {
		return
	}
	k := strings.TrimSuffix(r.task.key(), r.task.id()) + r.task.Service
	switch {
	case r.ran.IsZero():
		s.failed(s.ctx, k, r.task.StartedBy, fmt.Sprintf("(task %s) failed to start: %s", r.task.id(), r.reason))
	case time.Since(r.ran) < longEnough:
		s.backOff(s.ctx, k)
	default:
		s.forgive(k)
	}
	s.change(s.ctx, k, func(t *TaskService) { t.Steady = false })
}

// backOff has a service wait before it starts the next task, and says so when it comes to waiting long.
func (s *Service) backOff(ctx context.Context, k string) {
	s.mu.Lock()
	w := s.waits[k]
	w.failures++
	w.until = time.Now().Add(min(firstWait<<min(w.failures-1, 20), longest))
	s.waits[k] = w
	s.mu.Unlock()
	if w.failures == waitsLong {
		s.change(ctx, k, func(t *TaskService) { t.tell(s.now(), "is unable to consistently start tasks successfully.") })
	}
}

// forgive ends a service's wait.
func (s *Service) forgive(k string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waits, k)
}

// failed says of a service that a task of a deployment could not be started. The circuit
// breaker, if there is one, ends a deployment of which too many cannot.
func (s *Service) failed(ctx context.Context, k, deployment, event string) {
	s.backOff(ctx, k)
	s.change(ctx, k, func(t *TaskService) {
		t.tell(s.now(), "%s", event)
		d := &t.Deployments[0]
		if d.Id != deployment {
			return
		}
		d.FailedTasks++
		threshold := min(max(3, (t.DesiredCount+1)/2), 200)
		breaker := orEmpty(orEmpty(t.DeploymentConfiguration).DeploymentCircuitBreaker)
		if !breaker.Enable || d.RolloutState != inProgress || d.FailedTasks < threshold {
			return
		}
		d.RolloutState, d.RolloutStateReason = failed, "ECS deployment circuit breaker: tasks failed to start."
		t.tell(s.now(), "(deployment %s) deployment failed: tasks failed to start.", d.Id)
		if breaker.Rollback && t.Good != "" && t.Good != t.TaskDefinition {
			t.TaskDefinition = t.Good
			t.deploy(s.now().UTC().Truncate(time.Millisecond))
			t.Deployments[0].RolloutStateReason = "ECS deployment circuit breaker: rolling back to the last completed deployment."
			t.tell(s.now(), "rolling back to %s.", t.Good)
		}
	})
}

// sweep forgets what ended long enough ago.
func (s *Service) sweep(ctx context.Context) error {
	state, at := s.DB.View(), s.now()
	before := at.Add(-rememberFor)
	var forget []func(*store.Tx)
	for k, t := range tasks.All(state, "") {
		if t.LastStatus == stopped && t.StoppedAt.Before(before) {
			forget = append(forget, func(tx *store.Tx) { tasks.Delete(tx, k) })
			if s.Logs != "" {
				os.RemoveAll(filepath.Join(s.Logs, t.id()))
			}
		}
	}
	for k, t := range services.All(state, "") {
		if t.Status == inactive && t.Ended.Before(before) {
			forget = append(forget, func(tx *store.Tx) {
				if t := services.Get(tx, k); t != nil && t.Status == inactive {
					services.Delete(tx, k)
				}
			})
		}
	}
	for k, c := range clusters.All(state, "") {
		if c.Status == inactive && c.Ended.Before(before) {
			forget = append(forget, func(tx *store.Tx) {
				if c := clusters.Get(tx, k); c != nil && c.Status == inactive {
					clusters.Delete(tx, k)
				}
			})
		}
	}
	for k, t := range tokens.All(state, "") {
		if at.Sub(t.Used) > tokensLast {
			forget = append(forget, func(tx *store.Tx) { tokens.Delete(tx, k) })
		}
	}
	for k, d := range definitions.All(state, "") {
		if d.Status == deleting && !inUse(state, d) {
			forget = append(forget, func(tx *store.Tx) { definitions.Delete(tx, k) })
		}
	}
	for _, f := range forget {
		if err := s.DB.Update(ctx, func(tx *store.Tx) error { f(tx); return nil }); err != nil {
			return err
		}
	}
	return nil
}

// inUse tells whether a service or a task is made of a definition.
func inUse(r store.Reader, d *Definition) bool {
	in := d.arn().Account() + "/" + d.arn().Region() + "/"
	for _, t := range services.All(r, in) {
		if t.TaskDefinition == d.TaskDefinitionArn || t.Good == d.TaskDefinitionArn && t.Status != inactive ||
			slices.ContainsFunc(t.Deployments, func(o api.Deployment) bool { return o.TaskDefinition == d.TaskDefinitionArn }) {
			return true
		}
	}
	for _, t := range tasks.All(r, in) {
		if t.TaskDefinitionArn == d.TaskDefinitionArn && t.LastStatus != stopped {
			return true
		}
	}
	return false
}
