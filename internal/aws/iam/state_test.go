package iam_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/iamd-dev/iamd/internal/aws/iam"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/wire"
)

const (
	allowAll = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
	trustEC2 = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}}`
)

func ptr[T any](v T) *T { return &v }

// refused is do for what must be refused with exactly this error.
func (b *bench) refused(in any, want string) {
	b.Helper()
	_, err := b.do(in)
	if err == nil {
		b.Fatalf("%T %+v: done, want %s", in, in, want)
	}
	e, ok := errors.AsType[*wire.Error](err)
	if !ok {
		b.Fatalf("%T %+v: %v is not an AWS error", in, in, err)
	}
	if got := e.Code + ": " + e.Message; got != want {
		b.Errorf("%T: got  %s\nwant %s", in, got, want)
	}
}

func (b *bench) ok(ins ...any) {
	b.Helper()
	for _, in := range ins {
		if _, err := b.do(in); err != nil {
			b.Fatalf("%T %+v: %v", in, in, err)
		}
	}
}

func TestQuotas(t *testing.T) {
	q := iam.DefaultQuotas()
	q.Users, q.Groups, q.Roles, q.Policies, q.Profiles = 2, 2, 1, 2, 1
	q.GroupsPerUser, q.AttachedPerUser, q.AttachedPerGroup, q.AttachedPerRole = 1, 1, 1, 1
	q.TagsPerEntity = 2
	q.MFADevices = 2
	q.UserPolicySize, q.GroupPolicySize, q.RolePolicySize = 100, 101, 102
	q.PolicySize, q.TrustPolicySize = 200, 160
	b := newBench(t, q)
	longer := func(n int) string { // a policy of n characters beside white space
		p := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":["*"` + "]}}"
		return p[:len(p)-3] + strings.Repeat("\n ", 40) + strings.Repeat(`,"*"`, (n-len(p))/4) + p[len(p)-3:]
	}
	admin, other := "arn:aws:iam::aws:policy/AdministratorAccess", "arn:aws:iam::aws:policy/ReadOnlyAccess"

	b.ok(&api.CreateUserInput{UserName: "a"}, &api.CreateUserInput{UserName: "b"})
	b.refused(&api.CreateUserInput{UserName: "c"}, "LimitExceeded: Cannot exceed quota for UsersPerAccount: 2")
	b.refused(&api.CreateUserInput{UserName: "A"}, "EntityAlreadyExists: User with name A already exists.") // before the quota
	b.ok(&api.DeleteUserInput{UserName: "b"}, &api.CreateUserInput{UserName: "c"})

	b.ok(&api.CreateGroupInput{GroupName: "g"}, &api.CreateGroupInput{GroupName: "h"})
	b.refused(&api.CreateGroupInput{GroupName: "i"}, "LimitExceeded: Cannot exceed quota for GroupsPerAccount: 2")
	b.ok(&api.AddUserToGroupInput{UserName: "a", GroupName: "g"}, &api.AddUserToGroupInput{UserName: "a", GroupName: "g"})
	b.refused(&api.AddUserToGroupInput{UserName: "a", GroupName: "h"}, "LimitExceeded: Cannot exceed quota for GroupsPerUser: 1")

	b.ok(&api.CreateVirtualMFADeviceInput{VirtualMFADeviceName: "m"}, &api.CreateVirtualMFADeviceInput{VirtualMFADeviceName: "n"})
	b.refused(&api.CreateVirtualMFADeviceInput{VirtualMFADeviceName: "o"}, "LimitExceeded: Cannot exceed quota for MFADevicesPerAccount: 2")

	b.ok(&api.CreateRoleInput{RoleName: "r", AssumeRolePolicyDocument: trustEC2})
	b.refused(&api.CreateRoleInput{RoleName: "s", AssumeRolePolicyDocument: trustEC2}, "LimitExceeded: Cannot exceed quota for RolesPerAccount: 1")
	b.refused(&api.UpdateAssumeRolePolicyInput{RoleName: "r", PolicyDocument: strings.Replace(trustEC2, `"ec2.`, `"`+strings.Repeat("x", 60)+`.`, 1)},
		"LimitExceeded: Cannot exceed quota for ACLSizePerRole: 160")

	b.ok(&api.CreateInstanceProfileInput{InstanceProfileName: "p"})
	b.refused(&api.CreateInstanceProfileInput{InstanceProfileName: "q"}, "LimitExceeded: Cannot exceed quota for InstanceProfilesPerAccount: 1")
	b.ok(&api.AddRoleToInstanceProfileInput{InstanceProfileName: "p", RoleName: "r"})
	b.refused(&api.AddRoleToInstanceProfileInput{InstanceProfileName: "p", RoleName: "r"}, "LimitExceeded: Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")

	b.ok(&api.CreatePolicyInput{PolicyName: "p", PolicyDocument: longer(200)})
	b.refused(&api.CreatePolicyInput{PolicyName: "q", PolicyDocument: longer(204)}, "LimitExceeded: Cannot exceed quota for PolicySize: 200")
	b.refused(&api.CreatePolicyVersionInput{PolicyArn: "arn:aws:iam::111122223333:policy/p", PolicyDocument: longer(204)},
		"LimitExceeded: Cannot exceed quota for PolicySize: 200")
	b.ok(&api.CreatePolicyInput{PolicyName: "q", PolicyDocument: allowAll})
	b.refused(&api.CreatePolicyInput{PolicyName: "r", PolicyDocument: allowAll}, "LimitExceeded: Cannot exceed quota for PoliciesPerAccount: 2")

	b.ok(&api.PutUserPolicyInput{UserName: "a", PolicyName: "one", PolicyDocument: longer(99)})
	b.ok(&api.PutUserPolicyInput{UserName: "a", PolicyName: "one", PolicyDocument: longer(99)}) // takes the old one's room
	b.refused(&api.PutUserPolicyInput{UserName: "a", PolicyName: "two", PolicyDocument: allowAll},
		"LimitExceeded: Maximum policy size of 100 bytes exceeded for user a")
	b.refused(&api.PutGroupPolicyInput{GroupName: "g", PolicyName: "one", PolicyDocument: longer(105)},
		"LimitExceeded: Maximum policy size of 101 bytes exceeded for group g")
	b.refused(&api.PutRolePolicyInput{RoleName: "r", PolicyName: "one", PolicyDocument: longer(105)},
		"LimitExceeded: Maximum policy size of 102 bytes exceeded for role r")

	b.ok(&api.AttachUserPolicyInput{UserName: "a", PolicyArn: admin}, &api.AttachUserPolicyInput{UserName: "a", PolicyArn: admin})
	b.refused(&api.AttachUserPolicyInput{UserName: "a", PolicyArn: other}, "LimitExceeded: Cannot exceed quota for PoliciesPerUser: 1")
	b.ok(&api.AttachGroupPolicyInput{GroupName: "g", PolicyArn: admin}, &api.AttachRolePolicyInput{RoleName: "r", PolicyArn: admin})
	b.refused(&api.AttachGroupPolicyInput{GroupName: "g", PolicyArn: other}, "LimitExceeded: Cannot exceed quota for PoliciesPerGroup: 1")
	b.refused(&api.AttachRolePolicyInput{RoleName: "r", PolicyArn: other}, "LimitExceeded: Cannot exceed quota for PoliciesPerRole: 1")

	two := []api.Tag{{Key: "a"}, {Key: "b"}}
	b.ok(&api.TagUserInput{UserName: "a", Tags: two}, &api.TagUserInput{UserName: "a", Tags: []api.Tag{{Key: "A", Value: "again"}}})
	b.refused(&api.TagUserInput{UserName: "a", Tags: []api.Tag{{Key: "c"}}}, "LimitExceeded: Cannot exceed quota for TagsPerUser: 2")

	b.ok(&api.CreateAccessKeyInput{UserName: "a"}, &api.CreateAccessKeyInput{UserName: "a"})
	b.refused(&api.CreateAccessKeyInput{UserName: "a"}, "LimitExceeded: Cannot exceed quota for AccessKeysPerUser: 2")
	b.ok(&api.CreateAccessKeyInput{}, &api.CreateAccessKeyInput{}) // the root's own
	b.refused(&api.CreateAccessKeyInput{}, "LimitExceeded: Cannot exceed quota for AccessKeysPerUser: 2")

	// What was refused left nothing behind.
	if got := must[api.GetPolicyOutput](b, &api.GetPolicyInput{PolicyArn: other}).Policy.AttachmentCount; got != 0 {
		t.Errorf("%s is attached %d times", other, got)
	}
	if got := must[api.ListUserPoliciesOutput](b, &api.ListUserPoliciesInput{UserName: "a"}).PolicyNames; !slices.Equal(got, []string{"one"}) {
		t.Errorf("inline policies %v", got)
	}
}

