// Package reference is what AWS publishes about its services: which actions there
// are, on which resource types, with which condition keys, and the documents of the
// AWS managed policies. It is data, the same for every server, embedded in the binary.
//
// Words, all AWS's own (the Service Authorization Reference uses them so):
//
//   - A service is known by the prefix of its actions: "s3", "iam", "execute-api".
//   - An action is what a policy names: "s3:GetObject". Most are operations of the
//     service's API, some are only permissions ("iam:PassRole"), and an operation may
//     need an action of another name (ListObjectsV2 needs "s3:ListBucket").
//   - A resource type ("object") has an ARN pattern with variables:
//     "arn:${Partition}:s3:::${BucketName}/${ObjectName}". An action without resource
//     types is authorised on "*".
//   - A condition key has a type, and may hold a variable part:
//     "aws:RequestTag/${TagKey}". The global keys ("aws:...") exist for every service.
//   - A dependent action is one that the caller needs besides: "iam:PassRole" for
//     "lambda:CreateFunction".
//   - A managed policy is one that AWS keeps, in every account under the same ARN:
//     "arn:aws:iam::aws:policy/ReadOnlyAccess".
//
// Names are found without regard to case, as AWS compares them, and come back as AWS
// writes them:
//
//	a, ok := reference.LookupAction("S3:getobject")   // a.Name == "GetObject"
//	p, ok := reference.ManagedPolicy("arn:aws:iam::aws:policy/AdministratorAccess")
//
// # Memory
//
// The data are about eight megabytes of JSON, 0.9 MB compressed. A service is unpacked
// when it is first asked for and then kept; asking for one leaves the others packed.
// A policy's document is unpacked every time, since whoever uses one compiles it and
// keeps that. What is returned is shared and must not be changed.
//
// # Source
//
// Written by the program in gen (go generate) from packages whose versions it pins;
// LICENSES.txt has their notices. Actions, resources and keys are of September 2026,
// policies of August 2026. Dependent actions and the mark of permission-only actions
// are of December 2025, as the source dropped them afterwards: an action that is
// younger has neither. Of a policy only the default version is kept. AWS's ids of the
// policies are not published; ours are derived from the ARN, the same everywhere.
package reference

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/reference/archive"
)

//go:generate go run ./gen

// The days of the data: that of the release that the actions, resources and keys are of
// (its version names it), and that on which AWS last changed one of the managed policies.
const (
	ActionsDate  = "2026-09-26"
	PoliciesDate = "2026-08-26"
)

// A Service is everything known about the actions with one prefix.
type Service struct {
	Prefix string // "s3"
	Name   string // "Amazon S3"

	// ControlPolicies tells whether resource control policies reach this service's
	// resources.
	ControlPolicies bool `json:",omitzero"`

	Actions   []Action       // by name
	Resources []ResourceType // by name
	Keys      []Key          // by name: its own and the global ones that it documents
}

// Access is what AWS classes an action as.
type Access string

// The classes of actions.
const (
	List                  Access = "List"
	Read                  Access = "Read"
	Write                 Access = "Write"
	Tagging               Access = "Tagging"
	PermissionsManagement Access = "Permissions management"
)

// An Action is one that a policy can name.
type Action struct {
	Service string `json:"-"` // its prefix: "s3"
	Name    string // "GetObject"
	Access  Access

	// PermissionOnly marks actions that are no operation of the API.
	PermissionOnly bool `json:",omitzero"`

	// Resources are the types that the action can be restricted to. When there is
	// none, the action is authorised on "*".
	Resources []ActionResource `json:",omitzero"`

	Keys      []string `json:",omitzero"` // condition keys that hold whatever the resource
	Dependent []string `json:",omitzero"` // actions needed besides: "iam:PassRole"
}

// String returns the action as a policy names it: "s3:GetObject".
func (a *Action) String() string { return a.Service + ":" + a.Name }

// An ActionResource is a type of resource that an action is about.
type ActionResource struct {
	Name      string   // "object", a ResourceType of the same service
	Required  bool     `json:",omitzero"` // the action is always about one
	Keys      []string `json:",omitzero"` // condition keys that hold for such a resource
	Dependent []string `json:",omitzero"` // actions needed besides when it is about one
}

