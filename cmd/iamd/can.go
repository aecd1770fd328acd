package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/spf13/cobra"

	"github.com/iamd-dev/iamd/arn"
)

// errRefused is the answer no. It is printed as an answer and not as an error.
var errRefused = errors.New("refused")

func newCan() *cobra.Command {
	t := &target{}
	asJSON := false
	cmd := &cobra.Command{
		Use:   "can PRINCIPAL ACTION [RESOURCE] [KEY=VALUE...] [flags]",
		Short: "Ask a running server whether somebody may do something",
		Long: `Can asks the running server whether a user or role may take an action on a
resource, without trying, and answers in one line with the reason.

PRINCIPAL is an ARN, or user/NAME, role/NAME, group/NAME, or just a NAME of a user
or else a role in the account that asks. RESOURCE is an ARN, s3://BUCKET/KEY or * and
is * when there is none. KEY=VALUE gives the request a condition key, as
aws:SourceIp=10.1.2.3; one that is given several times has several values.

The server decides as it would a call, with the policies of the principal and its
groups, its boundary, the trust policy of a role to be assumed, and the policy of a
bucket. What it cannot know without a call (addresses, tags of resources, session
policies) is not there unless it is given. One asks with iam:SimulatePrincipalPolicy,
as the profile or, unless --profile says who to be, as the root of the account that
PRINCIPAL names.

The exit status is 0 when it may, 1 when it may not, and 2 when there is no answer.`,
		Example: `  iamd can alice s3:GetObject s3://reports/q3.csv
  iamd can role/deploy sts:AssumeRole arn:aws:iam::444455556666:role/target
  iamd can arn:aws:iam::111122223333:user/bob s3:ListBucket s3://reports s3:prefix=bob/ aws:SourceIp=10.1.2.3
  iamd can ci iam:PassRole arn:aws:iam::111122223333:role/task iam:PassedToService=lambda.amazonaws.com && make deploy`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usageError{fmt.Errorf("%s needs a principal and an action: see %[1]s --help", cmd.CommandPath())}
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := questionOf(args)
			if err != nil {
				return usageError{err}
			}
			if !cmd.Flags().Changed("profile") {
				t.beRootOf(arn.ARN(q.principal).Account())
			}
			result, err := t.can(cmd.Context(), q, cmd.ErrOrStderr())
			if err != nil {
				return usageError{err} // no answer is not a refusal
			}
			if asJSON {
				err = json.NewEncoder(cmd.OutOrStdout()).Encode(result)
			} else {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), q.answer(result))
			}
			if err == nil && result.EvalDecision != types.PolicyEvaluationDecisionTypeAllowed {
				return errRefused
			}
			return err
		},
	}
	t.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the server's EvaluationResult")
	return cmd
}

// A question is what iamd can is asked.
type question struct {
	principal, action, resource string
	keys                        []types.ContextEntry
}

func questionOf(args []string) (*question, error) {
	q := &question{principal: args[0], action: args[1], resource: "*"}
	rest := args[2:]
	if len(rest) > 0 && (rest[0] == "*" || strings.HasPrefix(rest[0], "arn:") || strings.HasPrefix(rest[0], "s3://") || !strings.Contains(rest[0], "=")) {
		q.resource, rest = rest[0], rest[1:]
	}
	if path, ok := strings.CutPrefix(q.resource, "s3://"); ok {
		q.resource = "arn:aws:s3:::" + path
	}
	if q.resource != "*" {
		if _, err := arn.Parse(q.resource); err != nil {
			return nil, fmt.Errorf("the resource is an ARN, s3://BUCKET/KEY or *, not %q", q.resource)
		}
	}
	if !strings.Contains(q.action, ":") {
		return nil, fmt.Errorf("an action is like s3:GetObject, not %q", q.action)
	}
	for _, pair := range rest {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("%q is not of the form key=value", pair)
		}
		i := slices.IndexFunc(q.keys, func(e types.ContextEntry) bool { return strings.EqualFold(*e.ContextKeyName, key) })
		if i < 0 {
			q.keys = append(q.keys, types.ContextEntry{ContextKeyName: &key, ContextKeyValues: []string{value}, ContextKeyType: types.ContextKeyTypeEnumString})
			continue
		}
		q.keys[i].ContextKeyValues = append(q.keys[i].ContextKeyValues, value)
		q.keys[i].ContextKeyType = types.ContextKeyTypeEnumStringList
	}
	return q, nil
}

// beRootOf makes the root of the account the profile, if it has one.
func (t *target) beRootOf(account string) {
	c, err := readCredentials(filepath.Join(t.data, "credentials"))
	if err == nil && c.profile(rootPrefix+account) != nil {
		t.profile = rootPrefix + account
	}
}

