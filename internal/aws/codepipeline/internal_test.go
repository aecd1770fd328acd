package codepipeline

import (
	"context"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/store"
)

// Of an execution that ran when the server was killed, what can be waited for goes on, and
// the rest has failed.
func TestKilled(t *testing.T) {
	ctx := context.Background()
	db, err := store.Open(ctx, store.NewMemory(), Tables()...)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	k := key("111122223333", "us-east-1", "app") + "/1"
	if err := db.Update(ctx, func(tx *store.Tx) error {
		executions.Put(tx, k, &execution{ID: "1", Status: "InProgress", Actions: []action{
			{ID: "a", Status: "Succeeded"}, {ID: "b", Status: "InProgress"}, {ID: "c", Status: "InProgress", External: "app:1"}, {ID: "d", Status: "InProgress", Token: "t"}}})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	s := &Service{DB: db}
	if err := s.Open(ctx); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i, want := range []string{"Succeeded", "Failed", "InProgress", "InProgress"} {
		if got := executions.Get(db.View(), k).Actions[i]; got.Status != want || (want == "Failed") != (got.Error != nil) {
			t.Errorf("action %s is %+v", got.ID, got)
		}
	}
}

func TestResolve(t *testing.T) {
	w := &work{execution: &execution{ID: "e", Variables: map[string]string{"A": "1"}, Spaces: map[string]map[string]string{"Build": {"OUT": "x"}}}}
	got, err := w.resolve(map[string]string{"k": "#{codepipeline.PipelineExecutionId}-#{variables.A}-#{Build.OUT}-#{not a reference}"})
	if err != nil || got["k"] != "e-1-x-#{not a reference}" {
		t.Errorf("it is %v, %v", got, err)
	}
	for _, text := range []string{"#{Build.NONE}", "#{None.OUT}", "#{variables.B}", "#{codepipeline.Other}"} {
		if got, err := w.resolve(map[string]string{"k": text}); err == nil {
			t.Errorf("%s is %v", text, got)
		}
	}
}

// Nobody waits for a change that has come already.
func TestWait(t *testing.T) {
	s := &Service{changed: make(chan struct{})}
	changed := s.waitable()
	s.wake()
	s.wait(context.Background(), changed, time.Hour)
}
