package server_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/iamd-dev/iamd/internal/awstest"
	"github.com/iamd-dev/iamd/internal/outbound"
	"github.com/iamd-dev/iamd/internal/server"
	"github.com/iamd-dev/iamd/internal/sigv4"
)

// A bucket is found in the host name as in the path, under the names that the
// configuration gives and under s3.anything.
func TestVirtualHosts(t *testing.T) {
	s := awstest.Start(t, account)
	root := s.Root(account)
	signer := sigv4.Signer{AccessKeyID: root.AccessKeyID, SecretAccessKey: root.SecretAccessKey, Region: "us-east-1", Service: "s3"}
	send := func(method, host, path, body string) (int, string) {
		t.Helper()
		r, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		signer.Sign(r, sigv4.Hash([]byte(body)), time.Now())
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		b, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(b)
	}
	for _, c := range []struct {
		method, host, path, body string
		status                   int
		want                     string
	}{
		{"PUT", "files.s3.localhost:4600", "/", "", 200, ""},
		{"PUT", "files.s3.localhost", "/a/b%20c", "hello", 200, ""},
		{"GET", "localhost", "/files/a/b%20c", "", 200, "hello"},
		{"GET", "files.s3.eu-west-1.amazonaws.com", "/a/b%20c", "", 200, "hello"},
		{"GET", "FILES.S3.Localhost", "/a/b%20c", "", 200, "hello"},
		{"GET", "files.localhost", "/a/b%20c", "", 200, "hello"},
		{"GET", "files.s3.localhost", "/?list-type=2&prefix=a%2F", "", 200, "<Key>a/b c</Key>"},
		// A dot in the bucket, and names that only look like one.
		{"PUT", "a.s3.b.s3.localhost", "/", "", 200, ""},
		{"GET", "s3.localhost", "/", "", 200, "<Name>a.s3.b</Name>"},
		{"GET", "localhost", "/", "", 200, "<Name>files</Name>"},
		{"GET", "127.0.0.1:4600", "/files/a/b%20c", "", 200, "hello"},
		{"GET", "[::1]:4600", "/files/a/b%20c", "", 200, "hello"},
		{"GET", "files.example.com", "/a/b%20c", "", 404, "NoSuchBucket"},
		{"GET", "other.s3.localhost", "/a/b%20c", "", 404, "NoSuchBucket"},
		// With the bucket in the host, the path is all key.
		{"GET", "files.s3.localhost", "/files/a/b%20c", "", 404, "NoSuchKey"},
	} {
		status, body := send(c.method, c.host, c.path, c.body)
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s%s: got %d %q, want %d with %q", c.method, c.host, c.path, status, body, c.status, c.want)
		}
	}
}

// What the server publishes itself, the code of functions and the documents of issuers, does
// not stand before an object that everybody may read, where the host names its bucket.
func TestPublicObjectsBesideWhatTheServerPublishes(t *testing.T) {
	s := awstest.Start(t, account)
	config := s.Config(s.Root(account))
	client := s3.NewFromConfig(config, func(o *s3.Options) { o.UsePathStyle = true })
	ctx := t.Context()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("site")}))
	must(client.DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{Bucket: aws.String("site")}))
	must(client.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: aws.String("site"),
		Policy: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::site/*"}}`)}))
	keys := []string{strings.TrimPrefix(server.CodePath, "/") + "h", strings.TrimPrefix(outbound.Prefix, "/") + "x"}
	for _, key := range keys {
		must(client.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("site"), Key: aws.String(key), Body: strings.NewReader("public")}))
		for host, want := range map[string]bool{"site.s3.localhost": true, "site.localhost": true, "localhost": false} {
			r, err := http.NewRequest("GET", s.URL+"/"+key, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = host
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			if got := answer.StatusCode == 200 && string(b) == "public"; got != want {
				t.Errorf("GET %s/%s: got %d %.80q", host, key, answer.StatusCode, b)
			}
		}
	}
}
