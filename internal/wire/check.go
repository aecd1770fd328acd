package wire

import (
	"fmt"
	"reflect"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// A check is what AWS demands of a value.
type check struct {
	min, max       int64
	hasMin, hasMax bool
	pattern        string // as AWS writes it, for the message
	match          func(string) bool
	say            string // IAM's sentence in place of the pattern
	enum           []string
	notNull        bool
}

// makeCheck reads the tags min, max, pattern, re, enum and say, each with the prefix.
func makeCheck(tag reflect.StructTag, prefix string, k kind) *check {
	c := new(check)
	some := false
	if s, ok := tag.Lookup(prefix + "min"); ok {
		c.min, c.hasMin, some = mustInt(s), true, true
	}
	if s, ok := tag.Lookup(prefix + "max"); ok {
		c.max, c.hasMax, some = mustInt(s), true, true
	}
	if s, ok := tag.Lookup(prefix + "pattern"); ok {
		c.pattern, some = s, true
		re := s
		if s, ok := tag.Lookup(prefix + "re"); ok {
			re = s
		}
		c.match = matcher(re)
	}
	if s, ok := tag.Lookup(prefix + "enum"); ok {
		c.enum, some = strings.Split(s, "|"), true
	}
	if s, ok := tag.Lookup(prefix + "say"); ok {
		c.say, some = s, true
	}
	if !some {
		return nil
	}
	return c
}

func mustInt(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(fmt.Sprintf("wire: constraint %q is not a number", s))
	}
	return n
}

