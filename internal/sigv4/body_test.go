package sigv4

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

var s3Scope = Scope{Service: "s3", Family: S3, Anonymous: true}

// An upload is a PUT that a test builds and spoils.
type upload struct {
	mode     string // x-amz-content-sha256; "" is the hash of data
	data     string
	chunk    int // bytes in a chunk
	headers  map[string]string
	trailer  string // "x-amz-checksum-crc32:..."
	decoded  string // x-amz-decoded-content-length; "" is what is right
	unsigned bool
}

// request signs the upload and encodes its body. The signature of the request is
// good; edit may change the encoded body.
func (u upload) request(edit func(string) string) *http.Request {
	mode := u.mode
	if mode == "" {
		mode = Hash([]byte(u.data))
	}
	r := httptest.NewRequest("PUT", "http://s3.test/bucket/key", nil)
	for name, value := range u.headers {
		r.Header.Set(name, value)
	}
	chunked := strings.HasPrefix(mode, "STREAMING-")
	if chunked {
		r.Header.Set("X-Amz-Decoded-Content-Length", strconv.Itoa(len(u.data)))
		if u.decoded != "" {
			r.Header.Set("X-Amz-Decoded-Content-Length", u.decoded)
		}
		if name, _, ok := strings.Cut(u.trailer, ":"); ok {
			r.Header.Set("X-Amz-Trailer", name)
		}
	}
	s := &Signer{AccessKeyID: testKey, SecretAccessKey: testSecret, Region: "us-east-1", Service: "s3"}
	s.Sign(r, mode, testTime)
	_, seed, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
	if u.unsigned {
		r.Header.Del("Authorization")
	}
	body := u.data
	if chunked {
		body = s.chunks(u, seed, mode != unsignedTrailer, mode != streaming)
	}
	if edit != nil {
		body = edit(body)
	}
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	return r
}

// chunks encodes a body as a client does.
func (s *Signer) chunks(u upload, last string, signed, trailers bool) string {
	key := deriveKey(s.SecretAccessKey, "20150830", s.Region, s.Service)
	head := "\n20150830T123600Z\n20150830/us-east-1/s3/aws4_request\n"
	var b strings.Builder
	for rest := u.data; ; {
		n := min(u.chunk, len(rest))
		data := rest[:n]
		rest = rest[n:]
		fmt.Fprintf(&b, "%x", n)
		if signed {
			h := sha256.Sum256([]byte(data))
			sig := sum(key[:], []byte("AWS4-HMAC-SHA256-PAYLOAD"+head+last+"\n"+emptyHash+"\n"+hexOf(h[:])))
			last = hexOf(sig[:])
			b.WriteString(";chunk-signature=" + last)
		}
		b.WriteString("\r\n")
		if n == 0 {
			break
		}
		b.WriteString(data + "\r\n")
	}
	if trailers {
		text := ""
		if u.trailer != "" {
			text = u.trailer + "\n"
			b.WriteString(u.trailer + "\r\n")
		}
		if signed {
			h := sha256.Sum256([]byte(text))
			sig := sum(key[:], []byte("AWS4-HMAC-SHA256-TRAILER"+head+last+"\n"+hexOf(h[:])))
			b.WriteString("x-amz-trailer-signature:" + hexOf(sig[:]) + "\r\n")
		}
	}
	b.WriteString("\r\n")
	return b.String()
}

// receive verifies a request and reads its body.
func receive(r *http.Request) (*Body, string, error) {
	sig, err := newVerifier().Verify(r, s3Scope, nil)
	if err != nil {
		return nil, "", fmt.Errorf("the signature of the request: %w", err)
	}
	body, err := sig.Body(r)
	if err != nil {
		return nil, "", err
	}
	data, err := io.ReadAll(body)
	if _, again := body.Read(make([]byte, 1)); err != nil && again != err {
		return nil, "", fmt.Errorf("after %v comes %v", err, again)
	}
	return body, string(data), err
}

const (
	text      = "Welcome to Amazon S3."
	textCRC32 = "x-amz-checksum-crc32"
)

// checksumOf gives a checksum by name, in base64.
func checksumOf(name, data string) string {
	for _, k := range checksumKinds {
		if k.name == name {
			h := k.new()
			io.WriteString(h, data)
			return base64.StdEncoding.EncodeToString(h.Sum(nil))
		}
	}
	panic(name)
}

