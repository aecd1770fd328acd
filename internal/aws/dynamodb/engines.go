package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/dynamodb/api"
	"github.com/iamd-dev/iamd/internal/wire"
	"github.com/iamd-dev/iamd/internal/workload"
)

// Engines are the embedded engines: a dynoxide for each account and region, started when
// the first call for it comes and again when it has died, with a network of its own on which
// nobody but iamd reaches it. Its file is DIR/ACCOUNT/REGION/tables.db.
type Engines struct {
	Dir     string       // of the engines' files
	Program string       // path of dynoxide; "": there is none
	Hidden  []string     // what an engine must not see: the server's keys and other data
	Log     *slog.Logger // nil: nothing is logged
	Asked   func()       // is told of each call that an engine gets; nil: nobody is

	mu      sync.Mutex
	running map[string]*embedded     // by account/region
	ending  map[string]chan struct{} // those that were evicted, until they are gone
	closed  bool
}

const (
	enginePort  = 8000
	engineStart = 10 * time.Second // longest that an engine may take to begin
	mostEngines = 64               // at once
	mostRegions = 8                // of one account: it stops its own longest unused for another
	engineIdle  = time.Minute      // unused for so long, it may be stopped for another account's
)

type embedded struct {
	client  *lanes
	process *workload.Process
	used    time.Time
	ready   chan struct{} // closed when process and err are set
	err     error
}

var validRegion = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]{1,12}){1,3}-[1-9][0-9]?$`)

// engineVersion is the release that scripts/install-dynoxide installs.
const engineVersion = "1.2.1"

// FindProgram returns the path of the dynoxide that scripts/install-dynoxide installed, or
// of one in PATH; "" when there is none.
func FindProgram() string {
	if cache, err := os.UserCacheDir(); err == nil {
		path := filepath.Join(cache, "iamd", "dynoxide-"+engineVersion, "dynoxide")
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	path, err := exec.LookPath("dynoxide")
	if err != nil {
		return ""
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return ""
	}
	return path
}

// Engine returns the engine of an account and region.
func (e *Engines) Engine(ctx context.Context, account, region string) (Engine, error) {
	if e.Program == "" {
		return nil, &wire.Error{Code: "NotImplemented", Status: 501, Message: "iamd has no DynamoDB engine: install dynoxide with scripts/install-dynoxide " +
			"or name it with --dynamodb-engine."}
	}
	key := account + "/" + region
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil, errors.New("the engines are stopped")
	}
	x := e.running[key]
	if x == nil && !validRegion.MatchString(region) { // it becomes a directory's name
		e.mu.Unlock()
		return nil, api.Validation("%s is not a region", region)
	}
	if x == nil || x.dead() {
		x = &embedded{ready: make(chan struct{})}
		if e.running == nil {
			e.running = map[string]*embedded{}
		}
		if !e.evict(account + "/") {
			e.mu.Unlock()
			return nil, &wire.Error{Code: "ServiceUnavailable", Status: 503, Message: "Too many DynamoDB engines are in use. Try again later."}
		}
		e.running[key] = x
		before := e.ending[key]
		go func() {
			if before != nil {
				<-before // one engine a file
			}
			x.err = x.start(e, account, region)
			close(x.ready)
		}()
	}
	x.used = time.Now()
	e.mu.Unlock()
	if e.Asked != nil {
		e.Asked()
	}
	select {
	case <-x.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if errors.Is(x.err, workload.ErrNoNamespaces) {
		return nil, &wire.Error{Code: "NotImplemented", Status: 501, Message: "iamd's DynamoDB engine cannot run: " + workload.ErrNoNamespaces.Error() + "."}
	}
	if x.err != nil {
		return nil, fmt.Errorf("starting the DynamoDB engine of account %s in %s: %w", account, region, x.err)
	}
	return x.client, nil
}

// dead reports whether the engine has ended, or could not be started.
func (x *embedded) dead() bool {
	select {
	case <-x.ready:
	default:
		return false
	}
	if x.err != nil {
		return true
	}
	select {
	case <-x.process.Done():
		return true
	default:
		return false
	}
}

// evict makes room for one more engine of an account, if it can: of the account's own, when
// it has many, otherwise of those that nobody uses. Its caller holds mu.
func (e *Engines) evict(account string) bool {
	own := 0
	oldest, ownOldest := "", ""
	for key, x := range e.running {
		if oldest == "" || x.used.Before(e.running[oldest].used) {
			oldest = key
		}
		if strings.HasPrefix(key, account) {
			own++
			if ownOldest == "" || x.used.Before(e.running[ownOldest].used) {
				ownOldest = key
			}
		}
	}
	victim := ""
	switch {
	case own >= mostRegions:
		victim = ownOldest
	case len(e.running) < mostEngines:
		return true
	case time.Since(e.running[oldest].used) >= engineIdle:
		victim = oldest
	default:
		return false
	}
	x, gone := e.running[victim], make(chan struct{})
	delete(e.running, victim)
	if e.ending == nil {
		e.ending = map[string]chan struct{}{}
	}
	e.ending[victim] = gone
	go func() {
		x.stop()
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.ending[victim] == gone {
			delete(e.ending, victim)
		}
		close(gone)
	}()
	return true
}

func (x *embedded) start(e *Engines, account, region string) error {
	dir := filepath.Join(e.Dir, account, region)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(dir, "engine.log"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the engine has its own
	x.process, err = workload.Start(workload.Program{
		Path: e.Program,
		Args: []string{"serve", "--host", "127.0.0.1", "--port", fmt.Sprint(enginePort), "--db-path", filepath.Join(dir, "tables.db")},
		// It does one thing at a time with its file. With a second thread the two take turns,
		// call by call, on cores that others run on too.
		Env:     []string{"HOME=" + dir, "TOKIO_WORKER_THREADS=1"},
		Dir:     dir,
		Network: workload.Own,
		Apart:   true,
		Output:  log,
		Hidden:  e.Hidden,
		Files:   4096,
	})
	if err != nil {
		return err
	}
	x.client = newLanes(func(ctx context.Context) (net.Conn, error) { return x.process.Dial(ctx, enginePort) })
	go func() {
		<-x.process.Done()
		x.client.close()
	}()
	for deadline := time.Now().Add(engineStart); ; time.Sleep(2 * time.Millisecond) {
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		conn, err := x.process.Dial(ctx, enginePort)
		cancel()
		if err == nil {
			conn.Close()
			break
		}
		select {
		case <-x.process.Done():
			return fmt.Errorf("it ended at once, see %s: %w", log.Name(), x.process.Wait())
		default:
		}
		if time.Now().After(deadline) {
			x.process.Kill()
			return fmt.Errorf("it does not answer: %w", err)
		}
	}
	if e.Log != nil {
		e.Log.Info("a DynamoDB engine runs", "account", account, "region", region)
	}
	return nil
}

func (x *embedded) stop() {
	<-x.ready
	if x.process != nil {
		x.process.Stop()
	}
}

// Close stops the engines.
func (e *Engines) Close() error {
	e.mu.Lock()
	e.closed = true
	var all sync.WaitGroup
	for _, x := range e.running {
		all.Go(x.stop)
	}
	ending := slices.Collect(maps.Values(e.ending))
	e.mu.Unlock()
	all.Wait()
	for _, gone := range ending {
		<-gone
	}
	return nil
}
