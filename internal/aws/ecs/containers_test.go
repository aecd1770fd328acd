package ecs_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/iamd-dev/iamd/internal/awstest"
	"github.com/iamd-dev/iamd/internal/docker"
	"github.com/iamd-dev/iamd/internal/workload"
	"github.com/iamd-dev/iamd/internal/workload/enginetest"
)

var notOfEngines = map[string]string{"processes": "there is an engine"}

// The scripts hold with an engine, too: one that runs containers as processes, and that of
// this machine, if it has one.
func TestWithEngine(t *testing.T) {
	t.Run("fake", func(t *testing.T) {
		_, client := fake(t)
		awstest.ScriptsWithEngine(t, client, notOfEngines)
	})
	t.Run("real", func(t *testing.T) {
		engine := enginetest.Real(t)
		busybox(t, engine)
		awstest.ScriptsWithEngine(t, engine, notOfEngines)
	})
}

func fake(t *testing.T) (*enginetest.Engine, *docker.Client) {
	t.Helper()
	e := enginetest.Start(t)
	e.Have("busybox", "sha256:"+strings.Repeat("ab", 32))
	client, err := docker.Connect(t.Context(), e.Host)
	if err != nil {
		t.Fatal(err)
	}
	return e, client
}

// busybox sees to it that the engine has an image of this name, made of the machine's
// programs if it has none.
func busybox(t *testing.T, engine *docker.Client) {
	t.Helper()
	if _, err := engine.Image(t.Context(), "busybox"); err == nil {
		return
	}
	programs := map[string]string{}
	for _, name := range []string{"sh", "sleep", "true", "cat", "echo", "env"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Skip(err)
		}
		programs["/bin/"+name] = path
	}
	enginetest.Import(t, engine, "busybox", programs)
}

