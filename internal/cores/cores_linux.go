package cores

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// A Set is a set of cores.
type Set = unix.CPUSet

// What the process's threads had before they were confined, and have since.
var confined struct {
	sync.Mutex
	now        bool
	all, first Set
}

// All are the cores that the server may use, confined or not: what its main thread has.
func All() Set {
	confined.Lock()
	defer confined.Unlock()
	return all()
}

// all is called with the lock held.
func all() Set {
	var s Set
	if unix.SchedGetaffinity(os.Getpid(), &s) != nil {
		return Set{}
	}
	if confined.now && s == confined.first {
		return confined.all
	}
	return s // or somebody else has set it since
}

// halves are the first cores of a set and the others, of which there are as many or one more.
func halves(s Set) (first, second Set) {
	n, half := 0, s.Count()/2
	for core := range len(s) * strconv.IntSize {
		switch {
		case !s.IsSet(core):
			continue
		case n < half:
			first.Set(core)
		default:
			second.Set(core)
		}
		n++
	}
	return first, second
}

// Second is the second half of a set: all of it where it has one core.
func Second(s Set) Set {
	_, second := halves(s)
	return second
}

// Confine keeps the threads of this process to the first half of its cores until release is
// called, which is nil if they cannot be: there is one core, the kernel does not let us, or
// they are already. Threads that somebody else has put elsewhere, before or since, stay there.
func Confine() (release func()) {
	confined.Lock()
	defer confined.Unlock()
	if confined.now {
		return nil
	}
	everywhere := all()
	first, _ := halves(everywhere)
	if first.Count() == 0 {
		return nil
	}
	back := func() {
		move(os.Getpid(), everywhere, func(had Set) bool { return had == first })
		confined.now = false
	}
	confined.now, confined.all, confined.first = true, everywhere, first
	if move(os.Getpid(), first, func(had Set) bool { return had == everywhere }) != nil {
		back()
		return nil
	}
	return sync.OnceFunc(func() {
		confined.Lock()
		defer confined.Unlock()
		back()
	})
}

// Place has a process that has just been started, with all of its threads, run on a set of
// cores; what it starts is there too. Without it, it has what the thread had that started it.
func Place(pid int, s Set) error {
	if s.Count() == 0 {
		return errors.New("no cores")
	}
	return move(pid, s, func(had Set) bool { return had != s })
}

// move has those threads of a process run on a set of cores that run where who says. A
// thread that is made meanwhile has what the one had that made it: it looks again until all
// have been seen where they belong.
func move(pid int, to Set, who func(had Set) bool) error {
	const most = 8 // times
	dir := fmt.Sprintf("/proc/%d/task", pid)
	for range most {
		threads, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		moved := false
		for _, t := range threads {
			tid, err := strconv.Atoi(t.Name())
			if err != nil {
				return err
			}
			var had Set
			if unix.SchedGetaffinity(tid, &had) != nil || !who(had) {
				continue // it has ended, or is where it belongs
			}
			if err := unix.SchedSetaffinity(tid, &to); err != nil && err != unix.ESRCH {
				return fmt.Errorf("placing a thread: %w", err)
			}
			moved = true
		}
		if !moved {
			break
		}
	}
	return nil
}

// A Load tells how busy the cores are to which [Confine] confines, by whomever.
type Load struct{ idle, total uint64 } // in ticks of /proc/stat, since the machine began

// Idle is the share of their time, 0 to 1, for which they had nothing to do since it was
// asked last; known is false for the first time, and where the kernel does not tell.
func (l *Load) Idle() (share float64, known bool) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, false
	}
	first, _ := halves(All())
	before := *l
	*l = ticks(stat, first)
	if before.total == 0 || l.total <= before.total || l.idle < before.idle {
		return 0, false
	}
	return float64(l.idle-before.idle) / float64(l.total-before.total), true
}

// ticks adds up some cores' lines of /proc/stat: user, nice, system, idle, iowait, irq,
// softirq, steal, and two that are in the first ones too (proc_stat(5)).
func ticks(stat []byte, of Set) Load {
	var l Load
	for lines := bufio.NewScanner(bytes.NewReader(stat)); lines.Scan(); {
		fields := bytes.Fields(lines.Bytes())
		if len(fields) < 9 {
			continue
		}
		name, isCore := bytes.CutPrefix(fields[0], []byte("cpu"))
		core, err := strconv.Atoi(string(name))
		if !isCore || err != nil || !of.IsSet(core) {
			continue // the first line is all cores'
		}
		for i, f := range fields[1:9] {
			n, err := strconv.ParseUint(string(f), 10, 64)
			if err != nil {
				return Load{}
			}
			l.total += n
			if i == 3 || i == 4 {
				l.idle += n
			}
		}
	}
	return l
}
