// Package lambda is AWS Lambda: functions, their versions, aliases and permissions, and
// their invocation.
//
//	s := &lambda.Service{DB: db, Invoker: server, Roles: roles, Host: host, Dir: dir}
//	table := s.AWS()
//	...
//	s.Close() // ends what runs
//
// The words are AWS's: a Function has a $LATEST version, which can be changed, and numbered
// ones, which cannot; an alias is a name for a version, or for two with weights; a qualifier
// is the number or the alias by which a call names one of them.
//
// # Roles
//
// A function runs as its execution role. Who gives it one needs iam:PassRole on the role,
// and the role must trust lambda.amazonaws.com: both are asked when a function is made and
// when its role is changed. The role is assumed for each environment, with the function's
// ARN as aws:SourceArn, and its credentials are in the environment's variables.
//
// # Environments
//
// An environment is a process of the function's own, with namespaces and a network of its
// own (package workload), that takes one event after another from the Lambda Runtime API,
// which is served to it at 127.0.0.1:9001. It is kept for the next invocation and ended
// when nobody has used it for some minutes, when the function changes, and before its
// credentials expire. See environments.go and runtimeapi.go.
//
// Programs for provided runtimes are run as they are. Handlers in Python and JavaScript are
// run by the python3 and the node of the machine, through a small bootstrap: runtimes.go.
//
// Code is unpacked once into a directory named by its hash and shared, read-only, by all
// environments that run it: code.go. All else is in the store.
package lambda

import (
	"context"
	_ "embed"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/lambda/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/servicerole"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/workload"
	"github.com/iamd-dev/iamd/policy"
)

// A Service is Lambda.
type Service struct {
	DB      *store.DB
	Invoker service.Invoker    // reads code from S3, and tells destinations
	Roles   *servicerole.Roles // assumes the execution roles
	Keyring *identity.Keyring  // seals the URLs of code
	Host    *workload.Host     // runs the environments
	Dir     string             // of the functions' code and logs
	Log     *slog.Logger       // nil: nothing is logged
	Now     func() time.Time   // nil: time.Now

	// Retries are how long an asynchronous invocation that failed waits before it is tried
	// again. nil: one minute and two, as AWS waits.
	Retries []time.Duration

	kept sync.RWMutex // held for reading from when code is unpacked until a version has it
	pool pool
}

// principal is the service principal of Lambda.
const principal = "lambda.amazonaws.com"

//go:embed declined.txt
var declined string

// AWS returns the service's operations.
func (s *Service) AWS() *service.Service {
	role := servicerole.Passed("Role", principal)
	layers := service.KeyOf("lambda:Layer", func(_ *service.Call, in *api.CreateFunctionInput) (policy.Value, bool) {
		return policy.List(in.Layers), len(in.Layers) > 0
	})
	newLayers := service.KeyOf("lambda:Layer", func(_ *service.Call, in *api.UpdateFunctionConfigurationInput) (policy.Value, bool) {
		return policy.List(in.Layers), len(in.Layers) > 0
	})
	tags := service.TagsOf(func(_ *service.Call, in *api.CreateFunctionInput) []service.KeyValue { return pairs(in.Tags) })
	invoke := service.Action("lambda:InvokeFunction")

	t := service.New(api.Model, declined,
		//      operation           on                                     and
		handle(s.createFunction, newFunction, tags, layers, service.Key("lambda:CodeSigningConfigArn", "{CodeSigningConfigArn}"),
			subnets(func(in *api.CreateFunctionInput) *api.VpcConfig { return in.VpcConfig }),
			securityGroups(func(in *api.CreateFunctionInput) *api.VpcConfig { return in.VpcConfig }),
			service.Also("lambda:TagResource", nil, service.When("Tags"), tags), role),
		handle(s.updateFunctionCode, function[api.UpdateFunctionCodeInput]()),
		handle(s.updateFunctionConfiguration, function[api.UpdateFunctionConfigurationInput](), newLayers,
			subnets(func(in *api.UpdateFunctionConfigurationInput) *api.VpcConfig { return in.VpcConfig }),
			securityGroups(func(in *api.UpdateFunctionConfigurationInput) *api.VpcConfig { return in.VpcConfig }), role),
		handle(s.getFunction, qualified[api.GetFunctionInput]()),
		handle(s.getFunctionConfiguration, qualified[api.GetFunctionConfigurationInput]()),
		handle(s.deleteFunction, qualified[api.DeleteFunctionInput]()),
		service.Handle(s.listFunctions, service.Any),
		service.Handle(s.getAccountSettings, service.Any),

		handle(s.publishVersion, function[api.PublishVersionInput]()),
		handle(s.listVersionsByFunction, function[api.ListVersionsByFunctionInput]()),
		handle(s.createAlias, function[api.CreateAliasInput]()),
		handle(s.updateAlias, function[api.UpdateAliasInput]()),
		handle(s.getAlias, function[api.GetAliasInput]()),
		handle(s.listAliases, function[api.ListAliasesInput]()),
		handle(s.deleteAlias, function[api.DeleteAliasInput]()),

		handle(s.addPermission, qualified[api.AddPermissionInput](), service.Key("lambda:Principal", "{Principal}"),
			service.Key("lambda:FunctionUrlAuthType", "{FunctionUrlAuthType}")),
		handle(s.removePermission, qualified[api.RemovePermissionInput](), service.KeyOf("lambda:Principal", removedPrincipal)),
		handle(s.getPolicy, qualified[api.GetPolicyInput]()),

		handle(s.putFunctionConcurrency, function[api.PutFunctionConcurrencyInput]()),
		handle(s.getFunctionConcurrency, function[api.GetFunctionConcurrencyInput]()),
		handle(s.deleteFunctionConcurrency, function[api.DeleteFunctionConcurrencyInput]()),
		handle(s.putFunctionEventInvokeConfig, qualified[api.PutFunctionEventInvokeConfigInput]()),
		handle(s.updateFunctionEventInvokeConfig, qualified[api.UpdateFunctionEventInvokeConfigInput]()),
		handle(s.getFunctionEventInvokeConfig, qualified[api.GetFunctionEventInvokeConfigInput]()),
		handle(s.deleteFunctionEventInvokeConfig, qualified[api.DeleteFunctionEventInvokeConfigInput]()),
		handle(s.listFunctionEventInvokeConfigs, function[api.ListFunctionEventInvokeConfigsInput]()),

		service.Handle(s.tagResource, service.ARN("{Resource}"),
			service.TagsOf(func(_ *service.Call, in *api.TagResourceInput) []service.KeyValue { return pairs(in.Tags) })),
		service.Handle(s.untagResource, service.ARN("{Resource}"), service.Tags("TagKeys")),
		service.Handle(s.listTags, service.ARN("{Resource}")),

		handle(s.invoke, qualified[api.InvokeInput](), invoke, service.Data),
		handle(s.invokeAsync, function[api.InvokeAsyncInput](), service.Data),
	)
	t.Object, t.MaxBody = objectOf, largestRequest
	return t
}

