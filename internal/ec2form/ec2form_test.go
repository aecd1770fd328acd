package ec2form_test

import (
	"testing"

	"github.com/iamd-dev/iamd/internal/aws/ec2/api"
	"github.com/iamd-dev/iamd/internal/ec2form"
)

// An input is the form that the SDKs send, and an answer is what they read of it.
func TestForm(t *testing.T) {
	form := ec2form.Values(&api.RunInstancesInput{ImageId: "ami-1", MinCount: 1, MaxCount: 2, SecurityGroupIds: []string{"sg-1", "sg-2"},
		IamInstanceProfile: &api.IamInstanceProfileSpecification{Name: "app"},
		TagSpecifications:  []api.TagSpecification{{ResourceType: "instance", Tags: []api.Tag{{Key: "a", Value: "b"}}}}})
	const want = "IamInstanceProfile.Name=app&ImageId=ami-1&MaxCount=2&MinCount=1&SecurityGroupId.1=sg-1&SecurityGroupId.2=sg-2&" +
		"TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=a&TagSpecification.1.Tag.1.Value=b"
	if got := form.Encode(); got != want {
		t.Errorf("the form is\n%s\nwant\n%s", got, want)
	}

	var out api.DescribeInstancesOutput
	if err := ec2form.Read([]byte(`<DescribeInstancesResponse xmlns="x"><requestId>r</requestId><reservationSet><item><instancesSet><item>
		<instanceId>i-1</instanceId><launchTime>2026-01-02T03:04:05.000Z</launchTime><ebsOptimized>false</ebsOptimized><unheardOf>x</unheardOf>
		<instanceState><code>16</code><name>running</name></instanceState></item></instancesSet></item></reservationSet></DescribeInstancesResponse>`), &out); err != nil {
		t.Fatal(err)
	}
	i := out.Reservations[0].Instances[0]
	if i.InstanceId != "i-1" || i.State.Name != "running" || i.State.Code != 16 || i.LaunchTime.Second() != 5 {
		t.Errorf("the answer is read as %+v", i)
	}

	refused, err := ec2form.ReadError([]byte(`<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>No.</Message></Error></Errors><RequestID>r</RequestID></Response>`))
	if err != nil || *refused != (ec2form.Error{Code: "UnauthorizedOperation", Message: "No."}) {
		t.Errorf("the error is read as %v, %v", refused, err)
	}
	for _, bad := range []string{"", "<a>", "<a><reservationSet><item><instancesSet><item><launchTime>now</launchTime></item></instancesSet></item></reservationSet></a>"} {
		if err := ec2form.Read([]byte(bad), &api.DescribeInstancesOutput{}); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}
