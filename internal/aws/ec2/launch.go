package ec2

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/internal/aws/ec2/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
)

const (
	mostUserData  = 16384 // bytes, before base64
	mostInstances = 64    // of an account in a region, that are not terminated
	mostTags      = 50
)

// checkLaunch is what EC2 checks of a launch before it decides.
func checkLaunch(_ *service.Call, in *api.RunInstancesInput) error {
	switch {
	case in.LaunchTemplate != nil && in.LaunchTemplate.LaunchTemplateName != "":
		return api.InvalidLaunchTemplateNameNotFound("The specified launch template, with template name %s, does not exist.", in.LaunchTemplate.LaunchTemplateName)
	case in.LaunchTemplate != nil:
		return api.InvalidLaunchTemplateIdNotFound("The specified launch template, with template ID %s, does not exist.", in.LaunchTemplate.LaunchTemplateId)
	case in.ImageId == "":
		return api.MissingParameter("The request must contain the parameter ImageId")
	case !validID(in.ImageId, "ami-"):
		return api.InvalidAMIIDMalformed("Invalid id: %q (expecting \"ami-...\")", in.ImageId)
	}
	for _, spec := range in.TagSpecifications {
		if err := checkTags(spec.Tags); err != nil {
			return err
		}
	}
	if len(launchTags(nil, in)) > mostTags {
		return api.TagLimitExceeded("You have reached the maximum number of tags that a resource may have: %d.", mostTags)
	}
	return nil
}

// launchTags are those of the instances.
func launchTags(_ *service.Call, in *api.RunInstancesInput) []service.KeyValue {
	var tags []service.KeyValue
	for _, spec := range in.TagSpecifications {
		if spec.ResourceType != "instance" {
			continue
		}
		for _, t := range spec.Tags {
			tags = append(tags, service.KeyValue{Key: t.Key, Value: t.Value})
		}
	}
	return tags
}

func typeOf(in *api.RunInstancesInput) string {
	if in.InstanceType == "" {
		return "m1.small"
	}
	return in.InstanceType
}

func zoneOf(c *service.Call, in *api.RunInstancesInput) string {
	if in.Placement != nil && in.Placement.AvailabilityZone != "" {
		return in.Placement.AvailabilityZone
	}
	return c.Region + "a"
}

func launchProfile(c *service.Call, in *api.RunInstancesInput) string {
	if in.IamInstanceProfile == nil {
		return ""
	}
	return profileARN(c, in.IamInstanceProfile)
}

// unsupported names what a launch asks for and no instance here can have. Of what is only
// how fast or where a machine is, nothing is said.
func unsupported(in *api.RunInstancesInput) error {
	not := func(parameter string) error {
		return api.Unsupported("The parameter %s is not supported here: an instance is a workload on the machine of iamd.", parameter)
	}
	switch {
	case in.KeyName != "":
		return api.InvalidKeyPairNotFound("The key pair '%s' does not exist", in.KeyName)
	case len(in.SecurityGroupIds) > 0:
		return api.InvalidGroupNotFound("The security group '%s' does not exist", in.SecurityGroupIds[0])
	case len(in.SecurityGroups) > 0:
		return api.InvalidGroupNotFound("The security group '%s' does not exist in default VPC", in.SecurityGroups[0])
	case in.SubnetId != "":
		return api.InvalidSubnetIDNotFound("The subnet ID '%s' does not exist", in.SubnetId)
	case len(in.NetworkInterfaces) > 0:
		return not("networkInterface")
	case len(in.SecondaryInterfaces) > 0:
		return not("secondaryInterface")
	case len(in.BlockDeviceMappings) > 0:
		return not("blockDeviceMapping")
	case in.PrivateIpAddress != "":
		return not("privateIpAddress")
	case len(in.Ipv6Addresses) > 0 || in.Ipv6AddressCount != nil && *in.Ipv6AddressCount > 0:
		return not("ipv6Address")
	case in.KernelId != "" || in.RamdiskId != "":
		return not("kernelId")
	case len(in.ElasticGpuSpecification) > 0 || len(in.ElasticInferenceAccelerators) > 0:
		return not("elasticGpuSpecification")
	case in.InstanceMarketOptions != nil && in.InstanceMarketOptions.MarketType != "":
		return not("instanceMarketOptions")
	case in.HibernationOptions != nil && in.HibernationOptions.Configured != nil && *in.HibernationOptions.Configured:
		return not("hibernationOptions")
	case in.EnclaveOptions != nil && in.EnclaveOptions.Enabled != nil && *in.EnclaveOptions.Enabled:
		return not("enclaveOptions")
	case len(in.LicenseSpecifications) > 0:
		return not("licenseSpecification")
	case in.CapacityReservationSpecification != nil && in.CapacityReservationSpecification.CapacityReservationTarget != nil:
		return not("capacityReservationSpecification")
	case in.Operator != nil:
		return not("operator")
	case in.Placement != nil && (in.Placement.HostId != "" || in.Placement.GroupName != "" || in.Placement.GroupId != "" || in.Placement.HostResourceGroupArn != "" ||
		in.Placement.Tenancy != "" && in.Placement.Tenancy != "default"):
		return not("placement")
	}
	for _, spec := range in.TagSpecifications {
		if spec.ResourceType != "instance" {
			return api.InvalidParameterValue("'%s' is not a valid taggable resource type for this operation.", spec.ResourceType)
		}
	}
	return nil
}

