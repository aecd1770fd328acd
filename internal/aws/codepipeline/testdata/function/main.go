// Function is a Lambda function that does the jobs of a pipeline, as the user parameters of
// the action say.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

type artifact struct {
	Name     string
	Revision *string
	Location struct {
		S3Location struct{ BucketName, ObjectKey string }
	}
}

type event struct {
	Job struct {
		ID   string
		Data struct {
			ActionConfiguration struct{ Configuration map[string]string }
			InputArtifacts      []artifact
			OutputArtifacts     []artifact
			ArtifactCredentials struct{ AccessKeyID, SecretAccessKey, SessionToken string }
			ContinuationToken   string
		}
	} `json:"CodePipeline.job"`
}

func main() {
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/"
	for {
		resp, err := http.Get(api + "next")
		if err != nil {
			panic(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		var e event
		if err == nil {
			err = json.Unmarshal(body, &e)
		}
		if err == nil {
			err = do(context.Background(), &e)
		}
		path, answer := "/response", []byte("null")
		if err != nil {
			path = "/error"
			answer, _ = json.Marshal(map[string]string{"errorType": "Error", "errorMessage": err.Error()})
		}
		if resp, err = http.Post(api+resp.Header.Get("Lambda-Runtime-Aws-Request-Id")+path, "application/json", bytes.NewReader(answer)); err == nil {
			resp.Body.Close()
		}
	}
}

// do does a job: it copies its input artifact to its output artifact, tells what it can do
// with what it was given, or goes on later.
func do(ctx context.Context, e *event) error {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	pipeline, data := codepipeline.NewFromConfig(cfg), &e.Job.Data
	success := &codepipeline.PutJobSuccessResultInput{JobId: &e.Job.ID, OutputVariables: map[string]string{"Token": data.ContinuationToken},
		ExecutionDetails: &types.ExecutionDetails{Summary: aws.String("done"), ExternalExecutionId: aws.String("mine")}}
	switch what, argument, _ := strings.Cut(data.ActionConfiguration.Configuration["UserParameters"], " "); what {
	case "silent":
		return nil
	case "fail":
		_, err := pipeline.PutJobFailureResult(ctx, &codepipeline.PutJobFailureResultInput{JobId: &e.Job.ID,
			FailureDetails: &types.FailureDetails{Type: types.FailureTypeConfigurationError, Message: &argument}})
		return err
	case "later":
		if data.ContinuationToken != "three" {
			success.OutputVariables, success.ExecutionDetails = nil, &types.ExecutionDetails{PercentComplete: aws.Int32(50)}
			success.ContinuationToken = aws.String(map[string]string{"": "two", "two": "three"}[data.ContinuationToken])
		}
	case "say":
		success.OutputVariables["Said"] = argument
	case "copy", "reach":
		given := data.ArtifactCredentials
		cfg.Credentials = credentials.NewStaticCredentialsProvider(given.AccessKeyID, given.SecretAccessKey, given.SessionToken)
		store := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
		from := data.InputArtifacts[0].Location.S3Location
		if what == "reach" { // for what it was not given
			_, read := store.GetObject(ctx, &s3.GetObjectInput{Bucket: &from.BucketName, Key: &argument})
			_, written := store.PutObject(ctx, &s3.PutObjectInput{Bucket: &from.BucketName, Key: &from.ObjectKey})
			success.OutputVariables["Read"], success.OutputVariables["Written"] = said(read), said(written)
			break
		}
		success.OutputVariables["Revision"] = *data.InputArtifacts[0].Revision
		to := data.OutputArtifacts[0].Location.S3Location
		object, err := store.GetObject(ctx, &s3.GetObjectInput{Bucket: &from.BucketName, Key: &from.ObjectKey})
		if err != nil {
			return err
		}
		text, err := io.ReadAll(object.Body)
		if err != nil {
			return err
		}
		if _, err := store.PutObject(ctx, &s3.PutObjectInput{Bucket: &to.BucketName, Key: &to.ObjectKey, Body: bytes.NewReader(text)}); err != nil {
			return err
		}
	}
	_, err = pipeline.PutJobSuccessResult(ctx, success)
	return err
}

func said(err error) string {
	if err == nil {
		return "allowed"
	}
	return err.Error()
}
