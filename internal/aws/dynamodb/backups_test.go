package dynamodb_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/dynamodb"
	"github.com/iamd-dev/iamd/internal/aws/dynamodb/api"
	"github.com/iamd-dev/iamd/internal/awstest"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
)

// A watched engine is one before each of whose calls a function is asked.
type watched struct {
	dynamodb.Engine
	before func(op string) error
}

func (w watched) Call(ctx context.Context, target string, body []byte) (int, []byte, error) {
	_, op, _ := strings.Cut(target, ".")
	if err := w.before(op); err != nil {
		return 0, nil, err
	}
	return w.Engine.Call(ctx, target, body)
}

// A keeper is a service with its engine and backups, called without a server.
type keeper struct {
	*dynamodb.Service
	t      *testing.T
	before func(op string) error // of calls of the engine
}

func newKeeper(t *testing.T) *keeper {
	needEngine(t)
	db, err := store.Open(t.Context(), store.NewMemory(), dynamodb.Tables()...)
	if err != nil {
		t.Fatal(err)
	}
	engines := &dynamodb.Engines{Dir: t.TempDir(), Program: dynamodb.FindProgram()}
	k := &keeper{t: t, before: func(string) error { return nil }}
	k.Service = &dynamodb.Service{DB: db, Backups: t.TempDir(), Engine: func(ctx context.Context, account, region string) (dynamodb.Engine, error) {
		e, err := engines.Engine(ctx, account, region)
		return watched{e, func(op string) error { return k.before(op) }}, err
	}}
	if err := k.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close(); engines.Close(); db.Close() })
	return k
}

// do calls an operation; the answer of the engine comes as text.
func (k *keeper) do(op string, in any) (string, error) {
	c := &service.Call{Account: awstest.DefaultAccount, Region: "us-east-1", State: k.DB.View(), Time: time.Now()}
	out, err := k.AWS().Op(op).Do(k.t.Context(), c, in)
	if err != nil {
		return "", err
	}
	if a, ok := out.(*service.Answer); ok {
		return string(a.Body), nil
	}
	text, err := json.Marshal(out)
	return string(text), err
}

func (k *keeper) must(op string, in any) string {
	k.t.Helper()
	out, err := k.do(op, in)
	if err != nil {
		k.t.Fatalf("%s: %v", op, err)
	}
	return out
}

func (k *keeper) refused(code, op string, in any) {
	k.t.Helper()
	out, err := k.do(op, in)
	if e, ok := errors.AsType[*wire.Error](err); !ok || e.Code != code {
		k.t.Errorf("%s: %s %v, want %s", op, out, err, code)
	}
}

// backedUp makes a table of a hundred items and a backup of it.
func (k *keeper) backedUp() string {
	k.t.Helper()
	k.must("CreateTable", tableOf("music"))
	for i := range 100 {
		k.must("PutItem", &api.PutItemInput{TableName: "music", Item: map[string]api.AttributeValue{"pk": {S: fmt.Sprint(i)}}})
	}
	var out api.CreateBackupOutput
	if err := json.Unmarshal([]byte(k.must("CreateBackup", &api.CreateBackupInput{TableName: "music", BackupName: "all"})), &out); err != nil {
		k.t.Fatal(err)
	}
	return out.BackupDetails.BackupArn
}

func tableOf(name string) *api.CreateTableInput {
	return &api.CreateTableInput{TableName: name, BillingMode: "PAY_PER_REQUEST",
		AttributeDefinitions: []api.AttributeDefinition{{AttributeName: "pk", AttributeType: "S"}},
		KeySchema:            []api.KeySchemaElement{{AttributeName: "pk", KeyType: "HASH"}}}
}

// whole expects a table with the hundred items, which everyone may use.
func (k *keeper) whole(table string) {
	k.t.Helper()
	if out := k.must("Scan", &api.ScanInput{TableName: table, Select: "COUNT"}); !strings.Contains(out, `"Count":100`) {
		k.t.Errorf("the restored table has %s", out)
	}
	if out := k.must("DescribeTable", &api.DescribeTableInput{TableName: table}); !strings.Contains(out, `"TableStatus":"ACTIVE"`) {
		k.t.Errorf("the restored table is described as %s", out)
	}
}

func (k *keeper) files() []string {
	files, err := filepath.Glob(filepath.Join(k.Backups, "*", "*", "*"))
	if err != nil {
		k.t.Fatal(err)
	}
	return files
}

