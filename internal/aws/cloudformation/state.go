package cloudformation

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/cloudformation/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// A stack's key is ACCOUNT/REGION/UUID. What belongs to a stack has the key and a slash
// before its own.
var (
	stacks     = store.NewTable[stack]("cloudformationStacks")
	names      = store.NewTable[string]("cloudformationNames") // ACCOUNT/REGION/NAME -> the key of the stack that has the name now
	bodies     = store.NewTable[body]("cloudformationBodies")  // KEY/NUMBER
	resources  = store.NewTable[resource]("cloudformationResources")
	events     = store.NewTable[event]("cloudformationEvents") // KEY/NUMBER
	changeSets = store.NewTable[changeSet]("cloudformationChangeSets")
	exports    = store.NewTable[export]("cloudformationExports") // ACCOUNT/REGION/NAME
)

// Tables returns the tables that CloudFormation keeps, for store.Open to check.
func Tables() []store.Checker {
	return []store.Checker{stacks, names, bodies, resources, events, changeSets, exports}
}

// A stack is one, also after it was deleted.
type stack struct {
	ID, Name        string
	Account, Region string
	Status, Reason  string
	Created         time.Time
	Updated         time.Time `json:",omitzero"`
	Deleted         time.Time `json:",omitzero"`
	Description     string
	Body            int // number of the body that it has; 0 for none yet
	Bodies          int // how many there were
	Capabilities    []string
	Tags            []api.Tag
	Role            arn.ARN `json:",omitempty"` // that the stack acts as; it stays
	OnFailure       string  // ROLLBACK, DELETE, DO_NOTHING
	Timeout         int32
	Protected       bool // from deletion
	RetainExcept    bool // RetainExceptOnCreate
	Parent, Root    string
	ChangeSet       string
	Policy          string // the stack policy
	Imports         []string
	Events          int // how many there were
	Token           string
	TokenOf         string // the operation that came with Token

	Work  *work `json:",omitempty"` // in progress; nil when nothing is
	Stuck *work `json:",omitempty"` // what failed and can be gone on with: ContinueUpdateRollback, RollbackStack
}

func (s *stack) key() string { return stackKey(s.ID) }

// stackKey is the key of the stack with the ARN.
func stackKey(id string) string {
	a := arn.ARN(id)
	parts := strings.Split(a.Resource(), "/")
	return a.Account() + "/" + a.Region() + "/" + parts[len(parts)-1]
}

// A work is an operation on a stack that has begun and not ended: all that is needed to
// go on with it after the server was stopped at any moment.
type work struct {
	Operation string // CREATE, UPDATE, DELETE, ROLLBACK
	Request   string // request id of the call that began it
	Token     string
	Caller    caller  // whose access is forwarded where there is no role
	Role      arn.ARN `json:",omitempty"`
	Body      int     // the body that the stack is to have
	Before    int     // the body that it had
	Old       *former `json:",omitempty"` // what is put back when an update fails
	Retain    []string
	Skip      []string
	Policy    string // stack policy for this update alone
	Cancelled bool
	Started   time.Time
	Failed    []string // logical ids
	Why       string   // failed to create, update, delete
}

// former is what an update changes of the stack itself.
type former struct {
	Tags         []api.Tag
	Capabilities []string
	Description  string
	Imports      []string
}

// A caller is somebody whose access a stack's work goes on with. Whether they are still
// there, and what they may do, is asked at each call.
type caller struct {
	Type        identity.CallerType
	Account     string
	ARN         arn.ARN
	UserID      string
	AccessKeyID string
	User        string            // the unique id of an IAM user
	Session     *identity.Session `json:",omitempty"`
	MFA         time.Time         `json:",omitzero"`
	Via         []string
}

func callerOf(c *service.Call) caller {
	f := c.Forward(principal)
	k := caller{Type: f.Caller.Type, Account: f.Caller.Account, ARN: f.Caller.ARN, UserID: f.Caller.UserID, AccessKeyID: f.Caller.AccessKeyID,
		Session: f.Caller.Session, MFA: f.MFA, Via: f.Via}
	if f.Caller.User != nil {
		k.User = f.Caller.User.UserId
	}
	return k
}

func (k *caller) call(region, request string) *service.Call {
	c := &identity.Caller{Type: k.Type, Account: k.Account, ARN: k.ARN, UserID: k.UserID, AccessKeyID: k.AccessKeyID, Session: k.Session}
	if k.User != "" {
		c.User = &identity.User{}
		c.User.UserId = k.User
	}
	return &service.Call{Account: k.Account, Caller: c, Region: region, MFA: k.MFA, Via: k.Via, Parent: request}
}

// A body is a template and the values of its parameters, sealed: values may be secrets.
type body struct{ Sealed string }

type text struct {
	Template string
	Values   map[string]string
	Outputs  []output
	LookedUp map[string]string `json:",omitempty"` // by parameter: the values that Parameter Store has
	Resolved map[string]string `json:",omitempty"` // by dynamic reference of service ssm: what it stands for
}

type output struct{ Key, Value, Description, Export string }

// A resource is one of a stack's. Its key is the stack's and the logical id; of one that
// an update replaced, and that is deleted when the update is through, that with "~" behind it.
type resource struct {
	Logical, Type  string
	Physical       string
	Name           string // that it is to have, chosen before it is made
	Given          bool   // the template gives the name
	Status, Reason string
	Time           time.Time
	Made           time.Time `json:",omitzero"` // when it was begun to be made
	Keep           bool      // its DeletionPolicy is Retain
	KeepOld        bool      // its UpdateReplacePolicy is Retain
	KeepMade       bool      // kept also where its stack could not be created
	Needs          []string
	Metadata       string
	Sealed         string  // its properties and attributes: what the API gives may be secrets
	Old            *before `json:",omitempty"` // of the update in progress
	New            bool    // the update in progress made it
	Of             string  // request id of the operation that was the last to look at it
}

