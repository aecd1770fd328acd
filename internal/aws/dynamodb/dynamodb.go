// Package dynamodb is Amazon DynamoDB as iamd guards it: every call is authenticated,
// decided on and recorded here, by AWS's actions, resources and condition keys, and
// carried out by an engine that somebody else wrote.
//
//	s := &dynamodb.Service{DB: db, Engine: engines.Engine, Keyring: keyring, Backups: dir}
//	table := s.AWS()
//
// An engine answers for one account and region. It is dynoxide, which iamd starts and
// keeps to itself (see Engines). What passes through is passed through as it is:
// the bytes that the caller signed go to the engine, and the engine's to the caller,
// but for table names given as ARNs and ARNs in the answers of control operations,
// which name the engine's account.
//
// iamd itself keeps what decisions need: the tags and resource-based policies of tables and streams.
//
// On-demand backups are iamd's own (backups.go), and so are the answers to what an engine does
// not know of (ours.go). DynamoDB Streams is a service of its own beside it (streams.go).
//
// # Conditions
//
// dynamodb:LeadingKeys and dynamodb:Attributes are read from items, keys and expressions,
// when a policy asks for them. What cannot be read has a value that no policy can name, so
// that an Allow does not match by it. See keys.go. Calls that concern several items (batches,
// transactions, PartiQL) are decided for each table or statement, before any of them is done;
// but of a batch of statements those that are permitted are done, and the others answered
// as refused.
package dynamodb

import (
	"context"
	_ "embed"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/dynamodb/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
	"github.com/iamd-dev/iamd/policy"
)

// A Service is DynamoDB.
type Service struct {
	DB *store.DB
	// Engine returns who keeps the tables of an account in a region. Its error is the
	// caller's answer: an AWS error that says what to install.
	Engine func(ctx context.Context, account, region string) (Engine, error)
	// Keyring seals the iterators of streams.
	Keyring *identity.Keyring
	// Backups is the directory of the files of backups; "": there are none.
	Backups string
	Log     *slog.Logger // nil: nothing is logged

	mu       sync.Mutex
	making   map[string]bool // tables that are being made, by key, and whether they are restored
	restores atomic.Int32    // how many of them are
	work     sync.WaitGroup  // restores that go on
	stop     context.CancelFunc
	stopping context.Context // of what goes on; nil before Open
}

//go:embed declined.txt
var declined string

