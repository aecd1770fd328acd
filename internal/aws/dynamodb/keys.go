package dynamodb

import (
	"context"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/dynamodb/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/policy"
)

// unreadable is the value of a key that is there and cannot be read: no policy names it,
// so an Allow that demands values does not match, and a Deny of all but some values does.
const unreadable = "\x00unreadable"

// key gives DynamoDB's condition keys (Service Authorization Reference, "Amazon DynamoDB";
// Developer Guide, "Using IAM policy conditions for fine-grained access control").
func (s *Service) key(c *service.Call, check *service.Check, _ *service.Object, key string) (policy.Value, bool) {
	if !strings.HasPrefix(key, "dynamodb:") {
		return policy.Value{}, false
	}
	in, err := c.Whole(check.In)
	if err != nil {
		c.Unknown = err
		return policy.Value{}, false
	}
	a := accessOf(c, in)
	if a == nil {
		return policy.Value{}, false
	}
	return s.value(context.Background(), c, a, key)
}

// pairs are the keys of an access that is asked for with Authorize.
func (s *Service) pairs(ctx context.Context, c *service.Call, a *access) []service.Pair {
	var pairs []service.Pair
	for _, name := range []string{"dynamodb:LeadingKeys", "dynamodb:Attributes", "dynamodb:Select", "dynamodb:ReturnValues",
		"dynamodb:ReturnConsumedCapacity", "dynamodb:EnclosingOperation", "dynamodb:FullTableScan"} {
		lower := strings.ToLower(name)
		if v, ok := s.value(ctx, c, a, lower); ok {
			pairs = append(pairs, service.Pair{Name: name, Key: lower, Value: v})
		}
	}
	return pairs
}

// value gives a key, in lower case, of an access.
func (s *Service) value(ctx context.Context, c *service.Call, a *access, key string) (policy.Value, bool) {
	text := func(v string) (policy.Value, bool) { return policy.String(v), v != "" }
	switch key {
	case "dynamodb:leadingkeys":
		keys := s.leadingKeys(ctx, c, a)
		return policy.List(keys), len(keys) > 0
	case "dynamodb:attributes":
		names := a.attributeNames()
		return policy.List(names), len(names) > 0
	case "dynamodb:select":
		return text(a.selects)
	case "dynamodb:returnvalues":
		return text(a.returnValues)
	case "dynamodb:returnconsumedcapacity":
		return text(a.returnConsumedCapacity)
	case "dynamodb:enclosingoperation":
		return text(a.enclosing)
	case "dynamodb:fulltablescan":
		if a.action != "dynamodb:PartiQLSelect" {
			return policy.Value{}, false
		}
		keys := s.leadingKeys(ctx, c, a)
		return policy.String(strconv.FormatBool(len(keys) == 0 || slices.Contains(keys, unreadable))), true
	}
	return policy.Value{}, false
}

// leadingKeys are the values of the partition key that an access names: none for a scan.
func (s *Service) leadingKeys(ctx context.Context, c *service.Call, a *access) []string {
	switch {
	case a.sql != nil:
	case a.unreadable:
		return []string{unreadable}
	case len(a.items) == 0 && a.keyCondition == "" && len(a.conditions) == 0:
		return nil
	}
	if arn.ARN(a.table).Account() != c.Account && tables.Get(c.State, tableKey(arn.ARN(a.table))) == nil {
		return []string{unreadable} // no policy shares it, and no engine starts for who has no right to it
	}
	name, err := s.partitionKey(ctx, a)
	if err != nil {
		return []string{unreadable}
	}
	var keys []string
	add := func(v api.AttributeValue, ok bool) {
		text := unreadable
		if ok {
			text = keyText(v)
		}
		if !slices.Contains(keys, text) {
			keys = append(keys, text)
		}
	}
	for _, i := range a.items {
		v, ok := i[name]
		add(v, ok)
	}
	if a.sql != nil {
		values, ok := a.sql.partitions(name)
		if !ok {
			add(api.AttributeValue{}, false)
		}
		for _, v := range values {
			add(v, true)
		}
	}
	if a.keyCondition != "" {
		v, ok := equality(a.keyCondition, name, a.names, a.values)
		add(v, ok)
	}
	if len(a.conditions) > 0 { // beside an expression the engine refuses them
		of := a.conditions[name]
		ok := of.ComparisonOperator == "EQ" && len(of.AttributeValueList) == 1
		if !ok {
			add(api.AttributeValue{}, false)
		} else {
			add(of.AttributeValueList[0], true)
		}
	}
	return keys
}

// keyText is a partition key's value as conditions compare it. Bytes are in base64.
func keyText(v api.AttributeValue) string {
	kinds := 0
	text := unreadable
	if v.S != "" {
		kinds, text = kinds+1, v.S
	}
	if v.N != "" {
		kinds, text = kinds+1, v.N
	}
	if v.B != nil {
		kinds, text = kinds+1, base64.StdEncoding.EncodeToString(v.B)
	}
	if kinds != 1 {
		return unreadable
	}
	return text
}

// attributeNames are the top-level attributes that an access names, sorted.
func (a *access) attributeNames() []string {
	set := map[string]bool{}
	for _, name := range a.attributes { // AttributesToGet may hold paths
		set[strings.TrimSpace(strings.FieldsFunc(name+" ", func(r rune) bool { return r == '.' || r == '[' })[0])] = true
	}
	for _, i := range a.items {
		for name := range i {
			set[name] = true
		}
	}
	if a.sql != nil {
		names, ok := a.sql.attributes()
		if !ok {
			names = []string{unreadable}
		}
		for _, name := range names {
			set[name] = true
		}
	}
	for _, e := range a.expressions {
		names, err := attributesIn(e, a.names)
		if err != nil {
			set[unreadable] = true
		}
		for _, name := range names {
			set[name] = true
		}
	}
	if a.unreadable {
		set[unreadable] = true
	}
	names := make([]string, 0, len(set))
	for name := range set {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
