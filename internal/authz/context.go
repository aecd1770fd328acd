package authz

import (
	"strconv"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/policy"
)

// Value gives a condition key of the request, in lower case: the operation's own
// keys, those of the caller's identity provider, the tags, the service's keys, then the global keys. It is computed when a
// condition asks for it. A key that cannot exist for the call is absent; see the
// IAM User Guide, "AWS global condition context keys".
func (r *Request) Value(key string) (policy.Value, bool) {
	for i := range r.Check.Pairs {
		if r.Check.Pairs[i].Key == key {
			return r.Check.Pairs[i].Value, true
		}
	}
	if c := identity.Claimed(r.Call.Caller.Claims(), key); c != nil {
		return claimed(c), true
	}
	if slash := strings.IndexByte(key, '/'); slash >= 0 {
		if v, known, ok := r.tag(key[:slash], key[slash+1:]); known {
			return policy.String(v), ok
		}
	}
	if r.Service != nil && r.Service.Key != nil {
		if v, ok := r.Service.Key(r.Call, &r.Check, &r.Object, key); ok {
			return v, true
		}
	}
	if !strings.HasPrefix(key, "aws:") {
		return policy.Value{}, false
	}
	for i := range globalKeys {
		if globalKeys[i].lower == key {
			return globalKeys[i].value(r)
		}
	}
	return policy.Value{}, false
}

// claimed is the value of a claim.
func claimed(c *identity.Claim) policy.Value {
	if c.Many || len(c.Value) != 1 {
		return policy.List(c.Value)
	}
	return policy.String(c.Value[0])
}

// tag gives the value of a tag key; known is false for other keys with a slash.
func (r *Request) tag(prefix, name string) (v string, known, ok bool) {
	switch prefix {
	case "aws:principaltag":
		for _, t := range r.Call.Caller.Tags() {
			if strings.EqualFold(t.Key, name) {
				return t.Value, true, true
			}
		}
	case "aws:requesttag":
		for _, t := range r.Check.Tags {
			if strings.EqualFold(t.Key, name) {
				return t.Value, true, true
			}
		}
	case "aws:resourcetag", "iam:resourcetag":
		if r.Object.Tag != nil {
			v, ok := r.Object.Tag(name)
			return v, true, ok
		}
	default:
		return "", false, false
	}
	return "", true, false
}

// A globalKey is a row of the table of global condition keys.
type globalKey struct {
	name  string
	from  string // where the value comes from, for the explanation
	value func(*Request) (policy.Value, bool)
	lower string
}

func text(s string) (policy.Value, bool) { return policy.String(s), s != "" }

func truth(b bool) (policy.Value, bool) { return policy.String(strconv.FormatBool(b)), true }

func instant(t time.Time) (policy.Value, bool) {
	return policy.String(t.UTC().Format("2006-01-02T15:04:05Z")), !t.IsZero()
}

// mfa is when the caller proved who they are with a code of an MFA device, zero when
// they did not: with this call, or when their session began. Of long-term credentials
// without a code it is not known.
func (r *Request) mfa() (at time.Time, known bool) {
	if !r.Call.MFA.IsZero() {
		return r.Call.MFA, true
	}
	if s := r.Call.Caller.Session; s != nil {
		return s.MFA, true
	}
	return time.Time{}, false
}

func (r *Request) signed() bool { return r.Call.Caller.Type != identity.Anonymous && !r.federated() }

// federated reports whether an identity provider's word stands for a signature.
func (r *Request) federated() bool { return r.Call.Caller.Federation != nil }

