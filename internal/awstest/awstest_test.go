package awstest

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"
)

func Test(t *testing.T) { Scripts(t) }

// What a script gets wrong is an error at its line, never a pass.
func TestScriptErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ script, want string }{
		{"sts GetCallerIdentity\nsts GetCallerIdentit\n", "x.txt:2: sts GetCallerIdentit\n\tsts: there is no operation GetCallerIdentit"},
		{"stt GetCallerIdentity", `unknown command "stt"; there are account, actor, advance, as,`},
		{"iam Options", "there is no operation Options"},
		{"! sts GetCallerIdentity", "it was not refused\n\t| Account=123456789012"},
		{"iam GetUser UserName=nobody", "it was refused\n\t| NoSuchEntity: "},
		{"iam GetUser Username=bob", "GetUserInput has no parameter Username; it has UserName"},
		{"iam GetUser bob", `"bob" is not of the form PARAMETER=VALUE`},
		{"iam CreateUser UserName=bob Tags.1.Key=a", "Tags.1.Key: 1 is not the index of one that is there or comes next"},
		{"iam CreateUser UserName=bob Tags=[{", "is not JSON for it"},
		{"iam CreateUser UserName=bob Tags=[{\"Ky\":\"a\"}]", "Tag has no member Ky"},
		{"iam CreateUser UserName.x=bob", "UserName.x: UserName.x has no parts"},
		{"iam ListUsers MaxItems=many", `MaxItems: "many" is not a number`},
		{"iam CreateRole RoleName=r AssumeRolePolicyDocument=@trust.json", "the archive has no file trust.json"},
		{"sts GetCallerIdentity\n-- a.json --\n{}\n", "nothing uses the file a.json"},
		{"-- a --\n-- a --\n", "the file a is there twice"},
		{"sts GetCallerIdentity\nstdout nobody", "stdout does not match \"nobody\"\n\t| Account="},
		{"sts GetCallerIdentity\n! stdout Account", "stdout matches \"Account\""},
		{"sts GetCallerIdentity\nstdout -count=2 ^Account", "stdout matches \"^Account\" 1 times, not 2"},
		{"sts GetCallerIdentity\nstdout a b", "stdout takes one regular expression"},
		{"sts GetCallerIdentity\nstdout -count=x b", "the form is -count=N REGEXP"},
		{"sts GetCallerIdentity\nstdout (", "missing closing )"},
		{"form sts Action=GetCallerIdentity Version=2011-06-15\nstdout nobody", "stdout does not match \"nobody\"\n\t| UserId=123456789012"},
		{"form sts Action=GetCallerIdentity", "it was refused\n\t| InvalidAction: Could not find operation GetCallerIdentity for version NO_VERSION_SPECIFIED\n\t| Status=400"},
		{"! form sts Action=GetCallerIdentity Version=2011-06-15", "it was not refused"},
		{"sts GetCallerIdentity\nerror 403 AccessDenied", "it was not refused with\n\t403 AccessDenied: "},
		{"! iam GetUser UserName=nobody\nerror 403 NoSuchEntity 'The user with name nobody cannot be found.'", "it was not refused with"},
		{"! iam GetUser UserName=nobody\nerror 404 NoSuchEntity 'The user'", "it was not refused with\n\t404 NoSuchEntity: The user"},
		{"! iam GetUser UserName=nobody\nerror 404 NoSuchEntity", "it was not refused with"},
		{"! iam GetUser UserName=nobody\nshape", "the last operation was refused"},
		{"iam ListUsers\nshape", "it has IsTruncated=false\n\tit has Users="},
		{"iam ListUsers\nshape a\n-- a --\nIsTruncated=true\n", "it has IsTruncated=false\n\t   not IsTruncated=true\n\tit has Users="},
		{"iam ListUsers\nshape a\n-- a --\nIsTruncated=...\nMarker=...\nUsers=\n", "has another shape\n\tit does not have Marker=..."},
		{"iam ListUsers\nshape a\n-- a --\nIsTruncated=...\nUsers=...\n", "it has Users=\n\t   not Users=..."},
		{"sts GetCallerIdentity\nset x=Role.Arn", "the last output has no Role.Arn"},
		{"sts GetCallerIdentity\nset 1=Arn", "the form is set NAME=PATH"},
		{"iam GetUser UserName=$x", "$x is not set"},
		{"iam GetUser UserName=${x}", "${x} is not set"},
		{"iam GetUser UserName='x", "a quotation does not end"},
		{"as bob", "nobody is called bob; there are root, anonymous"},
		{"as root@111122223333", "nobody is called root@111122223333"},
		{"account 1", "1 is not an account id"},
		{"key bob", "it was refused\n\t| NoSuchEntity: "},
		{"actor bob", "there are no credentials in the last output"},
		{"actor root AccessKeyId=a SecretAccessKey=b", "root is somebody else"},
		{"actor bob Key=a", "credentials have no Key"},
		{"! as root", "a ! cannot stand before as"},
		{"!", "a ! stands before a command"},
		{"as", "as does not take 0 arguments"},
		{"restart now", "restart does not take 1 arguments"},
		{"advance soon", `"soon" is not a time to go forward`},
		{"advance -1h", `"-1h" is not a time to go forward`},
		{"header User-Agent", `"User-Agent" is not of the form NAME=VALUE`},
		{"http GET http://example.com/", "http://example.com/ is not of the server"},
		{"presign url Nothing", "there is no operation PresignNothing"},
		{"explain", "no operation has been called"},
		{"audit", "no operation has been called"},
		{"cmp stdin x", "cmp compares stdout or stderr, not stdin"},
		{"sts GetCallerIdentity\ncmp stdout x\n-- x --\nnothing\n", "stdout is not what is in x"},
	} {
		err := run(t, Start, "x.txt", []byte(test.script))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("script %q: error %v\nwant %q", test.script, err, test.want)
		}
	}
}

