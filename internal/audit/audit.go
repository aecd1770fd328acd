// Package audit keeps a record of every call, in CloudTrail's form, and the
// explanations of recent decisions.
//
// A [Log] is a directory with one file a day, cloudtrail-2026-11-22.jsonl, one
// record a line, as CloudTrail prints them: tools that read CloudTrail's logs
// read these.
//
//	log, err := audit.Open("data/audit", audit.Options{})
//	err = log.Append(ctx, &audit.Record{Time: now, EventName: "AssumeRole", ...}, true)
//
// What it promises:
//
//   - When a durable Append returns nil, the record is on the disk, whole.
//   - Any other record is there within a second, and lost only if the process
//     or the machine dies before that.
//   - When a record cannot be written or synced, Append fails, and goes on
//     failing until a write succeeds again: whoever asks before doing things
//     does nothing that is not recorded.
//   - A file that is moved or removed while it is written is followed by a new
//     one of its name; when there can be none, Append fails.
//   - A file consists of whole lines. What a crash leaves of a line that was
//     being written is removed before the next record follows.
//
// Records that arrive while others are being synced are written together and
// share the next sync. Where the file system can do it, those of many callers
// are in a journal first, and in the file of their day within 50 milliseconds:
// what is only in the journal when the process or the machine dies is filed
// when the log is opened again.
//
// [Read] returns records, newest first. [Decisions] keeps why decisions came
// out as they did, by request id.
package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options of Open. The zero value is what a server wants.
type Options struct {
	// AlwaysSync makes every Append durable.
	AlwaysSync bool
	// RetainDays is for how many days files are kept, today's included.
	// Zero keeps them for ever.
	RetainDays int
	// Waiting is called before a thread waits for the disk while callers wait for
	// it. Nil calls nothing.
	Waiting func()
	// Unjournaled is told why the records of many that wait go straight to the file of
	// their day from now on: the journal cannot be made, or it failed. Nothing is lost by
	// that; it takes longer. Nil calls nothing.
	Unjournaled func(error)
	// Aside has the kernel write and sync what several callers wait for, without a thread
	// that waits, where it can. That takes less, but longer when others want the processor
	// that the kernel does it on.
	Aside bool
}

const (
	// delay is how long a record that need not be durable waits for company.
	delay = 250 * time.Millisecond
	// company is how long after the last batch one whose callers wait for the
	// disk is left open for more of them, until there are as many as the last times.
	// The sync of the last one counts: while it lasts, others come anyway, and
	// were they all in one batch, nobody would be left to work during its sync.
	company = 1250 * time.Microsecond
	// roomy is how much may wait before it is written without delay.
	roomy = 256 << 10
	// crowded is how much may wait before those who bring more have to wait
	// for the disk themselves.
	crowded = 1 << 20
	// again is how long after a failure the writer tries by itself.
	again = time.Second
	// A journaled record is filed so much later, or when there are so many bytes of them.
	filingDelay = 50 * time.Millisecond
	filingSize  = 1 << 20
)

// A Log appends records to files. Its methods may be called from many
// goroutines.
type Log struct {
	dir    string
	opt    Options
	open   func(name string) (file, error) // openFile, but in tests
	failed atomic.Pointer[error]           // of the last write; nil: it went well

	mu       sync.Mutex
	next     *batch // what the writer will write next
	together int    // callers that waited for the last batches: the most, less an eighth for each batch since
	closed   bool

	first   chan struct{} // next has its first record
	urgent  chan struct{} // next must be written now
	full    chan struct{} // as many callers wait for next: together
	closing chan struct{}
	stopped chan struct{} // closed when the writer has returned

	// The writer's own.
	kernel  *kernel  // nil: a thread waits
	journal *journal // nil: there is none yet
	without bool     // the journal: there can be none, or it failed
	day     int64    // of the newest record so far, in days since 1970
	left    []byte   // accepted records that are not in a file: journaled, or written in vain
	used    []byte   // room of a batch that has been written, for the next one
	due     <-chan time.Time
	filing  chan error // filing's outcome; nil: nothing is being filed

	// The writer's, but while something is being filed.
	aside   *kernel // for filing
	file    file
	name    string // of file, and of the file that failed last
	fileDay int64  // of file
	size    int64  // what of file is whole and synced
	moving  []byte // what is being filed, and room for what was left since
	entry   uint64 // the last one of the journal in it
}

// A batch is lines that are written and synced together.
type batch struct {
	lines   []byte
	awaited []span        // lines whose callers wait for done
	day     int64         // of the newest record
	file    bool          // not by way of the journal
	done    chan struct{} // closed when it was written, or not
	err     error         // why not; read it after done
}

type span struct{ from, to int }

var errClosed = errors.New("audit: the log is closed")

// Open opens the log in dir, which it makes if need be, and mends the newest
// file if a crash left half a record in it.
func Open(dir string, opt Options) (*Log, error) {
	return open(dir, opt, openFile)
}

