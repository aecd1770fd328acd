package lambda_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/smithy-go"
)

// load asks a URL as curl does.
func load(t *testing.T, method, url string, headers ...string) (int, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

// Who may get a function can load its package for ten minutes, and nobody else can.
func TestCodeLocation(t *testing.T) {
	t.Parallel()
	a := start(t)
	first, second := zipped(map[string]string{"index.py": "first"}), zipped(map[string]string{"index.py": "second"})
	a.make("f", "python3.12", "index.handler", first)
	if _, err := a.PublishVersion(t.Context(), &lambda.PublishVersionInput{FunctionName: aws.String("f")}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.UpdateFunctionCode(t.Context(), &lambda.UpdateFunctionCodeInput{FunctionName: aws.String("f"), ZipFile: second}); err != nil {
		t.Fatal(err)
	}
	location := func(qualifier *string) string {
		t.Helper()
		out, err := a.GetFunction(t.Context(), &lambda.GetFunctionInput{FunctionName: aws.String("f"), Qualifier: qualifier})
		if err != nil {
			t.Fatal(err)
		}
		if aws.ToString(out.Code.RepositoryType) != "S3" || !strings.HasPrefix(aws.ToString(out.Code.Location), a.server.URL+"/") {
			t.Fatalf("the code is at %+v", out.Code)
		}
		return *out.Code.Location
	}
	old, now := location(aws.String("1")), location(nil)
	for _, test := range []struct {
		url  string
		want []byte
	}{{old, first}, {now, second}, {location(aws.String("$LATEST")), second}} {
		if status, body := load(t, "GET", test.url); status != 200 || !bytes.Equal(body, test.want) {
			t.Errorf("%d, and %d bytes that are not those that were given", status, len(body))
		}
	}
	if status, body := load(t, "GET", now, "Range", "bytes=0-3"); status != 206 || !bytes.Equal(body, second[:4]) {
		t.Errorf("a part: %d %q", status, body)
	}
	if status, body := load(t, "HEAD", now); status != 200 || len(body) != 0 {
		t.Errorf("HEAD: %d %q", status, body)
	}
	a.server.Restart()
	if status, _ := load(t, "GET", now); status != 200 {
		t.Errorf("after a restart: %d", status)
	}

	// It is good under any name of the server, also one that could be a bucket's.
	named, err := http.NewRequest("GET", now, nil)
	if err != nil {
		t.Fatal(err)
	}
	named.Host = "lambda.localhost"
	if answer, err := http.DefaultClient.Do(named); err != nil {
		t.Error(err)
	} else if answer.Body.Close(); answer.StatusCode != 200 {
		t.Errorf("as %s: %d", named.Host, answer.StatusCode)
	}

	// What was not given by GetFunction is nothing.
	at := strings.LastIndex(now, "/")
	other := "A"
	if strings.HasSuffix(now[:at], "A") {
		other = "B"
	}
	prefix := a.server.URL + "/_code/"
	for name, url := range map[string]string{
		"changed":        now[:at-1] + other + now[at:],
		"cut":            now[:at-10] + now[at:],
		"empty":          prefix,
		"a hash":         prefix + "00/f.zip",
		"a path":         prefix + "../../etc/passwd",
		"an escaped one": prefix + "..%2f..%2fmaster.key/f.zip",
		"below":          now + "/more",
		"without a name": now[:at+1],
	} {
		if status, body := load(t, "GET", url); status == 200 || bytes.Contains(body, []byte("PK")) {
			t.Errorf("%s: %d %q", name, status, body)
		}
	}
	if status, _ := load(t, "PUT", now); status/100 == 2 {
		t.Errorf("PUT: %d", status)
	}

	// Somebody without the permission gets no URL.
	client := a.server.IAM(a.server.Config(a.server.Root("123456789012")))
	if _, err := client.CreateUser(t.Context(), &iam.CreateUserInput{UserName: aws.String("nobody")}); err != nil {
		t.Fatal(err)
	}
	key, err := client.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: aws.String("nobody")})
	if err != nil {
		t.Fatal(err)
	}
	nobody := a.server.Lambda(a.server.Config(aws.Credentials{AccessKeyID: *key.AccessKey.AccessKeyId, SecretAccessKey: *key.AccessKey.SecretAccessKey}))
	var refused smithy.APIError
	if out, err := nobody.GetFunction(t.Context(), &lambda.GetFunctionInput{FunctionName: aws.String("f")}); !errors.As(err, &refused) || refused.ErrorCode() != "AccessDeniedException" {
		t.Errorf("somebody without permissions: %+v, %v", out, err)
	}

	a.server.Advance(9 * time.Minute)
	late := location(nil)
	if status, _ := load(t, "GET", now); status != 200 {
		t.Errorf("after nine minutes: %d", status)
	}
	a.server.Advance(61 * time.Second)
	if status, body := load(t, "GET", now); status != 403 || !bytes.Contains(body, []byte("<Code>AccessDenied</Code><Message>Request has expired</Message>")) {
		t.Errorf("after ten minutes: %d %s", status, body)
	}

	// Code that no version has is nobody's any more.
	if _, err := a.DeleteFunction(t.Context(), &lambda.DeleteFunctionInput{FunctionName: aws.String("f")}); err != nil {
		t.Fatal(err)
	}
	for over := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		status, body := load(t, "GET", late)
		if status == 404 {
			break
		}
		if time.Now().After(over) {
			t.Fatalf("the code of a function that was deleted: %d %q", status, body)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(a.server.Dir, "lambda", "code", "*", "*.zip")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
