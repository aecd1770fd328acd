package cloudformation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/servicerole"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/template"
	"github.com/iamd-dev/iamd/internal/wire"
)

// The work on stacks goes on in the background, one goroutine a stack. What is to be done,
// and how far it is, is in the store: a goroutine reads it from there, does the next thing,
// and writes what came of it. So whoever begins where another was stopped goes on with it.

// Start goes on with the work that a stop of the server has left. It is called once, when
// calls can be made inside.
func (s *Service) Start() {
	for key, st := range stacks.All(s.DB.View(), "") {
		if st.Work != nil {
			s.begin(key)
		}
	}
}

// Close stops the work after the call that is being made, and waits for that. The next
// Start goes on with it.
func (s *Service) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.working.Wait()
}

// begin works on a stack in the background.
func (s *Service) begin(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return // Start of the next server finds it
	}
	s.working.Add(1)
	go func() {
		defer s.working.Done()
		s.work(key)
	}()
}

// errStopped tells that the server stops: what is left is left to the next.
var errStopped = errors.New("the server stops")

// stopped tells whether a failure comes of the stop.
func stopped(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, ctx.Err())
}

// phases are what is done in which status.
var phases = map[string]func(*worker, context.Context) error{
	"CREATE_IN_PROGRESS":                           (*worker).advance,
	"ROLLBACK_IN_PROGRESS":                         (*worker).deleteAll,
	"DELETE_IN_PROGRESS":                           (*worker).deleteAll,
	"UPDATE_IN_PROGRESS":                           (*worker).advance,
	"UPDATE_COMPLETE_CLEANUP_IN_PROGRESS":          (*worker).cleanUp,
	"UPDATE_ROLLBACK_IN_PROGRESS":                  (*worker).goBack,
	"UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": (*worker).cleanUp,
}

func (s *Service) work(key string) {
	ctx := s.ctx
	tries := 0
	for ctx.Err() == nil {
		st := stacks.Get(s.DB.View(), key)
		if st == nil || st.Work == nil {
			return
		}
		phase := phases[st.Status]
		if phase == nil {
			s.log().Error("a stack has work in a status in which there is none", "stack", st.ID, "status", st.Status)
			return
		}
		w := &worker{s: s, key: key, maker: maker{s: s, st: st, as: s.access(st, st.Work)}}
		err := w.safely(ctx, phase)
		if err == nil {
			tries = 0
			continue
		}
		if ctx.Err() != nil {
			return
		}
		// Not the fault of a resource, which would be in the events, but ours.
		s.log().Error("working on a stack", "stack", st.ID, "status", st.Status, "error", err)
		if tries++; tries > 5 {
			s.giveUp(ctx, key)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(tries) * time.Second):
		}
	}
}

// giveUp ends work that cannot be done because of a fault of ours, so that the stack can be deleted.
func (s *Service) giveUp(ctx context.Context, key string) {
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		st := stacks.Get(tx, key)
		if st == nil || st.Work == nil {
			return nil
		}
		failed := map[string]string{"CREATE_IN_PROGRESS": "CREATE_FAILED", "ROLLBACK_IN_PROGRESS": "ROLLBACK_FAILED", "DELETE_IN_PROGRESS": "DELETE_FAILED"}[st.Status]
		if failed == "" {
			failed = "UPDATE_ROLLBACK_FAILED"
			st.Stuck = st.Work
		}
		s.become(tx, st, failed, "Internal Failure")
		st.Work = nil
		stacks.Put(tx, key, st)
		return nil
	})
	if err != nil {
		s.log().Error("ending the work on a stack", "stack", key, "error", err)
	}
}

// access is how the stack's work makes calls: as the stack's role, or with its caller's
// access, forwarded.
func (s *Service) access(st *stack, w *work) func(context.Context) (*service.Call, error) {
	if w.Role == "" {
		return func(context.Context) (*service.Call, error) { return w.Caller.call(st.Region, w.Request), nil }
	}
	p := s.Roles.Provider(use(st, w))
	return func(ctx context.Context) (*service.Call, error) {
		session, err := p.Session(ctx)
		var refused *wire.Error
		if errors.As(err, &refused) {
			return nil, own("Role %s is invalid or cannot be assumed", w.Role)
		}
		if err != nil {
			return nil, err
		}
		return s.Roles.Call(session, st.Region, w.Request), nil
	}
}

