package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/spacegrid/spacegrid/writer/postgres/pgtest"
)

// scriptServer is where a script keeps its server; the type is its key among the
// values of the script.
type scriptServer struct{ *pgtest.Server }

// scriptPostgres runs a real PostgreSQL for a script.
func scriptPostgres(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: postgres start NAME | stop | restart | query SQL")
	}
	at := ts.Value(scriptServer{}).(*scriptServer)
	if args[0] == "start" && len(args) == 2 {
		s, err := pgtest.Start()
		ts.Check(err)
		ts.Defer(func() { ts.Check(s.Close()) })
		at.Server = s
		ts.Setenv(args[1], s.DSN("postgres"))
		return
	}
	if at.Server == nil {
		ts.Fatalf("there is no server: postgres start NAME")
	}
	switch args[0] {
	case "stop":
		ts.Check(at.Stop())
	case "restart":
		ts.Check(at.Restart())
	case "query":
		rows, err := queryColumn(at.DSN("postgres"), args[1])
		ts.Check(err)
		for _, row := range rows {
			fmt.Fprintln(ts.Stdout(), row)
		}
	default:
		ts.Fatalf("a server cannot %s", args[0])
	}
}

// queryColumn returns the first column of what a statement returns.
func queryColumn(dsn, sql string) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), scriptPatience)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var v any
		err := row.Scan(&v)
		return fmt.Sprint(v), err
	})
}
