package resp

import (
	"bytes"
	"errors"
	"slices"

	"github.com/spacegrid/spacegrid/grid/space"
)

// MULTI, EXEC, WATCH.
//
// A transaction becomes one command of one partition, so all its keys, and the
// watched ones, have to be in one slot. Others see all of it or nothing of it.
// As in Redis, a command that fails within it does not undo the others.
//
// Without watched keys its operations are sent as a command that lets them fail
// one by one. With watched keys they are sent behind checks of the versions, in a
// command that a failure aborts as a whole. If a check fails the reply is null.
// If another operation fails, the transaction is evaluated: the versions of all
// its keys are read and checked too, so that what fails is certain to fail, and
// the operations that fail are left out one after the other until the command
// goes through. So the replies are those of one moment, in which the watched
// keys were unchanged.

const (
	// execTries bounds how often a transaction with watched keys is sent.
	execTries = 256
	// watchMost bounds the keys that a session watches.
	watchMost = 1024
)

func transactionActions() map[string]action {
	return map[string]action{
		"discard": {local: discard, direct: true},
		"exec":    {local: execute, direct: true},
		"multi":   {local: multi, direct: true},
		"unwatch": {local: func(d *dialog, _ Command) { d.watched = nil; d.out.OK() }},
		"watch":   {local: watch, direct: true},
	}
}

// watched is a key and the version it had when it was watched, 0 if absent. It
// owns its bytes.
type watched struct {
	db      int
	key     []byte
	version space.Seq
}

// transaction is what is known of an EXEC under way.
type transaction struct {
	count int           // operations staged so far
	skip  map[int]error // operations that are certain to fail, and how
	index map[int]int   // place in the batch → operation
}

// do adds an operation, unless it is known to fail.
func (t *transaction) do(d *dialog, op space.Op) int {
	n := t.count
	t.count++
	if err, known := t.skip[n]; known {
		return d.batch.Refuse(err)
	}
	at := d.batch.Do(op)
	t.index[at] = n
	return at
}

// queue keeps a command until EXEC.
func (d *dialog) queue(c Command, spec *Spec, stepwise bool) {
	switch {
	case stepwise:
		d.session.Queue.Failed = true
		d.error("ERR '" + spec.Name + "' in this form takes several steps and cannot be part of MULTI")
	case !d.session.Queue.Add(c):
		d.error("ERR the transaction is too large")
	default:
		d.out.Status("QUEUED")
	}
}

func multi(d *dialog, _ Command) {
	if d.session.Queue != nil {
		d.error("ERR MULTI calls can not be nested")
		return
	}
	d.session.Multi()
	d.out.OK()
}

func discard(d *dialog, _ Command) {
	if d.session.Queue == nil {
		d.error("ERR DISCARD without MULTI")
		return
	}
	d.session.Queue, d.watched = nil, nil
	d.out.OK()
}

func watch(d *dialog, c Command) {
	if d.session.Queue != nil {
		d.error("ERR WATCH inside MULTI is not allowed")
		return
	}
	if len(d.watched)+len(c.Args)-1 > watchMost {
		d.error("ERR too many watched keys")
		return
	}
	db := d.session.DB()
	_, err := d.spaceOf(db)
	if errors.Is(err, space.ErrNotFound) {
		_, err = d.createSpace(db)
	}
	if err != nil {
		d.fail(err)
		return
	}
	for _, key := range c.Args[1:] {
		if slices.ContainsFunc(d.watched, func(w watched) bool { return w.db == db && bytes.Equal(w.key, key) }) {
			continue
		}
		e, ok, err := d.lookup(key)
		if err != nil {
			d.fail(err)
			return
		}
		w := watched{db: db, key: slices.Clone(key)}
		if ok {
			w.version = e.Version
		}
		d.watched = append(d.watched, w)
	}
	d.out.OK()
}

func execute(d *dialog, _ Command) {
	queue := d.session.Queue
	if queue == nil {
		d.error("ERR EXEC without MULTI")
		return
	}
	watches := d.watched
	d.session.Queue, d.watched = nil, nil
	if queue.Failed {
		d.error("EXECABORT Transaction discarded because of previous errors.")
		return
	}
	if !d.oneSlot(queue.Commands(), watches) {
		d.error(textCrossSlot)
		return
	}
	db := d.session.DB()
	d.exec = &transaction{}
	done := d.transact(queue.Commands(), watches)
	d.exec = nil
	if !done {
		d.session.Select(db)
		clear(d.pending)
		d.pending = d.pending[:0]
	}
	d.batch = nil
	d.tidy()
}

// oneSlot reports whether all keys of a transaction are in one slot.
func (d *dialog) oneSlot(commands []Command, watches []watched) bool {
	d.keys = d.keys[:0]
	for _, c := range commands {
		spec, _ := d.commands.table.Resolve(c)
		d.keys = spec.AppendKeys(d.keys, c)
	}
	for _, w := range watches {
		d.keys = append(d.keys, w.key)
	}
	for _, key := range d.keys {
		if space.Slot(key) != space.Slot(d.keys[0]) {
			return false
		}
	}
	return true
}

