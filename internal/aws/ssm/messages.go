package ssm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/ssm/ec2messages/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// A Message is for an agent: a command, or that one is to be cancelled.
type Message struct {
	ID           string // aws.ssm.COMMAND.INSTANCE
	Command      string
	Request      string `json:",omitempty"` // id of the call that sent it
	Topic        string
	Payload      string
	Created      time.Time
	Expires      time.Time
	Hidden       time.Time // it has been handed out, and is not again until then
	Acknowledged bool      `json:",omitempty"`
}

var messages = store.NewTable[Message]("ssm-messages") // by account/region/instance/id

func messageKey(account, region, id string) string {
	return account + "/" + region + "/" + instanceOf(id) + "/" + id
}

func messageID(command, instance string) string { return "aws.ssm." + command + "." + instance }

// instanceOf is the instance that a message is for: the last part of its id.
func instanceOf(id string) string { return id[strings.LastIndexByte(id, '.')+1:] }

const (
	sendTopic   = "aws.ssm.sendCommand."
	cancelTopic = "aws.ssm.cancelCommand."

	longestWait = 20 * time.Second // of GetMessages for a message
	lookEvery   = time.Second      // of that, for what another server has sent
	hiddenFor   = 10 * time.Second
)

// Bells wake the agents that wait for messages.
type bells struct {
	mu     sync.Mutex
	at     map[string]chan struct{} // by node key
	closed bool
}

// wait returns what is closed when there may be something for the node.
func (b *bells) wait(key string) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.at == nil {
		b.at = map[string]chan struct{}{}
	}
	c := b.at[key]
	if c == nil {
		c = make(chan struct{})
		if b.closed {
			close(c)
			return c
		}
		b.at[key] = c
	}
	return c
}

func (b *bells) ring(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.at[key]; c != nil {
		close(c)
		delete(b.at, key)
	}
}

func (b *bells) isClosed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closed
}

// Close ends the waiting of agents, their channels and all sessions: nobody waits any more.
func (s *Service) Close() {
	s.gate.close()
	s.bells.mu.Lock()
	defer s.bells.mu.Unlock()
	s.bells.closed = true
	for key, c := range s.bells.at {
		close(c)
		delete(s.bells.at, key)
	}
}

// Messages returns the table of Amazon Message Delivery Service, ec2messages, by which
// agents fetch commands and answer. An agent speaks for its own instance alone: see itself.
func (s *Service) Messages() *service.Service {
	t := service.New(api.Model, "",
		//             operation             on
		service.Handle(s.getEndpoint, service.Any),
		service.Handle(s.getMessages, service.Any),
		service.Handle(s.acknowledgeMessage, service.Any),
		service.Handle(s.failMessage, service.Any),
		service.Handle(s.sendReply, service.Any),
		service.Handle(s.deleteMessage, service.Any),
	)
	t.Key = key
	t.MaxBody = 2 << 20
	return t
}

func (s *Service) getEndpoint(_ context.Context, c *service.Call, in *api.GetEndpointInput) (*api.GetEndpointOutput, error) {
	if err := itself(c, in.Destination); err != nil {
		return nil, err
	}
	return &api.GetEndpointOutput{Endpoint: c.Source.Endpoint()}, nil
}

