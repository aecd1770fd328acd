package dynamodb_test

import (
	"os"
	"testing"

	"github.com/iamd-dev/iamd/internal/aws/dynamodb"
	"github.com/iamd-dev/iamd/internal/awstest"
	"github.com/iamd-dev/iamd/internal/workload"
)

// The tests' executable keeps the engines.
func TestMain(m *testing.M) {
	workload.Keep()
	os.Exit(m.Run())
}

func Test(t *testing.T) {
	needEngine(t)
	awstest.Scripts(t)
}

func needEngine(t testing.TB) {
	t.Helper()
	if dynamodb.FindProgram() == "" {
		t.Skip("there is no dynoxide: run scripts/install-dynoxide")
	}
}
