package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/iamd-dev/iamd/internal/wire"
)

const (
	recent      = 4096     // calls kept in memory
	maxFile     = 32 << 20 // bytes in one file of explanations
	maxWaiting  = 4 << 20  // bytes that may wait to be written
	maxReasons  = 1 << 20  // bytes of one explanation
	currentName = "refused.jsonl"
	olderName   = "refused.older.jsonl"
)

// Decisions keeps why decisions came out as they did, by request id: of the
// last 4,096 calls in memory, in whatever form the caller keeps them, and of
// refused calls on disk, in two files of at most 32 MiB that take turns.
//
// It is a help for those who ask "why?", not a record: what cannot be kept is
// dropped.
type Decisions struct {
	dir string

	mu      sync.Mutex
	ring    [recent]decision
	at      int
	waiting []byte // lines
	dropped int64  // explanations that were not kept
	closed  bool

	writing sync.Mutex // held while the files change
	file    *os.File
	size    int64

	more    chan struct{}
	stop    chan struct{}
	stopped chan struct{}
}

type decision struct {
	id    string
	value any
}

// OpenDecisions opens the explanations in dir, which it makes if need be.
func OpenDecisions(dir string) (*Decisions, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	f, err := openFile(filepath.Join(dir, currentName))
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	size, err := wholeLines(f)
	if err == nil {
		err = f.Truncate(size) // a crash may have left half a line
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("audit: mending the explanations: %w", err)
	}
	d := &Decisions{
		dir: dir, file: f.(*osFile).File, size: size,
		more: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	go d.write()
	return d, nil
}

// Keep keeps v in memory until 4,096 other calls have been kept. v may be
// whatever the explanation can be made of when somebody asks for it.
func (d *Decisions) Keep(requestID string, v any) {
	d.mu.Lock()
	d.ring[d.at] = decision{requestID, v}
	d.at = (d.at + 1) % recent
	d.mu.Unlock()
}

// Recent returns what was kept last of the call, if it still is in memory.
func (d *Decisions) Recent(requestID string) (v any, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := 1; i <= recent; i++ {
		if k := &d.ring[(d.at-i+recent)%recent]; k.id == requestID && k.value != nil {
			return k.value, true
		}
	}
	return nil, false
}

// Refused keeps the explanation of a refused call, which is JSON, on disk. It
// does not wait for the disk.
func (d *Decisions) Refused(requestID string, explanation []byte) {
	var line bytes.Buffer
	line.Write(head(requestID))
	if err := json.Compact(&line, explanation); err != nil {
		line.Reset()
		line.Write(wire.AppendJSONString(head(requestID), string(explanation)))
	}
	line.WriteString("}\n")
	d.mu.Lock()
	fits := !d.closed && line.Len() <= maxReasons && len(d.waiting)+line.Len() <= maxWaiting
	if fits {
		d.waiting = append(d.waiting, line.Bytes()...)
	} else {
		d.dropped++
	}
	d.mu.Unlock()
	if fits {
		signal(d.more)
	}
}

// head is how a line begins, by which it is found again.
func head(requestID string) []byte {
	return append(wire.AppendJSONString([]byte(`{"requestID":`), requestID), `,"explanation":`...)
}

// Explanation returns the explanation of a refused call as it was given to
// Refused, in this or in an earlier run, or nil when it is not, or no longer,
// there.
func (d *Decisions) Explanation(requestID string) (json.RawMessage, error) {
	d.flush()
	d.writing.Lock()
	defer d.writing.Unlock()
	for _, name := range []string{currentName, olderName} {
		found, err := find(filepath.Join(d.dir, name), head(requestID))
		if found != nil || err != nil {
			return found, err
		}
	}
	return nil, nil
}

// find returns what follows head in the last line that begins with it.
func find(name string, head []byte) (found json.RawMessage, err error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxReasons+1)
	for lines.Scan() {
		if rest, ok := bytes.CutPrefix(lines.Bytes(), head); ok && len(rest) > 0 {
			found = bytes.Clone(rest[:len(rest)-1])
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("audit: reading %s: %w", name, err)
	}
	return found, nil
}

// Dropped returns how many explanations were not kept: too large, or more than
// the disk took.
func (d *Decisions) Dropped() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dropped
}

// Close writes what waits and closes the files. Closing twice is closing once.
func (d *Decisions) Close() error {
	d.mu.Lock()
	again := d.closed
	d.closed = true
	d.mu.Unlock()
	if again {
		return nil
	}
	close(d.stop)
	<-d.stopped
	return d.file.Close()
}

func (d *Decisions) write() {
	defer close(d.stopped)
	for {
		select {
		case <-d.more:
			d.flush()
		case <-d.stop:
			d.flush()
			return
		}
	}
}

// flush writes what waits, to a new file if the one that is there is full.
func (d *Decisions) flush() {
	d.writing.Lock()
	defer d.writing.Unlock()
	d.mu.Lock()
	lines := d.waiting
	d.waiting = nil
	d.mu.Unlock()
	if len(lines) == 0 {
		return
	}
	err := d.turn(len(lines))
	if err == nil {
		_, err = d.file.Write(lines)
	}
	if err != nil {
		d.file.Truncate(d.size)
		d.mu.Lock()
		d.dropped += int64(bytes.Count(lines, []byte{'\n'}))
		d.mu.Unlock()
		return
	}
	d.size += int64(len(lines))
}

// turn makes room for n bytes.
func (d *Decisions) turn(n int) error {
	if d.size == 0 || d.size+int64(n) <= maxFile {
		return nil
	}
	current := filepath.Join(d.dir, currentName)
	if err := os.Rename(current, filepath.Join(d.dir, olderName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := openFile(current)
	if err != nil {
		return err
	}
	d.file.Close()
	d.file, d.size = f.(*osFile).File, 0
	return nil
}
