package codepipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/codepipeline/api"
	lambda "github.com/iamd-dev/iamd/internal/aws/lambda/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/servicerole"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
)

// A job is what a function is asked to do, once. It says how that went by
// PutJobSuccessResult or PutJobFailureResult, and where it needs more time it asks, with a
// continuation token, to be given another (User Guide, "Invoke an AWS Lambda function in a
// pipeline").
type job struct {
	ID      string
	Begun   time.Time
	Token   string                    // that the function gave when it was asked last
	Outputs map[string]api.S3Location // where its output artifacts go
	Result  *result                   // nil: it has not answered
}

// A result is what a function answered.
type result struct {
	Failure   *api.FailureDetails // nil: it went well, or goes on
	Token     string              // with which it is to be asked again; "": it has ended
	Summary   string
	Variables map[string]string
}

// jobs tell whose a job is, under account/region/id.
var jobs = store.NewTable[owner]("codepipelinejobs")

// An owner is an action in an execution.
type owner struct{ Execution, Action string }

// Limits of the invocation of functions (User Guide, "Quotas in AWS CodePipeline", and
// PutJobSuccessResult).
const (
	mostUserParameters = 1000
	answerTimeout      = 20 * time.Minute // for a function to say how a job goes
	invokeTimeout      = 24 * time.Hour   // for the action
	mostVariables      = 122_880          // bytes, names and values together
)

// invoke has a function do the action. After a restart of the server, which invocations do
// not outlive, the job is given to the function again.
func (w *work) invoke(ctx context.Context) error {
	for ctx.Err() == nil {
		a := w.recorded()
		switch j := a.Job; {
		case j == nil:
			outputs := map[string]api.S3Location{}
			for _, o := range w.declared.OutputArtifacts {
				outputs[o.Name] = w.place(o.Name)
			}
			if err := w.newJob(ctx, &job{Outputs: outputs}); err != nil {
				return err
			}
		case j.Result == nil:
			if err := w.give(ctx, j); err != nil {
				return err
			}
			if err := w.answered(ctx, j, a.Started); err != nil {
				return err
			}
		case j.Result.Failure != nil:
			w.summary = j.Result.Summary
			return &failure{j.Result.Failure.Type, j.Result.Failure.Message}
		case j.Result.Token != "":
			w.s.wait(ctx, nil, 5*w.s.poll())
			if err := w.newJob(ctx, &job{Token: j.Result.Token, Outputs: j.Outputs}); err != nil {
				return err
			}
		default:
			w.summary, w.variables = j.Result.Summary, j.Result.Variables
			for name, at := range j.Outputs {
				w.outputs[name] = at
			}
			return nil
		}
	}
	return ctx.Err()
}

// newJob makes the job that the action has from now on.
func (w *work) newJob(ctx context.Context, j *job) error {
	j.ID, j.Begun = newUUID(), w.s.now()
	return w.s.DB.Update(ctx, func(tx *store.Tx) error {
		e := executions.Get(tx, w.key)
		if e == nil {
			return errors.New("the execution is gone")
		}
		e.action(w.id).Job = j
		executions.Put(tx, w.key, e)
		jobs.Put(tx, key(w.account, w.region, j.ID), &owner{w.key, w.id})
		return nil
	})
}

// An artifactOf is an artifact as a function is told of it.
type artifactOf struct {
	Name     string  `json:"name"`
	Revision *string `json:"revision"`
	Location struct {
		Type string `json:"type"`
		S3   struct {
			Bucket string `json:"bucketName"`
			Key    string `json:"objectKey"`
		} `json:"s3Location"`
	} `json:"location"`
}

func newArtifactOf(name string, at api.S3Location, revisions []api.ArtifactRevision) artifactOf {
	a := artifactOf{Name: name}
	a.Location.Type, a.Location.S3.Bucket, a.Location.S3.Key = "S3", at.Bucket, at.Key
	for _, r := range revisions {
		if r.Name == name {
			a.Revision = &r.RevisionId
		}
	}
	return a
}