// A ResourceType is a kind of resource and how its ARNs look.
type ResourceType struct {
	Name string   // "object"
	ARN  string   // "arn:${Partition}:s3:::${BucketName}/${ObjectName}"
	Keys []string `json:",omitzero"`
}

// Pattern returns the ARN with every variable a star, as [arn.ARN.Match] takes it:
// "arn:*:s3:::*/*".
func (r *ResourceType) Pattern() string {
	var b strings.Builder
	rest := r.ARN
	for {
		before, variable, found := strings.Cut(rest, "${")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteByte('*')
		_, rest, _ = strings.Cut(variable, "}")
	}
}

// A Key is a condition key.
type Key struct {
	Name string // "aws:RequestTag/${TagKey}"
	Type string // "String", "ARN", "Bool", "Numeric", "Date", "IPAddress"; "ArrayOf..." when multi-valued
}

// Multivalued tells whether a request can hold several values of the key.
func (k *Key) Multivalued() bool { return strings.HasPrefix(k.Type, "ArrayOf") }

// Match tells whether name, as a policy or a request has it, is this key. A variable
// part matches anything that is not empty.
func (k *Key) Match(name string) bool {
	before, variable, found := strings.Cut(k.Name, "${")
	if !found {
		return strings.EqualFold(k.Name, name)
	}
	_, after, _ := strings.Cut(variable, "}")
	return len(name) > len(before)+len(after) &&
		strings.EqualFold(name[:len(before)], before) &&
		strings.EqualFold(name[len(name)-len(after):], after)
}

// Action returns the service's action of that name ("GetObject"), nil if there is none.
func (s *Service) Action(name string) *Action {
	return find(s.Actions, name, func(a *Action) string { return a.Name })
}

// Resource returns the resource type of that name ("object"), nil if there is none.
func (s *Service) Resource(name string) *ResourceType {
	return find(s.Resources, name, func(r *ResourceType) string { return r.Name })
}

// Key returns the condition key that name ("aws:RequestTag/team") is, nil if the
// service documents none such. The global keys hold besides: see [LookupKey].
func (s *Service) Key(name string) *Key { return matching(s.Keys, name) }

// find searches a list that is sorted by lower-case name.
func find[T any](list []T, name string, of func(*T) string) *T {
	low, high := 0, len(list)
	for low < high {
		middle := int(uint(low+high) >> 1)
		switch order := compareFold(of(&list[middle]), name); {
		case order == 0:
			return &list[middle]
		case order < 0:
			low = middle + 1
		default:
			high = middle
		}
	}
	return nil
}

