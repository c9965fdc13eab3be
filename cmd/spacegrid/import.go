package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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
	skipBad bool
}

func (a *app) importCommand() *cobra.Command {
	var f importFlags
	c := &cobra.Command{
		Use:   "import SPACE FILE",
		Short: "Write the rows of a file as entries",
		Long: `Write the rows of a CSV or JSON lines file (.gz too, - for standard input) as
entries. The space is created if it does not exist. Types of CSV columns are
inferred cell by cell: integers stay integers, empty cells are left out. A row
that cannot be read ends the import with its line number, unless --skip-bad.`,
		Example: `  spacegrid import airports airports.csv --key iata
  spacegrid import cities cities.jsonl.gz --key id --index country`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.importFile(c.Context(), args[0], args[1], f)
		},
	}
	c.Flags().StringVar(&f.key, "key", "", "field that is the entry's key; without it keys are generated")
	c.Flags().StringVar(&f.format, "format", "", "csv or jsonl; by default from the file's name")
	c.Flags().StringArrayVar(&f.indexes, "index", nil, "when the space is created: hash index on a field, or on several: a,b")
	c.Flags().BoolVar(&f.skipBad, "skip-bad", false, "leave rows out that cannot be read, and count them")
	return c
}

func (a *app) importFile(ctx context.Context, name, path string, f importFlags) error {
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
	g, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = g.Close() }() // a remote handle: nothing is lost with it
	def, err := importSpace(ctx, g, name, f)
	if err != nil {
		return err
	}
	im := importer{
		g: g, def: def, rows: rows, flags: f, timeout: a.flags.timeout,
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

// importSpace returns the space to import into, made if it is not there.
func importSpace(ctx context.Context, g *grid.Grid, name string, f importFlags) (space.Definition, error) {
	def, err := g.Describe(ctx, name)
	if errors.Is(err, grid.ErrNoSpace) {
		def = space.Definition{Name: name, Shape: space.ShapeFields, Key: f.key}
		for _, x := range f.indexes {
			fields := strings.Split(x, ",")
			def.Indexes = append(def.Indexes, space.Index{Name: strings.Join(fields, "-"), Fields: fields})
		}
		def, err = g.CreateSpace(ctx, def)
	}
	if err == nil && def.Shape == space.ShapeBytes {
		err = usagef("space %q holds bytes, not fields", name)
	}
	return def, err
}

// importer writes rows in batches.
type importer struct {
	g        *grid.Grid
	def      space.Definition
	rows     *rowReader
	flags    importFlags
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

// key returns the key of a row.
func (im *importer) key(value []byte) ([]byte, error) {
	field := im.flags.key
	if field == "" {
		field = im.def.Key
	}
	if field == "" {
		b := make([]byte, 12)
		if _, err := rand.Read(b); err != nil {
			return nil, err
		}
		return []byte(hex.EncodeToString(b)), nil
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

// rowError is a row that cannot be read.
type rowError struct {
	row int
	err error
}

func (e *rowError) Error() string { return fmt.Sprintf("row %d: %v", e.row, e.err) }

func (e *rowError) Unwrap() error { return e.err }

// rowReader yields the rows of a file as canonical msgpack maps.
type rowReader struct {
	row     int
	lines   *bufio.Scanner
	csv     *csv.Reader
	columns []string
}

func newRowReader(r io.Reader, path, format string) (*rowReader, error) {
	name := filepath.Base(path)
	if strings.HasSuffix(name, ".gz") {
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		r, name = z, strings.TrimSuffix(name, ".gz")
	}
	if format == "" {
		switch filepath.Ext(name) {
		case ".csv":
			format = "csv"
		case ".jsonl", ".ndjson", ".json":
			format = "jsonl"
		default:
			return nil, usagef("cannot tell the format of %q from its name: give --format csv or jsonl", path)
		}
	}
	rows := &rowReader{}
	switch format {
	case "jsonl":
		rows.lines = bufio.NewScanner(r)
		rows.lines.Buffer(make([]byte, 64<<10), maxRowBytes)
	case "csv":
		rows.csv = csv.NewReader(r)
		rows.csv.ReuseRecord = true
		header, err := rows.csv.Read()
		if err != nil {
			return nil, fmt.Errorf("%s: header: %w", path, err)
		}
		rows.columns = append(rows.columns, header...)
		rows.row = 1
	default:
		return nil, usagef("unknown format %q: csv or jsonl", format)
	}
	return rows, nil
}

func (r *rowReader) bad(err error) error { return &rowError{row: r.row, err: err} }

// next returns the next row, io.EOF after the last, or a *rowError after which it
// can go on.
func (r *rowReader) next() ([]byte, error) {
	r.row++
	if r.csv != nil {
		return r.nextCSV()
	}
	for r.lines.Scan() {
		line := bytes.TrimSpace(r.lines.Bytes())
		if len(line) == 0 {
			r.row++
			continue
		}
		value, err := msgp.FromJSON(nil, line)
		if err != nil {
			return nil, r.bad(err)
		}
		if msgp.KindOf(value) != msgp.Map {
			return nil, r.bad(errors.New("not a JSON object"))
		}
		return value, nil
	}
	if err := r.lines.Err(); err != nil {
		return nil, fmt.Errorf("row %d: %w", r.row, err)
	}
	return nil, io.EOF
}

func (r *rowReader) nextCSV() ([]byte, error) {
	record, err := r.csv.Read()
	var parse *csv.ParseError
	switch {
	case errors.Is(err, io.EOF):
		return nil, io.EOF
	case errors.As(err, &parse):
		return nil, r.bad(err)
	case err != nil:
		return nil, err
	}
	fields := make(map[string]any, len(record))
	for i, cell := range record {
		if cell != "" {
			fields[r.columns[i]] = infer(cell)
		}
	}
	value, err := grid.FieldsOf(fields)
	if err != nil {
		return nil, r.bad(err)
	}
	return value, nil
}

// infer gives a CSV cell a type: an integer or a decimal number if it is written
// the way such a number is written out again, true or false, text otherwise. So
// "007" and "1e5" stay what they are.
func infer(cell string) any {
	if n, err := strconv.ParseInt(cell, 10, 64); err == nil && strconv.FormatInt(n, 10) == cell {
		return n
	}
	if x, err := strconv.ParseFloat(cell, 64); err == nil && strings.Contains(cell, ".") &&
		strconv.FormatFloat(x, 'f', len(cell)-strings.IndexByte(cell, '.')-1, 64) == cell {
		return x
	}
	switch cell {
	case "true":
		return true
	case "false":
		return false
	}
	return cell
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
