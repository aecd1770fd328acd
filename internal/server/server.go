// Package server is the way of a request: route, authenticate, decode, Invoke,
// encode.
//
//	s, err := server.New(server.Config{DB: db, Keyring: keyring, Services: services, Audit: log, ...})
//	http.Serve(listener, s)
//
// The order of these steps stands in one place, serve, and every call goes
// through one function, Invoke, whoever makes it: authorise, record, do. What a
// caller may know of a failure leaves through one place too, writeError; what is
// our own fault becomes InternalFailure there and one line in the log.
//
// All services answer on one endpoint. The credential scope of the signature
// tells them apart; calls without a signature are told apart by their form.
// Beside them the server answers /healthz, /readyz and /metrics, and
// GET /authorization-details/{request id} (signing name iam-toolbox), which
// explains a past decision to the account that it concerned, and
// POST /authorization-details, which makes the call of a CloudTrail record again and
// decides it by the policies of now.
package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/iamd-dev/iamd/internal/audit"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/outbound"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/sigv4"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
)

// maxBody is the largest body of a call that is read whole before it is
// verified, unless its service says otherwise: every call but those of S3. A policy
// of 131,072 characters, each percent-encoded, fits.
const maxBody = 1 << 20

// maxDocument is the largest document of an S3 call: 10,000 parts to complete an
// upload of, with their checksums, or 1,000 keys of 1,024 bytes to delete.
const maxDocument = 4 << 20

// A Config is what a server is made of. All fields are needed unless they say otherwise.
type Config struct {
	DB        *store.DB
	Keyring   *identity.Keyring
	Services  []*service.Service
	Audit     *audit.Log
	Decisions *audit.Decisions
	Log       *slog.Logger     // nil: nothing is logged
	Now       func() time.Time // nil: time.Now

	// Inside is what the services call each other through. nil: none does.
	Inside *Inside
	// Channel answers WebSockets below ChannelPath that are opened without a signature: who
	// opens one proves by what they send through it that they may. nil: there are none.
	Channel http.Handler
	// Code answers GET below CodePath without a signature: who has such a URL may load what it
	// stands for, for a while. nil: there is no code.
	Code interface {
		http.Handler
		Has(path string) bool // whether the path is one that was given to somebody
	}
	// Issuer publishes the keys of accounts that issue tokens. nil: nothing is published.
	Issuer *outbound.Issuer

	// TrustedProxies are those whose X-Forwarded-For and X-Forwarded-Proto are
	// believed. Empty: nobody's.
	TrustedProxies []netip.Prefix
	// Hosts are names under which virtual-host style buckets are found, so that
	// bucket.NAME is the bucket. Hosts of the form bucket.s3.anything are found without.
	Hosts []string
	// MetricsToken is what a peer that is not on loopback must send as a bearer
	// token to read /metrics. Zero: only loopback reads it.
	MetricsToken identity.Secret
}

// ChannelPath begins the paths of the streams of Session Manager.
const ChannelPath = "/v1/data-channel/"

// CodePath begins the paths of functions' code. No bucket has such a name.
const CodePath = "/_code/"

// A Server answers calls. It is an http.Handler.
type Server struct {
	Config
	services map[string][]*service.Service // by signing name
	prefixes map[string][]*service.Service // by the service part of ARNs and actions
	details  *service.Service              // /authorization-details
	verifier sigv4.Verifier
	metrics  *metrics
	uses     uses
	inFlight sync.WaitGroup
}

// New returns a server, or an error when two services have one name and nothing in a
// request tells them apart.
func New(cfg Config) (*Server, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{Config: cfg, services: map[string][]*service.Service{}, prefixes: map[string][]*service.Service{}, metrics: newMetrics()}
	for _, svc := range cfg.Services {
		name := svc.Model.SigningName
		for _, other := range s.services[name] {
			if svc.Model.TargetPrefix == other.Model.TargetPrefix || svc.Model.TargetPrefix == "" || other.Model.TargetPrefix == "" {
				return nil, fmt.Errorf("two services are signed for %s", name)
			}
		}
		s.services[name] = append(s.services[name], svc)
		s.prefixes[svc.Model.Name] = append(s.prefixes[svc.Model.Name], svc)
	}
	s.details = s.detailsTable()
	s.verifier = sigv4.Verifier{Lookup: s.lookup, Now: cfg.Now}
	if cfg.Inside != nil {
		cfg.Inside.server.Store(s)
	}
	return s, nil
}

