package sigv4

import (
	"math/rand/v2"
	"testing"
	"time"
)

// The two that are written out do what package time does.
func TestBasicTimes(t *testing.T) {
	texts := []string{"", "Z", "20150830T123600", "20150830t123600Z", "20150830T123600z", "2015083OT123600Z", "+0150830T123600Z",
		"20150229T123600Z", "20160229T123600Z", "20150431T000000Z", "20150430T240000Z", "20150430T236000Z", "20150430T235960Z",
		"20150030T123600Z", "20151330T123600Z", "20150800T123600Z", "20150832T123600Z", "00000101T000000Z", "99991231T235959Z",
		"20150830T123600.5Z", "20150830T12360 Z", "2015-08-30T12Z00"}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		tm := time.Unix(rng.Int64N(253402300800), 0).UTC() // up to the year 9999
		text := tm.Format(basicISO)
		if got := string(appendBasic(nil, tm)); got != text {
			t.Fatalf("appendBasic writes %s for %s", got, text)
		}
		b := []byte(text)
		b[rng.IntN(len(b))] = byte(' ' + rng.IntN(95))
		texts = append(texts, text, string(b))
	}
	for _, text := range texts {
		got, err := parseBasic(text)
		want, wantErr := time.Parse(basicISO, text)
		if !got.Equal(want) || (err == nil) != (wantErr == nil) {
			t.Errorf("parseBasic reads %q as %v, %v; want %v, %v", text, got, err, want, wantErr)
		}
	}
}
