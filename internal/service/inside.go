package service

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// An Invoker makes calls inside, for services that need other services: each is
// authorised, recorded and done like any other call. Of the call it is given it takes the
// caller, region, Via, For and Parent; state, time and request id are those of the moment.
// The service is named as its model is ("s3"), and in is a pointer to the operation's input.
type Invoker interface {
	Invoke(ctx context.Context, c *Call, service, op string, in any) (any, error)
}

// Invoke makes the call whose input in is, a pointer, and returns its output.
//
//	object, err := service.Invoke[s3.GetObjectOutput](ctx, inside, c.Forward("lambda.amazonaws.com"), "s3", &s3.GetObjectInput{Bucket: b, Key: k})
func Invoke[Out any](ctx context.Context, i Invoker, c *Call, service string, in any) (*Out, error) {
	out, err := i.Invoke(ctx, c, service, strings.TrimSuffix(reflect.TypeOf(in).Elem().Name(), "Input"), in)
	if err != nil {
		return nil, err
	}
	typed, ok := out.(*Out)
	if !ok {
		return nil, fmt.Errorf("service: %s answered %T, not %v", service, out, reflect.TypeFor[*Out]())
	}
	return typed, nil
}

// Forward is a call that a service makes for the caller, with the caller's own
// permissions: forward access (IAM User Guide, "Forward access sessions"). The policies
// that decide it see the service in aws:CalledVia.
func (c *Call) Forward(principal string) *Call {
	return &Call{
		Account: c.Account,
		Caller:  c.Caller,
		Region:  c.Region,
		MFA:     c.MFA,
		Via:     append(slices.Clip(c.Via), principal),
		Parent:  c.RequestID,
	}
}

// SourceAccount is the account for whose resource a service principal acts; "" when none is known.
func (c *Call) SourceAccount() string { return c.For.Account() }

// By is the name of the service through which the call comes, the last of Via or the
// service principal that makes it; "" for a client's own call.
func (c *Call) By() string {
	if n := len(c.Via); n > 0 {
		return c.Via[n-1]
	}
	return c.Caller.Service
}
