package server_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/server"
	"github.com/iamd-dev/iamd/internal/sigv4"
)

// A watch sees that hostile requests change nothing and find no fault of ours.
type watch struct {
	h       *site
	changes int64
}

// watch begins to watch. The actors are those who will call: that they have is noted
// in the state once, now.
func (h *site) watch(actors ...actor) watch {
	h.t.Helper()
	for _, a := range actors {
		h.well(h.query(a, "sts", "GetCallerIdentity"))
	}
	h.server.Close() // writes what is noted, and goes on serving
	return watch{h, h.changes.n.Load()}
}

// holds fails the test when a call was done, panicked or was answered by what is not XML.
func (w watch) holds(t *testing.T, answers ...reply) {
	t.Helper()
	for _, a := range answers {
		if a.status >= 500 && a.status != 501 {
			t.Errorf("a fault of ours: %d %s", a.status, a.body)
		}
		for d := xml.NewDecoder(strings.NewReader(a.body)); a.body != ""; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Errorf("the answer is not XML: %v\n%q", err, a.body)
				break
			}
		}
	}
	if n := w.h.changes.n.Load() - w.changes; n != 0 {
		t.Errorf("the state has changed %d times", n)
	}
	if text := w.h.logged.String(); strings.Contains(text, "level=ERROR") {
		t.Errorf("the log has\n%s", text)
	}
}

// repeat makes a form's parameters of a format with a number.
func repeat(n int, format string) string {
	var b strings.Builder
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, "&"+format, i)
	}
	return b.String()
}

func TestHostileForms(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	root := h.roots[ours]
	create := "Action=CreateUser&Version=2010-05-08&UserName=x"
	list := "Action=ListUsers&Version=2010-05-08"
	w := h.watch(root)
	for _, c := range []struct {
		name, form string
		status     int
		code       string
	}{
		{"nothing", "", 400, "InvalidAction"},
		{"no version", "Action=ListUsers", 400, "InvalidAction"},
		{"another version", "Action=ListUsers&Version=2011-06-15", 400, "InvalidAction"},
		{"another case", "Action=listusers&Version=2010-05-08", 400, "InvalidAction"},
		{"another service's operation", "Action=AssumeRole&Version=2010-05-08", 400, "InvalidAction"},
		{"an encoded action", "Action=List%55sers&Version=2010-05-08", 400, "InvalidAction"},
		{"an encoded name of the action", "%41ction=CreateUser&Version=2010-05-08&UserName=x", 400, "InvalidAction"},
		{"two actions", "Action=ListUsers&Version=2010-05-08&Action=CreateUser&UserName=x", 400, "MalformedInput"},
		{"two actions, one encoded", "Action=ListUsers&Version=2010-05-08&%41ction=CreateUser", 400, "MalformedInput"},
		{"a parameter twice", create + "&UserName=y", 400, "MalformedInput"},
		{"a parameter twice, once encoded", create + "&User%4eame=y", 400, "MalformedInput"},
		{"a parameter twice, the same", create + "&UserName=x", 400, "MalformedInput"},
		{"a broken escape", create + "%", 400, "MalformedInput"},
		{"a broken escape in a name", create + "&a%g1=x", 400, "MalformedInput"},
		{"invalid UTF-8", create + "%ff", 400, "MalformedInput"},
		{"invalid UTF-8, raw", create + "\xff", 400, "MalformedInput"},
		{"an overlong slash", create + "%c0%af", 400, "MalformedInput"},
		{"half of a surrogate pair", create + "%ed%a0%80", 400, "MalformedInput"},
		{"NUL", create + "%00", 400, "ValidationError"},
		{"a line end", create + "%0a", 400, "ValidationError"},
		{"a slash", create + "/../root", 400, "ValidationError"},
		{"an empty name", "Action=CreateUser&Version=2010-05-08&UserName=", 400, "ValidationError"},
		{"no name", "Action=CreateUser&Version=2010-05-08", 400, "ValidationError"},
		{"a long name", create + strings.Repeat("x", 64), 400, "ValidationError"},
		{"a path without slashes", create + "&Path=a", 400, "ValidationError"},
		{"a trust policy of 131,073 characters", "Action=CreateRole&Version=2010-05-08&RoleName=x&AssumeRolePolicyDocument=" + strings.Repeat("x", 131073), 400, "ValidationError"}, // F0880
		{"minus one", list + "&MaxItems=-1", 400, "ValidationError"},
		{"nought", list + "&MaxItems=0", 400, "ValidationError"},
		{"too many", list + "&MaxItems=1001", 400, "ValidationError"},
		{"no number", list + "&MaxItems=ten", 400, "MalformedInput"},
		{"no number at all", list + "&MaxItems=", 400, "MalformedInput"},
		{"a fraction", list + "&MaxItems=1.5", 400, "MalformedInput"},
		{"an exponent", list + "&MaxItems=1e2", 400, "MalformedInput"},
		{"hexadecimal", list + "&MaxItems=0x10", 400, "MalformedInput"},
		{"an underscore", list + "&MaxItems=1_0", 400, "MalformedInput"},
		{"Arabic digits", list + "&MaxItems=%D9%A3", 400, "MalformedInput"},
		{"2^32", list + "&MaxItems=4294967296", 400, "MalformedInput"},
		{"2^31", list + "&MaxItems=2147483648", 400, "MalformedInput"},
		{"a marker of ours that is none", list + "&Marker=%00!", 400, "ValidationError"},
		{"a list from nought", create + "&Tags.member.0.Key=k&Tags.member.0.Value=v", 400, "MalformedInput"},
		{"a list from minus one", create + "&Tags.member.-1.Key=k", 400, "MalformedInput"},
		{"a list from 2^64", create + "&Tags.member.18446744073709551616.Key=k", 400, "MalformedInput"},
		{"a list of names", create + "&Tags.member.a.Key=k", 400, "MalformedInput"},
		{"an element twice", create + "&Tags.member.1.Key=k&Tags.member.01.Key=j", 400, "MalformedInput"},
		{"an element without its key", create + "&Tags.member.1.Value=v", 400, "ValidationError"},
		{"51 tags", create + repeat(51, "Tags.member.%[1]d.Key=k%[1]d&Tags.member.%[1]d.Value=v"), 400, "ValidationError"},
		{"9,000 tags", create + repeat(9000, "Tags.member.%[1]d.Key=k%[1]d&Tags.member.%[1]d.Value=v"), 400, "ValidationError"},
		{"20,001 parameters", create + repeat(20001, "P%d=v"), 400, "MalformedInput"},
		{"tags alike", create + "&Tags.member.1.Key=k&Tags.member.1.Value=v&Tags.member.2.Key=K&Tags.member.2.Value=v", 400, "InvalidInput"},
		{"deep names", create + "&" + strings.Repeat("Tags.member.1.", 5000) + "Key=k", 400, "ValidationError"},
		{"only signs", "&&&===&&", 400, "InvalidAction"},
		{"a megabyte of &", strings.Repeat("&", 1<<20), 400, "InvalidAction"},
		{"more than a megabyte", create + strings.Repeat("x", 1<<20), 413, "RequestEntityTooLarge"},
		{"JSON", `{"Action":"CreateUser","UserName":"x"}`, 400, "InvalidAction"},
		{"XML", `<CreateUserRequest><UserName>x</UserName></CreateUserRequest>`, 400, "InvalidAction"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := *h
			h.t = t
			a := h.form(root, "iam", c.form)
			h.refused(a, c.status, c.code)
			w.holds(t, a)
		})
	}
}

