package etcd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"github.com/iamd-dev/iamd/internal/store"
)

// Options of Open. The zero value is what a server wants.
type Options struct {
	// Logger gets what etcd has to say at warning level and above.
	// Nil is slog.Default().
	Logger *slog.Logger

	// Quota is how many bytes the database file may grow to. Zero is 4 GiB;
	// more than 8 GiB is not advised by etcd's authors.
	Quota int64

	// MinFree is how many bytes have to be free on the disk for changes to
	// be taken. It must leave room for a segment of etcd's write-ahead log
	// (64 MiB) and for what is written within a second. Zero is 256 MiB.
	MinFree uint64
}

// How often the maintenance looks at the disk and at the revisions.
const (
	diskEvery    = time.Second
	compactEvery = 10 * time.Second
)

// historyKept is how many revisions compaction leaves for watchers. It is more
// than a watcher that is not far behind needs.
const historyKept = farBehind + 10_000

// wasteful is how much of the file may be unused before it is made smaller.
const wasteful = 64 << 20

type embedded struct {
	dir    string // the directory that is ours, with the lock
	lock   *os.File
	etcd   *embed.Etcd
	client *clientv3.Client
	opt    Options

	commits atomic.Int64          // so that the maintenance knows a quiet time
	full    atomic.Pointer[error] // why changes are refused; nil: they are taken
	noSpace chan struct{}         // etcd has refused a change for its quota

	stop    context.CancelFunc
	stopped sync.WaitGroup
	close   sync.Once
}

// Open opens the log in dir/etcd, with what it needs created, and keeps other
// processes out of dir until Close. It returns when changes can be made.
func Open(ctx context.Context, dir string, opt Options) (store.Log, error) {
	if opt.Logger == nil {
		opt.Logger = slog.Default()
	}
	if opt.Quota == 0 {
		opt.Quota = 4 << 30
	}
	if opt.MinFree == 0 {
		opt.MinFree = 256 << 20
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("the data directory cannot be made: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	l := &embedded{dir: dir, lock: lock, opt: opt, noSpace: make(chan struct{}, 1)}
	if err := l.start(ctx); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	maintenance, stop := context.WithCancel(context.Background())
	l.stop = stop
	l.stopped.Go(func() { l.maintain(maintenance) })
	return l, nil
}

// lockDir takes dir/lock for this process, or says which one has it. The lock
// ends with the process, however that ends; the file stays.
func lockDir(dir string) (*os.File, error) {
	name := filepath.Join(dir, "lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the data directory cannot be used: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		pid, _ := os.ReadFile(name)
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			if len(pid) == 0 {
				pid = []byte("another one")
			}
			return nil, fmt.Errorf("the data directory %s is in use by process %s: one directory, one server", dir, pid)
		}
		return nil, fmt.Errorf("locking %s: %w", name, err)
	}
	if err := f.Truncate(0); err == nil {
		_, err = fmt.Fprintf(f, "%d", os.Getpid())
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("writing %s: %w", name, err)
	}
	return f, nil
}

// readable tells of the first file below dir that we may not read and write,
// which etcd would end the process for.
func readable(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if path == dir && errors.Is(err, fs.ErrNotExist) {
			return fs.SkipAll // a new one
		}
		if err != nil {
			return fmt.Errorf("the data directory cannot be read: %w", err)
		}
		if d.Type().IsRegular() {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				return fmt.Errorf("the data directory cannot be used: %w", err)
			}
			f.Close()
		}
		return nil
	})
}

func (l *embedded) start(ctx context.Context) (err error) {
	dir := filepath.Join(l.dir, "etcd")
	if err := readable(dir); err != nil {
		return err
	}
	if l.look(); l.full.Load() != nil {
		return *l.full.Load()
	}

	cfg := embed.NewConfig()
	cfg.Dir = dir
	cfg.Name = "iamd"
	// No ports. The peer URL is only the member's name in its own membership.
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:2380"}
	cfg.ListenPeerUrls, cfg.ListenClientUrls, cfg.ListenClientHttpUrls = nil, nil, nil
	cfg.AdvertisePeerUrls, cfg.AdvertiseClientUrls = []url.URL{peer}, nil
	cfg.InitialCluster = cfg.Name + "=" + peer.String()
	cfg.EnableGRPCGateway = false
	// A single member elects itself. With the defaults for a network,
	// 100/1000 ms, a start takes 0.3 s.
	cfg.TickMs, cfg.ElectionMs = 10, 50
	cfg.MaxTxnOps = store.MaxKeys
	cfg.MaxRequestBytes = store.MaxBytes + 512<<10 // keys of the checks, and their frame
	cfg.QuotaBackendBytes = l.opt.Quota
	// There is no follower to keep old entries in memory for.
	cfg.SnapshotCatchUpEntries = 100
	opening := &atomic.Bool{}
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(logger(l.opt.Logger, opening))

	// What etcd cannot open it reports by ending the process or by a panic.
	opening.Store(true)
	defer opening.Store(false)
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("etcd cannot open %s: %v", dir, r)
		}
	}()
	l.etcd, err = embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("etcd cannot open %s: %w", dir, err)
	}
	select {
	case <-l.etcd.Server.ReadyNotify():
	case <-l.etcd.Server.StopNotify():
		err = errors.New("it stopped while starting")
	case err = <-l.etcd.Err():
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		l.etcd.Close()
		return fmt.Errorf("starting etcd in %s: %w", dir, err)
	}
	l.client = v3client.New(l.etcd.Server)
	return nil
}

