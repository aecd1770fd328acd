package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// record returns a record of a call with that request id.
func record(at time.Time, id string) *Record {
	return &Record{Time: at, RequestID: id, EventName: "GetUser", EventSource: "iam.amazonaws.com", Category: "Management"}
}

func openLog(t testing.TB, dir string, opt Options) *Log {
	t.Helper()
	l, err := Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// ids returns the request ids in dir, the last written first.
func ids(t testing.TB, dir string, f Filter) []string {
	t.Helper()
	var all []string
	for e, err := range Read(dir, f) {
		if err != nil {
			t.Errorf("Read: %v", err)
			continue
		}
		all = append(all, e.RequestID)
	}
	return all
}

func TestDurable(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, Options{})
	for i := range 3 {
		if err := l.Append(t.Context(), record(noon, fmt.Sprint(i)), true); err != nil {
			t.Fatal(err)
		}
		if got := ids(t, dir, Filter{}); got[0] != fmt.Sprint(i) {
			t.Errorf("after the Append of %d the last record is %s", i, got[0])
		}
	}
	if got := ids(t, dir, Filter{}); !slices.Equal(got, []string{"2", "1", "0"}) {
		t.Errorf("Read gives %v, want the last first", got)
	}
}

// A file that somebody moves or removes takes no more records, and when its folder is
// gone there are no more records to take.
func TestFileTakenAway(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, Options{})
	add := func(id string) error { return l.Append(t.Context(), record(noon, id), true) }
	name := filepath.Join(dir, fileName(noon.Unix()/86400))
	for i, take := range []func() error{
		func() error { return os.Remove(name) },
		func() error { return os.Rename(name, name+".old") },
		func() error { return os.WriteFile(name+".new", []byte("{}\n"), 0o600) },
	} {
		if err := add("before"); err != nil {
			t.Fatal(err)
		}
		if err := take(); err != nil {
			t.Fatal(err)
		}
		if i == 2 { // and puts another one there
			if err := os.Rename(name+".new", name); err != nil {
				t.Fatal(err)
			}
		}
		if err := add("after"); err != nil {
			t.Errorf("%d: %v", i, err)
		}
		if got := ids(t, dir, Filter{}); len(got) == 0 || got[0] != "after" {
			t.Errorf("%d: Read gives %v", i, got)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := add("lost"); err == nil {
		t.Error("a record is accepted for a folder that is not there")
	}
	if l.Healthy() == nil {
		t.Error("the log is healthy without its folder")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := add("found"); err != nil {
		t.Error(err)
	}
	if got := ids(t, dir, Filter{}); !slices.Equal(got, []string{"found"}) {
		t.Errorf("at last Read gives %v", got)
	}
}

func TestEventID(t *testing.T) {
	l := openLog(t, t.TempDir(), Options{})
	a, b, given := record(noon, "a"), record(noon, "b"), record(noon, "c")
	given.EventID = "given"
	for _, r := range []*Record{a, b, given} {
		if err := l.Append(t.Context(), r, true); err != nil {
			t.Fatal(err)
		}
	}
	if len(a.EventID) != 36 || a.EventID[14] != '4' || a.EventID == b.EventID || given.EventID != "given" {
		t.Errorf("event ids are %q, %q and %q, want two random UUIDs and the one given", a.EventID, b.EventID, given.EventID)
	}
}

// A record that need not be durable does not wait, and is there in a second.
func TestWithinASecond(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l := openLog(t, dir, Options{})
		start := time.Now()
		if err := l.Append(t.Context(), record(noon, "a"), false); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("Append took %v", waited)
		}
		if got := ids(t, dir, Filter{}); len(got) != 0 {
			t.Errorf("%v was written at once", got)
		}
		time.Sleep(time.Second) // of the test's own clock
		if got := ids(t, dir, Filter{}); len(got) != 1 {
			t.Errorf("after a second Read gives %v, want the record", got)
		}
	})
}

