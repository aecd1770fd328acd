package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/iamd-dev/iamd/internal/sigv4"
	"github.com/iamd-dev/iamd/internal/workload"
)

// A write puts a secret into the server: SECRET in its input. What has none is there for
// the others.
type write struct {
	service, operation string
	input              string // JSON, or the parameters of the Query protocol, one a line
	finds              string // an expression whose first group is kept as $NAME, for those after it
	as                 string
}

const (
	trusting = `AssumeRolePolicyDocument={"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":["lambda.amazonaws.com","ecs-tasks.amazonaws.com","codebuild.amazonaws.com","codepipeline.amazonaws.com","ec2.amazonaws.com"]}}}`
	roleARN  = `arn:aws:iam::123456789012:role/visible-role`
)

// writes are what a user can put secrets into, service by service.
var writes = []write{
	{service: "iam", operation: "CreateRole", input: "RoleName=visible-role\n" + trusting},
	{service: "iam", operation: "AttachRolePolicy", input: "RoleName=visible-role\nPolicyArn=arn:aws:iam::aws:policy/AdministratorAccess"},
	{service: "iam", operation: "CreateUser", input: "UserName=visible-user"},
	{service: "iam", operation: "CreateLoginProfile", input: "UserName=visible-user\nPassword=aB3!SECRET"},
	{service: "iam", operation: "CreateInstanceProfile", input: "InstanceProfileName=visible-profile"},
	{service: "iam", operation: "AddRoleToInstanceProfile", input: "InstanceProfileName=visible-profile\nRoleName=visible-role"},

	{service: "ssm", operation: "PutParameter", input: `{"Name":"/visible/secure","Type":"SecureString","Value":"SECRET"}`},
	{service: "ssm", operation: "PutParameter", input: `{"Name":"/visible/plain","Type":"String","Value":"SECRET"}`},
	{service: "ssm", operation: "PutParameter", input: `{"Name":"/visible/plain","Type":"String","Value":"SECRET","Overwrite":true}`},

	{service: "lambda", operation: "CreateFunction", input: `{"FunctionName":"visible-function","Runtime":"provided.al2023","Handler":"x","Role":"` + roleARN + `","Code":{"ZipFile":"ZIP"},"Environment":{"Variables":{"PASSWORD":"SECRET"}},"Publish":true}`},
	{service: "lambda", operation: "UpdateFunctionConfiguration", input: `{"Environment":{"Variables":{"PASSWORD":"SECRET"}}}`},
	{service: "lambda", operation: "Invoke", input: `{"password":"SECRET"}`},

	{service: "ecs", operation: "CreateCluster", input: `{}`},
	{service: "ecs", operation: "RegisterTaskDefinition", input: `{"family":"visible-family","taskRoleArn":"` + roleARN + `","containerDefinitions":[{"name":"app","image":"x","memory":128,"command":["true"],"environment":[{"name":"PASSWORD","value":"SECRET"}]}]}`},
	{service: "ecs", operation: "RunTask", input: `{"taskDefinition":"visible-family","overrides":{"containerOverrides":[{"name":"app","environment":[{"name":"PASSWORD","value":"SECRET"}]}]}}`, finds: `"taskArn":"([^"]+)"`, as: "task"},
	{service: "ecs", operation: "CreateService", input: `{"serviceName":"visible-service","taskDefinition":"visible-family","desiredCount":0}`},

	{service: "codebuild", operation: "CreateProject", input: `{"name":"visible-project","serviceRole":"` + roleARN + `","source":{"type":"NO_SOURCE","buildspec":"version: 0.2\nenv: {variables: {PASSWORD: SECRET}}\nphases: {build: {commands: [true]}}"},"artifacts":{"type":"NO_ARTIFACTS"},"environment":{"type":"LINUX_CONTAINER","image":"x","computeType":"BUILD_GENERAL1_SMALL","environmentVariables":[{"name":"OTHER","value":"SECRET"}]}}`},
	{service: "codebuild", operation: "StartBuild", input: `{"projectName":"visible-project","environmentVariablesOverride":[{"name":"OTHER","value":"SECRET"}]}`, finds: `"id":"([^"]+)"`, as: "build"},

	{service: "s3", operation: "PUT /visible-bucket"},
	{service: "codepipeline", operation: "CreatePipeline", input: `{"pipeline":{"name":"visible-pipeline","roleArn":"` + roleARN + `","artifactStore":{"type":"S3","location":"visible-bucket"},"stages":[
		{"name":"Source","actions":[{"name":"s","actionTypeId":{"category":"Source","owner":"AWS","provider":"S3","version":"1"},"configuration":{"S3Bucket":"visible-bucket","S3ObjectKey":"k"},"outputArtifacts":[{"name":"a"}]}]},
		{"name":"Build","actions":[{"name":"b","actionTypeId":{"category":"Build","owner":"AWS","provider":"CodeBuild","version":"1"},"configuration":{"ProjectName":"visible-project","EnvironmentVariables":"[{\"name\":\"OTHER\",\"value\":\"SECRET\"}]"},"inputArtifacts":[{"name":"a"}]}]}]}}`},

	{service: "cloudformation", operation: "CreateStack", input: "StackName=visible-stack\nParameters.member.1.ParameterKey=P\nParameters.member.1.ParameterValue=SECRET\nTemplateBody=" +
		`{"Parameters":{"P":{"Type":"String","NoEcho":true}},"Resources":{"R":{"Type":"AWS::SSM::Parameter","Properties":{"Name":"/visible/stack","Type":"String","Value":{"Ref":"P"}}}}}`},
	{service: "cloudformation", operation: "CreateStack", input: "StackName=visible-literal\nTemplateBody=" +
		`{"Resources":{"R":{"Type":"AWS::SSM::Parameter","Properties":{"Name":"/visible/literal","Type":"String","Value":"SECRET"}}},"Outputs":{"O":{"Value":{"Fn::GetAtt":["R","Value"]}}}}`},

	{service: "ec2", operation: "RunInstances", input: "ImageId=ami-01a3d000000000001\nMinCount=1\nMaxCount=1\nIamInstanceProfile.Name=visible-profile\nUserData=BASE64(#!/bin/sh\n: SECRET)", finds: `<instanceId>([^<]+)<`, as: "instance"},
}

