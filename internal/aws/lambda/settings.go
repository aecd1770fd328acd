package lambda

import (
	"context"
	"maps"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/lambda/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// Concurrency: Developer Guide, "Configuring reserved concurrency for a function".
const (
	accountConcurrency = 1000
	leastUnreserved    = 100
)

// unreserved is what of an account's concurrency its functions have not reserved, but for one.
func unreserved(r store.Reader, account, region, but string) int32 {
	left := int32(accountConcurrency)
	for key, f := range functions.All(r, account+"/"+region+"/") {
		if f.Reserved != nil && key != but {
			left -= *f.Reserved
		}
	}
	return left
}

func (s *Service) putFunctionConcurrency(ctx context.Context, c *service.Call, in *api.PutFunctionConcurrencyInput) (*api.PutFunctionConcurrencyOutput, error) {
	n, err := functionOnly(c, in.FunctionName)
	if err != nil {
		return nil, err
	}
	if _, err := n.with(latest).lookup(c.State); err != nil {
		return nil, err
	}
	err = s.changeFunction(ctx, n, func(tx *store.Tx, f *Function) error {
		if unreserved(tx, n.account, n.region, n.key())-*in.ReservedConcurrentExecutions < leastUnreserved {
			return api.InvalidParameterValue("Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [%d].", leastUnreserved)
		}
		f.Reserved = in.ReservedConcurrentExecutions
		return nil
	})
	return &api.PutFunctionConcurrencyOutput{ReservedConcurrentExecutions: in.ReservedConcurrentExecutions}, err
}

// functionOnly is a function that is named without a qualifier.
func functionOnly(c *service.Call, text string) (name, error) {
	n, err := parseName(c, text, "")
	if err == nil && n.qualifier != "" {
		err = api.InvalidParameterValue("This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. " +
			"Please specify either a function name or an unqualified function ARN.")
	}
	return n, err
}

func (s *Service) getFunctionConcurrency(_ context.Context, c *service.Call, in *api.GetFunctionConcurrencyInput) (*api.GetFunctionConcurrencyOutput, error) {
	n, err := functionOnly(c, in.FunctionName)
	if err != nil {
		return nil, err
	}
	f, err := n.lookup(c.State)
	if err != nil {
		return nil, err
	}
	return &api.GetFunctionConcurrencyOutput{ReservedConcurrentExecutions: f.Reserved}, nil
}

func (s *Service) deleteFunctionConcurrency(ctx context.Context, c *service.Call, in *api.DeleteFunctionConcurrencyInput) (*api.DeleteFunctionConcurrencyOutput, error) {
	n, err := functionOnly(c, in.FunctionName)
	if err != nil {
		return nil, err
	}
	return &api.DeleteFunctionConcurrencyOutput{}, s.changeFunction(ctx, n, func(_ *store.Tx, f *Function) error {
		f.Reserved = nil
		return nil
	})
}

func (s *Service) getAccountSettings(_ context.Context, c *service.Call, _ *api.GetAccountSettingsInput) (*api.GetAccountSettingsOutput, error) {
	size, count := usage(c.State, c.Account, c.Region)
	return &api.GetAccountSettingsOutput{
		AccountLimit: &api.AccountLimit{TotalCodeSize: mostCode, CodeSizeUnzipped: largestCode, CodeSizeZipped: largestZip,
			ConcurrentExecutions: accountConcurrency, UnreservedConcurrentExecutions: unreserved(c.State, c.Account, c.Region, "")},
		AccountUsage: &api.AccountUsage{TotalCodeSize: size, FunctionCount: count},
	}, nil
}

// tagged is the function of an ARN that tags can be on.
func tagged(resource string) (name, error) {
	n, ok := parseARN(arn.ARN(resource))
	switch {
	case !ok || !strings.Contains(resource, ":function:"):
		return n, api.ResourceNotFound("The resource you requested does not exist.")
	case n.qualifier != "":
		return n, api.InvalidParameterValue("Tags on function aliases and versions are not supported. Please specify a function ARN.")
	}
	return n, nil
}

func (s *Service) tagResource(ctx context.Context, c *service.Call, in *api.TagResourceInput) (*api.TagResourceOutput, error) {
	n, err := tagged(in.Resource)
	if err != nil {
		return nil, err
	}
	if len(in.Tags) == 0 {
		return nil, api.InvalidParameterValue("An error occurred and the request cannot be processed.")
	}
	for k, v := range in.Tags {
		if k == "" || len(k) > 128 || len(v) > 256 || strings.HasPrefix(strings.ToLower(k), "aws:") {
			return nil, api.InvalidParameterValue("The tag %s is not one that a function can have.", k)
		}
	}
	return &api.TagResourceOutput{}, s.changeFunction(ctx, n, func(_ *store.Tx, f *Function) error {
		if f.Tags == nil {
			f.Tags = map[string]string{}
		}
		maps.Copy(f.Tags, in.Tags)
		if len(f.Tags) > mostTags {
			return api.InvalidParameterValue("Number of tags exceeds resource tag limit.")
		}
		return nil
	})
}

func (s *Service) untagResource(ctx context.Context, c *service.Call, in *api.UntagResourceInput) (*api.UntagResourceOutput, error) {
	n, err := tagged(in.Resource)
	if err != nil {
		return nil, err
	}
	return &api.UntagResourceOutput{}, s.changeFunction(ctx, n, func(_ *store.Tx, f *Function) error {
		for _, k := range in.TagKeys {
			delete(f.Tags, k)
		}
		return nil
	})
}

func (s *Service) listTags(_ context.Context, c *service.Call, in *api.ListTagsInput) (*api.ListTagsOutput, error) {
	n, err := tagged(in.Resource)
	if err != nil {
		return nil, err
	}
	f, err := n.lookup(c.State)
	if err != nil {
		return nil, err
	}
	out := &api.ListTagsOutput{Tags: map[string]string{}}
	maps.Copy(out.Tags, f.Tags)
	return out, nil
}

// An EventConfig says what becomes of asynchronous invocations.
type EventConfig struct {
	Retries   *int32    `json:",omitempty"` // nil: two
	Age       *int32    `json:",omitempty"` // seconds; nil: six hours
	OnSuccess string    `json:",omitempty"` // destination
	OnFailure string    `json:",omitempty"`
	Modified  time.Time // zero before it is kept
}

// say makes what a request says the config's; an absent destination leaves what is there.
func (e *EventConfig) say(retries, age *int32, d *api.DestinationConfig) {
	if retries != nil {
		e.Retries = retries
	}
	if age != nil {
		e.Age = age
	}
	if d != nil && d.OnSuccess != nil {
		e.OnSuccess = d.OnSuccess.Destination
	}
	if d != nil && d.OnFailure != nil {
		e.OnFailure = d.OnFailure.Destination
	}
}

// check refuses destinations that are not here.
func (e *EventConfig) check(r store.Reader, n name) error {
	for _, d := range []string{e.OnSuccess, e.OnFailure} {
		if d == "" {
			continue
		}
		switch a := arn.ARN(d); a.Service() {
		case "lambda":
			to, ok := parseARN(a)
			if ok && to.key() == n.key() {
				return api.InvalidParameterValue("You can't specify the function as a destination for itself.")
			}
			if !ok || to.account == n.account && functions.Get(r, to.key()) == nil {
				return api.InvalidParameterValue("The destination ARN %s is invalid.", d)
			}
		case "s3":
			if a.Resource() == "" || strings.Contains(a.Resource(), "/") {
				return api.InvalidParameterValue("The destination ARN %s is invalid.", d)
			}
			if d == e.OnSuccess {
				return api.InvalidParameterValue("The destination ARN %s is invalid: a bucket is a destination for failures only.", d)
			}
		default:
			return api.InvalidParameterValue("The destination ARN %s is not supported: a destination in iamd is a function or a bucket.", d)
		}
	}
	return nil
}

func (e *EventConfig) show(n name) *api.FunctionEventInvokeConfig {
	named := n
	if n.qualifier == "" {
		named = n.with(latest)
	}
	return &api.FunctionEventInvokeConfig{LastModified: e.Modified, FunctionArn: string(named.arn()), MaximumRetryAttempts: e.Retries, MaximumEventAgeInSeconds: e.Age,
		DestinationConfig: &api.DestinationConfig{OnSuccess: &api.OnSuccess{Destination: e.OnSuccess}, OnFailure: &api.OnFailure{Destination: e.OnFailure}}}
}

// eventKey is the qualifier under which a config is kept: $LATEST is the function's own.
func eventKey(n name) string {
	if n.qualifier == latest {
		return ""
	}
	return n.qualifier
}

func noEvents(n name) error {
	return api.ResourceNotFound("The function %s doesn't have an EventInvokeConfig", n.arn())
}

// putEvents keeps the config of asynchronous invocations that change makes.
func (s *Service) putEvents(ctx context.Context, c *service.Call, n name, change func(*Function) (*EventConfig, error)) (*api.FunctionEventInvokeConfig, error) {
	var out *api.FunctionEventInvokeConfig
	err := s.changeFunction(ctx, n, func(tx *store.Tx, f *Function) error {
		if _, _, err := find(tx, n); err != nil {
			return err
		}
		e, err := change(f)
		if err != nil {
			return err
		}
		if err := e.check(tx, n); err != nil {
			return err
		}
		e.Modified = c.Time.UTC().Truncate(time.Second)
		if f.Events == nil {
			f.Events = map[string]*EventConfig{}
		}
		f.Events[eventKey(n)] = e
		out = e.show(n)
		return nil
	})
	return out, err
}

func (s *Service) putFunctionEventInvokeConfig(ctx context.Context, c *service.Call, in *api.PutFunctionEventInvokeConfigInput) (*api.PutFunctionEventInvokeConfigOutput, error) {
	n, err := parseName(c, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	if in.MaximumRetryAttempts == nil && in.MaximumEventAgeInSeconds == nil && in.DestinationConfig == nil {
		return nil, api.InvalidParameterValue("You must specify at least one of error handling or destination setting.")
	}
	out, err := s.putEvents(ctx, c, n, func(*Function) (*EventConfig, error) {
		e := &EventConfig{}
		e.say(in.MaximumRetryAttempts, in.MaximumEventAgeInSeconds, in.DestinationConfig)
		return e, nil
	})
	if err != nil {
		return nil, err
	}
	put := api.PutFunctionEventInvokeConfigOutput(*out)
	return &put, nil
}

func (s *Service) updateFunctionEventInvokeConfig(ctx context.Context, c *service.Call, in *api.UpdateFunctionEventInvokeConfigInput) (*api.UpdateFunctionEventInvokeConfigOutput, error) {
	n, err := parseName(c, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	if in.MaximumRetryAttempts == nil && in.MaximumEventAgeInSeconds == nil && in.DestinationConfig == nil {
		return nil, api.InvalidParameterValue("You must specify at least one of error handling or destination setting.")
	}
	out, err := s.putEvents(ctx, c, n, func(f *Function) (*EventConfig, error) {
		e := f.Events[eventKey(n)]
		if e == nil {
			return nil, noEvents(n)
		}
		e.say(in.MaximumRetryAttempts, in.MaximumEventAgeInSeconds, in.DestinationConfig)
		return e, nil
	})
	if err != nil {
		return nil, err
	}
	updated := api.UpdateFunctionEventInvokeConfigOutput(*out)
	return &updated, nil
}

// events is the config that is named.
func (s *Service) events(r store.Reader, n name) (*EventConfig, error) {
	f, _, err := find(r, n)
	if err != nil {
		return nil, err
	}
	e := f.Events[eventKey(n)]
	if e == nil {
		return nil, noEvents(n)
	}
	return e, nil
}

func (s *Service) getFunctionEventInvokeConfig(_ context.Context, c *service.Call, in *api.GetFunctionEventInvokeConfigInput) (*api.GetFunctionEventInvokeConfigOutput, error) {
	n, err := parseName(c, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	e, err := s.events(c.State, n)
	if err != nil {
		return nil, err
	}
	out := api.GetFunctionEventInvokeConfigOutput(*e.show(n))
	return &out, nil
}

func (s *Service) deleteFunctionEventInvokeConfig(ctx context.Context, c *service.Call, in *api.DeleteFunctionEventInvokeConfigInput) (*api.DeleteFunctionEventInvokeConfigOutput, error) {
	n, err := parseName(c, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	if _, err := s.events(c.State, n); err != nil {
		return nil, err
	}
	return &api.DeleteFunctionEventInvokeConfigOutput{}, s.changeFunction(ctx, n, func(_ *store.Tx, f *Function) error {
		delete(f.Events, eventKey(n))
		return nil
	})
}

func (s *Service) listFunctionEventInvokeConfigs(_ context.Context, c *service.Call, in *api.ListFunctionEventInvokeConfigsInput) (*api.ListFunctionEventInvokeConfigsOutput, error) {
	n, err := unqualified(c, in.FunctionName)
	if err != nil {
		return nil, err
	}
	f, err := n.lookup(c.State)
	if err != nil {
		return nil, err
	}
	out := &api.ListFunctionEventInvokeConfigsOutput{FunctionEventInvokeConfigs: []api.FunctionEventInvokeConfig{}}
	all := make([]string, 0, len(f.Events))
	for _, q := range sorted(f.Events) {
		all = append(all, "/"+q) // "" would be no marker
	}
	some, next, err := page(all, in.Marker, pageSize(in.MaxItems, defaultPage))
	if err != nil {
		return nil, err
	}
	for _, q := range some {
		out.FunctionEventInvokeConfigs = append(out.FunctionEventInvokeConfigs, *f.Events[q[1:]].show(n.with(q[1:])))
	}
	out.NextMarker = next
	return out, nil
}
