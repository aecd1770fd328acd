package webidentity

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Issuers finds the keys with which issuers sign, at the issuers themselves: the
// discovery document names the key set. The zero value is ready to use.
//
// An issuer is an address that an account's administrator wrote, and a token that
// anybody may send has it asked. So only https is spoken, never with an address of this
// machine or a private network (the address that is dialled is looked at, whatever a
// name resolves to), no redirect is followed, no proxy is used, and time and size are
// bounded. A server whose certificate no public authority vouches for must show one of
// the thumbprints that the account has given.
//
// Keys are kept for freshFor. A key that is not among them, and a set that cannot be
// had, are asked for again no sooner than after patience, so that tokens without a
// valid signature do not make us a nuisance to issuers; and while an issuer cannot be
// reached, what it last said holds for staleFor.
type Issuers struct {
	// Trusted are issuers that may be anywhere, this machine and private networks
	// included, and speak http: "http://127.0.0.1:8080". They are named by the
	// operator's configuration, never by a caller.
	Trusted []string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Roots are the public authorities; nil is the system's.
	Roots *x509.CertPool

	mu    sync.Mutex
	known map[string]*issuer

	timeout time.Duration // for each of the two documents; 0 is defaultTimeout
}

const (
	freshFor = 10 * time.Minute
	staleFor = time.Hour
	patience = 10 * time.Second

	defaultTimeout = 5 * time.Second
	maxDiscovery   = 64 << 10
	maxKeySet      = 1 << 20
	mostKeys       = 100 // of each kind
	mostIssuers    = 4096
	smallestRSA    = 2048 // bits
	largestRSA     = 8192
)

// An issuer is what is known of one issuer under one set of thumbprints: what one
// account's thumbprints made believable is not believed for another.
type issuer struct {
	asking sync.Mutex // held while it is asked, so that it is asked once

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetched time.Time // of keys
	asked   time.Time // the last attempt
}

// has reports whether the key is known, or any key when it has no name.
func (i *issuer) has(keyID string) bool {
	return keyID == "" && i.keys != nil || slices.ContainsFunc(i.keys, func(k jose.JSONWebKey) bool { return k.KeyID == keyID })
}

// Keys returns the issuer's keys, asking it when they are not known, are old, or lack
// keyID. Errors are *Error.
func (s *Issuers) Keys(ctx context.Context, address string, thumbprints []string, keyID string) ([]jose.JSONWebKey, error) {
	i := s.issuer(address, thumbprints)
	now := s.now()
	if keys := i.current(keyID, now, freshFor); keys != nil {
		return keys, nil
	}
	i.asking.Lock()
	defer i.asking.Unlock()
	if i.mayAsk(keyID, now) {
		// Whoever asks may go away meanwhile; others want the answer, too.
		if keys, err := s.fetch(context.WithoutCancel(ctx), address, thumbprints); err == nil {
			i.mu.Lock()
			i.keys, i.fetched = keys, now
			i.mu.Unlock()
		}
	}
	if keys := i.current(keyID, now, staleFor); keys != nil {
		return keys, nil
	}
	return nil, errNoKey
}

// current returns the keys if keyID is among them and they are not older than age.
func (i *issuer) current(keyID string, now time.Time, age time.Duration) []jose.JSONWebKey {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.has(keyID) || now.Sub(i.fetched) >= age {
		return nil
	}
	return i.keys
}

// mayAsk notes an attempt to ask the issuer, if it is time for one.
func (i *issuer) mayAsk(keyID string, now time.Time) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.has(keyID) && now.Sub(i.fetched) < freshFor || now.Sub(i.asked) < patience {
		return false
	}
	i.asked = now
	return true
}

func (s *Issuers) issuer(address string, thumbprints []string) *issuer {
	name := strings.ToLower(strings.Join(slices.Sorted(slices.Values(thumbprints)), " ")) + " " + address
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.known[name]
	if i == nil {
		if s.known == nil || len(s.known) >= mostIssuers {
			s.known = map[string]*issuer{}
		}
		i = &issuer{}
		s.known[name] = i
	}
	return i
}

func (s *Issuers) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// Trusts reports whether the configuration names the issuer.
func (s *Issuers) Trusts(address string) bool { return s != nil && slices.Contains(s.Trusted, address) }

// fetch asks the issuer for its keys.
func (s *Issuers) fetch(ctx context.Context, address string, thumbprints []string) ([]jose.JSONWebKey, error) {
	client, close := s.client(address, thumbprints)
	defer close()
	b, err := s.get(ctx, client, address, strings.TrimSuffix(address, "/")+"/.well-known/openid-configuration", maxDiscovery)
	if err != nil {
		return nil, err
	}
	var discovery struct {
		Issuer string `json:"issuer"`
		KeySet string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(b, &discovery); err != nil {
		return nil, fmt.Errorf("reading the discovery document of %s: %w", address, err)
	}
	if discovery.Issuer != address {
		return nil, fmt.Errorf("the discovery document of %s is that of %s", address, discovery.Issuer)
	}
	if b, err = s.get(ctx, client, address, discovery.KeySet, maxKeySet); err != nil {
		return nil, err
	}
	return parseKeySet(b)
}

// parseKeySet reads the keys of a set that can sign tokens. Others are passed over.
func parseKeySet(b []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(b, &set); err != nil {
		return nil, fmt.Errorf("reading a key set: %w", err)
	}
	keys := []jose.JSONWebKey{}
	rsas, ecs := 0, 0
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if err := k.UnmarshalJSON(raw); err != nil || !k.Valid() || !k.IsPublic() {
			continue
		}
		switch key := k.Key.(type) {
		case *rsa.PublicKey:
			rsas++
			if bits := key.N.BitLen(); bits < smallestRSA || bits > largestRSA {
				continue
			}
		case *ecdsa.PublicKey:
			ecs++
		default:
			continue
		}
		keys = append(keys, k)
	}
	if rsas > mostKeys || ecs > mostKeys {
		return nil, fmt.Errorf("a key set has %d RSA keys and %d of elliptic curves: it may have %d of each", rsas, ecs, mostKeys)
	}
	return keys, nil
}

