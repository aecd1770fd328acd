package policy

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// A node is a JSON value with its place in the text.
type node struct {
	kind    byte     // '{' '[' '"' '0' (number) 't' (true, false) 'n' (null)
	text    string   // of a string, decoded; of a number or boolean, as written
	members []member // of an object, in order
	items   []node   // of a list
	position
}

type member struct {
	name string
	position
	value node
}

type position struct{ line, column int }

// maxDepth bounds the nesting of documents. Policies need six.
const maxDepth = 32

// A reader reads JSON text. It is stricter than encoding/json where policies are:
// a name may stand only once in an object, and text must be valid UTF-8.
type reader struct {
	src string
	at  int
	position
}

// read reads a whole document.
func read(src []byte) (n node, err *SyntaxError) {
	r := &reader{src: string(src), position: position{1, 1}}
	defer func() {
		switch e := recover().(type) {
		case nil:
		case *SyntaxError:
			err = e
		default:
			panic(e)
		}
	}()
	r.space()
	n = r.value(0)
	r.space()
	if r.at < len(r.src) {
		r.fail("unexpected %s after the document", r.here())
	}
	return n, nil
}

// fail stops the reading; only read recovers it.
func (r *reader) fail(format string, args ...any) {
	panic(&SyntaxError{Line: r.line, Column: r.column, Msg: fmt.Sprintf(format, args...), fault: faultJSON})
}

// peek gives the next byte, or 0 at the end.
func (r *reader) peek() byte {
	if r.at < len(r.src) {
		return r.src[r.at]
	}
	return 0
}

// here describes the next character for a message.
func (r *reader) here() string {
	if r.at == len(r.src) {
		return "end"
	}
	c, _ := utf8.DecodeRuneInString(r.src[r.at:])
	return strconv.QuoteRune(c)
}

// skip moves over n bytes, which hold no newline and only ASCII.
func (r *reader) skip(n int) {
	r.at += n
	r.column += n
}

func (r *reader) space() {
	for {
		switch r.peek() {
		case ' ', '\t', '\r':
			r.skip(1)
		case '\n':
			r.at++
			r.line++
			r.column = 1
		default:
			return
		}
	}
}

func (r *reader) value(depth int) node {
	if depth > maxDepth {
		r.fail("nested more than %d deep", maxDepth)
	}
	n := node{position: r.position, kind: r.peek()}
	switch c := n.kind; {
	case c == '{':
		r.object(&n, depth)
	case c == '[':
		r.list(&n, depth)
	case c == '"':
		n.text = r.string()
	case c == 't' || c == 'f':
		n.kind = 't'
		n.text = r.word("true", "false")
	case c == 'n':
		n.text = r.word("null")
	case c == '-' || '0' <= c && c <= '9':
		n.kind = '0'
		n.text = r.number()
	default:
		r.fail("unexpected %s where a value should be", r.here())
	}
	return n
}

func (r *reader) object(n *node, depth int) {
	r.skip(1)
	seen := map[string]bool{}
	for r.space(); r.peek() != '}'; r.space() {
		if len(n.members) > 0 {
			if r.peek() != ',' {
				r.fail("unexpected %s where a comma or } should be", r.here())
			}
			r.skip(1)
			r.space()
		}
		if r.peek() != '"' {
			r.fail("unexpected %s where a name should be", r.here())
		}
		m := member{position: r.position}
		m.name = r.string()
		if seen[m.name] {
			r.position = m.position
			r.fail("%q is there twice", m.name)
		}
		seen[m.name] = true
		r.space()
		if r.peek() != ':' {
			r.fail("unexpected %s where a colon should be", r.here())
		}
		r.skip(1)
		r.space()
		m.value = r.value(depth + 1)
		n.members = append(n.members, m)
	}
	r.skip(1)
}

func (r *reader) list(n *node, depth int) {
	r.skip(1)
	for r.space(); r.peek() != ']'; r.space() {
		if len(n.items) > 0 {
			if r.peek() != ',' {
				r.fail("unexpected %s where a comma or ] should be", r.here())
			}
			r.skip(1)
			r.space()
		}
		n.items = append(n.items, r.value(depth+1))
	}
	r.skip(1)
}

func (r *reader) word(words ...string) string {
	for _, w := range words {
		if strings.HasPrefix(r.src[r.at:], w) {
			r.skip(len(w))
			return w
		}
	}
	r.fail("unexpected %s where a value should be", r.here())
	return ""
}

func (r *reader) number() string {
	start := r.at
	digits := func() {
		if c := r.peek(); c < '0' || c > '9' {
			r.fail("unexpected %s in a number", r.here())
		}
		for c := r.peek(); '0' <= c && c <= '9'; c = r.peek() {
			r.skip(1)
		}
	}
	if r.peek() == '-' {
		r.skip(1)
	}
	if r.peek() == '0' {
		r.skip(1)
	} else {
		digits()
	}
	if r.peek() == '.' {
		r.skip(1)
		digits()
	}
	if c := r.peek(); c == 'e' || c == 'E' {
		r.skip(1)
		if c := r.peek(); c == '+' || c == '-' {
			r.skip(1)
		}
		digits()
	}
	return r.src[start:r.at]
}

func (r *reader) string() string {
	r.skip(1)
	if end := strings.IndexAny(r.src[r.at:], "\"\\"); end >= 0 && r.src[r.at+end] == '"' && plain(r.src[r.at:r.at+end]) {
		s := r.src[r.at : r.at+end]
		r.skip(end + 1)
		return s
	}
	var b strings.Builder
	for {
		switch c := r.peek(); {
		case r.at == len(r.src):
			r.fail("text without an end")
		case c == '"':
			r.skip(1)
			return b.String()
		case c == '\\':
			r.escape(&b)
		case c < ' ':
			r.fail("unexpected %s in text", r.here())
		default:
			char, n := utf8.DecodeRuneInString(r.src[r.at:])
			if char == utf8.RuneError && n == 1 {
				r.fail("text is not valid UTF-8")
			}
			b.WriteRune(char)
			r.at += n
			r.column++
		}
	}
}

// plain says whether s is printable ASCII.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func (r *reader) escape(b *strings.Builder) {
	r.skip(1)
	c := r.peek()
	if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 && c != 0 {
		b.WriteByte("\"\\/\b\f\n\r\t"[i])
		r.skip(1)
		return
	}
	if c != 'u' {
		r.fail("unexpected %s after a backslash", r.here())
	}
	char := r.hex()
	if utf16.IsSurrogate(char) {
		if !strings.HasPrefix(r.src[r.at:], `\u`) {
			r.fail("half of a surrogate pair")
		}
		r.skip(1)
		if char = utf16.DecodeRune(char, r.hex()); char == utf8.RuneError {
			r.fail("half of a surrogate pair")
		}
	}
	b.WriteRune(char)
}

// hex reads uXXXX.
func (r *reader) hex() rune {
	if r.at+5 > len(r.src) {
		r.fail("text without an end")
	}
	n, err := strconv.ParseUint(r.src[r.at+1:r.at+5], 16, 16)
	if err != nil {
		r.fail(`\u without four hexadecimal digits`)
	}
	r.skip(5)
	return rune(n)
}
