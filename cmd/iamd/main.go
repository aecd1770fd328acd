// Iamd is AWS IAM and STS that you can run, with the S3 that they protect. It
// speaks to stock AWS clients, and it really decides.
//
//	iamd serve              # start; prints "iamd is ready at http://127.0.0.1:4600"
//	eval "$(iamd env)"      # in another shell: point the AWS CLI and SDKs at it
//	aws sts get-caller-identity
//	iamd credentials        # the same for a credential_process, also of a role's session
//	iamd tour               # the stories of AssumeRole and PassRole, played through the AWS SDK
//	iamd explain REQUEST-ID # why a call was allowed or refused; also of CloudTrail records
//	iamd can alice s3:GetObject s3://reports/q3.csv # what a running server would decide
//	iamd simulate FILE...   # decisions by policies from files, held against what is expected
//	iamd import FILE        # rehearse a real account: what get-account-authorization-details prints of it
//	iamd export             # the inverse
//	iamd lint FILE...       # mistakes in policies
//
// Each subcommand is in the file of its name. What a server is made of stands in
// house.go, which services it has in services.go. Settings are flags and, under
// the same names, keys of a YAML file: see settings.go, whose table is the only
// place that lists them.
//
// Everything that a server keeps is in its data directory:
//
//	address       where it answers, for the other subcommands
//	audit/        CloudTrail records, a file a day
//	credentials   root access keys, as ~/.aws/credentials has them
//	decisions/    why recent calls were refused, for explain
//	dynamodb/     tables, a directory for each account and region
//	dynamodb-backups/  backups of tables, a file each
//	etcd/         users, roles, policies, buckets
//	lock          taken while a server runs: one directory, one server
//	master.key    opens what is in etcd/, which is sealed; keep a copy somewhere else
//	s3/           objects
//
// The exit status is 0 when all went well, 2 when the command line or the
// configuration is wrong, and 1 when anything else is.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/iamd-dev/iamd/internal/workload"
)

func main() {
	workload.Keep()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	cmd := newCommand()
	err := cmd.ExecuteContext(ctx)
	stop()
	if err == nil {
		return
	}
	if errors.Is(err, errRefused) {
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, "iamd:", err)
	var usage usageError
	if errors.As(err, &usage) {
		os.Exit(2)
	}
	os.Exit(1)
}

// A usageError is a mistake in the command line or the configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// newCommand is the program as a tree of commands.
func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "iamd",
		Short: "AWS IAM and STS that you can run",
		Long: `iamd is AWS IAM and STS that you can run, with the S3 that they protect.
It speaks to stock AWS clients, and it really decides.`,
		Example: `  iamd serve              # start on 127.0.0.1:4600
  eval "$(iamd env)"      # in another shell: point AWS clients at it
  aws sts get-caller-identity
  iamd tour               # see AssumeRole and PassRole at work`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArguments,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Version:       version(),
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		var unknown *pflag.NotExistError
		if errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "" {
			name := unknown.GetSpecifiedName()
			return usageError{fmt.Errorf("%w: did you mean --%s? See %s --help", err, nearest(name, flagNames(cmd)), cmd.CommandPath())}
		}
		return usageError{fmt.Errorf("%w: see %s --help", err, cmd.CommandPath())}
	})
	root.AddCommand(newServe(), newEnv(), newCredentials(), newImport(), newExport(), newExplain(), newTrace(), newCan(), newLint(), newSimulate(), newTour(), newTourRead(), newVersion())
	return root
}

// noArguments refuses what is neither a flag nor a subcommand.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	if len(names) == 0 {
		return usageError{fmt.Errorf("%s takes no arguments, but there is %q: see %[1]s --help", cmd.CommandPath(), args[0])}
	}
	return usageError{fmt.Errorf("unknown command %q: did you mean %s? See %s --help", args[0], nearest(args[0], names), cmd.CommandPath())}
}

func flagNames(cmd *cobra.Command) []string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}

// nearest returns the candidate that takes the fewest edits to become name.
func nearest(name string, candidates []string) string {
	best, least := "", len(name)+1000
	for _, c := range candidates {
		if d := distance(name, c); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance is Levenshtein's: how many bytes to insert, delete or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
