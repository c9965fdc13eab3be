package space

import (
	"maps"
	"slices"
	"time"

	"github.com/spacegrid/spacegrid/grid/space/internal/arena"
)

const (
	// maxExpirePerCommand bounds how many due entries one command removes beyond
	// those it touches. The rest are invisible already and go with the next ones.
	maxExpirePerCommand = 256
	// maxReplyBytes bounds the entries of one reply, give or take one: a take or
	// read of many stops early rather than exceed it, and an operation that finds
	// it used up by those before it is refused. Replies are kept on every replica.
	maxReplyBytes = 4 << 20
	// MaxSearches bounds the operations of one command that search by template and
	// predicate, all of them inside Apply: each passes what those before it have
	// taken. Who wants many entries asks one search for them.
	MaxSearches = 256
	// maxTouched bounds the entries that the searches of one command take, claim,
	// change or clear: some tens of milliseconds. A search finds fewer rather than
	// exceed it, and one that finds it used up by those before it is refused.
	maxTouched = 4 * MaxOps
)

// Apply runs a command that the leader has stamped with its time on the
// partition's clock, and returns the encoded [Reply], which is the caller's to
// keep but not to change. Apply never fails and never blocks: what cannot be
// done is said in the reply. One goroutine at a time.
//
// The steps are those of the package comment: a repeat is answered from the
// table; leases that are due end; every operation is prepared against the state
// and the operations before it; then, if nothing aborts the command, all that
// was prepared is installed, one change for each entry touched.
func (p *Partition) Apply(now Time, c *Command) []byte {
	p.begin(now)
	if c.Session != 0 {
		if c.History != p.history {
			return p.refuse(CodeHistory)
		}
		kept, code := p.sessions.lookup(c, p.clock)
		if kept != nil {
			return kept
		}
		if code != OK {
			return p.refuse(code)
		}
		p.sessions.settle(c)
	}
	p.busy.Add(1)
	p.lapse()
	p.expire(maxExpirePerCommand)
	p.forgetOutcomes()
	p.build(buildStep)
	p.serve()
	kept := p.run(c)
	p.serve()
	p.log.publish()
	p.busy.Add(1)
	return kept
}

// begin makes ready for a command, whatever becomes of it.
func (p *Partition) begin(now Time) {
	p.waits.begin()
	p.mark = 0
	p.clock = max(p.clock, now)
}

// run carries out a command that is not a repeat and returns its reply, kept if
// it may be asked for again.
func (p *Partition) run(c *Command) []byte {
	var reply Reply
	switch {
	case len(c.Ops) == 1 && c.Ops[0].Code >= OpEpoch:
		reply = p.applySystem(c)
	case len(c.Ops) == 1 && c.Ops[0].Code == OpCancel:
		reply = p.applyCancel(c)
	default:
		reply = p.applyOps(c)
	}
	p.prep.reply = reply.Append(p.prep.reply[:0])
	defer p.prep.reset() // it lets go of a large reply: not before that is copied
	if c.Session == 0 {
		return slices.Clone(p.prep.reply)
	}
	kept := p.sessions.keep(c, reply.Code, p.prep.reply)
	if reply.Code == CodeWaiting {
		p.wait(c)
	}
	return kept
}

// ApplyBytes decodes a command and applies it. A command that does not decode is
// refused with its reason; nothing but the clock changes.
func (p *Partition) ApplyBytes(now Time, b []byte) []byte {
	if err := DecodeCommand(&p.prep.command, b); err != nil {
		p.begin(now)
		return p.refuse(codeOf(err))
	}
	return p.Apply(now, &p.prep.command)
}

// refuse answers a command that has no effect and whose answer is not kept.
func (p *Partition) refuse(code Code) []byte {
	r := p.reply(code)
	return r.Append(nil)
}

func (p *Partition) reply(code Code) Reply {
	return Reply{Code: code, Failed: -1, Clock: p.clock, Seq: p.seq, Epoch: p.epoch}
}

func (p *Partition) applyOps(c *Command) Reply {
	if isTxn(c) {
		return p.applyTxn(c)
	}
	if c.mayWait() && c.Ops[0].reserves() {
		return p.applyReserve(c)
	}
	code, failed := p.prepare(c)
	if code != OK && c.mayWait() && mayCome(p.prep.results[failed].Code) {
		if p.prep.results[failed].Code = p.mustWait(c); p.prep.results[failed].Code == CodeWaiting {
			return p.reply(CodeWaiting)
		}
	}
	if code == OK {
		p.install()
	} else {
		p.prep.discard(len(c.Ops), failed)
	}
	r := p.reply(code)
	r.Failed = failed
	r.Results = p.prep.results
	return r
}

