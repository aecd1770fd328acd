package main

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go"
	minio "github.com/minio/pkg/v3/policy"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/policy"
)

// A question is put to all engines.
type question struct {
	user, ip       string
	action         string
	bucket, object string
	want           bool
}

// An engine has been given a policy and answers questions about it. ask prepares
// a question in the engine's own form; what it returns is what is measured.
type engine struct {
	name string
	ask  func(question) func() bool
}

// document is the workload: a policy of n statements, n-1 of which allow reading
// one bucket each, under two conditions, and the last of which denies deleting
// what is protected. In the second form of it the names of the buckets begin with
// a wildcard, so that no engine can look a statement up by the name.
func document(n int, wild bool) string {
	bucket := bucketName(wild)
	var b strings.Builder
	b.WriteString(`{"Version":"2012-10-17","Statement":[`)
	for i := 1; i < n; i++ {
		fmt.Fprintf(&b, `{"Effect":"Allow","Action":["s3:Get*","s3:ListBucket"],
			"Resource":["arn:aws:s3:::%s-%04d/*","arn:aws:s3:::%s-%04d"],
			"Condition":{"StringEquals":{"aws:username":["alice","bob-%d"]},
				"IpAddress":{"aws:SourceIp":["10.0.0.0/8","203.0.113.0/24"]}}},`, bucket, i, bucket, i, i)
	}
	b.WriteString(`{"Effect":"Deny","Action":"s3:Delete*","Resource":"arn:aws:s3:::*/protected/*"}]}`)
	return b.String()
}

func bucketName(wild bool) string {
	if wild {
		return "*"
	}
	return "bucket"
}

// covered is the question that is measured: only the last Allow says yes to it.
func covered(n int) question {
	return question{"alice", "203.0.113.77", "s3:GetObject", fmt.Sprintf("bucket-%04d", n-1), "reports/2026/march.csv", true}
}

// questions are those that all engines must answer alike before any is measured.
func questions(n int) []question {
	q := covered(n)
	with := func(change func(*question)) question {
		c := q
		c.want = false
		change(&c)
		return c
	}
	return []question{
		q,
		with(func(q *question) { q.user, q.want = fmt.Sprintf("bob-%d", n-1), true }),
		with(func(q *question) { q.ip, q.want = "10.200.0.1", true }),
		with(func(q *question) { q.action, q.object, q.want = "s3:ListBucket", "", true }),
		with(func(q *question) { q.bucket, q.want = "bucket-0001", true }),
		with(func(q *question) { q.user = "mallory" }),
		with(func(q *question) { q.user = "bob-0" }),
		with(func(q *question) { q.ip = "192.0.2.1" }),
		with(func(q *question) { q.action = "s3:PutObject" }),
		with(func(q *question) { q.action = "s3:DeleteObject" }),
		with(func(q *question) { q.action, q.object = "s3:DeleteObject", "a/protected/b" }),
		with(func(q *question) { q.bucket = "bucket-0000" }),
		with(func(q *question) { q.bucket = "bucket-00011" }),
	}
}

// engines compiles the workload in all engines.
func engines(n int, wild bool) ([]engine, error) {
	doc := document(n, wild)
	parsed, err := policy.Parse([]byte(doc))
	if err != nil {
		return nil, fmt.Errorf("iamd: %w", err)
	}
	program := policy.Compile(parsed)
	config, err := minio.ParseConfig(strings.NewReader(doc))
	if err != nil {
		return nil, fmt.Errorf("minio: %w", err)
	}
	set, err := cedar.NewPolicySetFromBytes("bench.cedar", []byte(cedarDocument(n, wild)))
	if err != nil {
		return nil, fmt.Errorf("cedar: %w", err)
	}

	return []engine{
		{"iamd", func(q question) func() bool {
			resource := "arn:aws:s3:::" + q.bucket
			if q.object != "" {
				resource += "/" + q.object
			}
			r := &policy.Request{
				Principal: policy.Principal{Account: "111122223333", ARN: arn.ARN("arn:aws:iam::111122223333:user/" + q.user)},
				Action:    policy.Action(q.action),
				Resource:  arn.ARN(resource),
				Context:   policy.Keys{"aws:username": policy.String(q.user), "aws:sourceip": policy.String(q.ip)},
			}
			return func() bool {
				result := program.Evaluate(r, nil)
				return result.Allowed && !result.Denied
			}
		}},
		{"minio/pkg/v3", func(q question) func() bool {
			args := minio.Args{
				AccountName: q.user, Action: minio.Action(q.action), BucketName: q.bucket, ObjectName: q.object,
				ConditionValues: map[string][]string{"username": {q.user}, "SourceIp": {q.ip}},
			}
			return func() bool { return config.IsAllowed(args) }
		}},
		{"cedar-go", func(q question) func() bool {
			resource := "arn:aws:s3:::" + q.bucket
			if q.object != "" {
				resource += "/" + q.object
			}
			id := cedar.NewEntityUID("Object", cedar.String(resource))
			action := cedar.NewEntityUID("Action", cedar.String(q.action))
			group, _, _ := strings.Cut(q.action, "Object")
			entities := cedar.EntityMap{
				id: {UID: id, Attributes: cedar.NewRecord(cedar.RecordMap{"arn": cedar.String(resource)})},
				action: {UID: action, Parents: cedar.NewEntityUIDSet(
					cedar.NewEntityUID("Action", cedar.String(group+"*")))},
			}
			ip := netip.MustParseAddr(q.ip)
			r := cedar.Request{
				Principal: cedar.NewEntityUID("User", cedar.String(q.user)), Action: action, Resource: id,
				Context: cedar.NewRecord(cedar.RecordMap{
					"username": cedar.String(q.user),
					"sourceIp": cedar.IPAddr(netip.PrefixFrom(ip, ip.BitLen())),
				}),
			}
			return func() bool {
				decision, _ := cedar.Authorize(set, entities, r)
				return decision == cedar.Allow
			}
		}},
	}, nil
}

