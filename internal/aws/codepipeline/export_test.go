package codepipeline

import (
	"strings"

	"github.com/iamd-dev/iamd/internal/store"
)

// JobOf is the id of the job of the last action of a pipeline that has one; "" where none has.
func JobOf(r store.Reader, account, region, pipeline string) string {
	for k, of := range jobs.All(r, key(account, region, "")) {
		if !strings.HasPrefix(of.Execution, key(account, region, pipeline)+"/") {
			continue
		}
		if e := executions.Get(r, of.Execution); e != nil && e.action(of.Action).Job.ID == k[strings.LastIndexByte(k, '/')+1:] {
			return e.action(of.Action).Job.ID
		}
	}
	return ""
}
