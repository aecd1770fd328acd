package ssm

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/ssm/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// A Session is somebody's shell on a node, now or once.
type Session struct {
	ID       string
	Target   string
	Document string
	Reason   string `json:",omitempty"`
	Owner    string // ARN
	UserID   string // aws:userid of the owner
	Started  time.Time
	Ended    time.Time // zero while it lasts
}

var sessions = store.NewTable[Session]("ssm-sessions") // by account/region/id

// SessionDocument is the document of sessions that name none.
const SessionDocument = "SSM-SessionManagerRunShell"

// Recover ends the sessions of an earlier life of the server, which nobody is in any more,
// and the commands that ran then.
func Recover(ctx context.Context, db *store.DB, now time.Time) error {
	return db.Update(ctx, func(tx *store.Tx) error {
		for key, session := range sessions.All(tx, "") {
			if session.Ended.IsZero() {
				session.Ended = now.UTC()
				sessions.Put(tx, key, session)
			}
		}
		return lose(tx, "", now)
	})
}

// onSession is the session that a call names.
func onSession[In any](id func(*In) string) service.Resource {
	return service.On(func(c *service.Call, in *In) []service.Target {
		return []service.Target{{ARN: arn.New("aws", "ssm", c.Region, c.Account, "session/"+id(in))}}
	})
}

// tag gives the tags that AWS gives sessions: whose it is, and where (User Guide,
// "Additional sample IAM policies for Session Manager").
func (s *Session) tag(key string) (string, bool) {
	switch strings.ToLower(key) {
	case "aws:ssmmessages:session-id":
		return s.UserID, true
	case "aws:ssmmessages:target-id":
		return s.Target, true
	}
	return "", false
}

var notInSession = regexp.MustCompile(`[^a-zA-Z0-9_.@-]`)

// newSessionID is named after who begins it: policies know sessions by that (session/${aws:username}-*).
func newSessionID(c *service.Call) string {
	name := "root"
	if r := c.Caller.ARN.Resource(); r != "root" {
		name = r[strings.LastIndexByte(r, '/')+1:]
	}
	var b [16]byte
	rand.Read(b[:])
	return notInSession.ReplaceAllString(name[:min(len(name), 64)], "-") + "-" + strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))[:17]
}

func (s *Service) startSession(ctx context.Context, c *service.Call, in *api.StartSessionInput) (*api.StartSessionOutput, error) {
	if in.DocumentName != "" && in.DocumentName != SessionDocument {
		return nil, api.InvalidDocument("Document with name %s does not exist.", in.DocumentName)
	}
	if len(in.Parameters) > 0 {
		return nil, api.InvalidDocument("Document %s has no parameters.", SessionDocument)
	}
	if n := s.node(c.State, c.Account, c.Region, in.Target); n == nil || !s.gate.connected(nodeKey(c.Account, c.Region, in.Target)) {
		return nil, notConnected(in.Target)
	}
	session := &Session{ID: newSessionID(c), Target: in.Target, Document: SessionDocument, Reason: in.Reason, Owner: string(c.Caller.ARN), UserID: c.Caller.UserID,
		Started: c.Time.UTC().Truncate(time.Millisecond)}
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		sessions.Put(tx, commandKey(c, session.ID), session)
		return nil
	})
	if err != nil {
		return nil, err
	}
	token, err := s.begin(c, session)
	if err != nil {
		s.ended(commandKey(c, session.ID), c.Time)
		return nil, err
	}
	return &api.StartSessionOutput{SessionId: session.ID, TokenValue: token, StreamUrl: streamURL(c, session.ID)}, nil
}

func notConnected(target string) error { return api.TargetNotConnected("%s is not connected.", target) }

// streamURL is where the client of a session opens its WebSocket.
func streamURL(c *service.Call, id string) string {
	return "ws" + strings.TrimPrefix(c.Source.Endpoint(), "http") + "/v1/data-channel/" + id + "?role=publish_subscribe"
}

