package sigv4

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// signed makes a request that is signed well, for a test to spoil.
func signed(scope Scope, presigned bool) *http.Request {
	r := httptest.NewRequest("GET", "http://service.test/bucket/key?b=2&a=1", nil)
	r.Header.Set("Content-Type", "text/plain")
	s := &Signer{AccessKeyID: testKey, SecretAccessKey: testSecret, Region: "us-east-1", Service: scope.Service}
	if presigned {
		s.Presign(r, time.Hour, testTime)
	} else {
		s.Sign(r, Hash(nil), testTime)
	}
	return r
}

func setAuthorization(old, new string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("Authorization", strings.ReplaceAll(r.Header.Get("Authorization"), old, new))
	}
}

func setHeader(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func setQuery(name, value string) func(*http.Request) {
	return func(r *http.Request) {
		q := r.URL.Query()
		q.Set(name, value)
		r.URL.RawQuery = q.Encode()
	}
}

func delQuery(names ...string) func(*http.Request) {
	return func(r *http.Request) {
		q := r.URL.Query()
		for _, name := range names {
			q.Del(name)
		}
		r.URL.RawQuery = q.Encode()
	}
}

// signAs signs the request again, by header.
func signAs(s Signer, t time.Time) func(*http.Request) {
	return func(r *http.Request) { s.Sign(r, Hash(nil), t) }
}

const (
	wrongQuery = "403 SignatureDoesNotMatch: The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
	wrongS3    = "403 SignatureDoesNotMatch: " + s3Mismatch
)

// Every fault of a request signed by header, in the words of IAM and of S3.
func TestRefuseHeader(t *testing.T) {
	late := testTime.Add(20 * time.Minute)
	for _, test := range []struct {
		name   string
		spoil  func(*http.Request)
		query  string // "" where the fault is none for IAM
		s3     string
		fields string // of S3
	}{
		{"no signature", func(r *http.Request) { r.Header.Del("Authorization") }, // F0907
			"403 MissingAuthenticationToken: Request is missing Authentication Token",
			"403 AccessDenied: Access Denied", ""},
		{"a signature in the query too", func(r *http.Request) { r.URL.RawQuery += "&X-Amz-Algorithm=AWS4-HMAC-SHA256" }, // F0908
			"403 SignatureDoesNotMatch",
			"400 InvalidArgument: Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified",
			"ArgumentName=Authorization"},
		{"a broken escape in the query", func(r *http.Request) { r.URL.RawQuery += "&c=%4" }, // F0905
			"400 MalformedQueryString: Incomplete trailing escape % sequence",
			"400 InvalidURI: Couldn't parse the specified URI.", ""},
		{"a false escape in the query", func(r *http.Request) { r.URL.RawQuery += "&c=%4x" }, // F0906
			"400 MalformedQueryString: Illegal hex character in escape % pattern: %4x",
			"400 InvalidURI: Couldn't parse the specified URI.", ""},
		{"another scheme", setHeader("Authorization", "Basic YWxpY2U6c2VjcmV0"), // F0909
			"400 IncompleteSignature: Unsupported AWS 'algorithm': 'Basic'.",
			"400 InvalidArgument: Unsupported Authorization Type", "ArgumentName=Authorization ArgumentValue=Basic YWxpY2U6c2VjcmV0"},
		{"signature version 2", setHeader("Authorization", "AWS AKIDEXAMPLE:frJIUN8DYpKDtOLCwo="),
			"400 IncompleteSignature: Unsupported AWS 'algorithm': 'AWS'.",
			"400 InvalidRequest: The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.", ""},
		{"SigV4A", setAuthorization("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
			"400 IncompleteSignature: Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256'. SigV4A is not supported here: sign with AWS4-HMAC-SHA256.",
			"400 InvalidArgument: Unsupported Authorization Type: SigV4A is not supported here: sign with AWS4-HMAC-SHA256.", "ArgumentName=Authorization"},
		{"a piece without an equals sign", setHeader("Authorization", "AWS4-HMAC-SHA256 Credential, Signature=1"), // F0910
			"400 IncompleteSignature: 'Credential' not a valid key=value pair (missing equal-sign) in Authorization header: 'AWS4-HMAC-SHA256 Credential, Signature=1'.",
			`400 AuthorizationHeaderMalformed: The authorization header is malformed; the authorization component "Credential" is malformed.`, ""},
		{"all parts missing", func(r *http.Request) { // F0911
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256")
			r.Header.Del("X-Amz-Date")
		},
			"400 IncompleteSignature: Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=AWS4-HMAC-SHA256",
			"400 AuthorizationHeaderMalformed: The authorization header is malformed; the authorization header requires three components: Credential, SignedHeaders, and Signature.", ""},
		{"no credential", setAuthorization("Credential=", "Credentials="),
			"400 IncompleteSignature: Authorization header requires 'Credential' parameter. Authorization=AWS4-HMAC-SHA256",
			"400 AuthorizationHeaderMalformed: The authorization header is malformed; missing Credential.", ""},
		{"no signed headers", setAuthorization("SignedHeaders=", "Headers="),
			"400 IncompleteSignature: Authorization header requires 'SignedHeaders' parameter. Authorization=AWS4-HMAC-SHA256",
			"400 AuthorizationHeaderMalformed: The authorization header is malformed; missing SignedHeaders.", ""},
		{"no signature parameter", setAuthorization("Signature=", "signature="),
			"400 IncompleteSignature: Authorization header requires 'Signature' parameter. Authorization=AWS4-HMAC-SHA256",
			"400 AuthorizationHeaderMalformed: The authorization header is malformed; missing Signature.", ""},
		{"no date", func(r *http.Request) { r.Header.Del("X-Amz-Date") },
			"400 IncompleteSignature: Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=AWS4-HMAC-SHA256",
			"403 AccessDenied: AWS authentication requires a valid Date or x-amz-date header", ""},
		{"the host not signed", setAuthorization(";host", ""), // F0913
			"403 SignatureDoesNotMatch: 'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
			"403 AccessDenied: There were headers present in the request which were not signed", "HeadersNotSigned=host"},
		{"an x-amz- header not signed", func(r *http.Request) {
			r.Header.Set("X-Amz-Copy-Source", "/other/key")
			r.Header.Set("X-Amz-Acl", "public-read")
		}, "",
			"403 AccessDenied: There were headers present in the request which were not signed", "HeadersNotSigned=x-amz-acl, x-amz-copy-source"},
		{"a date that is none", setHeader("X-Amz-Date", "yesterday"), // F0914
			"400 IncompleteSignature: Date must be in ISO-8601 'basic format'. Got 'yesterday'. See http://en.wikipedia.org/wiki/ISO_8601",
			"403 AccessDenied: AWS authentication requires a valid Date or x-amz-date header", ""},
		{"a date with fractions", setHeader("X-Amz-Date", "20150830T123600.5Z"),
			"400 IncompleteSignature: Date must be in ISO-8601 'basic format'. Got '20150830T123600.5Z'. See http://en.wikipedia.org/wiki/ISO_8601",
			"403 AccessDenied: AWS authentication requires a valid Date or x-amz-date header", ""},
		{"too old", setHeader("X-Amz-Date", "20150830T122059Z"), // F0915
			"403 SignatureDoesNotMatch: Signature expired: 20150830T122059Z is now earlier than 20150830T122100Z (20150830T123600Z - 15 min.)",
			"403 RequestTimeTooSkewed: The difference between the request time and the current time is too large.",
			"RequestTime=20150830T122059Z ServerTime=2015-08-30T12:36:00Z MaxAllowedSkewMilliseconds=900000"},
		{"too new", setHeader("X-Amz-Date", "20150830T125101Z"), // F0916
			"403 SignatureDoesNotMatch: Signature not yet current: 20150830T125101Z is still later than 20150830T125100Z (20150830T123600Z + 15 min.)",
			"403 RequestTimeTooSkewed: The difference between the request time and the current time is too large.", ""},
		{"signed well, but twenty minutes ahead", signAs(Signer{AccessKeyID: testKey, SecretAccessKey: testSecret, Region: "us-east-1", Service: "iam"}, late),
			"403 SignatureDoesNotMatch: Signature not yet current: 20150830T125600Z is still later than 20150830T125100Z (20150830T123600Z + 15 min.)",
			"403 RequestTimeTooSkewed: The difference between the request time and the current time is too large.", ""},
		{"a credential of four parts", setAuthorization("/aws4_request", ""), // F0917
			"400 IncompleteSignature: Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'AKIDEXAMPLE/20150830/us-east-1/{service}'",
			`400 AuthorizationHeaderMalformed: The authorization header is malformed; the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`, ""},
		{"no access key id", setAuthorization("AKIDEXAMPLE", ""),
			"400 IncompleteSignature: Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '/20150830/us-east-1/{service}/aws4_request'",
			`400 AuthorizationHeaderMalformed: The authorization header is malformed; the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`, ""},
		{"another region", setAuthorization("us-east-1", "eu-west-1"), // F0918, F0710
			"403 SignatureDoesNotMatch: Credential should be scoped to a valid region. ",
			"400 AuthorizationHeaderMalformed: The authorization header is malformed; the region 'eu-west-1' is wrong; expecting 'us-east-1'", "Region=us-east-1"},
		{"another service", setAuthorization("/us-east-1/", "/us-east-1/x"), // F0919
			"403 SignatureDoesNotMatch: Credential should be scoped to correct service: '{service}'. ",
			`400 AuthorizationHeaderMalformed: The authorization header is malformed; incorrect service "x{service}". This endpoint belongs to "{service}".`, ""},
		{"another terminator", setAuthorization("aws4_request", "aws5_request"), // F0920
			"403 SignatureDoesNotMatch: Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'. ",
			`400 AuthorizationHeaderMalformed: The authorization header is malformed; incorrect terminal "aws5_request". This endpoint uses "aws4_request".`, ""},
		{"another day", setAuthorization("20150830", "20150831"), // F0921
			"403 SignatureDoesNotMatch: Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20150831' != '20150830', from '20150830T123600Z'. ",
			`400 AuthorizationHeaderMalformed: The authorization header is malformed; Invalid credential date "20150831". This date is not the same as X-Amz-Date: "20150830".`, ""},
		{"nothing right in the scope", setHeader("Authorization", "AWS4-HMAC-SHA256 Credential=A/2015/mars/sqs/aws3, SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date, Signature=0"),
			"403 SignatureDoesNotMatch: Credential should be scoped to a valid region. Credential should be scoped to correct service: '{service}'. Credential should be scoped with a valid terminator: 'aws4_request', not 'aws3'. Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '2015' != '20150830', from '20150830T123600Z'. ",
			`400 AuthorizationHeaderMalformed: The authorization header is malformed; incorrect date format "2015". This date in the credential must be in the format "yyyyMMdd".`, ""},
		{"a session token that is not the key's", signAs(Signer{AccessKeyID: "ASIAEXAMPLE", SecretAccessKey: testSecret, SessionToken: "x", Region: "us-east-1", Service: "?"}, testTime), // F0922
			"403 InvalidClientTokenId: The security token included in the request is invalid",
			"400 InvalidToken: The provided token is malformed or otherwise invalid.", "Token-0=x"},
		{"an expired session token", signAs(Signer{AccessKeyID: "ASIAEXAMPLE", SecretAccessKey: testSecret, SessionToken: "expired", Region: "us-east-1", Service: "?"}, testTime), // F0923, F0928
			"403 ExpiredToken: The security token included in the request is expired",
			"400 ExpiredToken: The provided token has expired.", "Token-0=expired"},
		{"an unknown key", setAuthorization("AKIDEXAMPLE", "AKIAUNKNOWN"), // F0924, F0927
			"403 InvalidClientTokenId: The security token included in the request is invalid.",
			"403 InvalidAccessKeyId: The AWS Access Key Id you provided does not exist in our records.", "AWSAccessKeyId=AKIAUNKNOWN"},
		{"another secret", signAs(Signer{AccessKeyID: testKey, SecretAccessKey: "other", Region: "us-east-1", Service: "?"}, testTime), wrongQuery, wrongS3, "AWSAccessKeyId=AKIDEXAMPLE"}, // F0925, F0681
		{"the method changed", func(r *http.Request) { r.Method = "DELETE" }, wrongQuery, wrongS3, ""},
		{"the path changed", func(r *http.Request) { r.URL.Path = "/bucket/other" }, wrongQuery, wrongS3, ""},
		{"the path with an escaped slash", func(r *http.Request) { r.URL.RawPath = "/bucket%2Fkey" }, wrongQuery, wrongS3, ""},
		{"the query changed", func(r *http.Request) { r.URL.RawQuery = "a=2&b=2" }, wrongQuery, wrongS3, ""},
		{"a parameter added", func(r *http.Request) { r.URL.RawQuery += "&acl" }, wrongQuery, wrongS3, ""},
		{"another host", func(r *http.Request) { r.Host = "other.test" }, wrongQuery, wrongS3, ""},
		{"a signed header changed", setHeader("Content-Type", "text/html"), wrongQuery, wrongS3, ""},
		{"a signed header twice", func(r *http.Request) { r.Header.Add("Content-Type", "text/plain") }, wrongQuery, wrongS3, ""},
		{"a signed header gone", func(r *http.Request) { r.Header.Del("Content-Type") }, wrongQuery, wrongS3, ""},
		{"a second later", setHeader("X-Amz-Date", "20150830T123601Z"), wrongQuery, wrongS3, ""},
		{"the signature in capitals", func(r *http.Request) {
			h, sig, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
			r.Header.Set("Authorization", h+"Signature="+strings.ToUpper(sig))
		}, wrongQuery, wrongS3, ""},
		{"the signature cut short", func(r *http.Request) {
			h := r.Header.Get("Authorization")
			r.Header.Set("Authorization", h[:len(h)-1])
		}, wrongQuery, wrongS3, ""},
		{"an empty signature", func(r *http.Request) {
			h, _, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
			r.Header.Set("Authorization", h+"Signature=")
		}, wrongQuery, wrongS3, ""},
		{"no payload hash", func(r *http.Request) { r.Header.Del("X-Amz-Content-Sha256") },
			"", "400 InvalidRequest: Missing required header for this request: x-amz-content-sha256", ""},
		{"a payload hash that is none", setHeader("X-Amz-Content-Sha256", "d41d8cd98f00b204e9800998ecf8427e"),
			"", "400 InvalidArgument: " + payloadHashText, "ArgumentName=x-amz-content-sha256 ArgumentValue=d41d8cd98f00b204e9800998ecf8427e"},
		{"another payload hash", setHeader("X-Amz-Content-Sha256", Hash([]byte("x"))), "", wrongS3, ""},
		{"an unsigned payload instead", setHeader("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"), "", wrongS3, ""},
		{"chunks signed with SigV4A", setHeader("X-Amz-Content-Sha256", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"),
			"", "501 NotImplemented: SigV4A is not supported here: sign with AWS4-HMAC-SHA256.", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, scope := range []Scope{{Service: "iam", Regions: []string{"us-east-1"}}, {Service: "s3", Regions: []string{"us-east-1"}, Family: S3}} {
				want := test.query
				if scope.Family == S3 {
					want = test.s3
				}
				want = strings.ReplaceAll(want, "{service}", scope.Service)
				r := signed(scope, false)
				test.spoil(r)
				r.Header.Set("Authorization", strings.ReplaceAll(r.Header.Get("Authorization"), "/?/", "/"+scope.Service+"/"))
				if r.Header.Get("Authorization") == "" {
					r.Header.Del("Authorization")
				}
				refused(t, r, scope, want, test.fields)
			}
		})
	}
}

// refused checks the error that a request gets; want "" means that it is accepted.
func refused(t *testing.T, r *http.Request, scope Scope, want, fields string) {
	t.Helper()
	sig, err := newVerifier().Verify(r, scope, nil)
	got := ""
	if err != nil {
		e := err.(*Error)
		got = fmt.Sprintf("%d %s", e.Status, e)
		if scope.Family == S3 {
			var all []string
			for _, f := range e.Fields {
				all = append(all, f.Name+"="+f.Value)
			}
			if text := strings.Join(all, " "); !strings.HasPrefix(text, fields) {
				t.Errorf("%s: fields = %q, want %q", scope.Service, text, fields)
			}
		}
	}
	if got != want {
		t.Errorf("%s:\n got %s\nwant %s", scope.Service, got, want)
	}
	if verified := sig.Anonymous || sig.Identity != nil; verified != (err == nil) {
		t.Errorf("%s: signature %v with error %v", scope.Service, sig, err)
	}
}

// Every fault of a presigned request.
func TestRefuseQuery(t *testing.T) {
	for _, test := range []struct {
		name   string
		spoil  func(*http.Request)
		query  string
		s3     string
		fields string
	}{
		{"no algorithm", delQuery("X-Amz-Algorithm"),
			"403 MissingAuthenticationToken: Request is missing Authentication Token",
			"400 AuthorizationQueryParametersError: " + missingParameters, ""},
		{"SigV4A", setQuery("X-Amz-Algorithm", "AWS4-ECDSA-P256-SHA256"),
			"400 IncompleteSignature: Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256'. SigV4A is not supported here: sign with AWS4-HMAC-SHA256.",
			`400 AuthorizationQueryParametersError: X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"`, ""},
		{"all parameters missing", delQuery("X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date"), // F0912
			"400 IncompleteSignature: AWS query-string parameters must include 'X-Amz-Credential'. AWS query-string parameters must include 'X-Amz-Signature'. AWS query-string parameters must include 'X-Amz-SignedHeaders'. AWS query-string parameters must include 'X-Amz-Date'. Re-examine the query-string parameters.",
			"400 AuthorizationQueryParametersError: " + missingParameters, ""},
		{"no life", delQuery("X-Amz-Expires"), wrongQuery, "400 AuthorizationQueryParametersError: " + missingParameters, ""},
		{"a life that is no number", setQuery("X-Amz-Expires", "1h"), wrongQuery, "400 AuthorizationQueryParametersError: X-Amz-Expires should be a number", ""},
		{"a negative life", setQuery("X-Amz-Expires", "-1"), wrongQuery, "400 AuthorizationQueryParametersError: X-Amz-Expires must be non-negative", ""},
		{"more than seven days", setQuery("X-Amz-Expires", "604801"), wrongQuery,
			"400 AuthorizationQueryParametersError: X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds", ""},
		{"a life of nothing", setQuery("X-Amz-Expires", "0"), wrongQuery, "403 AccessDenied: Request has expired",
			"X-Amz-Expires=0 Expires=2015-08-30T12:36:00Z ServerTime=2015-08-30T12:36:00Z"},
		{"a longer life", setQuery("X-Amz-Expires", "3601"), wrongQuery, wrongS3, ""},
		{"expired", func(r *http.Request) { setQuery("X-Amz-Date", "20150830T113600Z")(r) }, // F0683
			"403 SignatureDoesNotMatch: Signature expired: 20150830T113600Z is now earlier than 20150830T122100Z (20150830T123600Z - 15 min.)",
			"403 AccessDenied: Request has expired", "X-Amz-Expires=3600 Expires=2015-08-30T12:36:00Z"},
		{"not yet valid", setQuery("X-Amz-Date", "20150830T125101Z"),
			"403 SignatureDoesNotMatch: Signature not yet current: 20150830T125101Z is still later than 20150830T125100Z (20150830T123600Z + 15 min.)",
			"403 AccessDenied: Request is not valid yet", ""},
		{"a date in the long form", setQuery("X-Amz-Date", "2015-08-30T12:36:00Z"),
			"400 IncompleteSignature: Date must be in ISO-8601 'basic format'. Got '2015-08-30T12:36:00Z'. See http://en.wikipedia.org/wiki/ISO_8601",
			`400 AuthorizationQueryParametersError: X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd'T'HHmmss'Z'"`, ""},
		{"the host not signed", setQuery("X-Amz-SignedHeaders", "content-type"),
			"403 SignatureDoesNotMatch: 'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
			"403 AccessDenied: There were headers present in the request which were not signed", "HeadersNotSigned=host"},
		{"an x-amz- header that was not signed", setHeader("X-Amz-Decoded-Content-Length", "5"), "", // F0682, F0687, F0695
			"403 AccessDenied: There were headers present in the request which were not signed", "HeadersNotSigned=x-amz-decoded-content-length"},
		{"a credential of four parts", setQuery("X-Amz-Credential", "AKIDEXAMPLE/20150830/us-east-1/s3"), // F0703
			"400 IncompleteSignature: Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'AKIDEXAMPLE/20150830/us-east-1/s3'",
			`400 AuthorizationQueryParametersError: Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`, ""},
		{"another region", setQuery("X-Amz-Credential", "AKIDEXAMPLE/20150830/mars/{service}/aws4_request"),
			"403 SignatureDoesNotMatch: Credential should be scoped to a valid region. ",
			"400 AuthorizationQueryParametersError: Error parsing the X-Amz-Credential parameter; the region 'mars' is wrong; expecting 'us-east-1'", "Region=us-east-1"},
		{"an unknown key", setQuery("X-Amz-Credential", "AKIAUNKNOWN/20150830/us-east-1/{service}/aws4_request"),
			"403 InvalidClientTokenId: The security token included in the request is invalid.",
			"403 InvalidAccessKeyId: The AWS Access Key Id you provided does not exist in our records.", ""},
		{"a session token added", setQuery("X-Amz-Security-Token", "x"),
			"403 InvalidClientTokenId: The security token included in the request is invalid",
			"400 InvalidToken: The provided token is malformed or otherwise invalid.", "Token-0=x"},
		{"the path changed", func(r *http.Request) { r.URL.Path = "/bucket/other" }, wrongQuery, wrongS3, ""},
		{"the method changed", func(r *http.Request) { r.Method = "PUT" }, wrongQuery, wrongS3, ""},
		{"a parameter added", setQuery("acl", ""), wrongQuery, wrongS3, ""},
		// The first of two counts, and both are signed: adding one changes the query.
		{"a second signature", func(r *http.Request) { r.URL.RawQuery = "X-Amz-Signature=0&" + r.URL.RawQuery }, wrongQuery, wrongS3, "AWSAccessKeyId"},
		{"a second life", func(r *http.Request) { r.URL.RawQuery = "X-Amz-Expires=604800&" + r.URL.RawQuery }, wrongQuery, wrongS3, ""},
		{"a parameter under an escaped name", func(r *http.Request) { r.URL.RawQuery = "X%2DAmz-Expires=604800&" + r.URL.RawQuery }, wrongQuery, wrongS3, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, scope := range []Scope{{Service: "iam", Regions: []string{"us-east-1"}}, {Service: "s3", Regions: []string{"us-east-1"}, Family: S3}} {
				want := test.query
				if scope.Family == S3 {
					want = test.s3
				}
				r := signed(scope, true)
				test.spoil(r)
				r.URL.RawQuery = strings.ReplaceAll(r.URL.RawQuery, url.QueryEscape("{service}"), scope.Service)
				refused(t, r, scope, want, test.fields)
			}
		})
	}
}

// A request for which several rules fail gets the answer of the first of them.
func TestOrder(t *testing.T) {
	scope := Scope{Service: "iam", Regions: []string{"us-east-1"}}
	spoil := []struct {
		code string
		f    func(*http.Request)
	}{
		{"InvalidClientTokenId", setAuthorization("AKIDEXAMPLE", "AKIAUNKNOWN")},
		{"Credential should be scoped to a valid region", setAuthorization("us-east-1", "mars")},
		{"Credential must have exactly 5", setAuthorization("/aws4_request", "")},
		{"Signature expired", setHeader("X-Amz-Date", "20150830T000000Z")},
		{"Date must be in", setHeader("X-Amz-Date", "now")},
		{"'Host' or ':authority'", setAuthorization("host", "hos")},
		{"requires 'Signature'", setAuthorization("Signature=", "Sig=")},
		{"not a valid key=value", setAuthorization("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256 piece,")},
		{"Unsupported AWS", setAuthorization("AWS4-HMAC-SHA256", "AWS5")},
		{"SignatureDoesNotMatch", func(r *http.Request) { r.URL.RawQuery += "&X-Amz-Algorithm=x" }},
		{"MalformedQueryString", func(r *http.Request) { r.URL.RawQuery += "&%" }},
	}
	r := signed(scope, false)
	r.Method = "PUT" // the signature is wrong, which is found last
	for _, s := range spoil {
		s.f(r)
		_, err := newVerifier().Verify(r, scope, nil)
		if err == nil || !strings.Contains(err.Error(), s.code) {
			t.Errorf("got %v, want %s", err, s.code)
		}
	}
}

// The same fault in every family.
func TestFamilies(t *testing.T) {
	for _, test := range []struct {
		family Family
		wrong  string
		key    string
		none   string
		old    string
	}{
		{Query, "403 SignatureDoesNotMatch", "403 InvalidClientTokenId", "403 MissingAuthenticationToken", "403 SignatureDoesNotMatch"},
		{JSON, "400 InvalidSignatureException", "400 UnrecognizedClientException", "400 MissingAuthenticationTokenException", "400 InvalidSignatureException"},
		{RESTJSON, "403 InvalidSignatureException", "403 UnrecognizedClientException", "403 MissingAuthenticationTokenException", "403 InvalidSignatureException"},
		{EC2, "401 AuthFailure", "401 AuthFailure", "401 AuthFailure", "400 RequestExpired"},
		{S3, "403 SignatureDoesNotMatch", "403 InvalidAccessKeyId", "403 AccessDenied", "403 RequestTimeTooSkewed"},
	} {
		scope := Scope{Service: "s3", Family: test.family}
		for _, fault := range []struct {
			want  string
			spoil func(*http.Request)
		}{
			{test.wrong, func(r *http.Request) { r.Method = "PUT" }},
			{test.key, setAuthorization("AKIDEXAMPLE", "AKIAUNKNOWN")},
			{test.none, func(r *http.Request) { r.Header.Del("Authorization") }},
			{test.old, setHeader("X-Amz-Date", "20150830T000000Z")},
		} {
			r := signed(scope, false)
			fault.spoil(r)
			_, err := newVerifier().Verify(r, scope, nil)
			if e, ok := err.(*Error); !ok || fmt.Sprintf("%d %s", e.Status, e.Code) != fault.want {
				t.Errorf("family %d: got %v, want %s", test.family, err, fault.want)
			}
		}
	}
}

// A JSON service is told its operation by a header, which must be signed.
func TestTargetSigned(t *testing.T) {
	scope := Scope{Service: "dynamodb", Family: JSON}
	r := signed(scope, false)
	r.Header.Set("X-Amz-Target", "DynamoDB_20120810.DeleteTable")
	_, err := newVerifier().Verify(r, scope, nil)
	if err == nil || err.Error() != "InvalidSignatureException: 'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization." {
		t.Errorf("got %v", err)
	}
}

// A lookup that fails is neither an unknown key nor a known one.
func TestLookupFails(t *testing.T) {
	scope := Scope{Service: "iam"}
	r := signed(scope, false)
	setAuthorization("AKIDEXAMPLE", "AKIABROKEN")(r)
	sig, err := newVerifier().Verify(r, scope, nil)
	if _, ok := err.(*Error); ok || err == nil || sig.Identity != nil {
		t.Errorf("got %v, %v; want the lookup's error", sig, err)
	}
}

// Without a signature a request passes only where that is allowed, and then as nobody.
func TestAnonymous(t *testing.T) {
	r := httptest.NewRequest("GET", "http://service.test/bucket/key", nil)
	sig, err := newVerifier().Verify(r, Scope{Service: "s3", Family: S3, Anonymous: true}, nil)
	if err != nil || !sig.Anonymous || sig.Identity != nil || sig.AccessKeyID != "" {
		t.Errorf("got %v, %v", sig, err)
	}
	// A wrong signature is not the same as none.
	r = signed(Scope{Service: "s3"}, false)
	r.Method = "PUT"
	if _, err := newVerifier().Verify(r, Scope{Service: "s3", Family: S3, Anonymous: true}, nil); err == nil {
		t.Error("a wrong signature passes as anonymous")
	}
	r = signed(Scope{Service: "s3"}, true)
	delQuery("X-Amz-Algorithm")(r)
	if _, err := newVerifier().Verify(r, Scope{Service: "s3", Family: S3, Anonymous: true}, nil); err == nil {
		t.Error("half a presigned request passes as anonymous")
	}
}

// EKS signs GetCallerIdentity for 60 seconds and uses it for 14 minutes, which AWS accepts.
func TestPresignedCallerIdentity(t *testing.T) {
	scope := Scope{Service: "sts"}
	r := httptest.NewRequest("GET", "http://sts.test/?Action=GetCallerIdentity&Version=2011-06-15", nil)
	r.Header.Set("X-K8s-Aws-Id", "cluster")
	s := &Signer{AccessKeyID: testKey, SecretAccessKey: testSecret, Region: "us-east-1", Service: "sts"}
	r.Header.Set("X-Amz-Cluster", "prod") // signed because of its name
	s.Presign(r, time.Minute, testTime.Add(-14*time.Minute))
	sig, err := newVerifier().Verify(r, scope, nil)
	if err != nil || !sig.Presigned || !sig.Signed("x-amz-cluster") || sig.Signed("x-k8s-aws-id") {
		t.Errorf("got %v, %v", sig, err)
	}
	r.Header.Set("X-Amz-Cluster", "test")
	if _, err := newVerifier().Verify(r, scope, nil); err == nil {
		t.Error("another value of a signed header passes")
	}
}

// The last of two equal parameters of the header counts.
func TestRepeatedParameter(t *testing.T) {
	scope := Scope{Service: "iam"}
	r := signed(scope, false)
	setAuthorization("Credential=", "Signature=0, Credential=")(r)
	if _, err := newVerifier().Verify(r, scope, nil); err != nil {
		t.Error(err)
	}
	r.Header.Set("Authorization", r.Header.Get("Authorization")+", Signature=0")
	if _, err := newVerifier().Verify(r, scope, nil); err == nil {
		t.Error("the first of two signatures counts")
	}
}

// A header that lists its signed headers in another order is as good.
func TestUnsortedHeaders(t *testing.T) {
	scope := Scope{Service: "iam"}
	r := signed(scope, false)
	setAuthorization("content-type;host;x-amz-date", "x-amz-date;content-type;host")(r)
	if _, err := newVerifier().Verify(r, scope, nil); err != nil {
		t.Error(err)
	}
}

// The date may come in a Date header, in either form.
func TestDateHeader(t *testing.T) {
	for _, date := range []string{"20150830T123600Z", "2015-08-30T12:36:00Z", "Sun, 30 Aug 2015 12:36:00 GMT"} {
		scope := Scope{Service: "iam"}
		r := httptest.NewRequest("GET", "http://service.test/", nil)
		s := &Signer{AccessKeyID: testKey, SecretAccessKey: testSecret, Region: "us-east-1", Service: "iam"}
		c := s.claim(testTime)
		c.signedHeaders = "date;host"
		r.Header.Set("Date", date)
		r.Header.Set("Authorization", algorithm+" Credential="+testKey+"/"+c.scope+",SignedHeaders=date;host,Signature="+s.sign(r, c, emptyHash))
		if _, err := newVerifier().Verify(r, scope, nil); err != nil {
			t.Errorf("%s: %v", date, err)
		}
	}
}

// A cached key is no way around a changed secret, and the cache does not grow for ever.
func TestKeyCache(t *testing.T) {
	secret := testSecret
	v := newVerifier()
	v.Lookup = func(string, string, time.Time) (string, any, error) { return secret, nil, nil }
	scope := Scope{Service: "iam"}
	r := signed(scope, false)
	for range 2 {
		if _, err := v.Verify(r, scope, nil); err != nil {
			t.Fatal(err)
		}
	}
	secret = "changed"
	if _, err := v.Verify(r, scope, nil); err == nil {
		t.Error("the old secret still opens")
	}
	secret = testSecret
	for i := range 3 * maxYoungKeys {
		s := &Signer{AccessKeyID: fmt.Sprint("AKIA", i), SecretAccessKey: secret, Region: "us-east-1", Service: "iam"}
		s.Sign(r, Hash(nil), testTime)
		if _, err := v.Verify(r, scope, nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(v.keys.young) + len(v.keys.old); n > 2*maxYoungKeys {
		t.Errorf("%d keys cached", n)
	}
	n := len(v.keys.young)
	setAuthorization("AKIA", "AKIB")(r)
	r.Method = "PUT"
	if _, err := v.Verify(r, scope, nil); err == nil || len(v.keys.young) != n {
		t.Errorf("a forged request: %v, %d keys more", err, len(v.keys.young)-n)
	}
}

// Neither a signature nor a signer shows its secrets when printed.
func TestPrint(t *testing.T) {
	s := Signer{AccessKeyID: testKey, SecretAccessKey: testSecret, SessionToken: testToken, Region: "us-east-1", Service: "iam"}
	r := signed(Scope{Service: "iam"}, false)
	sig, err := newVerifier().Verify(r, Scope{Service: "iam"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{fmt.Sprintf("%v %+v %#v %s", s, &s, s, s), fmt.Sprintf("%v %+v %#v %s", sig, &sig, sig, sig)} {
		if strings.Contains(got, "wJalr") || strings.Contains(got, "token") || strings.Contains(got, fmt.Sprint(sig.key[:3])[1:5]) || !strings.Contains(got, "us-east-1/iam") {
			t.Errorf("printed %s", got)
		}
	}
}

func TestClaimed(t *testing.T) {
	for _, presigned := range []bool{false, true} {
		key, region, service, ok := Claimed(signed(Scope{Service: "iam"}, presigned))
		if key != testKey || region != "us-east-1" || service != "iam" || !ok {
			t.Errorf("presigned %t: got %s %s %s %t", presigned, key, region, service, ok)
		}
	}
	if _, _, _, ok := Claimed(httptest.NewRequest("GET", "/", nil)); ok {
		t.Error("a request without a signature claims something")
	}
}