// prepare works out what every operation does, without doing it. It returns OK,
// or CodeAborted and the operation that failed.
func (p *Partition) prepare(c *Command) (Code, int) {
	for i := range c.Ops {
		p.prep.results = append(p.prep.results, Result{})
		p.prep.made = append(p.prep.made, -1)
		code := CodeInvalid
		if (c.Ops[i].Wait == 0 || c.mayWait()) && !c.Ops[i].reserves() {
			code = p.prepareOp(&c.Ops[i], i)
		}
		p.prep.results[i].Code = code
		if code != OK && !c.Independent {
			return CodeAborted, i
		}
	}
	return OK, -1
}

func (p *Partition) prepareOp(o *Op, i int) Code {
	if p.prep.returned >= maxReplyBytes && o.returns() {
		return CodeTooLarge
	}
	if o.searches() {
		if p.prep.searches++; p.prep.searches > MaxSearches || o.Code != OpReadMatch && o.Code != OpCheckMatch && p.prep.room(o) == 0 {
			return CodeTooLarge
		}
	}
	switch {
	case o.Code == OpPrepare && i == 0 && p.prep.preparing:
		return OK
	case o.isStep(), p.prep.preparing && !o.preparable():
		return CodeInvalid
	}
	if o.Code == OpRespond {
		p.prep.results[i].Entries = p.prep.list(Entry{Value: o.Value})
		p.prep.results[i].Count = o.Limit
		return OK
	}
	if o.Code == OpAck || o.Code == OpNack || o.Code == OpExtend {
		return p.prepareHeld(o, i)
	}
	sp := p.space(o.Space)
	if sp == nil {
		return CodeNoSpace
	}
	if code := p.locked(o); code != OK {
		return code
	}
	switch o.Code {
	case OpWrite:
		return p.prepareWrite(sp, o, i)
	case OpTake:
		return p.prepareTake(sp, o, i)
	case OpTakeMatch, OpReadMatch:
		return p.prepareMatch(sp, o, i)
	case OpChange:
		return p.prepareChange(sp, o, i)
	case OpChangeMatch:
		return p.prepareChangeMatch(sp, o, i)
	case OpRenew:
		return p.prepareRenew(sp, o, i)
	case OpCheck, OpRead:
		return p.prepareRead(sp, o, i)
	case OpClear:
		return p.prepareClear(sp, o, i)
	case OpClaim:
		return p.prepareClaim(sp, o, i)
	case OpClaimMatch:
		return p.prepareClaimMatch(sp, o, i)
	case OpCheckMatch:
		return p.prepareCheckMatch(sp, o)
	}
	return CodeInvalid
}

func (p *Partition) prepareWrite(sp *entries, o *Op, i int) Code {
	if code := checkValue(&sp.def, o.Kind, len(o.Value)); code != OK {
		return code
	}
	deadline, code := p.grant(sp, o.Lease)
	if code != OK {
		return code
	}
	e, n, code := p.touch(sp, o.Key)
	if code == OK {
		code = p.guarded(sp, o.Kind, o.Value)
	}
	switch {
	case code != OK:
		return code
	case o.Mode == ModeInsert && e.exists:
		return CodeExists
	case o.Mode == ModeUpdate && !e.exists:
		return CodeNotFound
	case o.Match != 0 && !e.is(o.Match):
		return CodeConflict
	}
	if code := p.unmet(o, e.exists, &e.entry); code != OK {
		return code
	}
	if !sp.def.routed(o.Key, o.Kind, o.Value) {
		return CodeInvalid
	}
	if o.Flags&FlagReturn != 0 && e.exists {
		p.prep.results[i].Entries = p.prep.list(e.entry)
	}
	if o.Flags&FlagKeepLease == 0 || !e.exists {
		e.entry.Deadline = deadline
	}
	e.write(o.Kind, o.Value)
	p.prep.results[i].Version = unnumbered
	p.prep.made[i] = n
	return OK
}

func (p *Partition) prepareTake(sp *entries, o *Op, i int) Code {
	e, _, code := p.touch(sp, o.Key)
	switch {
	case code != OK:
		return code
	case !e.exists:
		return CodeNotFound
	case o.Match != 0 && !e.is(o.Match):
		return CodeConflict
	}
	if code := p.unmet(o, e.exists, &e.entry); code != OK {
		return code
	}
	if o.Flags&FlagReturn == 0 {
		e.remove(Deleted)
		return OK
	}
	p.prep.results[i].Entries = p.prep.list(e.entry)
	e.remove(Taken)
	return OK
}

