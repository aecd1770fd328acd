package ec2

import (
	"context"
	"encoding/base64"
	"slices"
	"strconv"

	"github.com/iamd-dev/iamd/internal/aws/ec2/api"
	"github.com/iamd-dev/iamd/internal/service"
)

// instanceFilters are those of instances, by AWS's names.
var instanceFilters = func() map[string]func(*Instance) []string {
	all := map[string]func(*Instance) []string{
		"tag": func(i *Instance) []string { return tagPairs(i.Tags) },
		"iam-instance-profile.arn": func(i *Instance) []string {
			if i.Profile == nil {
				return nil
			}
			return []string{i.Profile.ARN}
		},
		"iam-instance-profile.id": func(i *Instance) []string {
			if i.Profile == nil {
				return nil
			}
			return []string{i.Profile.Profile}
		},
	}
	for name, f := range map[string]func(*Instance) string{
		"architecture":                   func(*Instance) string { return architecture() },
		"availability-zone":              func(i *Instance) string { return i.Zone },
		"availability-zone-id":           func(i *Instance) string { return zoneID(i.Zone) },
		"client-token":                   func(i *Instance) string { return i.ClientToken },
		"image-id":                       func(i *Instance) string { return i.Image },
		"instance-id":                    func(i *Instance) string { return i.ID },
		"instance-state-code":            func(i *Instance) string { return strconv.Itoa(int(codes[i.State])) },
		"instance-state-name":            func(i *Instance) string { return i.State },
		"instance-type":                  func(i *Instance) string { return i.Type },
		"launch-index":                   func(i *Instance) string { return strconv.Itoa(i.Index) },
		"launch-time":                    func(i *Instance) string { return i.Launched.UTC().Format("2006-01-02T15:04:05.000Z") },
		"metadata-options.http-endpoint": func(i *Instance) string { return i.Options.Endpoint },
		"metadata-options.http-put-response-hop-limit": func(i *Instance) string { return strconv.Itoa(int(i.Options.HopLimit)) },
		"metadata-options.http-tokens":                 func(i *Instance) string { return i.Options.Tokens },
		"metadata-options.instance-metadata-tags":      func(i *Instance) string { return i.Options.Tags },
		"owner-id":           func(i *Instance) string { return i.Account },
		"private-dns-name":   func(i *Instance) string { return i.hostname() },
		"private-ip-address": func(i *Instance) string { return i.IP },
		"reservation-id":     func(i *Instance) string { return i.Reservation },
		"root-device-type":   func(*Instance) string { return "ebs" },
		"tenancy":            func(*Instance) string { return "default" },
	} {
		all[name] = func(i *Instance) []string { return []string{f(i)} }
	}
	return all
}()

// wanted are the instances that a list asks for, by id or filter.
func wanted(c *service.Call, ids []string, filters []api.Filter, more map[string]func(*Instance) []string) ([]*Instance, error) {
	match, err := filtered(filters, more)
	if err != nil {
		return nil, err
	}
	var all []*Instance
	if len(ids) > 0 {
		if err := checkIDs(ids); err != nil {
			return nil, err
		}
		if all, err = find(c.State, c.Account, c.Region, ids, c.Time); err != nil {
			return nil, err
		}
	} else {
		all = slices.Collect(shown(c.State, c.Account, c.Region, c.Time))
	}
	return slices.DeleteFunc(all, func(i *Instance) bool { return !match(i) }), nil
}

func (s *Service) describeInstances(_ context.Context, c *service.Call, in *api.DescribeInstancesInput) (*api.DescribeInstancesOutput, error) {
	if err := checkPage(in.MaxResults, in.InstanceIds); err != nil {
		return nil, err
	}
	all, err := wanted(c, in.InstanceIds, in.Filters, instanceFilters)
	if err != nil {
		return nil, err
	}
	page, next, err := paged(all, func(i *Instance) string { return i.Reservation + "/" + strconv.Itoa(1000+i.Index) }, in.NextToken, in.MaxResults)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeInstancesOutput{Reservations: []api.Reservation{}, NextToken: next}
	for n, i := range page {
		if n == 0 || i.Reservation != page[n-1].Reservation {
			out.Reservations = append(out.Reservations, api.Reservation{ReservationId: i.Reservation, OwnerId: i.Account, Groups: []api.GroupIdentifier{}})
		}
		r := &out.Reservations[len(out.Reservations)-1]
		r.Instances = append(r.Instances, i.show())
	}
	return out, nil
}

