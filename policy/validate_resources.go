package policy

import (
	"slices"
	"strconv"
	"strings"

	"github.com/iamd-dev/iamd/arn"
)

const partitions = "aws, aws-cn, aws-us-gov, aws-eusc, aws-iso, aws-iso-b, aws-iso-e, aws-iso-f"

func (l *linter) checkResources(s *lintStatement) {
	if l.kind == Trust {
		return
	}
	for i := range s.resources.items {
		r := &s.resources.items[i]
		if r.text == "*" || l.variable(r) {
			continue
		}
		l.resource(s, r)
	}
	if l.kind == RCP && s.effect == "Allow" {
		all := !s.not.resource && len(s.resources.items) == 1 && s.resources.items[0].text == "*"
		if !all || len(s.conditions) > 0 {
			l.find("RCP_SYNTAX_ERROR_ALLOW", s.spot)
		}
	}
	if covered, by := redundant(s.resources.items, func(s string) string { return s }); covered != nil {
		f := l.find("REDUNDANT_RESOURCE", covered[0].spot, "redundantResourceCount", strconv.Itoa(len(covered)))
		for _, c := range covered[1:] {
			f.More = append(f.More, l.location(c.spot))
		}
		f.note("%s includes %s", by, covered[0].text)
	}
}

// variable checks the policy variables of a text and says whether one is at fault.
func (l *linter) variable(t *lintText) bool {
	rest := t.text
	for {
		_, after, found := strings.Cut(rest, "${")
		if !found {
			return false
		}
		inside, behind, closed := strings.Cut(after, "}")
		name, fallback, hasFallback := strings.Cut(inside, ",")
		switch {
		case !l.variables:
			l.find("VARIABLE_UNSUPPORTED_IN_VERSION", t.spot)
		case !closed:
			l.find("MISSING_BRACE_IN_VARIABLE", t.spot)
		case strings.TrimSpace(inside) == "":
			l.find("EMPTY_VARIABLE", t.spot)
		case strings.Contains(name, " "):
			l.find("UNSUPPORTED_SPACE_IN_VARIABLE", t.spot)
		case hasFallback && !quoted(strings.TrimLeft(fallback, " ")):
			l.find("MISSING_QUOTE_IN_VARIABLE", t.spot)
		case foldPrefix(name, "aws:") && l.ref.Global != nil && l.ref.global(name) == nil:
			l.unknownGlobal(name, t.spot)
		default:
			rest = behind
			continue
		}
		return true
	}
}

func quoted(s string) bool { return len(s) >= 2 && s[0] == '\'' && s[len(s)-1] == '\'' }

// unknownGlobal reports a key or a variable with the prefix aws: that there is not.
func (l *linter) unknownGlobal(key string, at spot) {
	l.find("INVALID_GLOBAL_CONDITION_KEY", at, "key", key).mean(nearest(key, keyNames(l.ref.Global())))
}

// accountAliases stand in ARNs for accounts of AWS itself.
var accountAliases = []string{"aws", "aws-managed", "aws-marketplace", "amazon", "cloudfront", "third-party"}

func (l *linter) resource(s *lintStatement, r *lintText) {
	parts := strings.SplitN(r.text, ":", 6)
	if parts[0] != "arn" {
		l.find("INVALID_ARN_PREFIX", r.spot)
		return
	}
	if len(parts) < 6 {
		l.find("MISSING_ARN_FIELD", r.spot, "fields", "6")
		return
	}
	for _, p := range parts[:5] {
		if v := strings.Index(p, "${"); v >= 0 {
			l.find("VARIABLE_UNSUPPORTED_IN_ELEMENT", r.spot, "variable", p[v:]).note("variables stand behind the fifth colon")
			return
		}
	}
	place, service, region, account := parts[1], parts[2], parts[3], parts[4]
	if !hasWildcard(place) && !partition(place) {
		l.find("INVALID_PARTITION", r.spot, "service", service, "partition", place, "partitions", partitions)
	}
	if l.service != "" && resourceTypes[l.service] != "" && l.kind == Resource && service != l.service && !hasWildcard(service) {
		l.find("UNSUPPORTED_RESOURCE_ARN_IN_POLICY", r.spot, "resourceType", resourceType(l.service))
		return
	}
	if hasWildcard(service) {
		l.find("WILDCARD_IN_SERVICE_NAME", r.spot)
		return
	}
	if lowered(service) != service {
		l.find("INVALID_ARN_SERVICE_CASE", r.spot, "service", service)
		return
	}
	if !validAccount(account) {
		l.find("INVALID_ARN_ACCOUNT", r.spot, "account", account)
		return
	}
	if region != "" && !hasWildcard(region) && !validRegion(region) {
		l.find("INVALID_ARN_REGION", r.spot, "region", region)
		return
	}
	if parts[5] == "" {
		l.find("INVALID_ARN_RESOURCE", r.spot)
		return
	}
	l.resourceFormat(s, r, parts)
}

func validAccount(s string) bool {
	if s == "" || slices.Contains(accountAliases, s) {
		return true
	}
	if hasWildcard(s) {
		return strings.Trim(s, "0123456789*?") == ""
	}
	return isAccount(s)
}

