package space

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/spacegrid/spacegrid/grid/space/internal/pairtree"
)

// outcome is what a home partition keeps of a transaction.
type outcome struct {
	commit bool
	// open says that a commit is not known to be finished by all participants.
	open bool
	// until is when the record may go, unless it is open. It is never before the
	// moment from which on the transaction is not committed any more.
	until        Time
	participants []PartitionID // of an open one
}

// decide writes the outcome of a transaction unless there is one, and answers
// with the one that stands: Result.Count is 1 for commit and 0 for abort.
//
// Its time has passed when the clock has reached Target. Then it is not
// committed any more: an abort needs no record, and a proposal to commit is
// answered with abort, by this Apply and by every later one.
func (p *Partition) decide(o *Op, r *Result) Code {
	if o.Flags&FlagSettled != 0 {
		return p.settleTxn(o)
	}
	x, ok := p.txns.outcomes.get(o.Txn)
	if ok {
		r.Count = boolInt(x.commit)
		return OK
	}
	until := Time(o.Target)
	commit := o.Flags&FlagCommit != 0
	d := decoder{b: o.Value}
	var participants []PartitionID
	if len(o.Value) > 0 {
		participants = d.partitions()
	}
	switch {
	case !d.done() || commit != (len(participants) > 0) || o.Target == 0 || o.Target > 1<<62:
		return CodeInvalid
	case until <= p.clock:
		return OK
	case until > p.clock.Add(maxHorizon):
		return CodeInvalid
	case p.txns.outcomes.len() >= maxOutcomes:
		return CodeFull
	}
	p.setOutcome(o.Txn, outcome{commit: commit, open: commit, until: until, participants: participants})
	r.Count = boolInt(commit)
	return OK
}

// settleTxn notes that every participant of a commit has finished. The record
// stays for Lease, for clients that do not know what became of it.
func (p *Partition) settleTxn(o *Op) Code {
	x, ok := p.txns.outcomes.get(o.Txn)
	switch {
	case !ok || !x.commit:
		return CodeUnprepared
	case o.Lease < 0 || o.Lease > maxHorizon:
		return CodeInvalid
	}
	p.setOutcome(o.Txn, outcome{commit: true, until: max(x.until, p.clock.Add(o.Lease))})
	return OK
}

func (p *Partition) setOutcome(id TxnID, x outcome) {
	if old, ok := p.txns.outcomes.get(id); ok {
		p.txns.times(&old).Delete(id.at(old.until))
	}
	p.txns.times(&x).Insert(id.at(x.until))
	p.txns.outcomes.set(id, x)
}

// times returns the set that an outcome belongs to.
func (t *transactions) times(x *outcome) *pairtree.Set[pairtree.Triple] {
	if x.open {
		return &t.open
	}
	return &t.ends
}

// at is a transaction at a moment that concerns it.
func (t TxnID) at(m Time) pairtree.Triple {
	return pairtree.Triple{uint64(m), uint64(t.Session), t.Number}
}

// due calls fn for at most limit of the transactions of a set whose moment has come.
func due(set *pairtree.Set[pairtree.Triple], now Time, limit int, fn func(TxnID)) {
	if limit <= 0 {
		return
	}
	set.AscendFrom(pairtree.Triple{}, func(k pairtree.Triple) bool {
		if Time(k[0]) > now {
			return false
		}
		fn(TxnID{Session: SessionID(k[1]), Number: k[2]})
		limit--
		return limit > 0
	})
}

// forgetOutcomes drops the outcomes that nobody can ask for any more.
func (p *Partition) forgetOutcomes() {
	for {
		end, ok := p.txns.ends.First(pairtree.Triple{})
		if !ok || Time(end[0]) > p.clock {
			return
		}
		p.txns.ends.Delete(end)
		p.txns.outcomes.remove(TxnID{Session: SessionID(end[1]), Number: end[2]})
	}
}

// LapsedTxn is a prepared transaction whose participant has waited long enough.
type LapsedTxn struct {
	Txn   TxnID
	Home  PartitionID
	Until Time // Op.Target for the home partition
}

// Lapsed returns at most limit of the prepared transactions whose outcome has to
// be asked for, those that have waited longest first, in a time that grows with
// their number alone. Only the goroutine that applies may call it.
func (p *Partition) Lapsed(now Time, limit int) []LapsedTxn {
	var lapsed []LapsedTxn
	due(&p.txns.asks, now, limit, func(id TxnID) {
		t, _ := p.txns.prepared.get(id)
		lapsed = append(lapsed, LapsedTxn{t.id, t.home, t.until})
	})
	return lapsed
}

// UnsettledTxn is a commit that its participants are not known to have finished.
type UnsettledTxn struct {
	Txn          TxnID
	Participants []PartitionID
}

// Unsettled returns at most limit of the commits decided here whose time has
// passed and that are not known to be finished everywhere, the oldest first, in a
// time that grows with their number alone. Only the goroutine that applies may call
// it.
func (p *Partition) Unsettled(now Time, limit int) []UnsettledTxn {
	var open []UnsettledTxn
	due(&p.txns.open, now, limit, func(id TxnID) {
		x, _ := p.txns.outcomes.get(id)
		open = append(open, UnsettledTxn{id, slices.Clone(x.participants)})
	})
	return open
}

func (t TxnID) compare(u TxnID) int {
	return cmp.Or(cmp.Compare(t.Session, u.Session), cmp.Compare(t.Number, u.Number))
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// AppendPartitions appends the numbers of partitions, as OpDecide carries them.
func AppendPartitions(dst []byte, ids []PartitionID) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ids)))
	for _, id := range ids {
		dst = binary.AppendUvarint(dst, uint64(id))
	}
	return dst
}

