package dynamodb

import (
	"reflect"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/service"
)

// table is the table that a call names, by name or ARN.
func table[In any]() service.Resource {
	get := text[In]("TableName")
	return service.On(func(c *service.Call, in *In) []service.Target {
		return []service.Target{{ARN: arn.ARN(tableARN(c, get(in)))}}
	})
}

// tableOrIndex is the index that a call names, or its table when it names none: an index is
// a resource of its own (Service Authorization Reference, "Amazon DynamoDB").
func tableOrIndex[In any]() service.Resource {
	tableName, indexName := text[In]("TableName"), text[In]("IndexName")
	return service.On(func(c *service.Call, in *In) []service.Target {
		return []service.Target{{ARN: indexARN(tableARN(c, tableName(in)), indexName(in))}}
	})
}

// resource is what a call names by ARN.
func resource[In any]() service.Resource {
	get := text[In]("ResourceArn")
	return service.On(func(_ *service.Call, in *In) []service.Target { return []service.Target{{ARN: arn.ARN(get(in))}} })
}

// anyTable is the table that a listing names by ARN, or all of them.
func anyTable[In any]() service.Resource {
	get := text[In]("TableArn")
	return service.On(func(c *service.Call, in *In) []service.Target {
		if a := get(in); a != "" {
			return []service.Target{{ARN: arn.ARN(a)}}
		}
		return []service.Target{{ARN: arn.ARN(tableARN(c, "*"))}}
	})
}

func indexARN(table, index string) arn.ARN {
	if index == "" {
		return arn.ARN(table)
	}
	return arn.ARN(table + "/index/" + index)
}

// text reads a field of an input. One that is not there is a mistake in the table.
func text[In any](field string) func(*In) string {
	f, ok := reflect.TypeFor[In]().FieldByName(field)
	if !ok || f.Type.Kind() != reflect.String {
		panic("dynamodb: " + reflect.TypeFor[In]().Name() + " has no text " + field)
	}
	return func(in *In) string { return reflect.ValueOf(in).Elem().FieldByIndex(f.Index).String() }
}

// operation is the name of the operation that has the input.
func operation[In any]() string { return strings.TrimSuffix(reflect.TypeFor[In]().Name(), "Input") }
