package webidentity

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crypto/tls"
	"crypto/x509"

	"github.com/go-jose/go-jose/v4"
)

// A fake is an issuer that a test can make answer what it likes.
type fake struct {
	*httptest.Server
	asked atomic.Int64 // for anything

	mu        sync.Mutex
	discovery func(w http.ResponseWriter)
	keys      func(w http.ResponseWriter)
}

func newFake(t *testing.T, secure bool) *fake {
	f := &fake{}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.asked.Add(1)
		f.mu.Lock()
		answer := f.keys
		if r.URL.Path == "/.well-known/openid-configuration" {
			answer = f.discovery
		}
		f.mu.Unlock()
		answer(w)
	})
	if secure {
		f.Server = httptest.NewTLSServer(h)
	} else {
		f.Server = httptest.NewServer(h)
	}
	f.Config.ErrorLog = nil
	t.Cleanup(f.Close)
	f.says(fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, f.URL, f.URL+"/keys"))
	f.has(publicKey(p256, "k"))
	return f
}

func (f *fake) set(discovery, keys func(http.ResponseWriter)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if discovery != nil {
		f.discovery = discovery
	}
	if keys != nil {
		f.keys = keys
	}
}

func (f *fake) says(discovery string) {
	f.set(func(w http.ResponseWriter) { w.Write([]byte(discovery)) }, nil)
}

func (f *fake) has(keys ...jose.JSONWebKey) {
	f.set(nil, func(w http.ResponseWriter) { json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: keys}) })
}

// A clock is moved by the test.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func TestKeysAreKept(t *testing.T) {
	f := newFake(t, false)
	c := &clock{when}
	s := &Issuers{Trusted: []string{f.URL}, Now: c.Now}
	want := func(what, id string, ok bool, asked int64) {
		t.Helper()
		before := f.asked.Load()
		_, err := s.Keys(t.Context(), f.URL, nil, id)
		if (err == nil) != ok || err != nil && err.Error() != errNoKey.Text {
			t.Errorf("%s: %v", what, err)
		}
		if n := f.asked.Load() - before; n != asked {
			t.Errorf("%s: the issuer was asked %d times, want %d", what, n, asked)
		}
	}
	want("at first", "k", true, 2)
	want("again", "k", true, 0)
	want("any key", "", true, 0)
	want("a key that is not there, at once", "new", false, 0)
	c.now = c.now.Add(patience)
	want("a key that is not there, later", "new", false, 2)
	want("and at once again", "newer", false, 0)

	// The issuer has a new key: it is found as soon as it may be asked for.
	f.has(publicKey(p256, "k"), publicKey(p384, "new"))
	c.now = c.now.Add(patience)
	want("a new key", "new", true, 2)
	want("the old one", "k", true, 0)

	// The old one is withdrawn: it is good until the set is old.
	f.has(publicKey(p384, "new"))
	want("a withdrawn key", "k", true, 0)
	c.now = c.now.Add(freshFor)
	want("when the set is old", "k", false, 2)
	want("the new one", "new", true, 0)

	// The issuer cannot be reached: what it said holds for an hour.
	down := func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) }
	f.set(down, nil)
	c.now = c.now.Add(freshFor)
	want("while it is down", "new", true, 1)
	want("and it is not asked at every call", "new", true, 0)
	c.now = c.now.Add(staleFor - freshFor)
	want("when it has been down for long", "new", false, 1)
	want("and is left alone for a while", "new", false, 0)
}

