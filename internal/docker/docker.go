// Package docker asks an engine on this machine to run containers, by Docker's Engine API:
// Docker's own engine, or another that speaks it.
//
//	c, err := docker.Connect(ctx, os.Getenv("DOCKER_HOST"))
//	err = c.Pull(ctx, "public.ecr.aws/docker/library/busybox:stable")
//	id, err := c.Create(ctx, "greeter", &docker.Config{Image: "busybox", Cmd: []string{"echo", "hello"}})
//	output, err := c.Attach(ctx, id)
//	err = c.Start(ctx, id)
//	docker.Copy(os.Stdout, output)
//	code, err := c.Wait(ctx, id)
//	err = c.Remove(ctx, id)
//
// It has the few calls that workloads need. What an engine refuses is an *Error with its words.
package docker

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// DefaultHost is where an engine is when nobody says otherwise.
const DefaultHost = "unix:///var/run/docker.sock"

// newest is the newest version of the API that this package was written for. Older ones
// have what it asks for, too, from 1.41 on (Docker 20.10).
const newest = "1.44"

// Quick is how long an engine may take for what does not wait for anybody else.
const quick = 2 * time.Minute

// A Client asks one engine. Its methods may be called from many goroutines.
type Client struct {
	host    string
	socket  string
	version string
	http    http.Client
}

// Connect finds the engine at a host as DOCKER_HOST names it, "" for DefaultHost, and
// agrees with it on a version of the API. The engine must be on this machine, behind a
// socket: what runs in it is met in its network.
func Connect(ctx context.Context, host string) (*Client, error) {
	host = cmp.Or(host, DefaultHost)
	socket, ok := strings.CutPrefix(host, "unix://")
	if !ok || !strings.HasPrefix(socket, "/") {
		return nil, fmt.Errorf("the engine at %s is not behind a socket of this machine, as %s is", host, DefaultHost)
	}
	c := &Client{host: host, socket: socket}
	c.http.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := c.ask(ctx, http.MethodGet, "/_ping", nil, nil)
	if err != nil {
		return nil, fmt.Errorf("no engine answers at %s: %w", host, err)
	}
	r.Body.Close()
	if system := r.Header.Get("Ostype"); system != "" && system != "linux" {
		return nil, fmt.Errorf("the engine at %s runs containers of %s, and not of Linux", host, system)
	}
	theirs := r.Header.Get("Api-Version")
	if theirs == "" {
		return nil, fmt.Errorf("what answers at %s is no engine: it names no version of Docker's API", host)
	}
	c.version = newest
	if older(theirs, newest) {
		c.version = theirs
	}
	return c, nil
}

// older compares versions such as 1.9 and 1.41.
func older(a, b string) bool {
	majorA, minorA, _ := strings.Cut(a, ".")
	majorB, minorB, _ := strings.Cut(b, ".")
	n := func(text string) int { n, _ := strconv.Atoi(text); return n }
	return cmp.Or(n(majorA)-n(majorB), n(minorA)-n(minorB)) < 0
}

// Host is the engine's, as DOCKER_HOST would name it.
func (c *Client) Host() string { return c.host }

// Socket is the path of the engine's socket.
func (c *Client) Socket() string { return c.socket }

// An Error is what an engine answered in place of doing what it was asked for.
type Error struct {
	Status  int
	Message string
}

// Error is worded as Docker's own command words it, which AWS shows in the reasons of tasks.
func (e *Error) Error() string { return "Error response from daemon: " + e.Message }

// NotFound tells whether an error is that what was asked about is not there.
func NotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusNotFound
}

// ask sends a request, whose body is a reader or is encoded, and returns the answer
// unless it is an error.
func (c *Client) ask(ctx context.Context, method, path string, query url.Values, body any) (*http.Response, error) {
	var content io.Reader
	kind := "application/json"
	switch b := body.(type) {
	case nil:
	case io.Reader:
		content, kind = b, "application/x-tar"
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(text)
	}
	u := url.URL{Scheme: "http", Host: "docker", Path: path, RawQuery: query.Encode()}
	if c.version != "" {
		u.Path = "/v" + c.version + path
	}
	request, err := http.NewRequestWithContext(ctx, method, u.String(), content)
	if err != nil {
		return nil, err
	}
	if content != nil {
		request.Header.Set("Content-Type", kind)
	}
	r, err := c.http.Do(request)
	if err != nil {
		var noise *url.Error // it would tell of an address that is none
		if errors.As(err, &noise) {
			err = noise.Err
		}
		return nil, err
	}
	if r.StatusCode < 400 {
		return r, nil
	}
	defer r.Body.Close()
	var refusal struct{ Message string }
	text, _ := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if json.Unmarshal(text, &refusal) != nil || refusal.Message == "" {
		refusal.Message = cmp.Or(strings.TrimSpace(string(text)), r.Status)
	}
	return nil, &Error{r.StatusCode, refusal.Message}
}

