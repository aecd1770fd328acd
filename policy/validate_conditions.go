package policy

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/arn"
)

// conditions takes a Condition element apart and reports its form.
func (l *linter) conditions(n *node, at spot) []lintCondition {
	if n.kind != '{' {
		l.find("DATA_TYPE_MISMATCH", at, "data_type", "Object")
		return nil
	}
	if len(n.members) == 0 {
		l.find("EMPTY_OBJECT_CONDITION", at)
	}
	var all []lintCondition
	for i := range n.members {
		m := &n.members[i]
		block := at.member(m.name, m.position)
		o, quantifier, ifExists := parseOperator(m.name)
		if o == nil {
			l.unknownOperator(m.name, block)
		}
		if m.value.kind != '{' {
			l.find("DATA_TYPE_MISMATCH", at.member(m.name, m.value.position), "data_type", "Object")
			continue
		}
		if len(m.value.members) == 0 {
			l.find("EMPTY_OBJECT_CONDITION", at.member(m.name, m.value.position))
		}
		seen := map[string]bool{}
		for j := range m.value.members {
			k := &m.value.members[j]
			c := lintCondition{spot: block.member(k.name, k.position), block: block, operator: m.name, o: o, set: quantifier, ifExists: ifExists, key: k.name}
			if seen[lowered(k.name)] {
				l.find("DUPLICATE_KEYS_WITH_DIFFERENT_CASE", c.spot, "key", k.name)
			}
			seen[lowered(k.name)] = true
			c.values, c.list = l.values(&k.value, block.member(k.name, k.value.position))
			all = append(all, c)
		}
	}
	return all
}

func (l *linter) unknownOperator(name string, at spot) {
	base := name
	if quantifier, rest, ok := strings.Cut(name, ":"); ok {
		base = rest
		if foldEqual(rest, "Null") && (foldEqual(quantifier, "ForAllValues") || foldEqual(quantifier, "ForAnyValue")) {
			l.find("NULL_WITH_QUALIFIER", at)
			return
		}
	}
	if foldEqual(base, "NullIfExists") {
		l.find("NULL_WITH_IF_EXISTS", at)
		return
	}
	names := make([]string, 0, 2*len(operators))
	for i := range operators {
		names = append(names, operators[i].name)
		if !operators[i].isNull() {
			names = append(names, operators[i].name+"IfExists")
		}
	}
	meant := nearest(base, names)
	if meant != "" && base != name {
		quantifier, _, _ := strings.Cut(name, ":")
		if q := nearest(quantifier, []string{"ForAllValues", "ForAnyValue"}); q != "" {
			meant = q + ":" + meant
		}
	}
	l.find("INVALID_CONDITION_OPERATOR", at, "operator", name).mean(meant)
}

// values gives the values of a condition key and whether they are in a list.
func (l *linter) values(n *node, at spot) ([]lintText, bool) {
	items := []node{*n}
	if n.kind == '[' {
		items = n.items
	}
	values := []lintText{}
	for i := range items {
		place := at
		if n.kind == '[' {
			place = at.item(i, items[i].position)
		}
		switch items[i].kind {
		case '"', '0', 't':
			values = append(values, lintText{place, items[i].text})
			if items[i].kind != items[0].kind {
				l.find("INVALID_CONDITION_DATA_TYPE", place)
			}
		default:
			l.find("DATA_TYPE_MISMATCH", place, "data_type", "String")
		}
	}
	return values, n.kind == '['
}

func (l *linter) checkConditions(s *lintStatement) {
	for i := range s.conditions {
		c := &s.conditions[i]
		key := l.conditionKey(s, c)
		if len(c.values) == 0 {
			if c.list {
				l.emptyCondition(c)
			}
			continue
		}
		if c.o == nil {
			continue
		}
		l.conditionType(c, key)
		l.quantifier(s, c, key)
		l.conditionValues(c)
		l.knownKey(s, c)
	}
	switch l.kind {
	case RCP:
		l.serviceCallers(s)
	case Trust:
		l.sessionKeys(s)
	}
	l.tagConditions(s)
}

