package server_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/server"
	"github.com/iamd-dev/iamd/internal/sigv4"
)

// from gives the request to the server as if it came from a peer.
func (h *site) from(peer string, r *http.Request) reply {
	h.t.Helper()
	r.RemoteAddr = peer
	w := httptest.NewRecorder()
	h.server.ServeHTTP(w, r)
	return replyOf(w.Code, w.Header(), w.Body.String())
}

func TestWhereACallCameFrom(t *testing.T) {
	t.Parallel()
	h := open(t, func(cfg *server.Config) {
		cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	})
	root := h.roots[ours]
	for _, c := range []struct{ name, peer, forwarded, want string }{
		{"a peer", "192.0.2.1:4000", "", "192.0.2.1"},
		{"a peer that nobody trusts", "192.0.2.1:4000", "203.0.113.9", "192.0.2.1"},
		{"a proxy", "10.0.0.1:4000", "203.0.113.9", "203.0.113.9"},
		{"a proxy by IPv4 in IPv6", "[::ffff:10.0.0.1]:4000", "203.0.113.9", "203.0.113.9"},
		{"a proxy by IPv6", "[fd00::1]:4000", "2001:db8::7", "2001:db8::7"},
		{"what the client wrote is before what the proxy wrote", "10.0.0.1:4000", "127.0.0.1, 203.0.113.9", "203.0.113.9"},
		{"a client that pretends to be a proxy", "10.0.0.1:4000", "198.51.100.1, 10.9.9.9, 203.0.113.9", "203.0.113.9"},
		{"two proxies", "10.0.0.1:4000", "127.0.0.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"},
		{"proxies alone", "10.0.0.1:4000", "10.0.0.3, 10.0.0.2", "10.0.0.3"},
		{"nonsense", "10.0.0.1:4000", "203.0.113.9, unknown", "10.0.0.1"},
		{"nonsense before it", "10.0.0.1:4000", "unknown, 203.0.113.9", "203.0.113.9"},
		{"nothing", "10.0.0.1:4000", "", "10.0.0.1"},
		{"a port is no address", "10.0.0.1:4000", "203.0.113.9:55", "10.0.0.1"},
		{"IPv4 in IPv6", "10.0.0.1:4000", "::ffff:203.0.113.9", "203.0.113.9"},
		{"a zone", "10.0.0.1:4000", "fe80::1%eth0", "fe80::1%eth0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := "Action=GetCallerIdentity&Version=2011-06-15"
			r := h.request("POST", "/", body)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if c.forwarded != "" {
				r.Header.Set("X-Forwarded-For", c.forwarded)
				r.Header.Set("X-Real-Ip", "127.0.0.1")
				r.Header.Set("Forwarded", "for=127.0.0.1")
			}
			sign(root, "sts", r, body, time.Now())
			a := h.from(c.peer, r)
			if a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if got := h.records(a.requestID)[0].member(t, "sourceIPAddress"); got != c.want {
				t.Errorf("the call came from %v, not %s", got, c.want)
			}
		})
	}

	// Two header lines are one list, in their order.
	body := "Action=GetCallerIdentity&Version=2011-06-15"
	r := h.request("POST", "/", body)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header["X-Forwarded-For"] = []string{"127.0.0.1", "203.0.113.9"}
	sign(root, "sts", r, body, time.Now())
	a := h.from("10.0.0.1:4000", r)
	if got := h.records(a.requestID)[0].member(t, "sourceIPAddress"); got != "203.0.113.9" {
		t.Errorf("with two lines the call came from %v", got)
	}
}

