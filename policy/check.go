package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/arn"
)

// Malformed is the refusal of a document by the service that would have stored it.
// Text is AWS's own; the error code (MalformedPolicyDocument, MalformedPolicy,
// MalformedPolicyDocumentException) is the service's business.
type Malformed struct {
	Text         string
	Line, Column int // where the fault is, counted from 1
}

func (e *Malformed) Error() string { return e.Text }

// Check reads a document as the service that stores policies of this kind does and
// gives the first fault, in AWS's order, as *Malformed: IAM for identity, boundary,
// session and trust policies, S3 for resource policies, Organizations for service
// and resource control policies.
//
// What needs more than the document is the caller's to check: that principals
// exist, that a bucket policy is about its bucket, and sizes, for which see [Size].
func Check(src []byte, k Kind) (*Policy, error) {
	p, faults := parse(src)
	var e *Malformed
	switch k {
	case Identity, Boundary, Session:
		e = checkIdentity(p, faults)
	case Trust:
		e = checkTrust(p, faults)
	case Resource:
		e = checkResource(src, p, faults, "s3")
	case SCP, RCP:
		e = checkOrganization(p, faults, k)
	default:
		e = &Malformed{Text: "Unknown kind of policy."}
	}
	if e != nil {
		return nil, e
	}
	return p, nil
}

// CheckResource reads a resource-based policy of a service, "dynamodb", as S3 reads
// bucket policies: its actions and resources must be that service's.
func CheckResource(src []byte, service string) (*Policy, error) {
	p, faults := parse(src)
	if e := checkResource(src, p, faults, service); e != nil {
		return nil, e
	}
	return p, nil
}

// Size counts the characters of a document as IAM's quotas do: without spaces, tabs
// and line ends.
func Size(document string) int {
	n := 0
	for _, c := range document {
		switch c {
		case ' ', '\t', '\n', '\r':
		default:
			n++
		}
	}
	return n
}

func malformed(line, column int, format string, args ...any) *Malformed {
	return &Malformed{Text: fmt.Sprintf(format, args...), Line: line, Column: column}
}

// malformed makes a refusal of a syntax error.
func (e *SyntaxError) malformed(format string, args ...any) *Malformed {
	return malformed(e.Line, e.Column, format, args...)
}

// malformed makes a refusal of a whole statement.
func (s *Statement) malformed(format string, args ...any) *Malformed {
	return malformed(s.Line, s.Column, format, args...)
}

// checkIdentity follows CreatePolicy. Where a document has two faults, the order in
// which they are looked for here was seen in answers of the live service, but where
// it is marked as assumed.
func checkIdentity(p *Policy, faults []*SyntaxError) *Malformed {
	for _, f := range faults {
		if f.fault != faultEffectCase && f.fault != faultNoAction {
			return f.malformed("Syntax errors in policy.")
		}
	}
	if c := unknownOperator(p); c != nil {
		return malformed(c.Line, c.Column, "Syntax errors in policy.")
	}
	if p.Version != "2012-10-17" {
		return malformed(1, 1, "Policy document must be version 2012-10-17 or greater.")
	}

	for _, f := range faults {
		if f.fault == faultEffectCase {
			return f.malformed("The policy failed legacy parsing")
		}
	}
	for i := range p.Statements {
		s := &p.Statements[i]
		if c := badValue(s); c != nil {
			return malformed(c.Line, c.Column, "The policy failed legacy parsing")
		}
		for j, r := range s.resources() {
			if failsLegacyParsing(r) {
				return malformed(s.resourceAt[j].line, s.resourceAt[j].column, "The policy failed legacy parsing")
			}
		}
	}

	for i := range p.Statements {
		s := &p.Statements[i]
		if s.Principal != nil || s.NotPrincipal != nil { // place in the order assumed
			return s.malformed("Policy document should not specify a principal.")
		}
	}
	for i := range p.Statements {
		s := &p.Statements[i]
		// Place in the order assumed. Underscores pass, although the text does not say so.
		if strings.IndexFunc(s.Sid, func(c rune) bool { return c != '_' && !alphanumeric(c) }) >= 0 {
			return s.malformed("Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*")
		}
	}
	if s := repeatedSid(p); s != nil {
		return s.malformed("Statement IDs (SID) in a single policy must be unique.")
	}

	for i := range p.Statements {
		s := &p.Statements[i]
		if len(s.Action)+len(s.NotAction) == 0 {
			return s.malformed("Policy statement must contain actions.")
		}
	}
	for i := range p.Statements {
		s := &p.Statements[i]
		if len(s.Resource)+len(s.NotResource) == 0 {
			return s.malformed("Policy statement must contain resources.")
		}
	}
	for i := range p.Statements {
		s := &p.Statements[i]
		for j, r := range s.resources() {
			if text := resourceFault(r); text != "" {
				return malformed(s.resourceAt[j].line, s.resourceAt[j].column, "%s", text)
			}
		}
	}
	for i := range p.Statements {
		s := &p.Statements[i]
		for j, a := range s.actions() {
			if text := actionFault(a); text != "" {
				return malformed(s.actionAt[j].line, s.actionAt[j].column, "%s", text)
			}
		}
	}
	return nil
}

