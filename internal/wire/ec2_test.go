package wire_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ec2 "github.com/iamd-dev/iamd/internal/aws/ec2/api"
	"github.com/iamd-dev/iamd/internal/wire"
)

func TestEC2Decode(t *testing.T) {
	for _, test := range []struct {
		name, form string
		want       any
	}{
		{"a list is flat and named in the singular", "Action=DescribeInstances&InstanceId.2=i-2&InstanceId.1=i-1&Filter.1.Name=tag%3Aa&Filter.1.Value.1=x&Filter.1.Value.2=y",
			&ec2.DescribeInstancesInput{InstanceIds: []string{"i-1", "i-2"}, Filters: []ec2.Filter{{Name: "tag:a", Values: []string{"x", "y"}}}}},
		{"members begin with a capital", "Action=RunInstances&ImageId=ami-1&MinCount=1&MaxCount=2&DryRun=true&IamInstanceProfile.Name=p&ClientToken=t&UserData=IyE%3D",
			&ec2.RunInstancesInput{ImageId: "ami-1", MinCount: 1, MaxCount: 2, DryRun: ptr(true), IamInstanceProfile: &ec2.IamInstanceProfileSpecification{Name: "p"}, ClientToken: "t", UserData: "IyE="}},
		{"structures of lists of structures", "Action=RunInstances&MinCount=1&MaxCount=1&TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=k&TagSpecification.1.Tag.1.Value=v&TagSpecification.1.Tag.2.Key=l",
			&ec2.RunInstancesInput{MinCount: 1, MaxCount: 1, TagSpecifications: []ec2.TagSpecification{{ResourceType: "instance", Tags: []ec2.Tag{{Key: "k", Value: "v"}, {Key: "l"}}}}}},
		{"a query name is written as it is", "Action=ModifyInstanceMetadataOptions&InstanceId=i-1&HttpTokens=required&HttpPutResponseHopLimit=2",
			&ec2.ModifyInstanceMetadataOptionsInput{InstanceId: "i-1", HttpTokens: "required", HttpPutResponseHopLimit: ptr(int32(2))}},
		{"a structure with a value", "Action=ModifyInstanceAttribute&InstanceId=i-1&DisableApiTermination.Value=true",
			&ec2.ModifyInstanceAttributeInput{InstanceId: "i-1", DisableApiTermination: &ec2.AttributeBooleanValue{Value: true}}},
		{"what signs a query string is no parameter", "Action=DescribeRegions&X-Amz-Algorithm=a&X-Amz-SignedHeaders=host", &ec2.DescribeRegionsInput{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := decode(t, ec2.Model, test.form+"&Version=2016-11-15")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// What is not understood is refused: a parameter with another name is not passed over.
func TestEC2Refuses(t *testing.T) {
	for form, want := range map[string]string{
		"Action=RunInstances&MaxCount=1":                                              "MissingParameter: The request must contain the parameter MinCount",
		"Action=StopInstances":                                                        "MissingParameter: The request must contain the parameter InstanceId",
		"Action=AssociateIamInstanceProfile&InstanceId=i-1":                           "MissingParameter: The request must contain the parameter IamInstanceProfile",
		"Action=RunInstances&MinCount=a&MaxCount=1":                                   "InvalidParameterValue: Value (a) for parameter minCount is invalid.",
		"Action=RunInstances&MinCount=1&MaxCount=1&DryRun=yes":                        "InvalidParameterValue: Value (yes) for parameter dryRun is invalid.",
		"Action=RunInstances&MinCount=1&MaxCount=1&MetadataOptions.HttpTokens=x":      "InvalidParameterValue: Value (x) for parameter metadataOptions.httpTokens is invalid.",
		"Action=RunInstances&MinCount=1&MaxCount=1&MetadataOption.HttpTokens=x":       "UnknownParameter: The parameter MetadataOption.HttpTokens is not recognized",
		"Action=RunInstances&MinCount=1&MaxCount=1&metadataOptions.HttpTokens=x":      "UnknownParameter: The parameter metadataOptions.HttpTokens is not recognized",
		"Action=RunInstances&MinCount=1&MaxCount=1&MetadataOptions.X-Amz-Date=x":      "UnknownParameter: The parameter MetadataOptions.X-Amz-Date is not recognized",
		"Action=DescribeIamInstanceProfileAssociations&MaxResults=2000":               "InvalidParameterValue: Value (2000) for parameter maxResults is invalid. Expecting a value less than or equal to 1000.",
		"Action=DescribeInstances&InstanceId.member.1=i-1":                            "MalformedInput",
		"Action=DescribeInstances&InstanceId=i-1":                                     "MalformedInput",
		"Action=DescribeInstances&InstanceId.0=i-1":                                   "MalformedInput",
		"Action=DescribeInstances&InstanceId.1=i-1&InstanceId.1=i-2":                  "MalformedInput",
		"Action=DescribeInstances&Filter.1=x":                                         "MalformedInput",
		"Action=RunInstances&MinCount=1&MaxCount=1&IamInstanceProfile=p":              "MalformedInput",
		"Action=DescribeVpcs":                                                         "InvalidAction: The action DescribeVpcs is not valid for this web service.",
		"":                                                                            "MissingAction: The request is missing an action or a required parameter.",
		"Action=RunInstances&MinCount=1&MaxCount=1&TagSpecification.1.ResourceType=x": "InvalidParameterValue: Value (x) for parameter tagSpecification.1.resourceType is invalid.",
	} {
		_, err := decode(t, ec2.Model, form+"&Version=2016-11-15")
		if err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", form, err, want)
		}
	}
	if _, err := decode(t, ec2.Model, "Action=DescribeInstances&Version=2015-10-01"); err == nil || !strings.HasPrefix(err.Error(), "InvalidAction") {
		t.Errorf("another version: got %v", err)
	}
}

func TestEC2Encode(t *testing.T) {
	const head = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"
	for _, test := range []struct {
		op   string
		out  any
		want string
	}{
		{"DescribeInstances", &ec2.DescribeInstancesOutput{Reservations: []ec2.Reservation{{ReservationId: "r-1", Groups: []ec2.GroupIdentifier{},
			Instances: []ec2.Instance{{InstanceId: "i-1", State: &ec2.InstanceState{Name: "pending"}, LaunchTime: when, Tags: []ec2.Tag{{Key: "a<"}}}}}}},
			`<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>rid</requestId><reservationSet><item><reservationId>r-1</reservationId><groupSet></groupSet><instancesSet><item><ebsOptimized>false</ebsOptimized><tagSet><item><key>a&lt;</key><value></value></item></tagSet><instanceId>i-1</instanceId><instanceState><code>0</code><name>pending</name></instanceState><amiLaunchIndex>0</amiLaunchIndex><launchTime>2026-02-24T15:23:21.987Z</launchTime></item></instancesSet></item></reservationSet></DescribeInstancesResponse>`},
		{"CreateTags", &ec2.CreateTagsOutput{},
			`<CreateTagsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>rid</requestId><return>true</return></CreateTagsResponse>`},
		{"DescribeTags", (*ec2.DescribeTagsOutput)(nil),
			`<DescribeTagsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>rid</requestId></DescribeTagsResponse>`},
	} {
		w := httptest.NewRecorder()
		if err := wire.EncodeResponse(w, ec2.Model, ec2.Model.Operation(test.op), test.out, "rid"); err != nil {
			t.Fatal(err)
		}
		if got := w.Body.String(); got != head+test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.op, got, test.want)
		}
		if w.Code != 200 || w.Header().Get("Content-Type") != "text/xml;charset=UTF-8" || w.Header().Get("X-Amzn-Requestid") != "rid" {
			t.Errorf("%s: %d %v", test.op, w.Code, w.Header())
		}
	}
	w := httptest.NewRecorder()
	wire.EncodeError(w, ec2.Model, ec2.InvalidInstanceIDNotFound("The instance ID '%s' does not exist", "<i>"), "rid", "/")
	want := head + `<Response><Errors><Error><Code>InvalidInstanceID.NotFound</Code><Message>The instance ID '&lt;i&gt;' does not exist</Message></Error></Errors><RequestID>rid</RequestID></Response>`
	if w.Code != 400 || w.Body.String() != want {
		t.Errorf("got  %d %s\nwant %s", w.Code, w.Body, want)
	}
}

// Every input survives the way through a form, whatever is in it, and every output becomes
// a document that can be read, and a record.
func TestEC2RoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range ec2.Model.Operations {
		op := &ec2.Model.Operations[i]
		for range 5 {
			want := reflect.New(op.In)
			fill(rnd, want.Elem(), 0)
			form := url.Values{}
			toEC2Form(form, "", want.Elem())
			got := reflect.New(op.In)
			if err := wire.DecodeUncheckedEC2([]byte(form.Encode()), got.Interface()); err != nil {
				t.Fatalf("%s: %v", op.Name, err)
			}
			if diff := cmp.Diff(want.Interface(), got.Interface()); diff != "" {
				t.Fatalf("%s: -want +got\n%s\n%v", op.Name, diff, form)
			}
		}
		if op.Out == nil {
			continue
		}
		out := reflect.New(op.Out)
		fill(rnd, out.Elem(), 0)
		w := httptest.NewRecorder()
		if err := wire.EncodeResponse(w, ec2.Model, op, out.Interface(), "rid"); err != nil {
			t.Fatal(err)
		}
		if err := wire.WellFormed(w.Body.Bytes()); err != nil {
			t.Errorf("%s: %v in %s", op.Name, err, w.Body)
		}
		if b := wire.AppendJSON(nil, out.Interface(), wire.JSONOptions{}); !json.Valid(b) {
			t.Errorf("%s: %s", op.Name, b)
		}
	}
}

