package policy

import (
	"slices"
	"strconv"
	"strings"

	"github.com/iamd-dev/iamd/arn"
)

// operations are calls of S3's API that go by the name of another action.
var operations = map[string]string{
	"s3:completemultipartupload":  "s3:PutObject",
	"s3:copyobject":               "s3:PutObject",
	"s3:createmultipartupload":    "s3:PutObject",
	"s3:deletebucketcors":         "s3:PutBucketCORS",
	"s3:deletebucketencryption":   "s3:PutEncryptionConfiguration",
	"s3:deletebucketlifecycle":    "s3:PutLifecycleConfiguration",
	"s3:deletebuckettagging":      "s3:PutBucketTagging",
	"s3:deleteobjects":            "s3:DeleteObject",
	"s3:getbucketencryption":      "s3:GetEncryptionConfiguration",
	"s3:getbucketlifecycle":       "s3:GetLifecycleConfiguration",
	"s3:headbucket":               "s3:ListBucket",
	"s3:headobject":               "s3:GetObject",
	"s3:listbuckets":              "s3:ListAllMyBuckets",
	"s3:listmultipartuploads":     "s3:ListBucketMultipartUploads",
	"s3:listobjects":              "s3:ListBucket",
	"s3:listobjectsv2":            "s3:ListBucket",
	"s3:listobjectversions":       "s3:ListBucketVersions",
	"s3:listparts":                "s3:ListMultipartUploadParts",
	"s3:putbucketencryption":      "s3:PutEncryptionConfiguration",
	"s3:putbucketlifecycle":       "s3:PutLifecycleConfiguration",
	"s3:uploadpart":               "s3:PutObject",
	"s3:uploadpartcopy":           "s3:PutObject",
	"lambda:invoke":               "lambda:InvokeFunction",
	"dynamodb:transactgetitems":   "dynamodb:GetItem",
	"dynamodb:transactwriteitems": "dynamodb:PutItem",
}

func (l *linter) checkActions(s *lintStatement) {
	for i := range s.actions.items {
		a := &s.actions.items[i]
		l.action(s, a)
		switch l.kind {
		case Trust:
			if !foldPrefix(a.text, "sts:") {
				l.find("UNSUPPORTED_ACTION_IN_POLICY", a.spot, "action", a.text, "resourceType", "AWS::IAM::AssumeRolePolicyDocument")
			}
		case Resource:
			l.actionOfResource(a)
		case RCP:
			l.actionOfRCP(s, a)
		}
	}
	if l.kind == RCP && s.not.action {
		l.find("RCP_SYNTAX_ERROR_NOTACTION", s.actions.spot)
	}
	if s.not.action && s.effect == "Allow" && l.kind != SCP && l.kind != Boundary && l.kind != RCP {
		l.find("IAMD_ALLOW_WITH_NOT_ACTION", s.actions.spot)
	}
	covered, by := redundant(s.actions.items, lowered)
	if covered != nil {
		f := l.find("REDUNDANT_ACTION", covered[0].spot, "redundantActionCount", strconv.Itoa(len(covered)), "redundantAction", covered[0].text)
		for _, c := range covered[1:] {
			f.More = append(f.More, l.location(c.spot))
		}
		f.note("%s includes it", by)
	}
}

// redundant gives the items that another item covers, and the item that covers the
// first of them. Of equal items the first is kept. Texts are compared as fold makes
// them.
func redundant(items []lintText, fold func(string) string) (covered []lintText, by string) {
	folded := make([]string, len(items))
	seen := map[string]int{}
	var patterns []int // the items that can cover others than their like
	for i := range items {
		folded[i] = fold(items[i].text)
		if _, ok := seen[folded[i]]; !ok {
			seen[folded[i]] = i
			if hasWildcard(folded[i]) {
				patterns = append(patterns, i)
			}
		}
	}
	for i := range items {
		j := seen[folded[i]]
		if j == i {
			at := slices.IndexFunc(patterns, func(j int) bool { return folded[j] != folded[i] && covers(folded[j], folded[i]) })
			if at < 0 {
				continue
			}
			j = patterns[at]
		}
		if covered == nil {
			by = items[j].text
		}
		covered = append(covered, items[i])
	}
	return covered, by
}

