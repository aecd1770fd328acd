package etcd

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/iamd-dev/iamd/internal/store"
)

func BenchmarkUpdate(b *testing.B) {
	_, db := open(b, b.TempDir(), Options{})
	data := strings.Repeat("x", 500)
	i := 0
	for b.Loop() {
		i++
		if err := put(b.Context(), db, fmt.Sprint(i%10_000), item{N: i, Data: data}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUpdate64(b *testing.B) {
	_, db := open(b, b.TempDir(), Options{})
	data := strings.Repeat("x", 500)
	var next atomic.Int64
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := next.Add(1)
			if err := put(context.Background(), db, fmt.Sprint(i%10_000), item{N: int(i), Data: data}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkOpen is the start of a server: an empty directory's, and one's with
// 100,000 keys of 500 bytes.
func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{0, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := b.TempDir()
			log, db := open(b, dir, Options{Logger: slog.New(slog.DiscardHandler)})
			data := fmt.Sprintf(`{"N":1,"Data":%q}`, strings.Repeat("x", 480))
			for i := 0; i < n; i += 1000 {
				var writes []store.Write
				for k := range 1000 {
					writes = append(writes, store.Write{Key: fmt.Sprintf("items/111122223333/%07d", i+k), Value: []byte(data)})
				}
				if _, err := log.Commit(b.Context(), nil, writes); err != nil {
					b.Fatal(err)
				}
			}
			db.Close()
			for b.Loop() {
				log, err := Open(b.Context(), dir, Options{})
				if err != nil {
					b.Fatal(err)
				}
				db, err := store.Open(b.Context(), log, items)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if got := len(fmt.Sprint(db.View().Revision())); got == 0 {
					b.Fatal("nothing was loaded")
				}
				if resident, err := os.ReadFile("/proc/self/status"); err == nil {
					for _, line := range strings.Split(string(resident), "\n") {
						if strings.HasPrefix(line, "VmRSS") {
							b.Log(line)
						}
					}
				}
				db.Close()
				b.StartTimer()
			}
			size := int64(0)
			filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
				if err == nil {
					size += info.Size()
				}
				return nil
			})
			b.ReportMetric(float64(size)/(1<<20), "MiB-disk")
		})
	}
}