func open(dir string, opt Options, openFile func(string) (file, error)) (*Log, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	l := &Log{
		dir: dir, opt: opt, open: openFile,
		next:    &batch{done: make(chan struct{})},
		first:   make(chan struct{}, 1),
		urgent:  make(chan struct{}, 1),
		full:    make(chan struct{}, 1),
		closing: make(chan struct{}),
		stopped: make(chan struct{}),
	}
	if err := l.restore(); err != nil {
		return nil, err
	}
	days, err := days(dir)
	if err != nil {
		return nil, err
	}
	if len(days) > 0 {
		l.day = days[len(days)-1]
		if err := l.begin(l.day); err != nil {
			return nil, fmt.Errorf("audit: %w", err)
		}
	}
	if opt.Aside {
		if l.kernel, l.aside = newKernel(), newKernel(); l.aside == nil {
			l.kernel.close()
			l.kernel = nil
		}
	}
	go l.write()
	return l, nil
}

// Append adds a record. It returns when the record is accepted, and if it is
// durable, when it is synced. Where r has no EventID, Append gives it one.
//
// After an error the record may have been written all the same, if it was ctx
// that ended.
func (l *Log) Append(ctx context.Context, r *Record, durable bool) error {
	if r.EventID == "" {
		r.EventID = newEventID()
	}
	line := lines.Get().(*[]byte)
	defer lines.Put(line)
	*line = append(r.Append((*line)[:0]), '\n')

	failing := l.failed.Load() != nil
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return errClosed
	}
	b := l.next
	from := len(b.lines)
	b.lines = append(b.lines, *line...)
	b.day = max(b.day, r.Time.Unix()/86400)
	// While writes fail nothing is accepted on trust.
	wait := durable || failing || l.opt.AlwaysSync || from > crowded
	if wait {
		b.awaited = append(b.awaited, span{from, len(b.lines)})
	}
	full := wait && len(b.awaited) == l.together
	l.mu.Unlock()

	if full {
		signal(l.full)
	}
	switch {
	case wait || from > roomy:
		signal(l.urgent)
	case from == 0:
		signal(l.first)
	}
	if !wait {
		return nil
	}
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return fmt.Errorf("audit: waiting for the record to be synced: %w", ctx.Err())
	}
}

var lines = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Flush returns when everything accepted before is in a file and synced.
func (l *Log) Flush(ctx context.Context) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return errClosed
	}
	b := l.next
	b.file = true
	l.mu.Unlock()
	signal(l.urgent)
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Healthy returns nil when the last write went well, and why it did not
// otherwise: calls are being refused then.
func (l *Log) Healthy() error {
	if err := l.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Close writes what was accepted and closes the log. It returns an error when
// accepted records are lost. Closing twice is closing once.
func (l *Log) Close() error {
	l.mu.Lock()
	again := l.closed
	l.closed = true
	l.mu.Unlock()
	if !again {
		close(l.closing)
	}
	<-l.stopped
	return l.Healthy()
}

// write is the one goroutine that writes.
func (l *Log) write() {
	defer close(l.stopped)
	var late <-chan time.Time
	var taken time.Time // when the last batch was closed
	for last := false; !last; {
		select {
		case <-l.first:
			if late == nil {
				late = time.After(delay)
			}
			continue
		case <-l.urgent:
			l.gather(taken.Add(company))
		case <-late:
		case <-l.due:
			l.move()
			continue
		case err := <-l.filing:
			if err = l.moved(err); err != nil {
				l.failed.Store(&err)
				late = time.After(again)
			} else if len(l.left) > 0 {
				l.moveSoon()
			}
			continue
		case <-l.closing:
			last = true
		}
		late, taken = nil, time.Now()
		l.mu.Lock()
		b := l.next
		b.file = b.file || last
		l.together = max(len(b.awaited), l.together-(l.together+7)/8)
		l.next = &batch{lines: l.used, done: make(chan struct{})}
		l.mu.Unlock()
		b.err = l.commit(b)
		if b.err != nil {
			l.failed.Store(&b.err)
			late = time.After(again)
		} else {
			l.failed.Store(nil)
		}
		l.used = nil
		if cap(b.lines) <= 2*crowded {
			l.used = b.lines[:0]
		}
		close(b.done)
	}
	if l.file != nil {
		l.file.Close()
	}
	l.journal.close()
	l.kernel.close()
	l.aside.close()
}

// gather waits until as many callers wait as the last times, but no longer than until t: who
// came together then will again, and a batch that is left open a little longer takes in
// many times more of them.
func (l *Log) gather(t time.Time) {
	l.mu.Lock()
	missing := l.together - len(l.next.awaited)
	select {
	case <-l.full: // of an earlier batch, or known already
	default:
	}
	l.mu.Unlock()
	if l.together < 2 || missing <= 0 {
		return
	}
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-l.full:
	case <-timer.C:
	}
}

