//go:build !linux

package cores

// Confine does nothing here.
func Confine() (release func()) { return nil }

// A Load tells how busy cores are: here nobody knows.
type Load struct{}

// Idle tells nothing.
func (*Load) Idle() (share float64, known bool) { return 0, false }
