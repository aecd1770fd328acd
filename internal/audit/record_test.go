package audit

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/iamd-dev/iamd/internal/wire"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// sample is an AssumeRole by a user, with everything that a record can have.
func sample() *Record {
	return &Record{
		Time:        noon,
		RequestID:   "11111111-2222-4333-8444-555555555555",
		EventID:     "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee",
		EventSource: "sts.amazonaws.com",
		EventName:   "AssumeRole",
		Region:      "eu-west-1",
		SourceIP:    "192.0.2.7",
		UserAgent:   "aws-cli/2.31.0",
		Identity: UserIdentity{
			Type:        "AssumedRole",
			PrincipalID: "AROAEXAMPLE:alice",
			ARN:         "arn:aws:sts::111122223333:assumed-role/dev/alice",
			AccountID:   "111122223333",
			AccessKeyID: "ASIAEXAMPLE",
			Session: &SessionContext{
				Issuer:         &Issuer{"Role", "AROAEXAMPLE", "arn:aws:iam::111122223333:role/dev", "111122223333", "dev"},
				CreationDate:   noon.Add(-time.Hour),
				MFA:            true,
				SourceIdentity: "alice",
			},
		},
		RequestParameters: json.RawMessage(`{"roleArn":"arn:aws:iam::444455556666:role/ops","roleSessionName":"alice"}`),
		ResponseElements:  json.RawMessage(`{"credentials":{"accessKeyId":"ASIANEW","expiration":"Nov 22, 2026, 1:00:00 PM"}}`),
		Resources:         []Resource{{"arn:aws:iam::444455556666:role/ops", "444455556666", "AWS::IAM::Role"}},
		ReadOnly:          true,
		ManagementEvent:   true,
		Category:          "Management",
		RecipientAccount:  "111122223333",
		SharedEventID:     "99999999-8888-4777-8666-555555555555",
		TLS:               &TLS{"TLSv1.3", "TLS_AES_128_GCM_SHA256", "sts.eu-west-1.amazonaws.com"},
	}
}

