package iam_test

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/iamd-dev/iamd/internal/aws/iam"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
)

// full is a bench with some of everything.
func full(t *testing.T) *bench {
	b := newBench(t, iam.Quotas{})
	policyARN := "arn:aws:iam::111122223333:policy/x/p0"
	for i := range 5 {
		n := fmt.Sprint(i)
		path := []string{"/", "/x/", "/x/y/"}[i%3]
		b.ok(&api.CreateUserInput{UserName: "u" + n, Path: path, Tags: []api.Tag{{Key: "n", Value: n}}},
			&api.CreateGroupInput{GroupName: "g" + n, Path: path},
			&api.CreateRoleInput{RoleName: "r" + n, Path: path, AssumeRolePolicyDocument: trustEC2, Description: "role " + n},
			&api.CreateInstanceProfileInput{InstanceProfileName: "i" + n, Path: path},
			&api.AddRoleToInstanceProfileInput{InstanceProfileName: "i" + n, RoleName: "r0"},
			&api.CreatePolicyInput{PolicyName: "p" + n, Path: "/x/", PolicyDocument: allowAll},
			&api.AttachUserPolicyInput{UserName: "u" + n, PolicyArn: policyARN},
			&api.AttachUserPolicyInput{UserName: "u0", PolicyArn: "arn:aws:iam::111122223333:policy/x/p" + n},
			&api.AttachGroupPolicyInput{GroupName: "g" + n, PolicyArn: policyARN},
			&api.AttachRolePolicyInput{RoleName: "r" + n, PolicyArn: policyARN},
			&api.AttachGroupPolicyInput{GroupName: "g0", PolicyArn: "arn:aws:iam::111122223333:policy/x/p" + n},
			&api.AttachRolePolicyInput{RoleName: "r0", PolicyArn: "arn:aws:iam::111122223333:policy/x/p" + n},
			&api.PutRolePermissionsBoundaryInput{RoleName: "r" + n, PermissionsBoundary: "arn:aws:iam::aws:policy/ReadOnlyAccess"},
			&api.AddUserToGroupInput{GroupName: "g" + n, UserName: "u0"},
			&api.PutUserPolicyInput{UserName: "u0", PolicyName: "inline" + n, PolicyDocument: allowAll},
			&api.PutGroupPolicyInput{GroupName: "g0", PolicyName: "inline" + n, PolicyDocument: allowAll},
			&api.PutRolePolicyInput{RoleName: "r0", PolicyName: "inline" + n, PolicyDocument: allowAll},
			&api.TagUserInput{UserName: "u0", Tags: []api.Tag{{Key: "k" + n, Value: n}}},
			&api.TagRoleInput{RoleName: "r0", Tags: []api.Tag{{Key: "k" + n, Value: n}}},
			&api.TagPolicyInput{PolicyArn: policyARN, Tags: []api.Tag{{Key: "k" + n, Value: n}}},
			&api.TagInstanceProfileInput{InstanceProfileName: "i0", Tags: []api.Tag{{Key: "k" + n, Value: n}}})
		if i > 0 {
			b.ok(&api.AddUserToGroupInput{GroupName: "g0", UserName: "u" + n},
				&api.CreatePolicyVersionInput{PolicyArn: policyARN, PolicyDocument: allowAll})
		}
	}
	b.ok(&api.CreateAccessKeyInput{UserName: "u0"}, &api.CreateAccessKeyInput{UserName: "u0"})
	return b
}