// Two who do at once what only one may: one of them is told so.
func TestAtOnce(t *testing.T) {
	b := newBench(t, iam.Quotas{})
	b.ok(&api.CreateUserInput{UserName: "u"}, &api.CreateGroupInput{GroupName: "g"},
		&api.CreateRoleInput{RoleName: "r", AssumeRolePolicyDocument: trustEC2}, &api.CreateInstanceProfileInput{InstanceProfileName: "p"},
		&api.CreatePolicyInput{PolicyName: "p", PolicyDocument: allowAll})
	policyARN := "arn:aws:iam::111122223333:policy/p"
	for _, test := range []struct {
		name  string
		calls []any
		done  int
	}{
		{"one name", []any{&api.CreateUserInput{UserName: "New"}, &api.CreateUserInput{UserName: "new"}, &api.CreateUserInput{UserName: "NEW"}}, 1},
		{"keys of a user", []any{&api.CreateAccessKeyInput{UserName: "u"}, &api.CreateAccessKeyInput{UserName: "u"}, &api.CreateAccessKeyInput{UserName: "u"}, &api.CreateAccessKeyInput{UserName: "u"}}, 2},
		{"keys of the root", []any{&api.CreateAccessKeyInput{}, &api.CreateAccessKeyInput{}, &api.CreateAccessKeyInput{}, &api.CreateAccessKeyInput{}}, 2},
		{"to delete a group and join it", []any{&api.DeleteGroupInput{GroupName: "g"}, &api.AddUserToGroupInput{GroupName: "g", UserName: "u"}}, 1},
		{"to delete a policy and attach it", []any{&api.DeletePolicyInput{PolicyArn: policyARN}, &api.AttachRolePolicyInput{RoleName: "r", PolicyArn: policyARN}}, 1},
		{"to delete a role and put it into a profile", []any{&api.DeleteRoleInput{RoleName: "r"}, &api.AddRoleToInstanceProfileInput{RoleName: "r", InstanceProfileName: "p"}}, 1},
	} {
		var wg sync.WaitGroup
		var mu sync.Mutex
		done := 0
		for _, in := range test.calls {
			wg.Go(func() {
				_, err := b.do(in)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					done++
				} else if _, ok := errors.AsType[*wire.Error](err); !ok {
					t.Errorf("%s: %v", test.name, err)
				}
			})
		}
		wg.Wait()
		// Deleting the role can also fail for the policy attached before it: then none or one is done.
		if done != test.done {
			t.Errorf("%s: %d done, want %d", test.name, done, test.done)
		}
	}
}

