package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// cellType is what the cells of a CSV column are read as.
type cellType uint8

// The types of a column, from the narrowest to the one that takes every cell.
// A column has the first that fits all of its cells.
const (
	cellInt cellType = iota
	cellFloat
	cellBool
	cellDate // a day, at midnight UTC
	cellTime
	cellText
	cellTypes
)

var cellTypeNames = [cellTypes]string{"int", "float", "bool", "date", "time", "text"}

func (t cellType) String() string { return cellTypeNames[t] }

// read returns a cell as a value of the type, and whether it is one. Numbers are
// only taken for numbers if they are written the way they would be written out
// again, so that "007" stays what it is.
func (t cellType) read(cell string) (any, bool) {
	switch t {
	case cellInt:
		n, err := strconv.ParseInt(cell, 10, 64)
		return n, err == nil && strconv.FormatInt(n, 10) == cell
	case cellFloat:
		digits := 0
		if point := strings.IndexByte(cell, '.'); point >= 0 {
			digits = len(cell) - point - 1
		}
		x, err := strconv.ParseFloat(cell, 64)
		return x, err == nil && !math.IsNaN(x) && !math.IsInf(x, 0) && strconv.FormatFloat(x, 'f', digits, 64) == cell
	case cellBool:
		return cell == "true", cell == "true" || cell == "false"
	case cellDate:
		at, err := time.Parse(time.DateOnly, cell)
		return at, err == nil
	case cellTime:
		at, err := time.Parse(time.RFC3339Nano, cell)
		if err != nil {
			at, err = time.Parse(time.DateTime, cell)
		}
		return at.UTC(), err == nil
	}
	return cell, true
}

// guess finds the types of columns from their cells. Empty cells say nothing.
type guess struct {
	ruled []uint8 // for each column the types that a cell has ruled out, a bit each
	seen  []bool  // columns with a cell that is not empty
}

func newGuess(columns int) *guess {
	return &guess{ruled: make([]uint8, columns), seen: make([]bool, columns)}
}

func (g *guess) see(record []string) {
	for i, cell := range record {
		if cell == "" {
			continue
		}
		g.seen[i] = true
		for t := range cellText {
			if g.ruled[i]&(1<<t) != 0 {
				continue
			}
			if _, ok := t.read(cell); !ok {
				g.ruled[i] |= 1 << t
			}
		}
	}
}

// types returns what is left for each column; a column without cells is text.
func (g *guess) types() []cellType {
	types := make([]cellType, len(g.ruled))
	for i := range types {
		types[i] = cellText
		for t := range cellText {
			if g.seen[i] && g.ruled[i]&(1<<t) == 0 {
				types[i] = t
				break
			}
		}
	}
	return types
}

// parseTypes reads the flags that set types of columns: name=type.
func parseTypes(flags []string) (map[string]cellType, error) {
	set := map[string]cellType{}
	for _, f := range flags {
		at := strings.LastIndexByte(f, '=')
		t := slices.Index(cellTypeNames[:], f[at+1:])
		if at < 1 || t < 0 {
			return nil, usagef("--type %q: use COLUMN=TYPE with one of the types %s", f, strings.Join(cellTypeNames[:], ", "))
		}
		set[f[:at]] = cellType(t)
	}
	return set, nil
}

// applyTypes puts the types that were asked for in place of the guessed ones.
func applyTypes(types []cellType, columns []string, set map[string]cellType) error {
	for _, name := range slices.Sorted(maps.Keys(set)) {
		i := slices.Index(columns, name)
		if i < 0 {
			return usagef("--type %s=…: there is no column %q; there are %s", name, name, strings.Join(columns, ", "))
		}
		types[i] = set[name]
	}
	return nil
}

// misfit is the reason why a cell cannot be read as its column's type.
func misfit(column string, t cellType, cell string) error {
	return fmt.Errorf("column %q holds values of type %s, which %.40q is not (give --type %q for the column)", column, t, cell, column+"=text")
}
