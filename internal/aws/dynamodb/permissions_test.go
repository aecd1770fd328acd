package dynamodb_test

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/iamd-dev/iamd/internal/aws/dynamodb"
	"github.com/iamd-dev/iamd/internal/awstest"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/sigv4"
)

// Every operation, with the permissions that it takes: whoever has them all is answered as
// the last column says, and whoever lacks one of them is refused for that one. ARNs are
// written from the service on; $NAME is what an earlier answer had: a line "name=PATH".
const permissions = `
CreateTable {"TableName":"music","AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"}],"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}],"BillingMode":"PAY_PER_REQUEST","StreamSpecification":{"StreamEnabled":true,"StreamViewType":"KEYS_ONLY"},"Tags":[{"Key":"a","Value":"b"}],"ResourcePolicy":"{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Deny\",\"Principal\":\"*\",\"Action\":\"dynamodb:PurchaseReservedCapacityOfferings\",\"Resource\":\"arn:aws:dynamodb:us-east-1:123456789012:table/music\"}}"}
	CreateTable us-east-1:123456789012:table/music
	TagResource us-east-1:123456789012:table/music
	PutResourcePolicy us-east-1:123456789012:table/music
	stream=TableDescription.LatestStreamArn
CreateTable {"TableName":"plain","AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"}],"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}],"BillingMode":"PAY_PER_REQUEST"}
	CreateTable us-east-1:123456789012:table/plain
DescribeTable {"TableName":"music"}
	DescribeTable us-east-1:123456789012:table/music
ListTables {}
	ListTables *
UpdateTable {"TableName":"plain","BillingMode":"PAY_PER_REQUEST","DeletionProtectionEnabled":false}
	UpdateTable us-east-1:123456789012:table/plain
DescribeTimeToLive {"TableName":"music"}
	DescribeTimeToLive us-east-1:123456789012:table/music
UpdateTimeToLive {"TableName":"music","TimeToLiveSpecification":{"Enabled":true,"AttributeName":"ttl"}}
	UpdateTimeToLive us-east-1:123456789012:table/music
DescribeLimits {}
	DescribeLimits *
DescribeEndpoints {}
	DescribeEndpoints *
TagResource {"ResourceArn":"arn:aws:dynamodb:us-east-1:123456789012:table/music","Tags":[{"Key":"a","Value":"c"}]}
	TagResource us-east-1:123456789012:table/music
TagResource {"ResourceArn":"$stream","Tags":[{"Key":"a","Value":"c"}]}
	TagResource $stream
UntagResource {"ResourceArn":"arn:aws:dynamodb:us-east-1:123456789012:table/music","TagKeys":["a"]}
	UntagResource us-east-1:123456789012:table/music
ListTagsOfResource {"ResourceArn":"arn:aws:dynamodb:us-east-1:123456789012:table/music"}
	ListTagsOfResource us-east-1:123456789012:table/music
PutResourcePolicy {"ResourceArn":"arn:aws:dynamodb:us-east-1:123456789012:table/music","Policy":"{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Deny\",\"Principal\":\"*\",\"Action\":\"dynamodb:PurchaseReservedCapacityOfferings\",\"Resource\":\"arn:aws:dynamodb:us-east-1:123456789012:table/music\"}}"}
	PutResourcePolicy us-east-1:123456789012:table/music
GetResourcePolicy {"ResourceArn":"arn:aws:dynamodb:us-east-1:123456789012:table/music"}
	GetResourcePolicy us-east-1:123456789012:table/music
DeleteResourcePolicy {"ResourceArn":"arn:aws:dynamodb:us-east-1:123456789012:table/music"}
	DeleteResourcePolicy us-east-1:123456789012:table/music

PutItem {"TableName":"music","Item":{"pk":{"S":"a"}}}
	PutItem us-east-1:123456789012:table/music
GetItem {"TableName":"music","Key":{"pk":{"S":"a"}}}
	GetItem us-east-1:123456789012:table/music
UpdateItem {"TableName":"music","Key":{"pk":{"S":"a"}},"UpdateExpression":"SET n = :n","ExpressionAttributeValues":{":n":{"N":"1"}}}
	UpdateItem us-east-1:123456789012:table/music
DeleteItem {"TableName":"music","Key":{"pk":{"S":"a"}}}
	DeleteItem us-east-1:123456789012:table/music
Query {"TableName":"music","KeyConditionExpression":"pk = :p","ExpressionAttributeValues":{":p":{"S":"a"}}}
	Query us-east-1:123456789012:table/music
Query {"TableName":"music","IndexName":"byname","KeyConditionExpression":"pk = :p","ExpressionAttributeValues":{":p":{"S":"a"}}}
	Query us-east-1:123456789012:table/music/index/byname
	ValidationException
Scan {"TableName":"music"}
	Scan us-east-1:123456789012:table/music
Scan {"TableName":"music","IndexName":"byname"}
	Scan us-east-1:123456789012:table/music/index/byname
	ValidationException
BatchGetItem {"RequestItems":{"music":{"Keys":[{"pk":{"S":"a"}}]},"plain":{"Keys":[{"pk":{"S":"a"}}]}}}
	BatchGetItem us-east-1:123456789012:table/music
	BatchGetItem us-east-1:123456789012:table/plain
BatchWriteItem {"RequestItems":{"music":[{"PutRequest":{"Item":{"pk":{"S":"a"}}}}],"plain":[{"DeleteRequest":{"Key":{"pk":{"S":"a"}}}}]}}
	BatchWriteItem us-east-1:123456789012:table/music
	BatchWriteItem us-east-1:123456789012:table/plain
TransactGetItems {"TransactItems":[{"Get":{"TableName":"music","Key":{"pk":{"S":"a"}}}},{"Get":{"TableName":"plain","Key":{"pk":{"S":"a"}}}}]}
	GetItem us-east-1:123456789012:table/music
	GetItem us-east-1:123456789012:table/plain
TransactWriteItems {"TransactItems":[{"Put":{"TableName":"music","Item":{"pk":{"S":"b"}}}},{"Update":{"TableName":"plain","Key":{"pk":{"S":"b"}},"UpdateExpression":"SET n = :n","ExpressionAttributeValues":{":n":{"N":"1"}}}},{"Delete":{"TableName":"plain","Key":{"pk":{"S":"c"}}}},{"ConditionCheck":{"TableName":"music","Key":{"pk":{"S":"a"}},"ConditionExpression":"attribute_exists(pk)"}}]}
	PutItem us-east-1:123456789012:table/music
	UpdateItem us-east-1:123456789012:table/plain
	DeleteItem us-east-1:123456789012:table/plain
	ConditionCheckItem us-east-1:123456789012:table/music
ExecuteStatement {"Statement":"SELECT * FROM music WHERE pk = 'a'"}
	PartiQLSelect us-east-1:123456789012:table/music
ExecuteStatement {"Statement":"INSERT INTO music VALUE {'pk': 'd'}"}
	PartiQLInsert us-east-1:123456789012:table/music
ExecuteStatement {"Statement":"UPDATE music SET n = 1 WHERE pk = 'd'"}
	PartiQLUpdate us-east-1:123456789012:table/music
ExecuteStatement {"Statement":"DELETE FROM music WHERE pk = 'd'"}
	PartiQLDelete us-east-1:123456789012:table/music
BatchExecuteStatement {"Statements":[{"Statement":"SELECT * FROM music WHERE pk = 'a'"},{"Statement":"SELECT * FROM plain WHERE pk = 'a'"}]}
	PartiQLSelect us-east-1:123456789012:table/music
	PartiQLSelect us-east-1:123456789012:table/plain
ExecuteTransaction {"TransactStatements":[{"Statement":"INSERT INTO music VALUE {'pk': 'e'}"},{"Statement":"UPDATE plain SET n = 1 WHERE pk = 'b'"}]}
	PartiQLInsert us-east-1:123456789012:table/music
	PartiQLUpdate us-east-1:123456789012:table/plain

ListStreams {}
	ListStreams *
DescribeStream {"StreamArn":"$stream"}
	DescribeStream $stream
	shard=StreamDescription.Shards.0.ShardId
GetShardIterator {"StreamArn":"$stream","ShardId":"$shard","ShardIteratorType":"TRIM_HORIZON"}
	GetShardIterator $stream
	iterator=ShardIterator
GetRecords {"ShardIterator":"$iterator"}
	GetRecords $stream

CreateBackup {"TableName":"music","BackupName":"first"}
	CreateBackup us-east-1:123456789012:table/music
	backup=BackupDetails.BackupArn
DescribeBackup {"BackupArn":"$backup"}
	DescribeBackup $backup
ListBackups {}
	ListBackups *
RestoreTableFromBackup {"BackupArn":"$backup","TargetTableName":"again"}
	RestoreTableFromBackup $backup
	BatchWriteItem us-east-1:123456789012:table/again
	DeleteItem us-east-1:123456789012:table/again
	GetItem us-east-1:123456789012:table/again
	PutItem us-east-1:123456789012:table/again
	Query us-east-1:123456789012:table/again
	Scan us-east-1:123456789012:table/again
	UpdateItem us-east-1:123456789012:table/again
DeleteBackup {"BackupArn":"$backup"}
	DeleteBackup $backup
DescribeContinuousBackups {"TableName":"music"}
	DescribeContinuousBackups us-east-1:123456789012:table/music
UpdateContinuousBackups {"TableName":"music","PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":false}}
	UpdateContinuousBackups us-east-1:123456789012:table/music
UpdateContinuousBackups {"TableName":"music","PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":true}}
	UpdateContinuousBackups us-east-1:123456789012:table/music
	NotImplemented
RestoreTableToPointInTime {"SourceTableName":"music","TargetTableName":"again","UseLatestRestorableTime":true}
	RestoreTableToPointInTime us-east-1:123456789012:table/music
	BatchWriteItem us-east-1:123456789012:table/again
	DeleteItem us-east-1:123456789012:table/again
	GetItem us-east-1:123456789012:table/again
	PutItem us-east-1:123456789012:table/again
	Query us-east-1:123456789012:table/again
	Scan us-east-1:123456789012:table/again
	UpdateItem us-east-1:123456789012:table/again
	NotImplemented

CreateGlobalTable {"GlobalTableName":"music","ReplicationGroup":[{"RegionName":"us-east-1"},{"RegionName":"eu-west-1"}]}
	CreateGlobalTable :123456789012:global-table/music
	CreateGlobalTable us-east-1:123456789012:table/music
	CreateGlobalTable eu-west-1:123456789012:table/music
	NotImplemented
UpdateGlobalTable {"GlobalTableName":"music","ReplicaUpdates":[{"Create":{"RegionName":"us-east-1"}},{"Delete":{"RegionName":"eu-west-1"}}]}
	UpdateGlobalTable :123456789012:global-table/music
	UpdateGlobalTable us-east-1:123456789012:table/music
	UpdateGlobalTable eu-west-1:123456789012:table/music
	NotImplemented
UpdateGlobalTableSettings {"GlobalTableName":"music","ReplicaSettingsUpdate":[{"RegionName":"eu-west-1"}]}
	UpdateGlobalTableSettings :123456789012:global-table/music
	UpdateGlobalTableSettings eu-west-1:123456789012:table/music
	NotImplemented
DescribeGlobalTable {"GlobalTableName":"music"}
	DescribeGlobalTable :123456789012:global-table/music
	GlobalTableNotFoundException
DescribeGlobalTableSettings {"GlobalTableName":"music"}
	DescribeGlobalTableSettings :123456789012:global-table/music
	GlobalTableNotFoundException
ListGlobalTables {}
	ListGlobalTables *
DescribeTableReplicaAutoScaling {"TableName":"music"}
	DescribeTableReplicaAutoScaling us-east-1:123456789012:table/music
	NotImplemented
UpdateTableReplicaAutoScaling {"TableName":"music"}
	UpdateTableReplicaAutoScaling us-east-1:123456789012:table/music
	NotImplemented

DescribeContributorInsights {"TableName":"music"}
	DescribeContributorInsights us-east-1:123456789012:table/music
DescribeContributorInsights {"TableName":"music","IndexName":"byname"}
	DescribeContributorInsights us-east-1:123456789012:table/music/index/byname
UpdateContributorInsights {"TableName":"music","ContributorInsightsAction":"DISABLE"}
	UpdateContributorInsights us-east-1:123456789012:table/music
UpdateContributorInsights {"TableName":"music","ContributorInsightsAction":"ENABLE"}
	UpdateContributorInsights us-east-1:123456789012:table/music
	NotImplemented
ListContributorInsights {}
	ListContributorInsights *
DescribeKinesisStreamingDestination {"TableName":"music"}
	DescribeKinesisStreamingDestination us-east-1:123456789012:table/music
EnableKinesisStreamingDestination {"TableName":"music","StreamArn":"arn:aws:kinesis:us-east-1:123456789012:stream/music"}
	EnableKinesisStreamingDestination us-east-1:123456789012:table/music
	NotImplemented
DisableKinesisStreamingDestination {"TableName":"music","StreamArn":"arn:aws:kinesis:us-east-1:123456789012:stream/music"}
	DisableKinesisStreamingDestination us-east-1:123456789012:table/music
	NotImplemented
UpdateKinesisStreamingDestination {"TableName":"music","StreamArn":"arn:aws:kinesis:us-east-1:123456789012:stream/music"}
	UpdateKinesisStreamingDestination us-east-1:123456789012:table/music
	NotImplemented

ExportTableToPointInTime {"TableArn":"arn:aws:dynamodb:us-east-1:123456789012:table/music","S3Bucket":"exports"}
	ExportTableToPointInTime us-east-1:123456789012:table/music
	NotImplemented
DescribeExport {"ExportArn":"arn:aws:dynamodb:us-east-1:123456789012:table/music/export/01234567890123-a1bcd234"}
	DescribeExport us-east-1:123456789012:table/music/export/01234567890123-a1bcd234
	ExportNotFoundException
ListExports {"TableArn":"arn:aws:dynamodb:us-east-1:123456789012:table/music"}
	ListExports us-east-1:123456789012:table/music
ImportTable {"InputFormat":"DYNAMODB_JSON","S3BucketSource":{"S3Bucket":"imports"},"TableCreationParameters":{"TableName":"imported","AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"}],"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}]}}
	ImportTable us-east-1:123456789012:table/imported
	NotImplemented
DescribeImport {"ImportArn":"arn:aws:dynamodb:us-east-1:123456789012:table/music/import/01234567890123-a1bcd234"}
	DescribeImport us-east-1:123456789012:table/music/import/01234567890123-a1bcd234
	ImportNotFoundException
ListImports {"TableArn":"arn:aws:dynamodb:us-east-1:123456789012:table/music"}
	ListImports us-east-1:123456789012:table/music

DeleteTable {"TableName":"music"}
	DeleteTable us-east-1:123456789012:table/music
`

