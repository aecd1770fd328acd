// Package arn parses, prints and matches Amazon Resource Names.
//
// An ARN has six parts, separated by colons:
//
//	arn:partition:service:region:account:resource
//
// The resource is everything after the fifth colon and may hold colons and
// slashes of its own. Region and account may be empty; partition, service and
// resource may not.
//
// Patterns in policies use two wildcards: a star stands for any number of
// characters, none included, and a question mark for exactly one. [Glob] matches
// a pattern against a whole text; [ARN.Match] matches part by part, so that no
// wildcard reaches over one of the first five colons, as AWS's ArnLike does.
//
//	alice := arn.New("aws", "iam", "", "111122223333", "user/ops/alice")
//	alice.Match("arn:aws:iam::*:user/ops/*") // true
//	alice.Match("arn:aws:iam:*/alice")       // false: three parts, and each wildcard stays within its own
//
// Nothing here allocates except [New], and nothing here needs more time than the
// length of the pattern times the length of the text, whatever they are.
//
// The package is for other programs, too, and is kept as package policy says.
package arn

import (
	"fmt"
	"strings"
)

// An ARN is an Amazon Resource Name, as text. The methods that take it apart give
// "" for a part that is not there, so an ARN that was not parsed does no harm.
type ARN string

// Parse checks that s is an ARN: six parts, of which partition, service and
// resource are not empty.
func Parse(s string) (ARN, error) {
	a := ARN(s)
	switch {
	case !strings.HasPrefix(s, "arn:"):
		return "", fmt.Errorf("arn: %q does not begin with \"arn:\"", s)
	case strings.Count(s, ":") < 5:
		return "", fmt.Errorf("arn: %q has fewer than six parts", s)
	case a.Partition() == "":
		return "", fmt.Errorf("arn: %q has no partition", s)
	case a.Service() == "":
		return "", fmt.Errorf("arn: %q has no service", s)
	case a.Resource() == "":
		return "", fmt.Errorf("arn: %q has no resource", s)
	}
	return a, nil
}

// New joins the parts of an ARN. It does not check them.
func New(partition, service, region, account, resource string) ARN {
	return ARN("arn:" + partition + ":" + service + ":" + region + ":" + account + ":" + resource)
}

// Partition gives the second part: "aws", "aws-cn", "aws-us-gov".
func (a ARN) Partition() string { return a.part(1) }

// Service gives the third part: "iam", "s3".
func (a ARN) Service() string { return a.part(2) }

// Region gives the fourth part, which is empty for global services.
func (a ARN) Region() string { return a.part(3) }

// Account gives the fifth part: twelve digits, "aws", or nothing, as for S3 buckets.
func (a ARN) Account() string { return a.part(4) }

// Resource gives the sixth part with all its colons: "user/ops/alice",
// "log-group:name:log-stream:other".
func (a ARN) Resource() string { return a.part(5) }

// part gives the i-th part, counted from 0. The last one keeps its colons.
func (a ARN) part(i int) string {
	s := string(a)
	for range i {
		colon := strings.IndexByte(s, ':')
		if colon < 0 {
			return ""
		}
		s = s[colon+1:]
	}
	if colon := strings.IndexByte(s, ':'); colon >= 0 && i < 5 {
		return s[:colon]
	}
	return s
}

// Match says whether a matches an ARN pattern, as the condition operator ArnLike
// does: the six parts are compared one by one, each with [Glob]. A text that does
// not have six parts, on either side, matches nothing.
func (a ARN) Match(pattern string) bool {
	s := string(a)
	for range 5 {
		want, morePattern, ok := strings.Cut(pattern, ":")
		got, more, ok2 := strings.Cut(s, ":")
		if !ok || !ok2 || !Glob(want, got) {
			return false
		}
		pattern, s = morePattern, more
	}
	return Glob(pattern, s)
}
