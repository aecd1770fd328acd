package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// A Node is a call in a trace: who made it, and what came of it.
type Node struct {
	Time      time.Time `json:"time"`
	RequestID string    `json:"requestID"`
	Event     string    `json:"event"` // sts:AssumeRole
	Caller    string    `json:"caller"`
	InvokedBy string    `json:"invokedBy,omitempty"` // the service that made the call, for itself or for the caller
	Account   string    `json:"account"`
	Error     string    `json:"error,omitempty"`   // AccessDenied
	Message   string    `json:"message,omitempty"` // of the error
	Resources []string  `json:"resources,omitempty"`
	Session   *Issued   `json:"session,omitempty"` // whose credentials the answer has

	// Inner are the calls that services made for this one; those of the session are in Session.
	Inner []*Node `json:"inner,omitempty"`
	// Others is how many calls beside the one shown came of this one: in the ancestors of
	// the call that was asked about.
	Others int `json:"others,omitempty"`

	parent, key string // what it came of: a request, or else a session
}

// Issued is a session, and what it did.
type Issued struct {
	AccessKeyID string    `json:"accessKeyID"`
	ARN         string    `json:"arn"`
	Expires     time.Time `json:"expires"`
	Calls       []*Node   `json:"calls,omitempty"`
	Others      int       `json:"others,omitempty"`
}

// traced is what a trace reads of a record.
type traced struct {
	Time        time.Time `json:"eventTime"`
	RequestID   string    `json:"requestID"`
	EventSource string    `json:"eventSource"`
	EventName   string    `json:"eventName"`
	Error       string    `json:"errorCode"`
	Message     string    `json:"errorMessage"`
	Account     string    `json:"recipientAccountId"`
	Identity    struct {
		Type      string `json:"type"`
		ARN       string `json:"arn"`
		Account   string `json:"accountId"`
		Principal string `json:"principalId"`
		Key       string `json:"accessKeyId"`
		InvokedBy string `json:"invokedBy"`
	} `json:"userIdentity"`
	Resources []struct{ ARN string } `json:"resources"`
	Response  *struct {
		Credentials struct {
			AccessKeyID string          `json:"accessKeyId"`
			Expiration  json.RawMessage `json:"expiration"`
		} `json:"credentials"`
		AssumedRoleUser struct{ ARN string } `json:"assumedRoleUser"`
		FederatedUser   struct{ ARN string } `json:"federatedUser"`
	} `json:"responseElements"`
	More struct {
		Parent string `json:"parentRequestID"`
	} `json:"additionalEventData"`
}

// ErrNotRecorded is returned for a request or session that has no record.
var ErrNotRecorded = errors.New("there is no record of it")

// longestSession is how long before a call its session can have begun.
const longestSession = 36 * time.Hour

// mostTraced is how many records a trace reads: those since the call it begins with.
const mostTraced = 2_000_000

// Trace tells how the calls that are recorded in dir hang together, around the call with
// the request id: above it, what it came of, up to the call of a client; below it, the
// calls that services made for it, the sessions that it began, and what those did. It
// returns the topmost call, and the one that was asked about.
func Trace(dir, requestID string) (top, asked *Node, err error) {
	asked, err = findCall(dir, Filter{RequestID: requestID}, func(*traced) bool { return true })
	if err != nil {
		return nil, nil, err
	}
	top = asked
	for above := map[string]bool{top.RequestID: true}; ; {
		up, err := cause(dir, top)
		if errors.Is(err, ErrNotRecorded) {
			break // it is a client's own call, or of before the records that are kept
		}
		if err != nil {
			return nil, nil, err
		}
		if above[up.RequestID] {
			return nil, nil, fmt.Errorf("the records of %s make a ring", up.RequestID)
		}
		above[up.RequestID] = true
		if up.Session != nil && up.Session.AccessKeyID == top.key {
			up.Session.Calls = []*Node{top}
		} else {
			up.Inner = []*Node{top}
		}
		top = up
	}
	return top, asked, below(dir, top, asked)
}

// TraceSession is Trace of the call that began a session: the last one with the access
// key id, the ARN or the name, or with "" the last one of all.
func TraceSession(dir, session string) (top, asked *Node, err error) {
	began, err := findCall(dir, Filter{EventSource: "sts.amazonaws.com"}, func(r *traced) bool {
		s := r.issued()
		return s != nil && (session == "" || s.AccessKeyID == session || s.ARN == session || strings.HasSuffix(s.ARN, "/"+session))
	})
	if err != nil {
		return nil, nil, err
	}
	return Trace(dir, began.RequestID)
}

// cause finds the call that a call came of: the one that began its session, or the request
// for which a service made it.
func cause(dir string, n *Node) (*Node, error) {
	if strings.HasPrefix(n.key, "ASIA") {
		began, err := findCall(dir, Filter{EventSource: "sts.amazonaws.com", Since: n.Time.Add(-longestSession)}, func(r *traced) bool {
			s := r.issued()
			return s != nil && s.AccessKeyID == n.key
		})
		if err == nil && n.of(began) || err != nil && !errors.Is(err, ErrNotRecorded) {
			return began, err
		}
	}
	if n.parent == "" {
		return nil, ErrNotRecorded
	}
	return findCall(dir, Filter{RequestID: n.parent}, func(*traced) bool { return true })
}

