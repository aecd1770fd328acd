package ssm

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/iamd-dev/iamd/internal/agentmessage"
	ssmapi "github.com/iamd-dev/iamd/internal/aws/ssm/api"
	"github.com/iamd-dev/iamd/internal/aws/ssm/ssmmessages/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/wire"
)

// A gate is the message gateway: the channels that are open. An agent has a control
// channel, on which it is told to begin sessions; a session has two data channels, its
// client's and its agent's, and the gate passes on what the one says to the other.
type gate struct {
	mu       sync.Mutex
	controls map[string]*control // by node key
	tokens   map[string]token    // for control channels, by node key
	sessions map[string]*live    // by account/region/id
	closed   bool
}

// A token opens a channel, once.
type token struct {
	value identity.Secret
	until time.Time
}

const (
	tokenLife     = 5 * time.Minute
	opening       = 10 * time.Second // for what must come first in a channel
	writing       = 30 * time.Second
	idle          = 20 * time.Minute // of a session's client: User Guide, "Specify an idle session timeout value"
	agentWait     = time.Minute      // for the agent of a session to come, and to come again
	longestFrame  = 1 << 20
	schemaVersion = "1.0"
)

func newToken() token {
	var b [48]byte
	rand.Read(b[:])
	return token{identity.NewSecret(base64.StdEncoding.EncodeToString(b[:])), time.Now().Add(tokenLife)}
}

func (t token) is(value string) bool {
	return t.value.Reveal() != "" && time.Now().Before(t.until) && subtle.ConstantTimeCompare([]byte(t.value.Reveal()), []byte(value)) == 1
}

// A control is an agent's control channel.
type control struct {
	conn    *websocket.Conn
	writing sync.Mutex
}

func (c *control) write(kind int, b []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.conn.SetWriteDeadline(time.Now().Add(writing))
	return c.conn.WriteMessage(kind, b)
}

// An end is one of the two ends of a session.
type end int

const (
	client end = iota
	agent
)

// A live is a session that lasts.
type live struct {
	gate    *gate
	key     string
	id      string
	node    string // key
	request string // id of the call that began it
	over    func()
	waiting *time.Timer // ends the session when its agent does not come
	resting *time.Timer // ends it when its client has said nothing for long

	mu     sync.Mutex
	change *sync.Cond
	tokens [2]token
	ends   [2]*control
	came   [2]bool // the end has been there
	ended  bool
	told   chan struct{} // closed when the session has ended and both ends have been told
}

// Gateway returns the table of the message gateway of Session Manager, ssmmessages, by
// which agents open their channels. An agent speaks for its own instance alone.
func (s *Service) Gateway() *service.Service {
	t := service.New(api.Model, "",
		//             operation                on
		service.Handle(s.createControlChannel, service.Any),
		service.Handle(s.openControlChannel, service.Any),
		service.Handle(s.createDataChannel, service.Any),
		service.Handle(s.openDataChannel, service.Any),
	)
	t.Key = key
	return t
}

func (g *gate) connected(node string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.controls[node] != nil
}

func (g *gate) session(key string) *live {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sessions[key]
}

// close ends all sessions and channels. None is opened any more.
func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	var all []*live
	for _, l := range g.sessions {
		all = append(all, l)
	}
	var open []*control
	for _, c := range g.controls {
		open = append(open, c)
	}
	g.mu.Unlock()
	for _, l := range all {
		l.end()
	}
	for _, c := range open {
		c.conn.Close()
	}
}

// xmlAnswer is an answer with a token as agents read it.
func xmlAnswer(op string, t token) (*service.Answer, error) {
	body, err := xml.Marshal(struct {
		XMLName              xml.Name
		MessageSchemaVersion string
		TokenValue           string
	}{xml.Name{Local: op + "Response"}, schemaVersion, t.value.Reveal()})
	if err != nil {
		return nil, err
	}
	return &service.Answer{Status: http.StatusCreated, Header: []wire.Field{{Name: "Content-Type", Value: "application/xml"}}, Body: body}, nil
}

func (s *Service) createControlChannel(_ context.Context, c *service.Call, in *api.CreateControlChannelInput) (*service.Answer, error) {
	if err := itself(c, in.ChannelId); err != nil {
		return nil, err
	}
	t := newToken()
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	if s.gate.tokens == nil {
		s.gate.tokens = map[string]token{}
	}
	s.gate.tokens[nodeKey(c.Account, c.Region, in.ChannelId)] = t
	return xmlAnswer("CreateControlChannel", t)
}

