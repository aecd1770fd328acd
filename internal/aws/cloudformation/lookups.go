package cloudformation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	ssm "github.com/iamd-dev/iamd/internal/aws/ssm/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/template"
	"github.com/iamd-dev/iamd/internal/wire"
)

// What a template takes from Parameter Store: parameters of types such as
// AWS::SSM::Parameter::Value<String>, and dynamic references. All of it is read with the
// access that the stack's work has, by ssm:GetParameters. What is no secret is read when the
// stack is asked for, and kept with the text: it is the newest value until the next update
// asks. Of secure strings the reference is kept, and the value is in the call alone that
// needs it.

// An access makes the calls of a stack's work.
type access = func(context.Context) (*service.Call, error)

// A stored is what Parameter Store has.
type stored struct {
	value  string
	secure bool
}

const (
	mostNames   = 10 // of one GetParameters
	mostDynamic = 60 // in a template: "Get values stored in other services using dynamic references"
)

// storedIn reads parameters of Parameter Store, by their names, with a version or without.
// Those that are not there are not in the answer.
func (s *Service) storedIn(ctx context.Context, as access, names []string, secrets bool) (map[string]stored, error) {
	found := map[string]stored{}
	for some := range slices.Chunk(names, mostNames) {
		c, err := as(ctx)
		if err != nil {
			return nil, err
		}
		out, err := service.Invoke[ssm.GetParametersOutput](ctx, s.Invoker, c, "ssm", &ssm.GetParametersInput{Names: some, WithDecryption: &secrets})
		if err != nil {
			return nil, err
		}
		for _, p := range out.Parameters {
			found[p.Name+p.Selector] = stored{p.Value, p.Type == "SecureString"}
		}
	}
	return found, nil
}

// lookUp gives a text the values that its template takes from Parameter Store.
func (s *Service) lookUp(ctx context.Context, st *stack, w *work, t *template.Template, text *text) error {
	as := s.access(st, w)
	names := map[string]bool{}
	for name, p := range t.Parameters {
		if p.Named() {
			names[text.Values[name]] = true
		}
	}
	found, err := s.storedIn(ctx, as, slices.Sorted(maps.Keys(names)), false)
	if err != nil {
		return notRead(err)
	}
	var missing, secret []string
	for name := range names {
		if _, ok := found[name]; !ok {
			missing = append(missing, name)
		}
	}
	if missing != nil {
		slices.Sort(missing)
		return invalid("Unable to fetch parameters [%s] from parameter store for this account.", strings.Join(missing, ","))
	}
	for name, p := range t.Parameters {
		if !p.LookedUp() {
			continue
		}
		is := found[text.Values[name]]
		if is.secure {
			secret = append(secret, text.Values[name])
			continue
		}
		if text.LookedUp == nil {
			text.LookedUp = map[string]string{}
		}
		text.LookedUp[name] = is.value
	}
	if secret != nil {
		return unsupported(secret)
	}

	references, err := s.references(st, t, text)
	if err != nil || len(references) == 0 {
		return err
	}
	if found, err = s.storedIn(ctx, as, slices.Sorted(maps.Values(references)), false); err != nil {
		return notRead(err)
	}
	text.Resolved = map[string]string{}
	for reference, name := range references {
		is, ok := found[name]
		switch {
		case !ok:
			missing = append(missing, "ssm:"+name)
		case is.secure:
			secret = append(secret, name)
		}
		text.Resolved[reference] = is.value
	}
	switch {
	case missing != nil:
		slices.Sort(missing)
		return invalid("Parameters: [%s] cannot be found.", strings.Join(missing, ","))
	case secret != nil:
		return unsupported(secret)
	}
	return nil
}

// unsupported refuses secure strings where a plain value is wanted.
func unsupported(names []string) error {
	slices.Sort(names)
	return invalid("Parameters [%s] referenced by template have types not supported by CloudFormation.", strings.Join(slices.Compact(names), ","))
}

