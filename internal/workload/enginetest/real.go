package enginetest

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/docker"
)

// Real is the machine's engine, which DOCKER_HOST names. Without one, and with -short, the
// test is skipped.
func Real(t testing.TB) *docker.Client {
	t.Helper()
	if testing.Short() {
		t.Skip("a container takes an engine a while")
	}
	engine, err := docker.Connect(t.Context(), os.Getenv("DOCKER_HOST"))
	if err != nil {
		t.Skip(err)
	}
	return engine
}

// Import makes an image of programs of this machine, by their paths in it, with what they
// are linked with. It lasts as long as the test. Without a name it gets one that no other
// has; its name is what is returned.
func Import(t testing.TB, engine *docker.Client, name string, programs map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	files := map[string]bool{}
	w := tar.NewWriter(&b)
	directory := func(name string, mode int64) {
		if files[name] {
			return
		}
		files[name] = true
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name[1:] + "/", Mode: mode}); err != nil {
			t.Fatal(err)
		}
	}
	add := func(name, path string) {
		if files[name] {
			return
		}
		files[name] = true
		for i, c := range name {
			if c == '/' && i > 0 {
				directory(name[:i], 0o755)
			}
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.WriteHeader(&tar.Header{Name: name[1:], Mode: 0o755, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	for name, path := range programs {
		add(name, path)
		list, _ := exec.Command("ldd", path).Output() // it fails for what is linked with nothing
		for _, field := range strings.Fields(string(list)) {
			if filepath.IsAbs(field) && !strings.HasSuffix(field, ":") {
				add(field, field)
			}
		}
	}
	directory("/tmp", 0o777)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if name == "" {
		name = "localhost/iamd-test/" + strings.ToLower(rand.Text())
	}
	if err := engine.Import(t.Context(), name, &b); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeImage(t, engine, name) })
	return name
}

func removeImage(t testing.TB, engine *docker.Client, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodDelete, "http://docker/images/"+name+"?force=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", engine.Socket())
	}}}
	answer, err := client.Do(r)
	if err != nil {
		t.Error(err)
		return
	}
	defer answer.Body.Close()
	if text, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK {
		t.Errorf("removing the image %s: %s: %s", name, answer.Status, text)
	}
}
