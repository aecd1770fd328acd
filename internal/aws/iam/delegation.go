package iam

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/authz"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/policytemplate"
	"github.com/iamd-dev/iamd/internal/reference"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

// Temporary delegation. A product provider creates a request for what one of its policy
// templates says; someone of the customer's account makes it theirs (associate), passes
// it on to somebody who may approve it (update), who accepts or rejects it; and then a
// token is sent to the provider, which gives sessions in the name of the one who
// accepted: sts:GetDelegatedAccessToken.
//
// Whose a request is says who may do what with it by default: see defaults. All else
// needs permission, and to accept always does.

const (
	expiresUnassigned = 24 * time.Hour
	expiresOtherwise  = 7 * 24 * time.Hour
	expiredKept       = 7 * 24 * time.Hour // after which they are forgotten
	longestByRoot     = 4 * time.Hour
	longestRendered   = 2048 // characters of the policy
)

// An index leads to a delegation request.
type delegationRef struct{ ID string }

var (
	delegationsOf       = store.NewTable[delegationRef]("delegationsof")       // the account's, when someone owns it: account + "/" + id
	delegationWorkflows = store.NewTable[delegationRef]("delegationworkflows") // the provider's: account + "/" + hash of RequestorWorkflowId
)

func workflowKey(account, workflow string) string {
	sum := sha256.Sum256([]byte(workflow))
	return account + "/" + hex.EncodeToString(sum[:])
}

const delegationKind identity.Kind = "delegation-request"

// theRequest is the delegation request that the input names.
func theRequest(in reflect.Type) func(*service.Call, any) []service.Target {
	id := field[string](in, "DelegationRequestId")
	return func(c *service.Call, in any) []service.Target { return []service.Target{requestTarget(c, id(in))} }
}

func requestTarget(c *service.Call, id string) service.Target {
	if d := identity.DelegationRequests.Get(c.State, id); d != nil {
		return service.Target{ARN: d.ARN(c.Account)}
	}
	return service.Target{ARN: identity.DelegationRequestARN(c.Account, id)}
}

// onRequest is a row on the delegation request that the input names. What changes one
// is for those whose account it is, and never for a provider that acts for them.
func onRequest[In, Out any](f func(context.Context, *service.Call, *In) (*Out, error), clauses ...service.Clause) service.Row {
	id := field[string](reflect.TypeFor[In](), "DelegationRequestId")
	return service.Handle(f, theRequest, append(clauses, service.KeyOf("iam:DelegationRequestOwner", func(c *service.Call, in *In) (policy.Value, bool) {
		return ownerOf(c, id(in))
	}))...)
}

func ownerOf(c *service.Call, id string) (policy.Value, bool) {
	d := identity.DelegationRequests.Get(c.State, id)
	if d == nil || d.Owner == "" {
		return policy.Value{}, false
	}
	return policy.String(string(d.Owner)), true
}

func themselvesOnly[In any]() service.Clause {
	return service.Before(func(c *service.Call, _ *In) error {
		if s := c.Caller.Session; s != nil && s.Delegation != nil {
			return api.AccessDenied("Delegation requests cannot be managed with delegated credentials.")
		}
		return nil
	})
}

