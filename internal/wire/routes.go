package wire

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// A route is one operation's method, path and what else a request must have.
type route struct {
	op       *Operation
	segments []string    // "{Bucket}", "{Key+}" or text
	query    [][2]string // of the URI: {"tagging", ""}, {"list-type", "2"}
	headers  []string    // of op.Header, those that tell it from its neighbours
	knows    map[string]bool
}

// routes is the routing table of a REST service.
type routes struct {
	byMethod map[string][]route
	telling  map[string]bool // query parameters that some operation is told by
	headers  []string        // headers that some operation is told by
}

func (m *Model) routing() *routes {
	m.routesOnce.Do(func() {
		t := &routes{byMethod: map[string][]route{}, telling: map[string]bool{}}
		for i := range m.Operations {
			op := &m.Operations[i]
			if op.NoRoute {
				continue
			}
			path, query, _ := strings.Cut(op.URI, "?")
			r := route{op: op, segments: strings.Split(strings.Trim(path, "/"), "/"), knows: map[string]bool{}}
			if path == "/" {
				r.segments = nil
			}
			for q := range strings.SplitSeq(query, "&") {
				if k, v, _ := strings.Cut(q, "="); k != "" {
					r.query = append(r.query, [2]string{k, v})
					r.knows[k] = true
					t.telling[k] = true
				}
			}
			for _, q := range op.Query {
				r.knows[q] = true
				t.telling[q] = true
			}
			if op.In != nil {
				for _, f := range planOf(op.In).fields {
					if f.place == inQuery {
						r.knows[f.wire] = true
					}
				}
			}
			t.byMethod[op.Method] = append(t.byMethod[op.Method], r)
		}
		// Where neither method, path nor query tell two operations apart, a header does.
		for _, rs := range t.byMethod {
			for i := range rs {
				for _, name := range rs[i].op.Header {
					h := http.CanonicalHeaderKey(name)
					for j := range rs {
						if i != j && rs[i].alike(&rs[j]) && !slices.Contains(rs[j].op.Header, name) {
							rs[i].headers = append(rs[i].headers, h)
							if !slices.Contains(t.headers, h) {
								t.headers = append(t.headers, h)
							}
							break
						}
					}
				}
			}
		}
		m.routes = t
	})
	return m.routes
}

// alike says that two routes differ in headers at most.
func (r *route) alike(o *route) bool {
	return slices.Equal(r.segments, o.segments) && slices.Equal(r.query, o.query) && slices.Equal(r.op.Query, o.op.Query)
}

// Route names the operation of a REST request and remembers the parts of its path for
// Decode, as path values of r. path is the escaped path with the bucket in front,
// whichever style the client used: "/bucket/a%20key". The error is the one for a request
// that no operation matches.
//
// An operation matches when method and path do, when all the query parameters and headers
// are there that tell it from others, and none that tell another: DELETE /bucket?acl is
// nothing, and not DeleteBucket. A parameter that no operation knows is passed over if it
// has a value; without one it is a subresource that we do not have.
func (m *Model) Route(r *http.Request, path string) (*Operation, error) {
	t := m.routing()
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, Errorf(400, "InvalidURI", "Couldn't parse the specified URI.")
	}
	var best *route
	for i, rs := 0, t.byMethod[r.Method]; i < len(rs); i++ {
		if c := &rs[i]; c.matches(t, r, path, query) && (best == nil || c.weight() > best.weight()) {
			best = c
		}
	}
	if best == nil {
		for k, vs := range query {
			if !t.telling[k] && !known(k) && vs[0] == "" {
				return nil, Errorf(501, "NotImplemented", "A parameter you provided implies functionality that is not implemented").With("Parameter", k)
			}
		}
		return nil, Errorf(405, "MethodNotAllowed", "The specified method is not allowed against this resource.").With("Method", r.Method)
	}
	if !best.bind(r, path) {
		return nil, Errorf(400, "InvalidURI", "Couldn't parse the specified URI.")
	}
	return best.op, nil
}

func (r *route) weight() int {
	return 100*len(r.query) + 10*len(r.op.Query) + len(r.headers)
}

func (c *route) matches(t *routes, r *http.Request, path string, query url.Values) bool {
	if !c.shape(path) {
		return false
	}
	for _, q := range c.query {
		if v, ok := query[q[0]]; !ok || q[1] != "" && v[0] != q[1] {
			return false
		}
	}
	for _, q := range c.op.Query {
		if !query.Has(q) {
			return false
		}
	}
	for _, h := range t.headers {
		if given := len(headerValues(r, query, h)) > 0; given != slices.Contains(c.headers, h) {
			return false
		}
	}
	for k, vs := range query {
		if !c.knows[k] && !known(k) && (t.telling[k] || vs[0] == "") {
			return false
		}
	}
	return true
}

// known says that a query parameter belongs to no operation and to all: what SDKs add for
// the reader of logs, and presigned URLs.
func known(name string) bool {
	return name == "x-id" || amz(name)
}

// shape says that a path has the form of the route's: as many parts, the last of which may
// be greedy. An empty part matches nothing but a trailing slash.
func (c *route) shape(path string) bool {
	rest := strings.TrimPrefix(path, "/")
	for i, s := range c.segments {
		if strings.HasSuffix(s, "+}") {
			return rest != ""
		}
		part, after, more := strings.Cut(rest, "/")
		if part == "" || s[0] != '{' && s != part {
			return false
		}
		if more && after == "" && i == len(c.segments)-1 {
			return true // "/bucket/" is "/bucket"
		}
		if rest = after; more && i == len(c.segments)-1 {
			return false
		}
	}
	return rest == ""
}

// bind decodes the parts of the path into path values.
func (c *route) bind(r *http.Request, path string) bool {
	rest := strings.TrimPrefix(path, "/")
	for _, s := range c.segments {
		part, after, _ := strings.Cut(rest, "/")
		if strings.HasSuffix(s, "+}") {
			part, after = rest, ""
		}
		if s[0] == '{' {
			text, err := url.PathUnescape(part)
			if err != nil {
				return false
			}
			r.SetPathValue(strings.Trim(s, "{+}"), text)
		}
		rest = after
	}
	return true
}

// Streams says that the request's body is not to be read before Decode: the input has it as
// a reader.
func (op *Operation) Streams() bool {
	if op.In == nil {
		return false
	}
	p := planOf(op.In)
	return p.payload >= 0 && p.fields[p.payload].kind == kindStream
}
