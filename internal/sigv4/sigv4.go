// Package sigv4 signs requests with AWS Signature Version 4 and verifies such
// signatures: in the Authorization header, in a presigned query, and in the
// chunks and trailers of a streamed S3 upload.
//
// A [Verifier] answers who signed a request. It is given the [Scope] of the
// service that was called, which names the service and the regions a credential
// may be scoped to, and the [Family] of the service, which decides how errors
// are worded, because Query, JSON, EC2 and S3 services each have their own codes
// and texts for the same fault:
//
//	v := &sigv4.Verifier{Lookup: keys.Lookup}
//	sig, err := v.Verify(r, sigv4.Scope{Service: "sts", Family: sigv4.Query}, body)
//	if err != nil {
//		return err // *sigv4.Error: what the caller may know
//	}
//	caller := sig.Identity // what Lookup returned beside the secret
//
// For services other than S3 the body is read beforehand and its hash is part of
// the signature. S3 bodies are streams: the signature covers what the header
// x-amz-content-sha256 says of the body, and [Signature.Body] gives the body as a
// reader which holds the client to that: a hash, a signature for each chunk, a
// checksum in a trailer. Whatever does not hold is an error of that reader,
// returned before the end of the body is. A body is to be believed only after
// io.EOF.
//
// The order of the checks is AWS's, so that a request with several faults gets
// the answer that AWS gives: form, signed headers, date, scope, key, and the
// signature last. Signatures are compared in constant time.
//
// Not supported: SigV4A (AWS4-ECDSA-P256-SHA256) and the older Signature
// Version 2, which are refused by name.
package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	algorithmA = "AWS4-ECDSA-P256-SHA256"
	terminator = "aws4_request"
	basicISO   = "20060102T150405Z"
	basicDate  = "20060102"

	// MaxSkew is how far the time of a request may be from the time of the
	// server, in either direction.
	MaxSkew = 15 * time.Minute
	// MaxExpires is the longest life of a presigned S3 request: seven days.
	MaxExpires = 7 * 24 * time.Hour
)

// A Lookup finds the secret access key of an access key and the identity behind
// it. The session token is "" when the request carries none. Its errors are
// [ErrUnknownKey], [ErrInvalidToken] and [ErrExpiredToken], which Verify words as
// the service would; any other error is a failure of ours and is returned by
// Verify as it is.
type Lookup func(accessKeyID, sessionToken string, now time.Time) (secret string, identity any, err error)

// A Verifier verifies signatures. It is safe for concurrent use and not to be
// copied.
type Verifier struct {
	Lookup Lookup
	Now    func() time.Time // nil is time.Now

	keys keyCache
}

// A Scope is what the credential of a request must be scoped to, and how the
// service words its errors.
type Scope struct {
	Service string
	// Regions that are accepted, the first being the one that errors call the
	// right one. Empty: any region.
	Regions []string
	Family  Family
	// Anonymous accepts a request without any signature; Signature.Anonymous then
	// tells. Without it such a request is refused.
	Anonymous bool
}

// A Signature is a verified one.
type Signature struct {
	AccessKeyID string
	Identity    any // as Lookup returned it; nil when anonymous
	Date        string
	Region      string
	Service     string
	Time        time.Time // when the request was signed
	// Expires is when a presigned S3 request ends; otherwise zero.
	Expires       time.Time
	SessionToken  string `json:"-"`
	SignedHeaders string // "host;x-amz-date"
	// PayloadHash is what was signed of the body: its SHA-256 in hexadecimal, or
	// for S3 one of the words UNSIGNED-PAYLOAD and STREAMING-...; "" when an
	// anonymous request does not say.
	PayloadHash string
	Presigned   bool // by query, not by header
	Anonymous   bool // there is no signature, and all fields but PayloadHash are zero

	now  time.Time
	key  [sha256.Size]byte // for the signatures of chunks
	seed string            // the signature itself, which that of the first chunk continues
}

// Signed reports whether the header, in lower case, is covered by the signature.
func (s *Signature) Signed(header string) bool { return contains(s.SignedHeaders, header) }

// Format prints who signed and for what, whatever the verb: a signature holds a
// key and a token that must not get into logs.
func (s Signature) Format(f fmt.State, _ rune) {
	if s.Anonymous {
		fmt.Fprint(f, "anonymous")
		return
	}
	fmt.Fprintf(f, "%s/%s/%s/%s", s.AccessKeyID, s.Date, s.Region, s.Service)
}

