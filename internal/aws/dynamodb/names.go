package dynamodb

import (
	"bytes"
	"encoding/json"
	"reflect"
	"regexp"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/dynamodb/api"
	"github.com/iamd-dev/iamd/internal/service"
)

// Engines know tables by name, in one account: their own. Callers may name them by ARN,
// and another account's only so.

// engineARN begins the ARNs of dynoxide.
const engineARN = "arn:aws:dynamodb:dynoxide:000000000000:"

// control are the operations whose answers hold ARNs, and no items that could hold the same text.
var control = map[string]bool{"CreateTable": true, "DescribeTable": true, "UpdateTable": true, "DeleteTable": true}

// renamed puts the account and region into the ARNs of an answer.
func renamed(answer []byte, account, region string) []byte {
	return bytes.ReplaceAll(answer, []byte(`"`+engineARN), []byte(`"arn:aws:dynamodb:`+region+":"+account+":"))
}

// isTable reports whether an ARN is that of a table and of nothing below or beside it: what
// is decided on would otherwise not be what the engine, which takes the name out of it,
// has. How long a name may be is the engine's affair.
func isTable(a string) bool {
	rest, dynamodb := strings.CutPrefix(a, "arn:aws:dynamodb:")
	region, rest, _ := strings.Cut(rest, ":")
	account, rest, _ := strings.Cut(rest, ":")
	name, table := strings.CutPrefix(rest, "table/")
	return dynamodb && table && region != "" && len(account) == 12 &&
		consists(region, lowers|digits, "-") && consists(account, digits, "") && isName(name)
}

// isName reports whether a table can have the name.
func isName(s string) bool { return consists(s, lowers|uppers|digits, "_.-") }

const (
	lowers = 1 << iota
	uppers
	digits
)

// consists reports whether s has no letters but of these kinds and those of more.
func consists(s string, kinds int, more string) bool {
	for i := range len(s) {
		kind := 0
		switch c := s[i]; {
		case 'a' <= c && c <= 'z':
			kind = lowers
		case 'A' <= c && c <= 'Z':
			kind = uppers
		case '0' <= c && c <= '9':
			kind = digits
		}
		if kinds&kind == 0 && strings.IndexByte(more, s[i]) < 0 {
			return false
		}
	}
	return true
}

// below are the ends of the ARNs of what belongs to a table, by the field that has them.
var below = map[string]*regexp.Regexp{
	"BackupArn":   regexp.MustCompile(`/backup/[a-zA-Z0-9-]+$`),
	"ExportArn":   regexp.MustCompile(`/export/[a-zA-Z0-9-]+$`),
	"ImportArn":   regexp.MustCompile(`/import/[a-zA-Z0-9-]+$`),
	"ResourceArn": regexp.MustCompile(`/stream/[a-zA-Z0-9:.-]+$`),
}

// owner is the account and region whose engine has the tables that a call names. A call
// that names tables of several is refused: no engine has them all, and what is in another
// region is asked for there.
func owner(c *service.Call, in any) (account, region string, err error) {
	account, region = c.Account, c.Region
	names, room := []string(nil), [1]string{}
	if one, ok := oneTable(in); ok {
		room[0] = one
		names = room[:]
	} else {
		names = tableNames(in)
	}
	first := true
	for _, name := range names {
		if name == "" {
			continue
		}
		if !strings.HasPrefix(name, "arn:") {
			if len(c.Account) != 12 || !isName(name) {
				return "", "", api.Validation("Invalid table/index name.  Table/index names must be between 3 and 255 characters long, " +
					"and may contain only the characters a-z, A-Z, 0-9, '_', '-', and '.'")
			}
			if !first && account != c.Account {
				return "", "", severalAccounts()
			}
			account, first = c.Account, false
			continue
		}
		a := arn.ARN(name)
		if !isTable(name) {
			return "", "", api.Validation("Invalid table ARN: %s", name)
		}
		if !first && a.Account() != account {
			return "", "", severalAccounts()
		}
		if a.Region() != c.Region { // which conditions know as aws:RequestedRegion
			return "", "", api.ResourceNotFound("Requested resource not found: %s is not in %s", a, c.Region)
		}
		account, region, first = a.Account(), a.Region(), false
	}
	return account, region, nil
}

