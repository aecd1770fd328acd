package cloudformation

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// Each resource type is made by a stack in some script, here or beside the engine that it needs.
func TestEveryTypeHasAScript(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]bool{}
	kind := regexp.MustCompile(`"?Type"?: ?"?(AWS::[A-Za-z0-9]+::[A-Za-z0-9]+)`)
	for _, name := range append(scripts, "../dynamodb/testdata/stacks.txt") {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range kind.FindAllSubmatch(b, -1) {
			made[string(m[1])] = true
		}
	}
	for name := range kinds() {
		if !made[name] {
			t.Errorf("no script makes a resource of type %s", name)
		}
	}
}
