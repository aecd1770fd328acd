package lambda_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/iamd-dev/iamd/internal/awstest"
	"github.com/iamd-dev/iamd/internal/workload"
)

// allow gives the execution role a policy; "" takes it away.
func (a *account) allow(statement string) {
	a.t.Helper()
	client := a.server.IAM(a.server.Config(a.server.Root(awstest.DefaultAccount)))
	if _, err := client.PutRolePolicy(a.t.Context(), &iam.PutRolePolicyInput{RoleName: aws.String("execution"), PolicyName: aws.String("p"),
		PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":` + statement + `}`)}); err != nil {
		a.t.Fatal(err)
	}
}

// text is the answer of a function that answers with a text.
func (a *account) text(payload string) string {
	a.t.Helper()
	out := a.call("f", payload)
	var text string
	if err := json.Unmarshal(out.Payload, &text); err != nil {
		a.t.Fatalf("%s\n%s", out.Payload, logOf(out))
	}
	return text
}

// A function is its execution role, and can do what the role may: no less and no more.
func TestFunctionIsItsRole(t *testing.T) {
	t.Parallel()
	a := start(t)
	a.function("f", func(in *lambda.CreateFunctionInput) { in.Timeout = aws.Int32(30) })
	objects := a.server.S3(a.server.Config(a.server.Root(awstest.DefaultAccount)))
	if _, err := objects.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")}); err != nil {
		t.Fatal(err)
	}
	if _, err := objects.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k"), Body: strings.NewReader("hello")}); err != nil {
		t.Fatal(err)
	}
	if got, want := a.text(`{"Who":true}`), "arn:aws:sts::123456789012:assumed-role/execution/f_"; got != want {
		t.Errorf("it is %s, want %s", got, want)
	}
	if got := a.text(`{"Read":"bucket/k"}`); !strings.Contains(got, "AccessDenied") || !strings.Contains(got, "assumed-role/execution/f_ is not authorized to perform: s3:GetObject") {
		t.Errorf("without a permission it reads %s", got)
	}
	a.allow(`{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/k"}`)
	if got := a.text(`{"Read":"bucket/k"}`); got != "hello" {
		t.Errorf("with the permission it reads %s", got)
	}
	if got := a.text(`{"Read":"bucket/other"}`); !strings.Contains(got, "AccessDenied") {
		t.Errorf("what the role may not it reads: %s", got)
	}
}

// Credentials are not used until they expire: the environment is replaced before.
func TestCredentialsAreFresh(t *testing.T) {
	t.Parallel()
	a := start(t)
	a.function("f", func(in *lambda.CreateFunctionInput) { in.Timeout = aws.Int32(30) })
	first := a.answer("f", `{"Env":"AWS_ACCESS_KEY_ID"}`)
	a.server.Advance(50 * time.Minute)
	if again := a.answer("f", `{"Env":"AWS_ACCESS_KEY_ID"}`); again.Env != first.Env || again.N != 2 {
		t.Errorf("after 50 minutes: %+v, then %+v", first, again)
	}
	a.server.Advance(9 * time.Minute)
	if again := a.answer("f", `{"Env":"AWS_ACCESS_KEY_ID"}`); again.Env == first.Env || again.N != 1 {
		t.Errorf("a minute before they expire: %+v, then %+v", first, again)
	}
	// A role that no longer trusts Lambda starts no environment more.
	client := a.server.IAM(a.server.Config(a.server.Root(awstest.DefaultAccount)))
	if _, err := client.UpdateAssumeRolePolicy(t.Context(), &iam.UpdateAssumeRolePolicyInput{RoleName: aws.String("execution"),
		PolicyDocument: aws.String(strings.Replace(trust, "lambda.", "ec2.", 1))}); err != nil {
		t.Fatal(err)
	}
	a.server.Advance(time.Hour)
	_, err := a.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("f")})
	if code(err) != "AccessDeniedException" || !strings.Contains(err.Error(), "The role defined for the function cannot be assumed by Lambda.") {
		t.Errorf("got %v", err)
	}
}

