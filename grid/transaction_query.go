package grid

import (
	"sync"

	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
)

// Query returns the entries of a space that pass a filter, as the transaction
// leaves them: stored ones by partition and there by first write, then those
// that only the transaction has written. The commit checks that they have not
// changed and that no others pass.
//
// It searches all partitions, each of which then takes part in the transaction. A
// template that fixes the space's routing field searches the one partition that
// has such entries. More entries than a transaction may touch are ErrTooLarge.
func (tx *Tx) Query(spaceName string, f Filter) ([]Entry, error) {
	def, err := tx.g.Describe(tx.ctx, spaceName)
	if err != nil {
		return nil, err
	}
	return tx.query(&def, f)
}

// query is Query once the space is known.
func (tx *Tx) query(def *space.Definition, f Filter) ([]Entry, error) {
	tmpl, condition, err := filterFor(def, f)
	if err != nil {
		return nil, err
	}
	passes := func(x *txEntry) bool {
		return x.present && space.MatchesBoth(tmpl, condition, x.entry.Kind, x.entry.Value)
	}
	stored, err := tx.search(def, tmpl, condition)
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
		if passes(x) {
			found = append(found, x.entry)
		}
	}
	for _, x := range tx.order {
		if x.key.space == def.ID && !matched[x.key] && passes(x) {
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
func (tx *Tx) search(def *space.Definition, tmpl, condition []byte) ([]space.Entry, error) {
	groups := tx.g.router.Groups()
	if p, ok := tx.g.routed(def, tmpl, condition); ok {
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
				x.entries, x.queries, x.err = tx.searchGroup(txQuery{space: def.ID, template: tmpl, condition: condition}, partitions)
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
		tx.bytes += len(parts[i].queries) * (len(tmpl) + len(condition))
	}
	return entries, tx.within()
}

// searchGroup searches partitions of one group, page by page. The commit checks
// from the first page of each partition on.
func (tx *Tx) searchGroup(what txQuery, partitions []space.PartitionID) (entries []space.Entry, queries []txQuery, err error) {
	q := cluster.Match{
		Space: what.space, Template: what.template, Predicate: what.condition, Partitions: partitions, Limit: queryPage,
	}
	for len(q.Partitions) > 0 {
		m, err := tx.g.router.Match(tx.ctx, cluster.Linearizable, q)
		if err == nil {
			err = m.Code.Err()
		}
		if err != nil {
			return nil, nil, err
		}
		for i, seq := range m.Seqs {
			what.partition, what.seq = q.Partitions[i], seq
			if n := len(queries); n == 0 || queries[n-1].partition != what.partition {
				queries = append(queries, what)
			}
		}
		if entries = append(entries, m.Entries...); len(entries) > MaxTransactionKeys {
			return entries, queries, nil // more than the transaction takes
		}
		q.Partitions, q.From = q.Partitions[m.Done:], m.Next
	}
	return entries, queries, nil
}
