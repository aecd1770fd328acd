package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/iamd-dev/iamd/internal/plainhttp"
)

func newServe() *cobra.Command {
	s := &settings{}
	cmd := &cobra.Command{
		Use:   "serve [flags]",
		Short: "Run the server",
		Long: `Serve answers AWS clients until it is interrupted.

The first start makes the accounts, each with a root access key, and writes the
keys to DIR/credentials. IAMD_ROOT_ACCESS_KEY_ID and IAMD_ROOT_SECRET_ACCESS_KEY
in the environment set the first account's root key instead; changed values
replace it. DOCKER_HOST names the engine's socket for --workloads=docker; without,
it is /var/run/docker.sock.

When it serves it prints one line on standard output,

  iamd is ready at http://HOST:PORT

and nothing else; what it has to say meanwhile goes to standard error.`,
		Example: `  iamd serve
  iamd serve --listen 127.0.0.1:0 --data ./data
  iamd serve --account 111122223333 --account 444455556666
  iamd serve --listen :4600 --tls-cert cert.pem --tls-key key.pem
  iamd serve --config /etc/iamd.yaml

A configuration file has the names of the flags:

  listen: 0.0.0.0:4600
  account: ["111122223333", "444455556666"]
  tls-cert: /etc/iamd/cert.pem
  tls-key: /etc/iamd/key.pem
  trusted-proxies: [10.0.0.0/8]
  etcd:
    endpoints: [https://etcd-1:2379, https://etcd-2:2379, https://etcd-3:2379]
    ca: /etc/iamd/etcd-ca.pem`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.read(cmd.Flags()); err != nil {
				return err
			}
			if err := s.check(os.Getenv); err != nil {
				return err
			}
			log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			s.processors = newProcessors()
			memory := newHeap()
			return serve(cmd.Context(), s, log, func(url string, _ *house) {
				memory.ask()
				go memory.keep(cmd.Context())
				fmt.Fprintf(cmd.OutOrStdout(), "iamd is ready at %s\n", url)
			})
		},
	}
	s.register(cmd.Flags())
	cmd.MarkFlagDirname("data")
	cmd.MarkFlagFilename("config", "yaml", "yml")
	cmd.MarkFlagFilename("tls-cert", "pem", "crt")
	cmd.MarkFlagFilename("tls-key", "pem", "key")
	for _, f := range []string{"etcd-ca", "etcd-cert", "etcd-key"} {
		cmd.MarkFlagFilename(f, "pem", "crt", "key")
	}
	cmd.MarkFlagFilename("etcd-password-file")
	cmd.RegisterFlagCompletionFunc("etcd-endpoints", cobra.NoFileCompletions)
	cmd.RegisterFlagCompletionFunc("etcd-username", cobra.NoFileCompletions)
	cmd.RegisterFlagCompletionFunc("audit-sync", cobra.FixedCompletions([]string{syncCredentials, syncAlways}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// How patient the server is. There is no limit on the time that a whole request or
// answer takes, because objects may be large and networks slow; but a body whose
// next byte does not come is given up.
const (
	headerTimeout  = 10 * time.Second
	bodyTimeout    = time.Minute
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10 // S3's metadata, a session token and a presigned query fit many times
	drainTimeout   = 10 * time.Second
)

// serve opens the house, answers until ctx ends, and closes it: the listener
// first, then the calls in flight, then the stores. ready is told the URL as soon
// as calls are answered.
func serve(ctx context.Context, s *settings, log *slog.Logger, ready func(url string, h *house)) (err error) {
	certificates, err := s.certificates()
	if err != nil {
		return err
	}
	h, err := openHouse(ctx, s, log)
	if err != nil {
		return err
	}
	background, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { h.keep(background) })
	defer func() {
		stop()
		running.Wait()
		err = errors.Join(err, h.Close())
	}()

	listener, err := net.Listen("tcp", s.listen)
	if err != nil {
		return fmt.Errorf("opening %s: %w", s.listen, err)
	}
	url := s.url(listener.Addr())
	if h.issuer.Base == "" {
		h.issuer.Base = url
	}
	listener = sparing{listener}
	if certificates != nil {
		listener = tls.NewListener(listener, certificates)
	} else if a, err := netip.ParseAddrPort(listener.Addr().String()); err == nil && !a.Addr().IsLoopback() {
		log.Warn("others can read what passes over this network: give --tls-cert and --tls-key, or listen on loopback", "listen", listener.Addr().String())
	}
	answer := s.processors.counted(h.server)
	others := &http.Server{
		Handler:           impatient(answer),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // what peers do wrong
	}
	var web interface {
		Serve(net.Listener) error
		Shutdown(context.Context) error
		Close() error
	} = others
	if certificates == nil { // beside what TLS costs, and HTTP/2, the short way is none
		web = &plainhttp.Server{Handler: answer, Others: others}
	}
	served := make(chan error, 1)
	running.Go(func() { served <- web.Serve(listener) })
	defer web.Close()

	address := filepath.Join(s.data, "address")
	if err := replaceFile(address, []byte(url+"\n")); err != nil {
		return fmt.Errorf("writing the address: %w", err)
	}
	defer os.Remove(address)
	ready(url, h)

	select {
	case err := <-served:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	log.Info("stopping")
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := web.Shutdown(drain); err != nil {
		log.Warn("calls in flight were cut off", "after", drainTimeout)
	}
	return nil
}

// impatient serves by h, and gives bodies up that stop coming.
func impatient(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = &impatientBody{r.Body, w}
		}
		h.ServeHTTP(w, r)
	})
}

// An impatientBody gives the peer bodyTimeout for each piece.
type impatientBody struct {
	io.ReadCloser
	w http.ResponseWriter
}

func (b *impatientBody) Read(p []byte) (int, error) {
	if err := b.until(time.Now().Add(bodyTimeout)); err != nil {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil { // after the body, net/http waits on the connection for as long as the call takes
		b.until(time.Time{})
	}
	return n, err
}

func (b *impatientBody) until(t time.Time) error {
	if w, ok := b.w.(interface{ SetReadDeadline(time.Time) error }); ok { // net/http's own, without an allocation
		return w.SetReadDeadline(t)
	}
	return http.NewResponseController(b.w).SetReadDeadline(t)
}

// url is how clients on this machine reach the listener.
func (s *settings) url(addr net.Addr) string {
	host, _, _ := net.SplitHostPort(s.listen)
	_, port, _ := net.SplitHostPort(addr.String())
	switch ip, err := netip.ParseAddr(host); {
	case host == "":
		host = "127.0.0.1"
	case err == nil && ip.IsUnspecified() && ip.Is4():
		host = "127.0.0.1"
	case err == nil && ip.IsUnspecified():
		host = "::1"
	}
	scheme := "http://"
	if s.tlsCert != "" {
		scheme = "https://"
	}
	return scheme + net.JoinHostPort(host, port)
}

// certificates is the TLS configuration; nil without TLS.
func (s *settings) certificates() (*tls.Config, error) {
	if s.tlsCert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(s.tlsCert, s.tlsKey)
	if err != nil {
		return nil, usageError{fmt.Errorf("reading --tls-cert and --tls-key: %w", err)}
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}
