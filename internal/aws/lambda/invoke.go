package lambda

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/lambda/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

const (
	largestEvent      = 6 << 20 // of a synchronous invocation
	largestAsyncEvent = 1 << 20
	longestContext    = 3583
)

type reader = store.Reader

// An event is what an invocation is given, whichever environment will run it.
type event struct {
	name    name // as it was named, with its qualifier
	id      string
	payload []byte
	context string
}

// A result is what became of an event.
type result struct {
	answer
	version string
	log     []byte // the last 4 KB, when asked for
}

func (s *Service) invoke(ctx context.Context, c *service.Call, in *api.InvokeInput) (*api.InvokeOutput, error) {
	n, err := parseName(c, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	if _, _, err := find(c.State, n); err != nil {
		return nil, err
	}
	switch {
	case in.DurableExecutionName != "":
		return nil, notHere("DurableExecutionName", "durable executions")
	case in.TenantId != "":
		return nil, notHere("TenantId", "tenant isolation")
	}
	most := largestEvent
	if in.InvocationType == "Event" {
		most = largestAsyncEvent
	}
	e, err := newEvent(c, n, in.Payload, in.ClientContext, most)
	if err != nil {
		return nil, err
	}
	switch in.InvocationType {
	case "DryRun":
		return &api.InvokeOutput{StatusCode: 204}, nil
	case "Event":
		return &api.InvokeOutput{StatusCode: 202}, s.queue(e)
	}
	r, err := s.execute(context.WithoutCancel(ctx), c.State, e, in.LogType == "Tail")
	if err != nil {
		return nil, err
	}
	out := &api.InvokeOutput{StatusCode: 200, Payload: r.payload, ExecutedVersion: r.version}
	if r.failed {
		out.FunctionError = "Unhandled"
	}
	if in.LogType == "Tail" {
		out.LogResult = base64.StdEncoding.EncodeToString(r.log)
	}
	return out, nil
}

func (s *Service) invokeAsync(_ context.Context, c *service.Call, in *api.InvokeAsyncInput) (*api.InvokeAsyncOutput, error) {
	n, err := parseName(c, in.FunctionName, "")
	if err != nil {
		return nil, err
	}
	if _, _, err := find(c.State, n); err != nil {
		return nil, err
	}
	e, err := newEvent(c, n, in.InvokeArgs, "", largestAsyncEvent)
	if err != nil {
		return nil, err
	}
	return &api.InvokeAsyncOutput{Status: 202}, s.queue(e)
}

// newEvent checks the payload of a call.
func newEvent(c *service.Call, n name, payload []byte, clientContext string, most int) (*event, error) {
	if len(payload) > most {
		return nil, api.RequestEntityTooLarge("Request must be smaller than %d bytes for the InvokeFunction operation", most)
	}
	if len(payload) == 0 {
		payload = []byte("{}")
	}
	if err := json.Unmarshal(payload, new(json.RawMessage)); err != nil {
		return nil, api.InvalidRequestContent("Could not parse request body into json: %v", err)
	}
	e := &event{name: n, id: c.RequestID, payload: payload}
	if clientContext != "" {
		text, err := base64.StdEncoding.DecodeString(clientContext)
		if err != nil || !json.Valid(text) || len(clientContext) > longestContext {
			return nil, api.InvalidRequestContent("Client context must be a valid Base64-encoded JSON object.")
		}
		e.context = string(text)
	}
	return e, nil
}

// execute runs a function for an event: in an environment that is there, or in a new one.
func (s *Service) execute(ctx context.Context, state reader, ev *event, tail bool) (*result, error) {
	if err := s.off(); err != nil {
		return nil, notRunning(err)
	}
	f, v, err := find(state, ev.name)
	if err != nil {
		return nil, err
	}
	if a := f.Aliases[ev.name.qualifier]; a != nil && len(a.Weights) > 0 {
		if v = version(state, ev.name, a.pick()); v == nil {
			return nil, ev.name.notFound()
		}
	}
	leave, err := s.pool.admit(ev.name, f.Reserved, func() int32 { return unreserved(state, ev.name.account, ev.name.region, "") })
	if err != nil {
		return nil, err
	}
	defer leave()
	timeout := time.Duration(v.Config.Timeout) * time.Second
	i := newInvocation(ev.id, string(ev.name.arn()), ev.context, ev.payload, timeout)

	e, over := s.pool.take(environmentKey(ev.name, v), s.now().Add(timeout+credentialsLeft))
	for _, e := range over {
		s.end(e)
	}
	cold := e == nil
	if cold {
		var instead *answer
		if e, instead, err = s.start(ctx, ev.name, v, ev.id); err != nil {
			return nil, err
		}
		if instead != nil {
			return &result{answer: *instead, version: v.Config.Version}, nil
		}
	}
	came := time.Now()
	if !cold { // whose log has what was said while it began, too
		e.out.mark()
	}
	e.out.printf("START RequestId: %s Version: %s\n", ev.id, v.Config.Version)
	a, began, again := e.serve(i, cold)
	took := time.Since(began)
	if tail || a.failed {
		e.out.settle()
	}
	report := fmt.Sprintf("END RequestId: %s\nREPORT RequestId: %s\tDuration: %.2f ms\tBilled Duration: %.0f ms\tMemory Size: %d MB\t",
		ev.id, ev.id, milliseconds(took), math.Ceil(milliseconds(took)), v.Config.MemorySize)
	if cold {
		report += fmt.Sprintf("Init Duration: %.2f ms\t", milliseconds(began.Sub(came)))
	}
	e.out.printf("%s\n", report)
	r := &result{answer: a, version: v.Config.Version}
	if tail {
		r.log = e.out.last()
	}
	if !again || !e.current(s.DB.View()) || !s.put(e) {
		s.end(e)
		s.sweep(e.name.account, e.code)
	}
	return r, nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
