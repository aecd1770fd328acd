package awstest

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	iamservice "github.com/iamd-dev/iamd/internal/aws/iam"
	"github.com/iamd-dev/iamd/internal/identity"
)

// Topics are the topics of product providers, and the messages that nobody has looked
// at yet. The zero value is reachable.
type topics struct {
	mu          sync.Mutex
	unreachable bool
	messages    []map[string]any
}

// tell lets IAM publish to the topics.
func (t *topics) tell(entities *iamservice.Service) *iamservice.Service {
	entities.Notify = t.publish
	return entities
}

func (t *topics) publish(_, topic string, message identity.Secret) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.unreachable {
		return errors.New("the topic cannot be reached")
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(message.Reveal()), &m); err != nil {
		return err
	}
	m["Topic"] = topic
	t.messages = append(t.messages, m)
	return nil
}

func (t *topics) next() map[string]any {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.messages) == 0 {
		return nil
	}
	m := t.messages[0]
	t.messages = t.messages[1:]
	return m
}

func (s *script) providers(fail bool, args []string) error {
	text, err := s.file(args[0])
	if err != nil {
		return err
	}
	all, err := iamservice.ParseProviders([]byte(text))
	if err == nil {
		err = iamservice.Register(s.t.Context(), s.server.DB, all, s.server.Now())
	}
	if fail && err == nil {
		return errors.New("it was not refused")
	}
	s.stdout, s.stderr = "", ""
	if fail {
		s.stderr = err.Error() + "\n"
		return nil
	}
	return err
}

func (s *script) setTopics(_ bool, args []string) error {
	if args[0] != "reachable" && args[0] != "unreachable" {
		return fmt.Errorf("topics are reachable or unreachable, not %s", args[0])
	}
	s.server.topics.mu.Lock()
	defer s.server.topics.mu.Unlock()
	s.server.topics.unreachable = args[0] == "unreachable"
	return nil
}

func (s *script) notified(fail bool, _ []string) error {
	m := s.server.topics.next()
	if m == nil {
		if fail {
			return nil
		}
		return errors.New("nobody was told anything")
	}
	var err error
	if s.answer, err = flatten(m); err != nil {
		return err
	}
	s.stdout, s.stderr = s.answer.String(), ""
	if fail {
		return errors.New("somebody was told")
	}
	return nil
}
