package cloudformation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/cloudformation/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/template"
	"github.com/iamd-dev/iamd/internal/wire"
)

// A maker makes, changes and deletes the resources of one stack, by calls with the access
// that the stack's work has.
type maker struct {
	s  *Service
	st *stack // as the work found it
	as func(context.Context) (*service.Call, error)
}

func (m *maker) scope(id, name string, properties map[string]any) *scope {
	return &scope{id: id, name: name, account: m.st.Account, region: m.st.Region, properties: properties}
}

// all makes calls in order and returns the answer of the last. A call that was begun is ended.
func (m *maker) all(ctx context.Context, calls []call, sc *scope) (out any, err error) {
	for i := range calls {
		as, err := m.as(ctx)
		if err != nil {
			return nil, err
		}
		if out, err = calls[i].make(context.WithoutCancel(ctx), m.s.Invoker, as, sc); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// made is what came of making a resource.
type made struct {
	physical   string
	attributes map[string]any
}

// create makes a resource. initiated is told the physical id as soon as it is there.
func (m *maker) create(ctx context.Context, k *kind, r *resource, properties map[string]any, initiated func(made) error) (made, error) {
	if k.Type == stackType {
		return m.createStack(ctx, r, properties, initiated)
	}
	whole, err := m.secured(ctx, properties)
	if err != nil {
		return made{}, err
	}
	sc := m.scope("", r.Name, whole)
	if err := m.taken(ctx, k, sc); err != nil {
		return made{}, err
	}
	out, err := m.all(ctx, k.create, sc)
	if err != nil {
		return made{}, err
	}
	value := func(spec string) any {
		if path, ok := strings.CutPrefix(spec, "="); ok {
			return at(out, path)
		}
		v, _ := sc.expand(spec)
		return v
	}
	id := k.ID
	if id == "" {
		id = "{name}"
	}
	r.Physical = template.Text(value(id))
	sc.id = r.Physical
	done := made{r.Physical, k.attributes(sc, nil)}
	for name, spec := range k.Attr {
		if v := value(spec); v != nil && v != "" {
			done.attributes[name] = template.Text(v)
		}
	}
	if err := initiated(done); err != nil {
		return done, err
	}
	if len(k.tell) > 0 {
		told, err := m.all(ctx, k.tell, sc)
		if err != nil {
			return done, err
		}
		for name, spec := range k.Attr {
			if path, ok := strings.CutPrefix(spec, "="); ok && done.attributes[name] == nil {
				done.attributes[name] = template.Text(at(told, path))
			}
		}
	}
	if err := m.parts(ctx, k, r.Physical, r.Name, nil, properties, false); err != nil {
		return done, err
	}
	return done, m.wait(ctx, k, sc, false)
}

// taken refuses to make what is there already, where making it would write over that.
func (m *maker) taken(ctx context.Context, k *kind, sc *scope) error {
	if len(k.taken) == 0 {
		return nil
	}
	_, err := m.all(ctx, k.taken, sc)
	if err == nil {
		says, _ := sc.expand(k.IsTaken)
		return &wire.Error{Code: "AlreadyExists", Status: 400, Message: template.Text(says)}
	}
	if isOne(err, k.Free) {
		return nil
	}
	return err
}

// attributes are those of a resource with the scope's properties: what is made of them
// anew, and what making it answered as it was.
func (k *kind) attributes(sc *scope, old map[string]any) map[string]any {
	all := map[string]any{}
	maps.Copy(all, old)
	for name, spec := range k.Attr {
		if strings.HasPrefix(spec, "=") {
			continue
		}
		if v, ok := sc.expand(spec); ok {
			all[name] = template.Text(v)
		} else {
			delete(all, name)
		}
	}
	return all
}

// parts makes the calls that follow the difference of old and new properties; with old
// nil, the resource is new. mending is for going back, where some of the difference may
// not be there.
func (m *maker) parts(ctx context.Context, k *kind, id, name string, old, new map[string]any, mending bool) error {
	whole, err := m.secured(ctx, new)
	if err != nil {
		return err
	}
	before, after := m.scope(id, name, old), m.scope(id, name, whole)
	unset := func(p *part, item any) error {
		before.item = item
		_, err := m.all(ctx, p.unset, before)
		if mending && gone(k, err) {
			return nil
		}
		return err
	}
	set := func(p *part, calls []call, item any) error {
		after.item = item
		if p.Before != nil && len(calls) > 0 {
			as, err := m.as(ctx)
			if err != nil {
				return err
			}
			if err := p.Before(ctx, m.s, as, id); err != nil {
				return err
			}
		}
		_, err := m.all(ctx, calls, after)
		return err
	}
	for i := range k.Parts {
		p := &k.Parts[i]
		if old == nil && p.Made || !slices.ContainsFunc(p.of, func(name string) bool { return !template.Same(old[name], new[name]) }) {
			continue
		}
		was, is := old[p.of[0]], new[p.of[0]]
		if p.Each == "" {
			var err error
			there := slices.ContainsFunc(p.of, func(name string) bool { return new[name] != nil })
			wasThere := slices.ContainsFunc(p.of, func(name string) bool { return old[name] != nil })
			switch {
			case there && wasThere:
				err = set(p, p.change, nil)
			case there:
				err = set(p, p.set, nil)
			default:
				err = unset(p, nil)
			}
			if err != nil {
				return err
			}
			continue
		}
		others := slices.ContainsFunc(p.of[1:], func(name string) bool { return !template.Same(old[name], new[name]) })
		olds, news := itemsOf(was), itemsOf(is)
		for _, item := range olds {
			if p.find(news, item) == nil {
				if err := unset(p, item); err != nil {
					return err
				}
			}
		}
		for _, item := range news {
			if other := p.find(olds, item); others || other == nil || !template.Same(other, item) {
				if err := set(p, p.set, item); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// find returns the item of a list that is the same thing, if not like it in all.
func (p *part) find(list []any, item any) any {
	key := func(v any) any {
		if m, ok := v.(map[string]any); ok && p.Each != "." {
			return m[p.Each]
		}
		return v
	}
	for _, other := range list {
		if template.Same(key(other), key(item)) {
			return other
		}
	}
	return nil
}

// update changes a resource in place.
func (m *maker) update(ctx context.Context, k *kind, r *resource, old, new map[string]any, mending bool) error {
	if k.Type == stackType {
		return m.updateStack(ctx, r, new)
	}
	if err := m.parts(ctx, k, r.Physical, r.Name, old, new, mending); err != nil {
		return err
	}
	return m.wait(ctx, k, m.scope(r.Physical, r.Name, new), false)
}

// delete deletes a resource. That it is not there any more is as good.
func (m *maker) delete(ctx context.Context, k *kind, physical, name string, properties map[string]any) error {
	if k.Type == stackType {
		return m.deleteStack(ctx, physical)
	}
	sc := m.scope(physical, name, properties)
	for i := range k.Parts {
		p := &k.Parts[i]
		if v := properties[p.of[0]]; p.Undo && v != nil {
			items := []any{v}
			if p.Each != "" {
				items = itemsOf(v)
			}
			for _, item := range items {
				sc.item = item
				if _, err := m.all(ctx, p.unset, sc); err != nil && !gone(k, err) {
					return err
				}
			}
		}
	}
	if k.Clear != nil {
		as, err := m.as(ctx)
		if err != nil {
			return err
		}
		if err := k.Clear(ctx, m.s, as, physical); err != nil && !gone(k, err) {
			return err
		}
	}
	if _, err := m.all(ctx, k.delete, sc); err != nil && !gone(k, err) {
		return err
	}
	return m.wait(ctx, k, sc, true)
}

// pause is how long what is not ready yet is left alone.
const pause = 50 * time.Millisecond

// wait returns when a resource is ready, or away.
func (m *maker) wait(ctx context.Context, k *kind, sc *scope, away bool) error {
	if k.ready == nil {
		return nil
	}
	path, want, _ := strings.Cut(k.IsReady, "=")
	goneAt, goneWith, _ := strings.Cut(k.IsGone, "=")
	for range 1200 { // a minute
		out, err := m.all(ctx, k.ready, sc)
		switch {
		case away && gone(k, err):
			return nil
		case away && err == nil && k.IsGone != "" && template.Text(at(out, goneAt)) == goneWith:
			return nil
		case err != nil:
			return err
		case !away && template.Text(at(out, path)) == want:
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
	return &wire.Error{Code: "NotStabilized", Status: 400, Message: "The resource did not stabilize."}
}

func gone(k *kind, err error) bool { return isOne(err, k.Gone) }

// isOne reports whether an error has one of those codes.
func isOne(err error, codes string) bool {
	var e *wire.Error
	return errors.As(err, &e) && slices.Contains(strings.Fields(codes), e.Code)
}

// interrupted finds out about a resource that was being made when the server was stopped:
// whether it is there, and whether it is the stack's. sure is false where nobody can tell.
func (m *maker) interrupted(ctx context.Context, k *kind, r *resource, properties map[string]any) (physical string, sure bool, err error) {
	if r.Physical != "" {
		return r.Physical, true, nil
	}
	if len(k.create) == 0 {
		return "", true, nil // calls that can be made again
	}
	if k.read == nil {
		return "", false, nil
	}
	sc := m.scope("", r.Name, properties)
	guess := k.Guess
	if guess == "" {
		guess = "{name}"
	}
	id, ok := sc.expand(guess)
	if !ok {
		if id, ok = sc.expand(strings.Replace(guess, "{Path}", "/", 1)); !ok {
			return "", false, nil
		}
	}
	sc.id = template.Text(id)
	out, err := m.all(ctx, k.read, sc)
	var refused *wire.Error
	switch {
	case gone(k, err), errors.As(err, &refused) && refused.HTTPStatus() == 404:
		return "", true, nil
	case err != nil:
		return "", false, nil
	case !r.Given:
		return sc.id, true, nil // nobody else has such a name
	}
	if t, ok := at(out, k.MadeAt).(time.Time); ok && k.MadeAt != "" {
		if t.Before(r.Made.Truncate(time.Second)) {
			return "", true, nil // somebody else's: making it will say so
		}
		return sc.id, true, nil
	}
	return "", false, nil
}

// reason is what an event says of a failure, as CloudFormation writes it.
func (m *maker) reason(k *kind, request string, err error) string {
	var e *wire.Error
	var mistake *template.Error
	switch {
	case errors.As(err, &mistake):
		return mistake.Message
	case !errors.As(err, &e):
		m.s.log().Error("a resource of a stack failed", "stack", m.st.ID, "requestID", request, "error", err)
		return `Resource handler returned message: "Internal failure" (RequestToken: ` + uuid() + `, HandlerErrorCode: InternalFailure)`
	case e.Code == ownWords:
		return e.Message
	}
	code := "InvalidRequest"
	switch {
	case e.Code == "AlreadyExists": // nothing was called
		return fmt.Sprintf(`Resource handler returned message: "%s" (RequestToken: %s, HandlerErrorCode: AlreadyExists)`, e.Message, uuid())
	case strings.Contains(e.Code, "AccessDenied"), e.Code == "UnauthorizedOperation", e.HTTPStatus() == 403:
		code = "AccessDenied"
	case strings.Contains(e.Code, "AlreadyExists"), strings.HasPrefix(e.Code, "BucketAlready"), strings.Contains(e.Code, "Duplicate"), e.Code == "ResourceInUseException":
		code = "AlreadyExists"
	case strings.Contains(e.Code, "NoSuch"), strings.Contains(e.Code, "NotFound"):
		code = "NotFound"
	case strings.Contains(e.Code, "LimitExceeded"):
		code = "ServiceLimitExceeded"
	case e.Code == "NotStabilized":
		code = "NotStabilized"
	case e.HTTPStatus() >= 500:
		code = "GeneralServiceException"
	}
	_, service, _ := strings.Cut(k.Type, "::")
	service, _, _ = strings.Cut(service, "::")
	if service == "IAM" {
		service = "Iam"
	}
	return fmt.Sprintf(`Resource handler returned message: "%s (Service: %s, Status Code: %d, Request ID: %s) (SDK Attempt Count: 1)" (RequestToken: %s, HandlerErrorCode: %s)`,
		e.Message, service, e.HTTPStatus(), request, uuid(), code)
}

// ownWords is the code of refusals that are CloudFormation's own and stand in events as they are.
const ownWords = "cloudformation"

func own(format string, args ...any) error {
	return &wire.Error{Code: ownWords, Status: 400, Message: fmt.Sprintf(format, args...)}
}

// createStack makes a nested stack and waits for it.
func (m *maker) createStack(ctx context.Context, r *resource, properties map[string]any, initiated func(made) error) (made, error) {
	if r.Physical == "" {
		in := &api.CreateStackInput{StackName: r.Name, Capabilities: m.st.Capabilities}
		as, err := m.as(ctx)
		if err != nil {
			return made{}, err
		}
		if in.TemplateURL, in.Parameters, in.Tags, err = nested(properties); err != nil {
			return made{}, err
		}
		out, err := service.Invoke[api.CreateStackOutput](ctx, m.s.Invoker, as, "cloudformation", in)
		if err != nil {
			return made{}, err
		}
		r.Physical = out.StackId
		root := m.st.Root
		if root == "" {
			root = m.st.ID
		}
		if err := m.s.DB.Update(ctx, func(tx *store.Tx) error {
			if st := stacks.Get(tx, stackKey(out.StackId)); st != nil {
				st.Parent, st.Root = m.st.ID, root
				stacks.Put(tx, st.key(), st)
			}
			return nil
		}); err != nil {
			return made{physical: r.Physical}, err
		}
		if err := initiated(made{physical: r.Physical}); err != nil {
			return made{physical: r.Physical}, err
		}
	}
	done := made{r.Physical, nil}
	st, err := m.ended(ctx, r.Physical)
	if err != nil {
		return done, err
	}
	if st.Status != "CREATE_COMPLETE" {
		return done, own("Embedded stack %s was not successfully created: %s", r.Physical, st.Reason)
	}
	done.attributes, err = m.s.outputsOf(st)
	return done, err
}

func (m *maker) updateStack(ctx context.Context, r *resource, properties map[string]any) error {
	in := &api.UpdateStackInput{StackName: r.Physical, Capabilities: m.st.Capabilities}
	as, err := m.as(ctx)
	if err != nil {
		return err
	}
	if in.TemplateURL, in.Parameters, in.Tags, err = nested(properties); err != nil {
		return err
	}
	_, err = m.s.Invoker.Invoke(ctx, as, "cloudformation", "UpdateStack", in)
	var e *wire.Error
	if errors.As(err, &e) && e.Message == noUpdates {
		return nil
	}
	if err != nil {
		return err
	}
	st, err := m.ended(ctx, r.Physical)
	if err == nil && st.Status != "UPDATE_COMPLETE" {
		err = own("Embedded stack %s was not successfully updated: %s", r.Physical, st.Reason)
	}
	return err
}

func (m *maker) deleteStack(ctx context.Context, id string) error {
	as, err := m.as(ctx)
	if err != nil {
		return err
	}
	if st := stacks.Get(m.s.DB.View(), stackKey(id)); st == nil || st.Status == "DELETE_COMPLETE" {
		return nil
	} else if strings.HasSuffix(st.Status, "_IN_PROGRESS") && st.Status != "DELETE_IN_PROGRESS" {
		if _, err := m.ended(ctx, id); err != nil {
			return err
		}
	}
	if _, err := m.s.Invoker.Invoke(ctx, as, "cloudformation", "DeleteStack", &api.DeleteStackInput{StackName: id}); err != nil {
		return err
	}
	st, err := m.ended(ctx, id)
	if err == nil && st.Status != "DELETE_COMPLETE" {
		err = own("Embedded stack %s was not successfully deleted: %s", id, st.Reason)
	}
	return err
}

// ended returns a nested stack when nothing goes on in it.
func (m *maker) ended(ctx context.Context, id string) (*stack, error) {
	for {
		st := stacks.Get(m.s.DB.View(), stackKey(id))
		if st == nil {
			return nil, fmt.Errorf("the nested stack %s is away", id)
		}
		if st.Work == nil && st.Status != "REVIEW_IN_PROGRESS" {
			return st, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

func nested(properties map[string]any) (url string, parameters []api.Parameter, tags []api.Tag, err error) {
	url = template.Text(properties["TemplateURL"])
	given, _ := properties["Parameters"].(map[string]any)
	for name, v := range given {
		value := template.Text(v)
		if list, ok := v.([]any); ok {
			var all []string
			for _, e := range list {
				all = append(all, template.Text(e))
			}
			value = strings.Join(all, ",")
		}
		parameters = append(parameters, api.Parameter{ParameterKey: name, ParameterValue: value})
	}
	list, _ := properties["Tags"].([]any)
	for _, t := range list {
		tag, _ := t.(map[string]any)
		tags = append(tags, api.Tag{Key: template.Text(tag["Key"]), Value: template.Text(tag["Value"])})
	}
	return url, parameters, tags, nil
}

// outputsOf are a nested stack's outputs, as attributes of the resource.
func (s *Service) outputsOf(st *stack) (map[string]any, error) {
	t, err := s.text(s.DB.View(), st, st.Body)
	if err != nil {
		return nil, err
	}
	attributes := map[string]any{}
	for _, o := range t.Outputs {
		attributes["Outputs."+o.Key] = o.Value
	}
	return attributes, nil
}
