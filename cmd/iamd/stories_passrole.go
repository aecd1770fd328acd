package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cloudformationtypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/codebuild"
	codebuildtypes "github.com/aws/aws-sdk-go-v2/service/codebuild/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamodbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/iamd-dev/iamd/internal/authz"
)

//go:embed tourfunction/app.py
var tourFunction string

// passing: a role that is passed to Lambda, and the three permissions that takes.
func (t *tour) passing() error {
	table, role, function := "notes"+t.suffix, "NotesRole"+t.suffix, "notes"+t.suffix
	roleARN := fmt.Sprintf("arn:aws:iam::%s:role/%s", t.a.account, role)

	t.tell("A function does not log in: it runs as a role that a developer hands to Lambda. Account A's administrator has a table, and makes a role that may read and write it. The role trusts the wrong service, for now.")
	_, err := do(t, t.a, t.a.dynamodb.CreateTable, &dynamodb.CreateTableInput{TableName: &table, BillingMode: dynamodbtypes.BillingModePayPerRequest,
		AttributeDefinitions: []dynamodbtypes.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: dynamodbtypes.ScalarAttributeTypeS}},
		KeySchema:            []dynamodbtypes.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: dynamodbtypes.KeyTypeHash}}}, setUp)
	if t.notHere(err) {
		return nil
	}
	if err != nil {
		return err
	}
	t.made(func() error {
		_, err := t.a.dynamodb.DeleteTable(t.ctx, &dynamodb.DeleteTableInput{TableName: &table})
		return err
	})
	if err := t.role(t.a, role, trustService("ec2.amazonaws.com"), allow(`"Action": ["dynamodb:PutItem", "dynamodb:GetItem"]`,
		fmt.Sprintf(`"Resource": "arn:aws:dynamodb:%s:%s:table/%s"`, defaultRegion, t.a.account, table))); err != nil {
		return err
	}

	t.tell("The developer, dan, may do nothing yet. He needs the permission to make functions ...")
	dan, err := t.user(t.a, "A", "dan", allow(`"Action": "lambda:GetFunction*"`, `"Resource": "*"`))
	if err != nil {
		return err
	}
	code, err := zipped(file{"app.py", tourFunction})
	if err != nil {
		return err
	}
	create := func() *lambda.CreateFunctionInput {
		return &lambda.CreateFunctionInput{FunctionName: &function, Runtime: lambdatypes.RuntimePython313, Handler: aws.String("app.handler"), Role: &roleARN, Code: &lambdatypes.FunctionCode{ZipFile: code}}
	}
	const functions = `{"Effect": "Allow", "Action": ["lambda:CreateFunction", "lambda:GetFunction*", "lambda:InvokeFunction", "lambda:UpdateFunctionConfiguration"], "Resource": "*"}`
	if _, err := do(t, dan, dan.lambda.CreateFunction, create(), refusedBy(authz.IdentityPolicy)); err != nil {
		return err
	}
	t.tell("... and the permission to pass this role. Without it whoever makes functions could act as any role of the account.")
	if err := t.grant("dan", functions); err != nil {
		return err
	}
	if _, err := do(t, dan, dan.lambda.CreateFunction, create(), refusedBy(authz.IdentityPolicy)); err != nil {
		return err
	}
	t.tell("He may pass it, but to another service:")
	if err := t.grant("dan", functions, mayPass(roleARN, "ecs-tasks.amazonaws.com")); err != nil {
		return err
	}
	if _, err := do(t, dan, dan.lambda.CreateFunction, create(), refusedBy(authz.IdentityPolicy)); err != nil {
		return err
	}
	t.tell("Now he may pass it to Lambda. The third permission is the role's: it must trust Lambda, and does not. His own calls are allowed; what fails is Lambda's attempt to assume the role.")
	if err := t.grant("dan", functions, mayPass(roleARN, "lambda.amazonaws.com")); err != nil {
		return err
	}
	if _, err := do(t, dan, dan.lambda.CreateFunction, create(), outcome{fails: "InvalidParameterValueException"}); err != nil {
		return err
	}
	if err := t.trace(dan); err != nil {
		return err
	}
	t.tell("The administrator mends the trust policy, and it works.")
	if err := t.retrust(role, "lambda.amazonaws.com"); err != nil {
		return err
	}
	if _, err := do(t, dan, dan.lambda.CreateFunction, create(), allowed("FunctionArn", "Role")); err != nil {
		return err
	}
	t.made(func() error {
		_, err := t.a.lambda.DeleteFunction(t.ctx, &lambda.DeleteFunctionInput{FunctionName: &function})
		return err
	})
	if err := lambda.NewFunctionActiveV2Waiter(dan.lambda).Wait(t.ctx, &lambda.GetFunctionInput{FunctionName: &function}, time.Minute); err != nil {
		return fmt.Errorf("waiting for the function: %w", err)
	}

	t.tell("The function keeps a note in the table, reads it, and then tries to delete the table, which its role does not allow. dan himself may not touch the table.")
	payload, err := json.Marshal(map[string]string{"table": table, "text": "hello from Lambda"})
	if err != nil {
		return err
	}
	if _, err := do(t, dan, dan.dynamodb.GetItem, &dynamodb.GetItemInput{TableName: &table, Key: map[string]dynamodbtypes.AttributeValue{"id": &dynamodbtypes.AttributeValueMemberS{Value: "1"}}}, refusedBy(authz.IdentityPolicy)); err != nil {
		return err
	}
	if !t.canRun() {
		return nil
	}
	out, err := do(t, dan, dan.lambda.Invoke, &lambda.InvokeInput{FunctionName: &function, Payload: payload}, allowed("Payload"))
	if t.notHere(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var answer struct {
		Read    map[string]map[string]string
		Deleted string
	}
	if err := json.Unmarshal(out.Payload, &answer); err != nil || answer.Read["text"]["S"] != "hello from Lambda" || answer.Deleted != "AccessDeniedException" {
		return fmt.Errorf("the function should have read its note and been refused the rest, and answered %s", out.Payload)
	}
	t.tell("Who did all that? The records hang together: dan's call, the session that Lambda began for it, and what the function did with it.")
	return t.trace(dan)
}

