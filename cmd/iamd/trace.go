package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/iamd-dev/iamd/internal/audit"
	"github.com/iamd-dev/iamd/internal/authz"
)

func newTrace() *cobra.Command {
	t := &target{}
	var asJSON, all bool
	var session string
	cmd := &cobra.Command{
		Use:   "trace [REQUEST-ID | --session SESSION] [flags]",
		Short: "Tell what a call led to, and what led to it",
		Long: `Trace prints, as a tree, how calls hang together: who called what, which permissions
were checked for it, which calls a service made for it, which session came of that,
and what the session did. Above the call that is asked about stands what led to it.

It reads the audit records in DIR, which link them: a call that a service makes names
the request for which it is made, and a call made in a session has the access key that
the AssumeRole before it gave. The checks are those that the running server keeps; of
older calls, or without a server, only the records speak.

Without a request id it traces the last call that gave credentials. With --session it
traces the call that began the session with that access key id, ARN or name.`,
		Example: `  iamd trace 8f8a1a0e-6d2c-4e7c-9a54-0a1f9a1f2a3b
  iamd trace --session ASIAEXAMPLE
  iamd trace --session my-function
  iamd trace --json | jq .`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && session != "" {
				return usageError{errors.New("trace takes one request id, or --session")}
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			time.Sleep(recordDelay)
			dir := filepath.Join(t.data, "audit")
			top, asked, err := (*audit.Node)(nil), (*audit.Node)(nil), error(nil)
			switch {
			case session != "":
				top, asked, err = audit.TraceSession(dir, session)
			case len(args) == 1:
				top, asked, err = audit.Trace(dir, args[0])
			default:
				top, asked, err = audit.TraceSession(dir, "")
			}
			if errors.Is(err, audit.ErrNotRecorded) {
				return fmt.Errorf("%w in %s", err, dir)
			}
			if err != nil {
				return fmt.Errorf("tracing: %w", err)
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(top)
			}
			p := &tracePrinter{w: cmd.OutOrStdout(), color: isTerminal(cmd.OutOrStdout()), asked: asked.RequestID, all: all, target: t, ctx: cmd.Context(), onlyProfile: cmd.Flags().Changed("profile")}
			p.node(top, "", "", "")
			return p.err
		},
	}
	t.register(cmd)
	cmd.Flags().StringVar(&session, "session", "", "trace the call that began the `SESSION`: its access key id, ARN or name")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&all, "all", false, fmt.Sprintf("print all calls of a session, however many (default: the first %d)", mostShown))
	cmd.RegisterFlagCompletionFunc("session", cobra.NoFileCompletions)
	return cmd
}

// mostShown is how many calls of one session are printed unless all are asked for.
const mostShown = 40

// A tracePrinter writes a trace for a person to read.
type tracePrinter struct {
	w     io.Writer
	color bool
	asked string // the request id that was asked for
	all   bool
	err   error

	ctx         context.Context
	target      *target
	onlyProfile bool
	alone       bool // the server does not answer: no checks are shown
}

