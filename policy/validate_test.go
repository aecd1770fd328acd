package policy_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/iamd-dev/iamd/internal/lint"
	"github.com/iamd-dev/iamd/policy"
)

var update = flag.Bool("update", false, "write what is found into testdata/validate")

var kindsOfSections = map[string]policy.Kind{
	"identity": policy.Identity, "boundary": policy.Boundary, "session": policy.Session, "trust": policy.Trust,
	"resource": policy.Resource, "scp": policy.SCP, "rcp": policy.RCP,
}

// sized are found by the length of a document alone: TestValidateSize tests them.
var sized = []string{
	"POLICY_SIZE_EXCEEDS_SCP_QUOTA", "POLICY_SIZE_EXCEEDS_RCP_QUOTA", "POLICY_SIZE_EXCEEDS_IDENTITY_POLICY_QUOTA",
	"POLICY_SIZE_EXCEEDS_RESOURCE_POLICY_QUOTA", "POLICY_SIZE_EXCEEDS_ROLE_TRUST_POLICY_QUOTA",
}

// Every section of testdata/validate gives exactly the findings that follow it, and
// every rule that is reported has a section where it is found and one where it is not.
func TestValidateCorpus(t *testing.T) {
	ref := lint.Reference()
	files, err := filepath.Glob("testdata/validate/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	found, spared := map[string]bool{}, map[string]bool{}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i := range archive.Files {
			section := &archive.Files[i]
			name, code, _ := strings.Cut(section.Name, " ")
			kind, ok := kindsOfSections[name]
			if !ok {
				t.Fatalf("%s: unknown kind %q", file, name)
			}
			body, expected, _ := strings.Cut(string(section.Data), "\n=> ")
			body = strings.TrimSuffix(body, "\n")
			document := body
			if !strings.Contains(body, `"Statement"`) && !strings.Contains(body, `"Version"`) && body[0] == '{' {
				document = `{"Version": "2012-10-17", "Statement": ` + body + `}`
			}
			var got []string
			codes := map[string]bool{}
			for _, f := range policy.Validate([]byte(document), kind, ref) {
				where := f.Where()
				if where == "Statement" {
					where = ""
				}
				what := f.Code + " " + strings.TrimPrefix(where, "Statement.")
				if _, meant, ok := strings.Cut(f.Text, "Did you mean "); ok {
					meant, _, _ = strings.Cut(meant, "?")
					what += " (" + meant + "?)"
				}
				got = append(got, strings.TrimSpace(what))
				codes[f.Code] = true
				if part := document[f.Offset:f.EndOffset]; f.Code != "JSON_SYNTAX_ERROR" && f.Code != "IAMD_REFUSED" && part == "" {
					t.Errorf("%s: %s: %s has no extent", file, section.Name, f.Code)
				}
			}
			if not, ok := strings.CutPrefix(code, "not "); ok {
				spared[not] = true
				if codes[not] {
					t.Errorf("%s: %s: is found", file, section.Name)
				}
			} else {
				found[code] = true
				if !codes[code] {
					t.Errorf("%s: %s: is not found in\n\t%s\ngot %q", file, section.Name, body, got)
				}
			}
			var want []string
			if expected != "" {
				want = strings.Split(strings.TrimSpace(expected), "\n=> ")
			}
			if *update {
				section.Data = []byte(body + "\n")
				for _, g := range got {
					section.Data = append(section.Data, "=> "+g+"\n"...)
				}
			} else if !slices.Equal(got, want) {
				t.Errorf("%s: %s:\n%s\ngot\n\t%s\nwant\n\t%s", file, section.Name, body, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
			}
		}
		if *update {
			if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, r := range policy.Rules() {
		if r.Missing == "" && !slices.Contains(sized, r.Code) {
			if !found[r.Code] {
				t.Errorf("no section finds %s", r.Code)
			}
			if !spared[r.Code] {
				t.Errorf("no section is spared %s", r.Code)
			}
		}
		if r.Missing != "" && found[r.Code] {
			t.Errorf("%s is found, and the table says that it never is", r.Code)
		}
	}
}

func TestValidateSize(t *testing.T) {
	statement := map[policy.Kind]string{
		policy.Identity: `{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::x/%s"}`,
		policy.Boundary: `{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::x/%s"}`,
		policy.Trust:    `{"Sid": "%s", "Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "sts:AssumeRole"}`,
		policy.Resource: `{"Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::x/%s"}`,
		policy.SCP:      `{"Effect": "Deny", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::x/%s"}`,
		policy.RCP:      `{"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::x/%s"}`,
	}
	quota := map[policy.Kind]int{
		policy.Identity: 6144, policy.Boundary: 6144, policy.Trust: 2048, policy.Resource: 20480, policy.SCP: 5120, policy.RCP: 5120,
	}
	for kind, text := range statement {
		for _, over := range []int{0, 1} {
			document := `{"Version":"2012-10-17","Statement":` + text + `}`
			n := len(document) - len("%s")
			if kind == policy.Identity || kind == policy.Boundary || kind == policy.Trust {
				n = policy.Size(document) - len("%s")
			}
			document = fmt.Sprintf(document, strings.Repeat("x", quota[kind]-n+over))
			found := slices.ContainsFunc(policy.Validate([]byte(document), kind, nil), func(f policy.Finding) bool { return slices.Contains(sized, f.Code) })
			if found != (over == 1) {
				t.Errorf("%s, %d over its quota: found %t", kind, over, found)
			}
		}
	}
}

// What Check refuses, Validate says is an error, in whatever words.
func TestValidateKnowsWhatIsRefused(t *testing.T) {
	for _, kind := range []policy.Kind{policy.Identity, policy.Trust, policy.Resource, policy.SCP, policy.RCP} {
		for _, document := range []string{
			``, `[]`, `{}`, `{"Version": "2012-10-17", "Statement": {}}`,
			`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::x"}}`,
			`{"Version": "2008-10-17", "Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::x"}}`,
			`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"AWS": "x"}, "Action": "sts:AssumeRole"}}`,
			`{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "ec2:*", "Resource": "arn:aws:*:::x"}}`,
		} {
			_, err := policy.Check([]byte(document), kind)
			errors := slices.ContainsFunc(policy.Validate([]byte(document), kind, nil), func(f policy.Finding) bool { return f.Type == policy.TypeError })
			if err != nil && !errors {
				t.Errorf("%s %s: refused with %v, and no finding is an error", kind, document, err)
			}
		}
	}
}

// Without a reference nothing is unknown.
func TestValidateWithoutReference(t *testing.T) {
	const document = `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "none:Such", "Resource": "arn:aws:none:x-y-1:111122223333:such", "Condition": {"StringEquals": {"none:such": "x", "aws:nonesuch": "y"}}}}`
	for _, f := range policy.Validate([]byte(document), policy.Identity, nil) {
		if f.Code != "INVALID_ARN_REGION" {
			t.Error(f)
		}
	}
}

// The places of findings are exact: line, column and the text between the offsets.
func TestValidatePlaces(t *testing.T) {
	const document = "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [\n    {\"Effect\": \"Allow\", \"Action\": [\"s3:GetObject\", \"s3:Gét\"], \"Resource\": \"*\"}\n  ]\n}"
	findings := policy.Validate([]byte(document), policy.Identity, lint.Reference())
	if len(findings) != 1 {
		t.Fatal(findings)
	}
	f := findings[0]
	if f.Line != 4 || f.Column != 52 || f.EndLine != 4 || f.EndColumn != 60 || document[f.Offset:f.EndOffset] != `"s3:Gét"` || f.Where() != "Statement[0].Action[1]" {
		t.Errorf("%+v", f)
	}
}

// A policy that was read or made can be validated too.
func TestValidateMethod(t *testing.T) {
	p, err := policy.Parse([]byte("{\"Version\": \"2012-10-17\",\n \"Statement\": {\"Effect\": \"Allow\",\n  \"Action\": [\"s3:GetObject\",\n \"GetObject\"], \"Resource\": \"*\"}}"))
	if err != nil {
		t.Fatal(err)
	}
	got := p.Validate(policy.Identity, nil)
	if len(got) != 1 || got[0].Code != "INVALID_ACTION" || got[0].Line != 4 || got[0].Column != 2 {
		t.Errorf("%+v", got)
	}
	made := &policy.Policy{Version: "2012-10-17", Statements: []policy.Statement{{Effect: "Allow", Action: []string{"GetObject"}, Resource: []string{"reports"}}}}
	if got := made.Validate(policy.Identity, nil); len(got) != 2 {
		t.Errorf("%+v", got)
	}
}

// FuzzValidate asks for no more than that nothing panics and places are in the document.
func FuzzValidate(f *testing.F) {
	files, _ := filepath.Glob("testdata/validate/*.txtar")
	for _, file := range files {
		if archive, err := txtar.ParseFile(file); err == nil {
			for _, section := range archive.Files {
				body, _, _ := strings.Cut(string(section.Data), "\n=> ")
				f.Add(`{"Version": "2012-10-17", "Statement": `+body+`}`, uint8(0))
			}
		}
	}
	ref := lint.Reference()
	f.Fuzz(func(t *testing.T, document string, kind uint8) {
		k := policy.Kind(kind % 7)
		refused := false
		if _, err := policy.Check([]byte(document), k); err != nil && k != policy.Resource {
			refused = true
		}
		for _, x := range policy.Validate([]byte(document), k, ref) {
			refused = refused && x.Type != policy.TypeError
			if x.Offset < 0 || x.Offset > x.EndOffset || x.EndOffset > len(document) {
				t.Errorf("%+v", x)
			}
		}
		if refused {
			t.Error("is refused, and no finding is an error")
		}
	})
}