// before is a resource as it was before the update in progress.
type before struct {
	Physical, Name string
	Given          bool
	Type           string
	Sealed         string
	Replaced       bool // it is there beside its successor
	KeepOld        bool
}

// state is what Sealed opens to.
type state struct {
	Properties map[string]any
	Attributes map[string]any
}

// An event is one of a stack's.
type event struct {
	ID               string
	Logical, Type    string
	Physical         string
	Status, Reason   string
	Properties       string // sealed
	Token, Operation string
	Time             time.Time
}

type export struct{ Stack, Value string }

// A changeSet is a plan. Its key is the stack's, a slash, and the unique part of its ARN.
type changeSet struct {
	ID, Name       string
	Type           string
	Description    string
	Created        time.Time
	Status, Reason string
	Execution      string
	Body           int
	Capabilities   []string
	Tags           []api.Tag
	Role           arn.ARN
	OnFailure      string
	Changes        []api.Change
	ResourceTypes  []string
	TagsGiven      bool
}

// mostSealed bounds a sealed text: a change of the store is a mebibyte.
const mostSealed = 900 << 10

// seal compresses and seals a value under the name of where it is kept.
func (s *Service) seal(name string, v any) (string, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("sealing %s: %w", name, err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(raw)
	z.Close()
	sealed := s.Keyring.Keep("cloudformation/"+name, identity.NewSecret(base64.StdEncoding.EncodeToString(b.Bytes())))
	if len(sealed) > mostSealed {
		return "", invalid("iamd cannot keep this: it is %d bytes compressed, at most %d", len(sealed), mostSealed)
	}
	return sealed, nil
}

func (s *Service) open(name, sealed string, v any) error {
	secret, err := s.Keyring.Kept("cloudformation/"+name, sealed)
	if err != nil {
		return fmt.Errorf("opening %s: %w", name, err)
	}
	raw, err := base64.StdEncoding.DecodeString(secret.Reveal())
	if err != nil {
		return fmt.Errorf("opening %s: %w", name, err)
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("opening %s: %w", name, err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		return fmt.Errorf("opening %s: %w", name, err)
	}
	d := json.NewDecoder(bytes.NewReader(plain))
	d.UseNumber()
	return d.Decode(v)
}

func bodyKey(st *stack, n int) string { return fmt.Sprintf("%s/%06d", st.key(), n) }

// text opens a body of a stack.
func (s *Service) text(r store.Reader, st *stack, n int) (*text, error) {
	t := new(text)
	if n == 0 {
		return t, nil
	}
	key := bodyKey(st, n)
	b := bodies.Get(r, key)
	if b == nil {
		return nil, fmt.Errorf("stack %s has no body %d", st.ID, n)
	}
	return t, s.open(key, b.Sealed, t)
}

func (s *Service) opened(st *stack, sealed string) (*state, error) {
	v := &state{}
	if sealed == "" {
		return v, nil
	}
	return v, s.open(st.key(), sealed, v)
}

// stacksOf yields those of an account in a region.
func stacksOf(r store.Reader, account, region string) func(func(string, *stack) bool) {
	return stacks.All(r, account+"/"+region+"/")
}

// find returns the stack with the name or ARN. A deleted one is found by its ARN alone.
func find(r store.Reader, c *service.Call, name string) *stack {
	if strings.HasPrefix(name, "arn:") {
		a := arn.ARN(name)
		if a.Account() != c.Account || a.Region() != c.Region || !strings.HasPrefix(a.Resource(), "stack/") {
			return nil
		}
		if st := stacks.Get(r, stackKey(name)); st != nil && st.ID == name {
			return st
		}
		return nil
	}
	key := names.Get(r, c.Account+"/"+c.Region+"/"+name)
	if key == nil {
		return nil
	}
	return stacks.Get(r, *key)
}

// resourcesOf returns the resources of a stack in order of their names.
func resourcesOf(r store.Reader, st *stack) []*resource {
	var all []*resource
	for _, res := range resources.All(r, st.key()+"/") {
		all = append(all, res)
	}
	return all
}

func uuid() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// random is n characters as AWS puts them behind generated names.
func random(n int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefghijklmnopqrstuvwxyz"
	b := make([]byte, n)
	rand.Read(b)
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	return string(b)
}

// mostEvents are kept of a stack, the newest.
const mostEvents = 2000

// add puts an event behind the others of a stack.
func (s *Service) add(tx *store.Tx, st *stack, e event) {
	if e.ID == "" {
		e.ID = uuid()
	}
	if w := st.Work; w != nil {
		e.Token, e.Operation = w.Token, w.Request
	}
	e.Time = s.now()
	st.Events++
	events.Put(tx, fmt.Sprintf("%s/%08d", st.key(), st.Events), &e)
	if old := st.Events - mostEvents; old > 0 {
		events.Delete(tx, fmt.Sprintf("%s/%08d", st.key(), old))
	}
}

// become gives a stack a status, with the event that tells it.
func (s *Service) become(tx *store.Tx, st *stack, status, reason string) {
	st.Status, st.Reason = status, reason
	s.add(tx, st, event{Logical: st.Name, Type: stackType, Physical: st.ID, Status: status, Reason: reason})
}

const stackType = "AWS::CloudFormation::Stack"
