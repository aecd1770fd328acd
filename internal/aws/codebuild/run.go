package codebuild

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/codebuild/api"
	"github.com/iamd-dev/iamd/internal/imds"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/servicerole"
	"github.com/iamd-dev/iamd/internal/workload"
)

// Why a build is ended from outside.
var (
	errStopped  = errors.New("the build was stopped")
	errTimedOut = errors.New("the build has timed out")
)

// begin starts to run a build; false: the server is stopping.
func (s *Service) begin(k, account, region string, b *build) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	ctx, cancel := context.WithCancelCause(s.ctx)
	r := &running{cancel: cancel, done: make(chan struct{})}
	s.running[k] = r
	_, uuid, _ := strings.Cut(b.Id, ":")
	j := &job{s: s, key: k, account: account, region: region, uuid: uuid, build: b, provider: s.Roles.Provider(
		use(account, region, b.ProjectName, b.ServiceRole, "AWSCodeBuild-"+uuid, b.Request))}
	s.all.Go(func() {
		defer func() {
			s.mu.Lock()
			delete(s.running, k)
			s.mu.Unlock()
			close(r.done)
			cancel(nil)
		}()
		j.run(ctx)
	})
	return true
}

// A job is a build while it runs.
type job struct {
	s                          *Service
	key, account, region, uuid string
	build                      *build // as it was started; what has become of it is in the store
	provider                   *servicerole.Provider
	out                        *output
	failed                     bool
}

// A failure is why a phase failed, in the words of its context.
type failure struct{ code, message string }

func (f *failure) Error() string { return f.code + ": " + f.message }

func clientError(err error) error { return &failure{"CLIENT_ERROR", err.Error()} }

// run takes a build through its phases (User Guide, "Build phase transitions").
func (j *job) run(ctx context.Context) {
	s, b := j.s, j.build
	queued := time.NewTimer(time.Duration(b.QueuedTimeoutInMinutes) * time.Minute)
	defer queued.Stop()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-queued.C:
		j.end("TIMED_OUT", "QUEUED_TIMED_OUT", "The build has been in the queue for too long.")
		return
	case <-ctx.Done():
		j.cut(ctx)
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, time.Duration(b.TimeoutInMinutes)*time.Minute, errTimedOut)
	defer cancel()
	var err error
	if j.out, err = newOutput(j); err != nil {
		s.log().Error("opening the log of a build", "error", err)
		j.end("FAULT", "INTERNAL_ERROR", "The log of the build cannot be written.")
		return
	}
	defer j.out.close()

	j.leave(nil)
	j.enter("PROVISIONING")
	if _, err := j.provider.Session(ctx); err != nil && ctx.Err() == nil {
		j.leave(&failure{"ACCESS_DENIED", "CodeBuild is not authorized to perform: sts:AssumeRole on " + b.ServiceRole})
	} else {
		j.leave(nil)
	}
	if !j.failed {
		j.enter("DOWNLOAD_SOURCE")
		j.work(ctx)
	}
	if ctx.Err() != nil {
		j.cut(ctx)
		return
	}
	j.enter("FINALIZING")
	err = j.keepLog(ctx)
	if ctx.Err() != nil {
		j.cut(ctx)
		return
	}
	j.leave(err)
	if j.failed {
		j.end("FAILED", "", "")
	} else {
		j.end("SUCCEEDED", "", "")
	}
}

