package authz

import (
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/wire"
)

// Barred says whether the caller's kind of credentials cannot make the call at
// all, whatever policies say (STS API Reference, GetSessionToken and
// GetFederationToken): those of a federated user, and those of GetSessionToken
// without MFA, make no IAM calls and next to no STS calls. It returns nil or the
// refusal.
func Barred(c *service.Call, op *service.Op) error {
	s := c.Caller.Session
	if s == nil || c.Caller.Type == identity.AssumedRole || s.AssumedRoot || s.Delegation != nil { // a policy of the session says what it may
		return nil
	}
	federated := c.Caller.Type == identity.FederatedUser
	switch op.Service.Model.Name {
	case "iam":
		if federated || s.MFA.IsZero() {
			return &wire.Error{Code: "InvalidClientTokenId", Status: 403, Message: "The security token included in the request is invalid"}
		}
	case "sts":
		if op.Name != "GetCallerIdentity" && (federated || op.Name != "AssumeRole") {
			return &wire.Error{Code: "AccessDenied", Status: 403, Message: "Cannot call " + op.Name + " with session credentials"}
		}
	}
	return nil
}

// Refusal is the error that a refused call is answered with, in the words of its service.
func Refusal(r *Request, d Decision) error {
	switch r.Service.Model.Protocol {
	case wire.RESTJSON:
		return &wire.Error{Code: "AccessDeniedException", Status: 403, Message: d.Denial(r, !r.Check.Bare)}
	case wire.JSON10, wire.JSON11:
		return &wire.Error{Code: "AccessDeniedException", Status: 400, Message: d.Denial(r, !r.Check.Bare)}
	case wire.EC2:
		return &wire.Error{Code: "UnauthorizedOperation", Status: 403, Message: "You are not authorized to perform this operation. " + d.Denial(r, !r.Check.Bare)}
	}
	same := r.Call.Account != "" && r.Call.Account == r.Owner()
	if r.Service.Quoted && !same {
		return &wire.Error{Code: "AccessDenied", Status: 403, Message: "Access Denied"}
	}
	return &wire.Error{Code: "AccessDenied", Status: 403, Message: d.Denial(r, !r.Check.Bare)}
}
