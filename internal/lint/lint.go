// Package lint joins the checks of package policy with AWS's service reference, and
// finds policy documents in what AWS prints.
//
//	ref := lint.Reference()
//	documents, err := lint.Documents(text)
//	for _, d := range documents {
//		findings := d.Validate(d.Guess(), ref)
//	}
//
// A file is a policy document itself, or JSON that has policy documents in it: the
// output of get-account-authorization-details, get-role, get-policy-version,
// get-bucket-policy and the like. Findings have the places of the file.
package lint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/iamd-dev/iamd/internal/reference"
	"github.com/iamd-dev/iamd/policy"
)

// Reference gives AWS's service reference to policy validation. A service is
// unpacked when it is first asked for. It is safe for concurrent use.
func Reference() *policy.Reference {
	var services sync.Map // prefix to *policy.ReferenceService
	return &policy.Reference{
		Prefixes: reference.Prefixes,
		Global:   sync.OnceValue(func() []policy.ReferenceKey { return keys(reference.GlobalKeys()) }),
		Service: func(prefix string) *policy.ReferenceService {
			if s, ok := services.Load(prefix); ok {
				return s.(*policy.ReferenceService)
			}
			known, ok := reference.LookupService(prefix)
			if !ok {
				return nil
			}
			s, _ := services.LoadOrStore(prefix, service(known))
			return s.(*policy.ReferenceService)
		},
	}
}

func keys(list []reference.Key) []policy.ReferenceKey {
	keys := make([]policy.ReferenceKey, len(list))
	for i, k := range list {
		keys[i] = policy.ReferenceKey{Name: k.Name, Type: k.Type}
	}
	return keys
}

func service(known *reference.Service) *policy.ReferenceService {
	s := &policy.ReferenceService{Prefix: known.Prefix, ControlPolicies: known.ControlPolicies, Keys: keys(known.Keys)}
	for _, t := range known.Resources {
		s.Resources = append(s.Resources, policy.ReferenceResource{Name: t.Name, ARN: t.ARN})
	}
	for _, a := range known.Actions {
		action := policy.ReferenceAction{Name: a.Name, Keys: append([]string(nil), a.Keys...)}
		for _, r := range a.Resources {
			action.Keys = append(action.Keys, r.Keys...)
			if t := known.Resource(r.Name); t != nil {
				action.Resources = append(action.Resources, t.ARN)
				action.Keys = append(action.Keys, t.Keys...)
			}
		}
		s.Actions = append(s.Actions, action)
	}
	return s
}

// A Document is a policy document in a file.
type Document struct {
	Text []byte
	Path string // where in the file: "RoleDetailList[0].AssumeRolePolicyDocument"; "" when the file is the document
	Kind policy.Kind
	Told bool // the file tells the kind

	line, column, offset int  // where the text begins, from 0
	encoded              bool // the document is a text in the file: findings have its place
}

// kinds are the members of AWS's answers that hold policy documents.
var kinds = map[string]policy.Kind{
	"AssumeRolePolicyDocument": policy.Trust,
	"Document":                 policy.Identity, // of PolicyVersion
	"PolicyDocument":           policy.Identity,
	"Policy":                   policy.Resource, // of get-bucket-policy, when it is a text
}

// Documents gives the policy documents of a file. Text that is no JSON, or has
// nothing that looks like a policy, is taken for a policy document with faults.
func Documents(text []byte) ([]Document, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, errors.New("there is nothing in it")
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	whole := []Document{{Text: text}}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(text, &top); err != nil || top["Statement"] != nil || top["Version"] != nil {
		return whole, nil
	}
	f := &finder{text: text, decoder: json.NewDecoder(bytes.NewReader(text))}
	if err := f.value("", ""); err != nil {
		return nil, fmt.Errorf("looking for policies: %w", err)
	}
	if len(f.found) == 0 {
		return whole, nil
	}
	return f.found, nil
}

// A finder walks through JSON and knows where it is.
type finder struct {
	text    []byte
	decoder *json.Decoder
	found   []Document
}