// openControlChannel takes the connection over. The token comes first.
func (s *Service) openControlChannel(_ context.Context, c *service.Call, in *api.OpenControlChannelInput) (*service.Answer, error) {
	if err := itself(c, in.ChannelId); err != nil {
		return nil, err
	}
	node := nodeKey(c.Account, c.Region, in.ChannelId)
	return &service.Answer{Take: func(w http.ResponseWriter, r *http.Request) { s.gate.control(w, r, node) }}, nil
}

var upgrader = websocket.Upgrader{
	HandshakeTimeout: opening,
	CheckOrigin:      func(r *http.Request) bool { return r.Header.Get("Origin") == "" }, // no browser is a client
}

// An opened is what comes first in a channel, as text.
type opened struct {
	TokenValue string
}

// upgrade makes the connection a WebSocket and reads what comes first. nil: it is answered.
func upgrade(w http.ResponseWriter, r *http.Request) (*control, opened) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return nil, opened{}
	}
	conn.SetReadLimit(longestFrame)
	conn.SetReadDeadline(time.Now().Add(opening))
	kind, b, err := conn.ReadMessage()
	var o opened
	if err != nil || kind != websocket.TextMessage || json.Unmarshal(b, &o) != nil {
		conn.Close()
		return nil, o
	}
	conn.SetReadDeadline(time.Time{})
	return &control{conn: conn}, o
}

// control serves an agent's control channel until it is closed.
func (g *gate) control(w http.ResponseWriter, r *http.Request, node string) {
	c, o := upgrade(w, r)
	if c == nil {
		return
	}
	defer c.conn.Close()
	g.mu.Lock()
	if g.closed || !g.tokens[node].is(o.TokenValue) {
		g.mu.Unlock()
		return
	}
	delete(g.tokens, node)
	if g.controls == nil {
		g.controls = map[string]*control{}
	}
	if old := g.controls[node]; old != nil {
		old.conn.Close()
	}
	g.controls[node] = c
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.controls[node] == c {
			delete(g.controls, node)
		}
	}()
	for {
		_, b, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		m, err := agentmessage.Parse(b)
		if err != nil || m.Type != agentmessage.SessionComplete {
			continue
		}
		var done struct{ TaskId string }
		if json.Unmarshal(m.Payload, &done) != nil {
			continue
		}
		account, region, _ := cutKey(node)
		if l := g.session(account + "/" + region + "/" + done.TaskId); l != nil && l.node == node {
			l.end()
		}
	}
}

func cutKey(node string) (account, region, id string) {
	account, rest, _ := strings.Cut(node, "/")
	region, id, _ = strings.Cut(rest, "/")
	return account, region, id
}

// begin tells the agent to begin a session, and returns the token of the client.
func (s *Service) begin(c *service.Call, session *Session) (string, error) {
	g, key := &s.gate, commandKey(c, session.ID)
	l := &live{gate: g, key: key, id: session.ID, node: nodeKey(c.Account, c.Region, session.Target), request: c.RequestID, told: make(chan struct{}), over: func() { s.ended(key, s.now()) }}
	l.change = sync.NewCond(&l.mu)
	content, err := json.Marshal(map[string]any{
		"DocumentName":    session.Document,
		"DocumentContent": map[string]any{"schemaVersion": "1.0", "description": "Document to hold regional settings for Session Manager", "sessionType": "Standard_Stream", "inputs": map[string]any{}},
		"SessionId":       session.ID, "Parameters": map[string]any{}, "RunAsUser": "", "SessionOwner": session.Owner,
	})
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(map[string]any{"Content": string(content), "TaskId": session.ID, "Topic": "", "SchemaVersion": 1})
	if err != nil {
		return "", err
	}
	g.mu.Lock()
	at := g.controls[l.node]
	if at == nil || g.closed {
		g.mu.Unlock()
		return "", notConnected(session.Target)
	}
	if g.sessions == nil {
		g.sessions = map[string]*live{}
	}
	g.sessions[key] = l
	g.mu.Unlock()
	l.waiting = time.AfterFunc(agentWait, l.end)
	l.resting = time.AfterFunc(idle, l.end)
	if err := at.write(websocket.BinaryMessage, (&agentmessage.Message{Type: agentmessage.StartSession, Payload: payload}).Append(nil)); err != nil {
		l.end()
		return "", notConnected(session.Target)
	}
	return l.admit(client), nil
}

// admit makes the token with which an end may be opened.
func (l *live) admit(e end) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tokens[e] = newToken()
	return l.tokens[e].value.Reveal()
}

// status is the session's in AWS's words.
func (l *live) status() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.ends[client] != nil && l.ends[agent] != nil:
		return "Connected"
	case l.ends[agent] != nil:
		return "Disconnected"
	}
	return "Connecting"
}

