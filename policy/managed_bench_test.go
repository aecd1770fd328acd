package policy_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/reference"
	"github.com/iamd-dev/iamd/policy"
)

// managed are large policies of AWS, about 4,000 patterns of actions in all.
var managed = []string{
	"ReadOnlyAccess", "SecurityAudit", "AmazonS3FullAccess", "AmazonEC2FullAccess", "AWSLambda_FullAccess",
	"AmazonDynamoDBFullAccess", "AmazonSQSFullAccess", "AmazonSNSFullAccess", "CloudWatchFullAccess", "IAMReadOnlyAccess",
}

func managedPrograms(tb testing.TB) []*policy.Program {
	var programs []*policy.Program
	for _, name := range managed {
		m, ok := reference.ManagedPolicy("arn:aws:iam::aws:policy/" + name)
		if !ok {
			tb.Fatalf("there is no managed policy %s", name)
		}
		p, err := policy.Parse([]byte(m.Document()))
		if err != nil {
			tb.Fatal(name, err)
		}
		programs = append(programs, policy.Compile(p))
	}
	return programs
}

// managedRequests are about a thousand of all actions that there are, each on a
// resource of its service.
func managedRequests() []*policy.Request {
	var actions []string
	for s := range reference.Services() {
		for i := range s.Actions {
			actions = append(actions, s.Actions[i].String())
		}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	rng.Shuffle(len(actions), func(i, j int) { actions[i], actions[j] = actions[j], actions[i] })
	var requests []*policy.Request
	for _, a := range actions[:1000] {
		requests = append(requests, &policy.Request{
			Principal: policy.Principal{Account: "111122223333", ARN: "arn:aws:iam::111122223333:user/alice", ID: "AIDAALICEALICEALICEAA"},
			Action:    policy.Action(a),
			Resource:  arn.New("aws", a[:slices.Index([]byte(a), ':')], "us-east-1", "111122223333", "thing/one"),
			Context:   policy.Keys{"aws:username": policy.String("alice"), "aws:sourceip": policy.String("203.0.113.77")},
		})
	}
	return requests
}

// One decision asks all ten policies.
func BenchmarkManagedPolicies(b *testing.B) {
	programs, requests := managedPrograms(b), managedRequests()
	i, allowed := 0, 0
	b.ReportAllocs()
	for b.Loop() {
		r := requests[i%len(requests)]
		i++
		for _, g := range programs {
			if g.Evaluate(r, nil).Allowed {
				allowed++
			}
		}
	}
	b.ReportMetric(float64(allowed)/float64(i), "allows/op")
}