// work is what happens between the phases DOWNLOAD_SOURCE, in which it begins, and UPLOAD_ARTIFACTS.
func (j *job) work(ctx context.Context) {
	s, b := j.s, j.build
	dir, err := os.MkdirTemp(s.temporary(), "build-")
	if err != nil {
		j.leave(err)
		return
	}
	defer os.RemoveAll(dir)
	spec, env, err := j.prepare(ctx, dir)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		j.leave(err)
		return
	}
	specs := map[string]artifactsSpec{"": spec.Artifacts}
	for id, a := range spec.Artifacts.Secondary {
		if identifier(id) {
			specs[id] = a
		}
	}
	mark := newUUID()
	j.out.mark, j.out.spec = []byte(mark+" "), spec
	shell, err := s.Workloads.LookPath(spec.Env.Shell)
	if err != nil {
		j.leave(clientError(err))
		return
	}
	credentials := &imds.Container{Path: "/v2/credentials/" + newUUID(), Open: true, Credentials: j.provider.Credentials}
	env = append(env, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI="+credentials.Path)
	run, err := s.Workloads.Run(ctx, workload.Job{
		Kind: "codebuild", Name: b.ProjectName,
		Fill: func(task string) error {
			entries, err := os.ReadDir(dir)
			if err != nil {
				return err
			}
			for _, e := range entries {
				if err := os.Rename(filepath.Join(dir, e.Name()), filepath.Join(task, e.Name())); err != nil {
					return err
				}
			}
			return writeScript(task, mark, shell, spec, specs)
		},
		Path: shell, Args: []string{workload.TaskDir + "/" + agentDir + "/build.sh"}, Env: env, WorkDir: workload.TaskDir + "/" + sourceDir,
		Serve:  map[string]http.Handler{"169.254.170.2:80": credentials},
		Memory: memory[b.Environment.ComputeType],
		Output: j.out,
	})
	if err != nil {
		if ctx.Err() == nil {
			s.log().Error("starting a build", "error", err)
			j.leave(&failure{"INTERNAL_ERROR", "The build's commands cannot be started."})
		}
		return
	}
	defer run.Remove()
	j.leave(nil)
	close(j.out.begun)
	select {
	case <-run.Done():
	case <-ctx.Done():
		run.Kill()
		return
	}
	j.out.flush()
	if !j.out.artifacts { // it ended before, which is right only after a phase that failed
		if err := run.Wait(); err != nil || !j.failed {
			j.leave(clientError(fmt.Errorf("the build's shell ended too early: %v", err)))
			j.failed = true
		}
		return
	}
	root, err := os.OpenRoot(filepath.Join(run.Dir(), "task"))
	if err != nil {
		j.leave(err)
		return
	}
	defer root.Close()
	j.enter("UPLOAD_ARTIFACTS")
	j.exported(root, spec)
	if err := j.artifacts(ctx, root, specs); ctx.Err() == nil {
		j.leave(err)
	}
}

// memory is what a process of a build may have, by the compute type: AWS's, in bytes.
var memory = map[string]int64{
	"BUILD_GENERAL1_SMALL": 4 << 30, "BUILD_GENERAL1_MEDIUM": 8 << 30, "BUILD_GENERAL1_LARGE": 16 << 30,
	"BUILD_LAMBDA_1GB": 1 << 30, "BUILD_LAMBDA_2GB": 2 << 30, "BUILD_LAMBDA_4GB": 4 << 30, "BUILD_LAMBDA_8GB": 8 << 30, "BUILD_LAMBDA_10GB": 10 << 30,
}

// call is a call of CodeBuild's in a session of the role.
func (j *job) call(ctx context.Context) (*service.Call, error) {
	session, err := j.provider.Session(ctx)
	if err != nil {
		return nil, &failure{"ACCESS_DENIED", "CodeBuild is not authorized to perform: sts:AssumeRole on " + j.build.ServiceRole}
	}
	return j.s.Roles.Call(session, j.region, j.build.Request), nil
}

