package server

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"

	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/wire"
)

// Inside is how services call each other: through Server.Invoke, as everyone does. It
// is made before the services, and the server after them, so that it refuses every call
// until New has been given it.
type Inside struct{ server atomic.Pointer[Server] }

var _ service.Invoker = (*Inside)(nil)

var errNotYet = errors.New("a service called another before the server was made")

// Invoke makes a call: see service.Invoker. Who forwards access, or acts in a session,
// has the permissions that the caller has now: one who is no more has none.
func (i *Inside) Invoke(ctx context.Context, from *service.Call, name, op string, in any) (any, error) {
	s := i.server.Load()
	if s == nil {
		return nil, errNotYet
	}
	s.inFlight.Add(1)
	defer s.inFlight.Done()
	svc, o := s.operation(name, op)
	if svc == nil {
		return nil, &wire.Error{Code: "NotImplemented", Status: 501, Message: "iamd does not serve " + name + " here."}
	}
	if o == nil {
		return nil, fmt.Errorf("there is no operation %s:%s", name, op)
	}
	if o.TellsCaller() || from.Caller.Type == identity.Anonymous {
		return nil, fmt.Errorf("%s:%s was called inside by nobody", name, op)
	}
	if s.DB.Err() != nil {
		return nil, &wire.Error{Code: "ServiceUnavailable", Status: 503, Message: "The server has lost the store of its state: nothing can be decided until it is found again."}
	}
	c := &service.Call{
		Account:   from.Account,
		State:     s.DB.View(),
		Time:      s.Now(),
		RequestID: newUUID(),
		Region:    from.Region,
		MFA:       from.MFA,
		Via:       from.Via,
		For:       from.For,
		Parent:    from.Parent,
	}
	// What is called inside has not been on a network: to a condition, that is secure.
	c.Source = service.Source{Secure: true, UserAgent: from.By(), Host: name + ".amazonaws.com"}
	var err error
	if c.Caller, err = still(c, from.Caller); err != nil {
		return nil, err
	}
	if c.Account != "" && identity.Imports.Get(c.State, c.Account) != nil {
		return nil, &wire.Error{Code: "ServiceUnavailable", Status: 503, Message: "The account is being imported."}
	}
	s.used(c, o)
	if o.TakesInput() {
		if err := wire.Check(svc.Model, in); err != nil {
			return nil, s.refuseInput(c, o, err)
		}
	}
	out, err := s.Invoke(ctx, c, o, in)
	if err != nil {
		return nil, err
	}
	if a, passed := out.(*service.Answer); passed && o.Wire.Out != nil { // of the server behind, as it is on the wire
		out = reflect.New(o.Wire.Out).Interface()
		if err := wire.ReadAnswer(svc.Model, a.Body, out); err != nil {
			return nil, fmt.Errorf("%s:%s: %w", name, op, err)
		}
	}
	return out, nil
}

// still is the caller as they are in the call's state.
func still(c *service.Call, was *identity.Caller) (*identity.Caller, error) {
	gone := &wire.Error{Code: "InvalidClientTokenId", Status: 403, Message: "The security token included in the request is invalid"}
	if was.Type == identity.AWSService {
		return was, nil
	}
	if a := identity.Accounts.Get(c.State, was.Account); a == nil || !a.Closed.IsZero() { // whose keys are good for nothing
		return nil, gone
	}
	switch {
	case was.Session != nil:
		if !c.Time.Before(was.Session.Expires) {
			return nil, &wire.Error{Code: "ExpiredToken", Status: 403, Message: "The security token included in the request is expired"}
		}
		if now := identity.SessionCaller(c.State, was.Session); now != nil {
			return now, nil
		}
	case was.User != nil:
		if user := identity.UserByID(c.State, was.User.UserId); user != nil {
			return identity.UserCaller(user, was.AccessKeyID), nil
		}
	case was.Type == identity.RootUser:
		return was, nil
	}
	return nil, gone
}
