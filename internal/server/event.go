package server

import (
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/authz"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
	"github.com/iamd-dev/iamd/policy"
)

// An event is what a CloudTrail record, ours or AWS's, tells of a call.
type event struct {
	EventTime         time.Time
	EventSource       string // sts.amazonaws.com
	EventName         string
	AWSRegion         string `json:"awsRegion"`
	SourceIPAddress   string
	UserAgent         string
	RequestID         string `json:"requestID"`
	ErrorMessage      string
	RequestParameters json.RawMessage
	TLSDetails        *struct{} `json:"tlsDetails"`
	Resources         []struct {
		ARN string
	}
	UserIdentity struct {
		Type, PrincipalID, ARN, AccountID, UserName, InvokedBy, IdentityProvider string
		InvokedByDelegate                                                        *struct{ AccountID string }
		SessionContext                                                           struct {
			SourceIdentity string
			SessionIssuer  struct{ PrincipalID, ARN, AccountID, UserName string }
			Attributes     struct {
				CreationDate     time.Time
				MFAAuthenticated json.RawMessage // "true" in quotation marks, or without
			}
		}
	}
}

// decideAgain makes the request of a record and decides it by the policies of now.
// The caller must be of the account that asks, which gets to know of its own
// policies alone: a record proves nothing, and anyone can write one.
func (s *Server) decideAgain(c *service.Call, record []byte) ([]*authz.Explanation, error) {
	var e event
	if err := json.Unmarshal(record, &e); err != nil {
		return nil, notRecord("it is not JSON of that form")
	}
	name, ok := strings.CutSuffix(e.EventSource, ".amazonaws.com")
	if !ok || name == "" || e.EventName == "" {
		return nil, notRecord("it has no eventSource or no eventName")
	}
	caller, notes := e.caller(c.State)
	if caller == nil || caller.Account != c.Account && caller.Account != "" { // one is not told from the other
		return nil, notHere("the caller of the record", c.Account)
	}
	call := &service.Call{Account: caller.Account, Caller: caller, State: c.State, Time: e.EventTime, RequestID: e.RequestID, Region: e.AWSRegion,
		Source: service.Source{UserAgent: e.UserAgent, Secure: e.TLSDetails != nil}}
	if ip, err := netip.ParseAddr(e.SourceIPAddress); err == nil {
		call.Source.IP = ip
	}
	svc, op := s.operation(name, e.EventName)
	if op == nil {
		for operation, event := range eventNames[name] {
			if event == e.EventName {
				svc, op = s.operation(name, operation)
			}
		}
	}
	checks, told := e.checks(call, op, name)
	notes = append(notes, told...)

	var all []*authz.Explanation
	for _, check := range checks {
		r := authz.Request{Call: call, Service: svc, Check: check}
		if r.Service == nil {
			r.Service = &service.Service{Model: &wire.Model{Name: name}}
		}
		if of := s.resources(check.ARN.Service()); of != nil && of.Object != nil && !check.New {
			r.Object = of.Object(c.State, check.Action, check.ARN)
		}
		notes := notes
		if owner := r.Owner(); owner != c.Account && owner != "" {
			r.Object = service.Object{Account: owner, Trust: r.Object.Trust}
			notes = append(notes[:len(notes):len(notes)], "what the policies of account "+owner+" say is not asked: they are taken to allow nothing")
		}
		if call.Account == "" && r.Owner() != c.Account {
			return nil, notHere("what the record is about", c.Account)
		}
		x := &authz.Explanation{Event: name + ":" + e.EventName}
		authz.Decide(&r, x)
		x.Notes = append([]string{"made again of its record, and decided by the policies of " + c.Time.UTC().Format("2006-01-02 15:04:05 UTC")}, notes...)
		if x = x.For(c.Account); x != nil {
			all = append(all, x)
		}
	}
	return all, nil
}

func notRecord(why string) error {
	return &wire.Error{Code: "ValidationException", Status: 400, Message: "The text is not a CloudTrail record of a call: " + why + "."}
}

