package dynamodb_test

import (
	"context"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/dynamodb"
	"github.com/iamd-dev/iamd/internal/aws/dynamodb/api"
	"github.com/iamd-dev/iamd/internal/awstest"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// A still engine answers at once, and always the same.
type still []byte

func (s still) Call(context.Context, string, []byte) (int, []byte, error) { return 200, s, nil }

// BenchmarkOwn is what this package does itself for a GetItem: neither the pipeline nor the engine.
func BenchmarkOwn(b *testing.B) {
	db, err := store.Open(b.Context(), store.NewMemory(), dynamodb.Tables()...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	engine := still(`{"Item":{"pk":{"S":"a"},"text":{"S":"some text that is as long as the text of an item may well be"}}}`)
	s := &dynamodb.Service{DB: db, Engine: func(context.Context, string, string) (dynamodb.Engine, error) { return engine, nil }}
	op := s.AWS().Op("GetItem")
	body := []byte(`{"TableName":"music","Key":{"pk":{"S":"a"}}}`)
	in := &api.GetItemInput{TableName: "music", Key: map[string]api.AttributeValue{"pk": {S: "a"}}}
	c := &service.Call{Account: awstest.DefaultAccount, Region: "us-east-1", State: db.View(), Time: time.Now(), Body: body}
	b.ReportAllocs()
	for b.Loop() {
		if err := op.Before(c, in); err != nil {
			b.Fatal(err)
		}
		if len(op.Checks(c, in)) != 1 {
			b.Fatal("it is not decided on one table")
		}
		if _, err := op.Do(b.Context(), c, in); err != nil {
			b.Fatal(err)
		}
	}
}