// A call is authorised on what a name meant when it came. It is not done to another
// entity that has the name by then.
func TestChangedSinceDecided(t *testing.T) {
	b := newBench(t, iam.Quotas{})
	b.ok(&api.CreateUserInput{UserName: "u"}, &api.CreateUserInput{UserName: "v"}, &api.CreateRoleInput{RoleName: "r", AssumeRolePolicyDocument: trustEC2})
	decided := b.db.View()
	b.ok(&api.UpdateUserInput{UserName: "u", NewPath: "/boss/"}, &api.DeleteUserInput{UserName: "v"}, &api.CreateUserInput{UserName: "v"},
		&api.DeleteRoleInput{RoleName: "r"}, &api.CreateGroupInput{GroupName: "g"})
	b.state = decided
	for in, want := range map[any]string{
		&api.TagUserInput{UserName: "u", Tags: []api.Tag{{Key: "k"}}}:                       "ConcurrentModification: The user u was changed",
		&api.DeleteUserInput{UserName: "u"}:                                                 "ConcurrentModification: The user u was changed",
		&api.UpdateUserInput{UserName: "u", NewUserName: "w"}:                               "ConcurrentModification: The user u was changed",
		&api.CreateAccessKeyInput{UserName: "v"}:                                            "ConcurrentModification: The user v was changed",
		&api.AddUserToGroupInput{UserName: "v", GroupName: "g"}:                             "ConcurrentModification: The user v was changed",
		&api.PutGroupPolicyInput{GroupName: "g", PolicyName: "p", PolicyDocument: allowAll}: "ConcurrentModification: The group g was changed",
		&api.UpdateRoleInput{RoleName: "r"}:                                                 "NoSuchEntity: The role with name r cannot be found.",
	} {
		_, err := b.do(in)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%T: %v, want %s", in, err, want)
		}
	}
}