// Check values of the catalogue of CRC algorithms, for "123456789".
func TestChecksums(t *testing.T) {
	for name, want := range map[string]string{
		"CRC32": "cbf43926", "CRC32C": "e3069283", "CRC64NVME": "ae8b14860a799888",
		"SHA1": "f7c3bc1d808e04732adf679965ccc34ca7ae3441", "MD5": "25f9e794323b453885f5181f1b624d0b",
	} {
		b, _ := base64.StdEncoding.DecodeString(checksumOf(name, "123456789"))
		if got := hexOf(b); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
}

func TestBody(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 3000) // 48,000 bytes
	for name, u := range map[string]upload{
		"hash":                      {data: text},
		"empty":                     {},
		"unsigned":                  {mode: unsignedPayload, data: text},
		"content md5":               {data: text, headers: map[string]string{"Content-Md5": checksumOf("MD5", text)}},
		"checksum header":           {data: text, headers: map[string]string{"X-Amz-Checksum-Sha1": checksumOf("SHA1", text)}},
		"signed chunks":             {mode: streaming, data: long, chunk: 8192},
		"one signed chunk":          {mode: streaming, data: text, chunk: 8192},
		"no signed chunk":           {mode: streaming, chunk: 8192},
		"signed chunks, checksum":   {mode: streaming, data: long, chunk: 10000, headers: map[string]string{"X-Amz-Checksum-Sha256": checksumOf("SHA256", long)}},
		"signed trailer":            {mode: streamingTrailer, data: long, chunk: 65536, trailer: "x-amz-checksum-crc32c:" + checksumOf("CRC32C", long)},
		"signed, empty trailer":     {mode: streamingTrailer, data: long, chunk: 65536},
		"unsigned trailer":          {mode: unsignedTrailer, data: long, chunk: 9999, trailer: "x-amz-checksum-crc64nvme:" + checksumOf("CRC64NVME", long)},
		"unsigned, no trailer":      {mode: unsignedTrailer, data: long, chunk: 9999},
		"unsigned, nothing":         {mode: unsignedTrailer, chunk: 9999, trailer: "x-amz-checksum-crc32:AAAAAA=="},
		"anonymous":                 {mode: unsignedPayload, data: text, unsigned: true},
		"anonymous, hash":           {data: text, unsigned: true},
		"anonymous, chunks":         {mode: unsignedTrailer, data: long, chunk: 9999, unsigned: true, trailer: "x-amz-checksum-sha256:" + checksumOf("SHA256", long)},
		"trailer ended by newlines": {mode: unsignedTrailer, data: text, chunk: 9999, trailer: "x-amz-checksum-crc32:" + checksumOf("CRC32", text) + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			body, got, err := receive(u.request(nil))
			if err != nil {
				t.Fatal(err)
			}
			if got != u.data || body.Length() != int64(len(u.data)) {
				t.Errorf("got %d bytes, length %d; want %d", len(got), body.Length(), len(u.data))
			}
			algorithm, value := body.Checksum()
			if value != checksumOf(algorithm, u.data) {
				t.Errorf("Checksum = %s %s", algorithm, value)
			}
			// However the bytes come in, they are the same.
			r := u.request(nil)
			r.Body = io.NopCloser(iotest.OneByteReader(r.Body))
			if _, got, err := receive(r); err != nil || got != u.data {
				t.Errorf("byte by byte: %d bytes, %v", len(got), err)
			}
			r = u.request(nil)
			r.Body = io.NopCloser(iotest.DataErrReader(r.Body))
			if _, got, err := receive(r); err != nil || got != u.data {
				t.Errorf("end with the last bytes: %d bytes, %v", len(got), err)
			}
		})
	}
}

