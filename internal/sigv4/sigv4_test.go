package sigv4

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	testKey    = "AKIDEXAMPLE"
	testSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	testToken  = "a session/token+with==odd characters"
)

var testTime = time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)

func testLookup(accessKeyID, token string, now time.Time) (string, any, error) {
	switch {
	case accessKeyID == testKey && token == "":
		return testSecret, "alice", nil
	case accessKeyID == "ASIAEXAMPLE" && token == testToken:
		return testSecret, "alice's session", nil
	case accessKeyID == "ASIAEXAMPLE" && token == "expired":
		return "", nil, ErrExpiredToken
	case accessKeyID == "AKIABROKEN":
		return "", nil, errors.New("the disk is on fire")
	case token != "":
		return "", nil, ErrInvalidToken
	}
	return "", nil, ErrUnknownKey
}

func newVerifier() *Verifier {
	return &Verifier{Lookup: testLookup, Now: func() time.Time { return testTime }}
}

func hashOf(body string) string {
	h := sha256.Sum256([]byte(body))
	return hex.EncodeToString(h[:])
}

// received gives a request as a server gets it.
func received(t testing.TB, r *http.Request) *http.Request {
	t.Helper()
	in := httptest.NewRequest(r.Method, r.URL.RequestURI(), r.Body)
	in.Host = r.URL.Host
	if r.Host != "" {
		in.Host = r.Host
	}
	in.Header = r.Header
	in.ContentLength = r.ContentLength
	return in
}

// What the SDK signs is accepted, for every family.
func TestSDK(t *testing.T) {
	const form = "Action=AssumeRole&RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fr&Version=2011-06-15"
	for _, test := range []struct {
		name, method, url, body string
		scope                   Scope
	}{
		{"query", "POST", "https://sts.us-east-1.amazonaws.com/", form, Scope{Service: "sts"}},
		{"query by GET", "GET", "http://localhost:4566/?Action=GetCallerIdentity&Version=2011-06-15&b=%7E%20x&a=2&a=1", "", Scope{Service: "sts"}},
		{"json", "POST", "http://127.0.0.1:4566/", "{}", Scope{Service: "dynamodb", Family: JSON}},
		{"rest", "GET", "http://127.0.0.1:4566/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Afunction%3Af/policy", "", Scope{Service: "lambda", Family: RESTJSON}},
		{"s3", "PUT", "http://127.0.0.1:4566/bucket/a//b/../c%20d%2Be~%C3%A9?tagging", "hello", Scope{Service: "s3", Family: S3}},
	} {
		for _, presign := range []bool{false, true} {
			for _, token := range []string{"", testToken} {
				name := test.name
				if presign {
					name += ", presigned"
				}
				if token != "" {
					name += ", session"
				}
				t.Run(name, func(t *testing.T) {
					r, err := http.NewRequest(test.method, test.url, strings.NewReader(test.body))
					if err != nil {
						t.Fatal(err)
					}
					creds := aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret, SessionToken: token}
					if token != "" {
						creds.AccessKeyID = "ASIAEXAMPLE"
					}
					hash := hashOf(test.body)
					if test.scope.Family == S3 {
						r.Header.Set("X-Amz-Content-Sha256", hash)
						q := r.URL.Query()
						q.Set("X-Amz-Expires", "300")
						if presign {
							r.URL.RawQuery = q.Encode()
						}
					}
					signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = test.scope.Family == S3 })
					if presign {
						u, h, err := signer.PresignHTTP(context.Background(), creds, r, hash, test.scope.Service, "eu-west-1", testTime)
						if err != nil {
							t.Fatal(err)
						}
						r, _ = http.NewRequest(test.method, u, strings.NewReader(test.body))
						r.Header = h
						r.Header.Del("Host")
					} else if err := signer.SignHTTP(context.Background(), creds, r, hash, test.scope.Service, "eu-west-1", testTime); err != nil {
						t.Fatal(err)
					}
					sig, err := newVerifier().Verify(received(t, r), test.scope, []byte(test.body))
					if err != nil {
						t.Fatal(err)
					}
					want := "alice"
					if token != "" {
						want = "alice's session"
					}
					if sig.Identity != want || sig.Presigned != presign || sig.Region != "eu-west-1" || sig.Service != test.scope.Service {
						t.Errorf("got %+v", sig)
					}
				})
			}
		}
	}
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }

// A path that came encoded in another way than clients encode it is the same path.
func TestUnusualPath(t *testing.T) {
	scope := Scope{Service: "s3", Family: S3}
	r := httptest.NewRequest("GET", "http://s3.test/bucket/a+b(1)%20%C3%A9", nil)
	(&Signer{AccessKeyID: testKey, SecretAccessKey: testSecret, Region: "us-east-1", Service: "s3"}).Sign(r, Hash(nil), testTime)
	for _, path := range []string{"/bucket/a+b(1)%20%c3%a9", "/bucket/a%2Bb%281%29%20%C3%A9", "/%62ucket/a+b(1)%20%C3%A9"} {
		in := httptest.NewRequest("GET", "http://s3.test"+path, nil)
		in.Header = r.Header
		if _, err := newVerifier().Verify(in, scope, nil); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}