// toEC2Form writes a struct as a client would.
func toEC2Form(form url.Values, name string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		toEC2Form(form, name, v.Elem())
	case reflect.Struct:
		if t, ok := v.Interface().(time.Time); ok {
			form.Set(name, t.Format(time.RFC3339))
			return
		}
		for i := range v.NumField() {
			f := v.Type().Field(i)
			member := f.Name
			for o := range strings.SplitSeq(f.Tag.Get("wire"), ",") {
				if s, ok := strings.CutPrefix(o, "form="); ok {
					member = s
				}
			}
			if name != "" {
				member = name + "." + member
			}
			toEC2Form(form, member, v.Field(i))
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			form.Set(name, "AQL/")
			return
		}
		for i := range v.Len() {
			toEC2Form(form, fmt.Sprintf("%s.%d", name, i+1), v.Index(i))
		}
	default:
		form.Set(name, fmt.Sprint(v.Interface()))
	}
}

// Whatever a form says, the outcome is an input or an error for the caller, and either can
// be written out.
func FuzzEC2Form(f *testing.F) {
	f.Add("Action=RunInstances&Version=2016-11-15&MinCount=1&MaxCount=1&TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=k&IamInstanceProfile.Arn=x")
	f.Add("Action=DescribeInstances&Version=2016-11-15&Filter.1.Name=a&Filter.1.Value.1000000000=x&InstanceId=&InstanceId.1.x=")
	f.Add("Action=ModifyInstanceAttribute&Version=2016-11-15&InstanceId=i-1&UserData.Value=IyE=&BlockDeviceMapping.1.Ebs.VolumeId=")
	f.Fuzz(func(t *testing.T, form string) {
		r := httptest.NewRequest("POST", "/", strings.NewReader(form))
		op, err := ec2.Model.Named(wire.FormAction(r, []byte(form)))
		if err == nil {
			in := reflect.New(op.In)
			if err = wire.Decode(ec2.Model, op, r, []byte(form), in.Interface()); err == nil {
				if b := wire.AppendJSON(nil, in.Interface(), wire.JSONOptions{}); !json.Valid(b) {
					t.Errorf("%s", b)
				}
				return
			}
		}
		e := (*wire.Error)(nil)
		if !errors.As(err, &e) {
			t.Fatalf("%T %v", err, err)
		}
		w := httptest.NewRecorder()
		wire.EncodeError(w, ec2.Model, e, "rid", "/")
		if err := wire.WellFormed(w.Body.Bytes()); err != nil || w.Code != 400 {
			t.Errorf("%d %v in %s", w.Code, err, w.Body)
		}
	})
}
