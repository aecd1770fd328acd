// Package storetest is the test that every store.Log passes. What a service
// may rely on is written here, once, and holds for memory and for etcd alike:
// an acknowledged change is seen, changes are whole, two that meet on a key do
// not both commit on the same state, and what another writer did arrives.
//
//	func TestLog(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) func() store.Log {
//			dir := t.TempDir() // one store; each call of the function opens it again
//			return func() store.Log { return open(t, dir) }
//		})
//	}
//
// A log that keeps nothing when it is closed gives the same one again.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/iamd-dev/iamd/internal/store"
)

// A Maker begins a test with empty data and returns the function that opens a
// log on it, again and again, each time after the log before was closed.
type Maker func(t *testing.T) (log func() store.Log)

// An item is what the tests keep.
type item struct {
	Name  string
	Count int               `json:",omitempty"`
	Tags  map[string]string `json:",omitempty"`
}

var (
	items  = store.NewTable[item]("items")
	others = store.NewTable[item]("others")
)

// Run runs the tests on logs made by m.
func Run(t *testing.T, m Maker) {
	for _, test := range []struct {
		name string
		f    func(*testing.T, func() store.Log)
	}{
		{"an empty log has nothing", empty},
		{"Update shows what it wrote", readYourWrites},
		{"a key put by two is there once", putTwice},
		{"errors of f come back and change nothing", errorsOfF},
		{"an Update without changes commits nothing", noChange},
		{"a deleted key is gone", deletes},
		{"deleting what is not there is no change", deleteAbsent},
		{"keys come in byte order", order},
		{"pages go on where the last one ended", paging},
		{"tables do not see each other", tablesApart},
		{"a Tx sees its own writes", txReads},
		{"a value from a Tx is private", privateCopies},
		{"a snapshot never changes", immutable},
		{"concurrent increments are all counted", increments},
		{"creating one key succeeds once", createOnce},
		{"writes that depend on a read key do not both commit", writeSkew},
		{"a transaction over several keys is never seen half", atomicKeys},
		{"a change too large is refused", tooLarge},
		{"an Update after Close fails", closed},
		{"Update ends with its context", canceled},
		{"Wait ends with its context", waitCanceled},
		{"everything is there when opened again", reopen},
		{"another DB's changes arrive", secondDB},
		{"a value of the wrong type stops Open", undecodable},
		{"an unknown field stops Open", unknownField},
		{"a key without a table stops Open", foreignKey},
		{"a bad value that came later panics when read", undecodableLater},
	} {
		t.Run(test.name, func(t *testing.T) { test.f(t, m(t)) })
	}
}

func open(t *testing.T, log store.Log, tables ...store.Checker) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), log, tables...)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return db
}

func put(t *testing.T, db *store.DB, names ...string) {
	t.Helper()
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		for _, name := range names {
			items.Put(tx, name, &item{Name: name})
		}
		return nil
	})
	if err != nil {
		t.Fatalf("Update: %v", err)
	}
}

// keys returns the keys of the table that begin with prefix.
func keys(r store.Reader, prefix string) []string {
	var got []string
	for key, v := range items.All(r, prefix) {
		if v.Name != key {
			key += " with the value of " + v.Name
		}
		got = append(got, key)
	}
	return got
}

func expect(t *testing.T, r store.Reader, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, keys(r, "")); diff != "" {
		t.Errorf("keys differ (-want +got):\n%s", diff)
	}
}

func empty(t *testing.T, log func() store.Log) {
	db := open(t, log(), items)
	expect(t, db.View())
	if got := items.Get(db.View(), "a"); got != nil {
		t.Errorf("Get of an absent key = %+v, want nil", got)
	}
}

func readYourWrites(t *testing.T, log func() store.Log) {
	db := open(t, log())
	for i := range 100 {
		before := db.View().Revision()
		name := fmt.Sprintf("k%03d", i)
		put(t, db, name)
		s := db.View()
		if got := items.Get(s, name); got == nil || got.Name != name {
			t.Fatalf("Get(%s) after Update = %+v", name, got)
		}
		if s.Revision() <= before {
			t.Fatalf("revision went from %d to %d by a change", before, s.Revision())
		}
	}
}

