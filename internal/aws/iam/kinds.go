package iam

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
)

// A kind is a kind of entity: what the operations that repeat for several kinds
// need to know of it. Columns that do not apply are nil.
type kind[T any] struct {
	kind   identity.Kind // begins the resource part of the ARN: "instance-profile"
	word   string        // what refusals call one: "instance profile"; "" where they print the ARN
	field  string        // the input's field that names one
	byARN  bool          // it is named by its ARN, except when it is made
	prefix string        // of unique ids

	table   store.Table[T]
	find    func(r store.Reader, account, name string) *T // nil when there is none
	missing func(name string) *wire.Error
	exists  func(name string) *wire.Error
	shown   func(*T) (name, id, arn string)
	count   func(*identity.Counts) *int
	quota   func(*Quotas) int
	quotaOf string // the quota's name in LimitExceeded

	tags     func(*T) *[]api.Tag
	tagsOf   string // the quota's name in LimitExceeded
	exactTag bool   // tag keys that differ in case are different keys
	inline   func(*T) *map[string]identity.Document
	inlines  func(*Quotas) int // characters of all inline policies together
	attached func(*T) *[]arn.ARN
	attaches func(*Quotas) int
	attachOf string // the quota's name in LimitExceeded
	boundary func(*T) **api.AttachedPermissionsBoundary

	protected func(*T) error // why the account may not change one; change and remove ask
}

var users = &kind[identity.User]{
	kind: identity.UserKind, word: "user", field: "UserName", prefix: identity.UserPrefix,
	table:   identity.Users,
	find:    byName(identity.Users),
	missing: noSuch("The user with name %s cannot be found."),
	exists:  already("User with name %s already exists."),
	shown:   func(u *identity.User) (string, string, string) { return u.UserName, u.UserId, u.Arn },
	count:   func(n *identity.Counts) *int { return &n.Users },
	quota:   func(q *Quotas) int { return q.Users }, quotaOf: "UsersPerAccount",
	tags: func(u *identity.User) *[]api.Tag { return &u.Tags }, tagsOf: "TagsPerUser",
	inline:   func(u *identity.User) *map[string]identity.Document { return &u.Inline },
	inlines:  func(q *Quotas) int { return q.UserPolicySize },
	attached: func(u *identity.User) *[]arn.ARN { return &u.Attached },
	attaches: func(q *Quotas) int { return q.AttachedPerUser }, attachOf: "PoliciesPerUser",
	boundary: func(u *identity.User) **api.AttachedPermissionsBoundary { return &u.PermissionsBoundary },
}

var groups = &kind[identity.Group]{
	kind: identity.GroupKind, word: "group", field: "GroupName", prefix: identity.GroupPrefix,
	table:   identity.Groups,
	find:    byName(identity.Groups),
	missing: noSuch("The group with name %s cannot be found."),
	exists:  already("Group with name %s already exists."),
	shown:   func(g *identity.Group) (string, string, string) { return g.GroupName, g.GroupId, g.Arn },
	count:   func(n *identity.Counts) *int { return &n.Groups },
	quota:   func(q *Quotas) int { return q.Groups }, quotaOf: "GroupsPerAccount",
	inline:   func(g *identity.Group) *map[string]identity.Document { return &g.Inline },
	inlines:  func(q *Quotas) int { return q.GroupPolicySize },
	attached: func(g *identity.Group) *[]arn.ARN { return &g.Attached },
	attaches: func(q *Quotas) int { return q.AttachedPerGroup }, attachOf: "PoliciesPerGroup",
}

var roles = &kind[identity.Role]{
	kind: identity.RoleKind, word: "role", field: "RoleName", prefix: identity.RolePrefix,
	table:   identity.Roles,
	find:    byName(identity.Roles),
	missing: noSuch("The role with name %s cannot be found."),
	exists:  already("Role with name %s already exists."),
	shown:   func(r *identity.Role) (string, string, string) { return r.RoleName, r.RoleId, r.Arn },
	count:   func(n *identity.Counts) *int { return &n.Roles },
	quota:   func(q *Quotas) int { return q.Roles }, quotaOf: "RolesPerAccount",
	tags: func(r *identity.Role) *[]api.Tag { return &r.Tags }, tagsOf: "TagsPerRole",
	inline:   func(r *identity.Role) *map[string]identity.Document { return &r.Inline },
	inlines:  func(q *Quotas) int { return q.RolePolicySize },
	attached: func(r *identity.Role) *[]arn.ARN { return &r.Attached },
	attaches: func(q *Quotas) int { return q.AttachedPerRole }, attachOf: "PoliciesPerRole",
	boundary: func(r *identity.Role) **api.AttachedPermissionsBoundary { return &r.PermissionsBoundary },
	protected: func(r *identity.Role) error {
		if r.ServiceLinked() {
			return api.UnmodifiableEntity("Cannot perform the operation on the protected role '%s' - this role is only modifiable by AWS", r.RoleName)
		}
		return nil
	},
}

