package server_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/iamd-dev/iamd/internal/audit"
	iamapi "github.com/iamd-dev/iamd/internal/aws/iam/api"
	orgapi "github.com/iamd-dev/iamd/internal/aws/organizations/api"
	stsapi "github.com/iamd-dev/iamd/internal/aws/sts/api"
	"github.com/iamd-dev/iamd/internal/wire"
)

// Every parameter of every operation of IAM, STS and Organizations, in every way in which it breaks
// what the model demands of it: the answer is AWS's text, nothing is changed, and the
// refusal is recorded. What is expected is made here from the constraint, in AWS's
// words, and not by the code that checks.
func TestParameters(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	root := h.roots[ours]
	w := h.watch(root)
	var all []spoiled
	for _, m := range []*wire.Model{iamapi.Model, stsapi.Model, orgapi.Model} {
		for _, op := range m.Operations {
			form := url.Values{"Action": {op.Name}, "Version": {m.Version}}
			p := &parameters{echo: !m.Quiet}
			if !p.fill(form, "", op.In) {
				t.Errorf("%s:%s: no valid call can be made", m.Name, op.Name)
				continue
			}
			p.members("", "", op.In)
			for _, c := range append(p.cases, pairs(p.cases)...) {
				c.model, c.operation, c.in, c.form, c.actor = m, op.Name, op.In, form, root
				if op.Unsigned {
					c.actor = actor{}
				}
				all = append(all, c)
			}
		}
	}
	answered := map[string]spoiled{} // by request id
	var mu sync.Mutex
	var wg sync.WaitGroup
	next := make(chan spoiled)
	for range 64 { // at once, for every record is synced
		wg.Go(func() {
			for c := range next {
				a := c.send(h)
				if a.code == "NotImplemented" {
					continue
				}
				code, messages := c.want()
				if got := a.message; a.status != 400 || a.code != code || messages != nil && !slices.Contains(messages, got) {
					t.Errorf("%s:%s with %s\nanswers %d %s: %s\nwant    400 %s: %v", c.model.Name, c.operation, c.what, a.status, a.code, got, code, messages)
				}
				mu.Lock()
				answered[a.requestID] = c
				mu.Unlock()
			}
		})
	}
	for _, c := range all {
		next <- c
	}
	close(next)
	wg.Wait()
	if len(answered) < 1200 {
		t.Errorf("%d cases; there are more than that", len(answered))
	}
	w.holds(t)

	// Each has its record, with the error, and without any response.
	if err := h.audit.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	recorded := map[string]bool{}
	for e, err := range audit.Read(h.auditDir(), audit.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		c, ok := answered[e.RequestID]
		if !ok {
			continue
		}
		recorded[e.RequestID] = true
		r := record{*e, string(e.Raw)}
		code, messages := c.want()
		message, _ := r.member(t, "errorMessage").(string)
		told := messages == nil || slices.ContainsFunc(messages, func(m string) bool { // CloudTrail cuts at 1,024 bytes
			return m == message || len(m) > 1024 && len(message) > 1000 && strings.HasPrefix(m, message)
		})
		if e.EventName != c.operation || e.ErrorCode != code || !told || r.member(t, "responseElements") != nil {
			t.Errorf("the record of %s with %s is %s", c.operation, c.what, e.Raw)
		}
	}
	for id, c := range answered {
		if !recorded[id] {
			t.Errorf("there is no record of %s with %s", c.operation, c.what)
		}
	}
}

// A spoiled call breaks one constraint, or two.
type spoiled struct {
	model     *wire.Model
	operation string
	in        reflect.Type
	actor     actor
	form      url.Values // of a valid call
	what      string
	member    string           // of the input: "Tags.member.1.Key"
	around    func(url.Values) // makes what the member stands in
	change    []func(url.Values)

	faults    []string // what AWS says of each: "Value at 'x' failed to satisfy constraint: ..."
	sentence  string   // IAM's sentence in place of a pattern
	missing   string   // the member of which GetRole has words of its own
	malformed bool     // what cannot be read at all has no words
}

// send makes the call: as a form, or with the form's content as JSON.
func (c spoiled) send(h *site) reply {
	form := c.sent()
	if c.model.Protocol == wire.Query {
		a := h.form(c.actor, c.model.SigningName, form.Encode())
		a.message = html.UnescapeString(a.message)
		return a
	}
	form.Del("Action")
	form.Del("Version")
	body, err := json.Marshal(asJSON(form, "", c.in))
	if err != nil {
		h.t.Error(err)
	}
	return h.target(c.actor, c.model, c.operation, string(body))
}

