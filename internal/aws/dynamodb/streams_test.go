package dynamodb_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"github.com/aws/smithy-go"

	"github.com/iamd-dev/iamd/internal/awstest"
)

// What an iterator is decided on stands in it for all to see. Whoever writes another stream
// there, on which more is permitted, reads nothing.
func TestIteratorOfOneStreamDoesNotReadAnother(t *testing.T) {
	needEngine(t)
	s := awstest.Start(t)
	cfg := s.Config(s.Root(awstest.DefaultAccount))
	tables, client := s.DynamoDB(cfg), s.DynamoDBStreams(cfg)
	iterators := map[string]string{}
	arns := map[string]string{}
	for _, name := range []string{"private", "public"} {
		out, err := tables.CreateTable(t.Context(), &dynamodb.CreateTableInput{TableName: &name, BillingMode: types.BillingModePayPerRequest,
			AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS}},
			KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}},
			StreamSpecification:  &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewTypeNewImage}})
		if err != nil {
			t.Fatal(err)
		}
		arns[name] = *out.TableDescription.LatestStreamArn
		described, err := client.DescribeStream(t.Context(), &dynamodbstreams.DescribeStreamInput{StreamArn: aws.String(arns[name])})
		if err != nil {
			t.Fatal(err)
		}
		it, err := client.GetShardIterator(t.Context(), &dynamodbstreams.GetShardIteratorInput{StreamArn: aws.String(arns[name]),
			ShardId: described.StreamDescription.Shards[0].ShardId, ShardIteratorType: streamtypes.ShardIteratorTypeTrimHorizon})
		if err != nil {
			t.Fatal(err)
		}
		iterators[name] = *it.ShardIterator
	}
	get := func(iterator string) error {
		_, err := client.GetRecords(t.Context(), &dynamodbstreams.GetRecordsInput{ShardIterator: &iterator})
		return err
	}
	for name, iterator := range iterators {
		if err := get(iterator); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(iterator) > 2048 {
			t.Errorf("the iterator has %d bytes", len(iterator))
		}
	}
	_, sealed, _ := strings.Cut(iterators["private"], "|")
	for _, forged := range []string{arns["public"] + "|" + sealed, arns["public"] + "|1|", arns["public"] + "|1|" + strings.Repeat("A", 100), "|" + sealed, sealed, arns["private"] + "||" + sealed} {
		err := get(forged)
		if e, ok := errors.AsType[smithy.APIError](err); !ok || e.ErrorCode() != "ValidationException" {
			t.Errorf("%q: %v, want a ValidationException", forged, err)
		}
	}
}

// The longest names have iterators that clients take.
func TestIteratorOfLongName(t *testing.T) {
	needEngine(t)
	s := awstest.Start(t)
	cfg := s.Config(s.Root(awstest.DefaultAccount))
	name := strings.Repeat("long.name", 28) + "xyz" // 255
	out, err := s.DynamoDB(cfg).CreateTable(t.Context(), &dynamodb.CreateTableInput{TableName: &name, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}},
		StreamSpecification:  &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewTypeNewImage}})
	if err != nil {
		t.Fatal(err)
	}
	client := s.DynamoDBStreams(cfg)
	described, err := client.DescribeStream(t.Context(), &dynamodbstreams.DescribeStreamInput{StreamArn: out.TableDescription.LatestStreamArn})
	if err != nil {
		t.Fatal(err)
	}
	shard := described.StreamDescription.Shards[0].ShardId
	if n := len(*shard); n < 28 || n > 65 {
		t.Errorf("the shard's id is %s", *shard)
	}
	it, err := client.GetShardIterator(t.Context(), &dynamodbstreams.GetShardIteratorInput{StreamArn: out.TableDescription.LatestStreamArn,
		ShardId: shard, ShardIteratorType: streamtypes.ShardIteratorTypeLatest})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(*it.ShardIterator); n > 2048 {
		t.Errorf("the iterator has %d bytes", n)
	}
	if _, err := client.GetRecords(t.Context(), &dynamodbstreams.GetRecordsInput{ShardIterator: it.ShardIterator}); err != nil {
		t.Error(err)
	}
}
