package dynamodb

import (
	"regexp"
	"testing"
)

// An ARN of a table has this form.
func FuzzIsTable(f *testing.F) {
	form := regexp.MustCompile(`^arn:aws:dynamodb:[a-z0-9-]+:[0-9]{12}:table/[a-zA-Z0-9_.-]*$`)
	for _, a := range []string{
		"arn:aws:dynamodb:us-east-1:123456789012:table/Music",
		"arn:aws:dynamodb:us-east-1:123456789012:table/a_B.c-9",
		"arn:aws:dynamodb:us-east-1:123456789012:table/",
		"arn:aws:dynamodb:us-east-1:123456789012:table/Music/index/i",
		"arn:aws:dynamodb:us-east-1:123456789012:table/Music\n",
		"arn:aws:dynamodb:us-east-1:12345678901:table/Music",
		"arn:aws:dynamodb:us-east-1:12345678901a:table/Music",
		"arn:aws:dynamodb::123456789012:table/Music",
		"arn:aws:dynamodb:US:123456789012:table/Music",
		"arn:aws:dynamodb:us-east-1:123456789012:global-table/Music",
		"arn:aws:s3:us-east-1:123456789012:table/Music",
		"arn:aws:dynamodb:us-east-1:123456789012:table/Mü",
		"Music", "", "arn:aws:dynamodb:", "arn:aws:dynamodb:us-east-1:123456789012",
	} {
		f.Add(a)
	}
	f.Fuzz(func(t *testing.T, a string) {
		if got, want := isTable(a), form.MatchString(a); got != want {
			t.Errorf("%q: %t, want %t", a, got, want)
		}
	})
}