func severalAccounts() error { return api.Validation("The tables of one call must be of one account") }

// oneTable is the table, by name or ARN, of a call on one item, of which there are many.
func oneTable(in any) (name string, ok bool) {
	switch in := in.(type) {
	case *api.GetItemInput:
		return in.TableName, true
	case *api.PutItemInput:
		return in.TableName, true
	case *api.UpdateItemInput:
		return in.TableName, true
	case *api.DeleteItemInput:
		return in.TableName, true
	case *api.QueryInput:
		return in.TableName, true
	}
	return "", false
}

// tableNames are the tables that an input names, by name or ARN, and for operations on
// what belongs to a table, its ARN.
func tableNames(in any) []string {
	if name, ok := oneTable(in); ok {
		return []string{name}
	}
	var names []string
	var collect func(v reflect.Value)
	collect = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() {
				collect(v.Elem())
			}
		case reflect.Slice:
			for i := range v.Len() {
				collect(v.Index(i))
			}
		case reflect.Struct:
			for i := range v.NumField() {
				switch f := v.Type().Field(i); f.Name {
				case "TableName", "TableArn", "SourceTableArn", "BackupArn", "ExportArn", "ImportArn", "ResourceArn":
					if s := v.Field(i).String(); s != "" {
						if end := below[f.Name]; end != nil {
							s = s[:len(s)-len(end.FindString(s))]
						}
						names = append(names, s)
					}
				case "RequestItems":
					for _, key := range v.Field(i).MapKeys() {
						names = append(names, key.String())
					}
				case "TransactItems", "Get", "Put", "Update", "Delete", "ConditionCheck":
					collect(v.Field(i))
				case "Statement":
					if a, err := parseStatement(v.Field(i).String()); err == nil {
						names = append(names, a.table)
					}
				case "Statements", "TransactStatements":
					collect(v.Field(i))
				}
			}
		}
	}
	collect(reflect.ValueOf(in))
	return names
}

// named is the body of a call with tables by name where they are given by ARN. Items are
// not looked into: their bytes stay as they are.
func named(op string, body []byte) ([]byte, error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(body, &top); err != nil {
		return nil, err
	}
	changed := false
	name := func(members map[string]json.RawMessage) {
		var table string
		if json.Unmarshal(members["TableName"], &table) == nil && strings.HasPrefix(table, "arn:") {
			members["TableName"], _ = json.Marshal(nameOf(table))
			changed = true
		}
	}
	name(top)
	var items map[string]json.RawMessage
	if raw, ok := top["RequestItems"]; ok && json.Unmarshal(raw, &items) == nil {
		for table, of := range items {
			if short := nameOf(table); short != table {
				if _, twice := items[short]; twice {
					return nil, api.Validation("The table %s is named twice", short)
				}
				delete(items, table)
				items[short] = of
				changed = true
			}
		}
		top["RequestItems"], _ = json.Marshal(items)
	}
	var transact []map[string]map[string]json.RawMessage
	if raw, ok := top["TransactItems"]; ok && json.Unmarshal(raw, &transact) == nil {
		for _, t := range transact {
			for _, members := range t {
				name(members)
			}
		}
		top["TransactItems"], _ = json.Marshal(transact)
	}
	if !changed {
		return body, nil
	}
	return json.Marshal(top)
}

// nameOf is a table's name, of an ARN or a name.
func nameOf(table string) string {
	if !strings.HasPrefix(table, "arn:") {
		return table
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(arn.ARN(table).Resource(), "table/"), "/")
	return name
}
