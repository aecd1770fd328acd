package ssm

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/ssm/api"
	"github.com/iamd-dev/iamd/internal/service"
)

// A document is one of AWS's that commands and sessions run.
type document struct {
	name, kind string
	version    string // of the schema
	content    string
	created    time.Time
}

//go:embed runshellscript.json
var runShellScript string

// RunShellScript is the document that commands run: AWS's own, word for word.
const RunShellScript = "AWS-RunShellScript"

var documents = []*document{
	{RunShellScript, "Command", "1.2", runShellScript, time.Date(2017, 8, 31, 0, 0, 0, 0, time.UTC)},
}

// documentNamed finds a document by its name or ARN.
func documentNamed(name string) (*document, error) {
	if strings.HasPrefix(name, "arn:") {
		name = strings.TrimPrefix(arn.ARN(name).Resource(), "document/")
	}
	for _, d := range documents {
		if d.name == name {
			return d, nil
		}
	}
	return nil, api.InvalidDocument("Document with name %s does not exist.", name)
}

// latest sees that a version that is asked for is the one there is.
func latest(version string) error {
	if version == "" || version == "1" || version == "$LATEST" || version == "$DEFAULT" {
		return nil
	}
	return api.InvalidDocumentVersion("The document version is not valid or does not exist.")
}

// documentARN is the ARN of a document that a call names. Those of AWS have no account.
func documentARN(c *service.Call, name string) arn.ARN {
	if strings.HasPrefix(name, "arn:") {
		return arn.ARN(name)
	}
	account := c.Account
	if strings.HasPrefix(name, "AWS-") || strings.HasPrefix(name, "Amazon") {
		account = ""
	}
	return arn.New("aws", "ssm", c.Region, account, "document/"+name)
}

// onDocument is the document that a call names. It is AWS's and everybody's: the caller's
// account decides.
func onDocument[In any](name func(*In) string) service.Resource {
	return service.On(func(c *service.Call, in *In) []service.Target {
		return []service.Target{{ARN: documentARN(c, name(in)), Home: true}}
	})
}

// A parameter of a document, as its content has it.
type documentParameter struct {
	Name           string `json:"-"`
	Type           string `json:"type"`
	Description    string `json:"description"`
	Default        any    `json:"default"`
	AllowedPattern string `json:"allowedPattern"`
	MinItems       int    `json:"minItems"`
	MaxChars       int    `json:"maxChars"`
}

