package iamd_test

import (
	"context"
	"fmt"
	"net/netip"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/accessanalyzer"
	"github.com/iamd-dev/iamd/internal/aws/cloudformation"
	"github.com/iamd-dev/iamd/internal/aws/codebuild"
	"github.com/iamd-dev/iamd/internal/aws/codepipeline"
	"github.com/iamd-dev/iamd/internal/aws/dynamodb"
	"github.com/iamd-dev/iamd/internal/aws/ec2"
	"github.com/iamd-dev/iamd/internal/aws/ecs"
	"github.com/iamd-dev/iamd/internal/aws/iam"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/aws/lambda"
	"github.com/iamd-dev/iamd/internal/aws/organizations"
	"github.com/iamd-dev/iamd/internal/aws/s3"
	"github.com/iamd-dev/iamd/internal/aws/ssm"
	"github.com/iamd-dev/iamd/internal/aws/sts"
	"github.com/iamd-dev/iamd/internal/data"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/reference"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

const account = "123456789012"

// tables are the services of the program. Building them has checked already that every
// operation has a row or stands in declined.txt with a reason, and that the fields that
// rows name are there.
func tables(t *testing.T, db *store.DB) []*service.Service {
	t.Helper()
	objects, err := data.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { objects.Close() })
	buckets, err := s3.New(db, objects)
	if err != nil {
		t.Fatal(err)
	}
	return []*service.Service{(&iam.Service{DB: db}).AWS(), (&sts.Service{}).AWS(), (&organizations.Service{DB: db}).AWS(), buckets.AWS(),
		(&dynamodb.Service{DB: db}).AWS(), (&dynamodb.Service{DB: db}).Streams(), (&ec2.Service{DB: db, Machines: &ec2.Machines{}}).AWS(), (&codepipeline.Service{DB: db}).AWS(), (&ecs.Service{DB: db}).AWS(), (&codebuild.Service{DB: db}).AWS(), (&lambda.Service{DB: db}).AWS(), (&accessanalyzer.Service{}).AWS(), (&ssm.Service{DB: db}).AWS(),
		(&ssm.Service{DB: db}).Messages(), (&ssm.Service{DB: db}).Gateway(),
		(&cloudformation.Service{DB: db}).AWS()}
}

// undocumented are what a row says and AWS's reference does not, with the reason.
// An entry that is not needed fails.
var undocumented = map[string]string{
	"there is no action iam:UpdateDelegationRequest": "IAM User Guide, Managing Permissions for Delegation Requests, has it; the reference of September 2026 has not",
	"sts:TagSession is not authorised on arn:aws:sts::" + account + ":federated-user/sample": "the reference gives roles alone; " +
		"IAM User Guide, Pass session tags: GetFederationToken with tags needs it too",
}

// A row must ask for an action that exists, with condition keys that exist for it, on
// what the action can be authorised on. What a row is about is found by functions, so
// each operation is tried on two inputs, one with every field and one with the required
// ones, by a user who exists.
func TestTablesAgreeWithTheReference(t *testing.T) {
	excused := make(map[string]bool)
	complain := func(op *service.Op, what string) {
		if undocumented[what] != "" {
			excused[what] = true
			return
		}
		t.Errorf("%s: %s", op.Name, what)
	}
	db := sampleState(t)
	call := sampleCall(db)
	operations := 0
	for _, s := range tables(t, db) {
		for op := range s.Ops {
			operations++
			for _, n := range op.Needs {
				a, ok := reference.LookupAction(string(n.Action))
				if !ok {
					complain(op, fmt.Sprintf("there is no action %s", n.Action))
					continue
				}
				if a.String() != string(n.Action) {
					t.Errorf("%s: action %s is written %s", op.Name, n.Action, a)
				}
				for _, key := range n.Keys() {
					if !documented(a, key) {
						complain(op, fmt.Sprintf("%s has no condition key %s", a, key))
					}
				}
			}
			if !op.TakesInput() {
				continue
			}
			for _, all := range []bool{true, false} {
				in := op.New()
				fill(reflect.ValueOf(in).Elem(), all, 0)
				for _, c := range op.Checks(call, in) {
					a, ok := reference.LookupAction(string(c.Action))
					if !ok {
						complain(op, fmt.Sprintf("there is no action %s", c.Action))
						continue
					}
					if !authorisedOn(a, c.ARN) {
						complain(op, fmt.Sprintf("%s is not authorised on %s", a, c.ARN))
					}
				}
			}
		}
	}
	for what := range undocumented {
		if !excused[what] {
			t.Errorf("undocumented has %q, which no row needs", what)
		}
	}
	if operations == 0 {
		t.Error("there are no operations")
	}
}

