package ec2

import (
	"context"
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/iamd-dev/iamd/internal/aws/ec2/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/policy"
)

// attributesOf are the attributes that a call sets, by EC2's names of them, with their values.
func attributesOf(in any) map[string]string {
	all := map[string]string{}
	put := func(name, value string) {
		if value != "" {
			all[name] = value
		}
	}
	truth := func(name string, v *api.AttributeBooleanValue) {
		if v != nil {
			all[name] = strconv.FormatBool(v.Value)
		}
	}
	switch in := in.(type) {
	case *api.ModifyInstanceAttributeInput:
		put(in.Attribute, in.Value)
		truth("disableApiTermination", in.DisableApiTermination)
		truth("disableApiStop", in.DisableApiStop)
		truth("sourceDestCheck", in.SourceDestCheck)
		truth("ebsOptimized", in.EbsOptimized)
		truth("enaSupport", in.EnaSupport)
		for name, v := range map[string]*api.AttributeValue{"instanceType": in.InstanceType, "kernel": in.Kernel, "ramdisk": in.Ramdisk,
			"instanceInitiatedShutdownBehavior": in.InstanceInitiatedShutdownBehavior, "sriovNetSupport": in.SriovNetSupport} {
			if v != nil {
				all[name] = v.Value
			}
		}
		if in.UserData != nil {
			all["userData"] = base64.StdEncoding.EncodeToString(in.UserData.Value)
		}
		if len(in.Groups) > 0 {
			all["groupSet"] = strings.Join(in.Groups, ",")
		}
		if len(in.BlockDeviceMappings) > 0 {
			all["blockDeviceMapping"] = ""
		}
	case *api.ModifyInstanceMetadataOptionsInput:
		put("httpTokens", in.HttpTokens)
		put("httpEndpoint", in.HttpEndpoint)
		put("instanceMetadataTags", in.InstanceMetadataTags)
		if in.HttpPutResponseHopLimit != nil {
			put("httpPutResponseHopLimit", strconv.Itoa(int(*in.HttpPutResponseHopLimit)))
		}
	}
	return all
}

// attributeKey gives ec2:Attribute, which attributes are set, and ec2:Attribute/NAME, to what.
func attributeKey(in any, name string) (policy.Value, bool) {
	all := attributesOf(in)
	if name == "" {
		for attribute := range all {
			if len(all) == 1 {
				return text(strings.ToUpper(attribute[:1]) + attribute[1:])
			}
		}
		return policy.Value{}, false
	}
	for attribute, value := range all {
		if strings.EqualFold(attribute, name) {
			return policy.String(value), true
		}
	}
	return policy.Value{}, false
}

func (s *Service) modifyInstanceAttribute(ctx context.Context, c *service.Call, in *api.ModifyInstanceAttributeInput) (*api.ModifyInstanceAttributeOutput, error) {
	set := attributesOf(in)
	switch len(set) {
	case 1:
	case 0:
		return nil, api.InvalidParameterCombination("No attributes specified.")
	default:
		return nil, api.InvalidParameterCombination("Fields for multiple attribute types specified: %s", strings.Join(slices.Sorted(maps.Keys(set)), ", "))
	}
	return &api.ModifyInstanceAttributeOutput{}, s.change(ctx, c, []string{in.InstanceId}, func(i *Instance) error {
		if i.State == terminated || i.State == shuttingDown {
			return api.IncorrectInstanceState("The instance '%s' is not in a valid state for this operation.", i.ID)
		}
		for name, value := range set {
			truth, bad := strconv.ParseBool(value)
			is := func(to *bool) error {
				if bad != nil {
					return api.InvalidParameterValue("Value (%s) for parameter value is invalid.", value)
				}
				*to = truth
				return nil
			}
			switch name {
			case "disableApiTermination":
				return is(&i.DisableTermination)
			case "disableApiStop":
				return is(&i.DisableStop)
			case "sourceDestCheck":
				if err := is(&i.SourceDestUnchecked); err != nil {
					return err
				}
				i.SourceDestUnchecked = !i.SourceDestUnchecked
				return nil
			case "instanceInitiatedShutdownBehavior":
				if value != "stop" && value != "terminate" {
					return api.InvalidParameterValue("Value (%s) for parameter instanceInitiatedShutdownBehavior is invalid.", value)
				}
				i.Shutdown = value
				return nil
			case "instanceType", "userData":
				if i.State != stopped {
					return api.IncorrectInstanceState("The instance '%s' is not in the 'stopped' state.", i.ID)
				}
				if name == "userData" {
					if _, _, err := userData(value); err != nil {
						return err
					}
					i.UserData = value
					return nil
				}
				if !strings.Contains(value, ".") {
					return api.InvalidParameterValue("Invalid value '%s' for InstanceType.", value)
				}
				i.Type = value
				return nil
			}
			return api.Unsupported("The attribute %s of an instance cannot be changed here.", name)
		}
		return nil
	})
}

func (s *Service) modifyInstanceMetadataOptions(ctx context.Context, c *service.Call, in *api.ModifyInstanceMetadataOptionsInput) (*api.ModifyInstanceMetadataOptionsOutput, error) {
	var options Options
	if err := s.change(ctx, c, []string{in.InstanceId}, func(i *Instance) error {
		if i.State != running && i.State != stopped && i.State != pending {
			return api.IncorrectInstanceState("The instance '%s' is not in a valid state for this operation.", i.ID)
		}
		if err := i.Options.change(in.HttpTokens, in.HttpEndpoint, in.InstanceMetadataTags, in.HttpProtocolIpv6, in.HttpPutResponseHopLimit); err != nil {
			return err
		}
		if i.Options.Tags == "enabled" {
			if err := checkMetadataTags(i.Tags); err != nil {
				return err
			}
		}
		options = i.Options
		return nil
	}); err != nil {
		return nil, err
	}
	shown := options.show()
	shown.State = "pending"
	return &api.ModifyInstanceMetadataOptionsOutput{InstanceId: in.InstanceId, InstanceMetadataOptions: shown}, nil
}