// Close waits for the calls in flight. The listener has been closed before.
func (s *Server) Close() {
	s.flushUsesNow()
	s.inFlight.Wait()
}

// known is what looking up a key finds: the caller, and the state they were found in.
type known struct {
	caller *identity.Caller
	state  *store.Snapshot
}

func (s *Server) lookup(accessKeyID, token string, now time.Time) (string, any, error) {
	state := s.DB.View()
	caller, secret, err := s.Keyring.Caller(state, accessKeyID, token, now)
	switch {
	case err == nil:
		return secret.Reveal(), known{caller, state}, nil
	case errors.Is(err, identity.ErrUnknownKey):
		return "", nil, sigv4.ErrUnknownKey
	case errors.Is(err, identity.ErrInvalidToken):
		return "", nil, sigv4.ErrInvalidToken
	case errors.Is(err, identity.ErrExpiredToken):
		return "", nil, sigv4.ErrExpiredToken
	}
	return "", nil, err
}

// ServeHTTP answers one request, whatever happens in it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.inFlight.Add(1)
	defer s.inFlight.Done()
	if len(r.TransferEncoding) > 0 {
		// net/http does not show whether a Content-Length stood beside it. A proxy that
		// goes by that one sees other requests behind this one than we do: RFC 9112, 6.1,
		// has the connection closed, lest one request is smuggled in another.
		w.Header().Set("Connection", "close")
	}
	if s.serveOperator(w, r) {
		return
	}
	if s.Channel != nil && strings.HasPrefix(r.URL.Path, ChannelPath) && strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		if _, _, _, signed := sigv4.Claimed(r); !signed {
			s.Channel.ServeHTTP(w, r)
			return
		}
	}
	x := &exchange{server: s, w: w, r: r, id: newUUID(), started: s.Now()}
	defer x.measure()
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler { // a body that broke off: the connection must not look whole
				panic(p)
			}
			x.writeError(&panicked{p, debug.Stack()})
		}
	}()
	if err := x.serve(); err != nil {
		x.writeError(err)
	}
}

// An exchange is one request and its answer.
type exchange struct {
	server  *Server
	w       http.ResponseWriter
	r       *http.Request
	id      string
	started time.Time
	route   route
	region  string // of the call, once it is known
	status  int    // written; 0 before
	code    string
}

// serve is the way of a request.
func (x *exchange) serve() error {
	s, r := x.server, x.r
	var err error
	if x.route, err = s.routeService(r); err != nil {
		return err
	}
	// What was taken away may still be there in a state that is old: nobody is let in by it.
	if s.DB.Err() != nil {
		return &wire.Error{Code: "ServiceUnavailable", Status: 503, Message: "The server has lost the store of its state: nothing can be decided until it is found again."}
	}
	if err := x.waitForRevision(); err != nil {
		return err
	}
	var body []byte
	if !x.route.streams() {
		if body, err = readBody(x.w, r, s.largest(r, x.route.maxBody())); err != nil {
			return err
		}
	}
	x.route.find(r, body, s.Hosts)
	signature, err := s.verifier.Verify(r, x.route.scope(), body)
	if err != nil {
		return err
	}
	if x.route.err != nil {
		return x.route.err // an unknown operation is told to whom we know only
	}
	call := s.newCall(r, x.id, &signature, x.started)
	if x.route.streams() {
		call.Source.Headers = r.Header.Get // kept with the call's decisions, so not of all
	}
	call.Region = x.route.region(signature.Region)
	x.region = call.Region
	if call.Account != "" && identity.Imports.Get(call.State, call.Account) != nil {
		return &wire.Error{Code: "ServiceUnavailable", Status: 503, Message: "The account is being imported."}
	}
	if x.route.toolbox {
		return x.serveDetails(call, body)
	}
	op := x.route.op
	if op.TellsCaller() { // whoever signed it all the same
		call.Caller, call.Account = &identity.Caller{}, ""
	}
	s.used(call, op)
	in := op.New()
	if op.TakesInput() {
		if x.route.streams() && (op.Wire.Streams() || r.ContentLength != 0) { // the body is verified as it is read, here or by the handler
			signed := signature // which stays with the body
			stream, err := signed.Body(r)
			if err != nil {
				return err
			}
			r.Body = stream
			if !op.Wire.Streams() {
				if body, err = readDocument(x.w, r); err != nil {
					return err
				}
			}
		}
		if op.Guarded() {
			call.Body = body
		}
		switch {
		case op.Skims():
			call.Skimmed = true
			err = wire.SkimJSON(body, in)
		case op.Guarded():
			err = wire.Read(op.Service.Model, op.Wire, r, body, in)
		default:
			err = wire.Decode(op.Service.Model, op.Wire, r, body, in)
		}
		if err != nil {
			return s.refuseInput(call, op, err)
		}
	}
	out, err := s.Invoke(r.Context(), call, op, in)
	if err != nil {
		return err
	}
	return x.write(op, out)
}