func use(st *stack, w *work) servicerole.Use {
	return servicerole.Use{Role: w.Role, Service: principal, Session: "AWSCloudFormation", For: arnOf(st), Region: st.Region, Parent: w.Request}
}

// A worker does one phase of the work on a stack.
type worker struct {
	s   *Service
	key string
	maker
}

// safely is a phase whose panic is an error.
func (w *worker) safely(ctx context.Context, phase func(*worker, context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return phase(w, ctx)
}

// change changes the stack in the store.
func (w *worker) change(ctx context.Context, f func(tx *store.Tx, st *stack) error) error {
	var now *stack
	err := w.s.DB.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error { // what was done is written down, whatever stops
		st := stacks.Get(tx, w.key)
		if st == nil || st.Work == nil {
			return fmt.Errorf("the work on stack %s is away", w.key)
		}
		if err := f(tx, st); err != nil {
			return err
		}
		stacks.Put(tx, w.key, st)
		now = st
		return nil
	})
	if err == nil {
		w.st = now
	}
	return err
}

func (w *worker) resourceKey(logical string) string { return w.key + "/" + logical }

func (w *worker) resource(logical string) *resource {
	if r := resources.Get(w.s.DB.View(), w.resourceKey(logical)); r != nil {
		c := *r
		return &c
	}
	return nil
}

// put keeps a resource with a status, and the event that tells it.
func (w *worker) put(ctx context.Context, r *resource, status, reason string, properties map[string]any) error {
	sealed := ""
	if properties != nil {
		var err error
		if sealed, err = w.s.seal(w.key, properties); err != nil {
			return err
		}
	}
	r.Status, r.Reason, r.Time = status, reason, w.s.now()
	physical := r.Physical
	if physical == "" && r.Old != nil {
		physical = r.Old.Physical // until there is a new one
	}
	return w.change(ctx, func(tx *store.Tx, st *stack) error {
		resources.Put(tx, w.resourceKey(r.Logical), r)
		w.s.add(tx, st, event{ID: r.Logical + "-" + status + "-" + w.s.now().Format("2006-01-02T15:04:05.000Z"), Logical: r.Logical, Type: r.Type, Physical: physical,
			Status: status, Reason: reason, Properties: sealed})
		return nil
	})
}

// instance is the template of a body, in the stack as it is.
func (w *worker) instance(ctx context.Context, body int) (*template.Instance, *text, error) {
	t, err := w.s.text(w.s.DB.View(), w.st, body)
	if err != nil {
		return nil, nil, err
	}
	parsed, err := template.Parse(t.Template)
	if err != nil {
		return nil, nil, err
	}
	c := w.s.context(w.st, t)
	c.Resolve = w.s.resolver(t, func(name string) (string, error) {
		found, err := w.s.storedIn(ctx, w.as, []string{name}, false)
		if err != nil {
			return "", err
		}
		return found[name].value, nil
	})
	c.Ref = func(logical string) (string, error) {
		r := w.resource(logical)
		if r == nil || r.Physical == "" {
			return "", &template.Error{Message: "Unresolved resource dependencies [" + logical + "] in the Resources block of the template"}
		}
		return r.Physical, nil
	}
	c.GetAtt = func(logical, attribute string) (any, error) {
		r := w.resource(logical)
		if r == nil {
			return nil, &template.Error{Message: "Unresolved resource dependencies [" + logical + "] in the Resources block of the template"}
		}
		st, err := w.s.opened(w.st, r.Sealed)
		if err != nil {
			return nil, err
		}
		v, ok := st.Attributes[attribute]
		if !ok {
			return nil, &template.Error{Message: fmt.Sprintf("Requested attribute %s does not exist in schema for %s", attribute, r.Type)}
		}
		return v, nil
	}
	in, err := parsed.Instantiate(c)
	return in, t, err
}

