package policy_test

import (
	"fmt"

	"github.com/iamd-dev/iamd/policy"
)

// The whole of an engine in ten lines: may this caller do this?
func Example_embedded() {
	p, err := policy.Parse([]byte(`{"Version": "2012-10-17", "Statement": {
		"Effect": "Allow", "Action": "app:Read*", "Resource": "arn:aws:app:::doc/${aws:username}/*"}}`))
	if err != nil {
		panic(err)
	}
	program := policy.Compile(p) // once: it is safe for use by many goroutines
	answer := program.Evaluate(&policy.Request{Action: "app:ReadPage", Resource: "arn:aws:app:::doc/alice/1",
		Context: policy.Keys{"aws:username": policy.String("alice")}}, nil)
	fmt.Println(answer.Allowed && !answer.Denied)
	// Output: true
}

// A fault is told with its place, and with what was meant.
func ExampleValidate() {
	for _, f := range policy.Validate([]byte(`{
  "Version": "2012-10-17",
  "Statement": {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*", "Condition": {"StringEqual": {"aws:username": "alice"}}}
}`), policy.Identity, nil) {
		if f.Type == policy.TypeError {
			fmt.Printf("line %d, column %d: %s\n", f.Line, f.Column, f.Code)
		}
	}
	// Output: line 3, column 93: INVALID_CONDITION_OPERATOR
}

func Example() {
	p, err := policy.Parse([]byte(`{
		"Version": "2012-10-17",
		"Statement": [{
			"Sid": "OwnReports",
			"Effect": "Allow",
			"Action": "s3:Get*",
			"Resource": "arn:aws:s3:::reports/${aws:username}/*",
			"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}
		}]
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	program := policy.Compile(p)

	request := &policy.Request{
		Action:   "s3:GetObject",
		Resource: "arn:aws:s3:::reports/alice/march.csv",
		Context: policy.Keys{
			"aws:username": policy.String("alice"),
			"aws:sourceip": policy.String("10.1.2.3"),
		},
	}
	fmt.Println("from the office:", program.Evaluate(request, nil).Allowed)

	request.Context = policy.Keys{
		"aws:username": policy.String("alice"),
		"aws:sourceip": policy.String("203.0.113.9"),
	}
	var trace policy.Trace
	fmt.Println("from elsewhere:", program.Evaluate(request, &trace).Allowed)
	why := trace.Statements[0]
	fmt.Printf("%s fails at %s %s %s: %s is not in %s\n", why.Sid, why.Failed, why.Operator, why.Key, why.Got, why.Want)

	// Output:
	// from the office: true
	// from elsewhere: false
	// OwnReports fails at Condition IpAddress aws:SourceIp: [203.0.113.9] is not in [10.0.0.0/8]
}