// newCall is the call that a verified request makes.
func (s *Server) newCall(r *http.Request, id string, sig *sigv4.Signature, now time.Time) *service.Call {
	k, ok := sig.Identity.(known)
	if !ok {
		k = known{&identity.Caller{}, s.DB.View()}
	}
	return &service.Call{
		Account:   k.caller.Account,
		Caller:    k.caller,
		State:     k.state,
		Time:      now,
		RequestID: id,
		Source:    s.source(r, sig),
	}
}

// source is where a request came from: the peer, unless the peer is a proxy that
// the configuration trusts.
func (s *Server) source(r *http.Request, sig *sigv4.Signature) service.Source {
	src := service.Source{
		Secure:    r.TLS != nil,
		UserAgent: header(r, "User-Agent"),
		Referer:   header(r, "Referer"),
		Presigned: sig.Presigned,
		SignedAt:  sig.Time,
		Host:      r.Host,
	}
	if r.TLS != nil {
		src.TLS = strings.TrimPrefix(tls.VersionName(r.TLS.Version), "TLS ")
	}
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		src.IP = peer.Addr().Unmap()
	}
	if s.trusted(src.IP) {
		if proto := r.Header.Get("X-Forwarded-Proto"); proto != "" {
			src.Secure = strings.EqualFold(proto, "https")
		}
		// The last address that is not a trusted proxy's; what stands before it anyone may have written.
		forwarded := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		for i := len(forwarded) - 1; i >= 0; i-- {
			ip, err := netip.ParseAddr(strings.TrimSpace(forwarded[i]))
			if err != nil {
				break
			}
			src.IP = ip.Unmap()
			if !s.trusted(src.IP) {
				break
			}
		}
	}
	return src
}

// header is the header's first value, of a name that is written as net/http keeps it.
func header(r *http.Request, name string) string {
	if v := r.Header[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func (s *Server) trusted(ip netip.Addr) bool {
	for _, p := range s.TrustedProxies {
		if ip.IsValid() && p.Contains(ip) {
			return true
		}
	}
	return false
}

// largest is how much of a body is read before it is verified: what the service takes,
// but no more than a mebibyte from whoever names no key that is there.
func (s *Server) largest(r *http.Request, most int64) int64 {
	if most <= maxBody || r.ContentLength >= 0 && r.ContentLength <= maxBody {
		return most
	}
	id, _, _, _ := sigv4.Claimed(r)
	if _, _, err := s.Keyring.Caller(s.DB.View(), id, header(r, "X-Amz-Security-Token"), s.Now()); err != nil {
		return maxBody
	}
	return most
}

// readBody reads a body that is verified whole.
func readBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	tooLarge := func() error {
		return &wire.Error{Code: "RequestEntityTooLarge", Status: 413, Message: "Request body is larger than " + strconv.FormatInt(most, 10) + " bytes."}
	}
	switch {
	case r.ContentLength > most:
		return nil, tooLarge()
	case r.ContentLength == 0:
		return nil, nil
	case r.ContentLength > 0 && r.ContentLength <= mostPromised:
		body := make([]byte, r.ContentLength)
		if _, err := io.ReadFull(r.Body, body); err != nil {
			return nil, &wire.Error{Code: "IncompleteBody", Status: 400, Message: "The request body ended before its Content-Length."}
		}
		return body, nil
	}
	return readStream(w, r, most, tooLarge)
}

// mostPromised is how much room is set aside for a body that somebody, of whom we
// do not know yet who it is, promises to send.
const mostPromised = 32 << 10

// readDocument reads a body that is verified as it is read.
func readDocument(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	return readStream(w, r, maxDocument, func() error {
		return &wire.Error{Code: "MaxMessageLengthExceeded", Status: 400, Message: "Your request was too big."}
	})
}

func readStream(w http.ResponseWriter, r *http.Request, most int64, tooLarge func() error) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, tooLarge()
	}
	var auth *sigv4.Error
	if err != nil && !errors.As(err, &auth) {
		return nil, &wire.Error{Code: "IncompleteBody", Status: 400, Message: "The request body could not be read."}
	}
	return body, err
}

