package store_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/iamd-dev/iamd/internal/store"
)

type user struct {
	Name, Path, ARN string
	Attached        []string
}

var users = store.NewTable[user]("users")

// filled returns a DB with n users over the memory log.
func filled(b *testing.B, n int) (*store.DB, []string) {
	b.Helper()
	log := store.NewMemory()
	keys := make([]string, n)
	var writes []store.Write
	for i := range keys {
		name := fmt.Sprintf("user-%07d", (i*7919)%n)
		keys[i] = "111122223333/" + name
		writes = append(writes, store.Write{Key: "users/" + keys[i], Value: fmt.Appendf(nil,
			`{"Name":%q,"Path":"/","ARN":"arn:aws:iam::111122223333:user/%s","Attached":["arn:aws:iam::aws:policy/ReadOnlyAccess"]}`, name, name)})
	}
	if _, err := log.Commit(b.Context(), nil, writes); err != nil {
		b.Fatal(err)
	}
	db, err := store.Open(b.Context(), log, users)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return db, keys
}

func BenchmarkGet(b *testing.B) {
	for _, n := range []int{100, 10_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			db, keys := filled(b, n)
			s := db.View()
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if users.Get(s, keys[i]) == nil {
					b.Fatal("absent")
				}
				if i++; i == len(keys) {
					i = 0
				}
			}
		})
	}
}

func BenchmarkView(b *testing.B) {
	db, _ := filled(b, 1)
	for b.Loop() {
		db.View()
	}
}

func BenchmarkUpdate(b *testing.B) {
	db, keys := filled(b, 10_000)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		err := db.Update(context.Background(), func(tx *store.Tx) error {
			u := users.Get(tx, keys[i%len(keys)])
			u.Path = "/x/"
			users.Put(tx, keys[i%len(keys)], u)
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkLoad100k(b *testing.B) {
	log := store.NewMemory()
	var writes []store.Write
	for i := range 100_000 {
		writes = append(writes, store.Write{Key: fmt.Sprintf("users/111122223333/user-%07d", i),
			Value: []byte(`{"Name":"n","Path":"/","ARN":"arn:aws:iam::111122223333:user/n","Attached":["arn:aws:iam::aws:policy/ReadOnlyAccess"]}`)})
	}
	if _, err := log.Commit(b.Context(), nil, writes); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		db, err := store.Open(b.Context(), log, users)
		if err != nil {
			b.Fatal(err)
		}
		db.Close()
	}
}
