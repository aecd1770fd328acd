package server

import (
	"encoding/json"
	"net/http"

	"github.com/iamd-dev/iamd/internal/authz"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/wire"
)

// Details is the answer of GET /authorization-details/{request id}.
type Details struct {
	// Explanations are of the call's decisions, in the order in which they were made.
	Explanations []*authz.Explanation `json:"explanations"`
	// EncodedMessage is the deciding one for sts:DecodeAuthorizationMessage.
	EncodedMessage string `json:"encodedMessage,omitempty"`
}

// serveDetails explains a past call to whoever has iam:GetRequestAuthorizationDetails
// in the account that called or the one whose resource it was.
func (x *exchange) serveDetails(c *service.Call) error {
	r := authz.Request{Call: c, Service: &service.Service{Model: x.route.model()},
		Check: service.Check{Action: "iam:GetRequestAuthorizationDetails", Target: service.Target{ARN: "*"}}}
	if d := authz.Decide(&r, nil); !d.Allowed {
		return &wire.Error{Code: "AccessDeniedException", Status: 403, Message: d.Denial(&r, true)}
	}
	all, err := x.server.explanations(x.route.details, c.Account)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return &wire.Error{Code: "ResourceNotFoundException", Status: 404,
			Message: "No decision of request " + x.route.details + " is kept for account " + c.Account + "."}
	}
	answer := Details{Explanations: all}
	if answer.EncodedMessage, err = x.server.Keyring.SealMessage(c.State, c.Account, all[len(all)-1].Message()); err != nil {
		return err
	}
	b, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	x.w.Header().Set("X-Amzn-Requestid", x.id)
	x.w.Header().Set("Content-Type", "application/json")
	x.status = http.StatusOK
	_, err = x.w.Write(append(b, '\n'))
	return err
}
