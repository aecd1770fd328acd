package codebuild

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/iamd-dev/iamd/internal/workload"
)

// Where things are inside a build, below its directory.
const (
	sourceDir = "src"       // the primary source; others are in src_IDENTIFIER
	agentDir  = "codebuild" // what this file puts there and what it makes
)

// writeScript writes what the build runs: a script for each command, and one that runs
// them in order and says on its output how they went, in lines that begin with mark (see
// the type reader). A command is run by a shell of its own that begins with the directory and
// the exported variables that the command before it ended with.
func writeScript(dir, mark, shell string, spec *buildspec, artifacts map[string]artifactsSpec) error {
	agent := filepath.Join(dir, agentDir)
	if err := os.MkdirAll(filepath.Join(agent, "exported"), 0o755); err != nil {
		return err
	}
	write := func(name, text string) error { return os.WriteFile(filepath.Join(agent, name), []byte(text), 0o644) }
	at := workload.TaskDir + "/" + agentDir
	begin := fmt.Sprintf("[ ! -f %[1]s/env.sh ] || . %[1]s/env.sh; ", at)
	var b strings.Builder
	fmt.Fprintf(&b, `mark=%s
shell=%s
succeeding=1
say() { printf '%%s\n' "$mark $*"; }
attempt() {
	say "run $1 $2"
	$shell %[3]s/$1-$2.sh $succeeding </dev/null
	code=$?
	[ $code = 0 ] || { say "failed $1 $2 $code"; return 1; }
}
phase() {
	say "enter $1"
	failed=
	i=0
	while [ $i -lt $2 ]; do attempt $1 c$i || { failed=1; break; }; i=$((i+1)); done
	i=0
	while [ $i -lt $3 ]; do attempt $1 f$i || { failed=1; break; }; i=$((i+1)); done
	[ -z "$failed" ] || succeeding=0
	say "leave $1 $succeeding$failed"
	[ -z "$failed" ]
}
artifacts() {
	say artifacts
	$shell %[3]s/artifacts.sh </dev/null
	exit 0
}
`, mark, shell, at)
	for _, p := range spec.phases() {
		for kind, list := range map[string]commands{"c": p.Commands, "f": p.Finally} {
			for i, command := range list {
				// The command begins on the fourth line.
				text := begin + "export CODEBUILD_BUILD_SUCCEEDING=$1; shift\n" +
					fmt.Sprintf("[ ! -f %[1]s/dir ] || cd \"$(cat %[1]s/dir)\"\n", at) +
					fmt.Sprintf("trap 'code=$?; export -p >%[1]s/env.sh; pwd >%[1]s/dir; exit $code' EXIT\n", at) +
					command + "\n"
				if err := write(p.name+"-"+kind+strconv.Itoa(i)+".sh", text); err != nil {
					return err
				}
			}
		}
		fmt.Fprintf(&b, "phase %s %d %d", p.name, len(p.Commands), len(p.Finally))
		switch {
		case p.OnFailure == "CONTINUE":
			b.WriteString("\n")
		case p.name == "INSTALL" || p.name == "PRE_BUILD":
			b.WriteString(" || exit 0\n") // to FINALIZING
		case p.OnFailure == "ABORT":
			b.WriteString(" || artifacts\n")
		default: // POST_BUILD comes after BUILD however that went
			b.WriteString("\n")
		}
	}
	b.WriteString("artifacts\n")
	if err := write("build.sh", b.String()); err != nil {
		return err
	}

	// What depends on the build's variables is found out at its end.
	b.Reset()
	b.WriteString(begin + "\n")
	for _, name := range spec.Env.ExportedVariables {
		fmt.Fprintf(&b, "printf '%%s' \"$%s\" >%s/exported/%s\n", name, at, name)
	}
	for id, a := range artifacts {
		file := at + "/artifacts-" + id
		fmt.Fprintf(&b, ": >%s\n", file)
		for _, text := range append([]string{a.Name, a.BaseDirectory}, a.Files...) {
			fmt.Fprintf(&b, "printf '%%s\\n' %s >>%s\n", expandable(text), file)
		}
	}
	return write("artifacts.sh", b.String())
}

// expandable quotes a text so that the shell puts in variables and the output of commands, and no more.
func expandable(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", " ").Replace(text) + `"`
}