func (s *Service) describeInstanceStatus(_ context.Context, c *service.Call, in *api.DescribeInstanceStatusInput) (*api.DescribeInstanceStatusOutput, error) {
	if err := checkPage(in.MaxResults, in.InstanceIds); err != nil {
		return nil, err
	}
	status := func(i *Instance) string {
		if i.State == running {
			return "ok"
		}
		return "not-applicable"
	}
	one := func(f func(*Instance) string) func(*Instance) []string {
		return func(i *Instance) []string { return []string{f(i)} }
	}
	all, err := wanted(c, in.InstanceIds, in.Filters, map[string]func(*Instance) []string{
		"availability-zone":      one(func(i *Instance) string { return i.Zone }),
		"instance-state-code":    one(func(i *Instance) string { return strconv.Itoa(int(codes[i.State])) }),
		"instance-state-name":    one(func(i *Instance) string { return i.State }),
		"instance-status.status": one(status),
		"system-status.status":   one(status),
	})
	if err != nil {
		return nil, err
	}
	if in.IncludeAllInstances == nil || !*in.IncludeAllInstances {
		all = slices.DeleteFunc(all, func(i *Instance) bool { return i.State != running })
	}
	page, next, err := paged(all, (*Instance).at, in.NextToken, in.MaxResults)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeInstanceStatusOutput{InstanceStatuses: []api.InstanceStatus{}, NextToken: next}
	for _, i := range page {
		summary := &api.InstanceStatusSummary{Status: status(i)}
		if i.State == running {
			summary.Details = []api.InstanceStatusDetails{{Name: "reachability", Status: "passed"}}
		}
		out.InstanceStatuses = append(out.InstanceStatuses, api.InstanceStatus{InstanceId: i.ID, AvailabilityZone: i.Zone, AvailabilityZoneId: zoneID(i.Zone),
			InstanceState: stateOf(i.State), InstanceStatus: summary, SystemStatus: summary})
	}
	return out, nil
}

func (s *Service) getConsoleOutput(_ context.Context, c *service.Call, in *api.GetConsoleOutputInput) (*api.GetConsoleOutputOutput, error) {
	all, err := find(c.State, c.Account, c.Region, []string{in.InstanceId}, c.Time)
	if err != nil {
		return nil, err
	}
	text, at := s.Machines.machine(all[0].at()).console.read()
	return &api.GetConsoleOutputOutput{InstanceId: in.InstanceId, Timestamp: at, Output: base64.StdEncoding.EncodeToString([]byte(text))}, nil
}

func (s *Service) describeInstanceAttribute(_ context.Context, c *service.Call, in *api.DescribeInstanceAttributeInput) (*api.DescribeInstanceAttributeOutput, error) {
	all, err := find(c.State, c.Account, c.Region, []string{in.InstanceId}, c.Time)
	if err != nil {
		return nil, err
	}
	i, out := all[0], &api.DescribeInstanceAttributeOutput{InstanceId: in.InstanceId}
	truth := func(b bool) *api.AttributeBooleanValue { return &api.AttributeBooleanValue{Value: b} }
	switch in.Attribute {
	case "instanceType":
		out.InstanceType = &api.AttributeValue{Value: i.Type}
	case "userData":
		out.UserData = &api.AttributeValue{Value: i.UserData}
	case "disableApiTermination":
		out.DisableApiTermination = truth(i.DisableTermination)
	case "disableApiStop":
		out.DisableApiStop = truth(i.DisableStop)
	case "instanceInitiatedShutdownBehavior":
		out.InstanceInitiatedShutdownBehavior = &api.AttributeValue{Value: i.Shutdown}
	case "rootDeviceName":
		out.RootDeviceName = &api.AttributeValue{Value: rootDevice}
	case "blockDeviceMapping":
		out.BlockDeviceMappings = []api.InstanceBlockDeviceMapping{}
	case "productCodes":
		out.ProductCodes = []api.ProductCode{}
	case "sourceDestCheck":
		out.SourceDestCheck = truth(!i.SourceDestUnchecked)
	case "groupSet":
		out.Groups = []api.GroupIdentifier{}
	case "ebsOptimized":
		out.EbsOptimized = truth(false)
	case "enaSupport":
		out.EnaSupport = truth(true)
	case "enclaveOptions":
		out.EnclaveOptions = &api.EnclaveOptions{}
	case "kernel", "ramdisk", "sriovNetSupport":
	}
	return out, nil
}

// imageID is the one image there is: the machine that iamd runs on.
const imageID = "ami-01a3d000000000001"