// prepare fetches the sources into dir, reads the buildspec and finds the environment.
func (j *job) prepare(ctx context.Context, dir string) (*buildspec, []string, error) {
	b := j.build
	c, err := j.call(ctx)
	if err != nil {
		return nil, nil, err
	}
	j.out.say("Phase is DOWNLOAD_SOURCE")
	env := map[string]string{}
	version := func(id string) string {
		i := slices.IndexFunc(b.SecondarySourceVersions, func(v api.ProjectSourceVersion) bool { return v.SourceIdentifier == id })
		if i < 0 {
			return ""
		}
		return b.SecondarySourceVersions[i].SourceVersion
	}
	sources := append([]api.ProjectSource{*b.Source}, b.SecondarySources...)
	resolved := ""
	for i, source := range sources {
		name, suffix, at := sourceDir, "", b.SourceVersion
		if i > 0 {
			name, suffix, at = sourceDir+"_"+source.SourceIdentifier, "_"+source.SourceIdentifier, version(source.SourceIdentifier)
		}
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			return nil, nil, err
		}
		env["CODEBUILD_SRC_DIR"+suffix] = workload.TaskDir + "/" + name
		from, err := placeOf(&source, at)
		if err != nil {
			return nil, nil, clientError(err)
		}
		if from.bucket == "" {
			continue
		}
		found, err := j.s.fetch(ctx, c, from, filepath.Join(dir, name))
		if err != nil {
			if i == 0 {
				return nil, nil, clientError(fmt.Errorf("%w for primary source", err))
			}
			return nil, nil, clientError(fmt.Errorf("%w for source %s", err, source.SourceIdentifier))
		}
		if i == 0 {
			resolved = found
			env["CODEBUILD_SOURCE_REPO_URL"] = from.bucket + "/" + from.key
		} else {
			env["CODEBUILD_RESOLVED_SOURCE_VERSION"+suffix] = found
		}
	}
	j.change(func(b *build) { b.ResolvedSourceVersion = resolved })
	j.out.say("CODEBUILD_SRC_DIR=%s", env["CODEBUILD_SRC_DIR"])
	spec, err := j.buildspec(filepath.Join(dir, sourceDir))
	if err != nil {
		return nil, nil, err
	}

	// What the buildspec says yields to the project, and that to StartBuild.
	parameters := map[string]string{}
	for name, value := range spec.Env.Variables {
		env[name] = value
	}
	for name, parameter := range spec.Env.ParameterStore {
		parameters[name] = parameter
	}
	if len(spec.Env.SecretsManager) > 0 {
		return nil, nil, &failure{"Secrets Manager Error", "iamd does not serve secretsmanager"}
	}
	for _, v := range b.Environment.EnvironmentVariables {
		delete(parameters, v.Name)
		switch v.Type {
		case "PARAMETER_STORE":
			parameters[v.Name] = v.Value
		default:
			env[v.Name] = v.Value
		}
	}
	if len(parameters) > 0 {
		j.out.say("Decrypting parameter store environment variables")
		values, err := j.s.parameters(ctx, c, parameters)
		if err != nil {
			return nil, nil, &failure{"Decrypted Variables Error", said(err).Error()}
		}
		for name, value := range values {
			env[name] = value
			j.out.hide(value)
		}
	}
	for name, value := range map[string]string{
		"AWS_REGION": j.region, "AWS_DEFAULT_REGION": j.region,
		"CODEBUILD_BUILD_ARN": b.Arn, "CODEBUILD_BUILD_ID": b.Id, "CODEBUILD_BUILD_NUMBER": strconv.FormatInt(b.BuildNumber, 10),
		"CODEBUILD_BUILD_IMAGE": b.Environment.Image, "CODEBUILD_BUILD_SUCCEEDING": "1", "CODEBUILD_INITIATOR": b.Initiator,
		"CODEBUILD_KMS_KEY_ID": b.EncryptionKey, "CODEBUILD_LOG_PATH": j.uuid, "CODEBUILD_PROJECT_ARN": string(projectARN(j.account, j.region, b.ProjectName)),
		"CODEBUILD_RESOLVED_SOURCE_VERSION": resolved, "CODEBUILD_SOURCE_VERSION": b.SourceVersion,
		"CODEBUILD_START_TIME": strconv.FormatInt(b.StartTime.UnixMilli(), 10), "CI": "true",
	} {
		env[name] = value
	}
	var list []string
	for name, value := range env {
		if !variable(name) || strings.ContainsRune(value, 0) {
			return nil, nil, clientError(fmt.Errorf("%q cannot be an environment variable", name))
		}
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return spec, list, nil
}

