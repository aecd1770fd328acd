package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/iamd-dev/iamd/policy"
)

var updateLint = flag.Bool("update", false, "write what lint prints into testdata/lint.txtar")

// run runs iamd with arguments and gives what it prints and its exit status.
func runLint(t *testing.T, stdin string, arguments ...string) (string, int) {
	t.Helper()
	cmd := newCommand()
	var out bytes.Buffer
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(append([]string{"lint"}, arguments...))
	err := cmd.ExecuteContext(t.Context())
	var usage usageError
	switch {
	case err == nil:
		return out.String(), 0
	case errors.As(err, &usage):
		return out.String() + "iamd: " + err.Error() + "\n", 2
	case errors.Is(err, errFindings):
		return out.String(), 1
	}
	t.Fatal(err)
	return "", 0
}

// What lint prints: testdata/lint.txtar has policies, and command lines with their
// output and exit status.
func TestLint(t *testing.T) {
	const golden = "testdata/lint.txtar"
	archive, err := txtar.ParseFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	path, err := filepath.Abs(golden)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	for i := range archive.Files {
		f := &archive.Files[i]
		line, ok := strings.CutPrefix(f.Name+" ", "$ iamd lint ")
		if !ok {
			if err := os.WriteFile(f.Name, f.Data, 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		line, file, _ := strings.Cut(strings.TrimSpace(line), " < ")
		stdin := ""
		if file != "" {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			stdin = string(text)
		}
		out, status := runLint(t, stdin, strings.Fields(line)...)
		got := strings.ReplaceAll(out, strconv.Quote(version()), `"VERSION"`) + "exit " + strconv.Itoa(status) + "\n"
		if *updateLint {
			f.Data = []byte(got)
		} else if got != string(f.Data) {
			t.Errorf("iamd lint %s: got\n%s\nwant\n%s", line, got, f.Data)
		}
	}
	if *updateLint {
		if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// SARIF is what its specification asks for: every result has a rule of the run by id
// and index, a level, a message and a region that counts from 1.
func TestLintSARIF(t *testing.T) {
	const document = "{\"Version\": \"2012-10-17\", \"Statement\": [{\"Effect\": \"Allow\", \"Action\": [\"iam:PassRole\", \"s3:GetObjekt\", \"s3:Get*\", \"s3:GetObject\", \"s3:GetBucketAcl\"],\n \"Resource\": \"*\"}, {\"Effect\": \"Allow\", \"NotAction\": \"iam:*\", \"Resource\": \"*\"}]}"
	out, status := runLint(t, document, "--format", "sarif", "-")
	if status != 1 {
		t.Error("exit status", status)
	}
	var log map[string]any
	if err := json.Unmarshal([]byte(out), &log); err != nil {
		t.Fatal(err)
	}
	get := func(v any, path ...any) any {
		t.Helper()
		for _, p := range path {
			switch p := p.(type) {
			case string:
				m, ok := v.(map[string]any)
				if !ok || m[p] == nil {
					t.Fatalf("there is no %v of %v", p, path)
				}
				v = m[p]
			case int:
				v = v.([]any)[p]
			}
		}
		return v
	}
	if get(log, "version") != "2.1.0" || get(log, "$schema") == "" {
		t.Error("wrong version or schema")
	}
	rules := get(log, "runs", 0, "tool", "driver", "rules").([]any)
	seen := map[any]bool{}
	for _, r := range rules {
		id := get(r, "id")
		if seen[id] {
			t.Error("rule twice:", id)
		}
		seen[id] = true
		get(r, "shortDescription", "text")
	}
	results := get(log, "runs", 0, "results").([]any)
	levels := map[any]bool{}
	related := false
	for _, r := range results {
		if index := int(get(r, "ruleIndex").(float64)); get(rules[index], "id") != get(r, "ruleId") {
			t.Error("rule index and id differ:", r)
		}
		levels[get(r, "level")] = true
		if get(r, "message", "text") == "" {
			t.Error("no message:", r)
		}
		region := get(r, "locations", 0, "physicalLocation", "region")
		for _, n := range []string{"startLine", "startColumn", "endLine", "endColumn"} {
			if get(region, n).(float64) < 1 {
				t.Error("region counts from 1:", r)
			}
		}
		if get(r, "locations", 0, "physicalLocation", "artifactLocation", "uri") == "" {
			t.Error("no file:", r)
		}
		related = related || r.(map[string]any)["relatedLocations"] != nil
	}
	if !levels["error"] || !levels["warning"] || !levels["note"] || !related {
		t.Errorf("levels %v, related locations %t: the document has them all", levels, related)
	}
	for _, r := range policy.Rules() {
		if sarifLevels[r.Type] == "" {
			t.Error("no level for", r.Type)
		}
	}
}
