package sigv4

import (
	"bufio"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
)

// AWS's published test suite.
func TestSuite(t *testing.T) {
	data, err := os.ReadFile("testdata/suite.txt")
	if err != nil {
		t.Fatal(err)
	}
	files := txtar.Parse(data).Files
	for i := 0; i+1 < len(files); i += 2 {
		name := strings.TrimSuffix(files[i].Name, ".req")
		head, body, _ := strings.Cut(string(files[i].Data), "\n\n")
		body = strings.TrimSuffix(body, "\n")
		authz := strings.TrimSpace(string(files[i+1].Data))
		t.Run(name, func(t *testing.T) {
			line, headers, _ := strings.Cut(head, "\n")
			method, target, _ := strings.Cut(strings.TrimSuffix(line, " HTTP/1.1"), " ")
			text := method + " / HTTP/1.1\r\n" + strings.ReplaceAll(strings.TrimSpace(headers), "\n", "\r\n") + "\r\n\r\n"
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
			if err != nil {
				t.Fatal(err)
			}
			path, query, _ := strings.Cut(target, "?")
			r.URL = &url.URL{Path: path, RawQuery: query}
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "+authz)
			if r.URL.EscapedPath() != path {
				// Not encoded on the wire, which no client does today: encoded once
				// in the canonical form, as only S3's rules do.
				var c claim
				if err := c.parse(r, &Scope{}); err != nil {
					t.Fatal(err)
				}
				c.time, c.scope = testTime, "20150830/us-east-1/service/aws4_request"
				key := deriveKey(testSecret, "20150830", "us-east-1", "service")
				got := sum(key[:], appendStringToSign(nil, c.time, c.scope, appendCanonical(nil, r, &c, Hash([]byte(body)), true)))
				if want := c.signature; hexOf(got[:]) != want {
					t.Errorf("signature = %x, want %s", got, want)
				}
				return
			}
			v := newVerifier()
			v.Lookup = func(string, string, time.Time) (string, any, error) { return testSecret, nil, nil }
			if _, err := v.Verify(r, Scope{Service: "service"}, []byte(body)); err != nil {
				t.Errorf("%v", err)
			}
		})
	}
}

// The examples of the S3 API Reference, "Authenticating Requests (AWS Signature
// Version 4)": header, query, and the two kinds of signed chunks.
func TestS3Examples(t *testing.T) {
	const host = "Host: examplebucket.s3.amazonaws.com\r\n"
	const empty = "x-amz-content-sha256: " + emptyHash + "\r\nx-amz-date: 20130524T000000Z\r\n"
	authz := func(signed, signature string) string {
		return "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=" + signed + ",Signature=" + signature + "\r\n"
	}
	chunks := func(line1, line2, line3, end string) string {
		return "10000;chunk-signature=" + line1 + "\r\n" + strings.Repeat("a", 65536) + "\r\n" +
			"400;chunk-signature=" + line2 + "\r\n" + strings.Repeat("a", 1024) + "\r\n" +
			"0;chunk-signature=" + line3 + "\r\n" + end
	}
	for _, test := range []struct {
		name, head, body string
		decoded          string
		algorithm, sum   string
	}{
		{
			name: "get object",
			head: "GET /test.txt HTTP/1.1\r\n" + host + "Range: bytes=0-9\r\n" + empty +
				authz("host;range;x-amz-content-sha256;x-amz-date", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
			algorithm: "CRC64NVME", sum: "AAAAAAAAAAA=",
		},
		{
			name: "put object",
			head: "PUT /test%24file.text HTTP/1.1\r\n" + host + "Date: Fri, 24 May 2013 00:00:00 GMT\r\nContent-Length: 21\r\n" +
				"x-amz-date: 20130524T000000Z\r\nx-amz-storage-class: REDUCED_REDUNDANCY\r\n" +
				"x-amz-content-sha256: 44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072\r\n" +
				authz("date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class", "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
			body: "Welcome to Amazon S3.", decoded: "Welcome to Amazon S3.",
		},
		{
			name: "get bucket lifecycle",
			head: "GET /?lifecycle HTTP/1.1\r\n" + host + empty +
				authz("host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
		},
		{
			name: "list objects",
			head: "GET /?max-keys=2&prefix=J HTTP/1.1\r\n" + host + empty +
				authz("host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
		},
		{
			name: "presigned",
			head: "GET /test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request" +
				"&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host" +
				"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404 HTTP/1.1\r\n" + host,
		},
		{
			name: "signed chunks",
			head: "PUT /examplebucket/chunkObject.txt HTTP/1.1\r\nHost: s3.amazonaws.com\r\nx-amz-date: 20130524T000000Z\r\n" +
				"x-amz-storage-class: REDUCED_REDUNDANCY\r\nContent-Encoding: aws-chunked\r\nx-amz-decoded-content-length: 66560\r\n" +
				"x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\r\nContent-Length: 66824\r\n" +
				authz("content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
					"4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"),
			body: chunks("ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
				"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
				"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9", "\r\n"),
			decoded: strings.Repeat("a", 66560),
		},
		{
			name: "signed chunks with a trailer",
			head: "PUT /examplebucket/chunkObject.txt HTTP/1.1\r\nHost: s3.amazonaws.com\r\nx-amz-date: 20130524T000000Z\r\n" +
				"x-amz-storage-class: REDUCED_REDUNDANCY\r\nContent-Encoding: aws-chunked\r\nx-amz-decoded-content-length: 66560\r\n" +
				"x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER\r\nx-amz-trailer: x-amz-checksum-crc32c\r\n" +
				authz("content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
					"106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"),
			body: chunks("b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
				"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
				"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
				"x-amz-checksum-crc32c:sOO8/Q==\n\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\n\r\n\r\n"),
			decoded: strings.Repeat("a", 66560), algorithm: "CRC32C", sum: "sOO8/Q==",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(test.head + "\r\n")))
			if err != nil {
				t.Fatal(err)
			}
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(test.body)), int64(len(test.body))
			v := &Verifier{
				Lookup: func(id, token string, _ time.Time) (string, any, error) {
					if id != "AKIAIOSFODNN7EXAMPLE" || token != "" {
						return "", nil, ErrUnknownKey
					}
					return "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", nil, nil
				},
				Now: func() time.Time { return time.Date(2013, 5, 24, 0, 5, 0, 0, time.UTC) },
			}
			sig, err := v.Verify(r, Scope{Service: "s3", Regions: []string{"us-east-1"}, Family: S3}, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := sig.Body(r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(body)
			if err != nil || string(got) != test.decoded {
				t.Fatalf("body of %d bytes, %v; want %d", len(got), err, len(test.decoded))
			}
			if body.Length() != int64(len(test.decoded)) {
				t.Errorf("Length = %d, want %d", body.Length(), len(test.decoded))
			}
			if algorithm, sum := body.Checksum(); test.algorithm != "" && (algorithm != test.algorithm || sum != test.sum) {
				t.Errorf("Checksum = %s %s, want %s %s", algorithm, sum, test.algorithm, test.sum)
			}
		})
	}
}