// userData takes user data apart: what it is, and whether it is a script, which is run.
func userData(text string) (data []byte, script bool, err error) {
	data, err = base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, false, api.InvalidUserDataMalformed("Invalid BASE64 encoding of user data.")
	}
	if len(data) > mostUserData {
		return nil, false, api.InvalidParameterValue("User data is limited to %d bytes", mostUserData)
	}
	for _, kind := range []struct{ begins, name string }{
		{"#cloud-config", "cloud-config"}, {"#cloud-boothook", "a boothook"}, {"#include", "an include file"}, {"#part-handler", "a part handler"},
		{"#upstart-job", "an upstart job"}, {"## template:", "a template"}, {"Content-Type: multipart", "a MIME archive"}, {"MIME-Version:", "a MIME archive"},
		{"<powershell>", "a PowerShell script"}, {"\x1f\x8b", "compressed"},
	} {
		if bytes.HasPrefix(data, []byte(kind.begins)) {
			return nil, false, api.Unsupported("The user data is %s, and iamd runs scripts alone, from their first line: #!/bin/bash.", kind.name)
		}
	}
	return data, bytes.HasPrefix(data, []byte("#!")), nil
}

// options are those of a launch: what the image asks for (version 2, two hops) where the launch says nothing.
func options(in *api.InstanceMetadataOptionsRequest) (Options, error) {
	o := Options{Tokens: "required", Endpoint: "enabled", HopLimit: 2, Tags: "disabled"}
	if in == nil {
		return o, nil
	}
	return o, o.change(in.HttpTokens, in.HttpEndpoint, in.InstanceMetadataTags, in.HttpProtocolIpv6, in.HttpPutResponseHopLimit)
}

func (o *Options) change(tokens, endpoint, tags, ipv6 string, hops *int32) error {
	if hops != nil && (*hops < 1 || *hops > 64) {
		return api.InvalidParameterValue("Value (%d) for parameter HttpPutResponseHopLimit is invalid. The value must be between 1 and 64.", *hops)
	}
	if ipv6 == "enabled" {
		return api.Unsupported("The metadata service has no IPv6 endpoint here.")
	}
	for _, x := range []struct {
		to *string
		is string
	}{{&o.Tokens, tokens}, {&o.Endpoint, endpoint}, {&o.Tags, tags}} {
		if x.is != "" {
			*x.to = x.is
		}
	}
	if hops != nil {
		o.HopLimit = *hops
	}
	return nil
}

