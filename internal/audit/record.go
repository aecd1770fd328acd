package audit

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/iamd-dev/iamd/internal/wire"
)

// A Record is what CloudTrail says of one call, with the names of its fields
// shortened where Go would stutter. Its form is that of eventVersion 1.11; see
// the CloudTrail User Guide, "CloudTrail record contents". Empty fields are
// left out, but for those that CloudTrail always has.
type Record struct {
	Time        time.Time // eventTime, to the second
	RequestID   string
	EventID     string // a UUID; Append makes one
	EventType   string // empty: AwsApiCall
	EventSource string // sts.amazonaws.com
	EventName   string
	Region      string // awsRegion
	SourceIP    string // sourceIPAddress; the name of a service that calls
	UserAgent   string

	Identity UserIdentity

	ErrorCode    string // AccessDenied
	ErrorMessage string

	// JSON, as the caller made it, which must be JSON; nil is null.
	RequestParameters json.RawMessage
	ResponseElements  json.RawMessage
	// JSON; nil is left out.
	AdditionalEventData json.RawMessage

	Resources        []Resource
	ReadOnly         bool
	ManagementEvent  bool
	Category         string // eventCategory: Management or Data
	RecipientAccount string
	SharedEventID    string // the same in the records of all accounts that one call concerns
	TLS              *TLS   // nil: the call came without
}

// A UserIdentity is who called. See the CloudTrail User Guide, "CloudTrail
// userIdentity element".
type UserIdentity struct {
	Type        string // Root, IAMUser, AssumedRole, FederatedUser, AWSAccount, AWSService, ...
	PrincipalID string // AIDA..., AROA...:session
	ARN         string
	AccountID   string
	AccessKeyID string
	UserName    string
	Session     *SessionContext // nil: long-term credentials
	InvokedBy   string          // ec2.amazonaws.com
	Provider    string          // identityProvider, of SAML and web identity callers
	Delegate    string          // invokedByDelegate: the account of the product provider that calls in this name
}

// A SessionContext says where temporary credentials come from.
type SessionContext struct {
	Issuer          *Issuer
	WebIdentity     *WebIdentity // nil is an empty object, as CloudTrail prints it
	CreationDate    time.Time
	MFA             bool
	SourceIdentity  string
	EC2RoleDelivery string // 1.0 or 2.0: the version of the metadata service
	AssumedRoot     bool
}

// An Issuer is the role or user whose session it is.
type Issuer struct{ Type, PrincipalID, ARN, AccountID, UserName string }

// A WebIdentity is the provider that vouched for the caller.
type WebIdentity struct {
	Provider   string            // federatedProvider: the provider's ARN or domain
	Attributes []WebIdentityAttr // in the order in which they are printed
}

// A WebIdentityAttr is one claim that CloudTrail shows.
type WebIdentityAttr struct{ Name, Value string }

// A Resource is what the call was about.
type Resource struct {
	ARN       string
	AccountID string // the owner
	Type      string // AWS::IAM::Role
}

// TLS is the connection that the call came by.
type TLS struct{ Version, CipherSuite, Host string }

// Sizes above which CloudTrail cuts a text and leaves out a structure.
const (
	maxText      = 1 << 10
	maxStructure = 100 << 10
)

