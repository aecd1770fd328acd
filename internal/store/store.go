// Package store keeps the state that decisions need: an immutable snapshot in
// memory, changed only by Update, which commits to a log first.
//
// The words:
//
//   - A [Log] is where changes are made to last and put in order: etcd in
//     store/etcd, memory in [NewMemory]. Every change has a revision.
//   - A [Snapshot] is the whole state as of one revision. It never changes, so
//     a request takes one with [DB.View] and reads it without a lock.
//   - A [Tx] is one run of the function given to [DB.Update]: a snapshot with
//     the changes made so far on top, and a note of every key that was read.
//   - A [Table] names a part of the state and the Go type of its values. It is
//     a value; two tables of one name and type are the same table.
//
// What it promises:
//
//   - A change is in the log, synced, before any View shows it.
//   - When Update returns nil, View shows the change.
//   - An Update is all or nothing, in the log and in every snapshot.
//   - Two Updates of which one wrote a key that the other read by Get or
//     wrote do not both commit on the same state: the later one runs again on
//     the newer state. What All and From pass over is not checked. A rule such as "at
//     most ten" or "delete only when empty" therefore needs a key that both
//     sides write.
//   - A value that cannot be decoded is never skipped. Open returns an error
//     that names its key; a read of one that came later panics with it.
//
// An example:
//
//	var users = store.NewTable[User]("users")
//
//	db, err := store.Open(ctx, store.NewMemory(), users)
//	err = db.Update(ctx, func(tx *store.Tx) error {
//		u := users.Get(tx, "alice")
//		if u == nil {
//			u = new(User)
//		}
//		u.Logins++
//		users.Put(tx, "alice", u)
//		return nil
//	})
//	alice := users.Get(db.View(), "alice")
package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A DB is the state of one server: the newest snapshot, and the log that it
// follows. Its methods may be called from many goroutines.
type DB struct {
	log     Log
	current atomic.Pointer[Snapshot]
	broken  atomic.Pointer[error] // why the log is not being followed just now; nil when it is

	// again is held by an Update that lost against another one while it runs
	// again, so that losers on one key go one after the other instead of
	// making each other lose.
	again chan struct{}

	mu      sync.Mutex
	waiting []waiter

	stop   context.CancelFunc
	done   chan struct{} // closed when follow has returned
	closed atomic.Bool
}

type waiter struct {
	revision int64
	ready    chan struct{}
}

// errClosed is what calls on a closed DB get.
var errClosed = errors.New("store: closed")

// Open loads everything that log has and then follows it until Close. It
// decodes each value of the given tables and fails with the key of the first
// that is not a value of its table's type. The values of other tables must be
// JSON; they are decoded when they are first read.
//
// The DB owns the log: Close closes it, and so does an Open that fails.
// ctx bounds the loading only.
func Open(ctx context.Context, log Log, tables ...Checker) (*DB, error) {
	db := &DB{log: log, again: make(chan struct{}, 1), done: make(chan struct{})}
	first, err := load(ctx, log, nil)
	if err == nil {
		err = first.check(tables)
	}
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	db.current.Store(first)
	follow, stop := context.WithCancel(context.Background())
	db.stop = stop
	go db.follow(follow)
	return db, nil
}

// Close stops following the log and closes it. Updates in flight fail; View
// goes on showing the last state. Closing twice is closing once.
func (db *DB) Close() error {
	if db.closed.Swap(true) {
		return nil
	}
	db.stop()
	<-db.done
	return db.log.Close()
}

// View returns the newest snapshot. It is one atomic load.
func (db *DB) View() *Snapshot { return db.current.Load() }

// Update runs f on the newest state and commits what f wrote. When another
// change got in between, f runs again on the newer state, so f must have no
// other effects than those on tx: no I/O, no clock, no goroutine.
//
// An error of f is returned as it is and nothing is committed. Any other
// error, and the end of ctx, leaves open whether the change was made, except
// for [ErrTooLarge], after which it was not; see also [ErrFull].
func (db *DB) Update(ctx context.Context, f func(*Tx) error) error {
	lost := false
	for {
		if db.closed.Load() {
			return errClosed
		}
		tx := newTx(db.View())
		if err := f(tx); err != nil {
			return err
		}
		if tx.fault != nil {
			return tx.fault
		}
		checks, writes := tx.changes()
		if len(writes) == 0 {
			return nil
		}
		if err := fits(checks, writes); err != nil {
			return err
		}
		revision, err := db.log.Commit(ctx, checks, writes)
		if err != nil && !errors.Is(err, ErrConflict) {
			return fmt.Errorf("store: committing a change: %w", err)
		}
		conflict := err != nil
		if err := db.Wait(ctx, revision); err != nil {
			return err
		}
		if !conflict {
			return nil
		}
		if !lost {
			lost = true
			select {
			case db.again <- struct{}{}:
				defer func() { <-db.again }()
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// Wait returns when View shows the state of revision or a later one.
func (db *DB) Wait(ctx context.Context, revision int64) error {
	if db.View().revision >= revision {
		return nil
	}
	w := waiter{revision, make(chan struct{})}
	db.mu.Lock()
	if db.View().revision >= revision { // published before we were in the list
		db.mu.Unlock()
		return nil
	}
	db.waiting = append(db.waiting, w)
	db.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-db.done:
		return errClosed
	case <-ctx.Done():
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	for i := range db.waiting {
		if db.waiting[i].ready == w.ready {
			db.waiting = append(db.waiting[:i], db.waiting[i+1:]...)
			break
		}
	}
	if err := db.Err(); err != nil {
		return fmt.Errorf("store: waiting for revision %d: %w (the log is not being followed: %w)", revision, ctx.Err(), err)
	}
	return fmt.Errorf("store: waiting for revision %d: %w", revision, ctx.Err())
}

// Err returns why the log is not being followed just now, so that View may be
// old, and nil when it is being followed.
func (db *DB) Err() error {
	if err := db.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// publish makes s the newest snapshot and lets those go on who waited for it.
func (db *DB) publish(s *Snapshot) {
	db.current.Store(s)
	db.mu.Lock()
	defer db.mu.Unlock()
	still := db.waiting[:0]
	for _, w := range db.waiting {
		if w.revision <= s.revision {
			close(w.ready)
		} else {
			still = append(still, w)
		}
	}
	clear(db.waiting[len(still):])
	db.waiting = still
}

// follow applies what the log reports until ctx ends. When the log has gone
// on without us (ErrBehind), and after it has failed, it loads the whole state
// anew.
func (db *DB) follow(ctx context.Context) {
	defer close(db.done)
	pause := firstPause
	for {
		err := db.log.Watch(ctx, db.View().revision, func(revision int64, events []Event) {
			pause = firstPause
			db.publish(db.View().apply(revision, events))
		})
		if errors.Is(err, ErrBehind) {
			err = nil
		}
		for {
			if err == nil {
				var s *Snapshot
				if s, err = load(ctx, db.log, db.View()); err == nil {
					db.publish(s)
				}
			}
			if err == nil {
				db.broken.Store(nil)
				break
			}
			why := err
			db.broken.Store(&why)
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
				pause = min(2*pause, lastPause)
				err = nil
			}
		}
	}
}

// How long follow waits before it asks a failing log again.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 5 * time.Second
)
