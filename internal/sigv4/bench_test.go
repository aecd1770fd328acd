package sigv4

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// assumeRole is a signed AssumeRole call as the Go SDK makes it.
func assumeRole(t testing.TB) (*http.Request, []byte) {
	body := "Action=AssumeRole&DurationSeconds=3600&RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fteam%2Fdeploy&RoleSessionName=alice-laptop&SourceIdentity=alice&Version=2011-06-15&Tags.member.1.Key=team"
	r := httptest.NewRequest("POST", "http://127.0.0.1:4566/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("User-Agent", "aws-sdk-go-v2/1.47 ua/2.1 os/linux lang/go#1.26 md/GOOS#linux api/sts#1.51")
	r.Header.Set("Accept-Encoding", "identity")
	r.Header.Set("Amz-Sdk-Invocation-Id", "4a5c2f0e-6f1b-4d59-a0c2-000000000000")
	signer := &Signer{AccessKeyID: testKey, SecretAccessKey: testSecret, Region: "us-east-1", Service: "sts"}
	signer.Sign(r, Hash([]byte(body)), testTime)
	return r, []byte(body)
}

func BenchmarkVerify(b *testing.B) {
	r, body := assumeRole(b)
	scope := Scope{Service: "sts"}
	b.Run("cached", func(b *testing.B) {
		v := newVerifier()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Verify(r, scope, body); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("uncached", func(b *testing.B) {
		v := newVerifier()
		b.ReportAllocs()
		for b.Loop() {
			v.keys.young, v.keys.old = nil, nil
			if _, err := v.Verify(r, scope, body); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkVerifyPresigned(b *testing.B) {
	r := httptest.NewRequest("GET", "http://127.0.0.1:4566/bucket/key?versionId=abc", nil)
	(&Signer{AccessKeyID: testKey, SecretAccessKey: testSecret, Region: "us-east-1", Service: "s3"}).Presign(r, time.Hour, testTime)
	v, scope := newVerifier(), Scope{Service: "s3", Family: S3}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(r, scope, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// A body of 1 MiB whose hash is signed.
func BenchmarkBody(b *testing.B) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	sig := &Signature{PayloadHash: Hash(body)}
	r := httptest.NewRequest("PUT", "http://127.0.0.1/b/k", nil)
	r.ContentLength = int64(len(body))
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		r.Body = io.NopCloser(bytes.NewReader(body))
		rd, err := sig.Body(r)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, rd); err != nil || n != int64(len(body)) {
			b.Fatal(n, err)
		}
	}
}
