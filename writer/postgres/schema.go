package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// schemaFormat is the version of the writer's own tables. Tables of another one
// are refused, never guessed at.
const schemaFormat = 1

// schemaLock is the advisory lock under which tables are created: two writers that
// start at once would otherwise create the same one. Its number means nothing.
const schemaLock = 0x7370_6163_6567_7264

// relation is a table as it has to be.
type relation struct {
	name    tableName
	columns []relationColumn
	// more follows the columns where the table is created: constraints.
	more string
	// with is the storage parameters of a created table.
	with string
	// unique are the columns that a unique index must have, alone and in any order.
	unique []string
}

type relationColumn struct {
	name, typ string
	notNull   bool
	// made by the server if the writer gives none
	generated string
}

func required(name, typ string) relationColumn {
	return relationColumn{name: name, typ: typ, notNull: true}
}

func optional(name, typ string) relationColumn { return relationColumn{name: name, typ: typ} }

// ownRelations returns the writer's tables, without entry.
func ownRelations(schema string, journal bool) []relation {
	in := func(table string) tableName { return tableName{schema, table} }
	all := []relation{
		{name: in("format"), columns: []relationColumn{required("version", "integer")}},
		{name: in("sink"), columns: []relationColumn{
			{name: "id", typ: "smallint", notNull: true, generated: "GENERATED ALWAYS AS IDENTITY"},
			required("name", "text"), optional("partitions", "integer"),
		}, more: "PRIMARY KEY (id), UNIQUE (name)", unique: []string{"name"}},
		{name: in("watermark"), columns: []relationColumn{
			required("sink", "smallint"), required("partition", "smallint"), required("history", "bytea"),
			required("epoch", "bigint"), required("seq", "bigint"), required("clock", "bigint"),
			required("build", "bigint"), required("build_history", "bytea"), required("build_epoch", "bigint"),
			required("settled", "bigint"),
			// Written with every batch: room for the next version of the row.
		}, more: "PRIMARY KEY (sink, partition)", with: "fillfactor = 40", unique: []string{"sink", "partition"}},
		{name: in("space"), columns: []relationColumn{
			required("sink", "smallint"), required("partition", "smallint"), required("id", "integer"),
			required("name", "text"), required("relation", "text"), required("definition", "bytea"),
		}, more: "PRIMARY KEY (sink, partition, id)", unique: []string{"sink", "partition", "id"}},
		{name: in("dead_letter"), columns: []relationColumn{
			required("sink", "smallint"), required("partition", "smallint"), required("seq", "bigint"), required("parked", "boolean"),
			required("reason", "text"), required("space", "integer"), required("key", "bytea"), required("change", "bytea"),
			required("at", "timestamp with time zone"),
		}, more: "PRIMARY KEY (sink, partition, seq)", unique: []string{"sink", "partition", "seq"}},
		{name: in("stage"), columns: []relationColumn{
			required("sink", "smallint"), required("partition", "smallint"), required("build", "bigint"), required("space", "integer"),
			required("key", "bytea"), optional("key_text", "text"), required("entry", "bytea"),
		}, more: "PRIMARY KEY (sink, partition, build, space, key)", unique: []string{"sink", "partition", "build", "space", "key"}},
	}
	if journal {
		all = append(all, relation{name: in("journal"), columns: []relationColumn{
			{name: "id", typ: "bigint", notNull: true, generated: "GENERATED ALWAYS AS IDENTITY"},
			required("sink", "smallint"), required("partition", "smallint"), required("history", "bytea"), required("seq", "bigint"),
			required("op", "smallint"), required("space", "integer"), required("key", "bytea"), required("value", "bytea"),
		}})
	}
	return all
}

// relation returns the table of a layout as it has to be.
func (l *layout) relation() relation {
	r := relation{name: l.table}
	for _, c := range l.columns {
		r.columns = append(r.columns, relationColumn{name: c.name, typ: c.typ.name + c.modifier, notNull: c.notNull})
	}
	for _, k := range l.keys {
		r.unique = append(r.unique, l.columns[k].name)
	}
	if l.shared {
		r.columns = append(r.columns, required("sink", "smallint"))
		r.unique = append([]string{"sink"}, r.unique...)
	}
	quoted := make([]string, len(r.unique))
	for i, name := range r.unique {
		quoted[i] = quote(name)
	}
	r.more = "PRIMARY KEY (" + strings.Join(quoted, ", ") + ")"
	return r
}

