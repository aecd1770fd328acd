package wire_test

import (
	"errors"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/iamd-dev/iamd/internal/wire"
)

// A small service, as the generator would write one.
type (
	putInput struct {
		Name  string `wire:",req" min:"2" max:"5" pattern:"[a-z]+"`
		Count *int32 `wire:"count" min:"1"`
		Ratio *float64
		On    *bool
		Since time.Time
		Data  []byte
		Tags  []putTag `max:"2"`
		Keys  []string `emax:"3"`
		Attrs map[string]putAttr
		More  map[string]putAttr `wire:",sensitive"`
	}
	putTag  struct{ Key, Value string }
	putAttr struct {
		S string
		L []putAttr // recursive, as DynamoDB's
	}
	putOutput struct {
		Name   string
		When   time.Time
		Secret string `wire:",sensitive"`
		Data   []byte
		N      int64 `wire:",always"`
	}
)

var jsonModel = &wire.Model{
	Name: "toy", TargetPrefix: "Toy_20200101", Protocol: wire.JSON11,
	Operations: []wire.Operation{{Name: "Put", Method: "POST", URI: "/", In: reflect.TypeFor[putInput](), Out: reflect.TypeFor[putOutput]()}},
}

func jsonDecode(t *testing.T, body string) (*putInput, error) {
	t.Helper()
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	r.Header.Set("X-Amz-Target", "Toy_20200101.Put")
	op, err := jsonModel.Targeted(r)
	if err != nil {
		t.Fatal(err)
	}
	in := new(putInput)
	return in, wire.Decode(jsonModel, op, r, []byte(body), in)
}

func TestJSONDecode(t *testing.T) {
	for _, test := range []struct {
		body string
		want *putInput
	}{
		{`{"Name":"ab"}`, &putInput{Name: "ab"}},
		{` {"Name":"ab","count":3,"Ratio":0.5,"On":false,"Since":1771946601.987,"Data":"AQL/"} `,
			&putInput{Name: "ab", Count: ptr(int32(3)), Ratio: ptr(0.5), On: ptr(false), Since: when, Data: []byte{1, 2, 255}}},
		{`{"Name":"ab","count":1e1,"Ratio":2}`, &putInput{Name: "ab", Count: ptr(int32(10)), Ratio: ptr(2.0)}},
		{`{"Name":"ab","Tags":[{"Key":"k","Value":"v"}],"Keys":[]}`, &putInput{Name: "ab", Tags: []putTag{{"k", "v"}}, Keys: []string{}}},
		{`{"Name":"ab","Attrs":{"x":{"L":[{"S":"s"},{"L":[]}]}}}`,
			&putInput{Name: "ab", Attrs: map[string]putAttr{"x": {L: []putAttr{{S: "s"}, {L: []putAttr{}}}}}}},
		{`{"Name":"ab","count":null,"Tags":null,"Other":{"a":[1,{"b":"}"}]},"name":"x"}`, &putInput{Name: "ab"}},
	} {
		got, err := jsonDecode(t, test.body)
		if err != nil {
			t.Errorf("%s: %v", test.body, err)
			continue
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", test.body, diff)
		}
	}
}