// What a definition says is what the engine is asked for, and what keeps a container in its place beside it.
func TestContainerAsTheEngineSeesIt(t *testing.T) {
	e, client := fake(t)
	e.Publish("registry.example.com/app:2", "sha256:"+strings.Repeat("cd", 32))
	s := awstest.StartWithEngine(t, client)
	tasks := s.ECS(s.Config(s.Root(awstest.DefaultAccount)))
	define(t, s, tasks, &ecs.RegisterTaskDefinitionInput{
		Family: aws.String("app"), Cpu: aws.String("512"), Memory: aws.String("1 GB"), TaskRoleArn: aws.String("app-task"),
		ContainerDefinitions: []types.ContainerDefinition{{
			Name: aws.String("web"), Image: aws.String("registry.example.com/app:2"), Cpu: 128, Memory: aws.Int32(256), MemoryReservation: aws.Int32(64),
			EntryPoint: []string{"/bin/sleep"}, Command: []string{"600"}, Environment: []types.KeyValuePair{{Name: aws.String("A"), Value: aws.String("b")}},
			WorkingDirectory: aws.String("/"), User: aws.String("1000:1000"), StopTimeout: aws.Int32(2), ReadonlyRootFilesystem: aws.Bool(true),
			DockerLabels: map[string]string{"mine": "yes", workload.Label: "elsewhere", "com.amazonaws.ecs.container-name": "other"},
			Ulimits:      []types.Ulimit{{Name: types.UlimitNameNofile, SoftLimit: 10, HardLimit: 20}},
			LinuxParameters: &types.LinuxParameters{InitProcessEnabled: aws.Bool(true), SharedMemorySize: aws.Int32(8),
				Capabilities: &types.KernelCapabilities{Drop: []string{"NET_RAW"}}, Tmpfs: []types.Tmpfs{{ContainerPath: aws.String("/run"), Size: 16, MountOptions: []string{"noexec"}}}},
			SystemControls: []types.SystemControl{{Namespace: aws.String("net.core.somaxconn"), Value: aws.String("9")}},
		}},
	})
	out, err := tasks.RunTask(t.Context(), &ecs.RunTaskInput{TaskDefinition: aws.String("app")})
	if err != nil {
		t.Fatal(err)
	}
	id := *out.Tasks[0].TaskArn
	running := wait(t, tasks, id, "RUNNING")
	if got, want := aws.ToString(running.Containers[0].ImageDigest), "sha256:"+strings.Repeat("cd", 32); got != want {
		t.Errorf("the image's digest is %s, want %s", got, want)
	}
	if got := e.Pulled(); len(got) != 1 || got[0] != "registry.example.com/app:2" {
		t.Errorf("pulled were %q", got)
	}
	created := e.Created()
	if len(created) != 1 {
		t.Fatalf("%d containers were created", len(created))
	}
	env, got := map[string]string{}, created[0]
	for _, pair := range got.Env {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	host := got.Labels[workload.Label]
	want := docker.Config{
		Image: "registry.example.com/app:2", Entrypoint: []string{"/bin/sleep"}, Cmd: []string{"600"}, WorkingDir: "/", User: "1000:1000",
		Labels: map[string]string{"mine": "yes", workload.Label: s.Workloads.Dir, "com.amazonaws.ecs.container-name": "web", "com.amazonaws.ecs.task-arn": id,
			"com.amazonaws.ecs.cluster":                "arn:aws:ecs:us-east-1:" + awstest.DefaultAccount + ":cluster/default",
			"com.amazonaws.ecs.task-definition-family": "app", "com.amazonaws.ecs.task-definition-version": "1"},
		Healthcheck: &docker.Healthcheck{Test: []string{"NONE"}},
		HostConfig: docker.HostConfig{
			NetworkMode: got.HostConfig.NetworkMode, LogConfig: docker.LogConfig{Type: "none"}, SecurityOpt: []string{"no-new-privileges"}, CapDrop: []string{"NET_RAW"},
			Tmpfs: map[string]string{"/run": "size=16m,noexec"}, ReadonlyRootfs: true, Init: true, ShmSize: 8 << 20,
			Memory: 256 << 20, MemorySwap: 256 << 20, MemoryReservation: 64 << 20, CPUShares: 128, CPUPeriod: 100000, CPUQuota: 50000, PidsLimit: 4096,
			Ulimits: []docker.Ulimit{{Name: "nofile", Soft: 10, Hard: 20}}, Sysctls: map[string]string{"net.core.somaxconn": "9"},
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(docker.Config{}, "Env")); diff != "" {
		t.Error(diff)
	}
	if !strings.HasPrefix(got.HostConfig.NetworkMode, "container:") || host == "elsewhere" {
		t.Errorf("its network is %s, its host %s", got.HostConfig.NetworkMode, host)
	}
	for name, value := range map[string]string{"A": "b", "AWS_ENDPOINT_URL": workload.Endpoint, "AWS_REGION": "us-east-1", "AWS_EXECUTION_ENV": "AWS_ECS_EC2"} {
		if env[name] != value {
			t.Errorf("%s is %q, want %q", name, env[name], value)
		}
	}
	if _, ok := env["PATH"]; ok {
		t.Error("PATH is not the image's")
	}

	// Inside, the token of the task has the credentials of its role, and nobody else's has.
	second, err := tasks.RunTask(t.Context(), &ecs.RunTaskInput{TaskDefinition: aws.String("app")})
	if err != nil {
		t.Fatal(err)
	}
	wait(t, tasks, *second.Tasks[0].TaskArn, "RUNNING")
	other := e.Created()[1]
	otherToken, otherURI := "", ""
	for _, pair := range other.Env {
		if v, ok := strings.CutPrefix(pair, "AWS_CONTAINER_AUTHORIZATION_TOKEN="); ok {
			otherToken = v
		}
		if v, ok := strings.CutPrefix(pair, "AWS_CONTAINER_CREDENTIALS_FULL_URI="); ok {
			otherURI = v
		}
	}
	inside := e.Inside(got.HostConfig.NetworkMode)
	ask := func(uri, token string) (int, string) {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, strings.Replace(uri, "169.254.170.2/", "169.254.170.2:80/", 1), nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", token)
		}
		answer, err := inside.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(text)
	}
	uri, token := env["AWS_CONTAINER_CREDENTIALS_FULL_URI"], env["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
	status, text := ask(uri, token)
	var credentials struct{ RoleArn string }
	if json.Unmarshal([]byte(text), &credentials); status != http.StatusOK || credentials.RoleArn != "arn:aws:iam::"+awstest.DefaultAccount+":role/app-task" {
		t.Errorf("the credentials: %d of %s", status, credentials.RoleArn)
	}
	if status, text := ask(uri, ""); status != http.StatusForbidden {
		t.Errorf("without the token: %d %s", status, text)
	}
	if status, text := ask(uri, otherToken); otherToken == "" || otherToken == token || status != http.StatusForbidden {
		t.Errorf("with another task's token: %d %s", status, text)
	}
	if status, text := ask(otherURI, otherToken); otherURI == uri || status != http.StatusNotFound {
		t.Errorf("another task's credentials: %d %s", status, text)
	}
	if status, text := ask(env["ECS_CONTAINER_METADATA_URI_V4"]+"/task", ""); status != http.StatusOK || !strings.Contains(text, id) {
		t.Errorf("the metadata: %d %s", status, text)
	}
	for _, task := range []string{id, *second.Tasks[0].TaskArn} {
		if _, err := tasks.StopTask(t.Context(), &ecs.StopTaskInput{Task: &task}); err != nil {
			t.Fatal(err)
		}
		if ended := wait(t, tasks, task, "STOPPED"); aws.ToInt32(ended.Containers[0].ExitCode) != 143 {
			t.Errorf("it ended with %d", aws.ToInt32(ended.Containers[0].ExitCode))
		}
	}
	if n := e.Containers(); n != 0 {
		t.Errorf("%d containers are left", n)
	}
}

// define registers a definition whose role trusts tasks.
func define(t *testing.T, s *awstest.Server, tasks *ecs.Client, in *ecs.RegisterTaskDefinitionInput) {
	t.Helper()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	trust := `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}}`
	roles := s.IAM(s.Config(s.Root(awstest.DefaultAccount)))
	must(roles.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: in.TaskRoleArn, AssumeRolePolicyDocument: &trust}))
	must(tasks.CreateCluster(t.Context(), &ecs.CreateClusterInput{}))
	must(tasks.RegisterTaskDefinition(t.Context(), in))
}

