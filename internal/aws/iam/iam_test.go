package iam_test

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/iam"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

const account = "111122223333"

// A bench calls handlers without a server: what is tested here is what they do to
// the state, not who may call them. For that see testdata.
type bench struct {
	*testing.T
	db     *store.DB
	table  *service.Service
	caller *identity.Caller
	state  *store.Snapshot // that calls were decided on; nil for the newest
	now    time.Time
}

func newBench(t *testing.T, quotas iam.Quotas) *bench {
	t.Helper()
	db, err := store.Open(t.Context(), store.NewMemory(), iam.Tables()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	vault, err := identity.NewVault(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	err = db.Update(t.Context(), func(tx *store.Tx) error {
		identity.Accounts.Put(tx, account, &identity.Account{ID: account, Name: "main", Created: now})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &iam.Service{DB: db, Keyring: identity.NewKeyring(vault), Quotas: quotas}
	return &bench{T: t, db: db, table: s.AWS(), caller: identity.RootCaller(account, "AKIAROOT"), now: now}
}

// do calls an operation, named by its input.
func (b *bench) do(in any) (any, error) {
	b.Helper()
	name := reflect.TypeOf(in).Elem().Name()
	op := b.table.Op(name[:len(name)-len("Input")])
	if op == nil {
		b.Fatalf("there is no operation for %s", name)
	}
	state := b.state
	if state == nil {
		state = b.db.View()
	}
	c := &service.Call{Account: b.caller.Account, Caller: b.caller, State: state, Time: b.now}
	if err := op.Before(c, in); err != nil {
		return nil, err
	}
	return op.Do(context.Background(), c, in)
}

// must is do for what has to work.
func must[Out any](b *bench, in any) *Out {
	b.Helper()
	out, err := b.do(in)
	if err != nil {
		b.Fatalf("%T: %v", in, err)
	}
	return out.(*Out)
}

// All operations of IAM's API as of aws-sdk-go-v2 service/iam v1.64.8 have a row or a
// reason why not.
func TestTableIsComplete(t *testing.T) {
	b := newBench(t, iam.Quotas{}) // service.New panics when it is not
	n := 0
	for op := range b.table.Ops {
		n++
		if op == nil {
			t.Error("an operation has neither")
		}
	}
	if n != 180 {
		t.Errorf("%d operations, want 180", n)
	}
}
