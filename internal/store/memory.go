package store

import (
	"context"
	"sync"
)

// historyKept is how many events a memory log keeps for those who watch it.
const historyKept = 10_000

// NewMemory returns a log that lives as long as the process: for tests and for
// trying things out. Close does nothing, so the same log can be opened again,
// and several DBs may be opened on it.
func NewMemory() Log {
	return &memory{items: make(map[string]Event), more: make(chan struct{})}
}

type memory struct {
	mu       sync.Mutex
	revision int64
	items    map[string]Event
	history  []Event       // the last events, in order
	from     int64         // history has every event after this revision
	more     chan struct{} // closed and replaced by each commit
}

func (m *memory) Load(ctx context.Context, each func(Event) error) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.items {
		if err := each(e); err != nil {
			return 0, err
		}
	}
	return m.revision, ctx.Err()
}

func (m *memory) Commit(ctx context.Context, checks []Check, writes []Write) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range checks {
		if m.items[c.Key].Revision != c.Revision {
			return m.revision, ErrConflict
		}
	}
	next := m.revision + 1
	for _, w := range writes {
		e := Event{Key: w.Key, Value: w.Value, Revision: next}
		if w.Value != nil {
			m.items[w.Key] = e
		} else if _, ok := m.items[w.Key]; ok {
			delete(m.items, w.Key)
		} else {
			continue // no change, as in etcd
		}
		m.history = append(m.history, e)
		m.revision = next
	}
	if m.revision < next {
		return m.revision, nil
	}
	if n := len(m.history); n > 2*historyKept {
		m.from = m.history[n-historyKept-1].Revision
		m.history = append([]Event(nil), m.history[n-historyKept:]...)
	}
	close(m.more)
	m.more = make(chan struct{})
	return m.revision, nil
}

func (m *memory) Watch(ctx context.Context, after int64, apply func(int64, []Event)) error {
	for {
		m.mu.Lock()
		if after < m.from {
			m.mu.Unlock()
			return ErrBehind
		}
		i := len(m.history)
		for i > 0 && m.history[i-1].Revision > after {
			i--
		}
		events, revision, more := m.history[i:], m.revision, m.more
		m.mu.Unlock()
		if len(events) > 0 {
			apply(revision, events)
			after = revision
			continue
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m *memory) Close() error { return nil }
