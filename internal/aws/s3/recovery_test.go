package s3

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/iamd-dev/iamd/internal/data"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
)

// A crash between the two stores leaves a bucket in one of them: New puts it right,
// and never removes what holds an object.
func TestNewPutsRightWhatACrashLeft(t *testing.T) {
	ctx := context.Background()
	db, err := store.Open(ctx, store.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	objects, err := data.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer objects.Close()
	if err := db.Update(ctx, func(tx *store.Tx) error {
		buckets.Put(tx, "known", &Bucket{Name: "known", ID: "1"})
		buckets.Put(tx, "both", &Bucket{Name: "both", ID: "2"})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"2", "unknown", "unknown-full"} {
		if err := objects.CreateBucket(id); err != nil {
			t.Fatal(err)
		}
	}
	part, err := objects.Write(strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := objects.Put("unknown-full", &data.Object{Key: "k", Parts: []data.Part{part}}, data.Unversioned, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := New(db, objects); err != nil {
		t.Fatal(err)
	}
	got, err := objects.Buckets()
	if want := []string{"1", "2", "unknown-full"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("buckets %v, %v; want %v", got, err, want)
	}
}

// What the caller is told when the disk is full is not something to try again at once.
func TestFullDisk(t *testing.T) {
	var e *wire.Error
	if err := failed(&Bucket{Name: "b"}, "k", errors.Join(data.ErrFull)); !errors.As(err, &e) || e.Code != "InsufficientStorage" || e.Status != 507 {
		t.Errorf("got %v", e)
	}
	if err := failed(&Bucket{Name: "b"}, "k", errors.New("other")); errors.As(err, &e) && e.Code == "other" {
		t.Errorf("a fault of ours is told to the caller: %v", err)
	}
}