// commit writes and syncs a batch, after what is left of those before it. When
// it cannot, nothing of the batch is in the file that would be found again,
// and of its records those are left for the next attempt which were accepted
// without waiting.
func (l *Log) commit(b *batch) error {
	if len(b.lines) == 0 && !b.file && l.failed.Load() == nil || l.keep(b) {
		return nil
	}
	if l.filing != nil {
		l.moved(<-l.filing) // what failed is tried again now
	}
	if len(b.lines)+len(l.left) == 0 {
		if l.failed.Load() == nil {
			l.settle()
			return nil
		}
		return l.probe()
	}
	l.day = max(l.day, b.day)
	lines := b.lines
	if len(l.left) > 0 {
		lines = slices.Concat(l.left, lines)
	}
	err := l.put(l.day, lines, func() error { return l.sync(len(b.awaited)) })
	if err == nil {
		l.left, l.due = nil, nil
		l.settle()
		return nil
	}
	from := 0
	for _, s := range b.awaited {
		l.left = append(l.left, b.lines[from:s.from]...)
		from = s.to
	}
	l.left = append(l.left, b.lines[from:]...)
	return err
}

// settle has the journal know that nothing is left. It does away with one that failed, and
// with that of another day: it is to hold no records for longer than the files do.
func (l *Log) settle() {
	if l.journal == nil {
		return
	}
	l.journal.filed = l.journal.entry
	if err := l.journal.settle(l.kernel); err != nil {
		l.doWithout(err)
	}
	if l.without || l.journal.day != l.day {
		l.journal.close()
		l.journal = nil
	}
}

// put appends lines to the file of a day and has them on the disk.
func (l *Log) put(day int64, lines []byte, sync func() error) error {
	err := l.begin(day)
	if err == nil {
		_, err = l.file.Write(lines)
	}
	if err == nil {
		err = sync()
	}
	if err != nil {
		l.abandon()
		return fmt.Errorf("audit: a record could not be written: %w", err)
	}
	l.size += int64(len(lines))
	return nil
}

// sync has what was written on the disk, for which callers wait.
func (l *Log) sync(callers int) error {
	if l.kernel != nil && l.together > 1 { // also one alone among batches of several
		return l.file.Sync(l.kernel)
	}
	if callers > 0 {
		l.waiting()
	}
	return l.file.Sync(nil)
}

// waiting says that a thread is about to wait, and callers for it.
func (l *Log) waiting() {
	if l.opt.Waiting != nil {
		l.opt.Waiting()
	}
}

// keep has a batch in the journal, if that is where it belongs.
func (l *Log) keep(b *batch) bool {
	// Also one alone among batches of several; but what begins a file is in it at once.
	if l.together < 2 || len(b.awaited) == 0 || b.file || b.day > l.day || l.without || l.failed.Load() != nil {
		return false
	}
	if l.journal == nil {
		var err error
		if l.journal, err = newJournal(l.dir, l.day); err != nil {
			l.doWithout(err)
			return false
		}
	}
	if l.kernel == nil {
		l.waiting()
	}
	err := l.journal.add(l.day, b.lines, l.kernel)
	if err != nil {
		if !errors.Is(err, errJournalFull) {
			l.doWithout(err)
		}
		return false
	}
	l.left = append(l.left, b.lines...)
	if l.filing == nil {
		l.moveSoon()
	}
	return true
}

// doWithout has no batch in the journal any more.
func (l *Log) doWithout(why error) {
	if !l.without && l.opt.Unjournaled != nil {
		l.opt.Unjournaled(why)
	}
	l.without = true
}

// moveSoon begins to file what is left, now or in a little while.
func (l *Log) moveSoon() {
	switch {
	case len(l.left) >= filingSize:
		l.move()
	case l.due == nil:
		l.due = time.After(filingDelay)
	}
}

// move begins to file what is left.
func (l *Log) move() {
	l.due = nil
	l.left, l.moving = l.moving[:0], l.left
	l.entry = l.journal.entry
	filing := make(chan error, 1)
	go func(day int64) {
		filing <- l.put(day, l.moving, func() error { return l.file.Sync(l.aside) })
	}(l.day)
	l.filing = filing
}

// moved ends it.
func (l *Log) moved(err error) error {
	l.filing = nil
	if err != nil {
		l.left = append(l.moving, l.left...)
		l.moving = nil
		return err
	}
	l.journal.filed = l.entry
	if cap(l.moving) > 2*filingSize {
		l.moving = nil
	}
	return nil
}

// abandon closes a file that failed. What is in it after a failed sync cannot
// be known: a second sync may succeed for pages that were dropped. It is cut
// off, here if possible and otherwise by begin, and written again.
func (l *Log) abandon() {
	if l.file != nil {
		l.file.Truncate(l.size)
		l.file.Close()
		l.file = nil
	}
}

// probe tries whether records could be written again, so that Healthy, which
// may be what keeps callers away, does not have to wait for one.
func (l *Log) probe() error {
	err := l.begin(l.fileDay)
	if err == nil {
		_, err = l.file.Write(make([]byte, 4096))
	}
	if err == nil {
		err = l.file.Sync(nil)
	}
	if err == nil {
		err = l.file.Truncate(l.size)
	}
	if err == nil {
		return nil
	}
	l.abandon()
	return fmt.Errorf("audit: a record could not be written: %w", err)
}
