package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// directives are the go:generate lines that call this program, by the folder they stand in.
func directives(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob("../aws/*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	deeper, err := filepath.Glob("../aws/*/api/*.go")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^//go:generate go run github\.com/iamd-dev/iamd/internal/apigen (.*)$`)
	found := map[string][]string{}
	for _, f := range append(files, deeper...) {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range line.FindAllSubmatch(text, -1) {
			found[filepath.Dir(f)] = strings.Fields(string(m[1]))
		}
	}
	return found
}

// TestCurrent generates every api package again and compares.
func TestCurrent(t *testing.T) {
	found := directives(t)
	if len(found) < 3 {
		t.Fatalf("only %d packages are generated", len(found))
	}
	for dir, args := range found {
		model, out, ops := "", "api_gen.go", []string{"all"}
		for i := 0; i+1 < len(args); i += 2 {
			switch args[i] {
			case "-model":
				model = args[i+1]
			case "-o":
				out = args[i+1]
			case "-ops":
				ops = strings.Split(args[i+1], ",")
			default:
				t.Errorf("%s: argument %s is not known", dir, args[i])
			}
		}
		want, err := generate(model, ops)
		if err != nil {
			t.Errorf("%s: %v", dir, err)
			continue
		}
		got, err := os.ReadFile(filepath.Join(dir, out))
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s/%s is not what the generator writes: run go generate ./...", dir, out)
		}
	}
}

// Importing a model that has been imported changes nothing, byte for byte.
func TestImportIsStable(t *testing.T) {
	names, err := filepath.Glob("models/*.json.gz")
	if err != nil || len(names) == 0 {
		t.Fatal("no models", err)
	}
	for _, name := range names {
		dir := t.TempDir()
		again, err := importModel(name, dir, []string{"all"})
		if err != nil {
			t.Fatal(err)
		}
		a, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(again)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(name) != filepath.Base(again) || !bytes.Equal(a, b) {
			t.Errorf("%s: %d bytes became %s with %d", name, len(a), filepath.Base(again), len(b))
		}
		if strings.Contains(string(a), "documentation") {
			t.Errorf("%s has documentation", name)
		}
	}
}

// A service's operations may be cut down; the others keep their rows.
func TestSomeOperations(t *testing.T) {
	text, err := generate("sts-2011-06-15", []string{"AssumeRole", "GetCallerIdentity"})
	// The rows of the tables that are about other operations change nothing here, and say so.
	if err == nil || !strings.Contains(err.Error(), "changes nothing") && !strings.Contains(err.Error(), "has no place") {
		t.Errorf("got %v and %d bytes", err, len(text))
	}
	if _, err := generate("sts-2011-06-15", []string{"AssumeRol"}); err == nil || !strings.Contains(err.Error(), `no operation "AssumeRol"`) {
		t.Errorf("got %v", err)
	}
	if _, err := generate("no-such-model", []string{"all"}); err == nil {
		t.Error("a model that is not there was generated")
	}
}

func TestMatches(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"A.B", "A.B", true},
		{"A.B", "A.C", false},
		{"*.B", "A.B", true},
		{"*.B", "A.C", false},
		{"A.*", "A.C", true},
		{"A.*", "B.C", false},
		{"A", "A", true},
		{"A", "A.B", false},
		{`[\w+=,.@-]+`, `[\w+=,.@-]+`, true},
		{`[\w+=,.@-]+`, `A.B`, false},
	} {
		if got := matches(test.pattern, test.name); got != test.want {
			t.Errorf("matches(%q, %q) = %v", test.pattern, test.name, got)
		}
	}
}

func TestRegexp(t *testing.T) {
	g := &generator{service: "iam", used: map[*exception]bool{}}
	for _, test := range []struct{ java, want string }{
		{`[\w+=,.@-]+`, `[\w+=,.@-]+`},
		{`[\u0009\u0020-\u00FF]+`, `[\x{0009}\x{0020}-\x{00FF}]+`},
		{`[\uE000-\uFFFD\u10000-\u10FFFF]+`, `[\x{E000}-\x{FFFD}\x{10000}-\x{10FFFF}]+`},
		{`^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$`, `^[a-z0-9]+(-[a-z0-9]+)*$`},
	} {
		if got := g.regexp(test.java); got != test.want {
			t.Errorf("%s: got %s, want %s", test.java, got, test.want)
		}
		if _, err := regexp.Compile(g.regexp(test.java)); err != nil || g.err != nil {
			t.Error(err, g.err)
		}
	}
	if g.regexp(`a(?=b)`); g.err == nil {
		t.Error("a lookahead passed")
	}
}

// The order of members is the model's, not the alphabet's.
func TestMembersKeepOrder(t *testing.T) {
	var m members
	const text = `{"b":{"shape":"B"},"a":{"shape":"A"},"c":{"shape":"C","location":"header"}}`
	if err := m.UnmarshalJSON([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if want := []string{"b", "a", "c"}; !slices.Equal(m.names, want) {
		t.Errorf("got %v, want %v", m.names, want)
	}
	got, err := m.MarshalJSON()
	if err != nil || string(got) != text {
		t.Errorf("got %s, %v", got, err)
	}
}
