package ssm_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"
	"github.com/gorilla/websocket"

	"github.com/iamd-dev/iamd/internal/agentmessage"
	"github.com/iamd-dev/iamd/internal/awstest"
	"github.com/iamd-dev/iamd/internal/sigv4"
)

// A plugin is the client's end of a session, as session-manager-plugin is.
type plugin struct {
	t        *testing.T
	conn     *websocket.Conn
	sequence int64
	expected int64
	output   strings.Builder
	closed   bool // the service said so
}

// join opens the client's end of a session.
func join(t *testing.T, url, token string) *plugin {
	t.Helper()
	conn, _, err := websocket.DefaultDialer.DialContext(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	p := &plugin{t: t, conn: conn}
	p.open(token)
	return p
}

// open says the token.
func (p *plugin) open(token string) {
	p.t.Helper()
	b, _ := json.Marshal(map[string]string{"MessageSchemaVersion": "1.0", "RequestId": "00000000-0000-4000-8000-000000000000", "TokenValue": token, "ClientId": "00000000-0000-4000-8000-000000000001"})
	if err := p.conn.WriteMessage(websocket.TextMessage, b); err != nil {
		p.t.Fatal(err)
	}
}

// say sends what a user types, or what the client says by itself.
func (p *plugin) say(payloadType uint32, payload []byte) {
	p.t.Helper()
	m := &agentmessage.Message{Type: agentmessage.Input, Sequence: p.sequence, PayloadType: payloadType, Payload: payload}
	p.sequence++
	if err := p.conn.WriteMessage(websocket.BinaryMessage, m.Append(nil)); err != nil {
		p.t.Fatal(err)
	}
}

// until reads until f is content; what comes it acknowledges.
func (p *plugin) until(f func() bool) {
	p.t.Helper()
	p.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	for !f() {
		_, b, err := p.conn.ReadMessage()
		if err != nil {
			p.t.Fatalf("%v, after %q", err, p.output.String())
		}
		m, err := agentmessage.Parse(b)
		if err != nil {
			p.t.Fatal(err)
		}
		switch m.Type {
		case agentmessage.ChannelClosed:
			p.closed = true
		case agentmessage.Output:
			if m.Sequence > p.expected {
				continue // it comes again
			}
			ack, _ := json.Marshal(agentmessage.Acknowledgement{Type: m.Type, ID: m.UUID(), Sequence: m.Sequence, Sequential: true})
			// Who is at the other end may have gone meanwhile; what they said before is to be read.
			p.conn.WriteMessage(websocket.BinaryMessage, (&agentmessage.Message{Type: agentmessage.Acknowledge, Flags: 3, Payload: ack}).Append(nil))
			if m.Sequence != p.expected {
				continue
			}
			p.expected++
			switch m.PayloadType {
			case agentmessage.HandshakeRequest:
				if !strings.Contains(string(m.Payload), `"SessionType":"Standard_Stream"`) {
					p.t.Errorf("the agent asks for %s", m.Payload)
				}
				p.say(agentmessage.HandshakeResponse, []byte(`{"ClientVersion":"1.2.0.0","ProcessedClientActions":[{"ActionType":"SessionType","ActionStatus":1,"ActionResult":null,"Error":""}],"Errors":[]}`))
			case agentmessage.Data:
				p.output.Write(m.Payload)
			}
		}
	}
}

// connected is a server with a node whose agent waits for sessions.
func connected(t *testing.T) (*awstest.Server, *ssm.Client, string) {
	t.Helper()
	s := site(t)
	id := launch(t, s)
	client := s.SSM(s.Config(s.Root(awstest.DefaultAccount)))
	if _, err := client.StartSession(t.Context(), &ssm.StartSessionInput{Target: aws.String("i-00000000000000000")}); code(err) != "TargetNotConnected" {
		t.Errorf("a session on nothing: %v", err)
	}
	for over := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		out, err := client.GetConnectionStatus(t.Context(), &ssm.GetConnectionStatusInput{Target: &id})
		if err != nil {
			t.Fatal(err)
		}
		if out.Status == types.ConnectionStatusConnected {
			return s, client, id
		}
		if time.Now().After(over) {
			t.Fatal("the agent does not connect")
		}
	}
}

func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return fmt.Sprint(err)
}

func sessionsIn(t *testing.T, client *ssm.Client, state types.SessionState) []types.Session {
	t.Helper()
	out, err := client.DescribeSessions(t.Context(), &ssm.DescribeSessionsInput{State: state})
	if err != nil {
		t.Fatal(err)
	}
	return out.Sessions
}

