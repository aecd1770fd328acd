package server

import (
	"net/http/httptest"
	"testing"

	"github.com/iamd-dev/iamd/internal/outbound"
)

// A server that is reached by a name under which buckets are found too publishes there what
// its tokens say that it does.
func TestReachedByNameOfABucket(t *testing.T) {
	s := &Server{Config: Config{Hosts: []string{"example.com"}, Issuer: &outbound.Issuer{Base: "https://iamd.example.com"}}}
	for host, bucket := range map[string]bool{"iamd.example.com": false, "IAMD.example.com": false, "iamd.example.com:8443": true, "site.example.com": true, "example.com": false, "127.0.0.1": false} {
		r := httptest.NewRequest("GET", outbound.Prefix+"x", nil)
		r.Host = host
		if got := s.inBucket(r); got != bucket {
			t.Errorf("%s names a bucket: %t, want %t", host, got, bucket)
		}
	}
	r := httptest.NewRequest("GET", outbound.Prefix+"x", nil)
	r.Host = "site.example.com"
	if !(&Server{Config: Config{Hosts: []string{"example.com"}}}).inBucket(r) {
		t.Error("a server that issues no tokens takes a bucket's host for its own")
	}
}
