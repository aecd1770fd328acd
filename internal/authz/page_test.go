package authz

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/iamd-dev/iamd/policy"
)

// docs/explain.md promises the JSON form of an explanation. This test holds it to
// that: the example is one, and every member that there is stands on the page.
func TestExplanationPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/explain.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, ok := strings.Cut(string(page), "```json\n")
	example, _, ok2 := strings.Cut(example, "\n```")
	if !ok || !ok2 {
		t.Fatal("the page has no example")
	}
	var x Explanation
	d := json.NewDecoder(strings.NewReader(example))
	d.DisallowUnknownFields()
	if err := d.Decode(&x); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(&x)
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := json.Compact(&want, []byte(example)); err != nil {
		t.Fatal(err)
	}
	if string(b) != want.String() {
		t.Errorf("the example is written as\n%s\nand not as\n%s", b, &want)
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[Explanation](), reflect.TypeFor[LayerExplanation](), reflect.TypeFor[PolicyExplanation](),
		reflect.TypeFor[policy.StatementTrace](), reflect.TypeFor[ContextKey](), reflect.TypeFor[Change]()} {
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			if !strings.Contains(string(page), "`"+name+"`") {
				t.Errorf("%s of %s is not on the page", name, typ)
			}
		}
	}
	for i := range globalKeys {
		if from := globalKeys[i].from; !strings.Contains(string(page), "`"+from+"`") {
			t.Errorf("%s, where %s comes from, is not on the page", from, globalKeys[i].name)
		}
	}
}

// docs/policy-coverage.md lists every global condition key with the files that have
// cases of it.
func TestKeysOnCoveragePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/policy-coverage.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "## Condition keys that every request may have\n")
	section, _, _ = strings.Cut(section, "\n## ")
	listed := map[string]bool{}
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "`")
		if len(cells) < 5 || !strings.HasPrefix(line, "| `") {
			continue
		}
		key := strings.TrimSuffix(cells[1], "*")
		listed[cells[1]] = true
		for i := 3; i < len(cells); i += 2 {
			text, err := os.ReadFile("../../" + cells[i])
			if err != nil {
				t.Error(err)
			} else if !strings.Contains(strings.ToLower(string(text)), strings.ToLower(key)) {
				t.Errorf("%s has no case of %s", cells[i], key)
			}
		}
	}
	for i := range globalKeys {
		if !listed[globalKeys[i].name] {
			t.Errorf("%s is not on the page", globalKeys[i].name)
		}
	}
}
