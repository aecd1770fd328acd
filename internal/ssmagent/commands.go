package ssmagent

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/iamd-dev/iamd/internal/workload"
)

// A message is what the agent is sent.
type message struct {
	MessageId string
	Topic     string
	Payload   string
}

// A job is a command that runs.
type job struct {
	mu        sync.Mutex
	execution *workload.Execution
	cancelled bool
}

// cancel ends the command, begun or not.
func (j *job) cancel() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.cancelled = true
	if j.execution != nil {
		j.execution.Kill()
	}
}

// A command is the payload of a message that sends one.
type command struct {
	Parameters struct {
		Commands         []string `json:"commands"`
		WorkingDirectory string   `json:"workingDirectory"`
		ExecutionTimeout string   `json:"executionTimeout"`
	}
	DocumentContent struct {
		RuntimeConfig map[string]json.RawMessage `json:"runtimeConfig"`
	}
	CommandId    string
	DocumentName string
}

const plugin = "aws:runShellScript"

// take takes a message on: a command begins, and does not hold up the next.
func (a *Agent) take(ctx context.Context, m message) {
	id := map[string]any{"MessageId": m.MessageId}
	switch {
	case strings.HasPrefix(m.Topic, "aws.ssm.sendCommand."):
		var c command
		if json.Unmarshal([]byte(m.Payload), &c) != nil || c.DocumentContent.RuntimeConfig[plugin] == nil {
			a.messages(ctx, "FailMessage", map[string]any{"MessageId": m.MessageId, "FailureType": "NoHandlerExists"}, nil)
			return
		}
		a.mu.Lock()
		if a.running[m.MessageId] != nil { // handed out again
			a.mu.Unlock()
			return
		}
		j := &job{}
		a.running[m.MessageId] = j
		a.mu.Unlock()
		if a.messages(ctx, "AcknowledgeMessage", id, nil) != nil { // then it is handed out again
			a.forget(m)
			return
		}
		a.work.Go(func() {
			defer a.forget(m)
			r := a.run(ctx, j, &c)
			if a.answer(ctx, m, r) {
				a.messages(ctx, "DeleteMessage", id, nil)
			}
		})
	case strings.HasPrefix(m.Topic, "aws.ssm.cancelCommand."):
		var c struct{ CancelMessageId string }
		if json.Unmarshal([]byte(m.Payload), &c) != nil || a.messages(ctx, "AcknowledgeMessage", id, nil) != nil {
			return
		}
		a.mu.Lock()
		j := a.running[c.CancelMessageId]
		a.mu.Unlock()
		if j != nil {
			j.cancel()
		}
		a.messages(ctx, "DeleteMessage", id, nil)
	default:
		a.messages(ctx, "FailMessage", map[string]any{"MessageId": m.MessageId, "FailureType": "NoHandlerExists"}, nil)
	}
}

func (a *Agent) forget(m message) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.running, m.MessageId)
}

// A result is how a command went.
type result struct {
	status      string // of AWS: Success, Failed, TimedOut, Cancelled
	code        int
	out, err    string
	begun, over time.Time
}

// stopped is the exit status of a command that did not end by itself, as the agent of AWS has it.
const stopped = 137

// script puts what it reads into a file and runs that, as the agent of AWS does: so a
// first line that names an interpreter counts. What the script reads is empty.
const script = `umask 077; f=$(mktemp "${TMPDIR:-/tmp}/ssm.XXXXXX") && cat >"$f" && chmod 700 "$f" || exit 1; "$f" </dev/null; r=$?; rm -f "$f"; exit $r`

