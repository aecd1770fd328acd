package server_test

import (
	"encoding/json"
	"html"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/iamd-dev/iamd/internal/server"
)

func (h *site) details(a actor, requestID string) (reply, server.Details) {
	h.t.Helper()
	answer := h.do(a, "iam-toolbox", h.request("GET", "/authorization-details/"+requestID, ""), nil)
	var d server.Details
	if answer.status == 200 {
		if err := json.Unmarshal([]byte(answer.body), &d); err != nil {
			h.t.Fatal(err)
		}
	}
	return answer, d
}

// Explanations are for the two accounts that a call concerned, and in them for
// those who have the permission.
func TestDetailsAreForThoseConcerned(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	alice := h.user(ours, "alice", "")
	auditor := h.user(ours, "auditor", allow("iam:GetRequestAuthorizationDetails", "*"))
	a := h.query(alice, "iam", "ListUsers")
	h.refused(a, 403, "AccessDenied")

	if answer, d := h.details(auditor, a.requestID); answer.status != 200 || len(d.Explanations) != 1 || d.Explanations[0].Action != "iam:ListUsers" || d.EncodedMessage == "" {
		t.Errorf("the account itself is answered %d %s", answer.status, answer.body)
	}
	answer, _ := h.details(alice, a.requestID)
	h.refused(answer, 403, "AccessDeniedException")
	// To ask is a call like any other: it is recorded, whatever the answer.
	if records := h.records(answer.requestID); len(records) != 1 || records[0].EventName != "GetRequestAuthorizationDetails" || records[0].ErrorCode != "AccessDeniedException" {
		t.Errorf("the records of a refused question are %v", records)
	}
	answer, _ = h.details(h.roots[theirs], a.requestID)
	h.refused(answer, 404, "ResourceNotFoundException")
	if records := h.records(answer.requestID); len(records) != 1 || records[0].member(t, "requestParameters", "requestID") != a.requestID {
		t.Errorf("the records of a question are %v", records)
	}
	other := answer.body
	answer, _ = h.details(h.roots[theirs], strings.Repeat("0", 36))
	h.refused(answer, 404, "ResourceNotFoundException")
	if strings.ReplaceAll(answer.body, strings.Repeat("0", 36), a.requestID) != other {
		t.Errorf("another account's request is told from one that is not:\n%s\n%s", answer.body, other)
	}
	answer, _ = h.details(actor{}, a.requestID)
	if answer.status == 200 || strings.Contains(answer.body, "explanations") {
		t.Errorf("without a signature: %d %s", answer.status, answer.body)
	}
	answer, _ = h.details(actor{auditor.id, "x", ""}, a.requestID)
	h.refused(answer, 403, "InvalidSignatureException")
	for _, path := range []string{"/authorization-details/", "/authorization-details", "/"} {
		h.refused(h.do(auditor, "iam-toolbox", h.request("GET", path, ""), nil), 404, "UnknownOperationException")
	}
	h.refused(h.do(auditor, "iam-toolbox", h.request("POST", "/authorization-details/"+a.requestID, ""), nil), 404, "UnknownOperationException")
	for _, id := range []string{"..%2F..%2Fetc%2Fpasswd", "%00", "%22%7D", "a%0Ab", strings.Repeat("9", 5000)} {
		answer, _ := h.details(auditor, id)
		h.refused(answer, 404, "ResourceNotFoundException")
	}
}

