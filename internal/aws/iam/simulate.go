package iam

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/authz"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/reference"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/policy"
)

// The policy simulator. It asks the decision itself (authz.Simulate) about calls
// that nobody makes, and tells the answer in AWS's form.
//
// Other than AWS's, it asks the trust policy of a role that is to be assumed: the
// ResourcePolicy of the simulation or, when the policies of a principal are
// simulated, that of the role in the account.

// policySource is the user, group or role whose policies are simulated.
var policySource = service.ARN("{PolicySourceArn}")

// sourceChecked refuses a source that is none or is another account's.
func sourceChecked[In any]() service.Clause {
	sourceARN := field[string](reflect.TypeFor[In](), "PolicySourceArn")
	return service.Before(func(c *service.Call, in *In) error {
		e, err := subjectOf(sourceARN(in))
		if err != nil {
			return err
		}
		if e.account != c.Account {
			return api.InvalidInput("Invalid Policy Source Arn: caller's account %s does not have access to policies in account %s", c.Account, e.account)
		}
		return nil
	})
}

// A subject is a user, group or role as its ARN names it.
type subject struct {
	arn           arn.ARN
	kind          identity.Kind
	account, name string
}

func subjectOf(text string) (subject, error) {
	a, err := arn.Parse(text)
	word, name, _ := strings.Cut(a.Resource(), "/")
	e := subject{a, identity.Kind(word), a.Account(), name[strings.LastIndexByte(name, '/')+1:]}
	known := e.kind == identity.UserKind || e.kind == identity.GroupKind || e.kind == identity.RoleKind
	if err != nil || a.Service() != "iam" || !known || e.name == "" || !identity.ValidAccount(e.account) {
		return subject{}, api.InvalidInput("Invalid Entity Arn: %s does not clearly define entity type and name.", text)
	}
	return e, nil
}

// simulatedSession is the name of the session in which a role is simulated: there is
// no call without one, and a resource policy that names the role grants to its
// sessions.
const simulatedSession = "PolicySimulator"

// caller is somebody of whom nothing is known but the ARN.
func (e *subject) caller() *identity.Caller {
	switch e.kind {
	case identity.RoleKind:
		role := &identity.Role{Role: api.Role{Arn: string(e.arn), RoleName: e.name}}
		return &identity.Caller{Type: identity.AssumedRole, Account: e.account, ARN: identity.AssumedRoleARN(e.account, e.name, simulatedSession), Role: role}
	case identity.UserKind:
		user := &identity.User{User: api.User{Arn: string(e.arn), UserName: e.name}}
		return &identity.Caller{Type: identity.IAMUser, Account: e.account, ARN: e.arn, User: user}
	}
	return &identity.Caller{Type: identity.IAMUser, Account: e.account, ARN: e.arn, User: &identity.User{}}
}

// source finds the entity whose policies are simulated: who calls, and what bears on
// every call of theirs.
func (e *subject) source(c *service.Call) (*identity.Caller, authz.Layers, error) {
	caller := e.caller()
	switch e.kind {
	case identity.UserKind:
		if u := identity.UserByARN(c.State, e.arn); u != nil {
			caller.User, caller.UserID = u, u.UserId
			return caller, bearing(c, caller), nil
		}
	case identity.RoleKind:
		if r := identity.RoleByARN(c.State, e.arn); r != nil {
			caller.Role, caller.UserID = r, r.RoleId+":"+simulatedSession
			return caller, bearing(c, caller), nil
		}
	case identity.GroupKind:
		if g := groups.find(c.State, e.account, e.name); g != nil && g.Arn == string(e.arn) {
			return caller, authz.Layers{Identity: authz.GroupPolicies(c.State, g)}, nil
		}
	}
	return nil, authz.Layers{}, api.NoSuchEntity("Unable to retrieve specified IAM entity.")
}

func bearing(c *service.Call, caller *identity.Caller) authz.Layers {
	return authz.Bearing(&authz.Request{
		Call:  &service.Call{Account: caller.Account, Caller: caller, State: c.State, Time: c.Time},
		Check: service.Check{Target: service.Target{ARN: "*"}},
	})
}

