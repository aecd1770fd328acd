package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// eachWay tests a log with a thread that waits for the disk, and with the kernel alone.
func eachWay(t *testing.T, test func(*testing.T, Options)) {
	for _, aside := range []bool{false, true} {
		t.Run(fmt.Sprint("aside=", aside), func(t *testing.T) { test(t, Options{Aside: aside}) })
	}
}

// journaling opens a log that has a journal, with one record in its file.
func journaling(t *testing.T, dir string, d *disks, opt Options) *Log {
	t.Helper()
	l := withOptions(t, dir, d, opt)
	if opt.Aside && l.kernel == nil {
		t.Skip("this kernel does not write by itself")
	}
	if err := l.Append(t.Context(), record(noon, "first"), true); err != nil {
		t.Fatal(err)
	}
	appendMany(t, l, "begin", 8)
	j, err := newJournal(t.TempDir(), 0)
	if err != nil {
		t.Skipf("this file system has no journal: %v", err)
	}
	j.close()
	return l
}

// An appender appends records from many goroutines.
type appender struct {
	mu   sync.Mutex
	ids  []string // of those that the log has acknowledged
	done chan struct{}
}

func appendingMany(t *testing.T, l *Log, prefix string, each int) *appender {
	a := &appender{done: make(chan struct{})}
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range each {
				id := fmt.Sprintf("%s-%d-%d", prefix, w, i)
				r := sample()
				r.Time, r.RequestID, r.UserAgent = noon, id, strings.Repeat("x", 31*i%997)
				if err := l.Append(t.Context(), r, true); err != nil {
					continue
				}
				a.mu.Lock()
				a.ids = append(a.ids, id)
				a.mu.Unlock()
			}
		})
	}
	go func() {
		wg.Wait()
		close(a.done)
	}()
	return a
}

func (a *appender) acknowledged() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.ids)
}

// stalled returns what has been acknowledged when there is no more for a while.
func (a *appender) stalled() []string {
	for n := -1; ; {
		select {
		case <-a.done:
			return a.acknowledged()
		case <-time.After(time.Second):
		}
		if ids := a.acknowledged(); len(ids) > n {
			n = len(ids)
		} else {
			return ids
		}
	}
}

// appendMany waits for it.
func appendMany(t *testing.T, l *Log, prefix string, each int) []string {
	a := appendingMany(t, l, prefix, each)
	<-a.done
	return a.acknowledged()
}

// copied is what a crash leaves of a directory.
func copied(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// once checks that these ids are in dir, each once, and returns all that are.
func once(t *testing.T, dir string, want []string) map[string]int {
	t.Helper()
	found := map[string]int{}
	for _, id := range ids(t, dir, Filter{}) {
		if found[id]++; found[id] == 2 {
			t.Errorf("%s is there twice", id)
		}
	}
	lost := slices.DeleteFunc(slices.Clone(want), func(id string) bool { return found[id] > 0 })
	if len(lost) > 0 {
		t.Errorf("%d of %d records are lost: %v", len(lost), len(want), lost[:min(9, len(lost))])
	}
	return found
}

// The power fails before anything of the day's file has reached the disk: what was
// acknowledged is in the journal, and in the file after the next start.
func TestJournalPowerFailure(t *testing.T) {
	eachWay(t, func(t *testing.T, opt Options) {
		dir, d := t.TempDir(), new(disks)
		l := journaling(t, dir, d, opt)
		if err := l.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		hold := make(chan struct{})
		d.set(func() { d.forget, d.hold = true, hold })
		defer close(hold)
		want := appendingMany(t, l, "kept", 60).stalled()
		if len(want) == 0 {
			t.Error("none is acknowledged without the file")
		}
		crash := copied(t, dir)
		if n := len(ids(t, crash, Filter{})); n > 1+16*8 {
			t.Fatalf("%d records are in the file: those of now have not been forgotten", n)
		}
		l = openLog(t, crash, Options{})
		once(t, crash, want)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		openLog(t, crash, Options{})
		once(t, crash, want)
	})
}

// A crash while the day's file is being synced: what is in it already is not added again.
func TestJournalAndFile(t *testing.T) {
	eachWay(t, func(t *testing.T, opt Options) {
		dir, d := t.TempDir(), new(disks)
		l := journaling(t, dir, d, opt)
		hold := make(chan struct{})
		d.set(func() { d.hold = hold })
		all := appendingMany(t, l, "both", 30)
		want := all.stalled()
		for end := time.Now().Add(5 * time.Second); len(ids(t, dir, Filter{})) <= 1+16*8; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("nothing is in the file")
			}
		}
		crash := copied(t, dir)
		openLog(t, crash, Options{})
		once(t, crash, want)
		close(hold)
		<-all.done
	})
}

