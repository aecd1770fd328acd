//go:build stories

package iamd_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// The pages whose commands are typed into a shell, each against a server on an empty
// directory. What a page says that a command answers is compared with what it answers:
// white space does not count, and an ellipsis stands for anything.
func TestPages(t *testing.T) {
	for page, accounts := range map[string][]string{
		"README.md":        nil,
		"docs/stories.md":  {"--account", "111122223333", "--account", "444455556666"},
		"docs/passrole.md": {"--account", "111122223333"},
	} {
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			testPage(t, page, accounts)
		})
	}
}

func testPage(t *testing.T, name string, accounts []string) {
	if _, err := exec.LookPath("aws"); err != nil {
		t.Fatal("there is no aws command: scripts/install-test-deps installs it")
	}
	page, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	tour := consoleLines(string(page))
	if len(tour) < 10 {
		t.Fatalf("%s has %d commands", name, len(tour))
	}

	// Workloads, which are other users if we are root, find the program there.
	home, err := os.MkdirTemp("/var/tmp", "iamd-page-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	if err := os.Chmod(home, 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(home, "bin", "iamd")
	if out, err := exec.Command("go", "build", "-o", program, "./cmd/iamd").CombinedOutput(); err != nil {
		t.Fatalf("building iamd: %v\n%s", err, out)
	}
	env := []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true"}
	serve(t, env, program, append([]string{"serve", "--listen", "127.0.0.1:0", "--workloads=process"}, accounts...)...)

	// The aws command of some systems is too old for AWS_ENDPOINT_URL: the README says
	// what to type, and it does no harm with a newer one. Then what it says to type
	// in another terminal, and each command with its answer in a file.
	script := `aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }` + "\n" + `eval "$(bin/iamd env)"` + "\n"
	for i, c := range tour {
		script += fmt.Sprintf("{ %s\n} >answer%d 2>&1\n", c.command, i)
	}
	shell := exec.Command("bash", "-c", script)
	shell.Dir, shell.Env = home, env
	if out, _ := shell.CombinedOutput(); len(out) > 0 {
		t.Errorf("the shell says: %s", out)
	}
	for i, c := range tour {
		answer, err := os.ReadFile(filepath.Join(home, fmt.Sprintf("answer%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		got, want := words(string(answer)), words(c.answer)
		pattern := strings.ReplaceAll(regexp.QuoteMeta(want), "…", ".*")
		if matched, err := regexp.MatchString(pattern, got); err != nil || !matched || want == "" && got != "" {
			t.Errorf("$ %s\nanswers\n%s\nand the page says\n%s", c.command, answer, c.answer)
		}
	}
}

// words makes all white space the same.
func words(s string) string { return strings.Join(strings.Fields(s), " ") }

type exchange struct{ command, answer string }

// consoleLines are the commands of all console blocks of a page: what stands after "$ "
// and, on lines that go on, "> ", with what stands below.
func consoleLines(page string) []exchange {
	var all []exchange
	inside := false
	for line := range strings.Lines(page) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case !inside:
		case strings.HasPrefix(line, "$ "):
			all = append(all, exchange{command: line[2:]})
		case strings.HasPrefix(line, "> ") && len(all) > 0:
			all[len(all)-1].command += "\n" + line[2:]
		case len(all) > 0:
			all[len(all)-1].answer += line + "\n"
		}
	}
	return all
}

// serve starts the program, waits until it says that it is ready, and stops it at the
// end of the test.
func serve(t *testing.T, env []string, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = env
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("iamd serve: %v\n%s", err, log.String())
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "iamd is ready at http") {
		t.Fatalf("iamd serve says %q: %v\n%s", line, err, log.String())
	}
}
