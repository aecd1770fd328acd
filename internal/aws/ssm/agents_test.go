package ssm_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/iamd-dev/iamd/arn"
	ec2 "github.com/iamd-dev/iamd/internal/aws/ec2/api"
	"github.com/iamd-dev/iamd/internal/awstest"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/servicerole"
	"github.com/iamd-dev/iamd/internal/sigv4"
)

const trust = `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}}`

// A site is a server with the role "node", which allows everything.
func site(t *testing.T) *awstest.Server {
	t.Helper()
	s := awstest.Start(t)
	client := s.IAM(s.Config(s.Root(awstest.DefaultAccount)))
	if _, err := client.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("node"), AssumeRolePolicyDocument: aws.String(trust)}); err != nil {
		t.Fatal(err)
	}
	allow(t, s, "*")
	return s
}

// allow lets the role do what is named, and nothing else.
func allow(t *testing.T, s *awstest.Server, actions ...string) {
	t.Helper()
	text, _ := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": map[string]any{"Effect": "Allow", "Action": actions, "Resource": "*"}})
	client := s.IAM(s.Config(s.Root(awstest.DefaultAccount)))
	if _, err := client.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: aws.String("node"), PolicyName: aws.String("p"), PolicyDocument: aws.String(string(text))}); err != nil {
		t.Fatal(err)
	}
}

const (
	mine, other = "i-0123456789abcdef0", "i-0123456789abcdef1"
	node        = "arn:aws:iam::" + awstest.DefaultAccount + ":role/node"
)

