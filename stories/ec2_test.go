//go:build stories

package stories

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An instance from the aws command: launched with a role that is passed to it, waited for
// and read; killed with the server, and started again; terminated.
func TestEC2(t *testing.T) {
	eachCLI(t, func(t *testing.T, c *cli) {
		s := serve(t, "--account", accountA, "--workloads=process")
		s.cli = c
		root := s.root(accountA)
		const trust = `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}}`
		root.role("app", trust, "")
		root.aws("iam", "create-instance-profile", "--instance-profile-name", "app")
		root.aws("iam", "add-role-to-instance-profile", "--instance-profile-name", "app", "--role-name", "app")
		marker := "marker-" + filepath.Base(t.TempDir()) + "-" + time.Now().Format("150405.000000")
		root.file("user-data", "#!/bin/sh\necho hello from $PWD\nsh -c 'sleep 86399; : "+marker+"'\n")
		image := strings.TrimSpace(root.aws("ec2", "describe-images", "--owners", "amazon", "--query", "Images[0].ImageId", "--output", "text"))
		launch := []string{"ec2", "run-instances", "--image-id", image, "--instance-type", "t3.micro", "--count", "1", "--user-data", "file://user-data",
			"--iam-instance-profile", "Name=app", "--tag-specifications", "ResourceType=instance,Tags=[{Key=Name,Value=web}]",
			"--metadata-options", "HttpTokens=required", "--query", "Instances[0].InstanceId", "--output", "text"}

		dev := root.user("dev", allowing("ec2:*", "*"))
		dev.dir = root.dir
		dev.refused("(UnauthorizedOperation) when calling the RunInstances operation: You are not authorized to perform this operation. User: arn:aws:iam::"+accountA+
			":user/dev is not authorized to perform: iam:PassRole on resource: arn:aws:iam::"+accountA+":role/app because no identity-based policy allows the iam:PassRole action. Encoded authorization failure message: ", launch...)
		root.aws("iam", "put-user-policy", "--user-name", "dev", "--policy-name", "pass", "--policy-document",
			`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*", "Condition": {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}}}`)
		dev.refused("(DryRunOperation)", append(launch, "--dry-run")...)
		id := strings.TrimSpace(dev.aws(launch...))
		dev.aws("ec2", "wait", "instance-running", "--instance-ids", id)
		dev.aws("ec2", "wait", "instance-status-ok", "--instance-ids", id)
		for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
			out := dev.aws("ec2", "get-console-output", "--instance-id", id, "--output", "text")
			if strings.Contains(out, "hello from /mnt") {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("the console says %q", out)
			}
		}
		if got := dev.aws("ec2", "describe-instances", "--filters", "Name=tag:Name,Values=web", "--query", "Reservations[].Instances[].[InstanceId,State.Name,IamInstanceProfile.Arn]", "--output", "text"); got != id+"\trunning\tarn:aws:iam::"+accountA+":instance-profile/app\n" {
			t.Errorf("it is described as %q", got)
		}
		if !runs(t, marker) {
			t.Fatal("the user data does not run")
		}

		s.kill()
		for end := time.Now().Add(patience); runs(t, marker); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the instance has outlived the server")
			}
		}
		s.start()
		dev = dev.with("AWS_ENDPOINT_URL=" + s.url)
		if got := dev.aws("ec2", "describe-instances", "--instance-ids", id, "--query", "Reservations[0].Instances[0].[State.Name,StateReason.Code]", "--output", "text"); got != "stopped\tServer.ScheduledStop\n" {
			t.Errorf("after a kill it is %q", got)
		}
		dev.aws("ec2", "start-instances", "--instance-ids", id)
		dev.aws("ec2", "wait", "instance-running", "--instance-ids", id)
		dev.aws("ec2", "stop-instances", "--instance-ids", id)
		dev.aws("ec2", "wait", "instance-stopped", "--instance-ids", id)
		dev.aws("ec2", "terminate-instances", "--instance-ids", id)
		dev.aws("ec2", "wait", "instance-terminated", "--instance-ids", id)
		dev.refused("The action DescribeVpcs is not valid for this web service.", "ec2", "describe-vpcs")
	})
}

// runs reports whether a program of this machine has the text among its arguments.
func runs(t *testing.T, text string) bool {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		if line, err := os.ReadFile(name); err == nil && strings.Contains(string(line), text) {
			return true
		}
	}
	return false
}
