package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/iamd-dev/iamd/internal/audit"
	"github.com/iamd-dev/iamd/internal/authz"
	"github.com/iamd-dev/iamd/internal/server"
	"github.com/iamd-dev/iamd/internal/sigv4"
)

func newExplain() *cobra.Command {
	t := &target{}
	asJSON := false
	cmd := &cobra.Command{
		Use:   "explain [REQUEST-ID] [flags]",
		Short: "Tell why a call was allowed or refused",
		Long: `Explain asks the server why a call was allowed or refused, and prints what each
kind of policy said, in the order in which AWS asks them: the statements that
matched, and the nearest of those that did not, with both sides of what failed.

Every answer and every error of AWS has a request id: SDKs show it, and aws --debug
prints it as x-amzn-requestid. Without one, explain takes the last refusal in the
audit records of DIR.

To be told, one needs iam:GetRequestAuthorizationDetails in the account that made
the call or in the one whose resource it was about; each sees what its own policies
said, and the verdict of the other's. Unless --profile says who to be, the roots of
all accounts in DIR/credentials are asked, and what each is told is put together.`,
		Example: `  iamd explain
  iamd explain 8f8a1a0e-6d2c-4e7c-9a54-0a1f9a1f2a3b
  iamd explain 8f8a1a0e-6d2c-4e7c-9a54-0a1f9a1f2a3b --json | jq .explanations[].reason`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("%s takes one request id, but there are %d: see %[1]s --help", cmd.CommandPath(), len(args))}
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			id := ""
			if len(args) == 1 {
				id = args[0]
			} else {
				var err error
				if id, err = lastRefusal(filepath.Join(t.data, "audit")); err != nil {
					return err
				}
			}
			details, err := t.details(cmd.Context(), id, cmd.Flags().Changed("profile"))
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(details)
			}
			return writeExplanations(cmd.OutOrStdout(), details)
		},
	}
	t.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, as the server answers it")
	return cmd
}

func writeExplanations(w io.Writer, details *server.Details) error {
	color := isTerminal(w)
	for i, x := range details.Explanations {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := x.WriteText(w, color); err != nil {
			return err
		}
	}
	return nil
}

// recordDelay is more than the time that records of data calls take to be in the file.
const recordDelay = 400 * time.Millisecond

// lastRefusal is the request id of the last call that was refused.
func lastRefusal(dir string) (string, error) {
	time.Sleep(recordDelay)
	for e, err := range audit.Read(dir, audit.Filter{}) {
		if err != nil {
			return "", fmt.Errorf("looking for the last refusal: %w", err)
		}
		if strings.HasPrefix(e.ErrorCode, "AccessDenied") {
			return e.RequestID, nil
		}
	}
	return "", fmt.Errorf("no refusal is recorded in %s", dir)
}

// errNotKept is the server's answer where it has no decision for the account that asks.
var errNotKept = errors.New("the server keeps no decision of this request for the account that asks")

// details asks the server, as the profile or, unless that is the one to be, as
// every root in the credentials, and puts together what they are told.
func (t *target) details(ctx context.Context, requestID string, onlyProfile bool) (*server.Details, error) {
	profiles := []string{t.profile}
	if !onlyProfile {
		c, err := readCredentials(filepath.Join(t.data, "credentials"))
		if err != nil {
			return nil, err
		}
		for _, name := range c.names() {
			if ours(name) && name != defaultProfile && name != t.profile {
				profiles = append(profiles, name)
			}
		}
	}
	var all *server.Details
	var first error
	for _, profile := range profiles {
		as := *t
		as.profile = profile
		d, err := as.ask(ctx, requestID)
		switch {
		case err == nil && all == nil:
			all = d
		case err == nil:
			combine(all, d)
		case !errors.Is(err, errNotKept):
			return nil, err
		case first == nil:
			first = err
		}
	}
	if all == nil {
		return nil, first
	}
	return all, nil
}

// combine adds to what one account was told what another was told of the same decisions.
func combine(all, more *server.Details) {
	for _, y := range more.Explanations {
		i := slices.IndexFunc(all.Explanations, func(x *authz.Explanation) bool {
			return x.Action == y.Action && x.Resource == y.Resource
		})
		if i < 0 {
			all.Explanations = append(all.Explanations, y)
			continue
		}
		x := all.Explanations[i]
		for i, l := range x.Layers {
			j := slices.IndexFunc(y.Layers, func(m authz.LayerExplanation) bool { return m.Layer == l.Layer })
			if l.Account != "" && j >= 0 && y.Layers[j].Account == "" {
				x.Layers[i] = y.Layers[j]
			}
		}
		// A kind of policy that turns out not to be there was said to allow nothing.
		x.Layers = slices.DeleteFunc(x.Layers, func(l authz.LayerExplanation) bool {
			return l.Account != "" && !slices.ContainsFunc(y.Layers, func(m authz.LayerExplanation) bool { return m.Layer == l.Layer })
		})
		if x.Policy == "" && y.Policy != "" {
			x.Policy, x.Reason = y.Policy, y.Reason
		}
		for _, k := range y.Context {
			if !slices.ContainsFunc(x.Context, func(c authz.ContextKey) bool { return c.Key == k.Key }) {
				x.Context = append(x.Context, k)
			}
		}
		for _, k := range y.Missing {
			if !slices.Contains(x.Missing, k) {
				x.Missing = append(x.Missing, k)
			}
		}
	}
}

// ask sends GET /authorization-details/{request id}.
func (t *target) ask(ctx context.Context, requestID string) (*server.Details, error) {
	endpoint, err := t.url()
	if err != nil {
		return nil, err
	}
	id, secret, token, err := t.keys()
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"/authorization-details/"+url.PathEscape(requestID), nil)
	if err != nil {
		return nil, usageError{fmt.Errorf("asking the server: %w", err)}
	}
	signer := sigv4.Signer{AccessKeyID: id, SecretAccessKey: secret, SessionToken: token, Region: defaultRegion, Service: "iam-toolbox"}
	signer.Sign(r, sigv4.Hash(nil), time.Now())
	client, err := newClient()
	if err != nil {
		return nil, err
	}
	response, err := client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("asking the server: %w", err)
	}
	defer response.Body.Close()
	const most = 16 << 20
	text, err := io.ReadAll(io.LimitReader(response.Body, most))
	if err != nil {
		return nil, fmt.Errorf("asking the server: %w", err)
	}
	switch response.StatusCode {
	case http.StatusOK:
		var d server.Details
		if err := json.Unmarshal(text, &d); err != nil {
			return nil, fmt.Errorf("reading the server's answer: %w", err)
		}
		return &d, nil
	case http.StatusNotFound:
		return nil, fmt.Errorf("%w: %s", errNotKept, requestID)
	}
	var failure struct{ Message string }
	if err := json.Unmarshal(text, &failure); err != nil || failure.Message == "" {
		failure.Message = "is this an iamd?"
	}
	return nil, fmt.Errorf("the server answers %s: %s", response.Status, failure.Message)
}

// newClient is an HTTP client that trusts what AWS clients are told to trust.
func newClient() (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if file := os.Getenv("AWS_CA_BUNDLE"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading AWS_CA_BUNDLE: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading AWS_CA_BUNDLE: %s has no certificate", file)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}, nil
}

// isTerminal reports whether what is written to w is shown in color: w is a
// terminal, and NO_COLOR (no-color.org) is not set.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