func (l *linter) emptyCondition(c *lintCondition) {
	code := "EMPTY_ARRAY_CONDITION"
	switch {
	case c.set == setAll:
		code += "_FORALLVALUES"
	case c.set == setAny:
		code += "_FORANYVALUE"
	case c.ifExists:
		code += "_IFEXISTS"
	}
	l.find(code, c.spot, "key", c.key)
}

// conditionKey asks whether the key exists and holds for the statement's actions. It
// gives what is known of it, nil when nothing is.
func (l *linter) conditionKey(s *lintStatement, c *lintCondition) *ReferenceKey {
	prefix, name, ok := strings.Cut(c.lower(), ":")
	switch {
	case !ok || prefix == "" || name == "":
		l.find("INVALID_CONDITION_KEY_FORMAT", c.spot)
		return nil
	case c.lower() == "aws:arn":
		l.find("UNSUPPORTED_GLOBAL_CONDITION_KEY", c.spot)
		return nil
	}
	if tag := strings.TrimSuffix(name, "/"); tag == "resourcetag" || prefix == "aws" && (tag == "requesttag" || tag == "principaltag") {
		l.find("MISSING_TAG_KEY_IN_CONDITION", c.spot, "conditionKeyName", strings.TrimSuffix(c.key, "/")+"/")
		return nil
	}
	if known := l.ref.key(c.key); known != nil {
		if prefix != "aws" && !strings.ContainsAny(prefix, "./") && l.kind != Trust {
			l.keyOfActions(s, c, known)
		}
		return known
	}
	for _, a := range s.actions.items {
		// Some services have keys with the prefix of another: catalog:ChangeType.
		service, _, _ := strings.Cut(a.text, ":")
		if known := l.ref.service(service); known != nil && findKey(known.Keys, c.key) != nil {
			return findKey(known.Keys, c.key)
		}
	}
	switch {
	case prefix == "aws":
		if l.ref.Global != nil {
			l.unknownGlobal(c.key, c.spot)
		}
	case prefix == "saml" || strings.ContainsAny(prefix, "./") || l.ref.Service == nil:
		// Identity providers bring keys of their own.
	case l.ref.service(prefix) == nil:
		l.find("INVALID_SERVICE", c.spot, "service", prefix).mean(nearest(prefix, l.ref.prefixes()))
	default:
		service := l.ref.service(prefix)
		l.find("INVALID_SERVICE_CONDITION_KEY", c.spot, "key", c.key, "service", service.Prefix).mean(nearest(c.key, keyNames(service.Keys)))
	}
	return nil
}

// keyOfActions looks for actions that a service's key does not hold for. Those with
// wildcards are not asked. A condition that is true without the key does no harm.
func (l *linter) keyOfActions(s *lintStatement, c *lintCondition, known *ReferenceKey) {
	if s.not.action || c.o == nil || !c.positive() || l.ref.global(c.key) != nil {
		return
	}
	var without []string
	with := false
	for _, a := range s.actions.items {
		switch action := l.ref.lookup(a.text); {
		case action == nil:
		case slices.ContainsFunc(action.Keys, func(k string) bool { return keyMatches(k, c.key) }):
			with = true
		default:
			without = append(without, a.text)
		}
	}
	if without == nil {
		return
	}
	if !with && !l.listed(c.key) {
		return // the reference tells the key of the service, and of no action
	}
	l.find("UNSUPPORTED_ACTION_FOR_CONDITION_KEY", c.spot, "actions", strings.Join(without, ", "), "key", c.key)
}

// listed says whether any action of the key's service is known to have it.
func (l *linter) listed(key string) bool {
	prefix, _, _ := strings.Cut(key, ":")
	s := l.ref.service(prefix)
	return s != nil && slices.ContainsFunc(s.Actions, func(a ReferenceAction) bool {
		return slices.ContainsFunc(a.Keys, func(k string) bool { return keyMatches(k, key) })
	})
}

