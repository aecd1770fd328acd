package main

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/internal/sigv4"
)

// distinct is how many requests are signed beforehand; they are sent in turn.
const distinct = 512

// compared measures servers in turn, some rounds each, and keeps each one's best.
func compared(ctx context.Context, s settings, servers []*server, requests [][][]byte) ([]result, error) {
	best := make([]result, len(servers))
	for i, srv := range servers { // once to warm up: caches, connections, the garbage collector
		warm := s
		warm.time = min(s.time, time.Second)
		if _, err := load(ctx, warm, srv.addr, requests[i], srv.cpu); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", srv.name, err, srv.log)
		}
	}
	for range s.rounds {
		for i, srv := range servers {
			r, err := load(ctx, s, srv.addr, requests[i], srv.cpu)
			if err != nil {
				return nil, fmt.Errorf("%s: %w\n%s", srv.name, err, srv.log)
			}
			if r.perSecond() > best[i].perSecond() || best[i].requests == 0 {
				best[i] = r
			}
		}
	}
	return best, nil
}

// results makes the table of some servers, of which the last is what the others are measured by.
func results(title, note string, servers []*server, best []result) table {
	last, peer := best[len(best)-1], servers[len(servers)-1].name
	t := table{title: title, note: note, header: []string{"", "requests/s", "of " + peer, "p50 µs", "p99 µs", "server CPU µs/request", "of " + peer}}
	for i, r := range best {
		cpu, more := "-", "-"
		if r.cpu > 0 && last.cpu > 0 {
			cpu, more = number(float64(r.cpu.Nanoseconds())/1000), ratio(float64(r.cpu)/float64(last.cpu))
		}
		t.row(servers[i].name, number(r.perSecond()), number(100*r.perSecond()/last.perSecond())+" %",
			number(float64(r.p50.Microseconds())), number(float64(r.p99.Microseconds())), cpu, more)
	}
	return t
}

// benchSTS measures AssumeRole of iamd beside a server that answers as many bytes and does nothing.
func benchSTS(ctx context.Context, s settings) ([]table, error) {
	srv, err := startIAMD(ctx, s)
	if err != nil {
		return nil, err
	}
	defer srv.stop()
	alice, role, err := prepareRole(ctx, srv)
	if err != nil {
		return nil, err
	}
	form := func(i int) string {
		return url.Values{"Action": {"AssumeRole"}, "Version": {"2011-06-15"}, "RoleArn": {role}, "RoleSessionName": {fmt.Sprintf("session-%04d", i)}}.Encode()
	}
	answer, err := srv.call(ctx, alice, "sts", "POST", "/", nil, form(0))
	if err != nil {
		return nil, err
	}
	if !strings.Contains(answer, "<SessionToken>") {
		return nil, fmt.Errorf("AssumeRole answers %s", answer)
	}
	nobody, err := startBare(ctx, s, len(answer))
	if err != nil {
		return nil, err
	}
	defer nobody.stop()

	servers := []*server{srv, nobody}
	requests := make([][][]byte, len(servers))
	for i, to := range servers {
		for n := range distinct {
			r, err := to.request(ctx, alice, "sts", "POST", "/", nil, form(n))
			if err != nil {
				return nil, err
			}
			b, err := written(r)
			if err != nil {
				return nil, err
			}
			requests[i] = append(requests[i], b)
		}
	}
	var tables []table
	for _, conns := range []int{s.conns, 2 * s.conns, 4 * s.conns} { // the more come together, the more share a sync
		s.conns = conns
		best, err := compared(ctx, s, servers, requests)
		if err != nil {
			return nil, err
		}
		tables = append(tables, results(fmt.Sprintf("AssumeRole over HTTP, %d connections", conns),
			fmt.Sprintf("an answer of %d bytes; iamd verifies the signature, decides by the trust policy and the caller's policies, has the record of the call on disk (fsync, in groups) and seals a session; the bare server reads the request and writes as many bytes", len(answer)),
			servers, best))
	}
	return tables, nil
}