// A group as large as can be renamed is renamed, with all its users; a larger one is
// not, but can be moved.
func TestRenameLargeGroup(t *testing.T) {
	b := newBench(t, iam.Quotas{})
	b.ok(&api.CreateGroupInput{GroupName: "g"})
	for i := range 300 {
		name := fmt.Sprint("u", i)
		b.ok(&api.CreateUserInput{UserName: name}, &api.AddUserToGroupInput{GroupName: "g", UserName: name})
	}
	b.ok(&api.UpdateGroupInput{GroupName: "g", NewGroupName: "h"})
	if problem := b.inconsistency(); problem != "" {
		t.Error(problem)
	}
	b.ok(&api.CreateUserInput{UserName: "more"}, &api.AddUserToGroupInput{GroupName: "h", UserName: "more"})
	b.refused(&api.UpdateGroupInput{GroupName: "h", NewGroupName: "g"}, "LimitExceeded: A group with more than 300 users cannot be renamed.")
	b.ok(&api.UpdateGroupInput{GroupName: "h", NewGroupName: "H", NewPath: "/x/"})
	if problem := b.inconsistency(); problem != "" {
		t.Error(problem)
	}
}

// White space does not count for quotas; what the store can keep ends all the same,
// with an answer that says so.
func TestTooLarge(t *testing.T) {
	b := newBench(t, iam.Quotas{})
	b.ok(&api.CreateRoleInput{RoleName: "r", AssumeRolePolicyDocument: trustEC2})
	document := strings.Repeat(" ", 130_000) + allowAll
	for i := range 20 {
		_, err := b.do(&api.PutRolePolicyInput{RoleName: "r", PolicyName: fmt.Sprint("p", i), PolicyDocument: document})
		if err != nil {
			if want := "LimitExceeded: The change is larger than can be kept in one step."; err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
			return
		}
	}
	t.Error("twenty documents of 130,000 characters were kept")
}