// families of operators, by what their names begin with, and the types of keys that
// they are for.
var families = []struct{ prefix, kind, name string }{
	{"String", "String", "String operators"},
	{"Arn", "ARN", "ARN operators"},
	{"Numeric", "Numeric", "Numeric operators"},
	{"Date", "Date", "Date operators"},
	{"Bool", "Bool", "Boolean operators"},
	{"Binary", "Binary", "Binary operators"},
	{"IpAddress", "IPAddress", "IP address operators"},
	{"NotIpAddress", "IPAddress", "IP address operators"},
}

// conditionType compares the operator with the type of the key.
func (l *linter) conditionType(c *lintCondition, key *ReferenceKey) {
	if key == nil || c.o.isNull() {
		return
	}
	operator, allowed := "", ""
	for _, f := range families {
		if strings.HasPrefix(c.o.name, f.prefix) {
			operator = f.kind
		}
		if f.kind == key.kind() {
			allowed = f.name
		}
	}
	switch {
	case operator == key.kind() || allowed == "":
	case operator == "Numeric" && key.kind() == "Date": // seconds since 1970
	case operator == "String" && key.kind() == "ARN":
		if strings.HasSuffix(c.o.name, "Like") {
			l.find("STRING_LIKE_OPERATOR_WITH_ARN_CONDITION_KEYS", c.spot, "allowed", strings.Replace(c.o.name, "String", "Arn", 1), "operator", c.operator, "key", c.key)
		}
	default:
		l.find("TYPE_MISMATCH", c.spot, "allowed", allowed, "operator", c.operator, "key", c.key)
	}
}

// oneAudience are providers whose aud is known to be one value.
var oneAudience = []string{"accounts.google.com", "cognito-identity.amazonaws.com", "graph.facebook.com", "www.amazon.com", github}

