package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/spacegrid/spacegrid/grid/space"
)

// ErrNotStored is returned for a partition that the sink holds nothing of.
var ErrNotStored = errors.New("postgres: the sink holds nothing of this partition")

// Position is what the sink holds of one partition.
type Position struct {
	Partition space.PartitionID
	space.Position
	Epoch space.Epoch
	Clock space.Time // partition clock at Seq
}

// Positions returns what the sink holds, ascending by partition.
func (w *Writer) Positions(ctx context.Context) (all []Position, err error) {
	err = w.view(ctx, func(s *session) error {
		rows, err := s.tx.Query(ctx, s.sql.positions)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, scanPosition)
		return err
	})
	return all, err
}

func scanPosition(row pgx.CollectableRow) (Position, error) {
	var p int16
	var epoch, seq, clock int64
	var history []byte
	err := row.Scan(&p, &history, &epoch, &seq, &clock)
	at := Position{Partition: space.PartitionID(p), Epoch: space.Epoch(epoch), Clock: space.Time(clock)}
	at.Seq = space.Seq(seq)
	copy(at.History[:], history)
	return at, err
}

// Definitions returns the spaces of a partition, ascending by id.
func (w *Writer) Definitions(ctx context.Context, p space.PartitionID) (defs []space.Definition, err error) {
	err = w.view(ctx, func(s *session) error {
		defs, err = s.definitions(p)
		return err
	})
	return defs, err
}

func (s *session) definitions(p space.PartitionID) ([]space.Definition, error) {
	rows, err := s.spaceRows([]int16{int16(p)})
	if err != nil {
		return nil, err
	}
	defs := make([]space.Definition, len(rows))
	for i := range rows {
		if defs[i], err = space.DecodeDefinition(rows[i].definition); err != nil {
			return nil, fmt.Errorf("postgres: definition of space %q: %w", rows[i].name, err)
		}
	}
	return defs, nil
}

// Load makes a partition of what the sink holds of it: the start of a new history
// that goes on above the stored Seq, and above both the stored epoch and the given
// one. The database is not changed. Everything is read at one moment, row by row.
//
// A space in a mapped table can be loaded only if its mapping is Whole. What waits
// as a dead letter is not in the partition.
func (w *Writer) Load(ctx context.Context, p space.PartitionID, history space.History, above space.Epoch) (made *space.Partition, err error) {
	err = w.view(ctx, func(s *session) error {
		rows, err := s.tx.Query(ctx, s.sql.position, int16(p))
		if err != nil {
			return err
		}
		at, err := pgx.CollectExactlyOneRow(rows, scanPosition)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return fmt.Errorf("%w: partition %d", ErrNotStored, p)
		case err != nil:
			return err
		case history.IsZero() || history == at.History:
			return fmt.Errorf("postgres: partition %d is loaded into a new history, not %s", p, history)
		}
		l := space.NewLoader(space.Loaded{ID: p, History: history, Origin: at.Position, Epoch: max(at.Epoch, above) + 1, Clock: at.Clock})
		defs, err := s.definitions(p)
		if err != nil {
			return err
		}
		for i := range defs {
			if err := l.Define(defs[i]); err != nil {
				return err
			}
			if err := s.loadSpace(p, &defs[i], l); err != nil {
				return err
			}
		}
		made = l.Partition()
		return nil
	})
	return made, err
}

// loadSpace adds the entries of a space to a loader.
func (s *session) loadSpace(p space.PartitionID, def *space.Definition, to *space.Loader) error {
	l := s.layout(def.Name)
	if !l.whole() {
		return &SchemaError{
			Table: l.table.String(), Problem: fmt.Sprintf("it does not keep the entries of space %q whole, so they cannot be loaded", def.Name),
			Hint: "set whole in its mapping and let the sink be resynced, or load from another store",
		}
	}
	args := []any{int16(p)}
	if l.shared {
		args = append(args, int32(def.ID))
	}
	rows, err := s.tx.Query(s.ctx, l.load(), args...)
	if err != nil {
		return err
	}
	key := l.keyColumn().typ
	var (
		e                       space.Entry
		stored                  []byte
		kind                    int16
		version, order, dueTime int64
		attempts                int32
	)
	_, err = pgx.ForEachRow(rows, []any{&stored, &kind, &version, &order, &dueTime, &attempts, &e.Value}, func() error {
		e.Key, e.Kind, e.Version, e.Order = stored, space.Kind(kind), space.Seq(version), uint64(order)
		e.Deadline, e.Attempts = space.Time(dueTime), int(attempts)
		if err := to.Add(def.ID, e); err != nil {
			return fmt.Errorf("postgres: load an entry of space %q from a table with a key of type %s: %w", def.Name, key.name, err)
		}
		return nil
	})
	return err
}

// load returns the statement that reads the entries of a space of a partition, the
// key as bytes.
func (l *layout) load() string {
	key := quote(l.keyColumn().name)
	if l.keyColumn().typ.name != "bytea" {
		key = "convert_to(" + key + "::text, 'UTF8')"
	}
	columns := []string{key}
	for _, from := range []source{fromKind, fromVersion, fromOrder, fromDeadline, fromAttempts, fromValue} {
		columns = append(columns, quote(l.columnOf(from).name))
	}
	sql := "SELECT " + strings.Join(columns, ", ") + " FROM " + l.table.quoted() + " WHERE " + quote(l.columnOf(fromPartition).name) + " = $1"
	if l.shared {
		sql += fmt.Sprintf(" AND sink = %d AND space = $2", l.sink)
	}
	return sql
}

// view runs fn in a transaction that sees one moment and changes nothing.
func (w *Writer) view(ctx context.Context, fn func(*session) error) error {
	c, err := w.catalog(ctx)
	if err != nil {
		return err
	}
	return explain(pgx.BeginTxFunc(ctx, w.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		return fn(&session{catalog: c, ctx: ctx, tx: tx, w: w})
	}))
}
