package audit

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A kernel syncs files without a thread of ours that waits (io_submit(2),
// IOCB_CMD_FSYNC): it does so in a worker of its own, and says through an eventfd that
// it is done, for which Go waits as for a network connection.
type kernel struct {
	context uintptr // aio_context_t
	done    *os.File
	fd      uint32 // of done
}

// newKernel gives nil where the kernel does not offer it.
func newKernel() *kernel {
	k := &kernel{}
	if _, _, e := unix.RawSyscall(unix.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&k.context)), 0); e != 0 {
		return nil
	}
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		unix.RawSyscall(unix.SYS_IO_DESTROY, k.context, 0, 0)
		return nil
	}
	k.fd, k.done = uint32(fd), os.NewFile(uintptr(fd), "eventfd")
	return k
}

// An iocb is struct iocb of linux/aio_abi.h.
type iocb struct {
	_         uint64    // data
	_         [2]uint32 // the kernel's key, and flags of reads and writes
	operation uint16
	_         int16 // priority
	file      uint32
	_         [4]uint64 // buffer, bytes and offset of reads and writes, reserved
	flags     uint32
	eventfd   uint32
}

const (
	iocbFsync   = 2 // IOCB_CMD_FSYNC
	iocbEventfd = 1 // IOCB_FLAG_RESFD: the eventfd is told
)

// An ioEvent is struct io_event.
type ioEvent struct {
	_      [2]uint64 // data and iocb
	result int64
	_      int64
}

// sync returns when what was written to the file is on the disk. One may wait at a time.
func (k *kernel) sync(f *os.File) error {
	request := &iocb{operation: iocbFsync, file: uint32(f.Fd()), flags: iocbEventfd, eventfd: k.fd}
	_, _, e := unix.RawSyscall(unix.SYS_IO_SUBMIT, k.context, 1, uintptr(unsafe.Pointer(&request)))
	runtime.KeepAlive(f)
	if e != 0 { // not for this file system, or not now
		return f.Sync()
	}
	var count [8]byte
	if _, err := k.done.Read(count[:]); err != nil {
		return fmt.Errorf("waiting for a sync: %w", err)
	}
	var event ioEvent
	n, _, e := unix.RawSyscall6(unix.SYS_IO_GETEVENTS, k.context, 1, 1, uintptr(unsafe.Pointer(&event)), 0, 0)
	switch {
	case e != 0:
		return os.NewSyscallError("io_getevents", e)
	case n != 1:
		return errors.New("io_getevents: a sync that is done is not there")
	case event.result < 0:
		return &os.PathError{Op: "sync", Path: f.Name(), Err: unix.Errno(-event.result)}
	}
	return nil
}

func (k *kernel) close() {
	if k != nil {
		unix.Syscall(unix.SYS_IO_DESTROY, k.context, 0, 0)
		k.done.Close()
	}
}
