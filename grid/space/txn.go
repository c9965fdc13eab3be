package space

import (
	"time"

	"github.com/spacegrid/spacegrid/grid/space/internal/arena"
	"github.com/spacegrid/spacegrid/grid/space/internal/pairtree"
)

// A transaction over several partitions is prepared in each, decided in one of
// them, its home, and then finished in each.
//
// OpPrepare validates the operations behind it as any command does. If all of
// them hold, it locks every key that they touch and keeps what they come to:
// nothing is installed. A key that they change is locked for the transaction
// alone; a key that they only looked at, present or absent, may be looked at by
// other transactions too. What OpCheckMatch found to match nothing new is
// guarded: a write that would make an entry match is refused until the outcome.
// Who runs into a lock gets CodeLocked and has changed nothing, so there is no
// waiting for locks and no deadlock.
//
// OpDecide writes the outcome in the home partition, once. OpFinish carries it
// out: it installs what was kept, as one command, or gives it up. It finds what
// it needs as it was when it was prepared: nobody else changes a locked key, its
// lease does not end and it cannot be claimed; a space that is dropped takes its
// part of the transaction with it. So there is nothing left that could refuse.
//
// # Serializable among transactions
//
// A transaction validates what it read at the moment at which it takes the lock
// on it, and it keeps all locks until its outcome, which is decided only after
// the last lock is taken. What it read is therefore what it would have read had
// it run entirely between its last lock and its first unlocking; locks of two
// transactions that conflict never overlap; so the order of these moments is a
// serial order. A command of one partition is the same with all its locks taken
// and given back in one Apply: its checks fail on keys that a prepared
// transaction changes, although its reads see the content from before.
//
// # Who asks whom, and what may be forgotten
//
// The coordinator fixes at the beginning a moment on the home partition's clock,
// carried by OpPrepare and OpDecide, from which on the home does not decide to
// commit. A participant that has waited for the time named in OpPrepare proposes
// to its home to abort and does what then stands; it never gives up by itself.
//
// The home forgets an abort after that moment: whoever asks later is told to
// abort, and nobody can commit any more. It keeps a commit until it is told
// that every participant has finished, however long that takes: the record
// names them, so that the home's leader can see to it.
//
// Prepared transactions and outcomes are part of replicated state and survive
// whatever the partition survives. A cold start from stores begins without them.

// Bounds of the transactions of one partition. At a bound the next one gets
// CodeFull, and its client tries again later.
const (
	MaxPrepared      = 4096     // prepared and not finished
	MaxLockedKeys    = 65536    // keys locked by them
	maxPreparedBytes = 16 << 20 // keys, values and templates kept for them: each snapshot copies these
	maxOutcomes      = 65536    // outcomes kept by a home partition
	// MaxParticipants bounds the partitions of one transaction: a home partition
	// keeps their numbers.
	MaxParticipants = 256
	// maxChangesChecked bounds the changes that an OpCheckMatch goes through, all
	// of them inside Apply: about five milliseconds.
	maxChangesChecked = 16384
	// maxCheckedTogether bounds the changes and prepared entries that all
	// OpCheckMatch of one command go through.
	maxCheckedTogether = 8 * maxChangesChecked
	// maxGuards bounds what all prepared transactions rely on not to match: every
	// write to their spaces is compared with it.
	maxGuards = 512
)

// DefaultTxnLease is how long a participant waits for the outcome before it asks
// the home partition, unless OpPrepare says otherwise.
const DefaultTxnLease = 5 * time.Second

// transactions is what a partition keeps of transactions over several partitions.
type transactions struct {
	prepared cutMap[TxnID, *preparedTxn]
	bytes    int // of all prepared
	guards   int // of all prepared
	outcomes cutMap[TxnID, outcome]
	// asks holds (asks, session, number) of the prepared, open and ends (until,
	// session, number) of the outcomes that are open and of those that are not. They
	// are derived from them.
	asks, open, ends pairtree.Set[pairtree.Triple]

	// locks is derived from prepared.
	locks map[lockKey]lock
}

// preparedTxn is one transaction as a participant keeps it.
type preparedTxn struct {
	id     TxnID
	home   PartitionID
	until  Time // on the home's clock: not committed from then on
	asks   Time // on this clock: the leader asks home from then on
	keys   []preparedKey
	guards []guard
	bytes  int
}

// preparedKey is a key that a transaction has locked and what becomes of it.
type preparedKey struct {
	space   ID
	key     []byte
	version Seq // of the entry before; 0 if there is none
	write   bool
	exists  bool // after the transaction, if it writes
	granted bool // deadline counts from the commit
	kind    Kind
	cause   Cause
	// deadline is a moment, or if granted a duration; Never is Never either way.
	deadline Time
	value    []byte
}