// advance makes and changes the resources that the new template asks for, each behind
// those that it needs.
func (w *worker) advance(ctx context.Context) error {
	creating := w.st.Status == "CREATE_IN_PROGRESS"
	in, text, err := w.instance(ctx, w.st.Work.Body)
	var mistake *template.Error
	if errors.As(err, &mistake) {
		return w.failed(ctx, "", "create", mistake.Message)
	}
	if err != nil {
		return err
	}
	for _, logical := range in.Order {
		if ctx.Err() != nil {
			return errStopped
		}
		if now := stacks.Get(w.s.DB.View(), w.key); now.Work.Cancelled {
			return w.cancelled(ctx)
		}
		if limit := time.Duration(w.st.Timeout) * time.Minute; creating && limit > 0 && w.s.now().Sub(w.st.Work.Started) > limit {
			return w.failed(ctx, "", "create", "Stack creation time exceeded the specified timeout. ")
		}
		r := w.resource(logical)
		if r != nil && r.Of == w.st.Work.Request && !strings.HasSuffix(r.Status, "_IN_PROGRESS") {
			continue // done, before the server was started again
		}
		verb, failure, err := w.one(ctx, in, logical, r)
		if err != nil {
			return err
		}
		if failure {
			return w.failed(ctx, logical, verb, "")
		}
	}
	return w.through(ctx, in, text)
}

