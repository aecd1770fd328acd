package dynamodb

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/dynamodb/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
)

// On-demand backups are iamd's own, for any engine: the items of a table, read page by page
// through the engine into a file, and what the table was. A backup is there when its record is
// in the store, which comes after the file is whole and on the disk; a file without a
// record is what a server left that was killed, and goes at the next start. A table that is
// being restored is marked in the store before the engine makes it, and nobody uses it until
// it is whole; one that still is at the start is half a table, and is made from the beginning.
//
// CreateBackup is answered when the backup is there. As in AWS, items that are written while
// it is made may be in it or not.

// A Backup is what iamd keeps of a backup beside the file of its items.
type Backup struct {
	Description api.BackupDescription
	Create      api.CreateTableInput // makes the table
	Items       int64
	Sum         string // of the file, SHA-256
}

// A Restore is a table that is being made from a backup.
type Restore struct {
	Backup string // ARN
	Create api.CreateTableInput
}

var backups = store.NewTable[Backup]("dynamodb-backups") // by backupKey

// backupKey is where a backup is kept: account/region/table/id, from its ARN.
func backupKey(a arn.ARN) string { return tableKey(a) + "/" + backupID(a) }

func backupID(a arn.ARN) string {
	_, id, _ := strings.Cut(a.Resource(), "/backup/")
	return id
}

// backupFile is the file of a backup's items, one a line.
func (s *Service) backupFile(a arn.ARN) string {
	return filepath.Join(s.Backups, a.Account(), a.Region(), backupID(a))
}

// errNoBackups is what a server answers that has nowhere to keep backups.
func errNoBackups() error {
	return &wire.Error{Code: "NotImplemented", Status: 501, Message: "iamd keeps no backups in a cluster: they are files of one machine."}
}

// Open removes the files of backups that are not there, which a killed server left, and goes
// on with its restores. It comes before the first call, and Close, which ends what goes on,
// after the last.
func (s *Service) Open(ctx context.Context) error {
	if s.Backups == "" {
		return nil
	}
	if err := os.MkdirAll(s.Backups, 0o700); err != nil { // now, so that it can be hidden from the engines
		return err
	}
	files, err := filepath.Glob(filepath.Join(s.Backups, "*", "*", "*"))
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, b := range backups.All(s.DB.View(), "") {
		known[s.backupFile(arn.ARN(b.Description.BackupDetails.BackupArn))] = true
	}
	for _, file := range files {
		if !known[file] {
			if err := os.Remove(file); err != nil {
				return err
			}
		}
	}
	s.stopping, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	for key, t := range tables.All(s.DB.View(), "") {
		if t.Restoring != nil {
			part := strings.SplitN(key, "/", 3)
			table := arn.New("aws", "dynamodb", part[1], part[0], "table/"+part[2])
			done, _ := s.make(table, true)
			s.restore(table, t.Restoring, done, true)
		}
	}
	return nil
}

// Close stops the restores that go on, and waits for them. The next start makes their tables
// from the beginning.
func (s *Service) Close() {
	if s.stop != nil {
		s.stop()
	}
	s.work.Wait()
}

// restore makes a table whole in the background, and removes one of which that cannot be done.
// again says that what there is of it is left from before.
func (s *Service) restore(table arn.ARN, r *Restore, done func(), again bool) {
	s.work.Go(func() {
		defer done()
		err := s.restored(s.stopping, table, r, again)
		if err != nil && s.stopping.Err() == nil {
			err = errors.Join(err, s.unmake(s.stopping, table))
			if s.Log != nil {
				s.Log.Error("a table could not be restored", "table", string(table), "backup", r.Backup, "error", err)
			}
		}
	})
}

func (s *Service) restored(ctx context.Context, table arn.ARN, r *Restore, again bool) error {
	f, err := s.backupItems(arn.ARN(r.Backup))
	if err != nil {
		return err
	}
	defer f.Close()
	if again {
		if err := s.removed(ctx, table); err != nil {
			return err
		}
		if err := s.create(ctx, table, &r.Create); err != nil {
			return err
		}
	}
	if err := s.fill(ctx, table, f); err != nil {
		return err
	}
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		tables.Put(tx, tableKey(table), &Table{})
		return nil
	})
}

