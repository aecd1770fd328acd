package main

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"

	"github.com/iamd-dev/iamd/internal/audit"
	"github.com/iamd-dev/iamd/internal/workload"
)

// trustService is the trust policy of a role for a service.
func trustService(service string) string {
	return allow(`"Principal": {"Service": "`+service+`"}`, `"Action": "sts:AssumeRole"`)
}

// mayPass is a statement: who has it may pass the role to the service.
func mayPass(role, service string) string {
	return `{"Effect": "Allow", "Action": "iam:PassRole", "Resource": "` + role + `", "Condition": {"StringEquals": {"iam:PassedToService": "` + service + `"}}}`
}

// policyOf is a policy of these statements.
func policyOf(statements ...string) string {
	return "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [\n    " + strings.Join(statements, ",\n    ") + "\n  ]\n}"
}

// grant gives a user that the tour has made these statements in the place of what it had.
func (t *tour) grant(who string, statements ...string) error {
	document := policyOf(statements...)
	_, err := do(t, t.a, t.a.iam.PutUserPolicy, &iam.PutUserPolicyInput{UserName: aws.String(who + t.suffix), PolicyName: aws.String("may"), PolicyDocument: &document}, setUp)
	return err
}

// retrust lets a role trust a service.
func (t *tour) retrust(role, service string) error {
	document := trustService(service)
	_, err := do(t, t.a, t.a.iam.UpdateAssumeRolePolicy, &iam.UpdateAssumeRolePolicyInput{RoleName: &role, PolicyDocument: &document}, setUp)
	return err
}

// missing reports whether a call failed because this machine or this server has not what
// it takes.
func missing(err error) bool {
	var refused smithy.APIError
	if !errors.As(err, &refused) {
		return false
	}
	return slices.Contains([]string{"NotImplemented", "NotImplementedException", "Unsupported"}, refused.ErrorCode()) ||
		strings.Contains(refused.ErrorMessage(), workload.ErrOff.Error())
}

// notHere reports whether a step failed for what is missing here, says so, and counts the
// story as left out.
func (t *tour) notHere(err error) bool {
	var refused smithy.APIError
	if !missing(err) || !errors.As(err, &refused) {
		return false
	}
	t.leaveOut(refused.ErrorMessage())
	return true
}

func (t *tour) leaveOut(reason string) {
	t.leftOut++
	t.tell("The rest of this story is left out here: %s", reason)
}

// canRun reports whether this machine runs workloads, by running one; and where it does
// not, leaves out the rest of the story.
func (t *tour) canRun() bool {
	if !t.probed {
		t.probed, t.workloads = true, probe(t.ctx)
	}
	if t.workloads != nil {
		t.leaveOut(t.workloads.Error())
	}
	return t.workloads == nil
}

func probe(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "iamd-probe-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	h := &workload.Host{Dir: filepath.Join(dir, "workloads"), Endpoint: http.NotFoundHandler()}
	if err := h.Open(); err != nil {
		return err
	}
	defer h.Close()
	shell, err := h.LookPath("sh")
	if err != nil {
		return err
	}
	run, err := h.Run(ctx, workload.Job{Kind: "tour", Path: shell, Args: []string{"-c", "exit 0"}})
	if err != nil {
		return err
	}
	err = run.Wait()
	return errors.Join(err, run.Remove())
}

// program is this executable, where workloads may run it: they have a /tmp of their own, and
// do not see into the homes of others.
func (t *tour) program() (string, error) {
	if t.reader != "" {
		return t.reader, nil
	}
	own, err := os.Executable()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("/var/tmp", "iamd-tour-")
	if err != nil {
		return "", err
	}
	t.made(func() error { return os.RemoveAll(dir) })
	path := filepath.Join(dir, "iamd")
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	from, err := os.Open(own)
	if err != nil {
		return "", err
	}
	defer from.Close()
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return "", err
	}
	if _, err := io.Copy(to, from); err != nil {
		return "", errors.Join(err, to.Close())
	}
	if err := errors.Join(to.Chmod(0o755), to.Close()); err != nil {
		return "", err
	}
	t.reader = path
	return path, nil
}

// until asks again and again, and shows nothing of it, until what is waited for is so.
func (t *tour) until(what string, is func() (bool, error)) error {
	const long = time.Minute
	for end := time.Now().Add(long); ; {
		ok, err := is()
		switch {
		case err != nil:
			return fmt.Errorf("waiting until %s: %w", what, err)
		case ok:
			return nil
		case time.Now().After(end):
			return fmt.Errorf("it has taken more than %v until %s", long, what)
		}
		select {
		case <-t.ctx.Done():
			return t.ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// trace prints what the last call led to, where the audit log can be read.
func (t *tour) trace(who *actor) error { return t.traceOf(who, t.lastRequest, nil) }

// traceOf prints what a call led to, when that is recorded which is waited for.
func (t *tour) traceOf(who *actor, request string, awaited func(*audit.Node) bool) error {
	return t.traced(who, "iamd trace "+request, awaited, func(dir string) (top, asked *audit.Node, err error) { return audit.Trace(dir, request) })
}

// traceSession prints what was done in the last session with this ARN, and what led to it.
func (t *tour) traceSession(who *actor, session string) error {
	return t.traced(who, "iamd trace --session "+session, nil, func(dir string) (top, asked *audit.Node, err error) { return audit.TraceSession(dir, session) })
}

func (t *tour) traced(who *actor, command string, awaited func(*audit.Node) bool, trace func(dir string) (top, asked *audit.Node, err error)) error {
	dir := filepath.Join(t.target.data, "audit")
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		t.tell("(%s, on the server's machine, prints what it led to.)", command)
		return nil
	}
	time.Sleep(recordDelay)
	var top, asked *audit.Node
	if err := t.until("it is recorded", func() (_ bool, err error) {
		top, asked, err = trace(dir)
		return err == nil && (awaited == nil || recorded(top, awaited)), err
	}); err != nil {
		return err
	}
	t.say("")
	t.say("%s %s", t.paint("36", who.name+" $"), command)
	as := *t.target
	as.profile = rootPrefix + who.account
	p := &tracePrinter{w: t.w, color: t.color, asked: asked.RequestID, ctx: t.ctx, target: &as}
	p.node(top, "    ", "    ", "")
	return p.err
}

// recorded reports whether one of the calls of a trace is so.
func recorded(n *audit.Node, is func(*audit.Node) bool) bool {
	if is(n) {
		return true
	}
	below := n.Inner
	if n.Session != nil {
		below = append(slices.Clone(below), n.Session.Calls...)
	}
	return slices.ContainsFunc(below, func(m *audit.Node) bool { return recorded(m, is) })
}

// A file is one of an archive.
type file struct{ name, text string }

// zipped is an archive of files.
func zipped(files ...file) ([]byte, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate}
		h.SetMode(0o644)
		w, err := z.CreateHeader(h)
		if err != nil {
			return nil, err
		}
		if _, err := io.WriteString(w, f.text); err != nil {
			return nil, err
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