// actions gives the items of Action or NotAction.
func (s *Statement) actions() []string {
	if s.NotAction != nil {
		return s.NotAction
	}
	return s.Action
}

// resources gives the items of Resource or NotResource.
func (s *Statement) resources() []string {
	if s.NotResource != nil {
		return s.NotResource
	}
	return s.Resource
}

// unknownOperator gives the first condition whose operator does not exist. An
// operator without keys may be called anything.
func unknownOperator(p *Policy) *Condition {
	for i := range p.Statements {
		for j := range p.Statements[i].Condition {
			c := &p.Statements[i].Condition[j]
			if o, _, _ := parseOperator(c.Operator); o == nil && c.Values != nil {
				return c
			}
		}
	}
	return nil
}

// badValue gives the first condition of the statement with a value that is not of
// its operator's kind. AWS is known to refuse bad dates; other kinds are assumed to
// be refused in the same way. Strings may be anything.
func badValue(s *Statement) *Condition {
	for i := range s.Condition {
		c := &s.Condition[i]
		o, _, _ := parseOperator(c.Operator)
		if o == nil || strings.HasPrefix(o.name, "String") || strings.HasPrefix(o.name, "Arn") {
			continue
		}
		for _, v := range c.Values {
			if !o.accepts(v, false) && !strings.Contains(v, "${") {
				return c
			}
		}
	}
	return nil
}

func alphanumeric(c rune) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// repeatedSid gives the first statement whose Sid another one before it has. Empty
// ones do not count.
func repeatedSid(p *Policy) *Statement {
	seen := map[string]bool{}
	for i := range p.Statements {
		s := &p.Statements[i]
		if s.Sid != "" && seen[s.Sid] {
			return s
		}
		seen[s.Sid] = true
	}
	return nil
}

// partition says whether s is one of AWS's partitions.
func partition(s string) bool {
	return s == "aws" || s == "aws-cn" || s == "aws-us-gov" || s == "aws-eusc" ||
		strings.HasPrefix(s, "aws-iso")
}

// failsLegacyParsing says whether IAM's older parser, which runs before most
// checks, refuses a resource: an ARN of a known partition that has an empty
// service, or empty parts and too few of them.
func failsLegacyParsing(resource string) bool {
	parts := strings.Split(resource, ":")
	if len(parts) < 3 || parts[0] != "arn" || !partition(parts[1]) {
		return false
	}
	return parts[2] == "" || len(parts) < 6 && strings.Contains(resource, "::")
}

// iamPaths are the beginnings of IAM's resources, as IAM's refusal lists them.
var iamPaths = []string{
	"user/", "federated-user/", "role/", "group/", "instance-profile/", "mfa/", "server-certificate/",
	"policy/", "sms-mfa/", "saml-provider/", "oidc-provider/", "report/", "access-report/",
}

