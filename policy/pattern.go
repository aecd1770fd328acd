package policy

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/iamd-dev/iamd/arn"
)

// A pattern is a text of a policy that stands for other texts: it may have
// wildcards and policy variables.
//
//	home/${aws:username}/*          a variable
//	team/${aws:PrincipalTag/team, 'none'}
//	100${*} ${?} ${$}               the characters * ? $ themselves
//
// What a variable stands for is taken as it is: a star in a user's tag is a star.
type pattern struct {
	text   string  // the pattern, when it has no variables
	tokens []token // else its pieces
}

// A token is a piece of a pattern with variables.
type token struct {
	kind     tokenKind
	text     string // of tokenText; of tokenVariable, its key in lower case
	fallback string // of tokenVariable: what it stands for when the key is absent
	optional bool   // there is a fallback
}

type tokenKind uint8

const (
	tokenText tokenKind = iota
	tokenStar
	tokenOne
	tokenVariable
)

// compilePattern reads s as a pattern. Wildcards are read only if wild, variables
// only if variables, which is for policies of version 2012-10-17. It says false
// when s has a variable that cannot be read.
func compilePattern(s string, wild, variables bool) (pattern, bool) {
	if !variables || !strings.Contains(s, "${") {
		return pattern{text: s}, true
	}
	var p pattern
	for s != "" {
		var t token
		switch {
		case strings.HasPrefix(s, "${"):
			var ok bool
			if t, s, ok = readVariable(s); !ok {
				return pattern{}, false
			}
		case wild && s[0] == '*':
			t, s = token{kind: tokenStar}, s[1:]
		case wild && s[0] == '?':
			t, s = token{kind: tokenOne}, s[1:]
		default:
			end := 1
			for end < len(s) && !strings.HasPrefix(s[end:], "${") && !(wild && (s[end] == '*' || s[end] == '?')) {
				end++
			}
			t, s = token{kind: tokenText, text: s[:end]}, s[end:]
		}
		p.tokens = append(p.tokens, t)
	}
	return p, true
}

// readVariable reads the variable with which s begins and gives the rest of s.
func readVariable(s string) (t token, rest string, ok bool) {
	s = s[len("${"):]
	end := strings.IndexAny(s, ",}")
	if end <= 0 {
		return token{}, "", false
	}
	name := s[:end]
	if s[end] == '}' {
		rest = s[end+1:]
		if name == "*" || name == "?" || name == "$" {
			return token{kind: tokenText, text: name}, rest, true
		}
		return token{kind: tokenVariable, text: lowered(name)}, rest, true
	}
	s, ok = strings.CutPrefix(strings.TrimLeft(s[end+1:], " "), "'")
	if !ok {
		return token{}, "", false
	}
	fallback, rest, ok := strings.Cut(s, "'}")
	if !ok {
		return token{}, "", false
	}
	return token{kind: tokenVariable, text: lowered(name), fallback: fallback, optional: true}, rest, true
}

// resolve puts the request's values in the place of variables. It says false when
// a key is absent and has no fallback, or has more values than one can stand for.
// The tokens are appended to buf, which the caller keeps on its stack.
func (p *pattern) resolve(buf []token, c Context) ([]token, bool) {
	for _, t := range p.tokens {
		if t.kind == tokenVariable {
			v, ok := c.Value(t.text)
			switch {
			case ok && !v.list:
				t = token{kind: tokenText, text: v.one}
			case !ok && t.optional:
				t = token{kind: tokenText, text: t.fallback}
			default:
				return nil, false
			}
		}
		buf = append(buf, t)
	}
	return buf, true
}

// resolves says whether every variable stands for something in this request.
func (p *pattern) resolves(c Context) bool {
	var buf [few]token
	_, ok := p.resolve(buf[:0], c)
	return ok
}

// few is how many tokens fit the stack. More are right, but allocate.
const few = 12

// equal says whether the pattern, which has no wildcards, stands for s.
func (p *pattern) equal(s string, c Context) bool {
	if p.tokens == nil {
		return p.text == s
	}
	var buf [few]token
	tokens, ok := p.resolve(buf[:0], c)
	if !ok {
		return false
	}
	n, ok := prefixTokens(tokens, s)
	return ok && n == len(s)
}

