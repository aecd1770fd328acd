package template_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/iamd-dev/iamd/internal/template"
)

// instantiate computes everything that a template says in a stack whose resources are
// called as their logical names in lower case, and have every attribute.
func instantiate(text string, given map[string]string) (string, error) {
	t, err := template.Parse(text)
	if err != nil {
		return "", err
	}
	values, err := t.Values(given)
	if err != nil {
		return "", err
	}
	in, err := t.Instantiate(template.Context{
		Account: "123456789012", Region: "eu-west-1", StackName: "s", StackID: "arn:aws:cloudformation:eu-west-1:123456789012:stack/s/1",
		Values: values,
		Ref:    func(name string) (string, error) { return strings.ToLower(name), nil },
		GetAtt: func(name, attr string) (any, error) { return strings.ToLower(name) + "#" + attr, nil },
		Import: func(name string) (string, error) {
			if name == "shared" {
				return "imported", nil
			}
			return "", &template.Error{Message: "No export named " + name + " found."}
		},
	})
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, name := range in.Order {
		p, err := in.Properties(name)
		if err != nil {
			return "", err
		}
		j, _ := json.Marshal(p)
		fmt.Fprintf(&b, "%s %s\n", name, j)
	}
	outputs, err := in.Outputs()
	if err != nil {
		return "", err
	}
	for _, o := range outputs {
		fmt.Fprintf(&b, "output %s=%s", o.Key, o.Value)
		if o.Export != "" {
			fmt.Fprintf(&b, " export %s", o.Export)
		}
		b.WriteString("\n")
	}
	return b.String(), nil
}

// Each testdata/*.txt is a list of files in pairs: NAME is a template, whose first line may be
// "# Parameter=value ...", and what follows it, called "is" or "error", what comes of it.
func TestTemplates(t *testing.T) {
	for _, file := range []string{"functions.txt", "refused.txt"} {
		text, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		files := txtar.Parse(text).Files
		for i := 0; i+1 < len(files); i += 2 {
			name, body, kind, want := files[i].Name, string(files[i].Data), files[i+1].Name, string(files[i+1].Data)
			t.Run(name, func(t *testing.T) {
				given := map[string]string{}
				if first, _, _ := strings.Cut(body, "\n"); strings.HasPrefix(first, "# ") {
					for _, pair := range strings.Fields(first[2:]) {
						k, v, _ := strings.Cut(pair, "=")
						given[k] = v
					}
				}
				got, err := instantiate(body, given)
				if kind == "error" {
					var e *template.Error
					if !errors.As(err, &e) || e.Message+"\n" != want {
						t.Errorf("got %v (%q), want the error %s", err, got, want)
					}
					return
				}
				if err != nil || got != want {
					t.Errorf("got %v\n%s\nwant\n%s", err, got, want)
				}
			})
		}
	}
}

// A template of a few lines must not cost much.
func TestBombs(t *testing.T) {
	var yaml strings.Builder
	yaml.WriteString("Metadata:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := range 9 {
		fmt.Fprintf(&yaml, "  a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i+1, i+1, i, i, i, i, i, i, i, i, i)
	}
	yaml.WriteString("Resources: {A: {Type: T}}\n")
	big := strings.Repeat("x", 4000)
	var subs strings.Builder
	subs.WriteString("Parameters: {P: {Type: String}}\nResources:\n  A:\n    Type: T\n    Properties:\n      V: !Sub '" + strings.Repeat("${P}", 10000) + "'\n")
	for what, c := range map[string]struct {
		text  string
		given map[string]string
		want  string
	}{
		"aliases":  {yaml.String(), nil, "Template error: YAML aliases are not allowed in CloudFormation templates"},
		"nested":   {`{"Resources":` + strings.Repeat(`{"A":`, 5000) + "1" + strings.Repeat("}", 5001), nil, "nested more than"},
		"sequence": {"Resources: " + strings.Repeat("[", 5000), nil, "Template format error"},
		"computed": {subs.String(), map[string]string{"P": big}, "compute more than"},
	} {
		if _, err := instantiate(c.text, c.given); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", what, err, c.want)
		}
	}
}

func TestSame(t *testing.T) {
	for _, c := range []struct {
		a, b any
		want bool
	}{
		{json.Number("1"), "1", true},
		{true, "true", true},
		{[]any{"a"}, []any{"a"}, true},
		{[]any{"a"}, []any{"b"}, false},
		{map[string]any{"a": "1"}, map[string]any{"a": json.Number("1")}, true},
		{map[string]any{"a": "1"}, map[string]any{"b": "1"}, false},
		{nil, nil, true},
		{nil, "", false},
	} {
		if got := template.Same(c.a, c.b); got != c.want {
			t.Errorf("Same(%v, %v) = %t", c.a, c.b, got)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	for _, file := range []string{"functions.txt", "refused.txt"} {
		text, err := os.ReadFile("testdata/" + file)
		if err != nil {
			f.Fatal(err)
		}
		for i, file := range txtar.Parse(text).Files {
			if i%2 == 0 {
				f.Add(string(file.Data), "x")
			}
		}
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		parsed, err := template.Parse(text)
		if err != nil {
			var e *template.Error
			if !errors.As(err, &e) {
				t.Fatalf("%v is not for the template's writer", err)
			}
			return
		}
		given := map[string]string{}
		for name := range parsed.Parameters {
			given[name] = value
		}
		if _, err := instantiate(text, given); err != nil {
			var e *template.Error
			if !errors.As(err, &e) {
				t.Fatalf("%v is not for the template's writer", err)
			}
		}
	})
}