// afterwards are what to write when what runs has begun.
var afterwards = []write{
	{service: "ssm", operation: "SendCommand", input: `{"DocumentName":"AWS-RunShellScript","InstanceIds":["$instance"],"Parameters":{"commands":["echo SECRET"]}}`, finds: `"CommandId":"([^"]+)"`, as: "command"},
	{service: "ec2", operation: "StopInstances", input: "InstanceId.1=$instance"},
	{service: "ec2", operation: "ModifyInstanceAttribute", input: "InstanceId=$instance\nUserData.Value=BASE64(#!/bin/sh\n: SECRET)"},
}

var targets = map[string]string{"ssm": "AmazonSSM.", "ecs": "AmazonEC2ContainerServiceV20141113.", "codebuild": "CodeBuild_20161006.", "codepipeline": "CodePipeline_20150709."}

var versions = map[string]string{"iam": "2010-05-08", "cloudformation": "2010-05-15", "ec2": "2016-11-15"}

var functionPaths = map[string]string{"CreateFunction": "POST /2015-03-31/functions", "UpdateFunctionConfiguration": "PUT /2015-03-31/functions/visible-function/configuration", "Invoke": "POST /2015-03-31/functions/visible-function/invocations"}

// A writer sends what is to be kept.
type writer struct {
	t      *testing.T
	url    string
	signer sigv4.Signer
	found  map[string]string
	n      int
	told   []string // the secrets
}

func (w *writer) expand(text string, secret string) string {
	for name, value := range w.found {
		text = strings.ReplaceAll(text, "$"+name, value)
	}
	text = strings.ReplaceAll(text, "SECRET", secret)
	if before, data, ok := strings.Cut(text, "BASE64("); ok {
		text = before + base64.StdEncoding.EncodeToString([]byte(strings.TrimSuffix(data, ")")))
	}
	return text
}

