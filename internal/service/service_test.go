package service

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/wire"
	"github.com/iamd-dev/iamd/policy"
)

type Tag struct{ Key, Value string }

type CreateThingInput struct {
	Name   string
	Role   string
	Size   *int32
	Nested *struct{ Zone string }
	Tags   []Tag
	Keys   []string
}

type ListThingsInput struct{ Prefix string }

type Output struct{}

func create(context.Context, *Call, *CreateThingInput) (*Output, error) { return &Output{}, nil }
func list(context.Context, *Call, *ListThingsInput) (*Output, error)    { return &Output{}, nil }

func model() *wire.Model {
	return &wire.Model{Name: "toy", Operations: []wire.Operation{
		{Name: "CreateThing", In: wire.Type[CreateThingInput]()},
		{Name: "DestroyThing"},
		{Name: "ListThings", In: wire.Type[ListThingsInput]()},
		{Name: "Whoever", Unsigned: true},
	}}
}

const declined = `
# What the toy does not do.
DestroyThing  toy:RemoveThing  things are for ever
Whoever       nobody asks
`

func TestChecks(t *testing.T) {
	s := New(model(), declined,
		Handle(create, ARN("arn:aws:toy:{region}:{account}:thing/{Name}"), Key("toy:Size", "{Size}"), Key("toy:Zone", "{Nested.Zone}"), Tags("Tags"),
			Also("iam:PassRole", ARN("{Role}"), When("Role"), Key("iam:PassedToService", "toy.amazonaws.com")),
			Also("toy:TagThing", nil, When("Tags"), Tags("Tags")),
			Also("toy:Anonymous", nil, Unless("Role"), Bare)),
		Handle(list, Any, Action("toy:EnumerateThings"), Data),
	)
	size := int32(3)
	call := &Call{Account: "111122223333", Region: "eu-west-1", Caller: &identity.Caller{}}
	for _, c := range []struct {
		name string
		in   any
		want []string
	}{
		{"everything", &CreateThingInput{Name: "n", Role: "arn:aws:iam::1:role/r", Size: &size, Nested: &struct{ Zone string }{"z"}, Tags: []Tag{{"k", "v"}}}, []string{
			"toy:CreateThing on arn:aws:toy:eu-west-1:111122223333:thing/n toy:Size=3 toy:Zone=z tag k=v",
			"iam:PassRole on arn:aws:iam::1:role/r iam:PassedToService=toy.amazonaws.com",
			"toy:TagThing on arn:aws:toy:eu-west-1:111122223333:thing/n tag k=v"}},
		{"next to nothing: absent fields are absent keys", &CreateThingInput{Name: "n"}, []string{
			"toy:CreateThing on arn:aws:toy:eu-west-1:111122223333:thing/n",
			"toy:Anonymous on arn:aws:toy:eu-west-1:111122223333:thing/n, no reason"}},
		{"another action", &ListThingsInput{}, []string{"toy:EnumerateThings on *"}},
	} {
		op := s.Op("CreateThing")
		if _, ok := c.in.(*ListThingsInput); ok {
			op = s.Op("ListThings")
		}
		var got []string
		for _, check := range op.Checks(call, c.in) {
			line := fmt.Sprintf("%s on %s", check.Action, check.ARN)
			for _, p := range check.Pairs {
				line += fmt.Sprintf(" %s=%s", p.Name, strings.Join(p.Value.Strings(), ","))
			}
			for _, tag := range check.Tags {
				line += fmt.Sprintf(" tag %s=%s", tag.Key, tag.Value)
			}
			if check.Bare {
				line += ", no reason"
			}
			got = append(got, line)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	if op := s.Op("DestroyThing"); op.Needs[0].Action != "toy:RemoveThing" || op.Declined != "things are for ever" {
		t.Errorf("a declined operation is authorised as %s and says %q", op.Needs[0].Action, op.Declined)
	}
	if op := s.Op("Whoever"); len(op.Needs) != 0 {
		t.Errorf("a declined operation without signature asks for %v", op.Needs)
	}
	if _, err := s.Op("DestroyThing").Do(t.Context(), call, nil); err == nil || !strings.Contains(err.Error(), "NotImplemented: iamd does not implement toy:DestroyThing: things are for ever") {
		t.Errorf("a declined operation answers %v", err)
	}
	if !s.Op("ListThings").Reads() || s.Op("CreateThing").Reads() || !s.Op("ListThings").Data() || s.Op("CreateThing").Data() {
		t.Error("reads or data events are not told apart")
	}
	if s.Op("Nothing") != nil {
		t.Error("there is an operation Nothing")
	}
}

// A declined operation with a row is decided by the row, on what its input says.
func TestDecline(t *testing.T) {
	thing := ARN("arn:aws:toy:{region}:{account}:thing/{Name}")
	s := New(model(), "DestroyThing no\nWhoever no\nCreateThing things make themselves\n", Decline[CreateThingInput](thing, Key("toy:Role", "{Role}")), Handle(list, Any))
	op := s.Op("CreateThing")
	checks := op.Checks(&Call{Account: "111122223333", Region: "eu-west-1"}, &CreateThingInput{Name: "n", Role: "r"})
	if len(checks) != 1 || checks[0].Action != "toy:CreateThing" || checks[0].ARN != "arn:aws:toy:eu-west-1:111122223333:thing/n" || len(checks[0].Pairs) != 1 {
		t.Errorf("it is decided on %v", checks)
	}
	if !op.TakesInput() || s.Op("DestroyThing").TakesInput() {
		t.Error("which operations take an input is not told")
	}
	if _, err := op.Do(t.Context(), &Call{}, &CreateThingInput{}); err == nil || !strings.Contains(err.Error(), "NotImplemented: iamd does not implement toy:CreateThing: things make themselves") {
		t.Errorf("it answers %v", err)
	}
	for _, wrong := range []string{"DestroyThing no\nWhoever no\n", "DestroyThing no\nWhoever no\nCreateThing a\nCreateThing b\n"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q is taken", wrong)
				}
			}()
			New(model(), wrong, Decline[CreateThingInput](thing), Handle(list, Any))
		}()
	}
}

