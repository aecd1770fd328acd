//go:build stories

// Package stories plays what users do with iamd: the built program on a data
// directory of its own, and the real aws command in front of it.
//
//	go test -tags stories ./stories
//
// Each test is a story. The commands are those that a person would type, so a
// story can be followed by hand. Without an aws command there is nothing to play,
// and the tests fail: scripts/install-test-deps brings one. Version 1 and version 2
// differ in much; where both are installed, what concerns them is played with each.
package stories

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/dynamodb"
)

// program is the built iamd.
var program string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("/var/tmp", "iamd-stories-") // where workloads, which have a /tmp of their own, find the program
		if err != nil {
			fmt.Fprintln(os.Stderr, "stories:", err)
			return 1
		}
		defer os.RemoveAll(dir)
		if err := os.Chmod(dir, 0o755); err != nil { // for those who run it as nobody: TestUnreadableDataDirectory, and workloads
			fmt.Fprintln(os.Stderr, "stories:", err)
			return 1
		}
		if err := findCLIs(dir); err != nil {
			fmt.Fprintln(os.Stderr, "stories:", err)
			return 1
		}
		program = filepath.Join(dir, "iamd")
		if out, err := exec.Command("go", "build", "-trimpath", "-o", program, "../cmd/iamd").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "stories: building iamd: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// patience is how long anything may take before the story is given up.
const patience = 60 * time.Second

// A server is a running iamd.
type server struct {
	t    *testing.T
	cli  *cli // what people type; nil for the first
	data string
	args []string
	env  []string // beside the test's own
	cmd  *exec.Cmd
	url  string
	log  *bytes.Buffer // standard error, of all its runs
}

// serve starts iamd on a new data directory and stops it when the test ends.
func serve(t *testing.T, args ...string) *server {
	t.Helper()
	return serveIn(t, t.TempDir(), args...)
}

// serveIn is serve with the data directory in dir.
func serveIn(t *testing.T, dir string, args ...string) *server {
	t.Helper()
	s := &server{t: t, data: filepath.Join(dir, "data"), args: args, log: &bytes.Buffer{}}
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("iamd says:\n%s", s.log)
		}
	})
	s.start()
	return s
}

var readyLine = regexp.MustCompile(`^iamd is ready at (https?://[^/]+:\d+)\n$`)

func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command(program, append([]string{"serve", "--data", s.data, "--listen", "127.0.0.1:0"}, s.args...)...)
	s.cmd.Env = append(environment(s.t), s.env...)
	s.cmd.Stderr = s.log
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	begin := time.Now()
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	giveUp := time.AfterFunc(patience, func() { s.cmd.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	giveUp.Stop()
	took := time.Since(begin)
	m := readyLine.FindStringSubmatch(line)
	if err != nil || m == nil {
		s.cmd.Process.Kill()
		s.cmd.Wait()
		s.cmd = nil
		s.t.Fatalf("iamd serve printed %q (%v), not that it is ready\n%s", line, err, s.log)
	}
	s.url = m[1]
	s.t.Logf("iamd was ready after %v with %s resident", took.Round(time.Millisecond), resident(s.cmd.Process.Pid))
}

// resident is the memory of a process, as Linux tells it.
func resident(pid int) string {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "an unknown amount"
	}
	for line := range strings.Lines(string(status)) {
		if size, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strings.TrimSpace(size)
		}
	}
	return "an unknown amount"
}

// stop ends the server by SIGTERM, which must go well.
func (s *server) stop() {
	s.t.Helper()
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	giveUp := time.AfterFunc(patience, func() { s.cmd.Process.Kill() })
	err := s.cmd.Wait()
	giveUp.Stop()
	s.cmd = nil
	if err != nil {
		s.t.Errorf("iamd, stopped by SIGTERM: %v", err)
	}
}

// kill ends the server by SIGKILL, in the middle of whatever it does.
func (s *server) kill() {
	s.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	s.cmd.Wait()
	s.cmd = nil
}

// environment is what every program of a story begins with: nothing of the
// user's own AWS settings, and no attempt after the first, which would hide it.
func environment(t *testing.T) []string {
	home := t.TempDir()
	path := clis[0].path()
	if engine := dynamodb.FindProgram(); engine != "" { // it is in the cache of the user who runs the tests
		path += ":" + filepath.Dir(engine)
	}
	return []string{
		"PATH=" + path,
		"HOME=" + home,
		"AWS_PAGER=",
		"AWS_MAX_ATTEMPTS=1",
		"AWS_EC2_METADATA_DISABLED=true",
		"DOCKER_HOST=" + os.Getenv("DOCKER_HOST"),
	}
}

// A person has a terminal in which iamd env, or a credential of theirs, has been evaluated.
type person struct {
	t   *testing.T
	env []string
	dir string // where they are, with their files
}

// nobody has a terminal in which AWS clients find the server, and no credentials.
func (s *server) nobody() *person {
	s.t.Helper()
	p := (&person{s.t, environment(s.t), s.t.TempDir()}).with("AWS_ENDPOINT_URL=" + s.url)
	if s.cli == nil {
		return p
	}
	p = p.with("PATH=" + s.cli.path())
	if !s.cli.knowsEndpoint {
		p = p.endpointRules(s.url)
	}
	return p
}

