package server_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/service"
)

// A refused call does nothing, is recorded once, and can be explained.
func TestRefusedCallDoesNothing(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	alice := h.user(ours, "alice", "")
	for _, action := range []string{"CreateThing", "GetThing"} {
		a := h.query(alice, "probe", action, "Name", "x")
		h.refused(a, 403, "AccessDenied")
		if want := "User: arn:aws:iam::111122223333:user/alice is not authorized to perform: probe:" + action +
			" on resource: arn:aws:probe::111122223333:thing/x because no identity-based policy allows the probe:" + action + " action"; a.message != want {
			t.Errorf("%s: message is\n%s, not\n%s", action, a.message, want)
		}
		records := h.records(a.requestID)
		if len(records) != 1 {
			t.Fatalf("%s: %d records, not 1", action, len(records))
		}
		r := records[0]
		if r.ErrorCode != "AccessDenied" || r.member(t, "requestParameters") != nil || r.member(t, "responseElements") != nil {
			t.Errorf("%s: the record of a refusal is %s", action, r.text)
		}
	}
	if n := h.probe.calls(); n != 0 {
		t.Errorf("a handler was called %d times", n)
	}
	if n := len(h.records("")); n < 4 {
		t.Errorf("there are %d records in all", n)
	}
}

// A change is on the disk as a record before it is made, and once more with its outcome.
func TestChangesAreRecordedBefore(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	alice := h.user(ours, "alice", allow("probe:*", "*"))
	var before []record
	h.probe.set(func(c *service.Call) error {
		before = h.written(c.RequestID)
		return nil
	})
	a := h.well(h.query(alice, "probe", "CreateThing", "Name", "x"))
	if len(before) != 1 || before[0].EventName != "CreateThing" || before[0].ErrorCode != "" || before[0].member(t, "responseElements") != nil {
		t.Fatalf("when the handler was called there were records %v", before)
	}
	after := h.written(a.requestID) // durable: without a flush
	if len(after) != 2 || after[1].EventID != before[0].EventID {
		t.Fatalf("after the answer there were records %v", after)
	}
	if got := after[1].member(t, "responseElements", "name"); got != "x" {
		t.Errorf("the outcome is not recorded: %s", after[1].text)
	}

	// An operation that only reads is recorded when its outcome is known, and before it is told.
	a = h.well(h.query(alice, "probe", "GetThing", "Name", "x"))
	if len(before) != 0 {
		t.Errorf("before a read there were records %v", before)
	}
	if after := h.written(a.requestID); len(after) != 1 {
		t.Errorf("after a read there were records %v", after)
	}
}

// What fails in the middle is one InternalFailure, one line in the log, and a record
// that says so; the next call is none the worse.
func TestHandlersFailures(t *testing.T) {
	t.Parallel()
	for _, failure := range []struct {
		name string
		f    func(*service.Call) error
		line string
	}{
		{"error", func(*service.Call) error { return errors.New("the secret disk is upside down") }, `error="the secret disk is upside down"`},
		{"panic", func(*service.Call) error { panic("the secret disk is upside down") }, `error="panic: the secret disk is upside down`},
		{"nil", func(c *service.Call) error { var b *strings.Builder; b.WriteString("x"); return nil }, "nil pointer"},
	} {
		for _, action := range []string{"CreateThing", "GetThing"} {
			t.Run(failure.name+"/"+action, func(t *testing.T) {
				t.Parallel()
				h := open(t, nil)
				alice := h.user(ours, "alice", allow("probe:*", "*"))
				h.probe.set(failure.f)
				before := h.logged.String()
				a := h.query(alice, "probe", action, "Name", "x")
				h.refused(a, 500, "InternalFailure")
				if strings.Contains(a.body, "upside") || strings.Contains(a.body, "nil pointer") {
					t.Errorf("the caller is told %s", a.body)
				}
				logged := strings.TrimPrefix(h.logged.String(), before)
				if n := strings.Count(logged, a.requestID); n != 1 || strings.Count(logged, "level=ERROR") != 1 || !strings.Contains(logged, failure.line) {
					t.Errorf("the log names the request %d times:\n%s", n, logged)
				}
				records := h.records(a.requestID)
				if len(records) == 0 || records[len(records)-1].ErrorCode != "InternalFailure" {
					t.Errorf("the last record does not say that it failed: %v", records)
				}
				h.probe.set(nil)
				h.well(h.query(alice, "probe", action, "Name", "x"))
			})
		}
	}
}