// A permission is an action on a resource.
type permission struct{ Action, Resource string }

type permitted struct {
	op, body  string
	needs     []permission
	set, path string
	code      string // of the error that the permitted get; "" for none
}

func parsePermissions(t *testing.T) []permitted {
	var all []permitted
	for line := range strings.Lines(permissions) {
		line = strings.TrimRight(line, "\n")
		switch {
		case line == "":
		case line[0] != '\t':
			op, body, _ := strings.Cut(line, " ")
			all = append(all, permitted{op: op, body: body})
		default:
			p := &all[len(all)-1]
			line = line[1:]
			if action, resource, ok := strings.Cut(line, " "); ok {
				if resource != "*" && resource[0] != '$' {
					resource = "arn:aws:dynamodb:" + resource
				}
				p.needs = append(p.needs, permission{"dynamodb:" + action, resource})
			} else if name, path, ok := strings.Cut(line, "="); ok {
				p.set, p.path = name, path
			} else {
				p.code = line
			}
		}
	}
	for _, p := range all {
		if len(p.needs) == 0 {
			t.Errorf("%s needs nothing", p.op)
		}
	}
	return all
}

func TestEveryOperationTakesItsPermissions(t *testing.T) {
	needEngine(t)
	all := parsePermissions(t)
	prefix := map[string]string{}
	for _, s := range []*service.Service{(&dynamodb.Service{}).AWS(), (&dynamodb.Service{}).Streams()} {
		for op := range s.Ops {
			prefix[op.Name] = s.Model.TargetPrefix
			if !slices.ContainsFunc(all, func(p permitted) bool { return p.op == op.Name }) {
				t.Errorf("%s is not tried", op.Name)
			}
		}
	}

	s := awstest.Start(t)
	entities := s.IAM(s.Config(s.Root(awstest.DefaultAccount)))
	if _, err := entities.CreateUser(t.Context(), &iam.CreateUserInput{UserName: aws.String("ann")}); err != nil {
		t.Fatal(err)
	}
	key, err := entities.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: aws.String("ann")})
	if err != nil {
		t.Fatal(err)
	}
	signer := sigv4.Signer{AccessKeyID: *key.AccessKey.AccessKeyId, SecretAccessKey: *key.AccessKey.SecretAccessKey, Region: "us-east-1", Service: "dynamodb"}
	// may gives ann these permissions, and no others.
	may := func(needs []permission) {
		t.Helper()
		type statement struct {
			Effect string
			permission
		}
		statements := []statement{{"Allow", permission{"sts:GetCallerIdentity", "*"}}} // a policy says something
		for _, n := range needs {
			statements = append(statements, statement{"Allow", n})
		}
		document, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := entities.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: aws.String("ann"), PolicyName: aws.String("needs"), PolicyDocument: aws.String(string(document))}); err != nil {
			t.Fatal(err)
		}
	}
	call := func(op, body string) (code, message, answer string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Amz-Target", prefix[op]+"."+op)
		r.Header.Set("Content-Type", "application/x-amz-json-1.0")
		signer.Sign(r, sigv4.Hash([]byte(body)), time.Now())
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		var e struct {
			Type    string `json:"__type"`
			Message string
		}
		if err := json.Unmarshal(text, &e); err != nil && len(text) > 0 { // TagResource answers nothing
			t.Fatalf("%s: %s", op, text)
		}
		return e.Type[strings.LastIndexByte(e.Type, '#')+1:], e.Message, string(text)
	}
	var set []string // names and values
	for _, p := range all {
		known := strings.NewReplacer(set...)
		body := known.Replace(p.body)
		var needs []permission
		for _, n := range p.needs {
			needs = append(needs, permission{n.Action, known.Replace(n.Resource)})
		}
		for i, missing := range needs {
			may(append(slices.Clone(needs[:i]), needs[i+1:]...))
			code, message, answer := call(p.op, body)
			if p.op == "BatchExecuteStatement" { // whose statements are refused one by one
				code, message = "AccessDeniedException", answer
			}
			resource := missing.Resource
			if p.op == "ListTables" {
				resource = "arn:aws:dynamodb:us-east-1:123456789012:table/*" // as AWS prints it
			}
			if want := "is not authorized to perform: " + missing.Action + " on resource: " + resource + " because no identity-based policy allows"; !strings.HasSuffix(code, "AccessDeniedException") || !strings.Contains(message, want) {
				t.Errorf("%s without %s on %s: %s %q", p.op, missing.Action, missing.Resource, code, message)
			}
		}
		may(needs)
		code, _, answer := call(p.op, body)
		if code != p.code {
			t.Errorf("%s with all permissions: %s, want %q", p.op, answer, p.code)
			continue
		}
		if p.set == "" {
			continue
		}
		var at any
		if err := json.Unmarshal([]byte(answer), &at); err != nil {
			t.Fatal(err)
		}
		for _, member := range strings.Split(p.path, ".") {
			if list, ok := at.([]any); ok {
				at = list[0]
				continue
			}
			at = at.(map[string]any)[member]
		}
		set = append(set, "$"+p.set, at.(string))
	}
}
