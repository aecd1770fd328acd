package identity_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/store"
)

// trusted is a store with the user alice (/eng/) and the role deploy, and their ids.
func trusted(t *testing.T) (db *store.DB, alice, deploy string) {
	t.Helper()
	db, err := store.Open(t.Context(), store.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	alice, deploy = putUser(t, db, "/eng/", "alice"), identity.NewID(identity.RolePrefix, "111122223333")
	update(t, db, func(tx *store.Tx) {
		key := identity.Key("111122223333", "deploy")
		identity.Roles.Put(tx, key, &identity.Role{Role: api.Role{RoleName: "deploy", RoleId: deploy, Arn: "arn:aws:iam::111122223333:role/deploy"}})
		identity.IDs.Put(tx, deploy, &identity.Ref{Kind: identity.RoleKind, Key: key})
	})
	return db, alice, deploy
}

func update(t *testing.T, db *store.DB, f func(*store.Tx)) {
	t.Helper()
	if err := db.Update(t.Context(), func(tx *store.Tx) error { f(tx); return nil }); err != nil {
		t.Fatal(err)
	}
}

func putUser(t *testing.T, db *store.DB, path, name string) string {
	t.Helper()
	id := identity.NewID(identity.UserPrefix, "111122223333")
	update(t, db, func(tx *store.Tx) {
		key := identity.Key("111122223333", name)
		identity.Users.Put(tx, key, &identity.User{User: api.User{
			UserName: name, UserId: id, Arn: "arn:aws:iam::111122223333:user" + path + name,
		}})
		identity.IDs.Put(tx, id, &identity.Ref{Kind: identity.UserKind, Key: key})
	})
	return id
}

func trust(principal string) string {
	return `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": ` + principal + `, "Action": "sts:AssumeRole"}}`
}

func TestTrustIsKeptByUniqueIdAndShownByARN(t *testing.T) {
	db, alice, deploy := trusted(t)
	written := `{
  "Statement" : [ {
    "Sid": "keep  this",
    "Principal": { "AWS": [ "arn:aws:iam::111122223333:user/eng/alice",
                            "arn:aws:iam::111122223333:role\/deploy" ],
                   "Service": "ec2.amazonaws.com" },
    "Condition": { "StringEquals": { "aws:PrincipalArn": "arn:aws:iam::111122223333:user/eng/alice" } }
  } ]
}`
	d, err := identity.BindTrust(db.View(), written)
	if err != nil {
		t.Fatal(err)
	}
	kept := strings.NewReplacer(
		`[ "arn:aws:iam::111122223333:user/eng/alice"`, `[ "`+alice+`"`,
		`"arn:aws:iam::111122223333:role\/deploy"`, `"`+deploy+`"`,
	).Replace(written)
	if got := d.String(); got != kept {
		t.Errorf("kept as\n%s\nwant\n%s", got, kept)
	}
	// The condition is not a principal: it stays, and survives whoever it names.
	want := strings.Replace(written, `role\/deploy`, `role/deploy`, 1)
	if got := identity.ShowTrust(db.View(), d); got != want {
		t.Errorf("shown as\n%s\nwant\n%s", got, want)
	}
}

func TestTrustFollowsRenamingAndNotRecreation(t *testing.T) {
	db, alice, _ := trusted(t)
	d, err := identity.BindTrust(db.View(), trust(`{"AWS": "arn:aws:iam::111122223333:user/eng/alice"}`))
	if err != nil {
		t.Fatal(err)
	}
	key := identity.Key("111122223333", "alice")
	update(t, db, func(tx *store.Tx) {
		u := identity.Users.Get(tx, key)
		u.Arn = "arn:aws:iam::111122223333:user/ops/alicia"
		identity.Users.Put(tx, key, u)
	})
	if got := identity.ShowTrust(db.View(), d); !strings.Contains(got, `"arn:aws:iam::111122223333:user/ops/alicia"`) {
		t.Errorf("after renaming: %s", got)
	}
	update(t, db, func(tx *store.Tx) {
		identity.Users.Delete(tx, key)
		identity.IDs.Delete(tx, alice)
	})
	if got, want := identity.ShowTrust(db.View(), d), trust(`{"AWS": "`+alice+`"}`); got != want {
		t.Errorf("after deletion: %s, want %s", got, want)
	}
	if again := putUser(t, db, "/eng/", "alice"); again == alice {
		t.Fatal("the new user has the old id")
	}
	if got, want := identity.ShowTrust(db.View(), d), trust(`{"AWS": "`+alice+`"}`); got != want {
		t.Errorf("with a new user of the name: %s, want %s", got, want)
	}
}

// A session is its role's: with the role it goes, and does not come back with
// another of its name.
func TestTrustInSessionsOfDeletedRoles(t *testing.T) {
	db, _, deploy := trusted(t)
	written := trust(`{"AWS": "arn:aws:sts::111122223333:assumed-role/deploy/session-1"}`)
	d, err := identity.BindTrust(db.View(), written)
	if err != nil {
		t.Fatal(err)
	}
	if got := identity.ShowTrust(db.View(), d); got != written {
		t.Errorf("shown as %s, want %s", got, written)
	}
	update(t, db, func(tx *store.Tx) {
		identity.Roles.Delete(tx, identity.Key("111122223333", "deploy"))
		identity.IDs.Delete(tx, deploy)
	})
	if got, want := identity.ShowTrust(db.View(), d), trust(`{"AWS": "`+deploy+`:session-1"}`); got != want {
		t.Errorf("after deletion: %s, want %s", got, want)
	}
}

func TestTrustPrincipals(t *testing.T) {
	db, alice, deploy := trusted(t)
	tests := []struct {
		principal string
		want      string // "" for the same
	}{
		{`{"AWS": "*"}`, ``},
		{`"*"`, ``},
		{`{"AWS": "arn:aws:iam::111122223333:root"}`, ``},
		{`{"AWS": "111122223333"}`, `{"AWS": "arn:aws:iam::111122223333:root"}`},
		{`{"AWS": "arn:aws:iam::999988887777:root"}`, ``}, // an account of somebody else's
		{`{"AWS": "arn:aws:iam::111122223333:user/eng/alice"}`, `{"AWS": "` + alice + `"}`},
		{`{"AWS": ["arn:aws:iam::111122223333:role/deploy", "444455556666"]}`, `{"AWS": ["` + deploy + `", "arn:aws:iam::444455556666:root"]}`},
		{`{"AWS": "` + deploy + `"}`, ``},
		{`{"AWS": "arn:aws:sts::111122223333:assumed-role/deploy/session-1"}`, `{"AWS": "` + deploy + `:session-1"}`},
		{`{"AWS": "arn:aws:sts::111122223333:federated-user/bob"}`, ``},
		{`{"Service": ["lambda.amazonaws.com", "states.us-east-1.amazonaws.com"]}`, ``},
		{`{"Service": "delivery.logs.amazonaws.com"}`, ``},
		{`{"Federated": "accounts.google.com"}`, ``},
		{`{"Federated": "arn:aws:iam::111122223333:saml-provider/adfs"}`, ``},
		{`{"Federated": "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com"}`, ``},
	}
	for _, test := range tests {
		want := test.want
		if want == "" {
			want = test.principal
		}
		d, err := identity.BindTrust(db.View(), trust(test.principal))
		if err != nil {
			t.Errorf("%s: %v", test.principal, err)
		} else if got := d.String(); got != trust(want) {
			t.Errorf("%s is kept as %s, want %s", test.principal, got, trust(want))
		}
	}
}

func TestTrustInPrincipalsThatAreNot(t *testing.T) {
	db, alice, _ := trusted(t)
	update(t, db, func(tx *store.Tx) { // an id of something that cannot call
		identity.IDs.Put(tx, "AGPAQQQQQQQQQQQQQQQQQ", &identity.Ref{Kind: identity.GroupKind, Key: identity.Key("111122223333", "admins")})
	})
	federated := "Federated principals must be valid domain names or SAML metadata ARNs"
	for _, test := range []struct{ kind, value, want string }{
		{"AWS", "arn:aws:iam::111122223333:user/nobody", ""},
		{"AWS", "arn:aws:iam::111122223333:user/alice", ""},     // without the path
		{"AWS", "arn:aws:iam::111122223333:user/eng/Alice", ""}, // names in ARNs have case
		{"AWS", "arn:aws:iam::444455556666:user/eng/alice", ""}, // another account's
		{"AWS", "arn:aws:iam::111122223333:user/*", ""},
		{"AWS", "arn:aws:iam::111122223333:role/none", ""},
		{"AWS", "arn:aws:iam::111122223333:group/admins", ""},
		{"AWS", "arn:aws:iam::*:root", ""},
		{"AWS", "arn:aws:iam::11112222333:root", ""},
		{"AWS", "arn:aws-cn:iam::111122223333:root", ""},
		{"AWS", "arn:aws:s3:::bucket", ""},
		{"AWS", "arn:aws:sts::111122223333:assumed-role/deploy/*", ""},
		{"AWS", "arn:aws:sts::111122223333:assumed-role/none/session", ""},
		{"AWS", "arn:aws:sts::111122223333:assumed-role/deploy", ""},
		{"AWS", "alice", ""},
		{"AWS", "", ""},
		{"AWS", alice[:20] + "0", ""}, // the id of nobody, or of one who was deleted
		{"AWS", "AGPAQQQQQQQQQQQQQQQQQ", ""},
		{"Service", "ec2", `Invalid principal in policy: "SERVICE":"ec2"`},
		{"Service", "*", `Invalid principal in policy: "SERVICE":"*"`},
		{"Service", "*.amazonaws.com", `Invalid principal in policy: "SERVICE":"*.amazonaws.com"`},
		{"Service", "ec2.example.com", `Invalid principal in policy: "SERVICE":"ec2.example.com"`},
		{"Service", ".amazonaws.com", `Invalid principal in policy: "SERVICE":".amazonaws.com"`},
		{"CanonicalUser", "79a59df900b949e5", `Invalid principal in policy: "CANONICALUSER":"79a59df900b949e5"`},
		{"Federated", "adfs", federated},
		{"Federated", "arn:aws:iam::111122223333:saml-provider/", federated},
		{"Federated", "arn:aws:iam::111122223333:saml-provider/*", federated},
		{"Federated", "arn:aws:iam::111122223333:user/eng/alice", federated},
		{"Federated", "*", federated},
	} {
		want := test.want
		if want == "" {
			want = fmt.Sprintf(`Invalid principal in policy: "AWS":%q`, test.value)
		}
		_, err := identity.BindTrust(db.View(), trust(fmt.Sprintf("{%q: %q}", test.kind, test.value)))
		bad, ok := errors.AsType[*identity.PrincipalError](err)
		if !ok {
			t.Errorf("%s %q: %v, want a *PrincipalError", test.kind, test.value, err)
		} else if bad.Error() != want {
			t.Errorf("%s %q: %q, want %q", test.kind, test.value, bad.Error(), want)
		}
	}
}

// One name that is wrong refuses the document, whatever stands before it.
func TestTrustIsAllOrNothing(t *testing.T) {
	db, _, _ := trusted(t)
	d, err := identity.BindTrust(db.View(), trust(`{"AWS": ["arn:aws:iam::111122223333:root", "arn:aws:iam::111122223333:user/nobody"]}`))
	if err == nil || !d.IsZero() {
		t.Errorf("got %s, %v", d, err)
	}
}

func FuzzShowTrust(f *testing.F) {
	f.Add(trust(`{"AWS": ["AIDAQQQQQQQQQQQQQQQQQ", "*"]}`))
	f.Add(`[[{"Statement": {"Principal": {"AWS": ["AROA", 1, {}]}}}]]`)
	db, err := store.Open(f.Context(), store.NewMemory())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got := identity.ShowTrust(db.View(), identity.NewDocument(text)); got != text {
			t.Errorf("%q is shown as %q, and there is nobody to show", text, got)
		}
		identity.BindTrust(db.View(), text) // must not panic
	})
}
