package server

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/audit"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/wire"
)

// recorded writes the call's audit record and keeps its decisions. It returns err
// itself, or, when the record cannot be written, that failure: what is not
// recorded is neither done nor answered.
func (d *deliberation) recorded(ctx context.Context, in, out any, err error) error {
	if d.eventID == "" {
		d.eventID = newUUID()
		if failed := d.keep(); failed != nil {
			return failed
		}
	}
	room := rooms.Get().(*room)
	defer rooms.Put(room)
	records := d.makeRecords(room, in, out, err)
	for i := range records {
		// Management calls and issued credentials are safe on disk before the answer.
		if failed := d.server.Audit.Append(ctx, &records[i], !d.op.Data()); failed != nil {
			return failed
		}
	}
	return err
}

// A room is where a call's records are made. The log copies them, so it is used again.
type room struct {
	records   [2]audit.Record
	resources [2]audit.Resource
	json      []byte
	more      []byte // additionalEventData
}

var rooms = sync.Pool{New: func() any { return &room{json: make([]byte, 0, 1024)} }}

// makeRecords makes the CloudTrail records of the call: one, or for AssumeRole across
// accounts one for each account, with one sharedEventID.
func (d *deliberation) makeRecords(room *room, in, out any, err error) []audit.Record {
	c, op := d.call, d.op
	r := &room.records[0]
	*r = audit.Record{
		Time:             c.Time,
		RequestID:        c.RequestID,
		EventID:          d.eventID,
		EventSource:      op.Service.Model.Name + ".amazonaws.com",
		EventName:        op.Name,
		Region:           c.Region,
		UserAgent:        c.Source.UserAgent,
		Identity:         userIdentity(c.Caller),
		ReadOnly:         op.ReadOnly(),
		ManagementEvent:  !op.Data(),
		Category:         "Management",
		RecipientAccount: c.Account,
	}
	if name, ok := eventNames[op.Service.Model.Name][op.Name]; ok {
		r.EventName = name
	}
	if c.Source.IP.IsValid() {
		r.SourceIP = c.Source.IP.String()
	}
	if by := c.By(); by != "" { // a service's address is its name
		r.SourceIP, r.Identity.InvokedBy = by, by
	}
	if c.Parent != "" {
		room.more = append(wire.AppendJSONString(append(room.more[:0], `{"parentRequestID":`...), c.Parent), '}')
		r.AdditionalEventData = room.more
	}
	if op.Data() {
		r.Category = "Data"
	}
	if err != nil {
		r.ErrorCode, r.ErrorMessage = "InternalFailure", ""
		var known *wire.Error
		if errors.As(err, &known) {
			r.ErrorCode, r.ErrorMessage = known.Code, known.Message
		}
		if op.Service.Model.Protocol == wire.EC2 { // in CloudTrail these have the side whose fault it is
			r.ErrorCode = faultOf(known) + r.ErrorCode
		}
	}
	// CloudTrail leaves both out of refused calls and of GetCallerIdentity.
	if d.refused == 0 && in != nil && op.Name != "GetCallerIdentity" {
		b := wire.AppendJSON(room.json[:0], in, wire.JSONOptions{})
		if op.Service.Model.Name == "s3" { // whose records have the host that was called, too
			b = withHost(b, c.Source.Host)
		}
		r.RequestParameters = b
		if _, passed := out.(*service.Answer); err == nil && out != nil && !passed && (!op.Reads() || op.IssuesCredentials()) && !op.Data() {
			n := len(b)
			b = wire.AppendJSON(b, out, wire.JSONOptions{})
			r.RequestParameters, r.ResponseElements = b[:n], b[n:]
		}
		if cap(b) <= 64<<10 {
			room.json = b
		}
	}
	var owner string
	r.Resources = room.resources[:0]
	for i := range d.asked {
		a := d.asked[i].Check.ARN
		if a == "*" || i > 0 && a == d.asked[i-1].Check.ARN {
			continue
		}
		r.Resources = append(r.Resources, audit.Resource{ARN: string(a), AccountID: d.asked[i].Owner(), Type: resourceType(a)})
		if i == 0 {
			owner = d.asked[i].Owner()
		}
		if len(r.Resources) == maxRecordedResources {
			break
		}
	}
	if owner == "" && op.TellsCaller() && in != nil { // refused before anything was asked about the role
		if checks := op.Checks(c, in); len(checks) > 0 {
			owner = checks[0].ARN.Account()
		}
	}
	if r.RecipientAccount == "" { // an anonymous call is the resource owner's to know
		r.RecipientAccount = owner
	}
	if op.Name != "AssumeRole" || err != nil || owner == r.RecipientAccount || owner == "" {
		return room.records[:1]
	}
	r.SharedEventID = d.eventID
	theirs := &room.records[1]
	*theirs = *r
	theirs.EventID = newUUID()
	theirs.RecipientAccount = owner
	theirs.Identity = audit.UserIdentity{Type: "AWSAccount", PrincipalID: c.Caller.UserID, AccountID: c.Account}
	return room.records[:]
}

func faultOf(e *wire.Error) string {
	if e == nil || e.HTTPStatus() >= 500 {
		return "Server."
	}
	return "Client."
}

// withHost adds the host to an object.
func withHost(object []byte, host string) []byte {
	last := len(object) - 1 // the brace
	object = object[:last]
	if object[last-1] != '{' {
		object = append(object, ',')
	}
	object = append(object, `"Host":`...)
	return append(wire.AppendJSONString(object, host), '}')
}

