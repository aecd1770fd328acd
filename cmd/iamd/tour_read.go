package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/spf13/cobra"
)

// readerName is the program that the tour runs in tasks and instances.
const readerName = "tour-read"

func newTourRead() *cobra.Command {
	return &cobra.Command{
		Use:    readerName + " s3://BUCKET/KEY...",
		Short:  "Say who one is, and read objects",
		Hidden: true, // it is for what the tour runs
		Long: `Tour-read says who it is and reads objects, with whatever credentials the SDK's
default chain finds: it knows nothing of iamd. It ends with status 1 if it may not
read one of them.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return readAll(cmd.Context(), cmd.OutOrStdout(), args) },
	}
}

func readAll(ctx context.Context, w io.Writer, objects []string) error {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	who, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "I am %s\n", *who.Arn)
	client := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	var refused error
	for _, object := range objects {
		bucket, key, _ := strings.Cut(strings.TrimPrefix(object, "s3://"), "/")
		out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
		var known smithy.APIError
		if errors.As(err, &known) {
			refused = errRefused
			fmt.Fprintf(w, "%s: %s\n", object, known.ErrorCode())
			continue
		}
		if err != nil {
			return err
		}
		text, err := io.ReadAll(out.Body)
		out.Body.Close()
		if err != nil {
			return fmt.Errorf("reading %s: %w", object, err)
		}
		fmt.Fprintf(w, "%s: %s\n", object, text)
	}
	return refused
}