// What has been filed is not filed again after a crash, though its file has been moved away
// meanwhile, or so much has been added that it is far from its end.
func TestJournalSettled(t *testing.T) {
	eachWay(t, func(t *testing.T, opt Options) {
		dir := t.TempDir()
		l := journaling(t, dir, new(disks), opt)
		appendMany(t, l, "old", 4)
		if err := l.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			crash := copied(t, dir)
			if err := os.Remove(filepath.Join(crash, fileName(noon.Unix()/86400))); err != nil {
				t.Fatal(err)
			}
			openLog(t, crash, Options{})
			if got := ids(t, crash, Filter{}); len(got) > 0 {
				t.Errorf("%d records are filed again", len(got))
			}
			if err := l.Flush(t.Context()); err != nil { // there is nothing more to settle
				t.Fatal(err)
			}
		}
		want := appendMany(t, l, "new", 4)
		crash := copied(t, dir)
		openLog(t, crash, Options{})
		once(t, crash, want)
	})
}

// When what is in the journal cannot be filed any more, there is an end to what it takes,
// and who brings more waits.
func TestJournalFull(t *testing.T) {
	eachWay(t, func(t *testing.T, opt Options) {
		dir, d := t.TempDir(), new(disks)
		l := journaling(t, dir, d, opt)
		hold := make(chan struct{})
		d.set(func() { d.hold = hold })
		all := appendingMany(t, l, "full", 1000)
		kept := all.stalled()
		if n := len(kept); n == 0 || n == 16000 {
			t.Errorf("a journal of 8 MiB has taken %d records", n)
		}
		crash := copied(t, dir)
		openLog(t, crash, Options{})
		once(t, crash, kept)
		d.set(func() { d.hold = nil })
		close(hold)
		<-all.done
		want := all.acknowledged()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		once(t, dir, want)
		if len(want) != 16000 {
			t.Errorf("%d of 16,000 are acknowledged", len(want))
		}
	})
}

// While the day's file cannot be written calls fail, though the journal could be.
func TestJournalWithoutFile(t *testing.T) {
	eachWay(t, func(t *testing.T, opt Options) {
		for name, fault := range map[string]func(*disks){
			"write": func(d *disks) { d.write, d.partly = errFull, true },
			"sync":  func(d *disks) { d.sync = errFull },
		} {
			t.Run(name, func(t *testing.T) {
				dir, d := t.TempDir(), new(disks)
				l := journaling(t, dir, d, opt)
				want := appendMany(t, l, "before", 4)
				d.set(func() { fault(d) })
				for end := time.Now().Add(5 * time.Second); l.Healthy() == nil && time.Now().Before(end); {
					want = append(want, appendMany(t, l, fmt.Sprint("trusted-", len(want)), 4)...)
				}
				if err := l.Healthy(); !errors.Is(err, errFull) {
					t.Fatalf("Healthy = %v, want %v", err, errFull)
				}
				if got := appendMany(t, l, "refused", 4); len(got) > 0 {
					t.Errorf("%d records are acknowledged", len(got))
				}
				d.set(func() { d.write, d.sync = nil, nil })
				want = append(want, appendMany(t, l, "after", 4)...)
				if err := l.Close(); err != nil {
					t.Error(err)
				}
				for id := range once(t, dir, want) {
					if strings.HasPrefix(id, "refused") {
						t.Errorf("%s was refused and is there", id)
					}
				}
			})
		}
	})
}

// What cannot be filed at the end is filed at the next start.
func TestJournalOutlivesClose(t *testing.T) {
	eachWay(t, func(t *testing.T, opt Options) {
		dir, d := t.TempDir(), new(disks)
		l := journaling(t, dir, d, opt)
		if err := l.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.set(func() { d.write = errFull })
		want := appendMany(t, l, "late", 1)
		if err := l.Close(); !errors.Is(err, errFull) {
			t.Errorf("Close = %v, want %v", err, errFull)
		}
		openLog(t, dir, Options{})
		once(t, dir, want)
	})
}