// run runs a command in the instance and waits for its end, or its time's.
func (a *Agent) run(ctx context.Context, j *job, c *command) *result {
	r := &result{status: "Failed", code: 1, begun: a.now()}
	defer func() { r.over = a.now() }()
	limit := time.Hour
	if s, err := strconv.Atoi(c.Parameters.ExecutionTimeout); err == nil && s > 0 {
		limit = time.Duration(s) * time.Second
	}
	var files [6]*os.File // three pipes: what is read, and what is written
	for i := 0; i < len(files); i += 2 {
		read, write, err := os.Pipe()
		if err != nil {
			r.err = err.Error()
			return r
		}
		files[i], files[i+1] = read, write
		defer read.Close()
		defer write.Close()
	}
	stdin, stdout, stderr := files[1], &kept{}, &kept{}

	j.mu.Lock()
	if j.cancelled {
		j.mu.Unlock()
		r.status, r.code = "Cancelled", stopped
		return r
	}
	e, err := a.Exec(workload.Command{Path: a.Shell, Args: []string{"-c", script}, Dir: c.Parameters.WorkingDirectory, Stdin: files[0], Stdout: files[3], Stderr: files[5]})
	j.execution = e
	j.mu.Unlock()
	for _, f := range []*os.File{files[0], files[3], files[5]} {
		f.Close()
	}
	if err != nil {
		r.err = "failed to run commands: " + err.Error()
		return r
	}
	var copying sync.WaitGroup
	copying.Go(func() {
		io.WriteString(stdin, strings.Join(c.Parameters.Commands, "\n")+"\n")
		stdin.Close()
	})
	copying.Go(func() { io.Copy(stdout, files[2]) })
	copying.Go(func() { io.Copy(stderr, files[4]) })

	over := time.NewTimer(limit)
	defer over.Stop()
	r.status = "Success"
	select {
	case <-e.Done():
	case <-over.C:
		r.status = "TimedOut"
	case <-ctx.Done():
		r.status = "Failed"
	}
	if r.status != "Success" {
		e.Kill()
	}
	code, err := e.Wait()
	r.code = code
	drained := make(chan struct{})
	go func() { copying.Wait(); close(drained) }()
	select {
	case <-drained:
	case <-time.After(5 * time.Second): // what it left in the background holds them open
		files[2].Close()
		files[4].Close()
		<-drained
	}
	r.out, r.err = stdout.String(), stderr.String()
	j.mu.Lock()
	gone := j.cancelled
	j.mu.Unlock()
	switch {
	case gone:
		r.status, r.code = "Cancelled", stopped
	case r.status == "TimedOut":
		r.code = stopped
	case err != nil:
		r.status, r.code, r.err = "Failed", stopped, r.err+"failed to run commands: "+err.Error()
	case code != 0:
		r.status, r.err = "Failed", r.err+"failed to run commands: exit status "+strconv.Itoa(code)
	}
	return r
}

// answer replies with the result; false when the reply was not taken.
func (a *Agent) answer(ctx context.Context, m message, r *result) bool {
	output := r.out
	if r.err != "" {
		output += "\n----------ERROR-------\n" + r.err
	}
	stamp := func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
	payload, err := json.Marshal(map[string]any{
		"additionalInfo": map[string]any{
			"agent":    map[string]string{"lang": "en-US", "name": "amazon-ssm-agent", "os": "iamd", "osver": runtime.GOARCH, "ver": Version},
			"dateTime": stamp(a.now()), "runId": "", "runtimeStatusCounts": map[string]int{r.status: 1},
		},
		"documentStatus": r.status, "documentTraceOutput": "",
		"runtimeStatus": map[string]any{plugin: map[string]any{
			"status": r.status, "code": r.code, "name": plugin, "output": output, "startDateTime": stamp(r.begun), "endDateTime": stamp(r.over),
			"outputS3BucketName": "", "outputS3KeyPrefix": "", "stepName": "", "standardOutput": r.out, "standardError": r.err,
		}},
	})
	if err != nil {
		return false
	}
	for try := range 5 {
		if err = a.messages(ctx, "SendReply", map[string]any{"MessageId": m.MessageId, "ReplyId": newUUID(), "Payload": string(payload)}, nil); err == nil {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(time.Second << try):
		}
	}
	return false
}

// A kept keeps the beginning of what is written: more than AWS shows of it.
type kept struct {
	mu sync.Mutex
	b  bytes.Buffer
}

const mostKept = 64 << 10

func (k *kept) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if room := mostKept - k.b.Len(); room > 0 {
		k.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (k *kept) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.b.String()
}
