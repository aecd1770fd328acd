package iam_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"golang.org/x/tools/txtar"

	"github.com/iamd-dev/iamd/internal/awstest"
)

// What is given or shown once is in no file: neither in the record nor among the kept
// decisions, whether the call went well or not.
func TestSecretsAreNotWritten(t *testing.T) {
	t.Parallel()
	s := awstest.Start(t)
	ctx, client := t.Context(), s.IAM(s.Config(s.Root(awstest.DefaultAccount)))
	text, err := os.ReadFile("testdata/certificates.txt")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range txtar.Parse(text).Files {
		files[f.Name] = string(f.Data)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	user := aws.String("alice")
	_, err = client.CreateUser(ctx, &iam.CreateUserInput{UserName: user})
	must(err)
	_, err = client.CreateLoginProfile(ctx, &iam.CreateLoginProfileInput{UserName: user, Password: aws.String("Given-Once-1")})
	must(err)
	if _, err = client.UpdateLoginProfile(ctx, &iam.UpdateLoginProfileInput{UserName: user, Password: aws.String("refused-once")}); err == nil {
		t.Fatal("a password without capitals and digits was accepted")
	}
	key, err := client.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: user})
	must(err)
	as := s.IAM(s.Config(aws.Credentials{AccessKeyID: *key.AccessKey.AccessKeyId, SecretAccessKey: *key.AccessKey.SecretAccessKey}))
	if _, err = as.ChangePassword(ctx, &iam.ChangePasswordInput{OldPassword: aws.String("Given-Once-1"), NewPassword: aws.String("Denied-Once-1")}); err == nil {
		t.Fatal("alice changed her password without the permission")
	}
	device, err := client.CreateVirtualMFADevice(ctx, &iam.CreateVirtualMFADeviceInput{VirtualMFADeviceName: user})
	must(err)
	if _, err = client.EnableMFADevice(ctx, &iam.EnableMFADeviceInput{UserName: user, SerialNumber: device.VirtualMFADevice.SerialNumber,
		AuthenticationCode1: aws.String("918273"), AuthenticationCode2: aws.String("645546")}); err == nil {
		t.Fatal("made-up codes were accepted") // once in 10^11 times
	}
	service, err := client.CreateServiceSpecificCredential(ctx, &iam.CreateServiceSpecificCredentialInput{UserName: user, ServiceName: aws.String("codecommit.amazonaws.com")})
	must(err)
	apiKey, err := client.CreateServiceSpecificCredential(ctx, &iam.CreateServiceSpecificCredentialInput{UserName: user, ServiceName: aws.String("bedrock.amazonaws.com")})
	must(err)
	_, err = client.UploadServerCertificate(ctx, &iam.UploadServerCertificateInput{ServerCertificateName: user,
		CertificateBody: aws.String(files["srv.pem"]), PrivateKey: aws.String(files["srv.key"])})
	must(err)
	s.Restart() // everything is on the disk

	secrets := map[string]string{
		"a password":                "Given-Once-1",
		"a refused password":        "refused-once",
		"the password of a refusal": "Denied-Once-1",
		"a seed":                    string(device.VirtualMFADevice.Base32StringSeed),
		"an MFA code":               "918273",
		"the other MFA code":        "645546",
		"a service password":        *service.ServiceSpecificCredential.ServicePassword,
		"an API key":                *apiKey.ServiceSpecificCredential.ServiceCredentialSecret,
		"a private key":             files["srv.key"][len("-----BEGIN EC PRIVATE KEY-----\n"):][:40],
	}
	looked := 0
	must(filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte("CreateLoginProfile")) {
			looked++
		}
		for what, secret := range secrets {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("%s is in %s", what, path)
			}
		}
		return err
	}))
	if looked == 0 {
		t.Error("no file tells of the calls")
	}
}
