package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A file is what the writer needs of an *os.File.
type file interface {
	io.Writer // appends
	io.ReaderAt
	Size() (int64, error)
	Named() (bool, error) // it is still what its name stands for
	Truncate(size int64) error
	Sync(*kernel) error // by the kernel, where it is not nil
	Close() error
}

// begin makes the file of the day the one to write to.
func (l *Log) begin(day int64) error {
	if l.file != nil && l.fileDay == day {
		named, err := l.file.Named()
		if err != nil || named {
			return err
		}
		// Somebody has moved or removed it: what is written there nobody finds.
		l.file.Close()
		l.file, l.name = nil, ""
	}
	name := filepath.Join(l.dir, fileName(day))
	f, err := l.open(name)
	if err != nil {
		return err
	}
	whole := l.size
	if name != l.name {
		whole, err = wholeLines(f)
	}
	if err == nil {
		var size int64
		if size, err = f.Size(); err == nil && size > whole {
			if err = f.Truncate(whole); err == nil {
				err = f.Sync(nil)
			}
		}
	}
	if err == nil && whole == 0 {
		err = syncDir(l.dir) // so that the name of a new file lasts
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("mending %s: %w", name, err)
	}
	if l.file != nil {
		l.file.Close()
	}
	l.file, l.name, l.fileDay, l.size = f, name, day, whole
	l.retain()
	return nil
}

// retain removes the files that are too old.
func (l *Log) retain() {
	if l.opt.RetainDays <= 0 {
		return
	}
	all, _ := days(l.dir)
	for _, day := range all {
		if day <= l.fileDay-int64(l.opt.RetainDays) {
			os.Remove(filepath.Join(l.dir, fileName(day)))
		}
	}
}

// wholeLines returns the length of f without a last line that has no end.
func wholeLines(f file) (int64, error) {
	size, err := f.Size()
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 64<<10)
	for end := size; end > 0; {
		from := max(0, end-int64(len(buf)))
		p := buf[:end-from]
		if _, err := f.ReadAt(p, from); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(p, '\n'); i >= 0 {
			return from + int64(i) + 1, nil
		}
		end = from
	}
	return 0, nil
}

const (
	filePrefix = "cloudtrail-"
	fileSuffix = ".jsonl"
)

func fileName(day int64) string {
	return filePrefix + time.Unix(day*86400, 0).UTC().Format(time.DateOnly) + fileSuffix
}

// days returns the days of which dir has a file, in order.
func days(dir string) ([]int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	var all []int64
	for _, e := range entries {
		date, ok := strings.CutPrefix(e.Name(), filePrefix)
		if !ok {
			continue
		}
		if date, ok = strings.CutSuffix(date, fileSuffix); !ok {
			continue
		}
		if t, err := time.Parse(time.DateOnly, date); err == nil {
			all = append(all, t.Unix()/86400)
		}
	}
	slices.Sort(all)
	return all, nil
}

// An osFile appends what is large past the page cache, where it can: in memory that the
// kernel has to find first, and that a virtual machine may have to ask its host for, that
// takes half of the time of it.
type osFile struct {
	*os.File
	room []byte // for what goes past the page cache; nil: nothing did yet
}

// large is from which size on.
const large = 128 << 10

func (f *osFile) Write(p []byte) (int, error) {
	n := 0
	if len(p) >= large {
		var err error
		if n, err = f.writeDirect(p); err != nil {
			return n, err
		}
	}
	if n == len(p) {
		return n, nil
	}
	rest, err := f.File.Write(p[n:])
	return n + rest, err
}

// writeDirect writes as much of p as ends with a page, past the page cache. It begins with
// the page that has the end of the file, so that no page is on its way by way of the cache
// when others after it are on the disk.
func (f *osFile) writeDirect(p []byte) (done int, err error) {
	size, err := f.Size()
	if err != nil || setDirect(f.File, true) != nil {
		return 0, err
	}
	if f.room == nil {
		f.room = aligned(roomSize)
	}
	old := int(size & (page - 1))
	at := size - int64(old)
	if old > 0 {
		_, err = f.ReadAt(f.room[:page], at)
		if err == io.EOF {
			err = nil
		}
	}
	for err == nil {
		n := (old + copy(f.room[old:], p[done:])) &^ (page - 1)
		if n == 0 {
			break
		}
		if err = writeAt(f.File, f.room[:n], at); err == nil {
			done += n - old
			at += int64(n)
			old = 0
		}
	}
	if err := setDirect(f.File, false); err != nil {
		return done, err
	}
	if done == 0 && errors.Is(err, syscall.EINVAL) { // the file system says so only now
		err = nil
	}
	return done, err
}

const roomSize = 1 << 20

func (f *osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f *osFile) Sync(by *kernel) error { return by.sync(f.File) }

func (f *osFile) Named() (bool, error) { return named(f.File) }

// named tells whether a file is still what its name stands for.
func named(f *os.File) (bool, error) {
	ours, err := f.Stat()
	if err != nil {
		return false, err
	}
	now, err := os.Stat(f.Name())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(ours, now), err
}

func openFile(name string) (file, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &osFile{File: f}, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
