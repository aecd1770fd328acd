package main

import (
	"bytes"
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
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamodbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/spf13/cobra"

	"github.com/iamd-dev/iamd/internal/audit"
	"github.com/iamd-dev/iamd/internal/authz"
	dynamodbservice "github.com/iamd-dev/iamd/internal/aws/dynamodb"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/server"
)

func newTour() *cobra.Command {
	t := &target{}
	cmd := &cobra.Command{
		Use:   "tour [flags]",
		Short: "See AssumeRole and PassRole at work",
		Long: `Tour plays the stories that every article on AssumeRole and PassRole tells, through the AWS
SDK, and shows each step as the aws command that one would type, what the server
answered, and what it decided and why.

It starts a server of its own, which leaves nothing behind. With --data or
--endpoint it plays on a running one, which must have two accounts, and deletes
there what it made. It stops at the first step that does not go as it says.`,
		Example: `  iamd tour
  iamd tour | less -R
  iamd serve --account 111122223333 --account 444455556666 &
  iamd tour --data ~/.local/share/iamd`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w := cmd.OutOrStdout()
			if cmd.Flags().Changed("data") || cmd.Flags().Changed("endpoint") {
				var suffix [2]byte
				rand.Read(suffix[:])
				return play(cmd.Context(), w, t, "-"+hex.EncodeToString(suffix[:]))
			}
			return playAlone(cmd.Context(), w)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&t.data, "data", defaultData(), "play on the running server that keeps its data in `DIR`")
	fs.StringVar(&t.endpoint, "endpoint", "", "play on the running server at `URL`, with the credentials in DIR")
	cmd.MarkFlagDirname("data")
	return cmd
}

// playAlone plays on a server in this process, on a temporary directory.
func playAlone(ctx context.Context, w io.Writer) (err error) {
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
		err = play(ctx, w, &target{data: dir, endpoint: url}, "")
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
	http   aws.HTTPClient

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

	dynamodb *dynamodb.Client
	lambda   *lambda.Client
}

// play plays all stories and cleans up, also after one that went wrong.
func play(ctx context.Context, w io.Writer, target *target, suffix string) error {
	t := &tour{ctx: ctx, w: w, color: isTerminal(w), target: target, suffix: suffix}
	if err := t.begin(); err != nil {
		return err
	}
	err := t.play()
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
	if t.http, err = newClient(); err != nil {
		return err
	}
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
		s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }), dynamodb.NewFromConfig(cfg), lambda.NewFromConfig(cfg)}
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

	var code string
	if err != nil {
		var known smithy.APIError
		var response *smithyhttp.ResponseError
		if !errors.As(err, &known) || !errors.As(err, &response) {
			return nil, fmt.Errorf("%s was not answered: %w", name, err)
		}
		code = known.ErrorCode()
		t.lastRequest = requestID(response)
		t.say("    An error occurred (%s) when calling the %s operation: %s", code, name, known.ErrorMessage())
	} else {
		metadata, _ := reflect.ValueOf(out).Elem().FieldByName("ResultMetadata").Interface().(middleware.Metadata)
		t.lastRequest, _ = awsmiddleware.GetRequestIDMetadata(metadata)
		for _, path := range want.show {
			value, err := memberOf(out, path)
			if err != nil {
				return nil, err
			}
			t.say("    %s  %s", t.paint("2", fmt.Sprintf("%-11s", path[strings.LastIndexByte(path, '.')+1:])), value)
		}
	}
	decision, failed := t.decision(who)
	if failed != nil {
		return nil, failed
	}
	isAllowed := decision.Decision == "allowed"
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
		if code == "NotImplemented" || code == "NotImplementedException" {
			return nil, err
		}
		return nil, fmt.Errorf("%s: the answer and the decision differ: error %v, decision %s", name, err, decision.Decision)
	case want.allowed && err != nil:
		return nil, fmt.Errorf("%s should have been allowed: %w", name, err)
	case !want.allowed && err == nil:
		return nil, fmt.Errorf("%s should have been refused and was allowed", name)
	case !want.allowed && code != "AccessDenied" && code != "AccessDeniedException":
		return nil, fmt.Errorf("%s should have been refused with AccessDenied, not %s", name, code)
	case !want.allowed && decision.DecidedBy != want.by:
		return nil, fmt.Errorf("%s should have been refused for want of a %s, not of a %s", name, want.by, decision.DecidedBy)
	}
	return out, nil
}