// send makes a call and returns its answer.
func (w *writer) send(c write) (string, int) {
	w.t.Helper()
	secret := ""
	if strings.Contains(c.input, "SECRET") {
		w.n++
		secret = fmt.Sprintf("hush-%02d-%s-%s", w.n, c.service, c.operation)
		w.told = append(w.told, secret)
	}
	method, path, headers, body := "POST", "/", map[string]string{}, w.expand(c.input, secret)
	switch {
	case targets[c.service] != "":
		headers["Content-Type"], headers["X-Amz-Target"] = "application/x-amz-json-1.1", targets[c.service]+c.operation
	case c.service == "lambda":
		method, path, _ = strings.Cut(functionPaths[c.operation], " ")
	case versions[c.service] != "":
		form := url.Values{"Action": {c.operation}, "Version": {versions[c.service]}}
		for line := range strings.Lines(body) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			form.Set(name, value)
		}
		headers["Content-Type"], body = "application/x-www-form-urlencoded", form.Encode()
	default:
		method, path, _ = strings.Cut(c.operation, " ")
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	signer := w.signer
	signer.Region, signer.Service = "us-east-1", c.service
	signer.Sign(r, sigv4.Hash([]byte(body)), time.Now())
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text), answer.StatusCode
}

func (w *writer) do(c write) {
	w.t.Helper()
	answer, status := w.send(c)
	if status >= 300 {
		w.t.Fatalf("%s %s: %d %s", c.service, c.operation, status, answer)
	}
	if c.as != "" {
		m := regexp.MustCompile(c.finds).FindStringSubmatch(answer)
		if m == nil {
			w.t.Fatalf("%s %s answers %s", c.service, c.operation, answer)
		}
		w.found[c.as] = m[1]
	}
}

// until repeats a call until its answer matches.
func (w *writer) until(want string, c write) {
	w.t.Helper()
	var answer string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if answer, _ = w.send(c); regexp.MustCompile(want).MatchString(answer) {
			return
		}
	}
	w.t.Fatalf("%s %s never answered %s, but %s", c.service, c.operation, want, answer)
}

// serving starts a server as serve does, and returns what ends it.
func serving(t *testing.T, args ...string) (string, func()) {
	t.Helper()
	s, flags := &settings{}, pflag.NewFlagSet("serve", pflag.ContinueOnError)
	s.register(flags)
	if err := errors.Join(flags.Parse(append(args, "--listen", "127.0.0.1:0")), s.check(func(string) string { return "" })); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- serve(ctx, s, slog.New(slog.DiscardHandler), func(url string, _ *house) { ready <- url })
	}()
	select {
	case url := <-ready:
		return url, func() {
			t.Helper()
			stop()
			if err := <-ended; err != nil {
				t.Errorf("the server ended with %v", err)
			}
		}
	case err := <-ended:
		stop()
		t.Fatalf("the server did not start: %v", err)
		return "", nil
	}
}

// forms are how a text may stand in a file without being sealed.
func forms(text string) []string {
	all := []string{text, hex.EncodeToString([]byte(text))}
	for shift := range 3 { // base64 of a longer text that begins anywhere
		b := base64.StdEncoding.EncodeToString(append(make([]byte, shift), text...))
		all = append(all, b[4:len(b)-4])
	}
	return all
}

