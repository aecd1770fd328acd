package codepipeline

import (
	"archive/zip"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"os"
	"path"
	"strings"
	"time"

	codebuild "github.com/iamd-dev/iamd/internal/aws/codebuild/api"
	"github.com/iamd-dev/iamd/internal/aws/codepipeline/api"
	s3 "github.com/iamd-dev/iamd/internal/aws/s3/api"
	"github.com/iamd-dev/iamd/internal/service"
)

// place is where an output artifact goes: AWS names it by the beginnings of the names of the
// pipeline and of the artifact, and some letters.
func (w *work) place(artifact string) api.S3Location {
	return api.S3Location{Bucket: w.bucket, Key: w.pipeline[:min(len(w.pipeline), 20)] + "/" + artifact[:min(len(artifact), 10)] + "/" + rand.Text()[:7]}
}

// source copies the object that a source action names into the artifact store.
func (w *work) source(ctx context.Context) error {
	c, err := w.call(ctx)
	if err != nil {
		return err
	}
	bucket, k := w.config["S3Bucket"], w.config["S3ObjectKey"]
	denied := func(err error) error {
		if ctx.Err() == nil { // when it can be read, that is a change
			if err := w.s.saw(ctx, w.pipelineKey, w.declared.Name, "none"); err != nil {
				return err
			}
		}
		if refused(err) {
			return &failure{"PermissionError", "The provided role does not have permissions to perform this action. Underlying error: " + asAWS(err, "Amazon S3")}
		}
		return &failure{"ConfigurationError", fmt.Sprintf("The object with key '%s' in bucket '%s' cannot be read: %s", k, bucket, asAWS(err, "Amazon S3"))}
	}
	versioning, err := service.Invoke[s3.GetBucketVersioningOutput](ctx, w.s.Roles.Invoker, c, "s3", &s3.GetBucketVersioningInput{Bucket: bucket})
	if err != nil {
		return denied(err)
	}
	if versioning.Status != "Enabled" {
		return &failure{"ConfigurationError", fmt.Sprintf("The bucket '%s' does not have versioning enabled, which a source must have", bucket)}
	}
	version := ""
	for _, o := range w.execution.Overrides {
		if o.ActionName == w.declared.Name {
			version = o.RevisionValue
		}
	}
	object, err := service.Invoke[s3.GetObjectOutput](ctx, w.s.Roles.Invoker, c, "s3", &s3.GetObjectInput{Bucket: bucket, Key: k, VersionId: version})
	if err != nil {
		return denied(err)
	}
	defer object.Body.Close()
	to := w.place(w.declared.OutputArtifacts[0].Name)
	if _, err := service.Invoke[s3.PutObjectOutput](ctx, w.s.Roles.Invoker, c, "s3", &s3.PutObjectInput{Bucket: to.Bucket, Key: to.Key, Body: object.Body, ContentLength: &object.ContentLength}); err != nil {
		return w.storeError(err, to)
	}
	w.outputs[w.declared.OutputArtifacts[0].Name] = to
	w.summary = "Amazon S3 version id: " + object.VersionId
	w.variables = map[string]string{"BucketName": bucket, "ETag": strings.Trim(object.ETag, `"`), "ObjectKey": k, "VersionId": object.VersionId}
	w.revision = &api.ArtifactRevision{Name: w.declared.OutputArtifacts[0].Name, RevisionId: object.VersionId, RevisionChangeIdentifier: object.VersionId, RevisionSummary: w.summary, Created: object.LastModified}
	if version != "" { // the newest one is another
		return nil
	}
	return w.s.saw(ctx, w.pipelineKey, w.declared.Name, object.VersionId)
}

// storeError is what is said of an artifact that cannot be read or written.
func (w *work) storeError(err error, at api.S3Location) error {
	if refused(err) {
		return &failure{"PermissionError", fmt.Sprintf("Unable to access the artifact with Amazon S3 object key '%s' located in the Amazon S3 artifact bucket '%s'. The provided role does not have sufficient permissions.", at.Key, at.Bucket)}
	}
	return &failure{"JobFailed", fmt.Sprintf("Unable to access the artifact with Amazon S3 object key '%s' located in the Amazon S3 artifact bucket '%s'. %s", at.Key, at.Bucket, asAWS(err, "Amazon S3"))}
}

// input opens an input artifact.
func (w *work) input(ctx context.Context, c *service.Call, name string) (*s3.GetObjectOutput, error) {
	at, ok := w.execution.Artifacts[name]
	if !ok {
		return nil, &failure{"JobFailed", "There is no artifact " + name}
	}
	object, err := service.Invoke[s3.GetObjectOutput](ctx, w.s.Roles.Invoker, c, "s3", &s3.GetObjectInput{Bucket: at.Bucket, Key: at.Key})
	if err != nil {
		return nil, w.storeError(err, at)
	}
	return object, nil
}