func (s *Service) simulatePrincipalPolicy(ctx context.Context, c *service.Call, in *api.SimulatePrincipalPolicyInput) (*api.SimulatePrincipalPolicyOutput, error) {
	source, err := subjectOf(in.PolicySourceArn)
	if err != nil {
		return nil, err
	}
	caller, layers, err := source.source(c)
	if err != nil {
		return nil, err
	}
	if in.CallerArn != "" && in.CallerArn != in.PolicySourceArn {
		e, err := subjectOf(in.CallerArn)
		if err != nil {
			return nil, err
		}
		caller = e.caller() // tags and ids of others are not the caller's to learn
	}
	if err := exclude(in, &layers); err != nil {
		return nil, err
	}
	return simulate(ctx, c, in, caller, layers, true)
}

func (s *Service) simulateCustomPolicy(ctx context.Context, c *service.Call, in *api.SimulateCustomPolicyInput) (*api.SimulateCustomPolicyOutput, error) {
	caller := (&subject{account: c.Account}).caller()
	if in.CallerArn != "" {
		e, err := subjectOf(in.CallerArn)
		if err != nil {
			return nil, err
		}
		caller = e.caller()
	} else if in.ResourcePolicy != "" {
		return nil, api.InvalidInput("Invalid caller - Caller cannot be null or empty.")
	}
	var layers authz.Layers
	for i, level := range in.OrderedOrganizationPolicyInputList {
		if len(level.ServiceControlPolicyInputList) == 0 {
			return nil, api.InvalidInput("Organization policy at index %d must contain at least one service control policy.", i+1)
		}
		var policies []authz.Policy
		for j, text := range level.ServiceControlPolicyInputList {
			p, err := simulatedPolicy(fmt.Sprintf("OrderedOrganizationPolicyInputList.%d.ServiceControlPolicyInputList.%d", i+1, j+1), text, policy.SCP)
			if err != nil {
				return nil, err
			}
			policies = append(policies, p)
		}
		layers.SCP = append(layers.SCP, policies)
	}
	out, err := simulate(ctx, c, &api.SimulatePrincipalPolicyInput{
		PolicyInputList:                    in.PolicyInputList,
		PermissionsBoundaryPolicyInputList: in.PermissionsBoundaryPolicyInputList,
		ActionNames:                        in.ActionNames,
		ResourceArns:                       in.ResourceArns,
		ResourcePolicy:                     in.ResourcePolicy,
		ResourceOwner:                      in.ResourceOwner,
		ContextEntries:                     in.ContextEntries,
		ResourceHandlingOption:             in.ResourceHandlingOption,
		MaxItems:                           in.MaxItems,
		Marker:                             in.Marker,
	}, caller, layers, false)
	if err != nil {
		return nil, err
	}
	return (*api.SimulateCustomPolicyOutput)(out), nil
}

// exclude takes policies out of the simulation: what if they were not attached?
// Identifiers that are of no policy here are no mistake.
func exclude(in *api.SimulatePrincipalPolicyInput, l *authz.Layers) error {
	without := func(out func(*authz.Policy) bool) {
		l.Identity = slices.DeleteFunc(slices.Clone(l.Identity), func(p authz.Policy) bool { return out(&p) })
	}
	for _, x := range in.PolicyExclusionList {
		of := x.InlinePolicyIdentifier
		switch {
		case x.PolicyType != "" && x.PolicyArn == "" && of == nil:
			switch x.PolicyType {
			case "inline":
				without(func(p *authz.Policy) bool { return p.ARN == "" })
			case "aws-managed":
				without(func(p *authz.Policy) bool { return p.ARN != "" && isAWS(p.ARN) })
			case "user-managed":
				without(func(p *authz.Policy) bool { return p.ARN != "" && !isAWS(p.ARN) })
			case "permission-boundary":
				l.Boundary, l.Bounded = nil, false
			case "scp":
				l.SCP = nil
			case "rcp": // AWS ignores it
			}
		case x.PolicyArn != "" && x.PolicyType == "" && of == nil:
			a, err := arn.Parse(x.PolicyArn)
			before := strings.TrimSuffix(x.PolicyArn, a.Resource())
			if err != nil || a.Service() != "iam" || !strings.HasPrefix(a.Resource(), "policy/") || strings.ContainsAny(before, "*?") || strings.Count(a.Resource(), "*") > 1 {
				return api.InvalidInput("Invalid Policy Exclusion List: %s does not identify managed policies.", x.PolicyArn)
			}
			without(func(p *authz.Policy) bool { return p.ARN != "" && arn.Glob(x.PolicyArn, string(p.ARN)) })
		case of != nil && x.PolicyType == "" && x.PolicyArn == "":
			if strings.Count(of.AttachmentName, "*") > 1 {
				return api.InvalidInput("Invalid Policy Exclusion List: %s has more than one *.", of.AttachmentName)
			}
			without(func(p *authz.Policy) bool {
				kind, owner, name, ok := p.Inline()
				return ok && name == of.PolicyName && kind == of.AttachmentType && arn.Glob(of.AttachmentName, owner)
			})
		default:
			return api.InvalidInput("Invalid Policy Exclusion List: an entry has exactly one of PolicyType, PolicyArn and InlinePolicyIdentifier.")
		}
	}
	return nil
}

