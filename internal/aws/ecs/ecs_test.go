package ecs_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/iamd-dev/iamd/internal/awstest"
	"github.com/iamd-dev/iamd/internal/workload"
)

// The tests' executable keeps the containers.
func TestMain(m *testing.M) {
	workload.Keep()
	os.Exit(m.Run())
}

func Test(t *testing.T) {
	needWorkloads(t)
	awstest.ScriptsBut(t, map[string]string{"containers": "there is no engine"})
}

func needWorkloads(t *testing.T) {
	t.Helper()
	h := &workload.Host{Dir: filepath.Join(t.TempDir(), "workloads")}
	if err := h.Open(); err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	run, err := h.Run(t.Context(), workload.Job{Kind: "test", Path: "/bin/true"})
	if errors.Is(err, workload.ErrNoNamespaces) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	run.Wait()
}

// reader builds the program of testdata/reader where a workload may run it.
func reader(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "iamd-reader-")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "reader")
	build := exec.Command("go", "build", "-o", path, "./testdata/reader")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// The SDK's waiters end when a service has come to rest.
func TestServiceWaiters(t *testing.T) {
	needWorkloads(t)
	s := awstest.Start(t)
	client := s.ECS(s.Config(s.Root(awstest.DefaultAccount)))
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, service := t.Context(), &ecs.DescribeServicesInput{Services: []string{"web"}}
	must(client.CreateCluster(ctx, &ecs.CreateClusterInput{}))
	must(client.RegisterTaskDefinition(ctx, &ecs.RegisterTaskDefinitionInput{Family: aws.String("web"), ContainerDefinitions: []types.ContainerDefinition{
		{Name: aws.String("app"), Image: aws.String("busybox"), Memory: aws.Int32(128), Command: []string{"sleep", "600"}}}}))
	must(client.CreateService(ctx, &ecs.CreateServiceInput{ServiceName: aws.String("web"), TaskDefinition: aws.String("web"), DesiredCount: aws.Int32(2)}))
	must(nil, ecs.NewServicesStableWaiter(client, func(o *ecs.ServicesStableWaiterOptions) {
		o.MinDelay, o.MaxDelay = 50*time.Millisecond, 200*time.Millisecond
	}).Wait(ctx, service, time.Minute))
	list, err := client.ListTasks(ctx, &ecs.ListTasksInput{ServiceName: aws.String("web")})
	must(nil, err)
	must(nil, ecs.NewTasksRunningWaiter(client).Wait(ctx, &ecs.DescribeTasksInput{Tasks: list.TaskArns}, time.Minute))
	if len(list.TaskArns) != 2 {
		t.Errorf("a stable service has %d tasks", len(list.TaskArns))
	}
	must(client.DeleteService(ctx, &ecs.DeleteServiceInput{Service: aws.String("web"), Force: aws.Bool(true)}))
	must(nil, ecs.NewServicesInactiveWaiter(client, func(o *ecs.ServicesInactiveWaiterOptions) {
		o.MinDelay, o.MaxDelay = 50*time.Millisecond, 200*time.Millisecond
	}).Wait(ctx, service, time.Minute))
}

// A task reads with the credentials of its role, which the SDK's default chain finds, what
// the role may read, and nothing else.
func TestTaskReadsS3(t *testing.T) {
	needWorkloads(t)
	readS3(t, awstest.Start(t), "scratch", reader(t))
}

// readS3 has tasks run the program of testdata/reader, which is there in an image, or on this machine.
func readS3(t *testing.T, s *awstest.Server, image, program string) {
	t.Helper()
	ctx, cfg := t.Context(), s.Config(s.Root(awstest.DefaultAccount))
	roles, buckets, tasks := s.IAM(cfg), s.S3(cfg), s.ECS(cfg)
	trust := `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole",
		"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:ecs:us-east-1:` + awstest.DefaultAccount + `:*"}}}}`
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := roles.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("app-task"), AssumeRolePolicyDocument: &trust})
	must(err)
	_, err = roles.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String("app-task"), PolicyName: aws.String("p"),
		PolicyDocument: aws.String(`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::app-input/*"}}`)})
	must(err)
	for _, bucket := range []string{"app-input", "app-other"} {
		_, err = buckets.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket})
		must(err)
		_, err = buckets.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("greeting"), Body: strings.NewReader("good morning")})
		must(err)
	}
	_, err = tasks.CreateCluster(ctx, &ecs.CreateClusterInput{})
	must(err)
	_, err = tasks.RegisterTaskDefinition(ctx, &ecs.RegisterTaskDefinitionInput{
		Family: aws.String("reader"), TaskRoleArn: aws.String("arn:aws:iam::" + awstest.DefaultAccount + ":role/app-task"), NetworkMode: types.NetworkModeAwsvpc,
		RequiresCompatibilities: []types.Compatibility{types.CompatibilityFargate}, Cpu: aws.String("256"), Memory: aws.String("512"),
		ContainerDefinitions: []types.ContainerDefinition{{Name: aws.String("app"), Image: &image, EntryPoint: []string{program}, Command: []string{"app-input", "greeting"}}},
	})
	must(err)
	for _, test := range []struct {
		name, bucket, want string
		exit               int32
	}{
		{"what the role may read", "app-input", "good morning by reader:1 arn:aws:ecs:us-east-1:" + awstest.DefaultAccount + ":task/default/", 2},
		{"what it may not", "app-other", "AccessDenied: User: arn:aws:sts::" + awstest.DefaultAccount + ":assumed-role/app-task/", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, err := tasks.RunTask(ctx, &ecs.RunTaskInput{TaskDefinition: aws.String("reader"), LaunchType: types.LaunchTypeFargate,
				NetworkConfiguration: &types.NetworkConfiguration{AwsvpcConfiguration: &types.AwsVpcConfiguration{Subnets: []string{"subnet-1"}}},
				Overrides:            &types.TaskOverride{ContainerOverrides: []types.ContainerOverride{{Name: aws.String("app"), Command: []string{test.bucket, "greeting"}}}}})
			if err != nil {
				t.Fatal(err)
			}
			id := *out.Tasks[0].TaskArn
			ended, err := ecs.NewTasksStoppedWaiter(tasks, func(o *ecs.TasksStoppedWaiterOptions) {
				o.MinDelay, o.MaxDelay = 50*time.Millisecond, 200*time.Millisecond
			}).WaitForOutput(ctx, &ecs.DescribeTasksInput{Tasks: []string{id}}, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			c := ended.Tasks[0].Containers[0]
			if got := aws.ToString(c.Reason); !strings.Contains(got, test.want) || aws.ToInt32(c.ExitCode) != test.exit {
				t.Errorf("it ended with %d: %s; want %d and %s", aws.ToInt32(c.ExitCode), got, test.exit, test.want)
			}
			if session := ":assumed-role/app-task/" + id[strings.LastIndexByte(id, '/')+1:]; !strings.Contains(aws.ToString(c.Reason), session) {
				t.Errorf("it was not %s: %s", session, aws.ToString(c.Reason))
			}
			if test.exit == 2 && !strings.HasSuffix(aws.ToString(c.Reason), "without the token 403") {
				t.Errorf("credentials without the token: %s", aws.ToString(c.Reason))
			}
			log, err := os.ReadFile(filepath.Join(s.Dir, "ecs", "logs", id[strings.LastIndexByte(id, '/')+1:], "app.log"))
			if err != nil || !strings.Contains(string(log), test.want) {
				t.Errorf("the log is %q, %v", log, err)
			}
		})
	}
}
