package wire_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	dynamodb "github.com/iamd-dev/iamd/internal/aws/dynamodb/api"
	s3 "github.com/iamd-dev/iamd/internal/aws/s3/api"
	"github.com/iamd-dev/iamd/internal/wire"
)

// What NewRequest writes is what Decode reads.
func TestNewRequest(t *testing.T) {
	n, yes := int32(7), true
	at := time.Date(2026, 11, 30, 7, 0, 0, 0, time.UTC)
	for _, in := range []any{
		&s3.GetObjectInput{Bucket: "b", Key: "a/b c+d%/é", Range: "bytes=0-1", VersionId: "v&=", IfModifiedSince: at, ResponseContentType: "text/plain; a=b", PartNumber: &n},
		&s3.PutObjectInput{Bucket: "b", Key: "k", ContentType: "text/plain", Metadata: map[string]string{"a": "1", "b-c": "2"}, Tagging: "a=b&c=d"},
		&s3.ListObjectsV2Input{Bucket: "b", Prefix: "a b/", Delimiter: "/", MaxKeys: &n, FetchOwner: &yes, StartAfter: "é"},
		&s3.DeleteObjectsInput{Bucket: "b", Delete: s3.Delete{Objects: []s3.ObjectIdentifier{{Key: "a<b>"}, {Key: "c", VersionId: "v"}}, Quiet: &yes}},
		&s3.CompleteMultipartUploadInput{Bucket: "b", Key: "k", UploadId: "u", MultipartUpload: &s3.CompletedMultipartUpload{Parts: []s3.CompletedPart{{ETag: `"e"`, PartNumber: &n}}}},
		&s3.PutObjectTaggingInput{Bucket: "b", Key: "k", Tagging: s3.Tagging{TagSet: []s3.Tag{{Key: "a", Value: "b"}}}},
		&s3.CreateBucketInput{Bucket: "b"},
		&s3.HeadBucketInput{Bucket: "b"},
		&s3.CopyObjectInput{Bucket: "b", Key: "k", CopySource: "/c/d%20e?versionId=v", MetadataDirective: "REPLACE"},
		&s3.GetObjectAttributesInput{Bucket: "b", Key: "k", ObjectAttributes: []string{"ETag", "ObjectSize"}},
	} {
		name := strings.TrimSuffix(reflect.TypeOf(in).Elem().Name(), "Input")
		op := s3.Model.Operation(name)
		r, err := wire.NewRequest(s3.Model, op, in)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var sent bytes.Buffer
		r.URL.Scheme, r.URL.Host = "http", "store"
		if err := r.Write(&sent); err != nil {
			t.Fatal(err)
		}
		got := httptest.NewRequest(r.Method, r.URL.RequestURI(), nil)
		got.Header = r.Header
		body, _ := io.ReadAll(mustParse(t, sent.Bytes()).Body)
		routed, err := s3.Model.Route(got, got.URL.EscapedPath())
		if err != nil || routed.Name != name {
			t.Errorf("%s: %s %s is routed to %v, %v", name, r.Method, r.URL.RequestURI(), routed, err)
			continue
		}
		back := reflect.New(op.In).Interface()
		if err := wire.Decode(s3.Model, op, got, body, back); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, member := range []string{"ContentLength", "Body"} {
			if f := reflect.ValueOf(back).Elem().FieldByName(member); f.IsValid() {
				f.SetZero()
			}
		}
		if !reflect.DeepEqual(back, in) {
			t.Errorf("%s: %+v came as %+v", name, in, back)
		}
	}
}

func mustParse(t *testing.T, sent []byte) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(sent)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A name that would lead elsewhere, or a header that would be two, is not written.
func TestNewRequestRefuses(t *testing.T) {
	for _, in := range []any{
		&s3.GetObjectInput{Bucket: "..", Key: "k"},
		&s3.GetObjectInput{Bucket: "", Key: "k"},
		&s3.PutObjectInput{Bucket: "b", Key: "k", ContentType: "a\r\nX-Amz-Acl: public-read"},
		&s3.PutObjectInput{Bucket: "b", Key: "k", Metadata: map[string]string{"a": "b\nc: d"}},
	} {
		op := s3.Model.Operation(strings.TrimSuffix(reflect.TypeOf(in).Elem().Name(), "Input"))
		if r, err := wire.NewRequest(s3.Model, op, in); err == nil {
			t.Errorf("%+v became %s %v", in, r.URL, r.Header)
		}
	}
}

