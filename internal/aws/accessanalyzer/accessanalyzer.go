// Package accessanalyzer is the part of IAM Access Analyzer that looks at policies
// before they are used: ValidatePolicy, whose findings are those of package lint.
//
//	aws accessanalyzer validate-policy --policy-type IDENTITY_POLICY --policy-document file://policy.json
//
// It keeps nothing. What Access Analyzer finds in accounts is not served, and nor are
// the checks that promise something of every request that there could be: declined.txt
// says why.
package accessanalyzer

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/binary"
	"sync"

	"github.com/iamd-dev/iamd/internal/aws/accessanalyzer/api"
	"github.com/iamd-dev/iamd/internal/lint"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/wire"
	"github.com/iamd-dev/iamd/policy"
)

//go:embed declined.txt
var declined string

// A Service is Access Analyzer.
type Service struct {
	// Reference knows which actions, resources and keys there are: lint.Reference().
	Reference *policy.Reference
}

// AWS returns the service's operations.
func (s *Service) AWS() *service.Service {
	return service.New(api.Model, declined,
		//             operation         on
		service.Handle(s.validatePolicy, service.Any),
	)
}

const (
	defaultPage = 100
	longestPage = 1000
)

// kinds are the kinds of policies by their type. A trust policy is told by its
// resource type.
var kinds = map[string]policy.Kind{
	"IDENTITY_POLICY":         policy.Identity,
	"RESOURCE_POLICY":         policy.Resource,
	"SERVICE_CONTROL_POLICY":  policy.SCP,
	"RESOURCE_CONTROL_POLICY": policy.RCP,
}

func invalid(format string, args ...any) *wire.Error {
	return api.Validation(format, args...).With("reason", "other")
}

// validatePolicy gives the findings about a document, a page at a time. They are in
// English, whatever the locale.
func (s *Service) validatePolicy(_ context.Context, _ *service.Call, in *api.ValidatePolicyInput) (*api.ValidatePolicyOutput, error) {
	kind := kinds[in.PolicyType]
	if in.ValidatePolicyResourceType != "" {
		if in.PolicyType != "RESOURCE_POLICY" {
			return nil, invalid("validatePolicyResourceType is for policies of type RESOURCE_POLICY, not %s.", in.PolicyType)
		}
		if in.ValidatePolicyResourceType == "AWS::IAM::AssumeRolePolicyDocument" {
			kind = policy.Trust
		}
	}
	page := defaultPage
	if in.MaxResults != nil {
		page = int(*in.MaxResults)
	}
	if page < 1 || page > longestPage {
		return nil, invalid("maxResults must be between 1 and %d.", longestPage)
	}
	findings := policy.Validate([]byte(in.PolicyDocument), kind, s.Reference)
	from := 0
	if in.NextToken != "" {
		var ok bool
		if from, ok = openToken(in); !ok || from > len(findings) {
			return nil, invalid("nextToken is not one of this policy.")
		}
	}
	out := &api.ValidatePolicyOutput{Findings: []api.ValidatePolicyFinding{}}
	for _, f := range findings[from:min(from+page, len(findings))] {
		out.Findings = append(out.Findings, shown(&f))
	}
	if next := from + page; next < len(findings) {
		out.NextToken = token(in, next)
	}
	return out, nil
}

// A token is where the next page begins, and of which request it is.
func token(in *api.ValidatePolicyInput, from int) string {
	sum := sha256.Sum256([]byte(in.PolicyType + "\x00" + in.ValidatePolicyResourceType + "\x00" + in.PolicyDocument))
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(sum[:16:16], uint32(from)))
}

func openToken(in *api.ValidatePolicyInput) (from int, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(in.NextToken)
	if err != nil || len(b) != 20 {
		return 0, false
	}
	from = int(binary.BigEndian.Uint32(b[16:]))
	return from, token(in, from) == in.NextToken
}

// links are AWS's pages about its rules, by type and code.
var links = sync.OnceValue(func() map[[2]string]string {
	m := map[[2]string]string{}
	for _, r := range policy.Rules() {
		m[[2]string{r.Type, r.Code}] = lint.Anchor(&r)
	}
	return m
})

// checksPage is where AWS tells what policy validation finds; ours are not there.
const checksPage = "https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-reference-policy-checks.html"

func shown(f *policy.Finding) api.ValidatePolicyFinding {
	v := api.ValidatePolicyFinding{FindingDetails: f.Text, FindingType: f.Type, IssueCode: f.Code, LearnMoreLink: checksPage, Locations: []api.Location{}}
	if link := links()[[2]string{f.Type, f.Code}]; link != "" {
		v.LearnMoreLink = link
	}
	v.Locations = append(v.Locations, location(&f.Location))
	for i := range f.More {
		v.Locations = append(v.Locations, location(&f.More[i]))
	}
	return v
}

// location is a place in AWS's terms: lines are counted from 1, columns and offsets
// from 0.
func location(l *policy.Location) api.Location {
	v := api.Location{
		Path: []api.PathElement{},
		Span: &api.Span{
			Start: &api.Position{Line: int32(l.Line), Column: int32(l.Column - 1), Offset: int32(l.Offset)},
			End:   &api.Position{Line: int32(l.EndLine), Column: int32(l.EndColumn - 1), Offset: int32(l.EndOffset)},
		},
	}
	for _, step := range l.Path {
		if step.Name != "" {
			v.Path = append(v.Path, api.PathElement{Value: step.Name})
			continue
		}
		index := int32(step.Index)
		v.Path = append(v.Path, api.PathElement{Index: &index})
	}
	return v
}
