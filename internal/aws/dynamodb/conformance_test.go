package dynamodb_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/dynamodb"
	"github.com/iamd-dev/iamd/internal/awstest"
	"github.com/iamd-dev/iamd/internal/sigv4"
)

// Calls that are permitted get the engine's answers: what the engine does as AWS does, with
// right and wrong input alike, comes out so. Members are in no order. Each line is an operation and a body.
const calls = `
CreateTable {"TableName":"music","AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"},{"AttributeName":"sk","AttributeType":"N"}],"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"sk","KeyType":"RANGE"}],"BillingMode":"PAY_PER_REQUEST"}
CreateTable {"TableName":"music","AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"}],"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}],"BillingMode":"PAY_PER_REQUEST"}
CreateTable {"TableName":"x"}
CreateTable {}
DescribeTable {"TableName":"music"}
DescribeTable {"TableName":"no"}
DescribeTable {"TableName":"nope"}
ListTables {}
ListTables {"Limit":0}
PutItem {"TableName":"music","Item":{"pk":{"S":"a"},"sk":{"N":"1"},"b":{"B":"aGVsbG8="},"l":{"L":[{"S":""},{"NULL":true},{"BOOL":false}]},"m":{"M":{"x":{"SS":["a","b"]}}}}}
PutItem {"TableName":"music","Item":{"pk":{"S":"a"},"sk":{"N":"2.50"},"u":{"S":"\u00e9\ud83d\ude00 arn:aws:dynamodb:dynoxide:000000000000:table/music"}},"ReturnValues":"ALL_OLD"}
PutItem {"TableName":"music","Item":{"pk":{"S":""},"sk":{"N":"1"}}}
PutItem {"TableName":"music","Item":{"pk":{"S":"a"},"sk":{"N":"x"}}}
PutItem {"TableName":"music","Item":{"pk":{"S":"a","N":"1"},"sk":{"N":"1"}}}
PutItem {"TableName":"music","Item":{"pk":{"S":"a"},"sk":{"N":"1"}},"ConditionExpression":"attribute_not_exists(pk)"}
PutItem {"TableName":"music","Item":{"pk":{"S":"a"},"sk":{"N":"1"}},"ConditionExpression":"attribute_not_exists(pk"}
PutItem {"TableName":"music","Item":{"pk":{"S":"a"}}}
PutItem {"TableName":"music"}
GetItem {"TableName":"music","Key":{"pk":{"S":"a"},"sk":{"N":"1"}}}
GetItem {"TableName":"music","Key":{"pk":{"S":"a"},"sk":{"N":"2.5"}},"ReturnConsumedCapacity":"TOTAL"}
GetItem {"TableName":"music","Key":{"pk":{"S":"b"},"sk":{"N":"1"}}}
GetItem {"TableName":"music","Key":{"pk":{"S":"a"}}}
GetItem {"TableName":"music","Key":{"pk":{"S":"a"},"sk":{"N":"1"}},"ProjectionExpression":"m.x, #b","ExpressionAttributeNames":{"#b":"b"}}
GetItem {"TableName":"music","Key":{"pk":{"S":"a"},"sk":{"N":"1"}},"ProjectionExpression":"#n"}
UpdateItem {"TableName":"music","Key":{"pk":{"S":"a"},"sk":{"N":"1"}},"UpdateExpression":"SET n = if_not_exists(n, :z) + :o REMOVE b","ExpressionAttributeValues":{":z":{"N":"0"},":o":{"N":"1"}},"ReturnValues":"ALL_NEW"}
UpdateItem {"TableName":"music","Key":{"pk":{"S":"a"},"sk":{"N":"1"}},"UpdateExpression":"SET pk = :o","ExpressionAttributeValues":{":o":{"S":"1"}}}
Query {"TableName":"music","KeyConditionExpression":"pk = :p AND sk BETWEEN :a AND :b","ExpressionAttributeValues":{":p":{"S":"a"},":a":{"N":"1"},":b":{"N":"2"}}}
Query {"TableName":"music","KeyConditionExpression":"pk = :p","ExpressionAttributeValues":{":p":{"S":"a"}},"Limit":1,"ScanIndexForward":false}
Query {"TableName":"music","KeyConditionExpression":"sk = :p","ExpressionAttributeValues":{":p":{"N":"1"}}}
Query {"TableName":"music","IndexName":"none","KeyConditionExpression":"pk = :p","ExpressionAttributeValues":{":p":{"S":"a"}}}
Query {"TableName":"music"}
Scan {"TableName":"music","FilterExpression":"contains(u, :t)","ExpressionAttributeValues":{":t":{"S":"arn"}}}
Scan {"TableName":"music","Select":"COUNT"}
Scan {"TableName":"music","Limit":-1}
BatchWriteItem {"RequestItems":{"music":[{"PutRequest":{"Item":{"pk":{"S":"c"},"sk":{"N":"1"}}}},{"DeleteRequest":{"Key":{"pk":{"S":"a"},"sk":{"N":"2.5"}}}}]}}
BatchWriteItem {"RequestItems":{"music":[]}}
BatchGetItem {"RequestItems":{"music":{"Keys":[{"pk":{"S":"c"},"sk":{"N":"1"}},{"pk":{"S":"d"},"sk":{"N":"1"}}]}}}
BatchGetItem {"RequestItems":{"music":{"Keys":[{"pk":{"S":"c"},"sk":{"N":"1"}},{"pk":{"S":"c"},"sk":{"N":"1"}}]}}}
TransactWriteItems {"TransactItems":[{"Put":{"TableName":"music","Item":{"pk":{"S":"t"},"sk":{"N":"1"}}}},{"ConditionCheck":{"TableName":"music","Key":{"pk":{"S":"zz"},"sk":{"N":"1"}},"ConditionExpression":"attribute_exists(pk)"}}]}
TransactGetItems {"TransactItems":[{"Get":{"TableName":"music","Key":{"pk":{"S":"c"},"sk":{"N":"1"}}}}]}
ExecuteStatement {"Statement":"SELECT * FROM \"music\" WHERE pk = 'c'"}
ExecuteStatement {"Statement":"SELECT * FROM \"none\" WHERE pk = 'c'"}
DescribeTimeToLive {"TableName":"music"}
UpdateTimeToLive {"TableName":"music","TimeToLiveSpecification":{"Enabled":true,"AttributeName":"ttl"}}
DeleteItem {"TableName":"music","Key":{"pk":{"S":"c"},"sk":{"N":"1"}},"ReturnValues":"ALL_OLD"}
DeleteTable {"TableName":"music"}
DeleteTable {"TableName":"music"}
`