// A shell in a terminal of the instance: what is typed is done there, its size is the
// client's, and its end is the session's.
func TestSession(t *testing.T) {
	_, client, id := connected(t)
	out, err := client.StartSession(t.Context(), &ssm.StartSessionInput{Target: &id, Reason: aws.String("to look")})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(*out.SessionId, "root-") || !strings.HasPrefix(*out.StreamUrl, "ws://") {
		t.Errorf("session %s at %s", *out.SessionId, *out.StreamUrl)
	}
	p := join(t, *out.StreamUrl, *out.TokenValue)
	p.say(agentmessage.Size, []byte(`{"cols":101,"rows":31}`))
	p.until(func() bool { return p.expected >= 2 }) // the handshake is complete
	p.say(agentmessage.Size, []byte(`{"cols":101,"rows":31}`))
	p.say(agentmessage.Data, []byte("test -t 0 && echo it is a $((1+1))-way terminal; stty size\r"))
	p.until(func() bool {
		return strings.Contains(p.output.String(), "it is a 2-way terminal") && strings.Contains(p.output.String(), "31 101")
	})

	active := sessionsIn(t, client, types.SessionStateActive)
	if len(active) != 1 || active[0].Status != types.SessionStatusConnected || *active[0].Target != id || *active[0].Reason != "to look" || *active[0].DocumentName != "SSM-SessionManagerRunShell" {
		t.Errorf("active: %+v", active)
	}
	// A token opens once, and nothing else does.
	for _, token := range []string{*out.TokenValue, "", "x"} {
		other := join(t, *out.StreamUrl, token)
		other.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, _, err := other.conn.ReadMessage(); err == nil {
			t.Errorf("the token %q opens the session again", token)
		}
	}
	p.say(agentmessage.Data, []byte("echo last; exit\r"))
	p.until(func() bool { return p.closed })
	if !strings.Contains(p.output.String(), "last") {
		t.Errorf("it wrote %q", p.output.String())
	}
	if history := sessionsIn(t, client, types.SessionStateHistory); len(history) != 1 || history[0].Status != types.SessionStatusTerminated || history[0].EndDate == nil {
		t.Errorf("history: %+v", history)
	}
	if active := sessionsIn(t, client, types.SessionStateActive); len(active) != 0 {
		t.Errorf("active: %+v", active)
	}
	if _, err := client.ResumeSession(t.Context(), &ssm.ResumeSessionInput{SessionId: out.SessionId}); code(err) != "DoesNotExistException" {
		t.Errorf("to resume what has ended: %v", err)
	}
}

// Whoever loses the connection resumes; a client's flag and TerminateSession end the session.
func TestSessionEnds(t *testing.T) {
	s, client, id := connected(t)
	begin := func() (*ssm.StartSessionOutput, *plugin) {
		t.Helper()
		out, err := client.StartSession(t.Context(), &ssm.StartSessionInput{Target: &id})
		if err != nil {
			t.Fatal(err)
		}
		p := join(t, *out.StreamUrl, *out.TokenValue)
		p.until(func() bool { return p.expected >= 2 })
		return out, p
	}
	out, p := begin()
	p.say(agentmessage.Data, []byte("here=kept\r"))
	p.until(func() bool { return strings.Contains(p.output.String(), "kept") })
	p.conn.Close()
	resumed, err := client.ResumeSession(t.Context(), &ssm.ResumeSessionInput{SessionId: out.SessionId})
	if err != nil {
		t.Fatal(err)
	}
	again := join(t, *resumed.StreamUrl, *resumed.TokenValue)
	again.sequence, again.expected = p.sequence, p.expected
	again.say(agentmessage.Data, []byte("echo it is $here\r"))
	again.until(func() bool { return strings.Contains(again.output.String(), "it is kept") })
	again.say(agentmessage.Flag, binary.BigEndian.AppendUint32(nil, agentmessage.TerminateSession))
	again.until(func() bool { return again.closed })

	out, p = begin()
	if _, err := client.TerminateSession(t.Context(), &ssm.TerminateSessionInput{SessionId: out.SessionId}); err != nil {
		t.Fatal(err)
	}
	p.until(func() bool { return p.closed })
	if active := sessionsIn(t, client, types.SessionStateActive); len(active) != 0 {
		t.Errorf("active: %+v", active)
	}

	// The stop of the server ends them, too.
	_, p = begin()
	s.Restart()
	p.until(func() bool { return p.closed })
	if active := sessionsIn(t, client, types.SessionStateActive); len(active) != 0 {
		t.Errorf("active after a restart: %+v", active)
	}
}

