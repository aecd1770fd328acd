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
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
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

	// Quota is the size of the database file in bytes above which changes are
	// refused, but for deletions. Zero is 4 GiB; more than 8 GiB is not
	// advised by etcd's authors.
	Quota int64

	// MinFree is how many bytes have to be free on the disk for changes to
	// be taken. It must leave room for a segment of etcd's write-ahead log
	// (64 MiB) and for what is written within a second. Zero is 256 MiB.
	MinFree uint64

	// Free says how many bytes are free on the disk of a directory.
	// Nil asks the operating system.
	Free func(dir string) (uint64, error)
}

// How often the maintenance looks at the disk and at the revisions.
const (
	diskEvery    = time.Second
	compactEvery = 10 * time.Second
)

// startMost is how long a start may take. It takes 50 ms, and longer when there
// is much in the write-ahead log that is not in the database yet.
const startMost = time.Minute

// historyKept is how many revisions compaction leaves for watchers. It is more
// than a watcher that is not far behind needs.
const historyKept = farBehind + 10_000

// aboveQuota is how far etcd's own quota is above ours. Etcd may make a change
// and then say that there was no space for it, so it must not come to that:
// all commits that are in flight when the quota is reached fit in between.
const aboveQuota = 512 << 20

// roomEvery is how often making room by force is tried, which stops writes.
const roomEvery = time.Minute

// wasteful is how much of the file may be unused before it is made smaller.
const wasteful = 64 << 20

type embedded struct {
	dir    string // the directory that is ours, with the lock
	lock   *os.File
	etcd   *embed.Etcd
	client *clientv3.Client
	opt    Options

	// What compaction leaves, and how much of the file may be unused: the
	// constants, but in a test that does not write so much.
	history, unused int64

	commits atomic.Int64          // so that the maintenance knows a quiet time
	full    atomic.Pointer[error] // why changes are refused; nil: they are taken
	noSpace chan struct{}         // a change was refused for the quota

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
	if opt.Free == nil {
		opt.Free = free
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("the data directory cannot be made: %w", err)
	}
	lock, err := Lock(dir)
	if err != nil {
		return nil, err
	}
	l := &embedded{dir: dir, lock: lock, opt: opt, history: historyKept, unused: wasteful, noSpace: make(chan struct{}, 1)}
	if err := l.start(ctx); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	maintenance, stop := context.WithCancel(context.Background())
	l.stop = stop
	l.stopped.Go(func() { l.maintain(maintenance) })
	return l, nil
}

// Lock takes dir/lock for this process until the file is closed, or says which one
// has it. The lock ends with the process, however that ends; the file stays. [Open]
// does it by itself.
func Lock(dir string) (*os.File, error) {
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
	err = f.Truncate(0)
	if err == nil {
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

// checkDatabase opens and closes etcd's database file, since etcd panics in a
// goroutine of its own when it cannot. The bolt library checks the file's two
// headers only, so this takes no time. A missing database is refused: etcd
// would begin with an empty one, and its log need not go back that far.
func checkDatabase(member string) error {
	file := filepath.Join(member, "snap", "db")
	if _, err := os.Stat(file); err != nil {
		return fmt.Errorf("etcd's database is missing: %w", err)
	}
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return fmt.Errorf("etcd cannot open its database %s: %w", file, err)
	}
	return db.Close()
}

// start starts etcd in dir/etcd. A new one is made in dir/etcd.new first and
// renamed when it has taken its first step: a member that is killed between
// making its log and writing its own membership to it never elects a leader.
func (l *embedded) start(ctx context.Context) error {
	dir := filepath.Join(l.dir, "etcd")
	if err := readable(dir); err != nil {
		return err
	}
	if l.look(); l.full.Load() != nil {
		return *l.full.Load()
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		fresh := dir + ".new"
		if err := os.RemoveAll(fresh); err != nil {
			return fmt.Errorf("removing what is left of a start that was ended: %w", err)
		}
		// Bolt makes its file as large as the memory map it is given, or 16 MiB
		// when that is larger, and all of the file counts as resident: a small
		// quota, which makes a small map, saves 14 MiB until they are needed.
		e, err := l.run(ctx, fresh, 1<<20)
		if err != nil {
			return err
		}
		e.Close()
		if err := os.Rename(fresh, dir); err != nil {
			return fmt.Errorf("putting a new etcd in its place: %w", err)
		}
		if err := syncDir(l.dir); err != nil {
			return fmt.Errorf("putting a new etcd in its place: %w", err)
		}
	}
	if err := checkDatabase(filepath.Join(dir, "member")); err != nil {
		return err
	}
	var err error
	if l.etcd, err = l.run(ctx, dir, l.opt.Quota+aboveQuota); err != nil {
		return err
	}
	l.client = v3client.New(l.etcd.Server)
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// run starts etcd in a directory of its own and waits until it can be used.
func (l *embedded) run(ctx context.Context, dir string, quota int64) (e *embed.Etcd, err error) {
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
	cfg.QuotaBackendBytes = quota
	// Loading a page of 50,000 keys takes longer than the default of 0.1 s.
	cfg.WarningApplyDuration = time.Second
	// There is no follower to keep old entries in memory for.
	cfg.SnapshotCatchUpEntries = 100
	opening := &atomic.Bool{}
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(logger(l.opt.Logger, opening))

	// What etcd cannot open it reports by ending the process or by a panic.
	opening.Store(true)
	defer opening.Store(false)
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("etcd cannot open %s, whose files seem damaged: %v", dir, r)
		}
	}()
	e, err = embed.StartEtcd(cfg)
	if err != nil {
		return nil, fmt.Errorf("etcd cannot open %s: %w", dir, err)
	}
	ctx, cancel := context.WithTimeout(ctx, startMost)
	defer cancel()
	select {
	case <-e.Server.ReadyNotify():
		return e, nil
	case <-e.Server.StopNotify():
		err = errors.New("it stopped")
	case err = <-e.Err():
	case <-ctx.Done():
		err = ctx.Err()
	}
	e.Server.HardStop()
	e.Close()
	return nil, fmt.Errorf("starting etcd in %s: %w", dir, err)
}