type WhoeverInput struct{ Token string }

// The caller of a row with By is whom its function finds in the input.
func TestBy(t *testing.T) {
	m := model()
	m.Operations[3].In = wire.Type[WhoeverInput]()
	s := New(m, "DestroyThing no\n", Handle(create, Any), Handle(list, Any),
		Handle(func(context.Context, *Call, *WhoeverInput) (*Output, error) { return &Output{}, nil }, Any,
			By(func(_ context.Context, c *Call, in *WhoeverInput) (*identity.Caller, error) {
				switch in.Token {
				case "good":
					return &identity.Caller{Type: identity.WebIdentityUser, Account: "a", UserID: in.Token}, nil
				case "bad":
					return &identity.Caller{Type: identity.WebIdentityUser}, fmt.Errorf("a bad token")
				}
				return nil, nil
			}),
			TagsOf(func(c *Call, _ *WhoeverInput) []KeyValue { return []KeyValue{{"by", c.Caller.UserID}} })))
	op := s.Op("Whoever")
	if !op.TellsCaller() || s.Op("CreateThing").TellsCaller() {
		t.Error("which operations tell their caller is not told")
	}
	for token, want := range map[string]string{"good": "WebIdentityUser a <nil>", "bad": "WebIdentityUser  a bad token", "": "User 1 toy:Whoever found no caller"} {
		c := &Call{Account: "1", Caller: &identity.Caller{Type: identity.IAMUser}}
		in := &WhoeverInput{token}
		err := op.Authenticate(t.Context(), c, in)
		if got := fmt.Sprintf("%s %s %v", c.Caller.Type, c.Account, err); got != want {
			t.Errorf("token %q: %s, want %s", token, got, want)
		}
		if tags := op.Checks(c, in)[0].Tags; len(tags) != 1 || tags[0].Value != c.Caller.UserID {
			t.Errorf("token %q: tags %v", token, tags)
		}
	}
	c := &Call{Caller: &identity.Caller{Type: identity.IAMUser}}
	if err := s.Op("CreateThing").Authenticate(t.Context(), c, &CreateThingInput{}); err != nil || c.Caller.Type != identity.IAMUser {
		t.Errorf("a signed call is given another caller: %v, %v", c.Caller, err)
	}
}