// resumeSession gives the one who lost the connection another token. What the node wrote
// meanwhile comes then.
func (s *Service) resumeSession(_ context.Context, c *service.Call, in *api.ResumeSessionInput) (*api.ResumeSessionOutput, error) {
	l := s.gate.session(commandKey(c, in.SessionId))
	if l == nil {
		return nil, api.DoesNotExist("Session does not exist")
	}
	return &api.ResumeSessionOutput{SessionId: in.SessionId, TokenValue: l.admit(client), StreamUrl: streamURL(c, in.SessionId)}, nil
}

// terminateSession ends a session for good. One that is over, or never was, is as good.
func (s *Service) terminateSession(_ context.Context, c *service.Call, in *api.TerminateSessionInput) (*api.TerminateSessionOutput, error) {
	if l := s.gate.session(commandKey(c, in.SessionId)); l != nil {
		l.end()
	}
	return &api.TerminateSessionOutput{SessionId: in.SessionId}, nil
}

// ended keeps that a session has ended. It is done whoever has gone away meanwhile.
func (s *Service) ended(key string, now time.Time) error {
	return s.DB.Update(context.Background(), func(tx *store.Tx) error {
		if session := sessions.Get(tx, key); session != nil && session.Ended.IsZero() {
			session.Ended = now.UTC()
			sessions.Put(tx, key, session)
		}
		return nil
	})
}

func (s *Service) describeSessions(_ context.Context, c *service.Call, in *api.DescribeSessionsInput) (*api.DescribeSessionsOutput, error) {
	page, err := newPage(in.NextToken, in.MaxResults, 200)
	if err != nil {
		return nil, err
	}
	type listed struct {
		key     string
		session *Session
	}
	var all []listed
	for _, session := range sessions.All(c.State, c.Account+"/"+c.Region+"/") {
		if session.Ended.IsZero() == (in.State == "Active") && c.Time.Sub(session.Started) < kept {
			all = append(all, listed{fmt.Sprintf("%020d/%s", uint64(1)<<62-uint64(session.Started.UnixMilli()), session.ID), session})
		}
	}
	slices.SortFunc(all, func(a, b listed) int { return strings.Compare(a.key, b.key) })
	out := &api.DescribeSessionsOutput{Sessions: []api.Session{}}
	for _, one := range all {
		if one.key <= page.after {
			continue
		}
		v := api.Session{SessionId: one.session.ID, Target: one.session.Target, Status: "Terminated", StartDate: one.session.Started, EndDate: one.session.Ended,
			DocumentName: one.session.Document, Owner: one.session.Owner, Reason: one.session.Reason, OutputUrl: &api.SessionManagerOutputUrl{}}
		if one.session.Ended.IsZero() {
			v.Status = "Connecting"
			if l := s.gate.session(commandKey(c, one.session.ID)); l != nil {
				v.Status = l.status()
			}
		}
		matches := true
		for _, f := range in.Filters {
			switch f.Key {
			case "InvokedAfter", "InvokedBefore":
				t, err := time.Parse(time.RFC3339, f.Value)
				if err != nil {
					return nil, api.InvalidFilterKey("The value of %s is no time: %s", f.Key, f.Value)
				}
				matches = matches && v.StartDate.After(t) == (f.Key == "InvokedAfter")
			case "Target":
				matches = matches && v.Target == f.Value
			case "Owner":
				matches = matches && v.Owner == f.Value
			case "Status":
				matches = matches && v.Status == f.Value
			case "SessionId":
				matches = matches && v.SessionId == f.Value
			default: // AccessType: all are of the standard kind
				matches = matches && f.Value == "Standard"
			}
		}
		if !matches {
			continue
		}
		if !page.take(one.key) {
			break
		}
		out.Sessions = append(out.Sessions, v)
	}
	out.NextToken = page.next
	return out, nil
}

func (s *Service) getConnectionStatus(_ context.Context, c *service.Call, in *api.GetConnectionStatusInput) (*api.GetConnectionStatusOutput, error) {
	out := &api.GetConnectionStatusOutput{Target: in.Target, Status: "notconnected"}
	if s.node(c.State, c.Account, c.Region, in.Target) != nil && s.gate.connected(nodeKey(c.Account, c.Region, in.Target)) {
		out.Status = "connected"
	}
	return out, nil
}
