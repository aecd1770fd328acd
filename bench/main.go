// Bench measures iamd beside other programs that do the same, in one run on one
// machine, so that the ratios mean something where the numbers alone would not:
//
//	policy   a decision: our engine, MinIO's and Cedar's, on the same policies
//	sigv4    a verification: ours, and the SDK's signer as a verifier would use it
//	sts      AssumeRole over HTTP beside a bare net/http server
//	s3       an authorised GetObject of 1 KiB beside versitygw
//	upstream GetObject of 1 KiB of iamd before versitygw, beside versitygw alone and a proxy that copies bytes
//	dynamodb GetItem and PutItem of iamd before dynoxide, beside dynoxide alone and such a proxy
//	lambda   Invoke of a warm function beside a bare net/http server
//	imds     the credentials of an instance and of a task, as SDKs fetch them
//	size     an organisation of 1,000 accounts, 100,000 users and 50,000 roles
//
// Run it with
//
//	go run . [-only policy,sts] [-time 5s] [-rounds 3] [-size 0.1] [-markdown FILE]
//
// For all but policy, sigv4 and imds the server runs on one core and the client on another (taskset),
// and upstream and dynamodb are measured before that with nothing pinned; the client has signed its
// requests beforehand. Beside the requests a second
// it tells the CPU time that the server spent on each, which other work on the
// machine disturbs less. Everything stays on the loopback interface and in a
// temporary directory; versitygw is built once into the user's cache directory.
//
// The program is a module of its own so that none of the peers becomes a
// dependency of iamd.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// settings are those of one run.
type settings struct {
	time   time.Duration // of each measurement
	rounds int           // measurements of each thing, of which the best counts
	conns  int           // of the load client
	size   float64       // the part of the organisation that is made
	cores  bool          // server and client are pinned
}

// A part is measured and printed by itself.
type part struct {
	name string
	run  func(context.Context, settings) ([]table, error)
}

// parts in the order in which they run.
var parts = []part{
	{"policy", benchPolicy},
	{"sigv4", benchSigV4},
	{"sts", benchSTS},
	{"s3", benchS3},
	{"upstream", benchUpstream},
	{"dynamodb", benchDynamoDB},
	{"lambda", benchLambda},
	{"imds", benchIMDS},
	{"size", benchSize},
}

const pinned = "IAMD_BENCH_PINNED" // for the program that main starts on the client's core: all the cores

func main() {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case "bare":
			bare()
		case "copier":
			copier()
		}
	}
	testing.Init()
	only := flag.String("only", "", "comma-separated parts to run: policy, sigv4, sts, s3, upstream, dynamodb, lambda, imds, size (default all)")
	markdown := flag.String("markdown", "", "also write the tables to this file, in Markdown")
	var s settings
	flag.DurationVar(&s.time, "time", 3*time.Second, "time of one measurement under load")
	flag.IntVar(&s.rounds, "rounds", 3, "measurements of each thing; the best counts")
	flag.IntVar(&s.conns, "conns", 64, "connections of the load client")
	flag.Float64Var(&s.size, "size", 1, "the part of the large organisation to make")
	flag.Parse()

	s.cores = os.Getenv(pinned) != ""
	if _, err := exec.LookPath("taskset"); !s.cores && err == nil && runtime.NumCPU() > 1 {
		os.Exit(again())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s, *only, *markdown); err != nil {
		fmt.Fprintln(os.Stderr, "\nbench:", err)
		os.Exit(1)
	}
}

// again runs this program on the second core, with a runtime that knows of one.
func again() int {
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	cmd := exec.Command("taskset", append([]string{"-c", clientCore, self}, os.Args[1:]...)...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=0-%d", pinned, runtime.NumCPU()-1))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	signal.Ignore(os.Interrupt) // the program gets it too
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, s settings, only, markdown string) error {
	wanted := strings.Split(only, ",")
	for _, name := range wanted {
		if name != "" && !slices.ContainsFunc(parts, func(p part) bool { return p.name == name }) {
			return fmt.Errorf("there is no part %q", name)
		}
	}
	about := machine(s)
	fmt.Println(about)
	var done []table
	var failed []error
	for _, p := range parts {
		if only != "" && !slices.Contains(wanted, p.name) {
			continue
		}
		tables, err := p.run(ctx, s)
		for _, t := range tables {
			fmt.Printf("\n%s", t.text())
		}
		done = append(done, tables...)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", p.name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	if markdown != "" {
		text := about + "\n"
		for _, t := range done {
			text += "\n" + t.markdown()
		}
		if err := os.WriteFile(markdown, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

// machine says where the numbers come from.
func machine(s settings) string {
	cpu := "unknown CPU"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if _, name, ok := strings.Cut(line, ":"); ok && strings.HasPrefix(line, "model name") {
				cpu = strings.TrimSpace(name)
				break
			}
		}
	}
	load := ""
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		load = ", load " + strings.Fields(string(b))[0] + " at the start"
	}
	pin := "server and client share the cores"
	if s.cores {
		pin = "server and client have one core each"
	}
	return fmt.Sprintf("%s, %s, %s/%s%s; %s; %s.", time.Now().UTC().Format("2006-01-02"), cpu, runtime.GOOS, runtime.GOARCH, load, runtime.Version(), pin)
}
