package template

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// functions are those that there are.
var functions = map[string]bool{
	"Ref": true, "Condition": true, "Fn::Base64": true, "Fn::Cidr": true, "Fn::FindInMap": true, "Fn::GetAtt": true,
	"Fn::GetAZs": true, "Fn::If": true, "Fn::ImportValue": true, "Fn::Join": true, "Fn::Select": true, "Fn::Split": true,
	"Fn::Sub": true, "Fn::And": true, "Fn::Equals": true, "Fn::Not": true, "Fn::Or": true,
}

// booleans are the functions that conditions are made of.
var booleans = map[string]bool{"Condition": true, "Fn::And": true, "Fn::Equals": true, "Fn::Not": true, "Fn::Or": true}

// pseudo are the parameters that every template has.
var pseudo = map[string]bool{
	"AWS::AccountId": true, "AWS::NotificationARNs": true, "AWS::NoValue": true, "AWS::Partition": true,
	"AWS::Region": true, "AWS::StackId": true, "AWS::StackName": true, "AWS::URLSuffix": true,
}

// function tells whether a value is a function, which one and of what. Condition is one
// only within conditions, where its users ask for it: policy documents have such a key.
func function(v any) (name string, of any, ok bool) {
	m, _ := v.(map[string]any)
	if len(m) != 1 {
		return "", nil, false
	}
	for name, of = range m {
	}
	return name, of, name == "Ref" || name == "Condition" || strings.HasPrefix(name, "Fn::")
}

// variable is ${Name}, ${Name.Attribute} and, for a literal, ${!Name}.
var variable = regexp.MustCompile(`\$\{([^{}]*)\}`)

// A reference is what a value mentions.
type reference struct {
	name   string // of a parameter or resource
	getAtt bool   // by Fn::GetAtt itself
}

// references calls f for what a value mentions. holds tells of conditions whether they
// hold, so that what Fn::If does not choose is passed over; nil chooses everything.
func references(v any, holds map[string]bool, f func(reference)) {
	if name, of, ok := function(v); ok {
		list, _ := of.([]any)
		switch name {
		case "Ref":
			if s, ok := of.(string); ok {
				f(reference{name: s})
			}
			return
		case "Fn::GetAtt":
			if r, _, ok := attribute(of); ok {
				f(reference{r, true})
			}
			if len(list) == 2 {
				references(list[1], holds, f)
			}
			return
		case "Fn::Sub":
			text, given, ok := substitution(of)
			if !ok {
				return
			}
			for _, m := range variable.FindAllStringSubmatch(text, -1) {
				if name := strings.TrimSpace(m[1]); !strings.HasPrefix(name, "!") {
					if _, ok := given[name]; !ok {
						name, _, _ = strings.Cut(name, ".")
						f(reference{name: name})
					}
				}
			}
			for _, k := range sorted(given) {
				references(given[k], holds, f)
			}
			return
		case "Fn::If":
			if len(list) == 3 && holds != nil {
				if c, ok := list[0].(string); ok {
					if holds[c] {
						references(list[1], holds, f)
					} else {
						references(list[2], holds, f)
					}
					return
				}
			}
		}
	}
	switch v := v.(type) {
	case map[string]any:
		for _, k := range sorted(v) {
			references(v[k], holds, f)
		}
	case []any:
		for _, e := range v {
			references(e, holds, f)
		}
	}
}

// attribute is what Fn::GetAtt is of: ["Resource", "Attribute"] or "Resource.Attribute".
func attribute(of any) (resource string, attr any, ok bool) {
	if s, ok := of.(string); ok {
		r, a, ok := strings.Cut(s, ".")
		return r, a, ok && r != "" && a != ""
	}
	list, _ := of.([]any)
	if len(list) != 2 {
		return "", nil, false
	}
	resource, ok = list[0].(string)
	if s, isText := list[1].(string); isText && s == "" {
		ok = false
	}
	return resource, list[1], ok && resource != ""
}

func substitution(of any) (text string, given map[string]any, ok bool) {
	switch of := of.(type) {
	case string:
		return of, nil, true
	case []any:
		if len(of) == 2 {
			text, ok = of[0].(string)
			given, isMap := of[1].(map[string]any)
			return text, given, ok && isMap
		}
	}
	return "", nil, false
}

// conditionsIn calls f for the conditions that Fn::If and, within conditions, Condition name.
func conditionsIn(v any, within bool, f func(string)) {
	if name, of, ok := function(v); ok {
		if list, _ := of.([]any); name == "Fn::If" && len(list) == 3 {
			if c, ok := list[0].(string); ok {
				f(c)
			}
		}
		if s, ok := of.(string); ok && name == "Condition" && within {
			f(s)
		}
	}
	switch v := v.(type) {
	case map[string]any:
		for _, k := range sorted(v) {
			conditionsIn(v[k], within, f)
		}
	case []any:
		for _, e := range v {
			conditionsIn(e, within, f)
		}
	}
}