// create returns the statement that creates the table.
func (r *relation) create() string {
	var parts []string
	for _, c := range r.columns {
		part := quote(c.name) + " " + c.typ
		if c.generated != "" {
			part += " " + c.generated
		}
		if c.notNull {
			part += " NOT NULL"
		}
		parts = append(parts, part)
	}
	if r.more != "" {
		parts = append(parts, r.more)
	}
	sql := "CREATE TABLE " + r.name.quoted() + " (" + strings.Join(parts, ", ") + ")"
	if r.with != "" {
		sql += " WITH (" + r.with + ")"
	}
	return sql
}

// found is a column as the server has it.
type found struct {
	name, typ string
	notNull   bool
	filled    bool // by the server, if nobody gives a value
}

// ensure checks that the table is there as it has to be. A missing one is created
// if create says so.
func (r *relation) ensure(ctx context.Context, tx pgx.Tx, create bool) error {
	columns, err := r.read(ctx, tx)
	if err != nil {
		return err
	}
	if len(columns) == 0 {
		if !create {
			return &SchemaError{Table: r.name.String(), Problem: "it is not there", Hint: "run: " + r.create()}
		}
		if r.name.schema != "" {
			if err := ensureSchema(ctx, tx, r.name.schema); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, r.create())
		return err
	}
	if err := r.compare(columns); err != nil {
		return err
	}
	return r.checkUnique(ctx, tx)
}

func ensureSchema(ctx context.Context, tx pgx.Tx, name string) error {
	var there bool
	err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", name).Scan(&there)
	if err != nil || there {
		return err
	}
	_, err = tx.Exec(ctx, "CREATE SCHEMA "+quote(name))
	return err
}

// read returns the columns of the table as it is, none if it is not there.
func (r *relation) read(ctx context.Context, tx pgx.Tx) ([]found, error) {
	rows, err := tx.Query(ctx, `
		SELECT attname, format_type(atttypid, atttypmod), attnotnull, atthasdef OR attidentity <> ''
		FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped`, r.name.quoted())
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (f found, err error) {
		err = row.Scan(&f.name, &f.typ, &f.notNull, &f.filled)
		return f, err
	})
}

// compare checks the columns of a table that is there.
func (r *relation) compare(columns []found) error {
	there := map[string]found{}
	for _, f := range columns {
		there[f.name] = f
	}
	for _, c := range r.columns {
		f, ok := there[c.name]
		if !ok {
			return &SchemaError{
				Table: r.name.String(), Problem: fmt.Sprintf("column %s is not there", c.name),
				Hint: fmt.Sprintf("run: ALTER TABLE %s ADD COLUMN %s %s", r.name.quoted(), quote(c.name), c.typ),
			}
		}
		if !sameType(c.typ, f.typ) {
			return &SchemaError{
				Table: r.name.String(), Problem: fmt.Sprintf("column %s is of type %s, not %s", c.name, f.typ, c.typ),
				Hint: fmt.Sprintf("map it as %s, or run: ALTER TABLE %s ALTER COLUMN %s TYPE %s", f.typ, r.name.quoted(), quote(c.name), c.typ),
			}
		}
		delete(there, c.name)
	}
	for name, f := range there {
		if f.notNull && !f.filled {
			return &SchemaError{
				Table: r.name.String(), Problem: fmt.Sprintf("column %s must not be NULL, has no default, and nothing is mapped to it", name),
				Hint: "map a field to it, give it a default or let it be NULL",
			}
		}
	}
	return nil
}

// sameType reports whether a column of type is serves where want is asked for: a
// type without a modifier takes any.
func sameType(want, is string) bool {
	base, _, _ := strings.Cut(is, "(")
	return want == is || want == base
}

// checkUnique checks that a unique index over the key is there, without which no
// row could be found again.
func (r *relation) checkUnique(ctx context.Context, tx pgx.Tx) error {
	if len(r.unique) == 0 {
		return nil
	}
	var there bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (
			SELECT FROM pg_index i
			WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid AND i.indimmediate
				AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indnkeyatts = cardinality($2::text[])
				AND $2::text[] @> (SELECT array_agg(a.attname::text) FROM pg_attribute a
					WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])))`,
		r.name.quoted(), r.unique).Scan(&there)
	if err != nil || there {
		return err
	}
	names := strings.Join(r.unique, ", ")
	return &SchemaError{
		Table: r.name.String(), Problem: "there is no unique index on exactly " + names,
		Hint: fmt.Sprintf("run: CREATE UNIQUE INDEX ON %s (%s)", r.name.quoted(), names),
	}
}
