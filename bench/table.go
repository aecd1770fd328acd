package main

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A table is what one part prints. The first column is text, the others are numbers.
type table struct {
	title  string
	note   string
	header []string
	rows   [][]string
}

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

// text prints the table for a terminal.
func (t *table) text() string {
	width := make([]int, len(t.header))
	for _, r := range append([][]string{t.header}, t.rows...) {
		for i, c := range r {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", t.title)
	if t.note != "" {
		fmt.Fprintf(&b, "(%s)\n", t.note)
	}
	for _, r := range append([][]string{t.header}, t.rows...) {
		for i, c := range r {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if i == 0 {
				b.WriteString("  " + c + pad)
			} else {
				b.WriteString("  " + pad + c)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// markdown prints the table for docs/performance.md.
func (t *table) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n", t.title)
	if t.note != "" {
		fmt.Fprintf(&b, "%s.\n\n", strings.ToUpper(t.note[:1])+t.note[1:])
	}
	b.WriteString("| " + strings.Join(t.header, " | ") + " |\n| --- |" + strings.Repeat(" ---: |", len(t.header)-1) + "\n")
	for _, r := range t.rows {
		b.WriteString("| " + strings.Join(r, " | ") + " |\n")
	}
	return b.String()
}

// number prints with three figures that count and commas between thousands.
func number(f float64) string {
	switch {
	case f < 10:
		return fmt.Sprintf("%.2f", f)
	case f < 100:
		return fmt.Sprintf("%.1f", f)
	}
	s := fmt.Sprintf("%.0f", f)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func ratio(f float64) string { return number(f) + "x" }
