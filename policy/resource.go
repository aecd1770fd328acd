package policy

import (
	"strings"

	"github.com/iamd-dev/iamd/arn"
)

// A resourcePattern is one item of Resource or NotResource.
type resourcePattern struct {
	form    form
	literal string  // what the ARN must begin with: all before the first wildcard or variable
	rest    pattern // what follows it, when literal reaches over the fifth colon and form is formGlob
	parts   *arnPattern
	bad     bool // has a variable that cannot be read, or before the fifth colon
}

// An arnPattern has wildcards before the fifth colon.
type arnPattern struct {
	first [5]string
	last  pattern
}

func compileResource(s string, variables bool) resourcePattern {
	if strings.Trim(s, "*") == "" && s != "" {
		return resourcePattern{form: formAny}
	}
	if strings.HasPrefix(s, "arn:") {
		for strings.Count(s, ":") < 5 { // AWS reads arn:aws:ec2 as arn:aws:ec2:*:*:*
			s += ":*"
		}
	}
	end := firstWildcard(s)
	if variable := strings.Index(s, "${"); variables && variable >= 0 {
		end = min(end, variable)
	}
	r := resourcePattern{literal: s[:end], form: formGlob}
	switch {
	case end == len(s):
		r.form = formExact
		return r
	case strings.Count(r.literal, ":") >= 5:
		if s[end:] == "*" {
			r.form = formPrefix
			return r
		}
		p, ok := compilePattern(s[end:], true, variables)
		r.rest, r.bad = p, !ok
		return r
	}
	parts := &arnPattern{}
	for i := range parts.first {
		part, more, ok := strings.Cut(s, ":")
		if !ok || variables && strings.Contains(part, "${") {
			r.bad = true
			return r
		}
		parts.first[i], s = part, more
	}
	p, ok := compilePattern(s, true, variables)
	parts.last, r.parts, r.bad = p, parts, !ok
	return r
}

// match says whether the pattern means the resource. It is unknown whether a
// variable that cannot be read does. A variable that stands for nothing in this
// request makes the pattern match nothing; in NotResource that would be to the
// caller's good, so there it is unknown too.
func (r *resourcePattern) match(a arn.ARN, c Context, notResource bool) truth {
	if r.form == formAny {
		return yes
	}
	s := string(a)
	if !strings.HasPrefix(s, r.literal) || s == "*" {
		return no
	}
	rest := &r.rest
	switch {
	case r.form == formExact:
		return truthOf(len(s) == len(r.literal))
	case r.form == formPrefix:
		return yes
	case r.bad:
		return unknown
	case r.parts == nil:
		s = s[len(r.literal):]
	default:
		for i := range r.parts.first {
			part, more, ok := strings.Cut(s, ":")
			if !ok || !arn.Glob(r.parts.first[i], part) {
				return no
			}
			s = more
		}
		rest = &r.parts.last
	}
	switch {
	case rest.glob(s, c):
		return yes
	case notResource && !rest.resolves(c):
		return unknown
	}
	return no
}

// head gives the part of the pattern that stands before the first slash behind the
// fifth colon, if that has no wildcard: statements are indexed by it.
func (r *resourcePattern) head() (string, bool) {
	if r.form == formAny || strings.Count(r.literal, ":") < 5 {
		return "", false
	}
	h, whole := head(r.literal)
	if !whole && r.form != formExact {
		return "", false // the wildcard is in the head
	}
	return h, true
}

// head cuts an ARN before the first slash behind its fifth colon, and says whether
// there is one.
func head(s string) (string, bool) {
	at := 0
	for range 5 {
		colon := strings.IndexByte(s[at:], ':')
		if colon < 0 {
			return s, false
		}
		at += colon + 1
	}
	slash := strings.IndexByte(s[at:], '/')
	if slash < 0 {
		return s, false
	}
	return s[:at+slash], true
}
