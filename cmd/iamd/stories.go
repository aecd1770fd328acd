package main

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/iamd-dev/iamd/internal/authz"
)

// A story is a part of the tour, which stands by itself.
type story struct {
	name, title string
	tell        func(*tour) error
}

// stories are all of them, in the order in which they are played.
var stories = []story{
	{"cross-account", "Across accounts: both sides must agree", (*tour).acrossAccounts},
	{"one-account", "In one account: who has to say yes", (*tour).inOneAccount},
	{"escalation", "The escalation that everyone warns of", (*tour).escalation},
	{"lambda", "Passing a role: a function of Lambda that keeps notes in DynamoDB", (*tour).passing},
	{"ec2", "EC2 and Systems Manager: a role in an instance", (*tour).instance},
	{"ecs", "ECS: a role for a task", (*tour).task},
	{"pipeline", "CodePipeline, CodeBuild and CloudFormation: three roles from a commit to a bucket", (*tour).pipeline},
	{"forbidden-pass", "The forbidden pass", (*tour).forbidden},
}

// play plays stories, one after another.
func (t *tour) play(wanted []story) error {
	t.say("%s", t.paint("1", "A tour of AssumeRole and PassRole"))
	t.tell("Two accounts, A (%s) and B (%s), on %s. Every step below is a call of the AWS SDK to that server, written as the aws command that makes it.",
		t.a.account, t.b.account, t.target.endpoint)
	if len(wanted) > 1 {
		t.tell("One story alone is played by its name, as iamd tour %s; iamd tour --list has all names.", wanted[len(wanted)-1].name)
	}
	for i, s := range wanted {
		t.title(fmt.Sprintf("%d. %s", i+1, s.title))
		if err := s.tell(t); err != nil {
			return fmt.Errorf("story %s: %w", s.name, err)
		}
	}
	t.say("")
	if t.leftOut > 0 {
		t.say("%s", t.paint("33;1", fmt.Sprintf("What was told went as told: %d calls. Left out here: the end of %s.", t.asked, plural(t.leftOut, "story"))))
	} else {
		t.say("%s", t.paint("32;1", fmt.Sprintf("Everything went as told: %d calls.", t.asked)))
	}
	t.say("")
	t.say("Now you:")
	t.say("    iamd serve")
	t.say("    eval \"$(iamd env)\"")
	t.say("    aws sts get-caller-identity")
	return nil
}

