package plainhttp

import (
	"bufio"
	"io"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

const (
	host = "Host: iamd\r\n"
	end  = "\r\n"
)

// plainRequests are read here.
var plainRequests = []string{
	"GET / HTTP/1.1\r\n" + host + end,
	"GET /bucket/a%20key?versionId=1&x=%2F HTTP/1.1\r\nhost: bucket.s3.example:4600\r\n" + end,
	"HEAD //bucket//key?# HTTP/1.1\r\n" + host + end,
	"DELETE /bucket/key HTTP/1.1\r\nHost: [::1]:4600\r\nConnection: Keep-Alive\r\n" + end,
	"POST / HTTP/1.1\r\n" + host + "Content-Length: 7\r\n" + end + "Action=",
	"POST / HTTP/1.1\r\n" + host + "Content-Length: 0\r\n" + end,
	"POST / HTTP/1.1\r\n" + host + end,
	"PUT /b/k HTTP/1.1\r\nContent-length: 0003\r\n" + host + "x-amz-meta-a: \tone \t\r\nX-Amz-Meta-A: two\r\n" + end + "abc",
	"POST / HTTP/1.1\r\n" + host + "X-Empty:\r\nX-Bytes: \x80\xff\r\nX-Amz-Target: DynamoDB_20120810.PutItem\r\nContent-Length: 2\r\n" + end + "{}GET",
	"GET / HTTP/1.1\r\n" + host + "Cookie: a=b\r\nCookie: c=d\r\nUser-Agent: aws-cli/2.9\r\namz-sdk-invocation-id: 7\r\n" + end,
}

// otherRequests are left to net/http, which takes some and refuses some.
var otherRequests = []string{
	"OPTIONS / HTTP/1.1\r\n" + host + end,
	"get / HTTP/1.1\r\n" + host + end,
	"GET / HTTP/1.0\r\n" + host + end,
	"GET / HTTP/1.1 \r\n" + host + end,
	"GET  / HTTP/1.1\r\n" + host + end,
	"GET http://iamd/ HTTP/1.1\r\n" + host + end,
	"GET * HTTP/1.1\r\n" + host + end,
	"GET /%zz HTTP/1.1\r\n" + host + end,
	"GET /\x01 HTTP/1.1\r\n" + host + end,
	"GET / HTTP/1.1\r\n" + end,
	"GET / HTTP/1.1\r\nHost:\r\n" + end,
	"GET / HTTP/1.1\r\nHost: a b\r\n" + end,
	"GET / HTTP/1.1\r\n" + host + host + end,
	"GET / HTTP/1.1\r\n" + host + "Connection: close\r\n" + end,
	"GET / HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade: websocket\r\n" + end,
	"GET / HTTP/1.1\r\n" + host + "Pragma: no-cache\r\n" + end,
	"GET / HTTP/1.1\r\n" + host + "A : b\r\n" + end,
	"GET / HTTP/1.1\r\n" + host + " A: b\r\n" + end,
	"GET / HTTP/1.1\r\n" + host + "A: b\r\n folded\r\n" + end,
	"GET / HTTP/1.1\r\n" + host + ": b\r\n" + end,
	"GET / HTTP/1.1\r\n" + host + "no colon\r\n" + end,
	"GET / HTTP/1.1\r\n" + host + "x-amz-meta-ä: a\r\n" + end,
	"GET / HTTP/1.1\r\n" + host + "A: b\rc\r\n" + end,
	"GET / HTTP/1.1\r\n" + host + "A: b\r\r\n" + end,
	"GET / HTTP/1.1\r\n" + host + "A: b\nC: d\r\n" + end,
	"GET / HTTP/1.1\r\n" + host + "A: \x00\r\n" + end,
	"GET / HTTP/1.1\n" + host + end,
	"POST / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 1\r\n" + end + "a",
	"POST / HTTP/1.1\r\n" + host + "Content-Length: 1, 1\r\n" + end + "a",
	"POST / HTTP/1.1\r\n" + host + "Content-Length: +1\r\n" + end + "a",
	"POST / HTTP/1.1\r\n" + host + "Content-Length: -1\r\n" + end + "a",
	"POST / HTTP/1.1\r\n" + host + "Content-Length: 0x1\r\n" + end + "a",
	"POST / HTTP/1.1\r\n" + host + "Content-Length: 1_0\r\n" + end + "a",
	"POST / HTTP/1.1\r\n" + host + "Content-Length:\r\n" + end + "a",
	"POST / HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999\r\n" + end + "a",
	"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n" + end + "1\r\na\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n" + end + "1\r\na\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: identity\r\nContent-Length: 1\r\n" + end + "a",
	"PUT / HTTP/1.1\r\n" + host + "Expect: 100-continue\r\nContent-Length: 1\r\n" + end + "a",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}

// split parts what parse reads from what follows it.
func split(text string) (head, rest string, ok bool) {
	i := strings.Index(text, "\n\r\n")
	if i < 0 {
		return "", "", false
	}
	return text[:i+3], text[i+3:], true
}

func TestWhatIsPlain(t *testing.T) {
	for i, requests := range [][]string{plainRequests, otherRequests} {
		for _, text := range requests {
			head, _, ok := split(text)
			if !ok {
				t.Errorf("%q has no end", text)
				continue
			}
			if _, plain := parse(head, new(http.Request)); plain != (i == 0) {
				t.Errorf("%q is plain: %v", text, plain)
			}
		}
	}
}

// FuzzParse has whatever is read here read by net/http too: they must see the same.
func FuzzParse(f *testing.F) {
	for _, requests := range [][]string{plainRequests, otherRequests} {
		for _, text := range requests {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		head, rest, ok := split(text)
		if !ok {
			return
		}
		r := &http.Request{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
		length, plain := parse(head, r)
		if !plain || length > len(rest) {
			return
		}
		in := bufio.NewReader(strings.NewReader(text))
		want, err := http.ReadRequest(in)
		if err != nil {
			t.Fatalf("net/http does not read %q: %v", head, err)
		}
		body, err := io.ReadAll(want.Body)
		if err != nil || string(body) != rest[:length] {
			t.Errorf("the body is %q for net/http, %v, and %q here", body, err, rest[:length])
		}
		if left, _ := io.ReadAll(in); string(left) != rest[length:] {
			t.Errorf("%q follows for net/http, and %q here", left, rest[length:])
		}
		if want.Close || len(want.TransferEncoding) > 0 || want.Trailer != nil {
			t.Errorf("net/http has %+v", want)
		}
		for _, field := range []struct{ name, got, want any }{
			{"method", r.Method, want.Method}, {"URL", r.URL, want.URL}, {"URI", r.RequestURI, want.RequestURI},
			{"header", r.Header, want.Header}, {"host", r.Host, want.Host}, {"length", r.ContentLength, want.ContentLength}, {"protocol", r.Proto, want.Proto},
		} {
			if !reflect.DeepEqual(field.got, field.want) {
				t.Errorf("the %s is %#v, for net/http %#v", field.name, field.got, field.want)
			}
		}
	})
}

// A head of many lines costs what its bytes do, whether they are headers or not.
func TestManyLines(t *testing.T) {
	for _, x := range []struct{ name, lines string }{
		{"headers", strings.Repeat("a:\r\n", 2000)},
		{"line feeds", "a:" + strings.Repeat("\n", 8000) + "\r\n"},
	} {
		head := "GET / HTTP/1.1\r\n" + host + x.lines + end
		const times = 100
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range times {
			parse(head, new(http.Request))
		}
		runtime.ReadMemStats(&after)
		took, most := (after.TotalAlloc-before.TotalAlloc)/times, uint64(16*len(head))
		if took > most {
			t.Errorf("%d bytes of %s take %d, want at most %d", len(head), x.name, took, most)
		}
	}
}

func TestABodyEndsWithItsCall(t *testing.T) {
	b := &body{left: []byte("abc")}
	p := make([]byte, 2)
	if n, err := b.Read(p); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	b.Close()
	if n, err := b.Read(p); n != 0 || err != http.ErrBodyReadAfterClose {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

func BenchmarkParse(b *testing.B) {
	head := "POST / HTTP/1.1\r\nHost: 127.0.0.1:4600\r\nUser-Agent: aws-sdk-go-v2/1.30 os/linux lang/go md/GOOS#linux md/GOARCH#amd64\r\n" +
		"Content-Length: 120\r\nAmz-Sdk-Invocation-Id: 00000000-0000-4000-8000-000000000000\r\nAmz-Sdk-Request: attempt=1; max=3\r\n" +
		"Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261130/us-east-1/dynamodb/aws4_request, SignedHeaders=accept-encoding;content-length;host;x-amz-date;x-amz-target, Signature=" +
		strings.Repeat("0", 64) + "\r\nContent-Type: application/x-amz-json-1.0\r\nX-Amz-Date: 20261130T000000Z\r\nX-Amz-Target: DynamoDB_20120810.PutItem\r\nAccept-Encoding: identity\r\n\r\n"
	b.Run("here", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, plain := parse(string([]byte(head)), new(http.Request)); !plain {
				b.Fatal("not plain")
			}
		}
	})
	b.Run("net/http", func(b *testing.B) {
		b.ReportAllocs()
		text, in := strings.NewReader(""), bufio.NewReader(nil)
		for b.Loop() {
			text.Reset(head)
			in.Reset(text)
			if _, err := http.ReadRequest(in); err != nil {
				b.Fatal(err)
			}
		}
	})
}
