// Package ec2 is Amazon EC2 as far as instances and the roles that they have: an instance
// is a workload on this machine.
//
//	machines := &ec2.Machines{DB: db, Roles: roles, Host: workloads, Dir: dir}
//	table := (&ec2.Service{DB: db, Machines: machines}).AWS()
//
// # What an instance is
//
// Its user data, a script, runs as a job of package workload, with namespaces and a network
// of its own, in which the metadata service of package imds answers at 169.254.169.254. It
// finds the machine's own programs, as nobody; there is one image, this machine. The
// script's end is not the instance's: it runs until it is stopped. Its disk, on which
// user data has left what it made, is its home directory; it outlives stop and start, and
// goes when the instance is terminated. What an instance writes to its output is its
// console's.
//
// The state of an instance is in the store (Instance), and what runs of it in Machines.
// When iamd starts, nothing runs: what the store says to run is stopped (Recover).
//
// # Its role
//
// A profile is attached at launch or later, and takes effect at once, as does its
// replacement or removal: the metadata service looks each time. Who attaches one needs
// iam:PassRole on the role in it. The role is assumed by ec2.amazonaws.com when the
// instance asks for its credentials, so that a role that does not trust EC2 is found there.
package ec2

import (
	"context"
	_ "embed"
	"reflect"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/ec2/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/servicerole"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

// A Service is EC2 over a store.
type Service struct {
	DB       *store.DB
	Machines *Machines
}

// Principal is EC2 as it assumes roles.
const Principal = "ec2.amazonaws.com"

// AWS returns the table of operations. An action of EC2 that is not here is not in the
// model that is kept (internal/apigen/models), and answered InvalidAction.
func (s *Service) AWS() *service.Service {
	table := service.New(api.Model, "",
		//                     on                             and
		handle(s.runInstances, newInstance,
			service.Before(checkLaunch), service.TagsOf(launchTags),
			launchKey("ec2:InstanceType", func(_ *service.Call, in *api.RunInstancesInput) string { return typeOf(in) }),
			launchKey("ec2:InstanceProfile", launchProfile),
			launchKey("ec2:AvailabilityZone", zoneOf),
			launchKey("ec2:Tenancy", func(*service.Call, *api.RunInstancesInput) string { return "default" }),
			launchKey("ec2:RootDeviceType", func(*service.Call, *api.RunInstancesInput) string { return "ebs" }),
			service.Key("ec2:MetadataHttpTokens", "{MetadataOptions.HttpTokens}"),
			service.Key("ec2:MetadataHttpEndpoint", "{MetadataOptions.HttpEndpoint}"),
			service.Key("ec2:MetadataHttpPutResponseHopLimit", "{MetadataOptions.HttpPutResponseHopLimit}"),
			service.Key("ec2:InstanceMetadataTags", "{MetadataOptions.InstanceMetadataTags}"),
			service.Also("ec2:RunInstances", service.ARN("arn:aws:ec2:{region}::image/{ImageId}"),
				service.Key("ec2:ImageID", "{ImageId}"), service.Key("ec2:ImageType", "machine"), service.Key("ec2:Owner", "amazon"),
				service.Key("ec2:Public", "true"), service.Key("ec2:RootDeviceType", "ebs")),
			service.Also("ec2:CreateTags", newInstance, service.If(func(_ *service.Call, in *api.RunInstancesInput) bool { return len(launchTags(nil, in)) > 0 }),
				service.Key("ec2:CreateAction", "RunInstances"), service.TagsOf(launchTags)),
			passed(func(in *api.RunInstancesInput) *api.IamInstanceProfileSpecification { return in.IamInstanceProfile },
				func(c *service.Call, _ *api.RunInstancesInput) string {
					return string(instanceARN(c.Account, c.Region, "*"))
				})),
		handle(s.describeInstances, service.Any),
		handle(s.describeInstanceStatus, service.Any),
		handle(s.describeInstanceAttribute, instances(func(in *api.DescribeInstanceAttributeInput) []string { return []string{in.InstanceId} }), known[api.DescribeInstanceAttributeInput]()),
		handle(s.getConsoleOutput, instances(func(in *api.GetConsoleOutputInput) []string { return []string{in.InstanceId} }), known[api.GetConsoleOutputInput]()),
		handle(s.startInstances, instances(func(in *api.StartInstancesInput) []string { return in.InstanceIds }), known[api.StartInstancesInput]()),
		handle(s.stopInstances, instances(func(in *api.StopInstancesInput) []string { return in.InstanceIds }), known[api.StopInstancesInput]()),
		handle(s.rebootInstances, instances(func(in *api.RebootInstancesInput) []string { return in.InstanceIds }), known[api.RebootInstancesInput]()),
		handle(s.terminateInstances, instances(func(in *api.TerminateInstancesInput) []string { return in.InstanceIds }), known[api.TerminateInstancesInput]()),
		handle(s.modifyInstanceAttribute, instances(func(in *api.ModifyInstanceAttributeInput) []string { return []string{in.InstanceId} }), known[api.ModifyInstanceAttributeInput]()),
		handle(s.modifyInstanceMetadataOptions, instances(func(in *api.ModifyInstanceMetadataOptionsInput) []string { return []string{in.InstanceId} }), known[api.ModifyInstanceMetadataOptionsInput]()),

		handle(s.describeIamInstanceProfileAssociations, service.Any),
		handle(s.associateIamInstanceProfile, instances(func(in *api.AssociateIamInstanceProfileInput) []string { return []string{in.InstanceId} }), known[api.AssociateIamInstanceProfileInput](),
			service.KeyOf("ec2:NewInstanceProfile", func(c *service.Call, in *api.AssociateIamInstanceProfileInput) (policy.Value, bool) {
				return text(profileARN(c, &in.IamInstanceProfile))
			}),
			passed(func(in *api.AssociateIamInstanceProfileInput) *api.IamInstanceProfileSpecification {
				return &in.IamInstanceProfile
			},
				func(c *service.Call, in *api.AssociateIamInstanceProfileInput) string {
					return string(instanceARN(c.Account, c.Region, in.InstanceId))
				})),
		handle(s.replaceIamInstanceProfileAssociation, associated(func(in *api.ReplaceIamInstanceProfileAssociationInput) string { return in.AssociationId }),
			service.KeyOf("ec2:NewInstanceProfile", func(c *service.Call, in *api.ReplaceIamInstanceProfileAssociationInput) (policy.Value, bool) {
				return text(profileARN(c, &in.IamInstanceProfile))
			}),
			passed(func(in *api.ReplaceIamInstanceProfileAssociationInput) *api.IamInstanceProfileSpecification {
				return &in.IamInstanceProfile
			},
				func(c *service.Call, in *api.ReplaceIamInstanceProfileAssociationInput) string {
					return string(associatedWith(c, in.AssociationId).ARN)
				})),
		handle(s.disassociateIamInstanceProfile, associated(func(in *api.DisassociateIamInstanceProfileInput) string { return in.AssociationId })),

		handle(s.createTags, tagged(func(in *api.CreateTagsInput) []string { return in.Resources }), service.Tags("Tags"),
			service.Before(func(_ *service.Call, in *api.CreateTagsInput) error { return checkTagged(in.Resources) })),
		handle(s.deleteTags, tagged(func(in *api.DeleteTagsInput) []string { return in.Resources }), service.Tags("Tags"),
			service.Before(func(_ *service.Call, in *api.DeleteTagsInput) error { return checkTagged(in.Resources) })),
		handle(s.describeTags, service.Any),
		handle(s.describeImages, service.Any),
		handle(s.describeRegions, service.Any),
		handle(s.describeAvailabilityZones, service.Any),
	)
	table.Object = object
	table.Key = key
	return table
}

// handle is a row whose calls may be tried out: with DryRun they are decided, and not made.
func handle[In, Out any](f func(context.Context, *service.Call, *In) (*Out, error), on service.Resource, clauses ...service.Clause) service.Row {
	at, has := reflect.TypeFor[In]().FieldByName("DryRun")
	return service.Handle(func(ctx context.Context, c *service.Call, in *In) (*Out, error) {
		if has {
			if dry, _ := reflect.ValueOf(in).Elem().FieldByIndex(at.Index).Interface().(*bool); dry != nil && *dry {
				return nil, api.DryRunOperation("Request would have succeeded, but DryRun flag is set.")
			}
		}
		return f(ctx, c, in)
	}, on, clauses...)
}

func instanceARN(account, region, id string) arn.ARN {
	return arn.ARN("arn:aws:ec2:" + region + ":" + account + ":instance/" + id)
}

// newInstance is what a launch makes.
var newInstance = service.On(func(c *service.Call, _ *api.RunInstancesInput) []service.Target {
	return []service.Target{{ARN: instanceARN(c.Account, c.Region, "*"), New: true}}
})

// instances are those that the input names.
func instances[In any](ids func(*In) []string) service.Resource {
	return service.On(func(c *service.Call, in *In) []service.Target {
		var all []service.Target
		for _, id := range ids(in) {
			all = append(all, service.Target{ARN: instanceARN(c.Account, c.Region, id)})
		}
		return all
	})
}

// known refuses ids that are none before anything is decided about them.
func known[In any]() service.Clause {
	return service.Before(func(_ *service.Call, in *In) error {
		ids := []string{}
		v := reflect.ValueOf(in).Elem()
		if f := v.FieldByName("InstanceIds"); f.IsValid() {
			ids = f.Interface().([]string)
		} else {
			ids = append(ids, v.FieldByName("InstanceId").String())
		}
		return checkIDs(ids)
	})
}

// associated is the instance that an association is of.
func associated[In any](id func(*In) string) service.Resource {
	return service.On(func(c *service.Call, in *In) []service.Target { return []service.Target{associatedWith(c, id(in))} })
}

func associatedWith(c *service.Call, association string) service.Target {
	if i := byAssociation(c.State, c.Account, c.Region, association); i != nil {
		return service.Target{ARN: i.ARN()}
	}
	return service.Target{ARN: instanceARN(c.Account, c.Region, "*"), New: true}
}

// passed asks for iam:PassRole on the role in the profile that is given to an instance.
func passed[In any](profile func(*In) *api.IamInstanceProfileSpecification, to func(*service.Call, *In) string) service.Clause {
	return servicerole.PassedOf(func(c *service.Call, in *In) []arn.ARN {
		if p, err := profileOf(c.State, c.Account, profile(in)); err == nil && p != nil {
			if role := roleOf(c.State, p); role != nil {
				return []arn.ARN{arn.ARN(role.Arn)}
			}
		}
		return nil
	}, Principal, service.KeyOf("iam:AssociatedResourceArn", func(c *service.Call, in *In) (policy.Value, bool) { return text(to(c, in)) }))
}

func launchKey(name string, f func(*service.Call, *api.RunInstancesInput) string) service.Clause {
	return service.KeyOf(name, func(c *service.Call, in *api.RunInstancesInput) (policy.Value, bool) { return text(f(c, in)) })
}

func text(s string) (policy.Value, bool) { return policy.String(s), s != "" }

// object is what authorisation may know of an instance.
func object(r *store.Snapshot, _ policy.Action, a arn.ARN) service.Object {
	i := byARN(r, a)
	if i == nil {
		return service.Object{}
	}
	o := service.Tagged(i.Tags, func(t api.Tag) (string, string) { return t.Key, t.Value })
	o.Account = i.Account
	return o
}

// key gives EC2's condition keys that are no single operation's.
func key(c *service.Call, check *service.Check, on *service.Object, key string) (policy.Value, bool) {
	if key == "ec2:region" {
		return text(c.Region)
	}
	if tag, ok := strings.CutPrefix(key, "ec2:resourcetag/"); ok && on.Tag != nil {
		v, ok := on.Tag(tag)
		return policy.String(v), ok
	}
	if name, ok := strings.CutPrefix(key, "ec2:attribute"); ok {
		return attributeKey(check.In, strings.TrimPrefix(name, "/"))
	}
	i := byARN(c.State, check.ARN)
	if i == nil {
		return policy.Value{}, false
	}
	return i.key(key)
}
