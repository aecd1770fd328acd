package lint

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/iamd-dev/iamd/policy"
)

var update = flag.Bool("update", false, "write the table of docs/lint.md")

// The table in docs/lint.md is the table of package policy.
func TestTableInDocs(t *testing.T) {
	const page, begin, end = "../../docs/lint.md", "<!-- table -->\n", "<!-- end of table -->\n"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("the page has no table")
	}
	want := table()
	if *update {
		if err := os.WriteFile(page, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if got != want {
		t.Error("the table in docs/lint.md is not that of policy.Rules: go test ./internal/lint -update")
	}
	published := 0
	for _, r := range policy.Rules() {
		if !r.Ours() {
			published++
		}
	}
	if says := fmt.Sprintf("as of\n2026: %d checks", published); !strings.Contains(string(text), says) {
		t.Errorf("the page does not say %q", says)
	}
}

func table() string {
	var b strings.Builder
	b.WriteString("| Type | Code | Reported |\n| --- | --- | --- |\n")
	for _, r := range policy.Rules() {
		reported := "yes"
		if r.Missing != "" {
			reported = "no: " + r.Missing
		}
		code := "`" + r.Code + "`"
		if link := Anchor(&r); link != "" {
			code = "[" + code + "](" + link + ")"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", strings.ToLower(strings.ReplaceAll(r.Type, "_", " ")), code, reported)
	}
	return b.String()
}
