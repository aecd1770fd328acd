package data

import (
	"bytes"
	"crypto/md5"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A Part is a piece of a body: the whole of it (Number 0), or one part of a
// multipart upload. Several objects may share a part, as copies do.
type Part struct {
	Number   int    // 1 to 10000; 0 for a body that was put whole
	Size     int64  //
	ETag     string // MD5 in hexadecimal, without quotes
	Modified time.Time
	Checksum Checksum

	file   string // id of the file with the body, or
	inline []byte // the body
}

var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// Write reads a body to its end and keeps it aside, synced, until it is put or
// discarded. An error of r comes back as it is and nothing is kept; so is ErrFull
// told from others. Size and ETag of the part are set.
func (db *DB) Write(r io.Reader) (p Part, err error) {
	buf := buffers.Get().(*[64 << 10]byte)
	defer buffers.Put(buf)
	sum := md5.New()
	// What fits into a record needs no file.
	n, end, err := fill(r, buf[:InlineSize+1])
	if err != nil {
		return Part{}, err
	}
	if end {
		sum.Write(buf[:n])
		p.inline = bytes.Clone(buf[:n])
		p.Size, p.ETag = int64(n), hex.EncodeToString(sum.Sum(nil))
		return p, nil
	}

	var id [16]byte
	rand.Read(id[:]) // never fails: crypto/rand
	p.file = hex.EncodeToString(id[:])
	aside := db.path("incoming", p.file)
	f, err := db.create(aside)
	if err != nil {
		return Part{}, fmt.Errorf("writing a body: %w", full(err))
	}
	db.mu.Lock()
	db.pending[p.file] = struct{}{}
	db.mu.Unlock()
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(aside)
			db.Discard(p)
			p = Part{}
		}
	}()

	for {
		sum.Write(buf[:n])
		p.Size += int64(n)
		if _, err := f.Write(buf[:n]); err != nil {
			return p, fmt.Errorf("writing a body: %w", full(err))
		}
		if end {
			break
		}
		if n, end, err = fill(r, buf[:]); err != nil {
			return p, err
		}
	}
	p.ETag = hex.EncodeToString(sum.Sum(nil))
	db.wait()
	if err := f.Sync(); err != nil {
		return p, fmt.Errorf("syncing a body: %w", full(err))
	}
	if err := f.Close(); err != nil {
		return p, fmt.Errorf("writing a body: %w", full(err))
	}
	if err := db.publish(aside, p.file); err != nil {
		return p, fmt.Errorf("naming a body: %w", full(err))
	}
	return p, nil
}

