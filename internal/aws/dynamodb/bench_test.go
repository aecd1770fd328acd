package dynamodb_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/iamd-dev/iamd/internal/awstest"
)

// BenchmarkGetItem is GetItem through iamd and its engine, the SDK's own work included.
func BenchmarkGetItem(b *testing.B) {
	needEngine(b)
	s := awstest.Start(b)
	client := s.DynamoDB(s.Config(s.Root(awstest.DefaultAccount)))
	if _, err := client.CreateTable(b.Context(), &dynamodb.CreateTableInput{TableName: aws.String("items"), BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}}}); err != nil {
		b.Fatal(err)
	}
	key := map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: "a"}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.GetItem(b.Context(), &dynamodb.GetItemInput{TableName: aws.String("items"), Key: key}); err != nil {
			b.Fatal(err)
		}
	}
}