func putTwice(t *testing.T, log func() store.Log) {
	db := open(t, log())
	for i := range 3 {
		err := db.Update(t.Context(), func(tx *store.Tx) error {
			items.Put(tx, "a", &item{Name: "a", Count: i})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	expect(t, db.View(), "a")
	if got := items.Get(db.View(), "a").Count; got != 2 {
		t.Errorf("Count = %d, want the last one put, 2", got)
	}
}

func errorsOfF(t *testing.T, log func() store.Log) {
	db := open(t, log())
	refusal := errors.New("refused")
	before := db.View().Revision()
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		items.Put(tx, "a", &item{Name: "a"})
		return refusal
	})
	if err != refusal {
		t.Errorf("Update = %v, want the very error of f", err)
	}
	expect(t, db.View())
	if got := db.View().Revision(); got != before {
		t.Errorf("revision went from %d to %d", before, got)
	}
}

func noChange(t *testing.T, log func() store.Log) {
	db := open(t, log())
	put(t, db, "a")
	before := db.View().Revision()
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		items.Get(tx, "a")
		return nil
	})
	if err != nil || db.View().Revision() != before {
		t.Errorf("Update = %v, revision %d, want nil and %d", err, db.View().Revision(), before)
	}
}

func deletes(t *testing.T, log func() store.Log) {
	db := open(t, log())
	put(t, db, "a", "b", "c")
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		items.Delete(tx, "b")
		if items.Get(tx, "b") != nil {
			t.Error("the Tx still sees the key that it deleted")
		}
		if got := keys(tx, ""); !slices.Equal(got, []string{"a", "c"}) {
			t.Errorf("the Tx sees %v", got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, db.View(), "a", "c")
	put(t, db, "b")
	expect(t, db.View(), "a", "b", "c")
}

func deleteAbsent(t *testing.T, log func() store.Log) {
	db := open(t, log())
	put(t, db, "a")
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		items.Delete(tx, "nobody")
		return nil
	})
	if err != nil {
		t.Errorf("Update: %v", err)
	}
	expect(t, db.View(), "a")
}

func order(t *testing.T, log func() store.Log) {
	db := open(t, log())
	want := []string{"", "!", "A", "a", "a/b", "a0", "aa", "b", "Ä", "世界"}
	slices.Sort(want)
	shuffled := []string{"b", "世界", "aa", "", "A", "Ä", "a0", "a", "!", "a/b"}
	put(t, db, shuffled...)
	expect(t, db.View(), want...)
	if got := keys(db.View(), "a"); !slices.Equal(got, []string{"a", "a/b", "a0", "aa"}) {
		t.Errorf(`keys with prefix "a" = %q`, got)
	}
	if got := keys(db.View(), "zz"); got != nil {
		t.Errorf(`keys with prefix "zz" = %q, want none`, got)
	}
}

