package servicerole_test

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	ec2 "github.com/iamd-dev/iamd/internal/aws/ec2/api"
	"github.com/iamd-dev/iamd/internal/awstest"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/workload"
)

// The tests' executable keeps the workloads.
func TestMain(m *testing.M) {
	workload.Keep()
	code := m.Run()
	if workerDir != "" {
		os.RemoveAll(workerDir)
	}
	os.Exit(code)
}

var workerDir string

// built is the program of testdata/worker, where a workload may run it.
var built = sync.OnceValues(func() (path string, err error) {
	if workerDir, err = os.MkdirTemp("/var/tmp", "iamd-worker-"); err != nil {
		return "", err
	}
	path = filepath.Join(workerDir, "bootstrap")
	build := exec.Command("go", "build", "-o", path, "./testdata/worker")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, os.Chmod(workerDir, 0o755)
})

func worker(t *testing.T) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// A workplace is a server whose services have sessions of a quarter of an hour, which is
// the shortest that there are, and whose clock is almost as slow as a signature may be old.
// What runs has the machine's clock, by which its first session ends after ten seconds. So
// the server's clock can be moved until that is over, while both still understand each other.
type workplace struct {
	*awstest.Server
	t      *testing.T
	client *s3.Client
}

const slow = 14*time.Minute + 50*time.Second

func newWorkplace(t *testing.T, principal string) *workplace {
	t.Helper()
	s := awstest.Start(t)
	if _, err := s.Workloads.Run(t.Context(), workload.Job{Kind: "test", Path: "/bin/true"}); errors.Is(err, workload.ErrNoNamespaces) {
		t.Skip(err)
	}
	s.Roles.Duration = 15 * time.Minute
	s.Advance(-slow)
	w := &workplace{s, t, s.S3(s.Config(s.Root(account)))}
	w.trust(principal, true)
	w.must(s.IAM(s.Config(s.Root(account))).PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: aws.String("app-role"), PolicyName: aws.String("p"),
		PolicyDocument: aws.String(`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::work/*"}}`)}))
	w.must(w.client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("work")}))
	return w
}

func (w *workplace) must(_ any, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// trust makes the role, or lets it trust another service.
func (w *workplace) trust(principal string, first bool) {
	w.t.Helper()
	client := w.IAM(w.Config(w.Root(account)))
	if first {
		w.must(client.CreateRole(w.t.Context(), &iam.CreateRoleInput{RoleName: aws.String("app-role"), AssumeRolePolicyDocument: aws.String(trusting(principal, ""))}))
		return
	}
	w.must(client.UpdateAssumeRolePolicy(w.t.Context(), &iam.UpdateAssumeRolePolicyInput{RoleName: aws.String("app-role"), PolicyDocument: aws.String(trusting(principal, ""))}))
}

// until waits until something is done with a key that is not one of these, and returns it.
func (w *workplace) until(why func() string, not ...string) string {
	w.t.Helper()
	for over := time.Now().Add(30 * time.Second); time.Now().Before(over); time.Sleep(20 * time.Millisecond) {
		out, err := w.client.ListObjectsV2(w.t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("work")})
		w.must(out, err)
		for _, o := range out.Contents {
			if !slices.Contains(not, *o.Key) {
				return *o.Key
			}
		}
	}
	w.t.Fatalf("nothing is done with a key other than %q: %s", not, why())
	return ""
}

// goesOn sees that a workload whose first credentials end goes on with others.
func (w *workplace) goesOn(why func() string) {
	w.t.Helper()
	first := w.until(why)
	w.Advance(8 * time.Minute) // more than half of the first session
	second := w.until(why, first)
	w.Advance(8 * time.Minute) // the first session is over
	w.must(w.client.DeleteObjects(w.t.Context(), &s3.DeleteObjectsInput{Bucket: aws.String("work"), Delete: &s3types.Delete{Objects: []s3types.ObjectIdentifier{{Key: &first}, {Key: &second}}}}))
	if key := w.until(why); key == first {
		w.t.Errorf("%s is used after it has ended", first)
	}
}

