package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func openDecisions(t testing.TB, dir string) *Decisions {
	t.Helper()
	d, err := OpenDecisions(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestRecentDecisions(t *testing.T) {
	d := openDecisions(t, t.TempDir())
	for i := range recent + 10 {
		d.Keep(fmt.Sprint(i), i)
	}
	for _, test := range []struct {
		id   string
		want any
	}{{"0", nil}, {"9", nil}, {"10", 10}, {fmt.Sprint(recent + 9), recent + 9}, {"never", nil}, {"", nil}} {
		if got, ok := d.Recent(test.id); got != test.want || ok != (test.want != nil) {
			t.Errorf("Recent(%q) = %v, %t, want %v", test.id, got, ok, test.want)
		}
	}
	d.Keep("10", "again")
	if got, _ := d.Recent("10"); got != "again" {
		t.Errorf("Recent of a call kept twice = %v, want what was kept last", got)
	}
}

// The reasons of a refused call are found again, also by the next process.
func TestRefusedDecisions(t *testing.T) {
	dir := t.TempDir()
	d := openDecisions(t, dir)
	d.Refused("a", []byte(`{"why": "no statement",
		"n": 1}`))
	d.Refused("b", []byte(`not JSON`))
	d.Refused("a\"}\n", []byte(`{}`))
	expect := func(id, want string) {
		t.Helper()
		got, err := d.Explanation(id)
		if err != nil || string(got) != want {
			t.Errorf("Explanation(%q) = %s, %v, want %s", id, got, err, want)
		}
	}
	for range 2 {
		expect("a", `{"why":"no statement","n":1}`)
		expect("b", `"not JSON"`)
		expect("a\"}\n", `{}`)
		expect("c", "")
		if err := d.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		f, _ := os.OpenFile(filepath.Join(dir, currentName), os.O_WRONLY|os.O_APPEND, 0)
		f.WriteString(`{"requestID":"c","explan`) // a crash
		f.Close()
		d = openDecisions(t, dir)
	}
	d.Refused("c", []byte(`true`))
	expect("c", "true")
	d.Close()
	d.Refused("late", []byte(`{}`))
	if d.Dropped() != 1 {
		t.Errorf("Dropped = %d after a call that came after Close, want 1", d.Dropped())
	}
}

// The files stay bounded, and the older explanations are the ones to go.
func TestRefusedDecisionsAreBounded(t *testing.T) {
	dir := t.TempDir()
	d := openDecisions(t, dir)
	big := json.RawMessage(`"` + strings.Repeat("x", 900<<10) + `"`)
	const n = 100 // 90 MiB
	for i := range n {
		d.Refused(fmt.Sprint(i), big)
		d.flush()
	}
	d.Refused("larger than allowed", append(big, make([]byte, 1<<20)...))
	if d.Dropped() != 1 {
		t.Errorf("Dropped = %d, want 1", d.Dropped())
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(files) != 2 {
		t.Errorf("the directory has %v, want two files", files)
	}
	for _, name := range files {
		if info, err := os.Stat(name); err != nil || info.Size() > maxFile {
			t.Errorf("%s has %d bytes, want at most %d", name, info.Size(), maxFile)
		}
	}
	for id, kept := range map[string]bool{"0": false, "20": false, "66": true, "99": true, "larger than allowed": false} {
		got, err := d.Explanation(id)
		if err != nil || kept != bytes.Equal(got, big) {
			t.Errorf("Explanation(%s) has %d bytes, %v; want it kept: %t", id, len(got), err, kept)
		}
	}
}

func BenchmarkKeep(b *testing.B) {
	d := openDecisions(b, b.TempDir())
	v := &Record{}
	b.ReportAllocs()
	for b.Loop() {
		d.Keep("11111111-2222-4333-8444-555555555555", v)
	}
}
