package ssm

import (
	"context"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/store"
)

// When an instance is started again, what its agent had begun is over, and nothing else.
func TestBooted(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db, err := store.Open(ctx, store.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	const account, region, instance, other = "111122223333", "eu-west-1", "i-1", "i-2"
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	type state struct {
		name, instance, topic, before string
		begun                         bool
		after, details                string
	}
	states := []state{
		{"not-begun", instance, sendTopic, pending, false, pending, pending},
		{"runs", instance, sendTopic, inProgress, true, failed, failed},
		{"is-cancelled", instance, sendTopic, cancelling, true, cancelled, cancelled},
		{"is-over", instance, sendTopic, success, true, success, success},
		{"elsewhere", other, sendTopic, inProgress, true, inProgress, inProgress},
		{"a-cancellation", instance, cancelTopic, inProgress, true, inProgress, inProgress},
	}
	at := func(x state) (message, invocation string) {
		return messageKey(account, region, messageID(x.name, x.instance)), account + "/" + region + "/" + x.name + "/" + x.instance
	}
	err = db.Update(ctx, func(tx *store.Tx) error {
		for _, x := range states {
			message, invocation := at(x)
			messages.Put(tx, message, &Message{ID: messageID(x.name, x.instance), Command: x.name, Topic: x.topic + region, Acknowledged: x.begun})
			invocations.Put(tx, invocation, &Invocation{Status: x.before, Details: x.before})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &Service{DB: db, Now: func() time.Time { return now }}
	for range 2 {
		if err := s.Booted(ctx, account, region, instance); err != nil {
			t.Fatal(err)
		}
		for _, x := range states {
			message, invocation := at(x)
			i := invocations.Get(db.View(), invocation)
			if i.Status != x.after || i.Details != x.details {
				t.Errorf("%s is %s, %s, want %s", x.name, i.Status, i.Details, x.after)
			}
			if ended := i.Ended.Equal(now); ended != (x.before != x.after) {
				t.Errorf("%s has ended: %t", x.name, ended)
			}
			if there, want := messages.Get(db.View(), message) != nil, !x.begun || x.instance == other; there != want {
				t.Errorf("the message of %s is there: %t", x.name, there)
			}
		}
	}
}