// revisionHeader carries the revision of the state that an answer to a write
// leaves behind. Sent with a later request, on whatever node, it makes that
// request wait for the same state.
const revisionHeader = "X-Iamd-Revision"

const longestWait = 5 * time.Second

func (x *exchange) waitForRevision() error {
	text := header(x.r, revisionHeader)
	if text == "" {
		return nil
	}
	revision, err := strconv.ParseInt(text, 10, 64)
	if err != nil || revision < 0 {
		return &wire.Error{Code: "ValidationError", Status: 400, Message: revisionHeader + " is not a revision."}
	}
	if x.server.DB.View().Revision() >= revision {
		return nil
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), longestWait)
	defer cancel()
	if err := x.server.DB.Wait(ctx, revision); err != nil {
		return &wire.Error{Code: "ServiceUnavailable", Status: 503, Message: fmt.Sprintf("The state of revision %d is not here yet.", revision)}
	}
	return nil
}

// write sends the answer of a call that succeeded.
func (x *exchange) write(op *service.Op, out any) error {
	x.header()
	if !op.Reads() {
		x.w.Header().Set(revisionHeader, strconv.FormatInt(x.server.DB.View().Revision(), 10))
	}
	x.status = http.StatusOK
	if a, ok := out.(*service.Answer); ok {
		return x.pass(a)
	}
	return wire.EncodeResponse(x.w, op.Service.Model, op.Wire, out, x.id)
}

// pass sends on what another server answered.
func (x *exchange) pass(a *service.Answer) error {
	if a.Take != nil {
		a.Take(x.w, x.r)
		return nil
	}
	h := x.w.Header()
	values := make([]string, 0, 8)
	set := func(name, value string) {
		values = append(values, value)
		n := len(values)
		h[name] = values[n-1 : n : n]
	}
	for _, f := range a.Header {
		set(f.Name, f.Value)
	}
	set("X-Amzn-Requestid", x.id)
	set("Content-Length", strconv.Itoa(len(a.Body)))
	x.status = a.Status
	x.w.WriteHeader(a.Status)
	_, err := x.w.Write(a.Body)
	return err
}

// header sets what package wire does not: the date, S3's second id, and STS's, which says in
// base64 where and when.
func (x *exchange) header() {
	x.w.Header()["Date"] = date()
	switch {
	case x.route.streams():
		x.w.Header().Set("X-Amz-Id-2", x.id)
	case x.route.svc != nil && x.route.svc.Model.Name == "sts":
		var room, encoded [128]byte
		where := append(append(append(room[:0], "1:"...), cmp.Or(x.region, "us-east-1")...), ":S:"...)
		where = append(append(strconv.AppendInt(where, x.started.UnixMilli(), 10), ":R:"...), x.id[:8]...)
		x.w.Header().Set("X-Amz-Sts-Extended-Request-Id", string(base64.StdEncoding.AppendEncode(encoded[:0], where)))
	}
}

// writeError is the one way in which a failure leaves. What is not an error for
// the caller is logged here, once, and becomes InternalFailure.
func (x *exchange) writeError(err error) {
	if x.status != 0 { // the answer has begun: it must not look whole
		if x.r.Context().Err() == nil { // otherwise the client has gone, which is its own affair
			x.server.Log.Error("an answer broke off", "requestID", x.id, "error", err)
		}
		panic(http.ErrAbortHandler)
	}
	e := x.errorFor(err)
	x.status, x.code = e.HTTPStatus(), e.Code
	x.header()
	wire.EncodeError(x.w, x.route.model(), e, x.id, x.r.URL.Path)
}

func (x *exchange) errorFor(err error) *wire.Error {
	var known *wire.Error
	if errors.As(err, &known) {
		return known
	}
	var auth *sigv4.Error
	if errors.As(err, &auth) {
		e := &wire.Error{Code: auth.Code, Message: auth.Message, Status: auth.Status, NoMessage: auth.Message == ""}
		for _, f := range auth.Fields {
			e.Fields = append(e.Fields, wire.Field{Name: f.Name, Value: f.Value})
		}
		return e
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, net.ErrClosed) {
		return &wire.Error{Code: "RequestTimeout", Status: 400, Message: "The connection was closed before the request was complete."}
	}
	x.server.Log.Error("a call failed", "requestID", x.id, "error", err)
	if errors.Is(err, store.ErrFull) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &wire.Error{Code: "ServiceUnavailable", Status: 503, Message: "The server's disk is full: the call was not carried out."}
	}
	return x.route.internalFailure()
}