// An alias with weights leads to both of its versions, and each runs as itself.
func TestWeightedAlias(t *testing.T) {
	t.Parallel()
	a := start(t)
	a.function("f")
	publish := func(description string) {
		t.Helper()
		if _, err := a.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("f"), Description: &description}); err != nil {
			t.Fatal(err)
		}
		if _, err := a.PublishVersion(t.Context(), &lambda.PublishVersionInput{FunctionName: aws.String("f")}); err != nil {
			t.Fatal(err)
		}
	}
	publish("one")
	publish("two")
	if _, err := a.CreateAlias(t.Context(), &lambda.CreateAliasInput{FunctionName: aws.String("f"), Name: aws.String("live"), FunctionVersion: aws.String("1"),
		RoutingConfig: &types.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{"2": 0.5}}}); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for range 60 {
		out := a.call("f:live", `{"Env":"AWS_LAMBDA_FUNCTION_VERSION"}`)
		var got answer
		if err := json.Unmarshal(out.Payload, &got); err != nil {
			t.Fatal(err)
		}
		if got.Env != *out.ExecutedVersion || got.ARN != "arn:aws:lambda:us-east-1:123456789012:function:f:live" {
			t.Fatalf("version %s answers as %s, invoked as %s", *out.ExecutedVersion, got.Env, got.ARN)
		}
		seen[got.Env]++
	}
	if len(seen) != 2 || seen["1"] < 5 || seen["2"] < 5 {
		t.Errorf("of 60 invocations: %v", seen)
	}
}

// An event that nobody waits for is tried three times, and then told to the bucket.
func TestAsynchronousFailure(t *testing.T) {
	t.Parallel()
	a := start(t)
	a.server.Functions.Retries = []time.Duration{time.Millisecond, time.Millisecond}
	a.function("f")
	a.function("after")
	a.answer("f", `{}`)
	root := a.server.Config(a.server.Root(awstest.DefaultAccount))
	objects := a.server.S3(root)
	if _, err := objects.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("failures")}); err != nil {
		t.Fatal(err)
	}
	a.allow(`[{"Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::failures/*"},{"Effect":"Allow","Action":"lambda:InvokeFunction","Resource":"*"}]`)
	if _, err := a.PutFunctionEventInvokeConfig(t.Context(), &lambda.PutFunctionEventInvokeConfigInput{FunctionName: aws.String("f"), DestinationConfig: &types.DestinationConfig{
		OnFailure: &types.OnFailure{Destination: aws.String("arn:aws:s3:::failures")},
		OnSuccess: &types.OnSuccess{Destination: aws.String("arn:aws:lambda:us-east-1:123456789012:function:after")}}}); err != nil {
		t.Fatal(err)
	}
	event := func(payload string) string {
		t.Helper()
		out, err := a.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("f"), InvocationType: types.InvocationTypeEvent, Payload: []byte(payload)})
		if err != nil || out.StatusCode != 202 || len(out.Payload) != 0 {
			t.Fatalf("got %+v, %v", out, err)
		}
		return ""
	}
	event(`{"Error":"again and again"}`)
	var key string
	for deadline := time.Now().Add(20 * time.Second); key == ""; time.Sleep(10 * time.Millisecond) {
		list, err := objects.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("failures")})
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Contents) > 0 {
			key = *list.Contents[0].Key
		}
		if time.Now().After(deadline) {
			t.Fatal("the bucket was not told")
		}
	}
	if !strings.HasPrefix(key, "aws/lambda/async/f/") {
		t.Errorf("the key is %s", key)
	}
	out, err := objects.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("failures"), Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	var record struct {
		RequestContext struct {
			FunctionArn, Condition string
			ApproximateInvokeCount int
		}
		RequestPayload, ResponsePayload map[string]any
		ResponseContext                 struct{ FunctionError string }
	}
	if err := json.NewDecoder(out.Body).Decode(&record); err != nil {
		t.Fatal(err)
	}
	c := record.RequestContext
	if c.Condition != "RetriesExhausted" || c.ApproximateInvokeCount != 3 || c.FunctionArn != "arn:aws:lambda:us-east-1:123456789012:function:f:$LATEST" ||
		record.RequestPayload["Error"] != "again and again" || record.ResponsePayload["errorMessage"] != "again and again" || record.ResponseContext.FunctionError != "Unhandled" {
		t.Errorf("the record is %+v", record)
	}
	// Success is told to the function after it, as the role may.
	event(`{"Answer":"well done"}`)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if got := a.answer("after", `{}`); got.N > 2 { // others have invoked it meanwhile
			break
		} else if time.Now().After(deadline) {
			t.Fatal("the function after it was not told")
		}
	}
}

// Where workloads are off, everything but running is there, and running says what to do.
func TestWorkloadsOff(t *testing.T) {
	t.Parallel()
	a := start(t)
	a.server.Workloads.Off = workload.ErrOff
	a.function("f")
	for _, kind := range []types.InvocationType{types.InvocationTypeRequestResponse, types.InvocationTypeEvent} {
		_, err := a.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("f"), InvocationType: kind})
		if code(err) != "NotImplemented" || !strings.Contains(err.Error(), "serve --workloads=process") {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if _, err := a.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("f"), InvocationType: types.InvocationTypeDryRun}); err != nil {
		t.Error(err)
	}
}