// own are texts that differ between any two runs.
var own = regexp.MustCompile(`"(TableId|CreationDateTime|TableArn|LastUpdateToPayPerRequestDateTime)":("[^"]*"|[0-9.e+]+)`)

func TestPermittedCallsGetTheEnginesAnswers(t *testing.T) {
	needEngine(t)
	engines := &dynamodb.Engines{Dir: t.TempDir(), Program: dynamodb.FindProgram()}
	t.Cleanup(func() { engines.Close() })
	engine, err := engines.Engine(t.Context(), awstest.DefaultAccount, "us-east-1")
	if err != nil {
		t.Fatal(err)
	}
	s := awstest.Start(t)
	root := s.Root(awstest.DefaultAccount)
	signer := sigv4.Signer{AccessKeyID: root.AccessKeyID, SecretAccessKey: root.SecretAccessKey, Region: "us-east-1", Service: "dynamodb"}

	for line := range strings.Lines(strings.TrimSpace(calls)) {
		op, body, _ := strings.Cut(strings.TrimSpace(line), " ")
		status, document, err := engine.Call(t.Context(), "DynamoDB_20120810."+op, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		direct := shown(t, status, document)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Amz-Target", "DynamoDB_20120810."+op)
		r.Header.Set("Content-Type", "application/x-amz-json-1.0")
		signer.Sign(r, sigv4.Hash([]byte(body)), time.Now())
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		document, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got := shown(t, resp.StatusCode, document); got != direct {
			t.Errorf("%s %s\nthrough iamd: %s\nthe engine:   %s", op, body, got, direct)
		}
		if got := resp.Header.Get("Content-Type"); got != "application/x-amz-json-1.0" {
			t.Errorf("%s %s\nthe answer's type is %s", op, body, got)
		}
	}
}

// shown is status and body of an answer.
func shown(t *testing.T, status int, body []byte) string {
	t.Helper()
	var document any
	if err := json.Unmarshal(own.ReplaceAll(body, []byte(`"$1":0`)), &document); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	sorted, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", status, sorted)
}

// An engine that dies is started again, with everything that it had answered for.
func TestEngineThatDiesIsStartedAgain(t *testing.T) {
	needEngine(t)
	asked, calls := 0, 0
	engines := &dynamodb.Engines{Dir: t.TempDir(), Program: dynamodb.FindProgram(), Asked: func() { asked++ }}
	t.Cleanup(func() { engines.Close() })
	do := func(op, body string) (string, error) {
		calls++
		engine, err := engines.Engine(t.Context(), awstest.DefaultAccount, "us-east-1")
		if err != nil {
			t.Fatal(err)
		}
		_, document, err := engine.Call(t.Context(), "DynamoDB_20120810."+op, []byte(body))
		return string(document), err
	}
	if _, err := do("CreateTable", `{"TableName":"music","AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"}],"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}],"BillingMode":"PAY_PER_REQUEST"}`); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if out, err := do("PutItem", fmt.Sprintf(`{"TableName":"music","Item":{"pk":{"S":"%d"}}}`, i)); err != nil || out != "{}" {
			t.Fatal(out, err)
		}
		dynamodb.KillEngine(engines, awstest.DefaultAccount, "us-east-1")
		out, err := do("Scan", `{"TableName":"music","Select":"COUNT"}`)
		if err != nil || !strings.Contains(out, fmt.Sprintf(`"Count":%d`, i+1)) {
			t.Fatalf("after the engine died: %s, %v", out, err)
		}
	}
	if asked != calls {
		t.Errorf("of %d calls %d are told", calls, asked)
	}
}

