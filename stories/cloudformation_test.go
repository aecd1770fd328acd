//go:build stories

package stories

import (
	"fmt"
	"strings"
	"testing"
)

const stackOfBuckets = `
Description: a bucket and who may read it
Parameters:
  Versions: {Type: String, Default: Suspended, AllowedValues: [Enabled, Suspended]}
Resources:
  Bucket: {Type: AWS::S3::Bucket, Properties: {VersioningConfiguration: {Status: !Ref Versions}}}
  Reader:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Version: 2012-10-17, Statement: [{Effect: Allow, Principal: {AWS: !Ref AWS::AccountId}, Action: sts:AssumeRole}]}
      Policies:
        - PolicyName: read
          PolicyDocument: {Version: 2012-10-17, Statement: [{Effect: Allow, Action: s3:GetObject, Resource: !Sub "${Bucket.Arn}/*"}]}
Outputs:
  Bucket: {Value: !Ref Bucket}
`

// aws cloudformation deploy makes a stack, changes it, finds nothing to change, and tells
// why what may not be made is not there.
func TestCloudFormationDeploy(t *testing.T) {
	t.Parallel()
	s := serve(t)
	root := s.root("123456789012")
	root.file("stack.yaml", stackOfBuckets)
	deploy := []string{"cloudformation", "deploy", "--stack-name", "app", "--template-file", "stack.yaml", "--capabilities", "CAPABILITY_IAM"}

	root.refused("Requires capabilities : [CAPABILITY_IAM]", deploy[:6]...)
	root.aws("s3", "mb", "s3://artifacts") // where the template goes by
	if out := root.aws(append(deploy, "--s3-bucket", "artifacts")...); !strings.Contains(out, "Successfully created/updated stack - app") {
		t.Error(out)
	}
	bucket := strings.TrimSpace(root.aws("cloudformation", "describe-stacks", "--stack-name", "app", "--query", "Stacks[0].Outputs[0].OutputValue", "--output", "text"))
	root.aws(append(deploy, "--parameter-overrides", "Versions=Enabled")...)
	if got := root.aws("s3api", "get-bucket-versioning", "--bucket", bucket); !strings.Contains(got, "Enabled") {
		t.Error(got)
	}
	root.refused("No changes to deploy. Stack app is up to date", append(deploy, "--fail-on-empty-changeset")...)
	root.aws("cloudformation", "delete-stack", "--stack-name", "app")
	root.aws("cloudformation", "wait", "stack-delete-complete", "--stack-name", "app")
	root.refused("(404)", "s3api", "head-bucket", "--bucket", bucket)

	// Who may do everything with stacks, and nothing else.
	dev := root.user("dev", allowing("cloudformation:*", "*"))
	dev.file("stack.yaml", stackOfBuckets)
	dev.refused("Failed to create/update the stack", "cloudformation", "deploy", "--stack-name", "dev", "--template-file", "stack.yaml", "--capabilities", "CAPABILITY_IAM")
	events := dev.aws("cloudformation", "describe-stack-events", "--stack-name", "dev", "--query", "StackEvents[].ResourceStatusReason", "--output", "text")
	if want := "user/dev is not authorized to perform: s3:CreateBucket"; !strings.Contains(events, want) {
		t.Errorf("%s\nwant %s", events, want)
	}
}

// Killed in the middle of the work on a stack, the server goes on with it when it is
// started again.
func TestCloudFormationKilled(t *testing.T) {
	t.Parallel()
	s := serve(t)
	root := s.root("123456789012")
	var template strings.Builder
	template.WriteString("Resources:\n")
	for i := range 60 {
		fmt.Fprintf(&template, "  G%d: {Type: AWS::IAM::Group}\n", i)
	}
	root.file("many.yaml", template.String())
	root.aws("cloudformation", "create-stack", "--stack-name", "many", "--template-body", "file://many.yaml", "--capabilities", "CAPABILITY_IAM")
	s.kill()
	s.start()
	root = s.root("123456789012")
	root.aws("cloudformation", "wait", "stack-create-complete", "--stack-name", "many")
	if got := strings.Count(root.aws("iam", "list-groups", "--query", "Groups[].GroupName", "--output", "text"), "many-G"); got != 60 {
		t.Errorf("%d groups are there, want 60", got)
	}
	root.aws("cloudformation", "delete-stack", "--stack-name", "many")
	s.kill()
	s.start()
	root = s.root("123456789012")
	root.aws("cloudformation", "wait", "stack-delete-complete", "--stack-name", "many")
	if got := root.aws("iam", "list-groups", "--query", "Groups[].GroupName", "--output", "text"); strings.TrimSpace(got) != "" {
		t.Errorf("there is left: %s", got)
	}
}
