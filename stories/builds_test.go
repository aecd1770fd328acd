//go:build stories

package stories

import (
	"strings"
	"testing"
	"time"
)

// A build and a pipeline from the aws command: roles that are passed to both, and kills of
// the server while a build runs, and while a pipeline waits for one.
func TestBuildsAndPipelines(t *testing.T) {
	eachCLI(t, func(t *testing.T, c *cli) {
		s := serve(t, "--account", accountA, "--workloads=process")
		s.cli = c
		root := s.root(accountA)
		trust := func(service string) string {
			return `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"Service": "` + service + `.amazonaws.com"}, "Action": "sts:AssumeRole"}}`
		}
		root.role("build", trust("codebuild"), allowing("s3:*", "*"))
		root.role("pipe", trust("codepipeline"), `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": ["s3:*", "codebuild:*"], "Resource": "*"}}`)
		for _, bucket := range []string{"source", "store", "site"} {
			root.aws("s3api", "create-bucket", "--bucket", bucket)
		}
		dev := root.user("dev", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": ["codebuild:*", "codepipeline:*"], "Resource": "*"}}`)
		project := []string{"codebuild", "create-project", "--name", "app", "--source", `{"type": "NO_SOURCE", "buildspec": "version: 0.2\nphases:\n  build:\n    commands:\n      - sleep $SLEEP\n      - echo made >made.txt\nartifacts:\n  files: [made.txt]\n"}`,
			"--artifacts", "type=S3,location=site,name=out", "--environment", `{"type": "LINUX_CONTAINER", "image": "any", "computeType": "BUILD_GENERAL1_SMALL", "environmentVariables": [{"name": "SLEEP", "value": "0"}]}`,
			"--service-role", "arn:aws:iam::" + accountA + ":role/build"}
		dev.refused("(AccessDeniedException) when calling the CreateProject operation: User: arn:aws:iam::"+accountA+
			":user/dev is not authorized to perform: iam:PassRole on resource: arn:aws:iam::"+accountA+":role/build because no identity-based policy allows the iam:PassRole action", project...)
		root.aws("iam", "put-user-policy", "--user-name", "dev", "--policy-name", "pass", "--policy-document",
			`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*", "Condition": {"StringEquals": {"iam:PassedToService": ["codebuild.amazonaws.com", "codepipeline.amazonaws.com"]}}}}`)
		dev.aws(project...)

		wait := func(what string, want ...string) {
			t.Helper()
			for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
				got := strings.TrimSpace(dev.aws(strings.Fields(what)...))
				for _, w := range want {
					if got == w {
						return
					}
				}
				if time.Now().After(end) {
					t.Fatalf("aws %s is %q, not %q", what, got, want)
				}
			}
		}
		start := func(seconds string) string {
			t.Helper()
			return strings.TrimSpace(dev.aws("codebuild", "start-build", "--project-name", "app", "--environment-variables-override", "name=SLEEP,value="+seconds, "--query", "build.id", "--output", "text"))
		}
		of := func(id, query string) string {
			return "codebuild batch-get-builds --ids " + id + " --query builds[0]." + query + " --output text"
		}
		wait(of(start("0"), "buildStatus"), "SUCCEEDED")
		if got := root.aws("s3api", "list-objects-v2", "--bucket", "site", "--query", "Contents[].Key", "--output", "text"); got != "out/made.txt\n" {
			t.Errorf("the build has left %q", got)
		}

		id := start("600")
		wait(of(id, "currentPhase"), "BUILD")
		s.kill()
		s.start()
		root, dev = root.with("AWS_ENDPOINT_URL="+s.url), dev.with("AWS_ENDPOINT_URL="+s.url)
		wait(of(id, "buildStatus"), "FAULT")

		root.aws("s3api", "put-bucket-versioning", "--bucket", "source", "--versioning-configuration", "Status=Enabled")
		root.file("app.zip", "PK\x05\x06"+strings.Repeat("\x00", 18))
		root.aws("s3api", "put-object", "--bucket", "source", "--key", "app.zip", "--body", "app.zip")
		dev.aws("codepipeline", "create-pipeline", "--pipeline", `{"name": "p", "roleArn": "arn:aws:iam::`+accountA+`:role/pipe", "artifactStore": {"type": "S3", "location": "store"}, "stages": [
			{"name": "Source", "actions": [{"name": "S", "actionTypeId": {"category": "Source", "owner": "AWS", "provider": "S3", "version": "1"}, "configuration": {"S3Bucket": "source", "S3ObjectKey": "app.zip"}, "outputArtifacts": [{"name": "code"}]}]},
			{"name": "Build", "actions": [{"name": "B", "actionTypeId": {"category": "Build", "owner": "AWS", "provider": "CodeBuild", "version": "1"}, "configuration": {"ProjectName": "app", "EnvironmentVariables": "[{\"name\": \"SLEEP\", \"value\": \"5\"}]"}, "inputArtifacts": [{"name": "code"}], "outputArtifacts": [{"name": "out"}]}]},
			{"name": "Deploy", "actions": [{"name": "D", "actionTypeId": {"category": "Deploy", "owner": "AWS", "provider": "S3", "version": "1"}, "configuration": {"BucketName": "site", "Extract": "true", "ObjectKey": "web"}, "inputArtifacts": [{"name": "out"}]}]}]}`)
		wait("codepipeline get-pipeline-state --name p --query stageStates[1].latestExecution.status --output text", "InProgress")
		s.kill()
		s.start()
		root, dev = root.with("AWS_ENDPOINT_URL="+s.url), dev.with("AWS_ENDPOINT_URL="+s.url)
		execution := "codepipeline list-pipeline-executions --pipeline-name p --query pipelineExecutionSummaries[0]."
		wait(execution+"status --output text", "Failed")
		dev.aws("codepipeline", "retry-stage-execution", "--pipeline-name", "p", "--stage-name", "Build", "--retry-mode", "FAILED_ACTIONS", "--pipeline-execution-id",
			strings.TrimSpace(dev.aws(strings.Fields(execution+"pipelineExecutionId --output text")...)))
		wait(execution+"status --output text", "Succeeded")
		root.aws("s3api", "head-object", "--bucket", "site", "--key", "web/made.txt")
	})
}
