// Package template is the language of AWS CloudFormation's templates: it reads them, says
// what is wrong with them in AWS's words, and computes what they say for a stack.
//
//	t, err := template.Parse(body)                   // JSON or YAML
//	values, err := t.Values(given)                   // of parameters, with their defaults
//	in, err := t.Instantiate(template.Context{...})  // conditions decided, references checked
//	for _, name := range in.Order {
//		properties, err := in.Properties(name)   // functions computed
//		...
//	}
//	outputs, err := in.Outputs()
//
// The words: a value is what JSON has, without null: a string, a bool, a json.Number,
// []any or map[string]any. A function is a map with one key, Ref, Fn::Sub and so on; YAML's
// short forms are read as these. An instance is a template with the values of parameters:
// it knows which conditions hold, and so which resources there are.
//
// It is pure: what a Ref or Fn::GetAtt of a resource, or an import, stands for is asked of
// the Context. A template cannot be made to cost more than its size allows: aliases of YAML
// are refused, as AWS does, depth is bounded, and so is what functions compute.
//
// Errors are of type *Error, for the one who wrote the template.
package template

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// An Error is a fault of a template, in AWS's words.
type Error struct{ Message string }

func (e *Error) Error() string { return e.Message }

func errorf(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// AWS's limits (CloudFormation quotas).
const (
	MaxParameters = 200
	MaxResources  = 500
	MaxMappings   = 200
	MaxOutputs    = 200
)

// A Template is one that was read and found well formed.
type Template struct {
	FormatVersion string
	Description   string
	Metadata      any
	Parameters    map[string]*Parameter
	Mappings      map[string]map[string]map[string]any
	Conditions    map[string]any
	Resources     map[string]*Resource
	Outputs       map[string]*Output
}

// A Resource is a member of the Resources block.
type Resource struct {
	Type                string
	Properties          map[string]any
	Condition           string // "" is always
	DependsOn           []string
	Metadata            any
	DeletionPolicy      string // "" is Delete
	UpdateReplacePolicy string // "" is Delete
}

// An Output is a member of the Outputs block.
type Output struct {
	Description string
	Value       any
	Export      any // its name; nil without
	Condition   string
}

var alphanumeric = regexp.MustCompile(`^[A-Za-z0-9]{1,255}$`)

// Parse reads a template in JSON or YAML.
func Parse(text string) (*Template, error) {
	root, err := read(text)
	if err != nil {
		return nil, err
	}
	top, ok := root.(map[string]any)
	if !ok {
		return nil, errorf("Template format error: unsupported structure.")
	}
	var unknown []string
	for _, name := range slices.Sorted(maps.Keys(top)) {
		switch name {
		case "AWSTemplateFormatVersion", "Description", "Metadata", "Parameters", "Mappings", "Conditions", "Resources", "Outputs":
		case "Transform":
			return nil, errorf("Template error: transforms are not there: iamd has no macros.")
		case "Rules":
			return nil, errorf("Template error: the Rules section is not there in iamd.")
		case "Hooks":
			return nil, errorf("Template error: the Hooks section is not there in iamd.")
		default:
			unknown = append(unknown, name)
		}
	}
	if unknown != nil {
		return nil, errorf("Invalid template property or properties [%s]", strings.Join(unknown, ", "))
	}
	t := &Template{Metadata: top["Metadata"]}
	if v, ok := top["AWSTemplateFormatVersion"]; ok {
		if t.FormatVersion, _ = v.(string); t.FormatVersion != "2010-09-09" {
			return nil, errorf("Template format error: unsupported value for AWSTemplateFormatVersion.")
		}
	}
	if v, ok := top["Description"]; ok {
		if t.Description, ok = v.(string); !ok {
			return nil, errorf("Template format error: Description must be a string.")
		}
		if len(t.Description) > 1024 {
			return nil, errorf("Template format error: 'Description' length is greater than 1024.")
		}
	}
	for _, step := range []func(map[string]any) error{t.readParameters, t.readMappings, t.readConditions, t.readResources, t.readOutputs} {
		if err := step(top); err != nil {
			return nil, err
		}
	}
	return t, t.checkReferences()
}

// block returns a block of the template, which is a map or not there.
func block(top map[string]any, name string, most int) (map[string]any, error) {
	v, ok := top[name]
	if !ok {
		return nil, nil
	}
	b, ok := v.(map[string]any)
	if !ok {
		return nil, errorf("Template format error: %s must be an object.", name)
	}
	if len(b) > most {
		return nil, errorf("Template format error: Number of %s, %d, is greater than maximum allowed, %d", strings.ToLower(name), len(b), most)
	}
	return b, nil
}

func (t *Template) readMappings(top map[string]any) error {
	b, err := block(top, "Mappings", MaxMappings)
	if err != nil || b == nil {
		return err
	}
	t.Mappings = map[string]map[string]map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(b)) {
		if !alphanumeric.MatchString(name) {
			return errorf("Template format error: Mappings name '%s' is non alphanumeric.", name)
		}
		keys, ok := b[name].(map[string]any)
		if !ok {
			return errorf("Template format error: Every Mappings member %s must be a map", name)
		}
		mapping := map[string]map[string]any{}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			attributes, ok := keys[key].(map[string]any)
			if !ok {
				return errorf("Template format error: Every Mappings member %s must be a map", key)
			}
			for _, a := range attributes {
				list, isList := a.([]any)
				_, isMap := a.(map[string]any)
				if isMap || isList && slices.ContainsFunc(list, func(v any) bool { return !isScalar(v) }) {
					return errorf("Template format error: Every Mappings attribute must be a String or a List.")
				}
			}
			mapping[key] = attributes
		}
		t.Mappings[name] = mapping
	}
	return nil
}

