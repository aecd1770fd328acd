package store_test

import (
	"bytes"
	"context"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/store/storetest"
)

func vault(t *testing.T, b byte) *identity.Vault {
	t.Helper()
	v, err := identity.NewVault(bytes.Repeat([]byte{b}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSealed(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() store.Log {
		log := store.NewMemory()
		return func() store.Log { return store.Sealed(log, vault(t, 1)) }
	})
}

type note struct{ Text string }

var notes = store.NewTable[note]("notes")

func contents(t *testing.T, log store.Log) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	if _, err := log.Load(t.Context(), func(ev store.Event) error { all[ev.Key] = ev.Value; return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

func write(t *testing.T, log store.Log, key string, value []byte) int64 {
	t.Helper()
	revision, err := log.Commit(t.Context(), nil, []store.Write{{Key: key, Value: value}})
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func keep(t *testing.T, log store.Log, texts map[string]string) {
	t.Helper()
	db, err := store.Open(t.Context(), store.Sealed(log, vault(t, 1)), notes)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(t.Context(), func(tx *store.Tx) error {
		for key, text := range texts {
			notes.Put(tx, key, &note{text})
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// The log behind has the keys and nothing of the values, and one value twice does not look the same.
func TestSealedValuesAreNotInTheLog(t *testing.T) {
	log := store.NewMemory()
	keep(t, log, map[string]string{"a": "the marker", "b": "the marker"})
	all := contents(t, log)
	if len(all) != 2 || all["notes/a"] == nil || all["notes/b"] == nil || bytes.Equal(all["notes/a"], all["notes/b"]) {
		t.Fatalf("the log has %q", all)
	}
	for key, value := range all {
		if bytes.Contains(value, []byte("marker")) || bytes.Contains(value, []byte("Text")) {
			t.Errorf("%s is %q in the log", key, value)
		}
	}
}

// What somebody did to the log behind is no state.
func TestSealedValuesThatDoNotOpen(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(t *testing.T, log store.Log)
		key   byte
		want  string
	}{
		"put under another key": {key: 1, want: "notes/b cannot be opened: it was not sealed with this master key", spoil: func(t *testing.T, log store.Log) {
			write(t, log, "notes/b", contents(t, log)["notes/a"])
		}},
		"put into another table": {key: 1, want: "others/a cannot be opened: it was not sealed", spoil: func(t *testing.T, log store.Log) {
			write(t, log, "others/a", contents(t, log)["notes/a"])
		}},
		"changed by a bit": {key: 1, want: "notes/a cannot be opened: it was not sealed", spoil: func(t *testing.T, log store.Log) {
			value := bytes.Clone(contents(t, log)["notes/a"])
			value[len(value)-1] ^= 1
			write(t, log, "notes/a", value)
		}},
		"cut off": {key: 1, want: "notes/a cannot be opened: it was not sealed", spoil: func(t *testing.T, log store.Log) {
			write(t, log, "notes/a", contents(t, log)["notes/a"][:5])
		}},
		"of an iamd that did not seal": {key: 1, want: "notes/a cannot be opened: it is not sealed", spoil: func(t *testing.T, log store.Log) {
			write(t, log, "notes/a", []byte(`{"Text":"forged"}`))
		}},
		"empty": {key: 1, want: "notes/a cannot be opened: it is not sealed", spoil: func(t *testing.T, log store.Log) {
			write(t, log, "notes/a", []byte{})
		}},
		"of another master key": {key: 2, want: "notes/a cannot be opened: it was not sealed with this master key", spoil: func(*testing.T, store.Log) {}},
	} {
		t.Run(name, func(t *testing.T) {
			log := store.NewMemory()
			keep(t, log, map[string]string{"a": "mine"})
			test.spoil(t, log)
			db, err := store.Open(t.Context(), store.Sealed(log, vault(t, test.key)), notes)
			if err == nil {
				defer db.Close()
				t.Fatalf("it was opened, and has %v", maps.Collect(notes.All(db.View(), "")))
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// A value that does not open and comes while a server runs is not shown, and the server
// knows that its state is old, until the value is gone.
func TestSealedValueThatComesLater(t *testing.T) {
	log := store.NewMemory()
	keep(t, log, map[string]string{"a": "mine"})
	db, err := store.Open(t.Context(), store.Sealed(log, vault(t, 1)), notes)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	until := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("never: %s; the fault is %v", what, db.Err())
			}
		}
	}
	write(t, log, "notes/a", []byte(`{"Text":"forged"}`))
	until("the fault", func() bool { return db.Err() != nil && strings.Contains(db.Err().Error(), "it is not sealed") })
	if got := notes.Get(db.View(), "a").Text; got != "mine" {
		t.Errorf("the value is %q", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := db.Update(ctx, func(tx *store.Tx) error { notes.Put(tx, "b", &note{"x"}); return nil }); err == nil {
		t.Error("a change was reported done that no View shows")
	}
	write(t, log, "notes/a", nil)
	until("the end of the fault", func() bool { return db.Err() == nil && notes.Get(db.View(), "a") == nil })
}
