package main

import (
	"bytes"
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
	asJSON, withContext := false, false
	var eventFile, message string
	cmd := &cobra.Command{
		Use:   "explain [REQUEST-ID | --event FILE | --message ENCODED] [flags]",
		Short: "Tell why a call was allowed or refused",
		Long: `Explain asks the server why a call was allowed or refused, and prints what each
kind of policy said, in the order in which AWS asks them: the statements that
matched, and the nearest of those that did not, with both sides of what failed.

Every answer and every error has a request id: SDKs show it, and aws --debug
prints it as x-amzn-requestid. Without one, explain takes the last refusal in the
audit records of DIR.

With --event it explains the calls of CloudTrail records, of iamd or of AWS: a record,
a file of them as CloudTrail delivers it, an event of EventBridge, the answer of
aws cloudtrail lookup-events, or records one a line; - is standard input. A call that
the server knows is explained as it was decided. Of any other the request is made
again of the record, and decided by the policies that the server has now, and that
is said.

With --message it decodes an encoded authorization message, which takes
sts:DecodeAuthorizationMessage.

To be told, one needs iam:GetRequestAuthorizationDetails in the account that made
the call or in the one whose resource it was about; each sees what its own policies
said, and the verdict of the other's. Unless --profile says who to be, the roots of
all accounts in DIR/credentials are asked, and what each is told is put together.`,
		Example: `  iamd explain
  iamd explain 8f8a1a0e-6d2c-4e7c-9a54-0a1f9a1f2a3b
  iamd explain 8f8a1a0e-6d2c-4e7c-9a54-0a1f9a1f2a3b --json | jq .explanations[].reason
  iamd explain --event record.json --context
  aws cloudtrail lookup-events --lookup-attributes AttributeKey=EventName,AttributeValue=AssumeRole | iamd explain --event -
  iamd explain --message "$(iamd explain --json | jq -r .encodedMessage)"`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("%s takes one request id, but there are %d: see %[1]s --help", cmd.CommandPath(), len(args))}
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			given := 0
			for _, is := range []bool{len(args) == 1, eventFile != "", message != ""} {
				if is {
					given++
				}
			}
			if given > 1 {
				return usageError{errors.New("explain takes one of a request id, --event and --message")}
			}
			print := func(details *server.Details) error {
				if asJSON {
					e := json.NewEncoder(cmd.OutOrStdout())
					e.SetIndent("", "  ")
					return e.Encode(details)
				}
				return writeExplanations(cmd.OutOrStdout(), details, withContext)
			}
			onlyProfile := cmd.Flags().Changed("profile")
			switch {
			case eventFile != "":
				return t.explainEvents(cmd.Context(), cmd.InOrStdin(), eventFile, onlyProfile, print)
			case message != "":
				details, err := t.decode(cmd.Context(), message, onlyProfile)
				if err != nil {
					return err
				}
				return print(details)
			}
			id := ""
			if len(args) == 1 {
				id = args[0]
			} else {
				var err error
				if id, err = lastRefusal(filepath.Join(t.data, "audit")); err != nil {
					return err
				}
			}
			details, err := t.details(cmd.Context(), id, onlyProfile)
			if err != nil {
				return err
			}
			return print(details)
		},
	}
	t.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, as the server answers it")
	cmd.Flags().BoolVar(&withContext, "context", false, "print the condition keys of the request, too, and where each came from")
	cmd.Flags().StringVar(&eventFile, "event", "", "explain the calls of the CloudTrail records in `FILE`")
	cmd.Flags().StringVar(&message, "message", "", "decode the authorization message `ENCODED`")
	cmd.MarkFlagFilename("event", "json", "jsonl")
	cmd.RegisterFlagCompletionFunc("message", cobra.NoFileCompletions)
	return cmd
}

func writeExplanations(w io.Writer, details *server.Details, withContext bool) error {
	color := isTerminal(w)
	for i, x := range details.Explanations {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := x.WriteText(w, color); err != nil {
			return err
		}
		if withContext {
			fmt.Fprintln(w)
			if err := x.WriteContext(w, color); err != nil {
				return err
			}
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

// errNotTheirs is the server's answer where the account that asks cannot have a
// record explained.
var errNotTheirs = errors.New("the server cannot decide it again")

// errNotKept is the server's answer where it has no decision for the account that asks.
var errNotKept = errors.New("the server keeps no decision of this request for the account that asks")

// details asks the server, as the profile or, unless that is the one to be, as
// every root in the credentials, and puts together what they are told.
func (t *target) details(ctx context.Context, requestID string, onlyProfile bool) (*server.Details, error) {
	all, err := t.everyone(onlyProfile, func(as *target) (*server.Details, error) {
		return as.ask(ctx, http.MethodGet, "/"+url.PathEscape(requestID), nil)
	})
	if errors.Is(err, errNotKept) {
		return nil, fmt.Errorf("%w: %s", err, requestID)
	}
	return all, err
}

// everyone asks as the profile or, unless that is the one to be, as every root in
// the credentials, and puts together what they are told.
func (t *target) everyone(onlyProfile bool, ask func(as *target) (*server.Details, error)) (*server.Details, error) {
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
		d, err := ask(&as)
		switch {
		case err == nil && all == nil:
			all = d
		case err == nil:
			combine(all, d)
		case !errors.Is(err, errNotKept) && !errors.Is(err, errNotTheirs):
			return nil, err
		case first == nil || errors.Is(first, errNotTheirs): // that is said of those who are asked in vain
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

// ask sends a request to /authorization-details.
func (t *target) ask(ctx context.Context, method, path string, body []byte) (*server.Details, error) {
	endpoint, err := t.url()
	if err != nil {
		return nil, err
	}
	id, secret, token, err := t.keys()
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, endpoint+"/authorization-details"+path, bytes.NewReader(body))
	if err != nil {
		return nil, usageError{fmt.Errorf("asking the server: %w", err)}
	}
	signer := sigv4.Signer{AccessKeyID: id, SecretAccessKey: secret, SessionToken: token, Region: defaultRegion, Service: "iam-toolbox"}
	signer.Sign(r, sigv4.Hash(body), time.Now())
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
	}
	var failure struct{ Message string }
	if err := json.Unmarshal(text, &failure); err != nil || failure.Message == "" {
		failure.Message = "is this an iamd?"
	}
	switch {
	case method == http.MethodGet && response.StatusCode == http.StatusNotFound:
		return nil, errNotKept
	case method == http.MethodPost && (response.StatusCode == http.StatusNotFound || response.StatusCode == http.StatusForbidden):
		return nil, fmt.Errorf("%w: %s", errNotTheirs, failure.Message)
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
