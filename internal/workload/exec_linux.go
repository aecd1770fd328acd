package workload

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxQuestion bounds what a keeper is asked at once: a command's arguments and environment.
const maxQuestion = 128 << 10

// refused begins an answer that is the text of a failure.
const refused = "error: "

// An Execution is a command that runs, or has run.
type Execution struct {
	process *Process
	pid     int // inside
	done    chan struct{}
	code    int
	err     error // after done
}

// errEnded is how a command ends whose program ended before it.
var errEnded = errors.New("the program has ended, and the command with it")

// Exec starts a command. The error is that it could not be started.
func (p *Process) Exec(c Command) (*Execution, error) {
	text, err := json.Marshal(question{Run: &c})
	if err != nil {
		return nil, err
	}
	if len(text) > maxQuestion {
		return nil, fmt.Errorf("the command is longer than %d bytes", maxQuestion)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	status, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	var fds []int
	for _, f := range []*os.File{c.Stdin, c.Stdout, c.Stderr, theirs} {
		if f == nil {
			f = null
		}
		fds = append(fds, int(f.Fd()))
	}
	answer, err := p.ask(text, unix.UnixRights(fds...))
	var pid int
	if err == nil {
		pid, err = strconv.Atoi(answer)
	}
	if err != nil {
		status.Close()
		return nil, err
	}
	e := &Execution{process: p, pid: pid, done: make(chan struct{})}
	go func() {
		b, err := io.ReadAll(status)
		status.Close()
		if e.code, e.err = strconv.Atoi(string(b)); err != nil || e.err != nil {
			e.code, e.err = 0, errEnded
		}
		close(e.done)
	}()
	return e, nil
}

// ask asks the keeper a question whose answer is a text.
func (p *Process) ask(text, rights []byte) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.control.SetDeadline(time.Now().Add(startWait))
	if _, _, err := p.control.WriteMsgUnix(text, rights, nil); err != nil {
		return "", fmt.Errorf("asking the keeper: %w", err)
	}
	answer := make([]byte, 1024)
	n, err := p.control.Read(answer)
	if err != nil {
		p.control.Close() // a late answer must not be taken for another question's
		return "", fmt.Errorf("waiting for the keeper: %w", err)
	}
	if why, ok := strings.CutPrefix(string(answer[:n]), refused); ok {
		return "", errors.New(why)
	}
	return string(answer[:n]), nil
}

// Wait waits for the end of the command and returns its exit status, 128 and its number
// for one that a signal ended. The error is that its program ended first.
func (e *Execution) Wait() (int, error) {
	<-e.done
	return e.code, e.err
}

// Done is closed when the command has ended. What it left in the background may run on.
func (e *Execution) Done() <-chan struct{} { return e.done }

// Kill kills the command and its process group.
func (e *Execution) Kill() {
	select {
	case <-e.done:
		return
	default:
	}
	if text, err := json.Marshal(question{Kill: e.pid}); err == nil {
		e.process.ask(text, nil) // that the keeper is gone is as good
	}
}
