package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/internal/aws/lambda/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

// A statement is one permission, as AWS writes it: one for each AddPermission.
type statement struct {
	Sid       string
	Effect    string
	Principal json.RawMessage
	Action    string
	Resource  string
	Condition map[string]map[string]string `json:",omitempty"`
}

// A document is the resource-based policy of a function, a version or an alias.
type document struct {
	Version   string
	ID        string `json:"Id"`
	Statement []statement
}

const largestPolicy = 20 << 10

// readPolicy is what a kept policy says.
func readPolicy(d identity.Document) document {
	doc := document{Version: "2012-10-17", ID: "default"}
	if !d.IsZero() {
		if err := json.Unmarshal([]byte(d.String()), &doc); err != nil {
			panic("lambda: a kept policy cannot be read: " + err.Error())
		}
	}
	return doc
}

// keep makes the document what the store keeps: principals by unique id, as in IAM, so that
// who is made again under the same name has no part in it.
func (d document) keep(r store.Reader) (identity.Document, error) {
	if len(d.Statement) == 0 {
		return identity.Document{}, nil
	}
	text, err := json.Marshal(d)
	if err != nil {
		return identity.Document{}, err
	}
	if len(text) > largestPolicy {
		return identity.Document{}, api.PolicyLengthExceeded("The final policy size (%d) is bigger than the limit (%d).", len(text), largestPolicy)
	}
	if _, err := policy.CheckResource(text, "lambda"); err != nil {
		return identity.Document{}, api.InvalidParameterValue("The statement is not one that a policy can have: %v", err)
	}
	kept, err := identity.BindTrust(r, string(text))
	if _, bad := errors.AsType[*identity.PrincipalError](err); bad {
		return identity.Document{}, invalidPrincipal()
	}
	return kept, err
}

func invalidPrincipal() error {
	return api.InvalidParameterValue("The provided principal was invalid. Please check the principal and try again.")
}

// newStatement is the statement that AddPermission makes, on what n names.
func newStatement(n name, in *api.AddPermissionInput) (statement, error) {
	s := statement{Sid: in.StatementId, Effect: "Allow", Action: in.Action, Resource: string(n.arn())}
	var who any
	switch {
	case in.Principal == "*":
		who = "*"
	case identity.ValidAccount(in.Principal):
		who = map[string]string{"AWS": string(identity.RootARN(in.Principal))}
	case strings.HasPrefix(in.Principal, "arn:"):
		who = map[string]string{"AWS": in.Principal}
	case strings.Contains(in.Principal, "."):
		who = map[string]string{"Service": in.Principal}
	default:
		return s, invalidPrincipal()
	}
	var err error
	if s.Principal, err = json.Marshal(who); err != nil {
		return s, err
	}
	condition := func(operator, key, value string) {
		if value == "" {
			return
		}
		if s.Condition == nil {
			s.Condition = map[string]map[string]string{}
		}
		if s.Condition[operator] == nil {
			s.Condition[operator] = map[string]string{}
		}
		s.Condition[operator][key] = value
	}
	if in.FunctionUrlAuthType != "" && in.Action != "lambda:InvokeFunctionUrl" {
		return s, api.InvalidParameterValue("FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action")
	}
	condition("StringEquals", "lambda:FunctionUrlAuthType", in.FunctionUrlAuthType)
	condition("StringEquals", "aws:PrincipalOrgID", in.PrincipalOrgID)
	condition("StringEquals", "AWS:SourceAccount", in.SourceAccount)
	condition("StringEquals", "lambda:EventSourceToken", in.EventSourceToken)
	condition("ArnLike", "AWS:SourceArn", in.SourceArn)
	if in.InvokedViaFunctionUrl != nil && *in.InvokedViaFunctionUrl {
		condition("Bool", "lambda:InvokedViaFunctionUrl", "true")
	}
	return s, nil
}

// holder checks that what a permission is about is there and that its revision is the
// one asked for, and gives it another revision.
func holder(tx *store.Tx, n name, f *Function, revision string) error {
	if a := f.Aliases[n.qualifier]; a != nil {
		if err := checkRevision(revision, a.Revision); err != nil {
			return err
		}
		a.Revision = newRevision()
		return nil
	}
	if isAlias(n.qualifier) {
		return noAlias(n, n.qualifier)
	}
	_, v, err := find(tx, n)
	if err != nil {
		return err
	}
	if err := checkRevision(revision, v.Config.RevisionId); err != nil {
		return err
	}
	v.Config.RevisionId = newRevision()
	versions.Put(tx, versionKey(n, v.Config.Version), v)
	return nil
}

