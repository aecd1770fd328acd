package main

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/iamd-dev/iamd/internal/authz"
)

// task: a role that a task definition names, and that a task reads an object with.
func (t *tour) task() error {
	bucket, role, cluster, family := "letters"+t.suffix, "LetterRole"+t.suffix, "office"+t.suffix, "reader"+t.suffix
	roleARN := fmt.Sprintf("arn:aws:iam::%s:role/%s", t.a.account, role)

	t.tell("A task definition says what runs, and as which role. The administrator has a bucket with two letters, a cluster, and a role that may read one of the letters. The role trusts EC2; tasks are another service.")
	if err := t.bucket(t.a, bucket, "open.txt", "dear all"); err != nil {
		return err
	}
	private := &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("private.txt"), Body: strings.NewReader("dear one")}
	if _, err := do(t, t.a, t.a.s3.PutObject, private, setUp); err != nil {
		return err
	}
	if _, err := do(t, t.a, t.a.ecs.CreateCluster, &ecs.CreateClusterInput{ClusterName: &cluster}, setUp); err != nil {
		return err
	}
	t.made(func() error {
		_, err := t.a.ecs.DeleteCluster(t.ctx, &ecs.DeleteClusterInput{Cluster: &cluster})
		return err
	})
	if err := t.role(t.a, role, trustService("ec2.amazonaws.com"), allow(`"Action": "s3:GetObject"`, `"Resource": "arn:aws:s3:::`+bucket+`/open.txt"`)); err != nil {
		return err
	}
	program, err := t.program()
	if err != nil {
		return err
	}

	t.tell("gina wants a task that reads both letters. First she may not register its definition ...")
	const looking = `{"Effect": "Allow", "Action": "ecs:DescribeTasks", "Resource": "*"}`
	gina, err := t.user(t.a, "A", "gina", policyOf(looking))
	if err != nil {
		return err
	}
	register := &ecs.RegisterTaskDefinitionInput{Family: &family, TaskRoleArn: &roleARN, ContainerDefinitions: []ecstypes.ContainerDefinition{{
		Name: aws.String("app"), Image: aws.String("iamd"), Memory: aws.Int32(256),
		Command: []string{program, readerName, "s3://" + bucket + "/open.txt", "s3://" + bucket + "/private.txt"}}}}
	if _, err := do(t, gina, gina.ecs.RegisterTaskDefinition, register, refusedBy(authz.IdentityPolicy)); err != nil {
		return err
	}
	t.tell("... then not pass the role ...")
	const tasks = `{"Effect": "Allow", "Action": ["ecs:RegisterTaskDefinition", "ecs:RunTask"], "Resource": "*"}`
	if err := t.grant("gina", looking, tasks); err != nil {
		return err
	}
	if _, err := do(t, gina, gina.ecs.RegisterTaskDefinition, register, refusedBy(authz.IdentityPolicy)); err != nil {
		return err
	}
	t.tell("... then pass it, but to EC2.")
	if err := t.grant("gina", looking, tasks, mayPass(roleARN, "ec2.amazonaws.com")); err != nil {
		return err
	}
	if _, err := do(t, gina, gina.ecs.RegisterTaskDefinition, register, refusedBy(authz.IdentityPolicy)); err != nil {
		return err
	}
	t.tell("To ECS's tasks she may. A definition is only a text, for which nobody assumes the role; a task is more, and the role does not trust ecs-tasks.amazonaws.com.")
	if err := t.grant("gina", looking, tasks, mayPass(roleARN, "ecs-tasks.amazonaws.com")); err != nil {
		return err
	}
	registered, err := do(t, gina, gina.ecs.RegisterTaskDefinition, register, allowed("TaskDefinition.TaskDefinitionArn", "TaskDefinition.TaskRoleArn"))
	if err != nil {
		return err
	}
	definition := *registered.TaskDefinition.TaskDefinitionArn
	t.made(func() error {
		if _, err := t.a.ecs.DeregisterTaskDefinition(t.ctx, &ecs.DeregisterTaskDefinitionInput{TaskDefinition: &definition}); err != nil {
			return err
		}
		_, err := t.a.ecs.DeleteTaskDefinitions(t.ctx, &ecs.DeleteTaskDefinitionsInput{TaskDefinitions: []string{definition}})
		return err
	})
	if !t.canRun() {
		return nil
	}
	run := func() *ecs.RunTaskInput { return &ecs.RunTaskInput{Cluster: &cluster, TaskDefinition: &family} }
	_, err = do(t, gina, gina.ecs.RunTask, run(), outcome{fails: "ClientException"})
	if t.notHere(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := t.trace(gina); err != nil {
		return err
	}

	t.tell("The administrator mends the trust policy. gina herself may read neither letter; her task reads the one that its role allows, and is refused the other.")
	if err := t.retrust(role, "ecs-tasks.amazonaws.com"); err != nil {
		return err
	}
	if _, err := do(t, gina, gina.s3.GetObject, &s3.GetObjectInput{Bucket: &bucket, Key: aws.String("open.txt")}, refusedBy(authz.IdentityPolicy)); err != nil {
		return err
	}
	ran, err := do(t, gina, gina.ecs.RunTask, run(), allowed("Tasks.0.TaskArn", "Tasks.0.LastStatus"))
	if err != nil {
		return err
	}
	request := t.lastRequest
	if len(ran.Tasks) != 1 {
		return fmt.Errorf("%d tasks run, not 1", len(ran.Tasks))
	}
	describe := &ecs.DescribeTasksInput{Cluster: &cluster, Tasks: []string{*ran.Tasks[0].TaskArn}}
	var task ecstypes.Task
	if err := t.until("the task has stopped", func() (bool, error) {
		out, err := gina.ecs.DescribeTasks(t.ctx, describe)
		if err != nil {
			return false, err
		}
		task = out.Tasks[0]
		return *task.LastStatus == "STOPPED", nil
	}); err != nil {
		return err
	}
	if task.Containers[0].ExitCode == nil { // it never ran: the program is not on the server's machine
		t.leaveOut("the task did not start: " + aws.ToString(task.StoppedReason))
		return nil
	}
	t.tell("The task knows nothing of iamd: ECS tells it where its credentials are, and the SDK's default chain finds them. A container that fails has its last words as the reason.")
	if _, err := do(t, gina, gina.ecs.DescribeTasks, describe, allowed("Tasks.0.Containers.0.ExitCode", "Tasks.0.Containers.0.Reason")); err != nil {
		return err
	}
	if text := aws.ToString(task.Containers[0].Reason); !strings.Contains(text, "open.txt: dear all") || !strings.Contains(text, "private.txt: AccessDenied") {
		return fmt.Errorf("the task should have read one letter and been refused the other, and says %q", text)
	}
	t.tell("gina's call, the session that ECS began for her task, and what the task did in it:")
	return t.traceOf(gina, request, nil)
}