// covers says whether all that text, a pattern too, stands for is matched by the
// pattern. It errs on the side of no.
func covers(pattern, text string) bool {
	if strings.Contains(pattern, "?") && strings.Contains(text, "*") {
		return pattern == text
	}
	return arn.Glob(pattern, text)
}

func hasWildcard(s string) bool { return strings.ContainsAny(s, "*?") }

func (l *linter) action(s *lintStatement, a *lintText) {
	if v := strings.Index(a.text, "${"); v >= 0 {
		l.find("VARIABLE_UNSUPPORTED_IN_ELEMENT", a.spot, "variable", a.text[v:])
		return
	}
	prefix, name, ok := strings.Cut(a.text, ":")
	switch {
	case a.text == "*":
		return
	case !ok || actionFault(a.text) != "":
		f := l.find("INVALID_ACTION", a.spot, "action", a.text)
		f.mean(l.homeOf(a.text))
		return
	case hasWildcard(prefix):
		l.find("WILDCARD_IN_SERVICE_NAME", a.spot)
		return
	case l.ref.Service == nil:
		return
	}
	service := l.ref.service(prefix)
	if service == nil {
		f := l.find("INVALID_SERVICE_IN_ACTION", a.spot, "service", prefix)
		f.mean(nearest(prefix, l.ref.prefixes()))
		return
	}
	pattern := lowered(name)
	if slices.ContainsFunc(service.Actions, func(x ReferenceAction) bool { return foldGlob(pattern, x.Name) }) {
		return
	}
	f := l.find("INVALID_ACTION", a.spot, "action", a.text)
	if of, ok := operations[lowered(a.text)]; ok {
		f.mean(of)
		f.note("the API called %s is authorised as %s", name, of)
		return
	}
	names := make([]string, len(service.Actions))
	for i := range service.Actions {
		names[i] = service.Actions[i].Name
	}
	if n := nearest(name, names); n != "" {
		f.mean(service.Prefix + ":" + n)
	}
}

// commonServices are where an action without a prefix is looked for.
var commonServices = []string{"s3", "iam", "sts", "ec2", "lambda", "dynamodb", "sqs", "sns", "kms", "logs", "cloudwatch", "ssm", "secretsmanager", "ecs", "cloudformation"}

// homeOf gives the action whose prefix was left out.
func (l *linter) homeOf(name string) string {
	for _, prefix := range commonServices {
		if s := l.ref.service(prefix); s != nil {
			for _, a := range s.Actions {
				if foldEqual(a.Name, name) {
					return prefix + ":" + a.Name
				}
			}
		}
	}
	return ""
}

// lookup gives what is known of an action without wildcards; nil when nothing is.
func (r *Reference) lookup(action string) *ReferenceAction {
	prefix, name, _ := strings.Cut(action, ":")
	s := r.service(prefix)
	if s == nil || hasWildcard(action) {
		return nil
	}
	for i := range s.Actions {
		if foldEqual(s.Actions[i].Name, name) {
			return &s.Actions[i]
		}
	}
	return nil
}

// serviceOf gives the service that a resource policy is about: the one that all its
// resources are of, or all its actions when resources are "*".
func serviceOf(all []*lintStatement) string {
	service, clear := "", true
	see := func(s string) {
		if s == "" || hasWildcard(s) {
			return
		}
		if service != "" && service != s {
			clear = false
		}
		service = s
	}
	for _, s := range all {
		for _, r := range s.resources.items {
			see(arn.ARN(r.text).Service())
		}
	}
	if service != "" && (clear || all[0].mentionsS3()) {
		if !clear {
			return "s3"
		}
		return service
	}
	service, clear = "", true
	for _, s := range all {
		for _, a := range s.actions.items {
			prefix, _, ok := strings.Cut(lowered(a.text), ":")
			if ok {
				see(prefix)
			}
		}
	}
	if !clear {
		return ""
	}
	return service
}

// mentionsS3 says whether the first resource is S3's: then the others are the fault.
func (s *lintStatement) mentionsS3() bool {
	return len(s.resources.items) > 0 && arn.ARN(s.resources.items[0].text).Service() == "s3"
}

