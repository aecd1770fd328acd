package dynamodb

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/dynamodb/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/wire"
	"github.com/iamd-dev/iamd/policy"
)

// An access is what a call does to one table: what the condition keys are read from.
type access struct {
	action policy.Action
	table  string // ARN
	index  string

	items        []item               // keys and whole items, by which they are found
	keyCondition string               // of Query
	conditions   map[string]condition // the older form of it
	expressions  []string             // whose attributes count
	names        map[string]string    // ExpressionAttributeNames
	values       item                 // ExpressionAttributeValues
	attributes   []string             // that are named otherwise
	sql          *sqlStatement        // of PartiQL
	unreadable   bool                 // some of it cannot be read

	selects                string // Select, or what stands for it
	returnValues           string
	returnConsumedCapacity string
	enclosing              string // EnclosingOperation
}

type (
	item      = map[string]api.AttributeValue
	condition = api.Condition
)

// resource is what the access is authorised on.
func (a *access) resource() arn.ARN { return indexARN(a.table, a.index) }

// accessOf is the access of an operation on one table.
func accessOf(c *service.Call, in any) *access {
	a := &access{}
	switch in := in.(type) {
	case *api.GetItemInput:
		*a = access{table: in.TableName, items: []item{in.Key}, expressions: []string{in.ProjectionExpression}, names: in.ExpressionAttributeNames,
			attributes: in.AttributesToGet, returnConsumedCapacity: in.ReturnConsumedCapacity, selects: selected("", in.ProjectionExpression, in.AttributesToGet, "")}
	case *api.PutItemInput:
		*a = access{table: in.TableName, items: []item{in.Item}, expressions: []string{in.ConditionExpression}, names: in.ExpressionAttributeNames,
			values: in.ExpressionAttributeValues, attributes: slices.Collect(maps.Keys(in.Expected)),
			returnValues: returned(in.ReturnValues, in.ReturnValuesOnConditionCheckFailure), returnConsumedCapacity: in.ReturnConsumedCapacity}
	case *api.UpdateItemInput:
		*a = access{table: in.TableName, items: []item{in.Key}, expressions: []string{in.UpdateExpression, in.ConditionExpression}, names: in.ExpressionAttributeNames,
			values: in.ExpressionAttributeValues, attributes: slices.Concat(slices.Collect(maps.Keys(in.Expected)), slices.Collect(maps.Keys(in.AttributeUpdates))),
			returnValues: returned(in.ReturnValues, in.ReturnValuesOnConditionCheckFailure), returnConsumedCapacity: in.ReturnConsumedCapacity}
	case *api.DeleteItemInput:
		*a = access{table: in.TableName, items: []item{in.Key}, expressions: []string{in.ConditionExpression}, names: in.ExpressionAttributeNames,
			values: in.ExpressionAttributeValues, attributes: slices.Collect(maps.Keys(in.Expected)),
			returnValues: returned(in.ReturnValues, in.ReturnValuesOnConditionCheckFailure), returnConsumedCapacity: in.ReturnConsumedCapacity}
	case *api.QueryInput:
		*a = access{table: in.TableName, index: in.IndexName, keyCondition: in.KeyConditionExpression, conditions: in.KeyConditions,
			expressions: []string{in.KeyConditionExpression, in.FilterExpression, in.ProjectionExpression}, names: in.ExpressionAttributeNames,
			values: in.ExpressionAttributeValues, attributes: slices.Concat(in.AttributesToGet, slices.Collect(maps.Keys(in.KeyConditions)), slices.Collect(maps.Keys(in.QueryFilter))),
			returnConsumedCapacity: in.ReturnConsumedCapacity, selects: selected(in.Select, in.ProjectionExpression, in.AttributesToGet, in.IndexName)}
		if a.keyCondition == "" && len(a.conditions) == 0 {
			a.unreadable = true
		}
	case *api.ScanInput:
		*a = access{table: in.TableName, index: in.IndexName, expressions: []string{in.FilterExpression, in.ProjectionExpression}, names: in.ExpressionAttributeNames,
			values: in.ExpressionAttributeValues, attributes: slices.Concat(in.AttributesToGet, slices.Collect(maps.Keys(in.ScanFilter))),
			returnConsumedCapacity: in.ReturnConsumedCapacity, selects: selected(in.Select, in.ProjectionExpression, in.AttributesToGet, in.IndexName)}
	default:
		return nil
	}
	a.table = tableARN(c, a.table)
	return a
}

