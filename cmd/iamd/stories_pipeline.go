package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/codebuild"
	codebuildtypes "github.com/aws/aws-sdk-go-v2/service/codebuild/types"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	codepipelinetypes "github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/iamd-dev/iamd/internal/authz"
	"github.com/iamd-dev/iamd/internal/workload"
)

//go:embed tourpipeline/buildspec.yml
var tourBuildspec string

//go:embed tourpipeline/template.in
var tourTemplate string

//go:embed tourpipeline/pipeline.json
var tourPipeline string

// pipeline: a commit that is built, and deployed as a stack; each service has its own role,
// and one passes on what it was passed.
func (t *tour) pipeline() error {
	source, artifacts, site := "source"+t.suffix, "artifacts"+t.suffix, "site"+t.suffix
	arn := func(role string) string { return fmt.Sprintf("arn:aws:iam::%s:role/%s%s", t.a.account, role, t.suffix) }

	t.tell("Three services work on one delivery: CodePipeline fetches a commit from a bucket, CodeBuild makes a template of it, CloudFormation makes what the template says, a bucket. Each has a role of its own, which may do its part and no more. The commit is a zip of two files:")
	for _, f := range []file{{"buildspec.yml", tourBuildspec}, {"template.in", tourTemplate}} {
		t.show("cat "+f.name, f.text)
	}
	for _, bucket := range []string{source, artifacts} {
		if _, err := do(t, t.a, t.a.s3.CreateBucket, &s3.CreateBucketInput{Bucket: &bucket}, setUp); err != nil {
			return err
		}
		t.made(func() error { return t.removeBucket(t.a, bucket) })
	}
	if _, err := do(t, t.a, t.a.s3.PutBucketVersioning, &s3.PutBucketVersioningInput{Bucket: &source,
		VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled}}, setUp); err != nil {
		return err
	}
	commit, err := zipped(file{"buildspec.yml", tourBuildspec}, file{"template.in", tourTemplate})
	if err != nil {
		return err
	}
	if _, err := do(t, t.a, t.a.s3.PutObject, &s3.PutObjectInput{Bucket: &source, Key: aws.String("app.zip"), Body: bytes.NewReader(commit)}, setUp); err != nil {
		return err
	}
	t.tell("The pipeline's role reads the source, writes artifacts, starts builds and works on one stack. The build's role reads and writes artifacts. The stack's role may make and delete this bucket.")
	for _, role := range []struct{ name, service, policy string }{
		{"PipelineRole", "codepipeline.amazonaws.com", policyOf(
			`{"Effect": "Allow", "Action": ["s3:GetBucketVersioning", "s3:GetObject"], "Resource": ["arn:aws:s3:::`+source+`", "arn:aws:s3:::`+source+`/*"]}`,
			`{"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "arn:aws:s3:::`+artifacts+`/*"}`,
			`{"Effect": "Allow", "Action": ["codebuild:StartBuild", "codebuild:BatchGetBuilds"], "Resource": "*"}`,
			`{"Effect": "Allow", "Action": "cloudformation:*", "Resource": "arn:aws:cloudformation:*:*:stack/`+site+`/*"}`)},
		{"BuildRole", "lambda.amazonaws.com", policyOf(`{"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "arn:aws:s3:::` + artifacts + `/*"}`)},
		{"StackRole", "cloudformation.amazonaws.com", t.stackPolicy(site, `"s3:CreateBucket", "s3:DeleteBucket"`)},
	} {
		if err := t.role(t.a, role.name+t.suffix, trustService(role.service), role.policy); err != nil {
			return err
		}
	}

	t.tell("hal sets it up. First the build project, to which he passes the build's role: without codebuild:CreateProject, without iam:PassRole, and with iam:PassRole for CodePipeline.")
	const looking = `{"Effect": "Allow", "Action": ["codepipeline:GetPipeline*", "codepipeline:ListPipelineExecutions", "cloudformation:DescribeStack*"], "Resource": "*"}`
	const setting = `{"Effect": "Allow", "Action": ["codebuild:CreateProject", "codepipeline:CreatePipeline", "codepipeline:RetryStageExecution"], "Resource": "*"}`
	hal, err := t.user(t.a, "A", "hal", policyOf(looking))
	if err != nil {
		return err
	}
	project := &codebuild.CreateProjectInput{Name: aws.String("make" + t.suffix), ServiceRole: aws.String(arn("BuildRole")),
		Source:      &codebuildtypes.ProjectSource{Type: codebuildtypes.SourceTypeCodepipeline},
		Artifacts:   &codebuildtypes.ProjectArtifacts{Type: codebuildtypes.ArtifactsTypeCodepipeline},
		Environment: &codebuildtypes.ProjectEnvironment{Type: codebuildtypes.EnvironmentTypeLinuxContainer, Image: aws.String("aws/codebuild/standard:7.0"), ComputeType: codebuildtypes.ComputeTypeBuildGeneral1Small}}
	for _, has := range [][]string{nil, {looking, setting}, {looking, setting, mayPass(arn("BuildRole"), "codepipeline.amazonaws.com")}} {
		if has != nil {
			if err := t.grant("hal", has...); err != nil {
				return err
			}
		}
		if _, err := do(t, hal, hal.codebuild.CreateProject, project, refusedBy(authz.IdentityPolicy)); err != nil {
			return err
		}
	}
	t.tell("He may pass it to CodeBuild. Now it is the role that does not trust CodeBuild, and then does.")
	if err := t.grant("hal", looking, setting, mayPass(arn("BuildRole"), "codebuild.amazonaws.com")); err != nil {
		return err
	}
	if _, err := do(t, hal, hal.codebuild.CreateProject, project, outcome{fails: "InvalidInputException"}); err != nil {
		return err
	}
	if err := t.retrust("BuildRole"+t.suffix, "codebuild.amazonaws.com"); err != nil {
		return err
	}
	if _, err := do(t, hal, hal.codebuild.CreateProject, project, allowed("Project.Arn", "Project.ServiceRole")); err != nil {
		return err
	}
	t.made(func() error {
		_, err := t.a.codebuild.DeleteProject(t.ctx, &codebuild.DeleteProjectInput{Name: project.Name})
		return err
	})

	t.tell("Then the pipeline. To make it, its own role is passed, to CodePipeline. The stack's role stands in it as well, but nobody passes that yet.")
	declaration := strings.NewReplacer("@SUFFIX@", t.suffix, "@ACCOUNT@", t.a.account).Replace(tourPipeline)
	t.show("cat pipeline.json", declaration)
	var structure codepipelinetypes.PipelineDeclaration
	if err := json.Unmarshal([]byte(declaration), &structure); err != nil {
		return err
	}
	create := &codepipeline.CreatePipelineInput{Pipeline: &structure}
	if _, err := do(t, hal, hal.codepipeline.CreatePipeline, create, refusedBy(authz.IdentityPolicy)); err != nil {
		return err
	}
	if !t.canRun() {
		return nil
	}
	if err := t.grant("hal", looking, setting, mayPass(arn("PipelineRole"), "codepipeline.amazonaws.com")); err != nil {
		return err
	}
	if _, err := do(t, hal, hal.codepipeline.CreatePipeline, create, allowed("Pipeline.Name", "Pipeline.RoleArn")); err != nil {
		return err
	}
	t.made(func() error {
		_, err := t.a.codepipeline.DeletePipeline(t.ctx, &codepipeline.DeletePipelineInput{Name: structure.Name})
		return err
	})
	t.tell("A new pipeline runs at once. It fetches, it builds, and then it is CodePipeline, in its role, that would pass the stack's role to CloudFormation. The same check is asked of a role as of a person, and this role may not.")
	execution, failure, err := t.delivered(hal, *structure.Name)
	if strings.Contains(failure, workload.ErrOff.Error()) {
		t.leaveOut(failure)
		return nil
	}
	if err != nil {
		return err
	}
	if !strings.Contains(failure, "is not authorized to perform: iam:PassRole on resource: "+arn("StackRole")) {
		return fmt.Errorf("the pipeline should have been refused iam:PassRole, and says %q", failure)
	}

	t.tell("It may pass that role, to CloudFormation only. hal tries the stage again. CloudFormation makes the bucket, and is to switch its versions on; s3:PutBucketVersioning is not among what the stack's role may. The stack fails there and rolls back.")
	pass := policyOf(mayPass(arn("StackRole"), "cloudformation.amazonaws.com"))
	if _, err := do(t, t.a, t.a.iam.PutRolePolicy, &iam.PutRolePolicyInput{RoleName: aws.String("PipelineRole" + t.suffix), PolicyName: aws.String("pass"), PolicyDocument: &pass}, setUp); err != nil {
		return err
	}
	t.made(func() error {
		_, err := t.a.iam.DeleteRolePolicy(t.ctx, &iam.DeleteRolePolicyInput{RoleName: aws.String("PipelineRole" + t.suffix), PolicyName: aws.String("pass")})
		return err
	})
	t.made(func() error { return t.removeStack(site) })
	retry := &codepipeline.RetryStageExecutionInput{PipelineName: structure.Name, StageName: aws.String("Deploy"), PipelineExecutionId: &execution, RetryMode: codepipelinetypes.StageRetryModeFailedActions}
	if _, err := do(t, hal, hal.codepipeline.RetryStageExecution, retry, allowed("PipelineExecutionId")); err != nil {
		return err
	}
	if _, failure, err = t.delivered(hal, *structure.Name); err != nil {
		return err
	}
	if !strings.Contains(failure, "assumed-role/StackRole"+t.suffix) || !strings.Contains(failure, "is not authorized to perform: s3:PutBucketVersioning") {
		return fmt.Errorf("the stack should have been refused s3:PutBucketVersioning, and the pipeline says %q", failure)
	}
	stack := &cloudformation.DescribeStacksInput{StackName: &site}
	if _, err := do(t, hal, hal.cloudformation.DescribeStacks, stack, allowed("Stacks.0.StackStatus", "Stacks.0.RoleARN")); err != nil {
		return err
	}
	head := &s3.HeadBucketInput{Bucket: &site}
	if _, err := do(t, t.a, t.a.s3.HeadBucket, head, outcome{fails: "NotFound"}); err != nil {
		return err
	}

	t.tell("With that action, too, it goes through: the commit has become a bucket. hal, who set it all up, may make none himself.")
	more := t.stackPolicy(site, `"s3:CreateBucket", "s3:DeleteBucket", "s3:PutBucketVersioning"`)
	if _, err := do(t, t.a, t.a.iam.PutRolePolicy, &iam.PutRolePolicyInput{RoleName: aws.String("StackRole" + t.suffix), PolicyName: aws.String("can"), PolicyDocument: &more}, setUp); err != nil {
		return err
	}
	if _, err := do(t, hal, hal.codepipeline.RetryStageExecution, retry, allowed("PipelineExecutionId")); err != nil {
		return err
	}
	if _, failure, err = t.delivered(hal, *structure.Name); err != nil {
		return err
	}
	if failure != "" {
		return fmt.Errorf("the pipeline should have succeeded, and says %q", failure)
	}
	if _, err := do(t, hal, hal.cloudformation.DescribeStacks, stack, allowed("Stacks.0.StackStatus", "Stacks.0.Description")); err != nil {
		return err
	}
	if _, err := do(t, t.a, t.a.s3.HeadBucket, head, setUp); err != nil {
		return err
	}
	if _, err := do(t, hal, hal.s3.CreateBucket, &s3.CreateBucketInput{Bucket: aws.String("hals" + t.suffix)}, refusedBy(authz.IdentityPolicy)); err != nil {
		return err
	}
	t.tell("Who made the bucket? It all came of the pipeline that hal made: in CodePipeline's session the stack's role is passed, and in the session of that one CloudFormation makes the bucket. (What the others did is left out here; iamd trace with the id of hal's create-pipeline shows it whole.)")
	return t.traceSession(hal, fmt.Sprintf("arn:aws:sts::%s:assumed-role/StackRole%s/AWSCloudFormation", t.a.account, t.suffix))
}