// handle is the row of an operation on a function that the input names: names that are
// none are told before anything is decided.
func handle[In, Out any](f func(context.Context, *service.Call, *In) (*Out, error), on service.Resource, clauses ...service.Clause) service.Row {
	named := namedBy[In]()
	return service.Handle(f, on, append(clauses, service.Before(func(c *service.Call, in *In) error {
		n, err := named(c, in)
		if err != nil {
			return err
		}
		if role, ok := any(in).(*api.CreateFunctionInput); ok {
			return checkNew(c, n, role)
		}
		if update, ok := any(in).(*api.UpdateFunctionConfigurationInput); ok {
			return ownRole(n.account, update.Role)
		}
		return nil
	}))...)
}

// ownRole refuses the role of another account, which no permission allows.
func ownRole(account, role string) error {
	if role != "" && arn.ARN(role).Account() != account {
		return api.AccessDenied("Cross-account pass role is not allowed.")
	}
	return nil
}

func pairs(tags map[string]string) []service.KeyValue {
	var all []service.KeyValue
	for _, k := range sorted(tags) {
		all = append(all, service.KeyValue{Key: k, Value: tags[k]})
	}
	return all
}

func subnets[In any](of func(*In) *api.VpcConfig) service.Clause {
	return service.KeyOf("lambda:SubnetIds", func(_ *service.Call, in *In) (policy.Value, bool) {
		if v := of(in); v != nil && len(v.SubnetIds) > 0 {
			return policy.List(v.SubnetIds), true
		}
		return policy.Value{}, false
	})
}

func securityGroups[In any](of func(*In) *api.VpcConfig) service.Clause {
	return service.KeyOf("lambda:SecurityGroupIds", func(_ *service.Call, in *In) (policy.Value, bool) {
		if v := of(in); v != nil && len(v.SecurityGroupIds) > 0 {
			return policy.List(v.SecurityGroupIds), true
		}
		return policy.Value{}, false
	})
}

// objectOf is what authorisation may know of a function: its tags, and the policy of the
// version or alias that the ARN names, which is its own.
func objectOf(state *store.Snapshot, _ policy.Action, a arn.ARN) service.Object {
	n, ok := parseARN(a)
	if !ok {
		return service.Object{}
	}
	f := functions.Get(state, n.key())
	if f == nil {
		return service.Object{}
	}
	o := service.Tagged(pairs(f.Tags), func(t service.KeyValue) (string, string) { return t.Key, t.Value })
	o.Policy = f.Policies[n.qualifier]
	return o
}

// Open prepares the directory: code that no version has, because a stop came between, goes.
func (s *Service) Open() error {
	if err := os.MkdirAll(s.codeDir(), 0o700); err != nil {
		return err
	}
	return s.sweepAll()
}

// Close ends the environments and waits for what goes on. Calls in flight are answered:
// their function has been killed.
func (s *Service) Close() {
	s.closePool()
}

func (s *Service) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

func (s *Service) log() *slog.Logger {
	if s.Log != nil {
		return s.Log
	}
	return slog.New(slog.DiscardHandler)
}

func (s *Service) codeDir() string { return filepath.Join(s.Dir, "code") }

// off is why functions do not run; nil when they do.
func (s *Service) off() error {
	if s.Host == nil {
		return workload.ErrOff
	}
	return s.Host.Off
}
