package main

import (
	"archive/zip"
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamodbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"github.com/iamd-dev/iamd/internal/audit"
	"github.com/iamd-dev/iamd/internal/authz"
)

//go:embed tourfunction/app.py
var tourFunction string

// passing: a role that is passed to Lambda, and the three permissions that takes.
func (t *tour) passing() error {
	t.title("4. Passing a role: the other half of delegation")
	table, role, function := "notes"+t.suffix, "NotesRole"+t.suffix, "notes"+t.suffix
	roleARN := fmt.Sprintf("arn:aws:iam::%s:role/%s", t.a.account, role)
	trust := func(service string) string {
		return allow(`"Principal": {"Service": "`+service+`"}`, `"Action": "sts:AssumeRole"`)
	}

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
	if err := t.role(t.a, role, trust("ec2.amazonaws.com"), allow(`"Action": ["dynamodb:PutItem", "dynamodb:GetItem"]`,
		fmt.Sprintf(`"Resource": "arn:aws:dynamodb:%s:%s:table/%s"`, defaultRegion, t.a.account, table))); err != nil {
		return err
	}

	t.tell("The developer, dan, may do nothing yet. He needs the permission to make functions ...")
	dan, err := t.user(t.a, "A", "dan", allow(`"Action": "lambda:GetFunction*"`, `"Resource": "*"`))
	if err != nil {
		return err
	}
	code, err := zipped("app.py", tourFunction)
	if err != nil {
		return err
	}
	create := func() *lambda.CreateFunctionInput {
		return &lambda.CreateFunctionInput{FunctionName: &function, Runtime: lambdatypes.RuntimePython313, Handler: aws.String("app.handler"), Role: &roleARN, Code: &lambdatypes.FunctionCode{ZipFile: code}}
	}
	may := func(statements string) error {
		document := `{
  "Version": "2012-10-17",
  "Statement": [
    {"Effect": "Allow", "Action": ["lambda:CreateFunction", "lambda:GetFunction*", "lambda:InvokeFunction", "lambda:UpdateFunctionConfiguration"], "Resource": "*"}` + statements + `
  ]
}`
		_, err := do(t, t.a, t.a.iam.PutUserPolicy, &iam.PutUserPolicyInput{UserName: aws.String("dan" + t.suffix), PolicyName: aws.String("may"), PolicyDocument: &document}, setUp)
		return err
	}
	pass := func(service string) string {
		return `,
    {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "` + roleARN + `", "Condition": {"StringEquals": {"iam:PassedToService": "` + service + `"}}}`
	}
	if _, err := do(t, dan, dan.lambda.CreateFunction, create(), refusedBy(authz.IdentityPolicy)); err != nil {
		return err
	}
	t.tell("... and the permission to pass this role. Without it whoever makes functions could act as any role of the account.")
	if err := may(""); err != nil {
		return err
	}
	if _, err := do(t, dan, dan.lambda.CreateFunction, create(), refusedBy(authz.IdentityPolicy)); err != nil {
		return err
	}
	t.tell("He may pass it, but to another service:")
	if err := may(pass("ecs-tasks.amazonaws.com")); err != nil {
		return err
	}
	if _, err := do(t, dan, dan.lambda.CreateFunction, create(), refusedBy(authz.IdentityPolicy)); err != nil {
		return err
	}
	t.tell("Now he may pass it to Lambda. The third permission is the role's: it must trust Lambda, and does not. His own calls are allowed; what fails is Lambda's attempt to assume the role.")
	if err := may(pass("lambda.amazonaws.com")); err != nil {
		return err
	}
	if _, err := do(t, dan, dan.lambda.CreateFunction, create(), outcome{fails: "InvalidParameterValueException"}); err != nil {
		return err
	}
	if err := t.trace(dan); err != nil {
		return err
	}
	t.tell("The administrator mends the trust policy, and it works.")
	mended := trust("lambda.amazonaws.com")
	if _, err := do(t, t.a, t.a.iam.UpdateAssumeRolePolicy, &iam.UpdateAssumeRolePolicyInput{RoleName: &role, PolicyDocument: &mended}, setUp); err != nil {
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
	t.title("5. The forbidden pass")
	role, function := "TheAdminRole"+t.suffix, "mine"+t.suffix
	roleARN := fmt.Sprintf("arn:aws:iam::%s:role/%s", t.a.account, role)
	app := fmt.Sprintf("arn:aws:iam::%s:role/app-*", t.a.account)

	t.tell("A role that may do everything, and that Lambda may assume. Whoever can hand it to a function of their own is an administrator. eve may make functions, and pass the roles that are called app-*, to ECS tasks.")
	if err := t.role(t.a, role, allow(`"Principal": {"Service": "lambda.amazonaws.com"}`, `"Action": "sts:AssumeRole"`), allow(`"Action": "*"`, `"Resource": "*"`)); err != nil {
		return err
	}
	eve, err := t.user(t.a, "A", "eve", `{
  "Version": "2012-10-17",
  "Statement": [
    {"Effect": "Allow", "Action": "lambda:*", "Resource": "*"},
    {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "`+app+`", "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}}
  ]
}`)
	if err != nil {
		return err
	}
	code, err := zipped("app.py", tourFunction)
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
	t.tell("The name was wrong. With a role that she may pass, the service is:")
	appRole := "app-worker" + t.suffix
	if err := t.role(t.a, appRole, allow(`"Principal": {"Service": "lambda.amazonaws.com"}`, `"Action": "sts:AssumeRole"`), ""); err != nil {
		return err
	}
	create.Role = aws.String(fmt.Sprintf("arn:aws:iam::%s:role/%s", t.a.account, appRole))
	if _, err := do(t, eve, eve.lambda.CreateFunction, create, refusedBy(authz.IdentityPolicy)); err != nil {
		return err
	}
	t.tell("Why, in full:")
	return t.explain(eve)
}

// notHere reports whether a step failed because this machine or this server has not what
// it takes, says so, and counts the story as left out.
func (t *tour) notHere(err error) bool {
	var refused smithy.APIError
	if !errors.As(err, &refused) || refused.ErrorCode() != "NotImplemented" && refused.ErrorCode() != "NotImplementedException" {
		return false
	}
	t.leftOut++
	t.tell("The rest of this story is left out here: %s", refused.ErrorMessage())
	return true
}

// trace prints what the last call led to, where the audit log can be read.
func (t *tour) trace(who *actor) error {
	dir := filepath.Join(t.target.data, "audit")
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		t.tell("(iamd trace %s, on the server's machine, prints what it led to.)", t.lastRequest)
		return nil
	}
	time.Sleep(recordDelay)
	top, asked, err := audit.Trace(dir, t.lastRequest)
	if err != nil {
		return fmt.Errorf("tracing: %w", err)
	}
	t.say("")
	t.say("%s iamd trace %s", t.paint("36", who.name+" $"), t.lastRequest)
	as := *t.target
	as.profile = rootPrefix + who.account
	p := &tracePrinter{w: t.w, color: t.color, asked: asked.RequestID, ctx: t.ctx, target: &as}
	p.node(top, "    ", "    ", "")
	return p.err
}

// zipped is an archive of one file.
func zipped(name, text string) ([]byte, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: name, Method: zip.Deflate}
	h.SetMode(0o644)
	w, err := z.CreateHeader(h)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write([]byte(text)); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