func TestAlwaysSyncFlushAndClose(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, Options{AlwaysSync: true})
	l.Append(t.Context(), record(noon, "synced"), false)
	if got := ids(t, dir, Filter{}); len(got) != 1 {
		t.Errorf("with AlwaysSync Read gives %v", got)
	}
	l.Close()
	l = openLog(t, dir, Options{})
	l.Append(t.Context(), record(noon, "flushed"), false)
	if err := l.Flush(t.Context()); err != nil {
		t.Errorf("Flush: %v", err)
	}
	if got := ids(t, dir, Filter{}); len(got) != 2 {
		t.Errorf("after Flush Read gives %v", got)
	}
	l.Append(t.Context(), record(noon, "closed"), false)
	if err := l.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if got := ids(t, dir, Filter{}); len(got) != 3 {
		t.Errorf("after Close Read gives %v", got)
	}
	if err := l.Append(t.Context(), record(noon, "late"), false); err == nil {
		t.Error("Append after Close succeeded")
	}
	if err := l.Flush(t.Context()); err == nil {
		t.Error("Flush after Close succeeded")
	}
	if err := l.Close(); err != nil {
		t.Errorf("the second Close: %v", err)
	}
}

func TestRotationAndRetention(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "cloudtrail-notes.jsonl"), nil, 0o600) // not ours
	l := openLog(t, dir, Options{RetainDays: 3})
	midnight := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	for i, at := range []time.Time{
		midnight.Add(-time.Second), midnight, midnight.Add(-time.Nanosecond), // the last came late
		midnight.AddDate(0, 0, 1), midnight.AddDate(0, 0, 2),
	} {
		if err := l.Append(t.Context(), record(at, fmt.Sprint(i)), true); err != nil {
			t.Fatal(err)
		}
	}
	names, _ := filepath.Glob(filepath.Join(dir, "*"))
	for i := range names {
		names[i] = filepath.Base(names[i])
	}
	want := []string{"cloudtrail-2026-11-23.jsonl", "cloudtrail-2026-11-24.jsonl", "cloudtrail-2026-11-25.jsonl", "cloudtrail-notes.jsonl"}
	if !slices.Equal(names, want) {
		t.Errorf("the directory has %v, want %v", names, want)
	}
	if got := ids(t, dir, Filter{}); !slices.Equal(got, []string{"4", "3", "2", "1"}) {
		t.Errorf("Read gives %v, want 4 3 2 1", got)
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, Options{})
	for i := range 2000 { // several chunks
		r := record(noon.Add(time.Duration(i)*time.Minute), fmt.Sprintf("id-%04d", i))
		r.UserAgent = strings.Repeat("x", i%1000)
		if i%2 == 1 {
			r.EventName, r.ErrorCode = "DeleteUser", "AccessDenied"
		}
		if i%100 == 0 {
			r.RequestParameters = json.RawMessage(`"` + strings.Repeat("y", 90<<10) + `"`)
		}
		l.Append(t.Context(), r, false)
	}
	l.Close()
	all := ids(t, dir, Filter{})
	if len(all) != 2000 || !slices.IsSortedFunc(all, func(a, b string) int { return strings.Compare(b, a) }) {
		t.Errorf("Read gives %d records, sorted: %t", len(all), slices.IsSorted(all))
	}
	for _, test := range []struct {
		f    Filter
		want int
	}{
		{Filter{RequestID: "id-0007"}, 1},
		{Filter{RequestID: "id-000"}, 0}, // no prefixes
		{Filter{EventName: "DeleteUser"}, 1000},
		{Filter{EventName: "DeleteUser", ErrorCode: "AccessDenied", EventSource: "iam.amazonaws.com"}, 1000},
		{Filter{EventName: "GetUser", ErrorCode: "AccessDenied"}, 0},
		{Filter{EventSource: "sts.amazonaws.com"}, 0},
		{Filter{AccessKeyID: "AKIA"}, 0},
		{Filter{Since: noon.Add(1990 * time.Minute)}, 10},
		{Filter{Until: noon.Add(10 * time.Minute)}, 10},
		{Filter{Since: noon.Add(10 * time.Minute), Until: noon.Add(20 * time.Minute)}, 10},
	} {
		if got := ids(t, dir, test.f); len(got) != test.want {
			t.Errorf("%+v: %d records, want %d", test.f, len(got), test.want)
		}
	}
	for e, err := range Read(dir, Filter{RequestID: "id-0003"}) {
		if err != nil || e.Time != noon.Add(3*time.Minute) || e.EventName != "DeleteUser" || !json.Valid(e.Raw) {
			t.Errorf("Read gives %+v, %v", e, err)
		}
		break // leaving early is allowed
	}
	for range Read(filepath.Join(dir, "nothing"), Filter{}) {
		return // an error
	}
	t.Error("Read of a directory that is not there gives nothing, want an error")
}

