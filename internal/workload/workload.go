// Package workload runs programs that are not iamd: engines that keep a service's
// data, and what roles are passed to.
//
//	p, err := workload.Start(workload.Program{Path: "/usr/bin/dynoxide", Args: args, Network: workload.Own})
//	conn, err := p.Dial(ctx, 8000) // the program's own port 8000, which nobody else reaches
//	p.Exec(workload.Command{Path: "/bin/sh", ...}) // another program beside it
//	p.Stop()
//
// # The keeper
//
// Each program has a keeper: this same executable, started once more under the name
// KeeperName, which must therefore call Keep first thing in main. On Linux the keeper
// is the first process of user, PID, mount and (with Own) network namespaces of its
// own. It starts the program, says how it ended, and ends with whoever started it: the
// kernel then kills everything in the namespace, so that nothing outlives us, not even
// a kill -9. The program has a clean environment, a directory and a process group of
// its own, and no file of ours open.
//
// Where the kernel gives no such namespaces Start refuses with ErrNoNamespaces:
// a program that could not be kept to itself is not started.
//
// # Containers
//
// A host that has an engine (package docker) runs containers, too:
//
//	n, err := host.ShareNetwork(ctx, "ecs", "web", serve)
//	c, err := n.Create(ctx, workload.ContainerJob{Image: "nginx:1"})
//	err = c.Start(ctx)
//	code, reason := c.Exit()
//
// The engine keeps them to themselves, and we look after their network: a container of
// our own holds it, in which nothing runs but this executable as its keeper. The engine
// gives it no way out. The keeper listens inside and hands the listeners out to us, by a
// socket that no other container has. Others join the network: those of one task share
// one, as in ECS's network mode awsvpc.
//
// All have a label that names the host. By it they are removed when the host closes, when
// the server has died (a program waits for that: the reaper), and when it starts anew.
package workload

import (
	"errors"
	"io"
	"os"
	"time"
)

// KeeperName is the zeroth argument under which the executable is a keeper.
const KeeperName = "iamd-keeper"

// ErrNoNamespaces is returned by Start where a program cannot be kept to itself.
var ErrNoNamespaces = errors.New("this machine gives no namespaces of its own to a program: that needs Linux, and either root or unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)")

// A Network is what a program reaches.
type Network uint8

const (
	Machine Network = iota // the machine's network
	Own                    // a loopback interface of its own and nothing else; Dial reaches it
)

// A Program is what is to run.
type Program struct {
	Path    string   // absolute
	Args    []string // without the program's name
	Env     []string // all of it; nothing is inherited
	Dir     string   // working directory
	Network Network
	Output  io.Writer `json:"-"` // standard output and error together; nil: dropped

	// Hidden are directories and files that are empty for the program, whatever is in
	// them: the server's keys and data. Each must exist.
	Hidden []string
	// Mounts are directories of the machine that the program finds elsewhere. They may
	// lie in what is hidden.
	Mounts []Mount
	// Listen are addresses of the program's own network (Own), as "169.254.169.254:80",
	// on which we answer: Process.Listener.
	Listen []string
	// Sealed makes all that the program finds read-only but what Mounts give it, and hides
	// /run, where the sockets are by which programs of the same user are asked to do things.
	Sealed bool
	// Unprivileged has the program run as nobody when we are root.
	Unprivileged bool
	// Apart has it run on the second half of the server's cores, where the server does not
	// when it waits for it: see cores.Confine.
	Apart bool `json:"-"`

	// Limits. Zero: none.
	Memory    int64 // bytes of address space
	Data      int64 // bytes of memory of its own
	Files     int   // open at once
	Written   int64 // bytes that one file may grow to
	Processes int   // of its user, at once
}

// A Mount is a directory, and where the program finds it: an existing directory.
type Mount struct {
	From, To string
	ReadOnly bool
}

// A Command is one more program in the namespaces of one that runs, with its user and its
// limits: Process.Exec, Run.Exec.
type Command struct {
	Path string   // absolute
	Args []string // without the program's name
	Env  []string // nil: the program's
	Dir  string   // "": the program's

	// Standard files, which stay the caller's to close. nil: nothing to read, and what is written is dropped.
	Stdin, Stdout, Stderr *os.File `json:"-"`
	// Terminal makes Stdin, the end of a terminal, the one that controls the command.
	Terminal bool
}

// Nobody is the user and group that an Unprivileged program runs as when we are root.
const Nobody = 65534

// startWait is how long a keeper may take to make the listeners.
const startWait = 20 * time.Second

// stopWait is how long a program that is told to stop may take before it is killed.
const stopWait = 5 * time.Second
