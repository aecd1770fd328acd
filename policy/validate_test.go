package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

func TestValidateCorpus(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/validate.txtar")
	if err != nil {
		t.Fatal(err)
	}
	ref := &Reference{
		Action: func(pattern string) bool {
			return slices.ContainsFunc([]string{"s3:GetObject", "s3:ListBucket", "iam:PassRole", "sts:AssumeRole", "sts:AssumeRoleWithWebIdentity"}, func(a string) bool {
				return foldGlob(lowered(pattern), a)
			})
		},
		Key: func(service, key string) bool {
			key = strings.ToLower(key)
			if service == "" {
				return slices.Contains([]string{"aws:sourceip", "aws:tagkeys", "aws:username"}, key) || strings.HasPrefix(key, "aws:principaltag/")
			}
			return service == "s3" && key == "s3:prefix"
		},
	}
	kinds := map[string]Kind{"identity": Identity, "trust": Trust, "resource": Resource, "scp": SCP}
	for _, section := range archive.Files {
		t.Run(section.Name, func(t *testing.T) {
			document, rest, _ := strings.Cut(string(section.Data), "\n=> ")
			var want []string
			if rest != "" {
				want = strings.Split(strings.TrimSpace(rest), "\n=> ")
			}
			p, err := Parse([]byte(document))
			if err != nil {
				t.Fatal(err)
			}
			name, _, _ := strings.Cut(section.Name, ":")
			kind, ok := kinds[name]
			if !ok {
				t.Fatal("unknown kind", name)
			}
			var got []string
			for _, f := range p.Validate(kind, ref) {
				got = append(got, fmt.Sprintf("%s %s %d:%d %s", f.Type, f.Code, f.Line, f.Column, f.Text))
			}
			if !slices.Equal(got, want) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
			}

			// Without a reference nothing is unknown.
			for _, f := range p.Validate(kind, nil) {
				if strings.HasPrefix(f.Text, "There is no action") || strings.HasSuffix(f.Code, "CONDITION_KEY") {
					t.Error("without a reference:", f)
				}
			}
		})
	}
}

// A policy that was made and not read has no places, and can be validated.
func TestValidateWithoutPositions(t *testing.T) {
	p := &Policy{Version: "2012-10-17", Statements: []Statement{{Effect: "Allow", Action: []string{"GetObject"}, Resource: []string{"reports"}}}}
	if got := p.Validate(Identity, nil); len(got) != 2 {
		t.Error(got)
	}
	if got := (&Policy{Version: "2012-10-17"}).Validate(Identity, nil); len(got) != 1 || got[0].Code != "MISSING_STATEMENT" {
		t.Error(got)
	}
}