// asJSON is what a form says below a path, as the members of a JSON object.
func asJSON(form url.Values, path string, t reflect.Type) map[string]any {
	object := map[string]any{}
	for f := range t.Fields() {
		name, _ := onWire(f)
		at := path + name
		var below []string // the keys of elements
		deep := false
		for key := range form {
			if rest, ok := strings.CutPrefix(key, at+"."); ok {
				deep = true
				if rest, ok = strings.CutPrefix(rest, "member."); ok {
					element, _, _ := strings.Cut(rest, ".")
					below = append(below, element)
				}
			}
		}
		value, exact := form[at]
		kind := plain(f.Type)
		list := kind.Kind() == reflect.Slice && !isBlob(kind)
		switch {
		case exact && (!list || value[0] != ""):
			object[name] = asScalar(value[0], kind)
		case exact:
			object[name] = []any{}
		case deep && kind.Kind() == reflect.Struct:
			object[name] = asJSON(form, at+".", kind)
		case deep && list && slices.Contains(below, "a"): // no list at all
			object[name] = map[string]any{"a": "x"}
		case deep && list:
			slices.SortFunc(below, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) })
			elements := []any{}
			for _, element := range slices.Compact(below) {
				e := at + ".member." + element
				if inner := plain(kind.Elem()); inner.Kind() == reflect.Struct {
					elements = append(elements, asJSON(form, e+".", inner))
				} else {
					elements = append(elements, asScalar(form.Get(e), inner))
				}
			}
			object[name] = elements
		}
	}
	return object
}

// asScalar is a text as a JSON value of a type, or a string where it is no such value.
func asScalar(text string, t reflect.Type) any {
	var v any
	if t.Kind() != reflect.String && json.Unmarshal([]byte(text), &v) == nil {
		return json.RawMessage(text)
	}
	return text
}

// sent is the form of the call.
func (c spoiled) sent() url.Values {
	form := url.Values{}
	for name, value := range c.form {
		form[name] = slices.Clone(value)
	}
	c.around(form)
	for _, change := range c.change {
		change(form)
	}
	return form
}

// reasons are what Organizations says of a fault, by the words of the others.
var reasons = []struct{ fault, text string }{
	{"Member must not be null", "You must include a value for all required parameters."},
	{"Member must have length less than", "You provided a string parameter that is longer than allowed."},
	{"Member must have length greater than", "You provided a string parameter that is shorter than allowed."},
	{"Member must have value less than", "You provided a numeric parameter that has a larger value than allowed."},
	{"Member must have value greater than", "You provided a numeric parameter that has a smaller value than allowed."},
	{"Member must satisfy regular expression pattern", "You provided a value that does not match the required pattern."},
	{"Member must satisfy enum value set", "You specified an invalid value."},
	{"Member must satisfy constraint", "You provided a list to a parameter that contains at least one invalid value."},
}

// want is the error that AWS answers with. Several faults may stand in any order, and
// Organizations tells of one.
func (c spoiled) want() (code string, messages []string) {
	if c.model.Protocol != wire.Query {
		for _, fault := range c.faults {
			_, fault, _ = strings.Cut(fault, "constraint: ")
			for _, r := range reasons {
				if strings.HasPrefix(fault, r.fault) {
					messages = append(messages, r.text)
				}
			}
		}
		if c.malformed {
			return "SerializationException", nil
		}
		return "InvalidInputException", messages
	}
	switch n := len(c.faults); {
	case c.malformed:
		return "MalformedInput", []string{""}
	case n == 1:
		return "ValidationError", []string{"1 validation error detected: " + c.faults[0]}
	case n > 1:
		head := strconv.Itoa(n) + " validation errors detected: "
		back := slices.Clone(c.faults)
		slices.Reverse(back)
		return "ValidationError", []string{head + strings.Join(c.faults, "; "), head + strings.Join(back, "; ")}
	case c.missing != "":
		return "MissingParameter", []string{"The request must contain the parameter " + c.missing + "."}
	}
	return "ValidationError", []string{c.sentence}
}

// pairs are calls with two faults, each of one member: AWS tells of both at once.
func pairs(cases []spoiled) []spoiled {
	var both []spoiled
	for i := 1; i < len(cases); i++ {
		a, b := cases[i-1], cases[i]
		if len(a.faults) != 1 || len(b.faults) != 1 || strings.HasPrefix(b.member+".", a.member+".") || strings.HasPrefix(a.member+".", b.member+".") {
			continue
		}
		both = append(both, spoiled{
			what: a.what + ", and " + b.what, around: func(form url.Values) { a.around(form); b.around(form) },
			change: slices.Concat(a.change, b.change), faults: slices.Concat(a.faults, b.faults),
		})
	}
	return both
}

