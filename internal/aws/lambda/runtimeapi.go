package lambda

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// largestAnswer is the largest answer of a function.
const largestAnswer = 6<<20 + 100

// An invocation is one event on its way through an environment.
type invocation struct {
	id      string // request id: the function's, and on X-Amzn-RequestId
	arn     string // that was invoked
	context string // the client's, decoded
	payload []byte
	timeout time.Duration

	taken chan struct{} // closed when the runtime has the event
	done  chan answer   // of one
}

func newInvocation(id, arn, clientContext string, payload []byte, timeout time.Duration) *invocation {
	return &invocation{id: id, arn: arn, context: clientContext, payload: payload, timeout: timeout, taken: make(chan struct{}), done: make(chan answer, 1)}
}

// An answer is what a function returns, or its error.
type answer struct {
	payload []byte
	failed  bool
}

// failure is the answer of Lambda itself for a function that has none.
func failure(kind, format string, args ...any) answer {
	text, _ := json.Marshal(map[string]string{"errorType": kind, "errorMessage": fmt.Sprintf(format, args...)})
	return answer{payload: text, failed: true}
}

// A runtimeAPI answers the runtime of one environment: Developer Guide, "Using the Lambda
// runtime API for custom runtimes", version 2018-06-01.
type runtimeAPI struct {
	events chan *invocation // of one: the next event

	mu      sync.Mutex
	asked   bool        // the runtime has asked for its first event
	current *invocation // that the runtime has
	broken  *answer     // what the runtime said of its initialization
}

func newRuntimeAPI() *runtimeAPI {
	return &runtimeAPI{events: make(chan *invocation, 1)}
}

const runtimePath = "/2018-06-01/runtime/"

func (a *runtimeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, runtimePath)
	switch {
	case !ok:
		refuse(w, http.StatusNotFound, "NotFound", "There is only the runtime API 2018-06-01 here.")
	case path == "invocation/next" && r.Method == http.MethodGet:
		a.next(w, r)
	case path == "init/error" && r.Method == http.MethodPost:
		a.initError(w, r)
	case strings.HasPrefix(path, "invocation/") && r.Method == http.MethodPost:
		id, what, _ := strings.Cut(strings.TrimPrefix(path, "invocation/"), "/")
		if what != "response" && what != "error" {
			refuse(w, http.StatusNotFound, "NotFound", "There is no such path in the runtime API.")
			return
		}
		a.answer(w, r, id, what == "error")
	default:
		refuse(w, http.StatusNotFound, "NotFound", "There is no such path in the runtime API.")
	}
}

func refuse(w http.ResponseWriter, status int, kind, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"errorType": kind, "errorMessage": message})
}

// next waits for the next event.
func (a *runtimeAPI) next(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	if !a.asked {
		a.asked = true
	}
	again := a.current
	a.mu.Unlock()
	if again != nil { // it lost the event, or has no mind to answer: it is told again
		deliver(w, again)
		return
	}
	var i *invocation
	select {
	case i = <-a.events:
	case <-r.Context().Done():
		return
	}
	a.mu.Lock()
	a.current = i
	a.mu.Unlock()
	close(i.taken)
	deliver(w, i)
}

func deliver(w http.ResponseWriter, i *invocation) {
	h := w.Header()
	h.Set("Lambda-Runtime-Aws-Request-Id", i.id)
	h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(time.Now().Add(i.timeout).UnixMilli(), 10))
	h.Set("Lambda-Runtime-Invoked-Function-Arn", i.arn)
	h.Set("Lambda-Runtime-Trace-Id", traceID(i.id))
	if i.context != "" {
		h.Set("Lambda-Runtime-Client-Context", i.context)
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(i.payload)))
	w.Write(i.payload)
}

// traceID has the form of X-Ray's; nothing is sampled, and nothing traced.
func traceID(id string) string {
	hex := strings.ReplaceAll(id, "-", "")
	for len(hex) < 32 {
		hex += "0"
	}
	return fmt.Sprintf("Root=1-%s-%s;Parent=%s;Sampled=0", hex[:8], hex[8:32], hex[:16])
}

// answer takes the response or the error of the event that the runtime has.
func (a *runtimeAPI) answer(w http.ResponseWriter, r *http.Request, id string, failed bool) {
	body, err := io.ReadAll(io.LimitReader(r.Body, largestAnswer+1))
	if err != nil {
		return
	}
	a.mu.Lock()
	i := a.current
	if i == nil || i.id != id {
		a.mu.Unlock()
		refuse(w, http.StatusBadRequest, "InvalidRequestID", "Invalid request ID")
		return
	}
	a.current = nil
	a.mu.Unlock()
	if len(body) > largestAnswer {
		i.done <- failure("Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed payload size (%d bytes).", largestAnswer)
		refuse(w, http.StatusRequestEntityTooLarge, "Function.ResponseSizeTooLarge", "Exceeded maximum allowed payload size.")
		return
	}
	if failed && !json.Valid(body) {
		body, _ = json.Marshal(map[string]string{"errorType": r.Header.Get("Lambda-Runtime-Function-Error-Type"), "errorMessage": string(body)})
	}
	i.done <- answer{payload: body, failed: failed}
	accepted(w)
}

func accepted(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	io.WriteString(w, `{"status":"OK"}`)
}

// initError takes why the runtime cannot begin. It ends by itself.
func (a *runtimeAPI) initError(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 256<<10))
	if err != nil {
		return
	}
	if !json.Valid(body) {
		body, _ = json.Marshal(map[string]string{"errorType": r.Header.Get("Lambda-Runtime-Function-Error-Type"), "errorMessage": string(body)})
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asked {
		refuse(w, http.StatusForbidden, "InvalidStateTransition", "The initialization is over.")
		return
	}
	if a.broken == nil {
		a.broken = &answer{payload: body, failed: true}
	}
	accepted(w)
}

// whyBroken is what the runtime said of its initialization; nil when it said nothing.
func (a *runtimeAPI) whyBroken() *answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.broken
}
