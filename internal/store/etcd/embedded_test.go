package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/store"
)

type item struct {
	N    int
	Data string `json:",omitempty"`
}

var items = store.NewTable[item]("items")

// open opens the log in dir as what it is here, with a DB on it.
func open(t testing.TB, dir string, opt Options) (*embedded, *store.DB) {
	t.Helper()
	log, err := Open(t.Context(), dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), log, items)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return log.(*embedded), db
}

func put(ctx context.Context, db *store.DB, key string, v item) error {
	return db.Update(ctx, func(tx *store.Tx) error {
		items.Put(tx, key, &v)
		return nil
	})
}

func TestOneServerOneDirectory(t *testing.T) {
	dir := t.TempDir()
	_, db := open(t, dir, Options{})
	_, err := Open(t.Context(), dir, Options{})
	if err == nil {
		t.Fatal("a second Open succeeded")
	}
	if want := fmt.Sprintf("in use by process %d", os.Getpid()); !strings.Contains(err.Error(), want) {
		t.Errorf("the second Open = %q, want %q in it", err, want)
	}
	if err := put(t.Context(), db, "a", item{N: 1}); err != nil {
		t.Errorf("Update after a second Open was refused: %v", err)
	}
	db.Close()
	open(t, dir, Options{}) // free again
}

// A lock that cannot hold its owner's number would leave the next server's message
// with an older one's. A device that is always full stands for such a file.
func TestLockThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/dev/full", filepath.Join(dir, "lock")); err != nil {
		t.Fatal(err)
	}
	log, err := Open(t.Context(), dir, Options{})
	if err == nil {
		log.Close()
		t.Fatal("Open succeeded without writing its process number")
	}
	if want := "writing " + filepath.Join(dir, "lock"); !strings.Contains(err.Error(), want) {
		t.Errorf("Open = %q, want %q in it", err, want)
	}
}

// What cannot be opened is an error of Open, and neither the end of the
// process nor an empty state.
func TestUnusableDirectories(t *testing.T) {
	for _, test := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		want   string
	}{
		{"a file in the place of the directory", func(t *testing.T, dir string) {
			remove(t, dir)
			write(t, dir, "")
		}, "data directory"},
		{"a file in the place of etcd's", func(t *testing.T, dir string) {
			remove(t, filepath.Join(dir, "etcd"))
			write(t, filepath.Join(dir, "etcd"), "")
		}, "not a directory"},
		{"a database that is none", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "etcd/member/snap/db"), strings.Repeat("garbage ", 8192))
		}, "invalid database"},
		{"a database that is gone", func(t *testing.T, dir string) {
			remove(t, filepath.Join(dir, "etcd/member/snap/db"))
		}, "database is missing"},
		{"a write-ahead log of garbage", func(t *testing.T, dir string) {
			logs, _ := filepath.Glob(filepath.Join(dir, "etcd/member/wal/*.wal"))
			for _, name := range logs {
				write(t, name, strings.Repeat("garbage ", 8192))
			}
		}, "seem damaged"},
		{"a full disk", nil, "no space left"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			opt := Options{Logger: slog.New(slog.DiscardHandler)}
			_, db := open(t, dir, opt)
			if err := put(t.Context(), db, "a", item{N: 1}); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if test.damage != nil {
				test.damage(t, dir)
			} else {
				opt.Free = func(string) (uint64, error) { return 1 << 20, nil }
			}
			log, err := Open(t.Context(), dir, opt)
			if err == nil {
				defer log.Close()
				t.Fatal("Open succeeded")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("Open = %q, want %q in it", err, test.want)
			}
		})
	}
}

