package sigv4

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" // SHA-256 of nothing

// appendCanonical writes the canonical form of a request: method, path, query,
// signed headers, payload hash. S3 encodes the path once and leaves it otherwise as it
// is; all others clean the path of dots and double slashes and encode it once more.
func appendCanonical(b []byte, r *http.Request, c *claim, payloadHash string, s3 bool) []byte {
	b = append(b, r.Method...)
	b = append(b, '\n')
	if s3 && r.URL.RawPath == "" {
		b = appendEscapedPath(b, r.URL.Path)
	} else if s3 {
		b = appendReescapedPath(b, r.URL.EscapedPath())
	} else {
		b = appendEscapedPath(b, cleanPath(r.URL.EscapedPath()))
	}
	b = append(b, '\n')
	b = appendCanonicalQuery(b, r.URL.RawQuery)
	b = append(b, '\n')
	for rest := c.signedHeaders; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, ";")
		b = append(b, name...)
		b = append(b, ':')
		b = appendHeader(b, r, name)
		b = append(b, '\n')
	}
	b = append(b, '\n')
	b = append(b, c.signedHeaders...)
	b = append(b, '\n')
	return append(b, payloadHash...)
}

// appendStringToSign writes what is signed in the end.
func appendStringToSign(b []byte, t time.Time, scope string, canonical []byte) []byte {
	b = append(b, algorithm+"\n"...)
	b = appendBasic(b, t)
	b = append(b, '\n')
	b = append(b, scope...)
	b = append(b, '\n')
	h := sha256.Sum256(canonical)
	return hex.AppendEncode(b, h[:])
}

// appendBasic is t.AppendFormat(b, basicISO) for a time in UTC of a year with four digits.
func appendBasic(b []byte, t time.Time) []byte {
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	two := func(n int) { b = append(b, byte('0'+n/10), byte('0'+n%10)) }
	two(year / 100)
	two(year % 100)
	two(int(month))
	two(day)
	b = append(b, 'T')
	two(hour)
	two(minute)
	two(second)
	return append(b, 'Z')
}

// appendHeader writes the values of a header, joined with commas, each trimmed
// and with runs of spaces folded into one.
func appendHeader(b []byte, r *http.Request, name string) []byte {
	switch name {
	case "host", ":authority":
		return appendFolded(b, r.Host)
	}
	values := r.Header[headerKey(name)]
	if len(values) == 0 {
		// net/http moves these out of the header.
		switch name {
		case "content-length":
			if r.ContentLength >= 0 {
				return strconv.AppendInt(b, r.ContentLength, 10)
			}
		case "transfer-encoding":
			values = r.TransferEncoding
		case "trailer":
			for name := range r.Trailer {
				values = append(values, name)
			}
			slices.Sort(values)
		}
	}
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendFolded(b, v)
	}
	return b
}

func appendFolded(b []byte, v string) []byte {
	v = strings.Trim(v, " \t")
	for i := range len(v) {
		if v[i] == ' ' && v[i-1] == ' ' {
			continue
		}
		b = append(b, v[i])
	}
	return b
}

// headerKey returns the name by which net/http stores the header of a name in lower case.
func headerKey(name string) string {
	switch name { // without an allocation, what nearly all requests sign
	case "content-type":
		return "Content-Type"
	case "x-amz-date":
		return "X-Amz-Date"
	case "x-amz-security-token":
		return "X-Amz-Security-Token"
	case "x-amz-content-sha256":
		return "X-Amz-Content-Sha256"
	case "x-amz-target":
		return "X-Amz-Target"
	case "content-length":
		return "Content-Length"
	}
	return http.CanonicalHeaderKey(name)
}

// cleanPath resolves "." and ".." and drops empty segments, as RFC 3986, 6.2.2.3,
// but keeps a slash at the end.
func cleanPath(p string) string {
	if p == "" || p == "/" {
		return "/"
	}
	if !strings.Contains(p, "//") && !strings.Contains(p, "/.") {
		return p
	}
	var kept []string
	end := ""
	for segment := range strings.SplitSeq(p, "/") {
		switch segment {
		case "", ".":
			end = "/"
		case "..":
			end = "/"
			kept = kept[:max(0, len(kept)-1)]
		default:
			end = ""
			kept = append(kept, segment)
		}
	}
	if len(kept) == 0 {
		return "/"
	}
	return "/" + strings.Join(kept, "/") + end
}