// What a client may get wrong in a body, or someone on the way may change.
func TestRefuseBody(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 3000)
	crc := "x-amz-checksum-crc32:" + checksumOf("CRC32", long)
	replace := func(old, new string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, new, 1) }
	}
	header := func(name, value string) map[string]string { return map[string]string{name: value} }
	signed := upload{mode: streaming, data: long, chunk: 10000}
	trailer := upload{mode: streamingTrailer, data: long, chunk: 10000, trailer: crc}
	plain := upload{mode: unsignedTrailer, data: long, chunk: 10000, trailer: crc}
	const (
		incomplete = "IncompleteBody: You did not provide the number of bytes specified by the Content-Length HTTP header"
		broken     = "IncompleteBody: The request body terminated unexpectedly"
		malformed  = "MalformedTrailerError: The request contained trailing data that was not well-formed or did not conform to our published schema."
		mismatch   = "SignatureDoesNotMatch: " + s3Mismatch
	)
	for _, test := range []struct {
		name   string
		upload upload
		edit   func(string) string
		want   string
	}{
		{"another byte", upload{data: text}, replace("W", "w"), "XAmzContentSHA256Mismatch: The provided 'x-amz-content-sha256' header does not match what was computed."},
		{"another byte, anonymous", upload{data: text, unsigned: true}, replace("W", "w"), "XAmzContentSHA256Mismatch: The provided 'x-amz-content-sha256' header does not match what was computed."},
		{"wrong MD5", upload{data: text, headers: header("Content-Md5", checksumOf("MD5", "x"))}, nil, "BadDigest: The Content-MD5 you specified did not match what we received."},
		{"no MD5", upload{data: text, headers: header("Content-Md5", "x")}, nil, "InvalidDigest: The Content-MD5 you specified was invalid."},
		{"short MD5", upload{data: text, headers: header("Content-Md5", "AAAA")}, nil, "InvalidDigest: The Content-MD5 you specified was invalid."},
		{"wrong CRC32", upload{data: text, headers: header(textCRC32, "AAAAAA==")}, nil, "BadDigest: The CRC32 you specified did not match the calculated checksum."},
		{"wrong CRC64NVME", upload{data: text, headers: header("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=")}, nil, "BadDigest: The CRC64NVME you specified did not match the calculated checksum."},
		{"CRC32 of another length", upload{data: text, headers: header(textCRC32, "AAAA")}, nil, "InvalidRequest: Value for x-amz-checksum-crc32 header is invalid."},
		{"CRC32 that is no base64", upload{data: text, headers: header(textCRC32, "%%%%%%==")}, nil, "InvalidRequest: Value for x-amz-checksum-crc32 header is invalid."},
		{"unknown checksum", upload{data: text, headers: header("x-amz-checksum-crc33", "AAAAAA==")}, nil, "InvalidRequest: The algorithm type you specified in x-amz-checksum- header is invalid."},
		{"two checksums", upload{data: text, headers: map[string]string{textCRC32: checksumOf("CRC32", text), "x-amz-checksum-sha1": checksumOf("SHA1", text)}}, nil,
			"InvalidRequest: Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."},
		{"a checksum before and after", upload{mode: unsignedTrailer, data: text, chunk: 10000, headers: header(textCRC32, checksumOf("CRC32", text)), trailer: crc}, nil,
			"InvalidRequest: Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."},
		{"an algorithm without checksum", upload{data: text, headers: header("x-amz-sdk-checksum-algorithm", "CRC32")}, nil,
			"InvalidRequest: x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found."},
		{"signed chunks, anonymous", upload{mode: streaming, data: text, chunk: 10000, unsigned: true}, nil,
			"InvalidRequest: Anonymous requests don't support this x-amz-content-sha256 value. Please use UNSIGNED-PAYLOAD or STREAMING-UNSIGNED-PAYLOAD-TRAILER."},
		{"nonsense, anonymous", upload{mode: "x", data: text, unsigned: true}, nil, "InvalidArgument: " + payloadHashText},
		{"decoded length no number", upload{mode: streaming, data: text, chunk: 10000, decoded: "-1"}, nil, "MissingContentLength: You must provide the Content-Length HTTP header."},
		{"decoded length too small", upload{mode: streaming, data: long, chunk: 10000, decoded: "47999"}, nil, incomplete},
		{"decoded length too large", upload{mode: streaming, data: long, chunk: 10000, decoded: "48001"}, nil, incomplete},
		{"decoded length too large, unsigned", upload{mode: unsignedTrailer, data: long, chunk: 10000, decoded: "48001"}, nil, incomplete},
		{"unknown trailer", upload{mode: unsignedTrailer, data: text, chunk: 10000, trailer: "x-amz-meta-a:b"}, nil, "InvalidRequest: The value specified in the x-amz-trailer header is not supported"},
		{"trailer where none may be", upload{mode: streaming, data: text, chunk: 10000, trailer: crc}, nil, "InvalidRequest: The value specified in the x-amz-trailer header is not supported"},

		{"byte in the first chunk", signed, replace("\r\n0", "\r\n1"), mismatch},
		{"byte in the last chunk", signed, func(s string) string {
			i := strings.LastIndex(s, "def\r\n")
			return s[:i] + "dea" + s[i+3:]
		}, mismatch},
		{"signature of a chunk", signed, replace("chunk-signature=", "chunk-signature=0"), mismatch},
		{"no signature of a chunk", signed, func(s string) string { return s[:4] + s[strings.Index(s, "\r\n"):] }, broken},
		{"another extension", signed, replace("chunk-signature=", "signature="), broken},
		{"a chunk left out", signed, func(s string) string { return s[strings.Index(s[1:], "2710;")+1:] }, mismatch},
		{"chunks exchanged", upload{mode: streaming, data: strings.Repeat("a", 10000) + strings.Repeat("b", 10000), chunk: 10000}, func(s string) string {
			i, j := strings.Index(s[1:], "2710;")+1, strings.LastIndex(s, "0;chunk-signature=")
			return s[i:j] + s[:i] + s[j:]
		}, mismatch},
		{"the last chunk left out", signed, func(s string) string { return s[:strings.LastIndex(s, "0;chunk")] }, incomplete},
		{"the last chunk's signature", signed, func(s string) string { return s[:strings.LastIndex(s, "=")+1] + strings.Repeat("0", 64) + "\r\n\r\n" }, mismatch},
		{"cut in a chunk", signed, func(s string) string { return s[:20000] }, incomplete},
		{"cut before the line end of a chunk", signed, func(s string) string { return s[:strings.Index(s, "\r\n")+2+10000] }, incomplete},
		{"something after the end", signed, func(s string) string { return s + "x" }, malformed},
		{"a trailer after the end", signed, func(s string) string { return s + "x-amz-checksum-crc32:AAAAAA==\r\n" }, malformed},
		{"no line end after a chunk", signed, replace("\r\n2710", "\n2710"), broken},
		{"a line without return", signed, replace("\r\n", "\n"), broken},
		{"a long line", signed, func(s string) string { return strings.Repeat("0", 300) + s }, broken},
		{"a very long line", signed, func(s string) string { return strings.Repeat("0", 30000) + s }, broken},
		{"a negative length", plain, func(s string) string { return "-" + s }, broken},
		{"an empty length", plain, replace("2710", ""), broken},
		{"a length with a sign", plain, replace("2710", "+2710"), broken},
		{"a huge length", plain, replace("2710", "7fffffffffffffff"), incomplete},
		{"a length beyond 64 bits", plain, replace("2710", "10000000000000000"), broken},
		{"a signature where none is", plain, replace("2710", "2710;chunk-signature=0"), broken},
		{"a small chunk before the last", upload{mode: unsignedTrailer, data: long, chunk: 8191}, nil, "InvalidChunkSizeError: Only the last chunk is allowed to have a size less than 8192 bytes"},

		{"byte, trailing checksum", plain, replace("0123", "0124"), "BadDigest: The CRC32 you specified did not match the calculated checksum."},
		{"trailer missing", plain, replace(crc+"\r\n", ""), malformed},
		{"trailer twice", plain, replace(crc, crc+"\r\n"+crc), malformed},
		{"trailer of another name", plain, replace("crc32:", "crc32c:"), malformed},
		{"trailer without colon", plain, replace("crc32:", "crc32"), malformed},
		{"a further trailer", plain, func(s string) string { return s + "a:b\r\n" }, malformed},
		{"too many trailers", plain, func(s string) string { return s + strings.Repeat("\r\n", 3000) }, malformed},
		{"trailer that is no checksum", plain, replace(crc, "x-amz-checksum-crc32:AAAA"), "InvalidRequest: Value for x-amz-checksum-crc32 trailing header is invalid."},
		{"a signature of an unsigned trailer", plain, func(s string) string { return s + "x-amz-trailer-signature:0\r\n" }, malformed},
		{"signed trailer changed", trailer, replace(crc, "x-amz-checksum-crc32:AAAAAA=="), mismatch},
		{"signed trailer without signature", trailer, func(s string) string { return s[:strings.Index(s, "x-amz-trailer-signature")] + "\r\n" }, mismatch},
		{"another signature of the trailer", trailer, replace("trailer-signature:", "trailer-signature:0"), mismatch},
		{"a trailer after its signature", trailer, func(s string) string { return s + "a:b\r\n" }, malformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := receive(test.upload.request(test.edit))
			if e, ok := errors.AsType[*Error](err); !ok || e != err || e.Error() != test.want {
				t.Errorf("got %v\nwant %s", err, test.want)
			}
			if test.want == mismatch {
				for _, f := range err.(*Error).Fields {
					if f.Name == "Signature" {
						t.Error("the error tells the right signature")
					}
				}
			}
		})
	}
}

