// Package ssmagent is a small agent of Systems Manager, for instances that are workloads
// here: what amazon-ssm-agent is on AWS.
//
//	agent := &ssmagent.Agent{ID: "i-0123456789abcdef0", Region: "eu-west-1", Endpoint: iamd, Credentials: role, Exec: run.Exec, Shell: "/bin/sh"}
//	agent.Run(ctx) // until ctx ends
//
// It speaks AWS's wire and nothing else: HTTP requests, signed with the credentials of the
// instance's role, which are authorised and recorded as those of any agent are. Nothing of
// it knows that the server is in the same process; its connections are pipes.
//
// An agent goes on duty when all that it needs before a command comes is allowed:
// ec2messages:GetEndpoint, ec2messages:GetMessages and, last, ssm:UpdateInstanceInformation,
// which makes the instance a managed node. Where one is refused the instance is no node, and
// the agent asks again, at first soon, then every minute; at once when the instance has
// other credentials. Without a role it waits for one.
//
// On duty it keeps a control channel open (ssmmessages), on which it is told of sessions: a
// shell in a terminal, at the other end of a data channel. What Session Manager needs may be
// refused without harm to commands.
package ssmagent

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/iamd-dev/iamd/internal/servicerole"
	"github.com/iamd-dev/iamd/internal/sigv4"
	"github.com/iamd-dev/iamd/internal/wire"
	"github.com/iamd-dev/iamd/internal/workload"
)

// Version is the agent's: that of amazon-ssm-agent whose wire it speaks.
const Version = "3.3.0.0"

// An Agent is that of one instance.
type Agent struct {
	ID, Region   string
	IP, Hostname string
	Endpoint     http.Handler                                            // iamd
	Credentials  func(context.Context) (*servicerole.Credentials, error) // of the instance's role at the moment
	Exec         func(workload.Command) (*workload.Execution, error)     // runs a command in the instance
	Shell        string                                                  // of commands and sessions, as the instance finds it
	Now          func() time.Time                                        // nil: time.Now

	client  *http.Client
	dial    func(context.Context, string, string) (net.Conn, error)
	mu      sync.Mutex
	running map[string]*job // commands, by message id
	work    sync.WaitGroup
}

const (
	reportEvery = 5 * time.Minute
	soon        = time.Second      // before the first attempt after one that failed
	late        = 30 * time.Second // between attempts that go on failing
	look        = time.Second      // how often it looks whether the instance has other credentials
	timeout     = time.Minute      // of a call
)

// Run serves the instance until ctx ends, and ends what it has started.
func (a *Agent) Run(ctx context.Context) {
	pipes := &pipes{incoming: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: a.Endpoint}
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(pipes) })
	transport := &http.Transport{DialContext: pipes.dial}
	a.client, a.dial = &http.Client{Transport: transport}, pipes.dial
	a.running = map[string]*job{}
	defer func() {
		a.work.Wait()
		transport.CloseIdleConnections()
		server.Close()
		serving.Wait()
	}()

	for ctx.Err() == nil {
		if !a.report(ctx) {
			return
		}
		a.duty(ctx)
	}
}

// report tries until the instance is a managed node; false when ctx has ended.
func (a *Agent) report(ctx context.Context) bool {
	wait, tried := soon, ""
	for {
		c, err := a.Credentials(ctx)
		untrusted := errors.As(err, new(*wire.Error)) // EC2 cannot assume the role: each attempt is a call that is refused
		if err == nil {
			if c.AccessKeyID != tried {
				wait, tried = soon, c.AccessKeyID
			}
			if a.begin(ctx) == nil {
				return true
			}
		}
		if err != nil && !untrusted { // there is no role yet
			wait = look
		}
		for over := time.Now().Add(wait); time.Now().Before(over); {
			select {
			case <-ctx.Done():
				return false
			case <-time.After(min(look, wait)):
			}
			if untrusted {
				continue
			}
			if c, err := a.Credentials(ctx); err == nil && c.AccessKeyID != tried {
				break // with other credentials it may go at once
			}
		}
		wait = min(2*wait, late)
	}
}

