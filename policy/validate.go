package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Validate reads a document as a policy of some kind and gives the findings about
// it, in the order of the document. They carry the codes and texts of IAM Access
// Analyzer's policy validation, to which "did you mean" and the like are added.
// [Rules] lists them.
//
// Unlike [Parse] and [Check], which stop at the first fault, it goes on after
// everything but JSON that cannot be read. A document that AWS would refuse for any
// reason that [Check] knows has at least one finding of type ERROR.
//
// Without a reference (nil) it is not asked whether services, actions, resources
// and condition keys exist.
func Validate(src []byte, k Kind, ref *Reference) []Finding {
	l := newLinter(k, ref)
	l.src = string(src)
	root, err := read(src)
	if err != nil {
		at := position{err.Line, err.Column}
		offset := l.offset(at)
		l.findings = append(l.findings, Finding{
			Type: TypeError, Code: "JSON_SYNTAX_ERROR",
			Text:     fmt.Sprintf("Fix the JSON syntax error at index %d line %d column %d. (%s)", offset, at.line, at.column, err.Msg),
			Location: Location{Line: at.line, Column: at.column, EndLine: at.line, EndColumn: at.column, Offset: offset, EndOffset: offset},
		})
		return l.findings
	}
	l.document(&root)
	l.refused(src)
	return l.sorted()
}

// Validate gives the findings about a policy that has been read or made: see the
// function [Validate], which knows more places.
func (p *Policy) Validate(k Kind, ref *Reference) []Finding {
	l := newLinter(k, ref)
	root, err := read([]byte(p.String()))
	if err != nil {
		panic(err) // what is printed can be read
	}
	l.document(&root)
	l.refused([]byte(p.String()))
	for i := range l.findings {
		l.findings[i].Location = p.locate(l.findings[i].Location)
		for j, m := range l.findings[i].More {
			l.findings[i].More[j] = p.locate(m)
		}
	}
	return l.sorted()
}

// locate gives the place of the statement or the item that the path leads to, as
// the policy remembers it.
func (p *Policy) locate(l Location) Location {
	l.Line, l.Column = 1, 1
	if len(l.Path) < 2 || l.Path[0].Name != "Statement" || l.Path[1].Index >= len(p.Statements) {
		return l
	}
	s := &p.Statements[l.Path[1].Index]
	l.Line, l.Column = s.Line, s.Column
	if len(l.Path) < 3 {
		return l
	}
	item := 0
	if len(l.Path) > 3 {
		item = l.Path[3].Index
	}
	var places []position
	switch l.Path[2].Name {
	case "Action", "NotAction":
		places = s.actionAt
	case "Resource", "NotResource":
		places = s.resourceAt
	case "Condition":
		for _, c := range s.Condition {
			if len(l.Path) > 4 && c.Operator == l.Path[3].Name && c.Key == l.Path[4].Name {
				l.Line, l.Column = c.Line, c.Column
			}
		}
	}
	if item < len(places) {
		l.Line, l.Column = places[item].line, places[item].column
	}
	return l
}

// A linter gathers the findings about one policy.
type linter struct {
	kind     Kind
	ref      *Reference
	src      string // "" when the policy was not read from text
	lines    []int  // offsets of the lines
	findings []Finding

	variables bool   // the version has variables
	service   string // of a resource policy: the service whose resources it is about, "" when that is not clear
}

func newLinter(k Kind, ref *Reference) *linter {
	if ref == nil {
		ref = &Reference{}
	}
	return &linter{kind: k, ref: ref}
}

