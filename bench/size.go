package main

import (
	"bufio"
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/iamd-dev/iamd/internal/sigv4"
)

// The organisation of benchSize. One account is as large as AWS's quotas let it
// be, the rest is spread over the others.
const (
	accountsInAll = 1_000
	usersInAll    = 100_000
	rolesInAll    = 50_000
	usersOfOne    = 5_000
	rolesOfOne    = 1_000
	groupsOfOne   = 300
	groupsOfUser  = 10
	writers       = 16
)

// An organisation is what benchSize has made, and who may ask for it.
type organisation struct {
	accounts []string       // the large one first
	keys     []sigv4.Signer // of their root users
}

// benchSize makes an organisation through the API, with each change and its record
// synced to the disk before it is answered, measures the writes by that, and then
// reads, weighs and restarts it.
func benchSize(ctx context.Context, s settings) ([]table, error) {
	var o organisation
	args := []string{}
	for i := range max(1, int(accountsInAll*s.size)) {
		o.accounts = append(o.accounts, fmt.Sprintf("1%011d", i))
		args = append(args, "--account", o.accounts[i])
	}
	srv, err := startIAMD(ctx, s, args...)
	if err != nil {
		return nil, err
	}
	defer srv.stop()
	if err := o.readKeys(filepath.Join(srv.dir, "data", "credentials")); err != nil {
		return nil, err
	}

	t := table{title: "A large organisation",
		note: fmt.Sprintf("%s accounts; %d writers; every change and its record is synced (fsync) before it is answered; each role has a trust policy and an inline policy of its own",
			count(len(o.accounts)), writers),
		header: []string{"", "", "p50 µs", "p99 µs", "server CPU µs each"}}
	for _, step := range o.steps(s) {
		r, err := o.fill(ctx, srv, step)
		if err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", step.name, err, srv.log)
		}
		resident, err := srv.resident()
		if err != nil {
			return nil, err
		}
		t.row(fmt.Sprintf("%s: %s changes, %d MiB resident then", step.name, count(step.n), resident>>20),
			number(r.perSecond())+"/s", number(float64(r.p50.Microseconds())), number(float64(r.p99.Microseconds())), number(float64(r.cpu.Nanoseconds())/1000))
	}

	lists, err := o.lists(ctx, s, srv)
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, srv.log)
	}
	started := time.Now()
	if err := srv.restart(ctx, s); err != nil {
		return nil, fmt.Errorf("starting again: %w", err)
	}
	ready := time.Since(started)
	cpu, err := srv.cpu()
	if err != nil {
		return nil, err
	}
	t.row("ready again after a restart, with "+number(cpu.Seconds())+" s of CPU", number(ready.Seconds())+" s", "", "", "")
	resident, err := srv.resident()
	if err != nil {
		return nil, err
	}
	t.row("resident after the restart", fmt.Sprintf("%d MiB", resident>>20), "", "", "")
	again, err := o.lists(ctx, s, srv)
	if err != nil {
		return nil, fmt.Errorf("after the restart: %w\n%s", err, srv.log)
	}
	again.title += " after a restart"
	return []table{t, lists, again}, nil
}

// readKeys reads the root keys from the credentials file.
func (o *organisation) readKeys(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	byAccount := map[string]sigv4.Signer{}
	var account string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if profile, ok := strings.CutPrefix(line, "[root-"); ok {
			account = strings.TrimSuffix(profile, "]")
			continue
		}
		k := byAccount[account]
		switch name, value, _ := strings.Cut(line, "="); strings.TrimSpace(name) {
		case "aws_access_key_id":
			k.AccessKeyID = strings.TrimSpace(value)
		case "aws_secret_access_key":
			k.SecretAccessKey = strings.TrimSpace(value)
		}
		byAccount[account] = k
	}
	for _, a := range o.accounts {
		if byAccount[a].SecretAccessKey == "" {
			return fmt.Errorf("the credentials file has no root key of account %s", a)
		}
		o.keys = append(o.keys, byAccount[a])
	}
	return nil
}