// What a crash left of a line goes away; whole lines stay, whatever they are,
// and one that is no record is an error in its place.
func TestHealing(t *testing.T) {
	for _, test := range []struct {
		name, torn string
	}{
		{"half a record", `{"eventVersion":"1.11","userIden`},
		{"zeros", strings.Repeat("\x00", 5000)},
		{"more than is read at once", strings.Repeat("x", 200<<10)},
		{"nothing", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			l := openLog(t, dir, Options{})
			l.Append(t.Context(), record(noon, "a"), true)
			l.Close()
			name := filepath.Join(dir, fileName(noon.Unix()/86400))
			f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Fatal(err)
			}
			f.WriteString("not JSON\n" + test.torn)
			f.Close()
			l = openLog(t, dir, Options{})
			l.Append(t.Context(), record(noon, "b"), true)
			var got []string
			for e, err := range Read(dir, Filter{}) {
				if err != nil {
					got = append(got, "error")
					if !strings.Contains(err.Error(), name) {
						t.Errorf("%q does not name the file", err)
					}
					continue
				}
				got = append(got, e.RequestID)
			}
			if !slices.Equal(got, []string{"b", "error", "a"}) {
				t.Errorf("Read gives %v, want b, an error, a", got)
			}
		})
	}
	dir := t.TempDir() // a file in which no line was finished
	os.WriteFile(filepath.Join(dir, fileName(noon.Unix()/86400)), []byte("{"), 0o600)
	l := openLog(t, dir, Options{})
	l.Append(t.Context(), record(noon, "a"), true)
	if got := ids(t, dir, Filter{}); !slices.Equal(got, []string{"a"}) {
		t.Errorf("Read gives %v, want a", got)
	}
}

// A disk is a file whose writes and syncs can be made to fail or to wait.
type disk struct {
	file
	d *disks
}

type disks struct {
	mu                    sync.Mutex
	write, sync, truncate error
	partly                bool // a failing write writes half
	forget                bool // what is written does not reach the disk, as when the power fails
	syncs                 int
	hold                  chan struct{} // a sync waits for it; nil: not
}

var errFull = errors.New("no space left on device")

func (d *disks) open(name string) (file, error) {
	f, err := openFile(name)
	if err != nil {
		return nil, err
	}
	return disk{f, d}, nil
}

func (d *disks) set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

func (f disk) Write(p []byte) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	switch {
	case f.d.forget:
		return len(p), nil
	case f.d.write == nil:
		return f.file.Write(p)
	}
	n := 0
	if f.d.partly {
		n, _ = f.file.Write(p[:len(p)/2])
	}
	return n, f.d.write
}

func (f disk) Sync(by *kernel) error {
	f.d.mu.Lock()
	f.d.syncs++
	hold, err := f.d.hold, f.d.sync
	f.d.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if err != nil {
		return err
	}
	return f.file.Sync(by)
}

func (f disk) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.truncate != nil {
		return f.d.truncate
	}
	return f.file.Truncate(size)
}

func onDisks(t *testing.T, dir string, d *disks) *Log { return withOptions(t, dir, d, Options{}) }

func withOptions(t *testing.T, dir string, d *disks, opt Options) *Log {
	t.Helper()
	l, err := open(dir, opt, d.open)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// No record, no call: while the disk fails Append does, for every record, and
// the records of the refused calls do not turn up later.
func TestFailingDisk(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault func(*disks)
	}{
		{"write", func(d *disks) { d.write = errFull }},
		{"half a write", func(d *disks) { d.write, d.partly = errFull, true }},
		{"sync", func(d *disks) { d.sync = errFull }},
		{"half a write that cannot be cut off", func(d *disks) { d.write, d.partly, d.truncate = errFull, true, errFull }},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, d := t.TempDir(), new(disks)
			l := onDisks(t, dir, d)
			if err := l.Append(t.Context(), record(noon, "before"), true); err != nil {
				t.Fatal(err)
			}
			if err := l.Healthy(); err != nil {
				t.Errorf("Healthy = %v", err)
			}
			d.set(func() { test.fault(d) })
			if err := l.Append(t.Context(), record(noon, "accepted"), false); err != nil {
				t.Errorf("an Append before the fault was seen: %v", err)
			}
			for i, durable := range []bool{true, false, true} {
				if err := l.Append(t.Context(), record(noon, fmt.Sprint("refused ", i)), durable); !errors.Is(err, errFull) {
					t.Errorf("Append %d, durable %t = %v, want %v", i, durable, err, errFull)
				}
			}
			if err := l.Healthy(); !errors.Is(err, errFull) {
				t.Errorf("Healthy = %v, want %v", err, errFull)
			}
			d.set(func() { d.write, d.sync, d.truncate = nil, nil, nil })
			if err := l.Append(t.Context(), record(noon, "after"), false); err != nil {
				t.Errorf("Append when the disk is well again: %v", err)
			}
			if err := l.Healthy(); err != nil {
				t.Errorf("Healthy = %v", err)
			}
			if got, want := ids(t, dir, Filter{}), []string{"after", "accepted", "before"}; !slices.Equal(got, want) {
				t.Errorf("Read gives %v, want %v", got, want)
			}
		})
	}
}

