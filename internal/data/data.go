// Package data keeps what S3 holds in bulk: the names and metadata of objects in
// an embedded ordered store, their bodies as files.
//
// A DB is one directory:
//
//	meta.db          bbolt: a tree of objects, of uploads and of parts for each bucket
//	bodies/3f/3fa8…  a body, or one part of one; never changed once it has this name
//	incoming/…       bodies that are being written; emptied at start
//
// Its words are S3's. A bucket is known by an immutable id that the caller
// chooses, so that a bucket of an old name never shows old objects; who owns it,
// its policy and whether it is versioned is the caller's to keep. A key is any
// text of 1 to 1024 bytes. Each key has versions, newest first, of which the first
// is current; a bucket that was never versioned has one version a key, the null
// version, whose id is "null". A delete marker is a version without a body.
//
// # What it promises
//
// A change is durable when the call returns. A put is seen whole or not at all:
// the body is written aside, synced, renamed and its directory synced, and then
// one transaction makes it known. Changes made at the same time share a
// transaction and its two syncs. Removing is the other way round, first the
// metadata and then the file; what a crash leaves behind is in no one's way and is
// swept in the background. A reader keeps the body that it opened whatever happens
// to the object. Bodies stream; memory does not grow with them.
//
// Bodies up to InlineSize are kept in the metadata record, so that a small object
// costs one lookup to read and no file to write.
//
// # Example
//
//	part, err := db.Write(r.Body)                    // aside; not yet an object
//	o := &data.Object{Key: "a/b", ETag: part.ETag, Size: part.Size, Parts: []data.Part{part}}
//	err = db.Put(bucket, o, data.Unversioned, nil)   // now it is
//	o, content, err := db.Open(bucket, "a/b", "")
//	defer content.Close()
//	_, err = io.Copy(w, content)
package data

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Errors that callers tell apart. Others are faults of the disk.
var (
	ErrNoBucket  = errors.New("no such bucket")
	ErrNotEmpty  = errors.New("the bucket is not empty")
	ErrNoKey     = errors.New("no such key")
	ErrNoVersion = errors.New("no such version")
	ErrNoUpload  = errors.New("no such upload")
	ErrFull      = errors.New("no space left for objects")
)

// InlineSize is the length up to which a body is kept in its metadata record.
const InlineSize = 4 << 10

// A DB is an open directory of objects. Its methods may be called concurrently.
type DB struct {
	meta *bolt.DB
	dir  string

	changes chan *change
	stop    chan struct{}
	work    sync.WaitGroup // the committer and the sweeper

	// create opens a new file for a body; tests have it fail.
	create func(name string) (*os.File, error)

	waiting atomic.Pointer[func()] // called before a thread waits for the disk

	// gate is held for reading from before an object is looked up until its files
	// are pinned, and for writing when the files of a transaction are settled. So
	// whoever read the old state has its pins, and whoever comes later reads the new.
	gate sync.RWMutex

	mu      sync.Mutex
	pins    map[string]int      // files that readers hold, by file id
	doomed  map[string]struct{} // pinned files to be removed by the last reader
	pending map[string]struct{} // files written and not yet known to meta
}

// Open opens the directory, makes it if it is missing, and removes what a crash
// left behind. One process at a time may have it open.
func Open(dir string) (*DB, error) {
	for _, d := range []string{dir, filepath.Join(dir, "bodies")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("opening objects: %w", err)
		}
	}
	meta, err := bolt.Open(filepath.Join(dir, "meta.db"), 0o600, &bolt.Options{
		Timeout:      time.Second,
		FreelistType: bolt.FreelistMapType,
		// Address space, not memory: growing the map stops readers.
		InitialMmapSize: 1 << 30,
	})
	if err != nil {
		return nil, fmt.Errorf("opening objects in %s: %w", dir, err)
	}
	if err := meta.Update(func(t *bolt.Tx) error {
		_, err := t.CreateBucketIfNotExists(files)
		return err
	}); err != nil {
		meta.Close()
		return nil, fmt.Errorf("opening objects in %s: %w", dir, err)
	}
	db := &DB{
		meta:    meta,
		dir:     dir,
		changes: make(chan *change, maxBatch),
		stop:    make(chan struct{}),
		create: func(name string) (*os.File, error) {
			return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		},
		pins:    map[string]int{},
		doomed:  map[string]struct{}{},
		pending: map[string]struct{}{},
	}
	// The lock on meta.db is ours: no other process is writing into incoming.
	if err := os.RemoveAll(db.path("incoming")); err != nil {
		meta.Close()
		return nil, fmt.Errorf("opening objects: %w", err)
	}
	if err := os.Mkdir(db.path("incoming"), 0o700); err != nil {
		meta.Close()
		return nil, fmt.Errorf("opening objects: %w", err)
	}
	if err := syncDir(dir); err != nil {
		meta.Close()
		return nil, fmt.Errorf("opening objects: %w", err)
	}
	db.work.Add(2)
	go db.commit()
	go db.sweeper()
	return db, nil
}

