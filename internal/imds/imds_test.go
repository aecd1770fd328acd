package imds_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	client "github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/imds"
	"github.com/iamd-dev/iamd/internal/servicerole"
)

var now = time.Date(2026, 11, 30, 7, 0, 0, 0, time.UTC)

// A site is a metadata service whose instance may change.
type site struct {
	*httptest.Server
	mu       sync.Mutex
	instance *imds.Instance
	fault    error
	number   string
	now      time.Time
}

func open(t *testing.T) *site {
	s := &site{now: now, number: "1", instance: &imds.Instance{
		ID: "i-0123456789abcdef0", Type: "t3.micro", Image: "ami-0123456789abcdef0", Reservation: "r-0123456789abcdef0", Architecture: "x86_64",
		Account: "123456789012", Region: "eu-west-1", Zone: "eu-west-1a", ZoneID: "euw1-az1", PrivateIP: "172.31.4.5", Hostname: "ip-172-31-4-5.eu-west-1.compute.internal",
		Launched: now, UserData: []byte("#!/bin/sh\necho hello\n"), Tags: map[string]string{"Name": "web", "env": "<test>"}, TokenRequired: true,
		Profile: &imds.Profile{ARN: "arn:aws:iam::123456789012:instance-profile/web", ID: "AIPA", Role: "web-role"},
	}}
	m := imds.New(func() *imds.Instance {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.instance == nil {
			return nil
		}
		i := *s.instance
		return &i
	}, s.credentials, func() time.Time { s.mu.Lock(); defer s.mu.Unlock(); return s.now })
	s.Server = httptest.NewServer(m)
	t.Cleanup(s.Close)
	return s
}

func (s *site) credentials(context.Context) (*servicerole.Credentials, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil {
		return nil, s.fault
	}
	return &servicerole.Credentials{AccessKeyID: "ASIA" + s.number, SecretAccessKey: identity.NewSecret("secret" + s.number), SessionToken: identity.NewSecret("token" + s.number),
		Issued: now, Expires: time.Now().Add(time.Hour).Truncate(time.Second), Role: "arn:aws:iam::123456789012:role/web-role"}, nil
}

func (s *site) change(f func()) { s.mu.Lock(); defer s.mu.Unlock(); f() }

func (s *site) do(t *testing.T, method, path string, header ...string) (int, string, http.Header) {
	t.Helper()
	r, err := http.NewRequest(method, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), resp.Header
}

const ttl, token = "X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token"

func (s *site) token(t *testing.T, seconds string) string {
	t.Helper()
	status, body, header := s.do(t, "PUT", "/latest/api/token", ttl, seconds)
	if status != 200 || header.Get(ttl) != seconds {
		t.Fatalf("%d %s %v", status, body, header)
	}
	return body
}

func TestToken(t *testing.T) {
	s := open(t)
	for _, test := range []struct {
		name, path string
		header     []string
		want       int
	}{
		{"no lifetime", "/latest/api/token", nil, 400},
		{"no number", "/latest/api/token", []string{ttl, "x"}, 400},
		{"too short", "/latest/api/token", []string{ttl, "0"}, 400},
		{"too long", "/latest/api/token", []string{ttl, "21601"}, 400},
		{"the longest", "/latest/api/token", []string{ttl, "21600"}, 200},
		{"through a proxy", "/latest/api/token", []string{ttl, "60", "X-Forwarded-For", "10.0.0.1"}, 403},
		{"through a proxy that says nothing", "/latest/api/token", []string{ttl, "60", "X-Forwarded-For", ""}, 403},
		{"at a date", "/2021-03-23/api/token", []string{ttl, "60"}, 403},
		{"elsewhere", "/latest/meta-data/ami-id", []string{ttl, "60"}, 403},
	} {
		if got, body, _ := s.do(t, "PUT", test.path, test.header...); got != test.want {
			t.Errorf("%s: %d %s, want %d", test.name, got, body, test.want)
		}
	}

	good := s.token(t, "60")
	other := open(t).token(t, "60")
	get := func(tok ...string) int {
		var header []string
		for _, x := range tok {
			header = append(header, token, x)
		}
		status, _, _ := s.do(t, "GET", "/latest/meta-data/instance-id", header...)
		return status
	}
	for name, got := range map[string][2]int{
		"good":                 {get(good), 200},
		"none":                 {get(), 401},
		"empty":                {get(""), 401},
		"another instance's":   {get(other), 401},
		"tampered with":        {get(strings.Repeat("A", 12) + good[12:]), 401},
		"cut":                  {get(good[:len(good)-4]), 401},
		"two":                  {get(good, other), 401},
		"no token at all":      {get("x"), 401},
		"good in a head":       {func() int { c, _, _ := s.do(t, "HEAD", "/latest/meta-data/", token, good); return c }(), 200},
		"good in a post":       {func() int { c, _, _ := s.do(t, "POST", "/latest/meta-data/", token, good); return c }(), 405},
		"good in other letter": {func() int { c, _, _ := s.do(t, "GET", "/latest/", strings.ToUpper(token), good); return c }(), 200},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %d, want %d", name, got[0], got[1])
		}
	}
	s.change(func() { s.now = now.Add(time.Minute) })
	if got := get(good); got != 401 {
		t.Errorf("after its end: %d", got)
	}

	// Version 1, where tokens are optional; a bad one is refused all the same.
	s.change(func() { s.instance.TokenRequired = false })
	if got := get(); got != 200 {
		t.Errorf("version 1: %d", got)
	}
	if got := get(good); got != 401 {
		t.Errorf("version 1 with an old token: %d", got)
	}
	s.change(func() { s.instance.Disabled = true })
	if got := get(); got != 403 {
		t.Errorf("switched off: %d", got)
	}
	if got, _, _ := s.do(t, "PUT", "/latest/api/token", ttl, "60"); got != 403 {
		t.Errorf("switched off, a token: %d", got)
	}
	s.change(func() { s.instance = nil })
	if got := get(); got != 403 {
		t.Errorf("terminated: %d", got)
	}
}

