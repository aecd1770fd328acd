package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/google/btree"
)

// A Snapshot is the whole state as of one revision. It never changes and may
// be read by many goroutines without a lock.
type Snapshot struct {
	revision int64
	tables   map[string]*tree
}

// Revision returns the revision of the last change that the snapshot shows.
func (s *Snapshot) Revision() int64 { return s.revision }

// An entry is one key of a table. All but the decoded value is set once.
type entry struct {
	key      string
	raw      []byte
	revision int64
	value    atomic.Value // the decoded value, a *T, once somebody asked for it
}

type tree = btree.BTreeG[*entry]

func newTree() *tree {
	return btree.NewG(32, func(a, b *entry) bool { return a.key < b.key })
}

func (s *Snapshot) find(table, key string) *entry {
	t := s.tables[table]
	if t == nil {
		return nil
	}
	e, _ := t.Get(&entry{key: key})
	return e
}

func (s *Snapshot) walk(table, prefix, after string, yield func(*entry) bool) {
	t := s.tables[table]
	if t == nil {
		return
	}
	t.AscendGreaterOrEqual(&entry{key: max(prefix, after)}, func(e *entry) bool {
		if !strings.HasPrefix(e.key, prefix) {
			return false
		}
		if after != "" && e.key == after {
			return true
		}
		return yield(e)
	})
}

func (s *Snapshot) names() []string { return slices.Sorted(maps.Keys(s.tables)) }

// apply returns the snapshot that follows s by the events.
func (s *Snapshot) apply(revision int64, events []Event) *Snapshot {
	next := &Snapshot{revision: revision, tables: maps.Clone(s.tables)}
	var name string
	var t *tree
	ours := make(map[string]bool, 4)
	for _, ev := range events {
		table, key := split(ev.Key)
		if t == nil || table != name {
			name, t = table, next.tables[table]
			if t == nil {
				t = newTree()
				next.tables[table], ours[table] = t, true
			} else if !ours[table] {
				t = t.Clone()
				next.tables[table], ours[table] = t, true
			}
		}
		if ev.Value == nil {
			t.Delete(&entry{key: key})
		} else {
			t.ReplaceOrInsert(&entry{key: key, raw: ev.Value, revision: ev.Revision})
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
				t.ReplaceOrInsert(e)
				return nil
			}
		}
		t.ReplaceOrInsert(&entry{key: key, raw: ev.Value, revision: ev.Revision})
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
