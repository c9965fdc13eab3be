// Command spacegrid is the one binary of Spacegrid: a member of a grid, and the
// tools to work with one. Every subcommand is one file.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run carries out one command line and returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	app := &app{in: stdin, out: stdout, err: stderr}
	root := app.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil {
		app.report(err)
	}
	return exitCode(err)
}

// app is what the subcommands share.
type app struct {
	in       io.Reader
	out, err io.Writer
	flags    globalFlags
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "spacegrid",
		Short: "A replicated in-memory grid of entries, with its system of record behind it",
		Long: `Spacegrid keeps the working data of an application in a replicated in-memory
grid and streams every committed change, in order, to a store.

Try it:
  spacegrid demo                     a ticket on-sale over three processes, one of them killed
  spacegrid dev                      one member in memory, all doors open on loopback
  redis-cli -p 7379 set a 1          any Redis client
  spacegrid watch default            what happens, as it happens`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	a.flags.register(root)
	root.AddCommand(
		a.devCommand(), a.serveCommand(), a.demoCommand(), a.trialCommand(),
		a.statusCommand(), a.membersCommand(), a.spacesCommand(), a.spaceCommand(),
		a.writeCommand(), a.readCommand(), a.takeCommand(), a.queryCommand(), a.watchCommand(),
		a.changeCommand(), a.claimCommand(), a.ackCommand(), a.nackCommand(), a.extendCommand(), a.aggregateCommand(), a.explainCommand(),
		a.importCommand(), a.exportCommand(), a.pumpCommand(), a.sinkCommand(), a.benchCommand(), a.versionCommand(),
	)
	return root
}

// notef writes one line for people, who read stderr: stdout is for data.
func (a *app) notef(format string, args ...any) {
	fmt.Fprintf(a.err, format+"\n", args...)
}