// parameters makes calls of one operation.
type parameters struct {
	echo  bool // STS repeats the value
	cases []spoiled
}

// demands are what a tag says of a value. They are read here once more, so that the
// test does not believe what it tests.
type demands struct {
	min, max       int64
	hasMin, hasMax bool
	pattern        string
	match          *regexp.Regexp
	enum           []string
	say            string
}

func demandsOf(tag reflect.StructTag, prefix string) demands {
	var d demands
	number := func(name string) (int64, bool) {
		n, err := strconv.ParseInt(tag.Get(prefix+name), 10, 64)
		return n, err == nil
	}
	d.min, d.hasMin = number("min")
	d.max, d.hasMax = number("max")
	d.pattern, d.say = tag.Get(prefix+"pattern"), tag.Get(prefix+"say")
	if d.pattern != "" {
		re := tag.Get(prefix + "re")
		if re == "" {
			re = d.pattern
		}
		d.match = regexp.MustCompile(`^(?:` + re + `)$`)
	}
	if list := tag.Get(prefix + "enum"); list != "" {
		d.enum = strings.Split(list, "|")
	}
	return d
}

// broken are the constraints that a text breaks, in AWS's order and words, and whether
// it is outside a pattern for which IAM has a sentence.
func (d demands) broken(s string, echo bool) (texts []string, sentence bool) {
	n := int64(utf8.RuneCountInString(s))
	if d.hasMax && n > d.max {
		texts = append(texts, fmt.Sprintf("Member must have length less than or equal to %d", d.max))
	}
	if d.hasMin && n < d.min {
		texts = append(texts, fmt.Sprintf("Member must have length greater than or equal to %d", d.min))
	}
	if d.match != nil && !d.match.MatchString(s) {
		if d.say != "" {
			sentence = true
		} else {
			texts = append(texts, "Member must satisfy regular expression pattern: "+d.pattern)
		}
	}
	if d.enum != nil && !slices.Contains(d.enum, s) {
		text := "Member must satisfy enum value set"
		if echo {
			text += ": [" + strings.Join(d.enum, ", ") + "]"
		}
		texts = append(texts, text)
	}
	return texts, sentence
}

func (d demands) keeps(s string) bool {
	texts, sentence := d.broken(s, false)
	return len(texts) == 0 && !sentence
}

// seeds are beginnings of values of all kinds; one of them, made as long as need be,
// suits every pattern.
var seeds = []string{"a", "1", "/", "/a/", "v1", "123456", "111122223333", "arn:aws:iam::111122223333:role/a", "https://a.example/", "arn:aws:iam:",
	"example.com", "a-b", "AB", "o-aaaaaaaaaa/r-aaaa", "p-aaaaaaaa", "h-aaaaaaaa", "r-aaaa", "rt-aaaaaaaa", "ou-aaaa-aaaaaaaa",
	"car-aaaaaaaa", "a@a.aa", "2026"}

// text is a value of n characters, or as few as may be for n < 0, that keeps all
// demands but that on its length.
func (d demands) text(n int64) (string, bool) {
	if d.enum != nil && n < 0 {
		return d.enum[0], true
	}
	free := d
	free.hasMin, free.hasMax = false, false
	for _, seed := range seeds {
		for _, more := range []string{"a", "1", "/", "a/"} {
			s := seed
			want := n
			if n < 0 {
				want = max(d.min, int64(len(seed)))
			}
			s += strings.Repeat(more, int(max(0, want-int64(len(s))))) // and more
			if s = s[:max(0, want)]; strings.HasSuffix(seed, "/") && want > 0 && len(seed) > 1 {
				s = s[:want-1] + "/"
			}
			if free.keeps(s) && (n >= 0 || d.keeps(s)) {
				return s, true
			}
		}
	}
	return "", n == 0 && free.keeps("")
}

// outside is a value that breaks the pattern, and if it can be nothing else.
func (d demands) outside() (string, bool) {
	for _, c := range []string{"!", " ", "é", "*", "/", "\u2028", "\x7f"} {
		s := strings.Repeat(c, int(max(1, d.min)))
		if d.match != nil && !d.match.MatchString(s) {
			return s, true
		}
	}
	return "", false
}

// fill gives valid values to what a structure requires.
func (p *parameters) fill(form url.Values, wirePath string, t reflect.Type) bool {
	for f := range t.Fields() {
		name, required := onWire(f)
		if required && !p.fillOne(form, wirePath+name, f) {
			return false
		}
	}
	return true
}

