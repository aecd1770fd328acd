package policy

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/iamd-dev/iamd/arn"
)

// workload gives a policy of n statements: n-1 that allow to read one bucket each,
// under two conditions, and a Deny with a wildcard in the bucket's name. The names
// of the buckets begin with prefix, "bucket" or "*". Only the last Allow covers the
// request.
func workload(n int, prefix string) (*Program, *Request) {
	var b strings.Builder
	b.WriteString(`{"Version":"2012-10-17","Statement":[`)
	for i := 1; i < n; i++ {
		fmt.Fprintf(&b, `{"Effect":"Allow","Action":["s3:Get*","s3:ListBucket"],
			"Resource":["arn:aws:s3:::%s-%04d/*","arn:aws:s3:::%s-%04d"],
			"Condition":{"StringEquals":{"aws:username":["alice","bob-%d"]},
				"IpAddress":{"aws:SourceIp":["10.0.0.0/8","203.0.113.0/24"]}}},`, prefix, i, prefix, i, i)
	}
	b.WriteString(`{"Effect":"Deny","Action":"s3:Delete*","Resource":"arn:aws:s3:::*/protected/*"}]}`)
	p, err := Parse([]byte(b.String()))
	if err != nil {
		panic(err)
	}
	return Compile(p), &Request{
		Principal: Principal{Account: "111122223333", ARN: "arn:aws:iam::111122223333:user/alice", ID: "AIDAALICEALICEALICEAA"},
		Action:    "s3:GetObject",
		Resource:  arn.ARN(fmt.Sprintf("arn:aws:s3:::bucket-%04d/reports/2026/march.csv", n-1)),
		Context: Keys{
			"aws:username":        String("alice"),
			"aws:sourceip":        String("203.0.113.77"),
			"aws:securetransport": String("true"),
			"aws:currenttime":     String("2026-03-01T12:00:00Z"),
		},
	}
}

// shapes are the two forms of the workload.
var shapes = []struct{ name, prefix string }{{"prefix", "bucket"}, {"mid", "*"}}

func BenchmarkEvaluate(b *testing.B) {
	for _, shape := range shapes {
		for _, n := range []int{10, 100, 1000} {
			g, hit := workload(n, shape.prefix)
			miss, fails := *hit, *hit
			miss.Resource = "arn:aws:s3:::another/reports/2026/march.csv"
			fails.Context = Keys{"aws:username": String("alice"), "aws:sourceip": String("192.0.2.1")}
			for _, q := range []struct {
				name string
				r    *Request
				want bool
			}{{"hit", hit, true}, {"miss", &miss, false}, {"condition", &fails, false}} {
				b.Run(fmt.Sprintf("%s/n=%d/%s", shape.name, n, q.name), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						if g.Evaluate(q.r, nil).Allowed != q.want {
							b.Fatal("a wrong answer")
						}
					}
				})
			}
		}
	}
}

// All statements are about one bucket.
func BenchmarkEvaluateOneBucket(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			p := &Policy{Version: "2012-10-17"}
			for i := range n {
				p.Statements = append(p.Statements, Statement{
					Effect: "Allow", Action: []string{"s3:Get*"},
					Resource: []string{fmt.Sprintf("arn:aws:s3:::reports/%04d/*.csv", i)},
				})
			}
			g := Compile(p)
			r := &Request{Action: "s3:GetObject", Resource: arn.ARN(fmt.Sprintf("arn:aws:s3:::reports/%04d/march.csv", n-1))}
			b.ReportAllocs()
			for b.Loop() {
				if !g.Evaluate(r, nil).Allowed {
					b.Fatal("not allowed")
				}
			}
		})
	}
}

// Eleven stars on forty characters, which takes other engines seconds.
func BenchmarkStars(b *testing.B) {
	g := Compile(&Policy{Version: "2012-10-17", Statements: []Statement{
		{Effect: "Allow", Action: []string{"*"}, Resource: []string{"arn:aws:s3:::" + strings.Repeat("*a", 11) + "*b"}},
	}})
	r := &Request{Action: "s3:GetObject", Resource: arn.ARN("arn:aws:s3:::" + strings.Repeat("a", 40))}
	b.ReportAllocs()
	for b.Loop() {
		if g.Evaluate(r, nil).Allowed {
			b.Fatal("allowed")
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, shape := range shapes {
		b.Run(shape.name, func(b *testing.B) {
			const n = 1000
			g, _ := workload(n, shape.prefix)
			b.ReportAllocs()
			for b.Loop() {
				Compile(g.Policy())
			}
			b.ReportMetric(float64(kept(g.Policy()))/n, "kept-B/statement")
		})
	}
}

// kept gives how many bytes a program keeps, without its policy.
func kept(p *Policy) uint64 {
	var before, after runtime.MemStats
	programs := make([]*Program, 50)
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range programs {
		programs[i] = Compile(p)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(programs)
	return (after.HeapAlloc - before.HeapAlloc) / uint64(len(programs))
}

func BenchmarkParse(b *testing.B) {
	g, _ := workload(100, "bucket")
	text := []byte(g.Policy().String())
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkExplain(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			g, r := workload(n, "bucket")
			b.ReportAllocs()
			for b.Loop() {
				var t Trace
				g.Evaluate(r, &t)
			}
		})
	}
}
