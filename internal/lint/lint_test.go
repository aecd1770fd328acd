package lint

import (
	"slices"
	"testing"

	"github.com/iamd-dev/iamd/policy"
)

func TestGuess(t *testing.T) {
	for document, want := range map[string]policy.Kind{
		`{"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}`:                         policy.Identity,
		`{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"}]}`:     policy.Resource,
		`{"Statement": [{"Effect": "Allow", "Principal": {"AWS": "x"}, "Action": "sts:AssumeRole"}]}`:   policy.Trust,
		`{"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole"}]}`:                              policy.Trust,
		`{"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}]}`:             policy.Identity,
		`{"Statement": {"Effect": "Deny", "NotPrincipal": "*", "Action": "sts:*", "NotResource": "x"}}`: policy.Resource,
		`{"Statement": 7}`: policy.Identity,
		`nonsense`:         policy.Identity,
	} {
		d := Document{Text: []byte(document)}
		if got := d.Guess(); got != want {
			t.Errorf("%s: got %s, want %s", document, got, want)
		}
	}
}

func TestDocuments(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"a policy", `{"Version": "2012-10-17", "Statement": []}`, []string{" false Identity"}},
		{"no JSON", `{"Statement": `, []string{" false Identity"}},
		{"no policy in it", `{"x": [1, {"y": null}]}`, []string{" false Identity"}},
		{"get-role", `{"Role": {"AssumeRolePolicyDocument": {"Statement": []}}}`, []string{"Role.AssumeRolePolicyDocument true Trust"}},
		{"get-bucket-policy", `{"Policy": "{\"Statement\": []}"}`, []string{"Policy true Resource"}},
		{"get-policy", `{"Policy": {"PolicyName": "p", "Arn": "a"}}`, []string{" false Identity"}},
		{"get-policy-version", `{"PolicyVersion": {"Document": {"Statement": []}, "VersionId": "v1"}}`, []string{"PolicyVersion.Document true Identity"}},
	} {
		documents, err := Documents([]byte(test.text))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		var got []string
		for _, d := range documents {
			told := "false"
			if d.Told {
				told = "true"
			}
			got = append(got, d.Path+" "+told+" "+d.Kind.String())
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
	if _, err := Documents([]byte(" \n")); err == nil {
		t.Error("an empty file has documents")
	}
}

// Findings in a document within a file have the file's places.
func TestPlaces(t *testing.T) {
	const text = "{\"Role\": {\n  \"AssumeRolePolicyDocument\": {\"Version\": \"2012-10-17\", \"Statement\": {\"Effect\": \"Allow\", \"Principal\": {\"AWS\": \"111122223333\"},\n \"Action\": \"s3:GetObject\"}}}}"
	documents, err := Documents([]byte(text))
	if err != nil || len(documents) != 1 {
		t.Fatal(documents, err)
	}
	findings := documents[0].Validate(policy.Trust, Reference())
	if len(findings) != 1 {
		t.Fatal(findings)
	}
	f := findings[0]
	if f.Line != 3 || f.Column != 12 || text[f.Offset:f.EndOffset] != `"s3:GetObject"` {
		t.Errorf("%+v: %s", f, text[f.Offset:f.EndOffset])
	}
}

func FuzzDocuments(f *testing.F) {
	f.Add([]byte(`{"RoleDetailList": [{"AssumeRolePolicyDocument": {"Statement": []}}]}`))
	f.Add([]byte(`{"Policy": "{\"Statement\": []}", "Document": 7, "PolicyDocument": "%7B%7D"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		documents, err := Documents(text)
		if err != nil {
			return
		}
		for _, d := range documents {
			for _, x := range d.Validate(d.Guess(), nil) {
				if x.Offset < 0 || x.EndOffset > len(text) || x.Line < 1 {
					t.Errorf("%+v", x)
				}
			}
		}
	})
}
