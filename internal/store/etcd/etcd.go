// Package etcd keeps a store's log in etcd, the same way in two places: in
// this process, in a directory of its own ([Open]), and in a cluster that
// somebody runs ([Dial]). It is the only package that knows etcd.
//
// Every key of the etcd is the store's: table, slash, key. A commit is one
// transaction that compares the mod revision of each key that it depends on.
// The revision of the store is etcd's.
//
// # In this process
//
// Open starts etcd's server without a port to listen on; requests are
// function calls. A commit is written to etcd's write-ahead log and synced
// before it is acknowledged. The directory is the server's alone: a lock file
// in it keeps a second process out, also one that would come before etcd has
// opened its own files.
//
// Old revisions are compacted away while the server runs, and the space that
// they took is given back when nothing is being written.
//
// When the disk or the quota is nearly full, changes are refused with
// [store.ErrFull] and reads go on; when there is room again, changes are taken
// again. Should a write to the disk fail all the same, etcd ends the process:
// what it has in memory may not be what is on the disk. Nothing that was
// acknowledged is lost by that.
package etcd

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/iamd-dev/iamd/internal/store"
)

const (
	// page is how many keys are loaded at a time. Each page makes etcd count
	// all the keys that follow, so small pages take quadratic time.
	page = 50_000

	// farBehind is how many revisions a watcher may be behind before loading
	// everything is the quicker way: etcd lets a slow watcher catch up at
	// about 5,000 revisions a second and loads 100,000 keys in less than one.
	farBehind = 20_000

	// batchMost is about how many events are applied to a snapshot at once.
	batchMost = 4096
)

// all is the range of all keys, from the smallest that etcd allows.
const all = "\x00"

// load is store.Log's Load over a client.
func load(ctx context.Context, kv clientv3.KV, each func(store.Event) error) (int64, error) {
	// The first page is a linearizable read: it has everything that was
	// acknowledged before, also what a server that just started has not
	// applied yet. The others are read at its revision.
	first, revision := all, int64(0)
	for {
		ops := []clientv3.OpOption{clientv3.WithFromKey(), clientv3.WithLimit(page)}
		if revision != 0 {
			ops = append(ops, clientv3.WithRev(revision), clientv3.WithSerializable())
		}
		r, err := kv.Get(ctx, first, ops...)
		if err != nil {
			return 0, explain(err)
		}
		if revision == 0 {
			revision = r.Header.Revision
		}
		for _, item := range r.Kvs {
			err := each(store.Event{Key: string(item.Key), Value: item.Value, Revision: item.ModRevision})
			if err != nil {
				return 0, err
			}
		}
		if !r.More {
			return revision, nil
		}
		first = string(r.Kvs[len(r.Kvs)-1].Key) + "\x00"
	}
}

// commit is store.Log's Commit over a client.
func commit(ctx context.Context, kv clientv3.KV, checks []store.Check, writes []store.Write) (int64, error) {
	cmps := make([]clientv3.Cmp, len(checks))
	for i, c := range checks {
		cmps[i] = clientv3.Compare(clientv3.ModRevision(c.Key), "=", c.Revision)
	}
	ops := make([]clientv3.Op, len(writes))
	for i, w := range writes {
		if w.Value == nil {
			ops[i] = clientv3.OpDelete(w.Key)
		} else {
			ops[i] = clientv3.OpPut(w.Key, string(w.Value))
		}
	}
	r, err := kv.Txn(ctx).If(cmps...).Then(ops...).Commit()
	if err != nil {
		return 0, explain(err)
	}
	if !r.Succeeded {
		return r.Header.Revision, store.ErrConflict
	}
	return r.Header.Revision, nil
}

// appendEvents adds events of etcd to those of the store.
func appendEvents(to []store.Event, events []*clientv3.Event) []store.Event {
	for _, e := range events {
		ev := store.Event{Key: string(e.Kv.Key), Revision: e.Kv.ModRevision}
		if e.Type == clientv3.EventTypePut {
			ev.Value = append([]byte{}, e.Kv.Value...) // not nil, which is a deletion
		}
		to = append(to, ev)
	}
	return to
}

// explain gives etcd's errors the meaning that the store and its operator need.
func explain(err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace), errors.Is(err, rpctypes.ErrGRPCNoSpace):
		return fmt.Errorf("%w: etcd has reached its quota, and may have made this change; it takes changes again after compaction, defragmentation and disarming", store.ErrFull)
	case errors.Is(err, rpctypes.ErrTooManyOps), errors.Is(err, rpctypes.ErrGRPCTooManyOps):
		return fmt.Errorf("%w for this etcd, which has to run with --max-txn-ops=%d", store.ErrTooLarge, store.MaxKeys)
	case errors.Is(err, rpctypes.ErrRequestTooLarge), errors.Is(err, rpctypes.ErrGRPCRequestTooLarge):
		return fmt.Errorf("%w for this etcd: %w", store.ErrTooLarge, err)
	}
	return err
}
