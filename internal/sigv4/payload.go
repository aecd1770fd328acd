package sigv4

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Words that stand in x-amz-content-sha256 instead of a hash.
const (
	unsignedPayload  = "UNSIGNED-PAYLOAD"
	streaming        = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	streamingTrailer = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	unsignedTrailer  = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

const payloadHashText = "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD, STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER or a valid sha256 value."

// payloadHash returns what the canonical request has as the hash of the body: the
// hash itself, or what an S3 client says instead.
func (c *claim) payloadHash(r *http.Request, scope *Scope, body []byte) (string, error) {
	if scope.Family != S3 {
		return Hash(body), nil
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
	case "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER":
		return "", &Error{"NotImplemented", "SigV4A is not supported here: sign with " + algorithm + ".", 501, nil}
	}
	if !isHash(said) {
		return "", scope.fault(badPayloadHash, "",
			payloadHashText,
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

// A Body is the body of an S3 request, decoded and held to all that the request
// says of it: the signed hash, the signatures of its chunks and its trailer,
// x-amz-decoded-content-length, x-amz-checksum-*, Content-MD5. It is read in
// constant memory, so what Read gives before io.EOF is not yet known to be good:
// whoever stores it must throw it away when another error comes. Such errors are
// *Error, or what the connection failed with.
type Body struct {
	raw    io.Closer
	src    io.Reader
	length int64 // as announced; -1 when it is not
	read   int64
	err    error // sticky, io.EOF too

	payload  hash.Hash // nil unless the hash of the body is signed
	wantHash string
	md5      hash.Hash // nil without Content-MD5
	wantMD5  []byte

	checksum     hash.Hash
	kind         *checksumKind
	wantChecksum string // base64; "" until a trailer gives it, or when nothing does
	trailer      string // name of the checksum's trailer, "" when none is announced
}

// Body returns the body of the request that the signature is of. It fails if
// headers that describe the body are not valid.
func (s *Signature) Body(r *http.Request) (*Body, error) {
	b := &Body{raw: r.Body, src: r.Body, length: r.ContentLength}
	if r.Body == nil {
		b.raw, b.src = http.NoBody, http.NoBody
	}

	switch s.PayloadHash {
	case "", unsignedPayload:
	case streaming, streamingTrailer, unsignedTrailer:
		signed := s.PayloadHash != unsignedTrailer
		if s.Anonymous && signed {
			return nil, &Error{"InvalidRequest", "Anonymous requests don't support this x-amz-content-sha256 value. Please use UNSIGNED-PAYLOAD or STREAMING-UNSIGNED-PAYLOAD-TRAILER.", 400, nil}
		}
		n, err := strconv.ParseUint(r.Header.Get("X-Amz-Decoded-Content-Length"), 10, 63)
		if err != nil {
			return nil, &Error{"MissingContentLength", "You must provide the Content-Length HTTP header.", 411, nil}
		}
		b.length = int64(n)
		b.src = newChunks(b, s, signed, s.PayloadHash != streaming)
		if name := strings.ToLower(strings.TrimSpace(r.Header.Get("X-Amz-Trailer"))); name != "" {
			b.kind = checksumByHeader(name)
			if b.kind == nil || s.PayloadHash == streaming {
				return nil, &Error{"InvalidRequest", "The value specified in the x-amz-trailer header is not supported", 400, nil}
			}
			b.trailer = name
		}
	default:
		if !isHash(s.PayloadHash) { // only of an anonymous request: Verify looks at the others
			return nil, &Error{"InvalidArgument", payloadHashText, 400, []Field{{"ArgumentName", "x-amz-content-sha256"}, {"ArgumentValue", s.PayloadHash}}}
		}
		b.payload, b.wantHash = sha256.New(), s.PayloadHash
	}

	if h := r.Header["Content-Md5"]; len(h) > 0 {
		want, err := base64.StdEncoding.DecodeString(h[0])
		if err != nil || len(want) != md5.Size {
			return nil, &Error{"InvalidDigest", "The Content-MD5 you specified was invalid.", 400, []Field{{"Content-MD5", h[0]}}}
		}
		b.md5, b.wantMD5 = md5.New(), want
	}
	if err := b.findChecksum(s, r); err != nil {
		return nil, err
	}
	if b.kind == nil {
		b.kind = &checksumKinds[0] // S3 keeps a CRC64NVME of what came without a checksum
	}
	b.checksum = b.kind.new()
	return b, nil
}

// findChecksum looks for the x-amz-checksum- header, which a presigned request may
// have as a parameter of its query instead.
func (b *Body) findChecksum(s *Signature, r *http.Request) error {
	completes := false
	if r.Method == http.MethodPost {
		_, completes = queryValue(r.URL.RawQuery, "uploadId")
	}
	if completes {
		return nil // CompleteMultipartUpload: the checksum is that of the object, not of this body
	}
	found := 0
	if b.trailer != "" {
		found++
	}
	const prefix = "x-amz-checksum-"
	for key, values := range r.Header {
		name := strings.ToLower(key)
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		switch name {
		case prefix + "algorithm", prefix + "mode", prefix + "type":
			continue // these say something else
		}
		if err := b.expectChecksum(name, values[0]); err != nil {
			return err
		}
		found += len(values)
	}
	if s.Presigned && found == 0 {
		for i := range checksumKinds {
			k := &checksumKinds[i]
			if value, ok := queryValue(r.URL.RawQuery, k.header); ok {
				if err := b.expectChecksum(k.header, value); err != nil {
					return err
				}
				found++
			}
		}
	}
	if found > 1 {
		return &Error{"InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.", 400, nil}
	}
	if found == 0 && r.Header.Get("X-Amz-Sdk-Checksum-Algorithm") != "" {
		return &Error{"InvalidRequest", "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.", 400, nil}
	}
	return nil
}

func (b *Body) expectChecksum(header, value string) error {
	k := checksumByHeader(header)
	if k == nil {
		return &Error{"InvalidRequest", "The algorithm type you specified in x-amz-checksum- header is invalid.", 400, nil}
	}
	if !k.valid(value) {
		return &Error{"InvalidRequest", "Value for " + header + " header is invalid.", 400, nil}
	}
	b.kind, b.wantChecksum = k, value
	return nil
}

// Length returns the length of the decoded body as the request announces it, or
// -1 when it does not. A body of another length ends in an error.
func (b *Body) Length() int64 { return b.length }

// Checksum returns the name of a checksum of the body, as S3 has it ("CRC32"), and
// its value in base64. It is the checksum that the request came with, which has
// been compared, or CRC64NVME when it came with none. Only after io.EOF.
func (b *Body) Checksum() (algorithm, value string) {
	if b.err != io.EOF {
		return "", ""
	}
	return b.kind.name, base64.StdEncoding.EncodeToString(b.checksum.Sum(nil))
}

// Close closes the body of the request.
func (b *Body) Close() error { return b.raw.Close() }

// Read reads the decoded body. See [Body] for what its errors mean.
func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.src.Read(p)
	b.read += int64(n)
	for _, h := range []hash.Hash{b.payload, b.md5, b.checksum} {
		if h != nil {
			h.Write(p[:n])
		}
	}
	switch {
	case err == nil:
	case err == io.EOF:
		err = b.verify()
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = errIncomplete
	}
	b.err = err
	return n, err
}

// verify compares what was read with what was said, and returns io.EOF if all holds.
func (b *Body) verify() error {
	if b.length >= 0 && b.read != b.length {
		return errIncomplete
	}
	if b.payload != nil {
		if got := hex.EncodeToString(b.payload.Sum(nil)); !strings.EqualFold(got, b.wantHash) {
			return &Error{"XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.", 400,
				[]Field{{"ClientComputedContentSHA256", b.wantHash}, {"S3ComputedContentSHA256", got}}}
		}
	}
	if b.md5 != nil {
		if got := b.md5.Sum(nil); !bytes.Equal(got, b.wantMD5) {
			return &Error{"BadDigest", "The Content-MD5 you specified did not match what we received.", 400,
				[]Field{{"ExpectedDigest", hex.EncodeToString(b.wantMD5)}, {"CalculatedDigest", base64.StdEncoding.EncodeToString(got)}}}
		}
	}
	if b.wantChecksum != "" && b.wantChecksum != base64.StdEncoding.EncodeToString(b.checksum.Sum(nil)) {
		return &Error{"BadDigest", "The " + b.kind.name + " you specified did not match the calculated checksum.", 400, nil}
	}
	return io.EOF
}

var errIncomplete = &Error{"IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header", 400, nil}