func (l *embedded) Load(ctx context.Context, each func(store.Event) error) (int64, error) {
	return load(ctx, l.client.KV, each)
}

func (l *embedded) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (int64, error) {
	if full := l.full.Load(); full != nil {
		return 0, *full
	}
	l.commits.Add(1)
	revision, err := commit(ctx, l.client.KV, checks, writes)
	if errors.Is(err, store.ErrFull) {
		select {
		case l.noSpace <- struct{}{}:
		default:
		}
	}
	return revision, err
}

// Watch reads from the store inside the server: a client's watch, which passes
// every event through two more queues, falls far behind under load.
func (l *embedded) Watch(ctx context.Context, after int64, apply func(int64, []store.Event)) error {
	kv := l.etcd.Server.Watchable()
	stream := kv.NewWatchStream()
	defer stream.Close()
	if _, err := stream.Watch(ctx, clientv3.AutoWatchID, []byte(all), []byte{}, after+1); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.etcd.Server.StopNotify():
			return errors.New("etcd has stopped")
		case r, ok := <-stream.Chan():
			var events []store.Event
			for more := true; more; {
				if !ok {
					return errors.New("etcd has ended the watch")
				}
				if r.CompactRevision != 0 {
					return store.ErrBehind
				}
				events = appendEvents(events, r.Events)
				if len(events) > batchMost {
					break
				}
				select {
				case r, ok = <-stream.Chan():
				default:
					more = false
				}
			}
			if len(events) == 0 {
				continue
			}
			last := events[len(events)-1].Revision
			apply(last, events)
			if kv.Rev()-last > farBehind {
				return store.ErrBehind
			}
		}
	}
}

func (l *embedded) Close() error {
	l.close.Do(func() {
		l.stop()
		l.stopped.Wait()
		l.client.Close()
		l.etcd.Close()
		l.lock.Close()
	})
	return nil
}

// maintain watches the disk, compacts, and gives space back, until ctx ends.
func (l *embedded) maintain(ctx context.Context) {
	disk, compact := time.NewTicker(diskEvery), time.NewTicker(compactEvery)
	defer disk.Stop()
	defer compact.Stop()
	compacted, commits := int64(0), int64(0)
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-disk.C:
			l.look()
		case <-compact.C:
			if r := l.etcd.Server.KV().Rev() - historyKept; r > compacted+historyKept {
				err = l.compact(ctx, r)
				compacted = r
			}
			quiet := commits == l.commits.Load()
			commits = l.commits.Load()
			b := l.etcd.Server.Backend()
			size, used := b.Size(), b.SizeInUse()
			if err == nil && quiet && size-used > wasteful && used < size/2 {
				err = l.etcd.Server.Defragment()
			}
		case <-l.noSpace:
			err = l.makeRoom(ctx)
		}
		if err != nil && ctx.Err() == nil {
			l.opt.Logger.Warn("etcd maintenance", "err", err)
		}
	}
}

// look finds out whether there is room on the disk for changes.
func (l *embedded) look() {
	var st syscall.Statfs_t
	if err := syscall.Statfs(l.dir, &st); err != nil {
		return // a file system that does not say
	}
	free := uint64(st.Bavail) * uint64(st.Bsize)
	was := l.full.Load() != nil
	if free >= l.opt.MinFree {
		l.full.Store(nil)
		if was {
			l.opt.Logger.Warn("the disk has room again, changes are taken", "dir", l.dir, "free", free)
		}
		return
	}
	err := fmt.Errorf("%w: %d MiB are free on the disk of %s, changes need %d",
		store.ErrFull, free>>20, l.dir, l.opt.MinFree>>20)
	l.full.Store(&err)
	if !was {
		l.opt.Logger.Error("the disk is full, changes are refused", "dir", l.dir, "free", free, "needed", l.opt.MinFree)
	}
}

func (l *embedded) compact(ctx context.Context, revision int64) error {
	_, err := l.etcd.Server.Compact(ctx, &pb.CompactionRequest{Revision: revision, Physical: true})
	if err != nil {
		return fmt.Errorf("compacting up to revision %d: %w", revision, err)
	}
	return nil
}

// makeRoom brings an etcd that has reached its quota back to take changes, if
// that can be done by dropping old revisions.
func (l *embedded) makeRoom(ctx context.Context) error {
	s := l.etcd.Server
	// The newest revisions may be what fills it: keep none but the last.
	if err := l.compact(ctx, s.KV().Rev()); err != nil {
		l.opt.Logger.Warn("etcd maintenance", "err", err) // compacted already: defragment all the same
	}
	if err := s.Defragment(); err != nil {
		return fmt.Errorf("defragmenting: %w", err)
	}
	if size := s.Backend().Size(); size > l.opt.Quota*9/10 {
		return fmt.Errorf("the state itself takes %d of %d bytes: changes are refused until the quota is raised", size, l.opt.Quota)
	}
	_, err := s.Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, Alarm: pb.AlarmType_NOSPACE, MemberID: uint64(s.MemberID())})
	return err
}
