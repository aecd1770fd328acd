package lambda

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/lambda/api"
	s3 "github.com/iamd-dev/iamd/internal/aws/s3/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/wire"
)

// Asynchronous invocations: Developer Guide, "Error handling for asynchronous invocations".
const (
	mostWaiting    = 1000 // events at once, of all functions
	defaultRetries = 2
	oldestEvent    = 6 * time.Hour
	firstBackoff   = time.Second // of an event that is throttled
	longestBackoff = 5 * time.Minute
)

var retryAfter = []time.Duration{time.Minute, 2 * time.Minute}

// queue takes an event that nobody waits for.
func (s *Service) queue(ev *event) error {
	if err := s.off(); err != nil {
		return notRunning(err)
	}
	if !s.pool.enter() {
		return tooMany("ConcurrentInvocationLimitExceeded")
	}
	if !s.pool.begin(func() {
		defer s.pool.leave()
		s.deliver(ev)
	}) {
		s.pool.leave()
		return errors.New("the server is stopping")
	}
	return nil
}

func (p *pool) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting >= mostWaiting {
		return false
	}
	p.waiting++
	return true
}

func (p *pool) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting--
}

// deliver invokes a function for an event until it succeeds, has been tried often enough,
// or is too old, and tells the destination.
func (s *Service) deliver(ev *event) {
	ctx := context.Background()
	began := s.now()
	backoff := firstBackoff
	for tries := 1; ; {
		state := s.DB.View()
		f, _, err := find(state, ev.name)
		if err != nil {
			return // the function is gone, and the event with it
		}
		config := f.Events[eventKey(ev.name)]
		if config == nil {
			config = &EventConfig{}
		}
		retries, oldest := defaultRetries, oldestEvent
		if config.Retries != nil {
			retries = int(*config.Retries)
		}
		if config.Age != nil {
			oldest = time.Duration(*config.Age) * time.Second
		}
		r, err := s.execute(ctx, state, ev, false)
		condition, wait := "", time.Duration(0)
		var throttled *wire.Error
		switch {
		case err == nil && !r.failed:
			s.tell(ctx, ev, config.OnSuccess, "Success", tries, r)
			return
		case errors.As(err, &throttled) && (throttled.HTTPStatus() == 429 || throttled.HTTPStatus() >= 500):
			wait = backoff
			backoff = min(2*backoff, longestBackoff)
		default:
			if err != nil {
				r = &result{answer: failure("Lambda.Unknown", "%v", err), version: latest}
			}
			wait = s.retryAfter(tries - 1)
			if tries > retries {
				condition = "RetriesExhausted"
			}
			tries++
		}
		if condition == "" && s.now().Add(wait).Sub(began) > oldest {
			condition = "EventAgeExceeded"
		}
		if condition != "" {
			s.tell(ctx, ev, config.OnFailure, condition, tries-1, r)
			return
		}
		select {
		case <-time.After(wait):
		case <-s.pool.stopped():
			s.log().Warn("the server stops with an event that has not been delivered", "function", ev.name.arn(), "requestID", ev.id)
			return
		}
	}
}

func (s *Service) retryAfter(n int) time.Duration {
	all := s.Retries
	if all == nil {
		all = retryAfter
	}
	if len(all) == 0 {
		return 0
	}
	return all[min(n, len(all)-1)]
}

// tell sends the record of an event to its destination, with the permissions of the
// function's role.
func (s *Service) tell(ctx context.Context, ev *event, destination, condition string, tries int, r *result) {
	if destination == "" {
		return
	}
	if err := s.send(ctx, ev, destination, condition, tries, r); err != nil {
		s.log().Warn("the destination of a function could not be told", "function", ev.name.arn(), "destination", destination, "requestID", ev.id, "error", err)
	}
}

// A record is what destinations are given: Developer Guide, "Capturing records of Lambda
// asynchronous invocations".
type record struct {
	Version         string          `json:"version"`
	Timestamp       string          `json:"timestamp"`
	RequestContext  requestContext  `json:"requestContext"`
	RequestPayload  json.RawMessage `json:"requestPayload"`
	ResponseContext *answered       `json:"responseContext,omitempty"`
	ResponsePayload json.RawMessage `json:"responsePayload,omitempty"`
}

type requestContext struct {
	RequestID   string `json:"requestId"`
	FunctionARN string `json:"functionArn"`
	Condition   string `json:"condition"`
	Tries       int    `json:"approximateInvokeCount"`
}

type answered struct {
	StatusCode    int    `json:"statusCode"`
	Version       string `json:"executedVersion"`
	FunctionError string `json:"functionError,omitempty"`
}

func (s *Service) send(ctx context.Context, ev *event, destination, condition string, tries int, r *result) error {
	_, v, err := find(s.DB.View(), ev.name)
	if err != nil {
		return err
	}
	named := ev.name
	if named.qualifier == "" {
		named = named.with(latest)
	}
	at := s.now().UTC()
	rec := record{Version: "1.0", Timestamp: at.Format("2006-01-02T15:04:05.000Z"), RequestPayload: ev.payload,
		RequestContext: requestContext{ev.id, string(named.arn()), condition, tries}}
	if r != nil {
		rec.ResponseContext = &answered{StatusCode: 200, Version: r.version}
		if r.failed {
			rec.ResponseContext.FunctionError = "Unhandled"
		}
		if json.Valid(r.payload) {
			rec.ResponsePayload = r.payload
		}
	}
	text, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	session, err := s.Roles.Assume(ctx, s.use(ev.name, v.Config.Role, ev.id))
	if err != nil {
		return err
	}
	c := s.Roles.Call(session, ev.name.region, ev.id)
	a := arn.ARN(destination)
	if a.Service() == "s3" {
		size := int64(len(text))
		key := fmt.Sprintf("aws/lambda/async/%s/%s/%s-%s", ev.name.function, at.Format("2006/01/02"), at.Format("2006-01-02T15.04.05"), newRevision())
		_, err = service.Invoke[s3.PutObjectOutput](ctx, s.Invoker, c, "s3", &s3.PutObjectInput{Bucket: a.Resource(), Key: key,
			ContentType: "application/json", ContentLength: &size, Body: io.NopCloser(bytes.NewReader(text))})
		return err
	}
	_, err = service.Invoke[api.InvokeOutput](ctx, s.Invoker, c, "lambda", &api.InvokeInput{FunctionName: destination, InvocationType: "Event", Payload: text})
	return err
}
