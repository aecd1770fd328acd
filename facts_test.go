package iamd_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	iamapi "github.com/iamd-dev/iamd/internal/aws/iam/api"
	stsapi "github.com/iamd-dev/iamd/internal/aws/sts/api"
	"github.com/iamd-dev/iamd/internal/recorded"
	"github.com/iamd-dev/iamd/internal/wire"
)

// Facts of AWS, each with a number such as F0003, are carried over into cases of our
// tests: a script or a table names the number in a comment. Those that do not hold here
// stand with the reason in a list facts-not-held.txt beside the service. Where the facts
// themselves are at hand, every one of these services must be in one of the two.
var factsOf = []string{"iam", "sts", "s3", "*"}

var factNumber = regexp.MustCompile(`\bF\d{4}\b`)

func TestFacts(t *testing.T) {
	held, notHeld := map[string]string{}, map[string]string{} // number -> file
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		comment, numbers := "", held
		switch {
		case d.Name() == "facts-not-held.txt":
			numbers = notHeld
		case strings.Contains(filepath.ToSlash(file), "/testdata/recorded/"), strings.Contains(filepath.ToSlash(file), "/testdata/") && strings.HasSuffix(file, ".txt"):
			comment = "#"
		case strings.HasSuffix(file, "_test.go"):
			comment = "//"
		default:
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			_, said, ok := strings.Cut(line, comment)
			if comment == "" {
				said, ok = line, !strings.HasPrefix(line, "#")
				if n := len(strings.TrimSpace(factNumber.ReplaceAllString(line, ""))); ok && n > 0 && n < 20 {
					t.Errorf("%s: no reason: %s", file, line)
				}
			}
			for _, number := range factNumber.FindAllString(said, -1) {
				if ok && file != "facts_test.go" {
					numbers[number] = file
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for number, file := range notHeld {
		if other := held[number]; other != "" {
			t.Errorf("%s: %s does hold, says %s", file, number, other)
		}
	}

	var facts []struct{ ID, Service, Operation, Situation string }
	if err := json.Unmarshal(recorded.Read(t, "truth/aws-observed.json"), &facts); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, f := range facts {
		known[f.ID] = true
		if slices.Contains(factsOf, f.Service) && held[f.ID] == "" && notHeld[f.ID] == "" {
			t.Errorf("%s is in no test: %s %s: %s", f.ID, f.Service, f.Operation, f.Situation)
		}
	}
	for number := range held {
		if !known[number] {
			t.Errorf("%s: there is no fact %s", held[number], number)
		}
	}
	for number := range notHeld {
		if !known[number] {
			t.Errorf("%s: there is no fact %s", notHeld[number], number)
		}
	}
}

// Every constraint on a parameter of IAM and STS that was read from AWS's models by
// other means than our generator is a tag of the generated structs.
func TestConstraintsOfParameters(t *testing.T) {
	type constraint struct {
		Min, Max *int64
		Pattern  string
		Enum     []string
		Required bool
		Member   *constraint
	}
	var services map[string]struct {
		Operations map[string]struct{ Input map[string]constraint }
	}
	if err := json.Unmarshal(recorded.Read(t, "truth/model-constraints.json"), &services); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, m := range []*wire.Model{iamapi.Model, stsapi.Model} {
		for _, op := range m.Operations {
			for path, want := range services[m.Name].Operations[op.Name].Input {
				f, ok := fieldAt(op.In, path)
				if !ok {
					t.Errorf("%s:%s has no parameter %s", m.Name, op.Name, path)
					continue
				}
				check := func(c constraint, prefix string) {
					n++
					tag := func(name, got string, want any) {
						if fmt.Sprint(want) != got {
							t.Errorf("%s:%s %s has %s%s %q, want %q", m.Name, op.Name, path, prefix, name, got, want)
						}
					}
					if c.Min != nil {
						tag("min", f.Tag.Get(prefix+"min"), *c.Min)
					}
					if c.Max != nil {
						tag("max", f.Tag.Get(prefix+"max"), *c.Max)
					}
					tag("pattern", f.Tag.Get(prefix+"pattern"), c.Pattern)
					if len(c.Enum) > 0 {
						got := strings.Split(f.Tag.Get(prefix+"enum"), "|")
						slices.Sort(got)
						slices.Sort(c.Enum)
						tag("enum", strings.Join(got, "|"), strings.Join(c.Enum, "|"))
					}
				}
				check(want, "")
				if want.Member != nil {
					check(*want.Member, "e")
				}
				if got := slices.Contains(strings.Split(f.Tag.Get("wire"), ","), "req"); got != want.Required {
					t.Errorf("%s:%s %s is required: %v, want %v", m.Name, op.Name, path, got, want.Required)
				}
			}
		}
	}
	if n < 500 {
		t.Errorf("%d constraints were compared; there are more than that", n)
	}
}

// fieldAt is the field of an input that a path such as Tags[].Key leads to.
func fieldAt(t reflect.Type, path string) (f reflect.StructField, ok bool) {
	for name := range strings.SplitSeq(path, ".") {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			return f, false
		}
		name = strings.TrimSuffix(name, "[]")
		f, ok = t.FieldByNameFunc(func(n string) bool { return strings.EqualFold(n, name) })
		if !ok {
			return f, false
		}
		t = f.Type
	}
	return f, true
}
