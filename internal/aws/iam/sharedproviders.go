package iam

import (
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/policy"
)

// sharedProviders are OpenID Connect providers whose one issuer serves many
// organisations, with the claim that tells these apart. A trust policy that names one
// must have a condition on it (IAM User Guide, "Identity-provider controls for shared
// OIDC providers").
var sharedProviders = map[string]string{
	"agent.buildkite.com":                   "sub",
	"api.pulumi.com/oidc":                   "aud",
	"app.terraform.io":                      "sub",
	"gitlab.com":                            "sub",
	"oidc.codefresh.io":                     "sub",
	"oidc.vercel.com":                       "aud",
	"proidc.upbound.io":                     "sub",
	"sandboxes.cloud":                       "aud",
	"scalr.io":                              "sub",
	"studio.datachain.ai/api":               "sub",
	"token.actions.githubusercontent.com":   "sub",
	"tokens.cloud.shisho.dev":               "sub",
	"vstoken.actions.githubusercontent.com": "sub",
	"oidc-configuration.audit-log.githubusercontent.com": "sub",
}

// tenantOperators are those that a condition on the claim may have.
var tenantOperators = []string{"StringEquals", "StringLike", "StringEqualsIgnoreCase"}

// checkShared holds a trust policy against sharedProviders.
func checkShared(p *policy.Policy) error {
	for i := range p.Statements {
		s := &p.Statements[i]
		if s.Effect != "Allow" {
			continue
		}
		for _, n := range s.Principal {
			_, provider, ok := strings.Cut(arn.ARN(n.Value).Resource(), string(identity.OIDCProviderKind)+"/")
			if n.Kind != "Federated" || !ok {
				continue
			}
			claim := sharedProviders[provider]
			if claim == "" && strings.HasPrefix(provider, "token.actions.githubusercontent.com/") { // an enterprise's own issuer
				claim = "sub"
			}
			if key := provider + ":" + claim; claim != "" && !slices.ContainsFunc(s.Condition, func(c policy.Condition) bool { return scopes(&c, key) }) {
				return api.MalformedPolicyDocument("Trust policy with trusted principal %s must evaluate, using StringEquals, StringLike or StringEqualsIgnoreCase, %s which is not scoped to all.", n.Value, key)
			}
		}
	}
	return nil
}

// scopes reports whether a condition wants the key to have values of which none is
// any value at all.
func scopes(c *policy.Condition, key string) bool {
	operator := c.Operator
	if _, behind, ok := strings.Cut(operator, ":"); ok { // ForAnyValue, ForAllValues
		operator = behind
	}
	return strings.EqualFold(c.Key, key) && len(c.Values) > 0 &&
		slices.ContainsFunc(tenantOperators, func(o string) bool { return strings.EqualFold(o, operator) }) &&
		!slices.ContainsFunc(c.Values, func(v string) bool { return strings.Trim(v, "*?") == "" })
}
