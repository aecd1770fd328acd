package template

import (
	"encoding/base64"
	"encoding/json"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A Context is what a template is instantiated in. Functions may be nil where a template
// has no use of them; then what they are asked for is not there.
type Context struct {
	Account, Region    string
	StackName, StackID string
	Values             map[string]string // of all parameters: Template.Values, and what was looked up

	Ref    func(resource string) (string, error)         // what Ref of a resource is
	GetAtt func(resource, attribute string) (any, error) // what Fn::GetAtt of a resource is
	Import func(export string) (value string, err error) // what Fn::ImportValue of an export is

	// Resolve is what stands for a dynamic reference, in a property or an output: at is where,
	// as AWS says it ("AWS::IAM::User/Properties/LoginProfile/Password"). nil: they are left as they are.
	Resolve func(d Dynamic, at string) (string, error)
}

// An Instance is a template with the values of its parameters.
type Instance struct {
	Context
	Template *Template
	Holds    map[string]bool // which conditions hold
	Order    []string        // the resources that there are, each behind those that it needs
	size     int             // of what was computed
}

// Instantiate decides the conditions and sees that resources which are there need none
// that are not.
func (t *Template) Instantiate(c Context) (*Instance, error) {
	in := &Instance{Context: c, Template: t, Holds: map[string]bool{}}
	names, _ := order(sorted(t.Conditions), func(name string) []string {
		var others []string
		conditionsIn(t.Conditions[name], true, func(c string) { others = append(others, c) })
		return others
	})
	for _, name := range names {
		holds, err := in.boolean(t.Conditions[name])
		if err != nil {
			return nil, err
		}
		in.Holds[name] = holds
	}
	var there []string
	for _, name := range sorted(t.Resources) {
		if in.there(t.Resources[name].Condition) {
			there = append(there, name)
		}
	}
	for _, name := range there {
		var gone []string
		references(map[string]any(t.Resources[name].Properties), in.Holds, func(r reference) {
			if t.Resources[r.name] != nil && !slices.Contains(there, r.name) {
				gone = append(gone, r.name)
			}
		})
		if gone != nil {
			return nil, errorf("Template format error: Unresolved resource dependencies [%s] in the Resources block of the template", list(gone))
		}
	}
	for _, name := range sorted(t.Outputs) {
		o := t.Outputs[name]
		var gone []string
		if !in.there(o.Condition) {
			continue
		}
		references([]any{o.Value, o.Export}, in.Holds, func(r reference) {
			if t.Resources[r.name] != nil && !slices.Contains(there, r.name) {
				gone = append(gone, r.name)
			}
		})
		if gone != nil {
			return nil, errorf("Unresolved resource dependencies [%s] in the Outputs block of the template", list(gone))
		}
	}
	in.Order, _ = order(there, in.Needs)
	return in, nil
}

func (in *Instance) there(condition string) bool { return condition == "" || in.Holds[condition] }

// Needs returns the resources that a resource needs.
func (in *Instance) Needs(name string) []string { return in.Template.dependencies(name, in.Holds) }

// Properties returns the properties of a resource, computed.
func (in *Instance) Properties(name string) (map[string]any, error) {
	v, err := in.value(map[string]any(in.Template.Resources[name].Properties))
	if err != nil {
		return nil, err
	}
	if v, err = in.resolved(v, in.Template.Resources[name].Type+"/Properties"); err != nil {
		return nil, err
	}
	m, _ := v.(map[string]any)
	if m == nil {
		m = map[string]any{}
	}
	return m, nil
}

// An OutputValue is an output, computed.
type OutputValue struct {
	Key, Value, Description, Export string
}

// Outputs returns the outputs that there are, in order of their names.
func (in *Instance) Outputs() ([]OutputValue, error) {
	var all []OutputValue
	for _, name := range sorted(in.Template.Outputs) {
		o := in.Template.Outputs[name]
		if !in.there(o.Condition) {
			continue
		}
		v, err := in.value(o.Value)
		if err == nil {
			v, err = in.resolved(v, "Outputs/"+name)
		}
		if err != nil {
			return nil, err
		}
		if !isScalar(v) {
			return nil, errorf("Template format error: Output %s is malformed. The Value field of every Outputs member must evaluate to a String.", name)
		}
		value := OutputValue{Key: name, Value: show(v), Description: o.Description}
		if o.Export != nil {
			if value.Export, err = in.text(o.Export, "Template format error: Output "+name+" is malformed. The Name field of every Export member must be a String."); err != nil {
				return nil, err
			}
		}
		all = append(all, value)
	}
	return all, nil
}

// noValue is what AWS::NoValue stands for: the property is not there.
type noValue struct{}

// mostComputed bounds what the functions of one instance compute, in bytes, so that a
// small template cannot ask for much memory.
const mostComputed = 16 << 20

func (in *Instance) count(n int) error {
	if in.size += n; in.size > mostComputed {
		return errorf("Template error: the template's functions compute more than %d bytes", mostComputed)
	}
	return nil
}

// value computes a value.
func (in *Instance) value(v any) (any, error) {
	if name, of, ok := function(v); ok && name != "Condition" {
		return in.call(name, of)
	}
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for _, k := range sorted(v) {
			x, err := in.value(v[k])
			if err != nil {
				return nil, err
			}
			if x != any(noValue{}) {
				m[k] = x
			}
		}
		return m, nil
	case []any:
		l := make([]any, 0, len(v))
		for _, e := range v {
			x, err := in.value(e)
			if err != nil {
				return nil, err
			}
			if x != any(noValue{}) {
				l = append(l, x)
			}
		}
		return l, nil
	}
	return v, nil
}

