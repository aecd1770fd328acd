package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime/debug"
	"sync"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/authz"
	"github.com/iamd-dev/iamd/internal/rawnet"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/wire"
	"github.com/iamd-dev/iamd/policy"
)

// Invoke makes a call: it finds who calls where the input tells it, authorises the
// call, records it, and does it. Nothing is done
// that is not recorded before, and nothing is answered whose record is not safe.
//
// A call that only reads, or that issues credentials, has its effect when it is
// answered, and is recorded with its outcome before that. A call that changes
// something is recorded before it is done, and its outcome is recorded after,
// under the same event id.
func (s *Server) Invoke(ctx context.Context, c *service.Call, op *service.Op, in any) (any, error) {
	if !op.Data() {
		rawnet.Watch() // what a management call computes may take long
	}
	d := &deliberation{server: s, call: c, op: op}
	d.asked = d.room[:0]
	c.Authorize = d.one
	err := d.all(ctx, in)
	s.passed(c, d.asked)
	if err != nil {
		return nil, d.recorded(ctx, in, nil, err)
	}
	if !op.Reads() {
		if err := d.recorded(ctx, in, nil, nil); err != nil {
			return nil, err
		}
	}
	var out any
	out, err = do(ctx, c, op, in)
	if op.Wire.Streams() {
		dropStream(in)
	}
	if err == nil && op.PerItem() && len(d.asked) == 0 {
		discard(out)
		out, err = nil, fmt.Errorf("%s:%s did not ask for its items", op.Service.Model.Name, op.Name)
	}
	if err := d.keep(); err != nil {
		return nil, err
	}
	if err == nil && op.Data() && !op.Reads() {
		return out, nil // a data event that went well: the first record says it all
	}
	if err := d.recorded(ctx, in, out, err); err != nil {
		discard(out)
		return nil, err
	}
	return out, nil
}

// do calls the handler. That it panicked is an outcome too, and recorded as a failure.
func do(ctx context.Context, c *service.Call, op *service.Op, in any) (out any, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, &panicked{p, debug.Stack()}
		}
	}()
	return op.Do(ctx, c, in)
}

// A panicked is the error of a call that panicked.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v\n%s", p.value, p.stack) }

// A deliberation is the decisions of one call.
type deliberation struct {
	server  *Server
	call    *service.Call
	op      *service.Op
	asked   []authz.Request // in the order in which they were decided
	refused int             // index+1 of the one that was refused, 0 when none was
	eventID string
	kept    int              // how many of asked have been kept
	room    [1]authz.Request // for asked; most calls ask once
}

// maxAsked bounds what is kept of calls that ask for each of a thousand items.
const maxAsked = 64

// all decides whether the call may be made at all.
func (d *deliberation) all(ctx context.Context, in any) error {
	if err := authz.Barred(d.call, d.op); err != nil {
		return err
	}
	if err := d.op.Before(d.call, in); err != nil {
		return err
	}
	if err := d.op.Authenticate(ctx, d.call, in); err != nil {
		return err
	}
	room := checkRooms.Get().(*[]service.Check)
	checks := d.op.AppendChecks((*room)[:0], d.call, in)
	defer func() {
		clear(checks)
		*room = checks
		checkRooms.Put(room)
	}()
	if len(checks) == 0 && len(d.op.Needs) > 0 && !d.op.PerItem() {
		return fmt.Errorf("%s:%s asked for no permission", d.op.Service.Model.Name, d.op.Name)
	}
	for i := range checks {
		if err := d.decide(checks[i]); err != nil {
			return err
		}
	}
	return nil
}

// checkRooms are where a call's checks stand until they have been asked.
var checkRooms = sync.Pool{New: func() any { return new([]service.Check) }}

// one decides one more permission for a handler.
func (d *deliberation) one(action policy.Action, resource arn.ARN, pairs ...service.Pair) error {
	return d.decide(service.Check{Action: action, Target: service.Target{ARN: resource}, Pairs: pairs})
}

func (d *deliberation) decide(check service.Check) error {
	var object service.Object
	if svc := d.server.resources(check.ARN.Service()); svc != nil && svc.Object != nil && !check.New {
		object = svc.Object(d.call.State, check.Action, check.ARN)
	}
	if object.Missing != nil {
		return object.Missing
	}
	d.asked = append(d.asked, authz.Request{Call: d.call, Service: d.op.Service, Check: check, Object: object})
	last := len(d.asked) - 1
	r := &d.asked[last]
	decision := authz.Decide(r, nil)
	switch {
	case d.call.Unknown != nil:
		d.forget(last)
		return d.call.Unknown
	case !decision.Allowed:
		d.refused = len(d.asked)
		return d.encoded(r, authz.Refusal(r, decision))
	case last >= maxAsked:
		d.forget(last)
	}
	return nil
}

// forget takes out what was asked last.
func (d *deliberation) forget(last int) {
	clear(d.asked[last:])
	d.asked = d.asked[:last]
}

// encoded adds to EC2's refusals what sts:DecodeAuthorizationMessage decodes: the decision
// with its request. AWS gives none with those of calls that only describe.
func (d *deliberation) encoded(r *authz.Request, err error) error {
	var refusal *wire.Error
	if d.op.Service.Model.Protocol != wire.EC2 || r.Check.ARN == "*" || !errors.As(err, &refusal) {
		return err
	}
	x := &authz.Explanation{Event: d.op.Service.Model.Name + ":" + d.op.Name}
	authz.Decide(r, x)
	message, failed := d.server.Keyring.SealMessage(r.Call.State, r.Call.Account, x.Message())
	if failed != nil {
		return failed
	}
	refusal.Message += ". Encoded authorization failure message: " + message
	return refusal
}

// explain tells how each decision of the call came about.
func (d *deliberation) explain() []*authz.Explanation {
	all := make([]*authz.Explanation, 0, len(d.asked))
	for i := range d.asked {
		x := &authz.Explanation{Event: d.op.Service.Model.Name + ":" + d.op.Name}
		authz.Decide(&d.asked[i], x)
		all = append(all, x)
	}
	return all
}

// refuseInput records a call whose input could not be read and returns the error.
func (s *Server) refuseInput(c *service.Call, op *service.Op, err error) error {
	d := &deliberation{server: s, call: c, op: op}
	return d.recorded(context.Background(), nil, nil, err)
}

// dropStream takes the body out of an input whose call is over: the input may be
// kept for an explanation, and the body not.
func dropStream(in any) {
	if f := reflect.ValueOf(in).Elem().FieldByName("Body"); f.IsValid() && f.Kind() == reflect.Interface {
		f.SetZero()
	}
}

// discard closes the body of an output that will not be sent.
func discard(out any) {
	v := reflect.Indirect(reflect.ValueOf(out))
	if v.Kind() != reflect.Struct {
		return
	}
	for i := range v.NumField() {
		if c, ok := v.Field(i).Interface().(io.Closer); ok && c != nil {
			c.Close()
		}
	}
}