// A log that failed finds out by itself that it can go on.
func TestFailureMends(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := &disks{write: errFull}
		l := onDisks(t, dir, d)
		if err := l.Append(t.Context(), record(noon, "refused"), true); err == nil {
			t.Error("Append succeeded")
		}
		time.Sleep(3 * time.Second)
		if err := l.Healthy(); !errors.Is(err, errFull) {
			t.Errorf("Healthy on a full disk = %v", err)
		}
		d.set(func() { d.write = nil })
		time.Sleep(3 * time.Second)
		if err := l.Healthy(); err != nil {
			t.Errorf("Healthy when there is room = %v", err)
		}
		if err := l.Append(t.Context(), record(noon, "accepted"), true); err != nil {
			t.Errorf("Append: %v", err)
		}
	})
	if got := ids(t, dir, Filter{}); !slices.Equal(got, []string{"accepted"}) {
		t.Errorf("Read gives %v, want the one that was accepted", got)
	}
}

func TestCloseTellsOfLostRecords(t *testing.T) {
	d := new(disks)
	l := onDisks(t, t.TempDir(), d)
	d.set(func() { d.write = errFull })
	l.Append(t.Context(), record(noon, "lost"), false)
	if err := l.Close(); !errors.Is(err, errFull) {
		t.Errorf("Close = %v, want %v", err, errFull)
	}
}

func TestDirectoryThatCannotBeMade(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	os.WriteFile(name, nil, 0o600)
	if _, err := Open(name, Options{}); err == nil {
		t.Error("Open of a file succeeded")
	}
	if _, err := OpenDecisions(name); err == nil {
		t.Error("OpenDecisions of a file succeeded")
	}
}

// Those who wait while a sync runs share the next one.
func TestGroupSync(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := &disks{hold: make(chan struct{})}
		l := onDisks(t, dir, d)
		var wg sync.WaitGroup
		for i := range 500 {
			wg.Go(func() {
				if err := l.Append(t.Context(), record(noon, fmt.Sprint(i)), true); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait() // one syncs, the others wait
		close(d.hold)
		wg.Wait()
		if d.syncs > 3 {
			t.Errorf("%d syncs for 500 records at once, want few", d.syncs)
		}
	})
	if got := ids(t, dir, Filter{}); len(got) != 500 {
		t.Errorf("%d records, want 500", len(got))
	}
}

func TestAppendEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disks{hold: make(chan struct{})}
		l := onDisks(t, t.TempDir(), d)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Append(ctx, record(noon, "a"), true) }()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Append = %v, want context.Canceled", err)
		}
		close(d.hold)
	})
}

// childDir is the environment variable that makes the test binary write
// records to that directory until it is killed.
const childDir = "IAMD_AUDIT_CRASH_TEST_DIR"

// childAside is the one that has the kernel sync them.
const childAside = "IAMD_AUDIT_CRASH_TEST_ASIDE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		l, err := Open(dir, Options{Aside: os.Getenv(childAside) != ""})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		var out sync.Mutex
		for w := range 16 {
			go func() {
				for i := 0; ; i++ {
					id := fmt.Sprintf("%d-%d-%d", os.Getpid(), w, i)
					r := sample()
					r.RequestID, r.UserAgent = id, strings.Repeat("x", i%997)
					if err := l.Append(context.Background(), r, i%2 == 0); err != nil {
						fmt.Println("error:", err)
						return
					}
					if i%2 == 0 {
						out.Lock()
						fmt.Println(id)
						out.Unlock()
					}
				}
			}()
		}
		select {}
	}
	runtime.GOMAXPROCS(max(4, runtime.GOMAXPROCS(0))) // as a server has while threads wait for the disk
	os.Exit(m.Run())
}

