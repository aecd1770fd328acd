package iam

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/policytemplate"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

// A roleTemplate is what AWS makes roles from in the name of a service. AWS has a
// handful of them, each with one version.
type roleTemplate struct {
	Service, Name, ID, Description string
	Created                        time.Time

	RolePath        string // "" is /
	RoleDescription string
	Trust           json.RawMessage
	Inline          []struct {
		Name     string
		Document json.RawMessage
	}
	Managed    []string
	Parameters []api.ParameterDefinition
}

// rolePattern is how every template names its role.
const rolePattern = "@{RoleName}"

func (t *roleTemplate) arn() string {
	return "arn:aws:iam::aws:role-template/" + t.Service + "/" + t.Name + ":1"
}

// roletemplates.json is what GetRoleTemplateVersion answered in September 2026 for
// the templates of the IAM User Guide, "Overview of role templates", that it found.
//
//go:embed roletemplates.json
var roleTemplatesText []byte

var roleTemplates = sync.OnceValue(func() map[string]*roleTemplate {
	var list []*roleTemplate
	d := json.NewDecoder(bytes.NewReader(roleTemplatesText))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		panic("iam: roletemplates.json: " + err.Error())
	}
	all := map[string]*roleTemplate{}
	for _, t := range list {
		t.Trust = compact(t.Trust)
		for i := range t.Inline {
			t.Inline[i].Document = compact(t.Inline[i].Document)
		}
		all[t.arn()] = t
	}
	return all
})

func compact(document json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if err := json.Compact(&b, document); err != nil {
		panic("iam: roletemplates.json: " + err.Error())
	}
	return b.Bytes()
}

// findTemplate finds a version of a template: each has the minor version 0 alone.
func findTemplate(templateARN string, minor *int32) *roleTemplate {
	if minor != nil && *minor != 0 {
		return nil
	}
	return roleTemplates()[templateARN]
}

var readTemplate = service.On(func(_ *service.Call, in *api.GetRoleTemplateVersionInput) []service.Target {
	return []service.Target{{ARN: arn.ARN(in.TemplateArn), Text: "role-template " + in.TemplateArn}}
})

func (s *Service) getRoleTemplateVersion(_ context.Context, _ *service.Call, in *api.GetRoleTemplateVersionInput) (*api.GetRoleTemplateVersionOutput, error) {
	t := findTemplate(in.TemplateArn, in.MinorVersion)
	if t == nil {
		return nil, api.NoSuchEntity("Role Template %s cannot be found.", in.TemplateArn)
	}
	v := &api.RoleTemplateVersion{
		TemplateArn: in.TemplateArn, TemplateName: t.Name, TemplateVersionId: t.ID, Description: t.Description,
		MajorVersion: 1, ManagedByType: "Service", ManagedByValue: t.Service, Enabled: true, VersionEnabled: true,
		RoleNamePattern: rolePattern, RolePathPattern: t.RolePath, RoleDescriptionPattern: t.RoleDescription,
		AssumeRolePolicyDocumentTemplate: string(t.Trust), ManagedPolicyArns: t.Managed, ParametersDefinition: t.Parameters,
		MaxSessionDuration: defaultSessionDuration, CreateTimestamp: t.Created, UpdateTimestamp: t.Created,
	}
	for _, p := range t.Inline {
		v.InlinePolicyTemplates = append(v.InlinePolicyTemplates, api.InlinePolicy{PolicyName: p.Name, PolicyDocument: string(p.Document)})
	}
	return &api.GetRoleTemplateVersionOutput{RoleTemplateVersion: v}, nil
}

// A blueprint is a role as a template and its parameters describe it.
type blueprint struct {
	template                       *roleTemplate
	parameters                     map[string][]string // as they were given
	name, path, description, trust string
	inline                         map[string]identity.Document
}

var roleNameForm = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)