// A simulation is what all questions of one call have in common.
type simulation struct {
	call   *service.Call
	caller *identity.Caller
	layers authz.Layers
	given  identity.Document // ResourcePolicy; zero when there is none
	owner  string            // account of resources that do not say theirs
	pairs  []service.Pair    // ContextEntries
	trust  bool              // roles of the account are asked for their trust policies
	places map[string][]place
}

const (
	maxSimulatedResources = 1000    // resources in a simulation
	maxSimulatedWork      = 500_000 // of a page of results, which may be shorter than MaxItems; see work
)

// simulate asks about every action on every resource, one result an action.
func simulate(ctx context.Context, c *service.Call, in *api.SimulatePrincipalPolicyInput, caller *identity.Caller, layers authz.Layers, trust bool) (*api.SimulatePrincipalPolicyOutput, error) {
	q := &simulation{call: c, caller: caller, layers: layers, trust: trust, places: map[string][]place{}}
	if err := q.take(in); err != nil {
		return nil, err
	}
	resources := in.ResourceArns
	if len(resources) == 0 {
		resources = []string{"*"}
	}
	limit := int32(defaultItems)
	if in.MaxItems != nil {
		limit = *in.MaxItems
	}
	work := len(resources) * q.work() // of an action
	if work > 4*maxSimulatedWork {
		return nil, api.InvalidInput("The simulation of %d resources by policies of this size is too large.", len(resources))
	}
	limit = min(limit, int32(max(1, maxSimulatedWork/work)))
	actions, err := paged(in.Marker, &limit, slice(in.ActionNames))
	if err != nil {
		return nil, err
	}
	out := &api.SimulatePrincipalPolicyOutput{EvaluationResults: []api.EvaluationResult{}, IsTruncated: actions.More, Marker: actions.Marker}
	for _, action := range actions.Items {
		answers := make([]simulated, len(resources))
		for i, resource := range resources {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			answers[i] = q.ask(policy.Action(action), arn.ARN(resource))
		}
		out.EvaluationResults = append(out.EvaluationResults, q.result(action, resources, answers))
	}
	return out, nil
}

