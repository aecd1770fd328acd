package ssm

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/ssm/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// A Node is an instance whose agent has reported.
type Node struct {
	ID              string
	Registered      time.Time
	Ping            time.Time // when it last reported
	AgentVersion    string    `json:",omitempty"`
	PlatformName    string    `json:",omitempty"`
	PlatformType    string    `json:",omitempty"`
	PlatformVersion string    `json:",omitempty"`
	IPAddress       string    `json:",omitempty"`
	ComputerName    string    `json:",omitempty"`
}

var nodes = store.NewTable[Node]("ssm-nodes") // by nodeKey

func nodeKey(account, region, id string) string { return account + "/" + region + "/" + id }

// lost is for how long a node that does not report is online still: agents report every
// five minutes.
const lost = 15 * time.Minute

func (n *Node) online(now time.Time) bool { return now.Sub(n.Ping) < lost }

func instanceARN(account, region, id string) arn.ARN {
	return arn.New("aws", "ec2", region, account, "instance/"+id)
}

func managedARN(account, region, id string) arn.ARN {
	if strings.HasPrefix(id, "mi-") {
		return arn.New("aws", "ssm", region, account, "managed-instance/"+id)
	}
	return instanceARN(account, region, id)
}

// node is a node that is there: one whose instance EC2 still has.
func (s *Service) node(state *store.Snapshot, account, region, id string) *Node {
	n := nodes.Get(state, nodeKey(account, region, id))
	if n == nil {
		return nil
	}
	if _, there := s.instance(state, instanceARN(account, region, id)); !there {
		return nil
	}
	return n
}

// instance asks EC2 about an instance.
func (s *Service) instance(state *store.Snapshot, a arn.ARN) (tags map[string]string, there bool) {
	if s.Instance == nil {
		return nil, false
	}
	return s.Instance(state, a)
}

const sourceInstance = "ec2:SourceInstanceArn"

// itself sees that an agent speaks for the instance that its credentials were delivered
// to: they say so, and nothing else does.
func itself(c *service.Call, id string) error {
	own := identity.Claimed(c.Caller.Claims(), sourceInstance)
	if own == nil || len(own.Value) != 1 || own.Value[0] != string(instanceARN(c.Account, c.Region, id)) {
		return api.AccessDenied("The credentials are not those of the instance %s.", id)
	}
	return nil
}

// updateInstanceInformation is an agent's report: the instance is a managed node from the
// first one on.
func (s *Service) updateInstanceInformation(ctx context.Context, c *service.Call, in *api.UpdateInstanceInformationInput) (*api.UpdateInstanceInformationOutput, error) {
	if err := itself(c, in.InstanceId); err != nil {
		return nil, err
	}
	if _, there := s.instance(c.State, instanceARN(c.Account, c.Region, in.InstanceId)); !there {
		return nil, api.InvalidInstanceId("")
	}
	key := nodeKey(c.Account, c.Region, in.InstanceId)
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		n := nodes.Get(tx, key)
		if n == nil {
			n = &Node{ID: in.InstanceId, Registered: c.Time.UTC()}
		}
		n.Ping = c.Time.UTC()
		for _, f := range []struct {
			kept  *string
			given string
		}{{&n.AgentVersion, in.AgentVersion}, {&n.PlatformName, in.PlatformName}, {&n.PlatformType, in.PlatformType}, {&n.PlatformVersion, in.PlatformVersion},
			{&n.IPAddress, in.IPAddress}, {&n.ComputerName, in.ComputerName}} {
			if f.given != "" {
				*f.kept = f.given
			}
		}
		nodes.Put(tx, key, n)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.UpdateInstanceInformationOutput{}, nil
}

func (s *Service) describeInstanceInformation(_ context.Context, c *service.Call, in *api.DescribeInstanceInformationInput) (*api.DescribeInstanceInformationOutput, error) {
	if len(in.Filters) > 0 && len(in.InstanceInformationFilterList) > 0 {
		return nil, api.Validation("You can use either InstanceInformationFilterList or Filters in a single request.")
	}
	filters := in.Filters
	for _, f := range in.InstanceInformationFilterList {
		filters = append(filters, api.InstanceInformationStringFilter{Key: f.Key, Values: f.ValueSet})
	}
	page, err := newPage(in.NextToken, in.MaxResults, 50)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeInstanceInformationOutput{InstanceInformationList: []api.InstanceInformation{}}
	for key, n := range nodes.From(c.State, c.Account+"/"+c.Region+"/", page.after) {
		tags, there := s.instance(c.State, instanceARN(c.Account, c.Region, n.ID))
		if !there {
			continue
		}
		status := "Online"
		if !n.online(c.Time) {
			status = "ConnectionLost"
		}
		matches := true
		for _, f := range filters {
			var has []string
			switch name, isTag := strings.CutPrefix(f.Key, "tag:"); {
			case f.Key == "InstanceIds":
				has = []string{n.ID}
			case f.Key == "AgentVersion":
				has = []string{n.AgentVersion}
			case f.Key == "PingStatus":
				has = []string{status}
			case f.Key == "PlatformTypes":
				has = []string{n.PlatformType}
			case f.Key == "ResourceType":
				has = []string{"EC2Instance"}
			case f.Key == "ActivationIds", f.Key == "IamRole", f.Key == "AssociationStatus": // which nodes like ours do not have
			case f.Key == "tag-key":
				for k := range tags {
					has = append(has, k)
				}
			case isTag:
				if v, ok := tags[name]; ok {
					has = []string{v}
				}
			default:
				return nil, api.InvalidFilterKey("The following filter key is not valid: %s.", f.Key)
			}
			matches = matches && slices.ContainsFunc(f.Values, func(v string) bool { return slices.Contains(has, v) })
		}
		if !matches {
			continue
		}
		if !page.take(key) {
			break
		}
		out.InstanceInformationList = append(out.InstanceInformationList, api.InstanceInformation{
			InstanceId: n.ID, PingStatus: status, LastPingDateTime: n.Ping.Truncate(time.Millisecond), AgentVersion: n.AgentVersion, IsLatestVersion: true,
			PlatformType: n.PlatformType, PlatformName: n.PlatformName, PlatformVersion: n.PlatformVersion, ResourceType: "EC2Instance",
			IPAddress: n.IPAddress, ComputerName: n.ComputerName, SourceId: n.ID, SourceType: "AWS::EC2::Instance",
		})
	}
	out.NextToken = page.next
	return out, nil
}