// Policies are named by ARN, except when they are made.
var policies = &kind[identity.Policy]{
	kind: identity.PolicyKind, word: "policy", field: "PolicyArn", byARN: true, prefix: identity.PolicyPrefix,
	table: identity.Policies,
	find: func(r store.Reader, account, name string) *identity.Policy {
		if a := arn.ARN(name); a.Account() == account {
			return identity.PolicyByARN(r, a)
		}
		return nil
	},
	missing: func(name string) *wire.Error {
		if isAWS(arn.ARN(name)) {
			return api.NoSuchEntity("Policy %s was not found.", name)
		}
		return api.NoSuchEntity("Policy %s does not exist or is not attachable.", name)
	},
	exists: already("A policy called %s already exists. Duplicate names are not allowed."),
	shown:  func(p *identity.Policy) (string, string, string) { return p.PolicyName, p.PolicyId, p.Arn },
	count:  func(n *identity.Counts) *int { return &n.Policies },
	quota:  func(q *Quotas) int { return q.Policies }, quotaOf: "PoliciesPerAccount",
	tags: func(p *identity.Policy) *[]api.Tag { return &p.Tags }, tagsOf: "TagsPerPolicy", exactTag: true,
}

var profiles = &kind[identity.Profile]{
	kind: identity.ProfileKind, word: "instance profile", field: "InstanceProfileName", prefix: identity.ProfilePrefix,
	table:   identity.Profiles,
	find:    byName(identity.Profiles),
	missing: noSuch("Instance Profile %s cannot be found."),
	exists:  already("Instance Profile %s already exists."),
	shown: func(p *identity.Profile) (string, string, string) {
		return p.InstanceProfileName, p.InstanceProfileId, p.Arn
	},
	count: func(n *identity.Counts) *int { return &n.Profiles },
	quota: func(q *Quotas) int { return q.Profiles }, quotaOf: "InstanceProfilesPerAccount",
	tags: func(p *identity.Profile) *[]api.Tag { return &p.Tags }, tagsOf: "TagsPerInstanceProfile",
}

// MFA devices are named by serial number, which is their ARN. Their names are unique
// in the account, whatever the path.
var mfaDevices = &kind[identity.MFADevice]{
	kind: identity.MFADeviceKind, field: "SerialNumber", byARN: true,
	table: identity.MFADevices,
	find: func(r store.Reader, account, serial string) *identity.MFADevice {
		if a := arn.ARN(serial); a.Account() == account {
			return identity.MFADeviceBySerial(r, a)
		}
		return nil
	},
	missing: noSuch("MFA Device with serial number %s does not exist."),
	exists:  func(string) *wire.Error { return api.EntityAlreadyExists("MFA device already exists.") },
	shown: func(d *identity.MFADevice) (string, string, string) {
		return d.Name, d.ID, d.SerialNumber
	},
	count: func(n *identity.Counts) *int { return &n.MFADevices },
	quota: func(q *Quotas) int { return q.MFADevices }, quotaOf: "MFADevicesPerAccount",
	tags: func(d *identity.MFADevice) *[]api.Tag { return &d.Tags }, tagsOf: "TagsPerMFADevice",
}

func byName[T any](t store.Table[T]) func(store.Reader, string, string) *T {
	return func(r store.Reader, account, name string) *T { return t.Get(r, identity.Key(account, name)) }
}

func noSuch(format string) func(string) *wire.Error {
	return func(name string) *wire.Error { return api.NoSuchEntity(format, name) }
}

func already(format string) func(string) *wire.Error {
	return func(name string) *wire.Error { return api.EntityAlreadyExists(format, name) }
}

// get finds an entity of the caller's account, or is NoSuchEntity. It is
// ConcurrentModification when the name means another entity than it did when the
// call was authorised, or the same with another path: what was decided on one ARN
// must not be done to another.
func (k *kind[T]) get(r store.Reader, c *service.Call, name string) (*T, error) {
	v := k.find(r, c.Account, name)
	if v == nil {
		return nil, k.missing(name)
	}
	if decided := k.find(c.State, c.Account, name); decided == nil || !k.same(v, decided) {
		return nil, api.ConcurrentModification("The %s %s was changed while the request was processed. Submit your request again.", cmp.Or(k.word, string(k.kind)), name)
	}
	return v, nil
}

func (k *kind[T]) same(a, b *T) bool {
	_, idA, arnA := k.shown(a)
	_, idB, arnB := k.shown(b)
	return idA == idB && arnA == arnB
}

// key is where an entity is kept.
func (k *kind[T]) key(account string, v *T) string {
	name, _, _ := k.shown(v)
	return identity.Key(account, name)
}