// eventNames are CloudTrail's names of events that are not called as the operation, by
// service. Those of Lambda have the date of the API (Lambda Developer Guide, "Logging AWS
// Lambda API calls using AWS CloudTrail"), but for invocations and younger operations.
var eventNames = map[string]map[string]string{
	"s3": {"ListObjectsV2": "ListObjects"},
	"lambda": {
		"AddPermission": "AddPermission20150331v2", "CreateAlias": "CreateAlias20150331", "CreateFunction": "CreateFunction20150331",
		"DeleteAlias": "DeleteAlias20150331", "DeleteFunction": "DeleteFunction20150331", "DeleteFunctionConcurrency": "DeleteFunctionConcurrency20171031",
		"GetAccountSettings": "GetAccountSettings20160819", "GetAlias": "GetAlias20150331", "GetFunction": "GetFunction20150331v2",
		"GetFunctionConfiguration": "GetFunctionConfiguration20150331v2", "GetPolicy": "GetPolicy20150331v2", "ListAliases": "ListAliases20150331",
		"ListFunctions": "ListFunctions20150331", "ListTags": "ListTags20170331", "ListVersionsByFunction": "ListVersionsByFunction20150331",
		"PublishVersion": "PublishVersion20150331", "PutFunctionConcurrency": "PutFunctionConcurrency20171031", "RemovePermission": "RemovePermission20150331v2",
		"TagResource": "TagResource20170331v2", "UntagResource": "UntagResource20170331v2", "UpdateAlias": "UpdateAlias20150331",
		"UpdateFunctionCode": "UpdateFunctionCode20150331v2", "UpdateFunctionConfiguration": "UpdateFunctionConfiguration20150331v2",
	},
}

const maxRecordedResources = 10

// resourceTypes are CloudTrail's names of the kinds of resources, by the service
// of the ARN and the first word of its resource part.
var resourceTypes = map[[2]string]string{
	{"ec2", "image"}:            "AWS::EC2::Ami",
	{"ec2", "instance"}:         "AWS::EC2::Instance",
	{"iam", "role"}:             "AWS::IAM::Role",
	{"iam", "user"}:             "AWS::IAM::User",
	{"iam", "group"}:            "AWS::IAM::Group",
	{"iam", "policy"}:           "AWS::IAM::Policy",
	{"iam", "instance-profile"}: "AWS::IAM::InstanceProfile",
	{"iam", "oidc-provider"}:    "AWS::IAM::OIDCProvider",
	{"iam", "saml-provider"}:    "AWS::IAM::SAMLProvider",
}

func resourceType(a arn.ARN) string {
	service := a.Service()
	kind, _, below := strings.Cut(a.Resource(), "/")
	switch {
	case service == "s3" && below:
		return "AWS::S3::Object"
	case service == "s3":
		return "AWS::S3::Bucket"
	case service == "lambda" && strings.HasPrefix(kind, "function:"):
		return "AWS::Lambda::Function"
	case below:
		return resourceTypes[[2]string{service, kind}]
	}
	return ""
}

// userIdentity is the caller as CloudTrail names them (CloudTrail User Guide, "userIdentity element").
func userIdentity(c *identity.Caller) audit.UserIdentity {
	u := audit.UserIdentity{PrincipalID: c.UserID, ARN: string(c.ARN), AccountID: c.Account, AccessKeyID: c.AccessKeyID}
	switch c.Type {
	case identity.Anonymous:
		return audit.UserIdentity{Type: "AWSAccount", PrincipalID: "", AccountID: "anonymous"}
	case identity.RootUser:
		u.Type = "Root"
	case identity.IAMUser:
		u.Type, u.UserName = "IAMUser", c.User.UserName
	case identity.AssumedRole:
		u.Type = "AssumedRole"
	case identity.FederatedUser:
		u.Type = "FederatedUser"
	case identity.AWSService:
		return audit.UserIdentity{Type: "AWSService", InvokedBy: c.Service}
	case identity.WebIdentityUser, identity.SAMLUser:
		u.Type = string(c.Type)
		if f := c.Federation; f != nil {
			u.UserName, u.Provider = f.Subject, f.Provider
			if c.Type == identity.SAMLUser {
				u.Provider = f.NameQualifier
			}
		}
	}
	if s := c.Session; s != nil {
		u.Session = &audit.SessionContext{CreationDate: s.Issued, MFA: !s.MFA.IsZero(), SourceIdentity: s.SourceIdentity, AssumedRoot: s.AssumedRoot}
		if s.Delegation != nil {
			u.Delegate = s.Delegation.Account
		}
		if s.Provider != "" && !strings.Contains(s.Provider, ":saml-provider/") {
			u.Session.WebIdentity = &audit.WebIdentity{Provider: s.Provider}
		}
		switch {
		case c.Role != nil:
			u.Session.Issuer = &audit.Issuer{Type: "Role", PrincipalID: c.Role.RoleId, ARN: c.Role.Arn, AccountID: c.Account, UserName: c.Role.RoleName}
		case c.Type == identity.FederatedUser && c.User != nil:
			u.Session.Issuer = &audit.Issuer{Type: "IAMUser", PrincipalID: c.User.UserId, ARN: c.User.Arn, AccountID: c.Account, UserName: c.User.UserName}
		case c.Type == identity.FederatedUser:
			u.Session.Issuer = &audit.Issuer{Type: "Root", PrincipalID: c.Account, ARN: string(identity.RootARN(c.Account)), AccountID: c.Account}
		}
	}
	return u
}
