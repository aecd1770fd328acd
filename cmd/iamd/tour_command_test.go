package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/codebuild"
	codebuildtypes "github.com/aws/aws-sdk-go-v2/service/codebuild/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamodbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	ec2api "github.com/iamd-dev/iamd/internal/aws/ec2/api"
)

// The commands of the tour are those that one can type.
func TestCommands(t *testing.T) {
	for _, test := range []struct {
		in   any
		want string
	}{
		{&ec2api.RunInstancesInput{ImageId: "ami-1", MinCount: 1, MaxCount: 1, IamInstanceProfile: &ec2api.IamInstanceProfileSpecification{Name: "app"}},
			"aws ec2 run-instances --image-id ami-1 --count 1 --iam-instance-profile Name=app"},
		{&cloudformation.CreateStackInput{StackName: aws.String("s"), RoleARN: aws.String("arn"), Capabilities: nil},
			"aws cloudformation create-stack --stack-name s --role-arn arn"},
		{&ssm.SendCommandInput{DocumentName: aws.String("d"), InstanceIds: []string{"i-1", "i-2"}, Parameters: map[string][]string{"commands": {"echo <&> 'x'"}}},
			`aws ssm send-command --document-name d --instance-ids i-1 i-2 --parameters '{"commands": ["echo <&> '\''x'\''"]}'`},
		{&codebuild.CreateProjectInput{Name: aws.String("p"), Source: &codebuildtypes.ProjectSource{Type: codebuildtypes.SourceTypeNoSource, Buildspec: aws.String("version: 0.2\n")}},
			`aws codebuild create-project --name p --source '{"type": "NO_SOURCE", "buildspec": "version: 0.2\n"}'`},
		{&ecs.RegisterTaskDefinitionInput{Family: aws.String("f"), ContainerDefinitions: []ecstypes.ContainerDefinition{{Name: aws.String("app"), Command: []string{"true"}}}},
			`aws ecs register-task-definition --container-definitions '[{"command": ["true"], "name": "app"}]' --family f`},
		{&dynamodb.GetItemInput{TableName: aws.String("t"), Key: map[string]dynamodbtypes.AttributeValue{"id": &dynamodbtypes.AttributeValueMemberS{Value: "1"}}},
			`aws dynamodb get-item --key '{"id": {"S": "1"}}' --table-name t`},
	} {
		got, _ := commandOf(test.in)
		if got != test.want {
			t.Errorf("\n%s\nwant\n%s", got, test.want)
		}
	}
}

// Stories are listed, and chosen by name.
func TestStories(t *testing.T) {
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		cmd := newCommand()
		cmd.SetArgs(append([]string{"tour"}, args...))
		cmd.SetOut(&out)
		err := cmd.ExecuteContext(t.Context())
		return out.String(), err
	}
	out, err := run("--list")
	if err != nil || strings.Count(out, "\n") != len(stories) || !strings.Contains(out, "ecs             ECS: a role for a task\n") {
		t.Errorf("the list is %q, %v", out, err)
	}
	if _, err := run("esc"); err == nil || !strings.Contains(err.Error(), `there is no story "esc": did you mean ec`) {
		t.Errorf("a story that is not there: %v", err)
	}
	out, err = run("forbidden-pass", "one-account")
	if err != nil || !strings.Contains(out, "\n1. In one account") || !strings.Contains(out, "\n2. The forbidden pass") || strings.Contains(out, "Across accounts") {
		t.Errorf("two stories: %v\n%s", err, out)
	}
}
