package server_test

import (
	"fmt"
	"sync"
	"testing"
)

// Many callers at once, each of whom changes something and checks that its next
// call is decided by what it is now, while the others change everything around it.
// With -race it also looks for data races.
func TestEveryChangeHoldsFromTheNextCall(t *testing.T) {
	t.Parallel()
	rounds := 25
	if testing.Short() {
		rounds = 5
	}
	h := open(t, nil)
	root := h.roots[ours]
	h.well(h.s3(root, "PUT", "/b-1", ""))
	h.well(h.s3(root, "PUT", "/b-1/k", "v"))
	h.well(h.query(root, "iam", "CreateGroup", "GroupName", "g"))
	h.well(h.query(root, "iam", "PutGroupPolicy", "GroupName", "g", "PolicyName", "p", "PolicyDocument", allow("s3:GetObject", "*")))
	type step func(name string, i int)
	var running sync.WaitGroup
	start := func(kind string, makeStep func(h *site, name string) step) {
		for n := range 2 {
			running.Go(func() {
				name := fmt.Sprint(kind, n)
				next := makeStep(h, name)
				for i := range rounds {
					if t.Failed() {
						return
					}
					next(name, i)
				}
			})
		}
	}
	// is checks that a call is allowed, or refused as it should be.
	is := func(what string, a reply, allowed bool, code string) {
		if allowed && a.status != 200 || !allowed && (a.status != 403 || a.code != code) {
			t.Errorf("%s: answered %d %s %s", what, a.status, a.code, a.message)
		}
	}
	get := func(a actor) reply { return h.s3(a, "GET", "/b-1/k", "") }
	must := func(what string, a reply) {
		if a.status >= 300 {
			t.Errorf("%s: refused by %d %s %s", what, a.status, a.code, a.message)
		}
	}
	user := func(h *site, name string) actor {
		must("CreateUser", h.query(root, "iam", "CreateUser", "UserName", name))
		key := h.query(root, "iam", "CreateAccessKey", "UserName", name)
		return actor{key.element("AccessKeyId"), key.element("SecretAccessKey"), ""}
	}

	start("policy", func(h *site, name string) step {
		a := user(h, name)
		return func(name string, i int) {
			is("without a policy", get(a), false, "AccessDenied")
			must("PutUserPolicy", h.query(root, "iam", "PutUserPolicy", "UserName", name, "PolicyName", "p", "PolicyDocument", allow("s3:GetObject", "*")))
			is("with a policy", get(a), true, "")
			must("DeleteUserPolicy", h.query(root, "iam", "DeleteUserPolicy", "UserName", name, "PolicyName", "p"))
		}
	})
	start("member", func(h *site, name string) step {
		a := user(h, name)
		return func(name string, i int) {
			must("AddUserToGroup", h.query(root, "iam", "AddUserToGroup", "UserName", name, "GroupName", "g"))
			is("in the group", get(a), true, "")
			must("RemoveUserFromGroup", h.query(root, "iam", "RemoveUserFromGroup", "UserName", name, "GroupName", "g"))
			is("out of the group", get(a), false, "AccessDenied")
		}
	})
	start("managed", func(h *site, name string) step {
		a := user(h, name)
		policy := "arn:aws:iam::" + ours + ":policy/" + name
		must("CreatePolicy", h.query(root, "iam", "CreatePolicy", "PolicyName", name, "PolicyDocument", allow("s3:GetObject", "*")))
		must("AttachUserPolicy", h.query(root, "iam", "AttachUserPolicy", "UserName", name, "PolicyArn", policy))
		return func(name string, i int) {
			is("with version 1", get(a), true, "")
			made := h.query(root, "iam", "CreatePolicyVersion", "PolicyArn", policy, "SetAsDefault", "true", "PolicyDocument", allow("s3:PutObject", "*"))
			must("CreatePolicyVersion", made)
			is("with another version", get(a), false, "AccessDenied")
			must("SetDefaultPolicyVersion", h.query(root, "iam", "SetDefaultPolicyVersion", "PolicyArn", policy, "VersionId", "v1"))
			is("with version 1 again", get(a), true, "")
			must("DeletePolicyVersion", h.query(root, "iam", "DeletePolicyVersion", "PolicyArn", policy, "VersionId", made.element("VersionId")))
		}
	})
	start("key", func(h *site, name string) step {
		a := user(h, name)
		return func(name string, i int) {
			must("GetCallerIdentity", h.query(a, "sts", "GetCallerIdentity"))
			must("UpdateAccessKey", h.query(root, "iam", "UpdateAccessKey", "UserName", name, "AccessKeyId", a.id, "Status", "Inactive"))
			is("with an inactive key", h.query(a, "sts", "GetCallerIdentity"), false, "InvalidClientTokenId")
			must("UpdateAccessKey", h.query(root, "iam", "UpdateAccessKey", "UserName", name, "AccessKeyId", a.id, "Status", "Active"))
		}
	})
	start("role", func(h *site, name string) step {
		a := user(h, name)
		role := "arn:aws:iam::" + ours + ":role/" + name
		trusting := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + ours + `:user/` + name + `"},"Action":"sts:AssumeRole"}}`
		var old actor
		return func(name string, i int) {
			_, answer := h.assume(a, role, "s1")
			is("a role that is not there", answer, false, "AccessDenied")
			must("CreateRole", h.query(root, "iam", "CreateRole", "RoleName", name, "AssumeRolePolicyDocument", trusting))
			must("PutRolePolicy", h.query(root, "iam", "PutRolePolicy", "RoleName", name, "PolicyName", "p", "PolicyDocument", allow("s3:GetObject", "*")))
			session, answer := h.assume(a, role, "s1")
			is("a role that is there", answer, true, "")
			is("a session of it", get(session), true, "")
			if old.id != "" {
				is("a session of the role that had this name", h.query(old, "sts", "GetCallerIdentity"), false, "InvalidClientTokenId")
			}
			must("UpdateAssumeRolePolicy", h.query(root, "iam", "UpdateAssumeRolePolicy", "RoleName", name, "PolicyDocument", trust(theirs)))
			_, answer = h.assume(a, role, "s1")
			is("a role that trusts no more", answer, false, "AccessDenied")
			is("a session of before", get(session), true, "")
			must("DeleteRolePolicy", h.query(root, "iam", "DeleteRolePolicy", "RoleName", name, "PolicyName", "p"))
			is("a session of before, without the policy", get(session), false, "AccessDenied")
			must("DeleteRole", h.query(root, "iam", "DeleteRole", "RoleName", name))
			is("a session of a role that is deleted", h.query(session, "sts", "GetCallerIdentity"), false, "InvalidClientTokenId")
			old = session
		}
	})
	start("bucket", func(h *site, name string) step {
		a := user(h, name)
		bucket := "/of-" + name
		must("CreateBucket", h.s3(root, "PUT", bucket, ""))
		grant := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + ours + `:user/` + name + `"},"Action":"s3:*","Resource":"arn:aws:s3:::of-` + name + `/*"}}`
		return func(name string, i int) {
			is("without a bucket policy", h.s3(a, "PUT", bucket+"/k", "v"), false, "AccessDenied")
			must("PutBucketPolicy", h.s3(root, "PUT", bucket+"?policy", grant))
			is("with a bucket policy", h.s3(a, "PUT", bucket+"/k", name), true, "")
			if got := h.s3(a, "GET", bucket+"/k", "").body; got != name {
				t.Errorf("what was put is %q", got)
			}
			must("DeleteObject", h.s3(a, "DELETE", bucket+"/k", ""))
			must("DeleteBucketPolicy", h.s3(root, "DELETE", bucket+"?policy", ""))
			is("without it again", h.s3(a, "GET", bucket+"/k", ""), false, "AccessDenied")
		}
	})
	start("boundary", func(h *site, name string) step {
		a := user(h, name)
		must("PutUserPolicy", h.query(root, "iam", "PutUserPolicy", "UserName", name, "PolicyName", "p", "PolicyDocument", allow("s3:GetObject", "*")))
		return func(name string, i int) {
			is("without a boundary", get(a), true, "")
			must("PutUserPermissionsBoundary", h.query(root, "iam", "PutUserPermissionsBoundary", "UserName", name, "PermissionsBoundary", "arn:aws:iam::aws:policy/IAMReadOnlyAccess"))
			is("with a boundary", get(a), false, "AccessDenied")
			must("DeleteUserPermissionsBoundary", h.query(root, "iam", "DeleteUserPermissionsBoundary", "UserName", name))
		}
	})
	start("reader", func(h *site, name string) step {
		return func(name string, i int) {
			must("GetAccountAuthorizationDetails", h.query(root, "iam", "GetAccountAuthorizationDetails"))
			must("ListRoles", h.query(root, "iam", "ListRoles"))
			a := h.query(root, "iam", "ListUsers")
			must("ListUsers", a)
			if x, _ := h.details(root, a.requestID); x.status != 200 {
				t.Errorf("explaining: %d %s", x.status, x.body)
			}
		}
	})
	running.Wait()
	if text := h.logged.String(); text != "" {
		t.Errorf("the log has\n%s", text)
	}
	seen := map[string]bool{}
	for _, r := range h.records("") {
		if r.EventID == "" || r.RequestID == "" {
			t.Fatalf("a record without an id: %s", r.text)
		}
		seen[r.RequestID] = true
	}
	if len(seen) < 16*rounds {
		t.Errorf("%d calls are recorded", len(seen))
	}
}