// A journal that is taken away, or cannot be made, is done without.
func TestJournalTakenAway(t *testing.T) {
	eachWay(t, func(t *testing.T, opt Options) {
		for name, take := range map[string]func(string) error{
			"removed": os.Remove,
			"another": func(name string) error { return errors.Join(os.Remove(name), os.WriteFile(name, []byte("{}"), 0o600)) },
		} {
			t.Run(name, func(t *testing.T) {
				dir := t.TempDir()
				var told atomic.Int32
				opt.Unjournaled = func(error) { told.Add(1) }
				l := journaling(t, dir, new(disks), opt)
				want := appendMany(t, l, "with", 4)
				if told.Load() > 0 {
					t.Error("the journal is said to be gone before it is")
				}
				if err := take(filepath.Join(dir, journalName)); err != nil {
					t.Fatal(err)
				}
				want = append(want, appendMany(t, l, "without", 4)...)
				if len(want) != 2*16*4 {
					t.Errorf("%d of %d are acknowledged", len(want), 2*16*4)
				}
				crash := copied(t, dir)
				openLog(t, crash, Options{})
				once(t, crash, want[16*4:])
				l.Close()
				once(t, dir, want)
				if n := told.Load(); n != 1 {
					t.Errorf("it is told %d times that there is no journal", n)
				}
			})
		}
		dir := t.TempDir()
		var why atomic.Pointer[error]
		opt.Unjournaled = func(err error) { why.Store(&err) }
		l := openLog(t, dir, opt)
		if err := os.Mkdir(filepath.Join(dir, journalName), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := l.Append(t.Context(), record(noon, "first"), true); err != nil {
			t.Fatal(err)
		}
		want := appendMany(t, l, "without", 4)
		if len(want) != 16*4 {
			t.Errorf("%d of %d are acknowledged where no journal can be made", len(want), 16*4)
		}
		if why.Load() == nil {
			t.Error("nobody is told that no journal can be made")
		}
		once(t, dir, want)
	})
}

// A journal is there while it is needed.
func TestJournalRemoved(t *testing.T) {
	eachWay(t, func(t *testing.T, opt Options) {
		dir := t.TempDir()
		l := journaling(t, dir, new(disks), opt)
		name := filepath.Join(dir, journalName)
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() != halves*halfSize || info.Mode() != 0o600 {
			t.Errorf("the journal has %d bytes and mode %v", info.Size(), info.Mode())
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after Close the journal is there: %v", err)
		}
	})
}

// A journal that failed is done away with when all is in a file, or what it has would be filed
// again after a crash.
func TestJournalThatFailed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, err := newJournal(dir, 1)
	if err != nil {
		t.Skipf("this file system has no journal: %v", err)
	}
	if err := j.add(1, []byte("{}\n"), nil); err != nil {
		t.Fatal(err)
	}
	l := &Log{day: 1, journal: j, without: true}
	l.settle()
	if l.journal != nil || !l.without {
		t.Error("the journal is used again")
	}
	if entries, err := readJournal(filepath.Join(dir, journalName)); len(entries) > 0 || err != nil {
		t.Errorf("%d entries would be filed again, %v", len(entries), err)
	}
}

// A journal is done away with when another day begins, so that it holds no records for longer
// than they are to be kept.
func TestJournalOfADay(t *testing.T) {
	eachWay(t, func(t *testing.T, opt Options) {
		dir := t.TempDir()
		opt.RetainDays = 1
		l := journaling(t, dir, new(disks), opt)
		name := filepath.Join(dir, journalName)
		for day := 1; day < 3; day++ {
			if _, err := os.Stat(name); err != nil {
				t.Errorf("before day %d: %v", day, err)
			}
			r := record(noon.AddDate(0, 0, day), fmt.Sprint("day-", day))
			if err := l.Append(t.Context(), r, true); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("when day %d has begun the journal is there: %v", day, err)
			}
			want := appendMany(t, l, fmt.Sprint("more-", day), 8)
			if len(want) != 16*8 {
				t.Errorf("%d of %d are acknowledged", len(want), 16*8)
			}
			if err := l.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			once(t, dir, append(want, r.RequestID))
		}
	})
}