func (l *linter) sorted() []Finding {
	slices.SortStableFunc(l.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return l.findings
}

// A spot is a place in the document and the path that leads there.
type spot struct {
	position
	path []Step
}

func (s spot) member(name string, at position) spot {
	return spot{at, append(slices.Clip(s.path), Step{Name: name})}
}

func (s spot) item(i int, at position) spot {
	return spot{at, append(slices.Clip(s.path), Step{Index: i})}
}

// find adds a finding of the check with that code. The arguments are the names of
// the particulars in its text and what they are here.
func (l *linter) find(code string, at spot, particulars ...string) *Finding {
	c := ruleOf(code)
	for i := 0; i < len(particulars); i += 2 {
		particulars[i] = "{" + particulars[i] + "}"
	}
	l.findings = append(l.findings, Finding{
		Type: c.Type, Code: code,
		Text:     strings.NewReplacer(particulars...).Replace(c.Text),
		Location: l.location(at),
	})
	return &l.findings[len(l.findings)-1]
}

// mean adds to a finding what was meant, if anything is near enough.
func (f *Finding) mean(suggestion string) {
	if suggestion != "" {
		f.Text += " Did you mean " + suggestion + "?"
	}
}

// note adds our own words to AWS's.
func (f *Finding) note(format string, args ...any) {
	f.Text += " (" + fmt.Sprintf(format, args...) + ")"
}

func (l *linter) location(at spot) Location {
	where := Location{Path: at.path, Line: at.line, Column: at.column, EndLine: at.line, EndColumn: at.column}
	if l.src == "" {
		return where
	}
	where.Offset = l.offset(at.position)
	r := &reader{src: l.src, at: where.Offset, position: at.position}
	r.value(0) // names are texts too; what is there was read once already
	where.EndLine, where.EndColumn, where.EndOffset = r.line, r.column, r.at
	return where
}

// offset gives the index in the source of a place.
func (l *linter) offset(at position) int {
	if l.lines == nil {
		l.lines = []int{0}
		for i := range len(l.src) {
			if l.src[i] == '\n' {
				l.lines = append(l.lines, i+1)
			}
		}
	}
	if at.line < 1 || at.line > len(l.lines) {
		return 0
	}
	offset := l.lines[at.line-1]
	for range at.column - 1 {
		_, n := utf8.DecodeRuneInString(l.src[offset:])
		offset += n
	}
	return offset
}

// refused adds the refusal of the service that stores such policies, if it would
// refuse this one and nothing says so yet.
func (l *linter) refused(src []byte) {
	if l.kind == Resource && l.service != "s3" {
		return // only buckets' policies can be checked
	}
	if slices.ContainsFunc(l.findings, func(f Finding) bool { return f.Type == TypeError }) {
		return
	}
	if _, err := Check(src, l.kind); err != nil {
		m := err.(*Malformed)
		at := spot{position: position{m.Line, m.Column}}
		l.find("IAMD_REFUSED", at, "refusal", m.Text)
	}
}

// A statement as it was written, faults and all.
type lintStatement struct {
	spot
	n          *node
	effect     string
	sid        string
	principals []lintName
	actions    *lintList // Action or NotAction
	resources  *lintList // Resource or NotResource
	not        struct{ principal, action, resource bool }
	named      bool // there is a Principal or NotPrincipal
	conditions []lintCondition
}

// A lintList is an element that is a text or a list of texts.
type lintList struct {
	spot
	name  string
	items []lintText
}

type lintText struct {
	spot
	text string
}

type lintName struct {
	lintText
	kind string
}

type lintCondition struct {
	spot          // of the key
	block    spot // of the operator
	operator string
	o        *operator // nil when unknown
	set      set
	ifExists bool
	key      string // as written
	values   []lintText
	list     bool
}

func (c *lintCondition) lower() string { return lowered(c.key) }

// positive says whether the condition asks for the key to be there and to have one
// of the values.
func (c *lintCondition) positive() bool {
	return c.o != nil && !c.o.negated && !c.ifExists && c.set != setAll && !c.o.isNull()
}

var (
	policyElements    = []string{"Version", "Id", "Statement"}
	statementElements = []string{"Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"}
	principalKinds    = []string{"AWS", "Service", "Federated", "CanonicalUser"}
)

func (l *linter) document(n *node) {
	root := spot{position: n.position}
	if n.kind != '{' {
		l.find("DATA_TYPE_MISMATCH", root, "data_type", "Object")
		return
	}
	var statements *member
	version := false
	for i := range n.members {
		m := &n.members[i]
		at := root.member(m.name, m.position)
		value := root.member(m.name, m.value.position)
		switch m.name {
		case "Version":
			version = true
			v, ok := l.text(&m.value, value)
			l.variables = v == "2012-10-17"
			if ok && v != "2012-10-17" && v != "2008-10-17" {
				l.find("INVALID_VERSION", value, "version", v)
			}
		case "Id":
			l.text(&m.value, value)
		case "Statement":
			statements = m
		default:
			l.find("INVALID_POLICY_ELEMENT", at, "element", m.name).mean(nearest(m.name, policyElements))
		}
	}
	if !version {
		l.find("MISSING_VERSION", root)
	}
	if statements == nil {
		l.find("MISSING_STATEMENT", root)
		return
	}
	at := root.member("Statement", statements.value.position)
	items := []node{statements.value}
	one := statements.value.kind == '{'
	switch statements.value.kind {
	case '{':
	case '[':
		items = statements.value.items
		if len(items) == 0 {
			l.find("MISSING_STATEMENT", at)
		}
	default:
		l.find("DATA_TYPE_MISMATCH", at, "data_type", "Array")
		return
	}
	var all []*lintStatement
	for i := range items {
		place := at
		if !one {
			place = at.item(i, items[i].position)
		}
		if s := l.read(&items[i], place); s != nil {
			all = append(all, s)
		}
	}
	if l.kind == Resource {
		l.service = serviceOf(all)
	}
	l.sids(all)
	for _, s := range all {
		l.checkPrincipals(s)
		l.checkActions(s)
		l.checkResources(s)
		l.checkConditions(s)
		l.checkGrants(s)
	}
	l.rolesAnywhere(all)
	l.redundantStatements(all)
	l.size(n)
}

// text gives the text of a value, which must be one.
func (l *linter) text(n *node, at spot) (string, bool) {
	if n.kind != '"' {
		l.find("DATA_TYPE_MISMATCH", at, "data_type", "String")
		return "", false
	}
	return n.text, true
}

// list gives the items of a text or a list of texts. Null in a list is ignored, as
// AWS does.
func (l *linter) list(name string, n *node, at spot) *lintList {
	e := &lintList{spot: at, name: name}
	switch n.kind {
	case '"':
		e.items = []lintText{{at, n.text}}
	case '[':
		for i := range n.items {
			place := at.item(i, n.items[i].position)
			if n.items[i].kind == 'n' {
				continue
			}
			if s, ok := l.text(&n.items[i], place); ok {
				e.items = append(e.items, lintText{place, s})
			}
		}
		if len(n.items) == 0 && (name == "Action" || name == "NotAction") {
			l.find("EMPTY_ARRAY_ACTION", at)
		} else if len(n.items) == 0 {
			l.find("EMPTY_ARRAY_RESOURCE", at)
		}
	default:
		l.find("DATA_TYPE_MISMATCH", at, "data_type", "String")
	}
	return e
}

// read takes a statement apart and reports its form.
func (l *linter) read(n *node, at spot) *lintStatement {
	if n.kind != '{' {
		l.find("DATA_TYPE_MISMATCH", at, "data_type", "Object")
		return nil
	}
	s := &lintStatement{spot: at, n: n}
	written := map[string]bool{}
	effect := false
	for i := range n.members {
		m := &n.members[i]
		name := at.member(m.name, m.position)
		value := at.member(m.name, m.value.position)
		written[m.name] = true
		if other, ok := opposite(m.name); ok && written[other] {
			l.find("UNSUPPORTED_ELEMENT_COMBINATION", name, "element1", other, "element2", m.name)
		}
		switch m.name {
		case "Sid":
			var ok bool
			if s.sid, ok = l.text(&m.value, value); ok && s.sid == "" {
				l.find("EMPTY_SID_VALUE", value)
			}
			// IAM takes underscores, although the text does not say so.
			odd := strings.IndexFunc(s.sid, func(c rune) bool { return c != '_' && !alphanumeric(c) }) >= 0
			if odd && l.kind != Resource && l.kind != Trust {
				l.find("UNSUPPORTED_SID", value)
			}
		case "Effect":
			effect = true
			var ok bool
			if s.effect, ok = l.text(&m.value, value); ok && s.effect != "Allow" && s.effect != "Deny" {
				l.find("INVALID_EFFECT", value, "effect", s.effect).mean(nearest(s.effect, []string{"Allow", "Deny"}))
			}
		case "Principal", "NotPrincipal":
			s.named, s.not.principal = true, m.name == "NotPrincipal"
			s.principals = l.names(&m.value, value)
			l.principalElement(s, name)
		case "Action", "NotAction":
			s.not.action = m.name == "NotAction"
			s.actions = l.list(m.name, &m.value, value)
		case "Resource", "NotResource":
			s.not.resource = m.name == "NotResource"
			s.resources = l.list(m.name, &m.value, value)
			if l.kind == Trust {
				l.find("ROLE_TRUST_POLICY_SYNTAX_ERROR_RESOURCE", name)
			}
		case "Condition":
			s.conditions = l.conditions(&m.value, value)
		default:
			l.find("INVALID_POLICY_ELEMENT", name, "element", m.name).mean(nearest(m.name, statementElements))
		}
	}
	if !effect {
		l.find("MISSING_EFFECT", at)
	}
	if s.actions == nil {
		l.find("MISSING_ACTION", at)
		s.actions = &lintList{spot: at}
	}
	if s.resources == nil {
		if l.kind != Trust {
			l.find("MISSING_RESOURCE", at)
		}
		s.resources = &lintList{spot: at}
	}
	if !s.named && (l.kind == Trust || l.kind == Resource || l.kind == RCP) {
		l.find("MISSING_PRINCIPAL", at)
	}
	return s
}

// opposite gives the element that excludes this one: NotAction for Action.
func opposite(name string) (string, bool) {
	positive, negated := strings.CutPrefix(name, "Not")
	switch positive {
	case "Principal", "Action", "Resource":
		if negated {
			return positive, true
		}
		return "Not" + name, true
	}
	return "", false
}

func (l *linter) sids(all []*lintStatement) {
	code := "UNIQUE_SIDS_REQUIRED"
	if l.kind == Resource && l.service != "s3" {
		code = "UNIQUE_SIDS_RECOMMENDED"
	}
	seen := map[string]bool{}
	for _, s := range all {
		if s.sid != "" && seen[s.sid] {
			at := s.spot
			for i := range s.n.members {
				if m := &s.n.members[i]; m.name == "Sid" {
					at = at.member("Sid", m.value.position)
				}
			}
			l.find(code, at)
		}
		seen[s.sid] = true
	}
}

// redundantStatements looks for statements that say the same under another Sid.
func (l *linter) redundantStatements(all []*lintStatement) {
	first := map[string]bool{}
	for _, s := range all {
		var b strings.Builder
		canonical(&b, s.n, true)
		if first[b.String()] {
			l.find("REDUNDANT_STATEMENT", s.spot)
		}
		first[b.String()] = true
	}
}

// canonical writes a value so that equal values are written equally.
func canonical(b *strings.Builder, n *node, statement bool) {
	switch n.kind {
	case '{':
		members := slices.SortedFunc(slices.Values(n.members), func(x, y member) int { return strings.Compare(x.name, y.name) })
		for _, m := range members {
			if statement && m.name == "Sid" {
				continue
			}
			b.WriteString(strconv.Quote(m.name) + ":")
			canonical(b, &m.value, false)
		}
	case '[':
		items := make([]string, len(n.items))
		for i := range n.items {
			var item strings.Builder
			canonical(&item, &n.items[i], false)
			items[i] = item.String()
		}
		slices.Sort(items)
		if len(items) == 1 {
			b.WriteString(items[0])
			return
		}
		b.WriteString("[" + strings.Join(items, ",") + "]")
	default:
		b.WriteString(strconv.Quote(n.text))
	}
}

// quotas are the sizes that documents may have. Identity policies and trust policies
// are counted without white space.
var quotas = map[Kind]struct {
	code  string
	most  int
	white bool
}{
	Identity: {"POLICY_SIZE_EXCEEDS_IDENTITY_POLICY_QUOTA", 6144, false},
	Boundary: {"POLICY_SIZE_EXCEEDS_IDENTITY_POLICY_QUOTA", 6144, false},
	Trust:    {"POLICY_SIZE_EXCEEDS_ROLE_TRUST_POLICY_QUOTA", 2048, false},
	Resource: {"POLICY_SIZE_EXCEEDS_RESOURCE_POLICY_QUOTA", 20480, true},
	SCP:      {"POLICY_SIZE_EXCEEDS_SCP_QUOTA", 5120, true},
	RCP:      {"POLICY_SIZE_EXCEEDS_RCP_QUOTA", 5120, true},
}

func (l *linter) size(root *node) {
	q, ok := quotas[l.kind]
	if !ok || l.src == "" {
		return
	}
	n := len(l.src)
	if !q.white {
		n = Size(l.src)
	}
	if n > q.most {
		l.find(q.code, spot{position: root.position}, "policySize", strconv.Itoa(n), "policySizeQuota", strconv.Itoa(q.most))
	}
}
