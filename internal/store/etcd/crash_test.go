package etcd

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/store"
)

// writers write side by side; change n of each of them is one Update that
//
//	sets   a/<writer> and b/<writer> to n,
//	puts   log/<writer>/<n>,
//	deletes log/<writer>/<n-kept>.
//
// So from what is found later it can be told which changes were made, and
// that each was made whole.
const (
	writers = 16
	kept    = 50
)

// childDir is the environment variable that makes the test binary a writer
// on that directory.
const childDir = "IAMD_STORE_CRASH_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := write16(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// write16 makes changes until it is killed. It prints "opening" before it opens
// the directory and "writer n" for each change that was acknowledged.
func write16(dir string) error {
	ctx := context.Background()
	fmt.Println("opening")
	log, err := Open(ctx, dir, Options{})
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, log, items)
	if err != nil {
		return err
	}
	var out sync.Mutex
	failed := make(chan error)
	for w := range writers {
		go func() {
			n := 0
			if v := items.Get(db.View(), fmt.Sprintf("a/%02d", w)); v != nil {
				n = v.N
			}
			for {
				n++
				err := db.Update(ctx, func(tx *store.Tx) error {
					items.Put(tx, fmt.Sprintf("a/%02d", w), &item{N: n})
					items.Put(tx, fmt.Sprintf("b/%02d", w), &item{N: n})
					items.Put(tx, fmt.Sprintf("log/%02d/%08d", w, n), &item{N: n})
					items.Delete(tx, fmt.Sprintf("log/%02d/%08d", w, n-kept))
					return nil
				})
				if err != nil {
					failed <- err
					return
				}
				out.Lock()
				fmt.Println(w, n)
				out.Unlock()
			}
		}()
	}
	return <-failed
}

// A process killed while it writes loses nothing that it acknowledged, and
// leaves no change half made.
func TestKill(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	dir := t.TempDir()
	var acknowledged [writers]int
	for round := range rounds {
		// Kill it after a random number of acknowledgements; sometimes
		// while it starts.
		most := rand.IntN(3000)
		if round%4 == 3 {
			most = 0
		}
		seen := writeAndKill(t, dir, most, &acknowledged)
		log, err := Open(t.Context(), dir, Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		db, err := store.Open(t.Context(), log, items)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		s := db.View()
		for w := range writers {
			n, b := 0, 0
			if v := items.Get(s, fmt.Sprintf("a/%02d", w)); v != nil {
				n = v.N
			}
			if v := items.Get(s, fmt.Sprintf("b/%02d", w)); v != nil {
				b = v.N
			}
			if n != b {
				t.Errorf("round %d: writer %d has half a change: a is %d and b is %d", round, w, n, b)
			}
			if n < acknowledged[w] || n > acknowledged[w]+1 {
				t.Errorf("round %d: writer %d made %d changes, want the %d that were acknowledged, or the one in flight too", round, w, n, acknowledged[w])
			}
			var got, want []int
			for _, v := range items.All(s, fmt.Sprintf("log/%02d/", w)) {
				got = append(got, v.N)
			}
			for i := max(1, n-kept+1); i <= n; i++ {
				want = append(want, i)
			}
			if !slices.Equal(got, want) {
				t.Errorf("round %d: writer %d has the changes %v, want %v", round, w, got, want)
			}
			acknowledged[w] = n
		}
		if err := db.Close(); err != nil {
			t.Errorf("round %d: Close: %v", round, err)
		}
		t.Logf("round %d: killed after %d acknowledgements, %d were read", round, most, seen)
	}
}

// A process killed while it makes the directory leaves one that can be opened.
func TestKillAtTheFirstStart(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	for range rounds {
		dir := t.TempDir()
		var acknowledged [writers]int
		writeAndKill(t, dir, 0, &acknowledged)
		log, err := Open(t.Context(), dir, Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		db, err := store.Open(t.Context(), log, items)
		if err != nil {
			t.Fatal(err)
		}
		for w, n := range acknowledged {
			if v := items.Get(db.View(), fmt.Sprintf("a/%02d", w)); n > 0 && (v == nil || v.N < n) {
				t.Errorf("writer %d has %+v, want the %d changes that were acknowledged", w, v, n)
			}
		}
		if err := db.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

// writeAndKill runs a writer, kills it when it has acknowledged so many
// changes, or while it starts when that is 0, and notes the last that each writer acknowledged.
func writeAndKill(t *testing.T, dir string, most int, acknowledged *[writers]int) (seen int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := sync.OnceFunc(func() { cmd.Process.Kill() })
	defer kill()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if lines.Text() == "opening" {
			if most == 0 {
				time.AfterFunc(rand.N(50*time.Millisecond), kill)
			}
			continue
		}
		var w, n int
		if _, err := fmt.Sscan(lines.Text(), &w, &n); err != nil {
			t.Errorf("the writer printed %q", lines.Text())
			continue
		}
		acknowledged[w] = n
		if seen++; seen == most {
			kill()
		}
	}
	err = cmd.Wait()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != -1 {
		t.Errorf("the writer ended by itself: %v", err)
	}
	return seen
}
