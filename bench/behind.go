package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/iamd-dev/iamd/internal/sigv4"
)

// benchUpstream measures GetObject of a store, and of iamd before that store.
func benchUpstream(ctx context.Context, s settings) ([]table, error) {
	return inAllPlaces(ctx, s, measureUpstream)
}

// inAllPlaces measures with client and servers where the kernel has them, as it is where
// nobody thinks about it, and then, if there are cores, with each on its own.
func inAllPlaces(ctx context.Context, s settings, measure func(context.Context, settings) ([]table, error)) ([]table, error) {
	if !s.cores {
		return measure(ctx, s)
	}
	if err := move(ctx, os.Getpid(), os.Getenv(pinned)); err != nil {
		return nil, err
	}
	free := s
	free.cores = false
	tables, err := measure(ctx, free)
	if err := errors.Join(err, move(ctx, os.Getpid(), clientCore)); err != nil { // what follows is measured there
		return tables, err
	}
	more, err := measure(ctx, s)
	return append(tables, more...), err
}

func measureUpstream(ctx context.Context, s settings) ([]table, error) {
	store, err := startVersitygw(ctx, s)
	if err != nil {
		return nil, err
	}
	defer store.stop()
	keys, err := os.CreateTemp("", "iamd-bench-keys-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(keys.Name())
	if _, err := fmt.Fprintf(keys, "[s3]\naws_access_key_id = %s\naws_secret_access_key = %s\n", store.root.AccessKeyID, store.root.SecretAccessKey); err != nil {
		return nil, err
	}
	if err := keys.Close(); err != nil {
		return nil, err
	}
	before, err := startIAMD(ctx, s, "--upstreams-s3", "http://"+store.addr, "--upstreams-credentials", keys.Name())
	if err != nil {
		return nil, err
	}
	defer before.stop()
	before.name = "iamd before it"
	alice, role, err := prepareRole(ctx, before)
	if err != nil {
		return nil, err
	}
	document := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + strings.Split(role, ":")[4] + `:user/alice"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::bench-bucket/*"}]}`
	for _, c := range []struct{ target, body string }{{"/bench-bucket", ""}, {"/bench-bucket?policy", document}} {
		if _, err := before.call(ctx, before.root, "s3", "PUT", c.target, nil, c.body); err != nil {
			return nil, err
		}
	}
	object := strings.Repeat("0123456789abcdef", 64)
	servers := []*server{before, store}
	requests := make([][][]byte, len(servers))
	for n := range distinct {
		key := fmt.Sprintf("/bench-bucket/reports/2026/%04d.csv", n)
		if _, err := before.call(ctx, before.root, "s3", "PUT", key, nil, object); err != nil {
			return nil, err
		}
		for i, as := range []sigv4.Signer{alice, store.root} {
			if n == 0 {
				if got, err := servers[i].call(ctx, as, "s3", "GET", key, nil, ""); err != nil || got != object {
					return nil, fmt.Errorf("%s answers with %d bytes, %w", servers[i].name, len(got), err)
				}
			}
			r, err := servers[i].request(ctx, as, "s3", "GET", key, nil, "")
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
	return latencies(ctx, s, "GetObject of 1 KiB, before a store",
		"a user whom the bucket's policy lets read; the same objects read from versitygw by its root; CPU is that of the one process", before, store, requests)
}

// benchDynamoDB measures GetItem and PutItem of an engine, and of iamd before such an engine.
func benchDynamoDB(ctx context.Context, s settings) ([]table, error) {
	return inAllPlaces(ctx, s, measureDynamoDB)
}

func measureDynamoDB(ctx context.Context, s settings) ([]table, error) {
	program := os.Getenv("IAMD_BENCH_DYNOXIDE")
	if cache, err := os.UserCacheDir(); program == "" && err == nil {
		found, _ := filepath.Glob(filepath.Join(cache, "iamd", "dynoxide-*", "dynoxide"))
		if len(found) == 0 {
			return nil, fmt.Errorf("there is no dynoxide: run scripts/install-dynoxide")
		}
		program = found[len(found)-1]
	}
	dir, err := os.MkdirTemp("", "iamd-bench-")
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	engine, err := start(ctx, s, "dynoxide", dir, addr, nil, nil, program, "serve", "--host", "127.0.0.1", "--port", port, "--db-path", filepath.Join(dir, "tables.db"))
	if err != nil {
		return nil, err
	}
	defer engine.stop()
	engine.root = sigv4.Signer{AccessKeyID: "anybody", SecretAccessKey: "anything"}
	before, err := startIAMD(ctx, s, "--dynamodb-engine", program)
	if err != nil {
		return nil, err
	}
	defer before.stop()
	before.name = "iamd before it"
	alice, role, err := prepareRole(ctx, before)
	if err != nil {
		return nil, err
	}
	account := strings.Split(role, ":")[4]
	form := "Action=PutUserPolicy&Version=2010-05-08&UserName=alice&PolicyName=items&PolicyDocument=" +
		`%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%5B%22dynamodb%3AGetItem%22%2C%22dynamodb%3APutItem%22%5D%2C%22Resource%22%3A%22arn%3Aaws%3Adynamodb%3Aus-east-1%3A` + account + `%3Atable%2Fbench%22%7D%7D`
	if _, err := before.call(ctx, before.root, "iam", "POST", "/", nil, form); err != nil {
		return nil, err
	}
	servers := []*server{before, engine}
	target := func(op string) http.Header {
		return http.Header{"X-Amz-Target": {"DynamoDB_20120810." + op}}
	}
	for _, srv := range servers {
		if _, err := srv.call(ctx, srv.root, "dynamodb", "POST", "/", target("CreateTable"),
			`{"TableName":"bench","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"}],"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}]}`); err != nil {
			return nil, err
		}
	}
	var all []table
	for _, op := range []string{"PutItem", "GetItem"} {
		requests := make([][][]byte, len(servers))
		for n := range distinct {
			body := fmt.Sprintf(`{"TableName":"bench","Key":{"pk":{"S":"item-%04d"}}}`, n)
			if op == "PutItem" {
				body = fmt.Sprintf(`{"TableName":"bench","Item":{"pk":{"S":"item-%04d"},"name":{"S":"%s"},"count":{"N":"%d"}}}`, n, strings.Repeat("x", 200), n)
			}
			for i, as := range []sigv4.Signer{alice, engine.root} {
				r, err := servers[i].request(ctx, as, "dynamodb", "POST", "/", target(op), body)
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
		tables, err := latencies(ctx, s, op+", before an engine", "a user whom a policy lets read and write the table; the engine alone takes any key; CPU is that of the one process", before, engine, requests)
		if err != nil {
			return nil, err
		}
		all = append(all, tables...)
	}
	return all, nil
}

// latencies measures a server, what it stands before, and, for what any process in between
// costs, a proxy that copies bytes and reads none: with one connection, and with as many as
// elsewhere. Where they are pinned, it does so twice with one connection: what stands behind
// has a core of its own, and the others share the client's; and all have one core.
func latencies(ctx context.Context, s settings, title, note string, before, behind *server, requests [][][]byte) ([]table, error) {
	copier, err := startCopier(ctx, s, behind.addr)
	if err != nil {
		return nil, err
	}
	defer copier.stop()
	servers := []*server{before, copier, behind}
	requests = [][][]byte{requests[0], requests[1], requests[1]}
	type way struct {
		conns int
		core  string // of the first two; "": where the kernel has them
		where string
	}
	const shared = "all but the client share a core"
	ways := []way{
		{1, clientCore, behind.name + " has a core of its own, the others share the client's"},
		{1, serverCore, shared},
		{s.conns, serverCore, shared},
	}
	if !s.cores {
		where := "nothing is pinned"
		ways = []way{{1, "", where}, {s.conns, "", where}}
	}
	var all []table
	for _, way := range ways {
		if way.core != "" {
			for _, srv := range servers[:2] {
				if err := move(ctx, srv.cmd.Process.Pid, way.core); err != nil {
					return nil, err
				}
			}
		}
		s.conns = way.conns
		best, err := compared(ctx, s, servers, requests)
		if err != nil {
			return nil, err
		}
		more := func(i int) float64 { return float64((best[i].p50 - best[2].p50).Nanoseconds()) / 1000 }
		t := results(title, fmt.Sprintf("%d connections; %s; %s; p50 of the first is %.0f µs more, of a proxy that copies bytes %.0f", way.conns, way.where, note, more(0), more(1)), servers, best)
		all = append(all, t)
	}
	return all, nil
}