// guard is a filter that nothing may come to match before the outcome.
type guard struct {
	space  ID
	tmpl   []byte
	pred   []byte
	parsed filter
}

type lockKey struct {
	space ID
	key   string
}

// lock is held by one transaction that changes the key, or by several that
// looked at it.
type lock struct {
	writer  bool
	readers int
}

func newTransactions() transactions {
	return transactions{
		prepared: newCutMap[TxnID, *preparedTxn](TxnID.spread), outcomes: newCutMap[TxnID, outcome](TxnID.spread), locks: map[lockKey]lock{},
	}
}

func (t TxnID) spread() uint64 { return uint64(t.Session) ^ t.Number }

// has reports whether a transaction is prepared.
func (t *transactions) has(id TxnID) bool {
	_, ok := t.prepared.get(id)
	return ok
}

// isStep reports whether an operation prepares, decides or finishes.
func (o *Op) isStep() bool { return o.Code >= OpPrepare && o.Code <= OpFinish }

// validateTxn checks that a step of a transaction stands where it has to.
func (c *Command) validateTxn() *Error {
	for i := range c.Ops {
		o := &c.Ops[i]
		if !o.isStep() {
			continue
		}
		switch {
		case o.Txn == (TxnID{}):
			return &Error{Code: CodeInvalid, Detail: "a step of a transaction that has no id"}
		case i > 0 || c.Independent || (len(c.Ops) > 1) != (o.Code == OpPrepare):
			return &Error{Code: CodeInvalid, Detail: "a step of a transaction in company", Hint: "prepare stands before its operations, decide and finish stand alone"}
		}
	}
	return nil
}

// isTxn reports whether a command is one of the three steps.
func isTxn(c *Command) bool {
	return len(c.Ops) > 0 && c.Ops[0].isStep()
}

// applyTxn runs a step of a transaction.
func (p *Partition) applyTxn(c *Command) Reply {
	o := &c.Ops[0]
	code, failed := CodeInvalid, 0
	switch {
	case o.Txn == (TxnID{}) || c.Independent:
	case o.Code == OpPrepare:
		code, failed = p.prepareTxn(c)
	case len(c.Ops) > 1:
	default:
		p.prep.results, p.prep.made = append(p.prep.results, Result{}), append(p.prep.made, -1)
		if r := &p.prep.results[0]; o.Code == OpDecide {
			code = p.decide(o, r)
		} else {
			code = p.finish(o, r)
		}
	}
	if code == OK {
		r := p.reply(OK)
		r.Results = p.prep.results
		return r
	}
	p.prep.results = p.prep.results[:0]
	for range c.Ops {
		p.prep.results = append(p.prep.results, Result{Code: CodeAborted})
	}
	p.prep.results[failed].Code = code
	r := p.reply(CodeAborted)
	r.Failed, r.Results = failed, p.prep.results
	return r
}

// prepareTxn validates the operations behind the first and keeps what they come
// to. It returns OK, or why not and the operation that failed.
func (p *Partition) prepareTxn(c *Command) (Code, int) {
	o := &c.Ops[0]
	lease := o.Lease
	if lease == 0 {
		lease = DefaultTxnLease
	}
	switch {
	case c.Session == 0:
		// Only a session makes sure that it is not prepared, and carried out, twice.
		return CodeInvalid, 0
	case len(c.Ops) == 1 || lease < 0 || lease > maxHorizon || o.Target == 0 || o.Target > 1<<62:
		return CodeInvalid, 0
	case p.txns.has(o.Txn):
		return CodeExists, 0
	case p.txns.prepared.len() >= MaxPrepared:
		return CodeFull, 0
	}
	p.prep.preparing = true
	if _, failed := p.prepare(c); failed >= 0 {
		return p.prep.results[failed].Code, failed
	}
	t := p.kept(c)
	if len(p.txns.locks)+len(t.keys) > MaxLockedKeys || p.txns.bytes+t.bytes > maxPreparedBytes || p.txns.guards+len(t.guards) > maxGuards {
		return CodeFull, 0
	}
	if !p.free(t) {
		return CodeLocked, 0
	}
	t.id, t.home, t.until, t.asks = o.Txn, o.Home, Time(o.Target), p.clock.Add(lease)
	p.addTxn(t)
	p.prep.settlePrepared()
	p.prep.results[0].Count = len(t.keys)
	return OK, -1
}

// preparable reports whether an operation may be part of a prepared transaction.
// The others hand out what only a commit may give, or wait.
func (o *Op) preparable() bool {
	switch o.Code {
	case OpWrite, OpTake, OpTakeMatch, OpChange, OpChangeMatch, OpRenew, OpCheck, OpCheckMatch, OpRead, OpClear:
		return o.Wait == 0
	}
	return false
}

