package data

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

func BenchmarkPut1KiB(b *testing.B) {
	db := newDB(b)
	body := strings.Repeat("x", 1024)
	i := 0
	for b.Loop() {
		put(b, db, fmt.Sprintf("key-%09d", i), body, Unversioned)
		i++
	}
}

func BenchmarkPut1KiBParallel64(b *testing.B) {
	db := newDB(b)
	body := strings.Repeat("x", 1024)
	b.SetParallelism(32) // times two processors
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			put(b, db, newID(0), body, Unversioned)
		}
	})
}

func BenchmarkPut64KiB(b *testing.B) {
	db := newDB(b)
	body := strings.Repeat("x", 64<<10)
	i := 0
	for b.Loop() {
		put(b, db, fmt.Sprintf("key-%09d", i), body, Unversioned)
		i++
	}
}

func benchmarkGet(b *testing.B, size int) {
	db := newDB(b)
	putMany(b, db, 10_000, size)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		_, c, err := db.Open("b", keys[i%10_000], "")
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, c)
		c.Close()
		i += 7919
	}
}

func BenchmarkGet1KiB(b *testing.B)  { benchmarkGet(b, 1<<10) }
func BenchmarkGet4KiB(b *testing.B)  { benchmarkGet(b, 4<<10) }
func BenchmarkGet16KiB(b *testing.B) { benchmarkGet(b, 16<<10) }

var keys = func() []string {
	keys := make([]string, 100_000)
	for i := range keys {
		keys[i] = fmt.Sprintf("folder-%02d/key-%06d", i%50, i)
	}
	return keys
}()

// putMany puts n objects, many at a time.
func putMany(b *testing.B, db *DB, n, size int) {
	b.Helper()
	body := strings.Repeat("x", size)
	done := make(chan bool)
	for w := range 64 {
		go func() {
			for i := w; i < n; i += 64 {
				put(b, db, keys[i], body, Unversioned)
			}
			done <- true
		}()
	}
	for range 64 {
		<-done
	}
}

func BenchmarkList1000Of100k(b *testing.B) {
	db := newDB(b)
	putMany(b, db, len(keys), 100)
	for _, c := range []struct {
		name string
		q    Query
		want int
	}{
		{"flat", Query{Max: 1000, After: "folder-20/"}, 1000},
		{"delimiter", Query{Max: 1000, Delimiter: "/"}, 50},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				l, err := db.List("b", c.q)
				if err != nil || len(l.Items)+len(l.Prefixes) != c.want {
					b.Fatal(len(l.Items), len(l.Prefixes), err)
				}
			}
		})
	}
}
