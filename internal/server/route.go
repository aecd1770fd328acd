package server

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/sigv4"
	"github.com/iamd-dev/iamd/internal/wire"
)

// A route is which operation a request is for. It is found in two steps: the
// service by the signature's scope or the form of the request, the operation by
// what the service's protocol says.
type route struct {
	svc     *service.Service
	op      *service.Op
	err     error  // why there is no operation; told after authentication
	toolbox bool   // it is for /authorization-details, which no service has
	details string // the request id of GET
}

// detailsService signs GET /authorization-details; the name is AWS's.
const detailsService = "iam-toolbox"

// routeService finds the service.
func (s *Server) routeService(r *http.Request) (route, error) {
	_, _, name, _ := sigv4.Claimed(r)
	switch {
	case name == detailsService:
		if r.Method == http.MethodPost && r.URL.Path == "/authorization-details" {
			return route{toolbox: true}, nil
		}
		id, ok := strings.CutPrefix(r.URL.Path, "/authorization-details/")
		if !ok || r.Method != http.MethodGet || id == "" {
			return route{}, &wire.Error{Code: "UnknownOperationException", Status: 404, Message: "There are only GET /authorization-details/{request id} and POST /authorization-details."}
		}
		return route{toolbox: true, details: id}, nil
	case name != "":
		if svc := s.signedFor(name, r); svc != nil {
			return route{svc: svc}, nil
		}
		return route{}, &wire.Error{Code: "NotImplemented", Status: 501, Message: "iamd does not serve " + name + "."}
	}
	// Without a scope: a form is for the Query service of its version, all else is for S3.
	if r.Method == http.MethodPost && isForm(r) || r.URL.RawQuery != "" && r.URL.Path == "/" && r.URL.Query().Has("Action") {
		for _, svc := range s.Services {
			if (svc.Model.Protocol == wire.Query || svc.Model.Protocol == wire.EC2) && (strings.HasPrefix(r.Host, svc.Model.Name+".") || r.URL.Query().Get("Version") == svc.Model.Version) {
				return route{svc: svc}, nil
			}
		}
		if svc := s.signedFor("sts", r); svc != nil {
			return route{svc: svc}, nil
		}
	}
	if svc := s.signedFor("s3", r); svc != nil {
		return route{svc: svc}, nil
	}
	return route{}, &wire.Error{Code: "MissingAuthenticationToken", Status: 403, Message: "Request is missing Authentication Token"}
}

// signedFor is the service that a signature names; nil when there is none. DynamoDB and its
// streams are two services with one name: X-Amz-Target tells which.
func (s *Server) signedFor(name string, r *http.Request) *service.Service {
	all := s.services[name]
	if len(all) == 0 {
		return nil
	}
	if len(all) > 1 {
		prefix, _, _ := strings.Cut(header(r, "X-Amz-Target"), ".")
		for _, svc := range all {
			if svc.Model.TargetPrefix == prefix {
				return svc
			}
		}
	}
	return all[0]
}

// resources is the service that knows the resources whose ARNs have the prefix; nil when
// there is none.
func (s *Server) resources(prefix string) *service.Service {
	if all := s.prefixes[prefix]; len(all) > 0 {
		return all[0]
	}
	return nil
}

// operation is the operation of a service with the prefix, and that service; nil when there is none.
func (s *Server) operation(prefix, name string) (*service.Service, *service.Op) {
	for _, svc := range s.prefixes[prefix] {
		if op := svc.Op(name); op != nil {
			return svc, op
		}
	}
	return s.resources(prefix), nil
}

func isForm(r *http.Request) bool {
	return strings.HasPrefix(header(r, "Content-Type"), "application/x-www-form-urlencoded")
}

// streams reports whether the body is a stream and not read beforehand.
func (t *route) streams() bool { return t.svc != nil && t.svc.Model.Protocol == wire.RESTXML }

func (t *route) maxBody() int64 {
	if t.svc != nil && t.svc.MaxBody > 0 {
		return t.svc.MaxBody
	}
	return maxBody
}

// find finds the operation. That there is none is kept in err, for after authentication.
func (t *route) find(r *http.Request, body []byte, hosts []string) {
	if t.toolbox {
		return
	}
	var op *wire.Operation
	switch m := t.svc.Model; m.Protocol {
	case wire.RESTXML, wire.RESTJSON:
		path := r.URL.EscapedPath()
		if m.Protocol == wire.RESTXML {
			path = bucketFirst(r, hosts)
		}
		if op, t.err = m.Route(r, path); t.err != nil && m.Protocol == wire.RESTJSON {
			t.err = &wire.Error{Code: "UnknownOperationException", Status: 404, Message: "There is no operation at this path."}
		}
	case wire.JSON10, wire.JSON11:
		op, t.err = m.Targeted(r)
	default:
		op, t.err = m.Named(wire.FormAction(r, body))
	}
	if t.err == nil {
		t.op = t.svc.Op(op.Name)
	}
}

// region is the region of the call. A global service is in us-east-1 for AWS, whatever
// region a client with an endpoint of its own signs for.
func (t *route) region(signed string) string {
	if signed == "" || t.svc != nil && t.svc.Model.Global {
		return "us-east-1"
	}
	return signed
}

// scope is what the signature must be scoped to. Any region will do: SDKs that are
// given an endpoint sign calls of global services for the region they are set to.
func (t *route) scope() sigv4.Scope {
	if t.toolbox {
		return sigv4.Scope{Service: detailsService, Family: sigv4.RESTJSON}
	}
	m := t.svc.Model
	scope := sigv4.Scope{Service: m.SigningName, Anonymous: t.svc.Anonymous || t.op != nil && t.op.Wire.Unsigned}
	switch m.Protocol {
	case wire.RESTXML:
		scope.Family = sigv4.S3
	case wire.JSON10, wire.JSON11:
		scope.Family = sigv4.JSON
	case wire.RESTJSON:
		scope.Family = sigv4.RESTJSON
	case wire.EC2:
		scope.Family = sigv4.EC2
	}
	return scope
}

// model is the model in whose form errors are written; where there is none, a plain REST-XML one.
func (t *route) model() *wire.Model {
	switch {
	case t.toolbox:
		return detailsModel()
	case t.svc != nil:
		return t.svc.Model
	}
	return &wire.Model{Protocol: wire.RESTXML}
}

func (t *route) internalFailure() *wire.Error {
	code := "InternalFailure"
	if t.streams() {
		code = "InternalError"
	}
	return &wire.Error{Code: code, Status: 500, Message: "The request processing has failed because of an unknown error, exception or failure."}
}

// bucketFirst is the escaped path with the bucket in front, whether the client put
// it there or into the host name.
func bucketFirst(r *http.Request, hosts []string) string {
	path := r.URL.EscapedPath()
	host := r.Host
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host = host[:i]
	}
	host = strings.ToLower(host)
	if i := strings.LastIndex(host, ".s3."); i > 0 {
		return "/" + url.PathEscape(host[:i]) + path
	}
	for _, h := range hosts {
		if bucket, ok := strings.CutSuffix(host, "."+strings.ToLower(h)); ok && bucket != "" && bucket != "s3" {
			return "/" + url.PathEscape(bucket) + path
		}
	}
	return path
}