// selected is the value of dynamodb:Select: the parameter's, or what holds without it (API
// Reference, Query).
func selected(given, projection string, attributes []string, index string) string {
	switch {
	case given != "":
		return given
	case projection != "" || len(attributes) > 0:
		return "SPECIFIC_ATTRIBUTES"
	case index != "":
		return "ALL_PROJECTED_ATTRIBUTES"
	}
	return "ALL_ATTRIBUTES"
}

// returned is the value of dynamodb:ReturnValues. Who gets the item back when a condition
// fails gets all of what was there.
func returned(given, onFailure string) string {
	if onFailure == "ALL_OLD" {
		return onFailure
	}
	return given
}

func batchGet(c *service.Call, in *api.BatchGetItemInput) ([]access, error) {
	var all []access
	for _, name := range slices.Sorted(maps.Keys(in.RequestItems)) {
		of := in.RequestItems[name]
		all = append(all, access{action: "dynamodb:BatchGetItem", table: tableARN(c, name), items: of.Keys, expressions: []string{of.ProjectionExpression},
			names: of.ExpressionAttributeNames, attributes: of.AttributesToGet, selects: selected("", of.ProjectionExpression, of.AttributesToGet, ""),
			returnConsumedCapacity: in.ReturnConsumedCapacity})
	}
	return all, nil
}

func batchWrite(c *service.Call, in *api.BatchWriteItemInput) ([]access, error) {
	var all []access
	for _, name := range slices.Sorted(maps.Keys(in.RequestItems)) {
		a := access{action: "dynamodb:BatchWriteItem", table: tableARN(c, name), returnConsumedCapacity: in.ReturnConsumedCapacity}
		for _, w := range in.RequestItems[name] {
			if w.PutRequest != nil {
				a.items = append(a.items, w.PutRequest.Item)
			}
			if w.DeleteRequest != nil {
				a.items = append(a.items, w.DeleteRequest.Key)
			}
		}
		all = append(all, a)
	}
	return all, nil
}

func transactGet(c *service.Call, in *api.TransactGetItemsInput) ([]access, error) {
	var all []access
	for _, t := range in.TransactItems {
		all = append(all, access{action: "dynamodb:GetItem", table: tableARN(c, t.Get.TableName), items: []item{t.Get.Key},
			expressions: []string{t.Get.ProjectionExpression}, names: t.Get.ExpressionAttributeNames, selects: selected("", t.Get.ProjectionExpression, nil, ""),
			returnConsumedCapacity: in.ReturnConsumedCapacity, enclosing: "TransactGetItems"})
	}
	return all, nil
}

func transactWrite(c *service.Call, in *api.TransactWriteItemsInput) ([]access, error) {
	var all []access
	for _, t := range in.TransactItems {
		a := access{returnConsumedCapacity: in.ReturnConsumedCapacity, enclosing: "TransactWriteItems"}
		parts := 0
		set := func(action policy.Action, table string, key item, names map[string]string, values item, onFailure string, expressions ...string) {
			parts++
			a.returnValues = returned("", onFailure)
			a.action, a.table, a.items, a.names, a.values, a.expressions = action, tableARN(c, table), []item{key}, names, values, expressions
		}
		if p := t.Put; p != nil {
			set("dynamodb:PutItem", p.TableName, p.Item, p.ExpressionAttributeNames, p.ExpressionAttributeValues, p.ReturnValuesOnConditionCheckFailure, p.ConditionExpression)
		}
		if u := t.Update; u != nil {
			set("dynamodb:UpdateItem", u.TableName, u.Key, u.ExpressionAttributeNames, u.ExpressionAttributeValues, u.ReturnValuesOnConditionCheckFailure, u.UpdateExpression, u.ConditionExpression)
		}
		if d := t.Delete; d != nil {
			set("dynamodb:DeleteItem", d.TableName, d.Key, d.ExpressionAttributeNames, d.ExpressionAttributeValues, d.ReturnValuesOnConditionCheckFailure, d.ConditionExpression)
		}
		if x := t.ConditionCheck; x != nil {
			set("dynamodb:ConditionCheckItem", x.TableName, x.Key, x.ExpressionAttributeNames, x.ExpressionAttributeValues, x.ReturnValuesOnConditionCheckFailure, x.ConditionExpression)
		}
		if parts != 1 { // an item of two parts would be decided by one of them
			return nil, api.Validation("TransactItems can only contain one of Check, Put, Update or Delete")
		}
		all = append(all, a)
	}
	return all, nil
}