// delegations are the rows of this file.
func (s *Service) delegations() []service.Row {
	summarized := service.On(func(c *service.Call, in *api.GetHumanReadableSummaryInput) []service.Target {
		return []service.Target{requestTarget(c, requestID(in.EntityArn))}
	})
	newRequest := service.On(func(c *service.Call, _ *api.CreateDelegationRequestInput) []service.Target {
		return []service.Target{{ARN: identity.DelegationRequestARN(c.Account, "*"), New: true}}
	})
	return []service.Row{
		service.Handle(s.createDelegationRequest, newRequest, themselvesOnly[api.CreateDelegationRequestInput](),
			service.Key("iam:DelegationDuration", "{SessionDuration}"), service.Key("iam:NotificationChannel", "{NotificationChannel}"),
			service.KeyOf("iam:TemplateArn", func(_ *service.Call, in *api.CreateDelegationRequestInput) (policy.Value, bool) {
				return policy.String(in.Permissions.PolicyTemplateArn), in.Permissions.PolicyTemplateArn != ""
			})),
		onRequest(s.getDelegationRequest),
		service.Handle(s.getHumanReadableSummary, summarized, service.Before(requestARNChecked), service.KeyOf("iam:DelegationRequestOwner", func(c *service.Call, in *api.GetHumanReadableSummaryInput) (policy.Value, bool) {
			return ownerOf(c, requestID(in.EntityArn))
		})),
		service.Handle(s.listDelegationRequests, ownRequests, service.Key("iam:DelegationRequestOwner", "{OwnerId}")),
		onRequest(s.associateDelegationRequest, themselvesOnly[api.AssociateDelegationRequestInput]()),
		onRequest(s.updateDelegationRequest, themselvesOnly[api.UpdateDelegationRequestInput]()),
		onRequest(s.acceptDelegationRequest, themselvesOnly[api.AcceptDelegationRequestInput]()),
		onRequest(s.rejectDelegationRequest, themselvesOnly[api.RejectDelegationRequestInput]()),
		onRequest(s.sendDelegationToken, themselvesOnly[api.SendDelegationTokenInput]()),
	}
}

