package main

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/iamd-dev/iamd/internal/audit"
	"github.com/iamd-dev/iamd/internal/authz"
	ec2api "github.com/iamd-dev/iamd/internal/aws/ec2/api"
)

// instance: a role that an instance has from its launch, and one that it gets while it runs;
// with it, commands of Systems Manager run there.
func (t *tour) instance() error {
	role, bucket := "NodeRole"+t.suffix, "payroll"+t.suffix
	roleARN := fmt.Sprintf("arn:aws:iam::%s:role/%s", t.a.account, role)
	const core = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"

	t.tell("An instance acts as the role in its instance profile, and whoever launches it with one passes that role to EC2. With AWS's policy AmazonSSMManagedInstanceCore the agent in the instance may report to Systems Manager, which makes it a managed node: commands run there, without a key and without an open port. The administrator makes such a role. It trusts the wrong service, for now.")
	if err := t.role(t.a, role, trustService("lambda.amazonaws.com"), ""); err != nil {
		return err
	}
	if _, err := do(t, t.a, t.a.iam.AttachRolePolicy, &iam.AttachRolePolicyInput{RoleName: &role, PolicyArn: aws.String(core)}, setUp); err != nil {
		return err
	}
	t.made(func() error {
		_, err := t.a.iam.DetachRolePolicy(t.ctx, &iam.DetachRolePolicyInput{RoleName: &role, PolicyArn: aws.String(core)})
		return err
	})
	if _, err := do(t, t.a, t.a.iam.CreateInstanceProfile, &iam.CreateInstanceProfileInput{InstanceProfileName: &role}, setUp); err != nil {
		return err
	}
	t.made(func() error {
		_, err := t.a.iam.DeleteInstanceProfile(t.ctx, &iam.DeleteInstanceProfileInput{InstanceProfileName: &role})
		return err
	})
	if _, err := do(t, t.a, t.a.iam.AddRoleToInstanceProfile, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: &role, RoleName: &role}, setUp); err != nil {
		return err
	}
	t.made(func() error {
		_, err := t.a.iam.RemoveRoleFromInstanceProfile(t.ctx, &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: &role, RoleName: &role})
		return err
	})
	if err := t.bucket(t.a, bucket, "salaries.csv", "finn,1"); err != nil {
		return err
	}

	t.tell("finn looks after machines. So far he may only look: he does not get one ...")
	const looking = `{"Effect": "Allow", "Action": ["ec2:Describe*", "ssm:DescribeInstanceInformation", "ssm:GetCommandInvocation"], "Resource": "*"}`
	finn, err := t.user(t.a, "A", "finn", policyOf(looking))
	if err != nil {
		return err
	}
	images, err := do(t, finn, onEC2[ec2api.DescribeImagesInput, ec2api.DescribeImagesOutput](finn), &ec2api.DescribeImagesInput{Owners: []string{"amazon"}}, allowed("Images.0.ImageId", "Images.0.Name"))
	if err != nil {
		return err
	}
	launch := func(profile string, want outcome) (string, error) {
		in := &ec2api.RunInstancesInput{ImageId: images.Images[0].ImageId, InstanceType: "t3.micro", MinCount: 1, MaxCount: 1}
		if profile != "" {
			in.IamInstanceProfile = &ec2api.IamInstanceProfileSpecification{Name: profile}
		}
		out, err := do(t, finn, onEC2[ec2api.RunInstancesInput, ec2api.RunInstancesOutput](finn), in, want)
		if err != nil || out == nil || len(out.Instances) == 0 {
			return "", err
		}
		id := out.Instances[0].InstanceId
		t.made(func() error {
			_, err := onEC2[ec2api.TerminateInstancesInput, ec2api.TerminateInstancesOutput](t.a)(t.ctx, &ec2api.TerminateInstancesInput{InstanceIds: []string{id}})
			return err
		})
		return id, nil
	}
	if _, err := launch(role, refusedBy(authz.IdentityPolicy)); err != nil {
		return err
	}
	t.tell("... with ec2:RunInstances he does, but not one with the role: that is iam:PassRole,")
	const launching = `{"Effect": "Allow", "Action": ["ec2:RunInstances", "ec2:AssociateIamInstanceProfile"], "Resource": "*"}`
	if err := t.grant("finn", looking, launching); err != nil {
		return err
	}
	if _, err := launch(role, refusedBy(authz.IdentityPolicy)); err != nil {
		return err
	}
	t.tell("and iam:PassRole for another service does not help.")
	if err := t.grant("finn", looking, launching, mayPass(roleARN, "lambda.amazonaws.com")); err != nil {
		return err
	}
	if _, err := launch(role, refusedBy(authz.IdentityPolicy)); err != nil {
		return err
	}
	if !t.canRun() {
		return nil
	}

	t.tell("Now he may pass it to EC2. The launch works, since EC2 does not assume the role until something in the instance asks for credentials. Its agent does so at once, and the role does not trust EC2: the third permission is lacking.")
	if err := t.grant("finn", looking, launching, mayPass(roleARN, "ec2.amazonaws.com")); err != nil {
		return err
	}
	first, err := launch(role, allowed("Instances.0.InstanceId", "Instances.0.IamInstanceProfile.Arn"))
	if t.notHere(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := t.traceOf(finn, t.lastRequest, func(n *audit.Node) bool { return n.Event == "sts:AssumeRole" && n.Error != "" }); err != nil {
		return err
	}
	t.tell("The instance is no managed node.")
	if err := t.node(finn, first, false); err != nil {
		return err
	}
	t.tell("The administrator mends the trust policy. The agent's next attempt succeeds, and the node appears.")
	if err := t.retrust(role, "ec2.amazonaws.com"); err != nil {
		return err
	}
	if err := t.node(finn, first, true); err != nil {
		return err
	}

	t.tell("A second instance, without a profile. That passes no role. It runs, and is no node.")
	second, err := launch("", allowed("Instances.0.InstanceId"))
	if err != nil {
		return err
	}
	if err := t.node(finn, second, false); err != nil {
		return err
	}
	t.tell("The profile can be attached while it runs. That is passing a role, too; without iam:PassRole:")
	attach := &ec2api.AssociateIamInstanceProfileInput{InstanceId: second, IamInstanceProfile: ec2api.IamInstanceProfileSpecification{Name: role}}
	associate := onEC2[ec2api.AssociateIamInstanceProfileInput, ec2api.AssociateIamInstanceProfileOutput](finn)
	if err := t.grant("finn", looking, launching); err != nil {
		return err
	}
	if err := t.until("the instance runs", func() (bool, error) {
		out, err := onEC2[ec2api.DescribeInstancesInput, ec2api.DescribeInstancesOutput](finn)(t.ctx, &ec2api.DescribeInstancesInput{InstanceIds: []string{second}})
		return err == nil && out.Reservations[0].Instances[0].State.Name == "running", err
	}); err != nil {
		return err
	}
	if _, err := do(t, finn, associate, attach, refusedBy(authz.IdentityPolicy)); err != nil {
		return err
	}
	t.tell("With it, the instance has a role without a restart, and becomes a node.")
	if err := t.grant("finn", looking, launching, mayPass(roleARN, "ec2.amazonaws.com")); err != nil {
		return err
	}
	if _, err := do(t, finn, associate, attach, allowed("IamInstanceProfileAssociation.AssociationId", "IamInstanceProfileAssociation.State")); err != nil {
		return err
	}
	attached := t.lastRequest
	if err := t.node(finn, second, true); err != nil {
		return err
	}

	program, err := t.program()
	if err != nil {
		return err
	}
	t.tell("Commands are a permission of their own. What they do, they do as the instance's role, and not as finn: the last line asks for an object, with the credentials that the SDK finds by itself in the instance, and the role does not allow it.")
	send := &ssm.SendCommandInput{DocumentName: aws.String("AWS-RunShellScript"), InstanceIds: []string{second}, Parameters: map[string][]string{
		"commands": {"echo hello from $(uname -s)", program + " " + readerName + " s3://" + bucket + "/salaries.csv"}}}
	if _, err := do(t, finn, finn.ssm.SendCommand, send, refusedBy(authz.IdentityPolicy)); err != nil {
		return err
	}
	if err := t.grant("finn", looking, `{"Effect": "Allow", "Action": "ssm:SendCommand", "Resource": ["arn:aws:ssm:*:*:document/AWS-RunShellScript", "arn:aws:ec2:*:*:instance/*"]}`); err != nil {
		return err
	}
	sent, err := do(t, finn, finn.ssm.SendCommand, send, allowed("Command.CommandId", "Command.Status"))
	if err != nil {
		return err
	}
	request := t.lastRequest
	invocation := &ssm.GetCommandInvocationInput{CommandId: sent.Command.CommandId, InstanceId: &second}
	if err := t.until("the command has run", func() (bool, error) {
		out, err := finn.ssm.GetCommandInvocation(t.ctx, invocation)
		return err == nil && out.Status != ssmtypes.CommandInvocationStatusPending && out.Status != ssmtypes.CommandInvocationStatusInProgress && out.Status != ssmtypes.CommandInvocationStatusDelayed, err
	}); err != nil {
		return err
	}
	ran, err := do(t, finn, finn.ssm.GetCommandInvocation, invocation, allowed("StandardOutputContent", "Status", "ResponseCode"))
	if err != nil {
		return err
	}
	if text := *ran.StandardOutputContent; !strings.Contains(text, "assumed-role/"+role+"/"+second) || !strings.Contains(text, "salaries.csv: AccessDenied") {
		return fmt.Errorf("the command should have run as the role, and been refused the object, and says %q %q", text, aws.ToString(ran.StandardErrorContent))
	}
	t.tell("What came of finn's command: the agent took it on and answered, in the instance's session, with calls that AmazonSSMManagedInstanceCore is for.")
	if err := t.traceOf(finn, request, func(n *audit.Node) bool { return n.Event == "ec2messages:SendReply" }); err != nil {
		return err
	}
	t.tell("And what came of attaching the role: the session that EC2 began for the instance, in which the agent reported, and in which the command tried what the role does not allow.")
	return t.traceOf(finn, attached, func(n *audit.Node) bool { return n.Event == "s3:GetObject" })
}

// node shows whether an instance is a managed node, which it must be or not.
func (t *tour) node(who *actor, instance string, online bool) error {
	in := &ssm.DescribeInstanceInformationInput{Filters: []ssmtypes.InstanceInformationStringFilter{{Key: aws.String("InstanceIds"), Values: []string{instance}}}}
	if !online {
		out, err := do(t, who, who.ssm.DescribeInstanceInformation, in, allowed("InstanceInformationList"))
		if err == nil && len(out.InstanceInformationList) > 0 {
			return fmt.Errorf("%s is a managed node, and should not be", instance)
		}
		return err
	}
	if err := t.until(instance+" is a managed node", func() (bool, error) {
		out, err := who.ssm.DescribeInstanceInformation(t.ctx, in)
		return err == nil && len(out.InstanceInformationList) == 1 && out.InstanceInformationList[0].PingStatus == ssmtypes.PingStatusOnline, err
	}); err != nil {
		return err
	}
	_, err := do(t, who, who.ssm.DescribeInstanceInformation, in, allowed("InstanceInformationList.0.PingStatus", "InstanceInformationList.0.AgentVersion"))
	return err
}