// What EncodeResponse writes is what ReadResponse reads.
func TestReadResponse(t *testing.T) {
	at := time.Date(2026, 11, 30, 7, 0, 0, 0, time.UTC)
	for _, out := range []any{
		&s3.HeadObjectOutput{ETag: `"e"`, ContentLength: 5, ContentType: "text/plain", LastModified: at, Metadata: map[string]string{"a": "b"}, VersionId: "v"},
		&s3.ListObjectsV2Output{Name: "b", Prefix: "p", KeyCount: 1, MaxKeys: 2, IsTruncated: true, NextContinuationToken: "t", Contents: []s3.Object{{Key: "k", ETag: `"e"`, Size: 3, LastModified: at, StorageClass: "STANDARD"}}},
		&s3.CopyObjectOutput{VersionId: "v", CopyObjectResult: &s3.CopyObjectResult{ETag: `"e"`, LastModified: at}},
		&s3.GetObjectTaggingOutput{TagSet: []s3.Tag{{Key: "a", Value: "b"}}},
	} {
		name := strings.TrimSuffix(reflect.TypeOf(out).Elem().Name(), "Output")
		op := s3.Model.Operation(name)
		w := httptest.NewRecorder()
		if err := wire.EncodeResponse(w, s3.Model, op, out, "id"); err != nil {
			t.Fatal(err)
		}
		back := reflect.New(op.Out).Interface()
		resp := w.Result()
		if resp.ContentLength < 0 || op.Method == http.MethodHead {
			resp.ContentLength = -1
		}
		if err := wire.ReadResponse(s3.Model, op, resp, back); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !reflect.DeepEqual(back, out) {
			t.Errorf("%s: %+v came as %+v", name, out, back)
		}
	}
}

func TestReadResponseErrors(t *testing.T) {
	for _, test := range []struct {
		name, op string
		status   int
		body     string
		want     string // the code; "" for an error that is not the caller's
	}{
		{"an error", "GetObject", 404, `<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>none</Message><Key>k</Key></Error>`, "NoSuchKey"},
		{"an error of HEAD", "HeadObject", 404, "", "NotFound"},
		{"an error of a proxy", "GetObject", 502, "<html>", ""},
		{"an error with status 200", "CompleteMultipartUpload", 200, `<Error><Code>InternalError</Code><Message>late</Message></Error>`, "InternalError"},
		{"another document", "ListObjectsV2", 200, `{"a": 1}`, ""},
		{"a document that ends", "ListObjectsV2", 200, `<ListBucketResult><Contents>`, ""},
	} {
		op := s3.Model.Operation(test.op)
		resp := &http.Response{StatusCode: test.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(test.body)), ContentLength: int64(len(test.body))}
		err := wire.ReadResponse(s3.Model, op, resp, reflect.New(op.Out).Interface())
		var e *wire.Error
		code := ""
		if errors.As(err, &e) {
			code = e.Code
		}
		if err == nil || code != test.want {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
	// What we do not know in an answer is passed over.
	resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`<ListBucketResult><Name>b</Name><Vendor><x/></Vendor><Contents><Key>k</Key><StorageClass>OTHER</StorageClass></Contents></ListBucketResult>`))}
	out := &s3.ListObjectsV2Output{}
	if err := wire.ReadResponse(s3.Model, s3.Model.Operation("ListObjectsV2"), resp, out); err != nil || out.Name != "b" || out.Contents[0].Key != "k" {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestReadAnswer(t *testing.T) {
	out := &dynamodb.GetItemOutput{}
	if err := wire.ReadAnswer(dynamodb.Model, []byte(`{"Item": {"pk": {"S": "a"}}, "New": {"x": [1]}}`), out); err != nil || reflect.ValueOf(out.Item).Len() != 1 {
		t.Errorf("%+v, %v", out, err)
	}
	for _, bad := range []string{"[]", `{"Item": 1}`, `{"Item"`} {
		if err := wire.ReadAnswer(dynamodb.Model, []byte(bad), &dynamodb.GetItemOutput{}); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}
