package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/store"
)

// roleLog is a store's log with roles that differ in everything, each of which has a
// trust policy and an inline policy of its own, and with the references to them.
type roleLog int

func (n roleLog) Load(_ context.Context, each func(store.Event) error) (int64, error) {
	for i := range int(n) {
		account, name := fmt.Sprintf("1%011d", i/1000), fmt.Sprintf("role-%06d", i)
		role := Role{
			Role: api.Role{Path: "/", RoleName: name, RoleId: NewID(RolePrefix, account), Arn: "arn:aws:iam::" + account + ":role/" + name,
				CreateDate: start, MaxSessionDuration: 3600},
			Trust: NewDocument(fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::%s:root"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"%d"}}}]}`, account, i)),
			Inline: map[string]Document{"own": NewDocument(fmt.Sprintf(`{"Version":"2012-10-17","Statement":[`+
				`{"Effect":"Allow","Action":["s3:Get*","s3:ListBucket"],"Resource":["arn:aws:s3:::bucket-%d/*","arn:aws:s3:::bucket-%d"],"Condition":{"IpAddress":{"aws:SourceIp":["10.0.0.0/8","203.0.113.0/24"]}}},`+
				`{"Effect":"Deny","Action":"s3:Delete*","Resource":"arn:aws:s3:::*/protected/*"}]}`, i, i))},
		}
		for key, v := range map[string]any{"roles/" + Key(account, name): role, "ids/" + role.RoleId: Ref{RoleKind, Key(account, name)}} {
			b, err := json.Marshal(v)
			if err != nil {
				return 0, err
			}
			if err := each(store.Event{Key: key, Value: b, Revision: 1}); err != nil {
				return 0, err
			}
		}
	}
	return 1, nil
}

func (roleLog) Commit(context.Context, []store.Check, []store.Write) (int64, error) {
	return 0, errors.New("it is only read")
}

func (roleLog) Watch(ctx context.Context, _ int64, _ func(int64, []store.Event)) error {
	<-ctx.Done()
	return ctx.Err()
}

func (roleLog) Close() error { return nil }

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what finalizers and cleanups let go
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkRoles opens a store with 100,000 distinct roles and then compiles all of
// their policies. It tells what a role weighs before and after that.
func BenchmarkRoles(b *testing.B) {
	const n = 100_000
	for b.Loop() {
		before := heap()
		began := time.Now()
		db, err := store.Open(b.Context(), roleLog(n), Tables()...)
		if err != nil {
			b.Fatal(err)
		}
		opened := time.Since(began)
		b.ReportMetric(float64(heap()-before)/n, "B/role")
		began = time.Now()
		for _, r := range Roles.All(db.View(), "") {
			r.Trust.Program()
			r.Inline["own"].Program()
		}
		b.ReportMetric(time.Since(began).Seconds(), "s/compiling")
		b.ReportMetric(float64(heap()-before)/n, "B/compiled-role")
		b.ReportMetric(opened.Seconds(), "s/opening")
		runtime.KeepAlive(db)
		db.Close()
	}
}