// An account that goes through the regions stops its own engines, and finds its tables again.
func TestAccountHasEnginesOfSomeRegionsAtOnce(t *testing.T) {
	needEngine(t)
	engines := &dynamodb.Engines{Dir: t.TempDir(), Program: dynamodb.FindProgram()}
	t.Cleanup(func() { engines.Close() })
	list := func(account, region string) {
		t.Helper()
		engine, err := engines.Engine(t.Context(), account, region)
		if err != nil {
			t.Fatal(err)
		}
		if status, document, err := engine.Call(t.Context(), "DynamoDB_20120810.ListTables", []byte("{}")); err != nil || status != http.StatusOK {
			t.Errorf("%s: %d %s, %v", region, status, document, err)
		}
	}
	list("444455556666", "us-east-1")
	for range 2 {
		for i := range 9 {
			list(awstest.DefaultAccount, fmt.Sprintf("us-east-%d", i+1))
		}
	}
	if n := dynamodb.RunningEngines(engines); n != 8+1 {
		t.Errorf("%d engines run, want 8 of one account and the other's", n)
	}
}

// A region becomes a directory's name: it must look like one.
func TestEngineTakesNoRegionThatIsNone(t *testing.T) {
	engines := &dynamodb.Engines{Dir: t.TempDir(), Program: "/bin/false"}
	for _, region := range []string{"", ".", "../x", "us-east-1/../../x", "US-EAST-1", "us east 1", strings.Repeat("a", 100)} {
		if _, err := engines.Engine(t.Context(), awstest.DefaultAccount, region); err == nil || !strings.Contains(err.Error(), "is not a region") {
			t.Errorf("%q: %v", region, err)
		}
	}
	none := &dynamodb.Engines{Dir: t.TempDir()}
	if _, err := none.Engine(t.Context(), awstest.DefaultAccount, "us-east-1"); err == nil || !strings.Contains(err.Error(), "install dynoxide") {
		t.Errorf("without an engine: %v", err)
	}
}