// prepareMatch finds the first entries that match, taking into account what the
// operations before it prepared, and takes them if asked.
func (p *Partition) prepareMatch(sp *entries, o *Op, i int) Code {
	f, code := p.filter(o.Template, o.Predicate)
	if code != OK {
		return code
	}
	var found []Entry
	limit, allowScan := max(o.Limit, 1), o.Flags&FlagAllowScan != 0
	if o.Code == OpTakeMatch {
		found, code = p.findToHandOut(sp, &f, p.prep.room(o), allowScan)
	} else {
		found, code = p.find(sp, &f, limit, allowScan, false)
	}
	if code != OK {
		return code
	}
	if len(found) == 0 {
		return CodeNotFound
	}
	p.prep.results[i].Entries = p.prep.list(found...)
	if o.Code == OpReadMatch {
		for j := range found {
			if found[j].Version == unnumbered {
				p.prep.made[i] = p.prep.index(sp, found[j].Key) // settle needs one of them
			}
		}
		return OK
	}
	for j := range found {
		e, _, code := p.touch(sp, found[j].Key)
		if code != OK {
			panic("space: an entry that matched cannot be touched")
		}
		e.remove(Taken)
	}
	return OK
}

// find returns copies of at most limit entries that match: stored ones by order,
// then those that this command has prepared to add. To take they must not be
// locked by a prepared transaction.
func (p *Partition) find(sp *entries, f *filter, limit int, allowScan, take bool) ([]Entry, Code) {
	var found []Entry
	size := p.prep.returned
	add := func(e Entry) bool {
		found = append(found, e)
		size += len(e.Key) + len(e.Value)
		return len(found) < limit && size < maxReplyBytes
	}
	more := true
	code := sp.match(f, 0, allowScan, func(r arena.Record) bool {
		if p.gone(sp, r) || take && p.txns.holds(sp.def.ID, r.Key()) {
			return true
		}
		e := entryOf(r)
		if x := p.prep.find(sp, e.Key); x != nil {
			if !x.exists || x.hidden || !f.matches(x.entry.Kind, x.entry.Value) {
				return true
			}
			e = x.entry
		}
		more = add(e)
		return more
	})
	if code != OK && more {
		return nil, code
	}
	for j := range p.prep.effects {
		x := &p.prep.effects[j]
		// An entry whose new value matches though its stored one does not is
		// found here, after the others: its place in the order would need a
		// merge, which a command that changes and searches at once can do without.
		if !more || x.space != sp || !x.exists || x.hidden || !x.dirty || !f.matches(x.entry.Kind, x.entry.Value) {
			continue
		}
		if x.existed && !isHidden(x.old) && f.matches(kindOf(x.old), x.old.Value()) {
			continue
		}
		more = add(x.entry)
	}
	return found, OK
}

func (p *Partition) prepareChange(sp *entries, o *Op, i int) Code {
	e, n, code := p.touch(sp, o.Key)
	switch {
	case code != OK:
		return code
	case !e.exists && o.Flags&FlagCreate == 0:
		return CodeNotFound
	case o.Match != 0 && !e.is(o.Match):
		return CodeConflict
	}
	if code := p.unmet(o, e.exists, &e.entry); code != OK {
		return code
	}
	kind, value := e.entry.Kind, e.entry.Value
	if !e.exists {
		kind, value = o.Kind, emptyValue(o.Kind)
	}
	changed, count, code := p.prep.mutate(kind, value, o.Mutations)
	if code == OK {
		code = checkValue(&sp.def, kind, len(changed))
	}
	if code == OK {
		code = p.guarded(sp, kind, changed)
	}
	if code == OK && !sp.def.routed(o.Key, kind, changed) {
		code = CodeInvalid
	}
	if code != OK {
		return code
	}
	if !e.exists {
		if e.entry.Deadline, code = p.grant(sp, o.Lease); code != OK {
			return code
		}
	}
	e.write(kind, changed)
	p.prep.results[i].Count, p.prep.results[i].Version = count, unnumbered
	if o.Flags&FlagReturn != 0 {
		p.prep.results[i].Entries = p.prep.list(e.entry)
	}
	p.prep.made[i] = n
	return OK
}

func (p *Partition) prepareRenew(sp *entries, o *Op, i int) Code {
	deadline, code := p.grant(sp, o.Lease)
	if code != OK {
		return code
	}
	e, n, code := p.touch(sp, o.Key)
	switch {
	case code != OK:
		return code
	case !e.exists:
		return CodeNotFound
	case o.Match != 0 && !e.is(o.Match):
		return CodeConflict
	}
	if code := p.unmet(o, e.exists, &e.entry); code != OK {
		return code
	}
	e.entry.Deadline, e.entry.Version = deadline, unnumbered
	e.dirty = true
	p.prep.results[i].Version = unnumbered
	p.prep.made[i] = n
	return OK
}

