package audit

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"unsafe"
)

// A journal is where records are safe until they are in the file of their day: a file of
// fixed size whose blocks are on the disk already, so that to sync what is written to it the
// file system has nothing to allocate and nothing to log. It is written past the page cache.
// The day's file then gets many batches at a time.
//
// It consists of two halves. When one is full the other follows, if all that is in it has
// been filed. What is in it is one entry after another, each a header and lines, from the
// beginning of a block. It is made when it is needed, and removed when the log is closed or
// another day begins; one that is there when a log is opened is what a crash has left, and
// what its entries say is filed then.
type journal struct {
	name  string
	day   int64 // when it was made
	f     *os.File
	room  []byte // for an entry, as the disk wants it: see aligned
	entry uint64 // the last one
	filed uint64 // the last one whose lines are in the file of their day, and synced
	told  uint64 // the last one of which the journal on the disk says so
	half  int
	at    int            // in that half
	last  [halves]uint64 // entry of each half
}

const (
	journalName = "journal"
	halves      = 2
	halfSize    = 4 << 20
	entrySize   = 1 << 20 // at most, with its header; it divides halfSize
	block       = 512     // entries begin at a multiple of it, which disks write whole

	// An entry's header: mark, its number, the last that is filed, day, length of the
	// lines, and the CRC-32C of all that and the lines. Numbers have eight bytes, and the
	// CRC four, in network byte order.
	entryMark   = "\x00iamd\x01\x02\x03" // what no line contains, for JSON has no such characters
	entryHeader = len(entryMark) + 4*8 + 4
)

var (
	errJournalFull = errors.New("audit: the journal is full")
	castagnoli     = crc32.MakeTable(crc32.Castagnoli)
)

// newJournal makes the journal of a directory, on a day. It fails where files cannot be
// written past the page cache.
func newJournal(dir string, day int64) (*journal, error) {
	j := &journal{name: filepath.Join(dir, journalName), day: day, room: aligned(entrySize)}
	f, err := openDirect(j.name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return nil, err
	}
	for range halves * halfSize / entrySize {
		if err == nil {
			_, err = f.Write(j.room)
		}
	}
	if err == nil {
		err = errors.Join(f.Sync(), syncDir(dir))
	}
	if err != nil {
		f.Close()
		os.Remove(j.name)
		return nil, err
	}
	j.f = f
	return j, nil
}

// add has lines on the disk when it returns nil. After errJournalFull, and only then, it may
// be called again.
func (j *journal) add(day int64, lines []byte, by *kernel) error {
	switch there, err := named(j.f); {
	case err != nil:
		return err
	case !there:
		return errors.New("audit: the journal has been taken away")
	}
	size := (entryHeader + len(lines) + block - 1) &^ (block - 1)
	if size > entrySize {
		return errJournalFull
	}
	if j.at+size > halfSize {
		next := (j.half + 1) % halves
		if j.last[next] > j.filed {
			return errJournalFull
		}
		j.half, j.at = next, 0
	}
	p := appendEntry(j.room[:0], j.entry+1, j.filed, day, lines)
	clear(j.room[len(p):size])
	if err := by.write(j.f, j.room[:size], int64(j.half*halfSize+j.at)); err != nil {
		return err
	}
	j.entry++
	j.at += size
	j.last[j.half], j.told = j.entry, j.filed
	return nil
}

// settle has on the disk what has been filed, which is all. Only the end of a file is looked
// through for what a journal may not have filed.
func (j *journal) settle(by *kernel) error {
	if j.told == j.entry {
		return nil
	}
	if err := j.add(0, nil, by); err != nil {
		return err
	}
	j.filed, j.told = j.entry, j.entry // this one is nothing
	return nil
}

func appendEntry(dst []byte, entry, filed uint64, day int64, lines []byte) []byte {
	from := len(dst)
	dst = append(dst, entryMark...)
	for _, n := range []uint64{entry, filed, uint64(day), uint64(len(lines))} {
		dst = binary.BigEndian.AppendUint64(dst, n)
	}
	sum := crc32.Update(crc32.Checksum(dst[from:], castagnoli), castagnoli, lines)
	return append(binary.BigEndian.AppendUint32(dst, sum), lines...)
}

