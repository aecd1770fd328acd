package template

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Parameter is a member of the Parameters block.
type Parameter struct {
	Type                  string
	Default               *string
	NoEcho                bool
	Description           string
	AllowedValues         []string
	ConstraintDescription string

	pattern              *regexp.Regexp
	patternText          string
	minLength, maxLength *float64
	minValue, maxValue   *float64
}

// special are AWS's own types. What they name is not looked up: their values are strings.
var special = map[string]bool{
	"AWS::EC2::AvailabilityZone::Name": true, "AWS::EC2::Image::Id": true, "AWS::EC2::Instance::Id": true,
	"AWS::EC2::KeyPair::KeyName": true, "AWS::EC2::SecurityGroup::GroupName": true, "AWS::EC2::SecurityGroup::Id": true,
	"AWS::EC2::Subnet::Id": true, "AWS::EC2::Volume::Id": true, "AWS::EC2::VPC::Id": true, "AWS::Route53::HostedZone::Id": true,
}

const parameterName = "AWS::SSM::Parameter::Name"

// Named tells whether the value that is given is the name of a parameter of Systems Manager,
// which must be there.
func (p *Parameter) Named() bool { return p.Type == parameterName || p.LookedUp() }

// LookedUp tells whether the parameter stands for the value that the parameter of Systems
// Manager has, and not for its name: Context.Values are to have that.
func (p *Parameter) LookedUp() bool { return p.Type != p.of() }

// of is the type of what the parameter stands for.
func (p *Parameter) of() string {
	if inner, ok := strings.CutPrefix(p.Type, "AWS::SSM::Parameter::Value<"); ok {
		return strings.TrimSuffix(inner, ">")
	}
	return p.Type
}

// list tells whether what the parameter stands for is a list.
func (p *Parameter) list() bool {
	return p.of() == "CommaDelimitedList" || strings.HasPrefix(p.of(), "List<")
}

func (t *Template) readParameters(top map[string]any) error {
	b, err := block(top, "Parameters", MaxParameters)
	if err != nil || b == nil {
		return err
	}
	t.Parameters = map[string]*Parameter{}
	for _, name := range slices.Sorted(maps.Keys(b)) {
		if !alphanumeric.MatchString(name) {
			return errorf("Template format error: Parameter name %s is non alphanumeric.", name)
		}
		members, ok := b[name].(map[string]any)
		if !ok {
			return errorf("Template format error: Every Parameters member must be an object.")
		}
		p, err := readParameter(name, members)
		if err != nil {
			return err
		}
		t.Parameters[name] = p
	}
	return nil
}

func readParameter(name string, members map[string]any) (*Parameter, error) {
	p := &Parameter{}
	if p.Type, _ = members["Type"].(string); p.Type == "" {
		return nil, errorf("Template format error: Every Parameters object must contain a Type member.")
	}
	element, isList := strings.CutPrefix(p.of(), "List<")
	element = strings.TrimSuffix(element, ">")
	switch {
	case p.of() == "String", p.of() == "CommaDelimitedList", p.Type == "Number", p.Type == parameterName:
	case isList && (element == "String" || element == "Number" && !p.LookedUp() || special[element]):
	case special[p.of()]:
	default:
		return nil, errorf("Template format error: Unrecognized parameter type: %s", p.Type)
	}
	for _, member := range slices.Sorted(maps.Keys(members)) {
		v := members[member]
		text, isText := v.(string)
		if isScalar(v) {
			text = show(v)
		}
		switch member {
		case "Type":
		case "Default":
			if !isScalar(v) {
				return nil, errorf("Template format error: Every Default member must be a string.")
			}
			p.Default = &text
		case "NoEcho":
			if text != "true" && text != "false" {
				return nil, errorf("Template format error: Every NoEcho member must be true or false.")
			}
			p.NoEcho = text == "true"
		case "Description", "ConstraintDescription":
			if !isText {
				return nil, errorf("Template format error: Every %s member must be a string.", member)
			}
			if len(text) > 4000 {
				return nil, errorf("Template format error: Parameter '%s' %s must be no longer than 4000 characters.", name, member)
			}
			if member == "Description" {
				p.Description = text
			} else {
				p.ConstraintDescription = text
			}
		case "AllowedValues":
			list, ok := v.([]any)
			if !ok || slices.ContainsFunc(list, func(v any) bool { return !isScalar(v) }) {
				return nil, errorf("Template format error: Every AllowedValues member must be a list of strings.")
			}
			p.AllowedValues = []string{}
			for _, e := range list {
				p.AllowedValues = append(p.AllowedValues, show(e))
			}
		case "AllowedPattern":
			// Go's expressions take linear time, and know no lookaround.
			re, err := regexp.Compile(`^(?:` + text + `)$`)
			if !isText || err != nil {
				return nil, errorf("Template format error: Parameter '%s' AllowedPattern is not a regular expression that can be used.", name)
			}
			p.pattern, p.patternText = re, text
		case "MinLength", "MaxLength", "MinValue", "MaxValue":
			n, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return nil, errorf("Template format error: Every %s member must be a number.", member)
			}
			*map[string]**float64{"MinLength": &p.minLength, "MaxLength": &p.maxLength, "MinValue": &p.minValue, "MaxValue": &p.maxValue}[member] = &n
		default:
			return nil, errorf("Invalid template parameter property '%s'", member)
		}
	}
	if p.Default != nil {
		if err := p.check(name, *p.Default); err != nil {
			return nil, errorf("Template format error: %s", err.Error())
		}
	}
	return p, nil
}