// Whatever is done, the redundant parts of the state agree.
func TestInvariants(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			q := iam.DefaultQuotas()
			q.Users, q.GroupsPerUser, q.AttachedPerUser = 5, 2, 2
			b := newBench(t, q)
			rnd := rand.New(rand.NewPCG(seed, 7))
			pick := func(of ...string) string { return of[rnd.IntN(len(of))] }
			name := func() string { return pick("a", "B", "b", "c", "dd") }
			policyARN := func() string {
				return pick("arn:aws:iam::aws:policy/ReadOnlyAccess", "arn:aws:iam::111122223333:policy/a", "arn:aws:iam::111122223333:policy/x/b", "arn:aws:iam::111122223333:policy/none")
			}
			trust := func() string {
				return strings.Replace(trustEC2, `"Service":"ec2.amazonaws.com"`, `"AWS":"arn:aws:iam::111122223333:user/`+name()+`"`, 1)
			}
			boundary := func() string { return pick("", policyARN()) }
			var keys []string
			done := map[string]int{}
			for range 1500 {
				var in any
				switch rnd.IntN(26) {
				case 0, 1:
					in = &api.CreateUserInput{UserName: name(), Path: pick("", "/x/"), PermissionsBoundary: boundary()}
				case 2:
					in = &api.DeleteUserInput{UserName: name()}
				case 3:
					in = &api.UpdateUserInput{UserName: name(), NewUserName: pick("", name()), NewPath: pick("", "/", "/y/")}
				case 4, 5:
					in = &api.CreateGroupInput{GroupName: name()}
				case 6:
					in = &api.DeleteGroupInput{GroupName: name()}
				case 7:
					in = &api.UpdateGroupInput{GroupName: name(), NewGroupName: pick("", name()), NewPath: pick("", "/y/")}
				case 8, 9:
					in = &api.AddUserToGroupInput{UserName: name(), GroupName: name()}
				case 10:
					in = &api.RemoveUserFromGroupInput{UserName: name(), GroupName: name()}
				case 11, 12:
					in = &api.CreateRoleInput{RoleName: name(), AssumeRolePolicyDocument: pick(trustEC2, trust()), PermissionsBoundary: boundary()}
				case 13:
					in = &api.DeleteRoleInput{RoleName: name()}
				case 14:
					in = &api.CreatePolicyInput{PolicyName: "a", PolicyDocument: allowAll}
				case 15:
					in = &api.CreatePolicyInput{PolicyName: "b", Path: "/x/", PolicyDocument: allowAll}
				case 16:
					in = &api.DeletePolicyInput{PolicyArn: policyARN()}
				case 17:
					in = &api.AttachUserPolicyInput{UserName: name(), PolicyArn: policyARN()}
				case 18:
					in = &api.DetachUserPolicyInput{UserName: name(), PolicyArn: policyARN()}
				case 19:
					in = &api.PutRolePermissionsBoundaryInput{RoleName: name(), PermissionsBoundary: policyARN()}
				case 20:
					in = &api.DeleteRolePermissionsBoundaryInput{RoleName: name()}
				case 21:
					in = &api.CreateAccessKeyInput{UserName: pick("", name())}
				case 22:
					if len(keys) > 0 {
						in = &api.DeleteAccessKeyInput{UserName: pick("", name()), AccessKeyId: pick(keys...)}
					} else {
						continue
					}
				case 23:
					in = &api.CreateInstanceProfileInput{InstanceProfileName: name()}
				case 24:
					in = &api.AddRoleToInstanceProfileInput{InstanceProfileName: name(), RoleName: name()}
				case 25:
					in = pick2(rnd, any(&api.RemoveRoleFromInstanceProfileInput{InstanceProfileName: name(), RoleName: name()}), any(&api.DeleteInstanceProfileInput{InstanceProfileName: name()}))
				}
				out, err := b.do(in)
				if err != nil {
					if _, ok := errors.AsType[*wire.Error](err); !ok {
						t.Fatalf("%T %+v: %v", in, in, err)
					}
					continue
				}
				done[fmt.Sprintf("%T", in)]++
				if made, ok := out.(*api.CreateAccessKeyOutput); ok {
					keys = append(keys, made.AccessKey.AccessKeyId)
				}
				if problem := b.inconsistency(); problem != "" {
					t.Fatalf("after %T %+v: %s", in, in, problem)
				}
			}
			if len(done) < 20 {
				t.Errorf("only %d kinds of operation were ever done: %v", len(done), done)
			}
		})
	}
}

func pick2(rnd *rand.Rand, a, b any) any {
	if rnd.IntN(2) == 0 {
		return a
	}
	return b
}