// of reports whether a call came of the one that began its session. One that a service makes
// for a request does only if it is the service's own session, which it began for that
// request; with the caller's forwarded access it came of the request.
func (n *Node) of(began *Node) bool { return n.parent == "" || began.parent == n.parent }

// findCall is the last recorded call that is wanted.
func findCall(dir string, f Filter, want func(*traced) bool) (*Node, error) {
	for e, err := range Read(dir, f) {
		if err != nil {
			if damaged(err) {
				continue
			}
			return nil, err
		}
		var r traced
		if json.Unmarshal(e.Raw, &r) == nil && want(&r) {
			return r.node(), nil
		}
	}
	return nil, ErrNotRecorded
}

func damaged(err error) bool {
	var at *fs.PathError
	return errors.As(err, &at)
}

// below puts under the asked call all that came of it, and counts the rest under those above.
func below(dir string, top, asked *Node) error {
	byRequest := map[string]*Node{}
	var all []*Node
	n := 0
	for e, err := range Read(dir, Filter{Since: top.Time.Add(-time.Second)}) {
		if err != nil {
			if damaged(err) {
				continue
			}
			return err
		}
		if n++; n > mostTraced {
			return fmt.Errorf("more than %d calls are recorded since %s: trace a later one", mostTraced, top.Time.UTC().Format(time.DateTime))
		}
		if !bytes.Contains(e.Raw, []byte(`"parentRequestID"`)) && !bytes.Contains(e.Raw, []byte(`"accessKeyId":"ASIA`)) {
			continue // it came of nothing
		}
		var r traced
		if json.Unmarshal(e.Raw, &r) != nil {
			continue
		}
		// A change has two records, its outcome last; a call that two accounts see has one for each.
		if byRequest[r.RequestID] == nil {
			node := r.node()
			byRequest[r.RequestID] = node
			all = append(all, node)
		}
	}
	began := map[string]*Node{} // by session
	for _, node := range all {
		if node.Session != nil {
			began[node.Session.AccessKeyID] = node
		}
	}
	inner, calls := map[string][]*Node{}, map[string][]*Node{} // by request, by session
	for _, node := range slices.Backward(all) {                // the first call first
		switch session := began[node.key]; {
		case node.parent != "" && (session == nil || !node.of(session)):
			inner[node.parent] = append(inner[node.parent], node)
		case node.key != "":
			calls[node.key] = append(calls[node.key], node)
		}
	}
	for up := top; up != asked; {
		next := append([]*Node(nil), up.Inner...)
		if s := up.Session; s != nil {
			next = append(next, s.Calls...)
			s.Others = len(calls[s.AccessKeyID]) - len(s.Calls)
		}
		up.Others = len(inner[up.RequestID]) - len(up.Inner)
		up = next[0]
	}
	grow(asked, inner, calls, map[string]bool{})
	return nil
}

func grow(n *Node, inner, calls map[string][]*Node, seen map[string]bool) {
	if seen[n.RequestID] {
		return
	}
	seen[n.RequestID] = true
	n.Inner = inner[n.RequestID]
	for _, m := range n.Inner {
		grow(m, inner, calls, seen)
	}
	if n.Session == nil {
		return
	}
	n.Session.Calls = calls[n.Session.AccessKeyID]
	for _, m := range n.Session.Calls {
		grow(m, inner, calls, seen)
	}
}

// issued is the session that the answer of the recorded call has; nil if it has none.
func (r *traced) issued() *Issued {
	if r.Response == nil || r.Response.Credentials.AccessKeyID == "" {
		return nil
	}
	s := &Issued{AccessKeyID: r.Response.Credentials.AccessKeyID, ARN: r.Response.AssumedRoleUser.ARN}
	if s.ARN == "" {
		s.ARN = r.Response.FederatedUser.ARN
	}
	if s.ARN == "" { // GetSessionToken: of the caller
		s.ARN = r.Identity.ARN
	}
	var text string
	if json.Unmarshal(r.Response.Credentials.Expiration, &text) == nil {
		for _, layout := range []string{time.RFC3339, "Jan 2, 2006, 3:04:05 PM"} {
			if at, err := time.Parse(layout, text); err == nil {
				s.Expires = at
				break
			}
		}
	}
	return s
}

func (r *traced) node() *Node {
	n := &Node{
		Time: r.Time, RequestID: r.RequestID, Event: strings.TrimSuffix(r.EventSource, ".amazonaws.com") + ":" + r.EventName,
		Caller: r.Identity.ARN, InvokedBy: r.Identity.InvokedBy, Account: r.Account,
		Error: r.Error, Message: r.Message, Session: r.issued(),
		parent: r.More.Parent, key: r.Identity.Key,
	}
	switch {
	case n.Caller != "":
	case r.Identity.InvokedBy != "":
		n.Caller, n.InvokedBy = r.Identity.InvokedBy, ""
	case r.Identity.Principal != "":
		n.Caller = r.Identity.Principal
	default:
		n.Caller = r.Identity.Account
	}
	for _, x := range r.Resources {
		n.Resources = append(n.Resources, x.ARN)
	}
	return n
}