// cedarDocument is the workload in Cedar, where the wildcard of an action is a group.
func cedarDocument(n int, wild bool) string {
	bucket := bucketName(wild)
	var b strings.Builder
	for i := 1; i < n; i++ {
		fmt.Fprintf(&b, `permit (principal, action in [Action::"s3:Get*", Action::"s3:ListBucket"], resource) when {
			(resource.arn like "arn:aws:s3:::%s-%04d/*" || resource.arn like "arn:aws:s3:::%s-%04d") &&
			["alice", "bob-%d"].contains(context.username) &&
			(context.sourceIp.isInRange(ip("10.0.0.0/8")) || context.sourceIp.isInRange(ip("203.0.113.0/24")))
		};
		`, bucket, i, bucket, i, i)
	}
	b.WriteString(`forbid (principal, action in [Action::"s3:Delete*"], resource) when { resource.arn like "arn:aws:s3:::*/protected/*" };`)
	return b.String()
}

// agree asks every engine every question.
func agree(n int, wild bool) error {
	all, err := engines(n, wild)
	if err != nil {
		return err
	}
	for _, e := range all {
		for _, q := range questions(n) {
			if got := e.ask(q)(); got != q.want {
				return fmt.Errorf("%s says %t to %+v", e.name, got, q)
			}
		}
	}
	return nil
}

// measure runs f for a while.
func measure(f func(b *testing.B)) (ns float64, allocs int64) {
	r := testing.Benchmark(f)
	return float64(r.T.Nanoseconds()) / float64(r.N), r.AllocsPerOp()
}

func benchPolicy(ctx context.Context, s settings) ([]table, error) {
	if err := flag.Set("test.benchtime", "300ms"); err != nil {
		return nil, err
	}
	var tables []table
	for _, wild := range []bool{false, true} {
		t := table{
			title:  "Policy decision",
			note:   "one identity policy, each statement about a bucket of its own, of which only the last allows the request; iamd looks statements up by a part of the resource and hardly sees the others; every engine has answered 13 questions alike",
			header: []string{"statements", "engine", "ns/decision", "allocs", "to iamd"},
		}
		if wild {
			t.title = "Policy decision, resources that begin with a wildcard"
			t.note = "the same policy with resources that begin with a wildcard, so that no statement can be told by how its resource begins"
		}
		for _, n := range []int{10, 100, 1000} {
			if err := decisions(ctx, s, &t, n, wild); err != nil {
				return nil, err
			}
		}
		tables = append(tables, t)
	}
	return tables, nil
}

// decisions adds the rows of policies of n statements.
func decisions(ctx context.Context, s settings, t *table, n int, wild bool) error {
	if err := agree(n, wild); err != nil {
		return err
	}
	all, err := engines(n, wild)
	if err != nil {
		return err
	}
	best := make([]float64, len(all))
	allocs := make([]int64, len(all))
	for round := range s.rounds {
		for i, e := range all {
			ask := e.ask(covered(n))
			ns, a := measure(func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if !ask() {
						b.Fatal(e.name)
					}
				}
			})
			if round == 0 || ns < best[i] {
				best[i], allocs[i] = ns, a
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	for i, e := range all {
		t.row(fmt.Sprint(n), e.name, number(best[i]), fmt.Sprint(allocs[i]), ratio(best[i]/best[0]))
	}
	return nil
}
