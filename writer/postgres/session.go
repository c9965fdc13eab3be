package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/spacegrid/spacegrid/grid/space"
)

// session is one transaction of one call.
type session struct {
	*catalog
	ctx context.Context
	tx  pgx.Tx
	w   *Writer
	// histories of the partitions that are written, for the journal
	histories map[space.PartitionID]space.History
}

// transact runs fn in one transaction and returns once it is durable. An error of
// fn rolls it back.
func (w *Writer) transact(ctx context.Context, fn func(*session) error) error {
	c, err := w.catalog(ctx)
	if err != nil {
		return err
	}
	err = pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		return fn(&session{catalog: c, ctx: ctx, tx: tx, w: w, histories: map[space.PartitionID]space.History{}})
	})
	if err == nil {
		return nil
	}
	explained := explain(err)
	if _, ok := errors.AsType[*SchemaError](explained); ok {
		w.forget()
	}
	return explained
}

// exec runs a statement whose parameters are arrays in binary form and returns
// how many rows it touched.
func (s *session) exec(sql string, params ...[]byte) (int64, error) {
	prepared, err := s.tx.Conn().Prepare(s.ctx, sql, sql)
	if err != nil {
		return 0, err
	}
	formats := make([]int16, len(params))
	for i := range formats {
		formats[i] = pgx.BinaryFormatCode
	}
	tag, err := s.tx.Conn().PgConn().ExecPrepared(s.ctx, prepared.Name, params, formats, nil).Close()
	return tag.RowsAffected(), err
}

// within runs fn in a savepoint, which an error undoes.
func (s *session) within(fn func() error) error {
	return pgx.BeginFunc(s.ctx, s.tx, func(pgx.Tx) error { return fn() })
}

// spaceRow is a row of the table space.
type spaceRow struct {
	partition  space.PartitionID
	id         space.ID
	name       string
	relation   string
	definition []byte
}

// spaceRows reads the definitions of some partitions, ascending by partition and
// id.
func (s *session) spaceRows(partitions []int16) ([]spaceRow, error) {
	rows, err := s.tx.Query(s.ctx, s.sql.spaces, partitions)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (r spaceRow, err error) {
		var p int16
		var id int32
		err = row.Scan(&p, &id, &r.name, &r.relation, &r.definition)
		r.partition, r.id = space.PartitionID(p), space.ID(id)
		return r, err
	})
}
