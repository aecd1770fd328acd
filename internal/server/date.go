package server

import (
	"net/http"
	"sync/atomic"
	"time"
)

// A second is the Date header of the answers of one second, which net/http would write out
// for each of them.
type second struct {
	unix int64
	date []string
}

var lastSecond atomic.Pointer[second]

// date is the Date header of now (RFC 9110, 6.6.1). Nobody changes what it holds.
func date() []string {
	now := time.Now()
	s := lastSecond.Load()
	if s == nil || s.unix != now.Unix() {
		s = &second{now.Unix(), []string{now.UTC().Format(http.TimeFormat)}}
		lastSecond.Store(s)
	}
	return s.date
}
