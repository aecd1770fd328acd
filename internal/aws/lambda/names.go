package lambda

import (
	"maps"
	"reflect"
	"regexp"
	"slices"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/lambda/api"
	"github.com/iamd-dev/iamd/internal/service"
)

// A name is a function as a call names it, with the version or alias, if it names one.
type name struct {
	account, region, function string
	qualifier                 string // "", "$LATEST", a number or an alias
}

// names are a function's name, its ARN, or a part of the ARN, each with or without a
// qualifier: API Reference, Invoke, FunctionName.
var names = regexp.MustCompile(`^(?:arn:aws[a-zA-Z-]*:lambda:)?(?:([a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d):)?(?:(\d{12}):)?(?:function:)?([a-zA-Z0-9-_]+)(?::(\$LATEST|[a-zA-Z0-9-_]+))?$`)

// parseName reads what a call says in FunctionName and Qualifier.
func parseName(c *service.Call, text, qualifier string) (name, error) {
	n := name{account: c.Account, region: c.Region, qualifier: qualifier}
	m := names.FindStringSubmatch(text)
	if m == nil {
		return n, api.ResourceNotFound("Function not found: %s", arn.New("aws", "lambda", c.Region, c.Account, "function:"+text))
	}
	n.function = m[3]
	if m[1] != "" && m[1] != c.Region {
		return n, api.ResourceNotFound("Functions from '%s' are not reachable in this region ('%s')", m[1], c.Region)
	}
	if m[2] != "" {
		n.account = m[2]
	}
	if m[4] != "" {
		if qualifier != "" && qualifier != m[4] {
			return n, api.InvalidParameterValue("The derived qualifier from the function name does not match the specified qualifier.")
		}
		n.qualifier = m[4]
	}
	return n, nil
}

// unqualified reads what a call says in FunctionName that is about all versions.
func unqualified(c *service.Call, text string) (name, error) {
	n, err := parseName(c, text, "")
	return n.with(""), err
}

// parseARN reads the ARN of a function, a version or an alias.
func parseARN(a arn.ARN) (name, bool) {
	m := names.FindStringSubmatch(string(a))
	if m == nil || m[1] == "" || m[2] == "" || a.Service() != "lambda" {
		return name{}, false
	}
	return name{region: m[1], account: m[2], function: m[3], qualifier: m[4]}, true
}

// key is where the function is kept.
func (n name) key() string { return n.account + "/" + n.region + "/" + n.function }

// arn is the ARN of what is named.
func (n name) arn() arn.ARN {
	a := n.functionARN()
	if n.qualifier != "" {
		a += arn.ARN(":" + n.qualifier)
	}
	return a
}

func (n name) functionARN() arn.ARN {
	return arn.New("aws", "lambda", n.region, n.account, "function:"+n.function)
}

// with is the same function with another qualifier.
func (n name) with(qualifier string) name {
	n.qualifier = qualifier
	return n
}

func (n name) notFound() error { return api.ResourceNotFound("Function not found: %s", n.arn()) }

// isAlias reports whether a qualifier is an alias: numbers are versions.
func isAlias(qualifier string) bool {
	return qualifier != "" && qualifier != latest && !numbers.MatchString(qualifier)
}

const latest = "$LATEST"

var numbers = regexp.MustCompile(`^[0-9]+$`)

// namedBy reads FunctionName, and Qualifier where the input has one.
func namedBy[In any]() func(*service.Call, *In) (name, error) {
	t := reflect.TypeFor[In]()
	functionName, ok := t.FieldByName("FunctionName")
	if !ok {
		panic("lambda: " + t.Name() + " has no FunctionName")
	}
	qualifier, qualified := t.FieldByName("Qualifier")
	return func(c *service.Call, in *In) (name, error) {
		v := reflect.ValueOf(in).Elem()
		q := ""
		if qualified {
			q = v.FieldByIndex(qualifier.Index).String()
		}
		return parseName(c, v.FieldByIndex(functionName.Index).String(), q)
	}
}

// qualified is the function, version or alias that a call names.
func qualified[In any]() service.Resource { return target[In](func(n name) name { return n }) }

// function is the function that a call names, whatever the qualifier.
func function[In any]() service.Resource {
	return target[In](func(n name) name { return n.with("") })
}

func target[In any](of func(name) name) service.Resource {
	named := namedBy[In]()
	return service.On(func(c *service.Call, in *In) []service.Target {
		n, err := named(c, in)
		if err != nil { // which Before has told
			return nil
		}
		return []service.Target{{ARN: of(n).arn()}}
	})
}

// newFunction is the function that is to be made.
var newFunction = service.On(func(c *service.Call, in *api.CreateFunctionInput) []service.Target {
	n, err := parseName(c, in.FunctionName, "")
	if err != nil {
		return nil
	}
	return []service.Target{{ARN: n.functionARN(), New: true}}
})

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
