package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/codebuild"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/spf13/cobra"

	"github.com/iamd-dev/iamd/internal/audit"
	"github.com/iamd-dev/iamd/internal/authz"
	dynamodbservice "github.com/iamd-dev/iamd/internal/aws/dynamodb"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/server"
)

func newTour() *cobra.Command {
	t := &target{}
	list, names, listed := false, []string{}, ""
	for _, s := range stories {
		names = append(names, s.name)
		listed += fmt.Sprintf("  %-15s %s\n", s.name, s.title)
	}
	cmd := &cobra.Command{
		Use:   "tour [STORY]... [flags]",
		Short: "See AssumeRole and PassRole at work",
		Long: `Tour plays the stories that every article on AssumeRole and PassRole tells, through the AWS
SDK, and shows each step as the aws command that one would type, what the server
answered, and what it decided and why. It plays those that are named, or all:

` + listed + `
It starts a server of its own, which leaves nothing behind. With --data or
--endpoint it plays on a running one, which must have two accounts, and deletes
there what it made. It stops at the first step that does not go as it says.`,
		Example: `  iamd tour
  iamd tour ecs
  iamd tour | less -R
  iamd serve --account 111122223333 --account 444455556666 &
  iamd tour --data ~/.local/share/iamd`,
		ValidArgs: names,
		RunE: func(cmd *cobra.Command, args []string) error {
			w := cmd.OutOrStdout()
			if list {
				fmt.Fprint(w, listed)
				return nil
			}
			wanted, err := chosen(args)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("data") || cmd.Flags().Changed("endpoint") {
				var suffix [2]byte
				rand.Read(suffix[:])
				return play(cmd.Context(), w, t, "-"+hex.EncodeToString(suffix[:]), wanted)
			}
			return playAlone(cmd.Context(), w, wanted)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&t.data, "data", defaultData(), "play on the running server that keeps its data in `DIR`")
	fs.BoolVar(&list, "list", false, "list the stories and play none")
	fs.StringVar(&t.endpoint, "endpoint", "", "play on the running server at `URL`, with the credentials in DIR")
	cmd.MarkFlagDirname("data")
	return cmd
}

// chosen are the stories with these names, in their own order; all without any.
func chosen(names []string) ([]story, error) {
	if len(names) == 0 {
		return stories, nil
	}
	var known []string
	for _, s := range stories {
		known = append(known, s.name)
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, usageError{fmt.Errorf("there is no story %q: did you mean %s? See iamd tour --list", n, nearest(n, known))}
		}
	}
	return slices.DeleteFunc(slices.Clone(stories), func(s story) bool { return !slices.Contains(names, s.name) }), nil
}

// playAlone plays on a server in this process, on a temporary directory.
func playAlone(ctx context.Context, w io.Writer, wanted []story) (err error) {
	dir, err := os.MkdirTemp("", "iamd-tour-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := &settings{listen: "127.0.0.1:0", data: dir, accounts: []string{"111122223333", "444455556666"}, auditSync: syncCredentials,
		workloads: workloadsProcess, dynamodbEngine: dynamodbservice.FindProgram()}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ready, stopped := make(chan string, 1), make(chan error, 1)
	go func() {
		stopped <- serve(ctx, s, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
			func(url string, _ *house) { ready <- url })
	}()
	select {
	case err := <-stopped:
		return fmt.Errorf("starting a server for the tour: %w", err)
	case url := <-ready:
		err = play(ctx, w, &target{data: dir, endpoint: url}, "", wanted)
	}
	stop()
	return errors.Join(err, <-stopped)
}

// A tour is one that is being played.
type tour struct {
	ctx    context.Context
	w      io.Writer
	color  bool
	target *target
	suffix string // of every name, so that nothing on a running server is in the way
	http   *remembering
	// workloads says, when it was probed, why this machine can run none; nil: it can.
	workloads error
	probed    bool
	reader    string // the program of readerName, where a workload may run it

	a, b  *actor // the roots of two accounts
	asked int
	// leftOut is how many stories could not be told to their end here.
	leftOut int
	undo    []func() error // how to delete what was made, in order of making

	lastRequest string
}

// An actor is somebody with credentials.
type actor struct {
	name    string // "A root", "B alice"
	account string
	iam     *iam.Client
	sts     *sts.Client
	s3      *s3.Client

	dynamodb       *dynamodb.Client
	lambda         *lambda.Client
	ecs            *ecs.Client
	ssm            *ssm.Client
	codebuild      *codebuild.Client
	codepipeline   *codepipeline.Client
	cloudformation *cloudformation.Client
	// call sends a signed form to EC2: see onEC2.
	call func(ctx context.Context, form url.Values) ([]byte, error)
}

// remembering is the client that all actors have. It keeps the request id of the last answer.
type remembering struct {
	aws.HTTPClient
	last string
}