// give invokes the function with a job, asynchronously, as AWS does.
func (w *work) give(ctx context.Context, j *job) error {
	session, err := w.artifactSession(ctx, j)
	if err != nil {
		return err
	}
	inputs, outputs := []artifactOf{}, []artifactOf{}
	for _, a := range w.declared.InputArtifacts {
		inputs = append(inputs, newArtifactOf(a.Name, w.execution.Artifacts[a.Name], w.execution.Revisions))
	}
	for _, a := range w.declared.OutputArtifacts {
		outputs = append(outputs, newArtifactOf(a.Name, j.Outputs[a.Name], nil))
	}
	data := map[string]any{
		"actionConfiguration": map[string]any{"configuration": w.config},
		"inputArtifacts":      inputs,
		"outputArtifacts":     outputs,
		"artifactCredentials": map[string]any{"accessKeyId": session.AccessKeyID, "secretAccessKey": session.SecretAccessKey.Reveal(),
			"sessionToken": session.SessionToken.Reveal(), "expirationTime": session.Expires.UnixMilli()},
	}
	if j.Token != "" {
		data["continuationToken"] = j.Token
	}
	if s := w.declaration.ArtifactStore; s != nil && s.EncryptionKey != nil {
		data["encryptionKey"] = map[string]string{"id": s.EncryptionKey.Id, "type": s.EncryptionKey.Type}
	}
	event, err := json.Marshal(map[string]any{"CodePipeline.job": map[string]any{"id": j.ID, "accountId": w.account, "data": data}})
	if err != nil {
		return err
	}
	c, err := w.call(ctx)
	if err != nil {
		return err
	}
	name := w.config["FunctionName"]
	_, err = service.Invoke[lambda.InvokeOutput](ctx, w.s.Roles.Invoker, c, "lambda", &lambda.InvokeInput{FunctionName: name, InvocationType: "Event", Payload: event})
	var e *wire.Error
	switch {
	case refused(err):
		return &failure{"PermissionError", fmt.Sprintf("The service role or action role doesn't have the permissions required to access the AWS Lambda function named %s. "+
			"Update the IAM role permissions, and then try again. Error: %s", name, asAWS(err, "AWSLambda"))}
	case errors.As(err, &e) && e.Code == "ResourceNotFoundException":
		return &failure{"ConfigurationError", fmt.Sprintf("The AWS Lambda function %s does not exist. %s", name, asAWS(err, "AWSLambda"))}
	case err != nil:
		return &failure{"JobFailed", fmt.Sprintf("The AWS Lambda function %s cannot be invoked. %s", name, asAWS(err, "AWSLambda"))}
	}
	return nil
}