func (s *Service) runInstances(ctx context.Context, c *service.Call, in *api.RunInstancesInput) (*api.RunInstancesOutput, error) {
	if err := unsupported(in); err != nil {
		return nil, err
	}
	if in.ImageId != imageID {
		return nil, api.InvalidAMIIDNotFound("The image id '[%s]' does not exist", in.ImageId)
	}
	if in.MinCount < 1 {
		return nil, api.InvalidParameterValue("Value (%d) for parameter minCount is invalid. Expected a value greater than or equal to 1.", in.MinCount)
	}
	if in.MaxCount < in.MinCount {
		return nil, api.InvalidParameterValue("Value (%d) for parameter maxCount is invalid. Expected a value greater than or equal to minCount.", in.MaxCount)
	}
	if family, size, ok := strings.Cut(typeOf(in), "."); !ok || family == "" || size == "" {
		return nil, api.InvalidParameterValue("Invalid value '%s' for InstanceType.", in.InstanceType)
	}
	zone := zoneOf(c, in)
	if !slices.Contains(zones(c.Region), zone) {
		return nil, api.InvalidParameterValue("Invalid availability zone: [%s]", zone)
	}
	if len(in.ClientToken) > 64 {
		return nil, api.InvalidParameterValue("Value (%s) for parameter clientToken is invalid. Expecting a length less than or equal to 64.", in.ClientToken)
	}
	if _, _, err := userData(in.UserData); err != nil {
		return nil, err
	}
	opts, err := options(in.MetadataOptions)
	if err != nil {
		return nil, err
	}
	var tags []api.Tag
	for _, t := range launchTags(c, in) {
		tags = append(tags, api.Tag{Key: t.Key, Value: t.Value})
	}
	if opts.Tags == "enabled" {
		if err := checkMetadataTags(tags); err != nil {
			return nil, err
		}
	}
	profile, err := profileOf(c.State, c.Account, in.IamInstanceProfile)
	if err != nil {
		return nil, err
	}
	if err := s.Machines.able(); err != nil {
		return nil, err
	}

	// What is random is made before the update, which may run twice.
	asked := sum(in)
	reservation := newID("r-")
	var made []*Instance
	for n := range min(int(in.MaxCount), mostInstances) {
		i := &Instance{
			ID: newID("i-"), Account: c.Account, Region: c.Region, Zone: zone, Reservation: reservation, Index: n, Type: typeOf(in), Image: in.ImageId,
			Launched: c.Time.UTC(), State: pending, UserData: in.UserData, Tags: tags, Options: opts, Shutdown: "stop",
			DisableTermination: in.DisableApiTermination != nil && *in.DisableApiTermination, DisableStop: in.DisableApiStop != nil && *in.DisableApiStop,
			ClientToken: in.ClientToken, Asked: asked,
		}
		i.IP = address(i.ID)
		if in.InstanceInitiatedShutdownBehavior != "" {
			i.Shutdown = in.InstanceInitiatedShutdownBehavior
		}
		if profile != nil {
			i.Profile = newAssociation(c, profile)
		}
		made = append(made, i)
	}
	var launched []*Instance
	var again bool
	if err := s.DB.Update(ctx, func(tx *store.Tx) error {
		launched, again = nil, false
		alive := 0
		for key, i := range instanceTable.All(tx, keyOf(c.Account, c.Region, "")) {
			switch {
			case in.ClientToken != "" && i.ClientToken == in.ClientToken:
				if i.Asked != asked {
					return api.IdempotentParameterMismatch("Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
				}
				launched, again = append(launched, i), true
			case i.forgotten(c.Time):
				instanceTable.Delete(tx, key)
			}
			if i.State != terminated {
				alive++
			}
		}
		if again {
			return nil
		}
		room := mostInstances - alive
		if room < int(in.MinCount) {
			return api.InstanceLimitExceeded("Your quota allows for %d more running instance(s). You requested at least %d", max(room, 0), in.MinCount)
		}
		launched = made[:min(len(made), room)]
		for _, i := range launched {
			instanceTable.Put(tx, i.at(), i)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	slices.SortFunc(launched, func(a, b *Instance) int { return a.Index - b.Index })
	out := &api.RunInstancesOutput{OwnerId: c.Account, Groups: []api.GroupIdentifier{}}
	for _, i := range launched {
		out.ReservationId = i.Reservation
		out.Instances = append(out.Instances, i.show())
	}
	if !again {
		s.Machines.start(launched)
	}
	return out, nil
}

// sum is the same for the same input, but for the token.
func sum(in *api.RunInstancesInput) string {
	copied := *in
	copied.ClientToken = ""
	h := sha256.Sum256(wire.AppendJSON(nil, &copied, wire.JSONOptions{Wire: true}))
	return hex.EncodeToString(h[:])
}