func TestJSONRefused(t *testing.T) {
	for _, test := range []struct{ body, want string }{
		{`[]`, "SerializationException"},
		{`"x"`, "SerializationException"},
		{`{`, "SerializationException"},
		{`{"Name":"ab"`, "SerializationException"},
		{`{"Name":"ab"}}`, "SerializationException"},
		{`{"Name":"ab"} {}`, "SerializationException"},
		{`{"Name":1}`, "SerializationException"},
		{`{"Name":"ab","Name":"cd"}`, "SerializationException"},
		{`{"Name":"ab","count":"3"}`, "SerializationException"},
		{`{"Name":"ab","count":3.5}`, "SerializationException"},
		{`{"Name":"ab","count":99999999999}`, "SerializationException"},
		{`{"Name":"ab","On":"true"}`, "SerializationException"},
		{`{"Name":"ab","Since":"2026-01-01T00:00:00Z"}`, "SerializationException"},
		{`{"Name":"ab","Since":1e300}`, "SerializationException"},
		{`{"Name":"ab","Data":"!"}`, "SerializationException"},
		{`{"Name":"ab","Tags":{}}`, "SerializationException"},
		{`{"Name":"ab","Tags":[null]}`, "SerializationException"},
		{`{"Name":"ab","Attrs":{"a":{},"a":{}}}`, "SerializationException"},
		{`{"Name":"ab","Attrs":{"a":` + strings.Repeat(`{"L":[`, 1000), "SerializationException"},
		{``, "ValidationException"},
		{`{"Name":null}`, "ValidationException"},
		{`{"Name":"a"}`, "ValidationException"},
		{`{"Name":"ab","count":0}`, "ValidationException"},
		{`{"Name":"ab","Tags":[{},{},{}]}`, "ValidationException"},
		{`{"Name":"ab","Keys":["long"]}`, "ValidationException"},
	} {
		_, err := jsonDecode(t, test.body)
		if e := (*wire.Error)(nil); !errors.As(err, &e) || e.Code != test.want || e.Status != 400 {
			t.Errorf("%.60s: got %v, want %s", test.body, err, test.want)
		}
	}
	_, err := jsonDecode(t, `{"Name":"A"}`)
	want := "ValidationException: 2 validation errors detected: Value 'A' at 'name' failed to satisfy constraint: Member must have length greater than or equal to 2; Value 'A' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-z]+"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// What records leave out is passed over, but not whatever it may be.
func TestSkimJSON(t *testing.T) {
	type secret struct {
		Name  string             `wire:",req" min:"9"`
		Items map[string]putAttr `wire:",sensitive"`
		Word  string             `wire:",sensitive"`
		Attrs map[string]putAttr
	}
	body := `{"Name":"ab","Items":{"a":{"S":"x","L":[{"S":7},null,1.5e3]},"b":false},"Word":"w","Attrs":{"c":{"S":"y"}},"Other":[]}`
	var got secret
	if err := wire.SkimJSON([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if want := (secret{Name: "ab", Word: "w", Attrs: map[string]putAttr{"c": {S: "y"}}}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if err := wire.ReadJSON([]byte(body), new(secret)); err == nil {
		t.Error("a number was read as a string")
	}
	for _, body := range []string{
		`{"Items":{"a":{},"a":{}}}`, `{"Items":{"a":{"S":"x","\u0053":"y"}}}`, `{"Items":{"a":[{"b":1,"b":2}]}}`, `{"Items":{},"Items":{}}`, `{"Other":{"a":1,"a":2}}`,
		`{"Items":{"a"}}`, `{"Items":{"a":}}`, `{"Items":{"a":{"S":"x"}}`, `{"Items":}`, `{"Items":{"a":01}}`, `{"Items":{}}}`, `{"Items":{},}`, `[]`, `"x"`,
		`{"Attrs":{"a":{"S":7}}}`,
	} {
		var e *wire.Error
		if err := wire.SkimJSON([]byte(body), new(secret)); !errors.As(err, &e) || e.Code != "SerializationException" {
			t.Errorf("%s: got %v", body, err)
		}
	}
	err := wire.SkimJSON([]byte(`{"Items":{"a":{"S":"x","S":"y"}}}`), new(secret))
	if want := "SerializationException: The member S is given twice."; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A reader that others have used before begins anew, whatever became of what they read.
func TestJSONReadersAreClean(t *testing.T) {
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 500 {
				if _, err := jsonDecode(t, `{"Name":"A","Attrs":{"x":{"L":[{"L":[`); err == nil {
					t.Error("a document without end was read")
				}
				if err := wire.SkimJSON([]byte(`{"Attrs":{"x":{"S":"old"}}}`), new(putInput)); err != nil {
					t.Error(err)
				}
				in, err := jsonDecode(t, `{"Name":"ab","Attrs":{"y":{"L":[{"S":"new"}]}}}`)
				if want := map[string]putAttr{"y": {L: []putAttr{{S: "new"}}}}; err != nil || !reflect.DeepEqual(in.Attrs, want) {
					t.Errorf("got %+v, %v", in, err)
				}
			}
		})
	}
	all.Wait()
}

func TestJSONTarget(t *testing.T) {
	for _, target := range []string{"", "Put", "Toy_20200101.put", "Toy_20200101.Get", "Other.Put", "Toy_20200101.Put.Put"} {
		r := httptest.NewRequest("POST", "/", nil)
		r.Header.Set("X-Amz-Target", target)
		if op, err := jsonModel.Targeted(r); op != nil || err == nil {
			t.Errorf("%q: got %v, %v", target, op, err)
		}
	}
}

func TestJSONEncode(t *testing.T) {
	w := httptest.NewRecorder()
	out := &putOutput{Name: "a<\"", When: when, Secret: "s", Data: []byte{1}}
	if err := wire.EncodeResponse(w, jsonModel, jsonModel.Operation("Put"), out, "rid"); err != nil {
		t.Fatal(err)
	}
	if want := `{"Name":"a<\"","When":1771946601.987,"Secret":"s","Data":"AQ==","N":0}`; w.Body.String() != want {
		t.Errorf("got %s, want %s", w.Body, want)
	}
	if w.Header().Get("Content-Type") != "application/x-amz-json-1.1" || w.Header().Get("X-Amzn-Requestid") != "rid" {
		t.Errorf("headers %v", w.Header())
	}
	w = httptest.NewRecorder()
	wire.EncodeError(w, jsonModel, wire.Errorf(400, "DuplicateAccountException", "It is %q.", "there"), "rid", "/")
	if want := `{"__type":"DuplicateAccountException","message":"It is \"there\"."}`; w.Code != 400 || w.Body.String() != want {
		t.Errorf("got %d %s, want %s", w.Code, w.Body, want)
	}
}

func TestRESTJSONError(t *testing.T) {
	w := httptest.NewRecorder()
	wire.EncodeError(w, &wire.Model{Protocol: wire.RESTJSON}, wire.Errorf(403, "AccessDeniedException", "No."), "rid", "/")
	if w.Code != 403 || w.Body.String() != `{"message":"No."}` || w.Header().Get("X-Amzn-Errortype") != "AccessDeniedException" {
		t.Errorf("got %d %s %v", w.Code, w.Body, w.Header())
	}
}

func FuzzJSON(f *testing.F) {
	f.Add(`{"Name":"ab","Tags":[{"Key":"k"}],"Attrs":{"a":{"L":[{"S":"x"}]}},"Since":1.5,"Ratio":"NaN"}`)
	f.Add(`{"Name":"ab","Unknown":[[[{}]]]}`)
	f.Add(`{"Name":"ab","More":{"a":{"S":"x","L":[{},null]},"\u0061":{}}}`)
	f.Fuzz(func(t *testing.T, body string) {
		// What is read whole can be skimmed.
		if err := wire.ReadJSON([]byte(body), new(putInput)); err == nil {
			if err := wire.SkimJSON([]byte(body), new(putInput)); err != nil {
				t.Errorf("not skimmed: %v", err)
			}
		}
		in, err := jsonDecode(t, body)
		if e := (*wire.Error)(nil); err != nil && !errors.As(err, &e) {
			t.Fatalf("%T %v", err, err)
		}
		if err != nil {
			return
		}
		// What was read reads the same again.
		again, err := jsonDecode(t, string(wire.AppendJSON(nil, in, wire.JSONOptions{Wire: true})))
		if err != nil || again.Name != in.Name || len(again.Attrs) != len(in.Attrs) || !again.Since.Equal(in.Since) {
			t.Errorf("%+v became %+v, %v", in, again, err)
		}
	})
}
