package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/iamd-dev/iamd/internal/store"
)

// A Cluster says where an etcd is that somebody runs. All its keys are the
// store's, and it has to run with --max-txn-ops=1024. Compaction,
// defragmentation and the room on its disks are its operator's.
type Cluster struct {
	Endpoints []string     // "https://etcd-1:2379", ...
	TLS       *tls.Config  // nil: without TLS
	Username  string       // with Password, if etcd's authentication is on
	Password  string       // kept by the client for as long as it lives
	Logger    *slog.Logger // nil: slog.Default()

	// Silence is how long nothing may be heard of the cluster before the state is
	// taken to be old. Zero is five seconds.
	Silence time.Duration
}

type remote struct {
	client  *clientv3.Client
	silence time.Duration
}

// Dial returns the log in a cluster. It fails if none of the endpoints
// answers until ctx ends or ten seconds have passed.
func Dial(ctx context.Context, c Cluster) (store.Log, error) {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Silence == 0 {
		c.Silence = 5 * time.Second
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            c.Endpoints,
		TLS:                  c.TLS,
		Username:             c.Username,
		Password:             c.Password,
		DialTimeout:          5 * time.Second,
		DialKeepAliveTime:    5 * time.Second,
		DialKeepAliveTimeout: 3 * time.Second,
		MaxCallSendMsgSize:   store.MaxBytes + 512<<10,
		Logger:               logger(c.Logger, new(atomic.Bool)),
	})
	if err != nil {
		return nil, fmt.Errorf("etcd at %q: %w", c.Endpoints, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := client.Get(ctx, all); err != nil {
		return nil, fmt.Errorf("etcd at %q: %w", c.Endpoints, errors.Join(err, client.Close()))
	}
	return &remote{client, c.Silence}, nil
}

func (l *remote) Load(ctx context.Context, each func(store.Event) error) (int64, error) {
	return load(ctx, l.client.KV, each)
}

func (l *remote) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (int64, error) {
	return commit(ctx, l.client.KV, checks, writes)
}

// Watch ends with an error when the member that it hears from has lost the
// others, or nothing is heard of any, so that the store knows that its state may
// be old. The client by itself would look for another member for ever and say
// nothing.
func (l *remote) Watch(ctx context.Context, after int64, apply func(int64, []store.Event)) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	heard := time.Now()
	ask := time.NewTicker(l.silence / 4)
	defer ask.Stop()
	changes := l.client.Watch(ctx, all, clientv3.WithFromKey(), clientv3.WithRev(after+1))
	for {
		var r clientv3.WatchResponse
		var ok bool
		select {
		case r, ok = <-changes:
		case <-ask.C:
			if silent := time.Since(heard); silent > l.silence {
				return fmt.Errorf("nothing was heard of etcd for %v", silent.Round(time.Millisecond))
			}
			// It is answered on the channel, like a change. That it cannot be sent, for
			// which it waits, is silence, too.
			asking, done := context.WithTimeout(ctx, l.silence/4)
			l.client.RequestProgress(asking)
			done()
			continue
		}
		if !ok {
			break
		}
		heard = time.Now()
		if r.CompactRevision != 0 {
			return store.ErrBehind
		}
		if err := r.Err(); err != nil {
			return err
		}
		if len(r.Events) == 0 {
			continue
		}
		last := r.Events[len(r.Events)-1].Kv.ModRevision
		apply(last, appendEvents(nil, r.Events))
		if r.Header.Revision-last > farBehind {
			return store.ErrBehind
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.New("etcd has ended the watch")
}

func (l *remote) Close() error {
	if err := l.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
