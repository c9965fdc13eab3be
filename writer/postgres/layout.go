package postgres

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// tableName names a table; an empty schema is found by the search_path.
type tableName struct{ schema, table string }

// String returns the name as people write it.
func (n tableName) String() string {
	if n.schema == "" {
		return n.table
	}
	return n.schema + "." + n.table
}

// quoted returns the name for SQL.
func (n tableName) quoted() string {
	if n.schema == "" {
		return quote(n.table)
	}
	return quote(n.schema) + "." + quote(n.table)
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// layout is a table that entries rest in, with the statements that write it. The
// table entry is shared by spaces, partitions and sinks, so all of them are in its
// key; a mapped table belongs to one space.
type layout struct {
	table   tableName
	shared  bool
	sink    int16
	columns []layoutColumn
	keys    []int // positions of the columns that make the unique key

	upsert string // one array for each column
	remove string // one array for each key column
	clear  string // of one space: partition, and the space if shared
}

type layoutColumn struct {
	name     string
	typ      *columnType
	modifier string
	source   source
	path     []string // of the field
	notNull  bool
}

// sharedLayout returns the layout of the table entry.
func sharedLayout(schema string, sink int16) *layout {
	column := func(name, typ string, from source) layoutColumn {
		t, _, err := parseType(typ)
		if err != nil {
			panic(err)
		}
		return layoutColumn{name: name, typ: t, source: from, notNull: from != fromFields}
	}
	l := &layout{table: tableName{schema, "entry"}, shared: true, sink: sink, keys: []int{5, 4, 7}, columns: []layoutColumn{
		// In this order nothing is lost to alignment.
		column("version", "bigint", fromVersion),
		column("ordinal", "bigint", fromOrder),
		column("deadline", "bigint", fromDeadline),
		column("attempts", "integer", fromAttempts),
		column("space", "integer", fromSpace),
		column("partition", "smallint", fromPartition),
		column("kind", "smallint", fromKind),
		column("key", "bytea", fromKey),
		column("value", "bytea", fromValue),
		column("fields", "jsonb", fromFields),
	}}
	l.compose()
	return l
}

// compose writes the statements.
func (l *layout) compose() {
	var names, made, types, terms, conflict, set, match []string
	for i, c := range l.columns {
		names = append(names, quote(c.name))
		types = append(types, fmt.Sprintf("$%d::%s", i+1, c.typ.array))
		terms = append(terms, fmt.Sprintf("c%d", i))
		made = append(made, fmt.Sprintf("x.c%d%s", i, c.typ.cast))
		if !l.isKey(i) {
			set = append(set, fmt.Sprintf("%s = EXCLUDED.%s", quote(c.name), quote(c.name)))
		}
	}
	var keyTypes, keyTerms []string
	for i, k := range l.keys {
		c := &l.columns[k]
		conflict = append(conflict, quote(c.name))
		match = append(match, fmt.Sprintf("t.%s = x.k%d", quote(c.name), i))
		keyTypes = append(keyTypes, fmt.Sprintf("$%d::%s", i+1, c.typ.array))
		keyTerms = append(keyTerms, fmt.Sprintf("k%d", i))
	}
	table := l.table.quoted()
	if l.shared {
		sink := fmt.Sprintf("%d", l.sink)
		names, made = append(names, "sink"), append(made, sink+"::smallint")
		conflict = append([]string{"sink"}, conflict...)
		match = append([]string{"t.sink = " + sink}, match...)
		l.clear = "DELETE FROM " + table + " WHERE sink = " + sink + " AND partition = $1 AND space = $2"
	} else {
		l.clear = "DELETE FROM " + table + " WHERE " + quote(l.columnOf(fromPartition).name) + " = $1"
	}
	list := func(s []string) string { return strings.Join(s, ", ") }
	l.upsert = fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM unnest(%s) AS x(%s) ON CONFLICT (%s) DO UPDATE SET %s",
		table, list(names), list(made), list(types), list(terms), list(conflict), list(set))
	l.remove = fmt.Sprintf("DELETE FROM %s t USING unnest(%s) AS x(%s) WHERE %s",
		table, list(keyTypes), list(keyTerms), strings.Join(match, " AND "))
}

func (l *layout) isKey(column int) bool { return slices.Contains(l.keys, column) }

// columnOf returns the column that is made from a source, or nil.
func (l *layout) columnOf(s source) *layoutColumn {
	for i := range l.columns {
		if l.columns[i].source == s {
			return &l.columns[i]
		}
	}
	return nil
}

// keyColumn returns the column that holds entries' keys.
func (l *layout) keyColumn() *layoutColumn { return l.columnOf(fromKey) }

// whole reports whether rows hold everything that an entry is.
func (l *layout) whole() bool {
	for _, s := range []source{fromVersion, fromOrder, fromDeadline, fromAttempts, fromKind, fromValue} {
		if l.columnOf(s) == nil {
			return false
		}
	}
	return true
}

// row is one entry on its way into a table.
type row struct {
	partition space.PartitionID
	space     space.ID
	entry     space.Entry
}

// append adds the value of column c for r to a, or says why it cannot be; a may
// then hold anything.
func (c *layoutColumn) append(a *array, r *row) *fault {
	switch c.source {
	case fromPartition:
		a.addInt16(int16(r.partition))
	case fromSpace:
		a.addInt32(int32(r.space))
	case fromVersion:
		a.addInt64(int64(r.entry.Version))
	case fromOrder:
		a.addInt64(int64(r.entry.Order))
	case fromDeadline:
		a.addInt64(int64(r.entry.Deadline))
	case fromAttempts:
		a.addInt32(int32(r.entry.Attempts))
	case fromKind:
		a.addInt16(int16(r.entry.Kind))
	case fromValue:
		a.addBytes(r.entry.Value)
	case fromKey:
		buf, why := appendKey(c.typ, a.begin(), r.entry.Key)
		if why != "" {
			return &fault{c.name, why}
		}
		a.end(buf)
	case fromFields:
		if buf, ok := appendFields(a.begin(), r.entry.Kind, r.entry.Value); ok {
			a.end(buf)
		} else {
			a.addNull()
		}
	case fromField:
		return c.appendField(a, r)
	}
	return nil
}

// appendField adds the value of a field.
func (c *layoutColumn) appendField(a *array, r *row) *fault {
	if r.entry.Kind != space.KindFields {
		return &fault{c.name, "the entry is opaque bytes and has no fields"}
	}
	v, ok := r.entry.Value, true
	for _, step := range c.path {
		if v, ok = msgp.Field(v, step); !ok {
			break
		}
	}
	if !ok || msgp.KindOf(v) == msgp.Nil {
		a.addNull()
		return nil
	}
	buf, why := c.typ.append(a.begin(), v)
	if why != "" {
		return &fault{c.name, why}
	}
	a.end(buf)
	return nil
}
