package audit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A kernel writes and syncs files without a thread of ours that waits (io_submit(2)): it
// says through an eventfd that it is done, for which Go waits as for a network connection.
// Where it is nil a thread waits.
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
	buffer    uint64 // its address
	bytes     uint64
	offset    int64
	_         uint64 // reserved
	flags     uint32
	eventfd   uint32
}

const (
	iocbWrite   = 1 // IOCB_CMD_PWRITE
	iocbFsync   = 2 // IOCB_CMD_FSYNC
	iocbEventfd = 1 // IOCB_FLAG_RESFD: the eventfd is told
)

// An ioEvent is struct io_event.
type ioEvent struct {
	_      [2]uint64 // data and iocb
	result int64
	_      int64
}

// errAside is that the kernel does not do it: not for this file system, or not now.
var errAside = errors.New("not done by the kernel alone")

// sync returns when what was written to the file is on the disk. One may wait at a time.
func (k *kernel) sync(f *os.File) error {
	if k == nil {
		return f.Sync()
	}
	_, err := k.do(f, &iocb{operation: iocbFsync})
	if errors.Is(err, errAside) {
		return f.Sync()
	}
	return err
}

// write writes p at an offset of a file that openDirect has opened, and returns when it is on
// the disk. One may wait at a time. p is of aligned's making: not on a stack, which may move.
func (k *kernel) write(f *os.File, p []byte, offset int64) error {
	if k == nil {
		_, err := f.WriteAt(p, offset)
		return err
	}
	n, err := k.do(f, &iocb{operation: iocbWrite, buffer: uint64(uintptr(unsafe.Pointer(&p[0]))), bytes: uint64(len(p)), offset: offset})
	runtime.KeepAlive(p)
	if errors.Is(err, errAside) {
		_, err = f.WriteAt(p, offset)
		return err
	}
	if err == nil && n != int64(len(p)) {
		err = &os.PathError{Op: "write", Path: f.Name(), Err: io.ErrShortWrite}
	}
	return err
}

// do has the kernel do something with a file, and returns what came of it.
func (k *kernel) do(f *os.File, request *iocb) (int64, error) {
	request.file, request.flags, request.eventfd = uint32(f.Fd()), iocbEventfd, k.fd
	_, _, e := unix.RawSyscall(unix.SYS_IO_SUBMIT, k.context, 1, uintptr(unsafe.Pointer(&request)))
	if e != 0 {
		return 0, errAside
	}
	var count [8]byte
	_, err := k.done.Read(count[:])
	runtime.KeepAlive(f)
	runtime.KeepAlive(request)
	if err != nil {
		return 0, fmt.Errorf("waiting for the disk: %w", err)
	}
	var event ioEvent
	n, _, e := unix.RawSyscall6(unix.SYS_IO_GETEVENTS, k.context, 1, 1, uintptr(unsafe.Pointer(&event)), 0, 0)
	switch {
	case e != 0:
		return 0, os.NewSyscallError("io_getevents", e)
	case n != 1:
		return 0, errors.New("io_getevents: what is done is not there")
	case event.result < 0:
		return 0, &os.PathError{Op: "write or sync", Path: f.Name(), Err: unix.Errno(-event.result)}
	}
	return event.result, nil
}

func (k *kernel) close() {
	if k != nil {
		unix.Syscall(unix.SYS_IO_DESTROY, k.context, 0, 0)
		k.done.Close()
	}
}

// openDirect opens a file that is written past the page cache, and synced with each write.
func openDirect(name string, flag int) (*os.File, error) {
	return os.OpenFile(name, flag|unix.O_DIRECT|unix.O_DSYNC, 0o600)
}

// setDirect has what is written to f from now on go past the page cache and to where writeAt
// says, or through it to the file's end.
func setDirect(f *os.File, on bool) error {
	flags := unix.O_APPEND
	if on {
		flags = unix.O_DIRECT
	}
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETFL, flags)
	return os.NewSyscallError("fcntl", err)
}

// writeAt writes p at an offset of f, for which os.File does not know that it may.
func writeAt(f *os.File, p []byte, offset int64) error {
	n, err := unix.Pwrite(int(f.Fd()), p, offset)
	for err == unix.EINTR {
		n, err = unix.Pwrite(int(f.Fd()), p, offset)
	}
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return &os.PathError{Op: "write", Path: f.Name(), Err: err}
	}
	return nil
}
