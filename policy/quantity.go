package policy

import (
	"cmp"
	"strconv"
	"strings"
	"time"
)

// A number is a decimal number, kept as its digits so that it is compared exactly.
type number struct {
	negative bool
	whole    string // without leading zeros
	fraction string // without trailing zeros
}

// parseNumber reads an integer or decimal number: no exponent, no spaces.
func parseNumber(s string) (number, bool) {
	var n number
	if s != "" && (s[0] == '-' || s[0] == '+') {
		n.negative = s[0] == '-'
		s = s[1:]
	}
	whole, fraction, point := strings.Cut(s, ".")
	if whole == "" || point && fraction == "" || !digits(whole) || !digits(fraction) {
		return number{}, false
	}
	n.whole, n.fraction = strings.TrimLeft(whole, "0"), strings.TrimRight(fraction, "0")
	if n.whole == "" && n.fraction == "" {
		n.negative = false
	}
	return n, true
}

// digits says whether s has nothing but digits.
func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func (n number) compare(m number) int {
	if n.negative != m.negative {
		if n.negative {
			return -1
		}
		return 1
	}
	c := cmp.Or(
		cmp.Compare(len(n.whole), len(m.whole)),
		strings.Compare(n.whole, m.whole),
		strings.Compare(n.fraction, m.fraction),
	)
	if n.negative {
		return -c
	}
	return c
}

// An instant is a point in time. It reaches further than time.Time can be printed,
// as AWS's dates do.
type instant struct {
	seconds     int64 // since 1970
	nanoseconds int
}

func (i instant) compare(j instant) int {
	return cmp.Or(cmp.Compare(i.seconds, j.seconds), cmp.Compare(i.nanoseconds, j.nanoseconds))
}

// parseDate reads a date in the forms that AWS accepts: seconds since 1970, or
// ISO 8601 with as much as there is of
//
//	2026-03-01T12:30:05.123456789+01:00
//
// from the year on; single digits are taken for months to seconds, the T may be
// small, the offset may lack its minutes, and without one the time is UTC. Four
// digits alone are a year, any other number is seconds.
func parseDate(s string) (instant, bool) {
	if whole := strings.TrimPrefix(s, "-"); digits(whole) && (whole != s || len(s) != 4) {
		n, err := strconv.ParseInt(s, 10, 64)
		return instant{seconds: n}, err == nil
	}

	sign := 1
	if s != "" && s[0] == '-' {
		sign, s = -1, s[1:]
	}
	year, s, ok := leadingInt(s, 9)
	if !ok {
		return instant{}, false
	}
	month, day := 1, 1
	if rest, more := strings.CutPrefix(s, "-"); more {
		if month, s, ok = leadingInt(rest, 2); !ok {
			return instant{}, false
		}
		if rest, more := strings.CutPrefix(s, "-"); more {
			if day, s, ok = leadingInt(rest, 2); !ok {
				return instant{}, false
			}
		}
	}
	if month < 1 || month > 12 || day < 1 || day > time.Date(sign*year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day() {
		return instant{}, false
	}

	var clock [3]int // hours, minutes, seconds
	nanoseconds, offset := 0, 0
	if s != "" {
		if lower(s[0]) != 't' {
			return instant{}, false
		}
		s = s[1:]
		for i, limit := range []int{24, 60, 60} {
			rest := s
			if i > 0 {
				var more bool
				if rest, more = strings.CutPrefix(s, ":"); !more {
					break
				}
			} else if s == "" || s[0] < '0' || s[0] > '9' {
				break // a T with nothing after it, or only an offset
			}
			if clock[i], s, ok = leadingInt(rest, 2); !ok || clock[i] >= limit {
				return instant{}, false
			}
		}
		if rest, more := strings.CutPrefix(s, "."); more {
			if nanoseconds, s, ok = leadingInt(rest, 9); !ok {
				return instant{}, false
			}
			for range 9 - (len(rest) - len(s)) {
				nanoseconds *= 10
			}
		}
		if offset, ok = parseOffset(s); !ok {
			return instant{}, false
		}
	}
	t := time.Date(sign*year, time.Month(month), day, clock[0], clock[1], clock[2], 0, time.UTC)
	return instant{t.Unix() - int64(offset), nanoseconds}, true
}

// parseOffset reads Z, +hh, +hhmm or +hh:mm, as seconds east of Greenwich.
func parseOffset(s string) (int, bool) {
	if s == "" || s == "Z" || s == "z" {
		return 0, true
	}
	sign := 1
	switch s[0] {
	case '+':
	case '-':
		sign = -1
	default:
		return 0, false
	}
	s = s[1:]
	if len(s) == 5 && s[2] == ':' {
		s = s[:2] + s[3:]
	}
	if len(s) != 2 && len(s) != 4 || !digits(s) {
		return 0, false
	}
	hours, _ := strconv.Atoi(s[:2])
	minutes := 0
	if len(s) == 4 {
		minutes, _ = strconv.Atoi(s[2:])
	}
	if hours > 23 || minutes > 59 {
		return 0, false
	}
	return sign * (hours*3600 + minutes*60), true
}

// leadingInt reads the digits with which s begins, at least one and at most width.
func leadingInt(s string, width int) (n int, rest string, ok bool) {
	i := 0
	for i < len(s) && i < width && '0' <= s[i] && s[i] <= '9' {
		n = n*10 + int(s[i]-'0')
		i++
	}
	return n, s[i:], i > 0
}