// A body that ends before its Content-Length.
func TestShortBody(t *testing.T) {
	r := upload{mode: unsignedPayload, data: text}.request(nil)
	r.ContentLength++
	if _, _, err := receive(r); err != errIncomplete {
		t.Errorf("got %v", err)
	}
	r = upload{mode: unsignedPayload, data: text}.request(nil)
	r.Body = io.NopCloser(io.MultiReader(r.Body, iotest.ErrReader(io.ErrUnexpectedEOF)))
	if _, _, err := receive(r); err != errIncomplete {
		t.Errorf("got %v", err)
	}
	lost := errors.New("the line is cut")
	for _, mode := range []string{"", unsignedPayload, streaming} {
		r = upload{mode: mode, data: text, chunk: 8192}.request(func(s string) string { return s[:len(s)/2] })
		r.Body = io.NopCloser(io.MultiReader(r.Body, iotest.ErrReader(lost)))
		if _, _, err := receive(r); err != lost {
			t.Errorf("mode %q: got %v, want the error of the connection", mode, err)
		}
	}
}

// The checksum of CompleteMultipartUpload is the object's, that of a presigned
// upload may be in its query.
func TestChecksumElsewhere(t *testing.T) {
	s := &Signer{AccessKeyID: testKey, SecretAccessKey: testSecret, Region: "us-east-1", Service: "s3"}
	r := httptest.NewRequest("POST", "http://s3.test/bucket/key?uploadId=1", strings.NewReader(text))
	r.Header.Set("X-Amz-Checksum-Crc32", "AAAAAA==")
	s.Sign(r, Hash([]byte(text)), testTime)
	if _, _, err := receive(r); err != nil {
		t.Errorf("CompleteMultipartUpload: %v", err)
	}
	for sum, want := range map[string]string{checksumOf("CRC32", text): "", "AAAAAA==": "BadDigest"} {
		r := httptest.NewRequest("PUT", "http://s3.test/bucket/key?x-amz-checksum-crc32="+strings.NewReplacer("+", "%2B", "/", "%2F", "=", "%3D").Replace(sum), strings.NewReader(text))
		s.Presign(r, time.Hour, testTime)
		_, _, err := receive(r)
		if e, _ := err.(*Error); want == "" && err != nil || want != "" && (e == nil || e.Code != want) {
			t.Errorf("presigned with %s: got %v, want %q", sum, err, want)
		}
	}
}