// getMessages waits for messages. One that nobody acknowledges is handed out again. An
// instance that has not reported is told at once that there are none: nothing can be for it.
func (s *Service) getMessages(ctx context.Context, c *service.Call, in *api.GetMessagesInput) (*api.GetMessagesOutput, error) {
	if err := itself(c, in.Destination); err != nil {
		return nil, err
	}
	hidden := hiddenFor
	if v := in.VisibilityTimeoutInSeconds; v != nil && *v > 0 {
		hidden = min(time.Duration(*v)*time.Second, time.Hour)
	}
	out := &api.GetMessagesOutput{Destination: in.Destination, MessagesRequestId: in.MessagesRequestId, Messages: []api.Message{}}
	key := nodeKey(c.Account, c.Region, in.Destination)
	if nodes.Get(c.State, key) == nil {
		return out, nil
	}
	over := time.NewTimer(longestWait)
	defer over.Stop()
	began := time.Now()
	for {
		bell := s.bells.wait(key)
		now := c.Time.Add(time.Since(began)).UTC()
		due := func(m *Message) bool { return !m.Acknowledged && m.Hidden.Before(now) && now.Before(m.Expires) }
		some := false
		for _, m := range messages.All(s.DB.View(), key+"/") {
			some = some || due(m)
		}
		if some {
			err := s.DB.Update(ctx, func(tx *store.Tx) error {
				out.Messages, c.Parent = out.Messages[:0], ""
				for at, m := range messages.All(tx, key+"/") {
					if !due(m) {
						continue
					}
					if c.Parent == "" { // a record names one
						c.Parent = m.Request
					}
					m.Hidden = now.Add(hidden)
					messages.Put(tx, at, m)
					sum := sha256.Sum256([]byte(m.Payload))
					out.Messages = append(out.Messages, api.Message{CreatedDate: stamp(m.Created), Destination: in.Destination, MessageId: m.ID,
						Payload: m.Payload, PayloadDigest: hex.EncodeToString(sum[:]), Topic: m.Topic})
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
			return out, nil
		}
		if s.bells.isClosed() {
			return out, nil
		}
		select {
		case <-bell:
		case <-time.After(lookEvery):
		case <-over.C:
			return out, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Booted ends the commands that ran on an instance before it was started, or started again:
// its agent does not know of them, and will not answer.
func (s *Service) Booted(ctx context.Context, account, region, instance string) error {
	return s.DB.Update(ctx, func(tx *store.Tx) error { return lose(tx, nodeKey(account, region, instance)+"/", s.now()) })
}

// lose ends what was begun of messages with a key like that.
func lose(tx *store.Tx, prefix string, now time.Time) error {
	for at, m := range messages.All(tx, prefix) {
		if !m.Acknowledged {
			continue
		}
		messages.Delete(tx, at)
		if !strings.HasPrefix(m.Topic, sendTopic) {
			continue
		}
		key := strings.TrimSuffix(at, instanceOf(m.ID)+"/"+m.ID) + m.Command + "/" + instanceOf(m.ID)
		i := invocations.Get(tx, key)
		if i == nil || i.over() {
			continue
		}
		i.Ended = now.UTC()
		if i.Status == cancelling {
			i.Status, i.Details = cancelled, cancelled
		} else {
			i.Status, i.Details, i.Stderr = failed, failed, "The instance ended while the command ran.\n"
		}
		invocations.Put(tx, key, i)
	}
	return nil
}

// stamp is a time as agents write it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// about changes the message of an agent and what it is about. The record of the call names
// the one that sent the message.
func (s *Service) about(ctx context.Context, c *service.Call, id string, f func(*store.Tx, string, *Message) error) error {
	if err := itself(c, instanceOf(id)); err != nil {
		return err
	}
	at := messageKey(c.Account, c.Region, id)
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		m := messages.Get(tx, at)
		if m == nil {
			return api.Validation("There is no message %s.", id)
		}
		c.Parent = m.Request
		return f(tx, at, m)
	})
}

// acknowledgeMessage: the agent has the message and begins.
func (s *Service) acknowledgeMessage(ctx context.Context, c *service.Call, in *api.AcknowledgeMessageInput) (*api.AcknowledgeMessageOutput, error) {
	err := s.about(ctx, c, in.MessageId, func(tx *store.Tx, at string, m *Message) error {
		m.Acknowledged = true
		messages.Put(tx, at, m)
		if !strings.HasPrefix(m.Topic, sendTopic) {
			return nil
		}
		return change(tx, c, m, func(i *Invocation) {
			if i.Status == pending {
				i.Status, i.Details, i.Begun = inProgress, inProgress, c.Time.UTC()
			}
		})
	})
	if err != nil {
		return nil, err
	}
	return &api.AcknowledgeMessageOutput{}, nil
}

// failMessage: the agent cannot do what the message asks.
func (s *Service) failMessage(ctx context.Context, c *service.Call, in *api.FailMessageInput) (*api.FailMessageOutput, error) {
	err := s.about(ctx, c, in.MessageId, func(tx *store.Tx, at string, m *Message) error {
		messages.Delete(tx, at)
		if !strings.HasPrefix(m.Topic, sendTopic) {
			return nil
		}
		return change(tx, c, m, func(i *Invocation) {
			i.Status, i.Details, i.Ended = failed, "Undeliverable", c.Time.UTC()
		})
	})
	if err != nil {
		return nil, err
	}
	return &api.FailMessageOutput{}, nil
}

func (s *Service) deleteMessage(ctx context.Context, c *service.Call, in *api.DeleteMessageInput) (*api.DeleteMessageOutput, error) {
	err := s.about(ctx, c, in.MessageId, func(tx *store.Tx, at string, _ *Message) error {
		messages.Delete(tx, at)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.DeleteMessageOutput{}, nil
}

// A reply is what an agent says of a command.
type reply struct {
	DocumentStatus      string                  `json:"documentStatus"`
	DocumentTraceOutput string                  `json:"documentTraceOutput"`
	RuntimeStatus       map[string]*pluginReply `json:"runtimeStatus"`
}

type pluginReply struct {
	Status         string `json:"status"`
	Code           int32  `json:"code"`
	Output         string `json:"output"`
	StartDateTime  string `json:"startDateTime"`
	EndDateTime    string `json:"endDateTime"`
	StandardOutput string `json:"standardOutput"`
	StandardError  string `json:"standardError"`
}

// replies are the statuses of agents, and what they are of an invocation: its status and
// the details.
var replies = map[string][2]string{
	"InProgress": {inProgress, inProgress},
	"Success":    {success, success},
	"Failed":     {failed, failed},
	"TimedOut":   {timedOut, "ExecutionTimedOut"},
	"Cancelled":  {cancelled, cancelled},
}

// sendReply: how the command goes, or has gone.
func (s *Service) sendReply(ctx context.Context, c *service.Call, in *api.SendReplyInput) (*api.SendReplyOutput, error) {
	var r reply
	if err := json.Unmarshal([]byte(in.Payload), &r); err != nil {
		return nil, api.Validation("The payload is no reply: %v", err)
	}
	status, ok := replies[r.DocumentStatus]
	if !ok {
		return nil, api.Validation("There is no status %s.", r.DocumentStatus)
	}
	err := s.about(ctx, c, in.MessageId, func(tx *store.Tx, _ string, m *Message) error {
		if !strings.HasPrefix(m.Topic, sendTopic) {
			return nil
		}
		return change(tx, c, m, func(i *Invocation) {
			if i.over() {
				return
			}
			if i.Status != cancelling || status[0] != inProgress {
				i.Status, i.Details = status[0], status[1]
			}
			if status[0] != inProgress {
				i.Ended = c.Time.UTC()
			}
			if p := r.RuntimeStatus[shellPlugin]; p != nil {
				i.Ran, i.Code = true, p.Code
				i.Output, i.Stdout, i.Stderr = cut(p.Output, longestPlugin, truncatedOut), cut(p.StandardOutput, longestOut, truncatedOut), cut(p.StandardError, longestErr, truncatedErr)
				i.Started, i.Finished = when(p.StartDateTime), when(p.EndDateTime)
			}
		})
	})
	if err != nil {
		return nil, err
	}
	return &api.SendReplyOutput{MessageId: in.MessageId, ReplyId: in.ReplyId, ReplyStatus: "Created"}, nil
}

// when reads a time of an agent; zero where it wrote none.
func when(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// AWS keeps so many characters of what a command writes (GetCommandInvocation and
// CommandPlugin), and says at the end that there was more.
const (
	longestOut    = 24_000
	longestErr    = 8_000
	longestPlugin = 2_500
	truncatedOut  = "\n---Output truncated---"
	truncatedErr  = "\n---Error truncated----"
)

func cut(text string, longest int, said string) string {
	text = strings.ToValidUTF8(text, "�")
	if len(text) <= longest {
		return text
	}
	return strings.ToValidUTF8(text[:longest-len(said)], "") + said
}
