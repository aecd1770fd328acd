package dynamodb

import (
	"strings"
	"testing"

	"github.com/iamd-dev/iamd/internal/aws/dynamodb/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/wire"
)

// The items of a call are read when a condition asks for them, and not from what was skimmed.
func TestKeysOfSkimmedInput(t *testing.T) {
	for _, c := range []struct {
		name, body string
		attributes string // "": no decision by them holds
	}{
		{"whole", `{"TableName":"music","Item":{"pk":{"S":"a"},"text":{"S":"x"}}}`, "pk text"},
		{"of another type", `{"TableName":"music","Item":{"pk":{"S":5},"text":{"S":"x"}}}`, ""},
		{"no item", `{"TableName":"music","Item":"pk"}`, ""},
		{"null", `{"TableName":"music","Item":{"pk":null}}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := new(api.PutItemInput)
			if err := wire.SkimJSON([]byte(c.body), in); err != nil {
				t.Fatal(err)
			}
			if in.TableName != "music" || in.Item != nil {
				t.Fatalf("skimmed: %+v", in)
			}
			call := &service.Call{Account: "111122223333", Region: "us-east-1", Body: []byte(c.body), Skimmed: true}
			v, ok := new(Service).key(call, &service.Check{In: in}, nil, "dynamodb:attributes")
			if c.attributes == "" {
				if ok || call.Unknown == nil {
					t.Errorf("a decision holds by %v, %t", v, ok)
				}
				return
			}
			if got := strings.Join(v.Strings(), " "); !ok || call.Unknown != nil || got != c.attributes {
				t.Errorf("got %s, %t, %v; want %s", got, ok, call.Unknown, c.attributes)
			}
		})
	}
}

func TestOwner(t *testing.T) {
	for _, c := range []struct{ account, table, want string }{
		{"111122223333", "Music", "111122223333"},
		{"111122223333", "a_B.c-9", "111122223333"},
		{"111122223333", "", "111122223333"}, // the engine says that it is missing
		{"111122223333", "arn:aws:dynamodb:us-east-1:444455556666:table/Music", "444455556666"},
		{"", "arn:aws:dynamodb:us-east-1:444455556666:table/Music", "444455556666"},
		{"", "Music", ""},
		{"111122223333", "Music/index/i", ""},
		{"111122223333", "../x", ""},
		{"111122223333", "Mü", ""},
		{"111122223333", "arn:aws:dynamodb:eu-west-1:444455556666:table/Music", ""},
		{"111122223333", "arn:aws:dynamodb:us-east-1:444455556666:table/Music/index/i", ""},
	} {
		call := &service.Call{Account: c.account, Region: "us-east-1"}
		for _, in := range []any{&api.GetItemInput{TableName: c.table}, &api.ScanInput{TableName: c.table}} {
			account, region, err := owner(call, in)
			if c.want == "" {
				if err == nil {
					t.Errorf("%T of %q: the engine of %s is asked", in, c.table, account)
				}
				continue
			}
			if err != nil || account != c.want || region != "us-east-1" {
				t.Errorf("%T of %q: %s, %s, %v; want %s", in, c.table, account, region, err, c.want)
			}
		}
	}
	twice := &api.TransactGetItemsInput{TransactItems: []api.TransactGetItem{{Get: api.Get{TableName: "Music"}},
		{Get: api.Get{TableName: "arn:aws:dynamodb:us-east-1:444455556666:table/Music"}}}}
	call := &service.Call{Account: "111122223333", Region: "us-east-1"}
	if account, _, err := owner(call, twice); err == nil {
		t.Errorf("the engine of %s is asked for tables of two accounts", account)
	}
}