// placeOf is where a source is. S3 has the version of an object; CodePipeline tells by the
// version where it has put the input artifact.
func placeOf(source *api.ProjectSource, version string) (place, error) {
	switch source.Type {
	case "S3":
		bucket, k, _ := strings.Cut(strings.TrimPrefix(source.Location, "arn:aws:s3:::"), "/")
		return place{bucket, k, version}, nil
	case "CODEPIPELINE":
		return objectOf(version)
	}
	return place{}, nil
}

// objectOf reads the ARN of an object.
func objectOf(s string) (place, error) {
	a, err := arn.Parse(s)
	bucket, k, ok := strings.Cut(a.Resource(), "/")
	if err != nil || a.Service() != "s3" || !ok || bucket == "" || k == "" {
		return place{}, fmt.Errorf("%q is not the ARN of an object", s)
	}
	return place{bucket: bucket, key: k}, nil
}

// maxBuildspec is the largest buildspec that is read.
const maxBuildspec = 1 << 20

// buildspec reads the buildspec from the project, or from the primary source.
func (j *job) buildspec(source string) (*buildspec, error) {
	given := j.build.Source.Buildspec
	text := []byte(given)
	if !inline(given) {
		name := given
		if name == "" {
			name = "buildspec.yml"
		}
		name = path.Clean(name)
		j.out.say("YAML location is %s/%s/%s", workload.TaskDir, sourceDir, name)
		root, err := os.OpenRoot(source)
		if err != nil {
			return nil, err
		}
		defer root.Close()
		f, err := root.Open(name)
		if err != nil {
			return nil, &failure{"YAML_FILE_ERROR", fmt.Sprintf("stat %s/%s/%s: no such file or directory", workload.TaskDir, sourceDir, name)}
		}
		defer f.Close()
		if text, err = io.ReadAll(io.LimitReader(f, maxBuildspec)); err != nil {
			return nil, &failure{"YAML_FILE_ERROR", name + " cannot be read"}
		}
	}
	spec, err := parseBuildspec(text)
	if err != nil {
		return nil, &failure{"YAML_FILE_ERROR", err.Error()}
	}
	for what, n := range map[string]bool{"reports": !spec.Reports.IsZero(), "cache": !spec.Cache.IsZero(), "runtime-versions": !spec.Phases.Install.RuntimeVersions.IsZero()} {
		if n {
			j.out.say("The buildspec has %s, which iamd does not serve: it is passed over", what)
		}
	}
	return spec, nil
}

// maxExported is the largest value of an exported variable.
const maxExported = 5120

// exported keeps the values that the exported variables ended with.
func (j *job) exported(root *os.Root, spec *buildspec) {
	var all []api.ExportedEnvironmentVariable
	for _, name := range spec.Env.ExportedVariables {
		if text, err := readSome(root, agentDir+"/exported/"+name, maxExported); err == nil {
			all = append(all, api.ExportedEnvironmentVariable{Name: name, Value: string(text)})
		}
	}
	j.change(func(b *build) { b.ExportedEnvironmentVariables = all })
}