// begin asks for what it will need, and reports last.
func (a *Agent) begin(ctx context.Context) error {
	var endpoint struct{ Endpoint string }
	if err := a.messages(ctx, "GetEndpoint", map[string]any{"Destination": a.ID}, &endpoint); err != nil {
		return err
	}
	if err := a.fetch(ctx); err != nil {
		return err
	}
	return a.ping(ctx)
}

// ping reports the instance.
func (a *Agent) ping(ctx context.Context) error {
	return a.call(ctx, "ssm", "AmazonSSM.UpdateInstanceInformation", map[string]any{
		"InstanceId": a.ID, "AgentName": "amazon-ssm-agent", "AgentStatus": "Active", "AgentVersion": Version,
		"PlatformType": "Linux", "PlatformName": "iamd", "PlatformVersion": runtime.GOARCH, "IPAddress": a.IP, "ComputerName": a.Hostname,
	}, nil)
}

// duty fetches messages and reports, until the one or the other is refused.
func (a *Agent) duty(ctx context.Context) {
	ctx, end := context.WithCancel(ctx)
	var reporting sync.WaitGroup
	defer reporting.Wait()
	defer end()
	reporting.Go(func() { a.sessions(ctx) })
	reporting.Go(func() {
		defer end()
		every := time.NewTicker(reportEvery)
		defer every.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-every.C:
				if a.ping(ctx) != nil {
					return
				}
			}
		}
	})
	for ctx.Err() == nil {
		if a.fetch(ctx) != nil {
			return
		}
	}
}

// fetch waits for messages and takes them on.
func (a *Agent) fetch(ctx context.Context) error {
	var out struct {
		Messages []message
	}
	if err := a.messages(ctx, "GetMessages", map[string]any{"Destination": a.ID, "MessagesRequestId": newUUID(), "VisibilityTimeoutInSeconds": 10}, &out); err != nil {
		return err
	}
	for _, m := range out.Messages {
		a.take(ctx, m)
	}
	return nil
}

// messages calls an operation of ec2messages.
func (a *Agent) messages(ctx context.Context, op string, in map[string]any, out any) error {
	return a.call(ctx, "ec2messages", "EC2WindowsMessageDeliveryService."+op, in, out)
}

// A refusal is the error that a service answered.
type refusal struct {
	Status  int
	Code    string
	Message string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s: %s", r.Status, r.Code, r.Message) }

// call calls an operation of a service that speaks JSON 1.1.
func (a *Agent) call(ctx context.Context, service, target string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, workload.Endpoint+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", target)
	if err := a.sign(ctx, r, service, body); err != nil {
		return err
	}
	resp, err := a.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		var e struct {
			Type    string `json:"__type"`
			Message string `json:"message"`
		}
		json.Unmarshal(text, &e) // what is no JSON is an error all the same
		return &refusal{resp.StatusCode, e.Type, e.Message}
	}
	if out == nil || len(text) == 0 {
		return nil
	}
	return json.Unmarshal(text, out)
}

// sign signs a request with the credentials of the instance's role.
func (a *Agent) sign(ctx context.Context, r *http.Request, service string, body []byte) error {
	c, err := a.Credentials(ctx)
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "amazon-ssm-agent/"+Version+" (iamd)")
	s := &sigv4.Signer{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey.Reveal(), SessionToken: c.SessionToken.Reveal(), Region: a.Region, Service: service}
	s.Sign(r, sigv4.Hash(body), a.now())
	return nil
}

func (a *Agent) now() time.Time {
	if a.Now != nil {
		return a.Now()
	}
	return time.Now()
}

// newUUID makes a random UUID.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// pipes are connections within the process, as a listener and who dials it.
type pipes struct {
	incoming chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.incoming <- from{there}:
		return here, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.incoming:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return address }

// A from is a connection that comes from where the calls of workloads come from.
type from struct{ net.Conn }

var address = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(workload.Address), 4600))

func (from) RemoteAddr() net.Addr { return address }