// text computes a value that must be a string; otherwise the complaint is the error.
func (in *Instance) text(v any, complaint string) (string, error) {
	x, err := in.value(v)
	if err != nil {
		return "", err
	}
	if !isScalar(x) {
		return "", errorf("%s", complaint)
	}
	return show(x), nil
}

const (
	badJoin      = "Template error: every Fn::Join object requires two parameters, (1) a string delimiter and (2) a list of strings to be joined or a function that returns a list of strings (such as Fn::GetAZs) to be joined."
	badSelect    = "Template error: Fn::Select requires a list argument with two elements: an integer index and a list"
	badSplit     = "Template error: every Fn::Split object requires two parameters, (1) a string delimiter and (2) a string to be split or a function that returns a string to be split."
	badFindInMap = "Template error: every Fn::FindInMap object requires three parameters, the map name, map key and the attribute for return value"
	badSub       = "Template error: One or more Fn::Sub intrinsic functions don't specify expected arguments. Specify a string as first argument, and an optional second argument to specify a mapping of values to replace in the string"
	badGetAtt    = "Template error: every Fn::GetAtt object requires two non-empty parameters, the resource name and the resource attribute"
	badCidr      = "Template error: Fn::Cidr requires a list of an IP block, a count between 1 and 256, and optionally the number of subnet bits"
	badBase64    = "Template error: every Fn::Base64 object must have a String-typed value."
	badEquals    = "Template error: every Fn::Equals object requires a list of 2 string parameters."
)

