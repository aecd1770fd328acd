package authz

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/policy"
)

// UnmarshalText reads the name of a layer, as MarshalText wrote it.
func (l *Layer) UnmarshalText(text []byte) error {
	i := slices.Index(layerNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("%q is not a kind of policy", text)
	}
	*l = Layer(i)
	return nil
}

// WriteText writes the explanation for a person to read: who asked for what, the
// decision, and then each kind of policy in the order in which AWS asks them, with
// the statements that matched and the nearest of those that did not. With color it
// has the escape sequences of a terminal. The error is of w.
func (x *Explanation) WriteText(w io.Writer, color bool) error {
	p := &page{color: color}
	x.print(p)
	_, err := io.WriteString(w, p.String())
	return err
}

// WriteContext writes the condition keys of the request, with where each came from.
func (x *Explanation) WriteContext(w io.Writer, color bool) error {
	p := &page{color: color}
	p.line(0, paint(bold, "What conditions could ask for"))
	width := 0
	for _, k := range x.Context {
		width = max(width, len(k.Key))
	}
	for _, k := range x.Context {
		from := k.From
		if from != "" {
			from = "  (" + from + ")"
		}
		p.line(1, fmt.Sprintf("%-*s  ", width, k.Key), some(k.Values), paint(dim, from))
	}
	_, err := io.WriteString(w, p.String())
	return err
}

func (x *Explanation) print(p *page) {
	allowed := x.Decision == "allowed"
	if allowed {
		p.line(0, paint(green+bold, "ALLOWED"), "  ", paint(bold, string(x.Action)))
	} else {
		p.line(0, paint(red+bold, "REFUSED"), "  ", paint(bold, string(x.Action)))
	}
	p.line(1, "because ", x.Reason)
	p.line(0)
	p.fact("who", x.Principal, x.Account)
	p.fact("what", string(x.Action), "")
	p.fact("on what", string(x.Resource), x.Owner)
	if x.Event != "" && x.Event != string(x.Action) {
		p.fact("for the call", x.Event, "")
	}
	if !x.Time.IsZero() {
		p.fact("when", x.Time.UTC().Format("2006-01-02 15:04:05 UTC"), "")
	}
	if x.RequestID != "" {
		p.fact("request id", x.RequestID, "")
	}
	for _, note := range x.Notes {
		p.fact("note", note, "")
	}

	decided := false
	for i := range x.Layers {
		l := &x.Layers[i]
		decides := l.Layer != NoLayer && l.Layer == x.DecidedBy && !decided
		decided = decided || decides
		p.line(0)
		p.layer(l, decides, allowed)
	}
	if !decided && x.DecidedBy != NoLayer && !allowed {
		p.line(0)
		p.line(0, paint(red, "✗ "), paint(bold, x.DecidedBy.String()), ": there is none", paint(dim, "  ← this decides"))
	}
	if len(x.Changes) > 0 {
		p.line(0)
		p.line(0, paint(bold, "What would have to change"))
		for _, c := range x.Changes {
			p.change(c)
		}
	}
	if len(x.Missing) > 0 {
		p.line(0)
		p.line(0, "Conditions asked for keys that the request does not have: ", strings.Join(x.Missing, ", "))
	}
}

// change prints one change.
func (p *page) change(c Change) {
	switch {
	case c.Deny != "":
		p.line(1, c.Deny, " of ", c.Where, " must not match: while it does, no Allow helps")
	case c.Statement == nil:
		p.line(1, c.Where, ", the ", c.Layer.String(), ", must allow it")
	default:
		p.line(1, c.Where, ", the ", c.Layer.String(), ", must allow it:")
		p.line(2, string(c.Statement))
	}
	if c.Instead != "" {
		p.line(2, paint(dim, "or: "+c.Instead))
	}
}

// layer prints one kind of policy: its verdict, then its policies.
func (p *page) layer(l *LayerExplanation, decides, allowed bool) {
	mark, says := paint(red, "✗ "), "no statement allows it"
	switch {
	case l.Verdict == "allow":
		mark, says = paint(green, "✓ "), "allows it"
	case l.Verdict == "explicitDeny":
		says = "denies it"
	case decides && allowed: // by no policy
		mark, says = paint(green, "✓ "), "the root user needs none"
	case allowed:
		mark, says = paint(dim, "· "), "says nothing" // somebody else's word was enough
	case len(l.Policies) == 0 && l.Account == "":
		says = "there is none"
	}
	if l.Account != "" {
		says += " (what it says is account " + l.Account + "'s to see)"
	}
	var arrow painted
	if decides {
		arrow = paint(dim, "  ← this decides")
	}
	name := l.Layer.String()
	if l.Layer == NoLayer { // of a decoded message, which does not name kinds of policy
		name = "policies"
	}
	p.line(0, mark, paint(bold, name), ": ", says, arrow)
	for i := range l.Policies {
		p.policy(&l.Policies[i], l.Verdict)
	}
}

const nearestShown = 3 // statements of a policy that did not match