func TestRecordForm(t *testing.T) {
	denied := &Record{
		Time: noon.Add(900 * time.Millisecond), RequestID: "r", EventID: "e",
		EventSource: "iam.amazonaws.com", EventName: "CreateUser", Region: "us-east-1", SourceIP: "192.0.2.7", UserAgent: "curl",
		Identity:  UserIdentity{Type: "IAMUser", PrincipalID: "AIDAEXAMPLE", ARN: "arn:aws:iam::111122223333:user/bob", AccountID: "111122223333", AccessKeyID: "AKIAEXAMPLE", UserName: "bob"},
		ErrorCode: "AccessDenied", ErrorMessage: "User: bob is not authorized", ManagementEvent: true, Category: "Management", RecipientAccount: "111122223333",
	}
	byService := &Record{
		Time: noon.In(time.FixedZone("", 3600)), RequestID: "r", EventID: "e", EventType: "AwsServiceEvent",
		EventSource: "sts.amazonaws.com", EventName: "AssumeRole", Region: "us-east-1", SourceIP: "ec2.amazonaws.com", UserAgent: "ec2.amazonaws.com",
		Identity: UserIdentity{Type: "AWSService", InvokedBy: "ec2.amazonaws.com"}, Category: "Management",
		AdditionalEventData: json.RawMessage(`{"ExplicitTrustGrant":true}`),
	}
	for _, test := range []struct {
		name string
		r    *Record
		want string
	}{
		{"everything", sample(), `{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLE:alice",` +
			`"arn":"arn:aws:sts::111122223333:assumed-role/dev/alice","accountId":"111122223333","accessKeyId":"ASIAEXAMPLE",` +
			`"sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROAEXAMPLE","arn":"arn:aws:iam::111122223333:role/dev","accountId":"111122223333","userName":"dev"},` +
			`"webIdFederationData":{},"attributes":{"creationDate":"2026-11-22T11:00:00Z","mfaAuthenticated":"true"},"sourceIdentity":"alice"}},` +
			`"eventTime":"2026-11-22T12:00:00Z","eventSource":"sts.amazonaws.com","eventName":"AssumeRole","awsRegion":"eu-west-1","sourceIPAddress":"192.0.2.7","userAgent":"aws-cli/2.31.0",` +
			`"requestParameters":{"roleArn":"arn:aws:iam::444455556666:role/ops","roleSessionName":"alice"},` +
			`"responseElements":{"credentials":{"accessKeyId":"ASIANEW","expiration":"Nov 22, 2026, 1:00:00 PM"}},` +
			`"requestID":"11111111-2222-4333-8444-555555555555","eventID":"aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee","readOnly":true,` +
			`"resources":[{"ARN":"arn:aws:iam::444455556666:role/ops","accountId":"444455556666","type":"AWS::IAM::Role"}],` +
			`"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","sharedEventID":"99999999-8888-4777-8666-555555555555","eventCategory":"Management",` +
			`"tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"sts.eu-west-1.amazonaws.com"}}`},
		{"refused", denied, `{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","principalId":"AIDAEXAMPLE","arn":"arn:aws:iam::111122223333:user/bob","accountId":"111122223333","accessKeyId":"AKIAEXAMPLE","userName":"bob"},` +
			`"eventTime":"2026-11-22T12:00:00Z","eventSource":"iam.amazonaws.com","eventName":"CreateUser","awsRegion":"us-east-1","sourceIPAddress":"192.0.2.7","userAgent":"curl",` +
			`"errorCode":"AccessDenied","errorMessage":"User: bob is not authorized","requestParameters":null,"responseElements":null,"requestID":"r","eventID":"e","readOnly":false,` +
			`"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management"}`},
		{"by a service", byService, `{"eventVersion":"1.11","userIdentity":{"type":"AWSService","invokedBy":"ec2.amazonaws.com"},` +
			`"eventTime":"2026-11-22T12:00:00Z","eventSource":"sts.amazonaws.com","eventName":"AssumeRole","awsRegion":"us-east-1","sourceIPAddress":"ec2.amazonaws.com","userAgent":"ec2.amazonaws.com",` +
			`"requestParameters":null,"responseElements":null,"additionalEventData":{"ExplicitTrustGrant":true},"requestID":"r","eventID":"e","readOnly":false,` +
			`"eventType":"AwsServiceEvent","managementEvent":false,"recipientAccountId":"","eventCategory":"Management"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := string(test.r.Append(nil)); got != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, test.want)
			}
		})
	}
}

// Whatever a caller sends, a record is one line of JSON that says what came.
func TestHostileStrings(t *testing.T) {
	for _, s := range []string{
		"", `"`, `\`, `\"`, "a\nb", "a\r\nb", "\x00\x01\x1f", "\x7f", "\u0080\u009b\u0085", "\x1b[2J\x1b]0;owned\a",
		"\xff", "a\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\u2028\u2029", "</script><!--", "𝔘𝔫𝔦", "\ufffd", "\ufeff",
		`","errorCode":"`, `"}` + "\n" + `{"eventVersion":"1.11"}`, strings.Repeat("\xe2\x82", 300),
	} {
		r := &Record{Time: noon, UserAgent: s, ErrorMessage: s, EventName: s, Identity: UserIdentity{UserName: s}}
		r.RequestParameters = wire.AppendJSONString([]byte("\n"), s)
		line := r.Append(nil)
		for _, c := range string(line) {
			if c < ' ' || 0x7f <= c && c < 0xa0 || c == '\u2028' || c == '\u2029' {
				t.Errorf("%q: the record has a raw %U in it", s, c)
			}
		}
		var got map[string]any
		if err := json.Unmarshal(line, &got); err != nil {
			t.Errorf("%q: %v in %s", s, err, line)
			continue
		}
		if want := strings.ToValidUTF8(strings.ReplaceAll(s, "\xff", "\ufffd"), "?"); utf8.ValidString(s) && got["eventName"] != want {
			t.Errorf("%q: eventName is %q", s, got["eventName"])
		}
		if len(got) != len(strings.Split(strings.TrimSuffix(wireNames(r), ","), ",")) {
			t.Errorf("%q: the record has %d fields, want %s", s, len(got), wireNames(r))
		}
	}
}

// wireNames are the names that a record of TestHostileStrings has.
func wireNames(r *Record) string {
	names := "eventVersion,userIdentity,eventTime,eventSource,eventName,awsRegion,sourceIPAddress,userAgent,requestParameters,responseElements,requestID,eventID,readOnly,eventType,managementEvent,recipientAccountId,eventCategory,"
	if r.ErrorMessage != "" {
		names += "errorMessage,"
	}
	return names
}

func TestSizes(t *testing.T) {
	r := sample()
	r.UserAgent = strings.Repeat("x", 1023) + "€ and more"
	r.RequestParameters = json.RawMessage(`"` + strings.Repeat("x", 200<<10) + `"`)
	r.ResponseElements = json.RawMessage("{\n\t\"a\": 1\n}")
	var got struct {
		UserAgent                           string
		RequestParameters, ResponseElements any
	}
	line := r.Append(nil)
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	if got.UserAgent != strings.Repeat("x", 1023) {
		t.Errorf("userAgent has %d bytes and ends with %q, want the 1023 before the character that does not fit", len(got.UserAgent), got.UserAgent[len(got.UserAgent)-3:])
	}
	want := map[string]any{"omitted": true, "originalSize": 204802.0, "reason": "requestParameters too large"}
	if diff := cmp.Diff(want, got.RequestParameters); diff != "" {
		t.Errorf("requestParameters (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]any{"a": 1.0}, got.ResponseElements); diff != "" {
		t.Errorf("responseElements (-want +got):\n%s", diff)
	}
	if bytes.ContainsRune(line, '\n') {
		t.Error("the record has a line end in it")
	}
}

// The wire types are the record as encoding/json would write it.
type (
	wireRecord struct {
		EventVersion        string          `json:"eventVersion"`
		UserIdentity        wireIdentity    `json:"userIdentity"`
		EventTime           string          `json:"eventTime"`
		EventSource         string          `json:"eventSource"`
		EventName           string          `json:"eventName"`
		AWSRegion           string          `json:"awsRegion"`
		SourceIPAddress     string          `json:"sourceIPAddress"`
		UserAgent           string          `json:"userAgent"`
		ErrorCode           string          `json:"errorCode,omitempty"`
		ErrorMessage        string          `json:"errorMessage,omitempty"`
		RequestParameters   json.RawMessage `json:"requestParameters"`
		ResponseElements    json.RawMessage `json:"responseElements"`
		AdditionalEventData json.RawMessage `json:"additionalEventData,omitempty"`
		RequestID           string          `json:"requestID"`
		EventID             string          `json:"eventID"`
		ReadOnly            bool            `json:"readOnly"`
		Resources           []wireResource  `json:"resources,omitempty"`
		EventType           string          `json:"eventType"`
		ManagementEvent     bool            `json:"managementEvent"`
		RecipientAccountID  string          `json:"recipientAccountId"`
		SharedEventID       string          `json:"sharedEventID,omitempty"`
		EventCategory       string          `json:"eventCategory"`
		TLSDetails          *wireTLS        `json:"tlsDetails,omitempty"`
	}
	wireIdentity struct {
		Type              string       `json:"type"`
		PrincipalID       string       `json:"principalId,omitempty"`
		ARN               string       `json:"arn,omitempty"`
		AccountID         string       `json:"accountId,omitempty"`
		AccessKeyID       string       `json:"accessKeyId,omitempty"`
		UserName          string       `json:"userName,omitempty"`
		SessionContext    *wireSession `json:"sessionContext,omitempty"`
		InvokedBy         string       `json:"invokedBy,omitempty"`
		InvokedByDelegate *struct {
			AccountID string `json:"accountId"`
		} `json:"invokedByDelegate,omitempty"`
		IdentityProvider string `json:"identityProvider,omitempty"`
	}
	wireSession struct {
		SessionIssuer       *wireIssuer `json:"sessionIssuer,omitempty"`
		WebIDFederationData struct {
			FederatedProvider string            `json:"federatedProvider,omitempty"`
			Attributes        map[string]string `json:"attributes,omitempty"`
		} `json:"webIdFederationData"`
		Attributes struct {
			CreationDate     string `json:"creationDate"`
			MFAAuthenticated bool   `json:"mfaAuthenticated,string"`
		} `json:"attributes"`
		SourceIdentity  string `json:"sourceIdentity,omitempty"`
		EC2RoleDelivery string `json:"ec2RoleDelivery,omitempty"`
		AssumedRoot     bool   `json:"assumedRoot,omitempty,string"`
	}
	wireIssuer struct {
		Type        string `json:"type"`
		PrincipalID string `json:"principalId,omitempty"`
		ARN         string `json:"arn,omitempty"`
		AccountID   string `json:"accountId,omitempty"`
		UserName    string `json:"userName,omitempty"`
	}
	wireResource struct {
		ARN       string `json:"ARN"`
		AccountID string `json:"accountId,omitempty"`
		Type      string `json:"type,omitempty"`
	}
	wireTLS struct {
		TLSVersion               string `json:"tlsVersion"`
		CipherSuite              string `json:"cipherSuite"`
		ClientProvidedHostHeader string `json:"clientProvidedHostHeader,omitempty"`
	}
)

func modelOf(r *Record) *wireRecord {
	second := func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
	w := &wireRecord{
		EventVersion: "1.11", EventTime: second(r.Time), EventSource: r.EventSource, EventName: r.EventName, AWSRegion: r.Region,
		SourceIPAddress: r.SourceIP, UserAgent: cut(r.UserAgent), ErrorCode: r.ErrorCode, ErrorMessage: cut(r.ErrorMessage),
		RequestParameters: r.RequestParameters, ResponseElements: r.ResponseElements, AdditionalEventData: r.AdditionalEventData,
		RequestID: r.RequestID, EventID: r.EventID, ReadOnly: r.ReadOnly, EventType: r.EventType, ManagementEvent: r.ManagementEvent,
		RecipientAccountID: r.RecipientAccount, SharedEventID: r.SharedEventID, EventCategory: r.Category,
	}
	if w.EventType == "" {
		w.EventType = "AwsApiCall"
	}
	u := r.Identity
	w.UserIdentity = wireIdentity{u.Type, u.PrincipalID, u.ARN, u.AccountID, u.AccessKeyID, u.UserName, nil, u.InvokedBy, nil, u.Provider}
	if u.Delegate != "" {
		w.UserIdentity.InvokedByDelegate = &struct {
			AccountID string `json:"accountId"`
		}{u.Delegate}
	}
	if s := u.Session; s != nil {
		ws := &wireSession{SourceIdentity: s.SourceIdentity, EC2RoleDelivery: s.EC2RoleDelivery, AssumedRoot: s.AssumedRoot}
		ws.Attributes.CreationDate, ws.Attributes.MFAAuthenticated = second(s.CreationDate), s.MFA
		if s.Issuer != nil {
			i := wireIssuer(*s.Issuer)
			ws.SessionIssuer = &i
		}
		if s.WebIdentity != nil {
			ws.WebIDFederationData.FederatedProvider = s.WebIdentity.Provider
			for _, a := range s.WebIdentity.Attributes {
				if ws.WebIDFederationData.Attributes == nil {
					ws.WebIDFederationData.Attributes = map[string]string{}
				}
				ws.WebIDFederationData.Attributes[a.Name] = a.Value
			}
		}
		w.UserIdentity.SessionContext = ws
	}
	for _, res := range r.Resources {
		w.Resources = append(w.Resources, wireResource(res))
	}
	if r.TLS != nil {
		w.TLSDetails = &wireTLS{r.TLS.Version, r.TLS.CipherSuite, cut(r.TLS.Host)}
	}
	return w
}

// agree reports a difference between our JSON of r and encoding/json's.
func agree(t *testing.T, r *Record) {
	t.Helper()
	line := r.Append(nil)
	theirs, err := json.Marshal(modelOf(r))
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	if err := json.Unmarshal(theirs, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("differs from encoding/json (-want +got):\n%s", diff)
	}
	if bytes.ContainsRune(line, '\n') {
		t.Errorf("a line end in %q", line)
	}
}

func TestAgreesWithEncodingJSON(t *testing.T) {
	agree(t, &Record{})
	r := sample()
	agree(t, r)
	r.Identity.Session.WebIdentity = &WebIdentity{"accounts.google.com", []WebIdentityAttr{{"aud", "x"}, {"sub", "y"}}}
	r.Identity.Session.EC2RoleDelivery, r.Identity.Session.AssumedRoot = "2.0", true
	r.Identity.Session.Issuer = nil
	r.Identity.Delegate = "444455556666"
	r.Identity.Provider = "arn:aws:iam::111122223333:saml-provider/idp"
	r.Resources = append(r.Resources, Resource{ARN: "arn:aws:s3:::b"})
	agree(t, r)
}

func FuzzRecord(f *testing.F) {
	f.Add("alice", "curl/8", "arn:aws:iam::1:role/x", []byte(`{"a":[1,"b\n"]}`), int64(1), true)
	f.Add("\xff\x00\u2028", `"`, `\`, []byte("null"), int64(-1), false)
	f.Fuzz(func(t *testing.T, a, b, c string, params []byte, at int64, yes bool) {
		r := &Record{
			Time: time.Unix(at%(1<<37), 0), EventName: a, UserAgent: b, ErrorMessage: c, ErrorCode: a, RequestID: c,
			Identity:  UserIdentity{Type: b, UserName: c, ARN: a},
			Resources: []Resource{{ARN: b, Type: c}}, ReadOnly: yes, Category: a,
		}
		if y := r.Time.UTC().Year(); y < 0 || y > 9999 {
			t.Skip("no such year in RFC 3339")
		}
		if yes {
			r.Identity.Session = &SessionContext{Issuer: &Issuer{UserName: a}, SourceIdentity: b, CreationDate: r.Time}
			r.TLS = &TLS{a, b, c}
		}
		if json.Valid(params) && len(params) <= maxStructure {
			r.RequestParameters = params
		}
		agree(t, r)
	})
}

func BenchmarkRecord(b *testing.B) {
	r := sample()
	var line []byte
	b.ReportAllocs()
	for b.Loop() {
		line = r.Append(line[:0])
	}
	b.SetBytes(int64(len(line)))
}
