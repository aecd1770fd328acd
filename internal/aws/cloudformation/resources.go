package cloudformation

import (
	"reflect"
	"strings"

	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/policy"
)

// stackNamed is the stack that the input names.
func stackNamed(in reflect.Type) func(*service.Call, any) []service.Target {
	f, ok := in.FieldByName("StackName")
	if !ok {
		panic("cloudformation: " + in.Name() + " names no stack")
	}
	return func(c *service.Call, in any) []service.Target {
		return []service.Target{{ARN: stackARN(c, reflect.ValueOf(in).Elem().FieldByIndex(f.Index).String())}}
	}
}

// newStack is a stack that may have yet to be made.
func newStack(in reflect.Type) func(*service.Call, any) []service.Target {
	named := stackNamed(in)
	return func(c *service.Call, in any) []service.Target {
		targets := named(c, in)
		targets[0].New = strings.HasSuffix(string(targets[0].ARN), "/*")
		return targets
	}
}

// stackOfChangeSet is the stack of the change set that the input names.
func stackOfChangeSet(in reflect.Type) func(*service.Call, any) []service.Target {
	stack, _ := in.FieldByName("StackName")
	set, ok := in.FieldByName("ChangeSetName")
	if !ok {
		panic("cloudformation: " + in.Name() + " names no change set")
	}
	return func(c *service.Call, in any) []service.Target {
		v := reflect.ValueOf(in).Elem()
		name := v.FieldByIndex(stack.Index).String()
		if given := v.FieldByIndex(set.Index).String(); name == "" && strings.HasPrefix(given, "arn:") {
			if st, _, _ := findChangeSet(c.State, c, given, ""); st != nil {
				return []service.Target{{ARN: arnOf(st)}}
			}
		}
		return []service.Target{{ARN: stackARN(c, name)}}
	}
}

// types gives cloudformation:ResourceTypes, which is there when the caller says which
// types the template may have.
func types[In any](of func(*In) []string) service.Clause {
	return service.KeyOf("cloudformation:ResourceTypes", func(_ *service.Call, in *In) (policy.Value, bool) {
		list := of(in)
		return policy.List(list), len(list) > 0
	})
}