// newIAMPaths are those that came after that refusal was last seen.
var newIAMPaths = []string{"role-template/", "delegation-request/"}

// resourceFault gives IAM's refusal of a resource, or "".
func resourceFault(resource string) string {
	if resource == "*" {
		return ""
	}
	parts := strings.SplitN(resource, ":", 6)
	if len(parts) < 2 {
		return fmt.Sprintf(`Resource %s must be in ARN format or "*".`, resource)
	}
	missing := len(parts) < 3
	for len(parts) < 6 {
		parts = append(parts, "*") // IAM fills up an ARN that is too short
	}
	service, region, path := parts[2], parts[3], parts[5]
	switch {
	case !partition(parts[1]) && parts[1] != "*":
		parts[0] = "arn" // whatever it was
		return fmt.Sprintf(`Partition "%s" is not valid for resource "%s".`, parts[1], strings.Join(parts, ":"))
	case missing || strings.ContainsAny(service, "*?"):
		return "Resource vendor must be fully qualified and cannot contain regexes."
	case service == "iam" && region != "" && region != "*":
		return fmt.Sprintf("IAM resource %s cannot contain region information.", resource)
	case service == "iam" && path != "root" && !slices.ContainsFunc(slices.Concat(iamPaths, newIAMPaths), func(p string) bool { return startsLike(path, p) }):
		return `IAM resource path must either be "*", root, or start with ` + strings.Join(iamPaths, ", ") + "."
	case service == "s3" && region != "" && region != "*" && !regionalS3(path):
		return fmt.Sprintf("Resource %s can not contain region information.", resource)
	}
	return ""
}

// startsLike says whether path may stand for something that begins with want: it
// does so itself, as far as it goes before its first wildcard or variable.
func startsLike(path, want string) bool {
	if end := strings.IndexAny(path, "*?$"); end >= 0 && end < len(want) {
		return strings.HasPrefix(want, path[:end])
	}
	return strings.HasPrefix(path, want)
}

// regionalS3 says whether an S3 resource is of a kind that lives in a region: an
// access point, a job, a lens, a grant. A bucket does not.
func regionalS3(path string) bool {
	for _, kind := range []string{"accesspoint/", "job/", "storage-lens/", "storage-lens-group/", "access-grants/", "async-request/"} {
		if startsLike(path, kind) {
			return true
		}
	}
	return false
}