// take checks the inputs and takes over what they add to the simulation.
func (q *simulation) take(in *api.SimulatePrincipalPolicyInput) error {
	for i, text := range in.PolicyInputList {
		p, err := simulatedPolicy("PolicyInputList."+strconv.Itoa(i+1), text, policy.Identity)
		if err != nil {
			return err
		}
		q.layers.Identity = append(slices.Clip(q.layers.Identity), p)
	}
	switch list := in.PermissionsBoundaryPolicyInputList; len(list) {
	case 0:
	case 1:
		p, err := simulatedPolicy("PermissionsBoundaryPolicyInputList.1", list[0], policy.Boundary)
		if err != nil {
			return err
		}
		q.layers.Boundary, q.layers.Bounded = &p, true
	default:
		return api.InvalidInput("The list of Permissions Boundary policies cannot exceed 1 items.")
	}
	for _, action := range in.ActionNames {
		prefix, name, ok := strings.Cut(action, ":")
		if !ok || prefix == "" || name == "" || strings.ContainsAny(action, "*? ") || strings.Contains(name, ":") {
			return api.InvalidInput("Invalid Input Actions: %s is not the name of an action.", action)
		}
	}
	if len(in.ResourceArns) > maxSimulatedResources {
		return api.InvalidInput("The list of resources cannot exceed %d items.", maxSimulatedResources)
	}
	all := len(in.ResourceArns) == 0
	for _, resource := range in.ResourceArns {
		if resource == "*" && len(in.ResourceArns) == 1 {
			all = true
			break
		}
		if _, err := arn.Parse(resource); err != nil {
			return api.InvalidInput("ResourceNames are not in a valid ARN format: %s.", resource)
		}
	}
	if in.ResourcePolicy != "" {
		if all {
			return api.InvalidInput("ResourceNames are not in a valid ARN format: *.")
		}
		kind := policy.Resource
		if isTrust(policy.Action(in.ActionNames[0]), arn.ARN(in.ResourceArns[0])) {
			kind = policy.Trust
		}
		p, err := simulatedPolicy(resourcePolicyID, in.ResourcePolicy, kind)
		if err != nil {
			return err
		}
		q.given = p.Document
	}
	if in.ResourceOwner != "" {
		owner, err := arn.Parse(in.ResourceOwner)
		if err != nil || owner.Service() != "iam" || owner.Resource() != "root" || !identity.ValidAccount(owner.Account()) {
			return api.InvalidInput("'%s' is not a valid as a Resource Owner.", in.ResourceOwner)
		}
		q.owner = owner.Account()
	}
	for i := range in.ContextEntries {
		pair, err := pairOf(&in.ContextEntries[i])
		if err != nil {
			return err
		}
		if slices.ContainsFunc(q.pairs, func(p service.Pair) bool { return p.Key == pair.Key }) {
			return api.InvalidInput("Invalid Context Entries: %s is there twice.", pair.Name)
		}
		q.pairs = append(q.pairs, pair)
	}
	return checkHandling(in)
}

const resourcePolicyID = "ResourcePolicy"

func simulatedPolicy(id, text string, k policy.Kind) (authz.Policy, error) {
	_, err := policy.Check([]byte(text), k)
	if bad, ok := err.(*policy.Malformed); ok {
		return authz.Policy{}, api.InvalidInput("%s", bad.Text)
	} else if err != nil {
		return authz.Policy{}, err
	}
	return authz.Policy{Name: id, Document: identity.NewDocument(text)}, nil
}

// isTrust reports whether a role's trust policy decides on the action.
func isTrust(action policy.Action, resource arn.ARN) bool {
	return len(action) > 4 && strings.EqualFold(string(action[:4]), "sts:") &&
		resource.Service() == "iam" && strings.HasPrefix(resource.Resource(), string(identity.RoleKind)+"/")
}

// contextTypes are the types of context entries: whether an entry is a list, and
// what each value is, as the request would have it.
var contextTypes = map[string]struct {
	list  bool
	value func(string) (string, bool)
}{
	"string": {false, anyText}, "stringList": {true, anyText},
	"numeric": {false, isNumber}, "numericList": {true, isNumber},
	"boolean": {false, isBoolean}, "booleanList": {true, isBoolean},
	"ip": {false, isAddress}, "ipList": {true, isAddress},
	"binary": {false, decoded}, "binaryList": {true, decoded},
	"date": {false, isDate}, "dateList": {true, isDate},
}

func anyText(s string) (string, bool)   { return s, true }
func isBoolean(s string) (string, bool) { return s, s == "true" || s == "false" }

func isNumber(s string) (string, bool) {
	_, err := strconv.ParseFloat(s, 64)
	return s, err == nil
}

func isAddress(s string) (string, bool) {
	_, err := netip.ParseAddr(s)
	return s, err == nil
}

func decoded(s string) (string, bool) {
	b, err := base64.StdEncoding.DecodeString(s)
	return string(b), err == nil
}

