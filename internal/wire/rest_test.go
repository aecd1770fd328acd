package wire_test

import (
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	s3 "github.com/iamd-dev/iamd/internal/aws/s3/api"
	"github.com/iamd-dev/iamd/internal/wire"
)

// request makes an S3 request. Headers are "Name: value" lines.
func request(method, target, body string, headers ...string) *http.Request {
	var b io.Reader
	if body != "" {
		b = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, target, b)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	return r
}

func TestRoute(t *testing.T) {
	for _, test := range []struct {
		request string // method, target and headers
		want    string // operation, or the error's code
	}{
		{"GET /", "ListBuckets"},
		{"GET /?max-buckets=10&prefix=a", "ListBuckets"},
		{"PUT /b", "CreateBucket"},
		{"PUT /b/", "CreateBucket"},
		{"HEAD /b", "HeadBucket"},
		{"DELETE /b", "DeleteBucket"},
		{"GET /b", "ListObjects"},
		{"GET /b?prefix=x&delimiter=%2F&marker=", "ListObjects"},
		{"GET /b/?list-type=2&prefix=", "ListObjectsV2"},
		{"GET /b?list-type=1", "MethodNotAllowed"}, // told by a value that nobody has
		{"GET /b?versions", "ListObjectVersions"},
		{"GET /b?versions=&key-marker=a", "ListObjectVersions"},
		{"GET /b?uploads", "ListMultipartUploads"},
		{"POST /b?delete", "DeleteObjects"},
		{"GET /b?location", "GetBucketLocation"},
		{"GET /b?policy", "GetBucketPolicy"},
		{"GET /b?policyStatus", "GetBucketPolicyStatus"},
		{"PUT /b?policy", "PutBucketPolicy"},
		{"DELETE /b?policy", "DeleteBucketPolicy"},
		{"GET /b?acl", "GetBucketAcl"},
		{"PUT /b?acl", "PutBucketAcl"},
		{"GET /b?lifecycle", "GetBucketLifecycleConfiguration"}, // not the deprecated one
		{"PUT /b?lifecycle", "PutBucketLifecycleConfiguration"},
		{"GET /b?notification", "GetBucketNotificationConfiguration"},
		{"GET /b?inventory", "ListBucketInventoryConfigurations"},
		{"GET /b?inventory&id=a", "GetBucketInventoryConfiguration"},
		{"GET /b/k", "GetObject"},
		{"GET /b/k?versionId=3&partNumber=1&response-content-type=a", "GetObject"},
		{"GET /b/k?x-id=GetObject&X-Amz-Signature=0", "GetObject"},
		{"GET /b/k?v=12", "GetObject"}, // a parameter of nobody's, with a value
		{"GET /b/k/", "GetObject"},
		{"GET /b//", "GetObject"},
		{"HEAD /b/k", "HeadObject"},
		{"PUT /b/k", "PutObject"},
		{"PUT /b/k x-amz-copy-source:/a/b", "CopyObject"},
		{"PUT /b/k?x-amz-copy-source=/a/b", "CopyObject"}, // presigned
		{"PUT /b/k?partNumber=1&uploadId=u", "UploadPart"},
		{"PUT /b/k?partNumber=1&uploadId=u x-amz-copy-source:/a/b", "UploadPartCopy"},
		{"POST /b/k?uploads", "CreateMultipartUpload"},
		{"POST /b/k?uploadId=u", "CompleteMultipartUpload"},
		{"GET /b/k?uploadId=u", "ListParts"},
		{"DELETE /b/k?uploadId=u", "AbortMultipartUpload"},
		{"DELETE /b/k", "DeleteObject"},
		{"DELETE /b/k?versionId=1", "DeleteObject"},
		{"GET /b/k?tagging", "GetObjectTagging"},
		{"PUT /b/k?tagging", "PutObjectTagging"},
		{"DELETE /b/k?tagging", "DeleteObjectTagging"},
		{"GET /b/k?attributes x-amz-object-attributes:ETag", "GetObjectAttributes"},
		{"GET /b/k?attributes", "GetObjectAttributes"}, // Decode says what is missing
		{"POST /b/k?select&select-type=2", "SelectObjectContent"},

		// What is not known must never become what is.
		{"DELETE /b?acl", "MethodNotAllowed"},
		{"DELETE /b?versioning", "MethodNotAllowed"},
		{"DELETE /b?annotation", "NotImplemented"},
		{"DELETE /b/k?annotation&annotationName=a", "NotImplemented"},
		{"PUT /b/k?annotation=&annotationName=a", "NotImplemented"},
		{"GET /b?unheardOf", "NotImplemented"},
		{"DELETE /b?policy;x", "InvalidURI"},
		{"DELETE /b?%zz", "InvalidURI"},
		{"PUT /b/k?partNumber=1", "MethodNotAllowed"}, // half an UploadPart is no PutObject
		{"PUT /b/k?uploadId=u", "MethodNotAllowed"},
		{"POST /b/k", "MethodNotAllowed"},
		{"POST /b", "MethodNotAllowed"},
		{"PATCH /b/k", "MethodNotAllowed"},
		{"PUT /", "MethodNotAllowed"},
		{"DELETE /", "MethodNotAllowed"},
		{"PUT /b?policy x-amz-copy-source:/a/b", "MethodNotAllowed"},
		{"GET //k", "MethodNotAllowed"}, // no bucket
		{"DELETE /b?policy&acl", "MethodNotAllowed"},
		{"GET /b?policy&acl", "MethodNotAllowed"},
	} {
		fields := strings.Fields(test.request)
		var headers []string
		for _, h := range fields[2:] {
			headers = append(headers, strings.Replace(h, ":", ": ", 1))
		}
		r := request(fields[0], "http://h/", "", headers...)
		path, query, _ := strings.Cut(fields[1], "?")
		r.URL.RawQuery = query
		op, err := s3.Model.Route(r, path)
		got := ""
		if e := (*wire.Error)(nil); errors.As(err, &e) {
			got = e.Code
		} else {
			got = op.Name
		}
		if got != test.want {
			t.Errorf("%s: got %s, want %s", test.request, got, test.want)
		}
	}
}

