package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/spf13/cobra"

	"github.com/iamd-dev/iamd/internal/aws/iam"
)

func newExport() *cobra.Command {
	t := &target{}
	cmd := &cobra.Command{
		Use:   "export [flags]",
		Short: "Print an account as get-account-authorization-details does",
		Long: `Export prints the users, groups, roles and policies of an account of the running
server in the form in which the AWS CLI prints get-account-authorization-details.
iamd import makes an account of it again.`,
		Example: `  iamd export > account.json
  iamd export --profile root-444455556666 | jq '.RoleDetailList[].RoleName'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			details, err := t.export(cmd.Context())
			if err != nil {
				return err
			}
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetEscapeHTML(false)
			e.SetIndent("", "    ")
			return e.Encode(details)
		},
	}
	t.register(cmd)
	return cmd
}

// export reads the account, page by page.
func (t *target) export(ctx context.Context) (*iam.AccountDetails, error) {
	cfg, err := t.config()
	if err != nil {
		return nil, err
	}
	all := &iam.AccountDetails{UserDetailList: []iam.UserDetails{}, GroupDetailList: []iam.GroupDetails{}, RoleDetailList: []iam.RoleDetails{}, Policies: []iam.PolicyDetails{}}
	pages := sdk.NewGetAccountAuthorizationDetailsPaginator(sdk.NewFromConfig(cfg), &sdk.GetAccountAuthorizationDetailsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, errors.New(told(err))
		}
		for _, u := range page.UserDetailList {
			all.UserDetailList = append(all.UserDetailList, iam.UserDetails{
				Path: text(u.Path), UserName: text(u.UserName), UserId: text(u.UserId), Arn: text(u.Arn), CreateDate: stamp(u.CreateDate),
				UserPolicyList: inlineOf(u.UserPolicyList), GroupList: append([]string{}, u.GroupList...), AttachedManagedPolicies: attachedOf(u.AttachedManagedPolicies),
				PermissionsBoundary: boundaryOf(u.PermissionsBoundary), Tags: tagsOf(u.Tags),
			})
		}
		for _, g := range page.GroupDetailList {
			all.GroupDetailList = append(all.GroupDetailList, iam.GroupDetails{
				Path: text(g.Path), GroupName: text(g.GroupName), GroupId: text(g.GroupId), Arn: text(g.Arn), CreateDate: stamp(g.CreateDate),
				GroupPolicyList: orEmpty(inlineOf(g.GroupPolicyList)), AttachedManagedPolicies: attachedOf(g.AttachedManagedPolicies),
			})
		}
		for _, r := range page.RoleDetailList {
			d := iam.RoleDetails{
				Path: text(r.Path), RoleName: text(r.RoleName), RoleId: text(r.RoleId), Arn: text(r.Arn), CreateDate: stamp(r.CreateDate),
				AssumeRolePolicyDocument: document(r.AssumeRolePolicyDocument), InstanceProfileList: []iam.ProfileDetails{},
				RolePolicyList: orEmpty(inlineOf(r.RolePolicyList)), AttachedManagedPolicies: attachedOf(r.AttachedManagedPolicies),
				PermissionsBoundary: boundaryOf(r.PermissionsBoundary), Tags: tagsOf(r.Tags), RoleLastUsed: &iam.LastUsedDetails{},
			}
			for _, p := range r.InstanceProfileList {
				v := iam.ProfileDetails{Path: text(p.Path), InstanceProfileName: text(p.InstanceProfileName), InstanceProfileId: text(p.InstanceProfileId), Arn: text(p.Arn), CreateDate: stamp(p.CreateDate), Roles: []iam.RoleInProfile{}}
				for _, in := range p.Roles {
					v.Roles = append(v.Roles, iam.RoleInProfile{Path: text(in.Path), RoleName: text(in.RoleName), RoleId: text(in.RoleId), Arn: text(in.Arn), CreateDate: stamp(in.CreateDate), AssumeRolePolicyDocument: document(in.AssumeRolePolicyDocument)})
				}
				for _, tag := range p.Tags {
					v.Tags = append(v.Tags, iam.TagDetails{Key: text(tag.Key), Value: text(tag.Value)})
				}
				d.InstanceProfileList = append(d.InstanceProfileList, v)
			}
			if used := r.RoleLastUsed; used != nil {
				d.RoleLastUsed = &iam.LastUsedDetails{LastUsedDate: stamp(used.LastUsedDate), Region: text(used.Region)}
			}
			all.RoleDetailList = append(all.RoleDetailList, d)
		}
		for _, p := range page.Policies {
			d := iam.PolicyDetails{
				PolicyName: text(p.PolicyName), PolicyId: text(p.PolicyId), Arn: text(p.Arn), Path: text(p.Path), DefaultVersionId: text(p.DefaultVersionId),
				AttachmentCount: int(aws.ToInt32(p.AttachmentCount)), PermissionsBoundaryUsageCount: int(aws.ToInt32(p.PermissionsBoundaryUsageCount)), IsAttachable: p.IsAttachable,
				Description: text(p.Description), CreateDate: stamp(p.CreateDate), UpdateDate: stamp(p.UpdateDate), PolicyVersionList: []iam.VersionDetails{},
			}
			for _, v := range p.PolicyVersionList {
				d.PolicyVersionList = append(d.PolicyVersionList, iam.VersionDetails{Document: document(v.Document), VersionId: text(v.VersionId), IsDefaultVersion: v.IsDefaultVersion, CreateDate: stamp(v.CreateDate)})
			}
			all.Policies = append(all.Policies, d)
		}
	}
	return all, nil
}

func text(s *string) string { return aws.ToString(s) }

func stamp(t *time.Time) *iam.Stamp { return iam.StampOf(aws.ToTime(t)) }

// document is a policy document as the API answers it, percent-encoded, in plain text.
func document(s *string) iam.PolicyText {
	plain, err := url.PathUnescape(text(s))
	if err != nil {
		return iam.PolicyText(text(s))
	}
	return iam.PolicyText(plain)
}

func inlineOf(list []types.PolicyDetail) []iam.InlineDetails {
	var all []iam.InlineDetails
	for _, p := range list {
		all = append(all, iam.InlineDetails{PolicyName: text(p.PolicyName), PolicyDocument: document(p.PolicyDocument)})
	}
	return all
}

// orEmpty is a list that is printed although it is empty.
func orEmpty(list []iam.InlineDetails) []iam.InlineDetails {
	if list == nil {
		return []iam.InlineDetails{}
	}
	return list
}

func attachedOf(list []types.AttachedPolicy) []iam.AttachedDetails {
	all := []iam.AttachedDetails{}
	for _, p := range list {
		all = append(all, iam.AttachedDetails{PolicyName: text(p.PolicyName), PolicyArn: text(p.PolicyArn)})
	}
	return all
}

func boundaryOf(b *types.AttachedPermissionsBoundary) *iam.BoundaryDetails {
	if b == nil {
		return nil
	}
	return &iam.BoundaryDetails{PermissionsBoundaryType: string(b.PermissionsBoundaryType), PermissionsBoundaryArn: text(b.PermissionsBoundaryArn)}
}

func tagsOf(list []types.Tag) []iam.TagDetails {
	all := []iam.TagDetails{}
	for _, t := range list {
		all = append(all, iam.TagDetails{Key: text(t.Key), Value: text(t.Value)})
	}
	return all
}
