package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/iamd-dev/iamd/internal/store"
)

// faulty is a log whose methods can be made to fail.
type faulty struct {
	store.Log
	load, commit, watch func() error // nil: as the log under it
	closed              int
}

func (f *faulty) Load(ctx context.Context, each func(store.Event) error) (int64, error) {
	if f.load != nil {
		if err := f.load(); err != nil {
			return 0, err
		}
	}
	return f.Log.Load(ctx, each)
}

func (f *faulty) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (int64, error) {
	if f.commit != nil {
		if err := f.commit(); err != nil {
			return 0, err
		}
	}
	return f.Log.Commit(ctx, checks, writes)
}

func (f *faulty) Watch(ctx context.Context, after int64, apply func(int64, []store.Event)) error {
	if f.watch != nil {
		if err := f.watch(); err != nil {
			return err
		}
	}
	return f.Log.Watch(ctx, after, apply)
}

func (f *faulty) Close() error {
	f.closed++
	return f.Log.Close()
}

func putUser(ctx context.Context, db *store.DB, name string) error {
	return db.Update(ctx, func(tx *store.Tx) error {
		users.Put(tx, name, &user{Name: name})
		return nil
	})
}

var errBroken = errors.New("broken")

func TestOpenFailsAndClosesTheLog(t *testing.T) {
	log := &faulty{Log: store.NewMemory(), load: func() error { return errBroken }}
	if _, err := store.Open(t.Context(), log); !errors.Is(err, errBroken) {
		t.Errorf("Open = %v, want %v", err, errBroken)
	}
	if log.closed != 1 {
		t.Errorf("the log was closed %d times, want once", log.closed)
	}
}

// The state is not to be trusted while the log cannot be followed: Err says
// so, changes are not acknowledged, and all is well again when it can be.
func TestFollowingBreaksAndMends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := store.NewMemory()
		broken := true
		log := &faulty{Log: memory, watch: func() error {
			if broken {
				return errBroken
			}
			return nil
		}}
		db, err := store.Open(t.Context(), log)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		synctest.Wait()
		if err := db.Err(); !errors.Is(err, errBroken) {
			t.Errorf("Err = %v, want %v", err, errBroken)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- putUser(ctx, db, "unseen") }()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) || !errors.Is(err, errBroken) {
			t.Errorf("Update = %v, want one that says that its context ended and what is broken", err)
		}
		if users.Get(db.View(), "unseen") != nil {
			t.Error("View shows a change that the log has not reported")
		}
		broken = false
		if err := putUser(t.Context(), db, "seen"); err != nil {
			t.Errorf("Update when the log is followed again = %v", err)
		}
		if err := db.Err(); err != nil {
			t.Errorf("Err = %v, want nil", err)
		}
	})
}

// A DB that is too far behind loads the whole state, with the deletions.
func TestFarBehindLoadsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := store.NewMemory()
		if _, err := memory.Commit(t.Context(), nil, []store.Write{{Key: "users/gone", Value: []byte(`{}`)}, {Key: "users/same", Value: []byte(`{"Name":"same"}`)}}); err != nil {
			t.Fatal(err)
		}
		hold := make(chan struct{})
		db, err := store.Open(t.Context(), &faulty{Log: memory, watch: func() error { <-hold; return nil }}, users)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		same := users.Get(db.View(), "same")
		revision, err := memory.Commit(t.Context(), nil, []store.Write{{Key: "users/gone"}})
		for i := 0; i < 30_000 && err == nil; i++ {
			revision, err = memory.Commit(t.Context(), nil, []store.Write{{Key: fmt.Sprint("users/", i%10), Value: fmt.Appendf(nil, `{"Name":"%d"}`, i)}})
		}
		if err != nil {
			t.Fatal(err)
		}
		close(hold)
		if err := db.Wait(t.Context(), revision); err != nil {
			t.Fatal(err)
		}
		s := db.View()
		if users.Get(s, "gone") != nil {
			t.Error("a key deleted meanwhile is still there")
		}
		if got := users.Get(s, "9"); got == nil || got.Name != "29999" {
			t.Errorf("Get(9) = %+v, want the last value", got)
		}
		if users.Get(s, "same") != same {
			t.Error("a value that did not change was decoded again")
		}
	})
}

func TestCommitErrors(t *testing.T) {
	log := &faulty{Log: store.NewMemory(), commit: func() error { return fmt.Errorf("%w: the disk", store.ErrFull) }}
	db, err := store.Open(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := putUser(t.Context(), db, "a"); !errors.Is(err, store.ErrFull) {
		t.Errorf("Update = %v, want ErrFull", err)
	}
	if users.Get(db.View(), "a") != nil {
		t.Error("View shows a change that was refused")
	}
}

func TestValueThatCannotBeEncoded(t *testing.T) {
	funcs := store.NewTable[func()]("funcs")
	db, err := store.Open(t.Context(), store.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(t.Context(), func(tx *store.Tx) error {
		f := func() {}
		funcs.Put(tx, "f", &f)
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "funcs/f") {
		t.Errorf("Update = %v, want an error that names funcs/f", err)
	}
}

func TestTableNames(t *testing.T) {
	for _, name := range []string{"", "a/b", "/"} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Errorf("NewTable(%q) did not panic", name)
				}
			}()
			store.NewTable[user](name)
		})
	}
}
