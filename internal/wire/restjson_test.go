package wire_test

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	lambda "github.com/iamd-dev/iamd/internal/aws/lambda/api"
	"github.com/iamd-dev/iamd/internal/wire"
)

// lambdaDecode routes and decodes a request of Lambda's.
func lambdaDecode(t *testing.T, r *http.Request, body string) (any, error) {
	t.Helper()
	op, err := lambda.Model.Route(r, r.URL.EscapedPath())
	if err != nil {
		return nil, err
	}
	in := reflect.New(op.In).Interface()
	return in, wire.Decode(lambda.Model, op, r, []byte(body), in)
}

func TestRESTJSONDecode(t *testing.T) {
	two := int32(2)
	yes := true
	for _, test := range []struct {
		name   string
		method string
		target string
		body   string
		header []string
		want   any
	}{
		{"a payload, headers and a query", "POST", "/2015-03-31/functions/f/invocations?Qualifier=live", `{"a":1}`,
			[]string{"X-Amz-Invocation-Type: Event", "X-Amz-Log-Type: Tail"},
			&lambda.InvokeInput{FunctionName: "f", InvocationType: "Event", LogType: "Tail", Qualifier: "live", Payload: []byte(`{"a":1}`)}},
		{"no payload", "POST", "/2015-03-31/functions/f/invocations", "", nil, &lambda.InvokeInput{FunctionName: "f", Payload: []byte{}}},
		{"an ARN in the path", "POST", "/2014-11-13/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A111122223333%3Afunction%3Af/invoke-async/", `{}`, nil,
			&lambda.InvokeAsyncInput{FunctionName: "arn:aws:lambda:us-east-1:111122223333:function:f", InvokeArgs: []byte("{}")}},
		{"a body beside the path", "PUT", "/2017-10-31/functions/f/concurrency", `{"ReservedConcurrentExecutions":2}`, nil,
			&lambda.PutFunctionConcurrencyInput{FunctionName: "f", ReservedConcurrentExecutions: &two}},
		{"a blob in a body", "PUT", "/2015-03-31/functions/f/code", `{"ZipFile":"UEs=","Publish":true}`, nil,
			&lambda.UpdateFunctionCodeInput{FunctionName: "f", ZipFile: []byte("PK"), Publish: &yes}},
		{"a list in the query", "DELETE", "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A111122223333%3Afunction%3Af?tagKeys=a&tagKeys=b", "", nil,
			&lambda.UntagResourceInput{Resource: "arn:aws:lambda:us-east-1:111122223333:function:f", TagKeys: []string{"a", "b"}}},
		{"numbers in the query", "GET", "/2015-03-31/functions?MaxItems=2&Marker=m", "", nil, &lambda.ListFunctionsInput{MaxItems: &two, Marker: "m"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := lambdaDecode(t, request(test.method, test.target, test.body, test.header...), test.body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestRESTJSONRefused(t *testing.T) {
	for _, test := range []struct {
		name, method, target, body string
		header                     []string
		want                       string
	}{
		{"a value that is none of the header's", "POST", "/2015-03-31/functions/f/invocations", "", []string{"X-Amz-Invocation-Type: Later"},
			"ValidationException: 1 validation error detected: Value 'Later' at 'invocationType' failed to satisfy constraint: Member must satisfy enum value set: [Event, RequestResponse, DryRun]"},
		{"a header twice", "POST", "/2015-03-31/functions/f/invocations", "", []string{"X-Amz-Log-Type: Tail", "X-Amz-Log-Type: None"}, "SerializationException"},
		{"no list in the query", "DELETE", "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A111122223333%3Afunction%3Af", "", nil,
			"ValidationException: 1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: Member must not be null"},
		{"a number that is none", "GET", "/2015-03-31/functions?MaxItems=many", "", nil, "SerializationException"},
		{"a number out of bounds", "GET", "/2015-03-31/functions?MaxItems=0", "", nil, "ValidationException: 1 validation error detected: Value '0' at 'maxItems'"},
		{"base64 that is none", "PUT", "/2015-03-31/functions/f/code", `{"ZipFile":"?"}`, nil, "SerializationException"},
		{"JSON that is none", "PUT", "/2015-03-31/functions/f/code", `{"ZipFile":`, nil, "SerializationException"},
		{"a role that is none", "PUT", "/2015-03-31/functions/f/configuration", `{"Role":"r1"}`, nil,
			`ValidationException: 1 validation error detected: Value 'r1' at 'role' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+`},
		{"an alias that is a number", "POST", "/2015-03-31/functions/f/aliases", `{"Name":"12","FunctionVersion":"1"}`, nil,
			"ValidationException: 1 validation error detected: Value '12' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)"},
		{"a path that is none", "POST", "/2015-03-31/functions/f/nothing", "", nil, "MethodNotAllowed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := lambdaDecode(t, request(test.method, test.target, test.body, test.header...), test.body)
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestRESTJSONEncode(t *testing.T) {
	none := int32(0)
	for _, test := range []struct {
		name   string
		op     string
		out    any
		status int
		header map[string]string
		body   string
	}{
		{"status, headers and payload are members", "Invoke",
			&lambda.InvokeOutput{StatusCode: 200, FunctionError: "Unhandled", ExecutedVersion: "$LATEST", Payload: []byte(`{"errorMessage":"no"}`)},
			200, map[string]string{"X-Amz-Function-Error": "Unhandled", "X-Amz-Executed-Version": "$LATEST", "Content-Type": "application/json"}, `{"errorMessage":"no"}`},
		{"another status, and nothing in the body", "Invoke", &lambda.InvokeOutput{StatusCode: 202}, 202, map[string]string{"Content-Length": "0"}, ""},
		{"no content", "Invoke", &lambda.InvokeOutput{StatusCode: 204}, 204, nil, ""},
		{"the model's status", "CreateAlias", &lambda.CreateAliasOutput{Name: "a"}, 201, nil, `{"Name":"a","Description":""}`},
		{"an output without members", "DeleteAlias", &lambda.DeleteAliasOutput{}, 204, nil, ""},
		{"zero is not nothing", "PutFunctionConcurrency", &lambda.PutFunctionConcurrencyOutput{ReservedConcurrentExecutions: &none}, 200, nil, `{"ReservedConcurrentExecutions":0}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			if err := wire.EncodeResponse(w, lambda.Model, lambda.Model.Operation(test.op), test.out, "id"); err != nil {
				t.Fatal(err)
			}
			if w.Code != test.status || w.Body.String() != test.body {
				t.Errorf("got %d %q, want %d %q", w.Code, w.Body, test.status, test.body)
			}
			for name, want := range test.header {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		})
	}
}

// The code of an error is in a header, and its text in Message or message, as the model
// of the error has it.
func TestRESTJSONErrorText(t *testing.T) {
	for _, test := range []struct {
		err  *wire.Error
		want string
	}{
		{lambda.ResourceNotFound("Function not found: %s", "f"), `404 ResourceNotFoundException {"Message":"Function not found: f","Type":"User"}`},
		{lambda.ResourceConflict("no"), `409 ResourceConflictException {"message":"no","Type":"User"}`},
		{lambda.AccessDenied("no"), `403 AccessDeniedException {"Message":"no"}`},
		{&wire.Error{Code: "AccessDeniedException", Status: 403, NoMessage: true}, `403 AccessDeniedException {}`},
	} {
		w := httptest.NewRecorder()
		wire.EncodeError(w, lambda.Model, test.err, "id", "/")
		got := strings.Join([]string{http.StatusText(w.Code), w.Header().Get("X-Amzn-Errortype"), w.Body.String()}, " ")
		if want := http.StatusText(test.err.Status) + test.want[3:]; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func FuzzRESTJSON(f *testing.F) {
	f.Add("POST", "/2015-03-31/functions/f/invocations?Qualifier=1", "X-Amz-Log-Type", "Tail", `{}`)
	f.Add("PUT", "/2015-03-31/functions/f/configuration", "Content-Type", "application/json", `{"Environment":{"Variables":{"A":"b"}},"Timeout":3}`)
	f.Add("DELETE", "/2017-03-31/tags/arn%3Aaws?tagKeys=a", "", "", "")
	f.Add("POST", "/2015-03-31/functions", "", "", `{"FunctionName":"f","Code":{"ZipFile":"UEs="},"Role":"r"}`)
	f.Fuzz(func(t *testing.T, method, target, name, value, body string) {
		r, err := http.NewRequest(method, target, nil)
		if err != nil {
			return
		}
		if name != "" {
			r.Header.Set(name, value)
		}
		op, err := lambda.Model.Route(r, r.URL.EscapedPath())
		if err != nil || op.In == nil {
			return
		}
		in := reflect.New(op.In).Interface()
		if err := wire.Decode(lambda.Model, op, r, []byte(body), in); err != nil {
			return
		}
		if text := wire.AppendJSON(nil, in, wire.JSONOptions{}); len(text) == 0 {
			t.Errorf("%s cannot be recorded", op.Name)
		}
	})
}