// can asks the server. What the answer does not take into account is written to notes.
func (t *target) can(ctx context.Context, q *question, notes io.Writer) (*types.EvaluationResult, error) {
	cfg, err := t.config()
	if err != nil {
		return nil, err
	}
	asked := iam.NewFromConfig(cfg)
	if q.principal, err = principalARN(ctx, asked, q.principal); err != nil {
		return nil, err
	}
	in := &iam.SimulatePrincipalPolicyInput{PolicySourceArn: &q.principal, ActionNames: []string{q.action}, ContextEntries: q.keys}
	if q.resource != "*" {
		in.ResourceArns = []string{q.resource}
	}
	if a := arn.ARN(q.resource); a.Service() == "s3" {
		bucket, _, _ := strings.Cut(a.Resource(), "/")
		out, err := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }).GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: &bucket})
		switch {
		case err == nil:
			in.ResourcePolicy = out.Policy
		case errorCode(err) != "NoSuchBucketPolicy":
			fmt.Fprintf(notes, "iamd: the policy of bucket %s is left out: %s\n", bucket, told(err))
		}
	}
	out, err := asked.SimulatePrincipalPolicy(ctx, in)
	if err != nil {
		return nil, errors.New(told(err))
	}
	if len(out.EvaluationResults) != 1 {
		return nil, fmt.Errorf("the server gives %d answers", len(out.EvaluationResults))
	}
	return &out.EvaluationResults[0], nil
}

// principalARN finds the ARN of a principal that is given by name.
func principalARN(ctx context.Context, c *iam.Client, name string) (string, error) {
	if strings.HasPrefix(name, "arn:") {
		return name, nil
	}
	find := map[string]func(*string) (*string, error){
		"user": func(n *string) (*string, error) {
			out, err := c.GetUser(ctx, &iam.GetUserInput{UserName: n})
			if err != nil {
				return nil, err
			}
			return out.User.Arn, nil
		},
		"role": func(n *string) (*string, error) {
			out, err := c.GetRole(ctx, &iam.GetRoleInput{RoleName: n})
			if err != nil {
				return nil, err
			}
			return out.Role.Arn, nil
		},
		"group": func(n *string) (*string, error) {
			out, err := c.GetGroup(ctx, &iam.GetGroupInput{GroupName: n})
			if err != nil {
				return nil, err
			}
			return out.Group.Arn, nil
		},
	}
	kinds := []string{"user", "role"}
	if kind, rest, ok := strings.Cut(name, "/"); ok {
		if find[kind] == nil {
			return "", fmt.Errorf("a principal is an ARN, user/NAME, role/NAME, group/NAME or a NAME, not %q", name)
		}
		kinds, name = []string{kind}, rest[strings.LastIndexByte(rest, '/')+1:]
	}
	for _, kind := range kinds {
		a, err := find[kind](&name)
		if err == nil {
			return *a, nil
		}
		if errorCode(err) != "NoSuchEntity" {
			return "", errors.New(told(err))
		}
	}
	return "", fmt.Errorf("there is no %s %s in the account", strings.Join(kinds, " or "), name)
}

func errorCode(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

// told is what the server says, without what the SDK says around it.
func told(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode() + ": " + e.ErrorMessage()
	}
	return err.Error()
}

// answer is the decision and its reason in one line.
func (q *question) answer(r *types.EvaluationResult) string {
	matched, missing := r.MatchedStatements, r.MissingContextValues
	within, byOrganization := r.PermissionsBoundaryDecisionDetail, r.OrganizationsDecisionDetail
	first := "a policy"
	if len(matched) > 0 {
		s := matched[0]
		first = *s.SourcePolicyId
		if s.StartPosition != nil {
			first += fmt.Sprintf(" (line %d, column %d)", s.StartPosition.Line, s.StartPosition.Column)
		}
	}
	line := fmt.Sprintf("%s may %s on %s: ", q.principal, q.action, q.resource)
	if r.EvalDecision == types.PolicyEvaluationDecisionTypeAllowed {
		return "yes  " + line + first + " allows it"
	}
	line = fmt.Sprintf("no   %s may not %s on %s: ", q.principal, q.action, q.resource)
	switch {
	case r.EvalDecision == types.PolicyEvaluationDecisionTypeExplicitDeny && len(matched) > 0:
		line += first + " denies it"
	case byOrganization != nil && !byOrganization.AllowedByOrganizations:
		line += "the service control policies do not allow it"
	case r.EvalDecision == types.PolicyEvaluationDecisionTypeExplicitDeny:
		line += "a policy denies it"
	case within != nil && !within.AllowedByPermissionsBoundary:
		line += "the permissions boundary does not allow it"
	case strings.EqualFold(q.action, "sts:AssumeRole"):
		line += "the role's trust policy and the principal's policies do not both allow it"
	default:
		line += "no policy allows it"
	}
	if len(missing) > 0 {
		line += "; conditions ask for " + strings.Join(missing, ", ")
	}
	return line
}