// draw makes the blueprint. Its refusals are AWS's.
func draw(in *api.AcquireRoleInput) (*blueprint, error) {
	t := findTemplate(in.TemplateArn, in.TemplateMinorVersion)
	if t == nil {
		return nil, api.NoSuchEntity("Role template not found in repository: %s", in.TemplateArn)
	}
	values := policytemplate.Parameters{}
	given := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(in.ReplacementValues)) {
		i := slices.IndexFunc(t.Parameters, func(d api.ParameterDefinition) bool { return d.Name == name })
		if i < 0 {
			return nil, api.InvalidInput("Failed to render template: Unrecognized parameter: %s", name)
		}
		p := policytemplate.Parameter{Values: in.ReplacementValues[name].Values, List: strings.HasSuffix(t.Parameters[i].Type, "List")}
		if n := len(p.Values); !p.List && n != 1 {
			return nil, api.ValidationError("%s replacement value must contain exactly one value, got %d", name, n)
		}
		values[name], given[name] = p, p.Values
	}
	for _, d := range t.Parameters {
		if _, ok := values[d.Name]; !ok && !d.IsRequired {
			values[d.Name] = policytemplate.Parameter{Values: []string{d.DefaultValue}}
		}
	}
	rendered := func(text string, err error) (string, error) {
		if err != nil {
			return "", api.InvalidInput("Failed to render template: %s", err)
		}
		return text, nil
	}
	b := &blueprint{template: t, parameters: given, path: orRoot(t.RolePath), inline: map[string]identity.Document{}}
	var err error
	if b.name, err = rendered(policytemplate.Text(rolePattern, values)); err != nil {
		return nil, err
	}
	if !roleNameForm.MatchString(b.name) {
		return nil, api.ValidationError("The specified value for roleName is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-")
	}
	if b.description, err = rendered(policytemplate.Text(t.RoleDescription, values)); err != nil {
		return nil, err
	}
	if b.trust, err = rendered(policytemplate.Render(string(t.Trust), values)); err != nil {
		return nil, err
	}
	for _, p := range t.Inline {
		document, err := rendered(policytemplate.Render(string(p.Document), values))
		if err != nil {
			return nil, err
		}
		if document != "" {
			b.inline[p.Name] = identity.NewDocument(document)
		}
	}
	return b, nil
}

// AcquireRole asks for what it does: to read the template, and to read the role that
// is there or to make the one that is not, with its policies. iam:RoleTemplateARN tells
// in all but the first that a template is behind it (IAM User Guide, "Manage access to
// role manager").
func acquireRow(s *Service) service.Row {
	template := service.On(func(_ *service.Call, in *api.AcquireRoleInput) []service.Target {
		return []service.Target{{ARN: arn.ARN(in.TemplateArn), Text: "role template " + in.TemplateArn}}
	})
	// Of an input that describes no role, the handler says what is wrong.
	role := service.On(func(c *service.Call, in *api.AcquireRoleInput) []service.Target {
		b, err := draw(in)
		if err != nil {
			return nil
		}
		t := service.Target{ARN: arn.ARN(entityARN(c.Account, identity.RoleKind, b.path, b.name)), Text: "role" + b.path + b.name}
		if r := roles.find(c.State, c.Account, b.name); r != nil {
			t.ARN = arn.ARN(r.Arn)
		}
		return []service.Target{t}
	})
	asked := func(f func(b *blueprint, there bool) bool) service.Clause {
		return service.If(func(c *service.Call, in *api.AcquireRoleInput) bool {
			b, err := draw(in)
			return err == nil && f(b, roles.find(c.State, c.Account, b.name) != nil)
		})
	}
	key := service.Key("iam:RoleTemplateARN", "{TemplateArn}")
	made := func(_ *blueprint, there bool) bool { return !there }
	clauses := []service.Clause{
		service.Action("iam:GetRoleTemplateVersion"),
		service.Also("iam:GetRole", role, key, boundaryOfAcquired, asked(func(_ *blueprint, there bool) bool { return there })),
		service.Also("iam:CreateRole", role, key, asked(made)),
		service.Also("iam:PutRolePolicy", role, key, asked(func(b *blueprint, there bool) bool { return !there && len(b.inline) > 0 })),
	}
	for i := range mostManaged() {
		clauses = append(clauses, service.Also("iam:AttachRolePolicy", role, key,
			asked(func(b *blueprint, there bool) bool { return !there && i < len(b.template.Managed) }),
			service.KeyOf("iam:PolicyARN", func(_ *service.Call, in *api.AcquireRoleInput) (policy.Value, bool) {
				if t := findTemplate(in.TemplateArn, in.TemplateMinorVersion); t != nil && i < len(t.Managed) {
					return policy.String(t.Managed[i]), true
				}
				return policy.Value{}, false
			})))
	}
	return service.Handle(s.acquireRole, template, clauses...)
}

// boundaryOfAcquired is the boundary of the role that is there.
var boundaryOfAcquired = service.KeyOf("iam:PermissionsBoundary", func(c *service.Call, in *api.AcquireRoleInput) (policy.Value, bool) {
	b, err := draw(in)
	if err != nil {
		return policy.Value{}, false
	}
	r := roles.find(c.State, c.Account, b.name)
	if r == nil || r.PermissionsBoundary == nil {
		return policy.Value{}, false
	}
	return policy.String(r.PermissionsBoundary.PermissionsBoundaryArn), true
})

// mostManaged is how many managed policies a template has at most.
func mostManaged() int {
	most := 0
	for _, t := range roleTemplates() {
		most = max(most, len(t.Managed))
	}
	return most
}

