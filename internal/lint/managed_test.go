package lint

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/iamd-dev/iamd/internal/reference"
	"github.com/iamd-dev/iamd/policy"
)

// AWS's own policies have no errors, but for those in testdata/managed.txt, which
// says why.
func TestManagedPolicies(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	text, err := os.ReadFile("testdata/managed.txt")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			want = append(want, line)
		}
	}
	ref := Reference()
	var got []string
	for m := range reference.ManagedPolicies() {
		document := m.Document()
		for _, f := range policy.Validate([]byte(document), policy.Identity, ref) {
			if f.Type == policy.TypeError {
				what := m.Name() + " " + f.Code + " " + document[f.Offset:f.EndOffset]
				got = append(got, what)
				if !slices.Contains(want, what) {
					t.Errorf("%s\n\t%s at %s", what, f.Text, f.Where())
				}
			}
		}
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("is an exception and has no error: %s", w)
		}
	}
}