// acrossAccounts: a role in A that B's user may assume, to read a bucket of A.
func (t *tour) acrossAccounts() error {
	bucket, role := "reports"+t.suffix, "S3GetListRole"+t.suffix
	roleARN := fmt.Sprintf("arn:aws:iam::%s:role/%s", t.a.account, role)
	trustB := allow(`"Principal": {"AWS": "arn:aws:iam::`+t.b.account+`:root"}`, `"Action": "sts:AssumeRole"`)
	mayAssume := allow(`"Action": "sts:AssumeRole"`, `"Resource": "`+roleARN+`"`)

	t.tell("Account A owns a bucket, and a role that may list it and read from it. The role's trust policy names account B: it says that B may decide who of its people assumes the role.")
	if err := t.bucket(t.a, bucket, "q3.txt", "hello from account A"); err != nil {
		return err
	}
	if err := t.role(t.a, role, trustB, `{
  "Version": "2012-10-17",
  "Statement": [
    {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::`+bucket+`"},
    {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::`+bucket+`/*"}
  ]
}`); err != nil {
		return err
	}
	t.tell("Account B has a user, alice, and lets her assume the role.")
	alice, err := t.user(t.b, "B", "alice", mayAssume)
	if err != nil {
		return err
	}

	t.tell("As herself she gets nothing of A's.")
	get := func() *s3.GetObjectInput { return &s3.GetObjectInput{Bucket: &bucket, Key: aws.String("q3.txt")} }
	if _, err := do(t, alice, alice.s3.GetObject, get(), refusedBy(authz.IdentityPolicy)); err != nil {
		return err
	}
	t.tell("So she assumes the role, and gets an access key, a secret and a session token that end in an hour.")
	reader, err := t.assume(alice, "alice as "+role, roleARN)
	if err != nil {
		return err
	}
	t.tell("With these she reads and lists. She cannot write: the role's policy does not say so.")
	if _, err := do(t, reader, reader.s3.GetObject, get(), allowed("Body")); err != nil {
		return err
	}
	listed, err := do(t, reader, reader.s3.ListObjectsV2, &s3.ListObjectsV2Input{Bucket: &bucket}, allowed("Contents.0.Key"))
	if err != nil {
		return err
	}
	if len(listed.Contents) != 1 {
		return fmt.Errorf("the bucket lists %d objects, not 1", len(listed.Contents))
	}
	put := &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("mine.txt"), Body: strings.NewReader("hello")}
	if _, err := do(t, reader, reader.s3.PutObject, put, refusedBy(authz.IdentityPolicy)); err != nil {
		return err
	}

	t.tell("Now take one half away. Without her permission in B:")
	name, mayPolicy := aws.String("alice"+t.suffix), aws.String("may")
	if _, err := do(t, t.b, t.b.iam.DeleteUserPolicy, &iam.DeleteUserPolicyInput{UserName: name, PolicyName: mayPolicy}, setUp); err != nil {
		return err
	}
	if err := t.assumeRefused(alice, roleARN, authz.IdentityPolicy); err != nil {
		return err
	}
	t.tell("Put it back, and take the role's trust away instead: it names only its own account.")
	if _, err := do(t, t.b, t.b.iam.PutUserPolicy, &iam.PutUserPolicyInput{UserName: name, PolicyName: mayPolicy, PolicyDocument: &mayAssume}, setUp); err != nil {
		return err
	}
	trustA := allow(`"Principal": {"AWS": "arn:aws:iam::`+t.a.account+`:root"}`, `"Action": "sts:AssumeRole"`)
	if _, err := do(t, t.a, t.a.iam.UpdateAssumeRolePolicy, &iam.UpdateAssumeRolePolicyInput{RoleName: &role, PolicyDocument: &trustA}, setUp); err != nil {
		return err
	}
	if err := t.assumeRefused(alice, roleARN, authz.TrustPolicy); err != nil {
		return err
	}
	t.tell("AWS says that it was refused and not why. Here the request id leads to the reason. Each account sees what its own policies said; the role is A's:")
	if err := t.explain(t.a); err != nil {
		return err
	}
	t.tell("Both halves again, and it works, at once.")
	if _, err := do(t, t.a, t.a.iam.UpdateAssumeRolePolicy, &iam.UpdateAssumeRolePolicyInput{RoleName: &role, PolicyDocument: &trustB}, setUp); err != nil {
		return err
	}
	_, err = t.assume(alice, "", roleARN)
	return err
}