// Every list gives the same in pages of any size as whole.
func TestPages(t *testing.T) {
	b := full(t)
	policyARN := "arn:aws:iam::111122223333:policy/x/p0"
	for _, test := range []struct {
		in    any
		items int
	}{
		{&api.ListUsersInput{}, 5},
		{&api.ListUsersInput{PathPrefix: "/x/"}, 3},
		{&api.ListUsersInput{PathPrefix: "/x"}, 3},
		{&api.ListUsersInput{PathPrefix: "/x/y/"}, 1},
		{&api.ListUsersInput{PathPrefix: "/none/"}, 0},
		{&api.ListGroupsInput{}, 5},
		{&api.ListGroupsInput{PathPrefix: "/x/"}, 3},
		{&api.ListRolesInput{}, 5},
		{&api.ListRolesInput{PathPrefix: "/x/"}, 3},
		{&api.ListInstanceProfilesInput{}, 5},
		{&api.ListInstanceProfilesInput{PathPrefix: "/x/"}, 3},
		{&api.ListInstanceProfilesForRoleInput{RoleName: "r0"}, 5},
		{&api.ListInstanceProfilesForRoleInput{RoleName: "r1"}, 0},
		{&api.ListPoliciesInput{Scope: "Local"}, 5},
		{&api.ListPoliciesInput{Scope: "Local", PathPrefix: "/x/"}, 5},
		{&api.ListPoliciesInput{Scope: "Local", PathPrefix: "/y/"}, 0},
		{&api.ListPoliciesInput{OnlyAttached: ptr(true)}, 6}, // the boundary, too
		{&api.ListPoliciesInput{Scope: "AWS", OnlyAttached: ptr(true)}, 1},
		{&api.ListPoliciesInput{PolicyUsageFilter: "PermissionsPolicy"}, 5},
		{&api.ListPoliciesInput{PolicyUsageFilter: "PermissionsBoundary"}, 1},
		{&api.ListPolicyVersionsInput{PolicyArn: policyARN}, 5},
		{&api.ListPolicyVersionsInput{PolicyArn: "arn:aws:iam::aws:policy/ReadOnlyAccess"}, 1},
		{&api.ListEntitiesForPolicyInput{PolicyArn: policyARN}, 15},
		{&api.ListEntitiesForPolicyInput{PolicyArn: policyARN, PathPrefix: "/x/"}, 9},
		{&api.ListEntitiesForPolicyInput{PolicyArn: policyARN, EntityFilter: "User"}, 5},
		{&api.ListEntitiesForPolicyInput{PolicyArn: policyARN, EntityFilter: "Group"}, 5},
		{&api.ListEntitiesForPolicyInput{PolicyArn: policyARN, EntityFilter: "Role"}, 5},
		{&api.ListEntitiesForPolicyInput{PolicyArn: policyARN, EntityFilter: "LocalManagedPolicy"}, 0},
		{&api.ListEntitiesForPolicyInput{PolicyArn: "arn:aws:iam::aws:policy/ReadOnlyAccess"}, 5},
		{&api.ListEntitiesForPolicyInput{PolicyArn: "arn:aws:iam::aws:policy/ReadOnlyAccess", PolicyUsageFilter: "PermissionsPolicy"}, 0},
		{&api.ListEntitiesForPolicyInput{PolicyArn: "arn:aws:iam::aws:policy/ReadOnlyAccess", PolicyUsageFilter: "PermissionsBoundary"}, 5},
		{&api.ListGroupsForUserInput{UserName: "u0"}, 5},
		{&api.GetGroupInput{GroupName: "g0"}, 5},
		{&api.ListAccessKeysInput{UserName: "u0"}, 2},
		{&api.ListAccessKeysInput{UserName: "u1"}, 0},
		{&api.ListUserPoliciesInput{UserName: "u0"}, 5},
		{&api.ListGroupPoliciesInput{GroupName: "g0"}, 5},
		{&api.ListRolePoliciesInput{RoleName: "r0"}, 5},
		{&api.ListAttachedUserPoliciesInput{UserName: "u0"}, 5},
		{&api.ListAttachedUserPoliciesInput{UserName: "u0", PathPrefix: "/x/"}, 5},
		{&api.ListAttachedUserPoliciesInput{UserName: "u0", PathPrefix: "/y/"}, 0},
		{&api.ListAttachedGroupPoliciesInput{GroupName: "g0"}, 5},
		{&api.ListAttachedRolePoliciesInput{RoleName: "r0"}, 5},
		{&api.ListUserTagsInput{UserName: "u0"}, 6},
		{&api.ListRoleTagsInput{RoleName: "r0"}, 5},
		{&api.ListPolicyTagsInput{PolicyArn: policyARN}, 5},
		{&api.ListPolicyTagsInput{PolicyArn: "arn:aws:iam::aws:policy/ReadOnlyAccess"}, 0},
		{&api.ListInstanceProfileTagsInput{InstanceProfileName: "i0"}, 5},
		{&api.GetAccountAuthorizationDetailsInput{}, 21},
		{&api.GetAccountAuthorizationDetailsInput{Filter: []string{"User", "AWSManagedPolicy"}}, 6},
		{&api.GetAccountAuthorizationDetailsInput{Filter: []string{"LocalManagedPolicy"}}, 5},
	} {
		for _, size := range []int32{1, 2, 3, 1000} {
			var got []string
			marker, pages := "", 0
			for {
				in := reflect.New(reflect.TypeOf(test.in).Elem())
				in.Elem().Set(reflect.ValueOf(test.in).Elem())
				in.Elem().FieldByName("MaxItems").Set(reflect.ValueOf(&size))
				in.Elem().FieldByName("Marker").SetString(marker)
				out, err := b.do(in.Interface())
				if err != nil {
					t.Fatalf("%T %+v: %v", test.in, in, err)
				}
				v := reflect.ValueOf(out).Elem()
				items := itemsOf(v)
				if len(items) > int(size) {
					t.Fatalf("%T: %d items on a page of %d", test.in, len(items), size)
				}
				got = append(got, items...)
				marker = v.FieldByName("Marker").String()
				if more := v.FieldByName("IsTruncated").Bool(); more != (marker != "") || more && len(items) < int(size) {
					t.Fatalf("%T: truncated %v with the marker %q after %d items of %d", test.in, more, marker, len(items), size)
				}
				if pages++; marker == "" || pages > 100 {
					break
				}
			}
			if len(got) != test.items {
				t.Errorf("%T %+v: %d items by %d, want %d: %v", test.in, test.in, len(got), size, test.items, got)
			}
			seen := map[string]bool{}
			for _, item := range got {
				if seen[item] {
					t.Errorf("%T: twice %s", test.in, item)
				}
				seen[item] = true
			}
		}
	}
}