// root is who types eval "$(iamd env --profile root-ACCOUNT)".
func (s *server) root(account string) *person {
	s.t.Helper()
	p := s.nobody()
	out := p.run("sh", "-c", `eval "$(`+program+` env --data "$1" --profile "$2")" && env`, "sh", s.data, "root-"+account)
	p.env = strings.Split(strings.TrimSpace(out), "\n")
	return p
}

// with is the same terminal with other variables.
func (p *person) with(variables ...string) *person {
	return &person{p.t, append(p.env[:len(p.env):len(p.env)], variables...), p.dir}
}

// credentials is the same terminal with the keys of an answer of STS or CreateAccessKey.
func (p *person) credentials(answer string) *person {
	p.t.Helper()
	type keys struct{ AccessKeyId, SecretAccessKey, SessionToken string }
	var out struct{ Credentials, AccessKey keys }
	if err := json.Unmarshal([]byte(answer), &out); err != nil {
		p.t.Fatalf("reading credentials: %v", err)
	}
	k := out.Credentials
	if k.AccessKeyId == "" {
		k = out.AccessKey
	}
	return p.with("AWS_ACCESS_KEY_ID="+k.AccessKeyId, "AWS_SECRET_ACCESS_KEY="+k.SecretAccessKey, "AWS_SESSION_TOKEN="+k.SessionToken)
}

func (p *person) file(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *person) try(name string, args ...string) (stdout, stderr string, err error) {
	return p.tryFor(patience, name, args...)
}

func (p *person) tryFor(limit time.Duration, name string, args ...string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.Dir = p.env, p.dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	// Some versions say of any error that the one attempt was the last.
	return out.String(), strings.ReplaceAll(errs.String(), " (reached max retries: 0)", ""), err
}

// run runs a command, which must succeed, and returns what it printed.
func (p *person) run(name string, args ...string) string {
	p.t.Helper()
	out, errs, err := p.try(name, args...)
	if err != nil {
		p.t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, errs)
	}
	return out
}

// aws runs the aws command, which must succeed.
func (p *person) aws(args ...string) string {
	p.t.Helper()
	return p.run("aws", args...)
}

// refused runs the aws command, which must be refused with these words.
func (p *person) refused(words string, args ...string) {
	p.t.Helper()
	out, errs, err := p.try("aws", args...)
	if err == nil {
		p.t.Fatalf("aws %s was not refused:\n%s", strings.Join(args, " "), out)
	}
	if !strings.Contains(errs, words) {
		p.t.Fatalf("aws %s was refused, but not with %q:\n%s", strings.Join(args, " "), words, errs)
	}
}

// iamd runs a subcommand on the server's data directory, which must succeed.
func (s *server) iamd(args ...string) string {
	s.t.Helper()
	p := &person{s.t, environment(s.t), s.t.TempDir()}
	return p.run(program, append(args, "--data", s.data)...)
}

// fails runs iamd, which must end with the status and these words on standard error.
func fails(t *testing.T, env []string, status int, words string, args ...string) {
	t.Helper()
	p := &person{t, append(environment(t), env...), t.TempDir()}
	out, errs, err := p.try(program, args...)
	var exit *exec.ExitError
	switch {
	case err == nil:
		t.Errorf("iamd %s succeeds:\n%s", strings.Join(args, " "), out)
	case !errors.As(err, &exit) || exit.ExitCode() != status:
		t.Errorf("iamd %s: %v, not exit status %d\n%s", strings.Join(args, " "), err, status, errs)
	case !strings.Contains(errs, words):
		t.Errorf("iamd %s says %q, not %q", strings.Join(args, " "), errs, words)
	case strings.Contains(errs, "goroutine "):
		t.Errorf("iamd %s panics:\n%s", strings.Join(args, " "), errs)
	}
}

// user makes a user with an inline policy and an access key, and is them.
func (p *person) user(name, policy string) *person {
	p.t.Helper()
	p.aws("iam", "create-user", "--user-name", name)
	if policy != "" {
		p.aws("iam", "put-user-policy", "--user-name", name, "--policy-name", "may", "--policy-document", policy)
	}
	return p.credentials(p.aws("iam", "create-access-key", "--user-name", name))
}

// role makes a role with a trust policy and an inline policy.
func (p *person) role(name, trust, policy string) {
	p.t.Helper()
	p.aws("iam", "create-role", "--role-name", name, "--assume-role-policy-document", trust)
	if policy != "" {
		p.aws("iam", "put-role-policy", "--role-name", name, "--policy-name", "can", "--policy-document", policy)
	}
}

// trusting is a trust policy for an AWS principal.
func trusting(principal string) string {
	return fmt.Sprintf(`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"AWS": %q}, "Action": "sts:AssumeRole"}}`, principal)
}

// allowing is a policy for an action on a resource.
func allowing(action, resource string) string {
	return fmt.Sprintf(`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": %q, "Resource": %q}}`, action, resource)
}