func isDate(s string) (string, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", time.DateOnly} {
		if _, err := time.Parse(layout, s); err == nil {
			return s, true
		}
	}
	return isNumber(s) // seconds since 1970
}

// pairOf is a context entry as a condition key of the request.
func pairOf(e *api.ContextEntry) (service.Pair, error) {
	if e.ContextKeyName == "" {
		return service.Pair{}, api.InvalidInput("Invalid Context Entries: an entry has no ContextKeyName.")
	}
	t := contextTypes[cmp.Or(e.ContextKeyType, "string")] // the decoder knows the types
	if !t.list && len(e.ContextKeyValues) != 1 {
		return service.Pair{}, api.InvalidInput("Invalid Context Entries: %s of type %s has %d values.", e.ContextKeyName, cmp.Or(e.ContextKeyType, "string"), len(e.ContextKeyValues))
	}
	values := make([]string, len(e.ContextKeyValues))
	for i, text := range e.ContextKeyValues {
		v, ok := t.value(text)
		if !ok {
			return service.Pair{}, api.InvalidInput("Invalid Context Entries: %s is not of type %s: %s.", e.ContextKeyName, e.ContextKeyType, text)
		}
		values[i] = v
	}
	value := policy.List(values)
	if !t.list {
		value = policy.String(values[0])
	}
	return service.Pair{Name: e.ContextKeyName, Key: strings.ToLower(e.ContextKeyName), Value: value}, nil
}

// handling has the scenarios of ResourceHandlingOption with the resources that each
// wants (SimulateCustomPolicy in the IAM API Reference).
var handling = map[string][]string{
	"EC2-VPC-InstanceStore":        {"instance", "image", "security-group", "network-interface"},
	"EC2-VPC-InstanceStore-Subnet": {"instance", "image", "security-group", "network-interface", "subnet"},
	"EC2-VPC-EBS":                  {"instance", "image", "security-group", "network-interface", "volume"},
	"EC2-VPC-EBS-Subnet":           {"instance", "image", "security-group", "network-interface", "subnet", "volume"},
}

func checkHandling(in *api.SimulatePrincipalPolicyInput) error {
	option := in.ResourceHandlingOption
	if option == "" {
		return nil
	}
	wanted, ok := handling[option]
	if !ok {
		return api.InvalidInput("Invalid input resource handling options: %s.", option)
	}
	for _, action := range in.ActionNames {
		if !strings.EqualFold(action, "ec2:RunInstances") {
			return api.InvalidInput("Invalid input resource handling options. Action does not support resource handling options: %s.", action)
		}
	}
	for _, kind := range wanted {
		if !slices.ContainsFunc(in.ResourceArns, func(a string) bool {
			return arn.ARN(a).Service() == "ec2" && strings.HasPrefix(arn.ARN(a).Resource(), kind+"/")
		}) {
			return api.InvalidInput("Invalid input resource handling options. %s requires a resource of type %s.", option, kind)
		}
	}
	return nil
}

// work is what one question costs: its statements, and an answer about as much as sixteen.
func (q *simulation) work() int {
	n := 16
	count := func(d identity.Document) {
		if !d.IsZero() {
			n += len(d.Policy().Statements)
		}
	}
	for _, p := range q.layers.Identity {
		count(p.Document)
	}
	if q.layers.Boundary != nil {
		count(q.layers.Boundary.Document)
	}
	count(q.given)
	for _, level := range q.layers.SCP {
		for _, p := range level {
			count(p.Document)
		}
	}
	return n
}

// A simulated is the answer to one question.
type simulated struct {
	decision string
	matched  []api.Statement // those that tell of the decision, and of an implicit deny those that allow
	missing  []string
	boundary *api.PermissionsBoundaryDecisionDetail
	orgs     *api.OrganizationsDecisionDetail
	details  map[string]string // nil where an SCP ended the evaluation
}

