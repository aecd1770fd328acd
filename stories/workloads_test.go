//go:build stories

package stories

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serviceTrust is a trust policy for services.
func serviceTrust(services ...string) string {
	list, _ := json.Marshal(services)
	return `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"Service": ` + string(list) + `}, "Action": "sts:AssumeRole"}}`
}

// says asks again and again until what the aws command prints has the words.
func (p *person) says(words string, args ...string) string {
	p.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		out := p.aws(args...)
		if strings.Contains(out, words) {
			return out
		}
		if time.Now().After(end) {
			p.t.Fatalf("aws %s prints %q, never %q", strings.Join(args, " "), out, words)
		}
	}
}

// profile makes an instance profile with the role of its name.
func (p *person) profile(name string) {
	p.t.Helper()
	p.aws("iam", "create-instance-profile", "--instance-profile-name", name)
	p.aws("iam", "add-role-to-instance-profile", "--instance-profile-name", name, "--role-name", name)
}

// image is one from which instances are launched.
func (p *person) image() string {
	p.t.Helper()
	return strings.TrimSpace(p.aws("ec2", "describe-images", "--owners", "amazon", "--query", "Images[0].ImageId", "--output", "text"))
}

// A workload finds the credentials of its role by the SDK's own default chain, however they
// are delivered: it reads what the role may read, and is refused the rest. The program that
// runs, iamd tour-read, is told nothing but what to read. A role that does not trust the
// service gives none.
func TestWorkloadsAreTheirRoles(t *testing.T) {
	t.Parallel()
	s := serve(t, "--account", accountA, "--workloads=process")
	root := s.root(accountA)
	const roles = "arn:aws:iam::" + accountA + ":role/"
	root.role("app", serviceTrust("lambda.amazonaws.com", "ec2.amazonaws.com", "ecs-tasks.amazonaws.com", "codebuild.amazonaws.com"),
		`{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::letters/open.txt"}, {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::letters/out/*"}]}`)
	root.role("wrong", serviceTrust("glue.amazonaws.com"), `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}`)
	root.aws("s3", "mb", "s3://letters")
	root.file("open.txt", "dear all")
	root.file("private.txt", "dear one")
	root.aws("s3", "cp", "--quiet", "open.txt", "s3://letters/")
	root.aws("s3", "cp", "--quiet", "private.txt", "s3://letters/")
	read := program + " tour-read s3://letters/open.txt s3://letters/private.txt"
	reads := func(t *testing.T, out, session string) {
		t.Helper()
		for _, want := range []string{"I am arn:aws:sts::" + accountA + ":assumed-role/app/" + session, "open.txt: dear all", "private.txt: AccessDenied"} {
			if !strings.Contains(out, want) {
				t.Errorf("it says %q, not %q", out, want)
			}
		}
	}
	in := func(t *testing.T) *person { return &person{t, root.env, root.dir} }

	t.Run("lambda", func(t *testing.T) { // in the environment's variables
		p := in(t)
		argv, _ := json.Marshal(strings.Fields(read))
		p.file("app.py", "import subprocess\ndef handler(event, context):\n    return subprocess.run("+string(argv)+", capture_output=True, text=True).stdout\n")
		p.run("python3", "-m", "zipfile", "-c", "app.zip", "app.py")
		p.aws("lambda", "create-function", "--function-name", "f", "--runtime", "python3.13", "--handler", "app.handler", "--timeout", "30", "--zip-file", "fileb://app.zip", "--role", roles+"app")
		p.aws("lambda", "wait", "function-active-v2", "--function-name", "f")
		p.aws("lambda", "invoke", "--function-name", "f", "answer")
		answer, err := os.ReadFile(filepath.Join(p.dir, "answer"))
		if err != nil {
			t.Fatal(err)
		}
		reads(t, string(answer), "f")
	})
	t.Run("ec2", func(t *testing.T) { // from the metadata service
		p := in(t)
		p.profile("app")
		p.profile("wrong")
		p.file("user-data", "#!/bin/sh\n"+read+"\n")
		launch := func(profile string) (id, console string) {
			id = strings.TrimSpace(p.aws("ec2", "run-instances", "--image-id", p.image(), "--instance-type", "t3.micro", "--user-data", "file://user-data",
				"--iam-instance-profile", "Name="+profile, "--query", "Instances[0].InstanceId", "--output", "text"))
			return id, p.says("[user data ended", "ec2", "get-console-output", "--instance-id", id, "--output", "text")
		}
		id, out := launch("app")
		reads(t, out, id)
		if _, out := launch("wrong"); strings.Contains(out, "I am") || !strings.Contains(out, "[user data ended with exit status 1]") {
			t.Errorf("with a role that does not trust EC2 it says %q", out)
		}
	})
	t.Run("ecs", func(t *testing.T) { // from the container endpoint
		p := in(t)
		p.aws("ecs", "create-cluster", "--cluster-name", "main")
		container, _ := json.Marshal([]any{map[string]any{"name": "app", "image": "any", "memory": 256, "command": strings.Fields(read)}})
		p.aws("ecs", "register-task-definition", "--family", "read", "--task-role-arn", roles+"app", "--container-definitions", string(container))
		task := strings.TrimSpace(p.aws("ecs", "run-task", "--cluster", "main", "--task-definition", "read", "--query", "tasks[0].taskArn", "--output", "text"))
		out := p.says("STOPPED", "ecs", "describe-tasks", "--cluster", "main", "--tasks", task, "--query", "tasks[0].[lastStatus,containers[0].reason]", "--output", "text")
		reads(t, out, task[strings.LastIndexByte(task, '/')+1:])
		p.aws("ecs", "register-task-definition", "--family", "wrong", "--task-role-arn", roles+"wrong", "--container-definitions", string(container))
		p.refused("ECS was unable to assume the role '"+roles+"wrong'", "ecs", "run-task", "--cluster", "main", "--task-definition", "wrong")
	})
	t.Run("codebuild", func(t *testing.T) { // from the container endpoint, too
		p := in(t)
		source, _ := json.Marshal(map[string]string{"type": "NO_SOURCE", "buildspec": "version: 0.2\nphases:\n  build:\n    commands:\n      - " + read + " >said.txt || true\nartifacts:\n  files: [said.txt]\n"})
		p.aws("codebuild", "create-project", "--name", "read", "--source", string(source), "--artifacts", "type=S3,location=letters,name=out",
			"--environment", "type=LINUX_CONTAINER,image=any,computeType=BUILD_GENERAL1_SMALL", "--service-role", roles+"app")
		id := strings.TrimSpace(p.aws("codebuild", "start-build", "--project-name", "read", "--query", "build.id", "--output", "text"))
		p.says("SUCCEEDED", "codebuild", "batch-get-builds", "--ids", id, "--query", "builds[0].buildStatus", "--output", "text")
		reads(t, p.aws("s3", "cp", "s3://letters/out/said.txt", "-"), "AWSCodeBuild-")
	})
}

