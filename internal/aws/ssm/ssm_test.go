package ssm_test

import (
	"os"
	"testing"

	"github.com/iamd-dev/iamd/internal/awstest"
	"github.com/iamd-dev/iamd/internal/workload"
)

// The tests' executable keeps the instances.
func TestMain(m *testing.M) {
	workload.Keep()
	os.Exit(m.Run())
}

func Test(t *testing.T) { awstest.Scripts(t) }
