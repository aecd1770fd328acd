package policy

import (
	"cmp"
	"math/bits"
	"slices"
	"strings"
)

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

// firstWildcard gives the index of the first star or question mark, or the length of s.
func firstWildcard(s string) int {
	for i := range len(s) {
		if s[i] == '*' || s[i] == '?' {
			return i
		}
	}
	return len(s)
}

// An actionIndex holds the patterns of Action or NotAction elements, each once, so
// that those that match an action are found without looking at the others: first
// by the service, then by halving the sorted patterns of that service.
//
//	pattern       literal        parent
//	s3:*          s3:            none
//	s3:get*       s3:get         s3:*
//	s3:getobject  s3:getobject   s3:get*
//	s3:put*       s3:put         s3:*
//
// Whatever matches s3:GetObjectAcl has a literal that begins it. The last literal
// that is not behind it in the alphabet, s3:getobject, leads to all of those: they
// are that one and its parents.
type actionIndex struct {
	patterns []actionPattern // by service and literal; those whose service is not plain come first
	wild     int32           // how many these are
	services []span          // hash table: the patterns of a service, in the place of its hash or the next that is free
}

// An actionPattern is one item of Action or NotAction.
type actionPattern struct {
	text    string // lower case
	service int32  // length of what stands before the colon, or 0 when that has a wildcard
	literal int32  // length of what stands before the first wildcard
	parent  int32  // the nearest pattern before this one with whose literal this one's begins, or -1
	class   int32  // of a Program
}

// A span is a piece of a list.
type span struct{ from, to int32 }

// newActionIndex makes an index of patterns that have a text, each another one, and a class.
func newActionIndex(patterns []actionPattern) actionIndex {
	for i := range patterns {
		p := &patterns[i]
		p.literal = int32(firstWildcard(p.text))
		if name, _ := service(p.text); len(name) <= int(p.literal) {
			p.service = int32(len(name))
		}
	}
	slices.SortFunc(patterns, func(p, q actionPattern) int {
		return cmp.Or(strings.Compare(p.text[:p.service], q.text[:q.service]), strings.Compare(p.text[:p.literal], q.text[:q.literal]))
	})
	for i := range patterns {
		p := &patterns[i]
		p.parent = int32(i) - 1
		for p.parent >= 0 && !patterns[p.parent].begins(p) {
			p.parent = patterns[p.parent].parent
		}
	}

	x := actionIndex{patterns: patterns}
	var spans []span
	for i := range patterns {
		switch p := &patterns[i]; {
		case p.service == 0:
			x.wild++
		case i == 0 || p.text[:p.service] != patterns[i-1].text[:patterns[i-1].service]:
			spans = append(spans, span{int32(i), int32(i) + 1})
		default:
			spans[len(spans)-1].to++
		}
	}
	if len(spans) > 0 {
		x.services = make([]span, 1<<bits.Len(uint(2*len(spans)-1))) // half of it stays free
	}
	for _, s := range spans {
		_, hash := service(patterns[s.from].text)
		mask := uint32(len(x.services) - 1)
		for x.services[hash&mask] != (span{}) {
			hash++
		}
		x.services[hash&mask] = s
	}
	return x
}

// begins says whether the literal of q, which is of the same service, begins with that of p.
func (p *actionPattern) begins(q *actionPattern) bool {
	return p.text[:p.service] == q.text[:q.service] && strings.HasPrefix(q.text[:q.literal], p.text[:p.literal])
}

// service gives what stands before the colon of an action, or all of it when there
// is none, and a hash of that in which case does not count.
func service(action string) (name string, hash uint32) {
	name = action
	var h uint64
	for i := range len(action) {
		c := action[i]
		if c == ':' {
			name = action[:i]
			break
		}
		h = bits.RotateLeft64(h, 7) ^ uint64(c|0x20)
	}
	return name, uint32(h * 0x9E3779B97F4A7C15 >> 32)
}

// find appends the classes of the patterns that match an action, each once. It does
// not allocate as long as found has room.
func (x *actionIndex) find(found []int32, action Action) []int32 {
	spans := [2]span{{0, x.wild}, x.of(string(action))}
	if spans[0].to == 0 && spans[1].to == 0 {
		return found
	}
	var buf [64]byte
	folded := buf[:0]
	for i := range len(action) {
		folded = append(folded, lower(action[i]))
	}
	for _, s := range spans {
		for i := x.last(s, folded); i >= s.from; i = x.patterns[i].parent {
			p := &x.patterns[i]
			if p.match(folded, action) && !slices.Contains(found, p.class) {
				found = append(found, p.class)
			}
		}
	}
	return found
}

// matches says whether some pattern matches an action.
func (x *actionIndex) matches(action Action) bool {
	var buf [4]int32
	return len(x.find(buf[:0], action)) > 0
}

// of gives the patterns of the action's service.
func (x *actionIndex) of(action string) span {
	if len(x.services) == 0 {
		return span{}
	}
	name, hash := service(action)
	for mask := uint32(len(x.services) - 1); ; hash++ {
		s := x.services[hash&mask]
		if s.to == 0 {
			return s
		}
		if p := &x.patterns[s.from]; foldEqual(name, p.text[:p.service]) {
			return s
		}
	}
}

// last gives the last pattern of a span whose literal is not behind the action, or
// one before the span.
func (x *actionIndex) last(s span, action []byte) int32 {
	for s.from < s.to {
		middle := (s.from + s.to) / 2
		if p := &x.patterns[middle]; p.text[:p.literal] <= string(action) {
			s.from = middle + 1
		} else {
			s.to = middle
		}
	}
	return s.from - 1
}

// match says whether the pattern matches an action, which folded has in lower case.
func (p *actionPattern) match(folded []byte, action Action) bool {
	n := int(p.literal)
	if len(folded) < n || string(folded[:n]) != p.text[:n] {
		return false
	}
	switch rest := p.text[n:]; rest {
	case "":
		return len(action) == n
	case "*":
		return true
	default:
		return foldGlob(rest, string(action[n:]))
	}
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
