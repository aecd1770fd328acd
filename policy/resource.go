package policy

import (
	"iter"
	"strings"

	"github.com/iamd-dev/iamd/arn"
)

// A resourcePattern is one item of Resource or NotResource.
type resourcePattern struct {
	text      string // filled up to six parts
	literal   int32  // length of what stands before the first wildcard or variable
	statement int32  // that it belongs to
	variables int32  // of formVariables and formPartsVariables: where the program has the rest of the pattern
	form      form
}

// A form is what has to be done to match a pattern whose literal matches.
type form uint8

const (
	formAny            form = iota // "*": everything matches
	formExact                      // there is nothing behind the literal
	formPrefix                     // behind the literal stands a star
	formGlob                       // wildcards, all behind the fifth colon
	formParts                      // wildcards before the fifth colon
	formVariables                  // variables, and the literal reaches over the fifth colon
	formPartsVariables             // variables, and it does not
	formBad                        // a variable that cannot be read, or before the fifth colon
)

// newResourcePattern makes a pattern of text; of one with variables, all behind the
// literal or the fifth colon is given too.
func newResourcePattern(s string, variables bool) (r resourcePattern, rest pattern) {
	if strings.Trim(s, "*") == "" && s != "" {
		return resourcePattern{form: formAny, text: s}, pattern{}
	}
	if strings.HasPrefix(s, "arn:") {
		for strings.Count(s, ":") < 5 { // AWS reads arn:aws:ec2 as arn:aws:ec2:*:*:*
			s += ":*"
		}
	}
	end := firstWildcard(s)
	variable := strings.Index(s, "${")
	if !variables || variable < 0 {
		variable = len(s)
	}
	end = min(end, variable)
	r = resourcePattern{text: s, literal: int32(end)}
	sixth, parts := resourcePart(s)
	switch {
	case end == len(s):
		r.form = formExact
	case !parts || variable < sixth:
		r.form = formBad
	case variable < len(s):
		r.form = formVariables
		if end < sixth {
			r.form, end = formPartsVariables, sixth
		}
		var ok bool
		if rest, ok = compilePattern(s[end:], true, true); !ok {
			r.form = formBad
		}
	case end < sixth:
		r.form = formParts
	case s[end:] == "*":
		r.form = formPrefix
	default:
		r.form = formGlob
	}
	return r, rest
}

// resourcePart gives where the sixth part of an ARN begins.
func resourcePart(s string) (at int, ok bool) {
	for range 5 {
		colon := strings.IndexByte(s[at:], ':')
		if colon < 0 {
			return len(s), false
		}
		at += colon + 1
	}
	return at, true
}

// matchResource says whether a pattern means the resource. It is unknown whether a
// variable that cannot be read does. A variable that stands for nothing in this
// request makes the pattern match nothing; in NotResource that would be to the
// caller's good, so there it is unknown too.
func (g *Program) matchResource(r *resourcePattern, a arn.ARN, c Context, notResource bool) truth {
	s := string(a)
	if r.form == formAny {
		return yes
	}
	if !strings.HasPrefix(s, r.text[:r.literal]) || s == "*" {
		return no
	}
	switch r.form {
	case formExact:
		return truthOf(len(s) == len(r.text))
	case formPrefix:
		return yes
	case formGlob:
		return truthOf(arn.Glob(r.text[r.literal:], s[r.literal:]))
	case formParts:
		return truthOf(a.Match(r.text))
	case formBad:
		return unknown
	}

	rest, end := &g.variables[r.variables], int(r.literal)
	if r.form == formPartsVariables {
		// The first five parts have wildcards only, and the last is matched below.
		sixth, _ := resourcePart(r.text)
		var ok bool
		if end, ok = resourcePart(s); !ok || !arn.ARN(s[:end]).Match(r.text[:sixth]) {
			return no
		}
	}
	switch {
	case rest.glob(s[end:], c):
		return yes
	case notResource && !rest.resolves(c):
		return unknown
	}
	return no
}

// fixed gives the pieces of text that every ARN has that the pattern matches, and
// where: from the beginning, or -1 for anywhere.
func (g *Program) fixed(r *resourcePattern) iter.Seq2[string, int] {
	return func(yield func(text string, at int) bool) {
		if !yield(r.text[:r.literal], 0) {
			return
		}
		switch r.form {
		case formGlob, formParts:
			for s := range strings.FieldsFuncSeq(r.text[r.literal:], func(c rune) bool { return c == '*' || c == '?' }) {
				if !yield(s, -1) {
					return
				}
			}
		case formVariables, formPartsVariables:
			for _, t := range g.variables[r.variables].tokens {
				if t.kind == tokenText && !yield(t.text, -1) {
					return
				}
			}
		}
	}
}