// A container goes on past the end of the credentials that it began with, and no further
// when its role does not trust tasks any more.
func TestRenewalInATask(t *testing.T) {
	t.Parallel()
	program := worker(t)
	w := newWorkplace(t, "ecs-tasks.amazonaws.com")
	client := w.ECS(w.Config(w.Root(account)))
	w.must(client.CreateCluster(t.Context(), &ecs.CreateClusterInput{}))
	w.must(client.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{Family: aws.String("worker"), TaskRoleArn: aws.String(string(roleARN)),
		ContainerDefinitions: []ecstypes.ContainerDefinition{{Name: aws.String("app"), Image: aws.String("x"), Memory: aws.Int32(512), EntryPoint: []string{program}, Command: []string{"work"}}}}))
	out, err := client.RunTask(t.Context(), &ecs.RunTaskInput{TaskDefinition: aws.String("worker")})
	w.must(out, err)
	task := func() (status, why string) {
		d, err := client.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Tasks: []string{*out.Tasks[0].TaskArn}})
		w.must(d, err)
		return aws.ToString(d.Tasks[0].LastStatus), aws.ToString(d.Tasks[0].StoppedReason) + " " + aws.ToString(d.Tasks[0].Containers[0].Reason)
	}
	reason := func() string { status, why := task(); return status + " " + why }
	w.goesOn(reason)
	if status, why := task(); status != "RUNNING" {
		t.Fatalf("the task is %s: %s", status, why)
	}

	w.trust("lambda.amazonaws.com", false)
	w.Advance(12 * time.Minute)
	for over := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		status, why := task()
		if status == "STOPPED" {
			if !strings.Contains(why, "ExpiredToken") && !strings.Contains(why, "The role cannot be assumed") {
				t.Errorf("it ended for another reason: %s", why)
			}
			return
		}
		if time.Now().After(over) {
			t.Fatalf("it goes on without a role: %s", reason())
		}
	}
}

// An instance goes on past the end of the credentials that it began with.
func TestRenewalInAnInstance(t *testing.T) {
	t.Parallel()
	program := worker(t)
	w := newWorkplace(t, "ec2.amazonaws.com")
	client := w.IAM(w.Config(w.Root(account)))
	w.must(client.CreateInstanceProfile(t.Context(), &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String("p")}))
	w.must(client.AddRoleToInstanceProfile(t.Context(), &iam.AddRoleToInstanceProfileInput{InstanceProfileName: aws.String("p"), RoleName: aws.String("app-role")}))
	root := &service.Call{Account: account, Caller: identity.RootCaller(account, w.Root(account).AccessKeyID), Region: "us-east-1"}
	images, err := service.Invoke[ec2.DescribeImagesOutput](t.Context(), w.Roles.Invoker, root, "ec2", &ec2.DescribeImagesInput{})
	w.must(images, err)
	out, err := service.Invoke[ec2.RunInstancesOutput](t.Context(), w.Roles.Invoker, root, "ec2", &ec2.RunInstancesInput{ImageId: images.Images[0].ImageId, MinCount: 1, MaxCount: 1,
		IamInstanceProfile: &ec2.IamInstanceProfileSpecification{Name: "p"}, UserData: base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\nexec " + program + " work\n"))})
	w.must(out, err)
	console := func() string {
		o, err := service.Invoke[ec2.GetConsoleOutputOutput](t.Context(), w.Roles.Invoker, root, "ec2", &ec2.GetConsoleOutputInput{InstanceId: out.Instances[0].InstanceId})
		w.must(o, err)
		text, _ := base64.StdEncoding.DecodeString(o.Output)
		return string(text)
	}
	w.goesOn(console)
	if text := console(); strings.Contains(text, "the work failed") || strings.Contains(text, "ended") {
		t.Errorf("the console says %s", text)
	}
}

// A function has other credentials when the first ones have ended.
func TestRenewalInAFunction(t *testing.T) {
	t.Parallel()
	program := worker(t)
	w := newWorkplace(t, "lambda.amazonaws.com")
	text, err := os.ReadFile(program)
	w.must(text, err)
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: "bootstrap"}
	h.SetMode(0o755)
	f, err := z.CreateHeader(h)
	w.must(f, err)
	w.must(f.Write(text))
	w.must(nil, z.Close())
	client := w.Lambda(w.Config(w.Root(account)))
	w.must(client.CreateFunction(t.Context(), &lambda.CreateFunctionInput{FunctionName: aws.String("f"), Runtime: lambdatypes.RuntimeProvidedal2023, Handler: aws.String("x"),
		Role: aws.String(string(roleARN)), Code: &lambdatypes.FunctionCode{ZipFile: b.Bytes()}, Timeout: aws.Int32(20), Environment: &lambdatypes.Environment{Variables: map[string]string{"BUCKET": "work"}}}))
	invoke := func() string {
		t.Helper()
		out, err := client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("f")})
		w.must(out, err)
		var key string
		if err := json.Unmarshal(out.Payload, &key); err != nil || !strings.HasPrefix(key, "ASIA") {
			t.Fatalf("it answers %s", out.Payload)
		}
		return key
	}
	first := invoke()
	if again := invoke(); again != first {
		t.Errorf("the credentials are %s at first and then %s", first, again)
	}
	w.Advance(16 * time.Minute)
	if second := invoke(); second == first {
		t.Errorf("%s is used after it has ended", first)
	}
}
