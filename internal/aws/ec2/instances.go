package ec2

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"iter"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/ec2/api"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

// instanceTable has the instances, by account, region and id.
var instanceTable = store.NewTable[Instance]("ec2-instances")

// Tables returns the tables that EC2 keeps.
func Tables() []store.Checker { return []store.Checker{instanceTable} }

// States of an instance, with AWS's codes.
const (
	pending      = "pending"
	running      = "running"
	shuttingDown = "shutting-down"
	terminated   = "terminated"
	stopping     = "stopping"
	stopped      = "stopped"
)

var codes = map[string]int32{pending: 0, running: 16, shuttingDown: 32, terminated: 48, stopping: 64, stopped: 80}

func stateOf(name string) *api.InstanceState {
	return &api.InstanceState{Code: codes[name], Name: name}
}

// An Instance is an instance as the store has it.
type Instance struct {
	ID, Account, Region, Zone string
	Reservation               string
	Index                     int `json:",omitempty"`
	Type, Image               string
	IP                        string
	Launched                  time.Time // last

	State      string
	Reason     *api.StateReason `json:",omitempty"` // of the last change
	Transition string           `json:",omitempty"` // the same, for people
	Ended      time.Time        // when it was terminated

	UserData string    `json:",omitempty"` // in base64
	Tags     []api.Tag `json:",omitempty"`
	Options  Options
	Profile  *Association `json:",omitempty"`

	Shutdown            string // what its own end does: stop, terminate
	DisableTermination  bool   `json:",omitempty"`
	DisableStop         bool   `json:",omitempty"`
	ClientToken, Asked  string `json:",omitempty"` // of the launch: its token, and a sum of its input
	SourceDestUnchecked bool   `json:",omitempty"`
}

// Options are the options of its metadata service.
type Options struct {
	Tokens   string // optional, required
	Endpoint string // enabled, disabled
	HopLimit int32
	Tags     string // enabled, disabled
}

// An Association is a profile that an instance has.
type Association struct {
	ID      string
	ARN     string // of the profile
	Profile string // its unique id
	Since   time.Time
	Request string // id of the call that attached it
}

func keyOf(account, region, id string) string { return account + "/" + region + "/" + id }

func (i *Instance) at() string { return keyOf(i.Account, i.Region, i.ID) }

// ARN is the instance's.
func (i *Instance) ARN() arn.ARN { return instanceARN(i.Account, i.Region, i.ID) }

func get(r store.Reader, account, region, id string) *Instance {
	return instanceTable.Get(r, keyOf(account, region, id))
}

func byARN(r store.Reader, a arn.ARN) *Instance {
	id, ok := strings.CutPrefix(a.Resource(), "instance/")
	if !ok || a.Service() != "ec2" {
		return nil
	}
	return get(r, a.Account(), a.Region(), id)
}

func byAssociation(r store.Reader, account, region, id string) *Instance {
	for _, i := range instanceTable.All(r, keyOf(account, region, "")) {
		if i.Profile != nil && i.Profile.ID == id {
			return i
		}
	}
	return nil
}

// shown yields the instances of an account in a region, without those that ended an hour ago.
func shown(r store.Reader, account, region string, now time.Time) iter.Seq[*Instance] {
	return func(yield func(*Instance) bool) {
		for _, i := range instanceTable.All(r, keyOf(account, region, "")) {
			if !i.forgotten(now) && !yield(i) {
				return
			}
		}
	}
}

// forgotten: AWS shows a terminated instance for about an hour.
func (i *Instance) forgotten(now time.Time) bool {
	return i.State == terminated && now.Sub(i.Ended) > time.Hour
}

// newID makes an id such as i-0123456789abcdef0.
func newID(prefix string) string {
	var b [9]byte
	rand.Read(b[:])
	return prefix + "0" + hex.EncodeToString(b[:])[:16]
}

// address is the private address that an instance shows, in the network of a default VPC.
// Nothing is reached by it.
func address(id string) string {
	sum := sha256.Sum256([]byte(id))
	n := binary.BigEndian.Uint32(sum[:])
	return netip.AddrFrom4([4]byte{172, 31, byte(n / 250 % 96), byte(n%250) + 4}).String()
}

// hostname is its name in the network, AWS's form of it.
func (i *Instance) hostname() string {
	domain := i.Region + ".compute.internal"
	if i.Region == "us-east-1" {
		domain = "ec2.internal"
	}
	return "ip-" + strings.ReplaceAll(i.IP, ".", "-") + "." + domain
}

// architecture is the machine's, in EC2's words.
func architecture() string {
	if runtime.GOARCH == "arm64" {
		return "arm64"
	}
	return "x86_64"
}

