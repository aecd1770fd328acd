package server_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// This file has a second, naive engine for a part of the language, written from
// AWS's documentation ("Policy evaluation logic", "Cross-account policy evaluation
// logic", "Permissions boundaries") and not from ours, and compares it with the
// server on random worlds.

// A saying is a statement of a policy. Resources and actions end in * at most.
type saying struct {
	Effect    string
	Principal any      `json:",omitempty"` // "*" or {"AWS": name}
	Action    []string `json:",omitempty"`
	Resource  []string `json:",omitempty"`
	names     string   // whom Principal names; "" in policies without
}

type sayings []saying

func (s sayings) String() string {
	b, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []saying(s)})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// says reports whether a statement with the effect matches, whoever calls.
func (s sayings) says(effect, action, resource string) bool {
	return slices.ContainsFunc(s, func(x saying) bool {
		return x.Effect == effect && covers(x.Action, action) && covers(x.Resource, resource)
	})
}

func covers(patterns []string, text string) bool {
	if patterns == nil {
		return true // a trust policy has no Resource
	}
	return slices.ContainsFunc(patterns, func(p string) bool {
		prefix, wild := strings.CutSuffix(p, "*")
		return p == text || wild && strings.HasPrefix(text, prefix)
	})
}

// A person is a user, a role, or whoever acts as one.
type person struct {
	account string
	kind    string // user, role
	name    string
	policy  sayings
	bound   sayings // nil: no boundary
	trust   sayings // of a role
	actor   actor   // of a user
}

func (p *person) arn() string { return "arn:aws:iam::" + p.account + ":" + p.kind + "/" + p.name }

// A player is who makes a call.
type player struct {
	actor   actor
	kind    string // root, user, session (of a role), token (GetSessionToken), federated, anonymous
	account string
	of      *person // nil: root and anonymous
	arn     string  // of a session or federated user
	limited bool    // by session policies
	again   bool    // has a session of GetSessionToken
	session sayings
}

func (p *player) String() string {
	switch {
	case p.of == nil:
		return p.kind + " " + p.account
	case p.arn != "":
		return p.kind + " " + p.arn
	}
	return p.kind + " " + p.of.arn()
}

// A place is a bucket.
type place struct {
	account, name string
	policy        sayings
}

// grants are how the Allow statements of a resource's policy name the caller.
type grants struct{ itself, role, account, everyone, denied bool }

func granted(policy sayings, p *player, action, resource string) grants {
	var g grants
	for _, s := range policy {
		if !covers(s.Action, action) || !covers(s.Resource, resource) {
			continue
		}
		var one grants
		switch {
		case s.names == "*":
			one.everyone = true
		case p.kind == "anonymous":
		case s.names == p.account || s.names == "arn:aws:iam::"+p.account+":root":
			one.account = true
		case p.arn != "" && s.names == p.arn:
			one.itself = true
		case p.of != nil && s.names == p.of.arn() && (p.kind == "user" || p.kind == "token"):
			one.itself = true
		case p.of != nil && s.names == p.of.arn():
			one.role = true // a session by its role, a federated user by the user who federated
		}
		if one == (grants{}) {
			continue
		}
		if s.Effect == "Deny" {
			g.denied = true
			continue
		}
		g = grants{g.itself || one.itself, g.role || one.role, g.account || one.account, g.everyone || one.everyone, g.denied}
	}
	return g
}

// predict says whether AWS allows the call.
func predict(p *player, action, resource, owner string, policy sayings, isTrust bool) bool {
	g := granted(policy, p, action, resource)
	var identity, bound, session sayings
	if p.of != nil {
		identity, bound = p.of.policy, p.of.bound
	}
	session = p.session
	// An explicit deny anywhere.
	if g.denied || identity.says("Deny", action, resource) || bound.says("Deny", action, resource) || session.says("Deny", action, resource) {
		return false
	}
	if p.kind == "anonymous" {
		return g.everyone
	}
	identityAllows := p.kind == "root" || identity.says("Allow", action, resource)
	boundAllows := bound == nil || bound.says("Allow", action, resource)
	sessionAllows := !p.limited || session.says("Allow", action, resource)
	mine := identityAllows && boundAllows && sessionAllows
	if p.account != owner {
		return mine && (g.itself || g.role || g.account || g.everyone)
	}
	switch {
	case isTrust && g.itself && (p.kind == "user" || p.kind == "token") && !boundAllows:
		return false // "Update a role trust policy": a user with a boundary needs it to allow
	case g.itself || g.everyone:
		return true
	case g.role:
		return boundAllows && sessionAllows
	case isTrust && !g.account:
		return false
	}
	return mine
}