// create adds an entity, unless its name is taken or there are too many. more, if
// not nil, does what belongs to it.
func create[T any](ctx context.Context, s *Service, c *service.Call, k *kind[T], v *T, more func(*store.Tx) error) error {
	name, id, _ := k.shown(v)
	key := identity.Key(c.Account, name)
	return s.update(ctx, func(tx *store.Tx) error {
		if k.table.Get(tx, key) != nil {
			return k.exists(name)
		}
		if err := adjust(tx, s, c.Account, k, +1); err != nil {
			return err
		}
		if more != nil {
			if err := more(tx); err != nil {
				return err
			}
		}
		if identity.IDs.Get(tx, id) != nil {
			return fmt.Errorf("the new unique id %s is in use", id) // 40 random bits say no
		}
		k.table.Put(tx, key, v)
		identity.IDs.Put(tx, id, &identity.Ref{Kind: k.kind, Key: key})
		return nil
	})
}

// guard is the error of changing a protected entity.
func (k *kind[T]) guard(v *T) error {
	if k.protected == nil {
		return nil
	}
	return k.protected(v)
}

// change finds an entity, gives it to f to be changed and keeps what f made of it.
// It does so for none that is protected.
func change[T any](ctx context.Context, s *Service, c *service.Call, k *kind[T], name string, f func(*store.Tx, *T) error) error {
	return annotate(ctx, s, c, k, name, func(tx *store.Tx, v *T) error {
		if err := k.guard(v); err != nil {
			return err
		}
		return f(tx, v)
	})
}

// annotate is change for what may be changed of a protected entity too: its
// description and its tags.
func annotate[T any](ctx context.Context, s *Service, c *service.Call, k *kind[T], name string, f func(*store.Tx, *T) error) error {
	if k.kind == identity.PolicyKind && isAWS(arn.ARN(name)) {
		return api.AccessDenied("Cannot update policies outside your own account.")
	}
	return s.update(ctx, func(tx *store.Tx) error {
		v, err := k.get(tx, c, name)
		if err != nil {
			return err
		}
		if err := f(tx, v); err != nil {
			return err
		}
		k.table.Put(tx, k.key(c.Account, v), v)
		return nil
	})
}

// remove deletes an entity that is not protected and that f lets go.
func remove[T any](ctx context.Context, s *Service, c *service.Call, k *kind[T], name string, f func(*store.Tx, *T) error) error {
	return s.update(ctx, func(tx *store.Tx) error {
		v, err := k.get(tx, c, name)
		if err != nil {
			return err
		}
		if err := k.guard(v); err != nil {
			return err
		}
		if err := f(tx, v); err != nil {
			return err
		}
		return erase(tx, s, c.Account, k, v)
	})
}

// erase takes an entity away, whatever it is, and what is known of its uses.
func erase[T any](tx *store.Tx, s *Service, account string, k *kind[T], v *T) error {
	_, id, _ := k.shown(v)
	k.table.Delete(tx, k.key(account, v))
	identity.IDs.Delete(tx, id)
	identity.Forget(tx, id)
	return adjust(tx, s, account, k, -1)
}

// adjust counts the entities of an account and holds them against the quota.
func adjust[T any](tx *store.Tx, s *Service, account string, k *kind[T], by int) error {
	n := identity.Counters.Get(tx, account)
	if n == nil {
		n = &identity.Counts{}
	}
	*k.count(n) += by
	if by > 0 {
		if err := within(*k.count(n), k.quota(&s.Quotas), k.quotaOf); err != nil {
			return err
		}
	}
	identity.Counters.Put(tx, account, n)
	return nil
}

// field reads a field of an input by name. A name that the type has not is a
// mistake in the table and panics when the service is built.
func field[V any](in reflect.Type, name string) func(in any) V {
	f, ok := in.FieldByName(name)
	if !ok || f.Type != reflect.TypeFor[V]() {
		panic(fmt.Sprintf("iam: %v has no field %s of type %v", in, name, reflect.TypeFor[V]()))
	}
	return func(in any) V { return reflect.ValueOf(in).Elem().FieldByIndex(f.Index).Interface().(V) }
}

// answer makes an output of which the fields are given by name.
func answer[Out any](fields map[string]any) *Out {
	out := new(Out)
	v := reflect.ValueOf(out).Elem()
	for name, value := range fields {
		v.FieldByName(name).Set(reflect.ValueOf(value))
	}
	return out
}

func orRoot(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

// pathOf is the path in an entity's ARN: "/" or "/.../".
func pathOf(a string) string {
	resource := arn.ARN(a).Resource()
	first, last := strings.IndexByte(resource, '/'), strings.LastIndexByte(resource, '/')
	if first < 0 {
		return "/"
	}
	return resource[first : last+1]
}

// now is the time of the call as AWS keeps times: whole seconds.
func now(c *service.Call) time.Time { return c.Time.UTC().Truncate(time.Second) }

// none is the output of operations that have none.
type none struct{}