// one makes or changes one resource. failure tells that it could not be done, which its
// event says why; err is a fault of ours.
func (w *worker) one(ctx context.Context, in *template.Instance, logical string, r *resource) (verb string, failure bool, err error) {
	t := in.Template.Resources[logical]
	k := w.s.kinds[t.Type]
	verb = "create"
	fail := func(status string, cause error, properties map[string]any) (string, bool, error) {
		if stopped(ctx, cause) {
			return verb, false, errStopped
		}
		return verb, true, w.put(ctx, r, status, w.reason(k, w.st.Work.Request, cause), properties)
	}
	properties, propErr := in.Properties(logical)
	if propErr == nil {
		properties = w.tagged(k, properties)
		propErr = k.check(logical, properties)
	}
	named := propErr == nil && k.Name != "" && properties[k.Name] != nil

	fresh := &resource{Logical: logical, Type: t.Type}
	describe := func(r *resource) {
		r.Of, r.Needs = w.st.Work.Request, in.Needs(logical)
		r.Keep, r.KeepMade, r.KeepOld = strings.HasPrefix(t.DeletionPolicy, "Retain"), t.DeletionPolicy == "Retain", t.UpdateReplacePolicy == "Retain"
		r.Metadata = ""
		if t.Metadata != nil {
			r.Metadata = template.Text(t.Metadata)
		}
	}
	choose := func(r *resource) {
		r.Given = named
		if named {
			r.Name = template.Text(properties[k.Name])
		} else {
			r.Name = k.generated(w.st.Name, logical)
		}
	}
	updating := w.st.Status == "UPDATE_IN_PROGRESS"

	switch {
	case r != nil && r.Status == "CREATE_IN_PROGRESS", r != nil && r.Status == "UPDATE_IN_PROGRESS" && r.Old != nil && r.Old.Replaced:
		// The server was stopped while it was being made.
		failed := "CREATE_FAILED"
		if r.Old != nil {
			verb, failed = "update", "UPDATE_FAILED"
		}
		physical, sure, err := w.interrupted(ctx, k, r, properties)
		if err != nil {
			return verb, false, err
		}
		switch {
		case k.Type == stackType && physical != "":
		case physical != "":
			r.Physical = physical
			if err := w.delete(ctx, k, physical, r.Name, properties); err != nil {
				return fail(failed, err, properties)
			}
			r.Physical = ""
		case !sure:
			return fail(failed, own("The server was stopped while the resource was being created, and whether it is there cannot be told"), properties)
		}

	case r == nil || r.Status == "DELETE_COMPLETE":
		r = fresh
		describe(r)
		r.New, r.Made = updating, w.s.now()
		if propErr != nil {
			r.Status = "CREATE_IN_PROGRESS"
			if err := w.put(ctx, r, "CREATE_IN_PROGRESS", "", nil); err != nil {
				return verb, false, err
			}
			return fail("CREATE_FAILED", propErr, nil)
		}
		choose(r)
		if err := w.put(ctx, r, "CREATE_IN_PROGRESS", "", properties); err != nil {
			return verb, false, err
		}

	default: // it is there
		verb = "update"
		old, err := w.s.opened(w.st, r.Sealed)
		if err != nil {
			return verb, false, err
		}
		again := r.Status == "UPDATE_IN_PROGRESS" && r.Old != nil
		if again { // the server was stopped while it was being changed: again, from the beginning
			if old, err = w.s.opened(w.st, r.Old.Sealed); err != nil {
				return verb, false, err
			}
		}
		if propErr != nil {
			return fail("UPDATE_FAILED", propErr, nil)
		}
		changed := differing(old.Properties, properties)
		if len(changed) == 0 && r.Type == t.Type {
			describe(r)
			return verb, false, w.change(ctx, func(tx *store.Tx, st *stack) error {
				resources.Put(tx, w.resourceKey(logical), r)
				return nil
			})
		}
		replace := r.Type != t.Type || slices.ContainsFunc(changed, func(name string) bool { return k.replace[name] })
		action := "Update:Modify"
		if replace {
			action = "Update:Replace"
		}
		if err := w.allowed(action, logical, t.Type); err != nil {
			return fail("UPDATE_FAILED", err, nil)
		}
		if !replace {
			if r.Old == nil {
				r.Old = &before{Physical: r.Physical, Name: r.Name, Given: r.Given, Type: r.Type, Sealed: r.Sealed}
			}
			describe(r)
			if r.Sealed, err = w.s.seal(w.key, state{properties, k.attributes(w.scope(r.Physical, r.Name, properties), old.Attributes)}); err != nil {
				return verb, false, err
			}
			if err := w.put(ctx, r, "UPDATE_IN_PROGRESS", "", properties); err != nil {
				return verb, false, err
			}
			if err := w.update(ctx, k, r, old.Properties, properties, again); err != nil {
				return fail("UPDATE_FAILED", err, properties)
			}
			if k.Type == stackType {
				st := stacks.Get(w.s.DB.View(), stackKey(r.Physical))
				attributes, err := w.s.outputsOf(st)
				if err != nil {
					return verb, false, err
				}
				if r.Sealed, err = w.s.seal(w.key, state{properties, attributes}); err != nil {
					return verb, false, err
				}
			}
			return verb, false, w.put(ctx, r, "UPDATE_COMPLETE", "", properties)
		}
		if named && r.Given && r.Type == t.Type && r.Name == template.Text(properties[k.Name]) {
			return fail("UPDATE_FAILED", own("CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename %s and update the stack again.", r.Name), properties)
		}
		switch {
		case r.Old == nil:
			r.Old = &before{Physical: r.Physical, Name: r.Name, Given: r.Given, Type: r.Type, Sealed: r.Sealed, Replaced: true, KeepOld: r.KeepOld}
		case r.Old.Replaced: // by an update that failed and was not rolled back: what it made goes
			if err := w.delete(ctx, w.s.kinds[r.Type], r.Physical, r.Name, old.Properties); err != nil {
				return fail("UPDATE_FAILED", err, properties)
			}
		default:
			r.Old.Replaced, r.Old.KeepOld = true, r.KeepOld
		}
		describe(r)
		r.Type, r.Made = t.Type, w.s.now()
		choose(r)
		// From here on the old one is in Old alone: what is found by the new is not it.
		r.Physical, r.Sealed = "", ""
		if err := w.put(ctx, r, "UPDATE_IN_PROGRESS", "Requested update requires the creation of a new physical resource; hence creating one.", properties); err != nil {
			return verb, false, err
		}
	}

	progress, complete, failedStatus := "CREATE_IN_PROGRESS", "CREATE_COMPLETE", "CREATE_FAILED"
	if r.Old != nil {
		verb, progress, complete, failedStatus = "update", "UPDATE_IN_PROGRESS", "UPDATE_COMPLETE", "UPDATE_FAILED"
	}
	keep := func(m made) (err error) {
		r.Physical = m.physical
		r.Sealed, err = w.s.seal(w.key, state{properties, m.attributes})
		return err
	}
	done, err := w.create(ctx, k, r, properties, func(m made) error {
		if err := keep(m); err != nil {
			return err
		}
		return w.put(ctx, r, progress, "Resource creation Initiated", properties)
	})
	if err != nil {
		return fail(failedStatus, err, properties)
	}
	if err := keep(done); err != nil {
		return verb, false, err
	}
	return verb, false, w.put(ctx, r, complete, "", properties)
}

// differing are the names of properties that differ.
func differing(old, new map[string]any) []string {
	names := map[string]bool{}
	for name := range old {
		names[name] = true
	}
	for name := range new {
		names[name] = true
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(names)), func(name string) bool { return template.Same(old[name], new[name]) })
}