// Each account sees its own policies and of the other's only the verdict: an
// external id is not to be read by him who has to guess it, nor a foreign user's
// policies by him who put a bucket there to be called.
func TestDetailsAcrossAccounts(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	mallory := h.user(theirs, "mallory", `{"Version":"2012-10-17","Statement":[
		{"Sid":"MallorysOwn","Effect":"Allow","Action":"*","Resource":"*"},
		{"Sid":"MallorysOther","Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/project":"manhattan"}}}]}`)
	h.well(h.query(h.roots[theirs], "iam", "TagUser", "UserName", "mallory", "Tags.member.1.Key", "desk", "Tags.member.1.Value", "los-alamos"))
	h.well(h.query(h.roots[ours], "iam", "CreateRole", "RoleName", "partner", "AssumeRolePolicyDocument",
		`{"Version":"2012-10-17","Statement":{"Sid":"OurPartner","Effect":"Allow","Principal":{"AWS":"`+theirs+`"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"guess-me-not"}}}}`))
	h.well(h.s3(h.roots[ours], "PUT", "/our-bucket", ""))
	h.well(h.s3(h.roots[ours], "PUT", "/our-bucket?policy", `{"Version":"2012-10-17","Statement":[
		{"Sid":"OurNetwork","Effect":"Allow","Principal":{"AWS":"`+theirs+`"},"Action":"s3:*","Resource":"arn:aws:s3:::our-bucket/*","Condition":{"IpAddress":{"aws:SourceIp":"198.51.100.77"}}},
		{"Sid":"OurDeny","Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::our-bucket/*","Condition":{"StringNotEquals":{"aws:PrincipalTag/desk":"oak-ridge"}}}]}`))

	mine := []string{"MallorysOwn", "MallorysOther", "inline policy p", "manhattan"}
	for _, c := range []struct {
		name   string
		answer reply
		hidden []string // of our account, from theirs
	}{
		{"AssumeRole", h.query(mallory, "sts", "AssumeRole", "RoleArn", "arn:aws:iam::"+ours+":role/partner", "RoleSessionName", "s1"), []string{"OurPartner", "guess-me-not", "sts:ExternalId"}},
		{"GetObject", h.s3(mallory, "GET", "/our-bucket/k", ""), []string{"OurNetwork", "198.51.100.77"}},
		{"PutObject", h.s3(mallory, "PUT", "/our-bucket/k", "x"), []string{"OurDeny", "oak-ridge"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := *h
			h.t = t
			h.refused(c.answer, 403, "AccessDenied")
			their, d := h.details(h.roots[theirs], c.answer.requestID)
			if their.status != 200 {
				t.Fatalf("the caller's account is answered %d %s", their.status, their.body)
			}
			decoded := h.well(h.query(h.roots[theirs], "sts", "DecodeAuthorizationMessage", "EncodedMessage", d.EncodedMessage)).body
			for _, text := range c.hidden {
				if strings.Contains(their.body, text) || strings.Contains(decoded, text) {
					t.Errorf("the caller's account sees %s in\n%s\n%s", text, their.body, decoded)
				}
			}
			for _, text := range mine[:3] {
				if !strings.Contains(their.body, text) {
					t.Errorf("the caller's account does not see its own %s in\n%s", text, their.body)
				}
			}
			our, d := h.details(h.roots[ours], c.answer.requestID)
			if our.status != 200 {
				t.Fatalf("the resource's account is answered %d %s", our.status, our.body)
			}
			decoded = h.well(h.query(h.roots[ours], "sts", "DecodeAuthorizationMessage", "EncodedMessage", d.EncodedMessage)).body
			for _, text := range mine {
				if strings.Contains(our.body, text) || strings.Contains(decoded, text) {
					t.Errorf("the resource's account sees %s in\n%s\n%s", text, our.body, decoded)
				}
			}
			if text := c.hidden[0]; !strings.Contains(our.body, text) {
				t.Errorf("the resource's account does not see its own %s in\n%s", text, our.body)
			}
		})
	}

	// Nor does an explanation tell a role that does not let the caller in from one that is not there.
	seen := map[string]bool{}
	for _, role := range []string{"partner", "nobody0"} {
		a := h.query(mallory, "sts", "AssumeRole", "RoleArn", "arn:aws:iam::"+ours+":role/"+role, "RoleSessionName", "s1")
		h.refused(a, 403, "AccessDenied")
		_, d := h.details(h.roots[theirs], a.requestID)
		x := d.Explanations[0]
		x.RequestID, x.Time = "", x.Time.AddDate(-x.Time.Year(), 0, 0)
		x.Context = nil // the time of the call
		b, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(b), role, "ROLE")
		_, text, _ = strings.Cut(text, `"event"`)
		seen[text] = true
	}
	if len(seen) != 1 {
		t.Errorf("explanations differ: %v", seen)
	}
}

// F0997 What a refusal of iam:PassRole decodes to: AWS's members, all of them, empty
// lists too. (Its conditions are those of the call; AWS's also describe the resource.)
func TestDecodedMessage(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	root := h.roots[ours]
	h.well(h.query(root, "iam", "CreateRole", "RoleName", "passed", "AssumeRolePolicyDocument", trust(ours)))
	h.well(h.query(root, "iam", "CreateRole", "RoleName", "caller", "AssumeRolePolicyDocument", trust(ours)))
	h.well(h.query(root, "iam", "PutRolePolicy", "RoleName", "caller", "PolicyName", "p", "PolicyDocument", allow("iam:AddRoleToInstanceProfile", "*")))
	h.well(h.query(root, "iam", "CreateInstanceProfile", "InstanceProfileName", "i"))
	alice := h.user(ours, "alice", allow("sts:AssumeRole", "*"))
	caller, answer := h.assume(alice, "arn:aws:iam::"+ours+":role/caller", "sess")
	id := h.well(answer).element("AssumedRoleId")
	refused := h.query(caller, "iam", "AddRoleToInstanceProfile", "InstanceProfileName", "i", "RoleName", "passed")
	h.refused(refused, 403, "AccessDenied")
	_, d := h.details(root, refused.requestID)

	text := h.well(h.query(root, "sts", "DecodeAuthorizationMessage", "EncodedMessage", d.EncodedMessage)).element("DecodedMessage")
	var got map[string]any
	if err := json.Unmarshal([]byte(html.UnescapeString(text)), &got); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	conditions := got["context"].(map[string]any)["conditions"].(map[string]any)["items"].([]any)
	service := map[string]any{"key": "iam:PassedToService", "values": map[string]any{"items": []any{map[string]any{"value": "ec2.amazonaws.com"}}}}
	if !slices.ContainsFunc(conditions, func(c any) bool { return reflect.DeepEqual(c, service) }) {
		t.Errorf("the conditions are %v, without %v", conditions, service)
	}
	delete(got["context"].(map[string]any), "conditions")
	want := map[string]any{
		"allowed": false, "explicitDeny": false,
		"matchedStatements": map[string]any{"items": []any{}},
		"failures":          map[string]any{"items": []any{}},
		"context": map[string]any{
			"principal": map[string]any{"id": id, "arn": "arn:aws:sts::" + ours + ":assumed-role/caller/sess"},
			"action":    "iam:PassRole",
			"resource":  "arn:aws:iam::" + ours + ":role/passed",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want - got +\n%s", diff)
	}
}
