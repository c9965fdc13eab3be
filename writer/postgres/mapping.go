package postgres

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spacegrid/spacegrid/grid/space/predicate"
)

// Mapping gives a space a table of its own. A row is an entry; its key is the
// entry's key, which has a column with a unique index of its own.
//
// Besides what Columns say, the table has the columns grid_partition and
// grid_version, by which the writer finds its rows.
type Mapping struct {
	Space string `json:"space" yaml:"space"` // name of the space
	Table string `json:"table" yaml:"table"` // "table" or "schema.table"
	// Columns in the order in which a created table has them. Exactly one is made
	// from $key.
	Columns []Column `json:"columns" yaml:"columns"`
	// Whole adds columns with the entry as it is: its bytes, order, lease and
	// attempts. Only such a table can be loaded back.
	Whole bool `json:"whole,omitempty" yaml:"whole,omitempty"`
}

// Column is one column of a mapping.
type Column struct {
	Name string `json:"name" yaml:"name"`
	// Type is text, varchar(n), bytea, boolean, smallint, integer, bigint, double
	// precision, numeric, numeric(p,s), timestamptz, jsonb or uuid. A number, text
	// or time goes only into a column that keeps it: what does not fit is refused,
	// except that numeric(p,s) rounds to s digits and timestamptz cuts to
	// microseconds. Nil and an absent field are NULL.
	Type string `json:"type" yaml:"type"`
	// From is the path of a field, with dots through nested maps, or a name that
	// begins with $: $key, $partition, $version, $order, $deadline, $attempts,
	// $kind, $value (the entry's bytes) and $fields (all fields, as jsonb). Empty
	// is the field that is called as the column.
	From    string `json:"from,omitempty" yaml:"from,omitempty"`
	NotNull bool   `json:"not_null,omitempty" yaml:"not_null,omitempty"`
}

// source says what a column is made from.
type source uint8

const (
	fromField source = iota
	fromKey
	fromPartition
	fromSpace
	fromVersion
	fromOrder
	fromDeadline
	fromAttempts
	fromKind
	fromValue
	fromFields
)

// sources are the names that begin with $, and the types that keep them.
var sources = map[string]struct {
	source source
	types  []string
}{
	"$key":       {fromKey, []string{"bytea", "text", "character varying", "bigint", "uuid"}},
	"$partition": {fromPartition, []string{"smallint"}},
	"$version":   {fromVersion, []string{"bigint"}},
	"$order":     {fromOrder, []string{"bigint"}},
	"$deadline":  {fromDeadline, []string{"bigint"}},
	"$attempts":  {fromAttempts, []string{"integer"}},
	"$kind":      {fromKind, []string{"smallint"}},
	"$value":     {fromValue, []string{"bytea"}},
	"$fields":    {fromFields, []string{"jsonb"}},
}

// The columns that a mapped table has whether they are listed or not, unless
// another column has their source.
var (
	bookkeeping = []Column{
		{Name: "grid_partition", Type: "smallint", From: "$partition", NotNull: true},
		{Name: "grid_version", Type: "bigint", From: "$version", NotNull: true},
	}
	wholeEntry = []Column{
		{Name: "grid_order", Type: "bigint", From: "$order", NotNull: true},
		{Name: "grid_deadline", Type: "bigint", From: "$deadline", NotNull: true},
		{Name: "grid_attempts", Type: "integer", From: "$attempts", NotNull: true},
		{Name: "grid_kind", Type: "smallint", From: "$kind", NotNull: true},
		{Name: "grid_value", Type: "bytea", From: "$value", NotNull: true},
	}
)

// Validate reports what is wrong with the mapping by itself, or nil.
func (m *Mapping) Validate() error {
	_, err := m.layout(0)
	return err
}

// layout returns the table of a mapping.
func (m *Mapping) layout(sink int16) (*layout, error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("postgres: mapping of space %q: "+format, append([]any{m.Space}, args...)...)
	}
	schema, table, ok := strings.Cut(m.Table, ".")
	if !ok {
		schema, table = "", m.Table // as the server's search_path says
	}
	if m.Space == "" || !nameOK(table) || strings.Contains(table, ".") || schema != "" && !nameOK(schema) {
		return nil, bad("it needs the name of a space and of a table, not %q", m.Table)
	}
	l := &layout{table: tableName{schema, table}, sink: sink}
	columns := slices.Clone(m.Columns)
	extra := bookkeeping
	if m.Whole {
		extra = slices.Concat(bookkeeping, wholeEntry)
	}
	for _, c := range extra {
		if !slices.ContainsFunc(columns, func(x Column) bool { return x.From == c.From }) {
			columns = append(columns, c)
		}
	}
	if len(columns) > MaxColumns {
		return nil, bad("it has %d columns, at most %d are possible", len(columns), MaxColumns)
	}
	for _, c := range columns {
		made, err := c.made()
		if err != nil {
			return nil, bad("column %q: %w", c.Name, err)
		}
		if slices.ContainsFunc(l.columns, func(x layoutColumn) bool { return x.name == made.name }) {
			return nil, bad("column %q is there twice", c.Name)
		}
		if made.source == fromKey {
			l.keys = append(l.keys, len(l.columns))
		}
		l.columns = append(l.columns, made)
	}
	if len(l.keys) != 1 {
		return nil, bad("exactly one column is made from $key, not %d", len(l.keys))
	}
	l.columns[l.keys[0]].notNull = true
	l.compose()
	return l, nil
}

// made returns the column as the writer uses it.
func (c *Column) made() (layoutColumn, error) {
	if !nameOK(c.Name) {
		return layoutColumn{}, errors.New("that is no name of PostgreSQL")
	}
	t, modifier, err := parseType(c.Type)
	if err != nil {
		return layoutColumn{}, err
	}
	made := layoutColumn{name: c.Name, typ: t, modifier: modifier, notNull: c.NotNull}
	from := cmp.Or(c.From, c.Name)
	if strings.HasPrefix(from, "$") {
		s, ok := sources[from]
		if !ok {
			return made, fmt.Errorf("nothing is called %s", from)
		}
		if !slices.Contains(s.types, t.name) {
			return made, fmt.Errorf("%s goes into a column of type %s, not %s", from, strings.Join(s.types, " or "), t.name)
		}
		made.source = s.source
		return made, nil
	}
	made.path, err = predicate.SplitPath(from)
	return made, err
}