// archive copies an input artifact, a zip, into a file that goes with done.
func (w *work) archive(ctx context.Context, c *service.Call, name string) (_ *zip.Reader, done func(), err error) {
	object, err := w.input(ctx, c, name)
	if err != nil {
		return nil, nil, err
	}
	defer object.Body.Close()
	f, err := os.CreateTemp("", "iamd-artifact-")
	if err != nil {
		return nil, nil, err
	}
	done = func() {
		f.Close()
		os.Remove(f.Name())
	}
	size, err := io.Copy(f, object.Body)
	if err != nil {
		done()
		return nil, nil, err
	}
	archive, err := zip.NewReader(f, size)
	if err != nil {
		done()
		return nil, nil, &failure{"JobFailed", fmt.Sprintf("The artifact %s is not a zip archive", name)}
	}
	return archive, done, nil
}

// build starts a build and waits for its end. CodeBuild reads the input artifacts and
// writes the output artifacts as the project's role.
func (w *work) build(ctx context.Context) error {
	if w.recorded().External == "" {
		if err := w.startBuild(ctx); err != nil {
			return err
		}
	}
	id := w.recorded().External
	for {
		c, err := w.call(ctx)
		if err != nil {
			return err
		}
		out, err := service.Invoke[codebuild.BatchGetBuildsOutput](ctx, w.s.Roles.Invoker, c, "codebuild", &codebuild.BatchGetBuildsInput{Ids: []string{id}})
		if err != nil {
			return &failure{"JobFailed", "Error calling batchGetBuilds: " + asAWS(err, "AWSCodeBuild")}
		}
		if len(out.Builds) == 0 {
			return &failure{"JobFailed", fmt.Sprintf("The build %s does not exist", id)}
		}
		b := &out.Builds[0]
		if !b.BuildComplete {
			w.s.wait(ctx, nil, w.s.poll())
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		}
		if b.BuildStatus != "SUCCEEDED" {
			w.summary = "Build terminated with state: " + b.BuildStatus
			for _, p := range b.Phases {
				if len(p.Contexts) > 0 && p.PhaseStatus != "SUCCEEDED" {
					w.summary += fmt.Sprintf(". Phase: %s, Code: %s, Message: %s", p.PhaseType, p.Contexts[0].StatusCode, p.Contexts[0].Message)
					break
				}
			}
			return &failure{"JobFailed", w.summary}
		}
		w.variables = map[string]string{}
		for _, v := range b.ExportedEnvironmentVariables {
			w.variables[v.Name] = v.Value
		}
		for i, done := range append([]codebuild.BuildArtifacts{*b.Artifacts}, b.SecondaryArtifacts...) {
			name := done.ArtifactIdentifier
			if i == 0 && len(w.declared.OutputArtifacts) == 1 {
				name = w.declared.OutputArtifacts[0].Name
			}
			if bucket, k, ok := strings.Cut(strings.TrimPrefix(done.Location, "arn:aws:s3:::"), "/"); ok && name != "" {
				w.outputs[name] = api.S3Location{Bucket: bucket, Key: k}
			}
		}
		return nil
	}
}

// recorded is the action's record as it is now.
func (w *work) recorded() *action {
	if e := executions.Get(w.s.DB.View(), w.key); e != nil {
		return e.action(w.id)
	}
	return &action{}
}

