package arn

import "strings"

// Glob says whether pattern matches the whole of s. A star matches any number of
// characters, a question mark exactly one; a character is a UTF-8 sequence. All
// else matches itself, case included. There is no escape.
//
// The pieces between stars are looked for from left to right, each once, so there
// is no backtracking over stars: the time is linear, but for pieces with question
// marks, which need at most the length of the piece times that of s.
func Glob(pattern, s string) bool {
	star := strings.IndexByte(pattern, '*')
	if star < 0 {
		n, ok := prefix(pattern, s)
		return ok && n == len(s)
	}

	// What stands before the first star must begin s, what stands after the last must end it.
	n, ok := prefix(pattern[:star], s)
	if !ok {
		return false
	}
	s, pattern = s[n:], pattern[star+1:]
	last := strings.LastIndexByte(pattern, '*')
	n, ok = suffix(pattern[last+1:], s)
	if !ok {
		return false
	}
	s, pattern = s[:len(s)-n], pattern[:max(last, 0)]

	// What stands between must follow in order; the leftmost place leaves the most for the rest.
	for pattern != "" {
		var piece string
		piece, pattern, _ = strings.Cut(pattern, "*")
		end := find(piece, s)
		if end < 0 {
			return false
		}
		s = s[end:]
	}
	return true
}

// prefix says whether s begins with piece, which has no stars, and how many bytes of s that takes.
func prefix(piece, s string) (int, bool) {
	if strings.IndexByte(piece, '?') < 0 {
		return len(piece), strings.HasPrefix(s, piece)
	}
	n := 0
	for i := 0; i < len(piece); i++ {
		if n == len(s) || piece[i] != '?' && piece[i] != s[n] {
			return 0, false
		}
		n++
		for piece[i] == '?' && n < len(s) && continues(s[n]) {
			n++
		}
	}
	return n, true
}

// suffix says whether s ends with piece, which has no stars, and how many bytes of s that takes.
func suffix(piece, s string) (int, bool) {
	if strings.IndexByte(piece, '?') < 0 {
		return len(piece), strings.HasSuffix(s, piece)
	}
	n := len(s)
	for i := len(piece) - 1; i >= 0; i-- {
		if n == 0 || piece[i] != '?' && piece[i] != s[n-1] {
			return 0, false
		}
		n--
		for piece[i] == '?' && n > 0 && continues(s[n]) {
			n--
		}
	}
	return len(s) - n, true
}

// find gives the end in s of the leftmost match of piece, which has no stars, or -1.
func find(piece, s string) int {
	if strings.IndexByte(piece, '?') < 0 {
		if i := strings.Index(s, piece); i >= 0 {
			return i + len(piece)
		}
		return -1
	}
	for i := range len(s) {
		if n, ok := prefix(piece, s[i:]); ok {
			return i + n
		}
	}
	return -1
}

// continues says whether b is a byte of a UTF-8 sequence other than its first.
func continues(b byte) bool { return b&0xC0 == 0x80 }
