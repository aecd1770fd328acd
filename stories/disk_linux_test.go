//go:build stories

package stories

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A disk that fills up stops what would change something, by an answer that says
// so, and later every call, since none can be recorded. It loses nothing, and with
// room again all goes on by itself, and after a kill on the full disk, too.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=400m,mode=0700"); err != nil {
		t.Skipf("a disk of its own cannot be mounted, which needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Errorf("taking the disk away: %v", err)
		}
	})
	s := serveIn(t, disk)
	root := s.root("123456789012")
	alice := root.user("alice", allowing("*", "*"))
	root.aws("s3", "mb", "s3://reports")
	root.file("q3.txt", "all is well")
	root.aws("s3", "cp", "q3.txt", "s3://reports/q3.txt")

	// Less is left than etcd needs to be safe: changes are refused, and nothing else.
	filler := filepath.Join(disk, "filler")
	fill(t, filler, 200<<20)
	const full = "An error occurred (ServiceUnavailable) when calling the TagUser operation: The server's disk is full: the call was not carried out."
	change := []string{"iam", "tag-user", "--user-name", "alice", "--tags", "Key=k,Value=v"}
	root.until(full, change...)
	if out := alice.aws("s3", "cp", "s3://reports/q3.txt", "-"); out != "all is well" {
		t.Errorf("on a disk that is nearly full the object is %q", out)
	}
	if out := alice.aws("iam", "list-users", "--query", "Users[].UserName", "--output", "text"); out != "alice\n" {
		t.Errorf("on a disk that is nearly full the users are %q", out)
	}

	// Nothing is left: no call can be recorded, so none is answered.
	fill(t, filler, 1<<30)
	alice.until("ServiceUnavailable", "iam", "get-user")
	alice.refused("ServiceUnavailable", "s3api", "put-object", "--bucket", "reports", "--key", "q3.txt", "--body", "/etc/passwd")
	r, err := http.Get(s.url + "/healthz")
	if err != nil {
		t.Fatalf("the process is gone: %v", err)
	}
	r.Body.Close()

	// A kill and a start on the full disk: an error that says what is wrong.
	s.kill()
	fails(t, nil, 1, "free on the disk", "serve", "--data", s.data, "--listen", "127.0.0.1:0")

	// Room again, and everything is as it was.
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	s.start()
	root, alice = root.with("AWS_ENDPOINT_URL="+s.url), alice.with("AWS_ENDPOINT_URL="+s.url)
	if out := alice.aws("s3", "cp", "s3://reports/q3.txt", "-"); out != "all is well" {
		t.Errorf("the object is %q afterwards", out)
	}
	root.aws("iam", "create-user", "--user-name", "bob")

	// And without a restart.
	fill(t, filler, 1<<30)
	root.until(full, change...)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	root.until("", "iam", "create-user", "--user-name", "carol")
	if out := alice.aws("iam", "list-users", "--query", "Users[].UserName", "--output", "text"); out != "alice\tbob\tcarol\n" {
		t.Errorf("the users are %q afterwards", out)
	}
}

// fill writes a file of that size, or as much of it as there is room for.
func fill(t *testing.T, name string, size int) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 1<<20); size > 0 && len(block) > 0; {
		n, err := f.Write(block)
		if size -= n; err != nil { // the last bytes, too
			block = block[:len(block)/2]
		}
	}
}

// until repeats the aws command until it is refused with the words, or for no words
// until it succeeds. Any other refusal, and a success before, is let pass.
func (p *person) until(words string, args ...string) {
	p.t.Helper()
	var out, errs string
	for giveUp := time.Now().Add(patience); time.Now().Before(giveUp); {
		var err error
		out, errs, err = p.try("aws", args...)
		if words == "" && err == nil || words != "" && err != nil && strings.Contains(errs, words) {
			return
		}
	}
	p.t.Fatalf("aws %s does not come to %q, the last was:\n%s%s", strings.Join(args, " "), words, out, errs)
}
