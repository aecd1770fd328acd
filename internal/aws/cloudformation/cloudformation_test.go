package cloudformation_test

import (
	"testing"

	"github.com/iamd-dev/iamd/internal/awstest"
	"github.com/iamd-dev/iamd/internal/workload"
)

func TestMain(m *testing.M) {
	workload.Keep()
	m.Run()
}

func Test(t *testing.T) { awstest.Scripts(t) }