// resourceTypes name the resources that policies are attached to, as ValidatePolicy
// calls them.
var resourceTypes = map[string]string{
	"dynamodb": "AWS::DynamoDB::Table", "kms": "AWS::KMS::Key", "lambda": "AWS::Lambda::Function", "s3": "AWS::S3::Bucket",
	"secretsmanager": "AWS::SecretsManager::Secret", "sns": "AWS::SNS::Topic", "sqs": "AWS::SQS::Queue",
}

func resourceType(service string) string {
	if t := resourceTypes[service]; t != "" {
		return t
	}
	return service
}

// actionOfResource checks that a resource's policy is about actions of its service.
func (l *linter) actionOfResource(a *lintText) {
	prefix, _, ok := strings.Cut(lowered(a.text), ":")
	if l.service == "" || !ok || hasWildcard(prefix) {
		return
	}
	known := l.ref.lookup(a.text)
	if prefix != l.service && resourceTypes[l.service] != "" || l.service == "s3" && known != nil && len(known.Resources) == 0 {
		l.find("UNSUPPORTED_ACTION_IN_POLICY", a.spot, "action", a.text, "resourceType", resourceType(l.service))
	}
}

// actionOfRCP checks that resource control policies reach the action's service.
func (l *linter) actionOfRCP(s *lintStatement, a *lintText) {
	prefix, _, _ := strings.Cut(a.text, ":")
	service := l.ref.service(prefix)
	if a.text == "*" && s.effect == "Deny" || hasWildcard(prefix) && a.text != "*" || service != nil && !service.ControlPolicies {
		l.find("RCP_SYNTAX_ERROR_ACTION", a.spot)
	}
}

// handovers are the two actions that hand a role to a service, for which six checks
// each look: what the statement says of the action, what of the resource.
var handovers = []struct {
	action, prefix string
	sample         string // a role of an account, which only a wide pattern matches
	key            string // the condition that narrows it to a service
}{
	{"iam:passrole", "PASS_ROLE_WITH_", "role/4cUnlikelyName", "iam:PassedToService"},
	{"iam:createservicelinkedrole", "CREATE_SLR_WITH_", "role/aws-service-role/4c.unlikely.amazonaws.com/4cUnlikelyName", "iam:AWSServiceName"},
}

func (l *linter) checkGrants(s *lintStatement) {
	if s.effect != "Allow" || l.kind != Identity && l.kind != Session {
		return
	}
	for _, g := range handovers {
		var at *lintText
		said := ""
		for i := range s.actions.items {
			a := &s.actions.items[i]
			switch {
			case !foldGlob(lowered(a.text), g.action):
			case !hasWildcard(a.text):
				at, said = a, "NAMED"
			case at == nil:
				at, said = a, "STAR"
			}
		}
		switch {
		case s.not.action && at == nil:
			at, said = &lintText{spot: s.actions.spot}, "NOT"
		case s.not.action || at == nil:
			continue
		}
		if s.not.resource {
			l.find(g.prefix+map[string]string{
				"NAMED": "NOT_RESOURCE", "STAR": "STAR_IN_ACTION_AND_NOT_RESOURCE", "NOT": "NOT_ACTION_AND_NOT_RESOURCE",
			}[said], at.spot)
			continue
		}
		wide := slices.ContainsFunc(s.resources.items, func(r lintText) bool { return matchesRole(r.text, g.sample) })
		if c := s.condition(g.key); wide && (c == nil || slices.ContainsFunc(c.values, func(v lintText) bool { return strings.HasPrefix(v.text, "*") })) {
			l.find(g.prefix+map[string]string{
				"NAMED": "STAR_IN_RESOURCE", "STAR": "STAR_IN_ACTION_AND_RESOURCE", "NOT": "STAR_IN_RESOURCE_AND_NOT_ACTION",
			}[said], at.spot)
		}
	}
}

// matchesRole says whether the pattern matches a role of that name in its account.
func matchesRole(pattern, role string) bool {
	if pattern == "*" {
		return true
	}
	account := "111122223333"
	if a := arn.ARN(pattern).Account(); isAccount(a) {
		account = a
	}
	return arn.Glob(pattern, "arn:aws:iam::"+account+":"+role)
}
