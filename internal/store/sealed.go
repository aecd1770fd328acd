package store

import (
	"context"
	"fmt"
)

// A Sealer makes values unreadable for who has no key. What it sealed under one name
// does not open under another.
type Sealer interface {
	SealValue(name string, value []byte) []byte
	OpenValue(name string, sealed []byte) ([]byte, error)
}

// Sealed returns a log that keeps its values in log, sealed under their keys: what is
// read there can neither be understood nor put under another key, and what others put
// there is no value. Keys are kept as they are. A value that does not open, also one
// that never was sealed, is an error.
func Sealed(log Log, s Sealer) Log { return &sealed{log, s} }

type sealed struct {
	log    Log
	sealer Sealer
}

func (l *sealed) open(ev Event) (Event, error) {
	value, err := l.sealer.OpenValue(ev.Key, ev.Value)
	if err != nil {
		return Event{}, fmt.Errorf("the value of %s cannot be opened: %w", ev.Key, err)
	}
	ev.Value = value
	return ev, nil
}

func (l *sealed) Load(ctx context.Context, each func(Event) error) (int64, error) {
	return l.log.Load(ctx, func(ev Event) error {
		ev, err := l.open(ev)
		if err != nil {
			return err
		}
		return each(ev)
	})
}

func (l *sealed) Commit(ctx context.Context, checks []Check, writes []Write) (int64, error) {
	closed := make([]Write, len(writes))
	for i, w := range writes {
		closed[i] = w
		if w.Value != nil {
			closed[i].Value = l.sealer.SealValue(w.Key, w.Value)
		}
	}
	return l.log.Commit(ctx, checks, closed)
}

// Watch ends with the first value that does not open: what comes behind it is not shown.
func (l *sealed) Watch(ctx context.Context, after int64, apply func(int64, []Event)) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var fault error
	err := l.log.Watch(ctx, after, func(revision int64, events []Event) {
		if fault != nil {
			return
		}
		opened := make([]Event, len(events))
		for i, ev := range events {
			if ev.Value == nil { // deleted
				opened[i] = ev
			} else if opened[i], fault = l.open(ev); fault != nil {
				stop()
				return
			}
		}
		apply(revision, opened)
	})
	if fault != nil {
		return fault
	}
	return err
}

func (l *sealed) Close() error { return l.log.Close() }