// notRead is what is said of a refusal of Parameter Store.
func notRead(err error) error {
	var e *wire.Error
	switch {
	case !errors.As(err, &e), e.HTTPStatus() >= 500:
		return err
	case e.Code == "AccessDeniedException":
		return invalid("AccessDenied. User doesn't have permission to call ssm:GetParameters")
	}
	return invalid("%s", e.Message)
}

// references are the dynamic references of service ssm that a template has, with the
// parameters that they name, as far as they do not depend on resources. What is wrong with
// others is told.
func (s *Service) references(st *stack, t *template.Template, text *text) (map[string]string, error) {
	all, others := map[string]string{}, 0
	var fault error
	c := s.context(st, text)
	c.Ref = func(string) (string, error) { return unknown, nil }
	c.GetAtt = func(string, string) (any, error) { return unknown, nil }
	c.Resolve = func(d template.Dynamic, at string) (string, error) {
		name, err := d.Parameter()
		if d.Service != "ssm" {
			others++
			name, err = "", s.secure(d, at)
		}
		if err != nil && fault == nil {
			fault = err
		}
		if name != "" && err == nil {
			all[d.Text] = name
		}
		return unknown, nil
	}
	in, err := t.Instantiate(c)
	if err != nil {
		return nil, mistaken(err)
	}
	for _, logical := range in.Order {
		in.Properties(logical) // what cannot be computed yet is told when it is
	}
	in.Outputs()
	if fault == nil && len(all)+others > mostDynamic {
		fault = &template.Error{Message: fmt.Sprintf("Template error: a template has at most %d dynamic references", mostDynamic)}
	}
	return all, mistaken(fault)
}

// resolver says what dynamic references of a text stand for. Those to secure strings stand
// for themselves, until the call that needs the value. What was not looked up with the text
// is read, if that is not nil.
func (s *Service) resolver(t *text, read func(name string) (string, error)) func(template.Dynamic, string) (string, error) {
	return func(d template.Dynamic, at string) (string, error) {
		if d.Service != "ssm" {
			return d.Text, s.secure(d, at)
		}
		if v, ok := t.Resolved[d.Text]; ok {
			return v, nil
		}
		name, err := d.Parameter()
		if err != nil || read == nil {
			return d.Text, err
		}
		return read(name)
	}
}

// secure refuses a reference, not of service ssm, that stands where it cannot be resolved.
func (s *Service) secure(d template.Dynamic, at string) error {
	switch d.Service {
	case "ssm-secure":
		if _, err := d.Parameter(); err != nil {
			return err
		}
		kind, path, _ := strings.Cut(at, "/Properties/")
		if k := s.kinds[kind]; k == nil || k.Secure == "" || k.Secure != path {
			return &template.Error{Message: "SSM Secure reference is not supported in: [" + at + "]"}
		}
		return nil
	case "secretsmanager":
		return &template.Error{Message: fmt.Sprintf("Template error: %s cannot be resolved: iamd has no Secrets Manager", d.Text)}
	}
	return &template.Error{Message: fmt.Sprintf("Template error: %s cannot be resolved: dynamic references are to ssm and ssm-secure", d.Text)}
}

// secured are properties with the values of secure strings, for the call that makes a
// resource and nothing else.
func (m *maker) secured(ctx context.Context, properties map[string]any) (map[string]any, error) {
	if properties == nil {
		return nil, nil
	}
	v, err := template.ReplaceDynamic(properties, "", func(d template.Dynamic, _ string) (string, error) {
		name, err := d.Parameter()
		if err != nil || d.Service != "ssm-secure" {
			return d.Text, err
		}
		found, err := m.s.storedIn(ctx, m.as, []string{name}, true)
		if err != nil {
			return "", err
		}
		if is := found[name]; is.secure {
			return is.value, nil
		}
		return "", own("Parameters: [ssm-secure:%s] cannot be found.", name)
	})
	if err != nil {
		return nil, err
	}
	return v.(map[string]any), nil
}
