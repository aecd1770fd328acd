package dynamodb

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/dynamodb/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/wire"
)

// largestAnswer bounds what an engine may answer: BatchGetItem's 16 MB of items, as JSON.
const largestAnswer = 32 << 20

// pass has the engine carry out a call that was decided.
func (s *Service) pass(ctx context.Context, c *service.Call, op string, in any) (*service.Answer, error) {
	return s.passBody(ctx, c, op, in, bodyOf(c, in))
}

// bodyOf is the body of a call: what the caller signed, or, of a call made inside, its input.
func bodyOf(c *service.Call, in any) []byte {
	if c.Body != nil {
		return c.Body
	}
	return wire.AppendJSON(nil, in, wire.JSONOptions{Wire: true})
}

func (s *Service) passBody(ctx context.Context, c *service.Call, op string, in any, body []byte) (*service.Answer, error) {
	account, region, err := owner(c, in)
	if err != nil {
		return nil, err
	}
	beingRestored := s.restores.Load() > 0 && slices.ContainsFunc(tableNames(in), func(name string) bool { return s.isRestoring(arn.ARN(tableARN(c, name))) })
	if beingRestored && op != "DescribeTable" {
		if control[op] {
			return nil, api.ResourceInUse("Attempt to change a resource which is still in use: Table is being created")
		}
		return nil, api.ResourceNotFound("Requested resource not found")
	}
	if bytes.Contains(body, []byte(`"arn:`)) {
		if body, err = named(op, body); err != nil {
			return nil, err
		}
	}
	answer, err := s.send(ctx, account, region, api.Model, op, body)
	if err != nil {
		return nil, err
	}
	if op == "DescribeTable" && beingRestored {
		answer.Body = bytes.Replace(answer.Body, []byte(`"TableStatus":"ACTIVE"`), []byte(`"TableStatus":"CREATING"`), 1)
	}
	if control[op] {
		answer.Body = renamed(answer.Body, account, region)
	}
	return checked(answer), nil
}

// answered is an answer of iamd's own, in the place of the engine's.
func answered(out any) *service.Answer {
	return checked(&service.Answer{Status: http.StatusOK, Header: []wire.Field{{Name: "Content-Type", Value: "application/x-amz-json-1.0"}},
		Body: wire.AppendJSON(nil, out, wire.JSONOptions{Wire: true})})
}

// checked is an answer with the checksum of its body, by which clients know that it is whole.
func checked(a *service.Answer) *service.Answer {
	a.Header = append(a.Header, wire.Field{Name: "X-Amz-Crc32", Value: strconv.FormatUint(uint64(crc32.ChecksumIEEE(a.Body)), 10)})
	return a
}

// send sends a call to the engine of an account and region. What the engine refuses is an
// error with the engine's own document.
func (s *Service) send(ctx context.Context, account, region string, of *wire.Model, op string, body []byte) (*service.Answer, error) {
	engine, err := s.Engine(ctx, account, region)
	if err != nil {
		return nil, err
	}
	status, document, err := engine.Call(ctx, of.TargetPrefix+"."+op, body)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("asking the DynamoDB engine of account %s in %s: %w", account, region, err)
	}
	if status < 300 {
		return &service.Answer{Status: status, Header: []wire.Field{{Name: "Content-Type", Value: "application/x-amz-json-1.0"}}, Body: document}, nil
	}
	var refusal struct {
		Type    string `json:"__type"`
		Message string
	}
	if json.Unmarshal(document, &refusal) != nil || refusal.Type == "" || status < 400 {
		return nil, fmt.Errorf("the DynamoDB engine of account %s in %s answers %s with status %d", account, region, op, status)
	}
	_, code, ok := strings.Cut(refusal.Type, "#")
	if !ok {
		code = refusal.Type
	}
	return nil, &wire.Error{Code: code, Message: refusal.Message, Status: status, Document: document}
}

// exists asks the engine whether there is a table, or a stream.
func (s *Service) exists(ctx context.Context, a arn.ARN) (bool, error) {
	var err error
	if stream(a) == "" {
		_, err = s.describe(ctx, a)
	} else {
		_, err = s.engineStream(ctx, a)
	}
	if e, ok := err.(*wire.Error); ok && e.Code == "ResourceNotFoundException" {
		return false, nil
	}
	return err == nil, err
}

// A description is what iamd reads of DescribeTable.
type description struct {
	Table struct {
		KeySchema                                     []keyElement
		GlobalSecondaryIndexes, LocalSecondaryIndexes []struct {
			IndexName string
			KeySchema []keyElement
		}
	}
}

type keyElement struct{ AttributeName, KeyType string }

func (s *Service) describe(ctx context.Context, a arn.ARN) (*description, error) {
	name := strings.TrimPrefix(a.Resource(), "table/")
	name, _, _ = strings.Cut(name, "/")
	body, err := json.Marshal(map[string]string{"TableName": name})
	if err != nil {
		return nil, err
	}
	answer, err := s.send(ctx, a.Account(), a.Region(), api.Model, "DescribeTable", body)
	if err != nil {
		return nil, err
	}
	d := &description{}
	if err := json.Unmarshal(answer.Body, d); err != nil {
		return nil, fmt.Errorf("reading the description of table %s: %w", name, err)
	}
	return d, nil
}

// partitionKey is the attribute by which the table or index of an access is partitioned.
func (s *Service) partitionKey(ctx context.Context, a *access) (string, error) {
	d, err := s.describe(ctx, arn.ARN(a.table))
	if err != nil {
		return "", err
	}
	schema := d.Table.KeySchema
	if a.index != "" {
		schema = nil
		for _, i := range append(d.Table.GlobalSecondaryIndexes, d.Table.LocalSecondaryIndexes...) {
			if i.IndexName == a.index {
				schema = i.KeySchema
			}
		}
	}
	name := ""
	for _, k := range schema {
		if k.KeyType == "HASH" {
			if name != "" {
				return "", fmt.Errorf("%s has several partition keys", a.resource())
			}
			name = k.AttributeName
		}
	}
	if name == "" {
		return "", fmt.Errorf("%s has no partition key", a.resource())
	}
	return name, nil
}
