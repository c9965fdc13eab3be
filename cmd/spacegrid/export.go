package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

func (a *app) exportCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "export SPACE [FILE]",
		Short: "Write the entries of a space as JSON lines",
		Long: `Write the value of every entry of a space as one line of JSON, to a file (.gz
compresses) or to standard output. Entries of bytes become {"key":…,"value":…}.`,
		Example: `  spacegrid export cities cities.jsonl.gz`,
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			path := "-"
			if len(args) == 2 {
				path = args[1]
			}
			return a.exportFile(c.Context(), args[0], path)
		},
	}
	return c
}

func (a *app) exportFile(ctx context.Context, name, path string) (err error) {
	g, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = g.Close() }() // a remote handle: nothing is lost with it
	out := a.out
	if path != "-" {
		file, err := os.Create(path)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		out = file
	}
	w := bufio.NewWriter(out)
	sink := io.Writer(w)
	var z *gzip.Writer
	if strings.HasSuffix(path, ".gz") {
		z = gzip.NewWriter(w)
		sink = z
	}
	p := newProgress(a, 0, func() int64 { return 0 })
	rows := 0
	for e, err := range g.Query(ctx, name, nil, grid.QueryOptions{AllowScan: true}) {
		if err != nil {
			return err
		}
		line, err := exportLine(e)
		if err != nil {
			return err
		}
		if _, err := sink.Write(append(line, '\n')); err != nil {
			return err
		}
		rows++
		p.at(rows)
	}
	if z != nil {
		if err := z.Close(); err != nil {
			return err
		}
	}
	p.end(rows)
	return w.Flush()
}

func exportLine(e grid.Entry) ([]byte, error) {
	if e.Kind == grid.Fields {
		return msgp.AppendJSON(nil, e.Value)
	}
	b := msgp.AppendMapHeader(nil, 2)
	b = msgp.AppendString(b, "key")
	b = msgp.AppendBytes(b, e.Key)
	b = msgp.AppendString(b, "value")
	return msgp.AppendJSON(nil, msgp.AppendBytes(b, e.Value))
}
