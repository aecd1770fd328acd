package server_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/iamd-dev/iamd/internal/authz"
	"github.com/iamd-dev/iamd/internal/server"
)

func (h *site) event(a actor, record string) (reply, []*authz.Explanation) {
	h.t.Helper()
	answer := h.do(a, "iam-toolbox", h.request("POST", "/authorization-details", record), []byte(record))
	var d server.Details
	if answer.status == 200 {
		if err := json.Unmarshal([]byte(answer.body), &d); err != nil {
			h.t.Fatal(err)
		}
	}
	return answer, d.Explanations
}

// A record is made into a call again: who, what, on what, with which keys, and
// decided by the policies of now.
func TestEventsAreDecidedAgain(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	root := h.roots[ours]
	h.user(ours, "alice", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"s3:GetObject","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"198.51.100.0/24"},"DateLessThan":{"aws:CurrentTime":"2026-01-01"}}},
		{"Effect":"Allow","Action":"iam:CreateUser","Resource":"*","Condition":{"StringEquals":{"aws:RequestTag/team":"blue"}}},
		{"Effect":"Allow","Action":["ec2:RunInstances","iam:ListUsers","iam:GetUser"],"Resource":"*","Condition":{"StringEquals":{"aws:RequestedRegion":["eu-central-1","us-east-1"]}}}]}`)
	h.well(h.query(root, "iam", "CreateRole", "RoleName", "r", "Path", "/ops/", "AssumeRolePolicyDocument", trust(ours)))
	h.well(h.query(root, "iam", "PutRolePolicy", "RoleName", "r", "PolicyName", "p", "PolicyDocument",
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"},"StringEquals":{"aws:userid":"${aws:userid}"}}}}`))
	h.well(h.s3(root, "PUT", "/b-1", ""))
	const oidc, adfs = "arn:aws:iam::" + ours + ":oidc-provider/id.example.com", "arn:aws:iam::" + ours + ":saml-provider/adfs"
	h.well(h.query(root, "iam", "CreateRole", "RoleName", "web", "AssumeRolePolicyDocument", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Federated":"`+oidc+`"},
		"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"id.example.com:aud":"sts.amazonaws.com","id.example.com:sub":"system:serviceaccount:reports:reader"}}}}`))
	h.well(h.query(root, "iam", "CreateRole", "RoleName", "saml", "AssumeRolePolicyDocument", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Federated":"`+adfs+`"},
		"Action":"sts:AssumeRoleWithSAML","Condition":{"StringEquals":{"saml:sub":"ann"}}}}`))
	web := func(subject string) string {
		return `{"type":"WebIdentityUser","principalId":"` + oidc + `:sts.amazonaws.com:` + subject + `","userName":"` + subject + `","identityProvider":"` + oidc + `"}`
	}
	saml := func(name string) string {
		return `{"type":"SAMLUser","principalId":"q0alify=:` + name + `","userName":"` + name + `","identityProvider":"q0alify="}`
	}
	const webRole, samlRole = "arn:aws:iam::" + ours + ":role/web", "arn:aws:iam::" + ours + ":role/saml"

	const alice = `{"type":"IAMUser","arn":"arn:aws:iam::` + ours + `:user/alice","accountId":"` + ours + `","userName":"alice"}`
	role := func(mfa string) string {
		return `{"type":"AssumedRole","principalId":"AROAQQQQQQQQQQQQQQQQQ:sess","arn":"arn:aws:sts::` + ours + `:assumed-role/r/sess","accountId":"` + ours + `",
			"sessionContext":{"sessionIssuer":{"type":"Role","arn":"arn:aws:iam::` + ours + `:role/ops/r"},"attributes":{"creationDate":"2025-06-01T00:00:00Z","mfaAuthenticated":` + mfa + `}}}`
	}
	record := func(who, source, name, rest string) string {
		return fmt.Sprintf(`{"eventVersion":"1.11","userIdentity":%s,"eventTime":"2025-06-01T01:00:00Z","eventSource":%q,"eventName":%q,"awsRegion":"us-east-1","sourceIPAddress":"198.51.100.7"%s}`, who, source, name, rest)
	}
	for _, test := range []struct {
		name, record string
		want         []string // action resource decision
	}{
		{"a data event with its parameters", record(alice, "s3.amazonaws.com", "GetObject", `,"requestParameters":{"bucketName":"b-1","key":"k/1","Host":"s3"}`),
			[]string{"s3:GetObject arn:aws:s3:::b-1/k/1 allowed"}},
		{"another address", strings.Replace(record(alice, "s3.amazonaws.com", "GetObject", `,"requestParameters":{"bucketName":"b-1","key":"k"}`), "198.51.100.7", "192.0.2.1", 1),
			[]string{"s3:GetObject arn:aws:s3:::b-1/k implicitDeny"}},
		{"another time", strings.Replace(record(alice, "s3.amazonaws.com", "GetObject", `,"requestParameters":{"bucketName":"b-1","key":"k"}`), "2025-06-01T01", "2026-06-01T01", 1),
			[]string{"s3:GetObject arn:aws:s3:::b-1/k implicitDeny"}},
		{"tags of the request", record(alice, "iam.amazonaws.com", "CreateUser", `,"requestParameters":{"userName":"new","path":"/x/","tags":[{"key":"team","value":"blue"}]}`),
			[]string{"iam:CreateUser arn:aws:iam::" + ours + ":user/x/new allowed"}},
		{"other tags", record(alice, "iam.amazonaws.com", "CreateUser", `,"requestParameters":{"userName":"new","tags":[{"key":"team","value":"red"}]}`),
			[]string{"iam:CreateUser arn:aws:iam::" + ours + ":user/new implicitDeny"}},
		{"a service that is not here", record(alice, "ec2.amazonaws.com", "RunInstances", `,"requestParameters":{"instancesSet":{}},"resources":[{"ARN":"arn:aws:ec2:us-east-1:`+ours+`:instance/i-1"}]`),
			[]string{"ec2:RunInstances arn:aws:ec2:us-east-1:" + ours + ":instance/i-1 allowed"}},
		{"a refusal, whose record has no parameters", record(alice, "iam.amazonaws.com", "DeleteUser", `,"errorCode":"AccessDenied","errorMessage":"User: arn:aws:iam::`+ours+`:user/alice is not authorized to perform: iam:DeleteUser on resource: arn:aws:iam::`+ours+`:user/bob because no identity-based policy allows the iam:DeleteUser action","requestParameters":null`),
			[]string{"iam:DeleteUser arn:aws:iam::" + ours + ":user/bob implicitDeny"}},
		{"a session with MFA", record(role(`"true"`), "s3.amazonaws.com", "ListObjects", `,"requestParameters":{"bucketName":"b-1"}`),
			[]string{"s3:ListBucket arn:aws:s3:::b-1 allowed"}},
		{"a session without", record(role(`"false"`), "s3.amazonaws.com", "ListObjects", `,"requestParameters":{"bucketName":"b-1"}`),
			[]string{"s3:ListBucket arn:aws:s3:::b-1 implicitDeny"}},
		{"several permissions", record(alice, "sts.amazonaws.com", "AssumeRole", `,"requestParameters":{"roleArn":"arn:aws:iam::`+ours+`:role/ops/r","roleSessionName":"ss","sourceIdentity":"alice"}`),
			[]string{"sts:AssumeRole arn:aws:iam::" + ours + ":role/ops/r implicitDeny", "sts:SetSourceIdentity arn:aws:iam::" + ours + ":role/ops/r implicitDeny"}},
		{"parameters that no request could have", record(alice, "iam.amazonaws.com", "ListUsers", `,"requestParameters":{"maxItems":"many"}`),
			[]string{"iam:ListUsers * allowed"}},
		{"a token", record(web("system:serviceaccount:reports:reader"), "sts.amazonaws.com", "AssumeRoleWithWebIdentity", `,"requestParameters":{"roleArn":"`+webRole+`","roleSessionName":"pod"}`),
			[]string{"sts:AssumeRoleWithWebIdentity " + webRole + " allowed"}},
		{"another's token", record(web("system:serviceaccount:reports:writer"), "sts.amazonaws.com", "AssumeRoleWithWebIdentity", `,"requestParameters":{"roleArn":"`+webRole+`","roleSessionName":"pod"}`),
			[]string{"sts:AssumeRoleWithWebIdentity " + webRole + " implicitDeny"}},
		{"a refused token", record(web("system:serviceaccount:reports:writer"), "sts.amazonaws.com", "AssumeRoleWithWebIdentity",
			`,"errorCode":"AccessDenied","errorMessage":"Not authorized to perform sts:AssumeRoleWithWebIdentity","requestParameters":null,"resources":[{"ARN":"`+webRole+`"}]`),
			[]string{"sts:AssumeRoleWithWebIdentity " + webRole + " implicitDeny"}},
		{"an assertion", record(saml("ann"), "sts.amazonaws.com", "AssumeRoleWithSAML", `,"requestParameters":{"roleArn":"`+samlRole+`","principalArn":"`+adfs+`"}`),
			[]string{"sts:AssumeRoleWithSAML " + samlRole + " allowed"}},
		{"another's assertion", record(saml("ben"), "sts.amazonaws.com", "AssumeRoleWithSAML", `,"requestParameters":{"roleArn":"`+samlRole+`","principalArn":"`+adfs+`"}`),
			[]string{"sts:AssumeRoleWithSAML " + samlRole + " implicitDeny"}},
		{"an assertion of nobody knows whom", record(saml("ann"), "sts.amazonaws.com", "AssumeRoleWithSAML", `,"requestParameters":null,"resources":[{"ARN":"`+samlRole+`"}]`),
			[]string{"sts:AssumeRoleWithSAML " + samlRole + " implicitDeny"}},
		{"a delegated session, of which a record has not what was asked for", record(strings.TrimSuffix(role(`"true"`), "}")+`,"invokedByDelegate":{"accountId":"`+theirs+`"}}`, "s3.amazonaws.com", "ListObjects", `,"requestParameters":{"bucketName":"b-1"}`),
			[]string{"s3:ListBucket arn:aws:s3:::b-1 implicitDeny"}},
		{"the root", record(`{"type":"Root","accountId":"`+ours+`"}`, "iam.amazonaws.com", "ListUsers", `,"requestParameters":null`),
			[]string{"iam:ListUsers * allowed"}},
	} {
		answer, all := h.event(root, test.record)
		var got []string
		for _, x := range all {
			got = append(got, fmt.Sprintf("%s %s %s", x.Action, x.Resource, x.Decision))
			if len(x.Notes) == 0 || !strings.HasPrefix(x.Notes[0], "made again of its record") {
				t.Errorf("%s: it is not said what it is: %q", test.name, x.Notes)
			}
		}
		if strings.Join(got, "\n") != strings.Join(test.want, "\n") {
			t.Errorf("%s: %d %q, want %q\n%.2000s", test.name, answer.status, got, test.want, answer.body)
		}
	}

	// What is told of the same record to those who may not ask.
	good := record(alice, "iam.amazonaws.com", "ListUsers", `,"requestParameters":null`)
	bob := h.user(ours, "bob", "")
	answer, _ := h.event(bob, good)
	h.refused(answer, 403, "AccessDeniedException")
	if records := h.records(answer.requestID); len(records) != 1 || records[0].EventName != "GetEventAuthorizationDetails" {
		t.Errorf("the records of a refused question are %v", records)
	}
	answer, _ = h.event(h.roots[theirs], record(web("x"), "sts.amazonaws.com", "AssumeRoleWithWebIdentity", `,"requestParameters":{"roleArn":"`+webRole+`","roleSessionName":"pod"}`))
	h.refused(answer, 404, "ResourceNotFoundException")
	answer, _ = h.event(h.roots[theirs], good)
	h.refused(answer, 404, "ResourceNotFoundException")
	known := answer.body
	answer, _ = h.event(h.roots[theirs], strings.ReplaceAll(good, "alice", "alicx"))
	h.refused(answer, 404, "ResourceNotFoundException")
	if answer.body != known {
		t.Errorf("another account's user is told from one that is not:\n%s\n%s", known, answer.body)
	}
	for _, bad := range []string{"", "{", "[]", "null", `"x"`, "{}", `{"eventSource":"iam.amazonaws.com"}`, `{"eventSource":"x","eventName":"y"}`, strings.Repeat("[", 100000)} {
		if answer, _ := h.event(root, bad); answer.status != 400 {
			t.Errorf("%.40q is answered %d %s", bad, answer.status, answer.body)
		}
	}
}

// A record proves nothing: one that was made up tells nothing of another account.
func TestEventsAreNoWayIntoAnotherAccount(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	h.user(theirs, "victim", `{"Version":"2012-10-17","Statement":{"Sid":"VictimsOwn","Effect":"Allow","Action":"*","Resource":"*"}}`)
	h.user(ours, "mallory", allow("*", "*"))
	h.well(h.query(h.roots[theirs], "iam", "CreateRole", "RoleName", "partner", "AssumeRolePolicyDocument",
		`{"Version":"2012-10-17","Statement":{"Sid":"TheirPartner","Effect":"Allow","Principal":{"AWS":"`+ours+`"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"guess-me-not"}}}}`))
	h.well(h.s3(h.roots[theirs], "PUT", "/their-bucket", ""))
	mallory := h.roots[ours]

	// A session that claims to be of ours and of their user.
	forged := `{"userIdentity":{"type":"FederatedUser","arn":"arn:aws:sts::` + ours + `:federated-user/x","accountId":"` + ours + `","sessionContext":{"sessionIssuer":{"arn":"arn:aws:iam::` + theirs + `:user/victim"}}},
		"eventTime":"2025-06-01T01:00:00Z","eventSource":"iam.amazonaws.com","eventName":"ListUsers"}`
	answer, _ := h.event(mallory, forged)
	h.refused(answer, 404, "ResourceNotFoundException")

	// The right external id and a wrong one, and a role that is not there: all the same.
	ask := func(role, id string) string {
		answer, all := h.event(mallory, `{"userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::`+ours+`:user/mallory"},"eventTime":"2025-06-01T01:00:00Z","eventSource":"sts.amazonaws.com","eventName":"AssumeRole",
			"requestParameters":{"roleArn":"arn:aws:iam::`+theirs+`:role/`+role+`","roleSessionName":"ss","externalId":"`+id+`"}}`)
		if len(all) != 1 || all[0].Decision != "implicitDeny" {
			t.Fatalf("%d %s", answer.status, answer.body)
		}
		if strings.Contains(answer.body, "TheirPartner") || strings.Contains(answer.body, "VictimsOwn") {
			t.Errorf("their policies are told: %s", answer.body)
		}
		all[0].Notes, all[0].RequestID = all[0].Notes[1:], ""
		b, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		return strings.NewReplacer(id, "ID", role, "ROLE").Replace(string(b))
	}
	right := ask("partner", "guess-me-not")
	if wrong := ask("partner", "another"); wrong != right {
		t.Errorf("an external id can be guessed:\n%s\n%s", right, wrong)
	}
	if none := ask("nobody", "another"); none != right {
		t.Errorf("a role that is there is told from one that is not:\n%s\n%s", right, none)
	}
	// Nor does an anonymous call to their bucket say anything.
	answer, _ = h.event(mallory, `{"userIdentity":{"type":"AWSAccount","accountId":"anonymous"},"eventTime":"2025-06-01T01:00:00Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","requestParameters":{"bucketName":"their-bucket","key":"k"}}`)
	h.refused(answer, 404, "ResourceNotFoundException")
}

func FuzzEvent(f *testing.F) {
	f.Add(`{"userIdentity":{"type":"Root","accountId":"111122223333"},"eventTime":"2025-06-01T01:00:00Z","eventSource":"iam.amazonaws.com","eventName":"ListUsers","requestParameters":{"maxItems":3}}`)
	f.Add(`{"userIdentity":{"type":"Root","accountId":"111122223333"},"eventSource":"s3.amazonaws.com","eventName":"DeleteObjects","requestParameters":{"bucketName":"b","delete":{"objects":[{"key":"k"}]}}}`)
	f.Add(`{"userIdentity":{"type":"Root","accountId":"111122223333"},"eventSource":"iam.amazonaws.com","eventName":"SimulatePrincipalPolicy","requestParameters":{"policySourceArn":"x","actionNames":[]}}`)
	h := open(f, nil)
	f.Fuzz(func(t *testing.T, record string) {
		h := *h
		h.t = t
		if answer, _ := h.event(h.roots[ours], record); answer.status >= 500 {
			t.Errorf("%q is answered %d %s", record, answer.status, answer.body)
		}
	})
}