// AWS returns the service's operations.
func (s *Service) AWS() *service.Service {
	action, also, tags := service.Action, service.Also, service.Tags
	byARN := func(template string) service.Resource { return service.ARN(template) }
	globalTable := byARN("arn:aws:dynamodb::{account}:global-table/{GlobalTableName}")
	tables := service.On(func(c *service.Call, _ *api.ListTablesInput) []service.Target {
		return []service.Target{{ARN: "*", Text: tableARN(c, "*")}}
	})

	t := service.New(api.Model, declined,
		//             operation                              on              and
		handle(s.createTable, table[api.CreateTableInput](), tags("Tags"),
			also("dynamodb:TagResource", nil, service.When("Tags"), tags("Tags")),
			also("dynamodb:PutResourcePolicy", nil, service.When("ResourcePolicy"))),
		guard[api.DescribeTableInput](s, table[api.DescribeTableInput]()),
		guard[api.ListTablesInput](s, tables),
		handle(s.updateTable, table[api.UpdateTableInput]()),
		handle(s.deleteTable, table[api.DeleteTableInput]()),
		guard[api.DescribeTimeToLiveInput](s, table[api.DescribeTimeToLiveInput]()),
		guard[api.UpdateTimeToLiveInput](s, table[api.UpdateTimeToLiveInput]()),
		ours(s, s.describeLimits, service.Any),
		ours(s, s.describeEndpoints, service.Any),

		handle(s.tagResource, resource[api.TagResourceInput](), tags("Tags")),
		handle(s.untagResource, resource[api.UntagResourceInput](), tags("TagKeys")),
		handle(s.listTagsOfResource, resource[api.ListTagsOfResourceInput]()),
		handle(s.putResourcePolicy, resource[api.PutResourcePolicyInput]()),
		handle(s.getResourcePolicy, resource[api.GetResourcePolicyInput]()),
		handle(s.deleteResourcePolicy, resource[api.DeleteResourcePolicyInput]()),

		guard[api.GetItemInput](s, table[api.GetItemInput](), service.Data),
		guard[api.PutItemInput](s, table[api.PutItemInput](), service.Data),
		guard[api.UpdateItemInput](s, table[api.UpdateItemInput](), service.Data),
		guard[api.DeleteItemInput](s, table[api.DeleteItemInput](), service.Data),
		guard[api.QueryInput](s, tableOrIndex[api.QueryInput](), service.Data),
		guard[api.ScanInput](s, tableOrIndex[api.ScanInput](), service.Data),

		each(s, batchGet),
		each(s, batchWrite),
		each(s, transactGet, action("dynamodb:GetItem")),
		each(s, transactWrite, action("dynamodb:PutItem")),
		each(s, statement, action("dynamodb:PartiQLSelect")),
		handle(s.batchExecuteStatement, service.On(func(*service.Call, *api.BatchExecuteStatementInput) []service.Target { return nil }),
			action("dynamodb:PartiQLSelect"), service.PerItem, service.Data),
		each(s, transaction, action("dynamodb:PartiQLSelect")),

		ours(s, s.describeContinuousBackups, table[api.DescribeContinuousBackupsInput]()),
		ours(s, s.updateContinuousBackups, table[api.UpdateContinuousBackupsInput]()),
		decline[api.RestoreTableToPointInTimeInput](sourceTable, restored[api.RestoreTableToPointInTimeInput]()...),
		handle(s.createBackup, table[api.CreateBackupInput]()),
		handle(s.describeBackup, byARN("{BackupArn}")),
		handle(s.deleteBackup, byARN("{BackupArn}")),
		handle(s.listBackups, service.Any),
		handle(s.restoreTableFromBackup, byARN("{BackupArn}"), restored[api.RestoreTableFromBackupInput]()...),

		ours(s, s.describeGlobalTable, globalTable),
		ours(s, s.describeGlobalTableSettings, globalTable),
		ours(s, s.listGlobalTables, service.Any),
		decline[api.CreateGlobalTableInput](replicas(func(in *api.CreateGlobalTableInput) (string, []string) {
			return in.GlobalTableName, regions(in.ReplicationGroup, func(r api.Replica) string { return r.RegionName })
		})),
		decline[api.UpdateGlobalTableInput](replicas(func(in *api.UpdateGlobalTableInput) (string, []string) {
			return in.GlobalTableName, regions(in.ReplicaUpdates, updated)
		})),
		decline[api.UpdateGlobalTableSettingsInput](replicas(func(in *api.UpdateGlobalTableSettingsInput) (string, []string) {
			return in.GlobalTableName, regions(in.ReplicaSettingsUpdate, func(r api.ReplicaSettingsUpdate) string { return r.RegionName })
		})),
		decline[api.DescribeTableReplicaAutoScalingInput](table[api.DescribeTableReplicaAutoScalingInput]()),
		decline[api.UpdateTableReplicaAutoScalingInput](table[api.UpdateTableReplicaAutoScalingInput]()),

		ours(s, s.describeContributorInsights, tableOrIndex[api.DescribeContributorInsightsInput]()),
		ours(s, s.updateContributorInsights, tableOrIndex[api.UpdateContributorInsightsInput]()),
		ours(s, s.listContributorInsights, service.Any),

		ours(s, s.describeKinesisStreamingDestination, table[api.DescribeKinesisStreamingDestinationInput]()),
		decline[api.EnableKinesisStreamingDestinationInput](table[api.EnableKinesisStreamingDestinationInput]()),
		decline[api.DisableKinesisStreamingDestinationInput](table[api.DisableKinesisStreamingDestinationInput]()),
		decline[api.UpdateKinesisStreamingDestinationInput](table[api.UpdateKinesisStreamingDestinationInput]()),

		ours(s, s.describeExport, byARN("{ExportArn}")),
		ours(s, s.listExports, anyTable[api.ListExportsInput]()),
		decline[api.ExportTableToPointInTimeInput](byARN("{TableArn}")),
		ours(s, s.describeImport, byARN("{ImportArn}")),
		ours(s, s.listImports, anyTable[api.ListImportsInput]()),
		decline[api.ImportTableInput](service.On(func(c *service.Call, in *api.ImportTableInput) []service.Target {
			return []service.Target{{ARN: arn.ARN(tableARN(c, in.TableCreationParameters.TableName))}}
		})),
	)
	t.Object, t.Key, t.MaxBody = objectOf, s.key, maxBody
	return t
}