// readSome reads the beginning of a regular file.
func readSome(root *os.Root, name string, most int64) ([]byte, error) {
	if info, err := root.Stat(name); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", name)
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// artifacts uploads what the project and the buildspec both speak of.
func (j *job) artifacts(ctx context.Context, root *os.Root, specs map[string]artifactsSpec) error {
	for i, to := range j.build.Targets {
		if to.Type == "NO_ARTIFACTS" || to.Location == "" {
			continue
		}
		if to.Type == "CODEPIPELINE" {
			to.Packaging = "ZIP"
		}
		if to.Name == "" {
			to.Name = j.build.ProjectName
		}
		spec, ok := specs[to.ArtifactIdentifier]
		if i == 0 {
			spec, ok = specs[""], true
			to.ArtifactIdentifier = ""
		}
		if !ok {
			return clientError(fmt.Errorf("no definition for secondary artifact %s", to.ArtifactIdentifier))
		}
		// What was found out inside: name, base directory and files, a line each.
		text, err := readSome(root, agentDir+"/artifacts-"+to.ArtifactIdentifier, maxBuildspec)
		if err != nil {
			return clientError(errNoFiles)
		}
		lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
		if len(lines) < 2 {
			return clientError(errNoFiles)
		}
		spec.Name, spec.BaseDirectory, spec.Files = lines[0], lines[1], lines[2:]
		c, err := j.call(ctx)
		if err != nil {
			return err
		}
		done, err := j.s.upload(ctx, c, root, &to, spec, j.uuid)
		if err != nil {
			return clientError(err)
		}
		j.change(func(b *build) {
			if i == 0 {
				b.Artifacts = done
			} else {
				b.SecondaryArtifacts = append(b.SecondaryArtifacts, *done)
			}
		})
	}
	return nil
}

// keepLog writes the log to the project's bucket, as the role, if it wants that.
func (j *job) keepLog(ctx context.Context) error {
	to := j.build.Logs.S3Logs
	if to.Status != "ENABLED" {
		return nil
	}
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(to.Location, "arn:aws:s3:::"), "/")
	k := strings.TrimPrefix(path.Join(prefix, j.uuid+".gz"), "/")
	c, err := j.call(ctx)
	if err != nil {
		return err
	}
	in, err := os.Open(j.s.logFile(j.uuid))
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(j.s.temporary(), "log-")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	w := gzip.NewWriter(out)
	if _, err := io.Copy(w, in); err != nil {
		out.Close()
		return err
	}
	if err := w.Close(); err != nil {
		out.Close()
		return err
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		out.Close()
		return err
	}
	if err := j.s.store(ctx, c, bucket, k, out); err != nil {
		return clientError(err)
	}
	j.change(func(b *build) {
		b.Logs.S3LogsArn = "arn:aws:s3:::" + bucket + "/" + k
		b.Logs.S3DeepLink = "https://s3.console.aws.amazon.com/s3/object/" + bucket + "/" + k
	})
	return nil
}

func (j *job) change(f func(*build)) {
	if err := j.s.change(context.Background(), j.key, f); err != nil {
		j.s.log().Error("keeping what a build has come to", "build", j.build.Id, "error", err)
	}
}

func (j *job) enter(phase string) {
	now := j.s.now()
	if j.out != nil {
		j.out.say("Entering phase %s", phase)
	}
	j.change(func(b *build) { b.enter(phase, now) })
}

// leave ends the phase. An error that is no failure is ours, and its text stays here.
func (j *job) leave(err error) {
	status, f := "SUCCEEDED", &failure{}
	if err != nil {
		status, j.failed = "FAILED", true
		if !errors.As(err, &f) {
			j.s.log().Error("running a build", "build", j.build.Id, "error", err)
			f = &failure{"INTERNAL_ERROR", "iamd has failed; its log says why."}
		}
	}
	now := j.s.now()
	phase := ""
	j.change(func(b *build) {
		phase = b.CurrentPhase
		b.leave(status, f.code, f.message, now)
	})
	j.out.say("Phase complete: %s State: %s", phase, status)
	j.out.say("Phase context status code: %s Message: %s", f.code, f.message)
}

func (j *job) end(status, code, message string) {
	now := j.s.now()
	j.change(func(b *build) { b.end(status, code, message, now) })
}

// cut ends a build whose context has ended.
func (j *job) cut(ctx context.Context) {
	switch cause := context.Cause(ctx); cause {
	case errTimedOut:
		j.end("TIMED_OUT", "BUILD_TIMED_OUT", "Build has timed out. ")
	case errStopped:
		j.end("STOPPED", "", "")
	default:
		j.end("FAULT", "INTERNAL_ERROR", cause.Error())
	}
}