func (t *Template) readConditions(top map[string]any) error {
	b, err := block(top, "Conditions", MaxResources)
	if err != nil {
		return err
	}
	t.Conditions = b
	for _, name := range slices.Sorted(maps.Keys(b)) {
		if !alphanumeric.MatchString(name) {
			return errorf("Template format error: Conditions name '%s' is non alphanumeric.", name)
		}
		if f, _, ok := function(b[name]); !ok || !booleans[f] {
			return errorf("Template format error: Every Conditions member must be a Fn::And, Fn::Equals, Fn::Not, Fn::Or or Condition.")
		}
	}
	return nil
}

func (t *Template) readResources(top map[string]any) error {
	b, err := block(top, "Resources", MaxResources)
	if err != nil {
		return err
	}
	if len(b) == 0 {
		return errorf("Template format error: At least one Resources member must be defined.")
	}
	t.Resources = map[string]*Resource{}
	for _, name := range slices.Sorted(maps.Keys(b)) {
		if !alphanumeric.MatchString(name) {
			return errorf("Template format error: Resource name %s is non alphanumeric.", name)
		}
		if t.Parameters[name] != nil {
			return errorf("Template format error: Duplicate Resource and Parameter names: [%s]", name)
		}
		members, ok := b[name].(map[string]any)
		if !ok {
			return errorf("Template format error: Any Resources member must be an object.")
		}
		r := &Resource{}
		if r.Type, ok = members["Type"].(string); !ok || r.Type == "" {
			return errorf("Template format error: [/Resources/%s] Every Resources object must contain a Type member.", name)
		}
		for _, member := range slices.Sorted(maps.Keys(members)) {
			v := members[member]
			switch member {
			case "Type":
			case "Properties":
				if r.Properties, ok = v.(map[string]any); !ok {
					return errorf("Template format error: [/Resources/%s/Properties] Properties must be an object.", name)
				}
			case "Metadata":
				r.Metadata = v
			case "Condition":
				if r.Condition, ok = v.(string); !ok {
					return errorf("Template format error: Every Condition member must be a string.")
				}
			case "DependsOn":
				if r.DependsOn, ok = texts(v); !ok {
					return errorf("Template format error: DependsOn must be a string or list of strings.")
				}
			case "DeletionPolicy", "UpdateReplacePolicy":
				p, _ := v.(string)
				switch {
				case p == "Delete" || p == "Retain" || p == "RetainExceptOnCreate" && member == "DeletionPolicy":
				case p == "Snapshot":
					return errorf("Template error: resource type %s does not support %s Snapshot", r.Type, strings.ToLower(member[:len(member)-6])+" policy")
				default:
					return errorf("Template format error: Unrecognized %s %s for resource %s", member, show(v), name)
				}
				if member == "DeletionPolicy" {
					r.DeletionPolicy = p
				} else {
					r.UpdateReplacePolicy = p
				}
			case "CreationPolicy", "UpdatePolicy":
				return errorf("Template error: resource %s has a %s, which no resource type of iamd supports", name, member)
			default:
				return errorf("Invalid template resource property '%s'", member)
			}
		}
		t.Resources[name] = r
	}
	return nil
}

func (t *Template) readOutputs(top map[string]any) error {
	b, err := block(top, "Outputs", MaxOutputs)
	if err != nil || b == nil {
		return err
	}
	t.Outputs = map[string]*Output{}
	for _, name := range slices.Sorted(maps.Keys(b)) {
		if !alphanumeric.MatchString(name) {
			return errorf("Template format error: Output name '%s' is non alphanumeric.", name)
		}
		members, ok := b[name].(map[string]any)
		if !ok {
			return errorf("Template format error: Every Outputs member must be an object.")
		}
		o := &Output{}
		if o.Value, ok = members["Value"]; !ok {
			return errorf("Template format error: Every Outputs member must contain a Value object")
		}
		for _, member := range slices.Sorted(maps.Keys(members)) {
			v := members[member]
			switch member {
			case "Value":
			case "Description":
				if o.Description, ok = v.(string); !ok {
					return errorf("Template format error: Every Description member must be a string.")
				}
			case "Condition":
				if o.Condition, ok = v.(string); !ok {
					return errorf("Template format error: Every Condition member must be a string.")
				}
			case "Export":
				e, _ := v.(map[string]any)
				if o.Export, ok = e["Name"]; !ok || len(e) != 1 {
					return errorf("Template format error: Output %s is malformed. The Name field of every Export member must be specified.", name)
				}
			default:
				return errorf("Invalid template output property '%s'", member)
			}
		}
		t.Outputs[name] = o
	}
	return nil
}

// texts is a string or a list of strings.
func texts(v any) ([]string, bool) {
	if s, ok := v.(string); ok {
		return []string{s}, true
	}
	list, ok := v.([]any)
	var all []string
	for _, e := range list {
		s, isText := e.(string)
		ok = ok && isText
		all = append(all, s)
	}
	return all, ok
}