var globalKeys = lowered([]globalKey{
	{name: "aws:PrincipalArn", from: "principal", value: func(r *Request) (policy.Value, bool) {
		if role := r.Call.Caller.Role; role != nil {
			return text(role.Arn)
		}
		return text(string(r.Call.Caller.ARN))
	}},
	{name: "aws:PrincipalAccount", from: "principal", value: func(r *Request) (policy.Value, bool) { return text(r.Call.Account) }},
	{name: "aws:PrincipalOrgID", from: "principal", value: func(r *Request) (policy.Value, bool) {
		return text(standingOf(r.Call.State, r.Call.Account).organization)
	}},
	{name: "aws:PrincipalOrgPaths", from: "principal", value: func(r *Request) (policy.Value, bool) {
		return standingOf(r.Call.State, r.Call.Account).orgPaths()
	}},
	{name: "aws:PrincipalType", from: "principal", value: func(r *Request) (policy.Value, bool) {
		if !r.signed() {
			return text("Anonymous")
		}
		return text(string(r.Call.Caller.Type))
	}},
	{name: "aws:userid", from: "principal", value: func(r *Request) (policy.Value, bool) {
		if !r.signed() {
			return text("anonymous")
		}
		return text(r.Call.Caller.UserID)
	}},
	{name: "aws:username", from: "principal", value: func(r *Request) (policy.Value, bool) {
		if c := r.Call.Caller; c.Type == identity.IAMUser {
			return text(c.User.UserName)
		}
		return policy.Value{}, false
	}},
	{name: "aws:PrincipalIsAWSService", from: "principal", value: func(r *Request) (policy.Value, bool) {
		if !r.signed() {
			return policy.Value{}, false
		}
		return truth(r.Call.Caller.Type == identity.AWSService)
	}},
	{name: "aws:PrincipalServiceName", from: "principal", value: func(r *Request) (policy.Value, bool) { return text(r.Call.Caller.Service) }},
	{name: "aws:PrincipalServiceNamesList", from: "principal", value: func(r *Request) (policy.Value, bool) {
		if r.Call.Caller.Service == "" {
			return policy.Value{}, false
		}
		return policy.List([]string{r.Call.Caller.Service}), true
	}},
	{name: "aws:ViaAWSService", from: "call", value: func(r *Request) (policy.Value, bool) {
		if !r.signed() {
			return policy.Value{}, false
		}
		return truth(len(r.Call.Via) > 0)
	}},
	{name: "aws:CalledVia", from: "call", value: func(r *Request) (policy.Value, bool) {
		if len(r.Call.Via) == 0 {
			return policy.Value{}, false
		}
		return policy.List(r.Call.Via), true
	}},
	{name: "aws:CalledViaFirst", from: "call", value: func(r *Request) (policy.Value, bool) {
		if len(r.Call.Via) == 0 {
			return policy.Value{}, false
		}
		return text(r.Call.Via[0])
	}},
	{name: "aws:CalledViaLast", from: "call", value: func(r *Request) (policy.Value, bool) {
		if len(r.Call.Via) == 0 {
			return policy.Value{}, false
		}
		return text(r.Call.Via[len(r.Call.Via)-1])
	}},
	{name: "aws:TokenIssueTime", from: "session", value: func(r *Request) (policy.Value, bool) {
		if s := r.Call.Caller.Session; s != nil {
			return instant(s.Issued)
		}
		return policy.Value{}, false
	}},
	// Absent with long-term credentials: the documented idiom is Deny with BoolIfExists false.
	{name: "aws:MultiFactorAuthPresent", from: "session", value: func(r *Request) (policy.Value, bool) {
		if at, known := r.mfa(); known {
			return truth(!at.IsZero())
		}
		return policy.Value{}, false
	}},
	{name: "aws:MultiFactorAuthAge", from: "session", value: func(r *Request) (policy.Value, bool) {
		if at, _ := r.mfa(); !at.IsZero() {
			return text(strconv.FormatInt(int64(r.Call.Time.Sub(at)/time.Second), 10))
		}
		return policy.Value{}, false
	}},
	{name: "aws:SourceIdentity", from: "session", value: func(r *Request) (policy.Value, bool) {
		if s := r.Call.Caller.Session; s != nil {
			return text(s.SourceIdentity)
		}
		return policy.Value{}, false
	}},
	{name: "aws:FederatedProvider", from: "session", value: func(r *Request) (policy.Value, bool) {
		if s := r.Call.Caller.Session; s != nil {
			return text(s.Provider)
		}
		return policy.Value{}, false
	}},
	{name: "aws:AssumedRoot", from: "session", value: func(r *Request) (policy.Value, bool) {
		if s := r.Call.Caller.Session; s != nil {
			return truth(s.AssumedRoot)
		}
		return policy.Value{}, false
	}},
	{name: "aws:SourceIp", from: "network", value: func(r *Request) (policy.Value, bool) {
		ip := r.Call.Source.IP
		if !ip.IsValid() {
			return policy.Value{}, false
		}
		return text(ip.String())
	}},
	{name: "aws:SecureTransport", from: "network", value: func(r *Request) (policy.Value, bool) { return truth(r.Call.Source.Secure) }},
	{name: "aws:UserAgent", from: "request", value: func(r *Request) (policy.Value, bool) { return text(r.Call.Source.UserAgent) }},
	{name: "aws:Referer", from: "request", value: func(r *Request) (policy.Value, bool) { return text(r.Call.Source.Referer) }},
	{name: "aws:CurrentTime", from: "clock", value: func(r *Request) (policy.Value, bool) { return instant(r.Call.Time) }},
	{name: "aws:EpochTime", from: "clock", value: func(r *Request) (policy.Value, bool) {
		return text(strconv.FormatInt(r.Call.Time.Unix(), 10))
	}},
	{name: "aws:RequestedRegion", from: "request", value: func(r *Request) (policy.Value, bool) { return text(r.Call.Region) }},
	{name: "aws:TagKeys", from: "request", value: func(r *Request) (policy.Value, bool) {
		if len(r.Check.Tags) == 0 {
			return policy.Value{}, false
		}
		keys := make([]string, len(r.Check.Tags))
		for i, t := range r.Check.Tags {
			keys[i] = t.Key
		}
		return policy.List(keys), true
	}},
	{name: "aws:ResourceAccount", from: "resource", value: func(r *Request) (policy.Value, bool) {
		if r.Check.ARN == "*" {
			return policy.Value{}, false
		}
		return text(r.Owner())
	}},
	{name: "aws:ResourceOrgID", from: "resource", value: func(r *Request) (policy.Value, bool) {
		return text(r.resourceStanding().organization)
	}},
	{name: "aws:ResourceOrgPaths", from: "resource", value: func(r *Request) (policy.Value, bool) {
		return r.resourceStanding().orgPaths()
	}},
	// What a service acts for, and whose it is.
	{name: "aws:SourceArn", from: "call", value: func(r *Request) (policy.Value, bool) { return text(string(r.Call.For)) }},
	{name: "aws:SourceAccount", from: "call", value: func(r *Request) (policy.Value, bool) { return text(r.Call.SourceAccount()) }},
	{name: "aws:SourceOrgID", from: "call", value: func(r *Request) (policy.Value, bool) {
		return text(r.sourceStanding().organization)
	}},
	{name: "aws:SourceOrgPaths", from: "call", value: func(r *Request) (policy.Value, bool) {
		return r.sourceStanding().orgPaths()
	}},
})