// A handler that is to ask for its items and does not is a mistake of ours, and
// nobody is answered what nobody decided.
func TestPerItemMustAsk(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	alice := h.user(ours, "alice", allow("probe:*", "*"))
	h.probe.set(func(*service.Call) error { return nil })
	h.refused(h.query(alice, "probe", "RemoveAll", "Name", "x"), 500, "InternalFailure")
	h.probe.set(func(c *service.Call) error {
		return c.Authorize("probe:RemoveThing", arn.ARN("arn:aws:probe:::thing/x"))
	})
	h.well(h.query(alice, "probe", "RemoveAll", "Name", "x"))
	bob := h.user(ours, "bob", "")
	h.refused(h.query(bob, "probe", "RemoveAll", "Name", "x"), 403, "AccessDenied")
}

// Who calls is asked first, whether they may second, and only then is it told that
// something is not implemented.
func TestOrderOfRefusals(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	nobody := h.user(ours, "nobody", "")
	all := h.user(ours, "all", allow("*", "*"))
	stranger := actor{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""}
	forger := actor{all.id, all.secret[1:] + "x", ""}
	for _, op := range []struct{ service, action string }{
		{"probe", "PaintThing"},
	} {
		t.Run(op.service+":"+op.action, func(t *testing.T) {
			h := *h
			h.t = t
			h.refused(h.query(actor{}, op.service, op.action), 403, "MissingAuthenticationToken")
			h.refused(h.query(stranger, op.service, op.action), 403, "InvalidClientTokenId")
			h.refused(h.query(forger, op.service, op.action), 403, "SignatureDoesNotMatch")
			h.refused(h.query(nobody, op.service, op.action), 403, "AccessDenied")
			a := h.query(all, op.service, op.action)
			h.refused(a, 501, "NotImplemented")
			records := h.records(a.requestID)
			if len(records) == 0 || records[len(records)-1].ErrorCode != "NotImplemented" {
				t.Errorf("its records are %v", records)
			}
		})
	}

	// An unknown operation is told only to whom we know.
	h.refused(h.query(actor{}, "probe", "Nonsense"), 403, "MissingAuthenticationToken")
	h.refused(h.query(forger, "probe", "Nonsense"), 403, "SignatureDoesNotMatch")
	h.refused(h.query(nobody, "probe", "Nonsense"), 400, "InvalidAction")

	// S3: a bucket that does not exist is told before permissions, an unknown subresource is not implemented.
	h.refused(h.s3(actor{}, "GET", "/no-such-bucket/k", ""), 404, "NoSuchBucket")
	h.refused(h.s3(forger, "GET", "/no-such-bucket/k", ""), 403, "SignatureDoesNotMatch")
	h.refused(h.s3(nobody, "GET", "/no-such-bucket/k", ""), 404, "NoSuchBucket")
	h.well(h.s3(h.roots[ours], "PUT", "/b-1", ""))
	h.refused(h.s3(actor{}, "PUT", "/b-1?replication", "<x/>"), 403, "AccessDenied")
	h.refused(h.s3(nobody, "PUT", "/b-1?replication", "<x/>"), 403, "AccessDenied")
	h.refused(h.s3(all, "PUT", "/b-1?replication", "<x/>"), 501, "NotImplemented")
	h.refused(h.s3(all, "GET", "/b-1?nonsense", ""), 501, "NotImplemented")

	// A service that is not served.
	a := h.form(all, "dynamodb", "Action=ListTables")
	h.refused(a, 501, "NotImplemented")
	if a.message != "iamd does not serve dynamodb." {
		t.Errorf("message is %q", a.message)
	}
}

// Errors of HEAD have the status and no body.
func TestHeadErrorsHaveNoBody(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	nobody := h.user(ours, "nobody", "")
	root := h.roots[ours]
	h.well(h.s3(root, "PUT", "/b-1", ""))
	for _, c := range []struct {
		a      actor
		path   string
		status int
	}{
		{root, "/b-1/k", 404}, {root, "/no-such-bucket", 404}, {root, "/no-such-bucket/k", 404},
		{nobody, "/b-1", 403}, {nobody, "/b-1/k", 403}, {actor{}, "/b-1/k", 403}, {actor{root.id, "x", ""}, "/b-1", 403},
	} {
		a := h.s3(c.a, http.MethodHead, c.path, "")
		if a.status != c.status || a.body != "" || a.requestID == "" {
			t.Errorf("HEAD %s: %d %q, request id %q; want %d", c.path, a.status, a.body, a.requestID, c.status)
		}
	}
}
