package ssm_test

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/smithy-go/middleware"

	"github.com/iamd-dev/iamd/internal/audit"
	"github.com/iamd-dev/iamd/internal/awstest"
)

// traced waits until the calls that came of a call are those that are wanted, and no others.
func traced(t *testing.T, s *awstest.Server, m middleware.Metadata, want ...string) *audit.Node {
	t.Helper()
	request, _ := awsmiddleware.GetRequestIDMetadata(m)
	var got []string
	for over := time.Now().Add(20 * time.Second); time.Now().Before(over); time.Sleep(50 * time.Millisecond) {
		_, asked, err := audit.Trace(filepath.Join(s.Dir, "audit"), request)
		if errors.Is(err, audit.ErrNotRecorded) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		got = nil
		for _, n := range asked.Inner {
			got = append(got, n.Event)
		}
		slices.Sort(got)
		if slices.Equal(got, want) {
			return asked
		}
	}
	t.Fatalf("of %s came %q, want %q", request, got, want)
	return nil
}

// What an agent calls to fetch and answer a command came of the call that sent it, and no
// other call of the agent's did.
func TestTraceOfACommand(t *testing.T) {
	s := site(t)
	id := launch(t, s)
	client := s.SSM(s.Config(s.Root(awstest.DefaultAccount)))
	send := func(command string) *ssm.SendCommandOutput {
		t.Helper()
		for over := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			out, err := client.SendCommand(t.Context(), &ssm.SendCommandInput{DocumentName: aws.String("AWS-RunShellScript"), InstanceIds: []string{id}, Parameters: map[string][]string{"commands": {command}}})
			if code(err) == "InvalidInstanceId" && time.Now().Before(over) { // it has not reported yet
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
	}
	want := []string{"ec2messages:AcknowledgeMessage", "ec2messages:DeleteMessage", "ec2messages:GetMessages", "ec2messages:SendReply"}
	first := traced(t, s, send("true").ResultMetadata, want...)
	second := traced(t, s, send("false").ResultMetadata, want...)
	for i, n := range first.Inner {
		if n.Caller != "arn:aws:sts::"+awstest.DefaultAccount+":assumed-role/node/"+id || n.RequestID == second.Inner[i].RequestID {
			t.Errorf("%s by %s, request %s", n.Event, n.Caller, n.RequestID)
		}
	}
	// From the answer upwards it is the command, and not the session of the instance.
	top, _, err := audit.Trace(filepath.Join(s.Dir, "audit"), second.Inner[3].RequestID)
	if err != nil || top.Event != "ssm:SendCommand" || top.RequestID != second.RequestID {
		t.Errorf("a reply came of %+v, %v", top, err)
	}

	// What is cancelled is told the agent by the call that cancels.
	long := send("sleep 60")
	until(t, "the command runs", func() bool {
		out, err := client.GetCommandInvocation(t.Context(), &ssm.GetCommandInvocationInput{CommandId: long.Command.CommandId, InstanceId: &id})
		return err == nil && out.Status == "InProgress"
	})
	cancel, err := client.CancelCommand(t.Context(), &ssm.CancelCommandInput{CommandId: long.Command.CommandId})
	if err != nil {
		t.Fatal(err)
	}
	traced(t, s, cancel.ResultMetadata, want[:3]...)
	traced(t, s, long.ResultMetadata, want...)
}

// A reply to what was never sent came of nothing.
func TestTraceOfAForgedReply(t *testing.T) {
	s := site(t)
	status, text := call(t, s, delivered(t, s, mine), "ec2messages", "EC2WindowsMessageDeliveryService.SendReply",
		`{"MessageId": "aws.ssm.00000000-0000-4000-8000-000000000000.`+mine+`", "ReplyId": "00000000-0000-4000-8000-000000000000", "Payload": "{\"documentStatus\": \"Success\"}"}`)
	if status != 400 {
		t.Fatalf("%d %s", status, text)
	}
	for e, err := range audit.Read(filepath.Join(s.Dir, "audit"), audit.Filter{EventSource: "ec2messages.amazonaws.com"}) {
		if err != nil {
			t.Fatal(err)
		}
		top, _, err := audit.Trace(filepath.Join(s.Dir, "audit"), e.RequestID)
		if err != nil || top.Event != "sts:AssumeRole" {
			t.Errorf("it came of %+v, %v", top, err)
		}
	}
}

// The channels of a session came of the call that began it.
func TestTraceOfASession(t *testing.T) {
	s, client, id := connected(t)
	out, err := client.StartSession(t.Context(), &ssm.StartSessionInput{Target: &id})
	if err != nil {
		t.Fatal(err)
	}
	p := join(t, *out.StreamUrl, *out.TokenValue)
	p.until(func() bool { return p.output.Len() > 0 })
	traced(t, s, out.ResultMetadata, "ssmmessages:CreateDataChannel", "ssmmessages:OpenDataChannel")
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for over := time.Now().Add(20 * time.Second); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(over) {
			t.Fatalf("never: %s", what)
		}
	}
}