// ask asks about one action on one resource.
func (q *simulation) ask(action policy.Action, resource arn.ARN) simulated {
	r := &authz.Request{
		Call:  &service.Call{Account: q.caller.Account, Caller: q.caller, State: q.call.State, Time: q.call.Time},
		Check: service.Check{Action: action, Target: service.Target{ARN: resource}, Pairs: q.pairs},
	}
	if resource.Account() == "" {
		r.Object.Account = q.owner
	}
	l := q.layers
	trustText := "" // a role's own trust policy, as GetRole shows it
	if isTrust(action, resource) && (q.trust || !q.given.IsZero()) {
		l.Trust = true
		if role := identity.RoleByARN(q.call.State, resource); q.given.IsZero() && role != nil && resource.Account() == q.call.Account {
			l.Resource = &authz.Policy{Name: "AssumeRolePolicyDocument", Document: role.Trust}
			trustText = identity.ShowTrust(q.call.State, role.Trust)
		}
	}
	if !q.given.IsZero() {
		l.Resource = &authz.Policy{Name: resourcePolicyID, Document: q.given}
	}

	x := &authz.Explanation{}
	d := authz.Simulate(r, &l, x)
	a := simulated{decision: x.Decision, matched: []api.Statement{}, missing: []string{}}
	effect := "Allow"
	if d.Explicit {
		effect = "Deny"
	}
	add := func(layer authz.Layer, source string, policies []authz.Policy) {
		i := slices.IndexFunc(x.Layers, func(e authz.LayerExplanation) bool { return e.Layer == layer })
		if i < 0 {
			return
		}
		for j := range policies {
			p := &policies[j]
			text := p.Document.String()
			if layer == authz.TrustPolicy && trustText != "" {
				text = trustText
			}
			for _, s := range x.Layers[i].Policies[j].Statements {
				if s.Matched && s.Effect == effect && (layer != authz.Boundary || d.Explicit) {
					a.matched = append(a.matched, q.statement(p.SourceID(), source, text, s.Index))
				}
			}
			a.lacks(x, p)
		}
	}
	const iamPolicy, resourcePolicy, boundaryPolicy = "IAM Policy", "Resource Policy", "Permissions Boundary Policy"
	a.details = map[string]string{iamPolicy: verdict(x, authz.IdentityPolicy)}
	if l.Resource != nil {
		layer := authz.ResourcePolicy
		if l.Trust {
			layer = authz.TrustPolicy
		}
		add(layer, resourcePolicy, []authz.Policy{*l.Resource})
		a.details[resourcePolicy] = verdict(x, layer)
	}
	add(authz.IdentityPolicy, iamPolicy, l.Identity)
	if l.Bounded {
		if l.Boundary != nil {
			add(authz.Boundary, boundaryPolicy, []authz.Policy{*l.Boundary})
		}
		a.details[boundaryPolicy] = verdict(x, authz.Boundary)
		a.boundary = &api.PermissionsBoundaryDecisionDetail{AllowedByPermissionsBoundary: a.details[boundaryPolicy] == "allowed"}
	}
	if len(l.SCP) > 0 {
		for _, level := range l.SCP {
			for i := range level {
				a.lacks(x, &level[i])
			}
		}
		a.orgs = &api.OrganizationsDecisionDetail{AllowedByOrganizations: verdict(x, authz.SCP) == "allowed"}
	}
	if d.Layer == authz.SCP {
		a.details = nil
	} else if q.caller.Account == r.Owner() {
		a.details = map[string]string{}
	}
	return a
}

// lacks adds the context keys of a policy that were asked for and not there.
func (a *simulated) lacks(x *authz.Explanation, p *authz.Policy) {
	if len(x.Missing) == 0 {
		return
	}
	for _, key := range contextKeys(p.Document.Policy()) {
		has := func(k string) bool { return strings.EqualFold(k, key) }
		if slices.ContainsFunc(x.Missing, has) && !slices.ContainsFunc(a.missing, has) {
			a.missing = append(a.missing, key)
		}
	}
}

// verdict is what the policies of one kind say together: of levels, the strictest.
func verdict(x *authz.Explanation, layer authz.Layer) string {
	says := ""
	for i := range x.Layers {
		if x.Layers[i].Layer == layer {
			v := x.Layers[i].Verdict
			if v == "allow" {
				v = "allowed"
			}
			says = stricter(says, v)
		}
	}
	return cmp.Or(says, "implicitDeny")
}