// forbidden: a developer who may pass some roles to one service, and not the administrator's to anything.
func (t *tour) forbidden() error {
	role, function := "TheAdminRole"+t.suffix, "mine"+t.suffix
	roleARN := fmt.Sprintf("arn:aws:iam::%s:role/%s", t.a.account, role)
	app := fmt.Sprintf("arn:aws:iam::%s:role/app-*", t.a.account)

	t.tell("A role that may do everything, and that four services may assume. Whoever can hand it to something of their own is an administrator. eve may make functions, tasks, builds and stacks, and pass the roles that are called app-*, to ECS tasks.")
	trust := allow(`"Principal": {"Service": ["lambda.amazonaws.com", "ecs-tasks.amazonaws.com", "codebuild.amazonaws.com", "cloudformation.amazonaws.com"]}`, `"Action": "sts:AssumeRole"`)
	if err := t.role(t.a, role, trust, allow(`"Action": "*"`, `"Resource": "*"`)); err != nil {
		return err
	}
	eve, err := t.user(t.a, "A", "eve", policyOf(`{"Effect": "Allow", "Action": ["lambda:*", "ecs:*", "codebuild:*", "cloudformation:*"], "Resource": "*"}`, mayPass(app, "ecs-tasks.amazonaws.com")))
	if err != nil {
		return err
	}
	code, err := zipped(file{"app.py", tourFunction})
	if err != nil {
		return err
	}
	create := &lambda.CreateFunctionInput{FunctionName: &function, Runtime: lambdatypes.RuntimePython313, Handler: aws.String("app.handler"), Role: &roleARN, Code: &lambdatypes.FunctionCode{ZipFile: code}}
	_, err = do(t, eve, eve.lambda.CreateFunction, create, refusedBy(authz.IdentityPolicy))
	if t.notHere(err) {
		return nil
	}
	if err != nil {
		return err
	}
	task := &ecs.RegisterTaskDefinitionInput{Family: &function, TaskRoleArn: &roleARN, ContainerDefinitions: []ecstypes.ContainerDefinition{{
		Name: aws.String("app"), Image: aws.String("any"), Memory: aws.Int32(128), Command: []string{"true"}}}}
	if _, err := do(t, eve, eve.ecs.RegisterTaskDefinition, task, refusedBy(authz.IdentityPolicy)); err != nil {
		return err
	}
	build := &codebuild.CreateProjectInput{Name: &function, ServiceRole: &roleARN,
		Source:      &codebuildtypes.ProjectSource{Type: codebuildtypes.SourceTypeNoSource, Buildspec: aws.String("version: 0.2\nphases: {build: {commands: [id]}}\n")},
		Artifacts:   &codebuildtypes.ProjectArtifacts{Type: codebuildtypes.ArtifactsTypeNoArtifacts},
		Environment: &codebuildtypes.ProjectEnvironment{Type: codebuildtypes.EnvironmentTypeLinuxContainer, Image: aws.String("any"), ComputeType: codebuildtypes.ComputeTypeBuildGeneral1Small}}
	if _, err := do(t, eve, eve.codebuild.CreateProject, build, refusedBy(authz.IdentityPolicy)); err != nil {
		return err
	}
	stack := &cloudformation.CreateStackInput{StackName: &function, RoleARN: &roleARN, TemplateBody: aws.String("Resources: {Backdoor: {Type: AWS::IAM::User}}"),
		Capabilities: []cloudformationtypes.Capability{cloudformationtypes.CapabilityCapabilityIam}}
	if _, err := do(t, eve, eve.cloudformation.CreateStack, stack, refusedBy(authz.IdentityPolicy)); err != nil {
		return err
	}
	t.tell("Each service asks for the pass, and the role's name is wrong for all of them. With a role that she may pass, the service is:")
	appRole := "app-worker" + t.suffix
	if err := t.role(t.a, appRole, trustService("lambda.amazonaws.com"), ""); err != nil {
		return err
	}
	create.Role = aws.String(fmt.Sprintf("arn:aws:iam::%s:role/%s", t.a.account, appRole))
	if _, err := do(t, eve, eve.lambda.CreateFunction, create, refusedBy(authz.IdentityPolicy)); err != nil {
		return err
	}
	t.tell("Why, in full:")
	return t.explain(eve)
}
