package archive_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/iamd-dev/iamd/internal/reference/archive"
)

func sample() (header []string, values [][]byte) {
	for i := range 300 {
		header = append(header, fmt.Sprintf("value-%d", i))
		values = append(values, fmt.Appendf(nil, `{"Action":["s3:Get%d","s3:List*"],"Pad":%q}`, i, bytes.Repeat([]byte("x"), i)))
	}
	return append(header, "empty"), append(values, nil)
}

func TestRoundTrip(t *testing.T) {
	header, values := sample()
	file, err := archive.Write(header, values)
	if err != nil {
		t.Fatal(err)
	}
	a, err := archive.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := a.Header(&got); err != nil {
		t.Fatal(err)
	}
	if len(got) != len(header) || a.Len() != len(values) {
		t.Fatalf("%d names and %d values, want %d and %d", len(got), a.Len(), len(header), len(values))
	}
	for i, want := range values {
		v, err := a.Value(i)
		if err != nil {
			t.Fatalf("value %d: %v", i, err)
		}
		if !bytes.Equal(v, want) {
			t.Errorf("value %d is %q, want %q", i, v, want)
		}
	}
}

// The generated files are compared with what the generator makes anew.
func TestSameValuesSameFile(t *testing.T) {
	header, values := sample()
	one, _ := archive.Write(header, values)
	two, _ := archive.Write(header, values)
	if !bytes.Equal(one, two) {
		t.Error("two files of the same values differ")
	}
}

func TestDamagedFiles(t *testing.T) {
	header, values := sample()
	file, _ := archive.Write(header, values)
	for _, cut := range []int{0, 4, 8, 9, 20, len(file) / 2, len(file) - 1} {
		if _, err := archive.Open(file[:cut]); err == nil {
			t.Errorf("a file cut after %d of %d bytes was opened", cut, len(file))
		}
	}
	wrong := bytes.Clone(file)
	wrong[0] ^= 1
	if _, err := archive.Open(wrong); err == nil {
		t.Error("a file with another magic number was opened")
	}
}

func FuzzOpen(f *testing.F) {
	header, values := sample()
	file, _ := archive.Write(header, values[:3])
	f.Add(file)
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := archive.Open(data)
		if err != nil {
			return
		}
		for i := range a.Len() {
			a.Value(i) // must not panic; an error is a fine answer
		}
	})
}