// contains reports whether a list joined with semicolons has the item.
func contains(list, item string) bool {
	for list != "" {
		var first string
		first, list, _ = strings.Cut(list, ";")
		if first == item {
			return true
		}
	}
	return false
}

// Verify returns the signature of the request if it is a valid one. body is the
// whole body for services other than S3, and not looked at for S3. Errors are
// *Error, worded for the scope's family, or what Lookup failed with; the signature is zero then.
func (v *Verifier) Verify(r *http.Request, scope Scope, body []byte) (Signature, error) {
	now := time.Now
	if v.Now != nil {
		now = v.Now
	}
	s := Signature{now: now().UTC()}

	var c claim
	if err := c.parse(r, &scope); err != nil {
		return Signature{}, err
	}
	if c.anonymous {
		if !scope.Anonymous {
			return Signature{}, scope.fault(missingToken, "Request is missing Authentication Token", "Access Denied")
		}
		s.Anonymous = true
		if scope.Family == S3 {
			s.PayloadHash = r.Header.Get("X-Amz-Content-Sha256")
		}
		return s, nil
	}
	if err := c.checkSignedHeaders(r, &scope); err != nil {
		return Signature{}, err
	}
	if err := c.checkTime(&scope, s.now); err != nil {
		return Signature{}, err
	}
	if err := c.checkCredential(&scope); err != nil {
		return Signature{}, err
	}
	hash, err := c.payloadHash(r, &scope, body)
	if err != nil {
		return Signature{}, err
	}
	s.PayloadHash = hash

	secret, identity, err := v.Lookup(c.accessKeyID, c.token, s.now)
	switch {
	case errors.Is(err, ErrUnknownKey):
		return Signature{}, scope.fault(unknownKey, "The security token included in the request is invalid.",
			"The AWS Access Key Id you provided does not exist in our records.", Field{"AWSAccessKeyId", c.accessKeyID})
	case errors.Is(err, ErrInvalidToken):
		return Signature{}, scope.fault(invalidToken, "The security token included in the request is invalid",
			"The provided token is malformed or otherwise invalid.", Field{"Token-0", c.token})
	case errors.Is(err, ErrExpiredToken):
		return Signature{}, scope.fault(expiredToken, "The security token included in the request is expired",
			"The provided token has expired.", Field{"Token-0", c.token})
	case err != nil:
		return Signature{}, err
	}

	var space [2048]byte
	canonical := appendCanonical(space[:0], r, &c, s.PayloadHash, scope.Family == S3)
	var space2 [256]byte
	toSign := appendStringToSign(space2[:0], c.time, c.scope, canonical)
	key, cached := v.keys.get(&c, secret)
	if !cached {
		key = deriveKey(secret, c.date, c.region, c.service)
	}
	want := sum(key[:], toSign)
	var wantHex [2 * sha256.Size]byte
	hex.Encode(wantHex[:], want[:])
	if !hmac.Equal(wantHex[:], []byte(c.signature)) {
		return Signature{}, scope.fault(mismatch,
			"The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
			s3Mismatch,
			Field{"AWSAccessKeyId", c.accessKeyID},
			Field{"StringToSign", string(toSign)},
			Field{"SignatureProvided", c.signature},
			Field{"StringToSignBytes", hexBytes(toSign)},
			Field{"CanonicalRequest", string(canonical)},
			Field{"CanonicalRequestBytes", hexBytes(canonical)})
	}
	if !cached {
		v.keys.put(&c, secret, key) // only now: forged requests fill no cache
	}

	s.AccessKeyID, s.Identity, s.SessionToken = c.accessKeyID, identity, c.token
	s.Date, s.Region, s.Service, s.Time, s.Expires = c.date, c.region, c.service, c.time, c.expires
	s.SignedHeaders, s.Presigned = c.signedHeaders, c.presigned
	s.key, s.seed = key, c.signature
	return s, nil
}

const s3Mismatch = "The request signature we calculated does not match the signature you provided. Check your key and signing method."

// hexBytes prints bytes as S3 does in its answer to a wrong signature: "41 57 53".
func hexBytes(b []byte) string {
	var s strings.Builder
	for i, c := range b {
		if i > 0 {
			s.WriteByte(' ')
		}
		s.WriteByte("0123456789abcdef"[c>>4])
		s.WriteByte("0123456789abcdef"[c&15])
	}
	return s.String()
}
