package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
)

// Words that stand in x-amz-content-sha256 instead of a hash.
const (
	unsignedPayload  = "UNSIGNED-PAYLOAD"
	streaming        = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	streamingTrailer = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	unsignedTrailer  = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

// payloadHash returns what the canonical request has as the hash of the body: the
// hash itself, or what an S3 client says instead.
func (c *claim) payloadHash(r *http.Request, scope *Scope, body []byte) (string, error) {
	if scope.Family != S3 {
		if len(body) == 0 {
			return emptyHash, nil
		}
		h := sha256.Sum256(body)
		return hex.EncodeToString(h[:]), nil
	}
	said := ""
	if h := r.Header["X-Amz-Content-Sha256"]; len(h) > 0 {
		said = h[0]
	} else if c.presigned {
		var ok bool
		if said, ok = queryValue(r.URL.RawQuery, "X-Amz-Content-Sha256"); !ok {
			return unsignedPayload, nil
		}
	} else {
		return "", scope.fault(noPayloadHash, "", "Missing required header for this request: x-amz-content-sha256")
	}
	switch said {
	case unsignedPayload, streaming, streamingTrailer, unsignedTrailer:
		return said, nil
	case strings.Replace(streaming, "HMAC", "ECDSA-P256", 1), strings.Replace(streamingTrailer, "HMAC", "ECDSA-P256", 1):
		return "", &Error{"NotImplemented", "SigV4A is not supported here: sign with " + algorithm + ".", 501, nil}
	}
	if !isHash(said) {
		return "", scope.fault(badPayloadHash, "",
			"x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD, STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
			Field{"ArgumentName", "x-amz-content-sha256"}, Field{"ArgumentValue", said})
	}
	return said, nil
}

// isHash reports whether s is a SHA-256 in hexadecimal.
func isHash(s string) bool {
	for i := range len(s) {
		if unhex(s[i]) > 15 {
			return false
		}
	}
	return len(s) == 2*sha256.Size
}
