package lambda

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// ask sends a request of a runtime.
func ask(a *runtimeAPI, method, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	a.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w
}

// The runtime API as the Developer Guide has it, with a runtime that keeps to it and one
// that does not.
func TestRuntimeAPI(t *testing.T) {
	a := newRuntimeAPI()
	i := newInvocation("id-1", "arn:aws:lambda:us-east-1:123456789012:function:f", `{"client":{}}`, []byte(`{"a":1}`), time.Minute)
	a.events <- i
	w := ask(a, "GET", "/2018-06-01/runtime/invocation/next", "")
	if w.Code != 200 || w.Body.String() != `{"a":1}` {
		t.Errorf("next: %d %s", w.Code, w.Body)
	}
	for name, want := range map[string]string{"Lambda-Runtime-Aws-Request-Id": "id-1", "Lambda-Runtime-Invoked-Function-Arn": i.arn, "Lambda-Runtime-Client-Context": `{"client":{}}`} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if w.Header().Get("Lambda-Runtime-Deadline-Ms") == "" || !strings.HasPrefix(w.Header().Get("Lambda-Runtime-Trace-Id"), "Root=1-") {
		t.Errorf("headers: %v", w.Header())
	}
	select {
	case <-i.taken:
	default:
		t.Error("the event is not taken")
	}
	for _, test := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/2018-06-01/runtime/invocation/next", "", 200, `{"a":1}`}, // it is told again what it has not answered
		{"POST", "/2018-06-01/runtime/invocation/id-2/response", "{}", 400, "InvalidRequestID"},
		{"POST", "/2018-06-01/runtime/init/error", "{}", 403, "InvalidStateTransition"},
		{"POST", "/2018-06-01/runtime/invocation/id-1/nothing", "{}", 404, "NotFound"},
		{"GET", "/2018-06-01/runtime/invocation/id-1/response", "", 404, "NotFound"},
		{"GET", "/2018-06-01/ping", "", 404, "NotFound"},
		{"GET", "/", "", 404, "NotFound"},
		{"POST", "/2018-06-01/runtime/invocation/id-1/response", `"done"`, 202, `{"status":"OK"}`},
		{"POST", "/2018-06-01/runtime/invocation/id-1/response", `"again"`, 400, "InvalidRequestID"},
		{"POST", "/2018-06-01/runtime/invocation/id-1/error", `{}`, 400, "InvalidRequestID"},
	} {
		if w := ask(a, test.method, test.path, test.body); w.Code != test.status || !strings.Contains(w.Body.String(), test.want) {
			t.Errorf("%s %s: %d %s, want %d %s", test.method, test.path, w.Code, w.Body, test.status, test.want)
		}
	}
	if got := <-i.done; string(got.payload) != `"done"` || got.failed {
		t.Errorf("got %+v", got)
	}
}

func TestRuntimeErrors(t *testing.T) {
	for _, test := range []struct{ path, body, want string }{
		{"error", `{"errorMessage":"no","errorType":"T"}`, `{"errorMessage":"no","errorType":"T"}`},
		{"error", `no JSON`, `{"errorMessage":"no JSON","errorType":""}`},
		{"response", strings.Repeat("x", largestAnswer+1), `{"errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes).","errorType":"Function.ResponseSizeTooLarge"}`},
	} {
		a := newRuntimeAPI()
		i := newInvocation("id", "arn", "", nil, time.Minute)
		a.events <- i
		ask(a, "GET", "/2018-06-01/runtime/invocation/next", "")
		ask(a, "POST", "/2018-06-01/runtime/invocation/id/"+test.path, test.body)
		if got := <-i.done; string(got.payload) != test.want || !got.failed {
			t.Errorf("%s: got %s, failed %t", test.path, got.payload, got.failed)
		}
	}
	a := newRuntimeAPI()
	if w := ask(a, "POST", "/2018-06-01/runtime/init/error", `{"errorType":"T"}`); w.Code != 202 {
		t.Errorf("init/error: %d", w.Code)
	}
	if got := a.whyBroken(); got == nil || string(got.payload) != `{"errorType":"T"}` {
		t.Errorf("got %+v", got)
	}
}

// Whatever a runtime says, an event is answered once at most.
func FuzzRuntimeAPI(f *testing.F) {
	f.Add("POST", "/2018-06-01/runtime/invocation/id/response", `{}`)
	f.Add("POST", "/2018-06-01/runtime/invocation/id/error", `x`)
	f.Add("POST", "/2018-06-01/runtime/init/error", ``)
	f.Add("DELETE", "/2018-06-01/runtime/invocation/next", ``)
	f.Fuzz(func(t *testing.T, method, path, body string) {
		if strings.ContainsAny(method+path, " \r\n\x00#?%") || method == "" || !strings.HasPrefix(path, "/") || path == runtimePath+"invocation/next" {
			return
		}
		a := newRuntimeAPI()
		i := newInvocation("id", "arn", "", nil, time.Minute)
		a.events <- i
		ask(a, "GET", "/2018-06-01/runtime/invocation/next", "")
		defer func() { recover() }() // httptest refuses requests that are none
		ask(a, method, path, body)
		ask(a, "POST", "/2018-06-01/runtime/invocation/id/response", `{}`)
		if n := len(i.done); n != 1 {
			t.Errorf("%d answers", n)
		}
	})
}
