package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/spf13/cobra"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/identity"
)

// processCredentials are credentials as AWS clients read them from a
// credential_process (AWS SDKs and Tools Reference Guide, "Process credential provider").
type processCredentials struct {
	Version         int
	AccessKeyID     string     `json:"AccessKeyId"`
	SecretAccessKey string     // the command is there to print it
	SessionToken    string     `json:",omitempty"`
	Expiration      *time.Time `json:",omitempty"`
	AccountID       string     `json:"AccountId,omitempty"`
}

func newCredentials() *cobra.Command {
	t := &target{}
	in := &sts.AssumeRoleInput{}
	var role, session, externalID, sourceIdentity, serial, code string
	var duration time.Duration
	cmd := &cobra.Command{
		Use:   "credentials [flags]",
		Short: "Print credentials as AWS clients take them from a credential_process",
		Long: `Credentials prints the access key of a profile of DIR/credentials or, with
--role-arn, of a session of a role that the profile assumes, in the form that the
AWS CLI and the SDKs read from a credential_process. Clients ask again when a
session is about to expire.

A profile of ~/.aws/config that is a role of the server:

  [profile reader]
  credential_process = iamd credentials --profile alice --role-arn arn:aws:iam::123456789012:role/Reader
  endpoint_url = http://127.0.0.1:4600

The root of an account cannot assume roles; --credentials names another file of
profiles, such as ~/.aws/credentials.`,
		Example: `  iamd credentials
  iamd credentials --profile root-444455556666
  iamd credentials --credentials ~/.aws/credentials --profile alice --role-arn arn:aws:iam::123456789012:role/Reader
  iamd credentials --profile alice --role-arn arn:aws:iam::123456789012:role/Admin --mfa-serial arn:aws:iam::123456789012:mfa/alice --token-code 123456`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, f := range []string{"role-session-name", "external-id", "source-identity", "duration", "mfa-serial", "token-code"} {
				if role == "" && cmd.Flags().Changed(f) {
					return usageError{fmt.Errorf("--%s is for a session of a role: give --role-arn, too", f)}
				}
			}
			if (serial == "") != (code == "") {
				return usageError{errors.New("MFA needs both --mfa-serial and --token-code")}
			}
			out, err := t.held()
			if err != nil {
				return err
			}
			if role != "" {
				if _, err := arn.Parse(role); err != nil {
					return usageError{fmt.Errorf("--role-arn %q is not an ARN", role)}
				}
				cfg, err := t.config()
				if err != nil {
					return err
				}
				in.RoleArn, in.RoleSessionName = &role, &session
				seconds := int32(duration / time.Second)
				for _, optional := range []struct {
					value string
					to    **string
				}{{externalID, &in.ExternalId}, {sourceIdentity, &in.SourceIdentity}, {serial, &in.SerialNumber}, {code, &in.TokenCode}} {
					if optional.value != "" {
						*optional.to = &optional.value
					}
				}
				if cmd.Flags().Changed("duration") {
					in.DurationSeconds = &seconds
				}
				answer, err := sts.NewFromConfig(cfg).AssumeRole(cmd.Context(), in)
				if err != nil {
					return errors.New(told(err))
				}
				c := answer.Credentials
				out = &processCredentials{AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey, SessionToken: *c.SessionToken,
					Expiration: c.Expiration, AccountID: arn.ARN(role).Account()}
			}
			out.Version = 1
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(out)
		},
	}
	t.register(cmd)
	fs := cmd.Flags()
	fs.StringVar(&t.credentials, "credentials", "", "take the profile from `FILE` (default: DIR/credentials)")
	fs.StringVar(&role, "role-arn", "", "assume the role with this `ARN`")
	fs.StringVar(&session, "role-session-name", sessionName(), "call the session `NAME`")
	fs.StringVar(&externalID, "external-id", "", "the external `ID` that the role's trust policy asks for")
	fs.StringVar(&sourceIdentity, "source-identity", "", "the source identity of the session is `NAME`")
	fs.DurationVar(&duration, "duration", time.Hour, "the session lasts so long, as far as the role allows it")
	fs.StringVar(&serial, "mfa-serial", "", "authenticate with the MFA device of this `SERIAL` number or ARN")
	fs.StringVar(&code, "token-code", "", "and the `CODE` that it shows")
	cmd.MarkFlagFilename("credentials")
	for _, f := range []string{"role-arn", "role-session-name", "external-id", "source-identity", "duration", "mfa-serial", "token-code"} {
		cmd.RegisterFlagCompletionFunc(f, cobra.NoFileCompletions)
	}
	return cmd
}

// held are the credentials that the profile has.
func (t *target) held() (*processCredentials, error) {
	p, c, err := t.holder()
	if err != nil {
		return nil, err
	}
	out := &processCredentials{AccessKeyID: p.settings[keyIDSetting], SecretAccessKey: p.settings[secretSetting], SessionToken: p.settings[tokenSetting]}
	if out.AccessKeyID == "" || out.SecretAccessKey == "" {
		return nil, fmt.Errorf("profile %s of %s lacks %s or %s", p.name, c.path, keyIDSetting, secretSetting)
	}
	// The id of a root key that an operator chose says nothing about its account.
	for _, root := range c.profiles {
		if account, ok := strings.CutPrefix(root.name, rootPrefix); ok && root.settings[keyIDSetting] == out.AccessKeyID {
			out.AccountID = account
			return out, nil
		}
	}
	out.AccountID, _ = identity.AccountOfID(out.AccessKeyID)
	return out, nil
}

// sessionName is the name of the person at the terminal, as far as it can be that of a session.
func sessionName() string {
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+=,.@-"
	if name := os.Getenv("USER"); len(name) >= 2 && len(name) <= 64 && strings.Trim(name, allowed) == "" {
		return name
	}
	return "iamd"
}