// tagged adds the stack's tags to the properties of what takes tags; its own win.
func (m *maker) tagged(k *kind, properties map[string]any) map[string]any {
	if !k.Tags || len(m.st.Tags) == 0 {
		return properties
	}
	properties = maps.Clone(properties)
	if k.TagMap {
		tags, _ := properties["Tags"].(map[string]any)
		all := map[string]any{}
		for _, t := range m.st.Tags {
			all[t.Key] = t.Value
		}
		maps.Copy(all, tags)
		properties["Tags"] = all
		return properties
	}
	tags, _ := properties["Tags"].([]any)
	tags = slices.Clone(tags)
	for _, t := range m.st.Tags {
		if !slices.ContainsFunc(tags, func(v any) bool { tag, _ := v.(map[string]any); return template.Same(tag["Key"], t.Key) }) {
			tags = append(tags, map[string]any{"Key": t.Key, "Value": t.Value})
		}
	}
	properties["Tags"] = tags
	return properties
}

// failed turns the stack back, or leaves it as it is where its caller wants that.
func (w *worker) failed(ctx context.Context, logical, verb, why string) error {
	return w.change(ctx, func(tx *store.Tx, st *stack) error {
		if logical != "" {
			why = fmt.Sprintf("The following resource(s) failed to %s: [%s]. ", verb, logical)
			st.Work.Failed, st.Work.Why = []string{logical}, verb
		}
		switch {
		case st.Status == "CREATE_IN_PROGRESS" && st.OnFailure == "DELETE":
			w.s.become(tx, st, "DELETE_IN_PROGRESS", why+"Delete requested by user.")
		case st.Status == "CREATE_IN_PROGRESS" && st.OnFailure == "DO_NOTHING":
			w.s.become(tx, st, "CREATE_FAILED", why)
			st.Body, st.Stuck, st.Work = st.Work.Body, st.Work, nil
		case st.Status == "CREATE_IN_PROGRESS":
			w.s.become(tx, st, "ROLLBACK_IN_PROGRESS", why+"Rollback requested by user.")
		case st.OnFailure == "DO_NOTHING" && !st.Work.Cancelled:
			w.s.become(tx, st, "UPDATE_FAILED", why)
			st.Body, st.Stuck, st.Work = st.Work.Body, st.Work, nil
		default:
			w.s.become(tx, st, "UPDATE_ROLLBACK_IN_PROGRESS", why)
		}
		return nil
	})
}

// cancelled turns the stack back because its user wants that: CancelUpdateStack, or
// DeleteStack of one that is being created.
func (w *worker) cancelled(ctx context.Context) error {
	return w.change(ctx, func(tx *store.Tx, st *stack) error {
		if st.Status == "CREATE_IN_PROGRESS" {
			w.s.become(tx, st, "DELETE_IN_PROGRESS", "User Initiated")
			st.Work.Operation = "DELETE"
			return nil
		}
		w.s.become(tx, st, "UPDATE_ROLLBACK_IN_PROGRESS", "User Initiated")
		return nil
	})
}

// through ends what went well: the outputs are computed, and the exports are there.
func (w *worker) through(ctx context.Context, in *template.Instance, t *text) error {
	values, err := in.Outputs()
	var mistake *template.Error
	if errors.As(err, &mistake) {
		return w.failed(ctx, "", "create", mistake.Message+" ")
	}
	if err != nil {
		return err
	}
	t.Outputs = nil
	for _, v := range values {
		t.Outputs = append(t.Outputs, output(v))
	}
	number := w.st.Work.Body
	sealed, err := w.s.seal(bodyKey(w.st, number), t)
	if err != nil {
		return err
	}
	used := importsOf(in)
	err = w.change(ctx, func(tx *store.Tx, st *stack) error {
		if err := w.s.exported(tx, st, t.Outputs); err != nil {
			return err
		}
		bodies.Put(tx, bodyKey(st, number), &body{sealed})
		st.Body, st.Imports, st.Description = number, used, in.Template.Description
		if st.Status == "CREATE_IN_PROGRESS" {
			w.s.become(tx, st, "CREATE_COMPLETE", "")
			st.Work = nil
			return nil
		}
		w.s.become(tx, st, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "")
		return nil
	})
	if errors.As(err, &mistake) {
		return w.failed(ctx, "", "create", mistake.Message+" ")
	}
	return err
}