// get reads a document of an issuer.
func (s *Issuers) get(ctx context.Context, client *http.Client, issuer, address string, most int64) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	// A trusted issuer that speaks http may keep its keys on the same host in the same way.
	own, err := url.Parse(issuer)
	if err != nil {
		return nil, err
	}
	plain := u.Scheme == "http" && s.Trusts(issuer) && own.Scheme == "http" && u.Host == own.Host
	if u.Scheme != "https" && !plain || u.User != nil || u.Host == "" {
		return nil, fmt.Errorf("%s is not asked: it is not https", address)
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(s.timeout, defaultTimeout))
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json")
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", address, answer.Status)
	}
	b, err := io.ReadAll(io.LimitReader(answer.Body, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > most {
		return nil, fmt.Errorf("%s answers with more than %d bytes", address, most)
	}
	return b, nil
}

// client returns a client for one issuer, and what closes its connections.
func (s *Issuers) client(issuer string, thumbprints []string) (*http.Client, func()) {
	t := &http.Transport{
		DialContext:            s.dialer(issuer).DialContext,
		TLSClientConfig:        s.tls(thumbprints),
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // what is small stays small
	}
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, t.CloseIdleConnections
}

// dialer connects to public addresses, or to any for an issuer that is trusted.
func (s *Issuers) dialer(issuer string) *net.Dialer {
	d := &net.Dialer{Timeout: defaultTimeout}
	if !s.Trusts(issuer) {
		// It is called with the address that is about to be dialled, after the name was
		// resolved, so that no answer of a name server gets around it.
		d.Control = func(_, address string, _ syscall.RawConn) error {
			a, err := netip.ParseAddrPort(address)
			if err != nil || !public(a.Addr()) {
				return fmt.Errorf("%s is not a public address", address)
			}
			return nil
		}
	}
	return d
}

// tls verifies servers by the public authorities or, where none vouches for a server,
// by thumbprints: the chain that the server shows must lead to a certificate that has
// one, and otherwise be in order.
func (s *Issuers) tls(thumbprints []string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // VerifyConnection verifies
		VerifyConnection: func(c tls.ConnectionState) error {
			if len(c.PeerCertificates) == 0 {
				return errors.New("the server shows no certificate")
			}
			options := x509.VerifyOptions{DNSName: c.ServerName, Roots: s.Roots, Intermediates: x509.NewCertPool()}
			for _, certificate := range c.PeerCertificates[1:] {
				options.Intermediates.AddCert(certificate)
			}
			_, err := c.PeerCertificates[0].Verify(options)
			if err == nil {
				return nil
			}
			options.Roots = x509.NewCertPool()
			for _, certificate := range c.PeerCertificates {
				if slices.ContainsFunc(thumbprints, func(t string) bool { return strings.EqualFold(t, thumbprint(certificate)) }) {
					options.Roots.AddCert(certificate)
				}
			}
			if _, byThumbprint := c.PeerCertificates[0].Verify(options); byThumbprint == nil {
				return nil
			}
			return err
		},
	}
}

// thumbprint is how AWS names a certificate.
func thumbprint(c *x509.Certificate) string {
	sum := sha1.Sum(c.Raw)
	return hex.EncodeToString(sum[:])
}

// Thumbprint connects to an issuer and returns the thumbprint of the last certificate
// that it shows; "" for a trusted one that speaks http.
func (s *Issuers) Thumbprint(ctx context.Context, issuer string) (string, error) {
	u, err := url.Parse(issuer)
	if err != nil {
		return "", err
	}
	if u.Scheme == "http" && s.Trusts(issuer) {
		return "", nil
	}
	if u.Scheme != "https" {
		return "", fmt.Errorf("%s is not https", issuer)
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(s.timeout, defaultTimeout))
	defer cancel()
	d := &tls.Dialer{NetDialer: s.dialer(issuer), Config: &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}} // what it shows is only named
	connection, err := d.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return "", err
	}
	defer connection.Close()
	shown := connection.(*tls.Conn).ConnectionState().PeerCertificates
	return thumbprint(shown[len(shown)-1]), nil
}

// reserved are the blocks of addresses that are not public, beside those that package
// netip knows (IANA's registries of special-purpose addresses), and those in which
// another address is hidden.
var reserved = func() (all []netip.Prefix) {
	for _, p := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "fec0::/10", "3fff::/20", "5f00::/16",
	} {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}()

// public reports whether an address is one of the internet at large.
func public(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() {
		return false
	}
	return !slices.ContainsFunc(reserved, func(p netip.Prefix) bool { return p.Contains(a) })
}

// CheckIssuer says whether an address can be an issuer's: https, a host, perhaps a
// path, and nothing else. A trusted one may have a port and speak http.
func (s *Issuers) CheckIssuer(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Opaque != "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(address, "#") || u.Hostname() == "" {
		return false
	}
	if strings.ContainsAny(address, "*? \t\r\n\"\\<>{}$") {
		return false
	}
	return s.Trusts(address) || u.Scheme == "https" && u.Port() == "" && strings.Contains(u.Hostname(), ".")
}
