package iam_test

import (
	"slices"
	"testing"

	"github.com/iamd-dev/iamd/internal/aws/iam"
	"github.com/iamd-dev/iamd/internal/reference"
)

// Every condition key that AWS gives an action has a value in our row, where there is
// one: a policy that is conditioned on a key which we left out would not protect.
func TestRowsHaveAllKeys(t *testing.T) {
	reasons := map[string]string{
		"iam:RoleTemplateARN":       "AcquireRole alone works from a template: it is absent elsewhere, as was recorded of GetRole",
		"iam:AssociatedResourceArn": "AWS lists no resource of AddRoleToInstanceProfile's that a role would be passed for",

		"iam:RegisterSecurityKey":           "there are virtual MFA devices, and no security keys",
		"iam:FIDO-certification":            "as iam:RegisterSecurityKey",
		"iam:FIDO-FIPS-140-2-certification": "as iam:RegisterSecurityKey",
		"iam:FIDO-FIPS-140-3-certification": "as iam:RegisterSecurityKey",
	}
	b := newBench(t, iam.Quotas{})
	for op := range b.table.Ops {
		if op.Declined != "" {
			continue
		}
		for _, need := range op.Needs {
			a, ok := reference.LookupAction(string(need.Action))
			if need.Action == "iam:UpdateDelegationRequest" {
				continue // of which the reference of September 2026 does not know yet
			}
			if !ok {
				t.Errorf("%s: AWS has no action %s", op.Name, need.Action)
				continue
			}
			for _, key := range a.Keys {
				if op.Name == "AcquireRole" && need.Action != "iam:GetRole" && slices.Contains([]string{"iam:PermissionsBoundary", "aws:TagKeys", "aws:RequestTag/${TagKey}"}, key) {
					continue // no template gives its role tags or a boundary
				}
				if !slices.Contains(need.Keys(), key) && reasons[key] == "" {
					t.Errorf("%s: %s has no value for %s", op.Name, need.Action, key)
				}
			}
		}
	}
}