// close closes the journal, and removes it if all of it has been filed.
func (j *journal) close() error {
	if j == nil {
		return nil
	}
	ours, _ := named(j.f) // and not what somebody has put there
	err := j.f.Close()
	if ours && j.filed == j.entry {
		err = errors.Join(err, os.Remove(j.name))
	}
	return err
}

// A journaled entry is what a journal says of one batch.
type journaled struct {
	entry, filed uint64
	day          int64
	lines        []byte
}

// readJournal returns the entries of a journal that may not be filed, the oldest first. An
// entry that is not whole was being written when the process or the machine died, and nobody
// has been told that it was there, or it was being overwritten, and is filed.
func readJournal(name string) ([]journaled, error) {
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	var all []journaled
	var filed uint64
	for at := 0; at < len(text); {
		e, size := parseEntry(text[at:])
		if size == 0 {
			at += block
			continue
		}
		filed = max(filed, e.filed)
		all = append(all, e)
		at += (size + block - 1) &^ (block - 1)
	}
	all = slices.DeleteFunc(all, func(e journaled) bool { return e.entry <= filed })
	slices.SortFunc(all, func(a, b journaled) int { return cmp.Compare(a.entry, b.entry) })
	return all, nil
}

// parseEntry returns the entry that text begins with, and how long it is: 0 if there is none.
func parseEntry(text []byte) (e journaled, size int) {
	if len(text) < entryHeader || !bytes.HasPrefix(text, []byte(entryMark)) {
		return e, 0
	}
	header := text[len(entryMark):]
	n := binary.BigEndian.Uint64(header[24:])
	if n > uint64(len(text)-entryHeader) {
		return e, 0
	}
	lines := text[entryHeader : entryHeader+int(n)]
	sum := crc32.Update(crc32.Checksum(text[:entryHeader-4], castagnoli), castagnoli, lines)
	if sum != binary.BigEndian.Uint32(header[32:]) {
		return e, 0
	}
	e = journaled{
		entry: binary.BigEndian.Uint64(header), filed: binary.BigEndian.Uint64(header[8:]),
		day: int64(binary.BigEndian.Uint64(header[16:])), lines: lines,
	}
	return e, entryHeader + int(n)
}

// restore files what the journal in the log's directory says and the files do not, and
// removes it.
func (l *Log) restore() error {
	name := filepath.Join(l.dir, journalName)
	entries, err := readJournal(name)
	if err != nil {
		return err
	}
	for len(entries) > 0 {
		day := entries[0].day
		n := slices.IndexFunc(entries, func(e journaled) bool { return e.day != day })
		if n < 0 {
			n = len(entries)
		}
		if err := l.begin(day); err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		there, err := lastLines(l.file)
		if err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		var missing []byte
		for _, e := range entries[:n] {
			for line := range bytes.Lines(e.lines) {
				if !there[string(line)] {
					missing = append(missing, line...)
				}
			}
		}
		if err := l.put(day, missing, func() error { return l.file.Sync(nil) }); err != nil {
			return err
		}
		entries = entries[n:]
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

// lastLines returns the lines at the end of a file among which those of a journal are that
// have been filed: what is filed follows each other, and is never more than a journal has.
func lastLines(f file) (map[string]bool, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	from := max(0, size-2*halves*halfSize)
	text := make([]byte, size-from)
	if _, err := f.ReadAt(text, from); err != nil && len(text) > 0 {
		return nil, err
	}
	lines := map[string]bool{}
	for line := range bytes.Lines(text) {
		lines[string(line)] = true
	}
	return lines, nil
}

// aligned makes room of n bytes that begins where a disk may want it to.
func aligned(n int) []byte {
	room := make([]byte, n+page)
	from := int(-uintptr(unsafe.Pointer(&room[0])) & (page - 1))
	return room[from : from+n : from+n]
}

const page = 4096
