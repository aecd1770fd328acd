//go:build stories

package stories

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// passes are the calls that pass a role to a service. The role is called app; the one that
// is wrong trusts another service.
var passes = []struct {
	name, service string // to which it is passed
	action        string // the permission to make the call
	code          string // of a refusal
	// call is what a person types, with ROLE in the place of the role's ARN and NAME in that of its name.
	call []string
	// untrusted is the answer where the role does not trust the service; "": the call does not
	// have it assumed.
	untrusted string
}{
	{"lambda", "lambda.amazonaws.com", "lambda:CreateFunction", "AccessDeniedException",
		[]string{"lambda", "create-function", "--function-name", "f", "--runtime", "python3.13", "--handler", "app.handler", "--zip-file", "fileb://app.zip", "--role", "ROLE"},
		"(InvalidParameterValueException) when calling the CreateFunction operation: The role defined for the function cannot be assumed by Lambda."},
	{"lambda-configuration", "lambda.amazonaws.com", "lambda:UpdateFunctionConfiguration", "AccessDeniedException",
		[]string{"lambda", "update-function-configuration", "--function-name", "there", "--role", "ROLE"},
		"(InvalidParameterValueException) when calling the UpdateFunctionConfiguration operation: The role defined for the function cannot be assumed by Lambda."},
	{"ec2", "ec2.amazonaws.com", "ec2:RunInstances", "UnauthorizedOperation",
		[]string{"ec2", "run-instances", "--image-id", "IMAGE", "--instance-type", "t3.micro", "--count", "1", "--iam-instance-profile", "Name=NAME"},
		""},
	{"ec2-associate", "ec2.amazonaws.com", "ec2:AssociateIamInstanceProfile", "UnauthorizedOperation",
		[]string{"ec2", "associate-iam-instance-profile", "--instance-id", "INSTANCE", "--iam-instance-profile", "Name=NAME"},
		""},
	{"ecs-task-role", "ecs-tasks.amazonaws.com", "ecs:RegisterTaskDefinition", "AccessDeniedException",
		[]string{"ecs", "register-task-definition", "--family", "t", "--task-role-arn", "ROLE", "--container-definitions", `[{"name": "app", "image": "busybox", "memory": 64, "command": ["true"]}]`},
		""},
	{"ecs-execution-role", "ecs-tasks.amazonaws.com", "ecs:RegisterTaskDefinition", "AccessDeniedException",
		[]string{"ecs", "register-task-definition", "--family", "e", "--execution-role-arn", "ROLE", "--container-definitions", `[{"name": "app", "image": "busybox", "memory": 64, "command": ["true"]}]`},
		""},
	{"ecs-run-task", "ecs-tasks.amazonaws.com", "ecs:RunTask", "AccessDeniedException",
		[]string{"ecs", "run-task", "--cluster", "main", "--task-definition", "plain", "--overrides", `{"taskRoleArn": "ROLE"}`},
		"(ClientException) when calling the RunTask operation: ECS was unable to assume the role 'ROLE' that was provided for this task."},
	{"codebuild", "codebuild.amazonaws.com", "codebuild:CreateProject", "AccessDeniedException",
		[]string{"codebuild", "create-project", "--name", "made", "--source", `{"type": "NO_SOURCE", "buildspec": "version: 0.2\nphases:\n  build:\n    commands: [echo hello]\n"}`,
			"--artifacts", "type=NO_ARTIFACTS", "--environment", "type=LINUX_CONTAINER,image=any,computeType=BUILD_GENERAL1_SMALL", "--service-role", "ROLE"},
		"(InvalidInputException) when calling the CreateProject operation: CodeBuild is not authorized to perform: sts:AssumeRole on service role."},
	{"codebuild-start", "codebuild.amazonaws.com", "codebuild:StartBuild", "AccessDeniedException",
		[]string{"codebuild", "start-build", "--project-name", "there", "--service-role-override", "ROLE"},
		"(InvalidInputException) when calling the StartBuild operation: CodeBuild is not authorized to perform: sts:AssumeRole on service role."},
	{"codepipeline", "codepipeline.amazonaws.com", "codepipeline:CreatePipeline", "AccessDeniedException",
		[]string{"codepipeline", "create-pipeline", "--pipeline", `{"name": "p", "roleArn": "ROLE", "artifactStore": {"type": "S3", "location": "store"}, "stages": [
			{"name": "Source", "actions": [{"name": "S", "actionTypeId": {"category": "Source", "owner": "AWS", "provider": "S3", "version": "1"}, "configuration": {"S3Bucket": "source", "S3ObjectKey": "app.zip"}, "outputArtifacts": [{"name": "code"}]}]},
			{"name": "Deploy", "actions": [{"name": "D", "actionTypeId": {"category": "Deploy", "owner": "AWS", "provider": "S3", "version": "1"}, "configuration": {"BucketName": "site", "Extract": "true"}, "inputArtifacts": [{"name": "code"}]}]}]}`},
		"(InvalidStructureException) when calling the CreatePipeline operation: CodePipeline is not authorized to perform AssumeRole on role ROLE"},
	{"cloudformation", "cloudformation.amazonaws.com", "cloudformation:CreateStack", "AccessDenied",
		[]string{"cloudformation", "create-stack", "--stack-name", "s", "--template-body", "Resources: {Topic: {Type: AWS::SSM::Parameter, Properties: {Type: String, Value: x}}}", "--role-arn", "ROLE"},
		"(ValidationError) when calling the CreateStack operation: Role ROLE is invalid or cannot be assumed"},
}

