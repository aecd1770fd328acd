package lambda_test

import (
	"os"
	"runtime"
	"testing"
)

// resources are the goroutines and the open files of the process.
func resources(t *testing.T) [2]int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return [2]int{runtime.NumGoroutine(), len(fds)}
}
