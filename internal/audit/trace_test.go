package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A developer makes a function, which Lambda gives a session of its role; the function
// calls S3 twice and assumes another role. Beside that, others call.
func TestTrace(t *testing.T) {
	dir := t.TempDir()
	log, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 30, 7, 0, 0, 0, time.UTC)
	add := func(request, event, caller, key, parent, gives string, failure string) {
		t.Helper()
		service, name, _ := strings.Cut(event, ":")
		at = at.Add(time.Second)
		r := &Record{Time: at, RequestID: request, EventSource: service + ".amazonaws.com", EventName: name, Identity: UserIdentity{Type: "IAMUser", ARN: caller, AccessKeyID: key},
			Category: "Management", ErrorCode: failure, RecipientAccount: "111122223333"}
		if strings.HasSuffix(caller, ".amazonaws.com") {
			r.Identity = UserIdentity{Type: "AWSService", InvokedBy: caller}
		}
		if parent != "" {
			r.AdditionalEventData = json.RawMessage(fmt.Sprintf(`{"parentRequestID":%q}`, parent))
		}
		if gives != "" {
			r.ResponseElements = json.RawMessage(fmt.Sprintf(`{"credentials":{"accessKeyId":%q,"expiration":"Nov 30, 2026, 8:00:00 AM"},"assumedRoleUser":{"arn":"arn:aws:sts::111122223333:assumed-role/app/%s"}}`, gives, strings.ToLower(gives)))
		}
		if err := log.Append(t.Context(), r, true); err != nil {
			t.Fatal(err)
		}
	}
	dev := "arn:aws:iam::111122223333:user/dev"
	first := "arn:aws:sts::111122223333:assumed-role/app/asiafirst"
	add("r0", "iam:ListUsers", dev, "AKIADEV", "", "", "")
	began := at
	add("r1", "lambda:Invoke", dev, "AKIADEV", "", "", "")
	add("r2", "sts:AssumeRole", "lambda.amazonaws.com", "", "r1", "ASIAFIRST", "")
	add("r3", "s3:GetObject", first, "ASIAFIRST", "", "", "")
	add("r4", "s3:PutObject", first, "ASIAFIRST", "", "", "AccessDenied")
	add("r5", "sts:AssumeRole", first, "ASIAFIRST", "", "ASIASECOND", "")
	add("r6", "s3:ListBuckets", "arn:aws:sts::111122223333:assumed-role/app/asiasecond", "ASIASECOND", "", "", "")
	at = began
	add("r1", "lambda:Invoke", dev, "AKIADEV", "", "", "") // its outcome, of the time at which it began
	at = at.Add(time.Minute)
	add("r7", "iam:ListUsers", dev, "AKIADEV", "", "", "")
	// A service that acts in the session that it began for the request, and one that is forwarded the caller's.
	add("r8", "codepipeline:Start", first, "ASIAFIRST", "", "", "")
	add("r9", "sts:AssumeRole", "codepipeline.amazonaws.com", "", "r8", "ASIATHIRD", "")
	add("r10", "cloudformation:CreateStack", "arn:aws:sts::111122223333:assumed-role/app/asiathird", "ASIATHIRD", "r8", "", "")
	add("r11", "s3:CreateBucket", "arn:aws:sts::111122223333:assumed-role/app/asiathird", "ASIATHIRD", "r10", "", "")
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}

	for _, test := range []struct{ name, request, want string }{
		{"from the top", "r1", "r1(r2[ASIAFIRST: r3 r4! r5[ASIASECOND: r6] r8(r9[ASIATHIRD: r10(r11)])])"},
		{"of a session's call, which has its causes above it", "r4", "r1(r2[ASIAFIRST: r4! +3])"},
		{"of the second session", "r5", "r1(r2[ASIAFIRST: r5[ASIASECOND: r6] +3])"},
		{"of what a service did in its session", "r10", "r1(r2[ASIAFIRST: r8(r9[ASIATHIRD: r10(r11)]) +3])"},
		{"of a call with forwarded access", "r11", "r1(r2[ASIAFIRST: r8(r9[ASIATHIRD: r10(r11)]) +3])"},
		{"of a call that led to nothing", "r7", "r7"},
	} {
		t.Run(test.name, func(t *testing.T) {
			top, asked, err := Trace(dir, test.request)
			if err != nil {
				t.Fatal(err)
			}
			if got := drawn(top); got != test.want || asked.RequestID != test.request {
				t.Errorf("%s around %s, want %s", got, asked.RequestID, test.want)
			}
		})
	}
	for _, session := range []string{"ASIASECOND", "asiasecond", "arn:aws:sts::111122223333:assumed-role/app/asiasecond"} {
		if _, asked, err := TraceSession(dir, session); err != nil || asked.RequestID != "r5" {
			t.Errorf("the session %q began with %+v, %v", session, asked, err)
		}
	}
	if _, asked, err := TraceSession(dir, ""); err != nil || asked.RequestID != "r9" {
		t.Errorf("the last session began with %+v, %v", asked, err)
	}
	if top, _, _ := Trace(dir, "r2"); top.Inner[0].Caller != "lambda.amazonaws.com" || !top.Inner[0].Session.Expires.Equal(time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", top.Inner[0])
	}
	if _, _, err := Trace(dir, "nobody"); !errors.Is(err, ErrNotRecorded) {
		t.Errorf("a request that never was: %v", err)
	}
	if _, _, err := TraceSession(dir, "nobody"); !errors.Is(err, ErrNotRecorded) {
		t.Errorf("a session that never was: %v", err)
	}
}

// drawn is a trace in one line: request(inner...)[key: calls...], ! for an error, +n for others.
func drawn(n *Node) string {
	text := n.RequestID
	if n.Error != "" {
		text += "!"
	}
	list := func(calls []*Node, others int) string {
		var all []string
		for _, c := range calls {
			all = append(all, drawn(c))
		}
		if others > 0 {
			all = append(all, fmt.Sprintf("+%d", others))
		}
		return strings.Join(all, " ")
	}
	if inner := list(n.Inner, n.Others); inner != "" {
		text += "(" + inner + ")"
	}
	if n.Session != nil {
		text += "[" + n.Session.AccessKeyID + ": " + list(n.Session.Calls, n.Session.Others) + "]"
	}
	return text
}
