// Package recorded finds what AWS was recorded to answer: files that are not kept with
// the code, in a directory "shared" beside the repository or above it. What they say
// stands in the tests as cases of our own; where they are there, tests hold the cases
// against them, and nothing of it goes unheld.
package recorded

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Read returns the content of a file, such as truth/aws-observed.json, and skips the
// test where there is none.
func Read(t testing.TB, name string) []byte {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "shared", filepath.FromSlash(name)))
		if err == nil {
			return text
		}
		if !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		above := filepath.Dir(dir)
		if above == dir {
			t.Skipf("there is no shared/%s beside the repository", name)
		}
		dir = above
	}
}