// compareFold compares without regard to the case of ASCII letters; the reference has
// no others.
func compareFold(a, b string) int {
	for i := range min(len(a), len(b)) {
		if x, y := lower(a[i]), lower(b[i]); x != y {
			return int(x) - int(y)
		}
	}
	return len(a) - len(b)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// matching looks at a list's keys one by one, since some have a variable part; a
// service has a hundred at most.
func matching(list []Key, name string) *Key {
	for i := range list {
		if list[i].Match(name) {
			return &list[i]
		}
	}
	return nil
}

// LookupService returns the service with that prefix.
func LookupService(prefix string) (*Service, bool) {
	c := services()
	i, ok := slices.BinarySearch(c.prefixes, strings.ToLower(prefix))
	if !ok {
		return nil, false
	}
	return c.decode[i](), true
}

// LookupAction returns the action that a policy names so: "s3:GetObject". A pattern
// ("s3:Get*") is no name.
func LookupAction(name string) (*Action, bool) {
	prefix, action, ok := strings.Cut(name, ":")
	if !ok {
		return nil, false
	}
	s, ok := LookupService(prefix)
	if !ok {
		return nil, false
	}
	a := s.Action(action)
	return a, a != nil
}

// MatchAction tells whether there is an action that the pattern of a policy matches:
// "s3:Get*", "*". It unpacks the services whose prefix the pattern fits.
func MatchAction(pattern string) bool {
	if pattern == "*" {
		return true
	}
	prefix, name, ok := strings.Cut(strings.ToLower(pattern), ":")
	if !ok {
		return false
	}
	for i, p := range services().prefixes {
		if !arn.Glob(prefix, p) {
			continue
		}
		for _, a := range services().decode[i]().Actions {
			if arn.Glob(name, strings.ToLower(a.Name)) {
				return true
			}
		}
	}
	return false
}

// LookupKey returns the condition key that name is: a global one, or one of the
// service whose prefix it has. Keys of identity providers ("saml:aud",
// "token.actions.githubusercontent.com:repository") are STS's, as far as AWS lists
// them: any provider's address with ":aud", ":sub" or ":amr" is a key too and is not here.
func LookupKey(name string) (*Key, bool) {
	c := services()
	if k := matching(c.Global, name); k != nil {
		return k, true
	}
	prefix, _, ok := strings.Cut(name, ":")
	if !ok {
		return nil, false
	}
	s, ok := LookupService(prefix)
	if !ok {
		if s, ok = LookupService("sts"); !ok {
			return nil, false
		}
	}
	k := s.Key(name)
	return k, k != nil
}

// GlobalKeys returns the keys that exist for every service, in AWS's order.
func GlobalKeys() []Key { return services().Global }

// Prefixes returns the prefixes of all services, sorted. It unpacks none of them.
func Prefixes() []string { return services().prefixes }

// Services yields all services by prefix. It unpacks, one after another, those that
// are taken; a server keeps them, so this is for tools and tests.
func Services() iter.Seq[*Service] {
	return func(yield func(*Service) bool) {
		for _, decode := range services().decode {
			if !yield(decode()) {
				return
			}
		}
	}
}

//go:embed services.bin
var servicesFile []byte

// A Catalog is the table of contents of the services' archive.
type Catalog struct {
	Services []string // prefixes, in the order of the values
	Global   []Key
}

type catalog struct {
	Global   []Key
	prefixes []string
	decode   []func() *Service // each unpacks its service once
}

var services = sync.OnceValue(func() *catalog {
	a, err := archive.Open(servicesFile)
	if err != nil {
		panic(err)
	}
	var contents Catalog
	if err := a.Header(&contents); err != nil {
		panic(err)
	}
	c := &catalog{Global: contents.Global, prefixes: contents.Services}
	for i := range c.prefixes {
		c.decode = append(c.decode, sync.OnceValue(func() *Service {
			s, err := decode(a, i)
			if err != nil {
				panic(fmt.Sprintf("reference: service %s: %v", c.prefixes[i], err))
			}
			return s
		}))
	}
	return c
})

func decode(a *archive.Archive, i int) (*Service, error) {
	data, err := a.Value(i)
	if err != nil {
		return nil, err
	}
	s := new(Service)
	if err := json.Unmarshal(data, s); err != nil {
		return nil, err
	}
	s.share()
	return s, nil
}

// share gives equal lists of names one array: the actions of EC2 repeat the same
// condition keys three thousand times.
func (s *Service) share() {
	names := make(map[string]string)
	lists := make(map[string][]string)
	one := func(list []string) []string {
		if len(list) == 0 {
			return nil
		}
		key := strings.Join(list, "\n")
		same, ok := lists[key]
		if !ok {
			same = make([]string, len(list))
			for i, n := range list {
				if _, ok := names[n]; !ok {
					names[n] = n
				}
				same[i] = names[n]
			}
			lists[key] = same
		}
		return same
	}
	for i := range s.Resources {
		r := &s.Resources[i]
		names[r.Name] = r.Name
		r.Keys = one(r.Keys)
	}
	for _, k := range s.Keys {
		names[k.Name] = k.Name
	}
	for i := range s.Actions {
		a := &s.Actions[i]
		a.Service = s.Prefix
		a.Keys, a.Dependent = one(a.Keys), one(a.Dependent)
		for j := range a.Resources {
			r := &a.Resources[j]
			if n, ok := names[r.Name]; ok {
				r.Name = n
			}
			r.Keys, r.Dependent = one(r.Keys), one(r.Dependent)
		}
	}
}
