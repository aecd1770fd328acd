package ec2

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/ec2/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/imds"
	"github.com/iamd-dev/iamd/internal/servicerole"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/workload"
)

// Machines are what runs of the instances. Its methods may be called from many goroutines.
type Machines struct {
	DB    *store.DB
	Roles *servicerole.Roles
	Host  *workload.Host
	Dir   string // of the disks of instances that do not run; it lies where Host.Dir does
	Log   *slog.Logger
	Now   func() time.Time

	// Agent runs in every instance, for as long as it runs: ctx ends with it. nil: nothing does.
	Agent func(ctx context.Context, g *Guest)

	mu     sync.Mutex
	byID   map[string]*machine // by Instance.at
	closed bool
	work   sync.WaitGroup
}

// A Guest is an instance that runs, for an agent in it.
type Guest struct {
	ID, Account, Region string
	ARN                 arn.ARN
	IP, Hostname        string
	// Credentials are those of the instance's role at the moment: see imds.
	Credentials func(context.Context) (*servicerole.Credentials, error)
	// Exec runs a command in the instance.
	Exec func(workload.Command) (*workload.Execution, error)
}

// ErrNoRole says that an instance has no profile, or its profile no role.
var ErrNoRole = errors.New("the instance has no role")

var errClosed = errors.New("the server is stopping")

// A machine is what runs of one instance, or has run.
type machine struct {
	*Machines
	at      string
	console console

	changing sync.Mutex // held while it is started, stopped or terminated
	run      *workload.Run
	expected bool // that run ends
	cancel   context.CancelFunc

	mu       sync.Mutex
	provider *servicerole.Provider
	about    string // what the provider is for: association and role
}

// able says why no instance can run here; nil when one can.
func (m *Machines) able() error {
	if m.Host.Off != nil {
		return api.Unsupported("Instances do not run here: %v", m.Host.Off)
	}
	return nil
}

func (m *Machines) machine(at string) *machine {
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.byID[at]
	if x == nil {
		if m.byID == nil {
			m.byID = map[string]*machine{}
		}
		x = &machine{Machines: m, at: at}
		m.byID[at] = x
	}
	return x
}

// each does something with the machines of instances, at once, and waits for the end of it.
func (m *Machines) each(all []*Instance, f func(*machine, *Instance)) {
	var wg sync.WaitGroup
	for _, i := range all {
		wg.Go(func() {
			x := m.machine(i.at())
			x.changing.Lock()
			defer x.changing.Unlock()
			f(x, i)
		})
	}
	wg.Wait()
}

// start starts instances that are pending.
func (m *Machines) start(all []*Instance) {
	m.each(all, func(x *machine, i *Instance) {
		err := x.boot(i)
		if errors.Is(err, errClosed) {
			return // Recover sees to it
		}
		x.settle(func(now *Instance) bool {
			if now.State != pending {
				return false
			}
			now.State = running
			if err != nil {
				m.Log.Error("an instance could not be started", "instance", i.ID, "error", err)
				now.State, now.Ended, now.Profile = terminated, m.Now().UTC(), nil
				now.reason(byFault, "Internal error on launch", m.Now())
			}
			return true
		})
	})
}

// stop stops instances that are to be stopped or terminated.
func (m *Machines) stop(all []*Instance, then string) {
	m.each(all, func(x *machine, i *Instance) {
		x.halt(then == stopped)
		x.settle(func(now *Instance) bool {
			if now.State == terminated || then == stopped && now.State != stopping {
				return false
			}
			now.State = then
			return true
		})
		if then == terminated {
			os.RemoveAll(x.disk())
		}
	})
}

func (m *Machines) reboot(all []*Instance) {
	m.each(all, func(x *machine, i *Instance) {
		if x.run == nil {
			return
		}
		x.halt(true)
		if err := x.boot(i); err != nil && !errors.Is(err, errClosed) {
			m.Log.Error("an instance could not be started again", "instance", i.ID, "error", err)
			x.settle(func(now *Instance) bool {
				now.State = stopped
				now.reason(byFault, "Internal error on launch", m.Now())
				return true
			})
		}
	})
}

// settle writes what has become of the instance, unless f sees that something else has.
// It is done whoever has gone away meanwhile.
func (x *machine) settle(f func(*Instance) bool) {
	err := x.DB.Update(context.Background(), func(tx *store.Tx) error {
		if i := instanceTable.Get(tx, x.at); i != nil && f(i) {
			instanceTable.Put(tx, x.at, i)
		}
		return nil
	})
	if err != nil {
		x.Log.Error("the state of an instance could not be kept", "instance", x.at, "error", err)
	}
}

