package policy

// Actions are compared without regard to case, in ASCII: no other letters occur
// in them, and no other letter may pass for one.

// lower gives c as a small letter.
func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// lowered gives s in small letters; it allocates only when s has a capital.
func lowered(s string) string {
	for i := range len(s) {
		if s[i] != lower(s[i]) {
			b := []byte(s)
			for j := range b {
				b[j] = lower(b[j])
			}
			return string(b)
		}
	}
	return s
}

// foldEqual says whether a and b differ at most in the case of ASCII letters.
func foldEqual(a, b string) bool {
	return len(a) == len(b) && foldPrefix(a, b)
}

// foldPrefix says whether s begins with prefix, but for the case of ASCII letters.
func foldPrefix(s, prefix string) bool {
	if len(s) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		if s[i] != prefix[i] && lower(s[i]) != lower(prefix[i]) {
			return false
		}
	}
	return true
}

// An actionPattern is one item of Action or NotAction.
type actionPattern struct {
	text string // lower case; of a prefix, without its star
	form form
}

type form uint8

const (
	formGlob   form = iota // wildcards anywhere
	formAny                // "*"
	formExact              // no wildcards
	formPrefix             // one star, at the end
)

func compileAction(s string) actionPattern {
	s = lowered(s)
	switch star := firstWildcard(s); {
	case s == "*":
		return actionPattern{s, formAny}
	case star == len(s):
		return actionPattern{s, formExact}
	case star == len(s)-1 && s[star] == '*':
		return actionPattern{s[:star], formPrefix}
	}
	return actionPattern{s, formGlob}
}

// firstWildcard gives the index of the first star or question mark, or the length of s.
func firstWildcard(s string) int {
	for i := range len(s) {
		if s[i] == '*' || s[i] == '?' {
			return i
		}
	}
	return len(s)
}

func (p *actionPattern) match(a Action) bool {
	switch p.form {
	case formAny:
		return true
	case formExact:
		return foldEqual(string(a), p.text)
	case formPrefix:
		return foldPrefix(string(a), p.text)
	}
	return foldGlob(p.text, string(a))
}

// foldGlob is arn.Glob without regard to case, for a pattern in lower case. Actions
// are short, so that going back to the last star for every character is fast enough.
func foldGlob(pattern, s string) bool {
	p, i := 0, 0
	star, after := -1, 0 // the last star met, and where in s the text behind it is tried
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, after = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == lower(s[i])):
			p++
			i++
		case star >= 0:
			after++
			p, i = star+1, after
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
