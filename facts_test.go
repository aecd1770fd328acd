package iamd_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/iamd-dev/iamd/internal/recorded"
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