func notHere(what, account string) error {
	return &wire.Error{Code: "ResourceNotFoundException", Status: 404, Message: "The call cannot be decided again: " + what + " is not of account " + account + ", or is gone."}
}

// caller is who made the call, as they are today; nil when they are not here.
func (e *event) caller(r store.Reader) (c *identity.Caller, notes []string) {
	u := &e.UserIdentity
	issuer := &u.SessionContext.SessionIssuer
	session := &identity.Session{Account: u.AccountID, Issued: u.SessionContext.Attributes.CreationDate, SourceIdentity: u.SessionContext.SourceIdentity}
	if strings.Trim(string(u.SessionContext.Attributes.MFAAuthenticated), `"`) == "true" {
		session.MFA = session.Issued
	}
	if u.InvokedByDelegate != nil {
		session.Delegation = &identity.Delegation{Account: u.InvokedByDelegate.AccountID}
		notes = append(notes, "what the product provider asked for is not in a record: its session is taken to be allowed nothing")
	}
	switch u.Type {
	case "Root":
		if identity.Accounts.Get(r, u.AccountID) == nil {
			return nil, nil
		}
		c = identity.RootCaller(u.AccountID, "")
		if u.InvokedByDelegate != nil {
			session.Type = identity.RootUser
			c = identity.SessionCaller(r, session)
		}
	case "IAMUser":
		user := identity.UserByID(r, u.PrincipalID)
		if user == nil {
			user = identity.UserByARN(r, arn.ARN(u.ARN))
		}
		if user == nil {
			return nil, nil
		}
		c = identity.UserCaller(user, "")
		if !session.Issued.IsZero() || session.Delegation != nil {
			session.Type, session.Principal, session.Account = identity.IAMUser, user.UserId, c.Account
			c = identity.SessionCaller(r, session)
		}
	case "AssumedRole":
		role := identity.RoleByID(r, issuer.PrincipalID)
		if role == nil {
			role = identity.RoleByARN(r, arn.ARN(issuer.ARN))
		}
		if role == nil {
			return nil, nil
		}
		session.Type, session.Principal, session.Account = identity.AssumedRole, role.RoleId, arn.ARN(role.Arn).Account()
		session.Name = u.ARN[strings.LastIndexByte(u.ARN, '/')+1:]
		c = identity.SessionCaller(r, session)
		notes = append(notes, "session policies and session tags are not in a record: the session is taken to have none")
	case "FederatedUser":
		session.Type, session.Name = identity.FederatedUser, u.ARN[strings.LastIndexByte(u.ARN, '/')+1:]
		user := identity.UserByID(r, issuer.PrincipalID)
		if user == nil {
			user = identity.UserByARN(r, arn.ARN(issuer.ARN))
		}
		switch {
		case user != nil: // of whose account the session is, whatever else the record says
			session.Principal, session.Account = user.UserId, arn.ARN(user.Arn).Account()
		case arn.ARN(issuer.ARN).Resource() != "root" || identity.Accounts.Get(r, u.AccountID) == nil:
			return nil, nil
		}
		c = identity.SessionCaller(r, session)
		notes = append(notes, "session policies are not in a record: the session is taken to have none, and so may do nothing of its own")
	case "WebIdentityUser", "SAMLUser":
		return e.federated()
	case "AWSService":
		c = &identity.Caller{Type: identity.AWSService, Service: u.InvokedBy}
	case "AWSAccount":
		if u.AccountID != "" && u.AccountID != "anonymous" && u.AccountID != "ANONYMOUS_PRINCIPAL" {
			return nil, nil
		}
		c = &identity.Caller{}
	}
	return c, notes
}