// actionFault gives IAM's refusal of an action, or "".
func actionFault(action string) string {
	if action == "*" {
		return ""
	}
	vendor, _, ok := strings.Cut(action, ":")
	switch {
	case !ok:
		return "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
	case strings.Count(action, ":") > 1:
		return "Actions/Condition can contain only one colon."
	case vendor == "" || strings.Trim(vendor, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._*") != "":
		return fmt.Sprintf("Vendor %s is not valid", vendor)
	}
	return ""
}

// trustActions are the actions that a trust policy may allow.
var trustActions = []string{
	"sts:AssumeRole", "sts:AssumeRoleWithSAML", "sts:AssumeRoleWithWebIdentity",
	"sts:SetContext", "sts:SetSourceIdentity", "sts:TagSession",
}

// checkTrust follows CreateRole and UpdateAssumeRolePolicy.
func checkTrust(p *Policy, faults []*SyntaxError) *Malformed {
	for _, f := range faults {
		if f.fault == faultJSON || f.fault == faultNotObject {
			return f.malformed("This policy contains invalid Json")
		}
	}
	if e := elementFault(p, faults, "Syntax error in policy."); e != nil {
		return e
	}
	for i := range p.Statements {
		s := &p.Statements[i]
		switch {
		case s.NotPrincipal != nil && s.Effect == "Allow":
			return s.malformed("Allow with NotPrincipal is not allowed.")
		case s.NotPrincipal != nil:
			return s.malformed("AssumeRole policy must not contain NotPrincipal field.")
		case s.Principal == nil:
			return s.malformed("Missing required field Principal")
		case len(s.Principal) == 0:
			return s.malformed("Missing required field Principal cannot be empty!")
		case s.Resource != nil:
			return s.malformed("Has prohibited field Resource")
		case s.NotResource != nil:
			return s.malformed("AssumeRole policy must not contain resources.")
		case len(s.actions()) == 0:
			return s.malformed("Missing required field Action")
		case s.NotAction != nil:
			return s.malformed("AssumeRole policy may only specify STS AssumeRole actions.")
		}
		for j, a := range s.Action {
			if !slices.ContainsFunc(trustActions, func(t string) bool { return foldEqual(a, t) }) {
				return malformed(s.actionAt[j].line, s.actionAt[j].column, "AssumeRole policy may only specify STS AssumeRole actions.")
			}
		}
		for _, n := range s.Principal {
			if !n.valid() {
				return malformed(n.Line, n.Column, `Invalid principal in policy: "%s":"%s"`, strings.ToUpper(n.Kind), n.Value)
			}
		}
		if c := badValue(s); c != nil {
			return malformed(c.Line, c.Column, "Syntax error in policy.")
		}
		cognito := slices.ContainsFunc(s.Principal, func(n Name) bool { return n.Value == "cognito-identity.amazonaws.com" })
		if cognito && s.Effect == "Allow" && len(s.Condition) == 0 {
			return s.malformed("A condition block must be present for the Cognito provider")
		}
	}
	if c := unknownOperator(p); c != nil {
		return malformed(c.Line, c.Column, "Syntax error in policy.")
	}
	if s := repeatedSid(p); s != nil {
		return s.malformed("The Statement Ids in the policy are not unique")
	}
	return nil
}

// elementFault words the faults that trust policies and bucket policies have in
// common; those of the grammar get the text given.
func elementFault(p *Policy, faults []*SyntaxError, grammar string) *Malformed {
	for _, f := range faults {
		switch f.fault {
		case faultVersion:
			return f.malformed("The policy must contain a valid version string")
		case faultNoStatement:
			return f.malformed("Missing required field Statement")
		case faultEmptyStatement:
			return f.malformed("Could not parse the policy: Statement is empty!")
		case faultNoEffect:
			return f.malformed("Missing required field Effect")
		case faultEffect, faultEffectCase:
			for i := range p.Statements {
				if e := p.Statements[i].Effect; e != "Allow" && e != "Deny" {
					return f.malformed("Invalid effect: %s", e)
				}
			}
		case faultPrincipalText:
			return f.malformed("Principal must be a JSON object.")
		case faultNoAction: // comes after what else a statement lacks
		default:
			return f.malformed("%s", grammar)
		}
	}
	return nil
}

// valid says whether the name has the form of a principal of its kind. Only the
// whole of it may be a star.
func (n *Name) valid() bool {
	switch n.Kind {
	case "":
		return n.Value == "*"
	case "AWS":
		if n.Value == "*" || isAccount(n.Value) || len(n.Value) > 16 && strings.IndexFunc(n.Value, func(c rune) bool { return !alphanumeric(c) }) < 0 {
			return true // an unique id has letters and digits only
		}
		if id, session, ok := strings.Cut(n.Value, ":"); ok && len(id) > 16 && strings.IndexFunc(id, func(c rune) bool { return !alphanumeric(c) }) < 0 {
			return session != "" && !strings.ContainsAny(session, ":*?/") // a session of a role, by the role's id
		}
		a, err := arn.Parse(n.Value)
		if err != nil || strings.ContainsAny(n.Value, "*?") {
			return false
		}
		kind, _, _ := strings.Cut(a.Resource(), "/")
		switch a.Service() {
		case "iam":
			return kind == "user" || kind == "role" || a.Resource() == "root"
		case "sts":
			return kind == "assumed-role" || kind == "federated-user"
		}
		return false
	case "Service":
		return strings.Contains(n.Value, ".") && !strings.ContainsAny(n.Value, "*? :/")
	case "Federated", "CanonicalUser":
		return n.Value != "" && !strings.ContainsAny(n.Value, "*? ")
	}
	return false
}

// checkResource follows PutBucketPolicy, for whatever service.
func checkResource(src []byte, p *Policy, faults []*SyntaxError, service string) *Malformed {
	if len(src) == 0 || src[0] != '{' {
		return malformed(1, 1, "Policies must be valid JSON and the first byte must be '{'")
	}
	for _, f := range faults {
		if f.fault == faultJSON {
			return f.malformed("This policy contains invalid Json")
		}
		if f.fault == faultPrincipalText {
			return f.malformed("Invalid principal in policy")
		}
	}
	if e := elementFault(p, faults, "This policy contains invalid Json"); e != nil {
		return e
	}
	for i := range p.Statements {
		s := &p.Statements[i]
		names := s.Principal
		switch {
		case s.NotPrincipal != nil && s.Effect == "Allow":
			return s.malformed("Allow with NotPrincipal is not allowed.")
		case s.NotPrincipal != nil:
			names = s.NotPrincipal
		case s.Principal == nil:
			return s.malformed("Missing required field Principal")
		}
		switch {
		case len(names) == 0:
			return s.malformed("Missing required field Principal cannot be empty!")
		case len(s.actions()) == 0:
			return s.malformed("Missing required field Action")
		case len(s.resources()) == 0:
			return s.malformed("Missing required field Resource")
		}
		for _, n := range names {
			if !n.valid() {
				return malformed(n.Line, n.Column, "Invalid principal in policy")
			}
		}
		for j, a := range s.actions() {
			if a != "*" && !foldPrefix(a, service+":") {
				return malformed(s.actionAt[j].line, s.actionAt[j].column, "Policy has invalid action")
			}
		}
		for j, r := range s.resources() {
			a, err := arn.Parse(r)
			if err != nil || a.Service() != service || !partition(a.Partition()) {
				return malformed(s.resourceAt[j].line, s.resourceAt[j].column, "Policy has invalid resource")
			}
		}
		if c := badValue(s); c != nil {
			return malformed(c.Line, c.Column, "This policy contains invalid Json")
		}
	}
	if c := unknownOperator(p); c != nil {
		return malformed(c.Line, c.Column, "Invalid Condition type : %s", c.Operator)
	}
	if s := repeatedSid(p); s != nil {
		return s.malformed("The Statement Ids in the policy are not unique")
	}
	return nil
}

// checkOrganization follows Organizations' CreatePolicy, which has one text for all
// faults.
func checkOrganization(p *Policy, faults []*SyntaxError, k Kind) *Malformed {
	const text = "The provided policy document does not meet the requirements of the specified policy type."
	for _, f := range faults {
		return f.malformed(text)
	}
	if c := unknownOperator(p); c != nil {
		return malformed(c.Line, c.Column, text)
	}
	if s := repeatedSid(p); s != nil {
		return s.malformed(text)
	}
	if p.Version != "2012-10-17" {
		return malformed(1, 1, text)
	}
	for i := range p.Statements {
		s := &p.Statements[i]
		if len(s.actions()) == 0 || len(s.resources()) == 0 || badValue(s) != nil || s.NotPrincipal != nil {
			return s.malformed(text)
		}
		switch k {
		case SCP:
			if s.Principal != nil {
				return s.malformed(text)
			}
		case RCP: // customers' own may only deny, and to all principals
			everyone := len(s.Principal) == 1 && s.Principal[0].Value == "*"
			if s.Effect != "Deny" || !everyone || s.NotAction != nil || slices.Contains(s.Action, "*") {
				return s.malformed(text)
			}
		}
		for j, a := range s.actions() {
			if actionFault(a) != "" {
				return malformed(s.actionAt[j].line, s.actionAt[j].column, text)
			}
		}
		for j, r := range s.resources() {
			if failsLegacyParsing(r) || resourceFault(r) != "" {
				return malformed(s.resourceAt[j].line, s.resourceAt[j].column, text)
			}
		}
	}
	return nil
}