// A condition on the address or on TLS is not to be met by what the client writes.
func TestSpoofedConditions(t *testing.T) {
	t.Parallel()
	h := open(t, func(cfg *server.Config) { cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	alice := h.user(ours, "alice", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iam:ListUsers","Resource":"*",
		"Condition":{"IpAddress":{"aws:SourceIp":"203.0.113.0/24"},"Bool":{"aws:SecureTransport":"true"}}}}`)
	call := func(peer, forwarded, proto string) reply {
		body := "Action=ListUsers&Version=2010-05-08"
		r := h.request("POST", "/", body)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("X-Forwarded-For", forwarded)
		r.Header.Set("X-Forwarded-Proto", proto)
		sign(alice, "iam", r, body, time.Now())
		return h.from(peer, r)
	}
	h.refused(call("192.0.2.1:1", "203.0.113.9", "https"), 403, "AccessDenied")
	h.refused(call("203.0.113.9:1", "203.0.113.9", "https"), 403, "AccessDenied")
	h.refused(call("10.0.0.1:1", "203.0.113.9, 192.0.2.1", "https"), 403, "AccessDenied")
	h.refused(call("10.0.0.1:1", "203.0.113.9", "http"), 403, "AccessDenied")
	h.well(call("10.0.0.1:1", "203.0.113.9", "https"))
}

func TestMetricsAreTheOperators(t *testing.T) {
	t.Parallel()
	const token = "a token of the operator"
	h := open(t, func(cfg *server.Config) { cfg.MetricsToken = identity.NewSecret(token) })
	without := open(t, nil)
	for _, c := range []struct {
		name, peer string
		header     []string
		h          *site
		want       int
	}{
		{"loopback", "127.0.0.1:1", nil, without, 200},
		{"IPv6 loopback", "[::1]:1", nil, without, 200},
		{"elsewhere", "192.0.2.1:1", nil, without, 403},
		{"elsewhere with an empty token, which nobody set", "192.0.2.1:1", []string{"Authorization", "Bearer "}, without, 403},
		{"elsewhere with any token", "192.0.2.1:1", []string{"Authorization", "Bearer x"}, without, 403},
		{"elsewhere by a spoofed address", "192.0.2.1:1", []string{"X-Forwarded-For", "127.0.0.1"}, without, 403},
		{"through a proxy on loopback", "127.0.0.1:1", []string{"X-Forwarded-For", "192.0.2.1"}, without, 403},
		{"elsewhere with the token", "192.0.2.1:1", []string{"Authorization", "Bearer " + token}, h, 200},
		{"elsewhere with another", "192.0.2.1:1", []string{"Authorization", "Bearer " + token + "x"}, h, 403},
		{"elsewhere with a part of it", "192.0.2.1:1", []string{"Authorization", "Bearer " + token[:5]}, h, 403},
		{"elsewhere without", "192.0.2.1:1", nil, h, 403},
		{"nowhere", "", nil, h, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := h.request("GET", "/metrics", "")
			for i := 0; i < len(c.header); i += 2 {
				r.Header.Set(c.header[i], c.header[i+1])
			}
			a := c.h.from(c.peer, r)
			if a.status != c.want || (a.status == 200) != strings.Contains(a.body, "go_goroutines") {
				t.Errorf("answered %d, not %d: %.100s", a.status, c.want, a.body)
			}
		})
	}

	// Whatever is called, the names of the series are ours.
	h.query(h.roots[ours], "iam", "NoSuch\"Operation\n")
	h.form(h.roots[ours], "no-such-service", "")
	h.s3(actor{}, "PATCH", "/b/k", "")
	h.query(h.roots[ours], "sts", "GetCallerIdentity")
	text := h.from("127.0.0.1:1", h.request("GET", "/metrics", "")).body
	if strings.Contains(text, "NoSuch") || strings.Contains(text, "no-such") || !strings.Contains(text, `iamd_requests_total{code="",operation="GetCallerIdentity",service="sts",status="200"} 1`) {
		t.Errorf("the series are\n%s", text[strings.Index(text, "iamd_"):])
	}
}

func TestWaitForARevision(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	root := h.roots[ours]
	h.watch(root) // from here on nothing is written that is not asked for
	a := h.well(h.query(root, "iam", "CreateUser", "UserName", "alice"))
	revision, err := strconv.ParseInt(a.header.Get("X-Iamd-Revision"), 10, 64)
	if err != nil || revision != h.db.View().Revision() {
		t.Fatalf("the revision of a write is %q, and the state's %d", a.header.Get("X-Iamd-Revision"), h.db.View().Revision())
	}
	call := func(ctx context.Context, revision string) reply {
		body := "Action=GetUser&Version=2010-05-08&UserName=bob"
		r := h.request("POST", "/", body).WithContext(ctx)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("X-Iamd-Revision", revision)
		sign(root, "iam", r, body, time.Now())
		return h.from("127.0.0.1:1", r)
	}
	for _, bad := range []string{"x", "-1", "1.5", "0x10", "9223372036854775808", "1, 2", "%31", "٣"} {
		a := call(t.Context(), bad)
		if a.status != 400 || a.code != "ValidationError" {
			t.Errorf("revision %q: answered %d %s", bad, a.status, a.code)
		}
	}
	h.refused(call(t.Context(), strconv.FormatInt(revision, 10)), 404, "NoSuchEntity")

	// One that is to come is waited for: without that, bob would not be found.
	waiting := make(chan reply)
	for range 10 {
		go func() { waiting <- call(t.Context(), strconv.FormatInt(revision+1, 10)) }()
	}
	h.well(h.query(root, "iam", "CreateUser", "UserName", "bob"))
	for range 10 {
		if a := <-waiting; a.status != 200 {
			t.Errorf("when it came: %d %s", a.status, a.body)
		}
	}

	// One that does not come is given up, and not read without.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	h.refused(call(ctx, "9223372036854775807"), 503, "ServiceUnavailable")
	if a := h.query(root, "iam", "GetUser", "UserName", "bob"); a.header.Get("X-Iamd-Revision") != "" {
		t.Error("a read gives a revision")
	}
}

// cut sends bytes on a connection of its own, and then nothing more.
func (h *site) cut(bytes string) []reply { h.t.Helper(); return h.raw(bytes, true) }

// whole sends bytes on a connection of its own, and waits for the server to close it.
func (h *site) whole(bytes string) []reply { h.t.Helper(); return h.raw(bytes, false) }

const last = "Connection: close\r\n" // of the last request on a connection

func (h *site) raw(bytes string, cut bool) []reply {
	h.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, bytes); err != nil {
		h.t.Fatal(err)
	}
	if cut {
		c.(*net.TCPConn).CloseWrite()
	}
	var all []reply
	for in := bufio.NewReader(c); ; {
		if _, err := in.Peek(1); err != nil {
			return all
		}
		w, err := http.ReadResponse(in, nil)
		if err != nil {
			h.t.Errorf("what came back is no answer: %v", err)
			return all
		}
		text, err := io.ReadAll(w.Body)
		if err != nil {
			return all
		}
		all = append(all, replyOf(w.StatusCode, w.Header, string(text)))
	}
}

// signedHead is the head of a signed request, without the empty line, and with
// nothing that says how long its body is.
func (h *site) signedHead(a actor, service, method, target, version, hash string, headers ...string) string {
	h.t.Helper()
	r := h.request(method, target, "")
	r.ContentLength = 0
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	signer := sigv4.Signer{AccessKeyID: a.id, SecretAccessKey: a.secret, SessionToken: a.token, Region: "us-east-1", Service: service}
	signer.Sign(r, hash, time.Now())
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s\r\nHost: %s\r\n", method, target, version, r.Host)
	for name, values := range r.Header {
		for _, v := range values {
			fmt.Fprintf(&b, "%s: %s\r\n", name, v)
		}
	}
	return b.String()
}

// Bodies that end too early, are longer than they say, or say two things.
func TestBrokenBodies(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	root := h.roots[ours]
	h.well(h.s3(root, "PUT", "/b-1", ""))
	form := "Action=CreateUser&Version=2010-05-08&UserName=broken"
	query := func() string {
		return h.signedHead(root, "iam", "POST", "/", "HTTP/1.1", sigv4.Hash([]byte(form)), "Content-Type", "application/x-www-form-urlencoded")
	}
	put := func(body string) string {
		return h.signedHead(root, "s3", "PUT", "/b-1/broken", "HTTP/1.1", sigv4.Hash([]byte(body)))
	}
	for _, c := range []struct {
		name, request string
		status        int
		code          string
	}{
		{"a form that ends early", query() + "Content-Length: " + strconv.Itoa(len(form)+9) + "\r\n\r\n" + form, 400, "IncompleteBody"},
		{"a form that is cut", query() + "Content-Length: 20\r\n\r\n" + form, 403, "SignatureDoesNotMatch"},
		{"a form without a length", query() + "\r\n", 403, "SignatureDoesNotMatch"},
		{"a form of two gigabytes", query() + "Content-Length: 2147483648\r\n\r\n" + form, 413, "RequestEntityTooLarge"},
		{"a form of 2^63-1 bytes", query() + "Content-Length: 9223372036854775807\r\n\r\n" + form, 413, "RequestEntityTooLarge"},
		{"a form of 2^63 bytes", query() + "Content-Length: 9223372036854775808\r\n\r\n" + form, 400, ""},
		{"a form of minus one byte", query() + "Content-Length: -1\r\n\r\n" + form, 400, ""},
		{"a form with two lengths", query() + "Content-Length: 5\r\nContent-Length: " + strconv.Itoa(len(form)) + "\r\n\r\n" + form, 400, ""},
		{"a chunk of 2^64 bytes", query() + "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n" + form, 400, "IncompleteBody"},
		{"a chunk of 2^63 bytes", query() + "Transfer-Encoding: chunked\r\n\r\n8000000000000000\r\n" + form, 400, "IncompleteBody"},
		{"chunks without an end", query() + "Transfer-Encoding: chunked\r\n\r\n5\r\nActio\r\n", 400, "IncompleteBody"},
		{"a transfer encoding that is none", query() + "Transfer-Encoding: gzip\r\n\r\n" + form, 501, ""},
		{"two transfer encodings", query() + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501, ""},
		{"an object that ends early", put("hello") + "Content-Length: 9\r\n\r\nhello", 400, "IncompleteBody"},
		{"an object that is another", put("hello") + "Content-Length: 5\r\n\r\nhullo", 400, "XAmzContentSHA256Mismatch"},
		{"an object that is longer", put("hello") + "Content-Length: 6\r\n\r\nhello!", 400, "XAmzContentSHA256Mismatch"},
		{"an object without a length that is another", put("hello") + "Transfer-Encoding: chunked\r\n\r\n5\r\nhullo\r\n0\r\n\r\n", 400, "XAmzContentSHA256Mismatch"},
		{"an object without a length or an end", put("hello") + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 400, "IncompleteBody"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := *h
			h.t = t
			answers := h.cut(c.request)
			if len(answers) == 0 {
				t.Fatal("there is no answer")
			}
			if a := answers[0]; a.status != c.status || a.code != c.code {
				t.Errorf("answered %d %q, not %d %q\n%s", a.status, a.code, c.status, c.code, a.body)
			}
			for _, a := range answers[1:] {
				if a.status < 400 {
					t.Errorf("the rest of it was answered %d %s", a.status, a.body)
				}
			}
		})
	}
	if identity.Users.Get(h.db.View(), identity.Key(ours, "broken")) != nil {
		t.Error("a broken call made a user")
	}
	h.refused(h.s3(root, "GET", "/b-1/broken", ""), 404, "NoSuchKey")
}

// A length that the client states for whoever reads Transfer-Encoding, and another
// for whoever reads Content-Length, makes one request of two or two of one.
func TestRequestSmuggling(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	root := h.roots[ours]
	form := "Action=GetCallerIdentity&Version=2011-06-15"
	inner := h.signedHead(root, "iam", "POST", "/", "HTTP/1.1", sigv4.Hash([]byte("Action=CreateUser&Version=2010-05-08&UserName=smuggled")), "Content-Type", "application/x-www-form-urlencoded") +
		"Content-Length: 54\r\n\r\nAction=CreateUser&Version=2010-05-08&UserName=smuggled"
	head := h.signedHead(root, "sts", "POST", "/", "HTTP/1.1", sigv4.Hash([]byte(form)), "Content-Type", "application/x-www-form-urlencoded")
	chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(form), form)
	for _, lines := range []string{
		"Transfer-Encoding: chunked\r\nContent-Length: " + strconv.Itoa(len(chunked)+len(inner)) + "\r\n",
		"Content-Length: " + strconv.Itoa(len(chunked)+len(inner)) + "\r\nTransfer-Encoding: chunked\r\n",
		"Transfer-Encoding : chunked\r\nContent-Length: 3\r\n",
		"Transfer-Encoding: \x0bchunked\r\nContent-Length: 3\r\n",
		"X: x\r\n Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
	} {
		answers := h.cut(head + lines + "\r\n" + chunked + inner)
		for i, a := range answers {
			if i > 0 && a.status == 200 {
				t.Errorf("%q: answer %d is %d %s", lines, i+1, a.status, a.body)
			}
		}
	}
	if identity.Users.Get(h.db.View(), identity.Key(ours, "smuggled")) != nil {
		t.Error("what was smuggled was done")
	}
}

// What HTTP allows and few clients do.
func TestFormsOfHTTP(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	root := h.roots[ours]
	alice := h.user(ours, "alice", "")
	form := "Action=GetCallerIdentity&Version=2011-06-15"
	call := func(a actor, version string, more ...string) string {
		return h.signedHead(a, "sts", "POST", "/", version, sigv4.Hash([]byte(form)), "Content-Type", "application/x-www-form-urlencoded") +
			strings.Join(more, "") + "Content-Length: " + strconv.Itoa(len(form)) + "\r\n\r\n" + form
	}
	identity := func(a reply) string { return a.element("Arn") }

	if all := h.whole(call(root, "HTTP/1.0")); len(all) != 1 || all[0].status != 200 {
		t.Errorf("HTTP/1.0: %v", all)
	}
	// Pipelined calls are answered in their order, each for the one who signed it.
	all := h.whole(call(root, "HTTP/1.1") + call(alice, "HTTP/1.1") + call(actor{root.id, "x", ""}, "HTTP/1.1") + call(root, "HTTP/1.1", last))
	if len(all) != 4 || !strings.HasSuffix(identity(all[0]), ":root") || !strings.HasSuffix(identity(all[1]), "/alice") || all[2].status != 403 || !strings.HasSuffix(identity(all[3]), ":root") {
		t.Errorf("pipelined: %v", all)
	}
	// An absolute form names the host; the header of another host says nothing.
	request := call(root, "HTTP/1.1", last)
	request = strings.Replace(request, "POST / ", "POST "+h.url+"/ ", 1)
	if all := h.whole(request); len(all) != 1 || all[0].status != 200 {
		t.Errorf("absolute form: %v", all)
	}
	if all := h.whole(strings.Replace(request, h.url, "http://sts.amazonaws.com", 1)); len(all) != 1 || all[0].code != "SignatureDoesNotMatch" {
		t.Errorf("absolute form of another host: %v", all)
	}
	// Two hosts, none, or one that is none.
	for _, host := range []string{"Host: a\r\nHost: b\r\n", "", "Host: a b\r\n", "Host: a/b\r\n", "Host: \x00\r\n"} {
		request := call(root, "HTTP/1.1", last)
		_, after, _ := strings.Cut(request, "Host: ")
		_, after, _ = strings.Cut(after, "\r\n")
		for _, a := range h.whole("POST / HTTP/1.1\r\n" + host + after) {
			if a.status < 400 {
				t.Errorf("%q: %d", host, a.status)
			}
		}
	}
	// Methods that are none, and paths that are none.
	for _, c := range []struct {
		line   string
		status int
	}{
		{"CONNECT example.com:443 HTTP/1.1", 405}, {"OPTIONS * HTTP/1.1", 200}, {"TRACE / HTTP/1.1", 405}, {"GET /%zz HTTP/1.1", 400},
		{"GET b/k HTTP/1.1", 400}, {"get / HTTP/1.1", 405}, {"GET /\x7f HTTP/1.1", 400}, {"GET / HTTP/9.9", 505}, {"PRI * HTTP/2.0", 505},
	} {
		all := h.whole(c.line + "\r\nHost: localhost\r\n" + last + "\r\n")
		if len(all) != 1 || all[0].status != c.status && (all[0].status < 400 || all[0].status == 500) {
			t.Errorf("%q: %v", c.line, all)
		}
	}
	// Headers that are larger than a request has any use for.
	if all := h.whole(call(root, "HTTP/1.1", last, "X-Big: "+strings.Repeat("x", 2<<20)+"\r\n")); len(all) == 1 && all[0].status < 400 {
		t.Errorf("a header of two megabytes: %v", all[0].status)
	}
	h.well(h.query(root, "sts", "GetCallerIdentity"))
}

// A call that waits in the middle of its body holds nobody up, and its state is not
// that of the time when it began: what was taken from it meanwhile stays taken.
func TestSlowBodies(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	root := h.roots[ours]
	alice := h.user(ours, "alice", allow("iam:CreateUser", "*"))
	form := "Action=CreateUser&Version=2010-05-08&UserName=late"
	head := h.signedHead(alice, "iam", "POST", "/", "HTTP/1.1", sigv4.Hash([]byte(form)), "Content-Type", "application/x-www-form-urlencoded")
	c, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "%sContent-Length: %d\r\n\r\n%s", head, len(form), form[:10])
	h.well(h.query(root, "iam", "DeleteUserPolicy", "UserName", "alice", "PolicyName", "p"))
	io.WriteString(c, form[10:])
	w, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if w.StatusCode != 403 {
		t.Errorf("a permission that was taken away while the body came was used: %d", w.StatusCode)
	}
}

// AssumeRole across accounts is recorded for both, with one sharedEventID, and the
// role's account is not told whose name it was.
func TestTwoRecordsAcrossAccounts(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	bob := h.user(theirs, "bob", allow("sts:AssumeRole", "*"))
	h.well(h.query(h.roots[ours], "iam", "CreateRole", "RoleName", "r", "AssumeRolePolicyDocument", trust(theirs)))
	_, a := h.assume(bob, "arn:aws:iam::"+ours+":role/r", "s1")
	h.well(a)
	records := h.records(a.requestID)
	if len(records) != 2 {
		t.Fatalf("%d records, not 2", len(records))
	}
	caller, owner := records[0], records[1]
	if caller.Account != theirs || owner.Account != ours || caller.EventID == owner.EventID {
		t.Errorf("the records are for %s and %s", caller.Account, owner.Account)
	}
	shared := caller.member(t, "sharedEventID")
	if shared == nil || shared != owner.member(t, "sharedEventID") {
		t.Errorf("sharedEventIDs are %v and %v", shared, owner.member(t, "sharedEventID"))
	}
	if caller.Identity.Type != "IAMUser" || !strings.HasSuffix(caller.Identity.ARN, "user/bob") {
		t.Errorf("the caller's account sees %+v", caller.Identity)
	}
	var who map[string]any
	b, err := json.Marshal(owner.member(t, "userIdentity"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &who); err != nil {
		t.Fatal(err)
	}
	if who["type"] != "AWSAccount" || who["accountId"] != theirs || who["arn"] != nil || who["userName"] != nil || who["accessKeyId"] != nil {
		t.Errorf("the role's account sees %v", who)
	}

	// Within one account, and for a refusal, there is one.
	alice := h.user(ours, "alice", allow("sts:AssumeRole", "*"))
	_, a = h.assume(alice, "arn:aws:iam::"+ours+":role/r", "s1")
	h.refused(a, 403, "AccessDenied")
	if n := len(h.records(a.requestID)); n != 1 {
		t.Errorf("a refusal has %d records", n)
	}
}

// STS's second id says in base64 where and when; other services have none.
func TestExtendedRequestID(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	a := h.well(h.query(h.roots[ours], "sts", "GetCallerIdentity"))
	text, err := base64.StdEncoding.DecodeString(a.header.Get("X-Amz-Sts-Extended-Request-Id"))
	if form := regexp.MustCompile(`^1:us-east-1:S:\d{13}:R:[0-9a-f]{8}$`); err != nil || !form.Match(text) {
		t.Errorf("the id is %q, %v", text, err)
	}
	refused := h.query(actor{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""}, "sts", "GetCallerIdentity")
	if refused.header.Get("X-Amz-Sts-Extended-Request-Id") == "" {
		t.Errorf("an error has no second id: %v", refused.header)
	}
	if id := h.well(h.query(h.roots[ours], "iam", "ListUsers")).header.Get("X-Amz-Sts-Extended-Request-Id"); id != "" {
		t.Errorf("IAM has the id %s", id)
	}
}
