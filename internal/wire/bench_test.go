package wire_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	dynamodb "github.com/iamd-dev/iamd/internal/aws/dynamodb/api"
	s3 "github.com/iamd-dev/iamd/internal/aws/s3/api"
	sts "github.com/iamd-dev/iamd/internal/aws/sts/api"
	"github.com/iamd-dev/iamd/internal/wire"
)

// assumeRole is what an SDK sends for a session with two tags.
const assumeRole = "Action=AssumeRole&DurationSeconds=3600&ExternalId=external-1&RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fdeploy&RoleSessionName=session-1&Tags.member.1.Key=team&Tags.member.1.Value=blue&Tags.member.2.Key=env&Tags.member.2.Value=prod&Version=2011-06-15"

// discard is a client that takes everything.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) WriteHeader(int)             {}
func (d discard) Write(b []byte) (int, error) { return len(b), nil }

func BenchmarkDecodeAssumeRole(b *testing.B) {
	body := []byte(assumeRole)
	r := httptest.NewRequest("POST", "/", strings.NewReader(""))
	b.ReportAllocs()
	for b.Loop() {
		op, err := sts.Model.Named(wire.FormAction(r, body))
		if err != nil {
			b.Fatal(err)
		}
		if err := wire.Decode(sts.Model, op, r, body, new(sts.AssumeRoleInput)); err != nil {
			b.Fatal(err)
		}
	}
}

var assumed = &sts.AssumeRoleOutput{
	Credentials:     &sts.Credentials{AccessKeyId: "ASIAQEXAMPLEEXAMPLE1", SecretAccessKey: strings.Repeat("s", 40), SessionToken: strings.Repeat("t", 400), Expiration: when},
	AssumedRoleUser: &sts.AssumedRoleUser{AssumedRoleId: "AROAQEXAMPLEEXAMPLE1:session-1", Arn: "arn:aws:sts::111122223333:assumed-role/deploy/session-1"},
}

func BenchmarkEncodeAssumeRole(b *testing.B) {
	op := sts.Model.Operation("AssumeRole")
	w := discard{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		if err := wire.EncodeResponse(w, sts.Model, op, assumed, "6f1c9b9e-0000-4000-8000-000000000000"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendJSONAssumeRole(b *testing.B) {
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = wire.AppendJSON(dst[:0], assumed, wire.JSONOptions{})
	}
}

func BenchmarkRouteDecodeGetObject(b *testing.B) {
	r := httptest.NewRequest("GET", "/bucket/a/key?versionId=1&x-id=GetObject", nil)
	r.Header.Set("Range", "bytes=0-1")
	b.ReportAllocs()
	for b.Loop() {
		op, err := s3.Model.Route(r, r.URL.EscapedPath())
		if err != nil {
			b.Fatal(err)
		}
		if err := wire.Decode(s3.Model, op, r, nil, new(s3.GetObjectInput)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadGetItem(b *testing.B) {
	body := []byte(`{"TableName":"music","Key":{"artist":{"S":"Miles Davis"},"year":{"N":"1959"}},"ConsistentRead":true,"ProjectionExpression":"#t","ExpressionAttributeNames":{"#t":"title"}}`)
	op := dynamodb.Model.Operation("GetItem")
	r := httptest.NewRequest("POST", "/", strings.NewReader(""))
	b.ReportAllocs()
	for b.Loop() {
		if err := wire.Read(dynamodb.Model, op, r, body, new(dynamodb.GetItemInput)); err != nil {
			b.Fatal(err)
		}
	}
}
