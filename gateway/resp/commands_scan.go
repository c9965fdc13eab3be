package resp

import (
	"errors"
	"strconv"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
)

// SCAN, KEYS and DBSIZE: commands that go through a database.
//
// A cursor of SCAN is a place in the order in which entries are kept: the
// partition and, within it, the order number of the next entry, which each entry
// has from its first write to its removal. So a cursor needs nothing kept for it,
// may be continued on any member and after a change of leaders, and:
//
//   - a key that is there from the beginning of a scan to its end is returned
//     exactly once;
//   - a key that is removed and written again meanwhile may be returned twice;
//   - a key that appears or goes meanwhile may or may not be returned.
//
// Pages are read from the leaders, so a scan sees every write answered before it
// began.

const (
	cursorOrderBits = 52
	// scanCount is COUNT if none is given, and scanMost the most of it that is
	// heeded: a page carries whole entries from the partitions.
	scanCount = 10
	scanMost  = 10_000
	// wholePage is the page of commands that go through all of a database.
	wholePage = 1000
)

func scanActions() map[string]action {
	return map[string]action{
		"dbsize": {alone: dbSize},
		"keys":   {alone: keys},
		"scan":   {alone: scan},
	}
}

// cursorOf returns the number of a place; 0 is both the beginning and the end.
func cursorOf(b grid.Bookmark) uint64 {
	if b.Order >= 1<<cursorOrderBits {
		panic("resp: an order number does not fit into a cursor")
	}
	return uint64(b.Partition)<<cursorOrderBits | b.Order
}

func bookmarkOf(cursor uint64) grid.Bookmark {
	return grid.Bookmark{Partition: space.PartitionID(cursor >> cursorOrderBits), Order: cursor & (1<<cursorOrderBits - 1)}
}

// scanOptions are the arguments of SCAN and HSCAN.
type scanOptions struct {
	cursor uint64
	glob   *Glob // nil: everything
	count  int
	kind   string // of TYPE; empty: every type
}

func (o *scanOptions) matches(name []byte) bool { return o.glob == nil || o.glob.Match(name) }

// parseScan reads a cursor and options; TYPE is for keys only.
func parseScan(args [][]byte, ofKeys bool) (o scanOptions, refusal string) {
	cursor, err := strconv.ParseUint(string(args[0]), 10, 64)
	if err != nil {
		return o, "ERR invalid cursor"
	}
	o.cursor, o.count = cursor, scanCount
	for i := 1; i < len(args); i += 2 {
		if i+1 == len(args) {
			return o, textSyntax
		}
		switch {
		case isWord(args[i], "COUNT"):
			n, ok := integer(args[i+1])
			if !ok {
				return o, textNotInteger
			}
			if n < 1 {
				return o, textSyntax
			}
			o.count = int(min(n, scanMost))
		case isWord(args[i], "MATCH"):
			o.glob = CompileGlob(args[i+1])
		case ofKeys && isWord(args[i], "TYPE"):
			o.kind = string(args[i+1])
		default:
			return o, textSyntax
		}
	}
	return o, ""
}

// takes reports whether a scan wants an entry.
func (o *scanOptions) takes(e *grid.Entry) bool {
	x := space.Entry{Value: e.Value, Kind: e.Kind}
	if isEmptyHash(&x) || !o.matches(e.Key) {
		return false
	}
	return o.kind == "" || isWord([]byte(o.kind), map[bool]string{false: "STRING", true: "HASH"}[e.Kind == space.KindFields])
}

func scan(d *dialog, c Command) {
	o, refusal := parseScan(c.Args[1:], true)
	if refusal != "" {
		d.error(refusal)
		return
	}
	var page []grid.Entry
	next := uint64(0)
	id, err := d.spaceOf(d.session.DB())
	switch {
	case err == nil:
		entries, mark, done, err := d.commands.grid.Page(d.ctx, id, bookmarkOf(o.cursor), o.count)
		if err != nil {
			d.fail(err)
			return
		}
		page = entries
		if !done {
			next = cursorOf(mark)
		}
	case !errors.Is(err, space.ErrNotFound):
		d.fail(err)
		return
	}
	kept := page[:0]
	for i := range page {
		if o.takes(&page[i]) {
			kept = append(kept, page[i])
		}
	}
	d.out.Array(2)
	d.out.BulkString(strconv.FormatUint(next, 10))
	d.out.Array(len(kept))
	for _, e := range kept {
		d.out.Bulk(e.Key)
	}
}

func keys(d *dialog, c Command) {
	o := scanOptions{glob: CompileGlob(c.Args[1])}
	var found [][]byte
	err := d.each(d.session.DB(), func(e *grid.Entry) {
		if o.takes(e) {
			found = append(found, e.Key)
		}
	})
	if err != nil {
		d.fail(err)
		return
	}
	d.out.Array(len(found))
	for _, key := range found {
		d.out.Bulk(key)
	}
}

func dbSize(d *dialog, _ Command) {
	n, err := d.size(d.session.DB())
	if err != nil {
		d.fail(err)
		return
	}
	d.out.Int(n)
}

// size returns the number of keys of a database, without going through them. A
// hash that has lost its last field counts until it is removed, a moment later.
func (d *dialog) size(db int) (int64, error) {
	id, err := d.spaceOf(db)
	switch {
	case errors.Is(err, space.ErrNotFound):
		return 0, nil
	case err != nil:
		return 0, err
	}
	return d.commands.grid.CountAll(d.ctx, id)
}

// each calls visit for the entries of a database.
func (d *dialog) each(db int, visit func(*grid.Entry)) error {
	id, err := d.spaceOf(db)
	switch {
	case errors.Is(err, space.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	from := grid.Bookmark{}
	for done := false; !done; {
		var entries []grid.Entry
		var err error
		if entries, from, done, err = d.commands.grid.Page(d.ctx, id, from, wholePage); err != nil {
			return err
		}
		for i := range entries {
			visit(&entries[i])
		}
	}
	return nil
}