// call asks for what is done quickly, and decodes the answer if anybody wants it.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, quick)
	defer cancel()
	r, err := c.ask(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if answer == nil {
		_, err = io.Copy(io.Discard, r.Body)
		return err
	}
	if err := json.NewDecoder(r.Body).Decode(answer); err != nil {
		return fmt.Errorf("reading the engine's answer: %w", err)
	}
	return nil
}

// An Image is what an engine knows of one.
type Image struct {
	ID          string `json:"Id"`
	RepoDigests []string
}

// Image finds an image that the engine has.
func (c *Client) Image(ctx context.Context, name string) (*Image, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	var image Image
	err := c.call(ctx, http.MethodGet, "/images/"+name+"/json", nil, nil, &image)
	return &image, err
}

// Pull has the engine fetch an image from its registry, with nobody's credentials.
func (c *Client) Pull(ctx context.Context, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	from, tag := split(name)
	return c.makeImage(ctx, url.Values{"fromImage": {from}, "tag": {tag}}, nil)
}

// Import makes an image of the files of a tar.
func (c *Client) Import(ctx context.Context, name string, files io.Reader) error {
	return c.makeImage(ctx, url.Values{"fromSrc": {"-"}, "repo": {name}}, files) // Podman 4 takes a tag nowhere else
}

// makeImage returns when the engine has told all that it does.
func (c *Client) makeImage(ctx context.Context, query url.Values, body any) error {
	r, err := c.ask(ctx, http.MethodPost, "/images/create", query, body)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	for d := json.NewDecoder(r.Body); ; {
		var progress struct{ Error string }
		switch err := d.Decode(&progress); {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("reading how far the engine is: %w", err)
		case progress.Error != "":
			return &Error{r.StatusCode, progress.Error}
		}
	}
}

// imageName is the grammar of references to images (distribution, reference.Grammar). A name
// stands in the paths of calls: nothing else may.
var imageName = regexp.MustCompile(`^([a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]+)?/)?` +
	`[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*` +
	`(:[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127})?(@[a-z0-9]+:[0-9a-f]{32,})?$`)

// CheckName says whether a text names an image.
func CheckName(name string) error {
	if len(name) > 512 || !imageName.MatchString(name) {
		return fmt.Errorf("invalid reference format: %q", name)
	}
	return nil
}

// split parts an image's name from its tag, which is its digest if it has one. An engine
// that is asked for no tag fetches them all.
func split(name string) (repository, tag string) {
	name, digest, _ := strings.Cut(name, "@")
	tag = "latest"
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, tag = name[:i], name[i+1:]
	}
	return name, cmp.Or(digest, tag)
}

// A Config is what a container is to be, in the API's words. What would give it something
// of the machine has no place here but Mounts and CapAdd.
type Config struct {
	Image       string
	Entrypoint  []string          `json:",omitempty"` // nil: the image's
	Cmd         []string          `json:",omitempty"` // nil: the image's, if the entry point is too
	Env         []string          `json:",omitempty"` // beside the image's
	WorkingDir  string            `json:",omitempty"`
	User        string            `json:",omitempty"`
	Labels      map[string]string `json:",omitempty"`
	Tty         bool              `json:",omitempty"`
	OpenStdin   bool              `json:",omitempty"`
	Healthcheck *Healthcheck      `json:",omitempty"` // nil: the image's
	HostConfig  HostConfig
}

// A Healthcheck is how an engine finds out about a container; the Test NONE is that it does not.
type Healthcheck struct{ Test []string }

// A HostConfig is what a container is to the machine.
type HostConfig struct {
	NetworkMode       string
	LogConfig         LogConfig
	SecurityOpt       []string          `json:",omitempty"`
	CapAdd            []string          `json:",omitempty"`
	CapDrop           []string          `json:",omitempty"`
	Mounts            []Mount           `json:",omitempty"`
	Tmpfs             map[string]string `json:",omitempty"` // options by path
	ReadonlyRootfs    bool              `json:",omitempty"`
	Init              bool              `json:",omitempty"` // a first process that buries orphans
	ShmSize           int64             `json:",omitempty"`
	Memory            int64             `json:",omitempty"` // bytes
	MemoryReservation int64             `json:",omitempty"`
	MemorySwap        int64             `json:",omitempty"` // bytes of memory and swap together
	CPUShares         int64             `json:"CpuShares,omitempty"`
	CPUPeriod         int64             `json:"CpuPeriod,omitempty"` // microseconds
	CPUQuota          int64             `json:"CpuQuota,omitempty"`  // microseconds of each period
	PidsLimit         int64             `json:",omitempty"`
	Ulimits           []Ulimit          `json:",omitempty"`
	Sysctls           map[string]string `json:",omitempty"`
}