func (w *work) startBuild(ctx context.Context) error {
	c, err := w.call(ctx)
	if err != nil {
		return err
	}
	primary := w.config["PrimarySource"]
	if primary == "" {
		primary = w.declared.InputArtifacts[0].Name
	}
	in := &codebuild.StartBuildInput{
		ProjectName: w.config["ProjectName"], IdempotencyToken: w.id, SourceTypeOverride: "CODEPIPELINE",
		ArtifactsOverride:               &codebuild.ProjectArtifacts{Type: "CODEPIPELINE", Path: w.pipeline},
		SecondarySourcesOverride:        []codebuild.ProjectSource{},
		SecondarySourcesVersionOverride: []codebuild.ProjectSourceVersion{},
		SecondaryArtifactsOverride:      []codebuild.ProjectArtifacts{},
	}
	for _, a := range w.declared.InputArtifacts {
		at := w.execution.Artifacts[a.Name]
		object := "arn:aws:s3:::" + at.Bucket + "/" + at.Key
		if a.Name == primary {
			in.SourceVersion = object
			continue
		}
		in.SecondarySourcesOverride = append(in.SecondarySourcesOverride, codebuild.ProjectSource{Type: "CODEPIPELINE", SourceIdentifier: a.Name})
		in.SecondarySourcesVersionOverride = append(in.SecondarySourcesVersionOverride, codebuild.ProjectSourceVersion{SourceIdentifier: a.Name, SourceVersion: object})
	}
	for _, a := range w.declared.OutputArtifacts {
		to := w.place(a.Name)
		dir, name := path.Split(to.Key)
		target := codebuild.ProjectArtifacts{Type: "CODEPIPELINE", Location: to.Bucket, Path: strings.TrimSuffix(dir, "/"), Name: name, Packaging: "ZIP"}
		if len(w.declared.OutputArtifacts) == 1 {
			in.ArtifactsOverride = &target
			break
		}
		target.ArtifactIdentifier = a.Name
		in.SecondaryArtifactsOverride = append(in.SecondaryArtifactsOverride, target)
	}
	if text := w.config["EnvironmentVariables"]; text != "" {
		var list []struct{ Name, Value, Type string }
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			return &failure{"ConfigurationError", "The EnvironmentVariables of the action are not a JSON list of name, value and type"}
		}
		for _, v := range list {
			in.EnvironmentVariablesOverride = append(in.EnvironmentVariablesOverride, codebuild.EnvironmentVariable{Name: v.Name, Value: v.Value, Type: v.Type})
		}
	}
	out, err := service.Invoke[codebuild.StartBuildOutput](ctx, w.s.Roles.Invoker, c, "codebuild", in)
	if err != nil {
		return &failure{"JobFailed", "Error calling startBuild: " + asAWS(err, "AWSCodeBuild")}
	}
	return w.change(ctx, func(a *action) { a.External = out.Build.Id })
}

// approvalTimeout is how long an approval is waited for.
const approvalTimeout = 7 * 24 * time.Hour

// approval waits for PutApprovalResult, which ends the action itself: perform then finds
// that it is no more in progress.
func (w *work) approval(ctx context.Context) error {
	timeout := approvalTimeout
	if m := w.declared.TimeoutInMinutes; m > 0 {
		timeout = time.Duration(m) * time.Minute
	}
	end := w.recorded().Started.Add(timeout)
	for ctx.Err() == nil {
		left := end.Sub(w.s.now())
		if left <= 0 {
			return &failure{"TimeoutError", "The approval was not given in time"}
		}
		w.s.wait(ctx, w.s.waitable(), left)
	}
	return ctx.Err()
}

// maxUnpacked is how much the files of an artifact may be.
const maxUnpacked = 8 << 30

// deploy puts the input artifact into a bucket, or the files that it has.
func (w *work) deploy(ctx context.Context) error {
	c, err := w.call(ctx)
	if err != nil {
		return err
	}
	bucket, prefix := w.config["BucketName"], strings.Trim(w.config["ObjectKey"], "/")
	put := func(k string, body io.ReadCloser, size int64) error {
		defer body.Close()
		_, err := service.Invoke[s3.PutObjectOutput](ctx, w.s.Roles.Invoker, c, "s3", &s3.PutObjectInput{
			Bucket: bucket, Key: k, Body: body, ContentLength: &size, CacheControl: w.config["CacheControl"], ContentType: mime.TypeByExtension(path.Ext(k))})
		if refused(err) {
			return &failure{"PermissionError", "The provided role does not have sufficient permissions to call s3:PutObject for the deployment bucket. Underlying error: " + asAWS(err, "Amazon S3")}
		}
		if err != nil {
			return &failure{"JobFailed", "Unable to deploy to the bucket. " + asAWS(err, "Amazon S3")}
		}
		return nil
	}
	w.summary = "Deployment Succeeded"
	name := w.declared.InputArtifacts[0].Name
	if w.config["Extract"] != "true" {
		if prefix == "" {
			return &failure{"ConfigurationError", "ObjectKey is required when Extract is false"}
		}
		object, err := w.input(ctx, c, name)
		if err != nil {
			return err
		}
		return put(prefix, object.Body, object.ContentLength)
	}
	archive, done, err := w.archive(ctx, c, name)
	if err != nil {
		return err
	}
	defer done()
	left := uint64(maxUnpacked)
	for _, f := range archive.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		if f.UncompressedSize64 > left {
			return &failure{"JobFailed", "The artifact is too large"}
		}
		left -= f.UncompressedSize64
		body, err := f.Open()
		if err != nil {
			return &failure{"JobFailed", "The artifact cannot be unpacked"}
		}
		if err := put(strings.TrimPrefix(path.Join(prefix, f.Name), "/"), body, int64(f.UncompressedSize64)); err != nil {
			return err
		}
	}
	return nil
}
