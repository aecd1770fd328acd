package codebuild

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
)

const (
	maxLog  = 64 << 20 // of a build; what comes later is dropped
	maxLine = 1 << 20  // longer ones are cut
)

// An output takes what a build prints: it keeps the log, and follows the build through
// its phases by the lines that its script marks:
//
//	MARK enter PHASE
//	MARK run PHASE COMMAND
//	MARK failed PHASE COMMAND STATUS
//	MARK leave PHASE
//	MARK artifacts
type output struct {
	job   *job
	mark  []byte
	spec  *buildspec
	begun chan struct{} // closed when DOWNLOAD_SOURCE has ended: nothing is taken before

	artifacts bool     // the script came to its end
	failure   *failure // of the phase

	mu      sync.Mutex // between Write and say
	line    []byte
	file    *os.File
	left    int64
	secrets []string
}

func newOutput(j *job) (*output, error) {
	f, err := os.OpenFile(j.s.logFile(j.uuid), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &output{job: j, file: f, left: maxLog, begun: make(chan struct{})}, nil
}

func (o *output) close() { o.file.Close() }

// hide keeps a value out of the log: AWS prints *** for parameters.
func (o *output) hide(value string) {
	for line := range strings.Lines(value) {
		if line = strings.TrimSpace(line); len(line) > 2 {
			o.secrets = append(o.secrets, line, "***")
		}
	}
}

// say writes a line of the agent's own.
func (o *output) say(format string, args ...any) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.put("[Container] " + o.job.s.now().Format("2006/01/02 15:04:05.000000") + " " + strings.TrimRight(fmt.Sprintf(format, args...), "\n") + "\n")
}

// put writes to the log, with mu held.
func (o *output) put(text string) {
	if len(o.secrets) > 0 {
		text = strings.NewReplacer(o.secrets...).Replace(text)
	}
	if o.left <= 0 {
		return
	}
	if o.left -= int64(len(text)); o.left <= 0 {
		text = "\n[Container] The log is too long: what follows is dropped\n"
	}
	if _, err := o.file.WriteString(text); err != nil {
		o.job.s.log().Error("writing the log of a build", "error", err)
		o.left = 0
	}
}

// Write takes output of the build. It is called by one goroutine.
func (o *output) Write(p []byte) (int, error) {
	<-o.begun
	for rest := p; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 && len(o.line)+len(rest) < maxLine {
			o.line = append(o.line, rest...)
			break
		}
		if i < 0 {
			i = len(rest) - 1
		}
		o.take(append(o.line, rest[:i+1]...))
		o.line, rest = o.line[:0], rest[i+1:]
	}
	return len(p), nil
}

// flush takes a last line that has no end.
func (o *output) flush() {
	if len(o.line) > 0 {
		o.take(append(o.line, '\n'))
		o.line = nil
	}
}

func (o *output) take(line []byte) {
	before, word, marked := bytes.Cut(line, o.mark)
	if marked && len(before) > 0 { // the output before it has no end of line
		before = append(bytes.Clone(before), '\n')
	}
	if len(before) > 0 {
		o.mu.Lock()
		o.put(string(before))
		o.mu.Unlock()
	}
	if marked {
		o.follow(strings.Fields(string(word)))
	}
}

// follow does what a marked line says. The build can print such lines itself, and tell
// lies about its own phases.
func (o *output) follow(words []string) {
	if len(words) == 0 {
		return
	}
	switch {
	case words[0] == "artifacts":
		o.artifacts = true
	case words[0] == "enter" && len(words) == 2 && o.phase(words[1]) != nil:
		o.failure = nil
		o.job.enter(words[1])
	case words[0] == "run" && len(words) == 3:
		o.say("Running command %s", o.command(words[1], words[2]))
	case words[0] == "failed" && len(words) == 4:
		command := o.command(words[1], words[2])
		o.say("Command did not exit successfully %s exit status %s", command, words[3])
		if o.failure == nil {
			o.failure = &failure{"COMMAND_EXECUTION_ERROR", fmt.Sprintf("Error while executing command: %s. Reason: exit status %s", command, words[3])}
		}
	case words[0] == "leave" && len(words) >= 2:
		if o.failure != nil {
			o.job.leave(o.failure)
		} else {
			o.job.leave(nil)
		}
	}
}

func (o *output) phase(name string) *phaseSpec {
	for _, p := range o.spec.phases() {
		if p.name == name {
			return p.phaseSpec
		}
	}
	return nil
}

// command is the text of a command: c0 is the phase's first, f0 the first of its finally.
func (o *output) command(phase, name string) string {
	p := o.phase(phase)
	if p == nil || len(name) < 2 {
		return ""
	}
	list := p.Commands
	if name[0] == 'f' {
		list = p.Finally
	}
	i, err := strconv.Atoi(name[1:])
	if err != nil || i < 0 || i >= len(list) {
		return ""
	}
	return strings.TrimRight(list[i], "\n")
}