// Append appends the record's JSON to dst and returns it, without a line end.
// It is written out by hand since it is on the way of every call; a test
// compares it with what encoding/json makes.
func (r *Record) Append(dst []byte) []byte {
	dst = append(dst, `{"eventVersion":"1.11","userIdentity":{"type":`...)
	dst = wire.AppendJSONString(dst, r.Identity.Type)
	u := &r.Identity
	dst = appendField(dst, `,"principalId":`, u.PrincipalID)
	dst = appendField(dst, `,"arn":`, u.ARN)
	dst = appendField(dst, `,"accountId":`, u.AccountID)
	dst = appendField(dst, `,"accessKeyId":`, u.AccessKeyID)
	dst = appendField(dst, `,"userName":`, u.UserName)
	if u.Session != nil {
		dst = u.Session.append(dst)
	}
	dst = appendField(dst, `,"invokedBy":`, u.InvokedBy)
	if u.Delegate != "" {
		dst = append(appendField(dst, `,"invokedByDelegate":{"accountId":`, u.Delegate), '}')
	}
	dst = appendField(dst, `,"identityProvider":`, u.Provider)
	dst = append(dst, `},"eventTime":`...)
	dst = appendTime(dst, r.Time)
	dst = append(dst, `,"eventSource":`...)
	dst = wire.AppendJSONString(dst, r.EventSource)
	dst = append(dst, `,"eventName":`...)
	dst = wire.AppendJSONString(dst, r.EventName)
	dst = append(dst, `,"awsRegion":`...)
	dst = wire.AppendJSONString(dst, r.Region)
	dst = append(dst, `,"sourceIPAddress":`...)
	dst = wire.AppendJSONString(dst, r.SourceIP)
	dst = append(dst, `,"userAgent":`...)
	dst = wire.AppendJSONString(dst, cut(r.UserAgent))
	dst = appendField(dst, `,"errorCode":`, r.ErrorCode)
	dst = appendField(dst, `,"errorMessage":`, cut(r.ErrorMessage))
	dst = append(dst, `,"requestParameters":`...)
	dst = appendJSON(dst, r.RequestParameters, "requestParameters")
	dst = append(dst, `,"responseElements":`...)
	dst = appendJSON(dst, r.ResponseElements, "responseElements")
	if r.AdditionalEventData != nil {
		dst = append(dst, `,"additionalEventData":`...)
		dst = appendJSON(dst, r.AdditionalEventData, "additionalEventData")
	}
	dst = append(dst, `,"requestID":`...)
	dst = wire.AppendJSONString(dst, r.RequestID)
	dst = append(dst, `,"eventID":`...)
	dst = wire.AppendJSONString(dst, r.EventID)
	dst = append(dst, `,"readOnly":`...)
	dst = strconv.AppendBool(dst, r.ReadOnly)
	if len(r.Resources) > 0 {
		dst = append(dst, `,"resources":[`...)
		for i := range r.Resources {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, `{"ARN":`...)
			dst = wire.AppendJSONString(dst, r.Resources[i].ARN)
			dst = appendField(dst, `,"accountId":`, r.Resources[i].AccountID)
			dst = appendField(dst, `,"type":`, r.Resources[i].Type)
			dst = append(dst, '}')
		}
		dst = append(dst, ']')
	}
	dst = append(dst, `,"eventType":`...)
	if r.EventType == "" {
		dst = append(dst, `"AwsApiCall"`...)
	} else {
		dst = wire.AppendJSONString(dst, r.EventType)
	}
	dst = append(dst, `,"managementEvent":`...)
	dst = strconv.AppendBool(dst, r.ManagementEvent)
	dst = append(dst, `,"recipientAccountId":`...)
	dst = wire.AppendJSONString(dst, r.RecipientAccount)
	dst = appendField(dst, `,"sharedEventID":`, r.SharedEventID)
	dst = append(dst, `,"eventCategory":`...)
	dst = wire.AppendJSONString(dst, r.Category)
	if t := r.TLS; t != nil {
		dst = append(dst, `,"tlsDetails":{"tlsVersion":`...)
		dst = wire.AppendJSONString(dst, t.Version)
		dst = append(dst, `,"cipherSuite":`...)
		dst = wire.AppendJSONString(dst, t.CipherSuite)
		dst = appendField(dst, `,"clientProvidedHostHeader":`, cut(t.Host))
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

func (s *SessionContext) append(dst []byte) []byte {
	dst = append(dst, `,"sessionContext":{`...)
	if i := s.Issuer; i != nil {
		dst = append(dst, `"sessionIssuer":{"type":`...)
		dst = wire.AppendJSONString(dst, i.Type)
		dst = appendField(dst, `,"principalId":`, i.PrincipalID)
		dst = appendField(dst, `,"arn":`, i.ARN)
		dst = appendField(dst, `,"accountId":`, i.AccountID)
		dst = appendField(dst, `,"userName":`, i.UserName)
		dst = append(dst, `},`...)
	}
	dst = append(dst, `"webIdFederationData":{`...)
	if w := s.WebIdentity; w != nil {
		dst = append(dst, `"federatedProvider":`...)
		dst = wire.AppendJSONString(dst, w.Provider)
		if len(w.Attributes) > 0 {
			dst = append(dst, `,"attributes":{`...)
			for i := range w.Attributes {
				if i > 0 {
					dst = append(dst, ',')
				}
				dst = wire.AppendJSONString(dst, w.Attributes[i].Name)
				dst = append(dst, ':')
				dst = wire.AppendJSONString(dst, cut(w.Attributes[i].Value))
			}
			dst = append(dst, '}')
		}
	}
	dst = append(dst, `},"attributes":{"creationDate":`...)
	dst = appendTime(dst, s.CreationDate)
	dst = append(dst, `,"mfaAuthenticated":"`...) // a text
	dst = strconv.AppendBool(dst, s.MFA)
	dst = append(dst, `"}`...)
	dst = appendField(dst, `,"sourceIdentity":`, s.SourceIdentity)
	dst = appendField(dst, `,"ec2RoleDelivery":`, s.EC2RoleDelivery)
	if s.AssumedRoot {
		dst = append(dst, `,"assumedRoot":"true"`...)
	}
	return append(dst, '}')
}

// appendField appends a name, with what comes before it, and its value, unless
// the value is empty.
func appendField(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	return wire.AppendJSONString(append(dst, name...), value)
}

func appendTime(dst []byte, t time.Time) []byte {
	dst = append(dst, '"')
	dst = t.UTC().AppendFormat(dst, time.RFC3339)
	return append(dst, '"')
}

// appendJSON appends JSON that the caller made, and that is JSON: checking it
// again would take as long as all the rest. Only that it stays on one line is
// seen to, for there may be line ends between tokens.
func appendJSON(dst []byte, raw json.RawMessage, name string) []byte {
	switch {
	case len(raw) == 0:
		return append(dst, "null"...)
	case len(raw) > maxStructure:
		dst = append(dst, `{"omitted":true,"originalSize":`...)
		dst = strconv.AppendInt(dst, int64(len(raw)), 10)
		dst = append(dst, `,"reason":"`...)
		dst = append(dst, name...)
		return append(dst, ` too large"}`...)
	}
	from := len(dst)
	dst = append(dst, raw...)
	for line := dst[from:]; ; {
		i := bytes.IndexByte(line, '\n')
		if i < 0 {
			return dst
		}
		line[i] = ' '
		line = line[i+1:]
	}
}

// cut cuts a text to what CloudTrail keeps of it, between two characters.
func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for n > maxText-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// newEventID makes a random UUID. It names a record and protects nothing.
func newEventID() string {
	var raw [16]byte
	a, b := rand.Uint64(), rand.Uint64()
	for i := range 8 {
		raw[i], raw[8+i] = byte(a>>(8*i)), byte(b>>(8*i))
	}
	raw[6], raw[8] = raw[6]&0x0f|0x40, raw[8]&0x3f|0x80
	text := hex.AppendEncode(make([]byte, 0, 36), raw[:4])
	for i := 4; i < 10; i += 2 {
		text = hex.AppendEncode(append(text, '-'), raw[i:i+2])
	}
	return string(hex.AppendEncode(append(text, '-'), raw[10:]))
}