// call computes a function.
func (in *Instance) call(name string, of any) (any, error) {
	args, _ := of.([]any)
	switch name {
	case "Ref":
		return in.ref(of.(string))

	case "Fn::GetAtt":
		resource, attr, ok := attribute(of)
		if !ok {
			return nil, errorf(badGetAtt)
		}
		a, err := in.text(attr, badGetAtt)
		if err != nil {
			return nil, err
		}
		return in.getAtt(resource, a)

	case "Fn::Sub":
		return in.sub(of)

	case "Fn::Join":
		if len(args) != 2 {
			return nil, errorf(badJoin)
		}
		separator, ok := args[0].(string)
		if !ok {
			return nil, errorf(badJoin)
		}
		v, err := in.value(args[1])
		if err != nil {
			return nil, err
		}
		parts, ok := v.([]any)
		if !ok || slices.ContainsFunc(parts, func(v any) bool { return !isScalar(v) }) {
			return nil, errorf(badJoin)
		}
		all := make([]string, len(parts))
		n := 0
		for i, p := range parts {
			all[i] = show(p)
			n += len(all[i]) + len(separator)
		}
		if err := in.count(n); err != nil {
			return nil, err
		}
		return strings.Join(all, separator), nil

	case "Fn::Select":
		if len(args) != 2 {
			return nil, errorf(badSelect)
		}
		index, err := in.text(args[0], badSelect)
		if err != nil {
			return nil, err
		}
		v, err := in.value(args[1])
		if err != nil {
			return nil, err
		}
		from, ok := v.([]any)
		i, bad := strconv.Atoi(index)
		if !ok || bad != nil {
			return nil, errorf(badSelect)
		}
		if i < 0 || i >= len(from) {
			return nil, errorf("Template error: Fn::Select cannot select nonexistent value at index %d", i)
		}
		return from[i], nil

	case "Fn::Split":
		if len(args) != 2 {
			return nil, errorf(badSplit)
		}
		separator, ok := args[0].(string)
		if !ok || separator == "" {
			return nil, errorf(badSplit)
		}
		text, err := in.text(args[1], badSplit)
		if err != nil {
			return nil, err
		}
		if err := in.count(16 * (strings.Count(text, separator) + 1)); err != nil {
			return nil, err
		}
		var parts []any
		for p := range strings.SplitSeq(text, separator) {
			parts = append(parts, p)
		}
		return parts, nil

	case "Fn::If":
		if len(args) != 3 {
			return nil, errorf("Template error: Fn::If requires a list argument with three elements")
		}
		condition, ok := args[0].(string)
		if !ok {
			return nil, errorf("Template error: Fn::If requires a list argument with the first element being a condition")
		}
		if in.Holds[condition] {
			return in.value(args[1])
		}
		return in.value(args[2])

	case "Fn::FindInMap":
		if len(args) != 3 {
			return nil, errorf(badFindInMap)
		}
		var keys [3]string
		for i := range keys {
			var err error
			if keys[i], err = in.text(args[i], badFindInMap); err != nil {
				return nil, err
			}
		}
		mapping, ok := in.Template.Mappings[keys[0]]
		if !ok {
			return nil, errorf("Template error: Mapping named '%s' is not present in the 'Mappings' section of template.", keys[0])
		}
		v, ok := mapping[keys[1]][keys[2]]
		if !ok {
			return nil, errorf("Template error: Unable to get mapping for %s::%s::%s", keys[0], keys[1], keys[2])
		}
		n := 16
		if l, ok := v.([]any); ok {
			n *= len(l)
		} else {
			n = len(show(v))
		}
		return v, in.count(n)

	case "Fn::Base64":
		text, err := in.text(of, badBase64)
		if err != nil {
			return nil, err
		}
		return base64.StdEncoding.EncodeToString([]byte(text)), in.count(2 * len(text))

	case "Fn::GetAZs":
		region, err := in.text(of, "Template error: every Fn::GetAZs object must have a String-typed value.")
		if err != nil {
			return nil, err
		}
		if region == "" {
			region = in.Region
		}
		return []any{region + "a", region + "b", region + "c"}, nil

	case "Fn::Cidr":
		return in.cidr(args)

	case "Fn::ImportValue":
		export, err := in.text(of, "Template error: the attribute in Fn::ImportValue must be a string or a function that returns a string")
		if err != nil {
			return nil, err
		}
		if in.Import == nil {
			return nil, errorf("No export named %s found.", export)
		}
		v, err := in.Import(export)
		if err != nil {
			return nil, err
		}
		return v, in.count(len(v))
	}
	if booleans[name] {
		b, err := in.boolean(map[string]any{name: of})
		return b, err
	}
	return nil, errorf("Template format error: Encountered unsupported function: %s", name)
}

func (in *Instance) ref(name string) (any, error) {
	switch name {
	case "AWS::AccountId":
		return in.Account, nil
	case "AWS::Region":
		return in.Region, nil
	case "AWS::StackName":
		return in.StackName, nil
	case "AWS::StackId":
		return in.StackID, nil
	case "AWS::Partition":
		return "aws", nil
	case "AWS::URLSuffix":
		return "amazonaws.com", nil
	case "AWS::NotificationARNs":
		return []any{}, nil
	case "AWS::NoValue":
		return noValue{}, nil
	}
	if p := in.Template.Parameters[name]; p != nil {
		value := in.Values[name]
		if err := in.count(len(value)); err != nil {
			return nil, err
		}
		if !p.list() {
			return value, nil
		}
		parts := []any{}
		for _, part := range split(value) {
			parts = append(parts, part)
		}
		return parts, nil
	}
	if in.Context.Ref == nil {
		return nil, errorf("Template format error: Unresolved resource dependencies [%s] in the Resources block of the template", name)
	}
	v, err := in.Context.Ref(name)
	if err != nil {
		return nil, err
	}
	return v, in.count(len(v))
}

func (in *Instance) getAtt(resource, attr string) (any, error) {
	if in.Context.GetAtt == nil || in.Template.Resources[resource] == nil {
		return nil, errorf("Template error: instance of Fn::GetAtt references undefined resource %s", resource)
	}
	v, err := in.Context.GetAtt(resource, attr)
	if err != nil {
		return nil, err
	}
	return v, in.count(len(show(v)))
}

func (in *Instance) sub(of any) (any, error) {
	text, given, ok := substitution(of)
	if !ok {
		return nil, errorf(badSub)
	}
	var b strings.Builder
	at := 0
	for _, m := range variable.FindAllStringSubmatchIndex(text, -1) {
		b.WriteString(text[at:m[0]])
		at = m[1]
		name := strings.TrimSpace(text[m[2]:m[3]])
		if literal, ok := strings.CutPrefix(name, "!"); ok {
			b.WriteString("${" + literal + "}")
			continue
		}
		var v any
		var err error
		if g, ok := given[name]; ok {
			v, err = in.value(g)
		} else if resource, attr, dotted := strings.Cut(name, "."); dotted {
			v, err = in.getAtt(resource, attr)
		} else {
			v, err = in.ref(name)
		}
		if err != nil {
			return nil, err
		}
		if !isScalar(v) {
			return nil, errorf("Template error: variable %s in Fn::Sub expression does not resolve to a string", name)
		}
		s := show(v)
		if err := in.count(len(s)); err != nil {
			return nil, err
		}
		b.WriteString(s)
	}
	b.WriteString(text[at:])
	return b.String(), nil
}

