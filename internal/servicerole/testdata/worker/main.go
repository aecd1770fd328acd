// Worker is a workload that goes on: again and again it writes an object, named after the
// access key with which it does, with the credentials that the SDK's default chain finds. It
// ends when it cannot. As a function it writes one object for each event, and answers with
// its name.
//
//	worker BUCKET
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

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func main() {
	ctx := context.Background()
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		fail(err)
	}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	if api := os.Getenv("AWS_LAMBDA_RUNTIME_API"); api != "" {
		serve("http://"+api+"/2018-06-01/runtime/invocation/", func() (string, error) { return work(ctx, cfg, client, os.Getenv("BUCKET")) })
	}
	for {
		if _, err := work(ctx, cfg, client, os.Args[1]); err != nil {
			fail(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func fail(err error) {
	fmt.Println("the work failed:", err)
	os.Exit(1)
}

// work writes the object. One client makes all the calls.
func work(ctx context.Context, cfg aws.Config, client *s3.Client, bucket string) (string, error) {
	c, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return "", err
	}
	_, err = client.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &c.AccessKeyID, Body: strings.NewReader(time.Now().Format(time.RFC3339Nano))})
	return c.AccessKeyID, err
}

func serve(api string, work func() (string, error)) {
	for {
		resp, err := http.Get(api + "next")
		if err != nil {
			fail(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		name, err := work()
		if err != nil {
			name = err.Error()
		}
		answer, _ := json.Marshal(name)
		if resp, err = http.Post(api+resp.Header.Get("Lambda-Runtime-Aws-Request-Id")+"/response", "application/json", bytes.NewReader(answer)); err == nil {
			resp.Body.Close()
		}
	}
}
