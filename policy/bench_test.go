package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/iamd-dev/iamd/arn"
)

// workload gives a policy of n statements of which only the last Allow covers the
// request, and one is a Deny with a wildcard in the bucket's name.
func workload(n int) (*Program, *Request) {
	var b strings.Builder
	b.WriteString(`{"Version":"2012-10-17","Statement":[`)
	for i := 1; i < n; i++ {
		fmt.Fprintf(&b, `{"Effect":"Allow","Action":["s3:Get*","s3:ListBucket"],
			"Resource":["arn:aws:s3:::bucket-%04d/*","arn:aws:s3:::bucket-%04d"],
			"Condition":{"StringEquals":{"aws:username":["alice","bob-%d"]},
				"IpAddress":{"aws:SourceIp":["10.0.0.0/8","203.0.113.0/24"]}}},`, i, i, i)
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

func BenchmarkEvaluate(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			g, r := workload(n)
			b.ReportAllocs()
			for b.Loop() {
				if res := g.Evaluate(r, nil); !res.Allowed || res.Denied {
					b.Fatal(res)
				}
			}
		})
	}
}

// Where the index cannot help, because all statements are about one bucket, what
// counts is how soon a statement is found not to match.
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

func BenchmarkCompile(b *testing.B) {
	g, _ := workload(100)
	b.ReportAllocs()
	for b.Loop() {
		Compile(g.Policy())
	}
}

func BenchmarkParse(b *testing.B) {
	g, _ := workload(100)
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
	g, r := workload(10)
	b.ReportAllocs()
	for b.Loop() {
		var t Trace
		g.Evaluate(r, &t)
	}
}
