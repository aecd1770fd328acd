package docker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// serve answers at a socket as an engine would; what it returns is its host.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "docker-") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	go s.Serve(l)
	t.Cleanup(func() {
		s.Close()
		os.RemoveAll(dir)
	})
	return "unix://" + l.Addr().String()
}

// engine is a client of an engine that speaks a version of the API.
func engine(t *testing.T, version string, h http.HandlerFunc) *Client {
	t.Helper()
	c, err := Connect(t.Context(), serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/_ping" {
			w.Header().Set("Api-Version", version)
			return
		}
		h(w, r)
	}))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConnect(t *testing.T) {
	for host, want := range map[string]string{
		"tcp://127.0.0.1:2375":        "not behind a socket of this machine",
		"ssh://me@there":              "not behind a socket of this machine",
		"unix://relative":             "not behind a socket of this machine",
		"/var/run/docker.sock":        "not behind a socket of this machine",
		"unix:///nowhere/docker.sock": "no engine answers at unix:///nowhere/docker.sock: dial unix /nowhere/docker.sock: connect: no such file or directory",
		serve(t, func(http.ResponseWriter, *http.Request) {}):                                          "is no engine",
		serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Ostype", "windows") }): "runs containers of windows",
		serve(t, http.NotFound): "404 page not found",
	} {
		if _, err := Connect(t.Context(), host); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", host, err, want)
		}
	}
}

// An older engine is asked in its version of the API, a newer one in ours.
func TestVersion(t *testing.T) {
	for theirs, want := range map[string]string{"1.9": "1.9", "1.41": "1.41", "1.44": "1.44", "1.51": "1.44", "2.0": "1.44"} {
		c := engine(t, theirs, func(w http.ResponseWriter, r *http.Request) {
			if want := "/v" + want + "/containers/json"; r.URL.Path != want {
				t.Errorf("one of %s was asked for %s, want %s", theirs, r.URL.Path, want)
			}
			io.WriteString(w, `[{"Id":"a"},{"Id":"b"}]`)
		})
		if ids, err := c.List(t.Context(), "a=b"); err != nil || len(ids) != 2 || ids[1] != "b" {
			t.Errorf("listed are %q, %v", ids, err)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string][2]string{
		"busybox":                               {"busybox", "latest"},
		"busybox:1.36":                          {"busybox", "1.36"},
		"localhost:5000/a/b":                    {"localhost:5000/a/b", "latest"},
		"localhost:5000/a/b:c":                  {"localhost:5000/a/b", "c"},
		"public.ecr.aws/docker/library/x:1":     {"public.ecr.aws/docker/library/x", "1"},
		"a:b@sha256:" + strings.Repeat("0", 64): {"a", "sha256:" + strings.Repeat("0", 64)},
		"a__b/c-d":                              {"a__b/c-d", "latest"},
	} {
		if repository, tag := split(name); CheckName(name) != nil || repository != want[0] || tag != want[1] {
			t.Errorf("%s is %s and %s, %v", name, repository, tag, CheckName(name))
		}
	}
	for _, name := range []string{"", "A", "a/", "/a", "a//b", "..", "a/..", "a/../b", "a?b", "a#b", "a%2fb", "a b", "a\n", "a:", "a:b:c", "a@b", "-a", "a:" + strings.Repeat("b", 129), strings.Repeat("a", 513)} {
		if err := CheckName(name); err == nil || !strings.HasPrefix(err.Error(), "invalid reference format") {
			t.Errorf("%q names an image: %v", name, err)
		}
	}
}

func TestErrors(t *testing.T) {
	c := engine(t, "1.44", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Query().Get("fromImage") == "late": // it finds out when it has begun to answer
			io.WriteString(w, "{\"status\":\"Pulling\"}\n{\"errorDetail\":{\"message\":\"gone\"},\"error\":\"gone\"}\n")
		case r.URL.Query().Get("fromImage") == "cut":
			io.WriteString(w, "{\"status\":")
		case r.URL.Query().Get("fromImage") == "good":
			fmt.Fprintf(w, "{\"status\":%q}\n", r.URL.Query().Get("tag"))
		case strings.HasSuffix(r.URL.Path, "/wait"):
			io.WriteString(w, `{"StatusCode":125,"Error":{"Message":"it is gone"}}`)
		default:
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, `{"message":"No such image"}`)
		}
	})
	_, err := c.Image(t.Context(), "a")
	var e *Error
	if !NotFound(err) || !errors.As(err, &e) || err.Error() != "Error response from daemon: No such image" {
		t.Errorf("an image that is not there: %v", err)
	}
	if err := c.Pull(t.Context(), "late"); err == nil || err.Error() != "Error response from daemon: gone" || NotFound(err) {
		t.Errorf("an error at the end: %v", err)
	}
	if err := c.Pull(t.Context(), "cut"); err == nil {
		t.Error("an answer that ends in the middle is an image")
	}
	if err := c.Pull(t.Context(), "good"); err != nil {
		t.Error(err)
	}
	if _, err := c.Wait(t.Context(), "a"); err == nil || err.Error() != "it is gone" {
		t.Errorf("waiting for what is gone: %v", err)
	}
}

func TestCopy(t *testing.T) {
	frame := func(of byte, text string) string {
		return string([]byte{of, 0, 0, 0, 0, 0, 0, byte(len(text))}) + text
	}
	for _, test := range []struct {
		name, in, want string
		fails          bool
	}{
		{"nothing", "", "", false},
		{"both outputs", frame(1, "out") + frame(2, "err") + frame(1, ""), "outerr", false},
		{"a header that is cut", frame(1, "out") + "\x01\x00", "out", true},
		{"a piece that is cut", frame(1, "output")[:10], "ou", true},
	} {
		var b bytes.Buffer
		if err := Copy(&b, strings.NewReader(test.in)); b.String() != test.want || (err != nil) != test.fails {
			t.Errorf("%s: %q, %v", test.name, b.String(), err)
		}
	}
}