// Sessions are their owner's, by their name and by their tags.
func TestSessionPermissions(t *testing.T) {
	s, root, id := connected(t)
	admin := s.IAM(s.Config(s.Root(awstest.DefaultAccount)))
	user := func(name, policy string) *ssm.Client {
		t.Helper()
		if _, err := admin.CreateUser(t.Context(), &iam.CreateUserInput{UserName: &name}); err != nil {
			t.Fatal(err)
		}
		if _, err := admin.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: &name, PolicyName: aws.String("p"), PolicyDocument: &policy}); err != nil {
			t.Fatal(err)
		}
		key, err := admin.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &name})
		if err != nil {
			t.Fatal(err)
		}
		return s.SSM(s.Config(aws.Credentials{AccessKeyID: *key.AccessKey.AccessKeyId, SecretAccessKey: *key.AccessKey.SecretAccessKey}))
	}
	byName := user("ann", `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ssm:StartSession", "Resource": "arn:aws:ec2:*:*:instance/`+id+`"},
		{"Effect": "Allow", "Action": ["ssm:TerminateSession", "ssm:ResumeSession"], "Resource": "arn:aws:ssm:*:*:session/${aws:username}-*"}]}`)
	byTag := user("bob", `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ssm:StartSession", "Resource": "*"},
		{"Effect": "Allow", "Action": ["ssm:TerminateSession", "ssm:ResumeSession"], "Resource": "*", "Condition": {"StringEquals": {"ssm:resourceTag/aws:ssmmessages:session-id": "${aws:userid}"}}}]}`)
	nobody := user("eve", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "ssm:Describe*", "Resource": "*"}}`)

	anns, err := byName.StartSession(t.Context(), &ssm.StartSessionInput{Target: &id})
	if err != nil {
		t.Fatal(err)
	}
	bobs, err := byTag.StartSession(t.Context(), &ssm.StartSessionInput{Target: &id})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nobody.StartSession(t.Context(), &ssm.StartSessionInput{Target: &id}); code(err) != "AccessDeniedException" || !strings.Contains(err.Error(), "ssm:StartSession on resource: arn:aws:ec2:us-east-1:"+awstest.DefaultAccount+":instance/"+id) {
		t.Errorf("eve starts: %v", err)
	}
	if _, err := byName.StartSession(t.Context(), &ssm.StartSessionInput{Target: &id, DocumentName: aws.String("SSM-SessionManagerRunShell")}); code(err) != "AccessDeniedException" {
		t.Errorf("ann names a document, which she may not use: %v", err)
	}
	if _, err := byTag.StartSession(t.Context(), &ssm.StartSessionInput{Target: &id, DocumentName: aws.String("AWS-StartPortForwardingSession")}); code(err) != "InvalidDocument" {
		t.Errorf("a document that is not there: %v", err)
	}
	for _, test := range []struct {
		who    *ssm.Client
		id     *string
		want   string
		saying string
	}{
		{byName, bobs.SessionId, "AccessDeniedException", "ann ends bob's"},
		{byTag, anns.SessionId, "AccessDeniedException", "bob ends ann's"},
		{nobody, anns.SessionId, "AccessDeniedException", "eve ends ann's"},
		{byName, anns.SessionId, "<nil>", "ann ends hers"},
		{byTag, bobs.SessionId, "<nil>", "bob ends his"},
		{root, anns.SessionId, "<nil>", "root ends what has ended"},
	} {
		if _, err := test.who.TerminateSession(t.Context(), &ssm.TerminateSessionInput{SessionId: test.id}); code(err) != test.want {
			t.Errorf("%s: %v", test.saying, err)
		}
	}
}

// Channels of another instance, and channels without a token, are opened to nobody.
func TestChannels(t *testing.T) {
	s, client, id := connected(t)
	out, err := client.StartSession(t.Context(), &ssm.StartSessionInput{Target: &id})
	if err != nil {
		t.Fatal(err)
	}
	if _, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(s.URL, "http")+"/v1/data-channel/root-00000000000000000", nil); err == nil || resp == nil || resp.StatusCode != 404 {
		t.Errorf("a session that is not there is opened: %v", err)
	}
	for _, path := range []string{"/v1/control-channel/" + id, "/v1/data-channel/" + *out.SessionId} {
		status, text := post(t, s, delivered(t, s, other), path)
		if status != 400 || !strings.Contains(text, "are not those of the instance") {
			t.Errorf("%s by another instance: %d %s", path, status, text)
		}
		if status, text := post(t, s, s.Root(awstest.DefaultAccount), path); status != 400 || !strings.Contains(text, "are not those of the instance") {
			t.Errorf("%s by root: %d %s", path, status, text)
		}
		// The session's own people must be allowed to open it, and have its token, too.
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		root := s.Root(awstest.DefaultAccount)
		(&sigv4.Signer{AccessKeyID: root.AccessKeyID, SecretAccessKey: root.SecretAccessKey, Region: "us-east-1", Service: "ssmmessages"}).Sign(r, sigv4.Hash(nil), s.Now())
		conn, signed, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(s.URL, "http")+path, r.Header)
		if strings.Contains(path, "control") {
			if err == nil || signed == nil || signed.StatusCode != 400 {
				t.Errorf("%s is opened by root: %v", path, err)
			}
		} else {
			if err != nil {
				t.Fatal(err)
			}
			p := &plugin{t: t, conn: conn}
			p.open(*out.TokenValue)
			p.until(func() bool { return p.expected >= 2 })
			conn.Close()
		}
		_, resp, err := websocket.DefaultDialer.DialContext(context.Background(), "ws"+strings.TrimPrefix(s.URL, "http")+path, http.Header{"Origin": {"https://example.com"}})
		if err == nil || resp == nil || resp.StatusCode < 400 {
			t.Errorf("%s from a web page: %v", path, err)
		}
	}
}
