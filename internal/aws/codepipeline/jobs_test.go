package codepipeline_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	codepipelineservice "github.com/iamd-dev/iamd/internal/aws/codepipeline"
	"github.com/iamd-dev/iamd/internal/awstest"
	"github.com/iamd-dev/iamd/internal/workload"
)

// function is testdata/function as a zip.
var function = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "function")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "bootstrap")
	cmd := exec.Command("go", "build", "-o", path, "./testdata/function")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: "bootstrap"}
	h.SetMode(0o755)
	w, err := z.CreateHeader(h)
	if err == nil {
		_, err = w.Write(text)
	}
	err = errors.Join(err, z.Close())
	return b.Bytes(), err
})

const (
	account  = awstest.DefaultAccount
	trusting = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":["lambda.amazonaws.com","codepipeline.amazonaws.com"]},"Action":"sts:AssumeRole"}}`
	pipeMay  = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["s3:*","lambda:InvokeFunction"],"Resource":"*"}}`
)

// A site is a server with a function, a source and the roles "pipe" and "work", of which the
// second is the function's.
type site struct {
	t      *testing.T
	server *awstest.Server
	cfg    aws.Config
	*codepipeline.Client
}

func start(t *testing.T) *site {
	t.Helper()
	server := awstest.Start(t)
	if _, err := server.Workloads.Run(t.Context(), workload.Job{Kind: "test", Path: "/bin/true"}); errors.Is(err, workload.ErrNoNamespaces) {
		t.Skip(err)
	}
	cfg := server.Config(server.Root(account))
	s := &site{t, server, cfg, server.CodePipeline(cfg)}
	code, err := function()
	if err != nil {
		t.Fatal(err)
	}
	s.role("pipe", pipeMay)
	s.role("work", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"codepipeline:PutJob*","Resource":"*"}}`)
	_, err = server.Lambda(cfg).CreateFunction(t.Context(), &lambda.CreateFunctionInput{FunctionName: aws.String("worker"), Runtime: lambdatypes.RuntimeProvidedal2023,
		Handler: aws.String("x"), Role: aws.String("arn:aws:iam::" + account + ":role/work"), Code: &lambdatypes.FunctionCode{ZipFile: code}, Timeout: aws.Int32(20)})
	must(t, err)
	store := server.S3(cfg)
	for _, bucket := range []string{"source", "store"} {
		_, err = store.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket})
		must(t, err)
	}
	_, err = store.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: aws.String("source"), VersioningConfiguration: &s3types.VersioningConfiguration{Status: "Enabled"}})
	must(t, err)
	_, err = store.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("source"), Key: aws.String("app.zip"), Body: strings.NewReader("the app")})
	must(t, err)
	_, err = store.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("store"), Key: aws.String("other"), Body: strings.NewReader("another's")})
	must(t, err)
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *site) role(name, policy string) {
	s.t.Helper()
	client := s.server.IAM(s.cfg)
	_, err := client.CreateRole(s.t.Context(), &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: aws.String(trusting)})
	must(s.t, err)
	s.may(name, policy)
}

func (s *site) may(role, policy string) {
	s.t.Helper()
	_, err := s.server.IAM(s.cfg).PutRolePolicy(s.t.Context(), &iam.PutRolePolicyInput{RoleName: &role, PolicyName: aws.String("p"), PolicyDocument: &policy})
	must(s.t, err)
}

// an action that invokes a function.
func invoking(name, parameters string) types.ActionDeclaration {
	return types.ActionDeclaration{Name: aws.String("do"), Namespace: aws.String("Made"), Configuration: map[string]string{"FunctionName": name, "UserParameters": parameters},
		ActionTypeId:   &types.ActionTypeId{Category: types.ActionCategoryInvoke, Owner: types.ActionOwnerAws, Provider: aws.String("Lambda"), Version: aws.String("1")},
		InputArtifacts: []types.InputArtifact{{Name: aws.String("app")}}, OutputArtifacts: []types.OutputArtifact{{Name: aws.String("made")}}}
}

