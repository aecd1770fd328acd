package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"
)

// A target is a running server as the other subcommands find it, and who they are there.
type target struct {
	data     string
	endpoint string
	profile  string

	credentials string // the file of profiles; "" for the server's
}

func (t *target) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&t.data, "data", defaultData(), "the server keeps its data in `DIR`")
	fs.StringVar(&t.endpoint, "endpoint", "", "the server answers at `URL` (default: as DIR/address says)")
	fs.StringVar(&t.profile, "profile", defaultProfile, "be the `PROFILE` of DIR/credentials")
	cmd.MarkFlagDirname("data")
	cmd.RegisterFlagCompletionFunc("profile", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		c, err := readCredentials(t.credentialsFile())
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return c.names(), cobra.ShellCompDirectiveNoFileComp
	})
}

// url is where the server answers.
func (t *target) url() (string, error) {
	if t.endpoint != "" {
		return strings.TrimSuffix(t.endpoint, "/"), nil
	}
	text, err := os.ReadFile(filepath.Join(t.data, "address"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("no server is running on %s: start one with iamd serve, or give --endpoint URL", t.data)
	}
	if err != nil {
		return "", fmt.Errorf("finding the server: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// credentialsFile is where the profiles are.
func (t *target) credentialsFile() string {
	if t.credentials != "" {
		return t.credentials
	}
	return filepath.Join(t.data, "credentials")
}

// holder is the profile, and the file that it is in.
func (t *target) holder() (*profile, *credentials, error) {
	c, err := readCredentials(t.credentialsFile())
	if err != nil {
		return nil, nil, err
	}
	if !c.found {
		if t.credentials != "" {
			return nil, nil, usageError{fmt.Errorf("there is no %s", c.path)}
		}
		return nil, nil, fmt.Errorf("there is no %s: the first iamd serve makes it", c.path)
	}
	p := c.profile(t.profile)
	if p == nil {
		return nil, nil, usageError{fmt.Errorf("%s has no profile %q: did you mean %s?", c.path, t.profile, nearest(t.profile, c.names()))}
	}
	return p, c, nil
}

// keys are the access key id, secret access key and session token of the profile.
func (t *target) keys() (id, secret, token string, err error) {
	p, _, err := t.holder()
	if err != nil {
		return "", "", "", err
	}
	return p.settings[keyIDSetting], p.settings[secretSetting], p.settings[tokenSetting], nil
}

// config is what the clients of the AWS SDK are made of to be the profile.
func (t *target) config() (aws.Config, error) {
	endpoint, err := t.url()
	if err != nil {
		return aws.Config{}, err
	}
	id, secret, token, err := t.keys()
	if err != nil {
		return aws.Config{}, err
	}
	client, err := newClient()
	if err != nil {
		return aws.Config{}, err
	}
	return configFor(endpoint, client, id, secret, token), nil
}

// configFor is of a client that calls an endpoint once.
func configFor(endpoint string, client aws.HTTPClient, id, secret, token string) aws.Config {
	return aws.Config{
		Region: defaultRegion, BaseEndpoint: &endpoint, HTTPClient: client,
		Retryer: func() aws.Retryer { return aws.NopRetryer{} },
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, SessionToken: token}, nil
		}),
	}
}

func newEnv() *cobra.Command {
	t := &target{}
	cmd := &cobra.Command{
		Use:   "env [flags]",
		Short: "Print what points AWS clients at the server",
		Long: `Env prints shell commands that point AWS clients at the running server: its
URL, an access key and a region. Settings that would get in the way are unset.
The AWS CLI before 2.13 needs a word more, which stands in a comment.`,
		Example: `  eval "$(iamd env)"                             # as the first account's root
  eval "$(iamd env --profile root-444455556666)"
  aws sts get-caller-identity`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			url, err := t.url()
			if err != nil {
				return err
			}
			id, secret, token, err := t.keys()
			if err != nil {
				return err
			}
			var b strings.Builder
			for _, v := range [][2]string{
				{"AWS_ENDPOINT_URL", url},
				{"AWS_ACCESS_KEY_ID", id},
				{"AWS_SECRET_ACCESS_KEY", secret},
				{"AWS_SESSION_TOKEN", token},
				{"AWS_REGION", defaultRegion},
				{"AWS_DEFAULT_REGION", defaultRegion},
			} {
				if v[1] != "" {
					b.WriteString("export " + v[0] + "=" + shellQuote(v[1]) + "\n")
				}
			}
			unset := "unset AWS_PROFILE AWS_DEFAULT_PROFILE"
			if token == "" {
				unset += " AWS_SESSION_TOKEN AWS_SECURITY_TOKEN"
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), b.String()+unset+"\n"+forOldCLI)
			return err
		},
	}
	t.register(cmd)
	return cmd
}

// forOldCLI is for those who read what env prints; a shell passes over it.
const forOldCLI = `# The AWS CLI before 2.13, and version 1 before 1.29, does not know AWS_ENDPOINT_URL. With such a one:
#   aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }
`

// defaultRegion is where clients are told to be; any region does, except for IAM,
// which is in this one.
const defaultRegion = "us-east-1"

// shellQuote writes text as one word of a POSIX shell.
func shellQuote(text string) string {
	const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+=/.,:@%"
	if text != "" && strings.Trim(text, plain) == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