// delivered are credentials as EC2 delivers them to an instance.
func delivered(t *testing.T, s *awstest.Server, instance string) aws.Credentials {
	t.Helper()
	session, err := s.Roles.Assume(t.Context(), servicerole.Use{Role: node, Service: "ec2.amazonaws.com", Session: instance,
		For: arn.New("aws", "ec2", "us-east-1", awstest.DefaultAccount, "instance/"+instance), Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	return aws.Credentials{AccessKeyID: session.AccessKeyID, SecretAccessKey: session.SecretAccessKey.Reveal(), SessionToken: session.SessionToken.Reveal()}
}

// call makes a call as an agent does, and returns the status and the answer.
func call(t *testing.T, s *awstest.Server, c aws.Credentials, service, target, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", target)
	return send(t, s, c, service, r, body)
}

// post asks for a channel, as an agent does.
func post(t *testing.T, s *awstest.Server, c aws.Credentials, path string) (int, string) {
	t.Helper()
	const body = `{"MessageSchemaVersion": "1.0", "RequestId": "00000000-0000-4000-8000-000000000000", "ClientId": "x"}`
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	return send(t, s, c, "ssmmessages", r, body)
}

func send(t *testing.T, s *awstest.Server, c aws.Credentials, service string, r *http.Request, body string) (int, string) {
	t.Helper()
	signer := &sigv4.Signer{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken, Region: "us-east-1", Service: service}
	signer.Sign(r, sigv4.Hash([]byte(body)), s.Now())
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// An agent speaks for the instance whose credentials it has, whatever its role allows.
func TestAgentsSpeakForThemselves(t *testing.T) {
	s := site(t)
	own, root := delivered(t, s, mine), s.Root(awstest.DefaultAccount)
	message := func(id string) string { return "aws.ssm.00000000-0000-4000-8000-000000000000." + id }
	const reply = `"ReplyId": "00000000-0000-4000-8000-000000000000", "Payload": "{\"documentStatus\": \"Success\"}"`
	for _, test := range []struct{ service, target, body string }{
		{"ssm", "AmazonSSM.UpdateInstanceInformation", `{"InstanceId": "` + other + `"}`},
		{"ec2messages", "EC2WindowsMessageDeliveryService.GetEndpoint", `{"Destination": "` + other + `"}`},
		{"ec2messages", "EC2WindowsMessageDeliveryService.GetMessages", `{"Destination": "` + other + `", "MessagesRequestId": "00000000-0000-4000-8000-000000000000"}`},
		{"ec2messages", "EC2WindowsMessageDeliveryService.AcknowledgeMessage", `{"MessageId": "` + message(other) + `"}`},
		{"ec2messages", "EC2WindowsMessageDeliveryService.DeleteMessage", `{"MessageId": "` + message(other) + `"}`},
		{"ec2messages", "EC2WindowsMessageDeliveryService.FailMessage", `{"FailureType": "NoHandlerExists", "MessageId": "` + message(other) + `"}`},
		{"ec2messages", "EC2WindowsMessageDeliveryService.SendReply", `{"MessageId": "` + message(other) + `", ` + reply + `}`},
	} {
		if status, text := call(t, s, own, test.service, test.target, test.body); status != 400 || !strings.Contains(text, "AccessDeniedException") || !strings.Contains(text, "are not those of the instance "+other) {
			t.Errorf("%s for another instance: %d %s", test.target, status, text)
		}
		body := strings.ReplaceAll(test.body, other, mine)
		if status, text := call(t, s, root, test.service, test.target, body); status != 400 || !strings.Contains(text, "AccessDeniedException") {
			t.Errorf("%s by one who is no instance: %d %s", test.target, status, text)
		}
	}
	// EC2 has no such instance, so that its report makes no node; and there is no message for it.
	if status, text := call(t, s, own, "ssm", "AmazonSSM.UpdateInstanceInformation", `{"InstanceId": "`+mine+`"}`); status != 400 || !strings.Contains(text, "InvalidInstanceId") {
		t.Errorf("a report of an instance that is not there: %d %s", status, text)
	}
	if status, text := call(t, s, own, "ec2messages", "EC2WindowsMessageDeliveryService.AcknowledgeMessage", `{"MessageId": "`+message(mine)+`"}`); status != 400 || !strings.Contains(text, "There is no message") {
		t.Errorf("a message that is not there: %d %s", status, text)
	}
	if status, text := call(t, s, own, "ec2messages", "EC2WindowsMessageDeliveryService.GetMessages", `{"Destination": "`+mine+`", "MessagesRequestId": "00000000-0000-4000-8000-000000000000"}`); status != 200 || !strings.Contains(text, `"Messages":[]`) {
		t.Errorf("messages for what is no node: %d %s", status, text)
	}
}

// A role that lacks one of the actions makes no node, and the record of the refused call
// says which it was.
func TestRoleLacksAnAction(t *testing.T) {
	all := []string{"ec2messages:GetEndpoint", "ec2messages:GetMessages", "ssm:UpdateInstanceInformation"}
	for i, lacking := range all {
		t.Run(lacking, func(t *testing.T) {
			t.Parallel()
			s := site(t)
			allow(t, s, all[(i+1)%3], all[(i+2)%3])
			id := launch(t, s)
			want := "User: arn:aws:sts::" + awstest.DefaultAccount + ":assumed-role/node/" + id + " is not authorized to perform: " + lacking
			for over := time.Now().Add(30 * time.Second); !recorded(t, s, want); time.Sleep(50 * time.Millisecond) {
				if time.Now().After(over) {
					t.Fatalf("no record says %q", want)
				}
			}
			out, err := s.SSM(s.Config(s.Root(awstest.DefaultAccount))).DescribeInstanceInformation(t.Context(), &ssm.DescribeInstanceInformationInput{})
			if err != nil || len(out.InstanceInformationList) != 0 {
				t.Errorf("nodes: %v %v", out, err)
			}
		})
	}
}

// launch runs an instance with the role, as root.
func launch(t *testing.T, s *awstest.Server) string {
	t.Helper()
	client := s.IAM(s.Config(s.Root(awstest.DefaultAccount)))
	if _, err := client.CreateInstanceProfile(t.Context(), &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String("node")}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.AddRoleToInstanceProfile(t.Context(), &iam.AddRoleToInstanceProfileInput{InstanceProfileName: aws.String("node"), RoleName: aws.String("node")}); err != nil {
		t.Fatal(err)
	}
	root := &service.Call{Account: awstest.DefaultAccount, Caller: identity.RootCaller(awstest.DefaultAccount, s.Root(awstest.DefaultAccount).AccessKeyID), Region: "us-east-1"}
	images, err := service.Invoke[ec2.DescribeImagesOutput](t.Context(), s.Roles.Invoker, root, "ec2", &ec2.DescribeImagesInput{})
	if err != nil {
		t.Fatal(err)
	}
	one := int32(1)
	out, err := service.Invoke[ec2.RunInstancesOutput](t.Context(), s.Roles.Invoker, root, "ec2", &ec2.RunInstancesInput{
		ImageId: images.Images[0].ImageId, MinCount: one, MaxCount: one, IamInstanceProfile: &ec2.IamInstanceProfileSpecification{Name: "node"}})
	if err != nil {
		t.Fatal(err)
	}
	return out.Instances[0].InstanceId
}

func recorded(t *testing.T, s *awstest.Server, text string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.Dir, "audit", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), text) {
			return true
		}
	}
	return false
}