// itemsOf are the items of all lists of an answer, printed.
func itemsOf(out reflect.Value) []string {
	var items []string
	for i := range out.NumField() {
		f := out.Field(i)
		if f.Kind() != reflect.Slice {
			continue
		}
		if f.IsNil() {
			items = append(items, "a list that is not there: "+out.Type().Field(i).Name)
		}
		for j := range f.Len() {
			items = append(items, fmt.Sprintf("%s %+v", out.Type().Field(i).Name, f.Index(j)))
		}
	}
	return items
}

// Without MaxItems a page has a hundred items.
func TestDefaultPage(t *testing.T) {
	b := newBench(t, iam.Quotas{})
	out := must[api.ListPoliciesOutput](b, &api.ListPoliciesInput{})
	if len(out.Policies) != 100 || !out.IsTruncated {
		t.Errorf("%d policies, truncated %v", len(out.Policies), out.IsTruncated)
	}
}

// A list that changes between two pages neither repeats nor skips what stays.
func TestPageOfAChangedList(t *testing.T) {
	b := full(t)
	first := must[api.ListUsersOutput](b, &api.ListUsersInput{MaxItems: ptr(int32(2))})
	b.ok(&api.CreateUserInput{UserName: "u00"}) // before the marker
	b.ok(&api.CreateUserInput{UserName: "u2a"}) // after it
	rest := must[api.ListUsersOutput](b, &api.ListUsersInput{Marker: first.Marker})
	var got []string
	for _, u := range rest.Users {
		got = append(got, u.UserName)
	}
	if want := "u2 u2a u3 u4"; strings.Join(got, " ") != want {
		t.Errorf("second page %v, want %s", got, want)
	}
}

// A marker is the caller's to make up: it shows nothing but the caller's own.
func TestForeignMarkers(t *testing.T) {
	b := full(t)
	for _, marker := range []string{"!", "no base64?", "YQ", "AAAA", "invalid-marker-value"} {
		b.refused(&api.ListUsersInput{Marker: marker}, "ValidationError: Invalid Marker.")
	}
	for _, key := range []string{
		"", "\x00\x00\x00", "000000000000/", "999999999999/", "-1", "99999999999999999999999999", "a", "z", "\xff\xef",
	} {
		marker := base64.URLEncoding.EncodeToString([]byte("a:" + key))
		for _, in := range []any{
			&api.ListUsersInput{Marker: marker}, &api.ListGroupsForUserInput{UserName: "u0", Marker: marker}, &api.GetGroupInput{GroupName: "g0", Marker: marker},
			&api.ListPoliciesInput{Marker: marker}, &api.ListEntitiesForPolicyInput{PolicyArn: "arn:aws:iam::111122223333:policy/x/p0", Marker: marker},
			&api.GetAccountAuthorizationDetailsInput{Marker: marker},
		} {
			b.ok(in)
		}
	}
}
