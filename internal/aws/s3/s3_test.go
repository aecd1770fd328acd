package s3_test

import (
	"testing"

	"github.com/iamd-dev/iamd/internal/awstest"
)

func TestScripts(t *testing.T) { awstest.Scripts(t) }
