package dynamodb

import (
	"cmp"
	"reflect"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/dynamodb/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/policy"
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

// sourceTable is the table that is restored, by name or ARN.
var sourceTable = service.On(func(c *service.Call, in *api.RestoreTableToPointInTimeInput) []service.Target {
	return []service.Target{{ARN: arn.ARN(tableARN(c, cmp.Or(in.SourceTableArn, in.SourceTableName)))}}
})

// restored are the permissions on the table that a restore makes, beside that on what it is
// made from (Developer Guide, "Using IAM with DynamoDB backup and restore").
func restored[In any]() []service.Clause {
	name := text[In]("TargetTableName")
	target := service.On(func(c *service.Call, in *In) []service.Target {
		return []service.Target{{ARN: arn.ARN(tableARN(c, name(in)))}}
	})
	var all []service.Clause
	for _, action := range []policy.Action{"dynamodb:BatchWriteItem", "dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:Scan", "dynamodb:UpdateItem"} {
		all = append(all, service.Also(action, target))
	}
	return all
}

// replicas are a global table and its tables in the regions that a call names.
func replicas[In any](named func(*In) (name string, regions []string)) service.Resource {
	return service.On(func(c *service.Call, in *In) []service.Target {
		name, regions := named(in)
		all := []service.Target{{ARN: arn.New("aws", "dynamodb", "", c.Account, "global-table/"+name)}}
		for _, region := range regions {
			all = append(all, service.Target{ARN: arn.New("aws", "dynamodb", region, c.Account, "table/"+name)})
		}
		return all
	})
}

// regions are the regions that the parts of a call name.
func regions[T any](parts []T, region func(T) string) []string {
	all := make([]string, len(parts))
	for i, p := range parts {
		all[i] = region(p)
	}
	return all
}

// updated is the region of a replica that is made or deleted.
func updated(u api.ReplicaUpdate) string {
	switch {
	case u.Create != nil:
		return u.Create.RegionName
	case u.Delete != nil:
		return u.Delete.RegionName
	}
	return ""
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