// acquireRole gives the role that the template describes: the one that it made
// before, as long as nobody has changed it, or a new one.
func (s *Service) acquireRole(ctx context.Context, c *service.Call, in *api.AcquireRoleInput) (*api.AcquireRoleOutput, error) {
	b, err := draw(in)
	if err != nil {
		return nil, err
	}
	if err := s.checkTrust(b.trust); err != nil {
		return nil, err
	}
	if there := roles.find(c.State, c.Account, b.name); there != nil {
		if err := b.fits(c.State, there); err != nil {
			return nil, err
		}
		v := briefRole(c.State, there)
		return &api.AcquireRoleOutput{Role: &v}, nil
	}
	r := &identity.Role{Parameters: b.parameters, Role: api.Role{
		Path: b.path, RoleName: b.name, RoleId: identity.NewID(identity.RolePrefix, c.Account),
		Arn: entityARN(c.Account, identity.RoleKind, b.path, b.name), CreateDate: now(c), Description: b.description, MaxSessionDuration: defaultSessionDuration,
	}}
	r.SetTemplate(b.template.arn(), 0)
	err = create(ctx, s, c, roles, r, func(tx *store.Tx) error {
		r.Attached, r.Inline = nil, b.inline // this may run twice
		for _, policyARN := range b.template.Managed {
			if !attachable(tx, c.Account, policyARN) {
				return api.NoSuchEntity("Policy %s does not exist or is not attachable.", policyARN)
			}
			r.Attached = append(r.Attached, arn.ARN(policyARN))
			use(tx, c.Account, arn.ARN(policyARN), +1, 0)
		}
		for name, d := range b.inline {
			if err := checkDocument(d.String(), policy.Identity); err != nil {
				return err
			}
			if n := policy.Size(d.String()); n > s.Quotas.RolePolicySize {
				return api.LimitExceeded("Maximum policy size of %d bytes exceeded for role %s (%s)", s.Quotas.RolePolicySize, b.name, name)
			}
		}
		var err error
		r.Trust, err = bindTrust(tx, b.trust)
		return err
	})
	if err != nil {
		return nil, err
	}
	v := briefRole(s.DB.View(), r)
	v.AssumeRolePolicyDocument = b.trust
	return &api.AcquireRoleOutput{Role: &v}, nil
}

// fits says why a role is not the one that the blueprint describes. How long its
// sessions may be and its description are the account's own to change.
func (b *blueprint) fits(r store.Reader, role *identity.Role) error {
	from := role.SourceRoleTemplate
	switch {
	case from == nil || from.TemplateArn != b.template.arn():
		return api.NameConflict("A role with this name already exists in the account but was not created from this template. Choose a different role name, or remove the existing role if it is no longer needed.")
	case role.RoleName != b.name || !maps.EqualFunc(role.Parameters, b.parameters, slices.Equal):
		return api.NameConflict("A role with this name exists but was created with different parameters. Pass a unique roleName to create a new role.")
	}
	var managed []arn.ARN
	for _, policyARN := range b.template.Managed {
		managed = append(managed, arn.ARN(policyARN))
	}
	attached := slices.Clone(role.Attached)
	slices.Sort(managed)
	slices.Sort(attached)
	same := slices.Equal(attached, managed) && role.PermissionsBoundary == nil && len(role.Tags) == 0 &&
		sameDocument(identity.ShowTrust(r, role.Trust), b.trust) &&
		maps.EqualFunc(role.Inline, b.inline, func(x, y identity.Document) bool { return sameDocument(x.String(), y.String()) })
	if !same {
		return api.RoleModified("Role %s has been modified since it was created and is no longer managed.", role.RoleName)
	}
	return nil
}

// sameDocument reports whether two policy documents say the same: a list of one is
// that one, and the order of a list is none.
func sameDocument(a, b string) bool {
	x, errX := canonical(a)
	y, errY := canonical(b)
	return errors.Join(errX, errY) == nil && x == y
}

func canonical(document string) (string, error) {
	var v any
	if err := json.Unmarshal([]byte(document), &v); err != nil {
		return "", err
	}
	text, err := json.Marshal(plainer(v))
	return string(text), err
}

func plainer(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			v[name] = plainer(member)
		}
		return v
	case []any:
		texts := make([]string, len(v))
		for i := range v {
			v[i] = plainer(v[i])
			text, err := json.Marshal(v[i])
			if err != nil {
				panic(err) // of what was JSON
			}
			texts[i] = string(text)
		}
		if len(v) == 1 {
			return v[0]
		}
		slices.Sort(texts)
		return texts
	}
	return v
}
