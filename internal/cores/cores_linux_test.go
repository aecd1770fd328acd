package cores

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

func of(cores ...int) (s Set) {
	for _, c := range cores {
		s.Set(c)
	}
	return s
}

// has returns the cores of each thread of a process.
func has(t *testing.T, pid int) map[int]Set {
	t.Helper()
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]Set{}
	for _, d := range threads {
		tid, err := strconv.Atoi(d.Name())
		if err != nil {
			t.Fatal(err)
		}
		var s Set
		if unix.SchedGetaffinity(tid, &s) == nil { // otherwise it has just ended
			found[tid] = s
		}
	}
	return found
}

// thread makes a thread that stays until the test's end, and returns its number. It is not
// the main thread, which stays in any case.
func thread(t *testing.T) int {
	t.Helper()
	tid, end := make(chan int), make(chan bool)
	t.Cleanup(func() { close(end) })
	for {
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			tid <- unix.Gettid()
			<-end
		}()
		if n := <-tid; n != os.Getpid() {
			return n
		}
	}
}

func TestHalves(t *testing.T) {
	for _, c := range []struct{ all, first, second Set }{
		{of(), of(), of()},
		{of(3), of(), of(3)},
		{of(0, 1), of(0), of(1)},
		{of(0, 2, 5), of(0), of(2, 5)},
		{of(1, 63, 64, 1023), of(1, 63), of(64, 1023)},
	} {
		first, second := halves(c.all)
		if first != c.first || second != c.second || Second(c.all) != c.second {
			t.Errorf("%v has the halves %v and %v", c.all, first, second)
		}
	}
}

func TestConfine(t *testing.T) {
	everywhere := All()
	if everywhere.Count() < 2 {
		t.Skip("there is one core here, and nowhere to confine to")
	}
	first, second := halves(everywhere)
	apart, before := thread(t), thread(t)
	if err := unix.SchedSetaffinity(apart, &second); err != nil {
		t.Fatal(err)
	}
	defer unix.SchedSetaffinity(apart, &everywhere)
	want := func(when string, want Set) {
		t.Helper()
		for tid, s := range has(t, os.Getpid()) {
			if tid == apart {
				if s != second {
					t.Errorf("%s a thread that somebody else has put on %v has %v", when, second, s)
				}
			} else if s != want {
				t.Errorf("%s thread %d has %v, not %v", when, tid, s, want)
			}
		}
		if got := All(); got != everywhere {
			t.Errorf("%s all cores are %v", when, got)
		}
	}
	want("at first", everywhere)
	for range 2 {
		release := Confine()
		if release == nil {
			t.Fatal("the process cannot be confined")
		}
		made := thread(t)
		want("confined", first)
		if all := has(t, os.Getpid()); all[made] != first || all[before] != first {
			t.Errorf("threads made meanwhile and before have %v and %v", all[made], all[before])
		}
		if Confine() != nil {
			t.Error("it is confined twice")
		}
		release()
		release()
		want("released", everywhere)
	}

	// Whoever puts the process on one core has the last word.
	release := Confine()
	taken := Second(everywhere)
	for range taken.Count() - 1 {
		taken = Second(taken)
	}
	move(os.Getpid(), taken, func(had Set) bool { return had != taken })
	defer move(os.Getpid(), everywhere, func(Set) bool { return true })
	if All() != taken {
		t.Errorf("all cores of a process on %v are %v", taken, All())
	}
	release()
	for tid, s := range has(t, os.Getpid()) {
		if s != taken {
			t.Errorf("a release put thread %d on %v", tid, s)
		}
	}
	if Confine() != nil {
		t.Error("it is confined to half a core")
	}
}

func TestPlace(t *testing.T) {
	everywhere := All()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	second := Second(everywhere)
	if err := Place(pid, second); err != nil {
		t.Error(err)
	}
	for _, s := range has(t, pid) {
		if s != second {
			t.Errorf("it has %v, not %v", s, second)
		}
	}
	if err := Place(pid, Set{}); err == nil {
		t.Error("it is placed nowhere")
	}
	cmd.Process.Kill()
	cmd.Wait()
	if err := Place(pid, everywhere); err == nil {
		t.Error("a process that is gone is placed")
	}
}

func TestTicks(t *testing.T) {
	const stat = `cpu  100 0 50 700 30 0 5 15 0 0
cpu0 60 0 20 300 10 0 5 5 0 0
cpu1 40 0 30 400 20 0 0 10 7 0
intr 12 34 5 6 7 8 9 10 11 12
ctxt 12345
cpu2 1 2
cpux 1 2 3 4 5 6 7 8 9 10
`
	for _, c := range []struct {
		of   Set
		want Load
	}{
		{of(0), Load{310, 400}},
		{of(0, 1), Load{730, 900}},
		{of(2, 3), Load{}},
		{of(), Load{}},
	} {
		if got := ticks([]byte(stat), c.of); got != c.want {
			t.Errorf("of %v there are %v", c.of, got)
		}
	}
	for _, bad := range []string{"", "cpu", "cpu0", "cpu0 1 2 3 -4 5 6 7 8", "cpu0 1 2 3 99999999999999999999 5 6 7 8"} {
		if got := ticks([]byte(bad), of(0)); got != (Load{}) {
			t.Errorf("of %q there are %v", bad, got)
		}
	}
}

func TestIdle(t *testing.T) {
	var l Load
	if _, known := l.Idle(); known {
		t.Error("it is known at once")
	}
	l = Load{idle: 1, total: 2} // as if asked long ago
	share, known := l.Idle()
	if all := All(); all.Count() < 2 {
		if known {
			t.Error("nothing is half of one core, and its load is known")
		}
		return
	}
	if !known || share <= 0 || share > 1 {
		t.Errorf("since the start they were idle for %v (%v)", share, known)
	}
	l.total += 1 << 40
	if _, known := l.Idle(); known {
		t.Error("time has gone back, and it is known")
	}
}