// cleanUp deletes what an update, or its rollback, has no more use of. What cannot be
// deleted stays behind, with an event that tells it, as in AWS.
func (w *worker) cleanUp(ctx context.Context) error {
	back := w.st.Status == "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS"
	all := resourcesOf(w.s.DB.View(), w.st)
	for _, logical := range backwards(all) {
		if ctx.Err() != nil {
			return errStopped
		}
		r := w.resource(logical)
		if o := r.Old; o != nil {
			if o.Replaced {
				former := *r
				former.Physical, former.Type = o.Physical, o.Type
				if err := w.remove(ctx, &former, o.Name, o.Sealed, o.KeepOld && !back, false); err != nil {
					return err
				}
			}
			r.Old = nil
			if err := w.change(ctx, func(tx *store.Tx, st *stack) error {
				resources.Put(tx, w.resourceKey(logical), r)
				return nil
			}); err != nil {
				return err
			}
		}
		leaves := r.New && back || !back && r.Of != w.st.Work.Request
		if leaves && r.Status != "DELETE_COMPLETE" {
			keep := r.Keep && !back || back && r.KeepMade
			if err := w.remove(ctx, r, r.Name, r.Sealed, keep, true); err != nil {
				return err
			}
		}
	}
	return w.change(ctx, func(tx *store.Tx, st *stack) error {
		status := "UPDATE_COMPLETE"
		if back {
			status = "UPDATE_ROLLBACK_COMPLETE"
		}
		for _, r := range resourcesOf(tx, st) {
			if r.New {
				r.New = false
				resources.Put(tx, w.resourceKey(r.Logical), r)
			}
		}
		w.s.become(tx, st, status, "")
		st.Work, st.Stuck = nil, nil
		return nil
	})
}

// remove deletes a resource that the stack has no more use of. forget takes it off the
// stack's list, whatever came of it.
func (w *worker) remove(ctx context.Context, r *resource, name, sealed string, keep, forget bool) error {
	k := w.s.kinds[r.Type]
	tell := func(status, reason string) error {
		return w.change(ctx, func(tx *store.Tx, st *stack) error {
			w.s.add(tx, st, event{ID: r.Logical + "-" + status + "-" + w.s.now().Format("2006-01-02T15:04:05.000Z"), Logical: r.Logical, Type: r.Type, Physical: r.Physical, Status: status, Reason: reason})
			if forget && status != "DELETE_IN_PROGRESS" {
				resources.Delete(tx, w.resourceKey(r.Logical))
			}
			return nil
		})
	}
	if keep {
		return tell("DELETE_SKIPPED", "")
	}
	if r.Physical == "" {
		return tell("DELETE_COMPLETE", "")
	}
	old, err := w.s.opened(w.st, sealed)
	if err != nil {
		return err
	}
	if err := w.allowed("Update:Delete", r.Logical, r.Type); err != nil && w.st.Status == "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS" {
		return tell("DELETE_FAILED", w.reason(k, w.st.Work.Request, err))
	}
	if err := tell("DELETE_IN_PROGRESS", ""); err != nil {
		return err
	}
	if err := w.delete(ctx, k, r.Physical, name, old.Properties); err != nil {
		if stopped(ctx, err) {
			return errStopped
		}
		return tell("DELETE_FAILED", w.reason(k, w.st.Work.Request, err))
	}
	return tell("DELETE_COMPLETE", "")
}