// stackPolicy is what a stack may do with its bucket.
func (t *tour) stackPolicy(bucket, actions string) string {
	return allow(`"Action": [`+actions+`]`, `"Resource": "arn:aws:s3:::`+bucket+`"`)
}

// show prints a file.
func (t *tour) show(command, text string) {
	t.say("")
	t.say("%s", t.paint("36", "$ "+command))
	for line := range strings.Lines(text) {
		t.say("    %s", strings.TrimSuffix(line, "\n"))
	}
}

// delivered waits until a pipeline rests, shows how it stands, and returns the execution
// and why it failed; "" when it did not.
func (t *tour) delivered(who *actor, pipeline string) (execution, failure string, err error) {
	list := &codepipeline.ListPipelineExecutionsInput{PipelineName: &pipeline}
	if err := t.until("the pipeline rests", func() (bool, error) {
		out, err := who.codepipeline.ListPipelineExecutions(t.ctx, list)
		if err != nil || len(out.PipelineExecutionSummaries) == 0 {
			return false, err
		}
		last := out.PipelineExecutionSummaries[0]
		execution = *last.PipelineExecutionId
		return last.Status != codepipelinetypes.PipelineExecutionStatusInProgress, nil
	}); err != nil {
		return "", "", err
	}
	in := &codepipeline.GetPipelineStateInput{Name: &pipeline}
	state, err := who.codepipeline.GetPipelineState(t.ctx, in)
	if err != nil {
		return "", "", err
	}
	show := []string{}
	for i, stage := range state.StageStates {
		action := stage.ActionStates[0].LatestExecution
		if action == nil {
			break
		}
		at := fmt.Sprintf("StageStates.%d.", i)
		show = append(show, at+"StageName", at+"LatestExecution.Status")
		if action.ErrorDetails != nil {
			failure = *action.ErrorDetails.Message
			show = append(show, at+"ActionStates.0.LatestExecution.ErrorDetails.Message")
		}
	}
	_, err = do(t, who, who.codepipeline.GetPipelineState, in, allowed(show...))
	return execution, failure, err
}

// removeStack deletes a stack, if there is one, and waits for it.
func (t *tour) removeStack(name string) error {
	out, err := t.a.cloudformation.DescribeStacks(t.ctx, &cloudformation.DescribeStacksInput{StackName: &name})
	var known smithy.APIError
	if errors.As(err, &known) && known.ErrorCode() == "ValidationError" {
		return nil // there is none
	}
	if err != nil {
		return err
	}
	id := out.Stacks[0].StackId
	if _, err := t.a.cloudformation.DeleteStack(t.ctx, &cloudformation.DeleteStackInput{StackName: id}); err != nil {
		return err
	}
	return t.until("the stack is deleted", func() (bool, error) {
		out, err := t.a.cloudformation.DescribeStacks(t.ctx, &cloudformation.DescribeStacksInput{StackName: id})
		return err == nil && out.Stacks[0].StackStatus == "DELETE_COMPLETE", err
	})
}