// A step is some changes that can be made in any order: change gives the i-th,
// with the index of the account that makes it.
type step struct {
	name   string
	n      int
	change func(i int) (account int, form url.Values)
}

func (o *organisation) steps(s settings) []step {
	users, roles := o.spread(int(usersInAll*s.size), usersOfOne), o.spread(int(rolesInAll*s.size), rolesOfOne)
	groups := min(groupsOfOne, max(groupsOfUser, len(users)))
	shared := "arn:aws:iam::" + o.accounts[0] + ":policy/shared"
	large := 0 // roles of the large account
	for _, p := range roles {
		if p.account == 0 {
			large++
		}
	}
	form := func(action string, parameters ...string) url.Values {
		f := url.Values{"Action": {action}, "Version": {"2010-05-08"}}
		for i := 0; i+1 < len(parameters); i += 2 {
			f.Set(parameters[i], parameters[i+1])
		}
		return f
	}
	return []step{
		{"users", len(users), func(i int) (int, url.Values) {
			return users[i].account, form("CreateUser", "UserName", users[i].name("user"), "Path", path(users[i].number))
		}},
		{"roles", len(roles), func(i int) (int, url.Values) {
			p := roles[i]
			return p.account, form("CreateRole", "RoleName", p.name("role"), "Path", path(p.number), "AssumeRolePolicyDocument",
				fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::%s:root"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"%d-%d"}}}]}`,
					o.accounts[(p.account+1)%len(o.accounts)], p.account, p.number))
		}},
		{"policies of the roles", len(roles), func(i int) (int, url.Values) {
			p := roles[i]
			return p.account, form("PutRolePolicy", "RoleName", p.name("role"), "PolicyName", "own", "PolicyDocument",
				fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:Get*","s3:ListBucket"],"Resource":["arn:aws:s3:::bucket-%d-%d/*","arn:aws:s3:::bucket-%d-%d"],"Condition":{"IpAddress":{"aws:SourceIp":["10.0.0.0/8","203.0.113.0/24"]}}},{"Effect":"Deny","Action":"s3:Delete*","Resource":"arn:aws:s3:::*/protected/*"}]}`,
					p.account, p.number, p.account, p.number))
		}},
		{"groups of one account", groups, func(i int) (int, url.Values) {
			return 0, form("CreateGroup", "GroupName", fmt.Sprintf("group-%05d", i))
		}},
		{"memberships of one user", groupsOfUser, func(i int) (int, url.Values) {
			return 0, form("AddUserToGroup", "GroupName", fmt.Sprintf("group-%05d", i), "UserName", users[0].name("user"))
		}},
		{"one policy", 1, func(int) (int, url.Values) {
			return 0, form("CreatePolicy", "PolicyName", "shared", "PolicyDocument", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:ListAllMyBuckets","Resource":"*"}]}`)
		}},
		{"attaching it to the roles of its account", large, func(i int) (int, url.Values) {
			return 0, form("AttachRolePolicy", "RoleName", roles[i].name("role"), "PolicyArn", shared)
		}},
	}
}

// A place is the number of an entity in its account.
type place struct{ account, number int }

// name is that of the place's entity, of whatever kind.
func (p place) name(kind string) string { return fmt.Sprintf("%s-%05d", kind, p.number) }

// path puts every tenth entity on a path of its own.
func path(number int) string {
	if number%10 == 0 {
		return "/tenth/"
	}
	return "/"
}

// spread gives n places: those of the large account first, then the others' in turn.
func (o *organisation) spread(n, large int) []place {
	var all []place
	for i := range min(n, large) {
		all = append(all, place{0, i})
	}
	for i := range n - len(all) {
		others := max(1, len(o.accounts)-1)
		all = append(all, place{1 + i%others, i / others})
	}
	return all
}

// fill makes the changes of a step from some connections at once.
func (o *organisation) fill(ctx context.Context, srv *server, s step) (result, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	before, err := srv.cpu()
	if err != nil {
		return result{}, err
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	times := make([][]time.Duration, writers)
	start := time.Now()
	for w := range writers {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= s.n {
					return
				}
				account, form := s.change(i)
				sent := time.Now()
				if _, err := srv.call(ctx, o.keys[account], "iam", "POST", "/", nil, form.Encode()); err != nil {
					stop(err)
					return
				}
				times[w] = append(times[w], time.Since(sent))
			}
		})
	}
	wg.Wait()
	r := result{requests: s.n, seconds: time.Since(start).Seconds()}
	if err := context.Cause(ctx); err != nil {
		return r, err
	}
	after, err := srv.cpu()
	if err != nil {
		return r, err
	}
	all := slices.Concat(times...)
	slices.Sort(all)
	r.p50, r.p99, r.cpu = all[len(all)/2], all[len(all)*99/100], (after-before)/time.Duration(s.n)
	return r, nil
}

// lists reads every list of the large account to its end, some rounds, and tells how
// long its pages take from the request to the last byte of the answer, of each page
// the best round. That is a little more than what they take inside the server.
func (o *organisation) lists(ctx context.Context, s settings, srv *server) (table, error) {
	t := table{
		title:  "Pages of lists",
		note:   "one client; from sending the request to the end of the answer, of each page the best of the rounds; the slowest page is to show that none is slow, wherever it is in the list",
		header: []string{"", "entries", "pages", "first µs", "middle µs", "last µs", "slowest µs", "server CPU µs/page"},
	}
	shared := "arn:aws:iam::" + o.accounts[0] + ":policy/shared"
	for _, list := range []struct {
		action string
		entry  string // an element that each entry has once
		more   []string
	}{
		{"ListUsers", "UserId", nil},
		{"ListUsers", "UserId", []string{"MaxItems", "1000"}},
		{"ListRoles", "RoleId", nil},
		{"ListRoles", "RoleId", []string{"MaxItems", "1000"}},
		{"ListRoles", "RoleId", []string{"PathPrefix", "/tenth/"}},
		{"ListGroups", "GroupId", nil},
		{"ListGroupsForUser", "GroupId", []string{"UserName", "user-00000"}},
		{"ListEntitiesForPolicy", "RoleId", []string{"PolicyArn", shared}},
		{"GetAccountAuthorizationDetails", "Arn", nil},
	} {
		form := url.Values{"Action": {list.action}, "Version": {"2010-05-08"}}
		for i := 0; i+1 < len(list.more); i += 2 {
			form.Set(list.more[i], list.more[i+1])
		}
		var best []time.Duration
		var entries int
		before, err := srv.cpu()
		if err != nil {
			return t, err
		}
		for range s.rounds {
			entries = 0
			page, last := 0, false
			for form.Del("Marker"); !last; page++ {
				sent := time.Now()
				text, err := srv.call(ctx, o.keys[0], "iam", "POST", "/", nil, form.Encode())
				if err != nil {
					return t, err
				}
				took := time.Since(sent)
				if page == len(best) {
					best = append(best, took)
				}
				best[page] = min(best[page], took)
				entries += strings.Count(text, "<"+list.entry+">")
				_, marker, _ := strings.Cut(text, "<Marker>")
				marker, _, _ = strings.Cut(marker, "</Marker>")
				form.Set("Marker", marker)
				last = marker == ""
			}
		}
		after, err := srv.cpu()
		if err != nil {
			return t, err
		}
		µs := func(d time.Duration) string { return number(float64(d.Nanoseconds()) / 1000) }
		t.row(strings.Join(append([]string{list.action}, list.more...), " "), count(entries), count(len(best)),
			µs(best[0]), µs(best[len(best)/2]), µs(best[len(best)-1]), µs(slices.Max(best)), µs((after-before)/time.Duration(s.rounds*len(best))))
	}
	return t, nil
}

// resident is how much memory the server has resident.
func (s *server) resident() (int, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(s.cmd.Process.Pid) + "/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	return kib << 10, err
}

func count(n int) string { return number(float64(n)) }
