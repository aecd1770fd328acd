package policy

import (
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/arn"
)

// names takes a Principal or NotPrincipal apart and reports its form.
func (l *linter) names(n *node, at spot) []lintName {
	var names []lintName
	switch n.kind {
	case '"':
		if n.text != "*" {
			l.find("INVALID_PRINCIPAL_FORMAT", at)
		}
		return []lintName{{lintText{at, n.text}, ""}}
	case '{':
		if len(n.members) == 0 {
			l.find("EMPTY_OBJECT_PRINCIPAL", at)
		}
		for i := range n.members {
			m := &n.members[i]
			if !slices.Contains(principalKinds, m.name) {
				l.find("INVALID_PRINCIPAL_KEY", at.member(m.name, m.position), "principal-key", m.name).mean(nearest(m.name, principalKinds))
				continue
			}
			value := at.member(m.name, m.value.position)
			items := []node{m.value}
			if m.value.kind == '[' {
				items = m.value.items
				if len(items) == 0 {
					l.find("EMPTY_ARRAY_PRINCIPAL", value)
				}
			}
			for j := range items {
				place := value
				if m.value.kind == '[' {
					place = value.item(j, items[j].position)
				}
				if s, ok := l.text(&items[j], place); ok {
					names = append(names, lintName{lintText{place, s}, m.name})
				}
			}
		}
	default:
		l.find("INVALID_PRINCIPAL_FORMAT", at)
	}
	return names
}

// principalElement says whether policies of this kind have a Principal at all. The
// place is that of the element's name.
func (l *linter) principalElement(s *lintStatement, name spot) {
	switch l.kind {
	case Identity, Boundary, Session:
		l.find("UNSUPPORTED_PRINCIPAL", name, "policy_type", "IDENTITY_POLICY")
	case SCP:
		l.find("SCP_SYNTAX_ERROR_PRINCIPAL", name)
	case RCP:
		everyone := len(s.principals) == 1 && s.principals[0].text == "*"
		if s.not.principal || !everyone {
			l.find("RCP_SYNTAX_ERROR_PRINCIPAL", name)
		}
	case Trust:
		if s.not.principal {
			l.find("ROLE_TRUST_POLICY_SYNTAX_ERROR_NOTPRINCIPAL", name)
		}
	}
}