func (c *remembering) Do(r *http.Request) (*http.Response, error) {
	answer, err := c.HTTPClient.Do(r)
	if err == nil {
		c.last = cmp.Or(answer.Header.Get("X-Amzn-Requestid"), answer.Header.Get("X-Amz-Request-Id")) // S3's
	}
	return answer, err
}

// play plays stories and cleans up, also after one that went wrong.
func play(ctx context.Context, w io.Writer, target *target, suffix string, wanted []story) error {
	t := &tour{ctx: ctx, w: w, color: isTerminal(w), target: target, suffix: suffix}
	if err := t.begin(); err != nil {
		return err
	}
	err := t.play(wanted)
	if err != nil {
		t.say("")
		t.say("%s", t.paint("31;1", "The tour stops here: this step did not do what it says."))
	}
	if failed := t.clean(); failed != nil {
		err = errors.Join(err, fmt.Errorf("cleaning up: %w", failed))
	}
	return err
}

func (t *tour) begin() error {
	endpoint, err := t.target.url()
	if err != nil {
		return err
	}
	t.target.endpoint = endpoint
	client, err := newClient()
	if err != nil {
		return err
	}
	t.http = &remembering{HTTPClient: client}
	c, err := readCredentials(filepath.Join(t.target.data, "credentials"))
	if err != nil {
		return err
	}
	for _, p := range c.profiles {
		account, isRoot := strings.CutPrefix(p.name, rootPrefix)
		if !isRoot || !identity.ValidAccount(account) {
			continue
		}
		switch root := t.actor("", account, p.settings[keyIDSetting], p.settings[secretSetting], ""); {
		case t.a == nil:
			root.name = "A root"
			t.a = root
		case t.b == nil:
			root.name = "B root"
			t.b = root
		}
	}
	if t.b == nil {
		return usageError{fmt.Errorf("the tour plays in two accounts, and %s has the roots of fewer: start the server with another --account", c.path)}
	}
	return nil
}

func (t *tour) actor(name, account, id, secret, token string) *actor {
	cfg := configFor(t.target.endpoint, t.http, id, secret, token)
	return &actor{name, account, iam.NewFromConfig(cfg), sts.NewFromConfig(cfg),
		s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }), dynamodb.NewFromConfig(cfg), lambda.NewFromConfig(cfg),
		ecs.NewFromConfig(cfg), ssm.NewFromConfig(cfg), codebuild.NewFromConfig(cfg), codepipeline.NewFromConfig(cfg), cloudformation.NewFromConfig(cfg),
		func(ctx context.Context, form url.Values) ([]byte, error) { return callEC2(ctx, cfg, form) }}
}

// say writes lines.
func (t *tour) say(format string, args ...any) { fmt.Fprintf(t.w, format+"\n", args...) }

