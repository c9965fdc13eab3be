package postgres

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// ErrClosed is returned by calls on a closed Writer.
var ErrClosed = errors.New("postgres: closed")

// SchemaError is returned when a table is not as the writer needs it. It lasts
// until somebody changes the database or the configuration; every call tries anew.
type SchemaError struct {
	Table   string
	Problem string
	Hint    string // what to do
	Err     error  // what the database said; nil if the writer noticed by itself
}

// Error says what is wrong and what to do.
func (e *SchemaError) Error() string {
	return fmt.Sprintf("postgres: table %s: %s (%s)", e.Table, e.Problem, e.Hint)
}

// Unwrap gives access to what the database said.
func (e *SchemaError) Unwrap() error { return e.Err }

// fault is one value that a column cannot hold, found before the database was
// asked.
type fault struct {
	column string
	reason string
}

// Error names the column.
func (f *fault) Error() string { return fmt.Sprintf("column %s: %s", f.column, f.reason) }

// forGood reports whether the database refuses a row whatever is tried: its
// constraints, its types, its triggers or its limits on one row say so.
func forGood(err error) bool {
	if _, ok := errors.AsType[*fault](err); ok {
		return true
	}
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || len(pg.Code) != 5 {
		return false
	}
	switch {
	case pg.Code[:2] == "22", pg.Code[:2] == "23", pg.Code[:2] == "44", pg.Code == "P0001", pg.Code[:2] == "54":
		return pg.Code != "54001" // the server's stack: the statement, not the row
	}
	return false
}

// explain gives errors of the database that an operator has to settle their
// words, and leaves the others as they are.
func explain(err error) error {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || len(pg.Code) != 5 {
		return err
	}
	switch {
	case pg.Code == "42501":
		return &SchemaError{Table: tableOf(pg), Problem: pg.Message, Hint: "grant the writer's role what it needs", Err: err}
	case pg.Code[:2] == "42", pg.Code[:2] == "3F", pg.Code == "0A000":
		return &SchemaError{Table: tableOf(pg), Problem: pg.Message, Hint: "put the table back as the writer's configuration says, or change that", Err: err}
	case pg.Code == "25006":
		return fmt.Errorf("postgres: the database is read-only (let the connection string lead to the primary, target_session_attrs=read-write): %w", err)
	case pg.Code[:2] == "53":
		return fmt.Errorf("postgres: the server has run out of something (disk, memory or connections): %w", err)
	}
	return err
}

func tableOf(pg *pgconn.PgError) string {
	if pg.TableName == "" {
		return "of the writer"
	}
	if pg.SchemaName == "" {
		return pg.TableName
	}
	return pg.SchemaName + "." + pg.TableName
}
