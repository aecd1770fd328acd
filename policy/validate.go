package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Reference knows what actions and condition keys there are. A nil function is
// not asked.
type Reference struct {
	Action func(pattern string) bool      // does "s3:Get*" match any action there is?
	Key    func(service, key string) bool // does the service "s3" have the condition key "s3:prefix"? Global keys are asked with service "".
}

// A Finding is something that the author of a policy should know, in the terms of
// IAM Access Analyzer's policy checks.
type Finding struct {
	Type         string // "ERROR", "SECURITY_WARNING", "WARNING" or "SUGGESTION"
	Code         string // "INVALID_ACTION"
	Text         string
	Line, Column int // counted from 1
}

// A linter gathers the findings about one policy.
type linter struct {
	kind     Kind
	ref      *Reference
	findings []Finding
}

func (l *linter) find(kind, code string, at position, format string, args ...any) {
	l.findings = append(l.findings, Finding{
		Type: kind, Code: code, Text: fmt.Sprintf(format, args...), Line: at.line, Column: at.column,
	})
}

// Validate gives the findings about a policy of some kind, in the order of the
// document. Without a reference only the form is looked at.
func (p *Policy) Validate(k Kind, ref *Reference) []Finding {
	if ref == nil {
		ref = &Reference{}
	}
	l := &linter{kind: k, ref: ref}
	top := position{1, 1}
	if p.Version == "" {
		l.find("WARNING", "MISSING_VERSION", top, "Without a Version the policy is of version 2008-10-17, which has no variables. Add 2012-10-17.")
	} else if p.Version == "2008-10-17" {
		l.find("WARNING", "OUTDATED_VERSION", top, "Version 2008-10-17 has no variables. Use 2012-10-17.")
	}
	if len(p.Statements) == 0 {
		l.find("ERROR", "MISSING_STATEMENT", top, "The policy has no statement.")
	}
	if s := repeatedSid(p); s != nil {
		l.find("ERROR", "UNIQUE_SIDS_REQUIRED", s.at(), "The Sid %q is there twice.", s.Sid)
	}
	for i := range p.Statements {
		s := &p.Statements[i]
		l.principal(s)
		l.actions(s)
		l.resources(s, p.Version == "2012-10-17")
		l.conditions(s, p.Version == "2012-10-17")
	}
	slices.SortStableFunc(l.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return l.findings
}

func (s *Statement) at() position { return position{s.Line, s.Column} }

// position gives the place of an item, or of the statement when the policy was not
// read from text.
func (s *Statement) position(places []position, i int) position {
	if i < len(places) {
		return places[i]
	}
	return s.at()
}

func (l *linter) principal(s *Statement) {
	named := s.Principal != nil || s.NotPrincipal != nil
	switch l.kind {
	case Identity, Boundary, Session, SCP:
		if named {
			l.find("ERROR", "UNSUPPORTED_PRINCIPAL", s.at(), "A policy of this kind applies to whom it is attached to: it has no Principal.")
		}
		return
	}
	if !named {
		l.find("ERROR", "MISSING_PRINCIPAL", s.at(), "The statement has no Principal.")
	}
	if s.NotPrincipal != nil && s.Effect == "Allow" {
		l.find("SECURITY_WARNING", "ALLOW_WITH_NOT_PRINCIPAL", s.at(), "Allow with NotPrincipal allows everyone else, without credentials too.")
	} else if s.NotPrincipal != nil && l.kind == Trust {
		l.find("ERROR", "UNSUPPORTED_ELEMENT_COMBINATION", s.at(), "A trust policy has no NotPrincipal.")
	}
	for _, n := range slices.Concat(s.Principal, s.NotPrincipal) {
		at := position{n.Line, n.Column}
		if !n.valid() {
			l.find("ERROR", "INVALID_PRINCIPAL", at, "%q is not a principal of kind %s.", n.Value, cmp.Or(n.Kind, "*"))
		} else if n.Value == "*" && s.Effect == "Allow" && s.NotPrincipal == nil && len(s.Condition) == 0 {
			l.find("SECURITY_WARNING", "ALLOW_WITH_UNRESTRICTED_PRINCIPAL", at, "The statement allows everyone, and no condition restricts it.")
		}
	}
}

func (l *linter) actions(s *Statement) {
	if len(s.actions()) == 0 {
		l.find("ERROR", "MISSING_ACTION", s.at(), "The statement has no Action.")
	}
	seen := map[string]bool{}
	for i, a := range s.actions() {
		at := s.position(s.actionAt, i)
		switch {
		case actionFault(a) != "":
			l.find("ERROR", "INVALID_ACTION", at, "%q is not an action: %s", a, actionFault(a))
		case a != "*" && l.ref.Action != nil && !l.ref.Action(a):
			l.find("ERROR", "INVALID_ACTION", at, "There is no action %s.", a)
		case l.kind == Trust && !foldPrefix(a, "sts:"):
			l.find("ERROR", "MISMATCHED_ACTION_FOR_TRUST", at, "A trust policy may only name actions of sts.")
		}
		if seen[lowered(a)] {
			l.find("SUGGESTION", "REDUNDANT_ACTION", at, "The action %s is there twice.", a)
		}
		seen[lowered(a)] = true
		if foldEqual(a, "iam:PassRole") || a == "*" || foldEqual(a, "iam:*") {
			if s.Effect == "Allow" && s.NotAction == nil && slices.Contains(s.Resource, "*") && len(s.Condition) == 0 && l.kind != SCP && l.kind != Boundary {
				l.find("SECURITY_WARNING", "PASS_ROLE_WITH_STAR_IN_RESOURCE", at, "%s on every resource lets every role be passed.", a)
			}
		}
	}
	if s.NotAction != nil && s.Effect == "Allow" && l.kind != SCP && l.kind != Boundary {
		l.find("WARNING", "ALLOW_WITH_NOT_ACTION", s.at(), "Allow with NotAction allows all else, of all services, those to come too.")
	}
}

func (l *linter) resources(s *Statement, variables bool) {
	switch {
	case l.kind == Trust:
		if s.Resource != nil || s.NotResource != nil {
			l.find("ERROR", "UNSUPPORTED_RESOURCE", s.at(), "A trust policy is about its role: it has no Resource.")
		}
		return
	case len(s.resources()) == 0:
		l.find("ERROR", "MISSING_RESOURCE", s.at(), "The statement has no Resource.")
	}
	seen := map[string]bool{}
	for i, r := range s.resources() {
		at := s.position(s.resourceAt, i)
		if seen[r] {
			l.find("SUGGESTION", "REDUNDANT_RESOURCE", at, "The resource %s is there twice.", r)
		}
		seen[r] = true
		switch fault := resourceFault(r); {
		case fault != "":
			l.find("ERROR", "INVALID_ARN", at, "%s", fault)
		case failsLegacyParsing(r):
			l.find("ERROR", "INVALID_ARN", at, "%q is not an ARN.", r)
		case r != "*" && strings.Count(r, ":") < 5:
			l.find("WARNING", "INCOMPLETE_ARN", at, "%q has fewer than six parts and is read as %s.", r, r+strings.Repeat(":*", 5-strings.Count(r, ":")))
		case compiledBad(r, variables):
			l.find("ERROR", "INVALID_VARIABLE", at, "%q has a variable that cannot be read, or one before the fifth colon.", r)
		}
		if !variables && strings.Contains(r, "${") {
			l.find("WARNING", "VARIABLE_NEEDS_VERSION", at, "Variables need Version 2012-10-17; here %q is text.", r)
		}
	}
}

func compiledBad(resource string, variables bool) bool {
	r := compileResource(resource, variables)
	return r.bad
}

// multivalued are the global keys that have lists; service keys are not known here.
var multivalued = []string{
	"aws:calledvia", "aws:principalorgpaths", "aws:principalservicenameslist",
	"aws:resourceorgpaths", "aws:sourceorgpaths", "aws:tagkeys", "aws:vpceorgpaths",
}

func (l *linter) conditions(s *Statement, variables bool) {
	for i := range s.Condition {
		c := &s.Condition[i]
		at := position{c.Line, c.Column}
		o, quantifier, ifExists := parseOperator(c.Operator)
		if o == nil {
			if c.Values != nil {
				l.find("ERROR", "INVALID_CONDITION_OPERATOR", at, "There is no condition operator %s.", c.Operator)
			}
			continue
		}
		if c.Values == nil {
			l.find("SUGGESTION", "EMPTY_OBJECT_CONDITION", at, "The operator %s has no keys and no effect.", c.Operator)
			continue
		}
		if len(c.Values) == 0 {
			l.find("SUGGESTION", "EMPTY_ARRAY_CONDITION", at, "The key %s has no values.", c.Key)
		}
		for _, v := range c.Values {
			if _, ok := o.operand(o, v, variables); !ok {
				l.find("ERROR", "INVALID_CONDITION_VALUE", at, "%q is not a value for %s.", v, c.Operator)
			}
			if !variables && strings.Contains(v, "${") {
				l.find("WARNING", "VARIABLE_NEEDS_VERSION", at, "Variables need Version 2012-10-17; here %q is text.", v)
			}
		}
		l.key(s, c)

		key := lowered(c.Key)
		many := slices.Contains(multivalued, key)
		switch {
		case many && quantifier == setNone && !o.isNull():
			l.find("ERROR", "MISSING_SET_OPERATOR", at, "The key %s has several values: it needs ForAllValues or ForAnyValue.", c.Key)
		case quantifier == setAll && s.Effect == "Allow" && !o.negated && !checksPresence(s, key):
			l.find("SECURITY_WARNING", "FORALLVALUES_WITH_ALLOW", at, "ForAllValues is true for a request without %s. Add Null with %s and false.", c.Key, c.Key)
		case quantifier != setNone && strings.HasPrefix(key, "aws:") && !many && !ifExists:
			l.find("SECURITY_WARNING", "SET_OPERATOR_ON_SINGLE_VALUE", at, "The key %s has one value: set operators are for keys with several.", c.Key)
		}
	}
}

// key asks the reference about the key of a condition.
func (l *linter) key(s *Statement, c *Condition) {
	if l.ref.Key == nil {
		return
	}
	prefix, _, ok := strings.Cut(lowered(c.Key), ":")
	if ok && prefix == "aws" {
		if !l.ref.Key("", c.Key) {
			l.find("ERROR", "INVALID_GLOBAL_CONDITION_KEY", position{c.Line, c.Column}, "There is no global condition key %s.", c.Key)
		}
		return
	}
	if l.kind == Trust {
		return // identity providers bring keys of their own
	}
	// A key of a service must be known to one of the services that the actions name.
	for _, a := range s.actions() {
		service := actionService(lowered(a))
		if service == "" || firstWildcard(service) < len(service) || l.ref.Key(service, c.Key) {
			return
		}
	}
	l.find("ERROR", "INVALID_SERVICE_CONDITION_KEY", position{c.Line, c.Column}, "No service of the statement's actions has the condition key %s.", c.Key)
}

// checksPresence says whether a Null condition asks for the key to be there.
func checksPresence(s *Statement, key string) bool {
	for _, c := range s.Condition {
		if o, _, _ := parseOperator(c.Operator); o != nil && o.isNull() && lowered(c.Key) == key && slices.ContainsFunc(c.Values, func(v string) bool { return foldEqual(v, "false") }) {
			return true
		}
	}
	return false
}