// Every operation that has a route is found by a request made from its row.
func TestRouteAll(t *testing.T) {
	for _, op := range s3.Model.Operations {
		if op.NoRoute {
			continue
		}
		path, query, _ := strings.Cut(op.URI, "?")
		r := request(op.Method, "http://h/", "")
		r.URL.RawQuery = query
		for _, q := range op.Query {
			r.URL.RawQuery += "&" + q + "=1"
		}
		for _, h := range op.Header {
			r.Header.Set(h, "1")
		}
		got, err := s3.Model.Route(r, strings.NewReplacer("{Bucket}", "b", "{Key+}", "k").Replace(path))
		if err != nil || got.Name != op.Name {
			t.Errorf("%s %s: got %v, %v", op.Name, r.URL.RawQuery, got, err)
		}
	}
}

func TestRoutePathValues(t *testing.T) {
	for _, test := range []struct{ path, bucket, key string }{
		{"/b/k", "b", "k"},
		{"/b/a%20b%2Fc", "b", "a b/c"},
		{"/b/a//b/../c/", "b", "a//b/../c/"},
		{"/b//", "b", "/"},
		{"/b/%E2%82%AC+", "b", "€+"},
		{"/b%2Fc/k", "b/c", "k"}, // an escaped slash does not end the bucket
	} {
		r := request("GET", "http://h/", "")
		if _, err := s3.Model.Route(r, test.path); err != nil {
			t.Fatal(err)
		}
		if b, k := r.PathValue("Bucket"), r.PathValue("Key"); b != test.bucket || k != test.key {
			t.Errorf("%s: got %q %q, want %q %q", test.path, b, k, test.bucket, test.key)
		}
	}
}

