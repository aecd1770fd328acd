package main

import (
	"bufio"
	"os"
	"strings"
	"testing"
)

// The memory around an address is that of mappings without a gap, and none with a file or
// that cannot be written.
func TestAround(t *testing.T) {
	t.Parallel()
	const maps = `00400000-00500000 r-xp 00000000 fe:00 99 /bin/iamd
00500000-00600000 rw-p 00100000 fe:00 99 /bin/iamd
00600000-00700000 rw-p 00000000 00:00 0
c000000000-c000400000 rw-p 00000000 00:00 0
c000400000-c001000000 rw-p 00000000 00:00 0 
c001000000-c004000000 ---p 00000000 00:00 0 
7f0000000000-7f0000021000 rw-p 00000000 00:00 0 
nonsense
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]
`
	for _, c := range []struct{ address, from, to uintptr }{
		{0xc000000000, 0xc000000000, 0xc001000000},
		{0xc000400010, 0xc000000000, 0xc001000000},
		{0xc000ffffff, 0xc000000000, 0xc001000000},
		{0x600000, 0x600000, 0x700000},
		{0x7f0000000000, 0x7f0000000000, 0x7f0000021000},
		{0xc001000000, 0, 0},     // not to be written
		{0x550000, 0, 0},         // of a file
		{0x7ffc00000010, 0, 0},   // the stack
		{0, 0, 0},                // nothing
		{0xffffffffffffff, 0, 0}, // after everything
	} {
		if from, to := around(strings.NewReader(maps), c.address); from != c.from || to != c.to {
			t.Errorf("around %x are %x-%x, want %x-%x", c.address, from, to, c.from, c.to)
		}
	}
}

// The kernel has been asked for huge pages for the heap: its flags say hg (proc_pid_smaps(5)).
func TestHeapIsHuge(t *testing.T) {
	if b, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled"); err != nil || strings.Contains(string(b), "[never]") {
		t.Skip("this kernel has no huge pages")
	}
	h := newHeap()
	h.ask()
	smaps, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	defer smaps.Close()
	huge := false
	for lines := bufio.NewScanner(smaps); lines.Scan(); {
		if flags, ok := strings.CutPrefix(lines.Text(), "VmFlags:"); ok && strings.Contains(flags, " hg") {
			huge = true
		}
	}
	if !huge {
		t.Error("no memory has huge pages")
	}
}
