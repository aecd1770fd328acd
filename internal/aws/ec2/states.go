package ec2

import (
	"context"
	"fmt"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/ec2/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// change gives each of the instances to f to be changed and keeps what f made of them: of
// all or of none.
func (s *Service) change(ctx context.Context, c *service.Call, ids []string, f func(*Instance) error) error {
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		all, err := find(tx, c.Account, c.Region, ids, c.Time)
		if err != nil {
			return err
		}
		for _, i := range all {
			if err := f(i); err != nil {
				return err
			}
			instanceTable.Put(tx, i.at(), i)
		}
		return nil
	})
}

// move is change for operations that lead instances from one state to another, in which
// they are left in the store until that is done. f answers the next state, "" where there
// is nothing to do. What moved is returned.
func (s *Service) move(ctx context.Context, c *service.Call, ids []string, f func(*Instance) (string, error)) (changes []api.InstanceStateChange, moved []*Instance, err error) {
	err = s.change(ctx, c, ids, func(i *Instance) error {
		if i.ID == ids[0] { // it may run twice
			changes, moved = nil, nil
		}
		next, err := f(i)
		if err != nil {
			return err
		}
		change := api.InstanceStateChange{InstanceId: i.ID, PreviousState: stateOf(i.State)}
		if next != "" {
			i.State = next
			moved = append(moved, i)
		}
		change.CurrentState = stateOf(i.State)
		changes = append(changes, change)
		return nil
	})
	return changes, moved, err
}

// reason is why an instance is in a state, as the two fields say it.
func (i *Instance) reason(code, message string, now time.Time) {
	i.Reason = &api.StateReason{Code: code, Message: code + ": " + message}
	i.Transition = fmt.Sprintf("%s (%s GMT)", message, now.UTC().Format("2006-01-02 15:04:05"))
	if code == byUser {
		i.Transition = fmt.Sprintf("User initiated (%s GMT)", now.UTC().Format("2006-01-02 15:04:05"))
	}
}

const (
	byUser   = "Client.UserInitiatedShutdown"
	byItself = "Client.InstanceInitiatedShutdown"
	byServer = "Server.ScheduledStop"
	byFault  = "Server.InternalError"
)

func (s *Service) startInstances(ctx context.Context, c *service.Call, in *api.StartInstancesInput) (*api.StartInstancesOutput, error) {
	if err := s.Machines.able(); err != nil {
		return nil, err
	}
	changes, moved, err := s.move(ctx, c, in.InstanceIds, func(i *Instance) (string, error) {
		switch i.State {
		case running, pending:
			return "", nil
		case stopped:
			i.Reason, i.Transition, i.Launched = nil, "", c.Time.UTC()
			return pending, nil
		}
		return "", api.IncorrectInstanceState("The instance '%s' is not in a state from which it can be started.", i.ID)
	})
	if err != nil {
		return nil, err
	}
	s.Machines.start(moved)
	return &api.StartInstancesOutput{StartingInstances: changes}, nil
}

func (s *Service) stopInstances(ctx context.Context, c *service.Call, in *api.StopInstancesInput) (*api.StopInstancesOutput, error) {
	if in.Hibernate != nil && *in.Hibernate {
		return nil, api.UnsupportedOperation("The instance '%s' is not configured for hibernation.", in.InstanceIds[0])
	}
	changes, moved, err := s.move(ctx, c, in.InstanceIds, func(i *Instance) (string, error) {
		switch {
		case i.State == stopped || i.State == stopping:
			return "", nil
		case i.State != running:
			return "", api.IncorrectInstanceState("This instance '%s' is not in a state from which it can be stopped.", i.ID)
		case i.DisableStop:
			return "", api.OperationNotPermitted("The instance '%s' may not be stopped. Modify its 'disableApiStop' instance attribute and try again.", i.ID)
		}
		i.reason(byUser, "User initiated shutdown", c.Time)
		return stopping, nil
	})
	if err != nil {
		return nil, err
	}
	s.Machines.stop(moved, stopped)
	return &api.StopInstancesOutput{StoppingInstances: changes}, nil
}

func (s *Service) terminateInstances(ctx context.Context, c *service.Call, in *api.TerminateInstancesInput) (*api.TerminateInstancesOutput, error) {
	changes, moved, err := s.move(ctx, c, in.InstanceIds, func(i *Instance) (string, error) {
		switch {
		case i.State == terminated || i.State == shuttingDown:
			return "", nil
		case i.DisableTermination:
			return "", api.OperationNotPermitted("The instance '%s' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.", i.ID)
		}
		i.reason(byUser, "User initiated shutdown", c.Time)
		i.Profile, i.Ended = nil, c.Time.UTC()
		return shuttingDown, nil
	})
	if err != nil {
		return nil, err
	}
	s.Machines.stop(moved, terminated)
	return &api.TerminateInstancesOutput{TerminatingInstances: changes}, nil
}

func (s *Service) rebootInstances(ctx context.Context, c *service.Call, in *api.RebootInstancesInput) (*api.RebootInstancesOutput, error) {
	var all []*Instance
	if err := s.change(ctx, c, in.InstanceIds, func(i *Instance) error {
		if i.ID == in.InstanceIds[0] {
			all = nil
		}
		if i.State != running {
			return api.IncorrectInstanceState("The instance '%s' is not in the 'running' state.", i.ID)
		}
		all = append(all, i)
		return nil
	}); err != nil {
		return nil, err
	}
	s.Machines.reboot(all)
	return &api.RebootInstancesOutput{}, nil
}

// Recover makes the store true of a machine on which nothing runs: it is called before
// anyone calls, when iamd starts.
func Recover(ctx context.Context, db *store.DB, now time.Time) error {
	return db.Update(ctx, func(tx *store.Tx) error {
		for key, i := range instanceTable.All(tx, "") {
			switch i.State {
			case pending, running:
				i.State = stopped
				i.reason(byServer, "iamd was stopped, and the instance with it", now)
			case stopping:
				i.State = stopped
			case shuttingDown:
				i.State = terminated
			default:
				continue
			}
			instanceTable.Put(tx, key, i)
		}
		return nil
	})
}