func remove(t *testing.T, name string) {
	t.Helper()
	if err := os.RemoveAll(name); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A disk that fills up stops changes and not reads, until there is room.
func TestFullDisk(t *testing.T) {
	var room atomic.Uint64
	room.Store(1 << 40)
	var said bytes.Buffer
	log, db := open(t, t.TempDir(), Options{
		Logger: slog.New(slog.NewTextHandler(&said, nil)),
		Free:   func(string) (uint64, error) { return room.Load(), nil },
	})
	log.stop() // we look at the disk ourselves
	log.stopped.Wait()
	if err := put(t.Context(), db, "a", item{N: 1}); err != nil {
		t.Fatal(err)
	}
	room.Store(100 << 20)
	log.look()
	err := put(t.Context(), db, "a", item{N: 2})
	if !errors.Is(err, store.ErrFull) || !strings.Contains(err.Error(), "100 MiB are free") {
		t.Errorf("Update on a full disk = %v, want ErrFull and what is free", err)
	}
	if got := items.Get(db.View(), "a"); got == nil || got.N != 1 {
		t.Errorf("Get on a full disk = %+v, want what was there", got)
	}
	room.Store(1 << 40)
	log.look()
	if err := put(t.Context(), db, "a", item{N: 3}); err != nil {
		t.Errorf("Update when there is room again = %v", err)
	}
	if n := strings.Count(said.String(), "\n"); n != 2 {
		t.Errorf("the operator was told %d times, want once of each change:\n%s", n, &said)
	}
}

func TestDiskThatDoesNotAnswer(t *testing.T) {
	_, err := Open(t.Context(), t.TempDir(), Options{
		Free: func(string) (uint64, error) { return 0, errors.New("stale handle") },
	})
	if !errors.Is(err, store.ErrFull) || !strings.Contains(err.Error(), "stale handle") {
		t.Errorf("Open = %v, want ErrFull with the reason", err)
	}
}

// Old revisions that fill the quota are dropped, and changes go on.
func TestQuota(t *testing.T) {
	log, db := open(t, t.TempDir(), Options{Quota: 24 << 20, Logger: slog.New(slog.DiscardHandler)})
	log.stop() // we make room ourselves
	log.stopped.Wait()
	data := noise(400_000)
	var err error
	n := 0
	for ; err == nil && n < 1000; n++ {
		err = put(t.Context(), db, fmt.Sprint(n%4), item{N: n, Data: data})
	}
	if !errors.Is(err, store.ErrFull) || !strings.Contains(err.Error(), "quota") {
		t.Fatalf("Update number %d = %v, want ErrFull that names the quota", n, err)
	}
	n--
	if got := items.Get(db.View(), fmt.Sprint(n%4)); got == nil || got.N != n-4 {
		t.Errorf("a refused change was made, or the one before is not there")
	}
	if got := db.View().Revision(); got != int64(n+1) {
		t.Errorf("the revision is %d after %d changes, want %d", got, n, n+1)
	}
	err = db.Update(t.Context(), func(tx *store.Tx) error { items.Delete(tx, "3"); return nil })
	if err != nil || items.Get(db.View(), "3") != nil {
		t.Errorf("a deletion above the quota = %v, want it made", err)
	}
	if err := log.makeRoom(t.Context()); err != nil {
		t.Fatalf("makeRoom: %v", err)
	}
	if err := put(t.Context(), db, "0", item{N: 1}); err != nil {
		t.Errorf("Update when there is room again = %v", err)
	}
}

// Old revisions go, and with them the space that they took, while readers and
// watchers go on.
func TestTidy(t *testing.T) {
	dir := t.TempDir()
	log, db := open(t, dir, Options{})
	log.stop() // we tidy ourselves
	log.stopped.Wait()
	log.history, log.unused = 10, 1<<20
	data := noise(400_000)
	for n := range 60 {
		if err := put(t.Context(), db, "a", item{N: n, Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	size := log.etcd.Server.Backend().Size()
	if err := log.tidy(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if got, want := log.etcd.Server.KV().FirstRev(), db.View().Revision()-10; got != want {
		t.Errorf("the oldest revision is %d, want %d", got, want)
	}
	if got := log.etcd.Server.Backend().Size(); got < size {
		t.Errorf("the file went from %d to %d bytes while changes were made, want it left alone", size, got)
	}
	// Pages that were in use when a change was committed are free after a later one.
	for end := time.Now().Add(10 * time.Second); ; {
		if err := log.tidy(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		got := log.etcd.Server.Backend().Size()
		if got <= size/2 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the file went from %d to %d bytes, want less than half", size, got)
		}
		if err := put(t.Context(), db, "c", item{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.tidy(t.Context(), true); err != nil {
		t.Errorf("with nothing to do: %v", err)
	}
	if err := put(t.Context(), db, "b", item{N: 1}); err != nil {
		t.Errorf("Update after that: %v", err)
	}
	db.Close()
	_, db = open(t, dir, Options{})
	if a, b := items.Get(db.View(), "a"), items.Get(db.View(), "b"); a == nil || a.N != 59 || a.Data != data || b == nil {
		t.Error("the values are not there when opened again")
	}
}

func noise(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte(r.IntN(26))
	}
	return string(b)
}

// A watcher whose next revision was compacted away loads everything anew.
func TestCompactedWatch(t *testing.T) {
	log, db := open(t, t.TempDir(), Options{})
	first := db.View().Revision()
	for n := range 20 {
		if err := put(t.Context(), db, "a", item{N: n}); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.compact(t.Context(), db.View().Revision()); err != nil {
		t.Fatal(err)
	}
	err := log.Watch(t.Context(), first, func(int64, []store.Event) { t.Error("events from before the compaction") })
	if !errors.Is(err, store.ErrBehind) {
		t.Errorf("Watch = %v, want ErrBehind", err)
	}
}