// wait waits for the status of a task.
func wait(t *testing.T, tasks *ecs.Client, id, status string) types.Task {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		out, err := tasks.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Tasks: []string{id}})
		if err != nil {
			t.Fatal(err)
		}
		switch got := out.Tasks[0]; {
		case aws.ToString(got.LastStatus) == status:
			return got
		case aws.ToString(got.LastStatus) == "STOPPED" || time.Now().After(end):
			t.Fatalf("it is %s, and not %s: %s", aws.ToString(got.LastStatus), status, aws.ToString(got.StoppedReason))
		}
	}
}

// Containers of a task share a network, in which the SDK's default chain finds the
// credentials of the task's role: a real engine's containers, of images that have one
// program each.
func TestContainersReadS3(t *testing.T) {
	engine := enginetest.Real(t)
	program := reader(t)
	image := enginetest.Import(t, engine, "", map[string]string{"/reader": program})
	s := awstest.StartWithEngine(t, engine)
	readS3(t, s, image, "/reader")

	tasks := s.ECS(s.Config(s.Root(awstest.DefaultAccount)))
	register := func(family string, containers ...types.ContainerDefinition) {
		t.Helper()
		if _, err := tasks.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{Family: &family, TaskRoleArn: aws.String("app-task"), ContainerDefinitions: containers}); err != nil {
			t.Fatal(err)
		}
	}
	start := func(family string, environment ...types.KeyValuePair) string {
		t.Helper()
		out, err := tasks.RunTask(t.Context(), &ecs.RunTaskInput{TaskDefinition: &family, Overrides: &types.TaskOverride{ContainerOverrides: []types.ContainerOverride{{Name: aws.String("app"), Environment: environment}}}})
		if err != nil {
			t.Fatal(err)
		}
		return *out.Tasks[0].TaskArn
	}
	container := func(name string, command ...string) types.ContainerDefinition {
		return types.ContainerDefinition{Name: &name, Image: &image, Memory: aws.Int32(128), EntryPoint: []string{"/reader"}, Command: command, StopTimeout: aws.Int32(2)}
	}

	t.Run("another task's token is refused", func(t *testing.T) {
		register("holds", container("app", "wait"))
		holder := start("holds")
		wait(t, tasks, holder, "RUNNING")
		// The log has the token that this one writes.
		var token, uri string
		for end := time.Now().Add(20 * time.Second); uri == "" && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			text, _ := os.ReadFile(s.Dir + "/ecs/logs/" + holder[strings.LastIndexByte(holder, '/')+1:] + "/app.log")
			if fields := strings.Fields(string(text)); len(fields) == 2 {
				token, uri = fields[0], fields[1]
			}
		}
		if uri == "" {
			t.Fatal("the other task does not tell its token")
		}
		register("asks", container("app", "ask"))
		value := func(name, value string) types.KeyValuePair {
			return types.KeyValuePair{Name: &name, Value: &value}
		}
		asks := wait(t, tasks, start("asks", value("OTHER_TOKEN", token), value("OTHER_URI", uri)), "STOPPED")
		if got, want := aws.ToString(asks.Containers[0].Reason), "own 200, without 403, other 403, other's 404"; got != want {
			t.Errorf("it was answered %q, want %q", got, want)
		}
		if _, err := tasks.StopTask(t.Context(), &ecs.StopTaskInput{Task: &holder}); err != nil {
			t.Fatal(err)
		}
		wait(t, tasks, holder, "STOPPED")
	})
	t.Run("containers of a task reach each other", func(t *testing.T) {
		side := container("side", "serve")
		side.Essential = aws.Bool(false)
		register("pair", container("app", "call"), side)
		pair := wait(t, tasks, start("pair"), "STOPPED")
		if got := aws.ToString(pair.Containers[0].Reason) + aws.ToString(pair.Containers[1].Reason); got != "the side answers" {
			t.Errorf("it was answered %q", got)
		}
	})
	t.Run("a service has as many as are desired, also when one is killed", func(t *testing.T) {
		register("web", container("app", "wait"))
		if _, err := tasks.CreateService(t.Context(), &ecs.CreateServiceInput{ServiceName: aws.String("web"), TaskDefinition: aws.String("web"), DesiredCount: aws.Int32(2)}); err != nil {
			t.Fatal(err)
		}
		known := map[string]bool{}
		two := func() (containers []string) {
			t.Helper()
			for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
				list, err := tasks.ListTasks(t.Context(), &ecs.ListTasksInput{ServiceName: aws.String("web")})
				if err != nil {
					t.Fatal(err)
				}
				if len(list.TaskArns) != 2 {
					continue
				}
				out, err := tasks.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Tasks: list.TaskArns})
				if err != nil {
					t.Fatal(err)
				}
				containers = nil
				for _, one := range out.Tasks {
					if aws.ToString(one.LastStatus) == "RUNNING" && !known[*one.TaskArn] {
						containers = append(containers, aws.ToString(one.Containers[0].RuntimeId))
					}
				}
				if len(containers) == 2-len(known) {
					for _, one := range out.Tasks {
						known[*one.TaskArn] = true
					}
					return containers
				}
			}
			t.Fatal("there are no two tasks that run")
			return nil
		}
		first := two()
		if err := engine.Kill(t.Context(), first[0]); err != nil {
			t.Fatal(err)
		}
		for k := range known { // the one that stays
			out, err := tasks.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Tasks: []string{k}})
			if err != nil {
				t.Fatal(err)
			}
			if aws.ToString(out.Tasks[0].Containers[0].RuntimeId) == first[0] {
				delete(known, k)
				ended := wait(t, tasks, k, "STOPPED")
				if aws.ToInt32(ended.Containers[0].ExitCode) != 137 {
					t.Errorf("the one that was killed ended with %d", aws.ToInt32(ended.Containers[0].ExitCode))
				}
			}
		}
		two()
		if _, err := tasks.DeleteService(t.Context(), &ecs.DeleteServiceInput{Service: aws.String("web"), Force: aws.Bool(true)}); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("a stop of the server leaves no container", func(t *testing.T) {
		id := start("holds")
		wait(t, tasks, id, "RUNNING")
		s.Restart()
		left, err := engine.List(t.Context(), workload.Label+"="+s.Workloads.Dir)
		if err != nil || len(left) > 0 {
			t.Errorf("there are %q, %v", left, err)
		}
		wait(t, tasks, id, "STOPPED")
	})
}
