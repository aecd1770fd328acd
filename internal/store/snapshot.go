package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
)

// A Snapshot is the whole state as of one revision. It never changes and may
// be read by many goroutines without a lock.
type Snapshot struct {
	revision int64
	tables   map[string]*tree
}

// Revision returns the revision of the last change that the snapshot shows.
func (s *Snapshot) Revision() int64 { return s.revision }

// An entry is one key of a table.
type entry struct {
	key      string
	hash     uint64 // of the key, for the tree
	revision int64
	form     atomic.Pointer[form] // nil in a Tx that deletes the key
}

// A form is what an entry's value is kept as: a json.RawMessage as it came from the
// log, until somebody asks for the value, and a *T from then on. Nothing is kept twice.
type form struct{ any }

func newEntry(key string, raw json.RawMessage, revision int64) *entry {
	e := &entry{key: key, hash: hash(key), revision: revision}
	e.form.Store(&form{raw})
	return e
}

// json returns the value as JSON. It is not to be changed.
func (e *entry) json() (json.RawMessage, error) {
	switch v := e.form.Load().any.(type) {
	case json.RawMessage:
		return v, nil
	default:
		return json.Marshal(v)
	}
}

func (s *Snapshot) find(table, key string) *entry {
	if t := s.tables[table]; t != nil {
		return t.find(key)
	}
	return nil
}

func (s *Snapshot) walk(table, prefix, after string, yield func(*entry) bool) {
	if t := s.tables[table]; t != nil {
		t.walk(prefix, after, yield)
	}
}

func (s *Snapshot) names() []string { return slices.Sorted(maps.Keys(s.tables)) }

// apply returns the snapshot that follows s by the events.
func (s *Snapshot) apply(revision int64, events []Event) *Snapshot {
	next := &Snapshot{revision: revision, tables: maps.Clone(s.tables)}
	derived := make(map[string]*tree, 4)
	for _, ev := range events {
		table, key := split(ev.Key)
		t := derived[table]
		if t == nil {
			if t = s.tables[table]; t != nil {
				t = t.derive()
			} else {
				t = newTree()
			}
			derived[table], next.tables[table] = t, t
		}
		if ev.Value == nil {
			t.delete(key)
		} else {
			t.put(newEntry(key, ev.Value, ev.Revision))
		}
	}
	return next
}

// load reads the whole state from the log. It takes over from old, which may
// be nil, the values that are decoded already and have not changed.
func load(ctx context.Context, log Log, old *Snapshot) (*Snapshot, error) {
	s := &Snapshot{tables: make(map[string]*tree)}
	revision, err := log.Load(ctx, func(ev Event) error {
		table, key := split(ev.Key)
		if table == "" {
			return fmt.Errorf("the key %q belongs to no table: is this log another program's?", ev.Key)
		}
		t := s.tables[table]
		if t == nil {
			t = newTree()
			s.tables[table] = t
		}
		if old != nil {
			if e := old.find(table, key); e != nil && e.revision == ev.Revision {
				t.put(e)
				return nil
			}
		}
		t.put(newEntry(key, ev.Value, ev.Revision))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("store: loading: %w", err)
	}
	s.revision = revision
	return s, nil
}

// split takes a log's key apart; the table is "" when there is none.
func split(key string) (table, rest string) {
	if i := strings.IndexByte(key, '/'); i > 0 {
		return key[:i], key[i+1:]
	}
	return "", key
}