func (db *DB) path(elem ...string) string {
	return filepath.Join(append([]string{db.dir}, elem...)...)
}

// Close ends the DB. No other call may be under way or follow, except on Contents
// that are open.
func (db *DB) Close() error {
	close(db.stop)
	db.work.Wait()
	return db.meta.Close()
}

// CreateBucket makes the bucket known. Creating one that exists does nothing.
func (db *DB) CreateBucket(id string) error {
	return db.change(func(t *tx) error {
		for _, tree := range []string{objects, uploads, parts} {
			_, err := t.CreateBucketIfNotExists(treeName(tree, id))
			t.must(err)
		}
		return nil
	})
}

// RemoveBucket removes an empty bucket with the uploads that were never
// completed: ErrNotEmpty when a version or a delete marker is left. Puts that come
// later fail with ErrNoBucket. Removing one that does not exist does nothing.
func (db *DB) RemoveBucket(id string) error {
	return db.change(func(t *tx) error {
		tree := t.Bucket(treeName(objects, id))
		if tree == nil {
			return nil
		}
		if k, _ := tree.Cursor().First(); k != nil {
			return ErrNotEmpty
		}
		c := t.Bucket(treeName(parts, id)).Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			t.release(decodePart(v))
		}
		for _, tree := range []string{objects, uploads, parts} {
			t.must(t.DeleteBucket(treeName(tree, id)))
		}
		return nil
	})
}

// Buckets returns the ids of all buckets.
func (db *DB) Buckets() ([]string, error) {
	var ids []string
	err := db.meta.View(func(t *bolt.Tx) error {
		return t.ForEach(func(name []byte, _ *bolt.Bucket) error {
			if string(name[0]) == objects {
				ids = append(ids, string(name[1:]))
			}
			return nil
		})
	})
	return ids, err
}

// The trees of a bucket are named by one letter and the bucket's id. One more tree,
// of all buckets, counts how many records name a file.
const (
	objects = "o" // encoded key, separator, inverted sequence number -> Object
	uploads = "u" // encoded key, separator, upload id -> Upload
	parts   = "p" // upload id, part number -> Part
)

var files = []byte("f") // file id -> count

func treeName(tree, bucket string) []byte { return []byte(tree + bucket) }

// A tx is a transaction that remembers the first fault of the database, after
// which it will not be committed.
type tx struct {
	*bolt.Tx
	err   error
	fresh []string // files that became known
	freed []string // files that nothing names any more
}

func (t *tx) must(err error) {
	if t.err == nil {
		t.err = err
	}
}

// tree returns a tree of the bucket.
func (t *tx) tree(tree, bucket string) (*bolt.Bucket, error) {
	b := t.Bucket(treeName(tree, bucket))
	if b == nil {
		return nil, ErrNoBucket
	}
	return b, nil
}

// OnWait has f called before a thread waits for the disk.
func (db *DB) OnWait(f func()) { db.waiting.Store(&f) }

func (db *DB) wait() {
	if f := db.waiting.Load(); f != nil {
		(*f)()
	}
}

// A change is one call's part of a transaction.
type change struct {
	f    func(*tx) error
	err  error
	done chan struct{}
}

// maxBatch is how many changes share a transaction at most.
const maxBatch = 256

// change runs f in a transaction together with the changes of other calls, and
// returns when it is durable. f checks first and changes after: an error of f must
// leave the transaction as it was, because the others are committed all the same.
func (db *DB) change(f func(*tx) error) error {
	c := &change{f: f, done: make(chan struct{})}
	select {
	case db.changes <- c:
	case <-db.stop:
		return errors.New("data: closed")
	}
	<-c.done
	return c.err
}

// commit runs the changes: while one transaction is being synced the next ones
// gather, so that a lone writer does not wait and many share the syncs.
func (db *DB) commit() {
	defer db.work.Done()
	for {
		var batch []*change
		select {
		case c := <-db.changes:
			batch = append(batch, c)
		case <-db.stop:
			return
		}
	gather:
		for len(batch) < maxBatch {
			select {
			case c := <-db.changes:
				batch = append(batch, c)
			default:
				break gather
			}
		}
		db.commitBatch(batch)
	}
}

func (db *DB) commitBatch(batch []*change) {
	t := &tx{}
	db.wait()
	err := db.meta.Update(func(b *bolt.Tx) error {
		t.Tx = b
		for _, c := range batch {
			c.run(t)
			if t.err != nil {
				return t.err
			}
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("committing objects: %w", full(err))
		for _, c := range batch {
			if c.err == nil {
				c.err = err
			}
		}
	} else {
		db.settle(t)
	}
	for _, c := range batch {
		close(c.done)
	}
}

// run runs the change. A panic in it, which would end the process because this is
// not the caller's goroutine, is an error that stops the transaction.
func (c *change) run(t *tx) {
	defer func() {
		if p := recover(); p != nil {
			c.err = fmt.Errorf("panic in a change of objects: %v", p)
			t.must(c.err)
		}
	}()
	c.err = c.f(t)
}

// full tells a full disk from other faults.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}
