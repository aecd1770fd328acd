package server

import (
	"crypto/subtle"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/iamd-dev/iamd/internal/outbound"
)

// serveOperator answers what is for the operator, or for everybody, and not for AWS clients. Such a
// request carries no signature, so that a bucket of the same name stays reachable.
func (s *Server) serveOperator(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || r.URL.RawQuery != "" {
		return false
	}
	if a := header(r, "Authorization"); a != "" && !strings.HasPrefix(a, "Bearer ") {
		return false
	}
	switch r.URL.Path {
	case "/healthz": // the process answers
		io.WriteString(w, "ok\n")
	case "/readyz": // the state is followed and the audit log can be written
		if s.ready() != nil { // why not is in the log, and not for everybody who asks
			http.Error(w, "the audit log cannot be written", http.StatusServiceUnavailable)
			return true
		}
		io.WriteString(w, "ok\n")
	case "/metrics":
		if !s.mayReadMetrics(r) {
			http.Error(w, "metrics are for loopback or the bearer of the token", http.StatusForbidden)
			return true
		}
		s.metrics.handler.ServeHTTP(w, r)
	default:
		return s.servePublished(w, r)
	}
	return true
}

// servePublished answers what everybody may read who knows its path: the code of functions and
// the documents of issuers. Where the host names a bucket the path is that of an object in it,
// unless it is the host by which others reach the server, or has been given to somebody for code.
func (s *Server) servePublished(w http.ResponseWriter, r *http.Request) bool {
	code, issuer := s.Code != nil && strings.HasPrefix(r.URL.Path, CodePath), s.Issuer != nil && strings.HasPrefix(r.URL.Path, outbound.Prefix)
	switch {
	case !code && !issuer, s.inBucket(r) && !(code && s.Code.Has(r.URL.Path)):
		return false
	case code:
		s.Code.ServeHTTP(w, r)
	default:
		s.serveIssuer(w, r)
	}
	return true
}

// inBucket reports whether the host names a bucket, and is not that of the URL that tokens name.
func (s *Server) inBucket(r *http.Request) bool {
	if bucketFirst(r, s.Hosts) == r.URL.EscapedPath() {
		return false
	}
	if s.Issuer == nil {
		return true
	}
	u, err := url.Parse(s.Issuer.Base)
	return err != nil || !strings.EqualFold(u.Host, r.Host)
}

// keepDocuments is how long verifiers may keep what an issuer publishes: much shorter
// than a key is published before it signs.
const keepDocuments = "public, max-age=3600"

// serveIssuer answers what everybody may know of an account that issues tokens.
func (s *Server) serveIssuer(w http.ResponseWriter, r *http.Request) {
	document, ok := s.Issuer.Document(s.DB.View(), r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", keepDocuments)
	w.Write(document)
}

func (s *Server) mayReadMetrics(r *http.Request) bool {
	if want := s.MetricsToken.Reveal(); want != "" {
		got, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if ok && subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1 {
			return true
		}
	}
	// What comes through a proxy of ours on loopback does not come from loopback.
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && peer.Addr().Unmap().IsLoopback() && r.Header.Get("X-Forwarded-For") == ""
}

// metrics are the server's figures, in the form of Prometheus. Its client library
// is the one whose forms every monitoring system reads.
type metrics struct {
	handler  http.Handler
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	usual    sync.Map // *service.Op -> *usual, so that labels are not looked up for every call
}

// A usual is where calls of an operation that answer 200 are counted.
type usual struct {
	requests prometheus.Counter
	seconds  prometheus.Observer
}

func newMetrics() *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "iamd_requests_total",
			Help: "Requests answered, by service, operation and HTTP status, with AWS's error code where there was one.",
		}, []string{"service", "operation", "status", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "iamd_request_seconds",
			Help:    "Time from the request's header to the end of its answer, in seconds.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .1, .5, 2.5, 10},
		}, []string{"service"}),
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(m.requests, m.seconds, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	return m
}

// measure counts an exchange. Labels have values of ours only, never the caller's.
func (x *exchange) measure() {
	service, operation := "none", "none"
	if x.route.svc != nil {
		service = x.route.svc.Model.Name
	}
	if x.route.op != nil {
		operation = x.route.op.Name
	}
	m := x.server.metrics
	seconds := x.server.Now().Sub(x.started).Seconds()
	if x.route.op != nil && x.status == http.StatusOK && x.code == "" {
		found, ok := m.usual.Load(x.route.op)
		if !ok {
			found, _ = m.usual.LoadOrStore(x.route.op, &usual{m.requests.WithLabelValues(service, operation, "200", ""), m.seconds.WithLabelValues(service)})
		}
		found.(*usual).requests.Inc()
		found.(*usual).seconds.Observe(seconds)
		return
	}
	m.requests.WithLabelValues(service, operation, strconv.Itoa(x.status), x.code).Inc()
	m.seconds.WithLabelValues(service).Observe(seconds)
}

// ready returns why the server cannot serve now; nil when it can.
func (s *Server) ready() error { return errors.Join(s.DB.Err(), s.Audit.Healthy()) }