// maxBody is the largest request: 16 MB of items in BatchWriteItem, as JSON.
const maxBody = 24 << 20

// handle is the row of a handler here.
func handle[In, Out any](f func(context.Context, *service.Call, *In) (*Out, error), on service.Resource, clauses ...service.Clause) service.Row {
	return service.Handle(f, on, append(clauses, whole[In]())...)
}

// decline is the row of an operation that is decided and not carried out.
func decline[In any](on service.Resource, clauses ...service.Clause) service.Row {
	return service.Decline[In](on, append(clauses, whole[In]())...)
}

// ours is a row that the engine carries out if it knows the operation. Of an engine that
// does not know it, f says what is true.
func ours[In, Out any](s *Service, f func(context.Context, *service.Call, *In) (*Out, error), on service.Resource, clauses ...service.Clause) service.Row {
	name := operation[In]()
	return handle(func(ctx context.Context, c *service.Call, in *In) (*service.Answer, error) {
		answer, err := s.pass(ctx, c, name, in)
		if e, ok := err.(*wire.Error); !ok || e.Code != "UnknownOperationException" {
			return answer, err
		}
		out, err := f(ctx, c, in)
		if err != nil {
			return nil, err
		}
		return answered(out), nil
	}, on, clauses...)
}

// guard is a row that the engine carries out.
func guard[In any](s *Service, on service.Resource, clauses ...service.Clause) service.Row {
	return service.Guard[In](s.pass, on, append(clauses, whole[In]())...)
}

// whole, in every row, refuses what a call names as a table and is none, before it is decided on.
func whole[In any]() service.Clause {
	return service.Before(func(c *service.Call, in *In) error {
		_, _, err := owner(c, in)
		return err
	})
}

// each is the row of a call that is decided part by part: the accesses that it makes are asked
// for one after another, and the whole is passed on when all are permitted.
func each[In any](s *Service, accesses func(*service.Call, *In) ([]access, error), clauses ...service.Clause) service.Row {
	name := operation[In]()
	handler := func(ctx context.Context, c *service.Call, in *In) (*service.Answer, error) {
		all, err := accesses(c, in)
		if err != nil {
			return nil, err
		}
		if len(all) == 0 {
			return nil, nothing(name)
		}
		for i := range all {
			if err := c.Authorize(all[i].action, all[i].resource(), s.pairs(ctx, c, &all[i])...); err != nil {
				return nil, err
			}
		}
		return s.pass(ctx, c, name, in)
	}
	none := service.On(func(*service.Call, *In) []service.Target { return nil })
	return handle(handler, none, append(clauses, service.PerItem, service.Data)...)
}

// nothing refuses a call without parts.
func nothing(op string) error {
	return api.Validation("1 validation error detected: Value null at '%s' failed to satisfy constraint: Member must not be null", part[op])
}

// part is the member that holds the parts of a call.
var part = map[string]string{
	"BatchGetItem": "requestItems", "BatchWriteItem": "requestItems",
	"TransactGetItems": "transactItems", "TransactWriteItems": "transactItems",
	"ExecuteStatement": "statement", "BatchExecuteStatement": "statements", "ExecuteTransaction": "transactStatements",
}

// tableARN is the ARN of a table: of one that is given by name in the caller's account and region.
func tableARN(c *service.Call, nameOrARN string) string {
	if strings.HasPrefix(nameOrARN, "arn:") {
		return nameOrARN
	}
	return string(arn.New("aws", "dynamodb", c.Region, c.Account, "table/"+nameOrARN))
}

// objectOf is what authorisation may know of a table or a stream; of an index, its table's.
func objectOf(state *store.Snapshot, _ policy.Action, a arn.ARN) service.Object {
	t := tables.Get(state, tableKey(a))
	if t == nil {
		return service.Object{}
	}
	o := service.Tagged(t.tags(a), func(tag api.Tag) (string, string) { return tag.Key, tag.Value })
	o.Policy = t.policy(a).Document
	return o
}
