package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/iamd-dev/iamd/internal/authz"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/wire"
)

// GetRequestAuthorizationDetailsInput is what GET /authorization-details/{request id} asks for.
type GetRequestAuthorizationDetailsInput struct {
	RequestID string
}

// Details is the answer of GET /authorization-details/{request id}.
type Details struct {
	// Explanations are of the call's decisions, in the order in which they were made.
	Explanations []*authz.Explanation `json:"explanations"`
	// EncodedMessage is the deciding one for sts:DecodeAuthorizationMessage.
	EncodedMessage string `json:"encodedMessage,omitempty"`
}

// detailsModel is of a service with one operation, which has no codec: its answer is
// written by serveDetails.
func detailsModel() *wire.Model {
	return &wire.Model{Name: detailsService, SigningName: detailsService, Protocol: wire.RESTJSON, Operations: []wire.Operation{{
		Name: "GetRequestAuthorizationDetails", Method: http.MethodGet, URI: "/authorization-details/{RequestID}",
		In: wire.Type[GetRequestAuthorizationDetailsInput](), Out: wire.Type[Details](),
	}}}
}

// detailsOp is the operation, authorised and recorded like any other.
func (s *Server) detailsOp() *service.Op {
	table := service.New(detailsModel(), "", service.Handle(s.getDetails, service.Any, service.Action("iam:GetRequestAuthorizationDetails")))
	return table.Op("GetRequestAuthorizationDetails")
}

// getDetails explains a past call to the account that called or the one whose resource it was.
func (s *Server) getDetails(_ context.Context, c *service.Call, in *GetRequestAuthorizationDetailsInput) (*Details, error) {
	all, err := s.explanations(in.RequestID, c.Account)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, &wire.Error{Code: "ResourceNotFoundException", Status: 404,
			Message: "No decision of request " + in.RequestID + " is kept for account " + c.Account + "."}
	}
	message, err := s.Keyring.SealMessage(c.State, c.Account, all[len(all)-1].Message())
	if err != nil {
		return nil, err
	}
	return &Details{Explanations: all, EncodedMessage: message}, nil
}

func (x *exchange) serveDetails(c *service.Call) error {
	out, err := x.server.Invoke(x.r.Context(), c, x.server.details, &GetRequestAuthorizationDetailsInput{x.route.details})
	if refused, ok := errors.AsType[*wire.Error](err); ok && refused.Code == "AccessDenied" {
		refused.Code = "AccessDeniedException" // as JSON services name it
	}
	if err != nil {
		return err
	}
	b, err := json.Marshal(out)
	if err != nil {
		return err
	}
	x.w.Header().Set("X-Amzn-Requestid", x.id)
	x.w.Header().Set("Content-Type", "application/json")
	x.status = http.StatusOK
	_, err = x.w.Write(append(b, '\n'))
	return err
}