// defaults is what may be done with a request without a policy that says so, as if the
// request had a policy of its own (IAM User Guide, "Managing Permissions for Delegation
// Requests"). A Deny still denies.
func defaults(d *identity.DelegationRequest) identity.Document {
	switch {
	case d.Owner == "" && d.Account == "":
		return identity.NewDocument(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":["iam:AssociateDelegationRequest","iam:GetDelegationRequest","iam:GetHumanReadableSummary"],"Resource":"*"}}`)
	case d.Owner == "":
		return identity.NewDocument(fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":["iam:AssociateDelegationRequest","iam:GetDelegationRequest","iam:GetHumanReadableSummary"],"Resource":"*","Condition":{"StringEquals":{"aws:PrincipalAccount":%q}}}}`, d.Account))
	case d.OwnerID == d.Account: // the root user, who needs none
		return identity.Document{}
	}
	return identity.NewDocument(fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":%q},"Action":["iam:GetDelegationRequest","iam:GetHumanReadableSummary","iam:UpdateDelegationRequest","iam:RejectDelegationRequest","iam:SendDelegationToken"],"Resource":"*"}}`, d.OwnerID))
}

// delegationObject is what authorisation may know of a delegation request, or, of
// "*" in the place of its id, of those that the caller owns: see ownRequests.
func delegationObject(state *store.Snapshot, a arn.ARN) service.Object {
	_, id, _ := strings.Cut(a.Resource(), "/")
	if id == "*" {
		return service.Object{Policy: identity.NewDocument(fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"iam:ListDelegationRequests","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalAccount":%q}}}}`, a.Account()))}
	}
	d := identity.DelegationRequests.Get(state, id)
	if d == nil || d.Account != "" && d.Account != a.Account() {
		return service.Object{}
	}
	return service.Object{Policy: defaults(d)}
}

// ownRequests is everything, but for who lists their own requests: that is theirs to do.
var ownRequests = service.On(func(c *service.Call, in *api.ListDelegationRequestsInput) []service.Target {
	if in.OwnerId != "" && in.OwnerId == string(c.Caller.ARN) && c.Caller.Type != identity.RootUser {
		return []service.Target{{ARN: identity.DelegationRequestARN(c.Account, "*"), Text: "*"}}
	}
	return []service.Target{{ARN: "*"}}
})

func requestID(entity string) string {
	id, _ := strings.CutPrefix(arn.ARN(entity).Resource(), string(delegationKind)+"/")
	return id
}

func requestARNChecked(_ *service.Call, in *api.GetHumanReadableSummaryInput) error {
	a, err := arn.Parse(in.EntityArn)
	if err != nil || a.Service() != "iam" || requestID(in.EntityArn) == a.Resource() {
		return api.InvalidInput("%s is not the ARN of a delegation request.", in.EntityArn)
	}
	return nil
}

func noSuchRequest(id string) error {
	return api.NoSuchEntity("The delegation request with id %s cannot be found.", id)
}

// request finds a request as the call was decided about it.
func request(r store.Reader, c *service.Call, id string) (*identity.DelegationRequest, error) {
	d, decided := identity.DelegationRequests.Get(r, id), identity.DelegationRequests.Get(c.State, id)
	switch {
	case d == nil || decided == nil || d.Account != "" && d.Account != c.Account:
		return nil, noSuchRequest(id)
	case d.Changes != decided.Changes:
		return nil, api.ConcurrentModification("The delegation request %s was changed while the request was processed. Submit your request again.", id)
	}
	return d, nil
}

// transit changes a request that is in one of the states, and tells its provider.
func (s *Service) transit(ctx context.Context, c *service.Call, id string, from []string, f func(*store.Tx, *identity.DelegationRequest) error) error {
	var changed *identity.DelegationRequest
	err := s.update(ctx, func(tx *store.Tx) error {
		d, err := request(tx, c, id)
		if err != nil {
			return err
		}
		if err := isIn(d, c, from...); err != nil {
			return err
		}
		if err := f(tx, d); err != nil {
			return err
		}
		d.Updated, d.Expires, d.Changes = now(c), now(c).Add(expiresOtherwise), d.Changes+1
		identity.DelegationRequests.Put(tx, id, d)
		changed = d
		return nil
	})
	if err == nil {
		s.notify(changed, notice{Type: "StateChange"}) // that it is not told undoes nothing
	}
	return err
}

// isIn is the refusal of what cannot be done in the request's state.
func isIn(d *identity.DelegationRequest, c *service.Call, states ...string) error {
	if state := d.StateAt(c.Time); !slices.Contains(states, state) {
		return api.InvalidInput("The delegation request %s is in the state %s, and must be in %s.", d.ID, state, strings.Join(states, " or "))
	}
	return nil
}

// A notice is what a provider is told, in the form of the IAM User Guide, "Building your
// integration".
type notice struct {
	RequestorWorkflowId string
	Type                string
	RequestId           string
	State               string
	OwnerAccountId      string `json:",omitempty"`
	ExchangeToken       string `json:",omitempty"`
	ExpiresAt           string `json:",omitempty"`
	UpdatedAt           string
}

func (s *Service) notify(d *identity.DelegationRequest, n notice) error {
	if s.Notify == nil {
		return nil
	}
	n.RequestorWorkflowId, n.RequestId, n.State, n.OwnerAccountId = d.Workflow, d.ID, d.State, d.Account
	n.UpdatedAt = d.Updated.Format(noticeTime)
	message, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return s.Notify(d.Requestor, d.Channel, identity.NewSecret(string(message)))
}

const noticeTime = "2006-01-02T15:04:05.000Z"

func (s *Service) createDelegationRequest(ctx context.Context, c *service.Call, in *api.CreateDelegationRequestInput) (*api.CreateDelegationRequestOutput, error) {
	provider := identity.ProductProviders.Get(c.State, c.Account)
	if provider == nil {
		return nil, api.AccessDenied("Account %s is not registered as a product provider, and cannot create delegation requests.", c.Account)
	}
	if topic := arn.ARN(in.NotificationChannel); topic.Service() != "sns" || topic.Account() != c.Account || topic.Resource() == "" {
		return nil, api.InvalidInput("The notification channel %s is not a topic of account %s.", in.NotificationChannel, c.Account)
	}
	document, err := render(provider, &in.Permissions)
	if err != nil {
		return nil, err
	}
	d := &identity.DelegationRequest{
		ID: newRequestID(), Requestor: c.Account, RequestorName: provider.Name, Workflow: in.RequestorWorkflowId,
		Description: in.Description, Message: in.RequestMessage, RedirectURL: in.RedirectUrl, Channel: in.NotificationChannel,
		Duration: time.Duration(in.SessionDuration) * time.Second, OnlyByOwner: in.OnlySendByOwner != nil && *in.OnlySendByOwner,
		Permissions: in.Permissions, Policy: document, Boundaries: boundariesOf(document),
		State: identity.Unassigned, Created: now(c), Updated: now(c), Expires: now(c).Add(expiresUnassigned), Account: in.OwnerAccountId,
	}
	workflow := workflowKey(c.Account, d.Workflow)
	forgotten := s.forgettable(c)
	err = s.update(ctx, func(tx *store.Tx) error {
		if identity.ProductProviders.Get(tx, c.Account) == nil {
			return api.ConcurrentModification("The product provider was changed while the request was processed. Submit your request again.")
		}
		for _, id := range forgotten {
			forget(tx, id)
		}
		if delegationWorkflows.Get(tx, workflow) != nil {
			return api.EntityAlreadyExists("A delegation request with the workflow id %s already exists.", d.Workflow)
		}
		delegationWorkflows.Put(tx, workflow, &delegationRef{d.ID})
		identity.DelegationRequests.Put(tx, d.ID, d)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.CreateDelegationRequestOutput{DelegationRequestId: d.ID,
		ConsoleDeepLink: "https://us-east-1.console.aws.amazon.com/iam/account-access-requests/review/" + d.ID}, nil
}

// newRequestID makes a random UUID: who knows it may see a request that is nobody's.
func newRequestID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// forgettable are a few of the provider's requests that expired long ago.
func (s *Service) forgettable(c *service.Call) []string {
	var ids []string
	for _, ref := range delegationWorkflows.All(c.State, c.Account+"/") {
		if d := identity.DelegationRequests.Get(c.State, ref.ID); d != nil && c.Time.Sub(d.Expires) > expiredKept {
			if ids = append(ids, d.ID); len(ids) == 20 {
				break
			}
		}
	}
	return ids
}

func forget(tx *store.Tx, id string) {
	d := identity.DelegationRequests.Get(tx, id)
	if d == nil {
		return
	}
	identity.DelegationRequests.Delete(tx, id)
	delegationWorkflows.Delete(tx, workflowKey(d.Requestor, d.Workflow))
	if d.Owner != "" {
		delegationsOf.Delete(tx, d.Account+"/"+id)
	}
}

// render makes the policy that is asked for.
func render(provider *identity.ProductProvider, p *api.DelegationPermission) (identity.Document, error) {
	template, ok := provider.Templates[p.PolicyTemplateArn]
	if !ok {
		return identity.Document{}, api.InvalidInput("The policy template %s is not registered for account %s.", p.PolicyTemplateArn, provider.Account)
	}
	names, err := policytemplate.Names(template)
	if err != nil {
		return identity.Document{}, err
	}
	values := policytemplate.Parameters{}
	for _, given := range p.Parameters {
		_, twice := values[given.Name]
		list := given.Type == "stringList"
		switch {
		case twice:
			return identity.Document{}, api.InvalidInput("Failed to render template: Parameter '%s' is there twice.", given.Name)
		case !slices.Contains(names, given.Name):
			return identity.Document{}, api.InvalidInput("Failed to render template: Unrecognized parameter: %s", given.Name)
		case given.Type == "" || len(given.Values) == 0 || !list && len(given.Values) != 1:
			return identity.Document{}, api.InvalidInput("Failed to render template: Parameter '%s' must have a type, and one value unless it is a list.", given.Name)
		}
		values[given.Name] = policytemplate.Parameter{Values: given.Values, List: list}
	}
	text, err := policytemplate.Render(template, values)
	if err != nil {
		return identity.Document{}, api.InvalidInput("Failed to render template: %s", err)
	}
	if text == "" {
		return identity.Document{}, api.InvalidInput("Failed to render template: no statement is left.")
	}
	if err := within(len([]rune(text)), longestRendered, "PolicySize"); err != nil {
		return identity.Document{}, err
	}
	if _, err := policy.Check([]byte(text), policy.Session); err != nil {
		return identity.Document{}, api.InvalidInput("Failed to render template: %s", err)
	}
	return identity.NewDocument(text), nil
}

// boundariesOf are the permissions boundaries that a policy demands of roles.
func boundariesOf(d identity.Document) []string {
	var all []string
	for _, s := range d.Policy().Statements {
		for _, c := range s.Condition {
			if strings.EqualFold(c.Key, "iam:PermissionsBoundary") {
				for _, v := range c.Values {
					if !slices.Contains(all, v) {
						all = append(all, v)
					}
				}
			}
		}
	}
	return all
}

func (s *Service) associateDelegationRequest(ctx context.Context, c *service.Call, in *api.AssociateDelegationRequestInput) (*none, error) {
	return nil, s.transit(ctx, c, in.DelegationRequestId, []string{identity.Unassigned}, func(tx *store.Tx, d *identity.DelegationRequest) error {
		d.State, d.Account, d.Owner, d.OwnerID = identity.Assigned, c.Account, c.Caller.ARN, c.Caller.UserID
		delegationsOf.Put(tx, d.Account+"/"+d.ID, &delegationRef{d.ID})
		return nil
	})
}

func (s *Service) updateDelegationRequest(ctx context.Context, c *service.Call, in *api.UpdateDelegationRequestInput) (*none, error) {
	return nil, s.transit(ctx, c, in.DelegationRequestId, []string{identity.Assigned, identity.PendingApproval}, func(_ *store.Tx, d *identity.DelegationRequest) error {
		d.State = identity.PendingApproval
		if in.Notes != "" {
			d.Notes = in.Notes
		}
		return nil
	})
}

// acceptDelegationRequest keeps who accepted: the provider's sessions are in that name,
// and can do no more than they could.
func (s *Service) acceptDelegationRequest(ctx context.Context, c *service.Call, in *api.AcceptDelegationRequestInput) (*none, error) {
	return nil, s.transit(ctx, c, in.DelegationRequestId, []string{identity.Assigned, identity.PendingApproval}, func(_ *store.Tx, d *identity.DelegationRequest) error {
		if c.Caller.Type == identity.RootUser && d.Duration > longestByRoot {
			return api.InvalidInput("The root user can accept delegation requests of at most %d seconds.", int(longestByRoot/time.Second))
		}
		d.State, d.Approver, d.As = identity.Accepted, c.Caller.ARN, c.Caller.Approver()
		return nil
	})
}

func (s *Service) rejectDelegationRequest(ctx context.Context, c *service.Call, in *api.RejectDelegationRequestInput) (*none, error) {
	return nil, s.transit(ctx, c, in.DelegationRequestId, []string{identity.Assigned, identity.PendingApproval, identity.Accepted}, func(_ *store.Tx, d *identity.DelegationRequest) error {
		d.State, d.Rejection, d.As = identity.Rejected, in.Notes, nil
		return nil
	})
}

// sendDelegationToken hands the token over before it is good for anything: what cannot
// be delivered is not released, and can be sent again.
func (s *Service) sendDelegationToken(ctx context.Context, c *service.Call, in *api.SendDelegationTokenInput) (*none, error) {
	release := func(d *identity.DelegationRequest) {
		d.State, d.Released = identity.Finalized, now(c)
	}
	d, err := request(c.State, c, in.DelegationRequestId)
	if err != nil {
		return nil, err
	}
	if d.OnlyByOwner && d.OwnerID != c.Caller.UserID {
		return nil, api.AccessDenied("User: %s is not authorized to perform: iam:SendDelegationToken on resource: %s because only the owner of the request may", c.Caller.ARN, d.ARN(c.Account))
	}
	if err := isIn(d, c, identity.Accepted); err != nil {
		return nil, err
	}
	promised := *d
	promised.Updated = now(c)
	release(&promised)
	token, err := s.Keyring.SealTradeIn(c.State, &promised)
	if err != nil {
		return nil, err
	}
	if err := s.notify(&promised, notice{Type: "ExchangeToken", ExchangeToken: token.Reveal(), ExpiresAt: promised.Until().Format(noticeTime)}); err != nil {
		return nil, fmt.Errorf("delivering a trade-in token: %w", err)
	}
	return nil, s.transit(ctx, c, in.DelegationRequestId, []string{identity.Accepted}, func(_ *store.Tx, d *identity.DelegationRequest) error {
		release(d)
		return nil
	})
}

// shown is a request as it is shown; policies only where they are asked for.
func shownRequest(c *service.Call, d *identity.DelegationRequest, whole bool) api.DelegationRequest {
	v := api.DelegationRequest{
		DelegationRequestId: d.ID, OwnerAccountId: d.Account, Description: d.Description, RequestMessage: d.Message, Permissions: &d.Permissions,
		OwnerId: string(d.Owner), ApproverId: string(d.Approver), State: d.StateAt(c.Time), ExpirationTime: d.Expires,
		RequestorId: d.Requestor, RequestorName: d.RequestorName, CreateDate: d.Created, SessionDuration: int32(d.Duration / time.Second),
		RedirectUrl: d.RedirectURL, Notes: d.Notes, RejectionReason: d.Rejection, OnlySendByOwner: d.OnlyByOwner, UpdatedTime: d.Updated,
	}
	if whole {
		v.PermissionPolicy, v.RolePermissionRestrictionArns = d.Policy.String(), append([]string{}, d.Boundaries...) // written although empty
	}
	return v
}

func (s *Service) getDelegationRequest(_ context.Context, c *service.Call, in *api.GetDelegationRequestInput) (*api.GetDelegationRequestOutput, error) {
	d, err := request(c.State, c, in.DelegationRequestId)
	if err != nil {
		return nil, err
	}
	v := shownRequest(c, d, true)
	out := &api.GetDelegationRequestOutput{DelegationRequest: &v}
	if in.DelegationPermissionCheck != nil && *in.DelegationPermissionCheck {
		out.PermissionCheckStatus, out.PermissionCheckResult = "COMPLETE", covers(c, d.Policy)
	}
	return out, nil
}

func (s *Service) listDelegationRequests(_ context.Context, c *service.Call, in *api.ListDelegationRequestsInput) (*api.ListDelegationRequestsOutput, error) {
	all := list[*identity.DelegationRequest](func(after string) iter.Seq2[string, *identity.DelegationRequest] {
		return func(yield func(string, *identity.DelegationRequest) bool) {
			for key, ref := range delegationsOf.From(c.State, c.Account+"/", after) {
				if d := identity.DelegationRequests.Get(c.State, ref.ID); d != nil && !yield(key, d) {
					return
				}
			}
		}
	})
	p, err := paged(in.Marker, in.MaxItems, mapped(all, func(d *identity.DelegationRequest) (api.DelegationRequest, bool) {
		return shownRequest(c, d, false), in.OwnerId == "" || in.OwnerId == string(d.Owner)
	}))
	if err != nil {
		return nil, err
	}
	return &api.ListDelegationRequestsOutput{DelegationRequests: p.Items, IsTruncated: p.More, Marker: p.Marker}, nil
}

// How much a check of permissions looks at: AWS calls its result approximate.
const mostChecked = 500

// covers tells whether the caller may do what a policy allows: each of its actions on
// each of its resources, where a pattern of resources stands for itself.
func covers(c *service.Call, d identity.Document) string {
	unsure, checked := false, 0
	for _, s := range d.Policy().Statements {
		if s.Effect != "Allow" {
			unsure = true // what it takes away of the rest is not looked at
			continue
		}
		unsure = unsure || len(s.Condition) > 0 || len(s.NotResource) > 0
		for _, pattern := range s.Action {
			for action := range actionsLike(pattern) {
				for _, resource := range s.Resource {
					if checked++; checked > mostChecked {
						return "UNSURE"
					}
					r := &authz.Request{
						Call:    &service.Call{Account: c.Account, Caller: c.Caller, State: c.State, Time: c.Time, Region: c.Region},
						Service: &service.Service{}, Check: service.Check{Action: policy.Action(action), Target: service.Target{ARN: arn.ARN(resource),
							Home: !identity.ValidAccount(arn.ARN(resource).Account())}}, // a bucket, or any account's: what is here is meant
					}
					layers, x := authz.Bearing(r), &authz.Explanation{}
					switch decision := authz.Simulate(r, &layers, x); {
					case decision.Allowed:
					case len(x.Missing) > 0 || !decision.Explicit && (decision.Layer == authz.ResourcePolicy || decision.Layer == authz.TrustPolicy):
						unsure = true
					default:
						return "DENIED"
					}
				}
			}
		}
	}
	if unsure {
		return "UNSURE"
	}
	return "ALLOWED"
}

// actionsLike are the actions that a pattern of actions means.
func actionsLike(pattern string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if !strings.ContainsAny(pattern, "*?") {
			yield(pattern)
			return
		}
		for s := range reference.Services() {
			for i := range s.Actions {
				if name := s.Actions[i].String(); arn.Glob(strings.ToLower(pattern), strings.ToLower(name)) && !yield(name) {
					return
				}
			}
		}
	}
}

// getHumanReadableSummary tells in sentences what a request asks for. AWS has a language
// model write it; here each statement is told as it stands.
func (s *Service) getHumanReadableSummary(_ context.Context, c *service.Call, in *api.GetHumanReadableSummaryInput) (*api.GetHumanReadableSummaryOutput, error) {
	d, err := request(c.State, c, requestID(in.EntityArn))
	if err != nil {
		return nil, err
	}
	if d.Account != "" && d.Account != arn.ARN(in.EntityArn).Account() {
		return nil, noSuchRequest(d.ID)
	}
	out := &api.GetHumanReadableSummaryOutput{Locale: cmp.Or(in.Locale, "en")}
	if language, _, _ := strings.Cut(strings.ReplaceAll(out.Locale, "_", "-"), "-"); !strings.EqualFold(language, "en") {
		out.SummaryState = "NOT_SUPPORTED"
		return out, nil
	}
	out.SummaryState, out.SummaryContent = "AVAILABLE", summary(d)
	return out, nil
}

const longestSummary = 10_000

func summary(d *identity.DelegationRequest) string {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s** (account %s) asks for access for %s.\n", d.RequestorName, d.Requestor, d.Duration)
	for _, s := range d.Policy.Policy().Statements {
		verb, actions := "May", s.Action
		if s.Effect != "Allow" {
			verb = "May not"
		}
		if len(s.NotAction) > 0 {
			verb, actions = verb+" do all but", s.NotAction
		}
		fmt.Fprintf(&b, "\n- %s `%s`", verb, strings.Join(actions, "`, `"))
		if len(s.Resource) > 0 {
			fmt.Fprintf(&b, " on `%s`", strings.Join(s.Resource, "`, `"))
		}
		if len(s.NotResource) > 0 {
			fmt.Fprintf(&b, " on all but `%s`", strings.Join(s.NotResource, "`, `"))
		}
		for i, c := range s.Condition {
			word := " and"
			if i == 0 {
				word = " where"
			}
			fmt.Fprintf(&b, "%s %s %s `%s`", word, c.Key, c.Operator, strings.Join(c.Values, "`, `"))
		}
		b.WriteString(".")
	}
	if len(d.Boundaries) > 0 {
		b.WriteString("\n\nRoles that it makes stay, within the permissions boundary `" + strings.Join(d.Boundaries, "` or `") + "`.")
	}
	text := b.String()
	if len(text) > longestSummary {
		text = strings.ToValidUTF8(text[:longestSummary-4], "") + " ..."
	}
	return text
}