// policy prints the statements of a policy that tell something: those that
// matched; where nothing allows, the Allow statements that came nearest; and the
// Deny statements that a resource or a condition held off.
func (p *page) policy(x *PolicyExplanation, layerVerdict string) {
	p.line(1, x.Name)
	var matched, near []policy.StatementTrace
	for _, s := range x.Statements {
		switch {
		case s.Matched:
			matched = append(matched, s)
		case layerVerdict == "implicitDeny" && s.Effect == "Allow", nearness(s) >= nearness(policy.StatementTrace{Failed: "Resource"}):
			near = append(near, s)
		}
	}
	slices.SortStableFunc(near, func(a, b policy.StatementTrace) int { return cmp.Compare(nearness(b), nearness(a)) })
	near = near[:min(len(near), nearestShown)]
	for _, s := range matched {
		verb, color := "allows", green
		if s.Effect == "Deny" {
			verb, color = "denies", red
		}
		p.line(2, paint(color, verb), "  ", named(s), where(s))
		if s.Note != "" {
			p.line(4, s.Note)
		}
	}
	for _, s := range near {
		p.line(2, paint(dim, "no    "), "  ", named(s), where(s), ": ", failure(s))
		p.sides(s)
	}
	if rest := len(x.Statements) + x.Omitted - len(matched) - len(near); rest > 0 {
		p.line(2, paint(dim, fmt.Sprintf("%s not match", plural(rest, "other statement does", "other statements do"))))
	}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// named is the name of a statement: its Sid or its number.
func named(s policy.StatementTrace) string {
	if s.Sid != "" {
		return s.Sid
	}
	return fmt.Sprintf("statement %d", s.Index+1)
}

// where is what a statement is and where it stands.
func where(s policy.StatementTrace) painted {
	if s.Line == 0 {
		return paint(dim, " ("+s.Effect+")")
	}
	return paint(dim, fmt.Sprintf(" (%s, line %d column %d)", s.Effect, s.Line, s.Column))
}

// nearness says how far a statement got: AWS asks the principal, the action, the
// resource and the conditions, and a statement that failed late was nearly right.
func nearness(s policy.StatementTrace) int {
	switch s.Failed {
	case "Action", "NotAction":
		return 1
	case "Resource", "NotResource":
		return 2
	case "Condition":
		return 3
	}
	return 0
}

// failure says in a few words which element did not match.
func failure(s policy.StatementTrace) string {
	switch s.Failed {
	case "Principal", "NotPrincipal":
		return s.Failed + " is not the caller"
	case "Action", "NotAction", "Resource", "NotResource":
		return s.Failed + " is another"
	case "Condition":
		return "condition " + s.Operator + " " + s.Key + " is not met"
	}
	return "it does not match"
}

// sides prints what a policy wants and what the request has.
func (p *page) sides(s policy.StatementTrace) {
	p.line(4, paint(dim, "the policy has   "), some(s.Want))
	switch {
	case s.Got == nil && s.Failed == "Condition":
		p.line(4, paint(dim, "the request has  "), "no "+s.Key)
	case s.Got != nil:
		p.line(4, paint(dim, "the request has  "), some(s.Got))
	}
	if s.Note != "" {
		p.line(4, s.Note)
	}
}

// some prints the first of a list's values.
func some(values []string) string {
	const most = 5
	if len(values) == 0 {
		return "nothing"
	}
	shown := strings.Join(values[:min(len(values), most)], ", ")
	if more := len(values) - most; more > 0 {
		shown += fmt.Sprintf(" and %d more", more)
	}
	return shown
}

// A page is text that is being written, two columns to a step of indentation.
type page struct {
	strings.Builder
	color bool
}

const (
	bold  = "1;"
	dim   = "2;"
	red   = "31;"
	green = "32;"
)

// A painted is text in a style of the terminal.
type painted struct{ style, text string }

func paint(style, text string) painted { return painted{style, text} }

// line writes texts, painted or plain, as one line. Control characters that a
// caller has put into a name do not reach the terminal.
func (p *page) line(indent int, parts ...any) {
	if len(parts) > 0 {
		p.WriteString(strings.Repeat("  ", indent))
	}
	for _, part := range parts {
		switch part := part.(type) {
		case string:
			p.WriteString(visible.Replace(part))
		case painted:
			if p.color && part.text != "" {
				p.WriteString("\x1b[" + strings.TrimSuffix(part.style, ";") + "m" + visible.Replace(part.text) + "\x1b[0m")
			} else {
				p.WriteString(visible.Replace(part.text))
			}
		}
	}
	p.WriteByte('\n')
}

var visible = strings.NewReplacer(func() []string {
	var pairs []string
	for c := range rune(0xa0) {
		if c < ' ' || c >= 0x7f {
			pairs = append(pairs, string(c), fmt.Sprintf(`\u%04x`, c))
		}
	}
	return pairs
}()...)

func (p *page) fact(name, value, account string) {
	if account != "" && !strings.Contains(value, account) {
		value += " (account " + account + ")"
	}
	p.line(1, paint(dim, fmt.Sprintf("%-14s", name)), value)
}
