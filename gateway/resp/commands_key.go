package resp

import (
	"bytes"
	"errors"
	"math/rand/v2"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
)

// Commands on keys, whatever is under them.

func keyActions() map[string]action {
	return map[string]action{
		"copy":            {alone: copyKey},
		"del":             {stage: stageDel},
		"exists":          {stage: stageExists},
		"flushall":        {alone: flushAll},
		"flushdb":         {alone: flushDB},
		"memory|usage":    {stage: stageMemoryUsage},
		"object|encoding": {stage: stageObject},
		"object|freq":     {stage: stageObject},
		"object|idletime": {stage: stageObject},
		"object|refcount": {stage: stageObject},
		"randomkey":       {alone: randomKey},
		"rename":          {alone: func(d *dialog, c Command) { d.rename(c, false) }},
		"renamenx":        {alone: func(d *dialog, c Command) { d.rename(c, true) }},
		"touch":           {stage: stageExists},
		"type":            {stage: stageType},
		"unlink":          {stage: stageDel},
	}
}

func stageDel(d *dialog, c Command) {
	at := -1
	for _, key := range c.Args[1:] {
		if place := d.do(space.Op{Code: space.OpTake, Key: key}); at < 0 {
			at = place
		}
	}
	d.then(c, at, len(c.Args)-1, func(d *dialog, p *pending) {
		count := int64(0)
		for i := range p.n {
			switch _, err := d.result(p.at + i); {
			case err == nil:
				count++
			case !errors.Is(err, space.ErrNotFound):
				d.fail(err)
				return
			}
		}
		d.out.Int(count)
	})
}

func stageExists(d *dialog, c Command) {
	at := -1
	for _, key := range c.Args[1:] {
		if place := d.get(key); at < 0 {
			at = place
		}
	}
	d.then(c, at, len(c.Args)-1, func(d *dialog, p *pending) {
		count := int64(0)
		for i := range p.n {
			_, ok, err := d.entry(p.at + i)
			if err != nil {
				d.fail(err)
				return
			}
			if ok {
				count++
			}
		}
		d.out.Int(count)
	})
}

// typeOf returns the word of TYPE.
func typeOf(e *space.Entry) string {
	if e.Kind == space.KindFields {
		return "hash"
	}
	return "string"
}

func stageType(d *dialog, c Command) {
	d.then(c, d.get(c.Args[1]), 1, func(d *dialog, p *pending) {
		switch e, ok, err := d.entry(p.at); {
		case err != nil:
			d.fail(err)
		case ok:
			d.out.Status(typeOf(&e))
		default:
			d.out.Status("none")
		}
	})
}

// stageObject answers with fixed words: a string is always raw bytes, a hash
// always one packed map, and nobody counts how often they are used.
func stageObject(d *dialog, c Command) {
	if isWord(c.Args[1], "FREQ") {
		d.refuse("ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.")
		return
	}
	d.then(c, d.get(c.Args[2]), 1, func(d *dialog, p *pending) {
		e, ok, err := d.entry(p.at)
		switch {
		case err != nil:
			d.fail(err)
		case !ok:
			d.out.Null()
		case isWord(p.c.Args[1], "IDLETIME"):
			d.out.Int(0)
		case isWord(p.c.Args[1], "REFCOUNT"):
			d.out.Int(1)
		case e.Kind == space.KindFields:
			d.out.BulkString("listpack")
		default:
			d.out.BulkString("raw")
		}
	})
}

// entryOverhead is what an entry takes beside its key and value, in bytes: record
// header, index and the share of the table's free room.
const entryOverhead = 48

func stageMemoryUsage(d *dialog, c Command) {
	if n := len(c.Args); n != 3 && !(n == 5 && isWord(c.Args[3], "SAMPLES")) {
		d.refuse(textSyntax)
		return
	}
	d.then(c, d.get(c.Args[2]), 1, func(d *dialog, p *pending) {
		switch e, ok, err := d.entry(p.at); {
		case err != nil:
			d.fail(err)
		case ok:
			d.out.Int(int64(len(e.Key) + len(e.Value) + entryOverhead))
		default:
			d.out.Null()
		}
	})
}

// rename needs both keys in one slot, so that nobody sees neither or both.
func (d *dialog) rename(c Command, onlyNew bool) {
	from, to := c.Args[1], c.Args[2]
	if space.Slot(from) != space.Slot(to) {
		d.error(textCrossSlot)
		return
	}
	for range stepTries {
		e, ok, err := d.lookup(from)
		if err == nil {
			err = checkKey(to)
		}
		switch {
		case err != nil:
			d.fail(err)
			return
		case !ok:
			d.error("ERR no such key")
			return
		case bytes.Equal(from, to):
			d.renamed(onlyNew, false)
			return
		}
		write, err := d.rewritten(&e, to)
		if err != nil {
			d.fail(err)
			return
		}
		if onlyNew {
			write.Mode = space.ModeInsert
		}
		b := d.commands.grid.NewAtomicBatch()
		take := b.Do(space.Op{Code: space.OpTake, Space: write.Space, Key: from, Match: e.Version})
		at := b.Do(write)
		if err := d.commands.grid.Run(d.ctx, b); err != nil {
			d.fail(err)
			return
		}
		taken, _ := b.Result(take)
		switch r, err := b.Result(at); {
		case err == nil:
			d.renamed(onlyNew, true)
			return
		case r.Code == space.CodeExists:
			d.renamed(onlyNew, false)
			return
		case taken.Code != space.CodeConflict && taken.Code != space.CodeNotFound:
			d.fail(err)
			return
		}
	}
	d.error(textTryAgain)
}

