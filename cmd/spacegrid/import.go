package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// importBatch is how many rows are written at once: enough for every partition
// to get some.
const importBatch = 2000

// maxRowBytes bounds one line of JSON lines.
const maxRowBytes = 4 << 20

type importFlags struct {
	key     string
	format  string
	indexes []string
	types   []string
	skipBad bool
}

func (a *app) importCommand() *cobra.Command {
	var f importFlags
	c := &cobra.Command{
		Use:   "import SPACE FILE",
		Short: "Write the rows of a file as entries",
		Long: `Write the rows of a CSV or JSON lines file (.gz too, - for standard input) as
entries. The space is created if it does not exist. A CSV column has the first of
the types int, float, bool, date, time and text that all its cells can be read as
and be written again: the whole file is looked at first, of standard input the
first 10,000 rows. Empty cells are left out. Days and times become timestamps in
UTC. The space that is created declares the columns with their types, so that a
filter that names none of them is refused. A row that cannot be read ends the
import with its number, unless --skip-bad. Without a key every row is an entry of
its own, equal rows too; the keys of one import are in the order of its rows.

An index on several fields is written a,b. With :ordered behind it the last of them
also serves comparisons, ranges and prefixes: section,price:ordered.`,
		Example: `  spacegrid import airports airports.csv --key iata
  spacegrid import cities cities.jsonl.gz --key id --index country
  spacegrid import strikes birdstrikes.csv --index 'Origin State,Flight Date:ordered'`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.importFile(c.Context(), args[0], args[1], f)
		},
	}
	c.Flags().StringVar(&f.key, "key", "", "field that is the entry's key; without it keys are generated")
	c.Flags().StringVar(&f.format, "format", "", "csv or jsonl; by default from the file's name")
	c.Flags().StringArrayVar(&f.indexes, "index", nil, "when the space is created: index on a field, or on several, ordered or not: a,b:ordered (repeat for more)")
	c.Flags().StringArrayVar(&f.types, "type", nil, "type of a CSV column instead of the inferred one: zip=text")
	c.Flags().BoolVar(&f.skipBad, "skip-bad", false, "leave rows out that cannot be read, and count them")
	return c
}

func (a *app) importFile(ctx context.Context, name, path string, f importFlags) error {
	set, err := parseTypes(f.types)
	if err != nil {
		return err
	}
	in, size, err := a.openInput(path)
	if err != nil {
		return err
	}
	defer in.Close()
	counted := &countingReader{r: in}
	rows, err := newRowReader(counted, path, f.format)
	if err != nil {
		return err
	}
	if err := a.chooseTypes(rows, path, f.format, set); err != nil {
		return err
	}
	g, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = g.Close() }() // a remote handle: nothing is lost with it
	def, err := a.importSpace(ctx, g, name, rows, f)
	if err != nil {
		return err
	}
	im := importer{
		g: g, def: def, rows: rows, flags: f, timeout: a.flags.timeout, keys: newRowKeys(),
		progress: newProgress(a, size, func() int64 { return counted.n }),
	}
	err = im.run(ctx)
	im.progress.end(im.written)
	if a.flags.output == outputJSON {
		if e := a.json(map[string]any{"space": name, "rows": im.written, "skipped": im.skipped, "seconds": im.progress.seconds()}); err == nil {
			err = e
		}
	}
	return err
}

func (a *app) openInput(path string) (io.ReadCloser, int64, error) {
	if path == "-" {
		return io.NopCloser(a.in), 0, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, info.Size(), nil
}

// chooseTypes settles the types of the columns of a CSV file. A file is read once
// for it, standard input as far as the rows are kept.
func (a *app) chooseTypes(rows *rowReader, path, format string, set map[string]cellType) error {
	if rows.csv == nil {
		if len(set) > 0 {
			return usagef("--type is for CSV: rows of JSON say their types themselves")
		}
		return nil
	}
	g := newGuess(len(rows.columns))
	if path == "-" {
		if err := rows.sample(g); err != nil {
			return err
		}
	} else {
		in, _, err := a.openInput(path)
		if err != nil {
			return err
		}
		defer in.Close()
		first, err := newRowReader(in, path, format)
		if err != nil {
			return err
		}
		if err := first.look(g); err != nil {
			return err
		}
	}
	rows.types = g.types()
	return applyTypes(rows.types, rows.columns, set)
}

// importer writes rows in batches.
type importer struct {
	g        *grid.Grid
	def      space.Definition
	rows     *rowReader
	flags    importFlags
	keys     rowKeys
	timeout  time.Duration
	progress *progress
	written  int
	skipped  int
}

func (im *importer) run(ctx context.Context) error {
	b := im.g.NewBatch()
	for {
		value, err := im.rows.next()
		var key []byte
		if err == nil {
			key, err = im.key(value)
		}
		var bad *rowError
		switch {
		case errors.Is(err, io.EOF):
			return im.write(ctx, b)
		case errors.As(err, &bad) && im.flags.skipBad:
			im.skipped++
			continue
		case err != nil:
			// What came before the bad row is written: the message says where to go on.
			return errors.Join(err, im.write(ctx, b))
		}
		b.Do(space.Op{Code: space.OpWrite, Space: im.def.ID, Kind: space.KindFields, Key: key, Value: value})
		if b.Len() >= importBatch {
			if err := im.write(ctx, b); err != nil {
				return err
			}
		}
	}
}

// rowKeys makes the keys of rows that have none: what is drawn once for an import,
// so that no two imports meet, and the number of the row.
type rowKeys string

func newRowKeys() rowKeys {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it cannot fail
	return rowKeys(hex.EncodeToString(b[:]))
}

// key returns the key of a row. Keys are in the order of the rows, as long as these
// have ten digits at most.
func (k rowKeys) key(row int) []byte { return fmt.Appendf(nil, "%s-%010d", k, row) }

// key returns the key of a row.
func (im *importer) key(value []byte) ([]byte, error) {
	field := im.flags.key
	if field == "" {
		field = im.def.Key
	}
	if field == "" {
		return im.keys.key(im.rows.row), nil
	}
	v, ok := msgp.Field(value, field)
	if !ok {
		return nil, im.rows.bad(fmt.Errorf("there is no field %q to be the key", field))
	}
	key, err := grid.KeyOf(v)
	if err != nil || len(key) == 0 || len(key) > space.MaxKeyBytes {
		return nil, im.rows.bad(fmt.Errorf("field %q cannot be a key", field))
	}
	return key, nil
}

func (im *importer) write(ctx context.Context, b *grid.Batch) error {
	if b.Len() == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, im.timeout)
	defer cancel()
	if err := im.g.Run(ctx, b); err != nil {
		return err
	}
	for i := range b.Len() {
		if _, err := b.Result(i); err != nil {
			return fmt.Errorf("after %d rows: %w", im.written, err)
		}
		im.written++
	}
	b.Reset()
	im.progress.at(im.written)
	return nil
}
