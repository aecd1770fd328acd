package cloudformation

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/internal/aws/cloudformation/api"
	s3 "github.com/iamd-dev/iamd/internal/aws/s3/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/template"
	"github.com/iamd-dev/iamd/internal/wire"
)

// The largest templates: in the call, and in S3 (CloudFormation quotas).
const (
	mostInCall = 51200
	mostInS3   = 1 << 20
)

// fetch returns the text that is given in a call, or is where its URL says, in S3, read with
// the caller's own access. It is "" where neither is given.
func (s *Service) fetch(ctx context.Context, c *service.Call, text, address string) (string, error) {
	switch {
	case text != "" && address != "":
		return "", invalid("Specify only one of TemplateBody or TemplateURL.")
	case len(text) > mostInCall:
		return "", invalid("1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must have length less than or equal to %d", mostInCall)
	case address == "":
		return text, nil
	}
	bucket, key, ok := objectAt(address)
	if !ok {
		return "", invalid("TemplateURL must be a supported URL.")
	}
	out, err := service.Invoke[s3.GetObjectOutput](ctx, s.Invoker, c.Forward(principal), "s3", &s3.GetObjectInput{Bucket: bucket, Key: key})
	var refused *wire.Error
	if errors.As(err, &refused) {
		return "", invalid("S3 error: %s\nFor more information check http://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html", refused.Message)
	}
	if err != nil {
		return "", err
	}
	defer out.Body.Close()
	b, err := io.ReadAll(io.LimitReader(out.Body, mostInS3+1))
	if err != nil {
		return "", err
	}
	if len(b) > mostInS3 {
		return "", invalid("Template may not exceed %d bytes in size.", mostInS3)
	}
	return string(b), nil
}

// objectAt reads the URL of an object, whose bucket is in the path or in the host.
func objectAt(address string) (bucket, key string, ok bool) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "s3" {
		return "", "", false
	}
	path := strings.TrimPrefix(u.Path, "/")
	if u.Scheme == "s3" {
		return u.Host, path, path != ""
	}
	host := u.Hostname()
	for _, mark := range []string{".s3.", ".s3-", ".localhost"} {
		if i := strings.Index(host, mark); i > 0 {
			return host[:i], path, path != ""
		}
	}
	bucket, key, ok = strings.Cut(path, "/")
	return bucket, key, ok && bucket != "" && key != ""
}

// mistaken is what the caller is told of a fault of the template.
func mistaken(err error) error {
	var e *template.Error
	if errors.As(err, &e) {
		return invalid("%s", e.Message)
	}
	return err
}

// parse reads a template all of whose resource types there are.
func (s *Service) parse(text string) (*template.Template, error) {
	t, err := template.Parse(text)
	if err != nil {
		return nil, mistaken(err)
	}
	if unknown := s.unknown(t); unknown != nil {
		return nil, invalid("Template format error: Unrecognized resource types: [%s]", strings.Join(unknown, ", "))
	}
	return t, nil
}

func (s *Service) unknown(t *template.Template) []string {
	var unknown []string
	for _, r := range t.Resources {
		if s.kinds[r.Type] == nil {
			unknown = append(unknown, r.Type)
		}
	}
	slices.Sort(unknown)
	return slices.Compact(unknown)
}

// capabilities are those that a template demands, and for which types.
func (s *Service) capabilities(t *template.Template) (needed string, why []string) {
	for _, name := range slices.Sorted(maps.Keys(t.Resources)) {
		r := t.Resources[name]
		k := s.kinds[r.Type]
		if k == nil || !k.IAM || k.Type == stackType {
			continue
		}
		why = append(why, r.Type)
		if needed == "" {
			needed = "CAPABILITY_IAM"
		}
		if _, named := r.Properties[k.Name]; named && k.Named {
			needed = "CAPABILITY_NAMED_IAM"
		}
	}
	slices.Sort(why)
	return needed, slices.Compact(why)
}

// capable sees that the caller acknowledges what the template can do.
func (s *Service) capable(t *template.Template, given []string) error {
	needed, _ := s.capabilities(t)
	if needed == "" || slices.Contains(given, needed) || slices.Contains(given, "CAPABILITY_NAMED_IAM") {
		return nil
	}
	return api.InsufficientCapabilities("Requires capabilities : [%s]", needed)
}

// permitted sees that the template has the types alone that the caller says.
func permitted(t *template.Template, types []string) error {
	if len(types) == 0 {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(t.Resources)) {
		kind := t.Resources[name].Type
		if !slices.ContainsFunc(types, func(p string) bool {
			stem, all := strings.CutSuffix(p, "*")
			return p == kind || all && strings.HasPrefix(kind, stem) && (stem == "" || strings.HasSuffix(stem, "::"))
		}) {
			return invalid("Resource type %s is not allowed by parameter ResourceTypes [%s]", kind, strings.Join(types, ", "))
		}
	}
	return nil
}

// context is what a text of the stack is instantiated in. Refs of resources are not there.
func (s *Service) context(st *stack, t *text) template.Context {
	values := maps.Clone(t.Values)
	maps.Copy(values, t.LookedUp)
	return template.Context{
		Account: st.Account, Region: st.Region, StackName: st.Name, StackID: st.ID, Values: values, Resolve: s.resolver(t, nil),
		Import: func(name string) (string, error) {
			e := exports.Get(s.DB.View(), st.Account+"/"+st.Region+"/"+name)
			if e == nil {
				return "", &template.Error{Message: "No export named " + name + " found."}
			}
			return e.Value, nil
		},
	}
}

