//go:build !linux

package workload

import (
	"context"
	"errors"
	"io"
	"net"
)

// A Process is a program that runs: none does here.
type Process struct{}

// Start returns ErrNoNamespaces.
func Start(Program) (*Process, error) { return nil, ErrNoNamespaces }

func (*Process) Done() <-chan struct{}                       { return nil }
func (*Process) Wait() error                                 { return ErrNoNamespaces }
func (*Process) Stop()                                       {}
func (*Process) Kill()                                       {}
func (*Process) Dial(context.Context, int) (net.Conn, error) { return nil, ErrNoNamespaces }

// Listener returns nil.
func (*Process) Listener(string) net.Listener { return nil }

func (*Process) closeListeners() {}

// Exec returns ErrNoNamespaces.
func (*Process) Exec(Command) (*Execution, error) { return nil, ErrNoNamespaces }

// An Execution is a command that runs: none does here.
type Execution struct{}

func (*Execution) Wait() (int, error)    { return 0, ErrNoNamespaces }
func (*Execution) Done() <-chan struct{} { return nil }
func (*Execution) Kill()                 {}

// Keep returns at once: there are no keepers here.
func Keep() {}

// Containers need Linux here, too: we listen in a namespace of theirs.
var errNoContainers = errors.New("containers are run where iamd and the engine are on the same machine, and its system is Linux")

func receiveListeners(*net.UnixConn, []string) (map[string]net.Listener, error) {
	return nil, errNoContainers
}

func linked(string) ([]string, error) { return nil, errNoContainers }

func startReaper(string, string) (io.Closer, error) { return nil, errNoContainers }