// requestID is the id in an answer's headers: S3 has it under another name.
func requestID(r *smithyhttp.ResponseError) string {
	if id := r.Response.Header.Get("X-Amzn-Requestid"); id != "" {
		return id
	}
	return r.Response.Header.Get("X-Amz-Request-Id")
}

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

// commandOf is the aws command that makes a call, and the operation's name.
func commandOf(in any) (command, operation string) {
	v := reflect.ValueOf(in).Elem()
	operation = strings.TrimSuffix(v.Type().Name(), "Input")
	service := v.Type().PkgPath()
	service = service[strings.LastIndexByte(service, '/')+1:]
	if service == "s3" {
		service = "s3api"
	}
	documents := ""
	var b strings.Builder
	b.WriteString("aws " + service + " " + kebab(operation))
	for f, value := range v.Fields() {
		if !f.IsExported() || value.IsZero() {
			continue
		}
		text := ""
		switch x := value.Interface().(type) {
		case *string:
			text = *x
		case *int32:
			text = strconv.Itoa(int(*x))
		case io.Reader:
			text = "hello.txt"
		case []byte:
			text = string(x)
		case *lambdatypes.FunctionCode:
			option, text := "zip-file", "fileb://function.zip"
			b.WriteString(" --" + option + " " + text)
			continue
		case map[string]dynamodbtypes.AttributeValue, []dynamodbtypes.AttributeDefinition, []dynamodbtypes.KeySchemaElement:
			text = shorthand(x)
		default:
			text = fmt.Sprint(x)
		}
		option := " --" + kebab(f.Name) + " " + shellQuote(text)
		if strings.HasSuffix(f.Name, "Document") { // easier to read at the end
			documents += option
			continue
		}
		b.WriteString(option)
	}
	b.WriteString(documents)
	if operation == "GetObject" || operation == "Invoke" {
		b.WriteString(" /dev/stdout")
	}
	return b.String(), operation
}

// shorthand is a structure as the AWS CLI takes it on the command line.
func shorthand(v any) string {
	switch v := v.(type) {
	case []dynamodbtypes.AttributeDefinition:
		return fmt.Sprintf("AttributeName=%s,AttributeType=%s", *v[0].AttributeName, v[0].AttributeType)
	case []dynamodbtypes.KeySchemaElement:
		return fmt.Sprintf("AttributeName=%s,KeyType=%s", *v[0].AttributeName, v[0].KeyType)
	case map[string]dynamodbtypes.AttributeValue:
		for name, value := range v {
			if s, ok := value.(*dynamodbtypes.AttributeValueMemberS); ok {
				return fmt.Sprintf(`{"%s": {"S": "%s"}}`, name, s.Value)
			}
		}
	}
	return fmt.Sprint(v)
}

// kebab writes RoleArn as role-arn, as the AWS CLI does.
func kebab(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// memberOf returns a member of an answer as text.
func memberOf(out any, path string) (string, error) {
	v := reflect.ValueOf(out)
	for name := range strings.SplitSeq(path, ".") {
		v = reflect.Indirect(v)
		switch v.Kind() {
		case reflect.Struct:
			v = v.FieldByName(name)
		case reflect.Slice:
			i, err := strconv.Atoi(name)
			if err != nil || i >= v.Len() {
				return "", fmt.Errorf("the answer has no %s", path)
			}
			v = v.Index(i)
		}
		if !v.IsValid() {
			return "", fmt.Errorf("the answer has no %s", path)
		}
	}
	switch x := v.Interface().(type) {
	case io.Reader:
		text, err := io.ReadAll(x)
		return strings.TrimSpace(string(text)), err
	case *time.Time:
		return x.UTC().Format(time.RFC3339), nil
	case *string:
		return *x, nil
	case []byte:
		return string(x), nil
	}
	return fmt.Sprint(reflect.Indirect(v).Interface()), nil
}
