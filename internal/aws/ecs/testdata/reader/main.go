// Reader is a container of the tests: it reads an object with whatever credentials the
// SDK's default chain finds, and says who its task is.
//
//	reader BUCKET KEY
//	reader wait     tells its token and where its credentials are, and waits
//	reader ask      asks for credentials, its own and those of OTHER_URI and OTHER_TOKEN
//	reader serve    answers other containers of the task
//	reader call     asks the one that serves
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

func main() {
	token, uri := os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN"), os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
	switch os.Args[1] {
	case "wait":
		fmt.Println(token, uri)
		time.Sleep(time.Hour)
	case "ask":
		other := os.Getenv("OTHER_TOKEN")
		fmt.Printf("own %s, without %s, other %s, other's %s", status(uri, token), status(uri, ""), status(uri, other), status(os.Getenv("OTHER_URI"), other))
		os.Exit(1) // so that what it wrote is shown
	case "serve":
		http.ListenAndServe("127.0.0.1:8080", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "the side answers") }))
		os.Exit(1)
	case "call":
		for {
			if r, err := http.Get("http://127.0.0.1:8080"); err == nil {
				io.Copy(os.Stdout, r.Body)
				os.Exit(1)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	if err := read(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// status is that of what a credentials endpoint answers.
func status(uri, token string) string {
	r, err := http.NewRequest(http.MethodGet, uri, nil)
	if err != nil {
		return err.Error()
	}
	if token != "" {
		r.Header.Set("Authorization", token)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err.Error()
	}
	answer.Body.Close()
	return strconv.Itoa(answer.StatusCode)
}

func read(ctx context.Context, bucket, key string) error {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	who, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return err
	}
	fmt.Println(*who.Arn)
	object, err := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }).GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return err
	}
	defer object.Body.Close()
	body, err := io.ReadAll(object.Body)
	if err != nil {
		return err
	}
	answer, err := http.Get(os.Getenv("ECS_CONTAINER_METADATA_URI_V4") + "/task")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var task struct{ TaskARN, Family, Revision string }
	if err := json.NewDecoder(answer.Body).Decode(&task); err != nil {
		return err
	}
	without, err := http.Get(os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI"))
	if err != nil {
		return err
	}
	defer without.Body.Close()
	fmt.Printf("%s by %s:%s %s, without the token %d\n", body, task.Family, task.Revision, task.TaskARN, without.StatusCode)
	os.Exit(2) // so that what it wrote is shown
	return nil
}
