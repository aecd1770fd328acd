package server_test

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Whatever somebody with a key sends is answered by an error of AWS's form or done:
// it is never a fault of ours.

func FuzzForm(f *testing.F) {
	for _, form := range []string{
		"Action=GetCallerIdentity&Version=2011-06-15",
		"Action=CreateUser&Version=2010-05-08&UserName=a&Tags.member.1.Key=k&Tags.member.1.Value=v",
		"Action=CreateRole&Version=2010-05-08&RoleName=r&AssumeRolePolicyDocument=%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%5D%7D",
		"Action=PutUserPolicy&Version=2010-05-08&UserName=u&PolicyName=p&PolicyDocument=" + strings.ReplaceAll(allow("s3:*", "*"), `"`, "%22"),
		"Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fr&RoleSessionName=s1&DurationSeconds=900&PolicyArns.member.1.arn=x",
		"Action=SimulatePrincipalPolicy&Version=2010-05-08&PolicySourceArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Auser%2Fu&ActionNames.member.1=s3%3AGetObject&ContextEntries.member.1.ContextKeyName=a&ContextEntries.member.1.ContextKeyType=string",
		"Action=ListUsers&Version=2010-05-08&MaxItems=1&Marker=x&PathPrefix=/",
		"Action=DecodeAuthorizationMessage&Version=2011-06-15&EncodedMessage=AQAAAA",
		"Action=GetAccessKeyInfo&Version=2011-06-15&AccessKeyId=AKIAIOSFODNN7EXAMPLE",
		"Action=AttachRolePolicy&Version=2010-05-08&RoleName=r&PolicyArn=arn%3Aaws%3Aiam%3A%3Aaws%3Apolicy%2FAdministratorAccess",
		"Action=UpdateAssumeRolePolicy&Version=2010-05-08&RoleName=r&PolicyDocument=%7B%7D",
	} {
		f.Add(form)
	}
	h := open(f, nil)
	h.user(ours, "u", "")
	h.well(h.query(h.roots[ours], "iam", "CreateRole", "RoleName", "r", "AssumeRolePolicyDocument", trust(ours)))
	f.Fuzz(func(t *testing.T, form string) {
		h := *h
		h.t = t
		service := "iam"
		if strings.Contains(form, "2011") {
			service = "sts"
		}
		r := h.request("POST", "/", form)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		sign(h.roots[ours], service, r, form, time.Now())
		before := h.changes.n.Load()
		a := h.from("127.0.0.1:1", r)
		sound(t, a)
		if err := isAnswer(a); err != nil {
			t.Errorf("%v: %s", err, a.body)
		}
		if a.status != 200 && h.changes.n.Load() != before {
			t.Errorf("refused with %d %s, it changed the state", a.status, a.code)
		}
	})
}

// The same for the JSON of Organizations, any operation and any body.
func FuzzTarget(f *testing.F) {
	for _, seed := range [][2]string{
		{"CreateOrganization", `{"FeatureSet":"ALL"}`}, {"CreateAccount", `{"Email":"a@example.com","AccountName":"a","Tags":[{"Key":"k","Value":"v"}]}`},
		{"CreatePolicy", `{"Name":"p","Description":"","Type":"SERVICE_CONTROL_POLICY","Content":"{\"Version\":\"2012-10-17\",\"Statement\":[]}"}`},
		{"AttachPolicy", `{"PolicyId":"p-FullAWSAccess","TargetId":"r-aaaa"}`}, {"ListAccounts", `{"MaxResults":1,"NextToken":"x"}`}, {"ListRoots", ``}, {"MoveAccount", `{"AccountId":null}`},
		{"TagResource", `{"ResourceId":"111122223333","Tags":[{"Key":"a","Value":"b"},{}]}`}, {"DescribeOrganization", `[]`}, {"InviteAccountToOrganization", `{"Target":{"Id":"444455556666","Type":"ACCOUNT"}}`},
	} {
		f.Add(seed[0], seed[1])
	}
	h := open(f, nil)
	f.Fuzz(func(t *testing.T, operation, body string) {
		h := *h
		h.t = t
		r := h.request("POST", "/", body)
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		r.Header.Set("X-Amz-Target", "AWSOrganizationsV20161128."+operation)
		sign(h.roots[ours], "organizations", r, body, time.Now())
		before := h.changes.n.Load()
		a := h.from("127.0.0.1:1", r)
		if a.status >= 500 && a.status != 501 && a.status != 503 || a.requestID == "" || a.body != "" && !json.Valid([]byte(a.body)) {
			t.Errorf("answered %d %s", a.status, a.body)
		}
		if a.status != 200 && h.changes.n.Load() != before {
			t.Errorf("refused with %d %s, it changed the state", a.status, a.body)
		}
	})
}

func FuzzObject(f *testing.F) {
	for _, c := range [][5]string{
		{"GET", "b-1/k", "", "", ""}, {"PUT", "b-1/k", "", "hello", "Content-Type: text/plain"}, {"GET", "b-1", "list-type=2&prefix=a&max-keys=3&delimiter=/", "", ""},
		{"POST", "b-1", "delete", "<Delete><Object><Key>k</Key></Object></Delete>", ""}, {"PUT", "b-1", "tagging", "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>", ""},
		{"PUT", "b-1/c", "", "", "X-Amz-Copy-Source: /b-1/k?versionId=null"}, {"GET", "b-1/k", "", "", "Range: bytes=0-1"}, {"GET", "b-1/k", "partNumber=1", "", "If-Match: *"},
		{"POST", "b-1/k", "uploads", "", ""}, {"PUT", "b-1/k", "partNumber=1&uploadId=x", "hello", ""}, {"PUT", "b-1", "policy", `{"Version":"2012-10-17","Statement":[]}`, ""},
		{"GET", "b-1", "versions&key-marker=a&version-id-marker=b", "", ""}, {"PUT", "b-1", "encryption", "<ServerSideEncryptionConfiguration/>", ""}, {"GET", "b-1/k", "attributes", "", "X-Amz-Object-Attributes: ETag"},
		{"PUT", "b-1/k", "", "hello", "X-Amz-Tagging: a=b&c"}, {"HEAD", "b-1/k", "response-expires=x", "", "If-Modified-Since: yesterday"},
	} {
		f.Add(c[0], c[1], c[2], c[3], c[4])
	}
	h := open(f, nil)
	h.well(h.s3(h.roots[ours], "PUT", "/b-1", ""))
	h.well(h.s3(h.roots[ours], "PUT", "/b-1/k", "hello"))
	f.Fuzz(func(t *testing.T, method, path, query, body, header string) {
		h := *h
		h.t = t
		r := httptest.NewRequest("GET", h.url, strings.NewReader(body))
		r.URL.Path, r.URL.RawQuery, r.Method = "/"+path, query, method
		if name, value, ok := strings.Cut(header, ": "); ok && name != "" {
			r.Header.Set(name, value)
		}
		sign(h.roots[ours], "s3", r, body, time.Now())
		sound(t, h.from("127.0.0.1:1", r))
	})
}

func sound(t *testing.T, a reply) {
	t.Helper()
	if a.status >= 500 && a.status != 501 && a.status != 503 || a.status >= 400 && a.code == "" && a.body != "" {
		t.Errorf("answered %d %s", a.status, a.body)
	}
}
