package main

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// adviseHuge asks the kernel for huge pages for the memory around an address (madvise(2),
// MADV_HUGEPAGE). A kernel that has none says no, and nothing is lost.
func adviseHuge(address uintptr) {
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer maps.Close()
	if from, to := around(maps, address); to > from {
		syscall.Syscall(syscall.SYS_MADVISE, from, to-from, syscall.MADV_HUGEPAGE)
	}
}

// around finds the memory without a file, in mappings that follow one on the other, in
// which the address is (proc_pid_maps(5)). None is 0, 0.
func around(maps io.Reader, address uintptr) (from, to uintptr) {
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		f := strings.Fields(lines.Text()) // addresses, permissions, offset, device, inode, name
		if len(f) != 5 || !strings.HasPrefix(f[1], "rw") {
			continue
		}
		low, high, _ := strings.Cut(f[0], "-")
		a, err1 := strconv.ParseUint(low, 16, 64)
		b, err2 := strconv.ParseUint(high, 16, 64)
		if err1 != nil || err2 != nil {
			continue
		}
		if uintptr(a) != to {
			if from <= address && address < to {
				break
			}
			from = uintptr(a)
		}
		to = uintptr(b)
	}
	if from <= address && address < to {
		return from, to
	}
	return 0, 0
}