// parameters are the document's parameters, in the order of their names.
func (d *document) parameters() []documentParameter {
	var content struct {
		Parameters map[string]documentParameter `json:"parameters"`
	}
	if err := json.Unmarshal([]byte(d.content), &content); err != nil {
		panic("ssm: document " + d.name + ": " + err.Error())
	}
	var all []documentParameter
	for name, p := range content.Parameters {
		p.Name = name
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b documentParameter) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// given completes the parameters of a command with the document's defaults, and says
// what is wrong with them.
func (d *document) given(in map[string][]string) (map[string][]string, error) {
	out := map[string][]string{}
	known := d.parameters()
	for name := range in {
		if !slices.ContainsFunc(known, func(p documentParameter) bool { return p.Name == name }) {
			return nil, api.InvalidParameters("Document %s has no parameter %s.", d.name, name)
		}
	}
	for _, p := range known {
		values, ok := in[p.Name]
		switch {
		case !ok && p.Default == nil:
			return nil, api.InvalidParameters("Document %s needs the parameter %s.", d.name, p.Name)
		case !ok:
			text, _ := p.Default.(string)
			values = []string{text}
		case p.Type == "String" && len(values) != 1:
			return nil, api.InvalidParameters("Parameter %s has one value.", p.Name)
		case len(values) < p.MinItems:
			return nil, api.InvalidParameters("Parameter %s has at least %d values.", p.Name, p.MinItems)
		}
		for _, v := range values {
			if p.AllowedPattern != "" && !regexp.MustCompile(`^(?:`+p.AllowedPattern+`)$`).MatchString(v) || p.MaxChars != 0 && len(v) > p.MaxChars {
				return nil, api.InvalidParameters("The value of the parameter %s does not match %s.", p.Name, p.AllowedPattern)
			}
		}
		out[p.Name] = values
	}
	return out, nil
}

func (s *Service) getDocument(_ context.Context, c *service.Call, in *api.GetDocumentInput) (*api.GetDocumentOutput, error) {
	d, err := documentNamed(in.Name)
	if err != nil {
		return nil, err
	}
	if err := latest(in.DocumentVersion); err != nil {
		return nil, err
	}
	if in.DocumentFormat != "" && in.DocumentFormat != "JSON" {
		return nil, api.Validation("The document is kept in JSON.")
	}
	return &api.GetDocumentOutput{Name: d.name, CreatedDate: d.created, DocumentVersion: "1", Status: "Active", Content: d.content, DocumentType: d.kind, DocumentFormat: "JSON"}, nil
}

func (s *Service) describeDocument(_ context.Context, c *service.Call, in *api.DescribeDocumentInput) (*api.DescribeDocumentOutput, error) {
	d, err := documentNamed(in.Name)
	if err != nil {
		return nil, err
	}
	if err := latest(in.DocumentVersion); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(d.content))
	v := &api.DocumentDescription{
		Hash: hex.EncodeToString(sum[:]), HashType: "Sha256", Name: d.name, Owner: "Amazon", CreatedDate: d.created, Status: "Active", DocumentVersion: "1",
		PlatformTypes: []string{"Linux"}, DocumentType: d.kind, SchemaVersion: d.version, LatestVersion: "1", DefaultVersion: "1", DocumentFormat: "JSON",
	}
	var about struct {
		Description string `json:"description"`
	}
	if err := json.Unmarshal([]byte(d.content), &about); err != nil {
		return nil, err
	}
	v.Description = about.Description
	for _, p := range d.parameters() {
		text, _ := p.Default.(string)
		v.Parameters = append(v.Parameters, api.DocumentParameter{Name: p.Name, Type: p.Type, Description: p.Description, DefaultValue: text})
	}
	return &api.DescribeDocumentOutput{Document: v}, nil
}

func (s *Service) listDocuments(_ context.Context, c *service.Call, in *api.ListDocumentsInput) (*api.ListDocumentsOutput, error) {
	if len(in.DocumentFilterList) > 0 && len(in.Filters) > 0 {
		return nil, api.Validation("You can use either DocumentFilterList or Filters in a single request.")
	}
	filters := in.Filters
	for _, f := range in.DocumentFilterList {
		filters = append(filters, api.DocumentKeyValuesFilter{Key: f.Key, Values: []string{f.Value}})
	}
	page, err := newPage(in.NextToken, in.MaxResults, 50)
	if err != nil {
		return nil, err
	}
	out := &api.ListDocumentsOutput{DocumentIdentifiers: []api.DocumentIdentifier{}}
	for _, d := range documents {
		matches := true
		for _, f := range filters {
			has := func(texts ...string) bool {
				return slices.ContainsFunc(f.Values, func(v string) bool { return slices.Contains(texts, v) })
			}
			switch f.Key {
			case "Name":
				matches = matches && slices.ContainsFunc(f.Values, func(v string) bool { return strings.HasPrefix(d.name, v) })
			case "Owner":
				matches = matches && has("Amazon", "Public", "All")
			case "PlatformTypes":
				matches = matches && has("Linux")
			case "DocumentType":
				matches = matches && has(d.kind)
			case "SearchKeyword":
				matches = matches && slices.ContainsFunc(f.Values, func(v string) bool { return strings.Contains(d.name, v) })
			default:
				return nil, api.InvalidFilterKey("The following filter key is not valid: %s.", f.Key)
			}
		}
		if !matches || d.name <= page.after {
			continue
		}
		if !page.take(d.name) {
			break
		}
		out.DocumentIdentifiers = append(out.DocumentIdentifiers, api.DocumentIdentifier{Name: d.name, CreatedDate: d.created, Owner: "Amazon", PlatformTypes: []string{"Linux"},
			DocumentVersion: "1", DocumentType: d.kind, SchemaVersion: d.version, DocumentFormat: "JSON"})
	}
	out.NextToken = page.next
	return out, nil
}