// Documents that are no policies, or would mean one thing to us and another to a reader.
func TestHostilePolicies(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	root := h.roots[ours]
	h.well(h.query(root, "iam", "CreateRole", "RoleName", "r", "AssumeRolePolicyDocument", trust(ours)))
	h.well(h.s3(root, "PUT", "/b-1", ""))
	alice := h.user(ours, "alice", allow("sts:AssumeRole", "*"))
	w := h.watch(root, alice)
	statement := func(body string) string { return `{"Version":"2012-10-17","Statement":[{` + body + `}]}` }
	fine := `"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b-1/*"`
	for _, c := range []struct{ name, document string }{
		{"nothing", ""},
		{"white space", " "},
		{"no object", `"Allow"`},
		{"null", `null`},
		{"a number", `1e999`},
		{"an open object", `{`},
		{"trailing text", statement(fine) + "x"},
		{"two documents", statement(fine) + statement(fine)},
		{"a byte order mark", "\ufeff" + statement(fine)},
		{"a comment", "/* all is well */" + statement(fine)},
		{"NUL", statement(fine) + "\x00"},
		{"invalid UTF-8", statement(fine + `,"Sid":"` + "\xff" + `"`)},
		{"beyond Latin-1", statement(fine + `,"Sid":"日"`)},
		{"an escaped NUL", statement(fine + `,"Sid":"\u0000"`)},
		{"half of a surrogate pair", statement(fine + `,"Sid":"\ud800"`)},
		{"an effect twice", statement(fine + `,"Effect":"Deny"`)},
		{"an effect twice, once escaped", statement(fine + `,"\u0045ffect":"Deny"`)},
		{"two Statements", `{"Version":"2012-10-17","Statement":[],"Statement":[{` + fine + `}]}`},
		{"a condition key twice", statement(fine + `,"Condition":{"StringEquals":{"aws:username":"a","aws:username":"b"}}`)},
		{"an operator twice", statement(fine + `,"Condition":{"StringEquals":{"aws:username":"a"},"StringEquals":{"aws:userid":"b"}}`)},
		{"an operator that is none", statement(fine + `,"Condition":{"StringLooksLike":{"aws:username":"a"}}`)},
		{"an element that is none", statement(fine + `,"Except":"a"`)},
		{"an element in small letters", statement(fine + `,"condition":{}`)},
		{"another version", `{"Version":"2038-01-19","Statement":[{` + fine + `}]}`},
		{"another effect", statement(`"Effect":"allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b-1/*"`)},
		{"no effect", statement(`"Action":"s3:GetObject","Resource":"arn:aws:s3:::b-1/*"`)},
		{"no action", statement(`"Effect":"Allow","Resource":"arn:aws:s3:::b-1/*"`)},
		{"Action and NotAction", statement(fine + `,"NotAction":"s3:PutObject"`)},
		{"ten thousand brackets", strings.Repeat("[", 10000)},
		{"ten thousand brackets inside", statement(fine + `,"Condition":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000))},
		{"ten thousand objects inside", statement(fine + `,"Condition":` + strings.Repeat(`{"a":`, 10000) + "1" + strings.Repeat("}", 10000))},
		{"too many characters", statement(fine + `,"Sid":"` + strings.Repeat("x", 131072) + `"`)},
		{"a megabyte of white space", strings.Repeat(" ", 200<<10) + statement(fine)},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := *h
			h.t = t
			answers := []reply{
				h.query(root, "iam", "PutUserPolicy", "UserName", "alice", "PolicyName", "q", "PolicyDocument", c.document),
				h.query(root, "iam", "CreatePolicy", "PolicyName", "q", "PolicyDocument", c.document),
				h.query(root, "iam", "CreateRole", "RoleName", "q", "AssumeRolePolicyDocument", c.document),
				h.query(root, "iam", "UpdateAssumeRolePolicy", "RoleName", "r", "PolicyDocument", c.document),
			}
			if !strings.Contains(c.document, `"Sid":"日"`) && !strings.Contains(c.document, `\u0000`) { // S3 has no rule for a Sid
				answers = append(answers, h.s3(root, "PUT", "/b-1?policy", strings.ReplaceAll(c.document, `"Effect"`, `"Principal":"*","Effect"`)))
			}
			if c.document != "" { // without one there is no session policy
				answers = append(answers, h.query(alice, "sts", "AssumeRole", "RoleArn", "arn:aws:iam::"+ours+":role/r", "RoleSessionName", "s1", "Policy", c.document))
			}
			for i, a := range answers {
				switch a.code {
				case "MalformedPolicyDocument", "ValidationError", "MalformedPolicy", "MalformedInput", "LimitExceeded", "MissingRequestBodyError", "MalformedXML", "PackedPolicyTooLarge":
				default:
					t.Errorf("call %d is answered %d %s: %s", i, a.status, a.code, a.message)
				}
			}
			w.holds(t, answers...)
		})
	}
}

// ARNs of accounts that are not here, or of somebody else.
func TestStrangeARNs(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	root := h.roots[ours]
	alice := h.user(ours, "alice", allow("*", "*"))
	h.well(h.query(h.roots[theirs], "iam", "CreatePolicy", "PolicyName", "p", "PolicyDocument", allow("*", "*")))
	h.well(h.query(root, "iam", "CreateRole", "RoleName", "r", "AssumeRolePolicyDocument", trust(ours)))
	w := h.watch(root, alice)
	foreign := "arn:aws:iam::" + theirs + ":policy/p"
	for _, c := range []struct {
		a      reply
		status int
		code   string
	}{
		{h.query(alice, "sts", "AssumeRole", "RoleArn", "arn:aws:iam::999999999999:role/r", "RoleSessionName", "s1"), 403, "AccessDenied"},
		{h.query(alice, "sts", "AssumeRole", "RoleArn", "arn:aws:iam::"+theirs+":role/r", "RoleSessionName", "s1"), 403, "AccessDenied"},
		{h.query(alice, "sts", "AssumeRole", "RoleArn", "arn:aws:iam::aws:role/rrrrr", "RoleSessionName", "s1"), 400, "ValidationError"},
		{h.query(alice, "sts", "AssumeRole", "RoleArn", "arn:aws:iam::"+ours+":role/R", "RoleSessionName", "s1"), 403, "AccessDenied"},
		{h.query(alice, "sts", "AssumeRole", "RoleArn", "arn:aws:iam::"+ours+":role//r", "RoleSessionName", "s1"), 403, "AccessDenied"},
		{h.query(alice, "sts", "AssumeRole", "RoleArn", "arn:aws:iam::"+ours+":role/x/../r", "RoleSessionName", "s1"), 403, "AccessDenied"},
		{h.query(alice, "sts", "AssumeRole", "RoleArn", "arn:aws:iam::"+ours+":role/*", "RoleSessionName", "s1"), 403, "AccessDenied"},
		{h.query(alice, "sts", "AssumeRole", "RoleArn", "arn:aws:iam::"+ours+":role/r ", "RoleSessionName", "s1"), 403, "AccessDenied"},
		{h.query(alice, "sts", "AssumeRole", "RoleArn", "arn:aws-cn:iam::"+ours+":role/r", "RoleSessionName", "s1"), 403, "AccessDenied"},
		{h.query(alice, "sts", "AssumeRole", "RoleArn", "arn:aws:iam::"+ours+":role/r", "RoleSessionName", "s1", "PolicyArns.member.1.arn", foreign), 400, "ValidationError"},
		{h.query(alice, "iam", "AttachUserPolicy", "UserName", "alice", "PolicyArn", foreign), 404, "NoSuchEntity"},
		{h.query(alice, "iam", "AttachUserPolicy", "UserName", "alice", "PolicyArn", "arn:aws:iam::aws:policy/NoSuchPolicy"), 404, "NoSuchEntity"},
		{h.query(alice, "iam", "PutUserPermissionsBoundary", "UserName", "alice", "PermissionsBoundary", foreign), 404, "NoSuchEntity"},
		{h.query(alice, "iam", "GetPolicy", "PolicyArn", foreign), 403, "AccessDenied"},
		{h.query(alice, "iam", "DeletePolicy", "PolicyArn", foreign), 403, "AccessDenied"},
		{h.query(alice, "iam", "DeletePolicy", "PolicyArn", "arn:aws:iam::aws:policy/AdministratorAccess"), 403, "AccessDenied"},
		{h.query(root, "iam", "GetPolicy", "PolicyArn", foreign), 403, "AccessDenied"},
		{h.query(root, "iam", "CreatePolicyVersion", "PolicyArn", foreign, "PolicyDocument", allow("*", "*"), "SetAsDefault", "true"), 403, "AccessDenied"},
		{h.query(root, "iam", "UpdateAssumeRolePolicy", "RoleName", "r", "PolicyDocument", trust("arn:aws:iam::"+ours+":user/nobody")), 400, "MalformedPolicyDocument"},
		{h.query(root, "iam", "UpdateAssumeRolePolicy", "RoleName", "r", "PolicyDocument", trust("arn:aws:iam::"+ours+":user/*")), 400, "MalformedPolicyDocument"},
	} {
		h.refused(c.a, c.status, c.code)
		w.holds(t, c.a)
	}
}

// signatureFaults are the codes by which a bad signature may be refused.
var signatureFaults = []string{"IncompleteSignature", "SignatureDoesNotMatch", "InvalidClientTokenId", "MissingAuthenticationToken",
	"AuthorizationHeaderMalformed", "InvalidAccessKeyId", "InvalidToken", "AccessDenied", "InvalidArgument", "NotImplemented", "MissingAuthenticationToken", "InvalidRequest",
	"ExpiredToken", "RequestTimeTooSkewed", "UnrecognizedClientException", "AuthorizationQueryParametersError"}

// Signatures that are bent, borrowed or half there.
func TestHostileSignatures(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	root := h.roots[ours]
	alice := h.user(ours, "alice", allow("*", "*"))
	h.well(h.query(root, "iam", "CreateRole", "RoleName", "r", "AssumeRolePolicyDocument", trust(ours)))
	h.well(h.s3(root, "PUT", "/b-1", ""))
	one, _ := h.assume(alice, "arn:aws:iam::"+ours+":role/r", "one")
	two, _ := h.assume(alice, "arn:aws:iam::"+ours+":role/r", "two")
	h.well(h.query(one, "sts", "GetCallerIdentity"))
	w := h.watch(root, alice, one, two)

	type bend func(r *http.Request)
	authorization := func(old, new string) bend {
		return func(r *http.Request) {
			a := r.Header.Get("Authorization")
			if !strings.Contains(a, old) {
				t.Errorf("there is no %s in %s", old, a)
			}
			r.Header.Set("Authorization", strings.Replace(a, old, new, 1))
		}
	}
	today := time.Now().UTC().Format("20060102")
	for _, c := range []struct {
		name string
		who  actor
		bend bend
	}{
		{"no signature", actor{}, func(*http.Request) {}},
		{"another key's id", actor{root.id, alice.secret, ""}, func(*http.Request) {}},
		{"a session's id without its token", actor{one.id, one.secret, ""}, func(*http.Request) {}},
		{"a session's id with another's token", actor{one.id, one.secret, two.token}, func(*http.Request) {}},
		{"a session's id with another's token and secret", actor{one.id, two.secret, two.token}, func(*http.Request) {}},
		{"a session's secret of another", actor{one.id, two.secret, one.token}, func(*http.Request) {}},
		{"a user's id with a session's token", actor{alice.id, alice.secret, one.token}, func(*http.Request) {}},
		{"a user's id with a session's token and secret", actor{alice.id, one.secret, one.token}, func(*http.Request) {}},
		{"a token with a bit changed", actor{one.id, one.secret, one.token[:60] + string(one.token[60]^1) + one.token[61:]}, func(*http.Request) {}},
		{"a token without its end", actor{one.id, one.secret, one.token[:len(one.token)-4]}, func(*http.Request) {}},
		{"a token with more", actor{one.id, one.secret, one.token + "AAAA"}, func(*http.Request) {}},
		{"a token of a megabyte", actor{one.id, one.secret, strings.Repeat("A", 900<<10)}, func(*http.Request) {}},
		{"a token that is taken away after signing", one, func(r *http.Request) { r.Header.Del("X-Amz-Security-Token") }},
		{"a token that is exchanged after signing", one, func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", two.token) }},
		{"a second token", one, func(r *http.Request) { r.Header["X-Amz-Security-Token"] = []string{one.token, two.token} }},
		{"another token before it", one, func(r *http.Request) { r.Header["X-Amz-Security-Token"] = []string{two.token, one.token} }},
		{"an empty id", actor{"", "x", ""}, func(r *http.Request) { sign(actor{"", "x", ""}, "sts", r, "", time.Now()) }},
		{"an id with a slash", actor{"AK/" + alice.id, alice.secret, ""}, func(*http.Request) {}},
		{"an id with the scope in it", actor{alice.id + "/" + today + "/us-east-1/iam/aws4_request", alice.secret, ""}, func(*http.Request) {}},
		{"an id with NUL", actor{alice.id + "%00", alice.secret, ""}, func(*http.Request) {}},
		{"an id in other letters", actor{strings.ToLower(alice.id), alice.secret, ""}, func(*http.Request) {}},
		{"an id with odd bytes", actor{"A\xff\xfe\u202e", alice.secret, ""}, func(*http.Request) {}},
		{"an id of a megabyte", actor{strings.Repeat("A", 900<<10), alice.secret, ""}, func(*http.Request) {}},
		{"an id with dots", actor{"../../keys/" + alice.id, alice.secret, ""}, func(*http.Request) {}},
		{"another service in the scope", alice, authorization("/sts/", "/iam/")},
		{"no service in the scope", alice, authorization("/sts/", "//")},
		{"another region in the scope", alice, authorization("/us-east-1/", "/eu-west-1/")},
		{"a region that is none", alice, authorization("/us-east-1/", "/Us_East 1/")},
		{"a region upwards", alice, authorization("/us-east-1/", "/../")},
		{"another end of the scope", alice, authorization("aws4_request", "aws5_request")},
		{"another day", alice, authorization(today, "20200101")},
		{"a longer scope", alice, authorization("aws4_request", "aws4_request/aws4_request")},
		{"another algorithm", alice, authorization("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512")},
		{"an algorithm in small letters", alice, authorization("AWS4-HMAC-SHA256", "aws4-hmac-sha256")},
		{"a signature in capitals", alice, func(r *http.Request) {
			a, s, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
			r.Header.Set("Authorization", a+"Signature="+strings.ToUpper(s)+"X")
		}},
		{"an empty signature", alice, func(r *http.Request) {
			a, _, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
			r.Header.Set("Authorization", a+"Signature=")
		}},
		{"a second signature", alice, func(r *http.Request) {
			r.Header.Set("Authorization", r.Header.Get("Authorization")+", Signature="+strings.Repeat("0", 64))
		}},
		{"a second credential", alice, func(r *http.Request) {
			r.Header.Set("Authorization", r.Header.Get("Authorization")+", Credential="+root.id+"/"+today+"/us-east-1/sts/aws4_request")
		}},
		{"signed headers without the host", alice, authorization("host;", "")},
		{"signed headers with one that is not there", alice, authorization("host;", "host;x-absent;")},
		{"no signed headers", alice, func(r *http.Request) {
			a := r.Header.Get("Authorization")
			i, j := strings.Index(a, "SignedHeaders="), strings.Index(a, ", Signature")
			r.Header.Set("Authorization", a[:i]+"SignedHeaders="+a[j:])
		}},
		{"the host changed after signing", alice, func(r *http.Request) { r.Host = "sts.amazonaws.com" }},
		{"the content type changed after signing", alice, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }},
		{"the query changed after signing", alice, func(r *http.Request) { r.URL.RawQuery = "Action=ListUsers" }},
		{"the path changed after signing", alice, func(r *http.Request) { r.URL.Path = "/x" }},
		{"the method changed after signing", alice, func(r *http.Request) { r.Method = "PUT" }},
		{"a date changed after signing", alice, func(r *http.Request) {
			r.Header.Set("X-Amz-Date", time.Now().UTC().Add(time.Minute).Format("20060102T150405Z"))
		}},
		{"no date", alice, func(r *http.Request) { r.Header.Del("X-Amz-Date") }},
		{"a date that is none", alice, func(r *http.Request) { r.Header.Set("X-Amz-Date", "yesterday") }},
		{"a presigned part beside the header", alice, func(r *http.Request) { r.URL.RawQuery = "X-Amz-Algorithm=AWS4-HMAC-SHA256" }},
		{"a basic password", alice, func(r *http.Request) { r.SetBasicAuth(alice.id, alice.secret) }},
		{"a bearer", alice, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+one.token) }},
		{"version 2", alice, func(r *http.Request) { r.Header.Set("Authorization", "AWS "+alice.id+":c2lnbmF0dXJl") }},
		{"an empty header", alice, func(r *http.Request) { r.Header.Set("Authorization", "") }},
		{"a header of equals signs", alice, func(r *http.Request) {
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 "+strings.Repeat("=,", 1000)+"Credential="+strings.Repeat("/", 1000))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := *h
			h.t = t
			var answers []reply
			form := "Action=GetCallerIdentity&Version=2011-06-15"
			r := h.request("POST", "/", form)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if c.who.id != "" {
				sign(c.who, "sts", r, form, time.Now())
			}
			c.bend(r)
			answers = append(answers, h.from("127.0.0.1:1", r))
			if a := answers[0]; a.status < 400 || !slices.Contains(signatureFaults, a.code) {
				t.Errorf("answered %d %q %s", a.status, a.code, a.body)
			}
			if strings.Contains(answers[0].body, c.who.secret) && c.who.secret != "x" && c.who.secret != "" {
				t.Errorf("the answer tells a secret: %s", answers[0].body)
			}
			w.holds(t, answers...)
		})
	}
}

// A request is good for fifteen minutes on either side of its time, whoever sends it again.
func TestReplays(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	begun := time.Now()
	h := open(t, func(cfg *server.Config) { cfg.Now = func() time.Time { return begun.Add(time.Duration(ahead.Load())) } })
	root := h.roots[ours]
	h.well(h.s3(root, "PUT", "/b-1", ""))
	form := "Action=GetCallerIdentity&Version=2011-06-15"
	query := func() *http.Request {
		r := h.request("POST", "/", form)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		sign(root, "sts", r, form, begun)
		return r
	}
	object := func() *http.Request {
		r := h.request("GET", "/b-1", "")
		sign(root, "s3", r, "", begun)
		return r
	}
	presigned := func() *http.Request {
		r := h.request("GET", "/b-1", "")
		signer := sigv4.Signer{AccessKeyID: root.id, SecretAccessKey: root.secret, Region: "us-east-1", Service: "s3"}
		signer.Presign(r, time.Hour, begun)
		return r
	}
	for _, c := range []struct {
		ahead     time.Duration
		query     string
		object    string
		presigned string
	}{
		{0, "", "", ""},
		{14*time.Minute + 58*time.Second, "", "", ""},
		{-14*time.Minute - 58*time.Second, "", "", ""},
		{15*time.Minute + 2*time.Second, "SignatureDoesNotMatch", "RequestTimeTooSkewed", ""},
		{-15*time.Minute - 2*time.Second, "SignatureDoesNotMatch", "RequestTimeTooSkewed", "AccessDenied"},
		{59 * time.Minute, "SignatureDoesNotMatch", "RequestTimeTooSkewed", ""},
		{time.Hour + time.Second, "SignatureDoesNotMatch", "RequestTimeTooSkewed", "AccessDenied"},
		{10 * 365 * 24 * time.Hour, "SignatureDoesNotMatch", "RequestTimeTooSkewed", "AccessDenied"},
	} {
		ahead.Store(int64(c.ahead))
		for name, got := range map[string][2]string{
			"query": {h.send(query()).code, c.query}, "object": {h.send(object()).code, c.object}, "presigned": {h.send(presigned()).code, c.presigned},
		} {
			if got[0] != got[1] {
				t.Errorf("%v ahead, %s: answered %q, not %q", c.ahead, name, got[0], got[1])
			}
		}
	}
}

// Requests that name two services, or one that is not whose signature it has.
func TestTwoServices(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	root := h.roots[ours]
	h.well(h.s3(root, "PUT", "/b-1", ""))
	h.well(h.s3(root, "PUT", "/b-1/k", "v"))
	w := h.watch(root)
	create := "Action=CreateUser&Version=2010-05-08&UserName=x"
	identity := "Action=GetCallerIdentity&Version=2011-06-15"
	for _, c := range []struct {
		name, signed, method, target, body string
		headers                            []string
		status                             int
		code                               string
	}{
		{"STS signed as IAM", "iam", "POST", "/", identity, nil, 400, "InvalidAction"},
		{"IAM signed as STS", "sts", "POST", "/", create, nil, 400, "InvalidAction"},
		{"a target of JSON on STS", "sts", "POST", "/", identity, []string{"X-Amz-Target", "AWSIAM.CreateUser"}, 200, ""},
		{"a target of JSON with a body of JSON on IAM", "iam", "POST", "/", `{}`, []string{"X-Amz-Target", "AmazonIAM.CreateUser", "Content-Type", "application/x-amz-json-1.1"}, 400, "InvalidAction"},
		{"an action in the query beside a form", "sts", "POST", "/?Action=CreateUser&Version=2010-05-08&UserName=x", identity, nil, 200, ""},
		{"an action in the query, a form of another service", "iam", "POST", "/?" + identity, create + "/", nil, 400, "ValidationError"},
		{"a bucket's host signed for STS", "sts", "POST", "/", identity, []string{"Host", "b-1.s3.localhost"}, 200, ""},
		{"an object's path signed for STS", "sts", "GET", "/b-1/k", "", nil, 400, "InvalidAction"},
		{"a form signed for S3", "s3", "POST", "/", identity, nil, 405, "MethodNotAllowed"},
		{"an action in the query signed for S3", "s3", "GET", "/?" + identity, "", nil, 200, ""},
		{"a form on an object signed for S3", "s3", "POST", "/b-1/k", create, nil, 405, "MethodNotAllowed"},
		{"an operator's path signed for S3", "s3", "GET", "/metrics", "", nil, 404, "NoSuchBucket"},
		{"an operator's path signed for STS", "sts", "GET", "/healthz", "", nil, 400, "InvalidAction"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := *h
			h.t = t
			r := h.request(c.method, c.target, c.body)
			if c.body != "" {
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			for i := 0; i < len(c.headers); i += 2 {
				if c.headers[i] == "Host" {
					r.Host = c.headers[i+1]
				} else {
					r.Header.Set(c.headers[i], c.headers[i+1])
				}
			}
			a := h.do(root, c.signed, r, []byte(c.body))
			if a.status != c.status || a.code != c.code {
				t.Errorf("answered %d %q, not %d %q\n%s", a.status, a.code, c.status, c.code, a.body)
			}
			w.holds(t, a)
		})
	}
}

// Keys that a file system, a URL or an XML document would take for something else
// are keys: each is another object, and none leaves the place for objects.
func TestHostileKeys(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	root := h.roots[ours]
	h.well(h.s3(root, "PUT", "/b-1", ""))
	good := map[string]string{ // escaped path -> key
		"a%2Fb":                     "a/b",
		"..":                        "..",
		".":                         ".",
		"../x":                      "../x",
		"../../../../etc/passwd":    "../../../../etc/passwd",
		"..%2f..%2fmaster.key":      "../../master.key",
		"a/../b":                    "a/../b",
		"a/./b":                     "a/./b",
		"/k":                        "/k",
		"//":                        "//",
		"a//b":                      "a//b",
		"a/":                        "a/",
		"a":                         "a",
		"%20":                       " ",
		"+":                         "+",
		"%2B":                       "+",
		"a%25b":                     "a%b",
		"a%252Fb":                   "a%2Fb",
		"a%3Fpolicy":                "a?policy",
		"a%23b":                     "a#b",
		"%E2%80%AEgnp.exe":          "\u202egnp.exe",
		"%F0%9F%92%A9":              "\U0001f4a9",
		"%0D%0AX-Injected:%20yes":   "\r\nX-Injected: yes",
		"%3C/Key%3E%3CKey%3E&amp;":  "</Key><Key>&amp;",
		"%5C..%5C..%5Cwindows":      `\..\..\windows`,
		"C:%5Cx":                    `C:\x`,
		"bodies/00/00000000":        "bodies/00/00000000",
		"incoming":                  "incoming",
		"%01%1f":                    "\x01\x1f",
		"%7f":                       "\x7f",
		"%00":                       "\x00",
		"a%00b":                     "a\x00b",
		"a%00%01":                   "a\x00\x01",
		"%EF%BF%BF":                 "\uffff",
		strings.Repeat("k", 1024):   strings.Repeat("k", 1024),
		strings.Repeat("%C3%A4", 9): strings.Repeat("ä", 9),
	}
	keys := map[string]string{}
	for escaped, key := range good {
		a := h.s3(root, "PUT", "/b-1/"+escaped, "of "+key, "X-Amz-Meta-Key", url.PathEscape(key))
		if a.status != 200 {
			t.Errorf("PUT %q: %d %s", key, a.status, a.body)
			continue
		}
		keys[key] = "of " + key
	}
	for escaped, key := range good {
		a := h.s3(root, "GET", "/b-1/"+escaped, "")
		if a.status != 200 || a.body != keys[key] || a.header.Get("X-Injected") != "" {
			t.Errorf("GET %q: %d %q", key, a.status, a.body)
		}
		h.well(h.s3(root, "HEAD", "/b-1/"+escaped, ""))
	}
	list := h.well(h.s3(root, "GET", "/b-1?list-type=2&encoding-type=url", ""))
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile(`<Key>([^<]*)</Key>`).FindAllStringSubmatch(list.body, -1) {
		key, err := url.QueryUnescape(m[1])
		if err != nil {
			t.Errorf("the listed key %q: %v", m[1], err)
		}
		listed[key] = true
	}
	if len(listed) != len(keys) {
		t.Errorf("%d keys are listed, not %d", len(listed), len(keys))
	}
	for key := range keys {
		if !listed[key] {
			t.Errorf("%q is not listed", key)
		}
	}

	for _, c := range []struct {
		escaped string
		status  int
		code    string
	}{
		{"%FF", 400, "InvalidURI"},
		{"%C0%AF", 400, "InvalidURI"},
		{"%ED%A0%80", 400, "InvalidURI"},
		{strings.Repeat("k", 1025), 400, "KeyTooLongError"},
		{strings.Repeat("%C3%A4", 513), 400, "KeyTooLongError"},
		{strings.Repeat("k", 100000), 400, "KeyTooLongError"},
	} {
		for _, method := range []string{"PUT", "GET", "DELETE"} {
			a := h.s3(root, method, "/b-1/"+c.escaped, "")
			if (a.status != c.status || a.code != c.code) && !(method != "PUT" && c.code == "KeyTooLongError" && a.status < 500) {
				t.Errorf("%s %.20s: answered %d %q, not %d %q", method, c.escaped, a.status, a.code, c.status, c.code)
			}
		}
	}

	// A policy on one key is not met by another that looks like it.
	alice := h.user(ours, "alice", allow("s3:GetObject", "arn:aws:s3:::b-1/a/*"))
	h.well(h.s3(alice, "GET", "/b-1/a/../b", "")) // the key "a/../b", which begins with "a/"
	h.well(h.s3(alice, "GET", "/b-1/a%2Fb", ""))
	for _, path := range []string{"/b-1/../x", "/b-1/a%252Fb", "/b-1//k", "/b-1/a", "/b-1/a%00b"} {
		h.refused(h.s3(alice, "GET", path, ""), 403, "AccessDenied")
	}

	// What is on the disk has names of ours.
	var outside []string
	err := filepath.WalkDir(h.dir, func(name string, d fs.DirEntry, err error) error {
		relative, _ := filepath.Rel(h.dir, name)
		if !regexp.MustCompile(`^(\.|s3|s3/[a-z]+(\.[a-z]+)?|s3/bodies/[0-9a-f]+(/[0-9a-f]+)?|s3/incoming/[0-9a-f]+|audit|audit/cloudtrail-[0-9-]+\.jsonl|decisions|decisions/[a-z.]+)$`).MatchString(relative) {
			outside = append(outside, relative)
		}
		return err
	})
	if err != nil || outside != nil {
		t.Errorf("on the disk there are %q, %v", outside, err)
	}
	if text := h.logged.String(); strings.Contains(text, "level=ERROR") {
		t.Errorf("the log has\n%s", text)
	}
}

// Names that are no buckets', wherever they stand.
func TestHostileBuckets(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	root := h.roots[ours]
	h.well(h.s3(root, "PUT", "/b-1", ""))
	h.well(h.s3(root, "PUT", "/dots.are.fine", ""))
	w := h.watch(root)
	for _, name := range []string{
		"ab", strings.Repeat("b", 64), "B-1", "b_1", "-b-1", "b-1-", ".b-1", "b-1.", "b..1", "b.-1", "192.168.5.4", "1.2.3.4", "xn--b", "sthree-b", "b-s3alias", "b--ol-s3",
		"..", "...", "%2e%2e", "..%2f..", "b%001", "b%0a1", "%FF%FF%FF", "b%20b", "b%2Fb", "b*b", "b%3Fb", "amzn-s3-demo-b", "%e2%80%ae-b", "b-1%00",
	} {
		a := h.s3(root, "PUT", "/"+name, "")
		if a.status != 400 || a.code != "InvalidBucketName" && a.code != "InvalidURI" {
			t.Errorf("PUT /%s: answered %d %q %s", name, a.status, a.code, a.message)
		}
		if a := h.s3(root, "GET", "/"+name+"?location", ""); a.status < 400 {
			t.Errorf("GET /%s: answered %d", name, a.status)
		}
		w.holds(t, a)
	}
	for host, want := range map[string]int{
		"b-1.s3.localhost": 200, "B-1.S3.LOCALHOST": 200, "b-1.localhost": 200, "b-1.s3.us-east-1.amazonaws.com:99": 200, "dots.are.fine.s3.localhost": 200,
		"..s3.localhost": 0, "../b-1.s3.localhost": 0, "%2e%2e.s3.localhost": 0, ".s3.localhost": 0, "s3.localhost": 0,
		"b-1/x.s3.localhost": 0, "x.b-1.s3.localhost": 0, "b-1.s3.": 200, "b-1 .s3.localhost": 0, "b-1.localhost.evil": 0,
	} {
		r := h.request("GET", "/?location", "")
		r.Host = host
		sign(root, "s3", r, "", time.Now())
		a := h.from("127.0.0.1:1", r)
		if want == 200 && a.status != 200 || want == 0 && (a.status < 400 || a.status >= 500 && a.status != 501) {
			t.Errorf("Host %s: answered %d %s", host, a.status, a.body)
		}
	}
}

// Streamed uploads that lie about their length, their chunks or their end leave no object.
func TestHostileChunks(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	root := h.roots[ours]
	h.well(h.s3(root, "PUT", "/b-1", ""))
	const crc = "x-amz-checksum-crc32:NhCmhg==\r\n" // of "hello"
	for _, c := range []struct {
		name, payload, length, trailer, body string
		status                               int
		code                                 string
	}{
		{"as it should be", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "5", "x-amz-checksum-crc32", "5\r\nhello\r\n0\r\n" + crc + "\r\n", 200, ""},
		{"a longer decoded length", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "6", "x-amz-checksum-crc32", "5\r\nhello\r\n0\r\n" + crc + "\r\n", 400, "IncompleteBody"},
		{"a shorter decoded length", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "4", "x-amz-checksum-crc32", "5\r\nhello\r\n0\r\n" + crc + "\r\n", 400, "IncompleteBody"},
		{"a negative decoded length", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "-5", "x-amz-checksum-crc32", "5\r\nhello\r\n0\r\n" + crc + "\r\n", 411, "MissingContentLength"},
		{"no decoded length", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "", "x-amz-checksum-crc32", "5\r\nhello\r\n0\r\n" + crc + "\r\n", 411, "MissingContentLength"},
		{"a decoded length of 2^63", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "9223372036854775808", "x-amz-checksum-crc32", "5\r\nhello\r\n0\r\n" + crc + "\r\n", 411, "MissingContentLength"},
		{"a decoded length of 2^63-1", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "9223372036854775807", "x-amz-checksum-crc32", "5\r\nhello\r\n0\r\n" + crc + "\r\n", 400, "EntityTooLarge"},
		{"a chunk of 2^63 bytes", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "5", "x-amz-checksum-crc32", "8000000000000000\r\nhello\r\n0\r\n" + crc + "\r\n", 400, "IncompleteBody"},
		{"a chunk of 2^63-1 bytes", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "5", "x-amz-checksum-crc32", "7fffffffffffffff\r\nhello\r\n0\r\n" + crc + "\r\n", 400, "IncompleteBody"},
		{"a chunk of minus one", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "5", "x-amz-checksum-crc32", "-1\r\nhello\r\n0\r\n" + crc + "\r\n", 400, "IncompleteBody"},
		{"a chunk of no number", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "5", "x-amz-checksum-crc32", "five\r\nhello\r\n0\r\n" + crc + "\r\n", 400, "IncompleteBody"},
		{"a line without an end", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "5", "x-amz-checksum-crc32", strings.Repeat("0", 100000), 400, "IncompleteBody"},
		{"no last chunk", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "5", "x-amz-checksum-crc32", "5\r\nhello\r\n", 400, "IncompleteBody"},
		{"no trailer", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "5", "x-amz-checksum-crc32", "5\r\nhello\r\n0\r\n\r\n", 400, "MalformedTrailerError"},
		{"another trailer", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "5", "x-amz-checksum-crc32", "5\r\nhello\r\n0\r\nx-amz-checksum-crc32c:NhCmhg==\r\n\r\n", 400, "MalformedTrailerError"},
		{"a trailer twice", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "5", "x-amz-checksum-crc32", "5\r\nhello\r\n0\r\n" + crc + crc + "\r\n", 400, "MalformedTrailerError"},
		{"a trailer that nobody announced", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "5", "", "5\r\nhello\r\n0\r\n" + crc + "\r\n", 400, "MalformedTrailerError"},
		{"a checksum of something else", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "5", "x-amz-checksum-crc32", "5\r\nhullo\r\n0\r\n" + crc + "\r\n", 400, "BadDigest"},
		{"a header for a trailer", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "5", "x-amz-acl", "5\r\nhello\r\n0\r\nx-amz-acl:public-read\r\n\r\n", 400, "InvalidRequest"},
		{"something after the end", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "5", "x-amz-checksum-crc32", "5\r\nhello\r\n0\r\n" + crc + "\r\n5\r\nhello\r\n", 400, "MalformedTrailerError"},
		{"a chunk without a signature", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "5", "", "5\r\nhello\r\n0\r\n\r\n", 400, "IncompleteBody"},
		{"a chunk with a wrong signature", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "5", "", "5;chunk-signature=" + strings.Repeat("0", 64) + "\r\nhello\r\n0;chunk-signature=" + strings.Repeat("0", 64) + "\r\n\r\n", 403, "SignatureDoesNotMatch"},
		{"signatures where none are", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "5", "x-amz-checksum-crc32", "5;chunk-signature=" + strings.Repeat("0", 64) + "\r\nhello\r\n0\r\n" + crc + "\r\n", 400, "IncompleteBody"},
		{"another kind of stream", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "5", "", "5\r\nhello\r\n0\r\n\r\n", 501, "NotImplemented"},
		{"a hash that is none", "sha256", "5", "", "hello", 400, "InvalidArgument"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := *h
			h.t = t
			r := h.request("PUT", "/b-1/k", c.body)
			r.Header.Set("Content-Encoding", "aws-chunked")
			if c.length != "" {
				r.Header.Set("X-Amz-Decoded-Content-Length", c.length)
			}
			if c.trailer != "" {
				r.Header.Set("X-Amz-Trailer", c.trailer)
			}
			signer := sigv4.Signer{AccessKeyID: root.id, SecretAccessKey: root.secret, Region: "us-east-1", Service: "s3"}
			signer.Sign(r, c.payload, time.Now())
			a := h.send(r)
			if a.status != c.status || a.code != c.code {
				t.Errorf("answered %d %q, not %d %q\n%s", a.status, a.code, c.status, c.code, a.body)
			}
			got := h.s3(root, "GET", "/b-1/k", "")
			if c.status == 200 && got.body != "hello" || c.status != 200 && got.code != "NoSuchKey" {
				t.Errorf("the object is %d %q", got.status, got.body)
			}
			h.well(h.s3(root, "DELETE", "/b-1/k", ""))
		})
	}
	if text := h.logged.String(); strings.Contains(text, "level=ERROR") {
		t.Errorf("the log has\n%s", text)
	}
}

// Documents of S3 that are no documents, or too much of one.
func TestHostileXML(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	root := h.roots[ours]
	h.well(h.s3(root, "PUT", "/b-1", ""))
	w := h.watch(root)
	tags := func(inner string) string { return "<Tagging><TagSet>" + inner + "</TagSet></Tagging>" }
	for _, c := range []struct{ name, target, body string }{
		{"nothing", "/b-1?tagging", ""},
		{"no XML", "/b-1?tagging", "{}"},
		{"another document", "/b-1?tagging", "<Delete/>"},
		{"an open element", "/b-1?tagging", "<Tagging><TagSet>"},
		{"something after the end", "/b-1?tagging", tags("") + "<x/>"},
		{"an element that is none", "/b-1?tagging", tags("<Tag><Key>k</Key><Value>v</Value><Color>red</Color></Tag>")},
		{"an element twice", "/b-1?tagging", tags("<Tag><Key>k</Key><Key>j</Key><Value>v</Value></Tag>")},
		{"text between", "/b-1?tagging", tags("x<Tag><Key>k</Key><Value>v</Value></Tag>")},
		{"a document type", "/b-1?tagging", `<!DOCTYPE x [<!ENTITY e "v">]>` + tags("<Tag><Key>k</Key><Value>&e;</Value></Tag>")},
		{"an entity from outside", "/b-1?tagging", `<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>` + tags("<Tag><Key>k</Key><Value>&e;</Value></Tag>")},
		{"an entity that is none", "/b-1?tagging", tags("<Tag><Key>k</Key><Value>&e;</Value></Tag>")},
		{"a billion laughs", "/b-1?tagging", `<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>` + tags("<Tag><Key>&b;</Key><Value>v</Value></Tag>")},
		{"invalid UTF-8", "/b-1?tagging", tags("<Tag><Key>\xff</Key><Value>v</Value></Tag>")},
		{"another encoding", "/b-1?tagging", `<?xml version="1.0" encoding="UTF-7"?>` + tags("")},
		{"ten thousand elements in each other", "/b-1?tagging", strings.Repeat("<Tagging>", 10000) + strings.Repeat("</Tagging>", 10000)},
		{"a status that is none", "/b-1?versioning", "<VersioningConfiguration><Status>Perhaps</Status></VersioningConfiguration>"},
		{"a boolean that is none", "/b-1?publicAccessBlock", "<PublicAccessBlockConfiguration><BlockPublicAcls>perhaps</BlockPublicAcls></PublicAccessBlockConfiguration>"},
		{"five megabytes", "/b-1?tagging", tags(strings.Repeat(" ", 5<<20))},
		{"no keys to delete", "POST /b-1?delete", "<Delete></Delete>"},
		{"1,001 keys to delete", "POST /b-1?delete", "<Delete>" + strings.Repeat("<Object><Key>k</Key></Object>", 1001) + "</Delete>"},
		{"a key to delete that is none", "POST /b-1?delete", "<Delete><Object></Object></Delete>"},
		{"a part that is none", "POST /b-1/k?uploadId=none", "<CompleteMultipartUpload><Part><PartNumber>-1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>"},
		{"a part of 2^31", "POST /b-1/k?uploadId=none", "<CompleteMultipartUpload><Part><PartNumber>2147483648</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := *h
			h.t = t
			method, target, ok := strings.Cut(c.target, " ")
			if !ok {
				method, target = "PUT", c.target
			}
			a := h.s3(root, method, target, c.body)
			if a.status < 400 || a.status >= 500 || a.code == "" {
				t.Errorf("answered %d %q", a.status, a.code)
			}
			w.holds(t, a)
		})
	}
	if a := h.s3(root, "GET", "/b-1?max-keys="+strconv.Itoa(-1), ""); a.status != 400 {
		t.Errorf("max-keys=-1: %d", a.status)
	}
}

// The largest documents that S3 takes are not too large.
func TestLargestDocuments(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	root := h.roots[ours]
	h.well(h.s3(root, "PUT", "/b-1", ""))
	var parts, keys strings.Builder
	for i := range 10000 {
		fmt.Fprintf(&parts, `<Part><ChecksumSHA256>%s</ChecksumSHA256><ETag>&quot;%032x&quot;</ETag><PartNumber>%d</PartNumber></Part>`, strings.Repeat("A", 43)+"=", i, i+1)
	}
	upload := h.well(h.s3(root, "POST", "/b-1/k?uploads", "", "X-Amz-Checksum-Algorithm", "SHA256")).element("UploadId")
	h.refused(h.s3(root, "POST", "/b-1/k?uploadId="+upload, "<CompleteMultipartUpload>"+parts.String()+"</CompleteMultipartUpload>"), 400, "InvalidPart")
	for i := range 1000 {
		fmt.Fprintf(&keys, `<Object><Key>%01024d</Key><VersionId>null</VersionId></Object>`, i)
	}
	a := h.well(h.s3(root, "POST", "/b-1?delete", "<Delete>"+keys.String()+"</Delete>"))
	if n := strings.Count(a.body, "<Deleted>"); n != 1000 {
		t.Errorf("%d of 1,000 keys are deleted", n)
	}
	document := strings.Replace(allow("s3:GetObject", "*"), "{", "{"+strings.Repeat(" ", 131072-len(allow("s3:GetObject", "*"))), 1)
	h.well(h.query(root, "iam", "CreatePolicy", "PolicyName", "p", "PolicyDocument", document))
}