// goBack puts the resources back as they were before an update.
func (w *worker) goBack(ctx context.Context) error {
	all := resourcesOf(w.s.DB.View(), w.st)
	forwards := backwards(all)
	slices.Reverse(forwards)
	var failed []string
	for _, logical := range forwards {
		if ctx.Err() != nil {
			return errStopped
		}
		r := w.resource(logical)
		o := r.Old
		if o == nil {
			continue
		}
		if slices.Contains(w.st.Work.Skip, logical) {
			r.Old = nil
			r.Physical, r.Name, r.Given, r.Type, r.Sealed = o.Physical, o.Name, o.Given, o.Type, o.Sealed
			if err := w.put(ctx, r, "UPDATE_COMPLETE", "Resource skipped by the user", nil); err != nil {
				return err
			}
			continue
		}
		was, err := w.s.opened(w.st, o.Sealed)
		if err != nil {
			return err
		}
		is, err := w.s.opened(w.st, r.Sealed)
		if err != nil {
			return err
		}
		k := w.s.kinds[o.Type]
		if !o.Replaced {
			if err := w.put(ctx, r, "UPDATE_IN_PROGRESS", "", was.Properties); err != nil {
				return err
			}
			if err := w.update(ctx, k, r, is.Properties, was.Properties, true); err != nil {
				if stopped(ctx, err) {
					return errStopped
				}
				if err := w.put(ctx, r, "UPDATE_FAILED", w.reason(k, w.st.Work.Request, err), was.Properties); err != nil {
					return err
				}
				failed = append(failed, logical)
				continue
			}
			r.Sealed, r.Old = o.Sealed, nil
		} else {
			new := &before{Physical: r.Physical, Name: r.Name, Given: r.Given, Type: r.Type, Sealed: r.Sealed, Replaced: r.Physical != ""}
			if new.Physical == "" && r.Status == "UPDATE_IN_PROGRESS" { // stopped while it was made
				physical, _, err := w.interrupted(ctx, w.s.kinds[r.Type], r, is.Properties)
				if err != nil {
					return err
				}
				new.Physical, new.Replaced = physical, physical != ""
			}
			r.Physical, r.Name, r.Given, r.Type, r.Sealed, r.Old = o.Physical, o.Name, o.Given, o.Type, o.Sealed, nil
			if new.Replaced {
				// The one that was made is deleted in the cleanup. Its Of is not this operation's:
				// what is left of a rollback is looked at by New and Old alone.
				r.Old = new
			}
		}
		if err := w.put(ctx, r, "UPDATE_COMPLETE", "", was.Properties); err != nil {
			return err
		}
	}
	return w.change(ctx, func(tx *store.Tx, st *stack) error {
		if failed != nil {
			w.s.become(tx, st, "UPDATE_ROLLBACK_FAILED", fmt.Sprintf("The following resource(s) failed to update: [%s]. ", strings.Join(failed, ", ")))
			st.Stuck, st.Work = st.Work, nil
			return nil
		}
		st.Body = st.Work.Before
		if o := st.Work.Old; o != nil {
			st.Tags, st.Capabilities, st.Description, st.Imports = o.Tags, o.Capabilities, o.Description, o.Imports
		}
		w.s.become(tx, st, "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", "")
		return nil
	})
}

// backwards are the resources in an order in which they can be deleted: each before those
// that it needs.
func backwards(all []*resource) []string {
	var done []string
	seen := map[string]bool{}
	by := map[string]*resource{}
	for _, r := range all {
		by[r.Logical] = r
	}
	var visit func(r *resource)
	visit = func(r *resource) {
		if seen[r.Logical] {
			return
		}
		seen[r.Logical] = true
		for _, n := range r.Needs {
			if by[n] != nil {
				visit(by[n])
			}
		}
		done = append(done, r.Logical)
	}
	for _, r := range all {
		visit(r)
	}
	slices.Reverse(done)
	return done
}

// deleteAll deletes what the stack has: of one that is deleted, or could not be created.
func (w *worker) deleteAll(ctx context.Context) error {
	rollback := w.st.Status == "ROLLBACK_IN_PROGRESS"
	uncreated := rollback || w.st.Work.Operation == "CREATE"
	all := resourcesOf(w.s.DB.View(), w.st)
	var failed []string
	needed := map[string]bool{} // by one that could not be deleted
	for _, logical := range backwards(all) {
		if ctx.Err() != nil {
			return errStopped
		}
		r := w.resource(logical)
		if r.Status == "DELETE_COMPLETE" || r.Status == "DELETE_SKIPPED" {
			continue
		}
		if needed[logical] {
			for _, n := range r.Needs {
				needed[n] = true
			}
			continue
		}
		k := w.s.kinds[r.Type]
		old, err := w.s.opened(w.st, r.Sealed)
		if err != nil {
			return err
		}
		keep := r.Keep || slices.Contains(w.st.Work.Retain, logical)
		if uncreated {
			keep = r.KeepMade && !w.st.RetainExcept
		}
		if r.Physical == "" && r.Status == "CREATE_IN_PROGRESS" && w.s.kinds[r.Type] != nil { // stopped while it was made
			if r.Physical, _, err = w.interrupted(ctx, k, r, old.Properties); err != nil {
				return err
			}
		}
		if keep && r.Physical != "" {
			if err := w.put(ctx, r, "DELETE_SKIPPED", "", old.Properties); err != nil {
				return err
			}
			continue
		}
		if r.Physical != "" {
			if err := w.put(ctx, r, "DELETE_IN_PROGRESS", "", old.Properties); err != nil {
				return err
			}
			err := w.delete(ctx, k, r.Physical, r.Name, old.Properties)
			if o := r.Old; err == nil && o != nil && o.Replaced && o.Physical != "" {
				var was *state
				if was, err = w.s.opened(w.st, o.Sealed); err == nil {
					err = w.delete(ctx, w.s.kinds[o.Type], o.Physical, o.Name, was.Properties)
				}
			}
			if err != nil {
				if stopped(ctx, err) {
					return errStopped
				}
				if err := w.put(ctx, r, "DELETE_FAILED", w.reason(k, w.st.Work.Request, err), old.Properties); err != nil {
					return err
				}
				failed = append(failed, logical)
				for _, n := range r.Needs {
					needed[n] = true
				}
				continue
			}
		}
		r.Sealed, r.Old = "", nil
		if err := w.put(ctx, r, "DELETE_COMPLETE", "", old.Properties); err != nil {
			return err
		}
	}
	return w.change(ctx, func(tx *store.Tx, st *stack) error {
		st.Body = max(st.Body, st.Work.Body)
		switch {
		case failed != nil:
			status := "DELETE_FAILED"
			if rollback {
				status = "ROLLBACK_FAILED"
			}
			slices.Sort(failed)
			w.s.become(tx, st, status, fmt.Sprintf("The following resource(s) failed to delete: [%s]. ", strings.Join(failed, ", ")))
		case rollback:
			w.s.become(tx, st, "ROLLBACK_COMPLETE", "")
		default:
			w.s.become(tx, st, "DELETE_COMPLETE", "")
			w.s.ended(tx, st)
		}
		st.Work, st.Stuck = nil, nil
		return nil
	})
}