func pipeline(name string, actions ...types.ActionDeclaration) *types.PipelineDeclaration {
	source := types.ActionDeclaration{Name: aws.String("get"), Configuration: map[string]string{"S3Bucket": "source", "S3ObjectKey": "app.zip", "PollForSourceChanges": "false"},
		ActionTypeId:    &types.ActionTypeId{Category: types.ActionCategorySource, Owner: types.ActionOwnerAws, Provider: aws.String("S3"), Version: aws.String("1")},
		OutputArtifacts: []types.OutputArtifact{{Name: aws.String("app")}}}
	return &types.PipelineDeclaration{Name: &name, RoleArn: aws.String("arn:aws:iam::" + account + ":role/pipe"),
		ArtifactStore: &types.ArtifactStore{Type: types.ArtifactStoreTypeS3, Location: aws.String("store")},
		Stages:        []types.StageDeclaration{{Name: aws.String("Source"), Actions: []types.ActionDeclaration{source}}, {Name: aws.String("Work"), Actions: actions}}}
}

// make makes a pipeline, whose first execution begins with that.
func (s *site) make(p *types.PipelineDeclaration) {
	s.t.Helper()
	_, err := s.CreatePipeline(s.t.Context(), &codepipeline.CreatePipelineInput{Pipeline: p})
	must(s.t, err)
}

// last is how the last action of the last execution stands.
func (s *site) last(name string) (types.ActionExecutionDetail, bool) {
	s.t.Helper()
	out, err := s.ListActionExecutions(s.t.Context(), &codepipeline.ListActionExecutionsInput{PipelineName: &name})
	must(s.t, err)
	for _, a := range out.ActionExecutionDetails {
		if aws.ToString(a.ActionName) != "get" {
			return a, true
		}
	}
	return types.ActionExecutionDetail{}, false
}

// until waits until the action's status is the one that is wanted.
func (s *site) until(name string, want types.ActionExecutionStatus) types.ActionExecutionDetail {
	s.t.Helper()
	for over := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		a, there := s.last(name)
		if there && a.Status == want {
			return a
		}
		if time.Now().After(over) || there && a.Status == types.ActionExecutionStatusFailed {
			var why types.ErrorDetails
			if a.Output != nil && a.Output.ExecutionResult != nil && a.Output.ExecutionResult.ErrorDetails != nil {
				why = *a.Output.ExecutionResult.ErrorDetails
			}
			s.t.Fatalf("the action is %s, want %s: %s %s", a.Status, want, aws.ToString(why.Code), aws.ToString(why.Message))
		}
	}
}

