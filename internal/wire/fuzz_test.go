package wire_test

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	iam "github.com/iamd-dev/iamd/internal/aws/iam/api"
	s3 "github.com/iamd-dev/iamd/internal/aws/s3/api"
	sts "github.com/iamd-dev/iamd/internal/aws/sts/api"
	"github.com/iamd-dev/iamd/internal/wire"
)

// Whatever a form says, the outcome is an input or an error for the caller, and either can be
// written out again.
func FuzzForm(f *testing.F) {
	f.Add("Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fr&RoleSessionName=ab&Tags.member.1.Key=a&Tags.member.1.Value=b&PolicyArns.member.2.arn=x")
	f.Add("Action=TagUser&Version=2010-05-08&UserName=a&Tags.member.1000000000.Key=a&Tags=&Tags.member=&Tags.member.1.Key.x=")
	f.Add("Action=SimulateCustomPolicy&Version=2010-05-08&ContextEntries.member.1.ContextKeyValues.member.1=a&ActionNames.member.1=b")
	f.Add("Action=CreateDelegationRequest&Version=2010-05-08&Permissions.Parameters.member.1.Values.member.1=a")
	f.Fuzz(func(t *testing.T, form string) {
		r := httptest.NewRequest("POST", "/", strings.NewReader(form))
		action, version := wire.FormAction(r, []byte(form))
		m := iam.Model
		if version == sts.Model.Version {
			m = sts.Model
		}
		op, err := m.Named(action, version)
		if err == nil {
			in := reflect.New(op.In)
			if err = wire.Decode(m, op, r, []byte(form), in.Interface()); err == nil {
				if b := wire.AppendJSON(nil, in.Interface(), wire.JSONOptions{}); !json.Valid(b) {
					t.Errorf("%s", b)
				}
				return
			}
		}
		e := (*wire.Error)(nil)
		if !errors.As(err, &e) {
			t.Fatalf("%T %v", err, err)
		}
		w := httptest.NewRecorder()
		wire.EncodeError(w, m, e, "rid", "/")
		if err := wire.WellFormed(w.Body.Bytes()); err != nil || w.Code != 400 {
			t.Errorf("%d %v in %s", w.Code, err, w.Body)
		}
	})
}

// Whatever a document says, it is a configuration that reads the same after being written, or
// it is refused.
func FuzzXML(f *testing.F) {
	f.Add("tagging", "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>")
	f.Add("lifecycle", "<LifecycleConfiguration><Rule><ID>x</ID><Filter><And><Prefix/><Tag><Key>a</Key><Value/></Tag></And></Filter><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>")
	f.Add("acl", `<AccessControlPolicy xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><AccessControlList><Grant><Grantee xsi:type="Group"><URI>u</URI></Grantee></Grant></AccessControlList></AccessControlPolicy>`)
	f.Add("replication", "<ReplicationConfiguration><Role>r</Role><Rule><Status>Enabled</Status><Destination><Bucket>b</Bucket></Destination></Rule></ReplicationConfiguration>")
	f.Fuzz(func(t *testing.T, subresource, body string) {
		r := httptest.NewRequest("PUT", "/b", strings.NewReader(body))
		r.URL.RawQuery = subresource
		op, err := s3.Model.Route(r, "/b")
		if err != nil || op.Streams() {
			return
		}
		in := reflect.New(op.In)
		if err := wire.Decode(s3.Model, op, r, []byte(body), in.Interface()); err != nil {
			if e := (*wire.Error)(nil); !errors.As(err, &e) {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		if b := wire.AppendJSON(nil, in.Interface(), wire.JSONOptions{}); !json.Valid(b) {
			t.Errorf("%s", b)
		}
	})
}

// Whatever a request line says, a route is found or refused, and the bucket is never empty.
func FuzzRoute(f *testing.F) {
	f.Add("GET", "/b/k", "versionId=1")
	f.Add("DELETE", "/b", "policy;acl")
	f.Add("PUT", "//", "partNumber=1&uploadId")
	f.Add("PUT", "/b/%", "x-amz-copy-source=a/b")
	f.Fuzz(func(t *testing.T, method, path, query string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Method, r.URL.RawQuery = method, query
		op, err := s3.Model.Route(r, path)
		if err != nil {
			return
		}
		if op.NoRoute || op.Method != method {
			t.Errorf("%s found by %s", op.Name, method)
		}
		if strings.Contains(op.URI, "{Bucket}") && r.PathValue("Bucket") == "" {
			t.Errorf("%s %q: no bucket", op.Name, path)
		}
		if strings.Contains(op.URI, "{Key+}") && r.PathValue("Key") == "" {
			t.Errorf("%s %q: no key", op.Name, path)
		}
	})
}