func (t *tour) paint(style, text string) string {
	if !t.color {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// tell writes what is going on, wrapped to a line's width.
func (t *tour) tell(format string, args ...any) {
	const width = 80
	t.say("")
	line := ""
	for _, word := range strings.Fields(fmt.Sprintf(format, args...)) {
		if line != "" && len(line)+1+len(word) > width {
			t.say("%s", line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	t.say("%s", line)
}

func (t *tour) title(text string) {
	t.say("")
	t.say("%s", t.paint("1", text))
	t.say("%s", t.paint("1", strings.Repeat("─", len([]rune(text)))))
}

// An outcome is what a step says that it does.
type outcome struct {
	allowed bool
	by      authz.Layer // of a refusal: who decides it
	setup   bool        // its decision is not what the story is about
	fails   string      // the call itself is allowed, and answered with this error
	show    []string    // members of the answer
}

var setUp = outcome{allowed: true, setup: true}

func allowed(show ...string) outcome { return outcome{allowed: true, show: show} }

func refusedBy(l authz.Layer) outcome { return outcome{by: l} }

// do makes a call and prints it: the command, the answer, the decision. The error
// says that it did not go as it should.
func do[In, Out, Option any](t *tour, who *actor, operation func(context.Context, *In, ...func(*Option)) (*Out, error), in *In, want outcome) (*Out, error) {
	command, name := commandOf(in)
	t.say("")
	t.say("%s %s", t.paint("36", who.name+" $"), strings.ReplaceAll(command, "\n", "\n    "))
	t.asked++
	out, err := operation(t.ctx, in)
	t.lastRequest = t.http.last

	var code string
	if err != nil {
		var known smithy.APIError
		if !errors.As(err, &known) {
			return nil, fmt.Errorf("%s was not answered: %w", name, err)
		}
		code = known.ErrorCode()
		message := known.ErrorMessage()
		if text, encoded, ok := strings.Cut(message, encodedMessage); ok {
			message = text + encodedMessage + encoded[:min(20, len(encoded))] + "…"
		}
		t.say("    An error occurred (%s) when calling the %s operation: %s", code, name, message)
	} else {
		for _, path := range want.show {
			value, err := memberOf(out, path)
			if err != nil {
				return nil, err
			}
			label := t.paint("2", fmt.Sprintf("%-11s", path[strings.LastIndexByte(path, '.')+1:]))
			t.say("    %s  %s", label, strings.ReplaceAll(strings.TrimSpace(value), "\n", "\n"+strings.Repeat(" ", 17)))
		}
	}
	decision, failed := t.decision(who)
	if want.fails != "" && code == want.fails && errors.Is(failed, errNotKept) {
		return nil, nil // what is not there is not decided about
	}
	if failed != nil {
		return nil, failed
	}
	isAllowed := decision.Decision == "allowed"
	if missing(err) {
		t.say("  %s", t.paint("2", "✓ allowed"))
		return nil, err
	}
	switch {
	case isAllowed && want.setup: // by root, who needs no reason
		t.say("  %s", t.paint("2", "✓ allowed"))
	case isAllowed:
		t.say("  %s %s", t.paint("32", "✓ allowed:"), reason(decision))
	default:
		t.say("  %s %s", t.paint("31", "✗ refused:"), decision.Reason)
	}

	switch {
	case want.fails != "" && isAllowed && code == want.fails:
		return nil, nil
	case isAllowed != (err == nil):
		return nil, fmt.Errorf("%s: the answer and the decision differ: error %v, decision %s", name, err, decision.Decision)
	case want.allowed && err != nil:
		return nil, fmt.Errorf("%s should have been allowed: %w", name, err)
	case !want.allowed && err == nil:
		return nil, fmt.Errorf("%s should have been refused and was allowed", name)
	case !want.allowed && !slices.Contains([]string{"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}, code):
		return nil, fmt.Errorf("%s should have been refused with AccessDenied, not %s", name, code)
	case !want.allowed && decision.DecidedBy != want.by:
		return nil, fmt.Errorf("%s should have been refused for want of a %s, not of a %s", name, want.by, decision.DecidedBy)
	}
	return out, nil
}

// encodedMessage is before what DecodeAuthorizationMessage reads, a thousand letters of it.
const encodedMessage = "Encoded authorization failure message: "

// reason is why a call was allowed: where two sides had to agree, both.
func reason(x *authz.Explanation) string {
	var sides []string
	for _, l := range x.Layers {
		if l.Verdict == "allow" {
			sides = append(sides, "the "+l.Layer.String())
		}
	}
	if len(sides) < 2 {
		return x.Reason
	}
	return strings.Join(sides, " and ") + " allow it, and nothing denies it"
}

// details asks why the last call was decided as it was, as the root of the account that called.
func (t *tour) details(account string) (*server.Details, error) {
	as := *t.target
	as.profile = rootPrefix + account
	d, err := as.ask(t.ctx, http.MethodGet, "/"+t.lastRequest, nil)
	if err != nil {
		return nil, err
	}
	if len(d.Explanations) == 0 {
		return nil, errNotKept
	}
	return d, nil
}

// decision is that of the last call: the refusal, or the one on the operation itself.
func (t *tour) decision(who *actor) (*authz.Explanation, error) {
	d, err := t.details(who.account)
	if err != nil {
		return nil, fmt.Errorf("asking for the decision: %w", err)
	}
	for _, x := range d.Explanations {
		if x.Decision != "allowed" {
			return x, nil
		}
	}
	return d.Explanations[0], nil
}

// explain prints the last decision whole, as iamd explain does.
func (t *tour) explain(who *actor) error {
	d, err := t.details(who.account)
	if err != nil {
		return err
	}
	t.say("")
	t.say("%s iamd explain %s", t.paint("36", who.name+" $"), t.lastRequest)
	var b bytes.Buffer
	for _, x := range d.Explanations {
		if err := x.WriteText(&b, t.color); err != nil {
			return err
		}
	}
	for line := range strings.Lines(b.String()) {
		t.say("    %s", strings.TrimSuffix(line, "\n"))
	}
	return nil
}

// record prints the audit record of the last call, where the audit log can be read.
func (t *tour) record() error {
	dir := filepath.Join(t.target.data, "audit")
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		t.tell("(The record is on the server's machine, in the audit folder of its data directory; its request id is %s.)", t.lastRequest)
		return nil
	}
	for e, err := range audit.Read(dir, audit.Filter{RequestID: t.lastRequest}) {
		if err != nil {
			return fmt.Errorf("reading the audit record: %w", err)
		}
		var b bytes.Buffer
		if err := json.Indent(&b, e.Raw, "    ", "  "); err != nil {
			return err
		}
		t.say("")
		t.say("    %s", b.String())
		return nil
	}
	return fmt.Errorf("the call has no record in %s", dir)
}

// made notes how to delete what a step made.
func (t *tour) made(f func() error) { t.undo = append(t.undo, f) }

// clean deletes what was made, the last first.
func (t *tour) clean() error {
	// Also after an interrupt.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), 30*time.Second)
	defer cancel()
	t.ctx = ctx
	var errs []error
	for i := len(t.undo) - 1; i >= 0; i-- {
		errs = append(errs, t.undo[i]())
	}
	return errors.Join(errs...)
}