// importsOf are the exports that an instance imports: what it asks for when it is computed.
func importsOf(in *template.Instance) []string {
	var names []string
	ask := in.Context.Import
	in.Context.Import = func(name string) (string, error) {
		names = append(names, name)
		return ask(name)
	}
	for _, logical := range in.Order {
		in.Properties(logical)
	}
	in.Outputs()
	in.Context.Import = ask
	slices.Sort(names)
	return slices.Compact(names)
}

func (s *Service) validateTemplate(ctx context.Context, c *service.Call, in *api.ValidateTemplateInput) (*api.ValidateTemplateOutput, error) {
	text, err := s.fetch(ctx, c, in.TemplateBody, in.TemplateURL)
	if err != nil {
		return nil, err
	}
	if text == "" {
		return nil, invalid("Either Template URL or Template Body must be specified.")
	}
	t, err := s.parse(text)
	if err != nil {
		return nil, err
	}
	out := &api.ValidateTemplateOutput{Parameters: []api.TemplateParameter{}, Description: t.Description}
	for _, name := range slices.Sorted(maps.Keys(t.Parameters)) {
		p := t.Parameters[name]
		v := api.TemplateParameter{ParameterKey: name, NoEcho: p.NoEcho, Description: p.Description}
		if p.Default != nil {
			v.DefaultValue = *p.Default
		}
		out.Parameters = append(out.Parameters, v)
	}
	out.Capabilities, out.CapabilitiesReason = s.demanded(t)
	return out, nil
}

func (s *Service) demanded(t *template.Template) (capabilities []string, reason string) {
	needed, why := s.capabilities(t)
	if needed == "" {
		return nil, ""
	}
	return []string{needed}, "The following resource(s) require capabilities: [" + strings.Join(why, ", ") + "]"
}

func (s *Service) getTemplateSummary(ctx context.Context, c *service.Call, in *api.GetTemplateSummaryInput) (*api.GetTemplateSummaryOutput, error) {
	if in.StackSetName != "" {
		return nil, api.StackSetNotFound("StackSet %s not found", in.StackSetName)
	}
	text, err := s.fetch(ctx, c, in.TemplateBody, in.TemplateURL)
	if err != nil {
		return nil, err
	}
	switch {
	case text != "" && in.StackName != "":
		return nil, invalid("Cannot specify both StackName and TemplateBody or TemplateURL.")
	case text == "" && in.StackName == "":
		return nil, invalid("Either Template URL or Template Body must be specified.")
	case text == "":
		st := find(c.State, c, in.StackName)
		if st == nil {
			return nil, noStack(in.StackName)
		}
		kept, err := s.text(c.State, st, st.Body)
		if err != nil {
			return nil, err
		}
		text = kept.Template
	}
	t, err := template.Parse(text)
	if err != nil {
		return nil, mistaken(err)
	}
	out := &api.GetTemplateSummaryOutput{Parameters: []api.ParameterDeclaration{}, Description: t.Description, Version: t.FormatVersion, ResourceTypes: []string{}}
	if unknown := s.unknown(t); unknown != nil {
		if in.TemplateSummaryConfig == nil || in.TemplateSummaryConfig.TreatUnrecognizedResourceTypesAsWarnings == nil || !*in.TemplateSummaryConfig.TreatUnrecognizedResourceTypesAsWarnings {
			return nil, invalid("Template format error: Unrecognized resource types: [%s]", strings.Join(unknown, ", "))
		}
		out.Warnings = &api.Warnings{UnrecognizedResourceTypes: unknown}
	}
	for _, name := range slices.Sorted(maps.Keys(t.Parameters)) {
		p := t.Parameters[name]
		v := api.ParameterDeclaration{ParameterKey: name, ParameterType: p.Type, NoEcho: p.NoEcho, Description: p.Description, ParameterConstraints: &api.ParameterConstraints{AllowedValues: p.AllowedValues}}
		if p.Default != nil {
			v.DefaultValue = *p.Default
		}
		out.Parameters = append(out.Parameters, v)
	}
	for _, r := range t.Resources {
		out.ResourceTypes = append(out.ResourceTypes, r.Type)
	}
	slices.Sort(out.ResourceTypes)
	out.ResourceTypes = slices.Compact(out.ResourceTypes)
	if t.Metadata != nil {
		out.Metadata = template.Text(t.Metadata)
	}
	out.Capabilities, out.CapabilitiesReason = s.demanded(t)
	return out, nil
}

func (s *Service) getTemplate(_ context.Context, c *service.Call, in *api.GetTemplateInput) (*api.GetTemplateOutput, error) {
	st := (*stack)(nil)
	number := 0
	if in.ChangeSetName != "" {
		found, set, err := findChangeSet(c.State, c, in.ChangeSetName, in.StackName)
		if err != nil {
			return nil, err
		}
		st, number = found, set.Body
	} else {
		if st = find(c.State, c, in.StackName); st == nil {
			return nil, noStack(in.StackName)
		}
		number = st.Body
		if st.Work != nil && number == 0 {
			number = st.Work.Body
		}
	}
	t, err := s.text(c.State, st, number)
	if err != nil {
		return nil, err
	}
	return &api.GetTemplateOutput{TemplateBody: t.Template, StagesAvailable: []string{"Original", "Processed"}}, nil
}

// keepText keeps a text as a new body of the stack, in a transaction that was sealed for it:
// the number is that of seal.
func keepText(tx *store.Tx, st *stack, sealed string, number int) {
	st.Bodies = max(st.Bodies, number)
	bodies.Put(tx, bodyKey(st, number), &body{sealed})
}