// unsupported finds a function that there is not.
func unsupported(v any) error {
	if name, of, ok := function(v); ok {
		if name == "Fn::Transform" {
			return errorf("Template error: Fn::Transform is not there: iamd has no macros.")
		}
		if !functions[name] {
			return errorf("Template format error: Encountered unsupported function: %s Supported functions are: [Fn::Base64, Fn::GetAtt, Fn::GetAZs, Fn::ImportValue, Fn::Select, Fn::Split, Fn::Join, Fn::FindInMap, Fn::Sub, Fn::If, Fn::Cidr, Ref, Condition, Fn::And, Fn::Equals, Fn::Not, Fn::Or]", name)
		}
		if _, ok := of.(string); name == "Ref" && !ok {
			return errorf("Template error: every Ref object must have a single String value.")
		}
	}
	switch v := v.(type) {
	case map[string]any:
		for _, k := range sorted(v) {
			if err := unsupported(v[k]); err != nil {
				return err
			}
		}
	case []any:
		for _, e := range v {
			if err := unsupported(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkReferences sees that everything that is mentioned is there, and that nothing
// depends on itself.
func (t *Template) checkReferences() error {
	known := func(name string) bool { return t.Parameters[name] != nil || pseudo[name] }
	for _, name := range sorted(t.Conditions) {
		var unresolved []string
		references(t.Conditions[name], nil, func(r reference) {
			if !known(r.name) {
				unresolved = append(unresolved, r.name)
			}
		})
		if unresolved != nil {
			return errorf("Template format error: Unresolved dependencies [%s]. Cannot reference resources in the Conditions block of the template", list(unresolved))
		}
		var missing error
		conditionsIn(t.Conditions[name], true, func(c string) {
			if _, ok := t.Conditions[c]; !ok && missing == nil {
				missing = errorf("Template format error: Unresolved condition dependency %s in the Conditions block of the template", c)
			}
		})
		if missing != nil {
			return missing
		}
		if err := unsupported(t.Conditions[name]); err != nil {
			return err
		}
	}
	if cycle := cycleIn(sorted(t.Conditions), func(name string) []string {
		var others []string
		conditionsIn(t.Conditions[name], true, func(c string) { others = append(others, c) })
		return others
	}); cycle != nil {
		return errorf("Template format error: Circular dependencies between conditions: [%s]", list(cycle))
	}
	check := func(what string, v any, condition string, extra []string) error {
		if err := unsupported(v); err != nil {
			return err
		}
		var unresolved []string
		var undefined error
		for _, name := range extra {
			if t.Resources[name] == nil {
				unresolved = append(unresolved, name)
			}
		}
		references(v, nil, func(r reference) {
			if t.Resources[r.name] != nil || known(r.name) && !r.getAtt {
				return
			}
			if r.getAtt && undefined == nil {
				undefined = errorf("Template error: instance of Fn::GetAtt references undefined resource %s", r.name)
			}
			unresolved = append(unresolved, r.name)
		})
		switch {
		case undefined != nil:
			return undefined
		case unresolved != nil:
			return errorf("Template format error: Unresolved resource dependencies [%s] in the %s block of the template", list(unresolved), what)
		}
		var missing error
		seen := func(c string) {
			if _, ok := t.Conditions[c]; !ok && missing == nil {
				missing = errorf("Template format error: Unresolved condition dependency %s in the %s block of the template", c, what)
			}
		}
		if condition != "" {
			seen(condition)
		}
		conditionsIn(v, false, seen)
		return missing
	}
	for _, name := range sorted(t.Resources) {
		r := t.Resources[name]
		if err := check("Resources", map[string]any(r.Properties), r.Condition, r.DependsOn); err != nil {
			return err
		}
	}
	for _, name := range sorted(t.Outputs) {
		o := t.Outputs[name]
		if err := check("Outputs", []any{o.Value, o.Export}, o.Condition, nil); err != nil {
			return err
		}
	}
	if cycle := cycleIn(sorted(t.Resources), func(name string) []string { return t.dependencies(name, nil) }); cycle != nil {
		return errorf("Circular dependency between resources: [%s]", list(cycle))
	}
	return nil
}

func list(names []string) string {
	names = slices.Clone(names)
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

// dependencies are the resources that a resource needs before it, by the branches that hold.
func (t *Template) dependencies(name string, holds map[string]bool) []string {
	r := t.Resources[name]
	on := map[string]bool{}
	for _, d := range r.DependsOn {
		on[d] = true
	}
	references(map[string]any(r.Properties), holds, func(ref reference) {
		if t.Resources[ref.name] != nil {
			on[ref.name] = true
		}
	})
	return slices.Sorted(maps.Keys(on))
}

// cycleIn returns the names that cannot be put in order, or nil.
func cycleIn(names []string, needs func(string) []string) []string {
	_, left := order(names, needs)
	return left
}

// order puts names behind what they need, otherwise as they come; left are those that
// wait for each other.
func order(names []string, needs func(string) []string) (done, left []string) {
	waits := map[string]int{}
	wanted := map[string][]string{}
	needed := map[string][]string{}
	for _, name := range names {
		needed[name] = needs(name)
		for _, n := range needed[name] {
			if slices.Contains(names, n) {
				waits[name]++
				wanted[n] = append(wanted[n], name)
			}
		}
	}
	var ready []string
	for _, name := range names {
		if waits[name] == 0 {
			ready = append(ready, name)
		}
	}
	for len(ready) > 0 {
		name := ready[0]
		ready = ready[1:]
		done = append(done, name)
		for _, w := range wanted[name] {
			if waits[w]--; waits[w] == 0 {
				ready = append(ready, w)
			}
		}
	}
	for _, name := range names {
		if waits[name] > 0 {
			left = append(left, name)
		}
	}
	// What only waits for the cycle is no part of it.
	for {
		n := len(left)
		left = slices.DeleteFunc(left, func(name string) bool {
			return !slices.ContainsFunc(left, func(other string) bool { return slices.Contains(needed[other], name) })
		})
		if len(left) == n {
			return done, left
		}
	}
}