// prepareRole makes a user with an access key, and a role that the user may assume.
func prepareRole(ctx context.Context, srv *server) (alice sigv4.Signer, role string, err error) {
	var identity struct {
		Account string `xml:"GetCallerIdentityResult>Account"`
	}
	iam := func(action string, parameters ...string) (string, error) {
		form := url.Values{"Action": {action}, "Version": {"2010-05-08"}}
		for i := 0; i+1 < len(parameters); i += 2 {
			form.Set(parameters[i], parameters[i+1])
		}
		return srv.call(ctx, srv.root, "iam", "POST", "/", nil, form.Encode())
	}
	text, err := srv.call(ctx, srv.root, "sts", "POST", "/", nil, "Action=GetCallerIdentity&Version=2011-06-15")
	if err != nil {
		return alice, "", err
	}
	if err := xml.Unmarshal([]byte(text), &identity); err != nil {
		return alice, "", err
	}
	if alice, err = prepareUser(iam); err != nil {
		return alice, "", err
	}
	role = "arn:aws:iam::" + identity.Account + ":role/deploy"
	if _, err := iam("CreateRole", "RoleName", "deploy", "AssumeRolePolicyDocument",
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::`+identity.Account+`:root"},"Action":"sts:AssumeRole"}}`); err != nil {
		return alice, "", err
	}
	_, err = iam("PutUserPolicy", "UserName", "alice", "PolicyName", "assume", "PolicyDocument",
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"`+role+`"}}`)
	return alice, role, err
}

// prepareUser makes alice and her access key.
func prepareUser(iam func(action string, parameters ...string) (string, error)) (alice sigv4.Signer, err error) {
	if _, err := iam("CreateUser", "UserName", "alice"); err != nil {
		return alice, err
	}
	text, err := iam("CreateAccessKey", "UserName", "alice")
	if err != nil {
		return alice, err
	}
	var key struct {
		ID     string `xml:"CreateAccessKeyResult>AccessKey>AccessKeyId"`
		Secret string `xml:"CreateAccessKeyResult>AccessKey>SecretAccessKey"`
	}
	if err := xml.Unmarshal([]byte(text), &key); err != nil {
		return alice, err
	}
	return sigv4.Signer{AccessKeyID: key.ID, SecretAccessKey: key.Secret}, nil
}

// benchS3 measures GetObject by a user whom a bucket policy lets read, of iamd and of versitygw.
func benchS3(ctx context.Context, s settings) ([]table, error) {
	ours, err := startIAMD(ctx, s)
	if err != nil {
		return nil, err
	}
	defer ours.stop()
	theirs, err := startVersitygw(ctx, s)
	if err != nil {
		return nil, err
	}
	defer theirs.stop()

	alice, role, err := prepareRole(ctx, ours)
	if err != nil {
		return nil, err
	}
	account := strings.Split(role, ":")[4]
	reader := sigv4.Signer{AccessKeyID: "alice", SecretAccessKey: "alices-secret"}
	if _, err := theirs.call(ctx, theirs.root, "s3", "PATCH", "/create-user", nil,
		`<Account><Access>`+reader.AccessKeyID+`</Access><Secret>`+reader.SecretAccessKey+`</Secret><Role>user</Role></Account>`); err != nil {
		return nil, err
	}

	object := strings.Repeat("0123456789abcdef", 64)
	servers := []*server{ours, theirs}
	requests := make([][][]byte, len(servers))
	for i, srv := range servers {
		keys, principal := alice, "arn:aws:iam::"+account+":user/alice"
		if srv == theirs {
			keys, principal = reader, reader.AccessKeyID
		}
		document := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::bench-bucket/*"}]}`
		for _, c := range []struct{ method, target, body string }{
			{"PUT", "/bench-bucket", ""},
			{"PUT", "/bench-bucket?policy", document},
		} {
			if _, err := srv.call(ctx, srv.root, "s3", c.method, c.target, nil, c.body); err != nil {
				return nil, err
			}
		}
		for n := range distinct {
			key := fmt.Sprintf("/bench-bucket/reports/2026/%04d.csv", n)
			if _, err := srv.call(ctx, srv.root, "s3", "PUT", key, nil, object); err != nil {
				return nil, err
			}
			r, err := srv.request(ctx, keys, "s3", "GET", key, nil, "")
			if err != nil {
				return nil, err
			}
			b, err := written(r)
			if err != nil {
				return nil, err
			}
			requests[i] = append(requests[i], b)
		}
		// The policy decides: another's key is refused, hers gives the object.
		if got, err := srv.call(ctx, keys, "s3", "GET", "/bench-bucket/reports/2026/0000.csv", nil, ""); err != nil || got != object {
			return nil, fmt.Errorf("%s: the reader gets %d bytes, %w", srv.name, len(got), err)
		}
		if _, err := srv.call(ctx, keys, "s3", "PUT", "/bench-bucket/reports/2026/0000.csv", http.Header{}, "x"); err == nil {
			return nil, fmt.Errorf("%s lets the reader write", srv.name)
		}
	}
	best, err := compared(ctx, s, servers, requests)
	if err != nil {
		return nil, err
	}
	return []table{results("GetObject of 1 KiB",
		fmt.Sprintf("%d connections, %d objects, a user whom the bucket's policy lets read; versitygw with its posix backend and accounts in files", s.conns, distinct),
		servers, best)}, nil
}