// kept copies what the operations of c, which are prepared, come to.
func (p *Partition) kept(c *Command) *preparedTxn {
	t := &preparedTxn{}
	grants := p.grants(c)
	for j := range p.prep.effects {
		x := &p.prep.effects[j]
		k := preparedKey{space: x.space.def.ID, key: append([]byte(nil), x.entry.Key...), version: x.before(), write: x.real()}
		if k.write {
			k.exists, k.kind, k.cause = x.exists, x.entry.Kind, x.cause
		}
		if k.write && k.exists {
			k.value = append([]byte{}, x.entry.Value...)
			k.deadline = x.entry.Deadline
			k.granted = !x.existed || k.deadline != Time(x.old.Deadline()) || grants[j]
			if k.granted && k.deadline != Never {
				k.deadline -= p.clock
			}
		}
		t.keys = append(t.keys, k)
		t.bytes += len(k.key) + len(k.value)
	}
	for i := range c.Ops {
		if o := &c.Ops[i]; o.Code == OpCheckMatch {
			g := guard{space: o.Space, tmpl: append([]byte(nil), o.Template...), pred: append([]byte(nil), o.Predicate...)}
			g.parse()
			t.guards = append(t.guards, g)
			t.bytes += g.bytes()
		}
	}
	return t
}

func (g *guard) bytes() int { return len(g.tmpl) + len(g.pred) }

// parse prepares the filter for matching; it has been parsed before.
func (g *guard) parse() bool {
	var code Code
	g.parsed, code = newFilter(g.tmpl, g.pred)
	return code == OK
}

// grants reports of each effect whether an operation of the command has granted
// its lease anew, so that it begins with the commit even if its end is the same.
func (p *Partition) grants(c *Command) []bool {
	granted := make([]bool, len(p.prep.effects))
	for i := range c.Ops {
		o := &c.Ops[i]
		if n := p.prep.made[i]; n >= 0 && (o.Code == OpRenew || o.Code == OpWrite && o.Flags&FlagKeepLease == 0) {
			granted[n] = true
		}
	}
	return granted
}

// settlePrepared takes the marks of entries without a version out of the results:
// what a prepared transaction writes has none before it is finished.
func (pr *prepared) settlePrepared() {
	for i := range pr.results {
		r := &pr.results[i]
		if r.Version == unnumbered {
			r.Version = 0
		}
		for j := range r.Entries {
			if r.Entries[j].Version == unnumbered {
				r.Entries[j].Version = 0
			}
		}
	}
}

// finish carries out or gives up what was prepared. Result.Count is the number
// of changes made.
func (p *Partition) finish(o *Op, r *Result) Code {
	t, ok := p.txns.prepared.get(o.Txn)
	if !ok {
		return CodeUnprepared
	}
	commit := o.Flags&FlagCommit != 0
	if commit {
		p.stage(t)
	}
	p.removeTxn(t)
	if commit {
		before := p.seq
		p.prep.txn = t.id
		p.install()
		r.Count = int(p.seq - before)
	}
	p.offerUnlocked(t, commit)
	return OK
}

// stage makes the effects of a prepared transaction from what was kept. They are
// made while it still holds its locks: an entry whose lease has ended meanwhile
// is still there.
func (p *Partition) stage(t *preparedTxn) {
	for i := range t.keys {
		k := &t.keys[i]
		if !k.write {
			continue
		}
		e, _, code := p.touch(p.space(k.space), k.key)
		if code != OK || e.before() != k.version {
			panic("space: an entry changed under the lock of a transaction")
		}
		if !k.exists {
			e.remove(k.cause)
			continue
		}
		e.entry.Deadline = k.deadline
		if k.granted && k.deadline != Never {
			e.entry.Deadline = p.clock.Add(time.Duration(k.deadline))
		}
		e.write(k.kind, k.value)
	}
}

// offerUnlocked hands the entries that a transaction leaves as they are, and that nobody
// locks any more, to those who wait for some.
func (p *Partition) offerUnlocked(t *preparedTxn, commit bool) {
	for i := range t.keys {
		k := &t.keys[i]
		if k.write && commit || p.txns.holds(k.space, k.key) {
			continue
		}
		sp := p.space(k.space)
		if r, ok := sp.table.Get(k.key); ok && !p.gone(sp, r) {
			p.available(sp, r.Order())
		}
	}
}

// gone reports whether an entry's lease has ended: its removal may not have been
// applied yet, but nobody sees it any more. A lease does not end under a claim,
// nor under the lock of a transaction before its outcome.
func (p *Partition) gone(sp *entries, r arena.Record) bool {
	d := Time(r.Deadline())
	return d != Never && d <= p.clock && !isHidden(r) && !p.txns.holds(sp.def.ID, r.Key())
}
