package wire_test

import (
	"encoding/json"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	iam "github.com/iamd-dev/iamd/internal/aws/iam/api"
	sts "github.com/iamd-dev/iamd/internal/aws/sts/api"
	"github.com/iamd-dev/iamd/internal/wire"
)

const roleArn = "&RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fr"

// repeat is a parameter of n equal characters.
func repeat(s string, n int) string { return strings.Repeat(s, n) }

// TestValidation is the table of what AWS says about values out of their bounds. Rows marked R
// are recorded replies of the live service.
func TestValidation(t *testing.T) {
	const one = "ValidationError: 1 validation error detected: "
	for _, test := range []struct {
		m          *wire.Model
		form, want string
	}{
		// Lengths.
		{iam.Model, "CreateVirtualMFADevice&VirtualMFADeviceName=a&Path=%2F" + repeat("a", 512) + "%2F", // R
			one + "Value at 'path' failed to satisfy constraint: Member must have length less than or equal to 512"},
		{iam.Model, "CreateRole&AssumeRolePolicyDocument=%7B%7D&RoleName=" + repeat("a", 65),
			one + "Value at 'roleName' failed to satisfy constraint: Member must have length less than or equal to 64"},
		{iam.Model, "CreateRole&AssumeRolePolicyDocument=%7B%7D&RoleName=" + repeat("a", 64), ""},
		{iam.Model, "GetUser&UserName=", // present and empty is not absent
			one + "Value at 'userName' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{iam.Model, "GetUser", ""},
		{iam.Model, "CreateAccessKey&UserName=" + repeat("a", 128), ""}, // 64 at creation, 128 in look-ups
		{iam.Model, "CreateUser&UserName=" + repeat("a", 65),
			one + "Value at 'userName' failed to satisfy constraint: Member must have length less than or equal to 64"},
		{iam.Model, "TagUser&UserName=a&Tags.member.1.Key=" + repeat("%C3%A9", 128) + "&Tags.member.1.Value=", ""}, // characters, not bytes
		// Absent.
		{iam.Model, "CreateRole&RoleName=r",
			one + "Value at 'assumeRolePolicyDocument' failed to satisfy constraint: Member must not be null"},
		{iam.Model, "CreateRole&AssumeRolePolicyDocument=%7B%7D",
			one + "Value at 'roleName' failed to satisfy constraint: Member must not be null"},
		{iam.Model, "GetRole", "MissingParameter: The request must contain the parameter RoleName."},
		{iam.Model, "CreateServiceLinkedRole", one + "Value at 'aWSServiceName' failed to satisfy constraint: Member must not be null"},
		{iam.Model, "TagUser&UserName=a&Tags.member.1.Key=k",
			one + "Value at 'tags.1.member.value' failed to satisfy constraint: Member must not be null"},
		{iam.Model, "TagUser&UserName=a", one + "Value at 'tags' failed to satisfy constraint: Member must not be null"},
		{sts.Model, "AssumeRole&RoleSessionName=ab", one + "Value null at 'roleArn' failed to satisfy constraint: Member must not be null"},
		{sts.Model, "AssumeRoot&TargetPrincipal=111122223333",
			one + "Value null at 'taskPolicyArn' failed to satisfy constraint: Member must not be null"},
		// Patterns.
		{iam.Model, "DeleteServiceSpecificCredential&ServiceSpecificCredentialId=totally-wrong-credential-id", // R
			one + `Value at 'serviceSpecificCredentialId' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w]+`},
		{iam.Model, "SetDefaultPolicyVersion&PolicyArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Apolicy%2Fp&VersionId=wrong_version_id", // R
			one + `Value at 'versionId' failed to satisfy constraint: Member must satisfy regular expression pattern: v[1-9][0-9]*(\.[A-Za-z0-9-]*)?`},
		{iam.Model, "CreateRole&AssumeRolePolicyDocument=%7B%7D&RoleName=r&Description=%7F",
			one + `Value at 'description' failed to satisfy constraint: Member must satisfy regular expression pattern: [\u0009\u000A\u000D\u0020-\u007E\u00A1-\u00FF]*`},
		{sts.Model, "AssumeRole" + roleArn + "&RoleSessionName=Session1%3A2", // R
			one + `Value 'Session1:2' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*`},
		{sts.Model, "AssumeRole" + roleArn + "&RoleSessionName=ses%C3%A9", // \w is ASCII
			one + `Value 'sesé' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*`},
		{sts.Model, "AssumeRole" + roleArn + "&RoleSessionName=ab%0A", // no newline slips by at the end
			one + "Value 'ab\n' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]*"},
		{sts.Model, "AssumeRole" + roleArn + "&RoleSessionName=" + url.QueryEscape("a_Z9+=,.@-"), ""},
		{iam.Model, "CreateAccountAlias&AccountAlias=my-alias-1", ""},
		{iam.Model, "CreateAccountAlias&AccountAlias=my--alias",
			one + `Value at 'accountAlias' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$`},
		{iam.Model, "CreateAccountAlias&AccountAlias=alias-",
			one + `Value at 'accountAlias' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$`},
		// IAM's sentences.
		{iam.Model, "CreateRole&AssumeRolePolicyDocument=%7B%7D&RoleName=a%2Fb",
			"ValidationError: The specified value for roleName is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-"},
		{iam.Model, "CreateVirtualMFADevice&VirtualMFADeviceName=a&Path=invalid-path%2F", // R
			"ValidationError: The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters."},
		{iam.Model, "CreateVirtualMFADevice&VirtualMFADeviceName=a&Path=%2Fa%2F%2Fb%2F", ""},
		{iam.Model, "CreatePolicy&PolicyName=p&PolicyDocument=%7B%7D&Path=%2Fa%2F%2Fb%2F", // policies are stricter
			"ValidationError: The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters."},
		{iam.Model, "ListRoles&PathPrefix=x",
			"ValidationError: The specified value for pathPrefix is invalid. It must begin with the / character and contain only alphanumeric characters and/or / characters."},
		{iam.Model, "ListRoles&PathPrefix=%2Fa", ""},
		{iam.Model, "UpdateAccessKey&Status=Active&AccessKeyId=AKIAAAAAAAAAAAAA-AAA",
			"ValidationError: The specified value for accessKeyId is invalid. It must contain only alphanumeric characters."},
		{iam.Model, "CreateRole&RoleName=a%2Fb", // constraints come before sentences
			one + "Value at 'assumeRolePolicyDocument' failed to satisfy constraint: Member must not be null"},
		// Numbers.
		{iam.Model, "ListRoleTags&RoleName=r&MaxItems=0", one + "Value at 'maxItems' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{iam.Model, "ListRoleTags&RoleName=r&MaxItems=1001", one + "Value at 'maxItems' failed to satisfy constraint: Member must have value less than or equal to 1000"},
		{iam.Model, "ListRoleTags&RoleName=r&MaxItems=-1", one + "Value at 'maxItems' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{iam.Model, "CreateRole&RoleName=r&AssumeRolePolicyDocument=%7B%7D&MaxSessionDuration=3599", one + "Value at 'maxSessionDuration' failed to satisfy constraint: Member must have value greater than or equal to 3600"},
		{sts.Model, "AssumeRole" + roleArn + "&RoleSessionName=ab&DurationSeconds=899", one + "Value '899' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900"},
		{sts.Model, "AssumeRole" + roleArn + "&RoleSessionName=ab&DurationSeconds=43201", one + "Value '43201' at 'durationSeconds' failed to satisfy constraint: Member must have value less than or equal to 43200"},
		// Enumerations.
		{iam.Model, "UpdateAccessKey&Status=Sleepy&AccessKeyId=AKIAAAAAAAAAAAAAAAAA", one + "Value at 'status' failed to satisfy constraint: Member must satisfy enum value set"},
		{iam.Model, "UpdateAccessKey&Status=active&AccessKeyId=AKIAAAAAAAAAAAAAAAAA", one + "Value at 'status' failed to satisfy constraint: Member must satisfy enum value set"},
		// Lists and their elements.
		{iam.Model, "TagUser&UserName=a" + tags(51), // R
			one + "Value at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50"},
		{iam.Model, "TagUser&UserName=a" + tags(50), ""},
		{iam.Model, "TagRole&RoleName=a&Tags.member.1.Value=v&Tags.member.1.Key=" + repeat("k", 129), // R
			one + "Value at 'tags.1.member.key' failed to satisfy constraint: Member must have length less than or equal to 128"},
		{iam.Model, "TagRole&RoleName=a&Tags.member.1.Key=k&Tags.member.1.Value=" + repeat("v", 257), // R
			one + "Value at 'tags.1.member.value' failed to satisfy constraint: Member must have length less than or equal to 256"},
		{iam.Model, "TagPolicy&PolicyArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Apolicy%2Fp&Tags.member.1.Value=&Tags.member.1.Key=NOWAY%21", // R
			one + `Value at 'tags.1.member.key' failed to satisfy constraint: Member must satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+`},
		{iam.Model, "UntagRole&RoleName=a&TagKeys.member.1=" + repeat("k", 129), // R
			one + `Value at 'tagKeys' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 128, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+, Member must not be null]`},
		{sts.Model, "AssumeRole" + roleArn + "&RoleSessionName=ab&TransitiveTagKeys.member.1=a&TransitiveTagKeys.member.2=%21",
			one + `Value '[a, !]' at 'transitiveTagKeys' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 128, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+]`},
		{sts.Model, "AssumeRole" + roleArn + "&RoleSessionName=ab&PolicyArns.member.1.arn=x",
			one + "Value 'x' at 'policyArns.1.member.arn' failed to satisfy constraint: Member must have length greater than or equal to 20"},
		// Several at once, in AWS's order.
		{iam.Model, "UpdateAccountPasswordPolicy&MaxPasswordAge=1096&MinimumPasswordLength=129&PasswordReusePrevention=25", // R
			"ValidationError: 3 validation errors detected: Value at 'minimumPasswordLength' failed to satisfy constraint: Member must have value less than or equal to 128; Value at 'passwordReusePrevention' failed to satisfy constraint: Member must have value less than or equal to 24; Value at 'maxPasswordAge' failed to satisfy constraint: Member must have value less than or equal to 1095"},
		{iam.Model, "CreateOpenIDConnectProvider&Url=" + repeat("b", 256) + "&ThumbprintList.member.1=" + repeat("a", 41) + "&ClientIDList.member.1=" + repeat("c", 256), // R
			"ValidationError: 3 validation errors detected: Value at 'clientIDList' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 255, Member must have length greater than or equal to 1]; Value at 'thumbprintList' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 40, Member must have length greater than or equal to 40]; Value at 'url' failed to satisfy constraint: Member must have length less than or equal to 255"},
		{sts.Model, "AssumeRole" + roleArn + "&RoleSessionName=%3A", // two constraints of one member
			"ValidationError: 2 validation errors detected: Value ':' at 'roleSessionName' failed to satisfy constraint: Member must have length greater than or equal to 2; Value ':' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]*"},
		// What is secret is never repeated.
		{sts.Model, "AssumeRoleWithWebIdentity" + roleArn + "&RoleSessionName=ab&WebIdentityToken=tok",
			one + "Value at 'webIdentityToken' failed to satisfy constraint: Member must have length greater than or equal to 4"},
	} {
		action, _, _ := strings.Cut(test.form, "&")
		_, err := decode(t, test.m, "Action="+test.form+"&Version="+test.m.Version)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s\ngot  %s\nwant %s", action, got, test.want)
		}
	}
}

func tags(n int) string {
	var b strings.Builder
	for i := range n {
		c := string(rune('a'+i%26)) + string(rune('a'+i/26))
		b.WriteString("&Tags.member." + itoa(i+1) + ".Key=" + c + "&Tags.member." + itoa(i+1) + ".Value=" + c)
	}
	return b.String()
}

func itoa(n int) string {
	b, _ := json.Marshal(n)
	return string(b)
}

// Every recorded message with a pattern or a length in it agrees with the model's tags: the
// text after "constraint:" is one that some input can produce.
func TestValidationRecorded(t *testing.T) {
	data, err := os.ReadFile("/work/shared/truth/aws-observed.json")
	if err != nil {
		t.Skip("no recorded replies on this machine")
	}
	var facts []struct {
		ID, Service, Operation, Evidence string
		Code                             string `json:"error_code"`
		Message                          string `json:"message_pattern"`
	}
	if err := json.Unmarshal(data, &facts); err != nil {
		t.Fatal(err)
	}
	part := regexp.MustCompile(`^(?:\d+ validation errors? detected: )?Value (?:'.*' )?at '([A-Za-z0-9.]+)' failed to satisfy constraint: (.*)$`)
	checked := 0
	for _, f := range facts {
		m := map[string]*wire.Model{"iam": iam.Model, "sts": sts.Model}[f.Service]
		if m == nil || f.Code != "ValidationError" || !strings.Contains(f.Message, "failed to satisfy") {
			continue
		}
		op := m.Operation(f.Operation)
		if op == nil {
			t.Errorf("%s: no operation %s", f.ID, f.Operation)
			continue
		}
		for piece := range strings.SplitSeq(f.Message, "; ") {
			x := part.FindStringSubmatch(piece)
			if x == nil {
				t.Errorf("%s: not understood: %s", f.ID, piece)
				continue
			}
			if texts := wire.Possible(op.In, x[1], m.Quiet); !contains(texts, x[2]) {
				t.Errorf("%s %s %s: AWS says %q, we could say %q", f.ID, f.Operation, x[1], x[2], texts)
			}
			checked++
		}
	}
	if checked < 20 {
		t.Errorf("only %d constraints compared", checked)
	}
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// A text that may be empty is not absent from an input that came by no wire.
func TestCheckOfEmptyTexts(t *testing.T) {
	type input struct {
		Note  string `wire:",req" max:"5"`
		Name  string `wire:",req" min:"1" max:"5"`
		Plain string `wire:",req"`
		Word  string `wire:",req" max:"5" enum:"A|B"`
	}
	err := wire.Check(&wire.Model{Protocol: wire.JSON11, Quiet: true}, &input{})
	if err == nil {
		t.Fatal("nothing is missing")
	}
	for member, missing := range map[string]bool{"note": false, "name": true, "plain": true, "word": true} {
		if strings.Contains(err.Error(), "'"+member+"'") != missing {
			t.Errorf("%s: want %t of missing, in %v", member, missing, err)
		}
	}
	if err := wire.Check(&wire.Model{Protocol: wire.JSON11}, &input{Name: "n", Plain: "p", Word: "A"}); err != nil {
		t.Error(err)
	}
}