// inconsistency says where two places of the state tell different things.
func (b *bench) inconsistency() string {
	s := b.db.View()
	var n identity.Counts
	ids := map[string]identity.Ref{}
	members := map[string]int{}
	pairs, keyCount, profileRoles := 0, 0, map[string]int{}
	attached, bounded := map[string]int{}, map[string]int{}
	bound := func(p *api.AttachedPermissionsBoundary) {
		if p != nil {
			bounded[p.PermissionsBoundaryArn]++
		}
	}
	for key, u := range identity.Users.All(s, "") {
		n.Users++
		ids[u.UserId] = identity.Ref{Kind: identity.UserKind, Key: key}
		if key != identity.Key(account, u.UserName) || u.Arn != "arn:aws:iam::"+account+":user"+u.Path+u.UserName {
			return fmt.Sprintf("user %s is kept at %s with %s", u.UserName, key, u.Arn)
		}
		for _, g := range u.Groups {
			members[g]++
			pairs++
			if identity.Members.Get(s, g+"/"+strings.ToLower(u.UserName)) == nil {
				return fmt.Sprintf("%s is not among the members of %s", u.UserName, g)
			}
		}
		for _, a := range u.Attached {
			attached[string(a)]++
		}
		bound(u.PermissionsBoundary)
		owned := 0
		for k := range identity.KeysOf.All(s, key+"/") {
			owned++
			if got := identity.Keys.Get(s, k[len(key)+1:]); got == nil || got.User != u.UserId {
				return fmt.Sprintf("%s lists the key %s, which is %+v", key, k, got)
			}
		}
		if owned != u.Keys {
			return fmt.Sprintf("%s has %d keys and says %d", key, owned, u.Keys)
		}
		keyCount += owned
	}
	for key, g := range identity.Groups.All(s, "") {
		n.Groups++
		ids[g.GroupId] = identity.Ref{Kind: identity.GroupKind, Key: key}
		if g.Users != members[key] {
			return fmt.Sprintf("%s has %d members and says %d", key, members[key], g.Users)
		}
		delete(members, key)
	}
	if len(members) > 0 {
		return fmt.Sprintf("there are members of groups that are no more: %v", members)
	}
	for range identity.Members.All(s, "") {
		pairs--
	}
	if pairs != 0 {
		return fmt.Sprintf("%d memberships too few among members", pairs)
	}
	for _, p := range identity.Profiles.All(s, "") {
		n.Profiles++
		ids[p.InstanceProfileId] = identity.Ref{Kind: identity.ProfileKind, Key: identity.Key(account, p.InstanceProfileName)}
		if p.Role != "" {
			profileRoles[p.Role]++
		}
	}
	for key, r := range identity.Roles.All(s, "") {
		n.Roles++
		ids[r.RoleId] = identity.Ref{Kind: identity.RoleKind, Key: key}
		bound(r.PermissionsBoundary)
		if r.Profiles != profileRoles[key] {
			return fmt.Sprintf("%s is in %d profiles and says %d", key, profileRoles[key], r.Profiles)
		}
		delete(profileRoles, key)
		if strings.Contains(r.Trust.String(), "user/") {
			return fmt.Sprintf("%s trusts a user by name: %s", key, r.Trust)
		}
	}
	if len(profileRoles) > 0 {
		return fmt.Sprintf("there are profiles of roles that are no more: %v", profileRoles)
	}
	for key, p := range identity.Policies.All(s, "") {
		n.Policies++
		ids[p.PolicyId] = identity.Ref{Kind: identity.PolicyKind, Key: key}
	}
	if got := identity.Counters.Get(s, account); got != nil && *got != n {
		return fmt.Sprintf("there are %+v and the counters say %+v", n, *got)
	}
	for id, ref := range identity.IDs.All(s, "") {
		if ids[id] != *ref {
			return fmt.Sprintf("the id %s is of %+v and kept as of %+v", id, ids[id], *ref)
		}
		delete(ids, id)
	}
	if len(ids) > 0 {
		return fmt.Sprintf("ids that are not kept: %v", ids)
	}
	for range identity.KeysOf.All(s, identity.Key(account, "")+"/") {
		keyCount++
	}
	for range identity.Keys.All(s, "") {
		keyCount--
	}
	if keyCount != 0 {
		return fmt.Sprintf("%d access keys too few", keyCount)
	}
	for _, a := range []string{"arn:aws:iam::aws:policy/ReadOnlyAccess", "arn:aws:iam::111122223333:policy/a", "arn:aws:iam::111122223333:policy/x/b"} {
		out, err := b.do(&api.GetPolicyInput{PolicyArn: a})
		if err != nil {
			if attached[a]+bounded[a] > 0 {
				return fmt.Sprintf("%s is in use and does not exist", a)
			}
			continue
		}
		p := out.(*api.GetPolicyOutput).Policy
		if int(p.AttachmentCount) != attached[a] || int(p.PermissionsBoundaryUsageCount) != bounded[a] {
			return fmt.Sprintf("%s is attached %d times and a boundary %d times, counted %d and %d", a, attached[a], bounded[a], p.AttachmentCount, p.PermissionsBoundaryUsageCount)
		}
	}
	return ""
}
