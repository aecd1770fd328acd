package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/iamd-dev/iamd/internal/lint"
	"github.com/iamd-dev/iamd/policy"
)

// errFindings says that lint found something at or above the level of --fail-on. The
// findings have been printed.
var errFindings = errors.New("policies have findings")

// policyTypes are the values of --type.
var policyTypes = []struct {
	name string
	kind policy.Kind
}{
	{"identity", policy.Identity},
	{"boundary", policy.Boundary},
	{"session", policy.Session},
	{"resource", policy.Resource},
	{"trust", policy.Trust},
	{"scp", policy.SCP},
	{"rcp", policy.RCP},
}

// levels are the values of --fail-on, from the gravest, with the type of findings
// that each is named for.
var levels = []struct{ name, finding string }{
	{"error", policy.TypeError},
	{"security-warning", policy.TypeSecurityWarning},
	{"warning", policy.TypeWarning},
	{"suggestion", policy.TypeSuggestion},
}

// A lintReport is what lint prints of one document.
type lintReport struct {
	File     string           `json:"file"`
	Document string           `json:"document,omitempty"` // where in the file
	Type     string           `json:"type"`
	Findings []policy.Finding `json:"-"`
}

func newLint() *cobra.Command {
	kind, format, failOn := "auto", "text", "security-warning"
	cmd := &cobra.Command{
		Use:   "lint FILE...",
		Short: "Find mistakes in policies",
		Long: `Lint reads policy documents and prints what IAM Access Analyzer's policy
validation would say about them: errors, security warnings, warnings and
suggestions, with AWS's codes and texts, and the line and column of each. It needs
no server and no network.

FILE is a policy document, or what the AWS CLI prints with policies in it, such as
get-account-authorization-details, get-role and get-policy-version. - reads standard
input. What kind of policy a document is, is guessed from its elements; service and
resource control policies need --type scp and --type rcp.

The exit status is 0 when there is nothing at or above the level of --fail-on, 1 when
there is something, and 2 when a file cannot be read or the command line is wrong.`,
		Example: `  iamd lint policies/*.json
  iamd lint --type scp --fail-on suggestion guardrails.json
  iamd lint --format sarif policies/*.json > iamd.sarif
  aws iam get-account-authorization-details | iamd lint -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{fmt.Errorf("%s needs a file, or - for standard input: see %[1]s --help", cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			k := slices.IndexFunc(policyTypes, func(t struct {
				name string
				kind policy.Kind
			}) bool {
				return t.name == kind
			})
			if k < 0 && kind != "auto" {
				return unknownValue(cmd, "type", kind, typeNames())
			}
			worst := slices.IndexFunc(levels, func(l struct{ name, finding string }) bool { return l.name == failOn })
			if worst < 0 && failOn != "never" {
				return unknownValue(cmd, "fail-on", failOn, levelNames())
			}
			write := map[string]func(io.Writer, []lintReport) error{"text": writeLintText, "json": writeLintJSON, "sarif": writeSARIF}[format]
			if write == nil {
				return unknownValue(cmd, "format", format, []string{"text", "json", "sarif"})
			}
			var as *policy.Kind
			if k >= 0 {
				as = &policyTypes[k].kind
			}
			reports, err := lintFiles(cmd.InOrStdin(), args, as)
			if err != nil {
				return usageError{err}
			}
			if err := write(cmd.OutOrStdout(), reports); err != nil {
				return err
			}
			for _, r := range reports {
				for _, f := range r.Findings {
					if slices.IndexFunc(levels, func(l struct{ name, finding string }) bool { return l.finding == f.Type }) <= worst {
						return errFindings
					}
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&kind, "type", kind, "what the documents are: auto, identity, boundary, session, resource, trust, scp or rcp")
	cmd.Flags().StringVar(&format, "format", format, "print text, json or sarif")
	cmd.Flags().StringVar(&failOn, "fail-on", failOn, "exit with 1 from this level on: error, security-warning, warning, suggestion or never")
	for name, values := range map[string][]string{"type": typeNames(), "format": {"text", "json", "sarif"}, "fail-on": levelNames()} {
		cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	return cmd
}

func typeNames() []string {
	names := []string{"auto"}
	for _, t := range policyTypes {
		names = append(names, t.name)
	}
	return names
}

func levelNames() []string {
	var names []string
	for _, l := range levels {
		names = append(names, l.name)
	}
	return append(names, "never")
}

// unknownValue refuses the value of a flag.
func unknownValue(cmd *cobra.Command, flag, value string, values []string) error {
	return usageError{fmt.Errorf("--%s is %s, not %q: did you mean %s? See %s --help", flag, strings.Join(values, ", "), value, nearest(value, values), cmd.CommandPath())}
}

// lintFiles validates every document of every file, as policies of the kind or, when
// that is nil, of the kind that each seems to be.
func lintFiles(stdin io.Reader, files []string, as *policy.Kind) ([]lintReport, error) {
	ref := lint.Reference()
	var reports []lintReport
	for _, file := range files {
		var text []byte
		var err error
		if file == "-" {
			file = "<stdin>"
			text, err = io.ReadAll(stdin)
		} else {
			text, err = os.ReadFile(file)
		}
		if err != nil {
			return nil, err
		}
		documents, err := lint.Documents(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, d := range documents {
			k := d.Guess()
			if as != nil {
				k = *as
			}
			reports = append(reports, lintReport{
				File: file, Document: d.Path, Type: strings.ToLower(k.String()), Findings: d.Validate(k, ref),
			})
		}
	}
	return reports, nil
}

// writeLintText prints a line for each finding, as compilers do, and a summary.
func writeLintText(w io.Writer, reports []lintReport) error {
	b := bufio.NewWriter(w)
	count := map[string]int{}
	for _, r := range reports {
		for _, f := range r.Findings {
			count[f.Type]++
			fmt.Fprintf(b, "%s:%d:%d: %s %s: %s\n", r.File, f.Line, f.Column, strings.ToLower(strings.ReplaceAll(f.Type, "_", " ")), f.Code, f.Text)
			where := f.Where()
			if r.Document != "" {
				where = strings.TrimSuffix(r.Document+": "+where, ": ")
			}
			if where != "" {
				fmt.Fprintf(b, "\tin %s\n", where)
			}
		}
	}
	var parts []string
	for _, l := range levels {
		if n := count[l.finding]; n > 0 {
			parts = append(parts, plural(n, strings.ReplaceAll(l.name, "-", " ")))
		}
	}
	if parts == nil {
		parts = []string{"nothing found"}
	}
	fmt.Fprintf(b, "%s: %s\n", plural(len(reports), "policy"), strings.Join(parts, ", "))
	return b.Flush()
}

func plural(n int, name string) string {
	switch {
	case n == 1:
		return "1 " + name
	case strings.HasSuffix(name, "y"):
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(name, "y"))
	}
	return fmt.Sprintf("%d %ss", n, name)
}

// writeLintJSON prints the documents with their findings, each of the shape of
// ValidatePolicy's: its lines count from 1, columns and offsets from 0.
func writeLintJSON(w io.Writer, reports []lintReport) error {
	type position struct {
		Line   int `json:"line"`
		Column int `json:"column"`
		Offset int `json:"offset"`
	}
	type span struct {
		Start position `json:"start"`
		End   position `json:"end"`
	}
	type location struct {
		Path []map[string]any `json:"path"`
		Span span             `json:"span"`
	}
	type finding struct {
		FindingType    string     `json:"findingType"`
		IssueCode      string     `json:"issueCode"`
		FindingDetails string     `json:"findingDetails"`
		LearnMoreLink  string     `json:"learnMoreLink,omitempty"`
		Locations      []location `json:"locations"`
	}
	type report struct {
		lintReport
		Findings []finding `json:"findings"`
	}
	links := map[string]string{}
	for _, r := range policy.Rules() {
		links[r.Code] = lint.Anchor(&r)
	}
	all := []report{}
	for _, r := range reports {
		out := report{r, []finding{}}
		for _, f := range r.Findings {
			x := finding{FindingType: f.Type, IssueCode: f.Code, FindingDetails: f.Text, LearnMoreLink: links[f.Code]}
			for _, l := range append([]policy.Location{f.Location}, f.More...) {
				at := location{Path: []map[string]any{}, Span: span{
					position{l.Line, l.Column - 1, l.Offset}, position{l.EndLine, l.EndColumn - 1, l.EndOffset},
				}}
				for _, s := range l.Path {
					if s.Name != "" {
						at.Path = append(at.Path, map[string]any{"value": s.Name})
					} else {
						at.Path = append(at.Path, map[string]any{"index": s.Index})
					}
				}
				x.Locations = append(x.Locations, at)
			}
			out.Findings = append(out.Findings, x)
		}
		all = append(all, out)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(map[string]any{"policies": all})
}
