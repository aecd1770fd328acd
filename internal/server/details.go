package server

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/iamd-dev/iamd/internal/authz"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/wire"
)

// GetRequestAuthorizationDetailsInput is what GET /authorization-details/{request id} asks for.
type GetRequestAuthorizationDetailsInput struct {
	RequestID string
}

// GetEventAuthorizationDetailsInput is what POST /authorization-details asks for.
type GetEventAuthorizationDetailsInput struct {
	Event []byte // a CloudTrail record
}

// Details is the answer of both.
type Details struct {
	// Explanations are of the call's decisions, in the order in which they were made.
	Explanations []*authz.Explanation `json:"explanations"`
	// EncodedMessage is the deciding one for sts:DecodeAuthorizationMessage.
	EncodedMessage string `json:"encodedMessage,omitempty"`
}

// detailsModel is of a service with two operations, which has no codec: its answers
// are written by serveDetails.
func detailsModel() *wire.Model {
	return &wire.Model{Name: detailsService, SigningName: detailsService, Protocol: wire.RESTJSON, Operations: []wire.Operation{{
		Name: "GetEventAuthorizationDetails", Method: http.MethodPost, URI: "/authorization-details",
		In: wire.Type[GetEventAuthorizationDetailsInput](), Out: wire.Type[Details](),
	}, {
		Name: "GetRequestAuthorizationDetails", Method: http.MethodGet, URI: "/authorization-details/{RequestID}",
		In: wire.Type[GetRequestAuthorizationDetailsInput](), Out: wire.Type[Details](),
	}}}
}

// detailsTable are the operations, authorised and recorded like any other.
func (s *Server) detailsTable() *service.Service {
	permission := service.Action("iam:GetRequestAuthorizationDetails")
	return service.New(detailsModel(), "",
		service.Handle(s.getDetails, service.Any, permission),
		service.Handle(s.explainEvent, service.Any, permission),
	)
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

// explainEvent decides the call of a record again.
func (s *Server) explainEvent(_ context.Context, c *service.Call, in *GetEventAuthorizationDetailsInput) (*Details, error) {
	all, err := s.decideAgain(c, in.Event)
	if err != nil {
		return nil, err
	}
	return &Details{Explanations: all}, nil
}

func (x *exchange) serveDetails(c *service.Call, body []byte) error {
	op, in := "GetRequestAuthorizationDetails", any(&GetRequestAuthorizationDetailsInput{x.route.details})
	if x.r.Method == http.MethodPost {
		op, in = "GetEventAuthorizationDetails", &GetEventAuthorizationDetailsInput{body}
	}
	out, err := x.server.Invoke(x.r.Context(), c, x.server.details.Op(op), in)
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