func (s *Service) describeImages(_ context.Context, c *service.Call, in *api.DescribeImagesInput) (*api.DescribeImagesOutput, error) {
	image := api.Image{
		ImageId: imageID, Name: "iamd-host", Description: "The machine that iamd runs on: an instance is a workload on it.", ImageLocation: "amazon/iamd-host",
		State: "available", OwnerId: amazon, ImageOwnerAlias: "amazon", Public: true, ImageType: "machine", Architecture: architecture(),
		PlatformDetails: "Linux/UNIX", UsageOperation: "RunInstances", Hypervisor: "xen", VirtualizationType: "hvm", RootDeviceName: rootDevice, RootDeviceType: "ebs",
		EnaSupport: true, ImdsSupport: "v2.0", CreationDate: "2026-01-01T00:00:00.000Z", BlockDeviceMappings: []api.BlockDeviceMapping{},
	}
	for _, id := range in.ImageIds {
		switch {
		case !validID(id, "ami-"):
			return nil, api.InvalidAMIIDMalformed("Invalid id: %q (expecting \"ami-...\")", id)
		case id != imageID:
			return nil, api.InvalidAMIIDNotFound("The image id '[%s]' does not exist", id)
		}
	}
	one := func(v string) func(api.Image) []string { return func(api.Image) []string { return []string{v} } }
	match, err := filtered(in.Filters, map[string]func(api.Image) []string{
		"architecture": one(image.Architecture), "description": one(image.Description), "hypervisor": one(image.Hypervisor), "image-id": one(imageID),
		"image-type": one(image.ImageType), "is-public": one("true"), "name": one(image.Name), "owner-alias": one(image.ImageOwnerAlias), "owner-id": one(amazon),
		"root-device-name": one(rootDevice), "root-device-type": one(image.RootDeviceType), "state": one(image.State), "virtualization-type": one(image.VirtualizationType),
		"platform-details": one(image.PlatformDetails), "creation-date": one(image.CreationDate), "imds-support": one(image.ImdsSupport), "ena-support": one("true"),
		"tag": func(api.Image) []string { return nil },
	})
	if err != nil {
		return nil, err
	}
	out := &api.DescribeImagesOutput{Images: []api.Image{}}
	owned := len(in.Owners) == 0 || slices.Contains(in.Owners, "amazon") || slices.Contains(in.Owners, amazon)
	executable := len(in.ExecutableUsers) == 0 || slices.Contains(in.ExecutableUsers, "all")
	if owned && executable && in.NextToken == "" && match(image) {
		out.Images = append(out.Images, image)
	}
	return out, nil
}

// amazon is the account whose images AWS's own are.
const amazon = "137112412989"

// regions are those that are on in every account.
var regions = []string{"ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ca-central-1", "eu-central-1", "eu-north-1",
	"eu-west-1", "eu-west-2", "eu-west-3", "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2"}

func (s *Service) describeRegions(_ context.Context, c *service.Call, in *api.DescribeRegionsInput) (*api.DescribeRegionsOutput, error) {
	one := func(f func(string) string) func(string) []string {
		return func(r string) []string { return []string{f(r)} }
	}
	endpoint := func(r string) string { return "ec2." + r + ".amazonaws.com" }
	match, err := filtered(in.Filters, map[string]func(string) []string{
		"region-name": one(func(r string) string { return r }), "endpoint": one(endpoint), "opt-in-status": one(func(string) string { return "opt-in-not-required" }),
	})
	if err != nil {
		return nil, err
	}
	for _, name := range in.RegionNames {
		if !slices.Contains(regions, name) {
			return nil, api.InvalidParameterValue("Invalid region name: '%s'", name)
		}
	}
	out := &api.DescribeRegionsOutput{Regions: []api.Region{}}
	for _, r := range regions {
		if match(r) && (len(in.RegionNames) == 0 || slices.Contains(in.RegionNames, r)) {
			out.Regions = append(out.Regions, api.Region{RegionName: r, Endpoint: endpoint(r), OptInStatus: "opt-in-not-required"})
		}
	}
	return out, nil
}

func zones(region string) []string { return []string{region + "a", region + "b", region + "c"} }

func (s *Service) describeAvailabilityZones(_ context.Context, c *service.Call, in *api.DescribeAvailabilityZonesInput) (*api.DescribeAvailabilityZonesOutput, error) {
	one := func(f func(string) string) func(string) []string {
		return func(z string) []string { return []string{f(z)} }
	}
	match, err := filtered(in.Filters, map[string]func(string) []string{
		"zone-name": one(func(z string) string { return z }), "zone-id": one(zoneID), "region-name": one(func(string) string { return c.Region }),
		"state": one(func(string) string { return "available" }), "zone-type": one(func(string) string { return "availability-zone" }),
		"opt-in-status": one(func(string) string { return "opt-in-not-required" }), "group-name": one(func(string) string { return c.Region }),
	})
	if err != nil {
		return nil, err
	}
	all := zones(c.Region)
	for _, name := range in.ZoneNames {
		if !slices.Contains(all, name) {
			return nil, api.InvalidParameterValue("Invalid availability zone: [%s]", name)
		}
	}
	out := &api.DescribeAvailabilityZonesOutput{AvailabilityZones: []api.AvailabilityZone{}}
	for _, z := range all {
		if match(z) && (len(in.ZoneNames) == 0 || slices.Contains(in.ZoneNames, z)) && (len(in.ZoneIds) == 0 || slices.Contains(in.ZoneIds, zoneID(z))) {
			out.AvailabilityZones = append(out.AvailabilityZones, api.AvailabilityZone{ZoneName: z, ZoneId: zoneID(z), RegionName: c.Region, GroupName: c.Region,
				NetworkBorderGroup: c.Region, State: "available", ZoneType: "availability-zone", OptInStatus: "opt-in-not-required", Messages: []api.AvailabilityZoneMessage{}})
		}
	}
	return out, nil
}