// fill reads until b is full or r ends. It is not io.ReadFull, which cannot tell a
// body that broke off from one that ended.
func fill(r io.Reader, b []byte) (n int, end bool, err error) {
	for n < len(b) {
		m, err := r.Read(b[n:])
		n += m
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}

// publish gives a synced file its name, durably.
func (db *DB) publish(aside, file string) error {
	name := db.bodyName(file)
	err := os.Rename(aside, name)
	if errors.Is(err, fs.ErrNotExist) { // the first file of its folder
		if err := os.Mkdir(filepath.Dir(name), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := syncDir(db.path("bodies")); err != nil {
			return err
		}
		err = os.Rename(aside, name)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

func (db *DB) bodyName(file string) string { return db.path("bodies", file[:2], file) }

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Discard removes parts that were written and not put.
func (db *DB) Discard(ps ...Part) {
	for _, p := range ps {
		if p.file == "" {
			continue
		}
		db.mu.Lock()
		_, ok := db.pending[p.file]
		delete(db.pending, p.file)
		db.mu.Unlock()
		if ok {
			os.Remove(db.bodyName(p.file)) // what remains is swept
		}
	}
}

// holds reports whether the part's body is there: a copy may find that its source
// was deleted meanwhile.
func (t *tx) holds(p Part, db *DB) bool {
	if p.file == "" || t.Bucket(files).Get([]byte(p.file)) != nil {
		return true
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	_, ok := db.pending[p.file]
	return ok
}

// retain counts one more record that names the part's file.
func (t *tx) retain(p Part) {
	if p.file == "" {
		return
	}
	tree := t.Bucket(files)
	var n uint64
	if v := tree.Get([]byte(p.file)); v != nil {
		n, _ = binary.Uvarint(v)
	} else {
		t.fresh = append(t.fresh, p.file)
	}
	t.must(tree.Put([]byte(p.file), binary.AppendUvarint(nil, n+1)))
}

// release counts one record less; the file goes with the last.
func (t *tx) release(p Part) {
	if p.file == "" {
		return
	}
	tree := t.Bucket(files)
	n, _ := binary.Uvarint(tree.Get([]byte(p.file)))
	if n > 1 {
		t.must(tree.Put([]byte(p.file), binary.AppendUvarint(nil, n-1)))
		return
	}
	t.must(tree.Delete([]byte(p.file)))
	t.freed = append(t.freed, p.file)
}

// settle does to the files what a transaction, now durable, has said.
func (db *DB) settle(t *tx) {
	if len(t.fresh) == 0 && len(t.freed) == 0 {
		return
	}
	db.gate.Lock()
	db.mu.Lock()
	for _, file := range t.fresh {
		delete(db.pending, file)
	}
	var remove []string
	for _, file := range t.freed {
		if db.pins[file] > 0 {
			db.doomed[file] = struct{}{}
		} else {
			remove = append(remove, file)
		}
	}
	db.mu.Unlock()
	db.gate.Unlock()
	for _, file := range remove {
		os.Remove(db.bodyName(file)) // what remains is swept
	}
}

// A Content is the body of an object as it was when it was opened. It reads from
// the start, or from where Seek went, to the end or to what Limit allows.
type Content struct {
	db     *DB
	parts  []Part
	starts []int64 // where each part begins
	size   int64

	at, end int64
	file    *os.File // the part at hand, when it is a file
	part    int      // its index
}

// newContent pins the files of the object, which was looked up behind the gate.
func (db *DB) newContent(o *Object) *Content {
	if pinning(o.Parts) {
		db.mu.Lock()
		for i := range o.Parts {
			if file := o.Parts[i].file; file != "" {
				db.pins[file]++
			}
		}
		db.mu.Unlock()
	}
	c := &Content{db: db, parts: o.Parts, part: -1}
	if len(c.parts) == 1 {
		c.size = c.parts[0].Size
	} else {
		c.starts = make([]int64, len(c.parts))
		for i, p := range c.parts {
			c.starts[i] = c.size
			c.size += p.Size
		}
	}
	c.end = c.size
	return c
}

// Section makes the Content read n bytes from off on. The caller has checked that
// they exist.
func (c *Content) Section(off, n int64) { c.at, c.end = off, off+n }

func (c *Content) start(i int) int64 {
	if c.starts == nil {
		return 0
	}
	return c.starts[i]
}

// piece returns what is left to read of the part at hand.
func (c *Content) piece() (inline []byte, file *os.File, n int64, err error) {
	i := c.part
	if i < 0 || c.at >= c.start(i)+c.parts[i].Size || c.at < c.start(i) {
		i = sort.Search(len(c.parts), func(i int) bool { return c.start(i)+c.parts[i].Size > c.at })
		if c.file != nil {
			c.file.Close()
			c.file = nil
		}
		c.part = i
	}
	p := &c.parts[i]
	off := c.at - c.start(i)
	n = min(p.Size-off, c.end-c.at)
	if p.file == "" {
		return p.inline[off : off+n], nil, n, nil
	}
	if c.file == nil {
		f, err := os.Open(c.db.bodyName(p.file))
		if err != nil {
			return nil, nil, 0, fmt.Errorf("reading a body: %w", err)
		}
		c.file = f
		if off > 0 {
			if _, err := f.Seek(off, io.SeekStart); err != nil {
				return nil, nil, 0, fmt.Errorf("reading a body: %w", err)
			}
		}
	}
	return nil, c.file, n, nil
}

func (c *Content) Read(b []byte) (int, error) {
	if c.at >= c.end {
		return 0, io.EOF
	}
	inline, file, n, err := c.piece()
	if err != nil {
		return 0, err
	}
	var m int
	if file == nil {
		m = copy(b, inline)
	} else {
		m, err = file.Read(b[:min(int64(len(b)), n)])
		if err == io.EOF {
			err = io.ErrUnexpectedEOF // the file is shorter than its record says
		}
	}
	c.at += int64(m)
	return m, err
}

// WriteTo lets the operating system copy from file to connection where it can.
func (c *Content) WriteTo(w io.Writer) (total int64, err error) {
	for c.at < c.end {
		inline, file, n, err := c.piece()
		if err != nil {
			return total, err
		}
		var m int64
		if file == nil {
			var k int
			k, err = w.Write(inline)
			m = int64(k)
		} else if m, err = io.Copy(w, io.LimitReader(file, n)); err == nil && m < n {
			err = io.ErrUnexpectedEOF
		}
		c.at += m
		total += m
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// Close lets the body go.
func (c *Content) Close() error {
	if c.file != nil {
		c.file.Close()
		c.file = nil
	}
	c.db.unpin(c.parts)
	c.parts, c.end = nil, 0
	return nil
}

// pinning reports whether any part is a file, which readers must hold.
func pinning(ps []Part) bool {
	for i := range ps {
		if ps[i].file != "" {
			return true
		}
	}
	return false
}

func (db *DB) unpin(ps []Part) {
	if !pinning(ps) {
		return
	}
	var remove []string
	db.mu.Lock()
	for i := range ps {
		file := ps[i].file
		if file == "" {
			continue
		}
		if db.pins[file]--; db.pins[file] > 0 {
			continue
		}
		delete(db.pins, file)
		if _, ok := db.doomed[file]; ok {
			delete(db.doomed, file)
			remove = append(remove, file)
		}
	}
	db.mu.Unlock()
	for _, file := range remove {
		os.Remove(db.bodyName(file)) // what remains is swept
	}
}

// sweepEvery is the time between two sweeps. A crash between naming a body and
// making it known, or a file that could not be removed, is all there is to find.
const sweepEvery = 6 * time.Hour

func (db *DB) sweeper() {
	defer db.work.Done()
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		db.sweep()
		select {
		case <-tick.C:
		case <-db.stop:
			return
		}
	}
}

// sweep removes the bodies that no record names, a folder at a time.
func (db *DB) sweep() {
	folders, err := os.ReadDir(db.path("bodies"))
	if err != nil {
		return
	}
	for _, folder := range folders {
		entries, err := os.ReadDir(db.path("bodies", folder.Name()))
		if err != nil {
			continue
		}
		for len(entries) > 0 {
			n := min(len(entries), 1000)
			for _, file := range db.orphans(entries[:n]) {
				os.Remove(db.path("bodies", folder.Name(), file))
			}
			entries = entries[n:]
			select {
			case <-db.stop:
				return
			default:
			}
		}
	}
}

// orphans returns the files that are neither awaited, nor read, nor known. A file
// stops being awaited after it has become known, and is looked for in that order.
func (db *DB) orphans(entries []fs.DirEntry) []string {
	var some []string
	db.mu.Lock()
	for _, e := range entries {
		_, pending := db.pending[e.Name()]
		_, doomed := db.doomed[e.Name()]
		if !pending && !doomed {
			some = append(some, e.Name())
		}
	}
	db.mu.Unlock()
	var lost []string
	db.meta.View(func(t *bolt.Tx) error {
		tree := t.Bucket(files)
		for _, name := range some {
			if tree.Get([]byte(name)) == nil {
				lost = append(lost, name)
			}
		}
		return nil
	})
	return lost
}