// federated is who came with the word of an identity provider, as far as a record
// tells what it said: of a token its audience and subject, of an assertion the name.
func (e *event) federated() (c *identity.Caller, notes []string) {
	u := &e.UserIdentity
	claim := func(key, value string) identity.Claim { return identity.Claim{Key: key, Value: []string{value}} }
	f := &identity.Federation{Provider: u.IdentityProvider, Subject: u.UserName}
	c = &identity.Caller{Type: identity.WebIdentityUser, UserID: u.PrincipalID, Federation: f}
	if u.Type == "SAMLUser" {
		// What stands for the provider there is what names are qualified with; which one it
		// is stands among the parameters, and of a call that was refused nowhere.
		var parameters struct{ PrincipalArn string }
		if json.Unmarshal(e.RequestParameters, &parameters) == nil {
			f.Provider = parameters.PrincipalArn
		} else {
			f.Provider = ""
		}
		c.Type, f.NameQualifier = identity.SAMLUser, u.IdentityProvider
		f.Claims = []identity.Claim{claim("saml:sub", f.Subject), claim("saml:namequalifier", f.NameQualifier)}
		notes = append(notes, "of what the provider said a record has the name alone: condition keys of its attributes are absent")
	} else {
		name := f.Provider
		if _, registered, ok := strings.Cut(name, ":oidc-provider/"); ok {
			name = registered
		}
		f.Claims = []identity.Claim{claim(name+":sub", f.Subject)}
		if audience, ok := strings.CutPrefix(strings.TrimSuffix(u.PrincipalID, ":"+f.Subject), f.Provider+":"); ok {
			f.Audience = audience
			f.Claims = append(f.Claims, claim(name+":aud", audience))
		}
		notes = append(notes, "of the token a record has the audience and the subject alone: condition keys of its other claims are absent")
	}
	if f.Provider == "" {
		notes = append(notes, "the record does not tell the provider, and nobody trusts one without a name")
	}
	return c, append(notes, "session tags that the provider asked for are not in a record: the session is taken to have none")
}

// refusedText is what a refusal says was refused: the action and, if it is an ARN, the resource.
var refusedText = regexp.MustCompile(`is not authorized to perform: ([A-Za-z0-9-]+:[A-Za-z0-9]+)(?: on resource: "?(arn:[^" ]+|\*))?`)

// checks are the permissions that the call asked for. The parameters of the call
// tell them all; where there are none, as in the records of refused calls, what
// was refused stands in the error.
func (e *event) checks(c *service.Call, op *service.Op, name string) (all []service.Check, notes []string) {
	if op != nil && op.TakesInput() && len(e.RequestParameters) > 0 && e.RequestParameters[0] == '{' {
		in := op.New()
		if wire.ReadRecord(e.RequestParameters, in) == nil {
			if all, err := checksOf(c, op, in); err == nil && len(all) > 0 {
				return all, nil
			}
		}
	}
	action := policy.Action(name + ":" + e.EventName)
	if op != nil && len(op.Needs) > 0 {
		action = op.Needs[0].Action
	}
	notes = append(notes, "the record does not tell the parameters of the call: condition keys that come from them are absent")
	var resources []string
	if m := refusedText.FindStringSubmatch(e.ErrorMessage); m != nil {
		if action = policy.Action(m[1]); m[2] != "" {
			resources = []string{m[2]}
		}
	}
	if len(resources) == 0 {
		for _, r := range e.Resources {
			if _, err := arn.Parse(r.ARN); err == nil {
				resources = append(resources, r.ARN)
			}
		}
	}
	if len(resources) == 0 {
		resources = []string{"*"}
	}
	for _, r := range resources[:min(len(resources), maxRecordedResources)] {
		all = append(all, service.Check{Action: action, Target: service.Target{ARN: arn.ARN(r)}})
	}
	return all, notes
}

// checksOf are the checks of an input that nobody has sent: what a handler's table
// makes of it may fail.
func checksOf(c *service.Call, op *service.Op, in any) (all []service.Check, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("the input lacks what its table needs")
		}
	}()
	if reflect.TypeOf(in).Elem().NumField() > 0 {
		all = op.Checks(c, in)
	}
	return all, nil
}
