package organizations

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/iamd-dev/iamd/internal/aws/organizations/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/store"
)

// Pages are cut by id, and an id may begin with a digit or a letter: AWS's own policies
// stand between them, and no policy may be lost behind.
func TestPoliciesInPages(t *testing.T) {
	db, err := store.Open(t.Context(), store.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	o := &identity.Organization{ID: "o-1"}
	if err := db.Update(t.Context(), func(tx *store.Tx) error {
		for id, policyType := range map[string]string{"p-1": identity.ServiceControlPolicy, "p-z": identity.ServiceControlPolicy, "p-2": "TAG_POLICY"} {
			identity.OrganizationPolicies.Put(tx, o.Key(id), &identity.OrganizationPolicy{ID: id, Name: id, Type: policyType})
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	one := int32(1)
	for policyType, want := range map[string][]string{
		identity.ServiceControlPolicy:  {"p-1", "p-FullAWSAccess", "p-z"},
		identity.ResourceControlPolicy: {"p-RCPFullAWSAccess"},
		"TAG_POLICY":                   {"p-2"},
	} {
		var got []string
		for token := ""; ; {
			page, next, err := paged(token, &one, mapped(policiesOf(db.View(), o, policyType), func(p *identity.OrganizationPolicy) (api.PolicySummary, bool) {
				return *summary(o, p), true
			}))
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range page {
				got = append(got, p.Id)
			}
			if token = next; token == "" || len(got) > 5 {
				break
			}
		}
		if !slices.IsSorted(want) {
			t.Fatalf("want %q is not in the order of ids", want)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", policyType, diff)
		}
	}
}