// inOneAccount: who must allow what, when user and role are of one account.
func (t *tour) inOneAccount() error {
	role := "Auditor" + t.suffix
	roleARN := fmt.Sprintf("arn:aws:iam::%s:role/%s", t.a.account, role)
	mayAssume := allow(`"Action": "sts:AssumeRole"`, `"Resource": "`+roleARN+`"`)
	trust := func(principal string) string {
		return allow(`"Principal": {"AWS": "`+principal+`"}`, `"Action": "sts:AssumeRole"`)
	}
	retrust := func(document string) error {
		_, err := do(t, t.a, t.a.iam.UpdateAssumeRolePolicy, &iam.UpdateAssumeRolePolicyInput{RoleName: &role, PolicyDocument: &document}, setUp)
		return err
	}

	t.tell("Only the user's side: dora may assume the role, and the role trusts somebody else.")
	dora, err := t.user(t.a, "A", "dora", mayAssume)
	if err != nil {
		return err
	}
	name, mayPolicy := aws.String("dora"+t.suffix), aws.String("may")
	if err := t.role(t.a, role, trust("arn:aws:iam::"+t.b.account+":root"), ""); err != nil {
		return err
	}
	if err := t.assumeRefused(dora, roleARN, authz.TrustPolicy); err != nil {
		return err
	}
	t.tell("Only the role's side, with the account's root as principal. That is no permission for anyone: it leaves the choice to the account's own policies, and dora has none now.")
	if err := retrust(trust("arn:aws:iam::" + t.a.account + ":root")); err != nil {
		return err
	}
	if _, err := do(t, t.a, t.a.iam.DeleteUserPolicy, &iam.DeleteUserPolicyInput{UserName: name, PolicyName: mayPolicy}, setUp); err != nil {
		return err
	}
	if err := t.assumeRefused(dora, roleARN, authz.IdentityPolicy); err != nil {
		return err
	}
	t.tell("Both sides:")
	if _, err := do(t, t.a, t.a.iam.PutUserPolicy, &iam.PutUserPolicyInput{UserName: name, PolicyName: mayPolicy, PolicyDocument: &mayAssume}, setUp); err != nil {
		return err
	}
	if _, err := t.assume(dora, "", roleARN); err != nil {
		return err
	}
	t.tell("And the exception to know: a trust policy that names the user's own ARN is enough by itself, within one account. dora has no policy at all.")
	if _, err := do(t, t.a, t.a.iam.DeleteUserPolicy, &iam.DeleteUserPolicyInput{UserName: name, PolicyName: mayPolicy}, setUp); err != nil {
		return err
	}
	if err := retrust(trust(fmt.Sprintf("arn:aws:iam::%s:user/%s", t.a.account, *name))); err != nil {
		return err
	}
	_, err = t.assume(dora, "", roleARN)
	return err
}

// escalation: the smallest permission that is all of them.
func (t *tour) escalation() error {
	role := "AdminRole" + t.suffix
	roleARN := fmt.Sprintf("arn:aws:iam::%s:role/%s", t.a.account, role)

	t.tell("AdminRole may do everything and trusts its account's root, as many do. An intern has a single permission: sts:AssumeRole on it.")
	if err := t.role(t.a, role, allow(`"Principal": {"AWS": "arn:aws:iam::`+t.a.account+`:root"}`, `"Action": "sts:AssumeRole"`),
		allow(`"Action": "*"`, `"Resource": "*"`)); err != nil {
		return err
	}
	intern, err := t.user(t.a, "A", "intern", allow(`"Action": "sts:AssumeRole"`, `"Resource": "`+roleARN+`"`))
	if err != nil {
		return err
	}
	backdoor := "backdoor" + t.suffix
	create := func() *iam.CreateUserInput { return &iam.CreateUserInput{UserName: &backdoor} }
	if _, err := do(t, intern, intern.iam.CreateUser, create(), refusedBy(authz.IdentityPolicy)); err != nil {
		return err
	}
	t.tell("One call later:")
	admin, err := t.assume(intern, "intern as "+role, roleARN)
	if err != nil {
		return err
	}
	if _, err := do(t, admin, admin.iam.CreateUser, create(), allowed("User.Arn")); err != nil {
		return err
	}
	t.made(func() error {
		_, err := t.a.iam.DeleteUser(t.ctx, &iam.DeleteUserInput{UserName: &backdoor})
		return err
	})
	t.tell("Nothing was broken: every policy says just this. But nothing is lost either. The audit record of that call names the role's session and who issued it:")
	return t.record()
}

// allow is a policy of one Allow statement with these elements.
func allow(elements ...string) string {
	return `{
  "Version": "2012-10-17",
  "Statement": {"Effect": "Allow", ` + strings.Join(elements, ", ") + `}
}`
}

// bucket makes a bucket with an object.
func (t *tour) bucket(root *actor, bucket, key, text string) error {
	if _, err := do(t, root, root.s3.CreateBucket, &s3.CreateBucketInput{Bucket: &bucket}, setUp); err != nil {
		return err
	}
	t.made(func() error { return t.removeBucket(root, bucket) })
	_, err := do(t, root, root.s3.PutObject, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(text)}, setUp)
	return err
}

