package ssmagent

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/creack/pty"
	"github.com/gorilla/websocket"

	"github.com/iamd-dev/iamd/internal/agentmessage"
	"github.com/iamd-dev/iamd/internal/workload"
)

const (
	schemaVersion = "1.0"
	handshaking   = time.Minute     // for the client to come and to answer
	writing       = 2 * time.Minute // of one message: the first waits for the client
	again         = time.Second     // after which what nobody has heard of is said again
	mostUnheard   = 1000            // messages; then the shell waits
	mostRepeated  = 50              // messages at once
	pingEvery     = 30 * time.Second
	lastWords     = 3 * time.Second // for the client to acknowledge what the shell wrote last
)

// sessions keeps the control channel open until ctx ends, and serves the sessions that it
// is told of. Where it is refused there are no sessions; commands go on.
func (a *Agent) sessions(ctx context.Context) {
	for wait := soon; ctx.Err() == nil; wait = min(2*wait, late) {
		began := time.Now()
		a.control(ctx)
		if time.Since(began) > late {
			wait = soon
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// control opens a control channel and serves it.
func (a *Agent) control(ctx context.Context) error {
	at, err := a.channel(ctx, "control-channel", a.ID, "?role=subscribe&stream=input", nil)
	if err != nil {
		return err
	}
	defer at.close()
	var work sync.WaitGroup
	defer work.Wait()
	ctx, end := context.WithCancel(ctx)
	defer end()
	var mu sync.Mutex
	running := map[string]context.CancelFunc{}
	for {
		m, err := at.read()
		if err != nil {
			return err
		}
		switch m.Type {
		case agentmessage.StartSession:
			var task struct{ Content string }
			var begin struct{ SessionId string }
			if json.Unmarshal(m.Payload, &task) != nil || json.Unmarshal([]byte(task.Content), &begin) != nil || begin.SessionId == "" {
				continue
			}
			own, stop := context.WithCancel(ctx)
			mu.Lock()
			running[begin.SessionId] = stop
			mu.Unlock()
			work.Go(func() {
				defer stop()
				status := "Success"
				if a.session(own, begin.SessionId) != nil {
					status = "Failed"
				}
				mu.Lock()
				delete(running, begin.SessionId)
				mu.Unlock()
				payload, err := json.Marshal(map[string]any{"SchemaVersion": 1, "TaskId": begin.SessionId, "Topic": "", "FinalTaskStatus": status, "InstanceId": a.ID, "Output": ""})
				if err == nil {
					at.write(&agentmessage.Message{Type: agentmessage.SessionComplete, Payload: payload})
				}
			})
		case agentmessage.ChannelClosed:
			var closed struct{ SessionId string }
			if json.Unmarshal(m.Payload, &closed) == nil {
				mu.Lock()
				if stop := running[closed.SessionId]; stop != nil {
					stop()
				}
				mu.Unlock()
			}
		}
	}
}

// A socket is an open channel.
type socket struct {
	conn    *websocket.Conn
	writing sync.Mutex
	stop    func() bool
	done    chan struct{}
}

// channel asks for a channel's token, opens its WebSocket and says the token. It is closed
// when ctx ends.
func (a *Agent) channel(ctx context.Context, kind, id, query string, more map[string]string) (*socket, error) {
	path := "/v1/" + kind + "/" + id
	in := map[string]string{"MessageSchemaVersion": schemaVersion, "RequestId": newUUID()}
	for k, v := range more {
		in[k] = v
	}
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, workload.Endpoint+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	if err := a.sign(ctx, r, "ssmmessages", body); err != nil {
		return nil, err
	}
	resp, err := a.client.Do(r)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		return nil, &refusal{Status: resp.StatusCode, Message: string(text)}
	}
	var token struct{ TokenValue string }
	if err := xml.Unmarshal(text, &token); err != nil {
		return nil, err
	}

	open, err := http.NewRequestWithContext(ctx, http.MethodGet, workload.Endpoint+path+query, nil)
	if err != nil {
		return nil, err
	}
	if err := a.sign(ctx, open, "ssmmessages", nil); err != nil {
		return nil, err
	}
	dialer := &websocket.Dialer{NetDialContext: a.dial, HandshakeTimeout: writing}
	conn, _, err := dialer.DialContext(ctx, "ws"+strings.TrimPrefix(workload.Endpoint, "http")+path+query, open.Header)
	if err != nil {
		return nil, err
	}
	s := &socket{conn: conn, done: make(chan struct{})}
	s.stop = context.AfterFunc(ctx, func() { conn.Close() })
	in["RequestId"], in["TokenValue"], in["ClientInstanceId"] = newUUID(), token.TokenValue, a.ID
	if body, err = json.Marshal(in); err != nil {
		s.close()
		return nil, err
	}
	if err := s.send(websocket.TextMessage, body); err != nil {
		s.close()
		return nil, err
	}
	go func() {
		every := time.NewTicker(pingEvery)
		defer every.Stop()
		for {
			select {
			case <-s.done:
				return
			case <-every.C:
				s.send(websocket.PingMessage, []byte("keepalive"))
			}
		}
	}()
	return s, nil
}

func (s *socket) close() {
	s.stop()
	close(s.done)
	s.conn.Close()
}

func (s *socket) send(kind int, b []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.conn.SetWriteDeadline(time.Now().Add(writing))
	return s.conn.WriteMessage(kind, b)
}

func (s *socket) write(m *agentmessage.Message) error {
	return s.send(websocket.BinaryMessage, m.Append(nil))
}

// read reads the next message that is one.
func (s *socket) read() (*agentmessage.Message, error) {
	for {
		_, b, err := s.conn.ReadMessage()
		if err != nil {
			return nil, err
		}
		if m, err := agentmessage.Parse(b); err == nil {
			return m, nil
		}
	}
}

// A stream is the agent's end of a session: what it says is numbered, and said again until
// the client has acknowledged it; what it hears it acknowledges, and takes in order.
type stream struct {
	*socket
	mu       sync.Mutex
	room     *sync.Cond
	next     int64
	unheard  []said
	expected int64
	early    map[int64]*agentmessage.Message
	over     bool
}

type said struct {
	sequence int64
	bytes    []byte
	at       time.Time
}

// say says something to the client, when there is room.
func (s *stream) say(payloadType uint32, payload []byte) error {
	s.mu.Lock()
	for len(s.unheard) >= mostUnheard && !s.over {
		s.room.Wait()
	}
	if s.over {
		s.mu.Unlock()
		return io.ErrClosedPipe
	}
	m := &agentmessage.Message{Type: agentmessage.Output, Sequence: s.next, PayloadType: payloadType, Payload: payload}
	if s.next == 0 {
		m.Flags = 1
	}
	b := m.Append(nil)
	s.unheard = append(s.unheard, said{s.next, b, time.Now()})
	s.next++
	s.mu.Unlock()
	return s.send(websocket.BinaryMessage, b)
}

// heard waits until the client has acknowledged everything, but no longer than that.
func (s *stream) heard(wait time.Duration) {
	for over := time.Now().Add(wait); time.Now().Before(over); time.Sleep(10 * time.Millisecond) {
		s.mu.Lock()
		all := len(s.unheard) == 0 || s.over
		s.mu.Unlock()
		if all {
			return
		}
	}
}

// repeat says again what has not been acknowledged for a while, until the stream is over.
func (s *stream) repeat(done <-chan struct{}) {
	every := time.NewTicker(again / 4)
	defer every.Stop()
	for {
		select {
		case <-done:
			return
		case <-every.C:
		}
		s.mu.Lock()
		var late [][]byte
		for i := range s.unheard[:min(len(s.unheard), mostRepeated)] {
			if time.Since(s.unheard[i].at) > again {
				s.unheard[i].at = time.Now()
				late = append(late, s.unheard[i].bytes)
			}
		}
		s.mu.Unlock()
		for _, b := range late {
			s.send(websocket.BinaryMessage, b)
		}
	}
}

// hear calls f with what the client says, in order, until f or the channel ends it.
func (s *stream) hear(f func(*agentmessage.Message) error) error {
	for {
		m, err := s.read()
		if err != nil {
			return err
		}
		switch m.Type {
		case agentmessage.Acknowledge:
			var of agentmessage.Acknowledgement
			if json.Unmarshal(m.Payload, &of) != nil {
				continue
			}
			s.mu.Lock()
			for i := range s.unheard {
				if s.unheard[i].sequence == of.Sequence {
					s.unheard = append(s.unheard[:i], s.unheard[i+1:]...)
					s.room.Broadcast()
					break
				}
			}
			s.mu.Unlock()
		case agentmessage.ChannelClosed:
			return io.EOF
		case agentmessage.Input:
			if m.Sequence > s.expected && len(s.early) >= mostUnheard {
				continue // it is said again
			}
			payload, err := json.Marshal(agentmessage.Acknowledgement{Type: m.Type, ID: m.UUID(), Sequence: m.Sequence, Sequential: true})
			if err != nil {
				return err
			}
			if err := s.write(&agentmessage.Message{Type: agentmessage.Acknowledge, Flags: 3, Payload: payload}); err != nil {
				return err
			}
			if m.Sequence < s.expected {
				continue
			}
			s.early[m.Sequence] = m
			for m := s.early[s.expected]; m != nil; m = s.early[s.expected] {
				delete(s.early, s.expected)
				s.expected++
				if err := f(m); err != nil {
					return err
				}
			}
		}
	}
}

// errEnded ends a session as its client wants it.
var errEnded = errors.New("the client has ended the session")

// session is one session: a shell in a terminal, whose client is at the other end.
func (a *Agent) session(ctx context.Context, id string) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	at, err := a.channel(ctx, "data-channel", id, "?role=publish_subscribe", map[string]string{"ClientId": newUUID()})
	if err != nil {
		return err
	}
	s := &stream{socket: at, early: map[int64]*agentmessage.Message{}}
	s.room = sync.NewCond(&s.mu)
	var work sync.WaitGroup
	defer work.Wait()
	defer func() {
		s.mu.Lock()
		s.over = true
		s.room.Broadcast()
		s.mu.Unlock()
		at.close()
		end()
	}()
	work.Go(func() { s.repeat(ctx.Done()) })

	request, err := json.Marshal(map[string]any{"AgentVersion": Version, "RequestedClientActions": []any{
		map[string]any{"ActionType": "SessionType", "ActionParameters": map[string]any{"SessionType": "Standard_Stream", "Properties": nil}}}})
	if err != nil {
		return err
	}
	if err := s.say(agentmessage.HandshakeRequest, request); err != nil {
		return err
	}
	late := time.AfterFunc(handshaking, end)
	defer late.Stop()

	var shell *shell
	began := time.Now()
	err = s.hear(func(m *agentmessage.Message) error {
		switch m.PayloadType {
		case agentmessage.HandshakeResponse:
			var answer struct{ Errors []string }
			if shell != nil {
				return nil
			}
			if err := json.Unmarshal(m.Payload, &answer); err != nil || len(answer.Errors) > 0 {
				return errors.New("the client cannot take part in the session")
			}
			late.Stop()
			complete, err := json.Marshal(map[string]any{"HandshakeTimeToComplete": time.Since(began), "CustomerMessage": ""})
			if err != nil {
				return err
			}
			if err := s.say(agentmessage.HandshakeComplete, complete); err != nil {
				return err
			}
			if shell, err = a.shell(); err != nil {
				return err
			}
			context.AfterFunc(ctx, shell.close)
			work.Go(func() {
				shell.tell(s)
				s.heard(lastWords)
				end() // the shell has ended, and the session with it
			})
		case agentmessage.Data:
			if shell != nil {
				_, err := shell.terminal.Write(m.Payload)
				return err
			}
		case agentmessage.Size:
			var size struct{ Cols, Rows uint16 }
			if shell != nil && json.Unmarshal(m.Payload, &size) == nil {
				pty.Setsize(shell.terminal, &pty.Winsize{Cols: size.Cols, Rows: size.Rows})
			}
		case agentmessage.Flag:
			if len(m.Payload) == 4 && binary.BigEndian.Uint32(m.Payload) == agentmessage.TerminateSession {
				return errEnded
			}
		}
		return nil
	})
	if shell == nil {
		return err
	}
	return nil
}

// A shell is one in a terminal of the instance.
type shell struct {
	terminal  *os.File // our end
	execution *workload.Execution
}

func (a *Agent) shell() (*shell, error) {
	ours, theirs, err := pty.Open()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	e, err := a.Exec(workload.Command{Path: a.Shell, Args: []string{"-i"}, Stdin: theirs, Stdout: theirs, Stderr: theirs, Terminal: true})
	if err != nil {
		ours.Close()
		return nil, err
	}
	return &shell{ours, e}, nil
}

// tell says what the shell writes until it has ended.
func (s *shell) tell(to *stream) {
	go func() { // what it left in the background would hold the terminal open
		<-s.execution.Done()
		time.Sleep(100 * time.Millisecond)
		s.terminal.Close()
	}()
	b := make([]byte, 1024)
	for {
		n, err := s.terminal.Read(b)
		if n > 0 && to.say(agentmessage.Data, bytes.Clone(b[:n])) != nil {
			return
		}
		if err != nil {
			return
		}
	}
}

func (s *shell) close() {
	s.execution.Kill()
	s.terminal.Close()
}
