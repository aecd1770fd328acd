//go:build stories

package stories

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/workload/enginetest"
)

// Tasks from the aws command: a role that is passed to one, waited for and read; a service
// that is there again after a kill of the server, which nothing outlives.
func TestECS(t *testing.T) { tasks(t, "process", "busybox") }

// The same with tasks that are containers, where there is an engine.
func TestECSContainers(t *testing.T) {
	engine := enginetest.Real(t)
	programs := map[string]string{}
	for _, name := range []string{"sh", "sleep"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Skip(err)
		}
		programs["/bin/"+name] = path
	}
	tasks(t, "docker", enginetest.Import(t, engine, "", programs))
}

func tasks(t *testing.T, workloads, image string) {
	eachCLI(t, func(t *testing.T, c *cli) {
		s := serve(t, "--account", accountA, "--workloads="+workloads)
		s.cli = c
		root := s.root(accountA)
		root.role("app", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}}`, "")
		dev := root.user("dev", allowing("ecs:*", "*"))
		dev.aws("ecs", "create-cluster", "--cluster-name", "main")
		register := []string{"ecs", "register-task-definition", "--family", "report", "--task-role-arn", "arn:aws:iam::" + accountA + ":role/app",
			"--container-definitions", `[{"name": "app", "image": "` + image + `", "memory": 64, "entryPoint": ["sh", "-c"], "command": ["echo credentials at $AWS_CONTAINER_CREDENTIALS_FULL_URI; exit 3"]}]`}
		dev.refused("(AccessDeniedException) when calling the RegisterTaskDefinition operation: User: arn:aws:iam::"+accountA+
			":user/dev is not authorized to perform: iam:PassRole on resource: arn:aws:iam::"+accountA+":role/app because no identity-based policy allows the iam:PassRole action", register...)
		root.aws("iam", "put-user-policy", "--user-name", "dev", "--policy-name", "pass", "--policy-document",
			`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*", "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}}}`)
		dev.aws(register...)
		task := strings.TrimSpace(dev.aws("ecs", "run-task", "--cluster", "main", "--task-definition", "report", "--query", "tasks[0].taskArn", "--output", "text"))
		dev.aws("ecs", "wait", "tasks-stopped", "--cluster", "main", "--tasks", task)
		if got := dev.aws("ecs", "describe-tasks", "--cluster", "main", "--tasks", task, "--query", "tasks[0].containers[0].[exitCode,reason]", "--output", "text"); !strings.HasPrefix(got, "3\tcredentials at http://169.254.170.2/v2/credentials/") {
			t.Errorf("the task ended with %q", got)
		}

		marker := "marker-" + filepath.Base(t.TempDir()) + "-" + time.Now().Format("150405.000000")
		runs := func() bool {
			all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, file := range all {
				if arguments, _ := os.ReadFile(file); strings.Contains(string(arguments), marker) {
					return true
				}
			}
			return false
		}
		dev.aws("ecs", "register-task-definition", "--family", "web", "--container-definitions",
			`[{"name": "app", "image": "`+image+`", "memory": 64, "stopTimeout": 2, "entryPoint": ["sh", "-c"], "command": ["sleep 86399; : `+marker+`"]}]`)
		dev.aws("ecs", "create-service", "--cluster", "main", "--service-name", "web", "--task-definition", "web", "--desired-count", "1")
		dev.aws("ecs", "wait", "services-stable", "--cluster", "main", "--services", "web")
		list := []string{"ecs", "list-tasks", "--cluster", "main", "--service-name", "web", "--query", "taskArns[0]", "--output", "text"}
		task = strings.TrimSpace(dev.aws(list...))
		if !runs() {
			t.Fatal("the service's task does not run")
		}

		s.kill()
		for end := time.Now().Add(patience); runs(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the task has outlived the server")
			}
		}
		s.start()
		dev = dev.with("AWS_ENDPOINT_URL=" + s.url)
		if got := dev.aws("ecs", "describe-tasks", "--cluster", "main", "--tasks", task, "--query", "tasks[0].[lastStatus,stopCode]", "--output", "text"); got != "STOPPED\tTerminationNotice\n" {
			t.Errorf("after a kill the task is %q", got)
		}
		dev.aws("ecs", "wait", "services-stable", "--cluster", "main", "--services", "web")
		if again := strings.TrimSpace(dev.aws(list...)); again == task || !runs() {
			t.Errorf("after a kill the service has the task %s, which runs: %t", again, runs())
		}
		dev.aws("ecs", "delete-service", "--cluster", "main", "--service", "web", "--force")
		dev.aws("ecs", "wait", "services-inactive", "--cluster", "main", "--services", "web")
		if runs() {
			t.Error("what is left of the service runs")
		}
		dev.aws("ecs", "delete-cluster", "--cluster", "main")
	})
}
