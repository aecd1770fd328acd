package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/iamd-dev/iamd/internal/reference"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit that it was built from, and the date of AWS's data in it",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\nAWS's actions, resources and condition keys of %s, managed policies of %s\n",
				version(), reference.ActionsDate, reference.PoliciesDate)
			return err
		},
	}
}

// version is what the Go tool wrote into the program: the tag, or else the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "iamd, of an unknown version"
	}
	commit, modified := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = " with changes"
		}
	}
	name := info.Main.Version
	if name == "" || name == "(devel)" {
		name = "devel"
	}
	if commit != "" {
		name += ", commit " + commit[:min(12, len(commit))] + modified
	}
	return fmt.Sprintf("iamd %s, %s %s/%s", name, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