// s3Decode routes and decodes.
func s3Decode(t *testing.T, r *http.Request, body string) (any, error) {
	t.Helper()
	op, err := s3.Model.Route(r, r.URL.EscapedPath())
	if err != nil {
		return nil, err
	}
	in := reflect.New(op.In).Interface()
	return in, wire.Decode(s3.Model, op, r, []byte(body), in)
}

func TestRESTDecode(t *testing.T) {
	date := time.Date(2026, 2, 24, 15, 23, 21, 0, time.UTC)
	for _, test := range []struct {
		name, method, target, body string
		headers                    []string
		want                       any
	}{
		{"path, query", "GET", "/b/a%20b?versionId=v1&partNumber=2&response-content-type=text%2Fplain", "", nil,
			&s3.GetObjectInput{Bucket: "b", Key: "a b", VersionId: "v1", PartNumber: ptr(int32(2)), ResponseContentType: "text/plain"}},
		{"headers", "GET", "/b/k", "", []string{"Range: bytes=0-1", "If-Match: \"e\"", "If-Modified-Since: Tue, 24 Feb 2026 15:23:21 GMT", "x-amz-checksum-mode: ENABLED", "x-amz-expected-bucket-owner: 111122223333"},
			&s3.GetObjectInput{Bucket: "b", Key: "k", Range: "bytes=0-1", IfMatch: `"e"`, IfModifiedSince: date, ChecksumMode: "ENABLED", ExpectedBucketOwner: "111122223333"}},
		{"a date that is none is no condition", "GET", "/b/k", "", []string{"If-Modified-Since: yesterday"}, &s3.GetObjectInput{Bucket: "b", Key: "k"}},
		{"metadata", "PUT", "/b/k", "", []string{"X-Amz-Meta-Colour: red", "x-amz-meta-Multi: a", "x-amz-meta-multi: b", "x-amz-metadata: no"},
			&s3.PutObjectInput{Bucket: "b", Key: "k", Metadata: map[string]string{"colour": "red", "multi": "a,b"}, ContentLength: ptr(int64(0))}},
		{"a presigned URL carries headers", "PUT", "/b/k?X-Amz-Meta-A=1&X-Amz-Tagging=k%3Dv", "", nil,
			&s3.PutObjectInput{Bucket: "b", Key: "k", Metadata: map[string]string{"a": "1"}, Tagging: "k=v", ContentLength: ptr(int64(0))}},
		{"aws-chunked is no content encoding", "PUT", "/b/k", "", []string{"Content-Encoding: aws-chunked,gzip", "X-Amz-Decoded-Content-Length: 7"},
			&s3.PutObjectInput{Bucket: "b", Key: "k", ContentEncoding: "gzip", ContentLength: ptr(int64(7))}},
		{"Expires is what the client wrote", "PUT", "/b/k", "", []string{"Expires: 0", "Content-Encoding: aws-chunked"},
			&s3.PutObjectInput{Bucket: "b", Key: "k", Expires: "0", ContentLength: ptr(int64(0))}},
		{"a list in a header", "GET", "/b/k?attributes", "", []string{"x-amz-object-attributes: ETag, ObjectSize"},
			&s3.GetObjectAttributesInput{Bucket: "b", Key: "k", ObjectAttributes: []string{"ETag", "ObjectSize"}}},
		{"no body where one may be", "PUT", "/b", "", nil, &s3.CreateBucketInput{Bucket: "b"}},
		{"a document", "PUT", "/b", `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>`, nil,
			&s3.CreateBucketInput{Bucket: "b", CreateBucketConfiguration: &s3.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}}},
		{"lists in documents", "PUT", "/b?tagging", "<?xml version='1.0'?>\n<Tagging>\n <TagSet>\n  <Tag><Key>a</Key><Value></Value></Tag><Tag><Value>2</Value><Key> b </Key></Tag>\n </TagSet><!-- c --></Tagging>\n", nil,
			&s3.PutBucketTaggingInput{Bucket: "b", Tagging: s3.Tagging{TagSet: []s3.Tag{{Key: "a"}, {Key: " b ", Value: "2"}}}}},
		{"flat lists", "POST", "/b?delete", "<Delete><Object><Key>&lt;a&gt;</Key></Object><Quiet> true </Quiet><Object><Key>b</Key><VersionId>1</VersionId></Object></Delete>", nil,
			&s3.DeleteObjectsInput{Bucket: "b", Delete: s3.Delete{Objects: []s3.ObjectIdentifier{{Key: "<a>"}, {Key: "b", VersionId: "1"}}, Quiet: ptr(true)}}},
		{"attributes", "PUT", "/b?acl", `<AccessControlPolicy xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><Owner><ID>o</ID></Owner><AccessControlList><Grant><Grantee xsi:type="CanonicalUser"><ID>i</ID></Grantee><Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>`, nil,
			&s3.PutBucketAclInput{Bucket: "b", AccessControlPolicy: &s3.AccessControlPolicy{Owner: &s3.Owner{ID: "o"}, Grants: []s3.Grant{{Grantee: &s3.Grantee{Type: "CanonicalUser", ID: "i"}, Permission: "READ"}}}}},
		{"a policy is text", "PUT", "/b?policy", `{"Version":"2012-10-17"}`, nil, &s3.PutBucketPolicyInput{Bucket: "b", Policy: `{"Version":"2012-10-17"}`}},
		{"an empty prefix is a filter", "PUT", "/b?lifecycle", `<LifecycleConfiguration><Rule><Filter><Prefix/></Filter><Status>Enabled</Status></Rule></LifecycleConfiguration>`, nil,
			&s3.PutBucketLifecycleConfigurationInput{Bucket: "b", LifecycleConfiguration: &s3.BucketLifecycleConfiguration{Rules: []s3.LifecycleRule{{Filter: &s3.LifecycleRuleFilter{Prefix: ptr("")}, Status: "Enabled"}}}}},
		{"empty parameters are absent ones", "GET", "/b?prefix=&encoding-type=", "", nil, &s3.ListObjectsInput{Bucket: "b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := request(test.method, test.target, test.body, test.headers...)
			got, err := s3Decode(t, r, test.body)
			if err != nil {
				t.Fatal(err)
			}
			if p, ok := got.(*s3.PutObjectInput); ok {
				p.Body = nil
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// A streaming body is the request's own, unread.
func TestRESTDecodeStream(t *testing.T) {
	r := request("PUT", "/b/k", "hello")
	op, err := s3.Model.Route(r, "/b/k")
	if err != nil {
		t.Fatal(err)
	}
	if !op.Streams() || s3.Model.Operation("PutBucketTagging").Streams() || s3.Model.Operation("SelectObjectContent").Streams() {
		t.Error("Streams is wrong")
	}
	in := new(s3.PutObjectInput)
	if err := wire.Decode(s3.Model, op, r, nil, in); err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(in.Body)
	if string(b) != "hello" || *in.ContentLength != 5 {
		t.Errorf("got %q, %d", b, *in.ContentLength)
	}
}

func TestRESTRefused(t *testing.T) {
	const tag = "<Tag><Key>a</Key><Value>b</Value></Tag>"
	for _, test := range []struct {
		name, method, target, body string
		headers                    []string
		want                       string
	}{
		{"another root", "PUT", "/b?tagging", "<Tags><TagSet>" + tag + "</TagSet></Tags>", nil, "MalformedXML"},
		{"an unknown element", "PUT", "/b?tagging", "<Tagging><TagSet>" + tag + "</TagSet><More/></Tagging>", nil, "MalformedXML"},
		{"an unknown element in a list", "PUT", "/b?tagging", "<Tagging><TagSet><Tga/></TagSet></Tagging>", nil, "MalformedXML"},
		{"an element twice", "PUT", "/b?tagging", "<Tagging><TagSet/><TagSet/></Tagging>", nil, "MalformedXML"},
		{"an absent element", "PUT", "/b?tagging", "<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>", nil, "MalformedXML"},
		{"a second root", "PUT", "/b?tagging", "<Tagging><TagSet/></Tagging><Tagging/>", nil, "MalformedXML"},
		{"text between elements", "PUT", "/b?tagging", "<Tagging>x<TagSet/></Tagging>", nil, "MalformedXML"},
		{"text after the root", "PUT", "/b?tagging", "<Tagging><TagSet/></Tagging>x", nil, "MalformedXML"},
		{"no end", "PUT", "/b?tagging", "<Tagging><TagSet>", nil, "MalformedXML"},
		{"not XML", "PUT", "/b?tagging", "{}", nil, "MalformedXML"},
		{"a document type", "PUT", "/b?tagging", "<!DOCTYPE Tagging [<!ENTITY a 'b'>]><Tagging><TagSet/></Tagging>", nil, "MalformedXML"},
		{"an entity", "PUT", "/b?tagging", "<Tagging><TagSet><Tag><Key>&a;</Key><Value/></Tag></TagSet></Tagging>", nil, "MalformedXML"},
		{"another character set", "PUT", "/b?tagging", "<?xml version='1.0' encoding='ISO-8859-1'?><Tagging><TagSet/></Tagging>", nil, "MalformedXML"},
		{"bytes that are not UTF-8", "PUT", "/b?tagging", "<Tagging><TagSet><Tag><Key>\xff</Key><Value/></Tag></TagSet></Tagging>", nil, "MalformedXML"},
		{"an element in text", "PUT", "/b?tagging", "<Tagging><TagSet><Tag><Key><b/></Key><Value/></Tag></TagSet></Tagging>", nil, "MalformedXML"},
		{"a value out of its enumeration", "PUT", "/b?versioning", "<VersioningConfiguration><Status>On</Status></VersioningConfiguration>", nil, "MalformedXML"},
		{"a number that is none", "PUT", "/b?lifecycle", "<LifecycleConfiguration><Rule><Status>Enabled</Status><Expiration><Days>x</Days></Expiration></Rule></LifecycleConfiguration>", nil, "MalformedXML"},
		{"a boolean that is none", "PUT", "/b?publicAccessBlock", "<PublicAccessBlockConfiguration><BlockPublicAcls>maybe</BlockPublicAcls></PublicAccessBlockConfiguration>", nil, "MalformedXML"},
		{"deep", "PUT", "/b?tagging", strings.Repeat("<Tagging>", 100_000), nil, "MalformedXML"},
		{"no body where one must be", "PUT", "/b?tagging", "", nil, "MissingRequestBodyError"},
		{"max-keys", "GET", "/b?max-keys=x", "", nil, "InvalidArgument"},
		{"max-keys empty", "GET", "/b?max-keys=", "", nil, "InvalidArgument"},
		{"max-keys twice", "GET", "/b?max-keys=1&max-keys=2", "", nil, "InvalidArgument"},
		{"versionId twice", "DELETE", "/b/k?versionId=1&versionId=2", "", nil, "InvalidArgument"},
		{"encoding-type", "GET", "/b?encoding-type=rot13", "", nil, "InvalidArgument"},
		{"canned ACL", "PUT", "/b", "", []string{"x-amz-acl: everyone"}, "InvalidArgument"},
		{"storage class", "PUT", "/b/k", "", []string{"x-amz-storage-class: SHELF"}, "InvalidStorageClass"},
		{"attributes header", "GET", "/b/k?attributes", "", nil, "InvalidRequest"},
		{"attributes value", "GET", "/b/k?attributes", "", []string{"x-amz-object-attributes: ETag,Colour"}, "InvalidArgument"},
		{"copy source", "PUT", "/b/k", "", []string{"x-amz-copy-source: nokey"}, "InvalidArgument"},
		{"a boolean header", "DELETE", "/b/k", "", []string{"x-amz-bypass-governance-retention: perhaps"}, "InvalidArgument"},
		{"a key that is not UTF-8", "GET", "/b/%FF", "", nil, "InvalidURI"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := s3Decode(t, request(test.method, test.target, test.body, test.headers...), test.body)
			if e := (*wire.Error)(nil); !errors.As(err, &e) || e.Code != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestRESTEncode(t *testing.T) {
	const ns = ` xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`
	const head = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"
	for _, test := range []struct {
		op      string
		out     any
		status  int
		headers string // "Name: value" with |
		body    string
	}{
		{"ListBuckets", &s3.ListBucketsOutput{Owner: &s3.Owner{ID: "o"}, Buckets: []s3.Bucket{{Name: "b", CreationDate: when}}}, 200, "Content-Type: application/xml",
			head + "<ListAllMyBucketsResult" + ns + `<Buckets><Bucket><Name>b</Name><CreationDate>2026-02-24T15:23:21.987Z</CreationDate></Bucket></Buckets><Owner><ID>o</ID></Owner></ListAllMyBucketsResult>`},
		{"ListObjectsV2", &s3.ListObjectsV2Output{Name: "b", MaxKeys: 1000, Contents: []s3.Object{{Key: "k", ETag: `"e"`, LastModified: when}}}, 200, "",
			head + "<ListBucketResult" + ns + `<IsTruncated>false</IsTruncated><Contents><Key>k</Key><LastModified>2026-02-24T15:23:21.987Z</LastModified><ETag>&quot;e&quot;</ETag><Size>0</Size></Contents><Name>b</Name><Prefix></Prefix><MaxKeys>1000</MaxKeys><KeyCount>0</KeyCount></ListBucketResult>`},
		{"GetBucketLocation", &s3.GetBucketLocationOutput{LocationConstraint: "eu-west-1"}, 200, "",
			head + "<LocationConstraint" + ns + "eu-west-1</LocationConstraint>"},
		{"GetBucketLocation", &s3.GetBucketLocationOutput{}, 200, "", head + "<LocationConstraint" + ns + "</LocationConstraint>"},
		{"GetBucketAcl", &s3.GetBucketAclOutput{Owner: &s3.Owner{ID: "o"}, Grants: []s3.Grant{{Grantee: &s3.Grantee{Type: "CanonicalUser", ID: "o"}, Permission: "FULL_CONTROL"}}}, 200, "",
			head + "<AccessControlPolicy" + ns + `<Owner><ID>o</ID></Owner><AccessControlList><Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"><ID>o</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>`},
		{"GetPublicAccessBlock", &s3.GetPublicAccessBlockOutput{PublicAccessBlockConfiguration: &s3.PublicAccessBlockConfiguration{BlockPublicAcls: true}}, 200, "",
			head + "<PublicAccessBlockConfiguration" + ns + `<BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>false</IgnorePublicAcls><BlockPublicPolicy>false</BlockPublicPolicy><RestrictPublicBuckets>false</RestrictPublicBuckets></PublicAccessBlockConfiguration>`},
		{"GetBucketPolicy", &s3.GetBucketPolicyOutput{Policy: `{"a":1}`}, 200, "Content-Type: application/json|Content-Length: 7", `{"a":1}`},
		{"DeleteBucket", &s3.DeleteBucketOutput{}, 204, "Content-Type: ", ""},
		{"CreateBucket", &s3.CreateBucketOutput{Location: "/b"}, 200, "Location: /b|Content-Length: 0", ""},
		{"CopyObject", &s3.CopyObjectOutput{VersionId: "v", CopyObjectResult: &s3.CopyObjectResult{ETag: "e"}}, 200, "X-Amz-Version-Id: v",
			head + "<CopyObjectResult" + ns + "<ETag>e</ETag></CopyObjectResult>"},
		{"DeleteObjects", &s3.DeleteObjectsOutput{Errors: []s3.Error{{Key: "k", Code: "AccessDenied", Message: "Access Denied"}}}, 200, "",
			head + "<DeleteResult" + ns + "<Error><Key>k</Key><Code>AccessDenied</Code><Message>Access Denied</Message></Error></DeleteResult>"},
		{"GetObject", &s3.GetObjectOutput{Body: stream("hello"), ContentLength: 5, ETag: `"e"`, LastModified: when, Metadata: map[string]string{"a": "b"}, ContentType: "text/plain"}, 200,
			`Content-Length: 5|ETag: "e"|Last-Modified: Tue, 24 Feb 2026 15:23:21 GMT|x-amz-meta-a: b|Content-Type: text/plain`, "hello"},
		{"GetObject", &s3.GetObjectOutput{Body: stream("el"), ContentLength: 2, ContentRange: "bytes 1-2/5"}, 206, "Content-Range: bytes 1-2/5", "el"},
		{"GetObject", &s3.GetObjectOutput{Body: stream("<html>"), ContentLength: 6}, 200, "Content-Type: binary/octet-stream", "<html>"},
		{"HeadObject", &s3.HeadObjectOutput{ContentLength: 12, ContentType: "text/plain", ObjectLockRetainUntilDate: when}, 200,
			"Content-Length: 12|Content-Type: text/plain|X-Amz-Object-Lock-Retain-Until-Date: 2026-02-24T15:23:21.987Z", ""},
		{"PutObject", &s3.PutObjectOutput{ETag: `"e"`, BucketKeyEnabled: true}, 200, `ETag: "e"|X-Amz-Server-Side-Encryption-Bucket-Key-Enabled: true|Content-Length: 0`, ""},
		{"GetObjectAttributes", &s3.GetObjectAttributesOutput{ObjectSize: ptr(int64(0))}, 200, "", head + "<GetObjectAttributesResponse" + ns + "<ObjectSize>0</ObjectSize></GetObjectAttributesResponse>"},
	} {
		w := httptest.NewRecorder()
		if err := wire.EncodeResponse(w, s3.Model, s3.Model.Operation(test.op), test.out, "rid"); err != nil {
			t.Fatal(err)
		}
		if w.Code != test.status || w.Body.String() != test.body {
			t.Errorf("%s:\ngot  %d %s\nwant %d %s", test.op, w.Code, w.Body, test.status, test.body)
		}
		for h := range strings.SplitSeq(test.headers, "|") {
			name, value, _ := strings.Cut(h, ": ")
			got := w.Header().Get(name)
			if asItIs := w.Header()[name]; got == "" && len(asItIs) == 1 {
				got = asItIs[0]
			}
			if name != "" && got != value {
				t.Errorf("%s: header %s is %q, want %q", test.op, name, got, value)
			}
		}
		if w.Header().Get("X-Amz-Request-Id") != "rid" {
			t.Errorf("%s: no request id", test.op)
		}
	}
}

type closer struct {
	io.Reader
	closed *bool
}

func (c closer) Close() error { *c.closed = true; return nil }

func stream(s string) io.ReadCloser { return closer{strings.NewReader(s), new(bool)} }

// A body that fails is reported and closed.
func TestRESTEncodeBrokenStream(t *testing.T) {
	closed := false
	broken := errors.New("broken")
	out := &s3.GetObjectOutput{Body: closer{io.MultiReader(strings.NewReader("x"), readerFunc(func([]byte) (int, error) { return 0, broken })), &closed}, ContentLength: 2}
	err := wire.EncodeResponse(httptest.NewRecorder(), s3.Model, s3.Model.Operation("GetObject"), out, "rid")
	if !errors.Is(err, broken) || !closed {
		t.Errorf("got %v, closed %v", err, closed)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func TestRESTEncodeError(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("X-Amz-Id-2", "hid")
	wire.EncodeError(w, s3.Model, s3.NoSuchBucket("The specified bucket does not exist").With("BucketName", "b&c"), "rid", "/b/k")
	want := `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message><BucketName>b&amp;c</BucketName><Resource>/b/k</Resource><RequestId>rid</RequestId><HostId>hid</HostId></Error>`
	if w.Code != 404 || w.Body.String() != want || w.Header().Get("Content-Type") != "application/xml" {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	w = httptest.NewRecorder()
	wire.EncodeError(w, s3.Model, s3.NotModified("Not Modified"), "rid", "/b/k")
	if w.Code != 304 || w.Body.Len() != 0 {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

// An answer to HEAD has no body, whichever way it goes.
func TestRESTHead(t *testing.T) {
	for _, fail := range []bool{false, true} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if fail {
				wire.EncodeError(w, s3.Model, s3.NoSuchKey("The specified key does not exist."), "rid", "/b/k")
			} else if err := wire.EncodeResponse(w, s3.Model, s3.Model.Operation("HeadObject"), &s3.HeadObjectOutput{ContentLength: 7}, "rid"); err != nil {
				t.Error(err)
			}
		}))
		resp, err := s.Client().Head(s.URL + "/b/k")
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		s.Close()
		if len(b) != 0 || !fail && resp.ContentLength != 7 || fail && resp.StatusCode != 404 {
			t.Errorf("fail %v: %d %d %q", fail, resp.StatusCode, resp.ContentLength, b)
		}
	}
}

// Every document that S3 takes survives being written and read.
func TestRESTRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	documents := 0
	for _, op := range s3.Model.Operations {
		if op.In == nil || op.NoRoute {
			continue
		}
		for i := range op.In.NumField() {
			f := op.In.Field(i)
			ft := f.Type
			if ft.Kind() == reflect.Pointer {
				ft = ft.Elem()
			}
			if !strings.Contains(f.Tag.Get("wire"), "payload") || ft.Kind() != reflect.Struct {
				continue
			}
			documents++
			want := reflect.New(ft)
			fill(rnd, want.Elem(), 0)
			lawful(rnd, want.Elem(), "")
			doc := wire.AppendBody(s3.Model, "Root", want.Interface())
			got := reflect.New(ft)
			if err := wire.ParseBody(doc, got.Interface()); err != nil {
				t.Fatalf("%s: %v\n%s", op.Name, err, doc)
			}
			if diff := cmp.Diff(want.Interface(), got.Interface()); diff != "" {
				t.Fatalf("%s: -want +got\n%s\n%s", op.Name, diff, doc)
			}
		}
	}
	if documents < 25 {
		t.Errorf("only %d documents", documents)
	}
}

// lawful gives members with an enumeration one of its values, and removes what is left out when
// written: zeros.
func lawful(rnd *rand.Rand, v reflect.Value, enum reflect.StructTag) {
	switch v.Kind() {
	case reflect.Pointer:
		lawful(rnd, v.Elem(), enum)
	case reflect.String:
		if e := enum.Get("enum"); e != "" {
			all := strings.Split(e, "|")
			v.SetString(all[rnd.IntN(len(all))])
		}
	case reflect.Int32, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Slice:
		if e := enum.Get("eenum"); e != "" {
			enum = reflect.StructTag(`enum:"` + e + `"`)
		}
		if v.Type().Elem().Kind() != reflect.Uint8 {
			for i := range v.Len() {
				lawful(rnd, v.Index(i), enum)
			}
		}
	case reflect.Struct:
		if _, ok := v.Interface().(time.Time); ok {
			return
		}
		for i := range v.NumField() {
			lawful(rnd, v.Field(i), v.Type().Field(i).Tag)
		}
	}
}

// Every output of S3 becomes an answer whose document can be read, and a record.
func TestRESTEncodeAll(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	for i := range s3.Model.Operations {
		op := &s3.Model.Operations[i]
		if op.Out == nil {
			continue
		}
		out := reflect.New(op.Out)
		for j := range op.Out.NumField() {
			if f := out.Elem().Field(j); f.Kind() != reflect.Interface {
				fill(rnd, f, 0)
			}
		}
		w := httptest.NewRecorder()
		if err := wire.EncodeResponse(w, s3.Model, op, out.Interface(), "rid"); err != nil {
			t.Fatal(err)
		}
		if w.Header().Get("Content-Type") == "application/xml" {
			if err := wire.WellFormed(w.Body.Bytes()); err != nil {
				t.Errorf("%s: %v in %s", op.Name, err, w.Body)
			}
		}
		if b := wire.AppendJSON(nil, out.Interface(), wire.JSONOptions{}); !json.Valid(b) {
			t.Errorf("%s: %s", op.Name, b)
		}
	}
}