// stricter is the stricter of two decisions; "" is none.
func stricter(a, b string) string {
	order := []string{"", "allowed", "implicitDeny", "explicitDeny"}
	return order[max(slices.Index(order, a), slices.Index(order, b))]
}

// result is what is said of an action: the strictest decision of all resources, and
// of each by itself where there are any.
func (q *simulation) result(action string, resources []string, answers []simulated) api.EvaluationResult {
	all := len(resources) == 1 && resources[0] == "*"
	r := api.EvaluationResult{EvalActionName: action, EvalResourceName: "*", MatchedStatements: []api.Statement{}, MissingContextValues: []string{}}
	for i := range answers {
		r.EvalDecision = stricter(r.EvalDecision, answers[i].decision)
	}
	if !all {
		r.EvalResourceName = templateOf(action, resources)
		r.EvalDecisionDetails = map[string]string{}
	}
	for i := range answers {
		a := &answers[i]
		if a.decision == r.EvalDecision && a.decision != "implicitDeny" {
			for _, s := range a.matched {
				if !slices.ContainsFunc(r.MatchedStatements, func(t api.Statement) bool {
					return s.SourcePolicyId == t.SourcePolicyId && s.SourcePolicyType == t.SourcePolicyType && *s.StartPosition == *t.StartPosition
				}) {
					r.MatchedStatements = append(r.MatchedStatements, s)
				}
			}
		}
		for _, key := range a.missing {
			if !slices.ContainsFunc(r.MissingContextValues, func(k string) bool { return strings.EqualFold(k, key) }) {
				r.MissingContextValues = append(r.MissingContextValues, key)
			}
		}
		if a.boundary != nil && (r.PermissionsBoundaryDecisionDetail == nil || !a.boundary.AllowedByPermissionsBoundary) {
			r.PermissionsBoundaryDecisionDetail = a.boundary
		}
		if a.orgs != nil && (r.OrganizationsDecisionDetail == nil || !a.orgs.AllowedByOrganizations) {
			r.OrganizationsDecisionDetail = a.orgs
		}
		if all {
			continue
		}
		if a.details == nil {
			r.EvalDecisionDetails = nil
		} else if r.EvalDecisionDetails != nil {
			for kind, decision := range a.details {
				r.EvalDecisionDetails[kind] = stricter(r.EvalDecisionDetails[kind], decision)
			}
		}
		specific := api.ResourceSpecificResult{EvalResourceName: resources[i], EvalResourceDecision: a.decision, MatchedStatements: a.matched,
			MissingContextValues: a.missing, PermissionsBoundaryDecisionDetail: a.boundary}
		if len(a.details) > 0 {
			specific.EvalDecisionDetails = a.details
		}
		r.ResourceSpecificResults = append(r.ResourceSpecificResults, specific)
	}
	return r
}

// templateOf is how the ARNs of the resources look, in the words of AWS's reference:
// arn:${Partition}:s3:::${BucketName}/${ObjectName}. Where the reference gives the
// action no resource type that one of them is of, it is the resource, if there is one
// only, and otherwise "*".
func templateOf(action string, resources []string) string {
	none := "*"
	if len(resources) == 1 {
		none = resources[0]
	}
	a, ok := reference.LookupAction(action)
	if !ok {
		return none
	}
	s, ok := reference.LookupService(a.Service)
	if !ok {
		return none
	}
	for _, resource := range resources {
		best := ""
		for _, kind := range a.Resources {
			if t := s.Resource(kind.Name); t != nil && arn.ARN(resource).Match(t.Pattern()) && len(t.ARN) > len(best) {
				best = t.ARN
			}
		}
		if best != "" {
			return best
		}
	}
	return none
}

// statement is where the statement of a policy is.
func (q *simulation) statement(id, source, text string, index int) api.Statement {
	at, ok := q.places[text]
	if !ok {
		at = places(text)
		q.places[text] = at
	}
	s := api.Statement{SourcePolicyId: id, SourcePolicyType: source}
	if index < len(at) {
		s.StartPosition, s.EndPosition = &at[index].start, &at[index].end
	}
	return s
}