func TestTree(t *testing.T) {
	s := open(t)
	s.change(func() { s.instance.TokenRequired = false })
	for path, want := range map[string]string{
		"/latest/":                                           "dynamic\nmeta-data\nuser-data",
		"/latest":                                            "dynamic\nmeta-data\nuser-data",
		"/latest/user-data":                                  "#!/bin/sh\necho hello\n",
		"/latest/meta-data/ami-id":                           "ami-0123456789abcdef0",
		"/2021-03-23/meta-data/instance-id":                  "i-0123456789abcdef0",
		"/latest/meta-data/instance-type":                    "t3.micro",
		"/latest/meta-data/local-ipv4":                       "172.31.4.5",
		"/latest/meta-data/hostname":                         "ip-172-31-4-5.eu-west-1.compute.internal",
		"/latest/meta-data/placement/":                       "availability-zone\navailability-zone-id\nregion",
		"/latest/meta-data/placement/region":                 "eu-west-1",
		"/latest/meta-data/placement/availability-zone":      "eu-west-1a",
		"/latest/meta-data/iam/":                             "info\nsecurity-credentials/",
		"/latest/meta-data/iam/security-credentials/":        "web-role",
		"/latest/meta-data/iam/security-credentials":         "web-role",
		"/latest/meta-data/tags/instance/Name":               "404",
		"/latest/meta-data/tags/":                            "404",
		"/latest/meta-data/nothing":                          "404",
		"/latest/meta-data/ami-id/":                          "404",
		"/latest/meta-data/ami-id/x":                         "404",
		"/latest/meta-data/iam/security-credentials/another": "404",
		"/2000-01-01/meta-data/ami-id":                       "404",
		"/latest/../latest/meta-data/ami-id":                 "404",
		"/etc/passwd":                                        "404",
	} {
		status, body, header := s.do(t, "GET", path)
		if want == "404" {
			if status != 404 || !strings.Contains(body, "<h1>404 - Not Found</h1>") {
				t.Errorf("%s: %d %s", path, status, body)
			}
			continue
		}
		if status != 200 || body != want || header.Get("Content-Type") != "text/plain" {
			t.Errorf("%s: %d %q, want %q", path, status, body, want)
		}
	}
	s.change(func() { s.instance.ShowTags = true })
	if _, body, _ := s.do(t, "GET", "/latest/meta-data/tags/instance/"); body != "Name\nenv" {
		t.Errorf("tags: %q", body)
	}
	if _, body, _ := s.do(t, "GET", "/latest/meta-data/tags/instance/env"); body != "<test>" {
		t.Errorf("a tag: %q", body)
	}
	s.change(func() { s.instance.UserData = nil })
	if status, _, _ := s.do(t, "GET", "/latest/user-data"); status != 404 {
		t.Errorf("no user data: %d", status)
	}
}