func appendEscapedPath(b []byte, p string) []byte {
	if p == "" {
		return append(b, '/')
	}
	for i := range len(p) {
		if p[i] == '/' {
			b = append(b, '/')
		} else {
			b = appendEscaped(b, p[i])
		}
	}
	return b
}

// appendReescapedPath encodes a path that came encoded in some unusual way. An
// escaped slash stays one: "/bucket%2Fkey" is not what "/bucket/key" signs.
func appendReescapedPath(b []byte, p string) []byte {
	for i := 0; i < len(p); i++ {
		c := p[i]
		if c == '/' {
			b = append(b, c)
			continue
		}
		if c == '%' && i+2 < len(p) {
			if hi, lo := unhex(p[i+1]), unhex(p[i+2]); hi < 16 && lo < 16 {
				c = hi<<4 | lo
				i += 2
			}
		}
		b = appendEscaped(b, c)
	}
	return b
}

// appendEscaped writes a byte as AWS's URI encoding has it: all but the
// unreserved characters of RFC 3986 as %XX with capital digits.
func appendEscaped(b []byte, c byte) []byte {
	if unreserved(c) {
		return append(b, c)
	}
	const digits = "0123456789ABCDEF"
	return append(b, '%', digits[c>>4], digits[c&15])
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.' || c == '~'
}

// appendCanonicalQuery writes the parameters of a query encoded in one way and
// ordered by name, then value. X-Amz-Signature, which cannot sign itself, is left out.
func appendCanonicalQuery(b []byte, query string) []byte {
	if query == "" {
		return b
	}
	type parameter struct{ name, value []byte }
	var space [16]parameter
	var text [1024]byte
	all, buf := space[:0], text[:0]
	for query != "" {
		var piece string
		piece, query, _ = strings.Cut(query, "&")
		if piece == "" {
			continue
		}
		name, value, _ := strings.Cut(piece, "=")
		start := len(buf)
		buf = appendReescaped(buf, name)
		middle := len(buf)
		buf = appendReescaped(buf, value)
		// When buf grows, slices of the smaller one still hold what they held.
		p := parameter{buf[start:middle:middle], buf[middle:len(buf):len(buf)]}
		if string(p.name) != "X-Amz-Signature" {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(p, q parameter) int {
		if n := bytes.Compare(p.name, q.name); n != 0 {
			return n
		}
		return bytes.Compare(p.value, q.value)
	})
	for i, p := range all {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(b, p.name...)
		b = append(b, '=')
		b = append(b, p.value...)
	}
	return b
}

// appendReescaped decodes a part of a query and encodes it in the one canonical way.
func appendReescaped(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(s):
			hi, lo := unhex(s[i+1]), unhex(s[i+2])
			if hi < 16 && lo < 16 {
				c = hi<<4 | lo
				i += 2
			}
		}
		b = appendEscaped(b, c)
	}
	return b
}

// unhex returns the value of a hexadecimal digit, 16 for anything else.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}

// checkEscapes finds broken percent escapes in a query.
func checkEscapes(query string, scope *Scope) error {
	for i := strings.IndexByte(query, '%'); i >= 0 && i < len(query); i++ {
		if query[i] != '%' {
			continue
		}
		const s3text = "Couldn't parse the specified URI."
		if i+2 >= len(query) {
			return scope.fault(badQuery, "Incomplete trailing escape % sequence", s3text)
		}
		if unhex(query[i+1]) > 15 || unhex(query[i+2]) > 15 {
			return scope.fault(badQuery, "Illegal hex character in escape % pattern: %"+query[i+1:i+3], s3text)
		}
	}
	return nil
}

// queryValue returns the first value of a parameter, decoded.
func queryValue(query, name string) (string, bool) {
	for query != "" {
		var piece string
		piece, query, _ = strings.Cut(query, "&")
		key, value, _ := strings.Cut(piece, "=")
		if unescape(key) != name {
			continue
		}
		return unescape(value), true
	}
	return "", false
}

func unescape(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(s):
			if hi, lo := unhex(s[i+1]), unhex(s[i+2]); hi < 16 && lo < 16 {
				c = hi<<4 | lo
				i += 2
			}
		}
		b = append(b, c)
	}
	return string(b)
}
