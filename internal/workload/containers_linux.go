package workload

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/iamd-dev/iamd/internal/docker"
)

// keepNetwork is the life of the keeper of a network of containers. It is alone in its
// container: it makes the listeners, hands them out, and ends with whoever has them.
func keepNetwork() (int, error) {
	control, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Net: "unixpacket", Name: networkDir + "/" + networkSocket})
	if err != nil {
		return cannotRun, err
	}
	control.SetDeadline(time.Now().Add(startWait))
	text := make([]byte, maxQuestion)
	n, err := control.Read(text)
	if err != nil {
		return cannotRun, fmt.Errorf("reading where to listen: %w", err)
	}
	var addresses []string
	if err := json.Unmarshal(text[:n], &addresses); err != nil {
		return cannotRun, fmt.Errorf("reading where to listen: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return cannotRun, fmt.Errorf("bringing up the loopback interface: %w", err)
	}
	if err := listenInside(control, addresses); err != nil {
		return cannotRun, err
	}
	control.SetDeadline(time.Time{})
	control.Read(text) // until it is closed, by us or by our end
	return 0, nil
}

// linked are the files that an executable needs to run: none if it is linked statically,
// and otherwise what its loader finds.
func linked(path string) ([]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the executable: %w", err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		text, err := io.ReadAll(p.Open())
		if err != nil {
			return nil, fmt.Errorf("reading the executable: %w", err)
		}
		loader := string(bytes.TrimRight(text, "\x00"))
		list, err := (&exec.Cmd{Path: loader, Args: []string{loader, "--list", path}, Env: []string{}}).Output()
		if err != nil {
			return nil, fmt.Errorf("asking %s what this program is linked with (CGO_ENABLED=0 go build makes one that is not): %w", loader, err)
		}
		files := []string{loader}
		for line := range strings.Lines(string(list)) { // name => path (address)
			_, found, ok := strings.Cut(line, " => ")
			if path, _, _ := strings.Cut(strings.TrimSpace(found), " ("); ok && path != loader {
				files = append(files, path)
			}
		}
		return files, nil
	}
	return nil, nil
}

// A reaping is what a reaper is told.
type reaping struct{ Host, Dir string }

// A reaper is a program that removes a host's containers when the host is gone.
type reaper struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
}

// startReaper starts a reaper. It lives until it is closed, or we die.
func startReaper(host, dir string) (io.Closer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding the executable: %w", err)
	}
	r := &reaper{cmd: &exec.Cmd{Path: self, Args: []string{reapName}, Env: []string{}, Dir: "/", Stderr: os.Stderr,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true}}} // what a terminal sends to us does not end it
	if r.stdin, err = r.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting what removes containers when we are gone: %w", err)
	}
	if err := json.NewEncoder(r.stdin).Encode(reaping{host, dir}); err != nil {
		r.Close()
		return nil, fmt.Errorf("telling what removes containers when we are gone: %w", err)
	}
	return r, nil
}

// Close ends the reaper and returns when it is gone.
func (r *reaper) Close() error {
	r.stdin.Close()
	return r.cmd.Wait()
}

// reap is the life of a reaper.
func reap() (int, error) {
	var what reaping
	d := json.NewDecoder(os.Stdin)
	if err := d.Decode(&what); err != nil {
		return cannotRun, fmt.Errorf("reading whose containers to remove: %w", err)
	}
	io.Copy(io.Discard, os.Stdin) // until whoever started us is gone
	ctx, cancel := context.WithTimeout(context.Background(), engineQuick)
	defer cancel()
	for {
		engine, err := docker.Connect(ctx, what.Host)
		if err == nil {
			err = removeContainers(ctx, engine, what.Dir)
		}
		if err == nil {
			return 0, nil
		}
		select { // nobody comes after us, and an engine may be in the middle of noticing ends
		case <-time.After(reapAgain):
		case <-ctx.Done():
			return cannotRun, fmt.Errorf("removing containers: %w", err)
		}
	}
}

// reapAgain is how long a reaper waits before it tries again.
const reapAgain = 500 * time.Millisecond