// A world is a server with people and buckets that a test makes up.
type world struct {
	*site
	r       *rand.Rand
	people  []*person
	places  []*place
	players []*player
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// somebody is whom a principal may name.
func (w *world) somebody() string {
	p := pick(w.r, w.people...)
	switch w.r.IntN(6) {
	case 0:
		return "*"
	case 1:
		return pick(w.r, ours, theirs)
	case 2:
		return "arn:aws:iam::" + pick(w.r, ours, theirs) + ":root"
	case 3:
		if p.kind == "role" {
			return "arn:aws:sts::" + p.account + ":assumed-role/" + p.name + "/" + pick(w.r, "s1", "s2")
		}
		return "arn:aws:sts::" + p.account + ":federated-user/" + p.name
	}
	return p.arn()
}

func (w *world) effect() string { return pick(w.r, "Allow", "Allow", "Allow", "Deny") }

func (w *world) actions() []string {
	return []string{pick(w.r, "*", "s3:*", "s3:GetObject", "s3:PutObject", "s3:Get*", "sts:AssumeRole", "sts:*")}
}

func (w *world) resources() []string {
	var all []string
	for range 1 + w.r.IntN(2) {
		switch w.r.IntN(4) {
		case 0:
			all = append(all, "*")
		case 1:
			all = append(all, pick(w.r, w.people...).arn())
		case 2:
			all = append(all, "arn:aws:s3:::"+pick(w.r, w.places...).name+"/*")
		case 3:
			all = append(all, "arn:aws:s3:::"+pick(w.r, w.places...).name+"/"+pick(w.r, "a", "b", "a*"))
		}
	}
	return all
}

// identityPolicy makes up a policy of a user, a role, a boundary or a session.
func (w *world) identityPolicy() sayings {
	s := sayings{}
	for range 1 + w.r.IntN(3) {
		s = append(s, saying{Effect: w.effect(), Action: w.actions(), Resource: w.resources()})
	}
	return s
}

func principal(name string) any {
	if name == "*" {
		return name
	}
	return map[string]string{"AWS": name}
}

func (w *world) setTrust(p *person) {
	p.trust = nil
	for range 1 + w.r.IntN(3) {
		name := w.somebody()
		p.trust = append(p.trust, saying{Effect: w.effect(), Principal: principal(name), names: name, Action: []string{"sts:AssumeRole"}})
	}
	w.well(w.query(w.roots[p.account], "iam", "UpdateAssumeRolePolicy", "RoleName", p.name, "PolicyDocument", p.trust.String()))
}

func (w *world) setPolicy(p *person) {
	p.policy = w.identityPolicy()
	operation, name := "PutUserPolicy", "UserName"
	if p.kind == "role" {
		operation, name = "PutRolePolicy", "RoleName"
	}
	w.well(w.query(w.roots[p.account], "iam", operation, name, p.name, "PolicyName", "p", "PolicyDocument", p.policy.String()))
}

func (w *world) setBoundary(p *person) {
	root := w.roots[p.account]
	kind, name := "User", "UserName"
	if p.kind == "role" {
		kind, name = "Role", "RoleName"
	}
	if p.bound != nil {
		w.well(w.query(root, "iam", "Delete"+kind+"PermissionsBoundary", name, p.name))
		w.well(w.query(root, "iam", "DeletePolicy", "PolicyArn", "arn:aws:iam::"+p.account+":policy/of-"+p.name))
	}
	p.bound = nil
	if w.r.IntN(2) == 0 {
		return
	}
	p.bound = w.identityPolicy()
	w.well(w.query(root, "iam", "CreatePolicy", "PolicyName", "of-"+p.name, "PolicyDocument", p.bound.String()))
	w.well(w.query(root, "iam", "Put"+kind+"PermissionsBoundary", name, p.name, "PermissionsBoundary", "arn:aws:iam::"+p.account+":policy/of-"+p.name))
}

func (w *world) setBucketPolicy(b *place) {
	b.policy = nil
	for range w.r.IntN(4) {
		name := w.somebody()
		resource := "arn:aws:s3:::" + b.name + "/" + pick(w.r, "*", "a", "b", "a*")
		action := pick(w.r, "s3:*", "s3:GetObject", "s3:PutObject", "s3:Get*")
		b.policy = append(b.policy, saying{Effect: w.effect(), Principal: principal(name), names: name, Action: []string{action}, Resource: []string{resource}})
	}
	root := w.roots[b.account]
	if b.policy == nil {
		w.well(w.s3(root, "DELETE", "/"+b.name+"?policy", ""))
		return
	}
	w.well(w.s3(root, "PUT", "/"+b.name+"?policy", b.policy.String()))
}

// build makes the people and the buckets.
func build(t *testing.T, seed uint64) *world {
	w := &world{site: open(t, nil), r: rand.New(rand.NewPCG(seed, 1))}
	for i, account := range []string{ours, theirs} {
		root := w.roots[account]
		w.players = append(w.players, &player{kind: "root", account: account, actor: root})
		for j := range 3 {
			u := &person{account: account, kind: "user", name: fmt.Sprintf("user%d%d", i, j)}
			u.actor = w.user(account, u.name, "")
			r := &person{account: account, kind: "role", name: fmt.Sprintf("role%d%d", i, j)}
			w.well(w.query(root, "iam", "CreateRole", "RoleName", r.name, "AssumeRolePolicyDocument", trust(account)))
			w.people = append(w.people, u, r)
			w.players = append(w.players, &player{kind: "user", account: account, of: u, actor: u.actor})
		}
		b := &place{account: account, name: fmt.Sprintf("bucket-%d", i)}
		w.well(w.s3(root, "PUT", "/"+b.name, ""))
		w.well(w.s3(root, "DELETE", "/"+b.name+"?publicAccessBlock", ""))
		for _, key := range []string{"a", "b"} {
			w.well(w.s3(root, "PUT", "/"+b.name+"/"+key, "of "+key))
		}
		w.places = append(w.places, b)
	}
	w.players = append(w.players, &player{kind: "anonymous"})
	for _, p := range w.people {
		w.setPolicy(p)
		w.setBoundary(p)
		if p.kind == "role" {
			w.setTrust(p)
		}
	}
	for _, b := range w.places {
		w.setBucketPolicy(b)
	}
	return w
}

// change changes one policy.
func (w *world) change() string {
	p := pick(w.r, w.people...)
	switch w.r.IntN(4) {
	case 0:
		w.setPolicy(p)
		return "policy of " + p.arn()
	case 1:
		w.setBoundary(p)
		return "boundary of " + p.arn()
	case 2:
		if p.kind == "role" {
			w.setTrust(p)
			return "trust of " + p.arn()
		}
	}
	b := pick(w.r, w.places...)
	w.setBucketPolicy(b)
	return "policy of bucket " + b.name
}

// call makes one call and checks its answer. A role that was assumed joins the players.
func (w *world) call(t *testing.T) (allowed bool) {
	p := pick(w.r, w.players...)
	var action, resource, owner string
	var policy sayings
	var a reply
	var join *player
	want := true
	what := w.r.IntN(8)
	if p.kind == "anonymous" {
		what = what % 5
	}
	switch {
	case what < 5:
		b, key := pick(w.r, w.places...), pick(w.r, "a", "b")
		action, resource, owner, policy = "s3:GetObject", "arn:aws:s3:::"+b.name+"/"+key, b.account, b.policy
		method, body := "GET", ""
		if what < 2 {
			action, method, body = "s3:PutObject", "PUT", "of "+key
		}
		a = w.s3(p.actor, method, "/"+b.name+"/"+key, body)
		want = predict(p, action, resource, owner, policy, false)
		if a.status == 200 && method == "GET" && a.body != "of "+key {
			t.Errorf("%v reads %q", p, a.body)
		}
	case what == 5 && !p.again && (p.kind == "user" || p.kind == "root"): // needs no permission
		a = w.query(p.actor, "sts", "GetSessionToken")
		action, resource, want = "sts:GetSessionToken", "*", true
		join = &player{kind: "token", account: p.account, of: p.of, again: true}
		if p.kind == "root" {
			join.kind = "root"
		}
	case what == 6 && p.kind == "user":
		action, resource, owner = "sts:GetFederationToken", "arn:aws:sts::"+p.account+":federated-user/"+p.of.name, p.account
		join = &player{kind: "federated", account: p.account, of: p.of, arn: resource, limited: true}
		parameters := []string{"Name", p.of.name}
		if w.r.IntN(3) > 0 {
			join.session = w.identityPolicy()
			parameters = append(parameters, "Policy", join.session.String())
		}
		a = w.query(p.actor, "sts", "GetFederationToken", parameters...)
		want = predict(p, action, resource, owner, nil, false)
	default:
		var roles []*person
		for _, r := range w.people {
			if r.kind == "role" {
				roles = append(roles, r)
			}
		}
		r := pick(w.r, roles...)
		session := pick(w.r, "s1", "s2")
		action, resource, owner, policy = "sts:AssumeRole", r.arn(), r.account, r.trust
		join = &player{kind: "session", account: r.account, of: r, arn: "arn:aws:sts::" + r.account + ":assumed-role/" + r.name + "/" + session}
		var parameters []string
		if w.r.IntN(3) == 0 {
			join.session, join.limited = w.identityPolicy(), true
			parameters = append(parameters, "Policy", join.session.String())
		}
		join.actor, a = w.assume(p.actor, r.arn(), session, parameters...)
		// A root user and a federated one assume no role, whatever policies say.
		want = p.kind != "root" && p.kind != "federated" && predict(p, action, resource, owner, policy, true)
	}
	if got := a.status == 200; got != want || !got && (a.status != 403 || a.code != "AccessDenied") {
		x, _ := w.details(w.roots[ours], a.requestID)
		y, _ := w.details(w.roots[theirs], a.requestID)
		t.Errorf("%v: %s on %s is answered %d %s; allowed should be %v\nits policies: %v\nboundary: %v\nsession: %v\nresource: %v\n%s\n%s", p, action, resource, a.status, a.code, want,
			p.of, p.of.boundary(), p.session, policy, x.body, y.body)
	}
	if join != nil && a.status == 200 && len(w.players) < 40 {
		if join.actor.id == "" {
			join.actor = actor{a.element("AccessKeyId"), a.element("SecretAccessKey"), a.element("SessionToken")}
		}
		w.players = append(w.players, join)
	}
	return want
}

func (p *person) boundary() sayings {
	if p == nil {
		return nil
	}
	return p.bound
}

// The server decides as the naive engine does, and a change of a policy holds from
// the next call.
func TestRandomWorlds(t *testing.T) {
	t.Parallel()
	worlds, calls := 12, 250
	if testing.Short() {
		worlds = 3
	}
	for seed := range worlds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := build(t, uint64(seed))
			allowed := 0
			var changes []string
			for i := range calls {
				if i%4 == 3 {
					changes = append(changes, w.change())
				}
				if w.call(t) {
					allowed++
				}
				if t.Failed() {
					t.Fatalf("after %d calls; changes: %q", i+1, changes)
				}
			}
			if allowed < calls/20 || allowed > calls*19/20 {
				t.Errorf("of %d calls %d are allowed: such a world tests little", calls, allowed)
			}
		})
	}
}