func TestIssuersThatMisbehave(t *testing.T) {
	many := func(n int) []jose.JSONWebKey {
		keys := make([]jose.JSONWebKey, n)
		for i := range keys {
			keys[i] = publicKey(p256, fmt.Sprint(i))
		}
		keys[n-1].KeyID = "k"
		return keys
	}
	elsewhere := newFake(t, false)
	small := newRSA(1024)
	for _, c := range []struct {
		name string
		make func(f *fake)
		ok   bool
	}{
		{"it behaves", func(*fake) {}, true},
		{"no discovery document", func(f *fake) { f.set(func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, nil) }, false},
		{"discovery is not JSON", func(f *fake) { f.says("<html>") }, false},
		{"discovery of another issuer", func(f *fake) { f.says(`{"issuer":"https://other.example","jwks_uri":"` + f.URL + `/keys"}`) }, false},
		{"discovery without keys", func(f *fake) { f.says(`{"issuer":"` + f.URL + `"}`) }, false},
		{"keys at another host that speaks http", func(f *fake) { f.says(`{"issuer":"` + f.URL + `","jwks_uri":"` + elsewhere.URL + `/keys"}`) }, false},
		{"keys in a file", func(f *fake) { f.says(`{"issuer":"` + f.URL + `","jwks_uri":"file:///etc/passwd"}`) }, false},
		{"discovery redirects", func(f *fake) { f.set(redirect(elsewhere.URL+"/.well-known/openid-configuration"), nil) }, false},
		{"keys redirect", func(f *fake) { f.set(nil, redirect(elsewhere.URL+"/keys")) }, false},
		{"keys redirect to the same host", func(f *fake) { f.set(nil, redirect(f.URL+"/.well-known/openid-configuration")) }, false},
		{"a huge discovery document", func(f *fake) {
			f.says(`{"issuer":"` + f.URL + `","jwks_uri":"` + f.URL + `/keys","x":"` + strings.Repeat("x", maxDiscovery) + `"}`)
		}, false},
		{"a huge key set", func(f *fake) {
			f.set(nil, func(w http.ResponseWriter) {
				w.Write([]byte(`{"keys":["`))
				for range 64 {
					w.Write([]byte(strings.Repeat("x", 64<<10)))
				}
			})
		}, false},
		{"a slow one", func(f *fake) {
			f.set(nil, func(w http.ResponseWriter) {
				w.(http.Flusher).Flush()
				select {
				case <-t.Context().Done():
				case <-time.After(2 * time.Second):
				}
			})
		}, false},
		{"100 keys", func(f *fake) { f.has(many(mostKeys)...) }, true},
		{"101 keys", func(f *fake) { f.has(many(mostKeys + 1)...) }, false},
		{"a small RSA key", func(f *fake) { f.has(publicKey(small, "k")) }, false},
		{"a private key", func(f *fake) { f.has(jose.JSONWebKey{Key: p256, KeyID: "k"}) }, false},
		{"a secret", func(f *fake) { f.has(jose.JSONWebKey{Key: []byte("secret"), KeyID: "k"}) }, false},
		{"keys of a kind that we do not know, too", func(f *fake) {
			f.set(nil, func(w http.ResponseWriter) {
				b, _ := publicKey(p256, "k").MarshalJSON()
				w.Write([]byte(`{"keys":[{"kty":"XYZ","kid":"z"},7,` + string(b) + `]}`))
			})
		}, true},
		{"a set that is a list", func(f *fake) { f.set(nil, func(w http.ResponseWriter) { w.Write([]byte("[]")) }) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t, false)
			c.make(f)
			s := &Issuers{Trusted: []string{f.URL}, timeout: 300 * time.Millisecond}
			keys, err := s.Keys(t.Context(), f.URL, nil, "k")
			if (err == nil) != c.ok || err != nil && err.Error() != errNoKey.Text {
				t.Errorf("%d keys, %v", len(keys), err)
			}
		})
	}
	if n := elsewhere.asked.Load(); n != 0 {
		t.Errorf("somebody else was asked %d times", n)
	}
}

func redirect(to string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusFound)
	}
}

// Nobody is asked who is not on the internet, by whatever name, unless the
// configuration names them; and then they alone.
func TestPrivateAddresses(t *testing.T) {
	f := newFake(t, true)
	port := f.URL[strings.LastIndexByte(f.URL, ':'):]
	roots := x509.NewCertPool()
	roots.AddCert(f.Certificate())
	for _, address := range []string{f.URL, "https://localhost" + port, "https://[::1]" + port, "https://[::ffff:127.0.0.1]" + port, "https://2130706433" + port, "http://127.0.0.1" + port} {
		s := &Issuers{Roots: roots, Trusted: []string{"https://other.example"}, timeout: time.Second}
		if _, err := s.Keys(t.Context(), address, nil, "k"); err == nil {
			t.Errorf("%s was asked", address)
		}
		if _, err := s.Thumbprint(t.Context(), address); err == nil {
			t.Errorf("%s was asked for its certificate", address)
		}
	}
	if n := f.asked.Load(); n != 0 {
		t.Errorf("this machine was asked %d times", n)
	}
	s := &Issuers{Roots: roots, Trusted: []string{f.URL}}
	if _, err := s.Keys(t.Context(), f.URL, nil, "k"); err != nil {
		t.Errorf("the issuer that is trusted: %v", err)
	}

	for _, a := range []string{
		"0.0.0.0", "0.1.2.3", "127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.127.255.255",
		"192.0.0.170", "192.0.2.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1",
		"ff02::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "100::1",
	} {
		if public(netip.MustParseAddr(a)) {
			t.Errorf("%s is taken for public", a)
		}
	}
	for _, a := range []string{"8.8.8.8", "140.82.112.3", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450:4001::200e", "::ffff:8.8.8.8"} {
		if !public(netip.MustParseAddr(a)) {
			t.Errorf("%s is not taken for public", a)
		}
	}
}

