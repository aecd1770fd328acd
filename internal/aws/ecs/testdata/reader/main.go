// Reader is a container of the tests: it reads an object with whatever credentials the
// SDK's default chain finds, and says who its task is.
//
//	reader BUCKET KEY
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

func main() {
	if err := read(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
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
