package iam

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

// A preferences is what an account has chosen. The zero value is a new account's.
type preferences struct {
	TokenVersion int  `json:",omitempty"` // of the global STS endpoint; 0 is 1
	RoleManager  bool `json:",omitempty"` // the property RoleManager/Enabled
}

var preferred = store.NewTable[preferences]("preferences") // by account

func preferencesOf(r store.Reader, account string) preferences {
	if p := preferred.Get(r, account); p != nil {
		return *p
	}
	return preferences{}
}

func prefer(tx *store.Tx, account string, f func(*preferences)) error {
	p := preferencesOf(tx, account)
	f(&p)
	preferred.Put(tx, account, &p)
	return nil
}

// setSecurityTokenServicePreferences is remembered and shown by GetAccountSummary:
// session tokens of iamd are valid in every region.
func (s *Service) setSecurityTokenServicePreferences(ctx context.Context, c *service.Call, in *api.SetSecurityTokenServicePreferencesInput) (*none, error) {
	version := 1
	if in.GlobalEndpointTokenVersion == "v2Token" {
		version = 2
	}
	return nil, s.update(ctx, func(tx *store.Tx) error {
		return prefer(tx, c.Account, func(p *preferences) { p.TokenVersion = version })
	})
}

// Account properties are settings of IAM's own features, by namespace. There is one:
// whether the consoles of AWS may make roles by role templates (IAM User Guide, "Create
// roles automatically with role manager"). Turning it on makes the service-linked role
// of role manager, and needs the permission to even if there is one.
const (
	roleManager        = "RoleManager"
	roleManagerEnabled = roleManager + "/Enabled"
	roleManagerService = "role-manager.iam.amazonaws.com"
)

func (s *Service) getAccountProperties(_ context.Context, c *service.Call, _ *api.GetAccountPropertiesInput) (*api.GetAccountPropertiesOutput, error) {
	return &api.GetAccountPropertiesOutput{Properties: map[string]string{
		roleManagerEnabled: strconv.FormatBool(preferencesOf(c.State, c.Account).RoleManager),
	}}, nil
}

func (s *Service) putAccountProperties(ctx context.Context, c *service.Call, in *api.PutAccountPropertiesInput) (*api.PutAccountPropertiesOutput, error) {
	namespace := ""
	for i, key := range slices.Sorted(maps.Keys(in.Properties)) {
		of, property, ok := strings.Cut(key, "/")
		switch {
		case !ok || of == "" || property == "" || strings.Contains(property, "/"):
			return nil, api.InvalidInput("Property key must be in format Namespace/PropertyName: %s", key)
		case i > 0 && of != namespace:
			return nil, api.InvalidInput("All properties must belong to the same namespace")
		}
		namespace = of
	}
	if namespace != roleManager {
		return nil, api.InvalidInput("Unsupported namespace: %s", namespace)
	}
	value, ok := in.Properties[roleManagerEnabled] // AWS passes other properties of the namespace over
	switch {
	case !ok:
		return nil, api.InvalidInput("RoleManager namespace requires Enabled property")
	case value != "true" && value != "false":
		return nil, api.InvalidInput("Enabled must be 'true' or 'false'")
	}
	put := func(tx *store.Tx) error {
		return prefer(tx, c.Account, func(p *preferences) { p.RoleManager = value == "true" })
	}
	l := serviceLinkedRoles()[roleManagerService]
	if value == "false" || roles.find(c.State, c.Account, l.name) != nil {
		return &api.PutAccountPropertiesOutput{}, s.update(ctx, put)
	}
	return &api.PutAccountPropertiesOutput{}, create(ctx, s, c, newServiceLinked, l.role(c, l.name), func(tx *store.Tx) error {
		use(tx, c.Account, l.policy, +1, 0)
		return put(tx)
	})
}

func enablesRoleManager(_ *service.Call, in *api.PutAccountPropertiesInput) bool {
	return in.Properties[roleManagerEnabled] == "true"
}

var roleManagerRole = service.On(func(c *service.Call, _ *api.PutAccountPropertiesInput) []service.Target {
	l := serviceLinkedRoles()[roleManagerService]
	return []service.Target{{ARN: arn.ARN(entityARN(c.Account, identity.RoleKind, identity.ServiceLinkedPath+l.service+"/", l.name)), New: true}}
})

func putNamespaces(_ *service.Call, in *api.PutAccountPropertiesInput) (policy.Value, bool) {
	named := map[string]bool{}
	for key := range in.Properties {
		namespace, _, _ := strings.Cut(key, "/")
		named[namespace] = true
	}
	return policy.List(slices.Sorted(maps.Keys(named))), len(named) > 0
}

func allNamespaces(*service.Call, *api.GetAccountPropertiesInput) (policy.Value, bool) {
	return policy.List([]string{roleManager}), true
}