func (d *dialog) renamed(onlyNew, done bool) {
	switch {
	case !onlyNew:
		d.out.OK()
	case done:
		d.out.Int(1)
	default:
		d.out.Int(0)
	}
}

// rewritten returns the operation that writes what an entry holds, with what is
// left of its lease, under another key of the selected database.
func (d *dialog) rewritten(e *space.Entry, key []byte) (space.Op, error) {
	op := space.Op{Code: space.OpWrite, Key: key, Value: e.Value, Kind: e.Kind, Lease: space.Forever}
	if e.Deadline != space.Never {
		left, err := d.left(e)
		if err != nil {
			return op, err
		}
		op.Lease = max(left, 1)
	}
	id, err := d.makeSpace(op)
	op.Space = id
	return op, err
}

// copyKey copies between any two keys. The copy is what was there at one moment,
// and is written at a later one.
func copyKey(d *dialog, c Command) {
	db, replace := d.session.DB(), false
	for i := 3; i < len(c.Args); i++ {
		switch {
		case isWord(c.Args[i], "REPLACE"):
			replace = true
		case isWord(c.Args[i], "DB") && i+1 < len(c.Args):
			n, ok := integer(c.Args[i+1])
			if !ok {
				d.error(textNotInteger)
				return
			}
			if n < 0 || n >= Databases {
				d.error("ERR DB index is out of range")
				return
			}
			db = int(n)
			i++
		default:
			d.error(textSyntax)
			return
		}
	}
	if db == d.session.DB() && bytes.Equal(c.Args[1], c.Args[2]) {
		d.error("ERR source and destination objects are the same")
		return
	}
	e, ok, err := d.lookup(c.Args[1])
	switch {
	case err != nil:
		d.fail(err)
		return
	case !ok:
		d.out.Int(0)
		return
	}
	home := d.session.DB()
	d.session.Select(db)
	defer d.session.Select(home)
	op, err := d.rewritten(&e, c.Args[2])
	if err == nil {
		if !replace {
			op.Mode = space.ModeInsert
		}
		_, err = d.one(op)
	}
	switch {
	case err == nil:
		d.out.Int(1)
	case errors.Is(err, space.ErrExists):
		d.out.Int(0)
	default:
		d.fail(err)
	}
}

// randomPage is how many of a partition's oldest entries RANDOMKEY chooses from.
const randomPage = 64

// randomKey begins at a partition chosen by chance and chooses among the oldest
// entries of the first that has any: every key of a small database has a chance,
// though not the same one.
func randomKey(d *dialog, _ Command) {
	id, err := d.spaceOf(d.session.DB())
	if err != nil {
		d.absent(err, d.out.Null)
		return
	}
	start := grid.Bookmark{Partition: space.PartitionID(rand.IntN(d.commands.grid.Partitions()))}
	for _, from := range []grid.Bookmark{start, {}} {
		for done := false; !done; {
			var entries []grid.Entry
			var err error
			entries, from, done, err = d.commands.grid.Page(d.ctx, id, from, randomPage)
			if err != nil {
				d.fail(err)
				return
			}
			if len(entries) > 0 {
				d.out.Bulk(entries[rand.IntN(len(entries))].Key)
				return
			}
		}
	}
	d.out.Null()
}

func flushDB(d *dialog, c Command) {
	if !flushMode(d, c) {
		return
	}
	if err := d.clearDatabase(d.session.DB()); err != nil {
		d.fail(err)
		return
	}
	d.out.OK()
}

func flushAll(d *dialog, c Command) {
	if !flushMode(d, c) {
		return
	}
	for db := range Databases {
		if err := d.clearDatabase(db); err != nil {
			d.fail(err)
			return
		}
	}
	d.out.OK()
}

// flushMode accepts ASYNC and SYNC, which are the same here: the reply comes
// when the entries are gone.
func flushMode(d *dialog, c Command) bool {
	if len(c.Args) == 1 || len(c.Args) == 2 && (isWord(c.Args[1], "ASYNC") || isWord(c.Args[1], "SYNC")) {
		return true
	}
	d.error(textSyntax)
	return false
}

// clearPage is how many entries of a partition one command removes.
const clearPage = 512

// clearDatabase removes the entries of a database, partition by partition. It is
// not one moment: what is written meanwhile may stay.
func (d *dialog) clearDatabase(db int) error {
	id, err := d.spaceOf(db)
	switch {
	case errors.Is(err, space.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	left := make([]space.PartitionID, d.commands.grid.Partitions())
	for p := range left {
		left[p] = space.PartitionID(p)
	}
	b := d.commands.grid.NewBatch()
	for len(left) > 0 {
		b.Reset()
		for _, p := range left {
			b.DoIn(p, space.Op{Code: space.OpClear, Space: id, Limit: clearPage})
		}
		if err := d.commands.grid.Run(d.ctx, b); err != nil {
			return err
		}
		var again []space.PartitionID
		for at, p := range left {
			r, err := b.Result(at)
			if err != nil {
				return err
			}
			if r.Count > 0 {
				again = append(again, p)
			}
		}
		left = again
	}
	return nil
}