// fillOne gives a valid value to one member.
func (p *parameters) fillOne(form url.Values, name string, f reflect.StructField) bool {
	d, t := demandsOf(f.Tag, ""), plain(f.Type)
	switch {
	case t == reflect.TypeFor[time.Time]():
		form.Set(name, "2026-01-02T03:04:05Z")
	case t.Kind() == reflect.Struct:
		before := len(form)
		if !p.fill(form, name+".", t) {
			return false
		}
		if len(form) == before { // nothing is required of it
			m := t.Field(0)
			wireName, _ := onWire(m)
			return p.fillOne(form, name+"."+wireName, m)
		}
	case isBlob(t):
		form.Set(name, "YWJj")
	case t.Kind() == reflect.Slice:
		return p.fillElement(form, name, f, 1)
	case t.Kind() == reflect.Map:
		form.Set(name+".entry.1.key", "a")
		form.Set(name+".entry.1.value", "a")
	case t.Kind() == reflect.String:
		s, ok := d.text(-1)
		form.Set(name, s)
		return ok
	case t.Kind() == reflect.Bool:
		form.Set(name, "true")
	default:
		form.Set(name, strconv.FormatInt(d.min, 10))
	}
	return true
}

// fillElement gives a valid value to the i-th element of a list.
func (p *parameters) fillElement(form url.Values, list string, f reflect.StructField, i int) bool {
	name := fmt.Sprintf("%s.member.%d", list, i)
	if e := plain(plain(f.Type).Elem()); e.Kind() == reflect.Struct {
		before := len(form)
		if !p.fill(form, name+".", e) {
			return false
		}
		if len(form) == before { // nothing is required of it
			m := e.Field(0)
			wireName, _ := onWire(m)
			return p.fillOne(form, name+"."+wireName, m)
		}
		return true
	}
	s, ok := demandsOf(f.Tag, "e").text(-1)
	form.Set(name, s)
	return ok
}

func onWire(f reflect.StructField) (name string, required bool) {
	name, options, _ := strings.Cut(f.Tag.Get("wire"), ",")
	if name == "" {
		name = f.Name
	}
	return name, slices.Contains(strings.Split(options, ","), "req")
}