// A LogConfig says who keeps a container's output; the Type none is that nobody does.
type LogConfig struct{ Type string }

// A Mount is a file or a directory of the machine in a container.
type Mount struct {
	Type           string // bind
	Source, Target string
	ReadOnly       bool
}

// A Ulimit is a limit of a container's processes.
type Ulimit struct {
	Name       string
	Soft, Hard int64
}

// Create makes a container that does not run yet.
func (c *Client) Create(ctx context.Context, name string, config *Config) (id string, err error) {
	if err := CheckName(config.Image); err != nil {
		return "", err
	}
	var made struct{ ID string }
	err = c.call(ctx, http.MethodPost, "/containers/create", url.Values{"name": {name}}, config, &made)
	return made.ID, err
}

// Start has a container run.
func (c *Client) Start(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodPost, "/containers/"+id+"/start", nil, nil, nil)
}

// Stop asks a container to end, has the engine kill it after a while, and returns when it has ended.
func (c *Client) Stop(ctx context.Context, id string, after time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, after+quick)
	defer cancel()
	r, err := c.ask(ctx, http.MethodPost, "/containers/"+id+"/stop", url.Values{"t": {strconv.Itoa(int(after / time.Second))}}, nil)
	if err != nil {
		return err
	}
	return r.Body.Close()
}

// Kill ends a container.
func (c *Client) Kill(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodPost, "/containers/"+id+"/kill", nil, nil, nil)
}

// Wait waits for the end of a container that was started and returns its exit code.
func (c *Client) Wait(ctx context.Context, id string) (int, error) {
	r, err := c.ask(ctx, http.MethodPost, "/containers/"+id+"/wait", nil, nil)
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	var ended struct {
		StatusCode int
		Error      *struct{ Message string }
	}
	if err := json.NewDecoder(r.Body).Decode(&ended); err != nil {
		return 0, fmt.Errorf("waiting for a container: %w", err)
	}
	if ended.Error != nil && ended.Error.Message != "" {
		return ended.StatusCode, errors.New(ended.Error.Message)
	}
	return ended.StatusCode, nil
}

// A State is how a container is.
type State struct {
	Running   bool
	OOMKilled bool // it had no memory left
	ExitCode  int
	Error     string
}

// State tells how a container is.
func (c *Client) State(ctx context.Context, id string) (*State, error) {
	var container struct{ State State }
	err := c.call(ctx, http.MethodGet, "/containers/"+id+"/json", nil, nil, &container)
	return &container.State, err
}

// Remove kills a container if it runs, and removes it with all that it wrote.
func (c *Client) Remove(ctx context.Context, id string) error {
	// Podman would wait for it to stop, and does not remove what is about to end. That it
	// cannot be killed because it does not run is as good.
	if c.Kill(ctx, id) == nil {
		ending, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		c.Wait(ending, id)
	}
	return c.call(ctx, http.MethodDelete, "/containers/"+id, url.Values{"force": {"1"}, "v": {"1"}}, nil, nil)
}

// List lists the containers that have a label, "name=value", also those that do not run.
func (c *Client) List(ctx context.Context, label string) ([]string, error) {
	filter, err := json.Marshal(map[string][]string{"label": {label}})
	if err != nil {
		return nil, err
	}
	var all []struct{ ID string }
	if err := c.call(ctx, http.MethodGet, "/containers/json", url.Values{"all": {"1"}, "filters": {string(filter)}}, nil, &all); err != nil {
		return nil, err
	}
	var ids []string
	for _, one := range all {
		ids = append(ids, one.ID)
	}
	return ids, nil
}

// Attach gives what a container writes from now on, until it ends: for Copy, unless it
// has a terminal.
func (c *Client) Attach(ctx context.Context, id string) (io.ReadCloser, error) {
	r, err := c.ask(ctx, http.MethodPost, "/containers/"+id+"/attach", url.Values{"stream": {"1"}, "stdout": {"1"}, "stderr": {"1"}}, nil)
	if err != nil {
		return nil, err
	}
	return r.Body, nil
}

// Copy takes apart what Attach gives, in which each piece has a header of eight bytes:
// which of the two outputs it is of, and its length. It writes both.
func Copy(to io.Writer, attached io.Reader) error {
	var header [8]byte
	for {
		switch _, err := io.ReadFull(attached, header[:]); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		if _, err := io.CopyN(to, attached, int64(binary.BigEndian.Uint32(header[4:]))); err != nil {
			return err
		}
	}
}