// check sees that a value is one that the parameter allows.
func (p *Parameter) check(name, value string) error {
	refuse := func(format string, args ...any) error {
		if p.ConstraintDescription != "" {
			return errorf("Parameter %s failed to satisfy constraint: %s", name, p.ConstraintDescription)
		}
		return errorf("Parameter '"+name+"' "+format, args...)
	}
	if utf8.RuneCountInString(value) > 4096 {
		return errorf("Parameter '%s' must contain at most 4096 characters", name)
	}
	parts := []string{value}
	if p.list() && !p.LookedUp() { // the constraints of the others are on the name
		parts = split(value)
	}
	if p.AllowedValues != nil {
		for _, part := range parts {
			if !slices.Contains(p.AllowedValues, part) {
				return refuse("must be one of AllowedValues")
			}
		}
	}
	if p.Type == "Number" || p.Type == "List<Number>" {
		for _, part := range parts {
			n, err := strconv.ParseFloat(part, 64)
			switch {
			case err != nil:
				return errorf("Parameter '%s' must be a number.", name)
			case p.minValue != nil && n < *p.minValue:
				return refuse("must be a number not less than %s", number(*p.minValue))
			case p.maxValue != nil && n > *p.maxValue:
				return refuse("must be a number not greater than %s", number(*p.maxValue))
			}
		}
	}
	n := float64(utf8.RuneCountInString(value))
	switch {
	case p.list() && !p.LookedUp():
	case p.minLength != nil && n < *p.minLength:
		return refuse("must contain at least %s characters", number(*p.minLength))
	case p.maxLength != nil && n > *p.maxLength:
		return refuse("must contain at most %s characters", number(*p.maxLength))
	case p.pattern != nil && !p.pattern.MatchString(value):
		return refuse("must match pattern %s", p.patternText)
	}
	return nil
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func split(value string) []string {
	if value == "" {
		return nil
	}
	parts := strings.Split(value, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// Values returns the value of every parameter: the given one, or the default.
func (t *Template) Values(given map[string]string) (map[string]string, error) {
	var unknown, missing []string
	for name := range given {
		if t.Parameters[name] == nil {
			unknown = append(unknown, name)
		}
	}
	if unknown != nil {
		slices.Sort(unknown)
		return nil, errorf("Parameters: [%s] do not exist in the template", strings.Join(unknown, ", "))
	}
	values := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(t.Parameters)) {
		p := t.Parameters[name]
		value, ok := given[name]
		switch {
		case ok:
			if err := p.check(name, value); err != nil {
				return nil, err
			}
			values[name] = value
		case p.Default != nil:
			values[name] = *p.Default
		default:
			missing = append(missing, name)
		}
	}
	if missing != nil {
		return nil, errorf("Parameters: [%s] must have values", strings.Join(missing, ", "))
	}
	return values, nil
}

// isScalar tells whether a value is a string, a number or a bool.
func isScalar(v any) bool {
	switch v.(type) {
	case string, bool, json.Number:
		return true
	}
	return false
}

// show is a scalar as text; other values are shown as JSON.
func show(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return v.String()
	}
	text, _ := json.Marshal(v)
	return string(text)
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