// What of a journal is read: entries that are whole, and not known to be filed, in order.
func TestReadJournal(t *testing.T) {
	t.Parallel()
	pad := func(p []byte) []byte { return append(p, make([]byte, -len(p)&(block-1))...) }
	entry := func(n, filed uint64, lines string) []byte {
		return pad(appendEntry(nil, n, filed, 20000, []byte(lines)))
	}
	long := strings.Repeat("y", 3*block) + "\n"
	torn := entry(9, 0, long)
	torn[2*block] ^= 1
	cut := entry(9, 0, long)[:2*block]
	within := "a" + strings.Repeat(" ", block-entryHeader-1) + string(entry(9, 8, "b\n")) // as no line can be
	for _, test := range []struct {
		name string
		text []byte
		want string
	}{
		{"nothing", nil, ""},
		{"zeros", make([]byte, 10*block), ""},
		{"one", entry(1, 0, "a\n"), "1:a\n"},
		{"the oldest is first", slices.Concat(entry(3, 0, "c\n"), entry(1, 0, "a\n"), entry(2, 0, "b\n")), "1:a\n2:b\n3:c\n"},
		{"filed", slices.Concat(entry(1, 0, "a\n"), entry(2, 0, "b\n"), entry(3, 1, "c\n")), "2:b\n3:c\n"},
		{"all filed", slices.Concat(entry(1, 0, "a\n"), entry(2, 2, "b\n")), ""},
		{"behind zeros", slices.Concat(make([]byte, 2*block), entry(1, 0, "a\n")), "1:a\n"},
		{"a torn one", slices.Concat(entry(1, 0, "a\n"), torn, entry(2, 0, "b\n")), "1:a\n2:b\n"},
		{"one cut off", slices.Concat(entry(1, 0, "a\n"), cut), "1:a\n"},
		{"one that seems longer than the file", append([]byte(entryMark), bytes.Repeat([]byte{0xff}, 100)...), ""},
		{"what is within another is its text", entry(1, 0, within), "1:" + within},
		{"over an older one", slices.Concat(entry(2, 0, "b\n"), entry(1, 0, long)[block:]), "2:b\n"},
	} {
		name := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(name, test.text, 0o600); err != nil {
			t.Fatal(err)
		}
		entries, err := readJournal(name)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		var got strings.Builder
		for _, e := range entries {
			fmt.Fprintf(&got, "%d:%s", e.entry, e.lines)
		}
		if got.String() != test.want {
			t.Errorf("%s: %q, want %q", test.name, got.String(), test.want)
		}
	}
}

// A journal of which nothing can be read stops the start, rather than be overwritten.
func TestJournalUnreadable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, journalName), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, journalName)) {
		t.Errorf("Open = %v, want an error that names the journal", err)
	}
}

// Records of several days are filed each under its own.
func TestJournalOfTwoDays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var text []byte
	for i, at := range []time.Time{noon, noon.AddDate(0, 0, 1)} {
		line := append(record(at, fmt.Sprint(i)).Append(nil), '\n')
		text = appendEntry(text, uint64(i+1), 0, at.Unix()/86400, line)
		text = append(text, make([]byte, -len(text)&(block-1))...)
	}
	if err := os.WriteFile(filepath.Join(dir, journalName), text, 0o600); err != nil {
		t.Fatal(err)
	}
	l := openLog(t, dir, Options{})
	for i, at := range []time.Time{noon, noon.AddDate(0, 0, 1)} {
		line, err := os.ReadFile(filepath.Join(dir, fileName(at.Unix()/86400)))
		if err != nil || !bytes.Contains(line, fmt.Appendf(nil, `"requestID":"%d"`, i)) {
			t.Errorf("the file of %s has %q, %v", at.Format(time.DateOnly), line, err)
		}
	}
	if err := l.Append(t.Context(), record(noon, "2"), true); err != nil {
		t.Fatal(err)
	}
	if got := ids(t, dir, Filter{}); !slices.Equal(got, []string{"2", "1", "0"}) {
		t.Errorf("Read gives %v", got)
	}
}

func FuzzReadJournal(f *testing.F) {
	f.Add(appendEntry(nil, 1, 0, 20000, []byte("{}\n")))
	f.Add([]byte(entryMark))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, size := parseEntry(text)
		if size > len(text) || size > 0 && size != entryHeader+len(e.lines) {
			t.Errorf("an entry of %d bytes with %d of lines, in %d", size, len(e.lines), len(text))
		}
		if size > 0 && !bytes.Equal(appendEntry(nil, e.entry, e.filed, e.day, e.lines), text[:size]) {
			t.Error("what was read is not what is written")
		}
	})
}

// What is large is written past the page cache, and is in the file as it was given, between
// what is not.
func TestLargeWrites(t *testing.T) {
	t.Parallel()
	f, err := openFile(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var want []byte
	for i, size := range []int{large, 100, large + 1, 5000, large - 1, 3 * large, 2*roomSize + 77, 1, roomSize, page, large} {
		p := bytes.Repeat(fmt.Appendf(nil, "%d-%d\n", i, size), size)[:size]
		n, err := f.Write(p)
		if err != nil || n != size {
			t.Fatalf("writing %d bytes at %d: %d, %v", size, len(want), n, err)
		}
		want = append(want, p...)
	}
	got, err := os.ReadFile(f.(*osFile).Name())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes are not the %d that were written", len(got), len(want))
	}
	if err := f.Truncate(10); err != nil { // as somebody who empties it
		t.Fatal(err)
	}
	if _, err := f.Write(want[:large]); err != nil {
		t.Fatal(err)
	}
	got, err = os.ReadFile(f.(*osFile).Name())
	if err != nil || !bytes.Equal(got, append(slices.Clone(want[:10]), want[:large]...)) {
		t.Errorf("after it was cut off it has %d bytes, %v", len(got), err)
	}
	f.Close()
	if _, err := f.Write(want[:large]); err == nil {
		t.Error("a closed file was written")
	}
}
