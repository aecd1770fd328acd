//go:build !linux

package audit

import (
	"errors"
	"os"
)

// A kernel would write and sync files without a thread of ours.
type kernel struct{}

func newKernel() *kernel              { return nil }
func (*kernel) sync(f *os.File) error { return f.Sync() }
func (*kernel) close()                {}

func (*kernel) write(f *os.File, p []byte, offset int64) error {
	_, err := f.WriteAt(p, offset)
	return err
}

func openDirect(string, int) (*os.File, error) { return nil, errors.ErrUnsupported }
func setDirect(*os.File, bool) error           { return errors.ErrUnsupported }

func writeAt(f *os.File, p []byte, offset int64) error {
	_, err := f.WriteAt(p, offset)
	return err
}