// serviceDomains are what service principals end with, in AWS's partitions.
var serviceDomains = []string{".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".amazon.com", ".aws.internal", ".c2s.ic.gov", ".sc2s.sgov.gov"}

// servicePrincipal says whether s has the form of a service principal.
func servicePrincipal(s string) bool {
	return lowered(s) == s && !strings.ContainsAny(s, " :/*?") && slices.ContainsFunc(serviceDomains, func(d string) bool {
		return strings.HasSuffix(s, d) && len(s) > len(d)
	})
}

func (l *linter) checkPrincipals(s *lintStatement) {
	if l.kind != Trust && l.kind != Resource {
		return
	}
	if s.not.principal && s.effect == "Allow" && l.kind == Resource {
		for _, m := range s.n.members {
			if m.name == "NotPrincipal" {
				l.find("ALLOW_WITH_NOT_PRINCIPAL", s.member(m.name, m.position))
			}
		}
	}
	for i := range s.principals {
		l.principal(s, &s.principals[i])
	}
	if l.kind == Trust && s.effect == "Allow" && !s.not.principal {
		l.federation(s)
	}
	if l.kind == Resource && s.effect == "Allow" && !s.not.principal {
		l.servicePrincipals(s)
	}
}

func (l *linter) principal(s *lintStatement, n *lintName) {
	if v := strings.Index(n.text, "${"); v >= 0 {
		l.find("VARIABLE_UNSUPPORTED_IN_ELEMENT", n.spot, "variable", n.text[v:])
		return
	}
	wild := strings.ContainsAny(n.text, "*?")
	switch {
	case n.kind == "" && n.text == "*" && l.kind == Trust:
		l.find("ROLE_TRUST_POLICY_UNSUPPORTED_WILDCARD_IN_PRINCIPAL", n.spot)
	case (n.kind == "" || n.kind == "AWS") && n.text == "*":
		if s.effect == "Allow" && !s.not.principal && len(s.conditions) == 0 {
			l.find("IAMD_ALLOW_ANYONE", n.spot)
		}
	case n.kind == "":
	case wild:
		l.find("UNSUPPORTED_WILDCARD_IN_PRINCIPAL", n.spot, "principal_key", n.kind)
	case n.kind == "Service" && !servicePrincipal(n.text):
		l.find("INVALID_SERVICE_PRINCIPAL_FORMAT", n.spot, "expectedFormat", "service-name.amazonaws.com")
	case n.kind == "Federated" && l.kind == Resource:
		l.find("FEDERATED_PRINCIPAL_NOT_SUPPORTED", n.spot)
	case n.kind == "Federated" && providerOf(n.text) == "" && !samlProvider(n.text):
		l.find("INVALID_FEDERATED_PRINCIPAL_SYNTAX_IN_ROLE_TRUST_POLICY", n.spot)
	case n.kind == "AWS" && uniqueID(n.text, "AROA"):
		l.find("INVALID_ROLE_REFERENCE", n.spot, "roleid", n.text)
	case n.kind == "AWS" && uniqueID(n.text, "AIDA"):
		l.find("INVALID_USER_REFERENCE", n.spot, "userid", n.text)
	case n.kind == "AWS" && !(&Name{Kind: n.kind, Value: n.text}).valid():
		l.find("INVALID_PRINCIPAL_FORMAT", n.spot).note("%s is neither an account nor the ARN of a user, a role or a session", n.text)
	case n.kind == "AWS" && l.kind == Trust:
		l.redundantSession(s, n)
	}
}

func uniqueID(s, prefix string) bool {
	return strings.HasPrefix(s, prefix) && len(s) > 16 && strings.IndexFunc(s, func(c rune) bool { return !alphanumeric(c) }) < 0
}

// redundantSession looks for a session of a role that is named too.
func (l *linter) redundantSession(s *lintStatement, n *lintName) {
	a := arn.ARN(n.text)
	session, ok := strings.CutPrefix(a.Resource(), "assumed-role/")
	if !ok {
		return
	}
	role, _, _ := strings.Cut(session, "/")
	for _, m := range s.principals {
		b := arn.ARN(m.text)
		path, ok := strings.CutPrefix(b.Resource(), "role/")
		if ok && a.Account() == b.Account() && path[strings.LastIndexByte(path, '/')+1:] == role {
			l.find("REDUNDANT_PRINCIPAL_IN_ROLE_TRUST_POLICY", n.spot, "redundant_principal", n.text, "parent_role", m.text)
			return
		}
	}
}

func samlProvider(s string) bool {
	a, err := arn.Parse(s)
	return err == nil && a.Service() == "iam" && strings.HasPrefix(a.Resource(), "saml-provider/")
}

// providerOf gives the address of an OIDC provider, which its condition keys begin
// with, from the principal that names it; "" when that names none.
func providerOf(s string) string {
	if a, err := arn.Parse(s); err == nil {
		if address, ok := strings.CutPrefix(a.Resource(), "oidc-provider/"); ok && a.Service() == "iam" {
			return address
		}
		return ""
	}
	if strings.Contains(s, ".") && !strings.ContainsAny(s, " :*?") {
		return s
	}
	return ""
}

const github = "token.actions.githubusercontent.com"

// federation checks an Allow statement of a trust policy: which actions go with
// which principals, and which conditions providers need.
func (l *linter) federation(s *lintStatement) {
	for _, a := range s.actions.items {
		if s.not.action {
			break
		}
		var wrong []string
		for _, n := range s.principals {
			saml, oidc := n.kind == "Federated" && samlProvider(n.text), n.kind == "Federated" && providerOf(n.text) != ""
			switch {
			case n.text == "*":
			case foldEqual(a.text, "sts:AssumeRoleWithSAML") && !saml,
				foldEqual(a.text, "sts:AssumeRoleWithWebIdentity") && !oidc,
				foldEqual(a.text, "sts:AssumeRole") && n.kind == "Federated":
				wrong = append(wrong, n.text)
			}
		}
		if wrong != nil {
			l.find("MISMATCHED_ACTION_FOR_PRINCIPAL", a.spot, "actionName", a.text, "principalNames", strings.Join(wrong, ", "))
		}
	}
	for i := range s.principals {
		n := &s.principals[i]
		provider := providerOf(n.text)
		if n.kind != "Federated" || provider == "" {
			continue
		}
		if !slices.ContainsFunc(s.conditions, func(c lintCondition) bool { return foldPrefix(c.key, provider+":") }) {
			l.find("MISSING_CONDITION_KEY_FOR_OIDC_PRINCIPAL", n.spot)
		}
		if provider == github && s.condition(github+":sub") == nil {
			l.find("MISSING_GITHUB_REPO_CONDITION_KEY", n.spot)
		}
	}
}

// condition gives the first condition of a key, nil when there is none.
func (s *lintStatement) condition(key string) *lintCondition {
	for i := range s.conditions {
		if foldEqual(s.conditions[i].key, key) {
			return &s.conditions[i]
		}
	}
	return nil
}

// sourceKeys tell for whom a service acts.
var sourceKeys = []string{"aws:SourceArn", "aws:SourceAccount", "aws:SourceOrgID", "aws:SourceOrgPaths"}

// callerKeys are about the calling user or role: a service that calls has none.
var callerKeys = []string{"aws:PrincipalOrgID", "aws:PrincipalOrgPaths", "aws:PrincipalAccount", "aws:PrincipalArn", "aws:PrincipalType", "aws:userid", "aws:username"}

// servicePrincipals checks an Allow statement of a resource policy that names
// services.
func (l *linter) servicePrincipals(s *lintStatement) {
	var service *lintName
	others := false
	for i := range s.principals {
		if n := &s.principals[i]; n.kind != "Service" {
			others = true
		} else if service == nil {
			service = n
		}
	}
	if service == nil {
		return
	}
	var unsupported []string
	var at spot
	for _, c := range s.conditions {
		if c.positive() && (slices.ContainsFunc(callerKeys, func(k string) bool { return foldEqual(k, c.key) }) || foldPrefix(c.key, "aws:PrincipalTag/")) {
			unsupported, at = append(unsupported, c.key), c.spot
		}
	}
	if unsupported != nil && !others {
		l.find("UNSUPPORTED_CONDITION_KEY_FOR_SERVICE_PRINCIPAL", at, "conditionKeys", strings.Join(unsupported, ", "))
	}
	if slices.ContainsFunc(sourceKeys, func(k string) bool { return s.condition(k) != nil }) {
		return
	}
	if c := s.condition("aws:Referer"); c != nil {
		prefix, _, _ := strings.Cut(service.text, ".")
		l.find("RECOMMENDED_CONDITION_KEY_FOR_SERVICE_PRINCIPAL", c.spot, "servicePrincipalPrefix", prefix, "key", c.key)
		return
	}
	l.find("RESTRICT_ACCESS_TO_SERVICE_PRINCIPAL", service.spot)
}

// rolesAnywhere needs three actions, which may stand in several statements.
func (l *linter) rolesAnywhere(all []*lintStatement) {
	const principal = "rolesanywhere.amazonaws.com"
	var first *lintStatement
	missing := []string{"sts:assumerole", "sts:setsourceidentity", "sts:tagsession"}
	for _, s := range all {
		named := slices.ContainsFunc(s.principals, func(n lintName) bool { return n.kind == "Service" && n.text == principal })
		if l.kind != Trust || s.effect != "Allow" || !named || s.not.action {
			continue
		}
		if first == nil {
			first = s
		}
		missing = slices.DeleteFunc(missing, func(a string) bool {
			return slices.ContainsFunc(s.actions.items, func(t lintText) bool { return foldGlob(lowered(t.text), a) })
		})
	}
	if first != nil && len(missing) > 0 {
		l.find("MISSING_ACTION_FOR_ROLES_ANYWHERE_TRUST_POLICY", first.actions.spot)
	}
}
