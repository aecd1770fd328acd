package wire_test

import (
	"encoding/json"
	"testing"
	"time"

	iam "github.com/iamd-dev/iamd/internal/aws/iam/api"
	s3 "github.com/iamd-dev/iamd/internal/aws/s3/api"
	sts "github.com/iamd-dev/iamd/internal/aws/sts/api"
	"github.com/iamd-dev/iamd/internal/wire"
)

func TestAppendJSON(t *testing.T) {
	expires := time.Date(2024, 7, 30, 21, 46, 15, 0, time.UTC)
	for _, test := range []struct {
		name string
		v    any
		want string
	}{
		{"an input", &sts.AssumeRoleInput{RoleArn: "arn:aws:iam::111122223333:role/r", RoleSessionName: "s", DurationSeconds: ptr(int32(900)), Tags: []sts.Tag{{Key: "k"}}, TransitiveTagKeys: []string{"k"}},
			`{"roleArn":"arn:aws:iam::111122223333:role/r","roleSessionName":"s","durationSeconds":900,"tags":[{"key":"k","value":""}],"transitiveTagKeys":["k"]}`},
		{"credentials without what opens a session", &sts.AssumeRoleOutput{Credentials: &sts.Credentials{AccessKeyId: "ASIA", SecretAccessKey: "hush", SessionToken: "tok", Expiration: expires}},
			`{"credentials":{"accessKeyId":"ASIA","expiration":"Jul 30, 2024, 9:46:15 PM"}}`},
		{"passwords", &iam.ChangePasswordInput{OldPassword: "hush", NewPassword: "hush"}, `{}`},
		{"tokens", &sts.AssumeRoleWithWebIdentityInput{RoleArn: "r", RoleSessionName: "s", WebIdentityToken: "hush"}, `{"roleArn":"r","roleSessionName":"s"}`},
		{"seeds, which are blobs", &iam.CreateVirtualMFADeviceOutput{VirtualMFADevice: &iam.VirtualMFADevice{SerialNumber: "s", Base32StringSeed: []byte("hush"), QRCodePNG: []byte("hush")}},
			`{"virtualMFADevice":{"serialNumber":"s"}}`},
		{"policy documents of answers, encoded as on the wire", &iam.GetUserPolicyOutput{UserName: "u", PolicyName: "p", PolicyDocument: `{}`},
			`{"userName":"u","policyName":"p","policyDocument":"%7B%7D"}`},
		{"policy documents of requests, as they came", &iam.PutUserPolicyInput{UserName: "u", PolicyName: "p", PolicyDocument: `{"a":1}`},
			`{"userName":"u","policyName":"p","policyDocument":"{\"a\":1}"}`},
		{"zeros that are written", &iam.ListUsersOutput{}, `{"users":[],"isTruncated":false}`},
		{"maps", &iam.GetAccountSummaryOutput{SummaryMap: map[string]int32{"b": 2, "a": 1}}, `{"summaryMap":{"a":1,"b":2}}`},
		{"streams", &s3.PutObjectInput{Bucket: "b", Key: "k", Body: stream("hush"), SSECustomerKey: "hush"}, `{"bucketName":"b","key":"k"}`},
		{"text that JSON must escape", &s3.GetObjectInput{Bucket: "b", Key: "\"\\\n\r\t\x00\x7f\u2028é<\xff"}, `{"bucketName":"b","key":"\"\\\n\r\t\u0000\u007f\u2028é<\ufffd"}`},
		{"nothing", (*iam.GetUserInput)(nil), `null`},
		{"empty", iam.GetUserInput{}, `{}`},
	} {
		got := wire.AppendJSON(nil, test.v, wire.JSONOptions{})
		if string(got) != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.name, got, test.want)
		}
		if !json.Valid(got) {
			t.Errorf("%s: not JSON", test.name)
		}
	}
	if got := wire.AppendJSON([]byte("x:"), iam.GetUserInput{}, wire.JSONOptions{}); string(got) != "x:{}" {
		t.Errorf("got %s", got)
	}
}