// ended takes away what a deleted stack leaves behind in the store: it is found by its ARN alone.
func (s *Service) ended(tx *store.Tx, st *stack) {
	st.Deleted = s.now()
	place := st.Account + "/" + st.Region + "/"
	if key := names.Get(tx, place+st.Name); key != nil && *key == st.key() {
		names.Delete(tx, place+st.Name)
	}
	for name, e := range exports.All(tx, place) {
		if e.Stack == st.ID {
			exports.Delete(tx, name)
		}
	}
	for key, c := range changeSets.All(tx, st.key()+"/") {
		if c.Execution != "EXECUTE_COMPLETE" {
			changeSets.Delete(tx, key)
		}
	}
	for key := range bodies.All(tx, st.key()+"/") {
		if key != bodyKey(st, st.Body) {
			bodies.Delete(tx, key)
		}
	}
}

// exported gives the stack the exports of its outputs. Others must not have the names, and
// what others import neither goes away nor changes.
func (s *Service) exported(tx *store.Tx, st *stack, outputs []output) error {
	place := st.Account + "/" + st.Region + "/"
	values := map[string]string{}
	for _, o := range outputs {
		if o.Export == "" {
			continue
		}
		if e := exports.Get(tx, place+o.Export); e != nil && e.Stack != st.ID {
			return &template.Error{Message: fmt.Sprintf("Export with name %s is already exported by stack %s. Rollback requested by user.", o.Export, nameOf(e.Stack))}
		}
		if _, twice := values[o.Export]; twice {
			return &template.Error{Message: "Duplicate Export names: [" + o.Export + "]"}
		}
		values[o.Export] = o.Value
	}
	for key, e := range exports.All(tx, place) {
		if e.Stack != st.ID {
			continue
		}
		name := strings.TrimPrefix(key, place)
		value, still := values[name]
		if user := importer(tx, st, name); user != "" {
			if !still {
				return &template.Error{Message: fmt.Sprintf("Export %s cannot be deleted as it is in use by %s", name, user)}
			}
			if value != e.Value {
				return &template.Error{Message: fmt.Sprintf("Export %s cannot be updated as it is in use by %s", name, user)}
			}
		}
		if !still {
			exports.Delete(tx, key)
		}
	}
	for name, value := range values {
		exports.Put(tx, place+name, &export{st.ID, value})
	}
	return nil
}

// importer is the name of another stack that imports an export; "" when none does.
func importer(r store.Reader, st *stack, name string) string {
	for _, other := range stacksOf(r, st.Account, st.Region) {
		if other.ID != st.ID && other.Status != "DELETE_COMPLETE" && slices.Contains(other.Imports, name) {
			return other.Name
		}
	}
	return ""
}

func nameOf(id string) string {
	parts := strings.Split(id, "/")
	return parts[min(1, len(parts)-1)]
}