func statement(c *service.Call, in *api.ExecuteStatementInput) ([]access, error) {
	a, err := partiQL(c, in.Statement, in.Parameters, in.ReturnValuesOnConditionCheckFailure)
	return []access{a}, err
}

func transaction(c *service.Call, in *api.ExecuteTransactionInput) ([]access, error) {
	var all []access
	for _, s := range in.TransactStatements {
		a, err := partiQL(c, s.Statement, s.Parameters, s.ReturnValuesOnConditionCheckFailure)
		if err != nil {
			return nil, err
		}
		a.enclosing = "ExecuteTransaction"
		all = append(all, a)
	}
	return all, nil
}

// partiQL is the access of a statement. Its consumed capacity is no matter of conditions
// (Service Authorization Reference).
func partiQL(c *service.Call, statement string, params []api.AttributeValue, onFailure string) (access, error) {
	a, err := parseStatement(statement)
	if err != nil {
		return access{}, api.Validation("Statement wasn't well formed, can't be processed: %v", err)
	}
	a.table, a.sql.params, a.returnValues = tableARN(c, a.table), params, returned(a.returnValues, onFailure)
	return *a, nil
}

// batchExecuteStatement has the engine carry out the statements of a batch that are
// permitted. The others get an error each, as in AWS (API Reference, BatchStatementError).
func (s *Service) batchExecuteStatement(ctx context.Context, c *service.Call, in *api.BatchExecuteStatementInput) (*service.Answer, error) {
	if len(in.Statements) == 0 {
		return nil, nothing("BatchExecuteStatement")
	}
	refusals := make([]*api.BatchStatementResponse, len(in.Statements))
	refused, malformed := 0, 0
	for i, x := range in.Statements {
		a, err := partiQL(c, x.Statement, x.Parameters, x.ReturnValuesOnConditionCheckFailure)
		code := "ValidationError"
		if err != nil {
			if malformed++; malformed == len(in.Statements) { // there was nothing to decide
				return nil, err
			}
		} else if err = c.Authorize(a.action, a.resource(), s.pairs(ctx, c, &a)...); err != nil {
			code = "AccessDenied"
		}
		if err == nil {
			continue
		}
		e, ok := err.(*wire.Error)
		if !ok || code == "AccessDenied" && !strings.HasPrefix(e.Code, code) {
			return nil, err
		}
		refused++
		refusals[i] = &api.BatchStatementResponse{Error: &api.BatchStatementError{Code: code, Message: e.Message}}
		if a.table != "" {
			refusals[i].TableName = nameOf(a.table)
		}
	}
	if refused == 0 {
		return s.pass(ctx, c, "BatchExecuteStatement", in)
	}
	body := bodyOf(c, in)
	answer := &service.Answer{Status: http.StatusOK, Header: []wire.Field{{Name: "Content-Type", Value: "application/x-amz-json-1.0"}}, Body: []byte("{}")}
	if refused < len(in.Statements) {
		members, err := memberOf(body, "Statements", func(statements []json.RawMessage) []json.RawMessage {
			var left []json.RawMessage
			for i, x := range statements {
				if refusals[i] == nil {
					left = append(left, x)
				}
			}
			return left
		})
		if err != nil {
			return nil, err
		}
		if answer, err = s.passBody(ctx, c, "BatchExecuteStatement", in, members); err != nil {
			return nil, err
		}
	}
	var err error
	answer.Body, err = memberOf(answer.Body, "Responses", func(responses []json.RawMessage) []json.RawMessage {
		all := make([]json.RawMessage, 0, len(refusals))
		for _, r := range refusals {
			switch {
			case r != nil:
				all = append(all, wire.AppendJSON(nil, r, wire.JSONOptions{Wire: true}))
			case len(responses) > 0:
				all, responses = append(all, responses[0]), responses[1:]
			}
		}
		return all
	})
	return checked(answer), err
}

// memberOf is a JSON object in which a member, a list, is what change makes of it.
func memberOf(object []byte, name string, change func([]json.RawMessage) []json.RawMessage) ([]byte, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(object, &members); err != nil {
		return nil, err
	}
	var list []json.RawMessage
	if raw, ok := members[name]; ok {
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, err
		}
	}
	var err error
	if members[name], err = json.Marshal(change(list)); err != nil {
		return nil, err
	}
	return json.Marshal(members)
}