// artifactSession is a session of the action's role for the function: it reads the job's
// input artifacts and writes its output artifacts, and nothing else.
func (w *work) artifactSession(ctx context.Context, j *job) (*servicerole.Session, error) {
	type statement struct {
		Effect   string
		Action   []string
		Resource []string
	}
	resource := func(at api.S3Location) string { return "arn:aws:s3:::" + at.Bucket + "/" + at.Key }
	read := statement{"Allow", []string{"s3:GetObject", "s3:GetObjectVersion"}, nil}
	written := statement{"Allow", []string{"s3:PutObject"}, nil}
	for _, a := range w.declared.InputArtifacts {
		read.Resource = append(read.Resource, resource(w.execution.Artifacts[a.Name]))
	}
	for _, a := range w.declared.OutputArtifacts {
		written.Resource = append(written.Resource, resource(j.Outputs[a.Name]))
	}
	var all []statement
	for _, s := range []statement{read, written} {
		if len(s.Resource) > 0 {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		all = []statement{{"Deny", []string{"*"}, []string{"*"}}}
	}
	policy, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": all})
	if err != nil {
		return nil, err
	}
	if w.declared.RoleArn == "" {
		use := w.s.use(w.account, w.region, w.pipeline, w.declaration.RoleArn, w.request)
		use.Policy = string(policy)
		session, err := w.s.Roles.Assume(ctx, use)
		if err != nil {
			return nil, notAssumed(w.declaration.RoleArn)
		}
		return session, nil
	}
	own, err := w.provider.Session(ctx)
	if err != nil {
		return nil, notAssumed(w.declaration.RoleArn)
	}
	session, err := w.s.Roles.Chain(ctx, own, arn.ARN(w.declared.RoleArn), fmt.Sprint(w.s.now().UnixMilli()), string(policy))
	if err != nil {
		return nil, notChained(w.declaration.RoleArn, w.declared.RoleArn)
	}
	return session, nil
}

// answered waits until the function has said how the job goes.
func (w *work) answered(ctx context.Context, j *job, started time.Time) error {
	end := j.Begun.Add(answerTimeout)
	if last := started.Add(invokeTimeout); last.Before(end) {
		end = last
	}
	for ctx.Err() == nil {
		changed := w.s.waitable()
		if now := w.recorded().Job; now == nil || now.Result != nil {
			return nil
		}
		left := end.Sub(w.s.now())
		if left <= 0 {
			return &failure{"JobFailed", fmt.Sprintf("The AWS Lambda function %s failed to return a result. Check the function to verify that it has permission to call the "+
				"PutJobSuccessResult action and that it made a call to PutJobSuccessResult.", w.config["FunctionName"])}
		}
		w.s.wait(ctx, changed, left)
	}
	return ctx.Err()
}

func (s *Service) putJobSuccessResult(ctx context.Context, c *service.Call, in *api.PutJobSuccessResultInput) (*api.PutJobSuccessResultOutput, error) {
	if in.ContinuationToken != "" && len(in.OutputVariables) > 0 {
		return nil, api.Validation("Output variables can be included only when there is no continuation token on the request")
	}
	size := 0
	for name, value := range in.OutputVariables {
		if !variableName.MatchString(name) {
			return nil, api.Validation("The name of the output variable %s is not of the form [A-Za-z0-9@\\-_]+", name)
		}
		size += len(name) + len(value)
	}
	if size > mostVariables {
		return nil, api.OutputVariablesSizeExceeded("The output variables have %d bytes, of which there may be %d", size, mostVariables)
	}
	details := in.ExecutionDetails
	if details == nil {
		details = &api.ExecutionDetails{}
	}
	return &api.PutJobSuccessResultOutput{}, s.answer(ctx, c, in.JobId, details, &result{Token: in.ContinuationToken, Summary: details.Summary, Variables: in.OutputVariables})
}

func (s *Service) putJobFailureResult(ctx context.Context, c *service.Call, in *api.PutJobFailureResultInput) (*api.PutJobFailureResultOutput, error) {
	f := in.FailureDetails
	return &api.PutJobFailureResultOutput{}, s.answer(ctx, c, in.JobId, &api.ExecutionDetails{ExternalExecutionId: f.ExternalExecutionId}, &result{Failure: &f})
}

// answer keeps what a function has answered. A job of another account is not there.
func (s *Service) answer(ctx context.Context, c *service.Call, id string, details *api.ExecutionDetails, r *result) error {
	now := s.now()
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		of := jobs.Get(tx, key(c.Account, c.Region, id))
		if of == nil {
			return api.JobNotFound("The job '%s' does not exist", id)
		}
		e := executions.Get(tx, of.Execution)
		if e == nil {
			return api.JobNotFound("The job '%s' does not exist", id)
		}
		a := e.action(of.Action)
		if a == nil || a.Status != "InProgress" || a.Job == nil || a.Job.ID != id || a.Job.Result != nil {
			return api.InvalidJobState("The job '%s' is not in progress", id)
		}
		a.Job.Result, a.Updated = r, now
		if details.Summary != "" {
			a.Summary = details.Summary
		}
		if details.ExternalExecutionId != "" {
			a.External = details.ExternalExecutionId
		}
		if details.PercentComplete != nil {
			a.Percent = *details.PercentComplete
		}
		executions.Put(tx, of.Execution, e)
		return nil
	})
	if err == nil {
		s.wake()
	}
	return err
}
