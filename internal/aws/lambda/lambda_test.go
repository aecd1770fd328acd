package lambda_test

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"github.com/iamd-dev/iamd/internal/awstest"
	"github.com/iamd-dev/iamd/internal/workload"
)

// The tests' executable keeps the functions.
func TestMain(m *testing.M) {
	workload.Keep()
	os.Exit(m.Run())
}

func Test(t *testing.T) { awstest.Scripts(t) }

// bootstrap is testdata/bootstrap as a zip.
var bootstrap = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "bootstrap")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "bootstrap")
	cmd := exec.Command("go", "build", "-o", path, "./testdata/bootstrap")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return zipped(map[string]string{"bootstrap": string(text)}), nil
})

// zipped is a zip of files that may be run.
func zipped(files map[string]string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range files {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(0o755)
		w, err := z.CreateHeader(h)
		if err != nil {
			panic(err)
		}
		w.Write([]byte(text))
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// An account is one with an execution role, and a client.
type account struct {
	*lambda.Client
	t      *testing.T
	server *awstest.Server
	role   string
}

const trust = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}`

func start(t *testing.T) *account {
	t.Helper()
	server := awstest.Start(t)
	cfg := server.Config(server.Root(awstest.DefaultAccount))
	role, err := server.IAM(cfg).CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("execution"), AssumeRolePolicyDocument: aws.String(trust)})
	if err != nil {
		t.Fatal(err)
	}
	return &account{server.Lambda(cfg), t, server, *role.Role.Arn}
}

// make makes a function.
func (a *account) make(name, runtime, handler string, code []byte, change ...func(*lambda.CreateFunctionInput)) {
	a.t.Helper()
	in := &lambda.CreateFunctionInput{FunctionName: &name, Runtime: types.Runtime(runtime), Handler: &handler, Role: &a.role, Code: &types.FunctionCode{ZipFile: code}}
	for _, f := range change {
		f(in)
	}
	if _, err := a.CreateFunction(a.t.Context(), in); err != nil {
		a.t.Fatal(err)
	}
}

// function makes a function of testdata/bootstrap.
func (a *account) function(name string, change ...func(*lambda.CreateFunctionInput)) {
	a.t.Helper()
	code, err := bootstrap()
	if err != nil {
		a.t.Fatal(err)
	}
	a.make(name, "provided.al2023", "bootstrap", code, change...)
}

// call invokes a function. Where the machine runs no workloads the test is skipped.
func (a *account) call(name, payload string) *lambda.InvokeOutput {
	a.t.Helper()
	out, err := a.Invoke(a.t.Context(), &lambda.InvokeInput{FunctionName: &name, Payload: []byte(payload), LogType: types.LogTypeTail})
	if err != nil && strings.Contains(err.Error(), "namespaces") {
		a.t.Skip(err)
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return out
}

func logOf(out *lambda.InvokeOutput) string {
	text, _ := base64.StdEncoding.DecodeString(aws.ToString(out.LogResult))
	return string(text)
}

// an answer of testdata/bootstrap.
type answer struct {
	N, Pid       int
	Event        map[string]any
	ARN, Env, ID string
}

func (a *account) answer(name, payload string) (got answer) {
	a.t.Helper()
	out := a.call(name, payload)
	if out.FunctionError != nil {
		a.t.Fatalf("%s: %s\n%s", *out.FunctionError, out.Payload, logOf(out))
	}
	if err := json.Unmarshal(out.Payload, &got); err != nil {
		a.t.Fatal(err, string(out.Payload))
	}
	return got
}

func TestInvoke(t *testing.T) {
	t.Parallel()
	a := start(t)
	a.function("f", func(in *lambda.CreateFunctionInput) {
		in.Environment = &types.Environment{Variables: map[string]string{"COLOUR": "blue"}}
	})
	first := a.answer("f", `{"Env":"COLOUR"}`)
	if first.N != 1 || first.Env != "blue" || first.ARN != "arn:aws:lambda:us-east-1:123456789012:function:f" || first.Event["Env"] != "COLOUR" {
		t.Errorf("got %+v", first)
	}
	// The environment is used again, and its variables are Lambda's.
	for name, want := range map[string]string{
		"AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
		"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "_HANDLER": "bootstrap", "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
		"AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f", "AWS_EXECUTION_ENV": "AWS_Lambda_provided.al2023", "TZ": ":UTC",
		"LAMBDA_TASK_ROOT": "/mnt", "AWS_ENDPOINT_URL": "http://127.0.0.1:4600",
	} {
		if got := a.answer("f", `{"Env":"`+name+`"}`); got.Env != want || got.N == 1 {
			t.Errorf("%s is %q, want %q; invocation %d", name, got.Env, want, got.N)
		}
	}
	out := a.call("f", `{"Print":"hello"}`)
	for _, want := range []string{"START RequestId: ", " Version: $LATEST\nhello\nEND RequestId: ", "\nREPORT RequestId: ", "Memory Size: 128 MB"} {
		if !strings.Contains(logOf(out), want) {
			t.Errorf("the log is %q, without %q", logOf(out), want)
		}
	}
	if *out.ExecutedVersion != "$LATEST" || out.StatusCode != 200 {
		t.Errorf("got %d of version %s", out.StatusCode, *out.ExecutedVersion)
	}
	// With other variables, it is another environment.
	if _, err := a.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("f"),
		Environment: &types.Environment{Variables: map[string]string{"COLOUR": "red"}}}); err != nil {
		t.Fatal(err)
	}
	if got := a.answer("f", `{"Env":"COLOUR"}`); got.Env != "red" || got.N != 1 {
		t.Errorf("after the update: %+v", got)
	}
}

func TestFunctionErrors(t *testing.T) {
	t.Parallel()
	a := start(t)
	second := func(in *lambda.CreateFunctionInput) { in.Timeout = aws.Int32(1) }
	a.function("f", second)
	a.function("broken", func(in *lambda.CreateFunctionInput) {
		in.Environment = &types.Environment{Variables: map[string]string{"FAIL_INIT": "1"}}
	})
	a.make("empty", "provided.al2", "bootstrap", zipped(map[string]string{"readme": "nothing to run"}))
	for _, test := range []struct{ name, function, payload, want, log string }{
		{"an error of its own", "f", `{"Error":"so it is"}`, `{"errorType":"Told","errorMessage":"so it is"}`, "END RequestId"},
		{"an exit", "f", `{"Exit":3}`, `"errorType":"Runtime.ExitError"`, "REPORT"},
		{"its status is told", "f", `{"Exit":4}`, `Runtime exited with error: exit status 4`, "REPORT"},
		{"too long", "f", `{"Sleep":60000}`, `Task timed out after 1.00 seconds`, "Task timed out after 1.00 seconds"},
		{"an initialization that fails", "broken", `{}`, `{"errorType":"Init.Failed","errorMessage":"as told"}`, "REPORT"},
		{"no bootstrap", "empty", `{}`, `"errorType":"Runtime.InvalidEntrypoint"`, ""},
		{"more memory than it has", "f", `{"Grow":2000}`, `"errorType":"Runtime.ExitError"`, "REPORT"},
	} {
		out := a.call(test.function, test.payload)
		if aws.ToString(out.FunctionError) != "Unhandled" || !strings.Contains(string(out.Payload), test.want) || !strings.Contains(logOf(out), test.log) {
			t.Errorf("%s: %s %s\n%s", test.name, aws.ToString(out.FunctionError), out.Payload, logOf(out))
		}
	}
	// None of it is in the way of the next.
	if got := a.answer("f", `{}`); got.N != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestInterpreters(t *testing.T) {
	t.Parallel()
	a := start(t)
	a.make("python", "python3.12", "app.handlers.main", zipped(map[string]string{"app/__init__.py": "", "app/handlers.py": `
import logging, os
def main(event, context):
    print("printed")
    logging.getLogger().warning("logged")
    if event.get("fail"):
        raise ValueError("no " + event["fail"])
    return {"got": event, "name": context.function_name, "version": context.function_version, "left": context.get_remaining_time_in_millis() > 0,
            "key": os.environ["AWS_ACCESS_KEY_ID"][:4]}
`}))
	a.make("node", "nodejs22.x", "index.handler", zipped(map[string]string{"index.mjs": `
export const handler = async (event, context) => {
  console.log('printed');
  if (event.fail) throw new RangeError('no ' + event.fail);
  return { got: event, name: context.functionName, version: context.functionVersion, left: context.getRemainingTimeInMillis() > 0, key: process.env.AWS_ACCESS_KEY_ID.slice(0, 4) };
};
`}))
	a.make("callback", "nodejs22.x", "lib/index.run", zipped(map[string]string{"lib/index.js": `
exports.run = (event, context, callback) => setTimeout(() => callback(null, event.n + 1), 1);
`}))
	a.make("missing", "python3.12", "index.handler", zipped(map[string]string{"other.py": ""}))
	a.make("nohandler", "nodejs22.x", "index.handler", zipped(map[string]string{"index.js": "exports.other = 1"}))
	a.make("java", "java21", "a.B::c", zipped(map[string]string{"x": ""}))

	have := func(program string) bool {
		_, err := a.server.Workloads.LookPath(program)
		return err == nil
	}
	for _, test := range []struct{ program, function, payload, want, failed, log string }{
		{"python3", "python", `{"a":1}`, `{"got": {"a": 1}, "name": "python", "version": "$LATEST", "left": true, "key": "ASIA"}`, "", "printed\n[WARNING]"},
		{"python3", "python", `{"fail":"reason"}`, `{"errorMessage": "no reason", "errorType": "ValueError"`, "Unhandled", "ValueError: no reason"},
		{"python3", "missing", `{}`, `"Runtime.ImportModuleError"`, "Unhandled", "Unable to import module 'index'"},
		{"node", "node", `{"a":1}`, `{"got":{"a":1},"name":"node","version":"$LATEST","left":true,"key":"ASIA"}`, "", "\tINFO\tprinted"},
		{"node", "node", `{"fail":"reason"}`, `{"errorType":"RangeError","errorMessage":"no reason"`, "Unhandled", "RangeError"},
		{"node", "callback", `{"n":1}`, `2`, "", ""},
		{"node", "nohandler", `{}`, `"errorType":"Runtime.HandlerNotFound"`, "Unhandled", ""},
	} {
		if !have(test.program) {
			t.Logf("there is no %s", test.program)
			continue
		}
		out := a.call(test.function, test.payload)
		if !strings.HasPrefix(string(out.Payload), test.want) && !strings.Contains(string(out.Payload), test.want) ||
			aws.ToString(out.FunctionError) != test.failed || !strings.Contains(logOf(out), test.log) {
			t.Errorf("%s %s: %s %s\n%s", test.function, test.payload, aws.ToString(out.FunctionError), out.Payload, logOf(out))
		}
	}
	_, err := a.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("java")})
	if err == nil || !strings.Contains(err.Error(), "iamd does not run functions in java21") {
		t.Errorf("got %v", err)
	}
}

// code is the code of an AWS error.
func code(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return fmt.Sprint(err)
}

func TestReservedConcurrency(t *testing.T) {
	t.Parallel()
	a := start(t)
	a.function("f", func(in *lambda.CreateFunctionInput) { in.Timeout = aws.Int32(60) })
	a.answer("f", `{}`)
	reserve := func(n int32) {
		t.Helper()
		if _, err := a.PutFunctionConcurrency(t.Context(), &lambda.PutFunctionConcurrencyInput{FunctionName: aws.String("f"), ReservedConcurrentExecutions: &n}); err != nil {
			t.Fatal(err)
		}
	}
	reserve(0)
	_, err := a.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("f")})
	if throttled, ok := errors.AsType[*types.TooManyRequestsException](err); !ok || throttled.Reason != types.ThrottleReasonReservedFunctionConcurrentInvocationLimitExceeded {
		t.Errorf("got %v", err)
	}
	reserve(1)
	results := make(chan error)
	for range 2 {
		go func() {
			_, err := a.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("f"), Payload: []byte(`{"Sleep":1000}`)})
			results <- err
		}()
	}
	if one, other := <-results, <-results; code(one) != "TooManyRequestsException" || other != nil { // the one that is refused is answered first
		t.Errorf("two at once: %v and %v", one, other)
	}
}

// A thousand invocations leave what one leaves.
func TestThousandInvocationsLeakNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("a thousand invocations")
	}
	a := start(t)
	a.function("f")
	first := a.answer("f", `{}`)
	before, dirs := resources(t), entries(t, a.server.Dir)
	for range 1000 {
		a.answer("f", `{}`)
	}
	last := a.answer("f", `{}`)
	if last.N != first.N+1001 || last.Pid != first.Pid {
		t.Errorf("it ran in another environment: %+v, then %+v", first, last)
	}
	for range 20 { // and as many that end their environment
		a.call("f", `{"Exit":1}`)
	}
	a.answer("f", `{}`)
	var after [2]int
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if after = resources(t); after[0] <= before[0]+5 && after[1] <= before[1]+5 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("goroutines and descriptors: %v, then %v", before, after)
		}
	}
	if now := entries(t, a.server.Dir); now != dirs {
		t.Errorf("directories: %d, then %d", dirs, now)
	}
}

// entries is how many directories of code and environments there are, and packages.
func entries(t *testing.T, dir string) int {
	n := 0
	for _, sub := range []string{"workloads", "lambda/code"} {
		err := filepath.WalkDir(filepath.Join(dir, sub), func(_ string, d fs.DirEntry, err error) error {
			if err == nil && (d.IsDir() || strings.HasSuffix(d.Name(), ".zip")) {
				n++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return n
}