func paging(t *testing.T, log func() store.Log) {
	db := open(t, log())
	var want []string
	for i := range 250 {
		want = append(want, fmt.Sprintf("p/%03d", i))
	}
	put(t, db, want...)
	put(t, db, "o", "q")
	var got []string
	after := ""
	for {
		n := 0
		for key := range items.From(db.View(), "p/", after) {
			got = append(got, key)
			after = key
			if n++; n == 7 {
				break
			}
		}
		if n < 7 {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pages differ (-want +got):\n%s", diff)
	}
	// A marker need not exist any more, nor have the prefix.
	for _, c := range []struct{ after, first string }{{"p/0995", "p/100"}, {"a", "p/000"}, {"z", ""}} {
		first := ""
		for key := range items.From(db.View(), "p/", c.after) {
			first = key
			break
		}
		if first != c.first {
			t.Errorf("From(p/, %s) begins with %q, want %q", c.after, first, c.first)
		}
	}
}

func tablesApart(t *testing.T, log func() store.Log) {
	db := open(t, log())
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		items.Put(tx, "a", &item{Name: "a"})
		others.Put(tx, "a", &item{Name: "other"})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := items.Get(db.View(), "a").Name; got != "a" {
		t.Errorf("items has %q", got)
	}
	if got := others.Get(db.View(), "a").Name; got != "other" {
		t.Errorf("others has %q", got)
	}
}

func txReads(t *testing.T, log func() store.Log) {
	db := open(t, log())
	put(t, db, "b", "d", "f", "h")
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		for _, name := range []string{"a", "c", "g", "i", "z"} {
			items.Put(tx, name, &item{Name: name})
		}
		items.Put(tx, "d", &item{Name: "d", Count: 1})
		items.Delete(tx, "f")
		items.Delete(tx, "z")
		if got, want := keys(tx, ""), []string{"a", "b", "c", "d", "g", "h", "i"}; !slices.Equal(got, want) {
			t.Errorf("All in the Tx = %v, want %v", got, want)
		}
		var page []string
		for key := range items.From(tx, "", "b") {
			page = append(page, key)
			if len(page) == 3 {
				break
			}
		}
		if want := []string{"c", "d", "g"}; !slices.Equal(page, want) {
			t.Errorf("From(b) in the Tx = %v, want %v", page, want)
		}
		for _, stop := range []string{"a", "b", "i"} { // written, of the base, the very last
			var seen string
			for key := range items.All(tx, "") {
				if seen = key; key == stop {
					break
				}
			}
			if seen != stop {
				t.Errorf("a walk left at %s ended at %s", stop, seen)
			}
		}
		if got := items.Get(tx, "d"); got == nil || got.Count != 1 {
			t.Errorf("Get(d) in the Tx = %+v, want the value just put", got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, db.View(), "a", "b", "c", "d", "g", "h", "i")
}

func privateCopies(t *testing.T, log func() store.Log) {
	db := open(t, log())
	v := &item{Name: "a", Tags: map[string]string{"k": "v"}}
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		items.Put(tx, "a", v)
		v.Tags["k"] = "changed after Put"
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(t.Context(), func(tx *store.Tx) error {
		items.Get(tx, "a").Tags["k"] = "changed without Put"
		for _, v := range items.All(tx, "") {
			v.Tags["k"] = "changed without Put"
		}
		others.Put(tx, "x", &item{})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := items.Get(db.View(), "a").Tags["k"]; got != "v" {
		t.Errorf("the tag is %q, want the value at Put, v", got)
	}
	if first, second := items.Get(db.View(), "a"), items.Get(db.View(), "a"); first != second {
		t.Error("two reads of a snapshot decoded the value twice")
	}
}

func immutable(t *testing.T, log func() store.Log) {
	db := open(t, log())
	put(t, db, "a", "b")
	old := db.View()
	revision := old.Revision()
	put(t, db, "c")
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		items.Delete(tx, "a")
		items.Put(tx, "b", &item{Name: "other"})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, old, "a", "b")
	if old.Revision() != revision {
		t.Errorf("the revision went from %d to %d", revision, old.Revision())
	}
}

func increments(t *testing.T, log func() store.Log) {
	db := open(t, log())
	const writers, each = 8, 20
	var runs atomic.Int64
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				err := db.Update(t.Context(), func(tx *store.Tx) error {
					runs.Add(1)
					v := items.Get(tx, "n")
					if v == nil {
						v = &item{Name: "n"}
					}
					v.Count++
					items.Put(tx, "n", v)
					return nil
				})
				if err != nil {
					t.Errorf("Update: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := items.Get(db.View(), "n").Count; got != writers*each {
		t.Errorf("counted %d, want %d", got, writers*each)
	}
	t.Logf("%d runs of f for %d changes", runs.Load(), writers*each)
}

func createOnce(t *testing.T, log func() store.Log) {
	db := open(t, log())
	taken := errors.New("taken")
	var created atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			err := db.Update(t.Context(), func(tx *store.Tx) error {
				if items.Get(tx, "a") != nil {
					return taken
				}
				items.Put(tx, "a", &item{Name: "a"})
				return nil
			})
			switch err {
			case nil:
				created.Add(1)
			case taken:
			default:
				t.Errorf("Update: %v", err)
			}
		})
	}
	wg.Wait()
	if got := created.Load(); got != 1 {
		t.Errorf("%d creations succeeded, want 1", got)
	}
}

// Each writer puts its own key if the other's is not there. On one state both
// may; in turn, only one may.
func writeSkew(t *testing.T, log func() store.Log) {
	db := open(t, log())
	for round := range 20 {
		pair := []string{fmt.Sprintf("%02d/a", round), fmt.Sprintf("%02d/b", round)}
		var wg sync.WaitGroup
		for i := range pair {
			wg.Go(func() {
				err := db.Update(t.Context(), func(tx *store.Tx) error {
					if items.Get(tx, pair[1-i]) == nil {
						items.Put(tx, pair[i], &item{Name: pair[i]})
					}
					return nil
				})
				if err != nil {
					t.Errorf("Update: %v", err)
				}
			})
		}
		wg.Wait()
		if got := keys(db.View(), fmt.Sprintf("%02d/", round)); len(got) != 1 {
			t.Fatalf("round %d: %v are there, want one of them", round, got)
		}
	}
}

func atomicKeys(t *testing.T, log func() store.Log) {
	db := open(t, log())
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	readers.Go(func() {
		for {
			s := db.View()
			a, b, o := items.Get(s, "a"), items.Get(s, "b"), others.Get(s, "o")
			if (a == nil) != (b == nil) || (a == nil) != (o == nil) || a != nil && (a.Count != b.Count || a.Count != o.Count) {
				t.Errorf("a snapshot shows half a change: %+v %+v %+v", a, b, o)
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for w := range 4 {
		writers.Go(func() {
			for i := range 25 {
				err := db.Update(t.Context(), func(tx *store.Tx) error {
					if i%5 == 4 {
						items.Delete(tx, "a")
						items.Delete(tx, "b")
						others.Delete(tx, "o")
						return nil
					}
					n := w*1000 + i
					items.Put(tx, "a", &item{Name: "a", Count: n})
					items.Put(tx, "b", &item{Name: "b", Count: n})
					others.Put(tx, "o", &item{Name: "o", Count: n})
					return nil
				})
				if err != nil {
					t.Errorf("Update: %v", err)
					return
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
}

func tooLarge(t *testing.T, log func() store.Log) {
	db := open(t, log())
	most := make([]string, store.MaxKeys)
	for i := range most {
		most[i] = fmt.Sprint(i)
	}
	put(t, db, most...) // just fits
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		for i := range store.MaxKeys + 1 {
			items.Put(tx, fmt.Sprint(i), &item{Name: "changed"})
		}
		return nil
	})
	if !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("Update of %d keys = %v, want ErrTooLarge", store.MaxKeys+1, err)
	}
	err = db.Update(t.Context(), func(tx *store.Tx) error {
		items.Put(tx, "big", &item{Name: strings.Repeat("x", store.MaxBytes)})
		return nil
	})
	if !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("Update of more than %d bytes = %v, want ErrTooLarge", store.MaxBytes, err)
	}
	large := strings.Repeat("x", store.MaxBytes-100)
	err = db.Update(t.Context(), func(tx *store.Tx) error {
		items.Put(tx, "big", &item{Name: large})
		return nil
	})
	if err != nil || items.Get(db.View(), "big").Name != large {
		t.Errorf("Update of nearly %d bytes = %v", store.MaxBytes, err)
	}
	if got := items.Get(db.View(), "0").Name; got != "0" {
		t.Errorf("a refused change was made: %q", got)
	}
}

func closed(t *testing.T, log func() store.Log) {
	db := open(t, log())
	put(t, db, "a")
	if err := db.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		items.Put(tx, "b", &item{Name: "b"})
		return nil
	})
	if err == nil {
		t.Error("Update after Close succeeded")
	}
	if err := db.Wait(t.Context(), db.View().Revision()+1); err == nil {
		t.Error("Wait after Close succeeded")
	}
	expect(t, db.View(), "a")
}

func canceled(t *testing.T, log func() store.Log) {
	db := open(t, log())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := db.Update(ctx, func(tx *store.Tx) error {
		items.Put(tx, "a", &item{Name: "a"})
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Update = %v, want context.Canceled", err)
	}
}

func waitCanceled(t *testing.T, log func() store.Log) {
	db := open(t, log())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := db.Wait(ctx, db.View().Revision()+1000); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait for a revision that does not come = %v, want context.DeadlineExceeded", err)
	}
	if err := db.Wait(ctx, db.View().Revision()); err != nil {
		t.Errorf("Wait for a revision that is there = %v, want nil", err)
	}
}

func reopen(t *testing.T, log func() store.Log) {
	db := open(t, log())
	put(t, db, "a", "b", "c")
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		items.Delete(tx, "b")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	revision := db.View().Revision()
	if err := db.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	db = open(t, log(), items, others)
	expect(t, db.View(), "a", "c")
	if got := db.View().Revision(); got < revision {
		t.Errorf("the revision is %d after %d before", got, revision)
	}
	put(t, db, "d")
	expect(t, db.View(), "a", "c", "d")
}

func secondDB(t *testing.T, log func() store.Log) {
	l := log()
	a, b := open(t, l), open(t, l)
	for i := range 50 {
		from, to := a, b
		if i%2 == 1 {
			from, to = b, a
		}
		name := fmt.Sprintf("k%02d", i)
		put(t, from, name)
		if err := to.Wait(t.Context(), from.View().Revision()); err != nil {
			t.Fatalf("Wait: %v", err)
		}
		if items.Get(to.View(), name) == nil {
			t.Fatalf("%s has not arrived with its revision", name)
		}
	}
}

// plant sets a key as another program would.
func plant(t *testing.T, l store.Log, key, value string) int64 {
	t.Helper()
	revision, err := l.Commit(t.Context(), nil, []store.Write{{Key: key, Value: []byte(value)}})
	if err != nil {
		t.Fatalf("Commit: %v", err)
	}
	return revision
}

func refused(t *testing.T, log func() store.Log, key, value string, want ...string) {
	t.Helper()
	l := log()
	plant(t, l, "items/good", `{"Name":"good"}`)
	plant(t, l, key, value)
	db, err := store.Open(t.Context(), l, items)
	if err == nil {
		db.Close()
		t.Fatalf("Open with %s = %s succeeded", key, value)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("Open = %q, want %q in it", err, w)
		}
	}
}

func undecodable(t *testing.T, log func() store.Log) {
	refused(t, log, "items/bad", `{"Name":7}`, "items/bad", "cannot be decoded")
}

func unknownField(t *testing.T, log func() store.Log) {
	refused(t, log, "items/newer", `{"Name":"x","Boundary":"deny"}`, "items/newer", "Boundary")
}

func foreignKey(t *testing.T, log func() store.Log) {
	refused(t, log, "somebody", "else's", "somebody", "no table")
}

func undecodableLater(t *testing.T, log func() store.Log) {
	l := log()
	db := open(t, l, items)
	if err := db.Wait(t.Context(), plant(t, l, "items/bad", `{"Name":7}`)); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if fault := fmt.Sprint(recover()); !strings.Contains(fault, "items/bad") {
			t.Errorf("Get ended with %q, want a panic that names items/bad", fault)
		}
	}()
	v := items.Get(db.View(), "bad")
	t.Errorf("Get = %+v, want a panic", v)
}
