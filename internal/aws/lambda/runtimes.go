package lambda

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/iamd-dev/iamd/internal/aws/lambda/api"
	"github.com/iamd-dev/iamd/internal/servicerole"
	"github.com/iamd-dev/iamd/internal/workload"
)

var (
	//go:embed bootstrap.py
	pythonBootstrap string
	//go:embed bootstrap.js
	nodeBootstrap string
)

const runtimeAddress = "127.0.0.1:9001"

// reserved are the environment variables that are Lambda's: Developer Guide, "Defined
// runtime environment variables".
var reserved = func() map[string]bool {
	all := map[string]bool{}
	for name := range strings.FieldsSeq(`_HANDLER _X_AMZN_TRACE_ID AWS_DEFAULT_REGION AWS_REGION AWS_EXECUTION_ENV
		AWS_LAMBDA_FUNCTION_NAME AWS_LAMBDA_FUNCTION_MEMORY_SIZE AWS_LAMBDA_FUNCTION_VERSION AWS_LAMBDA_INITIALIZATION_TYPE
		AWS_LAMBDA_LOG_GROUP_NAME AWS_LAMBDA_LOG_STREAM_NAME AWS_ACCESS_KEY AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
		AWS_LAMBDA_RUNTIME_API LAMBDA_TASK_ROOT LAMBDA_RUNTIME_DIR`) {
		all[name] = true
	}
	return all
}()

const variablePattern = `[a-zA-Z]([a-zA-Z0-9_])+`

var variable = regexp.MustCompile(`^` + variablePattern + `$`)

// command is the program of a version: its own, or an interpreter of the machine with our
// bootstrap. The error is one that says what is missing.
func (s *Service) command(v *Version) (path string, args []string, err error) {
	kind := runtimes[v.Config.Runtime]
	switch kind {
	case "bootstrap":
		return workload.TaskDir + "/bootstrap", nil, nil
	case "python":
		path, err = s.Host.LookPath("python3")
		args = []string{"-B", "-u", "-c", pythonBootstrap}
	case "node":
		path, err = s.Host.LookPath("node")
		args = []string{fmt.Sprintf("--max-old-space-size=%d", v.Config.MemorySize*9/10), "-e", nodeBootstrap}
	default:
		return "", nil, api.InvalidRuntime("iamd does not run functions in %s: it runs provided.al2023, Python and Node.js.", v.Config.Runtime)
	}
	if err != nil {
		return "", nil, api.InvalidRuntime("A function in %s needs an interpreter on iamd's machine: %v.", v.Config.Runtime, err)
	}
	return path, args, nil
}

// hasBootstrap reports whether code has a program of its own.
func (s *Service) hasBootstrap(account string, v *Version) bool {
	info, err := os.Stat(filepath.Join(s.codeOf(account, v.Code.Hash), "bootstrap"))
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// environ is the environment of a version, with the role's credentials: the variables that
// Lambda defines, and the function's own. A runtime has no directory here that a function
// could look into: LAMBDA_RUNTIME_DIR is the function's.
func environ(n name, v *Version, c *servicerole.Credentials, stream string) []string {
	env := []string{
		"_HANDLER=" + v.Config.Handler,
		"AWS_REGION=" + n.region,
		"AWS_DEFAULT_REGION=" + n.region,
		"AWS_EXECUTION_ENV=AWS_Lambda_" + v.Config.Runtime,
		"AWS_LAMBDA_FUNCTION_NAME=" + n.function,
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=" + strconv.Itoa(int(v.Config.MemorySize)),
		"AWS_LAMBDA_FUNCTION_VERSION=" + v.Config.Version,
		"AWS_LAMBDA_INITIALIZATION_TYPE=on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME=" + v.Config.LoggingConfig.LogGroup,
		"AWS_LAMBDA_LOG_STREAM_NAME=" + stream,
		"AWS_ACCESS_KEY_ID=" + c.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY=" + c.SecretAccessKey.Reveal(),
		"AWS_SESSION_TOKEN=" + c.SessionToken.Reveal(),
		"AWS_LAMBDA_RUNTIME_API=" + runtimeAddress,
		"LAMBDA_TASK_ROOT=" + workload.TaskDir,
		"LD_LIBRARY_PATH=" + workload.TaskDir + ":" + workload.TaskDir + "/lib",
		"LAMBDA_RUNTIME_DIR=" + workload.TaskDir,
	}
	own := map[string]string{}
	if v.Config.Environment != nil {
		own = v.Config.Environment.Variables
	}
	if own["TZ"] == "" {
		env = append(env, "TZ=:UTC")
	}
	for _, k := range sorted(own) {
		env = append(env, k+"="+own[k])
	}
	return env
}