// findIn returns the files below dir that have the text, in whatever form.
func findIn(t *testing.T, dir, text string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(forms(text), func(form string) bool { return bytes.Contains(data, []byte(form)) }) {
			name, _ := filepath.Rel(dir, path)
			found = append(found, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// What users put into services is in no file of a server that has stopped: not in the
// state, not in the records, not in what was left by programs that ran. Names are.
func TestSecretsAtRest(t *testing.T) {
	t.Parallel()
	host := &workload.Host{Dir: filepath.Join(t.TempDir(), "workloads")}
	if err := host.Open(); err != nil {
		t.Fatal(err)
	}
	probe, err := host.Run(t.Context(), workload.Job{Kind: "test", Path: "/bin/true"})
	if errors.Is(err, workload.ErrNoNamespaces) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	probe.Wait()
	host.Close()

	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	h := &zip.FileHeader{Name: "bootstrap"}
	h.SetMode(0o755)
	f, err := z.CreateHeader(h)
	if err == nil {
		// It reads one event and ends, so that the invocation fails; that is enough.
		_, err = io.WriteString(f, "#!/bin/sh\nexit 1\n")
	}
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	endpoint, stop := serving(t, "--data", dir, "--workloads", "process")
	c, err := readCredentials(filepath.Join(dir, "credentials"))
	if err != nil {
		t.Fatal(err)
	}
	root := c.profile("default").settings
	w := &writer{t: t, url: endpoint, found: map[string]string{}, signer: sigv4.Signer{AccessKeyID: root[keyIDSetting], SecretAccessKey: root[secretSetting]}}
	for _, c := range writes {
		c.input = strings.ReplaceAll(c.input, "ZIP", base64.StdEncoding.EncodeToString(archive.Bytes()))
		w.do(c)
	}
	w.until(`"lastStatus":"STOPPED"`, write{service: "ecs", operation: "DescribeTasks", input: `{"tasks":["$task"]}`})
	w.until(`"buildStatus":"SUCCEEDED"`, write{service: "codebuild", operation: "BatchGetBuilds", input: `{"ids":["$build"]}`})
	w.until(`CREATE_COMPLETE`, write{service: "cloudformation", operation: "DescribeStacks", input: "StackName=visible-stack"})
	w.until(`CREATE_COMPLETE`, write{service: "cloudformation", operation: "DescribeStacks", input: "StackName=visible-literal"})
	w.until(`"PingStatus":"Online"`, write{service: "ssm", operation: "DescribeInstanceInformation", input: `{}`})
	w.do(afterwards[0])
	w.until(`"Status":"Success"`, write{service: "ssm", operation: "GetCommandInvocation", input: `{"CommandId":"$command","InstanceId":"$instance"}`})
	for _, c := range afterwards[1:] {
		w.do(c)
	}
	// A call that is refused has a secret, too.
	key, _ := w.send(write{service: "iam", operation: "CreateAccessKey", input: "UserName=visible-user"})
	m := regexp.MustCompile(`<AccessKeyId>(.*)</AccessKeyId>(?s:.*)<SecretAccessKey>(.*)</SecretAccessKey>`).FindStringSubmatch(key)
	if m == nil {
		t.Fatal(key)
	}
	w.told = append(w.told, m[2])
	admin := w.signer
	w.signer = sigv4.Signer{AccessKeyID: m[1], SecretAccessKey: m[2]}
	for _, c := range writes {
		if strings.Contains(c.input, "SECRET") {
			if answer, status := w.send(c); status/100 != 4 {
				t.Errorf("%s %s of somebody without permissions: %d %s", c.service, c.operation, status, answer)
			}
		}
	}
	stop()

	for _, secret := range w.told {
		if found := findIn(t, dir, secret); found != nil {
			t.Errorf("%s is in %q", secret, found)
		}
	}
	// What is no secret is found, in the state as in the records: so would the others be.
	for _, name := range []string{"visible-role", "visible-function", "visible-family", "visible-project", "visible-pipeline", "/visible/plain", "visible-stack"} {
		for _, part := range []string{"etcd", "audit"} {
			if findIn(t, filepath.Join(dir, part), name) == nil {
				t.Errorf("%s is nowhere in %s", name, part)
			}
		}
	}

	// All of it is there again for who may have it.
	endpoint, stop = serving(t, "--data", dir, "--workloads", "process")
	defer stop()
	w.url, w.signer = endpoint, admin
	w.until("hush-04", write{service: "ssm", operation: "GetParameterHistory", input: `{"Name":"/visible/plain"}`})
}