func (s *Service) addPermission(ctx context.Context, c *service.Call, in *api.AddPermissionInput) (*api.AddPermissionOutput, error) {
	n, err := parseName(c, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	if n.qualifier == latest {
		return nil, api.InvalidParameterValue("We currently do not support adding policies for $LATEST.")
	}
	made, err := newStatement(n, in)
	if err != nil {
		return nil, err
	}
	err = s.changeFunction(ctx, n, func(tx *store.Tx, f *Function) error {
		doc := readPolicy(f.Policies[n.qualifier])
		if slices.ContainsFunc(doc.Statement, func(s statement) bool { return s.Sid == in.StatementId }) {
			return api.ResourceConflict("The statement id (%s) provided already exists. Please provide a new statement id, or remove the existing statement.", in.StatementId)
		}
		if err := holder(tx, n, f, in.RevisionId); err != nil {
			return err
		}
		doc.Statement = append(doc.Statement, made)
		kept, err := doc.keep(tx)
		if err != nil {
			return err
		}
		if f.Policies == nil {
			f.Policies = map[string]identity.Document{}
		}
		f.Policies[n.qualifier] = kept
		return nil
	})
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(made)
	return &api.AddPermissionOutput{Statement: string(text)}, err
}

func (s *Service) removePermission(ctx context.Context, c *service.Call, in *api.RemovePermissionInput) (*api.RemovePermissionOutput, error) {
	n, err := parseName(c, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	if functions.Get(c.State, n.key()) == nil {
		return nil, api.ResourceNotFound("No policy found for: %s", n.functionARN())
	}
	return &api.RemovePermissionOutput{}, s.changeFunction(ctx, n, func(tx *store.Tx, f *Function) error {
		kept := f.Policies[n.qualifier]
		if kept.IsZero() {
			return api.ResourceNotFound("No policy is associated with the given resource.")
		}
		doc := readPolicy(kept)
		before := len(doc.Statement)
		doc.Statement = slices.DeleteFunc(doc.Statement, func(s statement) bool { return s.Sid == in.StatementId })
		if len(doc.Statement) == before {
			return api.ResourceNotFound("Statement %s is not found in resource policy.", in.StatementId)
		}
		if err := holder(tx, n, f, in.RevisionId); err != nil {
			return err
		}
		if len(doc.Statement) == 0 {
			delete(f.Policies, n.qualifier)
			return nil
		}
		text, err := json.Marshal(doc) // principals are bound already, and one who is gone stays
		f.Policies[n.qualifier] = identity.NewDocument(string(text))
		return err
	})
}

// removedPrincipal is lambda:Principal of a call that removes a statement: the statement's.
func removedPrincipal(c *service.Call, in *api.RemovePermissionInput) (policy.Value, bool) {
	n, err := parseName(c, in.FunctionName, in.Qualifier)
	if err != nil {
		return policy.Value{}, false
	}
	f := functions.Get(c.State, n.key())
	if f == nil || f.Policies[n.qualifier].IsZero() {
		return policy.Value{}, false
	}
	shown := readPolicy(identity.NewDocument(identity.ShowTrust(c.State, f.Policies[n.qualifier])))
	for _, s := range shown.Statement {
		if s.Sid != in.StatementId {
			continue
		}
		var one string
		if json.Unmarshal(s.Principal, &one) == nil {
			return policy.String(one), true
		}
		var who map[string]string
		if json.Unmarshal(s.Principal, &who) != nil {
			return policy.Value{}, false
		}
		for _, value := range who {
			if account, ok := strings.CutSuffix(strings.TrimPrefix(value, "arn:aws:iam::"), ":root"); ok {
				value = account
			}
			return policy.String(value), true
		}
	}
	return policy.Value{}, false
}

func (s *Service) getPolicy(_ context.Context, c *service.Call, in *api.GetPolicyInput) (*api.GetPolicyOutput, error) {
	n, err := parseName(c, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	f, err := n.with("").lookup(c.State)
	if err != nil {
		return nil, err
	}
	kept := f.Policies[n.qualifier]
	if kept.IsZero() {
		return nil, api.ResourceNotFound("The resource you requested does not exist.")
	}
	out := &api.GetPolicyOutput{Policy: identity.ShowTrust(c.State, kept)}
	if a := f.Aliases[n.qualifier]; a != nil {
		out.RevisionId = a.Revision
	} else if _, v, err := find(c.State, n); err == nil {
		out.RevisionId = v.Config.RevisionId
	}
	return out, nil
}