// end ends the session and tells both ends.
func (l *live) end() {
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return
	}
	l.ended = true
	defer close(l.told)
	ends := l.ends
	l.mu.Unlock()
	l.waiting.Stop()
	l.resting.Stop()
	l.over()
	l.gate.mu.Lock()
	delete(l.gate.sessions, l.key)
	l.gate.mu.Unlock()
	payload, err := json.Marshal(map[string]any{"MessageType": agentmessage.ChannelClosed, "MessageId": newUUID(), "DestinationId": "", "SessionId": l.id, "SchemaVersion": 1,
		"CreatedDate": stamp(time.Now()), "Output": ""})
	if err == nil {
		for _, c := range ends {
			if c != nil {
				c.write(websocket.BinaryMessage, (&agentmessage.Message{Type: agentmessage.ChannelClosed, Payload: payload}).Append(nil))
				c.write(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
				c.conn.Close()
			}
		}
	}
	l.mu.Lock()
	l.change.Broadcast()
	l.mu.Unlock()
}

// of finds the session of an agent's call.
func (s *Service) of(c *service.Call, id string) (*live, error) {
	l := s.gate.session(commandKey(c, id))
	if l == nil {
		return nil, ssmapi.DoesNotExist("Session does not exist")
	}
	_, _, instance := cutKey(l.node)
	if err := itself(c, instance); err != nil {
		return nil, err
	}
	return l, nil
}

func (s *Service) createDataChannel(_ context.Context, c *service.Call, in *api.CreateDataChannelInput) (*service.Answer, error) {
	l, err := s.of(c, in.SessionId)
	if err != nil {
		return nil, err
	}
	c.Parent = l.request
	l.mu.Lock()
	l.tokens[agent] = newToken()
	t := l.tokens[agent]
	l.mu.Unlock()
	return xmlAnswer("CreateDataChannel", t)
}

// openDataChannel is the agent's end, and that of clients that sign what they send. The
// token, which comes first, is of the one end or of the other.
func (s *Service) openDataChannel(_ context.Context, c *service.Call, in *api.OpenDataChannelInput) (*service.Answer, error) {
	l := s.gate.session(commandKey(c, in.SessionId))
	if l == nil {
		return nil, ssmapi.DoesNotExist("Session does not exist")
	}
	as := client
	if _, _, instance := cutKey(l.node); itself(c, instance) == nil {
		as = agent
	}
	c.Parent = l.request
	return &service.Answer{Take: func(w http.ResponseWriter, r *http.Request) {
		if at, o := upgrade(w, r); at != nil {
			l.serve(as, at, o)
		}
	}}, nil
}

// ServeHTTP is the end of a client that signs nothing, as older ones do: a WebSocket whose
// first message has the token that StartSession or ResumeSession gave.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := strings.TrimPrefix(r.URL.Path, "/v1/data-channel/")
	var l *live
	s.gate.mu.Lock()
	for _, one := range s.gate.sessions {
		if one.id == id {
			l = one
		}
	}
	s.gate.mu.Unlock()
	if l == nil { // nobody is kept waiting who cannot be let in
		http.NotFound(w, r)
		return
	}
	if at, o := upgrade(w, r); at != nil {
		l.serve(client, at, o)
	}
}

// serve passes on what an end says to the other end, for which it waits, until this one is
// closed.
func (l *live) serve(e end, at *control, o opened) {
	defer at.conn.Close()
	l.mu.Lock()
	if l.ended || !l.tokens[e].is(o.TokenValue) {
		l.mu.Unlock()
		return
	}
	l.tokens[e] = token{}
	if old := l.ends[e]; old != nil {
		old.conn.Close()
	}
	l.ends[e], l.came[e] = at, true
	l.change.Broadcast()
	if e == agent {
		l.waiting.Stop()
	}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.ends[e] == at {
			l.ends[e] = nil
			if e == agent && !l.ended {
				l.waiting.Reset(agentWait)
			}
		}
	}()
	for {
		kind, b, err := at.conn.ReadMessage()
		if err != nil {
			return
		}
		if e == client {
			l.resting.Reset(idle)
		}
		other, ended := l.wait(1 - e)
		if ended {
			<-l.told // it is closed then
			return
		}
		if other != nil && other.write(kind, b) != nil {
			other.conn.Close()
		}
	}
}

// wait waits for an end to have come. Where it has gone again it is nil: what it misses is
// said again until it has heard of it.
func (l *live) wait(e end) (*control, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.came[e] && !l.ended {
		l.change.Wait()
	}
	return l.ends[e], l.ended
}
