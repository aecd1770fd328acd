package codebuild

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/codebuild/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// A build that ran when the server was killed has ended when the next one opens.
func TestKilled(t *testing.T) {
	ctx := context.Background()
	db, err := store.Open(ctx, store.NewMemory(), Tables()...)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	b := &build{Build: api.Build{Id: "app:1", BuildStatus: "IN_PROGRESS"}}
	b.enter("BUILD", time.Unix(1, 0))
	if err := db.Update(ctx, func(tx *store.Tx) error {
		builds.Put(tx, key("111122223333", "us-east-1", "app:1"), b)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	left := filepath.Join(dir, "tmp", "build-1")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	s := &Service{DB: db, Dir: dir}
	if err := s.Open(ctx); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got := builds.Get(db.View(), key("111122223333", "us-east-1", "app:1"))
	if !got.BuildComplete || got.BuildStatus != "FAULT" || got.Phases[0].PhaseStatus != "FAULT" || got.CurrentPhase != "COMPLETED" {
		t.Errorf("it is %+v", got.Build)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("what it left is there: %v", err)
	}
}

func TestMatches(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"**/*", "a", true}, {"**/*", "a/b/c", true}, {"*", "a/b", false}, {"*.txt", "a.txt", true},
		{"target/**/*.jar", "target/x/y/z.jar", true}, {"target/**/*.jar", "target/z.jar", true}, {"target/**/*.jar", "z.jar", false},
		{"a/b", "a/b", true}, {"a", "a/b", false}, {"a/**", "a/b/c", true}, {"[", "[", false},
	} {
		if got := matches(test.pattern, test.name); got != test.want {
			t.Errorf("%s means %s: %t", test.pattern, test.name, got)
		}
	}
}

func TestConditionKeys(t *testing.T) {
	yes := true
	start := &api.StartBuildInput{
		BuildspecOverride: "spec", SourceLocationOverride: "b/k", PrivilegedModeOverride: &yes, ServiceRoleOverride: "role",
		ArtifactsOverride:            &api.ProjectArtifacts{Location: "bucket"},
		EnvironmentVariablesOverride: []api.EnvironmentVariable{{Name: "a.b", Value: "1"}, {Name: "C", Value: "2"}},
		LogsConfigOverride:           &api.LogsConfig{S3Logs: &api.S3LogsConfig{Location: "logs"}},
	}
	create := &api.CreateProjectInput{
		Source: api.ProjectSource{Location: "b/k"}, ServiceRole: "role",
		SecondarySources: []api.ProjectSource{{SourceIdentifier: "one", Location: "x"}, {SourceIdentifier: "two", Location: "y"}},
	}
	for _, test := range []struct {
		in   any
		key  string
		want []string
	}{
		{start, "codebuild:source.buildspec", []string{"spec"}},
		{start, "codebuild:source.location", []string{"b/k"}},
		{start, "codebuild:environment.privilegedmode", []string{"true"}},
		{start, "codebuild:environment.image", nil},
		{start, "codebuild:servicerole", []string{"role"}},
		{start, "codebuild:artifacts", []string{""}},
		{start, "codebuild:artifacts.location", []string{"bucket"}},
		{start, "codebuild:cache", nil},
		{start, "codebuild:environment.environmentvariables", []string{""}},
		{start, "codebuild:environment.environmentvariables.name", []string{"a.b", "C"}},
		{start, "codebuild:environment.environmentvariables/a.b.value", []string{"1"}},
		{start, "codebuild:environment.environmentvariables/c.value", []string{"2"}},
		{start, "codebuild:environment.environmentvariables/d.value", nil},
		{start, "codebuild:logsconfig.s3logs.location", []string{"logs"}},
		{create, "codebuild:source.location", []string{"b/k"}},
		{create, "codebuild:secondarysources.sourceidentifier", []string{"one", "two"}},
		{create, "codebuild:secondarysources/two.location", []string{"y"}},
		{create, "codebuild:nothing", nil},
		{create, "aws:nothing", nil},
		{&api.ListBuildsInput{}, "codebuild:source.location", nil},
	} {
		v, ok := conditionKey(nil, &service.Check{In: test.in}, nil, test.key)
		if got := v.Strings(); ok != (test.want != nil) || ok && !reflect.DeepEqual(got, test.want) {
			t.Errorf("%T: %s is %q", test.in, test.key, got)
		}
	}
}

// A log has what a build prints and what it does, and no values of parameters.
func TestLog(t *testing.T) {
	ctx := context.Background()
	db, err := store.Open(ctx, store.NewMemory(), Tables()...)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := &Service{DB: db, Dir: t.TempDir()}
	if err := s.Open(ctx); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	spec, err := parseBuildspec([]byte("version: 0.2\nphases:\n  build:\n    commands:\n      - echo sesame\n      - exit 3\n"))
	if err != nil {
		t.Fatal(err)
	}
	j := &job{s: s, uuid: "u", build: &build{}}
	o, err := newOutput(j)
	if err != nil {
		t.Fatal(err)
	}
	j.out = o
	o.mark, o.spec = []byte("MARK "), spec
	close(o.begun)
	o.hide("sesame")
	// However the output is cut into pieces.
	for _, b := range []byte("MARK enter BUILD\nMARK run BUILD c0\nsesame\nno endMARK run BUILD c1\nMARK failed BUILD c1 3\nMARK leave BUILD\nMARK artifacts\nlast") {
		if n, err := o.Write([]byte{b}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	o.flush()
	o.close()
	text, err := os.ReadFile(s.logFile("u"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("sesame")) || bytes.Contains(text, []byte("MARK")) {
		t.Errorf("it says\n%s", text)
	}
	for _, want := range []string{"Entering phase BUILD\n", "Running command echo ***\n", "\n***\n", "no end\n", "exit status 3\n",
		"Message: Error while executing command: exit 3. Reason: exit status 3\n", "last\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("it lacks %q:\n%s", want, text)
		}
	}
	if !j.failed || !o.artifacts {
		t.Errorf("failed is %t, artifacts %t", j.failed, o.artifacts)
	}
}

func TestBuildspecs(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"version: 0.2\nphases: {build: {commands: [x]}}", ""},
		{"version: 0.2\nphases: {build: {commands: x}}", ""},
		{"phases: {build: {commands: [x]}}", "version is missing"},
		{"version: 0.1\nphases: {build: {commands: [x]}}", "0.1"},
		{"version: 0.2\nphases: {build: {}}", "no phase with commands"},
		{"version: 0.2\nenv: {shell: powershell.exe}\nphases: {build: {commands: [x]}}", "powershell.exe"},
		{"version: 0.2\nenv: {exported-variables: ['a b']}\nphases: {build: {commands: [x]}}", "a b"},
		{"version: 0.2\nphases: {build: {on-failure: RETRY, commands: [x]}}", "RETRY"},
		{"version: 0.2\nphases:\n  build:\n\tcommands: [x]", "line 4"},
		{"a: &a [*a]", ""},
	} {
		_, err := parseBuildspec([]byte(test.text))
		if test.want == "" && strings.HasPrefix(test.text, "version") && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%q: %v", test.text, err)
		}
	}
}