// A process killed while it appends loses no record that was durable, and every
// line is whole after the next start.
func TestKill(t *testing.T) {
	rounds := 10
	if testing.Short() {
		rounds = 3
	}
	dir := t.TempDir()
	acknowledged := map[string]bool{}
	for round := range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		if round%2 == 1 {
			cmd.Env = append(cmd.Env, childAside+"=1")
		}
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		most := 1 + rand.IntN(500)
		lines := bufio.NewScanner(out)
		for n := 1; lines.Scan(); n++ {
			if strings.HasPrefix(lines.Text(), "error") {
				t.Error(lines.Text())
			}
			acknowledged[lines.Text()] = true
			if n == most {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
	}
	openLog(t, dir, Options{}).Close() // mends
	if _, err := os.Stat(filepath.Join(dir, journalName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the journal is there after all has been filed: %v", err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
			if !json.Valid([]byte(line)) {
				t.Errorf("%s:%d is not whole: %q", name, i+1, line)
			}
		}
	}
	found := ids(t, dir, Filter{})
	if n := len(found) - len(slices.Compact(slices.Sorted(slices.Values(found)))); n > 0 {
		t.Errorf("%d records are there twice", n)
	}
	for _, id := range found {
		delete(acknowledged, id)
	}
	if len(acknowledged) > 0 {
		t.Errorf("%d records are lost: %v", len(acknowledged), acknowledged)
	}
	t.Logf("%d records after %d kills", len(found), rounds)
}

// nothing is a file that takes everything at once, so that what is measured is
// ours.
type nothing struct{}

func (nothing) Write(p []byte) (int, error)            { return len(p), nil }
func (nothing) ReadAt(p []byte, at int64) (int, error) { return 0, nil }
func (nothing) Size() (int64, error)                   { return 0, nil }
func (nothing) Named() (bool, error)                   { return true, nil }
func (nothing) Truncate(int64) error                   { return nil }
func (nothing) Sync(*kernel) error                     { return nil }
func (nothing) Close() error                           { return nil }

func BenchmarkAppendNoDisk(b *testing.B) {
	l, err := open(b.TempDir(), Options{}, func(string) (file, error) { return nothing{}, nil })
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	r := sample()
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Append(context.Background(), r, false); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, durable := range []bool{false, true} {
		b.Run("durable="+strconv.FormatBool(durable), func(b *testing.B) {
			l := openLog(b, b.TempDir(), Options{})
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				r := sample()
				for pb.Next() {
					if err := l.Append(context.Background(), r, durable); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// Who is to know when threads wait for the disk hears of it only when callers wait, too.
func TestWaiting(t *testing.T) {
	var waits atomic.Int32
	l := openLog(t, t.TempDir(), Options{Waiting: func() { waits.Add(1) }})
	if err := l.Append(t.Context(), record(noon, "a"), false); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := waits.Load(); got != 0 {
		t.Errorf("told %d times of a record for which nobody waited", got)
	}
	if err := l.Append(t.Context(), record(noon, "b"), true); err != nil {
		t.Fatal(err)
	}
	if got := waits.Load(); got != 1 {
		t.Errorf("told %d times of a record for which its caller waited", got)
	}
}

// Where the kernel syncs aside, no thread is waited for but that of one caller by itself.
func TestAside(t *testing.T) {
	var waits atomic.Int32
	dir := t.TempDir()
	l := openLog(t, dir, Options{Aside: true, Waiting: func() { waits.Add(1) }})
	if l.kernel == nil {
		t.Skip("this kernel does not sync by itself")
	}
	for i := range 3 {
		if err := l.Append(t.Context(), record(noon, fmt.Sprint("alone-", i)), true); err != nil {
			t.Fatal(err)
		}
	}
	if got := waits.Load(); got != 3 {
		t.Errorf("a thread waited %d times for a caller by itself, want 3", got)
	}
	var wg sync.WaitGroup
	for w := range 32 {
		wg.Go(func() {
			for i := range 50 {
				if err := l.Append(t.Context(), record(noon, fmt.Sprintf("%d-%d", w, i)), true); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := waits.Load(); got > 20 {
		t.Errorf("a thread waited %d times for 32 callers", got-3)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := len(ids(t, dir, Filter{})); got != 3+32*50 {
		t.Errorf("%d records, want %d", got, 3+32*50)
	}
}