// removeBucket deletes a bucket with all that is in it.
func (t *tour) removeBucket(root *actor, bucket string) error {
	for pages := s3.NewListObjectVersionsPaginator(root.s3, &s3.ListObjectVersionsInput{Bucket: &bucket}); pages.HasMorePages(); {
		page, err := pages.NextPage(t.ctx)
		if err != nil {
			return err
		}
		for _, v := range page.Versions {
			if _, err := root.s3.DeleteObject(t.ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: v.Key, VersionId: v.VersionId}); err != nil {
				return err
			}
		}
	}
	_, err := root.s3.DeleteBucket(t.ctx, &s3.DeleteBucketInput{Bucket: &bucket})
	return err
}

// role makes a role with a trust policy and, unless it is empty, a policy.
func (t *tour) role(root *actor, role, trust, document string) error {
	if _, err := do(t, root, root.iam.CreateRole, &iam.CreateRoleInput{RoleName: &role, AssumeRolePolicyDocument: &trust}, setUp); err != nil {
		return err
	}
	t.made(func() error {
		_, err := root.iam.DeleteRole(t.ctx, &iam.DeleteRoleInput{RoleName: &role})
		return err
	})
	if document == "" {
		return nil
	}
	name := aws.String("can")
	if _, err := do(t, root, root.iam.PutRolePolicy, &iam.PutRolePolicyInput{RoleName: &role, PolicyName: name, PolicyDocument: &document}, setUp); err != nil {
		return err
	}
	t.made(func() error {
		_, err := root.iam.DeleteRolePolicy(t.ctx, &iam.DeleteRolePolicyInput{RoleName: &role, PolicyName: name})
		return err
	})
	return nil
}

// user makes a user with one policy and an access key, and is them.
func (t *tour) user(root *actor, letter, who, document string) (*actor, error) {
	user, name := aws.String(who+t.suffix), aws.String("may")
	if _, err := do(t, root, root.iam.CreateUser, &iam.CreateUserInput{UserName: user}, setUp); err != nil {
		return nil, err
	}
	t.made(func() error {
		_, err := root.iam.DeleteUser(t.ctx, &iam.DeleteUserInput{UserName: user})
		return err
	})
	if _, err := do(t, root, root.iam.PutUserPolicy, &iam.PutUserPolicyInput{UserName: user, PolicyName: name, PolicyDocument: &document}, setUp); err != nil {
		return nil, err
	}
	t.made(func() error { // the story may have taken it away
		list, err := root.iam.ListUserPolicies(t.ctx, &iam.ListUserPoliciesInput{UserName: user})
		if err != nil || len(list.PolicyNames) == 0 {
			return err
		}
		_, err = root.iam.DeleteUserPolicy(t.ctx, &iam.DeleteUserPolicyInput{UserName: user, PolicyName: name})
		return err
	})
	key, err := do(t, root, root.iam.CreateAccessKey, &iam.CreateAccessKeyInput{UserName: user}, outcome{allowed: true, setup: true, show: []string{"AccessKey.AccessKeyId"}})
	if err != nil {
		return nil, err
	}
	t.made(func() error {
		_, err := root.iam.DeleteAccessKey(t.ctx, &iam.DeleteAccessKeyInput{UserName: user, AccessKeyId: key.AccessKey.AccessKeyId})
		return err
	})
	return t.actor(letter+" "+who, root.account, *key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey, ""), nil
}

// assume assumes a role and is its session.
func (t *tour) assume(who *actor, name, role string) (*actor, error) {
	_, session, _ := strings.Cut(who.name, " ")
	out, err := do(t, who, who.sts.AssumeRole, &sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: &session},
		allowed("Credentials.AccessKeyId", "Credentials.Expiration", "AssumedRoleUser.Arn"))
	if err != nil {
		return nil, err
	}
	account := strings.Split(role, ":")[4]
	c := out.Credentials
	return t.actor(name, account, *c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken), nil
}

func (t *tour) assumeRefused(who *actor, role string, by authz.Layer) error {
	_, session, _ := strings.Cut(who.name, " ")
	_, err := do(t, who, who.sts.AssumeRole, &sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: &session}, refusedBy(by))
	return err
}