// Each of the three permissions that a pass takes is asked, of every call that passes a
// role: lacking it, the call fails with that service's own error. EC2 assumes a role when
// something in the instance asks for credentials, and ECS when a task is run: see
// TestWorkloadsAreTheirRoles.
func TestPassRole(t *testing.T) {
	t.Parallel()
	s := serve(t, "--account", accountA, "--workloads=process")
	root := s.root(accountA)
	trust := func(services string) string {
		return `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"Service": [` + services + `]}, "Action": "sts:AssumeRole"}}`
	}
	root.role("app", trust(`"lambda.amazonaws.com", "ec2.amazonaws.com", "ecs-tasks.amazonaws.com", "codebuild.amazonaws.com", "codepipeline.amazonaws.com", "cloudformation.amazonaws.com"`), "")
	root.role("wrong", trust(`"glue.amazonaws.com"`), "")
	root.aws("iam", "create-instance-profile", "--instance-profile-name", "app")
	root.aws("iam", "add-role-to-instance-profile", "--instance-profile-name", "app", "--role-name", "app")

	// What the calls are about.
	root.file("app.py", "def handler(event, context):\n    return event\n")
	root.run("python3", "-m", "zipfile", "-c", "app.zip", "app.py")
	const roles = "arn:aws:iam::" + accountA + ":role/"
	root.aws("lambda", "create-function", "--function-name", "there", "--runtime", "python3.13", "--handler", "app.handler", "--zip-file", "fileb://app.zip", "--role", roles+"app")
	image := strings.TrimSpace(root.aws("ec2", "describe-images", "--owners", "amazon", "--query", "Images[0].ImageId", "--output", "text"))
	instance := strings.TrimSpace(root.aws("ec2", "run-instances", "--image-id", image, "--instance-type", "t3.micro", "--query", "Instances[0].InstanceId", "--output", "text"))
	root.aws("ec2", "wait", "instance-running", "--instance-ids", instance)
	root.aws("ecs", "create-cluster", "--cluster-name", "main")
	root.aws("ecs", "register-task-definition", "--family", "plain", "--container-definitions", `[{"name": "app", "image": "busybox", "memory": 64, "command": ["true"]}]`)
	root.aws("codebuild", "create-project", "--name", "there", "--source", `{"type": "NO_SOURCE", "buildspec": "version: 0.2\nphases:\n  build:\n    commands: [echo hello]\n"}`,
		"--artifacts", "type=NO_ARTIFACTS", "--environment", "type=LINUX_CONTAINER,image=any,computeType=BUILD_GENERAL1_SMALL", "--service-role", roles+"app")

	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("us-east-1"), config.WithBaseEndpoint(s.url),
		config.WithSharedCredentialsFiles([]string{filepath.Join(s.data, "credentials")}), config.WithSharedConfigFiles([]string{}), config.WithSharedConfigProfile("root-"+accountA))
	if err != nil {
		t.Fatal(err)
	}
	admin := iam.NewFromConfig(cfg)
	for _, p := range passes {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			in := func(texts []string, role string) []string {
				var all []string
				for _, text := range texts {
					all = append(all, strings.NewReplacer("ROLE", roles+role, "NAME", role, "IMAGE", image, "INSTANCE", instance).Replace(text))
				}
				return all
			}
			operation := strings.Split(p.action, ":")[1]
			may := fmt.Sprintf(`{"Effect": "Allow", "Action": %q, "Resource": "*"}`, p.action)
			pass := func(to string) string {
				return fmt.Sprintf(`, {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*", "Condition": {"StringEquals": {"iam:PassedToService": %q}}}`, to)
			}
			other := "ec2.amazonaws.com"
			if p.service == other {
				other = "lambda.amazonaws.com"
			}
			well := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			// Whom it is about is set up by the SDK, which takes less time.
			name := aws.String(p.name)
			_, err := admin.CreateUser(t.Context(), &iam.CreateUserInput{UserName: name})
			well(err)
			key, err := admin.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: name})
			well(err)
			dev := (&person{t, root.env, root.dir}).with("AWS_ACCESS_KEY_ID="+*key.AccessKey.AccessKeyId, "AWS_SECRET_ACCESS_KEY="+*key.AccessKey.SecretAccessKey)
			grant := func(statements string) {
				t.Helper()
				_, err := admin.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: name, PolicyName: aws.String("may"),
					PolicyDocument: aws.String(`{"Version": "2012-10-17", "Statement": [` + statements + `]}`)})
				well(err)
			}
			refusal := func(action string) string {
				who := "User: arn:aws:iam::" + accountA + ":user/" + p.name + " is not authorized to perform: " + action
				if p.code == "UnauthorizedOperation" {
					who = "You are not authorized to perform this operation. " + who
				}
				return "(" + p.code + ") when calling the " + operation + " operation: " + who
			}

			dev.refused(refusal(p.action+" "), in(p.call, "app")...)
			grant(may)
			dev.refused(refusal("iam:PassRole on resource: "+roles+"app "), in(p.call, "app")...)
			grant(may + pass(other))
			dev.refused(refusal("iam:PassRole on resource: "+roles+"app "), in(p.call, "app")...)
			grant(may + pass(p.service))
			if p.untrusted != "" {
				dev.refused(in([]string{p.untrusted}, "wrong")[0], in(p.call, "wrong")...)
			}
			dev.aws(in(p.call, "app")...)
		})
	}
}
