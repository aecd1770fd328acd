package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"io"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// sum is what crypto/hmac says it is.
func FuzzSum(f *testing.F) {
	f.Add([]byte("AWS4secret"), []byte("20150830"))
	f.Add([]byte(strings.Repeat("k", 65)), []byte(strings.Repeat("m", 1000)))
	f.Fuzz(func(t *testing.T, key, message []byte) {
		h := hmac.New(sha256.New, key)
		h.Write(message)
		if got := sum(key, message); !hmac.Equal(got[:], h.Sum(nil)) {
			t.Errorf("got %x, want %x", got, h.Sum(nil))
		}
	})
}

// No Authorization header makes a request pass that Sign has not signed, and none brings Verify down.
func FuzzAuthorization(f *testing.F) {
	r := signed(Scope{Service: "iam"}, false)
	good := r.Header.Get("Authorization")
	f.Add(good, "20150830T123600Z", "")
	f.Add("AWS4-HMAC-SHA256 Credential=a/b/c/d/e,SignedHeaders=host;;host;,Signature=", "2015-08-30T12:36:00Z", "t")
	f.Add("AWS4-HMAC-SHA256 ,,=,==,Credential=", "Sun, 30 Aug 2015 12:36:00 GMT", "")
	f.Fuzz(func(t *testing.T, authorization, date, token string) {
		for _, scope := range []Scope{{Service: "iam"}, {Service: "iam", Family: JSON, Regions: []string{"us-east-1"}}, {Service: "iam", Family: S3}} {
			r := signed(scope, false)
			r.Header.Set("Authorization", authorization)
			r.Header.Set("X-Amz-Date", date)
			if token != "" {
				r.Header.Set("X-Amz-Security-Token", token)
			}
			Claimed(r)
			sig, err := newVerifier().Verify(r, scope, nil)
			if err == nil && !strings.Contains(authorization, good[strings.Index(good, "Signature="):]) && !strings.Contains(authorization, sig.seed) {
				t.Errorf("%q passes", authorization)
			}
			if err != nil && sig.Identity != nil || err == nil && (sig.Anonymous || sig.Identity == nil) {
				t.Errorf("%v with %v", sig, err)
			}
		}
	})
}

// The query is read alike by the parts that look for parameters and by the one that signs them all.
func FuzzQuery(f *testing.F) {
	f.Add(signed(Scope{Service: "iam"}, true).URL.RawQuery)
	f.Add("+")
	f.Add("a=%2f&a=+&&=&b&%61=x&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date")
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest("GET", "http://service.test/bucket/key", nil)
		r.URL.RawQuery = query
		for _, family := range []Family{Query, S3} {
			scope := Scope{Service: "iam", Family: family}
			sig, err := newVerifier().Verify(r, scope, nil)
			if verified := sig.Anonymous || sig.Identity != nil; verified != (err == nil) {
				t.Errorf("%v with %v", sig, err)
			}
		}
		if strings.Contains(query, ";") || checkEscapes(query, &Scope{}) != nil {
			return
		}
		want, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		canonical := string(appendCanonicalQuery(nil, query))
		got, err := url.ParseQuery(canonical)
		if err != nil {
			t.Fatalf("canonical form %q: %v", canonical, err)
		}
		if again := string(appendCanonicalQuery(nil, canonical)); again != canonical {
			t.Errorf("canonical form %q is not canonical: %q", canonical, again)
		}
		for name, values := range want {
			if v, ok := queryValue(query, name); name != "" && (!ok || v != values[0]) {
				t.Errorf("queryValue(%q) = %q, %t; want %q", name, v, ok, values[0])
			}
			if name != "X-Amz-Signature" && len(got[name]) != len(values) {
				t.Errorf("canonical form has %q %d times, want %d", name, len(got[name]), len(values))
			}
		}
	})
}

// No bytes make the decoder give out more than was announced, or end well with
// other bytes than were signed.
func FuzzChunks(f *testing.F) {
	uploads := []upload{
		{mode: streaming, data: strings.Repeat("ab", 5000), chunk: 8192},
		{mode: streamingTrailer, data: text, chunk: 8192, trailer: "x-amz-checksum-crc32:" + checksumOf("CRC32", text)},
		{mode: unsignedTrailer, data: text, chunk: 8192, trailer: "x-amz-checksum-crc32:" + checksumOf("CRC32", text)},
	}
	for i, u := range uploads {
		b, _ := io.ReadAll(u.request(nil).Body)
		f.Add(uint8(i), string(b))
	}
	f.Fuzz(func(t *testing.T, i uint8, encoded string) {
		u := uploads[int(i)%len(uploads)]
		r := u.request(func(string) string { return encoded })
		body, got, err := receive(r)
		if len(got) > len(u.data) {
			t.Errorf("%d bytes of %d", len(got), len(u.data))
		}
		if err == nil && (int64(len(got)) != body.Length() || got != u.data && u.mode != unsignedTrailer) {
			t.Errorf("%q passes", got)
		}
		if err != nil {
			if _, ok := err.(*Error); !ok {
				t.Errorf("got %v", err)
			}
		}
	})
}
