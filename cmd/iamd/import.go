package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/iamd-dev/iamd/internal/sigv4"
)

func newImport() *cobra.Command {
	t := &target{}
	dryRun, asJSON := false, false
	cmd := &cobra.Command{
		Use:   "import FILE [flags]",
		Short: "Make an account what get-account-authorization-details says of a real one",
		Long: `Import takes what the AWS CLI prints of an account,

  aws iam get-account-authorization-details > account.json

and makes it the account of the same number in the running server: users, groups,
roles and their instance profiles, managed policies with their versions, inline
policies, boundaries, trust policies, tags. Unique ids and dates stay as they are.
FILE may be - for standard input.

Everything is checked first, and what is wrong is told item by item; then nothing is
imported. The account must be empty. An import that is cut off is undone when the
server starts again.

What the file does not have is not imported: passwords, access keys, MFA devices,
identity providers, how long sessions of a role may last, tags of policies. AWS
managed policies are those that iamd has. One imports as the root of the account
that the file is of, unless --profile says who to be.

The exit status is 0 when all was imported, and 1 when nothing was.`,
		Example: `  iamd serve --account 111122223333
  iamd import --dry-run account.json
  iamd import account.json
  aws iam get-account-authorization-details --profile prod | iamd import -
  iamd can alice s3:GetObject s3://reports/q3.csv`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("%s takes one file: see %[1]s --help", cmd.CommandPath())}
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"json"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readFileOr(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			if m := accountInDetails.FindSubmatch(text); m != nil && !cmd.Flags().Changed("profile") {
				t.beRootOf(string(m[1]))
			}
			report, err := t.importAccount(cmd.Context(), text, dryRun)
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				err = e.Encode(report)
			} else {
				report.print(cmd.OutOrStdout(), cmd.ErrOrStderr(), dryRun)
			}
			if err == nil && len(report.Problems) > 0 {
				return errRefused
			}
			return err
		},
	}
	t.register(cmd)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "check everything and import nothing")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what was imported, problems and notes as JSON")
	return cmd
}

// accountInDetails finds the number of the account that details are of.
var accountInDetails = regexp.MustCompile(`"Arn"\s*:\s*"arn:aws:iam::(\d{12}):`)

// An importReport is the server's answer.
type importReport struct {
	Imported         bool          `json:"imported"`
	Users            int           `json:"users"`
	Groups           int           `json:"groups"`
	Roles            int           `json:"roles"`
	Policies         int           `json:"policies"`
	InstanceProfiles int           `json:"instanceProfiles"`
	Problems         []itemAndText `json:"problems"`
	Notes            []itemAndText `json:"notes"`
}

type itemAndText struct {
	Item string `json:"item"`
	Text string `json:"text"`
}

func (r *importReport) print(out, errs io.Writer, dryRun bool) {
	for _, n := range r.Notes {
		fmt.Fprintf(errs, "note: %s %s\n", n.Item, n.Text)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(errs, "%s %s\n", p.Item, p.Text)
	}
	what := fmt.Sprintf("%s, %s, %s, %s, %s", counted(r.Users, "user"), counted(r.Groups, "group"), counted(r.Roles, "role"),
		counted(r.Policies, "managed policy"), counted(r.InstanceProfiles, "instance profile"))
	switch {
	case len(r.Problems) > 0:
		fmt.Fprintf(errs, "nothing was imported: there are %s\n", counted(len(r.Problems), "problem"))
	case dryRun:
		fmt.Fprintf(out, "would import %s\n", what)
	default:
		fmt.Fprintf(out, "imported %s\n", what)
	}
}

func counted(n int, word string) string {
	switch {
	case n == 1:
		return "1 " + word
	case word[len(word)-1] == 'y':
		return fmt.Sprintf("%d %sies", n, word[:len(word)-1])
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// importAccount sends the details to the server.
func (t *target) importAccount(ctx context.Context, text []byte, dryRun bool) (*importReport, error) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(text); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	const most = 1 << 20 // of the server
	if packed.Len() > most {
		return nil, fmt.Errorf("the file is too large: compressed it has %d bytes, and at most %d are taken", packed.Len(), most)
	}
	endpoint, err := t.url()
	if err != nil {
		return nil, err
	}
	id, secret, token, err := t.keys()
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("%s/import?dryRun=%t", endpoint, dryRun), bytes.NewReader(packed.Bytes()))
	if err != nil {
		return nil, usageError{err}
	}
	signer := sigv4.Signer{AccessKeyID: id, SecretAccessKey: secret, SessionToken: token, Region: defaultRegion, Service: "iamd"}
	signer.Sign(r, sigv4.Hash(packed.Bytes()), time.Now())
	client, err := newClient()
	if err != nil {
		return nil, err
	}
	client.Timeout = 5 * time.Minute
	response, err := client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("asking the server: %w", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 64<<20))
	if err != nil {
		return nil, fmt.Errorf("asking the server: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		var failure struct{ Message string }
		if json.Unmarshal(answer, &failure) != nil || failure.Message == "" {
			failure.Message = "is this an iamd?"
		}
		return nil, errors.New("the server answers " + response.Status + ": " + failure.Message)
	}
	var report importReport
	if err := json.Unmarshal(answer, &report); err != nil {
		return nil, fmt.Errorf("reading the server's answer: %w", err)
	}
	return &report, nil
}