// The documents under iam, as the profile and its role change.
func TestRole(t *testing.T) {
	s := open(t)
	s.change(func() { s.instance.TokenRequired = false })
	document := func(path string) map[string]string {
		t.Helper()
		status, body, _ := s.do(t, "GET", "/latest/meta-data/iam/"+path)
		if status != 200 {
			return map[string]string{"status": http.StatusText(status)}
		}
		var m map[string]string
		if err := json.Unmarshal([]byte(body), &m); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		return m
	}
	if d := document("info"); d["Code"] != "Success" || d["InstanceProfileArn"] != "arn:aws:iam::123456789012:instance-profile/web" || d["InstanceProfileId"] != "AIPA" || d["LastUpdated"] != "2026-11-30T07:00:00Z" {
		t.Errorf("info: %v", d)
	}
	if d := document("security-credentials/web-role"); d["Code"] != "Success" || d["Type"] != "AWS-HMAC" || d["AccessKeyId"] != "ASIA1" || d["SecretAccessKey"] != "secret1" || d["Token"] != "token1" || d["Expiration"] == "" {
		t.Errorf("credentials: %v", d)
	}
	s.change(func() { s.number = "2" })
	if d := document("security-credentials/web-role"); d["AccessKeyId"] != "ASIA2" {
		t.Errorf("other credentials: %v", d)
	}
	s.change(func() { s.fault = errors.New("AccessDenied: no") })
	if d := document("security-credentials/web-role"); d["Code"] != "AssumeRoleUnauthorizedAccess" || !strings.HasPrefix(d["Message"], "EC2 cannot assume the role web-role.") || d["AccessKeyId"] != "" {
		t.Errorf("a role that does not trust EC2: %v", d)
	}
	s.change(func() { s.instance.Profile.Role = "" })
	if d := document("info"); d["Code"] != "Success" || d["Message"] != "Instance Profile does not contain a role..." {
		t.Errorf("a profile without a role: %v", d)
	}
	s.change(func() { s.instance.Profile.Gone = true })
	if d := document("info"); d["Code"] != "InstanceProfileNotFound" {
		t.Errorf("a profile that is gone: %v", d)
	}
	s.change(func() { s.instance.Profile = nil })
	for _, path := range []string{"info", "", "security-credentials/", "security-credentials/web-role"} {
		if d := document(path); d["status"] != "Not Found" {
			t.Errorf("no profile: %s: %v", path, d)
		}
	}
}

// The stock client finds what it looks for.
func TestClient(t *testing.T) {
	s := open(t)
	c := client.New(client.Options{Endpoint: s.URL})
	doc, err := c.GetInstanceIdentityDocument(t.Context(), nil)
	if err != nil || doc.AccountID != "123456789012" || doc.Region != "eu-west-1" || doc.InstanceID != "i-0123456789abcdef0" || !doc.PendingTime.Equal(now) {
		t.Errorf("%+v %v", doc, err)
	}
	if r, err := c.GetRegion(t.Context(), nil); err != nil || r.Region != "eu-west-1" {
		t.Errorf("%v %v", r, err)
	}
	if _, err := c.GetIAMInfo(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if _, err := c.GetMetadata(t.Context(), &client.GetMetadataInput{Path: "nothing"}); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("got %v", err)
	}
	creds, err := ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = c }).Retrieve(t.Context())
	if err != nil || creds.AccessKeyID != "ASIA1" || creds.SessionToken != "token1" {
		t.Errorf("%v %v", creds, err)
	}
	s.change(func() { s.fault = errors.New("no") })
	if _, err := ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = c }).Retrieve(t.Context()); err == nil || !strings.Contains(err.Error(), "AssumeRoleUnauthorizedAccess") {
		t.Errorf("got %v", err)
	}
}

func TestContainer(t *testing.T) {
	s := open(t)
	server := httptest.NewServer(&imds.Container{Path: "/v2/credentials/1", Token: identity.NewSecret("the token"), Credentials: s.credentials})
	defer server.Close()
	bare := httptest.NewServer(&imds.Container{Path: "/", Credentials: s.credentials})
	defer bare.Close()
	provider := func(path, token string) *endpointcreds.Provider {
		return endpointcreds.New(server.URL+path, func(o *endpointcreds.Options) { o.AuthorizationToken = token })
	}
	creds, err := provider("/v2/credentials/1", "the token").Retrieve(t.Context())
	if err != nil || creds.AccessKeyID != "ASIA1" || creds.SecretAccessKey != "secret1" || creds.SessionToken != "token1" || creds.AccountID != "123456789012" || creds.Expires.Before(time.Now()) {
		t.Errorf("%v %v", creds, err)
	}
	for name, p := range map[string]*endpointcreds.Provider{
		"another token":                 provider("/v2/credentials/1", "the tokem"),
		"a longer token":                provider("/v2/credentials/1", "the token2"),
		"no token":                      provider("/v2/credentials/1", ""),
		"another's path":                provider("/v2/credentials/2", "the token"),
		"an endpoint that has no token": endpointcreds.New(bare.URL),
	} {
		if creds, err := p.Retrieve(t.Context()); err == nil {
			t.Errorf("%s: %v", name, creds.AccessKeyID)
		}
	}
	s.change(func() { s.fault = errors.New("AccessDenied: no") })
	if _, err := provider("/v2/credentials/1", "the token").Retrieve(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot be assumed") {
		t.Errorf("got %v", err)
	}
}
