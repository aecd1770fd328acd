package audit

import (
	"os"
	"path/filepath"
	"testing"
	"unsafe"
)

// The layouts are the kernel's.
func TestKernelLayout(t *testing.T) {
	t.Parallel()
	if got := unsafe.Sizeof(iocb{}); got != 64 {
		t.Errorf("an iocb has %d bytes", got)
	}
	if got := unsafe.Offsetof(iocb{}.flags); got != 56 {
		t.Errorf("its flags stand at %d", got)
	}
	if got := unsafe.Sizeof(ioEvent{}); got != 32 {
		t.Errorf("an io_event has %d bytes", got)
	}
}

// The kernel says that a file is synced, as often as it is asked, and that one cannot be.
func TestKernelSync(t *testing.T) {
	t.Parallel()
	k := newKernel()
	if k == nil {
		t.Skip("this kernel does not sync by itself")
	}
	defer k.close()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 20 {
		if _, err := f.WriteString("a line\n"); err != nil {
			t.Fatal(err)
		}
		if err := k.sync(f); err != nil {
			t.Fatal(err)
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if err := k.sync(w); err == nil {
		t.Error("a pipe is on the disk")
	}
	if err := k.sync(f); err != nil {
		t.Errorf("after one that failed: %v", err)
	}
	f.Close()
	if err := k.sync(f); err == nil {
		t.Error("a closed file is on the disk")
	}
}