func (f *finder) value(path, name string) error {
	if kind, ok := kinds[name]; ok {
		return f.document(path, name, kind)
	}
	token, err := f.decoder.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('{'):
		for f.decoder.More() {
			key, err := f.decoder.Token()
			if err != nil {
				return err
			}
			name := key.(string)
			if err := f.value(strings.TrimPrefix(path+"."+name, "."), name); err != nil {
				return err
			}
		}
	case json.Delim('['):
		for i := 0; f.decoder.More(); i++ {
			if err := f.value(path+"["+strconv.Itoa(i)+"]", ""); err != nil {
				return err
			}
		}
	default:
		return nil
	}
	_, err = f.decoder.Token() // the closing bracket
	return err
}

func (f *finder) document(path, name string, kind policy.Kind) error {
	start := int(f.decoder.InputOffset())
	start += len(f.text[start:]) - len(bytes.TrimLeft(f.text[start:], ": \t\r\n"))
	if f.text[start] == '{' && name == "Policy" {
		// get-policy answers with a Policy that is no document.
		return f.value(path, "")
	}
	var raw json.RawMessage
	if err := f.decoder.Decode(&raw); err != nil {
		return err
	}
	before := f.text[:start]
	lineStart := bytes.LastIndexByte(before, '\n') + 1
	d := Document{
		Text: raw, Path: path, Kind: kind, Told: true,
		line: bytes.Count(before, []byte("\n")), column: utf8.RuneCount(before[lineStart:]), offset: start,
	}
	if raw[0] == '"' {
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return err
		}
		if decoded, err := url.QueryUnescape(s); err == nil && strings.HasPrefix(s, "%7B") {
			s = decoded
		}
		d.Text, d.encoded = []byte(s), true
	} else if raw[0] != '{' {
		return nil
	}
	f.found = append(f.found, d)
	return nil
}

// Guess gives the kind of policy that the document seems to be: the one that the
// file tells; with a Principal the policy of a resource or, if it is about actions
// of STS and has no Resource, a trust policy; without a Principal an identity policy.
// Service and resource control policies cannot be told from the others.
func (d *Document) Guess() policy.Kind {
	if d.Told {
		return d.Kind
	}
	var document struct{ Statement json.RawMessage }
	if json.Unmarshal(d.Text, &document) != nil {
		return policy.Identity
	}
	var statements []map[string]json.RawMessage
	if json.Unmarshal(document.Statement, &statements) != nil {
		var one map[string]json.RawMessage
		if json.Unmarshal(document.Statement, &one) != nil {
			return policy.Identity
		}
		statements = append(statements, one)
	}
	principal, resource := false, false
	for _, s := range statements {
		principal = principal || s["Principal"] != nil || s["NotPrincipal"] != nil
		resource = resource || s["Resource"] != nil || s["NotResource"] != nil
	}
	sts := bytes.Contains(d.Text, []byte(`"sts:`))
	switch {
	case principal && sts && !resource:
		return policy.Trust
	case principal:
		return policy.Resource
	case sts && !resource:
		return policy.Trust
	}
	return policy.Identity
}

// Validate gives the findings about the document, with the places of the file.
func (d *Document) Validate(k policy.Kind, ref *policy.Reference) []policy.Finding {
	findings := policy.Validate(d.Text, k, ref)
	for i := range findings {
		d.move(&findings[i].Location)
		for j := range findings[i].More {
			d.move(&findings[i].More[j])
		}
	}
	return findings
}

// move turns a place in the document into one in the file.
func (d *Document) move(l *policy.Location) {
	if d.encoded {
		l.Line, l.Column, l.Offset = d.line+1, d.column+1, d.offset
		l.EndLine, l.EndColumn, l.EndOffset = l.Line, l.Column, l.Offset
		return
	}
	if l.Line == 1 {
		l.Column += d.column
	}
	if l.EndLine == 1 {
		l.EndColumn += d.column
	}
	l.Line, l.EndLine = l.Line+d.line, l.EndLine+d.line
	l.Offset, l.EndOffset = l.Offset+d.offset, l.EndOffset+d.offset
}

// Anchor gives the address of AWS's page about a rule; "" for a rule of ours.
func Anchor(r *policy.Rule) string {
	if r.Ours() {
		return ""
	}
	kind := strings.ReplaceAll(strings.ToLower(r.Type), "_", "-")
	if r.Type == policy.TypeWarning {
		kind = "general-warning"
	}
	return "https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-reference-policy-checks.html#access-analyzer-reference-policy-checks-" +
		kind + "-" + strings.ReplaceAll(strings.ToLower(r.Code), "_", "-")
}