// What a function answers is what becomes of its action.
func TestInvokeAFunction(t *testing.T) {
	s := start(t)
	t.Run("it succeeds, with variables and an artifact", func(t *testing.T) {
		next := invoking("worker", "say #{Made.Revision} and #{Made.Token}.")
		next.Name, next.Namespace, next.RunOrder, next.InputArtifacts, next.OutputArtifacts = aws.String("then"), nil, aws.Int32(2), []types.InputArtifact{{Name: aws.String("made")}}, nil
		s.make(pipeline("copy", invoking("worker", "copy"), next))
		a := s.until("copy", types.ActionExecutionStatusSucceeded)
		for aws.ToString(a.ActionName) != "then" {
			a = s.until("copy", types.ActionExecutionStatusSucceeded)
		}
		out, err := s.ListActionExecutions(t.Context(), &codepipeline.ListActionExecutionsInput{PipelineName: aws.String("copy")})
		must(t, err)
		made := out.ActionExecutionDetails[1]
		revision := made.Output.OutputVariables["Revision"]
		if r := made.Output.ExecutionResult; revision == "" || aws.ToString(r.ExternalExecutionSummary) != "done" || aws.ToString(r.ExternalExecutionId) != "mine" {
			t.Errorf("it came to %+v, with %v", r, made.Output.OutputVariables)
		}
		if got, want := a.Output.OutputVariables["Said"], revision+" and ."; got != want {
			t.Errorf("the next action was told %q, want %q", got, want)
		}
		at := made.Output.OutputArtifacts[0].S3location
		object, err := s.server.S3(s.cfg).GetObject(t.Context(), &s3.GetObjectInput{Bucket: at.Bucket, Key: at.Key})
		must(t, err)
		var b bytes.Buffer
		if b.ReadFrom(object.Body); b.String() != "the app" {
			t.Errorf("the artifact is %q", b.String())
		}
	})
	t.Run("its credentials are for the job's artifacts alone", func(t *testing.T) {
		s.make(pipeline("reach", invoking("worker", "reach other")))
		a := s.until("reach", types.ActionExecutionStatusSucceeded)
		for _, name := range []string{"Read", "Written"} {
			if got := a.Output.OutputVariables[name]; !strings.Contains(got, "AccessDenied") || !strings.Contains(got, "no session policy allows") {
				t.Errorf("%s: %s", name, got)
			}
		}
	})
	t.Run("it goes on later", func(t *testing.T) {
		s.make(pipeline("later", invoking("worker", "later")))
		if a := s.until("later", types.ActionExecutionStatusSucceeded); a.Output.OutputVariables["Token"] != "three" {
			t.Errorf("it ended with %v", a.Output.OutputVariables)
		}
	})
	for _, test := range []struct {
		name, function, parameters string
		pipe, work                 string
		code, message              string
	}{
		{name: "it fails", function: "worker", parameters: "fail as it was told", code: "ConfigurationError", message: "as it was told"},
		{name: "it is not there", function: "nobody", code: "ConfigurationError", message: "The AWS Lambda function nobody does not exist."},
		{name: "the pipeline's role may not invoke it", function: "worker", parameters: "say no", pipe: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`,
			code: "PermissionError", message: "The service role or action role doesn't have the permissions required to access the AWS Lambda function named worker."},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.pipe != "" {
				s.may("pipe", test.pipe)
				defer s.may("pipe", pipeMay)
			}
			name := strings.ReplaceAll(strings.ReplaceAll(test.name, " ", "-"), "'", "")
			s.make(pipeline(name, invoking(test.function, test.parameters)))
			a := s.until(name, types.ActionExecutionStatusFailed)
			if e := a.Output.ExecutionResult.ErrorDetails; aws.ToString(e.Code) != test.code || !strings.HasPrefix(aws.ToString(e.Message), test.message) {
				t.Errorf("%s: %s", aws.ToString(e.Code), aws.ToString(e.Message))
			}
		})
	}
}

func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return fmt.Sprint(err)
}

// A job that is known, and has no answer: the function says nothing.
func (s *site) silent(name string) string {
	s.t.Helper()
	s.make(pipeline(name, invoking("worker", "silent")))
	s.until(name, types.ActionExecutionStatusInProgress)
	for over := time.Now().Add(20 * time.Second); time.Now().Before(over); time.Sleep(20 * time.Millisecond) {
		if id := codepipelineservice.JobOf(s.server.DB.View(), account, "us-east-1", name); id != "" {
			return id
		}
	}
	s.t.Fatal("the action has no job")
	return ""
}

// Whoever may answer a job of the account can, once, and not when it is over.
func TestJobResults(t *testing.T) {
	s := start(t)
	success := func(cfg aws.Config, id string) error {
		_, err := s.server.CodePipeline(cfg).PutJobSuccessResult(t.Context(), &codepipeline.PutJobSuccessResultInput{JobId: &id})
		return err
	}
	id := s.silent("first")
	if err := success(s.cfg, "00000000-0000-4000-8000-000000000000"); code(err) != "JobNotFoundException" {
		t.Errorf("a job that is not there: %v", err)
	}
	if err := success(s.cfg, "x"); code(err) != "ValidationException" {
		t.Errorf("an id that is none: %v", err)
	}
	elsewhere := s.cfg.Copy()
	elsewhere.Region = "eu-west-1"
	if err := success(elsewhere, id); code(err) != "JobNotFoundException" {
		t.Errorf("in another region: %v", err)
	}
	client := s.server.IAM(s.cfg)
	_, err := client.CreateUser(t.Context(), &iam.CreateUserInput{UserName: aws.String("nobody")})
	must(t, err)
	k, err := client.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: aws.String("nobody")})
	must(t, err)
	if err := success(s.server.Config(aws.Credentials{AccessKeyID: *k.AccessKey.AccessKeyId, SecretAccessKey: *k.AccessKey.SecretAccessKey}), id); code(err) != "AccessDeniedException" {
		t.Errorf("somebody without permissions: %v", err)
	}
	for name, in := range map[string]*codepipeline.PutJobSuccessResultInput{
		"ValidationException":                  {JobId: &id, ContinuationToken: aws.String("x"), OutputVariables: map[string]string{"a": "b"}},
		"OutputVariablesSizeExceededException": {JobId: &id, OutputVariables: map[string]string{"a": strings.Repeat("b", 122_880)}},
	} {
		if _, err := s.PutJobSuccessResult(t.Context(), in); code(err) != name {
			t.Errorf("%v, want %s", err, name)
		}
	}
	if _, err := s.PutJobSuccessResult(t.Context(), &codepipeline.PutJobSuccessResultInput{JobId: &id, OutputVariables: map[string]string{"not a name": "b"}}); code(err) != "ValidationException" {
		t.Errorf("a variable without a name: %v", err)
	}
	must(t, success(s.cfg, id))
	s.until("first", types.ActionExecutionStatusSucceeded)
	if err := success(s.cfg, id); code(err) != "InvalidJobStateException" {
		t.Errorf("a job that is over: %v", err)
	}
	if _, err := s.PutJobFailureResult(t.Context(), &codepipeline.PutJobFailureResultInput{JobId: &id, FailureDetails: &types.FailureDetails{Type: "JobFailed", Message: aws.String("x")}}); code(err) != "InvalidJobStateException" {
		t.Errorf("the failure of a job that is over: %v", err)
	}

	// An execution that is abandoned does not wait for its job, and a pipeline that is deleted leaves none.
	id = s.silent("second")
	executions, err := s.ListPipelineExecutions(t.Context(), &codepipeline.ListPipelineExecutionsInput{PipelineName: aws.String("second")})
	must(t, err)
	_, err = s.StopPipelineExecution(t.Context(), &codepipeline.StopPipelineExecutionInput{PipelineName: aws.String("second"), Abandon: true, PipelineExecutionId: executions.PipelineExecutionSummaries[0].PipelineExecutionId})
	must(t, err)
	if err := success(s.cfg, id); code(err) != "InvalidJobStateException" {
		t.Errorf("a job that was abandoned: %v", err)
	}
	_, err = s.DeletePipeline(t.Context(), &codepipeline.DeletePipelineInput{Name: aws.String("second")})
	must(t, err)
	if err := success(s.cfg, id); code(err) != "JobNotFoundException" {
		t.Errorf("a job of a pipeline that was deleted: %v", err)
	}
}

// A function that says nothing for twenty minutes has failed, and is not heard afterwards.
func TestJobsTimeOut(t *testing.T) {
	s := start(t)
	id := s.silent("late")
	s.server.Advance(21 * time.Minute)
	must(t, func() error { // whatever changes wakes who waits
		_, err := s.CreatePipeline(t.Context(), &codepipeline.CreatePipelineInput{Pipeline: pipeline("other", invoking("worker", "say hello"))})
		return err
	}())
	a := s.until("late", types.ActionExecutionStatusFailed)
	if e := a.Output.ExecutionResult.ErrorDetails; !strings.Contains(aws.ToString(e.Message), "The AWS Lambda function worker failed to return a result.") {
		t.Errorf("%+v", e)
	}
	if _, err := s.PutJobSuccessResult(t.Context(), &codepipeline.PutJobSuccessResultInput{JobId: &id}); code(err) != "InvalidJobStateException" {
		t.Errorf("an answer that comes too late: %v", err)
	}
}

// A job outlives a restart of the server: the function is given it again.
func TestJobsOutliveTheServer(t *testing.T) {
	s := start(t)
	id := s.silent("long")
	s.server.Restart()
	s.until("long", types.ActionExecutionStatusInProgress)
	if now := codepipelineservice.JobOf(s.server.DB.View(), account, "us-east-1", "long"); now != id {
		t.Errorf("the job is %s, and was %s", now, id)
	}
	_, err := s.PutJobSuccessResult(t.Context(), &codepipeline.PutJobSuccessResultInput{JobId: &id})
	must(t, err)
	s.until("long", types.ActionExecutionStatusSucceeded)
}

// What a declaration must not have.
func TestInvokeDeclarations(t *testing.T) {
	s := start(t)
	for _, test := range []struct {
		want  string
		spoil func(*types.ActionDeclaration)
	}{
		{"missing required key 'FunctionName'", func(a *types.ActionDeclaration) { delete(a.Configuration, "FunctionName") }},
		{"unknown key 'Payload'", func(a *types.ActionDeclaration) { a.Configuration["Payload"] = "x" }},
		{"UserParameters has 1001 characters", func(a *types.ActionDeclaration) { a.Configuration["UserParameters"] = strings.Repeat("x", 1001) }},
		{"0 to 5 output artifacts", func(a *types.ActionDeclaration) {
			for i := range 5 {
				a.OutputArtifacts = append(a.OutputArtifacts, types.OutputArtifact{Name: aws.String(fmt.Sprint("o", i))})
			}
		}},
		{"is not available in region", func(a *types.ActionDeclaration) { a.ActionTypeId.Provider = aws.String("StepFunctions") }},
		{"is not available in region", func(a *types.ActionDeclaration) { a.ActionTypeId.Category = types.ActionCategoryBuild }},
	} {
		a := invoking("worker", "x")
		test.spoil(&a)
		if _, err := s.CreatePipeline(t.Context(), &codepipeline.CreatePipelineInput{Pipeline: pipeline("p", a)}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %q", err, test.want)
		}
	}
}
