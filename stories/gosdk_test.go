//go:build stories

package stories

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
)

// The story of AssumeRole with the AWS SDK for Go; see sdk/README.md.
func goSDK(t *testing.T, s *server) {
	ctx := t.Context()
	load := func(options ...func(*config.LoadOptions) error) aws.Config {
		t.Helper()
		c, err := config.LoadDefaultConfig(ctx, append([]func(*config.LoadOptions) error{
			config.WithRegion("us-east-1"), config.WithBaseEndpoint(s.url), config.WithRetryMaxAttempts(1),
			config.WithSharedCredentialsFiles([]string{filepath.Join(s.data, "credentials")}), config.WithSharedConfigFiles([]string{}),
		}, options...)...)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a, b := load(config.WithSharedConfigProfile("root-"+accountA)), load(config.WithSharedConfigProfile("root-"+accountB))
	with := func(provider aws.CredentialsProvider) aws.Config {
		return load(config.WithCredentialsProvider(provider))
	}
	well := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	// The two halves: a bucket and a role in A that trusts B; a user of B.
	ours := s3.NewFromConfig(a)
	_, err := ours.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("reports")})
	well(err)
	well(s3.NewBucketExistsWaiter(ours).Wait(ctx, &s3.HeadBucketInput{Bucket: aws.String("reports")}, patience))
	_, err = ours.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("reports"), Key: aws.String("q3.txt"), Body: strings.NewReader("all is well"), Metadata: map[string]string{"team": "storage"}})
	well(err)
	well(s3.NewObjectExistsWaiter(ours).Wait(ctx, &s3.HeadObjectInput{Bucket: aws.String("reports"), Key: aws.String("q3.txt")}, patience))
	role := iam.NewFromConfig(a)
	_, err = role.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("S3GetListRole"), AssumeRolePolicyDocument: aws.String(trusting("arn:aws:iam::" + accountB + ":root"))})
	well(err)
	well(iam.NewRoleExistsWaiter(role).Wait(ctx, &iam.GetRoleInput{RoleName: aws.String("S3GetListRole")}, patience))
	_, err = role.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String("S3GetListRole"), PolicyName: aws.String("read"), PolicyDocument: aws.String(readReports)})
	well(err)

	theirs := iam.NewFromConfig(b)
	_, err = theirs.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("alice"), Path: aws.String("/people/"), Tags: []iamtypes.Tag{{Key: aws.String("team"), Value: aws.String("störage")}}})
	well(err)
	user := iam.NewUserExistsWaiter(theirs)
	well(user.Wait(ctx, &iam.GetUserInput{UserName: aws.String("alice")}, patience))
	if err := user.Wait(ctx, &iam.GetUserInput{UserName: aws.String("nobody")}, 50*time.Millisecond, func(o *iam.UserExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = time.Millisecond, time.Millisecond
	}); err == nil {
		t.Error("the waiter finds nobody")
	}
	made, err := theirs.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: aws.String("alice")})
	well(err)
	id, secret := *made.AccessKey.AccessKeyId, *made.AccessKey.SecretAccessKey
	alice := with(credentials.NewStaticCredentialsProvider(id, secret, ""))
	asAlice := sts.NewFromConfig(alice)
	who, err := asAlice.GetCallerIdentity(ctx, nil)
	well(err)
	if *who.Account != accountB || *who.Arn != "arn:aws:iam::"+accountB+":user/people/alice" {
		t.Errorf("alice is %s of %s", *who.Arn, *who.Account)
	}

	// Without B's half nothing goes.
	assume := &sts.AssumeRoleInput{RoleArn: aws.String(roleARN), RoleSessionName: aws.String("alice")}
	get := &s3.GetObjectInput{Bucket: aws.String("reports"), Key: aws.String("q3.txt")}
	list := &s3.ListObjectsV2Input{Bucket: aws.String("reports")}
	_, err = asAlice.AssumeRole(ctx, assume)
	goRefused[*smithy.GenericAPIError](t, err, "AccessDenied", "User: "+*who.Arn+" is not authorized to perform: sts:AssumeRole on resource: "+roleARN)
	_, err = s3.NewFromConfig(alice).GetObject(ctx, get)
	goRefused[*smithy.GenericAPIError](t, err, "AccessDenied", "")
	_, err = iam.NewFromConfig(alice).ListUsers(ctx, nil)
	goRefused[*smithy.GenericAPIError](t, err, "AccessDenied", "because no identity-based policy allows the iam:ListUsers action")

	// With it, what the role's policy says. The SDK assumes the role by itself.
	may := &iam.PutUserPolicyInput{UserName: aws.String("alice"), PolicyName: aws.String("may"), PolicyDocument: aws.String(allowing("sts:AssumeRole", roleARN))}
	_, err = theirs.PutUserPolicy(ctx, may)
	well(err)
	session := with(aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(asAlice, roleARN, func(o *stscreds.AssumeRoleOptions) { o.RoleSessionName = "alice" })))
	keys, err := session.Credentials.Retrieve(ctx)
	well(err)
	if left := time.Until(keys.Expires); !keys.CanExpire || left < 14*time.Minute || left > 15*time.Minute+5*time.Second {
		t.Errorf("the session expires in %v", left)
	}
	who, err = sts.NewFromConfig(session).GetCallerIdentity(ctx, nil)
	well(err)
	if *who.Arn != "arn:aws:sts::"+accountA+":assumed-role/S3GetListRole/alice" {
		t.Errorf("the session is %s", *who.Arn)
	}
	reader := s3.NewFromConfig(session)
	got, err := reader.GetObject(ctx, get)
	well(err)
	if text, err := io.ReadAll(got.Body); err != nil || string(text) != "all is well" || got.Metadata["team"] != "storage" {
		t.Errorf("the object is %q with %v, %v", text, got.Metadata, err)
	}
	_, err = reader.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("reports"), Key: aws.String("q4.txt")})
	goRefused[*smithy.GenericAPIError](t, err, "AccessDenied", "")
	_, err = iam.NewFromConfig(session).GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String("S3GetListRole")})
	goRefused[*smithy.GenericAPIError](t, err, "AccessDenied", "")

	// A session policy takes away, and a stale half ends it.
	narrow := s3.NewFromConfig(with(stscreds.NewAssumeRoleProvider(asAlice, roleARN, func(o *stscreds.AssumeRoleOptions) {
		o.Policy = aws.String(allowing("s3:ListBucket", "*"))
	})))
	_, err = narrow.ListObjectsV2(ctx, list)
	well(err)
	_, err = narrow.GetObject(ctx, get)
	goRefused[*smithy.GenericAPIError](t, err, "AccessDenied", "")
	_, err = theirs.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: may.UserName, PolicyName: may.PolicyName})
	well(err)
	_, err = asAlice.AssumeRole(ctx, assume)
	goRefused[*smithy.GenericAPIError](t, err, "AccessDenied", "")
	_, err = theirs.PutUserPolicy(ctx, may)
	well(err)
	_, err = asAlice.AssumeRole(ctx, assume)
	well(err)

	// Errors are the types that the SDK documents.
	_, err = theirs.GetUser(ctx, &iam.GetUserInput{UserName: aws.String("nobody")})
	goRefused[*iamtypes.NoSuchEntityException](t, err, "NoSuchEntity", "The user with name nobody cannot be found.")
	_, err = theirs.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("Alice")})
	goRefused[*iamtypes.EntityAlreadyExistsException](t, err, "EntityAlreadyExists", "")
	_, err = theirs.DeleteUser(ctx, &iam.DeleteUserInput{UserName: aws.String("alice")})
	goRefused[*iamtypes.DeleteConflictException](t, err, "DeleteConflict", "")
	_, err = theirs.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: may.UserName, PolicyName: may.PolicyName, PolicyDocument: aws.String("{}")})
	goRefused[*iamtypes.MalformedPolicyDocumentException](t, err, "MalformedPolicyDocument", "")
	_, err = theirs.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: aws.String("alice")})
	well(err)
	_, err = theirs.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: aws.String("alice")})
	goRefused[*iamtypes.LimitExceededException](t, err, "LimitExceeded", "")
	_, err = theirs.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("no spaces")})
	goRefused[*smithy.GenericAPIError](t, err, "ValidationError", "")
	_, err = asAlice.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: assume.RoleArn, RoleSessionName: assume.RoleSessionName, Policy: aws.String("{}")})
	goRefused[*ststypes.MalformedPolicyDocumentException](t, err, "MalformedPolicyDocument", "")
	_, err = ours.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("reports"), Key: aws.String("absent")})
	goRefused[*s3types.NoSuchKey](t, err, "NoSuchKey", "")
	_, err = ours.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String("absent-" + accountA)})
	goRefused[*s3types.NoSuchBucket](t, err, "NoSuchBucket", "")
	_, err = ours.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("reports"), CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}},
		func(o *s3.Options) { o.Region = "eu-west-1" })
	goRefused[*s3types.BucketAlreadyOwnedByYou](t, err, "BucketAlreadyOwnedByYou", "")
	_, err = ours.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String("reports"), Key: aws.String("absent")})
	goRefused[*s3types.NotFound](t, err, "NotFound", "")
	for _, wrong := range []struct{ code, id, secret, token string }{
		{"InvalidClientTokenId", "AKIAIOSFODNN7EXAMPLE", secret, ""},
		{"SignatureDoesNotMatch", id, "x", ""},
		{"InvalidClientTokenId", keys.AccessKeyID, keys.SecretAccessKey, keys.SessionToken[:len(keys.SessionToken)-8] + "AAAAAAAA"},
	} {
		_, err = sts.NewFromConfig(with(credentials.NewStaticCredentialsProvider(wrong.id, wrong.secret, wrong.token))).GetCallerIdentity(ctx, nil)
		goRefused[*smithy.GenericAPIError](t, err, wrong.code, "")
	}

	// Pages, of users and of objects.
	var names []string
	for i := range 5 {
		name := fmt.Sprint("page", i)
		names = append(names, name)
		_, err = theirs.CreateUser(ctx, &iam.CreateUserInput{UserName: &name, Path: aws.String("/pages/")})
		well(err)
		_, err = ours.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("reports"), Key: aws.String("pages/" + name)})
		well(err)
	}
	want := slices.Collect(slices.Chunk(names, 2))
	var pages [][]string
	for p := iam.NewListUsersPaginator(theirs, &iam.ListUsersInput{PathPrefix: aws.String("/pages/"), MaxItems: aws.Int32(2)}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		well(err)
		var users []string
		for _, u := range page.Users {
			users = append(users, *u.UserName)
		}
		pages = append(pages, users)
	}
	if fmt.Sprint(pages) != fmt.Sprint(want) {
		t.Errorf("users come in pages of %v, want %v", pages, want)
	}
	pages = nil
	for p := s3.NewListObjectsV2Paginator(reader, &s3.ListObjectsV2Input{Bucket: aws.String("reports"), Prefix: aws.String("pages/"), MaxKeys: aws.Int32(2)}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		well(err)
		var objects []string
		for _, o := range page.Contents {
			objects = append(objects, strings.TrimPrefix(*o.Key, "pages/"))
		}
		pages = append(pages, objects)
	}
	if fmt.Sprint(pages) != fmt.Sprint(want) {
		t.Errorf("objects come in pages of %v, want %v", pages, want)
	}

	// Documents come percent-encoded, tags and times as they are.
	document, err := theirs.GetUserPolicy(ctx, &iam.GetUserPolicyInput{UserName: may.UserName, PolicyName: may.PolicyName})
	well(err)
	if text, err := url.PathUnescape(*document.PolicyDocument); err != nil || text != *may.PolicyDocument {
		t.Errorf("the policy is %q, %v", text, err)
	}
	entity, err := theirs.GetUser(ctx, &iam.GetUserInput{UserName: aws.String("alice")})
	well(err)
	if tags := entity.User.Tags; len(tags) != 1 || *tags[0].Value != "störage" || time.Since(*entity.User.CreateDate).Abs() > 10*time.Minute {
		t.Errorf("alice has %v and was made %v", tags, entity.User.CreateDate)
	}

	// A URL that is enough by itself, for its object only.
	signed, err := s3.NewPresignClient(reader).PresignGetObject(ctx, get, s3.WithPresignExpires(time.Minute))
	well(err)
	for u, want := range map[string]int{signed.URL: 200, strings.Replace(signed.URL, "q3.txt", "pages/page0", 1): 403} {
		r, err := http.Get(u)
		well(err)
		r.Body.Close()
		if r.StatusCode != want {
			t.Errorf("GET %s: %s", u, r.Status)
		}
	}
}

// goRefused holds an error of the SDK against its type, its code and some of its words.
func goRefused[T error](t *testing.T, err error, code, words string) {
	t.Helper()
	var typed T
	var coded smithy.APIError
	if !errors.As(err, &typed) || !errors.As(err, &coded) || coded.ErrorCode() != code || !strings.Contains(coded.ErrorMessage(), words) {
		t.Errorf("got %v, want %T, %s with %q", err, typed, code, words)
	}
}
