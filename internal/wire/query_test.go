package wire_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	iam "github.com/iamd-dev/iamd/internal/aws/iam/api"
	sts "github.com/iamd-dev/iamd/internal/aws/sts/api"
	"github.com/iamd-dev/iamd/internal/wire"
)

// post is a Query request; version and operation are its first parameters.
func post(body string) *http.Request {
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// decode names the operation of a form and decodes it.
func decode(t *testing.T, m *wire.Model, form string) (any, error) {
	t.Helper()
	r := post(form)
	op, err := m.Named(wire.FormAction(r, []byte(form)))
	if err != nil {
		return nil, err
	}
	in := reflect.New(op.In).Interface()
	return in, wire.Decode(m, op, r, []byte(form), in)
}

func ptr[T any](v T) *T { return &v }

func TestQueryDecode(t *testing.T) {
	for _, test := range []struct {
		name string
		m    *wire.Model
		form string
		want any
	}{
		{"plain parameters", iam.Model, "Action=CreateUser&Version=2010-05-08&UserName=alice&Path=%2Fstaff%2F",
			&iam.CreateUserInput{UserName: "alice", Path: "/staff/"}},
		{"no parameters", sts.Model, "Action=GetCallerIdentity&Version=2011-06-15", &sts.GetCallerIdentityInput{}},
		{"a list of structures, out of order and with gaps", iam.Model,
			"Action=TagUser&Version=2010-05-08&UserName=a&Tags.member.10.Key=c&Tags.member.10.Value=3&Tags.member.2.Value=2&Tags.member.2.Key=b&Tags.member.1.Key=a&Tags.member.1.Value=",
			&iam.TagUserInput{UserName: "a", Tags: []iam.Tag{{Key: "a"}, {Key: "b", Value: "2"}, {Key: "c", Value: "3"}}}},
		{"a list of strings", iam.Model, "Action=UntagUser&Version=2010-05-08&UserName=a&TagKeys.member.2=y&TagKeys.member.1=x",
			&iam.UntagUserInput{UserName: "a", TagKeys: []string{"x", "y"}}},
		{"an empty list, as botocore writes it", iam.Model, "Action=TagUser&Version=2010-05-08&UserName=a&Tags=",
			&iam.TagUserInput{UserName: "a", Tags: []iam.Tag{}}},
		{"a wire name that is not the member's", sts.Model,
			"Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fr&RoleSessionName=ab&PolicyArns.member.1.arn=arn%3Aaws%3Aiam%3A%3Aaws%3Apolicy%2FReadOnlyAccess&DurationSeconds=900",
			&sts.AssumeRoleInput{RoleArn: "arn:aws:iam::111122223333:role/r", RoleSessionName: "ab",
				PolicyArns: []sts.PolicyDescriptorType{{Arn: "arn:aws:iam::aws:policy/ReadOnlyAccess"}}, DurationSeconds: ptr(int32(900))}},
		{"a structure", sts.Model, "Action=AssumeRoot&Version=2011-06-15&TargetPrincipal=111122223333&TaskPolicyArn.arn=arn%3Aaws%3Aiam%3A%3Aaws%3Apolicy%2Froot-task%2FX",
			&sts.AssumeRootInput{TargetPrincipal: "111122223333", TaskPolicyArn: sts.PolicyDescriptorType{Arn: "arn:aws:iam::aws:policy/root-task/X"}}},
		{"a parameter that newer clients send", sts.Model, "Action=GetSessionToken&Version=2011-06-15&MinimumSessionTokenSize=0",
			&sts.GetSessionTokenInput{MinimumSessionTokenSize: ptr(int32(0))}},
		{"unknown parameters are ignored", iam.Model, "Action=GetUser&Version=2010-05-08&Colour=red&Shape.member.1=2", &iam.GetUserInput{}},
		{"false is not absent", iam.Model, "Action=UpdateAccountPasswordPolicy&Version=2010-05-08&HardExpiry=false&RequireSymbols=TRUE",
			&iam.UpdateAccountPasswordPolicyInput{HardExpiry: ptr(false), RequireSymbols: ptr(true)}},
		{"an empty description is not an absent one", iam.Model, "Action=UpdateRole&Version=2010-05-08&RoleName=r&Description=",
			&iam.UpdateRoleInput{RoleName: "r", Description: ptr("")}},
		{"plus is a space and percent-encoding is UTF-8", iam.Model, "Action=TagUser&Version=2010-05-08&UserName=a&Tags.member.1.Key=a+b&Tags.member.1.Value=%C3%A9",
			&iam.TagUserInput{UserName: "a", Tags: []iam.Tag{{Key: "a b", Value: "é"}}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := decode(t, test.m, test.form)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// What does not have a member's form is not passed over: a session whose policies
// were not understood must not be one without.
func TestQueryWrongForm(t *testing.T) {
	const call = "Action=AssumeRole&Version=2011-06-15&RoleArn=arn:aws:iam::111122223333:role/r&RoleSessionName=s1&"
	for form, refused := range map[string]bool{
		"PolicyArns=arn:aws:iam::aws:policy/ReadOnlyAccess":                true,
		"PolicyArns.1.arn=arn:aws:iam::aws:policy/ReadOnlyAccess":          true,
		"PolicyArns.entry.1.arn=arn:aws:iam::aws:policy/ReadOnlyAccess":    true,
		"PolicyArns.member=arn:aws:iam::aws:policy/ReadOnlyAccess":         true,
		"PolicyArns.member.1=arn:aws:iam::aws:policy/ReadOnlyAccess":       true,
		"PolicyArns.member.1.arn.x=arn:aws:iam::aws:policy/ReadOnlyAccess": true,
		"Policy.member.1={}": true,
		"Tags=k":             true,
		"PolicyArns.member.1.arn=arn:aws:iam::aws:policy/ReadOnlyAccess": false,
		"PolicyArns=":        false, // an empty list, as clients write it
		"PolicyArns.member=": false,
		"Colour=red":         false,
	} {
		r := httptest.NewRequest("POST", "/", nil)
		in := &sts.AssumeRoleInput{}
		err := wire.Decode(sts.Model, sts.Model.Operation("AssumeRole"), r, []byte(call+form), in)
		var e *wire.Error
		if got := errors.As(err, &e) && e.Status == 400; got != refused {
			t.Errorf("%s: got %v, %v; want it refused: %v", form, err, in.PolicyArns, refused)
		}
	}
}

func TestQueryDecodeGET(t *testing.T) {
	r := httptest.NewRequest("GET", "/?Action=GetUser&Version=2010-05-08&UserName=bob&X-Amz-Signature=00", nil)
	op, err := iam.Model.Named(wire.FormAction(r, nil))
	if err != nil {
		t.Fatal(err)
	}
	in := new(iam.GetUserInput)
	if err := wire.Decode(iam.Model, op, r, nil, in); err != nil || in.UserName != "bob" {
		t.Errorf("got %+v, %v", in, err)
	}
}

// The query string of a POST with a body says nothing: only one of the two may be read.
func TestQueryDecodeIgnoresQueryStringBesideBody(t *testing.T) {
	body := "Action=GetUser&Version=2010-05-08"
	r := httptest.NewRequest("POST", "/?UserName=root&Action=DeleteUser", strings.NewReader(body))
	op, err := iam.Model.Named(wire.FormAction(r, []byte(body)))
	if err != nil || op.Name != "GetUser" {
		t.Fatalf("got %v, %v", op, err)
	}
	in := new(iam.GetUserInput)
	if err := wire.Decode(iam.Model, op, r, []byte(body), in); err != nil || in.UserName != "" {
		t.Errorf("got %+v, %v", in, err)
	}
}

func TestQueryMalformed(t *testing.T) {
	for _, form := range []string{
		"MaxItems=abc",
		"MaxItems=",
		"MaxItems=99999999999",
		"MaxItems=1&MaxItems=1",
		"MaxItems=1&Max%49tems=2",
		"Marker=%",
		"Marker=%4",
		"Marker=%GG",
		"Marker=%FF", // not UTF-8
		"%FF=1",
	} {
		_, err := decode(t, iam.Model, "Action=ListUsers&Version=2010-05-08&"+form)
		if e := (*wire.Error)(nil); !errors.As(err, &e) || e.Code != "MalformedInput" || e.Message != "" || e.Status != 400 {
			t.Errorf("%s: got %v, want MalformedInput without message", form, err)
		}
	}
	for _, form := range []string{
		"Tags.member.0.Key=a",
		"Tags.member.01.Key=a",
		"Tags.member.-1.Key=a",
		"Tags.member.%2B1.Key=a",
		"Tags.member.x.Key=a",
		"Tags.member..Key=a",
		"Tags.member.99999999999999999999999.Key=a",
	} {
		_, err := decode(t, iam.Model, "Action=TagUser&Version=2010-05-08&UserName=a&"+form)
		if e := (*wire.Error)(nil); !errors.As(err, &e) || e.Code != "MalformedInput" {
			t.Errorf("%s: got %v, want MalformedInput", form, err)
		}
	}
	for _, form := range []string{"HardExpiry=yes", "HardExpiry=1", "HardExpiry="} {
		_, err := decode(t, iam.Model, "Action=UpdateAccountPasswordPolicy&Version=2010-05-08&"+form)
		if e := (*wire.Error)(nil); !errors.As(err, &e) || e.Code != "MalformedInput" {
			t.Errorf("%s: got %v, want MalformedInput", form, err)
		}
	}
}

// An index orders elements and sizes nothing.
func TestQueryHugeIndex(t *testing.T) {
	got, err := decode(t, iam.Model, "Action=UntagUser&Version=2010-05-08&UserName=a&TagKeys.member.1000000000=b&TagKeys.member.18446744073709551615=c&TagKeys.member.7=a")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b", "c"}; !reflect.DeepEqual(got.(*iam.UntagUserInput).TagKeys, want) {
		t.Errorf("got %q, want %q", got.(*iam.UntagUserInput).TagKeys, want)
	}
	allocs := testing.AllocsPerRun(10, func() {
		in := new(iam.UntagUserInput)
		if err := wire.DecodeUnchecked([]byte("TagKeys.member.1000000000=b"), in); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 12 {
		t.Errorf("%v allocations for one element", allocs)
	}
}

// Ten thousand elements are one fault, and a hundred thousand parameters are not read.
func TestQueryManyElements(t *testing.T) {
	var b strings.Builder
	b.WriteString("Action=TagUser&Version=2010-05-08&UserName=a")
	for i := range 9_000 {
		fmt.Fprintf(&b, "&Tags.member.%d.Key=k&Tags.member.%d.Value=v", i+1, i+1)
	}
	_, err := decode(t, iam.Model, b.String())
	want := "ValidationError: 1 validation error detected: Value at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	_, err = decode(t, iam.Model, "Action=GetUser&Version=2010-05-08"+strings.Repeat("&a=b", 100_000))
	if e := (*wire.Error)(nil); !errors.As(err, &e) || e.Code != "MalformedInput" {
		t.Errorf("got %v, want MalformedInput", err)
	}
}

func TestQueryUnknownAction(t *testing.T) {
	for _, test := range []struct{ form, want string }{
		{"Action=Frobnicate&Version=2010-05-08", "InvalidAction: Could not find operation Frobnicate for version 2010-05-08"},
		{"Action=GetUser&Version=2011-06-15", "InvalidAction: Could not find operation GetUser for version 2011-06-15"},
		{"Action=getuser&Version=2010-05-08", "InvalidAction: Could not find operation getuser for version 2010-05-08"},
		{"Version=2010-05-08", "InvalidAction: Could not find operation  for version 2010-05-08"},
		{"Action=GetUser", "InvalidAction: Could not find operation GetUser for version NO_VERSION_SPECIFIED"},
		{"", "InvalidAction: Could not find operation  for version NO_VERSION_SPECIFIED"},
	} {
		_, err := decode(t, iam.Model, test.form)
		if err == nil || err.Error() != test.want {
			t.Errorf("%q: got %v, want %s", test.form, err, test.want)
		}
	}
	// Two actions: the first is found, and the form is refused.
	_, err := decode(t, iam.Model, "Action=GetUser&Action=DeleteUser&Version=2010-05-08")
	if e := (*wire.Error)(nil); !errors.As(err, &e) || e.Code != "MalformedInput" {
		t.Errorf("got %v, want MalformedInput", err)
	}
}

var when = time.Date(2026, 2, 24, 15, 23, 21, 987e6, time.UTC)

func TestQueryEncode(t *testing.T) {
	for _, test := range []struct {
		m    *wire.Model
		op   string
		out  any
		want string
	}{
		{iam.Model, "CreateUser", &iam.CreateUserOutput{User: &iam.User{Path: "/", UserName: "a<b", UserId: "AIDA", Arn: "arn:aws:iam::1:user/a", CreateDate: when}},
			`<CreateUserResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><CreateUserResult><User><Path>/</Path><UserName>a&lt;b</UserName><UserId>AIDA</UserId><Arn>arn:aws:iam::1:user/a</Arn><CreateDate>2026-02-24T15:23:21Z</CreateDate></User></CreateUserResult><ResponseMetadata><RequestId>rid</RequestId></ResponseMetadata></CreateUserResponse>`},
		{iam.Model, "DeleteUser", &iam.DeleteUserOutput{},
			`<DeleteUserResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><ResponseMetadata><RequestId>rid</RequestId></ResponseMetadata></DeleteUserResponse>`},
		{iam.Model, "ListUsers", &iam.ListUsersOutput{}, // an empty list and IsTruncated are there, Marker is not
			`<ListUsersResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><ListUsersResult><Users></Users><IsTruncated>false</IsTruncated></ListUsersResult><ResponseMetadata><RequestId>rid</RequestId></ResponseMetadata></ListUsersResponse>`},
		{iam.Model, "ListUserTags", &iam.ListUserTagsOutput{Tags: []iam.Tag{{Key: "k"}}}, // an empty value is a value
			`<ListUserTagsResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><ListUserTagsResult><Tags><member><Key>k</Key><Value></Value></member></Tags><IsTruncated>false</IsTruncated></ListUserTagsResult><ResponseMetadata><RequestId>rid</RequestId></ResponseMetadata></ListUserTagsResponse>`},
		{iam.Model, "GetRolePolicy", &iam.GetRolePolicyOutput{RoleName: "r", PolicyName: "p", PolicyDocument: `{"a": "é~*"}`}, // percent-encoded
			`<GetRolePolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><GetRolePolicyResult><RoleName>r</RoleName><PolicyName>p</PolicyName><PolicyDocument>%7B%22a%22%3A%20%22%C3%A9~%2A%22%7D</PolicyDocument></GetRolePolicyResult><ResponseMetadata><RequestId>rid</RequestId></ResponseMetadata></GetRolePolicyResponse>`},
		{iam.Model, "GetAccountSummary", &iam.GetAccountSummaryOutput{SummaryMap: map[string]int32{"Users": 1, "Groups": 0}},
			`<GetAccountSummaryResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><GetAccountSummaryResult><SummaryMap><entry><key>Groups</key><value>0</value></entry><entry><key>Users</key><value>1</value></entry></SummaryMap></GetAccountSummaryResult><ResponseMetadata><RequestId>rid</RequestId></ResponseMetadata></GetAccountSummaryResponse>`},
		{iam.Model, "GetCredentialReport", &iam.GetCredentialReportOutput{Content: []byte("user,arn\n"), ReportFormat: "text/csv", GeneratedTime: when},
			`<GetCredentialReportResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><GetCredentialReportResult><Content>dXNlcixhcm4K</Content><ReportFormat>text/csv</ReportFormat><GeneratedTime>2026-02-24T15:23:21Z</GeneratedTime></GetCredentialReportResult><ResponseMetadata><RequestId>rid</RequestId></ResponseMetadata></GetCredentialReportResponse>`},
		{iam.Model, "GetRole", &iam.GetRoleOutput{Role: &iam.Role{RoleLastUsed: &iam.RoleLastUsed{}, Tags: []iam.Tag{}}}, // empty objects and lists that are given are written
			`<GetRoleResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><GetRoleResult><Role><Path></Path><RoleName></RoleName><RoleId></RoleId><Arn></Arn><Tags></Tags><RoleLastUsed></RoleLastUsed></Role></GetRoleResult><ResponseMetadata><RequestId>rid</RequestId></ResponseMetadata></GetRoleResponse>`},
		{sts.Model, "GetFederationToken", &sts.GetFederationTokenOutput{}, // PackedPolicySize always
			`<GetFederationTokenResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetFederationTokenResult><PackedPolicySize>0</PackedPolicySize></GetFederationTokenResult><ResponseMetadata><RequestId>rid</RequestId></ResponseMetadata></GetFederationTokenResponse>`},
		{sts.Model, "GetCallerIdentity", (*sts.GetCallerIdentityOutput)(nil),
			`<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult></GetCallerIdentityResult><ResponseMetadata><RequestId>rid</RequestId></ResponseMetadata></GetCallerIdentityResponse>`},
	} {
		w := httptest.NewRecorder()
		if err := wire.EncodeResponse(w, test.m, test.m.Operation(test.op), test.out, "rid"); err != nil {
			t.Fatal(err)
		}
		if got := w.Body.String(); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.op, got, test.want)
		}
		if w.Code != 200 || w.Header().Get("Content-Type") != "text/xml" || w.Header().Get("X-Amzn-Requestid") != "rid" {
			t.Errorf("%s: %d %v", test.op, w.Code, w.Header())
		}
	}
}

func TestQueryEncodeError(t *testing.T) {
	for _, test := range []struct {
		err    *wire.Error
		status int
		want   string
	}{
		{iam.NoSuchEntity("The user with name %s cannot be found.", "<a>"), 404,
			`<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type><Code>NoSuchEntity</Code><Message>The user with name &lt;a&gt; cannot be found.</Message></Error><RequestId>rid</RequestId></ErrorResponse>`},
		{iam.ServiceFailure("Sorry, 100%% down"), 500,
			`<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Receiver</Type><Code>ServiceFailure</Code><Message>Sorry, 100% down</Message></Error><RequestId>rid</RequestId></ErrorResponse>`},
		{&wire.Error{Code: "ReportNotPresent", Status: 410, NoMessage: true}, 410,
			`<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type><Code>ReportNotPresent</Code></Error><RequestId>rid</RequestId></ErrorResponse>`},
		{&wire.Error{Code: "InvalidAction", Message: "Could not find operation X for version Y"}, 400,
			`<ErrorResponse xmlns="http://webservices.amazon.com/AWSFault/2005-15-09"><Error><Type>Sender</Type><Code>InvalidAction</Code><Message>Could not find operation X for version Y</Message></Error><RequestId>rid</RequestId></ErrorResponse>`},
		{&wire.Error{Code: "MalformedInput"}, 400,
			`<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type><Code>MalformedInput</Code><Message></Message></Error><RequestId>rid</RequestId></ErrorResponse>`},
	} {
		w := httptest.NewRecorder()
		wire.EncodeError(w, iam.Model, test.err, "rid", "/")
		if w.Code != test.status || w.Body.String() != test.want {
			t.Errorf("%s:\ngot  %d %s\nwant %d %s", test.err.Code, w.Code, w.Body, test.status, test.want)
		}
	}
}

// Text that XML cannot hold does not break the document.
func TestQueryEncodeHostileText(t *testing.T) {
	for _, s := range []string{"\x00\x01\x1f", "\xff\xfe", "]]>", "<!DOCTYPE a>", "&amp;", "\r\n\t", "\uFFFE\uFFFF", `"'`} {
		w := httptest.NewRecorder()
		err := wire.EncodeResponse(w, iam.Model, iam.Model.Operation("ListAccountAliases"), &iam.ListAccountAliasesOutput{AccountAliases: []string{s}}, s)
		if err != nil {
			t.Fatal(err)
		}
		if err := wire.WellFormed(w.Body.Bytes()); err != nil {
			t.Errorf("%q: %v in %s", s, err, w.Body)
		}
	}
}

// Every input of IAM and STS survives the way through a form, whatever is in it.
func TestQueryRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, m := range []*wire.Model{iam.Model, sts.Model} {
		for _, op := range m.Operations {
			for range 5 {
				want := reflect.New(op.In)
				fill(rnd, want.Elem(), 0)
				form := url.Values{}
				toForm(form, "", want.Elem())
				got := reflect.New(op.In)
				if err := wire.DecodeUnchecked([]byte(form.Encode()), got.Interface()); err != nil {
					t.Fatalf("%s: %v", op.Name, err)
				}
				if diff := cmp.Diff(want.Interface(), got.Interface()); diff != "" {
					t.Fatalf("%s: -want +got\n%s\n%v", op.Name, diff, form)
				}
			}
		}
	}
}

// Every output of IAM and STS becomes a document that can be read, and a record.
func TestQueryEncodeAll(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, m := range []*wire.Model{iam.Model, sts.Model} {
		for i := range m.Operations {
			op := &m.Operations[i]
			if op.Out == nil {
				continue
			}
			out := reflect.New(op.Out)
			fill(rnd, out.Elem(), 0)
			w := httptest.NewRecorder()
			if err := wire.EncodeResponse(w, m, op, out.Interface(), "rid"); err != nil {
				t.Fatal(err)
			}
			if err := wire.WellFormed(w.Body.Bytes()); err != nil {
				t.Errorf("%s: %v in %s", op.Name, err, w.Body)
			}
			if b := wire.AppendJSON(nil, out.Interface(), wire.JSONOptions{}); !json.Valid(b) {
				t.Errorf("%s: %s", op.Name, b)
			}
		}
	}
}

// fill puts random values everywhere.
func fill(rnd *rand.Rand, v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(rnd, v.Elem(), depth)
	case reflect.String:
		v.SetString([]string{"a", "x y", "é&=+%", "<>.1"}[rnd.IntN(4)])
	case reflect.Int32, reflect.Int64:
		v.SetInt(int64(rnd.IntN(1000)))
	case reflect.Float64:
		v.SetFloat(float64(rnd.IntN(1000)) / 4)
	case reflect.Bool:
		v.SetBool(rnd.IntN(2) == 0)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(int64(rnd.IntN(2e9)), 0).UTC()))
			return
		}
		for i := range v.NumField() {
			fill(rnd, v.Field(i), depth+1)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte{1, 2, 255})
			return
		}
		n := 1 + rnd.IntN(5) // no list is allowed fewer
		if depth > 3 {
			n = 1
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(rnd, v.Index(i), depth+1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for i := range 1 + rnd.IntN(3) {
			e := reflect.New(v.Type().Elem()).Elem()
			fill(rnd, e, depth+1)
			v.SetMapIndex(reflect.ValueOf(fmt.Sprint("k", i)), e)
		}
	}
}

// toForm writes a struct as a client would, from the tags and by itself.
func toForm(form url.Values, name string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		toForm(form, name, v.Elem())
	case reflect.Struct:
		if t, ok := v.Interface().(time.Time); ok {
			form.Set(name, t.Format(time.RFC3339))
			return
		}
		for i := range v.NumField() {
			f := v.Type().Field(i)
			wireName, _, _ := strings.Cut(f.Tag.Get("wire"), ",")
			if wireName == "" {
				wireName = f.Name
			}
			if name != "" {
				wireName = name + "." + wireName
			}
			toForm(form, wireName, v.Field(i))
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			form.Set(name, "AQL/")
			return
		}
		for i := range v.Len() {
			toForm(form, fmt.Sprintf("%s.member.%d", name, i+1), v.Index(i))
		}
	case reflect.Map:
		for i, k := range v.MapKeys() {
			form.Set(fmt.Sprintf("%s.entry.%d.key", name, i+1), k.String())
			toForm(form, fmt.Sprintf("%s.entry.%d.value", name, i+1), v.MapIndex(k))
		}
	default:
		form.Set(name, fmt.Sprint(v.Interface()))
	}
}
