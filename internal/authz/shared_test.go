package authz

import (
	"fmt"
	"testing"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

// A policy that hangs on ten thousand roles is compiled once, and so is a text that
// stands in each of them; and again when it changes, and only then.
func TestProgramsAreShared(t *testing.T) {
	const account, n = "111122223333", 10_000
	const shared = arn.ARN("arn:aws:iam::" + account + ":policy/shared")
	document := func(action string) identity.Document {
		return identity.NewDocument(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"` + action + `","Resource":"*"}}`)
	}
	db, err := store.Open(t.Context(), store.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	update := func(f func(*store.Tx)) {
		t.Helper()
		if err := db.Update(t.Context(), func(tx *store.Tx) error { f(tx); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	managed := func(action string) {
		update(func(tx *store.Tx) {
			identity.Policies.Put(tx, identity.Key(account, "shared"), &identity.Policy{
				Policy:   api.Policy{PolicyName: "shared", Arn: string(shared), DefaultVersionId: "v1"},
				Versions: []identity.Version{{ID: "v1", Document: document(action)}},
			})
		})
	}
	managed("s3:GetObject")
	for from := 0; from < n; from += 1000 { // an update has its limits
		update(func(tx *store.Tx) {
			for i := range 1000 {
				name := fmt.Sprintf("role-%d", from+i)
				identity.Roles.Put(tx, identity.Key(account, name), &identity.Role{
					Role:     api.Role{RoleName: name, Arn: "arn:aws:iam::" + account + ":role/" + name},
					Attached: []arn.ARN{shared},
					Inline:   map[string]identity.Document{"own": document("sqs:SendMessage")},
				})
			}
		})
	}
	// programs are those that all roles' policies have now: inline, managed.
	programs := func() (inline, managed map[*policy.Program]int) {
		inline, managed = map[*policy.Program]int{}, map[*policy.Program]int{}
		for _, r := range identity.Roles.All(db.View(), "") {
			b := bearing(db.View(), &identity.Caller{Type: identity.AssumedRole, Account: account, Role: r})
			inline[b.identity[0].Document.Program()]++
			managed[b.identity[1].Document.Program()]++
		}
		return inline, managed
	}
	one := func(of map[*policy.Program]int, what string) *policy.Program {
		t.Helper()
		if len(of) != 1 {
			t.Fatalf("%d programs of %s, want 1", len(of), what)
		}
		for p := range of {
			return p
		}
		panic("unreachable")
	}
	in, at := programs()
	for _, times := range in {
		if times != n {
			t.Fatalf("%d roles, want %d", times, n)
		}
	}
	inline, attached := one(in, "one inline text"), one(at, "one policy")

	update(func(tx *store.Tx) { // something else changes, and a role is decoded anew
		r := identity.Roles.Get(tx, identity.Key(account, "role-7"))
		r.Description = "changed"
		identity.Roles.Put(tx, identity.Key(account, "role-7"), r)
	})
	in, at = programs()
	if one(in, "one inline text") != inline || one(at, "one policy") != attached {
		t.Error("a change of something else compiled a policy again")
	}
	managed("s3:PutObject")
	in, at = programs()
	if one(in, "one inline text") != inline {
		t.Error("a change of another policy compiled the inline policies again")
	}
	if one(at, "one policy") == attached {
		t.Error("a changed policy has its old program")
	}
}
