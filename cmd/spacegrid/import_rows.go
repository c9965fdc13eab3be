package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

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
	types   []cellType // of the columns
	kept    []csvRow   // read to guess the types, not yet yielded
}

// csvRow is what the CSV reader gave for one row.
type csvRow struct {
	record []string
	err    error
}

// sampleRows is how many rows of standard input are kept to guess types from.
const sampleRows = 10_000

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
		for i, column := range header {
			if slices.Contains(header[:i], column) {
				return nil, fmt.Errorf("%s: header: two columns are called %q", path, column)
			}
		}
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

// read returns the next CSV record: io.EOF after the last, a *csv.ParseError for
// a row that is none.
func (r *rowReader) read() ([]string, error) {
	if len(r.kept) > 0 {
		row := r.kept[0]
		r.kept = r.kept[1:]
		return row.record, row.err
	}
	return r.csv.Read()
}

// look shows all rows of a CSV file to a guess.
func (r *rowReader) look(g *guess) error {
	for {
		record, err := r.csv.Read()
		var parse *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &parse): // reported when the row's turn comes
		case err != nil:
			return err
		default:
			g.see(record)
		}
	}
}

// sample shows the first rows to a guess and keeps them.
func (r *rowReader) sample(g *guess) error {
	for len(r.kept) < sampleRows {
		record, err := r.csv.Read()
		var parse *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.As(err, &parse):
			return err
		case err == nil:
			g.see(record)
		}
		r.kept = append(r.kept, csvRow{slices.Clone(record), err})
	}
	return nil
}

func (r *rowReader) nextCSV() ([]byte, error) {
	record, err := r.read()
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
		if cell == "" {
			continue
		}
		v, ok := r.types[i].read(cell)
		if !ok {
			return nil, r.bad(misfit(r.columns[i], r.types[i], cell))
		}
		fields[r.columns[i]] = v
	}
	value, err := grid.FieldsOf(fields)
	if err != nil {
		return nil, r.bad(err)
	}
	return value, nil
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
