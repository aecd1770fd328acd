package policy

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// docs/policy-coverage.md says where each part of the language is tested. This test
// holds it to that.
func TestCoveragePage(t *testing.T) {
	page, err := os.ReadFile("../docs/policy-coverage.md")
	if err != nil {
		t.Fatal(err)
	}
	// Which keys a request has is not the language's: package authz holds that section.
	before, keys, found := strings.Cut(string(page), "## Condition keys that every request may have\n")
	_, after, more := strings.Cut(keys, "\n## ")
	if !found || !more {
		t.Fatal("the page has no section of condition keys")
	}
	page = []byte(before + "\n## " + after)
	cases := map[string]string{} // "conditions/dates": the policy
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var evaluated []string
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		group, evaluates := strings.CutPrefix(name, "evaluate-")
		for _, section := range archive.Files {
			if !evaluates {
				cases[name+"/"+section.Name] = string(section.Data)
			} else if policy, ok := strings.CutSuffix(section.Name, ".json"); ok {
				cases[group+"/"+policy] = string(section.Data)
				evaluated = append(evaluated, group+"/"+policy)
			}
		}
	}

	// Each row that has cases names its subject first and its cases last.
	named := map[string]bool{}
	rows := map[string][]string{}
	code := regexp.MustCompile("`[^`]+`")
	inCode := func(cell string) (texts []string) {
		for _, s := range code.FindAllString(cell, -1) {
			texts = append(texts, strings.Trim(s, "`"))
		}
		return texts
	}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if len(cells) != 3 || strings.HasPrefix(cells[2], "case") || strings.HasPrefix(cells[2], "---") {
			continue
		}
		list := inCode(cells[2])
		if len(list) == 0 {
			t.Errorf("no case for %s", cells[0])
		}
		for _, name := range list {
			named[name] = true
			if _, ok := cases[name]; !ok {
				t.Errorf("%s: there is no case %s", cells[0], name)
			}
		}
		for _, subject := range inCode(cells[0]) {
			rows[subject] = append(rows[subject], list...)
		}
	}

	for _, name := range evaluated {
		if !named[name] {
			t.Errorf("the case %s is not on the page", name)
		}
	}
	for i := range operators {
		o := &operators[i]
		if len(rows[o.name]) == 0 {
			t.Errorf("the operator %s is not on the page", o.name)
		}
		for _, name := range rows[o.name] {
			if !uses(t, cases[name], o) {
				t.Errorf("%s: the case %s does not use it", o.name, name)
			}
		}
	}
	for _, element := range []string{"Version", "Id", "Statement", "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"} {
		if len(rows[element]) == 0 {
			t.Errorf("the element %s is not on the page", element)
		}
	}
	for _, name := range regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z]+)`").FindAllStringSubmatch(string(page), -1) {
		if !isTest(t, name[1]) {
			t.Errorf("there is no test %s", name[1])
		}
	}
}

// uses says whether a policy has a condition with an operator.
func uses(t *testing.T, document string, o *operator) bool {
	t.Helper()
	p := mustParse(t, document)
	return slices.ContainsFunc(p.Statements, func(s Statement) bool {
		return slices.ContainsFunc(s.Condition, func(c Condition) bool {
			used, _, _ := parseOperator(c.Operator)
			return used == o
		})
	})
}

// isTest says whether some file here has a test of that name.
func isTest(t *testing.T, name string) bool {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(source), "\nfunc "+name+"(")
	})
}