func (l *embedded) Load(ctx context.Context, each func(store.Event) error) (int64, error) {
	return load(ctx, l.client.KV, each)
}

func (l *embedded) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (int64, error) {
	if full := l.full.Load(); full != nil {
		return 0, *full
	}
	l.commits.Add(1)
	if size := l.etcd.Server.Backend().Size(); size > l.opt.Quota && slices.ContainsFunc(writes, puts) {
		l.wantRoom()
		return 0, fmt.Errorf("%w: the database has %d MiB and its quota is %d", store.ErrFull, size>>20, l.opt.Quota>>20)
	}
	revision, err := commit(ctx, l.client.KV, checks, writes)
	if errors.Is(err, store.ErrFull) {
		l.wantRoom()
	}
	return revision, err
}

func puts(w store.Write) bool { return w.Value != nil }

func (l *embedded) wantRoom() {
	select {
	case l.noSpace <- struct{}{}:
	default:
	}
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
	commits := int64(0)
	var tried time.Time
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-disk.C:
			l.look()
		case <-compact.C:
			quiet := commits == l.commits.Load()
			commits = l.commits.Load()
			err = l.tidy(ctx, quiet)
		case <-l.noSpace:
			if time.Since(tried) > roomEvery {
				tried = time.Now()
				err = l.makeRoom(ctx)
			}
		}
		if err != nil && ctx.Err() == nil {
			l.opt.Logger.Warn("etcd maintenance", "err", err)
		}
	}
}

func free(dir string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}

// look finds out whether there is room on the disk for changes.
func (l *embedded) look() {
	free, err := l.opt.Free(l.dir)
	if err != nil {
		err = fmt.Errorf("%w: the disk of %s does not say what is free: %w", store.ErrFull, l.dir, err)
		l.full.Store(&err)
		return
	}
	was := l.full.Load() != nil
	if free >= l.opt.MinFree {
		l.full.Store(nil)
		if was {
			l.opt.Logger.Warn("the disk has room again, changes are taken", "dir", l.dir, "free", free)
		}
		return
	}
	err = fmt.Errorf("%w: %d MiB are free on the disk of %s, changes need %d",
		store.ErrFull, free>>20, l.dir, l.opt.MinFree>>20)
	l.full.Store(&err)
	if !was {
		l.opt.Logger.Error("the disk is full, changes are refused", "dir", l.dir, "free", free, "needed", l.opt.MinFree)
	}
}

// tidy drops old revisions when there are twice as many as watchers need, and
// in a quiet time gives back the space that they took: that stops writes for
// as long as it takes to write the file anew.
func (l *embedded) tidy(ctx context.Context, quiet bool) error {
	kv := l.etcd.Server.KV()
	if last := kv.Rev() - l.history; last > kv.FirstRev()+l.history {
		if err := l.compact(ctx, last); err != nil {
			return err
		}
	}
	b := l.etcd.Server.Backend()
	if size, used := b.Size(), b.SizeInUse(); !quiet || size-used < l.unused || used > size/2 {
		return nil
	}
	if err := l.etcd.Server.Defragment(); err != nil {
		return fmt.Errorf("defragmenting: %w", err)
	}
	return nil
}

func (l *embedded) compact(ctx context.Context, revision int64) error {
	_, err := l.etcd.Server.Compact(ctx, &pb.CompactionRequest{Revision: revision, Physical: true})
	if err != nil {
		return fmt.Errorf("compacting up to revision %d: %w", revision, err)
	}
	return nil
}

// makeRoom brings an etcd that has reached the quota back to take changes, if
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
	if size := s.Backend().Size(); size > l.opt.Quota {
		return fmt.Errorf("the state itself takes %d bytes: changes are refused until some is deleted or the quota of %d is raised", size, l.opt.Quota)
	}
	// In case it was etcd's own quota, with an earlier and smaller one of ours.
	_, err := s.Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, Alarm: pb.AlarmType_NOSPACE, MemberID: uint64(s.MemberID())})
	return err
}