func TestParameters(t *testing.T) {
	t.Parallel()
	var in s3.PutObjectInput
	for _, p := range [][2]string{
		{"Bucket", "b"}, {"ContentLength", "5"}, {"BucketKeyEnabled", "true"}, {"Metadata.a.b", "c"},
		{"Expires", "2026-01-02T15:04:05Z"}, {"StorageClass", "STANDARD_IA"},
	} {
		if err := setParameter(&in, p[0], p[1]); err != nil {
			t.Errorf("%s: %v", p[0], err)
		}
	}
	if *in.Bucket != "b" || *in.ContentLength != 5 || !*in.BucketKeyEnabled || in.Metadata["a.b"] != "c" || in.Expires.Year() != 2026 || in.StorageClass != types.StorageClassStandardIa {
		t.Errorf("read %+v", in)
	}
	var deletion s3.DeleteObjectsInput
	if err := setParameter(&deletion, "Delete.Objects.0.Key", "k"); err != nil || *deletion.Delete.Objects[0].Key != "k" {
		t.Errorf("nested: %+v, %v", deletion, err)
	}
	if err := setParameter(&deletion, "Delete", `{"Objects": [{"Key": "a"}, {"Key": "b"}], "Quiet": true}`); err != nil || len(deletion.Delete.Objects) != 2 || !*deletion.Delete.Quiet {
		t.Errorf("JSON: %+v, %v", deletion, err)
	}
}

func TestOutput(t *testing.T) {
	t.Parallel()
	out, err := flatten(map[string]any{"b": []any{"x", 1.5, true, nil, map[string]any{"c": ""}}, "a": []byte("\xff"), "PolicyDocument": "%7B%22a%22%3A%22+%22%7D"})
	if err != nil {
		t.Fatal(err)
	}
	want := "PolicyDocument={\"a\":\"+\"}\na=\"\\xff\"\nb.0=x\nb.1=1.5\nb.2=true\nb.4.c=\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The server of the package, used from Go.
func TestClients(t *testing.T) {
	t.Parallel()
	s := Start(t, "111122223333", "444455556666")
	root := s.Config(s.Root("444455556666"))
	if _, err := s.IAM(root).CreateUser(t.Context(), &iam.CreateUserInput{UserName: aws.String("bob")}); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	who, err := s.STS(root).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil || *who.Arn != "arn:aws:iam::444455556666:root" {
		t.Errorf("the root is %v, %v", who, err)
	}
	if _, err := s.IAM(root).GetUser(t.Context(), &iam.GetUserInput{UserName: aws.String("bob")}); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	buckets, err := s.S3(root).ListBuckets(t.Context(), &s3.ListBucketsInput{})
	if err != nil || len(buckets.Buckets) != 0 {
		t.Errorf("buckets are %v, %v", buckets, err)
	}
	if _, err := s.STS(s.Config(aws.Credentials{})).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err == nil {
		t.Error("nobody has an identity")
	}
}