// backupItems opens the file of a backup's items, which is what was written.
func (s *Service) backupItems(a arn.ARN) (*os.File, error) {
	b := backups.Get(s.DB.View(), backupKey(a))
	if b == nil {
		return nil, noBackup(string(a))
	}
	f, err := os.Open(s.backupFile(a))
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	if _, err = io.Copy(sum, f); err == nil && hex.EncodeToString(sum.Sum(nil)) != b.Sum {
		err = fmt.Errorf("the file of backup %s is not what was written", a)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// engineTable is a table as the engine describes it.
func (s *Service) engineTable(ctx context.Context, a arn.ARN) (*api.TableDescription, error) {
	answer, err := s.send(ctx, a.Account(), a.Region(), api.Model, "DescribeTable", wire.AppendJSON(nil, &api.DescribeTableInput{TableName: nameOf(string(a))}, wire.JSONOptions{Wire: true}))
	if err != nil {
		return nil, err
	}
	out := &api.DescribeTableOutput{}
	if err := wire.ReadAnswer(api.Model, renamed(answer.Body, a.Account(), a.Region()), out); err != nil {
		return nil, fmt.Errorf("reading the description of %s: %w", a, err)
	}
	if out.Table == nil {
		return nil, fmt.Errorf("the engine describes %s with nothing", a)
	}
	out.Table.TableArn = string(a)
	return out.Table, nil
}

func (s *Service) createBackup(ctx context.Context, c *service.Call, in *api.CreateBackupInput) (*api.CreateBackupOutput, error) {
	if s.Backups == "" {
		return nil, errNoBackups()
	}
	ctx = context.WithoutCancel(ctx) // who does not wait for the answer has ordered a backup all the same
	table := arn.ARN(tableARN(c, in.TableName))
	if s.isRestoring(table) {
		return nil, api.TableInUse("Table is being created: %s", nameOf(string(table)))
	}
	t, err := s.engineTable(ctx, table)
	if e, ok := err.(*wire.Error); ok && e.Code == "ResourceNotFoundException" {
		return nil, api.TableNotFound("Table not found: %s", nameOf(string(table)))
	}
	if err != nil {
		return nil, err
	}
	var random [4]byte
	rand.Read(random[:])
	a := arn.ARN(fmt.Sprintf("%s/backup/%014d-%x", table, c.Time.UnixMilli(), random))
	b := &Backup{Create: created(t)}
	b.Description.BackupDetails = &api.BackupDetails{BackupArn: string(a), BackupName: in.BackupName, BackupStatus: "AVAILABLE", BackupType: "USER", BackupCreationDateTime: c.Time.UTC()}
	b.Description.SourceTableDetails, b.Description.SourceTableFeatureDetails = sourceOf(t)
	ttl := &api.DescribeTimeToLiveOutput{}
	answer, err := s.send(ctx, table.Account(), table.Region(), api.Model, "DescribeTimeToLive", wire.AppendJSON(nil, &api.DescribeTimeToLiveInput{TableName: t.TableName}, wire.JSONOptions{Wire: true}))
	if err != nil {
		return nil, err
	}
	if err := wire.ReadAnswer(api.Model, answer.Body, ttl); err != nil {
		return nil, err
	}
	b.Description.SourceTableFeatureDetails.TimeToLiveDescription = ttl.TimeToLiveDescription

	file := s.backupFile(a)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, err
	}
	if err := s.writeItems(ctx, table, file, b); err != nil {
		return nil, errors.Join(err, removeFile(file))
	}
	if err := s.DB.Update(ctx, func(tx *store.Tx) error {
		backups.Put(tx, backupKey(a), b)
		return nil
	}); err != nil {
		return nil, errors.Join(err, removeFile(file))
	}
	return &api.CreateBackupOutput{BackupDetails: b.Description.BackupDetails}, nil
}

func removeFile(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// created makes the table again that is described. Its stream, its expiry, its tags and its
// policy are not restored (Developer Guide, "Restoring a table from a backup").
func created(t *api.TableDescription) api.CreateTableInput {
	in := api.CreateTableInput{AttributeDefinitions: t.AttributeDefinitions, KeySchema: t.KeySchema, OnDemandThroughput: t.OnDemandThroughput,
		BillingMode: "PROVISIONED", ProvisionedThroughput: throughput(t.ProvisionedThroughput)}
	if t.BillingModeSummary != nil && t.BillingModeSummary.BillingMode != "" {
		in.BillingMode = t.BillingModeSummary.BillingMode
	}
	if t.TableClassSummary != nil {
		in.TableClass = t.TableClassSummary.TableClass
	}
	if t.SSEDescription != nil && t.SSEDescription.SSEType != "" {
		in.SSESpecification = &api.SSESpecification{Enabled: true, SSEType: t.SSEDescription.SSEType, KMSMasterKeyId: t.SSEDescription.KMSMasterKeyArn}
	}
	for _, x := range t.LocalSecondaryIndexes {
		index := api.LocalSecondaryIndex{IndexName: x.IndexName, KeySchema: x.KeySchema}
		if x.Projection != nil {
			index.Projection = *x.Projection
		}
		in.LocalSecondaryIndexes = append(in.LocalSecondaryIndexes, index)
	}
	for _, x := range t.GlobalSecondaryIndexes {
		in.GlobalSecondaryIndexes = append(in.GlobalSecondaryIndexes, api.GlobalSecondaryIndex{IndexName: x.IndexName, KeySchema: x.KeySchema, Projection: x.Projection,
			ProvisionedThroughput: throughput(x.ProvisionedThroughput), OnDemandThroughput: x.OnDemandThroughput})
	}
	return in
}

// throughput is what a table or index is provisioned with; nil where calls are paid for one by one.
func throughput(d *api.ProvisionedThroughputDescription) *api.ProvisionedThroughput {
	if d == nil || d.ReadCapacityUnits == 0 && d.WriteCapacityUnits == 0 {
		return nil
	}
	return &api.ProvisionedThroughput{ReadCapacityUnits: d.ReadCapacityUnits, WriteCapacityUnits: d.WriteCapacityUnits}
}

// sourceOf is what a backup tells of its table.
func sourceOf(t *api.TableDescription) (*api.SourceTableDetails, *api.SourceTableFeatureDetails) {
	in := created(t)
	details := &api.SourceTableDetails{TableName: t.TableName, TableId: t.TableId, TableArn: t.TableArn, TableSizeBytes: t.TableSizeBytes, KeySchema: t.KeySchema,
		TableCreationDateTime: t.CreationDateTime, ProvisionedThroughput: &api.ProvisionedThroughput{}, OnDemandThroughput: t.OnDemandThroughput, BillingMode: in.BillingMode}
	if in.ProvisionedThroughput != nil {
		details.ProvisionedThroughput = in.ProvisionedThroughput
	}
	features := &api.SourceTableFeatureDetails{StreamDescription: t.StreamSpecification, SSEDescription: t.SSEDescription}
	for _, x := range in.LocalSecondaryIndexes {
		features.LocalSecondaryIndexes = append(features.LocalSecondaryIndexes, api.LocalSecondaryIndexInfo{IndexName: x.IndexName, KeySchema: x.KeySchema, Projection: &x.Projection})
	}
	for _, x := range in.GlobalSecondaryIndexes {
		features.GlobalSecondaryIndexes = append(features.GlobalSecondaryIndexes, api.GlobalSecondaryIndexInfo{IndexName: x.IndexName, KeySchema: x.KeySchema, Projection: x.Projection,
			ProvisionedThroughput: x.ProvisionedThroughput, OnDemandThroughput: x.OnDemandThroughput})
	}
	return details, features
}

// writeItems reads a table's items into a file, which is on the disk when it returns.
func (s *Service) writeItems(ctx context.Context, table arn.ARN, file string, b *Backup) (err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	w := bufio.NewWriter(io.MultiWriter(f, sum))
	scan := map[string]json.RawMessage{"ConsistentRead": json.RawMessage("true")}
	scan["TableName"], _ = json.Marshal(nameOf(string(table)))
	for {
		body, err := json.Marshal(scan)
		if err != nil {
			return err
		}
		answer, err := s.send(ctx, table.Account(), table.Region(), api.Model, "Scan", body)
		if err != nil {
			return err
		}
		var page struct {
			Items            []json.RawMessage
			LastEvaluatedKey json.RawMessage
		}
		if err := json.Unmarshal(answer.Body, &page); err != nil {
			return fmt.Errorf("reading the items of %s: %w", table, err)
		}
		for _, item := range page.Items {
			line, err := json.Marshal(item) // on one line
			if err != nil {
				return err
			}
			w.Write(line)
			if err := w.WriteByte('\n'); err != nil {
				return err
			}
			b.Items++
		}
		if len(page.LastEvaluatedKey) == 0 || string(page.LastEvaluatedKey) == "null" {
			break
		}
		scan["ExclusiveStartKey"] = page.LastEvaluatedKey
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	b.Sum = hex.EncodeToString(sum.Sum(nil))
	b.Description.BackupDetails.BackupSizeBytes = info.Size()
	b.Description.SourceTableDetails.ItemCount = b.Items
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func noBackup(arn string) error { return api.BackupNotFound("Backup not found: %s", arn) }

func (s *Service) describeBackup(_ context.Context, c *service.Call, in *api.DescribeBackupInput) (*api.DescribeBackupOutput, error) {
	b := backups.Get(c.State, backupKey(arn.ARN(in.BackupArn)))
	if b == nil {
		return nil, noBackup(in.BackupArn)
	}
	return &api.DescribeBackupOutput{BackupDescription: &b.Description}, nil
}

func (s *Service) deleteBackup(ctx context.Context, _ *service.Call, in *api.DeleteBackupInput) (*api.DeleteBackupOutput, error) {
	a := arn.ARN(in.BackupArn)
	var b *Backup
	if err := s.DB.Update(ctx, func(tx *store.Tx) error {
		if b = backups.Get(tx, backupKey(a)); b == nil {
			return noBackup(in.BackupArn)
		}
		backups.Delete(tx, backupKey(a))
		return nil
	}); err != nil {
		return nil, err
	}
	b.Description.BackupDetails.BackupStatus = "DELETED"
	return &api.DeleteBackupOutput{BackupDescription: &b.Description}, removeFile(s.backupFile(a))
}

const mostBackups = 100 // in one answer

func (s *Service) listBackups(_ context.Context, c *service.Call, in *api.ListBackupsInput) (*api.ListBackupsOutput, error) {
	out := &api.ListBackupsOutput{BackupSummaries: []api.BackupSummary{}}
	prefix, after := c.Account+"/"+c.Region+"/", ""
	if in.TableName != "" {
		a := arn.ARN(tableARN(c, in.TableName))
		if a.Account() != c.Account {
			return out, nil
		}
		prefix = tableKey(a) + "/"
	}
	if in.ExclusiveStartBackupArn != "" {
		after = backupKey(arn.ARN(in.ExclusiveStartBackupArn))
	}
	if in.BackupType != "" && in.BackupType != "USER" && in.BackupType != "ALL" {
		return out, nil
	}
	limit := mostBackups
	if in.Limit != nil {
		limit = int(*in.Limit)
	}
	for _, b := range backups.From(c.State, prefix, after) {
		d, t := b.Description.BackupDetails, b.Description.SourceTableDetails
		at := d.BackupCreationDateTime
		if !in.TimeRangeLowerBound.IsZero() && at.Before(in.TimeRangeLowerBound) || !in.TimeRangeUpperBound.IsZero() && !at.Before(in.TimeRangeUpperBound) {
			continue
		}
		if len(out.BackupSummaries) == limit {
			out.LastEvaluatedBackupArn = out.BackupSummaries[limit-1].BackupArn
			break
		}
		out.BackupSummaries = append(out.BackupSummaries, api.BackupSummary{TableName: t.TableName, TableId: t.TableId, TableArn: t.TableArn, BackupArn: d.BackupArn, BackupName: d.BackupName,
			BackupCreationDateTime: at, BackupStatus: d.BackupStatus, BackupType: d.BackupType, BackupSizeBytes: d.BackupSizeBytes})
	}
	return out, nil
}

// restoreTableFromBackup makes a table, which is filled in the background.
func (s *Service) restoreTableFromBackup(ctx context.Context, c *service.Call, in *api.RestoreTableFromBackupInput) (*api.RestoreTableFromBackupOutput, error) {
	if s.Backups == "" {
		return nil, errNoBackups()
	}
	ctx = context.WithoutCancel(ctx)
	from := arn.ARN(in.BackupArn)
	b := backups.Get(c.State, backupKey(from))
	if b == nil || from.Account() != c.Account {
		return nil, noBackup(in.BackupArn)
	}
	create, err := restoredAs(b, in)
	if err != nil {
		return nil, err
	}
	f, err := s.backupItems(from)
	if err != nil {
		return nil, err
	}
	f.Close()
	target := arn.ARN(tableARN(c, in.TargetTableName))
	done, ok := s.make(target, true)
	if !ok {
		return nil, api.TableInUse("Table is being created: %s", in.TargetTableName)
	}
	r := &Restore{Backup: in.BackupArn, Create: *create}
	t, err := s.begin(ctx, target, r)
	if err != nil {
		done()
		return nil, err
	}
	s.restore(target, r, done, false)
	t.TableStatus = "CREATING"
	t.RestoreSummary = &api.RestoreSummary{SourceBackupArn: in.BackupArn, SourceTableArn: b.Description.SourceTableDetails.TableArn, RestoreDateTime: c.Time.UTC(), RestoreInProgress: true}
	return &api.RestoreTableFromBackupOutput{TableDescription: t}, nil
}

// begin marks a table that is to be restored, and makes it, empty.
func (s *Service) begin(ctx context.Context, target arn.ARN, r *Restore) (*api.TableDescription, error) {
	if there, err := s.exists(ctx, target); err != nil {
		return nil, err
	} else if there {
		return nil, api.TableAlreadyExists("Table already exists: %s", r.Create.TableName)
	}
	if err := s.DB.Update(ctx, func(tx *store.Tx) error {
		tables.Put(tx, tableKey(target), &Table{Restoring: r})
		return nil
	}); err != nil {
		return nil, err
	}
	err := s.create(ctx, target, &r.Create)
	if err == nil {
		var t *api.TableDescription
		if t, err = s.engineTable(ctx, target); err == nil {
			return t, nil
		}
	}
	return nil, errors.Join(err, s.unmake(ctx, target))
}

// restoredAs makes the table of a backup as the caller wants it.
func restoredAs(b *Backup, in *api.RestoreTableFromBackupInput) (*api.CreateTableInput, error) {
	create := b.Create
	create.TableName = in.TargetTableName
	type index struct {
		name string
		keys []api.KeySchemaElement
	}
	known := func(all []index, x index) error {
		if !slices.ContainsFunc(all, func(y index) bool { return y.name == x.name && slices.Equal(y.keys, x.keys) }) {
			return api.Validation("One or more parameter values were invalid: Index %s is not one of the backup", x.name)
		}
		return nil
	}
	if in.LocalSecondaryIndexOverride != nil {
		var all []index
		for _, x := range create.LocalSecondaryIndexes {
			all = append(all, index{x.IndexName, x.KeySchema})
		}
		for _, x := range in.LocalSecondaryIndexOverride {
			if err := known(all, index{x.IndexName, x.KeySchema}); err != nil {
				return nil, err
			}
		}
		create.LocalSecondaryIndexes = append([]api.LocalSecondaryIndex(nil), in.LocalSecondaryIndexOverride...) // nil for none
	}
	if in.GlobalSecondaryIndexOverride != nil {
		var all []index
		for _, x := range create.GlobalSecondaryIndexes {
			all = append(all, index{x.IndexName, x.KeySchema})
		}
		for _, x := range in.GlobalSecondaryIndexOverride {
			if err := known(all, index{x.IndexName, x.KeySchema}); err != nil {
				return nil, err
			}
		}
		create.GlobalSecondaryIndexes = append([]api.GlobalSecondaryIndex(nil), in.GlobalSecondaryIndexOverride...)
	}
	if in.BillingModeOverride != "" {
		create.BillingMode = in.BillingModeOverride
	}
	if in.ProvisionedThroughputOverride != nil {
		create.ProvisionedThroughput = in.ProvisionedThroughputOverride
	}
	if in.OnDemandThroughputOverride != nil {
		create.OnDemandThroughput = in.OnDemandThroughputOverride
	}
	if in.SSESpecificationOverride != nil {
		create.SSESpecification = in.SSESpecificationOverride
	}
	if create.BillingMode == "PAY_PER_REQUEST" {
		create.ProvisionedThroughput = nil
		create.GlobalSecondaryIndexes = slices.Clone(create.GlobalSecondaryIndexes)
		for i := range create.GlobalSecondaryIndexes {
			create.GlobalSecondaryIndexes[i].ProvisionedThroughput = nil
		}
	}
	used := map[string]bool{} // an attribute of an index that is left out is not to be defined
	keys := func(schema []api.KeySchemaElement) {
		for _, k := range schema {
			used[k.AttributeName] = true
		}
	}
	keys(create.KeySchema)
	for _, x := range create.LocalSecondaryIndexes {
		keys(x.KeySchema)
	}
	for _, x := range create.GlobalSecondaryIndexes {
		keys(x.KeySchema)
	}
	create.AttributeDefinitions = slices.DeleteFunc(slices.Clone(create.AttributeDefinitions), func(d api.AttributeDefinition) bool { return !used[d.AttributeName] })
	return &create, nil
}

const (
	batchSize   = 25               // items of BatchWriteItem
	tableWait   = time.Minute      // longest that an engine may take to make a table
	batchWait   = 10 * time.Second // longest that it may leave items unwritten
	restorePoll = 20 * time.Millisecond
)

// create has the engine make a table.
func (s *Service) create(ctx context.Context, table arn.ARN, in *api.CreateTableInput) error {
	_, err := s.send(ctx, table.Account(), table.Region(), api.Model, "CreateTable", wire.AppendJSON(nil, in, wire.JSONOptions{Wire: true}))
	return err
}

// fill writes the items of a backup into a table, when that is there.
func (s *Service) fill(ctx context.Context, table arn.ARN, items io.Reader) error {
	for deadline := time.Now().Add(tableWait); ; time.Sleep(restorePoll) {
		t, err := s.engineTable(ctx, table)
		if err != nil {
			return err
		}
		if t.TableStatus == "ACTIVE" {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not there after %s", table, tableWait)
		}
	}
	in := bufio.NewReader(items)
	var batch []json.RawMessage
	for {
		line, err := in.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return err
		}
		if len(line) > 0 {
			batch = append(batch, json.RawMessage(`{"PutRequest":{"Item":`+strings.TrimSuffix(string(line), "\n")+`}}`))
		}
		if len(batch) == batchSize || err == io.EOF && len(batch) > 0 {
			if err := s.write(ctx, table, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
		if err == io.EOF {
			return nil
		}
	}
}

// write has the engine write all items of a batch.
func (s *Service) write(ctx context.Context, table arn.ARN, batch []json.RawMessage) error {
	name := nameOf(string(table))
	for deadline := time.Now().Add(batchWait); ; time.Sleep(restorePoll) {
		body, err := json.Marshal(map[string]any{"RequestItems": map[string]any{name: batch}})
		if err != nil {
			return err
		}
		answer, err := s.send(ctx, table.Account(), table.Region(), api.Model, "BatchWriteItem", body)
		if err != nil {
			return err
		}
		var out struct{ UnprocessedItems map[string][]json.RawMessage }
		if err := json.Unmarshal(answer.Body, &out); err != nil {
			return err
		}
		if batch = out.UnprocessedItems[name]; len(batch) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the engine leaves items of %s unwritten", table)
		}
	}
}

// unmake removes a table that is not wholly restored.
func (s *Service) unmake(ctx context.Context, table arn.ARN) error {
	if err := s.removed(ctx, table); err != nil {
		return err
	}
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		tables.Delete(tx, tableKey(table))
		return nil
	})
}

// removed has the engine delete a table, if it is there.
func (s *Service) removed(ctx context.Context, table arn.ARN) error {
	_, err := s.send(ctx, table.Account(), table.Region(), api.Model, "DeleteTable", wire.AppendJSON(nil, &api.DeleteTableInput{TableName: nameOf(string(table))}, wire.JSONOptions{Wire: true}))
	if e, ok := err.(*wire.Error); ok && e.Code == "ResourceNotFoundException" {
		return nil
	}
	return err
}

// make begins to make a table, which only one call does at a time; done ends it. While one is
// restored, nobody else uses it.
func (s *Service) make(table arn.ARN, restored bool) (done func(), ok bool) {
	key := tableKey(table)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, busy := s.making[key]; busy {
		return nil, false
	}
	if s.making == nil {
		s.making = map[string]bool{}
	}
	s.making[key] = restored
	if restored {
		s.restores.Add(1)
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.making, key)
		if restored {
			s.restores.Add(-1)
		}
	}, true
}

// isRestoring reports whether a table is being restored.
func (s *Service) isRestoring(table arn.ARN) bool {
	if s.restores.Load() == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.making[tableKey(table)]
}
