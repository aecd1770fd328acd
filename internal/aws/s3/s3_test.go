package s3_test

import (
	"testing"

	"github.com/iamd-dev/iamd/internal/awstest"
)

func TestScripts(t *testing.T) { awstest.Scripts(t) }

// What S3 does it does before another store, too.
func TestScriptsBeforeStore(t *testing.T) {
	awstest.ScriptsBeforeStore(t, map[string]string{})
}
