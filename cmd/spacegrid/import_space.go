package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
)

// importSpace returns the space to import into, made if it is not there: with the
// columns of a CSV file as its declared fields.
func (a *app) importSpace(ctx context.Context, g *grid.Grid, name string, rows *rowReader, f importFlags) (space.Definition, error) {
	def, err := g.Describe(ctx, name)
	if errors.Is(err, grid.ErrNoSpace) {
		def = space.Definition{Name: name, Shape: space.ShapeFields, Key: f.key}
		if def.Indexes, err = importIndexes(f.indexes, rows.columns); err != nil {
			return def, err
		}
		if def.Fields = declaredFields(rows.columns, rows.types); def.Fields == nil && rows.columns != nil {
			a.notef("the columns are not declared: a space declares at most %d fields with names of at most %d bytes", space.MaxFields, space.MaxNameBytes)
		}
		def, err = g.CreateSpace(ctx, def)
	}
	if err == nil && def.Shape == space.ShapeBytes {
		err = usagef("space %q holds bytes, not fields", name)
	}
	return def, err
}

// declaredFields declares the columns of a CSV file, in their order, or nothing if
// there are more than a space declares: of a part of them the others could not be
// filtered by.
func declaredFields(columns []string, types []cellType) []space.Field {
	if len(columns) > space.MaxFields {
		return nil
	}
	fields := make([]space.Field, len(columns))
	for i, column := range columns {
		path := fieldPath(column)
		if len(path) > space.MaxNameBytes {
			return nil
		}
		fields[i] = space.Field{Path: path, Type: types[i].declared()}
	}
	return fields
}

// fieldPath writes the name of a field as the path to it. In a path a dot leads
// into a map, unless the name is put in double quotes.
func fieldPath(name string) string {
	if name != "" && !strings.ContainsAny(name, `."`) {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// declared returns the type that a field is declared with for such a column.
func (t cellType) declared() predicate.Type {
	switch t {
	case cellInt:
		return predicate.Int
	case cellFloat:
		return predicate.Float
	case cellBool:
		return predicate.Bool
	case cellDate, cellTime:
		return predicate.Time
	}
	return predicate.String
}

// orderedMark behind the fields of an index asks for an ordered one.
const orderedMark = ":ordered"

// importIndexes reads the flags that ask for indexes: fields with commas between
// them, and what else is wanted behind a colon. Columns are those of a CSV file,
// which the fields must be among, or nil.
func importIndexes(flags, columns []string) ([]space.Index, error) {
	var indexes []space.Index
	for _, text := range flags {
		list, ordered := strings.CutSuffix(text, orderedMark)
		x := space.Index{Fields: strings.Split(list, ","), Ordered: ordered}
		for _, field := range x.Fields {
			switch {
			case columns == nil:
			case !slices.Contains(columns, field):
				return nil, usagef("--index %s: there is no column %q; there are %s", text, field, strings.Join(columns, ", "))
			case strings.Contains(field, "."):
				return nil, usagef("--index %s: column %q has a dot in its name, which in an index leads into a map", text, field)
			}
		}
		x.Name = indexName(x.Fields, indexes)
		indexes = append(indexes, x)
	}
	return indexes, nil
}

// indexName makes a name of the fields of an index that none of the others has.
// What cannot be in a name is left out of it, "Cost Total $" is Cost-Total.
func indexName(fields []string, others []space.Index) string {
	words := strings.FieldsFunc(strings.Join(fields, "-"), func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '.')
	})
	base := strings.TrimLeft(strings.Join(words, "-"), "_.")
	// Some bytes are left for the number.
	base = base[:min(len(base), space.MaxNameBytes-len("-00"))]
	if base == "" {
		base = "index"
	}
	name := base
	for n := 2; slices.ContainsFunc(others, func(x space.Index) bool { return x.Name == name }); n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	return name
}