// documented tells whether the reference gives the key for the action: for it, for one
// of its resource types, or for all actions.
func documented(a *reference.Action, key string) bool {
	is := func(name string) bool { return strings.EqualFold(name, key) }
	if slices.ContainsFunc(a.Keys, is) {
		return true
	}
	s, _ := reference.LookupService(a.Service)
	for _, r := range a.Resources {
		if slices.ContainsFunc(r.Keys, is) || slices.ContainsFunc(s.Resource(r.Name).Keys, is) {
			return true
		}
	}
	return slices.ContainsFunc(reference.GlobalKeys(), func(k reference.Key) bool { return is(k.Name) })
}

// authorisedOn tells whether the ARN has the form of one of the action's resource
// types; "*" is the form of none.
func authorisedOn(a *reference.Action, on arn.ARN) bool {
	if len(a.Resources) == 0 || on == "*" {
		return len(a.Resources) == 0 && on == "*"
	}
	s, _ := reference.LookupService(a.Service)
	return slices.ContainsFunc(a.Resources, func(r reference.ActionResource) bool {
		return on.Match(s.Resource(r.Name).Pattern())
	})
}

// sampleState holds one user, named "sample"; nothing else that the sample inputs name is there.
func sampleState(t *testing.T) *store.DB {
	t.Helper()
	ctx := context.Background()
	db, err := store.Open(ctx, store.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Update(ctx, func(tx *store.Tx) error {
		identity.Accounts.Put(tx, account, &identity.Account{ID: account})
		identity.Users.Put(tx, identity.Key(account, "sample"), sampleUser())
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return db
}

func sampleUser() *identity.User {
	return &identity.User{User: api.User{UserName: "sample", Path: "/", UserId: "AIDASAMPLE", Arn: "arn:aws:iam::" + account + ":user/sample"}}
}

func sampleCall(db *store.DB) *service.Call {
	return &service.Call{
		Account: account, Caller: identity.UserCaller(sampleUser(), "AKIASAMPLE"), State: db.View(), Time: time.Unix(1_800_000_000, 0).UTC(),
		RequestID: "sample", Region: "us-east-1",
		Source: service.Source{IP: netip.MustParseAddr("127.0.0.1"), Headers: func(string) string { return "" }},
	}
}

// samples are values for fields whose text has a form, by name or, where services differ,
// SERVICE:NAME; others are "sample".
var samples = map[string]string{
	"ServiceRole":                 "arn:aws:iam::" + account + ":role/sample",
	"ServiceRoleOverride":         "arn:aws:iam::" + account + ":role/sample",
	"RoleArn":                     "arn:aws:iam::" + account + ":role/sample",
	"RoleARN":                     "arn:aws:iam::" + account + ":role/sample",
	"Role":                        "arn:aws:iam::" + account + ":role/sample",
	"Resource":                    "arn:aws:lambda:us-east-1:" + account + ":function:sample",
	"PolicyArn":                   "arn:aws:iam::" + account + ":policy/sample",
	"PermissionsBoundary":         "arn:aws:iam::" + account + ":policy/sample",
	"PolicySourceArn":             "arn:aws:iam::" + account + ":user/sample",
	"Arn":                         "arn:aws:iam::" + account + ":user/sample",
	"arn":                         "arn:aws:iam::" + account + ":policy/sample",
	"SerialNumber":                "arn:aws:iam::" + account + ":mfa/sample",
	"OpenIDConnectProviderArn":    "arn:aws:iam::" + account + ":oidc-provider/sample",
	"SAMLProviderArn":             "arn:aws:iam::" + account + ":saml-provider/sample",
	"Path":                        "/",
	"NewPath":                     "/",
	"PathPrefix":                  "/",
	"CopySource":                  "sample/sample",
	"ResourceType":                "Parameter",
	"ecs:ResourceArn":             "arn:aws:ecs:us-east-1:" + account + ":cluster/sample",
	"ResourceArn":                 "arn:aws:dynamodb:us-east-1:" + account + ":table/sample",
	"StreamArn":                   "arn:aws:dynamodb:us-east-1:" + account + ":table/sample/stream/sample",
	"ShardIterator":               "arn:aws:dynamodb:us-east-1:" + account + ":table/sample/stream/sample|1|sample",
	"TableArn":                    "arn:aws:dynamodb:us-east-1:" + account + ":table/sample",
	"BackupArn":                   "arn:aws:dynamodb:us-east-1:" + account + ":table/sample/backup/sample",
	"ExportArn":                   "arn:aws:dynamodb:us-east-1:" + account + ":table/sample/export/sample",
	"ImportArn":                   "arn:aws:dynamodb:us-east-1:" + account + ":table/sample/import/sample",
	"TemplateArn":                 "arn:aws:iam::aws:role-template/iam.amazonaws.com/PowerUserRoleTemplate:1",
	"Policy":                      `{"Version":"2012-10-17","Statement":[]}`,
	"AssumeRolePolicyDocument":    `{"Version":"2012-10-17","Statement":[]}`,
	"PolicyDocument":              `{"Version":"2012-10-17","Statement":[]}`,
	"AccessKeyId":                 "AKIASAMPLESAMPLESAMP",
	"ServiceSpecificCredentialId": "ACCASAMPLESAMPLESAMP",
	"AccountId":                   account,
	"TargetPrincipal":             account,
	"TargetId":                    account,
	"ResourceId":                  account,
	"ChildId":                     account,
	"RootId":                      "r-samp",
	"ParentId":                    "r-samp",
	"SourceParentId":              "r-samp",
	"DestinationParentId":         "ou-samp-samplesample",
	"OrganizationalUnitId":        "ou-samp-samplesample",
	"HandshakeId":                 "h-samplesample",
	"PolicyId":                    "p-samplesample",
}

// fill gives values to the fields of an input: all of them or the required ones.
func fill(v reflect.Value, all bool, depth int) {
	if depth > 4 {
		return
	}
	for i := range v.NumField() {
		f, field := v.Type().Field(i), v.Field(i)
		_, options, _ := strings.Cut(f.Tag.Get("wire"), ",")
		if !field.CanSet() || !all && !slices.Contains(strings.Split(options, ","), "req") {
			continue
		}
		name := f.Name
		if own := path.Base(path.Dir(v.Type().PkgPath())) + ":" + name; samples[own] != "" {
			name = own
		}
		fillOne(field, name, all, depth)
	}
}

func fillOne(field reflect.Value, name string, all bool, depth int) {
	switch field.Kind() {
	case reflect.String:
		text, ok := samples[name]
		if !ok {
			text = "sample"
		}
		field.SetString(text)
	case reflect.Slice:
		if field.Type().Elem().Kind() != reflect.Uint8 {
			field.Set(reflect.MakeSlice(field.Type(), 1, 1))
			fillOne(field.Index(0), strings.TrimSuffix(name, "s"), all, depth+1)
		}
	case reflect.Pointer:
		field.Set(reflect.New(field.Type().Elem()))
		fillOne(field.Elem(), name, all, depth)
	case reflect.Struct:
		if field.Type() != reflect.TypeFor[time.Time]() {
			fill(field, all, depth+1)
		}
	}
}