// A kill of the server ends all that runs for it, of every kind; and when it is started
// again it says so of each, and runs again what is asked for.
func TestKilledWithWorkloads(t *testing.T) {
	t.Parallel()
	s := serve(t, "--account", accountA, "--workloads=process")
	root := s.root(accountA)
	const roles = "arn:aws:iam::" + accountA + ":role/"
	root.role("app", serviceTrust("lambda.amazonaws.com", "ec2.amazonaws.com", "ecs-tasks.amazonaws.com", "codebuild.amazonaws.com"), "")
	root.aws("iam", "attach-role-policy", "--role-name", "app", "--policy-arn", "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore")
	root.profile("app")
	marker := "marker-" + time.Now().Format("150405.000000") + "-"
	sleep := func(kind string) string { return "sleep 86399; : " + marker + kind }

	root.file("app.py", "import subprocess\ndef handler(event, context):\n    if event:\n        subprocess.run(['sh', '-c', '"+sleep("lambda")+"'])\n    return 'well'\n")
	root.run("python3", "-m", "zipfile", "-c", "app.zip", "app.py")
	root.aws("lambda", "create-function", "--function-name", "f", "--runtime", "python3.13", "--handler", "app.handler", "--timeout", "600", "--zip-file", "fileb://app.zip", "--role", roles+"app")
	root.aws("lambda", "wait", "function-active-v2", "--function-name", "f")
	root.file("event", `{"sleep": true}`)
	root.aws("lambda", "invoke", "--function-name", "f", "--invocation-type", "Event", "--payload", "fileb://event", "answer")

	root.file("user-data", "#!/bin/sh\nsh -c '"+sleep("ec2")+"'\n")
	instance := strings.TrimSpace(root.aws("ec2", "run-instances", "--image-id", root.image(), "--instance-type", "t3.micro", "--user-data", "file://user-data",
		"--iam-instance-profile", "Name=app", "--query", "Instances[0].InstanceId", "--output", "text"))
	root.says("Online", "ssm", "describe-instance-information", "--query", "InstanceInformationList[].PingStatus", "--output", "text")
	command := strings.TrimSpace(root.aws("ssm", "send-command", "--document-name", "AWS-RunShellScript", "--instance-ids", instance, "--parameters", `{"commands": ["sh -c '`+sleep("ssm")+`'"]}`,
		"--query", "Command.CommandId", "--output", "text"))

	root.aws("ecs", "create-cluster", "--cluster-name", "main")
	root.aws("ecs", "register-task-definition", "--family", "long", "--task-role-arn", roles+"app", "--container-definitions",
		`[{"name": "app", "image": "any", "memory": 64, "command": ["sh", "-c", "`+sleep("ecs")+`"]}]`)
	task := strings.TrimSpace(root.aws("ecs", "run-task", "--cluster", "main", "--task-definition", "long", "--query", "tasks[0].taskArn", "--output", "text"))

	root.aws("codebuild", "create-project", "--name", "long", "--source", `{"type": "NO_SOURCE", "buildspec": "version: 0.2\nphases:\n  build:\n    commands:\n      - \"sh -c '`+sleep("codebuild")+`'\"\n"}`,
		"--artifacts", "type=NO_ARTIFACTS", "--environment", "type=LINUX_CONTAINER,image=any,computeType=BUILD_GENERAL1_SMALL", "--service-role", roles+"app")
	build := strings.TrimSpace(root.aws("codebuild", "start-build", "--project-name", "long", "--query", "build.id", "--output", "text"))

	kinds := []string{"lambda", "ec2", "ssm", "ecs", "codebuild"}
	wait := func(run bool) {
		t.Helper()
		for _, kind := range kinds {
			for end := time.Now().Add(patience); runs(t, marker+kind) != run; time.Sleep(50 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("what is to run for %s runs: %t", kind, !run)
				}
			}
		}
	}
	wait(true)
	s.kill()
	wait(false)

	s.start()
	root = root.with("AWS_ENDPOINT_URL=" + s.url)
	wait(false)
	left, err := filepath.Glob(filepath.Join(s.data, "workloads", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("of what was killed there is left %q, %v", left, err)
	}
	is := func(want string, args ...string) {
		t.Helper()
		if got := strings.Join(strings.Fields(root.aws(append(args, "--output", "text")...)), " "); got != want {
			t.Errorf("aws %s prints %q, not %q", strings.Join(args, " "), got, want)
		}
	}
	is("Active Successful", "lambda", "get-function", "--function-name", "f", "--query", "Configuration.[State,LastUpdateStatus]")
	is("stopped Server.ScheduledStop", "ec2", "describe-instances", "--instance-ids", instance, "--query", "Reservations[0].Instances[0].[State.Name,StateReason.Code]")
	is("STOPPED TerminationNotice", "ecs", "describe-tasks", "--cluster", "main", "--tasks", task, "--query", "tasks[0].[lastStatus,stopCode]")
	is("True FAULT COMPLETED", "codebuild", "batch-get-builds", "--ids", build, "--query", "builds[0].[buildComplete,buildStatus,currentPhase]")

	// What is asked for runs again, and nothing of before with it.
	root.file("event", `{}`)
	root.aws("lambda", "invoke", "--function-name", "f", "--payload", "fileb://event", "answer")
	if answer, err := os.ReadFile(filepath.Join(root.dir, "answer")); err != nil || string(answer) != `"well"` {
		t.Errorf("the function answers %q, %v", answer, err)
	}
	root.aws("ec2", "start-instances", "--instance-ids", instance)
	root.aws("ec2", "wait", "instance-running", "--instance-ids", instance)
	root.says("Online", "ssm", "describe-instance-information", "--query", "InstanceInformationList[].PingStatus", "--output", "text")
	is("TerminationNotice", "ecs", "describe-tasks", "--cluster", "main", "--tasks", task, "--query", "tasks[0].stopCode")
	// The instance has a new disk, and its user data runs; the command was taken on, and nobody
	// will say how it ended.
	is("Failed", "ssm", "get-command-invocation", "--command-id", command, "--instance-id", instance, "--query", "Status")
	is("The instance ended while the command ran.", "ssm", "get-command-invocation", "--command-id", command, "--instance-id", instance, "--query", "StandardErrorContent")
	for _, kind := range kinds {
		if kind != "ec2" && runs(t, marker+kind) {
			t.Errorf("what ran for %s runs again", kind)
		}
	}
}
