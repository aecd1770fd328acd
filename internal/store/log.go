package store

import (
	"context"
	"errors"
	"fmt"
)

// A Log keeps changes and puts them in order. Keys are a table's name, a slash
// and the key in the table; values are bytes, which a DB has in JSON. Each commit has a revision, higher
// than those before it; the revision of a key is that of its last change.
//
// Its methods may be called from many goroutines, and one log may serve
// several DBs.
type Log interface {
	// Load calls each for every key, in any order, with its value and
	// revision, all of one state, and returns the revision of that state. The
	// state has every commit that was acknowledged before Load was called.
	// An error of each ends the loading and is returned.
	Load(ctx context.Context, each func(Event) error) (revision int64, err error)

	// Commit makes all the writes, or none, if every key in checks still has
	// the revision given there. It returns when the change will outlast a
	// crash, with the change's revision. When a check does not hold, it
	// returns ErrConflict and a revision by which the reason can be seen.
	Commit(ctx context.Context, checks []Check, writes []Write) (revision int64, err error)

	// Watch calls apply for every commit after the revision given, in order,
	// also for those of other processes: with one or several whole commits at
	// a time and the revision of the last. It ends with ctx, or with
	// ErrBehind when it cannot, or had better not, show all the changes since
	// then, or with another error.
	Watch(ctx context.Context, after int64, apply func(revision int64, events []Event)) error

	// Close gives up what the log holds. Closing twice is closing once.
	Close() error
}

// An Event is the state of one key after one change of it. The value is nil
// when the change was a deletion.
type Event struct {
	Key      string
	Value    []byte
	Revision int64
}

// A Check is what must hold for a commit: the revision of a key, 0 for a key
// that must not exist.
type Check struct {
	Key      string
	Revision int64
}

// A Write is one change: the new value, or nil for a deletion.
type Write struct {
	Key   string
	Value []byte
}

// The limits of one change. A stock etcd takes requests of 1.5 MiB; a cluster
// of one's own has to run with --max-txn-ops=1024, which is 128 by default.
const (
	MaxKeys  = 1024    // keys read by Get or written, together
	MaxBytes = 1 << 20 // keys and values written, together
)

var (
	// ErrConflict is what Commit returns when a check does not hold.
	ErrConflict = errors.New("store: a key was changed in between")
	// ErrBehind is what Watch returns when the state has to be loaded anew.
	ErrBehind = errors.New("store: too many changes to follow one by one")
	// ErrFull is wrapped by what Update returns when there is no room left.
	// Reads go on. An etcd in this process has not made the change; a cluster
	// whose quota is exhausted may have.
	ErrFull = errors.New("store: no space left")
	// ErrTooLarge is wrapped by what Update returns for a change over
	// MaxKeys or MaxBytes. Nothing was changed.
	ErrTooLarge = errors.New("store: the change is too large")
)

// fits reports a change that is over the limits.
func fits(checks []Check, writes []Write) error {
	if n := len(checks); n > MaxKeys { // every key written is also checked
		return fmt.Errorf("%w: %d keys, at most %d", ErrTooLarge, n, MaxKeys)
	}
	n := 0
	for _, w := range writes {
		n += len(w.Key) + len(w.Value)
	}
	if n > MaxBytes {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, n, MaxBytes)
	}
	return nil
}