// transact carries a transaction out and replies. It reports false, having
// replied, if nothing took effect.
func (d *dialog) transact(commands []Command, watches []watched) bool {
	db := d.session.DB()
	var guards []watched
	for range execTries {
		d.session.Select(db)
		d.stageTransaction(commands, watches, guards)
		if len(watches) == 0 {
			return d.conclude(d.commands.grid.RunJoint(d.ctx, d.batch), len(commands))
		}
		err := d.commands.grid.Run(d.ctx, d.batch)
		failed := -1
		if err == nil {
			failed, err = d.failedAt()
		}
		switch {
		case err != nil || failed < 0:
			return d.conclude(err, len(commands))
		case failed < len(watches):
			d.out.NullArray()
			return false
		case failed < len(watches)+len(guards) || guards == nil:
			// What the transaction looks at has changed, or is not known yet.
			if guards, err = d.versions(commands, db); err != nil {
				return d.conclude(err, len(commands))
			}
			d.exec.skip = nil
		default:
			if d.exec.skip == nil {
				d.exec.skip = map[int]error{}
			}
			_, d.exec.skip[d.exec.index[failed]] = d.batch.Result(failed)
		}
	}
	d.error(textTryAgain)
	return false
}

// stageTransaction fills the batch: checks of watched keys, checks of guards,
// then the queued commands.
func (d *dialog) stageTransaction(commands []Command, watches, guards []watched) {
	clear(d.pending)
	d.pending = d.pending[:0]
	d.batch = d.commands.grid.NewAtomicBatch()
	d.exec.count, d.exec.index = 0, map[int]int{}
	for _, checks := range [][]watched{watches, guards} {
		for _, w := range checks {
			// Without the space, which is the number 0, the check fails.
			id, _ := d.spaceOf(w.db)
			d.batch.Do(space.Op{Code: space.OpCheck, Space: id, Key: w.key, Match: w.version})
		}
	}
	for _, c := range commands {
		spec, _ := d.commands.table.Resolve(c)
		if a := d.commands.actions[spec]; a.stage != nil {
			a.stage(d, c)
		} else {
			d.queueLocal(a, c)
		}
	}
}

// queueLocal has a local command reply in its place. SELECT takes effect on the
// commands behind it at once.
func (d *dialog) queueLocal(a action, c Command) {
	if isWord(c.Args[0], "SELECT") {
		if db, ok := parseDB(c.Args[1]); ok {
			d.session.Select(db)
		}
	}
	d.then(c, 0, 0, func(d *dialog, p *pending) { a.local(d, p.c) })
}

// failedAt returns the place of the operation that aborted the batch, -1 if none
// did. An error is about the batch as a whole.
func (d *dialog) failedAt() (int, error) {
	for at := range d.batch.Len() {
		r, err := d.batch.Result(at)
		var refused *space.Error
		switch {
		case err == nil || r.Code == space.CodeAborted:
		case r.Code != space.OK:
			return at, nil
		case errors.As(err, &refused): // left out
		default:
			return -1, err
		}
	}
	return -1, nil
}

// versions reads the versions of the keys of a transaction.
func (d *dialog) versions(commands []Command, db int) ([]watched, error) {
	guards := []watched{}
	b := d.commands.grid.NewBatch()
	for _, c := range commands {
		if isWord(c.Args[0], "SELECT") {
			if n, ok := parseDB(c.Args[1]); ok {
				db = n
			}
		}
		spec, _ := d.commands.table.Resolve(c)
		for _, key := range spec.AppendKeys(nil, c) {
			if slices.ContainsFunc(guards, func(w watched) bool { return w.db == db && bytes.Equal(w.key, key) }) {
				continue
			}
			guards = append(guards, watched{db: db, key: key})
			switch id, err := d.spaceOf(db); {
			case err != nil:
				b.Refuse(err)
			case checkKey(key) != nil:
				b.Refuse(space.ErrNotFound)
			default:
				b.Get(id, key)
			}
		}
	}
	if err := d.commands.grid.Run(d.ctx, b); err != nil {
		return nil, err
	}
	kept := guards[:0]
	for at := range guards {
		r, err := b.Result(at)
		switch {
		case err == nil:
			guards[at].version = r.Entries[0].Version
		case !errors.Is(err, space.ErrNotFound):
			return nil, err
		}
		if checkKey(guards[at].key) == nil {
			kept = append(kept, guards[at])
		}
	}
	return kept, nil
}

// conclude replies to a transaction that has run, and reports whether it may
// have had an effect.
func (d *dialog) conclude(err error, commands int) bool {
	if err == nil {
		// Trouble on the way is that of the whole: one command went through or not.
		_, err = d.failedAt()
	}
	if err != nil {
		d.fail(err)
		return false
	}
	d.out.Array(commands)
	d.answer()
	return true
}