// partitions reads what AppendPartitions wrote.
func (d *decoder) partitions() (ids []PartitionID) {
	for range d.count(MaxParticipants, 1) {
		ids = append(ids, PartitionID(min(d.uvarint(), MaxPartitions)))
	}
	return ids
}

// frozenTxns is what an image has of transactions.
type frozenTxns struct {
	prepared frozenMap[TxnID, *preparedTxn]
	outcomes frozenMap[TxnID, outcome]
}

func (t *transactions) freeze() frozenTxns {
	return frozenTxns{prepared: t.prepared.freeze(), outcomes: t.outcomes.freeze()}
}

// encode returns all transactions in a form that depends on nothing but them.
func (t *frozenTxns) encode() (dst []byte) {
	if t.prepared.length == 0 && t.outcomes.length == 0 {
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64(t.prepared.length))
	for _, x := range t.prepared.sorted(TxnID.compare) {
		dst = x.append(dst)
	}
	dst = binary.AppendUvarint(dst, uint64(t.outcomes.length))
	for id, x := range t.outcomes.sorted(TxnID.compare) {
		dst = appendTxnID(dst, id)
		dst = append(dst, boolByte(x.commit)|boolByte(x.open)<<1)
		dst = binary.AppendUvarint(dst, uint64(x.until))
		dst = AppendPartitions(dst, x.participants)
	}
	return dst
}

// Flags of an encoded key of a prepared transaction.
const (
	keyWritten = 1 << 0
	keyExists  = 1 << 1
	keyGranted = 1 << 2
)

func (t *preparedTxn) append(dst []byte) []byte {
	dst = appendTxnID(dst, t.id)
	for _, v := range []uint64{uint64(t.home), uint64(t.until), uint64(t.asks), uint64(len(t.keys))} {
		dst = binary.AppendUvarint(dst, v)
	}
	for i := range t.keys {
		k := &t.keys[i]
		flags := boolByte(k.write)*keyWritten | boolByte(k.exists)*keyExists | boolByte(k.granted)*keyGranted
		dst = append(dst, flags, byte(k.kind), byte(k.cause))
		for _, v := range []uint64{uint64(k.space), uint64(k.version), uint64(k.deadline)} {
			dst = binary.AppendUvarint(dst, v)
		}
		dst = appendBytes(dst, k.key)
		dst = appendBytes(dst, k.value)
	}
	dst = binary.AppendUvarint(dst, uint64(len(t.guards)))
	for i := range t.guards {
		dst = binary.AppendUvarint(dst, uint64(t.guards[i].space))
		dst = appendBytes(dst, t.guards[i].tmpl)
		dst = appendBytes(dst, t.guards[i].pred)
	}
	return dst
}

func (d *decoder) preparedTxn() *preparedTxn {
	t := &preparedTxn{id: d.txnID(), home: PartitionID(min(d.uvarint(), MaxPartitions)), until: Time(d.uvarint()), asks: Time(d.uvarint())}
	const keyMin, guardMin = 8, 3
	for range d.count(MaxLockedKeys, keyMin) {
		flags := d.u8()
		k := preparedKey{
			write: flags&keyWritten != 0, exists: flags&keyExists != 0, granted: flags&keyGranted != 0,
			kind: Kind(d.u8()), cause: Cause(d.u8()),
			space: ID(d.uvarint()), version: Seq(d.uvarint()), deadline: Time(d.uvarint()),
			key: d.bytes(), value: d.bytes(),
		}
		if len(k.key) == 0 || len(k.key) > MaxKeyBytes || len(k.value) > MaxValueBytes || k.kind > KindFields || k.deadline < 0 {
			d.fail()
		}
		t.keys = append(t.keys, k)
		t.bytes += len(k.key) + len(k.value)
	}
	for range d.count(MaxOps, guardMin) {
		g := guard{space: ID(d.uvarint()), tmpl: d.bytes(), pred: d.bytes()}
		if !g.parse() {
			d.fail()
		}
		t.guards = append(t.guards, g)
		t.bytes += g.bytes()
	}
	return t
}

// restoreTxns reads what transactions.append wrote, into a partition whose
// entries are in place, and takes the locks.
func (p *Partition) restoreTxns(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	d := decoder{b: b}
	damaged := &CorruptError{What: "export: transactions"}
	for range d.count(MaxPrepared, 6) {
		t := d.preparedTxn()
		if d.failed || p.txns.has(t.id) || !p.lockable(t) {
			return damaged
		}
		p.addTxn(t)
	}
	for range d.count(maxOutcomes, 4) {
		id, flags := d.txnID(), d.u8()
		x := outcome{commit: flags&1 != 0, open: flags&2 != 0, until: Time(d.uvarint()), participants: d.partitions()}
		p.setOutcome(id, x)
	}
	if !d.done() {
		return damaged
	}
	return nil
}

// lockable reports whether the keys of a transaction that was read back are as
// it left them and free.
func (p *Partition) lockable(t *preparedTxn) bool {
	seen := make(map[lockKey]bool, len(t.keys))
	for i := range t.keys {
		k := &t.keys[i]
		sp := p.space(k.space)
		at := lockKey{k.space, string(k.key)}
		if sp == nil || seen[at] {
			return false
		}
		seen[at] = true
		var version Seq
		if r, ok := sp.table.Get(k.key); ok {
			version = Seq(r.Version())
		}
		if version != k.version {
			return false
		}
	}
	return p.free(t)
}