// matcher returns the test that a whole string matches a pattern. Most of AWS's
// patterns are one class of characters, repeated: those are tested directly. The
// others become a regular expression when first needed.
func matcher(pattern string) func(string) bool {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		panic(fmt.Sprintf("wire: pattern %q: %v", pattern, err))
	}
	for re.Op == syntax.OpCapture {
		re = re.Sub[0]
	}
	if (re.Op == syntax.OpPlus || re.Op == syntax.OpStar) && re.Sub[0].Op == syntax.OpCharClass {
		return class(re.Sub[0].Rune, re.Op == syntax.OpStar)
	}
	compiled := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\A(?:` + pattern + `)\z`) })
	return func(s string) bool { return compiled().MatchString(s) }
}

// class matches strings of characters in ranges (pairs of first and last).
func class(ranges []rune, empty bool) func(string) bool {
	var ascii [utf8.RuneSelf]bool
	for r := range rune(utf8.RuneSelf) {
		ascii[r] = inRanges(ranges, r)
	}
	return func(s string) bool {
		for i := 0; i < len(s); {
			if b := s[i]; b < utf8.RuneSelf {
				if !ascii[b] {
					return false
				}
				i++
				continue
			}
			r, n := utf8.DecodeRuneInString(s[i:])
			if !inRanges(ranges, r) {
				return false
			}
			i += n
		}
		return empty || s != ""
	}
}

func inRanges(ranges []rune, r rune) bool {
	for lo, hi := 0, len(ranges)/2; lo < hi; {
		mid := (lo + hi) / 2
		switch {
		case r < ranges[2*mid]:
			hi = mid
		case r > ranges[2*mid+1]:
			lo = mid + 1
		default:
			return true
		}
	}
	return false
}

// A fault is a member that breaks a constraint.
type fault struct {
	path  string
	value string // "'x'", "null", or "" where it is not repeated
	text  string // what follows "failed to satisfy constraint: "
	reason
}

// A reason is how a constraint is broken, in the words of services that tell it
// instead of the constraint (Organizations API Reference, InvalidInputException).
type reason struct{ code, text string }

var (
	absent     = reason{"INPUT_REQUIRED", "You must include a value for all required parameters."}
	tooLong    = reason{"MAX_LENGTH_EXCEEDED", "You provided a string parameter that is longer than allowed."}
	tooShort   = reason{"MIN_LENGTH_EXCEEDED", "You provided a string parameter that is shorter than allowed."}
	tooLarge   = reason{"MAX_VALUE_EXCEEDED", "You provided a numeric parameter that has a larger value than allowed."}
	tooSmall   = reason{"MIN_VALUE_EXCEEDED", "You provided a numeric parameter that has a smaller value than allowed."}
	offPattern = reason{"INVALID_PATTERN", "You provided a value that does not match the required pattern."}
	notInEnum  = reason{"INVALID_ENUM", "You specified an invalid value."}
	badElement = reason{"INVALID_LIST_MEMBER", "You provided a list to a parameter that contains at least one invalid value."}
)

// faults collects what is wrong with an input. AWS reports everything at once.
type faults struct {
	quiet    bool
	list     []fault
	sentence string // IAM's own sentence about the first name outside its pattern
	missing  string // the member to be reported with MissingParameter
}

func (fs *faults) add(path string, why reason, text, echo string, f *field) {
	if fs.quiet || f.sensitive {
		echo = ""
	}
	fs.list = append(fs.list, fault{path, echo, text, why})
}

// null notes that a required member is absent.
func (fs *faults) null(prefix *trail, f *field) {
	if f.missing {
		fs.missing = f.name
		return
	}
	fs.add(prefix.String()+f.label, absent, "Member must not be null", "null", f)
}

// text checks a string. The order of the constraints is AWS's.
func (fs *faults) text(prefix *trail, f *field, s string) {
	c := f.check
	if c == nil || c.ok(s) {
		return
	}
	echo := "'" + s + "'"
	n := int64(-1)
	if c.hasMax || c.hasMin {
		n = int64(utf8.RuneCountInString(s))
	}
	if c.hasMax && n > c.max {
		fs.add(prefix.String()+f.label, tooLong, "Member must have length less than or equal to "+strconv.FormatInt(c.max, 10), echo, f)
	}
	if c.hasMin && n < c.min {
		fs.add(prefix.String()+f.label, tooShort, "Member must have length greater than or equal to "+strconv.FormatInt(c.min, 10), echo, f)
	}
	if c.match != nil && !c.match(s) {
		if c.say == "" {
			fs.add(prefix.String()+f.label, offPattern, "Member must satisfy regular expression pattern: "+c.pattern, echo, f)
		} else if fs.sentence == "" {
			fs.sentence = "The specified value for " + f.label + " is invalid. " + c.say
		}
	}
	if c.enum != nil && !slices.Contains(c.enum, s) {
		fs.add(prefix.String()+f.label, notInEnum, c.enumText(fs.quiet), echo, f)
	}
}

func (c *check) enumText(quiet bool) string {
	if quiet {
		return "Member must satisfy enum value set"
	}
	return "Member must satisfy enum value set: [" + strings.Join(c.enum, ", ") + "]"
}

// ok says that a string breaks nothing.
func (c *check) ok(s string) bool {
	if c.hasMin && int64(len(s)) < c.min { // bytes are no fewer than characters
		return false
	}
	if c.hasMax && int64(len(s)) > c.max && int64(utf8.RuneCountInString(s)) > c.max {
		return false
	}
	if c.hasMin && int64(len(s)) < 4*c.min && int64(utf8.RuneCountInString(s)) < c.min {
		return false
	}
	return (c.match == nil || c.match(s)) && (c.enum == nil || slices.Contains(c.enum, s))
}

// number checks an integer.
func (fs *faults) number(prefix *trail, f *field, n int64) {
	c := f.check
	if c == nil {
		return
	}
	if c.hasMax && n > c.max {
		fs.add(prefix.String()+f.label, tooLarge, "Member must have value less than or equal to "+strconv.FormatInt(c.max, 10), "'"+strconv.FormatInt(n, 10)+"'", f)
	}
	if c.hasMin && n < c.min {
		fs.add(prefix.String()+f.label, tooSmall, "Member must have value greater than or equal to "+strconv.FormatInt(c.min, 10), "'"+strconv.FormatInt(n, 10)+"'", f)
	}
}

// count checks the length of a list or blob, and reports whether it is not too long.
func (fs *faults) count(prefix *trail, f *field, n int) bool {
	c := f.check
	if c == nil {
		return true
	}
	if c.hasMax && int64(n) > c.max {
		fs.add(prefix.String()+f.label, tooLong, "Member must have length less than or equal to "+strconv.FormatInt(c.max, 10), "", f)
		return false
	}
	if c.hasMin && int64(n) < c.min {
		fs.add(prefix.String()+f.label, tooShort, "Member must have length greater than or equal to "+strconv.FormatInt(c.min, 10), "", f)
	}
	return true
}

// elements checks a list of strings. Whatever the fault, and in however many elements,
// AWS reports the list once and names every constraint of its elements.
func (fs *faults) elements(prefix *trail, f *field, list reflect.Value) {
	c := f.elem.check
	if c == nil {
		return
	}
	for i := range list.Len() {
		if c.ok(list.Index(i).String()) {
			continue
		}
		var all []string
		if c.hasMax {
			all = append(all, "Member must have length less than or equal to "+strconv.FormatInt(c.max, 10))
		}
		if c.hasMin {
			all = append(all, "Member must have length greater than or equal to "+strconv.FormatInt(c.min, 10))
		}
		if c.match != nil {
			all = append(all, "Member must satisfy regular expression pattern: "+c.pattern)
		}
		if c.enum != nil {
			all = append(all, c.enumText(fs.quiet))
		}
		if c.notNull {
			all = append(all, "Member must not be null")
		}
		echo := ""
		if !fs.quiet {
			echo = "'[" + strings.Join(list.Interface().([]string), ", ") + "]'"
		}
		fs.add(prefix.String()+f.label, badElement, "Member must satisfy constraint: ["+strings.Join(all, ", ")+"]", echo, f)
		return
	}
}

// Check checks an input, given as a pointer, that came by no wire: of a call made
// inside. What has its zero value and is no pointer counts as absent, but for a text that
// may be empty: one whose length is bounded from above only. The error is the one that
// Decode would have returned.
func Check(m *Model, in any) error {
	fs := &faults{quiet: m.Quiet}
	s := reflect.ValueOf(in).Elem()
	fs.structure(planOf(s.Type()), s, nil)
	if m.Reasons != "" {
		return fs.first(m.Reasons)
	}
	return fs.err()
}

func (fs *faults) structure(p *plan, s reflect.Value, path *trail) {
	for i := range p.fields {
		f := &p.fields[i]
		v := s.Field(f.index)
		if v.IsZero() {
			if f.required && f.kind != kindInt && f.kind != kindBool && f.kind != kindFloat && !f.mayBeEmpty() {
				fs.null(path, f)
			}
			continue
		}
		fs.member(f, reflect.Indirect(v), path)
	}
}

func (f *field) mayBeEmpty() bool {
	c := f.check
	return f.kind == kindString && c != nil && c.hasMax && !c.hasMin && c.ok("")
}

func (fs *faults) member(f *field, v reflect.Value, path *trail) {
	switch f.kind {
	case kindString:
		fs.text(path, f, v.String())
	case kindInt:
		fs.number(path, f, v.Int())
	case kindBlob, kindMap:
		fs.count(path, f, v.Len())
	case kindStruct:
		fs.structure(f.plan, v, &trail{up: path, label: f.label})
	case kindList:
		if !fs.count(path, f, v.Len()) {
			return
		}
		switch f.elem.kind {
		case kindString:
			fs.elements(path, f, v)
		case kindStruct:
			for i := range v.Len() {
				if e := reflect.Indirect(v.Index(i)); e.IsValid() {
					fs.structure(f.elem.plan, e, &trail{path, f.label, uint64(i + 1), "member"})
				}
			}
		}
	}
}

// err returns what the caller is told, or nil.
func (fs *faults) err() error {
	switch {
	case len(fs.list) > 0:
		return Errorf(400, "ValidationError", "%s", fs.message())
	case fs.missing != "":
		return Errorf(400, "MissingParameter", "The request must contain the parameter %s.", fs.missing)
	case fs.sentence != "":
		return Errorf(400, "ValidationError", "%s", fs.sentence)
	}
	return nil
}

// first returns the first fault as an error of that code, with its reason, or nil.
func (fs *faults) first(code string) error {
	if len(fs.list) == 0 {
		return nil
	}
	why := fs.list[0].reason
	return &Error{Code: code, Message: why.text, Status: 400, Fields: []Field{{"Reason", why.code}}}
}

func (fs *faults) message() string {
	fs.sort()
	var b strings.Builder
	if len(fs.list) == 1 {
		b.WriteString("1 validation error detected: ")
	} else {
		fmt.Fprintf(&b, "%d validation errors detected: ", len(fs.list))
	}
	for i, f := range fs.list {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString("Value ")
		if f.value != "" {
			b.WriteString(f.value + " ")
		}
		b.WriteString("at '" + f.path + "' failed to satisfy constraint: " + f.text)
	}
	return b.String()
}

// sort puts the faults in the order in which AWS reports them. It is neither that of
// the model nor that of the request; both recorded messages with several faults
// (UpdateAccountPasswordPolicy, CreateOpenIDConnectProvider) are in the order in
// which a Java HashMap yields the members' names, so that is the order here.
func (fs *faults) sort() {
	size := uint32(16)
	for distinct := fs.distinct(); uint32(distinct) > size/4*3; size *= 2 {
	}
	slices.SortStableFunc(fs.list, func(a, b fault) int {
		return int(bucket(a.path, size)) - int(bucket(b.path, size))
	})
}

func (fs *faults) distinct() int {
	seen := map[string]bool{}
	for _, f := range fs.list {
		seen[f.path] = true
	}
	return len(seen)
}

// bucket is the place of a string in a Java HashMap with a table of that size.
func bucket(s string, size uint32) uint32 {
	var h uint32
	for i := range len(s) {
		h = 31*h + uint32(s[i])
	}
	return (h ^ h>>16) & (size - 1)
}
