// Bootstrap is a function for a provided runtime, as the tests need it: it does what its
// event says.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

type event struct {
	Print  string // to standard output
	Sleep  int    // milliseconds
	Exit   *int
	Error  string
	Env    string // the variable to answer with
	Answer json.RawMessage
	Grow   int    // megabytes to take
	Who    bool   // answer with who the SDK's default credentials are
	Read   string // answer with this object, BUCKET/KEY
}

// ask asks iamd as the function's role, by the SDK's default chain.
func ask(e event) (string, error) {
	ctx := context.Background()
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return "", err
	}
	if e.Who {
		out, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			return "", err
		}
		return *out.Arn, nil
	}
	bucket, key, _ := strings.Cut(e.Read, "/")
	out, err := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }).GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(out.Body)
	return string(text), err
}

func main() {
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/"
	if os.Getenv("FAIL_INIT") != "" {
		post(api+"init/error", []byte(`{"errorType":"Init.Failed","errorMessage":"as told"}`))
		os.Exit(1)
	}
	var kept [][]byte
	for n := 1; ; n++ {
		resp, err := http.Get(api + "invocation/next")
		if err != nil {
			panic(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			panic(err)
		}
		resp.Body.Close()
		id := resp.Header.Get("Lambda-Runtime-Aws-Request-Id")
		var e event
		json.Unmarshal(body, &e)
		if e.Print != "" {
			fmt.Println(e.Print)
		}
		if e.Grow > 0 {
			b := make([]byte, e.Grow<<20)
			for i := range b {
				b[i] = 1
			}
			kept = append(kept, b)
		}
		time.Sleep(time.Duration(e.Sleep) * time.Millisecond)
		if e.Exit != nil {
			os.Exit(*e.Exit)
		}
		if e.Error != "" {
			post(api+"invocation/"+id+"/error", []byte(`{"errorType":"Told","errorMessage":"`+e.Error+`"}`))
			continue
		}
		answer := e.Answer
		if e.Who || e.Read != "" {
			text, err := ask(e)
			if err != nil {
				text = err.Error()
			}
			answer, _ = json.Marshal(text)
		}
		if answer == nil {
			answer, _ = json.Marshal(map[string]any{
				"n": n, "pid": os.Getpid(), "event": json.RawMessage(body), "arn": resp.Header.Get("Lambda-Runtime-Invoked-Function-Arn"),
				"env": os.Getenv(e.Env), "id": id,
			})
		}
		post(api+"invocation/"+id+"/response", answer)
	}
}

func post(url string, body []byte) {
	resp, err := http.Post(url, "application/json", bytes.NewReader(body))
	if err == nil {
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}