// geographies are what names of Regions begin with, directions what stands in the
// middle; a number follows. A list of the Regions themselves would be out of date.
var (
	geographies = []string{"af", "ap", "ca", "cn", "eu", "eu-isoe", "eusc-de", "il", "me", "mx", "sa", "us", "us-gov", "us-iso", "us-isob", "us-isof"}
	directions  = []string{"central", "east", "north", "northeast", "northwest", "south", "southeast", "southwest", "west"}
)

func validRegion(s string) bool {
	rest := strings.TrimRight(s, "0123456789")
	if rest == s || !strings.HasSuffix(rest, "-") {
		return false
	}
	rest = strings.TrimSuffix(rest, "-")
	cut := strings.LastIndexByte(rest, '-')
	return cut > 0 && slices.Contains(directions, rest[cut+1:]) && slices.Contains(geographies, rest[:cut])
}

// formats gives the ARN patterns of all types of resources with that service in
// their ARN. They are told with the service of that prefix, and with those that the
// statement's actions are of.
func (l *linter) formats(s *lintStatement, service string) [][]string {
	prefixes := []string{service}
	for _, a := range s.actions.items {
		if prefix, _, ok := strings.Cut(lowered(a.text), ":"); ok && !hasWildcard(prefix) && !slices.Contains(prefixes, prefix) {
			prefixes = append(prefixes, prefix)
		}
	}
	formats := l.formatsIn(prefixes, func(s string) bool { return arn.Glob(s, service) }) // a recovery point of Backup is any service's
	if formats != nil {
		return formats
	}
	if l.ref.service(service) != nil {
		return nil
	}
	return l.formatsIn(l.ref.prefixes(), func(s string) bool { return s == service })
}

func (l *linter) formatsIn(prefixes []string, of func(service string) bool) [][]string {
	var formats [][]string
	for _, prefix := range prefixes {
		if known := l.ref.service(prefix); known != nil {
			for _, t := range known.Resources {
				if parts := strings.SplitN(withoutVariables(t.ARN), ":", 6); len(parts) == 6 && of(parts[2]) {
					formats = append(formats, parts)
				}
			}
		}
	}
	return formats
}

// withoutVariables puts stars in the place of a pattern's variables.
func withoutVariables(s string) string {
	var b strings.Builder
	for {
		before, variable, found := strings.Cut(s, "${")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteByte('*')
		_, s, _ = strings.Cut(variable, "}")
	}
}

// ownResources are services with resources of AWS's own, whose ARNs have no account,
// although the reference does not tell: arn:aws:ssm:*::document/AWS-RunShellScript.
var ownResources = []string{"ssm", "resource-explorer-2"}

// resourceFormat compares an ARN with those that the service has.
func (l *linter) resourceFormat(s *lintStatement, r *lintText, parts []string) {
	if l.ref.Service == nil {
		return
	}
	service, region, account := parts[2], parts[3], parts[4]
	formats := l.formats(s, service)
	if formats == nil {
		if l.ref.service(service) == nil {
			l.find("INVALID_SERVICE", r.spot, "service", service).mean(nearest(service, l.ref.prefixes()))
		}
		return
	}
	resource := withoutVariables(parts[5])
	if service == "iam" && resource == "root" {
		return // the reference has no such type
	}
	formats = slices.DeleteFunc(formats, func(f []string) bool { return !meet(f[5], resource) })
	if len(formats) == 0 {
		l.find("INVALID_ARN_RESOURCE", r.spot)
		return
	}
	fits := func(part int, fits func(want string) bool) bool {
		return slices.ContainsFunc(formats, func(f []string) bool { return fits(f[part]) })
	}
	switch {
	case region != "" && strings.Trim(region, "*") != "" && !fits(3, func(want string) bool { return want != "" }):
		l.find("ARN_REGION_NOT_ALLOWED", r.spot, "service", service)
	case account != "" && strings.Trim(account, "*") != "" && !fits(4, func(want string) bool { return want != "" }):
		l.find("ARN_ACCOUNT_NOT_ALLOWED", r.spot, "service", service)
	case region == "" && !fits(3, func(want string) bool { return want == "" }):
		l.find("MISSING_ARN_REGION", r.spot, "service", service)
	case account == "" && resource != "*" && !slices.Contains(ownResources, service) && !fits(4, func(want string) bool { return want == "" }):
		l.find("MISSING_ARN_ACCOUNT", r.spot, "resourceName", parts[5])
	}
}

// meet says whether two globs have a text in common.
func meet(a, b string) bool {
	if !hasWildcard(b) {
		return arn.Glob(a, b)
	}
	// row[j] says whether a[:i] and b[:j] meet.
	row := make([]bool, len(b)+1)
	row[0] = true
	for j := range len(b) {
		row[j+1] = row[j] && b[j] == '*'
	}
	for i := range len(a) {
		next := make([]bool, len(b)+1)
		next[0] = row[0] && a[i] == '*'
		for j := range len(b) {
			switch {
			case a[i] == '*' || b[j] == '*':
				next[j+1] = row[j+1] || next[j] || row[j]
			case a[i] == '?' || b[j] == '?' || a[i] == b[j]:
				next[j+1] = row[j]
			}
		}
		row = next
	}
	return row[len(b)]
}