// equalFold is equal without regard to case.
func (p *pattern) equalFold(s string, c Context) bool {
	if p.tokens == nil {
		return strings.EqualFold(p.text, s)
	}
	var buf [few]token
	tokens, ok := p.resolve(buf[:0], c)
	if !ok {
		return false
	}
	for i := range tokens {
		for _, want := range tokens[i].text {
			got, n := utf8.DecodeRuneInString(s)
			if n == 0 || !sameLetter(want, got) {
				return false
			}
			s = s[n:]
		}
	}
	return s == ""
}

// sameLetter says whether a and b are one letter but for its case.
func sameLetter(a, b rune) bool {
	for r := unicode.SimpleFold(a); a != b; r = unicode.SimpleFold(r) {
		if r == b {
			break
		}
		if r == a {
			return false
		}
	}
	return true
}

// glob says whether the pattern stands for s.
func (p *pattern) glob(s string, c Context) bool {
	if p.tokens == nil {
		return arn.Glob(p.text, s)
	}
	var buf [few]token
	tokens, ok := p.resolve(buf[:0], c)
	return ok && globTokens(tokens, s)
}

// globARN says whether the pattern stands for s, comparing the six parts of ARNs one by one.
func (p *pattern) globARN(s string, c Context) bool {
	if p.tokens == nil {
		return arn.ARN(s).Match(p.text)
	}
	var buf, partBuf [few]token
	tokens, ok := p.resolve(buf[:0], c)
	if !ok {
		return false
	}
	for range 5 {
		part, more, ok := cutTokens(partBuf[:0], tokens)
		got, rest, ok2 := strings.Cut(s, ":")
		if !ok || !ok2 || !globTokens(part, got) {
			return false
		}
		tokens, s = more, rest
	}
	return globTokens(tokens, s)
}

// cutTokens is strings.Cut at the first colon. The tokens before it are appended to
// buf; those after it take the place of the ones they were.
func cutTokens(buf, tokens []token) (before, after []token, ok bool) {
	for i := range tokens {
		if tokens[i].kind == tokenText {
			if head, tail, ok := strings.Cut(tokens[i].text, ":"); ok {
				tokens[i].text = tail
				return append(buf, token{kind: tokenText, text: head}), tokens[i:], true
			}
		}
		buf = append(buf, tokens[i])
	}
	return buf, nil, false
}

// globTokens is arn.Glob for tokens.
func globTokens(tokens []token, s string) bool {
	star := nextStar(tokens)
	n, ok := prefixTokens(tokens[:star], s)
	if star == len(tokens) {
		return ok && n == len(s)
	}
	if !ok {
		return false
	}
	s, tokens = s[n:], tokens[star+1:]
	for {
		star = nextStar(tokens)
		if star == len(tokens) {
			break
		}
		end := findTokens(tokens[:star], s)
		if end < 0 {
			return false
		}
		s, tokens = s[end:], tokens[star+1:]
	}
	return suffixTokens(tokens, s)
}

// nextStar gives the index of the first star, or the length.
func nextStar(tokens []token) int {
	for i := range tokens {
		if tokens[i].kind == tokenStar {
			return i
		}
	}
	return len(tokens)
}

// prefixTokens says whether s begins with the tokens, of which none is a star, and
// how many bytes that takes.
func prefixTokens(tokens []token, s string) (int, bool) {
	at := 0
	for i := range tokens {
		if tokens[i].kind == tokenOne {
			_, n := utf8.DecodeRuneInString(s[at:])
			if n == 0 {
				return 0, false
			}
			at += n
			continue
		}
		if !strings.HasPrefix(s[at:], tokens[i].text) {
			return 0, false
		}
		at += len(tokens[i].text)
	}
	return at, true
}

// suffixTokens says whether s ends with the tokens, of which none is a star.
func suffixTokens(tokens []token, s string) bool {
	for i := len(tokens) - 1; i >= 0; i-- {
		if tokens[i].kind == tokenOne {
			_, n := utf8.DecodeLastRuneInString(s)
			if n == 0 {
				return false
			}
			s = s[:len(s)-n]
			continue
		}
		var ok bool
		if s, ok = strings.CutSuffix(s, tokens[i].text); !ok {
			return false
		}
	}
	return true
}

// findTokens gives the end in s of the leftmost place where the tokens match, or -1.
func findTokens(tokens []token, s string) int {
	for i := range len(s) + 1 {
		if i < len(s) && !utf8.RuneStart(s[i]) {
			continue
		}
		if n, ok := prefixTokens(tokens, s[i:]); ok {
			return i + n
		}
	}
	return -1
}