// A server must be vouched for by a public authority or be the one of the thumbprint.
func TestCertificates(t *testing.T) {
	f := newFake(t, true)
	own := thumbprint(f.Certificate())
	roots := x509.NewCertPool()
	roots.AddCert(f.Certificate())
	for _, c := range []struct {
		name        string
		roots       *x509.CertPool
		thumbprints []string
		ok          bool
	}{
		{"an authority", roots, nil, true},
		{"an authority, whatever the thumbprints", roots, []string{strings.Repeat("a", 40)}, true},
		{"nobody", x509.NewCertPool(), nil, false},
		{"its thumbprint", x509.NewCertPool(), []string{strings.Repeat("a", 40), strings.ToUpper(own)}, true},
		{"another thumbprint", x509.NewCertPool(), []string{strings.Repeat("a", 40)}, false},
	} {
		s := &Issuers{Trusted: []string{f.URL}, Roots: c.roots}
		if _, err := s.Keys(t.Context(), f.URL, c.thumbprints, "k"); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}

	// What one account's thumbprint made believable is not believed for another.
	s := &Issuers{Trusted: []string{f.URL}, Roots: x509.NewCertPool()}
	if _, err := s.Keys(t.Context(), f.URL, []string{own}, "k"); err != nil {
		t.Error(err)
	}
	if _, err := s.Keys(t.Context(), f.URL, []string{strings.Repeat("a", 40)}, "k"); err == nil {
		t.Error("the keys of an account that knows the server are given to one that does not")
	}

	// The thumbprint does not excuse another name, nor a certificate that is no longer valid.
	config := s.tls([]string{own})
	for name, ok := range map[string]bool{"example.com": true, "127.0.0.1": true, "evil.example": false} {
		err := config.VerifyConnection(tls.ConnectionState{ServerName: name, PeerCertificates: []*x509.Certificate{f.Certificate()}})
		if (err == nil) != ok {
			t.Errorf("a server that is asked for as %s: %v", name, err)
		}
	}
	if err := config.VerifyConnection(tls.ConnectionState{ServerName: "example.com"}); err == nil {
		t.Error("a server without a certificate is accepted")
	}

	if got, err := s.Thumbprint(t.Context(), f.URL); err != nil || got != own {
		t.Errorf("the thumbprint is %q, %v, want %q", got, err, own)
	}
}

func TestCheckIssuer(t *testing.T) {
	s := &Issuers{Trusted: []string{"http://127.0.0.1:8080", "https://kubernetes.default.svc"}}
	for _, good := range []string{"https://token.actions.githubusercontent.com", "https://a.example/path/X", "https://a.eu.auth0.com/", "http://127.0.0.1:8080", "https://kubernetes.default.svc"} {
		if !s.CheckIssuer(good) {
			t.Errorf("%s cannot be an issuer", good)
		}
	}
	for _, bad := range []string{"", "example.org", "http://example.org", "https://example.org:8443", "https://example.org?a", "https://example.org/?", "https://example.org#f", "https://example.org/#",
		"https://u@example.org", "https://", "https:///x", "https:example.org", "https://localhost", "https://a.example/*", "https://a.example/ x", "https://a.example/${aws:userid}",
		"ftp://example.org", "HTTP://127.0.0.1:8080", "http://127.0.0.1:8080/", "https://a.example/\x00", "https://*.example"} {
		if s.CheckIssuer(bad) {
			t.Errorf("%q can be an issuer", bad)
		}
	}
	var none *Issuers
	if none.CheckIssuer("http://127.0.0.1:8080") || !none.CheckIssuer("https://a.example") {
		t.Error("without a configuration it is otherwise")
	}
}

func FuzzKeySet(f *testing.F) {
	b, _ := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{publicKey(p256, "a"), publicKey(rsaKey(), "b")}})
	f.Add(b)
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AA"},{"kty":"EC","crv":"P-256","x":"","y":""}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := parseKeySet(b)
		if err != nil {
			return
		}
		for _, k := range keys {
			if !k.IsPublic() || !k.Valid() {
				t.Errorf("%q gives key %v", b, k.KeyID)
			}
		}
	})
}