// quantifier compares ForAllValues and ForAnyValue with how many values the key has.
func (l *linter) quantifier(s *lintStatement, c *lintCondition, key *ReferenceKey) {
	if provider, claim, ok := cutLast(c.lower(), ':'); ok && claim == "aud" && strings.Contains(provider, ".") && c.set != setNone {
		switch {
		case !slices.Contains(oneAudience, provider):
			l.find("CONFIRM_AUDIENCE_CLAIM_TYPE", c.spot, "key", c.key, "audienceType", "audience")
		case c.set == setAny:
			l.find("FORANYVALUE_WITH_AUDIENCE_CLAIM_TYPE", c.spot, "key", c.key)
		default:
			l.find("FORALLVALUES_WITH_SINGLE_VALUED_KEY", c.spot, "key", c.key)
		}
		return
	}
	switch {
	case key == nil:
	case key.multivalued() && c.set == setNone && !c.o.isNull():
		l.find("MISSING_QUALIFIER", c.spot, "key", c.key)
	case !key.multivalued() && c.set == setAll:
		l.find("FORALLVALUES_WITH_SINGLE_VALUED_KEY", c.spot, "key", c.key)
	case c.set == setAll && s.effect == "Allow" && !c.o.negated && !s.asksFor(c.lower()):
		l.find("IAMD_FORALLVALUES_WITHOUT_NULL", c.spot, "key", c.key)
	}
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// asksFor says whether a Null condition asks for the key to be there.
func (s *lintStatement) asksFor(key string) bool {
	return slices.ContainsFunc(s.conditions, func(c lintCondition) bool {
		return c.o != nil && c.o.isNull() && c.lower() == key &&
			slices.ContainsFunc(c.values, func(v lintText) bool { return foldEqual(v.text, "false") })
	})
}

func (l *linter) conditionValues(c *lintCondition) {
	name := c.o.name
	text := strings.HasPrefix(name, "String") || strings.HasPrefix(name, "Arn")
	if (name == "Bool" || name == "Null") && len(c.values) > 1 && c.set == setNone {
		l.find("INVALID_CONDITION_MULTIPLE_BOOLEAN", c.spot)
	}
	for i := range c.values {
		v := &c.values[i]
		if !text && strings.Contains(v.text, "${") {
			l.find("INVALID_VARIABLE_FOR_OPERATOR", v.spot)
			continue
		}
		if text && l.variable(v) {
			continue
		}
		ok := c.o.accepts(v.text, true)
		switch {
		case strings.HasPrefix(name, "Date") && ok && strings.Trim(v.text, "0123456789.") == "" && len(v.text) > 4:
			l.find("INVALID_DATE_VALUE", v.spot, "date", v.text)
		case strings.HasSuffix(name, "IpAddress"):
			if p, err := netip.ParsePrefix(v.text); err == nil && p != p.Masked() {
				l.find("IMPROVE_IP_RANGE", v.spot, "addr", p.Masked().String())
			}
			if !ok {
				l.find("TYPE_MISMATCH_IP_RANGE", v.spot, "operator", c.operator)
			}
		case ok && strings.HasPrefix(name, "String") && !strings.HasSuffix(name, "Like") && hasWildcard(withoutVariables(v.text)) && !strings.Contains(v.text, "${"):
			l.find("WILDCARD_WITHOUT_LIKE_OPERATOR", v.spot)
		case ok:
		case name == "Bool" || name == "Null":
			l.find("TYPE_MISMATCH_BOOLEAN", v.spot, "operator", c.operator)
		case strings.HasPrefix(name, "Numeric"):
			l.find("TYPE_MISMATCH_NUMBER", v.spot, "operator", c.operator)
		case strings.HasPrefix(name, "Date"):
			l.find("TYPE_MISMATCH_DATE", v.spot)
		case name == "BinaryEquals":
			l.find("TYPE_MISMATCH_STRING", v.spot, "operator", c.operator)
		case strings.HasPrefix(name, "Arn") && strings.HasPrefix(v.text, "arn:"):
			l.find("MISSING_ARN_FIELD", v.spot, "fields", "6")
		case strings.HasPrefix(name, "Arn"):
			l.find("INVALID_ARN_PREFIX", v.spot)
		}
	}
	if strings.HasPrefix(name, "Numeric") && len(c.values) > 1 && c.set == setNone {
		which := ""
		switch {
		case strings.HasPrefix(name, "NumericLess"):
			which = "greatest"
		case strings.HasPrefix(name, "NumericGreater"):
			which = "least"
		}
		if which != "" {
			l.find("REDUNDANT_CONDITION_VALUE_NUM", c.spot, "operator", c.operator, "greatest/least", which, "key", c.key)
		}
	}
	if (name == "StringLike" || name == "StringNotLike" || name == "ArnLike" || name == "ArnNotLike") &&
		slices.ContainsFunc(c.values, func(v lintText) bool { return v.text == "*" }) {
		l.always(c)
	}
}

// always reports a value of "*": the condition is then about whether the key is
// there at all, or about nothing.
func (l *linter) always(c *lintCondition) {
	code := ""
	switch n := c.o.negated; {
	case !n && (c.ifExists || c.set == setAll):
		code = "REDUNDANT_KEY_DUE_TO_WILDCARD_IN_CONDITION" // true whether or not the key is there
	case !n:
		code = "EQUIVALENT_TO_NULL_FALSE"
	case c.set == setAny:
		code = "REDUNDANT_STATEMENT_DUE_TO_WILDCARD_IN_CONDITION" // false whether or not the key is there
	default:
		code = "EQUIVALENT_TO_NULL_TRUE"
	}
	l.find(code, c.spot, "key", c.key, "operator", c.operator, "recommendedKey", c.key)
}

// sensitive are the keys of AWS's list of sensitive condition keys: wildcards and
// variables in their values have no use, and may match anything.
var sensitive = []string{
	"aws:principalaccount", "aws:principalorgid", "aws:resourceaccount", "aws:resourceorgid", "aws:sourceaccount",
	"aws:sourceorgid", "aws:sourcevpc", "aws:sourcevpce", "aws:vpceaccount", "aws:vpceorgid",
}

// callingServices are keys whose values are service principals.
var callingServices = []string{"aws:calledvia", "aws:calledviafirst", "aws:calledvialast", "aws:principalservicename", "aws:principalservicenameslist", "iam:passedtoservice", "iam:awsservicename"}

// kmsKeys are keys whose values are ARNs of KMS keys.
var kmsKeys = []string{"s3:x-amz-server-side-encryption-aws-kms-key-id", "secretsmanager:kmskeyarn", "lambda:kmskeyarn"}

// knownKey checks what is known of single keys.
func (l *linter) knownKey(s *lintStatement, c *lintCondition) {
	key := c.lower()
	like := strings.HasSuffix(c.o.name, "Like")
	text := strings.HasPrefix(c.o.name, "String") || strings.HasPrefix(c.o.name, "Arn")
	for i := range c.values {
		v := &c.values[i]
		variable := strings.Contains(v.text, "${")
		literal := text && !variable && !hasWildcard(v.text)
		switch {
		case slices.Contains(sensitive, key) && like && variable:
			l.find("VARIABLE_USAGE_TOO_PERMISSIVE", v.spot, "key", c.key)
		case slices.Contains(sensitive, key) && like && hasWildcard(v.text) && v.text != "*":
			l.find("WILDCARD_USAGE_TOO_PERMISSIVE", v.spot, "key", c.key)
		case key == "aws:userid" && like && hasWildcard(v.text) && !variable && v.text != "*":
			if before, _, ok := strings.Cut(v.text, ":"); hasWildcard(before) && (!ok || before != "*") {
				f := l.find("WILDCARD_USAGE_TOO_PERMISSIVE", v.spot)
				f.Text = "Overly permissive use of wildcard with aws:userID. Use the wildcard on the right side of colon or as the only character on the left side of a colon."
			}
		}
		switch {
		case !literal:
		case key == "aws:sourcevpc" && !resourceID(v.text, "vpc-"):
			l.find("INVALID_VPC_FORMAT", v.spot)
		case key == "aws:sourcevpce" && !resourceID(v.text, "vpce-"):
			l.find("INVALID_VPCE_FORMAT", v.spot)
		case (key == "aws:requestedregion" || key == "ec2:region") && !validRegion(v.text):
			l.find("INVALID_REGION", v.spot, "region", v.text)
		case slices.Contains(callingServices, key) && !servicePrincipal(v.text):
			l.find("INVALID_SERVICE_PRINCIPAL_FORMAT", v.spot, "expectedFormat", "service-name.amazonaws.com")
		case key == "kms:viaservice" && !(servicePrincipal(v.text) && strings.Count(v.text, ".") >= 3):
			l.find("INVALID_SERVICE_PRINCIPAL_FORMAT", v.spot, "expectedFormat", "service-name.AWS_region.amazonaws.com")
		case slices.Contains(kmsKeys, key) && !kmsKey(v.text):
			l.find("INVALID_KMS_KEY_VALUE", v.spot, "key", c.key)
		}
	}
	switch key {
	case "aws:referer", "aws:useragent":
		if !c.o.isNull() {
			l.find("UNTRUSTWORTHY_CONDITION_KEY", c.spot, "key", c.key)
		}
	case "aws:sourceip":
		l.privateAddresses(c)
	case "aws:vpcsourceip":
		if !c.o.isNull() && s.condition("aws:SourceVpc") == nil && s.condition("aws:SourceVpce") == nil && s.condition("aws:SourceVpcArn") == nil {
			l.find("MISSING_PAIRED_CONDITION_KEYS", c.spot, "conditionKeyName", c.key, "recommendedKeys", "aws:SourceVpc")
		}
	case "aws:vpceaccount", "aws:vpceorgid", "aws:vpceorgpaths":
		if s.not.action || slices.ContainsFunc(s.actions.items, func(a lintText) bool { return a.text == "*" }) {
			l.find("USE_CONDITION_KEY_ONLY_WITH_SUPPORTED_SERVICES", c.spot, "key", c.key)
		}
	case "s3:resourceaccount", "aws:resourceaccount", "aws:resourceorgid", "aws:resourceorgpaths":
		if l.kind == Resource && l.service != "" {
			l.find("IRRELEVANT_CONDITION_KEY_IN_POLICY", c.spot, "condition-key", c.key, "resource-type", resourceType(l.service))
		}
	case "s3:prefix":
		if !c.o.isNull() && (s.effect == "Deny") != c.o.negated {
			l.find("S3_PREFIX_IN_NEGATIVE_CONTEXT", c.spot)
		}
	case "dynamodb:attributes":
		l.attributes(s, c)
	case github + ":sub":
		l.githubSubject(s, c)
	}
}

// resourceID says whether s is an EC2 id: the prefix and 8 or 17 letters and digits.
func resourceID(s, prefix string) bool {
	id, ok := strings.CutPrefix(s, prefix)
	return ok && (len(id) == 8 || len(id) == 17) && strings.IndexFunc(id, func(c rune) bool { return !alphanumeric(c) }) < 0
}

func kmsKey(s string) bool {
	a, err := arn.Parse(s)
	return err == nil && a.Service() == "kms" && strings.HasPrefix(a.Resource(), "key/") && a.Region() != "" && a.Account() != ""
}

func (l *linter) privateAddresses(c *lintCondition) {
	if !strings.HasSuffix(c.o.name, "IpAddress") {
		return
	}
	private, public := 0, 0
	for _, v := range c.values {
		if p, ok := parseNet(v.text); ok && (p.Addr().IsPrivate() || p.Addr().IsLoopback()) && p.Bits() >= 7 {
			private++
		} else if ok {
			public++
		}
	}
	switch {
	case private == 0:
	case public == 0 && c.o.negated:
		l.find("PRIVATE_NOT_IP_ADDRESS", c.spot)
	case public == 0:
		l.find("PRIVATE_IP_ADDRESS", c.spot)
	case c.o.negated:
		l.find("PRIVATE_NOT_IP_ADDRESS_SUBSET", c.spot)
	default:
		l.find("PRIVATE_IP_ADDRESS_SUBSET", c.spot)
	}
}

// attributes asks for dynamodb:Select beside dynamodb:Attributes where actions that
// read are allowed.
func (l *linter) attributes(s *lintStatement, c *lintCondition) {
	reads := slices.ContainsFunc(s.actions.items, func(a lintText) bool {
		return slices.ContainsFunc([]string{"dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:Scan"}, func(r string) bool {
			return foldGlob(lowered(a.text), r)
		})
	})
	selected := slices.ContainsFunc(s.conditions, func(d lintCondition) bool {
		return foldEqual(d.key, "dynamodb:Select") && len(d.values) == 1 && d.values[0].text == "SPECIFIC_ATTRIBUTES"
	})
	if s.effect == "Allow" && reads != s.not.action && !selected && !c.o.isNull() {
		l.find("DYNAMODB_ATTRIBUTES_WITHOUT_SELECT", c.spot)
	}
}

// githubSubject wants the repository, and the branch there or in the key ref.
func (l *linter) githubSubject(s *lintStatement, c *lintCondition) {
	branch := false
	if ref := s.condition(github + ":ref"); ref != nil {
		branch = !slices.ContainsFunc(ref.values, func(v lintText) bool { return hasWildcard(v.text) })
	}
	for _, v := range c.values {
		parts := strings.SplitN(v.text, ":", 3)
		exact := len(parts) > 1 && parts[0] == "repo" && !hasWildcard(parts[1])
		if hasWildcard(v.text) && !(exact && branch) {
			l.find("SPECIFIC_GITHUB_REPO_AND_BRANCH_RECOMMENDED", v.spot)
		}
	}
}

// serviceCallers checks the conditions of an RCP, which also bears on services that
// call: keys about callers need aws:PrincipalIsAWSService false beside them, keys
// about sources true.
func (l *linter) serviceCallers(s *lintStatement) {
	if s.effect != "Deny" {
		return
	}
	service := s.condition("aws:PrincipalIsAWSService")
	says := func(want string) bool {
		return service != nil && len(service.values) == 1 && foldEqual(service.values[0].text, want)
	}
	sourced := s.asksFor("aws:sourceaccount") || s.asksFor("aws:sourcearn")
	for i := range s.conditions {
		c := &s.conditions[i]
		if c.o == nil || c.o.isNull() {
			continue
		}
		caller := slices.ContainsFunc(callerKeys, func(k string) bool { return foldEqual(k, c.key) }) || foldPrefix(c.key, "aws:PrincipalTag/")
		source := slices.ContainsFunc(sourceKeys, func(k string) bool { return foldEqual(k, c.key) })
		switch {
		case caller && c.o.negated && !says("false"):
			l.find("RCP_MISSING_RELATED_PRINCIPAL_CONDITION_KEY", c.spot, "conditionKeyName", c.key)
		case source && c.o.negated && !says("true"):
			l.find("RCP_MISSING_RELATED_SERVICE_PRINCIPAL_CONDITION_KEY", c.spot, "conditionKeyName", c.key)
		case source && c.o.negated && !sourced:
			l.find("RCP_MISSING_SERVICE_CONDITION_KEY_NULL_CHECK", c.spot, "conditionKeyName", c.key)
		}
	}
}

// sessionKeys checks that an action which lets a session have tags or a source
// identity is allowed beside the condition about them.
func (l *linter) sessionKeys(s *lintStatement) {
	if s.effect != "Allow" || s.not.action {
		return
	}
	for i := range s.conditions {
		c := &s.conditions[i]
		needs := ""
		switch key := c.lower(); {
		case key == "sts:sourceidentity":
			needs = "sts:SetSourceIdentity"
		case key == "sts:transitivetagkeys" || key == "aws:tagkeys" || strings.HasPrefix(key, "aws:requesttag/"):
			needs = "sts:TagSession"
		}
		if needs == "" || !c.positive() {
			continue
		}
		if !slices.ContainsFunc(s.actions.items, func(a lintText) bool { return foldGlob(lowered(a.text), needs) }) {
			l.find("MISSING_ACTION_FOR_CONDITION_KEY", c.spot, "actionName", needs, "keyName", c.key)
		}
	}
}

// tagConditions looks for actions of services whose resources' tags are not in the
// request: a condition on aws:ResourceTag is then never true.
func (l *linter) tagConditions(s *lintStatement) {
	if l.ref.Service == nil || l.kind == Trust || s.effect != "Allow" && s.effect != "Deny" {
		return
	}
	for i := range s.conditions {
		c := &s.conditions[i]
		if !foldPrefix(c.key, "aws:ResourceTag/") || !c.positive() {
			continue
		}
		prefix := strings.ToUpper(s.effect)
		if s.not.action {
			l.find(prefix+"_NOTACTION_WITH_UNSUPPORTED_TAG_CONDITION_KEY_FOR_SERVICE", c.spot, "conditionKeyName", c.key)
			continue
		}
		var without []string
		for _, a := range s.actions.items {
			service, name, ok := strings.Cut(a.text, ":")
			if !ok || hasWildcard(service) || slices.Contains(without, lowered(service)) {
				continue
			}
			if known := l.ref.service(service); known != nil && !known.tagged(lowered(name)) {
				without = append(without, known.Prefix)
			}
		}
		if without != nil {
			slices.Sort(without)
			l.find(prefix+"_WITH_UNSUPPORTED_TAG_CONDITION_KEY_FOR_SERVICE", c.spot, "conditionKeyName", c.key, "serviceNames", strings.Join(without, ", "))
		}
	}
}

// tagged says whether any action that the pattern, in lower case, matches is about
// resources whose tags are in the request, or whether there is no such action at all.
func (s *ReferenceService) tagged(pattern string) bool {
	any := false
	for i := range s.Actions {
		a := &s.Actions[i]
		if !foldGlob(pattern, a.Name) {
			continue
		}
		any = true
		if slices.ContainsFunc(a.Keys, func(k string) bool { return foldPrefix(k, "aws:ResourceTag/") }) {
			return true
		}
	}
	return !any
}