// A place is where a statement stands in a policy document, as AWS's simulator says
// it: where its reader is before and after it. A statement in a list begins after the
// bracket or after the statement before, with the comma and the white space; one that
// is not in a list begins after its brace. Columns are counted in characters from 1.
type place struct{ start, end api.Position }

// places are those of all statements of a document; nil where it cannot be read.
func places(text string) []place {
	line, column, done := int32(1), int32(1), 0
	d := json.NewDecoder(strings.NewReader(text))
	here := func() api.Position {
		for at := int(d.InputOffset()); done < at; {
			c, n := utf8.DecodeRuneInString(text[done:])
			done += n
			column++
			if c == '\n' {
				line, column = line+1, 1
			}
		}
		return api.Position{Line: line, Column: column}
	}
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	var skipped json.RawMessage
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil
		}
		if name != "Statement" {
			if err := d.Decode(&skipped); err != nil {
				return nil
			}
			continue
		}
		t, err := d.Token()
		if err != nil {
			return nil
		}
		var found []place
		if t == json.Delim('[') {
			for {
				p := place{start: here()}
				if !d.More() {
					return found
				}
				if err := d.Decode(&skipped); err != nil {
					return nil
				}
				p.end = here()
				found = append(found, p)
			}
		}
		p := place{start: here()}
		for depth := 1; depth > 0; {
			switch t, err := d.Token(); {
			case err != nil:
				return nil
			case t == json.Delim('{') || t == json.Delim('['):
				depth++
			case t == json.Delim('}') || t == json.Delim(']'):
				depth--
			}
		}
		p.end = here()
		return append(found, p)
	}
	return nil
}

func (s *Service) getContextKeysForCustomPolicy(_ context.Context, _ *service.Call, in *api.GetContextKeysForCustomPolicyInput) (*api.GetContextKeysForCustomPolicyOutput, error) {
	names, err := keyNames(nil, in.PolicyInputList)
	return &api.GetContextKeysForCustomPolicyOutput{ContextKeyNames: names}, err
}

func (s *Service) getContextKeysForPrincipalPolicy(_ context.Context, c *service.Call, in *api.GetContextKeysForPrincipalPolicyInput) (*api.GetContextKeysForPrincipalPolicyOutput, error) {
	source, err := subjectOf(in.PolicySourceArn)
	if err != nil {
		return nil, err
	}
	_, layers, err := source.source(c)
	if err != nil {
		return nil, err
	}
	names, err := keyNames(layers.Identity, in.PolicyInputList)
	return &api.GetContextKeysForPrincipalPolicyOutput{ContextKeyNames: names}, err
}

// keyNames are the context keys of policies and of texts that are policies.
func keyNames(policies []authz.Policy, texts []string) ([]string, error) {
	names := []string{}
	add := func(d identity.Document) {
		for _, key := range contextKeys(d.Policy()) {
			if !slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, key) }) {
				names = append(names, key)
			}
		}
	}
	for _, p := range policies {
		add(p.Document)
	}
	for _, text := range texts {
		p, err := simulatedPolicy("", text, policy.Identity)
		if err != nil {
			return nil, err
		}
		add(p.Document)
	}
	return names, nil
}

// contextKeys are the condition keys that a policy asks for, in conditions and as
// variables, as it writes them and in the order of the text. One may be there twice.
func contextKeys(p *policy.Policy) []string {
	var names []string
	variables := func(texts []string) {
		if p.Version != "2012-10-17" {
			return // there ${aws:username} is a text like any other
		}
		for _, text := range texts {
			for {
				_, rest, ok := strings.Cut(text, "${")
				if !ok {
					break
				}
				var name string
				if name, text, ok = strings.Cut(rest, "}"); !ok {
					break
				}
				name, _, _ = strings.Cut(name, ",") // ${aws:username, 'nobody'}
				if name = strings.TrimSpace(name); strings.Contains(name, ":") {
					names = append(names, name)
				}
			}
		}
	}
	for i := range p.Statements {
		s := &p.Statements[i]
		variables(s.Resource)
		variables(s.NotResource)
		for _, c := range s.Condition {
			if c.Key != "" {
				names = append(names, c.Key)
			}
			variables(c.Values)
		}
	}
	return names
}
