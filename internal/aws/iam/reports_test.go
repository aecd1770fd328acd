package iam_test

import (
	"fmt"
	"testing"

	"github.com/iamd-dev/iamd/internal/aws/iam"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/store"
)

// Lists that are empty are there, except for one.
func TestAuthorizationDetailsOfTheEmpty(t *testing.T) {
	b := newBench(t, iam.Quotas{})
	b.ok(&api.CreateUserInput{UserName: "u"}, &api.CreateGroupInput{GroupName: "g"}, &api.CreateRoleInput{RoleName: "r", AssumeRolePolicyDocument: trustEC2})
	out := must[api.GetAccountAuthorizationDetailsOutput](b, &api.GetAccountAuthorizationDetailsInput{})
	u, g, r := out.UserDetailList[0], out.GroupDetailList[0], out.RoleDetailList[0]
	for name, there := range map[string]bool{
		"UserDetail.GroupList":               u.GroupList != nil,
		"UserDetail.AttachedManagedPolicies": u.AttachedManagedPolicies != nil,
		"UserDetail.Tags":                    u.Tags != nil,
		"GroupDetail.GroupPolicyList":        g.GroupPolicyList != nil,
		"RoleDetail.RolePolicyList":          r.RolePolicyList != nil,
		"RoleDetail.InstanceProfileList":     r.InstanceProfileList != nil,
		"RoleDetail.Tags":                    r.Tags != nil,
		"RoleDetail.RoleLastUsed":            r.RoleLastUsed != nil,
		"Policies":                           out.Policies != nil,
	} {
		if !there {
			t.Errorf("%s is not there", name)
		}
	}
	if u.UserPolicyList != nil {
		t.Errorf("UserDetail.UserPolicyList is there: %v", u.UserPolicyList)
	}
}

// A page costs the same wherever it is, in however large an account: what is made for
// it does not grow with the account.
func TestAuthorizationDetailsOfALargeAccount(t *testing.T) {
	const many = 20_000
	b := newBench(t, iam.Quotas{Roles: many + 10, Profiles: many + 10})
	fill := func(from, to int) {
		t.Helper()
		for from < to {
			if err := b.db.Update(t.Context(), func(tx *store.Tx) error {
				for i := from; i < min(to, from+100); i++ {
					name := fmt.Sprintf("r%05d", i)
					r := &identity.Role{Role: api.Role{RoleName: name, Path: "/", Arn: "arn:aws:iam::" + account + ":role/" + name, RoleId: "AROA" + name}, Trust: identity.NewDocument(trustEC2), Profiles: 1}
					p := &identity.Profile{InstanceProfile: api.InstanceProfile{InstanceProfileName: name, Path: "/", Arn: "arn:aws:iam::" + account + ":instance-profile/" + name}, Role: identity.Key(account, name)}
					identity.Roles.Put(tx, identity.Key(account, name), r)
					identity.Profiles.Put(tx, identity.Key(account, name), p)
					identity.HeldBy.Put(tx, identity.Key(account, name)+"/"+name, &struct{}{})
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			from += 100
		}
	}
	allocations := func(in *api.GetAccountAuthorizationDetailsInput) float64 {
		return testing.AllocsPerRun(3, func() { must[api.GetAccountAuthorizationDetailsOutput](b, in) })
	}
	fill(0, 300)
	small := allocations(&api.GetAccountAuthorizationDetailsInput{})
	fill(300, many)
	for _, in := range []*api.GetAccountAuthorizationDetailsInput{
		{},
		{Filter: []string{"Role"}},
		{Filter: []string{"User"}}, // of which there are none
		{Filter: []string{"AWSManagedPolicy"}},
	} {
		if got := allocations(in); got > small*1.1 {
			t.Errorf("a page of %v: %.0f allocations; in a small account %.0f", in.Filter, got, small)
		}
	}

	seen, in := 0, &api.GetAccountAuthorizationDetailsInput{MaxItems: ptr(int32(1000))}
	for {
		out := must[api.GetAccountAuthorizationDetailsOutput](b, in)
		for _, r := range out.RoleDetailList {
			if want := fmt.Sprintf("r%05d", seen); r.RoleName != want || len(r.InstanceProfileList) != 1 || r.InstanceProfileList[0].InstanceProfileName != want {
				t.Fatalf("role %d is %s with profiles %v", seen, r.RoleName, r.InstanceProfileList)
			}
			seen++
		}
		if in.Marker = out.Marker; !out.IsTruncated {
			break
		}
	}
	if seen != many {
		t.Errorf("%d roles in all pages, want %d", seen, many)
	}
	if last := allocations(&api.GetAccountAuthorizationDetailsInput{Marker: "YTpjMTExMTIyMjIzMzMzL3IxOTg1MA=="}); last > small*1.1 { // "a:c" + account + "/r19850"
		t.Errorf("a page near the end: %.0f allocations; the first of a small account %.0f", last, small)
	}
}
