package proxy

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/sigv4"
)

func TestVerified(t *testing.T) {
	for _, text := range []string{"", "a", "ab", strings.Repeat("x", 100_000)} {
		for name, source := range map[string]io.Reader{
			"whole": strings.NewReader(text), "byte by byte": iotest.OneByteReader(strings.NewReader(text)), "with its end": iotest.DataErrReader(strings.NewReader(text)),
		} {
			got, err := io.ReadAll(Verified(io.NopCloser(source)))
			if err != nil || string(got) != text {
				t.Errorf("%s, %d bytes: %d bytes and %v came through", name, len(text), len(got), err)
			}
		}
		// Into room for one byte.
		got, err := io.ReadAll(iotest.OneByteReader(Verified(io.NopCloser(iotest.DataErrReader(strings.NewReader(text))))))
		if err != nil || string(got) != text {
			t.Errorf("%d bytes, one at a time: %d bytes and %v came through", len(text), len(got), err)
		}
	}
	bad := errors.New("its hash is another")
	for _, room := range []func(io.Reader) io.Reader{iotest.OneByteReader, func(r io.Reader) io.Reader { return r }} {
		got, err := io.ReadAll(room(Verified(io.NopCloser(io.MultiReader(strings.NewReader("all of it"), iotest.ErrReader(bad))))))
		if !errors.Is(err, bad) || len(got) >= len("all of it") {
			t.Errorf("of a bad body %d bytes of 9 came through, and %v", len(got), err)
		}
	}
}

// The upstream knows iamd's signature, and nothing of the caller's.
func TestDo(t *testing.T) {
	verifier := sigv4.Verifier{Now: time.Now, Lookup: func(id, token string, _ time.Time) (string, any, error) {
		if id != "upstream" || token != "" {
			return "", nil, sigv4.ErrUnknownKey
		}
		return "secret", nil, nil
	}}
	var path, query string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, query = r.URL.EscapedPath(), r.URL.RawQuery
		if _, err := verifier.Verify(r, sigv4.Scope{Service: "s3", Family: sigv4.S3}, nil); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		for _, name := range []string{"X-Amz-Security-Token", "Cookie", "X-Forwarded-For", "Te"} {
			if r.Header.Get(name) != "" {
				http.Error(w, name, 400)
				return
			}
		}
		if r.URL.Query().Get("redirect") != "" {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusTemporaryRedirect)
		}
	}))
	defer server.Close()
	base, _ := url.Parse(server.URL + "/store")
	u := &Upstream{URL: base, Service: "s3", Region: "us-east-1", AccessKeyID: "upstream", Secret: identity.NewSecret("secret")}
	for _, test := range []struct{ path, query string }{{"/b/k", ""}, {"/b/a%20b%2Fc/%C3%A9", "list-type=2&prefix=a%20b"}, {"/b", "redirect=1"}} {
		plain, _ := url.PathUnescape(test.path)
		r := &http.Request{Method: http.MethodPut, URL: &url.URL{Path: plain, RawPath: test.path, RawQuery: test.query}, Body: io.NopCloser(strings.NewReader("body")), ContentLength: 4, Header: http.Header{
			"Authorization": {"the caller's"}, "X-Amz-Security-Token": {"the caller's"}, "Cookie": {"c"}, "X-Forwarded-For": {"192.0.2.7"}, "Te": {"trailers"}}}
		resp, err := u.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		want := 200
		if test.query == "redirect=1" {
			want = http.StatusTemporaryRedirect
		}
		if resp.StatusCode != want || path != "/store"+test.path || query != test.query {
			t.Errorf("%s?%s came as %s?%s and was answered %d %s", test.path, test.query, path, query, resp.StatusCode, text)
		}
	}
}