func lowered(keys []globalKey) []globalKey {
	for i := range keys {
		keys[i].lower = strings.ToLower(keys[i].name)
	}
	return keys
}

// keys lists every condition key of the request that has a value, and where it came from.
func (r *Request) keys() []ContextKey {
	all := make([]ContextKey, 0, len(globalKeys))
	add := func(name, from string, v policy.Value, ok bool) {
		if ok {
			all = append(all, ContextKey{name, v.Strings(), from})
		}
	}
	for i := range globalKeys {
		v, ok := globalKeys[i].value(r)
		add(globalKeys[i].name, globalKeys[i].from, v, ok)
	}
	for _, p := range r.Check.Pairs {
		add(p.Name, "request", p.Value, true)
	}
	for _, c := range r.Call.Caller.Claims() {
		from := "session"
		if r.federated() {
			from = "identity provider"
		}
		add(c.Key, from, claimed(&c), true)
	}
	for _, t := range r.Check.Tags {
		add("aws:RequestTag/"+t.Key, "request", policy.String(t.Value), true)
	}
	for _, t := range r.Call.Caller.Tags() {
		add("aws:PrincipalTag/"+t.Key, "principal", policy.String(t.Value), true)
	}
	for _, k := range r.Object.TagKeys {
		v, ok := r.Object.Tag(k)
		add("aws:ResourceTag/"+k, "resource", policy.String(v), ok)
	}
	return all
}

var _ policy.Context = (*Request)(nil)
