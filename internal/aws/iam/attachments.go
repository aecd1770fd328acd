package iam

import (
	"context"
	"iter"
	"reflect"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/reference"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// A usage is how often a managed policy is in use in an account. It is written by
// all who attach and detach, and read by who deletes the policy.
type usage struct{ Attached, Boundaries int }

var usages = store.NewTable[usage]("policyusage") // account + "/" + ARN

func usageOf(r store.Reader, account, policyARN string) usage {
	if u := usages.Get(r, account+"/"+policyARN); u != nil {
		return *u
	}
	return usage{}
}

func use(tx *store.Tx, account string, policyARN arn.ARN, attached, boundaries int) {
	u := usageOf(tx, account, string(policyARN))
	u.Attached += attached
	u.Boundaries += boundaries
	key := account + "/" + string(policyARN)
	if u == (usage{}) {
		usages.Delete(tx, key)
		return
	}
	usages.Put(tx, key, &u)
}

// attachable reports whether a managed policy exists that the account can use: its
// own or AWS's, not another account's.
func attachable(r store.Reader, account, policyARN string) bool {
	if _, ok := reference.ManagedPolicy(policyARN); ok {
		return true
	}
	return policies.find(r, account, policyARN) != nil
}

func isAWSPolicy(name string) bool {
	_, ok := reference.ManagedPolicy(name)
	return ok
}

// awsPolicies lists the policies that AWS keeps.
func awsPolicies(after string) iter.Seq2[string, *reference.Managed] {
	return func(yield func(string, *reference.Managed) bool) {
		for m := range reference.ManagedPolicies() {
			if m.ARN > after && !yield(m.ARN, m) {
				return
			}
		}
	}
}

// awsPoliciesInUse lists those of them that an account uses.
func awsPoliciesInUse(r store.Reader, account string) list[*reference.Managed] {
	return func(after string) iter.Seq2[string, *reference.Managed] {
		return func(yield func(string, *reference.Managed) bool) {
			prefix := account + "/"
			if after != "" {
				after = prefix + after
			}
			for key := range usages.From(r, prefix+"arn:aws:iam::aws:", after) {
				if m, ok := reference.ManagedPolicy(key[len(prefix):]); ok && !yield(m.ARN, m) {
					return
				}
			}
		}
	}
}

// attachments are the three operations on the managed policies that are attached to
// a kind of principal.
func attachments[Attach, Detach, List, Listed, T any](s *Service, k *kind[T]) []service.Row {
	attachName, attachPolicy := field[string](reflect.TypeFor[Attach](), k.field), field[string](reflect.TypeFor[Attach](), "PolicyArn")
	detachName, detachPolicy := field[string](reflect.TypeFor[Detach](), k.field), field[string](reflect.TypeFor[Detach](), "PolicyArn")
	listName, pathPrefix := field[string](reflect.TypeFor[List](), k.field), field[string](reflect.TypeFor[List](), "PathPrefix")
	marker, max := field[string](reflect.TypeFor[List](), "Marker"), field[*int32](reflect.TypeFor[List](), "MaxItems")

	// Attaching twice is no change.
	attach := func(ctx context.Context, c *service.Call, in *Attach) (*none, error) {
		return nil, change(ctx, s, c, k, attachName(in), func(tx *store.Tx, v *T) error {
			a := arn.ARN(attachPolicy(in))
			if !attachable(tx, c.Account, string(a)) {
				return api.NoSuchEntity("Policy %s does not exist or is not attachable.", a)
			}
			if isAWS(a) && strings.HasPrefix(pathOf(string(a)), identity.ServiceLinkedPath) {
				return api.PolicyNotAttachable("Cannot attach a Service Role Policy to a Customer %s.", strings.TrimSuffix(k.field, "Name"))
			}
			attached := k.attached(v)
			if slices.Contains(*attached, a) {
				return nil
			}
			*attached = append(*attached, a)
			use(tx, c.Account, a, +1, 0)
			return within(len(*attached), k.attaches(&s.Quotas), k.attachOf)
		})
	}
	detach := func(ctx context.Context, c *service.Call, in *Detach) (*none, error) {
		return nil, change(ctx, s, c, k, detachName(in), func(tx *store.Tx, v *T) error {
			a := arn.ARN(detachPolicy(in))
			attached := k.attached(v)
			i := slices.Index(*attached, a)
			if i < 0 {
				return api.NoSuchEntity("Policy %s was not found.", a)
			}
			*attached = slices.Delete(*attached, i, i+1)
			use(tx, c.Account, a, -1, 0)
			return nil
		})
	}
	list := func(_ context.Context, c *service.Call, in *List) (*Listed, error) {
		v, err := k.get(c.State, c, listName(in))
		if err != nil {
			return nil, err
		}
		p, err := paged(marker(in), max(in), mapped(slice(*k.attached(v)), func(a arn.ARN) (api.AttachedPolicy, bool) {
			return attachedPolicy(a), strings.HasPrefix(pathOf(string(a)), pathPrefix(in))
		}))
		if err != nil {
			return nil, err
		}
		return answer[Listed](map[string]any{"AttachedPolicies": p.Items, "IsTruncated": p.More, "Marker": p.Marker}), nil
	}

	policyARN := service.Key("iam:PolicyARN", "{PolicyArn}")
	return []service.Row{
		principal(k, attach, policyARN, policyARNChecked[Attach]()),
		principal(k, detach, policyARN, policyARNChecked[Detach]()),
		service.Handle(list, k.named),
	}
}

func attachedPolicy(a arn.ARN) api.AttachedPolicy {
	return api.AttachedPolicy{PolicyName: string(a[strings.LastIndexByte(string(a), '/')+1:]), PolicyArn: string(a)}
}

// An entity is one that uses a managed policy.
type entity struct {
	user  *identity.User
	group *identity.Group
	role  *identity.Role
}

// listEntitiesForPolicy gives three empty lists for the filters that name a kind of
// policy, as AWS does.
func (s *Service) listEntitiesForPolicy(_ context.Context, c *service.Call, in *api.ListEntitiesForPolicyInput) (*api.ListEntitiesForPolicyOutput, error) {
	if !attachable(c.State, c.Account, in.PolicyArn) {
		return nil, policies.missing(in.PolicyArn)
	}
	uses := func(filter string, attached []arn.ARN, boundary *api.AttachedPermissionsBoundary) bool {
		if in.EntityFilter != "" && in.EntityFilter != filter {
			return false
		}
		return in.PolicyUsageFilter != "PermissionsBoundary" && slices.Contains(attached, arn.ARN(in.PolicyArn)) ||
			in.PolicyUsageFilter != "PermissionsPolicy" && boundary != nil && boundary.PermissionsBoundaryArn == in.PolicyArn
	}
	p, err := paged(in.Marker, in.MaxItems, joined(
		mapped(groups.all(c.State, c.Account, in.PathPrefix), func(g *identity.Group) (entity, bool) {
			return entity{group: g}, uses("Group", g.Attached, nil)
		}),
		mapped(users.all(c.State, c.Account, in.PathPrefix), func(u *identity.User) (entity, bool) {
			return entity{user: u}, uses("User", u.Attached, u.PermissionsBoundary)
		}),
		mapped(roles.all(c.State, c.Account, in.PathPrefix), func(r *identity.Role) (entity, bool) {
			return entity{role: r}, uses("Role", r.Attached, r.PermissionsBoundary)
		}),
	))
	if err != nil {
		return nil, err
	}
	out := &api.ListEntitiesForPolicyOutput{
		PolicyGroups: []api.PolicyGroup{}, PolicyUsers: []api.PolicyUser{}, PolicyRoles: []api.PolicyRole{},
		IsTruncated: p.More, Marker: p.Marker,
	}
	for _, e := range p.Items {
		switch {
		case e.group != nil:
			out.PolicyGroups = append(out.PolicyGroups, api.PolicyGroup{GroupName: e.group.GroupName, GroupId: e.group.GroupId})
		case e.user != nil:
			out.PolicyUsers = append(out.PolicyUsers, api.PolicyUser{UserName: e.user.UserName, UserId: e.user.UserId})
		case e.role != nil:
			out.PolicyRoles = append(out.PolicyRoles, api.PolicyRole{RoleName: e.role.RoleName, RoleId: e.role.RoleId})
		}
	}
	return out, nil
}
