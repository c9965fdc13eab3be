package grid

import (
	"sync"

	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
)

// Query returns the entries of a space that match a template, as the transaction
// leaves them: stored ones by partition and there by first write, then those
// that only the transaction has written. The commit checks that they have not
// changed and that no others match.
//
// It searches all partitions, each of which then takes part in the transaction. A
// template that fixes the space's routing field searches the one partition that
// has such entries. More matches than a transaction may touch are ErrTooLarge.
func (tx *Tx) Query(spaceName string, t Template) ([]Entry, error) {
	def, err := tx.g.Describe(tx.ctx, spaceName)
	if err != nil {
		return nil, err
	}
	tmpl, err := t.encode()
	if err != nil {
		return nil, err
	}
	stored, err := tx.search(&def, t, tmpl)
	if err != nil {
		return nil, err
	}
	var found []Entry
	matched := map[txnKey]bool{}
	for i := range stored {
		e := &stored[i]
		k := txnKey{def.ID, string(e.Key)}
		matched[k] = true
		x, err := tx.note(k, e)
		if err != nil {
			return nil, err
		}
		if x.present && space.Matches(tmpl, x.entry.Kind, x.entry.Value) {
			found = append(found, x.entry)
		}
	}
	for _, x := range tx.order {
		if x.key.space == def.ID && !matched[x.key] && x.present && space.Matches(tmpl, x.entry.Kind, x.entry.Value) {
			if !x.written {
				// It was read as a match and is none any more.
				return nil, tx.overtaken()
			}
			found = append(found, x.entry)
		}
	}
	return found, nil
}

// note takes over that an entry was found stored.
func (tx *Tx) note(k txnKey, e *space.Entry) (*txEntry, error) {
	x, err := tx.entry(k)
	switch {
	case err != nil:
		return nil, err
	case x.looked && x.version != e.Version:
		return nil, tx.overtaken()
	case x.looked:
		return x, nil
	}
	x.looked, x.version = true, e.Version
	if !x.written {
		x.entry, x.present = entryOf(*e), true
	}
	return x, nil
}

// overtaken gives the run up: what it has read does not hold any more.
func (tx *Tx) overtaken() error {
	tx.conflict = ErrConflict
	return ErrConflict
}

// search looks for stored matches in the partitions that can have some, and notes
// what the commit has to check.
func (tx *Tx) search(def *space.Definition, t Template, tmpl []byte) ([]space.Entry, error) {
	groups := tx.g.router.Groups()
	if p, ok := tx.routed(def, t); ok {
		groups = [][]space.PartitionID{{p}}
	}
	type part struct {
		entries []space.Entry
		queries []txQuery
		err     error
	}
	parts := make([]part, len(groups))
	var wg sync.WaitGroup
	for i, partitions := range groups {
		if len(partitions) > 0 {
			wg.Go(func() {
				x := &parts[i]
				x.entries, x.queries, x.err = tx.searchGroup(def.ID, tmpl, partitions)
			})
		}
	}
	wg.Wait()
	var entries []space.Entry
	for i := range parts {
		if parts[i].err != nil {
			return nil, parts[i].err
		}
		entries = append(entries, parts[i].entries...)
		tx.queries = append(tx.queries, parts[i].queries...)
		tx.bytes += len(parts[i].queries) * len(tmpl)
	}
	return entries, tx.within()
}

// routed returns the only partition that can have matches of a template, if there
// is one.
func (tx *Tx) routed(def *space.Definition, t Template) (space.PartitionID, bool) {
	v, ok := t[def.Routing]
	if def.Routing == "" || !ok {
		return 0, false
	}
	tag, err := Key(v)
	if err != nil {
		return 0, false
	}
	key := append(append([]byte{'{'}, tag...), '}')
	return space.PartitionOf(key, tx.g.Partitions()), true
}

// searchGroup searches partitions of one group, page by page. The commit checks
// from the first page of each partition on.
func (tx *Tx) searchGroup(id space.ID, tmpl []byte, partitions []space.PartitionID) (entries []space.Entry, queries []txQuery, err error) {
	q := cluster.Match{Space: id, Template: tmpl, Partitions: partitions, Limit: queryPage}
	for len(q.Partitions) > 0 {
		m, err := tx.g.router.Match(tx.ctx, cluster.Linearizable, q)
		if err == nil {
			err = m.Code.Err()
		}
		if err != nil {
			return nil, nil, err
		}
		for i, seq := range m.Seqs {
			p := q.Partitions[i]
			if n := len(queries); n == 0 || queries[n-1].partition != p {
				queries = append(queries, txQuery{p, id, tmpl, seq})
			}
		}
		if entries = append(entries, m.Entries...); len(entries) > MaxTransactionKeys {
			return entries, queries, nil // more than the transaction takes
		}
		q.Partitions, q.From = q.Partitions[m.Done:], m.Next
	}
	return entries, queries, nil
}