func (p *Partition) prepareRead(sp *entries, o *Op, i int) Code {
	e, n, code := p.reach(sp, o.Key)
	if code != OK {
		return code
	}
	exists := e.exists && !e.hidden // a check sees what a read sees
	switch {
	case e.hidden && p.prep.preparing:
		return CodeClaimed // the claim may end before the transaction does
	case o.Code == OpCheck && o.Match == 0 && exists && !o.conditional(), o.Code == OpCheck && o.Match != 0 && (!exists || !e.is(o.Match)):
		return CodeConflict
	case o.Code == OpRead && !exists:
		return CodeNotFound
	case !exists && !o.conditional():
		return OK
	}
	if code := p.unmet(o, exists, &e.entry); code != OK {
		return code
	}
	p.prep.results[i].Version = e.version()
	p.prep.made[i] = n
	if o.Code == OpRead {
		p.prep.results[i].Entries = p.prep.list(e.entry)
	}
	return OK
}

func (p *Partition) prepareClear(sp *entries, o *Op, i int) Code {
	f, code := p.filter(o.Template, o.Predicate)
	if code != OK {
		return code
	}
	found, code := p.find(sp, &f, p.prep.room(o), true, true)
	if code != OK {
		return code
	}
	for j := range found {
		e, _, code := p.touch(sp, found[j].Key)
		if code != OK {
			panic("space: an entry that was found cannot be touched")
		}
		e.remove(Cleared)
	}
	p.prep.results[i].Count = len(found)
	return OK
}

// grant returns the deadline that a requested lease gets.
func (p *Partition) grant(sp *entries, lease time.Duration) (Time, Code) {
	if lease == 0 {
		lease = sp.def.Lease
	}
	switch {
	case lease == Forever || lease == 0:
		return Never, OK
	case lease < 0:
		return 0, CodeInvalid
	}
	return p.clock.Add(lease), OK
}

// install puts everything prepared in force, one change for each entry that
// differs from before and one for each claim.
func (p *Partition) install() {
	left := 0
	for j := range p.prep.effects {
		left += p.prep.effects[j].changes()
	}
	for j := range p.prep.effects {
		x := &p.prep.effects[j]
		if x.ends != 0 {
			p.claims.remove(x.ends)
		}
		if x.real() {
			left--
			p.installEffect(x, left)
		}
		if x.claimed != 0 {
			left--
			p.hide(x, left)
		}
	}
	p.installClaims()
	p.prep.settle()
}

// installEffect makes an entry what the command has made of it. left is how many
// changes of the command follow.
func (p *Partition) installEffect(x *effect, left int) {
	p.seq++
	ch := Change{
		Seq: p.seq, Space: x.space.def.ID, Key: x.entry.Key, Previous: x.before(),
		At: p.clock, More: left, Order: x.entry.Order, Txn: p.prep.txn,
	}
	if x.existed && x.space.def.Shape == ShapeFields {
		ch.Before = x.old.Value()
	}
	if !x.exists {
		ch.Op, ch.Cause = Removed, x.cause
		x.space.remove(x.old)
		p.log.append(&ch)
		p.offerHeads(x.space)
		return
	}
	x.entry.Version = p.seq
	switch {
	case !x.existed:
		ch.Op = Written
		x.entry.Order = x.space.nextOrder
	case x.released:
		ch.Op = Released
	default:
		ch.Op = Updated
	}
	ch.Order, ch.Kind, ch.Value, ch.Deadline = x.entry.Order, x.entry.Kind, x.entry.Value, x.entry.Deadline
	ch.Attempts = x.entry.Attempts
	x.space.put(&x.entry, x.old, x.existed)
	p.log.append(&ch)
	if x.claimed == 0 {
		p.offer(x.space, x.entry.Order)
	}
}

// expire ends claims whose time is up and removes entries whose lease has ended,
// these in the order of space, deadline and order: at most limit of both.
func (p *Partition) expire(limit int) {
	limit = p.endClaims(limit)
	spaces := *p.spaces.Load()
	due := false
	for _, sp := range spaces {
		if d, _, ok := sp.leases.Min(); ok && Time(d) <= p.clock {
			due = true
			break
		}
	}
	if !due {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(spaces)) {
		sp := spaces[id]
		for limit > 0 {
			d, order, ok := sp.leases.Min()
			if !ok || Time(d) > p.clock {
				break
			}
			r, found := sp.table.ByOrder(order)
			if !found {
				panic("space: a lease names an entry that is not there")
			}
			p.expireEntry(sp, r)
			limit--
		}
	}
}

func (p *Partition) expireEntry(sp *entries, r arena.Record) {
	p.seq++
	ch := Change{
		Seq: p.seq, Op: Removed, Cause: Expired, Space: sp.def.ID, Key: r.Key(),
		Previous: Seq(r.Version()), Order: r.Order(), At: p.clock,
	}
	if sp.def.Shape == ShapeFields {
		ch.Before = r.Value()
	}
	p.log.append(&ch)
	sp.remove(r)
	p.offerHeads(sp)
}
