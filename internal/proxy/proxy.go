// Package proxy passes calls on to servers that keep what iamd does not: an S3-compatible
// store, a DynamoDB-compatible database. Whoever called has been authenticated, decided on
// and recorded; the server behind knows iamd alone, whose signature each request has.
//
//	u := &proxy.Upstream{URL: url, Service: "s3", Region: "us-east-1", AccessKeyID: id, Secret: secret}
//	resp, err := u.Do(r) // r has a path, a query, headers and a body
package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/sigv4"
)

// An Upstream is a server behind iamd. It is never changed.
type Upstream struct {
	URL         *url.URL // scheme and host, and the path under which it answers
	Service     string   // that requests are signed for
	Region      string
	AccessKeyID string
	Secret      identity.Secret
	Client      *http.Client // nil: one that trusts what this machine trusts
}

// headerWait is how long an upstream may take to begin its answer: CompleteMultipartUpload takes minutes.
const headerWait = 10 * time.Minute

var client = &http.Client{
	Transport: &http.Transport{
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: headerWait,
		MaxIdleConnsPerHost:   256,
		IdleConnTimeout:       90 * time.Second,
		DisableCompression:    true, // bodies pass as they are
		WriteBufferSize:       64 << 10,
		ReadBufferSize:        64 << 10,
	},
	// An upstream that sends the caller's data elsewhere is not followed.
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// hopByHop are the headers of one connection (RFC 9110, 7.6.1), and those that the caller
// said who it is with: neither goes on.
var hopByHop = []string{"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect",
	"Authorization", "Cookie", "X-Amz-Security-Token", "X-Amz-Trailer", "X-Amz-Decoded-Content-Length", "X-Forwarded-For", "X-Forwarded-Proto", "X-Iamd-Revision"}

// Do signs a request anew and sends it. The body of an S3 request streams through and is
// not signed: who reads it has it verified as it passes, and an error of it breaks the
// request off.
func (u *Upstream) Do(r *http.Request) (*http.Response, error) {
	for _, name := range hopByHop {
		r.Header.Del(name)
	}
	raw := r.URL.EscapedPath()
	r.URL.Scheme, r.URL.Host = u.URL.Scheme, u.URL.Host
	if base := strings.TrimSuffix(u.URL.EscapedPath(), "/"); base != "" {
		r.URL.Path, r.URL.RawPath = strings.TrimSuffix(u.URL.Path, "/")+r.URL.Path, base+raw
	}
	r.Host, r.RequestURI = "", ""
	hash := sigv4.UnsignedPayload
	if u.Service != "s3" {
		var body []byte
		if r.Body != nil {
			var err error
			if body, err = io.ReadAll(r.Body); err != nil {
				return nil, fmt.Errorf("reading the body of a request: %w", err)
			}
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		}
		hash = sigv4.Hash(body)
	}
	signer := sigv4.Signer{AccessKeyID: u.AccessKeyID, SecretAccessKey: u.Secret.Reveal(), Region: u.Region, Service: u.Service}
	signer.Sign(r, hash, time.Now())
	c := u.Client
	if c == nil {
		c = client
	}
	resp, err := c.Do(r)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", u.URL.Host, err)
	}
	return resp, nil
}

// Verified is a body whose last byte is given out only when the end has come without an
// error. A body that is verified as it is read tells at its end whether it was good; so
// the upstream has never the whole of one that was not.
func Verified(body io.ReadCloser) io.ReadCloser { return &verified{ReadCloser: body} }

type verified struct {
	io.ReadCloser
	held    byte
	holding bool
	err     error
}

func (v *verified) Read(p []byte) (int, error) {
	if len(p) == 0 || v.err != nil {
		return 0, v.err
	}
	n := 0
	var room [2]byte
	into := p
	if len(p) == 1 {
		into = room[:]
	}
	if v.holding {
		into[0], n = v.held, 1
	}
	m, err := v.ReadCloser.Read(into[n:])
	n += m
	switch {
	case err == io.EOF:
		v.holding, v.err = false, io.EOF
	case err != nil:
		v.err = err
		return 0, err
	case n > 0:
		n--
		v.held, v.holding = into[n], true
	}
	if len(p) == 1 && n > 0 { // at the end there may be two, and there is room for one
		p[0] = room[0]
		if n == 2 {
			v.held, v.holding, v.err, n = room[1], true, nil, 1
			v.ReadCloser = struct {
				io.Reader
				io.Closer
			}{bytes.NewReader(nil), v.ReadCloser}
		}
	}
	return n, v.err
}
