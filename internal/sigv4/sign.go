package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// UnsignedPayload can be signed in place of the hash of an S3 body.
const UnsignedPayload = unsignedPayload

// Hash returns the payload hash of a body, for [Signer.Sign].
func Hash(body []byte) string {
	if len(body) == 0 {
		return emptyHash
	}
	h := sha256.Sum256(body)
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], h[:])
	return string(text[:])
}

// A Signer signs requests as a client does.
type Signer struct {
	AccessKeyID     string
	SecretAccessKey string `json:"-"`
	SessionToken    string `json:"-"` // "" for long-term keys
	Region          string
	Service         string // "s3" is signed by the rules of S3
}

// Format prints the access key id, region and service, whatever the verb.
func (s Signer) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "%s/%s/%s", s.AccessKeyID, s.Region, s.Service)
}

// Sign signs a request by its headers: it sets X-Amz-Date, X-Amz-Security-Token if
// there is a token, X-Amz-Content-Sha256 for S3, and Authorization. The host, the
// content type and all X-Amz- headers are signed. payloadHash is what [Hash] returns,
// or for S3 [UnsignedPayload].
func (s *Signer) Sign(r *http.Request, payloadHash string, t time.Time) {
	t = t.UTC()
	r.Header.Del("Authorization")
	r.Header.Set("X-Amz-Date", t.Format(basicISO))
	r.Header.Del("X-Amz-Security-Token")
	if s.SessionToken != "" {
		r.Header.Set("X-Amz-Security-Token", s.SessionToken)
	}
	if s.Service == "s3" {
		r.Header.Set("X-Amz-Content-Sha256", payloadHash)
	}
	c := s.claim(t)
	c.signedHeaders = headersToSign(r)
	r.Header.Set("Authorization", algorithm+" Credential="+s.AccessKeyID+"/"+c.scope+
		", SignedHeaders="+c.signedHeaders+", Signature="+s.sign(r, c, payloadHash))
}

// Presign signs a request by its query, so that its URL alone is enough to send it
// until it expires, together with the headers that the request has of those that
// Sign signs. The body of an S3 request is not signed, that of others is empty.
func (s *Signer) Presign(r *http.Request, expires time.Duration, t time.Time) {
	t = t.UTC()
	c := s.claim(t)
	c.signedHeaders = headersToSign(r)
	var q strings.Builder
	q.WriteString(r.URL.RawQuery)
	for _, p := range [][2]string{
		{"X-Amz-Algorithm", algorithm},
		{"X-Amz-Credential", s.AccessKeyID + "/" + c.scope},
		{"X-Amz-Date", t.Format(basicISO)},
		{"X-Amz-Expires", strconv.FormatInt(int64(expires/time.Second), 10)},
		{"X-Amz-Security-Token", s.SessionToken},
		{"X-Amz-SignedHeaders", c.signedHeaders},
	} {
		if p[1] == "" {
			continue
		}
		if q.Len() > 0 {
			q.WriteByte('&')
		}
		q.WriteString(p[0] + "=")
		for i := range len(p[1]) {
			q.Write(appendEscaped(nil, p[1][i]))
		}
	}
	r.URL.RawQuery = q.String()
	hash := emptyHash
	if s.Service == "s3" {
		hash = unsignedPayload
	}
	r.URL.RawQuery += "&X-Amz-Signature=" + s.sign(r, c, hash)
}

func (s *Signer) claim(t time.Time) *claim {
	date := t.Format(basicDate)
	return &claim{time: t, scope: date + "/" + s.Region + "/" + s.Service + "/" + terminator, date: date}
}

func (s *Signer) sign(r *http.Request, c *claim, payloadHash string) string {
	if r.Host == "" {
		r.Host = r.URL.Host
	}
	canonical := appendCanonical(nil, r, c, payloadHash, s.Service == "s3")
	key := deriveKey(s.SecretAccessKey, c.date, s.Region, s.Service)
	sig := sum(key[:], appendStringToSign(nil, c.time, c.scope, canonical))
	return hex.EncodeToString(sig[:])
}

func headersToSign(r *http.Request) string {
	names := []string{"host"}
	for name := range r.Header {
		name = strings.ToLower(name)
		if name == "content-type" || name == "content-md5" || strings.HasPrefix(name, "x-amz-") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ";")
}
