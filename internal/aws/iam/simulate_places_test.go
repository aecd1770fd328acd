package iam

import (
	"strings"
	"testing"

	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/policy"
)

// Every statement that the language reads has a place: one after the other, each with
// the statement's own brace in it.
func FuzzPlaces(f *testing.F) {
	f.Add(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)
	f.Add("{\n \"Statement\": [\n  {\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\"} ,\n{\"Effect\":\"Deny\",\"Sid\":\"}é\\\"{\",\"Action\":\"*\",\"Resource\":\"*\"}\n]}")
	f.Add(`{"Id":{"Statement":[]}}`)
	f.Add(`[`)
	f.Fuzz(func(t *testing.T, text string) {
		at := places(text)
		p, err := policy.Parse([]byte(text))
		if err != nil {
			return
		}
		if len(at) != len(p.Statements) {
			t.Fatalf("%d statements have %d places", len(p.Statements), len(at))
		}
		before := func(line, column int, than api.Position) bool {
			return line < int(than.Line) || line == int(than.Line) && column < int(than.Column)
		}
		lone := !strings.HasPrefix(strings.TrimSpace(after(text, `"Statement"`)), "[")
		for i, s := range p.Statements {
			start, end := at[i].start, at[i].end
			if before(s.Line, s.Column, start) && !lone {
				t.Errorf("statement %d at %d:%d begins at %d:%d", i, s.Line, s.Column, start.Line, start.Column)
			}
			if !before(s.Line, s.Column, end) {
				t.Errorf("statement %d at %d:%d ends at %d:%d", i, s.Line, s.Column, end.Line, end.Column)
			}
			if i > 0 && at[i-1].end != start {
				t.Errorf("statement %d begins at %v, the one before ends at %v", i, start, at[i-1].end)
			}
		}
	})
}

// after is what follows the name and colon of an element.
func after(text, element string) string {
	_, rest, _ := strings.Cut(text, element)
	_, rest, _ = strings.Cut(rest, ":")
	return rest
}
