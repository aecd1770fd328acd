package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/iamd-dev/iamd/internal/awstest"
)

func TestUpstreamSettings(t *testing.T) {
	dir := t.TempDir()
	keys := filepath.Join(dir, "keys")
	if err := os.WriteFile(keys, []byte("[s3]\naws_access_key_id = a\naws_secret_access_key = b\n[dynamodb-111122223333]\naws_access_key_id = a\naws_secret_access_key = b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		set  upstreamSettings
		want string
	}{
		{"none", upstreamSettings{}, ""},
		{"both", upstreamSettings{s3: "https://store", s3Owner: "111122223333", dynamodb: []string{"111122223333=http://tables:8000"}, credentials: keys}, ""},
		{"without keys", upstreamSettings{s3: "https://store"}, "need --upstreams-credentials"},
		{"keys for nothing", upstreamSettings{credentials: keys}, "neither --upstreams-s3 nor"},
		{"no file", upstreamSettings{s3: "https://store", credentials: keys + "x"}, "there is no"},
		{"no profile", upstreamSettings{dynamodb: []string{"444455556666=http://t"}, credentials: keys}, "no profile [dynamodb-444455556666]"},
		{"no URL", upstreamSettings{s3: "store:9000", credentials: keys}, "is not a URL"},
		{"a password in it", upstreamSettings{s3: "http://a:b@store", credentials: keys}, "is not a URL"},
		{"no account", upstreamSettings{dynamodb: []string{"http://t"}, credentials: keys}, "is not like"},
		{"an account twice", upstreamSettings{dynamodb: []string{"111122223333=http://t", "111122223333=http://u"}, credentials: keys}, "twice"},
		{"an owner who is none", upstreamSettings{s3: "https://store", s3Owner: "me", credentials: keys}, "is not an account id"},
	} {
		_, err := test.set.check()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

// A bucket that the store has belongs to whom the operator says, and to nobody else.
func TestUpstreamOwner(t *testing.T) {
	const mine, theirs = "111122223333", "444455556666"
	store := awstest.Start(t)
	root := store.Root(awstest.DefaultAccount)
	behind := store.S3(store.Config(root))
	for _, name := range []string{"an-old-bucket", "another-old-bucket"} {
		if _, err := behind.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := behind.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("an-old-bucket"), Key: aws.String("k"), Body: strings.NewReader("old")}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	keys := filepath.Join(dir, "keys")
	if err := os.WriteFile(keys, []byte("[s3]\naws_access_key_id = "+root.AccessKeyID+"\naws_secret_access_key = "+root.SecretAccessKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &settings{listen: "127.0.0.1:0", data: filepath.Join(dir, "data"), accounts: []string{mine, theirs}, auditSync: syncCredentials, workloads: workloadsOff,
		upstreams: upstreamSettings{s3: store.URL, s3Region: defaultRegion, s3Owner: mine, credentials: keys}}
	if err := s.check(func(string) string { return "" }); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	urls, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- serve(ctx, s, slog.New(slog.DiscardHandler), func(url string, _ *house) { urls <- url })
	}()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	url := <-urls
	as := func(account string) *s3.Client {
		target := &target{data: s.data, endpoint: url, profile: rootPrefix + account}
		id, secret, token, err := target.keys()
		if err != nil {
			t.Fatal(err)
		}
		client, err := newClient()
		if err != nil {
			t.Fatal(err)
		}
		return s3.NewFromConfig(configFor(url, client, id, secret, token), func(o *s3.Options) { o.UsePathStyle = true })
	}
	get := func(account, bucket string) (string, error) {
		out, err := as(account).GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: aws.String("k")})
		if err != nil {
			return "", err
		}
		defer out.Body.Close()
		text, err := io.ReadAll(out.Body)
		return string(text), err
	}
	if _, err := get(mine, "an-old-bucket"); err == nil || !strings.Contains(err.Error(), "NoSuchBucket") {
		t.Errorf("a bucket that iamd does not know: %v", err)
	}
	if _, err := as(theirs).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("an-old-bucket")}); err == nil || !strings.Contains(err.Error(), "BucketAlreadyExists") {
		t.Errorf("another account took it over: %v", err)
	}
	if _, err := as(mine).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("an-old-bucket")}); err != nil {
		t.Errorf("its owner did not take it over: %v", err)
	}
	if text, err := get(mine, "an-old-bucket"); err != nil || text != "old" {
		t.Errorf("it has %q, %v", text, err)
	}
	if _, err := get(theirs, "an-old-bucket"); err == nil || !strings.Contains(err.Error(), "AccessDenied") {
		t.Errorf("another account reads it: %v", err)
	}
}