// cidr divides a block: Fn::Cidr [block, count, bits of each part].
func (in *Instance) cidr(args []any) (any, error) {
	if len(args) != 2 && len(args) != 3 {
		return nil, errorf(badCidr)
	}
	texts := []string{"", "", ""}
	for i, a := range args {
		var err error
		if texts[i], err = in.text(a, badCidr); err != nil {
			return nil, err
		}
	}
	block, err := netip.ParsePrefix(texts[0])
	n, err2 := strconv.Atoi(texts[1])
	if err != nil || err2 != nil || n < 1 || n > 256 {
		return nil, errorf(badCidr)
	}
	block = block.Masked()
	width := block.Addr().BitLen()
	size := width - block.Bits() - bits.Len(uint(n-1)) // as many bits as leave room for n
	if len(args) == 3 {
		if size, err = strconv.Atoi(texts[2]); err != nil {
			return nil, errorf(badCidr)
		}
	}
	if size < 0 || size > width || width-size < block.Bits() || width-size-block.Bits() < 8 && n > 1<<(width-size-block.Bits()) {
		return nil, errorf("Template error: Fn::Cidr cannot make %d blocks of %d bits in %s", n, size, texts[0])
	}
	var all []any
	addr := block.Addr().AsSlice()
	for range n {
		a, _ := netip.AddrFromSlice(addr)
		all = append(all, netip.PrefixFrom(a, width-size).String())
		i := len(addr) - 1 - size/8
		add := uint(1) << (size % 8)
		for ; i >= 0 && add > 0; i-- {
			add += uint(addr[i])
			addr[i] = byte(add)
			add >>= 8
		}
	}
	return all, in.count(32 * n)
}

// boolean computes a condition.
func (in *Instance) boolean(v any) (bool, error) {
	name, of, ok := function(v)
	args, isList := of.([]any)
	switch {
	case !ok:
		x, err := in.value(v)
		if err != nil {
			return false, err
		}
		if isScalar(x) && (show(x) == "true" || show(x) == "false") {
			return show(x) == "true", nil
		}
	case name == "Condition":
		if c, ok := of.(string); ok {
			return in.Holds[c], nil
		}
	case name == "Fn::Equals":
		if len(args) != 2 {
			return false, errorf(badEquals)
		}
		a, err := in.value(args[0])
		if err != nil {
			return false, err
		}
		b, err := in.value(args[1])
		if err != nil {
			return false, err
		}
		return same(a, b), nil
	case name == "Fn::Not":
		if len(args) != 1 {
			return false, errorf("Template error: every Fn::Not object requires one boolean parameter.")
		}
		b, err := in.boolean(args[0])
		return !b, err
	case name == "Fn::And" || name == "Fn::Or":
		if !isList || len(args) < 2 || len(args) > 10 {
			return false, errorf("Template error: every %s object requires a list of at least 2 and at most 10 boolean parameters.", name)
		}
		result := name == "Fn::And"
		for _, a := range args { // all of them: a mistake in one is told, whatever the others are
			b, err := in.boolean(a)
			if err != nil {
				return false, err
			}
			if b != (name == "Fn::And") {
				result = b
			}
		}
		return result, nil
	default:
		x, err := in.value(v)
		if err != nil {
			return false, err
		}
		if isScalar(x) && (show(x) == "true" || show(x) == "false") {
			return show(x) == "true", nil
		}
	}
	return false, errorf("Template error: conditions can only be boolean operations on parameters and other conditions")
}

// same compares as CloudFormation does: all scalars are strings.
func same(a, b any) bool {
	if isScalar(a) && isScalar(b) {
		return show(a) == show(b)
	}
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

// Same reports whether two values are the same to CloudFormation, to which 1 and "1", and
// true and "true", are.
func Same(a, b any) bool {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for k, v := range x {
			if w, ok := y[k]; !ok || !Same(v, w) {
				return false
			}
		}
		return true
	case []any:
		y, ok := b.([]any)
		return ok && slices.EqualFunc(x, y, Same)
	}
	return a == nil && b == nil || isScalar(a) && isScalar(b) && show(a) == show(b)
}

// Text is a value as text: a scalar as it is, all else as JSON.
func Text(v any) string { return show(v) }