// Half a table is nobody's: while it is filled nobody uses it, and one that cannot be filled
// is not there.
func TestTableThatIsRestoredIsNotUsed(t *testing.T) {
	k := newKeeper(t)
	restore := &api.RestoreTableFromBackupInput{BackupArn: k.backedUp(), TargetTableName: "again"}
	batches := 0
	k.before = func(op string) error {
		if op != "BatchWriteItem" {
			return nil
		}
		if batches++; batches != 2 {
			return nil
		}
		if out, err := k.do("DescribeTable", &api.DescribeTableInput{TableName: "again"}); err != nil || !strings.Contains(out, `"TableStatus":"CREATING"`) {
			t.Errorf("the table is described as %s, %v", out, err)
		}
		k.refused("ResourceNotFoundException", "GetItem", &api.GetItemInput{TableName: "again", Key: map[string]api.AttributeValue{"pk": {S: "1"}}})
		k.refused("ResourceNotFoundException", "Scan", &api.ScanInput{TableName: "arn:aws:dynamodb:us-east-1:" + awstest.DefaultAccount + ":table/again"})
		k.refused("ResourceInUseException", "DeleteTable", &api.DeleteTableInput{TableName: "again"})
		k.refused("ResourceInUseException", "CreateTable", tableOf("again"))
		k.refused("TableInUseException", "RestoreTableFromBackup", restore)
		k.refused("TableInUseException", "CreateBackup", &api.CreateBackupInput{TableName: "again", BackupName: "half"})
		return errors.New("the engine is broken")
	}
	if out := k.must("RestoreTableFromBackup", restore); !strings.Contains(out, `"TableStatus":"CREATING"`) {
		t.Errorf("the restore begins with %s", out)
	}
	dynamodb.Wait(k.Service)
	if batches != 2 {
		t.Errorf("%d batches were written", batches)
	}
	k.refused("ResourceNotFoundException", "DescribeTable", &api.DescribeTableInput{TableName: "again"})
	k.before = func(string) error { return nil }
	k.must("RestoreTableFromBackup", restore)
	dynamodb.Wait(k.Service)
	k.whole("again")
}

// A server that is killed in the middle leaves neither half a table nor half a backup to the
// next, which makes the table from the beginning; if its backup is gone, there is none.
func TestKilledServerLeavesNothingHalf(t *testing.T) {
	k := newKeeper(t)
	backup := k.backedUp()
	stopped, over := make(chan struct{}, 2), make(chan struct{})
	k.before = func(op string) error {
		if op == "BatchWriteItem" {
			stopped <- struct{}{}
			<-over
			return errors.New("killed")
		}
		return nil
	}
	var gone api.CreateBackupOutput
	if err := json.Unmarshal([]byte(k.must("CreateBackup", &api.CreateBackupInput{TableName: "music", BackupName: "gone"})), &gone); err != nil {
		t.Fatal(err)
	}
	k.must("RestoreTableFromBackup", &api.RestoreTableFromBackupInput{BackupArn: backup, TargetTableName: "again"})
	k.must("RestoreTableFromBackup", &api.RestoreTableFromBackupInput{BackupArn: gone.BackupDetails.BackupArn, TargetTableName: "lost"})
	<-stopped
	<-stopped
	k.must("DeleteBackup", &api.DeleteBackupInput{BackupArn: gone.BackupDetails.BackupArn})
	stray := filepath.Join(filepath.Dir(k.files()[0]), "01489602797149-73d8d5bc")
	if err := os.WriteFile(stray, []byte(`{"pk":{"S":"0"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	dynamodb.Stop(k.Service)
	close(over)
	dynamodb.Wait(k.Service)

	k.before = func(string) error { return nil }
	next := &keeper{t: t, Service: &dynamodb.Service{DB: k.DB, Backups: k.Backups, Engine: k.Engine}}
	if err := next.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	dynamodb.Wait(next.Service)
	next.whole("again")
	next.refused("ResourceNotFoundException", "DescribeTable", &api.DescribeTableInput{TableName: "lost"})
	next.must("CreateTable", tableOf("lost"))
	if files := k.files(); len(files) != 1 || files[0] == stray {
		t.Errorf("there are the files %q", files)
	}
	next.must("RestoreTableFromBackup", &api.RestoreTableFromBackupInput{BackupArn: backup, TargetTableName: "once-more"})
	next.Close()
}

// A backup that cannot be read to its end is none, and a file that was changed is not restored.
func TestBackupIsWholeOrNotThere(t *testing.T) {
	k := newKeeper(t)
	backup := k.backedUp()
	k.before = func(op string) error {
		if op == "Scan" {
			return errors.New("the engine is broken")
		}
		return nil
	}
	if _, err := k.do("CreateBackup", &api.CreateBackupInput{TableName: "music", BackupName: "second"}); err == nil {
		t.Error("a backup of what cannot be read was made")
	}
	k.before = func(string) error { return nil }
	if out := k.must("ListBackups", &api.ListBackupsInput{}); strings.Contains(out, "second") || len(k.files()) != 1 {
		t.Errorf("there are %s and %q", out, k.files())
	}
	file, err := os.ReadFile(k.files()[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(k.files()[0], file[:len(file)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := k.do("RestoreTableFromBackup", &api.RestoreTableFromBackupInput{BackupArn: backup, TargetTableName: "again"}); err == nil || !strings.Contains(err.Error(), "is not what was written") {
		t.Errorf("half a file is restored: %v", err)
	}
	k.refused("ResourceNotFoundException", "DescribeTable", &api.DescribeTableInput{TableName: "again"})
	none := &keeper{t: t, Service: &dynamodb.Service{DB: k.DB, Engine: k.Engine}}
	none.refused("NotImplemented", "CreateBackup", &api.CreateBackupInput{TableName: "music", BackupName: "third"})
}