// A table that is wrong stops the server from starting.
func TestWrongTables(t *testing.T) {
	row := Handle(create, Any)
	rest := Handle(list, Any)
	for _, c := range []struct {
		name string
		make func()
		want string
	}{
		{"an operation has no row", func() { New(model(), declined, row) }, "ListThings has no row and is not declined"},
		{"an operation has two rows", func() { New(model(), declined, row, row, rest) }, "CreateThing is there twice"},
		{"a row and declined", func() { New(model(), declined+"ListThings no\n", row, rest) }, "ListThings is there twice"},
		{"declined without a reason", func() { New(model(), "DestroyThing\n", row, rest) }, "DestroyThing is declined without a reason"},
		{"declined without a reason, with an action", func() { New(model(), "DestroyThing toy:X\n", row, rest) }, "DestroyThing is declined without a reason"},
		{"declined, and unknown", func() { New(model(), declined+"Fly no wings\n", row, rest) }, "the model has no operation Fly"},
		{"no permission", func() {
			r := Handle(create, Any)
			r.needs = nil
			New(model(), declined, r, rest)
		}, "CreateThing needs no permission"},
		{"a field that is not there", func() { Handle(create, ARN("{Nmae}")) }, "has no field Nmae"},
		{"a nested field that is not there", func() { Handle(create, Any, Key("a:b", "{Nested.Nothing}")) }, "has no field Nested.Nothing"},
		{"tags that are not there", func() { Handle(list, Any, Tags("Tags")) }, "has no field Tags"},
		{"a template that does not end", func() { Handle(create, ARN("{Name")) }, "has no }"},
		{"a resource of another input", func() {
			Handle(list, On(func(*Call, *CreateThingInput) []Target { return nil }))
		}, "a resource of service.CreateThingInput is given to an operation on service.ListThingsInput"},
		{"a key of another input", func() {
			Handle(list, Any, KeyOf("a:b", func(*Call, *CreateThingInput) (policy.Value, bool) { return policy.Value{}, false }))
		}, "key a:b of"},
		{"a condition of another input", func() { Handle(list, Any, If(func(*Call, *CreateThingInput) bool { return true })) }, "a condition of"},
		{"called without a signature, and nothing tells who calls", func() {
			m := model()
			m.Operations[0].Unsigned = true
			New(m, declined, row, rest)
		}, "CreateThing is called without a signature: true, and its row tells who calls: false"},
		{"signed, and its input tells who calls", func() {
			New(model(), declined, Handle(create, Any, By(func(context.Context, *Call, *CreateThingInput) (*identity.Caller, error) { return nil, nil })), rest)
		}, "CreateThing is called without a signature: false, and its row tells who calls: true"},
		{"a caller of another input", func() {
			Handle(list, Any, By(func(context.Context, *Call, *CreateThingInput) (*identity.Caller, error) { return nil, nil }))
		}, "a way to tell the caller of"},
		{"tags of another input", func() { Handle(list, Any, TagsOf(func(*Call, *CreateThingInput) []KeyValue { return nil })) }, "tags of"},
		{"a check of another input", func() { Handle(list, Any, Before(func(*Call, *CreateThingInput) error { return nil })) }, "a check of"},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, c.want) {
					t.Errorf("panics with %q, want %q", got, c.want)
				}
			}()
			c.make()
		})
	}
}

func TestMay(t *testing.T) {
	c := &Call{Authorize: func(a policy.Action, _ arn.ARN, _ ...Pair) error {
		if a == "s3:ListBucket" {
			return nil
		}
		return fmt.Errorf("no")
	}}
	if !c.May("s3:ListBucket", "*") || c.May("s3:PutObject", "*") {
		t.Error("May does not follow Authorize")
	}
}