func (p *tracePrinter) paint(style, text string) string {
	if !p.color || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

func (p *tracePrinter) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

// node writes a call and what is below it. first is what stands before its first line,
// rest before the others; by is the ARN of the session that made it, which is not repeated.
func (p *tracePrinter) node(n *audit.Node, first, rest, by string) {
	mark := p.paint("32", "✓")
	if n.Error != "" {
		mark = p.paint("31", "✗")
	}
	here := ""
	if n.RequestID == p.asked && first != "" {
		here = p.paint("33", "  ◀ asked about")
	}
	p.line("%s%s %s  %s%s", first, mark, p.paint("1", n.Event), p.paint("2", n.Time.UTC().Format("15:04:05")+"  "+n.RequestID), here)

	who := ""
	if n.Caller != by {
		who = "by " + n.Caller
		if n.InvokedBy != "" {
			who += ", whose access " + n.InvokedBy + " forwards"
		}
	} else if n.InvokedBy != "" {
		who = "forwarded by " + n.InvokedBy
	}
	var below []func(first, rest string)
	plain := func(text string) {
		below = append(below, func(first, _ string) { p.line("%s%s", first, text) })
	}
	if who != "" {
		plain(who)
	}
	for _, c := range p.checks(n) {
		plain(c)
	}
	if n.Error != "" {
		text := n.Error
		if n.Message != "" {
			text += ": " + n.Message
		}
		plain(p.paint("31", text))
	}
	for _, m := range p.some(n.Inner) {
		below = append(below, func(first, rest string) { p.node(m, first, rest, by) })
	}
	if more := n.Others + len(n.Inner) - len(p.some(n.Inner)); more > 0 {
		plain(p.paint("2", fmt.Sprintf("… and %s", plural(more, "other call"))))
	}
	if s := n.Session; s != nil {
		below = append(below, func(first, rest string) { p.session(s, first, rest) })
	}
	p.branches(rest, below)
}

func (p *tracePrinter) session(s *audit.Issued, first, rest string) {
	until := ""
	if !s.Expires.IsZero() {
		until = ", until " + s.Expires.UTC().Format("15:04:05")
	}
	p.line("%s%s %s", first, p.paint("36;1", "session"), p.paint("36", s.ARN)+p.paint("2", "  "+s.AccessKeyID+until))
	var below []func(first, rest string)
	shown := p.some(s.Calls)
	for _, m := range shown {
		below = append(below, func(first, rest string) { p.node(m, first, rest, s.ARN) })
	}
	switch more := s.Others + len(s.Calls) - len(shown); {
	case more > 0:
		below = append(below, func(first, _ string) {
			p.line("%s%s", first, p.paint("2", fmt.Sprintf("… and %s", plural(more, "other call"))))
		})
	case len(shown) == 0:
		below = append(below, func(first, _ string) { p.line("%s%s", first, p.paint("2", "it has called nothing yet")) })
	}
	p.branches(rest, below)
}

// branches writes what is below something, with the lines of a tree before it.
func (p *tracePrinter) branches(before string, below []func(first, rest string)) {
	for i, write := range below {
		if i == len(below)-1 {
			write(before+p.paint("2", "└ "), before+"  ")
		} else {
			write(before+p.paint("2", "├ "), before+p.paint("2", "│ "))
		}
	}
}

func (p *tracePrinter) some(calls []*audit.Node) []*audit.Node {
	if p.all || len(calls) <= mostShown {
		return calls
	}
	return calls[:mostShown]
}

// checks are the permissions that were asked for the call, as far as the server tells.
func (p *tracePrinter) checks(n *audit.Node) []string {
	if p.alone || p.err != nil {
		return nil
	}
	d, err := p.target.details(p.ctx, n.RequestID, p.onlyProfile)
	if errors.Is(err, errNotKept) {
		return nil
	}
	if err != nil {
		p.alone = true
		p.line("%s", p.paint("2", "(without the checks: "+err.Error()+")"))
		return nil
	}
	var lines []string
	for _, x := range d.Explanations {
		verdict, style := "allowed", "32"
		if x.Decision != "allowed" {
			verdict, style = "refused", "31"
		}
		lines = append(lines, fmt.Sprintf("%s %s on %s %s %s", p.paint("2", "checked"), x.Action, x.Resource, p.paint(style, verdict+":"), traceReason(x)))
	}
	return lines
}

// traceReason says in a few words what decided.
func traceReason(x *authz.Explanation) string {
	if x.Decision != "allowed" {
		return x.Reason
	}
	var sides []string
	for _, l := range x.Layers {
		if l.Verdict == "allow" && l.Layer != authz.RCP && l.Layer != authz.SCP {
			sides = append(sides, l.Layer.String())
		}
	}
	if len(sides) == 0 {
		return x.Reason
	}
	return strings.Join(sides, " and ")
}