// zipOf is a zip with one entry.
func zipOf(t *testing.T, h *zip.FileHeader, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	if _, err := z.Create("index.py"); err != nil {
		t.Fatal(err)
	}
	w, err := z.CreateHeader(h)
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte(text))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A zip that would be unpacked elsewhere, or into everything, is refused, and leaves nothing.
func TestHostileZips(t *testing.T) {
	t.Parallel()
	a := start(t)
	a.function("f")
	link := func(name string) *zip.FileHeader {
		h := &zip.FileHeader{Name: name}
		h.SetMode(fs.ModeSymlink | 0o777)
		return h
	}
	device := &zip.FileHeader{Name: "null"}
	device.SetMode(fs.ModeDevice | fs.ModeCharDevice | 0o666)
	before := entries(t, a.server.Dir)
	for _, test := range []struct {
		name string
		zip  []byte
		want string
	}{
		{"a name that leads out", zipOf(t, &zip.FileHeader{Name: "../../evil"}, "x"), "Could not unzip"},
		{"a name that is a path of the machine", zipOf(t, &zip.FileHeader{Name: "/etc/evil"}, "x"), "Could not unzip"},
		{"a name with backslashes", zipOf(t, &zip.FileHeader{Name: `..\evil`}, "x"), "Could not unzip"},
		{"a link that leads out", zipOf(t, link("l"), "../../../etc/passwd"), "Could not unzip"},
		{"a link to a path of the machine", zipOf(t, link("l"), "/etc/passwd"), "Could not unzip"},
		{"a device", zipOf(t, device, ""), "Could not unzip"},
		{"a file that is a directory, too", zipOf(t, &zip.FileHeader{Name: "index.py/x"}, "x"), "Could not unzip"},
		{"a bomb", zipOf(t, &zip.FileHeader{Name: "bomb", Method: zip.Deflate}, strings.Repeat("\x00", 251<<20)), "Unzipped size must be smaller than 262144000 bytes"},
		{"nothing", zipOfNothing(t), "Uploaded file must be a non-empty zip"},
	} {
		_, err := a.UpdateFunctionCode(t.Context(), &lambda.UpdateFunctionCodeInput{FunctionName: aws.String("f"), ZipFile: test.zip})
		if code(err) != "InvalidParameterValueException" || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if after := entries(t, a.server.Dir); after != before {
		t.Errorf("directories: %d, then %d", before, after)
	}
	if _, err := a.UpdateFunctionCode(t.Context(), &lambda.UpdateFunctionCodeInput{FunctionName: aws.String("f"), ZipFile: zipOf(t, link("lib/l"), "../index.py")}); err != nil {
		t.Errorf("a link within: %v", err)
	}
}

func zipOfNothing(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := zip.NewWriter(&b).Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// After a stop, however it came, functions are there with their code, and code that no
// version has is not.
func TestRestart(t *testing.T) {
	t.Parallel()
	a := start(t)
	a.function("f")
	a.answer("f", `{}`)
	code := filepath.Join(a.server.Dir, "lambda", "code")
	left := []string{filepath.Join(code, awstest.DefaultAccount, strings.Repeat("0", 64)), filepath.Join(code, "new-1"), filepath.Join(code, "zip-1")}
	for _, dir := range left {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	a.server.Restart()
	for _, dir := range left {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s is still there", dir)
		}
	}
	if got := a.answer("f", `{}`); got.N != 1 {
		t.Errorf("got %+v", got)
	}
}

// A large body is read from those only who name a key that is there.
func TestLargeBodies(t *testing.T) {
	t.Parallel()
	a := start(t)
	a.function("f")
	in := &lambda.UpdateFunctionCodeInput{FunctionName: aws.String("f"), ZipFile: make([]byte, 2<<20)}
	if _, err := a.UpdateFunctionCode(t.Context(), in); code(err) != "InvalidParameterValueException" { // it is no zip
		t.Errorf("root: %v", err)
	}
	nobody := a.server.Lambda(a.server.Config(aws.Credentials{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "x"}))
	if _, err := nobody.UpdateFunctionCode(t.Context(), in); code(err) != "RequestEntityTooLarge" {
		t.Errorf("nobody: %v", err)
	}
}
