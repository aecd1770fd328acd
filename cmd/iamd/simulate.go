package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/authz"
	iamapi "github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/policy"
)

func newSimulate() *cobra.Command {
	s := &simulator{}
	cmd := &cobra.Command{
		Use:   "simulate FILE... [flags]",
		Short: "Decide requests by policies from files",
		Long: `Simulate decides requests by policies from files, with the engine of the server
and without one. A request may say what is expected; the exit status tells whether
all was as expected, so that policies can be tested where code is.

A FILE in YAML or JSON has policies and requests:

  policies:
    identity: [reader.json, admin.json]  # files, beside this one
    boundary: boundary.json
    session:  session.json
    resource: bucket.json                # or trust: of the role to be assumed
    scp: [[full.json], [team.json]]      # levels, from the root to the account
    rcp: [[full.json]]
  requests:
    - principal: arn:aws:iam::111122223333:user/alice
      action: s3:GetObject
      resource: arn:aws:s3:::reports/q3.csv
      context: {aws:SourceIp: 10.1.2.3}
      expect: allowed                    # explicitDeny, implicitDeny, or denied: either

A policy may stand there itself instead of its file's name, and a request may have
policies of its own, which replace those of the same kind. A FILE that ends in .jsonl,
and - for what is piped in, has a request on each line; its policies are those of
--policies, a file that has what stands under policies: above.

What is not as expected is explained. The exit status is 0 when all is as expected,
1 when something is not, and 2 when there is no answer: a file cannot be read, a
policy is none.`,
		Example: `  iamd simulate policies_test.yaml
  iamd simulate *_test.yaml --format json | jq -r 'select(.ok == false).name'
  zcat requests.jsonl.gz | iamd simulate --policies policies.yaml -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{fmt.Errorf("%s needs a file: see %[1]s --help", cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			s.out, s.bar = bufio.NewWriter(cmd.OutOrStdout()), &bar{}
			s.in = cmd.InOrStdin()
			s.color = isTerminal(cmd.OutOrStdout())
			if isTerminal(cmd.ErrOrStderr()) {
				s.bar.w = cmd.ErrOrStderr()
			}
			err := s.run(args)
			s.bar.clear()
			if err == nil {
				err = s.summary()
			}
			return errors.Join(err, s.out.Flush())
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&s.policies, "policies", "", "policies of requests that have none, from `FILE`")
	fs.StringVar(&s.format, "format", "text", "`FORM` of the answers: text, or json: one a line")
	fs.BoolVar(&s.explain, "explain", false, "explain what is as expected, too")
	cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// A simulator decides the requests of files.
type simulator struct {
	policies, format string
	explain          bool

	in    io.Reader
	out   *bufio.Writer
	color bool
	bar   *bar

	decided, expected, failed int
}

// A scenario is a file of policies and requests.
type scenario struct {
	Policies policySet           `json:"policies"`
	Requests []simulationRequest `json:"requests"`
}

// A policySet is policies by kind. A kind that is not there does not limit.
type policySet struct {
	Identity policyList   `json:"identity"`
	Boundary *policyText  `json:"boundary"`
	Session  policyList   `json:"session"`
	Resource *policyText  `json:"resource"`
	Trust    *policyText  `json:"trust"`
	SCP      []policyList `json:"scp"`
	RCP      []policyList `json:"rcp"`
}

// over is the set with what another has instead.
func (p policySet) over(below policySet) policySet {
	if p.Identity == nil {
		p.Identity = below.Identity
	}
	if p.Boundary == nil {
		p.Boundary = below.Boundary
	}
	if p.Session == nil {
		p.Session = below.Session
	}
	if p.Resource == nil && p.Trust == nil {
		p.Resource, p.Trust = below.Resource, below.Trust
	}
	if p.SCP == nil {
		p.SCP = below.SCP
	}
	if p.RCP == nil {
		p.RCP = below.RCP
	}
	return p
}

// A policyText is a policy document, or the name of a file that has one.
type policyText struct {
	name     string // of the file; "" for a document that stands here
	document string
}

func (p *policyText) UnmarshalJSON(b []byte) error {
	if b[0] == '"' {
		if err := json.Unmarshal(b, &p.name); err != nil || p.name == "" {
			return errors.New("a policy is a document or the name of a file")
		}
		return nil
	}
	p.document = string(b)
	return nil
}

// A policyList is policies; one alone needs no brackets.
type policyList []policyText

func (l *policyList) UnmarshalJSON(b []byte) error {
	if b[0] == '[' {
		*l = policyList{} // a list of none is there: it allows nothing
		var items []policyText
		if err := json.Unmarshal(b, &items); err != nil {
			return err
		}
		*l = append(*l, items...)
		return nil
	}
	*l = make(policyList, 1)
	return json.Unmarshal(b, &(*l)[0])
}

// A simulationRequest is one question.
type simulationRequest struct {
	Name      string                   `json:"name"`
	Principal string                   `json:"principal"`
	Action    string                   `json:"action"`
	Resource  string                   `json:"resource"`
	Owner     string                   `json:"owner"` // account of a resource whose ARN has none
	Context   map[string]contextValues `json:"context"`
	Expect    string                   `json:"expect"`
	Policies  policySet                `json:"policies"`
}

// contextValues are the values of a condition key: a text, number or boolean, or a
// list of them.
type contextValues struct {
	values []string
	list   bool
}

func (v *contextValues) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var raw any
	if err := d.Decode(&raw); err != nil {
		return err
	}
	items := []any{raw}
	if list, ok := raw.([]any); ok {
		items, v.list = list, true
	}
	for _, item := range items {
		switch item.(type) {
		case string, json.Number, bool:
			v.values = append(v.values, fmt.Sprint(item))
		default:
			return fmt.Errorf("the value of a condition key is text, a number, true or false, or a list of them: %s", b)
		}
	}
	return nil
}

// A simulationAnswer is the answer to a request, as --format json prints it.
type simulationAnswer struct {
	Name        string             `json:"name"`
	Principal   string             `json:"principal"`
	Action      string             `json:"action"`
	Resource    string             `json:"resource"`
	Decision    string             `json:"decision"`
	Expect      string             `json:"expect,omitempty"`
	OK          *bool              `json:"ok,omitempty"` // nothing was expected: not there
	Reason      string             `json:"reason,omitempty"`
	Missing     []string           `json:"missing,omitempty"`
	Explanation *authz.Explanation `json:"explanation,omitempty"`
}

func (s *simulator) run(files []string) error {
	if s.format != "text" && s.format != "json" {
		return usageError{fmt.Errorf("--format is text or json, not %q", s.format)}
	}
	var below policySet
	dir := "."
	if s.policies != "" {
		text, err := os.ReadFile(s.policies)
		if err != nil {
			return usageError{err}
		}
		if err := readYAML(text, &below); err != nil {
			return usageError{fmt.Errorf("%s: %w", s.policies, err)}
		}
		dir = filepath.Dir(s.policies)
	}
	base, err := layersOf(below, dir)
	if err != nil {
		return usageError{fmt.Errorf("%s: %w", s.policies, err)}
	}
	for _, file := range files {
		var err error
		if file == "-" || strings.HasSuffix(file, ".jsonl") {
			err = s.lines(file, below, dir, base)
		} else {
			err = s.scenario(file, below)
		}
		if err != nil {
			return usageError{fmt.Errorf("%s: %w", file, err)}
		}
	}
	return nil
}

// scenario decides the requests of a file that has them all.
func (s *simulator) scenario(file string, below policySet) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return errors.Unwrap(err) // the file is named already
	}
	var c scenario
	if err := readYAML(text, &c); err != nil {
		return err
	}
	if len(c.Requests) == 0 {
		return errors.New("there are no requests")
	}
	dir := filepath.Dir(file)
	c.Policies = c.Policies.over(below)
	layers, err := layersOf(c.Policies, dir)
	if err != nil {
		return err
	}
	s.bar.total = int64(len(c.Requests))
	for i := range c.Requests {
		if err := s.decide(&c.Requests[i], c.Policies, dir, layers, fmt.Sprintf("request %d", i+1)); err != nil {
			return err
		}
		s.bar.at(int64(i+1), s.decided)
	}
	return nil
}

const maxLine = 16 << 20 // bytes of a request with its policies

// lines decides the requests of a file that has one on each line.
func (s *simulator) lines(file string, below policySet, dir string, base *authz.Layers) error {
	in := s.in
	s.bar.total = 0
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return errors.Unwrap(err)
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil {
			s.bar.total = info.Size()
		}
		in = f
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	read := int64(0)
	for n := 1; lines.Scan(); n++ {
		line := lines.Bytes()
		read += int64(len(line)) + 1
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var r simulationRequest
		if err := readJSON(line, &r); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if err := s.decide(&r, below, dir, base, fmt.Sprintf("line %d", n)); err != nil {
			return err
		}
		s.bar.at(read, s.decided)
	}
	return lines.Err()
}

func readYAML(text []byte, v any) error {
	text, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return err
	}
	return readJSON(text, v)
}

func readJSON(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// layersOf reads the policies of a set, as far as they are files beside dir.
func layersOf(set policySet, dir string) (*authz.Layers, error) {
	l := &authz.Layers{}
	one := func(kind string, k policy.Kind, t *policyText) (*authz.Policy, error) {
		name, text := t.name, []byte(t.document)
		if name != "" {
			path := name
			if !filepath.IsAbs(path) {
				path = filepath.Join(dir, path)
			}
			var err error
			if text, err = os.ReadFile(path); err != nil {
				return nil, err
			}
		} else {
			name = "the " + kind + " policy in the request"
		}
		_, err := policy.Check(text, k)
		if bad, ok := err.(*policy.Malformed); ok {
			if t.name != "" {
				return nil, fmt.Errorf("%s:%d:%d: %s", name, bad.Line, bad.Column, bad.Text)
			}
			return nil, fmt.Errorf("%s: %s", name, bad.Text)
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return &authz.Policy{Name: name, Document: identity.NewDocument(string(text))}, nil
	}
	list := func(kind string, k policy.Kind, texts policyList) ([]authz.Policy, error) {
		var all []authz.Policy
		for i := range texts {
			p, err := one(kind, k, &texts[i])
			if err != nil {
				return nil, err
			}
			all = append(all, *p)
		}
		return all, nil
	}
	levels := func(kind string, k policy.Kind, texts []policyList) ([][]authz.Policy, error) {
		var all [][]authz.Policy
		for _, level := range texts {
			policies, err := list(kind, k, level)
			if err != nil {
				return nil, err
			}
			all = append(all, policies)
		}
		return all, nil
	}
	var err error
	fail := func(e error) { err = cmpErr(err, e) }
	take := func(into **authz.Policy, kind string, k policy.Kind, t *policyText) {
		if t == nil {
			return
		}
		p, e := one(kind, k, t)
		fail(e)
		*into = p
	}
	var e error
	l.Identity, e = list("identity", policy.Identity, set.Identity)
	fail(e)
	take(&l.Boundary, "boundary", policy.Boundary, set.Boundary)
	l.Bounded = set.Boundary != nil
	l.Session, e = list("session", policy.Session, set.Session)
	fail(e)
	l.Sessioned = set.Session != nil
	if set.Resource != nil && set.Trust != nil {
		fail(errors.New("a resource has a resource policy or, being a role, a trust policy"))
	}
	take(&l.Resource, "resource", policy.Resource, set.Resource)
	if set.Trust != nil {
		take(&l.Resource, "trust", policy.Trust, set.Trust)
		l.Trust = true
	}
	l.SCP, e = levels("scp", policy.SCP, set.SCP)
	fail(e)
	l.RCP, e = levels("rcp", policy.RCP, set.RCP)
	fail(e)
	return l, err
}

// cmpErr is the first of two errors.
func cmpErr(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// decide decides a request and prints the answer.
func (s *simulator) decide(r *simulationRequest, below policySet, dir string, layers *authz.Layers, where string) error {
	if r.Name == "" {
		r.Name = where
	} else {
		where = fmt.Sprintf("%s (%s)", where, r.Name)
	}
	wrong := func(err error) error { return fmt.Errorf("%s: %w", where, err) }
	if own := r.Policies; own.Identity != nil || own.Boundary != nil || own.Session != nil || own.Resource != nil || own.Trust != nil || own.SCP != nil || own.RCP != nil {
		var err error
		if layers, err = layersOf(own.over(below), dir); err != nil {
			return wrong(err)
		}
	}
	caller, err := callerOf(r.Principal)
	if err != nil {
		return wrong(err)
	}
	if prefix, name, ok := strings.Cut(r.Action, ":"); !ok || prefix == "" || name == "" || strings.ContainsAny(r.Action, "*? ") {
		return wrong(fmt.Errorf("%q is not the name of an action", r.Action))
	}
	if r.Resource == "" {
		r.Resource = "*"
	}
	if _, err := arn.Parse(r.Resource); err != nil && r.Resource != "*" {
		return wrong(err)
	}
	if r.Owner != "" && !identity.ValidAccount(r.Owner) {
		return wrong(fmt.Errorf("the owner %q is no account id", r.Owner))
	}
	if !slices.Contains([]string{"", "allowed", "explicitDeny", "implicitDeny", "denied"}, r.Expect) {
		return wrong(fmt.Errorf("expect is allowed, explicitDeny, implicitDeny or denied, not %q", r.Expect))
	}
	q := &authz.Request{
		Call:  &service.Call{Account: caller.Account, Caller: caller, Time: time.Now().UTC()},
		Check: service.Check{Action: policy.Action(r.Action), Target: service.Target{ARN: arn.ARN(r.Resource)}},
	}
	if q.Check.ARN.Account() == "" {
		q.Object.Account = r.Owner
	}
	for name, v := range r.Context {
		value := policy.List(v.values)
		if !v.list {
			value = policy.String(v.values[0])
		}
		q.Check.Pairs = append(q.Check.Pairs, service.Pair{Name: name, Key: strings.ToLower(name), Value: value})
	}
	slices.SortFunc(q.Check.Pairs, func(a, b service.Pair) int { return strings.Compare(a.Name, b.Name) })

	l := *layers
	switch caller.Type {
	case identity.RootUser:
		l.Unlimited = true
	case identity.FederatedUser:
		l.Sessioned = true // may do nothing of its own without session policies
	}
	d := authz.Simulate(q, &l, nil)
	decision := "implicitDeny"
	switch {
	case d.Allowed:
		decision = "allowed"
	case d.Explicit:
		decision = "explicitDeny"
	}
	ok := r.Expect == "" || r.Expect == decision || r.Expect == "denied" && !d.Allowed
	s.decided++
	if r.Expect != "" {
		s.expected++
	}
	if !ok {
		s.failed++
	}
	var x *authz.Explanation
	if !ok || s.explain {
		x = &authz.Explanation{}
		authz.Simulate(q, &l, x) // the same decision, told
	}
	return s.print(r, decision, ok, x)
}

func (s *simulator) print(r *simulationRequest, decision string, ok bool, x *authz.Explanation) error {
	if s.format == "text" && ok && x == nil && r.Expect != "" {
		return nil // as it should be
	}
	if s.bar.clear() {
		defer s.out.Flush()
	}
	if s.format == "json" {
		o := simulationAnswer{Name: r.Name, Principal: r.Principal, Action: r.Action, Resource: r.Resource, Decision: decision, Expect: r.Expect, Explanation: x}
		if r.Expect != "" {
			o.OK = &ok
		}
		if x != nil {
			o.Reason, o.Missing = x.Reason, x.Missing
		}
		return json.NewEncoder(s.out).Encode(o)
	}
	line := fmt.Sprintf("%s: %s, %s on %s", r.Name, r.Principal, r.Action, r.Resource)
	switch {
	case !ok:
		fmt.Fprintf(s.out, "FAIL  %s: %s, expected %s\n\n", line, decision, r.Expect)
	case r.Expect == "":
		fmt.Fprintf(s.out, "%-12s  %s\n", decision, line)
	default:
		fmt.Fprintf(s.out, "ok    %s: %s\n\n", line, decision)
	}
	if x == nil {
		return nil
	}
	if err := x.WriteText(s.out, s.color); err != nil {
		return err
	}
	_, err := fmt.Fprintln(s.out)
	return err
}

// summary says how many were as expected; it is an error when one was not.
func (s *simulator) summary() error {
	if s.failed > 0 {
		return fmt.Errorf("%d of %d requests are not as expected", s.failed, s.decided)
	}
	if s.format == "text" && s.expected > 0 {
		fmt.Fprintf(s.out, "%d of %d requests are as expected\n", s.expected, s.decided)
	}
	return nil
}

// callerOf is who a principal is: a user, role, role session, federated user or root
// user by ARN, a service by its name, or "anonymous".
func callerOf(principal string) (*identity.Caller, error) {
	switch {
	case principal == "":
		return nil, errors.New("there is no principal")
	case principal == "anonymous" || principal == "*":
		return &identity.Caller{}, nil
	case strings.HasSuffix(principal, ".amazonaws.com") && !strings.Contains(principal, ":"):
		return &identity.Caller{Type: identity.AWSService, Service: principal}, nil
	}
	a, err := arn.Parse(principal)
	if err != nil {
		return nil, fmt.Errorf("the principal is an ARN, a service (ec2.amazonaws.com) or anonymous, not %q", principal)
	}
	kind, rest, _ := strings.Cut(a.Resource(), "/")
	name := rest[strings.LastIndexByte(rest, '/')+1:]
	c := &identity.Caller{Account: a.Account(), ARN: a}
	named := identity.ValidAccount(c.Account) && name != ""
	switch service := a.Service(); {
	case service == "iam" && kind == "root" && identity.ValidAccount(c.Account):
		c = identity.RootCaller(c.Account, "")
	case service == "iam" && kind == "user" && named:
		c.Type = identity.IAMUser
		c.User = &identity.User{User: iamapi.User{Arn: principal, UserName: name}}
	case service == "iam" && kind == "role" && named:
		c.Type, c.ARN = identity.AssumedRole, identity.AssumedRoleARN(c.Account, name, "simulation")
		c.Role = &identity.Role{Role: iamapi.Role{Arn: principal, RoleName: name}}
	case service == "sts" && kind == "assumed-role" && named && strings.Count(rest, "/") == 1:
		role, _, _ := strings.Cut(rest, "/")
		c.Type = identity.AssumedRole
		c.Role = &identity.Role{Role: iamapi.Role{Arn: "arn:aws:iam::" + c.Account + ":role/" + role, RoleName: role}}
	case service == "sts" && kind == "federated-user" && named:
		c.Type, c.UserID = identity.FederatedUser, c.Account+":"+name
	default:
		return nil, fmt.Errorf("%s is nobody who calls: a user, role, session or root user", principal)
	}
	return c, nil
}

// A bar shows on a terminal how far a long run is; w nil is none.
type bar struct {
	w     io.Writer
	total int64 // 0: not known
	shown time.Time
	drawn bool
}

const barWidth = 40

func (b *bar) at(done int64, requests int) {
	if b.w == nil || time.Since(b.shown) < 100*time.Millisecond {
		return
	}
	if b.shown.IsZero() { // a short run shows none
		b.shown = time.Now()
		return
	}
	b.shown, b.drawn = time.Now(), true
	if b.total == 0 {
		fmt.Fprintf(b.w, "\r%d requests", requests)
		return
	}
	full := int(barWidth * min(done, b.total) / b.total)
	fmt.Fprintf(b.w, "\r[%s%s] %3d%%  %d requests", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), 100*min(done, b.total)/b.total, requests)
}

// clear takes the bar away and tells whether there was one.
func (b *bar) clear() bool {
	if !b.drawn {
		return false
	}
	fmt.Fprint(b.w, "\r\x1b[K")
	b.drawn = false
	return true
}