// zoneID is AWS's id of a zone: use1-az1 of us-east-1a, as it is in some accounts.
func zoneID(zone string) string {
	region, letter := zone[:len(zone)-1], zone[len(zone)-1]
	var b strings.Builder
	for n, part := range strings.Split(region, "-") {
		switch {
		case n == 0:
			b.WriteString(part)
		default:
			for _, word := range []string{"gov", "north", "south", "east", "west", "central"} {
				if rest, ok := strings.CutPrefix(part, word); ok {
					b.WriteByte(word[0])
					part = rest
				}
			}
			b.WriteString(part)
		}
	}
	return fmt.Sprintf("%s-az%d", b.String(), letter-'a'+1)
}

// key gives a condition key of the instance.
func (i *Instance) key(key string) (policy.Value, bool) {
	switch key {
	case "ec2:availabilityzone":
		return text(i.Zone)
	case "ec2:availabilityzoneid":
		return text(zoneID(i.Zone))
	case "ec2:ebsoptimized":
		return text("false")
	case "ec2:instanceid":
		return text(i.ID)
	case "ec2:instanceprofile":
		if i.Profile != nil {
			return text(i.Profile.ARN)
		}
	case "ec2:instancetype":
		return text(i.Type)
	case "ec2:metadatahttptokens":
		return text(i.Options.Tokens)
	case "ec2:metadatahttpendpoint":
		return text(i.Options.Endpoint)
	case "ec2:metadatahttpputresponsehoplimit":
		return text(strconv.Itoa(int(i.Options.HopLimit)))
	case "ec2:instancemetadatatags":
		return text(i.Options.Tags)
	case "ec2:rootdevicetype":
		return text("ebs")
	case "ec2:tenancy":
		return text("default")
	}
	return policy.Value{}, false
}

// show is the instance as it is described.
func (i *Instance) show() api.Instance {
	v := api.Instance{
		InstanceId: i.ID, ImageId: i.Image, InstanceType: i.Type, State: stateOf(i.State), AmiLaunchIndex: int32(i.Index),
		LaunchTime: i.Launched, Architecture: architecture(), Hypervisor: "xen", VirtualizationType: "hvm",
		RootDeviceName: rootDevice, RootDeviceType: "ebs", PlatformDetails: "Linux/UNIX", UsageOperation: "RunInstances",
		Monitoring: &api.Monitoring{State: "disabled"}, Placement: &api.Placement{AvailabilityZone: i.Zone, AvailabilityZoneId: zoneID(i.Zone), Tenancy: "default"},
		PrivateDnsName: i.hostname(), PrivateIpAddress: i.IP, StateTransitionReason: i.Transition, StateReason: i.Reason,
		ClientToken: i.ClientToken, Tags: slices.Clone(i.Tags), SourceDestCheck: !i.SourceDestUnchecked, MetadataOptions: i.Options.show(),
		SecurityGroups: []api.GroupIdentifier{}, BlockDeviceMappings: []api.InstanceBlockDeviceMapping{}, NetworkInterfaces: []api.InstanceNetworkInterface{},
		EnclaveOptions: &api.EnclaveOptions{}, HibernationOptions: &api.HibernationOptions{},
	}
	if i.Profile != nil {
		v.IamInstanceProfile = &api.IamInstanceProfile{Arn: i.Profile.ARN, Id: i.Profile.Profile}
	}
	if i.State == terminated || i.State == shuttingDown {
		v.PrivateDnsName, v.PrivateIpAddress = "", ""
	}
	return v
}

func (o *Options) show() *api.InstanceMetadataOptionsResponse {
	return &api.InstanceMetadataOptionsResponse{State: "applied", HttpTokens: o.Tokens, HttpEndpoint: o.Endpoint, HttpPutResponseHopLimit: o.HopLimit,
		HttpProtocolIpv6: "disabled", InstanceMetadataTags: o.Tags}
}

const rootDevice = "/dev/xvda"

// validID reports whether an id has the form of those with the prefix: eight or 17 hexadecimal digits.
func validID(id, prefix string) bool {
	digits, ok := strings.CutPrefix(id, prefix)
	return ok && (len(digits) == 8 || len(digits) == 17) && strings.Trim(digits, "0123456789abcdef") == ""
}

func checkIDs(ids []string) error {
	if len(ids) == 0 {
		return api.MissingParameter("The request must contain the parameter InstanceId")
	}
	for _, id := range ids {
		if !validID(id, "i-") {
			return api.InvalidInstanceIDMalformed("Invalid id: %q", id)
		}
	}
	return nil
}

// find finds the instances with the ids, each once, or says which are not there.
func find(r store.Reader, account, region string, ids []string, now time.Time) ([]*Instance, error) {
	var found []*Instance
	var missing []string
	for n, id := range ids {
		if slices.Contains(ids[:n], id) {
			continue
		}
		if i := get(r, account, region, id); i != nil && !i.forgotten(now) {
			found = append(found, i)
		} else {
			missing = append(missing, id)
		}
	}
	switch len(missing) {
	case 0:
		return found, nil
	case 1:
		return nil, api.InvalidInstanceIDNotFound("The instance ID '%s' does not exist", missing[0])
	}
	return nil, api.InvalidInstanceIDNotFound("The instance IDs '%s' do not exist", strings.Join(missing, ", "))
}