func plain(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

func isBlob(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
}

// members adds the cases of all members of a structure. label is the way to it in
// messages, "tags.1.member.", and wirePath that in the form, "Tags.member.1.".
func (p *parameters) members(wirePath, label string, t reflect.Type) {
	for f := range t.Fields() {
		p.member(wirePath, label, f, func(url.Values) {})
	}
}

// member adds the cases of a member. around makes what it stands in, where that is
// optional.
func (p *parameters) member(wirePath, label string, f reflect.StructField, around func(url.Values)) {
	wireName, required := onWire(f)
	name, at := wirePath+wireName, label+strings.ToLower(f.Name[:1])+f.Name[1:]
	t, d := plain(f.Type), demandsOf(f.Tag, "")
	secret := strings.Contains(f.Tag.Get("wire"), ",sensitive")
	fault := func(text, value string) string {
		if value == "" || !p.echo || secret {
			return "Value at '" + at + "' failed to satisfy constraint: " + text
		}
		return "Value " + value + " at '" + at + "' failed to satisfy constraint: " + text
	}
	add := func(what string, change func(url.Values), c spoiled) {
		c.what, c.member, c.around, c.change = f.Name+" "+what, name, around, []func(url.Values){change}
		p.cases = append(p.cases, c)
	}
	text := func(what, s string) {
		texts, sentence := d.broken(s, p.echo)
		var c spoiled
		for _, text := range texts {
			c.faults = append(c.faults, fault(text, "'"+s+"'"))
		}
		if sentence {
			c.sentence = "The specified value for " + at + " is invalid. " + d.say
		}
		if len(c.faults) > 0 || c.sentence != "" {
			add(what, func(v url.Values) { v.Set(name, s) }, c)
		}
	}
	remove := func(v url.Values) {
		for key := range v {
			if key == name || strings.HasPrefix(key, name+".") {
				v.Del(key)
			}
		}
	}
	malformed := func(what, value string) {
		add(what, func(v url.Values) { remove(v); v.Set(name, value) }, spoiled{malformed: true})
	}

	if required {
		c := spoiled{faults: []string{fault("Member must not be null", "null")}}
		if strings.Contains(f.Tag.Get("wire"), ",missing") {
			c = spoiled{missing: f.Name}
		}
		add("absent", remove, c)
	}
	switch {
	case t == reflect.TypeFor[time.Time]():
		malformed("no time", "yesterday")
	case t.Kind() == reflect.Struct:
		malformed("a value", "x")
		in := func(v url.Values) { around(v); p.fill(v, name+".", t) }
		for m := range t.Fields() {
			p.member(name+".", at+".", m, in)
		}
	case isBlob(t):
		malformed("no base64", "***")
	case t.Kind() == reflect.Slice:
		malformed("a value", "x")
		add("a list of names", func(v url.Values) { remove(v); v.Set(name+".member.a", "x") }, spoiled{malformed: true})
		if d.hasMax {
			add("too long", func(v url.Values) {
				remove(v)
				for i := range int(d.max) + 1 {
					p.fillElement(v, name, f, i+1)
				}
			}, spoiled{faults: []string{fault(fmt.Sprintf("Member must have length less than or equal to %d", d.max), "")}})
		}
		if d.hasMin && d.min > 0 {
			add("empty", func(v url.Values) { remove(v); v.Set(name, "") },
				spoiled{faults: []string{fault(fmt.Sprintf("Member must have length greater than or equal to %d", d.min), "")}})
		}
		if e := plain(t.Elem()); e.Kind() == reflect.Struct {
			in := func(v url.Values) { around(v); p.fillElement(v, name, f, 1) }
			for m := range e.Fields() {
				p.member(name+".member.1.", at+".1.member.", m, in)
			}
		} else if e.Kind() == reflect.String {
			p.elements(f, name, fault, add)
		}
	case t.Kind() == reflect.Map:
		malformed("a value", "x")
	case t.Kind() == reflect.Bool:
		malformed("neither true nor false", "maybe")
	case t.Kind() == reflect.String:
		if d.hasMax && d.max < 200_000 {
			if s, ok := d.text(d.max + 1); ok {
				text("too long", s)
			} else {
				text("too long", strings.Repeat("a", int(d.max)+1))
			}
		}
		if d.hasMin && d.min > 0 {
			s, _ := d.text(d.min - 1)
			text("too short", s)
		}
		if s, ok := d.outside(); ok {
			text("outside its pattern", s)
		}
		if d.enum != nil {
			text("outside its enumeration", "NoSuchValue")
			text("in other letters", strings.ToLower(d.enum[0])+"X")
		}
	default:
		for _, s := range []string{"abc", "", "1.5", "0x10", "99999999999999999999"} {
			malformed("no number", s)
		}
		for _, n := range []int64{d.min - 1, d.max + 1} {
			switch s := strconv.FormatInt(n, 10); {
			case d.hasMin && n < d.min:
				add("below its minimum", func(v url.Values) { v.Set(name, s) },
					spoiled{faults: []string{fault(fmt.Sprintf("Member must have value greater than or equal to %d", d.min), "'"+s+"'")}})
			case d.hasMax && n > d.max && n < 1<<31:
				add("above its maximum", func(v url.Values) { v.Set(name, s) },
					spoiled{faults: []string{fault(fmt.Sprintf("Member must have value less than or equal to %d", d.max), "'"+s+"'")}})
			}
		}
	}
}

// elements adds the cases of a list of texts: whatever is wrong with one of them, AWS
// names all that they must be.
func (p *parameters) elements(f reflect.StructField, name string, fault func(text, value string) string, add func(string, func(url.Values), spoiled)) {
	d := demandsOf(f.Tag, "e")
	var all []string
	if d.hasMax {
		all = append(all, fmt.Sprintf("Member must have length less than or equal to %d", d.max))
	}
	if d.hasMin {
		all = append(all, fmt.Sprintf("Member must have length greater than or equal to %d", d.min))
	}
	if d.pattern != "" {
		all = append(all, "Member must satisfy regular expression pattern: "+d.pattern)
	}
	if d.enum != nil {
		texts, _ := demands{enum: d.enum}.broken("", p.echo)
		all = append(all, texts...)
	}
	if f.Tag.Get("enotnull") != "" {
		all = append(all, "Member must not be null")
	}
	spoil := func(what, s string) {
		if d.keeps(s) {
			return
		}
		add("with an element "+what, func(v url.Values) { v.Set(name+".member.1", s) },
			spoiled{faults: []string{fault("Member must satisfy constraint: ["+strings.Join(all, ", ")+"]", "'["+s+"]'")}})
	}
	if d.hasMax && d.max < 200_000 {
		s, ok := d.text(d.max + 1)
		if !ok {
			s = strings.Repeat("a", int(d.max)+1)
		}
		spoil("too long", s)
	}
	if d.hasMin && d.min > 0 {
		s, _ := d.text(d.min - 1)
		spoil("too short", s)
	}
	if s, ok := d.outside(); ok {
		spoil("outside its pattern", s)
	}
	if d.enum != nil {
		spoil("outside its enumeration", "NoSuchValue")
	}
}