// disk is where the instance's disk is while it does not run.
func (x *machine) disk() string { return filepath.Join(x.Dir, filepath.Base(x.at)) }

// runData runs what it reads as a script and leaves nothing of it: user data may hold
// secrets, and the disk outlives the instance's run.
const runData = `umask 077; f=$(mktemp "${TMPDIR:-/tmp}/user-data.XXXXXX") && cat >"$f" && chmod 700 "$f" || exit 1; "$f" </dev/null; r=$?; rm -f "$f"; exit $r`

// boot runs the instance. Its first program does nothing; its user data, at the first
// boot, and what an agent is asked for are commands beside it.
func (x *machine) boot(i *Instance) error {
	x.Machines.mu.Lock()
	if x.closed {
		x.Machines.mu.Unlock()
		return errClosed
	}
	x.work.Add(1) // so that Close waits, and nothing begins after it
	x.Machines.mu.Unlock()
	defer x.work.Done()
	data, script, err := userData(i.UserData)
	if err != nil {
		return err
	}
	shell, err := x.Host.LookPath("sh")
	if err != nil {
		return err
	}
	first := false
	run, err := x.Host.Run(context.Background(), workload.Job{
		Kind: "ec2", Name: i.ID,
		Fill: func(dir string) error {
			if _, err := os.Lstat(x.disk()); err == nil {
				if err := os.Remove(dir); err != nil {
					return err
				}
				return os.Rename(x.disk(), dir)
			}
			first = true
			return nil
		},
		Path: shell, Args: []string{"-c", "while :; do sleep 86400; done"},
		Env:    []string{"HOME=" + workload.TaskDir, "AWS_REGION=" + i.Region, "AWS_DEFAULT_REGION=" + i.Region},
		Serve:  map[string]http.Handler{imds.Address: imds.New(x.describe, x.credentials, x.Now)},
		Output: &x.console,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	x.run, x.expected, x.cancel = run, false, cancel
	x.mu.Lock()
	x.provider = nil
	x.mu.Unlock()
	x.work.Go(func() { x.watch(run, cancel) })
	if first && script {
		x.work.Go(func() { x.script(run, shell, data) })
	}
	if x.Agent != nil {
		x.work.Go(func() {
			x.Agent(ctx, &Guest{ID: i.ID, Account: i.Account, Region: i.Region, ARN: i.ARN(), IP: i.IP, Hostname: i.hostname(), Credentials: x.credentials, Exec: run.Exec})
		})
	}
	return nil
}

// script runs the user data, and says how it ended.
func (x *machine) script(run *workload.Run, shell string, data []byte) {
	var files [4]*os.File // two pipes: what is read, and what is written
	for i := 0; i < len(files); i += 2 {
		read, write, err := os.Pipe()
		if err != nil {
			fmt.Fprintf(&x.console, "[user data could not be run: %v]\n", err)
			return
		}
		files[i], files[i+1] = read, write
		defer read.Close()
		defer write.Close()
	}
	e, err := run.Exec(workload.Command{Path: shell, Args: []string{"-c", runData}, Stdin: files[0], Stdout: files[3], Stderr: files[3]})
	files[0].Close()
	files[3].Close()
	if err != nil {
		fmt.Fprintf(&x.console, "[user data could not be run: %v]\n", err)
		return
	}
	var copying sync.WaitGroup
	copying.Go(func() { files[1].Write(data); files[1].Close() })
	copying.Go(func() { x.console.ReadFrom(files[2]) }) // what the script left in the background may write on
	if code, err := e.Wait(); err == nil {
		fmt.Fprintf(&x.console, "[user data ended with exit status %d]\n", code)
	}
	copying.Wait()
}

// watch waits for the end of what runs. Where nobody has asked for it, the instance has
// shut itself down.
func (x *machine) watch(run *workload.Run, cancel context.CancelFunc) {
	<-run.Done()
	cancel()
	x.changing.Lock()
	defer x.changing.Unlock()
	if x.run != run || x.expected {
		return
	}
	x.halt(true)
	x.settle(func(i *Instance) bool {
		if i.State != running && i.State != pending {
			return false
		}
		i.State = stopped
		if i.Shutdown == "terminate" {
			i.State, i.Ended, i.Profile = terminated, x.Now().UTC(), nil
			os.RemoveAll(x.disk())
		}
		i.reason(byItself, "Instance initiated shutdown", x.Now())
		return true
	})
}

// halt ends what runs, and keeps its disk.
func (x *machine) halt(keep bool) {
	run := x.run
	if run == nil {
		return
	}
	x.expected = true
	if keep {
		run.Stop()
	}
	run.Kill()
	x.cancel()
	x.run = nil
	if keep {
		if err := x.save(run); err != nil {
			x.Log.Error("the disk of an instance could not be kept", "instance", x.at, "error", err)
		}
	}
	if err := run.Remove(); err != nil {
		x.Log.Error("what an instance left could not be removed", "instance", x.at, "error", err)
	}
}

func (x *machine) save(run *workload.Run) error {
	if err := os.MkdirAll(x.Dir, 0o700); err != nil {
		return err
	}
	if err := os.RemoveAll(x.disk()); err != nil {
		return err
	}
	return os.Rename(filepath.Join(run.Dir(), "task"), x.disk())
}

// Close stops all instances, whose disks are kept. The store goes on saying that they
// run, until Recover.
func (m *Machines) Close() {
	m.mu.Lock()
	m.closed = true
	var all []*machine
	for _, x := range m.byID {
		all = append(all, x)
	}
	m.mu.Unlock()
	var wg sync.WaitGroup
	for _, x := range all {
		wg.Go(func() {
			x.changing.Lock()
			defer x.changing.Unlock()
			x.halt(true)
		})
	}
	wg.Wait()
	m.work.Wait()
}

// describe is what the instance is told of itself.
func (x *machine) describe() *imds.Instance {
	state := x.DB.View()
	i := instanceTable.Get(state, x.at)
	if i == nil || i.State == terminated {
		return nil
	}
	data, _ := base64.StdEncoding.DecodeString(i.UserData)
	d := &imds.Instance{
		ID: i.ID, Type: i.Type, Image: i.Image, Reservation: i.Reservation, LaunchIndex: i.Index, Architecture: architecture(),
		Account: i.Account, Region: i.Region, Zone: i.Zone, ZoneID: zoneID(i.Zone), PrivateIP: i.IP, Hostname: i.hostname(),
		Launched: i.Launched, UserData: data, Tags: map[string]string{},
		Disabled: i.Options.Endpoint == "disabled", TokenRequired: i.Options.Tokens != "optional", ShowTags: i.Options.Tags == "enabled",
	}
	for _, t := range i.Tags {
		d.Tags[t.Key] = t.Value
	}
	if i.Profile != nil {
		d.Profile = &imds.Profile{ARN: i.Profile.ARN, ID: i.Profile.Profile}
		p := i.Profile.find(state)
		d.Profile.Gone = p == nil
		if p != nil {
			if role := roleOf(state, p); role != nil {
				d.Profile.Role = role.RoleName
			}
		}
	}
	return d
}

// find finds the profile; nil when it has been deleted, though there be another of its name.
func (a *Association) find(r store.Reader) *identity.Profile {
	ref := identity.IDs.Get(r, a.Profile)
	if ref == nil || ref.Kind != identity.ProfileKind {
		return nil
	}
	return identity.Profiles.Get(r, ref.Key)
}

// credentials are those of the role that the instance has at the moment.
func (x *machine) credentials(ctx context.Context) (*servicerole.Credentials, error) {
	state := x.DB.View()
	i := instanceTable.Get(state, x.at)
	if i == nil || i.Profile == nil {
		return nil, ErrNoRole
	}
	p := i.Profile.find(state)
	if p == nil {
		return nil, ErrNoRole
	}
	role := roleOf(state, p)
	if role == nil {
		return nil, ErrNoRole
	}
	x.mu.Lock()
	if is := i.Profile.ID + " " + role.RoleId; x.provider == nil || x.about != is {
		x.about = is
		x.provider = x.Roles.Provider(servicerole.Use{Role: arn.ARN(role.Arn), Service: Principal, Session: i.ID, For: i.ARN(), Region: i.Region, Parent: i.Profile.Request})
	}
	provider := x.provider
	x.mu.Unlock()
	return provider.Credentials(ctx)
}

// A console is the last of what an instance wrote to its output: AWS keeps 64 KB.
type console struct {
	mu      sync.Mutex
	text    []byte
	written time.Time
}

const mostConsole = 64 << 10

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text = append(c.text, p...)
	if n := len(c.text) - mostConsole; n > 0 {
		c.text = append(c.text[:0], c.text[n:]...)
	}
	c.written = time.Now()
	return len(p), nil
}

// ReadFrom writes what is in a file, until its end.
func (c *console) ReadFrom(f *os.File) {
	b := make([]byte, 4096)
	for {
		n, err := f.Read(b)
		c.Write(b[:n])
		if err != nil {
			return
		}
	}
}

func (c *console) read() (string, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.text), c.written
}
