package awstest

import "testing"

func Test(t *testing.T) { Scripts(t) }
