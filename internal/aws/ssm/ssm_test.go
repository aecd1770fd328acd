package ssm_test

import (
	"testing"

	"github.com/iamd-dev/iamd/internal/awstest"
)

func Test(t *testing.T) { awstest.Scripts(t) }