// Whatever the S3 client of the SDK sends, over TLS (unsigned trailers) and
// without (signed hashes), with every checksum it knows.
func TestS3Client(t *testing.T) {
	data := make([]byte, 300_000)
	rnd := rand.NewChaCha8([32]byte{})
	rnd.Read(data)
	var got *Body
	var gotData []byte
	var mode string
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := &Verifier{Lookup: testLookup}
		sig, err := v.Verify(r, Scope{Service: "s3", Regions: []string{"eu-west-1"}, Family: S3}, nil)
		if err == nil {
			mode = sig.PayloadHash
			if got, err = sig.Body(r); err == nil {
				gotData, err = io.ReadAll(got)
			}
		}
		if err != nil {
			t.Error(err)
			http.Error(w, err.Error(), 400)
		}
	})
	for _, secure := range []bool{true, false} {
		server := httptest.NewUnstartedServer(handler)
		if secure {
			server.StartTLS()
		} else {
			server.Start()
		}
		defer server.Close()
		client := s3.New(s3.Options{
			BaseEndpoint: aws.String(server.URL), UsePathStyle: true, Region: "eu-west-1", HTTPClient: server.Client(),
			Credentials: credentials.NewStaticCredentialsProvider("ASIAEXAMPLE", testSecret, testToken), RetryMaxAttempts: 1,
			RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
		})
		for _, algorithm := range slices.Concat([]types.ChecksumAlgorithm{""}, types.ChecksumAlgorithmCrc32.Values()[:5]) {
			t.Run(fmt.Sprintf("%s tls %t", algorithm, secure), func(t *testing.T) {
				got, gotData = nil, nil
				_, err := client.PutObject(context.Background(), &s3.PutObjectInput{
					Bucket: aws.String("bucket"), Key: aws.String("a//b c/+é~"), Body: bytes.NewReader(data), ChecksumAlgorithm: algorithm,
				})
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(gotData, data) {
					t.Errorf("got %d bytes, want %d", len(gotData), len(data))
				}
				want := string(algorithm)
				if want == "" {
					want = "CRC32"
				}
				if name, value := got.Checksum(); name != want || value != checksumOf(want, string(data)) {
					t.Errorf("Checksum = %s %s, want %s", name, value, want)
				}
				if secure != (mode == unsignedTrailer) {
					t.Errorf("mode %s", mode)
				}
			})
		}
	}
}
